"""Each rule of RFC 9112 (2 to 5) and RFC 9110 (5) about start lines and fields is a row here."""

from __future__ import annotations

from contextlib import suppress
from http.client import BadStatusLine, HTTPException

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from urllib4._collections import HTTPHeaderDict
from urllib4._http1 import head
from urllib4._http1.head import (
    MAX_HEAD_LINES,
    check_method,
    check_target,
    encode_target,
    field_line,
    header_items,
    parse_fields,
    parse_response_head,
)
from urllib4.exceptions import (
    InvalidMethodError,
    InvalidRequestHeaderError,
    InvalidTargetError,
    ProtocolError,
)

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture(autouse=True)
def fresh_memos(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test starts without remembered lines, and leaves none."""
    monkeypatch.setattr(head, "_memo", head._LineMemo())
    monkeypatch.setattr(head, "_line_memo", {})


def fields_of(lines: bytes) -> list[tuple[str, str]]:
    return list(parse_response_head(OK + lines + b"\r\n").headers.iteritems())


# -- the status line (RFC 9112, 4) -------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "version", "status", "reason"),
    [
        (b"HTTP/1.1 200 OK", 11, 200, "OK"),
        (b"HTTP/1.0 404 Not Found", 10, 404, "Not Found"),
        (b"HTTP/1.2 200 OK", 11, 200, "OK"),  # RFC 9110, 2.5: as the highest that we know
        (b"HTTP/1.9 200 OK", 11, 200, "OK"),
        (b"HTTP/1.1 200 ", 11, 200, ""),
        (b"HTTP/1.1 200", 11, 200, ""),  # many servers leave the space out
        (b"HTTP/1.1 200 a\tb  c ", 11, 200, "a\tb  c"),
        (b"HTTP/1.1 200 gr\xfc\xdf", 11, 200, "grüß"),
        (b"HTTP/1.1 999 X", 11, 999, "X"),
        (b"HTTP/1.1 100 Continue", 11, 100, "Continue"),
    ],
)
def test_a_status_line_is_version_status_and_reason(
    line: bytes, version: int, status: int, reason: str
) -> None:
    parsed = parse_response_head(line + b"\r\n\r\n")
    assert (parsed.version, parsed.status, parsed.reason) == (version, status, reason)
    assert len(parsed.headers) == 0
    assert parsed.defects == ()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"200 OK",
        b"HTTP/2 200 OK",
        b"HTTP/2.0 200 OK",
        b"HTTP/0.9 200 OK",
        b"HTTP/1 200 OK",
        b"HTTP/1. 200 OK",
        b"HTTP/1.1x 200 OK",
        b"HTTP/1.10 200 OK",
        b"http/1.1 200 OK",
        b"HTTPS/1.1 200 OK",
        b" HTTP/1.1 200 OK",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1\t200 OK",
        b"HTTP/1.1 +200 OK",
        b"HTTP/1.1 2_00 OK",
        b"HTTP/1.1 -20 OK",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 099 OK",
        b"HTTP/1.1 000 OK",
        b"HTTP/1.1 200OK",
        b"HTTP/1.1 2\xb20 OK",
        b"HTTP/1.1 \xd9\xa2\xd9\xa0\xd9\xa0 OK",  # digits, but not ASCII ones
        b"HTTP/1.1 two OK",
        b"HTTP/1.1",
        b"<html>",
        b"Content-Length: 5",
        b"GET / HTTP/1.1",
        b"\x16\x03\x01",
    ],
)
def test_anything_else_as_first_line_is_no_answer(line: bytes) -> None:
    with pytest.raises(BadStatusLine):
        parse_response_head(line + b"\r\n\r\n")


def test_the_error_for_a_bad_status_line_shows_only_its_start() -> None:
    with pytest.raises(BadStatusLine) as caught:
        parse_response_head(b"x" * 100_000 + b"\r\n\r\n")
    assert len(str(caught.value)) < 300


# -- field lines (RFC 9112, 5) -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "fields"),
    [
        (b"A: b\r\n", [("A", "b")]),
        (b"A:b\r\n", [("A", "b")]),
        (b"A: \t b \t \r\n", [("A", "b")]),
        (b"A:\r\n", [("A", "")]),
        (b"A: \r\n", [("A", "")]),
        (b"A: b: c\r\n", [("A", "b: c")]),
        (b"A: b\xe9\r\n", [("A", "bé")]),
        (b"A: b\x01c\x7f\r\n", [("A", "b\x01c\x7f")]),  # useless, but nobody ends a line there
        (b"A: b\x0bc\x0cd\x85e\r\n", [("A", "b\x0bc\x0cd\x85e")]),  # no line ends to HTTP
        (b"!#$%&'*+-.^_`|~09azAZ: b\r\n", [("!#$%&'*+-.^_`|~09azAZ", "b")]),
        (b"A: 1\r\nB: 2\r\na: 3\r\n", [("A", "1"), ("A", "3"), ("B", "2")]),
        # RFC 9112, 2.2: a bare LF may be taken as the end of a line
        (b"A: b\nC: d\r\n", [("A", "b"), ("C", "d")]),
        # 5.2: a folded line is one with a space
        (b"A: b\r\n  c\r\n", [("A", "b c")]),
        (b"A: b\r\n\tc \r\n", [("A", "b c")]),
        (b"A:\r\n b\r\n c\r\n", [("A", "b c")]),
        (b"A: b\r\n \r\nC: d\r\n", [("A", "b"), ("C", "d")]),
        (b"A: b\r\n c: d\r\n", [("A", "b c: d")]),  # not a field of its own
        (b"A: 1\r\nA: 2\r\n 3\r\n", [("A", "1"), ("A", "2 3")]),
    ],
)
def test_fields_are_names_and_trimmed_values(lines: bytes, fields: list[tuple[str, str]]) -> None:
    assert fields_of(lines) == fields
    assert fields_of(lines) == fields  # from the memo, where there is one
    assert list(parse_fields(lines + b"\r\n").iteritems()) == fields


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (b"A : b\r\n", "invalid header name"),  # 5.1: white space before the colon
        (b"A\t: b\r\n", "invalid header name"),
        (b"A B: c\r\n", "invalid header name"),
        (b"A\x0b: c\r\n", "invalid header name"),
        (b"(A): c\r\n", "invalid header name"),
        (b"\xe9: c\r\n", "invalid header name"),
        (b"A/B: c\r\n", "invalid header name"),
        (b"A: b\rC: d\r\n", "bare CR"),  # 2.2: a field out of nothing
        (b"A: b\r\r\n", "bare CR"),
        (b"\rA: b\r\n", "bare CR"),
        (b"A: b\r \r\n", "bare CR"),
        (b"A: b\0c\r\n", "NUL"),
        (b"A\0: b\r\n", "NUL"),
        (b"A: \0\n", "NUL"),
        (b" A: b\r\n", "white space before the first"),  # 2.2: would be read differently
        (b"\tA: b\r\n", "white space before the first"),
    ],
)
def test_lines_that_others_read_differently_are_refused(lines: bytes, reason: str) -> None:
    """Response splitting (RFC 9112, 11.1) lives on such differences."""
    with pytest.raises(ProtocolError, match=reason):
        fields_of(lines)
    with pytest.raises(ProtocolError, match=reason):
        parse_fields(lines + b"\r\n")


@pytest.mark.parametrize("line", [b"HTTP/1.1 200 O\rK", b"HTTP/1.1 200 O\0K", b"HTTP/1.1 200 \r"])
def test_a_status_line_holds_no_cr_and_no_nul(line: bytes) -> None:
    with pytest.raises(ProtocolError, match=r"bare CR|NUL"):
        parse_response_head(line + b"\r\n\r\n")


@pytest.mark.parametrize("line", [b"no colon here", b": no name", b"-----"])
def test_a_line_that_is_no_field_is_left_out_and_told(line: bytes) -> None:
    """Go and curl refuse those; a warning is what callers of urllib3 know."""
    parsed = parse_response_head(OK + b"A: b\r\n" + line + b"\r\n folded\r\nC: d\r\n\r\n")
    assert list(parsed.headers.iteritems()) == [("A", "b"), ("C", "d")]
    assert len(parsed.defects) == 1


@pytest.mark.parametrize(
    "line", [b"Set-Cookie : id=secret", b"Set-Cookie: secret\rX: y", b": secret", b"A B: secret"]
)
def test_what_is_said_about_a_bad_line_holds_no_value(line: bytes) -> None:
    try:
        told = repr(parse_response_head(OK + line + b"\r\n\r\n").defects)
    except ProtocolError as error:
        told = str(error)
    assert len(told) > 3
    assert "secret" not in told


def test_the_number_of_lines_is_bounded() -> None:
    lines = b"A: b\r\n" * (MAX_HEAD_LINES - 1)
    assert len(fields_of(lines)) == MAX_HEAD_LINES - 1
    with pytest.raises(ProtocolError, match=f"more than {MAX_HEAD_LINES} header lines"):
        fields_of(lines + b"A: b\r\n")
    with pytest.raises(ProtocolError, match="header lines"):
        parse_fields(b"A: b\n" * (MAX_HEAD_LINES + 1) + b"\r\n")


LINES = st.lists(
    st.one_of(
        st.sampled_from([b"HTTP/1.1 200 OK", b"A: b", b" folded", b"no colon", b"Server: x"]),
        st.binary(max_size=12),
    ),
    max_size=6,
)


@given(lines=LINES, end=st.sampled_from([b"\r\n", b"\n", b"\r"]), tail=st.binary(max_size=4))
@example(lines=[], end=b"\n", tail=b"")
def test_any_bytes_are_a_head_or_an_error_of_ours(
    lines: list[bytes], end: bytes, tail: bytes
) -> None:
    block = end.join(lines) + tail
    for parse in (parse_response_head, parse_fields):
        for data in (block, block + b"\r\n\r\n"):
            with suppress(ProtocolError, HTTPException):
                parse(data)


NAMES = st.from_regex(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}", fullmatch=True)
CONTROLS = "".join(map(chr, [*range(9), *range(10, 32), 127]))
VALUES = st.text(st.characters(max_codepoint=255, exclude_characters=CONTROLS), max_size=20).map(
    lambda text: text.strip(" \t")
)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=8))
def test_what_is_written_is_read_back(fields: list[tuple[str, str]]) -> None:
    block = OK + b"".join(field_line(name, value) for name, value in fields) + b"\r\n"
    expected = HTTPHeaderDict()
    for name, value in fields:
        expected.add(name, value)
    assert list(parse_response_head(block).headers.iteritems()) == list(expected.iteritems())


# -- remembered lines --------------------------------------------------------------------------


def test_remembered_lines_are_bounded() -> None:
    """A server that sends a new date each time must not fill the memory."""
    for number in range(3 * head._MEMO_MAX_LINES):
        fields_of(b"Date: %d\r\n" % number)
        field_line("User-Agent", str(number))
        assert len(head._memo) <= head._MEMO_MAX_LINES
        assert len(head._line_memo) <= head._MEMO_MAX_LINES
    fields_of(b"Server: " + b"x" * 1000 + b"\r\n")
    field_line("User-Agent", "x" * 1000)
    assert max(map(len, head._memo)) <= head._MEMO_MAX_LINE
    assert max(map(len, head._line_memo.values())) <= head._MEMO_MAX_LINE


SECRETS = [
    "Set-Cookie", "Cookie", "Authorization", "Proxy-Authorization", "WWW-Authenticate",
    "Authentication-Info", "X-Api-Key", "Location", "X-Amz-Security-Token",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRETS)
def test_no_secret_is_remembered(name: str) -> None:
    fields_of(name.encode() + b": hunter2\r\n")
    field_line(name, "hunter2")
    field_line(name.lower(), "hunter2")
    assert "hunter2" not in repr((head._memo, head._line_memo))


def test_a_remembered_line_is_not_changed_by_what_follows_it() -> None:
    assert fields_of(b"Server: a\r\n b\r\n") == [("Server", "a b")]
    assert fields_of(b"Server: a\r\n") == [("Server", "a")]
    parsed = parse_response_head(OK + b"Server: a\r\n\r\n").headers
    parsed.add("Server", "other", combine=True)
    assert fields_of(b"Server: a\r\n") == [("Server", "a")]


# -- requests ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "get", "M-SEARCH", "!#$%&'*+-.^_`|~1"])
def test_a_method_is_a_token(method: str) -> None:
    check_method(method)


@pytest.mark.parametrize("method", ["", "G ET", "GET\r\n", "GET\r\nX: y", "GÉT", "GET/", "a:b"])
def test_anything_else_is_no_method(method: str) -> None:
    """CVE-2020-26137."""
    with pytest.raises(InvalidMethodError, match="non-token characters") as caught:
        check_method(method)
    assert repr(method) in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("method", [None, b"GET", 5])
def test_a_method_is_a_str(method: object) -> None:
    with pytest.raises(TypeError, match="method must be a str"):
        check_method(method)  # type: ignore[arg-type]


@pytest.mark.parametrize("char", [*map(chr, range(0x21)), "\x7f"])
def test_a_target_holds_no_white_space_and_no_control_characters(char: str) -> None:
    """CVE-2019-9740."""
    with pytest.raises(InvalidTargetError, match="control characters"):
        check_target(f"/a{char}b")


def test_a_target_is_ascii() -> None:
    assert encode_target("/a?b=%C3%A9") == b"/a?b=%C3%A9"
    with pytest.raises(InvalidTargetError, match="percent-encode"):
        encode_target("/é")


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("A", "b", b"A: b\r\n"),
        (b"A", b"b", b"A: b\r\n"),
        ("A", b"\xc3\xa9", b"A: \xc3\xa9\r\n"),
        ("A", "é", b"A: \xe9\r\n"),
        ("A", 5, b"A: 5\r\n"),
        ("A", "", b"A: \r\n"),
        ("A", "b\tc", b"A: b\tc\r\n"),
    ],
)
def test_a_field_line_is_written_whole(name: str, value: str, line: bytes) -> None:
    assert field_line(name, value) == line
    assert field_line(name, value) == line


@pytest.mark.parametrize("name", ["", "A B", "A:", "A\r\nB", "A\n", "é", b"\xe9", b"A\0", "A\t"])
def test_a_field_name_is_a_token(name: str) -> None:
    with pytest.raises(InvalidRequestHeaderError, match="Invalid header name"):
        field_line(name, "b")


@pytest.mark.parametrize("value", ["a\rb", "a\nb", "a\r\nb: c", "\0", b"a\r\n b", "a\r\n b"])
def test_a_field_value_ends_no_line_and_is_not_shown(value: str) -> None:
    with pytest.raises(InvalidRequestHeaderError, match="control characters") as caught:
        field_line("X-Key", value)
    assert "'X-Key'" in str(caught.value)
    assert repr(value) not in str(caught.value)


def test_a_value_beyond_latin_1_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(InvalidRequestHeaderError, match="beyond latin-1"):
        field_line("A", "€")


@pytest.mark.parametrize("value", [None, 1.5, ["a"]])
def test_a_value_of_another_type_is_a_type_error(value: object) -> None:
    with pytest.raises(TypeError, match="value of header 'A' must be str, bytes or int"):
        field_line("A", value)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="header names must be str or bytes"):
        field_line(5, "a")  # type: ignore[arg-type]


def test_headers_come_from_any_source_line_by_line() -> None:
    several = HTTPHeaderDict()
    several.add("A", "1")
    several.add("A", "2")
    assert list(header_items(several)) == [("A", "1"), ("A", "2")]
    assert list(header_items({"A": "1"})) == [("A", "1")]
    assert list(header_items([("A", "1"), ("A", "2")])) == [("A", "1"), ("A", "2")]


def test_memos_share_no_name_list_with_secrets() -> None:
    names = {name.lower() for name in SECRETS}
    assert names.isdisjoint(head._MEMO_NAMES | head._LINE_MEMO_NAMES)


def test_what_is_remembered_is_shared_but_never_changed() -> None:
    """Heads share the parsed form of equal lines; who changes one changes his own only."""
    block = OK + b"Server: a\r\nVary: b\r\nVary: c\r\n\r\n"
    parse_response_head(block)
    first, second = parse_response_head(block).headers, parse_response_head(block).headers
    first.add("Server", "more")
    first.add("Vary", "d", combine=True)
    first["Vary"] = first["Vary"] + "e"
    first.setdefault("Server", "x")
    copied = second.copy()
    copied.add("Server", "copied")
    copied.extend(second)
    assert list(second.iteritems()) == [("Server", "a"), ("Vary", "b"), ("Vary", "c")]
    assert list(parse_response_head(block).headers.iteritems()) == list(second.iteritems())
    got = second.getlist("Server")
    got.append("x")
    assert second.getlist("Server") == ["a"]
