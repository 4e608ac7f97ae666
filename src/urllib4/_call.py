"""The call: all that one ``urlopen`` carries from the pool down to the socket.

One object per call, not per attempt: a retry changes the call and sends it again.  What is
bounded or watched (deadline, later cancel and events) is therefore known everywhere, and
costs nothing when unused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

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


class Call:
    """One ``urlopen``: the request as it is to be sent next, and what bounds it.

    Belongs to the thread that calls ``urlopen``.

    :ivar target: what stands in the request line.
    :ivar url: the URL as the caller gave it, for errors and redirects.
    :ivar deadline: bound on the whole call; None when there is none.
    :ivar attempt_deadline: bound on the running attempt (``Timeout.total`` and the
        deadline, whichever ends first); None when there is neither.
    """

    __slots__ = (
        "attempt_deadline", "body", "body_pos", "chunked", "deadline", "headers", "method",
        "options", "phase", "pool_timeout", "redirect", "retries", "target", "timeout", "url",
    )  # fmt: skip

    def __init__(self, method: str, url: str, target: str) -> None:
        self.method = method
        self.url = url
        self.target = target
        self.body: Any = None
        self.headers: Mapping[str, str] | None = None
        self.body_pos: Any = None
        self.chunked = False
        self.retries: Any = None
        self.redirect = True
        self.timeout: Any = None
        self.pool_timeout: float | None = None
        self.deadline: Deadline | None = None
        self.attempt_deadline: Deadline | None = None
        self.phase = "waiting for a connection"
        self.options: dict[str, Any] = {}
