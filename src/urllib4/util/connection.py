"""How a TCP connection is opened: name, family, addresses in turn, socket options.

`allowed_gai_family`, `HAS_IPV6` and ``socket`` are looked up in this module at each call: programs
assign them to force IPv4, or to have names resolved in another way.
"""

from __future__ import annotations

import functools
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from .._cancel import CancelToken, interrupt
from ..exceptions import LocationParseError
from .timeout import _DEFAULT_TIMEOUT, _TYPE_TIMEOUT

_TYPE_SOCKET_OPTIONS = Sequence[tuple[int, int, int] | tuple[int, int, bytes]]

#: Seconds after which the next address of a host is tried while those before are silent
#: (RFC 8305, 5: the Connection Attempt Delay).
ATTEMPT_DELAY = 0.25

#: Longest label of a host name, in bytes (RFC 1035, 2.3.4).
_MAX_LABEL = 63

# What programs replace to have names resolved in another way.
_STD_GETADDRINFO = socket.getaddrinfo
_STREAM = int(socket.SOCK_STREAM)


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
    cancel: CancelToken | None = None,
    resolver: Any = None,
    address_filter: Callable[..., Any] | None = None,
    socket_family: int | None = None,
    source_interface: str | None = None,
    attempt_delay: float = ATTEMPT_DELAY,
) -> socket.socket:
    """Return a socket that is connected to the first address of a host that answers.

    Several addresses race (RFC 8305): IPv6 and IPv4 take turns, the next one starts when the one
    before failed, or is silent for `attempt_delay` seconds, and the first that is connected wins.
    By which family a host was reached is remembered for ten minutes, and tried first.

    :param address: host and port; an IPv6 address may be in brackets.
    :param timeout: seconds for the lookup of the name and **all** its addresses together,
        and the timeout of the socket afterwards.  None waits for ever; the default is
        ``socket.getdefaulttimeout()``.
    :param source_address: local host and port to bind to.
    :param socket_options: arguments of ``setsockopt``, each set before anything else happens.
    :param clock: monotonic seconds.
    :param cancel: ends the lookup and the connecting from another thread.
    :param resolver: finds the addresses of a name, see :class:`urllib4.resolvers.Resolver`.
    :param address_filter: decides which addresses may be connected to, see
        :data:`urllib4.address_filters.AddressFilter`.
    :param socket_family: instead of :func:`allowed_gai_family`.
    :param source_interface: name of the network interface to go through.
    :param attempt_delay: seconds between the starts of two attempts; ``math.inf``: one at a time.
    :raises TimeoutError: (the builtin) the name was not found in time, or no address answered.
    :raises RequestCancelledError: `cancel` was used.
    :raises LocationParseError: a label of the host name is empty or longer than 63 bytes.
    :raises socket.gaierror: the name cannot be resolved.
    :raises AddressBlockedError: the filter lets none of the addresses pass.
    :raises OSError: no address could be connected to; it is the error of the last one, and
        names all if there are several.  All sockets are closed then.
    """
    host, port = address
    if host.startswith("["):
        host = host.strip("[]")
    limit = socket.getdefaulttimeout() if timeout is _DEFAULT_TIMEOUT else timeout
    deadline = clock() + limit if limit else None
    candidates = _ipv4(host, port, socket_family)
    if candidates is None:
        _check_labels(host)
        candidates = _look_up(host, port, limit or None, cancel, resolver, socket_family)
    if not candidates:
        raise OSError("getaddrinfo returns an empty list")
    if address_filter is not None:
        from ._addresses import permitted  # few programs have one

        candidates = permitted(candidates, address_filter)

    if len(candidates) == 1:
        sock = _make_socket(candidates[0], source_address, socket_options, source_interface)
        left = limit if deadline is None else deadline - clock()
        _connect(sock, candidates[0][4], left, cancel)
    else:
        from ._eyeballs import Rules, connect_first  # few hosts need it

        rules = Rules(
            lambda one: _make_socket(one, source_address, socket_options, source_interface),
            lambda: limit if deadline is None else deadline - clock(),
            cancel,
            attempt_delay,
            clock,
        )
        sock = connect_first(host, candidates, rules)
    _set_timeout(sock, limit)
    return sock


def _set_timeout(sock: socket.socket, timeout: float | None) -> None:
    # Setting what is set already is a system call for nothing (benchmark ``newconn``).
    if sock.gettimeout() != timeout:
        sock.settimeout(timeout)


def _make_socket(
    candidate: Any,
    source_address: tuple[str, int] | None,
    socket_options: _TYPE_SOCKET_OPTIONS | None,
    source_interface: str | None,
) -> socket.socket:
    """Return a socket for an address, ready to connect."""
    sock = socket.socket(*candidate[:3])
    try:
        _set_socket_options(sock, socket_options)
        if source_interface is not None:
            from .._dialing import bind_to_interface  # few programs ask for it

            bind_to_interface(sock, source_interface)
        if source_address:
            sock.bind(source_address)
    except BaseException:
        sock.close()
        raise
    return sock


def _connect(
    sock: socket.socket, sockaddr: Any, left: float | None, cancel: CancelToken | None
) -> socket.socket:
    """Connect within the time that is left; close the socket if that fails."""
    forget = None if cancel is None else cancel.on_cancel(lambda: interrupt(sock))
    try:
        if left is not None and left <= 0:
            raise TimeoutError("timed out")
        _set_timeout(sock, left)
        if cancel is not None:
            cancel.check("connecting")
        sock.connect(sockaddr)
    except BaseException:
        # Before it is closed: its descriptor may be another's then.
        if forget is not None:
            forget()
        sock.close()
        if cancel is not None:
            cancel.check("connecting")
        raise
    if forget is not None:
        forget()
    return sock


def _ipv4(host: str, port: Any, family: int | None) -> list[Any] | None:
    """Return what ``getaddrinfo`` says of an IPv4 address; None: ask it.

    That would take as long as all else here but the system calls (benchmark ``newconn``).
    """
    if socket.getaddrinfo is not _STD_GETADDRINFO or not _is_ipv4(host):
        return None
    family = allowed_gai_family() if family is None else family
    if family not in (socket.AF_UNSPEC, socket.AF_INET):
        return None
    if type(port) is not int or not 0 <= port <= 65535:
        return None
    sys.audit("socket.getaddrinfo", host, port, int(family), _STREAM, 0)
    return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))]


@functools.lru_cache(maxsize=256)  # asked for each connection (benchmark ``newconn``)
def _is_ipv4(host: str) -> bool:
    """Tell whether `host` is an IPv4 address as everybody writes it: not 127.1, nor 0177.0.0.1."""
    try:
        return socket.inet_ntoa(socket.inet_pton(socket.AF_INET, host)) == host
    except (OSError, ValueError):
        return False


def _look_up(
    host: str,
    port: int,
    timeout: float | None,
    cancel: CancelToken | None,
    resolver: Any = None,
    family: int | None = None,
) -> list[Any]:
    """Return the addresses of a host; ends in time although ``getaddrinfo`` cannot.

    Without a bound, and for a literal address, the lookup runs in this thread.  Otherwise it runs
    in one of its own, which is left behind if it takes too long: it ends with the system's own
    limits.  Where no thread can be started, a lookup without a bound is better than none.
    """
    family = allowed_gai_family() if family is None else family
    if timeout is None and cancel is None and resolver is None:
        # What most do, by the shortest way (benchmark ``newconn``).
        return socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
    literal = _is_literal(host)
    look_up: Callable[[], Any]
    if resolver is None or literal:
        look_up = functools.partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM)
    else:
        from ._addresses import ask  # few programs have a resolver

        if hasattr(resolver, "resolve_nowait"):
            found = ask(resolver.resolve_nowait, host, port, family, nowait=True)
            if found is not None:
                return found
        look_up = functools.partial(ask, resolver.resolve, host, port, family)
    if (timeout is None and cancel is None) or literal:
        return look_up() or []
    lookup = _Lookup(look_up)
    forget = None if cancel is None else cancel.on_cancel(lookup.ended.set)
    try:
        _start(lookup)
        in_time = lookup.ended.wait(timeout)
    finally:
        if forget is not None:
            forget()
    if cancel is not None:
        cancel.check("looking up the host name")
    if not in_time:
        raise TimeoutError(f"looking up {host!r} timed out")
    return lookup.result()


def _start(lookup: _Lookup) -> None:
    """Begin to look up in another thread; where none can be started, do it here."""
    try:
        threading.Thread(target=lookup.run, name="urllib4-lookup", daemon=True).start()
    except RuntimeError:  # too many, or too late: the interpreter is about to end
        lookup.run()


class _Lookup:
    """One lookup in a thread of its own; the event orders its two users."""

    def __init__(self, look_up: Callable[[], Any]) -> None:
        self._look_up = look_up
        self._found: list[Any] = []
        self._error: BaseException | None = None
        self.ended = threading.Event()

    def run(self) -> None:
        try:
            self._found = self._look_up()
        except BaseException as error:
            self._error = error
        finally:
            self.ended.set()

    def result(self) -> list[Any]:
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                error = None  # or the error and this frame would keep each other alive
        return self._found


def _is_literal(host: str) -> bool:
    """Tell whether `host` is an address already."""
    bare = host.partition("%")[0]
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in bare else socket.AF_INET, bare)
    except (OSError, ValueError):
        return False
    return True


def _set_socket_options(sock: socket.socket, options: _TYPE_SOCKET_OPTIONS | None) -> None:
    for option in options or ():
        sock.setsockopt(*option)


@functools.lru_cache(maxsize=256)  # asked for each connection (benchmark ``newconn``)
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
