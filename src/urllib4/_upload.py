"""Sending a body while watching for an answer that makes the rest of it pointless.

RFC 9112, 9.3 and 9.5: a client that sends a body should monitor the connection, and stop when
the server answers that it does not want the body.  A server may then stop reading without
closing; whoever only writes would push into a full window until a timeout.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from ._deadline import Deadline
from ._file_body import BLOCK_BYTES, FileRun, shrunk
from ._http1.head import MAX_HEAD_BYTES, early_status, may_continue
from ._http1.request import WRITE_BYTES
from ._http1.stream import ByteStream
from .util.wait import wait_for_read, wait_for_socket

#: Answers from this status on do not want the body; a 2xx may be sent while it is read.
FIRST_REFUSING_STATUS = 300

#: How much of an early answer is taken from the socket before it was asked for, bytes.
_MAX_EARLY_BYTES = 64 * 1024

# What os.sendfile says of files that the system cannot copy by itself, on network disks say.
_NO_SENDFILE = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EOVERFLOW}


class Uploader:
    """Sends the pieces of one body, never blocking where the answer could not be seen.

    :param conn: for the audit event ``http.client.send``.
    :param stream: the reader of the connection; what comes early stays in it.
    :param time_left: how long one wait may last, None: for ever; raises when the time of the
        call is over.

    Belongs to one request.

    :ivar sends_files: whether a piece may be a :class:`FileRun`.
    """

    def __init__(
        self,
        conn: Any,
        sock: socket.socket,
        stream: ByteStream,
        time_left: Callable[[], float | None],
    ) -> None:
        self._conn = conn
        self._sock = sock
        self._stream = stream
        self._time_left = time_left
        self._watching = True
        self._reads_first = False  # TLS cannot send before it has received something
        self._give_up_at: float | None = None  # None: the last try to send something did
        # Of this very class: one derived from it may want to see, or encrypt, what is sent.
        self.sends_files = type(sock) is socket.socket and hasattr(os, "sendfile")

    def send_all(self, pieces: Iterable[Any]) -> bool:
        """Send `pieces`; return False as soon as the server does not want the rest.

        :raises TimeoutError: (the builtin) nothing could be written in time.
        :raises OSError: the connection failed.
        """
        sock = self._sock
        timeout = sock.gettimeout()
        sock.settimeout(0)
        try:
            return all(self._send(piece) for piece in pieces)
        finally:
            sock.settimeout(timeout)

    def _send(self, piece: Any) -> bool:
        self._time_left()  # raises where making the piece took all the time there was
        sys.audit("http.client.send", self._conn, piece)
        if isinstance(piece, FileRun):
            return self._send_whole(piece.count, lambda sent: self._send_file(piece, sent))
        with memoryview(piece) as view:
            # In slices: TLS would take a long piece whole as long as the peer reads, without
            # a look at what it says.
            return self._send_whole(
                len(view), lambda sent: self._send_some(view[sent : sent + WRITE_BYTES])
            )

    def _send_whole(self, size: int, send_from: Callable[[int], int]) -> bool:
        """Send all of `size` bytes; `send_from` sends some, from a position, without waiting."""
        sent = 0
        while True:
            # Asked before each write: after the last one the request is whole, and an
            # answer, whatever it says, leaves a connection that can be used again.
            if self._is_refused():
                return False
            count = send_from(sent)
            sent += count
            if count:
                self._give_up_at = None
            if sent == size:
                return True
            self._wait()

    def _send_file(self, run: FileRun, sent: int) -> int:
        """Let the system send the rest of `run` (benchmark ``up_file``).

        :raises BodyChangedError: the file has become shorter.
        """
        left = run.count - sent
        try:
            count = os.sendfile(self._sock.fileno(), run.fd, run.offset + sent, left)
        except OSError as error:
            if _would_block(error):
                return 0
            if error.errno not in _NO_SENDFILE:
                raise
            block = run.read(sent, min(left, BLOCK_BYTES))
            count = self._send_some(memoryview(block)) if block else 0
            if block:
                return count
        if not count:
            raise shrunk("the file", left)
        return count

    def _send_some(self, view: memoryview) -> int:
        self._reads_first = False
        try:
            return self._sock.send(view)
        except OSError as error:
            if _would_block(error):
                # In a handshake that the server began (RFC 5246, 7.4.1.1).
                self._reads_first = type(error).__name__ == "SSLWantReadError"
                return 0
            raise

    def _wait(self) -> None:
        """Wait until more can be sent, or something came; the time runs from the last that went.

        What comes does not start it anew: a server could make us wait as long as it likes.

        :raises TimeoutError: (the builtin) that was too long.
        """
        left = self._time_left()
        if left is not None:
            now = time.monotonic()
            if self._give_up_at is None:
                self._give_up_at = now + left
            elif (left := min(left, self._give_up_at - now)) <= 0:
                raise TimeoutError("timed out")
        first = self._reads_first
        if not wait_for_socket(
            self._sock, read=self._watching or first, write=not first, timeout=left
        ):
            raise TimeoutError("timed out")

    def _is_refused(self) -> bool:
        """Tell whether there is an answer, or an end, that makes sending on pointless."""
        if not self._watching or not wait_for_read(self._sock, timeout=0):
            return False
        if not receive_nowait(self._stream):
            return True
        status = early_status(bytes(self._stream.peek()))
        if status is not None and status >= FIRST_REFUSING_STATUS:
            return True
        if status is not None or self._stream.buffered >= _MAX_EARLY_BYTES:
            # It answers while it reads, or says nothing that we understand: read that later.
            self._watching = False
        return False


def await_permission(
    stream: ByteStream, seconds: float, time_left: Callable[[], float | None]
) -> bool:
    """Wait for 100 Continue (RFC 9110, 10.1.1); return whether the body is to be sent.

    It is sent as well if the server says nothing within `seconds`: many never do.  It is not if a
    final answer came instead, or more than a head may have, or the connection ended.

    :raises TimeoutError: (the builtin) the time of the attempt is over.
    """
    patience = Deadline(seconds)
    while True:
        data = bytes(stream.peek())
        if early_status(data) is not None:
            return False
        if may_continue(data):
            return True
        if len(data) > MAX_HEAD_BYTES:
            return False  # more than any head may have: whoever reads the answer says so
        left = time_left()
        wait = patience.left() if left is None else min(left, patience.left())
        if wait <= 0 or not wait_for_read(stream.sock, timeout=wait):
            time_left()  # raises if it was the attempt that ended
            return True
        if not receive_nowait(stream):
            return False


def receive_nowait(stream: ByteStream) -> bool:
    """Take what has come into the reader; return False at the end of the stream.

    A readable TLS connection may hold nothing for us: session tickets come unasked.
    """
    sock = stream.sock
    timeout, deadline = sock.gettimeout(), stream.deadline
    sock.settimeout(0)
    stream.deadline = None
    try:
        return bool(stream.fill())
    except OSError as error:
        # What else is wrong is found out, and told, by whoever reads the answer.
        return _would_block(error)
    finally:
        stream.deadline = deadline
        sock.settimeout(timeout)


def _would_block(error: OSError) -> bool:
    # The two of TLS are told apart by name: there may be no ssl module.
    return isinstance(error, BlockingIOError) or type(error).__name__ in (
        "SSLWantReadError",
        "SSLWantWriteError",
    )
