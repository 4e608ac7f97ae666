"""Which addresses are public: a table by category, spelling and form."""

from __future__ import annotations

import ipaddress
import pickle

import pytest

from urllib4.address_filters import public_addresses_only
from urllib4.exceptions import AddressBlockedError

BLOCKED = [
    ("0.0.0.0", "unspecified"),
    ("0.1.2.3", "this network"),
    ("10.0.0.0", "private network"),
    ("10.255.255.255", "private network"),
    ("100.64.0.0", "shared by a provider (CGNAT)"),
    ("100.127.255.255", "shared by a provider (CGNAT)"),
    ("127.0.0.1", "loopback"),
    ("127.255.255.255", "loopback"),
    ("169.254.169.254", "link-local"),
    ("172.16.0.0", "private network"),
    ("172.31.255.255", "private network"),
    ("192.0.0.8", "reserved for protocols"),
    ("192.0.2.1", "documentation"),
    ("192.88.99.1", "reserved (6to4 relays)"),
    ("192.168.0.1", "private network"),
    ("198.18.0.1", "benchmarking"),
    ("198.19.255.255", "benchmarking"),
    ("198.51.100.1", "documentation"),
    ("203.0.113.1", "documentation"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.255", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.255", "broadcast"),
    ("::", "unspecified"),
    ("::1", "loopback"),
    ("::127.0.0.1", "reserved"),
    ("::ffff:127.0.0.1", "loopback, as IPv4 within IPv6"),
    ("::ffff:10.1.2.3", "private network, as IPv4 within IPv6"),
    ("::ffff:a9fe:a9fe", "link-local, as IPv4 within IPv6"),
    ("::ffff:0:127.0.0.1", "reserved"),
    ("64:ff9b::127.0.0.1", "loopback, as IPv4 within IPv6"),
    ("64:ff9b::a00:1", "private network, as IPv4 within IPv6"),
    ("64:ff9b:1::1", "translated to a local IPv4 address (NAT64)"),
    ("64:ff9b:1:ffff:8:808:800::", "translated to a local IPv4 address (NAT64)"),
    ("100::1", "discarded"),
    ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "Teredo"),
    ("2001:2::1", "benchmarking"),
    ("2001:10::1", "reserved for protocols"),
    ("2001:470:1:2:0:5efe:10.0.0.1", "private network, as IPv4 within IPv6"),
    ("2001:470:1:2:200:5efe:127.0.0.1", "loopback, as IPv4 within IPv6"),
    ("2001:db8::1", "documentation"),
    ("2002:7f00:1::", "loopback, as IPv4 within IPv6"),
    ("2002:c0a8:101::1", "private network, as IPv4 within IPv6"),
    ("2002:a9fe:a9fe::", "link-local, as IPv4 within IPv6"),
    ("3fff::1", "documentation"),
    ("4000::1", "reserved"),
    ("5f00::1", "reserved"),
    ("fc00::1", "private network"),
    ("fd00:ec2::254", "private network"),
    ("fe80::1", "link-local"),
    ("fe80::1%lo", "link-local"),
    ("fe80::1%25", "link-local"),
    ("::1%1", "loopback"),
    ("fec0::1", "site-local"),
    ("ff02::1", "multicast"),
]

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2001:4860:4860::8888",
    "2606:4700:4700::1111",
    "2a00:1450:4001::1",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2001:470:1:2:200:5efe:8.8.8.8",
    "2001:470:1:2:201:5efe:10.0.0.1",
    "2002:808:808::1",
]

#: What system calls take for 127.0.0.1, 10.0.0.1, 169.254.169.254 and 0.0.0.0.
ODD_SPELLINGS = [
    ("127.1", "loopback"),
    ("127.0.1", "loopback"),
    ("0x7f.1", "loopback"),
    ("0x7f.0.0.0x1", "loopback"),
    ("0X7F000001", "loopback"),
    ("2130706433", "loopback"),
    ("017700000001", "loopback"),
    ("0177.0.0.1", "loopback"),
    ("0177.0.0.01", "loopback"),
    ("0000177.0.0.1", "loopback"),
    ("012.0.0.1", "private network"),
    ("10.1", "private network"),
    ("167772161", "private network"),
    ("0xa9fea9fe", "link-local"),
    ("2852039166", "link-local"),
    ("0", "unspecified"),
    ("[::1]", "loopback"),
    ("[::ffff:7f00:1]", "loopback, as IPv4 within IPv6"),
    ("0:0:0:0:0:ffff:127.0.0.1", "loopback, as IPv4 within IPv6"),
    ("0000:0000:0000:0000:0000:0000:0000:0001", "loopback"),
    ("FE80::1", "link-local"),
]


@pytest.mark.parametrize(("address", "reason"), [*BLOCKED, *ODD_SPELLINGS])
def test_what_is_not_public_is_refused(address: str, reason: str) -> None:
    with pytest.raises(AddressBlockedError) as caught:
        public_addresses_only(address)
    assert caught.value.reason == reason
    assert caught.value.address == address
    assert str(caught.value) == f"connecting to {address} is not allowed ({reason})"


@pytest.mark.parametrize(("address", "reason"), BLOCKED)
def test_objects_of_ipaddress_are_judged_alike(address: str, reason: str) -> None:
    with pytest.raises(AddressBlockedError) as caught:
        public_addresses_only(ipaddress.ip_address(address), 80)
    assert caught.value.reason == reason


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_pass(address: str) -> None:
    assert public_addresses_only(address) is True
    assert public_addresses_only(ipaddress.ip_address(address), 443) is True


@pytest.mark.parametrize(
    "text",
    [
        "", "localhost", "1.2.3.4.5", "256.1.1.1", "0x", "::g", "[::1",
        # The C library takes these two for 8.8.8.8.
        "8.8.8.8 127.0.0.1", "8.8.8.8\n",
    ],
)  # fmt: skip
def test_what_is_no_address_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="is not an address"):
        public_addresses_only(text)


def test_python_and_the_table_agree_about_private_and_loopback() -> None:
    """Nothing that any version of Python calls private, or the like, passes."""
    for first in range(256):
        for second in range(256):
            address = ipaddress.IPv4Address((first << 24) | (second << 16) | 1)
            if address.is_private or address.is_loopback or address.is_link_local:
                with pytest.raises(AddressBlockedError):
                    public_addresses_only(address)


def test_the_error_pickles() -> None:
    with pytest.raises(AddressBlockedError) as caught:
        public_addresses_only("10.0.0.1")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.address, copy.reason, copy.conn) == (
        str(caught.value), "10.0.0.1", "private network", None,
    )  # fmt: skip
