"""Whoever hooks a step of ``http.client.HTTPConnection`` sees the whole request pass.

Tracers replace the methods on the standard class, other libraries on ours, in a subclass or on
one object.  The socket is a recording; over real ones see ``test_hooked_connections.py``.
"""

from __future__ import annotations

import http.client
import io
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from urllib4.connection import HTTPConnection

STEPS = ("putrequest", "putheader", "endheaders", "send", "_send_output", "getresponse")
PLACES = ("standard class", "our class", "subclass", "instance")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

#: What a body may be: made anew for each request, since some can be sent only once.
BODIES: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "small": lambda: b"small",
    "text": lambda: "grün",
    "large": lambda: b"x" * 600_000,
    "file": lambda: io.BytesIO(b"f" * 40_000),
    "iterator": lambda: iter([b"one", "", "two", bytearray(b"three")]),
}


class RecordingSocket:
    """Keeps what is sent and answers each request at once."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self._timeout: float | None = None

    def sendall(self, data: Any) -> None:
        self.sent += data

    def recv_into(self, view: memoryview) -> int:
        view[: len(ANSWER)] = ANSWER
        return len(ANSWER)

    def makefile(self, mode: str, buffering: int = -1) -> io.BytesIO:
        return io.BytesIO(ANSWER)

    def gettimeout(self) -> float | None:
        return self._timeout

    def settimeout(self, timeout: float | None) -> None:
        self._timeout = timeout

    def close(self) -> None:
        pass


class Connection(HTTPConnection):
    """Connects to a :class:`RecordingSocket`."""

    def _new_conn(self) -> Any:
        return RecordingSocket()


class Hook:
    """Takes the place of one step and lets it happen, with a note of the arguments."""

    def __init__(self, original: Callable[..., Any]) -> None:
        self.original = original
        self.calls: list[tuple[Any, ...]] = []

    def method(self) -> Callable[..., Any]:
        def step(conn: Any, *args: Any, **kwargs: Any) -> Any:
            self.calls.append(args)
            return self.original(conn, *args, **kwargs)

        return step


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> str:
    """Where a hook is put."""
    return str(request.param)


def hooked(step: str, place: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Connection, Hook]:
    """Return a connection with one step hooked, and the hook."""
    if place == "standard class":
        hook = Hook(getattr(http.client.HTTPConnection, step))
        monkeypatch.setattr(http.client.HTTPConnection, step, hook.method())
    elif place == "our class":
        hook = Hook(getattr(HTTPConnection, step))
        monkeypatch.setattr(HTTPConnection, step, hook.method(), raising=False)
    else:
        hook = Hook(getattr(Connection, step))
    if place == "subclass":
        subclass = type("Subclass", (Connection,), {step: hook.method()})
        return subclass("example.test"), hook
    conn = Connection("example.test")
    if place == "instance":
        setattr(conn, step, hook.method().__get__(conn))
    return conn, hook


def exchange(conn: HTTPConnection, body: Any, **options: Any) -> bytes:
    """Send one request, check the answer and return what was sent."""
    if conn.sock is not None:
        conn.sock.sent.clear()
    conn.request("POST", "/path?q", body=body, headers={"X-One": "1", "x-two": "2"}, **options)
    response = conn.getresponse()
    assert (response.status, response.data) == (200, b"ok")
    return bytes(conn.sock.sent)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("step", STEPS)
def test_a_hooked_step_sees_the_request_which_stays_the_same(
    step: str, place: str, kind: str, chunked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = exchange(Connection("example.test"), BODIES[kind](), chunked=chunked)
    conn, hook = hooked(step, place, monkeypatch)

    for _ in range(2):  # also when the connection is used again
        hook.calls.clear()
        sent = exchange(conn, BODIES[kind](), chunked=chunked)

        assert sent == expected
        assert_seen(step, hook, sent)


def assert_seen(step: str, hook: Hook, sent: bytes) -> None:
    head = sent.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    if step == "putrequest":
        assert [call[:2] for call in hook.calls] == [("POST", "/path?q")]
    elif step == "putheader":
        wanted = [line.partition(":")[0] for line in head[1:]]
        assert [call[0] for call in hook.calls] == wanted
    elif step == "send":
        assert b"".join(bytes(call[0]) for call in hook.calls) == sent
    else:
        assert len(hook.calls) == 1


@pytest.mark.parametrize("step", STEPS)
def test_a_hook_that_comes_and_goes_later_is_noticed(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tracers are often switched on when connections are in use already."""
    conn = Connection("example.test")
    exchange(conn, b"body")
    hook = Hook(getattr(http.client.HTTPConnection, step))
    with monkeypatch.context() as patch:
        patch.setattr(http.client.HTTPConnection, step, hook.method())
        exchange(conn, b"body")
        seen = len(hook.calls)
        assert seen > 0
    exchange(conn, b"body")

    assert len(hook.calls) == seen


def test_without_hooks_head_and_small_body_are_one_write() -> None:
    """What the detour for hooks must not cost: one packet, not two."""
    writes = []

    class Socket(RecordingSocket):
        def sendall(self, data: Any) -> None:
            writes.append(bytes(data))
            super().sendall(data)

    class Unhooked(HTTPConnection):
        def _new_conn(self) -> Any:
            return Socket()

    sent = exchange(Unhooked("example.test"), b"small body")

    assert writes == [sent]


NAMES = st.sampled_from(["X-A", "Accept", "Accept-Encoding", "Host", "User-Agent", "TE"])
VALUES = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=8)


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "HEAD", "PURGE"]),
    target=st.sampled_from(["/", "/a?b=%20", "http://other.test:81/x", "*"]),
    headers=st.dictionaries(NAMES, VALUES.map(str.strip), max_size=4),
    body=st.none() | st.binary(max_size=40) | st.lists(st.binary(max_size=9), max_size=3),
    chunked=st.booleans(),
    host=st.sampled_from(["example.test", "127.0.0.1", "::1", "bücher.example", "dot.test."]),
    port=st.sampled_from([None, 80, 8080]),
)
def test_both_routes_write_the_same(
    method: str, target: str, headers: dict[str, str], body: Any, chunked: bool, host: str,
    port: int | None,
) -> None:  # fmt: skip
    class BySteps(Connection):
        def send(self, data: Any) -> None:
            super().send(data)

    written = []
    for cls in (Connection, BySteps):
        conn = cls(host, port)
        conn.request(method, target, body=body, headers=headers, chunked=chunked)
        written.append(bytes(conn.sock.sent))

    assert written[0] == written[1]


@pytest.mark.parametrize("place", ["subclass", "instance"])
def test_an_error_in_a_hook_reaches_the_caller(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    conn, hook = hooked("endheaders", place, monkeypatch)

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise PermissionError("not allowed")

    hook.original = refuse
    with pytest.raises(PermissionError, match="not allowed"):
        conn.request("GET", "/")
    assert conn.sock is None or not conn.sock.sent


def test_a_replaced_ssl_wrap_socket_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """httpretty puts its own function in the place of the one in urllib4.connection."""
    from urllib4 import connection

    seen: dict[str, object] = {}

    def replacement(**options: object) -> object:
        seen.update(options)
        return options["sock"]

    conn = connection.HTTPSConnection("example.com", cert_reqs="CERT_REQUIRED", ca_certs="bundle")
    monkeypatch.setattr(connection, "ssl_wrap_socket", replacement)
    monkeypatch.setattr(conn, "_new_conn", FakeSocket)
    conn.connect()
    assert seen["server_hostname"] == "example.com"
    assert seen["ca_certs"] == "bundle"
    assert conn.is_verified


class FakeSocket:
    """Just enough of a socket to connect with."""

    def gettimeout(self) -> None:
        return None

    def close(self) -> None:
        return None
