"""``os.fork()`` after use: parent and child both go on, and neither disturbs the other.

Not collected where there is no fork.
"""

from __future__ import annotations

import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dummyserver.certs import Certificates
from dummyserver.counting import CountingServer, Exchange, ok
from dummyserver.script import ScriptedServer
from dummyserver.threaded import PATIENCE
from urllib4 import CancelToken, HTTPConnectionPool, PoolManager, ProxyManager
from urllib4.connection import HTTPConnection
from urllib4.exceptions import EmptyPoolError, HTTPError

# From Python 3.12 on; the point of these tests is that ours does not.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

LONG = b"0123456789" * 100_000


def answer(exchange: Exchange) -> bytes:
    return ok(LONG if exchange.target == "/long" else exchange.target.encode())


@pytest.fixture
def server() -> Iterator[CountingServer]:
    with CountingServer(answer) as running:
        yield running


class Child:
    """Runs a function in a child process.

    :raises AssertionError: (by `result`) it raised, or did not end in time.
    """

    def __init__(self, work: Callable[[], Any]) -> None:
        reader, writer = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            self._run(work, writer)
        os.close(writer)
        self._reader = reader

    @staticmethod
    def _run(work: Callable[[], Any], writer: int) -> None:
        try:
            told = json.dumps({"result": work()})
        except BaseException:
            told = json.dumps({"error": traceback.format_exc()})
        try:
            os.write(writer, told.encode())
        finally:
            os._exit(0)

    def result(self) -> Any:
        told = b""
        try:
            while select.select([self._reader], [], [], PATIENCE)[0]:
                piece = os.read(self._reader, 65536)
                if not piece:
                    break
                told += piece
            else:
                os.kill(self._pid, signal.SIGKILL)
        finally:
            os.close(self._reader)
            os.waitpid(self._pid, 0)
        assert told, "the child hangs"
        outcome = json.loads(told)
        assert "error" not in outcome, outcome["error"]
        return outcome["result"]


def ask(pool: Any, prefix: str, number: int = 20) -> list[str]:
    """Send so many requests; return the answers."""
    return [
        pool.request("GET", f"{prefix}/{turn}", pool_timeout=PATIENCE, retries=False).data.decode()
        for turn in range(number)
    ]


def answers(prefix: str, number: int = 20) -> list[str]:
    return [f"{prefix}/{turn}" for turn in range(number)]


def test_parent_and_child_go_on_with_connections_of_their_own(server: CountingServer) -> None:
    """The parent's idle connections stay the parent's; both talk at the same time."""
    with HTTPConnectionPool(server.host, server.port, maxsize=2, block=True) as pool:
        held = [pool.request("GET", "/a", preload_content=False) for _ in range(2)]
        for response in held:
            response.read()
        child = Child(lambda: ask(pool, "/child"))
        assert ask(pool, "/parent") == answers("/parent")
        assert child.result() == answers("/child")
        assert ask(pool, "/parent") == answers("/parent")
        assert pool.num_connections == 2
        assert server.connections == 3
        assert pool.pool.qsize() == 2


def test_many_children_of_one_manager(server: CountingServer) -> None:
    """As servers do that fork their workers; grandchildren, too."""
    with PoolManager(maxsize=1, block=True) as manager:
        url = server.url

        def child(name: str) -> dict[str, Any]:
            grandchild = Child(lambda: ask(manager, f"{url}/{name}/grandchild", 5))
            own = ask(manager, f"{url}/{name}", 5)
            return {"own": own, "grandchild": grandchild.result()}

        ask(manager, f"{url}/before", 2)
        children = [Child(lambda name=name: child(name)) for name in "abcd"]  # type: ignore[misc]
        assert ask(manager, f"{url}/parent") == answers("/parent")
        for name, process in zip("abcd", children, strict=True):
            assert process.result() == {
                "own": answers(f"/{name}", 5),
                "grandchild": answers(f"/{name}/grandchild", 5),
            }
        assert ask(manager, f"{url}/parent") == answers("/parent")
        assert server.connections == 1 + 2 * 4


@pytest.mark.parametrize("how", ["read", "stream", "drain_conn", "release_conn", "close", "forget"])
def test_a_response_that_the_parent_reads_cannot_be_taken_by_the_child(
    server: CountingServer, how: str
) -> None:
    """The child gets an error instead of a part of the answer; the parent gets all of it."""
    with HTTPConnectionPool(server.host, server.port, maxsize=1, block=True) as pool:
        half = [pool.request("GET", "/long", preload_content=False)]
        begun = half[0].read(10)

        def child() -> list[str]:
            response = half.pop()
            if how in ("read", "stream"):
                with pytest.raises(HTTPError):
                    response.read() if how == "read" else list(response.stream(100))
            elif how != "forget":
                getattr(response, how)()
            del response
            assert pool.pool.qsize() == 1
            return ask(pool, "/child", 3)

        process = Child(child)
        assert process.result() == answers("/child", 3)
        assert begun + half[0].read() == LONG
        assert ask(pool, "/parent", 3) == answers("/parent", 3)
        assert server.connections == 2


def test_a_lease_of_the_parent_gives_no_slot_to_the_child(server: CountingServer) -> None:
    """All slots of the child are free anyway: one more would break its bound."""
    with HTTPConnectionPool(server.host, server.port, maxsize=1, block=True) as pool:
        inherited = pool.request("GET", "/long", preload_content=False)

        def child() -> int:
            own = pool.request("GET", "/own", preload_content=False)
            inherited.close()
            assert pool.pool.qsize() == 0
            with pytest.raises(EmptyPoolError):
                pool.request("GET", "/more", pool_timeout=0)
            assert own.read() == b"/own"
            size: int = pool.pool.qsize()
            return size

        assert Child(child).result() == 1
        inherited.close()
        assert pool.pool.qsize() == 1


# -- what other threads do at the fork -------------------------------------------------------------


@contextmanager
def held_by_another_thread(lock: Any) -> Iterator[None]:
    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            taken.set()
            done.wait(PATIENCE)

    thread = threading.Thread(target=hold)
    thread.start()
    assert taken.wait(PATIENCE)
    try:
        yield
    finally:
        done.set()
        thread.join()


LOCKS: dict[str, Callable[[Any, Any, CancelToken], Any]] = {
    "the pool's": lambda manager, pool, token: pool._lock,
    "the manager's": lambda manager, pool, token: manager.pools.lock,
    "the store's": lambda manager, pool, token: pool.pool.mutex,
    "the token's": lambda manager, pool, token: token._lock,
}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_that_a_thread_holds_at_the_fork_does_not_block_the_child(
    server: CountingServer, lock: str
) -> None:
    """That thread does not exist in the child, so it would never let go."""
    with PoolManager(maxsize=1, block=True) as manager:
        token = CancelToken()
        url = server.url
        manager.request("GET", f"{url}/before", cancel=token)
        pool = manager.connection_from_url(url)

        def child() -> list[str]:
            found = ask(manager, f"{url}/child", 2)
            response = manager.request("GET", f"{url}/child/token", cancel=token)
            assert manager.connection_from_url(url) is pool
            manager.clear()
            token.cancel()
            return [*found, response.data.decode()]

        with held_by_another_thread(LOCKS[lock](manager, pool, token)):
            process = Child(child)
            assert process.result() == [*answers("/child", 2), "/child/token"]
        assert not token.cancelled
        assert ask(manager, f"{url}/parent", 2) == answers("/parent", 2)


def test_the_lock_of_somebody_elses_queue_does_not_block_the_child(server: CountingServer) -> None:
    class Pool(HTTPConnectionPool):
        QueueCls = queue.LifoQueue

    with Pool(server.host, server.port, maxsize=2, block=True) as pool:
        ask(pool, "/before", 1)
        with held_by_another_thread(pool.pool.mutex):
            process = Child(lambda: [*ask(pool, "/child", 2), str(pool.pool.qsize())])
            assert process.result() == [*answers("/child", 2), "2"]
        assert ask(pool, "/parent", 2) == answers("/parent", 2)


def test_threads_that_wait_for_a_slot_at_the_fork_are_the_parents(server: CountingServer) -> None:
    """The child has all slots, and wakes nobody in vain."""
    with HTTPConnectionPool(server.host, server.port, maxsize=1, block=True) as pool:
        held = pool.request("GET", "/held", preload_content=False)
        answered: list[bytes] = []
        waiting = threading.Thread(
            target=lambda: answered.append(
                pool.request("GET", "/waited", pool_timeout=PATIENCE).data
            )
        )
        waiting.start()
        while not pool.pool._waiters:
            pass
        process = Child(lambda: ask(pool, "/child", 2))
        assert process.result() == answers("/child", 2)
        held.read()
        waiting.join()
        assert answered == [b"/waited"]


def test_a_call_of_another_thread_goes_on_in_the_parent(script: ScriptedServer) -> None:
    """It reads while the process forks; the child drops its copy of the socket unread."""
    asked, go_on = threading.Event(), threading.Event()
    script.accept().expect(b"GET /slow ").notify(asked).pause_until(go_on).send(
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow"
    )
    script.accept().expect(b"GET /child/0 ").send(
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nchild"
    )
    with HTTPConnectionPool("127.0.0.1", script.port, maxsize=2) as pool:
        found: list[bytes] = []
        reading = threading.Thread(
            target=lambda: found.append(pool.request("GET", "/slow", timeout=PATIENCE).data)
        )
        reading.start()
        assert asked.wait(PATIENCE)
        process = Child(lambda: ask(pool, "/child", 1))
        assert process.result() == ["child"]
        go_on.set()
        reading.join()
        assert found == [b"slow"]


def test_a_token_of_the_parent_does_not_end_its_call_when_the_child_uses_its_copy(
    server: CountingServer,
) -> None:
    """A shutdown of the child's copy of the socket would end the parent's connection."""
    token = CancelToken()
    with HTTPConnectionPool(server.host, server.port) as pool:
        response = pool.request("GET", "/long", preload_content=False, cancel=token)
        assert Child(lambda: token.cancel() or token.cancelled).result() is True
        assert not token.cancelled
        assert response.read() == LONG


# -- TLS, proxies ----------------------------------------------------------------------------------


def test_the_child_says_nothing_on_the_parents_tls_connection(
    certs: Certificates,
) -> None:
    """A close_notify, or any record, in the child's state of the session would break it."""
    with (
        CountingServer(answer, tls=certs.server_context()) as server,
        PoolManager(ca_certs=certs.ca_file, maxsize=2) as manager,
    ):
        url = server.url
        ask(manager, f"{url}/before", 1)
        half = manager.request("GET", f"{url}/long", preload_content=False)
        begun = half.read(10)

        def child() -> list[str]:
            found = ask(manager, f"{url}/child", 3)
            half.close()
            manager.clear()
            return found

        for _ in range(3):
            assert Child(child).result() == answers("/child", 3)
        assert begun + half.read() == LONG
        assert ask(manager, f"{url}/parent", 3) == answers("/parent", 3)
        assert server.connections == 1 + 3


def test_managers_of_proxies_go_on_in_the_child(server: CountingServer) -> None:
    with ProxyManager(server.url, maxsize=1, block=True) as manager:
        url = "http://origin.invalid"
        ask(manager, f"{url}/before", 1)
        process = Child(lambda: ask(manager, f"{url}/child", 3))
        assert ask(manager, f"{url}/parent", 3) == answers(f"{url}/parent", 3)
        assert process.result() == answers(f"{url}/child", 3)


# -- processes that end regularly ------------------------------------------------------------------

CHILD_THAT_EXITS = """
import os, sys
from urllib4 import PoolManager
manager = PoolManager(maxsize=1, block=True, **({"ca_certs": sys.argv[2]} if sys.argv[2] else {}))
url = sys.argv[1]
half = manager.request("GET", url + "/long", preload_content=False)
begun = half.read(10)
pid = os.fork()
if pid == 0:
    assert manager.request("GET", url + "/child").data == b"/child"
    sys.exit(0)  # with all that runs at the end of an interpreter
assert os.waitpid(pid, 0)[1] == 0
assert len(begun + half.read()) == 1000000
assert manager.request("GET", url + "/parent").data == b"/parent"
"""


@pytest.mark.parametrize("tls", [False, True])
def test_a_child_that_ends_regularly_takes_no_connection_of_the_parent_along(
    certs: Certificates, tls: bool
) -> None:
    """At the end of an interpreter, pools close what is idle."""
    with CountingServer(answer, tls=certs.server_context() if tls else None) as server:
        done = subprocess.run(
            [sys.executable, "-c", CHILD_THAT_EXITS, server.url, certs.ca_file if tls else ""],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert server.connections == 2


WITH_MULTIPROCESSING = """
import multiprocessing, sys
import urllib4

manager = urllib4.PoolManager(maxsize=2, block=True)
url = sys.argv[2]

def ask(number):
    return [manager.request("GET", f"{url}/{number}/{turn}").data.decode() for turn in range(5)]

if __name__ == "__main__":
    manager.request("GET", url + "/before")
    half = manager.request("GET", url + "/long", preload_content=False)
    with multiprocessing.get_context(sys.argv[1]).Pool(3) as workers:
        found = workers.map(ask, range(12))
    assert found == [[f"/{number}/{turn}" for turn in range(5)] for number in range(12)], found
    assert len(half.read()) == 1000000
    assert ask(99) == [f"/99/{turn}" for turn in range(5)]
    assert manager.connection_from_url(url).num_connections == 1
"""


@pytest.mark.parametrize("context", ["fork", "forkserver", "spawn"])
def test_workers_of_multiprocessing_use_a_manager_made_before(
    server: CountingServer, tmp_path: Path, context: str
) -> None:
    program = tmp_path / "program.py"
    program.write_text(WITH_MULTIPROCESSING, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(program), context, server.url],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_socket_that_fails_to_close_keeps_nobody_from_being_told(
    server: CountingServer,
) -> None:
    """Sockets of programs may raise anything: the connections made after it are let go of, too."""

    class Unclosable:
        def __init__(self, sock: Any) -> None:
            self._sock = sock

        def __getattr__(self, name: str) -> Any:
            return getattr(self._sock, name)

        def close(self) -> None:
            self._sock.close()
            if os.getpid() != parent:
                raise RuntimeError("close() of a program's own socket")

    class Own(HTTPConnection):
        def _new_conn(self) -> Any:
            return Unclosable(super()._new_conn())

    parent = os.getpid()
    with HTTPConnectionPool(server.host, server.port) as first:
        first.ConnectionCls = Own
        held = first.request("GET", "/long", preload_content=False)
        second = HTTPConnectionPool(server.host, server.port)
        ask(second, "/second", 1)
        child = Child(lambda: ask(second, "/child"))
        assert child.result() == answers("/child")
        assert ask(second, "/parent") == answers("/parent")
        assert server.connections == 3
        assert held.read() == LONG
        second.close()
