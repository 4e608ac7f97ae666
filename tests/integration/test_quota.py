"""A limit for all pools of a manager: never exceeded, first come, first served, nothing lost."""

from __future__ import annotations

import gc
import os
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from dummyserver.counting import CountingServer, Exchange, ok
from dummyserver.script import ScriptedServer
from urllib4 import CancelToken, HTTPConnectionPool, PoolManager
from urllib4._quota import Permit, Quota
from urllib4.connection import HTTPConnection
from urllib4.exceptions import (
    DeadlineExceededError,
    EmptyPoolError,
    HTTPError,
    RequestCancelledError,
)
from urllib4.util import Timeout

PATIENCE = 10.0


@pytest.fixture
def servers() -> Iterator[list[CountingServer]]:
    with CountingServer() as one, CountingServer() as two, CountingServer() as three:
        yield [one, two, three]


def a_manager(limit: int, **options: Any) -> PoolManager:
    options = {"maxsize": 8, "retries": False, "timeout": PATIENCE, **options}
    return PoolManager(max_connections=limit, **options)


def opened(manager: PoolManager, server: Any, **options: Any) -> Any:
    return manager.request("GET", server.url, preload_content=False, **options)


def free(manager: PoolManager) -> int:
    return len(manager._quota._free)


def until(condition: Any) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


# -- the limit -------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "3"], ids=repr)
def test_a_limit_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=f"max_connections .*{value!r}"):
        PoolManager(max_connections=value)


def test_without_a_limit_nothing_is_counted(servers: list[CountingServer]) -> None:
    with PoolManager(max_connections=None) as manager:
        assert manager._quota is None
        assert "max_connections" not in manager.connection_pool_kw
        assert manager.request("GET", servers[0].url).status == 200


def test_idle_connections_of_other_pools_make_room(servers: list[CountingServer]) -> None:
    """The one that was idle for the longest time goes."""
    one, two, three = servers
    with a_manager(2) as manager:
        for server in (one, two, one, three):
            manager.request("GET", server.url)
        two.wait_until(lambda: two.open == 0)
        assert (one.open, three.open) == (1, 1)
        assert manager.stats().closed == {"made_room": 1}
        assert manager.stats().idle == 2
        assert manager.request("GET", one.url).status == 200
        assert one.connections == 1
    assert free(manager) == 2


def test_an_idle_connection_of_the_own_pool_is_used(servers: list[CountingServer]) -> None:
    with a_manager(1) as manager:
        for _ in range(5):
            manager.request("GET", servers[0].url)
    assert servers[0].connections == 1


def test_who_waits_for_the_same_host_gets_its_connection(servers: list[CountingServer]) -> None:
    with a_manager(1) as manager:
        response = opened(manager, servers[0])
        thread = threading.Thread(target=manager.request, args=("GET", servers[0].url))
        thread.start()
        until(lambda: manager.stats().waiters == 1)
        response.read()
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert servers[0].connections == 1


def test_the_first_who_came_is_served_first(servers: list[CountingServer]) -> None:
    """Whatever host they want, and although each of them could be served."""
    order = []
    with a_manager(1) as manager:
        response = opened(manager, servers[0])
        threads = []
        for number in range(6):

            def work(number: int = number) -> None:
                answer = opened(manager, servers[number % 3])
                order.append(number)
                answer.read()

            threads.append(threading.Thread(target=work))
            threads[-1].start()
            until(lambda number=number: manager.stats().waiters == number + 1)
        response.read()
        for thread in threads:
            thread.join(PATIENCE)
    assert order == list(range(6))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"pool_timeout": 0.02}, EmptyPoolError),
        ({"timeout": Timeout(deadline=0.02)}, DeadlineExceededError),
        ({"pool_timeout": 5, "timeout": Timeout(deadline=0.02)}, DeadlineExceededError),
    ],
    ids=["pool_timeout", "deadline", "both"],
)
def test_waiting_is_bounded(
    servers: list[CountingServer], options: dict[str, Any], error: type[Exception]
) -> None:
    with a_manager(1, block=True) as manager:
        response = opened(manager, servers[0])
        with pytest.raises(error):
            manager.request("GET", servers[1].url, **options)
        response.read()
        assert manager.request("GET", servers[1].url, pool_timeout=0).status == 200
        assert manager.stats().waiters == 0


def test_the_error_names_the_limit(servers: list[CountingServer]) -> None:
    with a_manager(2) as manager:
        kept = [opened(manager, servers[0]) for _ in range(2)]
        with pytest.raises(EmptyPoolError, match="all 2 connections of the manager are in use"):
            manager.request("GET", servers[1].url, pool_timeout=0)
        for response in kept:
            response.close()


def test_waiting_ends_at_once_when_it_is_cancelled(servers: list[CountingServer]) -> None:
    token = CancelToken()
    with a_manager(1) as manager:
        response = opened(manager, servers[0])
        timer = threading.Timer(0.05, token.cancel)
        timer.start()
        start = time.monotonic()
        with pytest.raises(RequestCancelledError):
            manager.request("GET", servers[1].url, cancel=token)
        assert time.monotonic() - start < PATIENCE / 2
        timer.join()
        response.read()


# -- every way back --------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["close", "release_conn", "drain_conn", "read", "forget"])
def test_a_permit_comes_back_however_a_response_ends(
    servers: list[CountingServer], end: str
) -> None:
    with a_manager(1) as manager:
        response = opened(manager, servers[0])
        assert free(manager) == 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            if end != "forget":
                getattr(response, end)()
            del response
            gc.collect()
        assert manager.request("GET", servers[1].url, pool_timeout=0).status == 200
    assert free(manager) == 1


def test_a_permit_comes_back_after_errors(script: ScriptedServer) -> None:
    script.accept().expect(b"GET ").close()
    script.accept().expect(b"GET ").send(b"nonsense").close()
    script.accept().expect(b"GET ").send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nx").close()
    with a_manager(1) as manager:
        for _ in range(3):
            with pytest.raises(HTTPError):
                manager.request("GET", script.url, pool_timeout=0)
            assert free(manager) == 1
        with pytest.raises(HTTPError):
            manager.request("GET", "http://127.0.0.1:1", pool_timeout=0)
        assert free(manager) == 1


def test_a_request_that_is_sent_again_needs_no_second_permit(script: ScriptedServer) -> None:
    answer = b"HTTP/1.1 204 No Content\r\n\r\n"
    script.accept().expect(b"GET / ").send(answer).expect(b"GET / ").close()
    script.accept().expect(b"GET / ").send(answer)
    with a_manager(1) as manager:
        for _ in range(2):
            assert manager.request("GET", script.url, pool_timeout=0).status == 204
        assert manager.stats().stale_resent == 1
    assert free(manager) == 1


def test_redirects_between_hosts_need_one_permit() -> None:
    with CountingServer() as target:

        def answer(exchange: Exchange) -> bytes:
            return ok(b"", f"Location: {target.url}/new", status="302 Found")

        with CountingServer(answer) as server, a_manager(1, retries=3) as manager:
            assert manager.request("GET", server.url, pool_timeout=0).data == b"/new"


def test_blocking_pools_and_the_limit_do_not_wait_for_each_other(
    servers: list[CountingServer],
) -> None:
    """maxsize=1 and block=True for each host, a limit of 2, and many threads."""
    errors: list[BaseException] = []
    with a_manager(2, maxsize=1, block=True) as manager:

        def work(seed: int) -> None:
            try:
                for step in range(25):
                    server = servers[(seed + step) % 3]
                    assert manager.request("GET", server.url, pool_timeout=PATIENCE).status == 200
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(3 * PATIENCE)
        assert errors == []
        stats = manager.stats()
        assert stats.requests == 200
        assert stats.in_use == 0
        assert free(manager) + stats.idle == 2


def test_the_limit_holds_under_many_threads(servers: list[CountingServer]) -> None:
    """Counted where connections are opened: servers see their end late."""
    errors: list[BaseException] = []
    guard = threading.Lock()  # of the two numbers
    now = peak = 0

    class Counted(HTTPConnection):
        def connect(self) -> None:
            nonlocal now, peak
            with guard:
                now += 1
                peak = max(peak, now)
            super().connect()

        def close(self) -> None:
            nonlocal now
            with guard:
                now -= self.sock is not None
            super().close()

    with a_manager(3) as manager, pytest.MonkeyPatch.context() as patch:
        patch.setattr(HTTPConnectionPool, "ConnectionCls", Counted)

        def work(seed: int) -> None:
            try:
                for step in range(25):
                    response = opened(manager, servers[(seed * step) % 3])
                    if step % 5:
                        response.read()
                    else:
                        response.close()
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(3 * PATIENCE)
        assert errors == []
        assert free(manager) + manager.stats().idle == 3
        assert peak == 3
    assert (free(manager), now) == (3, 0)


def test_connecting_ahead_and_lending_stay_within_the_limit(
    servers: list[CountingServer],
) -> None:
    with a_manager(2) as manager:
        pool = manager.connection_from_url(servers[0].url)
        assert pool.warm(5) == 2
        other = manager.connection_from_url(servers[1].url)
        with other.get_connection() as first, other.get_connection() as second:
            assert first is not second
            with pytest.raises(EmptyPoolError), pool.get_connection(timeout=0):
                pass
            assert pool.warm(1) == 0
        assert manager.stats().idle == 2
    assert free(manager) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_process_has_all_permits(servers: list[CountingServer]) -> None:
    with a_manager(1) as manager:
        response = opened(manager, servers[0])
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                manager.request("GET", servers[1].url, pool_timeout=0)
                response.close()
                status = 0 if (free(manager), manager.stats().created) == (0, 1) else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert response.read() == b"/"


# -- permits ---------------------------------------------------------------------------------


def test_a_permit_is_given_back_once() -> None:
    quota = Quota(1)
    permit = quota.permit()
    assert permit.take()
    assert not Permit(quota).take()
    permit.give_back()
    permit.give_back()
    assert len(quota._free) == 1


def test_a_permit_that_is_forgotten_comes_back() -> None:
    quota = Quota(1)
    permit = quota.permit()
    assert permit.take()
    del permit
    gc.collect()
    assert len(quota._free) == 1
