"""From options to a request, and to the manager that sends it."""

from __future__ import annotations

import argparse
import json
import os
import re
import stat
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from .._collections import HTTPHeaderDict
from ..exceptions import LocationParseError, LocationValueError
from ..fields import RequestField, guess_content_type
from ..poolmanager import PoolManager, ProxyManager
from ..util.connection import _check_labels
from ..util.request import SKIP_HEADER, SKIPPABLE_HEADERS, make_headers
from ..util.retry import Retry
from ..util.timeout import Timeout
from ..util.url import Url, parse_url
from .errors import local_file, usage
from .text import duration_text
from .watch import Watch

#: Statuses that may go away by themselves.
TRANSIENT_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
#: Seconds; the second retry waits twice as long, and so on.
_BACKOFF = 0.5
#: Seconds; no server may make a person wait longer than this before a retry.
_LONGEST_PAUSE = 60

_FORM_OPTION = re.compile(r";\s*(type|filename)=([^;]*)$", re.IGNORECASE)
_SOCKS_SCHEMES = ("socks4", "socks4a", "socks5", "socks5h")


class Request(NamedTuple):
    """What is to be sent.

    :ivar url: without credentials, which are in the headers.
    :ivar fields: of a multipart form; None if there is a body, or nothing.
    """

    method: str
    url: str
    headers: HTTPHeaderDict
    body: Any
    fields: list[RequestField] | None


def build_request(options: argparse.Namespace, files: ExitStack) -> Request:
    """Return the request that the options ask for.

    :param files: closes the files that are opened for the body.
    :raises CommandError: they ask for what cannot be sent, or a file cannot be read.
    """
    url = checked_url(options.url)
    headers, left_out = _given_headers(options.header)
    defaults = HTTPHeaderDict()
    body, fields = None, None
    if options.data:
        body, length = _data(options.data, files)
        defaults["Content-Type"] = "application/x-www-form-urlencoded"
        if length is not None and "transfer-encoding" not in headers:
            defaults["Content-Length"] = str(length)
    elif options.json is not None:
        body = _json(options.json)
        defaults["Content-Type"] = defaults["Accept"] = "application/json"
    elif options.form:
        fields = [_form_field(given, files) for given in options.form]
    if options.user_agent is not None:
        defaults["User-Agent"] = options.user_agent
    if options.compressed:
        defaults.update(_titled(make_headers(accept_encoding=True)))
    if "authorization" not in headers:
        defaults.update(_authorization(options.user, url))
    defaults.setdefault("Accept", "*/*")
    for name, value in defaults.items():
        if name not in headers and name.lower() not in left_out:
            headers[name] = value
    for name in left_out & SKIPPABLE_HEADERS:
        headers[name] = SKIP_HEADER
    method = options.request or ("HEAD" if options.head else None)
    if method is None:
        method = "GET" if body is None and fields is None else "POST"
    return Request(method, url._replace(auth=None).url, headers, body, fields)


def checked_url(text: str) -> Url:
    """Return the URL to ask for.

    :raises CommandError: there is no such thing.
    """
    if "://" not in text:
        raise usage(f"a URL starts with http:// or https://, not like {shown_url(text)!r}")
    try:
        url = parse_url(text)
        if url.host:
            _check_labels(url.host)
    except LocationParseError as error:
        raise usage(f"not a URL: {shown_url(text)!r}") from error
    if url.scheme not in ("http", "https"):
        raise usage(f"a URL starts with http:// or https://, not with {url.scheme}://")
    if not url.host:
        raise usage(f"the URL has no host: {shown_url(text)!r}")
    return url


def shown_url(text: str) -> str:
    """Return what was meant to be a URL, without all that may be credentials.

    Without a grammar, a password may be anywhere before the last ``@``.
    """
    before, _, after = text.rpartition("@")
    scheme, slashes, _ = before.partition("://")
    return f"{scheme}://***@{after}" if slashes else f"***@{after}" if before else text


# -- headers -----------------------------------------------------------------------------------


def _given_headers(lines: list[str]) -> tuple[HTTPHeaderDict, frozenset[str]]:
    """Return the headers of the command line, and the names of those that shall not be sent."""
    headers = HTTPHeaderDict()
    left_out = set()
    for line in lines:
        name, colon, value = line.partition(":")
        name, value = name.strip(), value.strip()
        if not colon and name.endswith(";"):
            headers.add(name[:-1], "")
        elif not colon or not name:
            # Not shown: it may be the value of a secret one.
            raise usage("a header is written 'NAME: VALUE'; one of -H is not")
        elif value:
            headers.add(name, _header_text(value))
        else:
            left_out.add(name.lower())
    return headers, frozenset(left_out)


def _header_text(value: str) -> str:
    """Return the value so that its UTF-8 bytes are sent: fields are written as latin-1."""
    return value if value.isascii() else value.encode("utf-8", "surrogateescape").decode("latin-1")


def _authorization(user: str | None, url: Url) -> dict[str, str]:
    if user is None:
        if url.auth is None:
            return {}
        name, _, password = url.auth.partition(":")
        return _basic(f"{unquote(name)}:{unquote(password)}")
    if ":" not in user:
        user = f"{user}:{_ask_password(user)}"
    return _basic(user)


def _basic(credentials: str) -> dict[str, str]:
    try:
        return _titled(make_headers(basic_auth=credentials, basic_auth_encoding="utf-8"))
    except UnicodeEncodeError:
        raise usage("user and password must be text that UTF-8 can express") from None


def _titled(headers: dict[str, str]) -> dict[str, str]:
    """Return the headers with names as people write them."""
    return {name.title(): value for name, value in headers.items()}


def _ask_password(user: str) -> str:
    if not sys.stdin.isatty():
        raise usage("-u needs USER:PASSWORD: there is no terminal to ask for the password")
    import getpass

    try:
        return getpass.getpass(f"Password of {user}: ", stream=sys.stderr)
    except EOFError:
        raise usage("no password was given") from None


# -- bodies ------------------------------------------------------------------------------------


def _data(given: list[str], files: ExitStack) -> tuple[Any, int | None]:
    """Return the body of ``-d``, and its length if only the file system knows that."""
    if len(given) == 1 and given[0].startswith("@") and given[0] != "@-":
        file = _open(given[0][1:], files)
        status = os.fstat(file.fileno())
        if stat.S_ISREG(status.st_mode):
            return file, status.st_size
        return file.read(), None
    return b"&".join(_content(text) for text in given), None


def _content(text: str) -> bytes:
    """Return what an argument stands for: itself, a file's content, or standard input's."""
    if not text.startswith("@"):
        return text.encode("utf-8", "surrogateescape")
    return _read(text[1:])


def _read(path: str) -> bytes:
    if path == "-":
        stdin: bytes = sys.stdin.buffer.read()
        return stdin
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise local_file(f"read {path}", error) from error


def _open(path: str, files: ExitStack) -> Any:
    try:
        return files.enter_context(open(path, "rb"))
    except OSError as error:
        raise local_file(f"read {path}", error) from error


def _json(text: str) -> bytes:
    content = _content(text)
    try:
        json.loads(content)
    except (ValueError, RecursionError) as error:
        # Only the place is told: the content may be a secret.
        where = f" at line {error.lineno}, column {error.colno}" if isinstance(
            error, json.JSONDecodeError
        ) else ""  # fmt: skip
        raise usage(f"what --json is to send is not JSON{where}; -d sends anything") from None
    return content


def _form_field(given: str, files: ExitStack) -> RequestField:
    """Return the part that ``NAME=VALUE``, ``NAME=@FILE`` or ``NAME=<FILE`` asks for."""
    name, equals, value = given.partition("=")
    if not equals or not name:
        raise usage("a form field is written NAME=VALUE or NAME=@FILE; one of -F is not")
    kind = value[:1]
    if kind not in ("@", "<"):
        return RequestField.from_tuples(name, value.encode("utf-8", "surrogateescape"))
    path, options = _form_options(value[1:])
    if kind == "<":
        return RequestField.from_tuples(name, _read(path))
    filename = options.get("filename") or ("stdin" if path == "-" else os.path.basename(path))
    content_type = options.get("type") or guess_content_type(filename)
    # Standard input is read now: it could not be sent again after a redirect or a failure.
    data = _read(path) if path == "-" else _open(path, files)
    return RequestField.from_tuples(name, (filename, data, content_type))


def _form_options(text: str) -> tuple[str, dict[str, str]]:
    options: dict[str, str] = {}
    while match := _FORM_OPTION.search(text):
        options.setdefault(match[1].lower(), match[2].strip())
        text = text[: match.start()]
    return text, options


# -- the manager -------------------------------------------------------------------------------


def build_manager(options: argparse.Namespace) -> PoolManager:
    """Return the manager that sends the request.

    :raises CommandError: the proxy's URL or a file of certificates is unusable.
    """
    tls: dict[str, Any] = {}
    if options.insecure:
        tls["cert_reqs"] = "CERT_NONE"
    for option, keyword in (("cacert", "ca_certs"), ("cert", "cert_file"), ("key", "key_file")):
        path = getattr(options, option)
        if path is not None:
            _check_readable(path)
            tls[keyword] = path
    if options.proxy is None:
        return PoolManager(**tls)
    return _proxy_manager(options.proxy, tls)


def _check_readable(path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise local_file(f"read {path}", error) from error


def _proxy_manager(text: str, tls: dict[str, Any]) -> PoolManager:
    try:
        proxy = parse_url(text if "://" in text else f"http://{text}")
    except LocationParseError as error:
        raise usage(f"not the URL of a proxy: {shown_url(text)!r}") from error
    if proxy.scheme in _SOCKS_SCHEMES:
        return _socks_manager(text, tls)
    if proxy.scheme not in ("http", "https") or not proxy.host:
        raise usage(f"not the URL of a proxy: {shown_url(text)!r}")
    headers = {}
    if proxy.auth is not None:
        name, _, password = proxy.auth.partition(":")
        headers = make_headers(
            proxy_basic_auth=f"{unquote(name)}:{unquote(password)}",
            proxy_basic_auth_encoding="utf-8",
        )
    return ProxyManager(proxy._replace(auth=None).url, proxy_headers=headers, **tls)


def _socks_manager(url: str, tls: dict[str, Any]) -> PoolManager:
    try:
        from ..contrib.socks import SOCKSProxyManager
    except ImportError:
        raise usage("a SOCKS proxy needs more: pip install 'urllib4[socks]'") from None
    try:
        manager: PoolManager = SOCKSProxyManager(url, **tls)
    except (ValueError, LocationValueError) as error:
        raise usage(f"not the URL of a proxy: {shown_url(url)!r}") from error
    return manager


def build_timeout(options: argparse.Namespace) -> Timeout:
    """Return the timeout; a 0 on the command line means for ever."""
    wait = options.timeout or None
    connect = wait if options.connect_timeout is None else options.connect_timeout or None
    return Timeout(connect=connect, read=wait, deadline=options.max_time or None)


def build_retry(options: argparse.Namespace, watch: Watch | None) -> Retry:
    """Return the policy: each kind of failure up to ``--retry`` times, and the redirects.

    :param watch: is told about each pause.
    """

    class TellingRetry(Retry):
        def sleep(self, response: Any = None) -> None:
            if watch is not None:
                why = f"status {response.status}" if response is not None else "an error"
                pause = duration_text(self.sleep_time(response))
                watch.remark(f"Trying again after {why}, in {pause}")
            super().sleep(response)

    count = options.retry
    return TellingRetry(
        total=None,
        connect=count,
        read=count,
        status=count,
        other=count,
        redirect=options.max_redirects,
        status_forcelist=TRANSIENT_STATUSES if count else (),
        respect_retry_after_header=count > 0,
        retry_after_max=_LONGEST_PAUSE,
        backoff_factor=_BACKOFF,
        raise_on_status=False,
    )


def remote_name(url: str) -> str:
    """Return the name to save a URL under: its last part, as it is.

    :raises CommandError: it has none, or one that is no plain file name.
    """
    name = (parse_url(url).path or "").rpartition("/")[2]
    if not name or name in (".", "..") or not re.fullmatch(r"[^\\/:\x00-\x1f\x7f]+", name):
        raise usage("the URL ends in no file name: use -o FILE")
    return name
