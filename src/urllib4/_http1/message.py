"""A response on the wire, in the shape that programs know: ``http.client.HTTPResponse``.

``urllib4.response.HTTPResponse`` reads through it, and what others reach for inside it still
works: ``msg``, ``isclosed()``, ``_safe_read``, ``fp.raw._sock``, ``chunked``, ``will_close``.
"""

from __future__ import annotations

import http.client
import io
import socket
import sys
from typing import Any

from ..exceptions import ProtocolError
from .body import ChunkedBody, LengthBody, UntilCloseBody, make_body
from .framing import UNTIL_CLOSE, keeps_alive, plain_length, response_framing
from .head import ResponseHead, parse_response_head, recall_response_head
from .stream import ByteStream

#: Interim (1xx) responses that are skipped before the final one (Go: 5).
MAX_INTERIM_RESPONSES = 20

# What http.client says of a response whose head was not read yet.
_UNKNOWN: Any = "UNKNOWN"


class Http1Response(http.client.HTTPResponse):
    """One HTTP/1.1 response, its head read by our own strict parser (RFC 9112).

    :param sock: the connected socket.
    :param method: the request's method: a response to HEAD or CONNECT has no body.
    :param stream: the reader of the connection; made from `sock` if None, as for everybody who
        uses this class on its own.
    :param upgrade: whether the request asked for an upgrade, so that 101 is a final answer.

    Belongs to one thread at a time, like its connection.
    """

    # In slots, and so all set by the constructor: objects of io keep everything else in a dict that
    # is five times as slow, and there is one object per answer (benchmark ``small``).
    __slots__ = (
        "_file", "_method", "_msg", "_sock", "_stream", "_upgrade", "body", "chunk_left",
        "chunked", "code", "debuglevel", "head", "length", "reason", "status", "version",
        "will_close",
    )  # fmt: skip

    def __init__(
        self,
        sock: Any,
        debuglevel: int = 0,
        method: str | None = None,
        url: str | None = None,
        stream: ByteStream | None = None,
        upgrade: bool = False,
    ) -> None:
        self._sock = sock
        self._stream: ByteStream | None = ByteStream(sock) if stream is None else stream
        self._method = method
        self._upgrade = upgrade
        self.debuglevel = debuglevel
        self.head: ResponseHead | None = None
        self.body: LengthBody | ChunkedBody | UntilCloseBody | None = None
        self._msg: http.client.HTTPMessage | None = None
        self._file: StreamFile | None = None
        self.code = self.status = self.reason = self.version = _UNKNOWN
        self.chunked = self.chunk_left = self.length = self.will_close = _UNKNOWN

    # -- the head --------------------------------------------------------------------------

    def begin(self) -> None:
        """Read the head of the final response; interim ones are skipped (RFC 9110, 15.2).

        :raises http.client.RemoteDisconnected: the connection ended before the first byte.
        :raises http.client.BadStatusLine: the answer is not HTTP/1.x.
        :raises ProtocolError: the head is malformed, contradictory, cut off or too large.
        """
        if self.head is None:
            assert self._stream is not None
            self._begin(self._stream)

    def _begin(self, stream: ByteStream) -> None:
        block = stream.read_head_cut_at_crlf()
        head = recall_response_head(block) if block else None
        if head is None or head[1] < 200:
            head = self._read_closely(stream, block, head)
        version, status, self.reason, headers, _ = self.head = head
        self.code = self.status = status
        self.version = version
        self.chunk_left = None
        # The answers of most requests, without two calls more (benchmark ``small``).
        length = (
            plain_length(headers._container)
            if status == 200 and version == 11 and self._method == "GET"
            else None
        )
        if length is not None:
            self.length = length
            self.chunked = self.will_close = False
            self.body = LengthBody(stream, length)
        else:
            self._frame(stream, head)
        if self.debuglevel > 0:
            self._print_head(head)

    def _read_closely(
        self, stream: ByteStream, block: bytes | None, head: ResponseHead | None
    ) -> ResponseHead:
        """Return the head of the final response.

        :param block: what was taken for the first head; None: the stream ended.
        :param head: what it says; None: it is unusual, and may end before the block does.
        """
        if head is None and block is not None:
            stream.put_back(len(block))
            block = stream.read_head()
            head = parse_response_head(block) if block else None
        if head is None or head.status < 200:
            head = self._skip_interim(stream, head)
        return head

    def _frame(self, stream: ByteStream, head: ResponseHead) -> None:
        """Find out where the body ends, and whether the connection ends with it."""
        # What follows 101 is another protocol's, to the end of the connection (RFC 9110, 7.8).
        framing = UNTIL_CLOSE if head.status == 101 else response_framing(self._method, head)
        self.length = framing.length
        self.chunked = framing.kind == "chunked"
        self.will_close = not keeps_alive(head, framing)
        self.body = make_body(stream, framing)

    def _skip_interim(self, stream: ByteStream, head: ResponseHead | None) -> ResponseHead:
        """Return the head of the final response; `head` was read already, None: there was none."""
        for _ in range(MAX_INTERIM_RESPONSES + 1):
            if head is None:
                raise http.client.RemoteDisconnected(
                    "Remote end closed connection without response"
                )
            if head.status >= 200:
                return head
            if head.status == 101:
                if self._upgrade:
                    return head
                raise ProtocolError("101 Switching Protocols without an upgrade being asked for")
            stream.interims += 1
            block = stream.read_head()
            head = parse_response_head(block) if block else None
        raise ProtocolError(f"more than {MAX_INTERIM_RESPONSES} interim (1xx) responses")

    def _print_head(self, head: ResponseHead) -> None:
        # http.client prints, too: that is what its debuglevel means.
        print("reply:", repr(f"HTTP/1.{head.version % 10} {head.status} {head.reason}"))  # noqa: T201
        for name, value in head.headers.iteritems():
            print("header:", name + ":", value)  # noqa: T201

    @property  # type: ignore[override]
    def msg(self) -> http.client.HTTPMessage | None:
        """The fields as the standard library's message object, made when first asked for."""
        if self._msg is None and self.head is not None:
            message = http.client.HTTPMessage()
            for name, value in self.head.headers.iteritems():
                message[name] = value
            self._msg = message
        return self._msg

    @msg.setter
    def msg(self, value: http.client.HTTPMessage | None) -> None:
        self._msg = value

    headers = msg  # type: ignore[assignment]

    # -- the body --------------------------------------------------------------------------

    @property
    def complete(self) -> bool:
        """Whether the body was read to the end that its framing gives."""
        return self.body is not None and self.body.complete

    @property  # type: ignore[override]
    def fp(self) -> StreamFile | None:
        """What the bytes are read from, as a file; None when the response is closed."""
        if self._stream is None:
            return None
        if self._file is None:
            self._file = StreamFile(self._stream)
        return self._file

    @fp.setter
    def fp(self, value: Any) -> None:
        if value is None:
            self._stream = None
        self._file = value

    def _open_body(self) -> LengthBody | ChunkedBody | UntilCloseBody | None:
        """Return the body unless the response is closed, or has none left."""
        return None if self._stream is None else self.body

    def _after_read(self) -> None:
        """Close as http.client does once the body is complete, and mirror its counters."""
        body = self.body
        assert body is not None
        self.length = body.left
        if isinstance(body, ChunkedBody):
            self.chunk_left = body.chunk_left  # docker reads live streams chunk by chunk by it
        if body.complete:
            self._close_conn()

    def read(self, amt: int | None = None) -> bytes:
        """Read `amt` bytes, or all; fewer only at the end.

        :raises IncompleteRead: the body ended early and `amt` is None.
        """
        body = self._open_body()
        if body is None:
            return b""
        data = body.read_all() if amt is None or amt < 0 else body.read(amt)
        self._after_read()
        return data

    def read1(self, n: int = -1) -> bytes:
        """Read at most `n` bytes with at most one receive."""
        body = self._open_body()
        if body is None:
            return b""
        data = body.read1(n)
        self._after_read()
        return data

    def readinto(self, b: Any) -> int:
        """Fill the buffer `b`; fewer bytes only at the end."""
        body = self._open_body()
        if body is None:
            return 0
        with memoryview(b) as view, view.cast("B") as octets:
            count = body.readinto(octets)
        self._after_read()
        return count

    def peek(self, n: int = -1) -> bytes:
        """Return what is at hand, or what one receive brings, without taking it.

        :param n: for compatibility; the result may be longer or shorter.
        """
        body, stream = self._open_body(), self._stream
        if body is None or stream is None:
            return b""
        limit = body.next_chunk() if isinstance(body, ChunkedBody) else body.left
        if limit == 0:
            self._after_read()
            return b""
        if not stream.buffered:
            stream.fill()
        return bytes(stream.peek()[:limit])

    def readline(self, limit: int | None = -1) -> bytes:
        """Read up to and including a newline, or `limit` bytes."""
        body = self._open_body()
        if body is None:
            return b""
        line = body.readline(-1 if limit is None else limit)
        self._after_read()
        return line

    # -- life ------------------------------------------------------------------------------

    def isclosed(self) -> bool:
        """Tell whether the body was used up or the response closed."""
        return self._stream is None

    def close(self) -> None:
        """Let go of the connection's reader; the connection itself stays as it is."""
        self._close_conn()
        io.BufferedIOBase.close(self)

    def _close_conn(self) -> None:
        self._stream = None
        self._file = None

    def flush(self) -> None:
        """Do nothing: there is nothing to write."""

    def fileno(self) -> int:
        """Return the descriptor of the socket."""
        fileno: int = self._sock.fileno()
        return fileno

    def __del__(self) -> None:
        """Do nothing, which is cheaper than the ``close()`` of io's own finaliser."""


_new, _begin = Http1Response.__new__, Http1Response._begin


def receive_response(sock: Any, method: str, stream: ByteStream, upgrade: bool) -> Http1Response:
    """Return the next response of `stream`, its head read.

    What the class and :meth:`~Http1Response.begin` do, without setting first what the head decides
    (benchmark ``small``); parameters and errors are theirs.
    """
    self = _new(Http1Response)
    self._sock = sock
    self._stream = stream
    self._method = method
    self._upgrade = upgrade
    self.debuglevel = 0
    self._msg = None
    self._file = None
    _begin(self, stream)
    return self


class StreamFile(io.BufferedIOBase):
    """A connection's reader as a file, for those who look inside ``HTTPResponse.fp``.

    It has no buffer of its own: bytes that are not read here stay with the connection.
    """

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._raw: StreamSocketIO | None = None

    @property
    def raw(self) -> StreamSocketIO:
        """A :class:`socket.SocketIO` (``raw._sock`` is the socket) that starts with what the
        reader already holds."""
        if self._raw is None:
            self._raw = StreamSocketIO(self._stream)
        return self._raw

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """Read `size` bytes, or to the end of the connection."""
        if size is None or size < 0:
            return b"".join(iter(lambda: self._stream.read1(65536), b""))
        pieces = []
        while size > 0:
            data = self._stream.read1(size)
            if not data:
                break
            pieces.append(data)
            size -= len(data)
        return b"".join(pieces)

    def read1(self, size: int = -1) -> bytes:
        """Read what is at hand, or what one receive brings."""
        return self._stream.read1(size if size >= 0 else 65536)

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer`."""
        with memoryview(buffer) as view, view.cast("B") as octets:
            return self._stream.readinto(octets)

    def readline(self, size: int | None = -1) -> bytes:
        """Read up to and including a newline, or `size` bytes."""
        return self._stream.read_line(sys.maxsize if size is None or size < 0 else size)

    def peek(self, size: int = 0) -> bytes:
        """Return what the reader holds, receiving once if that is nothing."""
        if not self._stream.buffered:
            self._stream.fill()
        return bytes(self._stream.peek())

    def fileno(self) -> int:
        """Return the descriptor of the socket."""
        fileno: int = self._stream.sock.fileno()
        return fileno


class StreamSocketIO(socket.SocketIO):
    """The socket itself as a raw file; first hands out what the reader already holds."""

    def __init__(self, stream: ByteStream) -> None:
        super().__init__(stream.sock, "rwb")
        self._stream = stream
        if isinstance(stream.sock, socket.socket):
            # As socket.makefile() does: the descriptor lives as long as this object is open.
            stream.sock._io_refs += 1  # type: ignore[attr-defined]

    def readinto(self, b: Any) -> int | None:
        """Read once into `b`."""
        if self._stream.buffered:
            with memoryview(b) as view, view.cast("B") as octets:
                return self._stream.readinto1(octets)
        return super().readinto(b)

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Receive as a socket does: those who took this object for one call it."""
        if self._stream.buffered and not flags:
            return self._stream.take(bufsize)
        data: bytes = self._stream.sock.recv(bufsize, flags)
        return data

    def close(self) -> None:
        """Close this object; the socket stays open as long as its connection wants it."""
        if self.closed:
            return
        if isinstance(self._sock, socket.socket):
            super().close()
        else:
            super(socket.SocketIO, self).close()

    def __getattr__(self, name: str) -> Any:
        """Pass what a file does not have (``sendall``, ``settimeout``...) on to the socket."""
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._stream.sock, name)
