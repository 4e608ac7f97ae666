"""One part of a ``multipart/form-data`` body: its name, its data and its header (RFC 7578).

Parameters are written the way browsers do (HTML standard, "multipart/form-data encoding
algorithm"): UTF-8, with ``"``, CR and LF percent-encoded.  No other control character than a tab
ever gets into a part's header, wherever it came from: it could end the line that it stands on.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .exceptions import InvalidFieldError

if TYPE_CHECKING:
    from typing_extensions import Self

_TYPE_FIELD_VALUE = str | bytes
_TYPE_FIELD_VALUE_TUPLE = (
    _TYPE_FIELD_VALUE | tuple[str, _TYPE_FIELD_VALUE] | tuple[str, _TYPE_FIELD_VALUE, str]
)

_PERCENT_ENCODED = {ord('"'): "%22", ord("\r"): "%0D", ord("\n"): "%0A"}
_CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# RFC 9110, 5.6.2: with anything else the line reads as another field, or as none.
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_MULTIPART_HEADERS = ("Content-Disposition", "Content-Type", "Content-Location")


def guess_content_type(
    filename: str | bytes | None, default: str = "application/octet-stream"
) -> str:
    """Return the media type that the name of a file suggests, or `default`.

    >>> guess_content_type("letter.txt")
    'text/plain'
    """
    if not filename:
        return default
    name = filename.decode("utf-8", "replace") if isinstance(filename, bytes) else filename
    import mimetypes  # for forms with files only

    return mimetypes.guess_type(name)[0] or default


def format_multipart_header_param(name: str, value: _TYPE_FIELD_VALUE) -> str:
    """Return ``name="value"`` with ``"``, CR and LF of the value percent-encoded.

    :param value: text, or its UTF-8 bytes.
    :raises TypeError: `value` is neither.
    :raises InvalidFieldError: `value` is bytes that are not UTF-8.

    >>> format_multipart_header_param("filename", 'the "best".txt')
    'filename="the %22best%22.txt"'
    """
    return f'{name}="{_text(name, value).translate(_PERCENT_ENCODED)}"'


def format_header_param_html5(name: str, value: _TYPE_FIELD_VALUE) -> str:
    """Deprecated name of :func:`format_multipart_header_param`."""
    _warn_of_formatter("format_header_param_html5")
    return format_multipart_header_param(name, value)


def format_header_param(name: str, value: _TYPE_FIELD_VALUE) -> str:
    """Deprecated name of :func:`format_multipart_header_param`."""
    _warn_of_formatter("format_header_param")
    return format_multipart_header_param(name, value)


def format_header_param_rfc2231(name: str, value: _TYPE_FIELD_VALUE) -> str:
    """Return ``name="value"``, or ``name*=utf-8''...`` (RFC 2231) where quoting is not enough.

    Deprecated: RFC 7578, section 4.2, forbids this form in ``multipart/form-data``.
    """
    _warn_of_formatter("format_header_param_rfc2231")
    text = _text(name, value)
    if text.isascii() and not any(character in text for character in '"\\\r\n'):
        return f'{name}="{text}"'
    return f"{name}*=utf-8''{quote(text, safe='')}"


class RequestField:
    """One part: its data and its header.

    The life cycle is: construct it, let :meth:`make_multipart` fill in the header (or
    :meth:`from_tuples` do both), and hand it to
    :func:`~urllib4.filepost.encode_multipart_formdata`.

    :param name: name of the form's field; None leaves it out.
    :param data: str (sent as UTF-8), int (as its digits), bytes, bytearray or memoryview, or an
        open file, which is read when the body is built.
    :param filename: name of the file that the data comes from; None leaves it out.
    :param headers: header of this part; copied.
    :param header_formatter: deprecated; a function that writes one parameter.
    :raises InvalidFieldError: a header has a control character, or a name that is none.

    Not synchronized; usually made for one request.
    """

    def __init__(
        self,
        name: str | bytes | None,
        data: Any,
        filename: str | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        header_formatter: Callable[[str, _TYPE_FIELD_VALUE], str] | None = None,
    ) -> None:
        self._name = name
        self._filename = filename
        #: The content of the part.
        self.data = data
        #: Header of the part; a header without a value (None or empty) is not written.
        self.headers: dict[str, str | None] = dict(headers) if headers else {}
        for header, value in self.headers.items():
            _checked_header(header, value)
        #: Writes one parameter of the Content-Disposition.
        self.header_formatter: Callable[[str, _TYPE_FIELD_VALUE], str] = (
            format_multipart_header_param
        )
        if header_formatter is not None:
            _warn_of_header_formatter(header_formatter)
            self.header_formatter = header_formatter

    @classmethod
    def from_tuples(
        cls,
        fieldname: str | bytes | None,
        value: Any,
        header_formatter: Callable[[str, _TYPE_FIELD_VALUE], str] | None = None,
    ) -> Self:
        """Make a part out of what a caller writes beside a field's name.

        :param value: the data, or ``(filename, data)``, whose type is guessed from the name, or
            ``(filename, data, content_type)``; a content type of None writes none.  The data of
            an :class:`os.PathLike` without a filename is called as the file is.
        :raises InvalidFieldError: the tuple has another length, or a control character.

        >>> part = RequestField.from_tuples("portrait", ("me.jpg", b"..."))
        >>> part.headers["Content-Type"]
        'image/jpeg'
        """
        filename, data, content_type = None, value, None
        if isinstance(value, tuple):
            if len(value) == 3:
                filename, data, content_type = value
            elif len(value) == 2:
                filename, data = value
                content_type = guess_content_type(filename)
            else:
                raise InvalidFieldError(
                    f"the tuple of field {fieldname!r} must be (filename, data) or "
                    f"(filename, data, content_type); it has {len(value)} items"
                )
        elif isinstance(value, os.PathLike):
            filename = os.path.basename(os.fsdecode(value))
            content_type = guess_content_type(filename)
        field = cls(fieldname, data, filename=filename)
        if header_formatter is not None:
            _warn_of_header_formatter(header_formatter)
            field.header_formatter = header_formatter
        field.make_multipart(content_type=content_type)
        return field

    def make_multipart(
        self,
        content_disposition: str | None = None,
        content_type: str | None = None,
        content_location: str | None = None,
    ) -> None:
        """Set the three headers that make this a part of a multipart body.

        :param content_disposition: the disposition's type, by default ``form-data``; name and
            filename are appended to it.
        :param content_type: media type, or None to write none.
        :param content_location: URL of the data, or None to write none.
        :raises InvalidFieldError: a control character in one of them, in the name or the filename.
        """
        parameters = self._render_parts([("name", self._name), ("filename", self._filename)])
        disposition = content_disposition or "form-data"
        if parameters:
            disposition = f"{disposition}; {parameters}"
        for header, value in zip(
            _MULTIPART_HEADERS, (disposition, content_type, content_location), strict=True
        ):
            _checked_header(header, value)
            if value:  # two Content-Type lines of different spelling would contradict each other
                for other in [name for name in self.headers if name.lower() == header.lower()]:
                    del self.headers[other]
            self.headers[header] = value

    def render_headers(self) -> str:
        """Return the header as text: CRLF after each line, and an empty line at the end.

        :raises InvalidFieldError: a name or value has a control character.
        """
        names = [name for name in _MULTIPART_HEADERS if self.headers.get(name)]
        names += [
            name for name, value in self.headers.items() if value and name not in _MULTIPART_HEADERS
        ]
        lines = [_checked_header(name, self.headers[name]) for name in names]
        return "\r\n".join([*lines, "", ""])

    def _render_part(self, name: str, value: _TYPE_FIELD_VALUE) -> str:
        """Return one parameter; subclasses may override it."""
        return self.header_formatter(name, value)

    def _render_parts(
        self,
        header_parts: Mapping[str, _TYPE_FIELD_VALUE | None]
        | Iterable[tuple[str, _TYPE_FIELD_VALUE | None]],
    ) -> str:
        """Return all parameters that have a value, joined by ``"; "``; may be overridden."""
        parts = header_parts.items() if isinstance(header_parts, Mapping) else header_parts
        return "; ".join(
            self._render_part(name, value) for name, value in parts if value is not None
        )


def _text(name: str, value: Any) -> str:
    """Return the text of the parameter `name`."""
    if isinstance(value, str):
        return value
    if not isinstance(value, bytes):
        raise TypeError(f"the {name} of a field must be str or bytes, not {type(value).__name__}")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidFieldError(f"the {name} of a field is not UTF-8: {value!r}") from None


def _checked_header(name: Any, value: Any) -> str:
    """Return the header's line, after making sure that it is one line."""
    line = ": ".join(
        _text("header", part) if isinstance(part, bytes) else str(part) for part in (name, value)
    )
    control = _CONTROL_CHARACTER.search(line)
    if control:
        raise InvalidFieldError(
            f"header {name!r} of a field contains the control character {control[0]!r}; "
            "only a tab is allowed"
        )
    if not _TOKEN.fullmatch(_text("header", name)):
        raise InvalidFieldError(
            f"a header of a field is called {name!r}: only letters, digits and !#$%&'*+-.^_`|~ are "
            "allowed in a name"
        )
    return line


def _warn_of_formatter(name: str) -> None:
    warnings.warn(
        f"'{name}' is deprecated and will be removed in urllib4 5.0. "
        "Use 'format_multipart_header_param' instead.",
        FutureWarning,
        stacklevel=3,
    )


def _warn_of_header_formatter(formatter: object) -> None:
    if not callable(formatter):
        raise TypeError(f"header_formatter must be callable, not {type(formatter).__name__}")
    warnings.warn(
        "The 'header_formatter' parameter is deprecated and will be removed in urllib4 5.0. "
        "Override RequestField._render_part instead.",
        FutureWarning,
        stacklevel=3,
    )
