"""The reader of a connection: the same bytes however they arrive, bounded in size and time."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable
from http.client import BadStatusLine

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit._http1.pieces import CUTS, Pieces, each_byte, stream_of
from urllib4._http1.head import MAX_HEAD_BYTES
from urllib4._http1.stream import BUFFER_BYTES, FIRST_BYTES, ByteStream
from urllib4.exceptions import HeadTooLargeError, ProtocolError

Cut = Callable[[bytes], list[bytes]]
HEAD = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"

every_cut = pytest.mark.parametrize("cut", CUTS)


@every_cut
@pytest.mark.parametrize(
    "head",
    [HEAD, HEAD.replace(b"\r\n", b"\n"), b"HTTP/1\r\n\n", b"HTTP/1\n\r\n", b"HTTP/\n\n"],
)
def test_a_head_ends_with_the_first_empty_line(cut: Cut, head: bytes) -> None:
    stream = stream_of(*cut(head + b"\r\n\r\nbody\n\n"))
    assert stream.read_head() == head
    assert stream.read1(1) == b"\r"


def test_heads_follow_each_other_in_one_buffer() -> None:
    stream = stream_of(HEAD * 3)
    assert [stream.read_head() for _ in range(4)] == [HEAD, HEAD, HEAD, b""]


@every_cut
def test_a_head_that_is_cut_anywhere_is_an_error(cut: Cut) -> None:
    assert stream_of().read_head() == b""
    for end in range(1, len(HEAD)):
        with pytest.raises(ProtocolError, match="closed inside the response head"):
            stream_of(*cut(HEAD[:end])).read_head()


@every_cut
def test_a_head_is_bounded(cut: Cut) -> None:
    """Also one that never ends: it is given up as soon as the limit is passed."""
    assert stream_of(*cut(HEAD)).read_head(len(HEAD)) == HEAD
    with pytest.raises(HeadTooLargeError) as caught:
        stream_of(*cut(HEAD)).read_head(len(HEAD) - 1)
    assert caught.value.limit == len(HEAD) - 1
    source = Pieces([b"HTTP/1"] * 10_000)
    with pytest.raises(HeadTooLargeError):
        ByteStream(source).read_head(6000)
    assert source.receives <= 6000 // 6 + 1


@pytest.mark.parametrize("size", [BUFFER_BYTES, 3 * BUFFER_BYTES, 200_000])
def test_a_long_head_makes_room_for_itself_and_leaves_none_behind(size: int) -> None:
    """One huge head must not cost its memory for the life of the connection."""
    head = b"HTTP/1.1 " + b"x" * size + b"\r\n\r\n"
    stream = stream_of(HEAD + head, HEAD)
    assert stream.read_head() == HEAD
    assert stream.read_head() == head
    assert stream.read_head() == HEAD
    assert len(stream._buffer) == BUFFER_BYTES


@every_cut
@pytest.mark.parametrize("start", [b"<html>", b"SSH-2.0-x", b"\r\nHTTP/1.1", b"HTTP", b"HTTQ/"])
def test_another_protocol_is_refused_at_its_first_bytes(cut: Cut, start: bytes) -> None:
    """It may never send an empty line, and we would wait for one."""
    stream = stream_of(*cut(start), AssertionError("received more than was needed"))
    if start == b"HTTP":
        with pytest.raises(AssertionError):
            stream.read_head()
    else:
        with pytest.raises(BadStatusLine):
            stream.read_head()


@every_cut
def test_lines_end_with_lf_the_limit_or_the_end(cut: Cut) -> None:
    stream = stream_of(*cut(b"one\r\ntwo\nthree"))
    assert stream.read_line(100) == b"one\r\n"
    assert stream.read_line(2) == b"tw"
    assert stream.read_line(2) == b"o\n"
    assert stream.read_line(0) == b""
    assert stream.read_line(3) == b"thr"
    assert stream.read_line(100) == b"ee"
    assert stream.read_line(100) == b""


def test_read1_receives_at_most_once() -> None:
    source = Pieces([b"abc", b"def"])
    stream = ByteStream(source)
    assert stream.read1(0) == b""
    assert source.receives == 0
    assert stream.read1(2) == b"ab"
    assert stream.read1(9) == b"c"
    assert source.receives == 1
    assert stream.read1(-1) == b"def"
    assert stream.read1(-1) == b""


def test_take_never_receives() -> None:
    source = Pieces([b"abc"])
    stream = ByteStream(source)
    assert stream.take(5) == b""
    assert source.receives == 0
    stream.fill()
    assert (stream.take(1), stream.buffered) == (b"a", 2)
    assert stream.take(-1) == b"bc"


def test_peek_takes_nothing_and_skip_does() -> None:
    stream = stream_of(b"abc")
    assert bytes(stream.peek()) == b""
    stream.fill()
    assert bytes(stream.peek()) == bytes(stream.peek()) == b"abc"
    stream.skip(2)
    assert bytes(stream.peek()) == b"c"
    stream.skip(9)
    assert stream.buffered == 0


def test_a_large_destination_is_received_into_without_a_copy() -> None:
    source = Pieces([b"x" * 3 * BUFFER_BYTES])
    stream = ByteStream(source)
    target = bytearray(BUFFER_BYTES)
    assert stream.readinto1(memoryview(target)) == BUFFER_BYTES
    assert stream.buffered == 0
    assert stream.readinto1(memoryview(target)[:10]) == 10
    assert stream.buffered == FIRST_BYTES - 10


@pytest.mark.parametrize("rest", [0, 100])
def test_a_connection_that_carries_much_gets_a_larger_buffer(rest: int) -> None:
    """The others do with the small one that they begin with."""
    stream = stream_of(HEAD, b"x" * FIRST_BYTES, b"y" * BUFFER_BYTES)
    assert stream.read_head() == HEAD
    assert stream.read1(10) == b"x" * 10
    assert stream.buffered == FIRST_BYTES - 10
    stream.skip(stream.buffered - rest)
    assert stream.fill() == BUFFER_BYTES - rest
    assert stream.buffered == BUFFER_BYTES
    assert stream.readinto1(memoryview(bytearray())) == 0


def test_readinto_fills_or_ends() -> None:
    stream = stream_of(*each_byte(b"abcdef"))
    target = bytearray(4)
    assert stream.readinto(memoryview(target)) == 4
    assert target == b"abcd"
    assert stream.readinto(memoryview(target)) == 2
    assert target == b"efcd"
    assert stream.readinto(memoryview(target)) == 0


def test_what_was_buffered_stays_readable_after_a_timeout() -> None:
    """A timeout ends a wait, not the stream: nothing that came before may be lost or doubled."""
    stream = stream_of(b"HTTP/1.1 200", TimeoutError(), b" OK\r\n", TimeoutError(), b"\r\nx")
    for _ in range(2):
        with pytest.raises(TimeoutError):
            stream.read_head()
    assert stream.read_head() == b"HTTP/1.1 200 OK\r\n\r\n"
    assert stream.take(9) == b"x"


def test_each_receive_waits_for_what_is_left_until_the_deadline() -> None:
    now = 100.0
    source = Pieces(each_byte(b"abcd"))
    stream = ByteStream(source, clock=lambda: now)
    stream.deadline = 103.0
    stream.timeout = 2.0
    stream.fill()
    now = 102.5
    stream.fill()
    stream.timeout = None
    stream.fill()
    assert source.timeouts == [2.0, 0.5, 0.5]
    now = 103.0
    with pytest.raises(TimeoutError, match="timed out"):
        stream.fill()
    assert source.receives == 3
    stream.deadline = None
    stream.fill()
    assert len(source.timeouts) == 3, "without a deadline the socket's own timeout holds"
    assert stream.take(9) == b"abcd"


def test_what_is_buffered_costs_no_time() -> None:
    stream = stream_of(b"abc")
    stream.fill()
    stream.deadline = 0.0
    assert stream.read1(9) == b"abc"


def test_an_object_that_has_only_makefile_will_do() -> None:
    """The fake sockets of many test suites, which feed http.client, are such objects."""

    class Fake:
        def makefile(self, mode: str, buffering: int) -> io.BytesIO:
            return io.BytesIO(HEAD)

    assert ByteStream(Fake()).read_head() == HEAD


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["line", "read1", "take", "readinto", "skip", "fill"]),
        st.integers(0, 70_000),
    ),
    max_size=20,
)


@given(
    pieces=st.lists(st.binary(max_size=9).map(lambda data: (data * 9000)[:40_000]), max_size=6),
    operations=OPERATIONS,
)
def test_nothing_is_lost_doubled_or_reordered(
    pieces: list[bytes], operations: list[tuple[str, int]]
) -> None:
    """The model: the bytes sent, and how many of them were taken."""
    sent = b"".join(pieces)
    stream = stream_of(*pieces)
    done = 0
    for name, size in operations:
        if name == "fill":
            if stream.buffered < 100_000:
                stream.fill()
            continue
        if name == "skip":
            count = min(size, stream.buffered)
            stream.skip(size)
            data = sent[done : done + count]
        elif name == "readinto":
            target = bytearray(size)
            count = stream.readinto(memoryview(target))
            data = bytes(target[:count])
            assert data == sent[done : done + size]
        elif name == "line":
            data = stream.read_line(size)
            end = sent.find(b"\n", done) + 1 or len(sent)
            assert data == sent[done : min(end, done + size)]
        else:
            data = getattr(stream, name)(size)
            assert len(data) <= size
        assert data == sent[done : done + len(data)]
        done += len(data)
    rest = b"".join(iter(lambda: stream.read1(65536), b""))
    assert rest == sent[done:]


def test_an_error_leaves_no_view_of_the_buffer_behind() -> None:
    """A traceback may live on in a cycle; from Python 3.13 on, freeing a ``BytesIO`` that
    somebody still has a view of prints a BufferError.
    """

    class Stalling:
        def __init__(self) -> None:
            self.pieces = [b"abc"]

        def recv_into(self, buffer: memoryview) -> int:
            if not self.pieces:
                raise TimeoutError("timed out")
            piece = self.pieces.pop()
            buffer[: len(piece)] = piece
            return len(piece)

    target = io.BytesIO(bytes(10))
    with target.getbuffer() as view, pytest.raises(TimeoutError) as caught:
        ByteStream(Stalling()).readinto(view)
    assert caught.value.__traceback__ is not None  # its frames are alive
    target.truncate(3)
    assert target.getvalue() == b"abc"


class IntoOnly:
    """Stands for somebody's socket that can only receive into a buffer."""

    def __init__(self, source: Pieces) -> None:
        self.recv_into = source.recv_into


@pytest.mark.parametrize("wrap", [lambda source: source, IntoOnly], ids=["recv", "recv_into"])
@pytest.mark.parametrize("head", [0, 5])
@pytest.mark.parametrize("parts", [1, 3, 60])
@pytest.mark.parametrize("amt", [7, 5000, 65_536, 300_000])
def test_a_read_gives_all_it_was_asked_for(
    wrap: Callable[[Pieces], object], head: int, parts: int, amt: int
) -> None:
    """However much is buffered before, and however the network cuts the rest."""
    wire = bytes(number % 251 for number in range(amt + amt // 2))
    step = len(wire) // parts + 1
    cuts = [wire[:head], *(wire[at : at + step] for at in range(head, len(wire), step))]
    stream = ByteStream(wrap(Pieces(cuts)))
    if head:
        stream.fill()
    assert stream.read(0) == b""
    assert stream.read(amt) == wire[:amt]
    assert stream.read(amt) == wire[amt:]
    assert stream.read(amt) == b""


def test_a_piece_is_received_as_what_is_handed_out() -> None:
    """Nothing is read ahead then, which would have to be copied with the next piece."""
    stream = ByteStream(source := Pieces([b"x" * 3 * BUFFER_BYTES]))
    assert stream.read(BUFFER_BYTES) == b"x" * BUFFER_BYTES
    assert (stream.buffered, source.receives) == (0, 1)


def test_a_server_that_sends_byte_by_byte_does_not_make_one_object_of_each() -> None:
    stream = ByteStream(Pieces(each_byte(bytes(20_000))))
    tracemalloc.start()
    try:
        assert stream.read(20_000) == bytes(20_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 * 20_000


@pytest.mark.parametrize("before", [[], [b"ab"]], ids=["at once", "in between"])
def test_a_read_is_bounded_by_the_deadline(before: list[bytes]) -> None:
    source = Pieces([*before, TimeoutError("timed out")])
    stream = ByteStream(source, clock=lambda: 10.0)
    stream.deadline = 12.5
    with pytest.raises(TimeoutError):
        stream.read(100)
    assert set(source.timeouts) == {2.5}
    stream.deadline = 10.0
    with pytest.raises(TimeoutError):
        stream.read(100)


class SSLEOFError(OSError):
    """Named like the error of the ssl module."""


class SSLZeroReturnError(OSError):
    """The same."""


@pytest.mark.parametrize(("error", "ragged"), [(SSLEOFError, True), (SSLZeroReturnError, False)])
def test_a_read_ends_where_tls_ends(error: type[OSError], ragged: bool) -> None:
    stream = stream_of(b"abc", error("the end"))
    assert stream.read(10) == b"abc"
    assert stream.ragged is ragged
    with pytest.raises(ConnectionResetError):
        stream_of(b"abc", ConnectionResetError()).read(10)


def test_the_short_way_to_a_head_takes_one_that_came_whole_and_nothing_else() -> None:
    stream = stream_of(HEAD + b"body")
    assert stream.read_head_cut_at_crlf() == HEAD
    assert stream.read1(10) == b"body"
    assert stream.read_head_cut_at_crlf() is None

    stream = stream_of(HEAD[:-1], HEAD[-1:] + HEAD)
    assert stream.read_head_cut_at_crlf() == b""
    assert stream.read_head() == HEAD
    assert stream.read_head_cut_at_crlf() == b""  # what is buffered may be half a head
    assert stream.read_head() == HEAD


def test_what_the_short_way_took_too_much_is_put_back() -> None:
    """A bare LF may end a head before the first CRLF CRLF does."""
    early = b"HTTP/1.1 200 OK\nContent-Length: 6\n\n"
    stream = stream_of(early + b"A\r\n\r\nB")
    block = stream.read_head_cut_at_crlf()
    assert block == early + b"A\r\n\r\n"
    stream.put_back(len(block))
    assert stream.read_head() == early
    assert stream.read1(10) == b"A\r\n\r\nB"


def test_the_short_way_is_as_bounded_as_the_long_one() -> None:
    fields = b"A: %b\r\n" % (b"x" * 1000)
    stream = stream_of(b"HTTP/1.1 200 OK\r\n" + fields * (MAX_HEAD_BYTES // 1000) + b"\r\n")
    assert stream.read_head_cut_at_crlf() == b""
    with pytest.raises(HeadTooLargeError):
        stream.read_head()
