"""A scheduler that decides which thread runs at every step, and tries all decisions there are.

Threads stop at *points*: before each line (or each bytecode) of the watched files, and at the
locks made here.  Only one of them runs at a time.  A run is described by its decisions, so a
failure can be repeated.  All runs with at most so many *preemptions* (a thread is stopped that
could go on) are tried, or a seeded sample of them: nearly all races need no more than two.

A *collection* is an action that takes place inside whichever thread runs, at any point, as the
garbage collector's finalisers do.
"""

from __future__ import annotations

import _thread
import gc
import random
import sys
import threading
from collections.abc import Callable, Sequence
from types import CodeType
from typing import Any, NamedTuple

from tests.hostile.steps import make_steps

#: A wait of more seconds than that is a wait for ever.
FOR_EVER = 1e6

#: Points after which a run counts as one that does not end.
MAX_POINTS = 20_000

#: Seconds a run may take in reality; beyond that the scheduler itself is broken.
PATIENCE = 30.0


class Abort(BaseException):
    """Ends the threads of a run that has failed."""


class Deadlock(AssertionError):
    """All threads wait for each other."""


class Failed(AssertionError):
    """A run broke a promise; the message says which decisions lead there."""


class Decision(NamedTuple):
    """What was decided at one point."""

    options: int
    costs: tuple[int, ...]
    chosen: int


class Plan(NamedTuple):
    """What one run is made of.

    :ivar threads: the functions that run at the same time.
    :ivar collections: actions that take place inside one of the threads, each once.
    :ivar check: looks at the result after the threads have ended.
    """

    threads: Sequence[Callable[[], object]]
    check: Callable[[], object]
    collections: Sequence[Callable[[], object]] = ()


class _Worker:
    def __init__(self, number: int) -> None:
        self.number = number
        self.go = _thread.allocate_lock()
        self.go.acquire()
        self.finished = True
        self.waits_for: Lock | None = None
        self.may_time_out = False
        self.error: BaseException | None = None


class Scheduler:
    """Runs plans under control.

    :param files: endings of the names of the files whose lines are points.
    :param opcodes: each bytecode is a point, not only each line.
    """

    def __init__(self, files: Sequence[str], *, opcodes: bool = False) -> None:
        self._steps = make_steps(self._take_step, files, opcodes=opcodes)
        self.opcodes = opcodes
        self._workers: list[_Worker] = []
        self._by_thread: dict[int, _Worker] = {}
        self._jobs: list[Callable[[], object]] = []
        self._done = _thread.allocate_lock()
        self._done.acquire()
        self._closing = False
        self._reset({})

    def _reset(self, prefix: dict[int, int]) -> None:
        self.now = 0.0
        self._prefix = prefix
        self._decisions: list[Decision] = []
        self._collections: list[Callable[[], object]] = []
        self._aborting: BaseException | None = None
        self._collecting = False

    def close(self) -> None:
        self._closing = True
        for worker in self._workers:
            worker.go.release()
        for thread in self._threads:
            thread.join(PATIENCE)
        self._steps.close()

    _threads: Sequence[threading.Thread] = ()

    def _start_workers(self, number: int) -> None:
        threads = list(self._threads)
        while len(self._workers) < number:
            worker = _Worker(len(self._workers))
            self._workers.append(worker)
            threads.append(threading.Thread(target=self._work, args=(worker,), daemon=True))
            threads[-1].start()
        self._threads = threads

    def _work(self, worker: _Worker) -> None:
        self._by_thread[threading.get_ident()] = worker
        while True:
            worker.go.acquire()
            if self._closing:
                return
            try:
                if self._aborting is None:
                    self._steps.start()
                    self._jobs[worker.number]()
            except Abort:
                pass
            except BaseException as error:
                worker.error = error
            finally:
                self._steps.stop()
            worker.finished = True
            self._leave()

    def watch(self, files: Sequence[str]) -> None:
        """Let the steps of these files be points, instead of those that were."""
        if self._steps.files != tuple(files):
            self._steps.files = tuple(files)
            self._steps.prepare()

    def _take_step(self, code: CodeType, offset: int, line: int) -> None:
        self.point()

    # -- one run ---------------------------------------------------------------------------

    def run(self, plan: Plan, prefix: dict[int, int]) -> list[Decision]:
        """Run `plan`; at the points whose numbers are in `prefix`, take that option.

        :raises Failed: a thread raised, or the check did, or all wait.
        """
        self._reset(prefix)
        self._start_workers(len(plan.threads))
        self._jobs = list(plan.threads)
        self._collections = list(plan.collections)
        for worker in self._workers[: len(plan.threads)]:
            worker.finished = False
            worker.waits_for = None
            worker.error = None
        errors: list[BaseException] = []
        hook, sys.unraisablehook = sys.unraisablehook, lambda args: self._note(args, errors)
        gc.disable()  # the remains of other runs must not be collected at some point of this one
        try:
            self._workers[0].go.release()
            if not self._done.acquire(timeout=PATIENCE):
                raise Failed(f"the scheduler is stuck after {prefix}")
            decisions = self._decisions
            if self._aborting is None:
                for collection in self._collections:
                    collection()
        finally:
            gc.enable()
            sys.unraisablehook = hook
        errors += [worker.error for worker in self._workers if worker.error is not None]
        try:
            if self._aborting is not None:
                raise self._aborting
            if errors:
                raise errors[0]
            plan.check()
        except BaseException as error:
            raise Failed(f"{type(error).__name__}: {error} (decisions {prefix})") from error
        return decisions

    @staticmethod
    def _note(unraisable: Any, errors: list[BaseException]) -> None:
        """Keep what a finaliser raised; a run that failed raises there, too."""
        if not isinstance(unraisable.exc_value, Abort):
            errors.append(unraisable.exc_value)

    def _me(self) -> _Worker | None:
        return self._by_thread.get(threading.get_ident())

    def _enabled(self, worker: _Worker) -> bool:
        if worker.finished:
            return False
        return worker.waits_for is None or not worker.waits_for.held or worker.may_time_out

    def point(self) -> None:
        """Let the scheduler decide who goes on."""
        me = self._me()
        if me is None or me.finished or self._collecting:
            return
        if self._aborting is not None:
            if me.error is None:
                me.error = Abort()
                raise Abort
            return
        collection = self._decide(me)
        if collection is not None:
            self._collecting = True
            try:
                collection()
            finally:
                self._collecting = False

    def _decide(self, me: _Worker) -> Callable[[], object] | None:
        """Choose who goes on; return the action that `me` is to do first, if it goes on."""
        others = [one for one in self._workers if one is not me and self._enabled(one)]
        can_go_on = self._enabled(me)
        options: list[Any] = ([me] if can_go_on else []) + others
        costs = [0] * len(options)
        if can_go_on:
            costs[1:] = [1] * len(others)
            if me.waits_for is None:
                options += self._collections
                costs += [1] * len(self._collections)
        if not options:
            self._abort(Deadlock("all threads wait"))
            raise Abort
        number = len(self._decisions)
        if number > MAX_POINTS:
            self._abort(AssertionError("does not end"))
            raise Abort
        chosen = self._prefix.get(number, 0)
        self._decisions.append(Decision(len(options), tuple(costs), chosen))
        if chosen >= len(options):
            self._abort(AssertionError(f"no option {chosen} at point {number} in this run"))
            raise Abort
        option = options[chosen]
        if isinstance(option, _Worker):
            self._switch(me, option)
            return None
        self._collections.remove(option)
        return option  # type: ignore[no-any-return]

    def _switch(self, me: _Worker, other: _Worker) -> None:
        if other is me:
            return
        collecting, self._collecting = self._collecting, False
        other.go.release()
        me.go.acquire()
        self._collecting = collecting
        if self._aborting is not None:
            me.error = Abort()
            raise Abort

    def _abort(self, reason: BaseException) -> None:
        self._aborting = reason

    def _leave(self) -> None:
        """Called by a thread that has ended."""
        left = [worker for worker in self._workers if not worker.finished]
        if not left:
            for worker in self._workers:
                if isinstance(worker.error, Abort):
                    worker.error = None
            self._done.release()
            return
        enabled = [worker for worker in left if self._enabled(worker)]
        if self._aborting is None and not enabled:
            self._abort(Deadlock("a thread waits for ever"))
        if self._aborting is not None:
            left[0].go.release()
            return
        number = len(self._decisions)
        chosen = self._prefix.get(number, 0)
        self._decisions.append(Decision(len(enabled), (0,) * len(enabled), chosen))
        enabled[chosen].go.release()

    def wait_for(self, lock: Lock, seconds: float) -> bool:
        """Let others run until `lock` is free; False if the time was over before."""
        me = self._me()
        assert me is not None
        collecting, self._collecting = self._collecting, False
        me.waits_for = lock
        me.may_time_out = 0 <= seconds < FOR_EVER
        try:
            self._decide(me)
        finally:
            me.waits_for = None
            self._collecting = collecting
        if lock.held:
            self.now += seconds
            return False
        return True

    # -- all runs --------------------------------------------------------------------------

    def explore(
        self, make: Callable[[], Plan], *, preemptions: int, limit: int, seed: int = 1
    ) -> tuple[int, bool]:
        """Run what `make` makes in all ways; return how many there were, and whether all.

        :param limit: when there are more ways than that, a sample of so many.
        """
        self._steps.prepare()
        chance = random.Random(seed)
        todo: list[dict[int, int]] = [{}]
        count = 0
        while todo and count < limit:
            if count % 100 == 0:
                gc.collect()
            # Taken at random, so that a sample is one of all of them.
            at = chance.randrange(len(todo))
            todo[at], todo[-1] = todo[-1], todo[at]
            prefix = todo.pop()
            decisions = self.run(make(), prefix)
            count += 1
            first = max(prefix, default=-1) + 1
            spent = sum(decisions[i].costs[chosen] for i, chosen in prefix.items())
            for i in range(first, len(decisions)):
                for option in range(1, decisions[i].options):
                    if spent + decisions[i].costs[option] > preemptions:
                        continue
                    if len(todo) > 50 * limit:  # far too many: one of them gives way
                        todo[chance.randrange(len(todo))] = {**prefix, i: option}
                    else:
                        todo.append({**prefix, i: option})
        return count, not todo


class Lock:
    """A lock whose waiting threads the scheduler knows.

    :param reentrant: the thread that holds it may take it again.
    """

    def __init__(self, scheduler: Scheduler, *, reentrant: bool = False) -> None:
        self._scheduler = scheduler
        self._reentrant = reentrant
        self._owner = 0
        self._depth = 0

    @property
    def held(self) -> bool:
        return self._depth > 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        me = threading.get_ident()
        if self._reentrant and self.held and self._owner == me:
            self._depth += 1
            return True
        self._scheduler.point()
        while self.held:
            if not blocking or timeout == 0:
                return False
            if not self._scheduler.wait_for(self, timeout) and 0 <= timeout < FOR_EVER:
                return False
        self._owner = me
        self._depth = 1
        return True

    def release(self) -> None:
        if not self.held:
            raise RuntimeError("release unlocked lock")
        self._depth -= 1

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()


class Clock:
    """Stands for the module ``time``."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def monotonic(self) -> float:
        return self._scheduler.now
