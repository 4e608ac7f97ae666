"""After ``os.fork()``: the child must neither share sockets with its parent nor inherit locks.

Two processes that read from one socket get each other's answers, and a lock that another thread
held at the fork stays locked for ever in the child.  What has either registers here once, when
it is made; nothing is asked per request.
"""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import suppress
from typing import Protocol


class Forkable(Protocol):
    """What can be watched."""

    def _after_fork_in_child(self) -> None:
        """Drop inherited sockets without writing to them, and make fresh locks."""


#: Up to so many references are not worth a look at which of them are dead.
_FEW = 256


class _Watched:
    """The living objects that want to know of a fork.

    Nobody waits for a lock, for finalisers and signal handlers may make connections in the middle
    of this: the operations of a list that are used here are one step each.
    """

    def __init__(self) -> None:
        # Those of the dead stay until there are many: to be told of each death takes several times
        # as long (benchmark ``churn``).
        self._references: list[weakref.ref[Forkable]] = []
        self._most = _FEW
        self._sweeping = threading.Lock()  # one thread at a time

    def add(self, watched: Forkable) -> None:
        """Call ``watched._after_fork_in_child()`` in every child process, as long as it lives."""
        references = self._references
        references.append(weakref.ref(watched))
        if len(references) > self._most:
            self._sweep()

    def _sweep(self) -> None:
        """Drop the references of the dead, unless another thread is doing so."""
        if self._sweeping.acquire(blocking=False):
            try:
                seen = self._references[:]
                living = [reference for reference in seen if reference() is not None]
                self._references[: len(seen)] = living
                self._most = 2 * len(living) + _FEW
            finally:
                self._sweeping.release()

    def after_fork_in_child(self) -> None:
        self._sweeping = threading.Lock()
        for reference in self._references[:]:
            watched = reference()
            if watched is not None:
                with suppress(Exception):  # of one; the others must be told all the same
                    watched._after_fork_in_child()


_watched = _Watched()

if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_watched.after_fork_in_child)

watch = _watched.add
