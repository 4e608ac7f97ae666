"""Connections that wait for their next request, and the lease of one that is in use."""

from __future__ import annotations

import queue
import threading
import time
from typing import Any

from ._cancel import CancelToken, interrupt
from ._fork import watch


class IdleStore(queue.LifoQueue):  # type: ignore[type-arg]
    """The free slots of one pool, last in, first out.

    An entry is an idle connection, or None: a slot whose connection has yet to be made.
    Connections are handed out before empty slots.  It is a :class:`queue.LifoQueue` because
    programs look at ``pool.pool``; ``maxsize=0`` keeps nothing, however, instead of everything.

    Safe to share between threads.  ``mutex`` guards ``queue`` and ``_waiting``; it is reentrant
    because the garbage collector may end a lease, and so call :meth:`put`, at any moment, also
    in a thread that holds it.  :meth:`task_done` and :meth:`join` are not supported.
    """

    def __init__(self, maxsize: int = 0) -> None:
        super().__init__(maxsize)
        self._make_locks()
        watch(self)

    def _make_locks(self) -> None:
        self.mutex = threading.RLock()  # type: ignore[assignment]
        self.not_empty = threading.Condition(self.mutex)
        self._waiting = 0

    def _after_fork_in_child(self) -> None:
        """Forget the parent's connections and leases: all slots are free."""
        self._make_locks()
        self.queue[:] = [None] * self.maxsize

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take an entry.

        :raises queue.Empty: there is none, or none came within `timeout` seconds.
        :raises ValueError: `timeout` is negative.
        """
        with self.mutex:
            if self.queue:
                return self.queue.pop()
            if not block:
                raise queue.Empty
            return self._wait(timeout)

    def _wait(self, timeout: float | None) -> Any:
        """Wait for an entry; the caller holds ``mutex``."""
        if timeout is not None and timeout < 0:
            raise ValueError(f"'timeout' must be a non-negative number, not {timeout!r}")
        end = None if timeout is None else time.monotonic() + timeout
        self._waiting += 1
        try:
            while not self.queue:
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    raise queue.Empty
                self.not_empty.wait(left)
            return self.queue.pop()
        finally:
            self._waiting -= 1

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Give an entry back; never waits.

        :raises queue.Full: there are `maxsize` entries already, none of which is an empty slot
            that a connection could take the place of.
        """
        with self.mutex:
            entries = self.queue
            if len(entries) < self.maxsize:
                if item is None:
                    entries.insert(0, None)
                else:
                    entries.append(item)
            elif item is not None and entries and entries[0] is None:
                entries.append(item)
                del entries[0]
            else:
                raise queue.Full
            if self._waiting:
                self.not_empty.notify()


class Lease:
    """One connection in use by one exchange; the single place where that ends.

    Whoever is first ends it: the complete response, ``close()``, an error, or the garbage
    collector.  All later calls do nothing.  May be ended from any thread.

    :param cancel: when it is used, whatever waits on the connection's socket is woken up.
    """

    __slots__ = ("_forget", "_holder", "_pool")

    def __init__(self, pool: Any, conn: Any, cancel: CancelToken | None = None) -> None:
        self._pool = pool
        self._forget = None if cancel is None else cancel.on_cancel(lambda: interrupt(conn.sock))
        # list.pop() is one atomic step with and without a GIL: it decides who is first.
        self._holder = [conn]

    def end(self, reusable: bool) -> None:
        """Give the connection back, or close it and give its slot back.

        :param reusable: the response is complete; whether the connection really can carry
            another exchange is asked of the connection itself.
        """
        try:
            conn = self._holder.pop()
        except IndexError:
            return
        if self._forget is not None:
            self._forget()
        if reusable and getattr(conn, "is_quiescent", True):
            self._pool._put_conn(conn)
            return
        try:
            conn.close()
        finally:
            # After a complete answer the object itself goes back, to connect anew.
            self._pool._put_conn(conn if reusable else None)
