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
import itertools
import re
import struct
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from .._collections import HTTPHeaderDict
from ..exceptions import IncompleteRead, InvalidChunkLength, ProtocolError
from .framing import Framing
from .head import MAX_HEAD_BYTES, MAX_HEAD_LINES, parse_fields
from .stream import FIRST_BYTES, MAX_RECEIVED, ByteStream

#: Longest chunk-size line and trailer line, bytes, extensions included.  Without a bound a
#: server could fill our memory without ever starting a chunk.
MAX_LINE_BYTES = 65536
#: Bodies up to this declared length are read into one buffer of that length; above, memory
#: grows with what arrives instead of with what was announced.
MAX_BUFFER_AHEAD = 1 << 30
_PIECE = 1 << 20
# Most chunks that are taken at once: more would not be faster (benchmark ``chunks``).
_MAX_RUN = 256
# Chunks from this size on are taken one by one, bytes (benchmark ``pieces``).
_SMALL_CHUNK = 4096
# What comes in so many parts of the size of the stream's buffer is joined at the end.  A buffer
# that grows is moved, or got from the system page by page, which can take longer than all the rest
# (benchmark ``pieces``); beyond, twice the memory would.
_MAX_PARTS = 64
# 16 hex digits hold every length that exists; the bound keeps int() cheap.
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n\0]*)?\r?\n")


class LengthBody:
    """A body whose length is known beforehand; received straight into its destination."""

    __slots__ = ("_done", "_stream", "complete", "left")

    def __init__(self, stream: ByteStream, length: int) -> None:
        self._stream = stream
        self._done = 0
        self.left = length
        self.complete = length == 0

    def _took(self, count: int) -> None:
        self._done += count
        self.left -= count
        if not self.left:
            self.complete = True

    def take_whole(self, receive: bool) -> bytes | None:
        """Take all of it if nothing was read before; otherwise return None.

        :param receive: wait for what was not received yet, if the body is of moderate size;
            otherwise None is returned then, too.
        :raises IncompleteRead: the stream ended.
        """
        left, stream = self.left, self._stream
        start = stream._start
        if self._done:
            return None
        if left > stream._end - start:
            return self.read_all() if receive and left <= MAX_RECEIVED else None
        self._done = left
        self.left = 0
        self.complete = True
        end = start + left
        data = bytes(stream._view[start:end])
        if end < FIRST_BYTES:
            stream._start = end  # all that is to be done then
        else:
            stream._consume(end)
        return data

    def read(self, amt: int) -> bytes:
        """Read `amt` bytes; fewer only at the end."""
        left = self.left
        if amt >= left:
            amt = left
        data = self._stream.read(amt if amt <= MAX_BUFFER_AHEAD else MAX_BUFFER_AHEAD)
        count = len(data)
        self._done += count
        self.left = left = left - count
        if not left:
            self.complete = True
        return data

    def read_all(self) -> bytes:
        """Read all that is left."""
        data = self.read(self.left)
        if self.left and len(data) < MAX_BUFFER_AHEAD:
            raise self.incomplete()
        if self.left:
            data = join_pieces(itertools.chain((data,), iter(lambda: self.read(_PIECE), b"")))
            if self.left:
                raise self.incomplete()
        return data

    def incomplete(self) -> IncompleteRead:
        """Return the error for a body that ended before its length."""
        return IncompleteRead(self._done, self.left)

    def read1(self, amt: int) -> bytes:
        """Read what is at hand, or what one receive brings; -1: any number of bytes."""
        data = self._stream.read1(min(amt, self.left) if amt >= 0 else self.left)
        self._took(len(data))
        return data

    def readinto(self, view: memoryview) -> int:
        """Fill `view`; fewer bytes only at the end."""
        count = self._stream.readinto(view[: self.left] if len(view) > self.left else view)
        self._took(count)
        return count

    def readline(self, limit: int) -> bytes:
        """Read up to a newline, or to the limit or the end."""
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
        data = join_pieces(iter(lambda: self._stream.read1(_PIECE), b""))
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
        "_in_chunk", "_line", "_mark", "_most", "_size", "_stream", "chunk_left", "complete",
        "done", "trailers",
    )  # fmt: skip

    left: int | None = None
    length_remaining: int | None = None

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._in_chunk = False
        # The last size line, and the size it says; what then stands between two such chunks, if
        # they are not small; how many chunks a run may have next.
        self._line = b""
        self._size = 0
        self._mark = b""
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
        if self.chunk_left or self.complete or self._next_in_buffer():
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

    def _next_in_buffer(self) -> bool:
        """Go to the next chunk if all before its data is in the buffer, and nothing unusual."""
        buffer, _, start, end = self._stream.window()
        at = start
        if self._in_chunk:
            if not buffer.startswith(b"\r\n", at, end):
                return False
            at += 2
        if not self._is_size(buffer, at, end):
            return False
        self._stream.skip(at + len(self._line) - start)
        self.chunk_left = self._size
        self._in_chunk = True
        return True

    def _is_size(self, buffer: bytearray, start: int, end: int) -> bool:
        """Tell whether a size line stands there, whole, short and not the last; remember it."""
        line = self._line
        if line and buffer.startswith(line, start, end):
            return True
        line = bytes(buffer[start : buffer.find(b"\n", start, min(end, start + 32)) + 1])
        match = _CHUNK_SIZE.fullmatch(line)
        size = 0 if match is None else int(match.group(1), 16)
        if size:
            self._line, self._size = line, size
            self._mark = b"\r\n" + line if size >= _SMALL_CHUNK else b""
        return size > 0

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
        if self.complete:
            return b""
        parts: list[bytes] = []
        left = amt
        while True:
            data = b"".join(self._take_buffered(left))
            left -= len(data)
            parts.append(data)
            if not left or not self._receive_more():
                return data if len(parts) == 1 else b"".join(parts)
            if len(parts) == _MAX_PARTS:
                return self._read_long(parts, left)

    def _read_long(self, parts: list[bytes], left: int) -> bytes:
        """Return `parts` and the next `left` bytes, or as many as come."""
        target = io.BytesIO()
        target.writelines(parts)
        parts.clear()
        while left and self._receive_more():
            pieces = self._take_buffered(left)
            left -= sum(map(len, pieces))
            target.writelines(pieces)
        return target.getvalue()

    def read_all(self) -> bytes:
        """Read all that is left."""
        return self.read(sys.maxsize)

    def _receive_more(self) -> bool:
        """Go on to where content is in the buffer, or would be; False at the end of the body.

        :raises ProtocolError: the stream ends here.
        """
        if not self.chunk_left and not self.next_chunk():
            return False
        stream = self._stream
        if stream._start == stream._end and not stream.fill():
            raise ProtocolError("Response ended prematurely")
        return True

    def _take_buffered(self, amt: int) -> list[Any]:
        """Take the content that is in the buffer, at most `amt` bytes, without receiving.

        Stops before what is unusual, which is left to :meth:`next_chunk`.  Much of the time of a
        chunked body would go into a dozen calls for each chunk (benchmark ``pieces``).

        :return: pieces, valid until the stream receives again.
        """
        stream = self._stream
        buffer, view, start, end = stream.window()
        startswith = buffer.startswith
        at, left, taken = start, self.chunk_left, 0
        in_chunk, mark = self._in_chunk, self._mark
        pieces: list[Any] = []
        while taken < amt:
            if not left:
                if mark and in_chunk and startswith(mark, at, end):
                    at += len(mark)
                    left = self._size
                else:
                    begin = at
                    if in_chunk:
                        if not startswith(b"\r\n", at, end):
                            break
                        begin += 2
                    if not self._is_size(buffer, begin, end):
                        break
                    at, left, mark = begin, self._size, self._mark
                    if not mark:
                        count = self._count_equal(buffer, at, end, amt - taken)
                        if count:
                            pieces.append(self._cut_out(view[at:], count))
                            at += count * (len(self._line) + left + 2)
                            taken += count * left
                            left = 0
                            in_chunk = False
                            continue
                    at += len(self._line)
                    in_chunk = True
            count = end - at
            if count > left:
                count = left
            if count > amt - taken:
                count = amt - taken
            if not count:
                break
            pieces.append(view[at : at + count])
            at += count
            left -= count
            taken += count
        self.chunk_left = left
        self._in_chunk = in_chunk
        self.done += taken
        stream._consume(at)
        return pieces

    def _count_equal(self, buffer: bytearray, start: int, end: int, amt: int) -> int:
        """Return how many whole chunks of the last size can be taken at once, 0 if it is just one.

        Whoever writes small chunks writes many of one size.  All of a run are checked at once,
        each byte of their framing, and cut out at once: a tenth of the time of reading them one
        by one (benchmark ``chunks``).
        """
        period = len(self._line) + self._size + 2
        possible = min((end - start) // period, amt // self._size, self._most)
        # A power of two, so that there are few formats.
        wanted = (1 << possible.bit_length()) >> 1
        if wanted > 1:
            stop = start + wanted * period
            for offset, octets in _frame(self._line, period):
                if buffer[start + offset : stop : period] != octets * wanted:
                    self._most = 1  # to try costs as much as a run: they grow from one chunk again
                    return 0
        self._most = min(2 * max(wanted, 1), _MAX_RUN)
        return wanted if wanted > 1 else 0

    def _cut_out(self, view: memoryview, count: int) -> bytes:
        """Return the data of the `count` equal chunks at the start of `view`."""
        skipped, size = len(self._line), self._size
        block = view[: count * (skipped + size + 2)]
        return b"".join(_run_format(skipped, size, count).unpack(block))

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


def join_pieces(pieces: Iterable[bytes]) -> bytes:
    """Return all `pieces` as one.

    Written one by one: ``b"".join`` would hold all of them and the result at the same time, which
    costs twice the memory, and as much time again for getting it from the system.
    """
    target = io.BytesIO()
    target.writelines(pieces)
    return target.getvalue()


def _read_pieces(stream: ByteStream, amt: int) -> bytes:
    """Read `amt` bytes, or as many as come; memory grows with what arrives."""
    if amt <= _PIECE:
        return stream.read(amt)
    return join_pieces(_received_in_turn(stream, amt))


def _received_in_turn(stream: ByteStream, amt: int) -> Iterator[bytes]:
    while amt > 0:
        data = stream.read1(min(amt, _PIECE))
        if not data:
            break
        yield data
        amt -= len(data)
