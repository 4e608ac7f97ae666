"""Who wants to know of a fork, and is no reason to live on."""

from __future__ import annotations

import threading

from urllib4._fork import _FEW, _Watched


class Thing:
    """Counts its forks."""

    def __init__(self) -> None:
        self.forks = 0

    def _after_fork_in_child(self) -> None:
        self.forks += 1


class Closed(Thing):
    """Has a socket that cannot be closed."""

    def _after_fork_in_child(self) -> None:
        super()._after_fork_in_child()
        raise OSError("bad descriptor")


def test_the_living_are_told_once_each() -> None:
    watched = _Watched()
    things = [Thing(), Closed(), Thing()]
    for thing in things:
        watched.add(thing)
        watched.add(Thing())
    watched.after_fork_in_child()
    assert [thing.forks for thing in things] == [1, 1, 1]


def test_the_dead_are_forgotten_when_there_are_many() -> None:
    watched = _Watched()
    things = [Thing() for _ in range(3 * _FEW)]
    for thing in things:
        watched.add(thing)
        for _ in range(10):
            watched.add(Thing())
    assert len(watched._references) <= 2 * len(things) + _FEW
    watched.after_fork_in_child()
    assert all(thing.forks == 1 for thing in things)


def test_nobody_is_forgotten_by_threads_that_sweep_at_the_same_time() -> None:
    watched = _Watched()
    kept: list[list[Thing]] = [[] for _ in range(8)]
    barrier = threading.Barrier(len(kept))

    def work(mine: list[Thing]) -> None:
        barrier.wait(10)
        for number in range(3000):
            thing = Thing()
            watched.add(thing)
            if number % 10 == 0:
                mine.append(thing)

    threads = [threading.Thread(target=work, args=(mine,)) for mine in kept]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    watched.after_fork_in_child()
    assert all(thing.forks == 1 for mine in kept for thing in mine)


def test_a_child_sweeps_although_a_thread_of_the_parent_was_sweeping() -> None:
    watched = _Watched()
    watched._sweeping.acquire()
    watched.after_fork_in_child()
    for _ in range(4 * _FEW):
        watched.add(Thing())
    assert len(watched._references) <= _FEW + 1
