"""Every public name of urllib3 2.8.0 exists here, with its parameters, a docstring and a test.

The names are those that programs use, private ones included where they do.  ``docs/names.rst``
lists them all with the test that covers each.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import io
import re
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import urllib3

import urllib4
import urllib4.connection
import urllib4.util.ssltransport

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "names.rst"

#: Module -> its names.
MODULES = {
    "": """
        HTTPConnectionPool HTTPHeaderDict HTTPSConnectionPool PoolManager ProxyManager HTTPResponse
        Retry Timeout add_stderr_logger connection_from_url disable_warnings
        encode_multipart_formdata make_headers proxy_from_url request BaseHTTPResponse __version__
        __author__ __license__ exceptions _DEFAULT_POOL
    """,
    "exceptions": """
        HTTPError HTTPWarning PoolError SecurityWarning RequestError InsecureRequestWarning
        NotOpenSSLWarning SystemTimeWarning InsecurePlatformWarning MaxRetryError HostChangedError
        DependencyWarning EmptyPoolError FullPoolError ClosedPoolError TimeoutError ReadTimeoutError
        ConnectTimeoutError NewConnectionError NameResolutionError SSLError ProxyError DecodeError
        ProtocolError TimeoutStateError ResponseError InvalidHeader BodyNotHttplibCompatible
        HeaderParsingError UnrewindableBodyError ConnectionError ResponseNotChunked IncompleteRead
        InvalidChunkLength LocationValueError LocationParseError URLSchemeUnknown ProxySchemeUnknown
        ProxySchemeUnsupported
    """,
    "_collections": """
        RecentlyUsedContainer HTTPHeaderDict HTTPHeaderDictItemView ValidHTTPHeaderSource
        ensure_can_construct_http_header_dict
    """,
    "_request_methods": "RequestMethods",
    "fields": """
        guess_content_type format_multipart_header_param format_header_param_html5
        format_header_param format_header_param_rfc2231 RequestField
    """,
    "filepost": "choose_boundary iter_field_objects encode_multipart_formdata writer",
    "util.url": "Url parse_url _encode_target _normalize_host",
    "util.retry": "Retry RequestHistory",
    "util.timeout": "Timeout _DEFAULT_TIMEOUT",
    "util.request": """
        SKIP_HEADER SKIPPABLE_HEADERS ACCEPT_ENCODING make_headers set_file_position rewind_body
        ChunksAndContentLength body_to_chunks
    """,
    "util": """
        IS_PYOPENSSL SSLContext ALPN_PROTOCOLS Retry Timeout Url assert_fingerprint
        create_urllib3_context is_connection_dropped is_fp_closed parse_url make_headers
        resolve_cert_reqs resolve_ssl_version ssl_wrap_socket wait_for_read wait_for_write
        SKIP_HEADER SKIPPABLE_HEADERS
    """,
    "util.connection": """
        is_connection_dropped create_connection allowed_gai_family HAS_IPV6
    """,
    "util.proxy": "connection_requires_http_tunnel",
    "util.response": "is_fp_closed assert_header_parsing is_response_to_head",
    "util.wait": """
        wait_for_read wait_for_write wait_for_socket poll_wait_for_socket select_wait_for_socket
    """,
    "util.util": "to_bytes to_str reraise",
    "util.ssl_": """
        SSLContext SSLTransport HAS_NEVER_CHECK_COMMON_NAME IS_PYOPENSSL ALPN_PROTOCOLS HASHFUNC_MAP
        PROTOCOL_TLS PROTOCOL_SSLv23 PROTOCOL_TLS_CLIENT OP_NO_SSLv2 OP_NO_SSLv3 OP_NO_COMPRESSION
        OP_NO_TICKET VERIFY_X509_STRICT VERIFY_X509_PARTIAL_CHAIN CERT_REQUIRED TLSVersion
        OPENSSL_VERSION create_urllib3_context ssl_wrap_socket assert_fingerprint resolve_cert_reqs
        resolve_ssl_version is_ipaddress
    """,
    "util.ssl_match_hostname": "CertificateError match_hostname",
    "util.ssltransport": "SSLTransport SSL_BLOCKSIZE",
    "connection": """
        HTTPConnection HTTPSConnection VerifiedHTTPSConnection DummyConnection ProxyConfig
        HTTPException ConnectionError BrokenPipeError BaseSSLError port_by_scheme RECENT_DATE log
        CertificateError match_hostname ssl_wrap_socket _get_default_user_agent
    """,
    "_base_connection": "ProxyConfig BaseHTTPConnection BaseHTTPSConnection",
    "response": """
        ContentDecoder DeflateDecoder GzipDecoder BrotliDecoder ZstdDecoder MultiDecoder
        BytesQueueBuffer GzipDecoderState HAS_ZSTD brotli BaseHTTPResponse HTTPResponse
    """,
    "connectionpool": """
        ConnectionPool HTTPConnectionPool HTTPSConnectionPool connection_from_url
    """,
    "poolmanager": """
        PoolManager ProxyManager proxy_from_url SSL_KEYWORDS PoolKey key_fn_by_scheme
        pool_classes_by_scheme port_by_scheme _default_key_normalizer
    """,
    "proxies": "from_environment Proxy ProxyChallenge",
}

#: Modules that urllib3 does not have.
OWN_MODULES = {"proxies"}

#: Class -> what its objects can do and have; attributes of objects need an example (below).
MEMBERS = {
    "exceptions.PoolError": "pool",
    "exceptions.RequestError": "url",
    "exceptions.MaxRetryError": "reason",
    "exceptions.HostChangedError": "retries",
    "exceptions.ProxyError": "original_error status headers body",
    "exceptions.NewConnectionError": "conn pool",
    "exceptions.LocationParseError": "location",
    "exceptions.URLSchemeUnknown": "scheme",
    "exceptions.IncompleteRead": "partial expected",
    "exceptions.InvalidChunkLength": "response length partial expected",
    "exceptions.ResponseError": "GENERIC_ERROR SPECIFIC_ERROR",
    "_collections.RecentlyUsedContainer": "lock dispose_func get keys clear pop",
    "_collections.HTTPHeaderDict": """
        add extend update getlist getheaders getallmatchingheaders iget get_all setdefault discard
        copy iteritems itermerged items keys values
    """,
    "_request_methods.RequestMethods": """
        headers _encode_url_methods urlopen request request_encode_url request_encode_body
    """,
    "fields.RequestField": """
        data headers header_formatter _name _filename from_tuples make_multipart render_headers
        _render_part _render_parts
    """,
    "util.url.Url": """
        scheme auth host port path query fragment hostname request_uri netloc authority auth_decoded
        auth_decoded_joined url
    """,
    "util.retry.RequestHistory": "method url error status redirect_location",
    "util.retry.Retry": """
        total connect read redirect status other allowed_methods status_forcelist backoff_factor
        backoff_max raise_on_redirect raise_on_status history respect_retry_after_header
        remove_headers_on_redirect backoff_jitter retry_after_max DEFAULT_ALLOWED_METHODS
        RETRY_AFTER_STATUS_CODES DEFAULT_REMOVE_HEADERS_ON_REDIRECT DEFAULT_BACKOFF_MAX
        DEFAULT_RETRY_AFTER_MAX DEFAULT increment new from_int is_exhausted is_retry
        get_backoff_time parse_retry_after get_retry_after sleep sleep_for_retry _sleep_backoff
        _is_connection_error _is_read_error _is_method_retryable
    """,
    "util.timeout.Timeout": """
        DEFAULT_TIMEOUT total _connect _read from_float clone start_connect get_connect_duration
        resolve_default_timeout connect_timeout read_timeout
    """,
    "util.ssltransport.SSLTransport": """
        fileno read recv recv_into sendall send makefile unwrap close getpeercert version cipher
        selected_alpn_protocol shared_ciphers compression settimeout gettimeout
        _validate_ssl_context_for_tls_in_tls
    """,
    "connection.HTTPConnection": """
        default_port default_socket_options is_verified proxy_is_verified host port timeout
        source_address blocksize socket_options proxy proxy_config sock debuglevel _dns_host
        _new_conn set_tunnel connect is_closed is_connected has_connected_to_proxy
        proxy_is_forwarding proxy_is_tunneling close putrequest putheader request request_chunked
        getresponse
    """,
    "connection.HTTPSConnection": """
        default_port cert_reqs assert_hostname assert_fingerprint server_hostname ssl_context
        ca_certs ca_cert_dir ca_cert_data ssl_minimum_version ssl_maximum_version ssl_version
        cert_file key_file key_password set_cert connect
    """,
    "_base_connection.ProxyConfig": """
        ssl_context use_forwarding_for_https assert_hostname assert_fingerprint
    """,
    "response.ContentDecoder": "decompress has_unconsumed_tail flush",
    "response.MultiDecoder": "max_decode_links decompress has_unconsumed_tail flush",
    "response.BaseHTTPResponse": """
        CONTENT_DECODERS REDIRECT_STATUSES DECODER_ERROR_CLASSES headers status version
        proxy_headers
        version_string reason decode_content retries chunked length_remaining get_redirect_location
        json readinto getheaders getheader info geturl data url connection stream read read1
        read_chunked release_conn drain_conn shutdown close
    """,
    "response.HTTPResponse": """
        data url connection read read1 stream read_chunked tell length_remaining release_conn
        drain_conn close shutdown closed isclosed fileno flush readable supports_chunked_reads msg
        auto_close enforce_content_length _fp _original_response _connection _pool
    """,
    "connectionpool.ConnectionPool": "scheme QueueCls host port close",
    "connectionpool.HTTPConnectionPool": """
        scheme ConnectionCls ResponseCls timeout retries pool block headers proxy proxy_headers
        proxy_config num_connections num_requests conn_kw is_same_host close urlopen _new_conn
        _get_conn _put_conn _validate_conn _prepare_proxy _make_request _get_timeout
    """,
    "connectionpool.HTTPSConnectionPool": """
        scheme ConnectionCls key_file cert_file cert_reqs key_password ca_certs ssl_version
        ssl_minimum_version ssl_maximum_version assert_hostname assert_fingerprint ca_cert_dir
        _validate_conn _prepare_proxy _new_conn
    """,
    "poolmanager.PoolKey": """
        key_scheme key_host key_port key_timeout key_retries key_block key_source_address
        key_key_file key_key_password key_cert_file key_cert_reqs key_ca_certs key_ca_cert_data
        key_ssl_version key_ssl_minimum_version key_ssl_maximum_version key_ca_cert_dir
        key_ssl_context key_maxsize key_headers key__proxy key__proxy_headers key__proxy_config
        key_socket_options key__socks_options key_assert_hostname key_assert_fingerprint
        key_server_hostname key_blocksize
    """,
    "poolmanager.PoolManager": """
        proxy proxy_config connection_pool_kw pools pool_classes_by_scheme key_fn_by_scheme
        connection_from_host connection_from_url connection_from_context connection_from_pool_key
        clear urlopen request request_encode_url request_encode_body _new_pool
    """,
    "poolmanager.ProxyManager": """
        proxy proxy_headers proxy_ssl_context proxy_config connection_from_host urlopen
    """,
}


class _Sized:
    length_remaining = 5

    def tell(self) -> int:
        return 3


#: How to make an object of a class, for attributes that the class itself has not.
EXAMPLES: dict[str, Callable[[Any], Any]] = {
    "exceptions.PoolError": lambda cls: cls(None, "text"),
    "exceptions.RequestError": lambda cls: cls(None, "/", "text"),
    "exceptions.MaxRetryError": lambda cls: cls(None, "/"),
    "exceptions.HostChangedError": lambda cls: cls(None, "/"),
    "exceptions.ProxyError": lambda cls: cls("text", OSError()),
    "exceptions.NewConnectionError": lambda cls: cls(None, "text"),
    "exceptions.LocationParseError": lambda cls: cls("x"),
    "exceptions.URLSchemeUnknown": lambda cls: cls("x"),
    "exceptions.IncompleteRead": lambda cls: cls(1, 2),
    "exceptions.InvalidChunkLength": lambda cls: cls(_Sized(), b"x"),
    "_collections.RecentlyUsedContainer": lambda cls: cls(),
    "_request_methods.RequestMethods": lambda cls: cls(),
    "fields.RequestField": lambda cls: cls("name", "data"),
    "util.retry.Retry": lambda cls: cls(),
    "util.timeout.Timeout": lambda cls: cls(),
    "connection.HTTPConnection": lambda cls: cls("example.com"),
    "connection.HTTPSConnection": lambda cls: cls("example.com"),
    "response.BaseHTTPResponse": lambda cls: urllib4.HTTPResponse(io.BytesIO(b"x")),
    "response.HTTPResponse": lambda cls: cls(io.BytesIO(b"x"), preload_content=False),
    "connectionpool.ConnectionPool": lambda cls: cls("example.com"),
    "connectionpool.HTTPConnectionPool": lambda cls: cls("example.com"),
    "connectionpool.HTTPSConnectionPool": lambda cls: cls("example.com"),
    "poolmanager.PoolManager": lambda cls: cls(),
    "poolmanager.ProxyManager": lambda cls: cls("http://proxy.example.com"),
}

#: Values, not classes or functions: these have no docstring that could be asked for.
CALLABLE_VALUES = {"HTTPException", "ConnectionError", "BrokenPipeError", "BaseSSLError", "writer"}

ALL_NAMES = [
    ".".join(filter(None, ("urllib4", owner, name)))
    for table in (MODULES, MEMBERS)
    for owner, names in table.items()
    for name in names.split()
]


def module_of(name: str, package: str = "urllib4") -> Any:
    return importlib.import_module(f"{package}.{name}" if name else package)


def class_of(path: str, package: str = "urllib4") -> Any:
    module, _, name = path.rpartition(".")
    return getattr(module_of(module, package), name)


@pytest.mark.parametrize("module", MODULES)
def test_every_name_of_a_module_is_there(module: str) -> None:
    absent = [name for name in MODULES[module].split() if not hasattr(module_of(module), name)]

    assert absent == []


@pytest.mark.parametrize("path", MEMBERS)
@pytest.mark.filterwarnings("ignore::FutureWarning")  # deprecated names exist, too
def test_every_member_of_a_class_is_there(path: str) -> None:
    cls = class_of(path)
    example = EXAMPLES[path](cls) if path in EXAMPLES else cls

    absent = [
        name for name in MEMBERS[path].split() if not (hasattr(cls, name) or hasattr(example, name))
    ]

    assert absent == []


def _kind(value: object) -> str:
    if isinstance(value, type):
        return "class"
    if isinstance(value, types.ModuleType):
        return "module"
    return "function" if callable(value) else "value"


@pytest.mark.parametrize("module", [name for name in MODULES if name not in OWN_MODULES])
def test_a_class_is_a_class_and_a_function_a_function(module: str) -> None:
    """What is called, subclassed or caught there can be here."""
    ours, theirs = module_of(module), module_of(module, "urllib3")

    different = [
        name
        for name in MODULES[module].split()
        if hasattr(theirs, name) and _kind(getattr(ours, name)) != _kind(getattr(theirs, name))
    ]

    assert different == []


def test_all_lists_what_urllib3_lists() -> None:
    for module in MODULES:
        if module in OWN_MODULES:
            continue
        theirs = getattr(module_of(module, "urllib3"), "__all__", ())
        ours = getattr(module_of(module), "__all__", None)
        if ours is not None:
            assert set(theirs) <= set(ours), module


# -- docstrings ------------------------------------------------------------------------------------


def _documented() -> list[tuple[str, Any]]:
    """Return what should have a docstring of its own, by name."""
    found = [
        (f"{module}.{name}", getattr(module_of(module), name))
        for module, names in MODULES.items()
        for name in names.split()
        if name not in CALLABLE_VALUES
    ]
    found += [
        (f"{path}.{name}", inspect.getattr_static(class_of(path), name, None))
        for path, names in MEMBERS.items()
        for name in names.split()
        if not name.startswith("_")
    ]
    return [
        (name, value)
        for name, value in found
        if isinstance(value, (type, types.FunctionType, property, classmethod, staticmethod))
        and getattr(value, "__module__", "urllib4").startswith("urllib4")
    ]


def test_every_class_function_and_property_has_a_docstring() -> None:
    undocumented = [
        name for name, value in _documented() if not (inspect.getdoc(value) or "").strip()
    ]

    assert undocumented == []


# -- signatures ------------------------------------------------------------------------------------

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _signature(value: Any) -> inspect.Signature | None:
    try:
        return inspect.signature(value)
    except (TypeError, ValueError):
        return None


def _narrower(ours: inspect.Signature, theirs: inspect.Signature) -> str | None:
    """Tell what a call that suits `theirs` could meet in `ours`; None: nothing."""
    kinds = {parameter.kind for parameter in ours.parameters.values()}
    anything = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD} <= kinds
    if anything:
        return None
    expected = [name for name, p in theirs.parameters.items() if p.kind in _POSITIONAL]
    offered = [name for name, p in ours.parameters.items() if p.kind in _POSITIONAL]
    if offered[: len(expected)] != expected and inspect.Parameter.VAR_POSITIONAL not in kinds:
        return f"positional {offered} instead of {expected}"
    for name, parameter in theirs.parameters.items():
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            if parameter.kind not in kinds:
                return f"no {parameter}"
        elif name not in ours.parameters:
            if inspect.Parameter.VAR_POSITIONAL not in kinds:
                return f"no parameter {name}"
        elif (
            parameter.default is not parameter.empty
            and ours.parameters[name].default is parameter.empty
        ):
            return f"{name} is required"
    for name, parameter in ours.parameters.items():
        if name not in theirs.parameters and parameter.default is parameter.empty:
            if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                return f"{name} is required, and new"
    return None


def _callables() -> list[tuple[str, Any, Any]]:
    pairs = [
        (f"{owner}.{name}", find(owner), find(owner, "urllib3"), name)
        for table, find in ((MODULES, module_of), (MEMBERS, class_of))
        for owner, names in table.items()
        if owner not in OWN_MODULES
        for name in names.split()
    ]
    return [
        (path, getattr(ours, name), getattr(theirs, name))
        for path, ours, theirs, name in pairs
        if callable(getattr(theirs, name, None)) and hasattr(ours, name)
    ]


def test_every_signature_takes_what_that_of_urllib3_takes() -> None:
    """The same positional order and names; ours may have more keyword parameters."""
    assert urllib3.__version__ == "2.8.0"
    problems = []
    for path, ours, theirs in _callables():
        mine, other = _signature(ours), _signature(theirs)
        if mine is not None and other is not None and (problem := _narrower(mine, other)):
            problems.append(f"{path}: {problem}")

    assert problems == []


# -- the table -------------------------------------------------------------------------------------

_ROW = re.compile(r"^   \* - ``([\w.]+)``\n     - ``(tests/[\w/]+\.py)::(\w+)``$", re.MULTILINE)


@functools.cache
def _tests_in(file: Path) -> frozenset[str]:
    return frozenset(
        node.name
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )


def test_the_documentation_lists_every_name_once() -> None:
    listed = [name for name, _, _ in _ROW.findall(TABLE.read_text(encoding="utf-8"))]

    assert sorted(listed) == sorted(ALL_NAMES)


def test_every_test_that_the_documentation_names_exists() -> None:
    absent = sorted(
        {
            f"{file}::{test}"
            for _, file, test in _ROW.findall(TABLE.read_text(encoding="utf-8"))
            if not (ROOT / file).exists() or test not in _tests_in(ROOT / file)
        }
    )

    assert absent == []
