"""TLS with a proxy and TLS with the target behind it: two hops, each verified by itself.

What goes wrong with the proxy's TLS is a ProxyError, and the target is not asked for; what goes
wrong with the target's is an SSLError (or a ProtocolError), as if there were no proxy.
"""

from __future__ import annotations

import hashlib
import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dummyserver.threaded import End, RequestReader
from dummyserver.tls import TLSEnd
from tests.hostile.counting import counted
from tests.hostile.proxies import (
    OPEN,
    HostileProxy,
    Play,
    handshake_up_to,
    reset_after,
    silent_after,
    whole,
)
from tests.hostile.tls_peers import DAY, Authority, Leaf
from urllib4 import ProxyManager, Retry, Timeout
from urllib4.exceptions import (
    DeadlineExceededError,
    HTTPError,
    MaxRetryError,
    ProtocolError,
    ProxyError,
    SSLError,
)

#: Seconds of the waits that must end by them.
SHORT = 0.2

NAMES = ("localhost", "IP:127.0.0.1")
#: A kind of certificate, how it is made, and what OpenSSL says of it.
KINDS: dict[str, tuple[Callable[[Authority, Authority], Leaf], str]] = {
    "good": (lambda ours, _: ours.issue(*NAMES), ""),
    "wrong name": (lambda ours, _: ours.issue("other.example"), "mismatch"),
    "expired": (
        lambda ours, _: ours.issue(*NAMES, valid=(-9 * DAY, -DAY)),
        "certificate has expired",
    ),
    "self-signed": (
        lambda ours, _: ours.issue(*NAMES, self_signed=True),
        "self.signed certificate",
    ),
    "unknown authority": (
        lambda _, theirs: theirs.issue(*NAMES),
        "unable to get local issuer certificate",
    ),
}
VERSIONS = {"TLSv1_2": ssl.TLSVersion.TLSv1_2, "TLSv1_3": ssl.TLSVersion.TLSv1_3}


@pytest.fixture(scope="module")
def leaves(authority: Authority, stranger: Authority) -> dict[str, Leaf]:
    return {name: make(authority, stranger) for name, (make, _) in KINDS.items()}


@pytest.fixture(scope="module")
def count(request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    with counted(request, "TLS with proxies and behind them") as counts:
        yield counts


def through(server: HostileProxy, ca_file: str, **options: Any) -> ProxyManager:
    options = {"ca_certs": ca_file, "timeout": 10, "retries": Retry(0), **options}
    url = f"{server.url.partition(':')[0]}://localhost:{server.port}"
    return ProxyManager(url, **options)


def error_of(manager: ProxyManager, url: str = "https://localhost:44300/x") -> HTTPError:
    """Return what a request fails with."""
    with pytest.raises(MaxRetryError) as caught:
        manager.request("GET", url)
    assert isinstance(caught.value.reason, HTTPError)
    return caught.value.reason


def says(error: BaseException, kind: str) -> bool:
    text = str(error).lower().replace("-", " ")
    return KINDS[kind][1].lower().replace("-", " ").replace(".", " ") in text


# -- certificates ----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("proxy", [None, *KINDS])
def test_every_pair_of_certificates(
    authority: Authority,
    leaves: dict[str, Leaf],
    count: Counter[str],
    proxy: str | None,
    version: str,
) -> None:
    """Only two good ones are good; the error tells whose was bad, and why."""
    for target in KINDS:
        tls = leaves[proxy].context(VERSIONS[version]) if proxy else None
        with (
            HostileProxy(leaves[target].context(VERSIONS[version]), tls=tls) as server,
            through(server, authority.ca_file) as manager,
        ):
            if proxy not in (None, "good"):
                assert proxy is not None
                error = error_of(manager)
                assert isinstance(error, ProxyError)
                assert isinstance(error.original_error, SSLError)
                assert says(error, proxy)
                assert not server.asked  # nothing was sent to it
                count["bad proxy"] += 1
            elif target != "good":
                error = error_of(manager)
                assert type(error) is SSLError
                assert says(error, target)
                count["bad target"] += 1
            else:
                assert manager.request("GET", "https://localhost:44300/x").data == b"/x"
                count["two good"] += 1


@pytest.mark.parametrize("proxy", KINDS)
@pytest.mark.parametrize("url", ["http://target.example/x", "https://target.example/x"])
def test_forwarding(
    authority: Authority, leaves: dict[str, Leaf], count: Counter[str], proxy: str, url: str
) -> None:
    """One hop: its certificate decides, also where the target would be https."""
    with (
        HostileProxy(leaves["good"].context(), tls=leaves[proxy].context()) as server,
        through(server, authority.ca_file, use_forwarding_for_https=True) as manager,
    ):
        if proxy == "good":
            assert manager.request("GET", url).data == url.encode()
        else:
            error = error_of(manager, url)
            assert isinstance(error, ProxyError)
            assert says(error, proxy)
            assert not server.asked
        count["forwarding"] += 1


@pytest.mark.parametrize("trusts_proxy", [True, False])
@pytest.mark.parametrize("trusts_target", [True, False])
def test_two_authorities(
    authority: Authority,
    stranger: Authority,
    leaves: dict[str, Leaf],
    count: Counter[str],
    trusts_proxy: bool,
    trusts_target: bool,
) -> None:
    """Trust in one hop is none in the other."""
    of_proxy = stranger.ca_file if trusts_proxy else authority.ca_file
    of_target = authority.ca_file if trusts_target else stranger.ca_file
    context = ssl.create_default_context(cafile=of_proxy)
    with (
        HostileProxy(leaves["good"].context(), tls=leaves["unknown authority"].context()) as server,
        through(server, of_target, proxy_ssl_context=context) as manager,
    ):
        if not trusts_proxy:
            assert isinstance(error_of(manager), ProxyError)
        elif not trusts_target:
            assert type(error_of(manager)) is SSLError
        else:
            assert manager.request("GET", "https://localhost:44300/x").data == b"/x"
        count["two authorities"] += 1


@pytest.mark.parametrize("target", KINDS)
def test_a_proxy_that_is_not_verified_does_not_spare_the_target(
    authority: Authority, leaves: dict[str, Leaf], count: Counter[str], target: str
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        HostileProxy(leaves[target].context(), tls=leaves["expired"].context()) as server,
        through(server, authority.ca_file, proxy_ssl_context=context) as manager,
    ):
        if target == "good":
            assert manager.request("GET", "https://localhost:44300/x").data == b"/x"
        else:
            error = error_of(manager)
            assert type(error) is SSLError
            assert says(error, target)
        assert (context.check_hostname, context.verify_mode) == (False, ssl.CERT_NONE)
        count["unverified proxy"] += 1


@pytest.mark.filterwarnings("ignore::urllib4.exceptions.InsecureRequestWarning")
def test_a_target_that_is_not_verified_does_not_spare_the_proxy(
    authority: Authority, leaves: dict[str, Leaf], count: Counter[str]
) -> None:
    """The proxy has a context of its own; ``cert_reqs`` is then about the target."""
    for proxy in KINDS:
        context = ssl.create_default_context(cafile=authority.ca_file)
        with (
            HostileProxy(leaves["expired"].context(), tls=leaves[proxy].context()) as server,
            through(
                server, authority.ca_file, proxy_ssl_context=context, cert_reqs="CERT_NONE"
            ) as manager,
        ):
            if proxy == "good":
                assert manager.request("GET", "https://localhost:44300/x").data == b"/x"
            else:
                error = error_of(manager)
                assert isinstance(error, ProxyError)
                assert says(error, proxy)
        count["unverified target"] += 1


def test_fingerprints_are_those_of_their_hop(
    authority: Authority, leaves: dict[str, Leaf], count: Counter[str]
) -> None:
    other = authority.issue(*NAMES)
    prints = {name: hashlib.sha256(leaf.der).hexdigest() for name, leaf in leaves.items()}
    own, wrong = hashlib.sha256(other.der).hexdigest(), prints["expired"]
    for of_proxy, of_target in ((own, prints["good"]), (wrong, prints["good"]), (own, wrong)):
        with (
            HostileProxy(leaves["good"].context(), tls=other.context()) as server,
            through(
                server,
                authority.ca_file,
                proxy_assert_fingerprint=of_proxy,
                assert_fingerprint=of_target,
            ) as manager,
        ):
            if of_proxy == wrong:
                assert isinstance(error_of(manager), ProxyError)
            elif of_target == wrong:
                assert type(error_of(manager)) is SSLError
            else:
                assert manager.request("GET", "https://localhost:44300/x").data == b"/x"
        count["fingerprints"] += 1


@pytest.mark.parametrize("inherits", [True, False])
def test_the_clients_certificate_and_name_are_not_shown_to_the_proxy(
    authority: Authority, leaves: dict[str, Leaf], count: Counter[str], inherits: bool
) -> None:
    """Both ask for a certificate; only the target gets it, and only it is asked for by its name."""
    names: dict[str, str | None] = {}

    def asking(who: str) -> ssl.SSLContext:
        context = leaves["good"].context()
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(authority.ca_file)
        context.sni_callback = lambda sock, name, _: names.update({who: name})
        return context

    shown: dict[str, Any] = {}

    class Asking(HostileProxy):
        def be_the_target(self, end: Any) -> None:
            shown["proxy"] = end._tls.getpeercert()
            tls = TLSEnd(end, self.target)
            tls.do_handshake()
            RequestReader(tls).read()
            shown["target"] = tls._tls.getpeercert()
            tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    client = authority.issue("client.example")
    options: dict[str, Any] = {"cert_file": client.path, "server_hostname": "localhost"}
    if not inherits:
        options["proxy_ssl_context"] = ssl.create_default_context(cafile=authority.ca_file)
    with (
        Asking(asking("target"), tls=asking("proxy")) as server,
        ProxyManager(
            f"https://localhost:{server.port}", ca_certs=authority.ca_file, timeout=10, **options
        ) as manager,
    ):
        assert manager.request("GET", "https://127.0.0.1:44300/x").status == 200
    assert not shown["proxy"]
    assert shown["target"]["subjectAltName"] == (("DNS", "client.example"),)
    assert names == {"proxy": "localhost", "target": "localhost"}
    count["client certificate"] += 1


# -- peers that do not shake hands -----------------------------------------------------------------


class Bare(HostileProxy):
    """A proxy that does something else with every connection, from its first byte."""

    greet: Play

    def serve(self, number: int, end: End) -> None:
        self.greet(end)


def after_hello(play: Play) -> Play:
    """Wait for the client's first words, so that it is there when `play` happens."""

    def wait(end: End) -> None:
        end.recv(65536)
        play(end)

    return wait


NO_TLS: dict[str, Play] = {
    "closes": lambda end: None,
    "closes after the hello": after_hello(whole(b"")),
    "resets after the hello": after_hello(reset_after(b"")),
    "plain HTTP": after_hello(silent_after(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
    "a plain page": after_hello(silent_after(b"<html><body>Bad request</body></html>" * 5)),
    "an alert": after_hello(whole(b"\x15\x03\x03\x00\x02\x02\x28")),
    "a warning, for ever": after_hello(whole(b"\x15\x03\x03\x00\x02\x01\x5a" * 5000)),
    "SSL 3": after_hello(silent_after(b"\x16\x03\x00\x00\x04\x0e\x00\x00\x00")),
    "zeros": after_hello(silent_after(b"\0" * 1000)),
    "a long record": after_hello(silent_after(b"\x16\x03\x03\xff\xff" + b"a" * 70_000)),
}


@pytest.mark.parametrize("name", NO_TLS)
def test_a_proxy_without_tls_on_an_https_port(
    authority: Authority, leaves: dict[str, Leaf], count: Counter[str], name: str
) -> None:
    with Bare(leaves["good"].context()) as server:
        server.greet = NO_TLS[name]
        url = f"https://localhost:{server.port}"
        with ProxyManager(url, ca_certs=authority.ca_file, timeout=10, retries=Retry(0)) as manager:
            for target in ("https://localhost:44300/", "http://localhost:44300/"):
                error = error_of(manager, target)
                assert isinstance(error, ProxyError), repr(error)
                assert ("appears to only use HTTP" in str(error)) == (name in WRONG_VERSION)
                count["proxy without TLS"] += 1


#: OpenSSL says "wrong version number" of these, and we what it most likely means.
WRONG_VERSION = ("plain HTTP", "a plain page", "zeros")


@pytest.mark.parametrize("name", NO_TLS)
@pytest.mark.parametrize("proxy", ["http", "https"])
def test_a_target_without_tls(
    authority: Authority, leaves: dict[str, Leaf], count: Counter[str], proxy: str, name: str
) -> None:
    context = leaves["good"].context()
    with (
        HostileProxy(context, tls=context if proxy == "https" else None) as server,
        through(server, authority.ca_file) as manager,
    ):
        server.inside = NO_TLS[name]
        error = error_of(manager)
        assert type(error) in (SSLError, ProtocolError), repr(error)
        count["target without TLS"] += 1
        server.inside = None
        assert manager.request("GET", "https://localhost:44300/x").data == b"/x"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("hop", ["proxy", "target", "target behind TLS"])
def test_handshakes_that_end_early(
    authority: Authority, leaves: dict[str, Leaf], count: Counter[str], hop: str, version: str
) -> None:
    """The server's part of the handshake, cut every few bytes by a close and by a reset."""
    context = leaves["good"].context(VERSIONS[version])
    outer = context if hop == "target behind TLS" else None
    server: HostileProxy = Bare(context) if hop == "proxy" else HostileProxy(context, tls=outer)
    scheme = "http" if hop == "target" else "https"
    with (
        server,
        ProxyManager(
            f"{scheme}://localhost:{server.port}",
            ca_certs=authority.ca_file,
            timeout=10,
            retries=Retry(0),
        ) as manager,
    ):
        for size in range(0, 700, 23):  # the whole of it is longer
            for end in (whole(b""), reset_after(b"")):
                play = handshake_up_to(context, size, end)
                if isinstance(server, Bare):
                    server.greet = after_hello(end) if size == 0 else play
                    assert isinstance(error_of(manager), ProxyError)
                else:
                    server.inside = after_hello(end) if size == 0 else play
                    assert type(error_of(manager)) in (SSLError, ProtocolError)
                count["cut handshake"] += 1


@pytest.mark.parametrize("hop", ["proxy", "target", "target behind TLS"])
@pytest.mark.parametrize("size", [0, 200])
def test_handshakes_that_stall(
    authority: Authority, leaves: dict[str, Leaf], count: Counter[str], hop: str, size: int
) -> None:
    """The timeout ends them, and the deadline of the call."""
    context = leaves["good"].context()
    outer = context if hop == "target behind TLS" else None
    server: HostileProxy = Bare(context) if hop == "proxy" else HostileProxy(context, tls=outer)
    play = handshake_up_to(context, size, silent_after(b""))
    scheme = "http" if hop == "target" else "https"
    with (
        server,
        ProxyManager(
            f"{scheme}://localhost:{server.port}",
            ca_certs=authority.ca_file,
            timeout=SHORT,
            retries=Retry(0),
        ) as manager,
    ):
        if isinstance(server, Bare):
            server.greet = play
        else:
            server.inside = play
        error = error_of(manager)
        assert isinstance(error, ProxyError) == (hop == "proxy")
        assert "timed out" in str(error)
        with pytest.raises(DeadlineExceededError, match="connecting"):
            manager.request(
                "GET", "https://localhost:44300/", timeout=Timeout(30, deadline=SHORT), retries=3
            )
        count["stalled handshake"] += 2


# -- after the handshakes --------------------------------------------------------------------------

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nVia: 1.1 x\r\n\r\n0123456789"


@pytest.mark.parametrize("how", ["notify", "close", "reset", "garbage", "outer"])
@pytest.mark.parametrize("proxy", ["http", "https"])
def test_tunnels_that_end_in_the_answer(
    authority: Authority, leaves: dict[str, Leaf], count: Counter[str], proxy: str, how: str
) -> None:
    """With or without close_notify, of the target or only of the proxy: a cut answer is none."""
    context = leaves["good"].context()

    def inside(data: bytes) -> Play:
        def play(below: Any) -> None:
            tls = TLSEnd(below, context)
            tls.do_handshake()
            RequestReader(tls).read()
            tls.sendall(data)
            if how == "notify":
                tls.send_close_notify()
            elif how == "reset":
                reset_after(b"")(tls)
            elif how == "garbage":
                below.sendall(b"\x17\x03\x03\x00\x20" + b"g" * 32)
            elif how == "outer" and isinstance(below, TLSEnd):
                below.send_close_notify()

        return play

    with (
        HostileProxy(context, tls=context if proxy == "https" else None) as server,
        through(server, authority.ca_file) as manager,
    ):
        for at in range(0, len(ANSWER), 4):
            server.inside = inside(ANSWER[:at])
            # A body that was cut is found when the answer is read, a head before.
            with pytest.raises(HTTPError) as caught:
                manager.request("GET", "https://localhost:44300/x")
            error = caught.value
            reason = error.reason if isinstance(error, MaxRetryError) else error
            assert isinstance(reason, (ProtocolError, SSLError)), repr(reason)
            count[f"cut answer, {how}"] += 1
        server.inside = None
        assert manager.request("GET", "https://localhost:44300/x").data == b"/x"


def test_a_tunnel_is_not_used_again_after_the_target_closed_it(
    authority: Authority, leaves: dict[str, Leaf], count: Counter[str]
) -> None:
    """close_notify of the inner TLS says it, although the outer connection stays."""
    context = leaves["good"].context()

    def inside(below: End) -> None:
        tls = TLSEnd(below, context)
        tls.do_handshake()
        RequestReader(tls).read()
        tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none")
        tls.send_close_notify()
        below.recv(65536)

    for outer in (None, context):
        with (
            HostileProxy(context, tls=outer) as server,
            through(server, authority.ca_file, retries=Retry(2)) as manager,
        ):
            server.inside = inside
            for _ in range(3):
                assert manager.request("GET", "https://localhost:44300/x").data == b"one"
            assert server.connections >= 3
            assert all(head.startswith(b"CONNECT ") for head in server.asked)
        count["closed between"] += 1


def test_the_answer_to_connect_is_read_from_tls(
    authority: Authority, leaves: dict[str, Leaf], count: Counter[str]
) -> None:
    """Plain text under the TLS of the proxy is none of its answers."""
    context = leaves["good"].context()
    with (
        HostileProxy(context, tls=context) as server,
        through(server, authority.ca_file) as manager,
    ):

        def play(end: Any) -> None:
            end._sock.sendall(OPEN)

        server.play = play
        assert isinstance(error_of(manager), ProxyError)
        count["plain answer"] += 1
