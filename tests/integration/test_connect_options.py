"""Resolvers, address filters and socket options at work, on every hop."""

from __future__ import annotations

import itertools
import pickle
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from typing import Any

import pytest

from dummyserver.certs import Certificates
from dummyserver.counting import CountingServer, Exchange, ok
from dummyserver.proxy import Proxy
from dummyserver.socks import SocksProxy
from urllib4 import CancelToken, HTTPConnectionPool, PoolManager, ProxyManager, Retry, Timeout
from urllib4.address_filters import public_addresses_only
from urllib4.connection import HTTPConnection
from urllib4.contrib.socks import SOCKSProxyManager
from urllib4.exceptions import (
    AddressBlockedError,
    ConnectTimeoutError,
    DeadlineExceededError,
    NameResolutionError,
    NewConnectionError,
    RequestCancelledError,
)
from urllib4.resolvers import ChainResolver, StaticResolver, SystemResolver
from urllib4.util import connection as util_connection
from urllib4.util.connection import create_connection


@pytest.fixture
def server() -> Iterator[CountingServer]:
    with CountingServer() as running:
        yield running


@pytest.fixture
def never_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """No name reaches the system's resolver, only addresses do."""
    original = socket.getaddrinfo

    def getaddrinfo(host: str, *args: Any) -> Any:
        assert host.replace(".", "").isdigit() or ":" in host, f"{host} was looked up"
        return original(host, *args)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


class Answers:
    """A resolver that gives one answer after the other, the last one for ever."""

    def __init__(self, *answers: Any) -> None:
        self.asked: list[tuple[str, int, int]] = []
        self._answers = list(answers)

    def resolve(self, host: str, port: int, family: int) -> Any:
        self.asked.append((host, port, family))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer


def only(*addresses: str) -> Any:
    return lambda address, port: str(address) in addresses


# -- resolvers -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("never_looked_up")
def test_a_resolver_finds_the_target(server: CountingServer) -> None:
    resolver = Answers(["127.0.0.1"])
    with PoolManager(resolver=resolver) as manager:
        assert manager.request("GET", f"http://a.example:{server.port}/").data == b"/"
    assert resolver.asked == [("a.example", server.port, util_connection.allowed_gai_family())]
    assert server.exchanges[0].header("Host") == f"a.example:{server.port}"


@pytest.mark.usefixtures("never_looked_up")
@pytest.mark.parametrize(
    "make",
    [
        lambda port: ["127.0.0.1"],
        lambda port: [IPv4Address("127.0.0.1")],
        lambda port: [("127.0.0.1", port)],
        lambda port: iter([(socket.AF_INET, 0, 0, "", ("127.0.0.1", port))]),
        lambda port: (
            (socket.AF_INET, socket.SOCK_DGRAM, 0, "", ("192.0.2.9", port)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "name", ("127.0.0.1", port)),
        ),
    ],
    ids=["text", "object", "pair", "tuple", "tuples"],
)
def test_an_answer_may_have_many_forms(server: CountingServer, make: Any) -> None:
    with create_connection(
        ("a.example", server.port), 5, resolver=Answers(make(server.port))
    ) as sock:
        assert sock.getpeername() == ("127.0.0.1", server.port)


def test_a_resolver_may_name_another_port(server: CountingServer) -> None:
    table = StaticResolver({"a.example:80": ("127.0.0.1", server.port)})
    with PoolManager(resolver=table) as manager:
        assert manager.request("GET", "http://a.example/x").data == b"/x"
    assert server.exchanges[0].header("Host") == "a.example"


def test_tls_is_for_the_name(certs: Certificates) -> None:
    """The address comes from the table, the certificate is checked for the name in the URL."""
    with CountingServer(tls=certs.server_context()) as server:
        table = StaticResolver({"localhost": ("127.0.0.1", server.port), "other.example":
                                ("127.0.0.1", server.port)})  # fmt: skip
        with PoolManager(resolver=table, ca_certs=certs.ca_file, retries=False) as manager:
            assert manager.request("GET", "https://localhost/").status == 200
            with pytest.raises(Exception, match=r"other\.example"):
                manager.request("GET", "https://other.example/")


def test_an_address_needs_no_resolver(server: CountingServer) -> None:
    resolver = Answers(AssertionError("asked"))
    with PoolManager(resolver=resolver) as manager:
        assert manager.request("GET", server.url).status == 200
    assert resolver.asked == []


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("127.0.0.1", "it returned '127.0.0.1', not a list of addresses"),
        (None, "NoneType"),
        ([], "no usable address"),
        ([None], "it returned None, which is no address"),
        (["localhost"], "it returned 'localhost', which is no address"),
        (["0x7f.1"], "it returned '0x7f.1', which is no address"),
        ([b"\x7f\0\0\1"], "which is no address"),
        ([2130706433], "which is no address"),
        ([("127.0.0.1", "80")], "whose port is none"),
        ([("127.0.0.1", 65536)], "whose port is none"),
        ([("127.0.0.1", 80, 0)], "which is no address"),
        ([(socket.AF_INET6, 1, 6, "", ("127.0.0.1", 80))], "whose family is not that of its"),
        ([(socket.AF_INET, 1, 6, "", ("localhost", 80))], "which is no address"),
        ([(socket.AF_INET, 1, 6, "", "/run/x")], "whose port is none"),
        ([(socket.AF_INET, socket.SOCK_DGRAM, 0, "", ("127.0.0.1", 80))], "no usable address"),
        (KeyError("boom"), "the resolver failed: 'boom'"),
        (OSError("boom"), "the resolver failed: boom"),
        (socket.gaierror(socket.EAI_NONAME, "who?"), "who?"),
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.parametrize("timeout", [None, 5], ids=["unbounded", "bounded"])
def test_a_bad_answer_is_a_clear_error(answer: Any, text: str, timeout: float | None) -> None:
    with (
        HTTPConnectionPool(
            "a.example", resolver=Answers(answer), timeout=timeout, retries=False
        ) as pool,
        pytest.raises(NameResolutionError) as caught,
    ):
        pool.request("GET", "/")
    assert str(caught.value).startswith(
        "HTTPConnection(host='a.example', port=80): Failed to resolve 'a.example' ("
    )
    assert text in str(caught.value)


def test_what_is_of_another_family_is_left_out(server: CountingServer) -> None:
    resolver = Answers(["::1", "127.0.0.1"])
    with create_connection(
        ("a.example", server.port), 5, resolver=resolver, socket_family=socket.AF_INET
    ) as sock:
        assert sock.family == socket.AF_INET
    assert resolver.asked[0][2] == socket.AF_INET


def test_an_answer_without_end_is_cut(server: CountingServer) -> None:
    resolver = Answers(itertools.repeat("127.0.0.1"))
    create_connection(("a.example", server.port), 5, resolver=resolver).close()


class Slow:
    """A resolver that waits until the test is over."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.over = threading.Event()

    def resolve(self, host: str, port: int, family: int) -> Any:
        self.asked.set()
        self.over.wait(20)
        return ["127.0.0.1"]


@pytest.fixture
def slow() -> Iterator[Slow]:
    resolver = Slow()
    yield resolver
    resolver.over.set()


def test_the_connect_timeout_bounds_a_resolver(slow: Slow) -> None:
    with (
        HTTPConnectionPool(
            "a.example", resolver=slow, timeout=Timeout(connect=0.2), retries=False
        ) as pool,
        pytest.raises(ConnectTimeoutError),
    ):
        pool.request("GET", "/")


def test_a_deadline_bounds_a_resolver(slow: Slow) -> None:
    with (
        HTTPConnectionPool("a.example", resolver=slow, timeout=Timeout(deadline=0.2)) as pool,
        pytest.raises(DeadlineExceededError),
    ):
        pool.request("GET", "/")


def test_a_token_ends_a_resolver(slow: Slow) -> None:
    token = CancelToken()
    thread = threading.Thread(target=lambda: slow.asked.wait(10) and token.cancel())
    thread.start()
    with (
        HTTPConnectionPool("a.example", resolver=slow) as pool,
        pytest.raises(RequestCancelledError),
    ):
        pool.request("GET", "/", cancel=token)
    thread.join()


def test_who_need_not_wait_gets_no_thread(
    server: CountingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = ChainResolver(StaticResolver({"a.example": "127.0.0.1"}), SystemResolver())
    monkeypatch.setattr(util_connection, "threading", None)
    create_connection(("a.example", server.port), 5, resolver=resolver).close()


# -- address filters -------------------------------------------------------------------------------


def test_a_filter_sees_the_address_and_the_port(server: CountingServer) -> None:
    seen = []

    def note(address: Any, port: int) -> bool:
        seen.append((address, port))
        return True

    with PoolManager(address_filter=note) as manager:
        manager.request("GET", server.url)
        manager.request("GET", server.url)
    assert seen == [(IPv4Address("127.0.0.1"), server.port)]  # once per connection


@pytest.mark.parametrize(
    ("verdict", "reason"), [(False, "refused by the address filter"), ("not today", "not today")]
)
def test_a_filter_may_refuse(server: CountingServer, verdict: Any, reason: str) -> None:
    with (
        HTTPConnectionPool(
            server.host, server.port, address_filter=lambda address, port: verdict, retries=5
        ) as pool,
        pytest.raises(AddressBlockedError) as caught,
    ):
        pool.request("GET", "/")
    error = caught.value
    assert (error.address, error.reason) == ("127.0.0.1", reason)
    assert str(error).endswith(f": connecting to 127.0.0.1 is not allowed ({reason})")
    assert isinstance(error.conn, HTTPConnection)
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.address, copy.reason, copy.conn) == (
        str(error), "127.0.0.1", reason, None,
    )  # fmt: skip
    assert server.connections == 0


@pytest.mark.parametrize("verdict", [None, 1, 0, [], object], ids=str)
def test_a_filter_that_does_not_say_is_an_error(server: CountingServer, verdict: Any) -> None:
    """A function that forgets to return must let nothing pass."""
    with (
        HTTPConnectionPool(
            server.host, server.port, address_filter=lambda address, port: verdict
        ) as pool,
        pytest.raises(TypeError, match=r"^address_filter returned"),
    ):
        pool.request("GET", "/")
    assert server.connections == 0


def test_addresses_that_are_refused_are_left_out(server: CountingServer) -> None:
    resolver = Answers(["192.0.2.1", "127.0.0.1", "192.0.2.2"])
    with HTTPConnectionPool(
        "a.example", server.port, resolver=resolver, address_filter=only("127.0.0.1")
    ) as pool:
        assert pool.request("GET", "/").status == 200


def test_a_mapped_address_is_judged_as_what_it_is(server: CountingServer) -> None:
    seen: list[Any] = []
    resolver = Answers(["::ffff:127.0.0.1"])
    with pytest.raises(AddressBlockedError):
        create_connection(
            ("a.example", server.port), 5, resolver=resolver,
            address_filter=lambda address, port: seen.append(address) or False,
        )  # fmt: skip
    assert seen == [IPv4Address("127.0.0.1")]


def test_a_blocked_address_is_never_retried(server: CountingServer) -> None:
    """Nor is it wrapped: whoever catches it need not look into a MaxRetryError."""
    calls = []

    def refuse(address: Any, port: int) -> bool:
        calls.append(address)
        return False

    with (
        PoolManager(address_filter=refuse, retries=Retry(10, backoff_factor=5)) as manager,
        pytest.raises(AddressBlockedError),
    ):
        manager.request("GET", server.url)
    assert len(calls) == 1


SPELLINGS = [
    "127.0.0.1", "127.1", "127.0.1", "0x7f.1", "0x7f000001", "2130706433", "017700000001",
    "0177.0.0.1", "0", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
    "localhost", "localhost.", "LOCALHOST", "127.0.0.1.", "%31%32%37.0.0.1", "[::1%25lo]",
    "[fe80::1%25lo]", "10.0.0.1", "169.254.169.254", "[fd00:ec2::254]", "[64:ff9b::7f00:1]",
    "[64:ff9b:1::1]", "[2002:7f00:1::]", "192.168.1.1", "100.64.0.1", "224.0.0.1",
    "255.255.255.255", "[ff02::1%25lo]", "[::127.0.0.1]",
]  # fmt: skip


@pytest.mark.parametrize("host", SPELLINGS)
def test_no_spelling_gets_past_the_guard(server: CountingServer, host: str) -> None:
    with (
        PoolManager(
            address_filter=public_addresses_only, timeout=Timeout(connect=3), retries=False
        ) as manager,
        pytest.raises((AddressBlockedError, NameResolutionError)) as caught,
    ):
        manager.request("GET", f"http://{host}:{server.port}/")
    assert server.connections == 0
    if host not in ("localhost.", "127.0.0.1.", "[::1%25lo]", "[fe80::1%25lo]", "[ff02::1%25lo]"):
        # The system may not know these at all.
        assert isinstance(caught.value, AddressBlockedError)


def test_rebinding_does_not_help(server: CountingServer) -> None:
    """Public when a program checks the name, private when it connects: what is dialled counts."""
    resolver = Answers(["93.184.215.14"], ["127.0.0.1"])
    checked = resolver.resolve("rebind.example", server.port, 0)
    assert public_addresses_only(checked[0])
    with (
        PoolManager(resolver=resolver, address_filter=public_addresses_only) as manager,
        pytest.raises(AddressBlockedError, match=r"127\.0\.0\.1 is not allowed \(loopback\)"),
    ):
        manager.request("GET", f"http://rebind.example:{server.port}/")
    assert server.connections == 0


def test_the_name_is_looked_up_once_per_connection(server: CountingServer) -> None:
    """The address that passed is the one that is connected to."""
    resolver = Answers(["127.0.0.1"], ["127.0.0.2"])
    with HTTPConnectionPool(
        "rebind.example", server.port, resolver=resolver, address_filter=only("127.0.0.1")
    ) as pool:
        assert pool.request("GET", "/", headers={"Connection": "close"}).status == 200
        with pytest.raises(AddressBlockedError):
            pool.request("GET", "/")
    assert len(resolver.asked) == 2


@pytest.mark.parametrize(
    "location",
    ["http://127.0.0.2:{port}/", "//127.0.0.2:{port}/", "http://0x7f.2:{port}/",
     "http://evil.example:{port}/"],
)  # fmt: skip
def test_redirects_are_guarded(location: str) -> None:
    def answer(exchange: Exchange) -> bytes:
        target = location.format(port=running.port)
        return ok(b"", f"Location: {target}", status="302 Found")

    table = ChainResolver(StaticResolver({"evil.example": "127.0.0.2"}), SystemResolver())
    with CountingServer(answer) as running:
        with (
            PoolManager(resolver=table, address_filter=only("127.0.0.1")) as manager,
            pytest.raises(AddressBlockedError) as caught,
        ):
            manager.request("GET", running.url)
        assert caught.value.address == "127.0.0.2"
        assert len(running.exchanges) == 1


def test_a_replaced_create_connection_does_not_lose_the_filter(
    server: CountingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Better an error than a guard that is off in silence."""

    def replaced(address: Any, timeout: Any, source_address: Any, socket_options: Any) -> Any:
        return socket.create_connection(address)

    monkeypatch.setattr(util_connection, "create_connection", replaced)
    with (
        HTTPConnectionPool(server.host, server.port, address_filter=only()) as pool,
        pytest.raises(TypeError, match="address_filter"),
    ):
        pool.request("GET", "/")
    assert server.connections == 0


# -- proxies ---------------------------------------------------------------------------------------


def test_a_resolver_finds_the_proxy(server: CountingServer) -> None:
    known = {("target.example", 80): (server.host, server.port)}
    with Proxy(resolve=known) as proxy:
        resolver = StaticResolver({"proxy.example": "127.0.0.1"})
        url = f"http://proxy.example:{proxy.port}"
        with ProxyManager(url, resolver=resolver) as manager:
            assert manager.request("GET", "http://target.example/").status == 200


def test_the_proxy_itself_is_guarded(server: CountingServer) -> None:
    with Proxy() as proxy:
        for url in (server.url, "https://target.example/"):
            with (
                ProxyManager(proxy.url, address_filter=public_addresses_only) as manager,
                pytest.raises(AddressBlockedError, match="loopback"),
            ):
                manager.request("GET", url)
        assert proxy.connections == 0


@pytest.mark.parametrize(
    "url", ["http://{}/", "https://{}/", "http://{}:8080/x", "https://{}:8443/x"]
)
@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.2",
        "0x7f.2",
        "2130706434",
        "[::ffff:127.0.0.2]",
        "127.0.0.2.",
        "0x7f.2.",
        "127.2%2e",
    ],
)
def test_what_a_proxy_is_asked_for_is_guarded_where_it_is_an_address(url: str, host: str) -> None:
    with (
        Proxy() as proxy,
        ProxyManager(proxy.url, address_filter=only("127.0.0.1")) as manager,
        pytest.raises(AddressBlockedError),
    ):
        manager.request("GET", url.format(host))
    assert proxy.log == []


@pytest.mark.parametrize("scheme", ["socks5", "socks4"])
def test_socks_with_names_found_here(server: CountingServer, scheme: str) -> None:
    resolver = StaticResolver(
        {"target.example": ["192.0.2.1", "127.0.0.1"], "proxy.example": "127.0.0.1"}
    )
    with SocksProxy() as proxy:
        url = f"{scheme}://proxy.example:{proxy.port}"
        with SOCKSProxyManager(url, resolver=resolver, address_filter=only("127.0.0.1")) as manager:
            assert manager.request("GET", f"http://target.example:{server.port}/").status == 200
        with (
            SOCKSProxyManager(
                url, resolver=StaticResolver({"proxy.example": "127.0.0.1", "*": "127.0.0.2"}),
                address_filter=only("127.0.0.1"),
            ) as manager,
            pytest.raises(AddressBlockedError, match=r"127\.0\.0\.2"),
        ):  # fmt: skip
            manager.request("GET", f"http://target.example:{server.port}/")
        assert len(proxy.log) == 1


@pytest.mark.parametrize("host", ["127.0.0.2", "0x7f.2", "127.0.0.2."])
def test_socks_with_names_found_there(host: str) -> None:
    """An address is known here all the same."""
    with (
        SocksProxy() as proxy,
        SOCKSProxyManager(
            proxy.url_for("socks5h"), address_filter=only("127.0.0.1")
        ) as manager,
        pytest.raises(AddressBlockedError, match=r"127\.0\.0\.2"),
    ):  # fmt: skip
        manager.request("GET", f"http://{host}/")
    assert proxy.log == []


def test_the_socks_proxy_itself_is_guarded() -> None:
    with (
        SocksProxy() as proxy,
        SOCKSProxyManager(
            proxy.url_for("socks5h"), address_filter=public_addresses_only
        ) as manager,
        pytest.raises(AddressBlockedError, match="loopback"),
    ):  # fmt: skip
        manager.request("GET", "http://target.example/")
    assert proxy.connections == 0


# -- the socket ------------------------------------------------------------------------------------


@contextmanager
def server_on_ipv6_only() -> Iterator[CountingServer]:
    """A server whose port is nobody's on IPv4: other tests have servers, too."""
    while True:
        with CountingServer(host="::1") as six, socket.socket() as unused:
            try:
                unused.bind(("127.0.0.1", six.port))
            except OSError:
                continue
            yield six
            return


def test_a_family_can_be_chosen() -> None:
    both = StaticResolver({"both.example": ["::1", "127.0.0.1"]})
    with server_on_ipv6_only() as six:
        for family, works in ((socket.AF_INET6, True), (socket.AF_INET, False)):
            with HTTPConnectionPool(
                "both.example", six.port, socket_family=family, resolver=both, retries=False
            ) as pool:
                if works:
                    assert pool.request("GET", "/").status == 200
                else:
                    with pytest.raises(NewConnectionError):
                        pool.request("GET", "/")
    with (
        HTTPConnectionPool("::1", socket_family=socket.AF_INET, retries=False) as pool,
        pytest.raises(NameResolutionError),
    ):
        pool.request("GET", "/")


def test_keepalive_reaches_the_socket(server: CountingServer) -> None:
    with HTTPConnectionPool(server.host, server.port, tcp_keepalive=(61, 12, 3)) as pool:
        response = pool.request("GET", "/", preload_content=False)
        sock = response.connection.sock  # type: ignore[union-attr]
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 12
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 3
        # The usual options are kept.
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        response.drain_conn()


@pytest.mark.skipif(not hasattr(socket, "SO_BINDTODEVICE"), reason="Linux only")
def test_an_interface_can_be_chosen(server: CountingServer) -> None:
    with create_connection(
        (server.host, server.port), 5, source_interface="lo"
    ) as sock:  # fmt: skip
        bound = sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16)
        assert bound.rstrip(b"\0") == b"lo"


@pytest.mark.skipif(not hasattr(socket, "SO_BINDTODEVICE"), reason="Linux only")
def test_an_interface_that_does_not_exist_is_named(server: CountingServer) -> None:
    with (
        HTTPConnectionPool(
            server.host, server.port, source_interface="none9", retries=False
        ) as pool,
        pytest.raises(NewConnectionError, match="source_interface='none9'"),
    ):
        pool.request("GET", "/")


@pytest.mark.parametrize(
    ("platform", "family", "expected"),
    [
        ("darwin", socket.AF_INET, (socket.IPPROTO_IP, 25, 7)),
        ("darwin", socket.AF_INET6, (socket.IPPROTO_IPV6, 125, 7)),
        ("win32", socket.AF_INET, (socket.IPPROTO_IP, 31, socket.htonl(7))),
        ("win32", socket.AF_INET6, (socket.IPPROTO_IPV6, 31, 7)),
    ],
    ids=["mac-4", "mac-6", "windows-4", "windows-6"],
)
def test_other_systems_take_the_number_of_the_interface(
    monkeypatch: pytest.MonkeyPatch, platform: str, family: int, expected: Any
) -> None:
    from urllib4 import _dialing

    class Sock:
        calls: list[Any] = []

        def __init__(self) -> None:
            self.family = family

        def setsockopt(self, *args: Any) -> None:
            self.calls.append(args)

    monkeypatch.delattr(socket, "SO_BINDTODEVICE", raising=False)
    monkeypatch.setattr(socket, "if_nametoindex", lambda name: 7)
    monkeypatch.setattr("sys.platform", platform)
    sock = Sock()
    sock.calls = []
    _dialing.bind_to_interface(sock, "eth7")  # type: ignore[arg-type]
    assert sock.calls == [expected]
