"""How long to wait: for a connection, for a read, for one attempt, for a whole call.

All values are seconds.  A :class:`Timeout` is a value (equal settings are equal objects) with one
piece of state, the moment at which its connection was started; :meth:`Timeout.clone` gives each
attempt a fresh one.
"""

from __future__ import annotations

import copy
import math
import time
from enum import Enum
from socket import getdefaulttimeout
from typing import Any, Final, TypeVar

from ..exceptions import TimeoutStateError

__all__ = ["Timeout", "coerce_timeout", "current_time"]

# Seconds (24.8 days).  Sockets count milliseconds in a C int, and raise OverflowError for more.
_LONGEST_WAIT: Final = 2_147_483.0

# What happened to a timeout, as opposed to what was asked for.
_STATE: Final = frozenset(("_start_connect", "_clock"))


class _TYPE_DEFAULT(Enum):
    token = -1


#: Stands for "whatever ``socket.getdefaulttimeout()`` says when it is used".
_DEFAULT_TIMEOUT: Final = _TYPE_DEFAULT.token

_TYPE_TIMEOUT = float | _TYPE_DEFAULT | None
_T = TypeVar("_T", bound="Timeout")


def current_time() -> float:
    """Return the monotonic clock, in seconds."""
    return time.monotonic()


def _as_float(value: Any) -> float | None:
    """Return a number as float, or None if `value` is none; text never is."""
    if isinstance(value, (str, bytes, bytearray)):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _seconds(value: Any) -> float:
    """Return a number that sockets take: they refuse Decimal and Fraction, and very long waits."""
    if not isinstance(value, (int, float)):
        value = float(value)
    return _LONGEST_WAIT if value > _LONGEST_WAIT else value


class Timeout:
    """The time limits of a request, in seconds.

    Each limit is a number above 0, None (wait for ever), or :attr:`DEFAULT_TIMEOUT` (the
    default of ``connect`` and ``read``: the interpreter's ``socket.getdefaulttimeout()``).
    Numbers above 24.8 days, which sockets cannot express, count as 24.8 days.

    :param total: one attempt, from the start of the connection until the response is there.
    :param connect: making the connection.
    :param read: each single wait for data from the server.
    :param deadline: the whole call, by the wall clock: waiting for a connection, name lookup,
        TLS, sending, reading the body, redirects, retries and the sleeps between them.  Not
        part of urllib3.
    :raises ValueError: a limit is not a number, not above 0, a bool, or NaN.

    Equal limits make equal objects, whether started or not, so pools of equal timeouts are
    shared.  The clock is ``self._clock``, :func:`current_time` unless it is replaced.
    One started timeout belongs to one attempt; an unstarted one may be shared by threads that
    :meth:`clone` it.
    """

    #: Marks a limit that follows ``socket.getdefaulttimeout()``.
    DEFAULT_TIMEOUT: _TYPE_TIMEOUT = _DEFAULT_TIMEOUT

    _clock = staticmethod(current_time)
    # The deadline that a call through several ``urlopen`` carries along.
    _running_deadline: Any = None

    def __init__(
        self,
        total: _TYPE_TIMEOUT = None,
        connect: _TYPE_TIMEOUT = _DEFAULT_TIMEOUT,
        read: _TYPE_TIMEOUT = _DEFAULT_TIMEOUT,
        *,
        deadline: float | None = None,
    ) -> None:
        self._connect = self._validate_timeout(connect, "connect")
        self._read = self._validate_timeout(read, "read")
        self.total: _TYPE_TIMEOUT = self._validate_timeout(total, "total")
        self.deadline: _TYPE_TIMEOUT = self._validate_timeout(deadline, "deadline")
        if self.deadline is _DEFAULT_TIMEOUT:
            raise ValueError("A deadline has no default: it must be an int, float or None.")
        self._start_connect: float | None = None

    def __repr__(self) -> str:
        deadline = "" if self.deadline is None else f", deadline={self.deadline!r}"
        return (
            f"{type(self).__name__}(connect={self._connect!r}, read={self._read!r}, "
            f"total={self.total!r}{deadline})"
        )

    __str__ = __repr__

    def _limits(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in _STATE}

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._limits() == other._limits()

    def __hash__(self) -> int:
        return hash((type(self), self.total, self._connect, self._read, self.deadline))

    @staticmethod
    def resolve_default_timeout(timeout: _TYPE_TIMEOUT) -> float | None:
        """Return `timeout`, or ``socket.getdefaulttimeout()`` where it is the default marker."""
        return getdefaulttimeout() if timeout is _DEFAULT_TIMEOUT else timeout

    @classmethod
    def _validate_timeout(cls, value: _TYPE_TIMEOUT, name: str) -> _TYPE_TIMEOUT:
        """Return `value` if it can be the limit called `name`.

        :raises ValueError: it cannot.
        """
        if value is None or value is _DEFAULT_TIMEOUT:
            return value
        if type(value).__name__ == _TYPE_DEFAULT.__name__:
            return _DEFAULT_TIMEOUT  # the marker of a copy of urllib3 in the same process
        if isinstance(value, bool):
            raise ValueError("Timeout cannot be a boolean value. It must be an int, float or None.")
        seconds = _as_float(value)
        if seconds is None:
            raise ValueError(
                f"Timeout value {name} was {value!s}, but it must be an int, float or None."
            )
        if seconds <= 0:
            raise ValueError(
                f"Attempted to set {name} timeout to {value}, but the timeout cannot be set "
                "to a value less than or equal to 0."
            )
        if math.isnan(seconds):
            raise ValueError(f"Timeout value {name} was {value}, which is no number of seconds.")
        return value

    @classmethod
    def from_float(cls: type[_T], timeout: _TYPE_TIMEOUT) -> _T:
        """Return a timeout with this limit on connecting and on each read, and no other.

        :raises ValueError: as for the class.
        """
        return cls(read=timeout, connect=timeout)

    def clone(self: _T) -> _T:
        """Return an equal timeout that is not started.

        It is of the same class and keeps what a subclass has added.
        """
        if type(self) is Timeout:
            fresh = object.__new__(type(self))  # a third of the time, once for each request
            fresh.__dict__.update(self.__dict__)
        else:
            fresh = copy.copy(self)
        fresh._start_connect = None
        return fresh

    def fixed_limits(self) -> tuple[float | None, float | None] | None:
        """Return (connect, read) where neither depends on a clock; None where one does.

        Nobody has to start a clock for them, then, nor to clone a timeout for each attempt
        (benchmark ``small``).
        """
        connect, read = self._connect, self._read
        if (
            self.total is not None
            or self.deadline is not None
            or self._running_deadline is not None
        ):
            return None
        if connect is read is _DEFAULT_TIMEOUT:
            connect = read = getdefaulttimeout()
            return connect, read
        if connect is _DEFAULT_TIMEOUT:
            connect = getdefaulttimeout()
        if read is _DEFAULT_TIMEOUT:
            read = getdefaulttimeout()
        return (
            None if connect is None else _seconds(connect),
            None if read is None else _seconds(read),
        )

    def start_connect(self) -> float:
        """Start the clock of this attempt, and return its time.

        :raises TimeoutStateError: it was started before.
        """
        if self._start_connect is not None:
            raise TimeoutStateError("Timeout timer has already been started.")
        self._start_connect = self._clock()
        return self._start_connect

    def get_connect_duration(self) -> float:
        """Return the seconds since :meth:`start_connect`.

        :raises TimeoutStateError: the clock was not started.
        """
        if self._start_connect is None:
            raise TimeoutStateError("Can't get connect duration for timer that has not started.")
        return self._clock() - self._start_connect

    @property
    def connect_timeout(self) -> _TYPE_TIMEOUT:
        """Seconds to wait for a connection: the smaller of ``connect`` and ``total``.

        None waits for ever; the default marker is left for the socket to resolve.
        """
        total, connect = self.total, self._connect
        if total is None or total is _DEFAULT_TIMEOUT:
            if connect is None or connect is _DEFAULT_TIMEOUT:
                return connect if total is None else total
            return _seconds(connect)
        if connect is None or connect is _DEFAULT_TIMEOUT:
            return _seconds(total)
        return min(_seconds(total), _seconds(connect))

    @property
    def read_timeout(self) -> float | None:
        """Seconds to wait for the next data: ``read``, or what is left of ``total`` if less.

        Never negative; None waits for ever.

        :raises TimeoutStateError: it depends on ``total`` alone, whose clock was not started.
        """
        total, read = self.total, self._read
        if total is None or total is _DEFAULT_TIMEOUT:
            read = self.resolve_default_timeout(read)
            return None if read is None else _seconds(read)
        if read is None or read is _DEFAULT_TIMEOUT:
            return max(0, _seconds(total) - self.get_connect_duration())
        if self._start_connect is None:
            return _seconds(read)
        return max(0, min(_seconds(total) - self.get_connect_duration(), _seconds(read)))


def _unset() -> Timeout:
    """Return ``Timeout()``, without checks of what is known (benchmark ``pm_evict``)."""
    timeout = object.__new__(Timeout)
    timeout._connect = timeout._read = _DEFAULT_TIMEOUT
    timeout.total = timeout.deadline = timeout._start_connect = None
    return timeout


def coerce_timeout(value: Any) -> Timeout:
    """Return the :class:`Timeout` that `value` stands for.

    :param value: a :class:`Timeout` (returned as it is), the ``Timeout`` of another copy of this
        library or of urllib3 (its limits are taken over), or a single limit for connecting and
        for each read: a number of seconds, None, or :attr:`Timeout.DEFAULT_TIMEOUT`.
    :raises ValueError: `value` is none of these.
    """
    if isinstance(value, Timeout):
        return value
    if value is _DEFAULT_TIMEOUT:
        return _unset()
    if value is None or isinstance(value, (_TYPE_DEFAULT, int, float)):
        return Timeout.from_float(value)
    if not all(hasattr(value, name) for name in ("total", "_connect", "_read")):
        return Timeout.from_float(value)
    # Older copies mark the default with an object of their own, which only their class knows.
    marker = getattr(type(value), "DEFAULT_TIMEOUT", _DEFAULT_TIMEOUT)
    limits = {
        name: _DEFAULT_TIMEOUT if limit is marker else limit
        for name, limit in (
            ("total", value.total),
            ("connect", value._connect),
            ("read", value._read),
        )
    }
    return Timeout(**limits, deadline=getattr(value, "deadline", None))
