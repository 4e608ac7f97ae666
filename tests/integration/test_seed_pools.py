"""What the page "ConnectionPools" promises, statement by statement (S0-1 to S0-17).

S0-17, that its examples run, is ``tests/doctests/test_seed_examples.py``.
"""

from __future__ import annotations

import http.client
import inspect
import queue
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import urllib4.connectionpool
from dummyserver.counting import CountingServer, Exchange, ok
from dummyserver.server import DummyServer
from dummyserver.threaded import PATIENCE
from urllib4 import HTTPConnectionPool, HTTPSConnectionPool
from urllib4.connection import HTTPConnection
from urllib4.connectionpool import ConnectionPool, connection_from_url
from urllib4.exceptions import EmptyPoolError, HostChangedError, ReadTimeoutError

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "connectionpool.rst"


def public_members(cls: type) -> list[str]:
    """The names that documentation with inherited members shows."""
    return [
        name
        for name in dir(cls)
        if not name.startswith("_") and callable(inspect.getattr_static(cls, name))
    ]


def test_the_module_of_pools_has_documentation_of_its_own() -> None:
    """S0-1: the page shows the module's docstring, and the reference has a page for it."""
    module = urllib4.connectionpool
    assert inspect.getdoc(module)
    for name in module.__all__:
        assert inspect.getdoc(getattr(module, name)), name
    assert "urllib4.connectionpool" in REFERENCE.read_text(encoding="utf-8")


@pytest.mark.parametrize("change", ["host", "port", "scheme"])
def test_a_pool_refuses_requests_to_another_host(change: str) -> None:
    """S0-2: a pool holds connections to one host; nothing is sent to it for another."""
    with CountingServer() as server, HTTPConnectionPool(server.host, server.port) as pool:
        other = {
            "host": f"http://localhost:{server.port}/",
            "port": f"http://{server.host}:{server.port - 1}/",
            "scheme": f"https://{server.host}:{server.port}/",
        }[change]
        with pytest.raises(HostChangedError):
            pool.request("GET", other, retries=False)
        assert pool.request("GET", f"{server.url}/same").status == 200
        assert [exchange.target for exchange in server.exchanges] == [f"{server.url}/same"]


def redirecting(location: str) -> CountingServer:
    def answer(exchange: Exchange) -> bytes:
        if exchange.target != "/here":
            return ok(exchange.target.encode())
        place = location.replace("SELF", f"{server.host}:{server.port}")
        return ok(b"", f"Location: {place}", status="302 Found")

    server = CountingServer(answer)
    return server


@pytest.mark.parametrize("location", ["http://other.invalid/", "//other.invalid/x"])
def test_a_pool_refuses_to_be_redirected_to_another_host(location: str) -> None:
    """S0-2: neither is the path of another host asked for here."""
    with redirecting(location) as server, HTTPConnectionPool(server.host, server.port) as pool:
        with pytest.raises(HostChangedError):
            pool.request("GET", "/here")
        assert len(server.exchanges) == 1


@pytest.mark.parametrize("location", ["/there", "http://SELF/there", "//SELF/there"])
def test_a_redirect_on_the_same_host_keeps_what_is_for_that_host(location: str) -> None:
    """S0-2: however the server writes the place."""
    headers = {"Authorization": "Basic eDp5", "Cookie": "a=b"}
    with redirecting(location) as server, HTTPConnectionPool(server.host, server.port) as pool:
        assert pool.request("GET", "/here", headers=headers).data.endswith(b"/there")
        assert server.exchanges[1].header("Authorization") == "Basic eDp5"
        assert server.exchanges[1].header("Cookie") == "a=b"


def test_a_pool_takes_the_host_first_and_maxsize_by_name() -> None:
    """S0-3: ``HTTPConnectionPool('host', maxsize=1)``."""
    with urllib4.HTTPConnectionPool("ajax.googleapis.com", maxsize=3) as pool:
        assert (pool.host, pool.port, pool.scheme) == ("ajax.googleapis.com", None, "http")
        assert pool.pool.maxsize == 3


def test_fields_of_a_get_are_in_the_query_and_the_status_is_a_number(server: DummyServer) -> None:
    """S0-4."""
    with HTTPConnectionPool("127.0.0.1", server.http_port, maxsize=1) as pool:
        response = pool.request("GET", "/echo", fields={"q": "urllib4", "v": "1.0"})
        assert type(response.status) is int
        assert response.status == 200
        assert response.json()["target"] == "/echo?q=urllib4&v=1.0"
        assert response.json()["body"] == ""


def test_headers_are_found_in_any_case_and_are_text(server: DummyServer) -> None:
    """S0-5."""
    with HTTPConnectionPool("127.0.0.1", server.http_port) as pool:
        headers = pool.request("GET", "/").headers
    for name in ("content-type", "Content-Type", "CONTENT-TYPE"):
        assert headers[name] == "text/plain; charset=utf-8"
        assert type(headers[name]) is str


def test_data_is_the_content_as_bytes_and_text_as_str(server: DummyServer) -> None:
    """S0-6 as D6 decides it: the page's ``'data: ' + r.data`` is ``b'data: ' + r.data``."""
    with HTTPConnectionPool("127.0.0.1", server.http_port) as pool:
        response = pool.request("GET", "/")
    assert b"data: " + response.data == b"data: Dummy server!"
    assert "data: " + response.text() == "data: Dummy server!"
    with pytest.raises(TypeError):
        "data: " + response.data


def test_two_requests_after_each_other_share_a_connection(server: DummyServer) -> None:
    """S0-7: also as the server sees it."""
    with HTTPConnectionPool("127.0.0.1", server.http_port, maxsize=1) as pool:
        peers = [pool.request("GET", "/keepalive").json()["peer"] for _ in range(2)]
        assert (pool.num_connections, pool.num_requests) == (1, 2)
    assert peers[0] == peers[1]


def get_together(pool: HTTPConnectionPool, number: int) -> None:
    """Send so many requests by as many threads."""
    with ThreadPoolExecutor(number) as threads:
        for status in threads.map(lambda i: pool.request("GET", f"/{i}").status, range(number)):
            assert status == 200


def answer_when_together(number: int) -> tuple[threading.Barrier, CountingServer]:
    """A server that answers only when so many requests have arrived."""
    barrier = threading.Barrier(number)

    def answer(exchange: Exchange) -> bytes:
        barrier.wait(PATIENCE)
        return ok(exchange.target.encode())

    return barrier, CountingServer(answer)


def test_by_default_a_pool_keeps_one_connection(caplog: pytest.LogCaptureFixture) -> None:
    """S0-8: five at once are five connections, of which one is kept."""
    _, counting = answer_when_together(5)
    with counting, HTTPConnectionPool(counting.host, counting.port) as pool:
        get_together(pool, 5)
        counting.wait_until(lambda: counting.open == 1)
        assert counting.connections == pool.num_connections == 5
        assert pool.pool.qsize() == 1
    assert caplog.text.count("Connection pool is full, discarding connection") == 1


def test_a_pool_as_large_as_the_number_of_threads_keeps_all(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """S0-9: two rounds of eight threads need eight connections in all, none is discarded."""
    _, counting = answer_when_together(8)
    with counting, HTTPConnectionPool(counting.host, counting.port, maxsize=8) as pool:
        get_together(pool, 8)
        get_together(pool, 8)
        assert counting.connections == counting.open == pool.num_connections == 8
        assert pool.num_requests == 16
    assert "discarding" not in caplog.text


def test_a_timeout_can_be_set_on_the_pool() -> None:
    """S0-10."""
    silence = threading.Event()

    def answer(exchange: Exchange) -> bytes:
        silence.wait(PATIENCE)
        return ok()

    with (
        CountingServer(answer) as server,
        HTTPConnectionPool(server.host, server.port, timeout=0.05, retries=False) as pool,
    ):
        with pytest.raises(ReadTimeoutError):
            pool.request("GET", "/")
        silence.set()


def test_a_pool_can_block_instead_of_opening_more(server: DummyServer) -> None:
    """S0-10."""
    with HTTPConnectionPool("127.0.0.1", server.http_port, maxsize=1, block=True) as pool:
        response = pool.request("GET", "/large", preload_content=False)
        with pytest.raises(EmptyPoolError):
            pool.request("GET", "/", pool_timeout=0.01)
        response.close()
        assert pool.request("GET", "/", pool_timeout=0.01).status == 200


def test_default_headers_can_be_set_on_the_pool(server: DummyServer) -> None:
    """S0-10: they are sent with requests that are given none."""
    with HTTPConnectionPool("127.0.0.1", server.http_port, headers={"X-Default": "yes"}) as pool:
        sent = dict(pool.request("GET", "/headers").json()["headers"])
        assert sent["X-Default"] == "yes"
        sent = dict(pool.request("GET", "/headers", headers={"X-Own": "1"}).json()["headers"])
        assert sent["X-Own"] == "1"
        assert "X-Default" not in sent


def test_a_pool_empties_itself_at_the_end_of_its_block() -> None:
    """S0-11: the server sees the end of each connection."""
    _, counting = answer_when_together(3)
    with counting:
        with HTTPConnectionPool(counting.host, counting.port, maxsize=3) as pool:
            get_together(pool, 3)
            assert counting.open == 3
        counting.wait_until(lambda: counting.open == 0)


def test_the_queue_of_a_pool_is_a_lifo_queue_and_none_afterwards() -> None:
    """S0-12."""
    with HTTPConnectionPool("localhost", maxsize=1) as pool:
        assert isinstance(pool.pool, queue.LifoQueue)
    assert pool.pool is None


def test_connection_from_url_makes_the_pool_for_a_scheme() -> None:
    """S0-13."""
    plain = connection_from_url("http://localhost:81/path", maxsize=2)
    assert type(plain) is HTTPConnectionPool
    assert (plain.host, plain.port, plain.pool.maxsize) == ("localhost", 81, 2)
    secure = connection_from_url("https://localhost/")
    assert type(secure) is HTTPSConnectionPool
    assert (secure.host, secure.port) == ("localhost", 443)


def test_the_page_shows_pools_with_their_inherited_members() -> None:
    """S0-14: all that can be called is documented, and the reference asks to show it."""
    for cls in (HTTPConnectionPool, HTTPSConnectionPool):
        assert {"request", "request_encode_url", "urlopen", "close"} <= set(public_members(cls))
        for name in public_members(cls):
            assert inspect.getdoc(getattr(cls, name)), f"{cls.__name__}.{name}"
    page = REFERENCE.read_text(encoding="utf-8")
    _, _, pool = page.partition(".. autoclass:: HTTPConnectionPool")
    options = pool.partition(".. auto")[0]
    assert ":members:" in options
    assert ":inherited-members:" in options
    assert ".. autoclass:: HTTPSConnectionPool" in page


def test_both_pools_have_a_common_base() -> None:
    """S0-15."""
    assert issubclass(HTTPConnectionPool, ConnectionPool)
    assert issubclass(HTTPSConnectionPool, ConnectionPool)


def test_the_connection_class_is_more_flexible_than_the_standard_one() -> None:
    """S0-16: a subclass with options of its own that have effect."""
    assert issubclass(HTTPConnection, http.client.HTTPConnection)
    assert HTTPConnection is not http.client.HTTPConnection
    option = (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    with CountingServer() as server:
        conn = HTTPConnection(
            server.host,
            server.port,
            source_address=("127.0.0.2", 0),
            socket_options=[*HTTPConnection.default_socket_options, option],
        )
        try:
            conn.connect()
            assert conn.sock.getsockname()[0] == "127.0.0.2"
            assert conn.sock.getsockopt(*option[:2]) == 1
            conn.request("GET", "/flexible")
            assert conn.getresponse().data == b"/flexible"
        finally:
            conn.close()
