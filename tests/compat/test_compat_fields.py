"""Multipart bodies and their parts come out as urllib3 writes them, byte by byte."""

from __future__ import annotations

import importlib
import io
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

urllib3 = pytest.importorskip("urllib3")


def _package(name: str) -> Any:
    fields = importlib.import_module(f"{name}.fields")
    filepost = importlib.import_module(f"{name}.filepost")
    return SimpleNamespace(fields=fields, filepost=filepost, RequestField=fields.RequestField)


THEIRS, OURS = _package("urllib3"), _package("urllib4")


def body(fields: Any, boundary: Any = "xx") -> Callable[[Any], object]:
    return lambda package: package.filepost.encode_multipart_formdata(fields, boundary)


def part(*args: Any, **kwargs: Any) -> Callable[[Any], object]:
    def run(package: Any) -> object:
        field = package.RequestField.from_tuples(*args, **kwargs)
        return field._name, field._filename, field.data, field.headers, field.render_headers()

    return run


def parameter(function: str, value: Any) -> Callable[[Any], object]:
    return lambda package: getattr(package.fields, function)("name", value)


def made(headers: Any, *args: Any, **kwargs: Any) -> Callable[[Any], object]:
    def run(package: Any) -> object:
        field = package.RequestField("n", "d", filename="f", headers=headers)
        field.make_multipart(*args, **kwargs)
        return field.headers, field.render_headers()

    return run


def _rfc2231(package: Any) -> object:
    field = package.RequestField.from_tuples(
        "n\xe9", ("f", "d"), header_formatter=package.fields.format_header_param_rfc2231
    )
    return field.render_headers()


def _mixed(package: Any) -> object:
    field = package.RequestField("b", "2", headers={"X": "1"})
    return package.filepost.encode_multipart_formdata([("a", "1"), field], "xx")


CASES: dict[str, Callable[[Any], object]] = {
    **{
        f"guess {name}": (lambda package, name=name: package.fields.guess_content_type(name))
        for name in ("a.txt", "a.tar.gz", "A.JPG", "none", "", None)
    },
    "guess default": lambda package: package.fields.guess_content_type("none", "d/e"),
    "guess bytes": lambda package: package.fields.guess_content_type(b"a.txt"),
    **{
        f"{function} {value!r}": parameter(function, value)
        for function in (
            "format_multipart_header_param",
            "format_header_param_html5",
            "format_header_param",
            "format_header_param_rfc2231",
        )
        for value in ('v"\r\n\\\xe9', b'v\xc3\xa9"', "plain", "a\0b\x7f%22", "\t", "")
    },
    "parameter of an int": parameter("format_multipart_header_param", 5),
    "parameter not UTF-8": parameter("format_multipart_header_param", b"\xff"),
    "data": part("n", "v"),
    "list is data": part("n", ["f", "d"]),
    "file": part("n", ("f.txt", "d")),
    "file and type": part("n", ("f", "d", "a/b")),
    "file without type": part("n", ("f.txt", "d", None)),
    "no filename": part("n", (None, "d")),
    "empty filename": part("n", ("", "d")),
    "one item": part("n", ("d",)),
    "four items": part("n", ("f", "d", "t", "x")),
    "no name": part(None, "d"),
    "bytes name": part(b"n", "d"),
    "bytes filename": part("n", (b"f.txt", "d")),
    "non-ASCII": part("\xe9", ("\u2603.txt", "d")),
    "rfc2231": _rfc2231,
    "made plain": made(None),
    "made full": made({"X": "1", "Y": ""}, "attachment", "a/b", "/loc"),
    "made over a header": made({"Content-Type": "x/y"}),
    "made over a lower-case header": made({"content-type": "x/y"}, content_type="a/b"),
    "int header": made({"X": 5}),
    "header of two lines": made({"X": "a\r\nb"}),
    "type of two lines": made(None, content_type="a/b\r\nX: y"),
    "unmade": lambda package: package.RequestField("n", "d").render_headers(),
    "parts": lambda package: package.RequestField("n", "d")._render_parts(
        [("a", "b"), ("c", None), ("d", "")]
    ),
    "parts of a mapping": lambda package: package.RequestField("n", "d")._render_parts({"a": "b"}),
    "empty mapping": body({}),
    "empty list": body([]),
    "mapping": body({"a": "1", "b": "2"}),
    "pairs": body([("a", "1"), ["a", "2"]]),
    "mixed": _mixed,
    "int": body({"a": 5}),
    "bool": body({"a": True}),
    "bytes": body({"a": b"\xff\0"}),
    "text": body({"a": "\xe9"}),
    "bytearray": body({"a": bytearray(b"x")}),
    "memoryview": body({"a": memoryview(b"xy")}),
    "key in bytes": body({b"a": "1"}),
    "quoted name": body({'a"\r\n': ("f\r\n", "1")}),
    "file tuple": body({"a": ("f.txt", "d"), "b": ("f.bin", b"d", "x/y")}),
    "None data": body({"a": None}),
    "list data": body({"a": [1]}),
    "float data": body({"a": 1.5}),
    "open file": body({"a": io.BytesIO(b"q")}),
    "fields int": body(5),
    "fields None": body(None),
    "fields of one": body([("a",)]),
    "control character in a name": body({"a\0": "1"}),
    "boundary with spaces": body({"a": "1"}, "!! test boundary !!"),
    "boundary with a quote": body({"a": "1"}, 'a"b'),
    "boundary of two lines": body({"a": "1"}, "a\r\nb"),
    "empty boundary": body({"a": "1"}, ""),
    "boundary with a slash": body({"a": "1"}, "a/b"),
    "boundary in the data": body({"a": "\r\n--xx\r\n"}),
    "boundary in bytes": body({"a": "1"}, b"xx"),
    "chosen boundary": lambda package: len(package.filepost.choose_boundary()),
    "field objects": lambda package: [
        (field._name, field.data)
        for field in package.filepost.iter_field_objects({"a": "1", "b": ("f", "2")})
    ],
    "writer": lambda package: package.filepost.writer.__name__,
}

#: Where we answer otherwise on purpose, and why.
DELIBERATE_DIFFERENCES = {
    "parameter of an int": "a TypeError that says what is allowed, not an AttributeError",
    "parameter not UTF-8": "an InvalidFieldError, which is HTTPError and ValueError",
    "one item": "an InvalidFieldError (a ValueError) that says what is allowed",
    "four items": "an InvalidFieldError (a ValueError) that says what is allowed",
    "no name": "no stray '; ' at the end of the disposition",
    "made over a lower-case header": "one Content-Type, not two that contradict each other",
    "header of two lines": "header injection is refused",
    "type of two lines": "header injection is refused",
    "open file": "an open file is read",
    "control character in a name": "control characters never reach the wire",
    "boundary with a quote": "not a boundary (RFC 2046): no server could read the body",
    "boundary of two lines": "header injection is refused",
    "empty boundary": "not a boundary (RFC 2046): no server could read the body",
    "boundary with a slash": "quoted, as RFC 2045 demands",
    "boundary in the data": "the data would end there",
    "boundary in bytes": "a TypeError; urllib3 writes the repr of the bytes",
}

#: Names of files in bytes work with us everywhere, with urllib3 only where the ``mimetypes`` of
#: the running Python accept them, which its 3.13 began to do.
ONLY_OURS_ON_EACH_PYTHON = {"guess bytes", "bytes filename"}


def outcome(call: Callable[[Any], object], package: Any) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        try:
            return call(package)
        except Exception as error:
            return f"raises {type(error).__name__}"


@pytest.mark.parametrize("name", CASES)
def test_the_same_call_has_the_same_result(name: str) -> None:
    ours, theirs = outcome(CASES[name], OURS), outcome(CASES[name], THEIRS)
    if name in ONLY_OURS_ON_EACH_PYTHON:
        assert ours != "raises TypeError"
        assert theirs in (ours, "raises TypeError")
    elif name in DELIBERATE_DIFFERENCES:
        assert ours != theirs, "no difference any more: remove it from the table"
    else:
        assert ours == theirs


def test_the_table_of_differences_names_cases() -> None:
    assert {*DELIBERATE_DIFFERENCES, *ONLY_OURS_ON_EACH_PYTHON} <= set(CASES)


@pytest.mark.parametrize(
    "call",
    [
        parameter("format_header_param_html5", "v"),
        parameter("format_header_param", "v"),
        parameter("format_header_param_rfc2231", "v"),
        lambda package: package.RequestField("n", "v", header_formatter=str),
    ],
)
def test_what_is_deprecated_there_is_deprecated_here(call: Callable[[Any], object]) -> None:
    for package in (OURS, THEIRS):
        with pytest.warns(FutureWarning):
            call(package)


def test_fields_of_urllib3_can_be_sent() -> None:
    """Programs that mix both packages hand them to us."""
    foreign = THEIRS.RequestField.from_tuples("a", ("f.txt", "1"))
    assert OURS.filepost.encode_multipart_formdata([foreign], "xx") == (
        THEIRS.filepost.encode_multipart_formdata([foreign], "xx")
    )
