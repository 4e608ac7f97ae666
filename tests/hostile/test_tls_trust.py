"""Whom a client must not believe, and how it says so: the host, and OpenSSL's reason."""

from __future__ import annotations

import pickle
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import pytest

import urllib4
from tests.hostile.tls_peers import DAY, PATIENCE, Authority, Leaf, Peer, answer, serving
from urllib4.exceptions import MaxRetryError, SSLError

Maker = Callable[[Authority, Authority], Leaf]


class Case(NamedTuple):
    """A certificate, and what the error says of it."""

    name: str
    make: Maker
    reason: str


KINDS = [
    Case(
        "expired",
        lambda ours, _: ours.issue("localhost", valid=(-9 * DAY, -DAY)),
        "certificate has expired",
    ),
    Case(
        "expired a second ago",
        lambda ours, _: ours.issue("localhost", valid=(-9 * DAY, DAY * 0 - DAY / 86400)),
        "certificate has expired",
    ),
    Case(
        "not yet valid",
        lambda ours, _: ours.issue("localhost", valid=(DAY / 2, 9 * DAY)),
        "certificate is not yet valid",
    ),
    Case(
        "self-signed",
        lambda ours, _: ours.issue("localhost", self_signed=True),
        "self.signed certificate",
    ),
    Case(
        "authority unknown",
        lambda _, theirs: theirs.issue("localhost"),
        "unable to get local issuer certificate",
    ),
    Case(
        "authority of the same name",
        lambda ours, theirs: Authority(theirs._directory, "authority").issue("localhost"),
        "(unable to get local issuer certificate|certificate signature failure)",
    ),
    Case(
        "other name",
        lambda ours, _: ours.issue("other.example"),
        "Hostname mismatch, certificate is not valid for 'localhost'",
    ),
    Case(
        "name in the common name only",
        lambda ours, _: ours.issue(common_name="localhost"),
        "Hostname mismatch, certificate is not valid for 'localhost'",
    ),
    Case(
        "address of the host only",
        lambda ours, _: ours.issue("IP:127.0.0.1"),
        "Hostname mismatch, certificate is not valid for 'localhost'",
    ),
    Case(
        "expired, for another host, of an unknown authority",
        lambda _, theirs: theirs.issue("other.example", valid=(-9 * DAY, -DAY)),
        "unable to get local issuer certificate",
    ),
]
VERSIONS = ("TLSv1_2", "TLSv1_3")
#: How the client is told whom to trust.
WAYS = ("ca_certs", "ca_cert_data", "ssl_context", "create_urllib4_context")
CASES = [(case, version, way) for case in KINDS for version in VERSIONS for way in WAYS]


def test_there_are_many_cases() -> None:
    print(f"{len(CASES)} cases")
    assert len(CASES) >= 80


def trusting(way: str, ca_file: str) -> dict[str, Any]:
    """Return keywords that make a client trust one authority."""
    if way == "ca_certs":
        return {"ca_certs": ca_file}
    if way == "ca_cert_data":
        with open(ca_file) as file:
            return {"ca_cert_data": file.read()}
    if way == "ssl_context":
        plain = ssl.create_default_context(cafile=ca_file)
        plain.hostname_checks_common_name = False  # a caller's context decides that itself
        return {"ssl_context": plain}
    context = urllib4.util.ssl_.create_urllib4_context()
    context.load_verify_locations(ca_file)
    return {"ssl_context": context}


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    with Peer(lambda sock: None) as running:
        yield running


@pytest.fixture(scope="module")
def leaves(authority: Authority, stranger: Authority) -> dict[str, Leaf]:
    return {case.name: case.make(authority, stranger) for case in KINDS}


@pytest.mark.parametrize(("case", "version", "way"), CASES, ids=lambda x: getattr(x, "name", x))
def test_nothing_is_sent_to_a_server_that_cannot_be_trusted(
    case: Case, version: str, way: str, peer: Peer, leaves: dict[str, Leaf], authority: Authority
) -> None:
    """The error names host and reason in every text that programs look at, and can be pickled."""
    seen: list[bytes] = []

    def respond(request: bytes) -> bytes:
        seen.append(request)
        return answer(b"hello")

    peer.handler = serving(leaves[case.name].context(ssl.TLSVersion[version]), respond)
    with urllib4.HTTPSConnectionPool(
        "localhost", peer.port, timeout=PATIENCE, **trusting(way, authority.ca_file)
    ) as pool:
        with pytest.raises(SSLError, match=case.reason) as caught:
            pool.request("GET", "/", retries=False)
        with pytest.raises(MaxRetryError, match=case.reason) as retried:
            pool.request("GET", "/", retries=0)
    cause = caught.value.args[0]
    assert isinstance(cause, ssl.SSLCertVerificationError)
    assert cause.reason == "CERTIFICATE_VERIFY_FAILED"
    assert cause.verify_code
    for error in (caught.value, retried.value, cause, pickle.loads(pickle.dumps(cause))):
        assert "CERTIFICATE_VERIFY_FAILED" in str(error)
        assert "'localhost'" in str(error)
    assert "CERTIFICATE_VERIFY_FAILED" in repr(retried.value.reason)
    assert isinstance(retried.value.reason, SSLError)
    assert seen == []


def test_the_host_is_the_one_that_was_asked_for(
    peer: Peer, authority: Authority, stranger: Authority
) -> None:
    """Also where another name is sent and checked: the reader looks for what is in the URL."""
    peer.handler = serving(stranger.issue("localhost").context(), lambda request: answer(b"hello"))
    settings: dict[str, Any] = {"ca_certs": authority.ca_file, "retries": False}
    for names in ({"server_hostname": "localhost"}, {"assert_hostname": "localhost"}):
        pool = urllib4.HTTPSConnectionPool("127.0.0.1", peer.port, **settings, **names)
        text = r"CERTIFICATE_VERIFY_FAILED.*\(host '127.0.0.1'\)$"
        with pool, pytest.raises(SSLError, match=text):
            pool.request("GET", "/")
    peer.handler = serving(authority.issue("localhost").context(), lambda request: answer(b"x"))
    pool = urllib4.HTTPSConnectionPool(
        "127.0.0.1", peer.port, assert_hostname="other.example", **settings
    )
    with pool, pytest.raises(SSLError) as caught:
        pool.request("GET", "/")
    text = "hostname 'other.example' doesn't match 'localhost' (host '127.0.0.1')"
    assert str(caught.value) == text


#: Settings that switch a check off, and for which certificates that is enough.
SWITCHES = [
    ({"cert_reqs": "CERT_NONE"}, {case.name for case in KINDS}),
    (
        {"assert_hostname": False},
        {"other name", "name in the common name only", "address of the host only"},
    ),
    ({"assert_hostname": "other.example"}, {"other name"}),
    ({"server_hostname": "127.0.0.1"}, {"address of the host only"}),
]


@pytest.mark.parametrize(("switch", "good"), SWITCHES, ids=[str(one[0]) for one in SWITCHES])
@pytest.mark.filterwarnings("ignore::urllib4.exceptions.InsecureRequestWarning")
def test_a_switch_switches_off_what_it_says_and_no_more(
    switch: dict[str, Any],
    good: set[str],
    peer: Peer,
    leaves: dict[str, Leaf],
    authority: Authority,
) -> None:
    """For all certificates above."""
    accepted = set()
    for name, leaf in leaves.items():
        peer.handler = serving(leaf.context(), lambda request: answer(b"hello"))
        with (
            urllib4.HTTPSConnectionPool(
                "localhost", peer.port, ca_certs=authority.ca_file, retries=False, **switch
            ) as pool,
            suppress(SSLError),
        ):
            assert pool.request("GET", "/").data == b"hello"
            accepted.add(name)
    assert accepted == good
