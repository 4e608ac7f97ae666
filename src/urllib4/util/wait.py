"""Wait until a socket can be read or written.

``poll`` is preferred: ``select`` refuses descriptors from 1024 on.  Both are looked up in the
``select`` module at each call, since gevent and eventlet replace or remove them at run time.  A
signal does not end a wait early (PEP 475).

Nothing is shared between calls, so all functions are safe to use from many threads.
"""

from __future__ import annotations

import functools
import math
import select
import socket

__all__ = [
    "poll_wait_for_socket",
    "select_wait_for_socket",
    "wait_for_read",
    "wait_for_socket",
    "wait_for_write",
]

# Milliseconds; poll() counts them in a C int (24.8 days).
_LONGEST_POLL = 2**31 - 1


def _milliseconds(timeout: float | None) -> int | None:
    if timeout is None:
        return None
    if timeout * 1000 >= _LONGEST_POLL:
        return _LONGEST_POLL
    # Rounded up: rounding down would turn the last millisecond into a busy loop of empty polls.
    return max(0, math.ceil(timeout * 1000))


def _require_a_direction(read: bool, write: bool) -> None:
    if not read and not write:
        raise RuntimeError("must specify at least one of read=True, write=True")


def poll_wait_for_socket(
    sock: socket.socket, read: bool = False, write: bool = False, timeout: float | None = None
) -> bool:
    """Do what :func:`wait_for_socket` does, by ``select.poll``."""
    _require_a_direction(read, write)
    poller = select.poll()
    poller.register(sock, (select.POLLIN if read else 0) | (select.POLLOUT if write else 0))
    return bool(poller.poll(_milliseconds(timeout)))


def select_wait_for_socket(
    sock: socket.socket, read: bool = False, write: bool = False, timeout: float | None = None
) -> bool:
    """Do what :func:`wait_for_socket` does, by ``select.select``.

    :raises ValueError: the descriptor is too large for ``select`` (1024 or more on most systems).
    """
    _require_a_direction(read, write)
    milliseconds = _milliseconds(timeout)
    seconds = None if milliseconds is None else milliseconds / 1000
    readers = [sock] if read else []
    writers = [sock] if write else []
    # Windows reports a connect that failed as an exceptional condition, not as writable.
    return any(select.select(readers, writers, writers, seconds))


@functools.lru_cache(maxsize=4)
def _works(poll: object) -> bool:
    """Tell whether `poll` can be called: some systems define it but answer with an error."""
    try:
        poll().poll(0)  # type: ignore[operator]
    except OSError:
        return False
    return True


def wait_for_socket(
    sock: socket.socket, read: bool = False, write: bool = False, timeout: float | None = None
) -> bool:
    """Wait until `sock` is ready; return False if it is not after `timeout` seconds.

    A socket that was closed by the peer, or has failed, is ready: the next call on it will not
    block.

    :param sock: a socket, or anything with ``fileno()``, or a descriptor.
    :param read: wait until it can be read.
    :param write: wait until it can be written; with both, either one suffices.
    :param timeout: seconds; None waits for ever, 0 and less does not wait at all.
    :raises RuntimeError: neither `read` nor `write` is asked for.
    :raises ValueError: the socket is closed.
    """
    poll = getattr(select, "poll", None)
    if poll is not None and _works(poll):
        return poll_wait_for_socket(sock, read, write, timeout)
    return select_wait_for_socket(sock, read, write, timeout)


def wait_for_read(sock: socket.socket, timeout: float | None = None) -> bool:
    """Wait until `sock` can be read; see :func:`wait_for_socket`."""
    return wait_for_socket(sock, read=True, timeout=timeout)


def wait_for_write(sock: socket.socket, timeout: float | None = None) -> bool:
    """Wait until `sock` can be written; see :func:`wait_for_socket`."""
    return wait_for_socket(sock, write=True, timeout=timeout)
