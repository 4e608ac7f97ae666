"""Text from outside is made harmless, and figures readable."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from urllib4._cli.text import (
    TextDecoder,
    duration_text,
    encodable,
    indented_json,
    masked_value,
    one_line,
    printable,
    size_text,
)


@given(st.text())
def test_printable_leaves_no_control_character_but_tab_and_newline(text: str) -> None:
    """An escape sequence could move the cursor, or type a command into the shell."""
    shown = printable(text)
    assert not [
        char for char in shown if unicodedata.category(char) in ("Cc", "Cs") and char not in "\n\t"
    ]


@given(st.text(st.characters(blacklist_categories=["C", "Z"])))
def test_printable_does_not_change_ordinary_text(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x9b2J", "\\x9b2J"),  # the same as ESC [ in one character
        ("back\x08space", "back\\x08space"),
        ("exe.\u202etxt", "exe.\\u202etxt"),  # shows the rest from right to left
    ],
)
def test_printable_writes_what_steers_a_terminal_as_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_one_line_is_one_line(text: str) -> None:
    assert len(f"{one_line(text)}.".splitlines()) == 1


def test_encodable_escapes_what_the_terminal_cannot_show() -> None:
    assert encodable("tea: \u8336", "ascii") == "tea: \\u8336"


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("Authorization", "Basic YTpi", "Basic ***"),
        ("authorization", "secret and more", "***"),
        ("Proxy-Authorization", "Bearer x", "Bearer ***"),
        ("Cookie", "Basic x", "***"),
        ("SET-COOKIE", "id=1; Path=/", "***"),
        ("X-Api-Key", "k", "***"),
        ("Accept", "*/*", "*/*"),
    ],
)
def test_secrets_are_masked(name: str, value: str, shown: str) -> None:
    assert masked_value(name, value) == shown


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (3 << 19, "1.5 MiB"),
        (5 << 50, "5120.0 TiB"),
    ],
)
def test_sizes_are_for_people(count: int, text: str) -> None:
    assert size_text(count) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.0004, "0.4 ms"), (1.5, "1.50 s")])
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


_json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(_json_values, st.sampled_from([None, 1]), st.booleans())
def test_indented_json_means_the_same(value: object, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert json.loads(indented_json(text)) == value


def test_indented_json_keeps_digits_and_repeated_names() -> None:
    """Who looks at JSON wants to see what was sent, not what Python makes of it."""
    assert indented_json('{"a":1.10,"a":[],"b":[1e400,{}]}') == (
        '{\n  "a": 1.10,\n  "a": [],\n  "b": [\n    1e400,\n    {}\n  ]\n}'
    )


@pytest.mark.parametrize("text", ["", "{", "{'a': 1}", "[" * 100_000])
def test_indented_json_refuses_what_is_none(text: str) -> None:
    with pytest.raises(ValueError):
        indented_json(text)


@given(
    st.text(st.characters(blacklist_categories=["Cs"])),
    st.sampled_from(["utf-8", "utf-16", "iso-8859-15", "shift_jis"]),
    st.lists(st.integers(0, 40)),
)
def test_decoding_does_not_depend_on_how_the_content_is_cut(
    text: str, charset: str, cuts: list[int]
) -> None:
    content = text.encode(charset, "replace")
    whole = TextDecoder(charset)
    expected = whole.feed(content) + whole.finish()

    decoder, shown = TextDecoder(charset), ""
    for cut in cuts:
        shown += decoder.feed(content[:cut])
        content = content[cut:]
    assert shown + decoder.feed(content) + decoder.finish() == expected
    assert "\r" not in expected  # a bare CR would write over the line


@pytest.mark.parametrize("charset", ["no-such", "hex", "rot13", "idna", "undefined", "\0"])
def test_a_charset_that_is_none_is_read_as_utf8(charset: str) -> None:
    """A server may name anything, also codecs of Python that do not decode text."""
    decoder = TextDecoder(charset)
    assert decoder.feed("caf\u00e9".encode()) + decoder.finish() == "caf\u00e9"


def test_a_byte_order_mark_is_not_shown() -> None:
    decoder = TextDecoder("utf-8")
    assert decoder.feed(b"\xef\xbb\xbftext") + decoder.finish() == "text"
