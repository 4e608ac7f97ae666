"""A web application with one endpoint per behaviour that a client has to cope with.

Parameters are read from the query; a bad one is answered with 400.  Answers that a program reads
are JSON.  What no sane web server would send is the business of `script`.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

from tornado.http1connection import HTTP1Connection
from tornado.iostream import StreamClosedError
from tornado.web import Application, HTTPError, RequestHandler

#: Every method is let through to every endpoint, so that what a client sends can be seen.
METHODS = (
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "QUERY",
    "PROPFIND",
    "BREW",
)

#: Longest delay of ``/slow``, in seconds.
MAX_DELAY = 10.0

#: Largest answer of ``/large`` and ``/encoded``, in bytes.
MAX_SIZE = 1 << 30

_PIECE = b"0123456789abcdef" * 4096


class Endpoint(RequestHandler):
    """Answers every method by `answer()`; HEAD gets the same head without the body."""

    SUPPORTED_METHODS = METHODS

    async def answer(self) -> None:
        raise NotImplementedError

    async def _answer(self) -> None:
        await self.answer()

    get = head = post = put = patch = delete = options = _answer
    trace = query = propfind = brew = _answer

    def compute_etag(self) -> None:
        """No ETag and no 304: a test asks for those itself."""

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        if not isinstance(value, StreamClosedError):  # clients that leave early are our daily bread
            super().log_exception(typ, value, tb)

    def number(self, name: str, default: float, highest: float) -> float:
        text = self.get_query_argument(name, str(default))
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value <= highest:
            raise HTTPError(400, reason=f"{name} must be between 0 and {highest:g}")
        return value

    def integer(self, name: str, default: int, highest: int) -> int:
        return int(self.number(name, default, highest))

    def write_json(self, value: object) -> None:
        self.set_header("Content-Type", "application/json")
        self.write(json.dumps(value).encode())

    def write_text(self, text: str) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.write(text.encode())

    def peer(self) -> list[object]:
        """The client's address and port, which tell connections apart."""
        connection = self.request.connection
        assert isinstance(connection, HTTP1Connection)
        return list(connection.stream.socket.getpeername()[:2])

    def header_pairs(self) -> list[tuple[str, str]]:
        return list(self.request.headers.get_all())


class Index(Endpoint):
    """``/``: a short text."""

    async def answer(self) -> None:
        self.write_text("Dummy server!")


class Echo(Endpoint):
    """``/echo``: the request as JSON.

    ``method``, ``target`` (as sent), ``version``, ``headers`` (pairs; names in Camel-Case, the only
    form tornado keeps), ``args`` (of the query, lists), ``body`` (bytes read as Latin-1) and
    ``peer``.
    """

    async def answer(self) -> None:
        request = self.request
        self.write_json(
            {
                "method": request.method,
                "target": request.uri,
                "version": request.version,
                "headers": self.header_pairs(),
                "args": {
                    name: [value.decode() for value in values]
                    for name, values in request.query_arguments.items()
                },
                "body": request.body.decode("latin-1"),
                "peer": self.peer(),
            }
        )


class EchoRaw(Endpoint):
    """``/echo_raw``: the body as it came, with the Content-Type as it came."""

    async def answer(self) -> None:
        media_type = self.request.headers.get("Content-Type", "application/octet-stream")
        self.set_header("Content-Type", media_type)
        self.write(self.request.body)


class Headers(Endpoint):
    """``/headers``: the request's fields as JSON pairs."""

    async def answer(self) -> None:
        self.write_json({"headers": self.header_pairs()})


class ResponseHeaders(Endpoint):
    """``/response_headers?name=value...``: each parameter becomes a field of the answer."""

    async def answer(self) -> None:
        for name, values in self.request.query_arguments.items():
            self.clear_header(name)
            for value in values:
                self.add_header(name, value.decode())
        self.write(b"see the header section")


class SpecificMethod(Endpoint):
    """``/specific_method?method=PUT``: 200 if the request used that method, else 400."""

    async def answer(self) -> None:
        wanted = self.get_query_argument("method")
        if self.request.method != wanted:
            raise HTTPError(400, reason="Wrong method")
        self.write_text(f"It was {wanted}")


class Redirect(Endpoint):
    """``/redirect?target=/&status=303``: any Location, relative, absolute or of another origin.

    ``count`` (default 1): so many redirects before the one to the target.
    """

    async def answer(self) -> None:
        self.set_status(self.integer("status", 303, 399))
        target = self.get_query_argument("target", "/")
        count = self.integer("count", 1, 10_000)
        if count > 1:
            arguments = dict(self.request.query_arguments, count=[str(count - 1).encode()])
            target = "/redirect?" + "&".join(
                f"{name}={_quoted(values[-1])}" for name, values in arguments.items()
            )
        self.set_header("Location", target)
        self.write_text("elsewhere")


class MultiRedirect(Endpoint):
    """``/multi_redirect?codes=303,307,200``: one status after the other, each redirecting here."""

    async def answer(self) -> None:
        try:
            codes = [int(code) for code in self.get_query_argument("codes").split(",")]
        except ValueError:
            raise HTTPError(400, reason="codes must be numbers") from None
        self.set_status(codes[0])
        if len(codes) > 1:
            rest = ",".join(str(code) for code in codes[1:])
            self.set_header("Location", f"/multi_redirect?codes={rest}")
        self.write_text("Done" if len(codes) == 1 else "elsewhere")


class Status(Endpoint):
    """``/status?status=503&retry_after=1``: that status, with a Retry-After field if given."""

    async def answer(self) -> None:
        status = self.integer("status", 200, 599)
        if status < 200:
            raise HTTPError(400, reason="status must be final")
        self.set_status(status)
        retry_after = self.get_query_argument("retry_after", None)
        if retry_after is not None:
            self.set_header("Retry-After", retry_after)
        if status not in (204, 304):
            self.write_text(f"This is {status}")


class SuccessfulRetry(Endpoint):
    """``/successful_retry?key=a&fail=1``: fails so many times per key, then answers 200.

    ``status`` (default 503) of the failures, and ``retry_after`` for their Retry-After field.
    """

    async def answer(self) -> None:
        seen: dict[str, int] = self.application.settings["retries_seen"]
        key = self.get_query_argument("key")
        seen[key] = seen.get(key, 0) + 1
        if seen[key] <= self.integer("fail", 1, 10_000):
            self.set_status(self.integer("status", 503, 599))
            retry_after = self.get_query_argument("retry_after", None)
            if retry_after is not None:
                self.set_header("Retry-After", retry_after)
            self.write_text("try again")
        else:
            self.write_json({"attempts": seen[key]})


class Encoded(Endpoint):
    """``/encoded?coding=gzip``: a body in one or several content codings, applied from the left.

    ``coding``: gzip, deflate (zlib format), raw_deflate (sent as ``deflate``), br, zstd, identity,
    or a list such as ``gzip,br``.  ``size``: length of the decoded body, by default a short text.
    """

    async def answer(self) -> None:
        names = self.get_query_argument("coding", "gzip").split(",")
        size = self.integer("size", 0, MAX_SIZE)
        body = large_body(size) if size else b"hello, world!"
        for name in names:
            if name not in ENCODERS:
                raise HTTPError(400, reason="unknown coding")
            body = ENCODERS[name](body)
        labels = ["deflate" if name == "raw_deflate" else name for name in names]
        self.set_header("Content-Encoding", ", ".join(labels))
        self.set_header("Content-Type", "text/plain")
        self.write(body)


class Chunked(Endpoint):
    """``/chunked?count=4&size=3&coding=gzip``: a chunked body; each chunk is ``123...``.

    With ``coding`` the whole is compressed (gzip) and its bytes are spread over the chunks.
    """

    async def answer(self) -> None:
        count = self.integer("count", 4, 100_000)
        chunk = (b"1234567890" * 1000)[: self.integer("size", 3, 10_000)]
        chunks = [chunk] * count
        if self.get_query_argument("coding", None) == "gzip":
            self.set_header("Content-Encoding", "gzip")
            packed = gzip.compress(b"".join(chunks))
            step = max(1, -(-len(packed) // max(1, count)))
            chunks = [packed[i : i + step] for i in range(0, len(packed), step)]
        self.set_header("Content-Type", "text/plain")
        await self.flush()  # the head leaves without a length, so tornado sends chunks
        for piece in chunks:
            self.write(piece)
            await self.flush()


class SetCookies(Endpoint):
    """``/set_cookie?name=value...``: one Set-Cookie field per parameter."""

    async def answer(self) -> None:
        for name, values in self.request.query_arguments.items():
            for value in values:
                self.add_header("Set-Cookie", f"{name}={value.decode()}; Path=/")
        self.write_text("cookies set")


class Cookies(Endpoint):
    """``/cookies``: the cookies of the request as a JSON object."""

    async def answer(self) -> None:
        self.write_json({name: morsel.value for name, morsel in self.request.cookies.items()})


class Upload(Endpoint):
    """``/upload``: a form as tornado's parser understands it.

    ``fields`` (name to list of values) and ``files`` (in order: name, filename, content_type, size,
    and the content as Latin-1 while it is short).
    """

    async def answer(self) -> None:
        files = [
            {
                "name": name,
                "filename": file.filename,
                "content_type": file.content_type,
                "size": len(file.body),
                "content": file.body.decode("latin-1") if len(file.body) <= 4096 else None,
            }
            for name, group in self.request.files.items()
            for file in group
        ]
        fields = {
            name: [value.decode() for value in values]
            for name, values in self.request.body_arguments.items()
        }
        self.write_json({"fields": fields, "files": files, "length": len(self.request.body)})


class Slow(Endpoint):
    """``/slow?seconds=1``: answers after that time, at most `MAX_DELAY`."""

    async def answer(self) -> None:
        await asyncio.sleep(self.number("seconds", 1, MAX_DELAY))
        self.write_text("at last")


class Large(Endpoint):
    """``/large?size=1048576``: so many bytes with a Content-Length, streamed.

    The content is the same for the same size (see `large_body`).
    """

    async def answer(self) -> None:
        size = self.integer("size", 1 << 20, MAX_SIZE)
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("Content-Length", str(size))
        while size > 0:
            piece = _PIECE[:size]
            size -= len(piece)
            self.write(piece)
            await self.flush()


class KeepAlive(Endpoint):
    """``/keepalive?close=0``: the peer as JSON; with ``close=1`` the server ends the connection."""

    async def answer(self) -> None:
        if self.integer("close", 0, 1):
            self.set_header("Connection", "close")
        self.write_json({"peer": self.peer()})


class Close(Endpoint):
    """``/close``: an answer with ``Connection: close``."""

    async def answer(self) -> None:
        self.set_header("Connection", "close")
        self.write_text("closing")


class NotFound(Endpoint):
    """Everything else: 404."""

    async def answer(self) -> None:
        self.set_status(404)
        self.write_text("no such endpoint")


def large_body(size: int) -> bytes:
    """Return what ``/large?size=`` sends."""
    return (_PIECE * (size // len(_PIECE) + 1))[:size]


def make_app() -> Application:
    """Return a new application; its retry counters start at zero."""
    return Application(
        [
            (r"/", Index),
            (r"/echo", Echo),
            (r"/echo_raw", EchoRaw),
            (r"/headers", Headers),
            (r"/response_headers", ResponseHeaders),
            (r"/specific_method", SpecificMethod),
            (r"/redirect", Redirect),
            (r"/multi_redirect", MultiRedirect),
            (r"/status", Status),
            (r"/successful_retry", SuccessfulRetry),
            (r"/encoded", Encoded),
            (r"/chunked", Chunked),
            (r"/set_cookie", SetCookies),
            (r"/cookies", Cookies),
            (r"/upload", Upload),
            (r"/slow", Slow),
            (r"/large", Large),
            (r"/keepalive", KeepAlive),
            (r"/close", Close),
            (r".*", NotFound),
        ],
        log_function=lambda handler: None,
        retries_seen={},
    )


def _quoted(value: bytes) -> str:
    return "".join(
        chr(byte) if chr(byte).isalnum() and byte < 128 else f"%{byte:02X}" for byte in value
    )


def _raw_deflate(data: bytes) -> bytes:
    encoder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return encoder.compress(data) + encoder.flush()


# The optional packages are loaded by the first request for their coding.


def _brotli(data: bytes) -> bytes:
    try:
        import brotli
    except ImportError:
        import brotlicffi as brotli
    packed: bytes = brotli.compress(data)
    return packed


def _zstd(data: bytes) -> bytes:
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        from backports import zstd
    packed: bytes = zstd.compress(data)
    return packed


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "identity": lambda data: data,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "raw_deflate": _raw_deflate,
    "br": _brotli,
    "zstd": _zstd,
}
