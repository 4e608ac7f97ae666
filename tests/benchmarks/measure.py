"""Measuring: slices of all clients in turn, on cores of their own.

Machines are noisy: other programs, clock rates, caches.  So the clients take turns, a slice of a
fraction of a second each, and only slices of one round are compared with each other.  A ratio is
the median over the rounds; its spread is the middle half of them.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from tests.benchmarks.servers import ROOT, Servers
from tests.benchmarks.works import Work

#: Seconds that a client may take for one answer before it is stopped.
PATIENCE = 180.0

#: Variables that change whom a client trusts, which proxy it uses, or what an import costs.
UNWANTED = (
    "PYTHONDONTWRITEBYTECODE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SSLKEYLOGFILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "OPENSSL_CONF",
    "NETRC",
    *(f"{kind}_proxy" for kind in ("http", "https", "all", "no")),
    *(f"{kind}_PROXY" for kind in ("HTTP", "HTTPS", "ALL", "NO")),
)


class ClientError(Exception):
    """A client cannot do what it was asked for; the text says why."""


class Worker:
    """The process of one client; see `worker.py`.

    :param name: the client.
    :param cpu: the core it runs on; None leaves that to the system.
    :param wrapper: a command that runs the process, such as valgrind.
    :param variables: of its environment, beside the usual ones.
    """

    def __init__(
        self,
        name: str,
        cpu: int | None,
        wrapper: Iterable[str] = (),
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [
                *wrapper,
                sys.executable,
                "-m",
                "tests.benchmarks.worker",
                name,
                "" if cpu is None else str(cpu),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={k: v for k, v in os.environ.items() if k not in UNWANTED} | dict(variables or {}),
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, do: str, **details: Any) -> Any:
        """Send a question and return the answer.

        :raises ClientError: the worker says so, died, or took too long.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        timer = threading.Timer(PATIENCE, self._process.kill)
        timer.start()
        try:
            with suppress(BrokenPipeError):
                self._process.stdin.write(json.dumps({"do": do, **details}) + "\n")
                self._process.stdin.flush()
            line = self._process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            raise ClientError(f"its process ended during {do!r} (or took over {PATIENCE:g} s)")
        reply = json.loads(line)
        if "error" in reply:
            raise ClientError(reply["error"])
        return reply["answer"]

    def open(self, work: Work, servers: Servers) -> None:
        """Make a client for a work."""
        self.ask("open", work=work.name, place=asdict(servers.place(work)))

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


class Slice(NamedTuple):
    """One client in one round: seconds per request."""

    wall: float
    cpu: float


class Ratio(NamedTuple):
    """How many times better than the base: the median of the rounds and their middle half."""

    median: float
    low: float
    high: float


@dataclass
class Result:
    """One work, measured.

    :ivar requests: how many there were in a slice, the same for each client.
    :ivar slices: client: one for each round.
    :ivar left_out: client: why it is not there.
    """

    work: Work
    requests: int = 0
    slices: dict[str, list[Slice]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def seconds(self, client: str, what: str) -> float:
        """Return the median of a client's ``wall`` or ``cpu``, per request."""
        return float(statistics.median(getattr(one, what) for one in self.slices[client]))

    def ratio(self, client: str, what: str) -> Ratio | None:
        """Return how many times less ``wall`` or ``cpu`` than the base a client took."""
        base = self.slices.get(self.work.base)
        own = self.slices.get(client)
        if not base or not own:
            return None
        pairs = zip(base, own, strict=True)
        ratios = [getattr(b, what) / max(getattr(o, what), 1e-9) for b, o in pairs]
        if len(ratios) == 1:
            return Ratio(ratios[0], ratios[0], ratios[0])
        low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
        return Ratio(median, low, high)


def measure(
    work: Work,
    workers: list[Worker],
    servers: Servers,
    *,
    rounds: int,
    seconds: float,
    tick: Callable[[], None] = lambda: None,
) -> Result:
    """Measure one work.

    :param workers: of the clients that take part; the first is the one that sets how many
        requests there are in a slice.
    :param seconds: how long the slices of one client take together, about.
    :param tick: called after each round.
    :raises LookupError: the machine does not have what the work needs.
    """
    result = Result(work)
    servers.place(work)
    rounds = min(rounds, work.most_rounds or rounds)
    opened = []
    for worker in workers:
        try:
            worker.open(work, servers)
            if not work.dead_first:  # which has nothing to warm up, but long to wait
                worker.ask("run", requests=work.fresh or max(2, work.threads))
            opened.append(worker)
        except ClientError as error:
            result.left_out[worker.name] = str(error)
    if not opened:
        return result
    result.requests = work.fresh or _requests(work, opened, seconds / rounds)
    for number in range(rounds):
        # Another one begins each round, so that none always runs after the same neighbour.
        turn = number % len(opened)
        for worker in [*opened[turn:], *opened[:turn]]:
            try:
                measured = worker.ask("run", requests=result.requests)
            except ClientError as error:
                result.left_out[worker.name] = str(error)
                result.slices.pop(worker.name, None)
                continue
            result.slices.setdefault(worker.name, []).append(
                Slice(measured["wall"], measured["cpu"])
            )
        opened = [worker for worker in opened if worker.name not in result.left_out]
        tick()
    for worker in opened:
        worker.ask("close")
    return result


def _requests(work: Work, opened: list[Worker], seconds: float) -> int:
    """Return how many requests of the base client take so many seconds."""
    base = next((worker for worker in opened if worker.name == work.base), opened[0])
    tried = work.threads * 2
    while True:
        elapsed = base.ask("run", requests=tried)["elapsed"]
        if elapsed > seconds / 4 or tried >= 100_000:
            break
        tried *= 4
    fitting = int(tried * seconds / elapsed)
    return max(fitting - fitting % work.threads, work.threads)
