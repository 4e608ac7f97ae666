"""For whom is a certificate?  Each name in it against each host, by both judges.

OpenSSL decides in nearly all connections, `match_hostname` in the rest (another name asserted,
or a context that does not check): no pair may be decided one way here and another way there.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any

import pytest

import urllib4
from tests.hostile.tls_peers import PATIENCE, Authority, Peer, answer, serving
from urllib4._tls import TLSConfig, server_name, wrap
from urllib4.util import connection as connection_module
from urllib4.util.ssl_match_hostname import CertificateError, match_hostname

#: What a certificate says, and the hosts of `HOSTS` that it is for: all others it is not for.
NAMES: dict[str, set[str]] = {
    "example.com": {"example.com", "EXAMPLE.com", "example.com."},
    "Example.COM": {"example.com", "EXAMPLE.com", "example.com."},
    "a.example.com": {"a.example.com"},
    "foo.example.com": {"foo.example.com"},
    # A wildcard is the whole first label, and one label (RFC 9525, 6.3).
    "*.example.com": {
        "a.example.com",
        "foo.example.com",
        "xn--bcher-kva.example.com",
        "b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example.com",
        "1.example.com",
    },
    "*.a.example.com": {"b.a.example.com"},
    "*.B.A.Example.com": {"c.b.a.example.com"},
    # Part of a label, or not the first: no wildcard.
    "f*.example.com": set(),
    "*o.example.com": set(),
    "f*o.example.com": set(),
    "xn--*.example.com": set(),
    "xn--bcher-*.example.com": set(),
    "a.*.com": set(),
    "b.*.example.com": set(),
    "*.*.com": set(),
    "*.*.example.com": set(),
    "**.example.com": set(),
    "a.example.*": set(),
    # A whole top-level domain, or everything.
    "*.com": set(),
    "*": set(),
    "*.": set(),
    "*.localhost": set(),
    "localhost": {"localhost"},
    # International names are compared as they are in DNS.
    "xn--bcher-kva.example.com": {
        "xn--bcher-kva.example.com",
        "b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example.com",
    },
    "XN--BCHER-KVA.example.com": {
        "xn--bcher-kva.example.com",
        "b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example.com",
    },
    # Addresses are among the addresses only, and names are not.
    "IP:127.0.0.1": {"127.0.0.1"},
    "IP:10.0.0.1": {"10.0.0.1"},
    "IP:::1": {"::1", "[::1]", "0:0:0:0:0:0:0:1"},
    "IP:fe80::1": {"fe80::1%eth0", "fe80::1", "FE80:0::1"},
    "IP:::ffff:127.0.0.1": {"::ffff:7f00:1"},
    "127.0.0.1": set(),
    "*.0.0.1": set(),
    "::1": set(),
    "example.com.evil.example": set(),
    "example.comx": set(),
    ".example.com": set(),
    "com": set(),
    "org.": set(),
}

HOSTS = (
    "example.com",
    "EXAMPLE.com",
    "example.com.",
    "a.example.com",
    "foo.example.com",
    "b.a.example.com",
    "c.b.a.example.com",
    "1.example.com",
    "xn--bcher-kva.example.com",
    "b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example.com",
    "example.org",
    "a.example.org",
    "notexample.com",
    "localhost",
    "a.localhost",
    "127.0.0.1",
    "10.0.0.1",
    "127.0.0.2",
    "127.1",
    "::1",
    "[::1]",
    "0:0:0:0:0:0:0:1",
    "::2",
    "fe80::1",
    "fe80::1%eth0",
    "FE80:0::1",
    "::ffff:7f00:1",
)

#: `match_hostname` by itself takes these as urllib3's does; connections never do.
WIDE = {"*.com", "*", "*.", "*.localhost"}

CASES = [(name, host, host in hosts) for name, hosts in NAMES.items() for host in HOSTS]


def test_there_are_many_cases() -> None:
    print(f"{len(CASES)} pairs of a name and a host, {sum(good for *_, good in CASES)} that match")
    assert len(CASES) >= 1000
    for name, hosts in NAMES.items():
        assert hosts <= set(HOSTS), name


def parsed(name: str) -> dict[str, Any]:
    """Return a certificate as ``getpeercert()`` shows it."""
    kind, _, value = name.partition(":") if name.startswith("IP:") else ("", "", name)
    san = ("IP Address", value) if kind else ("DNS", value)
    # The common name never counts.
    return {"subject": ((("commonName", "example.org"),),), "subjectAltName": (san,)}


def matches(name: str, host: str) -> bool:
    """Ask our own judge, about the host as a connection would."""
    try:
        match_hostname(parsed(name), server_name(host).encode("idna").decode())
    except CertificateError:
        return False
    return True


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WIDE])
def test_our_own_check_of_names(name: str) -> None:
    """Names in certificates against all hosts, `HOSTS`."""
    assert {host for host in HOSTS if matches(name, host)} == NAMES[name]


@pytest.fixture(scope="module")
def peer(authority: Authority) -> Iterator[Peer]:
    with Peer(lambda sock: None) as running:
        yield running


def show(peer: Peer, authority: Authority, *names: str, **settings: Any) -> None:
    """Let the server show a certificate for `names`."""
    context = authority.issue(*names, **settings).context()
    peer.handler = serving(context, lambda request: answer(b"hello"))


def accepts(peer: Peer, config: TLSConfig, host: str) -> bool:
    """Shake hands with the server under the name of `host`."""
    try:
        result = wrap(peer.connect(), config, host)
    except (ssl.SSLCertVerificationError, CertificateError) as error:
        text = str(error)
    else:
        text = ""
    if text:
        assert repr(host) in text  # every refusal says who was asked for
        return False
    result.sock.close()
    assert result.is_verified
    return True


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("judge", ["OpenSSL", "ours"])
def test_a_handshake_succeeds_only_with_the_right_name(
    name: str, judge: str, peer: Peer, authority: Authority
) -> None:
    """Names in certificates against all hosts, `HOSTS`, in real connections."""
    show(peer, authority, name, common_name="example.org")
    config = TLSConfig(ca_certs=authority.ca_file)
    if judge == "ours":
        context = ssl.create_default_context(cafile=authority.ca_file)
        context.check_hostname = False
        config = TLSConfig(ssl_context=context)
    assert {host for host in HOSTS if accepts(peer, config, host)} == NAMES[name]


#: Several names in one certificate, and a host that one of them, or none, is for.
SEVERAL = [
    (("a.example", "b.example"), "b.example", True),
    (("a.example", "b.example"), "c.example", False),
    (("*.example.com", "IP:127.0.0.1"), "127.0.0.1", True),
    (("*.example.com", "IP:127.0.0.1"), "x.example.com", True),
    (("*.example.com", "IP:127.0.0.1"), "127.0.0.2", False),
    (("f*.example.com", "foo.example.com"), "foo.example.com", True),
    (("IP:10.0.0.1", "IP:::1"), "::1", True),
    (("IP:10.0.0.1", "IP:::1"), "::2", False),
    ((), "leaf.example", False),
    ((), "127.0.0.1", False),
]


@pytest.mark.parametrize(("names", "host", "good"), SEVERAL)
def test_one_of_several_names_suffices_and_the_common_name_never(
    names: tuple[str, ...], host: str, good: bool, peer: Peer, authority: Authority
) -> None:
    """RFC 9525, 6.2: the common name is not looked at, also where there is nothing else."""
    show(peer, authority, *names, common_name="c.example" if names else "leaf.example")
    assert accepts(peer, TLSConfig(ca_certs=authority.ca_file), host) is good


#: The host in a URL, the name in the certificate, whether they go together, and the SNI sent.
URLS = [
    ("https://b\xfccher.example:{port}/", "xn--bcher-kva.example", True, "xn--bcher-kva.example"),
    ("https://B\xdcCHER.example:{port}/", "xn--bcher-kva.example", True, "xn--bcher-kva.example"),
    ("https://xn--bcher-kva.example:{port}/", "xn--bcher-kva.example", True,
     "xn--bcher-kva.example"),
    ("https://b\xfccher.example:{port}/", "bucher.example", False, "xn--bcher-kva.example"),
    # Not "fass.de", which is somebody else's (IDNA 2008).
    ("https://fa\xdf.example:{port}/", "xn--fa-hia.example", True, "xn--fa-hia.example"),
    ("https://fa\xdf.example:{port}/", "fass.example", False, "xn--fa-hia.example"),
    ("https://example.com.:{port}/", "example.com", True, "example.com"),
    ("https://EXAMPLE.com:{port}/", "example.com", True, "example.com"),
    ("https://[::1]:{port}/", "IP:::1", True, None),
    ("https://[fe80::1%25lo]:{port}/", "IP:fe80::1", True, None),
    ("https://127.0.0.1:{port}/", "IP:127.0.0.1", True, None),
    ("https://127.0.0.1:{port}/", "127.0.0.1", False, None),
    ("https://a.b.example.com:{port}/", "*.example.com", False, "a.b.example.com"),
]  # fmt: skip


@pytest.mark.parametrize(("url", "name", "good", "sni"), URLS)
def test_the_host_of_a_url_is_what_is_sent_and_checked(
    url: str,
    name: str,
    good: bool,
    sni: str | None,
    peer: Peer,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From the URL as a user writes it to the certificate."""
    seen: list[str | None] = []
    context = authority.issue(name).context()
    context.sni_callback = lambda _sock, sent, _context: seen.append(sent)
    peer.handler = serving(context, lambda request: answer(b"hello"))
    monkeypatch.setattr(connection_module, "create_connection", lambda *_, **__: peer.connect())
    with urllib4.PoolManager(
        ca_certs=authority.ca_file, retries=False, timeout=PATIENCE
    ) as manager:
        if good:
            assert manager.request("GET", url.format(port=peer.port)).data == b"hello"
        else:
            with pytest.raises(urllib4.exceptions.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
                manager.request("GET", url.format(port=peer.port))
    assert seen == [sni]
