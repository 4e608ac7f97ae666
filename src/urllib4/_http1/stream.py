"""The one buffered reader of a connection.

It stands between the socket and everything that parses, and outlives the responses: what a
server sends behind a response stays here, is seen, and spoils the connection for reuse
(:attr:`ByteStream.buffered`) instead of poisoning the next answer.

Every wait is bounded: by the timeout of the socket for a single receive, and by
:attr:`ByteStream.deadline` for all of them together.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from http.client import BadStatusLine
from typing import Any

from ..exceptions import HeadTooLargeError, ProtocolError
from .head import MAX_HEAD_BYTES

#: First size of the buffer, bytes.  A small answer needs one receive.  To make a larger one takes
#: longer than all else of the reader (benchmark ``newconn``), and each idle connection keeps it.
FIRST_BYTES = 16 * 1024

#: Its size as soon as the first was full, bytes: what many servers write at once, 64 KiB, and the
#: head or the framing around it, so that it takes one receive and one copy (benchmark ``k64``).
#: Half of it costs a quarter more on chunked bodies (benchmarks ``chunks``, ``pieces``).
BUFFER_BYTES = 72 * 1024

#: How much of an answer that is not HTTP is shown in the error, bytes.
SHOWN_BYTES = 200
_PROTOCOL = b"HTTP/"

#: Pieces up to this size are received as they are handed out, bytes: to receive into a buffer and
#: copy out of it costs half as much again (benchmark ``dl_stream``), but does not take memory
#: for what has not come.
MAX_RECEIVED = 256 * 1024
#: In how many parts.  Each is an object of its own; a server that sends byte by byte must not make
#: one of each byte.
_MAX_PARTS = 16


class ByteStream:
    """Buffered receiving from one connected socket.

    :param sock: the socket, or anything with ``recv_into`` or ``makefile``.
    :param clock: seconds, monotonic; injected by tests.

    Belongs to one connection; one thread at a time.

    :ivar deadline: no receive waits beyond this time of `clock`; None: no such bound.
    :ivar timeout: seconds that one receive may take while a deadline is set; without one,
        the timeout of the socket itself holds.
    :ivar ragged: the stream ended, but TLS was not told so (no ``close_notify``; RFC 9112, 9.8):
        anybody on the way may have cut it.  All that lasts until the end is incomplete then.
    :ivar answers: how many answers were read from the connection.
    :ivar interims: how many interim (1xx) answers came before those.
    :ivar endpoints: what is known of its two ends, from the first answer on.
    :ivar shutdown: how others stop what waits on the socket, from the first answer on.
    """

    __slots__ = (
        "_buffer", "_clock", "_end", "_recv", "_recv_into", "_start", "_view", "answers",
        "deadline", "endpoints", "interims", "ragged", "shutdown", "sock", "timeout",
    )  # fmt: skip

    def __init__(self, sock: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self.sock = sock
        recv_into = getattr(sock, "recv_into", None)
        self._recv_into: Callable[[Any], int] = (
            sock.makefile("rb", 0).readinto if recv_into is None else recv_into
        )
        self._recv: Callable[[int], bytes] | None = (
            None if recv_into is None else getattr(sock, "recv", None)
        )
        self._buffer = bytearray(FIRST_BYTES)
        self._view = memoryview(self._buffer)
        self._start = 0
        self._end = 0
        self._clock = clock
        self.deadline: float | None = None
        self.timeout: float | None = None
        self.ragged = False
        self.answers = self.interims = 0
        self.endpoints: Any = None
        self.shutdown: Callable[[int], None] | None = None

    @property
    def buffered(self) -> int:
        """Bytes that were received and not consumed."""
        return self._end - self._start

    # -- filling ---------------------------------------------------------------------------

    def _receive_into(self, view: memoryview) -> int:
        """Receive once into `view`; 0 at the end of the stream.

        :raises TimeoutError: (the builtin) nothing came in time.
        """
        if self.deadline is not None:
            self._arm()
        receive = self._recv_into
        try:
            return receive(view) or self._look_at_end(view)
        except OSError as error:
            return self._end_of_tls(error)

    def _receive(self, recv: Callable[[int], bytes], limit: int) -> bytes:
        """Receive at most `limit` bytes once; ``b""`` at the end of the stream.

        :param recv: how.
        :raises TimeoutError: (the builtin) nothing came in time.
        """
        if self.deadline is not None:
            self._arm()
        try:
            data = recv(limit)
        except OSError as error:
            self._end_of_tls(error)
            return b""
        if not data and self._look_at_end(memoryview(one := bytearray(1))):
            return bytes(one)
        return data

    def _look_at_end(self, view: memoryview) -> int:
        """Ask TLS again at the end, without its habit to take a cut for an end; return 0.

        Not asked that way from the start: whoever takes the socket over, as some do after an
        upgrade, expects it to behave like all sockets of the standard library.
        """
        sock = self.sock
        suppressed = getattr(sock, "suppress_ragged_eofs", False)
        if not suppressed:
            return 0
        sock.suppress_ragged_eofs = False
        try:
            return self._recv_into(view)
        except OSError as error:
            _let_go(error)
            self.ragged = True
            return 0
        finally:
            sock.suppress_ragged_eofs = suppressed

    def _end_of_tls(self, error: OSError) -> int:
        """Return 0 if `error` means the end of the stream, for sockets that say it so."""
        # Told apart by name: there may be no ssl module.
        kind = type(error).__name__
        if kind == "SSLEOFError" or getattr(error, "reason", "") == "UNEXPECTED_EOF_WHILE_READING":
            self.ragged = True
        elif kind != "SSLZeroReturnError":
            raise error
        _let_go(error)
        return 0

    def _arm(self) -> None:
        """Let the next receive end at the deadline, or earlier if the timeout is shorter."""
        assert self.deadline is not None
        left = self.deadline - self._clock()
        if left <= 0:
            raise TimeoutError("timed out")
        if self.timeout is not None and self.timeout < left:
            left = self.timeout
        self.sock.settimeout(left)

    def fill(self) -> int:
        """Receive more behind what is buffered; return the number of bytes, 0 at the end."""
        start, end = self._start, self._end
        if start == end:
            self._start = end = 0
        elif end == len(self._buffer):
            size = end
            end -= start
            if start >= size // 2 and size >= BUFFER_BYTES:
                self._buffer[:end] = self._buffer[start:]
            else:
                self._grow(start)
            self._start = 0
        self._end = end
        count = self._receive_into(self._view[end:] if end else self._view)
        self._end = end + count
        return count

    def _grow(self, start: int) -> None:
        old = self._view
        self._buffer = bytearray(max(2 * len(old), BUFFER_BYTES))
        self._view = memoryview(self._buffer)
        self._view[: len(old) - start] = old[start:]

    def _consume(self, end: int) -> None:
        self._start = end
        if end == self._end and end >= FIRST_BYTES and len(self._buffer) != BUFFER_BYTES:
            self._renew()

    def _renew(self) -> None:
        """Go on with an empty buffer of the usual size.

        The first one was full, or has grown: one huge head must not cost its memory for the life
        of the connection.
        """
        self._buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0

    # -- taking ----------------------------------------------------------------------------

    def read_head(self, max_bytes: int = MAX_HEAD_BYTES) -> bytes:
        """Take a head: all up to the first empty line, which is included.

        Returns ``b""`` if the stream ended before the first byte.

        :raises HeadTooLargeError: more than `max_bytes` without an empty line.
        :raises ProtocolError: the stream ended inside the head.
        :raises http.client.BadStatusLine: the first bytes are another protocol's.
        """
        if self._start == self._end and not self.fill():
            return b""
        searched = self._start
        while True:
            end = self._find_head_end(searched)
            if end:
                block = bytes(self._view[self._start : end])
                self._consume(end)
                break
            if self._end - self._start > max_bytes:
                raise HeadTooLargeError(max_bytes)
            self._check_start()
            searched = max(0, self._end - self._start - 3)
            if not self.fill():
                if self._start == self._end:
                    return b""
                raise ProtocolError("connection closed inside the response head")
            searched += self._start
        if len(block) > max_bytes:
            raise HeadTooLargeError(max_bytes)
        return block

    def read_head_cut_at_crlf(self) -> bytes | None:
        """Take all up to the first CRLF CRLF, if one receive brings it; otherwise nothing.

        A head ends there unless an empty line comes before that ends, or begins, with a bare LF:
        whoever finds one, or gets ``b""``, goes on with :meth:`put_back` and :meth:`read_head`.
        To look for all kinds of empty lines takes four times as long (benchmark ``small``).

        None if the stream ended before the first byte.
        """
        if self._start == self._end:
            self._start = self._end = 0
            self._end = received = self._receive_into(self._view)
            if not received:
                return None
            end = self._buffer.find(b"\r\n\r\n", 0, received) + 4
            if 4 <= end <= MAX_HEAD_BYTES:
                self._start = end
                return bytes(self._view[:end])
        return b""

    def put_back(self, count: int) -> None:
        """Have the last `count` bytes again that :meth:`read_head_cut_at_crlf` took."""
        self._start -= count

    def _check_start(self) -> None:
        """Refuse another protocol at its first bytes: an empty line may never come.

        :raises http.client.BadStatusLine: what is buffered does not start like HTTP.
        """
        start = bytes(self._view[self._start : min(self._end, self._start + SHOWN_BYTES)])
        if start[: len(_PROTOCOL)] != _PROTOCOL[: len(start)]:
            raise BadStatusLine(repr(start.partition(b"\n")[0].rstrip(b"\r")))

    def _find_head_end(self, start: int) -> int:
        """Return the position behind the first empty line, 0 if there is none yet."""
        find = self._buffer.find
        crlf = find(b"\n\r\n", start, self._end)
        bare = find(b"\n\n", start, crlf + 1 if crlf >= 0 else self._end)
        if bare >= 0:
            return bare + 2
        if crlf >= 0:
            return crlf + 3
        return 0

    def read_line(self, limit: int) -> bytes:
        """Take a line with its LF, what is left of one at the end, or `limit` bytes of one."""
        searched = 0
        while True:
            newline = self._buffer.find(b"\n", self._start + searched, self._end)
            if newline >= 0:
                end = min(newline + 1, self._start + limit)
                break
            searched = self._end - self._start
            if searched >= limit or not self.fill():
                end = min(self._end, self._start + limit)
                break
        line = bytes(self._view[self._start : end])
        self._consume(end)
        return line

    def take(self, limit: int) -> bytes:
        """Take at most `limit` buffered bytes, without receiving."""
        end = self._end if limit < 0 else min(self._end, self._start + limit)
        data = bytes(self._view[self._start : end])
        self._consume(end)
        return data

    def read(self, amt: int) -> bytes:
        """Take `amt` bytes, or as many as come."""
        start, end = self._start, self._end
        buffered = end - start
        if amt <= buffered:
            return self.take(amt)
        recv = self._recv
        if recv is None or amt > MAX_RECEIVED:
            return self._read_into_bytes(amt)
        if buffered:
            data = bytes(self._view[start:end])
            self._consume(end)
        else:
            data = self._receive(recv, amt)
            if len(data) == amt or not data:
                return data
        return self._read_on(recv, data, amt)

    def _read_on(self, recv: Callable[[int], bytes], data: bytes, amt: int) -> bytes:
        """Return `amt` bytes, or as many as come; `data` are the first of them."""
        parts = [data]
        left = amt - len(data)
        while left:
            data = self._receive(recv, left)
            if not data:
                break
            parts.append(data)
            left -= len(data)
            if left and len(parts) == _MAX_PARTS:
                parts.append(self._read_into_bytes(left))
                break
        return b"".join(parts)

    def _read_into_bytes(self, size: int) -> bytes:
        """Take `size` bytes, or as many as come, into one allocation of that size.

        ``BytesIO`` hands its buffer out without a copy: the peak is the body itself (benchmark
        ``dl_preload``).  The pages of the buffer are touched only as data arrive.

        :raises ProtocolError: there is not so much memory.
        """
        try:
            target = io.BytesIO(bytes(size))
        except MemoryError:
            raise ProtocolError(f"no memory for a body of {size} bytes; stream it") from None
        with target.getbuffer() as view:
            count = self.readinto(view)
        if count < size:
            target.truncate(count)
        return target.getvalue()

    def read1(self, limit: int) -> bytes:
        """Take what is buffered or, if that is nothing, what one receive brings."""
        if self._start == self._end and limit and not self.fill():
            return b""
        return self.take(limit)

    def readinto1(self, view: memoryview) -> int:
        """Like :meth:`read1`, into `view`; a large `view` is received into directly."""
        if self._start == self._end:
            if len(view) >= len(self._buffer):
                return self._receive_into(view)
            if not view or not self.fill():
                return 0
        count = min(len(view), self._end - self._start)
        view[:count] = self._view[self._start : self._start + count]
        self._consume(self._start + count)
        return count

    def readinto(self, view: memoryview) -> int:
        """Fill `view` whole, or as far as the stream goes; return the number of bytes."""
        done = 0
        while done < len(view):
            # Released at once: the frames of an error would keep the buffer exported.
            with view[done:] as rest:
                count = self.readinto1(rest)
            if not count:
                break
            done += count
        return done

    def peek(self) -> memoryview:
        """Return what is buffered without taking it; valid until the next call."""
        return self._view[self._start : self._end]

    def window(self) -> tuple[bytearray, memoryview, int, int]:
        """Return the buffer, a view of it, and where in it what is buffered starts and ends.

        Not to be changed; valid until the next call.
        """
        return self._buffer, self._view, self._start, self._end

    def skip(self, count: int) -> None:
        """Drop `count` buffered bytes."""
        self._consume(min(self._end, self._start + count))


def _let_go(error: BaseException) -> None:
    """Drop the frames of an error that goes no further: they hold parts of our caller's buffer,
    which could not be resized until the garbage collector had found them."""
    error.__traceback__ = None
