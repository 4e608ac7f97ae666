"""Runs every test function of this directory in an interpreter in which urllib3 is urllib4.

The functions look like any other test, but are called by ``alias.py`` in a process of their own;
fixtures are made here, so a fixture must be something that JSON can carry over.  Clients are
imported inside the functions: in this process they would find the real urllib3.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import urllib4
from dummyserver.certs import Certificates
from dummyserver.server import DummyServer

ALIAS = Path(__file__).with_name("alias.py")
ROOT = Path(__file__).parents[2]

#: Seconds for one function, the start of its interpreter included.
PATIENCE = 45


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
    finished = subprocess.run(
        [
            sys.executable, str(ALIAS), str(pyfuncitem.path), pyfuncitem.originalname,
            json.dumps(arguments, default=os.fspath),
        ],
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )  # fmt: skip
    if finished.returncode:
        pytest.fail(
            f"exit status {finished.returncode}\n{finished.stdout}\n{finished.stderr}",
            pytrace=False,
        )
    return True


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
