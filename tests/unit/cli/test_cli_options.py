"""Options are understood or refused with one clear line."""

from __future__ import annotations

import re

import pytest

from urllib4._cli import errors, parser
from urllib4._cli.errors import CommandError


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "which URL?"),
        (["--nonsense", "http://h/"], "unrecognized arguments: --nonsense"),
        (["http://h/", "http://i/"], "unrecognized arguments"),
        (["--time", "3", "http://h/"], "unrecognized arguments: --time"),  # no abbreviations
        (["-d", "a", "--json", "1", "http://h/"], "not allowed with"),
        (["-F", "a=b", "-d", "a", "http://h/"], "not allowed with"),
        (["-o", "a", "-O", "http://h/"], "not allowed with"),
        (["-I", "-d", "a", "http://h/"], "--head sends nothing"),
        (["-I", "-X", "GET", "http://h/"], "does not go with -X"),
        (["--key", "k", "http://h/"], "needs --cert"),
        (["--timeout", "-1", "http://h/"], "'-1' is not a number of seconds"),
        (["--timeout", "nan", "http://h/"], "'nan' is not a number of seconds"),
        (["-m", "inf", "http://h/"], "'inf' is not a number of seconds"),
        (["--retry", "x", "http://h/"], "'x' is not a number"),
        (["--max-redirects", "-1", "http://h/"], "--max-redirects"),
        (["demo", "http://h/"], "unrecognized arguments"),
    ],
)
def test_a_wrong_command_line_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=re.escape(message)) as caught:
        parser.parse(arguments)
    assert caught.value.code == errors.USAGE


def test_the_help_lists_every_exit_code() -> None:
    text = parser.request_parser().format_help()
    table = text[text.index("exit codes:") :]
    for name in (
        "OK", "BAD_STATUS", "USAGE", "NO_CONNECTION", "TLS", "TIMEOUT", "PROTOCOL", "LOCAL_FILE",
        "INTERRUPTED",
    ):  # fmt: skip
        assert re.search(rf"\b{getattr(errors, name)}\b", table), name


def test_demo_is_a_command_and_not_a_url() -> None:
    assert parser.parse(["demo", "--plain"]).command == "demo"
    assert parser.parse(["http://demo/"]).command == "request"


def test_redirects_are_followed_unless_told_otherwise() -> None:
    assert parser.parse(["http://h/"]).location is True
    assert parser.parse(["-L", "http://h/"]).location is True
    assert parser.parse(["--no-location", "http://h/"]).location is False
