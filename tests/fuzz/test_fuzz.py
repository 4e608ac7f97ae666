"""Damaged answers end in an error of ours or in a response, and never reach the next request.

A fixed number of cases from fixed seeds; ``python -m tests.fuzz --seconds 600`` goes on from there.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.families import every
from tests.fuzz.memory import Conversation, Descriptors, pool_for
from tests.fuzz.mutate import TOKENS, corpus
from tests.fuzz.runner import case, run
from tests.fuzz.target import READS, run_case
from urllib4._http1.stream import ByteStream
from urllib4.connection import HTTPConnection
from urllib4.response import HTTPResponse

SEEDS = dict(corpus())


@pytest.fixture(scope="module")
def descriptors() -> Iterator[Descriptors]:
    both = Descriptors()
    yield both
    both.close()


@pytest.mark.parametrize("seed", range(8))
def test_damaged_answers(seed: int) -> None:
    """20,000 of them: no hang, no foreign exception, no wrong answer to the next request."""
    report = run(seed=seed, cases=2500)
    assert not report.findings, str(report)
    assert report.cases == 2500
    # Both outcomes are frequent, or the mutations would be too wild or too tame.
    assert report.results["read"] > 500
    assert report.results["ProtocolError"] > 500


@pytest.mark.parametrize("name", SEEDS)
def test_answers_without_damage(name: str, descriptors: Descriptors) -> None:
    """Every way to read each of them leaves a pool in order."""
    for number in range(20 if "zeros" in name else 200):
        outcome = run_case(SEEDS[name], random.Random(number), descriptors)
        assert outcome.finding is None, outcome


@pytest.mark.parametrize("how", READS)
@every(name=[name for name in SEEDS if "zeros" not in name])
def test_the_corpus_is_valid(how: str, name: str, descriptors: Descriptors) -> None:
    """Damage is only interesting where there was none before."""
    if how == "read_chunked" and b"chunked" not in SEEDS[name]:
        return  # it has no chunks
    conversation = Conversation(SEEDS[name], True, random.Random(1), descriptors)
    with pool_for(conversation.connect) as pool:
        response = pool.request("GET", "/", preload_content=False, redirect=False)
        READS[how](response)
        response.close()


pieces = st.one_of(
    st.sampled_from(TOKENS),
    st.sampled_from(list(SEEDS.values())).flatmap(
        lambda data: st.tuples(st.integers(0, len(data)), st.integers(0, len(data))).map(
            lambda ends: data[min(ends) : max(ends)]
        )
    ),
    st.binary(max_size=30),
)


@examples(400)
@given(st.lists(pieces, max_size=8).map(b"".join), st.randoms(use_true_random=False))
def test_answers_made_of_pieces(
    descriptors: Descriptors, answer: bytes, chance: random.Random
) -> None:
    """Hypothesis makes what it finds as small as possible."""
    outcome = run_case(b"HTTP/1.1 200 OK\r\n" + answer, chance, descriptors)
    assert outcome.finding is None, outcome


# -- the fuzzer itself -----------------------------------------------------------------------------


def test_a_case_can_be_repeated() -> None:
    seeds = list(SEEDS.values())
    assert case(7, 123, seeds)[0] == case(7, 123, seeds)[0]
    assert case(7, 123, seeds)[0] != case(7, 124, seeds)[0]


def test_the_fuzzer_finds_a_connection_that_should_not_be_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(HTTPConnection, "is_quiescent", True)
    monkeypatch.setattr(HTTPConnection, "is_connected", True)
    assert run(seed=0, cases=1000).kinds["wrong answer"] > 10


def test_the_fuzzer_finds_a_foreign_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    read = HTTPResponse.read

    def fragile(self: Any, *args: Any, **kw: Any) -> bytes:
        data = read(self, *args, **kw)
        if b"fox" in data:
            raise ArithmeticError
        return data

    monkeypatch.setattr(HTTPResponse, "read", fragile)
    assert run(seed=0, cases=1000).kinds["exception"] > 5


def test_the_fuzzer_finds_a_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    fill = ByteStream.fill

    def stubborn(self: Any) -> int:
        while True:
            count = fill(self)
            if count:
                return count

    monkeypatch.setattr(ByteStream, "fill", stubborn)
    assert run(seed=0, cases=1000).kinds["hang"] > 10
