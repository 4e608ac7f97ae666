"""The retry policy: what it counts, what it repeats, how long it waits, and who may replace it."""

from __future__ import annotations

import copy
import email.utils
import math
import pickle
import random
import threading
import time
import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from urllib4.exceptions import (
    ConnectTimeoutError,
    DeadlineExceededError,
    InvalidHeader,
    MaxRetryError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    RequestCancelledError,
    ResponseError,
    SSLError,
)
from urllib4.util import retry as retry_module
from urllib4.util.retry import RequestHistory, Retry

NOW = 1_500_000_000.0
UNREACHABLE = NewConnectionError("conn", "unreachable")
GARBLED = ProtocolError("garbled")


class Response:
    """What a policy asks of a response."""

    def __init__(self, status: int = 503, after: str | None = None, location: Any = None) -> None:
        self.status = status
        self.headers = {} if after is None else {"Retry-After": after}
        self.location = location

    def get_redirect_location(self) -> Any:
        return self.location


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The sleeps asked for; the clock stands still, and chance always says one half."""
    sleeps: list[float] = []
    monkeypatch.setattr(retry_module.time, "sleep", sleeps.append)
    monkeypatch.setattr(retry_module.time, "time", lambda: NOW)
    monkeypatch.setattr(retry_module.random, "random", lambda: 0.5)
    return sleeps


def failed(times: int, **options: Any) -> Retry:
    """Return a policy that has seen so many failures in a row."""
    entry = RequestHistory("GET", "/", None, 500, None)
    return Retry(history=(entry,) * times, **options)


# Counting


def test_total_wins_over_the_others():
    with pytest.raises(MaxRetryError):
        Retry(total=0, connect=9).increment("GET", "/", error=UNREACHABLE)
    with pytest.raises(MaxRetryError):
        Retry(total=9, connect=0).increment("GET", "/", error=UNREACHABLE)


@pytest.mark.parametrize(
    ("failure", "counter"),
    [
        ({"error": ConnectTimeoutError("conn", "slow")}, "connect"),
        ({"error": UNREACHABLE}, "connect"),
        ({"error": ProxyError("proxy", UNREACHABLE)}, "connect"),
        ({"error": ReadTimeoutError("pool", "/", "slow")}, "read"),
        ({"error": GARBLED}, "read"),
        ({"error": ProxyError("proxy", OSError("403"))}, "other"),
        ({"error": SSLError("certificate")}, "other"),
        ({"response": Response(302, location="/x")}, "redirect"),
        ({"response": Response(503)}, "status"),
        ({"response": Response(302, location=False)}, "status"),
    ],
)
def test_each_failure_uses_up_its_own_counter(failure: Any, counter: str):
    counters = dict.fromkeys(("connect", "read", "redirect", "status", "other"), 1)
    left = Retry(total=5, **counters).increment("GET", "/", **failure)
    assert left.total == 4
    for name in counters:
        assert getattr(left, name) == (0 if name == counter else 1)
    with pytest.raises(MaxRetryError):
        left.increment("GET", "/", **failure)


def test_the_policy_itself_does_not_change():
    policy = Retry(3)
    policy.increment("GET", "/", error=UNREACHABLE)
    assert policy == Retry(3)
    assert policy.history == ()


def test_no_limit_is_never_used_up():
    policy = Retry(total=None)
    for _ in range(50):
        policy = policy.increment("GET", "/", error=UNREACHABLE)
    assert len(policy.history) == 50
    assert not policy.is_exhausted()


def test_thousands_of_retries_need_no_deeper_stack():
    policy = Retry(3000)
    for _ in range(3000):
        policy = policy.increment("GET", "/", error=UNREACHABLE)
    assert policy.total == 0
    assert len(policy.history) == 3000


def test_history_tells_what_happened():
    policy = (
        Retry(5)
        .increment("GET", "/a", error=UNREACHABLE)
        .increment("GET", "/a", response=Response(302, location="/b"))
        .increment("GET", "/b", response=Response(503))
    )
    assert policy.history == (
        RequestHistory("GET", "/a", UNREACHABLE, None, None),
        RequestHistory("GET", "/a", None, 302, "/b"),
        RequestHistory("GET", "/b", None, 503, None),
    )


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (Response(302, location="/x"), "too many redirects"),
        (Response(503), "too many 503 error responses"),
        (Response(0), "too many error responses"),
        (None, "too many error responses"),
    ],
)
def test_the_last_response_is_the_reason(response: Any, reason: str):
    with pytest.raises(MaxRetryError) as caught:
        Retry(0).increment("GET", "/x", response=response, _pool="pool")
    assert isinstance(caught.value.reason, ResponseError)
    assert str(caught.value.reason) == reason
    assert caught.value.__cause__ is caught.value.reason
    assert str(caught.value) == (
        f"pool: Max retries exceeded with url: /x (Caused by ResponseError('{reason}'))"
    )


def test_the_last_error_is_the_reason():
    with pytest.raises(MaxRetryError) as caught:
        Retry(0).increment("GET", "/x", error=GARBLED)
    assert caught.value.reason is caught.value.__cause__ is GARBLED


@pytest.mark.parametrize(
    ("policy", "method", "error"),
    [
        (Retry(False), "GET", UNREACHABLE),
        (Retry(False), "GET", ValueError("x")),
        (Retry(3, connect=False), "GET", UNREACHABLE),
        (Retry(3, read=False), "GET", GARBLED),
        (Retry(3), "POST", GARBLED),
        (Retry(3), None, GARBLED),
    ],
)
def test_errors_that_must_not_be_retried_are_raised_as_they_are(
    policy: Retry, method: str | None, error: Exception
):
    with pytest.raises(type(error)) as caught:
        policy.increment(method, "/", error=error)
    assert caught.value is error


def test_a_post_that_never_left_is_retried():
    assert Retry(3).increment("POST", "/", error=UNREACHABLE).total == 2


@pytest.mark.parametrize(
    "error", [DeadlineExceededError("reading", 3), RequestCancelledError("reading")]
)
def test_nothing_is_retried_when_time_is_up_or_nobody_waits(error: Exception):
    with pytest.raises(type(error)) as caught:
        Retry(total=None, other=None).increment("GET", "/", error=error)
    assert caught.value is error


def test_true_counts_as_one():
    assert Retry(True).increment("GET", "/").total == 0


@pytest.mark.parametrize(
    ("policy", "exhausted"),
    [
        (Retry(0), False),
        (Retry(-1), True),
        (Retry(None), False),
        (Retry(False), False),
        (Retry(5, status=-1), True),
    ],
)
def test_a_policy_is_exhausted_below_zero(policy: Retry, exhausted: bool):
    assert policy.is_exhausted() is exhausted


# What is repeated


@pytest.mark.parametrize("method", ["HEAD", "GET", "PUT", "DELETE", "OPTIONS", "TRACE", "get"])
def test_idempotent_methods_are_repeated(method: str):
    assert Retry(3, status_forcelist=[500]).is_retry(method, 500)


@pytest.mark.parametrize("method", ["POST", "PATCH", "CONNECT", "", None])
def test_other_methods_are_not_repeated(method: Any):
    assert not Retry(3, status_forcelist=[500]).is_retry(method, 500)
    assert Retry(3, status_forcelist=[500], allowed_methods=None).is_retry(method, 500)


@pytest.mark.parametrize("status", [413, 429, 503])
def test_retry_after_is_a_reason_to_repeat(status: int):
    assert Retry(3).is_retry("GET", status, has_retry_after=True)
    assert not Retry(3).is_retry("GET", status)
    assert not Retry(3).is_retry("POST", status, has_retry_after=True)
    assert not Retry(3).is_retry("GET", 500, has_retry_after=True)
    assert not Retry(3, respect_retry_after_header=False).is_retry("GET", status, True)
    assert not Retry(0).is_retry("GET", status, True)
    assert not Retry(False).is_retry("GET", status, True)


def test_retry_after_counts_without_a_limit_too():
    """No limit must not mean less than a limit."""
    assert Retry(total=None).is_retry("GET", 503, has_retry_after=True)


# Waiting


def test_pauses_double_from_the_second_failure_on():
    pauses = [failed(n, backoff_factor=0.1, backoff_max=2).get_backoff_time() for n in range(8)]
    assert pauses == [0, 0, 0.2, 0.4, 0.8, 1.6, 2, 2]


def test_redirects_do_not_count_as_failures():
    policy = failed(3, backoff_factor=1).increment("GET", "/", Response(302, location="/x"))
    assert policy.get_backoff_time() == 0


def test_jitter_is_added_within_the_limit(slept: list[float]):
    assert failed(2, backoff_factor=1, backoff_jitter=3).get_backoff_time() == 3.5
    assert failed(2, backoff_factor=1, backoff_jitter=3, backoff_max=3).get_backoff_time() == 3
    assert failed(2, backoff_factor=1, backoff_jitter=-9).get_backoff_time() == 0


@pytest.mark.parametrize("factor", [0.1, 1, 10**300, 1e308, float("inf")])
def test_very_many_failures_wait_for_the_longest_time(factor: Any):
    for times in (1024, 1100, 3000):
        assert failed(times, backoff_factor=factor).get_backoff_time() == 120
        assert failed(times, backoff_factor=-factor).get_backoff_time() == 0
    assert failed(3000, backoff_factor=0).get_backoff_time() == 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        (" 120 ", 120),
        ("007", 7),
        ("99999", 21600),
        ("9" * 5000, 21600),
        ("0" * 5000, 21600),
        (email.utils.formatdate(NOW + 90, usegmt=True), 90),
        (email.utils.formatdate(NOW - 90, usegmt=True), 0),
        (email.utils.formatdate(NOW + 10**8, usegmt=True), 21600),
    ],
)
def test_retry_after_is_seconds_or_a_date(slept: list[float], text: str, seconds: float):
    assert Retry(3).parse_retry_after(text) == seconds
    assert Retry(3).get_retry_after(Response(after=text)) == seconds


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "-1",
            "+1",
            "1.5",
            "1_0",
            "0x5",
            "٣",
            "nan",
            "soon",
            "5, 5",
            "\x00",
            "x" * 100_000,
        ),
        *("Mon, 01 Jan 99999 00:00:00 GMT", f"Mon, 01 Jan {'9' * 60} 00:00:00 GMT", "," * 50),
        *("1 1 1 1 1", "Mon, 99 Jan 2017"),
    ],
)
def test_garbage_as_retry_after_is_an_invalid_header(text: str):
    with pytest.raises(InvalidHeader, match="Invalid Retry-After header: ") as caught:
        Retry(3).parse_retry_after(text)
    assert len(str(caught.value)) < 200


@given(st.one_of(st.text(max_size=60), st.text("0123456789 MonJul,:GT+-", max_size=60)))
def test_any_retry_after_is_a_number_or_an_invalid_header(text: str):
    try:
        seconds = Retry(3).parse_retry_after(text)
    except InvalidHeader:
        return
    assert 0 <= seconds <= 21600


def test_the_longest_wait_that_a_server_gets_is_adjustable():
    assert Retry(3, retry_after_max=5).parse_retry_after("99") == 5


@pytest.mark.parametrize(
    ("policy", "response", "seconds"),
    [
        (Retry(3), None, 0),
        (Retry(3), Response(after="7"), 7),
        (Retry(3), Response(), 0),
        (failed(3, backoff_factor=1), Response(after="7"), 7),
        (failed(3, backoff_factor=1), Response(), 4),
        (failed(3, backoff_factor=1), None, 4),
        (failed(3, backoff_factor=1), Response(after="0"), 4),
        (failed(3, backoff_factor=1), Response(after="garbage"), 4),
        (failed(3, backoff_factor=1), Response(after="9" * 5000), 21600),
        (failed(3, backoff_factor=1, respect_retry_after_header=False), Response(after="7"), 4),
    ],
)
def test_sleep_takes_the_servers_word_or_the_pause(
    slept: list[float], policy: Retry, response: Any, seconds: float
):
    """And sleep_time() tells beforehand, so that a deadline can bound it."""
    assert policy.sleep_time(response) == seconds
    policy.sleep(response)
    assert slept == ([seconds] if seconds else [])


@pytest.mark.parametrize(
    ("policy", "response"),
    [
        (Retry(3, retry_after_max=10**30), Response(after="9" * 25)),
        (Retry(3, retry_after_max=math.inf), Response(after="9" * 5000)),
        (failed(200, backoff_factor=1, backoff_max=math.inf), None),
    ],
)
def test_no_pause_is_longer_than_the_machine_can_sleep(
    monkeypatch: pytest.MonkeyPatch, policy: Retry, response: Any
):
    """A server's number must not turn into an OverflowError: it is as long as a sleep can be."""
    sleeps: list[float] = []
    monkeypatch.setattr(retry_module.time, "sleep", sleeps.append)
    policy.sleep(response)
    assert len(sleeps) == 1
    assert 10**6 < sleeps[0] < threading.TIMEOUT_MAX


def test_sleep_for_retry_tells_whether_it_slept(slept: list[float]):
    assert Retry(3).sleep_for_retry(Response(after="7")) is True
    assert Retry(3).sleep_for_retry(Response()) is False
    assert Retry(3).sleep_for_retry(Response(after="garbage")) is False
    assert slept == [7]


def test_sleeping_asks_the_methods_that_subclasses_override(slept: list[float]):
    class Mine(Retry):
        def get_backoff_time(self) -> float:
            return 11

        def get_retry_after(self, response: Any) -> float | None:
            return 22 if response.status == 429 else None

    assert Mine(3).sleep_time() == 11
    assert Mine(3).sleep_time(Response(429)) == 22
    Mine(3).sleep()
    Mine(3).sleep(Response(429))
    Mine(3).sleep(Response(503))
    assert slept == [11, 22, 11]


# Options


def test_no_retries_means_no_redirects_and_no_wrapping():
    for policy in (Retry(False), Retry(3, redirect=False)):
        assert policy.redirect == 0
        assert policy.raise_on_redirect is False


def test_header_names_to_remove_are_lowered():
    policy = Retry(3, remove_headers_on_redirect=["X-Secret", b"X-BYTES"])  # type: ignore[list-item]
    assert policy.remove_headers_on_redirect == {"x-secret", "x-bytes"}
    assert Retry(3).remove_headers_on_redirect == {
        "cookie",
        "authorization",
        "proxy-authorization",
    }


@pytest.mark.parametrize(
    "name",
    [
        *("total", "connect", "read", "redirect", "status", "other"),
        *("backoff_factor", "backoff_max", "backoff_jitter", "retry_after_max"),
    ],
)
def test_wrong_numbers_are_refused_by_name(name: str):
    for wrong in ("3", b"3", [], object()):
        with pytest.raises(TypeError, match=f"{name} must be a number, not "):
            Retry(**{name: wrong})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"{name} must be a number, not NaN"):
        Retry(**{name: float("nan")})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("status_forcelist", 500),
        ("status_forcelist", "500"),
        ("status_forcelist", (x for x in [500])),
        ("remove_headers_on_redirect", "Cookie"),
        ("remove_headers_on_redirect", b"Cookie"),
        ("remove_headers_on_redirect", None),
        ("allowed_methods", 3),
    ],
)
def test_collections_are_collections(name: str, wrong: Any):
    """A str would be the names of its letters; a generator would be used up by the first look."""
    with pytest.raises(TypeError, match=f"{name} must be a collection such as"):
        Retry(3, **{name: wrong})


def test_unknown_options_are_refused():
    with pytest.raises(TypeError, match="tottal"):
        Retry(tottal=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="tottal"):
        Retry(3).new(tottal=3)


def test_an_empty_collection_of_methods_warns_once():
    with pytest.warns(FutureWarning, match="empty collection") as caught:
        policy = Retry(3, allowed_methods=[])
    assert caught[0].filename == __file__
    assert "urllib4" in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        policy = policy.increment("POST", "/", error=GARBLED)  # any method, as before
        Retry(3, allowed_methods=None)
        Retry(3, allowed_methods=False)  # type: ignore[arg-type]
    assert policy.total == 2


def test_the_old_name_of_allowed_methods_warns_and_works():
    with pytest.warns(FutureWarning, match=r"Use Retry\(allowed_methods=\.\.\.\)") as caught:
        policy = Retry(3, method_whitelist=["POST"])
    assert caught[0].filename == __file__
    assert policy.allowed_methods == ["POST"]
    assert policy.new() == policy


def test_downgrades_are_allowed_unless_refused_and_new_keeps_that():
    assert Retry(3).allow_downgrade is True
    policy = Retry(3, allow_downgrade=False)
    assert policy.allow_downgrade is False
    assert policy.increment("GET", "/").allow_downgrade is False
    assert policy.new(allow_downgrade=True).allow_downgrade is True
    assert Retry(3).new(allow_downgrade=False).allow_downgrade is False
    assert Retry(3) != policy


def test_subclasses_need_not_know_options_that_urllib3_has_not():
    """Their constructors list the keywords of the version they were written for."""

    class Listed(Retry):
        def __init__(
            self,
            total: Any = 10,
            connect: Any = None,
            read: Any = None,
            redirect: Any = None,
            status: Any = None,
            other: Any = None,
            allowed_methods: Any = None,
            status_forcelist: Any = None,
            backoff_factor: Any = 0,
            backoff_max: Any = 120,
            raise_on_redirect: Any = True,
            raise_on_status: Any = True,
            history: Any = None,
            respect_retry_after_header: Any = True,
            remove_headers_on_redirect: Any = (),
            backoff_jitter: Any = 0.0,
            retry_after_max: Any = 60,
        ) -> None:
            super().__init__(total=total, history=history, connect=connect)
            self.retry_after_max = retry_after_max

    policy = Listed(3).increment("GET", "/", error=UNREACHABLE)
    assert type(policy) is Listed
    assert policy.retry_after_max == 60


def test_subclasses_with_options_of_their_own_keep_them():
    class Labelled(Retry):
        def __init__(self, *args: Any, label: str = "none", **kw: Any) -> None:
            super().__init__(*args, **kw)
            self.label = label

        def new(self, **kw: Any) -> Labelled:
            return super().new(label=self.label, **kw)

    policy = Labelled(3, label="mine").increment("GET", "/", error=UNREACHABLE)
    assert (type(policy), policy.label, policy.total) == (Labelled, "mine", 2)
    assert policy != Labelled(3, label="mine")
    assert Labelled(3, label="a") != Labelled(3, label="b")
    assert Labelled(3, label="a") == Labelled(3, label="a")


def test_equal_options_are_equal_policies():
    """Pools of equal policies are shared."""
    one, other = (Retry(3, status_forcelist=[500], backoff_factor=0.1) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    assert one.increment("GET", "/", error=GARBLED) == other.increment("GET", "/", error=GARBLED)
    assert copy.copy(one) == copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == one


@pytest.mark.parametrize(
    "other",
    [
        *(Retry(4), Retry(None), Retry(3, connect=1), Retry(3, status_forcelist=[500])),
        *(Retry(3, raise_on_status=False), Retry(3).increment("GET", "/")),
        *(type("Other", (Retry,), {})(3), 3, None),
    ],
)
def test_different_options_or_classes_are_different(other: Any):
    assert Retry(3) != other


def test_unhashable_options_do_not_make_a_policy_unhashable():
    assert len({Retry(3, status_forcelist=[500]), Retry(3, status_forcelist={500})}) == 2


def test_what_cannot_be_compared_equals_only_itself():
    class Slotted(Retry):
        __slots__ = ("secret",)

        def __init__(self, *args: Any, secret: int = 0, **kw: Any) -> None:
            super().__init__(*args, **kw)
            self.secret = secret

    policy = Slotted(3)
    assert policy == policy
    assert policy != Slotted(3)
    assert hash(policy) == hash(policy)


def test_repr_shows_the_counters():
    assert repr(Retry(3, connect=1)) == (
        "Retry(total=3, connect=1, read=None, redirect=None, status=None)"
    )
    assert repr(type("Mine", (Retry,), {})(3)).startswith("Mine(total=3, ")


# From other values


def test_the_default_is_three_retries():
    assert Retry.from_int(None) is Retry.DEFAULT
    assert Retry(3) == Retry.DEFAULT


@pytest.mark.parametrize(
    ("retries", "redirect", "default", "expected"),
    [
        (5, True, None, Retry(5)),
        (5, False, None, Retry(5, redirect=False)),
        (5, None, None, Retry(5, redirect=False)),
        (0, True, None, Retry(0)),
        (False, True, None, Retry(False)),
        (True, True, None, Retry(True)),
        (None, True, 5, Retry(5)),
        (None, True, Retry(7), Retry(7)),
        (5, True, Retry(7), Retry(5)),
        (Retry(7), False, None, Retry(7)),
    ],
)
def test_numbers_become_policies(retries: Any, redirect: Any, default: Any, expected: Retry):
    policy = Retry.from_int(retries, redirect=redirect, default=default)
    assert policy == expected
    assert policy.raise_on_redirect == expected.raise_on_redirect


def test_a_number_becomes_a_policy_of_the_class_that_was_asked():
    class Mine(Retry):
        pass

    assert type(Mine.from_int(3)) is Mine


@pytest.mark.parametrize("value", ["3", b"3", [3], {}, object(), Retry])
def test_what_is_no_policy_is_a_type_error(value: Any):
    with pytest.raises(TypeError, match="retries must be a Retry, an int, a bool or None, not"):
        Retry.from_int(value)


def test_one_policy_serves_many_threads():
    policy = Retry(10)
    results: list[Retry] = []

    def work() -> None:
        mine = policy
        for _ in range(10):
            mine = mine.increment("GET", "/", error=UNREACHABLE)
        results.append(mine)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.total for result in results] == [0] * 8
    assert policy == Retry(10)


# Policies of another package


@pytest.fixture
def urllib3() -> Any:
    return pytest.importorskip("urllib3")


def test_a_policy_of_urllib3_becomes_ours(urllib3: Any):
    """Measured with two copies of urllib3: such a policy is ignored in silence."""
    foreign = urllib3.Retry(
        5,
        connect=1,
        status_forcelist=[503],
        allowed_methods=["POST"],
        backoff_factor=0.5,
        backoff_max=9,
        raise_on_status=False,
        respect_retry_after_header=False,
        remove_headers_on_redirect=["X-Secret"],
        retry_after_max=7,
    ).increment("GET", "/", error=urllib3.exceptions.SSLError("x"))
    policy = Retry.from_int(foreign)
    assert type(policy) is Retry
    for name, value in vars(foreign).items():
        assert getattr(policy, name) == value
    assert type(policy.history[0]) is RequestHistory
    assert policy.increment("GET", "/", error=UNREACHABLE).connect == 0


@pytest.mark.parametrize("options", [{"total": False}, {"redirect": False}, {"total": None}])
def test_switched_off_policies_of_urllib3_stay_switched_off(urllib3: Any, options: Any):
    assert Retry.from_int(urllib3.Retry(**options)) == Retry(**options)


def test_an_empty_collection_of_methods_of_urllib3_does_not_warn_again(urllib3: Any):
    with pytest.warns(FutureWarning):
        foreign = urllib3.Retry(3, allowed_methods=[])
    assert Retry.from_int(foreign)._is_method_retryable("POST")


def foreign_subclass(urllib3: Any) -> Any:
    class Stubborn(urllib3.Retry):
        """Repeats every 418, and counts what it was asked."""

        def __init__(self, *args: Any, asked: int = 0, **kw: Any) -> None:
            super().__init__(*args, **kw)
            self.asked = asked

        def new(self, **kw: Any) -> Any:
            return super().new(asked=self.asked + 1, **kw)

        def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
            return status_code == 418

        def get_backoff_time(self) -> float:
            return 0.25

    return Stubborn


def test_a_subclass_of_a_policy_of_urllib3_keeps_its_methods(urllib3: Any, slept: list[float]):
    policy: Any = Retry.from_int(foreign_subclass(urllib3)(2))
    assert isinstance(policy, Retry)
    assert isinstance(policy, urllib3.Retry)
    assert policy.is_retry("POST", 418)
    assert policy.sleep_time() == 0.25
    assert policy.allow_downgrade is True
    policy = policy.increment("GET", "/", error=UNREACHABLE)
    assert (policy.total, policy.asked) == (1, 1)
    assert Retry.from_int(policy) is policy


def test_a_subclass_of_a_policy_of_urllib3_knows_our_errors_and_raises_ours(urllib3: Any):
    policy = Retry.from_int(foreign_subclass(urllib3)(5, connect=0, read=1))
    with pytest.raises(MaxRetryError) as caught:
        policy.increment("GET", "/", error=UNREACHABLE, _pool="pool")
    assert caught.value.reason is caught.value.__cause__ is UNREACHABLE
    with pytest.raises(ProtocolError) as raised:
        policy.increment("POST", "/", error=GARBLED)
    assert raised.value is GARBLED
    assert policy.increment("GET", "/", error=GARBLED).read == 0
    theirs = urllib3.exceptions.ProtocolError("theirs")
    assert policy.increment("GET", "/", error=theirs).read == 0
    late = DeadlineExceededError("reading", 3)
    with pytest.raises(DeadlineExceededError):
        policy.increment("GET", "/", error=late)
    with pytest.raises(DeadlineExceededError):
        policy.increment("GET", "/", None, late)


def test_garbage_does_not_upset_a_subclass_of_a_policy_of_urllib3(urllib3: Any, slept: list[float]):
    policy = Retry.from_int(foreign_subclass(urllib3)(5))
    policy.sleep(Response(after="garbage"))  # type: ignore[arg-type]
    assert slept == [0.25]


def test_equal_policies_of_a_foreign_subclass_stay_equal(urllib3: Any):
    Stubborn = foreign_subclass(urllib3)
    assert Retry.from_int(Stubborn(3)) == Retry.from_int(Stubborn(3))
    assert hash(Retry.from_int(Stubborn(3))) == hash(Retry.from_int(Stubborn(3)))
    assert Retry.from_int(Stubborn(3)) != Retry.from_int(Stubborn(4))


def test_a_foreign_policy_is_not_changed(urllib3: Any):
    foreign = foreign_subclass(urllib3)(3)
    before = dict(vars(foreign))
    policy = Retry.from_int(foreign)
    assert policy is not foreign
    policy.increment("GET", "/", error=UNREACHABLE)
    assert vars(foreign) == before
    assert not isinstance(foreign, Retry)


def test_a_foreign_policy_whose_new_names_its_class_is_adapted_again(urllib3: Any):
    class Named(urllib3.Retry):
        def new(self, **kw: Any) -> Any:
            return Named(total=kw["total"], history=kw["history"])

    policy = Retry.from_int(Named(3)).increment("GET", "/", error=UNREACHABLE)
    assert isinstance(policy, Retry)
    assert policy.total == 2


def test_a_foreign_policy_that_cannot_be_adapted_is_a_type_error():
    class Fixed:
        __slots__ = ("total",)

        def increment(self) -> None: ...
        def is_retry(self) -> None: ...
        def new(self) -> None: ...

    with pytest.raises(TypeError, match="retries cannot be a Fixed"):
        Retry.from_int(Fixed())  # type: ignore[arg-type]


def test_time_and_chance_are_looked_up_when_they_are_needed():
    """Programs patch urllib4.util.retry.time.sleep in their tests."""
    assert retry_module.time is time
    assert retry_module.random is random
