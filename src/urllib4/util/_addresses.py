"""Asking a resolver for addresses, and a filter whether they may be connected to.

Loaded when a program gives one of them.  What comes back from there is taken apart and put together
again: an address that we connect to is a number, never a name that would be looked up again.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from ..exceptions import AddressBlockedError, HTTPError

#: Addresses of one answer that are looked at.
MAX_ADDRESSES = 256

_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


def ask(
    resolve: Callable[..., Any], host: str, port: int, family: int, *, nowait: bool = False
) -> list[Any] | None:
    """Return the answer of a resolver as ``getaddrinfo`` would give it.

    :param resolve: the resolver's method.
    :param nowait: None is an answer: it does not know.
    :raises socket.gaierror: it does not know the host, failed, or its answer makes no sense.
    """
    try:
        answer = resolve(host, port, family)
        if answer is None and nowait:
            return None
        if isinstance(answer, (str, bytes)):
            raise TypeError(f"it returned {answer!r}, not a list of addresses")
        found = [_candidate(one, port) for one in itertools.islice(answer, MAX_ADDRESSES)]
    except (socket.gaierror, TimeoutError, HTTPError):
        raise
    except Exception as error:  # whatever code of others does, the host was not found
        raise socket.gaierror(socket.EAI_FAIL, f"the resolver failed: {error}") from error
    wanted = [one for one in found if one is not None and family in (socket.AF_UNSPEC, one[0])]
    if not wanted:
        raise socket.gaierror(socket.EAI_NONAME, "the resolver returned no usable address")
    return list(dict.fromkeys(wanted))


def _candidate(given: Any, port: int) -> Any:
    """Return one address of an answer as a 5-tuple, None for one that is not for TCP.

    :raises ValueError: it is none.
    """
    scope = 0
    address = given
    if isinstance(given, tuple) and len(given) == 5:
        if given[1] not in (0, socket.SOCK_STREAM):
            return None
        sockaddr = given[4]
        address, port = sockaddr[:2]
        scope = sockaddr[3] if len(sockaddr) > 3 else 0
    elif isinstance(given, (tuple, list)) and len(given) == 2:
        address, port = given
    if not isinstance(address, (str, IPv4Address, IPv6Address)):
        raise ValueError(f"it returned {given!r}, which is no address")
    if not isinstance(port, int) or not 0 <= port <= 65535:
        raise ValueError(f"it returned {given!r}, whose port is none")
    try:
        parsed = ip_address(address)
    except ValueError:
        raise ValueError(f"it returned {given!r}, which is no address") from None
    zone = getattr(parsed, "scope_id", None)
    if zone and not scope:
        scope = int(zone) if zone.isdigit() else socket.if_nametoindex(zone)
    family = _FAMILIES[parsed.version]
    if isinstance(given, tuple) and len(given) == 5 and given[0] != family:
        raise ValueError(f"it returned {given!r}, whose family is not that of its address")
    text = str(parsed).partition("%")[0]
    target: Any = (text, port) if parsed.version == 4 else (text, port, 0, scope)
    return (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", target)


def permitted(candidates: Sequence[Any], address_filter: Callable[..., Any]) -> list[Any]:
    """Return the addresses that the filter lets pass.

    :raises AddressBlockedError: it lets none pass; the error of the first.
    :raises TypeError: it answers neither True, False nor a reason.
    """
    passed = []
    refusal: AddressBlockedError | None = None
    try:
        for candidate in candidates:
            try:
                check_address(candidate[4][0], candidate[4][1], address_filter)
            except AddressBlockedError as error:
                refusal = refusal or error
            else:
                passed.append(candidate)
        if refusal is not None and not passed:
            raise refusal
        return passed
    finally:
        refusal = None  # or the error and this frame would keep each other alive


def check_address(address: str, port: int, address_filter: Callable[..., Any]) -> None:
    """Ask the filter for one address.

    :param address: as a number; anything else may not pass.
    :raises AddressBlockedError: it does not let it pass.
    :raises TypeError: it answers neither True, False nor a reason.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        raise AddressBlockedError(None, str(address), "not a numeric address") from None
    # What the kernel connects to: a filter that thinks of 10.0.0.0/8 shall not miss it.
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    verdict = address_filter(mapped or parsed, port)
    if verdict is True:
        return
    if verdict is False:
        raise AddressBlockedError(None, str(parsed), "refused by the address filter")
    if isinstance(verdict, str):
        raise AddressBlockedError(None, str(parsed), verdict)
    raise TypeError(f"address_filter returned {verdict!r}, not True, False or a reason (str)")


def check_target(host: str, port: int, address_filter: Callable[..., Any]) -> None:
    """Ask the filter for a host that a proxy is going to connect to, if it is an address.

    Unusual spellings count as what the system takes them for.  What a name means is known to the
    proxy alone.

    :raises AddressBlockedError: it does not let it pass.
    """
    text = host.strip("[]").rstrip(".")  # proxies (squid) drop final dots before they look
    try:
        ip_address(text)
    except ValueError:
        try:
            text = socket.inet_ntoa(socket.inet_aton(text))
        except OSError:
            return
    check_address(text, port, address_filter)
