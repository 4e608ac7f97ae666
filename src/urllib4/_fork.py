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


class _Watched:
    """The living objects that want to know of a fork."""

    def __init__(self) -> None:
        self._objects: weakref.WeakSet[Forkable] = weakref.WeakSet()
        # Guards `_objects`, whose own methods are several steps.  Reentrant: the garbage collector
        # may run finalisers meanwhile, and those of a program may send requests.
        self._lock = threading.RLock()

    def add(self, watched: Forkable) -> None:
        with self._lock:
            self._objects.add(watched)

    def after_fork_in_child(self) -> None:
        self._lock = threading.RLock()
        for watched in list(self._objects):
            with suppress(OSError):  # of one; the others must be told all the same
                watched._after_fork_in_child()


_watched = _Watched()

if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_watched.after_fork_in_child)


def watch(watched: Forkable) -> None:
    """Call ``watched._after_fork_in_child()`` in every child process, as long as it lives."""
    _watched.add(watched)
