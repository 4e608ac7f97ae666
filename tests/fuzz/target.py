"""One case of the fuzzer: a damaged answer, a way to read it, and what must hold afterwards."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from tests.fuzz.memory import Conversation, Descriptors, Hang, pool_for
from urllib4 import Retry
from urllib4.exceptions import HTTPError

#: How much of a decoded body is read; damaged compressed data may stand for gigabytes.
MOST_READ = 1 << 22


def _bounded(read: Callable[[], bytes]) -> None:
    total = 0
    while data := read():
        total += len(data)
        if total > MOST_READ:
            return


def _read_by(size: int) -> Callable[[Any], None]:
    return lambda response: _bounded(lambda: response.read(size))


def _readinto(response: Any) -> None:
    buffer = bytearray(100)
    _bounded(lambda: bytes(buffer[: response.readinto(buffer)]))


def _stream(response: Any) -> None:
    pieces = response.stream(64)
    _bounded(lambda: next(pieces, b""))


def _raw_stream(response: Any) -> None:
    pieces = response.stream(64, decode_content=False)
    _bounded(lambda: next(pieces, b""))


def _read_chunked(response: Any) -> None:
    pieces = response.read_chunked(64)
    _bounded(lambda: next(pieces, b""))


def _lines(response: Any) -> None:
    lines = iter(response)
    _bounded(lambda: next(lines, b""))


def _text(response: Any) -> None:
    response.text()


def _json(response: Any) -> None:
    with suppress(ValueError):  # documented: the content is no JSON
        response.json()


def _mixed(response: Any) -> None:
    response.read(3)
    response.read1(5)
    response.readline()
    response.read()


READS: dict[str, Callable[[Any], object]] = {
    "read": lambda response: response.read(),
    "read cached": lambda response: (response.read(cache_content=True), response.data),
    "read raw": lambda response: response.read(decode_content=False),
    "read(1)": _read_by(1),
    "read(7)": _read_by(7),
    "read(100000)": _read_by(100_000),
    "read1": lambda response: _bounded(response.read1),
    "read1(5)": lambda response: _bounded(lambda: response.read1(5)),
    "readinto": _readinto,
    "stream": _stream,
    "raw stream": _raw_stream,
    "read_chunked": _read_chunked,
    "lines": _lines,
    "readline": lambda response: _bounded(response.readline),
    "text": _text,
    "json": _json,
    "mixed": _mixed,
    "data": lambda response: response.data,
    "drain": lambda response: response.drain_conn(),
    "release": lambda response: response.release_conn(),
    "close": lambda response: response.close(),
    "nothing": lambda response: None,
}
METHODS = ("GET", "GET", "GET", "HEAD", "POST", "OPTIONS")
POLICIES: tuple[Any, ...] = (False, False, False, 2, Retry(2, status_forcelist=[500, 503]))


class Finding(NamedTuple):
    """Something that must not happen."""

    kind: str
    detail: str


class Outcome(NamedTuple):
    """What one case came to: a word for the statistics, and what was found."""

    result: str
    finding: Finding | None = None


def run_case(answer: bytes, chance: random.Random, descriptors: Descriptors) -> Outcome:
    """Send a request that gets `answer`, read by a way chosen by `chance`, and then another one."""
    conversation = Conversation(answer, chance.random() < 0.5, chance, descriptors)
    how = chance.choice(["preload", "preload", "preload", *READS])
    method, retries = chance.choice(METHODS), chance.choice(POLICIES)
    pool = pool_for(conversation.connect)
    try:
        result = _first(pool, how, method, retries)
        expected = f"answer to request {conversation.requests + 1}".encode()
        if conversation.answer is not None:
            return Outcome(result, Finding("nothing sent", f"{how}: the request was not sent"))
        second = pool.request("GET", "/second", pool_timeout=0.001)
        if second.status != 200 or second.data != expected:
            return Outcome(
                result, Finding("wrong answer", f"{how}: {second.status} {second.data[:80]!r}")
            )
        if pool.pool.qsize() != 1:
            return Outcome(result, Finding("lost slot", how))
    except Hang:
        return Outcome("hang", Finding("hang", how))
    except Exception as error:
        kind = "second request" if isinstance(error, HTTPError) else "exception"
        return Outcome("error", Finding(kind, f"{how}: {type(error).__name__}: {error}"))
    finally:
        pool.close()
    return Outcome(result)


def _first(pool: Any, how: str, method: str, retries: Any) -> str:
    """Make the first request; return what became of it."""
    preload = how == "preload"
    try:
        response = pool.request(
            method, "/first", preload_content=preload, retries=retries, redirect=True
        )
        if not preload:
            try:
                READS[how](response)
            finally:
                response.close()
    except HTTPError as error:
        return type(error).__name__
    return "read"


class Report:
    """Counts what cases came to.

    :ivar findings: one example (name of the answer, bytes, number of the case) by kind and detail.
    """

    def __init__(self) -> None:
        self.cases = 0
        self.results: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.findings: dict[Finding, tuple[int, bytes]] = {}

    def add(self, number: int, answer: bytes, outcome: Outcome) -> None:
        self.cases += 1
        self.results[outcome.result] += 1
        if outcome.finding is not None:
            self.kinds[outcome.finding.kind] += 1
            self.findings.setdefault(outcome.finding, (number, answer))

    def __str__(self) -> str:
        hangs, outside = self.kinds["hang"], self.kinds["exception"]
        others = sum(self.kinds.values()) - hangs - outside
        lines = [
            f"{self.cases} cases: {hangs} hangs, {outside} exceptions outside HTTPError, "
            f"{others} other findings",
            "  " + ", ".join(f"{name}: {count}" for name, count in self.results.most_common()),
        ]
        for finding, (number, answer) in list(self.findings.items())[:20]:
            lines.append(f"  case {number}: {finding.kind}: {finding.detail}\n    {answer[:300]!r}")
        return "\n".join(lines)
