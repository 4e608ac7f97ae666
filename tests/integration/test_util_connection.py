"""How a socket gets connected: names, families, addresses in turn, one bound for all of them."""

from __future__ import annotations

import errno
import gc
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from urllib4 import CancelToken
from urllib4.exceptions import LocationParseError
from urllib4.util import connection
from urllib4.util.connection import create_connection, is_connection_dropped


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def refused() -> Iterator[int]:
    """A port where nobody listens: bound, so that nobody else gets it meanwhile."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def addresses(*ports: int) -> list[Any]:
    return [
        (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))
        for port in ports
    ]


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes every name have the given ports of 127.0.0.1 as its addresses."""

    def to(*ports: int) -> None:
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args: addresses(*ports))

    return to


class Clock:
    def __init__(self, *times: float) -> None:
        self._times = list(times)

    def __call__(self) -> float:
        return self._times.pop(0) if len(self._times) > 1 else self._times[0]


class Recorder(socket.socket):
    """Notes each attempt with its timeout; attempts at a "dead" port time out."""

    made: list[Recorder]
    dead: set[int]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.calls: list[Any] = []
        self.made.append(self)

    def setsockopt(self, *args: Any) -> None:
        self.calls.append("setsockopt")
        super().setsockopt(*args)

    def bind(self, address: Any) -> None:
        self.calls.append("bind")
        super().bind(address)

    def connect(self, address: Any) -> None:
        self.calls.append(("connect", self.gettimeout()))
        if address[1] in self.dead:
            raise TimeoutError("timed out")
        super().connect(address)


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> type[Recorder]:
    Recorder.made, Recorder.dead = [], set()
    monkeypatch.setattr(socket, "socket", Recorder)
    return Recorder


# -- the plain case --------------------------------------------------------------------------------


def test_a_connected_socket_with_the_timeout_is_returned(listener: socket.socket) -> None:
    with create_connection(listener.getsockname(), 7.5) as sock:
        assert sock.getpeername() == listener.getsockname()
        assert sock.gettimeout() == 7.5
    with create_connection(listener.getsockname(), None) as sock:
        assert sock.gettimeout() is None


def test_the_default_timeout_is_that_of_the_socket_module(listener: socket.socket) -> None:
    socket.setdefaulttimeout(4.5)
    try:
        with create_connection(listener.getsockname()) as sock:
            assert sock.gettimeout() == 4.5
    finally:
        socket.setdefaulttimeout(None)


def test_brackets_are_no_part_of_an_address() -> None:
    if not connection.HAS_IPV6:
        pytest.skip("no IPv6 here")
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        port = server.getsockname()[1]
        with create_connection(("[::1]", port), 5) as sock:
            assert sock.getpeername()[:2] == ("::1", port)


def test_options_are_set_before_anything_else(
    listener: socket.socket, sockets: type[Recorder]
) -> None:
    """Buffer sizes, marks and the like have no effect, or another one, once connected."""
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    with create_connection(
        listener.getsockname(), 5, ("127.0.0.1", 0), options, clock=Clock(0.0)
    ) as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sockets.made[0].calls == ["setsockopt", "bind", ("connect", 5.0)]


def test_the_source_address_is_used(listener: socket.socket) -> None:
    with create_connection(listener.getsockname(), 5, source_address=("127.0.0.2", 0)) as sock:
        assert sock.getsockname()[0] == "127.0.0.2"


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["a..b", ".a", "x" * 64, "a." + "x" * 64, "é" * 64])
def test_labels_that_no_name_can_have_are_refused(host: str) -> None:
    with pytest.raises(
        LocationParseError, match=r"^Failed to parse: '.*', label empty or too long$"
    ):
        create_connection((host, 80))


@pytest.mark.parametrize("host", ["localhost", "localhost.", "x" * 63 + ".", "é.example", "::1"])
def test_other_labels_reach_the_resolver(host: str, resolve: Any, refused: int) -> None:
    resolve(refused)
    with pytest.raises(ConnectionRefusedError):
        create_connection((host, 80))


def test_the_family_is_looked_up_at_each_call(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs replace the function, or set HAS_IPV6, to force IPv4."""
    asked: list[int] = []
    original = socket.getaddrinfo

    def spy(host: str, port: int, family: int, kind: int) -> Any:
        asked.append(family)
        return original(host, port, socket.AF_INET, kind)

    monkeypatch.setattr(socket, "getaddrinfo", spy)
    for has_ipv6 in (True, False):
        monkeypatch.setattr(connection, "HAS_IPV6", has_ipv6)
        create_connection(listener.getsockname(), 5).close()
    monkeypatch.setattr(connection, "allowed_gai_family", lambda: 12345)
    create_connection(listener.getsockname(), 5).close()
    assert asked == [socket.AF_UNSPEC, socket.AF_INET, 12345]


@pytest.mark.parametrize(
    ("host", "family"),
    [("127.0.0.1", None), ("127.0.0.1", socket.AF_INET), ("127.1", None), ("localhost", None),
     ("127.0.0.1", socket.AF_INET6), ("1.2.3.4.example", None), ("127.0.0.256", None)],
)  # fmt: skip
def test_what_is_known_of_an_address_is_what_the_resolver_says(
    host: str, family: int | None
) -> None:
    """The resolver need not be asked for it."""
    known = connection._ipv4(host, 80, family)
    if known is not None:
        assert known == socket.getaddrinfo(host, 80, family or 0, socket.SOCK_STREAM)
    assert (known is not None) == (host == "127.0.0.1" and family != socket.AF_INET6)


@pytest.mark.parametrize("port", ["http", "80", True, -1, 65536])
def test_an_odd_port_is_the_resolvers_business(port: Any) -> None:
    assert connection._ipv4("127.0.0.1", port, None) is None


def test_auditors_see_that_an_address_was_looked_up(listener: socket.socket) -> None:
    """As :func:`socket.getaddrinfo` tells them."""
    seen: list[Any] = []
    watching = [True]

    def audit(event: str, args: tuple[Any, ...]) -> None:
        if watching and event in ("socket.getaddrinfo", "socket.connect"):
            seen.append((event, args[-1] if event == "socket.connect" else args))

    sys.addaudithook(audit)
    address = listener.getsockname()
    create_connection(address, 5).close()
    ours, seen = seen[:], []
    with socket.socket() as sock:
        sock.connect(socket.getaddrinfo(*address, socket.AF_UNSPEC, socket.SOCK_STREAM)[0][4])
    watching.clear()
    assert len(ours) == 2
    assert ours == seen


def test_has_ipv6_tells_whether_an_address_can_be_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not connection._has_ipv6("2001:db8::1")
    monkeypatch.setattr(socket, "has_ipv6", False)
    assert not connection._has_ipv6("::1")


def test_an_unknown_name_is_the_resolvers_error() -> None:
    with pytest.raises(socket.gaierror):
        create_connection(("name.invalid", 80), 5)


def test_no_address_at_all_is_an_error(resolve: Any) -> None:
    resolve()
    with pytest.raises(OSError, match=r"^getaddrinfo returns an empty list$"):
        create_connection(("localhost", 80))


# -- several addresses -----------------------------------------------------------------------------


def test_the_next_address_is_tried(resolve: Any, refused: int, listener: socket.socket) -> None:
    resolve(refused, listener.getsockname()[1])
    with create_connection(("localhost", 80), 5) as sock:
        assert sock.getpeername() == listener.getsockname()


def test_the_last_error_is_raised_and_all_sockets_are_closed(
    resolve: Any, refused: int, sockets: type[Recorder]
) -> None:
    resolve(refused, refused)
    with pytest.raises(ConnectionRefusedError):
        create_connection(("localhost", 80), 5)
    assert [sock.fileno() for sock in sockets.made] == [-1, -1]


def test_the_error_refers_to_no_cycle(resolve: Any, refused: int) -> None:
    """A cycle would keep frames, with whatever they hold, until the next collection."""
    resolve(refused)
    gc.collect()
    gc.disable()
    try:
        with suppress(ConnectionRefusedError):
            create_connection(("localhost", 80), 5)
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_an_interrupt_closes_the_socket(
    listener: socket.socket, sockets: type[Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: Recorder, address: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sockets, "connect", interrupted)
    with pytest.raises(KeyboardInterrupt):
        create_connection(listener.getsockname(), 5)
    assert sockets.made[0].fileno() == -1


def test_a_failing_option_closes_the_socket(
    listener: socket.socket, sockets: type[Recorder]
) -> None:
    with pytest.raises(OSError) as caught:
        create_connection(listener.getsockname(), 5, socket_options=[(socket.SOL_SOCKET, 9999, 1)])
    assert caught.value.errno in (errno.ENOPROTOOPT, errno.EINVAL)
    assert sockets.made[0].fileno() == -1


# -- one bound for the lookup and the address ------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "unknown.invalid"])
def test_a_name_is_looked_up_where_no_thread_can_be_started(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """Some versions of Python refuse it in what runs at exit, and any does beyond the limit."""

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", start)
    address = host, listener.getsockname()[1]
    for options in ({"timeout": 20}, {"cancel": CancelToken()}):
        if host == "localhost":
            create_connection(address, socket_family=socket.AF_INET, **options).close()
        else:
            with pytest.raises(socket.gaierror):
                create_connection(address, **options)


def test_what_the_lookup_took_is_gone(resolve: Any, listener: Any, sockets: type[Recorder]) -> None:
    resolve(listener.getsockname()[1])
    with create_connection(("localhost", 80), 30.0, clock=Clock(100.0, 112.0)) as sock:
        assert sockets.made[0].calls == [("connect", 18.0)]
        assert sock.gettimeout() == 30.0


@pytest.mark.parametrize("number", [1, 2])
def test_no_address_is_tried_when_the_time_is_over(
    resolve: Any, refused: int, sockets: type[Recorder], number: int
) -> None:
    resolve(*[refused] * number)
    with pytest.raises(TimeoutError, match=r"^timed out$"):
        create_connection(("localhost", 80), 3.0, clock=Clock(0.0, 4.0))
    assert [sock.calls for sock in sockets.made if sock.calls] == []
    assert {sock.fileno() for sock in sockets.made} <= {-1}


def test_without_a_timeout_there_is_no_bound(
    resolve: Any, listener: socket.socket, sockets: type[Recorder]
) -> None:
    resolve(listener.getsockname()[1])
    create_connection(("localhost", 80), None, clock=Clock(0.0, 1e9)).close()
    assert [sock.calls for sock in sockets.made] == [[("connect", None)]]


# -- dropped ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("connected", [True, False])
def test_dropped_is_the_opposite_of_connected(connected: bool) -> None:
    class Connection:
        is_connected = connected

    assert is_connection_dropped(Connection()) is not connected
