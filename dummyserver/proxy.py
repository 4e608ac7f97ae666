"""An HTTP proxy: forwards requests in absolute form and opens tunnels for CONNECT.

::

    with Proxy(credentials="user:password") as proxy:
        ...  # the client under test talks to proxy.url
    assert proxy.log[0].startswith(b"CONNECT ")

Made for tests: what the client sent is on record, and names need not exist.
"""

from __future__ import annotations

import base64
import re
import selectors
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

from .threaded import PATIENCE, End, RequestReader, ThreadedServer

#: Longest answer that is forwarded, in bytes.
MAX_ANSWER = 1 << 26

_HOP_BY_HOP = re.compile(rb"\r\n(?:connection|proxy-[a-z-]+):[^\r\n]*", re.IGNORECASE)
_FRAMED = re.compile(
    rb"\r\n(?:content-length:|transfer-encoding:[^\r\n]*chunked)|^HTTP/1.1 (?:204|304)",
    re.IGNORECASE,
)


class Proxy(ThreadedServer):
    """A forward and CONNECT proxy.

    :param credentials: ``"user:password"``; requests without them get 407.
    :param resolve: where ``(host, port)`` leads, for names that exist in a test only.
    :ivar log: the heads that clients sent to the proxy, as raw bytes, in the order of arrival;
        what passes through a tunnel is not seen.
    """

    def __init__(
        self,
        *,
        credentials: str | None = None,
        resolve: Mapping[tuple[str, int], tuple[str, int]] | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        super().__init__(host=host)
        self.log: list[bytes] = []
        self._resolve = resolve or {}
        self._password: bytes | None = None
        if credentials is not None:
            self._password = base64.b64encode(credentials.encode())

    def serve(self, number: int, end: End) -> None:
        """Answer requests until one of them becomes a tunnel, or the client leaves."""
        assert isinstance(end, socket.socket)  # TLS to the proxy is not offered
        reader = RequestReader(end)
        while (request := reader.read()) is not None:
            head, body = request
            with self._changed:
                self.log.append(head)
                self._changed.notify_all()
            if not self._may_pass(head):
                end.sendall(
                    b"HTTP/1.1 407 Proxy Authentication Required\r\n"
                    b'Proxy-Authenticate: Basic realm="proxy"\r\nContent-Length: 0\r\n\r\n'
                )
            elif head.startswith(b"CONNECT "):
                self._tunnel(end, head)
                return
            elif not self._forward(end, head, body):
                return

    def _may_pass(self, head: bytes) -> bool:
        if self._password is None:
            return True
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"proxy-authorization":
                scheme, _, given = value.strip().partition(b" ")
                return scheme.lower() == b"basic" and given == self._password
        return False

    def _connect(self, host: str, port: int) -> socket.socket:
        address = self._resolve.get((host, port), (host, port))
        return socket.create_connection(address, timeout=PATIENCE)

    def _forward(self, end: socket.socket, head: bytes, body: bytes) -> bool:
        """Send a request to its origin and hand its answer back; False: this was the last."""
        method, url, _ = head.split(b" ", 2)
        parts = urlsplit(url.decode("ascii"))
        if parts.scheme != "http" or not parts.hostname:
            end.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            return True
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        onward = _HOP_BY_HOP.sub(b"", head.replace(url, target.encode("ascii"), 1))[:-2]
        try:
            upstream = self._connect(parts.hostname, parts.port or 80)
        except OSError:
            end.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return True
        with upstream:
            upstream.sendall(onward + b"Connection: close\r\n\r\n" + body)
            answer = _read_to_end(upstream)
        answer_head, _, content = answer.partition(b"\r\n\r\n")
        framed = method == b"HEAD" or _FRAMED.search(answer_head) is not None
        answer_head = _HOP_BY_HOP.sub(b"", answer_head)
        if not framed:
            answer_head += b"\r\nConnection: close"
        end.sendall(answer_head + b"\r\n\r\n" + content)
        return framed

    def _tunnel(self, end: socket.socket, head: bytes) -> None:
        host, _, port = head.split(b" ", 2)[1].decode("ascii").rpartition(":")
        try:
            upstream = self._connect(host.strip("[]"), int(port))
        except OSError:
            end.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        with upstream:
            end.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            _relay(end, upstream)


def _read_to_end(sock: socket.socket) -> bytes:
    data = bytearray()
    while piece := sock.recv(65536):
        data += piece
        if len(data) > MAX_ANSWER:
            raise ConnectionError("an answer that is too long")
    return bytes(data)


def _relay(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until one side ends or nothing comes for a while."""
    with selectors.DefaultSelector() as selector:
        selector.register(one, selectors.EVENT_READ, other)
        selector.register(other, selectors.EVENT_READ, one)
        while events := selector.select(PATIENCE):
            for key, _ in events:
                assert isinstance(key.fileobj, socket.socket)
                data = key.fileobj.recv(65536)
                if not data:
                    return
                key.data.sendall(data)
