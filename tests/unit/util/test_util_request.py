"""Headers from options, positions of bodies, and bodies as chunks."""

from __future__ import annotations

import array
import base64
import ctypes
import io
import mmap
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from urllib4.exceptions import UnrewindableBodyError
from urllib4.util import request as request_module
from urllib4.util.request import (
    _FAILEDTELL,
    SKIP_HEADER,
    SKIPPABLE_HEADERS,
    body_to_chunks,
    make_headers,
    rewind_body,
    set_file_position,
)


@pytest.mark.parametrize(
    ("options", "headers"),
    [
        ({}, {}),
        ({"keep_alive": True}, {"connection": "keep-alive"}),
        ({"keep_alive": False, "disable_cache": False, "accept_encoding": False}, {}),
        ({"accept_encoding": "foo"}, {"accept-encoding": "foo"}),
        ({"accept_encoding": ["foo", "bar"]}, {"accept-encoding": "foo,bar"}),
        ({"accept_encoding": ("foo", "bar")}, {"accept-encoding": "foo,bar"}),
        ({"accept_encoding": []}, {}),
        ({"user_agent": "banana"}, {"user-agent": "banana"}),
        ({"basic_auth": "foo:bar"}, {"authorization": "Basic Zm9vOmJhcg=="}),
        ({"proxy_basic_auth": "foo:bar"}, {"proxy-authorization": "Basic Zm9vOmJhcg=="}),
        ({"basic_auth": "ü"}, {"authorization": "Basic /A=="}),
        (
            {"basic_auth": "ü", "basic_auth_encoding": "utf-8"},
            {"authorization": "Basic w7w="},
        ),
        (
            {"proxy_basic_auth": "ü", "proxy_basic_auth_encoding": "utf-8"},
            {"proxy-authorization": "Basic w7w="},
        ),
        ({"disable_cache": True}, {"cache-control": "no-cache"}),
    ],
)
def test_options_become_headers(options: Any, headers: dict[str, str]):
    assert make_headers(**options) == headers


def test_true_asks_for_all_that_can_be_decoded():
    assert make_headers(accept_encoding=True) == {"accept-encoding": request_module.ACCEPT_ENCODING}
    assert request_module.ACCEPT_ENCODING.startswith("gzip,deflate")


def test_accept_encoding_can_be_replaced(monkeypatch: pytest.MonkeyPatch):
    """Some programs switch codings off by assigning to it."""
    monkeypatch.setattr(request_module, "ACCEPT_ENCODING", "gzip")
    assert make_headers(accept_encoding=True) == {"accept-encoding": "gzip"}


def test_only_names_to_ask_for_are_asked_for(monkeypatch: pytest.MonkeyPatch):
    """ "x-gzip" is understood, but RFC 9110 has it for recipients only."""
    monkeypatch.delattr(request_module, "ACCEPT_ENCODING", raising=False)
    monkeypatch.setattr(
        request_module, "available_codings", lambda: ("gzip", "x-gzip", "deflate", "br")
    )
    assert request_module.ACCEPT_ENCODING == "gzip,deflate,br"
    assert "ACCEPT_ENCODING" in vars(request_module)
    monkeypatch.delattr(request_module, "ACCEPT_ENCODING")


def test_other_names_are_not_made_up():
    with pytest.raises(AttributeError, match="has no attribute 'ACCEPT_NOTHING'"):
        _ = request_module.ACCEPT_NOTHING


def test_finding_out_what_can_be_decoded_does_not_load_it():
    program = (
        "import sys; import urllib4.util.request as r\n"
        "r.make_headers(accept_encoding=True)\n"
        "assert not {'brotli', 'brotlicffi', 'zstandard', 'backports.zstd'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@given(st.text(max_size=30).filter(bool))
def test_credentials_cannot_break_out_of_their_header(credentials: str):
    """Whatever they contain, a line break included, is base64 on the wire."""
    headers = make_headers(basic_auth=credentials, basic_auth_encoding="utf-8")
    assert headers["authorization"].startswith("Basic ")
    assert headers["authorization"].isprintable()


def test_credentials_survive_the_trip():
    value = make_headers(basic_auth="user:pass\r\nword")["authorization"]
    assert base64.b64decode(value.partition(" ")[2]) == b"user:pass\r\nword"


def test_what_a_charset_cannot_express_is_an_error_without_the_password():
    for parameter in ("basic_auth", "proxy_basic_auth"):
        with pytest.raises(UnicodeEncodeError, match=f"{parameter}_encoding='utf-8'") as caught:
            make_headers(**{parameter: "user:sécret☃"})  # type: ignore[arg-type]
        error = caught.value
        assert "cret" not in str(error) + repr(error) + error.object
        assert (error.start, error.end) == (11, 12)
        assert error.__context__ is None or error.__suppress_context__


@pytest.mark.parametrize("value", [b"user:secret", ("user", "secret"), 1])
def test_credentials_are_text(value: Any):
    with pytest.raises(TypeError, match="basic_auth must be a str such as") as caught:
        make_headers(basic_auth=value)
    assert "secret" not in str(caught.value)


def test_skippable_headers():
    assert SKIP_HEADER == "@@@SKIP_HEADER@@@"
    assert frozenset(("accept-encoding", "host", "user-agent")) == SKIPPABLE_HEADERS


class CannotTell(io.BytesIO):
    def tell(self) -> int:
        raise OSError("a pipe has no position")


class CannotSeek(io.BytesIO):
    def seek(self, *args: Any) -> int:
        raise OSError("a pipe cannot seek")


def test_a_body_is_sent_again_from_where_it_stood():
    body = io.BytesIO(b"head|body")
    body.read(5)
    position = set_file_position(body, None)
    assert position == 5
    assert body.read() == b"body"
    assert set_file_position(body, position) == 5
    assert body.read() == b"body"


@pytest.mark.parametrize("body", [None, b"x", "x", [b"x"], iter([b"x"]), object()])
def test_bodies_without_a_position_have_none(body: Any):
    assert set_file_position(body, None) is None


def test_a_position_that_cannot_be_told_fails_when_it_is_needed():
    body = CannotTell(b"x")
    position = set_file_position(body, None)
    assert position is _FAILEDTELL
    with pytest.raises(UnrewindableBodyError, match="Unable to record file position"):
        set_file_position(body, position)


def test_a_body_that_cannot_seek_is_an_error():
    with pytest.raises(UnrewindableBodyError, match="An error occurred when rewinding") as caught:
        rewind_body(CannotSeek(b"x"), 0)
    assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(UnrewindableBodyError, match=r"body does not implement seek\."):
        rewind_body(iter([b"x"]), 0)


@pytest.mark.parametrize("position", [None, "0", 1.5])
def test_a_position_is_a_number(position: Any):
    with pytest.raises(ValueError, match="body_pos must be of type integer, instead it was <class"):
        rewind_body(io.BytesIO(b"x"), position)


@pytest.mark.parametrize(
    ("method", "length"),
    [
        *((method, None) for method in ("GET", "HEAD", "DELETE", "TRACE", "OPTIONS", "CONNECT")),
        *((method, 0) for method in ("POST", "PUT", "PATCH", "post", "ANYTHING")),
        ("get", None),
    ],
)
def test_a_missing_body_has_a_length_only_where_a_body_is_expected(method: str, length: Any):
    assert body_to_chunks(None, method, 5) == (None, length)


class Struct(ctypes.LittleEndianStructure):
    _fields_ = [("a", ctypes.c_uint16), ("b", ctypes.c_uint8)]


@pytest.mark.parametrize(
    ("body", "data"),
    [
        (b"abc", b"abc"),
        (b"", b""),
        ("aü☃", "aü☃".encode()),
        (bytearray(b"abc"), b"abc"),
        (memoryview(b"abcd"), b"abcd"),
        (memoryview(b"abcd")[::2], b"ac"),
        (array.array("I", [1, 2]), array.array("I", [1, 2]).tobytes()),
        (memoryview(array.array("d", [1.5])), array.array("d", [1.5]).tobytes()),
        (memoryview(b"abcdef").cast("B", (2, 3)), b"abcdef"),
        ((ctypes.c_uint32 * 2)(1, 2), bytes((ctypes.c_uint32 * 2)(1, 2))),
        (Struct(1, 2), bytes(Struct(1, 2))),
    ],
)
def test_bytes_in_any_form_are_one_chunk_measured_in_bytes(body: Any, data: bytes):
    """A chunk's len() is what chunked framing announces: items are not bytes."""
    chunks, length = body_to_chunks(body, "POST", 5)
    assert chunks is not None
    (chunk,) = chunks
    assert bytes(chunk) == data
    assert length == len(chunk) == len(data)


def test_files_are_read_block_by_block_and_only_when_asked():
    class Counted(io.BytesIO):
        reads: list[int] = []

        def read(self, size: int | None = -1) -> bytes:
            self.reads.append(size or -1)
            return super().read(size)

    body = Counted(b"abcdefg")
    chunks, length = body_to_chunks(body, "POST", 3)
    assert length is None
    assert body.reads == []
    iterator = iter(chunks or ())
    assert next(iterator) == b"abc"
    assert body.reads == [3]
    assert list(iterator) == [b"def", b"g"]


def test_iterables_are_asked_only_as_far_as_their_chunks():
    seen = []

    def body() -> Iterator[Any]:
        for value in (b"a", "ü", bytearray(b"c")):
            seen.append(value)
            yield value

    chunks, length = body_to_chunks(body(), "POST", 3)
    assert length is None
    assert seen == []
    iterator = iter(chunks or ())
    assert next(iterator) == b"a"
    assert seen == [b"a"]
    assert list(iterator) == [b"\xc3\xbc", b"c"]


def test_text_files_are_sent_as_utf8():
    assert list(body_to_chunks(io.StringIO("aüb☃"), "POST", 2).chunks or ()) == [
        "aü".encode(),
        "b☃".encode(),
    ]
    latin = io.TextIOWrapper(io.BytesIO(b"\xfc"), "latin-1")
    assert list(body_to_chunks(latin, "POST", 9).chunks or ()) == [b"\xc3\xbc"]


def test_a_memory_map_is_a_file():
    with mmap.mmap(-1, 6) as body:
        body.write(b"abcdef")
        body.seek(2)
        assert list(body_to_chunks(body, "POST", 3).chunks or ()) == [b"cde", b"f"]


@given(st.lists(st.one_of(st.binary(max_size=5), st.text(max_size=5)), max_size=9))
def test_what_goes_in_comes_out(values: list[Any]):
    try:
        expected = b"".join(v.encode() if isinstance(v, str) else v for v in values)
    except UnicodeEncodeError:
        return
    assert b"".join(body_to_chunks(values, "POST", 5).chunks or ()) == expected


@pytest.mark.parametrize("value", [5, 1.5, object(), True])
def test_what_is_no_body_is_a_type_error(value: Any):
    with pytest.raises(TypeError, match="'body' must be a bytes-like object, file-like object, or"):
        body_to_chunks(value, "POST", 5)


@pytest.mark.parametrize("value", [1, None, 1.5, [b"x"], {"a": 1}])
def test_what_is_no_chunk_is_a_type_error(value: Any):
    chunks = body_to_chunks([b"ok", value], "POST", 5).chunks
    iterator = iter(chunks or ())
    assert next(iterator) == b"ok"
    with pytest.raises(
        TypeError,
        match=f"must yield bytes-like objects or str, not {type(value).__name__}",
    ):
        next(iterator)


@pytest.mark.parametrize("value", [1, None, [b"x"]])
def test_what_read_returns_is_checked(value: Any):
    """None means "nothing yet": taking it for the end would cut the body short in silence."""

    class Odd:
        def read(self, size: int) -> Any:
            return value

    with pytest.raises(
        TypeError, match=f"must return bytes-like objects or str, not {type(value).__name__}"
    ):
        list(body_to_chunks(Odd(), "POST", 5).chunks or ())
