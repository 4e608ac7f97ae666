"""The same policy decides the same as in urllib3 2.8.0, or the difference is listed here."""

from __future__ import annotations

import itertools
import logging
import random
import time
import warnings
from typing import Any

import pytest

pytest.importorskip("urllib3")

import urllib3
import urllib3.exceptions
import urllib3.util.retry
from hypothesis import given
from hypothesis import strategies as st

import urllib4.exceptions
import urllib4.util.retry
from tests.families import every

THEIRS, OURS = urllib3.util.retry.Retry, urllib4.util.retry.Retry
NOW = 1_500_000_000.0
NAN = float("nan")

COUNTERS = ("total", "connect", "read", "redirect", "status", "other")


class Response:
    """What a policy asks of a response."""

    def __init__(self, status: int, **headers: str) -> None:
        self.status = status
        self.headers = {"Retry-After": headers["after"]} if "after" in headers else {}
        self.location = headers.get("location")

    def get_redirect_location(self) -> Any:
        return self.location


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The sleeps that were asked for; nothing sleeps, and the clock stands still."""
    sleeps: list[float] = []
    monkeypatch.setattr(time, "sleep", sleeps.append)
    monkeypatch.setattr(time, "time", lambda: NOW)
    monkeypatch.setattr(random, "random", lambda: 0.5)
    return sleeps


def failures(number: int) -> tuple[Any, ...]:
    return (urllib4.util.retry.RequestHistory("GET", "/", None, 500, None),) * number


def quietly(function: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return function()


#: What is looked at: (theirs, ours, why).
DELIBERATE_DIFFERENCES: dict[str, tuple[Any, Any, Any, str]] = {
    "Retry-After without a limit on retries": (
        lambda cls: cls(total=None).is_retry("GET", 503, True),
        False,
        True,
        "no limit must not mean less than a limit",
    ),
    "Garbage as Retry-After while sleeping": (
        lambda cls: cls(3).sleep(Response(503, after="garbage")),
        "InvalidHeader: Invalid Retry-After header: garbage",
        None,
        "a server's garbage must not turn a response that could be retried into an error",
    ),
    "Thousands of digits as Retry-After": (
        lambda cls: cls(3).parse_retry_after("9" * 5000),
        "ValueError",
        21600,
        "a server must not cause errors that are not ours",
    ),
    "A year without end as Retry-After": (
        lambda cls: cls(3).parse_retry_after("Mon, 01 Jan 99999 00:00:00 GMT"),
        "ValueError",
        "InvalidHeader: Invalid Retry-After header: Mon, 01 Jan 99999 00:00:00 GMT",
        "a server must not cause errors that are not ours",
    ),
    "Very many failures in a row": (
        lambda cls: cls(9999, backoff_factor=0.1, history=failures(1100)).get_backoff_time(),
        "OverflowError",
        120.0,
        "the longest pause is known without computing the power",
    ),
    "Text as a counter": (
        lambda cls: cls("3").total,
        "3",
        "TypeError: total must be a number, not str: '3'",
        "the call that received it says so, not the first failure",
    ),
    "Text as a policy": (
        lambda cls: cls.from_int("3").total,
        "3",
        "TypeError: retries must be a Retry, an int, a bool or None, not str: '3'",
        "the call that received it says so, not the first failure",
    ),
    "NaN as a counter": (
        lambda cls: repr(cls(NAN).total),
        "nan",
        "ValueError: total must be a number, not NaN",
        "it would never be exhausted",
    ),
    "A status instead of statuses": (
        lambda cls: cls(3, status_forcelist=500).status_forcelist,
        500,
        "TypeError: status_forcelist must be a collection such as [500, 503], not int: 500",
        "the call that received it says so, not the first response",
    ),
    "A header name instead of names": (
        lambda cls: (
            "cookie" in cls(3, remove_headers_on_redirect="Cookie").remove_headers_on_redirect
        ),
        False,
        'TypeError: remove_headers_on_redirect must be a collection such as ["Cookie"], '
        "not str: 'Cookie'",
        "the names of its letters were removed, and the cookies followed",
    ),
    "The older name of allowed_methods": (
        lambda cls: quietly(lambda: cls(3, method_whitelist=["POST"]).allowed_methods),
        "TypeError",
        ["POST"],
        "programs written for urllib3 1.x keep working, with a warning",
    ),
    "A list as history": (
        lambda cls: cls(3, history=list(failures(1))).history,
        list(failures(1)),
        failures(1),
        "increment() adds to a tuple",
    ),
    "Two equal policies": (
        lambda cls: len({cls(3), cls(total=3)}),
        2,
        1,
        "equal policies share a pool",
    ),
}


def outcome(function: Any, *args: Any, **kw: Any) -> Any:
    """Return what a call gives, or the name and text of its error."""
    try:
        return function(*args, **kw)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def state(policy: Any) -> Any:
    """Return all that is known of a policy, without what urllib3 has not."""
    if isinstance(policy, str):
        return policy
    known = dict(vars(policy))
    known.pop("allow_downgrade", None)
    known["history"] = [(*entry[:2], str(entry[2]), *entry[3:]) for entry in known["history"]]
    return known


@pytest.mark.usefixtures("slept")
@pytest.mark.parametrize("case", DELIBERATE_DIFFERENCES)
def test_what_differs_on_purpose_is_as_listed(case: str):
    call, theirs, ours, reason = DELIBERATE_DIFFERENCES[case]
    seen = outcome(call, THEIRS)
    if isinstance(theirs, str) and theirs.endswith("Error"):
        seen = seen.partition(":")[0]  # of texts that come from Python
    assert seen == theirs
    assert outcome(call, OURS) == ours
    assert reason


def errors(module: Any) -> dict[str, Exception]:
    unreachable = module.NewConnectionError("conn", "unreachable")
    return {
        "connect": module.ConnectTimeoutError("conn", "slow"),
        "new": unreachable,
        "read": module.ReadTimeoutError("pool", "/", "slow"),
        "protocol": module.ProtocolError("garbage"),
        "proxy unreachable": module.ProxyError("proxy", unreachable),
        "proxy refuses": module.ProxyError("proxy", OSError("403")),
        "tls": module.SSLError("certificate"),
        "other": ValueError("other"),
    }


POLICIES: list[dict[str, Any]] = [
    {"total": value} for value in (3, 1, 0, None, False, True, -1, 1.5)
]
POLICIES += [
    {"total": total, counter: value}
    for total in (5, None)
    for counter in COUNTERS[1:]
    for value in (2, 1, 0, False, True)
]
POLICIES += [
    {"total": 5, "connect": 1, "read": 1, "redirect": 1, "status": 1, "other": 1},
    {"total": 5, "allowed_methods": None},
    {"total": 5, "allowed_methods": ["POST"], "status_forcelist": {500, 503}},
    {"total": 0, "raise_on_status": False, "raise_on_redirect": False, "backoff_factor": 0.5},
]


@pytest.mark.parametrize("options", POLICIES, ids=repr)
def test_policies_are_built_alike(options: Any):
    theirs, ours = THEIRS(**options), OURS(**options)
    assert state(ours) == state(theirs)
    assert repr(ours) == repr(theirs)
    assert ours.is_exhausted() == theirs.is_exhausted()
    assert state(ours.new(total=7, backoff_max=3)) == state(theirs.new(total=7, backoff_max=3))


@pytest.mark.parametrize("kind", errors(urllib3.exceptions))
@every(options=POLICIES, method=["GET", "POST", "get", None])
def test_errors_are_counted_alike(options: Any, kind: str, method: str | None):
    """Three in a row, so that each counter gets to its end."""
    theirs, ours = THEIRS(**options), OURS(**options)
    for _ in range(3):
        theirs = outcome(
            theirs.increment, method, "/x", error=errors(urllib3.exceptions)[kind], _pool="pool"
        )
        ours = outcome(
            ours.increment, method, "/x", error=errors(urllib4.exceptions)[kind], _pool="pool"
        )
        # The text of a ConnectTimeoutError is one of the listed differences of exceptions.
        if isinstance(theirs, str):
            assert ours.partition(":")[0] == theirs.partition(":")[0]
            return
        assert {name: getattr(ours, name) for name in COUNTERS} == {
            name: getattr(theirs, name) for name in COUNTERS
        }
        assert [entry[:2] + entry[3:] for entry in ours.history] == [
            entry[:2] + entry[3:] for entry in theirs.history
        ]


@pytest.mark.parametrize(
    "response",
    [
        Response(302, location="/y"),
        Response(302),
        Response(503, after="3"),
        Response(200),
        Response(0),
        None,
    ],
    ids=["redirect", "no location", "503", "200", "no status", "none"],
)
@every(options=POLICIES)
def test_responses_are_counted_alike(options: Any, response: Any):
    theirs, ours = THEIRS(**options), OURS(**options)
    for _ in range(3):
        theirs = outcome(theirs.increment, "GET", "/x", response=response, _pool="pool")
        ours = outcome(ours.increment, "GET", "/x", response=response, _pool="pool")
        assert state(ours) == state(theirs)
        if isinstance(theirs, str):
            return


@pytest.mark.parametrize("options", [p for p in POLICIES if p["total"] is not None], ids=repr)
def test_the_same_responses_are_tried_again(options: Any):
    theirs, ours = THEIRS(**options), OURS(**options)
    for method, status, after in itertools.product(
        ("GET", "get", "POST", "", b"GET"), (200, 302, 413, 429, 500, 503), (True, False)
    ):
        assert ours.is_retry(method, status, after) == theirs.is_retry(method, status, after)
        assert ours.is_retry(method, status) == theirs.is_retry(method, status)


@pytest.mark.usefixtures("slept")
@pytest.mark.parametrize(
    "value",
    [
        *("0", "5", " 5 ", "\t5", "5\n", "007", "+5", "-5", "5.0", "٣", "", " ", "abc", "99999999"),
        *(
            "5 5",
            "5,5",
            "0x5",
            "1" * 30,
            "1e3",
            "∞",
            "Mon",
            "Mon, 3 Jun",
            "3 Jun 2030",
            "2030-06-03",
        ),
        "Wed, 21 Oct 2035 07:28:00 GMT",
        "Wed, 21 Oct 2015 07:28:00 GMT",
        "Mon Jun  3 11:30:12 2030",
        "Fri, 14 Jul 2017 02:41:00 GMT",
        "Fri, 14 Jul 2017 02:50:00 GMT",
        "Friday, 14-Jul-17 02:45:00 GMT",
        "Fri Jul 14 02:45:00 2017",
        "Fri, 14 Jul 2017 02:45:00",
        "Fri, 14 Jul 2017 02:45:00 -0700",
        "Mon, 3 Jun 0019 11:30:12 UTC",
        "Mon, 32 Jul 2017 25:61:61 GMT",
        "Mon, 99 Foo 2017 02:45:00 GMT",
    ],
)
def test_retry_after_is_read_alike(value: str):
    theirs = outcome(THEIRS(3).parse_retry_after, value)
    assert outcome(OURS(3).parse_retry_after, value) == theirs
    response = Response(503, after=value)
    assert outcome(OURS(3).get_retry_after, response) == theirs


@given(st.text(alphabet="0123456789 MonJul,:GT+-\t\x00é", max_size=40))
def test_any_retry_after_is_read_alike(value: str):
    theirs = outcome(THEIRS(3, retry_after_max=9).parse_retry_after, value)
    ours = outcome(OURS(3, retry_after_max=9).parse_retry_after, value)
    assert ours == theirs or not str(theirs).startswith("InvalidHeader")


@every(factor=[0, 0.1, 1, 3, -1, 1e300], jitter=[0.0, 2, -5], longest=[120, 0, -1, 1e9])
def test_pauses_grow_alike(slept: list[float], factor: Any, jitter: Any, longest: Any):
    options = {"backoff_factor": factor, "backoff_jitter": jitter, "backoff_max": longest}
    theirs, ours = THEIRS(50, **options), OURS(50, **options)
    for number in range(20):
        response: Any = Response(302, location="/") if number in (4, 5) else Response(500)
        assert ours.get_backoff_time() == theirs.get_backoff_time()
        theirs, ours = (policy.increment("GET", "/", response) for policy in (theirs, ours))


@pytest.mark.parametrize(
    "response", [None, Response(503), Response(503, after="7"), Response(503, after="0")]
)
@pytest.mark.parametrize("respect", [True, False])
@pytest.mark.parametrize("number", [0, 3])
def test_sleeps_are_the_same(slept: list[float], response: Any, respect: bool, number: int):
    sleeps = []
    for cls in (THEIRS, OURS):
        policy = cls(
            9, backoff_factor=1, respect_retry_after_header=respect, history=failures(number)
        )
        policy.sleep(response)
        answer = None if response is None else policy.sleep_for_retry(response)
        sleeps.append((list(slept), answer))
        slept.clear()
    assert sleeps[0] == sleeps[1]


@every(
    retries=[None, 0, 1, 3, -1, 1.5, True, False],
    redirect=[True, False, None, 0, 2],
    default=[None, 0, 5, False, "policy"],
)
def test_numbers_become_the_same_policies(
    caplog: pytest.LogCaptureFixture, retries: Any, redirect: Any, default: Any
):
    caplog.set_level(logging.DEBUG)
    caplog.clear()
    results = []
    for cls in (THEIRS, OURS):
        given_default = cls(8) if default == "policy" else default
        results.append(state(cls.from_int(retries, redirect=redirect, default=given_default)))
    assert results[0] == results[1]
    if caplog.messages:
        assert caplog.messages[0] == caplog.messages[1]
        assert [record.name for record in caplog.records] == [
            "urllib3.util.retry",
            "urllib4.util.retry",
        ]


def test_subclasses_get_the_same_keywords():
    """Programs override new() and the constructor, and list the keywords they know."""
    calls: list[Any] = []

    def spy(cls: Any) -> Any:
        class Spy(cls):
            def __init__(self, *args: Any, **kw: Any) -> None:
                calls[-1].append(("__init__", args, sorted(kw)))
                super().__init__(*args, **kw)

            def new(self, **kw: Any) -> Any:
                calls[-1].append(("new", sorted(kw)))
                return super().new(**kw)

            def is_exhausted(self) -> bool:
                calls[-1].append("is_exhausted")
                return super().is_exhausted()

        return Spy

    for cls in (THEIRS, OURS):
        calls.append([])
        policy = spy(cls)(3).increment("GET", "/")
        assert type(policy).__name__ == "Spy"
    assert calls[0] == calls[1]


def test_class_constants_are_the_same():
    for name in (
        "DEFAULT_ALLOWED_METHODS",
        "RETRY_AFTER_STATUS_CODES",
        "DEFAULT_REMOVE_HEADERS_ON_REDIRECT",
        "DEFAULT_BACKOFF_MAX",
        "DEFAULT_RETRY_AFTER_MAX",
    ):
        assert getattr(OURS, name) == getattr(THEIRS, name)
    assert state(OURS.DEFAULT) == state(THEIRS.DEFAULT)
    assert urllib4.util.retry.RequestHistory._fields == urllib3.util.retry.RequestHistory._fields


@pytest.mark.parametrize("methods", [[], frozenset(), ()])
def test_an_empty_collection_of_methods_warns_alike(methods: Any):
    for cls in (THEIRS, OURS):
        with pytest.warns(FutureWarning, match="empty collection") as caught:
            policy = cls(3, allowed_methods=methods)
        assert caught[0].filename == __file__
        assert policy.allowed_methods == methods
        assert policy._is_method_retryable("POST")
