"""What goes over the wire is what urllib3 2.8.0 sends, byte for byte, or is listed here.

Both packages send the same calls to one server, which writes down what it receives.  Only the
User-Agent and the random boundaries are made equal first.
"""

from __future__ import annotations

import array
import io
import re
import socket
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st

pytest.importorskip("urllib3")

import urllib3
import urllib3.fields
import urllib3.util

import urllib4
import urllib4.fields
import urllib4.util
from dummyserver.threaded import End, ThreadedServer
from tests.examples import examples

PACKAGES = (urllib3, urllib4)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
SKIP = urllib4.util.SKIP_HEADER
assert urllib3.util.SKIP_HEADER == SKIP

_LAST = b"no request"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r\n]*chunked", re.IGNORECASE)
_BOUNDARY = re.compile(rb"[0-9a-f]{32}")


class Recorder(ThreadedServer):
    """Answers each request with 200 when it has come whole, and keeps all it received."""

    def __init__(self) -> None:
        super().__init__()
        self.received: dict[int, bytes] = {}

    def serve(self, number: int, end: End) -> None:
        data = b""
        answered = 0
        while more := end.recv(65536):
            data += more
            with self._changed:
                self.received[number] = data
                self._changed.notify_all()
            while (size := _request_size(data[answered:])) is not None:
                answered += size
                end.sendall(ANSWER)

    def take(self) -> list[bytes]:
        """Return what came on each connection, once the client has closed them all."""
        # Connections are accepted in the order in which they were made, so when this one has
        # arrived, all of the client's have.
        with socket.create_connection((self.host, self.port)) as last:
            last.sendall(_LAST)
            self.wait_until(lambda: _LAST in self.received.values())
        self.wait_until(lambda: self.open == 0)
        with self._changed:
            taken = [self.received[number] for number in sorted(self.received)]
            self.received.clear()
        taken.remove(_LAST)
        return taken


def _request_size(data: bytes) -> int | None:
    """Return the length of the first request, None while it is not whole."""
    head_end = data.find(b"\r\n\r\n") + 4
    if head_end < 4:
        return None
    head = data[:head_end]
    if _CHUNKED.search(head):
        end = data.find(b"0\r\n\r\n", head_end - 2)
        return None if end < 0 else end + 5
    length = _LENGTH.search(head)
    size = head_end + (int(length[1]) if length else 0)
    return size if size <= len(data) else None


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    with Recorder() as server:
        server.take()  # its thread is ready: what it opened belongs to no single test
        yield server


class Failed(NamedTuple):
    """A call that ended in an error, and what was sent before."""

    error: Exception
    sent: list[bytes]


class Call(NamedTuple):
    """One request: through what it goes, and a function that makes its arguments anew.

    A function, since files and generators are used up by the first of the two packages.
    """

    through: str
    method: str
    target: str
    arguments: Callable[[ModuleType], dict[str, Any]]


def send(package: ModuleType, recorder: Recorder, call: Call) -> list[bytes] | Failed:
    """Send it and return what came over the wire on each connection."""
    arguments = call.arguments(package)
    headers = arguments.pop("default_headers", None)
    error: Exception | None = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _send(package, recorder, call, arguments, headers)
        except Exception as caught:
            error = caught
    sent = [normalised(package, data) for data in recorder.take()]
    return sent if error is None else Failed(error, sent)


def _send(
    package: ModuleType, recorder: Recorder, call: Call, arguments: dict[str, Any], headers: Any
) -> None:
    host, port = recorder.host, recorder.port
    if call.through == "connection":
        connection = package.connection.HTTPConnection(host, port, timeout=30)
        try:
            connection.request(call.method, call.target, **arguments)
            connection.getresponse()
        finally:
            connection.close()
    elif call.through in ("pool", "pool.urlopen"):
        with package.HTTPConnectionPool(
            host, port, timeout=30, retries=False, headers=headers
        ) as pool:
            function = pool.request if call.through == "pool" else pool.urlopen
            function(call.method, call.target, **arguments)
    else:
        with package.PoolManager(timeout=30, retries=False, headers=headers) as manager:
            function = manager.request if call.through == "manager" else manager.urlopen
            function(call.method, recorder.url + call.target, **arguments)


def normalised(package: ModuleType, data: bytes) -> bytes:
    name = package.__name__
    data = data.replace(
        f"User-Agent: python-{name}/{package.__version__}".encode(), b"User-Agent: (ours)"
    )
    return _BOUNDARY.sub(b"(boundary)", data)


class Iterable:
    """Has no length, and may be gone through again and again."""

    def __init__(self, *pieces: Any) -> None:
        self.pieces = pieces

    def __iter__(self) -> Iterator[Any]:
        return iter(self.pieces)


class Reader:
    """A file that knows nothing but read()."""

    def __init__(self, *blocks: Any) -> None:
        self.blocks = list(blocks)

    def read(self, amount: int = -1) -> Any:
        return self.blocks.pop(0) if self.blocks else b""


def at(position: int, file: Any) -> Any:
    file.seek(position)
    return file


BODIES: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "no bytes": lambda: b"",
    "no text": lambda: "",
    "bytes": lambda: b"bytes",
    "text": lambda: "tëxt ☃",
    "bytearray": lambda: bytearray(b"bytearray"),
    "memoryview": lambda: memoryview(b"memoryview"),
    "wide array": lambda: array.array("H", [1, 2, 3]),
    "wide memoryview": lambda: memoryview(array.array("I", [1, 2, 3])),
    "larger than a write": lambda: b"0123456789" * 60_000,
    "large text": lambda: "ü" * 40_000,
    "binary file": lambda: io.BytesIO(b"file" * 10_000),
    "file in the middle": lambda: at(3, io.BytesIO(b"012345")),
    "file at its end": lambda: at(6, io.BytesIO(b"012345")),
    "empty file": io.BytesIO,
    "text file": lambda: io.StringIO("tëxt ☃\r\nline\n"),
    "reader": lambda: Reader(b"one", b"two"),
    "reader of text": lambda: Reader("ö", "ä", ""),
    "generator": lambda: (piece for piece in [b"a", b"bc"]),
    "generator of text": lambda: (piece for piece in ["ä", "☃"]),
    "generator with empty pieces": lambda: (piece for piece in [b"", b"a", b"", b"b", b""]),
    "empty generator": lambda: iter(()),
    "list": lambda: [b"a", "b", bytearray(b"c")],
    "empty list": list,
    "tuple": lambda: (b"a", b"b"),
    "iterable": lambda: Iterable(b"a", b"b"),
}

HEADERS: dict[str, Callable[[ModuleType], Any]] = {
    "none": lambda package: None,
    "empty": lambda package: {},
    "some": lambda package: {"X-B": "2", "X-A": "1"},
    "dict in its own spelling": lambda package: {"x-LOWER": "a", "HOST": "elsewhere.example"},
    "several lines": lambda package: package.HTTPHeaderDict([("x", "1"), ("Y", "2"), ("X", "3")]),
    "user agent": lambda package: {"user-agent": "me/1.0"},
    "no user agent": lambda package: {"User-Agent": SKIP},
    "empty user agent": lambda package: {"User-Agent": ""},
    "accept-encoding": lambda package: {"ACCEPT-encoding": "gzip"},
    "no accept-encoding": lambda package: {"Accept-Encoding": SKIP},
    "no host": lambda package: {"host": SKIP},
    "nothing automatic": lambda package: dict.fromkeys(
        ["Host", "Accept-Encoding", "User-Agent"], SKIP
    ),
    "made": lambda package: package.make_headers(
        keep_alive=True, accept_encoding=["gzip"], user_agent="x", basic_auth="u:p"
    ),
    "latin-1": lambda package: {"X-Name": "Zoë"},
    "bytes value": lambda package: {"X-Name": b"Zo\xc3\xab"},
    "int value": lambda package: {"X-Number": 42},
    "empty value": lambda package: {"X-Empty": ""},
    "tab inside": lambda package: {"X-Tab": "a\tb"},
    "spaces around": lambda package: {"X-Space": "  a  "},
    "punctuation in a name": lambda package: {"!#$%&'*+-.^_`|~": "1"},
    "expect": lambda package: {"Connection": "close", "Expect": ""},
    "own content type": lambda package: {"Content-Type": "text/plain"},
    "cookies": lambda package: {"Cookie": "a=1; b=2", "Referer": "http://x/"},
}

TARGETS = [
    "/", "/a/b?c=d&e", "/?", "/?x", "/a b", "/%7e/%7E/%zz", "/ü?ü=ü", "/#fragment", "/a#b?c",
    "//double//slash", "/./a/../b", "/a/%2e%2e/b", "/\\back", "/a;p=1,2", "/[]{}|^`\"<>",
    "/:80/@x", "/*", "/%", "/a?b?c?d", "/?a=b%20c+d", "/%E2%98%83",
]  # fmt: skip


def _body(name: str, **more: Any) -> Callable[[ModuleType], dict[str, Any]]:
    return lambda package: {"body": BODIES[name](), **more}


def _headers(name: str, **more: Any) -> Callable[[ModuleType], dict[str, Any]]:
    return lambda package: {"headers": HEADERS[name](package), **more}


def _fixed(**arguments: Any) -> Callable[[ModuleType], dict[str, Any]]:
    return lambda package: dict(arguments)


CALLS: dict[str, Call] = {}
for _through in ("connection", "pool", "pool.urlopen", "manager"):
    for _name in BODIES:
        CALLS[f"{_through}: POST of {_name}"] = Call(_through, "POST", "/", _body(_name))
    for _name in HEADERS:
        CALLS[f"{_through}: headers {_name}"] = Call(_through, "GET", "/", _headers(_name))
        CALLS[f"{_through}: headers {_name} with a body"] = Call(
            _through, "PUT", "/", _headers(_name, body=b"x")
        )
for _through in ("pool", "pool.urlopen", "manager"):
    for _name in sorted(BODIES.keys() - {"wide array", "wide memoryview"}):  # see below
        CALLS[f"{_through}: chunked POST of {_name}"] = Call(
            _through, "POST", "/", _body(_name, chunked=True)
        )
    for _target in TARGETS:
        CALLS[f"{_through}: target {_target}"] = Call(_through, "GET", _target, _fixed())
for _method in ("GET", "HEAD", "DELETE", "OPTIONS", "TRACE", "PUT", "PATCH", "BREW", "get", "pOsT"):
    CALLS[f"{_method} without a body"] = Call("manager", _method, "/", _fixed())
    CALLS[f"{_method} by urlopen"] = Call("pool.urlopen", _method, "/", _fixed())
    CALLS[f"{_method} with a body"] = Call("manager", _method, "/", _fixed(body=b"body"))
    CALLS[f"{_method} chunked without a body"] = Call("pool", _method, "/", _fixed(chunked=True))

FIELDS: dict[str, Callable[[ModuleType], Any]] = {
    "mapping": lambda package: {"a": "1", "b": "ü ☃&=+"},
    "pairs": lambda package: [("a", "1"), ("a", "2")],
    "bytes": lambda package: {"a": b"\xff\x00"},
    "number": lambda package: {"a": 1},
    "empty": lambda package: {},
    "empty list": lambda package: [],
    "file": lambda package: {"f": ("name.txt", "content")},
    "file with type": lambda package: {"f": ('ü "q"\r\n.bin', b"\x00", "image/x")},
    "file without name": lambda package: [("f", (None, b"x")), ("a", "b")],
    "request field": lambda package: [
        package.fields.RequestField("n", b"data", headers={"X-Own": "1"}),
        package.fields.RequestField.from_tuples("m", ("f.html", "<p>")),
    ],
}
for _name, _fields in FIELDS.items():
    for _method in ("GET", "POST", "PATCH"):
        CALLS[f"{_method} with fields: {_name}"] = Call(
            "manager", _method, "/path", lambda package, f=_fields: {"fields": f(package)}
        )
    if not _name.startswith("file"):  # see below
        CALLS[f"form of {_name}"] = Call(
            "pool", "POST", "/", lambda package, f=_fields: {
                "fields": f(package), "encode_multipart": False
            },
        )  # fmt: skip
    CALLS[f"fixed boundary: {_name}"] = Call(
        "pool", "PUT", "/", lambda package, f=_fields: {
            "fields": f(package), "multipart_boundary": "B", "headers": {"X": "y"}
        },
    )  # fmt: skip
for _index, _value in enumerate(
    [{}, [], {"a": [1, None, True, 1.5], "b": {"c": "ü☃"}}, "text", 0, False, "", [[]], None]
):
    CALLS[f"json {_index}"] = Call("manager", "POST", "/", _fixed(json=_value))
    CALLS[f"json {_index} by pool and GET"] = Call("pool", "GET", "/", _fixed(json=_value))
CALLS |= {
    "json keeps a type": Call(
        "pool", "POST", "/", _fixed(json=1, headers={"content-TYPE": "application/x"})
    ),
    "json and own headers": Call("pool", "POST", "/", _fixed(json=1, headers={"X": "1"})),
    "json and default headers": Call(
        "manager", "POST", "/", _fixed(json=1, default_headers={"X": "1"})
    ),
    "json and default type": Call(
        "manager", "POST", "/", _fixed(json=1, default_headers={"Content-Type": "x/y"})
    ),
    "default headers": Call("manager", "GET", "/", _fixed(default_headers={"X": "1"})),
    "default headers of a pool": Call("pool", "GET", "/", _fixed(default_headers={"X": "1"})),
    "given headers replace them": Call(
        "manager", "GET", "/", _fixed(default_headers={"X": "1"}, headers={"Y": "2"})
    ),
    "no headers replace them": Call(
        "manager", "GET", "/", _fixed(default_headers={"X": "1"}, headers={})
    ),
    "form keeps a type": Call(
        "pool",
        "POST",
        "/",
        _fixed(fields={"a": "b"}, encode_multipart=False, headers={"content-type": "x/y"}),
    ),
    "multipart keeps another type": Call(
        "pool", "POST", "/", _fixed(fields={"a": "b"}, headers={"Content-Type": "x/y"})
    ),
    "own length": Call("pool", "POST", "/", _fixed(body=b"12345", headers={"content-length": "5"})),
    "own length of a generator": Call(
        "pool",
        "POST",
        "/",
        lambda package: {"body": iter([b"12", b"345"]), "headers": {"Content-Length": "5"}},
    ),
    "own length of a file": Call(
        "connection",
        "POST",
        "/",
        lambda package: {"body": io.BytesIO(b"12345"), "headers": {"Content-Length": "5"}},
    ),
    "own length of none": Call("pool", "GET", "/", _fixed(headers={"Content-Length": "0"})),
    "own coding": Call(
        "pool", "POST", "/", _fixed(body=b"12345", headers={"Transfer-Encoding": "chunked"})
    ),
    "own coding, chunked": Call(
        "pool",
        "POST",
        "/",
        _fixed(body=b"1", headers={"transfer-encoding": "gzip, chunked"}, chunked=True),
    ),
}


def error_names(result: list[bytes] | Failed) -> list[str]:
    """Return the names of the error and of what it is a kind of; none without an error."""
    return [one.__name__ for one in type(result.error).__mro__] if _failed(result) else []


def _failed(result: list[bytes] | Failed) -> bool:
    return isinstance(result, Failed)


def assert_alike(theirs: list[bytes] | Failed, ours: list[bytes] | Failed) -> None:
    """The same was sent, and an error of ours is one of theirs, or a kind of it."""
    if isinstance(theirs, Failed):
        assert isinstance(ours, Failed), ours
        assert ours.sent == theirs.sent
        assert type(theirs.error).__name__ in error_names(ours)
    else:
        assert ours == theirs


@pytest.mark.parametrize("name", CALLS)
def test_the_same_bytes_are_sent(name: str, recorder: Recorder) -> None:
    theirs, ours = (send(package, recorder, CALLS[name]) for package in PACKAGES)
    assert_alike(theirs, ours)


class Difference(NamedTuple):
    """What differs on purpose: what each sends (or its error), and why."""

    call: Call
    theirs: bytes | str
    ours: bytes | str
    reason: str


def _get(through: str = "pool", target: str = "/", **arguments: Any) -> Call:
    return Call(through, "GET", target, _fixed(**arguments))


def _post(**arguments: Any) -> Call:
    return Call("pool", "POST", "/", _fixed(**arguments))


HEAD = b"%b HTTP/1.1\r\nHost: HOST\r\nAccept-Encoding: identity\r\n%bUser-Agent: (ours)\r\n%b\r\n"
_PLAIN_POST = HEAD % (b"POST /", b"", b"%b") + b"%b"
_CHUNKED_POST = HEAD % (b"POST /", b"Transfer-Encoding: chunked\r\n", b"%b") + b"%b"
_FORM = b"POST / HTTP/1.1\r\nHost: HOST\r\nAccept-Encoding: identity\r\nContent-Length: %d\r\n"
_PART = b'--(boundary)\r\nContent-Disposition: form-data; name="b"\r\n\r\n2\r\n--(boundary)--\r\n'
_BAD_HEADER = "InvalidRequestHeaderError"
_INJECTS = "a server could read it as another field, or another request"
_TWO_LENGTHS = "two readers of such a message may disagree where it ends (RFC 9112, 6.2)"
_NOT_ITS_LENGTH = "the rest is the head of the next request for the server, or is missed by it"
_NO_TOKEN = "a name is a token (RFC 9110, 5.1)"
_FILE_IN_A_FORM = "the repr of a tuple was sent for the file"

DELIBERATE_DIFFERENCES: dict[str, Difference] = {
    "two Host fields": Difference(
        _get(headers={"Host": "a", "host": "b"}),
        HEAD.replace(b"Host: HOST\r\n", b"") % (b"GET /", b"", b"Host: a\r\nhost: b\r\n"),
        _BAD_HEADER,
        "a request has one Host field (RFC 9112, 3.2)",
    ),
    "a length above the body's": Difference(
        _post(body=b"12", headers={"Content-Length": "5"}),
        "ReadTimeoutError",
        _BAD_HEADER,
        _NOT_ITS_LENGTH,
    ),
    "a length without a body": Difference(
        _post(headers={"Content-Length": "5"}), "ReadTimeoutError", _BAD_HEADER, _NOT_ITS_LENGTH
    ),
    "a length below the body's": Difference(
        _post(body=b"12345", headers={"Content-Length": "2"}),
        _PLAIN_POST % (b"Content-Length: 2\r\n", b"12345"),
        _BAD_HEADER,
        _NOT_ITS_LENGTH,
    ),
    "a length below a generator's": Difference(
        Call(
            "pool",
            "POST",
            "/",
            lambda package: {"body": iter([b"12", b"345"]), "headers": {"Content-Length": "3"}},
        ),
        _PLAIN_POST % (b"Content-Length: 3\r\n", b"12345"),
        _BAD_HEADER,
        _NOT_ITS_LENGTH,
    ),
    "a length beside chunked=True": Difference(
        _post(body=b"12", headers={"Content-Length": "2"}, chunked=True),
        _CHUNKED_POST % (b"Content-Length: 2\r\n", b"2\r\n12\r\n0\r\n\r\n"),
        _BAD_HEADER,
        _TWO_LENGTHS,
    ),
    "a length beside Transfer-Encoding": Difference(
        _post(body=b"12", headers={"Content-Length": "2", "Transfer-Encoding": "chunked"}),
        "ReadTimeoutError",
        _BAD_HEADER,
        _TWO_LENGTHS,
    ),
    "a coding that does not end the message": Difference(
        _post(body=b"12", headers={"Transfer-Encoding": "gzip"}),
        _PLAIN_POST % (b"Transfer-Encoding: gzip\r\n", b"2\r\n12\r\n0\r\n\r\n"),
        _BAD_HEADER,
        "chunked is the last coding of a request (RFC 9112, 6.1)",
    ),
    "a length that is no number": Difference(
        _post(body=b"12", headers={"Content-Length": "+2"}),
        _PLAIN_POST % (b"Content-Length: +2\r\n", b"12"),
        _BAD_HEADER,
        _TWO_LENGTHS,
    ),
    "a folded value": Difference(
        _get(headers={"X": "a\r\n b"}),
        HEAD % (b"GET /", b"", b"X: a\r\n b\r\n"),
        _BAD_HEADER,
        _INJECTS,
    ),
    "a control character in a value": Difference(
        _get(headers={"X": "a\x1fb"}),
        HEAD % (b"GET /", b"", b"X: a\x1fb\r\n"),
        _BAD_HEADER,
        "no field allows it (RFC 9110, 5.5)",
    ),
    "NUL in a value": Difference(
        _get(headers={"X": "a\0b"}),
        HEAD % (b"GET /", b"", b"X: a\0b\r\n"),
        _BAD_HEADER,
        _INJECTS,
    ),
    "a space in a name": Difference(
        _get(headers={"X Y": "a"}),
        HEAD % (b"GET /", b"", b"X Y: a\r\n"),
        _BAD_HEADER,
        _NO_TOKEN,
    ),
    "a space before the colon": Difference(
        _get(headers={"X ": "a"}), HEAD % (b"GET /", b"", b"X : a\r\n"), _BAD_HEADER, _NO_TOKEN
    ),
    "separators in a name": Difference(
        _get(headers={"a(b)": "a"}),
        HEAD % (b"GET /", b"", b"a(b): a\r\n"),
        _BAD_HEADER,
        _NO_TOKEN,
    ),
    "a name beyond ASCII": Difference(
        _get(headers={"ü": "a"}),
        "UnicodeEncodeError",
        _BAD_HEADER,
        "the error names the header, and is an HTTPError as well",
    ),
    "a value beyond latin-1": Difference(
        _get(headers={"x": "☃"}),
        "UnicodeEncodeError",
        _BAD_HEADER,
        "the error names the header, and is an HTTPError as well",
    ),
    "headers as pairs": Difference(
        _get(headers=[("x", "1")]),
        "AttributeError",
        HEAD % (b"GET /", b"", b"x: 1\r\n"),
        "request() took them with POST, but not with GET",
    ),
    "fields for a URL with a query": Difference(
        _get("manager", "/?a=1", fields={"b": "2"}),
        HEAD % (b"GET /?a=1?b=2", b"", b""),
        HEAD % (b"GET /?a=1&b=2", b"", b""),
        "a second question mark is part of a value",
    ),
    "fields for a URL with an empty query": Difference(
        _get("manager", "/?", fields={"b": "2"}),
        HEAD % (b"GET /??b=2", b"", b""),
        HEAD % (b"GET /?b=2", b"", b""),
        "a second question mark is part of a name",
    ),
    "fields for a URL with a fragment": Difference(
        _get("manager", "/#f", fields={"b": "2"}),
        HEAD % (b"GET /", b"", b""),
        HEAD % (b"GET /?b=2", b"", b""),
        "the fields became part of the fragment, which is not sent",
    ),
    "a multipart type without the boundary": Difference(
        _post(fields={"b": "2"}, headers={"Content-Type": "multipart/form-data"}),
        _FORM % 121 + b"User-Agent: (ours)\r\nContent-Type: multipart/form-data\r\n\r\n" + _PART,
        _FORM % 121
        + b"User-Agent: (ours)\r\nContent-Type: multipart/form-data; boundary=(boundary)\r\n\r\n"
        + _PART,
        "nobody can read a multipart body without its boundary",
    ),
    "a mapping where fields came once": Difference(
        _get(body={"b": "2"}),
        HEAD % (b"GET /", b"Transfer-Encoding: chunked\r\n", b"") + b"1\r\nb\r\n0\r\n\r\n",
        HEAD % (b"GET /?b=2", b"", b""),
        "its names alone were sent; older programs pass fields in third place",
    ),
    "an empty method": Difference(
        Call("pool", "", "/", _fixed()),
        HEAD % (b" /", b"Content-Length: 0\r\n", b""),
        "InvalidMethodError",
        "a method has at least one character (RFC 9110, 9.1)",
    ),
    "a target beyond ASCII": Difference(
        _get("connection", "/ü"),
        "UnicodeEncodeError",
        "InvalidTargetError",
        "the error says what to do, and is an HTTPError as well",
    ),
    "credentials in an absolute target": Difference(
        _get("connection", "http://u:p@other.example:99/x"),
        HEAD.replace(b"HOST", b"u:p@other.example:99")
        % (b"GET http://u:p@other.example:99/x", b"", b""),
        "InvalidTargetError",
        "a target holds no credentials (RFC 9110, 4.2.4)",
    ),
    "json and a type whose name is bytes": Difference(
        _post(json=1, headers={b"Content-Type": "x/y"}),
        "TypeError",
        _FORM % 1 + b"User-Agent: (ours)\r\nContent-Type: x/y\r\n\r\n1",
        "header names as bytes work everywhere",
    ),
    "a file without data yet": Difference(
        Call("pool", "POST", "/", lambda package: {"body": Reader(b"a", None, b"b")}),
        _CHUNKED_POST % (b"", b"1\r\na\r\n0\r\n\r\n"),
        "TypeError",
        "None from a non-blocking file is no end: the body was cut short in silence",
    ),
    "chunks of wide items": Difference(
        _post(body=array.array("H", [1, 2, 3]), chunked=True),
        _CHUNKED_POST % (b"", b"3\r\n\1\0\2\0\3\0\r\n0\r\n\r\n"),
        _CHUNKED_POST % (b"", b"6\r\n\1\0\2\0\3\0\r\n0\r\n\r\n"),
        "a chunk size counts bytes, not items",
    ),
    "a file in a form": Difference(
        _post(fields={"f": ("name", "x")}, encode_multipart=False),
        _FORM % 29
        + b"User-Agent: (ours)\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n"
        + b"f=%28%27name%27%2C+%27x%27%29",
        "TypeError",
        _FILE_IN_A_FORM,
    ),
}


@pytest.mark.parametrize("name", DELIBERATE_DIFFERENCES)
def test_what_differs_on_purpose_is_as_listed(name: str, recorder: Recorder) -> None:
    difference = DELIBERATE_DIFFERENCES[name]
    host = f"{recorder.host}:{recorder.port}".encode()
    for package, expected in zip(PACKAGES, (difference.theirs, difference.ours), strict=True):
        call = difference.call
        if expected == "ReadTimeoutError":  # the answer never comes: no need to wait for long
            call = call._replace(
                arguments=lambda package, make=call.arguments: {**make(package), "timeout": 0.2}
            )
        result = send(package, recorder, call)
        if isinstance(expected, str):
            assert error_names(result)[:1] == [expected]
        else:
            assert result == [expected.replace(b"HOST", host)]
    assert difference.reason


def test_what_is_wrong_is_found_before_a_byte_is_sent(recorder: Recorder) -> None:
    """Also where urllib3 noticed too late, or never."""
    at_the_byte = {"a length below a generator's", "a file without data yet"}
    for name, difference in DELIBERATE_DIFFERENCES.items():
        if isinstance(difference.ours, str) and name not in at_the_byte:
            result = send(urllib4, recorder, difference.call)
            assert isinstance(result, Failed), name
            assert result.sent == [], name


TOKENS = st.text("!#$%&'*+-.^_`|~0123456789abcdefXYZ", min_size=1, max_size=12).filter(
    # Framing has rows of its own above.
    lambda name: name.lower() not in ("host", "content-length", "transfer-encoding", "te")
)
VALUES = st.one_of(
    # Control characters are refused, see above.
    st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]), max_size=20),
    st.text("a\t", max_size=5),
    st.integers(),
    st.binary(max_size=10).filter(lambda value: not set(value) & {*range(32), 127}),
)
PIECES = st.one_of(st.binary(max_size=40), st.text(max_size=20))
ONE_BODY = st.one_of(
    st.none(), PIECES, st.lists(PIECES, max_size=4), st.builds(tuple, st.lists(PIECES, max_size=3))
)


@examples(120, HealthCheck.function_scoped_fixture)
@given(
    method=st.sampled_from(["GET", "POST", "HEAD", "DELETE", "PATCH"]),
    headers=st.lists(st.tuples(TOKENS, VALUES), max_size=5),
    body=ONE_BODY,
    chunked=st.booleans(),
)
@example(method="GET", headers=[("x", ""), ("X", " a ")], body=None, chunked=True)
def test_any_headers_and_bodies_are_sent_alike(
    method: str, headers: list[Any], body: Any, chunked: bool, recorder: Recorder
) -> None:
    def arguments(package: ModuleType) -> dict[str, Any]:
        given_headers = package.HTTPHeaderDict()
        for name, value in headers:
            given_headers.add(name, value)
        return {"headers": given_headers, "body": body, "chunked": chunked}

    call = Call("pool.urlopen", method, "/", arguments)
    assert_alike(send(urllib3, recorder, call), send(urllib4, recorder, call))


@examples(60, HealthCheck.function_scoped_fixture)
@given(
    fields=st.lists(
        # Control characters in the name of a part are refused: see the table of fields.
        st.tuples(
            st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=8),
            st.one_of(st.text(max_size=12), st.binary(max_size=12)),
        ),
        min_size=1,
        max_size=4,
    ),
    method=st.sampled_from(["GET", "POST"]),
    multipart=st.booleans(),
)
def test_any_fields_are_sent_alike(
    fields: list[Any], method: str, multipart: bool, recorder: Recorder
) -> None:
    more = {} if method == "GET" else {"encode_multipart": multipart, "multipart_boundary": "B"}
    call = Call("manager", method, "/", _fixed(fields=fields, **more))
    assert_alike(send(urllib3, recorder, call), send(urllib4, recorder, call))


@examples(80, HealthCheck.function_scoped_fixture)
@given(target=st.text(max_size=20))
@example(target="//x")
@example(target="/..//%2f%2F%zz")
def test_any_target_is_sent_alike(target: str, recorder: Recorder) -> None:
    for through in ("pool", "manager"):
        call = Call(through, "GET", "/" + target, _fixed())
        assert_alike(send(urllib3, recorder, call), send(urllib4, recorder, call))
