"""Closing, lending, connecting ahead and the books of a pool (S3-19 to S3-27), and its warnings."""

from __future__ import annotations

import gc
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dummyserver.certs import Certificates
from dummyserver.counting import CountingServer, Exchange, ok
from dummyserver.proxy import Proxy
from dummyserver.script import ScriptedServer
from urllib4 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager
from urllib4.connection import HTTPConnection
from urllib4.connectionpool import PoolStats
from urllib4.exceptions import ClosedPoolError, EmptyPoolError, HTTPError, NewConnectionError

PATIENCE = 10.0
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def counting() -> Iterator[CountingServer]:
    with CountingServer() as running:
        yield running


def a_pool(server: CountingServer | ScriptedServer, **options: Any) -> HTTPConnectionPool:
    options = {"retries": False, "timeout": PATIENCE, "maxsize": 3, **options}
    return HTTPConnectionPool("127.0.0.1", server.port, **options)


def several(pool: Any, number: int) -> list[Any]:
    return [pool.request("GET", "/", preload_content=False) for _ in range(number)]


def read_all(responses: list[Any]) -> None:
    for response in responses:
        response.read()


def adds_up(stats: PoolStats) -> bool:
    return stats.created == stats.idle + stats.in_use + sum(stats.closed.values())


# -- closing ---------------------------------------------------------------------------------


def test_closing_ends_all_that_is_kept(counting: CountingServer) -> None:
    """S3-19: the server sees the end of each."""
    pool = a_pool(counting)
    read_all(several(pool, 3))
    assert pool.close() is True
    counting.wait_until(lambda: counting.open == 0)
    assert pool.stats().closed == {"pool_closed": 3}
    assert pool.stats().created == 3


def test_closing_can_be_waited_for(counting: CountingServer) -> None:
    """S3-20: done means that the last one in use is closed, too."""
    pool = a_pool(counting)
    response = pool.request("GET", "/", preload_content=False)
    assert pool.close(wait=True, timeout=0.01) is False
    assert pool.close() is False
    started = threading.Event()

    def read() -> None:
        started.wait(PATIENCE)
        response.read()

    thread = threading.Thread(target=read)
    thread.start()
    started.set()
    assert pool.close(wait=True, timeout=PATIENCE) is True
    thread.join(PATIENCE)
    counting.wait_until(lambda: counting.open == 0)


@pytest.mark.parametrize(
    "end", [lambda r: r.close(), lambda r: r.release_conn(), lambda r: r.drain_conn()],
    ids=["close", "release", "drain"],
)  # fmt: skip
def test_waiting_ends_however_the_last_response_ends(
    counting: CountingServer, end: Callable[[Any], Any]
) -> None:
    """S3-20."""
    pool = a_pool(counting)
    response = pool.request("GET", "/", preload_content=False)
    pool.close()
    timer = threading.Timer(0.02, end, [response])
    timer.start()
    assert pool.close(wait=True) is True
    timer.join()


def test_waiting_ends_when_the_last_response_is_forgotten(counting: CountingServer) -> None:
    pool = a_pool(counting)
    response = pool.request("GET", "/", preload_content=False)
    assert pool.close() is False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del response
        gc.collect()
    assert pool.close(wait=True, timeout=PATIENCE) is True
    assert pool.stats().closed == {"forgotten": 1}


def test_a_call_that_is_about_to_connect_finds_the_pool_closed(counting: CountingServer) -> None:
    """Or it would open a connection after close(wait=True) said that there is none."""

    class Late(HTTPConnectionPool):
        def _get_conn(self, timeout: float | None = None) -> Any:
            conn = super()._get_conn(timeout)
            assert self.close(wait=True, timeout=PATIENCE)
            return conn

    pool = Late("127.0.0.1", counting.port)
    with pytest.raises(ClosedPoolError):
        pool.request("GET", "/")
    assert counting.connections == 0
    assert adds_up(pool.stats())


@pytest.mark.parametrize("timeout", [-1, "5"], ids=repr)
def test_a_time_that_is_none_is_refused(timeout: Any) -> None:
    with HTTPConnectionPool("127.0.0.1", 9) as pool:
        with pytest.raises(ValueError, match=f"timeout .*{timeout!r}"):
            pool.close(wait=True, timeout=timeout)
        assert pool.pool is not None


def test_a_pool_goes_on_after_its_idle_connections_were_closed(counting: CountingServer) -> None:
    """S3-21."""
    with a_pool(counting) as pool:
        read_all(several(pool, 2))
        in_use = pool.request("GET", "/", preload_content=False)
        assert pool.close_idle() == 1
        assert pool.close_idle() == 0
        in_use.read()
        assert pool.request("GET", "/").status == 200
        assert counting.connections == 2
        assert pool.pool.qsize() == 3
        assert pool.stats().closed == {"close_idle": 1}
    assert pool.close_idle() == 0


def test_a_manager_closes_what_is_idle_in_all_its_pools() -> None:
    with CountingServer() as one, CountingServer() as two, PoolManager(maxsize=2) as manager:
        for server in (one, two):
            read_all([manager.request("GET", server.url, preload_content=False) for _ in "ab"])
        assert manager.close_idle() == 4
        assert (len(manager.pools), manager.close_idle()) == (2, 0)
        assert manager.request("GET", one.url).status == 200
        assert (one.connections, two.connections) == (3, 2)


# -- lending ---------------------------------------------------------------------------------


def test_a_connection_is_lent_for_one_request(counting: CountingServer) -> None:
    """S3-22, S3-24: new or cached, and back after a whole response."""
    with a_pool(counting) as pool:
        for target in ("/new", "/cached"):
            with pool.get_connection() as conn:
                assert isinstance(conn, HTTPConnection)
                conn.request("GET", target)
                assert conn.getresponse().data == target.encode()
        pool.request("GET", "/third")
    assert [exchange.connection for exchange in counting.exchanges] == [1, 1, 1]


def test_what_is_lent_is_given_to_nobody_else(counting: CountingServer) -> None:
    """S3-23."""
    with a_pool(counting, maxsize=16) as pool:
        lent = []
        barrier = threading.Barrier(16)
        errors: list[BaseException] = []

        def work() -> None:
            try:
                with pool.get_connection() as conn:
                    lent.append(id(conn.sock))
                    barrier.wait(PATIENCE)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert errors == []
        assert len(set(lent)) == 16
        assert pool.stats().idle == 16


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nunread",
    ],
    ids=["close", "cut", "unread"],
)
def test_a_connection_that_is_not_done_does_not_come_back(
    script: ScriptedServer, answer: bytes
) -> None:
    """S3-25."""
    conversation = script.accept().expect(b"GET / ").send(answer)
    if b"\ncut" in answer:
        conversation.close()
    else:
        conversation.expect_eof()
    with a_pool(script) as pool:
        try:
            with pool.get_connection() as conn:
                conn.request("GET", "/", preload_content=False)
                response = conn.getresponse()
                if b"unread" not in answer:
                    response.read()
        except HTTPError:
            assert b"cut" in answer
        assert pool.stats().idle == 0
        assert pool.pool.qsize() == 3


def test_an_answer_that_is_released_unread_does_not_poison_the_next(
    script: ScriptedServer,
) -> None:
    """S3-25: it is read to its end if that is near, and the connection closed otherwise."""
    near = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nrest"
    far = b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\nrest"
    script.accept().expect(b"GET /near ").send(near).expect(b"GET /far ").send(far).expect_eof()
    script.accept().expect(b"GET /next ").send(OK)
    with a_pool(script) as pool:
        pool.request("GET", "/near", preload_content=False).release_conn()
        assert pool.stats().idle == 1
        pool.request("GET", "/far", preload_content=False).release_conn()
        assert pool.stats().idle == 0
        assert pool.request("GET", "/next").data == b"ok"
        assert pool.stats().closed == {"unfinished": 1}


def test_a_connection_is_made_only_if_none_is_cached(counting: CountingServer) -> None:
    """S3-26."""
    made = []

    class Counted(HTTPConnection):
        def _new_conn(self) -> Any:
            made.append(self)
            return super()._new_conn()

    with a_pool(counting) as pool:
        pool.ConnectionCls = Counted
        for _ in range(3):
            pool.request("GET", "/")
    assert len(made) == 1


@pytest.mark.parametrize("surplus", [b"more", b"HTTP/1.1 200 OK\r\n\r\n"], ids=["bytes", "answer"])
def test_a_connection_that_is_not_quiet_is_not_kept(script: ScriptedServer, surplus: bytes) -> None:
    """S3-27: the next request is not answered by what came before it."""
    script.accept().expect(b"GET /one ").send(OK + surplus).expect_eof()
    script.accept().expect(b"GET /two ").send(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK).expect(
        b"GET /three "
    ).send(OK)
    with a_pool(script) as pool:
        for target in ("/one", "/two", "/three"):
            assert pool.request("GET", target).data == b"ok"


def test_waiting_for_a_loan_is_bounded(counting: CountingServer) -> None:
    pool = a_pool(counting, maxsize=1, block=True)
    with pool, pool.get_connection(), pytest.raises(EmptyPoolError):
        pool.get_connection(timeout=0.01).__enter__()
    with pytest.raises(ClosedPoolError), pool.get_connection():
        pass


# -- connecting ahead ------------------------------------------------------------------------


def test_connections_can_be_made_ahead(counting: CountingServer) -> None:
    with a_pool(counting) as pool:
        assert pool.warm(2) == 2
        assert pool.warm(2) == 0
        assert pool.warm(100) == 1
        counting.wait_until(lambda: counting.open == 3)
        read_all(several(pool, 3))
        stats = pool.stats()
    assert counting.connections == 3
    assert (stats.created, stats.idle, stats.requests, stats.reused) == (3, 3, 3, 0)


def test_tls_is_part_of_it(certs: Certificates) -> None:
    with (
        CountingServer(tls=certs.server_context()) as server,
        HTTPSConnectionPool("127.0.0.1", server.port, maxsize=2, ca_certs=certs.ca_file) as pool,
    ):
        assert pool.warm(2) == 2
        assert all(conn.is_verified for conn in pool.pool.idle())
        assert pool.request("GET", "/").status == 200
        assert server.connections == 2


def test_a_tunnel_is_part_of_it(certs: Certificates) -> None:
    with CountingServer(tls=certs.server_context()) as server, Proxy() as proxy:
        with ProxyManager(proxy.url, ca_certs=certs.ca_file) as manager:
            pool = manager.connection_from_url(server.url)
            assert pool.warm() == 1
            assert pool.request("GET", "/").status == 200
        assert (server.connections, proxy.connections) == (1, 1)


def test_what_cannot_be_opened_says_so_and_costs_no_slot(counting: CountingServer) -> None:
    free = HTTPConnectionPool("127.0.0.1", counting.port, maxsize=2, block=True)
    with free as pool:
        read_all([pool.request("GET", "/", preload_content=False)])
        port, pool.port = pool.port, 1  # refused from now on
        with pytest.raises(NewConnectionError):
            pool.warm(2)
        pool.port = port
        assert pool.pool.qsize() == 2
        assert pool.stats().idle == 1
        assert pool.stats().closed == {"connect_failed": 1}


@pytest.mark.parametrize("error", [HTTPError, KeyboardInterrupt])
def test_a_connection_that_fails_when_it_is_looked_at_is_not_kept(
    counting: CountingServer, error: type[BaseException]
) -> None:
    """Such as by a check of a program's own, in the method that is there for it."""

    class Checking(HTTPConnectionPool):
        def _validate_conn(self, conn: Any) -> None:
            conn.connect()
            raise error("not the one that was expected")

    with Checking("127.0.0.1", counting.port, maxsize=2, block=True) as pool:
        with pytest.raises(error):
            pool.warm(2)
        assert pool.stats().idle == 0
        assert pool.pool.qsize() == 2
        counting.wait_until(lambda: counting.open == 0)


@pytest.mark.parametrize("number", [-1, 1.0, True, None], ids=repr)
def test_a_number_that_is_none_is_refused(number: Any) -> None:
    with HTTPConnectionPool("127.0.0.1", 9) as pool, pytest.raises(ValueError, match=f"{number!r}"):
        pool.warm(number)
    with pytest.raises(ClosedPoolError):
        pool.warm()


def test_a_connection_made_ahead_that_was_closed_since_is_no_error(
    script: ScriptedServer,
) -> None:
    """It is kept like any other, so what was said about stale ones holds for it."""
    script.accept().expect(b"GET /one ").close()
    script.accept().expect(b"GET /one ").send(OK)
    with a_pool(script) as pool:
        pool.warm()
        assert pool.request("GET", "/one").data == b"ok"


@pytest.mark.parametrize(
    "options", [{"persistent": False}, {"maxsize": 0}], ids=["not persistent", "no place"]
)
def test_nothing_is_made_ahead_where_nothing_is_kept(
    counting: CountingServer, options: dict[str, Any]
) -> None:
    with a_pool(counting, **options) as pool:
        assert pool.warm(2) == 0
    assert counting.connections == 0


# -- the books -------------------------------------------------------------------------------


def test_a_new_pool_did_nothing() -> None:
    with HTTPConnectionPool("127.0.0.1", 9) as pool:
        assert pool.stats() == PoolStats(0, 0, 0, 0, 0, 0, 0, 0, {})


def test_the_books_say_what_happened(script: ScriptedServer) -> None:
    closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    script.accept().expect(b"GET /1 ").send(OK).expect(b"GET /2 ").send(closing).expect_eof()
    script.accept().expect(b"GET /3 ").send(OK).expect(b"GET /4 ").close()
    script.accept().expect(b"GET /4 ").send(OK).expect(b"GET /5 ").send(b"?").close()
    script.accept().expect(b"GET /6 ").send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
    with a_pool(script) as pool:
        for target in ("/1", "/2", "/3", "/4"):
            pool.request("GET", target)
        with pytest.raises(HTTPError):
            pool.request("GET", "/5")
        in_use = pool.request("GET", "/6", preload_content=False)
        stats = pool.stats()
        in_use.close()
        assert pool.stats().closed == {"server_close": 1, "failed": 2, "unfinished": 1}
    assert stats == PoolStats(
        idle=0,
        in_use=1,
        created=4,
        requests=7,
        reused=3,
        expired=0,
        stale_resent=1,
        waiters=0,
        closed={"server_close": 1, "failed": 2},
    )
    assert adds_up(stats)


def test_the_books_of_a_manager_are_those_of_its_pools() -> None:
    with CountingServer() as one, CountingServer() as two, PoolManager() as manager:
        assert manager.stats() == PoolStats(0, 0, 0, 0, 0, 0, 0, 0, {})
        for server in (one, two, two):
            manager.request("GET", server.url)
        manager.close_idle()
        stats = manager.stats()
    assert (stats.created, stats.requests, stats.reused) == (2, 3, 1)
    assert stats.closed == {"close_idle": 2}


def test_the_books_cannot_be_changed(counting: CountingServer) -> None:
    with a_pool(counting) as pool:
        pool.request("GET", "/")
        pool.close_idle()
        stats = pool.stats()
        with pytest.raises(AttributeError):
            stats.idle = 5  # type: ignore[misc]
        with pytest.raises(TypeError):
            stats.closed["x"] = 5  # type: ignore[index]
        pool.request("GET", "/")
        assert stats.closed == {"close_idle": 1}
        assert stats.requests == 1


def test_who_waits_is_counted(counting: CountingServer) -> None:
    with a_pool(counting, maxsize=1, block=True) as pool:
        response = pool.request("GET", "/", preload_content=False)
        thread = threading.Thread(target=pool.request, args=("GET", "/"))
        thread.start()
        while pool.stats().waiters == 0:
            thread.join(0.001)
            assert thread.is_alive()
        response.read()
        thread.join(PATIENCE)
        assert pool.stats().waiters == 0


def test_the_repr_tells_the_state_and_the_reasons(counting: CountingServer) -> None:
    pool = a_pool(counting)
    name = f"HTTPConnectionPool(host='127.0.0.1', port={counting.port})"
    assert repr(pool) == f"<{name}: 0 idle, 0 in use>"
    response = pool.request("GET", "/", preload_content=False)
    assert repr(pool) == f"<{name}: 0 idle, 1 in use>"
    response.read()
    pool.close_idle()
    pool.close()
    assert repr(pool) == f"<{name}: closed; closed: 1 close_idle>"
    assert str(pool) == name


def test_a_full_pool_says_so_once(
    counting: CountingServer, caplog: pytest.LogCaptureFixture
) -> None:
    """As a warning; then for those who debug, and in the books."""
    with caplog.at_level(logging.DEBUG, "urllib4.connectionpool"), a_pool(counting) as pool:
        for _ in range(2):
            read_all(several(pool, 5))
        levels = [r.levelname for r in caplog.records if "pool is full" in r.getMessage()]
        assert levels == ["WARNING", "DEBUG", "DEBUG", "DEBUG"]
        assert pool.stats().closed == {"full": 4}


# -- forgetting ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "forget",
    [
        lambda pool, url: pool.request("GET", "/a/b?token=secret#x", preload_content=False),
        lambda pool, url: pool.request("GET", f"{url}/a/b?token=secret", preload_content=False),
    ],
    ids=["target", "absolute"],
)
def test_a_response_that_is_dropped_unread_is_warned_about(
    counting: CountingServer, forget: Callable[[Any, str], Any]
) -> None:
    """With its URL, but nothing that may be secret; and its slot comes back."""
    with a_pool(counting, maxsize=1, block=True) as pool:
        with pytest.warns(ResourceWarning) as caught:
            forget(pool, counting.url)
        gc.collect()
        text = str(caught[0].message)
        assert f"{counting.url}/a/b was dropped" in text
        assert "secret" not in text
        assert pool.request("GET", "/", pool_timeout=PATIENCE).status == 200
        assert pool.stats().closed == {"forgotten": 1}


def test_credentials_are_not_part_of_that_warning() -> None:
    with HTTPConnectionPool("example.com") as pool:
        assert pool._shown("http://ann:pw@example.com/a?b=c") == "http://example.com/a"
        assert pool._shown("/x@y?u=http://a:b@c/") == "http://example.com:80/x@y"


@pytest.mark.parametrize(
    "end",
    [
        lambda response: response.read(),
        lambda response: response.close(),
        lambda response: response.release_conn(),
        lambda response: list(response.stream(1)),
    ],
    ids=["read", "close", "release", "stream"],
)
def test_a_response_that_was_ended_is_not(
    counting: CountingServer, end: Callable[[Any], Any]
) -> None:
    with a_pool(counting) as pool, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        response = pool.request("GET", "/", preload_content=False)
        end(response)
        del response
        gc.collect()
        pool.request("HEAD", "/", preload_content=False)
        gc.collect()
    assert caught == []


def test_a_redirect_that_is_followed_is_not() -> None:
    def answer(exchange: Exchange) -> bytes:
        if exchange.target == "/old":
            return ok(b"x" * 1000, "Location: /new", status="302 Found")
        return ok(b"new")

    with CountingServer(answer) as server, PoolManager() as manager:
        response = manager.request("GET", f"{server.url}/old", preload_content=False)
        assert response.read() == b"new"
        gc.collect()
