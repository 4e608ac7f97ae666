"""Request bodies that come out of files, in the pieces that are cheapest to send.

Where the socket is a plain one, the system copies files by itself (``os.sendfile``; benchmark
``up_file``: half the CPU time of reading and writing); else they are read in large blocks into
one buffer.  A file that is not as long as was announced is noticed before its last byte is sent.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from typing import Any

from .exceptions import BodyChangedError

#: What is read from a file at once, bytes (benchmark ``up_file``: 16 KiB cost 1.6 times as much).
BLOCK_BYTES = 256 * 1024

#: What is given to the system at once, bytes; it bounds a chunk of a chunked request, too.
RUN_BYTES = 4 * 1024 * 1024

# Files of these types, and of no subclass, hold what their descriptor holds.
_FILE_TYPES: tuple[type, ...] = (io.BufferedReader, io.BufferedRandom, io.FileIO)


class FileRun:
    """A part of a regular file that is to be sent; what the audit event of sending shows.

    :ivar fd: descriptor of the file.
    :ivar offset: where the part starts.
    :ivar count: its length, bytes.
    """

    __slots__ = ("count", "fd", "offset")

    def __init__(self, fd: int, offset: int, count: int) -> None:
        self.fd = fd
        self.offset = offset
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __bytes__(self) -> bytes:
        return self.read(0, self.count)

    def __repr__(self) -> str:
        return f"<{self.count} bytes of file {self.fd} from {self.offset}>"

    def read(self, start: int, count: int) -> bytes:
        """Read `count` bytes from `start` in the run; the position of the file stays."""
        return os.pread(self.fd, count, self.offset + start)


class StreamedBody:
    """A request body that can say how long it is and give itself in large pieces.

    Belongs to one thread at a time.
    """

    def length_left(self) -> int | None:
        """Return the number of bytes from here to the end; None if that is not known."""
        raise NotImplementedError

    def pieces(self, *, views: bool = False, runs: bool = False, most: int = 0) -> Iterator[Any]:
        """Yield what is left, bytes-like and never empty.

        :param views: a piece may be overwritten when the next is asked for.
        :param runs: a piece may be a :class:`FileRun`.
        :param most: bytes in a run, 0: no bound of the caller's.
        """
        raise NotImplementedError


class FileBody(StreamedBody):
    """An open regular file, from where it stands to its end; see :func:`file_body`."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def length_left(self) -> int | None:
        """Return None: a file is sent chunked, as by urllib3, unless a length is declared."""
        return None

    def pieces(self, *, views: bool = False, runs: bool = False, most: int = 0) -> Iterator[Any]:
        """Yield what is left; the file stands behind what was taken."""
        file = self._file
        if runs:
            fd, offset = file.fileno(), file.tell()
            try:
                for run in file_runs(fd, offset, most=most):
                    yield run
                    offset += run.count
            finally:
                if not file.closed:
                    file.seek(offset)
        # The whole of a short file, or of one in /proc, and what came in the meantime.
        yield from file_blocks(file, views=views)


def file_body(body: Any) -> FileBody | None:
    """Return `body` as one that can be streamed, if it is a regular file, opened to be read."""
    return FileBody(body) if is_regular(body) else None


def is_regular(file: Any) -> bool:
    """Tell whether `file` is an open regular file in binary mode, and nothing but that."""
    if type(file) not in _FILE_TYPES or file.closed or not file.readable():
        return False
    try:
        if type(file) is io.BufferedRandom:
            file.flush()
        return stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except (OSError, ValueError):
        return False


def file_runs(fd: int, offset: int, end: int | None = None, *, most: int = 0) -> Iterator[FileRun]:
    """Yield the runs of a file from `offset` to `end`, or to its end.

    None of a small file: files in ``/proc`` are not as long as they say.
    """
    limit = min(most or RUN_BYTES, RUN_BYTES)
    first = offset
    while end is None or offset < end:
        # Asked each time: what is announced must be there.
        size = os.fstat(fd).st_size
        left = (size if end is None else min(end, size)) - offset
        if left <= 0 or (offset == first and left < BLOCK_BYTES):
            return
        run = FileRun(fd, offset, min(left, limit))
        yield run
        offset += run.count


def file_blocks(file: Any, *, views: bool) -> Iterator[Any]:
    """Yield what is left of `file` in blocks."""
    if not views:
        yield from iter(lambda: file.read(BLOCK_BYTES), b"")
        return
    # One buffer for all blocks: new ones would be new pages each time (benchmark ``up_file``).
    with memoryview(bytearray(BLOCK_BYTES)) as view:
        while count := file.readinto(view):
            with view[:count] as block:
                yield block


def shrunk(name: str, missing: int) -> BodyChangedError:
    """Return the error for a file that ended early."""
    return BodyChangedError(f"{name} became shorter while it was sent: {missing} bytes are missing")


def grown(name: str) -> BodyChangedError:
    """Return the error for a file that has more than was announced."""
    return BodyChangedError(f"{name} became longer while it was sent")
