"""The thread that closes idle connections on time, by a clock of the test."""

from __future__ import annotations

import gc
import math
import threading
import time
from typing import Any

import pytest

from urllib4._idle import IdleStore
from urllib4._reaper import Reaper
from urllib4._reuse import Life, ReusePolicy

PATIENCE = 10.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Conn:
    """Stands for an open connection that is to be given up at a time."""

    def __init__(self, until: float, ends: list[str] | None = None) -> None:
        self.sock: Any = object()
        self.closed = threading.Event()
        self._life: Life | None = Life(ReusePolicy(), 0.0)
        noted: list[str] = [] if ends is None else ends
        self._life.begin(lambda holder: noted.append(holder.pop()))
        noted.remove("created")
        self._life.idle_until = until

    def close(self) -> None:
        self.sock = None
        life, self._life = self._life, None
        if life is not None:
            life.end()
        self.closed.set()


def a_store(*untils: float, maxsize: int = 5) -> tuple[IdleStore, list[Conn]]:
    store = IdleStore(maxsize)
    for _ in range(maxsize):
        store.put(None)
    conns = [Conn(until) for until in untils]
    for conn in conns:
        give(store, conn)
    return store, conns


def give(store: IdleStore, conn: Conn) -> None:
    store.put(conn)
    assert conn._life is not None
    if conn._life.idle_until < store.due:
        store.make_due(conn._life.idle_until)


def fail_to_close(conn: Any) -> None:
    def close() -> None:
        raise RuntimeError("close() of a program's own class")

    conn.close = close


def is_closed(conns: list[Conn]) -> list[bool]:
    return [conn.closed.is_set() for conn in conns]


# -- the store -------------------------------------------------------------------------------


def test_the_store_knows_what_is_due_first() -> None:
    store, _ = a_store(7.0, 5.0, 9.0)
    assert store.due == 5.0


def test_what_is_due_is_closed_and_leaves_its_slot() -> None:
    store, conns = a_store(7.0, 5.0, 9.0)
    store.expire(7.0)
    assert is_closed(conns) == [True, True, False]
    assert store.queue == [None, None, None, None, conns[2]]
    assert store.due == 9.0


def test_a_connection_without_an_end_is_kept() -> None:
    store, conns = a_store(math.inf)
    store.expire(1e12)
    assert (is_closed(conns), store.due) == ([False], math.inf)


def test_a_connection_that_was_taken_is_not_closed() -> None:
    """S3-5: a taken connection is never closed by the timer."""
    store, conns = a_store(5.0)
    assert store.get() is conns[0]
    store.expire(6.0)
    assert is_closed(conns) == [False]


def test_the_reason_is_the_bound_that_was_reached() -> None:
    ends: list[str] = []
    store, _ = a_store()
    conn = Conn(5.0, ends)
    assert conn._life is not None
    conn._life.expiry = "max_lifetime"
    give(store, conn)
    store.expire(5.0)
    assert ends == ["max_lifetime"]


def test_a_connection_that_fails_to_close_is_no_reason_to_keep_the_others() -> None:
    """Classes of programs may raise; whoever looks is not the one who can do something about it."""
    store, conns = a_store(5.0, 6.0, 9.0)
    fail_to_close(conns[0])
    store.expire(7.0)
    assert is_closed(conns) == [False, True, False]
    assert store.due == 9.0


def test_a_connection_is_closed_once_by_two_that_look_at_the_same_time() -> None:
    store, conns = a_store(5.0)
    assert store.remove(conns[0])
    assert not store.remove(conns[0])
    assert store.queue == [None] * 5


def test_threads_that_take_give_and_look_lose_nothing() -> None:
    """Each slot is there in the end, and the time of the earliest is known."""
    store, _ = a_store(maxsize=8)
    barrier = threading.Barrier(8)
    errors: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            barrier.wait(PATIENCE)
            for step in range(400):
                store.get(timeout=PATIENCE)
                give(store, Conn(float((seed * 7 + step) % 13 + step)))
                if step % 5 == seed % 5:
                    store.expire(float(step))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert errors == []
    assert len(store.queue) == 8
    kept = [conn._life.idle_until for conn in store.queue if conn is not None]
    assert store.due <= min(kept, default=math.inf)
    store.expire(math.inf)


def test_the_repr_counts_what_is_open() -> None:
    store, conns = a_store(7.0, 5.0)
    conns[0].close()
    assert repr(store).endswith(": 1 idle, 4 free>")
    assert "IdleStore object at 0x" in repr(store)


# -- the thread ------------------------------------------------------------------------------


@pytest.fixture
def clock() -> Clock:
    return Clock()


def watched(reaper: Reaper, *untils: float) -> tuple[IdleStore, list[Conn]]:
    store, _ = a_store()
    store.watcher = reaper.look_after
    conns = [Conn(until) for until in untils]
    for conn in conns:
        give(store, conn)
    return store, conns


def the_thread_ended(reaper: Reaper) -> bool:
    end = time.monotonic() + PATIENCE
    while reaper._turn != [True]:
        if time.monotonic() > end:
            return False
        time.sleep(0.001)
    return True


def test_it_closes_what_is_due_and_says_when_to_look_again(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    reaper = Reaper(clock)
    monkeypatch.setattr(reaper, "_start", lambda: None)
    store, first = watched(reaper, 1005.0)
    other, second = watched(reaper, 1003.0, 1008.0)

    assert reaper.tend() == 1003.0
    clock.now = 1006.0
    assert reaper.tend() == 1008.0
    assert (is_closed(first), is_closed(second)) == ([True], [True, False])
    clock.now = 1008.0
    assert reaper.tend() == math.inf
    assert reaper._stores == {}
    assert store.idle() == other.idle() == []


def test_it_runs_while_there_is_something_to_watch() -> None:
    """S3-28: no work of a timer is left when the last connection went."""
    reaper = Reaper()
    store, conns = watched(reaper, time.monotonic() + 0.02)
    assert conns[0].closed.wait(PATIENCE)
    assert the_thread_ended(reaper)

    give(store, again := Conn(time.monotonic() + 0.02))
    assert again.closed.wait(PATIENCE)
    assert the_thread_ended(reaper)


def test_it_notices_what_is_due_earlier_than_what_it_waits_for() -> None:
    reaper = Reaper()
    store, late = watched(reaper, time.monotonic() + 3600)
    give(store, early := Conn(time.monotonic() + 0.02))
    assert early.closed.wait(PATIENCE)
    assert is_closed(late) == [False]
    for conn in store.take_connections():
        conn.close()
    store.settle()
    assert the_thread_ended(reaper)


def test_it_ends_when_what_it_watched_was_forgotten() -> None:
    reaper = Reaper()
    store, _ = watched(reaper, time.monotonic() + 3600)
    del store
    gc.collect()
    reaper._news.append(True)
    reaper._waiters.wake()
    assert the_thread_ended(reaper)


def test_one_thread_looks_after_all_stores() -> None:
    reaper = Reaper()
    before = threading.active_count()
    kept = [watched(reaper, time.monotonic() + 3600)[0] for _ in range(20)]
    assert threading.active_count() == before + 1
    for store in kept:
        store.take_connections()
        store.settle()
    assert the_thread_ended(reaper)


def test_a_thread_that_cannot_be_started_is_no_error(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a subinterpreter without daemon threads, or at the end of the interpreter."""

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    reaper = Reaper(clock)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    store, conns = watched(reaper, 1005.0)
    assert reaper._turn == [True]
    store.expire(1005.0)
    assert is_closed(conns) == [True]


def test_a_child_process_starts_without_the_thread_of_its_parent(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    reaper = Reaper(clock)
    started: list[bool] = []
    monkeypatch.setattr(reaper, "_start", lambda: started.append(True))
    store, _ = watched(reaper, 1005.0)
    reaper._after_fork_in_child()
    store._after_fork_in_child()
    assert (reaper.tend(), store.due) == (math.inf, math.inf)

    give(store, Conn(1007.0))
    assert started == [True, True]


def test_many_threads_and_the_reaper_at_once() -> None:
    """Whatever is given back with an end is closed in time, and the thread ends."""
    reaper = Reaper()
    conns: list[Conn] = []
    barrier = threading.Barrier(6)

    def work() -> None:
        store, _ = a_store()
        store.watcher = reaper.look_after
        barrier.wait(PATIENCE)
        for _ in range(100):
            store.get(timeout=PATIENCE)
            conn = Conn(time.monotonic() + 0.001)
            conns.append(conn)
            give(store, conn)
        keep.append(store)

    keep: list[IdleStore] = []
    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert the_thread_ended(reaper)
    assert all(store.idle() == [] for store in keep)
