"""Requests through SOCKS proxies: good ones, hostile ones, slow ones."""

from __future__ import annotations

import builtins
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dummyserver.counting import CountingServer
from dummyserver.script import ScriptedServer
from dummyserver.server import DummyServer
from dummyserver.socks import SocksProxy, SocksRequest
from tests.examples import examples
from urllib4 import CancelToken, Retry, Timeout
from urllib4._deadline import Deadline
from urllib4.contrib._socks import _BoundedSocket
from urllib4.contrib.socks import SOCKSConnection, SOCKSProxyManager
from urllib4.exceptions import (
    ConnectTimeoutError,
    DeadlineExceededError,
    LocationParseError,
    LocationValueError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    RequestCancelledError,
    SSLError,
)
from urllib4.util import connection as util_connection

SCHEMES = ("socks4", "socks4a", "socks5", "socks5h")
REMOTE = ("socks4a", "socks5h")

#: Long enough that a healthy exchange on a busy machine is not cut off, seconds.
SHORT = 0.15

GRANTED_4 = b"\0\x5a\0\0\0\0\0\0"
GRANTED_5 = b"\5\0\0\1\0\0\0\0\0\0"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def proxy() -> Iterator[SocksProxy]:
    with SocksProxy() as running:
        yield running


@contextmanager
def through(proxy: SocksProxy, scheme: str, **options: Any) -> Iterator[SOCKSProxyManager]:
    with SOCKSProxyManager(proxy.url_for(scheme), **options) as manager:
        yield manager


# -- good cases ------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
def test_http(server: DummyServer, proxy: SocksProxy, scheme: str) -> None:
    with through(proxy, scheme) as manager:
        response = manager.request("GET", f"http://127.0.0.1:{server.http_port}/echo?a=b")
    assert response.json()["args"] == {"a": ["b"]}
    version = 4 if scheme.startswith("socks4") else 5
    assert proxy.log == [
        SocksRequest(version, "ipv4", "127.0.0.1", server.http_port, b"", b""),
    ]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_https_is_verified_end_to_end(
    server: DummyServer, ca_file: str, proxy: SocksProxy, scheme: str
) -> None:
    """The proxy carries TLS records only: the certificate is checked for the target's name."""
    with through(proxy, scheme, ca_certs=ca_file) as manager:
        assert manager.request("GET", f"{server.https_url}/").status == 200
        pool = manager.connection_from_url(server.https_url)
        assert [conn.is_verified for conn in pool.pool.queue if conn] == [True]
        with pytest.raises(MaxRetryError) as caught:
            manager.request("GET", f"{server.wrong_host_url}/", retries=0)
    assert isinstance(caught.value.reason, SSLError)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_who_resolves_the_name(
    server: DummyServer, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    """With 4a and 5h no name server on this side learns where we go."""
    asked = []

    def getaddrinfo(host: str, *args: Any) -> Any:
        asked.append(host)
        return original("127.0.0.1" if host == "made-up.example" else host, *args)

    original = socket.getaddrinfo
    monkeypatch.setattr(util_connection.socket, "getaddrinfo", getaddrinfo)
    leads = {("made-up.example", server.http_port): ("127.0.0.1", server.http_port)}
    with SocksProxy(resolve=leads) as proxy, through(proxy, scheme) as manager:
        assert manager.request("GET", f"http://made-up.example:{server.http_port}/").status == 200
    remote = scheme in REMOTE
    assert ("made-up.example" in asked) is not remote
    assert proxy.log[0].host == ("made-up.example" if remote else "127.0.0.1")
    assert proxy.log[0].kind == ("name" if remote else "ipv4")


def test_an_international_name_is_sent_as_a_labels(server: DummyServer) -> None:
    leads = {("xn--bcher-kva.example", 80): ("127.0.0.1", server.http_port)}
    with SocksProxy(resolve=leads) as proxy, through(proxy, "socks5h") as manager:
        assert manager.request("GET", "http://bücher.example/").status == 200
        conn = SOCKSConnection(manager.connection_pool_kw["_socks_options"], "bücher.example")
        conn.connect()
        conn.close()
    assert [entry.host for entry in proxy.log] == ["xn--bcher-kva.example"] * 2


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_an_ipv6_target(server: DummyServer, proxy: SocksProxy, scheme: str) -> None:
    if not server.http_ipv6_url:
        pytest.skip("no IPv6 on this machine")
    with through(proxy, scheme) as manager:
        assert manager.request("GET", f"{server.http_ipv6_url}/").status == 200
    assert (proxy.log[0].kind, proxy.log[0].host) == ("ipv6", "::1")


def test_an_ipv6_proxy(server: DummyServer) -> None:
    if not server.http_ipv6_url:
        pytest.skip("no IPv6 on this machine")
    with SocksProxy(host="::1") as proxy, through(proxy, "socks5h") as manager:
        assert manager.request("GET", f"{server.http_url}/").status == 200
    assert len(proxy.log) == 1


def test_an_ipv6_target_does_not_go_through_socks4(proxy: SocksProxy) -> None:
    """SOCKS4 has four bytes for the address; it must not be sent as a name either."""
    with (
        through(proxy, "socks4", retries=False) as manager,
        pytest.raises(NewConnectionError, match="no IPv4 address, and SOCKS4 knows no other"),
    ):
        manager.request("GET", "http://[::1]:9/")
    assert proxy.connections == 0


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_user_name_and_password(server: DummyServer, scheme: str) -> None:
    """Percent-decoded, and sent as UTF-8."""
    with SocksProxy(credentials=("ann@example", "pä:ss")) as proxy:
        url = proxy.url_for(scheme, "ann%40example:p%C3%A4%3Ass")
        with SOCKSProxyManager(url) as manager:
            assert manager.request("GET", f"{server.http_url}/").status == 200
        with SOCKSProxyManager(
            proxy.url_for(scheme), username="ann@example", password="pä:ss"
        ) as manager:
            assert manager.request("GET", f"{server.http_url}/").status == 200
    assert {(one.username, one.password) for one in proxy.log} == {
        (b"ann@example", "pä:ss".encode())
    }


@pytest.mark.parametrize("scheme", ["socks4", "socks4a"])
def test_the_user_name_of_socks4(server: DummyServer, scheme: str) -> None:
    with SocksProxy(credentials=("ann", "")) as proxy:
        with SOCKSProxyManager(proxy.url_for(scheme, "ann")) as manager:
            assert manager.request("GET", f"{server.http_url}/").status == 200
        with (
            SOCKSProxyManager(proxy.url_for(scheme, "bob"), retries=False) as manager,
            pytest.raises(NewConnectionError, match="rejected or failed"),
        ):
            manager.request("GET", f"{server.http_url}/")


@pytest.mark.parametrize(
    ("userinfo", "text"),
    [("", "No acceptable authentication methods"), ("ann:wrong-secret", "authentication failure")],
)
def test_refused_credentials_are_told_in_words(userinfo: str, text: str) -> None:
    with (
        SocksProxy(credentials=("ann", "right-secret")) as proxy,
        SOCKSProxyManager(proxy.url_for("socks5", userinfo), retries=False) as manager,
        pytest.raises(NewConnectionError, match=text) as caught,
    ):
        manager.request("GET", "http://127.0.0.1:9/")
    assert str(proxy.port) in str(caught.value)
    assert "secret" not in str(caught.value)


def test_connections_are_kept_alive(server: DummyServer, proxy: SocksProxy) -> None:
    with through(proxy, "socks5h") as manager:
        for _ in range(3):
            assert manager.request("GET", f"{server.http_url}/").status == 200
    assert proxy.connections == 1


def test_a_connection_is_not_reused_with_other_credentials(server: DummyServer) -> None:
    with (
        SocksProxy(credentials=("ann", "a")) as proxy,
        SOCKSProxyManager(proxy.url_for("socks5h", "ann:a")) as one,
    ):
        one.request("GET", f"{server.http_url}/")
        one.connection_pool_kw["_socks_options"] = {
            **one.connection_pool_kw["_socks_options"],
            "password": "b",
        }
        with pytest.raises(MaxRetryError):
            one.request("GET", f"{server.http_url}/", retries=0)


def test_redirects_to_another_host_go_through_the_proxy(
    server: DummyServer, proxy: SocksProxy
) -> None:
    target = f"http://localhost:{server.http_port}/"
    with through(proxy, "socks5h") as manager:
        response = manager.request("GET", f"{server.http_url}/redirect", fields={"target": target})
        assert response.status == 200
    assert [entry.host for entry in proxy.log] == ["127.0.0.1", "localhost"]


def test_a_refusal_is_retried_as_a_failed_connect(server: DummyServer) -> None:
    """Nothing was sent, so every method may be tried again, POST too."""
    codes = iter([1, 0x5B, 0])
    with (
        SocksProxy(refuse=lambda request: next(codes)) as proxy,
        through(proxy, "socks5h") as manager,
    ):
        response = manager.request(
            "POST", f"{server.http_url}/echo", body=b"x", retries=Retry(connect=2, read=0)
        )
        assert response.status == 200
    assert len(proxy.log) == 3


def test_retries_that_are_used_up_name_the_reason(proxy: SocksProxy) -> None:
    with through(proxy, "socks5h") as manager, pytest.raises(MaxRetryError) as caught:
        manager.request("GET", "http://127.0.0.1:1/", retries=Retry(2, read=0))
    assert isinstance(caught.value.reason, NewConnectionError)
    assert "Connection refused by destination host" in str(caught.value)
    assert len(proxy.log) == 3


def test_socket_options_and_source_address_are_those_of_the_pool(
    server: DummyServer, proxy: SocksProxy
) -> None:
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    with through(proxy, "socks5", socket_options=options) as manager:
        pool = manager.connection_from_url(server.http_url, {"source_address": ("127.0.0.2", 0)})
        pool.request("GET", "/")
        (conn,) = [one for one in pool.pool.queue if one]
        assert conn.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert conn.sock.getsockname()[0] == "127.0.0.2"


def test_bytes_behind_the_last_reply_belong_to_the_connection(script: ScriptedServer) -> None:
    """The handshake reads its replies and not one byte more."""
    early = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly"
    script.accept().read_exactly(3).send(b"\5\0").read_exactly(10).send(GRANTED_5 + early)
    with manager_for(script, "socks5") as manager:
        assert manager.request("GET", "http://127.0.0.1/").data == b"early"


# -- several addresses -----------------------------------------------------------------------------


@pytest.fixture
def two_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """``two.example`` has an IPv6 and an IPv4 address, in this order."""
    original = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, family: int = 0, *args: Any) -> Any:
        if host != "two.example":
            return original(host, port, family, *args)
        both = [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]
        return [one for one in both if family in (socket.AF_UNSPEC, one[0])]

    monkeypatch.setattr(util_connection.socket, "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize("code", [3, 4, 5, 6, 8])
@pytest.mark.usefixtures("two_addresses")
def test_an_address_that_the_proxy_cannot_reach_is_not_the_last(
    server: DummyServer, code: int
) -> None:
    """Whether the proxy has IPv6 is not known on this side."""
    with (
        SocksProxy(refuse=lambda request: code * (request.kind == "ipv6")) as proxy,
        through(proxy, "socks5", retries=False) as manager,
    ):
        url = f"http://two.example:{server.http_port}/"
        assert manager.request("GET", url).status == 200
    assert [entry.kind for entry in proxy.log] == ["ipv6", "ipv4"]


@pytest.mark.usefixtures("two_addresses")
def test_a_refusal_that_is_not_about_the_address_is_final() -> None:
    with (
        SocksProxy(refuse=lambda request: 2) as proxy,
        through(proxy, "socks5", retries=False) as manager,
        pytest.raises(NewConnectionError, match="not allowed by ruleset"),
    ):
        manager.request("GET", "http://two.example/")
    assert len(proxy.log) == 1


@pytest.mark.usefixtures("two_addresses")
def test_socks4_is_asked_for_ipv4_only(server: DummyServer, proxy: SocksProxy) -> None:
    with through(proxy, "socks4", retries=False) as manager:
        url = f"http://two.example:{server.http_port}/"
        assert manager.request("GET", url).status == 200
    assert [entry.host for entry in proxy.log] == ["127.0.0.1"]


@pytest.mark.usefixtures("two_addresses")
def test_the_allowed_family_is_respected(
    server: DummyServer, proxy: SocksProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs replace this function to force IPv4."""
    monkeypatch.setattr(util_connection, "allowed_gai_family", lambda: socket.AF_INET)
    with through(proxy, "socks5", retries=False) as manager:
        url = f"http://two.example:{server.http_port}/"
        assert manager.request("GET", url).status == 200
    assert [entry.kind for entry in proxy.log] == ["ipv4"]


# -- names and hosts that do not work --------------------------------------------------------------


def test_an_unknown_name_of_the_target(proxy: SocksProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(host: str, *args: Any) -> Any:
        if host == "unknown.example":
            raise socket.gaierror(socket.EAI_NONAME, "unknown name")
        return original(host, *args)

    original = socket.getaddrinfo
    monkeypatch.setattr(util_connection.socket, "getaddrinfo", getaddrinfo)
    with (
        through(proxy, "socks5", retries=False) as manager,
        pytest.raises(NameResolutionError, match=r"resolve 'unknown.example' \(.*unknown"),
    ):
        manager.request("GET", "http://unknown.example/")
    with (
        SOCKSProxyManager("socks5h://unknown.example", retries=False) as manager,
        pytest.raises(NameResolutionError, match=r"resolve 'unknown.example'"),
    ):
        manager.request("GET", "http://127.0.0.1/")


def test_a_proxy_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with (
        SOCKSProxyManager(f"socks5://u:secret@127.0.0.1:{port}", retries=False) as manager,
        pytest.raises(NewConnectionError, match=rf"SOCKS proxy 127.0.0.1:{port}: ") as caught,
    ):
        manager.request("GET", "http://127.0.0.1/")
    assert "Failed to establish a new connection: " in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("scheme", REMOTE)
def test_a_host_name_that_does_not_fit_is_refused_before_anything_is_sent(
    proxy: SocksProxy, scheme: str
) -> None:
    """Its length is sent as one byte: 300 would be taken for 44, the rest for the next request."""
    name = ".".join(["a" * 63] * 4 + ["example"])
    with through(proxy, scheme) as manager:
        with pytest.raises(LocationValueError, match="too long for SOCKS"):
            manager.request("GET", f"http://{name}/")
        with pytest.raises(LocationParseError, match="label empty or too long"):
            manager.request("GET", f"http://{'a' * 64}.example/")
    assert proxy.connections == 0


def test_the_longest_host_name_is_sent_whole() -> None:
    name = ".".join(["a" * 63] * 3 + ["b" * 63])
    assert len(name) == 255
    with (
        SocksProxy(refuse=lambda request: 4) as proxy,
        through(proxy, "socks5h", retries=False) as manager,
        pytest.raises(NewConnectionError, match="Host unreachable"),
    ):
        manager.request("GET", f"http://{name}/")
    assert proxy.log[0].host == name


# -- hostile proxies -------------------------------------------------------------------------------


def manager_for(script: ScriptedServer, scheme: str, **options: Any) -> SOCKSProxyManager:
    options.setdefault("retries", False)
    userinfo = "ann:right-secret@" if scheme == "socks5" and options.pop("auth", False) else ""
    return SOCKSProxyManager(f"{scheme}://{userinfo}{script.host}:{script.port}", **options)


CONVERSATIONS = {
    "socks4": (False, [(9, GRANTED_4)]),
    "socks5": (False, [(3, b"\5\0"), (10, GRANTED_5)]),
    "socks5-auth": (True, [(4, b"\5\2"), (2 + 3 + 13, b"\1\0"), (10, GRANTED_5)]),
    "socks5-name": (False, [(3, b"\5\0"), (10, b"\5\0\0\3\x09localhost\0\0")]),
    "socks5-ipv6": (False, [(3, b"\5\0"), (10, b"\5\0\0\4" + b"\0" * 18)]),
}
TRUNCATIONS = [
    pytest.param(name, turn, length, id=f"{name}-{turn}-{length}")
    for name, (_, turns) in CONVERSATIONS.items()
    for turn, (_, reply) in enumerate(turns)
    for length in range(len(reply))
]


@pytest.mark.parametrize(("name", "turn", "length"), TRUNCATIONS)
def test_a_reply_that_ends_early_is_an_error_in_words(
    script: ScriptedServer, name: str, turn: int, length: int
) -> None:
    auth, turns = CONVERSATIONS[name]
    line = script.accept()
    for size, reply in turns[:turn]:
        line.read_exactly(size).send(reply)
    size, reply = turns[turn]
    line.read_exactly(size).send(reply[:length]).close()
    with (
        manager_for(script, name.partition("-")[0], auth=auth) as manager,
        pytest.raises(NewConnectionError, match="Connection closed unexpectedly") as caught,
    ):
        manager.request("GET", "http://127.0.0.1/")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_replies_that_come_byte_by_byte_are_understood(script: ScriptedServer, name: str) -> None:
    auth, turns = CONVERSATIONS[name]
    line = script.accept()
    for size, reply in turns:
        line.read_exactly(size).send_each_byte(reply)
    line.expect(b"GET / ").send(OK)
    with manager_for(script, name.partition("-")[0], auth=auth) as manager:
        assert manager.request("GET", "http://127.0.0.1/").data == b"ok"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (1, "General SOCKS server failure"),
        (2, "Connection not allowed by ruleset"),
        (3, "Network unreachable"),
        (4, "Host unreachable"),
        (5, "Connection refused by destination host"),
        (6, "TTL expired"),
        (7, "Command not supported"),
        (8, "Address type not supported"),
        (9, "Invalid reply code: 0X9"),
        (255, "Invalid reply code: 0XFF"),
    ],
)
def test_each_refusal_of_version_5_is_told_in_words(
    script: ScriptedServer, code: int, text: str
) -> None:
    refusal = struct.pack("!BBBBIH", 5, code, 0, 1, 0, 0)
    script.accept().read_exactly(3).send(b"\5\0").read_exactly(10).send(refusal)
    with (
        manager_for(script, "socks5") as manager,
        pytest.raises(NewConnectionError, match=text),
    ):
        manager.request("GET", "http://127.0.0.1/")


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (0x5B, "Request rejected or failed"),
        (0x5C, "cannot connect to identd"),
        (0x5D, "different user-ids"),
        (0x5E, "Invalid reply code: 0X5E"),
        (0, "Invalid reply code: 0X0"),
    ],
)
def test_each_refusal_of_version_4_is_told_in_words(
    script: ScriptedServer, code: int, text: str
) -> None:
    script.accept().read_exactly(9).send(struct.pack("!BBHI", 0, code, 0, 0))
    with (
        manager_for(script, "socks4") as manager,
        pytest.raises(NewConnectionError, match=text),
    ):
        manager.request("GET", "http://127.0.0.1/")


@pytest.mark.parametrize(
    ("scheme", "replies", "text"),
    [
        ("socks4", [(9, b"\4\x5a\0\0\0\0\0\0")], "Unexpected reply version"),
        ("socks4", [(9, b"HTTP/1.1 400 Bad Request\r\n\r\n")], "Unexpected reply version"),
        ("socks5", [(3, b"\4\0")], "Unexpected SOCKS version"),
        ("socks5", [(3, b"HTTP/1.1 400 Bad Request\r\n\r\n")], "Unexpected SOCKS version"),
        ("socks5", [(3, b"\5\xff")], "No acceptable authentication methods"),
        ("socks5", [(3, b"\5\1")], "Unexpected SOCKS authentication method: 1"),
        ("socks5", [(3, b"\5\2")], "Unexpected SOCKS authentication method: 2"),
        ("socks5", [(3, b"\5\0"), (10, b"\4" + GRANTED_5[1:])], "Unexpected SOCKS version"),
        ("socks5", [(3, b"\5\0"), (10, b"\5\0\7\1\0\0\0\0\0\0")], "reserved byte"),
        ("socks5", [(3, b"\5\0"), (10, b"\5\0\0\7\0\0\0\0\0\0")], "Invalid address type"),
    ],
)
def test_a_malformed_reply_is_told_in_words(
    script: ScriptedServer, scheme: str, replies: list[tuple[int, bytes]], text: str
) -> None:
    line = script.accept()
    for size, reply in replies:
        line.read_exactly(size).send(reply)
    with (
        manager_for(script, scheme) as manager,
        pytest.raises(NewConnectionError, match=text),
    ):
        manager.request("GET", "http://127.0.0.1/")


@pytest.mark.parametrize("status", [b"\1\1", b"\2\0"])
def test_a_refused_password_is_not_in_the_error(script: ScriptedServer, status: bytes) -> None:
    script.accept().read_exactly(4).send(b"\5\2").read_exactly(18).send(status)
    with (
        manager_for(script, "socks5", auth=True) as manager,
        pytest.raises(NewConnectionError, match=r"(?i)authentication") as caught,
    ):
        manager.request("GET", "http://127.0.0.1/")
    chain: BaseException | None = caught.value
    while chain is not None:
        assert "secret" not in repr(chain)
        chain = chain.__cause__ or chain.__context__


def test_a_reset_during_the_handshake(script: ScriptedServer) -> None:
    script.accept().read_exactly(3).reset()
    with manager_for(script, "socks5") as manager, pytest.raises(NewConnectionError):
        manager.request("GET", "http://127.0.0.1/")


@examples(60)
@given(scheme=st.sampled_from(SCHEMES), noise=st.binary(max_size=40))
def test_no_reply_gets_another_error_than_ours_out(scheme: str, noise: bytes) -> None:
    """What a peer sends must not decide which exception a program has to expect."""
    near, far = socket.socketpair()
    with near, far:
        far.sendall(noise)
        far.shutdown(socket.SHUT_WR)
        conn = SOCKSProxyManager(f"{scheme}://127.0.0.1").connection_from_host("127.0.0.1")
        one = conn._new_conn()
        one._reach_proxy = lambda *args: near
        granted = False
        with suppress(NewConnectionError):
            one.connect()
            granted = True
        start = b"\0\x5a" if "4" in scheme else b"\5\0\5\0\0"
        assert noise.startswith(start) or not granted
        assert (one.sock is near) is granted


# -- time, and somebody who loses patience ---------------------------------------------------------


class Stalling:
    """A proxy that stops talking, or drips, at a chosen place of the handshake."""

    def __init__(self, script: ScriptedServer, stage: str, drips: bool) -> None:
        self.reached = threading.Event()
        line = script.accept()
        if stage == "request":
            line.read_exactly(3).send(b"\5\0").read_exactly(10)
            endless = b"\5\0\0\3\xff" + b"a" * 300
        else:
            line.read_exactly(3)
            endless = b"\5"
        line.notify(self.reached).run(lambda sock: self._stall(sock, endless if drips else b""))

    def _stall(self, sock: Any, data: bytes) -> None:
        over = threading.Event()
        try:
            for i in range(len(data)):
                sock.sendall(data[i : i + 1])
                over.wait(0.01)
            while sock.recv(100):
                pass
        except OSError:
            pass


STAGES = pytest.mark.parametrize("stage", ["greeting", "request"])
DRIPS = pytest.mark.parametrize("drips", [False, True], ids=["silent", "dripping"])


@STAGES
@DRIPS
def test_the_connect_timeout_bounds_the_whole_handshake(
    script: ScriptedServer, stage: str, drips: bool
) -> None:
    """A byte now and then, within the timeout of a single read, must not hold us for ever."""
    Stalling(script, stage, drips)
    timeout = Timeout(connect=SHORT, read=30)
    with (
        manager_for(script, "socks5", timeout=timeout) as manager,
        pytest.raises(ConnectTimeoutError, match=rf"timed out. \(connect timeout={SHORT}\)"),
    ):
        manager.request("GET", "http://127.0.0.1/")


@STAGES
@DRIPS
def test_the_deadline_of_the_call_bounds_the_handshake(
    script: ScriptedServer, stage: str, drips: bool
) -> None:
    Stalling(script, stage, drips)
    timeout = Timeout(connect=30, deadline=SHORT)
    with (
        manager_for(script, "socks5", timeout=timeout, retries=5) as manager,
        pytest.raises(DeadlineExceededError, match="while connecting"),
    ):
        manager.request("GET", "http://127.0.0.1/")


@STAGES
@DRIPS
def test_a_cancel_token_ends_the_handshake(script: ScriptedServer, stage: str, drips: bool) -> None:
    stalling = Stalling(script, stage, drips)
    token = CancelToken()
    canceller = threading.Thread(target=lambda: stalling.reached.wait(10) and token.cancel())
    canceller.start()
    try:
        with (
            manager_for(script, "socks5", timeout=30, retries=5) as manager,
            pytest.raises(RequestCancelledError, match="while connecting"),
        ):
            manager.request("GET", "http://127.0.0.1/", cancel=token)
    finally:
        stalling.reached.set()
        canceller.join(10)


@pytest.mark.parametrize("method", ["recv", "sendall"])
def test_each_wait_of_the_handshake_gets_the_time_that_is_left(method: str) -> None:
    """Not the whole timeout once more, for a proxy that falls silent just before the end."""
    now = [100.0]
    near, far = socket.socketpair()
    with near, far:
        bounded = _BoundedSocket(near, Deadline(10, lambda: now[0]))
        for left in (10, 6, 1):
            now[0] = 110.0 - left
            if method == "recv":
                far.sendall(b"x")
                assert bounded.recv(1) == b"x"
            else:
                bounded.sendall(b"x")
                assert far.recv(1) == b"x"
            assert near.gettimeout() == left
        now[0] = 110.0
        far.sendall(b"x")
        with pytest.raises(builtins.TimeoutError):
            bounded.recv(1) if method == "recv" else bounded.sendall(b"x")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("stage", ["greeting", "request"])
def test_an_interrupt_in_the_handshake_closes_the_socket(
    script: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
    stage: str,
) -> None:
    """At once, while the exception is still on its way: python-socks closes after errors only."""
    line = script.accept().read_exactly(3)
    if stage == "request":
        line.send(b"\5\0").read_exactly(10)
    line.expect_eof()
    receives = iter([stage == "greeting", True])
    original = _BoundedSocket.recv

    def recv(self: _BoundedSocket, size: int) -> bytes:
        if next(receives):
            raise error
        return original(self, 2)

    monkeypatch.setattr(_BoundedSocket, "recv", recv)
    with manager_for(script, "socks5") as manager:
        with pytest.raises(error) as caught:
            manager.request("GET", "http://127.0.0.1/")
        script.assert_finished()
        assert caught.type is error


def test_a_slow_name_server_is_bounded_too(
    proxy: SocksProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    original = socket.getaddrinfo

    def getaddrinfo(host: str, *args: Any) -> Any:
        if host == "slow.example":
            over.wait(30)
        return original("127.0.0.1", *args)

    monkeypatch.setattr(util_connection.socket, "getaddrinfo", getaddrinfo)
    try:
        with (
            through(proxy, "socks5", timeout=SHORT, retries=False) as manager,
            pytest.raises(ConnectTimeoutError),
        ):
            manager.request("GET", "http://slow.example/")
        assert proxy.connections == 0
    finally:
        over.set()


def test_afterwards_the_socket_has_its_whole_timeout_again(proxy: SocksProxy) -> None:
    """What the handshake left of it is not what the answer may take."""
    options = {"socks_version": 2, "proxy_host": proxy.host, "proxy_port": proxy.port}
    with CountingServer() as origin:
        conn = SOCKSConnection(options, origin.host, origin.port, timeout=30)
        conn.connect()
        assert conn.sock.gettimeout() == 30
        conn.close()


def test_a_replaced_create_connection_opens_the_way_to_the_proxy(
    server: DummyServer, proxy: SocksProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs put their own in its place; it must not be given options that it does not know."""
    opened = []

    def create_connection(
        address: Any, timeout: Any, source_address: Any, socket_options: Any
    ) -> socket.socket:
        opened.append(address)
        return original(address, timeout)

    original: Callable[..., socket.socket] = util_connection.create_connection
    monkeypatch.setattr(util_connection, "create_connection", create_connection)
    with through(proxy, "socks5h") as manager:
        url = f"{server.http_url}/"
        assert manager.request("GET", url, cancel=CancelToken()).status == 200
    assert opened == [("127.0.0.1", proxy.port)]


def test_threads_share_a_manager(proxy: SocksProxy) -> None:
    with CountingServer() as origin, through(proxy, "socks5h", maxsize=4) as manager:
        answers: list[bytes] = []

        def run(number: int) -> None:
            for i in range(10):
                answers.append(manager.request("GET", f"{origin.url}/{number}/{i}").data)

        threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(answers) == sorted(f"/{n}/{i}".encode() for n in range(4) for i in range(10))
