"""Does a request need a CONNECT tunnel?"""

from __future__ import annotations

from .._base_connection import ProxyConfig
from .._route import route_for
from .url import Url

__all__ = ["connection_requires_http_tunnel"]


def connection_requires_http_tunnel(
    proxy_url: Url | None = None,
    proxy_config: ProxyConfig | None = None,
    destination_scheme: str | None = None,
) -> bool:
    """Tell whether the way to a target goes through CONNECT (RFC 9110, 9.3.6).

    :param proxy_url: parsed URL of the proxy; None: there is none.
    :param proxy_config: how the proxy is to be used.
    :param destination_scheme: scheme of the target; None counts as not http.
    """
    return route_for(proxy_url, proxy_config, destination_scheme).kind == "tunnel"
