"""``python -m urllib4 demo``: what the library does, on a server of its own on this machine."""

from __future__ import annotations

import hashlib
import inspect
import textwrap
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

from ..exceptions import HTTPError
from ..poolmanager import PoolManager
from ..response import BaseHTTPResponse
from ..util.request import make_headers
from ..util.retry import Retry
from ..util.timeout import Timeout
from .demo_server import DOWNLOAD_SIZE, FAILURES, TEXT, DemoServer
from .errors import OK, PROTOCOL
from .screen import Screen
from .text import duration_text, one_line, size_text

#: Seconds for any single call; a demo that hangs would show the wrong thing.
_DEADLINE = 8.0

_CONNECTIONS = 3

Progress = Callable[[BaseHTTPResponse], Iterator[bytes]]


class Step(NamedTuple):
    """One thing to show.

    :ivar act: does it; its source is what is shown.
    :ivar tell: turns what `act` returned into a line, or raises :exc:`UnexpectedError`.
    """

    title: str
    act: Callable[..., Any]
    tell: Callable[[Any], str]


class UnexpectedError(Exception):
    """A step did not do what it is there to show."""


class Outcome(NamedTuple):
    """How a step went."""

    title: str
    passed: bool
    line: str
    seconds: float


# -- the steps: their bodies are shown as they stand here -----------------------------------------


def _threads(http: PoolManager, url: str) -> list[BaseHTTPResponse]:
    with ThreadPoolExecutor(8) as threads:
        answers = [threads.submit(http.request, "GET", f"{url}/hello") for _ in range(60)]
    return [answer.result() for answer in answers]


def _retry(http: PoolManager, url: str) -> BaseHTTPResponse:
    policy = Retry(total=5, status_forcelist=[503], backoff_factor=0.1)
    return http.request("GET", f"{url}/busy?key=demo", retries=policy)


def _redirect(http: PoolManager, url: str) -> BaseHTTPResponse:
    return http.request("GET", f"{url}/redirect")


def _gzip(http: PoolManager, url: str) -> BaseHTTPResponse:
    return http.request("GET", f"{url}/gzip", headers=make_headers(accept_encoding=True))


def _download(http: PoolManager, url: str, progress: Progress) -> tuple[int, str]:
    response = http.request("GET", f"{url}/download", preload_content=False)
    size, digest = 0, hashlib.sha256()
    for piece in progress(response):  # response.stream(), with a progress bar
        size += len(piece)
        digest.update(piece)
    return size, digest.hexdigest()


def _upload(http: PoolManager, url: str) -> BaseHTTPResponse:
    fields = {"title": "Holiday", "photo": ("beach.jpg", bytes(200_000), "image/jpeg")}
    return http.request("POST", f"{url}/upload", fields=fields)


# -- what they must have done ----------------------------------------------------------------------


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise UnexpectedError(what)


def _tell_threads(http: PoolManager, responses: list[BaseHTTPResponse]) -> str:
    answers = {response.data for response in responses}
    _expect(answers == {b"Hello!\n"}, "an answer is not the one that was expected")
    connections = sum(pool.num_connections for pool in _pools(http))
    _expect(connections <= _CONNECTIONS, f"{connections} connections were opened")
    return f"{len(responses)} requests of 8 threads over {connections} connections"


def _tell_retry(response: Any) -> str:
    failures = [attempt.status for attempt in response.retries.history]
    _expect(response.status == 200 and failures == [503] * FAILURES, f"got {response.status}")
    return f"{' and '.join(map(str, failures))}, then 200 after pauses of 0 and 0.2 s"


def _tell_redirect(response: Any) -> str:
    _expect(response.data == b"Hello!\n", "the redirect was not followed")
    return f"{response.retries.history[0].status} to {response.url}, then {response.status}"


def _tell_gzip(response: Any) -> str:
    _expect(response.data == TEXT, "the content is not what was compressed")
    return f"{size_text(response.tell())} received became {size_text(len(response.data))}"


def _tell_download(result: tuple[int, str]) -> str:
    size, digest = result
    _expect(size == DOWNLOAD_SIZE, f"{size} bytes came, not {DOWNLOAD_SIZE}")
    return f"{size_text(size)}, 64 KiB in memory at a time, SHA-256 {digest[:12]}..."


def _tell_upload(response: Any) -> str:
    parts = response.json()
    _expect([part["size"] for part in parts] == [7, 200_000], "the server got other parts")
    names = ", ".join(f"{part['name']} ({size_text(part['size'])})" for part in parts)
    return f"the server found {names}"


def _steps(http: PoolManager, screen: Screen) -> list[Step]:
    return [
        Step("Many threads, few connections", _threads, partial(_tell_threads, http)),
        Step("A busy server: retry with back-off", _retry, _tell_retry),
        Step("A redirect", _redirect, _tell_redirect),
        Step("A compressed answer", _gzip, _tell_gzip),
        Step(
            "A streamed download",
            _showing_source_of(_download, progress=partial(_with_progress, screen)),
            _tell_download,
        ),
        Step("A multipart upload", _upload, _tell_upload),
    ]


def _showing_source_of(function: Callable[..., Any], **arguments: Any) -> Callable[..., Any]:
    filled = partial(function, **arguments)
    filled.__wrapped__ = function  # type: ignore[attr-defined]  # what inspect looks for
    return filled


def _with_progress(screen: Screen, response: BaseHTTPResponse) -> Iterator[bytes]:
    count = 0
    with screen.progress(response.length_remaining, always=True) as update:
        for piece in response.stream(64 * 1024):
            yield piece
            count += len(piece)
            update(count)


# -- the show --------------------------------------------------------------------------------------


def run_demo(screen: Screen) -> int:
    """Show all steps and the figures of the pools; return the exit code.

    :returns: 0, or 6 if a step did not do what it is there to show.
    """
    with (
        DemoServer() as server,
        PoolManager(maxsize=_CONNECTIONS, block=True, timeout=Timeout(deadline=_DEADLINE)) as http,
    ):
        screen.line(f"A server of our own listens on {server.url}", "bold")
        screen.code(
            f"http = urllib4.PoolManager(maxsize={_CONNECTIONS}, block=True, "
            f"timeout=Timeout(deadline={_DEADLINE:g}))\n",
            "python",
        )
        outcomes = [_perform(step, http, server.url, screen) for step in _steps(http, screen)]
        figures = _figures(http)
    _show_outcomes(outcomes, screen)
    _show_figures(figures, screen)
    return OK if all(outcome.passed for outcome in outcomes) else PROTOCOL


def _perform(step: Step, http: PoolManager, url: str, screen: Screen) -> Outcome:
    screen.line(f"\n{step.title}", "bold cyan")
    screen.code(source_of(step.act), "python")
    start = time.perf_counter()
    try:
        line = step.tell(step.act(http, url))
        passed = True
    except (HTTPError, UnexpectedError) as error:
        line = one_line(f"{type(error).__name__}: {error}")
        passed = False
    outcome = Outcome(step.title, passed, line, time.perf_counter() - start)
    screen.line(f"-> {outcome.line}", "green" if passed else "bold red")
    return outcome


def source_of(act: Callable[..., Any]) -> str:
    """Return the body of a step as it stands in this module; empty where there is no source."""
    try:
        source = inspect.getsource(inspect.unwrap(act))
    except OSError:  # installed without sources
        return ""
    lines = source.splitlines()
    return textwrap.indent(textwrap.dedent("\n".join(lines[1:])), "    ") + "\n"


def _pools(http: PoolManager) -> list[Any]:
    return [http.pools[key] for key in http.pools.keys()]  # noqa: SIM118 - it is no dict


def _figures(http: PoolManager) -> list[tuple[str, str]]:
    """Return what the pools counted, as names and values."""
    pools = _pools(http)
    connections = sum(pool.num_connections for pool in pools)
    requests = sum(pool.num_requests for pool in pools)
    reused = (requests - connections) / requests if requests else 0.0
    return [
        ("pools", str(len(pools))),
        ("connections opened", str(connections)),
        ("requests sent", str(requests)),
        ("on a connection that was open already", f"{reused:.0%}"),
    ]


def _show_outcomes(outcomes: list[Outcome], screen: Screen) -> None:
    rows = [
        (outcome.title, "ok" if outcome.passed else "FAILED", duration_text(outcome.seconds))
        for outcome in outcomes
    ]
    screen.line("")
    screen.table("What was shown", ("step", "result", "time"), rows)


def _show_figures(figures: list[tuple[str, str]], screen: Screen) -> None:
    screen.line("")
    screen.table("The pools at the end", ("figure", "value"), figures)
