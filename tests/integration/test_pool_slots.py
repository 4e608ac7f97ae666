"""How many connections there are, who waits for one, and what comes back."""

from __future__ import annotations

import gc
import logging
import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from dummyserver.counting import CountingServer
from dummyserver.script import ScriptedServer
from dummyserver.server import DummyServer
from urllib4 import HTTPConnectionPool, HTTPResponse
from urllib4.connection import HTTPConnection
from urllib4.exceptions import (
    ClosedPoolError,
    EmptyPoolError,
    FullPoolError,
    LocationValueError,
    ProtocolError,
)

#: Dropping responses unread is what these tests are about.
pytestmark = pytest.mark.filterwarnings("ignore:.*was dropped before it was read:ResourceWarning")

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def pool(server: DummyServer) -> Iterator[HTTPConnectionPool]:
    """A pool of one connection, for which others wait."""
    with HTTPConnectionPool("127.0.0.1", server.http_port, block=True, timeout=10) as one:
        yield one


def is_free(pool: HTTPConnectionPool) -> bool:
    """Tell whether a request gets a connection at once."""
    try:
        return pool.request("GET", "/", pool_timeout=0.01).status == 200
    except EmptyPoolError:
        return False


# -- a slot comes back, whatever happens to the response --------------------------------------


def test_a_slot_is_taken_while_the_response_is_read(pool: HTTPConnectionPool) -> None:
    response = pool.request("GET", "/large?size=1000000", preload_content=False)
    assert not is_free(pool)
    with pytest.raises(EmptyPoolError, match="Pool is empty and a new connection can't be opened"):
        pool.request("GET", "/", pool_timeout=0.01, retries=5)
    assert len(response.read()) == 1_000_000
    assert is_free(pool)
    assert pool.num_connections == 1


@pytest.mark.parametrize("end", ["close", "with", "release", "drain", "forget", "shutdown"])
def test_a_slot_comes_back_however_a_response_ends(pool: HTTPConnectionPool, end: str) -> None:
    """In urllib3 some of these lose it, and the next request waits for ever."""
    response: Any = pool.request("GET", "/large?size=1000000", preload_content=False)
    response.read(10)
    if end == "close":
        response.close()
    elif end == "with":
        with response:
            pass
    elif end == "release":
        response.release_conn()
    elif end == "drain":
        response.drain_conn()
    elif end == "shutdown":
        response.shutdown()
        response.close()
    del response
    gc.collect()
    assert is_free(pool)
    assert pool.pool.qsize() == 1


def test_a_slot_comes_back_once_only(pool: HTTPConnectionPool) -> None:
    response = pool.request("GET", "/large?size=1000", preload_content=False)
    response.read()
    for _ in range(3):
        response.release_conn()
        response.close()
        response.drain_conn()
    assert pool.pool.qsize() == 1


@pytest.mark.parametrize("path", ["/", "/status?status=204", "/chunked", "/encoded", "/close"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_slot_is_free_as_soon_as_the_body_was_read(
    pool: HTTPConnectionPool, method: str, path: str
) -> None:
    response = pool.request(method, path, preload_content=False)
    response.read()
    assert is_free(pool)


def test_a_response_without_a_body_frees_its_slot_at_once(pool: HTTPConnectionPool) -> None:
    response = pool.request("HEAD", "/", preload_content=False)
    assert is_free(pool)
    assert response.read() == b""


def test_a_response_that_was_released_is_detached(script: ScriptedServer) -> None:
    """It must not read what belongs to the next one on that connection."""
    script.accept().expect(b"GET /1").send(OK).expect(b"GET /2").send(OK)
    with HTTPConnectionPool(script.host, script.port) as pool:
        first = pool.request("GET", "/1", preload_content=False)
        first.drain_conn()
        second = pool.request("GET", "/2", preload_content=False)
        assert first.read() == b""
        first.close()
        assert second.read() == b"ok"
        assert pool.num_connections == 1


def test_a_body_that_breaks_off_gives_its_slot_back(script: ScriptedServer) -> None:
    script.accept().expect(b"GET").send(OK[:-1]).close()
    script.accept().expect(b"GET").send(OK)
    with HTTPConnectionPool(script.host, script.port, block=True) as pool:
        response = pool.request("GET", "/", preload_content=False)
        with pytest.raises(ProtocolError):
            response.read()
        assert pool.request("GET", "/", pool_timeout=1).data == b"ok"


# -- waiting ----------------------------------------------------------------------------------


def test_a_thread_that_waits_gets_the_connection_when_it_is_free(pool: HTTPConnectionPool) -> None:
    response = pool.request("GET", "/large?size=1000000", preload_content=False)
    waiting = threading.Event()
    statuses = []
    original = pool._get_conn

    def get_conn(timeout: float | None = None) -> Any:
        waiting.set()
        return original(timeout)

    pool._get_conn = get_conn  # type: ignore[method-assign]
    thread = threading.Thread(target=lambda: statuses.append(pool.request("GET", "/").status))
    thread.start()
    assert waiting.wait(10)
    response.drain_conn()
    response.close()
    thread.join(10)
    assert statuses == [200]


def test_closing_wakes_all_who_wait(pool: HTTPConnectionPool) -> None:
    """In urllib3 they wait for ever."""
    response = pool.request("GET", "/large?size=1000000", preload_content=False)
    waiting = threading.Semaphore(0)
    errors = []
    original = pool._get_conn

    def get_conn(timeout: float | None = None) -> Any:
        waiting.release()
        return original(timeout)

    pool._get_conn = get_conn  # type: ignore[method-assign]

    def request() -> None:
        try:
            pool.request("GET", "/")
        except ClosedPoolError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=request) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert waiting.acquire(timeout=10)
    pool.close()
    for thread in threads:
        thread.join(10)
    assert len(errors) == 4
    assert all("Pool is closed." in error for error in errors)
    response.close()


def test_a_blocking_pool_never_has_more_connections_than_it_may() -> None:
    with CountingServer() as server:
        with HTTPConnectionPool(server.host, server.port, maxsize=3, block=True) as pool:
            barrier = threading.Barrier(12)

            def work() -> None:
                barrier.wait(10)
                for _ in range(10):
                    pool.request("GET", "/")

            threads = [threading.Thread(target=work) for _ in range(12)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert server.peak <= 3
        assert len(server.exchanges) == 120


# -- closed -----------------------------------------------------------------------------------


def test_a_closed_pool_says_so(server: DummyServer) -> None:
    with HTTPConnectionPool("127.0.0.1", server.http_port) as pool:
        pool.request("GET", "/")
    assert pool.pool is None
    pool.close()
    for retries in (None, False, 5):
        with pytest.raises(ClosedPoolError, match=r"Pool is closed\."):
            pool.request("GET", "/", retries=retries)


def test_idle_connections_are_closed_with_the_pool() -> None:
    with CountingServer() as server:
        with HTTPConnectionPool(server.host, server.port) as pool:
            pool.request("GET", "/")
            assert server.open == 1
        server.wait_until(lambda: server.open == 0)


def test_idle_connections_are_closed_with_a_pool_that_was_forgotten() -> None:
    with CountingServer() as server:
        pool = HTTPConnectionPool(server.host, server.port)
        pool.request("GET", "/")
        del pool
        gc.collect()
        server.wait_until(lambda: server.open == 0)


def test_a_connection_that_is_out_when_the_pool_closes_can_be_read_to_its_end() -> None:
    with CountingServer() as server:
        with HTTPConnectionPool(server.host, server.port) as pool:
            response = pool.request("GET", "/answer", preload_content=False)
        assert response.read() == b"/answer"
        server.wait_until(lambda: server.open == 0)


# -- reuse ------------------------------------------------------------------------------------


def test_a_connection_that_the_server_closed_while_it_was_idle_is_replaced(
    script: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    closed = threading.Event()
    script.accept().expect(b"GET /1").send(OK).close().notify(closed)
    script.accept().expect(b"POST /2").send(OK)
    with HTTPConnectionPool(script.host, script.port, retries=False) as pool:
        pool.request("GET", "/1")
        assert closed.wait(10)
        with caplog.at_level(logging.DEBUG, "urllib4.connectionpool"):
            assert pool.request("POST", "/2", body=b"x").data == b"ok"
        assert f"Resetting dropped connection: {script.host}" in caplog.text
        # The object is the same, as in urllib3: only its socket is new.
        assert pool.num_connections == 1


def test_what_comes_unasked_while_idle_poisons_nothing(script: ScriptedServer) -> None:
    """An answer to no question must not become the answer to the next one."""
    told = threading.Event()
    ask = threading.Event()
    script.accept().expect(b"GET /1").send(OK).pause_until(ask).send(OK).notify(told).expect_eof()
    script.accept().expect(b"GET /2").send(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")
    with HTTPConnectionPool(script.host, script.port, retries=False) as pool:
        assert pool.request("GET", "/1").status == 200
        ask.set()
        assert told.wait(10)
        assert pool.request("GET", "/2").status == 404


def test_what_comes_behind_an_answer_poisons_nothing(script: ScriptedServer) -> None:
    script.accept().expect(b"GET /1").send(OK + OK).expect_eof()
    script.accept().expect(b"GET /2").send(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")
    with HTTPConnectionPool(script.host, script.port, retries=False) as pool:
        assert pool.request("GET", "/1").data == b"ok"
        assert pool.request("GET", "/2").status == 404


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nconnection: foo, CLOSE\r\n\r\nx",
        b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx",
    ],
)
def test_a_connection_that_the_server_gives_up_is_closed_by_us(
    script: ScriptedServer, answer: bytes
) -> None:
    script.accept().expect(b"GET").send(answer).expect_eof()
    script.accept().expect(b"GET").send(answer).expect_eof()
    with HTTPConnectionPool(script.host, script.port) as pool:
        assert pool.request("GET", "/").data == b"x"
        assert pool.request("GET", "/").data == b"x"


def test_keep_alive_of_http_1_0_is_respected(script: ScriptedServer) -> None:
    answer = b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\nx"
    script.accept().expect(b"GET").send(answer).expect(b"GET").send(answer)
    with HTTPConnectionPool(script.host, script.port) as pool:
        assert pool.request("GET", "/").data + pool.request("GET", "/").data == b"xx"


def test_the_connection_used_last_is_used_first(server: DummyServer) -> None:
    """Last in, first out: the others may be idle long enough to be closed."""
    with HTTPConnectionPool("127.0.0.1", server.http_port, maxsize=3) as pool:
        responses = [
            pool.request("GET", "/large?size=100000", preload_content=False) for _ in range(3)
        ]
        for response in responses:
            response.read()
        last = pool.pool.queue[-1]
        pool.request("GET", "/")
        assert pool.pool.queue[-1] is last


# -- sizes ------------------------------------------------------------------------------------


def test_more_connections_than_fit_are_closed_with_a_warning(
    server: DummyServer, caplog: pytest.LogCaptureFixture
) -> None:
    with HTTPConnectionPool("127.0.0.1", server.http_port, maxsize=1) as pool:
        responses = [
            pool.request("GET", "/large?size=100000", preload_content=False) for _ in range(2)
        ]
        for response in responses:
            response.read()
        record = caplog.records[-1]
        assert (record.name, record.levelname) == ("urllib4.connectionpool", "WARNING")
        assert record.getMessage() == (
            "Connection pool is full, discarding connection: 127.0.0.1. Connection pool size: 1"
        )
        assert pool.pool.qsize() == 1


def test_a_connection_too_many_is_an_error_where_there_can_be_none() -> None:
    with HTTPConnectionPool("localhost", block=True) as pool:
        pool._put_conn(HTTPConnection("localhost"))
        with pytest.raises(FullPoolError, match="Pool reached maximum size"):
            pool._put_conn(HTTPConnection("localhost"))


def test_a_pool_of_size_zero_keeps_nothing() -> None:
    """`queue.LifoQueue(0)` is one without a bound: urllib3 keeps everything."""
    with (
        CountingServer() as server,
        HTTPConnectionPool(server.host, server.port, maxsize=0) as pool,
    ):
        for _ in range(3):
            pool.request("GET", "/")
        assert pool.num_connections == 3
        assert pool.pool.qsize() == 0
        server.wait_until(lambda: server.open == 0)


@pytest.mark.parametrize(
    "options", [{"maxsize": -1}, {"maxsize": "1"}, {"maxsize": True}, {"maxsize": 0, "block": True}]
)
def test_a_size_that_cannot_be_is_an_error_that_names_it(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=repr(options["maxsize"])):
        HTTPConnectionPool("localhost", **options)


@pytest.mark.parametrize("host", ["", None])
def test_a_pool_needs_a_host(host: Any) -> None:
    with pytest.raises(LocationValueError, match=r"No host specified\."):
        HTTPConnectionPool(host)


def test_a_queue_class_of_ones_own_is_used(server: DummyServer) -> None:
    class Pool(HTTPConnectionPool):
        QueueCls = queue.LifoQueue

    with Pool("127.0.0.1", server.http_port, block=True, maxsize=2) as pool:
        assert type(pool.pool) is queue.LifoQueue
        assert pool.request("GET", "/").status == 200
        assert pool.pool.qsize() == 2


def test_a_response_class_of_ones_own_is_used(server: DummyServer) -> None:
    class Response(HTTPResponse):
        pass

    class Pool(HTTPConnectionPool):
        ResponseCls = Response

    with Pool("127.0.0.1", server.http_port) as pool:
        assert type(pool.request("GET", "/")) is Response
        assert pool.pool.qsize() == 1
