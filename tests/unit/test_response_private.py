"""The insides of a response that other programs reach for; each test names who does."""

from __future__ import annotations

import gzip
import http.client
import io
import itertools
import socket
import weakref
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest

from tests.unit._http1.pieces import Pieces, each_byte
from urllib4 import response as response_module
from urllib4._collections import HTTPHeaderDict
from urllib4._http1.message import Http1Response, receive_response
from urllib4._http1.stream import ByteStream
from urllib4.exceptions import ProtocolError
from urllib4.response import HTTPResponse

CONTENT = b"one\ntwo\nthree\n" * 20
LENGTH = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nContent-Length: %d\r\n\r\n%b" % (
    len(CONTENT),
    CONTENT,
)
CHUNKED = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nTransfer-Encoding: chunked\r\n\r\n" + (
    b"8c\r\n%b\r\n8c\r\n%b\r\n0\r\nA: b\r\n\r\n" % (CONTENT[:140], CONTENT[140:])
)


def response_of(sock: Any, **options: Any) -> HTTPResponse:
    message = Http1Response(sock, method="GET", stream=ByteStream(sock))
    message.begin()
    assert message.head is not None
    options.setdefault("original_response", message)
    return HTTPResponse(
        message,
        headers=message.head.headers,
        status=message.status,
        preload_content=False,
        **options,
    )


def response_to(*pieces: bytes, **options: Any) -> HTTPResponse:
    return response_of(Pieces(pieces), **options)


class Recorder:
    """What CacheControl puts into ``_fp``: sees all content that passes through two methods."""

    def __init__(self, fp: Any) -> None:
        self._inner = fp
        self.seen = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def read(self, amt: int | None = None) -> bytes:
        data: bytes = self._inner.read(amt)
        self.seen += data
        return data

    def _safe_read(self, amt: int) -> bytes:
        data: bytes = self._inner._safe_read(amt)
        if (amt, data) != (2, b"\r\n"):  # the end of a chunk
            self.seen += data
        return data


# -- CacheControl and pip: another object in _fp -----------------------------------------------


@pytest.mark.parametrize(
    "read",
    [
        lambda response: response.read(),
        lambda response: response.data,
        lambda response: b"".join(iter(lambda: response.read(7), b"")),
        lambda response: b"".join(iter(lambda: response.read1(7), b"")),
        lambda response: b"".join(iter(response.read1, b"")),
        lambda response: b"".join(response.stream(7)),
        lambda response: b"".join(response.stream(None)),
        b"".join,
        lambda response: b"".join(iter(response.readline, b"")),
        lambda response: b"".join(response.readlines()),
        lambda response: io.BufferedReader(response).read(),
    ],
)
@pytest.mark.parametrize("cut", [True, False])
@pytest.mark.parametrize("message", [LENGTH, CHUNKED])
def test_a_wrapper_in_fp_sees_all_content(message: bytes, cut: bool, read: Any) -> None:
    """It stores truncated bodies without any error if one way of reading passes it by."""
    response = response_to(*(each_byte(message) if cut else [message]), auto_close=False)
    wrapper = response._fp = Recorder(response._fp)
    assert read(response) == CONTENT
    assert wrapper.seen == CONTENT
    assert response._original_response.isclosed()
    assert response._original_response.complete
    assert response.read() == b""


def test_a_wrapper_in_fp_sees_what_readinto_reads() -> None:
    response = response_to(LENGTH)
    wrapper = response._fp = Recorder(response._fp)
    target = bytearray(10)
    assert response.readinto(target) == 10
    assert wrapper.seen == CONTENT[:10] == target


@pytest.mark.parametrize("end", [-1, -8, -20, -200])
@pytest.mark.parametrize("message", [LENGTH, CHUNKED])
def test_a_cut_body_is_an_error_through_a_wrapper(message: bytes, end: int) -> None:
    for read in (lambda r: b"".join(r.stream(50)), lambda r: r.read(), list):
        response = response_to(message[:end])
        response._fp = Recorder(response._fp)
        with pytest.raises(ProtocolError):
            read(response)


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_replaced_update_chunk_length_is_called_for_each_chunk(wrapped: bool) -> None:
    """CacheControl learns by it that the last chunk has come, and stores the body then."""
    for amt in (50, None):
        response = response_to(*each_byte(CHUNKED))
        if wrapped:
            response._fp = Recorder(response._fp)
        reference = weakref.ref(response)
        original = type(response)._update_chunk_length
        lengths = []

        def update(
            reference: Any = reference, original: Any = original, lengths: Any = lengths
        ) -> None:
            original(reference())
            lengths.append(reference().chunk_left)

        response._update_chunk_length = update  # type: ignore[method-assign]
        assert b"".join(response.stream(amt)) == CONTENT
        assert lengths[0] == 140
        assert lengths[-1] == 0
        assert lengths.count(0) == 1
        assert response._original_response.complete
        assert response.tell() == len(CONTENT)
        assert list(response.stream()) == []


def test_an_overridden_update_chunk_length_is_called_too() -> None:
    class Own(HTTPResponse):
        calls = 0

        def _update_chunk_length(self) -> None:
            Own.calls += 1
            super()._update_chunk_length()

    message = Http1Response(Pieces([CHUNKED]), method="GET")
    message.begin()
    response = Own(message, preload_content=False, original_response=message)
    assert b"".join(response.stream()) == CONTENT
    assert Own.calls == 3


@pytest.mark.parametrize(
    "wire",
    [
        b"3\r\nabcxx0\r\n\r\n", b"3\r\nab", b"3\r\nabc", b"3\r\nabc\r\n", b"x\r\n", b"3",
        b"-3\r\nabc\r\n", b"0\r\n", b"0\r\nA: b", b"0\r\n" + b"A: b\r\n" * 2000 + b"\r\n",
        b"0\r\nA: " + b"x" * 70_000, b"3;" + b"x" * 70_000,
    ],
)  # fmt: skip
def test_chunks_are_as_strict_where_others_look_on(wire: bytes) -> None:
    response = response_to(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + wire)
    response._fp = Recorder(response._fp)
    with pytest.raises(ProtocolError):
        list(response.stream())
    assert response._original_response.isclosed()


def test_encoded_chunks_pass_the_wrapper_as_they_are() -> None:
    wire = gzip.compress(CONTENT)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
    response = response_to(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(wire), wire))
    wrapper = response._fp = Recorder(response._fp)
    assert b"".join(response.stream(10, decode_content=True)) == CONTENT
    assert wrapper.seen == wire


# -- docker, requests-ntlm: the socket ---------------------------------------------------------


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_the_socket_is_found_where_it_always_was(pair: tuple[socket.socket, socket.socket]) -> None:
    """docker takes ``_fp.fp.raw`` as its socket, requests-ntlm ``_fp.fp.raw._sock``."""
    ours, theirs = pair
    theirs.sendall(b"HTTP/1.1 200 OK\r\n\r\nread ahead")
    response = response_of(ours)
    raw = response._fp.fp.raw
    assert isinstance(raw, socket.SocketIO)
    assert raw._sock is ours  # type: ignore[attr-defined]
    assert raw.fileno() == response.fileno() == ours.fileno()
    assert raw.read(4) == b"read"
    assert raw.recv(100) == b" ahead"  # type: ignore[attr-defined]
    theirs.sendall(b"live")
    assert raw.read(100) == b"live"
    raw.sendall(b"back")  # type: ignore[attr-defined]
    assert theirs.recv(100) == b"back"
    raw.close()
    assert ours.fileno() >= 0


def test_docker_finds_how_much_of_a_chunk_is_left() -> None:
    response = response_to(CHUNKED)
    assert response._fp.chunked
    assert response._fp.chunk_left is None
    assert response._fp.length is None
    assert response_to(LENGTH)._fp.length == len(CONTENT)


# -- requests, http.cookiejar: _original_response ----------------------------------------------


def test_original_response_has_msg_isclosed_and_close() -> None:
    response = response_to(LENGTH)
    original = response._original_response
    assert isinstance(original, http.client.HTTPResponse)
    assert original.msg.get_all("Set-Cookie") == ["a=1"]
    assert not original.isclosed()
    response.read()
    assert original.isclosed()
    response = response_to(LENGTH)
    response._original_response.close()
    assert response.closed


DOUBLES = {
    "none": lambda: None,
    "mock": mock.Mock,
    "closed mock": lambda: mock.Mock(**{"isclosed.return_value": True}),
    "open mock": lambda: mock.Mock(**{"isclosed.return_value": False}),
    "magic mock": mock.MagicMock,
}


@pytest.mark.parametrize("double", DOUBLES)
@pytest.mark.parametrize("preload", [True, False])
def test_a_response_made_by_hand_can_be_read(double: str, preload: bool) -> None:
    """betamax, responses, requests-mock and pook make them so."""
    for headers in ({}, {"Content-Length": str(len(CONTENT))}, {"Transfer-Encoding": "chunked"}):
        make = lambda body, headers=headers: HTTPResponse(  # noqa: E731
            body, headers=headers, status=200, preload_content=preload,
            original_response=DOUBLES[double](),
        )  # fmt: skip
        assert make(io.BytesIO(CONTENT)).data == CONTENT
        if not preload:
            assert b"".join(make(io.BytesIO(CONTENT)).stream(10)) == CONTENT
            assert list(make(io.BytesIO(CONTENT))) == CONTENT.splitlines(keepends=True)
        response = make(io.BytesIO(CONTENT))
        response.release_conn()
        response.drain_conn()
        response.close()
        assert response.closed


def test_a_mock_as_body_does_not_hang() -> None:
    def body(*pieces: bytes) -> mock.Mock:
        effects = itertools.chain(pieces, itertools.repeat(b""))
        return mock.Mock(**{"read.side_effect": effects, "closed": False})

    assert HTTPResponse(body(b"abc"), preload_content=False).read() == b"abc"
    file = body(b"abc", b"d")
    assert b"".join(HTTPResponse(file, preload_content=False).stream(3)) == b"abcd"
    assert file.close.called


# -- requests-cache and others: subclasses -----------------------------------------------------


class Cached(HTTPResponse):
    """As attrs does it: attributes without the constructor of the base, then the rest."""

    def __init__(self, body: bytes, **fields: Any) -> None:
        self.decode_content = False
        self.headers = HTTPHeaderDict()
        self.reason = None
        self.request_url = None
        self.status = 0
        self.version = 0
        self.__dict__.update(fields)
        HTTPResponse.__init__(
            self, body=io.BytesIO(body), preload_content=False, status=self.status,
            headers=self.headers, decode_content=False,
        )  # fmt: skip
        self._body = body

    def release_conn(self) -> None:
        """There is none."""

    def read(self, amt: int | None = None, **kwargs: Any) -> bytes:  # type: ignore[override]
        if self._fp.closed:
            return b""
        data: bytes = self._fp.read(amt)
        if not data:
            self._fp.close()
        return data

    def stream(self, amt: int | None = 65536, **kwargs: Any) -> Iterator[bytes]:  # type: ignore[override]
        while data := self.read(amt):
            yield data


def test_a_subclass_with_its_own_constructor_and_read_works() -> None:
    response = Cached(CONTENT, status=200, headers=HTTPHeaderDict({"A": "b"}))
    assert response.data == CONTENT
    assert b"".join(response.stream(10)) == CONTENT
    assert response.closed
    assert Cached(CONTENT).readinto(bytearray(5)) == 5
    assert response.getheader("a") == "b"


def test_private_attributes_keep_their_names() -> None:
    response = response_to(LENGTH, request_url="/x", pool="pool", connection="conn")
    assert response._request_url == "/x"
    assert response._pool == "pool"
    assert response._connection == response.connection == "conn"
    assert response._body is None
    assert response._fp_bytes_read == 0
    assert response._has_decoded_content is False
    assert response.chunk_left is None
    response._connection = response._pool = None
    response.read(5)
    assert response._fp_bytes_read == 5
    response._body = b"mine"
    assert response.data == b"mine"


def test_a_response_of_a_subclass_of_ours_is_read_by_its_own_methods() -> None:
    """botocore's connections have their own response class."""

    class Own(Http1Response):
        reads = 0

        def read(self, amt: int | None = None) -> bytes:
            self.reads += 1
            return super().read(amt)

    for wire in (LENGTH, CHUNKED):
        message = Own(Pieces([wire]), method="GET")
        message.begin()
        response = HTTPResponse(
            message, headers=message.head.headers, preload_content=False,  # type: ignore[union-attr]
            original_response=message,
        )  # fmt: skip
        assert response.read(10) + response.read() == CONTENT
        assert message.reads >= 2
        assert message.complete


class FakeFp:
    """A chunked body object as test suites make them: nothing but ``fp`` and ``_safe_read``."""

    def __init__(self, wire: bytes) -> None:
        self.fp = io.BytesIO(wire)
        self.closed = False

    def _safe_read(self, amt: int) -> bytes:
        return self.fp.read(amt)

    def read(self, amt: int | None = None) -> bytes:
        raise AssertionError("framing would come out as content")

    def close(self) -> None:
        self.closed = True


def test_an_object_with_fp_is_read_chunk_by_chunk() -> None:
    wire = CHUNKED.partition(b"\r\n\r\n")[2]
    fp = FakeFp(wire)
    response = HTTPResponse(fp, headers={"Transfer-Encoding": "chunked"}, preload_content=False)
    assert response.supports_chunked_reads()
    assert list(response.stream()) == [CONTENT[:140], CONTENT[140:]]
    assert fp.closed
    assert list(response.stream()) == []
    fp = FakeFp(wire)
    fp.fp = None  # type: ignore[assignment]
    response = HTTPResponse(fp, headers={"Transfer-Encoding": "chunked"}, preload_content=False)
    assert list(response.read_chunked()) == []


@pytest.mark.parametrize("message", [LENGTH, CHUNKED, LENGTH.replace(b"200 OK", b"204 No")])
@pytest.mark.parametrize(("preload", "decode", "enforce"), [
    (False, True, True), (True, True, True), (False, False, False), (True, False, True),
])  # fmt: skip
def test_a_response_made_by_a_connection_is_the_one_that_the_constructor_makes(
    message: bytes, preload: bool, decode: bool, enforce: bool
) -> None:
    """Two ways to make one object: they set the same, in slots and in the dict."""
    ours, theirs = Pieces([message]), Pieces([message])
    received = [receive_response(sock, "GET", ByteStream(sock), False) for sock in (ours, theirs)]
    for one in received:
        assert one.head is not None
    shutdown = print
    made = response_module._response_of(
        received[0], ("GET", "/x", preload, decode, enforce), "HTTP/1.1", None, shutdown
    )
    constructed = HTTPResponse(
        received[1],
        headers=received[1].head.headers,  # type: ignore[union-attr]
        status=received[1].status,
        version=received[1].version,
        version_string="HTTP/1.1",
        reason=received[1].reason,
        preload_content=preload,
        decode_content=decode,
        original_response=received[1],
        enforce_content_length=enforce,
        request_method="GET",
        request_url="/x",
        sock_shutdown=shutdown,
    )
    assert made.__dict__ == constructed.__dict__
    for name in HTTPResponse.__slots__:
        if name not in ("_fp", "_original_response"):
            assert getattr(made, name) == getattr(constructed, name), name
    assert made._fp is made._original_response is received[0]
    assert made.data == constructed.data
