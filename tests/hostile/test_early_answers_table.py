"""Answers that come while a body is being sent, and bodies that are only sent when wanted.

Tables of server behaviours times kinds of bodies, over plain TCP and TLS.  The server counts what
it gets behind its answer.
"""

from __future__ import annotations

import io
import itertools
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from dummyserver.certs import Certificates
from dummyserver.threaded import End, ThreadedServer
from tests.hostile.counting import counted
from urllib4 import CancelToken, HTTPConnectionPool, HTTPSConnectionPool, PoolManager, Timeout
from urllib4.connection import HTTPConnection
from urllib4.exceptions import (
    DeadlineExceededError,
    HTTPError,
    ReadTimeoutError,
    RequestCancelledError,
    UnrewindableBodyError,
)

#: Bytes; more than all buffers between the two ends hold.
LARGE = 48 << 20
#: Bytes that may be on their way when the answer comes: the buffers, and what is sent meanwhile.
UNDER_WAY = 32 << 20
PIECE = b"x" * 65536

NEXT = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def answer(status: int, *fields: bytes, body: bytes = b"early") -> bytes:
    lines = [b"HTTP/1.1 %d Early" % status, b"Content-Length: %d" % len(body), *fields]
    return b"\r\n".join([*lines, b"", body])


class Upload:
    """What one connection got: its head, and how much came behind it."""

    def __init__(self, end: End) -> None:
        self.end = end
        self.head = b""
        self.got = 0

    def read_head(self) -> bool:
        """Read the head; False if the client left before."""
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self.end.recv(65536)
            if not piece:
                return False
            data += piece
        self.head, _, rest = data.partition(b"\r\n\r\n")
        self.got = len(rest)
        return True

    def read_to_the_end(self) -> None:
        """Count what comes until the client closes."""
        with suppress(OSError):
            while piece := self.end.recv(1 << 20):
                self.got += len(piece)

    def read_body(self, size: int) -> None:
        """Count what comes until a body of `size` bytes is there."""
        while self.got < size and (piece := self.end.recv(min(size - self.got, 1 << 20))):
            self.got += len(piece)

    def has(self, text: bytes) -> bool:
        """Whether the head holds a line with `text`."""
        return text.lower() in self.head.lower()


class Uploads(ThreadedServer):
    """Plays one behaviour per connection, in the order of the connections; the last one again.

    :ivar uploads: what came, in order of the connections.
    :ivar over: set at the end of a case, for behaviours that wait without reading.
    """

    def __init__(self, *, tls: Any = None) -> None:
        super().__init__(tls=tls)
        self.uploads: list[Upload] = []
        self.behaviours: list[Callable[[Upload], object]] = []
        self.over = threading.Event()
        self._opened_before = 0

    @property
    def opened(self) -> int:
        """Connections that were opened in this case."""
        return self.connections - self._opened_before

    def serve(self, number: int, end: End) -> None:
        upload = Upload(end)
        while upload.read_head():
            self.uploads.append(upload)
            if upload.head.startswith(b"GET /next "):
                end.sendall(NEXT)
                upload = Upload(end)
                continue
            play = self.behaviours.pop(0) if len(self.behaviours) > 1 else self.behaviours[0]
            if not play(upload):
                return
            upload = Upload(end)  # it goes on with the next request on this connection

    @contextmanager
    def case(self, *behaviours: Callable[[Upload], object]) -> Iterator[list[Upload]]:
        """Play `behaviours`; wait at the end until all connections are closed."""
        self.uploads.clear()
        self._opened_before = self.connections
        self.behaviours = list(behaviours)
        self.over.clear()
        try:
            yield self.uploads
        finally:
            self.over.set()
            self.wait_until(lambda: self.open == 0)


# -- the two servers and their pools ---------------------------------------------------------------


@pytest.fixture(scope="module")
def counts(request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    with counted(request, "early answers") as counter:
        yield counter


@pytest.fixture(scope="module")
def servers(certs: Certificates) -> Iterator[dict[str, Uploads]]:
    with Uploads() as plain, Uploads(tls=certs.server_context()) as tls:
        yield {"plain": plain, "TLS": tls}


@pytest.fixture(params=["plain", "TLS"])
def server(request: pytest.FixtureRequest, servers: dict[str, Uploads]) -> Uploads:
    return servers[request.param]


class Hooked(HTTPConnection):
    """Somebody overrides a step of sending, so each is taken by itself."""

    def endheaders(self, *args: Any, **kw: Any) -> None:
        super().endheaders(*args, **kw)


@pytest.fixture
def ca(ca_file: str) -> str:
    return ca_file


def pool_for(server: Uploads, ca_file: str, **kw: Any) -> HTTPConnectionPool:
    kw.setdefault("timeout", 20)
    kw.setdefault("retries", False)
    if server.url.startswith("https"):
        return HTTPSConnectionPool(server.host, server.port, ca_certs=ca_file, block=True, **kw)
    return HTTPConnectionPool(server.host, server.port, block=True, **kw)


# -- bodies ----------------------------------------------------------------------------------------

ZEROS = bytes(LARGE)


def pieces() -> Iterator[bytes]:
    for _ in range(LARGE // len(PIECE)):
        yield PIECE


class Endless(io.RawIOBase):
    """A file of `LARGE` bytes that is on no disk."""

    def __init__(self) -> None:
        self._left = LARGE

    def read(self, size: int = -1) -> bytes:
        data = bytes(min(size if size >= 0 else self._left, self._left))
        self._left -= len(data)
        return data


LENGTH = {"Content-Length": str(LARGE)}
BODIES: dict[str, Callable[[], dict[str, Any]]] = {
    "bytes": lambda: {"body": ZEROS},
    "bytes, chunked": lambda: {"body": ZEROS, "chunked": True},
    "bytearray": lambda: {"body": bytearray(LARGE)},
    "generator": lambda: {"body": pieces()},
    "generator with a length": lambda: {"body": pieces(), "headers": LENGTH},
    "file": lambda: {"body": Endless()},
    "file with a length": lambda: {"body": Endless(), "headers": LENGTH},
    "list": lambda: {"body": [PIECE] * (LARGE // len(PIECE))},
}


# -- what a server does with its answer ------------------------------------------------------------


def and_stops_reading(server: Uploads, data: bytes) -> Callable[[Upload], None]:
    def play(upload: Upload) -> None:
        upload.end.sendall(data)
        server.over.wait(20)

    return play


def and_reads_on(server: Uploads, data: bytes) -> Callable[[Upload], None]:
    def play(upload: Upload) -> None:
        upload.end.sendall(data)
        upload.read_to_the_end()

    return play


def and_ends_its_direction(server: Uploads, data: bytes) -> Callable[[Upload], None]:
    def play(upload: Upload) -> None:
        upload.end.sendall(data)
        upload.end.shutdown(socket.SHUT_WR)
        server.over.wait(20)

    return play


def in_pieces(server: Uploads, data: bytes) -> Callable[[Upload], None]:
    def play(upload: Upload) -> None:
        for i in range(len(data)):
            upload.end.sendall(data[i : i + 1])
        server.over.wait(20)

    return play


def after_a_while(server: Uploads, data: bytes) -> Callable[[Upload], None]:
    """The answer comes when the window is full already."""

    def play(upload: Upload) -> None:
        upload.read_body(1 << 20)
        server.over.wait(0.05)
        upload.end.sendall(data)
        server.over.wait(20)

    return play


STAYS = {
    "stops reading": and_stops_reading,
    "reads on": and_reads_on,
    "ends its direction": and_ends_its_direction,
    "in pieces": in_pieces,
    "after a while": after_a_while,
}
INTERIM = {
    "at once": b"",
    "after 100": CONTINUE,
    "after 103s": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 5,
}


def assert_next(pool: HTTPConnectionPool) -> None:
    """The next request has its own answer, and the slot is there for it."""
    response = pool.request("GET", "/next", pool_timeout=5)
    assert (response.status, response.data) == (200, b"next")


@pytest.mark.parametrize("behaviour", STAYS)
@pytest.mark.parametrize("kind", BODIES)
def test_a_refusal_stops_the_upload(
    server: Uploads, ca: str, counts: Counter[str], behaviour: str, kind: str
) -> None:
    """RFC 9112, 9.5: who is told that the body is not wanted stops sending it."""
    for status, interim in itertools.product((413, 401, 302), INTERIM.values()):
        with (
            server.case(STAYS[behaviour](server, interim + answer(status))) as uploads,
            pool_for(server, ca) as pool,
        ):
            response = pool.request("POST", "/", redirect=False, **BODIES[kind]())
            assert (response.status, response.data) == (status, b"early")
            assert server.opened == 1
            assert_next(pool)
            assert server.opened == 2  # the first one stands in the middle of a body
        assert uploads[0].got < UNDER_WAY
        counts[f"refusals, server {behaviour}"] += 1


def reset(end: Any) -> None:
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("end", ["closes", "resets"])
@pytest.mark.parametrize("kind", BODIES)
def test_an_answer_in_front_of_the_end_is_returned_or_the_end_reported(
    server: Uploads, ca: str, counts: Counter[str], kind: str, end: str
) -> None:
    """A reset may destroy the answer on its way: then it is an error of ours, and no hang."""

    def play(upload: Upload) -> None:
        upload.end.sendall(answer(413))
        if end == "resets":
            reset(upload.end)

    for _ in range(3):
        with server.case(play) as uploads, pool_for(server, ca) as pool:
            with suppress(HTTPError):
                response = pool.request("POST", "/", **BODIES[kind]())
                assert (response.status, response.data) == (413, b"early")
            assert_next(pool)
        assert uploads[0].got < UNDER_WAY
        counts[f"server {end}"] += 1


@pytest.mark.parametrize("kind", BODIES)
def test_a_success_while_reading_goes_on_does_not_stop_the_upload(
    server: Uploads, ca: str, counts: Counter[str], kind: str
) -> None:
    """And the connection is used again: the request was sent whole."""

    def play(upload: Upload) -> bool:
        upload.end.sendall(answer(200))
        size = LARGE
        if upload.has(b"transfer-encoding: chunked"):
            step = 16384 if "file" in kind else LARGE if "bytes" in kind else len(PIECE)
            size += LARGE // step * (len(b"%x" % step) + 4) + 5
        upload.read_body(size)
        assert upload.got == size
        return True

    for _ in range(2):
        with server.case(play) as uploads, pool_for(server, ca) as pool:
            response = pool.request("POST", "/", **BODIES[kind]())
            assert (response.status, response.data) == (200, b"early")
            assert_next(pool)
            assert server.opened == 1
        assert uploads[0].got >= LARGE
        counts["success"] += 1


def test_what_comes_with_tls_is_no_answer(
    servers: dict[str, Uploads], ca: str, counts: Counter[str]
) -> None:
    """Session tickets arrive while the body is sent; nothing of HTTP is in them."""
    server = servers["TLS"]

    def play(upload: Upload) -> bool:
        upload.read_body(LARGE)
        upload.end.sendall(answer(200))
        return True

    for kind in ("bytes", "generator with a length", "file with a length"):
        with server.case(play) as uploads, pool_for(server, ca) as pool:
            assert pool.request("POST", "/", **BODIES[kind]()).status == 200
            assert_next(pool)
        assert uploads[0].got == LARGE
        counts["tickets"] += 1


def test_an_interim_answer_does_not_stop_the_upload(
    server: Uploads, ca: str, counts: Counter[str]
) -> None:
    def play(upload: Upload) -> bool:
        for interim in INTERIM.values():
            upload.end.sendall(interim)
        upload.read_body(LARGE)
        upload.end.sendall(answer(200))
        return True

    for kind in ("bytes", "generator with a length"):
        with server.case(play) as uploads, pool_for(server, ca) as pool:
            assert pool.request("POST", "/", **BODIES[kind]()).status == 200
        assert uploads[0].got == LARGE
        counts["interim"] += 1


@pytest.mark.parametrize("kind", BODIES)
def test_a_server_that_says_nothing_and_reads_nothing(
    server: Uploads, ca: str, counts: Counter[str], kind: str
) -> None:
    """The window is full: only a bound or somebody else can end that."""

    def play(upload: Upload) -> None:
        started.set()
        server.over.wait(20)

    started = threading.Event()
    with (
        server.case(play),
        pool_for(server, ca, timeout=Timeout(20, deadline=0.2)) as pool,
        pytest.raises(DeadlineExceededError, match="sending"),
    ):
        pool.request("POST", "/", **BODIES[kind]())
    with server.case(play), pool_for(server, ca, timeout=Timeout(connect=20, read=0.1)) as pool:
        with pytest.raises(ReadTimeoutError):
            pool.request("POST", "/", **BODIES[kind]())
        assert_next(pool)
    started.clear()
    token = CancelToken()

    def cancel() -> None:
        started.wait(10)
        token.cancel()

    helper = threading.Thread(target=cancel)
    with server.case(play), pool_for(server, ca) as pool:
        helper.start()
        with pytest.raises(RequestCancelledError, match=r"sending|waiting for the response"):
            pool.request("POST", "/", cancel=token, **BODIES[kind]())
        helper.join()
        assert_next(pool)
    counts["full window"] += 3


@pytest.mark.parametrize("kind", BODIES)
def test_an_answer_that_drips_does_not_keep_a_full_window_open(
    server: Uploads, ca: str, counts: Counter[str], kind: str
) -> None:
    """Bytes that come do not show that any go: each wait for that would start the time anew."""

    def play(upload: Upload) -> None:
        with suppress(OSError):
            upload.end.sendall(b"HTTP/1.1 103 Early Hints\r\nA: ")
            for _ in range(500):
                if server.over.wait(0.02):
                    break
                upload.end.sendall(b"b")

    with server.case(play), pool_for(server, ca, timeout=Timeout(connect=20, read=0.2)) as pool:
        with pytest.raises(ReadTimeoutError):
            pool.request("POST", "/", **BODIES[kind]())
        assert_next(pool)
    counts["dripping"] += 1


def test_an_error_in_the_body_closes_the_connection(
    server: Uploads, ca: str, counts: Counter[str]
) -> None:
    def broken() -> Iterator[bytes]:
        yield PIECE
        raise LookupError("out of data")

    with server.case(lambda upload: upload.read_to_the_end()), pool_for(server, ca) as pool:
        with pytest.raises(LookupError):
            pool.request("POST", "/", body=broken())
        assert_next(pool)
        assert server.opened == 2
    counts["broken body"] += 1


# -- Expect: 100-continue --------------------------------------------------------------------------

SMALL: dict[str, Callable[[], dict[str, Any]]] = {
    "bytes": lambda: {"body": b"small"},
    "str": lambda: {"body": "small"},
    "chunked": lambda: {"body": b"small", "chunked": True},
    "iterator": lambda: {"body": iter([b"sm", b"all"])},
    "file": lambda: {"body": io.BytesIO(b"small")},
    "large": lambda: {"body": ZEROS},
}
#: Seconds; as long as it takes.
PATIENT = 15.0


@pytest.fixture(params=["at once", "by steps"])
def expecting(
    request: pytest.FixtureRequest, server: Uploads, ca: str
) -> Iterator[HTTPConnectionPool]:
    """A pool, also with a connection class that overrides a step."""
    with pool_for(server, ca) as pool:
        if request.param == "by steps":
            base: Any = pool.ConnectionCls

            class Hooking(base):  # type: ignore[misc]
                def endheaders(self, *args: Any, **kw: Any) -> None:
                    super().endheaders(*args, **kw)

            pool.ConnectionCls = Hooking
        yield pool


def body_size(upload: Upload, kind: str) -> int:
    if kind == "large":
        return LARGE
    chunks = {"iterator": 2, "chunked": 1, "file": 1}
    return 5 + (5 * chunks[kind] + 5 if upload.has(b"transfer-encoding") else 0)


def receive(upload: Upload, kind: str) -> None:
    """Read the body, and nothing behind it, and answer."""
    size = body_size(upload, kind)
    upload.read_body(size)
    assert upload.got == size
    upload.end.sendall(answer(200))


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("before", ["", "103", "pieces"])
def test_a_body_is_sent_when_it_is_wanted(
    server: Uploads, expecting: HTTPConnectionPool, counts: Counter[str], kind: str, before: str
) -> None:
    def play(upload: Upload) -> bool:
        assert upload.has(b"\r\nexpect: 100-continue")
        assert upload.got == 0
        data = INTERIM["after 103s"] + CONTINUE if before == "103" else CONTINUE
        step = 1 if before == "pieces" else len(data)
        for i in range(0, len(data), step):
            upload.end.sendall(data[i : i + step])
        receive(upload, kind)
        return True

    with server.case(play):
        response = expecting.urlopen("PUT", "/", expect_continue=PATIENT, **SMALL[kind]())
        assert response.status == 200
        assert_next(expecting)
        assert server.opened == 1
        expecting.close()
    counts["100 Continue"] += 1


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("status", [401, 413, 302, 500, 200])
def test_a_body_is_not_sent_when_it_is_not_wanted(
    server: Uploads, expecting: HTTPConnectionPool, counts: Counter[str], kind: str, status: int
) -> None:
    """The final answer came instead; the connection waits for a body that will not come."""

    def play(upload: Upload) -> None:
        upload.end.sendall(answer(status))
        upload.read_to_the_end()

    with server.case(play) as uploads:
        response = expecting.urlopen(
            "PUT", "/", expect_continue=PATIENT, redirect=False, **SMALL[kind]()
        )
        assert (response.status, response.data) == (status, b"early")
        assert_next(expecting)
        assert server.opened == 2
        expecting.close()
    assert uploads[0].got == 0
    counts["not wanted"] += 1


@pytest.mark.parametrize("kind", SMALL)
def test_a_body_is_sent_to_a_server_that_says_nothing(
    server: Uploads, expecting: HTTPConnectionPool, counts: Counter[str], kind: str
) -> None:
    """Many know nothing of Expect, and wait for the body."""

    def play(upload: Upload) -> bool:
        receive(upload, kind)
        return True

    with server.case(play):
        assert expecting.urlopen("PUT", "/", expect_continue=0.03, **SMALL[kind]()).status == 200
        assert_next(expecting)
        assert server.opened == 1
        expecting.close()
    counts["silent"] += 1


def test_waiting_for_permission_is_not_waiting_for_the_answer(
    server: Uploads, expecting: HTTPConnectionPool, counts: Counter[str]
) -> None:
    """A read timeout that is shorter than the wait does not fail a server that ignores Expect."""

    def play(upload: Upload) -> bool:
        receive(upload, "bytes")
        return True

    with server.case(play):
        response = expecting.urlopen(
            "PUT", "/", body=b"small", expect_continue=PATIENT, timeout=Timeout(read=0.2)
        )
        assert response.status == 200
        expecting.close()
    counts["silent"] += 1


def test_waiting_for_permission_is_bounded(
    server: Uploads, expecting: HTTPConnectionPool, counts: Counter[str]
) -> None:
    with server.case(lambda upload: upload.read_to_the_end()):
        with pytest.raises(DeadlineExceededError):
            expecting.urlopen(
                "PUT", "/", body=b"small", expect_continue=PATIENT, timeout=Timeout(deadline=0.2)
            )
        token = CancelToken()
        timer = threading.Timer(0.1, token.cancel)
        timer.start()
        with pytest.raises(RequestCancelledError):
            expecting.urlopen("PUT", "/", body=b"small", expect_continue=PATIENT, cancel=token)
        timer.join()
        assert_next(expecting)
        expecting.close()
    counts["bounded"] += 2


def refuse_to_be_asked(upload: Upload) -> None:
    """Answer 417 and count what comes."""
    upload.end.sendall(answer(417))
    upload.read_to_the_end()


class Untellable(io.BytesIO):
    """A file like a pipe: it has the methods, but they fail."""

    def tell(self) -> int:
        raise OSError("no position")


ONCE: dict[str, Callable[[], dict[str, Any]]] = {
    "pipe": lambda: {"body": Untellable(b"small"), "chunked": True},
}


@pytest.mark.parametrize("kind", [*SMALL, *ONCE])
def test_a_server_that_refuses_to_be_asked_is_not_asked_again(
    server: Uploads, expecting: HTTPConnectionPool, counts: Counter[str], kind: str
) -> None:
    """RFC 9110, 10.1.1: 417 is repeated without Expect, once; a body that was not started can be
    sent even if it cannot be rewound."""

    def play(upload: Upload) -> None:
        assert not upload.has(b"\r\nexpect:")
        receive(upload, "file" if kind == "pipe" else kind)

    with server.case(refuse_to_be_asked, play) as uploads:
        response = expecting.urlopen(
            "PUT", "/", expect_continue=PATIENT, **{**SMALL, **ONCE}[kind]()
        )
        assert response.status == 200
        expecting.close()
    assert uploads[0].got == 0
    assert len(uploads) == 2
    counts["417"] += 1


def test_a_second_417_is_the_answer(
    server: Uploads, expecting: HTTPConnectionPool, counts: Counter[str]
) -> None:
    with server.case(refuse_to_be_asked) as uploads:
        response = expecting.urlopen("PUT", "/", body=b"small", expect_continue=PATIENT)
        assert response.status == 417
        expecting.close()
    assert [upload.has(b"\r\nexpect:") for upload in uploads] == [True, False]
    counts["417"] += 1


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"body": None},
        {"body": b"small", "expect_continue": None},
        {"body": b"small", "expect_continue": False},
        {"body": b"small", "headers": {"Expect": "100-continue"}},
        {"body": b"small", "headers": {b"expect": "something"}},
    ],
)
def test_417_is_the_answer_where_we_did_not_ask(
    server: Uploads, expecting: HTTPConnectionPool, counts: Counter[str], options: Any
) -> None:
    """Without a body there is nothing to ask for; the caller's own Expect is his own affair."""
    with server.case(refuse_to_be_asked) as uploads:
        response = expecting.urlopen("PUT", "/", **{"expect_continue": PATIENT, **options})
        assert response.status == 417
        expecting.close()
    (upload,) = uploads
    assert upload.head.lower().count(b"\r\nexpect:") == ("headers" in options)
    counts["417"] += 1


def test_a_body_that_was_sent_before_the_417_cannot_always_be_sent_again(
    server: Uploads, expecting: HTTPConnectionPool, counts: Counter[str]
) -> None:
    def late(upload: Upload) -> bool:
        upload.read_body(20)
        upload.end.sendall(answer(417))
        return True

    for make, error in ((lambda: iter([b"sm", b"all"]), True), (lambda: [b"sm", b"all"], False)):
        with server.case(late, lambda upload: receive(upload, "iterator")):
            if error:
                with pytest.raises(UnrewindableBodyError):
                    expecting.urlopen("PUT", "/", body=make(), expect_continue=0.03)
            else:
                response = expecting.urlopen("PUT", "/", body=make(), expect_continue=0.03)
                assert response.status == 200
            for conn in expecting.pool.queue:
                if conn is not None:
                    conn.close()
        counts["417"] += 1


def test_the_question_is_asked_again_where_a_redirect_leads(
    server: Uploads, ca: str, counts: Counter[str]
) -> None:
    """The body goes to the one that wants it, and to nobody else."""

    def away(upload: Upload) -> None:
        upload.end.sendall(answer(307, b"Location: /there"))
        upload.read_to_the_end()

    def here(upload: Upload) -> None:
        assert upload.has(b"\r\nexpect: 100-continue")
        upload.end.sendall(CONTINUE)
        receive(upload, "bytes")

    with server.case(away, here) as uploads, PoolManager(ca_certs=ca, timeout=20) as manager:
        response = manager.request(
            "PUT", server.url + "/here", body=b"small", expect_continue=PATIENT
        )
        assert response.status == 200
    assert uploads[0].got == 0
    counts["redirect"] += 1


@pytest.mark.parametrize("value", [0, 0.0, -1, float("nan"), float("inf"), "1", b"1", [], object()])
def test_what_is_no_number_of_seconds_is_an_error_before_anything_is_sent(
    server: Uploads, ca: str, counts: Counter[str], value: Any
) -> None:
    connections = server.connections
    with pool_for(server, ca) as pool, pytest.raises(ValueError, match="expect_continue"):
        pool.urlopen("PUT", "/", body=b"small", expect_continue=value)
    assert server.connections == connections
    counts["bad value"] += 1
