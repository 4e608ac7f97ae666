"""Conversions between text and bytes, and raising with a traceback."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from urllib4.util.util import reraise, to_bytes, to_str


def test_text_and_bytes_are_converted():
    assert to_bytes("ü") == b"\xc3\xbc"
    assert to_bytes("ü", "latin-1") == b"\xfc"
    assert to_bytes("a☃", "ascii", "ignore") == b"a"
    assert to_bytes(b"\xff") == b"\xff"
    assert to_str(b"\xc3\xbc") == "ü"
    assert to_str(b"\xfc", "latin-1") == "ü"
    assert to_str(b"a\xff", errors="replace") == "a\ufffd"
    assert to_str("ü") == "ü"


@pytest.mark.parametrize("value", [1, None, bytearray(b"x"), memoryview(b"x"), ["x"]])
def test_other_types_are_refused(value: Any):
    for convert in (to_bytes, to_str):
        with pytest.raises(TypeError, match=f"not expecting type {type(value).__name__}"):
            convert(value)


def test_what_a_codec_cannot_express_is_an_error():
    with pytest.raises(UnicodeEncodeError):
        to_bytes("☃", "latin-1")
    with pytest.raises(UnicodeDecodeError):
        to_str(b"\xff")


def test_reraise_raises_with_the_given_traceback():
    error = ValueError("x")
    try:
        raise KeyError
    except KeyError:
        traceback = sys.exc_info()[2]
    with pytest.raises(ValueError, match="x") as caught:
        reraise(ValueError, error, traceback)
    assert caught.value is error
    frames = []
    position = caught.value.__traceback__
    while position is not None:
        frames.append(position)
        position = position.tb_next
    assert traceback in frames


def test_reraise_keeps_the_traceback_without_another():
    error = ValueError("x")
    with pytest.raises(ValueError, match="x") as caught:
        reraise(None, error)
    assert caught.value is error
