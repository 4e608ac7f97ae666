"""What a connection may do after each kind of response, played by a raw server."""

from __future__ import annotations

import contextlib
import gc
import gzip
import io
import socket
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from dummyserver.script import ScriptedServer
from urllib4 import HTTPConnectionPool
from urllib4.connection import HTTPConnection
from urllib4.exceptions import (
    DecodeError,
    HeadTooLargeError,
    ProtocolError,
    ReadTimeoutError,
)
from urllib4.response import DRAIN_MAX_BYTES, HTTPResponse

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"


@pytest.fixture
def pool(script: ScriptedServer) -> Iterator[HTTPConnectionPool]:
    """One slot, waited for at most five seconds: a lost slot is an error, not a hang."""
    with HTTPConnectionPool(
        script.host, script.port, maxsize=1, block=True, retries=False, timeout=10
    ) as running:
        yield running


def get(
    pool: HTTPConnectionPool, target: str = "/", method: str = "GET", **options: Any
) -> HTTPResponse:
    response = pool.urlopen(method, target, pool_timeout=5, **options)
    assert isinstance(response, HTTPResponse)
    return response


# -- one connection, or another


@pytest.mark.parametrize(
    "answer",
    [
        HELLO,
        CHUNKED,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n" + HELLO,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20 + HELLO,
    ],
)
@pytest.mark.parametrize("by_byte", [True, False])
@pytest.mark.parametrize("preload", [True, False])
def test_a_whole_response_leaves_its_connection_usable(
    script: ScriptedServer, pool: HTTPConnectionPool, answer: bytes, by_byte: bool, preload: bool
) -> None:
    """RFC 9112, 9.3."""
    conversation = script.accept().expect(b"GET /1 ")
    (conversation.send_each_byte if by_byte else conversation.send)(answer)
    conversation.expect(b"GET /2 ").send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond")
    response = get(pool, "/1", preload_content=preload)
    assert response.status == 200
    assert b"".join(response.stream(2)) == (b"" if preload else b"hello")
    assert response.data == (b"hello" if preload else b"")
    assert get(pool, "/2").data == b"second"


@pytest.mark.parametrize(
    ("answer", "content"),
    [
        (HELLO.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), b"hello"),
        (CHUNKED.replace(b"chunked", b"chunked\r\nConnection: x, Close"), b"hello"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
        (CHUNKED.replace(b"1.1", b"1.0"), b"hello"),
        (HELLO + b"!", b"hello"),
        (HELLO + HELLO, b"hello"),
        (CHUNKED + b"surplus", b"hello"),
        (CHUNKED.replace(b"200 OK\r\n", b"304 Not Modified\r\n"), b""),
        (HELLO.replace(b"200 OK\r\n", b"204 No Content\r\n"), b""),
    ],
)
@pytest.mark.parametrize("preload", [True, False])
def test_a_connection_with_anything_left_on_it_is_closed(
    script: ScriptedServer, pool: HTTPConnectionPool, answer: bytes, content: bytes, preload: bool
) -> None:
    """Or the next request would get what is left as its answer."""
    script.accept().expect(b"GET /1 ").send(answer).expect_eof()
    script.accept().expect(b"GET /2 ").send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond")
    response = get(pool, "/1", preload_content=preload)
    assert response.data == content
    assert get(pool, "/2").data == b"second"


def test_bytes_that_come_while_a_connection_is_idle_are_no_answer(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    """Response queue poisoning: the server speaks first, the next request must not believe it."""
    idle, sent = threading.Event(), threading.Event()
    script.accept().expect(b"GET /1 ").send(HELLO).pause_until(idle).send(
        HELLO.replace(b"hello", b"wrong")
    ).notify(sent).expect_eof()
    script.accept().expect(b"GET /2 ").send(HELLO)
    assert get(pool, "/1").data == b"hello"
    idle.set()
    assert sent.wait(10)
    assert get(pool, "/2").data == b"hello"


def test_a_response_until_close_is_whole_at_the_close(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    script.accept().expect(b"GET /1 ").send(b"HTTP/1.1 200 OK\r\n\r\nhel").send(b"lo").close()
    script.accept().expect(b"GET /2 ").send(HELLO)
    assert get(pool, "/1").data == b"hello"
    assert get(pool, "/2").data == b"hello"


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", HELLO[:-5]),
        ("HEAD", CHUNKED.partition(b"3\r\n")[0]),
        ("HEAD", b"HTTP/1.1 404 Not Found\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ],
)
@pytest.mark.parametrize("preload", [True, False])
def test_a_response_without_body_is_complete_at_once(
    script: ScriptedServer, pool: HTTPConnectionPool, method: str, answer: bytes, preload: bool
) -> None:
    """RFC 9112, 6.3: whatever its fields say; and its connection is free without a read."""
    script.accept().expect(method.encode() + b" /1 ").send(answer).expect(b"GET /2 ").send(HELLO)
    response = get(pool, "/1", method, preload_content=preload)
    assert get(pool, "/2").data == b"hello"
    assert response.data == b""
    assert response.length_remaining == 0


EMPTY_ANSWERS = [
    ("HEAD", HELLO[:-5]),
    ("HEAD", CHUNKED.partition(b"3\r\n")[0]),
    ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
    ("GET", b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    ("GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
]


def read_as_text(response: HTTPResponse) -> str:
    with io.TextIOWrapper(response) as text:
        return text.read()


def read_in_with(response: HTTPResponse) -> bytes:
    with response as file:
        return file.read()


@pytest.mark.parametrize(("method", "answer"), EMPTY_ANSWERS)
@pytest.mark.parametrize(
    "read",
    [
        read_in_with,
        read_as_text,
        lambda response: io.BufferedReader(response).read(),
        lambda response: b"".join(response.stream()),
        b"".join,
        lambda response: b"".join(response.readlines()),
        lambda response: response.read1(10),
        lambda response: bytes(response.readinto(bytearray(10))),
        lambda response: response.drain_conn() or b"",
        lambda response: response.close() or b"",
    ],
)
def test_an_empty_body_can_be_read_like_any_other(
    script: ScriptedServer, pool: HTTPConnectionPool, method: str, answer: bytes, read: Any
) -> None:
    """Whether a program works must not depend on whether the server had something to say: the file
    objects of io refuse a file that is closed."""
    script.accept().expect(method.encode() + b" / ").send(answer)
    response = get(pool, "/", method, preload_content=False)
    assert not response.closed
    assert not response.isclosed()
    assert len(read(response)) == 0
    assert response.closed
    assert response.isclosed()


# -- what is no response


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "without an upgrade"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 30, "interim"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "conflicting"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello", "invalid Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "both"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "unsupported Transfer-Encoding"),
        (b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "invalid header name"),
        (b"HTTP/1.1 200 OK\r\nA: b\rSet-Cookie: c=d\r\n\r\n", "bare CR"),
        (b"HTTP/1.1 200 OK\r\nA: \0\r\n\r\n", "NUL"),
        (b"HTTP/1.1 +200 OK\r\n\r\n", "BadStatusLine"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "BadStatusLine"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 2000 + b"\r\n", "more than 1000 header lines"),
    ],
)
def test_a_head_that_cannot_be_trusted_is_an_error_and_ends_the_connection(
    script: ScriptedServer, pool: HTTPConnectionPool, answer: bytes, reason: str
) -> None:
    script.accept().expect(b"GET /1 ").send(answer).expect_eof()
    script.accept().expect(b"GET /2 ").send(HELLO)
    with pytest.raises(ProtocolError, match=reason):
        get(pool, "/1")
    assert get(pool, "/2").data == b"hello"


def test_a_head_without_end_is_given_up(script: ScriptedServer, pool: HTTPConnectionPool) -> None:
    conversation = script.accept().expect(b"GET / ").send(b"HTTP/1.1 200 OK\r\n")
    conversation.flood(b"A: " + b"x" * 4093, limit=2**30)
    with pytest.raises(HeadTooLargeError):
        get(pool)
    script.close()
    assert conversation.bytes_flooded < 2**27


@pytest.mark.parametrize("message", [HELLO, CHUNKED])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_message_that_ends_early_is_an_error(
    script: ScriptedServer, pool: HTTPConnectionPool, message: bytes, how: str
) -> None:
    for end in range(0, len(message), 3):
        conversation = script.accept().expect(b"GET / ").send(message[:end])
        getattr(conversation, how)()
        with pytest.raises(ProtocolError):
            get(pool)


def test_a_truncated_encoding_is_an_error_and_frees_the_slot(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    body = gzip.compress(b"hello" * 100)[:-4]
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    script.accept().expect(b"GET /1 ").send(head + body).expect(b"GET /2 ").send(HELLO)
    with pytest.raises(DecodeError):
        list(get(pool, "/1", preload_content=False).stream())
    assert get(pool, "/2").data == b"hello"


# -- interim responses


def test_early_hints_do_not_poison_the_next_answer(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    """http.client returns 103 as the answer, and each later request gets that of the one before."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
    conversation = script.accept()
    for number in (1, 2, 3):
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number
        conversation.expect(b"GET /%d " % number).send(hints + answer)
    for number in (1, 2, 3):
        response = get(pool, f"/{number}")
        assert (response.status, response.data) == (200, b"%d" % number)
        assert "link" not in response.headers


def test_101_is_the_answer_to_an_upgrade(script: ScriptedServer, pool: HTTPConnectionPool) -> None:
    """docker attaches like this: the socket is then in the hands of the caller."""
    script.accept().expect(b"POST /attach ").send(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nraw"
    ).read_exactly(2).send(b"pong").expect_eof()
    headers = {"Connection": "Upgrade", "Upgrade": "tcp"}
    response = get(pool, "/attach", "POST", headers=headers, preload_content=False)
    assert response.status == 101
    raw = response._fp.fp.raw
    assert isinstance(raw, socket.SocketIO)
    assert raw.read(10) == b"raw"
    raw.write(b"hi")
    assert raw.read(10) == b"pong"
    raw.close()
    response.close()
    script.accept().expect(b"GET / ").send(HELLO)
    assert get(pool).data == b"hello"


# -- giving up a body


@pytest.mark.parametrize("give_up", ["release_conn", "drain_conn"])
@pytest.mark.parametrize("answer", [HELLO, CHUNKED])
def test_a_small_rest_is_read_to_save_the_connection(
    script: ScriptedServer, pool: HTTPConnectionPool, answer: bytes, give_up: str
) -> None:
    script.accept().expect(b"GET /1 ").send(answer).expect(b"GET /2 ").send(HELLO)
    response = get(pool, "/1", preload_content=False)
    assert response.read(1) == b"h"
    getattr(response, give_up)()
    assert get(pool, "/2").data == b"hello"
    assert response.read() == b""


@pytest.mark.parametrize("give_up", ["release_conn", "drain_conn", "close"])
@pytest.mark.parametrize("length", [b"Content-Length: 1000000000", b"Connection: close"])
def test_a_large_rest_is_not_read(
    script: ScriptedServer, pool: HTTPConnectionPool, give_up: str, length: bytes
) -> None:
    """A new connection is cheaper than a gigabyte."""
    head = b"HTTP/1.1 200 OK\r\n" + length + b"\r\n\r\n"
    conversation = script.accept().expect(b"GET /1 ").send(head).flood(b"x" * 65536, limit=2**30)
    script.accept().expect(b"GET /2 ").send(HELLO)
    response = get(pool, "/1", preload_content=False)
    assert response.read(1) == b"x"
    getattr(response, give_up)()
    assert response.tell() <= 1 + DRAIN_MAX_BYTES
    assert get(pool, "/2").data == b"hello"
    script.close()
    assert conversation.bytes_flooded < 2**27


def test_chunks_without_end_are_not_read(script: ScriptedServer, pool: HTTPConnectionPool) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    conversation = script.accept().expect(b"GET /1 ").send(head)
    conversation.flood(b"1000\r\n" + b"x" * 4096 + b"\r\n", limit=2**30)
    script.accept().expect(b"GET /2 ").send(HELLO)
    response = get(pool, "/1", preload_content=False)
    response.release_conn()
    assert response.tell() <= DRAIN_MAX_BYTES
    assert get(pool, "/2").data == b"hello"


def test_a_rest_that_does_not_come_is_waited_for_in_vain_only_shortly(
    script: ScriptedServer, pool: HTTPConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("urllib4.response.DRAIN_MAX_SECONDS", 0.05)
    script.accept().expect(b"GET /1 ").send(HELLO[:-2]).expect_eof()
    script.accept().expect(b"GET /2 ").send(HELLO)
    get(pool, "/1", preload_content=False).release_conn()
    assert get(pool, "/2").data == b"hello"


@pytest.mark.parametrize("answer", [HELLO, CHUNKED, HELLO[:-2], b"HTTP/1.1 200 OK\r\n\r\nhello"])
def test_a_forgotten_response_gives_its_slot_back(
    script: ScriptedServer, pool: HTTPConnectionPool, answer: bytes
) -> None:
    """In urllib3 such a slot is lost, and a blocking pool hangs for ever."""
    script.accept().expect(b"GET /1 ").send(answer).expect_eof()
    script.accept().expect(b"GET /2 ").send(HELLO)
    response: HTTPResponse | None = get(pool, "/1", preload_content=False)
    assert response is not None
    assert response.status == 200
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        response = None
        gc.collect()
    assert get(pool, "/2").data == b"hello"


def test_leaving_the_with_block_gives_the_slot_back(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    script.accept().expect(b"GET /1 ").send(HELLO).expect_eof()
    script.accept().expect(b"GET /2 ").send(HELLO)
    with get(pool, "/1", preload_content=False) as response:
        assert response.read(1) == b"h"
    assert response.closed
    assert get(pool, "/2").data == b"hello"


def test_an_error_in_the_middle_gives_the_slot_back(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    script.accept().expect(b"GET /1 ").send(HELLO[:-2]).expect_eof()
    script.accept().expect(b"GET /2 ").send(HELLO)
    response = get(pool, "/1", preload_content=False, timeout=0.05)
    with pytest.raises(ReadTimeoutError, match="Read timed out"):
        response.read()
    assert response.connection is None
    assert get(pool, "/2").data == b"hello"


GZIPPED = gzip.compress(bytes(range(256)) * 8)


@pytest.mark.parametrize(
    "answer",
    [
        HELLO,
        CHUNKED,
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
        % (len(GZIPPED), GZIPPED),
    ],
)
@pytest.mark.parametrize("pieces", [lambda response: response.stream(2), iter])
def test_a_loop_over_a_response_may_close_it(
    script: ScriptedServer, pool: HTTPConnectionPool, answer: bytes, pieces: Any
) -> None:
    """As in urllib3: whoever closes knows that there was more, so that is no error of the peer."""
    # A line of two bytes first, so that there is a rest.
    script.accept().expect(b"GET / ").send(answer.replace(b"hel", b"h\nl"))
    response = get(pool, "/", preload_content=False)
    received = []
    for piece in pieces(response):
        received.append(piece)
        response.close()
    assert len(received) == 1


def test_shutdown_stops_a_reader_in_another_thread(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    script.accept().expect(b"GET / ").send(HELLO[:-2]).expect_eof()
    response = get(pool, preload_content=False)
    assert response.read(3) == b"hel"
    errors: list[BaseException] = []

    def read() -> None:
        try:
            response.read()
        except ProtocolError as error:
            errors.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    response.shutdown()
    reader.join(10)
    assert len(errors) == 1
    with pytest.raises(RuntimeError, match="released to the pool"):
        response.shutdown()


# -- reading as it comes


@pytest.mark.parametrize(
    "read",
    [
        lambda response: response.readline(),
        lambda response: next(response.stream()),
        lambda response: response.read1(),
        lambda response: next(iter(response)),
    ],
)
@pytest.mark.parametrize("encoding", [b"", b"gzip"])
def test_what_has_come_is_not_held_back(
    script: ScriptedServer, pool: HTTPConnectionPool, read: Any, encoding: bytes
) -> None:
    """A server that sends an event and waits: the client must not wait for more."""
    seen = threading.Event()
    event = b"data: 1\n"
    chunk = event
    if encoding:
        chunk = gzip.compress(event)  # whole, so that the decoder has nothing to wait for
    script.accept().expect(b"GET / ").send(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n"
        % (encoding or b"identity", len(chunk), chunk)
    ).pause_until(seen).send(b"0\r\n\r\n")
    response = get(pool, preload_content=False)
    assert read(response) == event
    seen.set()
    assert response.read() == b""


def test_trailers_arrive_with_the_end(script: ScriptedServer, pool: HTTPConnectionPool) -> None:
    script.accept().expect(b"GET / ").send(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Digest\r\n\r\n"
        b"5\r\nhello\r\n0\r\nDigest: abc\r\nX: 1\r\nX: 2\r\n\r\n"
    )
    response = get(pool, preload_content=False)
    assert response.trailers is None
    assert response.read() == b"hello"
    assert response.trailers is not None
    assert list(response.trailers.iteritems()) == [("Digest", "abc"), ("X", "1"), ("X", "2")]
    assert "Digest" not in response.headers


def test_a_large_body_arrives_whole(script: ScriptedServer, pool: HTTPConnectionPool) -> None:
    body = bytes(range(256)) * 20_000
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(body[i : i + 99_999]), body[i : i + 99_999])
        for i in range(0, len(body), 99_999)
    )
    conversation = script.accept()
    for _ in range(3):
        conversation.expect(b"GET /length ").send(head + body)
    conversation.expect(b"GET /chunked ").send(
        CHUNKED.partition(b"3\r\n")[0] + chunks + b"0\r\n\r\n"
    )
    assert get(pool, "/length").data == body
    assert b"".join(get(pool, "/length", preload_content=False).stream(1000)) == body
    target = bytearray(len(body))
    assert get(pool, "/length", preload_content=False).readinto(target) == len(body)
    assert target == body
    assert get(pool, "/chunked").data == body


# -- a connection without a pool


@pytest.fixture(params=["at once", "by steps"])
def conn(request: pytest.FixtureRequest, script: ScriptedServer) -> Iterator[HTTPConnection]:
    class Traced(HTTPConnection):
        def endheaders(self, *args: Any, **options: Any) -> None:
            super().endheaders(*args, **options)

    cls = HTTPConnection if request.param == "at once" else Traced
    with contextlib.closing(cls(script.host, script.port, timeout=10)) as connection:
        yield connection


INJECTED = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n" + INJECTED,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2a\r\n"
        + INJECTED
        + b"\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_what_was_not_read_of_an_answer_is_not_taken_for_the_next(
    script: ScriptedServer, conn: HTTPConnection, answer: bytes
) -> None:
    """A server must not choose what another of its answers seems to be."""
    script.accept().expect(b"GET /1 ").send(answer)
    script.accept().expect(b"GET /2 ").send(HELLO)
    conn.request("GET", "/1", preload_content=False)
    conn.getresponse().close()
    conn.request("GET", "/2")
    assert conn.getresponse().data == b"hello"


@pytest.mark.parametrize("answer", [HELLO, CHUNKED, b"HTTP/1.1 204 No Content\r\n\r\n"])
def test_what_follows_an_answer_is_not_taken_for_the_next(
    script: ScriptedServer, conn: HTTPConnection, answer: bytes
) -> None:
    script.accept().expect(b"GET /1 ").send(answer + INJECTED)
    script.accept().expect(b"GET /2 ").send(HELLO)
    conn.request("GET", "/1")
    assert conn.getresponse().data in (b"hello", b"")
    conn.request("GET", "/2")
    assert conn.getresponse().data == b"hello"


def test_a_tunnel_with_anything_left_in_it_is_opened_anew(
    script: ScriptedServer, conn: HTTPConnection
) -> None:
    opened = b"HTTP/1.1 200 OK\r\n\r\n"
    script.accept().expect(b"CONNECT ").send(opened).expect(b"GET /1 ").send(HELLO + INJECTED)
    script.accept().expect(b"CONNECT ").send(opened).expect(b"GET /2 ").send(HELLO)
    conn.set_tunnel("target.example", 80, {"X-Proxy": "1"})
    for target in ("/1", "/2"):
        conn.request("GET", target)
        assert conn.getresponse().data == b"hello"
    assert all(b"X-Proxy: 1" in request for request in script.requests[::2])
