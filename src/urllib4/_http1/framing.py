"""Where does the body of a response end, and may the connection be used again?

RFC 9112, sections 6.3 and 9.3, as pure functions.  Nothing here reads from a socket, so each
rule of the RFC is one row in ``tests/unit/_http1/test_framing.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from .._collections import HTTPHeaderDict
from ..exceptions import ProtocolError
from .head import ResponseHead

#: More digits than any real body needs; the bound keeps ``int()`` cheap.
_MAX_LENGTH_DIGITS = 18


class Framing(NamedTuple):
    """How a body is delimited.

    :ivar kind: ``"length"``, ``"chunked"`` or ``"until-close"``.
    :ivar length: bytes of a body of kind ``"length"`` (0: there is none), else None.
    """

    kind: Literal["length", "chunked", "until-close"]
    length: int | None = None


NO_BODY = Framing("length", 0)
CHUNKED = Framing("chunked")
UNTIL_CLOSE = Framing("until-close")


def has_body(method: str | None, status: int) -> bool:
    """Tell whether a response may have a body at all (RFC 9112, 6.3, rules 1 and 2)."""
    return not (
        method == "HEAD"
        or status in (204, 304)
        or 100 <= status < 200
        or (method == "CONNECT" and 200 <= status < 300)
    )


def plain_length(fields: Mapping[str, Sequence[str]]) -> int | None:
    """Return the length of a body if nothing in `fields` needs a closer look.

    None if something does.  Where it is a number, :func:`response_framing` gives the same for the
    200 of HTTP/1.1 that answers a GET, and :func:`keeps_alive` is true.

    :param fields: by lower-cased name: the name and the values.
    """
    lengths = fields.get("content-length")
    options = fields.get("connection")
    if (
        lengths is not None
        and len(lengths) == 2
        and (options is None or (len(options) == 2 and options[1] in _KEPT))
        and "transfer-encoding" not in fields
    ):
        text = lengths[1]
        if len(text) <= _MAX_LENGTH_DIGITS and text.isdigit() and text.isascii():
            return int(text)
    return None


# What nearly all say of the connection who say anything.
_KEPT = ("keep-alive", "Keep-Alive")


def response_framing(method: str | None, head: ResponseHead) -> Framing:
    """Return how the body that follows `head` is delimited.

    :raises ProtocolError: the head contradicts itself; close the connection.
    """
    if not has_body(method, head.status):
        return NO_BODY
    fields = head.headers._container
    codings = fields.get("transfer-encoding")
    lengths = fields.get("content-length")
    if codings is not None:
        return _transfer_coding(codings[1:], lengths)
    if lengths is None:
        return UNTIL_CLOSE
    return Framing("length", parse_length(lengths[1:]))


def _transfer_coding(values: Sequence[str], lengths: Sequence[str] | None) -> Framing:
    if lengths is not None:
        # Whoever picked the other one would disagree with us about where the next response
        # starts (response splitting; RFC 9112, 6.1 and 11.1).
        raise ProtocolError("response has both Transfer-Encoding and Content-Length")
    codings = [coding.strip(" \t").lower() for value in values for coding in value.split(",")]
    if codings != ["chunked"]:
        # We never send TE, so nothing but one final "chunked" may come (RFC 9112, 6.1).
        raise ProtocolError(f"unsupported Transfer-Encoding: {', '.join(values)[:100]!r}")
    return CHUNKED


def parse_length(values: Sequence[str]) -> int:
    """Return the one length that all Content-Length `values` agree on.

    A list of equal numbers counts as that number (RFC 9110, 8.6).

    :raises ProtocolError: differing values, or one that is not digits only.
    """
    if len(values) == 1 and "," not in values[0]:
        return _one_length(values[0])
    numbers = {_one_length(part.strip(" \t")) for value in values for part in value.split(",")}
    if len(numbers) != 1:
        raise ProtocolError(f"conflicting Content-Length values: {sorted(numbers)[:5]}")
    return numbers.pop()


def _one_length(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ProtocolError(f"invalid Content-Length: {text[:40]!r}")
    if len(text) > _MAX_LENGTH_DIGITS:
        raise ProtocolError(f"Content-Length is too large: {text[:40]!r}")
    return int(text)


def keeps_alive(head: ResponseHead, framing: Framing) -> bool:
    """Tell whether the peer lets the connection be used again (RFC 9112, 9.3)."""
    if framing.kind == "until-close" or head.status == 101:
        return False
    fields = head.headers._container
    if head.version == 10 and "transfer-encoding" in fields:
        return False  # faulty framing (RFC 9112, 6.1): use the body, not the connection
    options = fields.get("connection")
    if options is None:
        return head.version >= 11
    tokens = connection_options(head.headers)
    if "close" in tokens:
        return False
    return head.version >= 11 or "keep-alive" in tokens


def connection_options(headers: HTTPHeaderDict) -> set[str]:
    """Return the lower-cased options of the Connection field (RFC 9110, 7.6.1)."""
    return {
        option.strip(" \t").lower()
        for value in headers.getlist("connection")
        for option in value.split(",")
    }
