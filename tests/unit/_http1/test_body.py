"""Bodies by every way of reading, in pieces of every size; a cut body is an error or incomplete."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit._http1.pieces import CUTS, Pieces, each_byte, stream_of
from urllib4._http1 import body as body_module
from urllib4._http1.body import (
    MAX_LINE_BYTES,
    ChunkedBody,
    LengthBody,
    UntilCloseBody,
    make_body,
    parse_chunk_size,
)
from urllib4._http1.framing import CHUNKED, UNTIL_CLOSE, Framing
from urllib4._http1.stream import ByteStream
from urllib4.exceptions import IncompleteRead, InvalidChunkLength, ProtocolError

Cut = Callable[[bytes], list[bytes]]
Body = Any
CONTENT = b"one\ntwo two\n\nthree"
NEXT = b"HTTP/1.1 the next response"

every_cut = pytest.mark.parametrize("cut", CUTS)


def chunked(content: bytes, size: int = 5, trailers: bytes = b"") -> bytes:
    pieces = [content[i : i + size] for i in range(0, len(content), size)]
    return (
        b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        + b"0\r\n"
        + trailers
        + b"\r\n"
    )


def readinto(body: Body, size: int) -> bytes:
    target = bytearray(size)
    return bytes(target[: body.readinto(memoryview(target))])


#: Ways to take the next part of a body; ``b""`` is its end.
WAYS: dict[str, Callable[[Body], bytes]] = {
    "read(1)": lambda body: body.read(1),
    "read(4)": lambda body: body.read(4),
    "read(100)": lambda body: body.read(100),
    "read_all": lambda body: body.read_all(),
    "read1(-1)": lambda body: body.read1(-1),
    "read1(3)": lambda body: body.read1(3),
    "readinto(1)": lambda body: readinto(body, 1),
    "readinto(7)": lambda body: readinto(body, 7),
    "readinto(100)": lambda body: readinto(body, 100),
    "readline(-1)": lambda body: body.readline(-1),
    "readline(3)": lambda body: body.readline(3),
    "readline(100)": lambda body: body.readline(100),
}
every_way = pytest.mark.parametrize("way", WAYS)

#: Kind of body: what it looks like on the wire, and its framing.
WIRE: dict[str, tuple[bytes, Framing]] = {
    "length": (CONTENT, Framing("length", len(CONTENT))),
    "chunked": (chunked(CONTENT), CHUNKED),
    "one chunk": (chunked(CONTENT, 100), CHUNKED),
    "bytewise chunks": (chunked(CONTENT, 1), CHUNKED),
    "trailers": (chunked(CONTENT, 5, b"A: b\r\n"), CHUNKED),
    "bare LF": (chunked(CONTENT).replace(b"\r\n", b"\n"), CHUNKED),
    "until close": (CONTENT, UNTIL_CLOSE),
}


def read_all_by(body: Body, way: str) -> bytes:
    return b"".join(iter(lambda: WAYS[way](body), b""))


@every_cut
@every_way
@pytest.mark.parametrize("kind", WIRE)
def test_each_way_of_reading_gives_the_content_and_stops_at_its_end(
    cut: Cut, way: str, kind: str
) -> None:
    wire, framing = WIRE[kind]
    ends = framing is not UNTIL_CLOSE
    stream = stream_of(*cut(wire + NEXT * ends))
    body = make_body(stream, framing)
    assert read_all_by(body, way) == CONTENT
    assert body.complete
    assert WAYS[way](body) == b""
    rest = b"".join(iter(lambda: stream.read1(100), b""))
    assert rest == NEXT * ends


@every_way
@pytest.mark.parametrize("kind", ["length", "chunked", "one chunk", "trailers"])
def test_a_body_cut_anywhere_is_never_complete(way: str, kind: str) -> None:
    """Either the read that meets the end raises, or the body stays incomplete for its reader."""
    wire, framing = WIRE[kind]
    for end in range(len(wire)):
        for cut in CUTS:
            body = make_body(stream_of(*cut(wire[:end])), framing)
            if kind == "length" and way != "read_all":
                assert read_all_by(body, way) == wire[:end]
                assert body.left == len(wire) - end
            else:
                with pytest.raises((ProtocolError, IncompleteRead)):
                    read_all_by(body, way)
            assert not body.complete


@every_way
def test_a_body_until_close_ends_wherever_it_is_cut(way: str) -> None:
    for end in range(len(CONTENT)):
        body = UntilCloseBody(stream_of(*each_byte(CONTENT[:end])))
        assert read_all_by(body, way) == CONTENT[:end]
        assert body.complete


@pytest.mark.parametrize("kind", WIRE)
def test_reading_nothing_changes_nothing(kind: str) -> None:
    wire, framing = WIRE[kind]
    body = make_body(stream_of(wire), framing)
    assert body.read(0) == body.read1(0) == body.readline(0) == readinto(body, 0) == b""
    assert not body.complete
    assert body.read_all() == CONTENT


@given(
    content=st.binary(max_size=60).map(lambda data: data.replace(b"\0", b"\n")),
    size=st.integers(1, 70),
    step=st.integers(1, 20),
    ways=st.lists(st.sampled_from(list(WAYS)), min_size=1, max_size=8),
    kind=st.sampled_from(["length", "chunked", "until-close"]),
)
def test_ways_of_reading_may_be_mixed(
    content: bytes, size: int, step: int, ways: list[str], kind: str
) -> None:
    wire = chunked(content, size) if kind == "chunked" else content
    framing = Framing("length", len(content)) if kind == "length" else Framing(kind)  # type: ignore[arg-type]
    body = make_body(stream_of(*(wire[i : i + step] for i in range(0, len(wire), step))), framing)
    pieces = [WAYS[way](body) for way in ways]
    pieces.append(body.read_all())
    assert b"".join(pieces) == content


# -- length ------------------------------------------------------------------------------------


def test_a_body_of_length_zero_is_complete_from_the_start() -> None:
    assert LengthBody(stream_of(NEXT), 0).complete


def test_what_is_missing_is_counted() -> None:
    body = LengthBody(stream_of(b"abc"), 10)
    assert body.read(1) == b"a"
    with pytest.raises(IncompleteRead) as caught:
        body.read_all()
    assert (caught.value.partial, caught.value.expected) == (3, 7)


def test_memory_follows_what_arrives_where_the_length_is_beyond_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """CVE-2025-13836: a declared length must not be allocated blindly."""
    monkeypatch.setattr(body_module, "MAX_BUFFER_AHEAD", 1000)
    body = LengthBody(stream_of(b"x" * 3000), 10**17)
    tracemalloc.start()
    try:
        with pytest.raises(IncompleteRead):
            body.read_all()
        assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    finally:
        tracemalloc.stop()
    whole = LengthBody(stream_of(b"x" * 3000), 3000)
    assert whole.read_all() == b"x" * 3000
    assert whole.complete


def test_a_body_too_large_for_the_memory_is_an_error_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class NoMemory:
        def __call__(self, data: bytes) -> None:
            raise MemoryError

    monkeypatch.setattr(body_module.io, "BytesIO", NoMemory())
    with pytest.raises(ProtocolError, match="no memory for a body of 300000 bytes"):
        LengthBody(stream_of(b"x"), 300_000).read_all()


def test_a_large_body_is_received_straight_into_its_destination() -> None:
    source = Pieces([b"x" * 1_000_000])
    body = LengthBody(ByteStream(source), 1_000_000)
    target = bytearray(1_000_000)
    assert body.readinto(memoryview(target)) == 1_000_000
    assert source.receives == 1


# -- chunked (RFC 9112, 7.1) -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "size"),
    [
        (b"5\r\n", 5),
        (b"5\n", 5),
        (b"a\r\n", 10),
        (b"A\r\n", 10),
        (b"0000000000000005\r\n", 5),
        (b"ffffffffffffffff\r\n", 2**64 - 1),
        (b"5;name=value\r\n", 5),
        (b'5;name="quoted; value"\r\n', 5),
        (b"5 \t; name = value\r\n", 5),
        (b"5  \r\n", 5),
        (b"5;\xff\x01\r\n", 5),
        (b"0\r\n", 0),
        (b"5;" + b"x" * (MAX_LINE_BYTES - 4) + b"\r\n", 5),
    ],
)
def test_a_chunk_size_is_hexadecimal_and_may_have_extensions(line: bytes, size: int) -> None:
    assert parse_chunk_size(line, ChunkedBody(stream_of())) == size
    body = ChunkedBody(stream_of(*each_byte(line) if len(line) < 99 else [line], b"x" * 9))
    if size:
        assert body.next_chunk() == size


@pytest.mark.parametrize(
    "line",
    [
        b"\r\n", b"-5\r\n", b"+5\r\n", b"0x5\r\n", b"5_0\r\n", b" 5\r\n", b"5\x0b\r\n",
        b"5\xa0\r\n", b"g\r\n", b"5 5\r\n", b"5,5\r\n", b"5.0\r\n", b"5\r\r\n",
        b"5;a\rb\r\n", b"5;\0\r\n",
        b"00000000000000005\r\n", b"f" * 17 + b"\r\n", b";x\r\n", b"\xd9\xa5\r\n", b"HTTP/1.1\r\n",
    ],
)  # fmt: skip
def test_a_chunk_size_of_another_form_is_refused(line: bytes) -> None:
    """``int(line, 16)`` would take some of these."""
    body = ChunkedBody(stream_of(b"3\r\nabc\r\n" + line + b"x" * 100))
    assert body.read(3) == b"abc"
    with pytest.raises(ProtocolError) as caught:
        body.read(1)
    cause = caught.value.args[1]
    assert isinstance(cause, InvalidChunkLength)
    assert cause.partial == 3
    assert cause.length == line.split(b";")[0].strip()[:40]
    assert not body.complete


def test_a_chunk_size_line_is_bounded() -> None:
    source = Pieces([b"5;" + b"x" * 1000] + [b"x" * 1000] * 10_000)
    with pytest.raises(ProtocolError, match="chunk size line exceeded maximum allowed length"):
        ChunkedBody(ByteStream(source)).next_chunk()
    assert source.receives < 100
    line = b"5;" + b"x" * (MAX_LINE_BYTES - 3) + b"\r\n"
    with pytest.raises(ProtocolError, match="exceeded maximum"):
        ChunkedBody(stream_of(line + b"hello")).next_chunk()


@pytest.mark.parametrize("end", [b"xx", b"\rx", b"x\n", b"\n\r", b"3\r\n", b"\r\r\n"])
def test_a_chunk_ends_with_crlf(end: bytes) -> None:
    """CVE-2025-43859 of h11: the bytes after a chunk were not looked at."""
    body = ChunkedBody(stream_of(b"3\r\nabc" + end + b"0\r\n\r\n"))
    assert body.read(3) == b"abc"
    with pytest.raises(ProtocolError):
        body.read(1)


def test_a_chunk_larger_than_any_memory_is_read_as_it_arrives() -> None:
    wire = b"ffffffffffffffff\r\n" + b"x" * 3000
    body = ChunkedBody(stream_of(wire))
    assert len(body.read1(-1)) == 3000
    for read in (lambda body: body.read_chunk(None), lambda body: body.read_all()):
        with pytest.raises(ProtocolError, match="ended prematurely"):
            read(ChunkedBody(stream_of(wire)))


def test_chunks_are_read_one_by_one() -> None:
    body = ChunkedBody(stream_of(*each_byte(chunked(b"abcdefgh", 5))))
    assert [body.read_chunk(None) for _ in range(4)] == [b"abcde", b"fgh", b"", b""]
    assert body.tell() == 8
    body = ChunkedBody(stream_of(chunked(b"abcdefgh", 5)))
    assert [body.read_chunk(2) for _ in range(6)] == [b"ab", b"cd", b"e", b"fg", b"h", b""]


@pytest.mark.parametrize(
    ("trailers", "fields"),
    [
        (b"", None),
        (b"A: b\r\n", [("A", "b")]),
        (b"A: b\nC: d\n", [("A", "b"), ("C", "d")]),
        (b"A: b\r\n c\r\na: d\r\n", [("A", "b c"), ("A", "d")]),
        (b"no field\r\n", []),
    ],
)
def test_trailers_are_fields(trailers: bytes, fields: list[tuple[str, str]] | None) -> None:
    """RFC 9112, 7.1.2."""
    for cut in CUTS:
        body = ChunkedBody(stream_of(*cut(chunked(b"abc", trailers=trailers) + NEXT)))
        assert body.trailers is None
        assert body.read_all() == b"abc"
        seen = body.trailers
        assert (None if seen is None else list(seen.iteritems())) == fields


@pytest.mark.parametrize(
    ("trailers", "reason"),
    [
        (b"A : b\r\n", "invalid header name"),
        (b"A: b\rC: d\r\n", "bare CR"),
        (b" A: b\r\n", "white space"),
        (b"A: b\r\n" * 1001, "trailer line exceeded"),
        (b"A: " + b"x" * MAX_LINE_BYTES + b"\r\n", "trailer line exceeded"),
        ((b"A: " + b"x" * 60_000 + b"\r\n") * 5, "trailer line exceeded"),
    ],
    ids=["space", "CR", "folded", "lines", "line", "bytes"],
)
def test_trailers_are_as_strict_and_bounded_as_a_head(trailers: bytes, reason: str) -> None:
    """CVE-2026-22815 of aiohttp: trailers without limit."""
    body = ChunkedBody(stream_of(chunked(b"abc", trailers=trailers)))
    with pytest.raises(ProtocolError, match=reason):
        body.read_all()
    assert not body.complete


@given(st.binary(max_size=40), st.integers(1, 9))
def test_any_bytes_are_chunks_or_an_error_of_ours(wire: bytes, step: int) -> None:
    wire = wire.replace(b"\x01", b"\r\n").replace(b"\x02", b"3")
    body = ChunkedBody(stream_of(*(wire[i : i + step] for i in range(0, len(wire), step))))
    try:
        content = body.read_all()
    except ProtocolError:
        assert not body.complete
    else:
        assert body.complete
        assert len(content) < len(wire)
