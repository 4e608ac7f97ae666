"""Ends of TLS connections that TLS was not told of: for all but bodies until the close, an end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.unit._http1.pieces import Pieces, stream_of
from urllib4._http1.body import ChunkedBody, LengthBody, UntilCloseBody
from urllib4._http1.stream import ByteStream
from urllib4.exceptions import IncompleteRead, ProtocolError


class SSLEOFError(OSError):
    """Called like that of the ssl module, which may be missing."""


class SSLZeroReturnError(OSError):
    """Called like that of the ssl module."""


class ReasonError(OSError):
    """As some versions of OpenSSL say it."""

    reason = "UNEXPECTED_EOF_WHILE_READING"


class Suppressing(Pieces):
    """A TLS socket as the standard library makes it: it tells a cut only when asked to."""

    suppress_ragged_eofs = True

    def recv_into(self, buffer: Any) -> int:
        count = super().recv_into(buffer)
        if not count and not self.suppress_ragged_eofs:
            raise SSLEOFError
        return count


class Closing(Suppressing):
    """One that got ``close_notify``."""

    def recv_into(self, buffer: Any) -> int:
        return Pieces.recv_into(self, buffer)


RAGGED: list[Callable[[list[bytes]], ByteStream]] = [
    lambda pieces: stream_of(*pieces, SSLEOFError()),
    lambda pieces: stream_of(*pieces, ReasonError()),
    lambda pieces: ByteStream(Suppressing(pieces)),
]
CLEAN: list[Callable[[list[bytes]], ByteStream]] = [
    lambda pieces: stream_of(*pieces),
    lambda pieces: stream_of(*pieces, SSLZeroReturnError()),
    lambda pieces: ByteStream(Closing(pieces)),
]
ragged = pytest.mark.parametrize("make", RAGGED)
clean = pytest.mark.parametrize("make", CLEAN)

READS: list[Callable[[UntilCloseBody], bytes]] = [
    lambda body: body.read_all(),
    lambda body: body.read(100),
    lambda body: b"".join(iter(lambda: body.read1(2), b"")),
    lambda body: bytes(body.readinto(memoryview(bytearray(100)))),
    lambda body: b"".join(iter(lambda: body.readline(-1), b"")),
]


@ragged
@pytest.mark.parametrize("read", READS)
def test_a_body_until_the_close_is_not_whole(
    make: Callable[[list[bytes]], ByteStream], read: Callable[[UntilCloseBody], bytes]
) -> None:
    """RFC 9112, 9.8."""
    body = UntilCloseBody(make([b"some\n", b"body"]))
    with pytest.raises(ProtocolError, match=r"^TLS connection ended without close_notify"):
        read(body)
    assert not body.complete


@clean
@pytest.mark.parametrize("read", READS)
def test_it_is_whole_if_tls_says_so(
    make: Callable[[list[bytes]], ByteStream], read: Callable[[UntilCloseBody], bytes]
) -> None:
    stream = make([b"some\n", b"body"])
    body = UntilCloseBody(stream)
    assert read(body) in (b"some\nbody", bytes(9))
    assert body.complete
    assert not stream.ragged


@ragged
def test_everything_else_ends_as_without_tls(make: Callable[[list[bytes]], ByteStream]) -> None:
    """So that retries treat both alike."""
    assert make([]).read_head() == b""
    with pytest.raises(ProtocolError, match="closed inside the response head"):
        make([b"HTTP/1.1 2"]).read_head()
    with pytest.raises(IncompleteRead):
        LengthBody(make([b"body"]), 5).read_all()
    with pytest.raises(ProtocolError, match="Response ended prematurely"):
        ChunkedBody(make([b"5\r\nbody"])).read_all()
    assert ChunkedBody(make([b"4\r\nbody\r\n0\r\n\r\n"])).read_all() == b"body"
    assert LengthBody(make([b"body"]), 4).read_all() == b"body"
    stream = make([b"x"])
    assert (stream.fill(), stream.ragged, stream.fill(), stream.ragged) == (1, False, 0, True)


def test_the_habit_of_the_socket_is_put_back() -> None:
    """Who takes it over expects what the standard library promises."""
    sock = Suppressing([b"x"])
    stream = ByteStream(sock)
    assert stream.readinto(memoryview(bytearray(9))) == 1
    assert stream.ragged
    assert sock.suppress_ragged_eofs


@pytest.mark.parametrize("error", [ConnectionResetError(), TimeoutError(), OSError(5, "x")])
def test_other_errors_are_no_end(error: OSError) -> None:
    stream = stream_of(b"x", error)
    assert stream.fill() == 1
    with pytest.raises(type(error)):
        stream.fill()
    assert not stream.ragged
