"""A SOCKS proxy: versions 4, 4a and 5, with user name and password if asked for.

::

    with SocksProxy(credentials=("user", "password")) as proxy:
        ...  # the client under test talks to proxy.host, proxy.port
    assert proxy.log[0].host == "example.com"

Made for tests: what the client asked for is on record, names need not exist, and any request can be
refused.  For replies that are no SOCKS at all see `script`.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Callable, Mapping
from typing import NamedTuple

from .proxy import _relay
from .threaded import PATIENCE, End, ThreadedServer

_CONNECT = 1
_NO_AUTH, _PASSWORD, _NO_METHOD = 0, 2, 0xFF
_IPV4, _NAME, _IPV6 = 1, 3, 4
_GRANTED_4, _REJECTED_4 = 0x5A, 0x5B
_REFUSED_5 = 5


class SocksRequest(NamedTuple):
    """What one connection asked for.

    :ivar version: 4 or 5.
    :ivar kind: how the target was written: ``"ipv4"``, ``"ipv6"`` or ``"name"`` (in version 4 that
        is 4a).
    :ivar username: as it came; empty if none did.
    :ivar password: the same; version 4 has none.
    """

    version: int
    kind: str
    host: str
    port: int
    username: bytes
    password: bytes


class SocksProxy(ThreadedServer):
    """A SOCKS proxy for CONNECT requests.

    :param credentials: user name and password that clients must give; version 4 looks at
        the user name only.  Without it version 5 wants no authentication.
    :param resolve: where ``(host, port)`` leads, for names and addresses that exist in a test only.
    :param refuse: asked for each request; the code to reply instead of connecting, 0: connect.
    :ivar log: the requests in the order of their arrival.
    """

    def __init__(
        self,
        *,
        credentials: tuple[str, str] | None = None,
        resolve: Mapping[tuple[str, int], tuple[str, int]] | None = None,
        refuse: Callable[[SocksRequest], int] = lambda request: 0,
        host: str = "127.0.0.1",
    ) -> None:
        super().__init__(host=host)
        self.log: list[SocksRequest] = []
        self._credentials = credentials
        self._resolve = resolve or {}
        self._refuse = refuse

    def url_for(self, scheme: str, userinfo: str = "") -> str:
        """Return the URL of the proxy for one of the four schemes."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{userinfo}{'@' if userinfo else ''}{host}:{self.port}"

    def serve(self, number: int, end: End) -> None:
        """Shake hands, connect, and carry bytes until one side ends."""
        assert isinstance(end, socket.socket)  # TLS to the proxy is not offered
        version = _read(end, 1)[0]
        if version == 4:
            upstream = self._version_4(end)
        elif version == 5:
            upstream = self._version_5(end)
        else:
            raise ConnectionError(f"not SOCKS: {version}")
        if upstream is not None:
            with upstream:
                _relay(end, upstream)

    def _version_4(self, end: socket.socket) -> socket.socket | None:
        command, port, address = struct.unpack("!BH4s", _read(end, 7))
        username = _read_until_nul(end)
        kind, host = "ipv4", socket.inet_ntoa(address)
        if address[:3] == b"\0\0\0" and address[3]:
            kind, host = "name", _read_until_nul(end).decode("ascii")
        request = SocksRequest(4, kind, host, port, username, b"")
        code = self._record(request)
        if command != _CONNECT or not self._knows(4, username, b""):
            code = _REJECTED_4
        upstream = None if code else self._connect(host, port)
        code = code or (_GRANTED_4 if upstream else _REJECTED_4)
        end.sendall(struct.pack("!BBHI", 0, code, 0, 0))
        return upstream

    def _version_5(self, end: socket.socket) -> socket.socket | None:
        offered = _read(end, _read(end, 1)[0])
        method = _NO_AUTH if self._credentials is None else _PASSWORD
        if method not in offered:
            end.sendall(bytes([5, _NO_METHOD]))
            return None
        end.sendall(bytes([5, method]))
        username = password = b""
        if method == _PASSWORD:
            _read(end, 1)
            username = _read(end, _read(end, 1)[0])
            password = _read(end, _read(end, 1)[0])
            known = self._knows(5, username, password)
            end.sendall(bytes([1, 0 if known else 1]))
            if not known:
                return None
        _, command, _, kind_of_address = _read(end, 4)
        kind, host = _read_address(end, kind_of_address)
        (port,) = struct.unpack("!H", _read(end, 2))
        code = self._record(SocksRequest(5, kind, host, port, username, password))
        if command != _CONNECT:
            code = 7
        upstream = None if code else self._connect(host, port)
        code = code or (0 if upstream else _REFUSED_5)
        end.sendall(struct.pack("!BBBBIH", 5, code, 0, _IPV4, 0, 0))
        return upstream

    def _record(self, request: SocksRequest) -> int:
        with self._changed:
            self.log.append(request)
            self._changed.notify_all()
        return self._refuse(request)

    def _knows(self, version: int, username: bytes, password: bytes) -> bool:
        if self._credentials is None:
            return True
        known, secret = (part.encode() for part in self._credentials)
        return username == known and (version == 4 or password == secret)

    def _connect(self, host: str, port: int) -> socket.socket | None:
        try:
            return socket.create_connection(
                self._resolve.get((host, port), (host, port)), timeout=PATIENCE
            )
        except OSError:
            return None


def _read(end: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = end.recv(size - len(data))
        if not piece:
            raise ConnectionError("half a request")
        data += piece
    return data


def _read_until_nul(end: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\0"):
        data += _read(end, 1)
    return data[:-1]


def _read_address(end: socket.socket, kind: int) -> tuple[str, str]:
    if kind == _IPV4:
        return "ipv4", socket.inet_ntoa(_read(end, 4))
    if kind == _IPV6:
        return "ipv6", str(ipaddress.IPv6Address(_read(end, 16)))
    if kind == _NAME:
        return "name", _read(end, _read(end, 1)[0]).decode("ascii")
    raise ConnectionError(f"unknown type of address: {kind}")
