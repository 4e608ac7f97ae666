"""Exceptions have the parents, attributes and texts of urllib3's."""

from __future__ import annotations

import importlib
import inspect
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import pytest

urllib3 = pytest.importorskip("urllib3")

THEIRS = importlib.import_module("urllib3.exceptions")
OURS = importlib.import_module("urllib4.exceptions")


class Pool:
    """A pool, connection or response."""

    length_remaining = 7

    def __repr__(self) -> str:
        return "Pool()"

    def tell(self) -> int:
        return 3


POOL = Pool()
REASON = ValueError("reason")

CASES: dict[str, Callable[[Any], BaseException]] = {
    **{
        name: (lambda module, name=name: getattr(module, name)("text", REASON))
        for name in (
            "HTTPError",
            "SSLError",
            "ProxyError",
            "DecodeError",
            "ProtocolError",
            "ConnectionError",
            "TimeoutStateError",
            "TimeoutError",
            "ResponseError",
            "InvalidHeader",
            "BodyNotHttplibCompatible",
            "UnrewindableBodyError",
            "ResponseNotChunked",
            "LocationValueError",
            "ProxySchemeUnsupported",
            "HTTPWarning",
            "SecurityWarning",
            "InsecureRequestWarning",
            "NotOpenSSLWarning",
            "SystemTimeWarning",
            "InsecurePlatformWarning",
            "DependencyWarning",
        )
    },
    **{
        name: (lambda module, name=name: getattr(module, name)(POOL, "text"))
        for name in ("PoolError", "EmptyPoolError", "FullPoolError", "ClosedPoolError")
    },
    "RequestError": lambda module: module.RequestError(POOL, "/url", "text"),
    "ReadTimeoutError": lambda module: module.ReadTimeoutError(POOL, None, "text"),
    "MaxRetryError": lambda module: module.MaxRetryError(POOL, "/url"),
    "MaxRetryError with a reason": lambda module: module.MaxRetryError(POOL, None, REASON),
    "MaxRetryError with userinfo": lambda module: module.MaxRetryError(POOL, "http://u:p@h/"),
    "HostChangedError": lambda module: module.HostChangedError(POOL, "/url", retries=2),
    "HostChangedError by default": lambda module: module.HostChangedError(POOL, "/url"),
    "ConnectTimeoutError": lambda module: module.ConnectTimeoutError(POOL, "text"),
    "ConnectTimeoutError with a text": lambda module: module.ConnectTimeoutError("text"),
    "NewConnectionError": lambda module: module.NewConnectionError(POOL, "text"),
    "NameResolutionError": lambda module: module.NameResolutionError("host", POOL, REASON),
    "LocationParseError": lambda module: module.LocationParseError("http://["),
    "LocationParseError with userinfo": lambda module: module.LocationParseError("http://u:p@["),
    "URLSchemeUnknown": lambda module: module.URLSchemeUnknown("gopher"),
    "ProxySchemeUnknown": lambda module: module.ProxySchemeUnknown("gopher"),
    "ProxySchemeUnknown None": lambda module: module.ProxySchemeUnknown(None),
    "ProxySchemeUnknown localhost": lambda module: module.ProxySchemeUnknown("localhost"),
    "IncompleteRead": lambda module: module.IncompleteRead(1, 2),
    "InvalidChunkLength": lambda module: module.InvalidChunkLength(POOL, b"xyz"),
    "HeaderParsingError": lambda module: module.HeaderParsingError(["defect"], b"rest"),
    "HeaderParsingError of nothing": lambda module: module.HeaderParsingError([], None),
}

#: Where ours says something else on purpose, and why.
DELIBERATE_DIFFERENCES = {
    "MaxRetryError with userinfo": "texts end up in logs: no password in them",
    "LocationParseError with userinfo": "texts end up in logs: no password in them",
    "ConnectTimeoutError": "the text is a sentence, not the repr of a tuple",
}

#: Where theirs does not come back from pickle as it was.
BROKEN_BY_PICKLE_THERE = {
    "LocationParseError",
    "LocationParseError with userinfo",
    "URLSchemeUnknown",
    "ProxySchemeUnknown",
    "ProxySchemeUnknown None",
    "ProxySchemeUnknown localhost",
    "HeaderParsingError",
    "HeaderParsingError of nothing",
}


def described(error: BaseException, of_theirs: set[str]) -> object:
    """What a program can see, in words that do not depend on the package."""
    attributes = {name: value for name, value in vars(error).items() if name in of_theirs}
    parents = [parent.__name__ for parent in type(error).__mro__]
    return type(error).__name__, parents, error.args, str(error), repr(error), attributes


@pytest.mark.parametrize("name", CASES)
def test_the_same_arguments_make_the_same_error(name: str) -> None:
    ours, theirs = CASES[name](OURS), CASES[name](THEIRS)
    attributes = set(vars(theirs))
    assert attributes <= set(vars(ours))
    described_ours, described_theirs = described(ours, attributes), described(theirs, attributes)
    if name in DELIBERATE_DIFFERENCES:
        assert described_ours != described_theirs, "no difference any more: remove it"
        assert described_ours[:2] == described_theirs[:2]  # type: ignore[index]
    else:
        assert described_ours == described_theirs


@pytest.mark.parametrize("name", sorted(BROKEN_BY_PICKLE_THERE))
def test_what_pickle_breaks_there_survives_here(name: str) -> None:
    error = CASES[name](OURS)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    theirs = CASES[name](THEIRS)
    try:
        back = str(pickle.loads(pickle.dumps(theirs)))
    except TypeError:
        return
    assert back != str(theirs), "not broken any more: remove it from the set"


def test_the_tables_name_cases() -> None:
    assert set(DELIBERATE_DIFFERENCES) <= set(CASES)
    assert set(CASES) >= BROKEN_BY_PICKLE_THERE


def test_every_class_of_theirs_exists_and_was_made_above() -> None:
    classes = {
        name
        for name, value in vars(THEIRS).items()
        if inspect.isclass(value)
        and issubclass(value, BaseException)
        and value.__module__ == THEIRS.__name__
    }
    assert {name for name in classes if not hasattr(OURS, name)} == set()
    assert classes == {name.split()[0] for name in CASES}


@pytest.mark.parametrize("name", ["GENERIC_ERROR", "SPECIFIC_ERROR"])
def test_constants_of_response_error(name: str) -> None:
    assert getattr(OURS.ResponseError, name) == getattr(THEIRS.ResponseError, name)


def test_new_connection_error_pool_warns_in_both() -> None:
    for module in (OURS, THEIRS):
        error = module.NewConnectionError(POOL, "text")
        with pytest.warns(FutureWarning):
            assert error.pool is POOL
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert OURS.NewConnectionError(POOL, "text").conn is POOL
