"""A proxy for tables of cases: what it does instead of its job is set from case to case."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias

from dummyserver.threaded import End, RequestReader, ThreadedServer
from dummyserver.tls import TLSEnd

OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"

#: What a proxy does once it was asked; the connection is closed behind it.
Play: TypeAlias = Callable[[End], object]


class HostileProxy(ThreadedServer):
    """A proxy, and the target behind it.

    Without a `play` it does its job: it opens tunnels, in which it is the target, and answers each
    request with the URL or the path that was asked for.

    :param tls: what the proxy shows; None: a plain one.
    :param target: what the target shows.
    :ivar play: what to do with the next requests and tunnels instead, after their head was read.
    :ivar inside: what to do in the tunnel instead of TLS and answers.
    :ivar asked: the heads that came to the proxy.
    """

    def __init__(self, target: ssl.SSLContext, *, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls=tls)
        self.target = target
        self.play: Play | None = None
        self.inside: Play | None = None
        self.asked: list[bytes] = []

    def serve(self, number: int, end: End) -> None:
        """Read heads and do with each what the case says."""
        reader = RequestReader(end)
        while (request := reader.read()) is not None:
            head = request[0]
            self.asked.append(head)
            if self.play is not None:
                self.play(end)
                return
            if head.startswith(b"CONNECT "):
                end.sendall(OPEN)
                self.be_the_target(end)
                return
            _answer(end, head)

    def be_the_target(self, end: End) -> None:
        """Talk with the client at the other end of the tunnel."""
        if self.inside is not None:
            self.inside(end)
        else:
            answer_behind_tls(end, self.target)


def answer_behind_tls(end: End, context: ssl.SSLContext) -> None:
    """Shake hands, and answer each request with its target."""
    tls = TLSEnd(end, context)
    tls.do_handshake()
    answer_all(tls)


def answer_all(end: End) -> None:
    """Answer each request with its target."""
    reader = RequestReader(end)
    while (request := reader.read()) is not None:
        _answer(end, request[0])


def _answer(end: End, head: bytes) -> None:
    target = head.split(b" ", 2)[1]
    end.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target))


# -- what a case may be ----------------------------------------------------------------------------


def whole(data: bytes) -> Play:
    """Send `data`, and close."""
    return lambda end: end.sendall(data)


def bytewise(data: bytes) -> Play:
    """Send each byte alone, and close."""

    def play(end: End) -> None:
        for at in range(len(data)):
            end.sendall(data[at : at + 1])

    return play


def reset_after(data: bytes) -> Play:
    """Send `data`, and reset the connection."""

    def play(end: End) -> None:
        end.sendall(data)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return play


def silent_after(data: bytes) -> Play:
    """Send `data`, and nothing until the client leaves."""

    def play(end: End) -> None:
        end.sendall(data)
        with suppress(OSError):
            while end.recv(65536):
                pass

    return play


class Flood:
    """Sends `start`, and `more` again and again until the client leaves or `limit` bytes went.

    :ivar sent: how many bytes the client, or the kernel for it, took.
    """

    def __init__(self, start: bytes, more: bytes, limit: int = 1 << 25) -> None:
        self._start, self._more, self._limit = start, more, limit
        self.sent = 0

    def __call__(self, end: End) -> None:
        piece = self._more * max(1, 65536 // len(self._more))
        end.sendall(self._start)
        while self.sent < self._limit:
            end.sendall(piece)
            self.sent += len(piece)


def tunnel_then(proxy: HostileProxy, head: bytes) -> Play:
    """Send `head`, and be the target behind it."""

    def play(end: End) -> None:
        end.sendall(head)
        proxy.be_the_target(end)

    return play


def handshake_up_to(context: ssl.SSLContext, size: int, then: Play) -> Play:
    """Take the server's part in a TLS handshake, but send only the first `size` bytes of it."""

    def play(end: Any) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        sent = 0
        while sent < size:
            data = end.recv(65536)
            if not data:
                return
            incoming.write(data)
            with suppress(ssl.SSLWantReadError):
                tls.do_handshake()
            flight = outgoing.read()[: size - sent]
            end.sendall(flight)
            sent += len(flight)
            if tls.version() is not None and not flight:
                break
        then(end)

    return play
