"""``python -m urllib4`` as a process of its own: pipes, signals and a real terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import urllib4
from dummyserver.app import large_body
from dummyserver.script import ScriptedServer
from dummyserver.server import DummyServer

PATIENCE = 30.0
#: Runs the command line as if rich were not installed.
WITHOUT_RICH = (
    "import sys; sys.modules['rich'] = None; from urllib4.__main__ import main; sys.exit(main())"
)
MODULE = ("-m", "urllib4")


def _environment() -> dict[str, str]:
    source = str(Path(urllib4.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source, "PYTHONUTF8": "1", "COLUMNS": "100"}
    environment.update(TERM="xterm-256color")
    environment.pop("NO_COLOR", None)
    return environment


def _run(*arguments: str, how: tuple[str, ...] = MODULE) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, *how, *arguments], capture_output=True, timeout=PATIENCE, check=False,
        stdin=subprocess.DEVNULL, env=_environment(),
    )  # fmt: skip


@contextmanager
def _started(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, *MODULE, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL, env=_environment(),
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def _on_terminal(*arguments: str, how: tuple[str, ...] = MODULE) -> tuple[int, bytes]:
    """Run with a terminal as standard output and error; returns exit code and what it shows."""
    pty = pytest.importorskip("pty")
    ours, its = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, *how, *arguments], stdout=its, stderr=its,
            stdin=subprocess.DEVNULL, env=_environment(),
        )  # fmt: skip
    finally:
        os.close(its)
    shown = b""
    with process, suppress(OSError):  # Linux ends a terminal without writers by EIO
        while data := os.read(ours, 65536):
            shown += data
    os.close(ours)
    return process.wait(PATIENCE), shown


def test_the_module_runs(server: DummyServer) -> None:
    done = _run(server.http_url)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"Dummy server!", b"")


def test_nothing_of_the_command_line_is_loaded_by_the_library() -> None:
    program = (
        "import sys, urllib4, urllib4.__main__; "
        "sys.exit(any(n.startswith(('urllib4._cli', 'rich', 'argparse')) for n in sys.modules))"
    )
    assert _run(how=("-c", program)).returncode == 0


def test_rich_is_not_loaded_where_nobody_looks(server: DummyServer) -> None:
    program = (
        "import sys; from urllib4.__main__ import main; main(); sys.exit('rich' in sys.modules)"
    )
    assert _run("-v", server.http_url, how=("-c", program)).returncode == 0


def test_an_error_is_one_line() -> None:
    done = _run("http://127.0.0.1:1/")
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(b"urllib4: http://127.0.0.1:1/: could not connect")


def test_data_comes_from_standard_input(server: DummyServer) -> None:
    done = subprocess.run(
        [sys.executable, *MODULE, "-d", "@-", f"{server.http_url}/echo_raw"],
        input=b"from a pipe", capture_output=True, timeout=PATIENCE, check=False,
        env=_environment(),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, b"from a pipe")


def test_a_reader_that_had_enough_is_no_error(server: DummyServer) -> None:
    """``urllib4 URL | head`` is silent."""
    with _started(f"{server.http_url}/large?size=20000000") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(10) == large_body(10)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(PATIENCE) == 0


def test_content_is_handed_on_as_it_comes(script: ScriptedServer) -> None:
    """An endless stream of events is seen while it lasts."""
    seen = threading.Event()
    script.accept().expect(b"GET / ").send(b"HTTP/1.1 200 OK\r\n\r\nfirst").pause_until(seen).send(
        b"second"
    ).close()
    with _started(script.url) as process:
        assert process.stdout is not None
        assert process.stdout.read(5) == b"first"
        seen.set()
        assert process.communicate(timeout=PATIENCE) == (b"second", b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
def test_output_that_cannot_be_written_is_one_line(server: DummyServer) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, *MODULE, server.http_url], stdout=full, stderr=subprocess.PIPE,
            timeout=PATIENCE, check=False, env=_environment(),
        )  # fmt: skip
    assert done.returncode == 7
    assert done.stderr == b"urllib4: cannot write standard output: No space left on device\n"


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
def test_an_interrupt_leaves_no_file_and_no_traceback(
    script: ScriptedServer, tmp_path: Path
) -> None:
    half_sent = threading.Event()
    script.accept().expect(b"GET / ").send(
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"
    ).notify(half_sent)
    with _started("-o", str(tmp_path / "f"), script.url) as process:
        assert half_sent.wait(PATIENCE)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (130, b"urllib4: interrupted\n")
    assert os.listdir(tmp_path) == []


# -- a terminal --------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [MODULE, ("-c", WITHOUT_RICH)], ids=["rich", "plain"])
def test_text_on_a_terminal(server: DummyServer, how: tuple[str, ...]) -> None:
    if how is MODULE:
        pytest.importorskip("rich")
    code, shown = _on_terminal("-i", f"{server.http_url}/echo", how=how)
    assert code == 0
    assert b'"GET"' in shown
    assert (b"\x1b[" in shown) is (how is MODULE)


@pytest.mark.parametrize("how", [MODULE, ("-c", WITHOUT_RICH)], ids=["rich", "plain"])
def test_a_server_cannot_steer_the_terminal(script: ScriptedServer, how: tuple[str, ...]) -> None:
    script.accept().expect(b"GET / ").send(
        b"HTTP/1.1 200 \x1b]0;a\x07\r\nX: \x1b]0;a\x07\r\nContent-Type: text/plain\r\n"
        b"Content-Length: 7\r\n\r\n\x1b]0;a\x07\n"
    )
    code, shown = _on_terminal("-v", "-i", script.url, how=how)
    assert code == 0
    assert b"\x1b]" not in shown
    assert b"\x07" not in shown
    assert shown.count(b"\\x1b]0;a\\x07") == 5  # status line and X, told and shown; the content


@pytest.mark.parametrize("how", [MODULE, ("-c", WITHOUT_RICH)], ids=["rich", "plain"])
def test_binary_content_is_not_shown_on_a_terminal(
    script: ScriptedServer, how: tuple[str, ...]
) -> None:
    script.accept().expect(b"GET / ").send(
        b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 5\r\n\r\n\x89PNG\0"
    )
    code, shown = _on_terminal(script.url, how=how)
    assert code == 0
    assert b"PNG" not in shown
    assert b"save it with -o FILE" in shown


@pytest.mark.parametrize("how", [MODULE, ("-c", WITHOUT_RICH)], ids=["rich", "plain"])
def test_a_download_shows_its_progress(
    server: DummyServer, tmp_path: Path, how: tuple[str, ...]
) -> None:
    arguments = ("-o", str(tmp_path / "f"), f"{server.http_url}/large?size=3000000")
    code, shown = _on_terminal(*arguments, how=how)
    assert code == 0
    assert b"100%" in shown
    assert b"saved 2.9 MiB" in shown
    assert (tmp_path / "f").read_bytes() == large_body(3_000_000)

    assert _on_terminal("-s", *arguments, how=how) == (0, b"")


@pytest.mark.parametrize("how", [MODULE, ("-c", WITHOUT_RICH)], ids=["rich", "plain"])
def test_an_upload_shows_its_progress(
    server: DummyServer, tmp_path: Path, how: tuple[str, ...]
) -> None:
    (tmp_path / "large").write_bytes(large_body(3_000_000))
    (tmp_path / "small").write_bytes(b"small")
    output = ("-o", str(tmp_path / "answer"))

    code, shown = _on_terminal(
        *output, "-F", f"file=@{tmp_path / 'large'}", f"{server.http_url}/echo", how=how
    )
    assert code == 0
    assert b"100%" in shown
    assert b"of 2.9 MiB" in shown or b"/2.9 MiB" in shown

    arguments = (*output, "-F", f"file=@{tmp_path / 'small'}", f"{server.http_url}/echo")
    assert _on_terminal("-s", *arguments, how=how) == (0, b"")


def test_the_length_of_a_download_may_be_unknown(server: DummyServer, tmp_path: Path) -> None:
    code, shown = _on_terminal(
        "--plain", "-o", str(tmp_path / "f"), f"{server.http_url}/chunked?count=100&size=1000"
    )
    assert code == 0
    assert b"97.7 KiB" in shown
    assert b"%" not in shown
