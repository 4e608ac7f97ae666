"""Web servers for tables of cases: what each one answers is set from case to case."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias

from dummyserver.threaded import End, ThreadedServer
from tests.hostile.strict_parser import Request, Violation, parse_one

#: Bytes to send, after which the next request is read; or what else to do, which ends it all.
Answer: TypeAlias = "bytes | Callable[[End], object]"

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Origin(ThreadedServer):
    """A server that answers by target, and keeps what it was sent.

    :ivar routes: answers by target (without an authority); anything else gets `default`.
    :ivar requests: what came, read by the strict parser, in order of arrival.
    :ivar violations: what that parser refused.
    """

    def __init__(self, *, tls: Any = None) -> None:
        super().__init__(tls=tls)
        self.routes: dict[bytes, Answer | list[Answer]] = {}
        self.default: Answer = OK
        self.requests: list[Request] = []
        self.violations: list[Violation] = []

    def start_case(self, routes: dict[bytes, Any] | None = None, default: Answer = OK) -> None:
        """Forget the case before; connections stay open."""
        self.requests.clear()
        self.routes = routes or {}
        self.default = default

    def serve(self, number: int, end: End) -> None:
        """Answer requests until the client leaves, or an answer ends the connection."""
        buffer = bytearray()
        while (data := _read(end, buffer)) is not None:
            try:
                request = parse_one(data, raw_host=True)
            except Violation as violation:
                self.violations.append(violation)
                return
            self.requests.append(request)
            answer = self._answer(request)
            if callable(answer):
                answer(end)
                return
            if request.method == b"HEAD":
                answer = answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
            end.sendall(answer)
            if request.values(b"connection") == [b"close"]:
                return

    def _answer(self, request: Request) -> Answer:
        target = request.target
        if not target.startswith(b"/"):
            target = b"/" + target.partition(b"://")[2].partition(b"/")[2]
        answer = self.routes.get(target, self.default)
        return answer.pop(0) if isinstance(answer, list) else answer


def _read(end: End, buffer: bytearray) -> bytes | None:
    """Read one request by its framing; None at the end of the connection."""
    while (at := buffer.find(b"\r\n\r\n")) < 0:
        if not _more(end, buffer):
            return None
    head = bytes(buffer[: at + 4]).lower()
    if b"\r\ntransfer-encoding: chunked\r\n" in head:
        while not buffer.endswith(b"\r\n0\r\n\r\n") and buffer[at + 4 :] != b"0\r\n\r\n":
            if not _more(end, buffer):
                return None
        size = len(buffer)
    else:
        _, found, rest = head.partition(b"\r\ncontent-length: ")
        size = at + 4 + (int(rest.partition(b"\r\n")[0]) if found else 0)
        while len(buffer) < size:
            if not _more(end, buffer):
                return None
    data = bytes(buffer[:size])
    del buffer[:size]
    return data


def _more(end: End, buffer: bytearray) -> bool:
    try:
        data = end.recv(65536)
    except OSError:
        return False
    buffer += data
    return bool(data)


def close(end: End) -> None:
    """Answer nothing and close."""


def reset(end: End) -> None:
    """Answer nothing and reset the connection."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def silence(end: End) -> None:
    """Answer nothing until the client leaves."""
    with suppress(OSError):
        while end.recv(65536):
            pass


def after(data: bytes, then: Callable[[End], object] = close) -> Callable[[End], object]:
    """Return the answer that sends `data` and goes on with `then`."""

    def play(end: End) -> None:
        end.sendall(data)
        then(end)

    return play


def beneath_tls(data: bytes) -> Callable[[End], object]:
    """Return the answer that writes `data` to the socket under TLS, as no TLS would."""

    def play(end: Any) -> None:
        end._sock.sendall(data)
        silence(end)

    return play


def moved(status: int, location: str | bytes, *fields: bytes) -> bytes:
    """Return a redirect with a small body."""
    if isinstance(location, str):
        location = location.encode("latin-1")
    lines = [b"HTTP/1.1 %d Moved" % status, b"Location: " + location, b"Content-Length: 5", *fields]
    return b"\r\n".join([*lines, b"", b"moved"])
