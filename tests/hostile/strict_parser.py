"""A request parser that forgives nothing: what a server could misread is a `Violation`.

RFC 9112 (messages), RFC 9110 (fields), RFC 3986 (targets), RFC 2046 and RFC 7578 (multipart).  It
is written from the grammars alone and shares no code with the client, so that both cannot be wrong
in the same way.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_TCHAR = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_TOKEN = re.compile(_TCHAR + rb"+")
# field-value without obs-fold: visible characters, obs-text, and blanks between them.
_VALUE = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[ \t\x21-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")

_PCHAR = rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})"
_QUERY = rb"(?:" + _PCHAR + rb"|[/?])*"
_ORIGIN_FORM = re.compile(rb"(?:/" + _PCHAR + rb"*)+(?:\?" + _QUERY + rb")?")
_HOST = rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+)"
_AUTHORITY = _HOST + rb"(?::[0-9]{0,5})?"
_HOST_FIELD = re.compile(_AUTHORITY)
_AUTHORITY_FORM = re.compile(_HOST + rb":[0-9]{1,5}")
_ABSOLUTE_FORM = re.compile(  # without userinfo: RFC 9110, 4.2.4
    rb"https?://(" + _AUTHORITY + rb")(?:/" + _PCHAR + rb"*)*(?:\?" + _QUERY + rb")?"
)
_ANY_VISIBLE = re.compile(rb"[\x21-\x7e]+")
_DIGITS = re.compile(rb"[0-9]{1,18}")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}")


class Violation(AssertionError):
    """What was sent breaks the grammar, or could be read in more than one way."""


class Request(NamedTuple):
    """One request as a server sees it; `fields` have lower-cased names."""

    method: bytes
    target: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes

    def values(self, name: bytes) -> list[bytes]:
        """Return all values of a field."""
        return [value for other, value in self.fields if other == name]


def parse_one(data: bytes, *, raw_target: bool = False, raw_host: bool = False) -> Request:
    """Return the one request that `data` is.

    :param raw_target: the target was given by hand and is only required to be one word.
    :param raw_host: so was the Host, which is only required to be a field value.
    :raises Violation: it is malformed, ambiguous, cut short, or there is something behind it.
    """
    request, rest = parse_first(data, raw_target=raw_target, raw_host=raw_host)
    if rest:
        raise Violation(f"{len(rest)} bytes behind the request: {rest[:80]!r}")
    return request


def parse_first(
    data: bytes, *, raw_target: bool = False, raw_host: bool = False
) -> tuple[Request, bytes]:
    """Return the first request of `data`, and what is behind it.

    :raises Violation: it is malformed, ambiguous or cut short.
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        raise Violation(f"no end of the head: {data[:200]!r}")
    start, *lines = head.split(b"\r\n")
    method, target = _start_line(start, raw_target)
    fields = _fields(lines)
    request = Request(method, target, fields, b"")
    _check_host(request, raw_host)
    body, rest = _body(request, rest)
    return request._replace(body=body), rest


def _start_line(line: bytes, raw_target: bool) -> tuple[bytes, bytes]:
    words = line.split(b" ")
    if len(words) != 3:
        raise Violation(f"a request line of {len(words)} words: {line[:200]!r}")
    method, target, version = words
    if not _TOKEN.fullmatch(method):
        raise Violation(f"not a method: {method[:80]!r}")
    if version != b"HTTP/1.1":
        raise Violation(f"not a version: {version[:80]!r}")
    if not _is_target(method, target, raw_target):
        raise Violation(f"not a target: {target[:200]!r}")
    return method, target


def _is_target(method: bytes, target: bytes, raw_target: bool) -> bool:
    if method == b"CONNECT":
        return _AUTHORITY_FORM.fullmatch(target) is not None
    if raw_target:
        authority = re.match(rb"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)", target)
        return _ANY_VISIBLE.fullmatch(target) is not None and b"@" not in (
            authority[1] if authority else b""
        )
    return (
        target == b"*"
        or _ORIGIN_FORM.fullmatch(target) is not None
        or _ABSOLUTE_FORM.fullmatch(target) is not None
    )


def _fields(lines: list[bytes]) -> list[tuple[bytes, bytes]]:
    fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        value = value.strip(b" \t")
        if not colon or not _TOKEN.fullmatch(name):
            raise Violation(f"not a field line: {line[:200]!r}")
        if not _VALUE.fullmatch(value):
            raise Violation(f"not a field value: {line[:200]!r}")
        fields.append((name.lower(), value))
    return fields


def _check_host(request: Request, raw_host: bool) -> None:
    hosts = request.values(b"host")
    if len(hosts) != 1:
        raise Violation(f"{len(hosts)} Host fields: {hosts!r}")
    if not raw_host and not _HOST_FIELD.fullmatch(hosts[0]):
        raise Violation(f"not a Host: {hosts[0][:200]!r}")


def _body(request: Request, rest: bytes) -> tuple[bytes, bytes]:
    lengths = request.values(b"content-length")
    codings = request.values(b"transfer-encoding")
    if len(lengths) + len(codings) > 1:
        raise Violation(f"more than one framing: {lengths!r}, {codings!r}")
    if codings:
        names = [coding.strip(b" \t").lower() for coding in codings[0].split(b",")]
        if names.count(b"chunked") != 1 or names[-1] != b"chunked":
            raise Violation(f"not chunked once, and last: {codings!r}")
        return _chunked(rest)
    if not lengths:
        return b"", rest
    if not _DIGITS.fullmatch(lengths[0]):
        raise Violation(f"not a length: {lengths!r}")
    if request.method == b"CONNECT" and lengths != [b"0"]:
        raise Violation(f"a CONNECT with a body: {lengths!r}")
    length = int(lengths[0])
    if len(rest) < length:
        raise Violation(f"{len(rest)} bytes of a body of {length}")
    return rest[:length], rest[length:]


def _chunked(rest: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        line, end, rest = rest.partition(b"\r\n")
        if not end or not _CHUNK_SIZE.fullmatch(line):
            raise Violation(f"not a chunk size: {line[:80]!r}")
        size = int(line, 16)
        if rest[size : size + 2] != b"\r\n":
            raise Violation(f"no CRLF behind a chunk of {size}")
        body += rest[:size]
        rest = rest[size + 2 :]  # behind the last chunk this is the empty trailer section
        if not size:
            return body, rest


# -- multipart/form-data -----------------------------------------------------------------------

_BCHARS = rb"[0-9A-Za-z'()+_,\-./:=? !#$%&*^`|~]"
_CONTENT_TYPE = re.compile(
    rb'multipart/form-data; boundary=(?:"(' + _BCHARS + rb'{1,70})"|(' + _BCHARS + rb"{1,70}))"
)
# As browsers write it: no escapes but %22, %0D and %0A, so a quote ends the value.
_DISPOSITION = re.compile(rb'form-data(?:; (name|filename)="([^"\r\n]*)")*')
_PARAMETER = re.compile(rb'; (name|filename)="([^"\r\n]*)"')


class Part(NamedTuple):
    """One part of a form: its name and file name as they were before encoding, and its data."""

    name: bytes | None
    filename: bytes | None
    fields: list[tuple[bytes, bytes]]
    data: bytes


def parse_multipart(content_type: bytes, body: bytes) -> list[Part]:
    """Return the parts of a form.

    :raises Violation: it is malformed, or has bytes before or behind the parts.
    """
    match = _CONTENT_TYPE.fullmatch(content_type)
    if match is None:
        raise Violation(f"not the type of a form: {content_type[:200]!r}")
    delimiter = b"--" + (match[1] or match[2])
    # Any line that starts with the delimiter is one, for some parsers: all of them count.
    pieces = re.split(rb"(?:\A|\r\n|\n|\r)" + re.escape(delimiter), body)
    if pieces[0] or pieces[-1] != b"--\r\n" or len(pieces) < 2:
        raise Violation(f"not a form of parts: {body[:200]!r}")
    return [_part(piece) for piece in pieces[1:-1]]


def _part(piece: bytes) -> Part:
    if not piece.startswith(b"\r\n"):
        raise Violation(f"something behind a boundary: {piece[:80]!r}")
    head, end, data = piece[2:].partition(b"\r\n\r\n")
    if not end:
        raise Violation(f"a part without an end of its head: {piece[:200]!r}")
    fields = _fields(head.split(b"\r\n"))
    dispositions = [value for name, value in fields if name == b"content-disposition"]
    if len(dispositions) != 1 or not _DISPOSITION.fullmatch(dispositions[0]):
        raise Violation(f"not one disposition: {dispositions!r}")
    parameters = _PARAMETER.findall(dispositions[0])
    if len({name for name, _ in parameters}) != len(parameters):
        raise Violation(f"a parameter twice: {dispositions!r}")
    values = dict(parameters)
    return Part(values.get(b"name"), values.get(b"filename"), fields, data)
