"""The connections of one pool: opened, lent, given back, kept, closed and counted.

What a request does with one is in ``connectionpool``, whose classes are the public ones.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import logging
import math
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPException
from threading import get_ident
from types import TracebackType
from typing import Any, Literal, TypeVar

from ._base_connection import ProxyConfig
from ._call import WAITING, Call, bounded_wait, is_timeout
from ._cancel import CancelToken
from ._deadline import Deadline
from ._fork import watch
from ._idle import IdleStore, Lease
from ._reuse import Ledger, Life, PoolStats, ReusePolicy, discard, is_open
from ._route import DIRECT, Route, route_for
from ._tunnel import refusal_of
from .connection import BaseSSLError, HTTPConnection, port_by_scheme
from .exceptions import (
    AddressBlockedError,
    ClosedPoolError,
    EmptyPoolError,
    FullPoolError,
    HeadTooLargeError,
    LocationValueError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
    TimeoutError,
)
from .response import HTTPResponse
from .util.ssl_match_hostname import CertificateError
from .util.timeout import Timeout, coerce_timeout
from .util.url import Url, _normalize_host, parse_url

# Programs set its level, and filter records, by the name of the public module.
log: logging.Logger = logging.getLogger("urllib4.connectionpool")

# The standard class, as it is before gevent or others replace it in its module.
_STD_LIFO_QUEUE = queue.LifoQueue
_BLOCKING_ERRNOS = {errno.EAGAIN, errno.EWOULDBLOCK}

# Before the proxy was reached, these are the proxy's.
_BEFORE_PROXY_ERRORS = (
    OSError, NewConnectionError, TimeoutError, SSLError, HTTPException, ProtocolError,
)  # fmt: skip
# What OpenSSL says of a server that answers in plain HTTP.
_PLAIN_HTTP_HINTS = ("wrong version number", "unknown protocol", "record layer failure")

_SelfT = TypeVar("_SelfT", bound="ConnectionPool")


class ConnectionPool:
    """What every pool is: the host it leads to, and a context manager that closes it.

    :param host: name or address, IPv6 with or without brackets.
    :param port: None: the default of the scheme.
    :raises LocationValueError: no host.
    """

    scheme: str | None = None
    #: The class of :attr:`HTTPConnectionPool.pool`; None: our own LIFO queue, or
    #: ``queue.LifoQueue`` if that was replaced (gevent) by the time a pool is made.
    QueueCls: Any = None

    def __init__(self, host: str, port: int | None = None) -> None:
        if not host:
            raise LocationValueError("No host specified.")
        self.host = _normalize_host(host, scheme=self.scheme)
        self.port = port
        # The name as a URL has it: IPv6 with brackets.
        self._tunnel_host = self.host
        if self.host is not None and self.host.startswith("[") and self.host.endswith("]"):
            self.host = self.host[1:-1]
        elif self.host is not None and ":" in self.host:
            self._tunnel_host = f"[{self.host}]"

    def __str__(self) -> str:
        return f"{type(self).__name__}(host={self.host!r}, port={self.port!r})"

    def __enter__(self: _SelfT) -> _SelfT:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> Literal[False]:
        self.close()
        return False

    def close(self, *, wait: bool = False, timeout: float | None = None) -> bool:
        """Close all idle connections; the pool cannot be used any more."""
        return True


class KeepingPool(ConnectionPool):
    """A pool that has connections; its constructor is that of :class:`HTTPConnectionPool`."""

    ConnectionCls: Any = HTTPConnection
    #: What responses are wrapped in.
    ResponseCls: Any = HTTPResponse

    # The limit for all pools of the manager that made this one, if it has any.
    _quota: Any = None
    # Tests go by a clock of their own.
    _clock: Callable[[], float]

    pool: Any
    timeout: Any
    block: bool
    proxy: Url | None
    proxy_headers: Mapping[str, str]
    proxy_config: ProxyConfig | None
    conn_kw: dict[str, Any]
    reuse: ReusePolicy
    _is_persistent: bool
    num_connections: int
    num_requests: int
    _num_reused: int
    _retired: bool
    _told_full: bool
    _lock: threading.RLock
    _ledger: Ledger

    def _set_up_store(self, maxsize: int) -> None:
        # Read for each request, and slow where they stand in the class (benchmark ``small``).
        self._quota = None
        self._clock = time.monotonic
        self.num_connections = 0
        self.num_requests = 0
        self._num_reused = 0
        # Guards the counters and the step from open to closed or retired.  Reentrant: a signal
        # handler, or a finaliser of a program, may send a request in the middle of another.
        self._lock = threading.RLock()
        self._retired = False
        self._told_full = False
        # What became of the connections.
        self._ledger = Ledger()
        self.pool = self._make_queue(maxsize)
        _living.add(self, self.pool)

    def _reset_if_unusable(self, conn: Any, now: float) -> None:
        raise NotImplementedError

    def _after_fork_in_child(self) -> None:
        self._lock = threading.RLock()
        self._ledger = Ledger()
        store = self.pool
        if store is not None and not isinstance(store, IdleStore):
            # Another's queue: its lock may be held by a thread that is not in this process.
            self.pool = self._make_queue(store.maxsize)
        elif store is not None:
            store._after_fork_in_child()

    def _make_queue(self, maxsize: int) -> Any:
        queue_class = self.QueueCls
        if queue_class is None:
            late = queue.LifoQueue
            queue_class = IdleStore if late is _STD_LIFO_QUEUE else late
        store = queue_class(maxsize)
        if queue_class is IdleStore:
            store.queue[:] = [None] * maxsize
        else:
            for _ in range(maxsize):
                store.put(None)
        if self.reuse.on_time and isinstance(store, IdleStore):
            # On first use: it makes a thread, which most programs do not need.
            from ._reaper import REAPER

            store.watcher = REAPER.look_after
        return store

    def _join(self, quota: Any) -> None:
        """Be one of the pools that have a limit together."""
        self._quota = quota
        if isinstance(self.pool, IdleStore):
            quota.add(self.pool)

    def _new_conn(self) -> Any:
        """Make a connection object; it connects when it is first used."""
        number = self._count_connection()
        log.debug("Starting new HTTP connection (%d): %s:%s", number, self.host, self.port or "80")
        return self._connection(self.ConnectionCls, {})

    def _count_connection(self) -> int:
        with self._lock:
            self.num_connections += 1
            return self.num_connections

    def _connection(self, cls: Any, options: dict[str, Any]) -> Any:
        # A connection knows its target from set_tunnel(): its own host is whom it connects to.
        proxy = self.proxy
        conn = cls(
            host=self.host if proxy is None else proxy.host,
            port=self.port if proxy is None else proxy.port,
            timeout=coerce_timeout(self.timeout).connect_timeout,
            **options,
            **self.conn_kw,
        )
        if self.ResponseCls is not HTTPResponse:
            conn.ResponseCls = self.ResponseCls
        return conn

    def _get_conn(self, timeout: float | None = None) -> Any:
        """Take a connection: an idle one, or a new one if a slot is free or `block` is off.

        :param timeout: seconds to wait for a slot; None: for ever.
        :raises ClosedPoolError: the pool is closed, or was while waiting.
        :raises EmptyPoolError: no slot came free in time.
        """
        store = self.pool
        if store is None:
            raise ClosedPoolError(self, "Pool is closed.")
        # Whoever has a lease gives back by it, also when we fail.
        leased = isinstance(store, IdleStore) and get_ident() in store._takers
        conn = None
        try:
            conn = store.get(self.block, timeout)
        except queue.Empty:
            if self.block and self.pool is not None:
                raise EmptyPoolError(
                    self,
                    "Pool is empty and a new connection can't be opened due to blocking mode.",
                ) from None
        if self.pool is None:
            # Closed while we waited: let the next one that waits see that too.
            _close_idle_connections(store)
            if conn is not None:
                conn.close()
            _put_slot(store)
            raise ClosedPoolError(self, "Pool is closed.")
        clock = self._clock
        now = clock()
        if conn is not None:
            self._reset_if_unusable(conn, now)
        if now >= (store.due if leased else getattr(store, "due", math.inf)):
            store.expire(now)
        if conn is not None:
            return conn
        try:
            return self._new_conn()
        except BaseException:
            if not leased:
                _put_slot(store)
            raise

    def _put_conn(self, conn: Any) -> None:
        """Give a connection back, or the slot of one that was closed (None).

        :raises FullPoolError: there are more than ``maxsize`` and `block` is on.
        """
        store = self.pool
        life: Life | None = None
        if conn is not None:
            if store is None or self._retired:
                discard(conn, "pool_closed")
            else:
                life = getattr(conn, "_life", None)
                if life is not None and self._is_persistent:
                    clock = self._clock
                    reason = life.rest(clock(), self.reuse)
                    if reason is not None:
                        discard(conn, reason)
                        life = None
                elif not self._is_persistent:
                    discard(conn, "not_persistent")
                    life = None
        if store is None:
            return
        try:
            store.put(conn, False)
        except queue.Full:
            if conn is None:
                return
            discard(conn, "full")
            if self.block:
                raise FullPoolError(
                    self, "Pool reached maximum size and no more connections are allowed."
                ) from None
            self._tell_full(store)
            return
        if life is not None and life.idle_until < getattr(store, "due", 0.0):
            store.make_due(life.idle_until)
        if self._quota is not None:
            self._quota.wake()
        if conn is not None and (self.pool is None or self._retired):
            # close() or retire() may have run between our first look and the put.
            _empty_idle_slots(store)

    def _tell_full(self, store: Any) -> None:
        """Log that a connection is thrown away: once as a warning, and then for those who debug."""
        told, self._told_full = self._told_full, True
        log.log(
            logging.DEBUG if told else logging.WARNING,
            "Connection pool is full, discarding connection: %s. Connection pool size: %s",
            self.host,
            store.qsize(),
        )

    def _validate_conn(self, conn: Any) -> None:
        """Called before each request is sent on `conn`; connects what has to be verified."""

    def _prepare_proxy(self, conn: Any) -> None:
        """Called for a new connection that needs a tunnel; nothing to do for plain HTTP."""

    def close(self, *, wait: bool = False, timeout: float | None = None) -> bool:
        """Close all idle connections; those in use are closed when they come back.

        Threads that wait for a connection get :exc:`ClosedPoolError`.  Safe to call twice.

        :param wait: return when the last one in use is closed.  One whose response this very
            thread still has to read will not be.
        :param timeout: seconds to wait at most; None: for ever.
        :returns: whether all connections are closed.
        :raises ValueError: `timeout` is negative, or no number.

        .. versionchanged:: 4.0
           `wait` and `timeout`, and the result.
        """
        if timeout is not None and not (isinstance(timeout, (int, float)) and timeout >= 0):
            raise ValueError(
                f"timeout is a number of seconds, at least 0, or None, not {timeout!r}"
            )
        with self._lock:
            store, self.pool = self.pool, None
        if store is not None:
            if isinstance(store, IdleStore):
                store.end_waiting()
            _close_idle_connections(store)
            _put_slot(store)
        return self._ledger.await_all_closed(timeout if wait else 0)

    def close_idle(self) -> int:
        """Close the connections that are idle now; the pool goes on working.

        Such as after a change of network, or before a long pause.

        :returns: how many were open.

        .. versionadded:: 4.0
        """
        store = self.pool
        if store is None:
            return 0
        before = self._ledger.totals()["close_idle"]
        _empty_idle_slots(store, "close_idle")
        return self._ledger.totals()["close_idle"] - before

    def warm(self, number: int = 1) -> int:
        """Connect ahead, so that as many connections as `number` are idle; no more than `maxsize`.

        One after the other, TLS and a proxy's tunnel included, each within the connect timeout.

        :returns: how many were opened.
        :raises ValueError: `number` is no number of connections.
        :raises ClosedPoolError: the pool is closed.
        :raises HTTPError, OSError: as for a request; those that were opened before stay.

        .. versionadded:: 4.0
        """
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            raise ValueError(f"warm() takes a number of connections, at least 0, not {number!r}")
        if self.pool is None:
            raise ClosedPoolError(self, "Pool is closed.")
        if self._retired or not self._is_persistent:
            return 0  # nothing would be kept
        missing: list[tuple[Lease, Any]] = []
        leases: list[Lease] = []
        try:
            for _ in range(min(number, self.pool.maxsize)):
                leases.append(lease := Lease(self))
                try:
                    conn = lease.take(0)
                except EmptyPoolError:  # all the others are in use
                    break
                if not is_open(conn):
                    missing.append((lease, conn))
            for lease in reversed(leases):
                if all(lease is not other for other, _ in missing):
                    lease.end(True)  # nobody has to do without it while others are opened
            opened = 0
            for lease, conn in missing:
                if self._quota is not None:
                    permit = self._quota.permit()
                    if not permit.take():
                        break  # connections of others are not closed on suspicion
                    self._note_opening(conn, permit)
                try:
                    self._open(conn)
                except BaseException:
                    lease.end(False)  # it may be open, but something is wrong with it
                    raise
                lease.end(True)
                opened += 1
        finally:
            for lease in leases:
                lease.end(True)
        return opened

    def _open(self, conn: Any) -> None:
        """Connect `conn` for nobody in particular.

        :raises HTTPError, OSError: as for a request.
        """
        conn.timeout = Timeout.resolve_default_timeout(
            coerce_timeout(self.timeout).clone().connect_timeout
        )
        if self._route_to("/").kind == "tunnel":
            self._open_tunnel(conn)
        self._connect(conn, "/")
        if isinstance(conn, HTTPConnection):
            conn._reader()  # from now on it is a kept connection, which may turn out to be closed

    @contextlib.contextmanager
    def get_connection(self, timeout: float | None = None) -> Iterator[Any]:
        """Lend a connection, one that is idle or a new one, for one request of your own.

        ::

            with pool.get_connection() as conn:
                conn.request("GET", "/")
                data = conn.getresponse().data

        Nobody else is given it meanwhile.  In the end it goes back if the response was read whole
        and the server keeps the connection; otherwise it is closed.  The pool's headers, timeouts
        and retries do not apply to what you do with it.

        :param timeout: seconds to wait for a connection where the pool blocks; None: for ever.
        :raises ClosedPoolError, EmptyPoolError: as for a request.
        :raises HTTPError, OSError: it could not be opened.

        .. versionadded:: 4.0
        """
        lease = Lease(self)
        try:
            if self._quota is None:
                conn = lease.take(timeout)
            else:
                conn = self._take_within_quota(None, lease, None, timeout)
            if not is_open(conn):
                self._open(conn)
            yield conn
        except BaseException:
            lease.end(False)
            raise
        lease.end(True)

    def stats(self) -> PoolStats:
        """Return how many connections there are, were, and why they are no more.

        .. versionadded:: 4.0
        """
        store = self.pool
        idle = waiters = 0
        if store is not None:
            idle = sum(map(is_open, list(getattr(store, "queue", ()))))
            waiters = store.waiting if isinstance(store, IdleStore) else 0
        if self._quota is not None:
            waiters += self._quota.waiting_for(self)
        with self._lock:
            requests, reused = self.num_requests, self._num_reused
        return self._ledger.stats(idle, requests, reused, waiters)

    def __repr__(self) -> str:
        if not hasattr(self, "_ledger"):
            return f"<{self}>"
        stats = self.stats()
        text = "closed" if self.pool is None else f"{stats.idle} idle, {stats.in_use} in use"
        closed = ", ".join(f"{number} {reason}" for reason, number in sorted(stats.closed.items()))
        return f"<{self}: {text}{f'; closed: {closed}' if closed else ''}>"

    def retire(self) -> None:
        """Close all idle connections and keep none from now on.

        Connections in use finish their exchange and are closed then.  Whoever still holds the
        pool can go on with it.  Managers do this to pools they drop.

        .. versionadded:: 4.0
        """
        with self._lock:
            self._retired = True
            store = self.pool
        if store is not None:
            _empty_idle_slots(store)

    def is_same_host(self, url: str) -> bool:
        """Tell whether `url` leads to the host of this pool; a target (``/path``) does."""
        if url.startswith("/"):
            return True
        scheme, _, host, port, *_ = parse_url(url)
        scheme = scheme or "http"
        if host is not None:
            host = _normalize_host(host, scheme=scheme)
        if self.port and not port:
            port = port_by_scheme.get(scheme)
        elif not self.port and port == port_by_scheme.get(scheme):
            port = None
        return (scheme, host, port) == (self.scheme, self._tunnel_host, self.port)

    @property
    def _proxy_auth(self) -> Any:
        """What answers the proxy's challenges, None if nothing does."""
        return getattr(self.proxy_config, "auth", None)

    @property
    def _origin(self) -> str:
        """The URL of the host that this pool leads to."""
        port = self.port or port_by_scheme.get(self.scheme or "http", 80)
        return f"{self.scheme}://{self._tunnel_host}:{port}"

    def _route_to(self, url: str) -> Route:
        """Return the way to a target: absolute URLs of http targets stop at the proxy."""
        if self.proxy is None:
            return DIRECT
        scheme = None if url.startswith("/") else parse_url(url).scheme
        return route_for(self.proxy, self.proxy_config, scheme)

    def _take_within_quota(
        self, call: Call | None, lease: Lease, cancel: CancelToken | None, seconds: float | None
    ) -> Any:
        """Take a connection that is open, or may be opened, within the manager's limit.

        Permits are never held while waiting for a slot, so that no two wait for each other.
        """
        bound = None if seconds is None else Deadline(seconds)
        store = self.pool
        taken: list[Any] = []

        def use_idle() -> bool:
            if not taken and isinstance(store, IdleStore) and store.idle():
                with contextlib.suppress(EmptyPoolError):
                    taken.append(lease.take(0))
            return bool(taken) and is_open(taken[0])

        permit = self._wait_for_permit(call, cancel, bound, use_idle)
        if not taken:
            try:
                taken.append(lease.take(0))
            except EmptyPoolError:
                permit.give_back()
                taken.append(lease.take(None if bound is None else bound.left()))
                if not is_open(taken[0]):
                    permit = self._wait_for_permit(call, cancel, bound, lambda: False)
        if is_open(taken[0]):
            permit.give_back()
        else:
            self._note_opening(taken[0], permit)
        return taken[0]

    def _wait_for_permit(
        self,
        call: Call | None,
        cancel: CancelToken | None,
        bound: Deadline | None,
        use_idle: Callable[[], bool],
    ) -> Any:
        """Return a permit of the manager; one that was not taken where `use_idle` succeeded.

        :raises EmptyPoolError: there was none in time.
        :raises RequestCancelledError: `cancel` was used.
        """
        permit = self._quota.permit()
        phase = WAITING if call is None else call.phase
        if not self._quota.acquire(self, permit, bound, cancel, phase, use_idle):
            raise EmptyPoolError(
                self, f"all {self._quota.limit} connections of the manager are in use"
            )
        return permit

    def _open_tunnel(self, conn: Any) -> None:
        """Connect through the proxy; a 407 is answered as long as the program knows how."""
        challenges: list[str] = []
        while True:
            auth = self._proxy_auth
            sent = None if auth is None else auth.authorization
            self._note_opening(conn)
            try:
                self._prepare_proxy(conn)
                return _note_opened(conn)
            except HeadTooLargeError as error:
                # The proxy's head, which is no reason to give the target up for good.
                raise _proxy_error(error, None) from error
            except (BaseSSLError, OSError) as error:
                refusal = refusal_of(error)
                if refusal is None or refusal.status != 407 or auth is None:
                    assert self.proxy is not None
                    self._raise_timeout(error, self.proxy._replace(auth=None).url, conn.timeout)
                    raise
                target = f"{self._tunnel_host}:{self.port}"
                if auth.answer(refusal.headers, challenges, sent, "CONNECT", target) is None:
                    raise

    def _connect(self, conn: Any, url: str) -> None:
        """Connect and validate, so that what fails here is known to have sent nothing."""
        try:
            fresh = getattr(conn, "sock", conn) is None
            if fresh:
                self._note_opening(conn)
            try:
                self._validate_conn(conn)
                if conn.is_closed:
                    conn.connect()
            except (BaseSSLError, OSError) as error:
                self._raise_timeout(error, url, conn.timeout)
                raise
        except (
            OSError, HTTPException, NewConnectionError, TimeoutError, BaseSSLError,
            CertificateError, SSLError,
        ) as error:  # fmt: skip
            failure = self._translated(error, conn, aborted=False)
            if failure is error:
                raise
            raise failure from error
        if fresh:
            _note_opened(conn)

    def _note_opening(self, conn: Any, permit: Any = None) -> None:
        """Write into the books that `conn` is about to connect.

        :param permit: of the manager that has a limit; None: wait for one if it has.
        """
        if isinstance(conn, HTTPConnection) and conn._life is None:
            if permit is None and self._quota is not None:
                call = conn._call
                seconds = None if call is None else bounded_wait(call)
                bound = None if seconds is None else Deadline(seconds)
                cancel = None if call is None else call.cancel
                permit = self._wait_for_permit(call, cancel, bound, lambda: False)
            conn._life = life = Life(self.reuse, self._clock(), permit)
            life.reason = "connect_failed"
            life.begin(self._ledger.move)
        if self.pool is None:
            # Or close(wait=True) could end before this connection does.
            raise ClosedPoolError(self, "Pool is closed.")

    def _translated(self, error: Exception, conn: Any, *, aborted: bool) -> Exception:
        """Return `error` as one of ours: TLS, the proxy's, or an aborted connection."""
        failure = error
        if isinstance(error, AddressBlockedError):
            return error  # our own decision, not a failure of the proxy
        if isinstance(failure, (BaseSSLError, CertificateError)):
            failure = SSLError(failure)
            failure.__cause__ = error
        proxy = getattr(conn, "proxy", None)
        if (
            proxy is not None
            and isinstance(failure, _BEFORE_PROXY_ERRORS)
            and not conn.has_connected_to_proxy
        ):
            return _proxy_error(failure, proxy.scheme)
        if aborted and isinstance(failure, (OSError, HTTPException)):
            aborting = ProtocolError("Connection aborted.", failure)
            aborting.__cause__ = failure
            return aborting
        return failure

    def _raise_timeout(self, err: BaseException, url: str, timeout_value: Any) -> None:
        """Raise :exc:`ReadTimeoutError` if `err` is a timeout in disguise; else return."""
        late = is_timeout(err) or getattr(err, "errno", None) in _BLOCKING_ERRNOS
        # pyOpenSSL says it in the text.
        if late or (isinstance(err, BaseSSLError) and "timed out" in str(err)):
            raise ReadTimeoutError(
                self, url, f"Read timed out. (read timeout={timeout_value})"
            ) from err


def _note_opened(conn: Any) -> None:
    life = getattr(conn, "_life", None)
    if life is not None:
        life.reason = None


def _proxy_error(error: Exception, scheme: str | None) -> ProxyError:
    """Return the error for a proxy that was not reached, with a hint where one helps."""
    message = "Unable to connect to proxy"
    text = " ".join(str(error).lower().split())
    if scheme == "https" and any(hint in text for hint in _PLAIN_HTTP_HINTS):
        message += (
            ". Your proxy appears to only use HTTP and not HTTPS, try changing your proxy URL to "
            "be HTTP."
        )
    failure = ProxyError(message, error)
    failure.__cause__ = error
    refusal = refusal_of(error)
    if refusal is not None:
        failure.status, failure.headers, failure.body = refusal
    return failure


def _put_slot(store: Any) -> None:
    """Give a slot back; one too many is dropped."""
    with contextlib.suppress(queue.Full):
        store.put(None, block=False)


def _empty_idle_slots(store: Any, reason: str = "pool_closed") -> None:
    """Close the connections in the queue; their slots stay free."""
    if isinstance(store, IdleStore):
        top = store.queue[-1:]
        if not top or top[0] is None:
            return  # there is none (benchmark ``pm_evict``)
        for conn in store.take_connections():
            discard(conn, reason)
        store.settle()
    else:
        for _ in range(_close_idle_connections(store, reason)):
            _put_slot(store)


def _close_idle_connections(store: Any, reason: str = "pool_closed") -> int:
    """Empty the queue, closing the connections in it; return the number of entries."""
    count = 0
    while True:
        try:
            conn = store.get(block=False)
        except queue.Empty:
            if isinstance(store, IdleStore):
                store.settle()
            return count
        count += 1
        if conn is not None:
            discard(conn, reason)


class _Living:
    """The pools that there are: what becomes of their connections when they are gone.

    A queue outlives its pool until its connections are closed, before a finaliser of their sockets
    could complain that nobody did so, and at the latest at the end of the process.

    One reference for each pool, which also lets it know of a fork: ``weakref.finalize`` takes six
    times as long (benchmark ``pm_evict``).  Without a lock, as in `_fork`.
    """

    def __init__(self) -> None:
        self._queues: dict[int, tuple[weakref.ref[KeepingPool], Any]] = {}
        watch(self)
        atexit.register(self._close_all)

    def add(self, pool: KeepingPool, store: Any) -> None:
        """Close the connections in `store` when `pool` is no more."""
        reference = weakref.ref(pool, self._forgotten)
        self._queues[id(reference)] = reference, store

    def _forgotten(self, reference: weakref.ref[KeepingPool]) -> None:
        _, store = self._queues.pop(id(reference), (None, None))
        if store is not None:
            _empty_idle_slots(store)

    def _close_all(self) -> None:
        for _, store in list(self._queues.values()):
            _empty_idle_slots(store)

    def _after_fork_in_child(self) -> None:
        Ledger._folding = threading.Lock()
        for reference, _ in list(self._queues.values()):
            pool = reference()
            if pool is not None:
                with contextlib.suppress(Exception):  # as in `_fork`
                    pool._after_fork_in_child()
                self._queues[id(reference)] = reference, pool.pool


_living = _Living()
