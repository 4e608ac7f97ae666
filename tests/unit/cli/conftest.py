"""Fixtures of the command line's tests: streams that claim to be a terminal, or to lack rich."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

import pytest


class Terminal(io.TextIOWrapper):
    """Text in memory that says it is a terminal."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__(io.BytesIO(), encoding=encoding, newline="", write_through=True)

    def isatty(self) -> bool:
        return True

    def shown(self) -> str:
        raw: io.BytesIO = self.buffer  # type: ignore[assignment]
        return raw.getvalue().decode(self.encoding)


@pytest.fixture
def terminal() -> Callable[..., Terminal]:
    return Terminal


@pytest.fixture
def no_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it were not installed."""
    for name in {"rich", *(name for name in sys.modules if name.startswith("rich."))}:
        monkeypatch.setitem(sys.modules, name, None)
