"""A deadline, a total timeout and a cancel token hold against servers that never quite stop.

Each server here sends one byte every few milliseconds, so that no single wait is long.  Without a
bound on the whole, such a call would last for minutes.
"""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import pytest

from dummyserver.certs import Certificates
from dummyserver.threaded import End, ThreadedServer
from tests.hostile.counting import counted
from urllib4 import (
    CancelToken,
    HTTPConnectionPool,
    HTTPSConnectionPool,
    PoolManager,
    ProxyManager,
    Retry,
    Timeout,
)
from urllib4.exceptions import (
    DeadlineExceededError,
    HTTPError,
    RequestCancelledError,
)

#: Seconds that a call gets, and after which it must be over at the latest.
GIVEN, SLACK = 0.2, 3.0
#: Seconds between two bytes.
DRIP = 0.004


@pytest.fixture(scope="module")
def counts(request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    with counted(request, "deadlines") as counter:
        yield counter


class Dripping(ThreadedServer):
    """Reads a head, sends `at_once`, and then drips: `drops` is asked for the bytes to drip."""

    def __init__(self, *, tls: Any = None) -> None:
        super().__init__(tls=tls)
        self.at_once = b""
        self.drops: Callable[[], Iterable[int]] = lambda: ()
        self.reached = threading.Event()

    def start_case(self, at_once: bytes, drops: Callable[[], Iterable[int]]) -> None:
        self.at_once, self.drops = at_once, drops
        self.reached.clear()

    def serve(self, number: int, end: End) -> None:
        while _read_head(end):
            end.sendall(self.at_once)
            self.reached.set()
            drip(end, self.drops())

    def assert_left(self) -> None:
        """The client closed its connection."""
        self.wait_until(lambda: self.open == 0)


def _read_head(end: End) -> bool:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = end.recv(65536)
        if not piece:
            return False
        data += piece
    return True


def drip(end: End, drops: Iterable[int]) -> None:
    """Send byte by byte, until there are no more or the client leaves."""
    pause = threading.Event()
    for drop in drops:
        end.sendall(bytes([drop]))
        pause.wait(DRIP)


class Leaking(ThreadedServer):
    """A relay to another server that lets one byte of it through at a time.

    :param after: bytes that it lets through at once before that.
    """

    def __init__(self, port: int, *, after: int = 0) -> None:
        super().__init__()
        self._target = port
        self.after = after
        self.reached = threading.Event()

    def serve(self, number: int, end: End) -> None:
        with socket.create_connection((self.host, self._target)) as upstream:
            upstream.settimeout(20)
            forth = threading.Thread(target=self._forth, args=(end, upstream), daemon=True)
            forth.start()
            passed = 0
            try:
                while data := upstream.recv(65536):
                    at_once = data[: max(0, self.after - passed)]
                    end.sendall(at_once)
                    passed += len(at_once)
                    if len(at_once) < len(data):
                        self.reached.set()
                    drip(end, data[len(at_once) :])
            finally:
                with suppress(OSError):
                    upstream.shutdown(socket.SHUT_RDWR)
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                forth.join()

    @staticmethod
    def _forth(end: End, upstream: socket.socket) -> None:
        with suppress(OSError):
            while data := end.recv(65536):
                upstream.sendall(data)
        with suppress(OSError):
            upstream.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def servers(certs: Certificates) -> Iterator[dict[str, Dripping]]:
    with Dripping() as plain, Dripping(tls=certs.server_context()) as tls:
        yield {"plain": plain, "TLS": tls}


@pytest.fixture(params=["plain", "TLS"])
def server(request: pytest.FixtureRequest, servers: dict[str, Dripping]) -> Dripping:
    return servers[request.param]


def pool_for(server: ThreadedServer, ca_file: str, *, tls: bool | None = None) -> Any:
    if server.url.startswith("https") if tls is None else tls:
        return HTTPSConnectionPool(server.host, server.port, ca_certs=ca_file, block=True)
    return HTTPConnectionPool(server.host, server.port, block=True)


# -- three ways to end a call ----------------------------------------------------------------------


class Bound(NamedTuple):
    """How a call is ended: its keywords, and what it ends with."""

    keywords: dict[str, Any]
    error: type[Exception]


@contextmanager
def bound_by(kind: str, reached: threading.Event | None = None) -> Iterator[Bound]:
    if kind == "deadline":
        yield Bound({"timeout": Timeout(20, deadline=GIVEN)}, DeadlineExceededError)
    elif kind == "total":
        yield Bound({"timeout": Timeout(GIVEN, connect=20, read=20)}, HTTPError)
    else:
        token = CancelToken()

        def cancel() -> None:
            if reached is not None:
                reached.wait(10)
            token.cancel()

        helper = threading.Timer(GIVEN / 2, cancel)
        helper.start()
        try:
            yield Bound({"timeout": 20, "cancel": token}, RequestCancelledError)
        finally:
            helper.cancel()
            helper.join()


@contextmanager
def ends(error: type[Exception], phase: str = "") -> Iterator[None]:
    """The block raises `error` in time; one with a phase names it."""
    started = time.monotonic()
    with pytest.raises(error) as caught:
        yield
    assert time.monotonic() - started < SLACK
    found: Any = caught.value
    if phase and hasattr(found, "phase"):
        assert found.phase in phase.split("|"), found.phase


BOUNDS = ["deadline", "total", "cancel"]


def cycle(data: bytes) -> Callable[[], Iterable[int]]:
    return lambda: itertools.cycle(data)


def line(data: bytes) -> Callable[[], Iterable[int]]:
    """Bytes of a line that never ends."""
    return lambda: itertools.chain(data, itertools.repeat(ord("x")))


LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
CLOSE = b"HTTP/1.1 200 OK\r\n"
GZIP = b"Content-Encoding: gzip\r\n"
GZIP_START = bytes.fromhex("1f8b08000000000002ff")
#: An empty stored block that is not the last: a gzip stream of these never has any content.
GZIP_NOTHING = b"\x00\x00\x00\xff\xff"

HINTS = b"HTTP/1.1 103 Early Hints\r\nA: " + b"x" * 99 + b"\r\n\r\n"
WAITING, READING = "waiting for the response", "reading the body"
DRIPS: dict[str, tuple[bytes, Callable[[], Iterable[int]], str]] = {
    "a status line": (b"", line(b"HTTP/1.1 200 "), WAITING),
    "a field": (b"HTTP/1.1 200 OK\r\n", line(b"X: "), WAITING),
    "many fields": (b"HTTP/1.1 200 OK\r\n", cycle(b"A: b\r\n"), WAITING),
    "interim answers": (b"", cycle(HINTS), WAITING),
    "a body": (LENGTH + b"\r\n", cycle(b"x"), READING),
    "a body until close": (CLOSE + b"\r\n", cycle(b"x"), READING),
    "a chunk size": (CHUNKED + b"\r\n", cycle(b"0"), READING),
    "a chunk extension": (CHUNKED + b"\r\n5;", cycle(b"x"), READING),
    "a chunk": (CHUNKED + b"\r\nfffff\r\n", cycle(b"x"), READING),
    "chunks": (CHUNKED + b"\r\n", cycle(b"1\r\nx\r\n"), READING),
    "trailers": (CHUNKED + b"\r\n0\r\n", cycle(b"A: b\r\n"), READING),
    "a gzip body": (LENGTH + GZIP + b"\r\n" + GZIP_START, cycle(GZIP_NOTHING), READING),
    "a chunked gzip body": (
        CHUNKED + GZIP + b"\r\nfffff\r\n" + GZIP_START,
        cycle(GZIP_NOTHING),
        READING,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BOUNDS)
@pytest.mark.parametrize("what", DRIPS)
def test_an_answer_that_drips(
    server: Dripping, ca_file: str, counts: Counter[str], what: str, kind: str
) -> None:
    at_once, drops, phase = DRIPS[what]
    server.start_case(at_once, drops)
    with pool_for(server, ca_file) as pool:
        with bound_by(kind, server.reached) as bound, ends(bound.error, phase):
            pool.request("GET", "/", retries=False, **bound.keywords)
        assert pool.pool.qsize() == 1
        server.assert_left()
    counts[f"answers, {kind}"] += 1


READS: dict[str, Callable[[Any], object]] = {
    "read": lambda r: r.read(),
    "read(n)": lambda r: r.read(50_000),
    "read one by one": lambda r: list(iter(lambda: r.read(1), b"")),
    "read1": lambda r: list(iter(r.read1, b"")),
    "readinto": lambda r: r.readinto(bytearray(50_000)),
    "stream": lambda r: list(r.stream()),
    "lines": list,
    "readline": lambda r: r.readline(),
    "data": lambda r: r.data,
    "json": lambda r: r.json(),
}
BODIES = ["a body", "a body until close", "a chunk size", "a chunk", "trailers", "a gzip body"]


@pytest.mark.parametrize("kind", ["deadline", "cancel"])
@pytest.mark.parametrize("how", READS)
def test_a_streamed_body_that_drips(
    servers: dict[str, Dripping], ca_file: str, counts: Counter[str], how: str, kind: str
) -> None:
    """The deadline goes on after the head: it is one for the whole call."""
    server = servers["plain"]
    for what in BODIES:
        at_once, drops, _ = DRIPS[what]
        server.start_case(at_once, drops)
        with pool_for(server, ca_file) as pool:
            with bound_by(kind, server.reached) as bound, ends(bound.error, READING):
                response = pool.request("GET", "/", preload_content=False, **bound.keywords)
                READS[how](response)
            assert pool.pool.qsize() == 1
            server.assert_left()
        counts[f"streamed, {kind}"] += 1


@pytest.mark.parametrize("kind", ["deadline", "cancel"])
@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 100000\r\n\r\n",
        b"HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 100000\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /x\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n",
    ],
)
def test_bodies_that_drip_before_they_are_thrown_away(
    server: Dripping, ca_file: str, counts: Counter[str], head: bytes, kind: str
) -> None:
    """Redirect after redirect, each with a body that nobody wants."""
    server.start_case(head, cycle(b"x"))
    with PoolManager(ca_certs=ca_file) as manager:
        with bound_by(kind, server.reached) as bound, ends(bound.error):
            manager.request("GET", server.url, retries=Retry(10**6), **bound.keywords)
        server.assert_left()
    counts[f"thrown away, {kind}"] += 1


# -- before the request ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BOUNDS)
def test_a_handshake_that_drips(
    servers: dict[str, Dripping], ca_file: str, counts: Counter[str], kind: str
) -> None:
    with Leaking(servers["TLS"].port) as relay, pool_for(relay, ca_file, tls=True) as pool:
        with bound_by(kind, relay.reached) as bound, ends(bound.error, "connecting"):
            pool.request("GET", "/", retries=False, **bound.keywords)
        assert pool.pool.qsize() == 1
        relay.wait_until(lambda: relay.open == 0)
    counts[f"handshake, {kind}"] += 1


@pytest.mark.parametrize("kind", BOUNDS)
def test_records_of_tls_that_drip(
    servers: dict[str, Dripping], ca_file: str, counts: Counter[str], kind: str
) -> None:
    """A record is given to nobody before it is whole."""
    server = servers["TLS"]
    server.start_case(LENGTH + b"\r\n" + b"x" * 100_000, lambda: ())
    for after in (6_000, 20_000):  # in the first record behind the handshake, and later
        with Leaking(server.port, after=after) as relay, pool_for(relay, ca_file, tls=True) as pool:
            with bound_by(kind, relay.reached) as bound, ends(bound.error, f"{WAITING}|{READING}"):
                pool.request("GET", "/", retries=False, **bound.keywords)
            assert pool.pool.qsize() == 1
            relay.wait_until(lambda: relay.open == 0)
        counts[f"records, {kind}"] += 1


class DrippingProxy(ThreadedServer):
    """Answers CONNECT, possibly dripping, and then drips inside the tunnel."""

    def __init__(self, at_once: bytes, drops: Callable[[], Iterable[int]], *, tls: Any) -> None:
        super().__init__(tls=tls)
        self._at_once, self._drops = at_once, drops
        self.reached = threading.Event()

    def serve(self, number: int, end: End) -> None:
        _read_head(end)
        end.sendall(self._at_once)
        if self._at_once == OPEN:
            end.recv(65536)  # nothing may come through a tunnel before the client speaks
        self.reached.set()
        drip(end, self._drops())


OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"
#: The start of a handshake record that is 16 KiB long.
RECORD = b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03"
CONNECTS: dict[str, tuple[bytes, Callable[[], Iterable[int]]]] = {
    "its status line": (b"", line(b"HTTP/1.1 200 ")),
    "its fields": (b"HTTP/1.1 200 OK\r\n", cycle(b"A: b\r\n")),
    "interim answers": (b"", cycle(HINTS)),
    "a refusal": (b"HTTP/1.1 407 No\r\n", cycle(b"A: b\r\n")),
    "the handshake inside": (OPEN, lambda: itertools.chain(RECORD, itertools.repeat(1))),
}


@pytest.mark.parametrize("kind", BOUNDS)
@pytest.mark.parametrize("what", CONNECTS)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_drips(
    certs: Certificates, ca_file: str, counts: Counter[str], scheme: str, what: str, kind: str
) -> None:
    """The answer to CONNECT, and TLS inside the tunnel, also where the tunnel is TLS itself."""
    tls = certs.server_context() if scheme == "https" else None
    with (
        DrippingProxy(*CONNECTS[what], tls=tls) as proxy,
        ProxyManager(proxy.url, ca_certs=ca_file) as manager,
    ):
        with bound_by(kind, proxy.reached) as bound, ends(bound.error):
            manager.request("GET", "https://target.example/", retries=False, **bound.keywords)
        proxy.wait_until(lambda: proxy.open == 0)
    counts[f"proxy, {kind}"] += 1


@pytest.mark.parametrize("kind", BOUNDS)
def test_a_handshake_with_a_proxy_that_drips(
    servers: dict[str, Dripping], ca_file: str, counts: Counter[str], kind: str
) -> None:
    with (
        Leaking(servers["TLS"].port) as relay,
        ProxyManager(f"https://127.0.0.1:{relay.port}", ca_certs=ca_file) as manager,
    ):
        for url in ("http://target.example/", "https://target.example/"):
            with bound_by(kind, relay.reached) as bound, ends(bound.error):
                manager.request("GET", url, retries=False, **bound.keywords)
        relay.wait_until(lambda: relay.open == 0)
    counts[f"proxy, {kind}"] += 2


@pytest.mark.parametrize("kind", BOUNDS)
@pytest.mark.parametrize("family", ["name", "several names"])
def test_a_lookup_that_stalls(
    monkeypatch: pytest.MonkeyPatch, counts: Counter[str], family: str, kind: str
) -> None:
    looking, free = threading.Event(), threading.Event()

    def stalled(*args: Any) -> list[Any]:
        looking.set()
        free.wait(20)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr("urllib4.util.connection.socket.getaddrinfo", stalled)
    retries: Any = False if family == "name" or kind == "total" else Retry(100)
    with PoolManager() as manager:
        with (
            bound_by(kind, looking) as bound,
            ends(bound.error, "connecting|looking up the host name"),
        ):
            manager.request("GET", "http://slow.example/", retries=retries, **bound.keywords)
        free.set()
    counts[f"lookup, {kind}"] += 1


# -- while sending ---------------------------------------------------------------------------------


class SlowReader(ThreadedServer):
    """Reads a byte at a time, so that the window stays full but never quite closes."""

    def __init__(self, *, tls: Any = None) -> None:
        super().__init__(tls=tls)
        self.reached = threading.Event()

    def serve(self, number: int, end: End) -> None:
        _read_head(end)
        self.reached.set()
        pause = threading.Event()
        while end.recv(4096):
            pause.wait(DRIP)


def generated() -> Iterator[bytes]:
    for _ in range(2000):
        yield b"x" * 65536


@pytest.mark.parametrize("kind", BOUNDS)
@pytest.mark.parametrize("make", [lambda: bytes(64 << 20), generated], ids=["bytes", "generator"])
@pytest.mark.parametrize("transport", ["plain", "TLS"])
def test_a_server_that_reads_slowly(
    certs: Certificates, ca_file: str, counts: Counter[str], transport: str, make: Any, kind: str
) -> None:
    """Each write makes some progress; only the whole never ends."""
    tls = certs.server_context() if transport == "TLS" else None
    with SlowReader(tls=tls) as server, pool_for(server, ca_file) as pool:
        phases = "sending the request|waiting for the response"
        with bound_by(kind, server.reached) as bound, ends(bound.error, phases):
            pool.request("PUT", "/", body=make(), retries=False, **bound.keywords)
        assert pool.pool.qsize() == 1
    counts[f"sending, {kind}"] += 1


# -- over many attempts ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["deadline", "cancel"])
@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 1\r\n\r\n",
        b"HTTP/1.1 303 See Other\r\nLocation: /x\r\nContent-Length: 1\r\n\r\n",
        b"HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 1\r\n\r\n",
    ],
)
@pytest.mark.parametrize("client", ["pool", "manager"])
def test_answers_that_never_are_the_last(
    server: Dripping, ca_file: str, counts: Counter[str], client: str, head: bytes, kind: str
) -> None:
    """A million redirects or retries are allowed, the time is not."""
    server.start_case(head, lambda: b"x")
    retries = Retry(10**6)
    with bound_by(kind) as bound, ends(bound.error):
        if client == "pool":
            with pool_for(server, ca_file) as pool:
                pool.request("GET", "/", retries=retries, **bound.keywords)
        else:
            with PoolManager(ca_certs=ca_file) as manager:
                manager.request("GET", server.url, retries=retries, **bound.keywords)
    counts[f"many, {kind}"] += 1


@pytest.mark.parametrize("kind", ["deadline", "cancel"])
@pytest.mark.parametrize("backoff", [0.001, 0.01, 60])
def test_sleeps_between_attempts(counts: Counter[str], backoff: float, kind: str) -> None:
    """Nobody listens there: every attempt fails at once, and what takes the time are the sleeps."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        retries = Retry(10**6, backoff_factor=backoff)
        with (
            HTTPConnectionPool(*unused.getsockname()) as pool,
            bound_by(kind) as bound,
            ends(bound.error),
        ):
            pool.request("GET", "/", retries=retries, **bound.keywords)
    counts[f"sleeps, {kind}"] += 1


@pytest.mark.parametrize("kind", ["deadline", "cancel"])
def test_a_pool_whose_connections_are_all_in_use(
    server: Dripping, ca_file: str, counts: Counter[str], kind: str
) -> None:
    server.start_case(LENGTH + b"\r\n", lambda: itertools.repeat(1, 2))
    with pool_for(server, ca_file) as pool:
        holding = pool.request("GET", "/", preload_content=False)
        with bound_by(kind) as bound, ends(bound.error, "waiting for a connection"):
            pool.request("GET", "/", **bound.keywords)
        holding.close()
        assert pool.pool.qsize() == 1
    counts[f"pool, {kind}"] += 1


def test_the_relay_is_transparent(servers: dict[str, Dripping], ca_file: str) -> None:
    """Or the tests of handshakes that drip would prove nothing."""
    servers["TLS"].start_case(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", lambda: ())
    with (
        Leaking(servers["TLS"].port, after=1 << 20) as relay,
        pool_for(relay, ca_file, tls=True) as pool,
    ):
        assert pool.request("GET", "/", timeout=20).data == b"ok"
