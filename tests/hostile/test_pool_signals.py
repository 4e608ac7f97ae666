"""Real signals end each kind of wait, by an exception of their handler: the pool goes on.

Not collected where signals cannot be sent to a thread.
"""

from __future__ import annotations

import contextlib
import gc
import signal
import socket
import threading
from collections.abc import Iterator
from types import FrameType

import pytest

from dummyserver.script import ScriptedServer
from urllib4 import CancelToken, HTTPConnectionPool, HTTPSConnectionPool
from urllib4.exceptions import HTTPError

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Stop(BaseException):
    """What a signal handler raises."""


@contextlib.contextmanager
def stopped_when(event: threading.Event | None = None) -> Iterator[None]:
    """Send this thread a signal once the event is set, whose handler raises; expect that.

    Again and again until it came, for the first may come before the wait that it is meant for.
    """
    done = threading.Event()
    main = threading.main_thread().ident
    assert main is not None

    def handler(number: int, frame: FrameType | None) -> None:
        if not done.is_set():
            done.set()
            raise Stop

    def send() -> None:
        if event is not None:
            event.wait(10)
        while not done.wait(0.05):
            signal.pthread_kill(main, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handler)
    sender = threading.Thread(target=send)
    sender.start()
    try:
        with pytest.raises(Stop):
            yield
    finally:
        done.set()
        sender.join()
        signal.signal(signal.SIGUSR1, before)


def the_pool_goes_on(pool: HTTPConnectionPool, script: ScriptedServer) -> None:
    """The slot came back, and the next request has a connection of its own."""
    script.accept().expect(b"GET /next ").send(OK)
    assert pool.request("GET", "/next", pool_timeout=0).data == b"ok"


@pytest.fixture
def pool(script: ScriptedServer) -> Iterator[HTTPConnectionPool]:
    with HTTPConnectionPool("127.0.0.1", script.port, maxsize=1, block=True, timeout=20) as made:
        yield made


def test_waiting_for_the_response_can_be_interrupted(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    asked = threading.Event()
    script.accept().expect(b"GET / ").notify(asked).expect_eof()
    with stopped_when(asked):
        pool.request("GET", "/")
    the_pool_goes_on(pool, script)


@pytest.mark.parametrize("preload", [True, False])
def test_reading_a_body_can_be_interrupted(
    script: ScriptedServer, pool: HTTPConnectionPool, preload: bool
) -> None:
    begun = threading.Event()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"
    script.accept().expect(b"GET / ").send(head).notify(begun).expect_eof()
    with stopped_when(begun):
        for _ in pool.request("GET", "/", preload_content=preload).stream(100):
            pass
    gc.collect()
    the_pool_goes_on(pool, script)


def test_sending_can_be_interrupted(script: ScriptedServer, pool: HTTPConnectionPool) -> None:
    begun = threading.Event()
    over = threading.Event()
    conversation = script.accept()
    conversation.expect(b"POST / ", body=False).notify(begun).pause_until(over)
    conversation.run(lambda sock: None).reset()
    with stopped_when(begun):
        pool.request("POST", "/", body=b"x" * 50_000_000)
    over.set()
    the_pool_goes_on(pool, script)


def test_waiting_for_a_slot_can_be_interrupted(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    """Who waits behind gets the slot, and nobody is woken in vain."""
    script.accept().expect(b"GET /held ").send(OK[:-1]).expect_eof()
    held = pool.request("GET", "/held", preload_content=False)
    with stopped_when():
        pool.request("GET", "/never")
    assert not pool.pool._waiters
    held.close()
    the_pool_goes_on(pool, script)


def test_a_sleep_before_a_retry_can_be_interrupted(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    asked = threading.Event()
    busy = b"HTTP/1.1 503 Busy\r\nRetry-After: 30\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    script.accept().expect(b"GET / ").send(busy).notify(asked).close()
    with stopped_when(asked):
        pool.request("GET", "/", retries=1)
    the_pool_goes_on(pool, script)


def test_connecting_can_be_interrupted() -> None:
    """A full backlog lets further connects wait."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        try:
            with HTTPConnectionPool(*address, timeout=20, maxsize=1, block=True) as pool:
                with stopped_when():
                    pool.request("GET", "/")
                assert pool.pool.qsize() == 1
        finally:
            for filler in fillers:
                filler.close()


def test_a_tls_handshake_can_be_interrupted(script: ScriptedServer) -> None:
    begun = threading.Event()
    script.accept().run(lambda sock: sock.recv(65536)).notify(begun).expect_eof()
    with HTTPSConnectionPool("127.0.0.1", script.port, timeout=20, maxsize=1, block=True) as pool:
        with stopped_when(begun):
            pool.request("GET", "/", retries=False)
        assert pool.pool.qsize() == 1


def test_a_signal_handler_may_use_the_pool_and_the_token_itself(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    """It runs in the middle of a call of the same thread; no lock may be in its way."""
    asked = threading.Event()
    token = CancelToken()
    script.accept().expect(b"GET / ").notify(asked).expect_eof()
    script.accept().expect(b"GET /in-handler ").send(OK)
    other = HTTPConnectionPool("127.0.0.1", script.port)

    def handler(number: int, frame: FrameType | None) -> None:
        assert other.request("GET", "/in-handler").data == b"ok"
        token.cancel()

    main = threading.main_thread().ident
    assert main is not None
    sender = threading.Thread(
        target=lambda: asked.wait(10) and signal.pthread_kill(main, signal.SIGUSR1)
    )
    before = signal.signal(signal.SIGUSR1, handler)
    sender.start()
    try:
        with pytest.raises(HTTPError):
            pool.request("GET", "/", cancel=token)
    finally:
        sender.join()
        signal.signal(signal.SIGUSR1, before)
        other.close()
    the_pool_goes_on(pool, script)
