"""The exact bytes of a request: order of lines, Host, what is automatic, framing.

What urllib3 sends for the same calls is compared in ``tests/compat/test_compat_wire.py``; here
stands what is promised.
"""

from __future__ import annotations

import array
import io
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dummyserver.script import ScriptedServer
from urllib4 import HTTPConnectionPool, HTTPHeaderDict, PoolManager, __version__
from urllib4.connection import HTTPConnection
from urllib4.exceptions import HTTPError, InvalidHeader, InvalidRequestHeaderError
from urllib4.util import SKIP_HEADER

OK = b"HTTP/1.1 204 No Content\r\n\r\n"
AGENT = f"User-Agent: python-urllib4/{__version__}\r\n".encode()


@pytest.fixture
def pool(script: ScriptedServer) -> Iterator[HTTPConnectionPool]:
    with HTTPConnectionPool(script.host, script.port, timeout=10, retries=False) as one:
        yield one


def host(script: ScriptedServer) -> bytes:
    return f"Host: {script.host}:{script.port}\r\n".encode()


def sent(script: ScriptedServer, send: Callable[..., Any], *args: Any, **kw: Any) -> bytes:
    """Return the one request that a call sends."""
    script.accept().expect(b"").send(OK)
    send(*args, **kw)
    return script.requests[-1]


def test_lines_come_in_a_fixed_order(script: ScriptedServer, pool: HTTPConnectionPool) -> None:
    """Host first (RFC 9110, 7.2), then what is automatic, then the caller's in his order."""
    request = sent(
        script, pool.request, "POST", "/path?q", body=b"12", headers={"X-B": "2", "x-a": "1"}
    )
    assert request == (
        b"POST /path?q HTTP/1.1\r\n" + host(script) + b"Accept-Encoding: identity\r\n"
        b"Content-Length: 2\r\n" + AGENT + b"X-B: 2\r\nx-a: 1\r\n\r\n12"
    )


def test_several_lines_of_one_name_stay_several(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    headers = HTTPHeaderDict([("X", "1"), ("Y", "2"), ("x", "3")])
    assert b"X: 1\r\nX: 3\r\nY: 2\r\n\r\n" in sent(
        script, pool.request, "GET", "/", headers=headers
    )


def test_what_is_given_replaces_what_is_automatic(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    """In any spelling, and as bytes."""
    headers: Any = {b"hOST": "other.example", "user-AGENT": b"me", "accept-encoding": "br"}
    assert sent(script, pool.request, "GET", "/", headers=headers) == (
        b"GET / HTTP/1.1\r\nhOST: other.example\r\nuser-AGENT: me\r\naccept-encoding: br\r\n\r\n"
    )


def test_what_is_skipped_is_not_sent(script: ScriptedServer, pool: HTTPConnectionPool) -> None:
    headers = dict.fromkeys(["host", "User-Agent", "ACCEPT-ENCODING"], SKIP_HEADER)
    assert sent(script, pool.request, "GET", "/", headers=headers) == b"GET / HTTP/1.1\r\n\r\n"


def test_nothing_else_can_be_skipped(pool: HTTPConnectionPool) -> None:
    with pytest.raises(ValueError, match="'Accept-Encoding', 'Host', 'User-Agent'"):
        pool.request("GET", "/", headers={"Cookie": SKIP_HEADER})
    assert pool.num_connections == 0


@pytest.mark.parametrize(
    ("name", "port", "expected"),
    [
        ("example.com", 80, b"example.com"),
        ("example.com", 8080, b"example.com:8080"),
        ("EXAMPLE.com", 80, b"example.com"),
        ("example.com.", 80, b"example.com"),
        ("[::1]", 80, b"[::1]"),
        ("::1", 8080, b"[::1]:8080"),
        ("[FE80::1%25eth0]", 80, b"[fe80::1]"),
        ("bücher.example", 81, b"xn--bcher-kva.example:81"),
        ("127.0.0.1", 80, b"127.0.0.1"),
    ],
)
def test_host_is_the_authority_without_default_port_dot_and_zone(
    script: ScriptedServer, name: str, port: int, expected: bytes
) -> None:
    """RFC 9110, 7.2; a zone means something on this machine only (RFC 6874, 4)."""

    class Rerouted(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return socket.create_connection((script.host, script.port), timeout=10)

    class Pool(HTTPConnectionPool):
        ConnectionCls = Rerouted

    with Pool(name, port) as pool:
        request = sent(script, pool.request, "GET", "/", retries=False)
    assert request.split(b"\r\n")[1] == b"Host: " + expected


def test_the_name_with_its_dot_is_what_is_looked_up(
    script: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trailing dot means "no search list" to the resolver, and nothing to a server."""
    looked_up = []

    def create_connection(address: tuple[str, int], *args: Any, **kw: Any) -> socket.socket:
        looked_up.append(address[0])
        return socket.create_connection((script.host, script.port), timeout=10)

    monkeypatch.setattr("urllib4.util.connection.create_connection", create_connection)
    with PoolManager() as manager:
        request = sent(script, manager.request, "GET", "http://example.com./", retries=False)
    assert looked_up == ["example.com."]
    assert b"\r\nHost: example.com\r\n" in request


def test_a_target_never_holds_fragment_or_credentials(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    """RFC 9110, 4.2.4 and 4.2.5."""
    with pytest.warns(Warning, match="credentials"):
        request = sent(
            script,
            pool.request,
            "GET",
            f"http://user:secret@{script.host}:{script.port}/a?b#c",
        )
    assert request.startswith(f"GET http://{script.host}:{script.port}/a?b HTTP/1.1\r\n".encode())
    assert b"secret" not in request


def test_only_the_path_of_a_url_is_sent_by_a_manager(script: ScriptedServer) -> None:
    with PoolManager() as manager:
        request = sent(script, manager.request, "GET", script.url + "/a/../b c?d e#f")
    assert request.startswith(b"GET /b%20c?d%20e HTTP/1.1\r\n")


# -- bodies -----------------------------------------------------------------------------------


def generator(*pieces: Any) -> Iterator[Any]:
    yield from pieces


class Readable:
    """A file with nothing but read()."""

    def __init__(self, *blocks: bytes) -> None:
        self._blocks = list(blocks)

    def read(self, size: int = -1) -> bytes:
        return self._blocks.pop(0) if self._blocks else b""


@pytest.mark.parametrize(
    ("body", "length", "content"),
    [
        (b"bytes", 5, b"bytes"),
        (b"", 0, b""),
        ("ö☃", 5, "ö☃".encode()),
        (bytearray(b"array"), 5, b"array"),
        (memoryview(b"view"), 4, b"view"),
        (memoryview(b"s-t-e-p")[::2], 4, b"step"),
        (array.array("I", [1, 2]), 8, array.array("I", [1, 2]).tobytes()),
        (memoryview(array.array("H", [1, 2])), 4, array.array("H", [1, 2]).tobytes()),
        (b"x" * 700_000, 700_000, b"x" * 700_000),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_body_in_memory_has_a_length_in_bytes(
    script: ScriptedServer, pool: HTTPConnectionPool, body: Any, length: int, content: bytes
) -> None:
    request = sent(script, pool.request, "PUT", "/", body=body)
    head, _, rest = request.partition(b"\r\n\r\n")
    assert f"\r\nContent-Length: {length}".encode() in head
    assert b"Transfer-Encoding" not in head
    assert rest == content


@pytest.mark.parametrize(
    ("make", "chunks"),
    [
        (lambda: io.BytesIO(b"file"), [b"file"]),
        (lambda: io.BytesIO(b"f" * 20_000), [b"f" * 16384, b"f" * 3616]),
        (lambda: io.StringIO("tëxt☃"), ["tëxt☃".encode()]),
        (lambda: Readable(b"one", b"two"), [b"one", b"two"]),
        (lambda: generator(b"a", b"", "ü", bytearray(b"c")), [b"a", "ü".encode(), b"c"]),
        (lambda: [b"a", b"b"], [b"a", b"b"]),
        (lambda: generator(memoryview(array.array("H", [1, 2]))), [b"\1\0\2\0"]),
        (generator, []),
        (io.BytesIO, []),
    ],
)
def test_a_body_of_unknown_length_is_chunked(
    script: ScriptedServer, pool: HTTPConnectionPool, make: Any, chunks: list[bytes]
) -> None:
    """RFC 9112, 7.1; an empty piece is no chunk, since that would end the body."""
    request = sent(script, pool.request, "PUT", "/", body=make())
    head, _, rest = request.partition(b"\r\n\r\n")
    assert b"\r\nTransfer-Encoding: chunked\r\n" in head
    assert b"Content-Length" not in head
    assert rest == b"".join(b"%x\r\n%b\r\n" % (len(c), c) for c in chunks) + b"0\r\n\r\n"


@pytest.mark.parametrize("body", [None, b"", "text", b"bytes"])
def test_a_body_is_chunked_if_asked_for(
    script: ScriptedServer, pool: HTTPConnectionPool, body: Any
) -> None:
    request = sent(script, pool.request, "PUT", "/", body=body, chunked=True)
    content = body.encode() if isinstance(body, str) else body or b""
    chunk = b"%x\r\n%b\r\n" % (len(content), content) if content else b""
    assert request.endswith(b"\r\n\r\n" + chunk + b"0\r\n\r\n")
    assert b"Content-Length" not in request


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "BREW"])
def test_a_method_that_could_have_a_body_says_that_it_has_none(
    script: ScriptedServer, pool: HTTPConnectionPool, method: str
) -> None:
    """RFC 9110, 8.6."""
    assert b"\r\nContent-Length: 0\r\n" in sent(script, pool.request, method, "/")


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS", "TRACE"])
def test_a_method_without_a_body_says_nothing_about_it(
    script: ScriptedServer, pool: HTTPConnectionPool, method: str
) -> None:
    request = sent(script, pool.request, method, "/")
    assert b"Content-Length" not in request
    assert b"Transfer-Encoding" not in request


def test_head_and_small_body_travel_together(
    script: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One write is one packet; two would wait for each other with Nagle's algorithm on."""
    writes = []

    class Counting(HTTPConnection):
        def _new_conn(self) -> Any:
            sock = super()._new_conn()

            class Socket:
                def __getattr__(self, name: str) -> Any:
                    return getattr(sock, name)

                def sendall(self, data: bytes) -> None:
                    writes.append(len(data))
                    sock.sendall(data)

            return Socket()

    class Pool(HTTPConnectionPool):
        ConnectionCls = Counting

    with Pool(script.host, script.port) as pool:
        request = sent(script, pool.request, "POST", "/", body=b"x" * 1000)
    assert writes == [len(request)]


# -- what would confuse a server is not sent --------------------------------------------------


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"headers": {"X": "a\r\nY: b"}}, "X"),
        ({"headers": {"X": "a\nb"}}, "X"),
        ({"headers": {"X": "a\r\n b"}}, "X"),
        ({"headers": {"X": b"a\0"}}, "X"),
        ({"headers": {"X Y": "a"}}, "X Y"),
        ({"headers": {"X:": "a"}}, "X:"),
        ({"headers": {"X ": "a"}}, "X "),
        ({"headers": {"": "a"}}, "header name ''"),
        ({"headers": {"X\r\nY": "a"}}, "header name"),
        ({"headers": {"Ü": "a"}}, "Ü"),
        ({"headers": {"X": "☃"}}, "X"),
        ({"headers": {"Host": "a", "HOST": "b"}}, "Host"),
        ({"headers": {"Content-Length": "1"}}, "Content-Length is 1"),
        ({"headers": {"Content-Length": "1"}, "body": b"12"}, "2 bytes"),
        ({"headers": {"Content-Length": "3"}, "body": "ü"}, "2 bytes"),
        ({"headers": {b"content-length": b"3"}, "body": b"12"}, "2 bytes"),
        ({"headers": {"Content-Length": "-1"}, "body": b"1"}, "-1"),
        ({"headers": {"Content-Length": "+1"}, "body": b"1"}, "1"),
        ({"headers": {"Content-Length": "1_0"}, "body": b"1" * 10}, "1_0"),
        ({"headers": {"Content-Length": "0x1"}, "body": b"1"}, "0x1"),
        ({"headers": {"Content-Length": "1, 1"}, "body": b"1"}, "1, 1"),
        ({"headers": HTTPHeaderDict([("Content-Length", "1"), ("Content-Length", "2")]),
          "body": b"1"}, "one number"),
        ({"headers": {"Content-Length": "1"}, "body": b"1", "chunked": True}, "Content-Length"),
        ({"headers": {"Content-Length": "1", "Transfer-Encoding": "chunked"}, "body": b"1"},
         "Content-Length"),
        ({"headers": {"Transfer-Encoding": "gzip"}, "body": b"1"}, "gzip"),
        ({"headers": {"Transfer-Encoding": "chunked, gzip"}, "body": b"1"}, "gzip"),
        ({"method": ""}, "''"),
        ({"method": "GE T"}, "GE T"),
        ({"method": "GET\r\nX: y"}, "GET"),
        ({"method": "GÉT"}, "GÉT"),
    ],
    ids=repr,
)  # fmt: skip
def test_what_could_be_read_as_something_else_is_an_error_before_anything_is_sent(
    pool: HTTPConnectionPool, options: dict[str, Any], named: str
) -> None:
    """Nobody listens on this pool's connection: `script` fails a test that connects."""
    method = options.pop("method", "POST")
    with pytest.raises(ValueError) as caught:
        pool.urlopen(method, "/", **options)
    assert isinstance(caught.value, HTTPError)
    assert named in str(caught.value)
    assert pool.num_connections == 0


def test_the_error_does_not_show_a_secret(pool: HTTPConnectionPool) -> None:
    with pytest.raises(InvalidRequestHeaderError) as caught:
        pool.request("GET", "/", headers={"Authorization": "secret\n"})
    assert "secret" not in str(caught.value)
    assert isinstance(caught.value, InvalidHeader)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"headers": {"X": None}}, "NoneType"),
        ({"headers": {"X": ["a"]}}, "list"),
        ({"headers": {1: "a"}}, "int"),
        ({"body": 5}, "5"),
        ({"body": Ellipsis}, "Ellipsis"),
        ({"method": b"GET"}, "bytes"),
        ({"method": None}, "NoneType"),
    ],
    ids=repr,
)
def test_an_argument_of_another_type_is_an_error_that_names_it(
    pool: HTTPConnectionPool, options: dict[str, Any], named: str
) -> None:
    method = options.pop("method", "POST")
    with pytest.raises(TypeError, match=named):
        pool.urlopen(method, "/", **options)
    assert pool.num_connections == 0


@pytest.mark.parametrize(
    ("pieces", "received"), [([b"12", b"345"], b"12"), ([b"1234"], b"")], ids=["second", "first"]
)
def test_a_generator_that_yields_more_than_was_declared_is_stopped_at_that_byte(
    script: ScriptedServer, pool: HTTPConnectionPool, pieces: list[bytes], received: bytes
) -> None:
    """The surplus would be the start of the next request for the server (smuggling)."""
    connection = script.accept().expect(b"PUT", body=False)
    connection.read_exactly(len(received)).expect_eof()
    with pytest.raises(InvalidRequestHeaderError, match="Content-Length is 3"):
        pool.request("PUT", "/", body=iter(pieces), headers={"Content-Length": "3"})
    assert pool.pool.qsize() == 1
    script.close()
    assert connection.received == [received]


def test_a_generator_that_yields_less_than_was_declared_breaks_the_connection(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    """The server waits for the rest: the next request would become it."""
    script.accept().expect(b"PUT", body=False).read_exactly(2).expect_eof()
    script.accept().expect(b"GET").send(OK)
    with pytest.raises(InvalidRequestHeaderError, match="the body has 2 bytes"):
        pool.request("PUT", "/", body=iter([b"12"]), headers={"Content-Length": "3"})
    assert pool.request("GET", "/").status == 204


def test_a_generator_as_long_as_declared_is_not_chunked(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    request = sent(
        script, pool.request, "PUT", "/", body=iter([b"12", "ü"]), headers={"Content-Length": "4"}
    )
    assert b"Transfer-Encoding" not in request
    assert request.endswith("\r\n\r\n12ü".encode())


@pytest.mark.parametrize("wrong", [None, 5, object()])
def test_a_generator_of_something_else_is_an_error_and_the_pool_is_whole(
    script: ScriptedServer, pool: HTTPConnectionPool, wrong: Any
) -> None:
    script.accept().expect(b"PUT", body=False).read_until(b"1\r\na\r\n").expect_eof()
    with pytest.raises(TypeError, match=type(wrong).__name__):
        pool.request("PUT", "/", body=iter([b"a", wrong]), retries=3)
    assert list(pool.pool.queue) == [None]


def test_the_error_of_a_body_is_raised_as_it_is(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    """It is the caller's code: no retry, and the connection is closed."""

    class Broken(Exception):
        pass

    def body() -> Iterator[bytes]:
        yield b"a"
        raise Broken

    script.accept().expect(b"PUT", body=False).read_until(b"1\r\na\r\n").expect_eof()
    with pytest.raises(Broken):
        pool.request("PUT", "/", body=body(), retries=3)
    assert list(pool.pool.queue) == [None]
    assert pool.num_requests == 1


def test_an_argument_that_is_wrong_does_not_cost_an_idle_connection(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    script.accept().expect(b"GET").send(OK).expect(b"GET").send(OK)
    pool.request("GET", "/")
    with pytest.raises(ValueError):
        pool.request("GET", "/", headers={"X": "\n"})
    pool.request("GET", "/")
    assert pool.num_connections == 1
