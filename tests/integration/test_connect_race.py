"""Several addresses of one host race (RFC 8305): what wins, what it costs, what is left behind."""

from __future__ import annotations

import errno
import gc
import math
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

import urllib4
from dummyserver.script import ScriptedServer
from urllib4 import CancelToken, HTTPConnectionPool, Timeout
from urllib4.exceptions import (
    ConnectTimeoutError,
    DeadlineExceededError,
    NewConnectionError,
    RequestCancelledError,
)
from urllib4.util import _eyeballs
from urllib4.util._eyeballs import GoodFamilies, interleaved
from urllib4.util.connection import ATTEMPT_DELAY, create_connection

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ADDRESS = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


def candidate(port: int, family: int = socket.AF_INET) -> Any:
    flow: tuple[int, ...] = () if family == socket.AF_INET else (0, 0)
    address = (ADDRESS[family], port, *flow)  # type: ignore[index]
    return (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> GoodFamilies:
    """What other tests found out about ``localhost`` is no concern of these."""
    fresh = GoodFamilies()
    monkeypatch.setattr(_eyeballs, "good_families", fresh)
    return fresh


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes every name have these addresses."""

    def to(*candidates: Any) -> None:
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args: list(candidates))

    return to


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[socket.socket]:
    """Every socket that was made."""
    sockets: list[socket.socket] = []

    class Noted(socket.socket):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            sockets.append(self)

    monkeypatch.setattr(socket, "socket", Noted)
    return sockets


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def refused() -> Iterator[int]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@pytest.fixture
def dead() -> Iterator[int]:
    """A port that does not answer: its queue is full, so the kernel drops what comes."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        address = server.getsockname()
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        probe = stack.enter_context(socket.socket())
        probe.settimeout(0.1)
        try:
            probe.connect(address)
        except TimeoutError:
            pass
        else:
            pytest.skip("this system answers although the queue is full")
        yield address[1]


def only_open(made: list[socket.socket]) -> list[socket.socket]:
    return [sock for sock in made if sock.fileno() != -1]


# -- who wins --------------------------------------------------------------------------------------


def test_a_dead_first_address_costs_little(
    resolve: Any, dead: int, listener: int, made: list[socket.socket]
) -> None:
    """In urllib3 it costs the whole connect timeout, or two minutes."""
    resolve(candidate(dead), candidate(listener))
    took = []
    for _ in range(5):  # a busy machine may be late now and then
        start = time.monotonic()
        with create_connection(("localhost", 80), 20) as sock:
            took.append(time.monotonic() - start)
            assert sock.getpeername()[1] == listener
            assert sock.gettimeout() == 20
            assert only_open(made) == [sock]
    assert ATTEMPT_DELAY * 0.9 < min(took) < 0.35


def test_a_dead_first_address_costs_little_with_a_pool(
    resolve: Any, dead: int, script: ScriptedServer
) -> None:
    script.accept().expect(b"GET / ").send(OK)
    resolve(candidate(dead), candidate(script.port))
    start = time.monotonic()
    with HTTPConnectionPool("localhost", timeout=20) as pool:
        assert pool.request("GET", "/").data == b"ok"
    assert time.monotonic() - start < 5


def test_one_that_fails_starts_the_next_at_once(resolve: Any, refused: int, listener: int) -> None:
    resolve(*[candidate(refused)] * 20, candidate(listener))
    start = time.monotonic()
    create_connection(("localhost", 80), 20).close()
    assert time.monotonic() - start < 10 * ATTEMPT_DELAY  # not 20 times


def test_one_that_cannot_even_be_made_starts_the_next_at_once(resolve: Any, listener: int) -> None:
    """A kernel without IPv6 answers so."""
    strange = (12345, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 1))
    resolve(strange, strange, candidate(listener))
    create_connection(("localhost", 80), 20).close()


def test_a_late_failure_starts_the_next_at_once(
    resolve: Any, dead: int, refused: int, listener: int
) -> None:
    """The second attempt starts after the delay and fails; the third follows without another."""
    resolve(candidate(dead), candidate(refused), candidate(listener))
    start = time.monotonic()
    create_connection(("localhost", 80), 20, attempt_delay=1.5).close()
    assert 1.4 < time.monotonic() - start < 2.9


def test_an_earlier_one_may_win_although_others_have_started(
    resolve: Any, monkeypatch: pytest.MonkeyPatch, listener: int, dead: int
) -> None:
    resolve(candidate(listener), candidate(dead))
    monkeypatch.setattr(_eyeballs._Race, "_wait", _not_before_two(_eyeballs._Race._wait))
    with create_connection(("localhost", 80), 20, attempt_delay=0.01) as sock:
        assert sock.getpeername()[1] == listener


def _not_before_two(original: Any) -> Any:
    """Let no attempt be seen to succeed before the second one has started."""

    def wait(self: Any, seconds: float | None) -> Any:
        if len(self._running) < 2:
            time.sleep(min(seconds or 0, 0.02))
            return None
        return original(self, seconds)

    return wait


def test_the_racing_can_be_switched_off(resolve: Any, dead: int, listener: int) -> None:
    """One address after the other, as in urllib3, but within one timeout."""
    resolve(candidate(dead), candidate(listener))
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        create_connection(("localhost", 80), 0.6, attempt_delay=math.inf)
    assert time.monotonic() - start >= 0.6


def test_only_so_many_race_at_once(
    resolve: Any, dead: int, made: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name server that lists thousands of addresses must not use up our descriptors."""
    monkeypatch.setattr(_eyeballs, "MAX_RACING", 4)
    resolve(*[candidate(dead)] * 50)
    with pytest.raises(TimeoutError, match="timed out"):
        create_connection(("localhost", 80), 0.3, attempt_delay=0.001)
    assert len(made) == 4
    assert only_open(made) == []


# -- one bound for all -----------------------------------------------------------------------------


def test_the_timeout_is_one_for_all_addresses(
    resolve: Any, dead: int, made: list[socket.socket]
) -> None:
    """In urllib3 each address gets the whole timeout: five dead ones cost five times as much."""
    resolve(*[candidate(dead)] * 5)
    start = time.monotonic()
    with pytest.raises(TimeoutError, match=rf"127\.0\.0\.1:{dead}: no answer"):
        create_connection(("localhost", 80), 0.6)
    assert 0.55 < time.monotonic() - start < 1.5
    assert only_open(made) == []


def test_a_pool_says_that_it_took_too_long(resolve: Any, dead: int) -> None:
    resolve(*[candidate(dead)] * 3)
    with (
        HTTPConnectionPool("localhost", timeout=Timeout(connect=0.4), retries=False) as pool,
        pytest.raises(ConnectTimeoutError) as caught,
    ):
        pool.request("GET", "/")
    assert not isinstance(caught.value, NewConnectionError)


def test_a_deadline_ends_it(resolve: Any, dead: int) -> None:
    resolve(*[candidate(dead)] * 3)
    with (
        HTTPConnectionPool("localhost", timeout=Timeout(deadline=0.4)) as pool,
        pytest.raises(DeadlineExceededError, match="connecting"),
    ):
        pool.request("GET", "/")


def test_a_token_ends_it(resolve: Any, dead: int, made: list[socket.socket]) -> None:
    resolve(*[candidate(dead)] * 3)
    token = CancelToken()
    timer = threading.Timer(0.4, token.cancel)
    timer.start()
    start = time.monotonic()
    with (
        HTTPConnectionPool("localhost", timeout=20) as pool,
        pytest.raises(RequestCancelledError, match="connecting"),
    ):
        pool.request("GET", "/", cancel=token)
    assert time.monotonic() - start < 2
    timer.join()
    assert only_open(made) == []
    assert token._wakers == {}


def test_a_token_used_at_any_moment_ends_it(
    resolve: Any, dead: int, refused: int, made: list[socket.socket]
) -> None:
    """A hundred times, from before the first attempt until several are under way."""
    resolve(candidate(dead), candidate(refused), candidate(dead))
    for number in range(100):
        token = CancelToken()
        timer = threading.Timer(number / 10_000, token.cancel)
        timer.start()
        with pytest.raises(RequestCancelledError):
            create_connection(("localhost", 80), 20, cancel=token, attempt_delay=0.002)
        timer.join()
        assert token._wakers == {}
    assert only_open(made) == []


# -- nothing is left behind ------------------------------------------------------------------------


def test_the_last_error_is_raised_and_names_all(
    resolve: Any, refused: int, made: list[socket.socket]
) -> None:
    resolve(candidate(refused), candidate(refused, socket.AF_INET6))
    with pytest.raises(ConnectionRefusedError) as caught:
        create_connection(("localhost", 80), 5)
    assert caught.value.errno == errno.ECONNREFUSED
    text = str(caught.value)
    assert f"127.0.0.1:{refused}: Connection refused" in text
    assert f"[::1]:{refused}: " in text
    assert only_open(made) == []


def test_the_error_of_a_pool_names_all(resolve: Any, refused: int) -> None:
    resolve(candidate(refused), candidate(refused))
    with (
        HTTPConnectionPool("localhost", retries=False) as pool,
        pytest.raises(NewConnectionError, match=r"127\.0\.0\.1:\d+: Connection refused; 127\.0"),
    ):
        pool.request("GET", "/")


def test_a_long_list_of_failures_is_cut(resolve: Any, refused: int) -> None:
    resolve(*[candidate(refused)] * 500)
    with pytest.raises(ConnectionRefusedError, match="492 more") as caught:
        create_connection(("localhost", 80), 5)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("step", ["connect", "setblocking", "getsockopt"])
def test_an_interrupt_closes_all_sockets(
    resolve: Any,
    dead: int,
    refused: int,
    listener: int,
    made: list[socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    resolve(candidate(dead), candidate(listener))
    calls = []

    def interrupted(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == (1 if step == "getsockopt" else 2):
            raise KeyboardInterrupt
        return getattr(super(socket.socket, args[0]), step)(*args[1:])

    monkeypatch.setattr(socket.socket, step, interrupted, raising=False)
    with pytest.raises(KeyboardInterrupt):
        create_connection(("localhost", 80), 5, cancel=CancelToken(), attempt_delay=0.01)
    assert len(made) == 2
    assert only_open(made) == []


def test_a_failing_option_closes_all_sockets(
    resolve: Any, listener: int, made: list[socket.socket]
) -> None:
    resolve(candidate(listener), candidate(listener))
    with pytest.raises(OSError, match="tried"):
        create_connection(("localhost", 80), 5, socket_options=[(socket.SOL_SOCKET, 9999, 1)])
    assert len(made) == 2
    assert only_open(made) == []


@pytest.mark.parametrize("number", [2, 5])
def test_the_error_refers_to_no_cycle(resolve: Any, refused: int, number: int) -> None:
    resolve(*[candidate(refused)] * number)
    with suppress(ConnectionRefusedError):
        create_connection(("localhost", 80), 5)
    gc.collect()
    gc.disable()
    try:
        with suppress(ConnectionRefusedError):
            create_connection(("localhost", 80), 5)
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_options_and_source_are_set_before_connecting(resolve: Any, listener: int) -> None:
    resolve(candidate(listener), candidate(listener))
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    with create_connection(("localhost", 80), 5, ("127.0.0.2", 0), options) as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockname()[0] == "127.0.0.2"


def test_where_there_is_no_poll_select_serves(
    resolve: Any, dead: int, refused: int, listener: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("select.poll")
    resolve(candidate(dead), candidate(refused), candidate(listener))
    create_connection(("localhost", 80), 5).close()


def test_many_threads_race_at_the_same_time(
    resolve: Any, dead: int, refused: int, listener: int, made: list[socket.socket]
) -> None:
    resolve(candidate(dead), candidate(refused, socket.AF_INET6), candidate(listener))
    peers: list[int] = []

    def work() -> None:
        for _ in range(25):
            with create_connection(("localhost", 80), 20, attempt_delay=0.002) as sock:
                peers.append(sock.getpeername()[1])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert peers == [listener] * 100
    assert only_open(made) == []


def test_one_address_takes_the_straight_way() -> None:
    """Neither the code that races nor a lookup in a thread is loaded for a literal address."""
    code = """
import socket, sys, threading
from urllib4.util.connection import create_connection
with socket.create_server(("127.0.0.1", 0)) as server:
    started = []
    threading.Thread.start = started.append
    create_connection(server.getsockname(), 5).close()
print("urllib4.util._eyeballs" in sys.modules, started)
"""
    source = str(Path(urllib4.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": source}, capture_output=True,
        text=True, check=True, timeout=30,
    )  # fmt: skip
    assert done.stdout.strip() == "False []"


# -- families --------------------------------------------------------------------------------------

FOUR = [candidate(port) for port in (1, 2, 3)]
SIX = [candidate(port, socket.AF_INET6) for port in (1, 2)]


@pytest.mark.parametrize(
    ("given", "first", "expected"),
    [
        (SIX + FOUR, None, [SIX[0], FOUR[0], SIX[1], FOUR[1], FOUR[2]]),
        (FOUR + SIX, None, [FOUR[0], SIX[0], FOUR[1], SIX[1], FOUR[2]]),
        (SIX + FOUR, socket.AF_INET, [FOUR[0], SIX[0], FOUR[1], SIX[1], FOUR[2]]),
        (FOUR, None, FOUR),
        (FOUR, socket.AF_INET6, FOUR),
        ([FOUR[0], FOUR[0]], None, [FOUR[0], FOUR[0]]),
    ],
    ids=["six-first", "four-first", "known", "one-family", "known-but-absent", "twice"],
)  # fmt: skip
def test_families_take_turns(given: Any, first: int | None, expected: Any) -> None:
    assert interleaved(given, first) == expected


def test_the_family_that_worked_is_tried_first_for_a_while(
    resolve: Any, listener: int, made: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_INET6) as closed:
        closed.bind(("::1", 0))
        resolve(candidate(closed.getsockname()[1], socket.AF_INET6), candidate(listener))
        now = [100.0]
        monkeypatch.setattr(_eyeballs, "good_families", GoodFamilies(lambda: now[0]))

        def families() -> list[int]:
            del made[:]
            create_connection(("host.example", 80), 5).close()
            return [sock.family for sock in made]

        assert families() == [socket.AF_INET6, socket.AF_INET]
        assert families() == [socket.AF_INET]
        now[0] += _eyeballs.REMEMBERED_SECONDS - 1
        assert families() == [socket.AF_INET]
        now[0] += _eyeballs.REMEMBERED_SECONDS + 1
        assert families() == [socket.AF_INET6, socket.AF_INET]


def test_a_host_with_one_family_is_not_remembered(
    resolve: Any, listener: int, nothing_known: GoodFamilies
) -> None:
    resolve(candidate(listener), candidate(listener))
    create_connection(("host.example", 80), 5).close()
    assert len(nothing_known) == 0


def test_the_memory_is_bounded() -> None:
    known = GoodFamilies()
    for number in range(5000):
        known.remember(f"host{number}.example", socket.AF_INET)
        assert len(known) <= 1024
    assert known.get("host4999.example") == socket.AF_INET
    assert known.get("other.example") is None
