"""Families of small cases as one test: a test of its own costs more than what such a case does."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Iterable
from typing import Any

import pytest

Test = Callable[..., None]


def every(**families: Iterable[Any]) -> Callable[[Test], Test]:
    """Let one test call the function with each combination of these values.

    Like a stack of ``parametrize``, for functions that need no fixture anew for each case.  All
    cases are tried; the failure names those that failed, and shows where the first did.
    """
    cases = [
        dict(zip(families, values, strict=True)) for values in itertools.product(*families.values())
    ]
    assert cases, "a family without members tests nothing"

    def decorate(function: Test) -> Test:
        @functools.wraps(function)
        def test(**fixtures: Any) -> None:
            failures: list[tuple[dict[str, Any], BaseException]] = []
            for case in cases:
                try:
                    function(**fixtures, **case)
                except (Exception, pytest.fail.Exception) as error:
                    failures.append((case, error))
            if failures:
                lines = [f"{len(failures)} of {len(cases)} cases failed, such as"]
                lines += [f"{case!r}: {error!r:.200}" for case, error in failures[:20]]
                raise AssertionError("\n".join(lines)) from failures[0][1]

        signature = inspect.signature(function)
        fixtures = [one for name, one in signature.parameters.items() if name not in families]
        assert len(fixtures) + len(families) == len(signature.parameters)
        test.__signature__ = signature.replace(parameters=fixtures)  # type: ignore[attr-defined]
        return test

    return decorate
