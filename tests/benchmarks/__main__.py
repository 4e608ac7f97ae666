"""``python -m tests.benchmarks``: how fast is urllib4, beside others, on this machine?"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.benchmarks import docs_page, extras, report
from tests.benchmarks.clients import CLIENTS
from tests.benchmarks.measure import ClientError, Result, Worker, measure
from tests.benchmarks.progress import Progress
from tests.benchmarks.servers import Servers, find_nginx
from tests.benchmarks.works import EVERYBODY, WORKS

#: Rounds, and seconds for each client and work, of a full and of a quick run.
FULL = (9, 2.25)
QUICK = (3, 0.15)


def _names(known: Sequence[str], what: str) -> Any:
    def convert(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",") if name.strip()]
        unknown = [name for name in names if name not in known]
        if unknown or not names:
            raise argparse.ArgumentTypeError(
                f"unknown {what} {', '.join(unknown)!r}; there are {', '.join(known)}"
            )
        return names

    return convert


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if value <= 0:
        raise argparse.ArgumentTypeError(f"a number above 0 is needed, not {text!r}")
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number above 0 is needed, not {text!r}")
    return int(text)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="Compare urllib4 with other HTTP clients: ratios to urllib3 of the same run.",
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="rough numbers in under a minute")
    add("--only", type=_names(tuple(WORKS), "work"), metavar="WORK,...", help="these works")
    add(
        "--clients",
        type=_names(tuple(CLIENTS), "client"),
        metavar="CLIENT,...",
        help="these clients",
    )
    add("--seconds", type=_positive, help="about how long each client works on each work")
    add("--rounds", type=_count, help="how many slices that is")
    add("--server", choices=("auto", "nginx", "loop"), default="auto", help="default: auto")
    add("--memory", action="store_true", help="memory of down- and uploads, too")
    add("--instructions", action="store_true", help="count instructions, too (by valgrind)")
    add("--profile", action="store_true", help="show which functions of urllib4 take the time")
    add("--json", type=Path, metavar="FILE", help="write all numbers there")
    add("--svg", type=Path, metavar="FILE", help="draw a picture there")
    add("--write-docs", action="store_true", help="renew the picture and tables of docs/")
    add("--list", action="store_true", help="show the works and clients, and end")
    options = parser.parse_args(arguments)
    if not (options.quick or options.only):
        options.memory = options.instructions = options.profile = True
    return options


def show_list() -> None:
    """Print the names that ``--only`` and ``--clients`` take."""
    print("works:")
    for work in WORKS.values():
        print(f"  {work.name:<14} {work.about}")
    print("clients:")
    for name in CLIENTS:
        print(f"  {name}")


def pick_server(wanted: str) -> str | None:
    """Return the path of nginx, or None for our own loop.

    :raises SystemExit: nginx is wanted and not there.
    """
    path = None if wanted == "loop" else find_nginx()
    if path is None and wanted == "nginx":
        raise SystemExit("nginx is not installed (apt-get install nginx)")
    if path is None and wanted == "auto":
        print("nginx is not installed: our own loop server answers everything.")
    return path


def pick_cores() -> tuple[int | None, int | None]:
    """Return a core for the servers and one for the clients; None where they cannot be chosen."""
    if not hasattr(os, "sched_setaffinity"):
        print("cores cannot be chosen on this system: expect more noise.")
        return None, None
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        print("one core for servers and clients: the times are too long, the ratios too small.")
    return cores[0], cores[-1]


def warn_if_busy() -> None:
    """Say so when other programs use the cores: then times mean little, CPU times still do."""
    if hasattr(os, "getloadavg") and os.getloadavg()[0] > (os.cpu_count() or 1) / 2:
        load = os.getloadavg()[0]
        print(f"this machine is busy (load {load:.1f}): trust the columns of CPU time only.")


class Run:
    """One run: the processes that take part, and what came out.

    :param options: of the command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        rounds, seconds = QUICK if options.quick else FULL
        self._rounds: int = options.rounds or rounds
        self._seconds: float = options.seconds or seconds
        self._works = [WORKS[name] for name in options.only or WORKS]
        self._clients: list[str] = options.clients or list(EVERYBODY)
        self.server_cpu, self.client_cpu = pick_cores()
        self._workers: dict[str, Worker] = {}
        self.versions: dict[str, str] = {}
        self.results: list[Result] = []
        self.counted: list[list[list[str]]] = []
        self.counts: dict[str, Any] = {}
        self.profiles: list[list[list[str]]] = []

    def measure(self, servers: Servers, stack: ExitStack) -> None:
        """Measure all works."""
        if self.server_cpu is not None:
            # Beside the servers, which have nothing to do while this process has.
            os.sched_setaffinity(0, {self.server_cpu})
        names = dict.fromkeys(self._clients)
        if "urllib4" in names:
            names.update(dict.fromkeys(("urllib4-idle",)))
        for name in names:
            self._start(name, stack)
        with Progress([work.name for work in self._works], self._rounds) as progress:
            for work in self._works:
                workers = [self._workers[name] for name in work.clients if name in self._workers]
                if not workers:
                    continue
                progress.begin(work.name)
                try:
                    result = measure(
                        work,
                        workers,
                        servers,
                        rounds=self._rounds,
                        seconds=self._seconds,
                        tick=progress.tick,
                    )
                except LookupError as error:
                    progress.say(f"{work.name} is left out: {error}")
                    continue
                for client, reason in result.left_out.items():
                    progress.say(f"{work.name}: {client} is left out: {reason}")
                self.results.append(result)

    def count(self, servers: Servers, memory: bool, instructions: bool) -> None:
        """Count what is wanted, and the modules of an import."""
        works = [work.name for work in self._works]
        clients = list(self.versions)
        if memory:
            _say("memory")
            peaks = extras.measure_memory(works, clients, servers, self.client_cpu, _say)
            self.counted.append(extras.memory_table(peaks))
            self.counts["memory"] = {
                work: {client: peak._asdict() for client, peak in found.items()}
                for work, found in peaks.items()
            }
        if instructions:
            _say("instructions")
            counts = extras.count_instructions(works, clients, servers, _say)
            self.counted.append(extras.instruction_table(counts))
            self.counts["instructions"] = counts
        modules = extras.count_modules(works, {name: self._workers[name] for name in clients})
        if modules:
            self.counted.append(extras.module_table(modules))
            self.counts["modules"] = modules

    def profile(self, servers: Servers) -> None:
        """Find out where urllib4 spends its time at the first of the works."""
        name = self._works[0].name
        _say(f"profile of {name}")
        try:
            found = extras.profile(name, "urllib4", servers, self.client_cpu)
        except ClientError as error:
            _say(f"no profile: {error}")
            return
        self.profiles.append(extras.profile_table(name, found))

    def show(self, facts: dict[str, Any]) -> None:
        """Print all tables."""
        others = [name for name in EVERYBODY[2:] if name in self.versions]
        summary = report.summary(self.results, others)
        for table in (report.rows(self.results), summary, *self.counted, *self.profiles):
            if len(table) > 1:
                print(report.as_text(table), end="\n\n")
        print("\n".join(docs_page.notes(facts)))
        print(f"{facts['seconds']:g} s")

    def _start(self, name: str, stack: ExitStack) -> None:
        worker = stack.enter_context(Worker(name, self.client_cpu))
        try:
            version = worker.ask("version")
        except ClientError as error:
            print(f"{name} is left out: {error}")
            return
        if name != "urllib4-idle":
            self.versions[name] = version
        self._workers[name] = worker


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Run what the command line asks for."""
    options = parse()
    if options.list:
        show_list()
        return 0
    started = time.monotonic()
    warn_if_busy()
    nginx = pick_server(options.server)
    run = Run(options)
    with ExitStack() as stack:
        servers = stack.enter_context(Servers(run.server_cpu, nginx))
        run.measure(servers, stack)
        run.count(servers, options.memory, options.instructions)
        if options.profile:
            run.profile(servers)
        facts = {
            **report.machine(),
            "server": servers.description,
            "versions": run.versions,
            "seconds": round(time.monotonic() - started, 1),
        }
    run.show(facts)
    if options.json:
        data = report.as_data(run.results, {**facts, **run.counts})
        options.json.write_text(json.dumps(data, indent=1) + "\n")
    if options.svg:
        options.svg.write_text(docs_page.picture(run.results, facts), encoding="utf-8")
    if options.write_docs:
        docs_page.write(run.results, facts, run.counted, run.profiles)
    return 0


if __name__ == "__main__":
    sys.exit(main())
