"""Programs that others wrote, as peers of the tests in this directory.

They run as child processes on loopback with their own temporary directory, and are stopped by the
end of the module.  A test whose program is not installed is skipped, and says which package has it;
with ``URLLIB4_REAL=require`` in the environment it fails, so that a green run did not skip it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from dummyserver.certs import Certificates
from tests.real.servers import Apache, Nghttpx, Nginx, Squid, Tinyproxy, Way
from urllib4 import PoolManager, ProxyManager, Retry
from urllib4.contrib.socks import SOCKSProxyManager

#: Program: the Debian package that has it.
PACKAGES = {
    "apache2": "apache2-bin",
    "danted": "dante-server",
    "haproxy": "haproxy",
    "microsocks": "microsocks",
    "nghttpd": "nghttp2-server",
    "nghttpx": "nghttp2-proxy",
    "nginx": "nginx",
    "openssl": "openssl",
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
    :param ports: the ports of 127.0.0.1 that it listens on when it is ready.
    :raises RuntimeError: it ended, or does not listen in time; the text holds its output.

    Its children are in a process group with it, and share its fate.
    """

    def __init__(self, command: Sequence[str], ports: Sequence[int], directory: Path) -> None:
        self.port = ports[0]
        self.ports = tuple(ports)
        self._command = list(command)
        self._directory = directory
        self._log = directory / f"{Path(command[0]).name}.log"
        self.start()

    def start(self) -> None:
        """Run the program, also again after :meth:`kill`, with the same ports."""
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            for port in self.ports:
                self._wait_until_it_listens(port)
        except BaseException:
            self.stop()
            raise

    def _wait_until_it_listens(self, port: int) -> None:
        until = time.monotonic() + PATIENCE
        while True:
            if self._process.poll() is not None or time.monotonic() > until:
                output = self._log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{self._log.stem} did not start: {output}")
            try:
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                return
            except OSError:
                time.sleep(0.01)

    @property
    def running(self) -> bool:
        """Whether the program has not ended."""
        return self._process.poll() is None

    def _signal(self, number: signal.Signals) -> None:
        """Send a signal to the program and its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """End the program and its children at once; their connections are closed then."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._wait_for_threads("ZX")

    def pause(self) -> None:
        """Stop the program and its children, as if they hung, until :meth:`resume`."""
        self._signal(signal.SIGSTOP)
        self._wait_for_threads("TZX")

    def resume(self) -> None:
        """Let the program go on after :meth:`pause`."""
        self._signal(signal.SIGCONT)

    def _wait_for_threads(self, states: str) -> None:
        """Wait until all threads of the process group are in one of the `states` of proc(5).

        A signal takes effect in each of them by itself, a little later.
        """
        until = time.monotonic() + PATIENCE
        while not self._states() <= set(states) and time.monotonic() < until:
            time.sleep(0.001)

    def _states(self) -> set[str]:
        found = set()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # gone
                if os.getpgid(int(process.name)) == self._process.pid:
                    for stat in process.glob("task/*/stat"):
                        found.add(stat.read_text().rpartition(")")[2].split()[0])
        return found

    def stop(self) -> None:
        """End the program; by force if it does not want to."""
        if self.running:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.3)
        self.kill()


@pytest.fixture(scope="session")
def need() -> Callable[[str], str]:
    """Return the function that finds a program or skips."""
    return need_program


@pytest.fixture(scope="module")
def start() -> Iterator[Callable[..., Any]]:
    """Start peers for the tests of one module.

    ``start(command, directory, ports=1)``: `command` is a function that gets as many free ports and
    the directory, and returns what to run; it is asked again if somebody else took a port.
    """
    with contextlib.ExitStack() as cleanup:

        def run(
            command: Callable[..., Sequence[str]], directory: Path | None = None, ports: int = 1
        ) -> Peer:
            directory = directory or Path(cleanup.enter_context(tempfile.TemporaryDirectory()))
            directory.chmod(0o755)  # some drop root and must read their configuration
            for last in (False, False, True):
                free = [free_port() for _ in range(ports)]
                try:
                    peer = Peer(command(*free, directory), free, directory)
                except RuntimeError as error:
                    if last or "in use" not in str(error):
                        raise
                else:
                    cleanup.callback(peer.stop)
                    return peer
            raise AssertionError("not reached")

        yield run


@pytest.fixture(scope="module")
def squid(need: Any, start: Any, certs: Certificates) -> Iterator[Squid]:
    """A forward proxy with a plain, a protected and two TLS ports."""
    squid = Squid(need, start, certs)
    yield squid
    squid.close()


@pytest.fixture(scope="module")
def tinyproxy(need: Any, start: Any) -> Tinyproxy:
    """A small forward proxy for everybody."""
    return Tinyproxy(need, start)


@pytest.fixture(scope="module")
def tinyproxy_auth(need: Any, start: Any) -> Tinyproxy:
    """The same for those who know the password."""
    return Tinyproxy(need, start, password=True)


@pytest.fixture(scope="module")
def apache(need: Any, start: Any, certs: Certificates) -> Apache:
    """A forward proxy with the password, plain and over TLS."""
    return Apache(need, start, certs)


@pytest.fixture(scope="module")
def nghttpx(need: Any, start: Any, certs: Certificates, squid: Squid) -> Nghttpx:
    """TLS in front of Squid."""
    return Nghttpx(need, start, certs, squid.peer.port)


@pytest.fixture(scope="module")
def nginx(need: Any, start: Any, certs: Certificates) -> Nginx:
    """A web server."""
    return Nginx(need, start, certs)


@pytest.fixture
def open_manager(ca_file: str) -> Iterator[Callable[..., PoolManager]]:
    """Make managers for a :class:`Way` (None: without a proxy); they are cleared afterwards."""
    managers: list[PoolManager] = []

    def make(way: Way | None, **options: Any) -> PoolManager:
        options = {"ca_certs": ca_file, "timeout": 20, "retries": Retry(0), **options}
        if way is None:
            manager = PoolManager(**options)
        elif way.url.startswith("socks"):
            manager = SOCKSProxyManager(way.url, **options)
        else:
            if not way.keeps:
                options.setdefault("maxsize", 0)
            manager = ProxyManager(way.url, proxy_headers=way.headers, **options)
        managers.append(manager)
        return manager

    yield make
    for manager in managers:
        manager.clear()
