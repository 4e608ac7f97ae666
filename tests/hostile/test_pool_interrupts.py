"""An exception may come at any step of an exchange: nothing is lost, and the pool goes on.

KeyboardInterrupt, SystemExit and MemoryError are raised at each line of the library that one
exchange runs through, and at each bytecode of the parts that hand connections out.  Then real
signals end each kind of wait.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from dummyserver.certs import Certificates
from dummyserver.counting import CountingServer, Exchange, ok
from dummyserver.script import ScriptedServer
from tests.hostile.counting import counted
from tests.hostile.interrupts import Injector
from urllib4 import CancelToken, HTTPConnectionPool, HTTPSConnectionPool, Retry, Timeout
from urllib4.exceptions import HTTPError

ERRORS = (KeyboardInterrupt, SystemExit, MemoryError)

#: Where a connection changes hands; each bytecode of these is tried.
HANDS = ("/_idle.py", "/_waiting.py", "/_cancel.py", "/connectionpool.py")

#: Every so many lines, and bytecodes, one is tried; another one for each error.
LINE_STEP = 3
OPCODE_STEP = 13

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def answer(exchange: Exchange) -> bytes:
    target = exchange.target.partition("?")[0]
    if target == "/moved":
        return ok(b"gone", "Location: /there", status="302 Found")
    if target == "/busy" and exchange.connection % 2:
        return ok(b"later", "Connection: close", status="503 Service Unavailable")
    if target == "/chunked":
        return (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n"
        )
    if target == "/broken":
        return b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nab"
    if target == "/long":
        return ok(b"x" * 200_000)
    return ok(exchange.target.encode() + exchange.body)


# -- one exchange of each kind ---------------------------------------------------------------------


def plain(pool: HTTPConnectionPool) -> None:
    assert pool.request("GET", "/plain").data == b"/plain"


def in_pieces(pool: HTTPConnectionPool) -> None:
    response = pool.request("GET", "/chunked", preload_content=False)
    assert b"".join(response.stream(2)) == b"abcde"


def released_unread(pool: HTTPConnectionPool) -> None:
    response = pool.request("GET", "/plain", preload_content=False)
    response.read(2)
    response.release_conn()


def closed_unread(pool: HTTPConnectionPool) -> None:
    response = pool.request("GET", "/long", preload_content=False)
    response.read(2)
    response.close()


def forgotten(pool: HTTPConnectionPool) -> None:
    pool.request("GET", "/long", preload_content=False).read(2)


def uploaded(pool: HTTPConnectionPool) -> None:
    body = iter([b"one", b"two", b"three"])
    response = pool.request("POST", "/up", body=body, headers={"Content-Length": "11"})
    assert response.data == b"/uponetwothree"


def redirected(pool: HTTPConnectionPool) -> None:
    assert pool.request("GET", "/moved").data == b"/there"


def retried(pool: HTTPConnectionPool) -> None:
    retries = Retry(2, status_forcelist=[503], backoff_factor=0)
    assert pool.request("GET", "/busy", retries=retries).status == 200


def broken(pool: HTTPConnectionPool) -> None:
    with pytest.raises(HTTPError):
        pool.request("GET", "/broken", retries=False)


def bounded(pool: HTTPConnectionPool) -> None:
    """With all that may end a call from outside."""
    token = CancelToken()
    timeout = Timeout(total=20, deadline=20)
    response = pool.request(
        "GET", "/plain", cancel=token, timeout=timeout, preload_content=False, pool_timeout=5
    )
    assert response.read() == b"/plain"
    token.cancel()


KINDS = [
    plain, in_pieces, released_unread, closed_unread, forgotten, uploaded, redirected, retried,
    broken, bounded,
]  # fmt: skip


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Let finalisers raise what was injected into them, and sockets be closed by them.

    :raises AssertionError: a finaliser raised something else.
    """
    other: list[BaseException] = []

    def note(unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, (*ERRORS, ResourceWarning)):
            other.append(unraisable.exc_value)

    hook, sys.unraisablehook = sys.unraisablehook, note
    try:
        with warnings.catch_warnings():
            # A socket that is closed by its finaliser: nobody had got hold of it yet.
            warnings.simplefilter("ignore", ResourceWarning)
            yield
            gc.collect()
    finally:
        sys.unraisablehook = hook
    assert not other


class Trial:
    """One pool after another, each interrupted at one step."""

    def __init__(self, server: CountingServer, injector: Injector, **options: Any) -> None:
        self.server = server
        self.injector = injector
        self.options = options
        self.late: set[str] = set()

    def new_pool(self) -> HTTPConnectionPool:
        cls = HTTPSConnectionPool if "ca_certs" in self.options else HTTPConnectionPool
        return cls(self.server.host, self.server.port, maxsize=1, block=True, **self.options)

    def count(self, kind: Callable[[HTTPConnectionPool], None]) -> int:
        with self.new_pool() as pool:
            pool.request("GET", "/first")
            return self.injector.count(lambda: kind(pool))

    def interrupt(
        self,
        kind: Callable[[HTTPConnectionPool], None],
        at: int,
        error: type[BaseException],
        *,
        reuse: bool,
    ) -> str:
        """Interrupt at that step, and look what is left of the pool; return what came of it."""
        with self.new_pool() as pool:
            if reuse:
                pool.request("GET", "/first")
            outcome = "swallowed"
            try:
                self.injector.call(lambda: kind(pool), at, error())
            except error:
                outcome = error.__name__
            except HTTPError as wrapped:
                assert self.injector.where is not None
                outcome = type(wrapped).__name__
            where = self.injector.where
            if where is None:
                return "no such step"
            if pool.pool.qsize() != 1:
                self.late.add(where)
                gc.collect()
            assert pool.pool.qsize() == 1, f"{kind.__name__}: the slot is lost at {where}"
            tag = f"/after/{at}"
            after = pool.request("GET", tag, pool_timeout=0, retries=False, timeout=5)
            assert after.data == tag.encode(), f"{kind.__name__}: a wrong answer after {where}"
        return outcome

    def settle(self) -> None:
        gc.collect()
        self.server.wait_until(lambda: self.server.open == 0)


@pytest.mark.parametrize("kind", KINDS)
def test_an_exception_at_any_line_of_an_exchange_loses_nothing(
    kind: Callable[[HTTPConnectionPool], None], request: pytest.FixtureRequest
) -> None:
    """The slot is back, no socket stays open, and the next request gets its own answer."""
    with (
        CountingServer(answer) as server,
        quiet(),
        counted(request, f"exceptions in {kind.__name__}") as counts,
    ):
        trial = Trial(server, Injector())
        steps = trial.count(kind)
        assert steps > 100
        for number, error in enumerate(ERRORS):
            # A new connection takes more steps, and other ones.
            for reuse in (False, True):
                for at in range(1 + (number + reuse) % LINE_STEP, 2 * steps, LINE_STEP):
                    outcome = trial.interrupt(kind, at, error, reuse=reuse)
                    if outcome == "no such step":
                        break
                    counts[outcome] += 1
        trial.settle()
        assert counts["swallowed"] <= sum(counts.values()) / 20


@pytest.mark.parametrize("kind", [plain, closed_unread, forgotten, broken, bounded])
def test_an_exception_at_any_bytecode_while_a_connection_changes_hands_loses_nothing(
    kind: Callable[[HTTPConnectionPool], None], request: pytest.FixtureRequest
) -> None:
    with (
        CountingServer(answer) as server,
        quiet(),
        counted(request, f"exceptions between bytecodes of {kind.__name__}") as counts,
    ):
        trial = Trial(server, Injector(HANDS, opcodes=True))
        steps = trial.count(kind)
        for number, error in enumerate(ERRORS):
            for at in range(1 + number * 4, steps, OPCODE_STEP):
                counts[trial.interrupt(kind, at, error, reuse=True)] += 1
        trial.settle()


def test_an_exception_while_tls_is_set_up_loses_nothing(
    certs: Certificates, request: pytest.FixtureRequest
) -> None:
    with (
        CountingServer(answer, tls=certs.server_context()) as server,
        quiet(),
        counted(request, "exceptions in an exchange over TLS") as counts,
    ):
        trial = Trial(server, Injector(), ca_certs=certs.ca_file)
        for number, at in enumerate(itertools.count(1, 7)):
            outcome = trial.interrupt(plain, at, ERRORS[number % 3], reuse=False)
            if outcome == "no such step":
                break
            counts[outcome] += 1
        trial.settle()


# -- real signals ----------------------------------------------------------------------------------


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


needs_signals = pytest.mark.skipif(
    not hasattr(signal, "pthread_kill"), reason="signals cannot be sent to a thread"
)


@needs_signals
def test_waiting_for_the_response_can_be_interrupted(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    asked = threading.Event()
    script.accept().expect(b"GET / ").notify(asked).expect_eof()
    with stopped_when(asked):
        pool.request("GET", "/")
    the_pool_goes_on(pool, script)


@needs_signals
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


@needs_signals
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


@needs_signals
def test_waiting_for_a_slot_can_be_interrupted(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    """Who waits behind gets the slot, and nobody is woken in vain."""
    script.accept().expect(b"GET /held ").send(OK[:-1]).expect_eof()
    held = pool.request("GET", "/held", preload_content=False)
    with stopped_when():
        pool.request("GET", "/never")
    assert not pool.pool._waiters._gates
    held.close()
    the_pool_goes_on(pool, script)


@needs_signals
def test_a_sleep_before_a_retry_can_be_interrupted(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    asked = threading.Event()
    busy = b"HTTP/1.1 503 Busy\r\nRetry-After: 30\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    script.accept().expect(b"GET / ").send(busy).notify(asked).close()
    with stopped_when(asked):
        pool.request("GET", "/", retries=1)
    the_pool_goes_on(pool, script)


@needs_signals
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


@needs_signals
def test_a_tls_handshake_can_be_interrupted(script: ScriptedServer) -> None:
    begun = threading.Event()
    script.accept().run(lambda sock: sock.recv(65536)).notify(begun).expect_eof()
    with HTTPSConnectionPool("127.0.0.1", script.port, timeout=20, maxsize=1, block=True) as pool:
        with stopped_when(begun):
            pool.request("GET", "/", retries=False)
        assert pool.pool.qsize() == 1


@needs_signals
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
