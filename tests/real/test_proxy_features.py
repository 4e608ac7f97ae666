"""Credentials, challenges, refusals and many proxies in one manager, with real proxies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dummyserver.server import DummyServer
from tests.real.servers import CREDENTIALS, Apache, Nghttpx, Nginx, Squid, Tinyproxy, Way
from urllib4 import PoolManager, Retry
from urllib4.exceptions import MaxRetryError, ProxyError
from urllib4.proxies import Proxy, ProxyChallenge
from urllib4.util import make_headers

Get = Callable[[str], Any]
OpenManager = Callable[..., PoolManager]

#: The proxies with a password: their URL.
PROTECTED: dict[str, Callable[[Get], str]] = {
    "squid": lambda get: get("squid").protected_url,
    "tinyproxy": lambda get: get("tinyproxy_auth").url,
    "apache": lambda get: get("apache").plain_url,
    "apache over TLS": lambda get: get("apache").tls_url,
}
#: The realm that they name.
REALMS = {"squid": "real", "tinyproxy": "Tinyproxy", "apache": "real", "apache over TLS": "real"}
GOOD = make_headers(proxy_basic_auth=CREDENTIALS)["proxy-authorization"]


@pytest.fixture(params=PROTECTED)
def name(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


@pytest.fixture
def url(request: pytest.FixtureRequest, name: str) -> str:
    return PROTECTED[name](request.getfixturevalue)


@pytest.fixture
def keeps(name: str) -> bool:
    return name != "tinyproxy"


def with_userinfo(url: str, userinfo: str = CREDENTIALS) -> str:
    return url.replace("://", f"://{userinfo}@")


def refusal_of(manager: PoolManager, url: str) -> ProxyError:
    with pytest.raises(MaxRetryError) as caught:
        manager.request("GET", url)
    error = caught.value.reason
    assert isinstance(error, ProxyError)
    return error


# -- credentials -----------------------------------------------------------------------------------


@pytest.mark.parametrize("userinfo", ["user:secret", "%75ser:%73ecret"])
def test_credentials_in_the_url(
    open_manager: OpenManager, server: DummyServer, url: str, keeps: bool, userinfo: str
) -> None:
    manager = open_manager(Way(with_userinfo(url, userinfo), keeps=keeps))
    for base in (server.http_url, server.https_url):
        answer = manager.request("GET", f"{base}/headers")
        assert answer.status == 200
        seen = {name.lower() for name, _ in answer.json()["headers"]}
        assert "proxy-authorization" not in seen
    assert "secret" not in repr(manager)
    assert "secret" not in str(manager.proxy)


def test_wrong_credentials_in_the_url_are_told_without_them(
    open_manager: OpenManager, server: DummyServer, url: str, keeps: bool
) -> None:
    manager = open_manager(Way(with_userinfo(url, "user:mistaken"), keeps=keeps))
    assert manager.request("GET", f"{server.http_url}/").status in (401, 407)
    error = refusal_of(manager, server.https_url)
    assert error.status in (401, 407)
    assert "mistaken" not in repr(error)


def test_a_challenge_is_answered_once_and_for_all(
    open_manager: OpenManager, server: DummyServer, name: str, url: str, keeps: bool
) -> None:
    """The program is asked before anything else, then never again; a body is sent again."""
    asked: list[ProxyChallenge] = []

    def answer(challenge: ProxyChallenge) -> str:
        asked.append(challenge)
        return GOOD

    for first in ("http_url", "https_url"):
        manager = open_manager(Way(url, keeps=keeps), proxy_auth=answer)
        asked.clear()
        base = getattr(server, first)
        # tinyproxy has not read the body when it refuses, and resets the connection.
        method, body = ("POST", b"once") if keeps else ("GET", b"")
        answer_of = manager.request(method, f"{base}/echo_raw", body=body)
        assert (answer_of.status, answer_of.data) == (200, body)
        assert manager.request("GET", f"{server.http_url}/echo").status == 200
        assert manager.request("GET", f"{server.https_url}/echo").status == 200
        (challenge,) = asked
        assert (challenge.scheme, challenge.realm) == ("basic", REALMS[name])
        assert (challenge.method == "CONNECT") == (first == "https_url")


@pytest.mark.parametrize("value", [None, "Basic d3Jvbmc6d3Jvbmc="])
def test_a_challenge_without_a_good_answer_is_asked_about_once(
    open_manager: OpenManager, server: DummyServer, url: str, keeps: bool, value: str | None
) -> None:
    asked: list[ProxyChallenge] = []

    def answer(challenge: ProxyChallenge) -> str | None:
        asked.append(challenge)
        return value

    def manager() -> PoolManager:
        # A new one each time: tinyproxy says 401 to wrong credentials, which is no challenge.
        asked.clear()
        return open_manager(Way(url, keeps=keeps), proxy_auth=answer)

    assert manager().request("GET", f"{server.http_url}/echo").status in (401, 407)
    assert len(asked) == 1
    assert refusal_of(manager(), server.https_url).status in (401, 407)
    assert len(asked) == 1


def test_a_407_of_the_origin_is_none_of_the_proxys(
    open_manager: OpenManager, server: DummyServer, squid: Squid
) -> None:
    def answer(challenge: ProxyChallenge) -> str:
        raise AssertionError("asked for the origin's challenge")

    manager = open_manager(squid.tls, proxy_auth=answer)
    assert manager.request("GET", f"{server.https_url}/status?status=407").status == 407


# -- what the proxy says ---------------------------------------------------------------------------


def test_a_refusal_can_be_read(
    open_manager: OpenManager, server: DummyServer, name: str, url: str, keeps: bool
) -> None:
    error = refusal_of(open_manager(Way(url, keeps=keeps)), server.https_url)
    assert error.status == 407
    assert error.headers["Proxy-Authenticate"] == f'Basic realm="{REALMS[name]}"'
    assert error.body is not None
    assert b"html" in error.body.lower()


def test_a_target_that_is_not_there_can_be_read(open_manager: OpenManager, squid: Squid) -> None:
    for way in (squid.plain, squid.tls):
        error = refusal_of(open_manager(way), "https://127.0.0.1:1/")
        assert (error.status, error.headers["X-Squid-Error"]) == (503, "ERR_CONNECT_FAIL 111")
        assert b"ERR_CONNECT_FAIL" in (error.body or b"")


def test_the_headers_of_the_tunnel(
    open_manager: OpenManager, server: DummyServer, tinyproxy: Tinyproxy, apache: Apache
) -> None:
    """They are on each response of the connection, and are not the target's."""
    for way, agent in ((tinyproxy.way._replace(keeps=True), "tinyproxy"), (apache.tls, "Apache")):
        manager = open_manager(way)
        for _ in range(2):
            answer = manager.request("GET", f"{server.https_url}/echo")
            assert answer.proxy_headers["Proxy-Agent"].startswith(agent)
            assert "Proxy-Agent" not in answer.headers
    direct = open_manager(None).request("GET", f"{server.https_url}/echo")
    assert not direct.proxy_headers


# -- many proxies ----------------------------------------------------------------------------------


def agent_of(answer: Any) -> str:
    """Return who says that it carried an answer; empty: nobody."""
    headers = answer.proxy_headers or {}
    return str(headers.get("Proxy-Agent", answer.headers.get("Via", "")))


def test_each_target_goes_its_way(
    open_manager: OpenManager,
    server: DummyServer,
    nginx: Nginx,
    tinyproxy: Tinyproxy,
    apache: Apache,
) -> None:
    proxies = {
        "http": tinyproxy.url,
        "https": Proxy(apache.tls_url, headers=apache.tls.headers),
        nginx.http: None,
    }
    manager = open_manager(None, proxies=proxies, retries=Retry(3))
    assert "tinyproxy" in agent_of(manager.request("GET", f"{server.http_url}/echo"))
    assert "Apache" in agent_of(manager.request("GET", f"{server.https_url}/echo"))
    assert agent_of(manager.request("GET", f"{nginx.http}/echo")) == ""
    assert "Apache" in agent_of(manager.request("GET", f"{nginx.https}/echo"))
    # Redirects are routed anew.
    assert "Apache" in agent_of(manager.request("GET", f"{nginx.http}/to-https"))
    assert agent_of(manager.request("GET", f"{nginx.https}/to-http")) == ""


def test_the_environment_leads_through_real_proxies(
    open_manager: OpenManager,
    server: DummyServer,
    nginx: Nginx,
    tinyproxy: Tinyproxy,
    apache: Apache,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", tinyproxy.url)
    monkeypatch.setenv("HTTPS_PROXY", with_userinfo(apache.tls_url))
    monkeypatch.setenv("NO_PROXY", nginx.https.partition("//")[2])
    manager = open_manager(None, proxies="env")
    assert "tinyproxy" in agent_of(manager.request("GET", f"{server.http_url}/echo"))
    assert "Apache" in agent_of(manager.request("GET", f"{server.https_url}/echo"))
    assert agent_of(manager.request("GET", f"{nginx.https}/echo")) == ""
    plain = open_manager(None)
    assert agent_of(plain.request("GET", f"{server.http_url}/echo")) == ""


def test_http_and_socks_in_one_manager(
    open_manager: OpenManager,
    server: DummyServer,
    nghttpx: Nghttpx,
    need: Callable[[str], str],
    start: Callable[..., Any],
) -> None:
    program = need("microsocks")
    options = ("-u", "user", "-P", "secret")
    peer = start(lambda port, _: (program, "-i", "127.0.0.1", "-p", str(port), *options))
    socks = f"socks5h://user:secret@127.0.0.1:{peer.port}"
    manager = open_manager(None, proxies={"http": socks, "https": nghttpx.tls.url})
    for base in (server.http_url, server.https_url) * 2:
        assert manager.request("GET", f"{base}/echo?a=b").json()["args"] == {"a": ["b"]}
    assert len(manager.pools) == 2
    peer.kill()
    with pytest.raises(MaxRetryError, match="SOCKS proxy"):
        manager.request("GET", f"{server.http_url}/echo")
    assert manager.request("GET", f"{server.https_url}/echo").status == 200
