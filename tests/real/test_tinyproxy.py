"""tinyproxy, which closes every connection without having said so."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dummyserver.server import DummyServer
from tests.real.servers import Tinyproxy, Way
from urllib4 import PoolManager
from urllib4.exceptions import MaxRetryError, ProxyError
from urllib4.util.wait import wait_for_read

OpenManager = Callable[..., PoolManager]


def test_a_connection_that_was_closed_meanwhile_is_not_used_again(
    tinyproxy: Tinyproxy, server: DummyServer, open_manager: OpenManager
) -> None:
    """RFC 9112, 9.5: the answer had no Connection: close, yet its sender closes."""
    manager = open_manager(Way(tinyproxy.url))
    pool = manager.connection_from_url(server.http_url)
    ports = set()
    for _ in range(3):
        answer = manager.request("GET", f"{server.http_url}/echo")
        assert (answer.status, answer.headers.get("Connection")) == (200, None)
        (conn,) = filter(None, pool.pool.queue)
        ports.add(conn.sock.getsockname()[1])
        assert wait_for_read(conn.sock, 10)
    assert len(ports) == 3


def test_tunnels_stay_open(
    tinyproxy_auth: Tinyproxy, server: DummyServer, open_manager: OpenManager
) -> None:
    manager = open_manager(tinyproxy_auth.way._replace(keeps=True))
    for _ in range(3):
        assert manager.request("GET", f"{server.https_url}/echo").status == 200
    assert manager.connection_from_url(server.https_url).num_connections == 1


@pytest.mark.parametrize("name", ["expired_url", "wrong_host_url", "no_san_url", "untrusted_url"])
def test_a_bad_certificate_at_the_end_of_the_tunnel_is_the_targets(
    tinyproxy: Tinyproxy, server: DummyServer, open_manager: OpenManager, name: str
) -> None:
    with pytest.raises(MaxRetryError, match="CERTIFICATE_VERIFY_FAILED") as caught:
        open_manager(tinyproxy.way).request("GET", f"{getattr(server, name)}/echo")
    assert not isinstance(caught.value.reason, ProxyError)
