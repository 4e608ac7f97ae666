"""The fixtures of conftest: a test that leaks fails, and the machine's environment has no say."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"


@pytest.fixture
def run_inner(tmp_path: Path) -> Callable[[str], tuple[int, str]]:
    """Run one test function under our conftest in a pytest of its own; its code and output."""

    def run(source: str) -> tuple[int, str]:
        (tmp_path / "conftest.py").write_text(
            CONFTEST.read_text().replace("SETTLING = 5.0", "SETTLING = 0.05")
        )
        (tmp_path / "test_inner.py").write_text(source)
        environment = dict(os.environ, PYTHONPATH=str(CONFTEST.parents[1]))
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout

    return run


def test_a_forgotten_socket_fails_the_test(
    run_inner: Callable[[str], tuple[int, str]],
) -> None:
    code, output = run_inner(
        "import socket\n"
        "kept = []\n"
        "def test_it():\n"
        "    kept.append(socket.create_server(('127.0.0.1', 0)))\n"
    )
    assert code == 1
    assert "the test left behind: socket ('127.0.0.1'," in output


def test_a_forgotten_thread_fails_the_test(run_inner: Callable[[str], tuple[int, str]]) -> None:
    code, output = run_inner(
        "import threading\n"
        "def test_it():\n"
        "    end = threading.Event()\n"
        "    threading.Thread(target=end.wait, name='forgotten', daemon=True).start()\n"
    )
    assert code == 1
    assert "the test left behind: thread 'forgotten'" in output


def test_a_cycle_that_the_collector_frees_is_no_leak() -> None:
    """Only what cannot be freed is one; this test leaks if the guard does not collect."""

    class Pipe:
        def __init__(self) -> None:
            self.cycle = self
            self.descriptors = os.pipe()

        def __del__(self) -> None:
            for descriptor in self.descriptors:
                os.close(descriptor)

    Pipe()


def test_the_environment_is_clean() -> None:
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "http_proxy", "HTTPS_PROXY", "no_proxy"):
        assert name not in os.environ


def test_a_thread_that_ends_is_no_leak() -> None:
    end = threading.Event()
    threading.Thread(target=end.wait).start()
    end.set()
