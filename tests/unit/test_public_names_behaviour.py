"""What the public names of urllib3 do here, as far as no other test is about them.

``docs/names.rst`` says which test goes with which name.  Those that need a server talk to the
project's own on loopback.
"""

from __future__ import annotations

import builtins
import datetime
import functools
import gzip
import http.client
import io
import logging
import queue
import re
import socket
import ssl
import threading
import warnings
import zlib
from collections import namedtuple
from typing import Any

import pytest

import urllib4
import urllib4.connection
import urllib4.poolmanager
from dummyserver.proxy import Proxy
from dummyserver.script import ScriptedServer
from dummyserver.server import DummyServer
from urllib4 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager, exceptions
from urllib4._base_connection import BaseHTTPConnection, BaseHTTPSConnection, ProxyConfig
from urllib4._collections import HTTPHeaderDict, HTTPHeaderDictItemView, ValidHTTPHeaderSource
from urllib4._request_methods import RequestMethods
from urllib4.connection import HTTPConnection, HTTPSConnection
from urllib4.connectionpool import ConnectionPool
from urllib4.fields import RequestField
from urllib4.poolmanager import PoolKey
from urllib4.response import BaseHTTPResponse, ContentDecoder, HTTPResponse, MultiDecoder
from urllib4.util.proxy import connection_requires_http_tunnel
from urllib4.util.request import ChunksAndContentLength, body_to_chunks
from urllib4.util.retry import RequestHistory, Retry
from urllib4.util.timeout import Timeout
from urllib4.util.url import parse_url


def pool_of(server: DummyServer, **options: Any) -> HTTPConnectionPool:
    return HTTPConnectionPool("127.0.0.1", server.http_port, **options)


# -- the front door --------------------------------------------------------------------------------


def test_the_version_is_three_numbers() -> None:
    """Other libraries split it at the dots and compare integers."""
    assert len([int(part) for part in urllib4.__version__.split(".")]) == 3
    assert urllib4.__license__ == "MIT"
    assert urllib4.__author__


def test_request_uses_the_manager_of_the_program(server: DummyServer) -> None:
    try:
        response = urllib4.request("GET", server.http_url)

        assert response.status == 200
        assert isinstance(response, urllib4.BaseHTTPResponse)
        assert isinstance(response, urllib4.HTTPResponse)
        assert len(urllib4._DEFAULT_POOL.pools) == 1
    finally:
        urllib4._DEFAULT_POOL.clear()


def test_the_log_can_be_sent_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("urllib4")
    level = logger.level
    handler = urllib4.add_stderr_logger(logging.INFO)
    try:
        logging.getLogger("urllib4.connectionpool").info("something happened")
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)

    assert "INFO something happened" in capsys.readouterr().err


def test_warnings_can_be_switched_off_by_class() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        urllib4.disable_warnings(exceptions.InsecureRequestWarning)
        warnings.warn("quiet", exceptions.InsecureRequestWarning, stacklevel=1)
        warnings.warn("loud", exceptions.SystemTimeWarning, stacklevel=1)

    assert [str(warning.message) for warning in seen] == ["loud"]


def test_security_warnings_are_classes_of_their_own() -> None:
    for name in (
        "InsecureRequestWarning",
        "NotOpenSSLWarning",
        "SystemTimeWarning",
        "InsecurePlatformWarning",
    ):
        category = getattr(exceptions, name)
        assert issubclass(category, exceptions.SecurityWarning)
        assert not issubclass(category, exceptions.DependencyWarning)


@pytest.mark.parametrize("name", urllib4.util.__all__)
def test_util_hands_out_what_its_modules_have(name: str) -> None:
    """One object under two names: what is replaced or compared is the same."""
    util = urllib4.util
    homes = (
        util.connection, util.request, util.response, util.retry, util.ssl_, util.timeout,
        util.url, util.wait,
    )  # fmt: skip

    assert any(getattr(home, name, None) is getattr(util, name) for home in homes)


# -- small ones ------------------------------------------------------------------------------------


def test_the_items_of_headers_are_a_view_of_lines() -> None:
    headers = HTTPHeaderDict([("a", "1"), ("A", "2")])

    view = HTTPHeaderDictItemView(headers)

    assert type(headers.items()) is HTTPHeaderDictItemView
    assert list(view) == [("a", "1"), ("a", "2")]
    assert ("a", "2") in view
    assert ValidHTTPHeaderSource is not None


class Recorder(RequestMethods):
    """Provides ``urlopen`` and writes down what it is called with."""

    def urlopen(self, method: str, url: str, **kw: Any) -> Any:  # type: ignore[override]
        self.call = (method, url, kw)


def test_fields_go_where_the_method_wants_them() -> None:
    recorder = Recorder(headers={"x": "1"})
    assert recorder._encode_url_methods == {"DELETE", "GET", "HEAD", "OPTIONS"}
    assert recorder.headers == {"x": "1"}

    recorder.request("get", "/", fields={"a": "1"})
    assert recorder.call[:2] == ("GET", "/?a=1")
    recorder.request_encode_url("BREW", "/", fields={"a": "1"})
    assert recorder.call[:2] == ("BREW", "/?a=1")
    recorder.request("PUT", "/", fields={"a": "1"}, encode_multipart=False)
    assert recorder.call[2]["body"] == b"a=1"
    recorder.request_encode_body("PUT", "/", fields={"a": "1"})
    assert recorder.call[2]["headers"]["content-type"].startswith("multipart/form-data; ")


def test_the_mix_in_has_no_urlopen_of_its_own() -> None:
    with pytest.raises(NotImplementedError):
        RequestMethods().urlopen("GET", "/")


def test_a_subclass_may_write_parameters_its_own_way() -> None:
    class Shouting(RequestField):
        def _render_part(self, name: str, value: Any) -> str:
            return f"{name.upper()}={value}"

    field = Shouting("tea", "data", filename="cup.txt")
    field.make_multipart()

    assert field.headers["Content-Disposition"] == "form-data; NAME=tea; FILENAME=cup.txt"


def test_chunks_and_length_of_a_body_are_one_value() -> None:
    result = body_to_chunks(b"abc", "PUT", 16384)

    assert isinstance(result, ChunksAndContentLength)
    assert (list(result.chunks or ()), result.content_length) == ([b"abc"], 3)


@pytest.mark.parametrize(
    ("proxy", "forwarding", "scheme", "expected"),
    [
        (None, False, "https", False),
        ("http://proxy", False, "http", False),
        ("http://proxy", False, "https", True),
        ("https://proxy", True, "https", False),
        ("http://proxy", True, "https", True),
        ("http://proxy", False, None, True),
    ],
)
def test_which_targets_need_a_tunnel(
    proxy: str | None, forwarding: bool, scheme: str | None, expected: bool
) -> None:
    config = ProxyConfig(None, forwarding, None, None)
    url = None if proxy is None else parse_url(proxy)

    needed = connection_requires_http_tunnel(url, config, scheme)

    assert needed is expected


# -- the retry policy ------------------------------------------------------------------------------


def test_the_history_has_one_entry_per_attempt() -> None:
    error = exceptions.ProtocolError("broken")

    entry = Retry(3).increment("GET", "/a", error=error).history[0]

    assert isinstance(entry, RequestHistory)
    assert (entry.method, entry.url, entry.error) == ("GET", "/a", error)
    assert (entry.status, entry.redirect_location) == (None, None)


def test_errors_are_told_apart_by_what_the_server_may_have_seen() -> None:
    retry = Retry()
    refused = exceptions.NewConnectionError(None, "refused")
    slow = exceptions.ReadTimeoutError(None, "/", "slow")

    assert retry._is_connection_error(refused)
    assert not retry._is_read_error(refused)
    assert retry._is_read_error(slow)
    assert not retry._is_connection_error(slow)
    assert retry._is_connection_error(exceptions.ProxyError("through a proxy", refused))


def test_a_subclass_may_sleep_its_own_way() -> None:
    slept = []

    class Recording(Retry):
        def _sleep_backoff(self) -> None:
            slept.append(self.get_backoff_time())

    Recording(backoff_factor=1).sleep()

    assert slept == [0]


# -- connections -----------------------------------------------------------------------------------


def test_names_that_programs_import_from_the_connection_module() -> None:
    connection = urllib4.connection

    assert connection.HTTPException is http.client.HTTPException
    assert connection.ConnectionError is builtins.ConnectionError
    assert connection.BrokenPipeError is builtins.BrokenPipeError
    assert connection.BaseSSLError is ssl.SSLError
    assert connection.VerifiedHTTPSConnection is HTTPSConnection
    assert not issubclass(connection.DummyConnection, http.client.HTTPConnection)
    assert connection.CertificateError is urllib4.util.ssl_match_hostname.CertificateError
    assert connection.match_hostname is urllib4.util.ssl_match_hostname.match_hostname
    assert connection.ssl_wrap_socket is urllib4.util.ssl_wrap_socket
    assert connection.port_by_scheme == {"http": 80, "https": 443}
    assert connection.log.name == "urllib4.connection"
    assert connection._get_default_user_agent() == f"python-urllib4/{urllib4.__version__}"
    assert connection.ProxyConfig is ProxyConfig


def test_a_connection_keeps_what_it_was_made_with() -> None:
    proxy, config = parse_url("http://proxy:1"), ProxyConfig(None, False, None, None)

    conn = HTTPConnection(
        "example.com.",
        8080,
        timeout=3,
        source_address=("127.0.0.1", 0),
        blocksize=99,
        socket_options=[],
        proxy=proxy,
        proxy_config=config,
    )

    assert (conn.host, conn.port, conn._dns_host) == ("example.com", 8080, "example.com.")
    assert (conn.timeout, conn.blocksize, conn.socket_options) == (3, 99, [])
    assert conn.source_address == ("127.0.0.1", 0)
    assert (conn.proxy, conn.proxy_config) == (proxy, config)
    assert (conn.sock, conn.debuglevel) == (None, 0)
    assert (conn.is_verified, conn.proxy_is_verified) == (False, None)
    assert conn.proxy_is_forwarding
    assert not conn.proxy_is_tunneling


def test_defaults_of_a_connection_are_those_of_its_class() -> None:
    conn = HTTPConnection("example.com")

    assert (conn.port, HTTPConnection.default_port, HTTPSConnection.default_port) == (80, 80, 443)
    assert conn.socket_options == HTTPConnection.default_socket_options
    assert (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1) in HTTPConnection.default_socket_options


def test_a_connection_asks_answers_and_closes(server: DummyServer) -> None:
    conn = HTTPConnection("127.0.0.1", server.http_port)
    assert conn.is_closed

    conn.request("PUT", "/echo", body=b"abc", headers={"X-Tea": "black"})
    response = conn.getresponse()

    seen = response.json()
    assert (seen["method"], seen["target"], seen["body"]) == ("PUT", "/echo", "abc")
    assert dict(seen["headers"])["X-Tea"] == "black"
    assert conn.is_connected
    assert not conn.has_connected_to_proxy
    conn.close()
    assert conn.is_closed
    assert not conn.is_connected


def test_a_connection_opens_its_socket_where_it_is_told(server: DummyServer) -> None:
    class Elsewhere(HTTPConnection):
        def _new_conn(self) -> Any:
            return socket.create_connection(("127.0.0.1", server.http_port))

    conn = Elsewhere("nowhere.invalid")
    conn.connect()
    conn.request("GET", "/")

    assert conn.getresponse().status == 200
    conn.close()


def test_a_request_can_be_written_step_by_step(server: DummyServer) -> None:
    conn = HTTPConnection("127.0.0.1", server.http_port)

    conn.putrequest("GET", "/headers", skip_accept_encoding=True)
    conn.putheader("X-Tea", "black")
    conn.putheader("User-Agent", urllib4.util.SKIP_HEADER)
    conn.endheaders()

    content = http.client.HTTPConnection.getresponse(conn).read()
    assert b'["X-Tea", "black"]' in content
    assert b"User-Agent" not in content
    conn.close()


def test_several_values_put_at_once_are_one_line(script: ScriptedServer) -> None:
    """http.client folds them, which no sender may do (RFC 9112, 5.2); a fold reads as one space."""
    script.accept().expect(re.compile(rb"\r\nX-Tea: black green 3\r\n")).send(
        b"HTTP/1.1 204 No Content\r\n\r\n"
    )
    conn = HTTPConnection("127.0.0.1", script.port)
    conn.putrequest("GET", "/")
    conn.putheader("X-Tea", "black", b"green", 3)
    conn.endheaders()
    assert http.client.HTTPConnection.getresponse(conn).status == 204
    conn.close()


def test_request_chunked_works_and_warns(script: ScriptedServer) -> None:
    script.accept().expect(b"POST / HTTP/1.1\r\n").send(b"HTTP/1.1 204 No Content\r\n\r\n")
    conn = HTTPConnection("127.0.0.1", script.port)

    with pytest.warns(FutureWarning, match="chunked=True"):
        conn.request_chunked("POST", "/", body=b"abc")

    assert conn.getresponse().status == 204
    conn.close()


def test_a_tunnel_leads_through_the_proxy(server: DummyServer) -> None:
    with Proxy() as proxy:
        proxy_url = parse_url(proxy.url)
        conn = HTTPConnection(proxy_url.host or "", proxy_url.port, proxy=proxy_url)
        conn.set_tunnel("127.0.0.1", server.http_port, headers={"X-Proxy": "1"})
        assert conn.proxy_is_tunneling

        conn.request("GET", "/headers")
        response = conn.getresponse()

        assert conn.has_connected_to_proxy
        assert "X-Proxy" not in dict(response.json()["headers"])
        conn.close()
    assert proxy.log[0].startswith(b"CONNECT 127.0.0.1:")
    assert b"X-Proxy: 1" in proxy.log[0]


TLS_OPTIONS = {
    "cert_reqs": "CERT_NONE",
    "assert_hostname": "other.example",
    "assert_fingerprint": "aa" * 32,
    "server_hostname": "name.example",
    "ca_certs": "ca.pem",
    "ca_cert_dir": "ca",
    "ca_cert_data": "-----BEGIN",
    "ssl_minimum_version": ssl.TLSVersion.TLSv1_2,
    "ssl_maximum_version": ssl.TLSVersion.TLSv1_3,
    "cert_file": "client.pem",
    "key_file": "client.key",
    "key_password": "secret",
}


def test_a_tls_connection_keeps_what_it_was_made_with() -> None:
    context = ssl.create_default_context()
    conn = HTTPSConnection("example.com", ssl_context=context, **TLS_OPTIONS)  # type: ignore[arg-type]

    assert {name: getattr(conn, name) for name in TLS_OPTIONS} == TLS_OPTIONS
    assert conn.ssl_context is context
    assert conn.port == 443
    with pytest.warns(FutureWarning, match="ssl_minimum_version"):
        old = HTTPSConnection("example.com", ssl_version=ssl.PROTOCOL_TLS_CLIENT)
    assert old.ssl_version == ssl.PROTOCOL_TLS_CLIENT


def test_set_cert_works_and_warns() -> None:
    conn = HTTPSConnection("example.com")

    with pytest.warns(FutureWarning, match="constructor"):
        conn.set_cert(cert_file="client.pem", ca_certs="ca.pem", assert_hostname=False)

    assert (conn.cert_file, conn.ca_certs, conn.assert_hostname) == ("client.pem", "ca.pem", False)


def test_a_tls_connection_knows_whether_its_peer_was_verified(server: DummyServer) -> None:
    conn = HTTPSConnection("localhost", server.https_port, ca_certs=server.ca_file)
    conn.connect()

    assert conn.is_verified
    conn.close()
    assert not conn.is_verified


def test_a_clock_that_is_wrong_is_told_about(
    server: DummyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Certificates fail to verify then, and nobody would guess why."""
    assert datetime.date.today() >= urllib4.connection.RECENT_DATE
    monkeypatch.setattr(urllib4.connection, "RECENT_DATE", datetime.date(9999, 1, 1))
    conn = HTTPSConnection("localhost", server.https_port, ca_certs=server.ca_file)

    with pytest.warns(exceptions.SystemTimeWarning, match="System time is way off"):
        conn.connect()
    conn.close()


@pytest.mark.parametrize(
    ("protocol", "conn"),
    [
        (BaseHTTPConnection, HTTPConnection("example.com")),
        (BaseHTTPSConnection, HTTPSConnection("example.com")),
    ],
)
def test_our_connections_have_all_that_a_pool_expects_of_one(protocol: Any, conn: Any) -> None:
    members = {
        name
        for cls in protocol.__mro__
        if cls.__module__ == protocol.__module__
        for name in {*vars(cls), *cls.__annotations__}
        if not name.startswith("_")
    }

    assert members >= {"request", "getresponse", "is_verified"}
    assert [name for name in members if not hasattr(conn, name)] == []


def test_how_to_talk_to_a_proxy_is_one_value() -> None:
    config = ProxyConfig(
        ssl_context=None,
        use_forwarding_for_https=True,
        assert_hostname="proxy.example",
        assert_fingerprint="aa",
    )

    assert config == (None, True, "proxy.example", "aa")


# -- responses -------------------------------------------------------------------------------------


def test_a_response_tells_what_its_head_says(server: DummyServer) -> None:
    with pool_of(server) as pool:
        response = pool.request("GET", "/")

    assert (response.status, response.reason) == (200, "OK")
    assert (response.version, response.version_string) == (11, "HTTP/1.1")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.getheaders() is response.info() is response.headers
    assert response.getheader("Content-Length") == "13"
    assert response.getheader("X-Nothing", "default") == "default"
    assert response.data == b"Dummy server!"


def test_a_response_tells_where_it_came_from(server: DummyServer) -> None:
    with pool_of(server) as pool:
        first = pool.request("GET", "/redirect?target=/echo", redirect=False)
        last = pool.request("GET", "/redirect?target=/echo")

    assert BaseHTTPResponse.REDIRECT_STATUSES == [301, 302, 303, 307, 308]
    assert first.get_redirect_location() == "/echo"
    assert last.get_redirect_location() is False
    assert last.url == last.geturl() == "/echo"
    assert last.retries is not None
    assert len(last.retries.history) == 1
    assert last.json()["target"] == "/echo"


def test_content_is_read_in_pieces(server: DummyServer) -> None:
    with pool_of(server) as pool:
        response = pool.request("GET", "/large?size=100", preload_content=False)
        assert response.length_remaining == 100
        assert response.readable()
        assert not response.closed

        assert response.read(4) == b"0123"
        assert response.read1(4) == b"4567"
        buffer = bytearray(4)
        assert response.readinto(buffer) == 4
        assert buffer == b"89ab"
        assert (response.tell(), response.length_remaining) == (12, 88)
        assert b"".join(response.stream(50)) == (b"cdef" + b"0123456789abcdef" * 6)[:88]
        assert response.closed


def test_chunks_are_read_one_by_one(server: DummyServer) -> None:
    with pool_of(server) as pool:
        response = pool.request("GET", "/chunked", preload_content=False)
        assert response.chunked
        assert isinstance(response, HTTPResponse)
        assert response.supports_chunked_reads()
        assert list(response.read_chunked()) == [b"123"] * 4


def test_a_body_that_shows_no_chunks_cannot_be_read_by_chunk() -> None:
    response = HTTPResponse(
        io.BytesIO(b""), headers={"transfer-encoding": "chunked"}, preload_content=False
    )

    assert not response.supports_chunked_reads()
    with pytest.raises(exceptions.BodyNotHttplibCompatible):
        next(response.read_chunked())


def test_decoding_can_be_switched_off(server: DummyServer) -> None:
    with pool_of(server) as pool:
        response = pool.request("GET", "/encoded", preload_content=False)
        response.decode_content = False
        raw = response.read()

    assert gzip.decompress(raw) == b"hello, world!"


def test_the_codings_that_are_undone_are_listed_once_each() -> None:
    codings = HTTPResponse.CONTENT_DECODERS

    assert codings[:3] == ["gzip", "x-gzip", "deflate"]
    assert len(codings) == len(set(codings))
    assert ("zstd" in codings) is urllib4.response.HAS_ZSTD
    assert ("br" in codings) is (urllib4.response.brotli is not None)


def test_what_a_decoder_may_raise_becomes_a_decode_error() -> None:
    assert zlib.error in HTTPResponse.DECODER_ERROR_CLASSES

    with pytest.raises(exceptions.DecodeError):
        HTTPResponse(io.BytesIO(b"no gzip"), headers={"content-encoding": "gzip"})


def test_decoders_have_three_methods() -> None:
    decoder = MultiDecoder("deflate, gzip")
    data = gzip.compress(zlib.compress(b"tea" * 1000))

    first = decoder.decompress(data, max_length=10)
    assert decoder.has_unconsumed_tail
    assert first + decoder.decompress(b"") + decoder.flush() == b"tea" * 1000
    assert not decoder.has_unconsumed_tail

    assert MultiDecoder.max_decode_links == 5
    with pytest.raises(exceptions.DecodeError):
        MultiDecoder(", ".join(["gzip"] * 6))
    with pytest.raises(NotImplementedError):
        ContentDecoder().decompress(b"")
    with pytest.raises(NotImplementedError):
        ContentDecoder().flush()
    with pytest.raises(NotImplementedError):
        _ = ContentDecoder().has_unconsumed_tail


def test_a_response_has_its_connection_until_it_is_released(server: DummyServer) -> None:
    with pool_of(server) as pool:
        response = pool.request("GET", "/", preload_content=False)
        assert isinstance(response.connection, HTTPConnection)
        assert response._pool is pool  # type: ignore[attr-defined]
        assert response._connection is response.connection  # type: ignore[attr-defined]

        response.release_conn()

        assert response.connection is None
        assert pool.request("GET", "/").status == 200
        assert pool.num_connections == 1


def test_draining_saves_the_connection(server: DummyServer) -> None:
    with pool_of(server) as pool:
        response = pool.request("GET", "/large?size=1000", preload_content=False)
        response.drain_conn()

        assert response.read() == b""
        pool.request("GET", "/")
        assert pool.num_connections == 1


def test_closing_a_response_closes_its_connection(server: DummyServer) -> None:
    with pool_of(server) as pool:
        response = pool.request("GET", "/large?size=1000", preload_content=False)
        assert isinstance(response, HTTPResponse)
        assert response.fileno() > 0
        response.flush()
        assert not response.isclosed()

        response.close()

        assert response.isclosed()
        assert response.closed
        pool.request("GET", "/")
        assert pool.num_connections == 2


def test_shutdown_wakes_a_reader_in_another_thread(script: ScriptedServer) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    script.accept().expect(b"GET / ").send(head).expect_eof()
    caught: list[BaseException] = []
    with HTTPConnectionPool("127.0.0.1", script.port, retries=False) as pool:
        response = pool.request("GET", "/", preload_content=False)

        def read() -> None:
            try:
                response.read()
            except exceptions.ProtocolError as error:
                caught.append(error)

        reader = threading.Thread(target=read)
        reader.start()
        response.shutdown()
        reader.join()

    assert len(caught) == 1


def test_a_response_that_does_not_close_itself_can_be_wrapped() -> None:
    response = HTTPResponse(io.BytesIO("grün\ntea".encode()), preload_content=False)
    response.auto_close = False

    assert list(io.TextIOWrapper(response, encoding="utf-8")) == ["grün\n", "tea"]  # type: ignore[type-var]


def test_a_short_body_is_an_error_unless_that_is_switched_off(script: ScriptedServer) -> None:
    for _ in range(2):
        script.accept().expect(b"GET / ").send(
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"
        ).close()
    with HTTPConnectionPool("127.0.0.1", script.port, retries=False) as pool:
        with pytest.raises(exceptions.ProtocolError):
            pool.request("GET", "/")
        assert pool.request("GET", "/", enforce_content_length=False).data == b"abc"
    assert HTTPResponse(b"", enforce_content_length=False).enforce_content_length is False


def test_what_others_reach_for_inside_a_response_is_there(server: DummyServer) -> None:
    with pool_of(server) as pool:
        response: Any = pool.request("GET", "/set_cookie?a=1", preload_content=False)
        assert isinstance(response._original_response, http.client.HTTPResponse)
        assert response._original_response.msg.get_all("set-cookie") == ["a=1; Path=/"]
        assert response._fp is response._original_response
        response.release_conn()
    assert HTTPResponse(b"", msg="kept").msg == "kept"


# -- pools -----------------------------------------------------------------------------------------


def test_a_pool_keeps_what_it_was_made_with() -> None:
    proxy, config = parse_url("http://proxy:1"), ProxyConfig(None, False, None, None)
    pool = HTTPConnectionPool(
        "[::1]",
        8080,
        timeout=3,
        maxsize=2,
        block=True,
        headers={"a": "1"},
        retries=4,
        _proxy=proxy,
        _proxy_headers={"b": "2"},
        _proxy_config=config,
        blocksize=99,
    )

    assert (pool.scheme, pool.host, pool.port) == ("http", "::1", 8080)
    assert (pool.timeout, pool.block, pool.headers) == (Timeout.from_float(3), True, {"a": "1"})
    assert pool.retries == 4
    assert (pool.proxy, pool.proxy_headers, pool.proxy_config) == (proxy, {"b": "2"}, config)
    assert pool.conn_kw["blocksize"] == 99
    assert pool.pool.qsize() == 2
    assert HTTPConnectionPool("example.com").retries is Retry.DEFAULT


def test_a_tls_pool_keeps_what_it_was_made_with() -> None:
    options = {
        name: value
        for name, value in TLS_OPTIONS.items()
        if name not in ("server_hostname", "ca_cert_data")
    }

    pool = HTTPSConnectionPool("example.com", ssl_version=5, **options)  # type: ignore[arg-type]

    assert pool.scheme == "https"
    assert pool.ConnectionCls is HTTPSConnection
    assert {name: getattr(pool, name) for name in options} == options
    assert pool.ssl_version == 5


def test_a_pool_knows_its_own_host() -> None:
    pool = HTTPConnectionPool("Example.com", 80)

    assert pool.is_same_host("/path")
    assert pool.is_same_host("http://example.com/")
    assert not pool.is_same_host("https://example.com/")
    assert not pool.is_same_host("http://example.com:81/")
    with pytest.raises(exceptions.HostChangedError):
        pool.request("GET", "http://other.example/")


def test_the_classes_of_a_pool_can_be_replaced(server: DummyServer) -> None:
    class Connection(HTTPConnection):
        """Another connection."""

    class Response(HTTPResponse):
        """Another response."""

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection
        ResponseCls = Response
        QueueCls = queue.LifoQueue

    with Pool("127.0.0.1", server.http_port) as pool:
        response = pool.request("GET", "/", preload_content=False)
        assert type(response) is Response
        assert type(response.connection) is Connection
        response.release_conn()
        assert type(pool.pool) is queue.LifoQueue
    assert issubclass(Pool, ConnectionPool)


def test_the_steps_of_a_request_can_be_overridden(server: DummyServer) -> None:
    """Programs pin addresses, count and sign there."""
    steps = []

    class Pool(HTTPConnectionPool):
        def _new_conn(self) -> Any:
            steps.append("new")
            return super()._new_conn()

        def _get_conn(self, timeout: float | None = None) -> Any:
            steps.append("get")
            return super()._get_conn(timeout)

        def _validate_conn(self, conn: Any) -> None:
            steps.append("validate")
            super()._validate_conn(conn)

        def _make_request(self, conn: Any, method: str, url: str, **kw: Any) -> Any:
            steps.append(f"{method} {url}")
            return super()._make_request(conn, method, url, **kw)

        def _put_conn(self, conn: Any) -> None:
            steps.append("put")
            super()._put_conn(conn)

    with Pool("127.0.0.1", server.http_port) as pool:
        pool.urlopen("GET", "/")

    assert steps == ["get", "new", "GET /", "validate", "put"]
    assert (pool.num_connections, pool.num_requests) == (1, 1)


def test_the_steps_of_a_tls_request_can_be_overridden(server: DummyServer) -> None:
    steps = []

    class Pool(HTTPSConnectionPool):
        def _new_conn(self) -> Any:
            steps.append("new")
            return super()._new_conn()

        def _prepare_proxy(self, conn: Any) -> None:
            steps.append("tunnel")
            super()._prepare_proxy(conn)

        def _validate_conn(self, conn: Any) -> None:
            super()._validate_conn(conn)
            steps.append(f"verified: {conn.is_verified}")

    with Proxy() as proxy, ProxyManager(proxy.url, ca_certs=server.ca_file) as manager:
        manager.pool_classes_by_scheme["https"] = Pool
        assert manager.request("GET", server.https_url).status == 200

    assert steps == ["new", "tunnel", "verified: True"]


def test_plain_http_needs_no_tunnel() -> None:
    with HTTPConnectionPool("example.com") as pool:
        conn = pool._new_conn()
        pool._prepare_proxy(conn)
        assert not conn.proxy_is_tunneling


def test_a_pool_makes_a_fresh_timeout_for_each_request() -> None:
    pool = HTTPConnectionPool("example.com", timeout=Timeout(3))
    started = pool._get_timeout(Timeout.DEFAULT_TIMEOUT)
    started.start_connect()

    assert pool._get_timeout(Timeout.DEFAULT_TIMEOUT).start_connect() > 0
    assert pool._get_timeout(5) == Timeout.from_float(5)


def test_one_connection_too_many_is_refused_by_a_pool_that_blocks() -> None:
    pool = HTTPConnectionPool("example.com", block=True)
    conn = pool._get_conn()
    pool._put_conn(conn)

    with pytest.raises(exceptions.FullPoolError):
        pool._put_conn(HTTPConnection("example.com"))
    pool.close()
    with pytest.raises(exceptions.ClosedPoolError):
        pool._get_conn()


def test_an_empty_pool_that_blocks_says_so() -> None:
    pool = HTTPConnectionPool("example.com", block=True)
    conn = pool._get_conn()

    with pytest.raises(exceptions.EmptyPoolError):
        pool._get_conn(timeout=0)
    pool._put_conn(conn)
    assert pool._get_conn(timeout=0) is conn


# -- managers --------------------------------------------------------------------------------------


def test_every_keyword_of_a_pool_has_a_field_in_the_key() -> None:
    """Requests that differ in any of them must not share a connection."""
    mappings = ("headers", "_proxy_headers", "_socks_options")
    keywords = [name.removeprefix("key_") for name in PoolKey._fields]
    context: dict[str, Any] = {name: f"<{name}>" for name in keywords}
    context |= {name: {"a": name} for name in mappings}

    key = urllib4.poolmanager._default_key_normalizer(PoolKey, context)

    for name in keywords:
        if name not in (*mappings, "socket_options"):
            assert getattr(key, f"key_{name}") == f"<{name}>", name
    for name in mappings:
        assert getattr(key, f"key_{name}") == frozenset({("a", name)})
    assert key.key_socket_options == tuple("<socket_options>")
    assert len({key, key._replace(key_timeout=1), key._replace(key_ca_certs="x")}) == 3


def test_a_key_can_be_widened() -> None:
    wide = namedtuple("wide", (*PoolKey._fields, "key_owner"))  # type: ignore[misc]
    manager = PoolManager(owner="ann")
    manager.key_fn_by_scheme["http"] = functools.partial(
        urllib4.poolmanager._default_key_normalizer, wide
    )

    first = manager.connection_from_url("http://example.com")
    manager.connection_pool_kw["owner"] = "bob"

    assert manager.connection_from_url("http://example.com") is not first
    assert set(urllib4.poolmanager.key_fn_by_scheme) == {"http", "https"}
    assert "owner" not in first.conn_kw


def test_tls_keywords_do_not_reach_pools_without_tls() -> None:
    keywords = dict.fromkeys(urllib4.poolmanager.SSL_KEYWORDS, "x")
    keywords["ssl_version"] = keywords["ssl_context"] = None  # type: ignore[assignment]
    keywords["assert_pins"] = f"sha256//{'A' * 43}="
    keywords["tls_session_cache"] = False  # type: ignore[assignment]
    manager = PoolManager(**keywords)

    pool = manager.connection_from_host("example.com")

    assert pool.conn_kw == {"blocksize": 16384}


def test_a_manager_makes_its_pools_where_it_can_be_overridden() -> None:
    class Manager(PoolManager):
        def _new_pool(self, scheme: str, host: str, port: int, request_context: Any = None) -> Any:
            pool = super()._new_pool(scheme, host, port, request_context)
            pool.made_by = self
            return pool

    manager = Manager(maxsize=7)

    pool = manager.connection_from_host("example.com", scheme="https")

    assert pool.made_by is manager
    assert (pool.port, pool.pool.maxsize) == (443, 7)
    assert urllib4.poolmanager.port_by_scheme["https"] == 443


def test_all_ways_to_a_pool_lead_to_the_same_one() -> None:
    manager = PoolManager(num_pools=3)
    context = {**manager.connection_pool_kw, "scheme": "http", "host": "example.com", "port": 80}

    pool = manager.connection_from_url("http://example.com/")

    assert manager.connection_from_host("example.com") is pool
    assert manager.connection_from_context(dict(context)) is pool
    key = manager.key_fn_by_scheme["http"](context)
    assert manager.connection_from_pool_key(key, context) is pool
    assert len(manager.pools) == 1
    manager.clear()
    assert len(manager.pools) == 0


def test_pool_classes_belong_to_one_manager() -> None:
    class Pool(HTTPConnectionPool):
        """Another pool."""

    manager = PoolManager()
    manager.pool_classes_by_scheme["http"] = Pool

    assert type(manager.connection_from_host("example.com")) is Pool
    assert type(PoolManager().connection_from_host("example.com")) is HTTPConnectionPool
    assert urllib4.poolmanager.pool_classes_by_scheme["http"] is HTTPConnectionPool


def test_a_manager_without_a_proxy_says_so() -> None:
    assert PoolManager().proxy is None
    assert PoolManager().proxy_config is None


def test_a_proxy_manager_keeps_what_it_was_made_with() -> None:
    context = ssl.create_default_context()
    for manager in (
        ProxyManager("https://proxy.example", proxy_headers={"a": "1"}, proxy_ssl_context=context),
        urllib4.proxy_from_url(
            "https://proxy.example", proxy_headers={"a": "1"}, proxy_ssl_context=context
        ),
    ):
        assert manager.proxy == parse_url("https://proxy.example:443")
        assert manager.proxy_headers == {"a": "1"}
        assert manager.proxy_ssl_context is context
        assert manager.proxy_config == ProxyConfig(context, False, None, None)
        assert manager.connection_from_host("target.example").host == "proxy.example"


def test_a_proxy_error_has_the_error_of_the_connection() -> None:
    with Proxy() as proxy:
        url = proxy.url
    with (
        ProxyManager(url, retries=False) as manager,
        pytest.raises(exceptions.ProxyError) as caught,
    ):
        manager.urlopen("GET", "http://example.com/")

    assert isinstance(caught.value.original_error, exceptions.NewConnectionError)
