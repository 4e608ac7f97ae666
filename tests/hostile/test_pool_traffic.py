"""Threads, bad servers, bad clients, and pools that are closed and dropped, all at once.

What each thread and each server connection does is chosen by a seed.  Every answer names its
request, so a mix-up is seen; a thread that hangs ends the test with the stacks of all threads.
"""

from __future__ import annotations

import gc
import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.hostile.counting import counted
from tests.hostile.effort import SEED, sample
from tests.hostile.traffic import (
    Client,
    HostileServer,
    assert_all_is_back,
    counting_class,
    in_threads,
)
from urllib4 import HTTPConnectionPool, PoolManager
from urllib4.exceptions import ClosedPoolError, EmptyPoolError

# A response that is forgotten in a reference cycle takes its socket along, and the collector may
# finalise that first, which then tells that the program did not close it.  `Counted` sees whether
# one stays open.
pytestmark = pytest.mark.filterwarnings(
    "ignore:unclosed <socket:ResourceWarning",
    # Dropping responses unread is what these tests are about.
    "ignore:.*was dropped before it was read:ResourceWarning",
)

THREADS = 32
REQUESTS = sample(10)


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with HostileServer() as running:
        yield running


@pytest.fixture(params=[1, 6])
def maxsize(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    return number


def seeds() -> list[int]:
    """Of one client each; ``URLLIB4_TEST_SEED`` chooses others (see effort.py)."""
    return [SEED * THREADS + number for number in range(THREADS)]


def test_mixed_traffic_of_a_blocking_pool_keeps_all_promises(
    server: HostileServer, maxsize: int, request: pytest.FixtureRequest
) -> None:
    """No answer is another's, there are never more connections than slots, and none is lost."""
    pool = HTTPConnectionPool(server.host, server.port, maxsize=maxsize, block=True, timeout=20)
    pool.ConnectionCls = connections = counting_class()
    with counted(request, f"exchanges on {maxsize} connections") as counts, pool:
        requests = REQUESTS if maxsize > 1 else REQUESTS // 3
        clients = [Client(pool, counts, seed, tolerated=(EmptyPoolError,)) for seed in seeds()]
        in_threads([lambda client=client: client.work(requests) for client in clients])  # type: ignore[misc]
        assert_all_is_back(pool, maxsize)
        assert 0 < connections.peak <= maxsize
        # All slots can be used at the same time.
        held = [
            pool.request("GET", f"/length/{number}", preload_content=False, pool_timeout=0)
            for number in range(maxsize)
        ]
        for response in held:
            response.close()
    assert connections.open == 0
    server.wait_until(lambda: server.open == 0)
    assert counts["answered"] > counts.total() / 4


def test_mixed_traffic_of_a_pool_without_bound_keeps_few_connections(
    server: HostileServer, request: pytest.FixtureRequest
) -> None:
    pool = HTTPConnectionPool(server.host, server.port, maxsize=2, timeout=20)
    pool.ConnectionCls = connections = counting_class()
    with counted(request, "exchanges without bound") as counts, pool:
        clients = [Client(pool, counts, seed) for seed in seeds()]
        in_threads([lambda client=client: client.work(REQUESTS // 2) for client in clients])  # type: ignore[misc]
        gc.collect()
        assert pool.pool.qsize() <= 2
        assert connections.open <= 2
    assert connections.open == 0
    server.wait_until(lambda: server.open == 0)


@pytest.mark.parametrize("num_pools", [1, 2, 3])
def test_clearing_and_evicting_pools_disturbs_no_traffic(
    num_pools: int, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D7: what is good is answered, although pools are dropped under it all the time."""
    connections = counting_class()
    monkeypatch.setattr(HTTPConnectionPool, "ConnectionCls", connections)
    done = threading.Event()

    def disturb() -> None:
        for number in itertools.count():
            if done.wait(0.002):
                return
            if number % 2:
                manager.clear()
            else:
                for key in manager.pools.keys():  # noqa: SIM118 - it has no other iteration
                    pool = manager.pools.get(key)
                    if pool is not None:
                        pool.retire()

    with (
        HostileServer() as one,
        HostileServer() as two,
        HostileServer() as three,
        counted(request, f"exchanges on {num_pools} pools that are dropped") as counts,
    ):
        servers = (one, two, three)
        urls = tuple(server.url for server in servers)
        with PoolManager(num_pools, maxsize=2, block=True, timeout=20) as manager:
            disturber = threading.Thread(target=disturb)
            disturber.start()
            try:
                clients = [
                    Client(manager, counts, seed, urls=urls, tolerated=(EmptyPoolError,))
                    for seed in seeds()
                ]
                in_threads([lambda client=client: client.work(REQUESTS // 3) for client in clients])  # type: ignore[misc]
            finally:
                done.set()
                disturber.join()
            assert len(manager.pools) <= num_pools
        gc.collect()
        for server in servers:
            server.wait_until(lambda server=server: server.open == 0)
    assert connections.open == 0


@pytest.mark.parametrize("block", [False, True])
def test_closing_a_pool_under_traffic_ends_all_of_it(
    server: HostileServer, request: pytest.FixtureRequest, block: bool
) -> None:
    """Each thread is told; nobody waits for ever, and no socket stays open."""
    with counted(request, "threads on pools that are closed") as counts:
        for turn in range(10):
            pool = HTTPConnectionPool(server.host, server.port, maxsize=2, block=block, timeout=20)
            pool.ConnectionCls = connections = counting_class()

            def close(pool: HTTPConnectionPool = pool) -> None:
                time.sleep(random.random() * 0.05)
                pool.close()

            works: list[Callable[[], object]] = [close]
            for seed in seeds()[:8]:
                client = Client(pool, Counter(), seed + 1000 * turn)
                works.append(lambda client=client: use_until_closed(client, counts))  # type: ignore[misc]
            in_threads(works)
            gc.collect()
            assert connections.open == 0
        server.wait_until(lambda: server.open == 0)
    assert counts["told"] == 80


def use_until_closed(client: Client, counts: Counter[str]) -> None:
    """Go on until the pool says that it is closed."""
    client.tolerated = (ClosedPoolError, EmptyPoolError)
    while not client.counts["ClosedPoolError"]:
        client.work(1)
    counts["told"] += 1


def test_a_pool_can_be_dropped_under_traffic(server: HostileServer) -> None:
    """Nobody closes it: what is in use goes on, and the last response takes the sockets along."""
    connections = counting_class()
    responses = []
    for number in range(20):
        pool = HTTPConnectionPool(server.host, server.port, maxsize=2, block=True)
        pool.ConnectionCls = connections
        assert pool.request("GET", f"/length/{number}").status == 200
        responses.append(pool.request("GET", f"/chunked/{number}", preload_content=False))
        responses.append(pool.request("GET", f"/chunked/{number}", preload_content=False))
        del pool
    gc.collect()
    assert connections.open == 40
    for number, response in enumerate(responses):
        tag = str(number // 2).encode()
        assert response.read() == tag * 40
    del response
    responses.clear()
    gc.collect()
    assert connections.open == 0
    server.wait_until(lambda: server.open == 0)
