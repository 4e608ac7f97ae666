"""Phases are measured apart from each other, and from telling about them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from urllib4._cli.watch import Watch, times_text


class Clock:
    """Moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_phase_inside_another_counts_for_itself_only() -> None:
    clock = Clock()
    watch = Watch(lambda mark, text: None, clock=clock)
    with watch.phase("TLS"):
        clock.now += 1
        with watch.phase("lookup and connect"):
            clock.now += 10
        clock.now += 1
    assert watch.running().seconds == {"lookup and connect": 10.0, "TLS": 2.0}


def test_telling_takes_no_time() -> None:
    """A slow terminal is not a slow server."""
    clock = Clock()

    def tell(mark: str, text: str) -> None:
        clock.now += 100

    watch = Watch(tell, clock=clock)
    with watch.phase("send"):
        clock.now += 1
        watch.remark("something")
    assert watch.running().seconds == {"send": 1.0}


def test_there_is_no_tls_phase_without_tls() -> None:
    """What connecting takes besides its steps is a handshake only if there is one."""
    clock = Clock()
    watch = Watch(lambda mark, text: None, clock=clock)
    with watch.phase("TLS"):
        clock.now += 1
    watch.secured(SimpleNamespace(sock=object()))
    assert watch.running().seconds == {}


def test_an_error_ends_an_exchange() -> None:
    watch = Watch(lambda mark, text: None)
    first = watch.running()
    with pytest.raises(OSError), watch.phase("send"):
        raise OSError
    assert watch.running() is not first


def test_the_head_of_a_request_is_told_once_it_is_complete_and_without_secrets() -> None:
    told = []
    watch = Watch(lambda mark, text: told.append(f"{mark} {text}"))
    watch.sent(b"GET / HTTP/1.1\r\nCookie: s3")
    watch.sent(b"cret\r\n\r\nbody")
    watch.sent(b"more body\r\n\r\n")
    assert told == ["> GET / HTTP/1.1", "> Cookie: ***", "> "]


def test_secrets_are_told_on_demand() -> None:
    told = []
    watch = Watch(lambda mark, text: told.append(text), show_secrets=True)
    watch.sent(b"GET / HTTP/1.1\r\nCookie: a=b:c\r\n\r\n")
    assert told[1] == "Cookie: a=b:c"


def test_the_request_behind_a_tunnel_is_told_too() -> None:
    told = []
    watch = Watch(lambda mark, text: told.append(text))
    watch.sent(b"CONNECT h:443 HTTP/1.1\r\n\r\n")
    watch.sent(b"GET / HTTP/1.1\r\n\r\n")
    assert told == ["CONNECT h:443 HTTP/1.1", "", "GET / HTTP/1.1", ""]


def test_phases_that_did_not_take_place_are_left_out() -> None:
    assert times_text({"wait": 0.002, "send": 1.5, "TLS": 0.0}) == "send 1.50 s, wait 2.0 ms"
