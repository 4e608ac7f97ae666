"""The examples of the README do what it says they do."""

from __future__ import annotations

import doctest
from pathlib import Path

import urllib4
from dummyserver.server import DummyServer

README = Path(__file__).parents[2] / "README.rst"


def test_the_examples_of_the_readme_work(server: DummyServer) -> None:
    """Against our own server, whose address stands in for the placeholder."""
    text = README.read_text(encoding="utf-8").replace("http://example.org", server.http_url)
    examples = doctest.DocTestParser().get_doctest(text, {}, "README", str(README), 0)
    report: list[str] = []

    try:
        outcome = doctest.DocTestRunner().run(examples, out=report.append)
    finally:
        urllib4._DEFAULT_POOL.clear()  # urllib4.request() keeps its connection for the next call

    assert outcome.failed == 0, "".join(report)
    assert outcome.attempted > 5
