"""nginx as the origin, by every route: straight, forwarded, tunnelled, TLS in TLS, and SOCKS."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import pytest

from dummyserver.certs import Certificates
from tests.real.servers import Nginx, Way
from urllib4 import PoolManager, Retry, Timeout
from urllib4.exceptions import DeadlineExceededError, MaxRetryError, ProtocolError, SSLError

Get = Callable[[str], Any]
OpenManager = Callable[..., PoolManager]

#: How to go: a name, and the way by the fixtures.
ROUTES: dict[str, Callable[[Get], Way | None]] = {
    "direct": lambda get: None,
    "squid": lambda get: get("squid").plain,
    "squid over TLS": lambda get: get("squid").tls,
    "tinyproxy": lambda get: get("tinyproxy").way,
    "apache over TLS": lambda get: get("apache").tls,
    "nghttpx over TLS": lambda get: get("nghttpx").tls,
    "microsocks": lambda get: get("microsocks"),
}


@pytest.fixture(scope="module")
def microsocks(need: Any, start: Any) -> Way:
    program = need("microsocks")
    port = start(lambda port, _: (program, "-i", "127.0.0.1", "-p", str(port))).port
    return Way(f"socks5h://127.0.0.1:{port}")


@pytest.fixture(params=ROUTES)
def way(request: pytest.FixtureRequest) -> Way | None:
    return ROUTES[request.param](request.getfixturevalue)


@pytest.fixture(params=["http", "https"])
def scheme(request: pytest.FixtureRequest) -> str:
    scheme: str = request.param
    return scheme


@pytest.fixture
def base(scheme: str, nginx: Nginx) -> str:
    return nginx.http if scheme == "http" else nginx.https


@pytest.fixture
def forwarded(way: Way | None, scheme: str) -> bool:
    """Whether a proxy reads the request and answers itself."""
    return scheme == "http" and way is not None and not way.url.startswith("socks")


@pytest.fixture
def manager(way: Way | None, open_manager: OpenManager) -> PoolManager:
    return open_manager(way)


def test_a_server_that_closes_every_third_time(
    manager: PoolManager, base: str, way: Way | None, forwarded: bool
) -> None:
    counts = [int(manager.request("GET", f"{base}/count").data) for _ in range(10)]
    if not forwarded and (way is None or way.keeps):
        assert counts == [1, 2, 3] * 3 + [1]


def test_gzip(manager: PoolManager, base: str, nginx: Nginx) -> None:
    answer = manager.request("GET", f"{base}/big.txt", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.data == nginx.big


def test_ranges_and_conditions(manager: PoolManager, base: str, nginx: Nginx) -> None:
    answer = manager.request("GET", f"{base}/big.txt", headers={"Range": "bytes=100-199"})
    assert (answer.status, answer.data) == (206, nginx.big[100:200])
    tag = answer.headers["ETag"]
    answer = manager.request("GET", f"{base}/big.txt", headers={"If-None-Match": tag})
    assert (answer.status, answer.data) == (304, b"")
    answer = manager.request("HEAD", f"{base}/big.txt")
    assert (answer.status, answer.data) == (200, b"")


def test_trailers(manager: PoolManager, base: str, nginx: Nginx, forwarded: bool) -> None:
    """A proxy may leave them out (RFC 9110, 6.5.1), but not a part of the content."""
    answer = manager.request("GET", f"{base}/trailer", headers={"TE": "trailers"})
    assert answer.data == nginx.big
    if not forwarded:
        assert answer.trailers == {"X-Sum": "42"}


def test_redirects(manager: PoolManager, base: str, nginx: Nginx) -> None:
    """Inside the origin, and to the other one and back, each by the route of its scheme."""
    policy = Retry(3)
    assert manager.request("GET", f"{base}/moved", retries=policy).data == nginx.big
    for path in ("/to-http", "/to-https", "/to-http"):
        answer = manager.request("GET", f"{base}{path}", retries=policy)
        other = nginx.http if path == "/to-http" else nginx.https
        assert answer.data.split() == [b"GET", other.partition("//")[2].encode()]


def test_a_connection_closed_without_an_answer(
    manager: PoolManager, base: str, forwarded: bool, request: pytest.FixtureRequest
) -> None:
    if forwarded and "tinyproxy" not in request.node.name:  # which answers as little
        assert manager.request("GET", f"{base}/drop").status == 502
        return
    with pytest.raises(MaxRetryError) as caught:
        manager.request("GET", f"{base}/drop")
    assert type(caught.value.reason) is ProtocolError


def test_a_body_that_is_too_large_for_the_server(manager: PoolManager, base: str) -> None:
    """It answers 413 and closes before the body is there; the answer must not get lost."""
    for size, status in ((10, 200), (11, 413), (3_000_000, 413)):
        manager.clear()  # a proxy may close unannounced after 413, and a POST is not sent again
        answer = manager.request("POST", f"{base}/small", body=b"x" * size)
        assert answer.status == status


def test_uploads(manager: PoolManager, base: str) -> None:
    """With a length, and in chunks of unknown number."""
    body = b"0123456789" * 100_000
    url = f"{base}/dav/{id(manager)}"
    assert manager.request("PUT", url, body=body).status == 201
    assert manager.request("GET", url).data == body
    pieces = (body[at : at + 99_999] for at in range(0, len(body), 99_999))
    assert manager.request("PUT", url, body=pieces).status == 204
    assert manager.request("GET", url).data == body
    assert manager.request("DELETE", url).status == 204


def test_a_slow_body_ends_at_the_deadline(manager: PoolManager, base: str) -> None:
    timeout = Timeout(20, deadline=0.3)
    with pytest.raises(DeadlineExceededError):
        manager.request("GET", f"{base}/slow", timeout=timeout)
    assert manager.request("GET", f"{base}/echo").status == 200


def test_busy_answers_are_asked_again_and_then_told(manager: PoolManager, base: str) -> None:
    with pytest.raises(MaxRetryError, match="too many 503 error responses"):
        manager.request("GET", f"{base}/busy", retries=Retry(2, status_forcelist={503}))
    answer = manager.request("GET", f"{base}/busy")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "0")


def test_a_client_certificate_is_for_the_target(
    way: Way | None, nginx: Nginx, certs: Certificates, open_manager: OpenManager
) -> None:
    files = certs.client
    known = open_manager(way, cert_file=files.cert, key_file=files.key)
    assert known.request("GET", f"{nginx.for_clients}/").data == b"SUCCESS TLSv1.2\n"
    nobody = open_manager(way)
    assert nobody.request("GET", f"{nginx.for_clients}/").status == 400


def test_an_old_server_and_a_client_that_wants_more(
    way: Way | None, nginx: Nginx, open_manager: OpenManager
) -> None:
    manager = open_manager(way, ssl_minimum_version=ssl.TLSVersion.TLSv1_3)
    with pytest.raises(MaxRetryError) as caught:
        manager.request("GET", f"{nginx.for_clients}/")
    assert isinstance(caught.value.reason, SSLError)
