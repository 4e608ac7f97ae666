"""The retry policy: what may be tried again, how often, and after which pause.

A :class:`Retry` decides and counts; it sends nothing.  The rules about the ``Retry-After`` header
are those of RFC 9110, 10.2.3; which methods may be repeated follows section 9.2.2 there.
"""

from __future__ import annotations

import copy
import email.utils
import functools
import logging
import math
import random
import re
import time
import warnings
from collections.abc import Collection, Mapping
from itertools import takewhile
from types import TracebackType
from typing import Any, ClassVar, Final, NamedTuple, Protocol, TypeVar, cast

from ..exceptions import (
    ConnectTimeoutError,
    DeadlineExceededError,
    HTTPError,
    InvalidHeader,
    MaxRetryError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    RequestCancelledError,
    ResponseError,
    _without_userinfo,
)
from .util import reraise, to_str

__all__ = ["RequestHistory", "Retry"]

log: logging.Logger = logging.getLogger(__name__)

_R = TypeVar("_R", bound="Retry")

# Characters.  A date has 29, and nobody means more digits than that.
_LONGEST_RETRY_AFTER: Final = 128
# Seconds (24.8 days).  More than some centuries is an OverflowError.
_LONGEST_SLEEP: Final = 2_147_483.0
_DIGITS: Final = re.compile(r"\s*([0-9]+)\s*")


class RequestHistory(NamedTuple):
    """One attempt that was followed by another."""

    method: str | None
    url: str | None
    #: The error it ended with, or None if there was a response.
    error: Exception | None
    #: The status of the response, or None.
    status: int | None
    #: Where the response redirected to, or None.
    redirect_location: str | None


class _Response(Protocol):
    """What a policy asks of a response."""

    status: int

    @property
    def headers(self) -> Mapping[str, str]:
        """The header fields."""

    def get_redirect_location(self) -> str | bool | None:
        """Return where to go instead."""


class _Unset:
    """The default of an option that is told apart from None."""

    def __repr__(self) -> str:
        return "unset"


_UNSET: Final = _Unset()

_COUNTERS: Final = ("total", "connect", "read", "redirect", "status", "other")
_FIELDS: Final = (
    *_COUNTERS,
    "allowed_methods",
    "status_forcelist",
    "backoff_factor",
    "backoff_max",
    "raise_on_redirect",
    "raise_on_status",
    "history",
    "respect_retry_after_header",
    "remove_headers_on_redirect",
    "backoff_jitter",
    "retry_after_max",
)


def _check_number(name: str, value: Any) -> None:
    if type(value) is int:
        return  # nearly always
    if not isinstance(value, float):
        # Fractions and the numbers of other packages will do; text will not.
        if isinstance(value, (str, bytes, bytearray)) or not hasattr(value, "__float__"):
            raise TypeError(f"{name} must be a number, not {type(value).__name__}: {value!r}")
    if value != value:
        raise ValueError(f"{name} must be a number, not NaN")


def _check_collection(name: str, value: Any, example: str) -> None:
    if isinstance(value, (str, bytes)) or not hasattr(value, "__contains__"):
        raise TypeError(
            f"{name} must be a collection such as {example}, not {type(value).__name__}: {value!r}"
        )


def _header_name(name: Any) -> str:
    return to_str(name, "latin-1").lower()


def _one_less(count: Any) -> Any:
    return None if count is None else count - 1


class Retry:
    """How often a request is tried again, and when.

    Each counter is the number of further attempts allowed for one kind of failure.  None means no
    limit of that kind, 0 that the first failure of that kind is final, a negative number that the
    policy is exhausted already.

    :param total: all kinds together; it wins over the others.  False: no retries, no redirects,
        and errors are raised as they are instead of as :exc:`~urllib4.exceptions.MaxRetryError`.
    :param connect: connections that could not be made (nothing was sent).  False: raise the error.
    :param read: errors after the request was sent.  False: raise the error.
    :param redirect: redirects to follow.  False: hand out the redirect as the response.
    :param status: responses whose status says to try again.
    :param other: any other error.
    :param allowed_methods: upper-case methods that may be repeated after they were sent; None for
        any method.  An empty collection is taken for None too (deprecated).
    :param status_forcelist: statuses to try again.
    :param backoff_factor: seconds; before the n-th retry in a row, from the second on, there is
        a pause of ``backoff_factor * 2 ** (n - 1)``.
    :param backoff_max: the longest of these pauses, in seconds.
    :param raise_on_redirect: raise when redirects run out, instead of returning the last one.
    :param raise_on_status: the same for `status_forcelist`.
    :param history: the attempts so far.
    :param respect_retry_after_header: wait as long as the server asks for, and try again after
        413, 429 and 503 with that header.
    :param remove_headers_on_redirect: names of headers that never follow to another origin.
    :param backoff_jitter: seconds; up to this much is added to a pause, at random.
    :param retry_after_max: seconds; the longest pause that a server can ask for.
    :param allow_downgrade: False refuses redirects from https to http.  Not part of urllib3.
    :param method_whitelist: the old name of `allowed_methods` (deprecated).
    :raises TypeError: an option is of a type that cannot work.
    :raises ValueError: a number is NaN.

    A policy does not change: :meth:`increment` returns a new one, so one object can serve all
    requests of all threads.  Equal options make equal objects, so pools of equal policies are
    shared.  Subclasses should pass unknown keywords of their constructor on, since :meth:`new`
    calls it with all options.
    """

    #: Methods which are repeated by default (idempotent ones; RFC 9110, 9.2.2).
    DEFAULT_ALLOWED_METHODS: ClassVar[frozenset[str]] = frozenset(
        ("HEAD", "GET", "PUT", "DELETE", "OPTIONS", "TRACE")
    )
    #: Statuses that are tried again if they come with ``Retry-After``.
    RETRY_AFTER_STATUS_CODES: ClassVar[frozenset[int]] = frozenset((413, 429, 503))
    #: Headers that never follow a redirect to another origin.
    DEFAULT_REMOVE_HEADERS_ON_REDIRECT: ClassVar[frozenset[str]] = frozenset(
        ("Cookie", "Authorization", "Proxy-Authorization")
    )
    #: Seconds; the default of ``backoff_max``.
    DEFAULT_BACKOFF_MAX: ClassVar[float] = 120
    #: Seconds; the default of ``retry_after_max``.
    DEFAULT_RETRY_AFTER_MAX: ClassVar[int] = 21600
    #: The policy of requests that name none.
    DEFAULT: ClassVar[Retry]

    # Objects of other classes are adapted to this one without running its constructor.
    allow_downgrade: bool = True

    def __init__(
        self,
        total: bool | int | None = 10,
        connect: int | None = None,
        read: int | None = None,
        redirect: bool | int | None = None,
        status: int | None = None,
        other: int | None = None,
        allowed_methods: Collection[str] | None = DEFAULT_ALLOWED_METHODS,
        status_forcelist: Collection[int] | None = None,
        backoff_factor: float = 0,
        backoff_max: float = DEFAULT_BACKOFF_MAX,
        raise_on_redirect: bool = True,
        raise_on_status: bool = True,
        history: tuple[RequestHistory, ...] | None = None,
        respect_retry_after_header: bool = True,
        remove_headers_on_redirect: Collection[str] = DEFAULT_REMOVE_HEADERS_ON_REDIRECT,
        backoff_jitter: float = 0.0,
        retry_after_max: int = DEFAULT_RETRY_AFTER_MAX,
        *,
        allow_downgrade: bool = True,
        method_whitelist: Collection[str] | _Unset | None = _UNSET,
    ) -> None:
        if not isinstance(method_whitelist, _Unset):
            warnings.warn(
                "Retry(method_whitelist=...) is deprecated and will be removed in urllib4 5.0. "
                "Use Retry(allowed_methods=...) instead.",
                FutureWarning,
                stacklevel=2,
            )
            allowed_methods = method_whitelist
        # Policies made from others have a history, if an empty one: their maker was warned.
        if history is None and _is_empty(allowed_methods):
            warnings.warn(
                "Retry(allowed_methods=...) with an empty collection allows every method, and "
                "will allow none in urllib4 5.0. Use Retry(allowed_methods=None) instead.",
                FutureWarning,
                stacklevel=2,
            )
        if total is False or redirect is False:
            redirect = 0
            raise_on_redirect = False

        # Long, but flat: each argument is checked, and becomes the attribute of its name.
        self.total = total
        self.connect = connect
        self.read = read
        self.redirect = redirect
        self.status = status
        self.other = other
        self.allowed_methods = allowed_methods
        self.status_forcelist: Collection[int] = status_forcelist or set()
        self.backoff_factor = backoff_factor
        self.backoff_max = backoff_max
        self.raise_on_redirect = raise_on_redirect
        self.raise_on_status = raise_on_status
        self.history: tuple[RequestHistory, ...] = tuple(history or ())
        self.respect_retry_after_header = respect_retry_after_header
        self.backoff_jitter = backoff_jitter
        self.retry_after_max = retry_after_max
        self.allow_downgrade = allow_downgrade
        self._check(remove_headers_on_redirect)
        self.remove_headers_on_redirect: frozenset[str] = frozenset(
            _header_name(name) for name in remove_headers_on_redirect
        )

    def _check(self, remove_headers: Any) -> None:
        for name in _COUNTERS:
            if getattr(self, name) is not None:
                _check_number(name, getattr(self, name))
        for name in ("backoff_factor", "backoff_max", "backoff_jitter", "retry_after_max"):
            _check_number(name, getattr(self, name))
        if self.allowed_methods and not hasattr(self.allowed_methods, "__contains__"):
            _check_collection("allowed_methods", self.allowed_methods, '["GET", "POST"]')
        _check_collection("status_forcelist", self.status_forcelist, "[500, 503]")
        # A str would be taken for the names of its letters, and the secrets would follow.
        _check_collection("remove_headers_on_redirect", remove_headers, '["Cookie"]')

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(total={self.total}, connect={self.connect}, "
            f"read={self.read}, redirect={self.redirect}, status={self.status})"
        )

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        if self is other:
            return True
        # What a subclass keeps in slots cannot be seen here, so its objects equal themselves only.
        slotted = any(vars(cls).get("__slots__") for cls in type(self).__mro__)
        return not slotted and vars(self) == vars(other)

    def __hash__(self) -> int:
        # Less than __eq__ looks at: some options, and what subclasses add, may be unhashable.
        numbers = tuple(getattr(self, name) for name in _COUNTERS)
        return hash((type(self), numbers, self.backoff_factor, len(self.history)))

    def new(self: _R, **kw: Any) -> _R:
        """Return a policy of the same class with some options changed.

        :param kw: options of the constructor.
        :raises TypeError: an option does not exist.
        """
        options = {name: getattr(self, name) for name in _FIELDS}
        if not self.allow_downgrade:
            # Not always: subclasses made for urllib3 may list all the keywords they take.
            options["allow_downgrade"] = False
        options.update(kw)
        return type(self)(**options)

    @classmethod
    def from_int(
        cls,
        retries: Retry | bool | int | None,
        redirect: bool | int | None = True,
        default: Retry | bool | int | None = None,
    ) -> Retry:
        """Return the policy that a ``retries=`` option stands for.

        :param retries: a policy; a number for ``total``; False for none; None for `default`.
            A ``Retry`` of another copy of this library or of urllib3 becomes one of ours with
            the same options.  A subclass of such a class keeps its methods, but understands our
            errors and raises ours.
        :param redirect: False to follow no redirects (ignored where `retries` is a policy).
        :param default: a policy or number, for None; :attr:`DEFAULT` if it is None too.
        :raises TypeError: `retries` is something else.
        """
        if retries is None:
            retries = default if default is not None else cls.DEFAULT
        if isinstance(retries, Retry):
            return retries
        if all(hasattr(type(retries), name) for name in ("increment", "is_retry", "new")):
            return _from_foreign(retries)
        if not isinstance(retries, (int, float)):
            raise TypeError(
                "retries must be a Retry, an int, a bool or None, "
                f"not {type(retries).__name__}: {retries!r}"
            )
        policy = cls(retries, redirect=None if redirect else False)
        log.debug("Converted retries value: %r -> %r", retries, policy)
        return policy

    def get_backoff_time(self) -> float:
        """Return the pause before the next attempt, in seconds.

        It grows with the number of failures in a row; redirects do not count, and there is none
        after the first failure.
        """
        failures = len(
            list(takewhile(lambda entry: entry.redirect_location is None, reversed(self.history)))
        )
        if failures <= 1:
            return 0
        try:
            pause = math.ldexp(self.backoff_factor, failures - 1)
        except OverflowError:
            pause = math.copysign(math.inf, self.backoff_factor)
        if self.backoff_jitter != 0.0:
            pause += random.random() * self.backoff_jitter
        return float(max(0, min(self.backoff_max, pause)))

    def parse_retry_after(self, retry_after: str) -> float:
        """Return the seconds to wait that a ``Retry-After`` value asks for.

        :param retry_after: a number of seconds or a date (RFC 9110, 10.2.3).
        :returns: 0 for a date that has passed, :attr:`retry_after_max` at most.
        :raises InvalidHeader: it is neither.
        """
        digits = _DIGITS.fullmatch(retry_after)
        if digits:
            # int() refuses numbers of thousands of digits, with an error of another kind.
            seconds: float = int(digits[1]) if len(digits[1]) <= _LONGEST_RETRY_AFTER else math.inf
        else:
            seconds = _seconds_until(retry_after)
        return min(max(0, seconds), self.retry_after_max)

    def get_retry_after(self, response: _Response) -> float | None:
        """Return the seconds that `response` asks to wait for, or None if it does not say.

        :raises InvalidHeader: it says so in a way that cannot be understood.
        """
        retry_after = response.headers.get("Retry-After")
        return None if retry_after is None else self.parse_retry_after(retry_after)

    def _usable_retry_after(self, response: _Response) -> float | None:
        """Return what :meth:`get_retry_after` does, or None where that makes no sense."""
        try:
            return self.get_retry_after(response)
        except InvalidHeader as error:
            # A server's garbage must not turn a response that could be retried into an error.
            log.debug("%s; using the backoff time instead", error)
            return None

    def sleep_time(self, response: _Response | None = None) -> float:
        """Return how long :meth:`sleep` would sleep, in seconds.

        With random jitter, each call may give another answer.
        """
        if self.respect_retry_after_header and response is not None:
            retry_after = self._usable_retry_after(response)
            if retry_after:
                return retry_after
        return max(0.0, self.get_backoff_time())

    def sleep_for_retry(self, response: _Response) -> bool:
        """Sleep as long as `response` asks for; return False if it does not ask."""
        retry_after = self._usable_retry_after(response)
        if not retry_after:
            return False
        time.sleep(min(retry_after, _LONGEST_SLEEP))
        return True

    def _sleep_backoff(self) -> None:
        backoff = self.get_backoff_time()
        if backoff > 0:
            time.sleep(min(backoff, _LONGEST_SLEEP))

    def sleep(self, response: _Response | None = None) -> None:
        """Sleep before the next attempt.

        As long as the ``Retry-After`` header of `response` asks for, if that is respected and
        makes sense; otherwise for the backoff time.
        """
        if self.respect_retry_after_header and response is not None:
            if self.sleep_for_retry(response):
                return
        self._sleep_backoff()

    def _is_connection_error(self, err: Exception) -> bool:
        """Tell whether the server cannot have seen the request."""
        if isinstance(err, ProxyError):
            err = err.original_error
        return isinstance(err, ConnectTimeoutError)

    def _is_read_error(self, err: Exception) -> bool:
        """Tell whether the server may have seen, and acted on, the request."""
        return isinstance(err, (ReadTimeoutError, ProtocolError))

    def _is_method_retryable(self, method: str) -> bool:
        """Tell whether this method may be sent again; its case does not matter."""
        if not self.allowed_methods:
            return True
        # Without a method (None) nobody can say that it may be repeated.
        return bool(method) and method.upper() in self.allowed_methods

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
        """Tell whether a response should be followed by another attempt.

        :param method: the request's method.
        :param status_code: the response's status.
        :param has_retry_after: whether the response has a ``Retry-After`` header.
        """
        if not self._is_method_retryable(method):
            return False
        if self.status_forcelist and status_code in self.status_forcelist:
            return True
        return bool(
            (self.total is None or self.total)
            and self.respect_retry_after_header
            and has_retry_after
            and status_code in self.RETRY_AFTER_STATUS_CODES
        )

    def is_exhausted(self) -> bool:
        """Tell whether one of the counters has gone below zero."""
        counts = (getattr(self, name) for name in _COUNTERS)
        return any(count < 0 for count in counts if count)

    def _kind_of_error(self, error: Exception, method: str | None) -> str | None:
        """Return the counter that `error` uses up, or None if it must not be retried at all."""
        if self.total is False:
            return None
        if isinstance(error, (DeadlineExceededError, RequestCancelledError)):
            return None  # no time is left, or nobody wants the response any more
        if self._is_connection_error(error):
            return None if self.connect is False else "connect"
        if self._is_read_error(error):
            repeatable = method is not None and self._is_method_retryable(method)
            return "read" if repeatable and self.read is not False else None
        return "other"

    def increment(
        self: _R,
        method: str | None = None,
        url: str | None = None,
        response: _Response | None = None,
        error: Exception | None = None,
        _pool: Any = None,
        _stacktrace: TracebackType | None = None,
    ) -> _R:
        """Return the policy that is left after one more failure or redirect.

        :param method: the request's method.
        :param url: the request's URL or target.
        :param response: the response, if there was one.
        :param error: the error, if there was none.
        :param _pool: the pool, for the error message.
        :param _stacktrace: traceback for an error that is raised as it is.
        :raises MaxRetryError: no further attempt is allowed.
        :raises Exception: `error`, where it must not be retried.
        """
        kind: str | None = None
        status: int | None = None
        location: str | None = None
        cause = ResponseError.GENERIC_ERROR
        if error is not None:
            kind = self._kind_of_error(error, method)
            if kind is None:
                reraise(type(error), error, _stacktrace)
        elif response is not None:
            status = response.status or None
            location = cast("str | None", response.get_redirect_location() or None)
            if location is not None:
                kind, cause = "redirect", "too many redirects"
            elif status is not None:
                kind, cause = "status", ResponseError.SPECIFIC_ERROR.format(status_code=status)

        counters = {
            name: _one_less(count) if name in ("total", kind) else count
            for name, count in ((name, getattr(self, name)) for name in _COUNTERS)
        }
        entry = RequestHistory(method, url, error, status, location)
        following = self.new(**counters, history=(*self.history, entry))
        if following.is_exhausted():
            reason = ResponseError(cause) if error is None else error
            raise MaxRetryError(_pool, url, reason) from reason
        log.debug("Incremented Retry for (url='%s'): %r", _without_userinfo(url), following)
        return following


def _is_empty(methods: object) -> bool:
    # False is an older way to say None.
    return methods is not None and methods is not False and not methods


def _seconds_until(date: str) -> float:
    """Return the seconds from now to a date, negative if it has passed."""
    if len(date) <= _LONGEST_RETRY_AFTER:
        try:
            parsed = email.utils.parsedate_tz(date)
            if parsed is not None:
                return email.utils.mktime_tz(parsed) - time.time()
        except (ValueError, OverflowError, IndexError, TypeError):
            pass  # the parser's ways to fail at odd input, such as the year 99999
    raise InvalidHeader(f"Invalid Retry-After header: {date[:_LONGEST_RETRY_AFTER]}")


def _from_foreign(policy: Any) -> Retry:
    """Return a policy that does what one of another package does (see ``Retry.from_int``)."""
    cls = type(policy)
    if cls.__name__ != "Retry" or not cls.__module__.endswith("util.retry"):
        return _adapt(policy)
    options = {name: getattr(policy, name) for name in _FIELDS if hasattr(policy, name)}
    options["history"] = tuple(RequestHistory(*entry) for entry in policy.history)
    return Retry(**options, allow_downgrade=getattr(policy, "allow_downgrade", True))


def _adapt(policy: Any) -> Retry:
    """Return a copy of a policy with methods of its own that lives with our errors."""
    cls: Any = type(policy)
    try:
        adapted = copy.copy(policy)
        adapted.__class__ = _adapted_class(cls)
    except TypeError as error:
        raise TypeError(f"retries cannot be a {cls.__name__} ({error})") from error
    return cast(Retry, adapted)


# Cached, as policies of the same class must stay of the same class to be equal.
@functools.lru_cache(maxsize=64)
def _adapted_class(cls: Any) -> type:
    return type(cls.__name__, (_OurErrors, cls, Retry), {"__module__": cls.__module__})


class _OurErrors:
    """Put in front of a foreign policy class: its methods see errors of both packages.

    ``Retry`` comes behind that class, for what it has not: ``super()`` finds the foreign methods
    first.
    """

    def _is_connection_error(self, err: Exception) -> bool:
        known = Retry._is_connection_error(cast(Retry, self), err)
        return known or super()._is_connection_error(err)  # type: ignore[misc]

    def _is_read_error(self, err: Exception) -> bool:
        known = Retry._is_read_error(cast(Retry, self), err)
        return known or super()._is_read_error(err)  # type: ignore[misc]

    def get_retry_after(self, response: _Response) -> float | None:
        try:
            return cast("float | None", super().get_retry_after(response))  # type: ignore[misc]
        except Exception as error:
            if type(error).__name__ != InvalidHeader.__name__:
                raise
            return None

    def increment(self, *args: Any, **kw: Any) -> Retry:
        error = kw.get("error", args[3] if len(args) > 3 else None)
        if isinstance(error, (DeadlineExceededError, RequestCancelledError)):
            raise error
        try:
            following = super().increment(*args, **kw)  # type: ignore[misc]
        except HTTPError:
            raise
        except Exception as failure:
            if type(failure).__name__ != MaxRetryError.__name__:
                raise
            foreign: Any = failure
            raise MaxRetryError(foreign.pool, foreign.url, foreign.reason) from foreign.reason
        # Its new() may name its class instead of asking for it.
        return following if isinstance(following, Retry) else _adapt(following)


Retry.DEFAULT = Retry(3)
