"""What the short ways of a request promise: nobody is passed by, and nothing secret is kept.

Requests take a short way where nothing special happens.  Whoever overrides or replaces a method
sees the request all the same, also if that happens after the first request; what is remembered
is bounded, and forgotten when what it depends on changes.
"""

from __future__ import annotations

import http.client
import select
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import urllib4.connection
import urllib4.poolmanager
from dummyserver.counting import CountingServer, ok
from urllib4 import HTTPConnectionPool, PoolManager, Retry, Timeout
from urllib4._http1 import head, request
from urllib4.connection import HTTPConnection, HTTPSConnection
from urllib4.response import HTTPResponse

SECRETS = ("Authorization", "Cookie", "Proxy-Authorization", "X-Api-Key", "X-Auth-Token")


@pytest.fixture
def server() -> Iterator[CountingServer]:
    """Answers each request with the head that it got."""
    with CountingServer(lambda exchange: ok(b"hello")) as running:
        yield running


def url_of(server: CountingServer, path: str = "/") -> str:
    return f"http://{server.host}:{server.port}{path}"


# -- whoever looks is shown ----------------------------------------------------------------------


class Wrapper:
    """A method as tracers wrap it: equal to what it wraps, and with all of its attributes.

    :param seen: gets the name at each call.
    """

    def __init__(self, wrapped: Any, seen: list[str]) -> None:
        self._wrapped = wrapped
        self._seen = seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)

    def __eq__(self, other: object) -> bool:
        return bool(self._wrapped == other)

    def __hash__(self) -> int:
        return hash(self._wrapped)

    def __get__(self, instance: Any, owner: Any = None) -> Wrapper:
        return Wrapper(self._wrapped.__get__(instance, owner), self._seen)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._seen.append(self._wrapped.__name__)
        return self._wrapped(*args, **kwargs)


STEPS = ["putrequest", "putheader", "endheaders", "send", "_send_output", "getresponse"]


@pytest.mark.parametrize("owner", [http.client.HTTPConnection, HTTPConnection])
@pytest.mark.parametrize("step", [*STEPS, "request"])
def test_a_step_that_is_wrapped_in_something_equal_is_seen(
    step: str, owner: type, server: CountingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    if step == "request" and owner is http.client.HTTPConnection:
        owner = HTTPSConnection  # which inherits ours; http.client's is not called by us
    seen: list[str] = []
    with HTTPConnectionPool(server.host, server.port) as pool:
        assert pool.request("GET", "/").data == b"hello"
        monkeypatch.setattr(owner, step, Wrapper(getattr(owner, step), seen), raising=False)
        if owner is HTTPSConnection:
            conn = HTTPSConnection("localhost")
            assert conn._is_hooked(True)
            assert not conn._is_hooked(False)
            return
        assert pool.request("GET", "/").data == b"hello"
        assert step in seen
        monkeypatch.undo()
        seen.clear()
        assert pool.request("GET", "/").data == b"hello"
        assert not seen


@pytest.mark.parametrize("place", ["standard class", "our class", "instance"])
@pytest.mark.parametrize("step", STEPS)
def test_a_step_replaced_after_the_first_request_sees_the_next_one(
    step: str, place: str, server: CountingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tracers are switched on in the middle of a program."""
    calls: list[str] = []
    original: Callable[..., Any] = getattr(HTTPConnection, step)
    if place == "standard class":
        original = getattr(http.client.HTTPConnection, step)

    def hook(conn: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(step)
        return original(conn, *args, **kwargs)

    with HTTPConnectionPool(server.host, server.port) as pool:
        assert pool.request("GET", "/").data == b"hello"
        assert pool.request("GET", "/").data == b"hello"
        if place == "standard class":
            monkeypatch.setattr(http.client.HTTPConnection, step, hook)
        elif place == "our class":
            monkeypatch.setattr(HTTPConnection, step, hook, raising=False)
        else:
            conn = pool._get_conn()
            monkeypatch.setattr(conn, step, hook.__get__(conn), raising=False)
            pool._put_conn(conn)
        assert pool.request("GET", "/").data == b"hello"
        assert calls
        monkeypatch.undo()
        calls.clear()
        assert pool.request("GET", "/").data == b"hello"
        assert not calls
    assert server.connections == 1


POOL_HOOKS = (
    "urlopen", "_get_conn", "_put_conn", "_make_request", "_validate_conn", "_get_timeout",
)  # fmt: skip
MANAGER_HOOKS = (
    "urlopen", "connection_from_host", "connection_from_context", "connection_from_pool_key",
    "_merge_pool_kwargs", "request_encode_url",
)  # fmt: skip


@pytest.mark.parametrize("place", ["class", "instance", "wrapped"])
@pytest.mark.parametrize("name", [*POOL_HOOKS, *MANAGER_HOOKS])
def test_a_method_of_pool_or_manager_replaced_later_sees_the_next_request(
    name: str, place: str, server: CountingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    with PoolManager() as manager:
        for _ in range(2):
            assert manager.request("GET", url_of(server)).data == b"hello"
        owner: Any = manager
        if name in POOL_HOOKS and name != "urlopen":
            owner = manager.connection_from_url(url_of(server))
        original = getattr(type(owner), name)

        def hook(self: Any, *args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            return original(self, *args, **kwargs)

        if place == "class":
            monkeypatch.setattr(type(owner), name, hook)
        elif place == "wrapped":
            monkeypatch.setattr(type(owner), name, Wrapper(original, calls), raising=False)
        else:
            monkeypatch.setattr(owner, name, hook.__get__(owner), raising=False)
        assert manager.request("GET", url_of(server)).data == b"hello"
        assert calls
    assert server.connections == 1


def test_a_key_function_replaced_later_makes_the_next_key(server: CountingServer) -> None:
    asked: list[str] = []
    with PoolManager() as manager:
        assert manager.request("GET", url_of(server)).data == b"hello"
        original = manager.key_fn_by_scheme["http"]

        def make_key(context: Any) -> Any:
            asked.append(context["host"])
            return original(context)

        manager.key_fn_by_scheme["http"] = make_key
        assert manager.request("GET", url_of(server)).data == b"hello"
        assert asked == [server.host]


def test_new_options_of_a_manager_count_from_the_next_request_on(server: CountingServer) -> None:
    with PoolManager() as manager:
        before = manager.connection_from_url(url_of(server))
        assert manager.connection_from_url(url_of(server)) is before
        manager.connection_pool_kw["maxsize"] = 3
        after = manager.connection_from_url(url_of(server))
        assert after is not before
        assert after.pool.maxsize == 3
        del manager.connection_pool_kw["maxsize"]
        assert manager.connection_from_url(url_of(server)) is before


def test_options_that_can_change_in_place_are_looked_at_each_time() -> None:
    options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    with PoolManager(socket_options=options) as manager:
        before = manager.connection_from_url("http://a.test/")
        options.append((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1))
        assert manager.connection_from_url("http://a.test/") is not before


def test_a_pool_that_was_dropped_is_not_handed_out_again() -> None:
    with PoolManager(num_pools=2) as manager:
        first = manager.connection_from_url("http://a.test/")
        manager.clear()
        second = manager.connection_from_url("http://a.test/")
        assert second is not first
        for name in "bcd":
            manager.connection_from_url(f"http://{name}.test/")
        assert manager.connection_from_url("http://a.test/") is not second
        del manager.pools[next(iter(manager.pools.keys()))]
        assert len(manager.pools) == 1


def test_each_request_raises_the_audit_events_of_the_standard_library(
    server: CountingServer,
) -> None:
    """PEP 578: what monitors a program counts on ``http.client.send``."""
    events: list[tuple[str, bytes]] = []
    mine = threading.get_ident()

    def listen(event: str, args: tuple[Any, ...]) -> None:
        if active and event.startswith("http.client.") and threading.get_ident() == mine:
            events.append((event, bytes(args[1])[:5] if event.endswith("send") else b""))

    active = [True]
    sys.addaudithook(listen)
    try:
        with HTTPConnectionPool(server.host, server.port) as pool:
            for _ in range(3):
                pool.request("GET", "/")
    finally:
        active.clear()
    assert events == [("http.client.connect", b"")] + 3 * [("http.client.send", b"GET /")]


def test_the_states_of_a_connection_are_those_of_the_standard_library(
    server: CountingServer,
) -> None:
    conn = HTTPConnection(server.host, server.port)
    with pytest.raises(http.client.ResponseNotReady):
        conn.getresponse()
    conn.request("GET", "/")
    with pytest.raises(http.client.CannotSendRequest):
        conn.request("GET", "/")
    assert conn.getresponse().data == b"hello"
    conn.close()


class Reading(HTTPResponse):
    """Sees all that is read."""

    seen: list[int] = []

    def read(self, *args: Any, **kwargs: Any) -> bytes:
        data = super().read(*args, **kwargs)
        self.seen.append(len(data))
        return data


def test_a_response_class_that_overrides_read_is_asked_to_read(server: CountingServer) -> None:
    Reading.seen.clear()
    with HTTPConnectionPool(server.host, server.port) as pool:
        pool.ResponseCls = Reading
        assert pool.request("GET", "/").data == b"hello"
    assert Reading.seen == [5]


class Asked(Retry):
    """Is asked about each answer."""

    asked: list[int] = []

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
        self.asked.append(status_code)
        return super().is_retry(method, status_code, has_retry_after)


def test_a_policy_that_overrides_is_retry_is_asked(server: CountingServer) -> None:
    Asked.asked.clear()
    with HTTPConnectionPool(server.host, server.port) as pool:
        assert pool.request("GET", "/", retries=Asked(3)).data == b"hello"
    assert 200 in Asked.asked


def test_a_replaced_poll_is_asked_whether_a_connection_was_dropped(
    server: CountingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gevent and eventlet replace it, possibly after the first request."""
    made: list[Any] = []
    original = select.poll

    def poll() -> Any:
        made.append(original())
        return made[-1]

    with HTTPConnectionPool(server.host, server.port) as pool:
        pool.request("GET", "/")
        pool.request("GET", "/")
        monkeypatch.setattr(select, "poll", poll)
        pool.request("GET", "/")
        assert made
    assert server.connections == 1


def test_the_kept_poll_object_never_looks_at_another_socket(server: CountingServer) -> None:
    """Descriptors are given out again: the number alone does not tell sockets apart."""
    conn = HTTPConnection(server.host, server.port)
    conn.request("GET", "/")
    assert conn.getresponse().data == b"hello"
    assert conn.is_connected
    kept = conn._poll
    conn.close()
    assert conn._poll is None
    conn.connect()
    assert conn.is_connected
    assert conn._poll is not kept
    conn.sock.shutdown(socket.SHUT_RDWR)
    assert not conn.is_connected
    conn.close()


# -- what was given counts -------------------------------------------------------------------------


def test_headers_changed_in_place_are_sent_as_they_are_now(server: CountingServer) -> None:
    with PoolManager(headers={"Accept": "text/plain"}) as manager:
        headers: Any = manager.headers
        manager.request("GET", url_of(server))
        headers["Accept"] = "text/html"
        headers["X-New"] = "1"
        manager.request("GET", url_of(server))
        del headers["X-New"]
        manager.request("GET", url_of(server))
    values = [(one.header("accept"), one.header("x-new")) for one in server.exchanges]
    assert values == [("text/plain", None), ("text/html", "1"), ("text/html", None)]


def test_values_that_are_equal_but_not_the_same_are_sent_as_they_are() -> None:
    """True == 1 == 1.0, but each is written in its own way."""
    lines = [
        request.request_plan("GET", {"Accept": value}, None).lines  # type: ignore[dict-item]
        for value in ("1", 1, True, b"1")
    ]
    assert [line.rpartition(b"Accept: ")[2] for line in lines] == [
        b"1\r\n", b"1\r\n", b"True\r\n", b"1\r\n",
    ]  # fmt: skip


def test_a_host_changed_between_requests_is_sent_as_it_is_now(server: CountingServer) -> None:
    conn = HTTPConnection(server.host, server.port)
    for name in ("one.test", "two.test"):
        conn.connect()
        conn.host = name
        conn.request("GET", "/")
        conn.getresponse()
        conn.close()
        conn.host = server.host
    hosts = [server.exchanges[number].header("host") for number in range(2)]
    assert hosts == [f"one.test:{server.port}", f"two.test:{server.port}"]


def test_a_timeout_changed_in_place_counts_for_the_next_request(server: CountingServer) -> None:
    timeout = Timeout(connect=5, read=6)
    with HTTPConnectionPool(server.host, server.port, timeout=timeout) as pool:
        pool.request("GET", "/")
        conn = pool._get_conn()
        assert conn.timeout == 6
        pool._put_conn(conn)
        timeout._read = 7
        pool.request("GET", "/")
        assert pool._get_conn() is conn
        pool._put_conn(conn)
        assert conn.sock.gettimeout() == 7


def test_no_request_starts_the_timeout_that_it_was_given(server: CountingServer) -> None:
    timeout = Timeout(total=5)
    plain = Timeout(connect=5)
    with HTTPConnectionPool(server.host, server.port) as pool:
        for given in (timeout, plain, timeout, plain):
            pool.request("GET", "/", timeout=given)
            assert given._start_connect is None


# -- what is kept is bounded, and holds no secret ------------------------------------------------


@pytest.mark.parametrize("name", SECRETS)
def test_no_secret_of_a_request_is_kept(name: str, server: CountingServer) -> None:
    with PoolManager(headers={name: "hunter2", "Accept": "*/*"}) as manager:
        for _ in range(2):
            manager.request("GET", url_of(server))
        kept = [request._plans.keys(), head._line_memo, head._memo, head._names]
        kept += [plan.lines for plan in request._plans.values()]
        assert "hunter2" not in repr(kept)
        pool = manager.connection_from_url(url_of(server))
        conn = pool._get_conn()
        pool._put_conn(conn)
        assert "hunter2" not in repr(vars(conn))
    assert server.exchanges[1].header(name) == "hunter2"


@pytest.mark.filterwarnings("ignore::urllib4.exceptions.SecurityWarning")
def test_no_credentials_of_a_url_are_kept(server: CountingServer) -> None:
    with PoolManager() as manager:
        for _ in range(2):
            url = f"http://user:hunter2@{server.host}:{server.port}/"
            assert manager.request("GET", url).data == b"hello"
            assert manager.connection_from_url(url)
        assert "hunter2" not in repr((manager._known.urls, manager._known.keys))


def test_what_a_manager_remembers_is_bounded() -> None:
    most = urllib4.poolmanager._MOST_KNOWN
    with PoolManager(num_pools=1) as manager:
        for number in range(2 * most + 5):
            manager.connection_from_url(f"http://h{number}.test/{number}")
            assert len(manager._known.urls) <= most
            assert len(manager._known.keys) <= most
        manager.connection_from_url("http://a.test/" + "x" * 10_000)
        assert max(map(len, manager._known.urls)) <= urllib4.poolmanager._LONGEST_KNOWN_URL


def test_what_requests_leave_behind_is_bounded() -> None:
    for number in range(2 * request._MAX_PLANS + 5):
        request.request_plan("GET", {"Accept": str(number)}, None)
        assert len(request._plans) <= request._MAX_PLANS
    request.request_plan("GET", {"Accept": "x" * 10_000}, None)
    assert all(len(plan.lines) <= request._MAX_PLAN_BYTES for plan in request._plans.values())
    lines = urllib4.connection._request_line
    for number in range(1000):
        lines("GET", f"/{number}")
    assert lines.cache_info().currsize <= (lines.cache_info().maxsize or 0)


def test_what_answers_leave_behind_is_bounded() -> None:
    for number in range(2 * head._MEMO_MAX_LINES + 5):
        block = b"HTTP/1.1 200 Fine %d\r\nX-%d: secret%d\r\n\r\n" % (number, number, number)
        assert head.parse_response_head(block).headers[f"x-{number}"] == f"secret{number}"
        assert len(head._status_memo) <= head._MEMO_MAX_LINES
        assert len(head._names) <= head._MEMO_MAX_LINES
    assert "secret" not in repr((head._names, head._memo))
    head.parse_response_head(b"HTTP/1.1 200 " + b"x" * 500 + b"\r\nX" + b"y" * 500 + b": 1\r\n\r\n")
    assert max(map(len, head._status_memo)) <= head._MEMO_MAX_LINE
    assert max(map(len, head._names)) <= head._MEMO_MAX_LINE


def test_threads_share_what_is_remembered(server: CountingServer) -> None:
    """Each thread gets the pool and the answer of its own URL while others fill the memory."""
    failures: list[Any] = []

    def work(offset: int) -> None:
        for number in range(150):
            name = f"h{(number * 7 + offset) % 1500}.test"
            pool = manager.connection_from_url(f"http://{name}/{number}")
            if pool.host != name:
                failures.append((pool.host, name))
            if number % 15 == 0:
                response = manager.request("GET", url_of(server, f"/{offset}/{number}"))
                if response.data != b"hello":
                    failures.append(response)

    with PoolManager(num_pools=50, maxsize=4) as manager:
        threads = [threading.Thread(target=work, args=(200 * n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures
    assert sorted(exchange.target for exchange in server.exchanges) == sorted(
        f"/{200 * n}/{number}" for n in range(4) for number in range(0, 150, 15)
    )
