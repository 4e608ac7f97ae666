"""Responses: the content of an answer, read whole, in pieces, line by line or chunk by chunk.

:class:`HTTPResponse` knows no pool: it is told what to call when its body is complete, broken
or given up (RFC 9112, 9.3: only a response that was read whole leaves a reusable connection).
"""

from __future__ import annotations

import codecs
import http.client
import io
import itertools
import logging
import socket
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from email.message import Message
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, NoReturn

from ._collections import HTTPHeaderDict
from ._connection_info import ConnectionInfo, Endpoints
from ._decoding import (
    BrotliDecoder,
    BytesQueueBuffer,
    ContentDecoder,
    DeflateDecoder,
    GzipDecoder,
    GzipDecoderState,
    MultiDecoder,
    ZstdDecoder,
    available_codings,
    get_decoder,
    load_brotli,
)
from ._http1.body import (
    MAX_LINE_BYTES,
    ChunkedBody,
    LengthBody,
    UntilCloseBody,
    join_pieces,
    parse_chunk_size,
)
from ._http1.message import Http1Response
from ._limits import Limits
from ._progress import CallbackFailed, ProgressCallback
from ._reuse import discard, mark
from .exceptions import (
    BodyNotHttplibCompatible,
    DecodeError,
    HTTPError,
    IncompleteRead,
    InvalidHeader,
    ProtocolError,
    ReadTimeoutError,
    ResponseNotChunked,
    ResponseTooLargeError,
    SSLError,
)
from .util.response import is_fp_closed, is_response_to_head

try:
    from ssl import SSLError as BaseSSLError
except ImportError:  # a Python without OpenSSL

    class BaseSSLError(Exception):  # type: ignore[no-redef]
        """Stands in where there is no ssl module; never raised."""


if TYPE_CHECKING:
    from ._call import Bounds
    from .util.retry import Retry

__all__ = [
    "BaseHTTPResponse",
    "BrotliDecoder",
    "BytesQueueBuffer",
    "ContentDecoder",
    "DeflateDecoder",
    "GzipDecoder",
    "GzipDecoderState",
    "HTTPHeaderDict",
    "HTTPResponse",
    "MultiDecoder",
    "ZstdDecoder",
    "is_fp_closed",
]

log: logging.Logger = logging.getLogger(__name__)

#: Most that is read and thrown away to save a connection, bytes and seconds: beyond that a
#: new connection is cheaper (Go reads 2 KiB, curl nothing).
DRAIN_MAX_BYTES = 64 * 1024
DRAIN_MAX_SECONDS = 1.0

_PIECE = 65536

# A longer Content-Type, in characters, tells nothing about the charset: the parser of email takes
# time that grows with the square of the length, 25 seconds for 200 KB.
_LONGEST_TYPE = 1000
# Besides itself, two codecs that are for names of hosts, and fail instead of replacing.
_FOR_UTF_8 = ("utf-8", "idna", "punycode")


def __getattr__(name: str) -> Any:
    """Tell which optional decoders there are, under the names that programs look for."""
    if name == "HAS_ZSTD":
        return "zstd" in available_codings()
    if name == "brotli":
        return load_brotli()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _ContentDecoders:
    """The list of codings this installation can decode, found out when first asked for."""

    def __init__(self) -> None:
        self._codings: list[str] | None = None

    def __get__(self, instance: object, owner: type | None = None) -> list[str]:
        if self._codings is None:
            self._codings = list(available_codings())
        return self._codings


class BaseHTTPResponse(io.IOBase):
    """What every response offers; the base for other transports' responses.

    :param headers: kept as it is if it is an :class:`HTTPHeaderDict`.
    :param version: 10, 11 or 20.
    :param decode_content: undo the Content-Encoding; may be changed later.

    Not safe to share between threads, except :meth:`HTTPResponse.shutdown`.
    """

    #: Content codings that are undone; remove one to get such bodies raw.
    CONTENT_DECODERS: Any = _ContentDecoders()
    #: Statuses whose Location is a redirect (RFC 9110, 15.4).
    REDIRECT_STATUSES = [301, 302, 303, 307, 308]
    #: Headers of the proxy's answer to CONNECT, where the response came through a tunnel.
    proxy_headers: HTTPHeaderDict | None = None
    #: What a decoder may raise; other errors are not the peer's doing.
    DECODER_ERROR_CLASSES: tuple[type[Exception], ...] = (OSError, zlib.error, DecodeError)

    # The state that reading needs stands in the class until it changes: one object is made per
    # answer (benchmark ``small``).
    _has_decoded_content = False
    _retries: Retry | None = None
    chunked: bool = False
    _decoder: ContentDecoder | None = None
    _decoder_known = False
    length_remaining: int | None = None
    _limits: Limits | None = None
    _fp_bytes_read = 0
    _decoded_bytes = 0

    def __init__(
        self,
        *,
        headers: Mapping[str, str] | None = None,
        status: int,
        version: int,
        version_string: str,
        reason: str | None,
        decode_content: bool,
        request_url: str | None,
        retries: Retry | None = None,
    ) -> None:
        self.headers: HTTPHeaderDict = (
            headers if isinstance(headers, HTTPHeaderDict) else HTTPHeaderDict(headers)
        )
        self.status = status
        self.version = version
        self.version_string: str = version_string
        self.reason = reason
        self.decode_content = decode_content
        self._request_url: str | None = request_url
        if retries is not None:
            self.retries = retries

    # -- what happened ---------------------------------------------------------------------

    @property
    def retries(self) -> Retry | None:
        """The retry state that this response was reached with."""
        return self._retries

    @retries.setter
    def retries(self, retries: Retry | None) -> None:
        if retries is not None and retries.history:
            self.url = retries.history[-1].redirect_location
        self._retries = retries

    def get_redirect_location(self) -> str | None | bool:
        """Return where a redirect leads, None if it says nothing, False if it is none."""
        if self.status in self.REDIRECT_STATUSES:
            return self.headers.get("location")
        return False

    # -- the content as something else -----------------------------------------------------

    def json(self) -> Any:
        """Return the content parsed as JSON (RFC 8259; UTF-8, a byte order mark is skipped).

        :raises UnicodeDecodeError: the content is not UTF-8.
        :raises json.JSONDecodeError: it is not JSON, or Python cannot hold it: nested too deeply,
            or a number with too many digits.
        """
        import json  # a third of all programs never do

        content = self.data
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            raise
        except (RecursionError, ValueError) as error:
            raise json.JSONDecodeError(str(error), text, 0) from error

    def text(self, encoding: str | None = None, errors: str = "replace") -> str:
        """Return the content as str.

        :param encoding: default: the charset of the Content-Type if Python knows it, else UTF-8.
        :param errors: what to do with bytes that do not fit, as for :meth:`bytes.decode`.

        .. versionadded:: 4.0
        """
        content = self.data or b""
        if isinstance(content, str):
            return content
        if encoding is not None:
            return content.decode(encoding, errors)
        try:
            return content.decode(self._charset(), errors)
        except UnicodeDecodeError:
            raise
        except (LookupError, UnicodeError):
            # Not a charset: Python has codecs for other things under such names, too.
            return content.decode("utf-8-sig", errors)

    def _charset(self) -> str:
        content_type = self.headers.get("content-type", "")
        message = Message()
        message["content-type"] = content_type if len(content_type) <= _LONGEST_TYPE else ""
        charset = message.get_content_charset("utf-8")
        try:
            charset = codecs.lookup(charset).name
        except (LookupError, ValueError):
            charset = "utf-8"
        return "utf-8-sig" if charset in _FOR_UTF_8 else charset

    # -- to be provided --------------------------------------------------------------------

    @property
    def data(self) -> bytes:
        """The whole content."""
        raise NotImplementedError

    @property
    def url(self) -> str | None:
        """The URL that answered, after redirects; None if unknown."""
        raise NotImplementedError

    @url.setter
    def url(self, url: str | None) -> None:
        raise NotImplementedError

    @property
    def connection(self) -> Any:
        """The connection in use, None when it went back."""
        raise NotImplementedError

    def stream(
        self, amt: int | None = _PIECE, decode_content: bool | None = None
    ) -> Iterator[bytes]:
        """Yield the content in pieces."""
        raise NotImplementedError

    def read(
        self,
        amt: int | None = None,
        decode_content: bool | None = None,
        cache_content: bool = False,
    ) -> bytes:
        """Read content."""
        raise NotImplementedError

    def read1(self, amt: int | None = None, decode_content: bool | None = None) -> bytes:
        """Read what is at hand."""
        raise NotImplementedError

    def read_chunked(
        self, amt: int | None = None, decode_content: bool | None = None
    ) -> Iterator[bytes]:
        """Yield chunk by chunk."""
        raise NotImplementedError

    def release_conn(self) -> None:
        """Give the connection back."""
        raise NotImplementedError

    def drain_conn(self) -> None:
        """Discard the rest of the body."""
        raise NotImplementedError

    def shutdown(self) -> None:
        """Stop a reader in another thread."""
        raise NotImplementedError

    def close(self) -> None:
        """Close response and connection."""
        raise NotImplementedError

    # -- decoding --------------------------------------------------------------------------

    def _init_decoder(self) -> None:
        """Choose the decoder by Content-Encoding; unknown codings leave the body raw."""
        if self._decoder_known:
            return
        encoding = self.headers.get("content-encoding")
        if encoding and self._decoder is None:
            codings = {coding.strip().lower() for coding in encoding.split(",")}
            if codings.difference(("", "identity")).issubset(self.CONTENT_DECODERS):
                self._decoder = get_decoder(encoding)
        self._decoder_known = True

    def _decode(
        self,
        data: bytes,
        decode_content: bool | None,
        flush_decoder: bool,
        max_length: int | None = None,
    ) -> bytes:
        """Decode `data` to at most `max_length` bytes; the rest stays in the decoder."""
        if not decode_content:
            self._refuse_mixing("read")
            return data
        decoder = self._decoder
        if decoder is None:
            return data
        limit = -1 if max_length is None or flush_decoder else max(max_length, 0)
        try:
            if self._limits is None:
                data = decoder.decompress(data, limit) if (data or limit != 0) else b""
            else:
                data = self._decode_within(self._limits, decoder, data, limit)
            if flush_decoder:
                data += decoder.flush()
        except self.DECODER_ERROR_CLASSES as error:
            encoding = self.headers.get("content-encoding", "").lower()
            raise DecodeError(
                f"Received response with content-encoding: {encoding}, but failed to decode it.",
                error,
            ) from error
        self._has_decoded_content = True
        return data

    def _decode_within(
        self, limits: Limits, decoder: ContentDecoder, data: bytes, limit: int
    ) -> bytes:
        """Decode as `_decode` does, and never more than one byte beyond the limits.

        :raises ResponseTooLargeError: that byte came.
        """
        room = limits.room(self._decoded_bytes, self._fp_bytes_read)
        if room is None:
            data = decoder.decompress(data, limit) if (data or limit != 0) else b""
        else:
            wanted = room + 1 if limit < 0 else min(limit, room + 1)
            data = decoder.decompress(data, wanted) if (data or wanted) else b""
            while limit < 0 and len(data) <= room and decoder.has_unconsumed_tail:
                data += decoder.decompress(b"", room + 1 - len(data))
        self._decoded_bytes += len(data)
        if room is not None and len(data) > room:
            raise limits.exceeded(self._decoded_bytes)
        return data

    def _refuse_mixing(self, method: str) -> None:
        if self._has_decoded_content:
            raise RuntimeError(
                f"Calling {method}(decode_content=False) is not supported after "
                f"{method}(decode_content=True) was called."
            )

    # -- habits of http.client and urllib --------------------------------------------------

    def readinto(self, b: Any) -> int:
        """Read decoded content into the buffer `b`; fewer bytes only at the end."""
        with memoryview(b) as view, view.cast("B") as octets:
            data = self.read(len(octets))
            octets[: len(data)] = data
        return len(data)

    def getheaders(self) -> HTTPHeaderDict:
        """Return the headers."""
        return self.headers

    def getheader(self, name: str, default: str | None = None) -> str | None:
        """Return one header, its lines joined by commas."""
        return self.headers.get(name, default)

    def info(self) -> HTTPHeaderDict:
        """Return the headers (for :mod:`http.cookiejar`)."""
        return self.headers

    def geturl(self) -> str | None:
        """Return the URL that answered."""
        return self.url


class HTTPResponse(BaseHTTPResponse):
    """A response over HTTP/1.x, usable as a binary file of decoded content.

    :param body: bytes or str (kept as they are) or an object with ``read``.
    :param preload_content: read the whole body now.
    :param original_response: the :class:`http.client.HTTPResponse` underneath, if any.
    :param pool: named in errors; gets `connection` back through ``_put_conn``.
    :param enforce_content_length: a body shorter than its Content-Length is an error.
    :param auto_close: report ``closed`` once the body is used up; set False to wrap the response
        in :class:`io.TextIOWrapper` and the like.
    :param sock_shutdown: called with a ``socket.SHUT_*`` by :meth:`shutdown`.

    :raises HTTPError: (by every method that reads) :exc:`ReadTimeoutError`, :exc:`SSLError`,
        :exc:`DecodeError`, :exc:`DeadlineExceededError` or :exc:`ProtocolError`.  The
        connection is closed then.
    """

    # What reading needs is in slots, and so all set by the constructor: objects of io keep the rest
    # in a dict that is five times as slow, and there is one object per answer (benchmark
    # ``small``).  Attributes that caches write into the dict themselves stay there.
    __slots__ = (
        "_body", "_bounds", "_carrier", "_connection", "_decoder", "_decoder_known", "_fp",
        "_fp_bytes_read", "_is_whole", "_limits", "_on_download", "_original_response", "_pool",
        "_release", "_request_url", "_retries", "_sock_shutdown", "chunked", "length_remaining",
        "version_string",
    )  # fmt: skip

    enforce_content_length: bool = True
    auto_close: bool = True
    msg: Any = None
    chunk_left: int | None = None
    _is_drained = False
    _was_given_up = False
    _was_empty = False
    _decoded_buffer: BytesQueueBuffer | None = None

    def __init__(
        self,
        body: Any = "",
        headers: Mapping[str, str] | None = None,
        status: int = 0,
        version: int = 0,
        version_string: str = "HTTP/?",
        reason: str | None = None,
        preload_content: bool = True,
        decode_content: bool = True,
        original_response: Any = None,
        pool: Any = None,
        connection: Any = None,
        msg: Any = None,
        retries: Retry | None = None,
        enforce_content_length: bool = True,
        request_method: str | None = None,
        request_url: str | None = None,
        auto_close: bool = True,
        sock_shutdown: Callable[[int], None] | None = None,
    ) -> None:
        # Long, but flat: the parameters that urllib3 has, and the state that reading needs; what
        # the base class does in one call more is done here.
        self._body: Any = None
        self._fp: Any = None
        self._pool: Any = pool
        self._connection: Any = connection
        self._release: Callable[[bool], None] | None = None
        self._request_url = request_url
        self.headers: HTTPHeaderDict = (
            headers if isinstance(headers, HTTPHeaderDict) else HTTPHeaderDict(headers)
        )
        self.status = status
        self.version = version
        self.version_string: str = version_string
        self.reason = reason
        self.decode_content = decode_content
        if not enforce_content_length:
            self.enforce_content_length = False
        self._retries: Retry | None = None
        if retries is not None:
            self.retries = retries
        if not auto_close:
            self.auto_close = False
        if msg is not None:
            self.msg = msg
        self._original_response = original_response
        self._sock_shutdown = sock_shutdown
        self._decoder: ContentDecoder | None = None
        self._decoder_known = False
        self._fp_bytes_read = 0
        self._limits: Limits | None = None
        self._bounds: Bounds | None = None
        self._on_download: ProgressCallback | None = None
        self._carrier: tuple[Endpoints, int] | None = None  # set by the connection
        # Whether the body was taken by `_take_whole`.  After all others that the finaliser needs: a
        # signal handler may end this constructor at any line.
        self._is_whole = False
        if type(body) is Http1Response:
            self._fp = body
            # A response to HEAD is as chunked as its headers say, but has no chunks.
            self.chunked = body.chunked or (body.length == 0 and self._says_chunked())
            self.length_remaining = body.length
        elif isinstance(body, (str, bytes)):
            if body or isinstance(body, bytes):
                self._body = body
            self._init_framing(request_method)
        else:
            if hasattr(body, "read"):
                self._fp = body
            self._init_framing(request_method)
        if preload_content and self._body is None and self._fp is not None:
            self._body = self.read(decode_content=decode_content)

    def _init_framing(self, request_method: str | None) -> None:
        """Derive framing from the headers, for a body that was not framed by our own reader."""
        self.chunked: bool = self._says_chunked()
        self.length_remaining = self._init_length(request_method)

    def _says_chunked(self) -> bool:
        codings = self.headers.get("transfer-encoding", "").lower()
        return "chunked" in (coding.strip() for coding in codings.split(","))

    def _init_length(self, request_method: str | None) -> int | None:
        length: int | None = None
        text = self.headers.get("content-length")
        if text is not None:
            if self.chunked:
                log.warning(
                    "Received response with both Content-Length and Transfer-Encoding set. This "
                    "is expressly forbidden by RFC 9112, 6.1. Ignoring Content-Length and "
                    "attempting to process response as Transfer-Encoding: chunked."
                )
                return None
            parts = {part.strip() for part in text.split(",")}
            if len(parts) > 1:
                raise InvalidHeader(
                    f"Content-Length contained multiple unmatching values ({text[:100]})"
                )
            number = parts.pop()
            if number.isascii() and number.isdigit() and len(number) < 19:
                length = int(number)
        status = self.status if isinstance(self.status, int) else 0
        if status in (204, 304) or 100 <= status < 200 or request_method == "HEAD":
            length = 0
        return length

    # -- identity --------------------------------------------------------------------------

    @property
    def url(self) -> str | None:
        """The URL that answered, after redirects; None if unknown."""
        return self._request_url

    @url.setter
    def url(self, url: str | None) -> None:
        self._request_url = url

    @property
    def connection(self) -> Any:
        """The connection in use; None when it went back to its pool, or there never was one."""
        if self._pool or self._original_response:
            return self._connection
        return None

    @property
    def data(self) -> Any:
        """The whole content, read and kept when first asked for; None without a body object."""
        if self._body is not None:
            return self._body
        if self._fp is not None:
            return self.read(cache_content=True)
        return None

    def tell(self) -> int:
        """Return the number of body bytes taken from the wire, before decoding."""
        return self._fp_bytes_read

    @property
    def connection_info(self) -> ConnectionInfo | None:
        """What is known of the connection that the answer came over, also when it is closed.

        None for responses that were not read from a connection of ours.

        .. versionadded:: 4.0
        """
        if self._carrier is None:
            return None
        endpoints, number = self._carrier
        return endpoints.info(self.version_string, number)

    @property
    def trailers(self) -> HTTPHeaderDict | None:
        """The fields behind a chunked body (RFC 9110, 6.5), once it was read; else None.

        .. versionadded:: 4.0
        """
        body = getattr(self._original_response, "body", None)
        return body.trailers if isinstance(body, ChunkedBody) else None

    # -- the end of the exchange -----------------------------------------------------------

    def _on_finish(
        self, connection: Any, release: Callable[[bool], None], bounds: Bounds | None
    ) -> None:
        """Give the response its connection, and what to call, once, when it is done with it.

        :param release: takes whether the connection may carry another exchange.
        :param bounds: what may end reading from outside; for the error when it does.
        """
        self._bounds = bounds
        # In this order: interrupted in between, it must not give back what it has no lease of.
        self._release = release
        self._connection = connection
        if self._is_complete():
            original = self._original_response
            if isinstance(original, Http1Response) and not original.isclosed():
                original.close()  # there is no body to read: HEAD, 204, 304 or length 0
                self._was_empty = True
            self._end_exchange(True)
        elif isinstance(self._original_response, Http1Response) and self.isclosed():
            # Preloaded, and accepted although it is short (enforce_content_length=False).
            self._end_exchange(False)

    def _take_whole(self, bounds: Bounds | None) -> bool:
        """Take the body if it is not large, and needs no decoding.

        What ``read()`` does in a dozen steps, which all have nothing to do then (benchmarks
        ``small``, ``k64``).

        :param bounds: what may end reading from outside; for the error when it does.
        """
        fp = self._fp
        if (
            type(fp) is not Http1Response
            or type(self).read is not _ORIGINAL_READ
            or self._limits is not None
            or "content-encoding" in self.headers._container
        ):
            return False
        body = fp.body
        if type(body) is not LengthBody or fp._stream is None:
            return False
        try:
            data = body.take_whole(self.enforce_content_length)
        except BaseException as error:
            self._bounds = bounds
            self._fail(error)
        if data is None:
            return False
        fp.length = 0
        fp._stream = fp._file = None  # as it closes itself after its last byte
        self._body = data
        self._fp_bytes_read = len(data)
        self.length_remaining = 0
        self._is_whole = True
        return True

    def _is_complete(self) -> bool:
        original = self._original_response
        if isinstance(original, Http1Response):
            return original.complete
        isclosed = getattr(original, "isclosed", None)
        return isclosed is not None and bool(isclosed())

    def _end_exchange(self, reusable: bool) -> None:
        """Give the connection up: to its pool, or, if it is not `reusable`, to be closed."""
        release = self._release
        if release is not None:
            # In this order: interrupted in between, we must not take the connection for our own.
            self._connection = None
            self._release = None
            release(reusable)
        elif self._pool is not None and self._connection is not None:
            connection, self._connection = self._connection, None
            if not reusable:
                connection.close()
            self._pool._put_conn(connection)

    def __del__(self) -> None:
        try:
            if self._is_whole:  # nothing is left to close, as with most responses
                return
        except AttributeError:  # the constructor did not get so far: there is nothing to close
            return
        dropped = self._release is not None and self._connection is not None
        if dropped:
            mark(self._connection, "forgotten")
        super().__del__()
        if dropped:
            url = self._pool._shown(self._request_url or "/")
            warnings.warn(
                f"the response of {url} was dropped before it was read to its end, which costs its "
                "connection: read it, or call close() or release_conn()",
                ResourceWarning,
                stacklevel=2,
            )

    def release_conn(self) -> None:
        """Give the connection back; safe to call twice.

        What is left of the body is thrown away: up to 64 KiB within a second are read so that
        the connection can be used again, otherwise it is closed.
        """
        if self._release is not None and not self._is_complete():
            self.drain_conn()
        self._end_exchange(self._original_response is None or self._is_complete())

    def drain_conn(self) -> None:
        """Read and discard the rest of the body, undecoded, to save the connection.

        At most 64 KiB and one second are spent on that, then the connection is closed instead.
        Errors of the peer are swallowed.  What was decoded already is discarded, too.
        """
        self._is_drained = True
        self._on_download = None
        self._discard_decoded()
        try:
            if self._fp is None or self._drain():
                return
        except (HTTPError, OSError, HTTPException):
            pass
        self.close()

    def _discard_decoded(self) -> None:
        self._decoder = None
        self._decoder_known = True
        self._decoded_buffer = None

    def _drain(self) -> bool:
        """Return whether the body was read to its end within the limits."""
        if self.length_remaining is not None and self.length_remaining > DRAIN_MAX_BYTES:
            return False
        end = time.monotonic() + DRAIN_MAX_SECONDS
        stream = self._fp._stream if type(self._fp) is Http1Response else None
        if stream is not None:
            stream.deadline = end if stream.deadline is None else min(end, stream.deadline)
        budget = DRAIN_MAX_BYTES
        while budget > 0 and time.monotonic() < end:
            data = self._wire_read1(budget) if stream is not None else self._wire_read(budget)
            if not data:
                return True
            budget -= len(data)
        return self._fp is None or is_fp_closed(self._fp)

    def close(self) -> None:
        """Close the response and its connection; safe to call twice."""
        self._was_given_up = True
        self._sock_shutdown = None
        self._discard_decoded()
        fp = self._fp
        if fp is not None and not self.closed and hasattr(fp, "close"):
            fp.close()
        if self._connection is not None:
            discard(self._connection, "unfinished")
            self._end_exchange(False)
        if not self.auto_close:
            io.IOBase.close(self)

    def shutdown(self) -> None:
        """Stop a thread that is blocked reading this response; may be called from any thread.

        :raises ValueError: the response has no socket.
        :raises RuntimeError: the connection went back to its pool.
        """
        if self._sock_shutdown is None:
            raise ValueError("Cannot shutdown socket as self._sock_shutdown is not set")
        if self._connection is None:
            raise RuntimeError(
                "Cannot shutdown as connection has already been released to the pool"
            )
        self._sock_shutdown(socket.SHUT_RD)

    @property
    def closed(self) -> bool:
        """Whether nothing can be read any more (see `auto_close`)."""
        if not self.auto_close:
            return io.IOBase.closed.__get__(self)  # type: ignore[no-any-return]
        return self._is_used_up()

    def _is_used_up(self) -> bool:
        fp = self._fp
        if fp is None or self._is_whole:
            return True
        if self._decoded_buffer is not None and (
            len(self._decoded_buffer)
            or (self._decoder is not None and self._decoder.has_unconsumed_tail)
        ):
            return False
        if hasattr(fp, "isclosed"):
            return bool(fp.isclosed()) and not self._is_untouched()
        if hasattr(fp, "closed"):
            return bool(fp.closed)
        return True

    def isclosed(self) -> bool:
        """Tell whether the body object is used up or closed, as http.client does."""
        return self._fp is None or (is_fp_closed(self._fp) and not self._is_untouched())

    def _is_untouched(self) -> bool:
        """Tell whether there is no body, and nobody has found out yet.

        Its connection is free already, but to a program the response is a file like any other: it
        is open until it was read (all that reads looks for the decoder first) or given up.
        """
        return self._was_empty and not self._decoder_known

    def fileno(self) -> int:
        """Return the descriptor of the socket.

        :raises OSError: there is none.
        """
        if self._fp is None:
            raise OSError("HTTPResponse has no file to get a fileno from")
        if hasattr(self._fp, "fileno"):
            number: int = self._fp.fileno()
            return number
        raise OSError(
            "The file-like object this HTTPResponse is wrapped around has no file descriptor"
        )

    def flush(self) -> None:
        """Flush the body object if it is open and can be flushed."""
        fp = self._fp
        if fp is not None and hasattr(fp, "flush") and not getattr(fp, "closed", False):
            fp.flush()

    def readable(self) -> bool:
        """Return True."""
        return True

    # -- bytes from the wire ---------------------------------------------------------------

    def _wire_read(self, amt: int | None) -> bytes:
        """Read `amt` undecoded bytes, or all; fewer only at the end of the body."""
        fp = self._fp
        if fp is None:
            return b""
        try:
            if self._nothing_left(fp, amt):
                return b""
            if type(fp) is Http1Response:
                return self._read_own(fp, amt)
            return self._read_all_foreign(fp) if amt is None else self._read_foreign(fp, amt)
        except BaseException as error:
            self._fail(error)

    def _wire_read1(self, amt: int) -> bytes:
        """Read what is at hand or one receive brings, at most `amt` bytes (-1: any number)."""
        fp = self._fp
        if fp is None:
            return b""
        try:
            if self._nothing_left(fp, amt):
                return b""
            if type(fp) is Http1Response:
                data = fp.read1(amt)
                self._took(fp, len(data), cut=not data and amt != 0)
                return data
            # Asked of the class: what a wrapper forwards to the file in it would not pass its
            # own ``read``, which wants to see all content.
            if not hasattr(type(fp), "read1"):
                return self._read_foreign(fp, _PIECE if amt < 0 else amt)
            piece: bytes = fp.read1() if amt < 0 else fp.read1(amt)
            self._count_foreign(fp, piece, ended=not piece)
            return piece
        except BaseException as error:
            self._fail(error)

    def _wire_readline(self, limit: int) -> bytes:
        """Read up to a newline, at most `limit` bytes (-1: any number), undecoded."""
        fp = self._fp
        if fp is None:
            return b""
        try:
            if self._nothing_left(fp, limit):
                return b""
            most = -1 if (cap := self._capped(None if limit < 0 else limit)) is None else cap
            line: bytes = fp.readline(most)
            ended = not line.endswith(b"\n") and len(line) != most
            if type(fp) is Http1Response:
                self._took(fp, len(line), cut=ended)
            else:
                self._count_foreign(fp, line, ended=ended)
            return line
        except BaseException as error:
            self._fail(error)

    def _nothing_left(self, fp: Any, amt: int | None) -> bool:
        """Tell whether `fp` is closed.

        :raises IncompleteRead: it was, but some of the body is missing.  Like in urllib3, who
            asks for everything left gets ``b""`` then.
        """
        own = type(fp) is Http1Response
        if not (fp.isclosed() if own else self._has_ended(fp)):
            return False
        if own and fp.complete:
            self._end_exchange(True)  # somebody read it past us
        elif amt and self._is_cut() and not self._is_drained:
            raise IncompleteRead(self._fp_bytes_read, self.length_remaining or 0)
        return True

    def _is_cut(self) -> bool:
        """Tell whether a length is known, to be kept, and not reached or exceeded."""
        return self.enforce_content_length and self.length_remaining not in (0, None)

    def _read_own(self, fp: Http1Response, amt: int | None) -> bytes:
        if amt is not None:
            data = fp.read(amt)
        elif self._limits is not None or self._on_download is not None:
            data = join_pieces(self._pieces_in_turn(fp))
            self._took(fp, 0, cut=True)
            return data
        elif self.enforce_content_length or fp.chunked:
            data = fp.read()
        else:
            data = join_pieces(iter(lambda: fp.read1(_PIECE), b""))
        self._took(fp, len(data), cut=amt is None or len(data) < amt)
        return data

    def _pieces_in_turn(self, fp: Http1Response) -> Iterator[bytes]:
        """Read piece by piece, so that a body without end is noticed before it is in memory."""
        while piece := fp.read1(_PIECE):
            self._count(len(piece), fp.length)
            yield piece

    def _count(self, count: int, left: int | None) -> None:
        """Take note of `count` bytes from the wire.

        :param left: how many more will come; None: not known.
        """
        self._fp_bytes_read += count
        self._check_received(self._fp_bytes_read)
        if self._on_download is not None and count:
            received = self._fp_bytes_read
            self._on_download(received, None if left is None else received + left)

    def _capped(self, amt: int | None) -> int | None:
        """Return `amt` (None: all), or one byte more than the limits leave room for."""
        if self._limits is None or self._limits.response is None:
            return amt
        room = self._limits.response - self._fp_bytes_read + 1
        return room if amt is None else min(amt, room)

    def _check_received(self, received: int) -> None:
        if self._limits is not None:
            decodes = self._decoder is not None and self.decode_content
            self._limits.check_received(received, decodes=decodes)

    def _limit(self, limits: Limits) -> None:
        """Bound what is read from now on.

        :raises ResponseTooLargeError: the body says that it is larger.
        """
        self._limits = limits
        limits.check_declared(self.length_remaining)

    def _took(self, fp: Http1Response, count: int, *, cut: bool) -> None:
        """Count bytes, and end the exchange when the body is complete or was cut off.

        :param cut: fewer bytes came than were asked for; nothing new if the body is complete.
        """
        self.length_remaining = left = fp.length
        self._count(count, left)
        if fp.complete:
            if self._bounds is not None and isinstance(fp.body, UntilCloseBody):
                self._refuse_our_own_end(self._bounds)
            self._end_exchange(True)
        elif left and cut:
            if self.enforce_content_length:
                raise IncompleteRead(self._fp_bytes_read, left)
            fp.close()
            self._abandon()

    @staticmethod
    def _refuse_our_own_end(bounds: Bounds) -> None:
        """Raise if a body that lasts until the close ended because the call was cancelled."""
        end = ProtocolError("the connection was shut down")
        interruption = bounds.interruption(end, "reading the body")
        if interruption is not None:
            raise interruption

    def _has_ended(self, fp: Any) -> bool:
        # In this order: the ``isclosed()`` of a test double (responses) closes it, and says no.
        ended = self._original_response is not None and is_fp_closed(fp)
        return ended or bool(getattr(fp, "closed", False))

    def _read_all_foreign(self, fp: Any) -> bytes:
        """Read all through somebody's own body object, by the one method that all have."""
        data: bytes = fp.read() or b""
        self._count_foreign(fp, data, ended=False)
        left = self.length_remaining
        if left is not None and left > 0 and self.enforce_content_length:
            raise IncompleteRead(self._fp_bytes_read, left)
        return data

    def _read_foreign(self, fp: Any, amt: int) -> bytes:
        """The same for `amt` bytes: such objects may give fewer before their end."""
        pieces = []
        while amt > 0:
            data: bytes = fp.read(amt) or b""
            self._count_foreign(fp, data, ended=not data)
            pieces.append(data)
            amt -= len(data)
            if not data or self.length_remaining == 0:
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _count_foreign(self, fp: Any, data: bytes, *, ended: bool) -> None:
        if self.length_remaining is not None:
            self.length_remaining -= len(data)
        self._count(len(data), self.length_remaining)
        if ended:
            # http.client closes by itself at the end, other file objects have to be told.
            _close(fp)
            if self._is_cut():
                raise IncompleteRead(self._fp_bytes_read, self.length_remaining or 0)
        original = self._original_response
        if original is not None and original.isclosed():
            self._end_exchange(self._is_complete())

    def _abandon(self) -> None:
        """Close what is below after an error or an early end; the slot goes back."""
        if self._original_response is not None:
            self._original_response.close()
        if self._connection is not None:
            self._connection.close()
        self._end_exchange(False)

    def _decode(
        self,
        data: bytes,
        decode_content: bool | None,
        flush_decoder: bool,
        max_length: int | None = None,
    ) -> bytes:
        """Decode as above; content that is malformed ends the exchange."""
        try:
            return super()._decode(data, decode_content, flush_decoder, max_length)
        except (DecodeError, ResponseTooLargeError):
            if self._decoded_buffer is not None:
                self._decoded_buffer.get_all()  # it must not pass for content after the error
            self._abandon()
            raise
        except MemoryError as error:
            self._discard_decoded()
            self._abandon()
            error.__traceback__ = None  # as above
            raise DecodeError("no memory for so much content; stream it", error) from error

    def _refuse_mixing(self, method: str) -> None:
        if self._has_decoded_content and not self._is_used_up():
            super()._refuse_mixing(method)

    def _init_decoder(self) -> None:
        """Choose the decoder; a list of codings that is too long ends the exchange."""
        try:
            super()._init_decoder()
        except DecodeError:
            self._abandon()
            raise

    def _fail(self, error: BaseException) -> NoReturn:
        """Close everything below and raise `error` as one of ours."""
        handed_over = self._release is not None
        self._abandon()
        if isinstance(error, CallbackFailed):
            # Before that, `urlopen` itself takes it out, past all that it does about errors.
            raise error.error if handed_over else error
        bounds = self._bounds
        if bounds is not None and isinstance(error, Exception):
            interruption = bounds.interruption(error, "reading the body")
            if interruption is not None:
                raise interruption from error
        if isinstance(error, (IncompleteRead, HTTPException)):
            partial, expected = getattr(error, "partial", None), getattr(error, "expected", None)
            if isinstance(expected, int) and isinstance(partial, int) and expected == -partial:
                raise ProtocolError("Response may not contain content.", error) from error
            raise ProtocolError(f"Connection broken: {error!r}", error) from error
        if isinstance(error, HTTPError):
            for argument in error.args:
                if hasattr(argument, "response"):
                    argument.response = self
            raise error
        if isinstance(error, TimeoutError) or (
            isinstance(error, BaseSSLError) and "timed out" in str(error)
        ):
            raise ReadTimeoutError(self._pool, None, "Read timed out.") from error
        if isinstance(error, BaseSSLError):
            raise SSLError(error) from error
        if isinstance(error, io.UnsupportedOperation):
            raise error
        if isinstance(error, (OSError, ValueError)):
            raise ProtocolError(f"Connection broken: {error!r}", error) from error
        if isinstance(error, MemoryError):
            error.__traceback__ = None  # its frames hold what filled the memory
            raise ProtocolError("no memory for so large a body; stream it", error) from error
        raise error

    # -- reading ---------------------------------------------------------------------------

    def read(
        self,
        amt: int | None = None,
        decode_content: bool | None = None,
        cache_content: bool = False,
    ) -> bytes:
        """Read content.

        :param amt: bytes wanted; exactly that many unless the content ends before.  None or a
            negative number: all that is left.
        :param decode_content: undo the Content-Encoding; default: ``self.decode_content``.
        :param cache_content: keep the result for :attr:`data`; only when everything is read.
        :raises RuntimeError: `decode_content` is False after decoded content was returned.
        """
        if amt is not None:
            fp = self._fp
            if (
                type(fp) is Http1Response
                and self._decoder_known
                and self._decoder is None
                and self._decoded_buffer is None
            ):
                body = fp._open_body()
                if type(body) is LengthBody and 0 < amt < body.left:
                    return self._read_on(fp, body, amt)
        self._init_decoder()
        if decode_content is None:
            decode_content = self.decode_content
        if amt is not None and amt < 0:
            amt = None
        if amt is None:
            data = self._read_all(decode_content)
            if cache_content and self._body is None:
                self._body = data
            return data
        if not decode_content:
            self._refuse_mixing("read")
        if self._reads_wire(decode_content):
            return self._wire_read(amt)
        return self._read_decoded(amt)

    def _read_on(self, fp: Http1Response, body: LengthBody, amt: int) -> bytes:
        """Read `amt` bytes from the midst of a body that is handed out as it is sent.

        What ``read()`` does in two dozen steps, most of which have nothing to do then (benchmark
        ``dl_stream``).
        """
        try:
            data = body.read(amt)
            self.length_remaining = fp.length = body.left
            if len(data) == amt and self._limits is None and self._on_download is None:
                self._fp_bytes_read += amt
            else:
                self._took(fp, len(data), cut=len(data) < amt)
            return data
        except BaseException as error:
            self._fail(error)

    def _reads_wire(self, decode_content: bool) -> bool:
        """Tell whether bytes come straight from the wire: not decoded, and none buffered."""
        if self._decoder is not None:
            return not decode_content
        return self._decoded_buffer is None

    def _read_all(self, decode_content: bool) -> bytes:
        if decode_content and self._decoder is not None:
            buffer = self._buffer()
            data = self._wire_read(None)
            if data or self._fp_bytes_read:
                data = self._decode(data, True, True)
            return buffer.get_all() + data if len(buffer) else data
        if not decode_content:
            self._refuse_mixing("read")
        data = self._wire_read(None)
        if self._decoded_buffer is not None and len(self._decoded_buffer):
            return self._decoded_buffer.get_all() + data
        return data

    def _buffer(self) -> BytesQueueBuffer:
        if self._decoded_buffer is None:
            self._decoded_buffer = BytesQueueBuffer()
        return self._decoded_buffer

    def _read_decoded(self, amt: int) -> bytes:
        """Return exactly `amt` decoded bytes unless the content ends before."""
        buffer = self._buffer()
        while len(buffer) < amt and self._decode_more(amt - len(buffer), amt):
            pass
        return buffer.get(min(amt, len(buffer))) if len(buffer) else b""

    def _decode_more(self, wanted: int, wire_amt: int, *, read1: bool = False) -> bool:
        """Put up to `wanted` more decoded bytes into the buffer; False at the end."""
        buffer = self._buffer()
        decoder = self._decoder
        if decoder is not None and decoder.has_unconsumed_tail:
            buffer.put(self._decode(b"", True, False, wanted))
            return True
        data = self._wire_read1(wire_amt) if read1 else self._wire_read(wire_amt)
        if data:
            buffer.put(self._decode(data, True, False, wanted))
            return True
        if self._fp_bytes_read and decoder is not None:
            buffer.put(self._decode(b"", True, True))
        return False

    def read1(self, amt: int | None = None, decode_content: bool | None = None) -> bytes:
        """Read what is at hand, with at most one receive unless decoding gave nothing.

        :param amt: most bytes to return; None or negative: no limit.
        """
        if amt == 0:
            return b""
        self._init_decoder()
        if decode_content is None:
            decode_content = self.decode_content
        limit = -1 if amt is None or amt < 0 else amt
        if not decode_content:
            self._refuse_mixing("read1")
        if self._reads_wire(decode_content):
            return self._wire_read1(limit)
        buffer = self._buffer()
        while not len(buffer) and self._decode_more(
            limit if limit > 0 else _PIECE, limit if limit > 0 else _PIECE, read1=True
        ):
            pass
        if not len(buffer):
            return b""
        return buffer.get_all() if limit < 0 else buffer.get(min(limit, len(buffer)))

    def readinto(self, b: Any) -> int:
        """Read decoded content into the buffer `b`; fewer bytes only at the end."""
        fp = self._fp
        self._init_decoder()
        if type(fp) is not Http1Response or not self._reads_wire(self.decode_content):
            return super().readinto(b)
        with memoryview(b) as view, view.cast("B") as octets:
            return self._wire_readinto(fp, octets)

    def _wire_readinto(self, fp: Http1Response, view: memoryview) -> int:
        try:
            if self._nothing_left(fp, len(view)):
                return 0
            count = fp.readinto(view)
            self._took(fp, count, cut=count < len(view))
            return count
        except BaseException as error:
            self._fail(error)

    def stream(
        self, amt: int | None = _PIECE, decode_content: bool | None = None
    ) -> Iterator[bytes]:
        """Yield the content in pieces, never an empty one.

        A chunked body comes chunk by chunk as it arrives, in pieces of at most `amt` bytes; any
        other in pieces of exactly `amt` bytes except for the last.

        :param amt: None: each chunk whole, or everything at once; 0: nothing.
        :param decode_content: default: ``self.decode_content``, for chunked bodies too.

        Ends, as iterating does, when the response is closed meanwhile by :meth:`close`.
        """
        if amt == 0:
            return
        if decode_content is None:
            decode_content = self.decode_content
        if self.chunked and self.supports_chunked_reads():
            yield from self.read_chunked(amt, decode_content=decode_content)
            return
        while not self._was_given_up:
            data = self.read(amt=amt, decode_content=decode_content)
            if not data:
                return
            yield data
            if amt is None:
                return

    # -- chunk by chunk --------------------------------------------------------------------

    def supports_chunked_reads(self) -> bool:
        """Tell whether the body object shows the chunks: it has an attribute ``fp``."""
        return hasattr(self._fp, "fp")

    def read_chunked(
        self, amt: int | None = None, decode_content: bool | None = None
    ) -> Iterator[bytes]:
        """Yield the content of a chunked body chunk by chunk (RFC 9112, 7.1).

        :param amt: most bytes per piece; None: each chunk whole; 0: nothing.
        :param decode_content: None and False hand the content out undecoded.
        :raises ResponseNotChunked: the response is not chunked.
        :raises BodyNotHttplibCompatible: the body object does not show its chunks.
        """
        self._init_decoder()
        if not self.chunked:
            raise ResponseNotChunked(
                "Response is not chunked. Header 'transfer-encoding: chunked' is missing."
            )
        if not self.supports_chunked_reads():
            raise BodyNotHttplibCompatible(
                "Body should be http.client.HTTPResponse like. It should have have an fp "
                "attribute which returns raw chunks."
            )
        if getattr(self._original_response, "_method", None) and is_response_to_head(
            self._original_response
        ):
            self._original_response.close()
            return
        if amt == 0:
            return
        if amt is not None and amt < 0:
            amt = None
        decode = bool(decode_content)
        if not decode:
            self._refuse_mixing("read_chunked")
        buffer = self._decoded_buffer
        while buffer is not None and len(buffer):
            yield buffer.get(len(buffer) if amt is None else amt)
        raw = self._raw_chunks(amt)
        if not decode or self._decoder is None:
            yield from raw
        else:
            yield from self._decoded_chunks(raw, amt, self._decoder)

    def _decoded_chunks(
        self, raw: Iterator[bytes], amt: int | None, decoder: ContentDecoder
    ) -> Iterator[bytes]:
        # What a read() before left in the decoder counts as a first chunk.
        for chunk in itertools.chain((b"",), raw):
            data = self._decode(chunk, True, False, amt) if chunk else b""
            if data:
                yield data
            while amt is not None and decoder.has_unconsumed_tail:
                data = self._decode(b"", True, False, amt)
                if data:
                    yield data
        if self._fp_bytes_read:
            data = self._decode(b"", True, True)
            if data:
                yield data

    def _raw_chunks(self, amt: int | None) -> Iterator[bytes]:
        """Yield undecoded chunks, through somebody's replacements where there are any."""
        fp = self._fp
        if (
            type(fp) is Http1Response
            and "_update_chunk_length" not in self.__dict__
            and type(self)._update_chunk_length is _ORIGINAL_UPDATE_CHUNK_LENGTH
        ):
            while True:
                data = self._read_own_chunk(fp, amt)
                if not data:
                    return
                yield data
        if getattr(fp, "fp", None) is None or self.chunk_left == 0:
            return
        while True:
            data = self._read_foreign_chunk(amt)
            if not data:
                return
            yield data

    def _read_own_chunk(self, fp: Http1Response, amt: int | None) -> bytes:
        body = fp._open_body()
        if not isinstance(body, ChunkedBody):
            return b""
        try:
            data = body.read_chunk(self._capped(amt))
            self._count(len(data), None)
            if body.complete:
                fp._close_conn()
                self._end_exchange(True)
            return data
        except BaseException as error:
            self._fail(error)

    def _read_foreign_chunk(self, amt: int | None) -> bytes:
        """Read a piece of a chunk by the steps that others replace or count on.

        CacheControl replaces ``_update_chunk_length`` on the instance and wraps ``_fp``, whose
        ``_safe_read`` sees all content.
        """
        try:
            self._update_chunk_length()
            if self.chunk_left == 0:
                self._read_foreign_trailers()
                return b""
            assert self.chunk_left is not None
            wanted = self.chunk_left if amt is None else min(amt, self.chunk_left)
            data: bytes = self._fp._safe_read(wanted)
            if len(data) < wanted:
                raise ProtocolError("Response ended prematurely")
            self._count(len(data), None)
            self.chunk_left -= wanted
            if self.chunk_left == 0:
                if self._fp._safe_read(2) != b"\r\n":
                    raise ProtocolError("no CRLF behind the data of a chunk")
                self.chunk_left = None
            return data
        except BaseException as error:
            self._fail(error)

    def _update_chunk_length(self) -> None:
        """Read the next chunk-size line, unless inside a chunk, into ``chunk_left``."""
        if self.chunk_left is not None:
            return
        line = self._fp.fp.readline(MAX_LINE_BYTES + 1)
        self.chunk_left = parse_chunk_size(line, self)

    def _read_foreign_trailers(self) -> None:
        for _ in range(1000):
            line = self._fp.fp.readline(MAX_LINE_BYTES + 1)
            if len(line) > MAX_LINE_BYTES:
                raise ProtocolError("Response chunk trailer line exceeded maximum allowed length")
            if not line:
                raise ProtocolError("Response ended prematurely")
            if line in (b"\r\n", b"\n"):
                break
        else:
            raise ProtocolError("Response chunk trailer line exceeded maximum allowed length")
        original = self._original_response
        if isinstance(original, Http1Response) and original.body is not None:
            original.body.complete = True
        _close(original)
        _close(self._fp)
        self._end_exchange(True)

    # -- line by line ----------------------------------------------------------------------

    def readline(self, size: int | None = -1) -> bytes:
        """Read content up to and including a newline; ``b""`` at the end.

        No more is read than that, unless the content is encoded or the body object cannot read
        lines itself; what was read ahead then comes first in all later reads.

        :param size: most bytes to return; None or negative: no limit.
        """
        return self._line(-1 if size is None or size < 0 else size, self.decode_content)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the decoded content line by line, each with its newline, as they arrive."""
        while not self._was_given_up and (line := self._line(-1, True)):
            yield line

    def _line(self, limit: int, decode_content: bool) -> bytes:
        self._init_decoder()
        if not decode_content:
            self._refuse_mixing("read")
        if self._reads_wire(decode_content):
            if _reads_lines(self._fp):
                return self._wire_readline(limit)
            if self._decoder is not None:
                return io.IOBase.readline(self, limit)  # encoded content has no lines anyway
        return self._buffered_line(limit)

    def _buffered_line(self, limit: int) -> bytes:
        buffer = self._buffer()
        pieces = []
        while limit:
            if not len(buffer):
                if not self._decode_more(_PIECE, _PIECE, read1=True) and not len(buffer):
                    break
                continue
            piece = buffer.get_line(limit)
            pieces.append(piece)
            if piece.endswith(b"\n"):
                break
            if limit > 0:
                limit -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _reads_lines(fp: Any) -> bool:
    """Tell whether the body object can be asked for a line; see ``_wire_read1`` for wrappers."""
    if fp is None or isinstance(fp, Http1Response):
        return True
    if isinstance(fp, http.client.HTTPResponse) and fp.chunked:
        return False  # it needs a peek() below, which the files of test doubles lack
    return hasattr(type(fp), "readline")


def _close(file: Any) -> None:
    """Close somebody's own object, if it can be closed."""
    close = getattr(file, "close", None)
    if close is not None:
        close()


_ORIGINAL_READ = HTTPResponse.read
_ORIGINAL_UPDATE_CHUNK_LENGTH = HTTPResponse._update_chunk_length
_new_response = HTTPResponse.__new__


def _response_of(
    message: Http1Response,
    options: tuple[str, str, bool, bool, bool],
    version_string: str,
    carrier: tuple[Endpoints, int] | None,
    sock_shutdown: Callable[[int], None] | None,
) -> HTTPResponse:
    """Return `message`, whose head was read, as what programs get.

    What the constructor does for it, without what is only for others (benchmark ``small``).

    :param options: the method and target that were asked for, whether to read the body now, to
        decode it, and to insist on its length.
    :param carrier: the two ends of its connection, and the number of its answers with this one.
    """
    _, target, preload, decode, enforce = options
    head = message.head
    assert head is not None
    _, status, reason, headers, _ = head
    self = _new_response(HTTPResponse)
    self._body = self._pool = self._connection = self._release = self._retries = None
    self._decoder = self._limits = self._bounds = self._on_download = None
    self._decoder_known = False
    self._fp_bytes_read = 0
    self._fp = self._original_response = message
    self._request_url = target
    self._carrier = carrier
    self._sock_shutdown = sock_shutdown
    self.version_string = version_string
    self.headers = headers
    self.status = status
    self.version = message.version
    self.reason = reason
    self.decode_content = decode
    if not enforce:
        self.enforce_content_length = False
    self.length_remaining = length = message.length
    # Last, as in the constructor.
    self._is_whole = False
    self.chunked = message.chunked or (length == 0 and self._says_chunked())
    # Nobody knows when the other protocol that follows 101 will end.
    if preload and status != 101:
        self._body = self.read(decode_content=decode)
    return self
