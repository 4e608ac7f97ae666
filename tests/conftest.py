"""Fixtures of all tests: servers to talk to, a clean environment, and a guard against leaks."""

from __future__ import annotations

import gc
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from dummyserver.certs import Certificates
from dummyserver.script import ScriptedServer
from dummyserver.server import DummyServer
from tests import frozen
from tests.examples import register_profiles

register_profiles()

# A shell that starts the tests in the background has SIGINT ignored, also by their children.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """From here on, a whole collection looks at what a test made, not at all tests."""
    frozen.freeze()


#: Variables that change whom a client trusts, what it logs, or which proxy it uses.
ENVIRONMENT = (
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SSLKEYLOGFILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "AWS_CA_BUNDLE",
    "OPENSSL_CONF",
    "NETRC",
    "REQUEST_METHOD",
    *(
        spelling(f"{kind}_proxy")
        for kind in ("http", "https", "ftp", "all", "no", "socks", "ws", "wss")
        for spelling in (str.lower, str.upper)
    ),
)

#: Seconds that a closed connection may take to vanish on the server's side, which lives in this
#: process too: its thread notices the end of a connection a moment after the client made it.
SETTLING = 5.0


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is set on the machine must not decide whether a test passes."""
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def nothing_leaks() -> Iterator[None]:
    """Fail a test that leaves a file descriptor open or a thread running.

    What session fixtures opened before the test does not count.
    """
    before = _resources()
    yield
    leaked = _resources() - before
    if not leaked:
        return
    gc.collect()  # costs milliseconds, hence not before each comparison
    deadline = time.monotonic() + SETTLING
    while leaked := _resources() - before:
        if time.monotonic() > deadline:
            pytest.fail("the test left behind: " + ", ".join(sorted(map(_describe, leaked))))
        time.sleep(0.005)


@pytest.fixture(scope="session")
def certs() -> Iterator[Certificates]:
    """Certificates that are good, bad and for clients."""
    with Certificates() as certificates:
        yield certificates


@pytest.fixture(scope="session")
def ca_file(certs: Certificates) -> str:
    """The path of the authority to trust."""
    return certs.ca_file


@pytest.fixture(scope="session")
def server(certs: Certificates) -> Iterator[DummyServer]:
    """The web server with many endpoints, over http, https and IPv6."""
    with DummyServer(certs) as running:
        yield running


@pytest.fixture
def script() -> Iterator[ScriptedServer]:
    """A raw server that plays the conversation which the test writes down."""
    with ScriptedServer() as running:
        yield running
    running.assert_finished()


@pytest.fixture
def tls_script(certs: Certificates) -> Iterator[ScriptedServer]:
    """A raw server like `script` behind TLS, with a certificate for 127.0.0.1 and localhost."""
    with ScriptedServer(tls=certs.server_context()) as running:
        yield running
    running.assert_finished()


#: A thread, or the number of a descriptor and what it refers to (for a socket: its inode).
_Resource = threading.Thread | tuple[int, str]


def _resources() -> set[_Resource]:
    found: set[_Resource] = set(threading.enumerate())
    with suppress(FileNotFoundError):  # no /proc: threads only
        for name in os.listdir("/proc/self/fd"):
            with suppress(FileNotFoundError):  # such as the descriptor of the listing itself
                found.add((int(name), os.readlink(f"/proc/self/fd/{name}")))
    return found


def _describe(resource: _Resource) -> str:
    if isinstance(resource, threading.Thread):
        return f"thread {resource.name!r}"
    number, target = resource
    if target.startswith("socket:"):
        with suppress(OSError), socket.socket(fileno=os.dup(number)) as sock:
            return f"socket {sock.getsockname()} (descriptor {number})"
    return f"descriptor {number} of {target}"
