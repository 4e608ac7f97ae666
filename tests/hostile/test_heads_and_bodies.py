"""What a server may send instead of a whole, well-formed answer, family by family.

Each case ends in a documented error (or, where that is all there is, in the bytes that came), and
the next request on the same pool gets its own answer (RFC 9112, sections 2 to 9 and 11).
"""

from __future__ import annotations

import gzip
import itertools
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dummyserver.threaded import End, RequestReader, ThreadedServer
from tests.hostile.counting import counted
from urllib4 import HTTPConnectionPool
from urllib4.exceptions import HeadTooLargeError, HTTPError, ProtocolError

TEXT = b"The quick brown fox jumps over the lazy dog. 0123456789\n" * 2
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"

Sender = Callable[[End], bool]


class CaseServer(ThreadedServer):
    """Answers ``/case`` as told, anything else with its own target; closes after a case."""

    def __init__(self) -> None:
        super().__init__()
        self.send: Sender = lambda _: True

    def serve(self, number: int, end: End) -> None:
        reader = RequestReader(end)
        while (request := reader.read()) is not None:
            target = request[0].split(b" ", 2)[1]
            if target == b"/case":
                if not self.send(end):
                    return
            else:
                end.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target)
                )


def whole(data: bytes) -> Sender:
    """Send `data` and close."""

    def send(end: End) -> bool:
        end.sendall(data)
        return False

    return send


def staying(data: bytes) -> Sender:
    """Send `data` and keep the connection open."""

    def send(end: End) -> bool:
        end.sendall(data)
        return True

    return send


def bytewise(data: bytes) -> Sender:
    """Send each byte alone."""

    def send(end: End) -> bool:
        for at in range(len(data)):
            end.sendall(data[at : at + 1])
        return False

    return send


def flooding(start: bytes, more: bytes, limit: int) -> Sender:
    """Send `start`, then `more` again and again until the client leaves or `limit` bytes went."""

    def send(end: End) -> bool:
        end.sendall(start)
        for _ in range(limit // len(more)):
            end.sendall(more)
        return False

    return send


def by_readinto(response: Any) -> bytes:
    pieces, buffer = [], bytearray(9)
    while count := response.readinto(buffer):
        pieces.append(bytes(buffer[:count]))
    return b"".join(pieces)


WAYS: tuple[Callable[[Any], bytes], ...] = (
    lambda r: r.data,
    lambda r: r.read(),
    lambda r: b"".join(iter(lambda: r.read(7), b"")),
    lambda r: b"".join(iter(lambda: r.read1(11), b"")),
    lambda r: b"".join(r.stream(13)),
    lambda r: b"".join(r.stream(None)),
    b"".join,
    by_readinto,
)


@pytest.fixture
def cases() -> Iterator[CaseServer]:
    with CaseServer() as server:
        yield server


@pytest.fixture
def pool(cases: CaseServer) -> Iterator[HTTPConnectionPool]:
    with HTTPConnectionPool(cases.host, cases.port, block=True, timeout=5) as pool:
        yield pool


def play(
    cases: CaseServer, pool: HTTPConnectionPool, send: Sender, number: int
) -> bytes | HTTPError:
    """Play a case, reading in one of the ways; return what came of it.

    Any exception outside HTTPError fails the test, as does a wrong answer to the next request.
    """
    cases.send = send
    way = number % len(WAYS)
    outcome: bytes | HTTPError
    try:
        response = pool.request("GET", "/case", retries=False, preload_content=way == 0)
        outcome = WAYS[way](response)
    except HTTPError as error:
        outcome = error
    after = pool.request("GET", f"/after/{number}", retries=1, pool_timeout=5)
    assert after.data == b"/after/%d" % number
    return outcome


def chunked(body: bytes, size: int = 40, trailers: bytes = b"") -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    lines = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return lines + b"0\r\n" + trailers + b"\r\n"


PACKED = gzip.compress(TEXT, mtime=0)
BASES: dict[str, bytes] = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(TEXT), TEXT),
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(TEXT),
    "trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    + chunked(TEXT, 100, b"X-Sum: 42\r\nX-More: 1\r\n"),
    "gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
    % (len(PACKED), PACKED),
    "gzip chunked": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n" + chunked(PACKED, 20),
    "deflate": b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: %d\r\n\r\n%b"
    % (len(zlib.compress(TEXT)), zlib.compress(TEXT)),
    "gzip until close": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + PACKED,
    "until close": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + TEXT,
    "after 100": CONTINUE + b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(TEXT), TEXT),
    "after 103": HINTS + HINTS + b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    + chunked(TEXT, 30),
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(TEXT), TEXT),
}  # fmt: skip


@pytest.mark.parametrize("base", BASES)
def test_a_truncated_answer_is_an_error_at_every_byte(
    request: pytest.FixtureRequest, cases: CaseServer, pool: HTTPConnectionPool, base: str
) -> None:
    """Only a body that lasts until the close cannot tell; what came of it is handed out.

    Encoded, it can as soon as it has started.
    """
    message = BASES[base]
    body_at = message.rindex(b"\r\n\r\n" + TEXT) + 4 if base == "until close" else len(message)
    with counted(request, f"truncated {base}") as counts:
        for cut in range(len(message)):
            outcome = play(cases, pool, whole(message[:cut]), cut)
            if base == "gzip until close" and message[:cut].endswith(b"\r\n\r\n"):
                assert outcome == b""
            elif cut >= body_at:
                assert outcome == TEXT[: cut - body_at]
            else:
                assert isinstance(outcome, HTTPError), (cut, outcome)
            counts[type(outcome).__name__] += 1


@pytest.mark.parametrize("base", BASES)
def test_an_answer_may_come_byte_by_byte(
    request: pytest.FixtureRequest, cases: CaseServer, pool: HTTPConnectionPool, base: str
) -> None:
    with counted(request, f"bytewise {base}") as counts:
        for number in range(len(WAYS)):
            assert play(cases, pool, bytewise(BASES[base]), number) == TEXT
            counts["whole"] += 1


LENGTHS = [
    b"+200", b"-1", b"-0", b"2_0", b"0x10", b"1e3", b"20.0", b"twenty", b"", b" ", b"20 20",
    b"20;", b"20, 21", b"20,", b",20", b"\xb2\xb0", b"20\x0b", b"99999999999999999999",
    b"9" * 400, b"0x", b"NaN", b"20,\t-20", b"0b1", b"1 0", b"10\xa0",
]  # fmt: skip
CODINGS = [
    b"gzip", b"identity", b"chunked, gzip", b"gzip, chunked", b"chunked, chunked", b"xchunked",
    b"chunked;q=1", b"", b",", b"chunked,", b"\x0bchunked", b"chun\tked", b"cow",
    b"deflate,chunked",
]  # fmt: skip
BAD_HEADS: dict[str, bytes] = {
    **{f"Content-Length {value[:30]!r}": b"Content-Length: %b\r\n" % value for value in LENGTHS},
    **{f"Transfer-Encoding {value!r}": b"Transfer-Encoding: %b\r\n" % value for value in CODINGS},
    "two lengths": b"Content-Length: 20\r\nContent-Length: 21\r\n",
    "two lengths, other spelling": b"Content-Length: 20\r\ncontent-LENGTH: 2\r\n",
    "length and chunked": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "chunked and length": b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    "two codings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "two codings, one folded": b"Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n chunked\r\n",
    "space before the colon": b"Content-Length : 20\r\n",
    "tab before the colon": b"Content-Length\t: 20\r\n",
    "space in a name": b"Content Length: 20\r\n",
    "NUL in a name": b"Content\0-Length: 20\r\n",
    "NUL in a value": b"X: a\0b\r\nContent-Length: 20\r\n",
    "bare CR in a value": b"X: a\rContent-Length: 20\r\nContent-Length: 10\r\n",
    "bare CR before LF": b"X: a\r\r\nContent-Length: 20\r\n",
    "folded first line": b" X: a\r\nContent-Length: 20\r\n",
    "control in a name": b"X\x01: a\r\n",
    "8 bit in a name": b"X\xe4: a\r\n",
    "separators in a name": b"X(y): a\r\n",
    "long line": b"X: %b\r\n" % (b"a" * 300_000),
    "many lines": b"X: a\r\n" * 2000,
}
STATUS_LINES = [
    b"HTTP/0.9 200 OK", b"HTTP/2.0 200 OK", b"HTTP/2 200", b"HTTP/3.0 200 OK", b"HTTP/11 200 OK",
    b"HTTP/1.10 200 OK", b"HTTP/1.1x 200 OK", b"http/1.1 200 OK", b"HTTP/1.1  200 OK",
    b"HTTP/1.1\t200 OK", b"HTTP/1.1 20 OK", b"HTTP/1.1 2000 OK", b"HTTP/1.1 +200 OK",
    b"HTTP/1.1 2_0 OK", b"HTTP/1.1 0200 OK", b"HTTP/1.1 099 OK", b"HTTP/1.1 -200 OK",
    b"HTTP/1.1 abc OK", b"HTTP/1.1", b"HTTP/1.1 ", b"HTTP/ 200 OK", b"ICY 200 OK", b"200 OK",
    b" HTTP/1.1 200 OK", b"\0HTTP/1.1 200 OK", b"HTTP/1.1 200\0OK", b"HTTP/1.1 200 O\rK",
    b"SSH-2.0-OpenSSH_9.2", b"220 mail.example.com ESMTP", b"<html>hello</html>", b"\xff" * 40,
    b"\x15\x03\x01\x00\x02\x02\x28", b"PRI * HTTP/2.0", b"HTTP/1.1 \xb2\xb0\xb0 OK", b"",
]  # fmt: skip


def test_a_malformed_head_is_an_error(
    request: pytest.FixtureRequest, cases: CaseServer, pool: HTTPConnectionPool
) -> None:
    """All contradictions and odd spellings of framing are refused, none is guessed at."""
    body = b"x" * 20
    heads = [b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n" + body for lines in BAD_HEADS.values()]
    heads += [line + b"\r\nContent-Length: 20\r\n\r\n" + body for line in STATUS_LINES]
    with counted(request, "malformed heads") as counts:
        for number, message in enumerate(itertools.chain(heads, heads)):
            send = whole(message) if number < len(heads) else bytewise(message[:2000])
            outcome = play(cases, pool, send, number)
            assert isinstance(outcome, ProtocolError), (message[:100], outcome)
            counts[type(outcome).__name__] += 1


CHUNK_SIZES = [
    b"+5", b"-5", b"0x5", b"5_0", b" 5", b"5\x0b", b"g", b"", b"5 5", b"5,", b"\xb5", b"5.0",
    b"5\0", b"5\r", b"fffffffffffffffff", b"5" * 100, b"5;a\rb", b"5;a\0", b";5", b"0x",
    b"5;" + b"a" * 70000,
]  # fmt: skip
BAD_CHUNKS: dict[str, bytes] = {
    **{f"size {size[:20]!r}": size + b"\r\nhello\r\n0\r\n\r\n" for size in CHUNK_SIZES},
    "no CRLF behind the data": b"5\r\nhello0\r\n\r\n",
    "other bytes behind the data": b"5\r\nhelloXX0\r\n\r\n",
    "CR without LF behind the data": b"5\r\nhello\r0\r\n\r\n",
    "too much data": b"5\r\nhello world\r\n0\r\n\r\n",
    "too little data": b"9\r\nhello\r\n0\r\n\r\n",
    "huge": b"7fffffffffffffff\r\nhello",
    "trailer with space": b"0\r\nX : 1\r\n\r\n",
    "trailer with NUL": b"0\r\nX: \0\r\n\r\n",
    "long trailer": b"0\r\nX: %b\r\n\r\n" % (b"a" * 70000),
    "many trailers": b"0\r\n" + b"X: 1\r\n" * 2000 + b"\r\n",
}


def test_a_malformed_chunk_is_an_error(
    request: pytest.FixtureRequest, cases: CaseServer, pool: HTTPConnectionPool
) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with counted(request, "malformed chunks") as counts:
        rows = [*BAD_CHUNKS.values()] * len(WAYS)
        for number, body in enumerate(rows):
            message = head + body
            odd = number // len(BAD_CHUNKS) % 2 and len(message) < 1000
            outcome = play(cases, pool, bytewise(message) if odd else whole(message), number)
            assert isinstance(outcome, HTTPError), (body[:100], outcome)
            counts[type(outcome).__name__] += 1


OK_HEADS: dict[str, tuple[bytes, bytes]] = {
    "equal lengths": (b"Content-Length: 3\r\nContent-Length: 3\r\n", b"abc"),
    "a list of equal lengths": (b"Content-Length: 3, 3\r\n", b"abc"),
    "leading zeros": (b"Content-Length: 0003\r\n", b"abc"),
    "no reason": (b"Content-Length: 3\r\n", b"abc"),
    "folded field": (b"X: a\r\n  b\r\nContent-Length: 3\r\n", b"abc"),
    "folded length": (b"Content-Length:\r\n 3\r\n", b"abc"),
    "line without a colon": (b"nonsense\r\nContent-Length: 3\r\n", b"abc"),
    "chunked in capitals": (b"Transfer-Encoding: CHUNKED\r\n", b"3\r\nabc\r\n0\r\n\r\n"),
    "chunk extension": (b"Transfer-Encoding: chunked\r\n", b'3;a="b"\r\nabc\r\n0;last\r\n\r\n'),
    "many hints": (b"", b""),
}


def test_odd_but_clear_answers_are_taken(
    request: pytest.FixtureRequest, cases: CaseServer, pool: HTTPConnectionPool
) -> None:
    with counted(request, "odd but clear") as counts:
        for number, (name, (lines, body)) in enumerate(list(OK_HEADS.items()) * len(WAYS)):
            status = b"HTTP/1.1 200\r\n" if name == "no reason" else b"HTTP/1.1 200 OK\r\n"
            message = status + lines + b"\r\n" + body
            if name == "many hints":
                message = HINTS * 15 + BASES["length"]
            expected = TEXT if name == "many hints" else b"abc"
            assert play(cases, pool, whole(message), number) == expected, name
            counts["taken"] += 1


SURPLUS = [b"x", b"\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", b"\0" * 100_000]


def test_what_comes_behind_an_answer_reaches_nobody(
    request: pytest.FixtureRequest, cases: CaseServer, pool: HTTPConnectionPool
) -> None:
    """Response splitting: the connection is closed, and the next request asks on another."""
    with counted(request, "surplus") as counts:
        framed = [name for name in BASES if "until close" not in name]
        for number, (name, extra) in enumerate(itertools.product(framed, SURPLUS * 2)):
            assert play(cases, pool, staying(BASES[name] + extra), number) == TEXT
            counts["dropped"] += 1
        for status, extra in itertools.product((b"204", b"304"), SURPLUS):
            message = b"HTTP/1.1 %b X\r\nContent-Length: 5\r\n\r\n" % status + extra
            assert play(cases, pool, staying(message), 1) == b""
            counts["dropped"] += 1


ENDLESS = {
    "head lines": (b"HTTP/1.1 200 OK\r\n", b"X: a\r\n" * 1000, HeadTooLargeError),
    "one head line": (b"HTTP/1.1 200 OK\r\nX: ", b"a" * 10_000, HeadTooLargeError),
    "status line": (b"HTTP/1.1 200 ", b"a" * 10_000, HeadTooLargeError),
    "interim answers": (b"", HINTS * 100, ProtocolError),
    "spaces": (b"", b" " * 10_000, ProtocolError),
    "chunk line": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;", b"a" * 10_000, ProtocolError,
    ),
    "trailers": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: a\r\n" * 1000,
        ProtocolError,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDLESS)
def test_what_has_no_end_is_given_up_soon(
    cases: CaseServer, pool: HTTPConnectionPool, name: str
) -> None:
    """Six million bytes of it (one million lines) never fill our memory."""
    start, more, expected = ENDLESS[name]
    for number in range(2):
        outcome = play(cases, pool, flooding(start, more, 6_000_000), number)
        assert isinstance(outcome, expected), outcome


CODED = {
    "identity": (b"identity", TEXT, TEXT),
    "identity, gzip": (b"identity, gzip", PACKED, TEXT),
    "gzip twice": (b"gzip, gzip", gzip.compress(PACKED), TEXT),
    "unknown": (b"cow", TEXT, TEXT),
    "unknown in a list": (b"gzip, cow", PACKED, PACKED),
    "gzip and deflate": (b"gzip, deflate", zlib.compress(PACKED), TEXT),
    "garbage behind gzip": (b"gzip", PACKED + b"garbage", TEXT),
    "two members": (b"gzip", PACKED + PACKED, TEXT + TEXT),
    "not gzip": (b"gzip", TEXT, None),
    "not deflate": (b"deflate", TEXT, None),
    "broken checksum": (b"gzip", PACKED[:-8] + bytes(8), None),
    "six codings": (b"gzip, gzip, gzip, gzip, gzip, gzip", PACKED, None),
    "truncated": (b"gzip", PACKED[:-1], None),
    "truncated inside": (b"gzip", PACKED[:20], None),
}


def test_content_codings(
    request: pytest.FixtureRequest, cases: CaseServer, pool: HTTPConnectionPool
) -> None:
    """What cannot be decoded is an error or raw as a whole, never empty or cut in silence."""
    with counted(request, "codings") as counts:
        for number, (coding, body, expected) in enumerate(list(CODED.values()) * len(WAYS) * 2):
            framing = (
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
                if number % 2
                else b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body, 25)
            )
            message = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\n" % coding + framing
            outcome = play(cases, pool, whole(message), number // 2)
            if expected is None:
                assert isinstance(outcome, HTTPError), (coding, outcome)
            else:
                assert outcome == expected, (coding, outcome)
            counts["decoded" if expected else "refused"] += 1
