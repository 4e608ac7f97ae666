"""The process of one client: it makes requests when told to, and says what they cost.

``python -m tests.benchmarks.worker CLIENT CPU``: each line of standard input is a question in JSON,
each line of standard output its answer.  Every client has a process of its own, so that none pays
for what another one imported, allocated or left to the garbage collector.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from tests.benchmarks.clients import CLIENTS, Client, Settings, run_threads
from tests.benchmarks.works import WORKS, Work

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

#: A form is longer than its file by the lines around it, at most by this many bytes.
FORM_LINES = 1000

#: Bounds connecting where the first address is dead, in seconds.
CONNECT_TIMEOUT = 1.0

#: Seconds between two looks of a profile.
PROFILE_INTERVAL = 0.001


@dataclass(frozen=True)
class Place:
    """Where a work finds what it needs.

    :ivar urls: what to ask for, in turn.
    :ivar ca_file: the authorities to trust.
    :ivar file: what to upload.
    :ivar addresses: what a name resolves to; see `Settings`.
    """

    urls: list[str]
    ca_file: str
    file: str
    addresses: dict[str, list[str]]


class Bench:
    """One client at one work.

    :param client_class: the client.
    :param work: what it does.
    :param place: where.
    """

    def __init__(self, client_class: type[Client], work: Work, place: Place) -> None:
        self._client_class = client_class
        self._work = work
        self._place = place
        if place.addresses:
            _resolve_to(place.addresses)
        self._clients: list[Client] = []
        self._open()

    def _open(self) -> None:
        work, place = self._work, self._place
        settings = Settings(
            ca_file=place.ca_file,
            threads=work.threads,
            pools=work.pools,
            timeout=CONNECT_TIMEOUT if work.dead_first else None,
            gzip=work.gzip,
            addresses=tuple((name, tuple(all_)) for name, all_ in place.addresses.items()),
        )
        first = self._client_class(settings)
        self._clients = [first] + [first.for_thread() for _ in range(work.threads - 1)]
        self._calls = [self._call(client) for client in self._clients]

    def _call(self, client: Client) -> Callable[[], int]:
        """Return the call of this work, with all its arguments."""
        place = self._place
        method: Callable[..., int] = getattr(client, self._work.call)
        if self._work.call in ("load", "use"):
            return method
        if self._work.call == "lookup":
            return lambda: method(place.urls)
        if self._work.call in ("upload", "multipart"):
            return lambda: method(place.urls[0], place.file)
        if len(place.urls) == 1:
            url = place.urls[0]
            return lambda: method(url)
        urls = itertools.cycle(place.urls)
        return lambda: method(next(urls))

    def run(self, requests: int) -> dict[str, float]:
        """Make so many requests; return seconds per request: ``wall`` (median) and ``cpu``."""
        if self._work.fresh:
            self.close()
            self._open()
        gc.collect()
        cpu = _cpu_time()
        started = time.perf_counter()
        if len(self._calls) > 1:
            wall = self._run_threads(requests // len(self._calls))
        else:
            wall = self._run_one(self._calls[0], requests)
        elapsed = time.perf_counter() - started
        batch = self._work.batch
        spent = (_cpu_time() - cpu) / requests
        return {"wall": wall / batch, "cpu": spent / batch, "elapsed": elapsed}

    def _run_one(self, call: Callable[[], int], requests: int) -> float:
        clock = time.perf_counter
        times = []
        for _ in range(requests):
            started = clock()
            got = call()
            times.append(clock() - started)
            self._check(got)
        return statistics.median(times)

    def _run_threads(self, each: int) -> float:
        """Return the time by the number of requests: threads wait for each other, so a median of
        single ones says little."""
        ready = threading.Barrier(len(self._calls) + 1)

        def run(call: Callable[[], int]) -> None:
            ready.wait()
            for _ in range(each):
                self._check(call())

        targets: list[Callable[[], None]] = [lambda call=call: run(call) for call in self._calls]  # type: ignore[misc]
        begun: list[float] = []

        def begin() -> None:
            ready.wait()
            begun.append(time.perf_counter())

        run_threads([*targets, begin])
        return (time.perf_counter() - begun[0]) / (each * len(self._calls))

    def _check(self, got: int) -> None:
        length = self._work.length
        surplus = FORM_LINES if self._work.call == "multipart" else 0
        if not length <= got <= length + surplus:
            raise RuntimeError(f"{self._work.name}: got {got} bytes instead of {length}")

    def close(self) -> None:
        """Close what the clients have open."""
        for client in self._clients:
            client.close()
        self._clients = []


def _cpu_time() -> float:
    """Return the CPU time of this process and of the children it waited for, in seconds."""
    spent = time.process_time()
    if resource is not None:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent += children.ru_utime + children.ru_stime
    return spent


def _resolve_to(addresses: dict[str, list[str]]) -> None:
    """Let some ``name:port`` have the given addresses, in that order, for all of this process."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> list[Any]:
        given = addresses.get(f"{host}:{port}")
        if given is None:
            return list(real(host, port, *args, **kwargs))
        return [found for address in given for found in real(address, port, 0, socket.SOCK_STREAM)]

    socket.getaddrinfo = getaddrinfo


def peak_memory(bench: Bench, traced: bool) -> int:
    """Return the bytes that one request takes at its peak, beyond what was there before.

    :param traced: as Python's allocators see it; else what the process has resident.
    """
    if traced:
        import tracemalloc

        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        bench.run(1)
        return tracemalloc.get_traced_memory()[1] - before
    if Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew (proc(5))
        resident = _from_proc("VmRSS")
        bench.run(1)
        return _from_proc("VmHWM") - resident
    if resource is None:
        raise RuntimeError("there is no resident set size on this system")
    unit = 1 if sys.platform == "darwin" else 1024
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    bench.run(1)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident) * unit


def _from_proc(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"the kernel does not tell {name}")


def profile(bench: Bench, requests: int) -> dict[str, Any]:
    """Return where the time of requests goes, by looking where the program is each millisecond.

    A tracing profiler makes short functions look expensive; this costs next to nothing.  Waiting
    counts for the function that waits, C functions for their caller.

    :returns: ``samples`` (``module:function``: how often it was there) and ``seconds`` (per
        request).
    """
    samples: Counter[str] = Counter()

    def look(number: int, frame: FrameType | None) -> None:
        if frame is not None:
            module = frame.f_globals.get("__name__", "?")
            samples[f"{module}:{frame.f_code.co_name}"] += 1

    # Not the timer of CPU time: some kernels let it tick only every 25 ms.
    previous = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, PROFILE_INTERVAL, PROFILE_INTERVAL)
    try:
        elapsed = bench.run(requests)["elapsed"]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    return {"samples": samples, "seconds": elapsed / requests}


def new_modules(program: str) -> int:
    """Return how many modules a fresh interpreter loads for a program."""
    counting = f"import sys; before = len(sys.modules); {program}; print(len(sys.modules) - before)"
    return int(subprocess.check_output([sys.executable, "-c", counting]))


def answer(question: dict[str, Any], client_class: type[Client], benches: list[Bench]) -> Any:
    """Do what a question asks for; `benches` holds the work that is open."""
    asked = question["do"]
    if asked == "version":
        return client_class.version()
    if asked == "open":
        place = Place(**question["place"])
        benches.append(Bench(client_class, WORKS[question["work"]], place))
        return None
    if asked == "run":
        return benches[-1].run(question["requests"])
    if asked == "memory":
        return peak_memory(benches[-1], question["traced"])
    if asked == "profile":
        return profile(benches[-1], question["requests"])
    if asked == "modules":
        return new_modules(client_class.program(WORKS[question["work"]].call))
    if asked == "close":
        benches.pop().close()
        return None
    raise ValueError(f"unknown question {asked!r}")


def main() -> None:
    """Answer until standard input ends."""
    name, cpu = sys.argv[1:3]
    if cpu and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(cpu)})
    benches: list[Bench] = []
    for line in sys.stdin:
        try:
            reply = {"answer": answer(json.loads(line), CLIENTS[name], benches)}
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), flush=True)
    for bench in benches:
        bench.close()


if __name__ == "__main__":
    main()
