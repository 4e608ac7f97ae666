"""Who finds the addresses of a host: the system, a table, or whoever you like.

::

    resolver = ChainResolver(StaticResolver({"api.example.com:443": "192.0.2.7"}), SystemResolver())
    manager = PoolManager(resolver=resolver)

A resolver is asked for the name of each host that is connected to: targets, proxies, and targets of
SOCKS proxies where the names are found on this side.  It is not asked for hosts that are addresses
already.  The name is in its ASCII form (IDNA), and in TLS and in the request it stays what it was.

.. versionadded:: 4.0
"""

from __future__ import annotations

import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Protocol

from ._fork import watch

__all__ = ["ChainResolver", "Resolver", "StaticResolver", "SystemResolver"]

#: Host names that a :class:`SystemResolver` keeps at most.
MAX_CACHED = 1024


class Resolver(Protocol):
    """What the keyword ``resolver`` takes: anything with this method.

    It must be hashable, since it is part of the key of a pool, and safe to call from many threads.
    Where a call is bounded (by a timeout, a deadline or a cancel token), `resolve` runs in a thread
    of its own, which is left behind when the time is over.

    A resolver that may know the answer without waiting can have a method ``resolve_nowait`` with
    the same parameters, too: it runs in the calling thread, and returns None if it would have to
    wait.
    """

    def resolve(self, host: str, port: int, family: int) -> Iterable[Any]:
        """Return the addresses of `host`, best first.

        :param host: the name; never an address.
        :param port: to be connected to.
        :param family: ``socket.AF_INET``, ``AF_INET6``, or ``AF_UNSPEC`` for both.  What is of
            another family is left out.
        :returns: addresses as a str or an object of :mod:`ipaddress`, pairs of an address and a
            port (to go to another one than `port`), or 5-tuples like those of
            :func:`socket.getaddrinfo`; any number of them, mixed.
        :raises socket.gaierror: the name is not known.  This and any other exception becomes a
            :exc:`~urllib4.exceptions.NameResolutionError`, except for the builtin
            ``TimeoutError`` (then it is a :exc:`~urllib4.exceptions.ConnectTimeoutError`).
        """


class SystemResolver:
    """Asks the system (:func:`socket.getaddrinfo`), and may remember the answers.

    :param ttl: seconds for which an answer is used again; None: ask each time.  The system does not
        tell how long an answer is valid, so choose a time that suits your hosts.  Failures are not
        remembered.
    :param clock: monotonic seconds.
    :raises ValueError: `ttl` is no number of seconds above 0.

    Remembers at most 1024 answers.  Safe to share between threads; after a fork the child starts
    with an empty memory.
    """

    def __init__(
        self, ttl: float | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if ttl is not None and (
            not isinstance(ttl, (int, float)) or isinstance(ttl, bool) or not ttl > 0
        ):
            raise ValueError(f"ttl is a number of seconds above 0, or None, not {ttl!r}")
        self._ttl = ttl
        self._clock = clock
        # Guards the answers and their order; held for single steps only.  Reentrant: a signal
        # handler may send a request in the middle of one.
        self._lock = threading.RLock()
        self._answers: OrderedDict[tuple[str, int, int], tuple[float, list[Any]]] = OrderedDict()
        watch(self)

    def _after_fork_in_child(self) -> None:
        self._lock = threading.RLock()
        self._answers = OrderedDict()

    def __repr__(self) -> str:
        return f"SystemResolver(ttl={self._ttl!r})"

    def resolve(self, host: str, port: int, family: int) -> list[Any]:
        """Return the remembered addresses, or ask the system.

        :raises socket.gaierror: the name is not known.
        """
        known = self.resolve_nowait(host, port, family)
        if known is not None:
            return known
        found = list(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM))
        if self._ttl is not None and found:
            with self._lock:
                self._answers[host.lower(), port, family] = self._clock() + self._ttl, found
                while len(self._answers) > MAX_CACHED:
                    self._answers.popitem(last=False)
        return list(found)

    def resolve_nowait(self, host: str, port: int, family: int) -> list[Any] | None:
        """Return the remembered addresses; None if there are none, or they are too old."""
        if self._ttl is None:
            return None
        key = host.lower(), port, family
        with self._lock:
            until, found = self._answers.get(key, (0.0, []))
            if not found:
                return None
            if self._clock() < until:
                return list(found)
            self._answers.pop(key, None)
            return None

    def clear(self) -> None:
        """Forget all answers."""
        with self._lock:
            self._answers.clear()


class StaticResolver:
    """Knows hosts from a table, and no others; like curl's ``--resolve``.

    :param table: a mapping from ``"host"`` or ``"host:port"`` to an address, a pair of an address
        and a port, or a list of these; or an iterable of texts such as
        ``"example.com:443:192.0.2.7,[2001:db8::7]"`` as curl takes them.  ``*`` as the host stands
        for every one.  The most telling entry counts: host and port, host, ``*`` and port, ``*``.
    :raises ValueError, TypeError: an entry is malformed; the text quotes it.

    Immutable, so safe to share between threads.  Never waits.
    """

    def __init__(self, table: Mapping[str, Any] | Iterable[str]) -> None:
        if isinstance(table, str):
            raise TypeError(f"the table is a mapping or a list of texts, not {table!r}")
        items = table.items() if isinstance(table, Mapping) else map(_split_entry, table)
        self._table = {_split_name(name): _destinations(name, value) for name, value in items}

    def __repr__(self) -> str:
        return f"StaticResolver({len(self._table)} entries)"

    def resolve(self, host: str, port: int, family: int) -> Sequence[Any]:
        """Return the addresses from the table.

        :raises socket.gaierror: it has no entry for the host.
        """
        name = host.lower().rstrip(".")
        for key in ((name, port), (name, None), ("*", port), ("*", None)):
            if key in self._table:
                return self._table[key]
        raise socket.gaierror(socket.EAI_NONAME, f"{host}:{port} is not in the table")

    resolve_nowait = resolve


class ChainResolver:
    """Asks several resolvers, one after the other, until one knows the host.

    :param resolvers: at least one.
    :raises TypeError: one has no method ``resolve``, or there is none.

    An answer without addresses counts as not knowing the host.  Safe to share between threads if
    all of them are.
    """

    def __init__(self, *resolvers: Resolver) -> None:
        if not resolvers:
            raise TypeError("ChainResolver needs at least one resolver")
        for resolver in resolvers:
            if not callable(getattr(resolver, "resolve", None)):
                raise TypeError(f"a resolver has a method 'resolve', {resolver!r} has none")
        self._resolvers = resolvers

    def __repr__(self) -> str:
        return f"ChainResolver({', '.join(map(repr, self._resolvers))})"

    def resolve(self, host: str, port: int, family: int) -> Sequence[Any]:
        """Return the first answer that has an address.

        :raises socket.gaierror: none knows the host; it is the error of the last one that raised.
        """
        return self._ask(host, port, family, wait=True) or ()

    def resolve_nowait(self, host: str, port: int, family: int) -> Sequence[Any] | None:
        """Return the first answer; None if one would have to wait before that."""
        return self._ask(host, port, family, wait=False)

    def _ask(self, host: str, port: int, family: int, *, wait: bool) -> Sequence[Any] | None:
        failure: socket.gaierror | None = None
        try:
            for resolver in self._resolvers:
                ask = resolver.resolve if wait else getattr(resolver, "resolve_nowait", None)
                if ask is None:
                    return None
                try:
                    answer = ask(host, port, family)
                except socket.gaierror as error:
                    failure = error
                    continue
                if answer is None:
                    return None
                found = answer if isinstance(answer, str) else list(answer)
                if found:
                    return found
            raise failure or socket.gaierror(socket.EAI_NONAME, f"nobody knows {host}")
        finally:
            failure = None  # or the error and this frame would keep each other alive


def _split_entry(entry: Any) -> tuple[str, list[str]]:
    """Return name and addresses of an entry as curl takes it."""
    if not isinstance(entry, str):
        raise TypeError(f"an entry of the table is a str, not {entry!r}")
    host, colon, rest = entry.partition(":")
    port, second, addresses = rest.partition(":")
    if not (host and colon and second and addresses):
        raise ValueError(f"an entry of the table is 'host:port:address[,address]', not {entry!r}")
    return f"{host}:{port}", [address.strip() for address in addresses.split(",")]


def _split_name(name: Any) -> tuple[str, int | None]:
    if not isinstance(name, str):
        raise TypeError(f"a host of the table is a str, not {name!r}")
    host, colon, port = name.partition(":")
    host = host.lower().rstrip(".")
    if not host or (colon and not (port.isascii() and port.isdigit() and int(port) <= 65535)):
        raise ValueError(f"a host of the table is 'host' or 'host:port', not {name!r}")
    if not host.isascii():
        host = host.encode("idna").decode("ascii")
    return host, int(port) if colon else None


def _destinations(name: str, value: Any) -> tuple[Any, ...]:
    """Return what a host of the table leads to, checked."""
    single = isinstance(value, (str, IPv4Address, IPv6Address)) or _is_pair(value)
    try:
        entries = [value] if single else list(value)
    except TypeError:
        entries = []
    if not entries:
        raise ValueError(f"no address for {name!r} in the table: {value!r}")
    return tuple(_destination(name, entry) for entry in entries)


def _destination(name: str, entry: Any) -> Any:
    address, port = entry if _is_pair(entry) else (entry, None)
    if isinstance(address, str) and address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    try:
        address = ip_address(address)
    except ValueError:
        raise ValueError(f"no address for {name!r} in the table: {entry!r}") from None
    return address if port is None else (address, port)


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], int)
