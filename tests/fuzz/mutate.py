"""Damages a valid answer: bytes, lines and the tokens that decide where things end."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"

#: What decides where a message or a part of it ends, and what comes close to that.
TOKENS = [
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\n\n", b"\0", b" ", b"\t", b":", b": ", b";", b",", b"=",
    b"HTTP/1.1 ", b"HTTP/1.0 ", b"HTTP/0.9 ", b"HTTP/2 ", b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1.1 101 Switching\r\n\r\n",
    b"HTTP/1.1 204 No\r\n\r\n", b"HTTP/1.1 304 No\r\n\r\n", b"HTTP/1.1 302 No\r\nLocation: /\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged",
    b"Content-Length: 0\r\n", b"Content-Length: 5\r\n", b"Content-Length: -1\r\n",
    b"Content-Length: +5\r\n", b"Content-Length: 5, 5\r\n", b"Content-Length: 5, 6\r\n",
    b"Content-Length: 99999999999999999999\r\n", b"Content-Length: 9223372036854775807\r\n",
    b"Content-Length: \r\n", b"content-length: 3\r\n", b"Content-Length : 3\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding: identity\r\n", b"Transfer-Encoding: \x0bchunked\r\n",
    b"Transfer-Encoding: chunked, chunked\r\n", b"transfer-encoding:chunked\r\n",
    b"Content-Encoding: gzip\r\n", b"Content-Encoding: deflate\r\n", b"Content-Encoding: br\r\n",
    b"Content-Encoding: zstd\r\n", b"Content-Encoding: gzip, gzip\r\n",
    b"Content-Encoding: gzip, br, zstd, deflate, gzip, gzip\r\n", b"Content-Encoding: x\r\n",
    b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Connection: upgrade\r\n",
    b"Retry-After: 1\r\n", b"Location: http://[\r\n", b"Set-Cookie: a=b\r\n", b"A: b\r\n c\r\n",
    b"Content-Type: application/json; charset=utf-7\r\n", b"Content-Type: text/plain; charset=\r\n",
    b"0\r\n\r\n", b"0\r\n", b"0;x=y\r\n", b"00000\r\n", b"5\r\n", b"-5\r\n", b"0x5\r\n", b"5_0\r\n",
    b"ffffffffffffffff\r\n", b"fffffffffffffffff\r\n", b"7fffffffffffffff\r\n", b"80000000\r\n",
    b"\x1f\x8b", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff", b"\x28\xb5\x2f\xfd", b"\x78\x9c",
    b"\x00\x00\x00\xff\xff", b"\x03\x00", b"\xff" * 8, b"\x00" * 8, b"a" * 300, b"0" * 300,
]  # fmt: skip


def corpus() -> list[tuple[str, bytes]]:
    """Return the valid answers, by name.

    :raises AssertionError: there are none: a fuzzer that has nothing to damage finds nothing.
    """
    found = [(path.stem, path.read_bytes()) for path in sorted(CORPUS.glob("*.bin"))]
    assert found, f"no answers in {CORPUS}"
    return found


def mutate(data: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """Return `data` with one to a handful of changes."""
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        data = chance.choice(_CHANGES)(data, seeds, chance)
    return data


_Change = Callable[[bytes, Sequence[bytes], random.Random], bytes]


def _position(data: bytes, chance: random.Random) -> int:
    """Choose a place: in the head, where most is decided, half of the time."""
    end = data.find(b"\r\n\r\n")
    if end > 0 and chance.random() < 0.5:
        return chance.randint(0, end + 4)
    return chance.randint(0, len(data))


def _flip(data: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    if not data:
        return data
    at = min(_position(data, chance), len(data) - 1)
    return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]


def _replace(data: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    at = _position(data, chance)
    return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]


def _insert(data: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    at = _position(data, chance)
    return data[:at] + chance.randbytes(chance.choice((1, 1, 2, 5))) + data[at:]


def _delete(data: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    at = _position(data, chance)
    return data[:at] + data[at + chance.choice((1, 1, 2, 5, 30)) :]


def _cut(data: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    return data[: _position(data, chance)]


def _insert_token(data: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    at = _position(data, chance)
    return data[:at] + chance.choice(TOKENS) + data[at:]


def _token_at_line(data: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """Insert a token where a line begins."""
    starts = [i + 2 for i in range(len(data) - 1) if data[i : i + 2] == b"\r\n"]
    at = chance.choice(starts) if starts else 0
    return data[:at] + chance.choice(TOKENS) + data[at:]


def _repeat(data: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    start = _position(data, chance)
    piece = data[start : start + chance.randint(1, 40)]
    return data[:start] + piece * chance.choice((2, 2, 3, 50)) + data[start + len(piece) :]


def _swap_lines(data: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    lines = data.split(b"\r\n")
    i, j = chance.randrange(len(lines)), chance.randrange(len(lines))
    lines[i], lines[j] = lines[j], lines[i]
    return b"\r\n".join(lines)


def _splice(data: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """Go on with the end of another answer."""
    other = chance.choice(seeds)
    return data[: _position(data, chance)] + other[_position(other, chance) :]


def _append(data: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """Put another answer behind: nobody asked for it."""
    return data + chance.choice(seeds)


_CHANGES: list[_Change] = [
    _flip, _replace, _insert, _delete, _cut, _insert_token, _insert_token, _token_at_line,
    _token_at_line, _repeat, _swap_lines, _splice, _append,
]  # fmt: skip
