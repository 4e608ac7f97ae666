"""Which addresses may be connected to: a guard for URLs that somebody else chose.

::

    manager = PoolManager(address_filter=public_addresses_only)

A filter is called with the very address that is about to be connected to, after all names were
looked up: for each new connection, hence for each host that a redirect leads to.  So neither a name
that means a public address when it is checked and a private one a moment later ("DNS rebinding")
gets past it, nor an unusual spelling of an address.

.. versionadded:: 4.0
"""

from __future__ import annotations

import functools
import socket
from collections.abc import Callable
from contextlib import suppress
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
)
from typing import Literal, Union

from .exceptions import AddressBlockedError

__all__ = ["AddressFilter", "public_addresses_only"]

#: What the keyword ``address_filter`` takes: a function of an address (an object of
#: :mod:`ipaddress`; an IPv4 address that is mapped into IPv6 comes as IPv4) and a port.  It returns
#: True to let it pass, False or the reason (a str) to refuse it; it may raise
#: :exc:`AddressBlockedError` as well.  Anything else it returns is a ``TypeError``.
AddressFilter = Callable[[Union[IPv4Address, IPv6Address], int], Union[bool, str]]

# The special-purpose registries of IANA (RFC 6890 and its successors), as of 2025; the first match
# counts.  Our own table, since what `is_global` says depends on the version of Python.
_SPECIAL_4 = tuple(
    (IPv4Network(network), reason)
    for network, reason in (
        ("0.0.0.0/32", "unspecified"),
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "private network"),
        ("100.64.0.0/10", "shared by a provider (CGNAT)"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private network"),
        ("192.0.0.0/24", "reserved for protocols"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "reserved (6to4 relays)"),
        ("192.168.0.0/16", "private network"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("255.255.255.255/32", "broadcast"),
        ("240.0.0.0/4", "reserved"),
    )
)
_SPECIAL_6 = tuple(
    (IPv6Network(network), reason)
    for network, reason in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("64:ff9b:1::/48", "translated to a local IPv4 address (NAT64)"),
        ("100::/64", "discarded"),
        ("2001::/32", "Teredo"),
        ("2001:2::/48", "benchmarking"),
        ("2001::/23", "reserved for protocols"),
        ("2001:db8::/32", "documentation"),
        ("3fff::/20", "documentation"),
        ("fc00::/7", "private network"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)
# All that is assigned for the internet (RFC 4291, 2.4); NAT64 is asked before.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# Networks whose addresses hold an IPv4 address, and how many bits follow it.
_EMBEDDED_4 = (
    (IPv6Network("::ffff:0:0/96"), 0),  # mapped (RFC 4291, 2.5.5.2)
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64 (RFC 6052)
    (IPv6Network("2002::/16"), 80),  # 6to4 (RFC 3056)
)
# ISATAP (RFC 5214, 6.1), in any network: these 32 bits, with or without the one that says that the
# IPv4 address behind them is unique.
_ISATAP, _ISATAP_UNIQUE = 0x5EFE, 0x02000000


def public_addresses_only(
    address: IPv4Address | IPv6Address | str, port: int | None = None
) -> Literal[True]:
    """Let addresses of the public internet pass, and no others; for ``address_filter``.

    Refused are private networks, loopback, link-local (with the metadata services of clouds), the
    addresses that providers share (CGNAT), multicast, unspecified, reserved, documentation and
    benchmarking addresses of IPv4 and IPv6, Teredo, and IPv6 addresses that hold such an IPv4
    address: mapped, 6to4, ISATAP and NAT64 (of ``64:ff9b:1::/48`` all).

    :param address: may be a text; all spellings that the system takes are understood
        (``127.1``, ``0x7f000001``, ``2130706433``, ``0177.0.0.1``).
    :param port: does not matter.
    :raises AddressBlockedError: the address is not public; ``.reason`` says what it is.
    :raises ValueError: `address` is a text, but no address.
    """
    parsed = _parsed(address) if isinstance(address, str) else address
    reason = _special(int(parsed), parsed.version)
    if reason is not None:
        raise AddressBlockedError(None, str(address), reason)
    return True


def _parsed(text: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(text[1:-1] if text.startswith("[") and text.endswith("]") else text)
    except ValueError:
        # The C library reads up to a white space and ignores what comes behind it.
        if text.split() == [text]:
            with suppress(OSError):
                return IPv4Address(socket.inet_aton(text))
        raise ValueError(f"{text!r} is not an address") from None


@functools.lru_cache(maxsize=1024)
def _special(number: int, version: int) -> str | None:
    """Return what is special about an address; None: it is public."""
    if version == 4:
        four = IPv4Address(number)
        return next((reason for network, reason in _SPECIAL_4 if four in network), None)
    six = IPv6Address(number)
    for network, shift in _EMBEDDED_4:
        if six in network:
            return _special_within(number >> shift)
    for network6, reason in _SPECIAL_6:
        if six in network6:
            return reason
    if six not in _GLOBAL_UNICAST:
        return "reserved"
    is_isatap = (number >> 32) & 0xFFFFFFFF & ~_ISATAP_UNIQUE == _ISATAP
    return _special_within(number) if is_isatap else None


def _special_within(number: int) -> str | None:
    """Return what is special about the IPv4 address in the last 32 bits."""
    reason = _special(number & 0xFFFFFFFF, 4)
    return None if reason is None else f"{reason}, as IPv4 within IPv6"
