"""One manager, many routes: each request and each redirect goes the way that is chosen for it."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from dummyserver.certs import Certificates
from dummyserver.counting import CountingServer, Exchange, ok
from dummyserver.proxy import Proxy
from dummyserver.socks import SocksProxy
from urllib4 import PoolManager, ProxyManager
from urllib4.exceptions import MaxRetryError, NewConnectionError, ProxyError, ProxySchemeUnknown
from urllib4.proxies import Proxy as ProxyOf
from urllib4.util.url import Url


@pytest.fixture
def origin() -> Iterator[CountingServer]:
    with CountingServer() as running:
        yield running


@pytest.fixture
def secure(certs: Certificates) -> Iterator[CountingServer]:
    with CountingServer(tls=certs.server_context()) as running:
        yield running


def credentials(head: bytes) -> list[bytes]:
    return [line for line in head.split(b"\r\n") if line.lower().startswith(b"proxy-auth")]


# -- mappings ------------------------------------------------------------------------------------


def test_a_mapping_by_scheme(
    certs: Certificates, origin: CountingServer, secure: CountingServer
) -> None:
    with (
        Proxy() as for_http,
        Proxy(tls=certs.server_context()) as for_https,
        PoolManager(
            proxies={"http": for_http.url, "https": for_https.url}, ca_certs=certs.ca_file
        ) as manager,
    ):
        for _ in range(2):
            assert manager.request("GET", f"{origin.url}/a").data == b"/a"
            assert manager.request("GET", f"{secure.url}/b").data == b"/b"
        assert [head.split(b" ")[0] for head in for_http.log] == [b"GET", b"GET"]
        assert [head.split(b" ")[0] for head in for_https.log] == [b"CONNECT"]
        assert len(manager.pools) == 2
        assert secure.connections == 1
    assert origin.exchanges[0].target == "/a"


def test_a_host_of_its_own_and_one_that_is_reached_directly(origin: CountingServer) -> None:
    with (
        Proxy() as usual,
        Proxy() as special,
        CountingServer() as direct,
        CountingServer() as other,
        PoolManager(
            proxies={"all": usual.url, other.url: special.url, direct.url: None}
        ) as manager,
    ):
        for url in (origin.url, other.url, direct.url):
            assert manager.request("GET", f"{url}/x").status == 200
        assert (len(usual.log), len(special.log)) == (1, 1)
        assert len(manager.pools) == 3
        (exchange,) = direct.exchanges
        assert exchange.target == "/x"
        # What only a proxy expects is not sent to an origin.
        assert exchange.header("accept") is None


def test_each_proxy_has_headers_and_credentials_of_its_own(origin: CountingServer) -> None:
    """Each proxy gets its headers and credentials, and none gets those of another."""
    with (
        Proxy(credentials="ann:1") as one,
        Proxy(credentials="bob:2") as two,
        CountingServer() as other,
        PoolManager(
            proxies={
                origin.url: ProxyOf(one.url.replace("//", "//ann:1@"), headers={"X-One": "1"}),
                other.url: two.url.replace("//", "//bob:2@"),
            }
        ) as manager,
    ):
        assert manager.request("GET", f"{origin.url}/x").status == 200
        assert manager.request("GET", f"{other.url}/x").status == 200
        assert b"X-One: 1" in one.log[0]
        assert b"X-One" not in two.log[0]
        assert credentials(one.log[0]) == [b"Proxy-Authorization: Basic YW5uOjE="]
        assert credentials(two.log[0]) == [b"Proxy-Authorization: Basic Ym9iOjI="]
        heads = [exchange.head for exchange in (*origin.exchanges, *other.exchanges)]
    assert [credentials(head) for head in heads] == [[], []]


def test_an_https_proxy_that_forwards_has_tls_settings_of_its_own(certs: Certificates) -> None:
    with (
        CountingServer(tls=certs.server_context()) as proxy,
        PoolManager(
            cert_reqs="CERT_NONE",
            proxies={
                "all": ProxyOf(
                    proxy.url, use_forwarding_for_https=True, ssl_context=certs.client_context()
                )
            },
        ) as manager,
    ):
        assert manager.request("GET", "https://one.example/x").data == b"https://one.example/x"
        assert manager.request("GET", "http://two.example/y").data == b"http://two.example/y"


# -- callables -----------------------------------------------------------------------------------


def test_a_callable_is_asked_with_the_whole_url_but_no_credentials(origin: CountingServer) -> None:
    seen: list[Url] = []
    url = origin.url.replace("//", "//ann:secret@") + "/x?y=1#z"
    with (
        PoolManager(proxies=seen.append) as manager,
        pytest.warns(Warning, match="holds credentials"),
    ):
        manager.request("GET", url)
    assert [url.url for url in seen] == [f"{origin.url}/x?y=1"]


def test_a_redirect_is_routed_anew(origin: CountingServer) -> None:
    """From direct to proxy and back; what was added for a proxy is not sent to the next host."""

    def answer(exchange: Exchange) -> bytes:
        return ok(b"", f"Location: {targets.pop()}", status="302 Found") if targets else ok(b"end")

    with (
        CountingServer(answer) as one,
        CountingServer(answer) as two,
        Proxy(credentials="ann:secret") as proxy,
        PoolManager(
            proxies=lambda url: (
                proxy.url.replace("//", "//ann:secret@") if url.port == two.port else None
            )
        ) as manager,
    ):
        targets = [f"{one.url}/c", f"{two.url}/b"]
        assert manager.request("GET", f"{one.url}/a").data == b"end"
        assert [exchange.target for exchange in one.exchanges] == ["/a", "/c"]
        assert [exchange.target for exchange in two.exchanges] == ["/b"]
        assert len(proxy.log) == 1
        for exchange in (*one.exchanges, *two.exchanges):
            assert exchange.header("proxy-authorization") is None
        assert one.exchanges[1].header("accept") is None
        assert one.exchanges[1].header("host") == f"127.0.0.1:{one.port}"


@pytest.mark.parametrize("url", ["ftp://ann:secret@p:1", "p.example:1"])
def test_a_callable_that_names_a_bad_proxy(url: str) -> None:
    with (
        PoolManager(proxies=lambda target: url) as manager,
        pytest.raises(ProxySchemeUnknown) as caught,
    ):
        manager.request("GET", "http://example.com/")
    assert "secret" not in str(caught.value)


def test_a_unix_socket_is_reached_directly(tmp_path: Path) -> None:
    """No proxy could: it is on this machine."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            end, _ = listener.accept()
            with end:
                end.recv(65536)
                end.sendall(ok(b"near"))

        thread = threading.Thread(target=serve)
        thread.start()
        with PoolManager(proxies={"all": "http://127.0.0.1:1"}, retries=False) as manager:
            url = f"http+unix://{quote(str(path), safe='')}/x"
            assert manager.request("GET", url).data == b"near"
        thread.join()


# -- the environment -----------------------------------------------------------------------------


def test_the_environment(
    monkeypatch: pytest.MonkeyPatch,
    certs: Certificates,
    origin: CountingServer,
    secure: CountingServer,
) -> None:
    with Proxy(credentials="ann:s cret") as proxy, CountingServer() as local:
        monkeypatch.setenv("ALL_PROXY", proxy.url.replace("//", "//ann:s%20cret@"))
        monkeypatch.setenv("NO_PROXY", f"127.0.0.1:{local.port}")
        with PoolManager(proxies="env", ca_certs=certs.ca_file) as manager:
            for server in (origin, secure, local):
                assert manager.request("GET", f"{server.url}/x").data == b"/x"
        assert [head.split(b" ")[0] for head in proxy.log] == [b"GET", b"CONNECT"]


def test_a_bad_proxy_of_the_environment_is_an_error_where_it_would_be_used(
    monkeypatch: pytest.MonkeyPatch, origin: CountingServer
) -> None:
    """Going there directly would show what was meant to be hidden."""
    monkeypatch.setenv("HTTP_PROXY", "ftp://ann:secret@p:1")
    with (
        PoolManager(proxies="env") as manager,
        pytest.raises(ProxySchemeUnknown, match="unsupported scheme ftp"),
    ):
        manager.request("GET", origin.url)
    assert origin.exchanges == []


# -- SOCKS ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["socks4", "socks4a", "socks5", "socks5h"])
def test_a_socks_proxy_among_others(
    certs: Certificates, origin: CountingServer, secure: CountingServer, scheme: str
) -> None:
    with (
        SocksProxy(credentials=("a@n", "s:t")) as socks,
        Proxy() as proxy,
        (
            pytest.warns(Warning, match="SOCKS4 has no passwords")
            if scheme.startswith("socks4")
            else nullcontext()
        ),
        PoolManager(
            proxies={"https": socks.url_for(scheme, "a%40n:s%3At"), "http": proxy.url},
            ca_certs=certs.ca_file,
        ) as manager,
    ):
        assert manager.request("GET", f"{secure.url}/x").data == b"/x"
        assert manager.request("GET", f"{origin.url}/y").data == b"/y"
        assert [(entry.port, entry.username) for entry in socks.log] == [(secure.port, b"a@n")]
        assert len(proxy.log) == 1
        assert "s:t" not in repr(manager.pools.keys())


def test_a_refusal_of_socks_says_why() -> None:
    with (
        SocksProxy(refuse=lambda request: 2) as socks,
        PoolManager(proxies={"all": socks.url_for("socks5h", "ann:secret")}) as manager,
        pytest.raises(NewConnectionError, match="not allowed") as caught,
    ):
        manager.request("GET", "http://example.com/", retries=False)
    assert "secret" not in str(caught.value)


def test_socks_without_the_extra_says_what_to_install() -> None:
    code = """
        import sys, warnings
        sys.modules["python_socks"] = None
        import urllib4
        manager = urllib4.PoolManager(proxies=lambda url: "socks5://ann:secret@127.0.0.1:1")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                manager.request("GET", "http://example.com/")
            except ImportError as error:
                print(error)
        print(*(one.message for one in caught))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert "python_socks" in done.stdout
    assert "urllib4[socks]" in done.stdout
    assert "secret" not in done.stdout


# -- challenges ----------------------------------------------------------------------------------

ANN = "Basic YW5uOnNlY3JldA=="


class Asked:
    """A `proxy_auth` that remembers what it was asked."""

    def __init__(self, *answers: str | None) -> None:
        self.challenges: list[Any] = []
        self._answers = list(answers)

    def __call__(self, challenge: Any) -> str | None:
        self.challenges.append(challenge)
        return self._answers.pop(0) if self._answers else None


@pytest.mark.parametrize("many", [True, False], ids=["many", "one"])
@pytest.mark.parametrize("tls", [True, False], ids=["tunnel", "forward"])
def test_a_challenge_is_answered_once(
    certs: Certificates, origin: CountingServer, secure: CountingServer, many: bool, tls: bool
) -> None:
    """Further requests, and tunnels to other hosts, send the answer unasked."""
    ask = Asked(ANN)
    target = secure if tls else origin
    with Proxy(credentials="ann:secret") as proxy:
        options: Any = {"proxy_auth": ask, "ca_certs": certs.ca_file}
        with (
            PoolManager(proxies={"all": proxy.url}, **options)
            if many
            else ProxyManager(proxy.url, **options)
        ) as manager:
            for host in ("127.0.0.1", "127.0.0.1", "localhost"):
                url = target.url.replace("127.0.0.1", host)
                assert manager.request("POST", f"{url}/x", body=b"abc").data == b"/x"
        tunnels = 2 if tls else 3
        assert [len(credentials(head)) for head in proxy.log] == [0, *[1] * tunnels]
    (challenge,) = ask.challenges
    assert (challenge.scheme, challenge.realm) == ("basic", "proxy")
    assert challenge.parameters == {"realm": "proxy"}
    assert challenge.raw == 'Basic realm="proxy"'
    assert challenge.proxy.url == proxy.url
    assert challenge.method == ("CONNECT" if tls else "POST")
    assert challenge.target == (f"127.0.0.1:{target.port}" if tls else f"{origin.url}/x")
    for exchange in target.exchanges:
        assert exchange.header("proxy-authorization") is None
        assert exchange.body == b"abc"


def test_an_answer_that_is_refused_is_not_given_again(origin: CountingServer) -> None:
    """At most once per challenge: the 407 is the answer then."""
    ask = Asked("Basic wrong", "Basic wrong")
    with (
        Proxy(credentials="ann:secret") as proxy,
        ProxyManager(proxy.url, proxy_auth=ask) as manager,
    ):
        assert manager.request("GET", f"{origin.url}/x").status == 407
        assert len(proxy.log) == 2
        assert len(ask.challenges) == 1
        # The next call starts afresh: what was refused is not sent unasked.
        assert manager.request("GET", f"{origin.url}/x").status == 407
        assert [len(credentials(head)) for head in proxy.log] == [0, 1, 0, 1]


def test_an_answer_for_a_tunnel_that_is_refused(secure: CountingServer) -> None:
    ask = Asked("Basic wrong", "Basic wrong")
    with (
        Proxy(credentials="ann:secret") as proxy,
        ProxyManager(proxy.url, proxy_auth=ask, retries=False) as manager,
        pytest.raises(ProxyError, match="407 Proxy Authentication Required") as caught,
    ):
        manager.request("GET", f"{secure.url}/x")
    assert caught.value.status == 407
    assert len(ask.challenges) == 1
    assert "wrong" not in str(caught.value)


def test_none_declines(origin: CountingServer) -> None:
    with (
        Proxy(credentials="ann:secret") as proxy,
        ProxyManager(proxy.url, proxy_auth=Asked(None)) as manager,
    ):
        assert manager.request("GET", f"{origin.url}/x").status == 407
        assert len(proxy.log) == 1


def test_the_credentials_of_the_url_are_tried_before_anybody_is_asked(
    origin: CountingServer,
) -> None:
    ask = Asked(ANN)
    with (
        Proxy(credentials="ann:secret") as proxy,
        ProxyManager(proxy.url.replace("//", "//ann:old@"), proxy_auth=ask) as manager,
    ):
        assert manager.request("GET", f"{origin.url}/x").status == 200
        assert [credentials(head)[0].split()[-1] for head in proxy.log] == [
            b"YW5uOm9sZA==",
            b"YW5uOnNlY3JldA==",
        ]


@pytest.mark.parametrize("tls", [True, False], ids=["tunnel", "forward"])
def test_a_proxy_with_ever_new_challenges_is_given_up(certs: Certificates, tls: bool) -> None:
    number = iter(range(1000))

    def refuse(exchange: Exchange) -> bytes:
        nonce = f'Proxy-Authenticate: Digest realm="r", nonce="{next(number)}", stale=true'
        return ok(b"", nonce, status="407 No")

    asked = []
    with (
        CountingServer(refuse) as proxy,
        ProxyManager(
            proxy.url, proxy_auth=lambda one: asked.append(one) or "Digest x", retries=False
        ) as manager,
    ):
        if tls:
            with pytest.raises(ProxyError):
                manager.request("GET", "https://example.com/")
        else:
            assert manager.request("GET", "http://example.com/").status == 407
    assert len({challenge.raw for challenge in asked}) == len(asked) == 4
    assert asked[0].parameters["stale"] == "true"


def test_a_407_of_the_origin_inside_a_tunnel_asks_nobody(certs: Certificates) -> None:
    """It is none of the proxy's, and must not get the proxy's credentials."""

    def refuse(exchange: Exchange) -> bytes:
        return ok(b"", 'Proxy-Authenticate: Basic realm="gotcha"', status="407 No")

    ask = Asked(ANN, ANN)
    with (
        CountingServer(refuse, tls=certs.server_context()) as origin,
        CountingServer(refuse) as direct,
        Proxy() as proxy,
        PoolManager(
            proxies={"https": proxy.url}, proxy_auth=ask, ca_certs=certs.ca_file
        ) as manager,
    ):
        assert manager.request("GET", f"{origin.url}/x").status == 407
        assert manager.request("GET", f"{direct.url}/x").status == 407
        assert credentials(origin.exchanges[0].head) == []
    assert ask.challenges == []


def test_a_body_that_cannot_be_sent_again_leaves_the_407(origin: CountingServer) -> None:
    ask = Asked(ANN, ANN)
    with (
        Proxy(credentials="ann:secret") as proxy,
        ProxyManager(proxy.url, proxy_auth=ask) as manager,
    ):
        url = f"{origin.url}/x"
        body = iter([b"a", b"b"])
        headers = {"Content-Length": "2"}
        assert manager.request("POST", url, body=body, headers=headers).status == 407
        assert ask.challenges == []
        again = manager.request("POST", url, body=[b"a", b"b"], headers=headers)
        assert (again.status, len(ask.challenges)) == (200, 1)
    assert [exchange.body for exchange in origin.exchanges] == [b"ab"]


def test_a_file_is_sent_again_from_where_it_stood(origin: CountingServer) -> None:
    body = BytesIO(b"not this|but this")
    body.seek(9)
    with (
        Proxy(credentials="ann:secret") as proxy,
        ProxyManager(proxy.url, proxy_auth=Asked(ANN)) as manager,
    ):
        headers = {"Content-Length": "8"}
        response = manager.request("PUT", f"{origin.url}/x", body=body, headers=headers)
        assert response.status == 200
    assert [exchange.body for exchange in origin.exchanges] == [b"but this"]


def test_many_threads_share_what_the_proxy_accepted(origin: CountingServer) -> None:
    """Nobody is refused for good, and the program is asked once a thread at most."""
    threads = 8
    ask = Asked(*[ANN] * threads)
    ready = threading.Barrier(threads)
    statuses = []
    with (
        Proxy(credentials="ann:secret") as proxy,
        PoolManager(proxies=lambda url: proxy.url, proxy_auth=ask, maxsize=threads) as manager,
    ):

        def work() -> None:
            ready.wait(10)
            statuses.extend(manager.request("GET", f"{origin.url}/x").status for _ in range(3))

        workers = [threading.Thread(target=work) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert len(manager.pools) == 1
    assert statuses == [200] * 3 * threads
    assert 1 <= len(ask.challenges) <= threads


def test_an_answer_that_cannot_be_sent(origin: CountingServer) -> None:
    with Proxy(credentials="ann:secret") as proxy:
        for answer, error in ((5, TypeError), ("a\r\nX: y", ValueError)):
            with (
                ProxyManager(proxy.url, proxy_auth=lambda one, a=answer: a) as manager,
                pytest.raises(error),
            ):
                manager.request("GET", origin.url)


def test_several_challenges_are_offered_in_turn(certs: Certificates) -> None:
    def answer(exchange: Exchange) -> bytes:
        if exchange.header("proxy-authorization") == "Basic yes":
            return ok(b"in")
        return ok(
            b"",
            'Proxy-Authenticate: Negotiate, Digest realm="a, b", nonce="1"',
            'Proxy-Authenticate: Basic realm="c"',
            status="407 No",
        )

    seen = []

    def ask(challenge: Any) -> str | None:
        seen.append(challenge.scheme)
        return "Basic yes" if challenge.scheme == "basic" else None

    with CountingServer(answer) as proxy, ProxyManager(proxy.url, proxy_auth=ask) as manager:
        assert manager.request("GET", "http://example.com/").data == b"in"
    assert seen == ["negotiate", "digest", "basic"]


@pytest.mark.parametrize("status", [302, 303, 307])
def test_a_redirect_of_a_pool_keeps_the_credentials_of_its_proxy(status: int) -> None:
    """Those of the request stay with the origin; those of the proxy go to the proxy each time."""

    def answer(exchange: Exchange) -> bytes:
        if exchange.target == "http://a.example/moved":
            return ok(b"", "Location: http://b.example/there", status=f"{status} Moved")
        return ok(b"there")

    secrets = {"Cookie": "c=1", "Authorization": "Basic own", "Proxy-Authorization": "Basic own"}
    with (
        CountingServer(answer) as proxy,
        ProxyManager(proxy.url.replace("//", "//ann:secret@")) as manager,
    ):
        pool = manager.connection_from_url("http://a.example/")
        response = pool.urlopen(
            "GET", "http://a.example/moved", headers=secrets, assert_same_host=False
        )
        assert response.data == b"there"
        first, second = proxy.exchanges
        assert first.header("Proxy-Authorization") == "Basic YW5uOnNlY3JldA=="
        assert second.header("Proxy-Authorization") == "Basic YW5uOnNlY3JldA=="
        assert b"own" not in second.head
        assert second.header("Cookie") is None


def test_nothing_secret_is_logged(
    certs: Certificates, secure: CountingServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with (
        Proxy(credentials="ann:other") as proxy,
        PoolManager(
            proxies={"all": proxy.url.replace("//", "//ann:hunter2@")}, proxy_auth=Asked(ANN)
        ) as manager,
        pytest.raises(MaxRetryError) as caught,
    ):
        manager.request("GET", f"{secure.url}/x", retries=1)
    assert caplog.records
    everything = caplog.text + repr(caught.value) + repr(caught.value.reason) + repr(manager.pools)
    for secret in ("hunter2", "YW5uOmh1bnRlcjI=", ANN):
        assert secret not in everything
