"""The route: how to reach an origin, as one value from which all else follows."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from ._base_connection import ProxyConfig
from .util.url import Url


class Route(NamedTuple):
    """How requests for one target scheme travel.

    ======= ====== ========== ======= ============================ ======== =====================
    proxy   target forwarding kind    hops                         target   proxy headers go with
    ======= ====== ========== ======= ============================ ======== =====================
    none    http   --         direct  TCP                          origin   nothing
    none    https  --         direct  TCP, TLS to the target       origin   nothing
    http    http   --         forward TCP to the proxy             absolute each request
    https   http   --         forward TLS to the proxy             absolute each request
    http    https  any        tunnel  TCP, CONNECT, TLS to target  origin   CONNECT
    https   https  no         tunnel  TLS, CONNECT, TLS inside     origin   CONNECT
    https   https  yes        forward TLS to the proxy             absolute each request
    ======= ====== ========== ======= ============================ ======== =====================

    *forward*: one pool for the proxy itself, whatever the target.  *direct* and *tunnel*: one
    pool per target.  Client certificates, ``server_hostname`` and assertions of the target
    never apply to the proxy.  SOCKS is a direct route whose connection class opens its socket
    through the proxy.
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
