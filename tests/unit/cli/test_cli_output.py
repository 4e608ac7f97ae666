"""What is shown, and what is saved."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from urllib4._cli import output
from urllib4._cli.errors import CommandError
from urllib4._cli.progress import PlainProgress
from urllib4._cli.screen import Screen
from urllib4.response import HTTPResponse

# -- files -------------------------------------------------------------------------------------


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "f"
    with output.saved_file(str(target)) as file:
        file.write(b"content")
        assert not target.exists()
    assert target.read_bytes() == b"content"
    assert os.listdir(tmp_path) == ["f"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_nothing_and_keeps_what_was_there(
    tmp_path: Path, error: type[BaseException]
) -> None:
    target = tmp_path / "f"
    target.write_bytes(b"before")
    with pytest.raises(error), output.saved_file(str(target)) as file:
        _write_half(file, error)
    assert target.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["f"]


def _write_half(file: Any, error: type[BaseException]) -> None:
    file.write(b"half")
    raise error


def test_a_replaced_file_keeps_its_permissions(tmp_path: Path) -> None:
    target = tmp_path / "f"
    target.touch(mode=0o600)
    target.chmod(0o640)
    with output.saved_file(str(target)) as file:
        file.write(b"content")
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"before")
    (tmp_path / "link").symlink_to("real")
    with output.saved_file(str(tmp_path / "link")) as file:
        file.write(b"after")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"after"


def test_a_device_is_written_and_not_replaced() -> None:
    with output.saved_file(os.devnull) as file:
        file.write(b"content")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


@pytest.mark.parametrize("path", ["no/such/directory", "."])
def test_a_file_that_cannot_be_written_is_named(path: str) -> None:
    with pytest.raises(CommandError, match="cannot write") as caught, output.saved_file(path):
        pytest.fail("nothing may be sent")
    assert caught.value.code == 7
    assert path in str(caught.value)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
def test_a_full_disk_is_an_error() -> None:
    with pytest.raises(CommandError, match="No space left"), output.saved_file("/dev/full") as file:
        file.write(b"content")


# -- content on a terminal ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("media_type", "charset", "first", "binary"),
    [
        ("", None, b"words", False),
        ("", None, b"\x89PNG\r\n\x1a\n\0", True),
        ("", None, "caf\u00e9".encode()[:-1], False),  # cut in the middle of a character
        ("application/octet-stream", None, b"words", False),
        ("application/octet-stream", None, b"\xff\xfe\xfd", True),
        ("image/png", None, b"words", True),
        ("image/svg+xml", None, b"<svg/>", False),
        ("application/pdf", None, b"%PDF", True),
        ("text/plain", None, b"caf\xe9", False),
        ("text/plain", None, b"a\0b", True),
        ("text/plain", "utf-16", b"a\0b\0", False),
    ],
)
def test_what_counts_as_binary(
    media_type: str, charset: str | None, first: bytes, binary: bool
) -> None:
    assert output.is_binary(media_type, charset, first) is binary


def _response(content: bytes, content_type: str, **headers: str) -> tuple[Any, Any]:
    headers["content-type"] = content_type
    return HTTPResponse(content, headers, status=200), iter([content[:3], content[3:]])


def _shown(stream: Any, content: bytes, content_type: str) -> str:
    response, pieces = _response(content, content_type)
    assert output.show_content(response, pieces, Screen(stream)) is None
    text: str = stream.shown()
    return text


@pytest.mark.usefixtures("no_rich")
class TestWithoutRich:
    def test_text_is_shown_with_a_newline_at_its_end(self, terminal: Callable[..., Any]) -> None:
        assert _shown(terminal(), b"one\r\ntwo", "text/plain") == "one\ntwo\n"

    def test_json_is_indented(self, terminal: Callable[..., Any]) -> None:
        assert _shown(terminal(), b'{"a":1}', "application/json") == '{\n  "a": 1\n}\n'

    def test_escape_sequences_do_not_reach_the_terminal(self, terminal: Callable[..., Any]) -> None:
        for content_type in ("text/plain", "application/json", "text/html"):
            shown = _shown(terminal(), b'"\x1b]0;title\x07 \xc2\x9b2J\r"', content_type)
            assert shown == '"\\x1b]0;title\\x07 \\x9b2J\n"\n'

    def test_what_the_encoding_lacks_is_escaped(self, terminal: Callable[..., Any]) -> None:
        assert _shown(terminal("ascii"), "\u8336".encode(), "text/plain") == "\\u8336\n"


class TestWithRich:
    @pytest.fixture(autouse=True)
    def _rich(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("rich")
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.delenv("NO_COLOR", raising=False)

    def test_json_is_indented_and_coloured(self, terminal: Callable[..., Any]) -> None:
        shown = _shown(terminal(), b'{"a":[1.10]}', "application/json")
        assert "\x1b[" in shown
        assert _without_colours(shown) == '{\n  "a": [\n    1.10\n  ]\n}\n'

    def test_what_is_no_json_is_shown_as_it_came(self, terminal: Callable[..., Any]) -> None:
        assert _without_colours(_shown(terminal(), b"{oops", "x/y+json")) == "{oops\n"

    def test_escape_sequences_do_not_reach_the_terminal(self, terminal: Callable[..., Any]) -> None:
        for content_type in ("text/plain", "application/json", "text/html"):
            shown = _shown(terminal(), b"\x1b]0;title\x07 [red]", content_type)
            assert _without_colours(shown) == "\\x1b]0;title\\x07 [red]\n"

    def test_long_content_is_shown_as_it_comes(
        self, terminal: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nobody waits for the end of a stream to see its beginning."""
        monkeypatch.setattr(output, "_PRETTY_BYTES", 10)
        shown = _shown(terminal(), b'{"a":1,"b":2,"c":3}', "application/json")
        assert shown == '{"a":1,"b":2,"c":3}\n'

    def test_plain_means_no_colours(self, terminal: Callable[..., Any]) -> None:
        stream = terminal()
        screen = Screen(stream, plain=True)
        screen.line("text", "bold red")
        assert stream.shown() == "text\n"


def _without_colours(text: str) -> str:
    import re

    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_binary_content_is_described_and_not_read(terminal: Callable[..., Any]) -> None:
    response, _ = _response(b"\0", "image/png", **{"content-length": "2048"})
    pieces = iter([b"\x89PNG\0", b"more"])
    stream = terminal()
    why = output.show_content(response, pieces, Screen(stream))
    assert why == "binary content (image/png, 2.0 KiB) is not shown on a terminal"
    assert stream.shown() == ""
    assert next(pieces) == b"more"


def test_the_head_is_stored_as_it_came() -> None:
    response = HTTPResponse(
        b"", {"X": "caf\xe9"}, status=200, version_string="HTTP/1.1", reason="OK"
    )
    assert output.head_bytes(response) == b"HTTP/1.1 200 OK\r\nX: caf\xe9\r\n\r\n"


# -- progress ----------------------------------------------------------------------------------


def _progress(total: int | None, counts: list[int], *, rewrite: bool = True) -> str:
    stream = io.StringIO()
    ticks = iter(range(1000))
    bar = PlainProgress(stream, total, rewrite=rewrite, clock=lambda: float(next(ticks)))
    for count in counts:
        bar.update(count)
    bar.finish()
    return stream.getvalue()


def test_progress_shows_the_share_and_writes_over_it() -> None:
    assert _progress(2048, [512, 2048]) == (
        "\r[#####...............]  25%  512 bytes of 2.0 KiB"
        "\r[####################] 100%  2.0 KiB of 2.0 KiB  \n"
    )


def test_progress_of_unknown_length_shows_the_bytes_so_far() -> None:
    assert _progress(None, [512, 2048]) == "\r512 bytes\r2.0 KiB  \n"


def test_progress_that_cannot_write_over_shows_quarters() -> None:
    shown = _progress(100, list(range(101)), rewrite=False).splitlines()
    assert [line.partition("]")[2].split("%")[0].strip() for line in shown] == [
        "25", "50", "75", "100",
    ]  # fmt: skip


def test_progress_is_not_shown_too_often() -> None:
    stream = io.StringIO()
    bar = PlainProgress(stream, 100, clock=lambda: 0.0)
    for count in range(100):
        bar.update(count)
    assert stream.getvalue().count("\r") == 1


def test_nothing_is_shown_to_nobody() -> None:
    stream = io.StringIO()
    with Screen(stream).progress(10) as update:
        update(5)
    assert stream.getvalue() == ""


@pytest.mark.parametrize("total", [None, 10])
def test_rich_shows_a_bar(terminal: Callable[..., Any], total: int | None) -> None:
    pytest.importorskip("rich")
    stream = terminal()
    with Screen(stream).progress(total) as update:
        update(10)
    assert "10" in stream.shown()


def test_a_plain_table_is_aligned() -> None:
    stream = io.StringIO()
    Screen(stream).table("title", ("a", "b"), [("one", "1"), ("three", "10")])
    assert stream.getvalue() == "title\n  one     1\n  three  10\n"
