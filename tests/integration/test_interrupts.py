"""KeyboardInterrupt and SystemExit, at each step of an exchange, leave a clean pool behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dummyserver.certs import Certificates
from dummyserver.counting import CountingServer, ok
from urllib4 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, Retry
from urllib4.connection import HTTPConnection, HTTPSConnection

INTERRUPTS = [KeyboardInterrupt, SystemExit, GeneratorExit]


class Interrupting:
    """Raises `error` at the `number`-th call of anything it stands in for."""

    def __init__(self, error: type[BaseException], number: int = 1) -> None:
        self._error, self._left = error, number

    def before(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kw: Any) -> Any:
            self.strike()
            return original(*args, **kw)

        return call

    def after(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kw: Any) -> Any:
            result = original(*args, **kw)
            self.strike()
            return result

        return call

    def strike(self) -> None:
        self._left -= 1
        if not self._left:
            raise self._error


@pytest.fixture(params=INTERRUPTS)
def error(request: pytest.FixtureRequest) -> type[BaseException]:
    kind: type[BaseException] = request.param
    return kind


@pytest.fixture
def counting() -> Iterator[CountingServer]:
    with CountingServer(lambda exchange: ok(b"x" * 100)) as server:
        yield server


STEPS = [
    (owner, name, when)
    for owner, name in (
        (HTTPConnection, "_new_conn"),
        (HTTPConnection, "connect"),
        (HTTPConnection, "request"),
        (HTTPConnection, "getresponse"),
        (HTTPConnection, "_receive"),
        (HTTPConnectionPool, "_new_conn"),
        (HTTPConnectionPool, "_validate_conn"),
        (HTTPConnectionPool, "_make_request"),
    )
    for when in ("before", "after")
    # An interrupt between a return and the assignment that follows cannot be caught by anybody.
    if (owner, name, when) != (HTTPConnection, "_new_conn", "after")
]


@pytest.mark.parametrize(
    ("owner", "name", "when"), STEPS, ids=lambda value: getattr(value, "__name__", value)
)
def test_an_interrupt_at_any_step_leaves_no_connection_and_loses_no_slot(
    counting: CountingServer,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
    owner: type,
    name: str,
    when: str,
) -> None:
    with HTTPConnectionPool(counting.host, counting.port, block=True, timeout=10) as pool:
        with monkeypatch.context() as patch:
            interrupting = Interrupting(error)
            patch.setattr(owner, name, getattr(interrupting, when)(getattr(owner, name)))
            with pytest.raises(error):
                pool.request("POST", "/", body=b"body", retries=5)
        assert list(pool.pool.queue) == [None]
        counting.wait_until(lambda: counting.open == 0)
        assert pool.request("GET", "/", pool_timeout=1).status == 200


class Socket:
    """A socket that interrupts at the `number`-th use of one of its methods."""

    def __init__(self, sock: Any, interrupting: Interrupting, *methods: str) -> None:
        self._sock = sock
        for method in methods:
            setattr(self, method, interrupting.before(getattr(sock, method)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


@pytest.mark.parametrize(
    ("method", "number"), [("sendall", 1), ("sendall", 2), ("recv_into", 1), ("recv_into", 2)]
)
def test_an_interrupt_in_the_socket_leaves_no_connection_and_loses_no_slot(
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
    method: str,
    number: int,
) -> None:
    """The second receive is that of the body: it is larger than the first one brings."""
    original = HTTPConnection._new_conn
    interrupting = Interrupting(error, number)
    with (
        CountingServer(lambda exchange: ok(b"x" * 300_000)) as server,
        HTTPConnectionPool(server.host, server.port, block=True, timeout=10) as pool,
    ):
        with monkeypatch.context() as patch:
            patch.setattr(
                HTTPConnection,
                "_new_conn",
                lambda conn: Socket(original(conn), interrupting, method),
            )
            with pytest.raises(error):
                pool.request("POST", "/", body=b"b" * 100_000, retries=5)
        assert list(pool.pool.queue) == [None]
        server.wait_until(lambda: server.open == 0)
        assert pool.request("GET", "/", pool_timeout=1).status == 200


def read_all(response: Any) -> None:
    while response.read(100_000):
        pass


def test_an_interrupt_while_streaming_ends_the_connection(
    monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    original = HTTPConnection._new_conn
    interrupting = Interrupting(error, 3)
    with (
        CountingServer(lambda exchange: ok(b"x" * 900_000)) as server,
        HTTPConnectionPool(server.host, server.port, block=True, timeout=10) as pool,
    ):
        with monkeypatch.context() as patch:
            patch.setattr(
                HTTPConnection,
                "_new_conn",
                lambda conn: Socket(original(conn), interrupting, "recv", "recv_into"),
            )
            response = pool.request("GET", "/", preload_content=False)
            with pytest.raises(error):
                read_all(response)
        server.wait_until(lambda: server.open == 0)
        assert pool.request("GET", "/", pool_timeout=1).status == 200


def test_an_interrupt_on_a_connection_that_was_idle_closes_it(
    counting: CountingServer, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """Its answer may still come: the next request must not receive it."""
    with HTTPConnectionPool(counting.host, counting.port, block=True, timeout=10) as pool:
        pool.request("GET", "/")
        with monkeypatch.context() as patch:
            original = HTTPConnection.getresponse
            patch.setattr(HTTPConnection, "getresponse", Interrupting(error).before(original))
            with pytest.raises(error):
                pool.request("GET", "/", retries=5)
        counting.wait_until(lambda: counting.open == 0)
        assert pool.request("GET", "/").status == 200


def test_an_interrupt_while_sleeping_before_a_retry_leaves_the_pool_whole(
    monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def interrupt(seconds: float) -> None:
        raise error

    monkeypatch.setattr("urllib4.util.retry.time.sleep", interrupt)
    retries = Retry(3, status_forcelist=[503], backoff_factor=1)
    with (
        CountingServer(lambda exchange: ok(status="503 Busy")) as server,
        HTTPConnectionPool(server.host, server.port, block=True) as pool,
    ):
        with pytest.raises(error):
            pool.request("GET", "/", retries=retries)
        assert pool.pool.qsize() == 1


def test_an_interrupt_in_a_body_leaves_the_pool_whole(
    counting: CountingServer, error: type[BaseException]
) -> None:
    class Body:
        def __iter__(self) -> Iterator[bytes]:
            yield b"a"
            raise error

    with HTTPConnectionPool(counting.host, counting.port, block=True) as pool:
        with pytest.raises(error):
            pool.request("POST", "/", body=Body(), retries=5)
        assert list(pool.pool.queue) == [None]
        counting.wait_until(lambda: counting.open == 0)


@pytest.mark.parametrize(
    ("name", "when"),
    [
        ("connect", "before"), ("connect", "after"), ("_start_tls", "before"),
        ("_start_tls", "after"), ("_wrap", "before"),
    ],
)  # fmt: skip
def test_an_interrupt_in_the_handshake_closes_the_socket(
    certs: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
    name: str,
    when: str,
) -> None:
    with (
        CountingServer(tls=certs.server_context()) as server,
        HTTPSConnectionPool("localhost", server.port, block=True, ca_certs=certs.ca_file) as pool,
    ):
        with monkeypatch.context() as patch:
            original = getattr(HTTPSConnection, name)
            interrupting = Interrupting(error)
            patch.setattr(HTTPSConnection, name, getattr(interrupting, when)(original))
            with pytest.raises(error):
                pool.request("GET", "/", retries=5)
        assert list(pool.pool.queue) == [None]
        server.wait_until(lambda: server.open == 0)
        assert pool.request("GET", "/", pool_timeout=1).status == 200


def test_an_interrupt_while_a_manager_makes_a_pool_leaves_no_pool(
    counting: CountingServer, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    with PoolManager() as manager:
        with monkeypatch.context() as patch:
            original = PoolManager._new_pool
            patch.setattr(PoolManager, "_new_pool", Interrupting(error).before(original))
            with pytest.raises(error):
                manager.request("GET", counting.url)
        assert len(manager.pools) == 0
        assert manager.request("GET", counting.url).status == 200
