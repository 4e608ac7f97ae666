"""What programs override, replace and patch around connections and pools, over real sockets.

Each habit was seen in a library that depends on urllib3; a request that passes it by would switch
off somebody's tracing, mocking or address policy in silence.
"""

from __future__ import annotations

import functools
import http.client
import queue
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

import urllib4.util.connection
from dummyserver.certs import Certificates
from dummyserver.counting import CountingServer, Exchange, ok
from dummyserver.proxy import Proxy
from dummyserver.script import ScriptedServer
from urllib4 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager, Retry
from urllib4.connection import HTTPConnection, HTTPSConnection
from urllib4.exceptions import HTTPError, MaxRetryError, NewConnectionError, ProtocolError
from urllib4.response import HTTPResponse
from urllib4.util import wait_for_read

STEPS = ("putrequest", "putheader", "endheaders", "send", "_send_output", "getresponse")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n3\r\nay!\r\n0\r\n\r\n"


@pytest.fixture
def counting() -> Iterator[CountingServer]:
    """Answers each request with its body and counts connections."""
    with CountingServer(lambda exchange: ok(exchange.body)) as server:
        yield server


@pytest.fixture
def tls_counting(certs: Certificates) -> Iterator[CountingServer]:
    """The same behind TLS."""
    with CountingServer(lambda exchange: ok(exchange.body), tls=certs.server_context()) as server:
        yield server


def pool_for(server: CountingServer, cls: Any = HTTPConnectionPool, **options: Any) -> Any:
    return cls(server.host, server.port, **options)


# -- the steps of a connection -------------------------------------------------------------------


@pytest.mark.parametrize("place", ["standard class", "our class", "subclass", "instance"])
@pytest.mark.parametrize("step", STEPS)
def test_requests_of_a_pool_pass_a_hooked_step_and_reuse_the_connection(
    step: str, place: str, counting: CountingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []

    def hook(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(conn: Any, *args: Any, **kwargs: Any) -> Any:
            calls.append(args)
            return original(conn, *args, **kwargs)

        return wrapper

    pool = pool_for(counting)
    if place == "standard class":
        std = http.client.HTTPConnection
        monkeypatch.setattr(std, step, hook(getattr(std, step)))
    elif place == "our class":
        wrapper = hook(getattr(HTTPConnection, step))
        monkeypatch.setattr(HTTPConnection, step, wrapper, raising=False)
    elif place == "subclass":
        wrapper = hook(getattr(HTTPConnection, step))
        pool.ConnectionCls = type("Traced", (HTTPConnection,), {step: wrapper})
    else:
        conn = pool._get_conn()
        setattr(conn, step, hook(getattr(HTTPConnection, step)).__get__(conn))
        pool._put_conn(conn)
    seen = []
    with pool:
        for body in (b"first", b"s" * 100_000):
            calls.clear()
            assert pool.request("POST", "/", body=body).data == body
            seen.append(list(calls))
        assert pool.request("GET", "/", preload_content=False).read() == b""

    assert all(seen)
    assert counting.connections == 1
    assert [exchange.body for exchange in counting.exchanges] == [b"first", b"s" * 100_000, b""]
    if step == "send":
        for args, exchange in zip(seen, counting.exchanges, strict=False):
            assert b"".join(bytes(arg[0]) for arg in args).endswith(exchange.body)
            assert bytes(args[0][0]).startswith(b"POST / HTTP/1.1\r\n")


class PlainMessage(http.client.HTTPResponse):
    """A response class that is not ours."""


@pytest.mark.parametrize(
    "response_class", [http.client.HTTPResponse, PlainMessage, functools.partial(PlainMessage)]
)
def test_a_response_class_of_the_standard_library_works(
    response_class: Any, script: ScriptedServer
) -> None:
    """All ways to read it, on one connection: the message reads from a file of its own."""

    class Connection(HTTPConnection):
        pass

    Connection.response_class = (
        staticmethod(response_class)
        if isinstance(response_class, functools.partial)
        else response_class
    )
    exchanges = script.accept()
    for answer in (OK, CHUNKED, CHUNKED, OK, b"HTTP/1.1 204 No Content\r\n\r\n", OK):
        exchanges.expect(b"GET / ").send(answer)
    with HTTPConnectionPool(script.host, script.port) as pool:
        pool.ConnectionCls = Connection
        assert pool.request("GET", "/").data == b"ok"
        assert pool.request("GET", "/").data == b"okay!"
        streamed = pool.request("GET", "/", preload_content=False)
        assert list(streamed.stream(2)) == [b"ok", b"ay", b"!"]
        assert type(streamed._fp).__name__ in ("HTTPResponse", "PlainMessage")
        streamed = pool.request("GET", "/", preload_content=False)
        assert [streamed.read(1), streamed.read(9), streamed.read()] == [b"o", b"k", b""]
        assert pool.request("GET", "/").status == 204
        assert pool.request("GET", "/").data == b"ok"


class ExpectingMessage(http.client.HTTPResponse):
    """Takes a status line that was read before it was made."""

    def __init__(self, *args: Any, first_line: tuple[str, int, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._first_line: Any = first_line

    def _read_status(self) -> Any:
        line, self._first_line = self._first_line, None
        return line if line is not None else super()._read_status()


class ExpectingConnection(HTTPConnection):
    """Waits for 100 before it sends a body, by the means that botocore has."""

    _answered = False
    order: list[str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._given_class = self.response_class
        self.order = []

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        self._answered = False
        self.response_class = self._given_class
        super().request(method, url, *args, **kwargs)

    def _send_output(self, message_body: Any = None, *args: Any, **kwargs: Any) -> None:
        head = b"\r\n".join([*self._buffer, b"", b""])
        self._buffer.clear()
        self.send(head)
        self.order.append("head")
        if b"\r\nExpect: 100-continue\r\n" in head and wait_for_read(self.sock, 5):
            self._read_early_answer()

    def _read_early_answer(self) -> None:
        with self.sock.makefile("rb", 0) as file:
            version, status, reason = file.readline().decode().split(None, 2)
            if status == "100":
                assert file.readline() == b"\r\n"
                self.order.append("100")
                return
        first_line = (version, int(status), reason)
        self.response_class = functools.partial(ExpectingMessage, first_line=first_line)
        self._answered = True

    def send(self, data: Any) -> None:
        if not self._answered:
            super().send(data)
            self.order.append(f"{len(data)} bytes")


def _head_only(request: bytes) -> bool:
    return request.endswith(b"\r\n\r\n")


def test_a_connection_that_waits_for_100_continue(script: ScriptedServer) -> None:
    refusal = b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno"
    exchanges = script.accept()
    exchanges.expect(_head_only, body=False).send(b"HTTP/1.1 100 Continue\r\n\r\n")
    exchanges.read_exactly(4).send(OK)
    exchanges.expect(_head_only, body=False).send(refusal)
    exchanges.expect(b"GET / ").send(OK)
    headers = {"Expect": "100-continue"}
    with HTTPConnectionPool(script.host, script.port) as pool:
        pool.ConnectionCls = ExpectingConnection
        assert pool.request("PUT", "/", body=b"body", headers=headers).data == b"ok"
        conn = pool._get_conn()
        assert [conn.order[0][-5:], *conn.order[1:]] == ["bytes", "head", "100", "4 bytes"]
        conn.order.clear()
        pool._put_conn(conn)

        refused = pool.request("PUT", "/", body=b"body", headers=headers)
        assert (refused.status, refused.reason, refused.data) == (417, "Expectation Failed", b"no")
        assert "4 bytes" not in conn.order
        assert pool.request("GET", "/").data == b"ok"


# -- where a connection leads --------------------------------------------------------------------


class PolicedConnection(HTTPConnection):
    """Says where it would connect to, and may refuse."""

    asked: list[tuple[str, int | None]] = []
    refused = ""

    def _new_conn(self) -> Any:
        self.asked.append((self._dns_host, self.port))
        if self._dns_host == self.refused:
            raise NewConnectionError(self, "address is not allowed")
        return super()._new_conn()


class PolicedHTTPSConnection(PolicedConnection, HTTPSConnection):
    """The same with TLS."""


@pytest.fixture
def policed(monkeypatch: pytest.MonkeyPatch) -> type[PolicedConnection]:
    """The policy with a fresh record."""
    monkeypatch.setattr(PolicedConnection, "asked", [])
    return PolicedConnection


def test_new_conn_is_asked_for_every_connection(
    policed: type[PolicedConnection],
    counting: CountingServer,
    tls_counting: CountingServer,
    ca_file: str,
) -> None:
    """Directly, over TLS, through a proxy and through a tunnel."""
    pools = {
        "http": type("Plain", (HTTPConnectionPool,), {"ConnectionCls": policed}),
        "https": type("Secure", (HTTPSConnectionPool,), {"ConnectionCls": PolicedHTTPSConnection}),
    }
    with Proxy() as proxy:
        for manager in (PoolManager(ca_certs=ca_file), ProxyManager(proxy.url, ca_certs=ca_file)):
            manager.pool_classes_by_scheme = pools
            with manager:
                assert manager.request("GET", f"{counting.url}/").status == 200
                assert manager.request("GET", f"{tls_counting.url}/").status == 200
        own = [("127.0.0.1", counting.port), ("127.0.0.1", tls_counting.port)]
        assert policed.asked == [*own, *[("127.0.0.1", proxy.port)] * 2]


def test_a_policy_can_refuse_an_address_also_after_a_redirect(
    policed: type[PolicedConnection], monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere(exchange: Exchange) -> bytes:
        return ok(b"", "Location: http://localhost:1/inside", status="302 Found")

    monkeypatch.setattr(policed, "refused", "localhost")
    with CountingServer(elsewhere) as server, PoolManager(retries=Retry(connect=0)) as manager:
        monkeypatch.setitem(
            manager.pool_classes_by_scheme,
            "http",
            type("Plain", (HTTPConnectionPool,), {"ConnectionCls": policed}),
        )
        with pytest.raises(MaxRetryError) as caught:
            manager.request("GET", server.url)

    assert isinstance(caught.value.reason, NewConnectionError)
    assert policed.asked == [("127.0.0.1", server.port), ("localhost", 1)]


class _UnixHandler(BaseHTTPRequestHandler):
    """Answers with the target; keeps connections open."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


class _UnixServer(socketserver.ThreadingUnixStreamServer):
    """Counts connections; its threads end with their clients."""

    connections = 0

    def get_request(self) -> Any:
        self.connections += 1
        sock, _ = super().get_request()
        return sock, ("unix", 0)


@pytest.fixture
def unix_server(tmp_path: Path) -> Iterator[_UnixServer]:
    """An HTTP server on a Unix socket, such as docker's."""
    with _UnixServer(str(tmp_path / "socket"), _UnixHandler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class UnixConnection(HTTPConnection):
    """Sets its socket in connect(); knows little of what our constructor takes."""

    def __init__(self, path: str, timeout: Any = 60) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(self.timeout)
        sock.connect(self.path)
        self.sock = sock


class UnixPool(HTTPConnectionPool):
    """Makes such connections, without any argument."""

    def __init__(self, path: str, **options: Any) -> None:
        super().__init__("localhost", **options)
        self.path = path

    def _new_conn(self) -> Any:
        return UnixConnection(self.path, self.timeout.connect_timeout)

    def _get_conn(self, timeout: float | None = None) -> Any:
        return super()._get_conn(timeout)


def test_connections_that_set_their_own_socket_are_reused(unix_server: _UnixServer) -> None:
    path = str(unix_server.server_address)
    with UnixPool(path, timeout=5, maxsize=2, block=True) as pool:
        assert [pool.request("GET", f"/{n}").data for n in range(3)] == [b"/0", b"/1", b"/2"]
        response = pool.request("GET", "/raw", preload_content=False)
        assert response._fp.fp.raw._sock.family == socket.AF_UNIX
        assert response.read() == b"/raw"

    assert unix_server.connections == 1


def test_such_a_connection_works_without_a_pool(unix_server: _UnixServer) -> None:
    conn = UnixConnection(str(unix_server.server_address))
    for target in ("/a", "/b"):
        conn.request("GET", target)
        assert conn.getresponse().data == target.encode()
    conn.close()

    assert unix_server.connections == 1


# -- pools ---------------------------------------------------------------------------------------


def test_make_request_may_be_patched_to_return_a_response(monkeypatch: pytest.MonkeyPatch) -> None:
    """Test suites do that; the slot of the connection that was not used comes back."""
    calls = []

    def fake(self: Any, conn: Any, method: str, url: str, **kwargs: Any) -> HTTPResponse:
        calls.append((method, url, type(conn).__name__))
        return HTTPResponse(b"made up", status=203, headers={"X": "y"})

    monkeypatch.setattr(HTTPConnectionPool, "_make_request", fake)
    with HTTPConnectionPool("nowhere.test", block=True, maxsize=1) as pool:
        for _ in range(3):
            response = pool.request("GET", "/x", pool_timeout=1)
            assert (response.status, response.data, response.headers["x"]) == (203, b"made up", "y")
    with PoolManager() as manager:
        assert manager.request("GET", "http://nowhere.test/y").data == b"made up"

    assert calls == [("GET", "/x", "HTTPConnection")] * 3 + [("GET", "/y", "HTTPConnection")]


def test_make_request_may_be_patched_to_fail_and_is_retried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outcomes: list[Any] = [
        OSError("first"),
        http.client.BadStatusLine("second"),
        HTTPResponse(b"", status=503),
        HTTPResponse(b"third", status=200),
    ]

    def fake(*args: Any, **kwargs: Any) -> Any:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(HTTPConnectionPool, "_make_request", fake)
    retries = Retry(3, status_forcelist=[503], backoff_factor=0)
    with HTTPConnectionPool("nowhere.test", block=True, maxsize=1) as pool:
        response = pool.request("GET", "/", retries=retries, pool_timeout=1)
        assert response.data == b"third"
        assert len(response.retries.history) == 3
        outcomes[:] = [OSError("again")]
        with pytest.raises(ProtocolError):
            pool.request("GET", "/", retries=False, pool_timeout=1)
        outcomes[:] = [ZeroDivisionError("not ours")]
        with pytest.raises(ZeroDivisionError):
            pool.request("GET", "/", pool_timeout=1)


def _moves_and_fails(exchange: Exchange) -> bytes:
    if exchange.target == "/old":
        return ok(b"", "Location: /busy", status="302 Found")
    return ok(b"", status="503 Busy") if exchange.target == "/busy" else ok()


@pytest.mark.parametrize("through", ["pool", "manager"])
@pytest.mark.parametrize("how", ["class", "subclass", "instance"])
def test_a_replaced_urlopen_sees_each_redirect_and_retry(
    how: str, through: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tracers make one span per attempt there, and rely on the names of the parameters."""
    seen = []
    original = HTTPConnectionPool.urlopen

    @functools.wraps(original)
    def traced(
        self: Any, method: str, url: str, body: Any = None, headers: Any = None, *a: Any, **kw: Any
    ) -> Any:
        response = None
        try:
            seen.append((method, url))
            response = original(self, method, url, body, headers, *a, **kw)
            return response
        finally:
            seen.append(None if response is None else response.status)

    with CountingServer(_moves_and_fails) as server:
        manager = PoolManager()
        pool = manager.connection_from_url(server.url)
        if how == "class":
            monkeypatch.setattr(HTTPConnectionPool, "urlopen", traced)
        elif how == "subclass":
            manager.clear()
            cls = type("Traced", (HTTPConnectionPool,), {"urlopen": traced})
            manager.pool_classes_by_scheme = {"http": cls}
            pool = manager.connection_from_url(server.url)
        else:
            pool.urlopen = traced.__get__(pool)
        retries = Retry(3, status_forcelist=[503], backoff_factor=0, raise_on_status=False)
        with manager:
            if through == "pool":
                response = pool.request("GET", "/old", retries=retries)
            else:
                response = manager.request("GET", f"{server.url}/old", retries=retries)
        assert response.status == 503

    attempts = [("GET", "/old"), *[("GET", "/busy")] * 3]
    urls = [
        (entry[0], entry[1].removeprefix(server.url)) for entry in seen if isinstance(entry, tuple)
    ]
    assert urls == attempts
    assert len(server.exchanges) == len(attempts)


def test_classes_of_pools_connections_and_queues_may_be_replaced(
    counting: CountingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Connection(HTTPConnection):
        pass

    class Queue(queue.LifoQueue[Any]):
        pass

    class Pool(HTTPConnectionPool):
        pass

    manager = PoolManager(maxsize=3)
    manager.pool_classes_by_scheme = {"http": Pool, "https": HTTPSConnectionPool}
    monkeypatch.setattr(HTTPConnectionPool, "ConnectionCls", Connection)
    monkeypatch.setattr(urllib4.connectionpool.ConnectionPool, "QueueCls", Queue)
    with manager:
        pool = manager.connection_from_url(counting.url)
        assert [manager.request("GET", counting.url).status for _ in range(3)] == [200] * 3
        assert type(pool) is Pool
        assert type(pool.pool) is Queue
        idle = [conn for conn in pool.pool.queue if conn is not None]
        assert [type(conn) for conn in idle] == [Connection]
    assert counting.connections == 1


def test_one_instance_may_have_a_connection_class_of_its_own(counting: CountingServer) -> None:
    class Connection(HTTPConnection):
        pass

    with pool_for(counting) as pool, pool_for(counting) as other:
        pool.ConnectionCls = Connection
        assert type(pool._get_conn()) is Connection
        assert type(other._get_conn()) is HTTPConnection


def test_the_dropped_check_may_be_replaced(
    counting: CountingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recorders of exchanges do that: their connections have no socket to ask."""
    with pool_for(counting) as pool:
        pool.request("GET", "/")
        monkeypatch.setattr(urllib4.connectionpool, "is_connection_dropped", lambda conn: True)
        pool.request("GET", "/")

    assert counting.connections == 2


# -- names, addresses and socket options ---------------------------------------------------------


def test_create_connection_may_be_replaced(
    counting: CountingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The usual way to send a name to another address."""
    original = urllib4.util.connection.create_connection
    asked = []

    def elsewhere(address: Any, *args: Any, **kwargs: Any) -> Any:
        asked.append(address)
        return original((counting.host, counting.port), *args, **kwargs)

    monkeypatch.setattr(urllib4.util.connection, "create_connection", elsewhere)
    with PoolManager() as manager:
        assert manager.request("GET", "http://nowhere.test:81/").status == 200

    assert asked == [("nowhere.test", 81)]
    assert counting.exchanges[0].header("Host") == "nowhere.test:81"


def test_the_family_of_addresses_may_be_chosen(
    counting: CountingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    families = []
    original = socket.getaddrinfo

    def lookup(host: Any, port: Any, family: int = 0, *args: Any, **kwargs: Any) -> Any:
        families.append(family)
        return original(host, port, family, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    monkeypatch.setattr(urllib4.util.connection, "allowed_gai_family", lambda: socket.AF_INET)
    with PoolManager() as manager:
        assert manager.request("GET", f"http://localhost:{counting.port}/").status == 200
        monkeypatch.setattr(urllib4.util.connection, "allowed_gai_family", lambda: socket.AF_INET6)
        with pytest.raises(HTTPError):
            manager.request("GET", f"http://127.0.0.1:{counting.port}/", retries=False)

    assert families == [socket.AF_INET, socket.AF_INET6]


def test_default_socket_options_may_be_assigned(
    counting: CountingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``default_socket_options = default_socket_options + [...]`` is what programs write."""
    keepalive = (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    monkeypatch.setattr(
        HTTPConnection,
        "default_socket_options",
        [*HTTPConnection.default_socket_options, keepalive],
    )
    with PoolManager() as manager:
        response = manager.request("GET", counting.url, preload_content=False)
        sock = response._fp.fp.raw._sock if response._fp.fp else None
        pool = manager.connection_from_url(counting.url)
        sock = sock or pool.pool.queue[-1].sock
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# -- audit events --------------------------------------------------------------------------------

_events: list[tuple[str, tuple[Any, ...]]] | None = None
_listening = False


def _listen(event: str, args: tuple[Any, ...]) -> None:
    if _events is not None and event.startswith("http.client."):
        _events.append((event, args))


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[Any, ...]]]:
    """The audit events of http.client during a test; a hook cannot be removed, only silenced."""
    global _listening
    if not _listening:
        sys.addaudithook(_listen)
        _listening = True
    recorded: list[tuple[str, tuple[Any, ...]]] = []
    monkeypatch.setattr(sys.modules[__name__], "_events", recorded)
    return recorded


def test_audit_events_are_raised(
    counting: CountingServer, events: list[tuple[str, tuple[Any, ...]]]
) -> None:
    with pool_for(counting) as pool:
        pool.request("POST", "/", body=b"x" * 100_000)
        pool.request("GET", "/")

    name, (conn, host, port) = events[0]
    assert (name, host, port) == ("http.client.connect", counting.host, counting.port)
    assert isinstance(conn, HTTPConnection)
    assert {name for name, _ in events[1:]} == {"http.client.send"}
    sent = b"".join(bytes(args[1]) for _, args in events[1:])
    assert sent.startswith(b"POST / HTTP/1.1\r\n")
    assert sent.count(b"x" * 100_000) == 1
    assert b"GET / HTTP/1.1\r\n" in sent
