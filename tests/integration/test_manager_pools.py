"""Which pool a manager chooses for a request, and for how long it keeps it.

What the founding documents promise about managers is in ``test_seed_manager*.py``.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dummyserver.counting import CountingServer
from dummyserver.script import ScriptedServer
from dummyserver.server import DummyServer
from urllib4 import (
    HTTPConnectionPool,
    HTTPSConnectionPool,
    PoolManager,
    ProxyManager,
    Retry,
    Timeout,
)
from urllib4.exceptions import (
    LocationValueError,
    NewConnectionError,
    SecurityWarning,
    URLSchemeUnknown,
)
from urllib4.poolmanager import PoolKey, key_fn_by_scheme, pool_classes_by_scheme
from urllib4.proxies import Proxy

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def manager() -> Iterator[PoolManager]:
    with PoolManager() as one:
        yield one


# -- which pool -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("http://a.example", "http://A.EXAMPLE:80/x?y#z"),
        ("https://a.example/", "https://a.example:443"),
        ("HTTP://a.example", "http://a.example"),
        ("http://[::1]/", "http://[::1]:80/"),
        ("http://b\u00fccher.example", "http://xn--bcher-kva.example"),
        ("http://u:p@a.example", "http://a.example"),
    ],
)
def test_one_origin_has_one_pool(manager: PoolManager, first: str, second: str) -> None:
    assert manager.connection_from_url(first) is manager.connection_from_url(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("http://a.example", "https://a.example"),
        ("http://a.example", "http://a.example:81"),
        ("http://a.example", "http://b.example"),
        ("http://a.example:443", "https://a.example"),
    ],
)
def test_another_origin_has_another_pool(manager: PoolManager, first: str, second: str) -> None:
    assert manager.connection_from_url(first) is not manager.connection_from_url(second)


DIFFERENT: dict[str, tuple[Any, Any]] = {
    "timeout": (1, 2), "retries": (Retry(1), Retry(2)), "block": (True, False),
    "maxsize": (1, 2), "headers": ({"a": "b"}, {"a": "c"}), "source_address": (("", 1), ("", 2)),
    "blocksize": (1, 2), "socket_options": ([(1, 2, 3)], [(1, 2, 4)]),
    "cert_reqs": ("CERT_NONE", "CERT_REQUIRED"), "ca_certs": ("a", "b"),
    "ca_cert_dir": ("a", "b"), "ca_cert_data": ("a", "b"), "cert_file": ("a", "b"),
    "key_file": ("a", "b"), "key_password": ("a", "b"), "cert_data": ("a", "b"),
    "key_data": ("a", "b"), "assert_hostname": ("a", False), "assert_fingerprint": ("a", "b"),
    "server_hostname": ("a", "b"), "ssl_minimum_version": (771, 772),
    "ssl_maximum_version": (771, 772), "ssl_context": (object(), object()),
}  # fmt: skip


@pytest.mark.parametrize("option", DIFFERENT)
def test_whatever_decides_about_a_connection_decides_about_the_pool(
    manager: PoolManager, option: str
) -> None:
    """Above all trust: a connection that one demand accepts must not serve another."""
    one, other = DIFFERENT[option]

    def pool(value: Any) -> Any:
        return manager.connection_from_host(
            "a.example", scheme="https", pool_kwargs={option: value}
        )

    assert pool(one) is pool(one)
    assert pool(one) is not pool(other)
    assert pool(one) is not manager.connection_from_host("a.example", scheme="https")


@pytest.mark.parametrize("option", ["timeout", "retries"])
def test_equal_values_share_a_pool(manager: PoolManager, option: str) -> None:
    """urllib3 compares them by identity: one pool per request, if they are made anew."""
    make: Callable[[], Any] = (
        (lambda: Timeout(1, read=2)) if option == "timeout" else lambda: Retry(5, backoff_factor=1)
    )
    pools = {manager.connection_from_host("a", pool_kwargs={option: make()}) for _ in range(3)}
    assert len(pools) == 1


def test_none_takes_an_option_away(manager: PoolManager) -> None:
    manager.connection_pool_kw["maxsize"] = 7
    assert manager.connection_from_host("a").pool.maxsize == 7
    pool = manager.connection_from_host("a", pool_kwargs={"maxsize": None, "timeout": None})
    assert pool.pool.maxsize == 1
    assert manager.connection_pool_kw == {"maxsize": 7}


def test_tls_options_do_not_reach_plain_pools(manager: PoolManager) -> None:
    manager.connection_pool_kw.update(ca_certs="x", assert_hostname="y", cert_reqs="CERT_NONE")
    pool = manager.connection_from_url("http://a.example")
    assert pool.conn_kw.keys() <= {"blocksize"}


def test_a_key_shows_no_secret(manager: PoolManager) -> None:
    manager.connection_from_host(
        "a",
        scheme="https",
        pool_kwargs={"key_password": "s3cr3t", "key_data": "k3y", "headers": {"A": "t0ken"}},
    )
    (key,) = manager.pools.keys()
    assert isinstance(key, PoolKey)
    assert not any(secret in repr(key) for secret in ("s3cr3t", "k3y", "t0ken"))


def test_port_0_is_not_the_default_port(manager: PoolManager) -> None:
    """Nothing can listen there; a request must not go to a port that nobody asked for."""
    assert manager.connection_from_url("http://h.example:0/").port == 0
    assert manager.connection_from_host("h.example", 0, "https").port == 0
    assert ProxyManager("http://h.example:0").proxy.port == 0
    assert Proxy("http://h.example:0").url.port == 0
    with pytest.raises(NewConnectionError, match="port=0"):
        manager.request("GET", "http://127.0.0.1:0/", retries=False)


@pytest.mark.parametrize("host", ["", None])
def test_a_pool_needs_a_host(manager: PoolManager, host: Any) -> None:
    with pytest.raises(LocationValueError, match=r"No host specified\."):
        manager.connection_from_host(host)


@pytest.mark.parametrize("url", ["", "/path", "http://", "http:///x", "http://:80/", "https:///"])
def test_a_url_without_a_host_is_an_error(manager: PoolManager, url: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        with pytest.raises(LocationValueError):
            manager.request("GET", url)


@pytest.mark.parametrize("url", ["ftp://a.example/", "file:///x", "ws://a"])
def test_another_scheme_is_an_error_that_names_it(manager: PoolManager, url: str) -> None:
    scheme = url.partition(":")[0]
    with pytest.raises((URLSchemeUnknown, LocationValueError), match=f"{scheme}|No host"):
        manager.request("GET", url)


# -- how many, how long -----------------------------------------------------------------------


def test_the_least_recently_used_pool_goes_first(manager: PoolManager) -> None:
    with PoolManager(num_pools=2) as small:
        a, b = (small.connection_from_url(f"http://{name}.example") for name in "ab")
        assert small.connection_from_url("http://a.example") is a
        small.connection_from_url("http://c.example")
        assert small.connection_from_url("http://a.example") is a
        assert small.connection_from_url("http://b.example") is not b
        assert len(small.pools) == 2


def test_a_dropped_pool_releases_its_sockets_at_once() -> None:
    with CountingServer() as server, PoolManager(num_pools=1) as manager:
        manager.request("GET", server.url)
        assert server.open == 1
        pool = manager.connection_from_url(server.url)
        manager.connection_from_url("http://other.example")
        server.wait_until(lambda: server.open == 0)
        # Who still holds it can go on.
        assert pool.request("GET", "/again").data == b"/again"
        server.wait_until(lambda: server.open == 0)


def test_a_manager_may_keep_no_pool_at_all() -> None:
    with CountingServer() as server, PoolManager(num_pools=0) as manager:
        for _ in range(2):
            assert manager.request("GET", server.url + "/x").data == b"/x"
        assert len(manager.pools) == 0
        server.wait_until(lambda: server.open == 0)
        assert server.connections == 2


@pytest.mark.parametrize("number", [-1, "10", 1.5, None])
def test_a_number_of_pools_that_is_none_is_an_error(number: Any) -> None:
    with pytest.raises(ValueError, match=repr(number)):
        PoolManager(num_pools=number)


def test_clearing_and_leaving_the_block_release_all_sockets() -> None:
    with CountingServer() as server:
        with PoolManager() as manager:
            manager.request("GET", server.url)
            manager.clear()
            server.wait_until(lambda: server.open == 0)
            assert len(manager.pools) == 0
            manager.request("GET", server.url)
        server.wait_until(lambda: server.open == 0)


def test_threads_that_ask_at_the_same_time_get_the_same_pool(manager: PoolManager) -> None:
    barrier = threading.Barrier(8)
    pools = []

    def ask() -> None:
        barrier.wait(10)
        pools.append(manager.connection_from_url("http://a.example"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, pools))) == 1


# -- classes ----------------------------------------------------------------------------------


class Special(HTTPConnectionPool):
    pass


def test_options_that_are_changed_for_a_moment_are_not_remembered() -> None:
    """Such as verification switched off by one thread while another one asks for its pool."""

    class Options(dict[str, Any]):
        """Is changed before the next step of the manager, and back after it."""

        momentary: dict[str, Any] | None = None

        def copy(self) -> dict[str, Any]:
            momentary, self.momentary = self.momentary, None
            return {**self, **(momentary or {})}

    with PoolManager() as manager:
        manager.connection_pool_kw = options = Options(retries=1)
        manager.connection_from_url("https://a.example/")
        options.momentary = {"cert_reqs": "CERT_NONE"}
        unverified = manager.connection_from_url("https://b.example/")
        assert unverified.cert_reqs == "CERT_NONE"
        for _ in range(2):
            assert manager.connection_from_url("https://b.example/").cert_reqs is None
        options.momentary = {"cert_reqs": "CERT_NONE"}
        manager.clear()
        assert manager.connection_from_url("https://b.example/").cert_reqs == "CERT_NONE"
        assert manager.connection_from_url("https://b.example/").cert_reqs is None


def test_a_subclass_chooses_its_pools_by_a_class_attribute(server: DummyServer) -> None:
    class Manager(PoolManager):
        pool_classes_by_scheme = {"http": Special, "https": HTTPSConnectionPool}

    with Manager() as manager:
        assert type(manager.connection_from_url(server.http_url)) is Special
        assert manager.request("GET", server.http_url).status == 200
    with PoolManager() as other:
        assert type(other.connection_from_url(server.http_url)) is HTTPConnectionPool


def test_an_instance_chooses_its_pools_for_itself(server: DummyServer) -> None:
    """In urllib3 an assignment to the mapping of one manager changes that of all."""
    with PoolManager() as manager, PoolManager() as other:
        manager.pool_classes_by_scheme["http"] = Special
        assert type(manager.connection_from_url(server.http_url)) is Special
        assert type(other.connection_from_url(server.http_url)) is HTTPConnectionPool
    assert pool_classes_by_scheme["http"] is HTTPConnectionPool


def test_the_whole_mapping_of_an_instance_can_be_replaced() -> None:
    with PoolManager() as manager:
        manager.pool_classes_by_scheme = {"http": Special}
        assert type(manager.connection_from_url("http://a.example")) is Special


def test_a_new_scheme_can_be_added() -> None:
    with PoolManager() as manager:
        manager.pool_classes_by_scheme["http+unix"] = Special
        manager.key_fn_by_scheme["http+unix"] = key_fn_by_scheme["http"]
        pool = manager.connection_from_host("socket", scheme="http+unix")
        assert type(pool) is Special
        assert "http+unix" not in key_fn_by_scheme


def test_keywords_of_a_class_of_ones_own_reach_it() -> None:
    class Pool(HTTPConnectionPool):
        def __init__(self, *args: Any, flavour: str = "", **kw: Any) -> None:
            super().__init__(*args, **kw)
            self.flavour = flavour

    with PoolManager(flavour="mint") as manager:
        manager.pool_classes_by_scheme["http"] = Pool
        assert manager.connection_from_url("http://a.example").flavour == "mint"


# -- URLs that are warned about ---------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("through", ["request", "urlopen"])
def test_a_url_without_a_scheme_is_http_with_a_warning_at_the_callers_line(
    manager: PoolManager, script: ScriptedServer, through: str, method: str
) -> None:
    script.accept().expect(method.encode() + b" /x ").send(OK)
    with pytest.warns(FutureWarning, match="URLs without a scheme") as caught:
        getattr(manager, through)(method, f"127.0.0.1:{script.port}/x")
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize("through", ["request", "urlopen"])
def test_credentials_in_a_url_are_warned_about_at_the_callers_line_and_never_sent(
    manager: PoolManager, script: ScriptedServer, through: str
) -> None:
    """They once vanished in silence; sending them is for `make_headers` (RFC 9110, 4.2.4)."""
    script.accept().expect(b"GET /x ").send(OK)
    url = script.url.replace("http://", "http://user:s3cr3t@")
    with pytest.warns(SecurityWarning, match="make_headers") as caught:
        getattr(manager, through)("GET", url + "/x")
    assert [warning.filename for warning in caught] == [__file__]
    assert "s3cr3t" not in str(caught[0].message)
    assert b"s3cr3t" not in script.requests[0]
    assert b"uthorization" not in script.requests[0]


def test_a_redirect_to_a_url_with_credentials_does_not_send_them(
    manager: PoolManager, script: ScriptedServer
) -> None:
    location = script.url.replace("http://", "http://user:s3cr3t@") + "/b"
    moved = f"HTTP/1.1 302 F\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
    script.accept().expect(b"GET /a ").send(moved).expect(b"GET /b ").send(OK)
    with pytest.warns(SecurityWarning):
        manager.request("GET", script.url + "/a")
    assert b"s3cr3t" not in b"".join(script.requests)


def test_strict_is_accepted_and_ignored_with_a_warning() -> None:
    with PoolManager(strict=True) as manager:
        with pytest.warns(FutureWarning, match="strict") as caught:
            manager.connection_from_url("http://a.example")
        assert caught[0].filename == __file__
    with pytest.warns(FutureWarning, match="strict") as caught:
        HTTPSConnectionPool("a.example", strict=True)
    assert caught[0].filename == __file__
