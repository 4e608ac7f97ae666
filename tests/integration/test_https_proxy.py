"""A proxy that is reached over TLS, and asked for whole URLs."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from dummyserver.counting import CountingServer
from urllib4 import ProxyManager
from urllib4.exceptions import InsecureRequestWarning, MaxRetryError


def test_http_targets_go_to_an_https_proxy_in_absolute_form(certs: Any) -> None:
    """RFC 9112, 3.2.2: no tunnel, one pool for all of them, and the proxy's headers with each."""
    with (
        CountingServer(tls=certs.server_context()) as proxy,
        ProxyManager(
            f"https://localhost:{proxy.port}",
            ca_certs=certs.ca_file,
            proxy_headers={"Proxy-Authorization": "Basic abc"},
        ) as manager,
    ):
        for host in ("one.example", "two.example"):
            assert manager.request("GET", f"http://{host}/x").data == f"http://{host}/x".encode()
        assert len(manager.pools) == 1
        assert proxy.connections == 1
    assert [exchange.header("host") for exchange in proxy.exchanges] == [
        "one.example",
        "two.example",
    ]
    assert {exchange.header("proxy-authorization") for exchange in proxy.exchanges} == {"Basic abc"}


def test_https_targets_may_be_left_to_the_proxy(certs: Any) -> None:
    """The target is not verified then, and says so; the proxy is."""
    with (
        CountingServer(tls=certs.server_context()) as proxy,
        ProxyManager(
            f"https://localhost:{proxy.port}",
            ca_certs=certs.ca_file,
            use_forwarding_for_https=True,
        ) as manager,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always", InsecureRequestWarning)
        answer = manager.request("GET", "https://target.example/x")
        assert answer.data == b"https://target.example/x"
    assert not caught


def test_an_https_proxy_that_nobody_vouches_for_is_refused(certs: Any) -> None:
    with (
        CountingServer(tls=certs.server_context()) as proxy,
        ProxyManager(f"https://localhost:{proxy.port}") as manager,
        pytest.raises(MaxRetryError, match="Unable to connect to proxy"),
    ):
        manager.request("GET", "http://one.example/", retries=0)
