"""urllib4.exceptions: the tree, the texts, and the way through pickle."""

from __future__ import annotations

import copy
import http.client
import inspect
import pickle
import subprocess
import sys
import threading
from typing import Any

import pytest

from urllib4 import exceptions


class Live:
    """A pool or connection: it has a text, and a lock that cannot leave the process."""

    length_remaining = 7

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __repr__(self) -> str:
        return "Live(host='a', port=80)"

    def tell(self) -> int:
        return 3


LIVE = Live()


def _public_errors() -> set[type[BaseException]]:
    return {
        value
        for value in vars(exceptions).values()
        if inspect.isclass(value)
        and issubclass(value, BaseException)
        and not issubclass(value, Warning)
        and value.__module__ == exceptions.__name__
    }


INSTANCES = [
    # Those without a constructor of their own; in a fixed order for parallel runs.
    *(
        error("text")
        for error in sorted(_public_errors(), key=lambda error: error.__name__)
        if not inspect.isfunction(error.__init__)
    ),
    exceptions.PoolError(LIVE, "text"),
    exceptions.RequestError(LIVE, "/url", "text"),
    exceptions.ProxyError("text", ValueError("reason")),
    exceptions.DecodeError("text", ValueError("reason")),
    exceptions.ProtocolError("text", ConnectionResetError(104, "reset")),
    exceptions.MaxRetryError(LIVE, "/url"),
    exceptions.MaxRetryError(LIVE, "/url", exceptions.ReadTimeoutError(LIVE, "/url", "text")),
    exceptions.HostChangedError(LIVE, "/url", retries=2),
    exceptions.ReadTimeoutError(LIVE, "/url", "text"),
    exceptions.ConnectTimeoutError(),
    exceptions.ConnectTimeoutError("text"),
    exceptions.ConnectTimeoutError(LIVE, "text"),
    exceptions.NewConnectionError(LIVE, "text"),
    exceptions.NameResolutionError("host", LIVE, OSError(-2, "unknown")),
    exceptions.AddressBlockedError(LIVE, "10.0.0.1", "private network"),
    exceptions.DeadlineExceededError("connecting", 1.5),
    exceptions.RequestCancelledError("connecting"),
    exceptions.EmptyPoolError(LIVE, "text"),
    exceptions.FullPoolError(LIVE, "text"),
    exceptions.ClosedPoolError(LIVE, "text"),
    exceptions.LocationParseError("http://["),
    exceptions.URLSchemeUnknown("gopher"),
    exceptions.ProxySchemeUnknown(None),
    exceptions.ProxySchemeUnknown("localhost"),
    exceptions.ProxySchemeUnknown("gopher"),
    exceptions.IncompleteRead(1, 2),
    exceptions.InvalidChunkLength(LIVE, b"xyz"),
    exceptions.HeaderParsingError(["defect"], b"rest"),
    exceptions.HeadTooLargeError(1024),
    exceptions.InsecureRedirectError("http://example.com/"),
    exceptions.ResponseTooLargeError(1024),
    exceptions.ResponseTooLargeError(100, "expansion"),
]


def _expected_attributes(error: BaseException) -> dict[str, Any]:
    return {
        name: None if name in ("pool", "conn", "response") else value
        for name, value in vars(error).items()
    }


def _comparable(value: object) -> object:
    """Exceptions compare by identity; compare what they say."""
    return repr(value) if isinstance(value, BaseException) else value


def test_every_error_takes_part_in_the_tests_below() -> None:
    assert {type(error) for error in INSTANCES} == _public_errors()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("error", INSTANCES, ids=repr)
def test_a_pickled_error_comes_back_as_it_was_without_the_live_objects(
    error: BaseException, protocol: int
) -> None:
    """Worker processes report errors this way; urllib3 doubles prefixes or fails."""
    back = pickle.loads(pickle.dumps(error, protocol))

    assert type(back) is type(error)
    assert str(back) == str(error)
    attributes = {name: _comparable(value) for name, value in vars(back).items()}
    expected = {name: _comparable(v) for name, v in _expected_attributes(error).items()}
    assert attributes == expected
    if LIVE not in error.args:
        assert [_comparable(arg) for arg in back.args] == [_comparable(arg) for arg in error.args]


@pytest.mark.parametrize("error", INSTANCES, ids=repr)
def test_an_error_can_be_pickled_again_and_copied(error: BaseException) -> None:
    twice = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(error))))
    assert str(twice) == str(error)
    assert str(copy.copy(error)) == str(error)


def test_live_objects_among_the_arguments_are_replaced() -> None:
    timeout = pickle.loads(pickle.dumps(exceptions.ConnectTimeoutError(LIVE, "text")))
    assert timeout.args == (repr(LIVE), "text")
    chunk = pickle.loads(pickle.dumps(exceptions.InvalidChunkLength(LIVE, b"xyz")))
    assert chunk.args == (None, b"xyz")
    assert (chunk.partial, chunk.expected, chunk.length) == (3, 7, b"xyz")


def test_notes_survive_pickling() -> None:
    error = exceptions.PoolError(LIVE, "text")
    error.__notes__ = ["seen on a Tuesday"]
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["seen on a Tuesday"]


class DerivedError(exceptions.MaxRetryError):
    """An error of somebody else, with a constructor of its own."""

    def __init__(self, code: int) -> None:
        super().__init__(LIVE, "/url")
        self.code = code


def test_a_subclass_with_another_constructor_pickles() -> None:
    back = pickle.loads(pickle.dumps(DerivedError(5)))
    assert type(back) is DerivedError
    assert back.code == 5
    assert back.url == "/url"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (exceptions.PoolError(LIVE, "text"), "Live(host='a', port=80): text"),
        (exceptions.ConnectTimeoutError(LIVE, "too slow"), "Live(host='a', port=80): too slow"),
        (exceptions.ConnectTimeoutError("too slow"), "too slow"),
        (
            exceptions.MaxRetryError(None, "/url", ValueError("why")),
            "None: Max retries exceeded with url: /url (Caused by ValueError('why'))",
        ),
        (
            exceptions.NameResolutionError("host", LIVE, OSError("unknown")),
            "Live(host='a', port=80): Failed to resolve 'host' (unknown)",
        ),
        (
            exceptions.AddressBlockedError(LIVE, "10.0.0.1", "private network"),
            "Live(host='a', port=80): connecting to 10.0.0.1 is not allowed (private network)",
        ),
        (
            exceptions.DeadlineExceededError("reading the body", 1.5),
            "deadline of 1.5 s exceeded while reading the body",
        ),
        (exceptions.RequestCancelledError("connecting"), "request cancelled while connecting"),
        (
            exceptions.HeadTooLargeError(64),
            "response head exceeds 64 bytes (raise max_head to accept it)",
        ),
        (exceptions.ResponseTooLargeError(64), "response content exceeds 64 bytes"),
        (exceptions.ResponseTooLargeError(64, "decoded"), "decoded content exceeds 64 bytes"),
        (
            exceptions.ResponseTooLargeError(64, "expansion"),
            "decoded content is more than 64 times as large as what was sent",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_texts(error: BaseException, text: str) -> None:
    assert str(error) == text


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://user:secret@host/a@b", "http://***@host/a@b"),
        ("http://secret@host", "http://***@host"),
        ("/path/@scope", "/path/@scope"),
        ("http://host/@scope//x@y", "http://host/@scope//***@y"),
        (None, "None"),
    ],
)
def test_the_text_of_an_error_has_no_userinfo(url: str | None, shown: str) -> None:
    """Texts end up in logs and issue trackers."""
    assert f"with url: {shown} (" in str(exceptions.MaxRetryError(None, url))
    assert str(exceptions.HostChangedError(None, url or "None")).endswith(f"url: {shown}")
    assert exceptions.MaxRetryError(None, url).url == url


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("http://user:sec/ret@host:x", "http://***@host:x"),
        ("user:secret@host:x", "***@host:x"),
        ("http://[", "http://["),
    ],
)
def test_what_is_no_url_is_shown_without_anything_that_may_be_userinfo(
    location: str, shown: str
) -> None:
    error = exceptions.LocationParseError(location)
    assert str(error) == f"Failed to parse: {shown}"
    assert error.location == location


def test_new_connection_error_pool_is_deprecated_in_favour_of_conn() -> None:
    error = exceptions.NewConnectionError(LIVE, "text")
    with pytest.warns(FutureWarning, match=r"urllib4 5\.0.*conn") as caught:
        assert error.pool is LIVE
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("child", "parents"),
    [
        (exceptions.ReadTimeoutError, (exceptions.TimeoutError, exceptions.RequestError)),
        (exceptions.NewConnectionError, (exceptions.ConnectTimeoutError,)),
        (exceptions.NameResolutionError, (exceptions.NewConnectionError,)),
        (exceptions.AddressBlockedError, (exceptions.NewConnectionError,)),
        (exceptions.DeadlineExceededError, (exceptions.TimeoutError,)),
        (exceptions.IncompleteRead, (exceptions.HTTPError, http.client.IncompleteRead)),
        (exceptions.InvalidChunkLength, (exceptions.HTTPError, http.client.IncompleteRead)),
        (exceptions.ResponseNotChunked, (exceptions.ProtocolError, ValueError)),
        (exceptions.LocationParseError, (exceptions.HTTPError, ValueError)),
        (exceptions.InvalidFieldError, (exceptions.HTTPError, ValueError)),
        (exceptions.ProxySchemeUnknown, (AssertionError, exceptions.URLSchemeUnknown)),
        (exceptions.ProxySchemeUnsupported, (ValueError,)),
        (exceptions.HeadTooLargeError, (exceptions.ProtocolError,)),
        (exceptions.ResponseTooLargeError, (exceptions.ProtocolError,)),
        (exceptions.InsecureRequestWarning, (exceptions.SecurityWarning,)),
        (exceptions.DependencyWarning, (exceptions.HTTPWarning,)),
    ],
)
def test_parents(child: type, parents: tuple[type, ...]) -> None:
    for parent in parents:
        assert issubclass(child, parent)


def test_every_error_but_one_is_an_http_error() -> None:
    """``except HTTPError`` is what users write."""
    others = {error for error in _public_errors() if not issubclass(error, exceptions.HTTPError)}
    assert others == {exceptions.ProxySchemeUnsupported}


def test_connection_error_is_another_name_of_protocol_error() -> None:
    assert exceptions.ConnectionError is exceptions.ProtocolError


def test_the_module_needs_no_other_module_but_the_one_of_the_warnings() -> None:
    """Every module may raise its errors, so it must stand below all of them."""
    program = (
        "import sys, urllib4\n"
        "before = set(sys.modules)\n"
        "import urllib4.exceptions\n"
        "print([name for name in set(sys.modules) - before if name.startswith('urllib4')])\n"
    )
    printed = subprocess.check_output([sys.executable, "-c", program], text=True)
    assert printed.strip() == "['urllib4.exceptions']"


@pytest.mark.parametrize("name", [name for name in dir(exceptions) if name.endswith("Warning")])
def test_warnings_are_at_home_here_wherever_they_are_written(name: str) -> None:
    """Messages, pickles and ``-W error::urllib4.exceptions.X`` name this module."""
    warning = getattr(exceptions, name)
    assert warning.__module__ == "urllib4.exceptions"
    assert pickle.loads(pickle.dumps(warning)) is warning
