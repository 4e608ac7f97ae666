"""Limits on the size of an answer, in every way of reading, and bombs that stay small in memory."""

from __future__ import annotations

import functools
import gzip
import itertools
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dummyserver.script import ScriptedServer
from urllib4 import HTTPConnectionPool, HTTPResponse, PoolManager
from urllib4.exceptions import HTTPError, MaxRetryError, ResponseTooLargeError


def _by_readinto(response: HTTPResponse) -> bytes:
    pieces, buffer = [], bytearray(1000)
    while count := response.readinto(buffer):
        pieces.append(bytes(buffer[:count]))
    return b"".join(pieces)


def _preloaded(response: HTTPResponse) -> bytes:
    return response.data


WAYS: dict[str, Callable[[Any], bytes]] = {
    "preload": _preloaded,
    "read": lambda r: r.read(),
    "read(n)": lambda r: b"".join(iter(lambda: r.read(1000), b"")),
    "read1": lambda r: b"".join(iter(lambda: r.read1(1000), b"")),
    "readinto": _by_readinto,
    "stream": lambda r: b"".join(r.stream(1000)),
    "lines": b"".join,
    "readline": lambda r: b"".join(iter(r.readline, b"")),
}


def with_length(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def chunked(body: bytes) -> bytes:
    pieces = [body[at : at + 700] for at in range(0, len(body), 700)]
    lines = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return b"Transfer-Encoding: chunked\r\n\r\n" + lines + b"0\r\n\r\n"


def until_close(body: bytes) -> bytes:
    return b"Connection: close\r\n\r\n" + body


FRAMINGS = {"length": with_length, "chunked": chunked, "until close": until_close}
TEXT = b"".join(b"line %d\n" % number for number in range(2000))  # 18,890 bytes
PACKED = gzip.compress(bytes(200_000))  # about 220 bytes

# (name, body, Content-Encoding, limit, kind of the error)
TOO_LARGE = [
    ("sent", TEXT, None, {"max_response_size": len(TEXT) - 1}, "response"),
    ("sent 0", TEXT, None, {"max_response_size": 0}, "response"),
    ("handed out", TEXT, None, {"max_decoded_size": len(TEXT) - 1}, "decoded"),
    ("decoded", PACKED, b"gzip", {"max_decoded_size": 199_999}, "decoded"),
    ("decoded 0", PACKED, b"gzip", {"max_decoded_size": 0}, "decoded"),
    ("expanded", PACKED, b"gzip", {"max_expansion": 100}, "expansion"),
    ("sent, packed", PACKED, b"gzip", {"max_response_size": 100}, "response"),
    ("first limit", PACKED, b"gzip", {"max_expansion": 2.5, "max_decoded_size": 10}, "decoded"),
]
JUST_FITTING = [
    ("sent", TEXT, None, {"max_response_size": len(TEXT)}),
    ("handed out", TEXT, None, {"max_decoded_size": len(TEXT)}),
    ("decoded", PACKED, b"gzip", {"max_decoded_size": 200_000}),
    ("expanded", PACKED, b"gzip", {"max_expansion": 2000}),
    ("no limit", PACKED, b"gzip", {"max_expansion": None, "max_response_size": None}),
    ("small ones may expand", gzip.compress(bytes(60_000)), b"gzip", {"max_expansion": 1}),
]
REFUSED = list(itertools.product(TOO_LARGE, FRAMINGS, WAYS))
TAKEN = list(itertools.product(JUST_FITTING, FRAMINGS, WAYS))


def name(case: tuple[Any, ...]) -> str:
    return f"{case[0][0]}, {case[1]}, {case[2]}"


def answer(body: bytes, coding: bytes | None, framing: str) -> bytes:
    extra = b"" if coding is None else b"Content-Encoding: %b\r\n" % coding
    return b"HTTP/1.1 200 OK\r\n" + extra + FRAMINGS[framing](body)


@pytest.mark.parametrize("case", REFUSED, ids=name)
def test_what_exceeds_a_limit_is_an_error_and_the_pool_goes_on(
    script: ScriptedServer, case: tuple[Any, ...]
) -> None:
    (_, body, coding, limits, kind), framing, way = case
    script.accept().expect(b"GET /large ").send(answer(body, coding, framing)).close()
    script.accept().expect(b"GET /next ").send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    with HTTPConnectionPool(script.host, script.port, block=True) as pool:
        with pytest.raises(ResponseTooLargeError) as caught:
            WAYS[way](pool.request("GET", "/large", preload_content=way == "preload", **limits))
        assert caught.value.kind == kind
        assert pool.request("GET", "/next", pool_timeout=1).data == b"ok"


@pytest.mark.parametrize("case", TAKEN, ids=name)
def test_what_just_fits_is_handed_out_whole(script: ScriptedServer, case: tuple[Any, ...]) -> None:
    (_, body, coding, limits), framing, way = case
    script.accept().expect(b"GET / ").send(answer(body, coding, framing)).close()
    with HTTPConnectionPool(script.host, script.port) as pool:
        response = pool.request("GET", "/", preload_content=way == "preload", **limits)
        assert WAYS[way](response) == (zlib.decompress(body, 31) if coding else body)


def test_the_cases_are_counted() -> None:
    print(f"{len(REFUSED)} refused, {len(TAKEN)} taken")
    assert len(REFUSED) + len(TAKEN) >= 300


def test_a_declared_length_is_refused_before_the_body_is_read(script: ScriptedServer) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n"
    script.accept().expect(b"GET / ").send(head).expect_eof()
    with (
        HTTPConnectionPool(script.host, script.port, max_response_size=10**9) as pool,
        pytest.raises(ResponseTooLargeError),
    ):
        pool.request("GET", "/", preload_content=False)


def test_a_request_has_the_last_word_and_the_rest_is_the_pools(script: ScriptedServer) -> None:
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n" + bytes(20)
    conversation = script.accept()
    for _ in range(2):
        conversation.expect(b"GET / ").send(whole)
    with HTTPConnectionPool(script.host, script.port, max_response_size=10) as pool:
        assert len(pool.request("GET", "/", max_response_size=20).data) == 20
        with pytest.raises(ResponseTooLargeError):
            pool.request("GET", "/", max_decoded_size=100)


def test_a_manager_hands_its_limits_to_its_pools(script: ScriptedServer) -> None:
    script.accept().expect(b"GET / ").send(answer(PACKED, b"gzip", "length"))
    with (
        PoolManager(max_decoded_size=1000) as manager,
        pytest.raises(ResponseTooLargeError),
    ):
        manager.request("GET", script.url + "/")


def test_pools_with_other_limits_are_other_pools() -> None:
    with PoolManager(max_response_size=1) as manager:
        one = manager.connection_from_url("http://example.com")
        manager.connection_pool_kw["max_response_size"] = 2
        assert manager.connection_from_url("http://example.com") is not one


def test_it_is_never_retried(script: ScriptedServer) -> None:
    script.accept().expect(b"GET / ").send(answer(TEXT, None, "chunked")).close()
    with HTTPConnectionPool(script.host, script.port, retries=5) as pool:
        with pytest.raises(ResponseTooLargeError):
            pool.request("GET", "/", max_response_size=10)
        assert pool.num_requests == 1


@pytest.mark.parametrize("keyword", ["max_response_size", "max_decoded_size", "max_expansion"])
@pytest.mark.parametrize("value", [-1, True, "10", 0.5, float("nan")], ids=repr)
def test_a_limit_that_is_none_is_refused(keyword: str, value: Any) -> None:
    with pytest.raises(ValueError, match=keyword):
        HTTPConnectionPool("example.com", **{keyword: value})
    with HTTPConnectionPool("example.com") as pool, pytest.raises(ValueError, match=keyword):
        pool.request("GET", "/", **{keyword: value})


@functools.cache
def gzip_bomb() -> bytes:
    """Return a gibibyte of zeros, packed a thousand times smaller."""
    piece = bytes(1 << 20)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    # It ends at a byte and refers to nothing before, so it can be repeated: that is quicker.
    packed = packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH)
    check = 0
    for _ in range(1 << 10):
        check = zlib.crc32(piece, check)
    head = b"\x1f\x8b\x08" + bytes(7)
    return head + packed * (1 << 10) + packer.flush() + struct.pack("<LL", check, 1 << 30)


@pytest.mark.parametrize("coding", [b"gzip", b"gzip, gzip, gzip, gzip"])
@pytest.mark.parametrize("way", ["read(n)", "read1", "readinto", "stream"])
def test_a_bomb_that_is_streamed_needs_a_few_mebibytes(
    script: ScriptedServer, way: str, coding: bytes
) -> None:
    """A gibibyte of zeros; 64 MiB of it are read, more would only take longer."""
    body = gzip_bomb()
    for _ in range(coding.count(b",")):
        body = gzip.compress(body)
    script.accept().expect(b"GET / ").send(answer(body, coding, "length"))
    step = 1 << 16
    with HTTPConnectionPool(script.host, script.port) as pool:
        response = pool.request("GET", "/", preload_content=False)
        pieces = _endless(response, way, step)
        tracemalloc.start()
        try:
            received = sum(len(piece) for piece in itertools.islice(pieces, 1024))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        response.close()
    assert received >= 1 << 22
    assert peak < 6 << 20


def _endless(response: Any, way: str, step: int) -> Iterator[bytes]:
    if way == "stream":
        return iter(response.stream(step))
    if way == "readinto":
        buffer = bytearray(step)
        return iter(lambda: bytes(buffer[: response.readinto(buffer)]), b"")
    read = response.read if way == "read(n)" else response.read1
    return iter(lambda: read(step), b"")


@pytest.mark.parametrize("status", [302, 503])
def test_a_bomb_on_the_way_is_not_decoded(script: ScriptedServer, status: int) -> None:
    head = (
        b"HTTP/1.1 %d X\r\nLocation: /next\r\nRetry-After: 0\r\nContent-Encoding: gzip\r\n" % status
    )
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    script.accept().expect(b"GET / ").send(head + with_length(gzip_bomb()))
    script.accept().expect(b"GET /").send(ok)
    with HTTPConnectionPool(script.host, script.port) as pool:
        tracemalloc.start()
        try:
            assert pool.request("GET", "/").data == b"ok"
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 6 << 20


def test_a_last_redirect_that_is_a_bomb_ends_in_the_limit(script: ScriptedServer) -> None:
    """Handed out since no redirect is left, so it is read: within the limits."""
    head = b"HTTP/1.1 302 X\r\nLocation: /next\r\nContent-Encoding: gzip\r\n"
    script.accept().expect(b"GET / ").send(head + with_length(PACKED))
    with HTTPConnectionPool(script.host, script.port) as pool, pytest.raises(HTTPError) as caught:
        pool.request("GET", "/", redirect=False, max_decoded_size=10)
    assert not isinstance(caught.value, MaxRetryError)


ENDLESS: dict[str, Callable[[Any], object]] = {
    "stream(None)": lambda r: list(r.stream(None)),
    "readline": lambda r: r.readline(),
    "lines": list,
}


@pytest.mark.parametrize("way", ENDLESS)
def test_one_endless_chunk_or_line_is_not_taken_into_memory(
    script: ScriptedServer, way: str
) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7fffffff\r\n"
    script.accept().expect(b"GET / ").send(head).flood(bytes(1 << 16), limit=1 << 26)
    with HTTPConnectionPool(script.host, script.port) as pool:
        response = pool.request("GET", "/", preload_content=False, max_response_size=1 << 20)
        tracemalloc.start()
        try:
            with pytest.raises(ResponseTooLargeError):
                ENDLESS[way](response)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 6 << 20


# -- more than there is memory for -----------------------------------------------------------------

PROGRAM = """
import resource, sys
from urllib4 import HTTPConnectionPool
from urllib4.exceptions import HTTPError
with open("/proc/self/statm") as sizes:
    now = int(sizes.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + 2**25, now + 2**25))
port = int(sys.argv[1])
with HTTPConnectionPool("127.0.0.1", port, maxsize=1, block=True, retries=False) as pool:
    for preload, way in (
        (True, lambda r: r.data),
        (False, lambda r: r.read()),
        (False, lambda r: r.read(2**40)),
        (False, lambda r: r.readline()),
    ):
        try:
            way(pool.urlopen("GET", "/endless", preload_content=preload))
        except HTTPError as error:
            print(type(error).__name__)
        print(pool.urlopen("GET", "/next", pool_timeout=5).data.decode())
"""


@pytest.mark.parametrize(
    ("start", "more", "error"),
    [
        (
            b"Transfer-Encoding: chunked\r\n\r\n",
            b"10000\r\n" + bytes(65536) + b"\r\n",
            "ProtocolError",
        ),
        (b"Connection: close\r\n\r\n", bytes(65536), "ProtocolError"),
        (with_length(bytes(2**27))[: -(2**27)], bytes(65536), "ProtocolError"),
        (
            b"Connection: close\r\nContent-Encoding: gzip\r\n"
            + with_length(gzip.compress(bytes(2**26), 9)),
            b"",
            "DecodeError",
        ),
    ],
    ids=["chunked", "until close", "length", "gzip"],
)
def test_a_body_that_memory_cannot_hold_is_an_error_of_ours(
    script: ScriptedServer, start: bytes, more: bytes, error: str
) -> None:
    """A server must not choose the end of a program that catches HTTPError."""
    for _ in range(4):
        endless = script.accept().expect(b"GET /endless ").send(b"HTTP/1.1 200 OK\r\n" + start)
        if more:
            endless.flood(more, limit=2**30)
        script.accept().expect(b"GET /next ").send(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nnext"
        )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, str(script.port)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.stderr, done.stdout.split()) == ("", [error, "next"] * 4)
