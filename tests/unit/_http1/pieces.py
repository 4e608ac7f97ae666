"""A peer without a socket, which hands out the bytes that a test gives it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from urllib4._http1.stream import ByteStream


class Pieces:
    """Stands for a socket: each receive gets at most one of the pieces, then the end.

    :param pieces: bytes, or an exception to be raised by that receive.
    :ivar receives: how many receives there were.
    :ivar timeouts: all that was given to ``settimeout``.
    """

    def __init__(self, pieces: Iterable[bytes | BaseException]) -> None:
        self._pieces = list(pieces)
        self.receives = 0
        self.timeouts: list[float | None] = []

    def recv_into(self, buffer: Any) -> int:
        self.receives += 1
        while self._pieces and self._pieces[0] == b"":
            del self._pieces[0]
        if not self._pieces:
            return 0
        piece = self._pieces[0]
        if isinstance(piece, BaseException):
            del self._pieces[0]
            raise piece
        count = min(len(piece), len(buffer))
        buffer[:count] = piece[:count]
        self._pieces[0] = piece[count:]
        return count

    def recv(self, limit: int) -> bytes:
        buffer = bytearray(limit)
        return bytes(buffer[: self.recv_into(buffer)])

    def settimeout(self, timeout: float | None) -> None:
        self.timeouts.append(timeout)

    def fileno(self) -> int:
        return 77


def whole(data: bytes) -> list[bytes]:
    return [data]


def each_byte(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def by_three(data: bytes) -> list[bytes]:
    return [data[i : i + 3] for i in range(0, len(data), 3)]


#: The ways in which a network may cut a message.
CUTS = [whole, each_byte, by_three]


def stream_of(*pieces: bytes | BaseException) -> ByteStream:
    return ByteStream(Pieces(pieces))
