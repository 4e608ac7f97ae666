"""How far a run is, on standard error: with rich where that is installed."""

from __future__ import annotations

import sys
from typing import Any


class Progress:
    """A context manager that shows which work is measured.

    :param names: of all works.
    :param rounds: how many ticks each of them has.
    """

    def __init__(self, names: list[str], rounds: int) -> None:
        self._rounds = rounds
        self._names = names
        self._bar: Any = None
        if sys.stderr.isatty():
            try:
                from rich.console import Console
                from rich.progress import Progress as Bar
            except ImportError:
                return
            self._bar = Bar(console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("", total=len(names) * rounds)

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, name: str) -> None:
        """Say that a work begins."""
        if self._bar is not None:
            at = self._names.index(name) * self._rounds
            self._bar.update(self._task, description=name, completed=at)
        else:
            self.say(f"{name} ({self._names.index(name) + 1} of {len(self._names)})")

    def tick(self) -> None:
        """Say that a round is over."""
        if self._bar is not None:
            self._bar.advance(self._task)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)
