"""Connections and pools through SOCKS proxies; `urllib4.contrib.socks` is their public place.

They stand apart from the manager there, so that every manager can use them: nothing here knows
of managers.
"""

from __future__ import annotations

import socket
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, cast
from urllib.parse import unquote

from .._caller import warn_caller
from .._cancel import CancelToken, interruptible
from .._deadline import Deadline
from ..connection import (
    _OWN_CREATE_CONNECTION,
    HTTPConnection,
    HTTPSConnection,
    check_dialing,
)
from ..connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from ..exceptions import (
    AddressBlockedError,
    ConnectTimeoutError,
    DependencyWarning,
    LocationValueError,
    NameResolutionError,
    NewConnectionError,
    SecurityWarning,
)
from ..util import connection as _connection
from ..util.url import Url

try:
    from python_socks import ProxyError, ProxyType
    from python_socks.sync import Proxy
except ImportError:
    warnings.warn(
        "SOCKS proxies need the package python-socks: pip install 'urllib4[socks]'",
        DependencyWarning,
        stacklevel=3,  # whoever imports the public module
    )
    raise

#: The port of a proxy whose URL names none (registered with IANA).
DEFAULT_PORT = 1080

#: Longest user name, password and host name, in bytes: their length is sent as one byte.
_MAX_BYTES = 255

# Scheme: version, and whether the proxy resolves names.
_SCHEMES = {
    "socks4": (ProxyType.SOCKS4, False),
    "socks4a": (ProxyType.SOCKS4, True),
    "socks5": (ProxyType.SOCKS5, False),
    "socks5h": (ProxyType.SOCKS5, True),
}

# Replies after which another address of the same host may do: unreachable network or host,
# refused, TTL expired, address type not supported (RFC 1928, 6); SOCKS 4 has one for all.
_TRY_NEXT_ADDRESS = {
    ProxyType.SOCKS4: frozenset({0x5B}),
    ProxyType.SOCKS5: frozenset({3, 4, 5, 6, 8}),
}


class _Masked(str):
    """A text that is not shown by ``repr``, hence neither in logs nor in tracebacks of mappings."""

    shown: str

    def __new__(cls, value: str, shown: str = "***") -> _Masked:
        self = super().__new__(cls, value)
        self.shown = shown
        return self

    def __repr__(self) -> str:
        return repr(self.shown)

    def __reduce__(self) -> tuple[type[_Masked], tuple[str, str]]:
        return type(self), (str.__str__(self), self.shown)


class _Octets(_Masked):
    """A credential as python-socks takes it: one character per byte.

    It counts characters and encodes them as ASCII, but credentials are octets (RFC 1929) and
    often outside ASCII.
    """

    @classmethod
    def of(cls, text: str | None) -> _Masked | None:
        return None if text is None else cls(_octets(text).decode("latin-1"))

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return str.encode(self, "latin-1")


class SOCKSConnection(HTTPConnection):
    """A plain connection to one host through a SOCKS proxy.

    :param _socks_options: ``socks_version`` (4 or 5 as a member of ``python_socks.ProxyType``, or
        1 or 2 as PySocks numbers them), ``proxy_host``, ``proxy_port``, ``username``, ``password``,
        and ``rdns``: whether the proxy resolves names.
    :param args, kwargs: for :class:`~urllib4.connection.HTTPConnection`.  ``timeout`` bounds
        the way to the proxy and the handshake with it together.
    :raises ValueError: an option cannot be sent.

    Not safe to share between threads; a pool hands it to one at a time.
    """

    def __init__(self, _socks_options: Mapping[str, Any], *args: Any, **kwargs: Any) -> None:
        self._socks_options = _checked_options(_socks_options)
        check_dialing(kwargs, proxy=True)
        super().__init__(*args, **kwargs)

    def _new_conn(self) -> socket.socket:
        """Open a socket to the proxy and let the proxy connect it with the host.

        :raises NameResolutionError: the name of the proxy, or of the host, is not known.
        :raises ConnectTimeoutError: it took longer than ``timeout``.
        :raises NewConnectionError: the proxy cannot be reached, refuses, or does not speak SOCKS.
        :raises LocationValueError: the host cannot be written in SOCKS.
        :raises AddressBlockedError: the address of the proxy, or that of the host as far as it is
            known on this side, may not be connected to.
        """
        cancel = None if self._call is None else self._call.cancel
        try:
            left = self._time_left()
            deadline = None if left is None else Deadline(left)
            targets = self._targets(deadline, cancel)
            sock = self._connect_one_of(targets, deadline, cancel)
        except AddressBlockedError as error:
            raise AddressBlockedError(self, error.address, error.reason) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(
                self,
                f"Connection to {self.host} timed out. (connect timeout={self.timeout})",
            ) from error
        except (ProxyError, OSError) as error:
            options = self._socks_options
            proxy = f"SOCKS proxy {options['proxy_host']}:{options['proxy_port']}"
            raise NewConnectionError(
                self, f"Failed to establish a new connection: {proxy}: {error}"
            ) from error
        sock.settimeout(self.timeout)
        sys.audit("http.client.connect", self, self.host, self.port)
        return sock

    def _targets(self, deadline: Deadline | None, cancel: CancelToken | None) -> Sequence[str]:
        """Return what the proxy may be asked for, in order of preference: addresses or the name."""
        host = self._dns_host
        options = self._socks_options
        _connection._check_labels(host)
        if options["rdns"]:
            if len(host.encode("idna")) > _MAX_BYTES:
                raise LocationValueError(
                    f"{host!r} is too long for SOCKS: a host name has at most {_MAX_BYTES} bytes"
                )
            if self._dialing is not None:
                self._dialing.check_target(self, host, self.port)
            return [host]
        asked = self._dialing
        resolver, family = (None, None) if asked is None else (asked.resolver, asked.socket_family)
        try:
            found = self._permitted(
                _connection._look_up(host, self.port, _left(deadline), cancel, resolver, family)
            )
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        version_4 = options["socks_version"] is ProxyType.SOCKS4
        addresses = [entry[4][0] for entry in found if not version_4 or entry[0] == socket.AF_INET]
        if not addresses:
            raise NewConnectionError(
                self,
                f"Failed to establish a new connection: {host!r} has no "
                f"{'IPv4 ' if version_4 else ''}address"
                f"{', and SOCKS4 knows no other: use socks5' if version_4 else ''}",
            )
        return list(dict.fromkeys(addresses))

    def _permitted(self, candidates: list[Any]) -> list[Any]:
        """Return the addresses that the filter, if there is one, lets pass."""
        dialing = self._dialing
        if dialing is None or dialing.address_filter is None:
            return candidates
        from ..util._addresses import permitted  # few programs have one

        return permitted(candidates, dialing.address_filter)

    def _connect_one_of(
        self, targets: Sequence[str], deadline: Deadline | None, cancel: CancelToken | None
    ) -> socket.socket:
        """Ask the proxy for each target, on a connection of its own, until it reaches one."""
        worth_another = _TRY_NEXT_ADDRESS[self._socks_options["socks_version"]]
        for target in targets[:-1]:
            try:
                return self._connect_through(target, deadline, cancel)
            except ProxyError as error:
                if error.error_code not in worth_another:
                    raise
        return self._connect_through(targets[-1], deadline, cancel)

    def _connect_through(
        self, target: str, deadline: Deadline | None, cancel: CancelToken | None
    ) -> socket.socket:
        options = self._socks_options
        sock = self._reach_proxy(_left(deadline), cancel)
        try:
            with interruptible(cancel, sock):
                Proxy(
                    options["socks_version"],
                    options["proxy_host"],
                    options["proxy_port"],
                    _Octets.of(options["username"]),
                    _Octets.of(options["password"]),
                    options["rdns"],
                    forward=_Opened(sock, deadline),
                ).connect(target, self.port)
        except BaseException:
            sock.close()
            if cancel is not None:
                cancel.check("connecting")
            raise
        return sock

    def _reach_proxy(self, timeout: float | None, cancel: CancelToken | None) -> socket.socket:
        host, port = self._socks_options["proxy_host"], self._socks_options["proxy_port"]
        # Only our own function knows the option; programs put theirs in its place.
        further: dict[str, Any] = {}
        if cancel is not None and _connection.create_connection is _OWN_CREATE_CONNECTION:
            further["cancel"] = cancel
        socket_options = self.socket_options
        if self._dialing is not None:
            further |= self._dialing.options()
            socket_options = self._dialing.socket_options(socket_options)
        try:
            return _connection.create_connection(
                (host, port),
                timeout,
                source_address=self.source_address,
                socket_options=socket_options,
                **further,
            )
        except socket.gaierror as error:
            raise NameResolutionError(host, self, error) from error


class _Opened(Proxy):
    """Stands for the way to the proxy, which is open already."""

    def __init__(self, sock: socket.socket, deadline: Deadline | None) -> None:
        self._bounded = _BoundedSocket(sock, deadline)

    def connect(
        self, dest_host: str, dest_port: int, timeout: float | None = None, **kwargs: Any
    ) -> socket.socket:
        """Return the connection to the proxy; where it leads was decided before."""
        return cast(socket.socket, self._bounded)


class _BoundedSocket:
    """What the handshake sees of a socket: all its waits together end at one deadline.

    A timeout per receive would not do: a proxy that sends a byte now and then could hold us for
    ever.
    """

    def __init__(self, sock: socket.socket, deadline: Deadline | None) -> None:
        self._sock = sock
        self._deadline = deadline

    def recv(self, size: int) -> bytes:
        self._sock.settimeout(_left(self._deadline))
        return self._sock.recv(size)

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(_left(self._deadline))
        self._sock.sendall(data)

    def settimeout(self, seconds: float | None) -> None:
        """Leave the timeout alone: the deadline decides."""

    def close(self) -> None:
        self._sock.close()


def _left(deadline: Deadline | None) -> float | None:
    """Return the seconds left, None for ever.

    :raises TimeoutError: (the builtin) none.
    """
    if deadline is None:
        return None
    left = deadline.left()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


class SOCKSHTTPSConnection(SOCKSConnection, HTTPSConnection):
    """A connection over TLS to one host through a SOCKS proxy.

    TLS runs between us and the host, so the proxy sees neither request nor response.  The arguments
    are those of :class:`SOCKSConnection` and :class:`~urllib4.connection.HTTPSConnection`.
    """


class SOCKSHTTPConnectionPool(HTTPConnectionPool):
    """Plain connections to one host through a SOCKS proxy; needs ``_socks_options``."""

    ConnectionCls = SOCKSConnection


class SOCKSHTTPSConnectionPool(HTTPSConnectionPool):
    """Connections over TLS to one host through a SOCKS proxy; needs ``_socks_options``."""

    ConnectionCls = SOCKSHTTPSConnection


def options_of(
    url: Url, shown: str, username: str | None = None, password: str | None = None
) -> dict[str, Any]:
    """Return the ``_socks_options`` for the URL of a proxy, complete and checked.

    :param shown: what errors call the URL; without credentials.
    :param username, password: instead of those in `url`, taken as they are.
    :raises ValueError: another scheme, no host, or credentials that cannot be sent.
    """
    if url.scheme not in _SCHEMES:
        raise ValueError(
            f"Unable to determine SOCKS version from {shown}: the URL of a "
            "SOCKS proxy starts with socks4://, socks4a://, socks5:// or socks5h://"
        )
    if not url.host:
        raise LocationValueError(f"the URL of the SOCKS proxy has no host: {shown}")
    if username is None and password is None and url.auth is not None:
        name, colon, rest = url.auth.partition(":")
        username = unquote(name, errors="surrogateescape")
        password = unquote(rest, errors="surrogateescape") if colon else None
    version, rdns = _SCHEMES[url.scheme]
    options = _checked_options(
        {
            "socks_version": version,
            "proxy_host": url.host.strip("[]"),
            "proxy_port": url.port,
            "username": username,
            "password": password,
            "rdns": rdns,
        }
    )
    _warn_about_unused(version, username, password)
    return options


def _checked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options complete, their credentials in a form that is never shown.

    :raises ValueError: the version is unknown, or a credential cannot be sent.
    :raises TypeError: a credential is no str.
    """
    version = options.get("socks_version")
    if version not in (ProxyType.SOCKS4, ProxyType.SOCKS5):
        # PySocks calls them 1 and 2, and so does python-socks.
        if version not in (ProxyType.SOCKS4.value, ProxyType.SOCKS5.value):
            raise ValueError(
                f"socks_version is ProxyType.SOCKS4 or ProxyType.SOCKS5, not {version!r}"
            )
        version = ProxyType(version)
    host = options.get("proxy_host")
    if not host:
        raise LocationValueError("the SOCKS options have no proxy_host")
    return {
        "socks_version": version,
        "proxy_host": host,
        "proxy_port": options.get("proxy_port") or DEFAULT_PORT,
        "username": _credential("user name", options.get("username"), version),
        "password": _credential("password", options.get("password"), version),
        "rdns": bool(options.get("rdns", True)),
    }


def _credential(what: str, value: Any, version: ProxyType) -> _Masked | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"the SOCKS {what} is not a str: {type(value).__name__}")
    try:
        size = len(_octets(value))
    except UnicodeEncodeError:
        # Without the cause: it shows the value.
        raise ValueError(f"the SOCKS {what} has characters that cannot be sent") from None
    if size > _MAX_BYTES:
        raise ValueError(f"the SOCKS {what} is too long: {size} bytes, at most {_MAX_BYTES} fit")
    if version is ProxyType.SOCKS4 and "\0" in value:
        raise ValueError(f"the SOCKS {what} has a NUL, which ends it in SOCKS4")
    return _Masked(value)


def _octets(text: str) -> bytes:
    """Return what is sent: percent-decoded octets that are no UTF-8 stay what they were."""
    return str.encode(text, "utf-8", "surrogateescape")


def _warn_about_unused(version: ProxyType, username: str | None, password: str | None) -> None:
    """Say which credentials are not sent, rather than drop them silently."""
    if version is ProxyType.SOCKS4 and password:
        text = "SOCKS4 has no passwords: only the user name is sent. Use socks5:// to send both."
    elif version is ProxyType.SOCKS5 and bool(username) != bool(password):
        text = "SOCKS5 takes a user name together with a password: only one is given, none is sent."
    else:
        return
    warn_caller(text, SecurityWarning)
