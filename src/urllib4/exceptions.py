"""Every error and warning of the library.

Nothing here imports another module of ours but the one of the warnings, so every module can raise
these.  All classes pickle: type, ``args``, text, attributes and ``__notes__`` come back as they
were, only the live objects (``pool``, ``conn``, ``response``) come back as ``None``.  No
constructor runs again on the way, so subclasses with a constructor of their own pickle as well.

Instances are as safe to share between threads as any exception: nothing changes them once raised.
"""

from __future__ import annotations

import copyreg
import re
import warnings
from collections.abc import Callable, Sequence
from http.client import IncompleteRead as httplib_IncompleteRead
from http.client import InvalidURL
from typing import Any

from ._warnings import DependencyWarning as DependencyWarning
from ._warnings import HTTPWarning as HTTPWarning
from ._warnings import InsecurePlatformWarning as InsecurePlatformWarning
from ._warnings import InsecureRequestWarning as InsecureRequestWarning
from ._warnings import NotOpenSSLWarning as NotOpenSSLWarning
from ._warnings import SecurityWarning as SecurityWarning
from ._warnings import SystemTimeWarning as SystemTimeWarning

# Attributes that hold sockets and locks: they cannot leave the process.
_LIVE_ATTRIBUTES = frozenset(("pool", "conn", "response"))

_USERINFO = re.compile(r"(?<=//)[^/?#]*@")


def _without_userinfo(url: Any) -> Any:
    """Hide the userinfo of a well-formed URL: texts end up in logs, which are no place for it."""
    return _USERINFO.sub("***@", url) if isinstance(url, str) else url


def _without_any_userinfo(location: Any) -> Any:
    """Hide all up to the last ``@``: without a grammar, a password may be anywhere before."""
    if not isinstance(location, str) or "@" not in location:
        return location
    before, _, after = location.rpartition("@")
    scheme, slashes, _ = before.partition("//")
    return f"{scheme}{slashes}***@{after}" if slashes else f"***@{after}"


class HTTPError(Exception):
    """Base of every error that this library raises on account of a request or a response.

    ``except HTTPError`` therefore catches whatever a server, a proxy or the network can cause.
    """

    def _portable_args(self) -> tuple[Any, ...]:
        """Return ``args`` with the live objects among them replaced by None."""
        live = [self.__dict__.get(name) for name in _LIVE_ATTRIBUTES]
        return tuple(None if any(value is one for one in live) else value for value in self.args)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        state = {
            name: None if name in _LIVE_ATTRIBUTES else value
            for name, value in self.__dict__.items()
        }
        # Not (type(self), args): most constructors turn their arguments into a text, and handing
        # them that text would put the prefix in front of it a second time.
        rebuild = copyreg.__newobj__  # type: ignore[attr-defined]  # typeshed leaves it out
        return rebuild, (type(self), *self._portable_args()), state


class PoolError(HTTPError):
    """Something went wrong in a connection pool.

    :param pool: the pool; ``.pool`` keeps it (None after unpickling).
    :param message: what happened; the text is ``"{pool}: {message}"``.
    """

    def __init__(self, pool: Any, message: str) -> None:
        self.pool = pool
        self._message = message
        super().__init__(f"{pool}: {message}")


class RequestError(PoolError):
    """A request of a pool failed.

    :param url: what was asked for; ``.url`` keeps it.
    """

    def __init__(self, pool: Any, url: str | None, message: str) -> None:
        self.url = url
        super().__init__(pool, message)


class SSLError(HTTPError):
    """TLS failed: the handshake, a certificate, or the encrypted connection later on."""


class ProxyError(HTTPError):
    """The connection to a proxy, or through it, failed.

    ``.original_error`` is the error that the connection itself met.  If the proxy refused a
    tunnel, ``.status``, ``.headers`` (an ``HTTPHeaderDict``) and ``.body`` (bytes as sent, at
    most the first 64 KiB) are its answer; they are None otherwise.
    """

    status: int | None = None
    headers: Any = None
    body: bytes | None = None

    def __init__(self, message: str, error: Exception) -> None:
        super().__init__(message, error)
        self.original_error = error


class DecodeError(HTTPError):
    """The content does not keep to its Content-Encoding, or ends before the encoded stream does."""


class ProtocolError(HTTPError):
    """The peer broke the rules of HTTP, or the connection broke in the middle of an exchange."""


#: Another name of :class:`ProtocolError`.  It is not the builtin ``ConnectionError``.
ConnectionError = ProtocolError


class MaxRetryError(RequestError):
    """The retry policy allows no further attempt.

    ``.reason`` is the error of the last attempt, or None.
    """

    def __init__(self, pool: Any, url: str | None, reason: Exception | None = None) -> None:
        self.reason = reason
        shown = _without_userinfo(url)
        super().__init__(
            pool, url, f"Max retries exceeded with url: {shown} (Caused by {reason!r})"
        )


class HostChangedError(RequestError):
    """A pool was asked for a URL of another host than its own.

    ``.retries`` is the retry policy (or count) of the call.
    """

    def __init__(self, pool: Any, url: str, retries: Any = 3) -> None:
        super().__init__(
            pool, url, f"Tried to open a foreign host with url: {_without_userinfo(url)}"
        )
        self.retries = retries


class TimeoutStateError(HTTPError):
    """A ``Timeout`` was used in the wrong order, such as its clock started twice."""


class TimeoutError(HTTPError):
    """A wait lasted longer than allowed.  It is not the builtin ``TimeoutError``."""


class ReadTimeoutError(TimeoutError, RequestError):
    """The peer sent nothing for as long as the read timeout."""


class ConnectTimeoutError(TimeoutError):
    """No connection could be made within the connect timeout.

    Raised as ``ConnectTimeoutError(conn, message)``: ``args`` are these two, ``.conn`` is the
    first, and the text is ``"{conn}: {message}"``.
    """

    #: The connection that failed; None when unknown and after unpickling.
    conn: Any = None

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        if len(args) == 2:
            self.conn = args[0]

    def _portable_args(self) -> tuple[Any, ...]:
        if len(self.args) == 2:
            return str(self.args[0]), self.args[1]
        return super()._portable_args()

    def __str__(self) -> str:
        if len(self.args) == 2:
            return f"{self.args[0]}: {self.args[1]}"
        return super().__str__()


class NewConnectionError(ConnectTimeoutError, HTTPError):
    """A new connection could not be made.

    :param conn: the connection; ``.conn`` keeps it (None after unpickling).
    :param message: what happened; the text is ``"{conn}: {message}"``.
    """

    def __init__(self, conn: Any, message: str) -> None:
        self._message = message
        super().__init__(f"{conn}: {message}")
        self.conn = conn

    @property
    def pool(self) -> Any:
        """Deprecated name of ``conn``."""
        warnings.warn(
            "NewConnectionError.pool is deprecated and will be removed in urllib4 5.0. "
            "Use NewConnectionError.conn instead.",
            FutureWarning,
            stacklevel=2,
        )
        return self.conn


class NameResolutionError(NewConnectionError):
    """The name of a host could not be resolved to an address."""

    def __init__(self, host: str, conn: Any, reason: Exception) -> None:
        self._host = host
        self._reason = reason
        super().__init__(conn, f"Failed to resolve '{host}' ({reason})")


class AddressBlockedError(NewConnectionError):
    """A policy forbids to connect to this address; no packet was sent to it.

    :param address: the address as text; ``.address`` keeps it.
    :param reason: why it is forbidden, such as "private network"; ``.reason`` keeps it.

    Never retried, and not wrapped in a :exc:`MaxRetryError` or :exc:`ProxyError`: the decision was
    made on this side.  Other addresses of the same host were refused as well, or there are none.
    """

    def __init__(self, conn: Any, address: str, reason: str) -> None:
        self.address = address
        self.reason = reason
        super().__init__(conn, f"connecting to {address} is not allowed ({reason})")
        if conn is None:  # raised by a filter, which knows no connection
            self.args: tuple[Any, ...] = (self._message,)


class DeadlineExceededError(TimeoutError):
    """The whole call lasted longer than its deadline.

    :param phase: what was going on, such as "reading the body"; ``.phase`` keeps it.
    :param deadline: the seconds that were asked for; ``.deadline`` keeps them.

    Never retried: no time is left.
    """

    def __init__(self, phase: str, deadline: float) -> None:
        self.phase = phase
        self.deadline = deadline
        super().__init__(f"deadline of {deadline} s exceeded while {phase}")


class RequestCancelledError(HTTPError):
    """The call's cancel token was used.

    :param phase: what was going on, such as "connecting"; ``.phase`` keeps it.

    Never retried: somebody asked for the end.
    """

    def __init__(self, phase: str) -> None:
        self.phase = phase
        super().__init__(f"request cancelled while {phase}")


class EmptyPoolError(PoolError):
    """The pool ran out of connections and may not open more."""


class FullPoolError(PoolError):
    """A connection came back to a pool that blocks and is full."""


class ClosedPoolError(PoolError):
    """The pool was used after it had been closed."""


class LocationValueError(ValueError, HTTPError):
    """A URL given by the caller cannot be used, such as one without a host."""


class LocationParseError(LocationValueError):
    """A URL cannot be parsed.

    ``.location`` is the URL as it was given; the text shows it without userinfo.
    """

    def __init__(self, location: str) -> None:
        super().__init__(f"Failed to parse: {_without_any_userinfo(location)}")
        self.location = location


class InsecureRedirectError(LocationValueError):
    """A redirect leads from https to http, and ``Retry(allow_downgrade=False)`` refuses that.

    :param location: where it leads; ``.location`` keeps it.
    """

    def __init__(self, location: str) -> None:
        super().__init__(
            f"refused to follow a redirect from https to http: {_without_any_userinfo(location)}"
        )
        self.location = location


class URLSchemeUnknown(LocationValueError):
    """A URL has a scheme that nothing here can speak.

    ``.scheme`` is that scheme.
    """

    def __init__(self, scheme: str) -> None:
        super().__init__(f"Not supported URL scheme {scheme}")
        self.scheme = scheme


class ResponseError(HTTPError):
    """The server answered, but with too many error statuses for the retry policy."""

    #: Text used when no status is known.
    GENERIC_ERROR = "too many error responses"
    #: Text used with ``.format(status_code=...)``.
    SPECIFIC_ERROR = "too many {status_code} error responses"


class ResponseNotChunked(ProtocolError, ValueError):
    """A response was to be read as chunks but is not chunked."""


class BodyNotHttplibCompatible(HTTPError):
    """The body object lacks what reading chunks from it needs (``fp`` of ``http.client``)."""


class IncompleteRead(HTTPError, httplib_IncompleteRead):
    """The body ended before its declared length.

    :param partial: bytes received (a number, unlike the standard library's).
    :param expected: bytes still missing.
    """

    def __init__(self, partial: int, expected: int) -> None:
        # The standard library's constructor would take the numbers for bytes.
        Exception.__init__(self, partial, expected)
        self.partial = partial  # type: ignore[assignment]
        self.expected: int | None = expected

    def __repr__(self) -> str:
        return f"IncompleteRead({self.partial!r} bytes read, {self.expected} more expected)"

    __str__ = __repr__


class InvalidChunkLength(HTTPError, httplib_IncompleteRead):
    """A chunk of a chunked body has a malformed size line.

    :param response: asked for ``tell()`` and ``length_remaining``, which ``.partial`` and
        ``.expected`` keep; ``.response`` is None after unpickling.
    :param length: the offending text; ``.length`` keeps it.
    """

    def __init__(self, response: Any, length: bytes) -> None:
        Exception.__init__(self, response, length)
        self.partial: Any = response.tell()
        self.expected: int | None = response.length_remaining
        self.response = response
        self.length = length

    def __repr__(self) -> str:
        return f"InvalidChunkLength(got length {self.length!r}, {self.partial!r} bytes read)"

    __str__ = __repr__


class InvalidHeader(HTTPError):
    """A header field has a value that cannot be understood."""


class InvalidFieldError(ValueError, HTTPError):
    """A name or value given by the caller must not be written into a message.

    Control characters in it could end the line it stands on and start another one.
    """


class ProxySchemeUnknown(AssertionError, URLSchemeUnknown):
    """The URL of a proxy has no scheme, or one that is no proxy's.

    ``.scheme`` is the scheme, or None.
    """

    def __init__(self, scheme: str | None) -> None:
        # "localhost:8080" reads as a URL of scheme "localhost", but nobody means that.
        if scheme is None or scheme == "localhost":
            message = "Proxy URL had no scheme, should start with http:// or https://"
        else:
            message = f"Proxy URL had unsupported scheme {scheme}, should use http:// or https://"
        Exception.__init__(self, message)
        self.scheme = scheme  # type: ignore[assignment]  # None is possible here only


class ProxySchemeUnsupported(ValueError):
    """The scheme of a proxy cannot be combined with the scheme of the target."""


class HeaderParsingError(HTTPError):
    """A header block has defects.

    :param defects: what is wrong with it; ``.defects`` keeps them.
    :param unparsed_data: the part that was not understood; ``.unparsed_data`` keeps it.
    """

    def __init__(self, defects: Sequence[Any], unparsed_data: bytes | str | None) -> None:
        super().__init__(f"{defects or 'Unknown'}, unparsed data: {unparsed_data!r}")
        self.defects = defects
        self.unparsed_data = unparsed_data


class UnrewindableBodyError(HTTPError):
    """The body must be sent again but cannot be: it was read, and does not seek."""


class HeadTooLargeError(ProtocolError):
    """The response head is longer than ``max_head`` bytes.

    :param limit: the limit that was exceeded, in bytes; ``.limit`` keeps it.

    Never retried: the server would send the same head.  The connection is closed.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(f"response head exceeds {limit} bytes (raise max_head to accept it)")
        self.limit = limit


class ResponseTooLargeError(ProtocolError):
    """The content is larger than the caller allows.

    :param limit: the limit that was exceeded; ``.limit`` keeps it.  Bytes for "response" (as
        sent) and "decoded" (after Content-Encoding), a factor for "expansion" (decoded / sent).
    :param kind: which limit it is; ``.kind`` keeps it.

    Never retried: the server would send the same content.  The connection is closed.
    """

    def __init__(self, limit: float, kind: str = "response") -> None:
        if kind == "expansion":
            message = f"decoded content is more than {limit} times as large as what was sent"
        else:
            message = f"{kind} content exceeds {limit} bytes"
        super().__init__(message)
        self.limit = limit
        self.kind = kind


class InvalidMethodError(ValueError, HTTPError):
    """The request method is not a token (RFC 9110, 9.1); nothing was sent."""


class InvalidTargetError(LocationValueError, InvalidURL):
    """The request target holds characters that must not be sent (RFC 9112, 3.2)."""


class InvalidRequestHeaderError(ValueError, InvalidHeader):
    """A header of a request must not be sent as given (RFC 9110, 5.5); nothing was sent.

    The message names the header and never shows its value.
    """


class BodyChangedError(ValueError, HTTPError):
    """A file became shorter or longer while it was being sent.

    Never retried.  Its old length was announced already, so the connection is closed: no server
    takes the request for a whole one.

    .. versionadded:: 4.0
    """
