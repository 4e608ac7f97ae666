"""A socket without a kernel: what a server sends is in memory, and every call can be counted.

Nothing here waits.  A server that says nothing more has either closed (the end is read for ever) or
is silent (each receive times out).
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

from urllib4 import HTTPConnectionPool
from urllib4.connection import HTTPConnection

#: Receives and other calls that one case may take for each byte that there is, and on top.
STEPS_PER_BYTE, STEPS_MORE = 4, 2000


class Hang(BaseException):
    """A case took more steps than any sensible reader needs; never caught by what is tested."""


class Descriptors:
    """Two descriptors for ``poll``: one that is always ready, and one that never is."""

    def __init__(self) -> None:
        self.ready, writer = os.pipe()
        os.close(writer)
        self.quiet, self._keep = os.pipe()

    def close(self) -> None:
        for descriptor in (self.ready, self.quiet, self._keep):
            os.close(descriptor)


class Conversation:
    """What the server of one case does: the fuzzed answer first, then a tagged one per request.

    :param answer: what the first request gets.
    :param then_close: whether the server closes behind it, or goes silent.
    :param chance: decides how the bytes are cut into segments.
    """

    def __init__(
        self, answer: bytes, then_close: bool, chance: random.Random, descriptors: Descriptors
    ) -> None:
        self.answer: bytes | None = answer
        self.then_close = then_close
        self.chance = chance
        self.descriptors = descriptors
        self.requests = 0
        self.connections = 0
        self.steps_left = STEPS_PER_BYTE * len(answer) + STEPS_MORE

    def step(self) -> None:
        self.steps_left -= 1
        if self.steps_left < 0:
            raise Hang

    def connect(self) -> MemorySocket:
        self.connections += 1
        return MemorySocket(self)


def tagged(number: int) -> bytes:
    """Return the answer to the request of this number, which names it."""
    body = b"answer to request %d" % number
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


class MemorySocket:
    """The client's end of one connection."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._incoming = bytearray()
        self._ended = False
        self._timeout: float | None = None
        self._segment = conversation.chance.choice((1, 2, 7, 100, 65536))
        self.closed = False

    def sendall(self, data: bytes) -> None:
        """Take a request, which is one write here, and queue its answer."""
        if self._ended:
            raise BrokenPipeError
        conversation = self._conversation
        conversation.requests += 1
        if conversation.answer is None:
            self._incoming += tagged(conversation.requests)
            return
        self._incoming += conversation.answer
        self._ended = conversation.then_close
        conversation.answer = None

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Receive a segment, the end, or nothing in time."""
        self._conversation.step()
        if not self._incoming:
            if self._ended:
                return 0
            raise TimeoutError("timed out")
        count = min(len(buffer), nbytes or len(buffer), self._segment, len(self._incoming))
        buffer[:count] = self._incoming[:count]
        del self._incoming[:count]
        return count

    def recv(self, size: int, flags: int = 0) -> bytes:
        data = bytearray(size)
        return bytes(data[: self.recv_into(data)])

    def fileno(self) -> int:
        """Return a descriptor that is readable exactly if this socket is."""
        self._conversation.step()
        descriptors = self._conversation.descriptors
        return descriptors.ready if self._incoming or self._ended else descriptors.quiet

    def settimeout(self, timeout: float | None) -> None:
        self._timeout = timeout

    def gettimeout(self) -> float | None:
        return self._timeout

    def setsockopt(self, *args: Any) -> None:
        """Do nothing: there is no kernel."""

    def shutdown(self, how: int) -> None:
        self._ended = True
        self._incoming.clear()

    def close(self) -> None:
        self.closed = True


def pool_for(connect: Callable[[], MemorySocket]) -> HTTPConnectionPool:
    """Return a pool whose connections are made by `connect`."""

    class Connection(HTTPConnection):
        def _new_conn(self) -> Any:
            return connect()

    pool = HTTPConnectionPool("fuzz.example", 80, maxsize=1, block=True, retries=False)
    pool.ConnectionCls = Connection
    return pool
