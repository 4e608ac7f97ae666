"""The benchmarks run: each work a few times with urllib4, without nginx; no time is asserted."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.benchmarks.clients import CLIENTS
from tests.benchmarks.servers import ROOT, Servers
from tests.benchmarks.worker import Bench, peak_memory
from tests.benchmarks.works import BIG, KIB, MIB, ORIGINS, WORKS, Work

#: What stands for the 100 MiB of a real run.
LESS = 200 * KIB

#: Before the names of elements.
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with Servers(None, None, big=LESS) as running:
        yield running


def scaled_down(work: Work) -> Work:
    """Return the work with fewer bytes, origins, threads and connections."""
    if work.length == BIG:
        work = replace(work, length=LESS)
    if work.length == ORIGINS:
        work = replace(work, length=50, batch=50)
    return replace(work, threads=min(work.threads, 8), fresh=min(work.fresh, 3))


@pytest.mark.parametrize(
    "work",
    # dead_first waits a second by design; what it needs is tested below
    [work for work in WORKS.values() if "urllib4" in work.clients and not work.dead_first],
    ids=lambda work: work.name,
)
def test_each_work_runs_with_urllib4(work: Work, servers: Servers):
    work = scaled_down(work)
    try:
        place = servers.place(work)
    except LookupError as error:
        pytest.skip(str(error))
    requests = 1 if work.call == "load" else 3 * work.threads
    bench = Bench(CLIENTS["urllib4"], work, place)
    try:
        measured = bench.run(requests)
    finally:
        bench.close()
    assert measured["wall"] > 0
    assert measured["elapsed"] >= measured["wall"]


def test_an_answer_of_another_length_is_an_error(servers: Servers):
    """A client that reads half of a body must not look twice as fast."""
    work = replace(WORKS["small"], length=199)
    bench = Bench(CLIENTS["urllib4"], work, servers.place(work))
    try:
        with pytest.raises(RuntimeError, match="got 200 bytes instead of 199"):
            bench.run(1)
    finally:
        bench.close()


def test_an_error_in_a_thread_is_an_error_of_the_run(servers: Servers):
    work = replace(WORKS["thr8"], length=199)
    bench = Bench(CLIENTS["urllib4"], work, servers.place(work))
    try:
        with pytest.raises(RuntimeError, match="got 200 bytes instead of 199"):
            bench.run(8)
    finally:
        bench.close()


def test_memory_of_a_preloaded_body_is_at_least_the_body(servers: Servers):
    work = scaled_down(WORKS["dl_preload"])
    bench = Bench(CLIENTS["urllib4"], work, servers.place(work))
    try:
        assert LESS <= peak_memory(bench, traced=True) < MIB
    finally:
        bench.close()


def test_the_dead_address_neither_answers_nor_refuses(servers: Servers):
    work = WORKS["dead_first"]
    try:
        place = servers.place(work)
    except LookupError as error:
        pytest.skip(str(error))
    ((name, addresses),) = place.addresses.items()
    assert addresses == ["::1", "127.0.0.1"]
    port = int(name.rpartition(":")[2])
    with socket.socket(socket.AF_INET6) as sock:
        sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            sock.connect(("::1", port))
    socket.create_connection(("127.0.0.1", port), 5).close()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


def test_a_run_prints_a_table_and_writes_json_and_a_picture(tmp_path: Path):
    numbers, picture = tmp_path / "run.json", tmp_path / "run.svg"
    result = run(
        *("--only", "small,pm_lookup", "--clients", "urllib4,urllib3", "--server", "loop"),
        *("--rounds", "2", "--seconds", "0.01", "--json", str(numbers), "--svg", str(picture)),
    )
    assert result.returncode == 0, result.stderr
    assert "2.2 / 3.3" in result.stdout
    assert "our own loop server" in result.stdout
    data = json.loads(numbers.read_text())
    assert set(data["works"]) == {"small", "pm_lookup"}
    small = data["works"]["small"]
    assert {name: len(one["wall"]) for name, one in small["clients"].items()} == {
        "urllib4": 2,
        "urllib3": 2,
    }
    assert small["left out"] == {}
    texts = [node.text for node in ElementTree.parse(picture).iter(SVG + "text")]
    assert {"small", "pm_lookup", "urllib3 = 1"} <= set(texts)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--only", "tiny"), "unknown work 'tiny'; there are small, json"),
        (("--clients", "urllib4,wget"), "unknown client 'wget'; there are urllib4"),
        (("--seconds", "-1"), "a number above 0 is needed, not '-1'"),
        (("--rounds", "1.5"), "a whole number above 0 is needed, not '1.5'"),
    ],
)
def test_a_wrong_option_says_what_is_possible(arguments: tuple[str, ...], message: str):
    result = run(*arguments)
    assert result.returncode == 2
    assert message in result.stderr


def test_the_list_names_all_works_and_clients():
    result = run("--list")
    assert result.returncode == 0
    names = {line.split()[0] for line in result.stdout.splitlines() if line.startswith("  ")}
    assert names == set(WORKS) | set(CLIENTS)
