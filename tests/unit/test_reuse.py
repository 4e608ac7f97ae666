"""Using connections again: the keywords, the Keep-Alive field, the life of one, the books."""

from __future__ import annotations

import gc
import math
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from urllib4 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib4._reuse import (
    ALIASES,
    REUSE_KEYWORDS,
    Ledger,
    Life,
    ReusePolicy,
    parse_keep_alive,
    take_policy,
)

# -- keywords --------------------------------------------------------------------------------

WRONG = [
    ("idle_timeout", -1),
    ("idle_timeout", 0),
    ("idle_timeout", True),
    ("idle_timeout", "5"),
    ("idle_timeout", math.nan),
    ("cached_connection_timeout", -1),
    ("max_lifetime", 0),
    ("max_lifetime", -0.5),
    ("max_lifetime", False),
    ("max_requests", 0),
    ("max_requests", 1.5),
    ("max_requests", True),
    ("obey_keep_alive", 1),
    ("persistent", None),
    ("persistent", "no"),
    ("retry_stale", 0),
    ("retry_automatically", "yes"),
    ("max_persistent_per_host", -1),
    ("max_persistent_per_host", True),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
@pytest.mark.parametrize("make", [HTTPConnectionPool, HTTPSConnectionPool], ids=["http", "https"])
def test_a_pool_refuses_what_makes_no_sense_and_names_it(make: Any, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=ALIASES.get(name, name)) as caught:
        make("example.com", **{name: value})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"), [row for row in WRONG if row[0] != "max_persistent_per_host"]
)
def test_a_manager_refuses_it_before_any_pool_is_made(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=ALIASES.get(name, name)):
        PoolManager(**{name: value})


def test_what_is_not_given_has_its_documented_default() -> None:
    with HTTPConnectionPool("example.com") as pool:
        assert pool.reuse == ReusePolicy(240.0, None, None, True, True, True, False)


def test_what_is_given_is_kept() -> None:
    with HTTPConnectionPool(
        "example.com",
        idle_timeout=5,
        max_lifetime=60.5,
        max_requests=100,
        obey_keep_alive=False,
        persistent=False,
        retry_stale=False,
    ) as pool:
        assert pool.reuse == ReusePolicy(5, 60.5, 100, False, False, False, True)


def test_none_as_idle_timeout_means_never() -> None:
    with HTTPConnectionPool("example.com", idle_timeout=None) as pool:
        assert pool.reuse.idle_timeout == math.inf
        assert not pool.reuse.on_time


def test_the_names_of_the_older_pool_are_understood() -> None:
    with HTTPConnectionPool(
        "example.com",
        cached_connection_timeout=5,
        retry_automatically=False,
        max_persistent_per_host=3,
    ) as pool:
        assert (pool.reuse.idle_timeout, pool.reuse.retry_stale) == (5, False)
        assert pool.pool.maxsize == 3


@pytest.mark.parametrize(
    "options",
    [
        {"idle_timeout": 5, "cached_connection_timeout": 5},
        {"retry_stale": True, "retry_automatically": True},
        {"maxsize": 2, "max_persistent_per_host": 2},
    ],
    ids=["idle_timeout", "retry_stale", "maxsize"],
)
@pytest.mark.parametrize(
    "make",
    [lambda **kw: HTTPConnectionPool("example.com", **kw), PoolManager],
    ids=["pool", "manager"],
)
def test_two_names_of_one_thing_are_one_too_many(make: Any, options: dict[str, Any]) -> None:
    name, alias = options
    with pytest.raises(TypeError, match=f"{alias} is another name of {name}"):
        make(**options)


@pytest.mark.parametrize("name", REUSE_KEYWORDS)
def test_each_keyword_is_part_of_the_key(name: str) -> None:
    values: dict[str, Any] = {"obey_keep_alive": False, "persistent": False, "retry_stale": False}
    with PoolManager() as manager:
        plain = manager.connection_from_host("example.com")
        other = manager.connection_from_host("example.com", pool_kwargs={name: values.get(name, 7)})
        assert plain is not other
        assert getattr(other.reuse, name) == values.get(name, 7)
        assert other is manager.connection_from_host(
            "example.com", pool_kwargs={name: values.get(name, 7)}
        )


def test_never_is_another_key_than_nothing_given() -> None:
    with PoolManager() as manager:
        plain = manager.connection_from_host("example.com")
        manager.connection_pool_kw["idle_timeout"] = None
        never = manager.connection_from_host("example.com")
        assert never is not plain
        assert never.reuse.idle_timeout == math.inf


def test_an_alias_leads_to_the_same_pool_as_the_name() -> None:
    with PoolManager(cached_connection_timeout=5, max_persistent_per_host=2) as manager:
        pool = manager.connection_from_host("example.com")
        assert (pool.reuse.idle_timeout, pool.pool.maxsize) == (5, 2)
        again = manager.connection_from_host(
            "example.com", pool_kwargs={"cached_connection_timeout": 5}
        )
        assert again is pool


# -- Keep-Alive ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("timeout=5, max=100", (5, 100)),
        ("timeout=5", (5, None)),
        ("max=1", (None, 1)),
        ("Timeout = 5 ,\tMAX = 2", (5, 2)),
        ('timeout="5"', (5, None)),
        ("max=7, timeout=0", (0, 7)),
        ("timeout=9, timeout=3", (3, None)),
        ("timeout=5, unknown=1, max=2", (5, 2)),
        ("", (None, None)),
        ("timeout", (None, None)),
        ("timeout=", (None, None)),
        ("timeout=-5", (None, None)),
        ("timeout=+5", (None, None)),
        ("timeout=5s", (None, None)),
        ("timeout=1_0", (None, None)),
        ("timeout=1e3", (None, None)),
        ("timeout=٣", (None, None)),
        ("timeout=" + "9" * 5000, (None, None)),
        ("xtimeout=5", (None, None)),
        ("300", (None, None)),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) and value.isascii() else None,
)
def test_what_a_keep_alive_field_says(value: str, expected: tuple[Any, Any]) -> None:
    """RFC 2068, 19.7.1.1, as servers write it; anything else is as if it were not there."""
    assert parse_keep_alive(value) == expected


@given(st.text(max_size=60))
def test_no_keep_alive_field_is_an_error(value: str) -> None:
    seconds, requests = parse_keep_alive(value)
    assert seconds is None or 0 <= seconds < 10**9
    assert requests is None or 0 <= requests < 10**9


# -- the life of a connection ----------------------------------------------------------------


def a_life(ends: list[str] | None = None, now: float = 100.0, **policy: Any) -> Life:
    life = Life(ReusePolicy(**policy), now)
    noted: list[str] = [] if ends is None else ends
    life.begin(lambda holder: noted.append(holder.pop()))
    noted.remove("created")
    return life


def test_an_idle_connection_is_given_up_when_its_time_is_over() -> None:
    life = a_life(idle_timeout=10)
    assert life.rest(150.0, ReusePolicy(idle_timeout=10)) is None
    assert (life.idle_since, life.idle_until, life.expiry) == (150.0, 160.0, "idle_timeout")


@pytest.mark.parametrize(
    ("policy", "headers", "expected"),
    [
        ({}, {"keep-alive": "timeout=5"}, (104.0, "keep_alive")),
        ({}, {"keep-alive": "timeout=1"}, (100.5, "keep_alive")),
        ({"idle_timeout": 3}, {"keep-alive": "timeout=5"}, (103.0, "idle_timeout")),
        ({"obey_keep_alive": False}, {"keep-alive": "timeout=5"}, (340.0, "idle_timeout")),
        ({}, {"keep-alive": "timeout=soon"}, (340.0, "idle_timeout")),
        ({"max_lifetime": 30}, {}, (130.0, "max_lifetime")),
        ({"max_lifetime": 30}, {"keep-alive": "timeout=5"}, (104.0, "keep_alive")),
        ({"max_lifetime": 300}, {}, (340.0, "idle_timeout")),
        ({"idle_timeout": math.inf}, {}, (math.inf, "idle_timeout")),
        ({"idle_timeout": math.inf, "max_lifetime": 9}, {}, (109.0, "max_lifetime")),
    ],
)  # fmt: skip
def test_the_shortest_bound_counts(
    policy: dict[str, Any], headers: dict[str, str], expected: tuple[float, str]
) -> None:
    life = a_life(**policy)
    life.answered(headers, ReusePolicy(**policy))
    assert life.rest(100.0, ReusePolicy(**policy)) is None
    assert (life.idle_until, life.expiry) == expected


@pytest.mark.parametrize(
    ("policy", "answers", "reason"),
    [
        ({"max_requests": 2}, [{}], None),
        ({"max_requests": 2}, [{}, {}], "max_requests"),
        ({}, [{"keep-alive": "max=1"}], None),
        ({}, [{"keep-alive": "max=0"}], "keep_alive"),
        ({}, [{"keep-alive": "max=1"}, {}], "keep_alive"),
        ({}, [{"keep-alive": "max=1"}, {"keep-alive": "max=5"}], None),
        ({"obey_keep_alive": False}, [{"keep-alive": "max=0, timeout=0"}], None),
        ({}, [{"keep-alive": "timeout=0"}], "keep_alive"),
        ({"max_lifetime": 40}, [{}], "max_lifetime"),
        ({"max_requests": 1, "max_lifetime": 40}, [{}], "max_requests"),
    ],
)  # fmt: skip
def test_a_connection_that_carried_enough_or_is_too_old_is_not_kept(
    policy: dict[str, Any], answers: list[dict[str, str]], reason: str | None
) -> None:
    life = a_life(**policy)
    for headers in answers:
        life.answered(headers, ReusePolicy(**policy))
    assert life.rest(140.0, ReusePolicy(**policy)) == reason


def test_the_end_is_told_once_with_the_first_reason() -> None:
    ends: list[str] = []
    life = a_life(ends)
    life.reason = "dropped"
    life.end()
    life.end("failed")
    del life
    gc.collect()
    assert ends == ["dropped"]


def test_an_end_that_nobody_explains_is_a_failure() -> None:
    ends: list[str] = []
    a_life(ends).end()
    assert ends == ["failed"]


def test_a_connection_that_is_forgotten_is_told_of_too() -> None:
    ends: list[str] = []
    a_life(ends)
    gc.collect()
    assert ends == ["forgotten"]


def test_a_connection_of_the_parent_process_is_not() -> None:
    ends: list[str] = []
    a_life(ends).disown()
    gc.collect()
    assert ends == []


def test_what_was_not_begun_has_no_end() -> None:
    """Or there would be more ends in the books than connections."""
    life = Life(ReusePolicy(), 100.0)
    life.end()
    del life
    gc.collect()


# -- the books -------------------------------------------------------------------------------


def test_names_are_counted() -> None:
    ledger = Ledger()
    for name in ("a", "b", "a"):
        ledger.note(name)
    assert ledger.totals() == {"a": 2, "b": 1}


def test_old_entries_are_added_up() -> None:
    ledger = Ledger()
    for number in range(10 * Ledger.FOLD):
        ledger.note("ab"[number % 2])
    assert ledger.totals() == {"a": 5 * Ledger.FOLD, "b": 5 * Ledger.FOLD}
    assert len(ledger._entries) <= Ledger.FOLD + 1


def test_no_count_is_lost_between_threads() -> None:
    ledger = Ledger()
    barrier = threading.Barrier(8)

    def work() -> None:
        barrier.wait(10)
        for _ in range(5000):
            ledger.note("x")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert ledger.totals() == {"x": 40_000}


def test_a_count_in_the_middle_of_adding_up_is_not_lost() -> None:
    """As when the garbage collector ends a connection there."""
    ledger = Ledger()
    with ledger._folding:
        for _ in range(2 * Ledger.FOLD):
            ledger.note("x")
        assert ledger.totals() == {"x": 2 * Ledger.FOLD}
    ledger.note("x")
    assert ledger.totals() == {"x": 2 * Ledger.FOLD + 1}
    assert len(ledger._entries) == 1


def test_the_policy_takes_only_what_is_its_own() -> None:
    options = {"idle_timeout": 5, "blocksize": 1}
    take_policy(options)
    assert options == {"blocksize": 1}
