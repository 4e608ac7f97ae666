"""What raw servers with a thread per connection share: accepting, counting and a clean end."""

from __future__ import annotations

import re
import selectors
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TypeAlias, TypeVar

from .tls import TLSEnd

#: Seconds that any single wait may take.
PATIENCE = 10.0

#: Largest request head or body, in bytes.
MAX_REQUEST = 1 << 24

#: One end of a connection.
End: TypeAlias = "socket.socket | TLSEnd"

_SelfT = TypeVar("_SelfT", bound="ThreadedServer")
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)[ \t]*\r\n", re.IGNORECASE)


class ThreadedServer:
    """Listens on an ephemeral loopback port and calls `serve` in a thread per connection.

    The end of the ``with`` block closes all sockets and joins all threads.

    :param host: the loopback address to listen on; one with a colon is IPv6.
    :param tls: talk TLS from the first byte on, with this server context.
    :ivar connections: how many connections clients have opened so far.
    :ivar open: how many of them are open now.
    :ivar peak: how many were open at the same time, at most.
    """

    def __init__(self, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.host = host
        self.connections = self.open = self.peak = 0
        # Guards the counts, the two collections below and what subclasses record; notified at
        # each change.
        self._changed = threading.Condition()
        self._ends: dict[int, End] = {}
        self._threads: list[threading.Thread] = []
        self._tls = tls
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=256)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._accepting = threading.Event()
        self._acceptor = threading.Thread(target=self._accept_all, name="accept", daemon=True)

    @property
    def url(self) -> str:
        """``http://`` or ``https://``, host and port, without a path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'http' if self._tls is None else 'https'}://{host}:{self.port}"

    def serve(self, number: int, end: End) -> None:
        """Talk on one connection; it is closed when this returns or raises OSError."""
        raise NotImplementedError

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Wait for a condition on what is counted or recorded.

        :raises AssertionError: it did not come true in time.
        """
        with self._changed:
            if not self._changed.wait_for(condition, PATIENCE):
                raise AssertionError(
                    f"not within {PATIENCE:g} s: {self.connections} connections so far, "
                    f"{self.open} open"
                )

    def __enter__(self: _SelfT) -> _SelfT:
        self._acceptor.start()
        # All descriptors are open then, so that they do not look like a leak of the first test.
        self._accepting.wait(PATIENCE)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._wake_writer.close()
        self._acceptor.join()
        self._wake_reader.close()
        self._listener.close()
        with self._changed:
            ends = list(self._ends.values())
        for end in ends:
            with suppress(OSError):  # wakes a thread that is blocked in recv or send
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _accept_all(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._wake_reader, selectors.EVENT_READ)
            self._accepting.set()
            while not any(key.fileobj is self._wake_reader for key, _ in selector.select()):
                with suppress(OSError):  # gone again
                    self._start(self._listener.accept()[0])

    def _start(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(PATIENCE)
        end = sock if self._tls is None else TLSEnd(sock, self._tls)
        with self._changed:
            self.connections += 1
            self.open += 1
            self.peak = max(self.peak, self.open)
            number = self.connections
            self._ends[number] = end
            self._changed.notify_all()
        thread = threading.Thread(
            target=self._run, args=(number, end), name=f"connection-{number}", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    def _run(self, number: int, end: End) -> None:
        try:
            if isinstance(end, TLSEnd):
                end.do_handshake()
            self.serve(number, end)
        except OSError:
            pass  # the client left, or refused our certificate: its test says what it wants
        finally:
            with self._changed:
                del self._ends[number]
                end.close()
                self.open -= 1
                self._changed.notify_all()


class RequestReader:
    """Reads requests from one connection; a body needs a Content-Length.

    Belongs to the thread of that connection.
    """

    def __init__(self, end: End) -> None:
        self._end = end
        self._buffer = bytearray()

    def read(self) -> tuple[bytes, bytes] | None:
        """Return head (with its empty line) and body of the next request, None at the end.

        :raises ConnectionError: the connection ends inside a request, or it is too long.
        """
        searched = 0
        while (at := self._buffer.find(b"\r\n\r\n", searched)) < 0:
            searched = max(0, len(self._buffer) - 3)
            if not self._receive():
                if self._buffer:
                    raise ConnectionError("half a request")
                return None
        head = self._take(at + 4)
        length = _CONTENT_LENGTH.search(head)
        size = int(length[1]) if length else 0
        while len(self._buffer) < size:
            if not self._receive():
                raise ConnectionError("half a body")
        return head, self._take(size)

    def _receive(self) -> bool:
        data = self._end.recv(65536)
        self._buffer += data
        if len(self._buffer) > MAX_REQUEST:
            raise ConnectionError("a request that is too long")
        return bool(data)

    def _take(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data
