"""Chunks that are taken many at once are read as if one by one, wherever the network cuts them."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit._http1.pieces import Pieces
from urllib4._http1 import body as body_module
from urllib4._http1.body import ChunkedBody
from urllib4._http1.stream import ByteStream
from urllib4.exceptions import HTTPError, ProtocolError

SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n\0]*)?\r?\n")


class Cut:
    """A socket that gives `data` in pieces of the sizes in `cuts`, again and again."""

    def __init__(self, data: bytes, cuts: list[int]) -> None:
        self._data = data
        self._cuts = cuts
        self._number = 0

    def recv_into(self, view: memoryview) -> int:
        size = min(self._cuts[self._number % len(self._cuts)], len(view), len(self._data))
        self._number += 1
        view[:size], self._data = self._data[:size], self._data[size:]
        return size


def reference(data: bytes) -> tuple[bytes, int] | None:
    """Read a chunked body slowly, by RFC 9112, 7.1; return content and rest, None if malformed."""
    content, at = b"", 0
    while match := SIZE_LINE.match(data, at):
        at, size = match.end(), int(match[1], 16)
        if not size:
            end = re.compile(rb"\r?\n").match(data, at)
            return (content, len(data) - end.end()) if end else None
        content += data[at : at + size]
        end = re.compile(rb"\r?\n").match(data, at + size)
        if len(data) < at + size or end is None:
            return None
        at = end.end()
    return None


def by_reads_of(sizes: list[int]) -> Callable[[ChunkedBody], Iterator[bytes]]:
    def read(body: ChunkedBody) -> Iterator[bytes]:
        number = 0
        while data := body.read(sizes[number % len(sizes)]):
            assert body.complete or len(data) == sizes[number % len(sizes)]
            yield data
            number += 1

    return read


def result(read: Callable[[ChunkedBody], Any], data: bytes, cuts: list[int]) -> Any:
    stream = ByteStream(Cut(data, cuts))
    body = ChunkedBody(stream)
    try:
        content = b"".join(read(body))
    except HTTPError:
        return None
    assert body.complete
    assert body.tell() == len(content)
    rest = stream.buffered
    while stream.fill():
        rest = stream.buffered
    return content, rest


def chunk(size: int, line: str = "{:x}\r\n", end: bytes = b"\r\n") -> bytes:
    return line.format(size).encode() + bytes(i % 251 for i in range(size)) + end


# Runs of equal chunks, with what may be unusual in the middle of them.
ODD = st.one_of(
    st.builds(
        chunk,
        st.integers(1, 40),
        st.sampled_from(
            ["{:x}\r\n", "{:X}\r\n", "0{:x}\r\n", "{:x};a=b\r\n", "{:x}\n", "{:x} \r\n"]
        ),
        st.sampled_from([b"\r\n", b"\r\n", b"\n"]),
    ),
    st.sampled_from(
        [b"5\r\n12345", b"5\r\n12345\r\r", b"5\r\n12345x\n", b"0x5\r\n12345\r\n",
         b"+5\r\n12345\r\n", b"5_0\r\n", b"\r\n", b"-1\r\n", b"5\r12345\r\n",
         b" 5\r\n12345\r\n", b"5\r\n5\r\n"]
    ),
    st.binary(max_size=12),
)  # fmt: skip
RUNS = st.builds(lambda size, count: chunk(size) * count, st.integers(1, 40), st.integers(1, 40))
BODIES = st.builds(
    lambda parts, end: b"".join(parts) + end,
    st.lists(st.one_of(RUNS, RUNS, ODD), max_size=6),
    st.sampled_from([b"0\r\n\r\n", b"0\r\n\r\nHTTP/1.1 200 OK\r\n", b"", b"0\r\n", b"00\n\n"]),
)
SIZES = st.lists(st.integers(1, 300), min_size=1, max_size=4)


#: From which size on chunks are taken one by one, and how many parts of a body are joined.
LIMITS = [(body_module._SMALL_CHUNK, body_module._MAX_PARTS), (1, 2)]


@pytest.mark.parametrize(("small", "parts"), LIMITS)
@given(BODIES, SIZES, SIZES)
def test_the_fast_reader_agrees_with_a_slow_one_at_every_cut(
    small: int, parts: int, data: bytes, cuts: list[int], sizes: list[int]
) -> None:
    expected = reference(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(body_module, "_SMALL_CHUNK", small)
        patch.setattr(body_module, "_MAX_PARTS", parts)
        for read in (lambda body: [body.read_all()], by_reads_of(sizes)):
            for cut in (cuts, [1], [1 << 20]):
                assert result(read, data, cut) == expected


@pytest.mark.parametrize("cut", range(1, 240))
def test_a_run_cut_anywhere(cut: int) -> None:
    data = chunk(9) * 20 + chunk(4) * 3 + b"0\r\n\r\n"
    assert result(lambda body: [body.read_all()], data, [cut, 1 << 20]) == reference(data)


@pytest.mark.parametrize("place", range(chunk(9).find(b"\r\n"), len(chunk(9))))
@pytest.mark.parametrize("number", [0, 1, 7, 8, 100, 299])
@pytest.mark.parametrize("small", [body_module._SMALL_CHUNK, 1])
def test_one_wrong_byte_in_a_long_run_is_seen(
    small: int, place: int, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each octet of the framing of each chunk is looked at."""
    monkeypatch.setattr(body_module, "_SMALL_CHUNK", small)
    size = len(chunk(9))
    data = bytearray(chunk(9) * 300 + b"0\r\n\r\n")
    at = number * size + place
    data[at] ^= 0x41
    expected = reference(bytes(data))
    if place in (1, 2, size - 2, size - 1):
        assert expected is None
    assert result(lambda body: [body.read_all()], bytes(data), [1 << 20]) == expected


def test_a_whole_run_is_taken_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the test above would say nothing about runs."""
    counts = []
    original = body_module._run_format

    def recorded(skipped: int, size: int, count: int) -> Any:
        counts.append(count)
        return original(skipped, size, count)

    monkeypatch.setattr(body_module, "_run_format", recorded)
    data = chunk(9) * 300 + b"0\r\n\r\n"
    assert result(lambda body: [body.read_all()], data, [1 << 20]) == reference(data)
    assert sum(counts) > 290
    assert max(counts) == body_module._MAX_RUN


def test_no_more_is_read_than_asked_for() -> None:
    """A live stream may not send more for an hour."""

    class Silent(Cut):
        def recv_into(self, view: memoryview) -> int:
            assert self._data, "received once too often"
            return super().recv_into(view)

    body = ChunkedBody(ByteStream(Silent(chunk(9) * 20, [1 << 20])))
    assert body.read(100) + body.read(80) == (chunk(9)[3:-2]) * 20
    with pytest.raises(AssertionError, match="once too often"):
        body.read(1)


def test_the_end_behind_the_last_chunk_of_a_run_is_needed() -> None:
    body = ChunkedBody(ByteStream(Cut(chunk(9) * 20, [1 << 20])))
    with pytest.raises(ProtocolError, match="ended prematurely"):
        body.read_all()


def test_equal_chunks_that_are_large_are_known_by_what_stands_between_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Their size lines are not parsed again (benchmark ``pieces``)."""
    parsed = []
    original = ChunkedBody._is_size

    def recorded(self: ChunkedBody, *args: Any) -> bool:
        parsed.append(args)
        return original(self, *args)

    monkeypatch.setattr(ChunkedBody, "_is_size", recorded)
    data = chunk(4096) * 12 + b"0\r\n\r\n"
    assert result(lambda body: [body.read_all()], data, [1 << 20]) == reference(data)
    assert len(parsed) < 8


def test_a_long_body_is_not_held_twice() -> None:
    """Only what comes in few parts is."""
    size, count = 65536, 256
    one = b"%x\r\n" % size + bytes(size) + b"\r\n"
    body = ChunkedBody(ByteStream(Pieces([one] * count + [b"0\r\n\r\n"])))
    tracemalloc.start()
    try:
        assert len(body.read_all()) == size * count
        assert tracemalloc.get_traced_memory()[1] < 1.4 * size * count
    finally:
        tracemalloc.stop()


def test_what_follows_a_complete_body_is_not_taken_for_chunks() -> None:
    stream = ByteStream(Cut(b"2\r\nab\r\n0\r\n\r\n5\r\nhello\r\n0\r\n\r\n", [1 << 20]))
    body = ChunkedBody(stream)
    assert body.read_all() == b"ab"
    assert body.read_all() == body.read(1) == b""
    assert stream.buffered == 15
