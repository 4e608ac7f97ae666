"""The examples on the page about the command line do what it says."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from dummyserver.server import DummyServer
from urllib4.__main__ import main
from urllib4._cli import demo_server, errors

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "command-line.rst"


def _examples() -> Iterator[tuple[str, str]]:
    """Yield each command with the output that stands below it."""
    text = PAGE.read_text(encoding="utf-8")
    for block in re.findall(r"\.\. code-block:: console\n\n((?:   .*\n)+)", text):
        command, _, output = block.replace("   ", "", 1).partition("\n")
        yield command.removeprefix("$ urllib4 "), output.replace("   ", "").strip()


@pytest.mark.parametrize(("command", "output"), list(_examples()))
def test_an_example_works(
    command: str,
    output: str,
    server: DummyServer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Against our own server, whose address stands in for the placeholder."""
    monkeypatch.setattr(demo_server, "_PACE", 0)
    (tmp_path / "README.rst").write_text("text")
    monkeypatch.chdir(tmp_path)

    assert main(shlex.split(command.replace("http://example.org", server.http_url))) == 0

    shown = capsys.readouterr().out
    if output:
        assert shown.strip() == output


def test_the_page_has_every_exit_code() -> None:
    table = PAGE.read_text(encoding="utf-8").partition("Exit codes")[2]
    codes = [getattr(errors, name) for name in (
        "OK", "BAD_STATUS", "USAGE", "NO_CONNECTION", "TLS", "TIMEOUT", "PROTOCOL", "LOCAL_FILE",
        "INTERRUPTED",
    )]  # fmt: skip
    assert re.findall(r"^(\d+) ", table, re.MULTILINE) == [str(code) for code in codes]
