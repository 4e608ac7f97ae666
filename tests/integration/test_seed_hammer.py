"""Pools with timeouts under many threads, in other processes and under gevent (S3-28, S3-29)."""

from __future__ import annotations

import gc
import importlib.util
import itertools
import multiprocessing
import os
import random
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from dummyserver.counting import CountingServer
from dummyserver.threaded import End, RequestReader, ThreadedServer
from urllib4 import HTTPConnectionPool
from urllib4.connectionpool import PoolStats
from urllib4.exceptions import ProtocolError

PATIENCE = 10.0
THREADS = 32


class Moody(ThreadedServer):
    """Answers with the target, and closes at random: before, after and instead of an answer."""

    def serve(self, number: int, end: End) -> None:
        dice = random.Random(number)
        reader = RequestReader(end)
        while (request := reader.read()) is not None:
            target = request[0].split(b" ", 2)[1]
            mood = dice.random()
            if mood < 0.02:
                return  # without a byte
            if mood < 0.03:
                end.sendall(b"HTTP/1.1 200 OK\r\nContent-Le")
                return
            end.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target))
            if mood < 0.06:
                return  # and the client learns that by itself


def adds_up(stats: PoolStats) -> bool:
    return stats.created == stats.idle + stats.in_use + sum(stats.closed.values())


def test_ten_thousand_rounds_of_many_threads_lose_nothing() -> None:
    """S3-28, S3-29: only injected errors, each answer is one's own, the books add up, no leak."""
    failures: list[BaseException] = []
    injected = itertools.count()
    per_thread = 10_000 // THREADS
    barrier = threading.Barrier(THREADS)
    with Moody() as server:
        pool = HTTPConnectionPool(
            "127.0.0.1", server.port, maxsize=THREADS // 2, idle_timeout=0.01,
            retries=False, timeout=PATIENCE,
        )  # fmt: skip

        def work(worker: int) -> None:
            try:
                dice = random.Random(worker)
                barrier.wait(PATIENCE)
                for round_ in range(per_thread):
                    target = f"/{worker}/{round_}"
                    try:
                        assert pool.request("GET", target).data == target.encode()
                    except ProtocolError:
                        next(injected)
                    if dice.random() < 0.01:
                        time.sleep(0.012)  # long enough for what is idle to end
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(50)
        assert failures == []
        assert not any(thread.is_alive() for thread in threads)

        stats = pool.stats()
        assert adds_up(stats)
        assert stats.in_use == 0
        errors = next(injected)
        assert stats.requests == THREADS * per_thread + stats.stale_resent
        assert stats.closed.get("failed", 0) >= errors
        assert 0 < errors < 600
        assert stats.stale_resent > 0
        assert server.connections == stats.created - stats.closed.get("connect_failed", 0)

        assert pool.close(wait=True, timeout=PATIENCE)
        assert pool.stats().idle == pool.stats().in_use == 0
        assert sum(pool.stats().closed.values()) == stats.created
        server.wait_until(lambda: server.open == 0)


def test_rounds_without_requests_leave_no_timer_work() -> None:
    """S3-28: what is taken and returned ten thousand times is forgotten by whoever watches it."""
    from urllib4._reaper import REAPER

    with CountingServer() as server:
        pool = HTTPConnectionPool("127.0.0.1", server.port, idle_timeout=3600)
        pool.warm()
        for _ in range(10_000):
            pool._put_conn(pool._get_conn())
        assert len(REAPER._stores) <= 1
        assert pool.stats().created == 1
        pool.close()
        del pool
        gc.collect()
        end = time.monotonic() + PATIENCE
        while REAPER._stores and time.monotonic() < end:
            time.sleep(0.001)
        assert REAPER._stores == {}


# -- processes -------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_has_books_and_timers_of_its_own() -> None:
    with CountingServer() as server:
        pool = HTTPConnectionPool("127.0.0.1", server.port, maxsize=2, idle_timeout=3600)
        pool.request("GET", "/parent")
        before = pool.stats()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                fresh = pool.stats()
                pool.request("GET", "/child")
                names = {thread.name for thread in threading.enumerate()}
                after = pool.stats()
                good = (fresh.created, fresh.idle) == (0, 0)
                good = good and (after.created, after.idle) == (1, 1)
                good = good and "urllib4-reaper" in names
                closed = pool.close(wait=True, timeout=PATIENCE)
                status = 0 if good and closed else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert pool.stats() == before
        pool.request("GET", "/parent again")
        assert pool.stats().created == 1
        assert pool.close(wait=True, timeout=PATIENCE)
        assert [e.connection for e in server.exchanges] == [1, 2, 1]


IN_A_CHILD = """
    import multiprocessing, sys
    from urllib4 import HTTPConnectionPool

    def fetch(port, results):
        with HTTPConnectionPool("127.0.0.1", port, idle_timeout=3600, retries=False) as pool:
            pool.request("GET", "/")
            results.put(tuple(pool.stats()[:5]))

    if __name__ == "__main__":
        method, port = sys.argv[1], int(sys.argv[2])
        with HTTPConnectionPool("127.0.0.1", port, idle_timeout=3600) as pool:
            pool.request("GET", "/")
            context = multiprocessing.get_context(method)
            results = context.Queue()
            child = context.Process(target=fetch, args=(port, results))
            child.start()
            print(results.get(timeout=30))
            child.join(30)
            assert child.exitcode == 0
            assert pool.stats().created == 1
"""


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_each_start_method_of_multiprocessing_works(method: str, tmp_path: Path) -> None:
    """With a connection and a timer in the parent."""
    with CountingServer() as server:
        shown = run_python(tmp_path, IN_A_CHILD, method, str(server.port))
        assert shown == "(1, 0, 1, 1, 0)"
        assert server.connections == 2


def run_python(folder: Path, code: str, *arguments: str) -> str:
    script = folder / "main.py"
    script.write_text(textwrap.dedent(code))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", str(script), *arguments],
        capture_output=True, text=True, timeout=50, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# -- gevent ----------------------------------------------------------------------------------

UNDER_GEVENT = """
    import gevent.monkey
    gevent.monkey.patch_all()
    import sys, time
    import gevent
    from urllib4 import HTTPConnectionPool, PoolManager

    port = int(sys.argv[1])
    with HTTPConnectionPool("127.0.0.1", port, maxsize=4, block=True, idle_timeout=0.2) as pool:
        def fetch(number):
            return pool.request("GET", f"/{number}").data.decode()
        jobs = [gevent.spawn(fetch, number) for number in range(40)]
        gevent.joinall(jobs, timeout=20, raise_error=True)
        assert [job.value for job in jobs] == [f"/{number}" for number in range(40)]
        stats = pool.stats()
        assert (stats.in_use, stats.requests) == (0, 40), stats
        assert 1 <= stats.created <= 4, stats
        end = time.monotonic() + 10
        while pool.stats().idle and time.monotonic() < end:
            gevent.sleep(0.01)
        assert pool.stats().closed == {"idle_timeout": stats.created}, pool.stats()
    with PoolManager(max_connections=2, maxsize=4) as manager:
        url = f"http://127.0.0.1:{port}/"
        jobs = [gevent.spawn(manager.request, "GET", url) for _ in range(20)]
        gevent.joinall(jobs, timeout=20, raise_error=True)
        assert {job.value.status for job in jobs} == {200}
        assert manager.stats().created <= 2
    print("done")
"""


@pytest.mark.skipif(importlib.util.find_spec("gevent") is None, reason="needs gevent")
def test_it_works_under_gevent(tmp_path: Path) -> None:
    """In a process of its own: the standard library is patched as a whole."""
    with CountingServer() as server:
        assert run_python(tmp_path, UNDER_GEVENT, str(server.port)) == "done"
