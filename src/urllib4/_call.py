"""The call: all that one ``urlopen`` carries from the pool down to the socket.

One object per call, not per attempt: a retry changes the call and sends it again.  What is
bounded or watched (deadline, later cancel and events) is therefore known everywhere, and
costs nothing when unused.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from . import exceptions
from ._cancel import CancelToken
from ._deadline import Deadline
from ._http1.request import RequestPlan, lower_name
from ._limits import Limits
from ._progress import ProgressCallback
from ._route import DIRECT
from .exceptions import HTTPError, RequestCancelledError
from .util.retry import Retry
from .util.timeout import _DEFAULT_TIMEOUT, _seconds

#: The first phase of an attempt.
WAITING = "waiting for a connection"
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Bounds(NamedTuple):
    """What may end a call from outside: time, or somebody."""

    deadline: Deadline | None
    cancel: CancelToken | None

    def interruption(self, error: BaseException, phase: str) -> HTTPError | None:
        """Return what `error` really is if time or somebody caused it, else None."""
        if self.cancel is not None and self.cancel.cancelled:
            return RequestCancelledError(phase)
        if self.deadline is not None and self.deadline.expired and is_timeout(error):
            return self.deadline.error(phase)
        return None


class Call:
    """One ``urlopen``: the request as it is to be sent next, and what bounds it.

    Belongs to the thread that calls ``urlopen``.

    :ivar target: what stands in the request line.
    :ivar url: the URL as the caller gave it, for errors and redirects.
    :ivar plan: the request's header fields and framing, checked.
    :ivar deadline: bound on the whole call; None when there is none.
    :ivar expect_continue: seconds to wait for 100 Continue before the body is sent anyway; None:
        do not ask.
    :ivar on_upload, on_download: told how far the bodies have come; None: nobody wants to know.
    :ivar route: the way to the target.
    :ivar limits: how large an answer may be.
    :ivar idempotent: the request may be sent twice, whatever its method; None: as the method says.
    :ivar extras: keywords of ``urlopen`` that urllib3 does not have, as they were given.
    :ivar response_kw: further keywords for the response.
    :ivar is_answered: the answer is here, whole, and no policy has to be asked what follows.
    :ivar is_plain: nobody overrides or replaced what the pool asks on the way (``_HOOKS`` there).
    :ivar challenges: those of a proxy that were answered for this call; None until the first.
    :ivar fixed: the limits of `timeout` on connecting and reading if they are all it has; there
        is no deadline then.
    :ivar is_unbounded: nothing ends the attempt but these two limits.
    :ivar attempt_deadline: bound on the running attempt (``Timeout.total`` and the
        deadline, whichever ends first); None when there is neither.
    """

    # In slots, and all set: on Python 3.11 a default in the class takes ten times as long to read
    # (benchmark ``small``).
    __slots__ = (
        "attempt_deadline", "body", "body_pos", "cancel", "challenges", "chunked", "deadline",
        "decode_content", "expect_continue", "extras", "fixed", "headers", "idempotent",
        "is_answered", "is_plain", "is_unbounded", "limits", "method", "on_download",
        "on_upload", "phase", "plan", "pool_timeout", "preload_content", "redirect",
        "response_kw", "retries", "route", "target", "timeout", "url",
    )  # fmt: skip

    def __init__(self, method: str, url: str, target: str) -> None:
        self.method = method
        self.url = url
        self.target = target
        self.body: Any = None
        self.headers: Mapping[str, str] | None = None
        self.body_pos: Any = None
        self.chunked = False
        self.retries: Any = None
        self.redirect = True
        self.timeout: Any = None
        self.fixed: tuple[float | None, float | None] | None = None
        self.is_unbounded = False
        self.pool_timeout: float | None = None
        self.deadline: Deadline | None = None
        self.cancel: CancelToken | None = None
        self.expect_continue: float | None = None
        self.idempotent: bool | None = None
        self.limits: Limits | None = None
        self.on_upload: ProgressCallback | None = None
        self.on_download: ProgressCallback | None = None
        self.route = DIRECT
        self.extras: Mapping[str, Any] = _NOTHING
        self.preload_content = True
        self.decode_content = True
        self.response_kw: Mapping[str, Any] = _NOTHING
        self.is_plain = False
        self.is_answered = False
        self.attempt_deadline: Deadline | None = None
        self.plan: RequestPlan | None = None
        self.phase = WAITING
        self.challenges: list[str] | None = None

    def plan_for(
        self, method: str, headers: Mapping[str, str] | None, body: Any, chunked: bool
    ) -> RequestPlan | None:
        """Return the plan if it is the one for these very arguments."""
        if (
            headers is self.headers
            and body is self.body
            and chunked is self.chunked
            and method == self.method
        ):
            return self.plan
        return None

    @property
    def bounds(self) -> Bounds | None:
        """What may end the call from outside; None where nothing may."""
        if self.deadline is None and self.cancel is None:
            return None
        return Bounds(self.deadline, self.cancel)


#: Methods that have the effect of one request if they are sent twice (RFC 9110, 9.2.2).
IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})


def may_repeat(call: Call) -> bool:
    """Tell whether sending the request twice has the effect of sending it once.

    The caller knows best.  A server that is given an Idempotency-Key takes care of it.
    """
    if call.idempotent is not None:
        return call.idempotent
    if call.method in IDEMPOTENT_METHODS:
        return True
    names = call.headers or ()
    return any(lower_name(name) == "idempotency-key" for name in names)


class _UsedUp:
    """Marks a body that can be sent only once, and was."""

    def __repr__(self) -> str:
        return "<body used up>"


#: Stands for the position of a body that was used up and cannot go back.
USED_UP = _UsedUp()


#: How long ``expect_continue=True`` waits, seconds (curl: 1).
EXPECT_CONTINUE_SECONDS = 1.0


def continue_seconds(expect_continue: bool | float | None) -> float | None:
    """Return how long to wait for 100 Continue; None if it is not to be asked for.

    :raises ValueError: neither a bool nor a number of seconds above 0.
    """
    if expect_continue is None or isinstance(expect_continue, bool):
        return EXPECT_CONTINUE_SECONDS if expect_continue else None
    if not isinstance(expect_continue, (int, float)) or not 0 < expect_continue < 1e6:
        raise ValueError(
            f"expect_continue is a bool or a number of seconds above 0, not {expect_continue!r}"
        )
    return float(expect_continue)


def mark_used(body: Any, body_pos: Any) -> Any:
    """Return the position to rewind to, or the mark that there is none."""
    if body is None or isinstance(body, (bytes, str)) or isinstance(body_pos, int):
        return body_pos
    if hasattr(body, "read"):
        return USED_UP if body_pos is None else body_pos
    return USED_UP if hasattr(body, "__next__") else body_pos


def running_deadline(timeout: Any) -> Deadline | None:
    """Return the deadline of a call: one that is running already, or one from now on.

    A call that passes through several ``urlopen`` (redirects of a manager, tracers) carries the
    running one along on its timeout.
    """
    running: Deadline | None = getattr(timeout, "_running_deadline", None)
    if running is not None:
        return running
    seconds = timeout.deadline
    return None if seconds is None else Deadline(_seconds(seconds))


def start_attempt(call: Call) -> None:
    """Bound the attempt that starts now by ``Timeout.total`` and the deadline.

    :raises DeadlineExceededError: there is no time left for it.
    :raises RequestCancelledError: the call's token was used.
    """
    call.phase = WAITING
    if call.cancel is not None:
        call.cancel.check(call.phase)
    total = call.timeout.total
    bound = call.deadline
    if bound is not None:
        bound.check(call.phase)
    if total is not None and total is not _DEFAULT_TIMEOUT:
        attempt = Deadline(_seconds(total))
        if bound is None or attempt.at < bound.at:
            bound = attempt
    call.attempt_deadline = bound


def bounded(call: Call | None, seconds: Any) -> Any:
    """Return `seconds`, or what is left of the attempt if that is less."""
    if call is None or call.attempt_deadline is None:
        return seconds
    left = call.attempt_deadline.left()
    return left if not isinstance(seconds, (int, float)) else min(seconds, left)


def bounded_wait(call: Call) -> float | None:
    """Return how long to wait for a connection."""
    if call.deadline is None:
        return call.pool_timeout
    left = call.deadline.left()
    return left if call.pool_timeout is None else min(left, call.pool_timeout)


def pause(call: Call, retries: Any, response: Any, *, redirect: bool = False) -> None:
    """Sleep before the next attempt as the policy says.

    :raises DeadlineExceededError: the sleep would last beyond the deadline; at once, instead of
        after a sleep in vain.
    :raises RequestCancelledError: the call's token was used.
    """
    if call.deadline is None and call.cancel is None:
        _sleep(retries, response, redirect)
        return
    call.phase = "sleeping before a retry"
    wanted = _sleep_time(retries, response, redirect)
    if call.deadline is not None and wanted >= call.deadline.left():
        raise call.deadline.error(call.phase)
    if call.cancel is None or _overrides_sleep(retries):
        _sleep(retries, response, redirect)
    else:
        call.cancel.wait(wanted)
    if call.cancel is not None:
        call.cancel.check(call.phase)


def _sleep(retries: Any, response: Any, redirect: bool) -> None:
    if redirect:
        retries.sleep_for_retry(response)
    elif response is None:
        retries.sleep()
    else:
        retries.sleep(response)


def _sleep_time(retries: Any, response: Any, redirect: bool) -> float:
    if redirect and not response.headers.get("retry-after"):
        return 0.0
    sleep_time = getattr(retries, "sleep_time", None)
    seconds: float = retries.get_backoff_time() if sleep_time is None else sleep_time(response)
    return seconds


def _overrides_sleep(retries: Any) -> bool:
    cls = type(retries)
    return any(
        getattr(cls, name, None) is not getattr(Retry, name)
        for name in ("sleep", "sleep_for_retry", "_sleep_backoff")
    )


def is_timeout(error: BaseException) -> bool:
    """Tell whether `error` says that a wait took too long, also one for a proxy."""
    if isinstance(error, exceptions.ProxyError):
        error = error.original_error
    return isinstance(error, (TimeoutError, exceptions.TimeoutError))
