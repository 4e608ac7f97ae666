"""What is counted rather than timed: memory, instructions, modules.

These numbers hardly vary between runs, so each is taken once, in a process of its own.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.goals import GOALS
from tests.benchmarks.measure import ClientError, Worker
from tests.benchmarks.servers import Servers
from tests.benchmarks.works import MIB, WORKS, Work

#: Works whose memory is looked at, and those whose instructions are counted.
MEMORY = ("dl_stream", "dl_preload", "dl_stream_tls", "up_file", "up_multipart")
INSTRUCTIONS = ("small", "json", "k64", "chunks", "pieces", "newconn", "churn", "pm_evict")

#: Works whose modules are counted.
MODULES = ("import", "import_use")

#: Clients whose imports alone take callgrind half a minute.
SLOW_TO_COUNT = ("requests", "httpx")

#: Requests of the two processes whose difference is what requests cost.
FEW, MANY = 20, 120

#: Seconds that are profiled, and the least share of a module that is shown.
PROFILED, SHOWN = 4.0, 0.01

_COLLECTED = re.compile(r"Collected\s*:\s*(\d+)")

#: Called with what goes wrong.
Say = Callable[[str], None]


class Memory(NamedTuple):
    """Bytes at the peak of one request, beyond what there was before.

    :ivar traced: by Python's allocators.
    :ivar resident: of the whole process; it includes what C libraries and the allocator keep.
    """

    traced: int
    resident: int


class Profile(NamedTuple):
    """Where the time of a request goes; see `worker.profile`."""

    samples: dict[str, int]
    seconds: float


def measure_memory(
    names: Iterable[str], clients: Iterable[str], servers: Servers, cpu: int | None, say: Say
) -> dict[str, dict[str, Memory]]:
    """Return what works take: work, then client."""
    found: dict[str, dict[str, Memory]] = {}
    for name in names:
        if name not in MEMORY:
            continue
        for client in clients:
            if client not in WORKS[name].clients:
                continue
            try:
                peaks = [_peak(WORKS[name], client, servers, cpu, traced) for traced in (1, 0)]
            except ClientError as error:
                say(f"memory of {name}: {client} is left out: {error}")
                continue
            found.setdefault(name, {})[client] = Memory(*peaks)
    return found


def _peak(work: Work, client: str, servers: Servers, cpu: int | None, traced: int) -> int:
    with Worker(client, cpu) as worker:
        # What is imported and made once must not count as memory of the request.
        worker.open(WORKS["small"], servers)
        worker.ask("run", requests=2)
        worker.ask("close")
        worker.open(work, servers)
        peak: int = worker.ask("memory", traced=bool(traced))
        return peak


def count_instructions(
    names: Iterable[str], clients: Iterable[str], servers: Servers, say: Say
) -> dict[str, dict[str, int]]:
    """Return how many instructions one request takes, by callgrind: work, then client."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        say("valgrind is not installed (apt-get install valgrind): no instructions are counted.")
        return {}
    found: dict[str, dict[str, int]] = {}
    for name in names:
        if name not in INSTRUCTIONS:
            continue
        for client in clients:
            if client in SLOW_TO_COUNT:
                continue
            try:
                count = _instructions(valgrind, WORKS[name], client, servers)
            except ClientError as error:
                say(f"instructions of {name}: {client} is left out: {error}")
                continue
            found.setdefault(name, {})[client] = count
    return found


def _instructions(valgrind: str, work: Work, client: str, servers: Servers) -> int:
    """Return the instructions of one request, or of one of a batch."""
    # Each host was asked before: what it is remembered by is not part of a request.
    before = 0 if work.hosts == 1 else work.hosts
    few, many = before + max(1, FEW // work.batch), before + max(2, MANY // work.batch)
    spent = [_collected(valgrind, work, client, servers, requests) for requests in (few, many)]
    return (spent[1] - spent[0]) // ((many - few) * work.batch)


def _collected(valgrind: str, work: Work, client: str, servers: Servers, requests: int) -> int:
    """Return all instructions of a process that makes so many requests."""
    with tempfile.TemporaryDirectory(prefix="callgrind-") as directory:
        log = Path(directory, "log")
        wrapper = (
            valgrind,
            "--tool=callgrind",
            f"--log-file={log}",
            f"--callgrind-out-file={Path(directory, 'out')}",
        )
        # Without one seed for all, tables of strings differ from process to process.
        with Worker(client, None, wrapper, {"PYTHONHASHSEED": "0"}) as worker:
            worker.open(work, servers)
            worker.ask("run", requests=requests)
        match = _COLLECTED.search(log.read_text(errors="replace"))
    if match is None:
        raise ClientError("callgrind did not say what it counted")
    return int(match[1])


def count_modules(names: Iterable[str], workers: Mapping[str, Worker]) -> dict[str, dict[str, int]]:
    """Return how many modules a fresh interpreter loads: work, then client."""
    return {
        name: {
            client: worker.ask("modules", work=name)
            for client, worker in workers.items()
            if client in WORKS[name].clients
        }
        for name in names
        if name in MODULES
    }


def profile(name: str, client: str, servers: Servers, cpu: int | None) -> Profile:
    """Return where the time of a client goes at one work.

    :raises ClientError: the client cannot do it, or the system has no such timer.
    """
    with Worker(client, cpu) as worker:
        worker.open(WORKS[name], servers)
        worker.ask("run", requests=100)
        elapsed = worker.ask("run", requests=100)["elapsed"]
        found = worker.ask("profile", requests=max(1, int(100 * PROFILED / elapsed)))
    return Profile(found["samples"], found["seconds"])


def profile_table(name: str, found: Profile) -> list[list[str]]:
    """Return the modules by their own time, with the functions that take most of it."""
    modules: dict[str, Counter[str]] = {}
    for place, count in found.samples.items():
        module, _, function = place.partition(":")
        modules.setdefault(module, Counter())[function] += count
    total = max(sum(found.samples.values()), 1)
    table = [[f"time of {name} in module", "share", "of a request", "mostly in"]]
    for module, functions in sorted(modules.items(), key=lambda item: -item[1].total()):
        share = functions.total() / total
        if share >= SHOWN:
            table.append(
                [
                    module,
                    f"{share:.0%}",
                    f"{share * found.seconds * 1e6:.1f} us",
                    ", ".join(function for function, _ in functions.most_common(4)),
                ]
            )
    return table


def memory_table(found: dict[str, dict[str, Memory]]) -> list[list[str]]:
    """Return a line for each work and client, in MiB."""
    table = [["memory of", "client", "Python", "resident", "goal", ""]]
    for name, clients in found.items():
        goal = GOALS[name].peak_mib
        for client, memory in clients.items():
            own = client == "urllib4" and goal is not None
            table.append(
                [
                    name,
                    client,
                    f"{memory.traced / MIB:.2f} MiB",
                    f"{memory.resident / MIB:.1f} MiB",
                    f"{goal:g} MiB" if own else "",
                    _verdict(memory.traced / MIB, goal) if own else "",
                ]
            )
    return table


def instruction_table(found: dict[str, dict[str, int]]) -> list[list[str]]:
    """Return a line for each work and client."""
    table = [["instructions of", "client", "per request", "goal", ""]]
    for name, clients in found.items():
        goal = GOALS[name].instructions
        for client, count in clients.items():
            own = client == "urllib4" and goal is not None
            table.append(
                [
                    name,
                    client,
                    f"{count:,}",
                    f"{goal:,}" if own else "",
                    _verdict(count, goal) if own else "",
                ]
            )
    return table


def module_table(found: dict[str, dict[str, int]]) -> list[list[str]]:
    """Return a line for each work and client."""
    table = [["modules of", "client", "loaded", "goal", ""]]
    for name, clients in found.items():
        goal = GOALS[name].modules if name in GOALS else None
        for client, count in clients.items():
            own = client == "urllib4" and goal is not None
            table.append(
                [
                    name,
                    client,
                    str(count),
                    str(goal) if own else "",
                    _verdict(count, goal) if own else "",
                ]
            )
    return table


def _verdict(value: float, goal: float | None) -> str:
    if goal is None:
        return ""
    return "met" if value <= goal else "missed"
