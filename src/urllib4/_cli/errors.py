"""What goes wrong on the command line: exit codes, and each error as one line for people."""

from __future__ import annotations

from typing import Any

from .. import exceptions as http
from ..connection import BaseSSLError
from ..util.ssl_match_hostname import CertificateError

#: All went well; a reader of our output that had enough (``| head``) is no error either.
OK = 0
#: ``--fail`` was given and the status is 400 or above.
BAD_STATUS = 1
#: The command line cannot be understood, or asks for what cannot be sent; nothing was sent.
USAGE = 2
#: The name was not found, or no connection could be made, to the server or to the proxy.
NO_CONNECTION = 3
#: TLS failed, such as by a certificate that does not verify.
TLS = 4
#: Something took longer than allowed.
TIMEOUT = 5
#: Whatever else a server or a network can do wrong: broken off, no HTTP, too many redirects.
PROTOCOL = 6
#: A local file could not be read or written.
LOCAL_FILE = 7
#: Control-C; 128 and the number of the signal, as shells have it.
INTERRUPTED = 130

_TLS_ERRORS = (http.SSLError, BaseSSLError, CertificateError)


class CommandError(Exception):
    """An error with its exit code; the text is one line for people."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def usage(message: str) -> CommandError:
    """Return the error of a command line that asks for what cannot be done."""
    return CommandError(USAGE, message)


def local_file(doing: str, error: OSError) -> CommandError:
    """Return the error of a local file.

    :param doing: what was tried, such as ``"read a.txt"``.
    """
    return CommandError(LOCAL_FILE, f"cannot {doing}: {error.strerror or error}")


def of_request(error: Exception, shown_url: str) -> CommandError:
    """Return exit code and line for an error that the library raised.

    :param shown_url: what was asked for, without credentials.
    """
    cause = _cause(error)
    code = _code(cause)
    if code == USAGE:
        return CommandError(code, _text(cause))
    return CommandError(code, f"{shown_url}: {_text(cause)}")


def _cause(error: Any) -> Any:
    """Return the error of the last attempt, where the retry policy gave up on it."""
    while isinstance(error, http.MaxRetryError) and error.reason is not None:
        error = error.reason
    return error


def _code(error: Any) -> int:
    if isinstance(error, http.ProxyError):
        # The tunnel that was refused (an OSError) is a connection that could not be made.
        inner = _code(error.original_error)
        return inner if inner in (TLS, TIMEOUT) else NO_CONNECTION
    if isinstance(error, (http.InvalidMethodError, http.InvalidRequestHeaderError)):
        return USAGE
    if isinstance(error, http.NewConnectionError):  # before its base, which is a timeout
        return NO_CONNECTION
    if isinstance(error, (http.TimeoutError, TimeoutError)):
        return TIMEOUT
    if isinstance(error, _TLS_ERRORS):
        return TLS
    return PROTOCOL


def _text(error: Any) -> str:
    """Return what happened, without the class names and addresses that the library adds."""
    if isinstance(error, http.ProxyError):
        return f"proxy: {_text(error.original_error)}"
    if isinstance(error, http.NameResolutionError):
        return f"could not find the host {error._host!r} ({_os_text(error._reason)})"
    if isinstance(error, http.NewConnectionError):
        where = "" if error.conn is None else f" to {error.conn.host} port {error.conn.port}"
        reason = error.__cause__
        return f"could not connect{where}: {_os_text(reason) if reason else error._message}"
    if isinstance(error, http.ConnectTimeoutError) and len(error.args) == 2:
        return str(error.args[1])
    if isinstance(error, http.PoolError):
        return error._message
    if isinstance(error, _TLS_ERRORS):
        return f"TLS: {_tls_text(error)}"
    return _plain_text(error)


def _os_text(error: Any) -> str:
    return str(getattr(error, "strerror", None) or error)


def _tls_text(error: Any) -> str:
    inner = error
    if len(error.args) == 1 and isinstance(error.args[0], Exception):
        inner = error.args[0]
    return str(
        getattr(inner, "verify_message", None)
        or getattr(inner, "reason", None)
        or getattr(inner, "strerror", None)
        or inner
    )


def _plain_text(error: Any) -> str:
    """Return the text of an error; one that wraps another reads ``outer: inner``."""
    parts = [_plain_text(part) if isinstance(part, Exception) else str(part) for part in error.args]
    if isinstance(error, http.IncompleteRead) or not parts:
        return str(error) or type(error).__name__
    # Some texts hold that of the error they wrap already.
    return parts[0] if any(part in parts[0] for part in parts[1:]) else ": ".join(parts)
