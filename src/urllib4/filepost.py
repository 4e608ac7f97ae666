"""Builds ``multipart/form-data`` bodies (RFC 7578, RFC 2046) in memory."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from .exceptions import InvalidFieldError
from .fields import _TYPE_FIELD_VALUE_TUPLE, RequestField

_TYPE_FIELDS_SEQUENCE = Iterable[tuple[str, _TYPE_FIELD_VALUE_TUPLE] | RequestField]
_TYPE_FIELDS = _TYPE_FIELDS_SEQUENCE | Mapping[str, _TYPE_FIELD_VALUE_TUPLE]

#: Stream writer that encodes text as UTF-8.
writer: Any = codecs.lookup("utf-8").streamwriter

# RFC 2046, 5.1.1: 1 to 70 of these, no space at the end.  The characters of a token (RFC 9110,
# 5.6.2) that are missing there are as harmless, and boundaries with ! or # are in use.
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? !#$%&*^`|~-]{0,69}[0-9A-Za-z'()+_,./:=?!#$%&*^`|~-]")
# A parameter with one of these must be quoted (RFC 2045, 5.1; the last three for parsers that know
# RFC 2231).  A space should be as well, but urllib3 sends it bare and servers cope, except at the
# start.
_NEEDS_QUOTES = re.compile(r"^ |[(),/:=?'*%]")


def choose_boundary() -> str:
    """Return a new boundary: 32 random hexadecimal digits, which no data can foresee."""
    return os.urandom(16).hex()


def iter_field_objects(fields: _TYPE_FIELDS) -> Iterator[RequestField]:
    """Iterate over `fields` as :class:`~urllib4.fields.RequestField` objects.

    :param fields: a mapping of names to values, or an iterable that may mix pairs of name and
        value with RequestField objects; see :meth:`~urllib4.fields.RequestField.from_tuples`.
    :raises TypeError: `fields` is neither, or an item of it is neither.
    """
    given: Any = fields  # what the caller passed may be anything
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise TypeError(
            f"fields must be a mapping or an iterable of pairs, not {type(given).__name__}"
        )
    for field in given.items() if isinstance(given, Mapping) else given:
        if callable(getattr(field, "render_headers", None)):
            yield cast(RequestField, field)  # or one of another package: it can do the same
        elif isinstance(field, (tuple, list)) and len(field) in (2, 3):
            yield RequestField.from_tuples(*field)
        else:
            raise TypeError(
                f"a field must be a (name, value) pair or a RequestField, not {_described(field)}"
            )


def encode_multipart_formdata(
    fields: _TYPE_FIELDS, boundary: str | None = None
) -> tuple[bytes, str]:
    """Return the body that carries `fields`, and its Content-Type.

    Everything is built in memory; an open file is read from where it stands.
    :class:`urllib4.multipart.MultipartEncoder` gives the same bytes piece by piece.

    :param fields: see :func:`iter_field_objects`.  Data is str (sent as UTF-8), int, bytes,
        bytearray, memoryview, an open file or the path of one (:class:`os.PathLike`).
    :param boundary: the line between the parts, by default a random one.
    :raises InvalidFieldError: a name, filename or header cannot be written, `boundary` is not one,
        or it occurs in the data.
    :raises TypeError: `fields`, a field or its data has a type that cannot be sent.
    :raises OSError: a file cannot be read.

    >>> encode_multipart_formdata({"a": "1"}, boundary="xx")[1]
    'multipart/form-data; boundary=xx'
    """
    given = boundary is not None
    boundary = _checked_boundary(choose_boundary() if boundary is None else boundary)
    delimiter = f"--{boundary}".encode("ascii")
    pieces: list[bytes] = []
    for field in iter_field_objects(fields):
        name = field._name
        head = _utf8(field.render_headers(), name, "header")
        data = _content(field.data, name)
        if given:
            _refuse_boundary(boundary, name, head, data)
        pieces += (delimiter, b"\r\n", head, data, b"\r\n")
    pieces += (delimiter, b"--\r\n")
    return b"".join(pieces), _content_type(boundary)


def _content_type(boundary: str) -> str:
    shown = f'"{boundary}"' if _NEEDS_QUOTES.search(boundary) else boundary
    return f"multipart/form-data; boundary={shown}"


def _refuse_boundary(boundary: str, name: Any, *parts: bytes) -> None:
    """Raise if a line of one of `parts` starts as the line between the parts does.

    :raises InvalidFieldError: naming the field.
    """
    delimiter = f"--{boundary}".encode("ascii")
    if any(part.startswith(delimiter) or b"\n" + delimiter in part for part in parts):
        raise _boundary_in_data(boundary, name)


def _boundary_in_data(boundary: str, name: Any) -> InvalidFieldError:
    return InvalidFieldError(
        f"the boundary {boundary!r} occurs in the data or header of field {name!r}; leave "
        "the choice to encode_multipart_formdata or take another one"
    )


def _checked_boundary(boundary: Any) -> str:
    if not isinstance(boundary, str):
        raise TypeError(f"a boundary must be str, not {type(boundary).__name__}")
    if not _BOUNDARY.fullmatch(boundary):
        raise InvalidFieldError(
            f"not a boundary: {boundary!r}; allowed are 1 to 70 ASCII letters, digits, spaces "
            "(not at the end) and the characters '()+_,-./:=?!#$%&*^`|~"
        )
    return boundary


def _content(data: Any, name: Any) -> bytes:
    """Return the bytes to send for `data` of the field `name`."""
    if isinstance(data, os.PathLike):
        with open(data, "rb") as file:
            data = file.read()
    elif callable(getattr(data, "read", None)):
        data = data.read()
    elif isinstance(data, int):
        data = str(data)
    if isinstance(data, str):
        return _utf8(data, name, "data")
    try:
        # bytes() alone would take a list of numbers as well.
        return data if isinstance(data, bytes) else memoryview(data).tobytes()
    except TypeError:
        raise TypeError(
            f"the data of field {name!r} must be str, bytes, int, an open file or a path, "
            f"not {type(data).__name__}"
        ) from None


def _utf8(text: str, name: Any, what: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidFieldError(
            f"the {what} of field {name!r} cannot be written as UTF-8: {error.reason}"
        ) from None


def _described(field: object) -> str:
    if isinstance(field, (tuple, list)):
        return f"a {type(field).__name__} of {len(field)} items"
    return type(field).__name__
