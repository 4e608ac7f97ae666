"""An exception at any step of the line for a connection of a manager leaves the line whole."""

from __future__ import annotations

import contextlib
import gc
import itertools
import threading
from collections.abc import Callable

import pytest

from dummyserver.counting import CountingServer
from tests.hostile.counting import counted
from tests.hostile.effort import SEED, stride
from tests.hostile.interrupts import Injector
from tests.hostile.test_pool_interrupts import ERRORS, quiet
from urllib4 import CancelToken, PoolManager, _quota

PATIENCE = 10.0

#: Every so many bytecodes one is tried; others for each error.
STEP = stride(13)


def at_once(manager: PoolManager, servers: list[CountingServer]) -> None:
    assert manager.request("GET", servers[0].url).status == 200


def with_a_token(manager: PoolManager, servers: list[CountingServer]) -> None:
    assert manager.request("GET", servers[0].url, cancel=CancelToken()).status == 200


def after_making_room(manager: PoolManager, servers: list[CountingServer]) -> None:
    assert manager.request("GET", servers[1].url).status == 200


def after_a_wait(manager: PoolManager, servers: list[CountingServer]) -> None:
    held = manager.request("GET", servers[1].url, preload_content=False)
    quota = manager._quota
    over = threading.Event()

    def give() -> None:
        while not quota._line and not over.wait(0.0005):
            pass
        held.close()

    giver = threading.Thread(target=give)
    giver.start()
    try:
        assert manager.request("GET", servers[0].url).status == 200
    finally:
        over.set()
        giver.join()


@pytest.mark.parametrize("work", [at_once, with_a_token, after_making_room, after_a_wait])
def test_an_exception_in_the_line_leaves_nobody_waiting(
    work: Callable[[PoolManager, list[CountingServer]], None],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A place of somebody who is gone would hold up all behind it, for ever."""
    monkeypatch.setattr(_quota, "LOOK_AGAIN", 0.02)
    with (
        CountingServer() as one,
        CountingServer() as two,
        quiet(),
        Injector(("/_quota.py",), opcodes=True) as injector,
        counted(request, f"exceptions in the line, {work.__name__}") as counts,
    ):
        servers = [one, two]

        def interrupt(at: int, error: type[BaseException]) -> bool:
            with PoolManager(max_connections=1, timeout=PATIENCE, retries=False) as manager:
                manager.request("GET", one.url)
                with contextlib.suppress(*ERRORS):
                    injector.call(lambda: work(manager, servers), at, error())
                where = injector.where
                if manager._quota._line or not manager._quota._free:
                    gc.collect()  # the exception and the frames that know it kept each other alive
                assert not manager._quota._line, f"somebody is left in the line at {where}"
                after = manager.request("GET", two.url, pool_timeout=PATIENCE)
                assert after.status == 200, where
                manager.clear()
                if not manager._quota._free:
                    gc.collect()
                assert len(manager._quota._free) == 1, f"a permit is lost at {where}"
            return where is not None

        interrupt(0, KeyboardInterrupt)
        for number, at in enumerate(itertools.count(1 + SEED % STEP, STEP)):
            error = ERRORS[number % 3]
            if not interrupt(at, error):
                break
            counts[error.__name__] += 1
        assert sum(counts.values()) > 10
