"""Managers: many pools, found by the URL of a request, and redirects between them."""

# Annotations are not postponed: typing would compile those of all fields of PoolKey one by one
# (benchmark ``import_use``).

import logging
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from types import TracebackType
from typing import Any, Literal, NamedTuple, TypeVar

from ._base_connection import ProxyConfig
from ._call import mark_used, running_deadline
from ._caller import warn_caller
from ._collections import HTTPHeaderDict, RecentlyUsedContainer
from ._follow_up import FOLLOWED_BY_CALLER, after_response, as_retry, redirected
from ._fork import watch
from ._limits import LIMIT_KEYWORDS
from ._request_methods import RequestMethods
from ._reuse import (
    ALIASES,
    REUSE_KEYWORDS,
    PoolStats,
    sum_of,
    take_policy,
    use_main_names,
)
from ._route import PROXY_AUTHORIZATION, route_for
from .connection import (
    DIALING_KEYWORDS,
    UNIX_SCHEMES,
    HTTPSConnection,
    check_dialing,
    check_pinning,
    port_by_scheme,
)
from .connectionpool import (
    HTTPConnectionPool,
    HTTPSConnectionPool,
    absolute_target,
    check_unused,
    preload,
    warn_about_credentials,
)
from .exceptions import (
    AddressBlockedError,
    LocationValueError,
    MaxRetryError,
    ProxySchemeUnknown,
    URLSchemeUnknown,
    _without_any_userinfo,
    _without_userinfo,
)
from .response import BaseHTTPResponse, HTTPResponse
from .util._tls_sessions import TLSSessionCache, checked_session_cache
from .util.request import set_file_position
from .util.retry import Retry
from .util.timeout import _DEFAULT_TIMEOUT, coerce_timeout
from .util.url import Url, parse_url

__all__ = ["PoolManager", "ProxyManager", "proxy_from_url"]

log: logging.Logger = logging.getLogger(__name__)

#: Pool keywords that make no sense without TLS.
SSL_KEYWORDS = (
    "key_file",
    "cert_file",
    "cert_reqs",
    "ca_certs",
    "ca_cert_data",
    "ssl_version",
    "ssl_minimum_version",
    "ssl_maximum_version",
    "ca_cert_dir",
    "ssl_context",
    "key_password",
    "server_hostname",
    "assert_hostname",
    "assert_fingerprint",
    "assert_pins",
    "cert_data",
    "key_data",
    "tls_session_cache",
)

_SSL_KEYWORDS = frozenset(SSL_KEYWORDS)

_DEFAULT_BLOCKSIZE = 16384

#: The pool keyword by which a manager tells its router the whole URL; no pool gets it.
ASKED_URL = "_asked_url"

# How many URLs, and origins, a manager remembers, and up to which length in characters.
_MOST_KNOWN = 1024
_LONGEST_KNOWN_URL = 512

_SelfT = TypeVar("_SelfT", bound="PoolManager")


class PoolKey(NamedTuple):
    """All that decides whether two requests may share a pool; the default key.

    Each field is a keyword of the pool with ``key_`` in front.
    """

    key_scheme: str
    key_host: str
    key_port: int | None
    key_timeout: Any
    key_retries: Any
    key_block: bool | None
    key_source_address: tuple[str, int] | None
    key_key_file: str | None
    key_key_password: str | None
    key_cert_file: str | None
    key_cert_reqs: str | int | None
    key_ca_certs: str | None
    key_ca_cert_data: str | bytes | None
    key_ssl_version: int | str | None
    key_ssl_minimum_version: Any
    key_ssl_maximum_version: Any
    key_ca_cert_dir: str | None
    key_ssl_context: Any
    key_maxsize: int | None
    key_headers: frozenset[tuple[str, str]] | None
    key__proxy: Any
    key__proxy_headers: frozenset[tuple[str, str]] | None
    key__proxy_config: Any
    key_socket_options: Any
    key__socks_options: Any
    key_assert_hostname: bool | str | None
    key_assert_fingerprint: str | Sequence[str] | None
    key_server_hostname: str | None
    key_blocksize: int | None
    key_cert_data: str | bytes | None = None
    key_key_data: str | bytes | None = None
    key_assert_pins: Sequence[str] | None = None
    key_tls_session_cache: Any = None
    key_max_response_size: int | None = None
    key_max_decoded_size: int | None = None
    key_max_expansion: float | None = None
    key_resolver: Any = None
    key_address_filter: Any = None
    key_socket_family: int | None = None
    key_tcp_keepalive: bool | tuple[int, int, int] | None = None
    key_source_interface: str | None = None
    key_socket_path: Any = None
    key_attempt_delay: float | None = None
    key_idle_timeout: float | None = None
    key_max_lifetime: float | None = None
    key_max_requests: int | None = None
    key_obey_keep_alive: bool | None = None
    key_persistent: bool | None = None
    key_retry_stale: bool | None = None

    def __repr__(self) -> str:
        shown = {name: value for name, value in self._asdict().items() if value is not None}
        for name in _SECRET_KEY_FIELDS & shown.keys():
            shown[name] = "***"
        return f"PoolKey({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


# Passwords and keys, and headers, which may hold tokens.
_SECRET_KEY_FIELDS = frozenset(
    {"key_key_password", "key_key_data", "key_headers", "key__proxy_headers", "key__socks_options"}
)


class BasePoolKey(NamedTuple):
    """The least a key of a pool has: where it leads."""

    scheme: str
    host: str
    port: int | None


class HTTPPoolKey(NamedTuple):
    """A key for http pools with plain field names, for programs to widen.

    ``namedtuple("CustomKey", HTTPPoolKey._fields + ("my_field",))`` makes ``my_field`` count.
    """

    scheme: str
    host: str
    port: int | None
    timeout: Any
    retries: Any
    strict: Any
    block: bool | None
    source_address: tuple[str, int] | None


class HTTPSPoolKey(NamedTuple):
    """A key for https pools with plain field names, for programs to widen."""

    scheme: str
    host: str
    port: int | None
    timeout: Any
    retries: Any
    strict: Any
    block: bool | None
    source_address: tuple[str, int] | None
    key_file: str | None
    cert_file: str | None
    cert_reqs: str | int | None
    ca_certs: str | None
    ssl_version: int | str | None
    ca_cert_dir: str | None


def default_key_normalizer(key_class: Any, request_context: Mapping[str, Any]) -> Any:
    """Make a key of `key_class` from the keywords of a pool.

    Fields may be called like the keywords (``timeout``) or with ``key_`` in front; keywords that
    the class has no field for do not count, fields without a keyword are None.  Scheme and host
    are lower-cased; mappings become frozensets and lists tuples, so that the key is hashable.

    :param request_context: the pool's keywords with ``scheme``, ``host`` and ``port``.
    """
    context = dict(request_context)
    context["scheme"] = context["scheme"].lower()
    context["host"] = context["host"].lower()
    for name in ("headers", "_proxy_headers", "_socks_options"):
        if context.get(name) is not None:
            context[name] = frozenset(context[name].items())
    options = context.get("socket_options")
    if options is not None:
        context["socket_options"] = tuple(options)
    for name in ("assert_fingerprint", "assert_pins", "tcp_keepalive"):
        if isinstance(context.get(name), list):
            context[name] = tuple(context[name])
    if context.get("blocksize") is None:
        context["blocksize"] = _DEFAULT_BLOCKSIZE
    if context.get("idle_timeout", 0) is None:
        context["idle_timeout"] = math.inf  # None in a key: nothing was asked for
    get = context.get
    return key_class(*[get(keyword) for keyword in _keywords(key_class._fields)])


@lru_cache(maxsize=64)  # a key is made per request (benchmark ``pm_lookup``)
def _keywords(fields: tuple[str, ...]) -> tuple[str, ...]:
    """Return the pool keywords that key fields stand for: ``key_file`` is one by itself."""
    plain = ("key_file", "key_password", "key_data")
    prefix = "key_"
    return tuple(
        field if field in plain or not field.startswith(prefix) else field[len(prefix) :]
        for field in fields
    )


_default_key_normalizer = default_key_normalizer

#: How the key of a pool is made, by scheme; each manager has its own copy.
key_fn_by_scheme: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "http": partial(default_key_normalizer, PoolKey),
    "https": partial(default_key_normalizer, PoolKey),
}

#: The pool class for each scheme.
pool_classes_by_scheme: dict[str, Any] = {
    "http": HTTPConnectionPool,
    "https": HTTPSConnectionPool,
}


def _parameters(*classes: Any) -> frozenset[str]:
    # Not by the inspect module: loading it takes as long as half of our own (benchmark ``import``).
    # What stands in for HTTPSConnection where there is no ssl module takes nothing.
    codes = [one.__init__.__code__ for one in classes if "__init__" in vars(one)]
    return frozenset(
        name
        for code in codes
        for name in code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
    )


# What pools and connections understand; anything else stays with the manager.
_KNOWN_KEYWORDS = (
    _parameters(HTTPConnectionPool, HTTPSConnectionPool, HTTPSConnection)
    | frozenset(SSL_KEYWORDS)
    | frozenset(LIMIT_KEYWORDS)
    | frozenset(DIALING_KEYWORDS)
    | frozenset(REUSE_KEYWORDS)
    | frozenset(ALIASES)
    | {"scheme", "host", "port", "strict", "_socks_options"}
)
# Keywords that were warned about already; add() and `in` are single steps.
_warned_keywords: set[str] = set()


class _Known:
    """What the present options of a manager make of recent URLs and origins.

    Safe to share between threads: only single operations of dicts change it, and other options
    get a new object.

    :ivar is_usable: no option could change without becoming another object.
    :ivar keys: the key of the pool by scheme, host and port as they were asked for.
    :ivar urls: by URL: the key of the pool, what the key was made for, and the target.
    """

    __slots__ = ("is_usable", "key_functions", "keys", "keywords", "urls")

    def __init__(self, keywords: dict[str, Any], key_functions: dict[str, Any]) -> None:
        self.keywords = keywords.copy()
        self.key_functions = key_functions.copy()
        self.is_usable = not any(
            isinstance(value, (Mapping, list, set, bytearray)) for value in keywords.values()
        )
        self.keys: dict[Any, Any] = {}
        self.urls: dict[str, tuple[Any, Any, str]] = {}

    @staticmethod
    def add(place: dict[Any, Any], key: Any, value: Any) -> None:
        """Remember one more, after forgetting all where there are too many."""
        if len(place) >= _MOST_KNOWN:
            place.clear()
        place[key] = value


class PoolManager(RequestMethods):
    """Sends each request on the pool for its host, making and keeping pools as needed.

    :param num_pools: pools that are kept; the least recently used is dropped for a new one.
    :param headers: sent with every request that is given no headers of its own.
    :param proxies: which proxy leads to which target: a mapping by ``"http"``, ``"https"`` or
        ``"all"``, each alone or with a host (``"https://host:port"``); a callable that gets a
        :class:`~urllib4.util.url.Url`, without credentials, and is asked for each request and
        redirect; or ``"env"`` for :func:`urllib4.proxies.from_environment`.  A proxy is a URL, a
        :class:`urllib4.proxies.Proxy`, or None: the target is reached directly.
    :param proxy_auth: asked when one of them wants credentials (407): gets a
        :class:`~urllib4.proxies.ProxyChallenge`, returns the value of Proxy-Authorization or
        None, and is asked at most once about a challenge.
    :param connection_pool_kw: arguments for new pools, see :class:`HTTPConnectionPool` and
        :class:`HTTPSConnectionPool`.  A keyword that neither knows is kept for keys of your own
        (see :attr:`key_fn_by_scheme`) and goes no further.
        ``max_connections``: how many connections all pools together may have open (None: any
        number); calls wait in the order of their coming, see :ref:`cap`.
    :raises ValueError: `num_pools` is no number of pools, a pin is malformed, or a proxy is.
    :raises TypeError: a keyword has the wrong type.
    :raises SSLError: a fingerprint in a list is malformed.

    Safe to share between threads; best used as a context manager, which clears it.

    :ivar connection_pool_kw: may be changed; new values count for pools made from then on.
    :ivar pools: the pools by key, a :class:`RecentlyUsedContainer`.
    :ivar key_fn_by_scheme: how keys are made; a copy per manager, to be changed freely.
    :ivar pool_classes_by_scheme: which class is made for a scheme; a copy as well.
    :ivar unix_urls: whether URLs may name Unix domain sockets (``http+unix://%2Frun%2Fx.sock/``,
        ``https+unix``); False with a proxy.  Set it to False to refuse them as unknown schemes.
        An ``address_filter`` refuses them as well, and no redirect leads to one.

    .. versionchanged:: 4.0
       `proxies` and `proxy_auth`.
    """

    # Loaded and made only where there are several routes.
    _router: Any = None
    proxy: Url | None = None
    proxy_config: ProxyConfig | None = None
    pool_classes_by_scheme: dict[str, Any] = pool_classes_by_scheme
    unix_urls: bool = True

    def __init__(
        self,
        num_pools: int = 10,
        headers: Mapping[str, str] | None = None,
        *,
        proxies: Any = None,
        proxy_auth: Callable[[Any], str | None] | None = None,
        **connection_pool_kw: Any,
    ) -> None:
        super().__init__(headers)
        if not isinstance(num_pools, int) or num_pools < 0:
            raise ValueError(f"num_pools is a number of pools, at least 0, not {num_pools!r}")
        self._quota = _quota_of(connection_pool_kw.pop("max_connections", None))
        # retries=5 for a pool must not switch off redirects, which are followed here.
        if "retries" in connection_pool_kw:
            retries = connection_pool_kw["retries"]
            if not isinstance(retries, Retry):
                connection_pool_kw["retries"] = Retry.from_int(retries, redirect=True)
        for name in connection_pool_kw:
            _warn_about_typo(name)
        check_pinning(
            connection_pool_kw.get("assert_fingerprint"), connection_pool_kw.get("assert_pins")
        )
        checked_session_cache(connection_pool_kw.get("tls_session_cache"))
        check_dialing(connection_pool_kw, proxy=connection_pool_kw.get("_proxy") is not None)
        use_main_names(connection_pool_kw)
        take_policy(dict(connection_pool_kw))  # for its errors
        self.connection_pool_kw = connection_pool_kw
        self.pools: RecentlyUsedContainer[Any, Any] = RecentlyUsedContainer(
            num_pools, dispose_func=_retire
        )
        self.pool_classes_by_scheme = dict(self.pool_classes_by_scheme)
        self.key_fn_by_scheme: dict[str, Callable[[Mapping[str, Any]], Any]] = (
            key_fn_by_scheme.copy()
        )
        self._tls_sessions = TLSSessionCache()
        self._router = None
        if proxies is not None or proxy_auth is not None:
            self._router = self._make_router(proxies, proxy_auth)
        self._known = _Known(self.connection_pool_kw, self.key_fn_by_scheme)
        watch(self)
        # Python 3.11 reads attributes slowly, ten times, once somebody asked for the dict that is
        # made for that, as `_known_now` does; not in one of our own (benchmark ``small``).
        self.__dict__ = {**self.__dict__}

    def _make_router(self, proxies: Any, proxy_auth: Any) -> Any:
        if self.proxy is not None or "_socks_options" in self.connection_pool_kw:
            raise TypeError(f"{type(self).__name__} has one proxy; PoolManager takes proxies")
        if proxies is None:
            raise ValueError("proxy_auth has no effect without proxies")
        from ._routing import Router

        return Router(proxies, proxy_auth)

    def _after_fork_in_child(self) -> None:
        self.pools.lock = threading.RLock()
        if self._router is not None:
            self._router.after_fork_in_child()

    def __enter__(self: _SelfT) -> _SelfT:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> Literal[False]:
        self.clear()
        return False

    # -- pools -----------------------------------------------------------------------------

    def _new_pool(
        self,
        scheme: str,
        host: str,
        port: int,
        request_context: dict[str, Any] | None = None,
    ) -> Any:
        """Make a pool; what others override to configure it."""
        context = dict(self.connection_pool_kw if request_context is None else request_context)
        pool_class = self._pool_class(scheme, context)
        if context.get("blocksize") is None:
            context["blocksize"] = _DEFAULT_BLOCKSIZE
        for name in ("scheme", "host", "port"):
            context.pop(name, None)
        if scheme == "http":
            for name in _SSL_KEYWORDS.intersection(context):
                del context[name]
        if not context.keys() <= _KNOWN_KEYWORDS:
            for name in context.keys() - _KNOWN_KEYWORDS - _own_keywords(pool_class):
                del context[name]
        pool = pool_class(host, port, **context)
        if getattr(pool, "tls_session_cache", None) is True:
            pool.tls_session_cache = self._tls_sessions  # so that they outlive the pool
        return pool

    def _pool_class(self, scheme: str, context: Mapping[str, Any]) -> Any:
        if self._router is not None and "_socks_options" in context:
            return self._router.socks_pool_class(scheme)
        return self.pool_classes_by_scheme[scheme]

    def clear(self) -> None:
        """Drop all pools: their idle connections are closed now, those in use when done.

        A thread that still holds a pool can go on using it.
        """
        self.pools.clear()

    def close_idle(self) -> int:
        """Close the connections of all pools that are idle now; the pools go on working.

        :returns: how many were open.

        .. versionadded:: 4.0
        """
        return sum(pool.close_idle() for pool in self._own_pools())

    def stats(self) -> PoolStats:
        """Return the sum of what the pools did that the manager has now.

        .. versionadded:: 4.0
        """
        return sum_of(pool.stats() for pool in self._own_pools())

    def _own_pools(self) -> list[HTTPConnectionPool]:
        """Return the pools as they are, without counting that as use of them."""
        with self.pools.lock:
            pools = list(self.pools._container.values())
        return [pool for pool in pools if isinstance(pool, HTTPConnectionPool)]

    def connection_from_host(
        self,
        host: str | None,
        port: int | None = None,
        scheme: str | None = "http",
        pool_kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Return the pool for a host.

        :param port: default: that of the scheme (``connectionpool.port_by_scheme``).
        :param pool_kwargs: override ``connection_pool_kw``; None as a value removes a keyword.
        :raises LocationValueError: no host.
        """
        if not host:
            raise LocationValueError("No host specified.")
        origin = (scheme, host, port)
        known = None if pool_kwargs else self._known_now()
        key = None if known is None else known.keys.get(origin)
        if key is not None:
            pool = self.pools.get(key)
            if pool is not None:
                return pool
        context = self._merge_pool_kwargs(pool_kwargs)
        if known is not None and context != known.keywords:
            known = key = None  # another thread changed an option just now, and may change it back
        _write_origin(context, scheme, host, port)
        if key is not None:
            return self._added(key, context)
        if known is None:
            return self.connection_from_context(context)
        key = self._key_of(context)
        known.add(known.keys, origin, key)
        return self.connection_from_pool_key(key, request_context=context)

    def connection_from_context(self, request_context: dict[str, Any]) -> Any:
        """Return the pool for a mapping of pool keywords, ``scheme`` and ``host`` included.

        :raises KeyError: no ``scheme``.
        :raises URLSchemeUnknown: ``scheme`` is not in :attr:`key_fn_by_scheme`.
        """
        return self.connection_from_pool_key(
            self._key_of(request_context), request_context=request_context
        )

    def _key_of(self, request_context: dict[str, Any]) -> Any:
        if "strict" in request_context:
            warn_caller(
                "The 'strict' parameter has no effect and will be removed in urllib4 5.0.",
                FutureWarning,
            )
            request_context.pop("strict")
        if "scheme" not in request_context:
            raise KeyError("the request context has no 'scheme'")
        if self._router is not None:
            self._router.apply(request_context)
        scheme = request_context["scheme"].lower()
        key_fn = self.key_fn_by_scheme.get(scheme)
        if not key_fn:
            raise URLSchemeUnknown(scheme)
        pool_key = key_fn(request_context)
        if self._router is not None and not isinstance(pool_key, PoolKey):
            # A key class of the program may leave the proxy out, but what is meant for one proxy
            # must not go through another, or through none.
            pool_key = (pool_key, self._router.way_in(request_context))
        return pool_key

    def connection_from_pool_key(
        self, pool_key: Any, request_context: dict[str, Any] | None = None
    ) -> Any:
        """Return the pool for a key.

        :param pool_key: a namedtuple of hashable values with at least scheme, host and port.
        :param request_context: keywords for a new pool; default: those of the manager.
        """
        pool = self.pools.get(pool_key)
        if pool is not None:
            return pool
        if request_context is None:
            request_context = self._context_of_key(pool_key)
        return self._added(pool_key, request_context)

    def _added(self, pool_key: Any, context: dict[str, Any]) -> Any:
        """Return a new pool, unless another thread adds one of the same key just now."""
        # Made without a lock, since overrides run here; a pool without sockets costs little.
        made = self._new_pool(
            context["scheme"], context["host"], context["port"], request_context=context
        )
        if self._quota is not None and isinstance(made, HTTPConnectionPool):
            made._join(self._quota)
        # One step, so that two threads get the same pool; what it evicts is let go of afterwards.
        return self.pools.setdefault(pool_key, made)

    def _context_of_key(self, pool_key: Any) -> dict[str, Any]:
        context = self.connection_pool_kw.copy()
        if self._router is not None:
            pool_key = self._router.write_way_of(pool_key, context)
        for name in ("scheme", "host", "port"):
            prefixed = f"key_{name}"
            context[name] = getattr(pool_key, prefixed if hasattr(pool_key, prefixed) else name)
        return context

    def connection_from_url(self, url: str, pool_kwargs: dict[str, Any] | None = None) -> Any:
        """Return the pool for the host of `url`; parameters as :meth:`connection_from_host`."""
        recalled = None if pool_kwargs else self._recall(url)
        if recalled is not None:
            return recalled[0]
        parsed = parse_url(url)
        if parsed.scheme in UNIX_SCHEMES:
            return self._open_unix(parsed, pool_kwargs)[0]
        pool = self.connection_from_host(
            parsed.host, port=parsed.port, scheme=parsed.scheme, pool_kwargs=pool_kwargs
        )
        if not pool_kwargs:
            self._remember(url, parsed)
        return pool

    # -- what is remembered ----------------------------------------------------------------

    def _known_now(self) -> _Known | None:
        """Return what is known while the options are as now; None if somebody overrides a step."""
        known = self._known
        if (
            known.keywords != self.connection_pool_kw
            or known.key_functions != self.key_fn_by_scheme
        ):
            self._known = known = _Known(self.connection_pool_kw, self.key_fn_by_scheme)
        cls = type(self)
        if (
            known.is_usable
            and self._router is None  # it looks at each URL
            # By identity: what tracers wrap methods in is often equal to what it wraps.
            and cls.connection_from_host is _OWN_FROM_HOST
            and cls.connection_from_context is _OWN_FROM_CONTEXT
            and cls.connection_from_pool_key is _OWN_FROM_POOL_KEY
            and cls._merge_pool_kwargs is _OWN_MERGE
            and cls._proxy_requires_url_absolute_form is _OWN_ABSOLUTE_FORM
            and _LOOKUP.isdisjoint(self.__dict__)
        ):
            return known
        return None

    def _recall(self, url: str) -> tuple[Any, str] | None:
        """Return pool and target for a URL that was asked for before; None for others.

        What takes most of the time between a URL and its pool (benchmark ``pm_lookup``).
        """
        known = self._known_now()
        if known is None or type(url) is not str:
            return None
        found = known.urls.get(url)
        if found is None:
            return None
        key, origin, target = found
        pool = self.pools.get(key)
        if pool is None:
            context = self.connection_pool_kw.copy()
            is_known = context == known.keywords  # as in `connection_from_host`
            _write_origin(context, *origin)
            if not is_known:
                return self.connection_from_context(context), target
            pool = self._added(key, context)
        return pool, target

    def _remember(self, url: str, parsed: Url) -> None:
        """Note the key of the pool for `url`, unless it is long or holds credentials."""
        known = self._known_now()
        if (
            known is not None
            and type(url) is str
            and len(url) <= _LONGEST_KNOWN_URL
            and "@" not in url
            and parsed.scheme is not None
        ):
            origin = (parsed.scheme, parsed.host, parsed.port)
            key = known.keys.get(origin)
            if key is not None:
                known.add(known.urls, url, (key, origin, parsed.request_uri))

    def _merge_pool_kwargs(self, override: dict[str, Any] | None) -> dict[str, Any]:
        merged = self.connection_pool_kw.copy()
        if not override:
            return merged
        if not ALIASES.keys().isdisjoint(override):
            override = dict(override)
            use_main_names(override)
        for name, value in override.items():
            if value is None:
                merged.pop(name, None)
            else:
                merged[name] = value
        return merged

    # -- requests --------------------------------------------------------------------------

    def _proxy_requires_url_absolute_form(self, parsed_url: Url) -> bool:
        """Tell whether the request line to the proxy holds the whole URL."""
        return route_for(self.proxy, self.proxy_config, parsed_url.scheme).absolute_target

    def urlopen(  # type: ignore[override]
        self, method: str, url: str, redirect: bool = True, **kw: Any
    ) -> BaseHTTPResponse:
        """Send a request on the pool for `url` and follow redirects, also to other hosts.

        :param url: absolute; without a scheme it counts as http (deprecated).
        :param kw: see :meth:`HTTPConnectionPool.urlopen`.
        :raises LocationValueError: `url` has no host.
        :raises URLSchemeUnknown: neither http nor https.

        What :meth:`HTTPConnectionPool.urlopen` raises, too.
        """
        if not isinstance(url, str):
            url = parse_url(url).url  # a Url of ours or of urllib3; a TypeError otherwise
        kw["assert_same_host"] = False
        kw["redirect"] = FOLLOWED_BY_CALLER if redirect else False
        if kw.get("headers") is None:
            kw["headers"] = self.headers
        body_pos = None
        if redirect and kw.get("body") is not None:
            # Noted before the first attempt, or a redirect would send what is left of a file.
            body_pos = set_file_position(kw["body"], kw.get("body_pos"))
        if kw.get("timeout", self.connection_pool_kw.get("timeout")) is not None:
            self._start_deadline(kw)
        while True:
            recalled = self._recall(url)
            response: BaseHTTPResponse = (
                self._open_once(method, url, kw)
                if recalled is None
                else recalled[0].urlopen(method, recalled[1], **kw)
            )
            if type(response) is HTTPResponse and response._is_whole:
                return response  # so the pool found that nothing follows (benchmark ``small``)
            location = redirect and response.get_redirect_location()
            if not location:
                return response
            following = self._follow(method, url, response, kw, body_pos)
            if following is None:
                if kw.get("preload_content", True):
                    preload(response)
                return response
            method, url = following
            if type(self).urlopen is not _ORIGINAL_URLOPEN or "urlopen" in self.__dict__:
                # A tracer wants to see each request.
                del kw["assert_same_host"], kw["redirect"]
                return self.urlopen(method, url, redirect=redirect, **kw)

    def _open_once(self, method: str, url: str, kw: dict[str, Any]) -> Any:
        """Send a request to a URL that was not asked for before."""
        parsed = parse_url(url)
        if parsed.scheme is None:
            warn_caller(
                "URLs without a scheme (ie 'https://') are deprecated and will raise an error "
                "in urllib4 5.0. To avoid this warning make sure all URLs start with 'https://' "
                "or 'http://'.",
                FutureWarning,
            )
        if parsed.auth is not None:
            warn_about_credentials()
        if parsed.scheme in UNIX_SCHEMES:
            pool, target = self._open_unix(parsed, None)
            return pool.urlopen(method, target, **kw)
        router = self._router
        if router is None:
            pool = self.connection_from_host(parsed.host, port=parsed.port, scheme=parsed.scheme)
            in_absolute_form = self._proxy_requires_url_absolute_form(parsed)
        else:
            pool = self.connection_from_host(
                parsed.host,
                port=parsed.port,
                scheme=parsed.scheme,
                pool_kwargs={ASKED_URL: parsed._replace(auth=None, fragment=None)},
            )
            in_absolute_form = router.wants_whole_url(pool, parsed)
        if in_absolute_form:
            target = absolute_target(parsed)
            kw = {**kw, "headers": self._set_proxy_headers(target, kw["headers"])}
        else:
            target = parsed.request_uri
            self._remember(url, parsed)
        return pool.urlopen(method, target, **kw)

    def _open_unix(self, url: Url, pool_kwargs: dict[str, Any] | None) -> tuple[Any, str]:
        """Return the pool for the Unix socket that `url` names, and the target on its server.

        :raises URLSchemeUnknown: Unix sockets are switched off, or there is a proxy.
        :raises AddressBlockedError: there is a filter: it is meant for URLs of others.
        :raises LocationValueError: `url` names no socket.
        """
        from ._unix_url import split  # few programs use such URLs

        scheme = UNIX_SCHEMES[url.scheme or ""]
        if not self.unix_urls:
            raise URLSchemeUnknown(url.scheme or "")
        unix = split(url, scheme)
        options = {**(pool_kwargs or {}), "socket_path": unix.socket_path}
        if self._router is not None:
            options[ASKED_URL] = url
        if self._merge_pool_kwargs(options).get("address_filter") is not None:
            raise AddressBlockedError(None, unix.socket_path, "a Unix domain socket")
        pool = self.connection_from_host("localhost", scheme=scheme, pool_kwargs=options)
        return pool, unix.plain.request_uri

    def _set_proxy_headers(self, url: str, headers: Any = None) -> Any:
        """Add what a proxy expects (Accept, and the target's Host) unless given."""
        result = HTTPHeaderDict(headers)
        if "accept" not in result:
            result["Accept"] = "*/*"
        netloc = parse_url(url).netloc
        if netloc and "host" not in result:
            result["Host"] = netloc
        return result

    def _start_deadline(self, kw: dict[str, Any]) -> None:
        """Let a deadline run over all requests of one call, not for each anew."""
        timeout = kw.get("timeout", _DEFAULT_TIMEOUT)
        if timeout is _DEFAULT_TIMEOUT:
            timeout = self.connection_pool_kw.get("timeout")
        if getattr(timeout, "deadline", None) is not None:
            running = coerce_timeout(timeout).clone()
            running._running_deadline = running_deadline(timeout)
            kw["timeout"] = running

    def _follow(
        self, method: str, url: str, response: Any, kw: dict[str, Any], body_pos: Any
    ) -> tuple[str, str] | None:
        """Prepare `kw` for the redirect; None if the response is to be returned as it is.

        :param body_pos: where the body started.
        :raises MaxRetryError: too many redirects.
        :raises UnrewindableBodyError: the body was used up, but is to be sent again.
        """
        retries = kw.get("retries", response.retries)
        retries = as_retry(retries, True, response.retries)
        pool = getattr(response, "_pool", None)
        try:
            step = after_response(response, retries, method, url, True, pool)
        except MaxRetryError:
            response.drain_conn()
            raise
        if step.kind != "redirect" or step.location is None:
            return None
        response.drain_conn()
        unix = _unix_url(url)
        here = url if unix is None else unix.plain.url
        following = redirected(response, step.retries, method, here, step.location, kw["headers"])
        if unix is not None:
            following = following._replace(url=unix.rejoined(following.url))
        if following.drops_body:
            for name in ("body", "body_pos", "chunked"):
                kw.pop(name, None)
        elif kw.get("body") is not None:
            kw["body_pos"] = mark_used(kw["body"], body_pos)
            check_unused(kw["body_pos"])
        kw["retries"] = step.retries
        kw["headers"] = following.headers
        log.info("Redirecting %s -> %s", *map(_without_userinfo, (url, following.url)))
        return following.method, following.url


_ORIGINAL_URLOPEN = PoolManager.urlopen


# Whoever overrides one of these on the way to a pool is asked each time.
def _write_origin(context: dict[str, Any], scheme: str | None, host: str, port: int | None) -> None:
    """Complete the keywords of a pool by where it leads."""
    context["scheme"] = scheme = scheme or "http"
    context["port"] = port_by_scheme.get(scheme.lower(), 80) if port is None else port
    context["host"] = host


# Whoever overrides or replaces one of these wants to be asked for each request.
_OWN_FROM_HOST = PoolManager.connection_from_host
_OWN_FROM_CONTEXT = PoolManager.connection_from_context
_OWN_FROM_POOL_KEY = PoolManager.connection_from_pool_key
_OWN_MERGE = PoolManager._merge_pool_kwargs
_OWN_ABSOLUTE_FORM = PoolManager._proxy_requires_url_absolute_form
_LOOKUP = frozenset(
    (
        "connection_from_host", "connection_from_context", "connection_from_pool_key",
        "_merge_pool_kwargs", "_proxy_requires_url_absolute_form",
    )
)  # fmt: skip


def _unix_url(url: str) -> Any:
    """Return what a URL says about a Unix socket; None: nothing."""
    parsed = parse_url(url)
    if parsed.scheme not in UNIX_SCHEMES:
        return None
    from ._unix_url import split  # few programs use such URLs

    return split(parsed, UNIX_SCHEMES[parsed.scheme])


def _retire(pool: Any) -> None:
    """Let go of a pool that was dropped; other threads may still be using it."""
    retire = getattr(pool, "retire", None)
    if retire is not None:
        retire()


def _quota_of(max_connections: Any) -> Any:
    """Return what enforces a limit for all pools, None where there is none.

    :raises ValueError: it is no number of connections.
    """
    if max_connections is None:
        return None
    if (
        not isinstance(max_connections, int)
        or isinstance(max_connections, bool)
        or max_connections < 1
    ):
        raise ValueError(
            "max_connections is a number of connections, at least 1, or None, not "
            f"{max_connections!r}"
        )
    from ._quota import Quota  # by few programs

    return Quota(max_connections)


def _own_keywords(pool_class: Any) -> frozenset[str]:
    """Return keywords that a replacement class takes beyond ours."""
    connection_class = getattr(pool_class, "ConnectionCls", None)
    classes = [one for one in (pool_class, connection_class) if one is not None]
    import inspect  # few programs have classes of their own

    try:
        return frozenset(
            name
            for one in classes
            for name, parameter in inspect.signature(one).parameters.items()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        )
    except (TypeError, ValueError):  # a class that does not tell
        return frozenset()


def _warn_about_typo(name: str) -> None:
    if name in _KNOWN_KEYWORDS or name in _warned_keywords:
        return
    import difflib  # nearly all know the keywords

    likely = difflib.get_close_matches(name, sorted(_KNOWN_KEYWORDS), n=1, cutoff=0.75)
    if likely:
        _warned_keywords.add(name)
        warn_caller(
            f"PoolManager does not know the keyword {name!r}; did you mean {likely[0]!r}? It is "
            "kept, but has no effect on pools.",
            UserWarning,
        )


class ProxyManager(PoolManager):
    """A manager that sends everything through an HTTP proxy.

    http targets share one pool, to the proxy; each https target has its own, tunnelled by
    CONNECT (RFC 9110, 9.3.6).  Which headers and which TLS settings go where: see
    :class:`urllib4._route.Route`.

    :param proxy_url: ``http://`` or ``https://`` URL of the proxy, or a pool for it.  Credentials
        in it (percent-encoded) become a Proxy-Authorization among the `proxy_headers`.
    :param proxy_headers: for the proxy only, such as
        ``make_headers(proxy_basic_auth="user:password")``, which replaces the URL's credentials.
    :param proxy_ssl_context: for TLS to an https proxy.
    :param use_forwarding_for_https: let an https proxy do https requests for us; it sees all.
    :param proxy_assert_hostname, proxy_assert_fingerprint: for the proxy's certificate.
    :param proxy_auth: asked when the proxy wants credentials (407): gets a
        :class:`~urllib4.proxies.ProxyChallenge`, returns the value of Proxy-Authorization or
        None, and is asked at most once about a challenge.
    :raises ProxySchemeUnknown: another scheme.
    :raises LocationValueError: no host.
    :raises ValueError: credentials that cannot be sent.
    :raises TypeError: `proxy_auth` cannot be called.

    :ivar proxy: the proxy's URL without credentials.

    .. versionchanged:: 4.0
       Credentials in the URL are used; `proxy_auth`.
    """

    unix_urls = False

    def __init__(
        self,
        proxy_url: str | Any,
        num_pools: int = 10,
        headers: Mapping[str, str] | None = None,
        proxy_headers: Mapping[str, str] | None = None,
        proxy_ssl_context: Any = None,
        use_forwarding_for_https: bool = False,
        proxy_assert_hostname: None | str | Literal[False] = None,
        proxy_assert_fingerprint: str | Sequence[str] | None = None,
        *,
        proxy_auth: Callable[[Any], str | None] | None = None,
        **connection_pool_kw: Any,
    ) -> None:
        if isinstance(proxy_url, HTTPConnectionPool):
            proxy_url = f"{proxy_url.scheme}://{proxy_url._tunnel_host}:{proxy_url.port}"
        proxy = parse_url(proxy_url)
        if proxy.scheme not in ("http", "https"):
            raise ProxySchemeUnknown(proxy.scheme)
        if not proxy.host:
            shown = _without_any_userinfo(proxy.url)
            raise LocationValueError(f"the proxy URL has no host: {shown!r}")
        if proxy.port is None:
            proxy = proxy._replace(port=port_by_scheme.get(proxy.scheme, 80))
        self.proxy_headers: Mapping[str, str] = proxy_headers or {}
        if proxy.auth:
            self.proxy_headers = _with_credentials(self.proxy_headers, proxy.auth)
            proxy = proxy._replace(auth=None)
        self.proxy: Url | None = proxy
        self.proxy_ssl_context = proxy_ssl_context
        check_pinning(proxy_assert_fingerprint, None)
        self.proxy_config: ProxyConfig | None = ProxyConfig(
            proxy_ssl_context,
            use_forwarding_for_https,
            proxy_assert_hostname,
            _fingerprints(proxy_assert_fingerprint),
        )
        if proxy_auth is not None:
            self.proxy_config = _answering(self.proxy_config, proxy_auth, proxy)
        connection_pool_kw["_proxy"] = self.proxy
        connection_pool_kw["_proxy_headers"] = self.proxy_headers
        connection_pool_kw["_proxy_config"] = self.proxy_config
        super().__init__(num_pools, headers, **connection_pool_kw)

    def connection_from_host(
        self,
        host: str | None,
        port: int | None = None,
        scheme: str | None = "http",
        pool_kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Return the pool for a target: its own if it is tunnelled, else the proxy's."""
        assert self.proxy is not None
        if scheme == "https":
            return super().connection_from_host(host, port, scheme, pool_kwargs=pool_kwargs)
        if not host:
            raise LocationValueError("No host specified.")
        return super().connection_from_host(
            self.proxy.host, self.proxy.port, self.proxy.scheme, pool_kwargs=pool_kwargs
        )


def _with_credentials(proxy_headers: Mapping[str, str], auth: str) -> Mapping[str, str]:
    """Return the headers with those of a proxy's URL, unless they hold credentials already."""
    from ._proxy_auth import basic_authorization

    headers = HTTPHeaderDict(proxy_headers)
    if PROXY_AUTHORIZATION not in headers:
        headers[PROXY_AUTHORIZATION] = basic_authorization(auth)
    return headers


def _answering(
    config: ProxyConfig, proxy_auth: Callable[[Any], str | None], proxy: Url
) -> ProxyConfig:
    from ._proxy_auth import AnsweringProxyConfig, Authenticator

    return AnsweringProxyConfig.of(config, Authenticator(proxy_auth, proxy))


def _fingerprints(fingerprints: Any) -> Any:
    """Return what can be part of a key."""
    return tuple(fingerprints) if isinstance(fingerprints, list) else fingerprints


def proxy_from_url(url: str, **kw: Any) -> ProxyManager:
    """Return a :class:`ProxyManager` for `url`; `kw` are its arguments."""
    return ProxyManager(proxy_url=url, **kw)
