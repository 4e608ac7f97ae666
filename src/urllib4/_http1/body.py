"""Bodies of HTTP/1.1 messages, read from a buffered stream (RFC 9112, sections 6 and 7).

Three ways to end, one interface: :class:`LengthBody`, :class:`ChunkedBody` and
:class:`UntilCloseBody`.  ``read(n)`` returns `n` bytes unless the body ends before, ``read1``
what is at hand or one receive brings; ``b""`` (or 0) means the end.  ``complete`` becomes true
when the framing says so and by nothing else; a body that ended early is never complete, and its
connection never used again.
"""

from __future__ import annotations

import functools
import io
import re
import struct
import sys
from typing import Any

from .._collections import HTTPHeaderDict
from ..exceptions import IncompleteRead, InvalidChunkLength, ProtocolError
from .framing import Framing
from .head import MAX_HEAD_BYTES, MAX_HEAD_LINES, parse_fields
from .stream import BUFFER_BYTES, ByteStream

#: Longest chunk-size line and trailer line, bytes, extensions included.  Without a bound a
#: server could fill our memory without ever starting a chunk.
MAX_LINE_BYTES = 65536
#: Bodies up to this declared length are read into one buffer of that length; above, memory
#: grows with what arrives instead of with what was announced.
MAX_BUFFER_AHEAD = 1 << 30
_PIECE = 1 << 20
# Most chunks that are taken at once: more would not be faster (benchmark ``chunks``).
_MAX_RUN = 256
# Chunks from this size on are copied one by one, bytes (benchmark ``pieces``).
_SMALL_CHUNK = 4096
# 16 hex digits hold every length that exists; the bound keeps int() cheap.
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n\0]*)?\r?\n")


class LengthBody:
    """A body whose length is known beforehand; received straight into its destination."""

    __slots__ = ("_done", "_stream", "complete", "left")

    def __init__(self, stream: ByteStream, length: int) -> None:
        self._stream = stream
        self._done = 0
        self.left: int | None = length
        self.complete = length == 0

    def _took(self, count: int) -> None:
        assert self.left is not None
        self._done += count
        self.left -= count
        if not self.left:
            self.complete = True

    def take_whole(self) -> bytes | None:
        """Take all of it if nothing has to be received for that, and nothing was read before."""
        left, stream = self.left, self._stream
        start = stream._start
        if left is None or self._done or left > stream._end - start:
            return None
        self._done = left
        self.left = 0
        self.complete = True
        data = bytes(stream._view[start : start + left])
        stream._consume(start + left)
        return data

    def read(self, amt: int) -> bytes:
        """Read `amt` bytes; fewer only at the end."""
        assert self.left is not None
        wanted = min(amt, self.left)
        stream = self._stream
        if wanted <= stream.buffered:
            data = stream.take(wanted)
        else:
            data = _read_into_bytes(stream, min(wanted, MAX_BUFFER_AHEAD))
        self._took(len(data))
        return data

    def read_all(self) -> bytes:
        """Read all that is left."""
        assert self.left is not None
        data = self.read(self.left)
        if self.left and len(data) < MAX_BUFFER_AHEAD:
            raise self.incomplete()
        if self.left:
            data += b"".join(iter(lambda: self.read(_PIECE), b""))
            if self.left:
                raise self.incomplete()
        return data

    def incomplete(self) -> IncompleteRead:
        """Return the error for a body that ended before its length."""
        assert self.left is not None
        return IncompleteRead(self._done, self.left)

    def read1(self, amt: int) -> bytes:
        """Read what is at hand, or what one receive brings; -1: any number of bytes."""
        assert self.left is not None
        data = self._stream.read1(min(amt, self.left) if amt >= 0 else self.left)
        self._took(len(data))
        return data

    def readinto(self, view: memoryview) -> int:
        """Fill `view`; fewer bytes only at the end."""
        assert self.left is not None
        count = self._stream.readinto(view[: self.left] if len(view) > self.left else view)
        self._took(count)
        return count

    def readline(self, limit: int) -> bytes:
        """Read up to a newline, or to the limit or the end."""
        assert self.left is not None
        line = self._stream.read_line(self.left if limit < 0 else min(limit, self.left))
        self._took(len(line))
        return line


class UntilCloseBody:
    """A body that lasts until the server closes (RFC 9112, 6.3, rule 8).

    :raises ProtocolError: (by the read that meets the end) TLS was not told that this is the end.
    """

    __slots__ = ("_stream", "complete")

    left: int | None = None

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self.complete = False

    def _end(self) -> None:
        if self._stream.ragged:
            raise ProtocolError(
                "TLS connection ended without close_notify: the body may have been cut off "
                "(RFC 9112, 9.8)"
            )
        self.complete = True

    def read(self, amt: int) -> bytes:
        """Read `amt` bytes; fewer only at the end."""
        data = _read_pieces(self._stream, amt)
        if len(data) < amt:
            self._end()
        return data

    def read_all(self) -> bytes:
        """Read all that is left."""
        data = b"".join(iter(lambda: self._stream.read1(_PIECE), b""))
        self._end()
        return data

    def read1(self, amt: int) -> bytes:
        """Read what is at hand, or what one receive brings; -1: any number of bytes."""
        data = self._stream.read1(amt)
        if not data and amt:
            self._end()
        return data

    def readinto(self, view: memoryview) -> int:
        """Fill `view`; fewer bytes only at the end."""
        count = self._stream.readinto(view)
        if count < len(view):
            self._end()
        return count

    def readline(self, limit: int) -> bytes:
        """Read up to a newline, or to the limit or the end."""
        line = self._stream.read_line(sys.maxsize if limit < 0 else limit)
        if not line.endswith(b"\n") and len(line) != limit:
            self._end()
        return line


class ChunkedBody:
    """One chunked body (RFC 9112, 7.1).

    The stream stands at the first chunk-size line; when ``complete``, behind the trailer
    section, so that the connection can carry the next exchange.

    :ivar trailers: the fields behind the last chunk, None until then and when there were none.
    :raises InvalidChunkLength: (by each read) a size line is not hexadecimal.
    :raises ProtocolError: (by each read) a line too long, no CRLF behind a chunk, or an end
        before the last chunk.
    """

    __slots__ = (
        "_in_chunk", "_line", "_most", "_size", "_stream", "chunk_left", "complete", "done",
        "trailers",
    )  # fmt: skip

    left: int | None = None
    length_remaining: int | None = None

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._in_chunk = False
        # The last size line, and the size it says; how many chunks a run may have next.
        self._line = b""
        self._size = 0
        self._most = _MAX_RUN
        #: Bytes of the present chunk that were not read; 0 between chunks.
        self.chunk_left = 0
        #: Content bytes read so far.
        self.done = 0
        self.complete = False
        self.trailers: HTTPHeaderDict | None = None

    def tell(self) -> int:
        """Return the number of content bytes read so far."""
        return self.done

    def next_chunk(self) -> int:
        """Go to the next chunk unless inside one; return the bytes left in it, 0 at the end."""
        if self.chunk_left or self.complete:
            return self.chunk_left
        self._end_chunk()
        size = parse_chunk_size(self._stream.read_line(MAX_LINE_BYTES + 1), self)
        if size:
            self.chunk_left = size
            self._in_chunk = True
        else:
            self.trailers = read_trailers(self._stream)
            self.complete = True
        return size

    def _end_chunk(self) -> None:
        if self._in_chunk:
            line = self._stream.read_line(2)
            if line not in (b"\r\n", b"\n"):
                raise ProtocolError(
                    "Response ended prematurely"
                    if len(line) < 2 and not line.strip(b"\r")
                    else "no CRLF behind the data of a chunk"
                )
            self._in_chunk = False

    def _took(self, count: int) -> None:
        if not count:
            raise ProtocolError("Response ended prematurely")
        self.chunk_left -= count
        self.done += count

    def read_chunk(self, amt: int | None) -> bytes:
        """Return the rest of the present chunk, or of the next; at most `amt` bytes of it."""
        left = self.next_chunk()
        if not left:
            return b""
        wanted = left if amt is None or amt > left else amt
        data = _read_pieces(self._stream, wanted)
        self._took(len(data))
        if len(data) < wanted:
            raise ProtocolError("Response ended prematurely")
        return data

    def read(self, amt: int) -> bytes:
        """Read `amt` bytes; fewer only at the end."""
        pieces = []
        while amt > 0:
            data = self._read_some(amt)
            if not data:
                break
            pieces.append(data)
            amt -= len(data)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def read_all(self) -> bytes:
        """Read all that is left."""
        return b"".join(iter(lambda: self._read_some(_PIECE), b""))

    def _read_some(self, amt: int) -> bytes:
        """Read a piece of a chunk, or several chunks, at most `amt` bytes; ``b""`` at the end."""
        if not self.chunk_left and not self.complete:
            self._end_chunk()
            data = self._take_run(amt)
            if data:
                return data
        if self.next_chunk() < BUFFER_BYTES:
            return self.read1(amt)
        return self.read_chunk(amt)

    def _take_run(self, amt: int) -> bytes:
        """Take whole chunks of one size out of the buffer; ``b""`` if the first is not like that.

        Whoever writes small chunks writes many of one size.  All of a run are checked at once,
        each byte of their framing, and cut out at once: a tenth of the time of reading them one
        by one (benchmark ``chunks``).  What is unusual is left to :meth:`next_chunk`.
        """
        buffer, start, end = self._stream.window()
        if not (self._line and buffer.startswith(self._line, start, end)):
            line = bytes(buffer[start : buffer.find(b"\n", start, min(end, start + 32)) + 1])
            match = _CHUNK_SIZE.fullmatch(line)
            if match is None:
                return b""
            self._line, self._size = line, int(match.group(1), 16)
        skipped, size = len(self._line), self._size
        period = skipped + size + 2
        if not size or size > amt or end - start < period:
            return b""
        count = 1
        if size < _SMALL_CHUNK:
            count = self._count_equal(min((end - start) // period, amt // size))
        if count > 1:
            block = bytes(memoryview(buffer)[start : start + count * period])
            data = b"".join(_run_format(skipped, size, count).unpack(block))
        else:
            last = start + period
            if buffer[last - 2 : last] != b"\r\n":
                return b""
            data = bytes(memoryview(buffer)[start + skipped : last - 2])
        self._stream.skip(count * period)
        self.done += len(data)
        return data

    def _count_equal(self, possible: int) -> int:
        """Return how many chunks of the last size stand at the start of the buffer, at least 1.

        :param possible: how many there may be.
        """
        # A power of two, so that there are few formats.
        wanted = 1 << (min(possible, self._most).bit_length() - 1)
        if wanted > 1:
            buffer, start, _ = self._stream.window()
            period = len(self._line) + self._size + 2
            end = start + wanted * period
            for offset, octets in _frame(self._line, period):
                if buffer[start + offset : end : period] != octets * wanted:
                    self._most = 1  # to try costs as much as a run: they grow from one chunk again
                    return 1
        self._most = min(2 * wanted, _MAX_RUN)
        return wanted

    def read1(self, amt: int) -> bytes:
        """Read what is at hand, or what one receive brings; -1: any number of bytes."""
        left = self.next_chunk()
        if not left:
            return b""
        data = self._stream.read1(left if amt < 0 else min(amt, left))
        if data or amt:
            self._took(len(data))
        return data

    def readinto(self, view: memoryview) -> int:
        """Fill `view`; fewer bytes only at the end."""
        done = 0
        while done < len(view) and self.next_chunk():
            count = self._stream.readinto1(view[done : done + self.chunk_left])
            self._took(count)
            done += count
        return done

    def readline(self, limit: int) -> bytes:
        """Read up to a newline, or to the limit or the end."""
        pieces = []
        while limit and self.next_chunk():
            wanted = self.chunk_left if limit < 0 else min(limit, self.chunk_left)
            piece = self._stream.read_line(wanted)
            self._took(len(piece))
            pieces.append(piece)
            if piece.endswith(b"\n"):
                break
            if limit > 0:
                limit -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


@functools.lru_cache(maxsize=64)
def _frame(line: bytes, period: int) -> tuple[tuple[int, bytes], ...]:
    """Return each octet of the framing of a chunk, and where it stands."""
    offsets = (*range(len(line)), period - 2, period - 1)
    octets = line + b"\r\n"
    return tuple((offset, octets[i : i + 1]) for i, offset in enumerate(offsets))


@functools.lru_cache(maxsize=64)
def _run_format(skipped: int, size: int, count: int) -> struct.Struct:
    """Return what cuts the data out of `count` chunks."""
    return struct.Struct(f"{skipped}x{size}s2x" * count)


def parse_chunk_size(line: bytes, body: Any) -> int:
    """Return the number in a chunk-size line that was read with its line end.

    Hexadecimal digits only: ``int(x, 16)`` would take ``0x5``, ``+5`` and ``5_0`` too.

    :param body: what the error asks for ``tell()`` and ``length_remaining``.
    :raises ProtocolError: the line is cut off or too long, or not a number (then its second
        argument is an :exc:`InvalidChunkLength`).
    """
    if len(line) > MAX_LINE_BYTES:
        raise ProtocolError("Response chunk size line exceeded maximum allowed length")
    match = _CHUNK_SIZE.fullmatch(line)
    if match is not None:
        return int(match.group(1), 16)
    error = InvalidChunkLength(body, line.split(b";", 1)[0].strip()[:40])
    if not line.endswith(b"\n"):
        raise ProtocolError("Response ended prematurely", error)
    raise ProtocolError(f"Connection broken: {error!r}", error)


def read_trailers(stream: ByteStream) -> HTTPHeaderDict | None:
    """Read the trailer section behind the last chunk (RFC 9112, 7.1.2); None if it is empty.

    :raises ProtocolError: cut off, malformed, or longer than a head may be.
    """
    lines: list[bytes] = []
    size = 0
    while True:
        line = stream.read_line(MAX_LINE_BYTES + 1)
        if line in (b"\r\n", b"\n"):
            break
        size += len(line)
        if len(line) > MAX_LINE_BYTES or size > MAX_HEAD_BYTES or len(lines) >= MAX_HEAD_LINES:
            raise ProtocolError("Response chunk trailer line exceeded maximum allowed length")
        if not line.endswith(b"\n"):
            raise ProtocolError("Response ended prematurely")
        lines.append(line)
    return parse_fields(b"".join(lines) + line) if lines else None


def make_body(stream: ByteStream, framing: Framing) -> LengthBody | ChunkedBody | UntilCloseBody:
    """Return the reader for the body that `framing` describes."""
    if framing.length is not None:
        return LengthBody(stream, framing.length)
    return ChunkedBody(stream) if framing.kind == "chunked" else UntilCloseBody(stream)


def _read_into_bytes(stream: ByteStream, size: int) -> bytes:
    """Read `size` bytes, or as many as come, into one allocation of that size.

    ``BytesIO`` hands its buffer out without a copy: the peak is the body itself (benchmark
    ``dl_preload``).  The pages of the buffer are touched only as data arrive.
    """
    try:
        target = io.BytesIO(bytes(size))
    except MemoryError:
        raise ProtocolError(f"no memory for a body of {size} bytes; stream it") from None
    with target.getbuffer() as view:
        count = stream.readinto(view)
    if count < size:
        target.truncate(count)
    return target.getvalue()


def _read_pieces(stream: ByteStream, amt: int) -> bytes:
    """Read `amt` bytes, or as many as come; memory grows with what arrives."""
    if amt <= stream.buffered:
        return stream.take(amt)
    if amt <= _PIECE:
        return _read_into_bytes(stream, amt)
    pieces = []
    while amt > 0:
        data = stream.read1(min(amt, _PIECE))
        if not data:
            break
        pieces.append(data)
        amt -= len(data)
    return b"".join(pieces)
