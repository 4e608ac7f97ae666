"""A transfer's progress as plain text."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

from .text import size_text

#: Seconds between two updates of a line that is written over.
_INTERVAL = 0.1
#: Steps that are shown where lines cannot be written over.
_STEPS = 4
_BAR_WIDTH = 20


class PlainProgress:
    """Shows a share if the total is known, the bytes so far if it is not.

    :param total: bytes in all; None if nobody knows.
    :param rewrite: write over one line, as a terminal can; else a line per quarter.
    :param clock: monotonic seconds.
    """

    def __init__(
        self,
        stream: TextIO,
        total: int | None,
        *,
        rewrite: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._total = total
        self._rewrite = rewrite
        self._clock = clock
        self._next_at = clock()
        self._step = 0
        self._count = 0
        self._shown = ""

    def update(self, count: int) -> None:
        """Take note of the bytes so far, and show them if it is time to."""
        self._count = count
        if self._rewrite:
            now = self._clock()
            if now >= self._next_at:
                self._next_at = now + _INTERVAL
                self._show()
        elif self._total:
            step = count * _STEPS // self._total
            if step > self._step:
                self._step = step
                self._show()

    def finish(self) -> None:
        """Show the last state and go to the next line."""
        self._show()
        if self._rewrite and self._shown:
            self._stream.write("\n")
            self._stream.flush()

    def _show(self) -> None:
        text = self._text()
        if text == self._shown:
            return
        if self._rewrite:
            # Blanks write over what was longer before.
            self._stream.write(f"\r{text.ljust(len(self._shown))}")
        else:
            self._stream.write(f"{text}\n")
        self._stream.flush()
        self._shown = text

    def _text(self) -> str:
        count = size_text(self._count)
        if not self._total:
            return count
        share = min(1.0, self._count / self._total)
        filled = int(share * _BAR_WIDTH)
        bar = "#" * filled + "." * (_BAR_WIDTH - filled)
        return f"[{bar}] {share:4.0%}  {count} of {size_text(self._total)}"
