"""Squid: TLS on either hop, TLS in TLS, and targets that the proxy speaks TLS to in our place."""

from __future__ import annotations

import hashlib
import ssl
import threading
from collections.abc import Callable
from typing import Any

import pytest

from dummyserver.certs import Certificates
from dummyserver.server import DummyServer
from tests.real.servers import Squid, Way
from urllib4 import PoolManager, ProxyManager, Retry
from urllib4.exceptions import HTTPError, MaxRetryError, ProxyError, SSLError
from urllib4.util.ssltransport import SSLTransport

OpenManager = Callable[..., PoolManager]


def failure(manager: PoolManager, url: str) -> HTTPError:
    """Return what a request fails with, which is to be the reason of a MaxRetryError."""
    with pytest.raises(MaxRetryError) as caught:
        manager.request("GET", url)
    reason = caught.value.reason
    assert isinstance(reason, HTTPError)
    return reason


def tls_failure_of_proxy(manager: PoolManager, url: str) -> str:
    """Return the text of the error of a request that must fail at TLS with the proxy."""
    error = failure(manager, url)
    assert isinstance(error, ProxyError)
    assert isinstance(error.original_error, SSLError)
    return str(error)


# -- the two TLS hops are verified each by itself --------------------------------------------------


@pytest.mark.parametrize("target", ["good", "bad"])
@pytest.mark.parametrize("proxy", ["good", "bad"])
def test_each_certificate_is_verified_with_the_trust_of_the_pool(
    squid: Squid, server: DummyServer, open_manager: OpenManager, proxy: str, target: str
) -> None:
    """Whose certificate is refused is told by the kind of the error."""
    manager = open_manager(squid.tls if proxy == "good" else squid.stranger)
    url = f"{server.https_url if target == 'good' else server.untrusted_url}/echo"
    if proxy == "bad":
        assert "CERTIFICATE_VERIFY_FAILED" in tls_failure_of_proxy(manager, url)
    elif target == "bad":
        error = failure(manager, url)
        assert isinstance(error, SSLError)
        assert "CERTIFICATE_VERIFY_FAILED" in str(error)
    else:
        assert manager.request("GET", url).status == 200


@pytest.mark.parametrize("trusts_target", [True, False])
@pytest.mark.parametrize("trusts_proxy", [True, False])
def test_each_hop_has_a_trust_of_its_own(
    squid: Squid,
    server: DummyServer,
    certs: Certificates,
    open_manager: OpenManager,
    trusts_proxy: bool,
    trusts_target: bool,
) -> None:
    """Proxy and target show certificates of two authorities, and no authority counts for both."""
    ours, theirs = certs.ca_file, certs.unrelated_ca_file
    manager = open_manager(
        squid.stranger,
        proxy_ssl_context=ssl.create_default_context(cafile=theirs if trusts_proxy else ours),
        ca_certs=ours if trusts_target else theirs,
    )
    url = f"{server.https_url}/echo"
    if not trusts_proxy:
        tls_failure_of_proxy(manager, url)
    elif not trusts_target:
        assert isinstance(failure(manager, url), SSLError)
    else:
        assert manager.request("GET", url).status == 200


@pytest.mark.parametrize("target", ["wrong_host_url", "expired_url", "no_san_url"])
def test_tls_in_tls_refuses_a_bad_certificate_of_the_target(
    squid: Squid, server: DummyServer, open_manager: OpenManager, target: str
) -> None:
    error = failure(open_manager(squid.tls), f"{getattr(server, target)}/echo")
    assert isinstance(error, SSLError)
    assert "CERTIFICATE_VERIFY_FAILED" in str(error)


def test_the_name_of_the_proxy_is_checked_and_may_be_given(
    squid: Squid, server: DummyServer, open_manager: OpenManager
) -> None:
    other = open_manager(squid.tls, proxy_assert_hostname="other.example")
    tls_failure_of_proxy(other, f"{server.https_url}/echo")
    same = open_manager(squid.tls, proxy_assert_hostname="localhost")
    assert same.request("GET", f"{server.https_url}/echo").status == 200


def test_the_fingerprint_of_the_proxy_is_not_that_of_the_target(
    squid: Squid, server: DummyServer, certs: Certificates, open_manager: OpenManager
) -> None:
    def fingerprint(path: str) -> str:
        with open(path) as file:
            return hashlib.sha256(ssl.PEM_cert_to_DER_cert(file.read())).hexdigest()

    options = {"proxy_ssl_context": ssl.create_default_context(cafile=certs.unrelated_ca_file)}
    ours, theirs = fingerprint(certs.server.cert), fingerprint(certs.untrusted.cert)
    manager = open_manager(squid.stranger, proxy_assert_fingerprint=theirs, **options)
    assert manager.request("GET", f"{server.https_url}/echo").status == 200
    assert isinstance(failure(manager, f"{server.untrusted_url}/echo"), SSLError)
    wrong = open_manager(squid.stranger, proxy_assert_fingerprint=ours, **options)
    tls_failure_of_proxy(wrong, f"{server.https_url}/echo")


def test_tls_in_tls_says_what_was_verified(
    squid: Squid, server: DummyServer, open_manager: OpenManager
) -> None:
    manager = open_manager(squid.tls)
    assert manager.request("GET", f"{server.https_url}/echo").status == 200
    conn = manager.connection_from_url(server.https_url)._get_conn()
    assert isinstance(conn.sock, SSLTransport)
    assert (conn.is_verified, conn.proxy_is_verified) == (True, True)
    conn.close()


def test_an_https_url_for_a_plain_port_says_so(
    squid: Squid, server: DummyServer, open_manager: OpenManager
) -> None:
    manager = open_manager(Way(squid.plain.url.replace("http:", "https:")))
    for url in (server.http_url, server.https_url):
        error = failure(manager, url)
        assert isinstance(error, ProxyError)
        assert "Your proxy appears to only use HTTP and not HTTPS" in str(error)


def test_an_http_url_for_a_tls_port_is_an_error_before_the_tunnel(
    squid: Squid, server: DummyServer, open_manager: OpenManager
) -> None:
    manager = open_manager(Way(squid.tls.url.replace("https:", "http:")))
    assert isinstance(failure(manager, server.https_url), ProxyError)


# -- the proxy speaks TLS with the target ----------------------------------------------------------


def test_forwarding_for_https(squid: Squid, server: DummyServer, open_manager: OpenManager) -> None:
    """One connection for both schemes; the target is the proxy's to verify, not ours."""
    manager = open_manager(squid.tls, use_forwarding_for_https=True)
    body = b"x" * 200_000
    for _ in range(2):
        assert manager.request("POST", f"{server.https_url}/echo_raw", body=body).data == body
    answer = manager.request("GET", f"{server.https_url}/echo", preload_content=False)
    assert answer.json()["method"] == "GET"
    (pool,) = (manager.connection_from_url(server.https_url),)
    assert pool.num_connections == 1
    conn = pool._get_conn()
    assert (conn.is_verified, conn.proxy_is_verified) == (False, True)
    conn.close()


def test_forwarding_leaves_the_judgement_of_the_target_to_the_proxy(
    squid: Squid, server: DummyServer, open_manager: OpenManager
) -> None:
    manager = open_manager(squid.tls, use_forwarding_for_https=True)
    answer = manager.request("GET", f"{server.untrusted_url}/echo")
    assert answer.status == 503
    assert answer.headers["X-Squid-Error"].startswith("ERR_SECURE_CONNECT_FAIL")
    stranger = open_manager(squid.stranger, use_forwarding_for_https=True)
    tls_failure_of_proxy(stranger, f"{server.https_url}/echo")


# -- what the proxy says itself --------------------------------------------------------------------


def test_the_password_is_asked_for_with_a_challenge(
    squid: Squid, server: DummyServer, open_manager: OpenManager
) -> None:
    answer = open_manager(Way(squid.protected_url)).request("GET", f"{server.http_url}/echo")
    assert answer.status == 407
    assert answer.headers["Proxy-Authenticate"] == 'Basic realm="real"'
    error = failure(open_manager(Way(squid.protected_url)), f"{server.https_url}/echo")
    assert isinstance(error, ProxyError)
    text = "Tunnel connection failed: 407 Proxy Authentication Required"
    assert str(error.original_error) == text


def test_a_challenge_is_no_reason_to_try_again(
    squid: Squid, server: DummyServer, open_manager: OpenManager
) -> None:
    """Each attempt is counted as a failed connect; the last error is that of the proxy."""
    manager = open_manager(Way(squid.protected_url), retries=Retry(2))
    error = failure(manager, f"{server.https_url}/echo")
    assert "407" in str(error)
    assert manager.connection_from_url(server.https_url).num_connections == 3


def test_a_target_that_does_not_exist_is_told_with_the_proxys_reason(
    squid: Squid, open_manager: OpenManager
) -> None:
    manager = open_manager(squid.plain)
    answer = manager.request("GET", "http://127.0.0.1:1/")
    assert (answer.status, answer.headers["X-Squid-Error"]) == (503, "ERR_CONNECT_FAIL 111")
    error = failure(manager, "https://127.0.0.1:1/")
    assert str(getattr(error, "original_error", "")) == (
        "Tunnel connection failed: 503 Service Unavailable"
    )


def test_ipv6_targets(squid: Squid, server: DummyServer, open_manager: OpenManager) -> None:
    if not server.http_ipv6_url:
        pytest.skip("no IPv6 on this machine")
    for way in (squid.plain, squid.tls):
        manager = open_manager(way)
        assert manager.request("GET", f"{server.http_ipv6_url}/echo").status == 200
        assert manager.request("GET", f"{server.https_ipv6_url}/echo").status == 200


def test_a_manager_serves_threads_through_tls_in_tls(
    squid: Squid, server: DummyServer, open_manager: OpenManager
) -> None:
    manager: Any = open_manager(squid.tls, maxsize=4)
    assert isinstance(manager, ProxyManager)
    wrong: list[str] = []

    def run(number: int) -> None:
        for count in range(5):
            value = f"{number}-{count}"
            answer = manager.request("GET", f"{server.https_url}/echo?v={value}")
            if answer.json()["args"] != {"v": [value]}:
                wrong.append(value)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not wrong
