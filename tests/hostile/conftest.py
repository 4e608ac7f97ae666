"""Fixtures of the tests against peers that mean no good."""

from __future__ import annotations

import importlib.util
import os
import signal
from pathlib import Path

import pytest

from tests.hostile.tls_peers import Authority

#: What a system cannot do is no case there.
collect_ignore = [
    name
    for name, possible in {
        "test_pool_fork.py": hasattr(os, "fork"),
        "test_pool_signals.py": hasattr(signal, "pthread_kill"),
        "test_pool_descriptors.py": importlib.util.find_spec("resource") is not None,
    }.items()
    if not possible
]


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that the client trusts where a test says so."""
    return Authority(Path(tmp_path_factory.mktemp("authority")))


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that nobody trusts."""
    return Authority(Path(tmp_path_factory.mktemp("stranger")), "stranger")
