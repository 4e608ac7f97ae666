"""Request headers made from simple options, and request bodies made into chunks.

Nothing here keeps state, so everything is safe to call from many threads; a body belongs to one
request at a time.
"""

from __future__ import annotations

import sys
from base64 import b64encode
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any, Final, NamedTuple

from .._decoding import available_codings
from ..exceptions import UnrewindableBodyError
from .util import to_bytes

__all__ = [
    "ACCEPT_ENCODING",
    "SKIPPABLE_HEADERS",
    "SKIP_HEADER",
    "ChunksAndContentLength",
    "body_to_chunks",
    "make_headers",
    "rewind_body",
    "set_file_position",
]

#: As the value of one of :data:`SKIPPABLE_HEADERS`: do not send that header at all.
SKIP_HEADER: Final = "@@@SKIP_HEADER@@@"

#: Headers which are sent unasked, and which :data:`SKIP_HEADER` suppresses.
SKIPPABLE_HEADERS: Final = frozenset(("accept-encoding", "host", "user-agent"))

#: The content codings that can be decoded here, such as ``"gzip,deflate,br,zstd"``.
#: Looked up on first use, since finding optional packages means searching the file system.
ACCEPT_ENCODING: str

# RFC 9110, 9.3: a request with one of these methods gives content no meaning.
_METHODS_NOT_EXPECTING_BODY: Final = frozenset(
    ("GET", "HEAD", "DELETE", "TRACE", "OPTIONS", "CONNECT")
)


class _TYPE_FAILEDTELL(Enum):
    token = 0


#: The position of a body that has a position but will not tell it.
_FAILEDTELL: Final = _TYPE_FAILEDTELL.token

_TYPE_BODY_POSITION = int | _TYPE_FAILEDTELL


def __getattr__(name: str) -> Any:
    if name == "ACCEPT_ENCODING":
        # Kept as a real attribute, so this runs once (or, by a harmless race, once per thread).
        # "x-gzip" is what some servers call gzip, not a name to ask for (RFC 9110, 8.4.1.3).
        names = [name for name in available_codings() if not name.startswith("x-")]
        value = globals()["ACCEPT_ENCODING"] = ",".join(names)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _basic(credentials: str, encoding: str, parameter: str) -> str:
    """Return the value of an authorization header (RFC 7617)."""
    if not isinstance(credentials, str):
        raise TypeError(
            f"{parameter} must be a str such as 'user:password', not {type(credentials).__name__}"
        )
    try:
        data = credentials.encode(encoding)
    except UnicodeEncodeError as error:
        # The original error carries, and shows, what must not get into logs.
        raise UnicodeEncodeError(
            error.encoding,
            "?" * len(credentials),
            error.start,
            error.end,
            f"{error.reason}; pass {parameter}_encoding='utf-8' if the server expects that",
        ) from None
    return f"Basic {b64encode(data).decode('ascii')}"


def make_headers(
    keep_alive: bool | None = None,
    accept_encoding: bool | list[str] | str | None = None,
    user_agent: str | None = None,
    basic_auth: str | None = None,
    proxy_basic_auth: str | None = None,
    disable_cache: bool | None = None,
    *,
    basic_auth_encoding: str = "latin-1",
    proxy_basic_auth_encoding: str = "latin-1",
) -> dict[str, str]:
    """Return request headers, by lower-case name, for these options.

    :param keep_alive: ask to keep the connection open.
    :param accept_encoding: content codings to ask for: True for :data:`ACCEPT_ENCODING`, a list
        (or tuple) of names, or the header's value.
    :param user_agent: the ``user-agent``.
    :param basic_auth: ``"user:password"`` for the server.
    :param proxy_basic_auth: ``"user:password"`` for the proxy.
    :param disable_cache: ask caches on the way to check with the server.
    :param basic_auth_encoding: the charset of `basic_auth`.
    :param proxy_basic_auth_encoding: the charset of `proxy_basic_auth`.
    :raises UnicodeEncodeError: the charset cannot express the credentials (not shown).
    :raises TypeError: the credentials are not a str.

    ::

        >>> make_headers(keep_alive=True, user_agent="Batman/1.0")
        {'user-agent': 'Batman/1.0', 'connection': 'keep-alive'}
    """
    headers: dict[str, str] = {}
    if accept_encoding:
        if isinstance(accept_encoding, str):
            headers["accept-encoding"] = accept_encoding
        elif isinstance(accept_encoding, (list, tuple)):
            headers["accept-encoding"] = ",".join(accept_encoding)
        else:
            headers["accept-encoding"] = sys.modules[__name__].ACCEPT_ENCODING
    if user_agent:
        headers["user-agent"] = user_agent
    if keep_alive:
        headers["connection"] = "keep-alive"
    if basic_auth:
        headers["authorization"] = _basic(basic_auth, basic_auth_encoding, "basic_auth")
    if proxy_basic_auth:
        headers["proxy-authorization"] = _basic(
            proxy_basic_auth, proxy_basic_auth_encoding, "proxy_basic_auth"
        )
    if disable_cache:
        headers["cache-control"] = "no-cache"
    return headers


def set_file_position(body: Any, pos: _TYPE_BODY_POSITION | None) -> _TYPE_BODY_POSITION | None:
    """Go to `pos` in `body`, or find out where it stands.

    :param body: a request body of any kind.
    :param pos: what an earlier call returned, or None for the first call.
    :returns: the position to come back to; None for a body that has none; a marker, at which
        :func:`rewind_body` fails, for a file that cannot tell.
    :raises UnrewindableBodyError: `body` cannot go to `pos`.
    """
    if pos is not None:
        rewind_body(body, pos)
        return pos
    if getattr(body, "tell", None) is None:
        return None
    try:
        position: int = body.tell()
    except OSError:
        # Known only when a retry or a redirect needs it: most requests never do.
        return _FAILEDTELL
    return position


def rewind_body(body: Any, body_pos: _TYPE_BODY_POSITION) -> None:
    """Go back to `body_pos` in `body`, to send it again.

    :param body_pos: what :func:`set_file_position` returned.
    :raises UnrewindableBodyError: `body` does not seek, or its position was unknown.
    :raises ValueError: `body_pos` is no position.
    """
    seek = getattr(body, "seek", None)
    if seek is not None and isinstance(body_pos, int):
        try:
            seek(body_pos)
        except OSError as error:
            raise UnrewindableBodyError(
                "An error occurred when rewinding request body for redirect/retry."
            ) from error
    elif body_pos is _FAILEDTELL:
        raise UnrewindableBodyError(
            "Unable to record file position for rewinding request body during a redirect/retry."
        )
    elif seek is None:
        raise UnrewindableBodyError("body does not implement seek.")
    else:
        raise ValueError(f"body_pos must be of type integer, instead it was {type(body_pos)}.")


class ChunksAndContentLength(NamedTuple):
    """A request body as it will be sent."""

    #: Bytes-like objects whose ``len()`` is their size in bytes; None without a body.
    chunks: Iterable[Any] | None
    #: Bytes in all of them; None if unknown, or if the request needs no Content-Length.
    content_length: int | None


def _buffer_chunk(body: Any) -> Any:
    """Return `body` so that ``len()`` counts bytes; None if it is not bytes-like."""
    if isinstance(body, (bytes, bytearray)):
        return body
    try:
        view = memoryview(body)
    except TypeError:
        return None
    try:
        return view.cast("B")
    except (TypeError, ValueError):  # not contiguous, or of a format that cannot be cast
        return view.tobytes()


def _chunk(value: Any, source: str) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8")
    chunk = _buffer_chunk(value)
    if chunk is None:
        raise TypeError(f"{source} bytes-like objects or str, not {type(value).__name__}")
    return chunk


def _read_chunks(body: Any, blocksize: int) -> Iterator[Any]:
    while True:
        data = body.read(blocksize)
        # Nothing but an empty block is an end.  None, say, is what a non-blocking file returns
        # that has no data *yet*: the request would be cut short without anybody noticing.
        block = _chunk(data, "read() of a file-like body must return")
        if not len(block):
            return
        yield block


def _iterate_chunks(body: Iterator[Any]) -> Iterator[Any]:
    for value in body:
        yield _chunk(value, "an iterable body must yield")


def body_to_chunks(body: Any | None, method: str, blocksize: int) -> ChunksAndContentLength:
    """Split a request body into bytes-like chunks, and find its length if that is known.

    :param body: None; a str (sent as UTF-8) or bytes-like object, which are one chunk; an object
        with ``read(n)``, or an iterable, whose length is unknown.  Both may give str too, and are
        read only as far as the chunks are asked for.
    :param method: decides whether a missing body has the length 0 or none (RFC 9110, 8.6).
    :param blocksize: what a file-like object is read by: bytes, or characters of a text file.
    :raises TypeError: `body` is something else; or, from the chunks, it gives something else.
    """
    if body is None:
        expects_body = method.upper() not in _METHODS_NOT_EXPECTING_BODY
        return ChunksAndContentLength(None, 0 if expects_body else None)
    if isinstance(body, (str, bytes)):
        data = to_bytes(body)
        return ChunksAndContentLength((data,), len(data))
    if hasattr(body, "read"):
        return ChunksAndContentLength(_read_chunks(body, blocksize), None)
    chunk = _buffer_chunk(body)
    if chunk is not None:
        return ChunksAndContentLength((chunk,), memoryview(chunk).nbytes)
    try:
        iterator = iter(body)
    except TypeError:
        raise TypeError(
            "'body' must be a bytes-like object, file-like object, or iterable. "
            f"Instead was {body!r}"
        ) from None
    return ChunksAndContentLength(_iterate_chunks(iterator), None)
