"""urllib4._collections: header fields by name, and the container of what was used last."""

from __future__ import annotations

import copy
import pickle
import re
import threading
from email.message import Message
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from urllib4._collections import (
    HTTPHeaderDict,
    RecentlyUsedContainer,
    ensure_can_construct_http_header_dict,
)


def shown(value: object) -> str:
    """Name a case; addresses would give each of several test processes other names."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


class Keyed:
    """No mapping, but with keys and values."""

    def keys(self) -> list[str]:
        return ["a", "B"]

    def __getitem__(self, key: str) -> str:
        return key * 2


class Subclass(HTTPHeaderDict):
    """A subclass of somebody else."""


def lines(headers: HTTPHeaderDict) -> list[tuple[str, str]]:
    return list(headers.iteritems())


@pytest.fixture
def headers() -> HTTPHeaderDict:
    return HTTPHeaderDict([("Accept", "a"), ("Set-Cookie", "x=1"), ("accept", "b")])


# -- HTTPHeaderDict: making one -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (None, []),
        ({"a": "1", "A": "2"}, [("a", "1"), ("a", "2")]),
        ([("a", "1"), ("A", "2")], [("a", "1"), ("a", "2")]),
        ([(b"a", "1"), ("A", "2")], [("a", "1"), ("a", "2")]),
        ({b"X-\xe9": "1"}, [("X-\xe9", "1")]),
        (Keyed(), [("a", "aa"), ("B", "BB")]),
        (HTTPHeaderDict([("a", "1"), ("A", "2")]), [("a", "1"), ("a", "2")]),
    ],
    ids=shown,
)
def test_every_source_adds_its_lines(source: Any, expected: list[tuple[str, str]]) -> None:
    assert lines(HTTPHeaderDict(source)) == expected
    extended = HTTPHeaderDict()
    extended.extend(source)
    assert lines(extended) == expected


def test_an_email_message_hands_over_all_its_lines() -> None:
    """``[]`` of a Message gives the first line of a name each time."""
    message = Message()
    message["Set-Cookie"] = "a"
    message["Set-Cookie"] = "b"
    assert HTTPHeaderDict(message).getlist("set-cookie") == ["a", "b"]
    target = HTTPHeaderDict(set_cookie="no", **{"Set-Cookie": "old"})
    target.update(message)
    assert target.getlist("set-cookie") == ["a", "b"]


def test_keyword_arguments_add_lines_too() -> None:
    assert HTTPHeaderDict({"x": "1"}, X="2")["x"] == "1, 2"


@pytest.mark.parametrize("source", [5, "ab", b"ab", "text", object()], ids=shown)
def test_a_source_of_another_type_is_a_type_error(source: Any) -> None:
    with pytest.raises(TypeError, match=f"not {type(source).__name__}"):
        HTTPHeaderDict(source)


@pytest.mark.parametrize("source", [[("a", "1", "2")], [("a",)], [5]], ids=shown)
def test_an_item_that_is_no_pair_is_a_value_error(source: Any) -> None:
    with pytest.raises(ValueError, match="pairs"):
        HTTPHeaderDict(source)


def test_adopting_a_container_copies_nothing() -> None:
    """The parser of response heads fills the container itself."""
    container = {"a": ["A", "1", "2"]}
    headers = Subclass._from_container(container)
    assert type(headers) is Subclass
    assert headers["a"] == "1, 2"
    headers.add("b", "3")
    assert container["b"] == ["b", "3"]


def test_a_copy_is_independent_and_of_the_same_class(headers: HTTPHeaderDict) -> None:
    for clone in (headers.copy(), copy.copy(headers), copy.deepcopy(headers)):
        clone.add("accept", "c")
        assert headers.getlist("accept") == ["a", "b"]
    assert type(Subclass(headers).copy()) is Subclass


def test_it_pickles(headers: HTTPHeaderDict) -> None:
    assert lines(pickle.loads(pickle.dumps(headers))) == lines(headers)


# -- HTTPHeaderDict: one name ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["accept", "ACCEPT", b"Accept"])
def test_names_count_in_any_case_as_text_or_bytes(headers: HTTPHeaderDict, name: Any) -> None:
    assert headers[name] == "a, b"
    assert headers.get(name) == "a, b"
    assert headers.getlist(name) == ["a", "b"]
    assert name in headers
    assert headers.setdefault(name, "no") == "a, b"
    headers.add(name, "c")
    assert headers["accept"] == "a, b, c"
    headers[name] = "d"
    assert headers["accept"] == "d"
    del headers[name]
    assert name not in headers
    headers.discard(name)
    assert headers == {"set-cookie": "x=1"}


def test_discard_removes_all_lines_of_a_name_given_as_bytes(headers: HTTPHeaderDict) -> None:
    headers.discard(b"ACCEPT")
    assert lines(headers) == [("Set-Cookie", "x=1")]


def test_what_is_missing(headers: HTTPHeaderDict) -> None:
    with pytest.raises(KeyError, match="missing"):
        headers["Missing"]
    with pytest.raises(KeyError, match="missing"):
        del headers["Missing"]
    assert headers.get("missing") is None
    assert headers.get("missing", "x") == headers.get(key="missing", default="x") == "x"
    assert headers.getlist("missing") == []
    assert headers.getlist("missing", None) is None
    assert headers.pop("missing", "x") == "x"
    headers.discard("missing")


@pytest.mark.parametrize("name", [5, None, ("a",)])
def test_a_name_of_another_type_is_a_type_error_but_merely_not_in(
    headers: HTTPHeaderDict, name: Any
) -> None:
    assert name not in headers
    for call in (
        lambda: headers[name],
        lambda: headers.get(name),
        lambda: headers.getlist(name),
        lambda: headers.add(name, "x"),
        lambda: headers.setdefault(name),
        lambda: headers.discard(name),
        lambda: HTTPHeaderDict({name: "x"}),
    ):
        with pytest.raises(TypeError, match="header names must be str or bytes"):
            call()


def test_assignment_replaces_lines_and_spelling_in_place(headers: HTTPHeaderDict) -> None:
    headers["ACCEPT"] = "z"
    assert lines(headers) == [("ACCEPT", "z"), ("Set-Cookie", "x=1")]


def test_combine_appends_to_the_last_line(headers: HTTPHeaderDict) -> None:
    headers.add("accept", "c", combine=True)
    headers.add("new", "d", combine=True)
    assert headers.getlist("accept") == ["a", "b, c"]
    assert headers["new"] == "d"


def test_lists_handed_out_are_copies(headers: HTTPHeaderDict) -> None:
    headers.getlist("accept").append("no")
    assert headers["accept"] == "a, b"


def test_other_names_of_getlist(headers: HTTPHeaderDict) -> None:
    for name in ("getheaders", "getallmatchingheaders", "iget", "get_all"):
        assert getattr(headers, name)("accept") == ["a", "b"]


@pytest.mark.parametrize("value", [5, None, b"bytes"])
def test_a_value_that_is_no_text_fails_when_read_but_not_when_shown(value: Any) -> None:
    headers = HTTPHeaderDict({"a": value})
    for call in (lambda: headers["a"], lambda: headers.get("a")):
        with pytest.raises(TypeError, match=f"'a'.*{type(value).__name__}"):
            call()
    assert list(headers.items()) == [("a", value)]
    assert repr(headers) == f"HTTPHeaderDict({{'a': [{value!r}]}})"
    assert headers != {"a": "1"}


# -- HTTPHeaderDict: many names -------------------------------------------------------------------


def test_update_keeps_the_lines_of_another_header_dict_apart(headers: HTTPHeaderDict) -> None:
    """Set-Cookie lines cannot be joined (RFC 6265, section 3)."""
    target = HTTPHeaderDict({"SET-COOKIE": "old", "accept": "old", "host": "h"})
    target.update(HTTPHeaderDict([("Set-Cookie", "a=1"), ("set-cookie", "b=2")]), accept="new")
    assert lines(target) == [
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
        ("accept", "new"),
        ("host", "h"),
    ]


def test_update_with_itself_changes_nothing(headers: HTTPHeaderDict) -> None:
    before = lines(headers)
    headers.update(headers)
    assert lines(headers) == before


def test_update_takes_the_last_of_plain_pairs() -> None:
    target = HTTPHeaderDict(a="0")
    target.update([("a", "1"), ("A", "2")])
    target.update({b"b": "3"})
    target.update()
    assert lines(target) == [("A", "2"), ("b", "3")]


def test_extend_with_itself_doubles_the_lines(headers: HTTPHeaderDict) -> None:
    headers.extend(headers)
    assert headers.getlist("accept") == ["a", "b", "a", "b"]


def test_extend_takes_one_source_at_most(headers: HTTPHeaderDict) -> None:
    with pytest.raises(
        TypeError, match=r"extend\(\) takes at most 1 positional arguments \(2 given\)"
    ):
        headers.extend({}, {})


@pytest.mark.parametrize(
    "other",
    [
        {"ACCEPT": "a, b", b"set-cookie": "x=1"},
        [("set-cookie", "x=1"), ("accept", "a"), ("accept", "b")],
        HTTPHeaderDict({"accept": "a, b", "set-cookie": "x=1"}),
    ],
    ids=["mapping", "pairs", "headers"],
)
def test_equal_whatever_the_form_order_and_spelling(headers: HTTPHeaderDict, other: Any) -> None:
    assert headers == other
    assert other == headers
    assert (headers != other) is False


@pytest.mark.parametrize(
    "other", ["text", b"text", 5, None, object(), (1, 2), {1: 2}, {"a": None}, {}, []], ids=shown
)
def test_unequal_to_what_is_something_else(headers: HTTPHeaderDict, other: object) -> None:
    """A comparison must answer, not fail (urllib3 raises ValueError for a text)."""
    assert headers != other
    assert (headers == other) is False


def test_equal_to_what_says_so_itself(headers: HTTPHeaderDict) -> None:
    assert headers == mock.ANY


def test_it_has_no_hash(headers: HTTPHeaderDict) -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(headers)


def test_union_adds_the_lines_of_the_right_after_those_of_the_left(
    headers: HTTPHeaderDict,
) -> None:
    before = lines(headers)
    assert (headers | {"accept": "c"}).getlist("accept") == ["a", "b", "c"]
    assert ({"accept": "c"} | headers).getlist("accept") == ["c", "a", "b"]
    assert type({} | Subclass()) is type(Subclass() | {}) is Subclass
    assert lines(headers) == before
    same = headers
    headers |= [("Accept", "d")]
    assert same is headers
    assert headers.getlist("accept") == ["a", "b", "d"]


@pytest.mark.parametrize("other", [5, None, "text"], ids=shown)
def test_union_with_something_else_is_a_type_error(headers: HTTPHeaderDict, other: Any) -> None:
    with pytest.raises(TypeError, match="unsupported operand"):
        headers | other
    with pytest.raises(TypeError, match="unsupported operand"):
        other | headers
    with pytest.raises(TypeError, match="unsupported operand"):
        headers |= other


def test_views_count_lines_or_names(headers: HTTPHeaderDict) -> None:
    items = headers.items()
    assert len(items) == 3
    assert list(items) == lines(headers)
    assert ("ACCEPT", "b") in items
    assert ("accept", "a, b") not in items
    assert ("accept",) not in items
    assert (5, "a") not in items
    assert "accept" not in items
    assert len(headers) == 2
    assert list(headers) == list(headers.keys()) == ["Accept", "Set-Cookie"]
    assert list(headers.values()) == ["a, b", "x=1"]
    assert list(headers.itermerged()) == [("Accept", "a, b"), ("Set-Cookie", "x=1")]
    headers.add("accept", "c")
    assert len(items) == 4


def test_repr_shows_joined_values(headers: HTTPHeaderDict) -> None:
    assert repr(headers) == "HTTPHeaderDict({'Accept': 'a, b', 'Set-Cookie': 'x=1'})"


@pytest.mark.parametrize("source", [{}, [], Keyed(), HTTPHeaderDict(), iter(())], ids=shown)
def test_a_possible_source_is_returned(source: Any) -> None:
    assert ensure_can_construct_http_header_dict(source) is source


@pytest.mark.parametrize("source", [None, 5, "text", b"text", object()], ids=shown)
def test_an_impossible_source_gives_none(source: Any) -> None:
    assert ensure_can_construct_http_header_dict(source) is None


# -- HTTPHeaderDict against a list of lines -------------------------------------------------------

NAMES = st.sampled_from(["a", "A", "b", "B", b"a", b"B", "c"])
VALUES = st.sampled_from(["1", "2", "", "x, y"])


def _fold(name: str | bytes) -> str:
    return (name.decode() if isinstance(name, bytes) else name).lower()


class HeaderDictAgainstListOfLines(RuleBasedStateMachine):
    """What the class promises, said with nothing but a list of [folded name, value]."""

    @initialize(pairs=st.lists(st.tuples(NAMES, VALUES), max_size=4))
    def start(self, pairs: list[tuple[Any, str]]) -> None:
        self.headers = HTTPHeaderDict(pairs)
        self.lines = [[_fold(name), value] for name, value in pairs]

    def _values(self, name: str | bytes) -> list[str]:
        return [value for key, value in self.lines if key == _fold(name)]

    def _remove(self, name: str | bytes) -> None:
        self.lines = [line for line in self.lines if line[0] != _fold(name)]

    @rule(name=NAMES, value=VALUES, combine=st.booleans())
    def add(self, name: Any, value: str, combine: bool) -> None:
        self.headers.add(name, value, combine=combine)
        same = [line for line in self.lines if line[0] == _fold(name)]
        if combine and same:
            same[-1][1] += ", " + value
        else:
            self.lines.append([_fold(name), value])

    @rule(name=NAMES, value=VALUES)
    def assign(self, name: Any, value: str) -> None:
        self.headers[name] = value
        self._remove(name)
        self.lines.append([_fold(name), value])

    @rule(name=NAMES)
    def discard(self, name: Any) -> None:
        self.headers.discard(name)
        self._remove(name)

    @rule(name=NAMES, value=VALUES)
    def setdefault(self, name: Any, value: str) -> None:
        got = self.headers.setdefault(name, value)
        if not self._values(name):
            self.lines.append([_fold(name), value])
        assert got == ", ".join(self._values(name))

    @rule(pairs=st.lists(st.tuples(NAMES, VALUES), max_size=3))
    def update_by_headers(self, pairs: list[tuple[Any, str]]) -> None:
        self.headers.update(HTTPHeaderDict(pairs))
        for name, _ in pairs:
            self._remove(name)
        self.lines += [[_fold(name), value] for name, value in pairs]

    @rule(pairs=st.lists(st.tuples(NAMES, VALUES), max_size=3))
    def unite(self, pairs: list[tuple[Any, str]]) -> None:
        self.headers |= pairs
        self.lines += [[_fold(name), value] for name, value in pairs]

    @invariant()
    def reads_the_same(self) -> None:
        names = {name for name, _ in self.lines}
        assert {name.lower() for name in self.headers} == names
        assert len(self.headers) == len(names)
        assert len(self.headers.items()) == len(self.lines)
        for name in ("A", "b", b"C"):
            values = self._values(name)
            assert self.headers.getlist(name) == values
            assert self.headers.get(name) == (", ".join(values) if values else None)
            assert (name in self.headers) == bool(values)
        assert self.headers == {name: ", ".join(self._values(name)) for name in names}


TestHeaderDictModel = HeaderDictAgainstListOfLines.TestCase


# -- RecentlyUsedContainer ------------------------------------------------------------------------


@pytest.fixture
def gone() -> list[Any]:
    """The values that were disposed of."""
    return []


@pytest.fixture
def three(gone: list[Any]) -> RecentlyUsedContainer[str, int]:
    """A container of three, full."""
    container: RecentlyUsedContainer[str, int] = RecentlyUsedContainer(3, gone.append)
    container["a"], container["b"], container["c"] = 1, 2, 3
    return container


def test_the_item_not_used_for_the_longest_time_is_evicted(
    three: RecentlyUsedContainer[str, int], gone: list[int]
) -> None:
    three["d"] = 4
    assert three.keys() == {"b", "c", "d"}
    assert gone == [1]


@pytest.mark.parametrize(
    "use",
    [
        lambda container: container["a"],
        lambda container: container.get("a"),
        lambda container: "a" in container,
        lambda container: container.setdefault("a", 9),
        lambda container: container.__setitem__("a", 1),
    ],
    ids=["[]", "get", "in", "setdefault", "[]="],
)
def test_reading_and_replacing_count_as_use(
    three: RecentlyUsedContainer[str, int], use: Any
) -> None:
    use(three)
    three["d"] = 4
    assert three.keys() == {"a", "c", "d"}


def test_every_value_that_leaves_is_disposed_of(
    three: RecentlyUsedContainer[str, int], gone: list[int]
) -> None:
    three["a"] = 10
    del three["b"]
    assert three.pop("c") == 3
    assert gone == [1, 2, 3]
    assert three.pop("c", None) is None
    three["x"] = 11
    three.clear()
    assert gone == [1, 2, 3, 10, 11]
    assert len(three) == 0


def test_what_is_missing_is_a_key_error_or_the_default(
    three: RecentlyUsedContainer[str, int],
) -> None:
    for call in (lambda: three["x"], lambda: three.pop("x"), lambda: three.__delitem__("x")):
        with pytest.raises(KeyError, match="x"):
            call()
    assert three.get("x") is None
    assert three.get("x", 5) == 5
    assert "x" not in three


def test_setdefault_stores_and_evicts(
    three: RecentlyUsedContainer[str, int], gone: list[int]
) -> None:
    assert three.setdefault("d", 4) == 4
    assert three.setdefault("d", 5) == 4
    assert gone == [1]


def test_a_size_of_zero_keeps_nothing(gone: list[int]) -> None:
    container: RecentlyUsedContainer[str, int] = RecentlyUsedContainer(0, gone.append)
    container["a"] = 1
    assert len(container) == 0
    assert gone == [1]


def test_lowering_maxsize_evicts_at_once(
    three: RecentlyUsedContainer[str, int], gone: list[int]
) -> None:
    three.maxsize = 1
    assert gone == [1, 2]
    assert three.keys() == {"c"}
    assert three.maxsize == three._maxsize == 1


def test_a_negative_size_is_refused(three: RecentlyUsedContainer[str, int]) -> None:
    with pytest.raises(ValueError, match="-1"):
        RecentlyUsedContainer(-1)
    with pytest.raises(ValueError, match="-2"):
        three.maxsize = -2
    assert three.maxsize == 3


def test_iteration_is_refused_and_keys_is_a_copy(
    three: RecentlyUsedContainer[str, int],
) -> None:
    for iterate in (iter, lambda c: list(c.values()), lambda c: list(c.items())):
        with pytest.raises(NotImplementedError, match="keys"):
            iterate(three)
    keys = three.keys()
    keys.clear()
    assert len(three) == 3


def _is_free(lock: Any) -> bool:
    """Whether another thread could take `lock` now."""
    answers: list[bool] = []

    def take() -> None:
        answers.append(lock.acquire(blocking=False))
        if answers[0]:
            lock.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return answers[0]


def test_values_are_disposed_of_without_the_lock() -> None:
    """Closing a pool takes time and may come back for the container."""
    free: list[bool] = []
    container: RecentlyUsedContainer[str, int] = RecentlyUsedContainer(
        1, lambda value: free.append(_is_free(container.lock))
    )
    container["a"] = 1
    container["a"] = 2  # replaced
    container["b"] = 3  # evicted
    container.setdefault("c", 4)
    del container["c"]
    container["d"] = 5
    container.pop("d")
    container["e"] = 6
    container.maxsize = 0
    container.maxsize = 1
    container["f"] = 7
    container.clear()
    assert free == [True] * 7


def test_a_failing_dispose_func_does_not_spare_the_others(gone: list[int]) -> None:
    def dispose(value: int) -> None:
        gone.append(value)
        if value == 1:
            raise RuntimeError("cannot close 1")

    container: RecentlyUsedContainer[str, int] = RecentlyUsedContainer(3, dispose)
    container["a"], container["b"], container["c"] = 1, 2, 3
    with pytest.raises(RuntimeError, match="cannot close 1"):
        container.clear()
    assert gone == [1, 2, 3]


def test_a_caller_that_holds_the_lock_keeps_others_out(
    three: RecentlyUsedContainer[str, int],
) -> None:
    with three.lock:
        assert not _is_free(three.lock)
        three["a"] = three["a"] + 1
    assert three["a"] == 2


def test_no_value_is_lost_or_disposed_of_twice_by_many_threads() -> None:
    """Each value stored is either still there or was disposed of once."""
    gone: list[tuple[int, int]] = []
    container: RecentlyUsedContainer[int, tuple[int, int]] = RecentlyUsedContainer(5, gone.append)
    stored: list[tuple[int, int]] = []
    failures: list[BaseException] = []
    together = threading.Barrier(8)

    def hammer(number: int) -> None:
        try:
            together.wait()
            for step in range(300):
                key, value = (number * 7 + step) % 11, (number, step)
                if step % 5 == 4:
                    container.pop(key, None)
                elif step % 7 == 6:
                    if container.setdefault(key, value) is value:
                        stored.append(value)
                elif step % 97 == 96:
                    container.clear()
                else:
                    stored.append(value)
                    container[key] = value
                    container.get(key)
                assert len(container) <= 5
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=hammer, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    container.clear()
    assert not failures
    assert sorted(gone) == sorted(stored)


@given(
    st.integers(0, 4),
    st.lists(st.tuples(st.sampled_from(["set", "get", "pop"]), st.integers(0, 6)), max_size=30),
)
def test_it_keeps_exactly_what_a_list_in_order_of_use_would(
    size: int, steps: list[tuple[str, int]]
) -> None:
    container: RecentlyUsedContainer[int, int] = RecentlyUsedContainer(size)
    order: list[int] = []
    for action, key in steps:
        if action == "get":
            assert container.get(key) == (key if key in order else None)
        elif action == "pop":
            container.pop(key, None)
        else:
            container[key] = key
        present = key in order
        if present:
            order.remove(key)
        if action == "set" or (action == "get" and present):
            order.append(key)
        order = order[max(len(order) - size, 0) :]
        assert container.keys() == set(order)
