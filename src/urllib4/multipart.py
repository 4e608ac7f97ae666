"""``multipart/form-data`` bodies (RFC 7578) that are made while they are sent.

:func:`~urllib4.filepost.encode_multipart_formdata` builds the same bytes in memory.  Here files
are read when their turn comes, so a form of any size takes the memory of one block.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from typing import Any

from ._file_body import BLOCK_BYTES, FileRun, StreamedBody, file_runs, grown, is_regular, shrunk
from .filepost import (
    _TYPE_FIELDS,
    _boundary_in_data,
    _checked_boundary,
    _content,
    _content_type,
    _refuse_boundary,
    _utf8,
    choose_boundary,
    iter_field_objects,
)

__all__ = ["MultipartEncoder"]

# Data up to this size in memory are joined with what stands before and behind, bytes.
_JOIN_BYTES = 64 * 1024


class MultipartEncoder(StreamedBody):
    """A multipart body as a binary file that can be read, told its length, and rewound.

    ``request(fields=...)`` makes one by itself when a value is an open file or a path.

    :param fields: as for :func:`~urllib4.filepost.iter_field_objects`.  The data of a field may be
        an open file, sent from where it stands to its end, or the path of one
        (:class:`os.PathLike`), which is opened when its turn comes and closed after it.  A file
        opened as text is read at once, and sent as UTF-8.
    :param boundary: the line between the parts, by default a random one.  If you choose it, all
        data are searched for it.
    :raises InvalidFieldError: a name, filename or header cannot be written, `boundary` is not one,
        or it occurs in the data (of a file: by the read that finds it).
    :raises TypeError: `fields`, a field or its data has a type that cannot be sent.
    :raises OSError: a file cannot be read.

    ``len()`` is the length of the whole body in bytes.  A file that cannot tell its own, such as a
    pipe, makes that a :exc:`TypeError`; the body is sent chunked then.

    Every method that reads raises :exc:`~urllib4.exceptions.BodyChangedError` when a file is not
    as long any more as it was when the encoder was made.

    Not safe to share between threads.

    >>> encoder = MultipartEncoder({"tea": "black"}, boundary="xx")
    >>> encoder.content_type, len(encoder)
    ('multipart/form-data; boundary=xx', 67)

    .. versionadded:: 4.0
    """

    def __init__(self, fields: _TYPE_FIELDS, boundary: str | None = None) -> None:
        self._watches = boundary is not None
        #: The line between the parts, without its two leading dashes.
        self.boundary: str = _checked_boundary(choose_boundary() if boundary is None else boundary)
        #: Value of the Content-Type header that belongs to the body.
        self.content_type: str = _content_type(self.boundary)
        self._parts: list[_Memory | _File] = _joined(self._layout(fields))
        lengths = [part.length for part in self._parts]
        self._length = None if None in lengths else sum(filter(None, lengths))
        self._position = 0
        self._index = 0  # of the part that is read next
        self._offset = 0  # in that part

    def _layout(self, fields: _TYPE_FIELDS) -> Iterator[_Memory | _File]:
        """Yield what the body consists of."""
        delimiter = f"--{self.boundary}".encode("ascii")
        files: set[int] = set()
        for field in iter_field_objects(fields):
            name = field._name
            head = _utf8(field.render_headers(), name, "header")
            data = self._file(field.data, name, files)
            if data is None:
                content = _content(field.data, name)
                data = _Memory(content)
                if self._watches:
                    _refuse_boundary(self.boundary, name, content)
            if self._watches:
                _refuse_boundary(self.boundary, name, head)
            yield _Memory(delimiter + b"\r\n" + head)
            yield data
            yield _Memory(b"\r\n")
        yield _Memory(delimiter + b"--\r\n")

    def _file(self, data: Any, name: Any, files: set[int]) -> _Memory | _File | None:
        """Return the part for `data` if it is a file in binary mode, or the path of one."""
        is_path = isinstance(data, os.PathLike)
        if not is_path and (not callable(getattr(data, "read", None)) or _is_text(data)):
            return None
        if id(data) in files and not is_path:
            return _Memory(b"")  # the first field of the two reads it to its end
        files.add(id(data))
        part = _File(data, name, self.boundary if self._watches else None)
        # Files in /proc say that they are empty.
        return _Memory(_content(data, name)) if part.says_empty else part

    # -- the size --------------------------------------------------------------------------

    def __len__(self) -> int:
        if self._length is None:
            raise TypeError("the length of this body is not known: one of its files cannot tell")
        return self._length

    def __bool__(self) -> bool:
        return True

    def length_left(self) -> int | None:
        """Return the bytes between :meth:`tell` and the end; None if they are not known."""
        return None if self._length is None else self._length - self._position

    # -- reading ---------------------------------------------------------------------------

    def read(self, n: int | None = -1) -> bytes:
        """Read `n` bytes, fewer only at the end; None or a negative number: all that is left."""
        if n is None or n < 0:
            return b"".join(iter(lambda: self.read(BLOCK_BYTES), b""))
        blocks = []
        while n > 0 and (part := self._part()) is not None:
            block = part.read(self._offset, n)
            self._advance(part, len(block))
            blocks.append(block)
            n -= len(block)
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)

    def readinto(self, buffer: Any) -> int:
        """Read into a writable `buffer`; return the number of bytes, fewer only at the end."""
        done = 0
        with memoryview(buffer) as given, given.cast("B") as view:
            while done < len(view) and (part := self._part()) is not None:
                with view[done:] as rest:
                    count = part.readinto(self._offset, rest)
                self._advance(part, count)
                done += count
        return done

    def __iter__(self) -> Iterator[bytes]:
        """Yield what is left in blocks."""
        return iter(lambda: self.read(BLOCK_BYTES), b"")

    def pieces(self, *, views: bool = False, runs: bool = False, most: int = 0) -> Iterator[Any]:
        """Yield what is left, for the connection."""
        try:
            if runs and not self._watches:
                yield from self._runs(most)
            elif views:
                # One buffer for all blocks: see `_file_body`.
                with memoryview(bytearray(BLOCK_BYTES)) as view:
                    while count := self.readinto(view):
                        with view[:count] as block:
                            yield block
            else:
                yield from self
        finally:
            self._leave()

    def _runs(self, most: int) -> Iterator[Any]:
        while (part := self._part()) is not None:
            for piece in part.runs(self._offset, most):
                yield piece
                self._advance(part, len(piece))
            if part is self._part() and (block := part.read(self._offset, BLOCK_BYTES)):
                self._advance(part, len(block))
                yield block

    def _part(self) -> _Memory | _File | None:
        """Return the part that has the next byte, None at the end."""
        while self._index < len(self._parts):
            part = self._parts[self._index]
            if not part.ended(self._offset):
                return part
            self._index += 1
            self._offset = 0
        return None

    def _advance(self, part: _Memory | _File, count: int) -> None:
        self._offset += count
        self._position += count
        if part.ended(self._offset):
            part.finish(self._offset)

    def _leave(self) -> None:
        """Let the file in progress, if any, stand where we stopped."""
        if self._index < len(self._parts):
            self._parts[self._index].leave(self._offset)

    # -- going back ------------------------------------------------------------------------

    def seekable(self) -> bool:
        """Tell whether all files can go back."""
        return all(part.seekable for part in self._parts)

    def tell(self) -> int:
        """Return how many bytes stand before the next one."""
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a position of the body, as files do; return it.

        :raises io.UnsupportedOperation: a file on the way cannot go there.
        :raises ValueError: it is not in the body.
        """
        position = self._target(offset, whence)
        if position == self._position:
            return position
        index, left = 0, position
        while index < len(self._parts) and left:
            length = self._parts[index].length
            if length is None:
                raise io.UnsupportedOperation("a file of unknown length is in the way")
            if left < length:
                break
            left -= length
            index += 1
        if any(part.is_used and not part.seekable for part in self._parts[index:]):
            raise io.UnsupportedOperation("a file that was read already cannot go back")
        self.close()
        for part in self._parts[index:]:
            part.restart()
        self._index, self._offset, self._position = index, left, position
        return position

    def _target(self, offset: int, whence: int) -> int:
        if whence == 1:
            offset += self._position
        elif whence == 2:
            if self._length is None:
                raise io.UnsupportedOperation("the length of this body is not known")
            offset += self._length
        elif whence != 0:
            raise ValueError(f"whence is 0, 1 or 2, not {whence!r}")
        if offset < 0 or (self._length is not None and offset > self._length):
            raise ValueError(f"no position of this body: {offset}")
        return offset

    def close(self) -> None:
        """Close the files that were opened from paths; safe to call twice.

        Your own files stay open.  Reading on opens the paths again.
        """
        for part in self._parts:
            part.close()

    def __enter__(self) -> MultipartEncoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Memory:
    """Bytes of the body that are in memory."""

    seekable = True
    is_used = False

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.length: int | None = len(data)

    def ended(self, offset: int) -> bool:
        return offset == self.length

    def read(self, offset: int, n: int) -> bytes:
        return self.data[offset : offset + n]

    def readinto(self, offset: int, view: memoryview) -> int:
        data = self.data[offset : offset + len(view)]
        view[: len(data)] = data
        return len(data)

    def runs(self, offset: int, most: int) -> Iterator[Any]:
        return iter(lambda: b"", b"")

    def finish(self, offset: int) -> None:
        pass

    def leave(self, offset: int) -> None:
        pass

    def restart(self) -> None:
        pass

    def close(self) -> None:
        pass


class _File:
    """The bytes of one file, from where it stood, each read from where it is needed.

    :param source: a file or a path.
    :param name: of the field, for errors.
    :param boundary: what the data must not hold; None: nobody looks.
    """

    def __init__(self, source: Any, name: Any, boundary: str | None) -> None:
        self._name = name
        self._boundary = boundary
        self._path: Any = source if isinstance(source, os.PathLike) else None
        self._file: Any = None if self._path is not None else source
        self._start = 0
        self._at = 0  # offset at which the file stands; -1: who knows where
        self._tail = b"\n"  # what stands before, as far as a boundary could start in it
        self._has_ended = False
        self._regular = False
        self.says_empty = False
        self.is_used = False
        self.seekable = True
        self.length: int | None = None
        if self._path is not None:
            self._measure_path()
        else:
            self._measure(source)

    def _measure_path(self) -> None:
        mode = os.stat(self._path).st_mode
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode):  # to open a pipe would wait for its writer
            with open(self._path, "rb") as file:  # now, so that an error comes before the request
                self.length = os.fstat(file.fileno()).st_size
            self.says_empty = not self.length
        else:
            self.seekable = False

    def _measure(self, file: Any) -> None:
        try:
            self._start = file.tell()
            # Python 3.10 has temporary files that seek but do not say so.
            self.seekable = bool(getattr(file, "seekable", lambda: callable(file.seek))())
        except (AttributeError, OSError):
            self.seekable = False
        if not self.seekable:
            return
        self._at = -1  # others may use the file before its turn comes
        if is_regular(file):
            self._regular = True
            size = os.fstat(file.fileno()).st_size
            self.says_empty = not size
            self.length = max(size - self._start, 0)
            return
        try:
            self.length = max(_end_of(file, self._start) - self._start, 0)
        except (OSError, ValueError, TypeError, AttributeError):
            self.length = None  # a gzip.GzipFile, say; it can go back all the same

    def _what(self) -> str:
        return f"the file of field {self._name!r}"

    def ended(self, offset: int) -> bool:
        return self._has_ended or offset == self.length

    def _ready(self, offset: int) -> Any:
        """Return the file, open and standing at `offset`."""
        self.is_used = True
        if self._file is None:
            self._file = open(self._path, "rb")  # noqa: SIM115  # closed by finish() and close()
            self._regular = is_regular(self._file)
            self._at = 0
        if self._at != offset:
            self._go(offset)
        return self._file

    def _go(self, offset: int) -> None:
        self._file.seek(self._start + offset)
        self._at = offset
        self._tail = b"\n" if offset == 0 else b""
        if offset and self._boundary is not None:
            known = min(offset, len(self._boundary) + 3)
            self._file.seek(self._start + offset - known)
            self._tail = self._file.read(known)

    def read(self, offset: int, n: int) -> bytes:
        """Read at most `n` bytes; ``b""`` at the end of a file of unknown length."""
        file = self._ready(offset)
        block = file.read(n if self.length is None else min(n, self.length - offset))
        if not isinstance(block, bytes):
            if not isinstance(block, (bytearray, memoryview)):
                # None, say, is what a file returns that has no data *yet*.
                raise TypeError(f"read() of {self._what()} returned {type(block).__name__}")
            block = bytes(block)
        self._took(offset, len(block), block)
        return block

    def readinto(self, offset: int, view: memoryview) -> int:
        """Read into `view` as :meth:`read` does."""
        file = self._ready(offset)
        if not self._regular or self._boundary is not None:
            block = self.read(offset, len(view))
            view[: len(block)] = block
            return len(block)
        wanted = len(view) if self.length is None else min(len(view), self.length - offset)
        with view[:wanted] as part:
            count: int = file.readinto(part)
        self._took(offset, count, b"")
        return count

    def _took(self, offset: int, count: int, block: bytes) -> None:
        self._at = offset + count
        if not count:
            if self.length is not None:
                raise shrunk(self._what(), self.length - offset)
            self._has_ended = True
        if self._boundary is not None:
            searched = self._tail + block
            pattern = f"\n--{self._boundary}".encode("ascii")
            if pattern in searched:
                raise _boundary_in_data(self._boundary, self._name)
            self._tail = searched[1 - len(pattern) :]

    def runs(self, offset: int, most: int) -> Iterator[FileRun]:
        """Yield runs up to the end, as far as there are any."""
        if self.length is not None:
            file = self._ready(offset)
            if self._regular:
                end = self._start + self.length
                yield from file_runs(file.fileno(), self._start + offset, end, most=most)

    def finish(self, offset: int) -> None:
        """Check that nothing follows, and let go of the file."""
        file = self._file
        self._has_ended = True
        if file is not None and self.length is not None and self.is_used:
            end = self._start + self.length
            size = os.fstat(file.fileno()).st_size if self._regular else _end_of(file, end)
            if size > end:
                raise grown(self._what())
        self.leave(offset)
        self.close()

    def leave(self, offset: int) -> None:
        """Let the file of the caller stand where it would after reading that far."""
        file = self._file
        if self.is_used and file is not None and self._at != offset:
            if not getattr(file, "closed", False):
                self._go(offset)

    def restart(self) -> None:
        self._has_ended = False

    def close(self) -> None:
        if self._path is not None and self._file is not None:
            self._file.close()
            self._file = None


def _end_of(file: Any, back: int) -> int:
    """Return where `file` ends; it stands at `back` afterwards."""
    file.seek(0, os.SEEK_END)
    try:
        return int(file.tell())
    finally:
        file.seek(back)


def _is_text(file: Any) -> bool:
    """Tell whether `file` gives str."""
    if isinstance(file, io.TextIOBase):
        return True
    if isinstance(file, io.IOBase):
        return False
    try:
        return not isinstance(file.read(0), bytes)
    except TypeError:  # its read() takes no number: it gives all or nothing
        return True


def _joined(parts: Iterator[_Memory | _File]) -> list[_Memory | _File]:
    """Join small neighbours in memory: fewer pieces are sent."""
    result: list[_Memory | _File] = []
    small: list[bytes] = []
    for part in parts:
        if isinstance(part, _Memory) and len(part.data) <= _JOIN_BYTES:
            small.append(part.data)
            continue
        if small:
            result.append(_Memory(b"".join(small)))
            small = []
        result.append(part)
    result.append(_Memory(b"".join(small)))  # the last delimiter, at least
    return result
