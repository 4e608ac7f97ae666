"""The store of idle connections against a model of it, and the lease that ends exactly once."""

from __future__ import annotations

import gc
import queue
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from urllib4._idle import IdleStore, Lease

PATIENCE = 10.0


class Conn:
    """Stands for a connection."""

    def __init__(self, quiescent: bool = True) -> None:
        self.is_quiescent = quiescent
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


class Pool:
    """What a lease needs of a pool."""

    def __init__(self) -> None:
        self.back: list[Any] = []

    def _put_conn(self, conn: Any) -> None:
        self.back.append(conn)


# -- the store -------------------------------------------------------------------------------


@given(
    maxsize=st.integers(0, 4),
    steps=st.lists(st.sampled_from(["get", "slot", "connection"]), max_size=30),
)
def test_the_store_is_a_stack_of_connections_above_empty_slots(
    maxsize: int, steps: list[str]
) -> None:
    """The model: two lists.  A connection takes the place of an empty slot where all are taken."""
    store = IdleStore(maxsize)
    slots = 0
    connections: list[object] = []
    for step in steps:
        full = slots + len(connections) == maxsize
        if step == "get":
            if connections:
                assert store.get(block=False) is connections.pop()
            elif slots:
                assert store.get(block=False) is None
                slots -= 1
            else:
                with pytest.raises(queue.Empty):
                    store.get(block=False)
        elif step == "slot":
            if full:
                with pytest.raises(queue.Full):
                    store.put(None, block=False)
            else:
                store.put(None)
                slots += 1
        else:
            conn = object()
            if full and not slots:
                with pytest.raises(queue.Full):
                    store.put(conn)
            else:
                slots -= full
                store.put(conn, block=False)
                connections.append(conn)
        assert store.qsize() == slots + len(connections)
        assert list(store.queue) == [None] * slots + connections


def test_the_store_is_a_lifo_queue() -> None:
    """Programs look at ``pool.pool`` and know it as one."""
    store = IdleStore(2)
    assert isinstance(store, queue.LifoQueue)
    assert (store.maxsize, store.empty(), store.full()) == (2, True, False)
    store.put_nowait(None)
    store.put_nowait("a")
    assert (store.empty(), store.full()) == (False, True)
    assert store.get_nowait() == "a"


def test_the_store_has_all_that_a_queue_has() -> None:
    """Programs hold ``mutex`` around a look at the queue; conditions work together with it."""
    store = IdleStore(2)
    for name, value in vars(queue.LifoQueue(2)).items():
        assert type(getattr(store, name)) is type(value), name
    assert store.mutex is store.mutex
    for condition in (store.not_empty, store.not_full, store.all_tasks_done):
        with condition:
            condition.notify()
            assert store.mutex.locked()


def test_a_store_of_size_zero_keeps_nothing() -> None:
    """A plain queue of that size would keep everything."""
    store = IdleStore(0)
    for item in (None, object()):
        with pytest.raises(queue.Full):
            store.put(item)
    with pytest.raises(queue.Empty):
        store.get(block=False)
    assert store.qsize() == 0


def test_a_full_store_never_makes_the_giver_wait() -> None:
    """Who gives a connection back is about to return a response."""
    store = IdleStore(1)
    store.put("a")
    with pytest.raises(queue.Full):
        store.put("b", block=True, timeout=None)


def test_waiting_ends_empty_handed_when_the_time_is_over() -> None:
    store = IdleStore(1)
    for timeout in (0, 0.001):
        with pytest.raises(queue.Empty):
            store.get(timeout=timeout)
    store.put("a")
    assert store.get(timeout=0) == "a"


def test_a_negative_time_is_refused_with_its_value() -> None:
    with pytest.raises(ValueError, match="'timeout' must be a non-negative number, not -1"):
        IdleStore(1).get(timeout=-1)


class Announcing(IdleStore):
    """Tells when a thread is about to wait."""

    def __init__(self, maxsize: int) -> None:
        super().__init__(maxsize)
        self.about_to_wait = threading.Semaphore(0)

    def _wait(self, timeout: float | None, holder: list[Any]) -> None:
        self.about_to_wait.release()
        super()._wait(timeout, holder)


def waiting(
    store: Announcing, number: int, timeout: float | None
) -> tuple[list[threading.Thread], list[Any]]:
    """Let so many threads wait for an entry; their threads and what they got."""
    got: list[Any] = []

    def take() -> None:
        try:
            got.append(store.get(timeout=timeout))
        except queue.Empty:
            got.append(queue.Empty)

    threads = [threading.Thread(target=take, daemon=True) for _ in range(number)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert store.about_to_wait.acquire(timeout=PATIENCE)
    return threads, got


def join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.mark.parametrize("timeout", [None, PATIENCE])
def test_each_entry_wakes_one_thread_that_waits(timeout: float | None) -> None:
    """Empty slots as well as connections; nobody gets what another one got."""
    store = Announcing(4)
    threads, got = waiting(store, 4, timeout)
    entries = [None, "a", None, "b"]
    for entry in entries:
        store.put(entry)
    join(threads)
    assert sorted(map(str, got)) == sorted(map(str, entries))
    assert store.qsize() == 0


def test_threads_that_gave_up_swallow_no_entry() -> None:
    """The entry goes to one that still waits."""
    store = Announcing(1)
    impatient, nothing = waiting(store, 2, 0.001)
    patient, got = waiting(store, 1, PATIENCE)
    join(impatient)
    assert nothing == [queue.Empty, queue.Empty]
    store.put("a")
    join(patient)
    assert got == ["a"]


def test_the_garbage_collector_may_give_back_in_the_middle_of_an_operation() -> None:
    """It runs in whichever thread it likes, also in one that holds the lock of the store."""

    class Forgotten:
        def __init__(self) -> None:
            self.cycle = self

        def __del__(self) -> None:
            store.put("back")

    store = IdleStore(2)
    Forgotten()
    done = threading.Event()

    def collect_with_the_lock() -> None:
        with store.mutex:
            gc.collect()
        done.set()

    thread = threading.Thread(target=collect_with_the_lock, daemon=True)
    thread.start()
    assert done.wait(PATIENCE), "a deadlock"
    thread.join()
    assert store.get(block=False) == "back"


def test_no_entry_is_lost_between_many_threads() -> None:
    """Each thread takes and gives back; at the end all entries are there, each once."""
    store = IdleStore(3)
    for entry in ("a", "b", None):
        store.put(entry)
    owner: dict[str, int] = {}
    errors: list[str] = []

    def work() -> None:
        me = threading.get_ident()
        for _ in range(300):
            entry = store.get(timeout=PATIENCE)
            if entry is not None:
                owner[entry] = me
                for _ in range(5):
                    if owner[entry] != me:
                        errors.append(f"{entry!r} was handed out twice")
            store.put(entry)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(6)]
    for thread in threads:
        thread.start()
    join(threads)
    assert not errors
    first, *others = store.queue
    assert first is None
    assert sorted(others) == ["a", "b"]


# -- the lease -------------------------------------------------------------------------------


def test_a_connection_that_can_be_used_again_goes_back() -> None:
    pool, conn = Pool(), Conn()
    Lease(pool, conn).end(True)
    assert pool.back == [conn]
    assert conn.closed == 0


@pytest.mark.parametrize(("quiescent", "reusable"), [(True, False), (False, True), (False, False)])
def test_any_other_connection_is_closed_and_its_slot_goes_back(
    quiescent: bool, reusable: bool
) -> None:
    """The response says that it is complete, the connection that nothing is left on it.

    After a complete answer the object itself goes back, to connect anew.
    """
    pool, conn = Pool(), Conn(quiescent)
    Lease(pool, conn).end(reusable)
    assert pool.back == [conn if reusable else None]
    assert conn.closed == 1


def test_a_connection_of_somebody_else_that_cannot_tell_is_trusted() -> None:
    pool, conn = Pool(), object()
    Lease(pool, conn).end(True)
    assert pool.back == [conn]


@given(st.lists(st.booleans(), min_size=1, max_size=5))
def test_only_the_first_end_counts(ends: list[bool]) -> None:
    pool, conn = Pool(), Conn()
    lease = Lease(pool, conn)
    for reusable in ends:
        lease.end(reusable)
    assert pool.back == [conn if ends[0] else None]
    assert conn.closed == (not ends[0])


def test_the_slot_goes_back_even_if_closing_fails() -> None:
    class Stubborn(Conn):
        def close(self) -> None:
            raise OSError("no")

    pool = Pool()
    lease = Lease(pool, Stubborn())
    with pytest.raises(OSError, match="no"):
        lease.end(False)
    lease.end(False)
    assert pool.back == [None]


def test_one_of_many_threads_ends_a_lease() -> None:
    """close() in one thread, the garbage collector in another: one connection, one return."""
    for _ in range(50):
        pool, conn = Pool(), Conn()
        lease = Lease(pool, conn)
        barrier = threading.Barrier(4)

        def end(reusable: bool, lease: Lease = lease, barrier: threading.Barrier = barrier) -> None:
            barrier.wait(PATIENCE)
            lease.end(reusable)

        threads = [
            threading.Thread(target=end, args=(number % 2 == 0,), daemon=True)
            for number in range(4)
        ]
        for thread in threads:
            thread.start()
        join(threads)
        assert len(pool.back) == 1
        assert conn.closed == (pool.back[0] is None)
