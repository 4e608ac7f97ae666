"""The server that the examples talk to: ``example.com`` is a thread of the build.

While the examples run, connections to ``example.com`` and its subdomains end at the project's own
test servers (``dummyserver``), whose certificate authority is trusted; connections to anywhere
else are refused.  So the examples read like a program's code, and none needs the internet.
"""

from __future__ import annotations

import contextlib
import logging
import os
from typing import Any

from dummyserver.certs import LOOPBACK_NAMES, Certificates
from dummyserver.proxy import Proxy
from dummyserver.server import DummyServer
from dummyserver.socks import SocksProxy
from urllib4.util import connection

#: Names that the proxy knows.
PROXIED = ("example.com", "www.example.com", "api.example.com")

server: Any = None
certificates: Any = None
proxy: Any = None
socks: Any = None
tls_proxy: Any = None

_running = contextlib.ExitStack()


def setup(app: Any) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("builder-inited", _start)
    app.connect("build-finished", _stop)
    return {"parallel_read_safe": True}


def _start(app: Any) -> None:
    global certificates, proxy, server, socks, tls_proxy
    if app.builder.name != "doctest":
        return
    # Handshakes that fail and clients that leave early are part of the show.
    logging.getLogger("tornado").setLevel(logging.CRITICAL)
    certificates = _running.enter_context(Certificates())
    names = (*LOOPBACK_NAMES, "example.com", "*.example.com")
    certificates.server = certificates.issue("docs", *names)
    server = _running.enter_context(DummyServer(certificates))
    known = {(name, port): _local_address(name, port) for name in PROXIED for port in (80, 443)}
    options: Any = {"credentials": "ann:secret", "resolve": known}
    options["tunnel_headers"] = ["Via: 1.1 proxy.example.com"]
    proxy = _running.enter_context(Proxy(**options))
    tls_proxy = _running.enter_context(Proxy(tls=certificates.server_context(), **options))
    socks = _running.enter_context(SocksProxy(credentials=("ann", "secret"), resolve=known))
    _change_environment()
    original = connection.create_connection
    _running.callback(setattr, connection, "create_connection", original)

    def create_connection(address: tuple[str, int], *args: Any, **kw: Any) -> Any:
        if "resolver" in kw or "address_filter" in kw:
            return original(address, *args, **kw)  # the example is about these
        host, port = address
        return original(_local_address(host, port), *args, **kw)

    connection.create_connection = create_connection


def _change_environment() -> None:
    """Trust our authority, and nothing that is set on this machine."""
    unwanted = ("SSL_CERT_DIR", "SSLKEYLOGFILE")
    saved = dict(os.environ)
    _running.callback(os.environ.update, saved)
    for name in unwanted:
        os.environ.pop(name, None)
    os.environ["SSL_CERT_FILE"] = certificates.ca_file
    _running.callback(os.environ.pop, "SSL_CERT_FILE", None)


def _local_address(host: str, port: int) -> tuple[str, int]:
    """Return where the server for `host` really listens."""
    if host in LOOPBACK_NAMES:
        return host, port
    urls = {
        "expired.example.com": server.expired_url,
        "untrusted.example.com": server.untrusted_url,
        "members.example.com": server.client_cert_url,
    }
    if host.endswith("nowhere.example.com") or not f".{host}".endswith(".example.com"):
        raise ConnectionRefusedError(111, "Connection refused")
    if host == "proxy.example.com":
        return "127.0.0.1", proxy.port
    if host == "tls-proxy.example.com":
        return "127.0.0.1", tls_proxy.port
    if host == "socks.example.com":
        return "127.0.0.1", socks.port
    url = urls.get(host) or (server.https_url if port == 443 else server.http_url)
    return "127.0.0.1", int(url.rpartition(":")[2])


def _stop(app: Any, exception: Exception | None) -> None:
    _running.close()
