"""Many threads on one manager or pool: nothing is mixed up, lost, leaked or left waiting.

The number of threads and rounds is small enough for every run of the tests, and the promises
hold for any number.
"""

from __future__ import annotations

import gc
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dummyserver.counting import CountingServer, Exchange, ok
from dummyserver.threaded import PATIENCE
from urllib4 import HTTPConnectionPool, PoolManager
from urllib4._idle import IdleStore
from urllib4.connection import HTTPConnection
from urllib4.exceptions import ClosedPoolError, HTTPError, ProtocolError

#: Dropping responses unread is what these tests are about.
pytestmark = pytest.mark.filterwarnings("ignore:.*was dropped before it was read:ResourceWarning")


@pytest.fixture
def counting() -> Iterator[CountingServer]:
    with CountingServer() as running:
        yield running


def in_threads(number: int, work: Callable[[int], None]) -> None:
    """Call ``work(0)`` to ``work(number - 1)`` at the same time; raise what any of them raises."""
    barrier = threading.Barrier(number)
    errors: list[BaseException] = []

    def run(worker: int) -> None:
        try:
            barrier.wait(PATIENCE)
            work(worker)
        except BaseException as error:
            errors.append(error)

    # Daemons: a thread that hangs is a failure, not a test run without an end.
    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(number)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 30
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    if errors:
        raise errors[0]
    assert not any(thread.is_alive() for thread in threads), "a thread waits for ever"


class Counted(HTTPConnection):
    """Knows how many connections of its class have a socket at the same time.

    A server sees the end of a connection a moment late, so the limit is watched from here.
    """

    lock: threading.Lock  # guards the two numbers
    open: int
    peak: int

    def _new_conn(self) -> Any:
        sock = super()._new_conn()
        cls = type(self)
        with cls.lock:
            cls.open += 1
            cls.peak = max(cls.peak, cls.open)
        return sock

    def close(self) -> None:
        had_socket = self.sock is not None
        super().close()
        if had_socket and self.sock is None:
            with self.lock:
                type(self).open -= 1


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> type[Counted]:
    """Let all http pools use a fresh counting class."""
    fresh = type("FreshlyCounted", (Counted,), {"lock": threading.Lock(), "open": 0, "peak": 0})
    monkeypatch.setattr(HTTPConnectionPool, "ConnectionCls", fresh)
    return fresh


@pytest.mark.parametrize("block", [False, True])
def test_every_answer_belongs_to_its_request(counting: CountingServer, block: bool) -> None:
    """32 threads, 200 tagged requests each; with `block` at most `maxsize` connections."""
    maxsize = 8 if block else 32

    def work(worker: int) -> None:
        for number in range(200):
            tag = f"/{worker}/{number}"
            assert manager.request("GET", counting.url + tag, retries=False).data == tag.encode()

    with PoolManager(maxsize=maxsize, block=block) as manager:
        in_threads(32, work)
        pool = manager.connection_from_url(counting.url)
        assert pool.num_requests == len(counting.exchanges) == 6400
        assert counting.connections == pool.num_connections <= maxsize
        assert pool.pool.qsize() == maxsize
    counting.wait_until(lambda: counting.open == 0)


def read_at_once(pool: HTTPConnectionPool, tag: str) -> None:
    assert pool.request("GET", tag).data == tag.encode()


def read_in_pieces(pool: HTTPConnectionPool, tag: str) -> None:
    response = pool.request("GET", tag, preload_content=False)
    assert b"".join(response.stream(3)) == tag.encode()


def close_unread(pool: HTTPConnectionPool, tag: str) -> None:
    pool.request("GET", tag, preload_content=False).close()


def release_unread(pool: HTTPConnectionPool, tag: str) -> None:
    pool.request("GET", tag, preload_content=False).release_conn()


def drain(pool: HTTPConnectionPool, tag: str) -> None:
    pool.request("GET", tag, preload_content=False).drain_conn()


def forget(pool: HTTPConnectionPool, tag: str) -> None:
    pool.request("GET", tag, preload_content=False)


def close_twice(pool: HTTPConnectionPool, tag: str) -> None:
    response = pool.request("GET", tag, preload_content=False)
    response.read(1)
    response.close()
    response.release_conn()
    response.close()


def fail(pool: HTTPConnectionPool, tag: str) -> None:
    with pytest.raises(ProtocolError):
        pool.request("GET", f"/broken{tag}", retries=False)


def say_close(pool: HTTPConnectionPool, tag: str) -> None:
    assert pool.request("GET", tag, headers={"Connection": "close"}).status == 200


ENDS = [
    read_at_once, read_in_pieces, close_unread, release_unread, drain, forget, close_twice, fail,
    say_close,
]  # fmt: skip


def echo_or_break(exchange: Exchange) -> bytes:
    if exchange.target.startswith("/broken"):
        return b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\nno more"
    fields = ["Connection: close"] if exchange.header("Connection") == "close" else []
    return ok(exchange.target.encode(), *fields)


@pytest.mark.parametrize("end", ENDS)
def test_each_end_of_a_response_gives_its_slot_back(
    counted: type[Counted], end: Callable[[HTTPConnectionPool, str], None]
) -> None:
    """With `block`, a lost slot means that some later request waits for ever."""
    with CountingServer(echo_or_break) as server:
        with HTTPConnectionPool(server.host, server.port, maxsize=2, block=True) as pool:
            for number in range(5):
                end(pool, f"/{number}")
                gc.collect()  # `forget` leaves the rest to it
                assert pool.pool.qsize() == 2
            held = [
                pool.request("GET", "/held", preload_content=False, pool_timeout=0)
                for _ in range(2)
            ]
            assert pool.pool.qsize() == 0
            for response in held:
                response.close()
        assert counted.peak <= 2
        server.wait_until(lambda: server.open == 0)


def test_slots_are_kept_when_many_threads_end_responses_in_all_ways(
    counted: type[Counted],
) -> None:
    """And never are there more sockets than slots."""

    def work(worker: int) -> None:
        for number in range(40):
            end = ENDS[(worker * 7 + number * 5) % len(ENDS)]
            end(pool, f"/{worker}/{number}")

    with (
        CountingServer(echo_or_break) as server,
        HTTPConnectionPool(server.host, server.port, maxsize=3, block=True) as pool,
    ):
        in_threads(10, work)
        gc.collect()
        assert pool.pool.qsize() == 3
        assert counted.peak <= 3
        assert len(server.exchanges) == pool.num_requests == 400


def request_for_ever(pool: HTTPConnectionPool, worker: int) -> None:
    for number in itertools.count():
        tag = f"/{worker}/{number}"
        assert pool.request("GET", tag, retries=False).data == tag.encode()


@pytest.mark.parametrize("block", [False, True])
def test_closing_a_pool_during_traffic_is_seen_as_closed_pool_only(
    counting: CountingServer, block: bool
) -> None:
    """What is in flight finishes; what comes later, or waits for a slot, is told."""
    pool = HTTPConnectionPool(counting.host, counting.port, maxsize=3, block=block)

    def work(worker: int) -> None:
        if worker == 0:
            counting.wait_until(lambda: len(counting.exchanges) > 50)
            pool.close()
            return
        with pytest.raises(ClosedPoolError):
            request_for_ever(pool, worker)

    in_threads(8, work)
    counting.wait_until(lambda: counting.open == 0)


@pytest.mark.parametrize("block", [False, True])
def test_clearing_a_manager_during_traffic_is_not_noticed(block: bool) -> None:
    """D7: no thread meets an error because of the pools that another one drops.

    Three hosts on two pools: there is an eviction all the time, too.
    """
    done = threading.Event()
    cleared = 0

    def clear_often() -> None:
        nonlocal cleared
        while not done.is_set():
            manager.clear()
            cleared += 1
            done.wait(0.002)  # let the others do something between two times

    def work(worker: int) -> None:
        for number in range(60):
            server = servers[(worker + number) % 3]
            tag = f"/{worker}/{number}"
            assert manager.request("GET", server.url + tag, retries=False).data == tag.encode()

    with CountingServer() as one, CountingServer() as two, CountingServer() as three:
        servers = (one, two, three)
        with PoolManager(2, maxsize=2, block=block) as manager:
            clearing = threading.Thread(target=clear_often)
            clearing.start()
            try:
                in_threads(8, work)
            finally:
                done.set()
                clearing.join()
            assert cleared > 0
            assert len(manager.pools) <= 2
        for server in servers:
            server.wait_until(lambda server=server: server.open == 0)


def test_threads_that_hold_a_pool_go_on_while_it_is_retired(counting: CountingServer) -> None:
    """D7: with `block` all slots are still there afterwards."""
    with HTTPConnectionPool(counting.host, counting.port, maxsize=3, block=True) as pool:

        def work(worker: int) -> None:
            for number in range(40):
                if worker == 0:
                    pool.retire()
                tag = f"/{worker}/{number}"
                assert pool.request("GET", tag, retries=False).data == tag.encode()

        in_threads(8, work)
        assert pool.pool.qsize() == 3
        counting.wait_until(lambda: counting.open == 0)


def test_retiring_while_a_connection_comes_back_loses_no_slot(counting: CountingServer) -> None:
    """Between the look at the pool's state and the queue, another thread may retire the pool."""

    class RetiredMeanwhile(IdleStore):
        def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
            if item is not None:
                pool.retire()
            super().put(item, block, timeout)

    class Pool(HTTPConnectionPool):
        QueueCls = RetiredMeanwhile

    with Pool(counting.host, counting.port, maxsize=3, block=True) as pool:
        assert pool.request("GET", "/").status == 200
        assert pool.pool.qsize() == 3
        counting.wait_until(lambda: counting.open == 0)


def test_closing_while_a_connection_comes_back_closes_it(counting: CountingServer) -> None:
    """The same with close(): the connection must not stay in a queue that nobody looks at."""

    class ClosedMeanwhile(IdleStore):
        def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
            if item is not None:
                pool.close()
            super().put(item, block, timeout)

    class Pool(HTTPConnectionPool):
        QueueCls = ClosedMeanwhile

    pool = Pool(counting.host, counting.port, maxsize=1)
    assert pool.request("GET", "/").status == 200
    counting.wait_until(lambda: counting.open == 0)


class Announcing(IdleStore):
    """Tells when a thread is about to wait for a slot."""

    def __init__(self, maxsize: int = 0) -> None:
        super().__init__(maxsize)
        self.about_to_wait = threading.Semaphore(0)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        if block and not self.queue:
            self.about_to_wait.release()
        return super().get(block, timeout)


class AnnouncingPool(HTTPConnectionPool):
    QueueCls = Announcing


def test_all_threads_that_wait_for_a_slot_wake_when_the_pool_is_closed(
    counting: CountingServer,
) -> None:
    """One after the other is woken: each sees a closed pool, none a slot or an endless wait."""
    pool = AnnouncingPool(counting.host, counting.port, maxsize=1, block=True)
    held = pool.request("GET", "/held", preload_content=False)
    store = pool.pool

    def work(worker: int) -> None:
        if worker == 0:
            for _ in range(5):
                assert store.about_to_wait.acquire(timeout=PATIENCE)
            pool.close()
        else:
            with pytest.raises(ClosedPoolError):
                pool.request("GET", "/never")

    in_threads(6, work)
    assert held.read() == b"/held"
    assert len(counting.exchanges) == 1
    counting.wait_until(lambda: counting.open == 0)


def test_a_connection_that_comes_back_during_close_keeps_nobody_waiting(
    counting: CountingServer,
) -> None:
    """The slot by which close() wakes the first that waits must not be taken away again."""

    class ClosedMeanwhile(Announcing):
        def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
            if item is not None:
                pool.close()
            super().put(item, block, timeout)

    class Pool(HTTPConnectionPool):
        QueueCls = ClosedMeanwhile

    pool = Pool(counting.host, counting.port, maxsize=1, block=True)
    store = pool.pool
    held = pool.request("GET", "/held", preload_content=False)

    def work(worker: int) -> None:
        if worker == 0:
            for _ in range(3):
                assert store.about_to_wait.acquire(timeout=PATIENCE)
            held.read()
        else:
            with pytest.raises(ClosedPoolError):
                pool.request("GET", "/never")

    in_threads(4, work)
    counting.wait_until(lambda: counting.open == 0)


@pytest.mark.parametrize("end", [close_unread, forget, fail, read_in_pieces])
def test_a_thread_that_waits_gets_the_slot_of_a_response_that_ends(
    end: Callable[[HTTPConnectionPool, str], None],
) -> None:
    """In whichever way it ends."""
    with (
        CountingServer(echo_or_break) as server,
        AnnouncingPool(server.host, server.port, maxsize=1, block=True) as pool,
    ):
        conn = pool._get_conn()

        def work(worker: int) -> None:
            if worker == 0:
                assert pool.pool.about_to_wait.acquire(timeout=PATIENCE)
                pool._put_conn(conn)
            end(pool, f"/{worker}")

        in_threads(4, work)
        gc.collect()
        assert pool.pool.qsize() == 1


def test_counters_lose_no_update() -> None:
    """They are read and written by many threads, on a build without a GIL truly in parallel."""
    pool = HTTPConnectionPool("localhost", maxsize=1)

    def work(worker: int) -> None:
        for _ in range(300):
            pool._new_conn()

    in_threads(8, work)
    assert pool.num_connections == 2400
    pool.close()


def test_errors_of_some_requests_do_not_reach_others(counted: type[Counted]) -> None:
    """Every third request breaks; those of other threads are answered on other connections."""
    failures = []

    def work(worker: int) -> None:
        for number in range(30):
            tag = f"/{worker}/{number}"
            if (worker + number) % 3 == 0:
                with pytest.raises(HTTPError) as failure:
                    pool.request("GET", f"/broken{tag}", retries=False)
                failures.append(failure.value)
            else:
                assert pool.request("GET", tag, retries=False).data == tag.encode()

    with (
        CountingServer(echo_or_break) as server,
        HTTPConnectionPool(server.host, server.port, maxsize=4, block=True) as pool,
    ):
        in_threads(9, work)
        assert len(failures) == 90
        assert all(type(failure) is ProtocolError for failure in failures)
        assert pool.pool.qsize() == 4
        assert counted.peak <= 4
