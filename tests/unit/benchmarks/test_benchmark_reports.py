"""What the benchmarks make of their numbers: ratios, tables and the picture."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from tests.benchmarks import chart, docs_page, extras, report
from tests.benchmarks.goals import GOALS
from tests.benchmarks.measure import Ratio, Result, Slice
from tests.benchmarks.works import MIB, WORKS

#: Before the names of elements.
SVG = "{http://www.w3.org/2000/svg}"

FACTS = {
    "date": "2030-01-02",
    "python": "CPython 3.11.7",
    "openssl": "OpenSSL 3.0.0",
    "system": "Linux 6",
    "machine": "2 cores",
    "server": "nginx 1.22.1",
    "versions": {"urllib4": "4.0.0", "urllib3": "2.8.0", "raw": ""},
}


@pytest.fixture
def result() -> Result:
    """Three rounds in which urllib4 takes a half, a quarter and an eighth of the time."""
    return Result(
        WORKS["small"],
        requests=10,
        slices={
            "urllib4": [Slice(4e-6, 1e-6), Slice(2e-6, 1e-6), Slice(1e-6, 1e-6)],
            "urllib3": [Slice(8e-6, 3e-6)] * 3,
        },
    )


def test_a_ratio_is_the_median_of_the_rounds_with_the_middle_half(result: Result):
    assert result.ratio("urllib4", "wall") == Ratio(4.0, 3.0, 6.0)
    assert result.ratio("urllib3", "wall") == Ratio(1.0, 1.0, 1.0)
    assert result.seconds("urllib4", "wall") == 2e-6


def test_a_client_that_was_not_measured_has_no_ratio(result: Result):
    assert result.ratio("pycurl", "wall") is None


def test_a_single_round_has_no_spread(result: Result):
    result.slices = {name: slices[:1] for name, slices in result.slices.items()}
    assert result.ratio("urllib4", "wall") == Ratio(2.0, 2.0, 2.0)


def test_both_halves_of_a_goal_have_to_be_met(result: Result):
    assert report.verdict(result, "urllib4") == "missed"  # 4.0 of 2.2, but 3.0 of 3.3
    result.slices["urllib4"] = [Slice(2e-6, 0.5e-6)] * 3
    assert report.verdict(result, "urllib4") == "met"


def test_a_client_that_failed_did_not_meet_its_goal(result: Result):
    del result.slices["urllib4"]
    result.left_out["urllib4"] = "refused"
    assert report.verdict(result, "urllib4") == "failed"


@pytest.mark.parametrize(("seconds", "verdict"), [(0.3, "met"), (0.4, "missed")])
def test_a_goal_in_seconds_is_absolute(seconds: float, verdict: str):
    result = Result(WORKS["dead_first"], 1, {"urllib4": [Slice(seconds, 0.1)]})
    assert report.verdict(result, "urllib4") == verdict


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (3.0, "3.00 s"),
        (0.0456, "45.6 ms"),
        (123e-6, "123 us"),
        (4.567e-6, "4.57 us"),
        (0.1e-6, "0.10 us"),
    ],
)
def test_a_duration_has_the_unit_that_suits_it(seconds: float, text: str):
    assert report.duration(seconds) == text


def test_every_goal_is_that_of_a_work():
    assert set(GOALS) <= set(WORKS)


def test_the_picture_says_what_when_and_where(result: Result):
    tree = ElementTree.fromstring(docs_page.picture([result], FACTS))
    text = " ".join(node.text or "" for node in tree.iter(SVG + "text"))
    for part in ("Times faster than urllib3", "small", "4.00", "2030-01-02", "2 cores", "4.0.0"):
        assert part in text
    assert "prefers-color-scheme: dark" in ElementTree.tostring(tree, encoding="unicode")


def test_twice_as_fast_and_half_as_fast_are_bars_of_one_length():
    rows = [chart.Bars("up", 2.0, 1.0, None, None), chart.Bars("down", 0.5, 1.0, None, None)]
    tree = ElementTree.fromstring(chart.chart(rows, "title", []))
    _, up, down = (node for node in tree.iter(SVG + "rect") if node.get("class") == "time")
    assert up.get("width") == down.get("width")
    assert float(up.get("x", 0)) > float(down.get("x", 0))


def test_no_work_in_common_is_no_picture():
    with pytest.raises(ValueError, match="nothing to draw"):
        chart.chart([], "title", [])


def test_the_tables_of_the_documentation_hold_what_was_measured(result: Result):
    memory = {"dl_stream": {"urllib4": extras.Memory(MIB, 2 * MIB)}}
    text = docs_page.tables([result], FACTS, [extras.memory_table(memory), [["empty"]]])
    assert "   * - small\n     - 4.00 (3.00-6.00)\n     - 3.00 (3.00-3.00)\n" in text
    assert "     - 1.00 MiB\n     - 2.0 MiB\n     - 1.5 MiB\n     - met\n" in text
    assert "empty" not in text


def test_counts_are_compared_with_their_goals():
    counts = {"small": {"urllib4": 160_001, "urllib3": 800_000}}
    assert extras.instruction_table(counts)[1:] == [
        ["small", "urllib4", "160,001", "160,000", "missed"],
        ["small", "urllib3", "800,000", "", ""],
    ]
    modules = {"import": {"urllib4": 85, "urllib3": 86}, "import_use": {"urllib4": 99}}
    assert extras.module_table(modules)[1:] == [
        ["import", "urllib4", "85", "85", "met"],
        ["import", "urllib3", "86", "", ""],
        ["import_use", "urllib4", "99", "", ""],
    ]
