"""Fingerprints and public key pins against real servers: who passes, who does not, and why."""

from __future__ import annotations

import base64
import hashlib
import itertools
import ssl
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives import serialization

import urllib4
from dummyserver.tls import TLSEnd
from tests.hostile.tls_peers import PATIENCE, Authority, Leaf, Peer, answer, read_head, serving
from urllib4.connection import HTTPSConnection
from urllib4.exceptions import InsecureRequestWarning, SSLError

OTHER_PIN = "sha256//" + base64.b64encode(b"\1" * 32).decode()
ANOTHER_PIN = "sha256//" + base64.b64encode(b"\2" * 32).decode()
OTHER_DIGITS = "ab" * 32


def pin_of(leaf: Leaf) -> str:
    """The pin of a certificate, by another implementation than ours."""
    key = leaf.key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return "sha256//" + base64.b64encode(hashlib.sha256(key).digest()).decode()


class Case(NamedTuple):
    """What a server shows, what the client asks for, and whether they agree.

    `pins` and `prints`: "-" none, "good", "bad", "bad+good", "good+bad", "bad+bad".
    """

    server: str
    checks: str
    pins: str
    prints: str

    @property
    def reason(self) -> str | None:
        """What the error says; None if there is none.  The rules, written down once more."""
        if self.checks == "required" and self.server == "stranger":
            return "CERTIFICATE_VERIFY_FAILED"
        if self.checks == "required" and self.server == "other name" and self.prints == "-":
            return "CERTIFICATE_VERIFY_FAILED"
        if self.pins != "-" and "good" not in self.pins:
            return "Public key pins did not match. Expected"
        if self.prints != "-" and "good" not in self.prints:
            return 'Fingerprints did not match. Expected "'
        return None

    @property
    def is_verified(self) -> bool:
        return self.checks == "required" or (self.pins, self.prints) != ("-", "-")


CHOICES = ("-", "good", "bad", "bad+good", "good+bad", "bad+bad")
CASES = [
    Case(*each)
    for each in itertools.product(
        ("good", "stranger", "other name"), ("required", "none"), CHOICES, CHOICES
    )
]


def test_there_are_many_cases() -> None:
    print(f"{len(CASES)} cases")
    assert len(CASES) >= 200
    assert sum(case.reason is None for case in CASES) >= 50


@pytest.fixture(scope="module")
def leaves(authority: Authority, stranger: Authority) -> dict[str, Leaf]:
    return {
        "good": authority.issue("localhost"),
        "stranger": stranger.issue("localhost"),
        "other name": authority.issue("other.example"),
    }


@pytest.fixture(scope="module")
def peers(leaves: dict[str, Leaf]) -> Iterator[dict[str, Peer]]:
    """One server for each certificate."""
    running = {
        name: Peer(serving(leaf.context(), lambda request: answer(b"hello")))
        for name, leaf in leaves.items()
    }
    for peer in running.values():
        peer.__enter__()
    yield running
    for peer in running.values():
        peer.__exit__()


def settings_of(case: Case, leaf: Leaf, ca_file: str) -> dict[str, Any]:
    """Return the keywords that `case` stands for."""
    settings: dict[str, Any] = {"ca_certs": ca_file}
    if case.checks == "none":
        settings["cert_reqs"] = "CERT_NONE"
    pins = {"good": pin_of(leaf), "bad": OTHER_PIN}
    if case.pins != "-":
        settings["assert_pins"] = [pins[word] for word in case.pins.split("+")]
    prints = {"good": hashlib.sha256(leaf.der).hexdigest(), "bad": OTHER_DIGITS}
    if case.prints != "-":
        several = [prints[word] for word in case.prints.split("+")]
        settings["assert_fingerprint"] = several if "+" in case.prints else several[0]
    return settings


@pytest.mark.parametrize("case", CASES, ids=" ".join)
@pytest.mark.filterwarnings("ignore::urllib4.exceptions.InsecureRequestWarning")
def test_pins_are_checked_beside_chain_and_name(
    case: Case, peers: dict[str, Peer], leaves: dict[str, Leaf], authority: Authority
) -> None:
    """A pin replaces nothing, a fingerprint the name; without other checks they are the check."""
    settings = settings_of(case, leaves[case.server], authority.ca_file)
    conn = HTTPSConnection("localhost", peers[case.server].port, timeout=PATIENCE, **settings)
    try:
        if case.reason is None:
            conn.connect()
            assert conn.is_verified is case.is_verified
            conn.request("GET", "/")
            assert conn.getresponse().data == b"hello"
            return
        with pytest.raises((SSLError, OSError), match=case.reason) as caught:
            conn.connect()
        assert "'localhost'" in str(caught.value)
        assert conn.sock is None
        assert not conn.is_verified
    finally:
        conn.close()


def test_a_manager_hands_pins_on_and_says_what_it_got(
    peers: dict[str, Peer], leaves: dict[str, Leaf], authority: Authority
) -> None:
    url = f"https://localhost:{peers['good'].port}/"
    good = pin_of(leaves["good"])
    with urllib4.PoolManager(ca_certs=authority.ca_file, assert_pins=[OTHER_PIN, good]) as manager:
        assert manager.request("GET", url).data == b"hello"
    manager = urllib4.PoolManager(ca_certs=authority.ca_file, assert_pins=[OTHER_PIN])
    with manager, pytest.raises(urllib4.exceptions.MaxRetryError) as caught:
        manager.request("GET", url, retries=0)
    assert str(caught.value.reason) == (
        f'Public key pins did not match. Expected "{OTHER_PIN}", got "{good}" (host \'localhost\')'
    )
    assert isinstance(caught.value.reason, SSLError)


def test_nothing_goes_unchecked_where_somebody_replaced_the_function_that_wraps(
    peers: dict[str, Peer],
    leaves: dict[str, Leaf],
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Such a function knows nothing of pins and versions: they hold all the same."""
    wrapped: list[str] = []

    def ssl_wrap_socket(*args: Any, **kw: Any) -> Any:
        wrapped.append(kw["server_hostname"])
        return urllib4.util.ssl_.ssl_wrap_socket(*args, **kw)

    monkeypatch.setattr("urllib4.connection.ssl_wrap_socket", ssl_wrap_socket)
    url = f"https://localhost:{peers['good'].port}/"
    pins = [pin_of(leaves["good"])]
    with urllib4.PoolManager(ca_certs=authority.ca_file, assert_pins=pins) as manager:
        assert manager.request("GET", url).data == b"hello"
    manager = urllib4.PoolManager(ca_certs=authority.ca_file, assert_pins=[OTHER_PIN])
    with manager, pytest.raises(SSLError, match="Public key pins did not match"):
        manager.request("GET", url, retries=False)
    version = ssl.TLSVersion.TLSv1_2
    with urllib4.PoolManager(ca_certs=authority.ca_file, ssl_maximum_version=version) as manager:
        response = manager.request("GET", url, preload_content=False)
        assert response.connection.sock.version() == "TLSv1.2"
        assert response.read() == b"hello"
    assert wrapped == ["localhost", "localhost", "localhost"]


def test_a_certificate_that_was_renewed_keeps_its_pin(authority: Authority) -> None:
    """What pins of keys are for: the fingerprint changes, the pin does not."""
    old = authority.issue("localhost")
    new = authority.issue("localhost", key=old.key)
    handler = serving(new.context(), lambda request: answer(b"hello"))
    with Peer(handler) as peer, urllib4.PoolManager(
        ca_certs=authority.ca_file, assert_pins=[pin_of(old)]
    ) as manager:  # fmt: skip
        assert manager.request("GET", f"https://localhost:{peer.port}/").data == b"hello"
    assert old.der != new.der


def test_a_pin_without_any_other_check_needs_no_warning(
    peers: dict[str, Peer], leaves: dict[str, Leaf]
) -> None:
    """Warnings are errors here; without the pin there is one."""
    url = f"https://localhost:{peers['stranger'].port}/"
    pins = [pin_of(leaves["stranger"])]
    with urllib4.PoolManager(cert_reqs="CERT_NONE", assert_pins=pins) as manager:
        assert manager.request("GET", url).data == b"hello"
    manager = urllib4.PoolManager(cert_reqs="CERT_NONE", retries=False)
    with manager, pytest.warns(InsecureRequestWarning):
        manager.request("GET", url)


def test_connections_with_other_pins_are_never_shared() -> None:
    """Nor with none.  Lists are as good as tuples, though they cannot be hashed."""
    with urllib4.PoolManager() as manager:
        pools = [
            manager.connection_from_host("a.example", scheme="https", pool_kwargs=kwargs)
            for kwargs in (
                None,
                {"assert_pins": [OTHER_PIN]},
                {"assert_pins": [OTHER_PIN, ANOTHER_PIN]},
                {"assert_fingerprint": [OTHER_DIGITS]},
                {"assert_fingerprint": [OTHER_DIGITS, "aa" * 32]},
            )
        ]
        assert len(set(pools)) == 5
        for name, value in (("assert_pins", OTHER_PIN), ("assert_fingerprint", OTHER_DIGITS)):
            as_tuple = manager.connection_from_host(
                "a.example", scheme="https", pool_kwargs={name: (value,)}
            )
            assert as_tuple in pools
        keys = list(manager.pools.keys())
    assert {key.key_assert_pins for key in keys} == {
        None, (OTHER_PIN,), (OTHER_PIN, ANOTHER_PIN)
    }  # fmt: skip


MALFORMED = [
    {"assert_pins": ["sha256//short"]},
    {"assert_pins": []},
    {"assert_pins": [OTHER_DIGITS]},
    {"assert_pins": OTHER_PIN[:-1]},
    {"assert_pins": [OTHER_PIN.encode()]},
    {"assert_fingerprint": ["ab"]},
    {"assert_fingerprint": []},
    {"assert_fingerprint": [OTHER_DIGITS, "zz" * 32]},
]


@pytest.mark.parametrize("settings", MALFORMED, ids=str)
def test_malformed_ones_are_refused_before_anything_is_opened(settings: dict[str, Any]) -> None:
    """By whoever receives them first: a pin that is not checked must not go unnoticed."""
    refused = (ValueError, TypeError, SSLError)
    with pytest.raises(refused):
        HTTPSConnection("localhost", **settings)
    with pytest.raises(refused):
        urllib4.HTTPSConnectionPool("localhost", **settings)
    with pytest.raises(refused):
        urllib4.PoolManager(**settings)
    with urllib4.PoolManager() as manager, pytest.raises(refused):
        manager.connection_from_host("localhost", scheme="https", pool_kwargs=settings)


def test_the_pins_of_the_target_are_not_those_of_the_proxy(authority: Authority) -> None:
    """The hop to the proxy is verified by its own rules; the target in the tunnel by the pins."""
    proxy, target = authority.issue("localhost"), authority.issue("target.example")
    seen: list[bytes] = []

    def handle(sock: Any) -> None:
        with proxy.context().wrap_socket(sock, server_side=True) as outer:
            seen.append(read_head(outer).split(b"\r\n")[0])
            if not seen[-1].startswith(b"CONNECT"):
                outer.sendall(answer(b"forwarded", "Connection: close"))
                return
            outer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            inner = TLSEnd(outer, target.context())  # type: ignore[arg-type]
            inner.do_handshake()
            read_head(inner)
            inner.sendall(answer(b"inside", "Connection: close"))
            inner.send_close_notify()

    with Peer(handle) as peer, urllib4.ProxyManager(
        f"https://localhost:{peer.port}",
        ca_certs=authority.ca_file,
        assert_pins=[pin_of(target)],
        proxy_assert_fingerprint=[OTHER_DIGITS, hashlib.sha256(proxy.der).hexdigest()],
        retries=False,
    ) as manager:  # fmt: skip
        assert manager.request("GET", "https://target.example/").data == b"inside"
        # Without a tunnel there is no TLS with the target, and nothing of the target's counts.
        conn = HTTPSConnection(
            "localhost",
            peer.port,
            proxy=urllib4.util.parse_url(f"https://localhost:{peer.port}"),
            ca_certs=authority.ca_file,
            assert_pins=[pin_of(target)],
        )
        conn.request("GET", "http://target.example/")
        assert conn.getresponse().data == b"forwarded"
        assert conn.proxy_is_verified
        conn.close()
    assert seen == [b"CONNECT target.example:443 HTTP/1.1", b"GET http://target.example/ HTTP/1.1"]
