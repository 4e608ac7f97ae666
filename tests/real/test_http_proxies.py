"""What holds with every HTTP proxy: Squid, tinyproxy, Apache and nghttpx, plain and over TLS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dummyserver.app import large_body
from dummyserver.server import DummyServer
from tests.real.servers import Way, with_credentials
from urllib4 import PoolManager, Retry
from urllib4.exceptions import MaxRetryError, ProxyError

Get = Callable[[str], Any]
OpenManager = Callable[..., PoolManager]

#: How to go: a name, and the way by the fixtures.
WAYS: dict[str, Callable[[Get], Way]] = {
    "squid": lambda get: get("squid").plain,
    "squid with a password": lambda get: get("squid").protected,
    "squid over TLS": lambda get: get("squid").tls,
    "tinyproxy": lambda get: get("tinyproxy").way,
    "tinyproxy with a password": lambda get: get("tinyproxy_auth").way,
    "apache with a password": lambda get: get("apache").plain,
    "apache with a password over TLS": lambda get: get("apache").tls,
    "nghttpx over TLS": lambda get: get("nghttpx").tls,
}
#: The proxies with a password: their URL.
PROTECTED: dict[str, Callable[[Get], str]] = {
    "squid": lambda get: get("squid").protected_url,
    "tinyproxy": lambda get: get("tinyproxy_auth").url,
    "apache": lambda get: get("apache").plain_url,
    "apache over TLS": lambda get: get("apache").tls_url,
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    return WAYS[request.param](request.getfixturevalue)


@pytest.fixture
def manager(way: Way, open_manager: OpenManager) -> PoolManager:
    return open_manager(way)


@pytest.fixture(params=["http", "https"])
def base(request: pytest.FixtureRequest, server: DummyServer) -> str:
    """The origin: forwarded to (http), and at the end of a tunnel (https)."""
    return server.http_url if request.param == "http" else server.https_url


def test_requests_share_a_connection(manager: PoolManager, way: Way, base: str) -> None:
    for number in range(3):
        answer = manager.request("GET", f"{base}/echo?n={number}")
        assert (answer.status, answer.json()["args"]) == (200, {"n": [str(number)]})
    pool = manager.connection_from_url(base)
    assert (pool.num_connections, pool.num_requests) == (1 if way.keeps else 3, 3)


def test_what_is_sent_and_received_is_whole(manager: PoolManager, base: str) -> None:
    body = bytes(range(256)) * 4096
    assert manager.request("POST", f"{base}/echo_raw", body=body).data == body
    pieces = (body[at : at + 10_000] for at in range(0, len(body), 10_000))
    assert manager.request("PUT", f"{base}/echo_raw", body=pieces).data == body
    size = 1_500_000
    answer = manager.request("GET", f"{base}/large?size={size}", preload_content=False)
    assert b"".join(answer.stream(70_000)) == large_body(size)
    assert manager.request("HEAD", f"{base}/large?size=9").data == b""


def test_codings_chunks_and_empty_answers(manager: PoolManager, base: str) -> None:
    fields = {"Accept-Encoding": "gzip"}
    url = f"{base}/encoded?encoding=gzip"
    plain = manager.request("GET", f"{base}/encoded").data
    assert manager.request("GET", url, headers=fields).data == plain
    chunks = manager.request("GET", f"{base}/chunked")
    assert chunks.status == 200
    assert chunks.data
    for status in (204, 304, 404, 500):
        assert manager.request("GET", f"{base}/status?status={status}").status == status


def test_a_redirect_to_the_other_scheme_takes_the_other_route(
    manager: PoolManager, base: str, server: DummyServer
) -> None:
    other = server.https_url if base == server.http_url else server.http_url
    answer = manager.request(
        "GET", f"{base}/redirect?status=302&target={other}/echo", retries=Retry(2)
    )
    assert (answer.status, answer.json()["method"]) == (200, "GET")
    assert len(manager.pools) == 2


def test_the_password_never_reaches_the_target(manager: PoolManager, base: str) -> None:
    answer = manager.request("GET", f"{base}/headers").json()["headers"]
    assert "proxy-authorization" not in {name.lower() for name, _ in answer}


@pytest.mark.parametrize("name", PROTECTED)
@pytest.mark.parametrize("credentials", [None, "user:wrong", "other:secret"])
def test_other_credentials_are_refused(
    open_manager: OpenManager,
    request: pytest.FixtureRequest,
    server: DummyServer,
    name: str,
    credentials: str | None,
) -> None:
    """A forwarded request gets the proxy's answer; a tunnel does not come into being."""
    url = PROTECTED[name](request.getfixturevalue)
    manager = open_manager(with_credentials(url, credentials) if credentials else Way(url))
    refused = manager.request("GET", f"{server.http_url}/echo")
    assert refused.status == (401 if "tinyproxy" in name and credentials else 407)
    with pytest.raises(MaxRetryError) as caught:
        manager.request("GET", f"{server.https_url}/echo")
    reason = caught.value.reason
    assert isinstance(reason, ProxyError)
    assert isinstance(reason.original_error, OSError)
    assert "Tunnel connection failed: 4" in str(reason.original_error)
    assert "secret" not in repr(caught.value)


def test_a_target_that_is_not_there_is_the_proxys_answer_or_a_refused_tunnel(
    manager: PoolManager,
) -> None:
    assert manager.request("GET", "http://127.0.0.1:1/").status in (500, 502, 503)
    with pytest.raises(MaxRetryError, match="Tunnel connection failed: 50") as caught:
        manager.request("GET", "https://127.0.0.1:1/")
    assert isinstance(caught.value.reason, ProxyError)
