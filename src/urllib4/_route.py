"""The route: how to reach an origin, as one value from which all else follows."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from ._base_connection import ProxyConfig
from .util.url import Url


class Route(NamedTuple):
    """How requests for one target scheme travel.

    ======= ====== ========== ======= ============================ ======== ============= ========
    proxy   target forwarding kind    hops                         request  proxy headers pool
                                                                   target   go with       key
    ======= ====== ========== ======= ============================ ======== ============= ========
    none    http   --         direct  TCP                          origin   nothing       target
    none    https  --         direct  TCP, TLS to the target       origin   nothing       target
    http    http   any        forward TCP to the proxy             absolute each request  proxy
    https   http   any        forward TLS to the proxy             absolute each request  proxy
    http    https  any        tunnel  TCP, CONNECT, TLS to target  origin   CONNECT       target
    https   https  no         tunnel  TLS, CONNECT, TLS inside     origin   CONNECT       target
    https   https  yes        forward TLS to the proxy             absolute each request  target
    socks   http   --         direct  TCP, SOCKS                   origin   --            target
    socks   https  --         direct  TCP, SOCKS, TLS to target    origin   --            target
    ======= ====== ========== ======= ============================ ======== ============= ========

    *Pool key*: whose scheme, host and port are part of the key.  The proxy, its headers and its
    TLS settings (or the SOCKS options) always are, so a connection serves one way only.

    *TLS*: each hop is verified by itself.  Client certificates, ``server_hostname``, pins and
    assertions of the target never apply to the proxy, nor those of the proxy to the target.  A
    proxy that gets whole https requests sees all of them, and verifies the target or does not.

    *Headers*: those of the request go to whoever reads the request; those of the proxy, credentials
    included, to the proxy.  So both meet in a forwarded request, and never inside a tunnel.

    SOCKS, spoken by the connection class when it opens its socket, needs no kind of its own.
    """

    kind: Literal["direct", "forward", "tunnel"]
    proxy: Url | None = None

    @property
    def absolute_target(self) -> bool:
        """Whether the request line holds the whole URL (RFC 9112, 3.2.2)."""
        return self.kind == "forward"

    @property
    def proxy_headers_with_requests(self) -> bool:
        """Whether the proxy's headers are part of each request."""
        return self.kind == "forward"


#: The field that holds credentials for a proxy (RFC 9110, 11.7.2).
PROXY_AUTHORIZATION = "Proxy-Authorization"

DIRECT = Route("direct")


def route_for(proxy: Any, config: ProxyConfig | None, scheme: str | None) -> Route:
    """Return the route to targets of `scheme` through `proxy` (None: no proxy)."""
    if proxy is None:
        return DIRECT
    if scheme == "http":
        return Route("forward", proxy)
    if proxy.scheme == "https" and config is not None and config.use_forwarding_for_https:
        return Route("forward", proxy)
    return Route("tunnel", proxy)
