"""Ending a call from another thread, whatever it is waiting for."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from dummyserver.script import ScriptedServer
from urllib4 import CancelToken, HTTPConnectionPool, PoolManager, Retry
from urllib4.exceptions import EmptyPoolError, RequestCancelledError
from urllib4.util import connection as util_connection

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@contextmanager
def cancelled_when(reached: threading.Event) -> Iterator[CancelToken]:
    """Use the token from another thread once the event is set."""
    token = CancelToken()

    def run() -> None:
        if reached.wait(10):
            token.cancel()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield token
    finally:
        reached.set()
        thread.join(10)


@pytest.fixture
def pool(script: ScriptedServer) -> Iterator[HTTPConnectionPool]:
    with HTTPConnectionPool(script.host, script.port, block=True, retries=3, timeout=20) as pool:
        yield pool


def read_to_the_end(sock: Any) -> None:
    while sock.recv(65536):
        pass


def assert_usable(pool: HTTPConnectionPool, script: ScriptedServer) -> None:
    """The slot came back, and the next request has a connection of its own."""
    assert pool.pool.qsize() == 1
    script.accept().expect(b"GET /next ").send(OK)
    assert pool.request("GET", "/next", pool_timeout=1).data == b"ok"


def test_a_used_token_ends_a_call_at_its_start(script: ScriptedServer) -> None:
    token = CancelToken()
    token.cancel()
    with HTTPConnectionPool(script.host, script.port) as pool:
        with pytest.raises(RequestCancelledError):
            pool.request("GET", "/", cancel=token)
        assert pool.num_connections == 0
    assert "not" not in repr(token)


def test_waiting_for_the_response_is_ended(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    asked = threading.Event()
    script.accept().expect(b"GET /slow ").notify(asked).expect_eof()
    with (
        cancelled_when(asked) as token,
        pytest.raises(RequestCancelledError, match="waiting for the response"),
    ):
        pool.request("GET", "/slow", cancel=token)
    assert_usable(pool, script)


def test_reading_a_preloaded_body_is_ended(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    asked = threading.Event()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"
    script.accept().expect(b"GET / ").send(head).notify(asked).expect_eof()
    with cancelled_when(asked) as token, pytest.raises(RequestCancelledError):
        pool.request("GET", "/", cancel=token)
    assert_usable(pool, script)


@pytest.mark.parametrize(
    "head", [b"Content-Length: 10\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n"]
)
def test_reading_a_streamed_body_is_ended(
    script: ScriptedServer, pool: HTTPConnectionPool, head: bytes
) -> None:
    """Above all a body that lasts until the close: the end that we made is not its end."""
    started = threading.Event()
    script.accept().expect(b"GET / ").send(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n").expect_eof()
    with cancelled_when(started) as token:
        response = pool.request("GET", "/", cancel=token, preload_content=False)
        started.set()
        with pytest.raises(RequestCancelledError, match="reading the body"):
            response.read()
    assert_usable(pool, script)


def test_sending_into_a_full_window_is_ended(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    reading = threading.Event()
    accepted = threading.Event()
    script.accept().read_until(b"\r\n\r\n").notify(accepted).pause_until(reading)

    def body() -> Iterator[bytes]:
        for _ in range(2000):
            yield b"x" * 65536

    with (
        cancelled_when(accepted) as token,
        pytest.raises(RequestCancelledError, match=r"sending|waiting for the response"),
    ):
        pool.request("PUT", "/", body=body(), cancel=token)
    reading.set()
    assert_usable(pool, script)


def test_waiting_for_a_connection_is_ended(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    script.accept().expect(b"GET / ").send(
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    ).expect_eof()
    holding = pool.request("GET", "/", preload_content=False)
    waiting = threading.Event()
    get_conn = pool._get_conn

    def noted(timeout: float | None = None) -> Any:
        waiting.set()
        return get_conn(timeout=timeout)

    pool._get_conn = noted  # type: ignore[method-assign]
    with (
        cancelled_when(waiting) as token,
        pytest.raises(RequestCancelledError, match="waiting for a connection"),
    ):
        pool.request("GET", "/", cancel=token)
    holding.close()
    assert_usable(pool, script)


def test_the_pool_timeout_still_holds_with_a_token(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    script.accept().expect(b"GET / ").send(
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    ).expect_eof()
    holding = pool.request("GET", "/", preload_content=False)
    with pytest.raises(EmptyPoolError):
        pool.request("GET", "/", cancel=CancelToken(), pool_timeout=0.05)
    holding.close()


def test_a_sleep_before_a_retry_is_ended(script: ScriptedServer, pool: HTTPConnectionPool) -> None:
    answered = threading.Event()
    busy = b"HTTP/1.1 503 Busy\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n"
    script.accept().expect(b"GET / ").send(busy).notify(answered)
    with (
        cancelled_when(answered) as token,
        pytest.raises(RequestCancelledError, match=r"waiting for the response|sleeping"),
    ):
        pool.request("GET", "/", cancel=token)


def test_a_policy_that_sleeps_by_itself_is_asked(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    slept = []

    class Patient(Retry):
        def sleep(self, response: Any = None) -> None:
            slept.append(self.sleep_time(response))

    busy = b"HTTP/1.1 503 Busy\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n"
    script.accept().expect(b"GET / ").send(busy).expect(b"GET / ").send(OK)
    response = pool.request("GET", "/", cancel=CancelToken(), retries=Patient(2))
    assert response.data == b"ok"
    assert slept == [3600]


def test_a_name_lookup_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    looking, free = threading.Event(), threading.Event()

    def stalled(*args: Any) -> list[Any]:
        looking.set()
        free.wait(10)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(util_connection.socket, "getaddrinfo", stalled)
    with (
        PoolManager() as manager,
        cancelled_when(looking) as token,
        pytest.raises(RequestCancelledError, match=r"looking up|connecting"),
    ):
        manager.request("GET", "http://slow.invalid/", cancel=token)
    free.set()


def test_connecting_is_ended() -> None:
    """A full backlog lets further connects wait."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        try:
            token = CancelToken()
            timer = threading.Timer(0.2, token.cancel)
            timer.start()
            with (
                HTTPConnectionPool(*address, timeout=20) as pool,
                pytest.raises(RequestCancelledError),
            ):
                pool.request("GET", "/", cancel=token)
            timer.join()
        finally:
            for filler in fillers:
                filler.close()


def test_a_tls_handshake_is_ended(script: ScriptedServer) -> None:
    from urllib4 import HTTPSConnectionPool

    reached = threading.Event()
    script.accept().read_exactly(5).notify(reached).run(read_to_the_end)
    with (
        HTTPSConnectionPool(script.host, script.port, timeout=20) as pool,
        cancelled_when(reached) as token,
        pytest.raises(RequestCancelledError, match="connecting"),
    ):
        pool.request("GET", "/", cancel=token)


def test_it_takes_less_than_a_twentieth_of_a_second(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    """Loosely: what would hang for twenty seconds ends in less than two."""
    asked = threading.Event()
    script.accept().expect(b"GET / ").notify(asked).expect_eof()
    with cancelled_when(asked) as token:
        started = time.monotonic()
        with pytest.raises(RequestCancelledError):
            pool.request("GET", "/", cancel=token)
    assert time.monotonic() - started < 2


def test_a_manager_passes_the_token_on_through_redirects(script: ScriptedServer) -> None:
    asked = threading.Event()
    moved = b"HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n"
    script.accept().expect(b"GET /here ").send(moved).expect(b"GET /there ").notify(
        asked
    ).expect_eof()
    with (
        PoolManager() as manager,
        cancelled_when(asked) as token,
        pytest.raises(RequestCancelledError),
    ):
        manager.request("GET", script.url + "/here", cancel=token)


def test_a_token_that_is_used_afterwards_leaves_the_connection_alone(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    """The socket may serve another call by then."""
    token = CancelToken()
    script.accept().expect(b"GET /a ").send(OK).expect(b"GET /b ").send(OK)
    pool.request("GET", "/a", cancel=token)
    token.cancel()
    assert pool.request("GET", "/b").data == b"ok"
    assert pool.num_connections == 1


def test_a_waker_that_was_undone_is_not_called() -> None:
    token = CancelToken()
    calls: list[str] = []
    wake: Callable[[], None] = lambda: calls.append("kept")  # noqa: E731
    token.on_cancel(wake)
    token.on_cancel(lambda: calls.append("undone"))()
    token.cancel()
    assert calls == ["kept"]
    token.on_cancel(lambda: calls.append("late"))
    assert calls == ["kept", "late"]
