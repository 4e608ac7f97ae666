"""Defects that programs on top of us showed first, in their smallest form."""

from __future__ import annotations

import io
import ssl

import pytest

from dummyserver.certs import Certificates
from dummyserver.counting import CountingServer, Exchange, ok
from dummyserver.proxy import Proxy
from dummyserver.script import ScriptedServer
from urllib4 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager, Retry
from urllib4._http1.message import Http1Response
from urllib4.connection import HTTPConnection
from urllib4.exceptions import MaxRetryError, ProtocolError, ProxyError, ReadTimeoutError, SSLError
from urllib4.response import HTTPResponse


def _without_body(exchange: Exchange) -> bytes:
    if exchange.target == "/204":
        return b"HTTP/1.1 204 No Content\r\n\r\n"
    if exchange.target == "/304":
        return b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"
    return ok(b"", "Content-Length: 0")


@pytest.mark.parametrize(("method", "target"), [("HEAD", "/"), ("GET", "/"), ("GET", "/204"),
                                                ("GET", "/304")])  # fmt: skip
def test_a_response_without_body_frees_its_connection_unread(method: str, target: str) -> None:
    """requests never preloads, and nobody reads the content of a HEAD (RFC 9112, 6.3)."""
    with (
        CountingServer(_without_body) as server,
        HTTPConnectionPool(server.host, server.port, maxsize=1, block=True) as pool,
    ):
        for _ in range(3):
            response = pool.request(method, target, preload_content=False, pool_timeout=1)
        assert response.read() == b""
    assert server.connections == 1


def test_a_connection_by_itself_goes_on_after_a_response_without_body() -> None:
    with CountingServer(_without_body) as server:
        conn = HTTPConnection(server.host, server.port)
        for method in ("HEAD", "GET", "HEAD"):
            conn.request(method, "/", preload_content=False)
            assert conn.getresponse().status == 200
        conn.close()
    assert server.connections == 1


def test_a_connection_by_itself_connects_anew_after_close_without_body() -> None:
    with CountingServer(lambda exchange: ok(b"", "Connection: close")) as server:
        conn = HTTPConnection(server.host, server.port)
        for _ in range(2):
            conn.request("HEAD", "/", preload_content=False)
            assert conn.getresponse().status == 200
        conn.close()
    assert server.connections == 2


def test_what_fails_behind_a_proxy_is_not_blamed_on_it(script: ScriptedServer) -> None:
    """The connection is closed before the error is named; it knows how far it had come."""
    script.accept().expect(b"GET http://slow.test/ ")
    script.accept().expect(b"CONNECT plain.test:443 ").send(
        b"HTTP/1.1 200 OK\r\n\r\n"
    ).read_exactly(1).send(b"HTTP/1.1 400 Bad Request\r\n\r\n").close()
    with ProxyManager(script.url, timeout=0.3) as manager, pytest.raises(ReadTimeoutError):
        manager.request("GET", "http://slow.test/", retries=False)
    with ProxyManager(script.url, timeout=5) as manager, pytest.raises(MaxRetryError) as caught:
        manager.request("GET", "https://plain.test/", retries=Retry(0))
    assert isinstance(caught.value.reason, SSLError)


def test_a_tunnel_that_is_refused_is_blamed_on_the_proxy() -> None:
    with (
        Proxy(credentials="user:password") as proxy,
        ProxyManager(proxy.url) as manager,
        pytest.raises(MaxRetryError) as caught,
    ):
        manager.request("GET", "https://example.test/", retries=Retry(0))
    assert isinstance(caught.value.reason, ProxyError)
    assert "407" in str(caught.value.reason)


def test_a_tunnel_starts_at_the_proxy(ca_file: str, tls_script: ScriptedServer) -> None:
    """The connection of a pool for the target is one to the proxy."""
    tls_script.accept().expect(b"GET / ").send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    target = {("localhost", 443): (tls_script.host, tls_script.port)}
    with Proxy(resolve=target) as proxy, ProxyManager(proxy.url, ca_certs=ca_file) as manager:
        pool = manager.connection_from_url("https://localhost/")
        assert isinstance(pool, HTTPSConnectionPool)
        assert (pool.host, pool.port) == ("localhost", 443)
        assert manager.request("GET", "https://localhost/").data == b"ok"
    assert [head.partition(b"\r\n")[0] for head in proxy.log] == [b"CONNECT localhost:443 HTTP/1.1"]


class ClosesWhenAsked(io.BytesIO):
    """Its ``isclosed()`` closes an exhausted file and still says no, once (responses does that)."""

    def isclosed(self) -> bool:
        if self.closed:
            return True
        if self.tell() == len(self.getvalue()):
            self.close()
        return False


@pytest.mark.parametrize("amt", [1, 3, 100, None])
def test_a_double_that_closes_itself_when_asked_is_read_to_its_end(amt: int | None) -> None:
    response = HTTPResponse(
        ClosesWhenAsked(b"content"),
        preload_content=False,
        original_response=HTTPResponse(ClosesWhenAsked(b""), preload_content=False),  # type: ignore[arg-type,unused-ignore]
    )

    assert b"".join(response.stream(amt)) == b"content"


@pytest.mark.parametrize("preload_content", [True, False])
@pytest.mark.parametrize("by_steps", [True, False])
def test_an_upgraded_connection_is_handed_over_and_never_reused(
    by_steps: bool, preload_content: bool, script: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docker attaches to containers so: the socket is its own from then on (RFC 9110, 7.8)."""
    script.accept().expect(b"POST /attach ").send(
        b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nearly "
    ).read_exactly(5).send(b"late").close()
    script.accept().expect(b"GET / ").send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    if by_steps:
        monkeypatch.setattr(HTTPConnection, "response_class", type("Own", (Http1Response,), {}))
    with HTTPConnectionPool(script.host, script.port, timeout=5) as pool:
        response = pool.request(
            "POST",
            "/attach",
            headers={"Connection": "Upgrade", "Upgrade": "tcp"},
            preload_content=preload_content,
        )
        assert response.status == 101
        raw = response._fp.fp.raw
        raw.write(b"hello")
        received = b""
        while piece := raw.read(64):
            received += piece
        assert received == b"early late"
        assert pool.request("GET", "/").status == 200
        raw.close()
        response.close()


def test_an_upgrade_that_nobody_asked_for_is_an_error(script: ScriptedServer) -> None:
    script.accept().expect(b"GET / ").send(b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n")
    pool = HTTPConnectionPool(script.host, script.port, timeout=5)
    with pool, pytest.raises(ProtocolError, match="101"):
        pool.request("GET", "/", retries=False)


def test_what_is_left_of_a_chunk_can_be_seen(script: ScriptedServer) -> None:
    """docker reads one byte, which waits for a chunk, and then the rest of that chunk."""
    script.accept().expect(b"GET / ").send(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"
    )
    with HTTPConnectionPool(script.host, script.port) as pool:
        response = pool.request("GET", "/", preload_content=False)
        pieces = []
        while data := response.read(1):
            if response._fp.chunk_left:
                data += response.read(response._fp.chunk_left)
            pieces.append(data)
    assert pieces == [b"hello", b"!"]


def test_cas_are_added_to_the_systems_in_a_default_context(
    tls_script: ScriptedServer, certs: Certificates
) -> None:
    """elastic-transport passes both; the context itself stays as it is."""
    tls_script.accept().expect(b"GET / ").send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    context = ssl.create_default_context()
    before = context.cert_store_stats()
    with PoolManager(ssl_context=context, ca_certs=certs.ca_file) as manager:
        assert manager.request("GET", tls_script.url).status == 200
    assert context.cert_store_stats() == before


def test_a_chosen_store_is_not_added_to(certs: Certificates) -> None:
    """Who trusts one authority only, through a context, means it."""
    context = ssl.create_default_context(cafile=certs.unrelated_ca_file)
    with CountingServer(_without_body, tls=certs.server_context()) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        manager = PoolManager(ssl_context=context, ca_certs=certs.ca_file)
        with manager, pytest.raises(SSLError, match="do not apply to the given ssl_context"):
            manager.request("GET", url, retries=False)
