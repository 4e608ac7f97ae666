"""At most so many connections in all pools of a manager together; first come, first served.

Whoever opens a connection needs a permit, which the connection gives back when it is closed or
forgotten.  Nobody waits for a lock here: finalisers and signal handlers give permits back, too.
Whoever makes something free does so first and wakes the head of the line then; whoever comes into
the line looks, once it is the head, before it waits.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ._cancel import CancelToken
from ._deadline import Deadline
from ._fork import watch
from ._idle import LOOK_AGAIN, IdleStore
from ._reuse import discard


class Permit:
    """The right to have one connection open, as long as it is not given back."""

    __slots__ = ("_held", "_quota", "_source")

    def __init__(self, quota: Quota) -> None:
        self._quota = quota
        # After a fork the quota has a new list: what was taken before is the parent's.
        self._source = quota._free
        self._held: list[bool] = []

    def take(self) -> bool:
        """Take it if there is one; return whether there was."""
        with suppress(IndexError):
            # One step, see `_idle`: an exception in between would lose it.
            self._held.extend(map(list.pop, (self._source,)))
        return bool(self._held)

    def give_back(self) -> None:
        """Give it back if it was taken; once, whoever calls this how often."""
        with suppress(IndexError):
            self._source.extend(map(list.pop, (self._held,)))
            self._quota.wake()

    def __del__(self) -> None:
        if getattr(self, "_held", None):  # __init__ may have been interrupted
            self.give_back()


class _Ticket:
    """Somebody in the line."""

    __slots__ = ("_gate", "pool")

    def __init__(self, pool: Any) -> None:
        self.pool = pool
        self._gate = threading.Lock()
        self._gate.acquire()

    def wake(self) -> None:
        """Let it look again, now or when it waits next."""
        with suppress(RuntimeError):  # it was told already
            self._gate.release()

    def wait(self, seconds: float) -> None:
        """Wait to be woken."""
        self._gate.acquire(timeout=seconds)


class _Place:
    """Keeps a ticket in the line until :meth:`leave`, or until the last reference to this is gone.

    Nobody could pass a ticket that an exception of a signal handler had left behind.
    """

    __slots__ = ("_quota", "_ticket")

    def __init__(self, quota: Quota, ticket: _Ticket) -> None:
        self._quota = quota
        self._ticket = ticket
        quota._line.append(ticket)

    def leave(self) -> None:
        """Go, and let the next one look; later calls do no harm."""
        with suppress(ValueError):  # it is gone
            self._quota._line.remove(self._ticket)
        self._quota.wake()

    def __del__(self) -> None:
        if hasattr(self, "_ticket"):  # __init__ may have been interrupted
            self.leave()


class Quota:
    """The permits of one manager.

    :param limit: how many there are.

    Safe to share between threads.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._stores: dict[int, weakref.ref[IdleStore]] = {}
        self._start_anew()
        watch(self)

    def _start_anew(self) -> None:
        self._free = [True] * self.limit
        self._line: deque[_Ticket] = deque()

    def _after_fork_in_child(self) -> None:
        """The connections that have permits are the parent's."""
        self._start_anew()

    def add(self, store: IdleStore) -> None:
        """Let idle connections of `store` be closed to make room."""
        key = id(store)
        self._stores[key] = weakref.ref(store, lambda _: self._stores.pop(key, None))

    def permit(self) -> Permit:
        """Return a permit that is still to be taken."""
        return Permit(self)

    def waiting_for(self, pool: Any) -> int:
        """Return how many threads wait for a connection of `pool`."""
        return sum(ticket.pool is pool for ticket in list(self._line))

    def wake(self) -> None:
        """Let the head of the line look whether it can go on."""
        with suppress(IndexError):  # nobody waits
            self._line[0].wake()

    def acquire(
        self,
        pool: Any,
        permit: Permit,
        bound: Deadline | None,
        cancel: CancelToken | None,
        phase: str,
        use_idle: Callable[[], bool],
    ) -> bool:
        """Wait in line until there is a permit, or ``use_idle()`` finds a connection.

        :returns: False if the time was over before.
        :raises RequestCancelledError: `cancel` was used.
        """
        ticket = _Ticket(pool)
        forget = None if cancel is None else cancel.on_cancel(ticket.wake)
        place = _Place(self, ticket)
        try:
            while True:
                if self._line[0] is ticket and (use_idle() or permit.take() or self._took(permit)):
                    return True
                if cancel is not None:
                    cancel.check(phase)
                left = LOOK_AGAIN if bound is None else min(bound.left(), LOOK_AGAIN)
                if left <= 0:
                    return False
                ticket.wait(left)
        finally:
            place.leave()
            if forget is not None:
                forget()

    def _took(self, permit: Permit) -> bool:
        """Close idle connections until one of their permits can be had."""
        while self._make_room():
            if permit.take():
                return True
        return False

    def _make_room(self) -> bool:
        """Close the connection that was idle for the longest time; return whether there was one."""
        while True:
            idle = [
                (conn._life.idle_since, store, conn)
                for store in self._living()
                for conn in store.idle()
                if getattr(conn, "_life", None) is not None
            ]
            if not idle:
                return False
            _, store, conn = min(idle, key=lambda entry: entry[0])
            if store.remove(conn):  # or else somebody was faster
                discard(conn, "made_room")
                return True

    def _living(self) -> list[IdleStore]:
        stores = [reference() for reference in list(self._stores.values())]
        return [store for store in stores if store is not None]
