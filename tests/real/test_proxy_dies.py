"""A proxy that is killed, hangs, or comes back: the error of the documented kind, in time.

That no socket is left open is what the fixture `nothing_leaks` of every test sees to.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dummyserver.script import ScriptedServer
from dummyserver.server import DummyServer
from tests.real.servers import Way
from urllib4 import PoolManager, Retry, Timeout
from urllib4.exceptions import (
    DeadlineExceededError,
    HTTPError,
    MaxRetryError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

Get = Callable[[str], Any]
OpenManager = Callable[..., PoolManager]

#: The bound of waits that must end by it, in seconds, and what the whole may take.
SHORT, LONG = 0.2, 10.0

PROXIES: dict[str, Callable[[Get], tuple[Any, Way]]] = {
    "squid": lambda get: (get("squid").peer, get("squid").plain),
    "squid over TLS": lambda get: (get("squid").peer, get("squid").tls),
    "tinyproxy": lambda get: (get("tinyproxy").peer, get("tinyproxy").way),
    "apache over TLS": lambda get: (get("apache").peer, get("apache").tls),
    "nghttpx over TLS": lambda get: (get("nghttpx").peer, get("nghttpx").tls),
}


class Dying:
    """One proxy: the program, and the way through it."""

    def __init__(self, peer: Any, way: Way) -> None:
        self.peer = peer
        self.way = way


@pytest.fixture(params=PROXIES)
def proxy(request: pytest.FixtureRequest) -> Iterator[Dying]:
    """A proxy that runs, also after a test that killed it."""
    peer, way = PROXIES[request.param](request.getfixturevalue)
    yield Dying(peer, way)
    peer.resume()
    if not peer.running:
        peer.start()


@pytest.fixture(params=["http", "https"])
def base(request: pytest.FixtureRequest, server: DummyServer) -> str:
    return server.http_url if request.param == "http" else server.https_url


def reason_of(manager: PoolManager, url: str, **options: Any) -> HTTPError:
    """Return what a request fails with, and see that it does not take long."""
    start = time.monotonic()
    with pytest.raises(MaxRetryError) as caught:
        manager.request("GET", url, **options)
    assert time.monotonic() - start < LONG
    assert isinstance(caught.value.reason, HTTPError)
    return caught.value.reason


def test_a_proxy_that_is_gone_and_comes_back(
    proxy: Dying, base: str, open_manager: OpenManager
) -> None:
    """A kept connection to the killed one is not used, and the new one is found."""
    manager = open_manager(proxy.way)
    assert manager.request("GET", f"{base}/echo").status == 200
    proxy.peer.kill()
    for _ in range(2):
        error = reason_of(manager, f"{base}/echo")
        assert isinstance(error, ProxyError)
        assert isinstance(error.original_error, NewConnectionError)
    proxy.peer.start()
    for _ in range(2):
        assert manager.request("GET", f"{base}/echo").status == 200


def test_a_proxy_that_is_gone_is_tried_as_often_as_the_policy_says(
    proxy: Dying, base: str, open_manager: OpenManager
) -> None:
    proxy.peer.kill()
    manager = open_manager(proxy.way)
    with pytest.raises(MaxRetryError) as caught:
        manager.request("GET", f"{base}/echo", retries=Retry(5, connect=2))
    assert isinstance(caught.value.reason, ProxyError)
    assert manager.connection_from_url(base).num_requests in (0, 3)  # tunnels are not requests


def test_a_proxy_that_dies_while_the_answer_is_awaited(
    proxy: Dying, script: ScriptedServer, open_manager: OpenManager
) -> None:
    """It was reached: what fails is the request, as if the target had failed."""
    script.accept().expect(b"GET ").run(lambda _: proxy.peer.kill())
    error = reason_of(open_manager(proxy.way), f"{script.url}/")
    assert type(error) in (ProtocolError, SSLError)


def test_a_proxy_that_dies_while_the_answer_is_awaited_in_a_tunnel(
    proxy: Dying, tls_script: ScriptedServer, open_manager: OpenManager
) -> None:
    tls_script.accept().expect(b"GET ").run(lambda _: proxy.peer.kill())
    error = reason_of(open_manager(proxy.way), f"{tls_script.url}/")
    assert type(error) in (ProtocolError, SSLError)


def test_a_proxy_that_dies_in_the_middle_of_a_body(
    proxy: Dying, base: str, open_manager: OpenManager
) -> None:
    """A body that ends early is an error, also where its length is not known."""
    manager = open_manager(proxy.way)
    answer = manager.request("GET", f"{base}/large?size=200000000", preload_content=False)
    assert answer.read(1000)
    proxy.peer.kill()
    with pytest.raises((ProtocolError, SSLError)):
        for _ in answer.stream(1 << 20):
            pass


def test_a_proxy_that_dies_while_a_body_is_sent(
    proxy: Dying, base: str, open_manager: OpenManager
) -> None:
    def body() -> Iterator[bytes]:
        yield b"x" * 100_000
        proxy.peer.kill()
        for _ in range(200):
            yield b"x" * 100_000

    with pytest.raises((ProtocolError, SSLError)):
        open_manager(proxy.way).request("POST", f"{base}/echo_raw", body=body())


def test_a_proxy_that_hangs_before_it_is_reached(
    proxy: Dying, base: str, open_manager: OpenManager
) -> None:
    """The kernel takes the connection, and nobody answers: not TLS, not CONNECT, not the request.

    Only the last of them is the target's matter.
    """
    proxy.peer.pause()
    manager = open_manager(proxy.way, timeout=SHORT)
    error = reason_of(manager, f"{base}/echo")
    if base.startswith("http:") and proxy.way.url.startswith("http:"):
        assert isinstance(error, ReadTimeoutError)
    else:
        assert isinstance(error, ProxyError)
        assert isinstance(error.original_error, ReadTimeoutError)
    with pytest.raises(DeadlineExceededError):
        manager.request("GET", f"{base}/echo", timeout=Timeout(LONG, deadline=SHORT), retries=9)
    proxy.peer.resume()
    assert manager.request("GET", f"{base}/echo", timeout=LONG).status == 200


def test_a_proxy_that_hangs_with_a_kept_connection(
    proxy: Dying, base: str, open_manager: OpenManager
) -> None:
    manager = open_manager(proxy.way, timeout=LONG, maxsize=1)
    assert manager.request("GET", f"{base}/echo").status == 200
    proxy.peer.pause()
    with pytest.raises(MaxRetryError) as caught:
        manager.request("GET", f"{base}/echo", timeout=SHORT)
    if proxy.way.keeps or base.startswith("https:"):
        assert isinstance(caught.value.reason, ReadTimeoutError)
    with pytest.raises(DeadlineExceededError):
        manager.request("GET", f"{base}/echo", timeout=Timeout(LONG, deadline=SHORT), retries=9)
    proxy.peer.resume()
    assert manager.request("GET", f"{base}/echo").status == 200
