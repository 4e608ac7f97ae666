"""A raw server that is fast, counts connections and answers as a function of the test says."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from typing import NamedTuple

from .threaded import End, RequestReader, ThreadedServer

_CLOSES = re.compile(rb"\r\nconnection:[ \t]*close", re.IGNORECASE)


class Exchange(NamedTuple):
    """One request: on which connection (from 1), and what came, as raw bytes."""

    connection: int
    head: bytes
    body: bytes

    @property
    def method(self) -> str:
        """The method, as sent."""
        return self.head.split(b" ", 1)[0].decode("ascii")

    @property
    def target(self) -> str:
        """The request target, as sent."""
        return self.head.split(b" ", 2)[1].decode("ascii")

    def header(self, name: str) -> str | None:
        """Return the value of the first field of that name; None if there is none."""
        for line in self.head.split(b"\r\n")[1:]:
            field, _, value = line.decode("latin-1").partition(":")
            if field.lower() == name.lower():
                return value.strip()
        return None


def ok(body: bytes = b"", *fields: str, status: str = "200 OK") -> bytes:
    """Return an answer; `fields` are further header lines such as ``"Server: x"``."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def echo(exchange: Exchange) -> bytes:
    """Answer with the request target."""
    return ok(b"" if exchange.method == "HEAD" else exchange.target.encode("ascii"))


class CountingServer(ThreadedServer):
    """Answers each request by `answer` and keeps the connection open.

    A request or answer that says ``Connection: close`` is the last one on its connection.

    :param answer: called in the thread of the connection, so it may wait (not for ever).
    :ivar exchanges: all requests in the order of their arrival.
    """

    def __init__(
        self,
        answer: Callable[[Exchange], bytes] = echo,
        *,
        host: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(host=host, tls=tls)
        self.exchanges: list[Exchange] = []
        self._answer = answer

    def serve(self, number: int, end: End) -> None:
        """Answer requests until the client leaves."""
        reader = RequestReader(end)
        while (request := reader.read()) is not None:
            exchange = Exchange(number, *request)
            with self._changed:
                self.exchanges.append(exchange)
                self._changed.notify_all()
            reply = self._answer(exchange)
            end.sendall(reply)
            if _CLOSES.search(exchange.head) or _CLOSES.search(reply.partition(b"\r\n\r\n")[0]):
                return
