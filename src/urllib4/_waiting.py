"""Threads that wait for something to happen, without a lock that guards it.

A condition variable has a lock, which whoever changes something takes.  The garbage collector
and signal handlers change things in the middle of any step, also of one that holds this lock or
another: waiting for a lock there may last for ever.  What is here never waits for a lock.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress


class Waiters(deque[threading.Lock]):
    """Those who wait, in the order of their coming; True in the eyes of ``if`` if there are any.

    Whoever makes true what they wait for does so first and calls :meth:`wake` then.  Whoever
    waits can be seen first and looks then.  So one of the two always sees the other.

    All methods may be called from any thread, finaliser and signal handler.
    """

    # One locked lock per waiting thread: who unlocks it wakes the thread.  The methods of a deque
    # are one step each, and it needs no constructor of ours (benchmark ``pm_evict``).
    __slots__ = ()

    def wait(self, ready: Callable[[], object], seconds: float | None) -> None:
        """Return when woken, after `seconds`, or at once if ``ready()``; possibly for no reason.

        :param seconds: None: for ever.
        """
        gate = threading.Lock()
        gate.acquire()
        try:
            self.append(gate)
            if not ready():
                gate.acquire(timeout=-1 if seconds is None else _acceptable(seconds))
        finally:
            with suppress(ValueError):  # it is gone if somebody woke us up
                self.remove(gate)

    def wake(self) -> None:
        """Wake the one that waits for the longest time, if any."""
        if not self:  # an exception would cost more (benchmark ``small``)
            return
        with suppress(IndexError):  # another thread was faster
            self.popleft().release()

    def wake_all(self) -> None:
        """Wake all that wait now."""
        while self:
            self.wake()


def _acceptable(seconds: float) -> float:
    return min(max(seconds, 0.0), threading.TIMEOUT_MAX)
