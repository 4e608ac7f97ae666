"""The server's end of a TLS connection, in which each direction can be ended by itself.

`ssl.SSLSocket.unwrap` sends close_notify and then reads; data that the peer sent meanwhile is lost
with an error.  Through memory buffers the two are apart.  It also works on top of another `TLSEnd`.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

_T = TypeVar("_T")


class TLSEnd:
    """TLS as a server over a connected `socket.socket` or another `TLSEnd`.

    Has the few methods of a socket that a script needs.  `do_handshake` comes first.  For one
    thread, except `shutdown`, which another may call to wake one that waits.
    """

    def __init__(self, sock: socket.socket | TLSEnd, context: ssl.SSLContext) -> None:
        self._sock = sock
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._plain = bytearray()

    def do_handshake(self) -> None:
        """Greet the client.

        :raises ssl.SSLError: one side does not want the other.
        """
        self._pump(self._tls.do_handshake)

    def recv(self, size: int) -> bytes:
        """Return at most `size` bytes; none after close_notify, or where the connection ends."""
        if self._plain:
            data = bytes(self._plain[:size])
            del self._plain[:size]
            return data
        try:
            return self._pump(lambda: self._tls.read(size))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    @property
    def holds_data(self) -> bool:
        """Whether bytes have been received that `recv` did not return yet."""
        return bool(self._plain or self._tls.pending() or self._incoming.pending)

    def fileno(self) -> int:
        """Return the descriptor of the socket below, for selectors."""
        return self._sock.fileno()

    def sendall(self, data: bytes) -> None:
        """Encrypt and send all of `data`."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._pump(partial(self._tls.write, rest)) :]

    def send_close_notify(self) -> None:
        """End our direction; what the peer sends can still be received."""
        # unwrap() would stumble over records that are here already.
        with suppress(ssl.SSLError):
            while data := self._tls.read(65536):
                self._plain += data
        with suppress(ssl.SSLError):  # it wants to read the peer's close_notify: we do not
            self._tls.unwrap()
        self._flush()

    def settimeout(self, seconds: float | None) -> None:
        """Set the longest wait of one operation on the connection below."""
        self._sock.settimeout(seconds)

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        """Set an option of the socket below."""
        self._sock.setsockopt(level, option, value)

    def shutdown(self, how: int) -> None:
        """Shut the socket below down, without a close_notify."""
        self._sock.shutdown(how)

    def close(self) -> None:
        """Close the socket below, without a close_notify."""
        self._sock.close()

    def _pump(self, operation: Callable[[], _T]) -> _T:
        """Call `operation` and carry bytes to and from the socket until it succeeds."""
        while True:
            try:
                return operation()
            except ssl.SSLWantReadError:
                self._flush()  # the peer may wait for this before it sends
                self._feed()
            finally:
                self._flush()  # also the alert that tells why a handshake failed

    def _feed(self) -> None:
        data = self._sock.recv(65536)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._sock.sendall(self._outgoing.read())
