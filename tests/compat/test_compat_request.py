"""Headers and bodies come out as in urllib3 2.8.0, or the difference is listed here."""

from __future__ import annotations

import array
import email.message
import http.client
import io
import itertools
import socket
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("urllib3")

import urllib3.util.request
import urllib3.util.response
import urllib3.util.util
import urllib3.util.wait

import urllib4.util.request
import urllib4.util.response
import urllib4.util.util
import urllib4.util.wait
from tests.families import every

THEIRS, OURS = urllib3.util.request, urllib4.util.request


class Reader:
    """A file-like object that returns what the test says."""

    def __init__(self, *blocks: Any) -> None:
        self.blocks = [*blocks, b""]

    def read(self, amount: int) -> Any:
        return self.blocks.pop(0)


#: What: (function of the module, arguments, theirs, ours, why).
DELIBERATE_DIFFERENCES: dict[str, tuple[Any, Any, Any, str]] = {
    "a tuple of codings is joined like a list": (
        lambda module: module.make_headers(accept_encoding=("a", "b")),
        {"accept-encoding": THEIRS.ACCEPT_ENCODING},
        {"accept-encoding": "a,b"},
        "the given names were ignored",
    ),
    "credentials as bytes name the option": (
        lambda module: module.make_headers(basic_auth=b"user:password"),
        "AttributeError: 'bytes' object has no attribute 'encode'",
        "TypeError: basic_auth must be a str such as 'user:password', not bytes",
        "an error names the argument and what is allowed",
    ),
    "text from an iterable is encoded": (
        lambda module: list(module.body_to_chunks(["a", b"b"], "POST", 9).chunks),
        ["a", b"b"],
        [b"a", b"b"],
        "a chunk is bytes; the connection encoded it later",
    ),
    "text from a binary file is encoded": (
        lambda module: list(module.body_to_chunks(Reader(b"a", "b"), "POST", 9).chunks),
        [b"a", "b"],
        [b"a", b"b"],
        "a chunk is bytes; the connection encoded it later",
    ),
    "an iterable of something else is an error": (
        lambda module: list(module.body_to_chunks([1], "POST", 9).chunks),
        [1],
        "TypeError: an iterable body must yield bytes-like objects or str, not int",
        "an error names what is wrong",
    ),
    "a file without data yet is an error": (
        lambda module: list(module.body_to_chunks(Reader(None), "POST", 9).chunks),
        [],
        "TypeError: read() of a file-like body must return bytes-like objects or str, not NoneType",
        "None from a non-blocking file is no end: the body would be cut short in silence",
    ),
}


def outcome(function: Any, *args: Any, **kw: Any) -> Any:
    try:
        return function(*args, **kw)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("case", DELIBERATE_DIFFERENCES)
def test_what_differs_on_purpose_is_as_listed(case: str):
    call, theirs, ours, reason = DELIBERATE_DIFFERENCES[case]
    assert outcome(call, THEIRS) == theirs
    assert outcome(call, OURS) == ours
    assert reason


@pytest.mark.parametrize("name", ["SKIP_HEADER", "SKIPPABLE_HEADERS", "ACCEPT_ENCODING"])
def test_constants_are_the_same(name: str):
    assert getattr(OURS, name) == getattr(THEIRS, name)


OPTIONS = {
    "keep_alive": [True, False, None],
    "accept_encoding": [True, False, ["a", "b"], [], "", "x", 1],
    "user_agent": ["x", "", None],
    "basic_auth": ["u:p", "", "ü:p", None],
    "proxy_basic_auth": ["u:p", None],
    "disable_cache": [True, False],
}


@every(
    options=[
        dict(zip(OPTIONS, values, strict=True)) for values in itertools.product(*OPTIONS.values())
    ]
)
def test_make_headers_gives_the_same(options: Any):
    theirs, ours = THEIRS.make_headers(**options), OURS.make_headers(**options)
    assert list(ours.items()) == list(theirs.items())


def test_make_headers_encodes_credentials_alike():
    options = {
        "basic_auth": "☃:ü",
        "basic_auth_encoding": "utf-8",
        "proxy_basic_auth": "☃",
        "proxy_basic_auth_encoding": "utf-16",
    }
    assert OURS.make_headers(**options) == THEIRS.make_headers(**options)
    for module in (THEIRS, OURS):
        with pytest.raises(UnicodeEncodeError):
            module.make_headers(basic_auth="☃")
        with pytest.raises(LookupError):
            module.make_headers(basic_auth="x", basic_auth_encoding="no such codec")


class Tells:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def tell(self) -> int:
        if self.error:
            raise self.error
        return 3


class Seeks(Tells):
    def seek(self, position: int) -> None:
        if self.error:
            raise self.error


BODIES = [None, b"x", "x", [1], Tells(), Tells(OSError("x")), Tells(ValueError("x"))]
BODIES += [Seeks(), Seeks(OSError("x")), Seeks(ValueError("x")), io.BytesIO(b"abc")]


@every(body=BODIES, position=[None, 0, 1, "failed", "x", 1.5, True])
def test_positions_are_kept_and_restored_alike(body: Any, position: Any):
    results = []
    for module in (THEIRS, OURS):
        given = module._FAILEDTELL if position == "failed" else position
        results.append(
            [
                str(outcome(module.set_file_position, body, given)),
                outcome(module.rewind_body, body, given),
            ]
        )
    assert results[0] == results[1]


@pytest.mark.parametrize(
    "method",
    ["GET", "get", "HEAD", "DELETE", "TRACE", "OPTIONS", "CONNECT", "POST", "PUT", "post", "X", ""],
)
def test_no_body_has_the_same_length(method: str):
    assert tuple(OURS.body_to_chunks(None, method, 5)) == tuple(
        THEIRS.body_to_chunks(None, method, 5)
    )


BODY_MAKERS = {
    "bytes": lambda: b"abc",
    "no bytes": lambda: b"",
    "str": lambda: "aü☃",
    "no str": lambda: "",
    "bytearray": lambda: bytearray(b"abc"),
    "memoryview": lambda: memoryview(b"abc"),
    "part of a memoryview": lambda: memoryview(b"abcdef")[::2],
    "wide memoryview": lambda: memoryview(array.array("i", [1, 2])),
    "array": lambda: array.array("d", [1, 2]),
    "file": lambda: io.BytesIO(b"abcdefg"),
    "text file": lambda: io.StringIO("aübc☃"),
    "text file of another encoding": lambda: io.TextIOWrapper(io.BytesIO(b"\xff"), "latin-1"),
    "empty file": io.BytesIO,
    "list": lambda: [b"a", b"", b"bc"],
    "empty list": list,
    "iterator": lambda: iter([b"a"]),
    "generator": lambda: (x for x in [b"x", b""]),
    "set": lambda: {b"a"},
    "number": lambda: 5,
    "float": lambda: 1.5,
}


@pytest.mark.parametrize("kind", BODY_MAKERS)
@pytest.mark.parametrize("blocksize", [1, 2, 16384])
def test_bodies_become_the_same_bytes(kind: str, blocksize: int):
    def chunks(module: Any) -> Any:
        result = module.body_to_chunks(BODY_MAKERS[kind](), "POST", blocksize)
        return [bytes(chunk) for chunk in result.chunks], result.content_length

    assert outcome(chunks, OURS) == outcome(chunks, THEIRS)


@pytest.mark.parametrize("function", ["to_bytes", "to_str"])
@every(
    value=["ü", "☃", "", b"x", b"\xff", b"", bytearray(b"x"), 1, None],
    encoding=[None, "latin-1", "ascii"],
    errors=[None, "ignore", "replace"],
)
def test_conversions_give_the_same(function: str, value: Any, encoding: Any, errors: Any):
    theirs, ours = (getattr(module.util.util, function) for module in (urllib3, urllib4))
    assert outcome(ours, value, encoding, errors) == outcome(theirs, value, encoding, errors)


HEADS = [
    b"\r\n",
    b"A: b\r\n\r\n",
    b" A: b\r\n\r\n",
    b"A b\r\nC: d\r\n\r\n",
    b": x\r\nC: d\r\n\r\n",
    b"Content-Type: multipart/mixed\r\n\r\n",
    b"Content-Type: multipart/mixed; boundary=x\r\n\r\n",
    b"Content-Type: message/rfc822\r\n\r\n",
    b"a: b\r\n c\r\nd\r\n\r\n",
]


@pytest.mark.parametrize("head", [*HEADS, None], ids=repr)
def test_header_defects_are_judged_alike(head: Any):
    results = []
    for module in (urllib3, urllib4):
        message = {} if head is None else http.client.parse_headers(io.BytesIO(head))
        results.append(outcome(module.util.response.assert_header_parsing, message))
    # The texts hold the reprs of defects, with addresses of objects in older Pythons.
    assert str(results[0]).partition(" at 0x")[0] == str(results[1]).partition(" at 0x")[0]


def test_a_plain_email_message_is_refused_alike():
    message = email.message.Message()
    results = [
        outcome(module.util.response.assert_header_parsing, message)
        for module in (urllib3, urllib4)
    ]
    assert results[0] == results[1]


@pytest.mark.parametrize(
    "file",
    [
        SimpleNamespace(isclosed=lambda: True),
        SimpleNamespace(isclosed=lambda: False, closed=True),
        SimpleNamespace(closed=True),
        SimpleNamespace(closed=False, fp=None),
        SimpleNamespace(fp=None),
        SimpleNamespace(fp=1),
        SimpleNamespace(),
        io.BytesIO(),
        None,
    ],
)
def test_closed_files_are_recognised_alike(file: Any):
    assert outcome(urllib4.util.response.is_fp_closed, file) == outcome(
        urllib3.util.response.is_fp_closed, file
    )


@pytest.mark.parametrize("method", ["HEAD", "head", "GET", "", "HEADER"])
def test_answers_to_head_are_recognised_alike(method: str):
    response: Any = SimpleNamespace(_method=method)
    assert urllib4.util.response.is_response_to_head(
        response
    ) == urllib3.util.response.is_response_to_head(response)


@pytest.mark.parametrize("function", ["wait_for_socket", "poll_wait_for_socket"])
def test_waiting_gives_the_same(function: str):
    near, far = socket.socketpair()
    theirs, ours = (getattr(module.util.wait, function) for module in (urllib3, urllib4))
    cases: list[dict[str, Any]] = [
        {},
        {"read": True, "timeout": 0},
        {"write": True, "timeout": 0},
        {"read": True, "write": True, "timeout": 0},
        {"read": True, "timeout": "x"},
        {"read": True, "timeout": float("nan")},
    ]

    def compare() -> None:
        for case in cases:
            kinds = [str(outcome(call, near, **case)).partition(":")[0] for call in (theirs, ours)]
            assert kinds[0] == kinds[1]

    with near, far:
        compare()
        far.send(b"x")
        compare()
        far.close()
        compare()
    compare()
