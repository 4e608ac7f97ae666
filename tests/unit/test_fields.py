"""urllib4.fields: one part of a multipart body and its header."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from urllib4 import fields
from urllib4.exceptions import HTTPError, InvalidFieldError
from urllib4.fields import RequestField, format_multipart_header_param, guess_content_type

CONTROLS = [chr(code) for code in (*range(32), 127) if chr(code) != "\t"]


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("letter.txt", "text/plain"),
        (b"letter.txt", "text/plain"),
        ("PORTRAIT.JPG", "image/jpeg"),
        ("noextension", "application/octet-stream"),
        ("", "application/octet-stream"),
        (None, "application/octet-stream"),
        (b"\xff.unknown", "application/octet-stream"),
    ],
)
def test_the_type_of_a_file_is_guessed_from_its_name(filename: Any, expected: str) -> None:
    assert guess_content_type(filename) == expected


def test_what_cannot_be_guessed_is_the_default() -> None:
    assert guess_content_type("noextension", "a/b") == "a/b"
    assert guess_content_type(None, "a/b") == "a/b"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", "plain"),
        ('a"b\r\nc', "a%22b%0D%0Ac"),
        ("back\\slash %22 é\t☃", "back\\slash %22 é\t☃"),
        ("é".encode(), "é"),
    ],
)
def test_a_parameter_is_written_as_browsers_do(value: Any, written: str) -> None:
    """HTML standard: only quote, CR and LF are percent-encoded."""
    assert format_multipart_header_param("filename", value) == f'filename="{written}"'


@pytest.mark.parametrize("value", [5, None, ["a"]], ids=repr)
def test_a_parameter_of_another_type_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError, match=f"filename.*not {type(value).__name__}"):
        format_multipart_header_param("filename", value)


def test_a_parameter_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(InvalidFieldError, match="not UTF-8"):
        format_multipart_header_param("name", b"\xff")


@pytest.mark.parametrize(
    ("old", "value", "written"),
    [
        (fields.format_header_param_html5, 'é"', 'name="é%22"'),
        (fields.format_header_param, 'é"', 'name="é%22"'),
        (fields.format_header_param_rfc2231, "plain", 'name="plain"'),
        (fields.format_header_param_rfc2231, "é\\", "name*=utf-8''%C3%A9%5C"),
    ],
)
def test_the_old_formatters_work_and_warn(old: Any, value: str, written: str) -> None:
    with pytest.warns(FutureWarning, match="format_multipart_header_param") as caught:
        assert old("name", value) == written
    assert caught[0].filename == __file__


def test_header_formatter_works_and_warns() -> None:
    def formatter(name: str, value: Any) -> str:
        return f"{name}={value}!"

    with pytest.warns(FutureWarning, match="header_formatter") as caught:
        field = RequestField.from_tuples("n", "v", header_formatter=formatter)
    assert caught[0].filename == __file__
    with pytest.warns(FutureWarning, match="header_formatter") as caught:
        RequestField("n", "v", header_formatter=formatter)
    assert caught[0].filename == __file__
    assert field.headers["Content-Disposition"] == "form-data; name=n!"
    with pytest.raises(TypeError, match="callable, not str"):
        RequestField("n", "v", header_formatter="x")  # type: ignore[arg-type]


def test_no_warning_without_a_header_formatter() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RequestField.from_tuples("n", ("f.txt", "v"))


@pytest.mark.parametrize(
    ("value", "filename", "content_type"),
    [
        ("data", None, None),
        (("f.txt", "data"), "f.txt", "text/plain"),
        (("f.txt", "data", "a/b"), "f.txt", "a/b"),
        (("f.txt", "data", None), "f.txt", None),
        ((None, "data"), None, "application/octet-stream"),
        (("", "data"), "", "application/octet-stream"),
        ((b"f.txt", "data"), b"f.txt", "text/plain"),
    ],
)
def test_what_stands_beside_the_name_makes_the_part(
    value: Any, filename: Any, content_type: str | None
) -> None:
    field = RequestField.from_tuples("n", value)
    assert field.data == "data"
    assert field._filename == filename
    assert field.headers["Content-Type"] == content_type
    assert ("filename=" in str(field.headers["Content-Disposition"])) == (filename is not None)


@pytest.mark.parametrize("value", [("d",), ("f", "d", "t", "x"), ()], ids=repr)
def test_a_tuple_of_another_length_is_refused(value: Any) -> None:
    with pytest.raises(InvalidFieldError, match=f"field 'n'.*{len(value)} items"):
        RequestField.from_tuples("n", value)


def test_make_multipart_writes_what_is_given() -> None:
    field = RequestField("n", "v", filename="f", headers={"X-Mine": "1", "X-Empty": ""})
    field.make_multipart("attachment", "a/b", "/here")
    assert field.render_headers() == (
        'Content-Disposition: attachment; name="n"; filename="f"\r\n'
        "Content-Type: a/b\r\n"
        "Content-Location: /here\r\n"
        "X-Mine: 1\r\n"
        "\r\n"
    )


def test_a_part_without_name_and_filename_has_no_parameters() -> None:
    field = RequestField(None, "v")
    field.make_multipart()
    assert field.render_headers() == "Content-Disposition: form-data\r\n\r\n"


def test_a_part_has_one_content_type() -> None:
    field = RequestField("n", "v", headers={"content-type": "x/y"})
    field.make_multipart(content_type="a/b")
    assert field.render_headers().lower().count("content-type:") == 1


def test_headers_are_copied() -> None:
    given_headers = {"A": "1"}
    RequestField("n", "v", headers=given_headers).make_multipart()
    assert given_headers == {"A": "1"}


def test_subclasses_may_write_parameters_their_own_way() -> None:
    class Own(RequestField):
        def _render_part(self, name: str, value: Any) -> str:
            return f"{name}~{value}"

    assert Own.from_tuples("n", ("f", "v", None)).render_headers() == (
        "Content-Disposition: form-data; name~n; filename~f\r\n\r\n"
    )


def test_render_parts_takes_pairs_and_mappings() -> None:
    field = RequestField("n", "v")
    assert field._render_parts([("a", "b"), ("c", None), ("d", "")]) == 'a="b"; d=""'
    assert field._render_parts({"a": "b", "c": None}) == 'a="b"'


@pytest.mark.parametrize("control", CONTROLS, ids=repr)
def test_no_control_character_gets_into_a_header(control: str) -> None:
    """A line's end in a header would start another header, or the body."""
    text = f"a{control}b"
    attempts: list[Any] = [
        lambda: RequestField("n", "v", headers={"X": text}),
        lambda: RequestField("n", "v", headers={text: "x"}),
        lambda: RequestField("n", "v").make_multipart(content_type=text),
        lambda: RequestField("n", "v").make_multipart(content_disposition=text),
        lambda: RequestField("n", "v").make_multipart(content_location=text),
        lambda: RequestField.from_tuples("n", ("f", "v", text)),
    ]
    if control not in "\r\n":  # which are percent-encoded in parameters
        attempts += [
            lambda: RequestField(text, "v").make_multipart(),
            lambda: RequestField(text.encode(), "v").make_multipart(),
            lambda: RequestField.from_tuples("n", (text, "v")),
        ]
    for attempt in attempts:
        with pytest.raises(InvalidFieldError, match="control character") as caught:
            attempt()
        assert isinstance(caught.value, (ValueError, HTTPError))


@pytest.mark.parametrize("control", CONTROLS, ids=repr)
def test_a_header_set_later_is_checked_when_written(control: str) -> None:
    field = RequestField("n", "v")
    field.headers["X"] = f"a{control}b"
    with pytest.raises(InvalidFieldError, match=r"'X'.*control character"):
        field.render_headers()


@given(st.text(), st.text())
def test_a_header_is_as_many_lines_as_it_has_fields_or_refused(name: str, filename: str) -> None:
    try:
        written = RequestField.from_tuples(name, (filename, "v")).render_headers()
    except InvalidFieldError:
        assert any(control in name + filename for control in CONTROLS)
        return
    assert written.count("\r\n") == written.count("\r") == written.count("\n") == 3
    assert written.endswith("\r\n\r\n")
