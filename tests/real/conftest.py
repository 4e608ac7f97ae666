"""Programs that others wrote, as peers of the tests in this directory.

They run as child processes on loopback with their own temporary directory, and are stopped by the
end of the module.  A test whose program is not installed is skipped, and says which package has it;
with ``URLLIB4_REAL=require`` in the environment it fails, so that a green run did not skip it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

#: Program: the Debian package that has it.
PACKAGES = {
    "apache2": "apache2-bin",
    "danted": "dante-server",
    "haproxy": "haproxy",
    "microsocks": "microsocks",
    "nghttpd": "nghttp2-server",
    "nghttpx": "nghttp2-proxy",
    "nginx": "nginx",
    "squid": "squid-openssl",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
    "tinyproxy": "tinyproxy",
}

#: Seconds that a peer may take to listen.
PATIENCE = 15.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this directory, so that ``-m "not real"`` leaves them out."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("real")


def need_program(name: str) -> str:
    """Return the path of a program, or skip the test; see the module's docstring."""
    # Servers live in sbin, which is on the path of root only.
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if path is None:
        missing(f"{name} is not installed (apt-get install {PACKAGES[name]})")
    assert path is not None
    return path


def missing(text: str) -> None:
    """Skip the running test, or fail it if everything is required."""
    if os.environ.get("URLLIB4_REAL") == "require":
        pytest.fail(text)
    pytest.skip(text)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on; somebody else may still take it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Peer:
    """A program that runs until :meth:`stop`.

    :param command: what to run in `directory`; its output goes to ``out.log`` there.
    :param port: the port of 127.0.0.1 that it listens on when it is ready.
    :raises RuntimeError: it ended, or does not listen in time; the text holds its output.
    """

    def __init__(self, command: Sequence[str], port: int, directory: Path) -> None:
        self.port = port
        self._log = directory / f"{Path(command[0]).name}.log"
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(
                list(command),
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        try:
            self._wait_until_it_listens()
        except BaseException:
            self.stop()
            raise

    def _wait_until_it_listens(self) -> None:
        until = time.monotonic() + PATIENCE
        while True:
            if self._process.poll() is not None or time.monotonic() > until:
                output = self._log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{self._log.stem} did not start: {output}")
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
                return
            except OSError:
                time.sleep(0.01)

    def stop(self) -> None:
        """End the program; by force if it does not want to."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


@pytest.fixture(scope="session")
def need() -> Callable[[str], str]:
    """Return the function that finds a program or skips."""
    return need_program


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """Start peers for the tests of one module.

    ``start(command, directory)``: `command` is a function that gets a free port and the directory,
    and returns what to run; it is asked again if somebody else took the port.
    """
    peers: list[Peer] = []

    def run(command: Callable[[int, Path], Sequence[str]], directory: Path | None = None) -> Peer:
        directory = directory or tmp_path_factory.mktemp("peer")
        directory.chmod(0o755)  # some drop root and must read their configuration
        for last in (False, False, True):
            port = free_port()
            try:
                peers.append(Peer(command(port, directory), port, directory))
                return peers[-1]
            except RuntimeError as error:
                if last or "in use" not in str(error):
                    raise
        raise AssertionError("not reached")

    yield run
    for peer in reversed(peers):
        peer.stop()
