"""A bar chart of one run as SVG, without a library: how many times faster than urllib3.

The scale is logarithmic, so that twice as fast and half as fast are equally long.  Colours follow
the reader's preference for light or dark, and the background is painted, so the picture can be read
on any page.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from tests.benchmarks.goals import GOALS
from tests.benchmarks.measure import Result

#: Pixels.
WIDTH, LEFT, RIGHT, TOP, ROW, BAR, BOTTOM = 820, 125, 60, 108, 34, 11, 58

#: Letters that fit into a line below the picture.
NOTE = 120

_STYLE = """
  .page { fill: #ffffff } .text { fill: #1b1f24 } .faint { fill: #59636e }
  .grid { stroke: #d8dee4 } .one { stroke: #59636e } .goal { stroke: #1b1f24 }
  .time { fill: #2f6fb3 } .cpu { fill: #9cc3e8 } .other { fill: #d08a1d }
  @media (prefers-color-scheme: dark) {
    .page { fill: #15191e } .text { fill: #e6e9ec } .faint { fill: #9aa4ae }
    .grid { stroke: #2d343c } .one { stroke: #9aa4ae } .goal { stroke: #e6e9ec }
    .time { fill: #5b9fe0 } .cpu { fill: #34597f } .other { fill: #e8ab4c }
  }
"""


class Bars(NamedTuple):
    """One row of the chart; all numbers are ratios."""

    name: str
    time: float
    cpu: float
    goal: float | None
    other: float | None


def bars(results: Sequence[Result], other: str = "pycurl") -> list[Bars]:
    """Return the rows of a chart: the works that urllib4 is compared with urllib3 at."""
    rows = []
    for result in results:
        time, cpu = result.ratio("urllib4", "wall"), result.ratio("urllib4", "cpu")
        if time is None or cpu is None or result.work.base != "urllib3":
            continue
        goal = GOALS.get(result.work.name)
        beside = result.ratio(other, "wall")
        rows.append(
            Bars(
                result.work.name,
                time.median,
                cpu.median,
                goal.time if goal else None,
                beside.median if beside else None,
            )
        )
    return rows


class _Scale:
    """From a ratio to pixels, logarithmic, between powers of two around all values."""

    def __init__(self, values: Sequence[float]) -> None:
        self.low = min(-1, math.floor(math.log2(min(values))))
        self.high = max(2, math.ceil(math.log2(max(values))))

    def __call__(self, value: float) -> float:
        part = (math.log2(value) - self.low) / (self.high - self.low)
        return LEFT + part * (WIDTH - LEFT - RIGHT)

    def ticks(self) -> list[float]:
        return [2.0**power for power in range(self.low, self.high + 1)]


def chart(rows: Sequence[Bars], title: str, notes: Sequence[str], other: str = "pycurl") -> str:
    """Return the picture.

    :param title: above it.
    :param notes: lines below it, such as the date, the machine and the versions.
    :param other: the client whose time is a dot in each row.
    :raises ValueError: there is nothing to draw.
    """
    if not rows:
        raise ValueError("nothing to draw: urllib4 and urllib3 have no work in common")
    numbers = [n for row in rows for n in (row.time, row.cpu, row.goal, row.other) if n]
    scale = _Scale(numbers)
    notes = [line for note in notes for line in textwrap.wrap(note, NOTE)]
    end = TOP + ROW * len(rows)
    height = end + BOTTOM + 16 * len(notes)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" font-family="system-ui, sans-serif" font-size="13" role="img" '
        f'aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{height}" rx="8"/>',
        f'<text class="text" x="20" y="32" font-size="18" font-weight="600">{escape(title)}</text>',
        *_legend(other),
        *_grid(scale, end),
    ]
    for number, row in enumerate(rows):
        lines += _row(row, TOP + number * ROW, scale)
    for number, note in enumerate(notes):
        y = end + 50 + 16 * number
        lines.append(f'<text class="faint" x="20" y="{y}" font-size="12">{escape(note)}</text>')
    return "\n".join([*lines, "</svg>", ""])


def _legend(other: str) -> list[str]:
    return [
        '<rect class="time" x="20" y="50" width="14" height="11" rx="2"/>',
        '<text class="text" x="40" y="60">time of a request</text>',
        '<rect class="cpu" x="170" y="50" width="14" height="11" rx="2"/>',
        '<text class="text" x="190" y="60">CPU time</text>',
        '<path class="goal" d="M278 49V63" stroke-width="2.5"/>',
        '<text class="text" x="288" y="60">goal (time)</text>',
        '<circle class="other" cx="386" cy="56" r="4.5"/>',
        f'<text class="text" x="396" y="60">{escape(other)} (time)</text>',
    ]


def _grid(scale: _Scale, end: int) -> list[str]:
    lines = []
    for tick in scale.ticks():
        x = round(scale(tick), 1)
        kind = "one" if tick == 1 else "grid"
        lines.append(f'<path class="{kind}" d="M{x} {TOP - 8}V{end}"/>')
        label = "urllib3 = 1" if tick == 1 else f"{tick:g}"
        for y in (TOP - 16, end + 18):
            lines.append(
                f'<text class="faint" x="{x}" y="{y}" text-anchor="middle" '
                f'font-size="12">{label}</text>'
            )
    return lines


def _row(row: Bars, top: int, scale: _Scale) -> list[str]:
    one = scale(1)
    lines = [
        f'<text class="text" x="{LEFT - 12}" y="{top + 16}" text-anchor="end">'
        f"{escape(row.name)}</text>"
    ]
    for number, (kind, value) in enumerate((("time", row.time), ("cpu", row.cpu))):
        left, right = sorted((one, scale(value)))
        lines.append(
            f'<rect class="{kind}" x="{left:.1f}" y="{top + number * BAR}" '
            f'width="{max(right - left, 1):.1f}" height="{BAR}"/>'
        )
    if row.goal is not None:
        x = scale(row.goal)
        lines.append(f'<path class="goal" d="M{x:.1f} {top - 3}V{top + 25}" stroke-width="2.5"/>')
    if row.other is not None:
        lines.append(f'<circle class="other" cx="{scale(row.other):.1f}" cy="{top + 6}" r="4.5"/>')
    lines.append(
        f'<text class="text" x="{WIDTH - 12}" y="{top + 16}" text-anchor="end">'
        f"{row.time:.2f}</text>"
    )
    return lines
