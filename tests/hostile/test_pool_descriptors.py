"""A process that runs out of file descriptors: errors are ours, and the pool recovers.

Not collected where a process has no limit that it can set.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from dummyserver.certs import Certificates
from dummyserver.counting import CountingServer, Exchange, ok
from tests.hostile.counting import counted

PROGRAM = """
import gc, json, os, resource, sys
import urllib4
from urllib4 import CancelToken, HTTPConnectionPool, HTTPSConnectionPool, Timeout
from urllib4.exceptions import HTTPError

tls, host, port, ca_file = sys.argv[1:]
cls = HTTPSConnectionPool if tls == "tls" else HTTPConnectionPool
options = {"ca_certs": ca_file} if tls == "tls" else {}
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

def fill():
    taken = []
    while True:
        try:
            taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            return taken

def descriptors():
    return sorted(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else []

WAYS = {
    "plain": {},
    "with retries": {"retries": urllib4.Retry(2, backoff_factor=0)},
    "without retries": {"retries": False},
    "with a token": {"cancel": CancelToken(), "retries": False},
    "with bounds": {"timeout": Timeout(total=5, deadline=5), "retries": False},
    "streamed": {"preload_content": False, "retries": False},
}
outcomes = []
warm = cls(host, int(port), **options)
warm.request("GET", "/warm")
for way, given in WAYS.items():
    for name in (host, "localhost"):
        for spare in range(6):
            pool = cls(name, int(port), maxsize=2, block=True, **options)
            before = descriptors()
            taken = fill()
            for _ in range(min(spare, len(taken))):
                os.close(taken.pop())
            try:
                response = pool.request("GET", f"/{spare}", **given)
                assert response.read() in (b"", b"/%d" % spare)
                outcome = "answered"
            except HTTPError as error:
                outcome = type(getattr(error, "reason", None) or error).__name__
            except Exception as error:
                outcome = "WRONG " + repr(error)
            response = None
            for one in taken:
                os.close(one)
            if pool.pool.qsize() != 2:
                outcome = "LOST SLOT " + outcome
            again = pool.request("GET", "/again", pool_timeout=0, retries=False).data
            if again != b"/again":
                outcome = "WRONG ANSWER " + outcome
            pool.close()
            gc.collect()
            if descriptors() != before:
                outcome = f"LEAK {before} {descriptors()} " + outcome
            outcomes.append([way, outcome])
print(json.dumps(outcomes))
"""


def echo(exchange: Exchange) -> bytes:
    return ok(exchange.target.encode())


@pytest.mark.parametrize("scheme", ["plain", "tls"])
def test_requests_without_descriptors_fail_as_ours_and_leave_the_pool_usable(
    certs: Certificates, request: pytest.FixtureRequest, scheme: str
) -> None:
    """Whichever of the few that one call needs is the one too many."""
    context = certs.server_context() if scheme == "tls" else None
    with (
        CountingServer(echo, tls=context) as server,
        counted(request, f"calls without descriptors, {scheme}") as counts,
    ):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", PROGRAM, scheme, server.host, str(server.port),
             certs.ca_file],
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        outcomes: list[list[Any]] = json.loads(done.stdout)
        found = Counter(outcome for _, outcome in outcomes)
        counts.update(found)
        assert not [one for one in outcomes if one[1].split()[0].isupper()]
        assert found["answered"] >= 12
        assert len(outcomes) - found["answered"] >= 12
        server.wait_until(lambda: server.open == 0)


MANY_THREADS = """
import os, resource, sys, threading
from urllib4 import PoolManager
from urllib4.exceptions import HTTPError
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
manager = PoolManager(maxsize=100)
url = sys.argv[1]
failures = []
answers = []
def work(number):
    for turn in range(10):
        try:
            response = manager.request("GET", f"{url}/{number}/{turn}", preload_content=False,
                                       retries=False)
            barrier.wait(10)
            answers.append(response.read() == f"/{number}/{turn}".encode())
        except HTTPError as error:
            failures.append(error)
            barrier.wait(10)
barrier = threading.Barrier(60)
threads = [threading.Thread(target=work, args=(number,)) for number in range(60)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert all(answers) and len(answers) > 100, len(answers)
assert failures
assert manager.request("GET", url + "/after").data == b"/after"
"""


def test_threads_that_want_more_connections_than_descriptors_there_are(certs: Certificates) -> None:
    """Those that get none are told; the others are served, and afterwards all is well."""
    with CountingServer(echo) as server:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", MANY_THREADS, server.url],
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
