"""Text that may be shown: what a server sends must not steer the terminal or tell secrets.

Everything from outside passes :func:`printable` before it is written to a terminal, so that no
escape sequence (ECMA-48) and no reordering of letters (UAX #9) gets through.
"""

from __future__ import annotations

import codecs
import io
import json
import re

#: Control characters but tab and newline, and those that reverse the direction of writing.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff"
    "\ud800-\udfff]"
)

#: Names, in lower case, of header fields whose values are not shown.
SECRET_HEADERS = frozenset(
    {
        "authorization",
        "cookie",
        "proxy-authorization",
        "set-cookie",
        "api-key",
        "x-api-key",
        "x-auth-token",
    }
)
_SCHEME = re.compile(r"(?:basic|bearer|digest|negotiate|ntlm)(?= )", re.IGNORECASE)


def printable(text: str) -> str:
    r"""Return `text` with each character that could steer a terminal as ``\x1b`` or ``\u202e``."""
    return _UNPRINTABLE.sub(_escaped, text)


def one_line(text: str) -> str:
    """Return `text` as one printable line."""
    return printable(" ".join(text.splitlines()))


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def encodable(text: str, encoding: str | None) -> str:
    """Return `text` with what `encoding` cannot express written as escapes."""
    encoding = encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def masked_value(name: str, value: str) -> str:
    """Return a field's value as it may be shown: a secret is ``***``, its scheme kept."""
    if name.lower() not in SECRET_HEADERS:
        return value
    scheme = _SCHEME.match(value) if name.lower().endswith("authorization") else None
    return f"{scheme[0]} ***" if scheme else "***"


def size_text(count: int) -> str:
    """Return a number of bytes for people.

    >>> size_text(3 * 1024 * 1024 // 2)
    '1.5 MiB'
    """
    if count < 1024:
        return f"{count} byte{'' if count == 1 else 's'}"
    size = float(count)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        size /= 1024
        if size < 1024 or unit == "TiB":
            break
    return f"{size:.1f} {unit}"


def duration_text(seconds: float) -> str:
    """Return a duration for people.

    >>> duration_text(0.0123)
    '12.3 ms'
    """
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+')


def indented_json(text: str) -> str:
    """Return JSON with one value a line; every value is written as it came.

    Parsing and writing it again would lose repeated names, and digits of numbers.

    :raises ValueError: it is not JSON (RFC 8259), or too deep to be sure.
    """
    try:
        json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    pieces: list[str] = []
    depth = 0
    previous = ""
    for match in _JSON_TOKEN.finditer(text):
        token = match[0]
        if token in ("}", "]"):
            depth -= 1
            if previous not in ("{", "["):
                pieces.append("\n" + "  " * depth)
        elif previous in ("{", "[", ","):
            pieces.append("\n" + "  " * depth)
        pieces.append(": " if token == ":" else token)
        depth += token in ("{", "[")
        previous = token
    return "".join(pieces)


class TextDecoder:
    """Turns the pieces of a body into text; line ends become newlines.

    :param charset: as the server names it; what Python does not know, or cannot decode bit by
        bit, is read as UTF-8.  Bytes that do not fit become U+FFFD.
    """

    def __init__(self, charset: str) -> None:
        try:
            self._decoder = _newline_decoder(charset)
            self._decoder.decode(b"")
        except (LookupError, ValueError):  # of which UnicodeError is one
            self._decoder = _newline_decoder("utf-8-sig")

    def feed(self, piece: bytes) -> str:
        """Return the text that is complete by now."""
        return self._decoder.decode(piece)

    def finish(self) -> str:
        """Return what is left when no more pieces come."""
        return self._decoder.decode(b"", final=True)


def _newline_decoder(charset: str) -> io.IncrementalNewlineDecoder:
    b"a".decode(charset, "replace")  # refuses codecs such as "hex" that are none for text
    # A BOM is no part of the text, wherever the charset was named.
    charset = "utf-8-sig" if codecs.lookup(charset).name == "utf-8" else charset
    return io.IncrementalNewlineDecoder(
        codecs.getincrementaldecoder(charset)(errors="replace"), translate=True
    )
