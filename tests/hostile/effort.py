"""How much of what can be generated is tried.

The default run takes samples that are the same each time.  By hand, ``URLLIB4_TEST_EFFORT=50``
tries fifty times as many cases of the pool tests (every step there is, for interrupts), and
``URLLIB4_TEST_SEED`` (a number; default 1) chooses other samples of the same size.
"""

from __future__ import annotations

import os

EFFORT = max(1, int(os.environ.get("URLLIB4_TEST_EFFORT", "1")))
SEED = int(os.environ.get("URLLIB4_TEST_SEED", "1"))


def stride(usual: int) -> int:
    """Return every how many steps one is tried; `usual` in the default run."""
    return max(1, usual // EFFORT)


def sample(usual: int) -> int:
    """Return how many cases are tried; `usual` in the default run."""
    return usual * EFFORT
