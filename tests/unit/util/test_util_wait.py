"""Waiting for sockets: what counts as ready, how long is waited, by which system call."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from urllib4.util import wait
from urllib4.util.wait import (
    poll_wait_for_socket,
    select_wait_for_socket,
    wait_for_read,
    wait_for_socket,
    wait_for_write,
)

WAYS = [wait_for_socket, poll_wait_for_socket, select_wait_for_socket]

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    near, far = socket.socketpair()
    with near, far:
        yield near, far


@pytest.mark.parametrize("way", WAYS)
def test_data_makes_a_socket_readable(way: Callable[..., bool], pair: Pair):
    near, far = pair
    assert way(near, read=True, timeout=0) is False
    far.send(b"x")
    assert way(near, read=True, timeout=0) is True
    assert way(near, read=True) is True


@pytest.mark.parametrize("way", WAYS)
def test_a_full_buffer_makes_a_socket_unwritable(way: Callable[..., bool], pair: Pair):
    near, far = pair
    assert way(near, write=True, timeout=0) is True
    near.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            near.send(b"x" * 65536)
    assert way(near, write=True, timeout=0) is False
    assert way(near, read=True, write=True, timeout=0) is False
    far.send(b"x")
    assert way(near, read=True, write=True, timeout=0) is True


@pytest.mark.parametrize("way", WAYS)
def test_a_socket_closed_by_the_peer_is_ready(way: Callable[..., bool], pair: Pair):
    near, far = pair
    far.close()
    assert way(near, read=True, timeout=None) is True


@pytest.mark.parametrize("way", WAYS)
def test_data_that_comes_later_ends_the_wait(way: Callable[..., bool], pair: Pair):
    near, far = pair
    waiting = threading.Event()

    def send() -> None:
        waiting.wait(10)
        far.send(b"x")

    sender = threading.Thread(target=send)
    sender.start()
    waiting.set()
    assert way(near, read=True, timeout=10) is True
    sender.join()


@pytest.mark.parametrize("way", WAYS)
def test_a_negative_time_does_not_wait(way: Callable[..., bool], pair: Pair):
    """It is what is left of a deadline that has passed; poll() would wait for ever."""
    assert way(pair[0], read=True, timeout=-0.5) is False


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("timeout", [1e10, float("inf"), 10**30])
def test_a_very_long_time_is_no_error(way: Callable[..., bool], pair: Pair, timeout: Any):
    assert way(pair[0], write=True, timeout=timeout) is True


def test_times_are_rounded_up_to_milliseconds():
    """Rounded down, the last millisecond would be a loop of polls that do not wait."""
    assert wait._milliseconds(0.0001) == 1
    assert wait._milliseconds(1.5) == 1500
    assert wait._milliseconds(0) == 0
    assert wait._milliseconds(None) is None


@pytest.mark.parametrize("way", WAYS)
def test_a_direction_is_needed(way: Callable[..., bool], pair: Pair):
    with pytest.raises(RuntimeError, match="must specify at least one of read=True, write=True"):
        way(pair[0])


@pytest.mark.parametrize("way", WAYS)
def test_a_closed_socket_is_an_error(way: Callable[..., bool], pair: Pair):
    pair[0].close()
    with pytest.raises(ValueError, match="negative"):
        way(pair[0], read=True, timeout=0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("timeout", "error"), [("1", TypeError), (float("nan"), ValueError)])
def test_a_timeout_is_a_number(
    way: Callable[..., bool], pair: Pair, timeout: Any, error: type[Exception]
):
    with pytest.raises(error):
        way(pair[0], read=True, timeout=timeout)


@pytest.mark.parametrize("way", WAYS)
def test_a_descriptor_will_do(way: Callable[..., bool], pair: Pair):
    assert way(pair[0].fileno(), write=True, timeout=0) is True


def test_short_forms_wait_for_their_direction(pair: Pair):
    near, far = pair
    assert wait_for_write(near, timeout=0) is True
    assert wait_for_read(near, timeout=0) is False
    far.send(b"x")
    assert wait_for_read(near) is True


@pytest.fixture
def selects(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each call of select.select."""
    calls: list[int] = []
    original = select.select

    def counted(*args: Any) -> Any:
        calls.append(1)
        return original(*args)

    monkeypatch.setattr(select, "select", counted)
    return calls


def test_poll_is_preferred_and_select_is_the_other_way(
    selects: list[int], pair: Pair, monkeypatch: pytest.MonkeyPatch
):
    """eventlet removes poll() after we were imported, and after the first wait perhaps."""
    assert wait_for_write(pair[0], timeout=0)
    assert not selects
    monkeypatch.delattr(select, "poll")
    assert wait_for_write(pair[0], timeout=0)
    assert selects


def test_a_poll_that_fails_is_not_used(
    selects: list[int], pair: Pair, monkeypatch: pytest.MonkeyPatch
):
    def broken() -> Any:
        raise OSError("not today")

    monkeypatch.setattr(select, "poll", broken)
    assert wait_for_write(pair[0], timeout=0)
    assert selects


def test_a_poll_put_in_place_later_is_used(pair: Pair, monkeypatch: pytest.MonkeyPatch):
    """gevent patches the module whenever the program says so."""
    assert wait_for_write(pair[0], timeout=0)
    made = []
    original = select.poll

    def patched() -> Any:
        made.append(1)
        return original()

    monkeypatch.setattr(select, "poll", patched)
    assert wait_for_write(pair[0], timeout=0)
    assert made


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers")
@pytest.mark.parametrize("way", WAYS)
def test_a_signal_does_not_end_the_wait(way: Callable[..., bool], pair: Pair):
    """PEP 475; the handler sends what is waited for, so a wait that ended early gives False."""
    near, far = pair
    signals: list[int] = []

    def handler(number: int, frame: Any) -> None:
        signals.append(number)
        if len(signals) == 3:
            far.send(b"x")

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        assert way(near, read=True, timeout=10) is True
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(signals) >= 3


@pytest.mark.skipif(not hasattr(select, "poll"), reason="needs poll()")
def test_descriptors_beyond_1024_can_be_waited_for(pair: Pair):
    """select() refuses them, and servers with many connections have them."""
    resource = pytest.importorskip("resource")
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] <= 2000:
        pytest.skip("the system allows too few descriptors")
    os.dup2(pair[0].fileno(), 2000)
    try:
        assert wait_for_write(2000, timeout=0) is True  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="out of range"):
            select_wait_for_socket(2000, write=True, timeout=0)  # type: ignore[arg-type]
    finally:
        os.close(2000)
