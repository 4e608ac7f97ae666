"""What a program may decide about the way a socket is opened; checked once, then one value.

Loaded when one of these keywords is given.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ._cancel import CancelToken
from ._deadline import Deadline
from .exceptions import AddressBlockedError
from .util._addresses import check_target

#: Where Linux and macOS keep the path of a Unix socket: bytes that it may have, without the NUL.
_MAX_SOCKET_PATH = 107 if sys.platform.startswith("linux") else 103

#: ``tcp_keepalive=True``: idle seconds before the first probe, seconds between probes, and probes
#: without an answer until the connection counts as broken.  Routers forget idle connections after
#: 240 to 350 seconds, some after 60.
KEEPALIVE = (55, 15, 4)

#: Seconds between two attempts to get into the queue of a Unix socket.
_FULL_QUEUE_PAUSE = 0.01

# By what they are called here and there; the first that exists counts.
_KEEPALIVE_OPTIONS = (
    ("idle", ("TCP_KEEPIDLE", "TCP_KEEPALIVE")),
    ("interval", ("TCP_KEEPINTVL",)),
    ("count", ("TCP_KEEPCNT",)),
)
# Linux takes no more.
_MAX_KEEPALIVE = (32767, 32767, 127)

# What Python has no names for: <in.h> of macOS, <ws2ipdef.h> of Windows.
_IP_BOUND_IF, _IPV6_BOUND_IF = 25, 125
_IP_UNICAST_IF = 31


class Dialing(NamedTuple):
    """How sockets are opened.

    :ivar resolver: finds the addresses of names; None: the system.
    :ivar address_filter: says which addresses may be connected to; None: all.
    :ivar socket_family: ``AF_INET`` or ``AF_INET6`` only; None: both.
    :ivar keepalive: ``setsockopt`` arguments.
    :ivar source_interface: name of the network interface to go through; None: the system's choice.
    :ivar socket_path: path of a Unix socket to be connected to instead of host and port.
    :ivar attempt_delay: seconds between the starts of two attempts; None: the usual ones.
    """

    resolver: Any = None
    address_filter: Callable[..., Any] | None = None
    socket_family: int | None = None
    keepalive: tuple[tuple[int, int, int], ...] = ()
    source_interface: str | None = None
    socket_path: str | None = None
    attempt_delay: float | None = None

    def options(self) -> dict[str, Any]:
        """Return the keywords of ``create_connection``."""
        names = ("resolver", "address_filter", "socket_family", "source_interface", "attempt_delay")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def check_target(self, conn: Any, host: str, port: int | None) -> None:
        """Refuse a host that a proxy is to connect to, if it is an address that may not be.

        :raises AddressBlockedError: for `conn`.
        """
        if self.address_filter is None:
            return
        try:
            check_target(host, port or 0, self.address_filter)
        except AddressBlockedError as error:
            raise AddressBlockedError(conn, error.address, error.reason) from error

    def socket_options(self, options: Any) -> Any:
        """Return the ``setsockopt`` arguments for a socket: those of the connection and ours."""
        if self.socket_path is not None:
            # A Unix socket knows nothing of TCP.
            return [one for one in options or () if one[0] == socket.SOL_SOCKET]
        return [*(options or ()), *self.keepalive] if self.keepalive else options

    def connect_to_path(
        self, timeout: Any, socket_options: Any, cancel: CancelToken | None
    ) -> socket.socket:
        """Return a socket that is connected to :attr:`socket_path`.

        :raises TimeoutError: (the builtin) nobody accepted the connection in time.
        :raises RequestCancelledError: `cancel` was used.
        :raises OSError: there is nobody; the text names the path.
        """
        path = self.socket_path
        assert path is not None
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            for option in socket_options or ():
                sock.setsockopt(*option)
            _connect_in_time(sock, path, timeout, cancel)
            sock.settimeout(timeout)
        except TimeoutError:
            sock.close()
            raise
        except OSError as error:
            sock.close()
            raise OSError(error.errno, f"{error.strerror or error}: {path!r}") from error
        except BaseException:
            sock.close()
            raise
        return sock


def _connect_in_time(
    sock: socket.socket, path: str, timeout: float | None, cancel: CancelToken | None
) -> None:
    """Connect; as long as the queue of the listener is full, ask again.

    Linux neither lets a non-blocking Unix socket queue up nor tells when there is room.
    """
    deadline = None if timeout is None else Deadline(timeout)
    sock.setblocking(False)
    while True:
        if cancel is not None:
            cancel.check("connecting")
        try:
            sock.connect(path)
            return
        except BlockingIOError:
            if deadline is not None and deadline.expired:
                raise TimeoutError("timed out") from None
        if cancel is None:
            time.sleep(_FULL_QUEUE_PAUSE)
        else:
            cancel.wait(_FULL_QUEUE_PAUSE)


def checked(options: Mapping[str, Any]) -> Dialing:
    """Return the value of these keywords.

    :raises TypeError, ValueError: one is of a wrong type, malformed, or cannot be done on this
        system; the text names it.
    """
    given = options.get
    return Dialing(
        _resolver(given("resolver")),
        _address_filter(given("address_filter")),
        _socket_family(given("socket_family")),
        _keepalive(given("tcp_keepalive")),
        _source_interface(given("source_interface")),
        _socket_path(given("socket_path")),
        _attempt_delay(given("attempt_delay")),
    )


def _resolver(value: Any) -> Any:
    if value is not None and not callable(getattr(value, "resolve", None)):
        raise TypeError(f"resolver is an object with a method 'resolve', not {value!r}")
    return _hashable("resolver", value)


def _address_filter(value: Any) -> Any:
    if value is not None and not callable(value):
        raise TypeError(f"address_filter is a function of an address and a port, not {value!r}")
    return _hashable("address_filter", value)


def _hashable(name: str, value: Any) -> Any:
    try:
        hash(value)
    except TypeError:
        raise TypeError(
            f"{name} must be hashable, as part of the key of a pool: {value!r}"
        ) from None
    return value


def _socket_family(value: Any) -> int | None:
    if value in (None, socket.AF_UNSPEC):
        return None
    if value not in (socket.AF_INET, socket.AF_INET6):
        raise ValueError(f"socket_family is socket.AF_INET, AF_INET6 or None, not {value!r}")
    return socket.AddressFamily(value)


def _keepalive(value: Any) -> tuple[tuple[int, int, int], ...]:
    if value is None or value is False:
        return ()
    if value is True:
        values: tuple[int, ...] = KEEPALIVE
    else:
        values = _checked_keepalive(value)
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for (name, constants), number in zip(_KEEPALIVE_OPTIONS, values, strict=True):
        option = next((getattr(socket, one) for one in constants if hasattr(socket, one)), None)
        if option is not None:
            options.append((socket.IPPROTO_TCP, option, number))
        elif value is not True:
            raise ValueError(f"tcp_keepalive: this system cannot set the {name}; use True")
    return tuple(options)


def _checked_keepalive(value: Any) -> tuple[int, ...]:
    fits = isinstance(value, (tuple, list)) and len(value) == 3
    if fits:
        fits = all(
            isinstance(number, int) and not isinstance(number, bool) and 1 <= number <= most
            for number, most in zip(value, _MAX_KEEPALIVE, strict=True)
        )
    if not fits:
        raise ValueError(
            "tcp_keepalive is a bool or (idle, interval, count): whole seconds from 1 to 32767, "
            f"twice, and 1 to 127 probes; not {value!r}"
        )
    return tuple(value)


def _source_interface(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"source_interface is the name of a network interface, not {value!r}")
    if not value or "\0" in value or len(os.fsencode(value)) > 255:
        raise ValueError(f"source_interface is the name of a network interface, not {value!r}")
    if not (hasattr(socket, "SO_BINDTODEVICE") or sys.platform in ("darwin", "win32")):
        raise ValueError("source_interface: this system cannot bind sockets to an interface")
    return value


def bind_to_interface(sock: socket.socket, name: str) -> None:
    """Let a socket go through one network interface, whatever the routes say.

    :raises OSError: there is no such interface, or we may not use it; the text names it.
    """
    try:
        if hasattr(socket, "SO_BINDTODEVICE"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, os.fsencode(name) + b"\0")
            return
        index = socket.if_nametoindex(name)
        six = sock.family == socket.AF_INET6
        level = socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP
        if sys.platform == "darwin":
            sock.setsockopt(level, _IPV6_BOUND_IF if six else _IP_BOUND_IF, index)
        else:  # Windows wants the index in network order, for IPv4 only
            sock.setsockopt(level, _IP_UNICAST_IF, index if six else socket.htonl(index))
    except OSError as error:
        text = f"{error.strerror or error} (source_interface={name!r})"
        raise OSError(error.errno, text) from error


def _socket_path(value: Any) -> str | None:
    if value is None:
        return None
    if not hasattr(socket, "AF_UNIX"):
        raise ValueError("socket_path: this system has no Unix domain sockets")
    if not isinstance(value, (str, os.PathLike)) or not isinstance(os.fspath(value), str):
        raise TypeError(f"socket_path is a str or a pathlib.Path, not {value!r}")
    path: str = os.fspath(value)
    # A NUL in front is a name in Linux' abstract namespace.
    if not path.strip("\0") or "\0" in path[1:]:
        raise ValueError(f"socket_path is the path of a socket, not {path!r}")
    size = len(os.fsencode(path))
    if size > _MAX_SOCKET_PATH:
        raise ValueError(
            f"socket_path is too long: {size} bytes, at most {_MAX_SOCKET_PATH} fit: {path!r}"
        )
    return path


def _attempt_delay(value: Any) -> float | None:
    if value is None:
        return None
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not value > 0:
        raise ValueError(f"attempt_delay is a number of seconds above 0, not {value!r}")
    return value
