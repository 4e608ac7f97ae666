"""Http1Response: what http.client's response is to programs, read by our own strict reader."""

from __future__ import annotations

import functools
import http.client
import io
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit._http1.pieces import CUTS, Pieces, each_byte
from urllib4._http1.message import MAX_INTERIM_RESPONSES, Http1Response, receive_response
from urllib4._http1.stream import ByteStream
from urllib4.exceptions import HeadTooLargeError, IncompleteRead, ProtocolError

LENGTH = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nContent-Length: 5\r\nSet-Cookie: b=2\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\nA: b\r\n\r\n"
)
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\nhello"
BARE_LF = LENGTH.replace(b"\r\n", b"\n")
FOLDED = b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length:\r\n 5\r\n\r\nhello"
AFTER_INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + LENGTH
MESSAGES = [LENGTH, CHUNKED, UNTIL_CLOSE, BARE_LF, FOLDED, AFTER_INTERIM]


def response_to(
    *pieces: bytes | BaseException, method: str | None = "GET", **options: Any
) -> Http1Response:
    source = Pieces(pieces)
    return Http1Response(source, method=method, stream=ByteStream(source), **options)


def begun(*pieces: bytes, **options: Any) -> Http1Response:
    response = response_to(*pieces, **options)
    response.begin()
    return response


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_is_read_however_it_arrives(
    cut: Callable[[bytes], list[bytes]], message: bytes
) -> None:
    response = begun(*cut(message))
    assert (response.status, response.reason, response.version) == (200, "OK", 11)
    assert response.read() == b"hello"
    assert response.complete
    assert response.isclosed()
    assert response.read() == b""


def _begin_and_read(response: Http1Response) -> bytes:
    response.begin()
    return response.read()


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_that_is_cut_anywhere_is_an_error(
    cut: Callable[[bytes], list[bytes]], message: bytes
) -> None:
    """Unless it lasts until the close: then it is the content up to there."""
    head_end = (
        max(message.rfind(end) + len(end) for end in (b"\r\n\r\nh", b"\n\nh", b"\r\n\r\n3")) - 1
    )
    for end in range(len(message)):
        response = response_to(*cut(message[:end]))
        if end == 0:
            with pytest.raises(http.client.RemoteDisconnected):
                response.begin()
        elif message is UNTIL_CLOSE and end >= head_end:
            response.begin()
            assert response.read() == message[head_end:end]
        else:
            with pytest.raises((ProtocolError, IncompleteRead, http.client.RemoteDisconnected)):
                _begin_and_read(response)
            assert not response.complete


@given(st.one_of(st.binary(max_size=60), st.builds(
    lambda data, at: CHUNKED[:at] + data + CHUNKED[at:],
    st.binary(max_size=3), st.integers(0, len(CHUNKED)),
)))  # fmt: skip
def test_any_bytes_are_a_message_or_an_error_of_ours(data: bytes) -> None:
    response = response_to(data)
    try:
        response.begin()
        response.read()
    except (ProtocolError, http.client.HTTPException):
        assert not response.complete


# -- interim responses (RFC 9110, 15.2) --------------------------------------------------------


@pytest.mark.parametrize("status", [100, 102, 103, 150, 199])
def test_interim_responses_are_skipped(status: int) -> None:
    """http.client returns 103 as the answer, and the next request then gets this one's."""
    interim = b"HTTP/1.1 %d X\r\nContent-Length: 9\r\n\r\n" % status
    response = begun(interim * MAX_INTERIM_RESPONSES + LENGTH)
    assert response.status == 200
    assert response.read() == b"hello"


def test_the_number_of_interim_responses_is_bounded() -> None:
    with pytest.raises(ProtocolError, match="more than 20 interim"):
        begun(*[b"HTTP/1.1 100 Continue\r\n\r\n"] * 1000)


def test_101_is_an_answer_only_to_who_asked_for_it() -> None:
    switching = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: tcp\r\n\r\nanother protocol"
    with pytest.raises(ProtocolError, match="without an upgrade being asked for"):
        begun(switching)
    response = begun(switching, upgrade=True)
    assert response.status == 101
    assert response.will_close
    assert not response.isclosed()
    assert response.fp is not None
    assert response.fp.raw.recv(100) == b"another protocol"


def test_the_end_after_an_interim_response_is_no_response() -> None:
    with pytest.raises(http.client.RemoteDisconnected):
        begun(b"HTTP/1.1 100 Continue\r\n\r\n")


# -- errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (b"", http.client.RemoteDisconnected),
        (b"SSH-2.0-OpenSSH\r\n\r\n", http.client.BadStatusLine),
        (b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", ProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", ProtocolError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", ProtocolError),
        (b"HTTP/1.1 200 OK\r\n" + b"A: %b\r\n" % (b"x" * 1000) * 300, HeadTooLargeError),
    ],
)
def test_a_bad_head_is_an_error_of_its_kind(message: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        begun(message)


def test_begin_reads_one_head_only() -> None:
    response = begun(LENGTH)
    response.begin()
    assert response.read() == b"hello"


# -- no body -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304), ("CONNECT", 200)]
)
@pytest.mark.parametrize("field", [b"Content-Length: 5", b"Transfer-Encoding: chunked", b"A: b"])
def test_what_follows_a_response_without_body_is_left_alone(
    method: str, status: int, field: bytes
) -> None:
    source = Pieces([b"HTTP/1.1 %d X\r\n%b\r\n\r\nsurplus" % (status, field)])
    stream = ByteStream(source)
    response = Http1Response(source, method=method, stream=stream)
    response.begin()
    assert response.complete
    assert response.length == 0
    assert response.read() == b""
    assert stream.buffered == len(b"surplus")


# -- the standard library's face ---------------------------------------------------------------


def test_it_is_the_standard_librarys_response() -> None:
    response = response_to(LENGTH)
    assert isinstance(response, http.client.HTTPResponse)
    assert response.status == response.version == response.will_close == "UNKNOWN"
    assert response.msg is None
    with pytest.raises(http.client.ResponseNotReady):
        response.getheaders()
    response.begin()
    assert isinstance(response.msg, http.client.HTTPMessage)
    assert response.msg is response.headers is response.info()
    assert response.msg.get_all("set-cookie") == ["a=1", "b=2"]
    assert response.getheader("Set-Cookie") == "a=1, b=2"
    assert response.getheaders() == [
        ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Content-Length", "5"),
    ]  # fmt: skip
    assert response.getcode() == response.code == 200
    assert (response.length, response.chunked, response.will_close) == (5, False, False)
    assert response.readable()
    assert not response.closed
    response.close()
    assert response.closed
    assert response.fp is None
    assert response.read() == b""


def test_msg_may_be_replaced() -> None:
    response = begun(LENGTH)
    message = http.client.HTTPMessage()
    response.msg = message
    assert response.headers is message


def test_the_debuglevel_prints_the_head(capsys: pytest.CaptureFixture[str]) -> None:
    response = response_to(LENGTH)
    response.debuglevel = 1
    response.begin()
    printed = capsys.readouterr().out
    assert "reply: 'HTTP/1.1 200 OK'" in printed
    assert "header: Content-Length: 5" in printed


@pytest.mark.parametrize("message", [LENGTH, CHUNKED, UNTIL_CLOSE])
def test_it_is_a_file_for_whoever_wants_one(message: bytes) -> None:
    message = message.replace(b"hel", b"h\nl")
    for cut in CUTS:
        assert list(begun(*cut(message))) == [b"h\n", b"llo"]
        assert begun(*cut(message)).readlines() == [b"h\n", b"llo"]
        response = begun(*cut(message))
        target = bytearray(3)
        assert (response.readinto(target), target) == (3, b"h\nl")
        assert (response.readinto(target), target) == (2, b"lol")
        assert response.readinto(target) == 0
        assert io.BufferedReader(begun(*cut(message))).read() == b"h\nllo"  # type: ignore[arg-type]
        response = begun(*cut(message))
        assert b"".join(iter(functools.partial(response.read1, 2), b"")) == b"h\nllo"
        response = begun(*cut(message))
        assert (response.read(2), response.read(-1)) == (b"h\n", b"llo")


def test_length_counts_down_as_in_the_standard_library() -> None:
    response = begun(LENGTH)
    response.read(2)
    assert response.length == 3
    response.readline()
    assert response.length == 0


def test_64_kib_come_with_their_head_in_one_receive() -> None:
    """Many servers write that much at once (benchmark ``k64``)."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 65536\r\nX: " + b"x" * 4000 + b"\r\n\r\n"
    source = Pieces([head + bytes(65536)] * 2)
    stream = ByteStream(source)
    for receives in (2, 3):  # the first time, there is no room for it yet
        response = Http1Response(source, method="GET", stream=stream)
        response.begin()
        assert len(response.read()) == 65536
        assert source.receives == receives


def test_peek_shows_the_body_and_nothing_behind_it() -> None:
    response = begun(LENGTH + b"surplus")
    assert response.peek() == b"hello"
    response.read(4)
    assert response.peek(1) == b"o"
    response.read()
    assert response.peek() == b""
    response = begun(*each_byte(CHUNKED))
    assert response.peek() == b"h"
    assert response.read(3) == b"hel"
    assert response.peek() == b"l"
    assert response.read(2) == b"lo"
    assert response.peek() == b""
    assert response.isclosed()
    assert begun(UNTIL_CLOSE[:-5]).peek() == b""


def test_raw_reading_goes_past_the_framing() -> None:
    """CacheControl reads chunks by ``_safe_read`` and ``fp.readline``."""
    response = begun(*each_byte(CHUNKED))
    assert response.fp is not None
    assert response.fp.readline() == b"3\r\n"
    assert response._safe_read(3) == b"hel"  # type: ignore[attr-defined]
    assert response._safe_read(2) == b"\r\n"  # type: ignore[attr-defined]
    assert response.fp.read(3) == b"2\r\n"
    assert response.fp.read1(100) == b"l"
    assert response.fp.peek() == b"o"
    target = bytearray(3)
    assert response.fp.readinto(target) == 3
    assert target == b"o\r\n"
    assert response.fp.read() == b"0\r\nA: b\r\n\r\n"
    assert response.fp.readable()
    with pytest.raises(http.client.IncompleteRead):
        response._safe_read(1)  # type: ignore[attr-defined]


def test_fileno_is_the_sockets() -> None:
    response = begun(LENGTH)
    assert response.fileno() == 77
    assert response.fp is not None
    assert response.fp.fileno() == 77


def test_setting_fp_to_none_closes_it() -> None:
    response = begun(LENGTH)
    response.fp = None
    assert response.isclosed()


@pytest.mark.parametrize("of_makefile", [True, False])
def test_a_reader_of_its_own_is_made_where_none_is_given(of_makefile: bool) -> None:
    """So that the class can be used as http.client's is, with the fake sockets of tests too."""

    class FakeSocket:
        def makefile(self, *args: Any) -> io.BytesIO:
            return io.BytesIO(LENGTH)

    response = Http1Response(FakeSocket() if of_makefile else Pieces([LENGTH]), method="GET")
    response.begin()
    assert response.read() == b"hello"


# -- the socket behind it (docker, requests-ntlm) ----------------------------------------------


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_fp_raw_is_a_socket_io_that_starts_with_what_was_read_ahead(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    theirs.sendall(UNTIL_CLOSE)
    response = Http1Response(ours, method="GET")
    response.begin()
    assert response.fp is not None
    raw = response.fp.raw
    assert isinstance(raw, socket.SocketIO)
    assert raw._sock is ours  # type: ignore[attr-defined]
    assert raw.fileno() == ours.fileno()
    assert response.fp.raw is raw
    assert raw.read(2) == b"he"
    assert raw.recv(2) == b"ll"
    theirs.sendall(b"more")
    assert raw.read(10) == b"o"
    assert raw.recv(10) == b"more"
    raw.sendall(b"up")
    raw.write(b"stream")
    assert theirs.recv(8, socket.MSG_WAITALL) == b"upstream"
    theirs.sendall(b"last")
    assert raw.read(10) == b"last"
    with pytest.raises(AttributeError):
        raw.__nothing__  # noqa: B018


def test_fp_raw_keeps_the_descriptor_open_as_makefile_does(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    theirs.sendall(UNTIL_CLOSE)
    response = Http1Response(ours, method="GET")
    response.begin()
    assert response.fp is not None
    raw = response.fp.raw
    ours.close()
    assert raw.read(100) == b"hello"
    theirs.sendall(b"more")
    assert raw.read(100) == b"more"
    raw.close()
    raw.close()
    assert ours.fileno() == -1


def test_fp_raw_of_something_that_is_no_socket_can_be_closed() -> None:
    """Such as TLS inside TLS."""
    response = begun(UNTIL_CLOSE)
    assert response.fp is not None
    raw = response.fp.raw
    assert raw.recv(100) == b"hello"
    raw.close()
    assert raw.closed


@pytest.mark.parametrize("blank", [b"\n\n", b"\r\n\n", b"\n\r\n", b"\r\n\r\n"])
@pytest.mark.parametrize("cut", CUTS)
def test_a_body_with_empty_lines_begins_where_the_head_ends(
    cut: Callable[[bytes], list[bytes]], blank: bytes
) -> None:
    """However the head ends, what looks like its end in the body is body; also the second time,
    when all lines are known."""
    body = b"a: b\r\n\r\nc\n\nd\n\r\n"
    data = b"HTTP/1.1 200 OK\r\nContent-Length: %d%b%b" % (len(body), blank, body)
    for _ in range(2):
        response = begun(*cut(data))
        assert response.getheader("content-length") == str(len(body))
        assert response.read() == body


@pytest.mark.parametrize("message", MESSAGES)
def test_a_response_received_at_once_is_the_one_that_is_made_and_begun(message: bytes) -> None:
    """Two ways to make one object: they set the same."""
    one, two = Pieces([message]), Pieces([message])
    begun_one = Http1Response(one, method="GET", stream=ByteStream(one))
    begun_one.begin()
    received = receive_response(two, "GET", ByteStream(two), False)
    for name in set(Http1Response.__slots__) - {"_sock", "_stream", "body", "head"}:
        assert getattr(received, name) == getattr(begun_one, name), name
    assert received.head is not None
    assert begun_one.head is not None
    assert received.head == begun_one.head
    assert type(received.body) is type(begun_one.body)
    assert received.read() == begun_one.read() == b"hello"
