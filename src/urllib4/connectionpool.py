"""Pools: connections to one host, and the life of a request on them.

A request is a short loop: take a connection, send, receive, decide what follows, give the
connection back.  The decisions are in ``_follow_up``, the connections that wait in ``_idle``.
"""

from __future__ import annotations

import errno
import functools
import logging
import sys
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from types import MethodType
from typing import Any, Literal

from ._base_connection import ProxyConfig
from ._call import (
    USED_UP,
    WAITING,
    Call,
    bounded,
    bounded_wait,
    continue_seconds,
    is_timeout,
    mark_used,
    may_repeat,
    pause,
    running_deadline,
    start_attempt,
)
from ._caller import warn_caller
from ._cancel import CancelToken
from ._collections import HTTPHeaderDict
from ._deadline import Deadline
from ._follow_up import (
    FOLLOWED_BY_CALLER,
    RETURN,
    Step,
    after_response,
    as_retry,
    is_surely_last,
    may_follow,
    redirected,
)
from ._http1.request import request_plan
from ._idle import Lease
from ._limits import LIMIT_KEYWORDS, Limits, take_limits
from ._pool import ConnectionPool as ConnectionPool
from ._pool import KeepingPool
from ._progress import CallbackFailed, ProgressCallback, guarded
from ._request_methods import RequestMethods
from ._reuse import (
    ALIASES,
    DEFAULT_POLICY,
    REUSE_KEYWORDS,
    ReusePolicy,
    discard,
    take_policy,
    use_main_names,
)
from ._reuse import PoolStats as PoolStats
from ._route import DIRECT, PROXY_AUTHORIZATION, Route
from .connection import (
    DIALING_KEYWORDS,
    UNIX_SCHEMES,
    BaseSSLError,
    BrokenPipeError,
    DummyConnection,
    HTTPSConnection,
    check_dialing,
    check_pinning,
    port_by_scheme,
)
from .connection import HTTPConnection as HTTPConnection
from .exceptions import (
    AddressBlockedError,
    DeadlineExceededError,
    EmptyPoolError,
    HeadTooLargeError,
    HostChangedError,
    InsecureRequestWarning,
    InvalidTargetError,
    MaxRetryError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    RequestCancelledError,
    ResponseTooLargeError,
    SecurityWarning,
    SSLError,
    TimeoutError,
    UnrewindableBodyError,
    _without_userinfo,
)
from .exceptions import ClosedPoolError as ClosedPoolError
from .exceptions import FullPoolError as FullPoolError
from .exceptions import LocationValueError as LocationValueError
from .exceptions import NewConnectionError as NewConnectionError
from .response import BaseHTTPResponse, HTTPResponse
from .util._tls_sessions import TLSSessionCache, checked_session_cache
from .util.connection import is_connection_dropped
from .util.request import set_file_position
from .util.retry import Retry
from .util.ssl_match_hostname import CertificateError
from .util.timeout import _DEFAULT_TIMEOUT, Timeout, coerce_timeout
from .util.url import Url, _encode_target, parse_url

__all__ = ["ConnectionPool", "HTTPConnectionPool", "HTTPSConnectionPool", "connection_from_url"]

log: logging.Logger = logging.getLogger(__name__)


# Never retried: no time is left, somebody asked for the end, or it would end the same way.
_FINAL_ERRORS = (
    DeadlineExceededError,
    RequestCancelledError,
    ResponseTooLargeError,
    HeadTooLargeError,
    InvalidTargetError,
    AddressBlockedError,
)
# Statuses after which the same request may be sent again with other fields.
_ASKED_OTHERWISE = (407, 417)
_PHASES_BEFORE_SENDING = ("waiting for a connection", "connecting")

# Recent targets as they are sent, and up to which length in characters (benchmark ``small``).
_known_target = functools.lru_cache(maxsize=256)(_encode_target)
_LONGEST_KNOWN_TARGET = 1024

# The keywords that a pool looks at itself, instead of handing them to its connections only.
_POOL_KEYWORDS = frozenset(
    ("strict", *ALIASES, *REUSE_KEYWORDS, *LIMIT_KEYWORDS, *DIALING_KEYWORDS)
)

#: Seconds after which a call that waits for a connection looks at its cancel token.
CANCEL_SLICE = 0.02


class HTTPConnectionPool(KeepingPool, RequestMethods):
    """Connections to one host and port, reused by many requests and threads.

    :param host: name or address of the host.
    :param port: default: that of the scheme.
    :param timeout: a :class:`Timeout` or seconds, for requests that are given none.
    :param maxsize: connections that are kept for reuse; as many as threads use the pool is
        best.  0 keeps none.  ``max_persistent_per_host`` is another name.
    :param block: never open more than `maxsize` connections; wait for one instead.
    :param headers: sent with every request that is given no headers of its own.
    :param retries: a :class:`Retry` or a number, for requests that are given none.
    :param conn_kw: further arguments of the connection class, and ``max_response_size`` (bytes of
        a body as it is sent), ``max_decoded_size`` (bytes of the content) and ``max_expansion``
        (how many times larger the content may be), by default without bounds: a response beyond
        them is a :exc:`ResponseTooLargeError`.  Also how connections are used again (see
        :doc:`/connections`): ``idle_timeout`` (or ``cached_connection_timeout``; seconds that an
        unused one is kept, 240; None: for ever), ``max_lifetime`` (seconds, None), ``max_requests``
        (None), ``obey_keep_alive`` (True), ``persistent`` (True) and ``retry_stale`` (or
        ``retry_automatically``; True).
    :raises LocationValueError: no host.
    :raises ValueError: a bad `timeout`, a `maxsize` that is no number of connections, or one of
        the others that makes no sense.
    :raises TypeError, ValueError: an option of connections about opening sockets is wrong.

    Safe to share between threads.

    :ivar pool: the :class:`queue.LifoQueue` of free slots, None after :meth:`close`.
    :ivar num_connections: connections made so far.
    :ivar num_requests: requests sent so far, retries included.
    :ivar reuse: how connections are used again, as the keywords said it.
    """

    num_requests: int
    ConnectionCls: Any = HTTPConnection
    scheme: str | None = "http"

    def __init__(
        self,
        host: str,
        port: int | None = None,
        timeout: Any = _DEFAULT_TIMEOUT,
        maxsize: int = 1,
        block: bool = False,
        headers: Mapping[str, str] | None = None,
        retries: Retry | bool | int | None = None,
        _proxy: Url | None = None,
        _proxy_headers: Mapping[str, str] | None = None,
        _proxy_config: ProxyConfig | None = None,
        **conn_kw: Any,
    ) -> None:
        ConnectionPool.__init__(self, host, port)
        RequestMethods.__init__(self, headers)
        self.reuse: ReusePolicy = DEFAULT_POLICY
        self.limits: Limits | None = None
        if not conn_kw.keys().isdisjoint(_POOL_KEYWORDS):
            maxsize = self._take_options(conn_kw, maxsize, _proxy)
        _check_size(maxsize, block)
        # Asked for each request: an attribute is ten times as fast (benchmark ``small``).
        self._is_persistent, self._retries_stale = self.reuse.persistent, self.reuse.retry_stale
        self._is_tls = self.scheme == "https"
        self.timeout: Any = coerce_timeout(timeout)
        self.retries: Any = Retry.DEFAULT if retries is None else retries
        self.block = block
        self.proxy = _proxy
        self.proxy_headers: Mapping[str, str] = _proxy_headers or {}
        self.proxy_config = _proxy_config
        self.conn_kw = conn_kw
        if self.proxy is not None:
            # Nagle stays on: a proxy gets head and body of a request in few packets anyway.
            self.conn_kw.setdefault("socket_options", [])
            self.conn_kw["proxy"] = self.proxy
            self.conn_kw["proxy_config"] = self.proxy_config
        self._set_up_store(maxsize)

    def _take_options(self, options: dict[str, Any], maxsize: int, proxy: Url | None) -> int:
        """Take what is not for connections out of `options`; return the size."""
        if options.pop("strict", None) is not None:
            warn_caller(
                "The 'strict' parameter has no effect and will be removed in urllib4 5.0.",
                FutureWarning,
            )
        maxsize = _take_size(options, maxsize)
        self.reuse = take_policy(options)
        self.limits = take_limits(options)
        check_dialing(options, proxy=proxy is not None)
        return maxsize

    # -- connections -----------------------------------------------------------------------

    def _reset_if_unusable(self, conn: Any, now: float) -> None:
        """Close an idle connection that was kept for too long, or that the peer closed."""
        life = getattr(conn, "_life", None)
        if life is not None and now >= life.idle_until:
            log.debug("Resetting expired connection (%s): %s", life.expiry, self.host)
            discard(conn, life.expiry)
        elif is_connection_dropped(conn):
            log.debug("Resetting dropped connection: %s", self.host)
            if getattr(conn, "sock", conn) is not None:  # or else it is closed (``newconn``)
                discard(conn, "dropped")

    # -- one request -----------------------------------------------------------------------

    def urlopen(  # type: ignore[override]
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        retries: Retry | bool | int | None = None,
        redirect: bool = True,
        assert_same_host: bool = True,
        timeout: Any = _DEFAULT_TIMEOUT,
        pool_timeout: float | None = None,
        release_conn: bool | None = None,
        chunked: bool = False,
        body_pos: Any = None,
        preload_content: bool = True,
        decode_content: bool = True,
        cancel: CancelToken | None = None,
        expect_continue: bool | float | None = None,
        idempotent: bool | None = None,
        on_upload: ProgressCallback | None = None,
        on_download: ProgressCallback | None = None,
        **response_kw: Any,
    ) -> BaseHTTPResponse:
        """Send a request and return its response; the level below :meth:`request`.

        :param method: a token such as ``"GET"``, sent as given.
        :param url: a target (``/path?query``) or an absolute URL on this host.
        :param body: bytes, str (sent as UTF-8), a file, or an iterable of bytes or str.
        :param headers: instead of the pool's default headers, not in addition.
        :param retries: a :class:`Retry`, a number of retries, or False for none at all, not
            even redirects; default: the pool's.
        :param redirect: follow redirects on this host.
        :param assert_same_host: refuse URLs of other hosts.
        :param timeout: a :class:`Timeout` or seconds, for this request.
        :param pool_timeout: seconds to wait for a connection when the pool blocks.
        :param release_conn: give the connection back before the body was read (it then is kept
            out of use until that is done); default: `preload_content`.
        :param chunked: send the body chunked.
        :param body_pos: where a file body started, when this is a further attempt.
        :param preload_content: read the whole body before returning.
        :param decode_content: undo the Content-Encoding.
        :param cancel: ends the call from another thread.
        :param expect_continue: ask the server with ``Expect: 100-continue`` whether it wants the
            body, and wait that many seconds (True: 1) before it is sent anyway.  A server that
            refuses to be asked (417) gets the request once more without.
        :param idempotent: whether the request may be sent once more when the server turns out to
            have closed a kept connection (see ``retry_stale``).  Default: GET, HEAD, OPTIONS,
            TRACE, PUT and DELETE may be, and what has an ``Idempotency-Key`` header.
        :param on_upload: called after each piece of the body that was sent, with the bytes of the
            body so far (from 0 again at each attempt) and in all, None if that is not known.
        :param on_download: called after each piece of the response's body that was received, with
            its bytes so far, as they are sent (before decoding), and in all, None if the server
            does not say.  Bodies that are thrown away, such as those of redirects, do not count.
            Both are called in the thread that sends or reads.  What they raise ends the call as it
            is, and closes the connection.
        :param response_kw: ``enforce_content_length``, and the limits of the pool for this
            request: ``max_response_size``, ``max_decoded_size``, ``max_expansion``.

        :raises HostChangedError: `url` is on another host.
        :raises MaxRetryError: retries or redirects are used up; ``.reason`` says by what.
        :raises EmptyPoolError, ClosedPoolError: no connection could be taken.
        :raises DeadlineExceededError: the ``deadline`` of the timeout passed.
        :raises RequestCancelledError: `cancel` was used.
        :raises ResponseTooLargeError: the response exceeds a limit.
        :raises UnrewindableBodyError: a further attempt needs a body that was used up.
        :raises HTTPError: any other failure, such as with ``retries=False``.
        :raises ValueError, TypeError: an argument that cannot be sent; nothing was sent.

        Safe to call from many threads.
        """
        # First: what the body has left is what its length says.
        if body is not None or body_pos is not None:
            body_pos = set_file_position(body, body_pos)
        call = self._prepare(
            method, url, body, headers, retries, redirect, assert_same_host, timeout, chunked
        )
        call.pool_timeout = pool_timeout
        if cancel is not None or expect_continue is not None or response_kw:
            self._take_extras(call, cancel, expect_continue, response_kw)
        if idempotent is not None:
            call.idempotent = _checked_switch(idempotent)
            call.extras = {**call.extras, "idempotent": idempotent}
        if on_upload is not None or on_download is not None:
            self._take_callbacks(call, on_upload, on_download)
        call.body_pos = body_pos
        call.preload_content = preload_content
        call.decode_content = decode_content
        call.response_kw = response_kw
        try:
            return self._follow_through(call, assert_same_host, release_conn)
        except CallbackFailed as failure:
            raise failure.error from None

    def _follow_through(
        self, call: Call, assert_same_host: bool, release_conn: bool | None
    ) -> BaseHTTPResponse:
        """Send the call, again if need be, and return the response to the last request."""
        while True:  # not recursion: a thousand retries must not need a thousand frames
            response = self._attempt(call)
            if response is not None:
                if response.status in _ASKED_OTHERWISE and self._ask_otherwise(call, response):
                    continue
                if call.is_answered:
                    return response  # type: ignore[no-any-return]
                step = self._after_response(call, response)
                if step is RETURN:
                    return response  # type: ignore[no-any-return]
                pause(call, step.retries, response, redirect=step.kind == "redirect")
                self._go_on(call, step, response, assert_same_host)
            if self._urlopen_is_hooked():
                return self._urlopen_again(call, assert_same_host, release_conn)
            self._rewind(call)

    def _take_extras(
        self,
        call: Call,
        cancel: CancelToken | None,
        expect_continue: bool | float | None,
        response_kw: dict[str, Any],
    ) -> None:
        """Note what urllib3 does not have; a tracer's override gets only what was given."""
        extras = {name: response_kw[name] for name in LIMIT_KEYWORDS if name in response_kw}
        call.extras = extras
        call.limits = take_limits(response_kw, self.limits)
        if cancel is not None:
            call.cancel = extras["cancel"] = cancel
        if expect_continue is not None:
            extras["expect_continue"] = expect_continue
            call.expect_continue = continue_seconds(expect_continue)
            self._plan(call)

    def _take_callbacks(
        self,
        call: Call,
        on_upload: ProgressCallback | None,
        on_download: ProgressCallback | None,
    ) -> None:
        """Note whom to tell how far the bodies have come.

        :raises TypeError: one cannot be called.
        """
        call.on_upload = guarded("on_upload", on_upload)
        call.on_download = guarded("on_download", on_download)
        given = {"on_upload": on_upload, "on_download": on_download}
        call.extras = {
            **call.extras,
            **{name: callback for name, callback in given.items() if callback is not None},
        }
        self._plan(call)

    def _ask_otherwise(self, call: Call, response: Any) -> bool:
        """Tell whether the same request is sent again with other fields."""
        if response.status == 417:
            return self._refused_to_be_asked(call, response)
        return self._answers_challenge(call, response)

    def _answers_challenge(self, call: Call, response: Any) -> bool:
        """Tell whether the program has an answer for the proxy; the call is sent with it then.

        Only a request that the proxy reads gets its 407 from the proxy.
        """
        auth = self._proxy_auth
        if auth is None or call.route.kind != "forward":
            return False
        plan = call.plan
        if call.body_pos is USED_UP and (plan is None or plan.started):
            return False  # it cannot be sent again: the 407 is the answer
        if call.challenges is None:
            call.challenges = []
        headers = HTTPHeaderDict(call.headers)
        value = auth.answer(
            response.headers,
            call.challenges,
            headers.get(PROXY_AUTHORIZATION),
            call.method,
            call.target,
        )
        if value is None:
            return False
        response.drain_conn()
        headers[PROXY_AUTHORIZATION] = value
        call.headers = headers
        if call.body_pos is USED_UP:
            call.body_pos = None
        else:
            self._rewind(call)
        self._plan(call)
        return True

    def _refused_to_be_asked(self, call: Call, response: Any) -> bool:
        """Tell whether 417 says that the server does not know ``Expect``.

        The call is sent without it then.
        """
        plan = call.plan
        if plan is None or not plan.expects_continue:
            return False
        response.drain_conn()
        call.expect_continue = None
        call.extras = {
            name: value for name, value in call.extras.items() if name != "expect_continue"
        }
        if plan.started:
            self._rewind(call)
        elif call.body_pos is USED_UP:
            call.body_pos = None
        self._plan(call)
        return True

    def _prepare(
        self,
        method: str,
        url: str,
        body: Any,
        headers: Mapping[str, str] | None,
        retries: Any,
        redirect: bool,
        assert_same_host: bool,
        timeout: Any,
        chunked: bool,
    ) -> Call:
        """Check the arguments and return the call; nothing is taken or sent yet."""
        # Long, but flat: each argument finds its place in the call.
        if not isinstance(url, str):
            url = parse_url(url).url  # a Url of ours or of urllib3; a TypeError otherwise
        if url[:1] == "/" and len(url) <= _LONGEST_KNOWN_TARGET:
            target = _known_target(url)
        else:
            target = self._target(url)
        if assert_same_host and not self.is_same_host(url):
            raise HostChangedError(self, url, retries)
        call = Call(method, url, target)
        make: Any = self._make_request
        limit: Any = self._get_timeout
        validate: Any = self._validate_conn
        call.is_plain = (  # see below: _OWN_MAKE_REQUEST
            type(make) is type(limit) is type(validate) is MethodType
            and make.__func__ is _OWN_MAKE_REQUEST
            and limit.__func__ is _OWN_GET_TIMEOUT
            and (validate.__func__ is _OWN_VALIDATE or validate.__func__ is _OWN_TLS_VALIDATE)
        )
        policy = self.retries if retries is None else retries
        call.retries = (
            policy if type(policy) is Retry else as_retry(retries, redirect, self.retries)
        )
        call.redirect = redirect
        if timeout is _DEFAULT_TIMEOUT and call.is_plain:
            timeout = self.timeout
        if call.is_plain and type(timeout) is Timeout:
            call.timeout = timeout
            call.fixed = timeout.fixed_limits()
            if call.fixed is None:
                call.deadline = running_deadline(timeout)
        else:
            self._take_timeout(call, timeout)
        call.limits = self.limits
        call.body = body
        call.chunked = chunked
        if headers is None:
            headers = self.headers
        if self.proxy is not None:
            call.route = self._route_to(url)
        if self.proxy is not None or not self._is_persistent:
            headers = self._request_headers(headers, call.route)
        call.headers = headers
        if body is None and not chunked:
            call.plan = request_plan(method, headers, None)  # `_plan`, where nothing else counts
        else:
            self._plan(call)
        return call

    def _take_timeout(self, call: Call, timeout: Any) -> None:
        """Note the time limits; a copy, if somebody may see and start it."""
        if call.is_plain:
            timeout = coerce_timeout(timeout)
            call.fixed = timeout.fixed_limits()
        else:
            timeout = self._get_timeout(timeout)
        call.timeout = timeout
        if call.fixed is None:
            call.deadline = running_deadline(timeout)

    def _plan(self, call: Call) -> None:
        """Check what is to be sent, so that an error comes before any connection is taken."""
        call.plan = request_plan(
            call.method,
            call.headers,
            call.body,
            chunked=call.chunked,
            blocksize=self.conn_kw.get("blocksize", 16384),
            expect_continue=call.expect_continue is not None,
        )
        if call.on_upload is not None and call.body is not None:  # else others share the plan
            call.plan.on_upload = call.on_upload

    def _request_headers(self, headers: Mapping[str, str], route: Route) -> Mapping[str, str]:
        if not self._is_persistent:
            headers = _with_close(headers)
        if route is DIRECT or not route.proxy_headers_with_requests:
            return headers
        proxy_headers = self._headers_for_proxy()
        if proxy_headers:
            merged = HTTPHeaderDict(headers)
            for name, value in proxy_headers.items():
                merged[name] = value
            return merged
        return headers

    def _headers_for_proxy(self) -> Mapping[str, str]:
        """Return the proxy's own headers, with the credentials it accepted last."""
        auth = self._proxy_auth
        if auth is None or auth.authorization is None:
            return self.proxy_headers
        merged = HTTPHeaderDict(self.proxy_headers)
        merged[PROXY_AUTHORIZATION] = auth.authorization
        return merged

    def _target(self, url: str) -> str:
        """Return what stands in the request line: no fragment, no credentials."""
        if url.startswith("/"):
            return _encode_target(url)
        parsed = parse_url(url)
        if parsed.auth is not None:
            warn_about_credentials()
        return absolute_target(parsed)

    def _get_timeout(self, timeout: Any) -> Timeout:
        """Return a fresh, un-started :class:`Timeout` for one request."""
        if timeout is _DEFAULT_TIMEOUT:
            timeout = self.timeout
        return coerce_timeout(timeout).clone()

    def _attempt(self, call: Call) -> Any:
        """Send the request once; return its response, or None when it is to be sent again.

        :raises HTTPError: it failed and is not to be sent again.
        """
        # Long for its errors: each way out ends the lease, in one place (benchmark ``small``).
        # Before anything is taken: whatever happens then, there is one that gives it back.
        lease = Lease(self, None, call.cancel)
        conn = None
        try:
            if call.fixed is None or call.cancel is not None or self._quota is not None:
                call.timeout = call.timeout.clone()
                start_attempt(call)
                conn = self._take_conn(call, lease)
            else:
                call.is_unbounded = True
                call.phase = WAITING
                conn = lease.take(call.pool_timeout)
            is_own = type(conn) in _OWN_CONNECTIONS
            stream = conn._stream if is_own else getattr(conn, "_stream", None)
            if stream is None or not self._retries_stale:
                response = self._exchange(call, conn)
            else:
                heard = stream.answers + stream.interims
                try:
                    response = self._exchange(call, conn)
                except OSError as error:
                    if stream.answers + stream.interims != heard or stream.buffered:
                        raise
                    if not self._may_resend(call, conn, error):
                        raise
                    self._prepare_resend(call, conn, error)
                    response = None
                if response is None:  # not within the error, which would be part of the next
                    response = self._exchange(call, conn)
            self._hand_over(call, response, conn, lease)
            return response
        except EmptyPoolError:
            lease.end(False)
            if call.deadline is not None:
                call.deadline.check(call.phase)
            raise
        except (
            TimeoutError,
            HTTPException,
            OSError,
            ProtocolError,
            BaseSSLError,
            SSLError,
            CertificateError,
            ProxyError,
        ) as error:
            lease.end(False)
            self._after_error(call, error, conn)
            return None
        except BaseException:
            lease.end(False)
            raise

    def _take_conn(self, call: Call, lease: Lease) -> Any:
        """Wait for a connection as long as the call may wait.

        :raises EmptyPoolError, ClosedPoolError: as :meth:`_get_conn`.
        :raises RequestCancelledError: the call's token was used.
        """
        if self._quota is not None:
            return self._take_within_quota(call, lease, call.cancel, bounded_wait(call))
        if call.cancel is None or not self.block:
            return lease.take(bounded_wait(call))
        # In slices: the wait is in `_get_conn`, which others override.
        end = bounded_wait(call)
        bound = None if end is None else Deadline(end)
        while True:
            left = CANCEL_SLICE if bound is None else min(CANCEL_SLICE, bound.left())
            try:
                return lease.take(left)
            except EmptyPoolError:
                call.cancel.check(call.phase)
                if bound is not None and bound.expired:
                    raise

    def _prepare_resend(self, call: Call, conn: Any, error: OSError) -> None:
        """Let the call be sent on a new connection: the server had closed a kept one.

        That is nobody's fault: a server may close an idle connection while the request is on its
        way (RFC 9112, 9.3.1 and 9.5).  So it does not count as a retry, and happens once.
        """
        log.debug("Resending on a new connection: %s (%r)", _without_userinfo(call.url), error)
        self._ledger.resent()
        discard(conn, "stale")

    def _may_resend(self, call: Call, conn: Any, error: OSError) -> bool:
        """Tell whether a request that was not answered at all may be sent again, unasked.

        :param error: how the kept connection failed.
        """
        bounds = call.bounds
        return not (
            # Somebody else's reader may have taken bytes that we do not know of.
            not getattr(conn, "_reads_by_itself", False)
            or not may_repeat(call)
            or is_timeout(error)  # silence is no sign of a closed connection
            or (bounds is not None and bounds.interruption(error, call.phase) is not None)
            or (call.attempt_deadline is not None and call.attempt_deadline.expired)
            or not self._can_rewind(call)
        )

    def _can_rewind(self, call: Call) -> bool:
        """Make the body ready to be sent again; return False if it was used up."""
        try:
            self._rewind(call)
        except UnrewindableBodyError:
            return False
        return True

    def _exchange(self, call: Call, conn: Any) -> Any:
        """Send the call on `conn` and return the response, its body read if that is wanted."""
        if call.fixed is None:
            connect_timeout = Timeout.resolve_default_timeout(call.timeout.connect_timeout)
            conn.timeout = bounded(call, connect_timeout)
        else:
            conn.timeout = call.fixed[0]
        conn._call = call
        try:
            if call.route is not DIRECT:
                self._use_proxy(call, conn)
            if call.is_plain and not call.response_kw:
                # By position: keywords take half as long again (benchmark ``small``).
                return self._make_request(
                    conn, call.method, call.target, call.body, call.headers, call.retries,
                    call.timeout, call.chunked, conn, call.preload_content, call.decode_content,
                )  # fmt: skip
            return self._make_request(
                conn,
                call.method,
                call.target,
                timeout=call.timeout,
                body=call.body,
                headers=call.headers,
                chunked=call.chunked,
                retries=call.retries,
                response_conn=conn,
                preload_content=call.preload_content,
                decode_content=call.decode_content,
                **call.response_kw,
            )
        finally:
            # Before anybody else can have the connection.
            conn._call = None

    def _use_proxy(self, call: Call, conn: Any) -> None:
        """Open the tunnel, if one is needed; a request to be forwarded needs a target it may have.

        :raises AddressBlockedError: it may not.
        """
        if call.route.kind == "tunnel" and conn.is_closed:
            call.phase = "connecting"
            self._open_tunnel(conn)
        elif call.route.kind == "forward":
            _check_forwarded(conn, call.target)

    def _make_request(  # noqa: PLR0915  # long, but one path: see below
        self,
        conn: Any,
        method: str,
        url: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        retries: Any = None,
        timeout: Any = _DEFAULT_TIMEOUT,
        chunked: bool = False,
        response_conn: Any = None,
        preload_content: bool = True,
        decode_content: bool = True,
        enforce_content_length: bool = True,
    ) -> Any:
        """Send one request on `conn` and return its response.

        Tests and tracers replace this method; it keeps its name, its first three arguments and
        what it returns.

        :raises HTTPError, OSError, http.client.HTTPException: the attempt failed.
        """
        # Long, but one path: a function per step costs a frame per request (benchmark ``small``).
        is_own = type(conn) in _OWN_CONNECTIONS  # then, all attributes are there
        call: Call | None = conn._call if is_own else getattr(conn, "_call", None)
        life = conn._life if is_own else getattr(conn, "_life", None)
        with self._lock:
            self.num_requests += 1
            if life is not None and life.carried:
                self._num_reused += 1
        started: Timeout | None = None
        if call is not None and call.fixed is not None and call.timeout is timeout:
            conn.timeout, read_timeout = call.fixed
        else:
            started = self._start_connect(call, conn, timeout)
        if (
            (conn.sock is None if is_own else conn.is_closed)
            or call is None
            or not call.is_plain
            or (self._is_tls and not (conn.is_verified or conn.proxy_is_verified))
        ):
            if call is not None:
                call.phase = "connecting"
            self._connect(conn, url)
        if started is not None:
            read_timeout = started.read_timeout
        if read_timeout == 0:
            raise ReadTimeoutError(self, url, f"Read timed out. (read timeout={read_timeout})")
        conn.timeout = read_timeout
        try:
            if call is not None:
                call.phase = "sending the request"
                if body is not None:
                    call.body_pos = mark_used(body, call.body_pos)
            try:
                if call is not None and call.is_plain and is_own and not conn._is_hooked(True):
                    conn._request_as_planned(
                        method, url, call.plan, False, decode_content, enforce_content_length, False
                    )
                else:
                    conn.request(
                        method,
                        url,
                        body=body,
                        headers=headers,
                        chunked=chunked,
                        preload_content=preload_content and call is None,
                        decode_content=decode_content,
                        enforce_content_length=enforce_content_length,
                    )
            except OSError as error:
                if not _may_be_answered(error):
                    raise
            if call is not None:
                call.phase = "waiting for the response"
            response = conn.getresponse()
        except (BaseSSLError, OSError) as error:
            self._raise_timeout(error, url, read_timeout)
            raise
        if type(response) is HTTPResponse and type(retries) is Retry and not retries.history:
            response._retries = retries  # all that the setter does then (benchmark ``small``)
        else:
            response.retries = retries
        response._pool = self
        if log.isEnabledFor(logging.DEBUG):
            self._log_response(method, url, response)
        if call is None:
            response._connection = response_conn
        elif type(response) is HTTPResponse or isinstance(response, HTTPResponse):
            self._watch_body(call, response, preload_content)
        return response

    def _start_connect(self, call: Call | None, conn: Any, timeout: Any) -> Timeout:
        """Start the clock of an attempt, and let `conn` connect as long as that allows."""
        started = self._get_timeout(timeout)
        started.start_connect()
        connect_timeout = Timeout.resolve_default_timeout(started.connect_timeout)
        conn.timeout = bounded(call, connect_timeout)
        return started

    def _log_response(self, method: str, url: str, response: Any) -> None:
        log.debug(
            '%s://%s:%s "%s %s %s" %s %s',
            self.scheme,
            self.host,
            self.port,
            method,
            url,
            response.version_string,
            response.status,
            response.length_remaining,
        )

    def _watch_body(self, call: Call, response: HTTPResponse, preload: bool) -> None:
        """Tell the response what bounds its body; read that now, if `preload`.

        Not if it is going to be thrown away, or is another protocol's.
        """
        if call.limits is not None:
            response._limit(call.limits)
        if call.on_download is not None:
            response._on_download = call.on_download
        if not preload:
            return
        status, retries = response.status, call.retries
        is_last = is_surely_last(status, retries)
        if is_last or (
            status != 101 and not may_follow(response, retries, call.method, call.redirect)
        ):
            call.phase = "reading the body"
            bounds = None if call.is_unbounded else call.bounds
            if call.on_download is None and response._take_whole(bounds):
                call.is_answered = is_last and call.is_plain
                return
            response._bounds = bounds
            response._body = response.read(decode_content=response.decode_content)

    def _hand_over(self, call: Call, response: Any, conn: Any, lease: Lease) -> None:
        """Let the response end the lease of its connection when it is done with it."""
        if type(response) is HTTPResponse or isinstance(response, HTTPResponse):
            is_own = type(conn) in _OWN_CONNECTIONS
            life = conn._life if is_own else getattr(conn, "_life", None)
            if life is not None:
                life.answered(response.headers, self.reuse)
            if response._is_whole and response._retries is call.retries:
                # Nothing is left to be done with it (benchmark ``small``).
                lease.end(True, conn._may_go_on() if is_own else None)
                return
            response.retries = call.retries
        response._pool = self
        preloaded = call.preload_content
        if preloaded and getattr(response, "_original_response", None) is None:
            # Made by hand, as tests do, with nothing left to read from the connection.
            lease.end(True)
        elif isinstance(response, HTTPResponse):
            stream = getattr(conn, "_stream", None)
            if stream is not None and stream.deadline is not None:
                # Timeout.total ends with the answer; a body read later has only the deadline.
                stream.deadline = None if call.deadline is None else call.deadline.at
                if call.deadline is None and conn.sock is not None:
                    conn.sock.settimeout(conn.timeout)
            response._on_finish(conn, lease.end, call.bounds)
        else:
            # Somebody's own response class: it cannot tell us when it is done, and must not give
            # back by itself what we have given back already.
            response._connection = None if preloaded else conn
            if preloaded:
                lease.end(True)
            else:
                lease.let_go()

    def _shown(self, url: str) -> str:
        """Return a URL for the program's log: neither credentials nor the query, which may hold
        some, too."""
        scheme, separator, rest = url.partition("?")[0].partition("://")
        if not separator:
            return f"{self._origin}{scheme}"
        authority, slash, path = rest.partition("/")
        return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"

    # -- what follows ----------------------------------------------------------------------

    def _after_response(self, call: Call, response: Any) -> Step:
        """Ask the policy; the body of a response that is not the last one is thrown away."""
        try:
            step = after_response(
                response, call.retries, call.method, call.url, call.redirect, self
            )
        except MaxRetryError:
            response.drain_conn()
            raise
        if step is RETURN:
            if type(response) is not HTTPResponse or not response._is_whole:
                self._preload_last(call, response)
        else:
            response.drain_conn()
        return step

    def _preload_last(self, call: Call, response: Any) -> None:
        """Read the body that was left alone because it might have been thrown away."""
        if call.redirect is FOLLOWED_BY_CALLER and response.get_redirect_location():
            return
        if call.preload_content:
            preload(response)

    def _go_on(self, call: Call, step: Step, response: Any, assert_same_host: bool) -> None:
        """Turn the call into the next request."""
        call.retries = step.retries
        if step.location is None:
            log.debug("Retry: %s", _without_userinfo(call.url))
            return
        log.debug("Redirecting %s -> %s", *map(_without_userinfo, (call.url, step.location)))
        following = redirected(
            response,
            step.retries,
            call.method,
            call.url,
            step.location,
            call.headers,
            origin=self._origin,
        )
        if following.drops_body:
            call.body = None
            call.body_pos = None
            call.chunked = False
        call.method, call.url = following.method, following.url
        if following.headers is not None and following.headers is not call.headers:
            # Secrets of the proxy, which stays, went with those of the request.
            call.headers = self._request_headers(following.headers, call.route)
        call.target = self._target(call.url)
        self._rewind(call)
        self._plan(call)
        if assert_same_host and not self.is_same_host(call.url):
            raise HostChangedError(self, call.url, call.retries)

    def _after_error(self, call: Call, error: Exception, conn: Any) -> None:
        """Count a failed attempt and sleep before the next.

        :raises HTTPError: there is no next attempt.
        """
        if isinstance(error, _FINAL_ERRORS):
            raise error  # there is no time, nobody wants it, or it never can be sent
        bounds = call.bounds
        interruption = None if bounds is None else bounds.interruption(error, call.phase)
        if interruption is not None:
            raise interruption from error
        failure = self._translated(error, conn, aborted=True)
        if (
            isinstance(failure, SSLError)
            and call.phase not in _PHASES_BEFORE_SENDING
            and not call.retries._is_method_retryable(call.method)
        ):
            # A policy takes every SSLError for a failed handshake, but the server may have seen
            # this request, and acted on it.
            raise failure
        call.retries = call.retries.increment(
            call.method, call.url, error=failure, _pool=self, _stacktrace=sys.exc_info()[2]
        )
        pause(call, call.retries, None)
        log.warning(
            "Retrying (%r) after connection broken by '%r': %s",
            call.retries,
            error,
            _without_userinfo(call.url),
            extra={
                "__urllib4-retry-warning": {"host": self.host},
                "__urllib3-retry-warning": {"host": self.host},
            },
        )

    def _rewind(self, call: Call) -> None:
        """Make the body ready to be sent again.

        :raises UnrewindableBodyError: it was used up by the attempt before.
        """
        check_unused(call.body_pos)
        call.body_pos = set_file_position(call.body, call.body_pos)

    # -- tracers ---------------------------------------------------------------------------

    def _urlopen_is_hooked(self) -> bool:
        """Tell whether somebody overrides or replaced :meth:`urlopen`.

        Every further attempt passes through it again then, so that a tracer sees each.
        """
        method = self.urlopen
        return type(method) is not MethodType or method.__func__ is not _ORIGINAL_URLOPEN

    def _urlopen_again(
        self, call: Call, assert_same_host: bool, release_conn: bool | None
    ) -> BaseHTTPResponse:
        check_unused(call.body_pos)
        timeout = call.timeout.clone()
        timeout._running_deadline = call.deadline
        return self.urlopen(
            call.method,
            call.url,
            call.body,
            call.headers,
            retries=call.retries,
            redirect=call.redirect,
            assert_same_host=assert_same_host,
            timeout=timeout,
            pool_timeout=call.pool_timeout,
            release_conn=release_conn,
            chunked=call.chunked,
            body_pos=call.body_pos,
            preload_content=call.preload_content,
            decode_content=call.decode_content,
            **call.response_kw,
            **call.extras,
        )


_ORIGINAL_URLOPEN = HTTPConnectionPool.urlopen
# Whoever overrides one of these, or replaces it in one pool, may start a timeout that he is given,
# wants keywords, or to see each connection.  A method of the object tells of all that, even where a
# wrapper is equal to what it wraps.  Not by looking into the dict of the pool: on Python 3.11, to
# ask for it makes all of its methods slow to call (benchmark ``small``).
_OWN_MAKE_REQUEST = HTTPConnectionPool._make_request
_OWN_GET_TIMEOUT = HTTPConnectionPool._get_timeout
_OWN_VALIDATE = HTTPConnectionPool._validate_conn


def preload(response: Any) -> None:
    """Read the body of a response that turned out to be the last, unless it was read already."""
    if (
        isinstance(response, HTTPResponse)
        and response.status != 101
        and response._body is None
        and response._fp is not None
    ):
        response._body = response.read(decode_content=response.decode_content)


_OWN_CONNECTIONS = (HTTPConnection, HTTPSConnection)


def _may_be_answered(error: OSError) -> bool:
    """Tell whether a peer that does not read what is sent may have answered before."""
    return (
        isinstance(error, BrokenPipeError)
        # macOS gives EPROTOTYPE where others give EPIPE.
        or error.errno in (errno.EPROTOTYPE, errno.ECONNRESET)
        # TLS does not tell them from an end of the stream on Python 3.10 and 3.11; by name: there
        # may be no ssl module.
        or type(error).__name__ == "SSLEOFError"
    )


def check_unused(body_pos: Any) -> None:
    """Refuse to send a body again that was used up by the attempt before.

    :raises UnrewindableBodyError: `body_pos` says that it was.
    """
    if body_pos is USED_UP:
        raise UnrewindableBodyError(
            "The request body is an iterator or a stream without seek, and was used up by the "
            "attempt before: it cannot be sent again."
        )


def _take_size(options: dict[str, Any], maxsize: int) -> int:
    """Replace aliases among the options, and return the size under whichever name it is given."""
    if not ALIASES.keys().isdisjoint(options):
        if maxsize != 1:
            options["maxsize"] = maxsize
        use_main_names(options)
        maxsize = options.pop("maxsize", maxsize)
    return maxsize


def _with_close(headers: Mapping[str, str]) -> HTTPHeaderDict:
    """Return `headers` and, unless they say something about the connection, that it ends."""
    result = HTTPHeaderDict(headers)
    if "connection" not in result:
        result["Connection"] = "close"
    return result


def _checked_switch(idempotent: Any) -> bool:
    if isinstance(idempotent, bool):
        return idempotent
    raise ValueError(f"idempotent is True, False or None, not {idempotent!r}")


def _check_size(maxsize: Any, block: bool) -> None:
    if not isinstance(maxsize, int) or isinstance(maxsize, bool) or maxsize < 0:
        raise ValueError(f"maxsize is a number of connections, at least 0, not {maxsize!r}")
    if block and maxsize < 1:
        raise ValueError(
            f"maxsize={maxsize!r} with block=True would wait for ever: it must be at least 1"
        )


def _check_forwarded(conn: Any, target: str) -> None:
    """Refuse a target of a forward proxy that is an address which may not be connected to.

    :raises AddressBlockedError: the connection's ``address_filter`` says so.
    """
    dialing = getattr(conn, "_dialing", None)
    if dialing is not None:
        url = parse_url(target)
        if url.host is not None:
            dialing.check_target(conn, url.host, url.port or port_by_scheme.get(url.scheme or ""))


def absolute_target(url: Url) -> str:
    """Return `url` as it may stand in a request line: without credentials, fragment or zone.

    What an address' zone (RFC 6874) is called concerns nobody but this machine.
    """
    host = url.host
    if host is not None and host.startswith("[") and "%" in host:
        host = host.partition("%")[0] + "]"
    return url._replace(auth=None, host=host, fragment=None).url


def warn_about_credentials() -> None:
    """Say that credentials in a URL are not sent (RFC 9110, 4.2.4), without showing them."""
    warn_caller(
        "The URL holds credentials, which are not sent. Use "
        "urllib4.make_headers(basic_auth='user:password') to send them.",
        SecurityWarning,
    )


class HTTPSConnectionPool(HTTPConnectionPool):
    """Connections over TLS to one host and port.

    The TLS options are those of :class:`HTTPSConnection`; ``ssl_context``, ``server_hostname``,
    ``ca_cert_data``, ``cert_data`` and ``key_data`` are taken as well.  They are attributes and
    may be changed until the first connection is made.

    :param tls_session_cache: where the sessions are kept that new connections resume, a
        :class:`~urllib4.util.ssl_.TLSSessionCache`; True: one of the pool's own, or of the manager
        that made the pool; False: every handshake is a full one.  Sessions need a context made of
        the options, or by :func:`~urllib4.util.ssl_.create_urllib4_context`.
    :raises ValueError, TypeError: a pin is malformed, or `tls_session_cache` of another type.
    :raises SSLError: a fingerprint in a list is.
    """

    scheme: str | None = "https"
    ConnectionCls: Any = HTTPSConnection

    def __init__(
        self,
        host: str,
        port: int | None = None,
        timeout: Any = _DEFAULT_TIMEOUT,
        maxsize: int = 1,
        block: bool = False,
        headers: Mapping[str, str] | None = None,
        retries: Retry | bool | int | None = None,
        _proxy: Url | None = None,
        _proxy_headers: Mapping[str, str] | None = None,
        key_file: str | None = None,
        cert_file: str | None = None,
        cert_reqs: int | str | None = None,
        key_password: str | None = None,
        ca_certs: str | None = None,
        ssl_version: int | str | None = None,
        ssl_minimum_version: Any = None,
        ssl_maximum_version: Any = None,
        assert_hostname: str | None | Literal[False] = None,
        assert_fingerprint: str | Sequence[str] | None = None,
        ca_cert_dir: str | None = None,
        assert_pins: Sequence[str] | None = None,
        tls_session_cache: TLSSessionCache | bool | None = True,
        **conn_kw: Any,
    ) -> None:
        # Long, but flat: each documented option becomes an attribute.
        super().__init__(
            host,
            port,
            timeout,
            maxsize,
            block,
            headers,
            retries,
            _proxy,
            _proxy_headers,
            **conn_kw,
        )
        self.key_file = key_file
        self.cert_file = cert_file
        self.cert_reqs = cert_reqs
        self.key_password = key_password
        self.ca_certs = ca_certs
        self.ca_cert_dir = ca_cert_dir
        self.ssl_version = ssl_version
        self.ssl_minimum_version = ssl_minimum_version
        self.ssl_maximum_version = ssl_maximum_version
        self.assert_hostname = assert_hostname
        check_pinning(assert_fingerprint, assert_pins)
        self.assert_fingerprint = assert_fingerprint
        self.assert_pins = assert_pins
        self.tls_session_cache: TLSSessionCache | bool = checked_session_cache(tls_session_cache)

    def _new_conn(self) -> Any:
        """Make a connection object; it connects when it is first used."""
        number = self._count_connection()
        log.debug(
            "Starting new HTTPS connection (%d): %s:%s", number, self.host, self.port or "443"
        )
        if not self.ConnectionCls or self.ConnectionCls is DummyConnection:
            raise ImportError("Can't connect to HTTPS URL because the SSL module is not available.")
        conn = self._connection(self.ConnectionCls, self._tls_options())
        if self.tls_session_cache is not False:
            # As an attribute: constructors of others need not know it.
            conn.tls_session_cache = self._sessions()
        return conn

    def _sessions(self) -> TLSSessionCache:
        """Return the cache of TLS sessions; the first who needs it makes it."""
        with self._lock:
            if isinstance(self.tls_session_cache, bool):
                self.tls_session_cache = TLSSessionCache()
            return self.tls_session_cache

    def _tls_options(self) -> dict[str, Any]:
        options = {
            "cert_file": self.cert_file,
            "key_file": self.key_file,
            "key_password": self.key_password,
            "cert_reqs": self.cert_reqs,
            "ca_certs": self.ca_certs,
            "ca_cert_dir": self.ca_cert_dir,
            "assert_hostname": self.assert_hostname,
            "assert_fingerprint": self.assert_fingerprint,
            "ssl_version": self.ssl_version,
            "ssl_minimum_version": self.ssl_minimum_version,
            "ssl_maximum_version": self.ssl_maximum_version,
        }
        if self.assert_pins is not None:
            # Connection classes of others may not know it: without pins they need not.
            options["assert_pins"] = self.assert_pins
        return options

    def _prepare_proxy(self, conn: Any) -> None:
        """Open the tunnel and TLS inside it."""
        scheme = "https" if self.proxy is not None and self.proxy.scheme == "https" else "http"
        conn.set_tunnel(
            scheme=scheme,
            host=self._tunnel_host,
            port=self.port,
            headers=self._headers_for_proxy(),
        )
        conn.connect()

    def _validate_conn(self, conn: Any) -> None:
        """Connect, and warn about a peer whose identity nobody checked."""
        super()._validate_conn(conn)
        if conn.is_closed:
            conn.connect()
        if not conn.is_verified and not conn.proxy_is_verified:
            warn_caller(
                f"Unverified HTTPS request is being made to host '{conn.host}'. Adding certificate "
                'verification is strongly advised. See the page "TLS" of urllib4\'s '
                "documentation.",
                InsecureRequestWarning,
            )


_OWN_TLS_VALIDATE = HTTPSConnectionPool._validate_conn


def connection_from_url(url: str, **kw: Any) -> HTTPConnectionPool:
    """Return a pool for the host of `url`.

    :param url: absolute; only scheme, host and port count.  The host of ``http+unix`` and
        ``https+unix`` is the percent-encoded path of a Unix domain socket.
    :param kw: arguments of the pool class.
    :raises LocationValueError: no host.
    """
    parsed = parse_url(url)
    scheme, _, host, port, *_ = parsed
    scheme = scheme or "http"
    if scheme in UNIX_SCHEMES:
        from ._unix_url import split  # few programs use such URLs

        scheme = UNIX_SCHEMES[scheme]
        host, kw["socket_path"] = "localhost", split(parsed, scheme).socket_path
    if port is None:
        port = port_by_scheme.get(scheme, 80)
    pool_class = HTTPSConnectionPool if scheme == "https" else HTTPConnectionPool
    return pool_class(host, port=port, **kw)  # type: ignore[arg-type]
