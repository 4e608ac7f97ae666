"""A server and clients that behave badly in all ways they know, chosen by a seed."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import random
import socket
import struct
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dummyserver.threaded import End, RequestReader, ThreadedServer
from urllib4 import CancelToken, HTTPConnectionPool, Timeout
from urllib4.connection import HTTPConnection
from urllib4.exceptions import HTTPError

#: Seconds that all threads of one test may take together.
PATIENCE = 50.0

#: How the server answers; each answer names the request that it belongs to.
SERVER_BEHAVIOURS = (
    "length", "chunked", "until-close", "interim", "slow", "surplus", "short", "cut-chunk", "reset",
    "garbage", "silent-close", "empty", "says-close", "lies-about-close", "many-lines", "redirect",
)  # fmt: skip

#: Those after which the client must have its answer, whole and right, unless it gives up itself.
GOOD = frozenset(
    ("length", "chunked", "until-close", "interim", "slow", "surplus", "empty", "says-close",
     "lies-about-close", "many-lines", "redirect")
)  # fmt: skip


class HostileServer(ThreadedServer):
    """Answers ``/<behaviour>/<tag>`` in that way; the tag is in a field and, often, in the body."""

    def serve(self, number: int, end: End) -> None:
        reader = RequestReader(end)
        while (request := reader.read()) is not None:
            target = request[0].split(b" ", 2)[1].decode()
            _, behaviour, tag = target.split("/", 2)
            answer, goes_on = reply(behaviour, tag)
            if behaviour == "slow":
                for at in range(0, len(answer), 7):
                    end.sendall(answer[at : at + 7])
                    time.sleep(0.0003)
            else:
                end.sendall(answer)
            if behaviour == "reset" and isinstance(end, socket.socket):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if not goes_on:
                return


def body_for(tag: str) -> bytes:
    return tag.encode() * 40


def reply(behaviour: str, tag: str) -> tuple[bytes, bool]:
    """Return what is sent, and whether the connection stays open then."""
    body = body_for(tag)
    field = b"X-Tag: %b\r\n" % tag.encode()
    head = b"HTTP/1.1 200 OK\r\n" + field
    length = b"Content-Length: %d\r\n\r\n" % len(body)
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(body[i : i + 9]), body[i : i + 9]) for i in
                      range(0, len(body), 9))  # fmt: skip
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks
    answers = {
        "chunked": (chunked + b"0\r\n\r\n", True),
        "until-close": (head + b"\r\n" + body, False),
        "interim": (b"HTTP/1.1 103 Early\r\nX-Tag: no\r\n\r\n" * 3 + head + length + body, True),
        "surplus": (head + length + body + b"HTTP/1.1 200 OK\r\nX-Tag: surplus\r\n\r\n", True),
        "short": (head + length + body[:-9], False),
        "cut-chunk": (chunked, False),
        "reset": (head + length + body[:50], False),
        "garbage": (b"\x16\x03\x01 garbage " + body + b"\r\n\r\n", False),
        "silent-close": (b"", False),
        "empty": (b"HTTP/1.1 204 No Content\r\n" + field + b"\r\n", True),
        "says-close": (head + b"Connection: close\r\n" + length + body, False),
        "lies-about-close": (head + b"Connection: close\r\n" + length + body, True),
        "many-lines": (head + b"X-Line: x\r\n" * 50 + length + body, True),
        "redirect": (
            b"HTTP/1.1 302 Found\r\nLocation: /length/%b\r\nContent-Length: 4\r\n\r\ngone"
            % tag.encode(),
            True,
        ),
    }
    return answers.get(behaviour, (head + length + body, True))


class Counted(HTTPConnection):
    """Knows how many connections of its class have a socket at the same time.

    A server sees the end of a connection a moment late, so the limit is watched from here.
    """

    lock: threading.Lock  # guards the two numbers
    open: int
    peak: int

    def _new_conn(self) -> Any:
        cls = type(self)
        with cls.lock:
            cls.open += 1
            cls.peak = max(cls.peak, cls.open)
        try:
            return super()._new_conn()
        except BaseException:
            with cls.lock:
                cls.open -= 1
            raise

    def close(self) -> None:
        sock = self.sock
        super().close()
        if sock is not None and self.sock is None:
            with self.lock:
                type(self).open -= 1


def counting_class() -> type[Counted]:
    return type("FreshlyCounted", (Counted,), {"lock": threading.Lock(), "open": 0, "peak": 0})


class Boom(Exception):
    """Raised by the program in the middle of things."""


class Client:
    """One thread's traffic.

    :param pool: a pool, or a manager (then with the URL of the server in front of targets).
    :param tolerated: what may be raised besides the peer's errors.
    """

    def __init__(
        self,
        pool: Any,
        counts: Counter[str],
        seed: int,
        *,
        urls: tuple[str, ...] = ("",),
        tolerated: tuple[type[Exception], ...] = (),
    ) -> None:
        self.pool = pool
        self.counts = counts
        self.chance = random.Random(seed)
        self.urls = urls
        self.seed = seed
        self.tolerated = tolerated

    def work(self, requests: int) -> None:
        ends = [
            self.read, self.read, self.stream, self.close_unread, self.release_unread, self.forget,
            self.forget_in_a_cycle, self.fail_in_the_loop, self.cancel, self.cancel_while_reading,
            self.tiny_timeout, self.tiny_deadline, self.fail_in_the_upload,
        ]  # fmt: skip
        for number in range(requests):
            self.behaviour = self.chance.choice(SERVER_BEHAVIOURS)
            self.tag = f"{self.seed}-{number}"
            self.target = f"{self.chance.choice(self.urls)}/{self.behaviour}/{self.tag}"
            end = self.chance.choice(ends)
            try:
                end()
                outcome = "answered"
            except Boom:
                outcome = "stopped by the program"
            except self.tolerated as error:
                outcome = type(error).__name__
            except HTTPError:
                if self.behaviour in GOOD and end in (self.read, self.stream):
                    raise
                outcome = "failed"
            self.counts[outcome] += 1

    def request(self, **options: Any) -> Any:
        response = self.pool.request("GET", self.target, retries=2, **options)
        assert response.headers["X-Tag"] == self.tag, "an answer to another request"
        return response

    def check(self, content: bytes) -> None:
        expected = b"" if self.behaviour == "empty" else body_for(self.tag)
        assert content == expected, "a body of another request"

    def read(self) -> None:
        self.check(self.request().data)

    def stream(self) -> None:
        response = self.request(preload_content=False)
        self.check(b"".join(response.stream(self.chance.choice([1, 7, 64, None]))))

    def close_unread(self) -> None:
        self.request(preload_content=False).close()

    def release_unread(self) -> None:
        response = self.request(preload_content=False)
        response.read(self.chance.randrange(20))
        response.release_conn()

    def forget(self) -> None:
        self.request(preload_content=False).read(3)

    def forget_in_a_cycle(self) -> None:
        response = self.request(preload_content=False)
        response.myself = response

    def fail_in_the_loop(self) -> None:
        for _ in self.request(preload_content=False).stream(5):
            if self.chance.random() < 0.3:
                raise Boom

    def cancel(self) -> None:
        token = CancelToken()
        with canceller(token, self.chance.random() * 0.004):
            self.check(self.request(cancel=token).data)

    def cancel_while_reading(self) -> None:
        token = CancelToken()
        response = self.request(preload_content=False, cancel=token)
        with canceller(token, self.chance.random() * 0.002):
            self.check(b"".join(response.stream(3)))

    def tiny_timeout(self) -> None:
        timeout = self.chance.choice([0.0005, 0.002, 0.01])
        self.check(self.request(timeout=timeout, pool_timeout=self.chance.choice([0, 0.01])).data)

    def tiny_deadline(self) -> None:
        timeout = Timeout(deadline=self.chance.choice([0.0005, 0.002, 0.02]))
        response = self.request(timeout=timeout, preload_content=False)
        self.check(response.read())

    def fail_in_the_upload(self) -> None:
        def body() -> Iterator[bytes]:
            yield b"x" * 10
            raise Boom

        self.pool.request(
            "POST", self.target, body=body(), headers={"Content-Length": "20"}, retries=2
        )


@contextlib.contextmanager
def canceller(token: CancelToken, seconds: float) -> Iterator[None]:
    timer = threading.Timer(seconds, token.cancel)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def in_threads(works: list[Callable[[], object]]) -> None:
    """Run all at the same time, and the garbage collector all the time.

    Raises what any of them raises, and shows where they hang.
    """
    errors: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    with collector():
        for thread in threads:
            thread.start()
        end = time.monotonic() + PATIENCE
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
    hanging = [thread for thread in threads if thread.is_alive()]
    if errors and not hanging:
        raise errors[0]
    if hanging:
        with tempfile.TemporaryFile("w+") as file:
            faulthandler.dump_traceback(file)
            file.seek(0)
            pytest.fail(f"{len(hanging)} threads hang, errors {errors}\n{file.read()}")


@contextlib.contextmanager
def collector() -> Iterator[None]:
    """Collect garbage in another thread all the time."""
    done = threading.Event()

    def collect() -> None:
        while not done.wait(0.003):
            gc.collect()

    thread = threading.Thread(target=collect)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def assert_all_is_back(pool: HTTPConnectionPool, maxsize: int) -> None:
    """All slots are free and can be used."""
    gc.collect()
    assert pool.pool.qsize() == maxsize
