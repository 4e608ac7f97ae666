"""Servers on Unix domain sockets: by keyword and by URL."""

from __future__ import annotations

import errno
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from dummyserver.certs import Certificates
from dummyserver.counting import CountingServer, ok
from urllib4 import (
    CancelToken,
    HTTPConnectionPool,
    HTTPSConnectionPool,
    PoolManager,
    ProxyManager,
    Timeout,
    connection_from_url,
)
from urllib4.address_filters import public_addresses_only
from urllib4.contrib.socks import SOCKSProxyManager
from urllib4.exceptions import (
    AddressBlockedError,
    ConnectTimeoutError,
    LocationValueError,
    NewConnectionError,
    RequestCancelledError,
    URLSchemeUnknown,
)

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets")


class UnixServer:
    """Relays a Unix socket to a server on TCP."""

    def __init__(self, path: Any, port: int) -> None:
        self.url = "http+unix://" + quote(str(path), safe="")
        self._port = port
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                end, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._port))
            for one, other in ((end, far), (far, end)):
                self._threads.append(threading.Thread(target=_relay, args=(one, other)))
                self._threads[-1].start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)


def _relay(one: socket.socket, other: socket.socket) -> None:
    with one:
        with suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        with suppress(OSError):
            other.shutdown(socket.SHUT_WR)


Start = Callable[..., UnixServer]


@pytest.fixture
def start() -> Iterator[Start]:
    running: list[UnixServer] = []

    def make(path: Any, port: int) -> UnixServer:
        running.append(UnixServer(path, port))
        return running[-1]

    yield make
    for one in running:
        one.close()


@pytest.fixture
def server() -> Iterator[CountingServer]:
    with CountingServer() as running:
        yield running


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.sock"


# -- by keyword ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [str, Path])
def test_a_pool_connects_to_the_path(
    start: Start, server: CountingServer, path: Path, kind: Any
) -> None:
    start(str(path), server.port)
    with HTTPConnectionPool("api.example", socket_path=kind(path)) as pool:
        for _ in range(3):
            assert pool.request("GET", "/a?b=c").data == b"/a?b=c"
        assert pool.num_connections == 1
    assert server.exchanges[0].header("Host") == "api.example"


def test_tls_over_a_unix_socket(start: Start, certs: Certificates, path: Path) -> None:
    with CountingServer(tls=certs.server_context()) as server:
        url = start(str(path), server.port).url
        with HTTPSConnectionPool(
            "localhost", socket_path=path, ca_certs=certs.ca_file
        ) as pool:  # fmt: skip
            assert pool.request("GET", "/").status == 200
        with PoolManager(ca_certs=certs.ca_file) as manager:
            response = manager.request("GET", url.replace("http+", "https+") + "/x")
            assert response.data == b"/x"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")
def test_an_abstract_name(start: Start, server: CountingServer) -> None:
    name = f"\0urllib4-test-{os.getpid()}"
    start(name, server.port)
    with HTTPConnectionPool("localhost", socket_path=name) as pool:
        assert pool.request("GET", "/").status == 200


def test_what_concerns_addresses_does_not_count(
    start: Start, server: CountingServer, path: Path
) -> None:
    start(str(path), server.port)
    with HTTPConnectionPool(
        "localhost",
        socket_path=path,
        address_filter=public_addresses_only,
        socket_family=socket.AF_INET,
        tcp_keepalive=True,
        source_interface="lo",
        source_address=("192.0.2.1", 0),
    ) as pool:
        assert pool.request("GET", "/").status == 200


def test_options_of_sockets_are_set(start: Start, server: CountingServer, path: Path) -> None:
    start(str(path), server.port)
    options = [(socket.SOL_SOCKET, socket.SO_SNDBUF, 70000), (socket.IPPROTO_TCP, 1, 1)]
    with HTTPConnectionPool("localhost", socket_path=path, socket_options=options) as pool:
        response = pool.request("GET", "/", preload_content=False)
        sock = response.connection.sock  # type: ignore[union-attr]
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) in (70000, 140000)
        response.drain_conn()


def test_a_path_that_does_not_exist_is_named(path: Path) -> None:
    with (
        HTTPConnectionPool("localhost", socket_path=path, retries=False) as pool,
        pytest.raises(NewConnectionError) as caught,
    ):
        pool.request("GET", "/")
    assert f"No such file or directory: {str(path)!r}" in str(caught.value)
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_a_path_where_nobody_listens_is_named(path: Path) -> None:
    path.write_text("")
    with (
        HTTPConnectionPool("localhost", socket_path=path, retries=False) as pool,
        pytest.raises(NewConnectionError, match=r"refused: '.*x\.sock'") as caught,
    ):
        pool.request("GET", "/")
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ECONNREFUSED


@pytest.fixture
def full(path: Path) -> Iterator[Path]:
    """A socket whose queue is full."""
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(str(path))
        listener.listen(0)
        first.connect(str(path))
        yield path


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="others refuse")
def test_a_full_queue_is_waited_for_as_long_as_allowed(full: Path) -> None:
    start = time.monotonic()
    with (
        HTTPConnectionPool(
            "localhost", socket_path=full, timeout=Timeout(connect=0.2), retries=False
        ) as pool,
        pytest.raises(ConnectTimeoutError) as caught,
    ):
        pool.request("GET", "/")
    assert not isinstance(caught.value, NewConnectionError)
    assert time.monotonic() - start >= 0.2


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="others refuse")
def test_a_token_ends_the_wait_for_a_full_queue(full: Path) -> None:
    token = CancelToken()
    timer = threading.Timer(0.1, token.cancel)
    timer.start()
    with (
        HTTPConnectionPool("localhost", socket_path=full) as pool,
        pytest.raises(RequestCancelledError, match="connecting"),
    ):
        pool.request("GET", "/", cancel=token)
    timer.join()


# -- by URL ----------------------------------------------------------------------------------------


def test_a_manager_takes_urls(start: Start, server: CountingServer, path: Path) -> None:
    url = start(str(path), server.port).url
    with PoolManager() as manager:
        assert manager.request("GET", f"{url}/a b?c=d#e").data == b"/a%20b?c=d"
        assert manager.request("POST", url, body=b"x").data == b"/"
        assert manager.request("GET", f"{url}?q=1").data == b"/?q=1"
        assert manager.request("GET", url.replace("http+unix", "HTTP+UNIX")).data == b"/"
        assert len(manager.pools) == 1
        pool = manager.connection_from_url(url)
        assert pool.num_connections == 1
        assert manager.connection_from_host("localhost") is not pool
    assert {exchange.header("Host") for exchange in server.exchanges} == {"localhost"}


def test_each_path_has_a_pool(tmp_path: Path) -> None:
    with PoolManager() as manager:
        pools = {
            manager.connection_from_url(f"http+unix://{quote(str(tmp_path / name), safe='')}/")
            for name in ("a", "b", "A")
        }
        assert len(pools) == 3


@pytest.mark.parametrize("location", ["/b", "b", "?b", "http://localhost/b", "//localhost:80/b"])
def test_redirects_stay_within_the_socket(start: Start, path: Path, location: str) -> None:
    def answer(exchange: Any) -> bytes:
        if exchange.target == "/a/x":
            return ok(b"", f"Location: {location}", status="302 Found")
        return ok(exchange.target.encode())

    with CountingServer(answer) as server:
        url = start(str(path), server.port).url
        with PoolManager() as manager:
            response = manager.request(
                "GET", f"{url}/a/x", headers={"Authorization": "secret", "Cookie": "a=b"}
            )
            assert response.data in (b"/b", b"/a/b", b"/a/x?b")
            assert len(manager.pools) == 1
        assert server.exchanges[1].header("Authorization") == "secret"


def test_a_redirect_to_another_host_leaves_the_socket(
    start: Start, server: CountingServer, path: Path
) -> None:
    target = f"http://127.0.0.1:{server.port}/there"
    with CountingServer(lambda _: ok(b"", f"Location: {target}", status="302 Found")) as local:
        url = start(str(path), local.port).url
        with PoolManager() as manager:
            headers = {"Authorization": "secret"}
            assert manager.request("GET", url, headers=headers).data == b"/there"
    assert server.exchanges[0].header("Authorization") is None


def test_no_redirect_leads_to_a_socket(start: Start, server: CountingServer, path: Path) -> None:
    """A server must not make us talk to what runs on this machine."""
    url = start(str(path), server.port).url
    with (
        CountingServer(lambda _: ok(b"", f"Location: {url}/", status="302 Found")) as evil,
        PoolManager() as manager,
        pytest.raises(URLSchemeUnknown, match=r"http\+unix"),
    ):
        manager.request("GET", evil.url)
    assert server.connections == 0


def test_a_manager_with_a_filter_takes_no_such_urls(
    start: Start, server: CountingServer, path: Path
) -> None:
    """A filter is for URLs of others, and no socket of this machine is a public address."""
    url = start(str(path), server.port).url
    with PoolManager(address_filter=lambda address, port: True) as manager:
        for open_it in (
            lambda: manager.request("GET", url),
            lambda: manager.connection_from_url(url),
        ):
            with pytest.raises(AddressBlockedError, match="a Unix domain socket"):
                open_it()
    assert server.connections == 0


@pytest.mark.parametrize("kind", ["off", "http-proxy", "socks"])
def test_where_there_are_no_unix_urls_the_scheme_is_unknown(kind: str) -> None:
    manager: PoolManager
    if kind == "off":
        manager = PoolManager()
        manager.unix_urls = False
    elif kind == "http-proxy":
        manager = ProxyManager("http://127.0.0.1:9")
    else:
        manager = SOCKSProxyManager("socks5h://127.0.0.1:9")
    for scheme in ("http+unix", "https+unix"):
        with pytest.raises(URLSchemeUnknown, match=rf"{scheme[:5].rstrip('+')}.*unix"):
            manager.request("GET", f"{scheme}://%2Frun%2Fx.sock/")


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http+unix:///run/x.sock", "No socket specified"),
        ("http+unix://", "No socket specified"),
        ("http+unix://%2Frun%2Fx.sock:80/", "has no port"),
        (f"http+unix://%2F{'x' * 200}/", "too long: 201 bytes"),
        ("http+unix://%2Frun%00x/", "is the path of a socket"),
        ("http+unix://%00/", "is the path of a socket"),
    ],
    ids=["three-slashes", "nothing", "port", "long", "nul", "only-nul"],
)
def test_a_url_that_names_no_socket_is_refused(url: str, text: str) -> None:
    with PoolManager() as manager, pytest.raises(LocationValueError, match=text):
        manager.request("GET", url)


def test_a_pool_is_made_from_a_url(start: Start, server: CountingServer, path: Path) -> None:
    url = start(str(path), server.port).url
    with connection_from_url(f"{url}/ignored") as pool:
        assert pool.request("GET", "/x").data == b"/x"
    assert type(connection_from_url(url.replace("http+", "https+"))) is HTTPSConnectionPool


def test_credentials_in_the_url_are_not_sent(
    start: Start, server: CountingServer, path: Path
) -> None:
    url = start(str(path), server.port).url.replace("://", "://ann:secret@")
    with PoolManager() as manager, pytest.warns(Warning, match="credentials"):
        assert manager.request("GET", url).status == 200
    assert server.exchanges[0].header("Authorization") is None
