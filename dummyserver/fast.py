"""A fast server of canned answers, for benchmarks: one thread, one loop, no parsing to speak of.

It serves one request at a time, on blocking sockets, so a client that stops reading stops
everybody.  That suits a benchmark, where one client is measured at a time and the server has to be
as cheap as it can be; for tests of behaviour take any of the other servers.
"""

from __future__ import annotations

import re
import selectors
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

#: Seconds that the server waits for a client which has begun something.
PATIENCE = 60.0

#: Bytes of an upload that are read at once.
UPLOAD_PIECE = 1 << 20

_REQUEST_LINE = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.1\r\n")
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)[ \t]*\r\n", re.IGNORECASE)

#: What is said to a request that has no route or no length.
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
_NO_LENGTH = b"HTTP/1.1 411 Length Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Canned(NamedTuple):
    """One answer: `message` as it goes out, then the content of `file`, then the end if `close`."""

    message: bytes
    file: Path | None = None
    close: bool = False


class FastServer:
    """Answers GET with what `routes` has for the path, and POST with the number of bytes it got.

    A context manager: inside the ``with`` block a thread serves.  `serve_forever` is for a process
    that does nothing else.

    :param routes: path to answer.
    :param tls: a server context; with one there is an https port as well.
    :param hosts: the loopback addresses to listen on, all with the same port.
    :raises OSError: an address cannot be bound.
    :ivar port: of http, on all hosts.
    :ivar tls_port: of https, on the first host; 0 without `tls`.
    """

    def __init__(
        self,
        routes: Mapping[str, Canned],
        *,
        tls: ssl.SSLContext | None = None,
        hosts: Sequence[str] = ("127.0.0.1",),
    ) -> None:
        self._routes = {path.encode(): canned for path, canned in routes.items()}
        self._tls = tls
        self._selector = selectors.DefaultSelector()
        self._listeners = {socket.create_server((hosts[0], 0), backlog=256): False}
        self.port: int = next(iter(self._listeners)).getsockname()[1]
        self.tls_port = 0
        try:
            for host in hosts[1:]:
                self._listeners[socket.create_server((host, self.port), backlog=256)] = False
            if tls is not None:
                listener = socket.create_server((hosts[0], 0), backlog=256)
                self._listeners[listener] = True
                self.tls_port = listener.getsockname()[1]
        except OSError:
            self._close_all()
            raise
        self._wake_reader, self._wake_writer = socket.socketpair()
        for end in (*self._listeners, self._wake_reader):
            self._selector.register(end, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self.serve_forever, name="fast server", daemon=True)

    def __enter__(self) -> FastServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        self._thread.join()

    def stop(self) -> None:
        """End `serve_forever`; may be called from any thread."""
        with suppress(OSError):
            self._wake_writer.send(b"x")

    def serve_forever(self) -> None:
        """Serve until `stop`, then close all sockets."""
        try:
            while True:
                for key, _ in self._selector.select():
                    end = key.fileobj
                    assert isinstance(end, socket.socket)
                    if end is self._wake_reader:
                        return
                    if end in self._listeners:
                        self._accept(end)
                    elif not self._serve(end):
                        self._selector.unregister(end)
                        end.close()
        finally:
            self._close_all()

    def _accept(self, listener: socket.socket) -> None:
        end, _ = listener.accept()
        end.settimeout(PATIENCE)
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._listeners[listener]:
            assert self._tls is not None
            try:
                end = self._tls.wrap_socket(end, server_side=True)
            except OSError:  # a client that gives up during the handshake
                end.close()
                return
        self._selector.register(end, selectors.EVENT_READ)

    def _serve(self, end: socket.socket) -> bool:
        """Answer what can be read; return whether the connection stays open."""
        try:
            received = end.recv(65536)
            while received:
                head, found, rest = received.partition(b"\r\n\r\n")
                if not found:
                    more = end.recv(65536)
                    if not more:
                        return False
                    received += more
                    continue
                if not self._answer(end, head + found, rest):
                    return False
                # A TLS socket may hold decrypted bytes that the selector knows nothing of.
                if not (isinstance(end, ssl.SSLSocket) and end.pending()):
                    return True
                received = end.recv(65536)
        except OSError:
            pass
        return False

    def _answer(self, end: socket.socket, head: bytes, rest: bytes) -> bool:
        match = _REQUEST_LINE.match(head)
        if match is None:
            return False
        method, path = match.groups()
        if method == b"POST":
            return self._swallow(end, head, rest)
        canned = self._routes.get(path)
        if canned is None:
            end.sendall(_NOT_FOUND)
            return True
        end.sendall(canned.message)
        if canned.file is not None:
            with canned.file.open("rb") as file:
                end.sendfile(file)
        if canned.close:
            # Without close_notify a strict client would take a TLS answer for a cut one.
            with suppress(OSError):
                if isinstance(end, ssl.SSLSocket):
                    end.unwrap()
                end.shutdown(socket.SHUT_WR)
        return not canned.close

    def _swallow(self, end: socket.socket, head: bytes, rest: bytes) -> bool:
        """Read an upload and say how long it was."""
        length = _CONTENT_LENGTH.search(head)
        if length is None:
            end.sendall(_NO_LENGTH)
            return False
        missing = int(length[1]) - len(rest)
        buffer = bytearray(min(UPLOAD_PIECE, max(missing, 1)))
        while missing > 0:
            received = end.recv_into(buffer)
            if not received:
                return False
            missing -= received
        body = length[1]
        end.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        return True

    def _close_all(self) -> None:
        for key in list((self._selector.get_map() or {}).values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()
        for listener in self._listeners:
            listener.close()
        if hasattr(self, "_wake_writer"):
            self._wake_reader.close()
            self._wake_writer.close()
