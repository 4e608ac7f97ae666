"""Many routes in one manager: the pool keywords of each proxy, found by the URL of a request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ._base_connection import ProxyConfig
from ._collections import RecentlyUsedContainer
from ._proxy_auth import AnsweringProxyConfig, Authenticator, ProxyChallenge
from ._route import route_for
from .proxies import Proxy, as_proxy, chooser
from .util.url import Url

#: Proxies whose keywords are remembered, of those that a callable names.
_REMEMBERED = 256

# What a manager writes into the keywords: the URL that was asked for.
_ASKED_URL = "_asked_url"


# The pool keywords that are a way.
_WAY = ("_proxy", "_proxy_headers", "_proxy_config", "_socks_options")


# What goes through proxies.
_ROUTED = frozenset(("http", "https"))


def _hashable(value: Any) -> Any:
    return frozenset(value.items()) if isinstance(value, Mapping) else value


class Router:
    """Finds the way to a target and writes it into the keywords of its pool.

    :param proxies: what ``PoolManager(proxies=...)`` takes.
    :param proxy_auth: answers challenges of all these proxies.
    :raises TypeError, ValueError: as :class:`~urllib4.proxies.Proxy` and `chooser`.

    Safe to share between threads, as far as what the program gave is.
    """

    def __init__(
        self, proxies: Any, proxy_auth: Callable[[ProxyChallenge], str | None] | None
    ) -> None:
        self._choose = chooser(proxies)
        if proxy_auth is not None:
            Authenticator(proxy_auth, Url())  # complains now rather than at the first 407
        self._proxy_auth = proxy_auth
        # Keys may hold credentials: they are what the program's callable returned.
        self._ways: RecentlyUsedContainer[Any, _Way] = RecentlyUsedContainer(_REMEMBERED)

    def after_fork_in_child(self) -> None:
        """Start with a fresh lock."""
        self._ways = RecentlyUsedContainer(_REMEMBERED)

    def __repr__(self) -> str:
        return f"<Router {self._choose!r}>"

    def apply(self, context: dict[str, Any]) -> None:
        """Write the way to a target into `context`; nothing if it is reached directly.

        :param context: pool keywords with ``scheme``, ``host`` and ``port`` of the target, which
            become those of a proxy that is asked for whole URLs.
        """
        url = context.pop(_ASKED_URL, None)
        if url is None:
            host = context["host"]
            host = f"[{host}]" if ":" in host and not host.startswith("[") else host
            url = Url(context["scheme"], None, host, context.get("port"))
        if {url.scheme, context["scheme"].lower()} - _ROUTED:
            return  # a Unix domain socket, which no proxy reaches, or nothing that we know
        chosen = self._choose(url)
        if chosen is not None:
            self._way_through(chosen).apply(context)

    def _way_through(self, chosen: Any) -> _Way:
        if not isinstance(chosen, (str, tuple)):
            chosen = as_proxy(chosen)  # complains, or it is one
        way = self._ways.get(chosen)
        if way is None:
            proxy = as_proxy(chosen)
            assert proxy is not None
            way = self._ways.setdefault(chosen, _Way(proxy, self._proxy_auth))
        return way

    @staticmethod
    def way_in(context: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return what tells the way in `context` from others; hashable."""
        return tuple(_hashable(context.get(name)) for name in _WAY)

    @staticmethod
    def write_way_of(pool_key: Any, context: dict[str, Any]) -> Any:
        """Write the way in a key of a pool into `context`; return the key without it."""
        if type(pool_key) is tuple:
            pool_key, way = pool_key
        else:
            way = [getattr(pool_key, f"key_{name}", None) for name in _WAY]
        for name, value in zip(_WAY, way, strict=True):
            if value is not None:
                context[name] = dict(value) if isinstance(value, frozenset) else value
        return pool_key

    @staticmethod
    def wants_whole_url(pool: Any, url: Url) -> bool:
        """Tell whether `pool` leads to a proxy that is asked for whole URLs."""
        proxy, config = getattr(pool, "proxy", None), getattr(pool, "proxy_config", None)
        return route_for(proxy, config, url.scheme).absolute_target

    @staticmethod
    def socks_pool_class(scheme: str) -> Any:
        """Return the pool class that goes through a SOCKS proxy to targets of `scheme`."""
        from .contrib._socks import SOCKSHTTPConnectionPool, SOCKSHTTPSConnectionPool

        return SOCKSHTTPSConnectionPool if scheme == "https" else SOCKSHTTPConnectionPool


class _Way:
    """The pool keywords of one proxy."""

    def __init__(
        self, proxy: Proxy, proxy_auth: Callable[[ProxyChallenge], str | None] | None
    ) -> None:
        self._proxy = proxy
        self._keywords: dict[str, Any]
        self._config: ProxyConfig | None = None
        if proxy.is_socks:
            self._keywords = {"_socks_options": _socks_options(proxy)}
            return
        self._config = ProxyConfig(
            proxy.ssl_context,
            proxy.use_forwarding_for_https,
            proxy.assert_hostname,
            proxy.assert_fingerprint,
        )
        if proxy_auth is not None:
            auth = Authenticator(proxy_auth, proxy.url)
            self._config = AnsweringProxyConfig.of(self._config, auth)
        self._keywords = {
            "_proxy": proxy.url,
            "_proxy_headers": proxy.headers,
            "_proxy_config": self._config,
        }

    def apply(self, context: dict[str, Any]) -> None:
        context.update(self._keywords)
        # As with ProxyManager, an https target has its own pool also where the proxy forwards.
        if self._config is not None and context["scheme"].lower() != "https":
            url = self._proxy.url
            context["scheme"], context["host"], context["port"] = url.scheme, url.host, url.port


def _socks_options(proxy: Proxy) -> Mapping[str, Any]:
    from .contrib._socks import options_of

    url = proxy.url._replace(auth=proxy._auth)
    return options_of(url, repr(proxy))
