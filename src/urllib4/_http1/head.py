"""Start lines and field lines of HTTP/1.1: one strict reader, one strict writer.

RFC 9112, sections 2 to 5, and RFC 9110, section 5.  Nothing here touches a socket, so
each rule is a row of ``tests/unit/_http1/test_head.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from http.client import BadStatusLine
from typing import NamedTuple

from .._collections import HTTPHeaderDict
from ..exceptions import (
    InvalidMethodError,
    InvalidRequestHeaderError,
    InvalidTargetError,
    ProtocolError,
)

#: Longest response head that is read, in bytes.  curl stops at 300 KiB; http.client would
#: take a hundred lines of 64 KiB.
MAX_HEAD_BYTES = 256 * 1024
#: Most field lines in one head (http.client: 100, curl: 5000).
MAX_HEAD_LINES = 1000

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_STATUS_LINE = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9]{2})(?: ([^\r\n\0]*))?")
_FIELD_NAME = re.compile(_TOKEN)
_METHOD = re.compile(_TOKEN.decode("ascii"))
# All control characters but the tab (RFC 9110, 5.5): some recipients cut or fold lines at others
# than CR and LF, or take them for white space.
_SENT_VALUE_FORBIDDEN = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_TARGET_FORBIDDEN = re.compile("[\x00-\x20\x7f]")

#: Lines of these fields repeat from answer to answer and hold no secret (an ETag tells versions
#: apart, it opens nothing; RFC 9110, 8.8.3): their parsed form is remembered (benchmark
#: ``small``).  All others are parsed each time.
_MEMO_NAMES = frozenset(
    {
        "accept-ranges", "access-control-allow-origin", "age", "allow", "alt-svc",
        "cache-control", "connection", "content-encoding", "content-language",
        "content-length", "content-type", "date", "etag", "expires", "keep-alive", "last-modified",
        "pragma", "server", "strict-transport-security", "transfer-encoding", "vary", "via",
        "x-content-type-options", "x-frame-options", "x-powered-by", "x-xss-protection",
    }
)  # fmt: skip
# Longer ones, bytes, nearly always have a field that is new each time.
_MEMO_MAX_HEAD = 320
_MEMO_MAX_HEADS = 64
_MEMO_MAX_LINE = 100
_MEMO_MAX_LINES = 1024

# Lower-cased name, and name and value: the latter is what a HTTPHeaderDict holds.
Field = tuple[str, tuple[str, str]]


class _Unusual(Exception):
    """A line cannot be told a field by itself."""


class _LineMemo(dict[bytes, Field]):
    """line -> field, for lines that are worth it.

    Only single get, set and clear operations touch it, each of which is safe by itself between
    threads; a lost entry is parsed again.
    """

    def __missing__(self, line: bytes) -> Field:
        """Parse a line that is not here.

        :raises _Unusual: it is folded, no field, or more than one line.
        """
        name, colon, value = line.partition(b":")
        # A known name is a token.  A pattern would take half as long again (benchmark ``json``).
        names = _names.get(name)
        if names is None:
            if not colon or _FIELD_NAME.fullmatch(name) is None:
                raise _Unusual
            names = _parse_name(name)
        # Numbers, since bytes in bytes costs an exception inside of Python, ten times as much.
        if not colon or 10 in value or 13 in value or 0 in value:
            raise _Unusual
        lower, text = names
        field = (lower, (text, value.strip(b" \t").decode("latin-1")))
        if lower in _MEMO_NAMES and len(line) <= _MEMO_MAX_LINE:
            _remember(line, field)
        return field


_memo = _LineMemo()
_recalled = _memo.__getitem__
# name -> (lower-cased name, name), and status line -> (version, status, reason): the same way.
_names: dict[bytes, tuple[str, str]] = {}
_status_memo: dict[bytes, tuple[int, int, str]] = {}
# Whole head of fields that may be remembered -> its status line, and what a HTTPHeaderDict holds.
_heads: dict[bytes, tuple[tuple[int, int, str], dict[str, Sequence[str]]]] = {}


class ResponseHead(NamedTuple):
    """A parsed response head.

    :ivar version: 10 or 11 (a higher minor version counts as 11; RFC 9110, 2.5).
    :ivar status: 100 to 999.
    :ivar reason: the reason phrase, possibly empty.
    :ivar headers: the fields in order of arrival.
    :ivar defects: lines that are no fields (no colon, or no name) and were left out.
    """

    version: int
    status: int
    reason: str
    headers: HTTPHeaderDict
    defects: tuple[str, ...]


def parse_response_head(block: bytes) -> ResponseHead:
    """Parse `block`, a whole head with the empty line that ends it.

    Lines end in CRLF; a bare LF is taken as well (RFC 9112, 2.2).

    :raises http.client.BadStatusLine: the first line is not one of HTTP/1.x.
    :raises ProtocolError: a bare CR, a NUL, white space before a colon, a name that is no
        token, a folded first line, or more than :data:`MAX_HEAD_LINES` lines.
    """
    return recall_response_head(block) or _parse_anew(block)


def _parse_anew(block: bytes) -> ResponseHead:
    lines = _split_lines(block)
    version, status, reason = _parse_status_line(lines[0] if lines else b"")
    headers, defects = _parse_lines(lines, 1)
    return ResponseHead(version, status, reason, headers, defects)


def recall_response_head(block: bytes) -> ResponseHead | None:
    """Parse a head in which nothing is unusual; None if something is, or if it starts anew.

    What :func:`parse_response_head` tries first.

    A line that is remembered holds no CR, LF or NUL, so it needs no check: a third of the time
    that the rules for all heads take (benchmark ``json``).  Whoever asks for one thing again and
    again gets the same head again until its date changes (benchmark ``small``).
    """
    headers = _new(HTTPHeaderDict)
    known = _heads.get(block) if len(block) <= _MEMO_MAX_HEAD else None
    if known is not None:
        headers._container = known[1].copy()
        return _new_tuple(ResponseHead, (*known[0], headers, ()))
    lines = block.split(b"\r\n")
    start = _status_memo.get(lines[0])
    if start is None or not block.endswith(b"\r\n\r\n") or len(lines) > MAX_HEAD_LINES:
        return None
    try:
        fields = [*map(_recalled, lines[1:-2])]
    except _Unusual:
        return None
    container: dict[str, Sequence[str]] = dict(fields)
    if len(container) == len(fields):
        headers._container = container
        if len(block) <= _MEMO_MAX_HEAD and container.keys() <= _MEMO_NAMES:
            if len(_heads) >= _MEMO_MAX_HEADS:
                _heads.clear()
            _heads[block] = (start, container.copy())
    else:  # names repeat
        several: dict[str, list[str]] = {}
        for lower, (name, value) in fields:
            several.setdefault(lower, [name]).append(value)
        headers._container = {**several}
    return _new_tuple(ResponseHead, (*start, headers, ()))


# Constructors without a Python frame.
_new = HTTPHeaderDict.__new__
_new_tuple = tuple.__new__


def _parse_status_line(line: bytes) -> tuple[int, int, str]:
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise BadStatusLine(repr(line[:200]))
    minor, status, reason = match.groups()
    text = "" if reason is None else reason.strip(b" \t").decode("latin-1")
    parsed = (10 if minor == b"0" else 11, int(status), text)
    if len(line) <= _MEMO_MAX_LINE:
        if len(_status_memo) >= _MEMO_MAX_LINES:
            _status_memo.clear()
        _status_memo[line] = parsed
    return parsed


def parse_fields(block: bytes) -> HTTPHeaderDict:
    """Parse a trailer section (RFC 9112, 7.1.2), the empty line at its end included.

    :raises ProtocolError: as :func:`parse_response_head`.
    """
    return _parse_lines(_split_lines(block), 0)[0]


def _split_lines(block: bytes) -> list[bytes]:
    """Return the lines before the empty one, without their ends."""
    lines = block.split(b"\r\n")
    ends = len(lines) - 1
    if block.count(b"\n") != ends or block.count(b"\r") != ends or b"\0" in block:
        lines = _split_unusual_lines(block)
    del lines[-2:]  # the empty line, and what follows its end: nothing
    if len(lines) > MAX_HEAD_LINES:
        raise ProtocolError(f"got more than {MAX_HEAD_LINES} header lines")
    return lines


def _split_unusual_lines(block: bytes) -> list[bytes]:
    if b"\0" in block:
        raise ProtocolError("NUL in a header section")
    lines = [line[:-1] if line.endswith(b"\r") else line for line in block.split(b"\n")]
    for line in lines:
        if b"\r" in line:
            # Some recipients end the line here, others do not: a field out of nothing.
            raise ProtocolError(f"bare CR in a header line: {_excerpt(line)}")
    return lines


def _parse_lines(lines: list[bytes], first: int) -> tuple[HTTPHeaderDict, tuple[str, ...]]:
    container: dict[str, Sequence[str]] = {}
    defects: tuple[str, ...] = ()
    latest: list[str] | None = None
    memo_get = _memo.get
    for index in range(first, len(lines)):
        line = lines[index]
        field = memo_get(line)
        if field is None:
            if line[:1] in (b" ", b"\t"):
                if index == first:
                    raise ProtocolError("white space before the first header line")
                if latest is not None:
                    _unfold(latest, line)
                continue
            field = _parse_line(line)
            if field is None:
                defects += (_excerpt(line),)
                latest = None
                continue
        lower, (name, value) = field
        latest = container.get(lower)  # type: ignore[assignment]  # all are lists here
        if latest is None:
            container[lower] = latest = [name, value]
        else:
            latest.append(value)
    return HTTPHeaderDict._from_container(container), defects


def _unfold(values: list[str], line: bytes) -> None:
    """Join a folded line to the value before it by one space (RFC 9112, 5.2)."""
    more = line.strip(b" \t").decode("latin-1")
    values[-1] = f"{values[-1]} {more}".strip(" ")


def _parse_line(line: bytes) -> Field | None:
    """Parse one field line; None when it has no colon or no name."""
    name, colon, value = line.partition(b":")
    if not colon or not name:
        return None
    lower, text = _names.get(name) or _parse_name(name)
    field = (lower, (text, value.strip(b" \t").decode("latin-1")))
    if lower in _MEMO_NAMES and len(line) <= _MEMO_MAX_LINE:
        _remember(line, field)
    return field


def _remember(line: bytes, field: Field) -> None:
    if len(_memo) >= _MEMO_MAX_LINES:
        _memo.clear()
    _memo[line] = field


def _parse_name(name: bytes) -> tuple[str, str]:
    """Return a name, lower-cased and as it is."""
    if _FIELD_NAME.fullmatch(name) is None:
        raise ProtocolError(f"invalid header name {_excerpt(name)}")
    text = name.decode("ascii")
    names = (text.lower(), text)
    if len(name) <= _MEMO_MAX_LINE:
        if len(_names) >= _MEMO_MAX_LINES:
            _names.clear()
        _names[name] = names
    return names


def _excerpt(data: bytes) -> str:
    """Show the name part of a line only: what follows may be a secret."""
    name, colon, _ = data.partition(b":")
    shown = repr(name[:60])
    return shown + " ..." if colon or len(name) > 60 else shown


def early_status(data: bytes) -> int | None:
    """Return the status of the first final answer that `data` starts with.

    None as long as its status line, or an interim (1xx) answer before it, is not complete; and for
    what is no answer, which is found out when the head is read.
    """
    start = 0
    while True:
        end = data.find(b"\n", start)
        match = _STATUS_LINE.fullmatch(data[start:end].rstrip(b"\r")) if end >= 0 else None
        if match is None:
            return None
        status = int(match.group(2))
        if status >= 200 or status == 101:
            return status
        start = data.find(b"\r\n\r\n", start) + 4
        if start < 4:
            return None


def may_continue(data: bytes) -> bool:
    """Tell whether `data` holds a whole 100 Continue before any final answer."""
    start = 0
    while True:
        end = data.find(b"\r\n\r\n", start)
        match = _STATUS_LINE.match(data, start, end) if end >= 0 else None
        if match is None or not match.group(2).startswith(b"1"):
            return False
        if match.group(2) == b"100":
            return True
        start = end + 4


# -- requests ------------------------------------------------------------------------------


def check_method(method: str) -> None:
    """Refuse a request method that is no token (RFC 9110, 9.1).

    :raises InvalidMethodError: (a ValueError) naming the method.
    """
    if not isinstance(method, str):
        raise TypeError(f"method must be a str, not {type(method).__name__}: {method!r}")
    if _METHOD.fullmatch(method) is None:
        raise InvalidMethodError(
            f"Method cannot contain non-token characters {method!r} (found at least "
            f"{_first_bad(_METHOD, method)!r})"
        )


def _first_bad(pattern: re.Pattern[str], text: str) -> str:
    return next((char for char in text if pattern.fullmatch(char) is None), text)


def check_target(target: str) -> None:
    """Refuse a request target with white space or control characters (RFC 9112, 3.2).

    :raises InvalidTargetError: (an :class:`http.client.InvalidURL` too) naming the target.
    """
    match = _TARGET_FORBIDDEN.search(target)
    if match is not None:
        raise InvalidTargetError(
            f"URL can't contain control characters. {target!r} (found at least {match.group()!r})"
        )


def encode_target(target: str) -> bytes:
    """Return `target` as ASCII.

    :raises InvalidTargetError: white space, control characters, or characters beyond ASCII
        (percent-encode them).
    """
    check_target(target)
    try:
        return target.encode("ascii")
    except UnicodeEncodeError:
        raise InvalidTargetError(
            f"URL can't contain characters beyond ASCII: {target!r} (percent-encode them)"
        ) from None


# (name, value) -> rendered line, for names that callers repeat and that hold no secret.
_line_memo: dict[tuple[str, str], bytes] = {}
_LINE_MEMO_NAMES = frozenset(
    {
        "accept", "accept-encoding", "accept-language", "cache-control", "connection",
        "content-type", "host", "te", "user-agent",
    }
)  # fmt: skip


def is_rememberable(name: str) -> bool:
    """Tell whether fields of this name may be kept: callers repeat them, they hold no secret."""
    return name.lower() in _LINE_MEMO_NAMES


def field_line(name: str | bytes, value: str | bytes | int) -> bytes:
    """Render one field line, CRLF included, after checking both parts.

    A str value is latin-1 or, where that cannot hold it, an error of the encoding; an int is
    written in decimal.  This is the one place where fields of a request become bytes.

    :raises InvalidRequestHeaderError: (a ValueError) control characters or an illegal name.
    :raises TypeError: a value that is neither str, bytes nor int.
    """
    if type(name) is str and type(value) is str:
        line = _line_memo.get((name, value))
        if line is not None:
            return line
    raw_name, raw_value = _encode_name(name), _encode_value(name, value)
    line = b"%b: %b\r\n" % (raw_name, raw_value)
    if (
        type(name) is str
        and type(value) is str
        and len(line) <= _MEMO_MAX_LINE
        and is_rememberable(name)
    ):
        if len(_line_memo) >= _MEMO_MAX_LINES:
            _line_memo.clear()
        _line_memo[name, value] = line
    return line


def _encode_name(name: str | bytes) -> bytes:
    if isinstance(name, str):
        try:
            raw = name.encode("ascii")
        except UnicodeEncodeError:
            raise InvalidRequestHeaderError(
                f"Invalid header name {name!r}: not an ASCII token"
            ) from None
    elif isinstance(name, bytes):
        raw = name
    else:
        raise TypeError(f"header names must be str or bytes, not {type(name).__name__}: {name!r}")
    if _FIELD_NAME.fullmatch(raw) is None:
        raise InvalidRequestHeaderError(
            f"Invalid header name {name!r}: only letters, digits and !#$%&'*+-.^_`|~ are allowed"
        )
    return raw


def _encode_value(name: str | bytes, value: str | bytes | int) -> bytes:
    if isinstance(value, str):
        try:
            raw = value.encode("latin-1")
        except UnicodeEncodeError:
            raise InvalidRequestHeaderError(
                f"Invalid value of header {name!r}: it holds characters beyond latin-1"
                " (encode it to bytes to choose a charset)"
            ) from None
    elif isinstance(value, bytes):
        raw = value
    elif isinstance(value, int):
        raw = str(value).encode("ascii")  # True is "True", as http.client writes it
    else:
        raise TypeError(
            f"the value of header {name!r} must be str, bytes or int, not {type(value).__name__}"
        )
    if _SENT_VALUE_FORBIDDEN.search(raw) is not None:
        raise InvalidRequestHeaderError(
            f"Invalid header value of {name!r}: control characters (CR, LF, NUL...) are not allowed"
        )
    return raw


def header_items(
    headers: Mapping[str, str] | Iterable[tuple[str, str]],
) -> Iterable[tuple[str, str]]:
    """Return the lines of any accepted source of headers, repeated names one by one."""
    if isinstance(headers, HTTPHeaderDict):
        return headers.iteritems()
    if hasattr(headers, "items"):
        return headers.items()
    return headers
