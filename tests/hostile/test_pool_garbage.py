"""Responses that nobody closes: the garbage collector ends their leases, in any thread, any time.

Its finalisers run in the middle of whatever a thread is doing, with the locks that it holds.  So
ending a lease may not wait for a lock; ``test_pool_interleavings.py`` shows what happens else.
"""

from __future__ import annotations

import gc
import queue
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dummyserver.counting import CountingServer
from dummyserver.threaded import PATIENCE
from tests.hostile.traffic import in_threads
from urllib4 import CancelToken, HTTPConnectionPool
from urllib4._idle import IdleStore

# Of a cycle, the socket may be finalised first, and says that nobody closed it.
pytestmark = pytest.mark.filterwarnings(
    "ignore:unclosed <socket:ResourceWarning",
    # Dropping responses unread is what these tests are about.
    "ignore:.*was dropped before it was read:ResourceWarning",
)


@pytest.fixture
def server() -> Iterator[CountingServer]:
    with CountingServer() as running:
        yield running


@pytest.fixture(autouse=True)
def no_collection_by_itself() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def forget_in_a_cycle(pool: HTTPConnectionPool, **options: Any) -> None:
    response = pool.request("GET", "/forgotten", preload_content=False, **options)
    response.myself = response


class CollectingStore(IdleStore):
    """Lets the collector run in each step of taking, waiting and giving back."""

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        gc.collect()
        return super().get(block, timeout)

    def _took(self, holder: list[Any]) -> bool:
        gc.collect()
        return super()._took(holder)

    def _may_go_on(self) -> bool:
        ready = super()._may_go_on()
        gc.collect()  # behind the last look: what it frees must be noticed all the same
        return ready

    def tell(self) -> None:
        gc.collect()
        super().tell()


class CollectingPool(HTTPConnectionPool):
    QueueCls = CollectingStore


def test_a_thread_that_waits_is_woken_by_a_collection_in_another(server: CountingServer) -> None:
    with HTTPConnectionPool(server.host, server.port, maxsize=1, block=True) as pool:
        forget_in_a_cycle(pool)

        used = threading.Event()

        def collect() -> None:
            # Another collection may come first: then nobody has to wait.
            while not pool.pool._waiters and not used.is_set():
                pass
            gc.collect()

        def use() -> None:
            assert pool.request("GET", "/next", pool_timeout=PATIENCE).data == b"/next"
            used.set()

        in_threads([use, collect])
        assert pool.pool.qsize() == 1
    server.wait_until(lambda: server.open == 0)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_thread_that_waits_is_woken_by_its_own_collection(
    server: CountingServer, number: int
) -> None:
    """Which happens between its last look at the store and its going to sleep."""
    with CollectingPool(server.host, server.port, maxsize=number, block=True) as pool:
        for _ in range(number):
            forget_in_a_cycle(pool)
        for turn in range(number):
            tag = f"/{turn}"
            assert pool.request("GET", tag, pool_timeout=PATIENCE).data == tag.encode()
        assert pool.pool.qsize() == number
    server.wait_until(lambda: server.open == 0)


def test_the_collection_that_comes_last_is_noticed(server: CountingServer) -> None:
    """The store was looked at twice, in vain; then the collector frees the slot."""
    freed = []

    class Store(IdleStore):
        def _may_go_on(self) -> bool:
            ready = super()._may_go_on()
            if not freed:
                freed.append(gc.collect())
            return ready

    class Pool(HTTPConnectionPool):
        QueueCls = Store

    with Pool(server.host, server.port, maxsize=1, block=True) as pool:
        forget_in_a_cycle(pool)
        assert pool.request("GET", "/next", pool_timeout=PATIENCE).data == b"/next"
    assert freed


def test_collections_while_two_tokens_are_used_do_not_wait_for_each_other(
    server: CountingServer,
) -> None:
    """Each thread holds the lock of one token while a lease with the other one is collected."""
    with HTTPConnectionPool(server.host, server.port, maxsize=4, block=True) as pool:
        tokens = [CancelToken(), CancelToken()]
        both_hold_a_lock = threading.Barrier(2)
        forgotten: list[list[Any]] = []
        for token in reversed(tokens):
            forgotten.append([pool.request("GET", "/x", preload_content=False, cancel=token)])

        def wake(number: int) -> Callable[[], None]:
            def run() -> None:
                both_hold_a_lock.wait(PATIENCE)
                forgotten[number].clear()

            return run

        for number, token in enumerate(tokens):
            token._wakers.clear()  # of the two responses, whose sockets would be shut down
            token.on_cancel(wake(number))
        in_threads([token.cancel for token in tokens])
        assert pool.pool.qsize() == 4
    server.wait_until(lambda: server.open == 0)


def test_a_collection_in_the_middle_of_a_cancel_ends_a_lease_of_that_token(
    server: CountingServer,
) -> None:
    with HTTPConnectionPool(server.host, server.port, maxsize=1, block=True) as pool:
        token = CancelToken()
        forget_in_a_cycle(pool, cancel=token)
        token.on_cancel(gc.collect)  # type: ignore[arg-type]
        token.cancel()
        assert len(token._wakers) == 1, "only ours is left"
        assert pool.request("GET", "/next", pool_timeout=0).data == b"/next"


def test_a_finaliser_of_the_program_may_send_requests(server: CountingServer) -> None:
    """Some do so to end a session at the server; it may run in the middle of another request."""
    done = []

    class Session:
        def __init__(self) -> None:
            self.cycle = self

        def __del__(self) -> None:
            done.append(pool.request("DELETE", "/session", pool_timeout=PATIENCE).status)

    with CollectingPool(server.host, server.port, maxsize=2, block=True) as pool:
        for turn in range(5):
            Session()
            tag = f"/{turn}"
            assert pool.request("GET", tag).data == tag.encode()
        assert done == [200] * 5
        assert pool.pool.qsize() == 2


def test_a_finaliser_of_the_program_may_close_a_response(server: CountingServer) -> None:
    class Body:
        def __init__(self, response: Any) -> None:
            self.response = response
            self.cycle = self

        def __del__(self) -> None:
            self.response.close()
            self.response.release_conn()

    with CollectingPool(server.host, server.port, maxsize=2, block=True) as pool:
        for _ in range(5):
            Body(pool.request("GET", "/body", preload_content=False, pool_timeout=PATIENCE))
        gc.collect()
        assert pool.pool.qsize() == 2


def test_a_response_keeps_nothing_alive_once_it_is_read(server: CountingServer) -> None:
    """Without a collection: reference counting frees pool, response and lease."""
    pool = HTTPConnectionPool(server.host, server.port, maxsize=1, block=True)
    token = CancelToken()
    response = pool.request("GET", "/x", preload_content=False, cancel=token)
    response.read()
    assert not token._wakers
    references = [weakref.ref(response), weakref.ref(pool), weakref.ref(pool.pool)]
    del response, pool
    assert [reference() for reference in references] == [None] * 3
    server.wait_until(lambda: server.open == 0)


AT_EXIT = """
import sys
from urllib4 import HTTPConnectionPool, PoolManager, CancelToken
manager = PoolManager(maxsize=2, block=True)
half_read = manager.request("GET", sys.argv[1] + "/half", preload_content=False)
half_read.read(1)
in_a_cycle = manager.request(
    "GET", sys.argv[1] + "/cycle", preload_content=False, cancel=CancelToken()
)
in_a_cycle.myself = in_a_cycle
class Late:
    def __del__(self):
        half_read.close()
late = Late()
late.cycle = late, manager
"""


ENDS = {
    "the last line": "",
    "SystemExit": "raise SystemExit(0)",
    "KeyboardInterrupt": """
import os, signal, time
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)
except KeyboardInterrupt:
    pass
""",
}


@pytest.mark.parametrize("end", ENDS)
def test_responses_that_are_left_at_the_end_of_the_program_are_silent(
    server: CountingServer, end: str
) -> None:
    """Finalisers may find modules half taken down."""
    done = subprocess.run(
        [sys.executable, "-c", AT_EXIT + ENDS[end], server.url],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
    server.wait_until(lambda: server.open == 0)


# -- pools that nobody closes ----------------------------------------------------------------------


class OthersPool(HTTPConnectionPool):
    QueueCls = queue.LifoQueue


@pytest.mark.filterwarnings("error:unclosed <socket:ResourceWarning")
@pytest.mark.parametrize("pool_class", [HTTPConnectionPool, OthersPool])
@pytest.mark.parametrize("in_a_cycle", [False, True])
def test_idle_connections_of_a_forgotten_pool_are_closed(
    server: CountingServer,
    pool_class: type[HTTPConnectionPool],
    in_a_cycle: bool,
    recwarn: pytest.WarningsRecorder,
) -> None:
    """Before their sockets are finalised, which would say that nobody closed them."""
    pool = pool_class(server.host, server.port, maxsize=2)
    assert pool.request("GET", "/x").data == b"/x"
    if in_a_cycle:
        pool.myself = pool  # type: ignore[attr-defined]
    gone = weakref.ref(pool)
    del pool
    gc.collect()
    assert gone() is None
    server.wait_until(lambda: server.open == 0)
    assert not recwarn.list


@pytest.mark.parametrize(
    "keeper", ["http = manager", "manager.cycle = manager", "sys.http = manager"]
)
def test_idle_connections_are_closed_at_the_end_of_the_process(
    server: CountingServer, keeper: str
) -> None:
    """Whatever becomes of the modules then, no socket says that nobody closed it."""
    program = f"""
import sys, urllib4
manager = urllib4.PoolManager()
assert manager.request("GET", {server.url!r} + "/x").data == b"/x"
{keeper}
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", program],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    server.wait_until(lambda: server.open == 0)
