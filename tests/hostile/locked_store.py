"""A store as one writes it first, with a lock.

It has a file of its own so that a scheduler can watch its few lines and nothing else.
"""

from __future__ import annotations

from typing import Any

from urllib4._idle import IdleStore


class LockedStore(IdleStore):
    """Takes its reentrant lock in each method, in finalisers too."""

    lock: Any

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take an entry."""
        with self.lock:
            entry = super().get(block, timeout)
            return entry  # noqa: RET504 - the collector may come in between

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Give an entry back."""
        with self.lock:
            super().put(item, block, timeout)
