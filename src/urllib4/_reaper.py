"""Closes idle connections on time, also those of pools that nobody uses any more.

One daemon thread per process, started when a pool that asked for it first keeps a connection, and
ended when there is nothing left to watch.  Where no thread can be started (a subinterpreter
without daemon threads, the end of the interpreter), connections are given up when their pool is
used next, as in all other pools.
"""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress

from ._fork import watch
from ._idle import IdleStore
from ._waiting import Waiters


class Reaper:
    """Looks after the stores that have something due.

    Without a lock: signal handlers and finalisers may give connections back in the middle of any
    step.  Each of those made here is one step of a dict or a list.

    :param clock: seconds, monotonic; injected by tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start_anew()
        watch(self)

    def _start_anew(self) -> None:
        self._stores: dict[int, weakref.ref[IdleStore]] = {}
        self._turn = [True]  # whoever takes it is, or starts, the thread
        self._news: list[bool] = []
        self._waiters = Waiters()

    def _after_fork_in_child(self) -> None:
        """The thread is not in this process, and the connections are the parent's."""
        self._start_anew()

    def look_after(self, store: IdleStore) -> None:
        """Be told that what `store` has is due at another time than before."""
        if store.due < math.inf:
            self._stores[id(store)] = weakref.ref(store)
            with suppress(IndexError):
                self._turn.pop()
                self._start()
                return
        self._news.append(True)
        self._waiters.wake()

    def _start(self) -> None:
        try:
            threading.Thread(target=self._run, name="urllib4-reaper", daemon=True).start()
        except BaseException as error:
            self._turn.append(True)
            if not isinstance(error, RuntimeError):  # no thread can be started, see above
                raise

    def _run(self) -> None:
        while True:
            self._news.clear()
            due = self.tend()
            if due < math.inf:
                self._waiters.wait(lambda: self._news, due - self._clock())
            elif self._may_end():
                return

    def _may_end(self) -> bool:
        """Give the turn back; return False if there is something to do again, and it is ours."""
        self._turn.append(True)
        if not self._stores:
            return True
        try:
            self._turn.pop()
        except IndexError:  # another thread was started
            return True
        return False

    def tend(self) -> float:
        """Close what is due and return when something is due next; ``math.inf``: never."""
        next_due = math.inf
        for key in list(self._stores):
            # Taken out before the look: what becomes due after it puts the store back by itself.
            reference = self._stores.pop(key, None)
            store = None if reference is None else reference()
            if store is None or reference is None:
                continue
            now = self._clock()
            if store.due <= now:
                store.expire(now)
            due = store.due
            if due < math.inf:
                self._stores[key] = reference
                next_due = min(next_due, due)
        return next_due


#: The one of this process.
REAPER = Reaper()
