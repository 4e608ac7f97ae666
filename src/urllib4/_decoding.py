"""Content codings (RFC 9110, section 8.4.1): from bytes as sent to content, in bounded pieces.

Three promises hold for every decoder here:

* with ``max_length``, no more than that comes out of one call, and what is kept inside is bounded
  by what was put in plus one block of the codec, however much it expands to;
* time is linear in what goes in and comes out, for a hostile stream as well;
* a stream that is malformed, or not complete at :meth:`ContentDecoder.flush`, is a
  :exc:`~urllib4.exceptions.DecodeError`, whichever library did the work.

brotli and zstd are optional and loaded when the first body needs them.  So are isal and zlib-ng,
which take the place of zlib where they are installed (benchmark ``gzip``).
"""

from __future__ import annotations

import functools
import importlib
import io
import sys
import warnings
import zlib
from collections import deque
from collections.abc import Iterator
from typing import Any

from .exceptions import DecodeError, DependencyWarning

_MAX_SLICE = 32 * 1024  # bytes given to a codec at once; it copies the part it does not take
_MIN_SLICE = 1024  # the same, at the start of a member: it may be nine bytes long
# Bytes that a codec returns at once where there is no limit.  With more, the memory it works in
# ends up between the parts of what is gathered, which then have to be moved (benchmark ``gzip``).
_MAX_PIECE = 64 * 1024
_GZIP_MAGIC = b"\x1f\x8b\x08"  # RFC 1952, 2.3.1: ID1, ID2, CM
_GZIP_FLAGS = 3  # where FLG stands
_GZIP_RESERVED = 0xE0
_MAX_UNDECIDED = 4096  # bytes of a deflate stream kept until zlib or raw deflate is certain
_ZSTD_WINDOW_LOG = 23  # RFC 9659: a window of at most 8 MiB

_MAX_LINKS = 5
_LINK_SLICE = 16 * 1024  # bytes handed from one decoder of a chain to the next at once
# Bytes that may pass between the decoders of a chain: without these, a chain of empty blocks
# expands a thousandfold at each link, and one call works for hours without any output.
_FREE_LINK_BYTES = 16 * 1024 * 1024
_LINK_BYTES_PER_OUTPUT = 64


class BytesQueueBuffer:
    """A first-in, first-out queue of bytes; cost follows the bytes taken, not those held.

    Not safe to share between threads.
    """

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._taken = 0  # bytes of the first chunk that are gone already
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def put(self, data: bytes) -> None:
        """Append `data`."""
        if data:
            self._chunks.append(data)
            self._size += len(data)

    def get(self, n: int) -> bytes:
        """Take at most `n` bytes, fewer only if there are no more.

        :raises RuntimeError: there are none at all (and `n` is not 0).
        :raises ValueError: `n` is negative.
        """
        if n == 0:
            return b""
        if n < 0:
            raise ValueError(f"n must be 0 or more, not {n}")
        if not self._size:
            raise RuntimeError("buffer is empty")
        piece = self._get_piece(n)
        if len(piece) == n or not self._size:
            return piece
        joined = io.BytesIO()  # frees each chunk when it is copied, which b"".join() would not
        left = n - joined.write(piece)
        while left and self._size:
            left -= joined.write(self._get_piece(left))
        return joined.getvalue()

    def get_all(self) -> bytes:
        """Take everything; ``b""`` if there is nothing."""
        return self.get(self._size)

    def get_line(self, n: int) -> bytes:
        """Take up to and including the first newline, at most `n` bytes (negative: no limit).

        Only the first of the chunks that were put is looked at, so that a long line costs no
        more than its length: without a newline at its end, the result is a part of a line.

        :raises RuntimeError: the buffer is empty.
        """
        if not self._size:
            raise RuntimeError("buffer is empty")
        chunk, start = self._chunks[0], self._taken
        length = (chunk.find(b"\n", start) + 1 or len(chunk)) - start
        return self._get_piece(length if n < 0 else min(length, n))

    def _get_piece(self, n: int) -> bytes:
        """Take at most `n` bytes of the first chunk."""
        chunk, start = self._chunks[0], self._taken
        if len(chunk) - start <= n:
            self._chunks.popleft()
            self._taken = 0
            piece = chunk[start:] if start else chunk
        else:
            piece = chunk[start : start + n]
            self._taken += n
        self._size -= len(piece)
        return piece


class _Input:
    """Bytes that wait to be decoded.  The end of what was taken last can be given back."""

    __slots__ = ("_chunks", "_position")

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._position = 0  # in the first chunk, which stays until the next take()

    def __bool__(self) -> bool:
        return len(self._chunks) > 1 or (
            bool(self._chunks) and self._position < len(self._chunks[0])
        )

    def put(self, data: Any) -> None:
        if data:
            # A buffer that the caller may change later must be copied.
            self._chunks.append(data if isinstance(data, bytes) else bytes(data))

    def take(self, n: int) -> bytes:
        """Take up to `n` bytes; there must be some."""
        if self._position == len(self._chunks[0]):
            self._chunks.popleft()
            self._position = 0
        chunk, start = self._chunks[0], self._position
        piece = chunk if not start and len(chunk) <= n else chunk[start : start + n]
        self._position += len(piece)
        return piece

    def give_back(self, count: int) -> None:
        """Undo the last `count` bytes of the last take()."""
        self._position -= count

    def put_first(self, data: bytes) -> None:
        if self._position:
            self._chunks[0] = self._chunks[0][self._position :]
            self._position = 0
            if not self._chunks[0]:
                self._chunks.popleft()
        self._chunks.appendleft(data)

    def clear(self) -> None:
        self._chunks.clear()
        self._position = 0


class ContentDecoder:
    """What every decoder can do.

    Feed the body to :meth:`decompress` as it comes in, call it with ``b""`` while
    :attr:`has_unconsumed_tail` is True, and :meth:`flush` once at the end of the body.

    A decoder belongs to one body; it is not safe to share between threads.
    """

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Take `data` and return content.

        :param max_length: the most bytes to return; negative means all there is.  What does not
            fit is returned by later calls.
        :raises DecodeError: the data is malformed.
        """
        raise NotImplementedError

    @property
    def has_unconsumed_tail(self) -> bool:
        """True if ``decompress(b"")`` may return more content, without new data."""
        raise NotImplementedError

    @property
    def finished(self) -> bool:
        """True if the stream has come to its own end.  A decoder that cannot tell says True."""
        return True

    def flush(self) -> bytes:
        """Return the rest of the content, of whatever size, at the end of the body.

        :raises DecodeError: the body ended before the encoded stream did.  An empty body is no
            error: servers name a coding for it as well.
        """
        raise NotImplementedError


class _StreamDecoder(ContentDecoder):
    """The loop that all codecs share; a subclass decodes one slice."""

    _coding: str
    _errors: tuple[type[BaseException], ...] = (zlib.error, EOFError, MemoryError)

    def __init__(self) -> None:
        self._input = _Input()
        self._surplus = BytesQueueBuffer()  # content beyond max_length, of codecs that overshoot
        self._more = False  # the codec may return more content without more input
        self._ignoring = False  # whatever comes now is not part of the stream
        self._fed = False
        self._slice = _MAX_SLICE

    def _decode(self, piece: bytes, limit: int) -> bytes:
        """Decode `piece` to about `limit` bytes at most; set ``_more``."""
        raise NotImplementedError

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        if data:
            self._fed = True
            if not self._ignoring:
                self._input.put(data)
        pieces = self._pieces(max_length)
        content = next(pieces, b"")
        more = next(pieces, None)
        if more is None:
            return content
        if max_length >= 0:
            return b"".join((content, more, *pieces))
        # Written one by one, each freed before the next: all of them beside the result would be
        # twice the memory, and to get that from the system anew for each body takes as long as to
        # decode it (benchmark ``gzip``).
        target = io.BytesIO()
        target.write(content)
        target.write(more)
        del content, more
        target.writelines(pieces)
        return target.getvalue()

    def _pieces(self, left: int) -> Iterator[bytes]:
        """Yield content, `left` bytes at most unless that is negative."""
        if self._surplus and left:
            content = self._surplus.get(left if left > 0 else len(self._surplus))
            left = self._left(left, content)
            yield content
        while left and (self._more or self._input):
            piece = b"" if self._more else self._input.take(self._slice)
            try:
                content = self._decode(piece, left if left > 0 else _MAX_PIECE)
            except self._errors as error:
                raise DecodeError(f"malformed {self._coding} content: {error}") from error
            if content:
                if 0 < left < len(content):
                    self._surplus.put(content[left:])
                    content = content[:left]
                left = self._left(left, content)
                yield content
                del content
            elif self._more and not piece:
                raise DecodeError(f"malformed {self._coding} content: the decoder is stuck")

    @staticmethod
    def _left(left: int, content: bytes) -> int:
        return left - len(content) if left > 0 else left

    @property
    def has_unconsumed_tail(self) -> bool:
        return self._more or bool(self._surplus) or bool(self._input)

    def flush(self) -> bytes:
        content = self.decompress(b"")
        if self._fed and not self.finished:
            raise DecodeError(f"the body ended before its {self._coding} stream did")
        return content

    def _ignore_the_rest(self) -> None:
        self._ignoring = True
        self._input.clear()

    def _next_slice(self, *, member_ended: bool) -> None:
        """Choose the size of the next slice.

        A codec copies what stands behind the end of a member, so a long slice full of tiny
        members would cost the square of its length.
        """
        self._slice = _MIN_SLICE if member_ended else min(2 * self._slice, _MAX_SLICE)

    def _inflate(self, codec: zlib._Decompress, piece: bytes, limit: int) -> bytes:
        """Run zlib."""
        content = codec.decompress(piece, limit)
        if codec.eof:
            self._input.give_back(len(codec.unused_data))
            self._more = False
        else:
            self._input.give_back(len(codec.unconsumed_tail))
            self._more = len(content) == limit and not codec.unconsumed_tail
        return content


class DeflateDecoder(_StreamDecoder):
    """``deflate``: the zlib format (RFC 1950), or raw deflate (RFC 1951), which some servers send.

    Bytes after the end of the stream are ignored.
    """

    _coding = "deflate"

    def __init__(self) -> None:
        super().__init__()
        self._module = _zlib_for_deflate()
        self._errors = (self._module.error, *_StreamDecoder._errors)
        self._codec = self._module.decompressobj()
        # What zlib has taken so far without any output, or None once the format is certain.
        self._undecided: bytes | None = b""

    @property
    def finished(self) -> bool:
        """Whether the end of the encoded stream was seen."""
        return bool(self._codec.eof)

    def _decode(self, piece: bytes, limit: int) -> bytes:
        if self._undecided is not None:
            self._undecided += piece
        try:
            content = self._inflate(self._codec, piece, limit)
        except self._module.error:
            if self._undecided is None:
                raise
            self._input.put_first(self._undecided)
            self._undecided = None
            self._codec = self._module.decompressobj(-zlib.MAX_WBITS)
            return b""
        if content or self._codec.eof or len(self._undecided or b"") > _MAX_UNDECIDED:
            self._undecided = None
        if self._codec.eof:
            self._ignore_the_rest()
        return content


class GzipDecoderState:
    """Where a :class:`GzipDecoder` stands."""

    #: No member is complete yet.
    FIRST_MEMBER = 0
    #: At least one member is complete.
    OTHER_MEMBERS = 1
    #: What follows the last member is no member.
    SWALLOW_DATA = 2


class GzipDecoder(_StreamDecoder):
    """``gzip`` (RFC 1952): one or more members; what follows them and is none is ignored."""

    _coding = "gzip"

    def __init__(self) -> None:
        super().__init__()
        self._state = GzipDecoderState.FIRST_MEMBER
        self._module = _zlib_for_gzip()
        self._errors = (self._module.error, *_StreamDecoder._errors)
        self._codec: zlib._Decompress | None = self._new_member()
        self._magic = b""  # the first bytes of what may be another member
        self._taken = 0  # bytes of the present member, exact up to its flags

    @property
    def finished(self) -> bool:
        """Whether the end of the encoded stream was seen."""
        return self._codec is None and not self._magic

    def _decode(self, piece: bytes, limit: int) -> bytes:
        if self._codec is None:
            self._begin_member(piece)
            return b""
        content = self._inflate(self._codec, piece, limit)
        if self._taken <= _GZIP_FLAGS:
            self._check_flags(piece)
        self._next_slice(member_ended=self._codec.eof)
        if self._codec.eof:
            self._codec = None
            self._state = GzipDecoderState.OTHER_MEMBERS
        return content

    def _check_flags(self, piece: bytes) -> None:
        """Refuse a member with unknown parts in its header (RFC 1952, 2.3.1.2), as not all do."""
        at = _GZIP_FLAGS - self._taken
        if at < len(piece) and piece[at] & _GZIP_RESERVED:
            raise DecodeError("malformed gzip content: reserved flags are set")
        self._taken += len(piece)

    def _new_member(self) -> zlib._Decompress:
        codec: zlib._Decompress = self._module.decompressobj(16 + zlib.MAX_WBITS)
        return codec

    def _begin_member(self, piece: bytes) -> None:
        """Look at the first bytes behind a complete member."""
        missing = len(_GZIP_MAGIC) - len(self._magic)
        self._magic += piece[:missing]
        self._input.give_back(max(len(piece) - missing, 0))
        if not _GZIP_MAGIC.startswith(self._magic):
            self._magic = b""
            self._state = GzipDecoderState.SWALLOW_DATA
            self._ignore_the_rest()
        elif self._magic == _GZIP_MAGIC:
            self._codec = self._new_member()
            self._codec.decompress(self._magic)
            self._taken = len(self._magic)
            self._magic = b""


class BrotliDecoder(_StreamDecoder):
    """``br`` (RFC 7932), by the package brotli or brotlicffi.

    :raises ImportError: neither is installed.

    Below version 1.2.0 their output cannot be bounded: a DependencyWarning.
    """

    _coding = "br"

    def __init__(self) -> None:
        super().__init__()
        module = _brotli()
        self._codec: Any = module.Decompressor()
        # Very old packages call it decompress().
        self._process = getattr(self._codec, "process", None) or self._codec.decompress
        self._errors = (module.error, *_StreamDecoder._errors)
        self._bounded = _brotli_is_bounded()
        if not self._bounded:
            warnings.warn(
                "brotli content is decoded without a limit on memory. Install brotli>=1.2.0 or "
                "brotlicffi>=1.2.0.0.",
                DependencyWarning,
                stacklevel=2,
            )

    @property
    def finished(self) -> bool:
        """Whether the end of the encoded stream was seen."""
        is_finished = getattr(self._codec, "is_finished", None)
        return is_finished is None or bool(is_finished())

    def _decode(self, piece: bytes, limit: int) -> bytes:
        if not self._bounded:
            content: bytes = self._process(piece)
            return content
        if piece and self.finished:
            raise DecodeError("malformed br content: bytes after the end of the stream")
        content = self._process(piece, output_buffer_limit=limit)
        # It can take more data while it holds content, too, so asking for that is not enough.
        self._more = not self.finished and (bool(content) or not self._codec.can_accept_more_data())
        return content


class ZstdDecoder(_StreamDecoder):
    """``zstd`` (RFC 8878), by ``compression.zstd`` (Python 3.14) or backports.zstd.

    One or more frames, skippable ones among them.  A frame with a window above 8 MiB is refused
    (RFC 9659).

    :raises ImportError: neither is there.
    """

    _coding = "zstd"

    def __init__(self) -> None:
        super().__init__()
        module = _zstd()
        self._options = {module.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
        self._new_codec = module.ZstdDecompressor
        self._codec: Any = None  # a frame in progress
        self._frames = 0
        self._errors = (module.ZstdError, *_StreamDecoder._errors)

    @property
    def finished(self) -> bool:
        """Whether the end of the encoded stream was seen."""
        return self._codec is None and self._frames > 0

    def _decode(self, piece: bytes, limit: int) -> bytes:
        if self._codec is None:
            self._codec = self._new_codec(options=self._options)
        codec = self._codec
        content: bytes = codec.decompress(piece, limit)
        self._next_slice(member_ended=codec.eof)
        if codec.eof:
            self._input.give_back(len(codec.unused_data))
            self._more = False
            self._codec = None
            self._frames += 1
        else:
            self._more = not codec.needs_input
        return content


class MultiDecoder(ContentDecoder):
    """Several codings on top of each other, as a Content-Encoding lists them.

    They are undone from the right to the left.  What passes between them is bounded in each step,
    and in total by the content that comes out.

    :param modes: the list, such as ``"deflate, gzip"``; ``identity`` in it does nothing.
    :raises DecodeError: more than :attr:`max_decode_links` codings, or one that is not available.
    """

    #: The most codings accepted.
    max_decode_links = _MAX_LINKS

    def __init__(self, modes: str) -> None:
        names = _split(modes)
        if len(names) > self.max_decode_links:
            raise DecodeError(
                f"Too many content encodings in the chain: {len(names)} > {self.max_decode_links}"
            )
        codings = [name for name in names if name != "identity"]
        if not codings or not set(codings).issubset(available_codings()):
            raise DecodeError(f"cannot decode content encoding {modes!r}")
        # In the order in which the body passes through them.
        self._decoders = [_new_decoder(name) for name in reversed(codings)]
        self._fed = False
        self._link_bytes = 0
        self._output_bytes = 0

    @property
    def has_unconsumed_tail(self) -> bool:
        """Whether a decoder holds input that may give more output."""
        return any(decoder.has_unconsumed_tail for decoder in self._decoders)

    @property
    def finished(self) -> bool:
        """Whether the end of the encoded stream was seen."""
        return all(decoder.finished for decoder in self._decoders)

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Decode `data` through all layers to at most `max_length` bytes (-1: all)."""
        if data:
            self._fed = True
            self._decoders[0].decompress(data, 0)
        left = max_length
        pieces = []
        while left:
            piece = self._pull(len(self._decoders) - 1, left)
            if not piece:
                break
            pieces.append(piece)
            self._output_bytes += len(piece)
            left = left - len(piece) if left > 0 else left
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def flush(self) -> bytes:
        """Return what is left, and check that every layer came to its end."""
        content = self.decompress(b"")
        for decoder in self._decoders:
            decoder.flush()
        if self._fed and not self.finished:
            raise DecodeError("the body ended before its inner encoded stream did")
        return content

    def _pull(self, link: int, limit: int) -> bytes:
        """Return what comes out of one decoder; ``b""`` if none is left anywhere before it."""
        decoder = self._decoders[link]
        while True:
            if decoder.has_unconsumed_tail:
                content = decoder.decompress(b"", limit)
                if content:
                    return content
            if link == 0:
                return b""
            piece = self._pull(link - 1, _LINK_SLICE)
            if not piece:
                return b""
            self._account(len(piece))
            decoder.decompress(piece, 0)

    def _account(self, count: int) -> None:
        self._link_bytes += count
        if self._link_bytes > _FREE_LINK_BYTES + _LINK_BYTES_PER_OUTPUT * self._output_bytes:
            raise DecodeError(
                f"{self._link_bytes} bytes passed between the content encodings for "
                f"{self._output_bytes} bytes of content"
            )


@functools.cache
def available_codings() -> tuple[str, ...]:
    """Return the codings that can be decoded, without loading the optional packages."""
    codings = ["gzip", "x-gzip", "deflate"]
    if _brotli_name():
        codings.append("br")
    if _zstd_name():
        codings.append("zstd")
    return tuple(codings)


def get_decoder(content_encoding: str) -> ContentDecoder | None:
    """Return a new decoder for the value of a Content-Encoding field.

    None if nothing is to be decoded: no coding but ``identity``, or a coding in the list that is
    not available.  The body is then handed out as it is.

    :raises DecodeError: more than five codings.
    """
    names = _split(content_encoding)
    codings = [name for name in names if name != "identity"]
    if not codings or not set(codings).issubset(available_codings()):
        return None
    try:
        return _new_decoder(codings[0]) if len(names) == 1 else MultiDecoder(content_encoding)
    except ImportError:  # installed, but broken
        return None


def _split(content_encoding: str) -> list[str]:
    """Return the lower-cased members of a list (RFC 9110, 5.6.1: empty ones do not count)."""
    members = (member.strip() for member in content_encoding.lower().split(","))
    return [member for member in members if member]


def _new_decoder(name: str) -> ContentDecoder:
    if name == "br":
        return BrotliDecoder()
    if name == "zstd":
        return ZstdDecoder()
    return DeflateDecoder() if name == "deflate" else GzipDecoder()


@functools.cache
def _zlib_for_gzip() -> Any:
    """Return the fastest module that decodes gzip: isal needs 0.4 of zlib's time, zlib-ng 0.55."""
    return _import_first("isal.isal_zlib", "zlib_ng.zlib_ng")


@functools.cache
def _zlib_for_deflate() -> Any:
    """The same for deflate.  isal takes longer to see that a stream is not in the zlib format, and
    what is raw deflate must be known early."""
    return _import_first("zlib_ng.zlib_ng")


def _import_first(*names: str) -> Any:
    for name in names:
        if _is_installed(name.partition(".")[0]):
            try:
                return importlib.import_module(name)
            except ImportError:  # installed, but broken
                continue
    return zlib


def _is_installed(name: str) -> bool:
    if name in sys.modules:
        return sys.modules[name] is not None
    import importlib.util  # where nobody asks what there is, nobody needs it

    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:  # the parent package of a dotted name is missing
        return False


@functools.cache
def _brotli_name() -> str | None:
    return next((name for name in ("brotli", "brotlicffi") if _is_installed(name)), None)


@functools.cache
def _zstd_name() -> str | None:
    if sys.version_info >= (3, 14) and _is_installed("_zstd"):
        return "compression.zstd"
    return "backports.zstd" if _is_installed("backports.zstd") else None


@functools.cache
def _brotli() -> Any:
    name = _brotli_name()
    if name is None:
        raise ImportError("brotli content needs the package brotli (urllib4[brotli])")
    return importlib.import_module(name)


def load_brotli() -> Any:
    """Return the module that decodes ``br``, loading it; None where there is none."""
    try:
        return _brotli()
    except ImportError:
        return None


@functools.cache
def _zstd() -> Any:
    name = _zstd_name()
    if name is None:
        raise ImportError("zstd content needs the package backports.zstd (urllib4[zstd])")
    return importlib.import_module(name)


@functools.cache
def _brotli_is_bounded() -> bool:
    try:
        _brotli().Decompressor().process(b"", output_buffer_limit=1)
    except (TypeError, AttributeError):
        return False
    return True
