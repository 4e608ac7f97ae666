"""Each failure has its exit code, and is told as one line that names no secret."""

from __future__ import annotations

import socket
import ssl
from http.client import RemoteDisconnected
from typing import Any

import pytest

from urllib4 import exceptions as http
from urllib4._cli import errors
from urllib4.connection import HTTPConnection
from urllib4.connectionpool import HTTPConnectionPool

POOL = HTTPConnectionPool("h.example", 80)
CONN = HTTPConnection("h.example", 80)


def _refused() -> Exception:
    error = http.NewConnectionError(CONN, "Failed to establish a new connection: [Errno 111] x")
    error.__cause__ = ConnectionRefusedError(111, "Connection refused")
    return error


def _expired() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] ... (_ssl.c:1006)")
    error.verify_message = "certificate has expired"
    return error


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (_refused(), 3, "could not connect to h.example port 80: Connection refused"),
        (http.NewConnectionError(None, "no way"), 3, "could not connect: no way"),
        (
            http.NameResolutionError("h.example", CONN, socket.gaierror(-2, "not known")),
            3,
            "could not find the host 'h.example' (not known)",
        ),
        (http.ProxyError("Unable to connect to proxy", _refused()), 3, "proxy: could not connect"),
        (http.ProxyError("x", OSError("Tunnel connection failed: 407")), 3, "proxy: Tunnel conn"),
        (http.ProxyError("x", http.SSLError(_expired())), 4, "proxy: TLS: certificate has expired"),
        (http.SSLError(_expired()), 4, "TLS: certificate has expired"),
        (http.SSLError("no key"), 4, "TLS: no key"),
        (http.ConnectTimeoutError(CONN, "timed out after 2 s"), 5, "timed out after 2 s"),
        (http.ReadTimeoutError(POOL, "/x", "Read timed out."), 5, "Read timed out."),
        (http.DeadlineExceededError("connecting", 2.0), 5, "deadline of 2.0 s exceeded"),
        (
            http.ProtocolError("Connection aborted.", RemoteDisconnected("closed")),
            6,
            "Connection aborted.: closed",
        ),
        (http.ProtocolError("Broken: IncompleteRead(1)", http.IncompleteRead(1, 2)), 6, "Broken"),
        (http.DecodeError("failed to decode it", OSError("bad gzip")), 6, "failed to decode"),
        (http.ResponseError("too many redirects"), 6, "too many redirects"),
    ],
)
def test_a_failure_has_its_exit_code_and_one_line(error: Exception, code: int, text: str) -> None:
    for one in (error, http.MaxRetryError(POOL, "/x", error)):
        told = errors.of_request(one, "http://h.example/x")
        assert told.code == code
        assert str(told).startswith(f"http://h.example/x: {text}")
        assert "object at" not in str(told)


@pytest.mark.parametrize(
    "error",
    [
        http.InvalidMethodError("Method cannot contain 'A B'"),
        http.InvalidRequestHeaderError("Invalid header name 'a b'"),
    ],
)
def test_what_cannot_be_sent_is_wrong_usage(error: Any) -> None:
    """It is the caller's mistake, not one of the URL."""
    told = errors.of_request(error, "http://h.example/")
    assert (told.code, str(told)) == (2, str(error))
