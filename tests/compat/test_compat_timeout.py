"""The same timeouts do the same as in urllib3 2.8.0, or the difference is listed here."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

urllib3_timeout = pytest.importorskip("urllib3.util.timeout")

from urllib4.util import timeout as urllib4_timeout  # noqa: E402 - after the check for urllib3

THEIRS, OURS = urllib3_timeout.Timeout, urllib4_timeout.Timeout
NAN, INF = float("nan"), float("inf")

#: (constructor arguments by name, what is looked at): (theirs, ours, why).
DELIBERATE_DIFFERENCES: dict[str, tuple[dict[str, Any], str, Any, Any, str]] = {
    "NaN is refused": (
        {"connect": NAN},
        "_connect",
        NAN,
        "ValueError",
        "a wait of NaN seconds fails much later, in the socket",
    ),
    "an integer too large for a float is accepted": (
        {"connect": 10**400},
        "_connect",
        "OverflowError",
        10**400,
        "it means to wait for ever; only the documented ValueError may come out",
    ),
    "infinity becomes what a socket takes": (
        {"connect": INF},
        "connect_timeout",
        INF,
        2_147_483.0,
        "socket.settimeout raises OverflowError for more",
    ),
    "large reads become what a socket takes": (
        {"read": 1e10},
        "read_timeout",
        1e10,
        2_147_483.0,
        "socket.settimeout raises OverflowError for more",
    ),
    "a default total leaves connect alone": (
        {"total": "DEFAULT", "connect": 1},
        "connect_timeout",
        "TypeError",
        1,
        "read_timeout ignores a default total already",
    ),
}

VALUES = [None, "DEFAULT", 1, 3, 0.5, 2.5]
WRONG = [
    0,
    -1,
    -0.0,
    0.0,
    -INF,
    True,
    False,
    "3",
    "x",
    b"3",
    [],
    (1, 2),
    1j,
    {},
    object,
    Decimal(-1),
]


@pytest.fixture(autouse=True)
def frozen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The clock of both: a list whose only item is the time."""
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    yield clock
    socket.setdefaulttimeout(None)


def make(cls: Any, arguments: dict[str, Any]) -> Any:
    return cls(
        **{
            name: cls.DEFAULT_TIMEOUT if value == "DEFAULT" else value
            for name, value in arguments.items()
        }
    )


def look(cls: Any, arguments: dict[str, Any], name: str) -> Any:
    """Return an attribute in a form that both packages share, or the error's name and text."""
    try:
        value = getattr(make(cls, arguments), name)
    except Exception as error:
        return type(error).__name__, str(error)
    return "DEFAULT" if value is cls.DEFAULT_TIMEOUT else value


@pytest.mark.parametrize("name", ["total", "connect", "read"])
@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_wrong_values_raise_the_same_error(name: str, value: Any):
    theirs, ours = (look(cls, {name: value}, "total") for cls in (THEIRS, OURS))
    assert ours == theirs
    assert ours[0] == "ValueError"


@pytest.mark.parametrize(
    ("total", "connect", "read"), list(itertools.product(VALUES, VALUES, VALUES))
)
def test_limits_are_the_same_at_every_moment(
    frozen: list[float], total: Any, connect: Any, read: Any
):
    """Before the start, after it, when part of the total is gone, and when all of it is."""
    arguments = {"total": total, "connect": connect, "read": read}
    if total == "DEFAULT" and connect not in (None, "DEFAULT"):
        return  # listed
    for default in (None, 7.0):
        socket.setdefaulttimeout(default)
        assert look(OURS, arguments, "connect_timeout") == look(
            THEIRS, arguments, "connect_timeout"
        )
        assert look(OURS, arguments, "read_timeout") == look(THEIRS, arguments, "read_timeout")
        theirs, ours = make(THEIRS, arguments), make(OURS, arguments)
        assert ours.start_connect() == theirs.start_connect()
        for elapsed in (0, 0.25, 1, 5):
            frozen[0] += elapsed
            assert ours.get_connect_duration() == theirs.get_connect_duration()
            assert ours.read_timeout == theirs.read_timeout
        frozen[0] = 100.0


@pytest.mark.parametrize("value", [None, 1, 2.5])
def test_from_float_gives_the_same(value: Any):
    theirs, ours = THEIRS.from_float(value), OURS.from_float(value)
    assert (ours.total, ours._connect, ours._read) == (theirs.total, theirs._connect, theirs._read)


def test_texts_are_the_same():
    assert repr(OURS(3, read=None)) == repr(THEIRS(3, read=None))
    assert str(OURS(3, read=None)) == str(THEIRS(3, read=None))


def test_the_order_of_calls_is_checked_alike():
    theirs, ours = THEIRS(3), OURS(3)
    for call in ("get_connect_duration", "start_connect", "start_connect", "clone"):
        results = []
        for timeout in (theirs, ours):
            try:
                results.append(type(getattr(timeout, call)()).__name__)
            except Exception as error:
                results.append((type(error).__name__, str(error)))
        assert results[0] == results[1]


@pytest.mark.parametrize("case", DELIBERATE_DIFFERENCES)
def test_what_differs_on_purpose_is_as_listed(case: str):
    arguments, name, theirs, ours, reason = DELIBERATE_DIFFERENCES[case]
    for cls, expected in ((THEIRS, theirs), (OURS, ours)):
        seen = look(cls, arguments, name)
        assert (seen[0] if isinstance(seen, tuple) else seen) == pytest.approx(
            expected, nan_ok=True
        )
    assert reason


@pytest.mark.parametrize("value", [Decimal("2.5"), Fraction(5, 2)])
def test_other_numbers_are_kept_as_given(value: Any):
    assert OURS(value).total is THEIRS(value).total is value
