"""Header fields and framing of one request, decided and checked before anything is sent.

RFC 9112, section 6.2: a request has one length or is chunked, never both, and a length that is
given is the length of the body.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any

from .._file_body import FileRun, StreamedBody, file_body
from .._version import __version__
from ..exceptions import InvalidRequestHeaderError
from ..util.request import SKIP_HEADER, SKIPPABLE_HEADERS, body_to_chunks
from .head import check_method, field_line, header_items, is_rememberable

#: A large body in memory is written in pieces of this size, each with the whole timeout.
WRITE_BYTES = 256 * 1024

#: What ``blocksize`` is unless somebody chose it, bytes: it holds for objects with ``read``, and
#: regular files, which are sent faster than that.
BLOCK_SIZE = 16384


def default_user_agent() -> str:
    """Return the User-Agent of requests that bring none."""
    return f"python-urllib4/{__version__}"


# Names that decide something here; all others are only checked and copied.
_DECIDING = frozenset(
    {
        "accept-encoding", "content-length", "expect", "host", "transfer-encoding", "upgrade",
        "user-agent",
    }
)  # fmt: skip


class RequestPlan:
    """Header fields and framing of one request: checked once, sent as often as need be.

    :param method: a token.
    :param headers: the caller's fields; a value of :data:`SKIP_HEADER` leaves out an automatic one.
    :param body: as for :meth:`HTTPConnection.request`.
    :param chunked: send it chunked even if its length is known.
    :param blocksize: bytes read at a time from a file.
    :param expect_continue: ask whether the body is wanted before it is sent (RFC 9110, 10.1.1).
    :raises ValueError: a method, name or value that must not be sent, several Host fields,
        a Content-Length that is not the body's, or both that and chunked.
    :raises TypeError: a header or body of a wrong type.

    Belongs to one call if there is a body; else see :func:`request_plan`.

    :ivar asks_upgrade: there is an Upgrade field, so that 101 may be the answer.
    :ivar fields: all fields but Host and Accept-Encoding, as they are to be sent.
    :ivar expects_continue: the request says ``Expect: 100-continue``.
    :ivar head_end: what follows Host in the head: all lines, and the empty one.
    :ivar is_bodiless: there is no body, not even an empty chunked one.
    :ivar started: the body was asked for its first piece.
    :ivar on_upload: called after each piece that was sent, with the bytes of the body so far and
        of the whole body (None: not known).
    """

    __slots__ = (
        "_blocksize", "_body", "_declared", "_lines", "asks_upgrade", "expects_continue",
        "fields", "has_accept_encoding", "has_host", "head_end", "is_bodiless", "is_chunked",
        "on_upload", "started",
    )  # fmt: skip

    def __init__(
        self,
        method: str,
        headers: Mapping[str, str] | None,
        body: Any,
        *,
        chunked: bool = False,
        blocksize: int = 16384,
        expect_continue: bool = False,
    ) -> None:
        check_method(method)
        self._blocksize = blocksize
        self._body = body.encode("utf-8") if isinstance(body, str) else body
        self.fields: list[tuple[Any, Any]] = []
        given = [] if headers is None else list(header_items(headers))
        values = _deciding_values(given)
        self.has_host = "host" in values
        self.has_accept_encoding = "accept-encoding" in values
        self.asks_upgrade = "upgrade" in values
        if self.has_host and len(values["host"]) > 1:
            raise InvalidRequestHeaderError("a request has one Host header, not several")
        self._declared: int | None = None
        self.is_chunked = False
        self._choose_framing(
            method, chunked, values.get("content-length"), values.get("transfer-encoding")
        )
        self.is_bodiless = self._body is None and not self.is_chunked
        if "user-agent" not in values:
            self.fields.append(("User-Agent", default_user_agent()))
        self.fields.extend(given)
        self.expects_continue = (
            expect_continue and self._body is not None and "expect" not in values
        )
        if self.expects_continue:
            self.fields.append(("Expect", "100-continue"))
        self.started = False
        self.on_upload: Callable[[int, int | None], object] | None = None
        self._lines = b"".join(self._field_lines())
        accepted = b"" if self.has_accept_encoding else b"Accept-Encoding: identity\r\n"
        self.head_end = b"%b%b\r\n" % (accepted, self._lines)

    def _choose_framing(
        self,
        method: str,
        chunked: bool,
        lengths: list[Any] | None,
        codings: list[Any] | None,
    ) -> None:
        """Choose between a length, chunked and nothing; the caller's framing fields go first."""
        chunks, length = body_to_chunks(self._body, method=method, blocksize=self._blocksize)
        if isinstance(self._body, StreamedBody):
            length = self._body.length_left()
        if chunked or codings is not None:
            if lengths is not None:
                raise InvalidRequestHeaderError(
                    "a chunked request has no Content-Length header (RFC 9112, 6.2)"
                )
            check_codings(codings or [])
            self.is_chunked = True
            if codings is None:
                self.fields.append(("Transfer-Encoding", "chunked"))
        elif lengths is not None:
            self._declared = _check_length(lengths, length if chunks is not None else 0)
        elif length is not None:
            self._declared = length
            self.fields.append(("Content-Length", str(length)))
        elif chunks is not None:
            self.is_chunked = True
            self.fields.append(("Transfer-Encoding", "chunked"))

    def _field_lines(self) -> Iterable[bytes]:
        for name, value in self.fields:
            if value == SKIP_HEADER:
                check_skippable(name)
            else:
                yield field_line(name, value)

    @property
    def lines(self) -> bytes:
        """The field lines, without Host and Accept-Encoding."""
        return self._lines

    @property
    def whole_body(self) -> bytes | None:
        """The body if it is known as a whole and not chunked; None if it comes in pieces."""
        if self.is_bodiless:
            return b""
        if self.is_chunked or self.on_upload is not None:
            return None
        return self._body if isinstance(self._body, bytes) else None

    def pieces(self, *, views: bool = False, runs: bool = False) -> Generator[Any, None, None]:
        """Yield what is to be written: encoded, checked against Content-Length, never empty.

        :param views: a piece may be overwritten when the next is asked for.
        :param runs: a piece may be a part of a file, see :class:`FileRun`.
        :raises InvalidRequestHeaderError: the body is not as long as was declared.
        :raises BodyChangedError: a file is not as long as it was when that was announced.
        """
        if self._body is None:
            return
        self.started = True
        on_upload, total = self.on_upload, self._total()
        sent = 0
        with contextlib.closing(self._chunks(views, runs)) as chunks:
            for chunk in chunks:
                size = len(chunk)
                if not size:
                    continue
                sent += size
                if self._declared is not None and sent > self._declared:
                    raise _wrong_length(self._declared, f"more than {self._declared}")
                if not self.is_chunked:
                    yield chunk
                elif isinstance(chunk, FileRun):
                    yield from (b"%x\r\n" % size, chunk, b"\r\n")
                else:
                    yield b"%x\r\n%b\r\n" % (size, chunk)
                if on_upload is not None:
                    on_upload(sent, total)
        if self._declared is not None and sent < self._declared:
            raise _wrong_length(self._declared, str(sent))

    def _total(self) -> int | None:
        """Return the length of the body if it is known."""
        if self._declared is not None:
            return self._declared
        if isinstance(self._body, StreamedBody):
            return self._body.length_left()
        return None

    def _chunks(self, views: bool, runs: bool) -> Generator[Any, None, None]:
        """Yield the body in pieces that can be written at once."""
        body = self._body
        source = body if isinstance(body, StreamedBody) else self._file_body(body)
        if source is not None:
            # Whoever watches wants to see it move.
            most = WRITE_BYTES if self.on_upload is not None else 0
            yield from source.pieces(views=views, runs=runs, most=most)
            return
        for chunk in body_to_chunks(body, method="", blocksize=self._blocksize).chunks or ():
            if len(chunk) <= WRITE_BYTES or self.is_chunked:
                yield chunk
            else:
                yield from _slices(chunk)

    def _file_body(self, body: Any) -> StreamedBody | None:
        """Return a regular file as one that can be streamed, unless its block size was chosen."""
        return file_body(body) if self._blocksize == BLOCK_SIZE else None


#: Plans that are kept, and the length of a head (bytes) up to which they are.
_MAX_PLANS = 256
_MAX_PLAN_BYTES = 1024
# (method, fields) -> plan, for requests without a body that have no secret in them.  Only single
# get, set and clear operations touch it, as with the memos of ``head``.
_plans: dict[Any, RequestPlan] = {}


def request_plan(
    method: str,
    headers: Mapping[str, str] | None,
    body: Any,
    *,
    chunked: bool = False,
    blocksize: int = 16384,
    expect_continue: bool = False,
) -> RequestPlan:
    """Return the plan for a request; parameters and errors as :class:`RequestPlan`.

    Without a body, requests with equal fields share one, which nothing changes (benchmark
    ``small``).  What may hold a secret is planned anew each time.
    """
    if body is not None or chunked:
        return RequestPlan(
            method,
            headers,
            body,
            chunked=chunked,
            blocksize=blocksize,
            expect_continue=expect_continue,
        )
    key = (method, tuple(header_items(headers)) if headers else ())
    try:
        plan = _plans.get(key)
    except TypeError:  # a value that cannot be hashed, nor sent
        plan = None
    if plan is None:
        plan = RequestPlan(method, headers, None)
        if _may_be_kept(key[1], plan):
            if len(_plans) >= _MAX_PLANS:
                _plans.clear()
            _plans[key] = plan
    return plan


def _may_be_kept(fields: Iterable[tuple[Any, Any]], plan: RequestPlan) -> bool:
    """Tell whether a plan holds no secret, and cannot be taken for that of another request."""
    return len(plan.head_end) <= _MAX_PLAN_BYTES and all(
        # Not 1, which equals True, but is another value.
        type(name) is str and type(value) is str and is_rememberable(name)
        for name, value in fields
    )


def _deciding_values(given: list[tuple[Any, Any]]) -> dict[str, list[Any]]:
    """Return the values of the fields that decide something, by lower-cased name."""
    values: dict[str, list[Any]] = {}
    for name, value in given:
        lower = lower_name(name)
        if lower in _DECIDING:
            values.setdefault(lower, []).append(value)
    return values


def _slices(data: Any) -> Iterator[memoryview]:
    with memoryview(data) as view:
        for start in range(0, len(view), WRITE_BYTES):
            yield view[start : start + WRITE_BYTES]


def lower_name(name: Any) -> str:
    """Return a header name, str or bytes, as lower-cased str."""
    if isinstance(name, bytes):
        return name.decode("latin-1").lower()
    if isinstance(name, str):
        return name.lower()
    raise TypeError(f"header names must be str or bytes, not {type(name).__name__}: {name!r}")


def check_codings(codings: Sequence[Any]) -> None:
    """Check what Transfer-Encoding fields say.

    :raises InvalidRequestHeaderError: a server could not tell where the body ends.
    """
    for coding in codings:
        text = coding.decode("latin-1") if isinstance(coding, bytes) else str(coding)
        # No other white space than these two: a recipient may not know it, and see no coding.
        names = [name.strip(" \t").lower() for name in text.split(",")]
        if names[-1] != "chunked" or "chunked" in names[:-1] or len(codings) > 1:
            raise InvalidRequestHeaderError(
                f"Transfer-Encoding of a request must end in 'chunked', once: {text!r}"
            )


def _check_length(lengths: list[Any], length: int | None) -> int:
    """Return the caller's Content-Length, compared with the body's where that is known."""
    texts = [
        value.decode("latin-1") if isinstance(value, bytes) else str(value) for value in lengths
    ]
    text = texts[0].strip(" \t")
    if len(texts) > 1 or not (text.isascii() and text.isdigit()):
        raise InvalidRequestHeaderError(
            f"Content-Length of a request must be one number, not {texts!r}"
        )
    if length is not None and int(text) != length:
        raise _wrong_length(int(text), str(length))
    return int(text)


def _wrong_length(declared: int, actual: str) -> InvalidRequestHeaderError:
    return InvalidRequestHeaderError(
        f"Content-Length is {declared}, but the body has {actual} bytes"
    )


def check_skippable(name: Any) -> None:
    """Refuse to leave out a header that we would not add by ourselves.

    :raises ValueError: naming those that can be left out.
    """
    if lower_name(name) not in SKIPPABLE_HEADERS:
        skippable = "', '".join(sorted(header.title() for header in SKIPPABLE_HEADERS))
        raise ValueError(f"urllib4.util.SKIP_HEADER only supports '{skippable}'")
