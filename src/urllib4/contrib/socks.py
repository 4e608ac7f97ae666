"""SOCKS proxies, versions 4, 4a, 5 and 5h; needs the extra ``urllib4[socks]``.

======== ================= ================== ==========================================
scheme   who finds the     what is sent to    credentials
         target's address  the proxy
======== ================= ================== ==========================================
socks4   we                an IPv4 address    user name
socks4a  the proxy         name or address    user name
socks5   we                an address         user name and password (RFC 1929), or none
socks5h  the proxy         name or address    user name and password (RFC 1929), or none
======== ================= ================== ==========================================

``socks4a`` and ``socks5h`` ask no name server on this side, which matters for ``.onion`` names and
for whoever does not want to show where they go.

SOCKS itself is spoken by python-socks, through its public interface: it takes a connection
to the proxy from a *forward* proxy (made for chains of proxies), which is ours.  So the socket is
opened by `urllib4.util.connection.create_connection` like all others, and every wait of the
handshake ends at the timeout of the connection, the deadline of the call, or its cancel token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..exceptions import _without_any_userinfo
from ..poolmanager import PoolManager
from ..util.url import parse_url
from ._socks import (
    SOCKSConnection,
    SOCKSHTTPConnectionPool,
    SOCKSHTTPSConnection,
    SOCKSHTTPSConnectionPool,
    _Masked,
    options_of,
)

__all__ = [
    "SOCKSConnection",
    "SOCKSHTTPConnectionPool",
    "SOCKSHTTPSConnection",
    "SOCKSHTTPSConnectionPool",
    "SOCKSProxyManager",
]


class SOCKSProxyManager(PoolManager):
    """A manager that sends everything through a SOCKS proxy.

    ::

        proxy = SOCKSProxyManager("socks5h://ann:secret@localhost:1080/")
        proxy.request("GET", "https://example.com/")

    :param proxy_url: ``socks4``, ``socks4a``, ``socks5`` or ``socks5h``, host, and port (default:
        1080).  Credentials in it are percent-decoded.
    :param username, password: instead of those in the URL, taken as they are.  SOCKS 4 has user
        names only.  They are sent as UTF-8.
    :param num_pools, headers, connection_pool_kw: as for
        :class:`~urllib4.poolmanager.PoolManager`.  A connect timeout bounds the way to the proxy
        and the handshake together.
    :raises ValueError: another scheme, no host, or credentials that cannot be sent; the text does
        not show the password.

    Everything that goes wrong before the target is reached is a
    :exc:`~urllib4.exceptions.NewConnectionError` or
    :exc:`~urllib4.exceptions.ConnectTimeoutError`, so it counts as ``connect`` for a
    :class:`~urllib4.util.retry.Retry`.

    Safe to share between threads.

    :ivar proxy_url: as it was given; its ``repr`` hides the credentials.
    """

    pool_classes_by_scheme: dict[str, Any] = {
        "http": SOCKSHTTPConnectionPool,
        "https": SOCKSHTTPSConnectionPool,
    }
    unix_urls = False

    def __init__(
        self,
        proxy_url: str,
        username: str | None = None,
        password: str | None = None,
        num_pools: int = 10,
        headers: Mapping[str, str] | None = None,
        **connection_pool_kw: Any,
    ) -> None:
        shown = _without_any_userinfo(str(proxy_url))
        self.proxy_url: str = _Masked(str(proxy_url), shown)
        connection_pool_kw["_socks_options"] = options_of(
            parse_url(proxy_url), shown, username, password
        )
        super().__init__(num_pools, headers, **connection_pool_kw)
