"""A raw server that records what it gets, byte for byte, and understands none of it."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
TUNNEL = b"HTTP/1.1 200 Connection established\r\n\r\n"

#: Seconds that a client may take to send or to close.
PATIENCE = 10.0

_SENTINEL = b"\0the test asks what came before this\0"
_END = b"\0the test is over\0"


class Recorder:
    """Accepts one connection after the other and records what came on each, up to its end.

    A head that is complete is answered with 200 (a CONNECT with an open tunnel, in which the next
    head is answered).  Connections are served in the order in which they are opened, so `take`
    knows that it has seen everything without waiting for time to pass.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.host, self.port = self._listener.getsockname()[:2]
        self.url = f"http://{self.host}:{self.port}"
        # Guards the two lists; notified when a sentinel has come.
        self._changed = threading.Condition()
        self._records: list[bytes] = []
        self._taken: list[list[bytes]] = []
        self._thread = threading.Thread(target=self._serve, name="recorder", daemon=True)

    def __enter__(self) -> Recorder:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._say(_END)
        self._thread.join()
        self._listener.close()

    def take(self) -> list[bytes]:
        """Return what came since the last call, one item per connection, and forget it.

        All connections must be closed, or about to be.
        """
        self._say(_SENTINEL)
        with self._changed:
            if not self._changed.wait_for(lambda: self._taken, PATIENCE):
                raise AssertionError("the client left a connection open")
            return self._taken.pop()

    def _say(self, word: bytes) -> None:
        with socket.create_connection((self.host, self.port)) as sock:
            sock.sendall(word)

    def _serve(self) -> None:
        data = b""
        while data != _END:
            sock, _ = self._listener.accept()
            with sock:
                sock.settimeout(PATIENCE)
                data = self._record(sock)
            with self._changed:
                if data == _SENTINEL:
                    self._taken.append(self._records)
                    self._records = []
                    self._changed.notify_all()
                else:
                    self._records.append(data)

    def _record(self, sock: socket.socket) -> bytes:
        data = bytearray()
        answered = 0
        with suppress(OSError):
            while piece := sock.recv(65536):
                data += piece
                end = data.find(b"\r\n\r\n", answered)
                if end >= 0 and (not answered or data.startswith(b"CONNECT ")):
                    tunnel = not answered and data.startswith(b"CONNECT ")
                    answered = end + 4
                    sock.sendall(TUNNEL if tunnel else OK)
        return bytes(data)
