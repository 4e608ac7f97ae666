"""What ``--write-docs`` leaves in docs/: the picture and the tables of one run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks import chart, report
from tests.benchmarks.measure import Result
from tests.benchmarks.works import EVERYBODY

#: The directory of the documentation.
DOCS = Path(__file__).parents[2] / "docs"

PICTURE = "performance.svg"
TABLES = "performance-results.inc"
PROFILE = "performance-profile.inc"

_WRITTEN = ".. Written by ``python -m tests.benchmarks --write-docs``; edits are lost."

TITLE = "Times faster than urllib3 (logarithmic, more is better)"


def notes(facts: dict[str, Any]) -> list[str]:
    """Return the lines that belong under a picture or a table."""
    versions = ", ".join(f"{k} {v}".strip() for k, v in facts["versions"].items() if v)
    return [
        f"{facts['date']}, {facts['python']}, {facts['openssl']}, {facts['system']}, "
        f"{facts['machine']}",
        f"{versions}; server on loopback: {facts['server']}",
    ]


def picture(results: Sequence[Result], facts: dict[str, Any]) -> str:
    """Return the SVG of a run."""
    return chart.chart(chart.bars(results), TITLE, notes(facts))


def tables(
    results: Sequence[Result],
    facts: dict[str, Any],
    counted: Sequence[Sequence[Sequence[str]]],
) -> str:
    """Return the tables of a run in reStructuredText.

    :param counted: what `extras` counted, table by table.
    """
    others = [name for name in EVERYBODY[2:] if name in facts["versions"]]
    parts = [
        _WRITTEN,
        "\n".join(f"| {line}" for line in notes(facts)),
        list_table(report.summary(results, others)),
        *(list_table(table) for table in counted if len(table) > 1),
    ]
    return "\n\n".join(parts) + "\n"


def list_table(table: Sequence[Sequence[str]]) -> str:
    """Return a table as a ``list-table``."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in table:
        for number, cell in enumerate(row):
            lines.append(f"   {'*' if number == 0 else ' '} - {cell}".rstrip())
    return "\n".join(lines)


def write(
    results: Sequence[Result],
    facts: dict[str, Any],
    counted: Sequence[Sequence[Sequence[str]]],
    profiles: Sequence[Sequence[Sequence[str]]],
    directory: Path = DOCS,
) -> None:
    """Write the picture and the tables; the profile only if there is a new one."""
    (directory / PICTURE).write_text(picture(results, facts), encoding="utf-8")
    (directory / TABLES).write_text(tables(results, facts, counted), encoding="utf-8")
    if profiles:
        text = "\n\n".join([_WRITTEN, *map(list_table, profiles)]) + "\n"
        (directory / PROFILE).write_text(text, encoding="utf-8")
