"""Counts generated cases, and prints how many there were and what became of them."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest


@contextlib.contextmanager
def counted(request: pytest.FixtureRequest, title: str) -> Iterator[Counter[str]]:
    """Give a counter and print it at the end, past pytest's capturing."""
    counts: Counter[str] = Counter()
    yield counts
    capture: Any = request.config.pluginmanager.getplugin("capturemanager")
    shown = ", ".join(f"{name}: {number}" for name, number in sorted(counts.items()))
    with contextlib.nullcontext() if capture is None else capture.global_and_fixture_disabled():
        print(f"\n{title}: {sum(counts.values())} cases ({shown})")
