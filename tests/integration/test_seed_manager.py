"""What the page "PoolManager" promises, statement by statement (S1-1 to S1-23).

Its examples run word for word in ``tests/doctests/test_seed_examples.py``.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections import namedtuple
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import urllib4
from dummyserver.certs import Certificates
from dummyserver.counting import CountingServer, Exchange, ok
from dummyserver.proxy import Proxy
from dummyserver.server import DummyServer
from dummyserver.threaded import PATIENCE
from urllib4 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager, Retry
from urllib4._collections import RecentlyUsedContainer
from urllib4.poolmanager import HTTPPoolKey, default_key_normalizer, key_fn_by_scheme

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


@pytest.fixture
def counting() -> Iterator[CountingServer]:
    with CountingServer() as running:
        yield running


def keys_of(manager: PoolManager) -> set[Any]:
    return manager.pools.keys()


def test_a_manager_keeps_pools_for_many_hosts_by_itself(server: DummyServer) -> None:
    """S1-1: no line here makes a pool."""
    with PoolManager() as manager:
        for host in ("127.0.0.1", "localhost"):
            url = f"http://{host}:{server.http_port}/keepalive"
            peers = [manager.request("GET", url).json()["peer"] for _ in range(2)]
            assert peers[0] == peers[1]


def test_the_first_argument_is_the_number_of_pools() -> None:
    """S1-2."""
    with PoolManager(3) as manager:
        assert manager.pools.maxsize == 3


@pytest.mark.parametrize(
    ("rest", "target"), [("", "/"), ("/", "/"), ("/a/b?c=d", "/a/b?c=d"), ("?c=d", "/?c=d")]
)
def test_absolute_urls_work_with_and_without_a_path(
    counting: CountingServer, rest: str, target: str
) -> None:
    """S1-3."""
    with PoolManager() as manager:
        assert manager.request("GET", counting.url + rest).status == 200
    assert counting.exchanges[0].target == target


def test_get_post_and_head_work(server: DummyServer) -> None:
    """S1-4: the answer to HEAD is empty and keeps the length of the one to GET."""
    with PoolManager() as manager:
        url = server.http_url
        assert manager.request("GET", f"{url}/echo").json()["method"] == "GET"
        posted = manager.request("POST", f"{url}/echo", body=b"tea").json()
        assert (posted["method"], posted["body"]) == ("POST", "tea")
        head = manager.request("HEAD", f"{url}/")
        assert (head.status, head.data) == (200, b"")
        assert head.headers["Content-Length"] == str(len("Dummy server!"))


def test_the_number_of_pools_is_the_length_of_pools(server: DummyServer) -> None:
    """S1-5."""
    with PoolManager(10) as manager:
        manager.request("GET", f"http://127.0.0.1:{server.http_port}")
        assert len(manager.pools) == 1
        manager.request("GET", f"http://localhost:{server.http_port}/")
        manager.request("POST", f"http://localhost:{server.http_port}/headers")
        assert len(manager.pools) == 2


def test_the_pool_that_served_requests_can_be_looked_up(counting: CountingServer) -> None:
    """S1-6: three requests to a host are counted by its one pool."""
    with PoolManager(10) as manager:
        for method, path in (("GET", "/"), ("POST", "/headers"), ("HEAD", "/cookies")):
            manager.request(method, counting.url + path)
        pool = manager.connection_from_host(counting.host, counting.port)
        assert pool.num_requests == 3
        assert pool is manager.connection_from_url(counting.url)


def test_a_pool_is_made_only_if_none_has_the_key() -> None:
    """S1-7."""
    with PoolManager() as manager:
        first = manager.connection_from_host("a.example")
        assert manager.connection_from_host("a.example", 80) is first
        assert manager.connection_from_url("http://a.example/path") is first
        assert manager.connection_from_host("b.example") is not first
        assert manager.connection_from_host("a.example", 81) is not first
        assert manager.connection_from_host("a.example", 80, "https") is not first
        assert len(manager.pools) == 4


def test_the_key_has_the_present_keywords_of_the_manager() -> None:
    """S1-8: a change afterwards counts, and going back finds the old pool again."""
    with PoolManager(timeout=1.0) as manager:
        first = manager.connection_from_url("http://a.example")
        manager.connection_pool_kw["timeout"] = 2.0
        second = manager.connection_from_url("http://a.example")
        assert second is not first
        assert (first.timeout.connect_timeout, second.timeout.connect_timeout) == (1.0, 2.0)
        manager.connection_pool_kw["timeout"] = 1.0
        assert manager.connection_from_url("http://a.example") is first
        assert len(manager.pools) == 2


def test_spelling_of_a_url_does_not_split_pools() -> None:
    """S1-9: letter case of scheme and host, the default port, and what follows the host."""
    urls = ("HTTP://A.example:80/x", "http://a.example/y", "http://a.EXAMPLE", "http://a.example?q")
    with PoolManager() as manager:
        pools = {id(manager.connection_from_url(f"{url}#fragment")) for url in urls}
        pools.add(id(manager.connection_from_host("A.Example", scheme="HTTP")))
        assert len(pools) == len(manager.pools) == 1


def test_which_keywords_count_can_be_narrowed_too() -> None:
    """S1-10: a key of fewer fields lets requests with different timeouts share a pool."""
    key = namedtuple("key", ("scheme", "host", "port"))
    with PoolManager(timeout=1.0) as manager:
        manager.key_fn_by_scheme["http"] = functools.partial(default_key_normalizer, key)
        first = manager.connection_from_url("http://a.example")
        manager.connection_pool_kw["timeout"] = 2.0
        assert manager.connection_from_url("http://a.example") is first


def test_how_keys_are_made_is_each_managers_own_business() -> None:
    """S1-11."""
    before = dict(key_fn_by_scheme)
    with PoolManager() as changed, PoolManager() as other:
        changed.key_fn_by_scheme["http"] = functools.partial(default_key_normalizer, HTTPPoolKey)
        assert other.key_fn_by_scheme == before
        assert key_fn_by_scheme == before
        changed.connection_from_url("http://a.example")
        other.connection_from_url("http://a.example")
        assert {type(key) for key in keys_of(changed)} == {HTTPPoolKey}
        assert {type(key) for key in keys_of(other)} == {urllib4.poolmanager.PoolKey}


def test_an_unknown_keyword_does_not_count_by_default(counting: CountingServer) -> None:
    """S1-12 as D1 decides it: it is kept, not part of the key, and requests work."""
    with PoolManager(10, my_field="wheat") as manager:
        assert manager.request("GET", counting.url).status == 200
        manager.connection_pool_kw["my_field"] = "barley"
        assert manager.request("GET", counting.url).status == 200
        assert len(manager.pools) == 1
        assert manager.connection_pool_kw["my_field"] == "barley"
    assert counting.connections == 1


def test_a_keyword_that_looks_misspelt_is_warned_about_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """D1: ``tiemout`` would otherwise mean to wait for ever, without a word."""
    monkeypatch.setattr(urllib4.poolmanager, "_warned_keywords", set())
    with pytest.warns(UserWarning, match="'tiemout'; did you mean 'timeout'") as caught:
        PoolManager(tiemout=3)
    assert caught[0].filename == __file__
    PoolManager(tiemout=3)  # a second warning would be an error


def manager_with_a_custom_key(**keywords: Any) -> PoolManager:
    """What the page shows."""
    fields = (*HTTPPoolKey._fields, "my_field")
    custom_key = namedtuple("custom_key", fields)  # type: ignore[misc]
    manager = PoolManager(10, **keywords)
    manager.key_fn_by_scheme["http"] = functools.partial(default_key_normalizer, custom_key)
    return manager


def test_a_custom_key_makes_an_unknown_keyword_count() -> None:
    """S1-13 and D2."""
    with manager_with_a_custom_key(my_field="wheat") as manager:
        wheat = manager.connection_from_url("http://example.com")
        manager.connection_pool_kw["my_field"] = "barley"
        barley = manager.connection_from_url("http://example.com")
        assert len(manager.pools) == 2
        assert wheat is not barley
        assert {key.my_field for key in keys_of(manager)} == {"wheat", "barley"}


def test_a_custom_keyword_goes_no_further_than_the_key(
    counting: CountingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S1-14 and D1: a real request works; neither the connection nor the server sees it."""
    seen: list[dict[str, Any]] = []

    class Connection(HTTPConnectionPool.ConnectionCls):  # type: ignore[name-defined, misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            seen.append(kwargs)
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(HTTPConnectionPool, "ConnectionCls", Connection)
    with manager_with_a_custom_key(my_field="wheat") as manager:
        assert manager.request("GET", counting.url).status == 200
    assert len(seen) == 1
    assert "my_field" not in seen[0]
    assert b"wheat" not in counting.exchanges[0].head
    assert b"my_field" not in counting.exchanges[0].head


def use(client: Any, base: str) -> list[Any]:
    """What works with a pool and with a manager."""
    with client:
        return [
            client.request("GET", f"{base}/echo", fields={"a": "1"}).json()["args"],
            client.request("POST", f"{base}/echo", body=b"x").json()["body"],
            client.request_encode_url("DELETE", f"{base}/echo", fields={"a": "1"}).json()["args"],
            client.request_encode_body(
                "PUT", f"{base}/echo", fields={"a": "1"}, encode_multipart=False
            ).json()["body"],
            client.urlopen("GET", f"{base}/redirect?target=/", redirect=True).data,
            client.urlopen("GET", f"{base}/redirect?target=/", redirect=False).status,
            client.urlopen("GET", f"{base}/status?status=500", retries=Retry(0)).status,
            dict(client.headers),
        ]


def test_a_manager_and_a_pool_can_stand_for_each_other(server: DummyServer) -> None:
    """S1-15: the same calls have the same results."""
    headers = {"X-Mine": "1"}
    by_manager = use(PoolManager(headers=headers), server.http_url)
    by_pool = use(HTTPConnectionPool("127.0.0.1", server.http_port, headers=headers), "")
    assert by_manager == by_pool
    assert by_manager == [
        {"a": ["1"]},
        "x",
        {"a": ["1"]},
        "a=1",
        b"Dummy server!",
        303,
        500,
        headers,
    ]


def hosts_of(manager: PoolManager) -> set[str]:
    return {key.key_host for key in keys_of(manager)}


def test_the_pool_that_was_not_used_for_longest_goes_first() -> None:
    """S1-16: looking a pool up is using it."""
    with PoolManager(num_pools=2) as manager:
        for host in ("a", "b", "a", "c"):
            manager.connection_from_host(host)
        assert hosts_of(manager) == {"a", "c"}


def test_more_hosts_than_pools_lead_to_clean_up(counting: CountingServer) -> None:
    """S1-17: the eleventh host costs the first one its pool and its idle socket."""
    with PoolManager(10) as manager:
        manager.request("GET", counting.url)
        for number in range(9):
            manager.connection_from_host(f"host{number}")
        assert len(manager.pools) == 10
        assert counting.open == 1
        manager.connection_from_host("one.more")
        assert len(manager.pools) == 10
        counting.wait_until(lambda: counting.open == 0)


def test_a_response_of_a_dropped_pool_can_be_read_to_its_end(server: DummyServer) -> None:
    """S1-17 and D7: only its connection is not used again."""
    with PoolManager(1) as manager:
        response = manager.request(
            "GET", f"{server.http_url}/large?size=1000000", preload_content=False
        )
        pool = manager.connection_from_url(server.http_url)
        manager.connection_from_host("other")
        assert len(response.read()) == 1_000_000
        assert pool.request("GET", "/").status == 200
        assert pool.num_connections == 2


def test_leaving_the_block_forces_the_clean_up(counting: CountingServer) -> None:
    """S1-18: 2 pools inside, none after; all sockets are closed."""
    with PoolManager(10) as manager:
        manager.request("GET", f"http://127.0.0.1:{counting.port}")
        manager.request("GET", f"http://localhost:{counting.port}/")
        assert len(manager.pools) == 2
        assert counting.open == 2
    assert len(manager.pools) == 0
    counting.wait_until(lambda: counting.open == 0)


def test_the_container_of_pools_has_adjustable_parts() -> None:
    """S1-19: `maxsize` and `dispose_func`, which gets every pool that leaves."""
    disposed: list[Any] = []
    with PoolManager(3) as manager:
        container = manager.pools
        assert isinstance(container, RecentlyUsedContainer)
        assert inspect.getdoc(RecentlyUsedContainer)
        container.dispose_func = disposed.append
        pools = [manager.connection_from_host(host) for host in ("a", "b", "c")]
        container.maxsize = 1
        assert disposed == pools[:2]
        assert hosts_of(manager) == {"c"}


def test_the_container_of_pools_is_safe_under_many_threads() -> None:
    """S1-19: every value that was stored is there or was disposed of, exactly once."""
    disposed: list[int] = []
    container: RecentlyUsedContainer[int, int] = RecentlyUsedContainer(
        5, dispose_func=disposed.append
    )

    def work(worker: int) -> None:
        for number in range(200):
            value = worker * 1000 + number
            container[number % 17] = value
            container.get(value % 13)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    keys = container.keys()
    kept = [container[key] for key in keys]
    assert len(kept) == 5
    assert sorted(disposed + kept) == sorted(w * 1000 + n for w in range(8) for n in range(200))


def test_the_page_shows_the_manager_and_its_keys() -> None:
    """S1-20 and D2: each with inherited members, and something to show."""
    page = (REFERENCE / "poolmanager.rst").read_text(encoding="utf-8")
    for name in ("PoolManager", "BasePoolKey", "HTTPPoolKey", "HTTPSPoolKey"):
        _, found, rest = page.partition(f".. autoclass:: {name}\n")
        assert found, name
        assert ":inherited-members:" in rest.partition(".. auto")[0], name
        assert inspect.getdoc(getattr(urllib4.poolmanager, name))
    for name, member in inspect.getmembers(PoolManager, inspect.isfunction):
        assert name.startswith("_") or inspect.getdoc(member), name


def test_a_proxy_manager_is_a_manager_that_knows_proxies() -> None:
    """S1-21."""
    assert issubclass(ProxyManager, PoolManager)
    with ProxyManager("http://localhost:3128") as manager:
        assert manager.proxy is not None
        assert (manager.proxy.host, manager.proxy.port) == ("localhost", 3128)


def test_http_hosts_share_a_pool_and_tunnels_have_their_own(
    counting: CountingServer, certs: Certificates
) -> None:
    """S1-22: one pool for http; one for each server and port behind a tunnel."""
    with (
        CountingServer(tls=certs.server_context()) as one,
        CountingServer(tls=certs.server_context()) as two,
        Proxy() as proxy,
        ProxyManager(proxy.url, ca_certs=certs.ca_file) as manager,
    ):
        manager.request("GET", f"http://127.0.0.1:{counting.port}/")
        manager.request("GET", f"http://localhost:{counting.port}/")
        assert len(manager.pools) == 1
        assert type(manager.connection_from_url("http://other/")) is HTTPConnectionPool
        for number, tunnelled in enumerate((one, two), start=2):
            for _ in range(2):
                assert manager.request("GET", f"{tunnelled.url}/x").data == b"/x"
            assert len(manager.pools) == number
            assert type(manager.connection_from_url(tunnelled.url)) is HTTPSConnectionPool
        assert (one.connections, two.connections) == (1, 1)


def test_proxy_authentication_is_made_by_make_headers() -> None:
    """S1-23: the proxy answers 407 without exactly that header."""
    with CountingServer() as origin, Proxy(credentials="myusername:mypassword") as proxy:
        headers = urllib4.make_headers(proxy_basic_auth="myusername:mypassword")
        with ProxyManager(proxy.url, proxy_headers=headers) as manager:
            assert manager.request("GET", f"{origin.url}/").status == 200
        wrong = urllib4.make_headers(proxy_basic_auth="myusername:other")
        with ProxyManager(proxy.url, proxy_headers=wrong) as manager:
            assert manager.request("GET", f"{origin.url}/").status == 407
        with ProxyManager(proxy.url) as manager:
            assert manager.request("GET", f"{origin.url}/").status == 407
        assert len(origin.exchanges) == 1
        assert origin.exchanges[0].header("Proxy-Authorization") is None


def test_threads_that_ask_for_a_host_at_the_same_time_get_one_pool() -> None:
    """S1-7 under threads: two pools for a key would be two limits and twice the sockets."""
    barrier = threading.Barrier(8)

    class AllAtOnce(PoolManager):
        def _new_pool(self, *args: Any, **kwargs: Any) -> Any:
            barrier.wait(PATIENCE)  # nobody has found a pool
            return super()._new_pool(*args, **kwargs)

    with AllAtOnce() as manager, ThreadPoolExecutor(8) as threads:
        pools = threads.map(lambda _: manager.connection_from_host("a.example"), range(8))
        assert len({id(pool) for pool in pools}) == 1


def test_an_answer_in_flight_outlives_clear_and_its_connection_does_not() -> None:
    """D7: the holder of the pool can go on, without ClosedPoolError and without caching."""
    gate = threading.Event()

    def answer(exchange: Exchange) -> bytes:
        if exchange.target == "/slow":
            assert gate.wait(PATIENCE)
        return ok(exchange.target.encode())

    with CountingServer(answer) as counting, PoolManager(maxsize=2) as manager:
        pool = manager.connection_from_url(counting.url)
        with ThreadPoolExecutor(1) as threads:
            slow = threads.submit(pool.request, "GET", "/slow")
            counting.wait_until(lambda: len(counting.exchanges) == 1)
            manager.clear()
            gate.set()
            assert slow.result(PATIENCE).data == b"/slow"
        counting.wait_until(lambda: counting.open == 0)
        for number in range(2):
            assert pool.request("GET", f"/{number}").data == f"/{number}".encode()
        assert counting.connections == 3
        counting.wait_until(lambda: counting.open == 0)
