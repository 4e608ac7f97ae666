"""The answer of a proxy to CONNECT (RFC 9110, 9.3.6)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from http.client import HTTPException, RemoteDisconnected
from typing import NamedTuple

from ._collections import HTTPHeaderDict
from ._http1.body import make_body
from ._http1.framing import response_framing
from ._http1.head import ResponseHead, parse_response_head
from ._http1.message import MAX_INTERIM_RESPONSES
from ._http1.stream import ByteStream
from .exceptions import ProtocolError

#: Most that is read of the page that explains a refusal, in bytes and seconds.
REFUSAL_MAX_BYTES = 64 * 1024
REFUSAL_MAX_SECONDS = 1.0


class Refusal(NamedTuple):
    """What a proxy said instead of opening the tunnel; `body` is the beginning of its page."""

    status: int
    headers: HTTPHeaderDict
    body: bytes


def read_tunnel_answer(
    stream: ByteStream, clock: Callable[[], float] = time.monotonic
) -> ResponseHead:
    """Read the answer to CONNECT; return the head of one that opens the tunnel.

    Lengths in it mean nothing, but no byte may follow: the target speaks only after us, so it
    would be the proxy's own, which the target's TLS must not start with.

    :param stream: its ``timeout`` bounds the whole answer, not each receive.
    :raises OSError: the proxy refused; :func:`refusal_of` tells what it said.
    :raises http.client.HTTPException, ProtocolError: it does not speak HTTP/1.x, or stopped.
    :raises TimeoutError: (the builtin) it took too long.
    """
    _bound(stream, stream.timeout, clock)
    head = _read_final_head(stream)
    if 200 <= head.status < 300:
        if stream.buffered:
            raise ProtocolError("proxy sent data before the tunnel was used")
        return head
    _bound(stream, REFUSAL_MAX_SECONDS, clock)
    error = OSError(f"Tunnel connection failed: {head.status} {head.reason}".rstrip())
    refusal = Refusal(head.status, head.headers, _read_refusal(stream, head))
    error._refusal = refusal  # type: ignore[attr-defined]
    raise error


def refusal_of(error: BaseException) -> Refusal | None:
    """Return what the proxy said, if `error` is its refusal of a tunnel."""
    return getattr(error, "_refusal", None)


def _bound(stream: ByteStream, seconds: float | None, clock: Callable[[], float]) -> None:
    if seconds is not None:
        end = clock() + seconds
        stream.deadline = end if stream.deadline is None else min(end, stream.deadline)


def _read_final_head(stream: ByteStream) -> ResponseHead:
    for _ in range(MAX_INTERIM_RESPONSES + 1):
        block = stream.read_head()
        if not block:
            raise RemoteDisconnected("proxy closed the connection at CONNECT")
        head = parse_response_head(block)
        if head.status >= 200:
            return head
        if head.status == 101:
            raise ProtocolError("101 Switching Protocols in answer to CONNECT")
    raise ProtocolError(f"more than {MAX_INTERIM_RESPONSES} interim answers to CONNECT")


def _read_refusal(stream: ByteStream, head: ResponseHead) -> bytes:
    """Return the beginning of the page; what is wrong with it does not matter any more."""
    data = bytearray()
    with contextlib.suppress(OSError, ProtocolError, HTTPException):
        body = make_body(stream, response_framing("CONNECT", head))
        while len(data) < REFUSAL_MAX_BYTES and (
            piece := body.read1(REFUSAL_MAX_BYTES - len(data))
        ):
            data += piece
    return bytes(data)
