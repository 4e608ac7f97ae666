"""Responses are built and read as in urllib3 2.8.0, or the difference is listed here.

Each case is a way to make a response and a list of things to do with it, done with both packages;
what each step gives or raises is compared.  Where the body comes over the wire, a raw server
plays the same answer twice.
"""

from __future__ import annotations

import gzip
import http.client
import io
import itertools
import re
import zlib
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import pytest

pytest.importorskip("urllib3")

import urllib3
import urllib3.response

import urllib4
import urllib4.response
from dummyserver.script import ScriptedServer
from tests.families import every

Response = Any
Step = Callable[[Response], Any]

TEXT = b"hello\nworld"
LONG = b"".join(b"line %d\n" % number for number in range(400)) + b"end"
GZIP = gzip.compress(LONG)


class Difference(NamedTuple):
    """A difference that is meant: where it shows, and what each gives there (patterns of reprs)."""

    reason: str
    cases: str
    steps: str
    theirs: str
    ours: str

    def covers(self, case: str, step: str, theirs: Any, ours: Any) -> bool:
        return (
            re.fullmatch(self.cases, case) is not None
            and re.fullmatch(self.steps, step) is not None
            and re.match(self.theirs, repr(theirs)) is not None
            and re.match(self.ours, repr(ours)) is not None
        )


IN_MEMORY_ONLY = (
    r"(preloaded file|bytes|empty bytes|str|nothing|default|json.*|no json|redirect.*|headers)"
)
BROKEN = r"['\"]ProtocolError: (\('|\(\")?(Connection broken|Response ended)"
NO_LENGTH = r"length '(\+5|1_0)'"

DELIBERATE_DIFFERENCES = [
    Difference(
        "without a file there is nothing to read, which is b'' as everywhere",
        IN_MEMORY_ONLY, ".*",
        "None|.ValueError: Unable to determine|.TypeError: (object of type 'None|sequence item 0)",
        r"b''|\[\]|\(0, |True",
    ),
    Difference("an empty body is bytes", "empty bytes", "data", "None", "b''"),
    Difference(
        "no member of a list of codings is guessed (the peer takes identity for deflate)",
        "identity and gzip", ".*", ".*DecodeError|False|56", ".*",
    ),
    Difference(
        "a truncated or malformed body is an error, and so is what is read after that",
        "(truncated gzip|no gzip)", ".*", r"b'|\[|\(0, |False",
        ".DecodeError: .*failed to decode|True",
    ),
    Difference(
        "a body shorter than its length is an error by every way of reading",
        r"(too short|length ('0?5'|'5, 5'|' 7 '))", ".*", r"b'|\[\]",
        ".ProtocolError: Connection broken: IncompleteRead",
    ),
    Difference(
        "a length is digits only", NO_LENGTH, "(length_remaining|chunked)", "5|10", "None",
    ),
    Difference(
        "a length is digits only", NO_LENGTH, ".*", ".ProtocolError: Connection broken",
        r"b''|\[\]|\(0, ",
    ),
    Difference(
        "an object with nothing but read() is enough of a body",
        "only read", ".*", ".(AttributeError: 'Only'|ValueError: Unable)|0|b'hel'",
        r"b'|\[b'|\[\]|\(\d, |11",
    ),
    Difference(
        "after an error, what was left in buffers does not pass for content",
        "(too long|HEAD with a body|(std|wire), cut length)", "read.*", "b'.+'",
        r".ProtocolError|b''",
    ),
    Difference(
        "what has no body is used up from the start: its connection is free at once",
        "wire, (204|304|no content)", "closed", "False", "True",
    ),
    Difference("JSON may start with a mark", "json with a mark", "json", ".JSONDecodeError", "{"),
    Difference(
        "the same error, with another text",
        "(wire|std|preloaded), (cut chunk|cut between chunks|bad chunk)", ".*", BROKEN, BROKEN,
    ),
    Difference(
        "stream() decodes chunked bodies, too",
        "(std|wire), gzip, chunked", "stream( 100| None)?", r"\[b'\\x1f", r"\[b'line 0",
    ),
    Difference(
        "pieces of decoded content end elsewhere",
        "(std|wire), gzip, chunked", ".*decoded", r"\[b'line 0", r"\[b'line 0",
    ),
    Difference(
        "the version is the server's, not the connection's",
        "(wire|preloaded), HTTP/1.0", "version", ".*HTTP/1.1", ".*HTTP/1.0",
    ),
]  # fmt: skip

_used: set[Difference] = set()


# -- things to do, with names ------------------------------------------------------------------


def _all(pieces: Any) -> list[Any]:
    """Return all pieces, unless there is no end to them."""
    taken = list(itertools.islice(pieces, 1000))
    return taken if len(taken) < 1000 else [*taken[:2], "... without end"]


def _readinto(size: int) -> Step:
    def readinto(response: Response) -> Any:
        target = bytearray(size)
        return response.readinto(target), bytes(target)

    return readinto


def _until_empty(read: Step) -> Step:
    return lambda response: b"".join(_all(iter(lambda: read(response), b"")))


def _late(response: Response) -> None:
    response.decode_content = True


STEPS: dict[str, Step] = {
    "read": lambda r: r.read(),
    "read 0": lambda r: r.read(0),
    "read 3": lambda r: r.read(3),
    "read 50": lambda r: r.read(50),
    "read 9999": lambda r: r.read(9999),
    "read -1": lambda r: r.read(-1),
    "read raw": lambda r: r.read(decode_content=False),
    "read 3 raw": lambda r: r.read(3, decode_content=False),
    "read decoded": lambda r: r.read(decode_content=True),
    "read and keep": lambda r: r.read(cache_content=True),
    "read by 7": _until_empty(lambda r: r.read(7)),
    "read1": lambda r: r.read1(),
    "read1 0": lambda r: r.read1(0),
    "read1 raw": lambda r: r.read1(decode_content=False),
    "read1 by 7": _until_empty(lambda r: r.read1(7)),
    "read1 all": _until_empty(lambda r: r.read1()),
    "readinto 4": _readinto(4),
    "readinto 50": _readinto(50),
    "readline": lambda r: r.readline(),
    "readline 3": lambda r: r.readline(3),
    "readlines": lambda r: r.readlines(),
    "lines": lambda r: _all(iter(r)),
    "stream": lambda r: _all(r.stream()),
    "stream 4": lambda r: _all(r.stream(4)),
    "stream 100": lambda r: _all(r.stream(100)),
    "stream 0": lambda r: _all(r.stream(0)),
    "stream None": lambda r: _all(r.stream(None)),
    "stream -1": lambda r: _all(r.stream(-1)),
    "stream decoded": lambda r: _all(r.stream(decode_content=True)),
    "stream 100 decoded": lambda r: _all(r.stream(100, decode_content=True)),
    "stream raw": lambda r: _all(r.stream(decode_content=False)),
    "read_chunked": lambda r: _all(r.read_chunked()),
    "read_chunked 4": lambda r: _all(r.read_chunked(4)),
    "read_chunked decoded": lambda r: _all(r.read_chunked(decode_content=True)),
    "data": lambda r: r.data,
    "json": lambda r: r.json(),
    "closed": lambda r: r.closed,
    "isclosed": lambda r: r.isclosed(),
    "tell": lambda r: r.tell(),
    "length_remaining": lambda r: r.length_remaining,
    "chunked": lambda r: r.chunked,
    "close": lambda r: r.close(),
    "drain": lambda r: r.drain_conn(),
    "release": lambda r: r.release_conn(),
    "flush": lambda r: r.flush(),
    "fileno": lambda r: r.fileno(),
    "shutdown": lambda r: r.shutdown(),
    "connection": lambda r: r.connection,
    "readable": lambda r: (r.readable(), r.writable(), r.seekable()),
    "supports_chunked_reads": lambda r: r.supports_chunked_reads(),
    "decode from now on": _late,
    "buffered": lambda r: _all(io.BufferedReader(r, 16)),
    "text": lambda r: _all(io.TextIOWrapper(r, "latin-1")),
    "with": lambda r: (r.__enter__() is r, r.__exit__(None, None, None)),
    "headers": lambda r: (
        type(r.headers).__name__, dict(r.getheaders()), dict(r.info()), r.getheader("A"),
        r.getheader("none"), r.getheader("none", "x"), r.getheader("set-cookie"),
    ),
    "head": lambda r: (
        r.status, r.reason, r.version, r.msg, repr(r.retries), r.decode_content,
        r.enforce_content_length, r.auto_close, r.length_remaining, r.chunked,
    ),
    "version": lambda r: r.version_string,
    "urls": lambda r: (r.url, r.geturl(), r.get_redirect_location()),
    "class": lambda r: (r.REDIRECT_STATUSES, list(r.CONTENT_DECODERS)),
}  # fmt: skip


def outcome(package: ModuleType, step: Step, response: Response) -> Any:
    """Return what a step gives, or the names and the text of its error."""
    try:
        return step(response)
    except Exception as error:
        inner = error.args[1] if len(error.args) > 1 else None
        known = isinstance(error, package.exceptions.HTTPError)
        text = str(error.args[0]) if inner is not None and known else str(error)
        return f"{type(error).__name__}: {text}"


def play(package: ModuleType, make: Callable[[ModuleType], Response], steps: str) -> list[Any]:
    try:
        response = make(package)
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]
    return [outcome(package, STEPS[name], response) for name in steps.split(", ")]


def compare(case: str, make: Callable[[ModuleType], Response], steps: str) -> None:
    theirs = play(urllib3, make, steps)
    ours = play(urllib4, make, steps)
    names = steps.split(", ")
    assert len(theirs) == len(ours)
    for name, their, our in zip(names, theirs, ours):  # noqa: B905 - only one if making it fails
        if our == their:
            continue
        rules = [rule for rule in DELIBERATE_DIFFERENCES if rule.covers(case, name, their, our)]
        assert rules, f"{name} gives {our!r}, not {their!r}"
        _used.update(rules)
        if "pieces" in rules[0].reason:
            assert b"".join(our) == b"".join(their)


# -- bodies in memory --------------------------------------------------------------------------


class Only:
    """A body object without anything but ``read``."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, amt: int | None = None) -> bytes:
        return self._file.read(amt)


class Dripping(io.RawIOBase):
    """A file that gives one byte at a time."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._data.readinto(memoryview(buffer)[:1])


def response(body: Any, **options: Any) -> Callable[[ModuleType], Response]:
    """Return what builds the response; `body` is a function where each needs one of its own."""
    options.setdefault("preload_content", False)
    return lambda package: package.response.HTTPResponse(
        body() if callable(body) else body, **options
    )


def file(data: bytes = TEXT, **options: Any) -> Callable[[ModuleType], Response]:
    return response(lambda: io.BytesIO(data), **options)


def encoded(data: bytes, coding: str, **options: Any) -> Callable[[ModuleType], Response]:
    return file(data, headers={"Content-Encoding": coding}, **options)


MAKERS: dict[str, Callable[[ModuleType], Response]] = {
    "file": file(),
    "preloaded file": file(preload_content=True),
    "empty file": file(b""),
    "bytes": response(TEXT),
    "empty bytes": response(b""),
    "str": response("text"),
    "nothing": response(None),
    "default": response(""),
    "only read": response(lambda: Only(TEXT)),
    "dripping": response(lambda: Dripping(TEXT)),
    "dripping with length": response(
        lambda: Dripping(TEXT), headers={"Content-Length": str(len(TEXT))}
    ),
    "length": file(headers={"Content-Length": str(len(TEXT))}),
    "too short": file(headers={"Content-Length": "50"}),
    "too short, accepted": file(headers={"Content-Length": "50"}, enforce_content_length=False),
    "too long": file(headers={"Content-Length": "5"}),
    "HEAD": file(b"", headers={"Content-Length": "5"}, request_method="HEAD"),
    "HEAD with a body": file(headers={"Content-Length": "5"}, request_method="HEAD"),
    "204": file(b"", status=204, headers={"Content-Length": "5"}),
    "304": file(b"", status=304, headers={"Content-Length": "5"}),
    "chunked file": file(b"3\r\nabc\r\n0\r\n\r\n", headers={"Transfer-Encoding": "chunked"}),
    "gzip": encoded(GZIP, "gzip"),
    "x-gzip": encoded(GZIP, "X-GZip"),
    "deflate": encoded(zlib.compress(LONG), "deflate"),
    "two codings": encoded(zlib.compress(GZIP), "gzip, deflate"),
    "unknown coding": encoded(LONG, "foo"),
    "identity": encoded(LONG, "identity"),
    "identity and gzip": encoded(GZIP, "identity, gzip"),
    "too many codings": encoded(GZIP, "gzip, gzip, gzip, gzip, gzip, gzip"),
    "truncated gzip": encoded(GZIP[:-9], "gzip"),
    "no gzip": encoded(b"this is not what it says", "gzip"),
    "empty gzip": encoded(b"", "gzip"),
    "raw gzip": encoded(GZIP, "gzip", decode_content=False),
    "json": response(b'{"a": [1, null]}'),
    "json with a mark": response(b'\xef\xbb\xbf{"a": 1}'),
    "no json": response(b"<html>"),
    "left open": file(auto_close=False),
    "gzip left open": encoded(GZIP, "gzip", auto_close=False),
    "redirect": response(b"", status=302, headers={"Location": "/next"}, request_url="/here"),
    "redirect to nowhere": response(b"", status=307, request_url="/here"),
    "headers": response(b"", headers={"A": "b", "Set-Cookie": "c=d"}, status=200, reason="OK",
                        version=11, version_string="HTTP/1.1", msg="msg"),
    **{
        f"length {value!r}": file(b"", headers={"Content-Length": value})
        for value in ("5", "5, 5", "5,6", "-1", "+5", "1_0", "x", "", "5;x", " 7 ", "0", "05")
    },
    "length beside chunked": file(
        b"", headers={"Content-Length": "5", "Transfer-Encoding": "gzip, Chunked"}
    ),
}  # fmt: skip

READING = [
    "read, tell, read, read 3, closed",
    "read 0, read1 0, stream 0, closed",
    "read 3, read 3, read -1, tell, length_remaining",
    "read 9999, read 3, closed",
    "read by 7, closed, tell",
    "stream, closed, tell, stream",
    "stream 4, closed",
    # not "stream None": over a file that does not close itself, urllib3's never ends
    "readinto 4, readinto 50, readinto 50",
    "data, tell, data",
    "read and keep, data",
    "lines, closed",
]
LOOKING = [
    "head, version, class, readable, supports_chunked_reads, connection",
    "closed, flush, closed, close, closed, close",
    "with, closed, read",
    "drain, read, closed, tell",
    "release, read",
    "close, read, data",
    "shutdown",
    "fileno",
    "read_chunked",
    "headers, urls",
]
CASES = [
    *((name, steps) for name in MAKERS for steps in READING),
    *(
        (name, steps)
        for name in ("file", "bytes", "gzip", "nothing", "headers")
        for steps in LOOKING
    ),
    *((name, "urls, headers") for name in ("redirect", "redirect to nowhere", "headers")),
    *((name, "length_remaining, chunked") for name in MAKERS),
    *((name, "json") for name in ("json", "json with a mark", "no json")),
    *(
        (name, steps)
        for name in ("file", "length", "gzip", "two codings", "identity")
        for steps in (
            "readline, readline 3, readlines, closed", "readline, read 3, lines",
            "read 3, readline, stream 100", "read1 all, closed", "read1 by 7, closed",
        )
    ),
    *(
        (name, steps)
        for name in ("gzip", "x-gzip", "deflate", "two codings", "raw gzip")
        for steps in (
            "read raw", "read 3 raw, read raw", "stream raw", "stream decoded",
            "stream 100 decoded", "decode from now on, read 3, read, tell", "read decoded",
            "read 3, read raw", "read 3, read 3 raw", "read 3, read1 raw", "read 3, stream raw",
        )
    ),
    *(
        (name, steps)
        for name in ("left open", "gzip left open")
        for steps in ("buffered, closed", "text, closed")
    ),
    ("file", "text"),
    ("too short", "readline, readline, readline"),
    ("length", "close, read 3"),
    ("length", "close, stream"),
]  # fmt: skip


@every(case=CASES)
def test_a_body_in_memory_is_read_alike(case: tuple[str, str]) -> None:
    name, steps = case
    compare(name, MAKERS[name], steps)


# -- http.client's own response ----------------------------------------------------------------


class FakeSocket:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *args: Any) -> Any:
        return io.BufferedReader(io.BytesIO(self._data))  # type: ignore[arg-type]


def chunked(data: bytes, size: int = 1000) -> bytes:
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


PLAIN = b"HTTP/1.1 200 OK\r\nA: b\r\nSet-Cookie: c=d\r\nSet-Cookie: e=f\r\n"
WIRE: dict[str, bytes] = {
    "length": PLAIN + b"Content-Length: %d\r\n\r\n%b" % (len(LONG), LONG),
    "no content": PLAIN + b"Content-Length: 0\r\n\r\n",
    "chunked": PLAIN + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(LONG),
    "one chunk": PLAIN + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(TEXT),
    "no chunk": PLAIN + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b""),
    "until close": PLAIN + b"Connection: close\r\n\r\n" + LONG,
    "HTTP/1.0": PLAIN.replace(b"/1.1", b"/1.0") + b"\r\n" + LONG,
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "304": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    "gzip": PLAIN + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(GZIP), GZIP),
    "gzip, chunked": PLAIN
    + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
    + chunked(GZIP, 100),
    "cut length": PLAIN + b"Content-Length: 50\r\n\r\n" + TEXT,
    "cut chunk": PLAIN + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n9\r\ndefg",
    "cut between chunks": PLAIN + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    "bad chunk": PLAIN + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nxyz\r\nabc\r\n0\r\n\r\n",
}


def over_http_client(wire: bytes, method: str) -> Callable[[ModuleType], Response]:
    def make(package: ModuleType) -> Response:
        message = http.client.HTTPResponse(FakeSocket(wire), method=method)  # type: ignore[arg-type]
        message.begin()
        return package.response.HTTPResponse(
            message, headers=dict(message.getheaders()), status=message.status,
            version=message.version, reason=message.reason, preload_content=False,
            original_response=message, request_method=method,
        )  # fmt: skip

    return make


ON_THE_WIRE = [
    "chunked, length_remaining, closed, supports_chunked_reads",
    "read, closed, length_remaining, read, read 3",
    "data, data, closed",
    "read 3, read 50, read, closed",
    "read by 7, closed",
    "read1 by 7, closed",
    "readinto 4, readinto 50",
    "stream, closed, stream, read",
    "stream 100, closed",
    "stream None",
    "stream decoded",
    "stream 100 decoded",
    "stream raw",
    "read raw",
    "lines, closed",
    "readline, readline 3",
    "readlines",
    "read_chunked, closed",
    "read_chunked 4",
    "read_chunked decoded",
    "drain, closed, read",
    "close, closed, read",
]


@pytest.mark.parametrize("name", WIRE)
@every(steps=ON_THE_WIRE)
def test_a_response_of_the_standard_library_is_read_alike(name: str, steps: str) -> None:
    compare(f"std, {name}", over_http_client(WIRE[name], "GET"), steps)


@pytest.mark.parametrize("name", ["length", "chunked", "gzip"])
@every(steps=ON_THE_WIRE)
def test_a_response_of_the_standard_library_to_head_is_read_alike(name: str, steps: str) -> None:
    wire = WIRE[name].partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    compare(f"std, HEAD {name}", over_http_client(wire, "HEAD"), steps)


# -- over the wire -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", WIRE)
@every(steps=["head, version, headers, urls, class", *ON_THE_WIRE, "tell, read, tell"])
def test_a_response_over_the_wire_is_read_alike(
    script: ScriptedServer, name: str, steps: str
) -> None:
    pools = []
    for _ in (urllib3, urllib4):
        script.accept().expect(b"GET / ").send(WIRE[name]).close()

    def make(package: ModuleType) -> Response:
        pool = package.HTTPConnectionPool(script.host, script.port, retries=False)
        pools.append(pool)
        return pool.request("GET", "/", preload_content=False)

    try:
        compare(f"wire, {name}", make, steps)
    finally:
        for pool in pools:
            pool.close()


@pytest.mark.parametrize("name", WIRE)
@every(steps=["head, version, data, read, closed, tell", "lines", "stream", "json"])
def test_a_preloaded_response_is_alike(script: ScriptedServer, name: str, steps: str) -> None:
    pools = []
    for _ in (urllib3, urllib4):
        script.accept().expect(b"GET / ").send(WIRE[name]).close()

    def make(package: ModuleType) -> Response:
        pool = package.HTTPConnectionPool(script.host, script.port, retries=False)
        pools.append(pool)
        return pool.request("GET", "/")

    try:
        compare(f"preloaded, {name}", make, steps)
    finally:
        for pool in pools:
            pool.close()


@pytest.mark.parametrize("rule", DELIBERATE_DIFFERENCES)
def test_each_listed_difference_is_there(rule: Difference) -> None:
    """What became equal must leave the list.  The cases in memory and one of each kind tell."""
    for name, steps in CASES:
        if rule not in _used and re.fullmatch(rule.cases, name):
            compare(name, MAKERS[name], steps)
    for name, wire in WIRE.items():
        for steps in ON_THE_WIRE:
            if rule not in _used and re.fullmatch(rule.cases, f"std, {name}"):
                compare(f"std, {name}", over_http_client(wire, "GET"), steps)
    if rule not in _used:
        assert rule.cases.startswith(("(wire|preloaded)", "wire")), "the difference is gone"
