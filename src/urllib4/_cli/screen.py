"""Text on one stream: coloured by rich where that is installed and somebody looks, else plain."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from .progress import PlainProgress
from .text import encodable, printable

if TYPE_CHECKING:
    from rich.console import Console


class Screen:
    """A stream for people to read.

    :param stream: such as ``sys.stderr``.
    :param plain: no colours, even if rich is there.

    All text passes :func:`printable` first, so nothing can steer the terminal.

    :ivar is_terminal: whether somebody looks at it.
    """

    def __init__(self, stream: TextIO, *, plain: bool = False) -> None:
        self._stream = stream
        self.is_terminal = stream.isatty()
        self._console = _console(stream) if self.is_terminal and not plain else None

    @property
    def is_rich(self) -> bool:
        """Whether there are colours."""
        return self._console is not None

    @property
    def console(self) -> Console | None:
        """The console of rich; None for plain text."""
        return self._console

    def line(self, text: str, style: str = "") -> None:
        """Write one line.

        :param style: as rich names it; without effect in plain text.
        """
        self.write(text + "\n", style)

    def write(self, text: str, style: str = "") -> None:
        """Write text, line ends included."""
        text = self._shown(text)
        if self._console is None:
            self._stream.write(text)
            self._stream.flush()
            return
        from rich.text import Text

        # Text, not str: brackets in it are no markup.  Long lines are left to the terminal.
        self._console.print(Text(text, style=style), end="", soft_wrap=True)

    def code(self, text: str, lexer: str) -> None:
        """Write text in a language, highlighted.

        :param lexer: the language as Pygments calls it.
        """
        if self._console is None:
            self.write(text)
            return
        from rich.syntax import Syntax

        text = self._shown(text)
        syntax = Syntax(text, lexer, theme="ansi_dark", background_color="default")
        highlighted = syntax.highlight(text)
        # Pygments adds a newline, and may drop others at the ends: whole lines are written.
        highlighted.rstrip()
        self._console.print(highlighted, soft_wrap=True)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Write a table; all columns but the first are aligned to the right."""
        if self._console is None:
            self.write(_plain_table(title, columns, rows))
            return
        from rich.table import Table

        table = Table(*columns, title=title, title_justify="left")
        for column in table.columns[1:]:
            column.justify = "right"
        for row in rows:
            table.add_row(*(self._shown(cell) for cell in row))
        self._console.print(table)

    def _shown(self, text: str) -> str:
        return encodable(printable(text), self._stream.encoding)

    @contextmanager
    def progress(
        self, total: int | None, *, always: bool = False
    ) -> Iterator[Callable[[int], None]]:
        """Show how far a transfer is; gives the function to call with the bytes so far.

        :param total: bytes in all; None if nobody knows.
        :param always: show steps of it, line by line, to those who do not look at a terminal.
        """
        if self._console is not None:
            with _rich_progress(self._console, total) as update:
                yield update
        elif self.is_terminal or always:
            plain = PlainProgress(self._stream, total, rewrite=self.is_terminal)
            try:
                yield plain.update
            finally:
                plain.finish()
        else:
            yield lambda count: None


def _plain_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    lines = [title]
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  " + "  ".join(cells))
    return "\n".join([*lines, ""])


def _console(stream: TextIO) -> Console | None:
    """Return a console of rich for a terminal, None if rich is not installed."""
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console(file=stream, highlight=False, markup=False, emoji=False)


@contextmanager
def _rich_progress(console: Console, total: int | None) -> Iterator[Callable[[int], None]]:
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskProgressColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns: list[Any] = [BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn()]
    if total is not None:
        columns = [TaskProgressColumn(), *columns, TimeRemainingColumn()]
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=total)
        yield lambda count: bar.update(task, completed=count)


def stdout_screen(plain: bool) -> Screen:
    """Return the screen of standard output as it is now."""
    return Screen(sys.stdout, plain=plain)


def stderr_screen(plain: bool) -> Screen:
    """Return the screen of standard error as it is now."""
    return Screen(sys.stderr, plain=plain)
