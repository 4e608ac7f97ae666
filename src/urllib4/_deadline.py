"""A point in time that waits must not pass."""

from __future__ import annotations

import time
from collections.abc import Callable

from .exceptions import DeadlineExceededError


class Deadline:
    """A point in time after which nothing of a call may wait any more.

    :param seconds: from now; as the user asked for it in ``Timeout(deadline=)``.
    :param clock: seconds, monotonic; injected by tests.

    Immutable, so safe to share between threads.
    """

    __slots__ = ("_clock", "at", "seconds")

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self.at = clock() + seconds

    def left(self) -> float:
        """Return the seconds left, at least 0."""
        return max(0.0, self.at - self._clock())

    @property
    def expired(self) -> bool:
        """Whether the time has passed."""
        return self._clock() >= self.at

    def check(self, phase: str) -> None:
        """Raise unless time is left.

        :raises DeadlineExceededError: naming `phase`.
        """
        if self.expired:
            raise self.error(phase)

    def error(self, phase: str) -> DeadlineExceededError:
        """Return the error that says in which `phase` the time ran out."""
        return DeadlineExceededError(phase, self.seconds)
