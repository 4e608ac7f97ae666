"""TLS connections that end wrongly: cut off, reset, refused, or never TLS at all.

Whoever sits on the way can end a TCP connection, but not say ``close_notify`` (RFC 8446, 6.1): a
body that lasts until the close is whole only if TLS said so (RFC 9112, 9.8).
"""

from __future__ import annotations

import io
import itertools
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import pytest

import urllib4
from dummyserver.tls import TLSEnd
from tests.hostile.tls_peers import PATIENCE, Authority, Leaf, Peer, answer, read_head
from urllib4.exceptions import HTTPError, ProtocolError, SSLError

BODY = bytes(range(256)) * 300  # several records, and more than the reader's buffer
LINES = b"".join(b"line %d\n" % number for number in range(500))

FRAMINGS = {
    "length": lambda body: b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body),
    "chunked": lambda body: (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
        % (len(body), body)
    ),
    "until-close": lambda body: b"HTTP/1.1 200 OK\r\n\r\n" + body,
    "http/1.0": lambda body: b"HTTP/1.0 200 OK\r\n\r\n" + body,
}


def _pieces(read: Callable[[], bytes]) -> bytes:
    return b"".join(iter(read, b""))


def _readinto(response: Any) -> bytes:
    buffer, parts = bytearray(1000), []
    while count := response.readinto(buffer):
        parts.append(bytes(buffer[:count]))
    return b"".join(parts)


def _buffered(response: Any) -> bytes:
    response.auto_close = False
    return io.BufferedReader(response).read()


READS: dict[str, Callable[[Any], bytes]] = {
    "data": lambda response: response.data,
    "read()": lambda response: response.read(),
    "read(7)": lambda response: _pieces(lambda: response.read(7)),
    "read(100000)": lambda response: _pieces(lambda: response.read(100_000)),
    "read1()": lambda response: _pieces(response.read1),
    "read1(99)": lambda response: _pieces(lambda: response.read1(99)),
    "readinto": _readinto,
    "stream": lambda response: b"".join(response.stream()),
    "stream(None)": lambda response: b"".join(response.stream(None)),
    "lines": b"".join,
    "readline(9)": lambda response: _pieces(lambda: response.readline(9)),
    "BufferedReader": _buffered,
    "undecoded": lambda response: response.read(decode_content=False),
    "_fp.read()": lambda response: response._fp.read(),
}
ENDS = ("notify", "ragged", "reset")
VERSIONS = ("TLSv1_2", "TLSv1_3")


class Case(NamedTuple):
    """An answer, whether it is sent whole, how the connection ends, and how it is read."""

    framing: str
    whole: bool
    end: str
    read: str
    version: str

    @property
    def is_error(self) -> bool:
        until_close = self.framing in ("until-close", "http/1.0")
        # What a reset destroys on its way nobody knows, so only a body with an end is told whole.
        return self.end != "notify" if until_close else not self.whole


CASES = [
    Case(*each)
    for each in itertools.product(FRAMINGS, (True, False), ENDS, READS, VERSIONS)
    if not (each[2] == "reset" and each[0] in ("length", "chunked") and each[1])
]


def test_there_are_many_cases() -> None:
    print(f"{len(CASES)} ends, {len(CUTS)} cuts, {len(NO_TLS)} openings that are not TLS")
    assert len(CASES) >= 500
    assert len(CUTS) >= 100
    assert len(NO_TLS) >= 10


@pytest.fixture(scope="module")
def leaf(authority: Authority) -> Leaf:
    return authority.issue("localhost", "IP:127.0.0.1")


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    with Peer(lambda sock: None) as running:
        yield running


@pytest.fixture
def pool(peer: Peer, authority: Authority) -> Iterator[urllib4.HTTPSConnectionPool]:
    with urllib4.HTTPSConnectionPool(
        "localhost", peer.port, ca_certs=authority.ca_file, timeout=PATIENCE, retries=False
    ) as made:
        yield made


def reset(sock: socket.socket) -> None:
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def await_client(sock: socket.socket) -> None:
    """Wait until the client has closed, so that nothing it sends meets a closed socket."""
    with suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65536):
            pass


def ending(context: ssl.SSLContext, data: bytes, end: str) -> Callable[[socket.socket], None]:
    """Return a handler that answers one request with `data` and ends the connection like that."""

    def handle(sock: socket.socket) -> None:
        tls = TLSEnd(sock, context)
        tls.do_handshake()
        read_head(tls)
        tls.sendall(data)
        if end == "reset":
            # Only when the client has got it all is a reset something else than a cut.
            reset(sock)
            return
        if end == "notify":
            tls.send_close_notify()
        await_client(sock)

    return handle


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("end", ENDS)
def test_an_end_is_believed_only_where_it_can_be(
    framing: str,
    version: str,
    end: str,
    leaf: Leaf,
    peer: Peer,
    pool: urllib4.HTTPSConnectionPool,
) -> None:
    """Every way of reading; the next request on the pool gets its own answer."""
    context = leaf.context(ssl.TLSVersion[version])
    good = ending(context, answer(b"next", "Connection: close"), "notify")
    for case in CASES:
        if (case.framing, case.version, case.end) != (framing, version, end):
            continue
        body = LINES if case.read in ("lines", "readline(9)", "read(7)") else BODY
        data = FRAMINGS[framing](body)
        cut = len(data) if case.whole else len(data) - len(body) // 2
        peer.handler = ending(context, data[:cut], end)
        try:
            with pool.urlopen("GET", "/", preload_content=False) as response:
                got = READS[case.read](response)
        except HTTPError as error:
            failure: Exception | None = error
        except ConnectionResetError as error:
            assert case.read == "_fp.read()"  # below the place where errors become ours
            failure = error
        else:
            failure = None
            assert got == (body if case.whole else body[: len(body) - len(body) // 2]), case
        assert (failure is not None) is case.is_error, (case, failure)
        if end == "ragged" and framing in ("until-close", "http/1.0"):
            assert isinstance(failure, ProtocolError)
            assert "ended without close_notify" in str(failure)
        peer.handler = good
        assert follow_up(pool) == b"next", case


def follow_up(pool: urllib4.HTTPSConnectionPool) -> bytes:
    """Send the next request.

    A connection that was kept after a whole answer may be on its way to be closed: hence a retry.
    """
    data: bytes = pool.urlopen("GET", "/", retries=urllib4.Retry(2, redirect=0)).data
    return data


def test_the_sockets_of_the_standard_library_keep_their_ways(
    leaf: Leaf, peer: Peer, pool: urllib4.HTTPSConnectionPool
) -> None:
    """Who takes the socket over after an upgrade, as docker's client does, sees a usual end."""
    peer.handler = ending(leaf.context(), b"HTTP/1.1 200 OK\r\n\r\nraw", "ragged")
    response = pool.urlopen("GET", "/", preload_content=False)
    sock = response._fp.fp.raw._sock
    assert response._fp.fp.raw.recv(100) == b"raw"
    assert sock.recv(100) == b""
    response.close()


def test_a_reused_connection_that_was_cut_is_retried_like_any_other(
    leaf: Leaf, peer: Peer, authority: Authority
) -> None:
    """No answer came, so nothing was cut: the error is that of an end without an answer."""
    context, connections = leaf.context(), itertools.count()

    def handle(sock: socket.socket) -> None:
        tls = TLSEnd(sock, context)
        tls.do_handshake()
        read_head(tls)
        if next(connections) == 0:
            tls.sendall(answer(b"first"))
            read_head(tls)  # the second request gets a cut instead of an answer
            await_client(sock)
        else:
            tls.sendall(answer(b"second", "Connection: close"))
            tls.send_close_notify()

    peer.handler = handle
    with urllib4.HTTPSConnectionPool(
        "localhost", peer.port, ca_certs=authority.ca_file, timeout=PATIENCE
    ) as pool:
        assert pool.urlopen("GET", "/", retries=False).data == b"first"
        response = pool.urlopen("GET", "/", retries=urllib4.Retry(1, redirect=0))
        assert response.data == b"second"


# -- cuts everywhere -------------------------------------------------------------------------------


class CuttingRelay:
    """Lets the first `limit` bytes of the server through, then ends the connection."""

    def __init__(self, context: ssl.SSLContext, data: bytes, *, notify: bool) -> None:
        self._context = context
        self._data = data
        self._notify = notify
        self.limit: int | None = None
        self.how = "end"
        #: Where each write of the server ended, of the connection before.
        self.boundaries: list[int] = []
        #: Set when the server has said all.
        self.is_done = threading.Event()

    def __call__(self, sock: socket.socket) -> None:
        metered = Metered(sock, self.limit)
        self.boundaries = metered.boundaries
        tls = TLSEnd(metered, self._context)  # type: ignore[arg-type]
        try:
            tls.do_handshake()
            read_head(tls)
            for start in range(0, len(self._data), 1000):  # one record each
                tls.sendall(self._data[start : start + 1000])
            if self._notify:
                tls.send_close_notify()
        except CutError:
            self.is_done.set()
            if self.how == "reset":
                reset(sock)
                return
        self.is_done.set()
        await_client(sock)


class CutError(Exception):
    """The limit is reached."""


class Metered:
    """A socket that takes so many bytes and no more."""

    def __init__(self, sock: socket.socket, limit: int | None) -> None:
        self._sock = sock
        self._limit = limit
        self._sent = 0
        self.boundaries: list[int] = []

    def sendall(self, data: bytes) -> None:
        if self._limit is not None and self._sent + len(data) > self._limit:
            self._sock.sendall(data[: self._limit - self._sent])
            raise CutError
        self._sock.sendall(data)
        self._sent += len(data)
        self.boundaries.append(self._sent)

    def recv(self, size: int) -> bytes:
        return self._sock.recv(size)


CUT_BODY = LINES[:3000]
#: What is cut; where, in parts of thousand of all bytes that the server sends; and how.
CUTS = [
    (framing, version, permille, how)
    for framing in FRAMINGS
    for version in VERSIONS
    for permille in (*range(0, 1000, 90), 999)
    for how in ("end", "reset")
]


def _outcome(pool: urllib4.HTTPSConnectionPool) -> bytes | HTTPError:
    try:
        return pool.urlopen("GET", "/").data
    except HTTPError as error:
        return error


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_stream_cut_anywhere_is_never_taken_for_whole(
    framing: str, version: str, leaf: Leaf, peer: Peer, pool: urllib4.HTTPSConnectionPool
) -> None:
    """At the end of each record, a byte before and behind it, and at all of `CUTS`.

    Either nothing that was cut off mattered, or there is one of our errors; and the next request
    gets its own answer.
    """
    context = leaf.context(ssl.TLSVersion[version])
    until_close = framing in ("until-close", "http/1.0")
    relay = CuttingRelay(context, FRAMINGS[framing](CUT_BODY), notify=True)
    peer.handler = relay
    assert _outcome(pool) == CUT_BODY
    assert relay.is_done.wait(PATIENCE)
    pool.retire()  # kept connections would take the first of those that follow
    pool.tls_session_cache = False  # a resumed handshake has fewer records
    edges = list(relay.boundaries)
    # The last write is close_notify; before it, all of the answer was there.  Signatures differ in
    # length, so it is the number of writes that tells what a client has got, not that of bytes.
    total, needed = edges[-1], len(edges) if until_close else len(edges) - 1
    cuts = {(edge + delta, how) for edge in edges for delta in (-1, 0, 1) for how in ("end",)}
    cuts |= {
        (total * permille // 1000, how)
        for a_framing, a_version, permille, how in CUTS
        if (a_framing, a_version) == (framing, version)
    }
    good = ending(context, answer(b"next", "Connection: close"), "notify")
    for limit, how in sorted(cuts):
        relay = CuttingRelay(context, FRAMINGS[framing](CUT_BODY), notify=True)
        relay.limit, relay.how = limit, how
        peer.handler = relay
        outcome = _outcome(pool)
        if isinstance(outcome, bytes):
            assert outcome == CUT_BODY
            assert relay.is_done.wait(PATIENCE)
            assert len(relay.boundaries) >= needed, (limit, how)
        peer.handler = good
        assert follow_up(pool) == b"next", (limit, how)


# -- what is no TLS --------------------------------------------------------------------------------


def _alert(level: int, description: int) -> bytes:
    return bytes([21, 3, 3, 0, 2, level, description])


#: What the server says to the ClientHello.
NO_TLS = {
    "nothing": b"",
    "plain HTTP": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "HTML": b"<!doctype html><title>login</title>" * 100,
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "SMTP": b"220 mail.example ESMTP\r\n",
    "zeros": bytes(2000),
    "noise": bytes(range(1, 256)) * 8,
    "a record that never ends": b"\x16\x03\x03\x40\x00" + b"\x02",
    "a record that is too long": b"\x16\x03\x03\xff\xff" + bytes(70000),
    "a ServerHello of nonsense": b"\x16\x03\x03\x00\x26\x02\x00\x00\x22\x03\x03" + bytes(32),
    "data before the handshake": b"\x17\x03\x03\x00\x05hello",
    "an SSL 3.0 record": b"\x16\x03\x00\x00\x02\x02\x00",
    "our own hello": b"",  # echoed below
    **{
        f"alert {description}": _alert(2, description)
        for description in (
            0,
            10,
            20,
            22,
            40,
            42,
            46,
            47,
            48,
            50,
            51,
            70,
            71,
            80,
            90,
            112,
            116,
            120,
        )
    },
    "a warning and the end": _alert(1, 112),
    "an unknown alert": _alert(2, 255),
    "an alert of an unknown level": _alert(9, 40),
}


@pytest.mark.parametrize("how", ["end", "reset"])
@pytest.mark.parametrize("opening", NO_TLS)
def test_an_opening_that_is_no_tls_is_a_clear_error(
    opening: str, how: str, leaf: Leaf, peer: Peer, pool: urllib4.HTTPSConnectionPool
) -> None:
    """One of ours, no request is sent, and the next one finds the way."""

    def handle(sock: socket.socket) -> None:
        hello = sock.recv(65536)
        sock.sendall(hello if opening == "our own hello" else NO_TLS[opening])
        if how == "reset":
            reset(sock)
        else:
            await_client(sock)

    peer.handler = handle
    with pytest.raises((SSLError, ProtocolError)):
        pool.urlopen("POST", "/", body=b"secret")
    context = leaf.context()
    peer.handler = ending(context, answer(b"next", "Connection: close"), "notify")
    assert pool.urlopen("GET", "/").data == b"next"


def test_garbage_in_the_middle_of_a_connection_is_an_error(
    leaf: Leaf, peer: Peer, pool: urllib4.HTTPSConnectionPool
) -> None:
    """Each kind of record that nobody has encrypted, in place of the rest of an answer."""
    context = leaf.context()
    for garbage in (
        b"HTTP/1.1 200 OK\r\n\r\n",
        _alert(2, 20),
        b"\x17\x03\x03\x00\x20" + bytes(32),
        b"\x16\x03\x03\x00\x04\x00\x00\x00\x00",
        b"\x14\x03\x03\x00\x01\x01",
    ):

        def handle(sock: socket.socket, garbage: bytes = garbage) -> None:
            tls = TLSEnd(sock, context)
            tls.do_handshake()
            read_head(tls)
            tls.sendall(answer(b"part")[:-1])
            sock.sendall(garbage)
            await_client(sock)

        peer.handler = handle
        with pytest.raises((SSLError, ProtocolError)):
            pool.urlopen("GET", "/")
        peer.handler = ending(context, answer(b"next", "Connection: close"), "notify")
        assert pool.urlopen("GET", "/").data == b"next"
