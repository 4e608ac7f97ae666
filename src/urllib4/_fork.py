"""After ``os.fork()``: the child must neither share sockets with its parent nor inherit locks.

Two processes that read from one socket get each other's answers, and a lock that another thread
held at the fork stays locked for ever in the child.  What has either registers here once, when
it is made; nothing is asked per request.
"""

from __future__ import annotations

import os
import weakref
from contextlib import suppress
from typing import Protocol


class Forkable(Protocol):
    """What can be watched."""

    def _after_fork_in_child(self) -> None:
        """Drop inherited sockets without writing to them, and make fresh locks."""


class _Watched:
    """The living objects that want to know of a fork.

    Without a lock, for finalisers and signal handlers may make connections in the middle of this:
    a dict's own operations are one step each.
    """

    def __init__(self) -> None:
        # By the identity of the reference, which is all that `_forget` is told: a function of its
        # own for each would take as long as the rest (benchmark ``pm_evict``).
        self._references: dict[int, weakref.ref[Forkable]] = {}

    def add(self, watched: Forkable) -> None:
        """Call ``watched._after_fork_in_child()`` in every child process, as long as it lives."""
        reference = weakref.ref(watched, self._forget)
        self._references[id(reference)] = reference

    def _forget(self, reference: weakref.ref[Forkable]) -> None:
        self._references.pop(id(reference), None)

    def after_fork_in_child(self) -> None:
        for reference in list(self._references.values()):
            watched = reference()
            if watched is not None:
                with suppress(OSError):  # of one; the others must be told all the same
                    watched._after_fork_in_child()


_watched = _Watched()

if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_watched.after_fork_in_child)

watch = _watched.add
