"""The cache of TLS sessions, with a clock of the test's own."""

from __future__ import annotations

import pytest

from urllib4.util.ssl_ import TLSSessionCache


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_newest_session_is_taken_first_and_once() -> None:
    cache = TLSSessionCache()
    for session in ("old", "new"):
        cache.put("key", session)

    assert [cache.take("key") for _ in range(3)] == ["new", "old", None]


def test_sessions_are_kept_apart_by_key() -> None:
    cache = TLSSessionCache()
    cache.put("one", "session")

    assert cache.take("two") is None
    assert cache.take("one") == "session"


def test_so_many_are_kept_for_each_origin() -> None:
    cache = TLSSessionCache(per_origin=2)
    for number in range(5):
        cache.put("key", number)

    assert len(cache) == 2
    assert [cache.take("key") for _ in range(3)] == [4, 3, None]


def test_the_origin_that_was_used_least_recently_is_dropped() -> None:
    cache = TLSSessionCache(max_origins=2)
    cache.put("one", 1)
    cache.put("two", 2)
    cache.put("one", 11)
    cache.put("three", 3)

    assert [cache.take(key) for key in ("one", "two", "three")] == [11, None, 3]


def test_after_an_hour_a_session_is_too_old() -> None:
    clock = Clock()
    cache = TLSSessionCache(clock=clock)
    cache.put("key", "session")
    clock.now += 3600.5

    assert cache.take("key") is None
    assert len(cache) == 0


def test_clear_forgets_all() -> None:
    cache = TLSSessionCache()
    cache.put("key", "session")
    cache.clear()

    assert cache.take("key") is None


def test_a_child_process_begins_anew() -> None:
    cache = TLSSessionCache()
    cache.put("key", "session")
    cache._after_fork_in_child()

    assert len(cache) == 0


def test_the_repr_shows_no_session() -> None:
    cache = TLSSessionCache()
    cache.put("key", "secret")

    assert repr(cache) == "<TLSSessionCache with 1 sessions>"


@pytest.mark.parametrize("name", ["max_origins", "per_origin"])
def test_sizes_are_numbers_of_at_least_one(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is a number of at least 1, not 0"):
        TLSSessionCache(**{name: 0})
    for wrong in (True, 2.0, "2"):
        with pytest.raises(TypeError, match=f"{name} is an int"):
            TLSSessionCache(**{name: wrong})
