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
import ssl
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from .threaded import PATIENCE, End, RequestReader, ThreadedServer
from .tls import TLSEnd

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
    :param tls: be an https proxy, with this server context.
    :param tunnel_headers: further lines of the answer to CONNECT, such as ``"Via: 1.1 x"``.
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
        tls: ssl.SSLContext | None = None,
        tunnel_headers: Sequence[str] = (),
    ) -> None:
        super().__init__(host=host, tls=tls)
        self._tunnel_headers = tunnel_headers
        self.log: list[bytes] = []
        self._resolve = resolve or {}
        self._password: bytes | None = None
        if credentials is not None:
            self._password = base64.b64encode(credentials.encode())

    def serve(self, number: int, end: End) -> None:
        """Answer requests until one of them becomes a tunnel, or the client leaves."""
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

    def _forward(self, end: End, head: bytes, body: bytes) -> bool:
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

    def _tunnel(self, end: End, head: bytes) -> None:
        host, _, port = head.split(b" ", 2)[1].decode("ascii").rpartition(":")
        try:
            upstream = self._connect(host.strip("[]"), int(port))
        except OSError:
            end.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        with upstream:
            lines = ["HTTP/1.1 200 Connection established", *self._tunnel_headers, "", ""]
            end.sendall("\r\n".join(lines).encode("ascii"))
            _relay(end, upstream)


def _read_to_end(sock: socket.socket) -> bytes:
    data = bytearray()
    while piece := sock.recv(65536):
        data += piece
        if len(data) > MAX_ANSWER:
            raise ConnectionError("an answer that is too long")
    return bytes(data)


def _relay(one: End, other: End) -> None:
    """Carry bytes both ways until one side ends or nothing comes for a while."""
    with selectors.DefaultSelector() as selector:
        selector.register(one, selectors.EVENT_READ, other)
        selector.register(other, selectors.EVENT_READ, one)
        while events := selector.select(PATIENCE):
            for key, _ in events:
                end = key.fileobj
                assert isinstance(end, (socket.socket, TLSEnd))
                more = True
                while more:
                    data = end.recv(65536)
                    if not data:
                        return
                    key.data.sendall(data)
                    more = isinstance(end, TLSEnd) and end.holds_data
