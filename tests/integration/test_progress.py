"""on_upload and on_download tell how far the bodies of a call have come."""

from __future__ import annotations

import gzip
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dummyserver.script import ScriptedServer
from urllib4 import HTTPConnectionPool, PoolManager
from urllib4.connection import HTTPConnection

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LARGE = 600_000


@pytest.fixture
def pool(script: ScriptedServer) -> Iterator[HTTPConnectionPool]:
    with HTTPConnectionPool(script.host, script.port, timeout=10, retries=False) as one:
        yield one


class Calls(list[tuple[int, "int | None"]]):
    """A callback that keeps what it was told, and checks that it only goes forward."""

    def __call__(self, count: int, total: int | None) -> None:
        assert threading.current_thread() is threading.main_thread()
        assert not self or self[-1][0] < count
        self.append((count, total))


#: Bodies, their length, and what is told about it.
BODIES: dict[str, tuple[Any, int, int | None]] = {
    "small": (lambda _: b"12345", 5, 5),
    "bytes": (lambda _: b"x" * LARGE, LARGE, LARGE),
    "text": (lambda _: "ä" * 9, 18, 18),
    "iterable": (lambda _: iter([b"x" * (LARGE - 3), b"", b"xxx"]), LARGE, None),
    "reader": (lambda _: io.BytesIO(b"x" * LARGE), LARGE, None),
    "file": (lambda path: path.open("rb"), LARGE, None),
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("hooked", [False, True], ids=["plain", "hooked"])
def test_each_piece_that_was_sent_is_told(
    script: ScriptedServer, tmp_path: Path, name: str, hooked: bool
) -> None:
    class Hooked(HTTPConnection):
        def send(self, data: Any) -> None:
            super().send(data)

    class Pool(HTTPConnectionPool):
        ConnectionCls = Hooked if hooked else HTTPConnection

    script.accept().expect(b"POST").send(OK)
    path = tmp_path / "file"
    path.write_bytes(b"x" * LARGE)
    make, length, total = BODIES[name]
    calls, body = Calls(), make(path)
    with Pool(script.host, script.port, retries=False) as pool:
        assert pool.urlopen("POST", "/", body=body, on_upload=calls).data == b"ok"
    assert calls[-1][0] == length
    assert {told for _, told in calls} == {total}
    if name in ("bytes", "reader", "file"):
        assert len(calls) > 2
    if hasattr(body, "close"):
        body.close()


def test_a_form_with_a_file_knows_its_length(
    script: ScriptedServer, pool: HTTPConnectionPool, tmp_path: Path
) -> None:
    conversation = script.accept().expect(b"POST").send(OK)
    path = tmp_path / "file"
    path.write_bytes(b"x" * LARGE)
    calls = Calls()
    pool.request("POST", "/", fields={"a": path}, on_upload=calls)
    length = len(conversation.requests[0].partition(b"\r\n\r\n")[2])
    assert calls[-1] == (length, length)
    assert len(calls) > 2


def test_nothing_is_told_where_there_is_no_body(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    nothing = b"HTTP/1.1 204 No Content\r\n\r\n"
    script.accept().expect(b"GET").send(nothing)
    up, down = Calls(), Calls()
    pool.request("GET", "/", on_upload=up, on_download=down)
    assert up == down == []


def test_each_attempt_starts_at_0(script: ScriptedServer) -> None:
    script.accept().expect(b"PUT").close()
    script.accept().expect(b"PUT").send(OK)
    counts: list[int] = []
    with HTTPConnectionPool(script.host, script.port, retries=1) as pool:
        pool.urlopen("PUT", "/", body=b"12345", on_upload=lambda count, _: counts.append(count))
    assert counts == [5, 5]


def read_by(response: Any, way: str) -> bytes:
    if way == "read":
        return b"".join(iter(lambda: response.read(10_000), b""))
    if way == "read1":
        return b"".join(iter(response.read1, b""))
    if way == "readinto":
        buffer = bytearray(LARGE)
        return bytes(buffer[: response.readinto(buffer)])
    if way == "lines":
        return b"".join(response)
    return b"".join(response.stream(10_000)) if way == "stream" else response.data


CONTENT = b"line\n" * (LARGE // 5)


@pytest.mark.parametrize("framing", ["length", "chunked", "close", "gzip"])
@pytest.mark.parametrize("way", ["preload", "data", "read", "read1", "readinto", "stream", "lines"])
def test_each_piece_that_came_is_told(
    script: ScriptedServer, pool: HTTPConnectionPool, framing: str, way: str
) -> None:
    sent, head = CONTENT, b""
    if framing == "gzip":
        sent, head = gzip.compress(CONTENT), b"Content-Encoding: gzip\r\n"
    if framing == "chunked":
        wire = b"".join(b"%x\r\n%b\r\n" % (10_000, sent[i : i + 10_000])
                        for i in range(0, LARGE, 10_000))  # fmt: skip
        answer = b"Transfer-Encoding: chunked\r\n\r\n" + wire + b"0\r\n\r\n"
    elif framing == "close":
        answer = b"Connection: close\r\n\r\n" + sent
    else:
        answer = b"Content-Length: %d\r\n\r\n" % len(sent) + sent
    conversation = script.accept().expect(b"GET").send(b"HTTP/1.1 200 OK\r\n" + head + answer)
    if framing == "close":
        conversation.close()
    calls = Calls()
    response = pool.request("GET", "/", preload_content=way == "preload", on_download=calls)
    assert read_by(response, way) == CONTENT
    response.drain_conn()  # what fills a buffer of the right size has not seen the end
    total = len(sent) if framing in ("length", "gzip") else None
    assert calls[-1] == (len(sent), total)
    assert {told for _, told in calls} == {total}
    if framing != "gzip" and way != "readinto":
        assert len(calls) > 5


def test_bodies_that_are_thrown_away_do_not_count(script: ScriptedServer) -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 4\r\n\r\ngone"
    again = b"HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 4\r\n\r\nbusy"
    script.accept().expect(b"GET /a").send(moved).expect(b"GET /b").send(again).expect(
        b"GET /b"
    ).send(OK)
    calls = Calls()
    with PoolManager() as manager:
        manager.request("GET", script.url + "/a", on_download=calls)
    assert calls == [(2, 2)]


class Stop(Exception):
    pass


@pytest.mark.parametrize(
    "error", [Stop, OSError, BrokenPipeError, TimeoutError, KeyboardInterrupt, ConnectionResetError]
)
@pytest.mark.parametrize("where", ["on_upload", "preload", "stream", "after redirect"])
def test_what_a_callback_raises_ends_the_call_as_it_is(
    script: ScriptedServer, where: str, error: type[BaseException]
) -> None:
    """It is neither the network's nor retried; and the connection is in an unknown state."""
    raised = error("enough")

    def stop(count: int, total: int | None) -> None:
        raise raised

    conversation = script.accept().expect(b"PUT", body=where != "on_upload")
    if where == "after redirect":
        conversation.send(b"HTTP/1.1 307 Moved\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n")
        conversation.expect(b"PUT /b")
    if where != "on_upload":
        conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 70_000)
    script.accept().expect(b"GET").send(OK)
    name = "on_upload" if where == "on_upload" else "on_download"
    options: Any = {name: stop, "preload_content": where != "stream"}
    body = b"x" * LARGE if where == "on_upload" else b""
    with HTTPConnectionPool(script.host, script.port, timeout=10, retries=5) as pool:
        with pytest.raises(error) as caught:
            for _ in pool.urlopen("PUT", "/", body=body, **options).stream(10_000):
                pass
        assert caught.value is raised
        assert pool.request("GET", "/").data == b"ok"
        assert pool.num_connections == 2


@pytest.mark.parametrize("name", ["on_upload", "on_download"])
def test_a_callback_must_be_callable(pool: HTTPConnectionPool, name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} must be callable, not int"):
        pool.urlopen("GET", "/", **{name: 5})  # type: ignore[arg-type]
    assert pool.num_connections == 0
