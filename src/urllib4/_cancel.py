"""Ending a call from another thread."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from ._fork import watch
from ._waiting import Waiters
from .exceptions import RequestCancelledError

__all__ = ["CancelToken"]


class Forget(Protocol):
    """Undoes what :meth:`CancelToken.on_cancel` did; may be called more than once."""

    def __call__(self, wait: bool = True) -> None:
        """Let the waker not be called any more.

        :param wait: if it is running now, return after it.  A finaliser, which must not wait for
            any lock, may do without where what the waker would wake is closed anyway.
        """


class CancelToken:
    """Ends the calls that were given it, whatever they are waiting for.

    ::

        token = CancelToken()
        threading.Timer(5, token.cancel).start()
        manager.request("GET", url, cancel=token)

    The call raises :exc:`RequestCancelledError` while it waits for a connection, sleeps before
    a retry, looks a name up, connects, shakes hands, sends or reads; also when a streamed body is
    read later.  Its connection is closed.  One token may be given to many calls; once used, it
    ends further calls at their start.  A policy that overrides ``Retry.sleep`` is not woken up.

    All methods may be called from any thread.

    .. versionadded:: 4.0
    """

    def __init__(self) -> None:
        self._used = False
        self._sleepers = Waiters()
        # Guards `_wakers`; held while they run, so that none runs after it was removed (its
        # socket may belong to another call by then).  Reentrant, since the garbage collector may
        # end a lease at any moment.  Wakers are ours, and do not wait.
        self._lock = threading.RLock()
        self._wakers: dict[int, Callable[[], None]] = {}
        self._numbers = itertools.count()
        watch(self)

    def _after_fork_in_child(self) -> None:
        """Leave the parent's calls alone."""
        self._lock = threading.RLock()
        self._sleepers = Waiters()
        self._wakers.clear()

    def __repr__(self) -> str:
        return f"<CancelToken {'cancelled' if self.cancelled else 'not cancelled'}>"

    @property
    def cancelled(self) -> bool:
        """Whether :meth:`cancel` was called."""
        return self._used

    def cancel(self) -> None:
        """End all calls that have this token; signal handlers may do so, too."""
        self._used = True
        self._sleepers.wake_all()
        with self._lock:
            for wake in list(self._wakers.values()):
                wake()

    def check(self, phase: str) -> None:
        """Raise if the token was used.

        :raises RequestCancelledError: naming `phase`.
        """
        if self._used:
            raise RequestCancelledError(phase)

    def wait(self, seconds: float) -> bool:
        """Sleep until the token is used, at most `seconds`; return whether it was."""
        end = time.monotonic() + seconds
        while not self._used and (left := end - time.monotonic()) > 0:
            self._sleepers.wait(lambda: self._used, left)
        return self._used

    def on_cancel(self, wake: Callable[[], None]) -> Forget:
        """Call `wake` when the token is used, at once if it was; return what undoes this.

        `wake` runs in the thread that cancels, and must neither wait nor raise.
        """
        number = next(self._numbers)
        with self._lock:
            self._wakers[number] = wake
            if self.cancelled:
                wake()

        def forget(wait: bool = True) -> None:
            self._wakers.pop(number, None)
            if wait:
                with self._lock:  # it is not running any more
                    pass

        return forget


@contextlib.contextmanager
def interruptible(cancel: CancelToken | None, sock: Any) -> Iterator[None]:
    """Let `cancel` end what goes on with `sock` while its object may be replaced (TLS).

    A second descriptor of the same connection serves for that: wrapping takes the first away from
    its object before the handshake starts.
    """
    if cancel is None:
        yield
        return
    with socket.socket(fileno=socket.dup(sock.fileno())) as second:
        forget = cancel.on_cancel(lambda: interrupt(second))
        try:
            yield
        finally:
            forget()


def interrupt(sock: Any) -> None:
    """Let whoever waits on `sock`, to connect, send or receive, go on with an error.

    :param sock: a socket, TLS over one, or None.
    """
    # Behind TLS: the shutdown() of an SSLSocket would drop the TLS state under its reader.
    while not isinstance(sock, socket.socket) and hasattr(sock, "socket"):
        sock = sock.socket
    try:
        if isinstance(sock, socket.socket):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)
        elif hasattr(sock, "shutdown"):
            sock.shutdown(socket.SHUT_RDWR)
    except OSError:  # not connected yet, or not any more
        pass
