"""How a TCP connection is opened: name, family, addresses in turn, socket options.

`allowed_gai_family`, `HAS_IPV6` and ``socket`` are looked up in this module at each call: programs
assign them to force IPv4, or to have names resolved in another way.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from ..exceptions import LocationParseError
from .timeout import _DEFAULT_TIMEOUT, _TYPE_TIMEOUT

_TYPE_SOCKET_OPTIONS = Sequence[tuple[int, int, int] | tuple[int, int, bytes]]

#: Least time for one of several addresses, in seconds, unless less is left: a share of a short
#: timeout would be too short for a distant server.
MIN_ATTEMPT = 2.0

#: Longest label of a host name, in bytes (RFC 1035, 2.3.4).
_MAX_LABEL = 63


def is_connection_dropped(conn: Any) -> bool:
    """Tell whether a connection cannot be used again: closed, or something arrived unasked.

    :param conn: an `urllib4.connection.HTTPConnection`.
    """
    return not conn.is_connected


def create_connection(
    address: tuple[str, int],
    timeout: _TYPE_TIMEOUT = _DEFAULT_TIMEOUT,
    source_address: tuple[str, int] | None = None,
    socket_options: _TYPE_SOCKET_OPTIONS | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> socket.socket:
    """Return a socket that is connected to the first address of a host that answers.

    :param address: host and port; an IPv6 address may be in brackets.
    :param timeout: seconds for **all** addresses of the host together, and the timeout of the
        socket afterwards.  None waits for ever; the default is ``socket.getdefaulttimeout()``.  An
        address that does not answer gets its share of the time only (at least `MIN_ATTEMPT`
        seconds if so much is left), so that the next one has a chance.
    :param source_address: local host and port to bind to.
    :param socket_options: arguments of ``setsockopt``, each set before anything else happens.
    :param clock: monotonic seconds.
    :raises LocationParseError: a label of the host name is empty or longer than 63 bytes.
    :raises socket.gaierror: the name cannot be resolved.
    :raises OSError: no address could be connected to; it is the error of the last one.  All sockets
        are closed then.
    """
    host, port = address
    if host.startswith("["):
        host = host.strip("[]")
    _check_labels(host)
    limit = socket.getdefaulttimeout() if timeout is _DEFAULT_TIMEOUT else timeout
    # The clock is read after the lookup: what that may take is bounded by whoever called us.
    candidates = socket.getaddrinfo(host, port, allowed_gai_family(), socket.SOCK_STREAM)
    if not candidates:
        raise OSError("getaddrinfo returns an empty list")

    deadline = clock() + limit if limit else None
    failure: OSError | None = None
    try:
        for tried, (family, kind, protocol, _, sockaddr) in enumerate(candidates):
            left = limit if deadline is None else deadline - clock()
            if deadline is not None and left is not None:
                if left <= 0:
                    break
                left = min(left, max(left / (len(candidates) - tried), MIN_ATTEMPT))
            try:
                return _connect(
                    (family, kind, protocol), sockaddr, left, limit, source_address, socket_options
                )
            except OSError as error:
                failure = error
        raise failure or TimeoutError("timed out")
    finally:
        # The error knows this frame: a reference back would keep both alive until a collection.
        failure = None


def _connect(
    kind: tuple[int, int, int],
    sockaddr: Any,
    attempt_timeout: float | None,
    timeout: float | None,
    source_address: tuple[str, int] | None,
    socket_options: _TYPE_SOCKET_OPTIONS | None,
) -> socket.socket:
    sock = socket.socket(*kind)
    try:
        _set_socket_options(sock, socket_options)
        sock.settimeout(attempt_timeout)
        if source_address:
            sock.bind(source_address)
        sock.connect(sockaddr)
        sock.settimeout(timeout)
    except BaseException:
        sock.close()
        raise
    return sock


def _set_socket_options(sock: socket.socket, options: _TYPE_SOCKET_OPTIONS | None) -> None:
    for option in options or ():
        sock.setsockopt(*option)


def _check_labels(host: str) -> None:
    """Refuse what no name server may be asked for.

    :raises LocationParseError: a label is empty or too long.
    """
    try:
        # Other names than ASCII go to the resolver in the encoding that is measured here.
        labels = host.split(".") if host.isascii() else host.encode("idna").decode().split(".")
        usable = all(labels[:-1]) and max(map(len, labels)) <= _MAX_LABEL
    except UnicodeError:
        usable = False
    if not usable:
        raise LocationParseError(f"'{host}', label empty or too long")


def allowed_gai_family() -> socket.AddressFamily:
    """Return the address family to look names up for: IPv4 only where there is no IPv6.

    Programs replace this function; it is looked up at each call.
    """
    return socket.AF_UNSPEC if HAS_IPV6 else socket.AF_INET


def _has_ipv6(host: str) -> bool:
    """Tell whether a socket can be bound to the IPv6 address `host`."""
    if not socket.has_ipv6:
        return False
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind((host, 0))
    except OSError:
        return False
    return True


#: Whether this machine has IPv6, found out once by binding to ``::1``.
HAS_IPV6 = _has_ipv6("::1")
