"""Runs every test function of this directory in an interpreter in which urllib3 is urllib4.

The functions look like any other test, but ``alias.py`` calls each in a process of its own;
fixtures are made here, so a fixture must be something that JSON can carry over.  Clients are
imported inside the functions: in this process they would find the real urllib3.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import urllib4
from dummyserver.certs import Certificates
from dummyserver.server import DummyServer

ALIAS = Path(__file__).with_name("alias.py")
ROOT = Path(__file__).parents[2]

#: A system that cannot fork has no quick way to an interpreter of one's own.
collect_ignore_glob = [] if hasattr(os, "fork") else ["test_*.py"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "needs(module): the test is skipped where that module is not installed"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip before any fixture is made: a script that is never played would be an error."""
    for mark in item.iter_markers("needs"):
        if not _is_installed(mark.args[0]):
            pytest.skip(f"{mark.args[0]} is not installed")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool:
    """Call the function over there, and fail with what it printed if it failed."""
    names = pyfuncitem._fixtureinfo.argnames  # without those that are autouse
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    call = {
        "name": pyfuncitem.originalname,
        "arguments": arguments,
        "environment": _environment(),
    }
    program = pyfuncitem.funcargs["interpreter"]
    print(json.dumps(call, default=os.fspath), file=program.stdin, flush=True)
    status, output = json.loads(program.stdout.readline() or '["none", "it did not start"]')
    if status:
        pytest.fail(f"exit status {status}\n{output}", pytrace=False)
    return True


@pytest.fixture(scope="module", autouse=True)
def interpreter(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """The program that calls the functions of one file."""
    with subprocess.Popen(
        [sys.executable, str(ALIAS), str(request.path)],
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        yield program


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that it would be in
        return False


def _environment() -> dict[str, str]:
    """Return our environment, with the urllib4 under test first and no AWS account in it."""
    paths = [str(Path(urllib4.__file__).parents[1]), str(ROOT)]
    environment = {name: value for name, value in os.environ.items() if name[:4] != "AWS_"}
    environment.update(
        PYTHONPATH=os.pathsep.join(paths),
        AWS_EC2_METADATA_DISABLED="true",
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
    )
    return environment


@pytest.fixture
def http(server: DummyServer) -> str:
    """The dummyserver over plain HTTP."""
    return server.http_url


@pytest.fixture
def https(server: DummyServer) -> str:
    """The dummyserver with a certificate that `ca_file` vouches for."""
    return server.https_url


@pytest.fixture
def wrong_host(server: DummyServer) -> str:
    """The dummyserver with a certificate for another host."""
    return server.wrong_host_url


@pytest.fixture
def picky(server: DummyServer) -> str:
    """The dummyserver that wants to see a certificate of its clients."""
    return server.client_cert_url


@pytest.fixture
def client_cert(certs: Certificates) -> list[str]:
    """Files of a certificate and of its key."""
    return [certs.client.cert, certs.client.key]
