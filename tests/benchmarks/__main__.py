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

from tests.benchmarks import report
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
                f"unknown {what} {', '.join(unknown) or text!r}; there are {', '.join(known)}"
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
    add("--json", type=Path, metavar="FILE", help="write all numbers there")
    add("--list", action="store_true", help="show the works and clients, and end")
    return parser.parse_args(arguments)


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


def main() -> int:
    """Run what the command line asks for."""
    options = parse()
    if options.list:
        show_list()
        return 0
    started = time.monotonic()
    nginx = pick_server(options.server)
    run = Run(options)
    with ExitStack() as stack:
        servers = stack.enter_context(Servers(run.server_cpu, nginx))
        run.measure(servers, stack)
        facts = {
            **report.machine(),
            "server": servers.description,
            "versions": run.versions,
            "seconds": round(time.monotonic() - started, 1),
        }
    print(report.as_text(report.rows(run.results)))
    print()
    others = [name for name in EVERYBODY[2:] if name in run.versions]
    print(report.as_text(report.summary(run.results, others)))
    print()
    versions = ", ".join(f"{name} {version}".strip() for name, version in run.versions.items())
    print(f"{facts['date']}, {facts['python']}, {facts['machine']}, {facts['system']}")
    print(f"{versions}; server: {facts['server']}; {facts['seconds']:g} s")
    if options.json:
        options.json.write_text(json.dumps(report.as_data(run.results, facts), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
