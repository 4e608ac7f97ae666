"""An exception may come at any step of an exchange: nothing is lost, and the pool goes on.

KeyboardInterrupt, SystemExit and MemoryError are raised at each line of the library that one
exchange runs through, and at each bytecode of the parts that hand connections out: a sample of
them, and all with ``URLLIB4_TEST_EFFORT=50`` (see ``effort``).
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from dummyserver.certs import Certificates
from dummyserver.counting import CountingServer, Exchange, ok
from tests.hostile.counting import counted
from tests.hostile.effort import SEED, stride
from tests.hostile.interrupts import Injector
from urllib4 import CancelToken, HTTPConnectionPool, HTTPSConnectionPool, Retry, Timeout, _idle
from urllib4.exceptions import HTTPError
from urllib4.response import HTTPResponse
from urllib4.util._ssl_contexts import ContextCache

#: Dropping responses unread is what these tests are about.
pytestmark = pytest.mark.filterwarnings("ignore:.*was dropped before it was read:ResourceWarning")

ERRORS = (KeyboardInterrupt, SystemExit, MemoryError)


@contextlib.contextmanager
def injected() -> Iterator[None]:
    """Let pass what was injected, and what it becomes: no memory for a body is an error of ours."""
    try:
        yield
    except ERRORS:
        pass
    except HTTPError as error:
        if not isinstance(error.__cause__, MemoryError):
            raise


#: Where a connection changes hands; each bytecode of these is tried.
HANDS = ("/_idle.py", "/_waiting.py", "/_cancel.py", "/_pool.py", "/connectionpool.py")

#: Every so many lines, and bytecodes, one is tried; others for each error.
LINE_STEP = stride(23)
OPCODE_STEP = stride(41)
TLS_STEP = stride(13)
BOOKS_STEP = stride(11)
PATIENCE = 10.0

#: Most of the places, in percent, after which a slot may come back only by a garbage collection:
#: where the exception and the frames that know it keep each other alive.
LATE_PERCENT = 2

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
        Injector() as injector,
        counted(request, f"exceptions in {kind.__name__}") as counts,
    ):
        trial = Trial(server, injector)
        steps = trial.count(kind)
        assert steps > 100
        for number, error in enumerate(ERRORS):
            # A new connection takes more steps, and other ones.
            for reuse in (False, True):
                first = 1 + (SEED + 5 * number) % LINE_STEP
                for at in range(first, 2 * steps, LINE_STEP):
                    outcome = trial.interrupt(kind, at, error, reuse=reuse)
                    if outcome == "no such step":
                        break
                    counts[outcome] += 1
        trial.settle()
        cases = sum(counts.values())
        # A fifth of the lines of a forgotten response are its finaliser's, which swallows all.
        assert counts["swallowed"] <= cases / 4
        assert len(trial.late) <= cases * LATE_PERCENT / 100, trial.late


@pytest.mark.parametrize("kind", [plain, closed_unread, forgotten, broken, bounded])
def test_an_exception_at_any_bytecode_while_a_connection_changes_hands_loses_nothing(
    kind: Callable[[HTTPConnectionPool], None], request: pytest.FixtureRequest
) -> None:
    with (
        CountingServer(answer) as server,
        quiet(),
        Injector(HANDS, opcodes=True) as injector,
        counted(request, f"exceptions between bytecodes of {kind.__name__}") as counts,
    ):
        trial = Trial(server, injector)
        steps = trial.count(kind)
        for number, error in enumerate(ERRORS):
            for at in range(1 + (SEED + number * 5) % OPCODE_STEP, steps, OPCODE_STEP):
                counts[trial.interrupt(kind, at, error, reuse=True)] += 1
        trial.settle()


def closed_by_the_server(pool: HTTPConnectionPool) -> None:
    assert pool.request("GET", "/busy").status == 503


@pytest.mark.parametrize("kind", [plain, closed_unread, closed_by_the_server])
def test_an_exception_at_any_bytecode_leaves_the_books_right(
    kind: Callable[[HTTPConnectionPool], None], request: pytest.FixtureRequest
) -> None:
    """One that is in use for ever in the books would let close(wait=True) wait for ever."""
    with (
        CountingServer(answer) as server,
        quiet(),
        Injector(("/_reuse.py", "/_pool.py", "/_idle.py"), opcodes=True) as injector,
        counted(request, f"exceptions and the books, {kind.__name__}") as counts,
    ):
        trial = Trial(server, injector, retries=False)
        for number, at in enumerate(itertools.count(1 + SEED % BOOKS_STEP, BOOKS_STEP)):
            error = ERRORS[number % 3]
            with trial.new_pool() as pool:
                with contextlib.suppress(error):
                    injector.call(lambda: kind(pool), at, error())
                if pool.stats().in_use:
                    gc.collect()
                where = injector.where
                if where is None:
                    break
                assert pool.stats().in_use == 0, where
                pool.request("GET", "/after")
                assert (pool.stats().in_use, pool.stats().idle) == (0, 1), where
                assert pool.close(wait=True, timeout=PATIENCE), where
            counts[error.__name__] += 1
        trial.settle()
        assert sum(counts.values()) > 30


def test_an_exception_while_tls_is_set_up_loses_nothing(
    certs: Certificates, request: pytest.FixtureRequest
) -> None:
    with (
        CountingServer(answer, tls=certs.server_context()) as server,
        quiet(),
        Injector() as injector,
        counted(request, "exceptions in an exchange over TLS") as counts,
    ):
        trial = Trial(server, injector, ca_certs=certs.ca_file)
        for number, at in enumerate(itertools.count(1 + SEED % TLS_STEP, TLS_STEP)):
            outcome = trial.interrupt(plain, at, ERRORS[number % 3], reuse=False)
            if outcome == "no such step":
                break
            counts[outcome] += 1
        trial.settle()


def test_a_response_that_was_not_handed_over_gives_nothing_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Somebody (a tracer) still has it, and closes it while another exchange has the slot."""
    kept: list[HTTPResponse] = []

    def interrupted(self: HTTPResponse, *args: object) -> None:
        kept.append(self)
        raise KeyboardInterrupt

    with (
        CountingServer(answer) as server,
        HTTPConnectionPool(server.host, server.port, maxsize=1, block=True) as pool,
    ):
        with monkeypatch.context() as patch:
            patch.setattr(HTTPResponse, "_on_finish", interrupted)
            with pytest.raises(KeyboardInterrupt):
                pool.request("GET", "/long", preload_content=False)
        held = pool.request("GET", "/long", preload_content=False)

        kept[0].close()

        assert pool.pool.qsize() == 0, "two connections for one slot"
        held.close()
        assert pool.pool.qsize() == 1


def test_an_exception_while_a_tls_context_is_made_leaves_nobody_waiting(
    request: pytest.FixtureRequest,
) -> None:
    """All who ask for the same context later get one."""

    class Context:
        pass

    with (
        Injector(("/_ssl_contexts.py",), opcodes=True) as injector,
        counted(request, "exceptions while a context is made") as counts,
        ThreadPoolExecutor(1) as another,
    ):
        steps = injector.count(lambda: ContextCache().get("key", Context))
        for at in range(1, steps + 1):
            cache = ContextCache()
            error = ERRORS[at % 3]
            with injected():
                injector.call(lambda: cache.get("key", Context), at, error())  # noqa: B023
            context = another.submit(cache.get, "key", Context).result(10)
            assert cache.get("key", Context) is context, injector.where
            counts[error.__name__] += 1


@pytest.mark.parametrize("tls", [False, True])
def test_an_idle_connection_whose_socket_was_closed_is_not_used(
    certs: Certificates, tls: bool
) -> None:
    """By a signal handler or a test's clean-up, behind the back of the connection."""
    context = certs.server_context() if tls else None
    cls = HTTPSConnectionPool if tls else HTTPConnectionPool
    options: dict[str, Any] = {"ca_certs": certs.ca_file} if tls else {}
    with (
        CountingServer(answer, tls=context) as server,
        cls(server.host, server.port, maxsize=1, block=True, **options) as pool,
    ):
        pool.request("GET", "/first")
        pool.pool.queue[-1].sock.close()
        assert not pool.pool.queue[-1].is_connected
        assert pool.request("GET", "/after", retries=False).data == b"/after"


# -- somebody waits --------------------------------------------------------------------------------


def when_somebody_waits(pool: WatchedPool, work: Callable[[], object]) -> None:
    """Call `work` when a thread waits for a slot, at the latest when the pool is free."""
    while not pool.pool._waiters and pool.pool.qsize() == 0 and not pool.stopped.is_set():
        time.sleep(0.0002)
    work()


class WatchedPool(HTTPConnectionPool):
    """A pool of one slot.

    :ivar stopped: set when the interrupted thread has ended, whether it had waited or not.
    """

    def __init__(self, server: CountingServer) -> None:
        super().__init__(server.host, server.port, maxsize=1, block=True)
        self.stopped = threading.Event()


@pytest.mark.parametrize("opcodes", [False, True])
def test_an_exception_while_waiting_for_a_slot_takes_none_away(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, opcodes: bool
) -> None:
    """The slot it was woken up for goes to the next that waits."""
    monkeypatch.setattr(_idle, "LOOK_AGAIN", 0.02)

    def interrupt(at: int, error: type[BaseException]) -> bool:
        with WatchedPool(server) as pool:
            held = pool.request("GET", "/held", preload_content=False)
            giver = threading.Thread(target=when_somebody_waits, args=(pool, held.close))
            giver.start()
            try:
                with injected():
                    injector.call(lambda: pool.request("GET", "/waited"), at, error())
            finally:
                pool.stopped.set()
                giver.join()
            gc.collect()
            assert pool.pool.qsize() == 1, f"the slot is lost at {injector.where}"
            held = pool.request("GET", "/held", preload_content=False)
            with ThreadPoolExecutor(1) as another:
                waiting = another.submit(pool.request, "GET", "/next", pool_timeout=10)
                pool.stopped.clear()
                when_somebody_waits(pool, held.close)
                assert waiting.result().data == b"/next"
        return injector.where is not None

    title = f"exceptions while waiting, by {'bytecode' if opcodes else 'line'}"
    with (
        CountingServer(answer) as server,
        quiet(),
        Injector(("/_idle.py", "/_waiting.py"), opcodes=opcodes) as injector,
        counted(request, title) as counts,
    ):
        interrupt(0, KeyboardInterrupt)
        step = stride(13 if opcodes else 3)
        for number, at in enumerate(itertools.count(1 + SEED % step, step)):
            error = ERRORS[number % 3]
            if not interrupt(at, error):
                break
            counts[error.__name__] += 1
        assert sum(counts.values()) > 20


@pytest.mark.parametrize("opcodes", [False, True])
def test_an_exception_while_giving_back_leaves_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, opcodes: bool
) -> None:
    monkeypatch.setattr(_idle, "LOOK_AGAIN", 0.02)

    def interrupt(at: int, error: type[BaseException], read: bool) -> bool:
        with WatchedPool(server) as pool, ThreadPoolExecutor(1) as another:
            held = pool.request("GET", "/held", preload_content=False)
            waiting = another.submit(pool.request, "GET", "/waited", pool_timeout=10)
            when_somebody_waits(pool, lambda: None)
            with injected():
                injector.call(held.read if read else held.close, at, error())
            del held
            gc.collect()
            assert waiting.result().data == b"/waited", injector.where
            assert pool.pool.qsize() == 1, f"the slot is lost at {injector.where}"
        return injector.where is not None

    title = f"exceptions while giving back, by {'bytecode' if opcodes else 'line'}"
    with (
        CountingServer(answer) as server,
        quiet(),
        Injector(HANDS, opcodes=opcodes) as injector,
        counted(request, title) as counts,
    ):
        interrupt(0, KeyboardInterrupt, True)
        step = stride(7 if opcodes else 3)
        for number, at in enumerate(itertools.count(1 + SEED % step, step)):
            error, read = ERRORS[number % 3], number % 2 == 0
            # Reading and closing do not have the same number of steps.
            if not interrupt(at, error, read) and not interrupt(at, error, not read):
                break
            counts[error.__name__] += 1
        assert sum(counts.values()) > 10
