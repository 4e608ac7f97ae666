"""Questions about the standard library's response objects."""

from __future__ import annotations

import http.client
import io
from types import SimpleNamespace
from typing import Any

import pytest

from urllib4.exceptions import HeaderParsingError
from urllib4.util.response import assert_header_parsing, is_fp_closed, is_response_to_head


def parsed(head: bytes) -> http.client.HTTPMessage:
    return http.client.parse_headers(io.BytesIO(head))


def test_isclosed_is_asked_before_closed_before_fp():
    """The standard library's responses are open files until the end, and after it."""
    assert is_fp_closed(SimpleNamespace(isclosed=lambda: True, closed=False, fp=1))
    assert not is_fp_closed(SimpleNamespace(isclosed=lambda: False, closed=True, fp=None))
    assert is_fp_closed(SimpleNamespace(closed=True, fp=1))
    assert not is_fp_closed(SimpleNamespace(closed=False, fp=None))
    assert is_fp_closed(SimpleNamespace(fp=None))
    assert not is_fp_closed(SimpleNamespace(fp=1))


def test_a_real_file_can_be_asked():
    file = io.BytesIO()
    assert is_fp_closed(file) is False
    file.close()
    assert is_fp_closed(file) is True


@pytest.mark.parametrize("value", [None, 1, object()])
def test_something_else_cannot_be_closed(value: Any):
    with pytest.raises(ValueError, match="Unable to determine whether fp is closed"):
        is_fp_closed(value)


@pytest.mark.parametrize(
    "head",
    [
        b"\r\n",
        b"A: b\r\n\r\n",
        b"A: b\r\n folded\r\n\r\n",
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n",
        b"Content-Type: message/rfc822\r\n\r\n",
    ],
)
def test_heads_without_defects_pass(head: bytes):
    assert_header_parsing(parsed(head))


@pytest.mark.parametrize(
    ("head", "unparsed"),
    [
        (b" A: b\r\n\r\n", None),
        (b": x\r\nC: d\r\n\r\n", None),
        (b"A: b\r\nnonsense\r\nC: d\r\n\r\n", "nonsense\r\nC: d\r\n\r\n"),
    ],
)
def test_defects_are_raised_with_what_was_not_understood(head: bytes, unparsed: str | None):
    with pytest.raises(HeaderParsingError) as caught:
        assert_header_parsing(parsed(head))
    assert caught.value.defects
    assert (caught.value.unparsed_data or None) == unparsed


@pytest.mark.parametrize("value", [{}, None, [], "A: b"])
def test_only_the_standard_librarys_messages_are_judged(value: Any):
    with pytest.raises(TypeError, match=r"expected httplib\.Message, got"):
        assert_header_parsing(value)


def test_an_answer_to_head_is_recognised_in_any_case():
    for method, expected in (("HEAD", True), ("head", True), ("GET", False)):
        response: Any = SimpleNamespace(_method=method)
        assert is_response_to_head(response) is expected
