"""What was measured, as a table for people and as JSON for programs."""

from __future__ import annotations

import datetime
import os
import platform
import ssl
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from tests.benchmarks.goals import GOALS, Goal
from tests.benchmarks.measure import Ratio, Result


def machine() -> dict[str, str]:
    """Return what the numbers depend on: date, Python, machine."""
    return {
        "date": datetime.date.today().isoformat(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "machine": f"{os.cpu_count()} cores {platform.machine()}, {_processor()}",
        "system": f"{platform.system()} {platform.release()}",
        "openssl": " ".join(ssl.OPENSSL_VERSION.split()[:2]),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return " ".join(line.partition(":")[2].split())
    except OSError:
        pass
    return platform.processor() or sys.platform


def duration(seconds: float) -> str:
    """Return seconds with the unit that suits them.

    >>> duration(0.000123), duration(0.0456), duration(3)
    ('123 us', '45.6 ms', '3.00 s')
    """
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "us")):
        if seconds * factor >= 1 or unit == "us":
            digits = 3 - len(str(int(seconds * factor)))
            return f"{seconds * factor:.{max(digits, 0)}f} {unit}"
    raise AssertionError("not reached")


def times(ratio: Ratio | None, spread: bool = True) -> str:
    """Return a ratio and its spread, such as ``2.31 (2.2-2.4)``."""
    if ratio is None:
        return "-"
    if not spread:
        return f"{ratio.median:.2f}"
    return f"{ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f})"


def goal_text(goal: Goal | None) -> str:
    """Return the goal column: time / CPU, or what else was set."""
    if goal is None:
        return ""
    if goal.seconds is not None:
        return f"{goal.seconds:g} s"
    if goal.time is None and goal.cpu is None:
        return ""
    return f"{_number(goal.time)} / {_number(goal.cpu)}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def verdict(result: Result, client: str) -> str:
    """Return whether a client reaches the goals of a work: met, missed, failed or nothing."""
    goal = GOALS.get(result.work.name)
    if goal is None:
        return ""
    if client in result.left_out:
        return "failed"
    if client not in result.slices:
        return ""
    if goal.seconds is not None:
        return "met" if result.seconds(client, "wall") <= goal.seconds else "missed"
    checks = []
    for wanted, what in ((goal.time, "wall"), (goal.cpu, "cpu")):
        ratio = result.ratio(client, what)
        if wanted is not None and ratio is not None:
            checks.append(ratio.median >= wanted)
    if not checks:
        return ""
    return "met" if all(checks) else "missed"


def rows(results: Iterable[Result], ours: str = "urllib4") -> list[list[str]]:
    """Return the table: a line for each client of each work."""
    table = [["work", "client", "time", "time x (spread)", "CPU", "CPU x (spread)", "goal", ""]]
    for result in results:
        name = result.work.name
        for client in result.slices:
            own = client == ours
            table.append(
                [
                    name,
                    client,
                    duration(result.seconds(client, "wall")),
                    times(result.ratio(client, "wall")),
                    duration(result.seconds(client, "cpu")),
                    times(result.ratio(client, "cpu")),
                    goal_text(GOALS.get(name)) if own else "",
                    verdict(result, client) if own else "",
                ]
            )
            name = ""
    return table


def summary(results: Iterable[Result], others: Sequence[str]) -> list[list[str]]:
    """Return one line for each work: urllib4 with its spread, then the others' time / CPU."""
    table = [["work", "urllib4 time", "urllib4 CPU", "goal", "", *others]]
    for result in results:
        if result.work.base != "urllib3":
            continue
        table.append(
            [
                result.work.name,
                times(result.ratio("urllib4", "wall")),
                times(result.ratio("urllib4", "cpu")),
                goal_text(GOALS.get(result.work.name)),
                verdict(result, "urllib4"),
                *(_both(result, other) for other in others),
            ]
        )
    return table


def _both(result: Result, client: str) -> str:
    if client not in result.slices:
        return "-"
    wall, cpu = (times(result.ratio(client, what), spread=False) for what in ("wall", "cpu"))
    return f"{wall} / {cpu}"


def as_text(table: Sequence[Sequence[str]]) -> str:
    """Return a table with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for number, row in enumerate(table):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join(cells).rstrip())
        if number == 0:
            lines.append("  ".join("-" * width for width in widths))
    return "\n".join(lines)


def as_data(results: Iterable[Result], facts: dict[str, Any]) -> dict[str, Any]:
    """Return everything for the JSON file; times in seconds per request."""
    works = {}
    for result in results:
        goal = GOALS.get(result.work.name)
        works[result.work.name] = {
            "about": result.work.about,
            "base": result.work.base,
            "requests per slice": result.requests,
            "goal": None if goal is None else {"time": goal.time, "cpu": goal.cpu},
            "left out": result.left_out,
            "clients": {
                client: {
                    "wall": [one.wall for one in slices],
                    "cpu": [one.cpu for one in slices],
                    "time ratio": result.ratio(client, "wall"),
                    "cpu ratio": result.ratio(client, "cpu"),
                }
                for client, slices in result.slices.items()
            },
        }
    return {**facts, "works": works}
