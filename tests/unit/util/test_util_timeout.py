"""Time limits: what is accepted, how they combine, and when two are the same."""

from __future__ import annotations

import pickle
import socket
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from urllib4.exceptions import TimeoutStateError
from urllib4.util import timeout as timeout_module
from urllib4.util.timeout import _DEFAULT_TIMEOUT, Timeout, coerce_timeout


class Clock:
    """A clock that stands until the test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(Timeout, "_clock", staticmethod(clock))
    return clock


@pytest.fixture
def default_timeout() -> Iterator[float]:
    socket.setdefaulttimeout(7.0)
    yield 7.0
    socket.setdefaulttimeout(None)


@pytest.mark.parametrize("name", ["total", "connect", "read", "deadline"])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (True, "Timeout cannot be a boolean value. It must be an int, float or None."),
        (False, "Timeout cannot be a boolean value. It must be an int, float or None."),
        ("3", "Timeout value {name} was 3, but it must be an int, float or None."),
        (b"3", "Timeout value {name} was b'3', but it must be an int, float or None."),
        ([], r"Timeout value {name} was \[\], but it must be an int, float or None."),
        (
            0,
            "Attempted to set {name} timeout to 0, but the timeout cannot be set to a value "
            "less than or equal to 0.",
        ),
        (
            -1.5,
            "Attempted to set {name} timeout to -1.5, but the timeout cannot be set to a value "
            "less than or equal to 0.",
        ),
        (-(10**400), "less than or equal to 0"),
        (float("nan"), "Timeout value {name} was nan, which is no number of seconds."),
    ],
)
def test_wrong_limits_are_refused_by_name(name: str, value: Any, message: str):
    with pytest.raises(ValueError, match=message.format(name=name)):
        Timeout(**{name: value})


def test_a_deadline_has_no_default():
    with pytest.raises(ValueError, match="deadline has no default"):
        Timeout(deadline=_DEFAULT_TIMEOUT)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("limits", "connect"),
    [
        ({}, _DEFAULT_TIMEOUT),
        ({"connect": 1}, 1),
        ({"connect": None}, None),
        ({"total": 3}, 3),
        ({"total": 3, "connect": 5}, 3),
        ({"total": 3, "connect": 1}, 1),
        ({"total": 3, "connect": None}, 3),
        ({"total": _DEFAULT_TIMEOUT, "connect": 1}, 1),
        ({"total": _DEFAULT_TIMEOUT, "connect": None}, _DEFAULT_TIMEOUT),
    ],
)
def test_the_smaller_limit_bounds_connecting(limits: Any, connect: Any):
    assert Timeout(**limits).connect_timeout == connect


@pytest.mark.parametrize(
    ("limits", "before", "after_two_seconds", "after_ten_seconds"),
    [
        ({"read": 5}, 5, 5, 5),
        ({"read": None}, None, None, None),
        ({"total": 3, "read": 5}, 5, 1, 0),
        ({"total": 6, "read": 2}, 2, 2, 0),
        ({"total": 3}, TimeoutStateError, 1, 0),
        ({"total": 3, "read": None}, TimeoutStateError, 1, 0),
        ({"total": _DEFAULT_TIMEOUT, "read": 2}, 2, 2, 2),
    ],
)
def test_what_is_left_of_total_bounds_reading(
    clock: Clock, limits: Any, before: Any, after_two_seconds: Any, after_ten_seconds: Any
):
    timeout = Timeout(**limits)
    if before is TimeoutStateError:
        with pytest.raises(TimeoutStateError, match="has not started"):
            _ = timeout.read_timeout
    else:
        assert timeout.read_timeout == before
    assert timeout.start_connect() == 1000.0
    clock.now += 2
    assert timeout.get_connect_duration() == 2
    assert timeout.read_timeout == after_two_seconds
    clock.now += 8
    assert timeout.read_timeout == after_ten_seconds


def test_the_default_is_looked_up_when_it_is_used(default_timeout: float):
    assert Timeout().read_timeout == default_timeout
    assert Timeout().connect_timeout is _DEFAULT_TIMEOUT
    assert Timeout.resolve_default_timeout(_DEFAULT_TIMEOUT) == default_timeout
    assert Timeout.resolve_default_timeout(3) == 3
    socket.setdefaulttimeout(None)
    assert Timeout().read_timeout is None


@pytest.mark.parametrize("value", [float("inf"), 1e300, 10**400, 1e10, Decimal("1e50")])
def test_very_long_waits_are_ones_that_a_socket_takes(clock: Clock, value: Any):
    """settimeout() raises OverflowError for them, long after the call that asked for them."""
    near, far = socket.socketpair()
    with near, far:
        for timeout in (Timeout(value), Timeout(connect=value, read=value)):
            timeout.start_connect()
            near.settimeout(timeout.connect_timeout)  # type: ignore[arg-type]
            near.settimeout(timeout.read_timeout)


def test_numbers_of_other_kinds_are_seconds_that_a_socket_takes(clock: Clock):
    timeout = Timeout(total=Decimal("2.5"), connect=Decimal("1.5"), read=Decimal(9))  # type: ignore[arg-type]
    timeout.start_connect()
    clock.now += 1
    assert (timeout.connect_timeout, timeout.read_timeout) == (1.5, 1.5)
    assert type(timeout.connect_timeout) is type(timeout.read_timeout) is float


def test_the_clock_starts_once():
    timeout = Timeout(3)
    with pytest.raises(TimeoutStateError, match="Can't get connect duration"):
        timeout.get_connect_duration()
    timeout.start_connect()
    with pytest.raises(TimeoutStateError, match="already been started"):
        timeout.start_connect()
    timeout.clone().start_connect()


def test_a_clone_keeps_everything_but_the_start():
    class Labelled(Timeout):
        def __init__(self, label: str) -> None:
            super().__init__(total=3, deadline=9)
            self.label = label

    original = Labelled("mine")
    original.start_connect()
    clone = original.clone()
    assert type(clone) is Labelled
    assert clone == original
    assert (clone.total, clone.deadline, clone.label) == (3, 9, "mine")
    with pytest.raises(TimeoutStateError):
        clone.get_connect_duration()


def test_a_clock_of_ones_own_is_used_and_cloned():
    timeout = Timeout(3)
    clock = Clock()
    timeout._clock = clock  # type: ignore[method-assign, assignment]
    clone = timeout.clone()
    clone.start_connect()
    clock.now += 1
    assert clone.read_timeout == 2
    assert clone == Timeout(3)


def test_equal_limits_are_equal_timeouts():
    """Pools of equal timeouts are shared, whatever was done with them."""
    timeout = Timeout(3, read=1, deadline=5)
    same = Timeout(3.0, read=1, deadline=5)
    assert timeout == same
    assert hash(timeout) == hash(same)
    timeout.start_connect()
    assert timeout == same
    assert hash(timeout) == hash(same)


@pytest.mark.parametrize(
    "other",
    [
        *(Timeout(4), Timeout(3, connect=1), Timeout(3, read=1), Timeout(3, read=None)),
        *(Timeout(3, deadline=9), type("Other", (Timeout,), {})(3), 3, None),
    ],
)
def test_different_limits_or_classes_are_different(other: object):
    assert Timeout(3) != other


LIMITS = st.one_of(st.none(), st.just(_DEFAULT_TIMEOUT), st.sampled_from([1, 1.0, 2, 0.5]))


@given(LIMITS, LIMITS, LIMITS, LIMITS, LIMITS, LIMITS)
def test_equality_is_that_of_the_limits(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any):
    one, other = Timeout(a, b, c), Timeout(d, e, f)
    assert (one == other) == ((a, b, c) == (d, e, f))
    if one == other:
        assert hash(one) == hash(other)


def test_repr_shows_a_deadline_only_if_there_is_one():
    assert repr(Timeout(3, 1, None)) == "Timeout(connect=1, read=None, total=3)"
    assert str(Timeout(3, 1, None, deadline=9)) == (
        "Timeout(connect=1, read=None, total=3, deadline=9)"
    )


def test_timeouts_pickle():
    assert pickle.loads(pickle.dumps(Timeout(3, deadline=5))) == Timeout(3, deadline=5)
    assert pickle.loads(pickle.dumps(_DEFAULT_TIMEOUT)) is _DEFAULT_TIMEOUT


def test_from_float_limits_connecting_and_reading():
    timeout = Timeout.from_float(2)
    assert (timeout.total, timeout._connect, timeout._read, timeout.deadline) == (None, 2, 2, None)


@pytest.mark.parametrize("value", [3, 2.5, None, _DEFAULT_TIMEOUT])
def test_single_limits_are_coerced(value: Any):
    assert coerce_timeout(value) == Timeout.from_float(value)


def test_a_timeout_is_coerced_to_itself():
    class Mine(Timeout):
        pass

    for timeout in (Timeout(3), Mine(3)):
        assert coerce_timeout(timeout) is timeout


@pytest.mark.parametrize("value", [True, "3", b"3", (1, 2), 0, -1, object(), {}])
def test_what_is_no_timeout_cannot_be_coerced(value: Any):
    with pytest.raises(ValueError, match="imeout"):
        coerce_timeout(value)


@pytest.mark.parametrize(
    "limits",
    [{}, {"total": 3}, {"connect": 1, "read": None}, {"total": 3, "connect": 2, "read": 1}],
)
def test_a_timeout_of_urllib3_is_understood(limits: Any):
    foreign = pytest.importorskip("urllib3").Timeout(**limits)
    foreign.start_connect()
    ours = coerce_timeout(foreign)
    assert ours == Timeout(**limits)
    ours.start_connect()


def test_the_default_marker_of_urllib3_is_understood():
    foreign = pytest.importorskip("urllib3").Timeout.DEFAULT_TIMEOUT
    assert Timeout(connect=foreign)._connect is _DEFAULT_TIMEOUT
    assert coerce_timeout(foreign) == Timeout()


def test_the_default_marker_of_older_copies_is_understood():
    """Theirs is a plain object, which only their class knows."""

    class Old:
        DEFAULT_TIMEOUT = object()
        total = 3
        _connect = DEFAULT_TIMEOUT
        _read = None

    assert coerce_timeout(Old()) == Timeout(3, read=None)


def test_the_current_time_is_looked_up_at_call_time(monkeypatch: pytest.MonkeyPatch):
    """Programs patch time.monotonic in their tests."""
    monkeypatch.setattr(timeout_module.time, "monotonic", lambda: 5.0)
    assert Timeout(3).start_connect() == 5.0
