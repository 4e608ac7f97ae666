"""TLS sessions that later connections may resume, which saves them a part of the handshake.

A resumed handshake does not show the certificate again: what was verified when the session began
counts.  So a session is filed under everything that decided that (see `urllib4._tls`), is used
for one connection only (RFC 8446, C.4), and grows old soon.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

from .._fork import watch

#: Seconds after which a session is not used any more: so much later than its certificate expired,
#: or was found out to be stolen, a server may be believed.
MAX_AGE = 3600.0


class TLSSessionCache:
    """Sessions by origin and TLS configuration; the least recently used are dropped.

    Each manager and each pool has one of its own; hand one over by ``tls_session_cache=`` to share
    it between several.  Sessions hold secrets and stay in memory.  Safe to share between threads.

    :param max_origins: for how many origins sessions are kept, at least 1.
    :param per_origin: how many for each, at least 1: so many connections that are opened at the
        same time can resume one.
    :param clock: monotonic seconds.
    :raises ValueError: a number is below 1.
    :raises TypeError: it is no number.

    .. versionadded:: 4.0
    """

    def __init__(
        self,
        max_origins: int = 256,
        per_origin: int = 4,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        for name, value in (("max_origins", max_origins), ("per_origin", per_origin)):
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} is an int, not {type(value).__name__}")
            if value < 1:
                raise ValueError(f"{name} is a number of at least 1, not {value}")
        self._max_origins = max_origins
        self._per_origin = per_origin
        self._clock = clock
        self._start()
        watch(self)

    def _start(self) -> None:
        # Guards the dictionary and its lists.  Reentrant: a signal handler may make requests, too.
        self._lock = threading.RLock()
        self._sessions: OrderedDict[Hashable, list[tuple[float, Any]]] = OrderedDict()

    def _after_fork_in_child(self) -> None:
        """Begin anew: what one process resumes must not be seen twice."""
        self._start()

    def __len__(self) -> int:
        """Return the number of sessions."""
        with self._lock:
            return sum(map(len, self._sessions.values()))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} with {len(self)} sessions>"

    def clear(self) -> None:
        """Forget all sessions."""
        with self._lock:
            self._sessions.clear()

    def take(self, key: Hashable) -> Any:
        """Take the newest session of `key` out; None if there is none that is young enough."""
        with self._lock:
            kept = self._sessions.get(key)
            since, session = kept.pop() if kept else (0.0, None)
            if session is None or self._clock() - since > MAX_AGE:
                self._sessions.pop(key, None)  # the others are older
                return None
            return session

    def put(self, key: Hashable, session: Any) -> None:
        """Keep `session` for the next connection of `key`."""
        with self._lock:
            kept = self._sessions.setdefault(key, [])
            self._sessions.move_to_end(key)
            kept.append((self._clock(), session))
            del kept[: -self._per_origin]
            while len(self._sessions) > self._max_origins:
                self._sessions.popitem(last=False)


def checked_session_cache(value: Any) -> TLSSessionCache | bool:
    """Return what ``tls_session_cache`` was given; None counts as False.

    :raises TypeError: neither a bool nor a cache.
    """
    if value is None:
        return False
    if isinstance(value, (bool, TLSSessionCache)):
        return value
    raise TypeError(f"tls_session_cache is a bool or a TLSSessionCache, not {type(value).__name__}")
