"""Fixtures of the tests against peers that mean no good."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.tls_peers import Authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that the client trusts where a test says so."""
    return Authority(Path(tmp_path_factory.mktemp("authority")))


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that nobody trusts."""
    return Authority(Path(tmp_path_factory.mktemp("stranger")), "stranger")
