"""The containers answer like those of urllib3, call by call."""

from __future__ import annotations

import copy
import importlib
import pickle
from collections.abc import Callable
from typing import Any

import pytest

urllib3 = pytest.importorskip("urllib3")

THEIRS = importlib.import_module("urllib3._collections")
OURS = importlib.import_module("urllib4._collections")

PAIRS = [("Accept", "a"), ("Set-Cookie", "x=1"), ("accept", "b")]


class Keyed:
    """No mapping, but with keys and values."""

    def keys(self) -> list[str]:
        return ["a", "B"]

    def __getitem__(self, key: str) -> str:
        return key * 2


def headers_after(change: Callable[[Any], object]) -> Callable[[Any], object]:
    """Make the three lines of PAIRS, change them, and return what came back and all lines."""

    def run(module: Any) -> object:
        headers = module.HTTPHeaderDict(PAIRS)
        result = change(headers)
        if isinstance(result, module.HTTPHeaderDict):
            result = list(result.iteritems())
        return result, list(headers.iteritems()), repr(headers)

    return run


def made_of(*args: Any, **kwargs: Any) -> Callable[[Any], object]:
    return lambda module: list(module.HTTPHeaderDict(*args, **kwargs).iteritems())


def container_after(change: Callable[[Any], object], size: int = 3) -> Callable[[Any], object]:
    """Fill a container, change it, and return what came back, what is left and what is gone."""

    def run(module: Any) -> object:
        gone: list[object] = []
        container = module.RecentlyUsedContainer(size, gone.append)
        for key in "abc":
            container[key] = key * 2
        result = change(container)
        container["new"] = "new"
        return result, container.keys(), len(container), gone

    return run


def in_place(operation: Callable[[Any], Any]) -> Callable[[Any], object]:
    return lambda headers: operation(headers) and None


def _ior(other: Any) -> Callable[[Any], object]:
    def run(headers: Any) -> object:
        headers |= other
        return None

    return run


CASES: dict[str, Callable[[Any], object]] = {
    # making headers
    "nothing": made_of(),
    "None": made_of(None),
    "mapping": made_of({"a": "1", "A": "2"}),
    "pairs": made_of(PAIRS),
    "generator": lambda module: list(module.HTTPHeaderDict(pair for pair in PAIRS).iteritems()),
    "bytes names": made_of([(b"a", "1"), ("A", "2")]),
    "bytes keys": made_of({b"a": "1"}),
    "keyed": made_of(Keyed()),
    "keywords": made_of({"x": "1"}, X="2"),
    "headers keyword": made_of(headers={"a": "1"}),
    "of headers": lambda module: list(
        module.HTTPHeaderDict(module.HTTPHeaderDict(PAIRS), accept="c").iteritems()
    ),
    "of an int": made_of(5),
    "of a text": made_of("abcd"),
    "of triples": made_of([("a", "1", "2")]),
    "of int names": made_of({5: "a"}),
    # one name
    "[]": headers_after(lambda h: (h["ACCEPT"], h[b"accept"])),
    "[] missing": headers_after(lambda h: h["Missing"]),
    "[] int": headers_after(lambda h: h[5]),
    "get": headers_after(lambda h: (h.get("accept"), h.get("x"), h.get("x", 5))),
    "getlist": headers_after(
        lambda h: (h.getlist("ACCEPT"), h.getlist("x"), h.getlist("x", None), h.getlist("x", 5))
    ),
    "aliases": headers_after(
        lambda h: [
            getattr(h, name)("accept")
            for name in ("getheaders", "getallmatchingheaders", "iget", "get_all")
        ]
    ),
    "in": headers_after(lambda h: ("ACCEPT" in h, b"accept" in h, 5 in h, None in h, "x" in h)),
    "assign": headers_after(in_place(lambda h: h.__setitem__("ACCEPT", "z"))),
    "assign bytes": headers_after(in_place(lambda h: h.__setitem__(b"ACCEPT", "z"))),
    "del": headers_after(in_place(lambda h: h.__delitem__("ACCEPT"))),
    "del missing": headers_after(in_place(lambda h: h.__delitem__("x"))),
    "add": headers_after(lambda h: (h.add("ACCEPT", "c"), h.add(b"x", "d"))),
    "add combine": headers_after(
        lambda h: (h.add("ACCEPT", "c", combine=True), h.add("x", "d", combine=True))
    ),
    "add positional combine": headers_after(lambda h: h.add("ACCEPT", "c", True)),
    "setdefault": headers_after(
        lambda h: (h.setdefault("ACCEPT"), h.setdefault("x"), h.setdefault("x", "y"))
    ),
    "discard": headers_after(lambda h: (h.discard("ACCEPT"), h.discard("x"))),
    "discard bytes": headers_after(lambda h: h.discard(b"ACCEPT")),
    "pop": headers_after(lambda h: (h.pop("ACCEPT"), h.pop("x", 5))),
    "pop missing": headers_after(lambda h: h.pop("x")),
    "popitem": headers_after(lambda h: h.popitem()),
    "clear": headers_after(lambda h: (h.clear(), len(h), bool(h))),
    "int value": lambda module: list(module.HTTPHeaderDict({"a": 5}).items()),
    "int value read": lambda module: module.HTTPHeaderDict({"a": 5})["a"],
    "int value shown": lambda module: repr(module.HTTPHeaderDict({"a": 5})),
    # many names
    "extend": headers_after(lambda h: h.extend({"ACCEPT": "c"}, x="d")),
    "extend nothing": headers_after(lambda h: h.extend()),
    "extend twice": headers_after(lambda h: h.extend({}, {})),
    "extend itself": headers_after(lambda h: h.extend(h)),
    "update mapping": headers_after(lambda h: h.update({"ACCEPT": "c"}, x="d")),
    "update pairs": headers_after(lambda h: h.update([("accept", "c"), ("Accept", "d")])),
    "update lines": headers_after(lambda h: h.update(type(h)([("x", "1"), ("X", "2")]))),
    "|": headers_after(lambda h: h | {"ACCEPT": "c", "x": "d"}),
    "| pairs": headers_after(lambda h: h | [("ACCEPT", "c")]),
    "| int": headers_after(lambda h: h | 5),
    "| None": headers_after(lambda h: h | None),
    "reflected |": headers_after(lambda h: {"ACCEPT": "c", "x": "d"} | h),
    "reflected | pairs": headers_after(lambda h: [("ACCEPT", "c")] | h),
    "reflected | int": headers_after(lambda h: 5 | h),
    "|=": headers_after(_ior({"ACCEPT": "c"})),
    "|= int": headers_after(_ior(5)),
    "== mapping": headers_after(lambda h: (h == {"ACCEPT": "a, b", "set-cookie": "x=1"}, h == {})),
    "== pairs": headers_after(lambda h: (h == PAIRS, h == PAIRS[:2])),
    "== headers": headers_after(lambda h: (h == h.copy(), h != h.copy())),
    "== others": headers_after(lambda h: (h == 5, h == None, h == object(), h != 5)),  # noqa: E711
    "== text": headers_after(lambda h: h == "text"),
    "hash": headers_after(hash),
    # all of it
    "sizes": headers_after(lambda h: (len(h), len(h.items()), list(h))),
    "views": headers_after(lambda h: (list(h.keys()), list(h.values()), list(h.items()))),
    "merged": headers_after(lambda h: list(h.itermerged())),
    "in items": headers_after(
        lambda h: [
            item in h.items()
            for item in (("accept", "a"), ("accept", "a, b"), ("x", "a"), ("a",), 5, (5, 6))
        ]
    ),
    "str": headers_after(str),
    "copy": headers_after(lambda h: h.copy()),
    "copy is independent": headers_after(lambda h: h.copy().add("accept", "c")),
    "copy.copy is independent": headers_after(lambda h: copy.copy(h).add("accept", "c")),
    "pickle": headers_after(lambda h: pickle.loads(pickle.dumps(h))),
    "ensure": lambda module: [
        module.ensure_can_construct_http_header_dict(source) is source
        for source in ({}, [], 5, object())
    ],
    # the container
    "evict": container_after(lambda c: None),
    "read": container_after(lambda c: c["a"]),
    "read by get": container_after(lambda c: (c.get("a"), c.get("x"), c.get("x", 5))),
    "read by in": container_after(lambda c: ("a" in c, "x" in c)),
    "replace": container_after(lambda c: c.__setitem__("a", "A")),
    "replace by the same": container_after(lambda c: c.__setitem__("a", c["a"])),
    "delete": container_after(lambda c: c.__delitem__("b")),
    "delete missing": container_after(lambda c: c.__delitem__("x")),
    "read missing": container_after(lambda c: c["x"]),
    "pop an item": container_after(lambda c: (c.pop("b"), c.pop("x", 5))),
    "pop a missing item": container_after(lambda c: c.pop("x")),
    "clear items": container_after(lambda c: c.clear()),
    "set a default": container_after(lambda c: (c.setdefault("a", 1), c.setdefault("x", 2))),
    "update items": container_after(lambda c: c.update(x=1, a=2)),
    "iterate": container_after(iter),
    "iterate values": container_after(lambda c: list(c.values())),
    "size 0": container_after(lambda c: None, size=0),
    "size -1": container_after(lambda c: None, size=-1),
    "no dispose_func": lambda module: module.RecentlyUsedContainer().dispose_func,
}

#: Where we answer otherwise on purpose, and why.
DELIBERATE_DIFFERENCES = {
    "of an int": "a TypeError, not an empty dictionary: the caller's headers would be lost",
    "of a text": "a TypeError that says what is allowed, not a ValueError about unpacking",
    "of int names": "a TypeError that says what is allowed, not an AttributeError",
    "[] int": "a TypeError that says what is allowed, not an AttributeError",
    "int value shown": "repr() is for debugging and must not fail",
    "update lines": "several lines of a name stay apart: Set-Cookie cannot be joined",
    "== text": "a comparison answers False, not ValueError",
    "copy.copy is independent": "a copy that shares its lines is no copy",
    "size -1": "a ValueError: it is a mistake, and 0 says the same",
}


def outcome(call: Callable[[Any], object], module: Any) -> object:
    try:
        return call(module)
    except Exception as error:
        return f"raises {type(error).__name__}"


@pytest.mark.parametrize("name", CASES)
def test_the_same_call_has_the_same_result(name: str) -> None:
    ours, theirs = outcome(CASES[name], OURS), outcome(CASES[name], THEIRS)
    if name in DELIBERATE_DIFFERENCES:
        assert ours != theirs, "no difference any more: remove it from the table"
    else:
        assert ours == theirs


def test_the_table_of_differences_names_cases() -> None:
    assert set(DELIBERATE_DIFFERENCES) <= set(CASES)


def test_our_module_has_every_name_of_theirs() -> None:
    names = {name for name in vars(THEIRS) if not name.startswith("_")}
    imported = {"Enum", "OrderedDict", "RLock", "annotations", "auto", "typing"}
    assert {name for name in names - imported if not hasattr(OURS, name)} == set()
    assert set(THEIRS.__all__) == set(OURS.__all__)
    for name in ("HTTPHeaderDict", "RecentlyUsedContainer"):
        methods = {method for method in dir(getattr(THEIRS, name)) if not method.startswith("_")}
        assert methods <= set(dir(getattr(OURS, name)))


@pytest.mark.parametrize("use", ["constructor", "extend", "update", "|", "=="])
def test_headers_of_urllib3_are_understood_line_by_line(use: str) -> None:
    """Programs that mix both packages hand them to us."""
    foreign = THEIRS.HTTPHeaderDict(PAIRS)
    headers = OURS.HTTPHeaderDict(foreign if use == "constructor" else {})
    if use == "extend":
        headers.extend(foreign)
    elif use == "update":
        headers.update(foreign)
    elif use == "|":
        headers = headers | foreign
    elif use == "==":
        headers = OURS.HTTPHeaderDict(PAIRS)
        assert headers == foreign
    assert headers.getlist("accept") == ["a", "b"]
