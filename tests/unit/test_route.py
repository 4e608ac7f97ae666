"""The table of routes: each row once, with what follows from it."""

from __future__ import annotations

from typing import Any

import pytest

from urllib4._base_connection import ProxyConfig
from urllib4._route import DIRECT, route_for
from urllib4.util.url import parse_url


def config(forwarding: bool) -> ProxyConfig:
    return ProxyConfig(None, forwarding, None, None)


@pytest.mark.parametrize(
    ("proxy", "forwarding", "scheme", "kind"),
    [
        (None, False, "http", "direct"),
        (None, False, "https", "direct"),
        (None, True, "https", "direct"),
        ("http://p.example:3128", False, "http", "forward"),
        ("http://p.example:3128", True, "http", "forward"),
        ("https://p.example:3128", False, "http", "forward"),
        ("https://p.example:3128", True, "http", "forward"),
        ("http://p.example:3128", False, "https", "tunnel"),
        ("http://p.example:3128", True, "https", "tunnel"),
        ("https://p.example:3128", False, "https", "tunnel"),
        ("https://p.example:3128", True, "https", "forward"),
    ],
)
def test_a_route_follows_from_proxy_target_and_forwarding(
    proxy: str | None, forwarding: bool, scheme: str, kind: str
) -> None:
    """Forwarding https through a plain proxy would show it all: such a target is tunnelled."""
    url = None if proxy is None else parse_url(proxy)
    route = route_for(url, config(forwarding), scheme)
    assert route.kind == kind
    assert route.proxy == url
    # Only a proxy that sees the request reads its whole URL, and its own headers there.
    assert route.absolute_target is (kind == "forward")
    assert route.proxy_headers_with_requests is (kind == "forward")


def test_without_a_proxy_there_is_one_route_for_all() -> None:
    assert route_for(None, None, "http") is DIRECT
    assert route_for(None, None, "https") is DIRECT


@pytest.mark.parametrize("settings", [None, config(False)])
def test_without_settings_an_https_proxy_is_a_tunnel(settings: Any) -> None:
    assert route_for(parse_url("https://p.example"), settings, "https").kind == "tunnel"


def test_equal_routes_are_equal_values() -> None:
    """They may be part of keys."""
    one = route_for(parse_url("http://p.example:1"), None, "http")
    two = route_for(parse_url("http://p.example:1"), config(False), "http")
    assert one == two
    assert hash(one) == hash(two)
    assert one != route_for(parse_url("http://p.example:2"), None, "http")
