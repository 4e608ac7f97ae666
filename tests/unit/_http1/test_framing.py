"""Each rule of RFC 9112, 6.1, 6.3 and 9.3 about the end of a body and of a connection."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from urllib4._collections import HTTPHeaderDict
from urllib4._http1.framing import (
    CHUNKED,
    NO_BODY,
    UNTIL_CLOSE,
    Framing,
    connection_options,
    has_body,
    keeps_alive,
    parse_length,
    plain_length,
    response_framing,
)
from urllib4._http1.head import ResponseHead, parse_response_head
from urllib4.exceptions import ProtocolError


def head_of(fields: bytes, status: int = 200, version: int = 11) -> ResponseHead:
    block = b"HTTP/1.%d %d X\r\n%b\r\n" % (version % 10, status, fields)
    return parse_response_head(block)


@pytest.mark.parametrize(
    "fields", [b"", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"]
)
@pytest.mark.parametrize(
    ("method", "status"),
    [("HEAD", 200), ("HEAD", 404), ("GET", 204), ("GET", 304), ("GET", 100), ("GET", 199),
     ("CONNECT", 200), ("CONNECT", 299), (None, 204)],
)  # fmt: skip
def test_some_responses_have_no_body_whatever_their_fields_say(
    method: str | None, status: int, fields: bytes
) -> None:
    """6.3, rules 1 and 2."""
    assert not has_body(method, status)
    assert response_framing(method, head_of(fields, status)) == NO_BODY


@pytest.mark.parametrize(
    ("method", "status"),
    [("GET", 200), ("POST", 205), ("GET", 404), ("CONNECT", 407), ("CONNECT", 302), (None, 200)],
)
def test_all_others_have_one(method: str | None, status: int) -> None:
    assert has_body(method, status)
    assert response_framing(method, head_of(b"Content-Length: 5\r\n", status)).length == 5


@pytest.mark.parametrize(
    ("fields", "framing"),
    [
        (b"", UNTIL_CLOSE),  # rule 8
        (b"Content-Length: 0\r\n", NO_BODY),
        (b"Content-Length: 42\r\n", Framing("length", 42)),
        (b"Content-Length: 042\r\n", Framing("length", 42)),
        (b"Content-Length: 999999999999999999\r\n", Framing("length", 10**18 - 1)),
        # RFC 9110, 8.6: a list of equal numbers, or the field repeated
        (b"Content-Length: 42, 42\r\n", Framing("length", 42)),
        (b"Content-Length: 42\r\nContent-Length: 42\r\n", Framing("length", 42)),
        (b"Content-Length: 42\r\ncontent-length: 42 ,042\r\n", Framing("length", 42)),
        (b"Transfer-Encoding: chunked\r\n", CHUNKED),
        (b"transfer-encoding:  CHUNKED \r\n", CHUNKED),
    ],
)
def test_the_fields_tell_where_the_body_ends(fields: bytes, framing: Framing) -> None:
    assert response_framing("GET", head_of(fields)) == framing


@pytest.mark.parametrize(
    "value",
    [
        "-5", "+5", "5_0", "0x5", "5.0", "5e1", "5;x", "five", "", ",", "5,", ",5", "5 6", "5\t6",
        "٣", "²", "9" * 19, "9" * 5000, "5, -5", "5, 6", "inf", "\x0b5", "5\x0b", "5\xa0",
    ],
)  # fmt: skip
def test_a_length_that_is_not_one_number_is_refused(value: str) -> None:
    """6.3, rule 5.  ``int()`` would take half of these."""
    with pytest.raises(ProtocolError, match="Content-Length"):
        parse_length([value])


def test_lengths_that_differ_are_refused() -> None:
    fields = b"Content-Length: 5\r\nContent-Length: 6\r\n"
    with pytest.raises(ProtocolError, match="conflicting Content-Length"):
        response_framing("GET", head_of(fields))


def test_an_error_about_a_length_is_short() -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_length(["1" * 100_000])
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "value",
    [
        b"gzip", b"gzip, chunked", b"chunked, gzip", b"chunked, chunked", b"identity", b"",
        b"chunked;q=1", b"x-chunked", b"chunk ed", b"\x0bchunked", b"chunked\x0b", b'"chunked"',
    ],
)  # fmt: skip
def test_any_transfer_coding_but_one_chunked_is_refused(value: bytes) -> None:
    """6.1: we never send TE, so nothing else may come."""
    with pytest.raises(ProtocolError, match="unsupported Transfer-Encoding"):
        response_framing("GET", head_of(b"Transfer-Encoding: " + value + b"\r\n"))


def test_chunked_twice_is_refused() -> None:
    """6.1: a sender must not apply it twice."""
    fields = b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"
    with pytest.raises(ProtocolError, match="unsupported Transfer-Encoding"):
        response_framing("GET", head_of(fields))


@pytest.mark.parametrize("length", [b"5", b"0", b"nonsense"])
def test_a_length_beside_a_transfer_coding_is_refused(length: bytes) -> None:
    """6.1 and 11.1: whoever believed the other one would see another next response."""
    fields = b"Transfer-Encoding: chunked\r\nContent-Length: " + length + b"\r\n"
    with pytest.raises(ProtocolError, match="both Transfer-Encoding and Content-Length"):
        response_framing("GET", head_of(fields))


@given(st.text(max_size=8))
def test_any_text_is_a_length_or_an_error_of_ours(text: str) -> None:
    try:
        number = parse_length([text])
    except ProtocolError:
        pass
    else:
        assert {part.strip(" \t").lstrip("0") or "0" for part in text.split(",")} == {str(number)}


@pytest.mark.parametrize(
    ("version", "fields", "kept"),
    [
        (11, b"Content-Length: 5\r\n", True),
        (11, b"Transfer-Encoding: chunked\r\n", True),
        (11, b"Content-Length: 5\r\nConnection: close\r\n", False),
        (11, b"Content-Length: 5\r\nConnection: CLOSE\r\n", False),
        (11, b"Content-Length: 5\r\nConnection: x, close\r\n", False),
        (11, b"Content-Length: 5\r\nConnection: x\r\nConnection: close\r\n", False),
        (11, b"Content-Length: 5\r\nConnection: keep-alive, close\r\n", False),
        (11, b"Content-Length: 5\r\nConnection: closed\r\n", True),
        (11, b"Content-Length: 5\r\nConnection: keep-alive\r\n", True),
        (11, b"Content-Length: 5\r\nProxy-Connection: close\r\n", True),
        (11, b"", False),  # until close
        (11, b"Connection: keep-alive\r\n", False),
        (10, b"Content-Length: 5\r\n", False),
        (10, b"Content-Length: 5\r\nConnection: keep-alive\r\n", True),
        (10, b"Content-Length: 5\r\nConnection: Keep-Alive\r\n", True),
        (10, b"Content-Length: 5\r\nConnection: keep-alive, close\r\n", False),
        # 6.1: a transfer coding of HTTP/1.0 is faulty framing
        (10, b"Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n", False),
    ],
)
def test_a_connection_is_kept_only_if_the_peer_agrees(
    version: int, fields: bytes, kept: bool
) -> None:
    """9.3."""
    head = head_of(fields, version=version)
    assert keeps_alive(head, response_framing("GET", head)) is kept


def test_a_connection_that_changed_its_protocol_is_not_kept() -> None:
    head = head_of(b"Upgrade: websocket\r\n", status=101)
    assert not keeps_alive(head, response_framing("GET", head))


def test_connection_options_are_a_list_without_case() -> None:
    head = head_of(b"Connection: Close ,x\r\nconnection:\tUPGRADE\r\n")
    assert connection_options(head.headers) == {"close", "x", "upgrade"}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive"]),
            st.sampled_from(
                ["0", "5", "05", "+5", "5_0", " 5", "5, 5", "9" * 18, "9" * 19, "٣", "", "chunked",
                 "keep-alive", "Keep-Alive", "KEEP-ALIVE", "close", "Close, x", "upgrade"]
            ),
        ),
        max_size=4,
    ).map(HTTPHeaderDict)
)  # fmt: skip
def test_the_short_look_at_the_fields_says_what_the_whole_rules_say(
    headers: HTTPHeaderDict,
) -> None:
    """Two ways to one decision: where the short one decides, the long one agrees."""
    length = plain_length(headers._container)
    if length is not None:
        head = ResponseHead(11, 200, "OK", headers, ())
        framing = response_framing("GET", head)
        assert framing == Framing("length", length)
        assert keeps_alive(head, framing)


@pytest.mark.parametrize("connection", [b"", b"Connection: keep-alive\r\n"])
def test_the_short_look_is_enough_for_most_answers(connection: bytes) -> None:
    fields = head_of(b"Content-Length: 12\r\nServer: a\r\n" + connection).headers._container
    assert plain_length(fields) == 12
