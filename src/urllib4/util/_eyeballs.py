"""Connecting to whichever of several addresses answers first (RFC 8305, "Happy Eyeballs").

Loaded when a host turns out to have more than one address.  No thread: all attempts are
non-blocking sockets that one wait watches.
"""

from __future__ import annotations

import math
import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from .._cancel import CancelToken, Forget, interrupt
from .wait import _milliseconds, _works

#: Attempts that may be under way at the same time.  With more addresses than that, the next one
#: waits for one of them to fail: an answer of a name server must not use up our descriptors.
MAX_RACING = 16

#: Seconds for which it is remembered by which family a host was reached (RFC 8305, 4: "on the
#: order of 10 minutes").
REMEMBERED_SECONDS = 600.0

#: Hosts that are remembered at most.
_MAX_REMEMBERED = 1024

#: Attempts that the text of an error lists at most.
_MAX_LISTED = 8

#: ``(family, type, protocol, canonical name, socket address)``, as ``getaddrinfo`` gives them.
Candidate = tuple[int, int, int, str, Any]


class GoodFamilies:
    """By which address family hosts were reached lately, for those that have several.

    Without a lock: each step is one operation of a dict, and what gets lost is found out again.

    :param clock: monotonic seconds.
    :param seconds: how long an entry counts.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, seconds: float = REMEMBERED_SECONDS
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._found: dict[str, tuple[int, float]] = {}

    def __len__(self) -> int:
        return len(self._found)

    def get(self, host: str) -> int | None:
        """Return the family that worked last; None if that is not known or too long ago."""
        family, until = self._found.get(host, (None, 0.0))
        if family is not None and self._clock() < until:
            return family
        self._found.pop(host, None)
        return None

    def remember(self, host: str, family: int) -> None:
        """Note that `host` was reached by `family` just now."""
        if len(self._found) >= _MAX_REMEMBERED and host not in self._found:
            self._found.clear()
        self._found[host] = family, self._clock() + self._seconds


#: What this process knows.
good_families = GoodFamilies()


def interleaved(candidates: Sequence[Candidate], first: int | None = None) -> list[Candidate]:
    """Return the addresses with their families taking turns (RFC 8305, 4).

    :param first: the family to begin with; default: that of the first address, which is the
        system's choice (RFC 6724).

    Within a family their order stays.
    """
    families: dict[int, deque[Candidate]] = {}
    if first is not None:
        families[first] = deque()
    for candidate in candidates:
        families.setdefault(candidate[0], deque()).append(candidate)
    mixed: list[Candidate] = []
    while len(mixed) < len(candidates):
        mixed += [queue.popleft() for queue in families.values() if queue]
    return mixed


class Rules(NamedTuple):
    """What bounds a race.

    :ivar make: returns a socket for an address that is ready to connect.
    :ivar left: returns the seconds left for all of it; None: no bound.
    :ivar cancel: ends it from another thread.
    :ivar delay: seconds until the next address is tried while those before are silent.
    :ivar clock: monotonic seconds.
    """

    make: Callable[[Candidate], socket.socket]
    left: Callable[[], float | None]
    cancel: CancelToken | None
    delay: float
    clock: Callable[[], float]


def connect_first(host: str, candidates: Sequence[Candidate], rules: Rules) -> socket.socket:
    """Return a socket that is connected to the address that answers first.

    :param host: for which the family that worked is remembered.
    :raises TimeoutError: (the builtin) none did in time.
    :raises RequestCancelledError: ``rules.cancel`` was used.
    :raises OSError: all failed; it is the error of the last one, its text names all.

    The sockets of all others are closed, however this ends.  The winner is in non-blocking mode.
    """
    several = len({candidate[0] for candidate in candidates}) > 1
    order = interleaved(candidates, good_families.get(host) if several else None)
    race = _Race(rules)
    try:
        winner = race.run(order)
    finally:
        race.end()
    if several:
        good_families.remember(host, winner.family)
    return winner


class _Attempt(NamedTuple):
    """One socket that is connecting; ``forget`` holds what takes it away from the token."""

    sock: socket.socket
    address: Any
    forget: list[Forget]

    def stop_watching(self) -> None:
        for forget in self.forget:
            forget()

    def give_up(self) -> None:
        # In this order: the descriptor may be another's as soon as it is closed.
        self.stop_watching()
        self.sock.close()


class _Race:
    """The attempts under way; belongs to one thread, except that a token interrupts them."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._running: list[_Attempt] = []
        self._tried: list[str] = []
        self._failure: OSError | None = None
        # When the next attempt begins; one that fails lets it begin at once.
        self._start_at = -math.inf

    def run(self, order: Iterable[Candidate]) -> socket.socket:
        clock = self._rules.clock
        waiting = deque(order)
        while waiting or self._running:
            left = self._rules.left()
            if left is not None and left <= 0:
                raise TimeoutError(f"timed out{self._summary()}")
            if not waiting or len(self._running) >= MAX_RACING:
                winner = self._wait(left)
            elif (pause := self._start_at - clock()) > 0:
                winner = self._wait(min(pause, math.inf if left is None else left))
            else:
                self._start_at = clock() + self._rules.delay
                winner = self._start(waiting.popleft())
            if winner is not None:
                return self._won(winner)
        raise self._error()

    def end(self) -> None:
        """Close all but the winner; the error, if there is one, is not kept alive by us."""
        self._failure = None
        for attempt in self._running:
            attempt.give_up()

    def _start(self, candidate: Candidate) -> _Attempt | None:
        """Begin to connect; return the attempt if that is done already."""
        cancel = self._rules.cancel
        try:
            sock = self._rules.make(candidate)
        except OSError as error:
            self._note(candidate[4], error)
            return None
        attempt = _Attempt(sock, candidate[4], [])
        self._running.append(attempt)
        if cancel is not None:
            attempt.forget.append(cancel.on_cancel(lambda: interrupt(sock)))
        sock.setblocking(False)
        try:
            sock.connect(candidate[4])
        except BlockingIOError:
            if cancel is not None:  # used before there was anything to interrupt
                cancel.check("connecting")
            return None
        except OSError as error:
            self._lost(attempt, error)
            return None
        return attempt

    def _wait(self, seconds: float | None) -> _Attempt | None:
        """Wait until an attempt succeeds or fails; return the one that succeeded."""
        ready = _wait_for_any([attempt.sock for attempt in self._running], seconds)
        if self._rules.cancel is not None:
            self._rules.cancel.check("connecting")
        for attempt in [one for one in self._running if one.sock.fileno() in ready]:
            code = attempt.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not code:
                return attempt
            self._lost(attempt, OSError(code, os.strerror(code)))
        return None

    def _won(self, winner: _Attempt) -> socket.socket:
        self._running.remove(winner)
        winner.stop_watching()
        return winner.sock

    def _lost(self, attempt: _Attempt, error: OSError) -> None:
        cancel = self._rules.cancel
        if cancel is not None:
            cancel.check("connecting")  # it was interrupted rather than refused
        self._running.remove(attempt)
        attempt.give_up()
        self._note(attempt.address, error)

    def _note(self, address: Any, error: OSError) -> None:
        self._start_at = -math.inf
        self._tried.append(f"{shown(address)}: {error.strerror or error}")
        self._failure = error

    def _error(self) -> OSError:
        """Return the error of the last attempt; its text says what happened to all."""
        failure = self._failure
        assert failure is not None
        try:
            if failure.errno is None or len(self._tried) < 2:
                return failure
            # The builtin picks the class that belongs to the number.
            return OSError(failure.errno, f"{failure.strerror}{self._summary()}")
        finally:
            failure = None

    def _summary(self) -> str:
        silent = [shown(attempt.address) for attempt in self._running]
        tried = [*self._tried, *(f"{address}: no answer" for address in silent)]
        if len(tried) > _MAX_LISTED:
            tried[_MAX_LISTED:] = [f"{len(tried) - _MAX_LISTED} more"]
        return f" (tried {'; '.join(tried)})" if tried else ""


def shown(address: Any) -> str:
    """Return a socket address as people write it."""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"


def _wait_for_any(socks: Sequence[socket.socket], seconds: float | None) -> set[int]:
    """Return the descriptors of those that are connected, or failed, by then."""
    if seconds == math.inf:
        seconds = None
    poll = getattr(select, "poll", None)  # looked up at each call, as in `wait`
    if poll is not None and _works(poll):
        poller = poll()
        for sock in socks:
            poller.register(sock, select.POLLOUT)
        return {descriptor for descriptor, _ in poller.poll(_milliseconds(seconds))}
    # Windows reports a connect that failed as an exceptional condition, not as writable.
    _, writable, failed = select.select([], socks, socks, seconds)
    return {sock.fileno() for sock in (*writable, *failed)}
