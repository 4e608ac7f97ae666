"""What the garbage collector leaves alone: all that is there once the tests are collected.

The test files and what they import are a million objects.  Some tests ask for a hundred whole
collections, each of which would look at all of them.
"""

from __future__ import annotations

import gc
from types import CodeType, FunctionType

_codes: set[CodeType] = set()


def freeze() -> None:
    """Let the collector forget what there is now."""
    _codes.update(_code_seen())
    gc.freeze()


def all_code() -> set[CodeType]:
    """Return the code of all functions, also of those that the collector does not know any more."""
    return _codes | _code_seen()


def _code_seen() -> set[CodeType]:
    return {one.__code__ for one in gc.get_objects() if type(one) is FunctionType}
