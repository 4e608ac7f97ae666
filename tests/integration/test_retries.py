"""When a request is sent again, after which sleep, and when never."""

from __future__ import annotations

import http.client
import io
import os
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dummyserver.counting import CountingServer, Exchange, ok
from dummyserver.script import ScriptedServer
from dummyserver.server import DummyServer
from urllib4 import HTTPConnectionPool, PoolManager, Retry
from urllib4.exceptions import (
    MaxRetryError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    ResponseError,
    UnrewindableBodyError,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"


def busy(retry_after: str, status: str = "503 Busy") -> bytes:
    return f"HTTP/1.1 {status}\r\nRetry-After: {retry_after}\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.fixture
def pool(script: ScriptedServer) -> Iterator[HTTPConnectionPool]:
    with HTTPConnectionPool(script.host, script.port, timeout=10) as one:
        yield one


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was slept, without sleeping."""
    seconds: list[float] = []
    monkeypatch.setattr("urllib4.util.retry.time.sleep", seconds.append)
    return seconds


@pytest.fixture
def refused() -> Iterator[HTTPConnectionPool]:
    """A pool for a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with HTTPConnectionPool("127.0.0.1", port, timeout=10) as one:
        yield one


# -- connections that cannot be made ----------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_refused_connection_is_tried_again_for_every_method(
    refused: HTTPConnectionPool, method: str
) -> None:
    """Nothing was sent, so nothing can happen twice."""
    with pytest.raises(MaxRetryError) as caught:
        refused.request(method, "/", body=b"x", retries=Retry(connect=2))
    assert isinstance(caught.value.reason, NewConnectionError)
    assert caught.value.__cause__ is caught.value.reason
    assert caught.value.pool is refused
    assert caught.value.url == "/"
    assert refused.num_requests == 3
    assert list(refused.pool.queue) == [None]


@pytest.mark.parametrize("retries", [False, Retry(total=False), Retry(connect=False)])
def test_without_retries_the_error_itself_is_raised(
    refused: HTTPConnectionPool, retries: Any
) -> None:
    with pytest.raises(NewConnectionError, match="Failed to establish a new connection"):
        refused.request("GET", "/", retries=retries)
    assert refused.num_requests == 1


@pytest.mark.parametrize("retries", [0, Retry(0), Retry(connect=0), Retry(5, connect=0)])
def test_zero_retries_are_one_attempt_and_a_wrapped_error(
    refused: HTTPConnectionPool, retries: Any
) -> None:
    with pytest.raises(MaxRetryError):
        refused.request("GET", "/", retries=retries)
    assert refused.num_requests == 1


def test_the_pools_own_policy_is_the_default(refused: HTTPConnectionPool) -> None:
    refused.retries = Retry(1)
    with pytest.raises(MaxRetryError):
        refused.request("GET", "/")
    assert refused.num_requests == 2


def test_back_off_doubles_and_starts_at_the_second_retry(
    refused: HTTPConnectionPool, slept: list[float]
) -> None:
    with pytest.raises(MaxRetryError):
        refused.request("GET", "/", retries=Retry(5, backoff_factor=0.1, backoff_max=0.5))
    assert slept == pytest.approx([0.2, 0.4, 0.5, 0.5])


def test_thousands_of_retries_need_no_stack(refused: HTTPConnectionPool) -> None:
    """A loop, not recursion: the limit here is well below one frame per retry."""
    frames = 0
    frame: Any = sys._getframe()
    while frame:
        frames, frame = frames + 1, frame.f_back
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(frames + 120)
    try:
        with pytest.raises(MaxRetryError):
            refused.request("GET", "/", retries=Retry(total=3000))
    finally:
        sys.setrecursionlimit(limit)
    assert refused.num_requests == 3001


# -- answers that do not come -----------------------------------------------------------------


def test_a_get_is_sent_again_when_the_server_hangs_up(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    script.accept().expect(b"GET").close()
    script.accept().expect(b"GET").reset()
    script.accept().expect(b"GET").send(OK[:10]).close()
    script.accept().expect(b"GET").send(OK)
    response = pool.request("GET", "/", retries=Retry(read=3))
    assert response.data == b"ok"
    assert response.retries is not None
    assert [type(entry.error) for entry in response.retries.history] == [ProtocolError] * 3


def test_a_body_that_ends_early_is_asked_for_again(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    script.accept().expect(b"GET").send(OK[:-1]).close()
    script.accept().expect(b"GET").send(OK)
    assert pool.request("GET", "/", retries=1).data == b"ok"


def test_read_errors_are_counted_apart(script: ScriptedServer, pool: HTTPConnectionPool) -> None:
    script.accept().expect(b"GET").close()
    script.accept().expect(b"GET").close()
    with pytest.raises(MaxRetryError) as caught:
        pool.request("GET", "/", retries=Retry(10, connect=0, read=1))
    assert isinstance(caught.value.reason, ProtocolError)
    assert isinstance(caught.value.reason.args[1], http.client.RemoteDisconnected)


@pytest.mark.parametrize("method", ["POST", "PATCH", "BREW"])
def test_a_post_is_never_sent_twice(
    script: ScriptedServer, pool: HTTPConnectionPool, method: str
) -> None:
    """RFC 9110, 9.2.2: the server may have acted on it."""
    script.accept().expect(method.encode()).close()
    with pytest.raises(ProtocolError, match=r"Connection aborted\."):
        pool.request(method, "/", body=b"order", retries=Retry(5, status_forcelist=[503]))
    assert list(pool.pool.queue) == [None]


def test_a_post_that_timed_out_is_never_sent_twice(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    script.accept().expect(b"POST").expect_eof()
    with pytest.raises(ReadTimeoutError):
        pool.request("POST", "/", body=b"order", timeout=0.05, retries=5)


def test_a_post_is_not_sent_twice_on_a_connection_that_was_idle_either(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    """The server may have acted before it hung up."""
    script.accept().expect(b"GET").send(OK).expect(b"POST").close()
    pool.request("GET", "/")
    with pytest.raises(ProtocolError):
        pool.request("POST", "/", body=b"order", retries=5)


@pytest.mark.parametrize("allowed", [None, {"POST"}, ["POST"]])
def test_a_post_is_sent_again_if_the_policy_says_so(
    script: ScriptedServer, pool: HTTPConnectionPool, allowed: Any
) -> None:
    script.accept().expect(b"POST").close()
    script.accept().expect(re.compile(rb"\r\n\r\norder$")).send(OK)
    retries = Retry(5, allowed_methods=allowed)
    assert pool.request("POST", "/", body=b"order", retries=retries).status == 200


# -- statuses ---------------------------------------------------------------------------------


def test_a_status_of_the_list_is_asked_for_again_on_the_same_connection(
    script: ScriptedServer, pool: HTTPConnectionPool, slept: list[float]
) -> None:
    script.accept().expect(b"GET").send(BUSY).expect(b"GET").send(BUSY).expect(b"GET").send(OK)
    retries = Retry(3, status_forcelist=[503], backoff_factor=1)
    response = pool.request("GET", "/", retries=retries)
    assert response.status == 200
    assert response.retries is not None
    assert [entry.status for entry in response.retries.history] == [503, 503]
    assert slept == [2]
    assert pool.num_connections == 1


def test_a_status_asked_for_in_vain_is_an_error_or_the_answer(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    connection = script.accept()
    for _ in range(4):
        connection.expect(b"GET").send(BUSY)
    with pytest.raises(MaxRetryError, match="too many 503 error responses") as caught:
        pool.request("GET", "/", retries=Retry(status=1, status_forcelist=[503]))
    assert isinstance(caught.value.reason, ResponseError)
    retries = Retry(status=1, status_forcelist=[503], raise_on_status=False)
    response = pool.request("GET", "/", retries=retries)
    assert (response.status, response.data) == (503, b"busy")
    assert pool.num_connections == 1


def test_the_last_answer_can_be_streamed(script: ScriptedServer, pool: HTTPConnectionPool) -> None:
    script.accept().expect(b"GET").send(BUSY).expect(b"GET").send(BUSY)
    retries = Retry(1, status_forcelist=[503], raise_on_status=False)
    response = pool.request("GET", "/", retries=retries, preload_content=False)
    assert response.read() == b"busy"


def test_a_status_is_not_retried_for_other_methods(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    script.accept().expect(b"POST").send(BUSY)
    response = pool.request("POST", "/", body=b"x", retries=Retry(3, status_forcelist=[503]))
    assert response.status == 503


def test_the_body_of_an_answer_that_is_thrown_away_is_not_downloaded(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    """Only so much that the connection may be kept; here there is no end of it."""
    large = script.accept().expect(b"GET")
    large.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 100000000\r\n\r\n")
    large.flood(b"x" * 65536, limit=100_000_000)
    script.accept().expect(b"GET").send(OK)
    assert pool.request("GET", "/", retries=Retry(1, status_forcelist=[503])).status == 200
    script.close()
    assert large.bytes_flooded < 20_000_000  # what the buffers of two kernels may hold


# -- Retry-After ------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["413 Too Large", "429 Too Many", "503 Busy"])
def test_retry_after_is_slept(
    script: ScriptedServer, pool: HTTPConnectionPool, slept: list[float], status: str
) -> None:
    script.accept().expect(b"GET").send(busy("7", status)).expect(b"GET").send(OK)
    assert pool.request("GET", "/", retries=1).status == 200
    assert slept == [7]


def test_retry_after_counts_without_a_total(
    script: ScriptedServer, pool: HTTPConnectionPool, slept: list[float]
) -> None:
    script.accept().expect(b"GET").send(busy("7")).expect(b"GET").send(OK)
    assert pool.request("GET", "/", retries=Retry(total=None, status=1)).status == 200
    assert slept == [7]


def test_retry_after_has_an_upper_limit(
    script: ScriptedServer, pool: HTTPConnectionPool, slept: list[float]
) -> None:
    script.accept().expect(b"GET").send(busy("9" * 30)).expect(b"GET").send(OK)
    pool.request("GET", "/", retries=Retry(1, retry_after_max=60))
    assert slept == [60]


@pytest.mark.parametrize(
    "value", ["soon", "-1", "1.5", "9" * 5000, "Fri, 31 Dec 99999 23:59:59 GMT", "\xb2", ""]
)
def test_a_retry_after_that_makes_no_sense_breaks_nothing(
    script: ScriptedServer, pool: HTTPConnectionPool, slept: list[float], value: str
) -> None:
    """It is the server's; what cannot be understood is as good as absent."""
    answer = b"HTTP/1.1 503 Busy\r\nRetry-After: %b\r\nContent-Length: 0\r\n\r\n"
    script.accept().expect(b"GET").send(answer % value.encode("latin-1")).expect(b"GET").send(OK)
    retries = Retry(1, status_forcelist=[503], retry_after_max=60)
    assert pool.request("GET", "/", retries=retries).status == 200
    assert all(seconds <= 60 for seconds in slept)


def test_retry_after_is_ignored_where_that_is_asked_for(
    script: ScriptedServer, pool: HTTPConnectionPool, slept: list[float]
) -> None:
    script.accept().expect(b"GET").send(busy("7"))
    retries = Retry(1, respect_retry_after_header=False)
    assert pool.request("GET", "/", retries=retries).status == 503
    assert slept == []


def test_retry_after_of_a_redirect_is_slept(
    script: ScriptedServer, pool: HTTPConnectionPool, slept: list[float]
) -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: /b\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n"
    script.accept().expect(b"GET /a").send(moved).expect(b"GET /b").send(OK)
    assert pool.request("GET", "/a").status == 200
    assert slept == [3]


# -- bodies that are sent again ---------------------------------------------------------------


class Hidden:
    """A file that is nothing but read()."""

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)


def pipe() -> Any:
    reader, writer = os.pipe()
    os.write(writer, b"piped")
    os.close(writer)
    return open(reader, "rb")


ONE_SHOT: dict[str, Callable[[], Any]] = {
    "generator": lambda: (piece for piece in [b"a", b"b"]),
    "iterator": lambda: iter([b"a", b"b"]),
    "read only": lambda: Hidden(b"content"),
    "map": lambda: map(bytes, [b"a"]),
    "pipe": pipe,
}


@pytest.mark.parametrize("kind", ONE_SHOT)
def test_a_body_that_was_used_up_is_an_error_not_an_empty_body(
    script: ScriptedServer, pool: HTTPConnectionPool, kind: str
) -> None:
    script.accept().expect(b"PUT").close()
    body = ONE_SHOT[kind]()
    with pytest.raises(UnrewindableBodyError):
        pool.request("PUT", "/", body=body, retries=3)
    if hasattr(body, "close"):
        body.close()
    assert list(pool.pool.queue) == [None]


@pytest.mark.parametrize("kind", ONE_SHOT)
def test_a_body_that_was_used_up_is_an_error_after_a_status_too(
    script: ScriptedServer, kind: str
) -> None:
    script.accept().expect(b"PUT").send(BUSY)
    body = ONE_SHOT[kind]()
    with (
        PoolManager(retries=Retry(3, status_forcelist=[503])) as manager,
        pytest.raises(UnrewindableBodyError),
    ):
        manager.request("PUT", script.url, body=body)
    if hasattr(body, "close"):
        body.close()


def test_a_one_shot_body_is_untouched_where_nothing_was_sent(refused: HTTPConnectionPool) -> None:
    """The connection could not be made: the body can still be sent."""
    body = iter([b"a", b"b"])
    with pytest.raises(MaxRetryError):
        refused.request("PUT", "/", body=body, retries=2)
    assert list(body) == [b"a", b"b"]


REPLAYABLE: dict[str, Callable[[], Any]] = {
    "bytes": lambda: b"content",
    "text": lambda: "content",
    "list": lambda: [b"con", "tent"],
    "tuple": lambda: (b"con", b"tent"),
    "memoryview": lambda: memoryview(b"content"),
    "file": lambda: io.BytesIO(b"content"),
    "text file": lambda: io.StringIO("content"),
}


def unchunked(request: bytes) -> bytes:
    return re.sub(rb"(?:^|\r\n)[0-9a-f]+\r\n", b"", request.partition(b"\r\n\r\n")[2]).strip()


@pytest.mark.parametrize("kind", REPLAYABLE)
def test_a_body_that_can_be_sent_again_is_sent_whole(
    script: ScriptedServer, pool: HTTPConnectionPool, kind: str
) -> None:
    script.accept().expect(b"PUT").close()
    script.accept().expect(b"PUT").send(BUSY).expect(b"PUT").send(OK)
    retries = Retry(3, status_forcelist=[503])
    assert pool.request("PUT", "/", body=REPLAYABLE[kind](), retries=retries).status == 200
    assert [unchunked(request) for request in script.requests] == [b"content"] * 3


def test_a_file_is_sent_again_from_where_it_stood(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    file = io.BytesIO(b"--content")
    file.seek(2)
    script.accept().expect(b"PUT").close()
    script.accept().expect(b"PUT").send(OK)
    pool.request("PUT", "/", body=file, retries=1)
    assert [unchunked(request) for request in script.requests] == [b"content"] * 2


def test_a_file_that_does_not_seek_is_an_error_when_it_has_to(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    class Stuck(io.BytesIO):
        def seek(self, *args: Any) -> int:
            raise OSError("stuck")

    script.accept().expect(b"PUT").close()
    with pytest.raises(UnrewindableBodyError, match="rewinding"):
        pool.request("PUT", "/", body=Stuck(b"x"), retries=1)


# -- many at once -----------------------------------------------------------------------------


def test_two_threads_count_their_retries_apart() -> None:
    """A policy is a value: requests that share it do not use up each other's attempts."""
    both = threading.Barrier(2)

    def answer(exchange: Exchange) -> bytes:
        both.wait(10)
        return ok(status="503 Busy")

    retries = Retry(2, status_forcelist=[503])
    with CountingServer(answer) as server, HTTPConnectionPool(server.host, server.port) as pool:
        errors = []

        def request() -> None:
            with pytest.raises(MaxRetryError) as caught:
                pool.request("GET", "/", retries=retries)
            errors.append(caught.value)

        threads = [threading.Thread(target=request) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(errors) == 2
        assert len(server.exchanges) == 6


def test_a_manager_retries_like_a_pool(server: DummyServer) -> None:
    with PoolManager(retries=Retry(3, status_forcelist=[503])) as manager:
        url = f"{server.http_url}/successful_retry?key=manager-retries&fail=2"
        response = manager.request("GET", url)
    assert response.json() == {"attempts": 3}
    assert response.retries is not None
    assert len(response.retries.history) == 2
