"""The keywords about opening sockets are checked where they are given, and part of pool keys."""

from __future__ import annotations

import math
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from urllib4 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager
from urllib4._dialing import KEEPALIVE, Dialing, checked
from urllib4.address_filters import public_addresses_only
from urllib4.connection import DIALING_KEYWORDS, HTTPConnection, HTTPSConnection
from urllib4.contrib.socks import SOCKSConnection, SOCKSProxyManager
from urllib4.resolvers import StaticResolver, SystemResolver

TAKERS: list[Callable[..., Any]] = [
    lambda **kw: HTTPConnection("localhost", **kw),
    lambda **kw: HTTPSConnection("localhost", **kw),
    lambda **kw: HTTPConnectionPool("localhost", **kw),
    lambda **kw: HTTPSConnectionPool("localhost", **kw),
    PoolManager,
    lambda **kw: ProxyManager("http://localhost", **kw),
    lambda **kw: SOCKSProxyManager("socks5://localhost", **kw),
]
TAKER_IDS = ["http", "https", "http-pool", "https-pool", "manager", "proxy-manager", "socks"]


class Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def resolve(self, *args: Any) -> Any: ...

    __call__ = resolve


WRONG: list[tuple[str, Any, type[Exception]]] = [
    ("resolver", "192.0.2.1", TypeError),
    ("resolver", {"a": "192.0.2.1"}, TypeError),
    ("resolver", Unhashable(), TypeError),
    ("address_filter", "public", TypeError),
    ("address_filter", True, TypeError),
    ("address_filter", Unhashable(), TypeError),
    ("socket_family", 4, ValueError),
    ("socket_family", "AF_INET", ValueError),
    ("socket_family", getattr(socket, "AF_UNIX", 1), ValueError),
    ("tcp_keepalive", 60, ValueError),
    ("tcp_keepalive", (60, 10), ValueError),
    ("tcp_keepalive", (60, 10, 0), ValueError),
    ("tcp_keepalive", (60.5, 10, 3), ValueError),
    ("tcp_keepalive", (True, 10, 3), ValueError),
    ("tcp_keepalive", (40000, 10, 3), ValueError),
    ("tcp_keepalive", "yes", ValueError),
    ("source_interface", 1, TypeError),
    ("source_interface", "", ValueError),
    ("source_interface", "a\0b", ValueError),
    ("source_interface", "x" * 300, ValueError),
    ("socket_path", b"/run/x", TypeError),
    ("socket_path", 5, TypeError),
    ("socket_path", "", ValueError),
    ("socket_path", "/run/x\0y", ValueError),
    ("socket_path", "/" + "x" * 200, ValueError),
    ("attempt_delay", 0, ValueError),
    ("attempt_delay", -1, ValueError),
    ("attempt_delay", "1", ValueError),
    ("attempt_delay", True, ValueError),
    ("attempt_delay", math.nan, ValueError),
]


@pytest.mark.parametrize("taker", TAKERS, ids=TAKER_IDS)
@pytest.mark.parametrize(
    ("name", "value", "error"), WRONG, ids=[f"{row[0]}-{n}" for n, row in enumerate(WRONG)]
)
def test_what_is_wrong_is_refused_at_construction(
    taker: Any, name: str, value: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match=rf"^{name} "):
        taker(**{name: value})


@pytest.mark.parametrize("taker", TAKERS, ids=TAKER_IDS)
def test_what_is_right_is_taken(taker: Any) -> None:
    taker(
        resolver=SystemResolver(),
        address_filter=public_addresses_only,
        socket_family=socket.AF_INET6,
        tcp_keepalive=(60, 10, 3),
        source_interface="lo",
        attempt_delay=math.inf,
    )


def test_nothing_is_loaded_for_those_who_decide_nothing() -> None:
    assert HTTPConnection("localhost")._dialing is None
    off = {"socket_family": socket.AF_UNSPEC, "tcp_keepalive": False}
    assert HTTPConnection("localhost", **off)._dialing is None  # type: ignore[arg-type]


# -- keep-alive ------------------------------------------------------------------------------------


def test_keepalive_becomes_socket_options() -> None:
    options = checked({"tcp_keepalive": [7, 8, 9]}).keepalive
    assert options[0] == (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    assert [value for _, _, value in options[1:]] == [7, 8, 9]
    assert [value for _, _, value in checked({"tcp_keepalive": True}).keepalive[1:]] == list(
        KEEPALIVE
    )
    assert checked({"tcp_keepalive": False}) == Dialing()


def test_what_the_system_lacks_is_an_error_if_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(socket, "TCP_KEEPCNT")
    assert len(checked({"tcp_keepalive": True}).keepalive) == 3
    with pytest.raises(ValueError, match=r"^tcp_keepalive: this system cannot set the count"):
        checked({"tcp_keepalive": (1, 2, 3)})


def test_macos_calls_the_idle_time_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "TCP_KEEPIDLE")
    monkeypatch.setattr(socket, "TCP_KEEPALIVE", 16, raising=False)
    assert (socket.IPPROTO_TCP, 16, 60) in checked({"tcp_keepalive": (60, 1, 1)}).keepalive


def test_a_system_without_them_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(ValueError, match="socket_path: this system has no Unix domain sockets"):
        checked({"socket_path": "/run/x"})
    monkeypatch.delattr(socket, "SO_BINDTODEVICE", raising=False)
    monkeypatch.setattr(sys, "platform", "other")
    with pytest.raises(ValueError, match="source_interface: this system cannot bind"):
        checked({"source_interface": "lo"})


# -- combinations ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: ProxyManager("http://localhost", socket_path="/run/x"),
        lambda: SOCKSProxyManager("socks5://localhost", socket_path="/run/x"),
        lambda: SOCKSConnection({"socks_version": 2, "proxy_host": "p"}, host="h", socket_path="x"),
    ],
    ids=["http-proxy", "socks", "socks-connection"],
)
def test_a_proxy_is_not_reached_by_a_unix_socket(make: Any) -> None:
    with pytest.raises(ValueError, match=r"^socket_path cannot be combined with a proxy$"):
        make()


# -- keys ------------------------------------------------------------------------------------------


def test_each_keyword_separates_pools() -> None:
    manager = PoolManager()
    table = StaticResolver({"a": "192.0.2.1"})
    variants: list[dict[str, Any]] = [
        {},
        {"resolver": table},
        {"resolver": SystemResolver()},
        {"address_filter": public_addresses_only},
        {"socket_family": socket.AF_INET},
        {"tcp_keepalive": True},
        {"tcp_keepalive": (1, 2, 3)},
        {"source_interface": "lo"},
        {"socket_path": "/run/x"},
        {"attempt_delay": 1},
    ]
    assert {name for variant in variants for name in variant} == set(DIALING_KEYWORDS)
    pools = [manager.connection_from_url("http://a/", variant) for variant in variants]
    again = [manager.connection_from_url("http://a/", variant) for variant in variants]
    assert pools == again
    assert len(set(pools)) == 10


def test_a_list_counts_like_a_tuple() -> None:
    manager = PoolManager(tcp_keepalive=[1, 2, 3])
    first = manager.connection_from_url("http://a/")
    assert manager.connection_from_url("http://a/", {"tcp_keepalive": (1, 2, 3)}) is first


def test_a_path_may_be_a_path() -> None:
    assert checked({"socket_path": Path("/run/x")}).socket_path == "/run/x"
    assert checked({"socket_path": "\0name"}).socket_path == "\0name"
