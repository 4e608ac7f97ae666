"""How long a connection is kept and used again, and what became of those that are not any more.

RFC 9112, 9.3 to 9.6.  Nothing here opens or closes a socket.  What ends connections may run in the
garbage collector or a signal handler, so nothing here waits for a lock.
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, NamedTuple

from ._collections import HTTPHeaderDict
from ._waiting import Waiters

#: Seconds after which a thread that waits for connections to be closed looks by itself.
LOOK_AGAIN = 1.0

#: How long an idle connection is kept where nothing else is asked for, seconds.  Home routers and
#: cloud gateways forget connections after 4 to 6 minutes.
DEFAULT_IDLE_TIMEOUT = 240.0

#: A server that says it closes after so many idle seconds has its answer on the way for a while: a
#: connection is given up that much earlier, seconds.
KEEP_ALIVE_MARGIN = 1.0

#: Other spellings of keywords, those of an older pool of the same kind.
ALIASES = {
    "cached_connection_timeout": "idle_timeout",
    "max_persistent_per_host": "maxsize",
    "retry_automatically": "retry_stale",
}

#: The keywords of pools and managers.
REUSE_KEYWORDS = (
    "idle_timeout", "max_lifetime", "max_requests", "obey_keep_alive", "persistent", "retry_stale",
)  # fmt: skip

# Longer numbers are no number of seconds or requests that anybody means.
_PARAMETER = re.compile(r'(timeout|max)[ \t]*=[ \t]*"?([0-9]{1,9})"?', re.IGNORECASE)


class ReusePolicy(NamedTuple):
    """How a pool uses its connections again; as its keywords say it.

    :ivar idle_timeout: seconds that an unused connection is kept; ``math.inf``: for ever.
    :ivar max_lifetime: seconds after connecting from which on it is not used again; None: any.
    :ivar max_requests: requests on one connection; None: any number.
    :ivar obey_keep_alive: a server's ``Keep-Alive: timeout=, max=`` lowers these bounds.
    :ivar persistent: connections are used again at all.
    :ivar retry_stale: a request is sent again if a kept connection turns out to be closed.
    :ivar on_time: connections are closed when `idle_timeout` is over even if the pool is not used
        any more: it was asked for.
    """

    idle_timeout: float = DEFAULT_IDLE_TIMEOUT
    max_lifetime: float | None = None
    max_requests: int | None = None
    obey_keep_alive: bool = True
    persistent: bool = True
    retry_stale: bool = True
    on_time: bool = False


def use_main_names(options: dict[str, Any]) -> None:
    """Replace aliases among keyword arguments by the names that they stand for.

    :raises TypeError: both spellings of one are given.
    """
    for alias in ALIASES.keys() & options.keys():
        name = ALIASES[alias]
        if name in options:
            raise TypeError(f"{alias} is another name of {name}: give one of them")
        options[name] = options.pop(alias)


def take_policy(options: dict[str, Any]) -> ReusePolicy:
    """Take the policy out of keyword arguments.

    :raises ValueError: a value makes no sense; the message names the keyword.
    """
    given = {name: options.pop(name) for name in REUSE_KEYWORDS if name in options}
    if not given:
        return DEFAULT_POLICY
    asked = given.get("idle_timeout", DEFAULT_IDLE_TIMEOUT)
    idle_timeout = _seconds("idle_timeout", asked)
    return ReusePolicy(
        math.inf if idle_timeout is None else idle_timeout,
        _seconds("max_lifetime", given.get("max_lifetime")),
        _count("max_requests", given.get("max_requests")),
        _switch(given, "obey_keep_alive"),
        _switch(given, "persistent"),
        _switch(given, "retry_stale"),
        "idle_timeout" in given and idle_timeout is not None and idle_timeout < math.inf,
    )


#: What holds where nothing else is asked for.
DEFAULT_POLICY = ReusePolicy()


def _seconds(name: str, value: Any) -> float | None:
    if value is None or (
        isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
    ):
        return value
    raise ValueError(f"{name} is a number of seconds above 0, or None, not {value!r}")


def _count(name: str, value: Any) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise ValueError(f"{name} is a whole number of at least 1, or None, not {value!r}")


def _switch(given: dict[str, Any], name: str) -> bool:
    value = given.get(name, True)
    if isinstance(value, bool):
        return value
    raise ValueError(f"{name} is True or False, not {value!r}")


def parse_keep_alive(value: str) -> tuple[int | None, int | None]:
    """Return seconds and requests that a ``Keep-Alive`` field speaks of; None: it does not.

    What is no number is ignored; of several numbers the smallest counts.
    """
    found: dict[str, int] = {}
    for part in value.split(","):
        match = _PARAMETER.fullmatch(part.strip())
        if match is not None:
            name, number = match[1].lower(), int(match[2])
            found[name] = min(number, found.get(name, number))
    return found.get("timeout"), found.get("max")


class PoolStats(NamedTuple):
    """What a pool, or all pools of a manager, did so far; a value, as of one moment.

    ``created`` is the sum of ``idle``, ``in_use`` and all of ``closed`` when no connection changes
    hands while it is taken.

    :ivar idle: open connections that wait for a request.
    :ivar in_use: connections that carry one, are being opened, or whose answer is still being read.
    :ivar created: connections that were opened, or tried to be.
    :ivar requests: requests sent, retries included.
    :ivar reused: those of them that were sent on a connection that had carried another before.
    :ivar expired: connections that were given up because of their idle time, their age, or what
        the server's ``Keep-Alive`` field said.
    :ivar stale_resent: requests that were sent once more because the server had closed a kept
        connection.
    :ivar waiters: threads that wait for a connection right now.
    :ivar closed: number of closed connections by reason.

    The reasons: ``"idle_timeout"``, ``"max_lifetime"``, ``"max_requests"``, ``"keep_alive"`` (what
    the server allowed is used up), ``"not_persistent"``, ``"dropped"`` (the server closed it, or
    sent something unasked, while it was idle), ``"server_close"`` (it said so with an answer),
    ``"unfinished"`` (a response was closed before its end), ``"unclean"`` (something came behind
    an answer, or was left unsent), ``"failed"``, ``"stale"`` (see `stale_resent`),
    ``"connect_failed"``, ``"full"`` (there was no place for one more), ``"made_room"`` (for one of
    another pool), ``"forgotten"`` (its response was dropped unread), ``"close_idle"`` and
    ``"pool_closed"``.

    .. versionadded:: 4.0
    """

    idle: int
    in_use: int
    created: int
    requests: int
    reused: int
    expired: int
    stale_resent: int
    waiters: int
    closed: Mapping[str, int]


def sum_of(stats: Iterable[PoolStats]) -> PoolStats:
    """Return the stats of several pools as those of one."""
    rows = list(stats)
    closed: Counter[str] = Counter()
    for row in rows:
        closed.update(row.closed)
    numbers = [sum(column) for column in zip(*(row[:-1] for row in rows), strict=True)]
    return PoolStats._make([*(numbers or [0] * 8), MappingProxyType(dict(closed))])


# What the books count beside reasons for closing.
_CREATED, _RESENT = "created", "stale_resent"
_EXPIRED = ("idle_timeout", "max_lifetime", "keep_alive")


class Ledger:
    """Counts by name, exact between threads, finalisers and signal handlers; without a lock.

    Its entries are names, and in front the totals of earlier ones.  ``append``, a copy and the
    assignment of a slice are one step each, without a GIL too.
    """

    #: How many entries are added up when they are too many.
    FOLD = 512

    # One thread at a time adds up; nobody waits for it.
    _folding = threading.Lock()

    def __init__(self) -> None:
        self._entries: list[Any] = []
        self._waiters = Waiters()

    def note(self, name: str) -> None:
        """Count one more of `name`."""
        self.move([name])

    def move(self, holder: list[str]) -> None:
        """Count one more of what `holder` names, and take it out of there.

        As one step (see ``_idle``): an exception of a signal handler comes before or after it.

        :raises IndexError: somebody did already.
        """
        entries = self._entries
        entries.extend(map(list.pop, (holder,)))
        if len(entries) > self.FOLD and self._folding.acquire(blocking=False):
            try:
                seen = entries[:]
                entries[: len(seen)] = [_sum(seen)]
            finally:
                self._folding.release()
        if self._waiters:
            self._waiters.wake_all()

    def totals(self) -> Counter[str]:
        """Return how often each name was noted, as of one moment."""
        return _sum(self._entries[:])

    def resent(self) -> None:
        """Count a request that is sent once more."""
        self.note(_RESENT)

    def open_now(self) -> int:
        """Return how many connections are open, or being opened."""
        totals = self.totals()
        return 2 * totals[_CREATED] + totals[_RESENT] - sum(totals.values())

    def await_all_closed(self, seconds: float | None) -> bool:
        """Wait until no connection is open; return False if there still is one in the end."""
        end = math.inf if seconds is None else time.monotonic() + seconds
        while self.open_now() > 0:
            left = end - time.monotonic()
            if left <= 0:
                return False
            self._waiters.wait(lambda: self.open_now() <= 0, min(left, LOOK_AGAIN))
        return True

    def stats(self, idle: int, requests: int, reused: int, waiters: int) -> PoolStats:
        """Return the books, with what the pool counts by itself."""
        totals = self.totals()
        created, resent = totals.pop(_CREATED, 0), totals.pop(_RESENT, 0)
        return PoolStats(
            idle=idle,
            in_use=max(0, created - sum(totals.values()) - idle),
            created=created,
            requests=requests,
            reused=reused,
            expired=sum(totals[reason] for reason in _EXPIRED),
            stale_resent=resent,
            waiters=waiters,
            closed=MappingProxyType(dict(+totals)),
        )


def _sum(entries: list[Any]) -> Counter[str]:
    if not entries or isinstance(entries[0], str):
        return Counter(entries)
    total: Counter[str] = Counter(entries[0])
    total.update(entries[1:])
    return total


class Life:
    """What is known of one open connection: its age, its load, and how it ends.

    Made when the connection is opened; belongs to whoever has the connection.

    :param policy: of its pool.
    :param now: seconds, monotonic.
    :param permit: given back when the connection is closed, or forgotten, where the manager has a
        limit for all pools.

    :ivar carried: answers received.
    :ivar reason: why it is being closed, as far as anybody said so.
    :ivar idle_since, idle_until: since when it is unused, and when it is to be given up.
    :ivar expiry: which bound `idle_until` comes from.
    """

    __slots__ = (
        "_bounded", "_ending", "_keep_seconds", "_made_at", "_move", "_opening", "_permit",
        "_requests_left", "carried", "expiry", "idle_since", "idle_until", "reason",
    )  # fmt: skip

    def __init__(self, policy: ReusePolicy, now: float, permit: Any = None) -> None:
        self.reason: str | None = None
        self._permit = permit
        self._made_at = now
        self._requests_left: int | None = None
        self._keep_seconds: float | None = None
        self._bounded = policy.max_lifetime is not None or policy.max_requests is not None
        self.carried = 0
        self.idle_since = now
        self.idle_until = math.inf
        self.expiry = "idle_timeout"
        # What is still to be written into the books.
        self._opening = [_CREATED]
        # The last one here: an interrupted constructor leaves nothing to end.
        self._ending = ["failed"]

    def begin(self, move: Callable[[list[str]], None]) -> None:
        """Write into the books that the connection is about to be opened, and later why it ended.

        :param move: :meth:`Ledger.move`; possibly called by the garbage collector.
        """
        self._move = move
        move(self._opening)

    def answered(self, headers: Mapping[str, str], policy: ReusePolicy) -> None:
        """Count an answer, and note what its ``Keep-Alive`` field asks for."""
        self.carried += 1
        if self._requests_left is not None:
            self._requests_left -= 1
        # Not through its methods: nearly no answer has the field (benchmark ``small``).
        names = headers._container if type(headers) is HTTPHeaderDict else headers
        if policy.obey_keep_alive and "keep-alive" in names:
            seconds, requests = parse_keep_alive(headers["keep-alive"])
            if seconds is not None:
                self._keep_seconds = max(seconds - KEEP_ALIVE_MARGIN, seconds / 2)
                self._bounded = True
            if requests is not None:
                self._requests_left = requests
                self._bounded = True

    def rest(self, now: float, policy: ReusePolicy) -> str | None:
        """Start to be idle; return why the connection is rather to be closed, None: it is not."""
        self.idle_since = now
        self.idle_until = now + policy.idle_timeout
        return self._rest_within_bounds(now, policy) if self._bounded else None

    def _rest_within_bounds(self, now: float, policy: ReusePolicy) -> str | None:
        if policy.max_requests is not None and self.carried >= policy.max_requests:
            return "max_requests"
        if self._requests_left is not None and self._requests_left <= 0:
            return "keep_alive"
        self.expiry = "idle_timeout"
        if self._keep_seconds is not None and now + self._keep_seconds < self.idle_until:
            self.idle_until, self.expiry = now + self._keep_seconds, "keep_alive"
        if policy.max_lifetime is not None:
            end = self._made_at + policy.max_lifetime
            if end < self.idle_until:
                self.idle_until, self.expiry = end, "max_lifetime"
        return self.expiry if self.idle_until <= now else None

    def end(self, default: str = "failed") -> None:
        """Tell that the connection is closed; later calls do nothing."""
        if not self._opening:  # or nobody knows that it was to be opened
            with suppress(IndexError):  # somebody was faster
                self._ending[0] = self.reason or default
                self._move(self._ending)
        if self._permit is not None:
            self._permit.give_back()

    def disown(self) -> None:
        """Tell nobody: the connection is that of the parent of this process."""
        self._ending.clear()

    def __del__(self) -> None:
        if getattr(self, "_ending", None):  # __init__ may have been interrupted
            self.end("forgotten")


def mark(conn: Any, reason: str) -> None:
    """Note why `conn` is going to be closed, unless somebody knew before."""
    life = getattr(conn, "_life", None)
    if life is not None and life.reason is None:
        life.reason = reason


def discard(conn: Any, reason: str) -> None:
    """Close a connection and let the books say why."""
    mark(conn, reason)
    conn.close()


def is_open(conn: Any) -> bool:
    """Tell whether an entry of a queue is a connection that is open."""
    return conn is not None and getattr(conn, "sock", None) is not None
