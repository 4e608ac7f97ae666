"""Runs cases of the fuzzer: each is made from a seed and a number, so that it can be repeated."""

from __future__ import annotations

import contextlib
import logging
import random
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

from tests.fuzz.memory import Descriptors, Hang
from tests.fuzz.mutate import corpus, mutate
from tests.fuzz.target import Report, run_case

#: Seconds of CPU time after which a case that does not even receive counts as a hang.
CASE_SECONDS = 20.0


def case(seed: int, number: int, seeds: list[bytes]) -> tuple[bytes, random.Random]:
    """Return the answer of a case, and what decides everything else in it."""
    chance = random.Random(f"{seed}/{number}")
    return mutate(chance.choice(seeds), seeds, chance), chance


def run(*, seed: int, cases: int | None = None, seconds: float | None = None) -> Report:
    """Run cases until there were enough of them, or until the time is over."""
    seeds = [data for _, data in corpus()]
    report = Report()
    end = None if seconds is None else time.monotonic() + seconds
    number = 0
    with _quiet(), _descriptors() as descriptors, _alarm():
        while (cases is None or number < cases) and (end is None or time.monotonic() < end):
            answer, chance = case(seed, number, seeds)
            _restart_alarm()
            report.add(number, answer, run_case(answer, chance, descriptors))
            number += 1
    return report


@contextlib.contextmanager
def _descriptors() -> Iterator[Descriptors]:
    descriptors = Descriptors()
    try:
        yield descriptors
    finally:
        descriptors.close()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Log nothing: damaged fields and retries are warned about."""
    logger = logging.getLogger("urllib4")
    before = logger.disabled
    children = [
        one
        for name, one in logging.root.manager.loggerDict.items()
        if name.startswith("urllib4") and isinstance(one, logging.Logger)
    ]
    states = [(one, one.disabled) for one in children]
    for one in [logger, *children]:
        one.disabled = True
    try:
        yield
    finally:
        logger.disabled = before
        for one, state in states:
            one.disabled = state


def _can_be_alarmed() -> bool:
    return hasattr(signal, "setitimer") and (threading.current_thread() is threading.main_thread())


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    """Let a loop that does not even receive end in a `Hang`, where there are signals."""
    if not _can_be_alarmed():
        yield
        return

    def ring(*args: Any) -> None:
        raise Hang

    before = signal.signal(signal.SIGVTALRM, ring)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _restart_alarm() -> None:
    if _can_be_alarmed():
        signal.setitimer(signal.ITIMER_VIRTUAL, CASE_SECONDS)
