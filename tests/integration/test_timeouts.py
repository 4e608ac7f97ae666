"""Time: which wait is bounded by what, and what the error says."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from dummyserver.certs import Certificates
from dummyserver.script import ScriptedServer, scripted_server
from urllib4 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, Retry, Timeout
from urllib4.connection import HTTPConnection
from urllib4.exceptions import (
    ConnectTimeoutError,
    DeadlineExceededError,
    EmptyPoolError,
    MaxRetryError,
    ProtocolError,
    ReadTimeoutError,
    TimeoutError,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

#: Long enough that a healthy exchange on a busy machine is not cut off, seconds.
SHORT = 0.15


@pytest.fixture
def pool(script: ScriptedServer) -> Iterator[HTTPConnectionPool]:
    with HTTPConnectionPool(script.host, script.port, retries=False, timeout=20) as one:
        yield one


class Dripper:
    """Sends `head`, and then one byte of `drip` after the other until the client leaves."""

    def __init__(self, script: ScriptedServer, head: bytes, drip: bytes) -> None:
        self.left = threading.Event()
        self._head, self._drip = head, drip
        script.accept().expect(b"").run(self._run)

    def _run(self, sock: Any) -> None:
        try:
            sock.sendall(self._head)
            while not self.left.wait(0.01):
                sock.sendall(self._drip)
        except OSError:
            self.left.set()


@pytest.fixture
def saturated() -> Iterator[tuple[str, int]]:
    """An address at which connecting neither succeeds nor fails: the backlog is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = []
        for _ in range(8):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(address)
            fillers.append(filler)
        yield address
        for filler in fillers:
            filler.close()


# -- connecting -------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [SHORT, Timeout(SHORT), Timeout(connect=SHORT, read=20)])
def test_connecting_is_bounded(saturated: tuple[str, int], timeout: Any) -> None:
    with HTTPConnectionPool(*saturated) as pool, pytest.raises(ConnectTimeoutError) as caught:
        pool.request("GET", "/", timeout=timeout, retries=False)
    conn, message = caught.value.args
    assert isinstance(conn, HTTPConnection)
    assert message.startswith("Connection to 127.0.0.1 timed out. (connect timeout=")


def test_a_connect_timeout_is_retried_as_a_connect_error(saturated: tuple[str, int]) -> None:
    with HTTPConnectionPool(*saturated) as pool:
        with pytest.raises(MaxRetryError) as caught:
            pool.request("POST", "/", timeout=SHORT / 3, retries=Retry(connect=1, read=0))
        assert isinstance(caught.value.reason, ConnectTimeoutError)
        assert pool.num_requests == 2


def test_the_handshake_is_bounded(script: ScriptedServer, certs: Certificates) -> None:
    """A server that accepts and says nothing."""
    script.accept().run(_swallow)
    with HTTPSConnectionPool(script.host, script.port, ca_certs=certs.ca_file) as pool:
        with pytest.raises(ReadTimeoutError):
            pool.request("GET", "/", timeout=SHORT, retries=False)
        assert list(pool.pool.queue) == [None]


def _swallow(sock: Any) -> None:
    while sock.recv(65536):
        pass


# -- reading ----------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [SHORT, Timeout(read=SHORT), Timeout(20, read=SHORT)])
def test_waiting_for_the_answer_is_bounded(
    script: ScriptedServer, pool: HTTPConnectionPool, timeout: Any
) -> None:
    script.accept().expect(b"GET").expect_eof()
    with pytest.raises(ReadTimeoutError) as caught:
        pool.request("GET", "/x", timeout=timeout)
    assert str(caught.value) == (
        f"HTTPConnectionPool(host='127.0.0.1', port={script.port}): Read timed out. "
        f"(read timeout={SHORT})"
    )
    assert caught.value.url == "/x"
    assert caught.value.pool is pool
    assert isinstance(caught.value, TimeoutError)


def test_total_is_the_read_timeout_where_there_is_none(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    script.accept().expect(b"GET").expect_eof()
    with pytest.raises(ReadTimeoutError, match="read timeout=0"):
        pool.request("GET", "/", timeout=Timeout(total=SHORT))


@pytest.mark.parametrize("preload", [True, False])
def test_a_body_that_stops_is_a_read_timeout(
    script: ScriptedServer, pool: HTTPConnectionPool, preload: bool
) -> None:
    script.accept().expect(b"GET").send(OK[:-1]).expect_eof()
    with pytest.raises(ReadTimeoutError, match=r"Read timed out\."):
        pool.request("GET", "/", timeout=SHORT, preload_content=preload).read()
    assert list(pool.pool.queue) == [None]


@pytest.mark.parametrize(
    ("head", "drip"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"y"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
    ],
)
def test_total_ends_an_answer_that_drips(
    script: ScriptedServer, pool: HTTPConnectionPool, head: bytes, drip: bytes
) -> None:
    """Each byte alone comes in time; all of them together never would."""
    dripper = Dripper(script, head, drip)
    with pytest.raises(ReadTimeoutError):
        pool.request("GET", "/", timeout=Timeout(total=SHORT * 2))
    assert dripper.left.wait(10)


def test_total_does_not_end_a_body_that_is_streamed(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    """Generated clients watch endless streams with a total for the attempt."""
    later = threading.Event()
    script.accept().expect(b"GET").send(OK[:-2]).pause_until(later).send(b"ok")
    clock = threading.Timer(SHORT * 5, later.set)
    response = pool.request("GET", "/", timeout=Timeout(total=SHORT * 4), preload_content=False)
    clock.start()
    # A read that starts after the total has passed is one of its own.
    later.wait(10)
    assert response.read() == b"ok"
    clock.join()


# -- sending ----------------------------------------------------------------------------------


def test_sending_is_bounded(script: ScriptedServer, pool: HTTPConnectionPool) -> None:
    """The server does not read, and buffers are finite."""
    gone = threading.Event()
    script.accept().expect(b"POST", body=False).pause_until(gone)
    with pytest.raises((ReadTimeoutError, ProtocolError)):
        pool.request("POST", "/", body=b"x" * 30_000_000, timeout=Timeout(connect=5, read=SHORT))
    gone.set()
    assert list(pool.pool.queue) == [None]


# -- the deadline -----------------------------------------------------------------------------


def deadline(seconds: float = SHORT) -> Timeout:
    return Timeout(deadline=seconds)


def test_the_deadline_ends_the_wait_for_a_connection(
    script: ScriptedServer,
) -> None:
    script.accept().expect(b"GET").send(OK)
    with HTTPConnectionPool(script.host, script.port, block=True, timeout=20) as pool:
        response = pool.request("GET", "/", preload_content=False)
        with pytest.raises(DeadlineExceededError, match="waiting for a connection") as caught:
            pool.request("GET", "/", timeout=deadline())
        assert isinstance(caught.value, TimeoutError)
        with pytest.raises(EmptyPoolError):
            pool.request("GET", "/", timeout=deadline(20), pool_timeout=0.01)
        response.drain_conn()


def test_the_deadline_ends_connecting(saturated: tuple[str, int]) -> None:
    with (
        HTTPConnectionPool(*saturated) as pool,
        pytest.raises(DeadlineExceededError, match="connecting"),
    ):
        pool.request("GET", "/", timeout=deadline(), retries=100)


def test_the_deadline_ends_the_handshake(script: ScriptedServer, certs: Certificates) -> None:
    script.accept().run(_swallow)
    with (
        HTTPSConnectionPool(script.host, script.port, ca_certs=certs.ca_file) as pool,
        pytest.raises(DeadlineExceededError, match="connecting"),
    ):
        pool.request("GET", "/", timeout=deadline(), retries=100)


def test_the_deadline_ends_sending(script: ScriptedServer, pool: HTTPConnectionPool) -> None:
    gone = threading.Event()
    script.accept().expect(b"PUT", body=False).pause_until(gone)
    with pytest.raises(DeadlineExceededError, match="sending the request"):
        pool.request("PUT", "/", body=b"x" * 30_000_000, timeout=deadline(), retries=100)
    gone.set()


def test_the_deadline_ends_a_body_that_is_generated_too_slowly(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    def body() -> Iterator[bytes]:
        never = threading.Event()
        while not never.wait(0.01):
            yield b"x"

    script.accept().expect(b"PUT", body=False).run(_swallow)
    with pytest.raises(DeadlineExceededError, match="sending the request"):
        pool.request("PUT", "/", body=body(), timeout=deadline(), retries=100)


@pytest.mark.parametrize(
    ("head", "phase"),
    [
        (b"", "waiting for the response"),
        (b"HTTP/1.1 200 OK\r\nX: ", "waiting for the response"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", "reading the body"),
    ],
)
def test_the_deadline_ends_the_answer_and_says_in_which_phase(
    script: ScriptedServer, pool: HTTPConnectionPool, head: bytes, phase: str
) -> None:
    script.accept().expect(b"GET").send(head).expect_eof()
    with pytest.raises(DeadlineExceededError, match=phase):
        pool.request("GET", "/", timeout=deadline(), retries=100)
    assert list(pool.pool.queue) == [None]


def test_the_deadline_ends_a_body_that_is_streamed(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    dripper = Dripper(script, b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n", b"x")
    response = pool.request("GET", "/", timeout=deadline(SHORT * 3), preload_content=False)
    with pytest.raises(DeadlineExceededError, match="reading the body"):
        for _ in response.stream(1):
            pass
    assert dripper.left.wait(10)


def test_the_deadline_runs_over_all_retries(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    """Each attempt alone would be in time."""
    for _ in range(2):
        script.accept().expect(b"GET").expect_eof()
    with pytest.raises(DeadlineExceededError):
        pool.request(
            "GET", "/", timeout=Timeout(read=SHORT, deadline=SHORT * 1.9), retries=Retry(50)
        )
    assert pool.num_requests == 2


def test_a_sleep_that_the_deadline_would_end_is_not_begun(
    script: ScriptedServer, pool: HTTPConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No sleep in vain: the answer is known at once."""
    slept: list[float] = []
    monkeypatch.setattr("urllib4.util.retry.time.sleep", slept.append)
    busy = b"HTTP/1.1 503 Busy\r\nRetry-After: 100\r\nContent-Length: 0\r\n\r\n"
    script.accept().expect(b"GET").send(busy)
    with pytest.raises(DeadlineExceededError, match="sleeping before a retry"):
        pool.request("GET", "/", timeout=deadline(20), retries=3)
    assert slept == []


def test_the_deadline_runs_over_all_redirects_of_a_manager(script: ScriptedServer) -> None:
    with scripted_server() as other, PoolManager() as manager:
        moved = f"HTTP/1.1 302 F\r\nLocation: {other.url}/\r\nContent-Length: 0\r\n\r\n"
        script.accept().expect(b"GET").send(moved.encode())
        other.accept().expect(b"GET").expect_eof()
        with pytest.raises(DeadlineExceededError, match="waiting for the response"):
            manager.request("GET", script.url, timeout=deadline(SHORT * 2), retries=100)


def test_the_managers_own_deadline_runs_over_all_redirects(script: ScriptedServer) -> None:
    """Also where a call asks for it by name, as wrappers do that always pass a timeout on."""
    moved = f"HTTP/1.1 302 F\r\nLocation: {script.url}/\r\nContent-Length: 0\r\n\r\n"
    redirecting = script.accept()
    for _ in range(3):
        redirecting.expect(b"GET").send(moved.encode())
    redirecting.expect(b"GET").send(OK)
    seen: list[Any] = []

    class Watching(HTTPConnectionPool):
        def _make_request(self, conn: Any, *args: Any, **kw: Any) -> Any:
            seen.append(conn._call.deadline)
            return super()._make_request(conn, *args, **kw)

    with PoolManager(timeout=deadline(20)) as manager:
        manager.pool_classes_by_scheme["http"] = Watching
        manager.request("GET", script.url, timeout=Timeout.DEFAULT_TIMEOUT)
    assert len(seen) == 4
    assert len(set(seen)) == 1


@pytest.mark.parametrize("through", ["request", "pool", "manager"])
def test_a_deadline_that_is_the_default_starts_anew_for_each_call(
    script: ScriptedServer, through: str
) -> None:
    script.accept().expect(b"GET").send(OK).expect(b"GET").expect_eof()
    options: dict[str, Any] = {} if through == "request" else {"timeout": deadline(SHORT * 4)}
    mine = {"timeout": deadline(SHORT * 4)} if through == "request" else {}
    pause = threading.Event()
    if through == "pool":
        with HTTPConnectionPool(script.host, script.port, **options) as pool:
            pool.request("GET", "/")
            pause.wait(SHORT * 4)
            with pytest.raises(DeadlineExceededError, match="waiting for the response"):
                pool.request("GET", "/")
    else:
        with PoolManager(**options) as manager:
            manager.request("GET", script.url, **mine)
            pause.wait(SHORT * 4)
            with pytest.raises(DeadlineExceededError, match="waiting for the response"):
                manager.request("GET", script.url, **mine)


# -- values -----------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [0, -1, "1", True, object(), float("nan")])
def test_a_timeout_that_is_none_is_an_error_before_a_connection_is_taken(
    pool: HTTPConnectionPool, timeout: Any
) -> None:
    with pytest.raises(ValueError):
        pool.request("GET", "/", timeout=timeout)
    assert pool.num_connections == 0


def test_a_negative_pool_timeout_names_itself(script: ScriptedServer) -> None:
    with HTTPConnectionPool(script.host, script.port, block=True) as pool:
        pool._get_conn()
        with pytest.raises(ValueError, match="-1"):
            pool.request("GET", "/", pool_timeout=-1)


@pytest.mark.parametrize("timeout", [1e300, float("inf"), 2**70])
def test_a_timeout_that_is_longer_than_the_machine_can_count_works(
    script: ScriptedServer, pool: HTTPConnectionPool, timeout: Any
) -> None:
    """OverflowError is nothing that a caller expects."""
    script.accept().expect(b"GET").send(OK)
    assert pool.request("GET", "/", timeout=timeout).data == b"ok"


@pytest.mark.parametrize("name", ["total", "deadline"])
@pytest.mark.parametrize(
    "seconds",
    [1e300, float("inf"), 10**400, Decimal(20), Fraction(20)],
    ids=["1e300", "inf", "10**400", "Decimal", "Fraction"],
)
def test_a_bound_may_be_any_number_of_seconds(
    script: ScriptedServer, pool: HTTPConnectionPool, name: str, seconds: Any
) -> None:
    """Not an OverflowError, nor a TypeError because clocks are floats."""
    script.accept().expect(b"GET").send(OK)
    limits: dict[str, Any] = {name: seconds}
    assert pool.request("GET", "/", timeout=Timeout(**limits)).data == b"ok"


@pytest.mark.parametrize("number", [Decimal, Fraction])
def test_a_total_that_is_no_float_ends_an_answer_that_drips(
    script: ScriptedServer, pool: HTTPConnectionPool, number: Any
) -> None:
    dripper = Dripper(script, b"HTTP/1.1 200 OK\r\nX: ", b"x")
    with pytest.raises(ReadTimeoutError):
        pool.request("GET", "/", timeout=Timeout(total=number(SHORT * 2), read=20))
    assert dripper.left.wait(10)


def test_the_sockets_default_timeout_is_ours_by_default(
    script: ScriptedServer,
) -> None:
    script.accept().expect(b"GET").expect_eof()
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SHORT)
    try:
        with (
            HTTPConnectionPool(script.host, script.port) as pool,
            pytest.raises(ReadTimeoutError),
        ):
            pool.request("GET", "/", retries=False)
    finally:
        socket.setdefaulttimeout(before)


def test_one_connection_serves_requests_with_different_timeouts(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    """Neither the longer nor the shorter one sticks to the connection."""
    script.accept().expect(b"GET").send(OK).expect(b"GET").send(OK).expect(b"GET").expect_eof()
    pool.request("GET", "/", timeout=None)
    pool.request("GET", "/", timeout=Timeout(total=20))
    with pytest.raises(ReadTimeoutError):
        pool.request("GET", "/", timeout=SHORT)
