"""What the founding document of pools with timeouts says about keeping connections (S3-1 to S3-10).

Time is a clock of the test, except where the promise is that something happens without traffic.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from dummyserver.counting import CountingServer, Exchange, ok
from dummyserver.script import ScriptedServer
from urllib4 import HTTPConnectionPool, PoolManager

PATIENCE = 10.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def counting() -> Iterator[CountingServer]:
    with CountingServer() as running:
        yield running


def a_pool(server: CountingServer | ScriptedServer, clock: Clock, **options: Any) -> Any:
    pool = HTTPConnectionPool("127.0.0.1", server.port, retries=False, **options)
    pool._clock = clock  # type: ignore[assignment]
    pool.pool.watcher = None  # whose clock is the real one
    return pool


def at_once(pool: Any, number: int) -> None:
    """Have `number` connections open at the same time, and give them back."""
    responses = [pool.request("GET", "/", preload_content=False) for _ in range(number)]
    for response in responses:
        response.read()


def answering(*fields: str) -> CountingServer:
    return CountingServer(lambda exchange: ok(b"x", *fields))


# -- persistent ------------------------------------------------------------------------------


def test_connections_persist_by_default(counting: CountingServer, clock: Clock) -> None:
    """S3-1: the second request takes the same socket."""
    with a_pool(counting, clock) as pool:
        pool.request("GET", "/one")
        pool.request("GET", "/two")
    assert [exchange.connection for exchange in counting.exchanges] == [1, 1]


def test_nothing_persists_where_that_is_switched_off(counting: CountingServer) -> None:
    """S3-2: each request has a socket of its own and says so; nothing is kept."""
    with HTTPConnectionPool("127.0.0.1", counting.port, persistent=False) as pool:
        pool.request("GET", "/one")
        pool.request("POST", "/two", body=b"x", headers={"X-Own": "1"})
        assert pool.pool.idle() == []
    assert [exchange.connection for exchange in counting.exchanges] == [1, 2]
    assert [exchange.header("Connection") for exchange in counting.exchanges] == ["close"] * 2
    assert counting.exchanges[1].header("X-Own") == "1"


def test_a_connection_is_closed_even_if_the_server_would_keep_it(script: ScriptedServer) -> None:
    """S3-2: a caller's own Connection header is left alone."""
    answer = b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n"
    script.accept().expect(b"GET /one ").send(answer).expect_eof()
    script.accept().expect(b"GET /two ").send(answer).expect_eof()
    with HTTPConnectionPool("127.0.0.1", script.port, persistent=False) as pool:
        pool.request("GET", "/one", headers={"connection": "keep-alive"})
        pool.request("GET", "/two")
    assert b"connection: keep-alive" in script.requests[0].lower()
    assert script.requests[0].lower().count(b"connection:") == 1


def test_a_redirect_is_followed_without_persistence_too() -> None:
    def answer(exchange: Exchange) -> bytes:
        if exchange.target == "/old":
            return ok(b"", "Location: /new", status="302 Found")
        return ok(b"new")

    with CountingServer(answer) as server, PoolManager(persistent=False) as manager:
        assert manager.request("GET", f"{server.url}/old").data == b"new"
        assert [exchange.connection for exchange in server.exchanges] == [1, 2]
        assert {exchange.header("Connection") for exchange in server.exchanges} == {"close"}


# -- idle_timeout ----------------------------------------------------------------------------


def test_a_connection_ends_by_itself_without_traffic(counting: CountingServer) -> None:
    """S3-3: the server sees its end between 1.0 and 1.5 s after it became idle."""
    with HTTPConnectionPool("127.0.0.1", counting.port, idle_timeout=1) as pool:
        pool.request("GET", "/")
        start = time.monotonic()
        assert counting.open == 1
        counting.wait_until(lambda: counting.open == 0)
        assert 0.95 < time.monotonic() - start < 3.0  # 1.5 on a machine that is not busy
        assert pool.pool.queue == [None]


def test_a_connection_of_a_pool_that_is_used_no_more_ends_by_itself() -> None:
    """S3-3, for many pools: one thread looks after all."""
    before = threading.active_count()
    with CountingServer() as one, CountingServer() as two, PoolManager(idle_timeout=0.05) as http:
        for server in (one, two):
            http.request("GET", server.url)
        for server in (one, two):
            server.wait_until(lambda server=server: server.open == 0)
    end = time.monotonic() + PATIENCE
    while threading.active_count() > before and time.monotonic() < end:
        time.sleep(0.001)
    assert threading.active_count() <= before


def test_closing_the_pool_leaves_no_thread(counting: CountingServer) -> None:
    """S3-28: the fixture of all tests fails this one if the thread goes on."""
    with HTTPConnectionPool("127.0.0.1", counting.port, idle_timeout=3600) as pool:
        pool.request("GET", "/")
        assert "urllib4-reaper" in {thread.name for thread in threading.enumerate()}


def test_the_default_needs_no_thread(counting: CountingServer) -> None:
    with HTTPConnectionPool("127.0.0.1", counting.port) as pool:
        pool.request("GET", "/")
        assert "urllib4-reaper" not in {thread.name for thread in threading.enumerate()}


def test_the_clock_starts_anew_at_each_return(counting: CountingServer, clock: Clock) -> None:
    """S3-4: it runs from the return to the pool and stops when the connection is taken."""
    with a_pool(counting, clock, idle_timeout=1) as pool:
        for _ in range(4):
            pool.request("GET", "/")
            clock.now += 0.6
    assert counting.connections == 1


@pytest.mark.parametrize(
    ("idle", "connections"), [(239.9, 1), (240.0, 2)], ids=["just below", "at the limit"]
)
def test_without_a_word_the_limit_is_four_minutes(
    counting: CountingServer, clock: Clock, idle: float, connections: int
) -> None:
    with a_pool(counting, clock) as pool:
        pool.request("GET", "/")
        clock.now += idle
        pool.request("GET", "/")
    assert counting.connections == connections


def test_a_connection_in_use_is_never_closed_by_the_timer(script: ScriptedServer) -> None:
    """S3-5: however long the answer takes."""
    go_on = threading.Event()
    conversation = script.accept().expect(b"GET /one ")
    conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
    conversation.pause_until(go_on).send(b"cd")
    conversation.expect(b"GET /two ").send(b"HTTP/1.1 204 No Content\r\n\r\n")
    script.accept().expect(b"GET /other ").send(b"HTTP/1.1 204 No Content\r\n\r\n").expect_eof()
    with HTTPConnectionPool("127.0.0.1", script.port, maxsize=2, idle_timeout=0.2) as pool:
        response = pool.request("GET", "/one", preload_content=False)
        assert response.read(2) == b"ab"
        pool.request("GET", "/other")
        end = time.monotonic() + PATIENCE
        while pool.pool.idle() and time.monotonic() < end:  # the idle one goes, this one stays
            time.sleep(0.01)
        go_on.set()
        assert response.read() == b"cd"
        assert pool.request("GET", "/two").status == 204


def test_none_means_never(counting: CountingServer, clock: Clock) -> None:
    """S3-6."""
    with a_pool(counting, clock, idle_timeout=None) as pool:
        pool.request("GET", "/")
        clock.now += 1e9
        pool.request("GET", "/")
    assert counting.connections == 1


def test_using_the_pool_closes_what_is_too_old_among_the_others(
    counting: CountingServer, clock: Clock
) -> None:
    with a_pool(counting, clock, maxsize=3) as pool:
        at_once(pool, 3)
        clock.now += 200
        pool.request("GET", "/")
        clock.now += 50
        pool.request("GET", "/")
        counting.wait_until(lambda: counting.open == 1)
        assert [entry is None for entry in pool.pool.queue] == [True, True, False]
    assert counting.connections == 3


def test_a_waiting_thread_is_not_given_an_old_connection(
    counting: CountingServer, clock: Clock
) -> None:
    with a_pool(counting, clock, block=True, idle_timeout=5) as pool:
        pool.request("GET", "/")
        clock.now += 5
        assert pool.request("GET", "/", pool_timeout=1).status == 200
        assert pool.pool.qsize() == 1
    assert counting.connections == 2


# -- age, number of requests, the server's wishes --------------------------------------------


def test_a_connection_is_not_used_beyond_its_lifetime(
    counting: CountingServer, clock: Clock
) -> None:
    with a_pool(counting, clock, max_lifetime=10) as pool:
        for _ in range(6):
            pool.request("GET", "/")
            clock.now += 4
    assert [exchange.connection for exchange in counting.exchanges] == [1, 1, 1, 2, 2, 2]


def test_a_connection_carries_so_many_requests(counting: CountingServer) -> None:
    with HTTPConnectionPool("127.0.0.1", counting.port, max_requests=2) as pool:
        for _ in range(5):
            pool.request("GET", "/")
        counting.wait_until(lambda: counting.open == 1)
    assert [exchange.connection for exchange in counting.exchanges] == [1, 1, 2, 2, 3]


@pytest.mark.parametrize(
    ("field", "options", "idle", "connections"),
    [
        ("timeout=5", {}, 3.9, 1),
        ("timeout=5", {}, 4.0, 2),
        ("timeout=5, max=100", {}, 4.0, 2),
        ("timeout=5", {"obey_keep_alive": False}, 200, 1),
        ("timeout=500", {}, 240, 2),
        ("timeout=5", {"idle_timeout": None}, 4.0, 2),
        ("timeout=abc, max=-1, ,;", {}, 200, 1),
        ("max=0", {}, 0, 2),
        ("timeout=0", {}, 0, 2),
        ("max=0", {"obey_keep_alive": False}, 0, 1),
    ],
)
def test_the_server_may_shorten_it(
    clock: Clock, field: str, options: dict[str, Any], idle: float, connections: int
) -> None:
    """RFC 2068, 19.7.1.1: ``Keep-Alive`` says when the server gives the connection up."""
    with answering(f"Keep-Alive: {field}") as server:
        with a_pool(server, clock, **options) as pool:
            pool.request("GET", "/")
            clock.now += idle
            pool.request("GET", "/")
        assert server.connections == connections


def test_the_server_may_count_down() -> None:
    left = iter((2, 1, 0, 2))

    def answer(exchange: Exchange) -> bytes:
        return ok(b"", f"Keep-Alive: timeout=9, max={next(left)}")

    with CountingServer(answer) as server:
        with HTTPConnectionPool("127.0.0.1", server.port) as pool:
            for _ in range(4):
                pool.request("GET", "/")
        assert [exchange.connection for exchange in server.exchanges] == [1, 1, 1, 2]


def test_it_is_closed_on_time_where_the_server_asked_for_less() -> None:
    server = answering("Keep-Alive: timeout=1")
    with server, HTTPConnectionPool("127.0.0.1", server.port, idle_timeout=3600) as pool:
        pool.request("GET", "/")
        server.wait_until(lambda: server.open == 0)


# -- how many, and under which key -----------------------------------------------------------


def test_so_many_are_kept_and_no_more(counting: CountingServer) -> None:
    """S3-7: the ones that come back first stay."""
    with HTTPConnectionPool("127.0.0.1", counting.port, max_persistent_per_host=2) as pool:
        at_once(pool, 5)
        counting.wait_until(lambda: counting.open == 2)
        assert counting.connections == 5
        at_once(pool, 2)
        assert {exchange.connection for exchange in counting.exchanges[5:]} == {1, 2}


def test_the_limit_is_one_of_each_host() -> None:
    """S3-8."""
    with CountingServer() as one, CountingServer() as two, PoolManager(maxsize=2) as manager:
        for server in (one, two):
            at_once(manager.connection_from_url(server.url), 3)
        for server in (one, two):
            server.wait_until(lambda server=server: server.open == 2)


@pytest.mark.parametrize(
    "differing",
    [
        {"idle_timeout": 7},
        {"retry_stale": False},
        {"source_address": ("127.0.0.2", 0)},
        {"timeout": 3},
        {"headers": {"X-Session": "other"}},
        {"blocksize": 1024},
        {"my_unknown": 1},
    ],
    ids=lambda differing: next(iter(differing)),
)
def test_requests_share_sockets_if_nothing_differs(
    counting: CountingServer, differing: dict[str, Any]
) -> None:
    """S3-9: any connection under a key is as good as another."""
    with PoolManager() as manager:
        for options in ({}, differing, {}, differing):
            pool = manager.connection_from_url(counting.url, pool_kwargs=options)
            pool.request("GET", "/")
    shared = "my_unknown" in differing
    expected = [1, 1, 1, 1] if shared else [1, 2, 1, 2]
    assert [exchange.connection for exchange in counting.exchanges] == expected


def test_the_caller_may_choose_the_key(counting: CountingServer) -> None:
    """S3-10: an owner of one's own keeps the connections of two sessions apart."""
    from collections import namedtuple
    from functools import partial

    from urllib4.poolmanager import HTTPPoolKey, default_key_normalizer

    OwnedKey = namedtuple("OwnedKey", (*HTTPPoolKey._fields, "owner"))  # type: ignore[misc]
    with PoolManager() as manager:
        manager.key_fn_by_scheme["http"] = partial(default_key_normalizer, OwnedKey)
        for owner in ("ann", "bob", "ann"):
            pool = manager.connection_from_url(counting.url, pool_kwargs={"owner": owner})
            pool.request("GET", "/")
    assert [exchange.connection for exchange in counting.exchanges] == [1, 2, 1]
