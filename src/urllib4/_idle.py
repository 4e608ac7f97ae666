"""Connections that wait for their next request, and the lease of one that is in use.

There is no lock here.  The garbage collector may end a lease at any moment in any thread, also
in two threads at once that hold locks of their own: if it had to wait for a lock, they could wait
for each other.  And a signal handler may raise between any two steps.  Instead, an entry is
always in one list, that of the store or that of a lease, and :func:`_move` is one step.
"""

from __future__ import annotations

import math
import queue
import time
from collections.abc import Callable
from contextlib import suppress
from threading import get_ident
from typing import Any

from ._cancel import CancelToken, interrupt
from ._reuse import discard, is_open, mark
from ._waiting import Waiters

#: Seconds after which a thread that waits looks by itself whether there is an entry: an
#: exception of a signal handler may come between giving one back and saying so.
LOOK_AGAIN = 1.0


_pop = list.pop


def _move(source: list[Any], target: list[Any]) -> None:
    """Take the last entry of `source` and append it to `target`, as one step.

    It is a single call into C, so that neither a signal handler nor a finaliser comes in
    between.  Without a GIL, the methods of a list are one step each all the same.

    :raises IndexError: `source` is empty.
    """
    target.extend(map(_pop, (source,)))


def _move_below(source: list[Any], target: list[Any]) -> None:
    """The same, but the entry becomes the first of `target`."""
    target[:0] = map(list.pop, (source,))


# As it is before gevent or others replace it in its module.
_Queue = queue.LifoQueue


def _unused(name: str) -> Any:
    """Return a property for what every queue has, made for those who ask for it."""

    def get(store: IdleStore) -> Any:
        # One step, so that two threads get the same lock, and the conditions that belong to it.
        made = store.__dict__.setdefault("_made", vars(_Queue(store.maxsize)))
        return made[name]

    return property(get)


class IdleStore(_Queue):  # type: ignore[type-arg]
    """The free slots of one pool, last in, first out.

    An entry is an idle connection, or None: a slot whose connection has yet to be made.
    Connections are handed out before empty slots.  It is a :class:`queue.LifoQueue` because
    programs look at ``pool.pool``; ``maxsize=0`` keeps nothing, however, instead of everything.

    Safe to share between threads, and to be used by finalisers and signal handlers in the
    middle of its own methods.  ``mutex`` and the conditions of the base class are there for those
    who ask for them, but not used, and :meth:`task_done` and :meth:`join` not supported.

    :ivar era: changes when the process is forked: older leases are the parent's.
    :ivar due: when the first of the connections is to be given up, as seconds of the clock that
        their pool goes by; ``math.inf``: never.
    :ivar watcher: told when `due` changed; None: nobody looks by himself.
    """

    watcher: Callable[[IdleStore], None] | None = None
    # What the constructor of the base class sets, too.
    unfinished_tasks = 0
    is_shutdown = False
    mutex = _unused("mutex")
    not_empty = _unused("not_empty")
    not_full = _unused("not_full")
    all_tasks_done = _unused("all_tasks_done")

    def __init__(self, maxsize: int = 0) -> None:
        # Not by the constructor of the base class: its lock and conditions take longer than all
        # else of a pool (benchmark ``pm_evict``).
        self.maxsize = maxsize
        self.queue: list[Any] = []
        self.era = object()
        self.due = math.inf
        self._waiters = Waiters()
        self._ended = False
        # By thread: the list of the lease that it is taking or giving back an entry for.
        self._takers: dict[int, list[Any]] = {}
        self._givers: dict[int, list[Any]] = {}

    def _after_fork_in_child(self) -> None:
        """Forget the parent's connections and leases: all slots are free.  Told by the pool."""
        self.era = object()
        self.due = math.inf
        self._waiters = Waiters()
        self._takers = {}
        self._givers = {}
        self.queue[:] = [None] * self.maxsize

    def __repr__(self) -> str:
        entries = self.queue[:]
        idle = sum(map(is_open, entries))
        return f"{super().__repr__()[:-1]}: {idle} idle, {len(entries) - idle} free>"

    def qsize(self) -> int:
        """Return the number of entries."""
        return len(self.queue)

    def empty(self) -> bool:
        """Tell whether there is no entry."""
        return not self.queue

    def full(self) -> bool:
        """Tell whether there are `maxsize` entries."""
        return 0 < self.maxsize <= len(self.queue)

    # -- taking ----------------------------------------------------------------------------

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take an entry.

        :raises queue.Empty: there is none, or none came within `timeout` seconds, or nobody
            may wait any more.
        :raises ValueError: `timeout` is negative.
        """
        holder = self._takers.pop(get_ident(), None) if self._takers else None
        if holder is None:
            holder = []
        if self.queue:
            try:
                holder.extend(map(_pop, (self.queue,)))  # what `_took` does (benchmark ``small``)
                return holder[-1]
            except IndexError:  # another thread was faster
                pass
        if not block:
            raise queue.Empty
        self._wait(timeout, holder)
        return holder[-1]

    def _took(self, holder: list[Any]) -> bool:
        if not self.queue:
            return False
        try:
            _move(self.queue, holder)
        except IndexError:  # another thread was faster
            return False
        return True

    def _wait(self, timeout: float | None, holder: list[Any]) -> None:
        """Wait until there is an entry for `holder`."""
        if timeout is not None and timeout < 0:
            raise ValueError(f"'timeout' must be a non-negative number, not {timeout!r}")
        end = None if timeout is None else time.monotonic() + timeout
        try:
            while not self._took(holder):
                left = LOOK_AGAIN if end is None else min(end - time.monotonic(), LOOK_AGAIN)
                if left <= 0 or self._ended:
                    raise queue.Empty
                self._waiters.wait(self._may_go_on, left)
        except BaseException:
            # Woken up for an entry at the last moment: it is for another one, then.
            self.tell()
            raise

    def _may_go_on(self) -> bool:
        return bool(self.queue) or self._ended

    def tell(self) -> None:
        """Wake one that waits if there is an entry; to be called once too often does no harm."""
        if self.queue:
            self._waiters.wake()

    def end_waiting(self) -> None:
        """Let nobody wait any more, neither now nor later: they find the store empty."""
        self._ended = True
        self._waiters.wake_all()

    def take_connections(self) -> list[Any]:
        """Take all connections out; empty slots stay in their places."""
        taken: list[Any] = []
        while self.queue and self.queue[-1] is not None:
            with suppress(IndexError):  # another thread was faster
                # One step, like `_move`: extend() moves the connection and returns None, which
                # is the empty slot.
                self.queue[:0] = map(taken.extend, [map(list.pop, (self.queue,))])
        if taken:
            self.tell()
        return [conn for conn in taken if conn is not None]

    @property
    def waiting(self) -> int:
        """How many threads wait for an entry."""
        return len(self._waiters)

    # -- what is kept for too long ---------------------------------------------------------

    def idle(self) -> list[Any]:
        """Return the connections that are open, the one that was used last at the end."""
        return [conn for conn in self.queue[:] if is_open(conn)]

    def make_due(self, until: float) -> None:
        """Be looked at when `until` is over, or before; to be called after the connection is in.

        Two threads may do so at once, and the one that writes last wins.  So each looks, after it
        wrote, whether there is something due before.
        """
        earliest = until
        while True:
            self.due = until = earliest
            earliest = min(map(_idle_until, self.queue[:]), default=until)
            if earliest >= until:
                break
        if self.watcher is not None:
            self.watcher(self)

    def expire(self, now: float) -> None:
        """Close the connections that were to be given up by `now`; their slots stay free."""
        self.due = math.inf
        earliest = math.inf
        for conn in self.queue[:]:
            until = _idle_until(conn)
            if until > now or until == math.inf:
                earliest = min(earliest, until)
            elif self.remove(conn):
                with suppress(
                    Exception
                ):  # of a program's own class; the others are due all the same
                    discard(conn, conn._life.expiry if conn._life is not None else "idle_timeout")
        if earliest < math.inf:
            self.make_due(earliest)

    def remove(self, conn: Any) -> bool:
        """Take `conn` out, whose slot stays free; return False if somebody else has it."""
        try:
            # One step, like `_move`: remove() returns None, which is the empty slot.
            self.queue[:0] = map(self.queue.remove, (conn,))
        except ValueError:
            return False
        return True

    def settle(self) -> None:
        """Look again at what is due, after connections were taken out."""
        if self.due < math.inf:
            self.expire(-math.inf)
            if self.watcher is not None:
                self.watcher(self)

    # -- giving back -----------------------------------------------------------------------

    def given_from(self, holder: list[Any]) -> None:
        """Let this thread's next :meth:`put` move the entry out of `holder`, if it is there."""
        self._givers[get_ident()] = holder

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Give an entry back; never waits.

        :raises queue.Full: there are `maxsize` entries already, none of which is an empty slot
            that a connection could take the place of.
        """
        holder = self._givers.pop(get_ident(), None) if self._givers else None
        if not holder or holder[-1] is not item:
            holder = [item]
        entries = self.queue
        if len(entries) >= self.maxsize and (item is None or None not in entries[:1]):
            raise queue.Full
        if item is None:
            _move_below(holder, entries)
        else:
            entries.extend(map(_pop, (holder,)))  # `_move`, once per request
        if len(entries) > self.maxsize:
            self._trim()
        if self._waiters:
            self.tell()

    def _trim(self) -> None:
        """Drop what is too much, from below: an empty slot that a connection took the place of.

        It is another entry if two threads gave one back for the last free place.  That happens
        only where more are in use than there are slots, so that no slot gets lost here.
        """
        with suppress(IndexError):  # other threads took all
            while len(self.queue) > self.maxsize:
                surplus = self.queue.pop(0)
                if surplus is not None:
                    discard(surplus, "full")


def _idle_until(conn: Any) -> float:
    life = getattr(conn, "_life", None)
    return math.inf if life is None else life.idle_until


class Lease:
    """One connection in use by one exchange; the single place where that ends.

    Whoever is first ends it: the complete response, ``close()``, an error, or the garbage
    collector, which also finishes what an exception (KeyboardInterrupt) interrupted.  All later
    calls do nothing.  May be ended from any thread.

    :param conn: the connection, if it was taken already.
    :param cancel: when it is used, whatever waits on the connection's socket is woken up.
    """

    __slots__ = ("_cancel", "_era", "_forget", "_holder", "_pool", "_store", "_turn")

    def __init__(self, pool: Any, conn: Any = None, cancel: CancelToken | None = None) -> None:
        # The entry taken, as long as it was not given back.
        self._holder: list[Any] = []
        self._pool = pool
        self._cancel = cancel
        self._forget: Any = None
        store = getattr(pool, "pool", None)
        # Others' queues do not know about leases.
        self._store: IdleStore | None = store if isinstance(store, IdleStore) else None
        self._era = None if self._store is None else self._store.era
        # list.pop() is one atomic step with and without a GIL: it decides who is first.
        self._turn = [True]
        if conn is not None:
            self._hold(conn)

    def take(self, timeout: float | None) -> Any:
        """Take a connection of the pool and return it.

        After an error, too, :meth:`end` gives back what was taken.

        :raises HTTPError: as ``_get_conn``.
        """
        store = self._store
        if store is not None:
            # So that this thread's next get() moves the entry into our list.
            store._takers[get_ident()] = self._holder
        conn = self._pool._get_conn(timeout=timeout)
        holder = self._holder
        if self._cancel is not None or not holder or holder[-1] is not conn:
            self._hold(conn)
        return conn

    def _hold(self, conn: Any) -> None:
        self._holder[:] = [conn]
        if self._cancel is not None:
            self._forget = self._cancel.on_cancel(lambda: interrupt(conn.sock))

    def let_go(self) -> None:
        """Leave the connection to somebody else, who gives it back."""
        self._holder.clear()

    def end(self, reusable: bool, goes_on: bool | None = None) -> None:
        """Give the connection back, or close it and give its slot back.

        :param reusable: the response is complete; whether the connection really can carry
            another exchange is asked of the connection itself.
        :param goes_on: what it said; None: it is still to be asked.
        """
        try:
            self._turn.pop()
        except IndexError:
            return
        holder = self._holder
        if not holder:
            return
        try:
            conn = holder[-1]
            if goes_on is None:
                goes_on = reusable and getattr(conn, "is_quiescent", True)
            if not goes_on or self._forget is not None:
                self._stop_using(conn, reusable, goes_on)
            if not reusable:
                conn = None  # after a complete answer the object itself goes back, to connect anew
            store = self._store
            if store is None:
                holder.clear()
                self._pool._put_conn(conn)
            elif self._era is not store.era:  # as `_is_of_parent`
                holder.clear()
            else:
                if not reusable:
                    holder[:] = [None]
                store._givers[get_ident()] = holder  # `given_from`
                self._pool._put_conn(conn)
                holder.clear()
        except BaseException:
            self._abandon()
            raise

    def _stop_using(self, conn: Any, reusable: bool, goes_on: bool) -> None:
        """Let nobody wake up who waits for `conn`, and close it unless it `goes_on`."""
        if self._forget is not None:
            # A waker may be waited for only if it could meet the next exchange.
            self._forget(wait=goes_on)
        if not goes_on and conn is not None:
            if not reusable:
                mark(conn, "failed")
            discard(conn, "server_close" if getattr(conn, "_peer_closes", False) else "unclean")

    def _is_of_parent(self) -> bool:
        """Tell whether the process was forked since: its slots were all made free then."""
        return self._store is not None and self._era is not self._store.era

    def _abandon(self) -> None:
        """Close the connection and give the slot back if that was not done; takes no lock."""
        if self._forget is not None:
            self._forget(wait=False)
        if not self._holder:
            # What interrupted us may have done so before anybody was told.
            if self._store is not None:
                self._store.tell()
            return
        conn = self._holder[-1]
        if conn is not None:
            with suppress(Exception):
                discard(conn, "forgotten")
        if self._store is None:
            self._holder.clear()
            self._pool._put_conn(None)
        elif not self._is_of_parent():
            self._holder[:] = [None]
            self._store.given_from(self._holder)
            with suppress(queue.Full):
                self._store.put(None, block=False)
            self._holder.clear()

    def __del__(self) -> None:
        try:
            holder = self._holder
        except AttributeError:  # __init__ was interrupted
            return
        if holder:
            self._abandon()
