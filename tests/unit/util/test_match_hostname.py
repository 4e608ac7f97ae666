"""`match_hostname`: one row for each rule of RFC 9525 and each text."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from urllib4.util.ssl_match_hostname import CertificateError, match_hostname


def cert(*names: str, cn: str | None = None) -> dict[str, Any]:
    """``cert("a.example", "IP:10.0.0.1", cn="b.example")``, as getpeercert() would return it."""
    san = tuple(
        ("IP Address", name[3:]) if name.startswith("IP:") else ("DNS", name) for name in names
    )
    subject = ((("organizationName", "x"),), *([(("commonName", cn),)] if cn else []))
    return {"subject": subject, **({"subjectAltName": san} if san else {})}


@pytest.mark.parametrize(
    ("certificate", "hostname"),
    [
        (cert("example.com"), "example.com"),
        (cert("Example.COM"), "eXample.com"),
        (cert("other.example", "example.com"), "example.com"),
        (cert("*.example.com"), "a.example.com"),
        (cert("*.Example.com"), "A.example.COM"),
        (cert("*.example.com"), "xn--bcher-kva.example.com"),
        (cert("xn--bcher-kva.example"), "XN--BCHER-KVA.example"),
        (cert("IP:10.0.0.1"), "10.0.0.1"),
        (cert("IP:0:0:0:0:0:0:0:1"), "::1"),
        (cert("IP:FE80:0:0:0:0:0:0:1\n"), "fe80::1"),
        (cert("IP:fe80::1"), "fe80::1%eth0"),
        (cert("IP:nonsense", "IP:10.0.0.1"), "10.0.0.1"),
    ],
)
def test_the_certificate_is_for_the_host(certificate: dict[str, Any], hostname: str) -> None:
    match_hostname(certificate, hostname)


@pytest.mark.parametrize(
    ("certificate", "hostname"),
    [
        (cert("example.com"), "example.org"),
        (cert("example.com"), "a.example.com"),
        (cert("*.example.com"), "example.com"),
        (cert("*.example.com"), ".example.com"),
        (cert("*.example.com"), "a.b.example.com"),
        # A part of a label, or a label that is not the first, is no wildcard (RFC 9525, 6.3).
        (cert("f*.example.com"), "foo.example.com"),
        (cert("*f.example.com"), "of.example.com"),
        (cert("xn--*.example.com"), "xn--a.example.com"),
        (cert("f*.example.com"), "f*.example.com"),
        (cert("a.*.com"), "a.b.com"),
        (cert("*.*.com"), "a.b.com"),
        # Names are names and addresses are addresses.
        (cert("10.0.0.1"), "10.0.0.1"),
        (cert("*.0.0.1"), "10.0.0.1"),
        (cert("IP:10.0.0.1"), "10.0.0.2"),
        (cert("IP:10.0.0.1"), "::ffff:10.0.0.1"),
        (cert("IP:nonsense"), "10.0.0.1"),
        (cert(""), ""),
        # What folds to ASCII is not ASCII: here a Kelvin sign.
        (cert("\u212aelvin.example"), "kelvin.example"),
        (cert("example.com\0.evil.example"), "example.com"),
    ],
)
def test_the_certificate_is_for_somebody_else(certificate: dict[str, Any], hostname: str) -> None:
    with pytest.raises(CertificateError, match=r"^hostname .* doesn't match "):
        match_hostname(certificate, hostname)


@pytest.mark.parametrize(
    ("certificate", "text"),
    [
        (cert("a.example"), "hostname 'x' doesn't match 'a.example'"),
        (
            cert("a.example", "IP:10.0.0.1"),
            "hostname 'x' doesn't match either of 'a.example', '10.0.0.1'",
        ),
        (cert(), "no appropriate subjectAltName fields were found"),
        (cert("**.example"), "too many wildcards in certificate DNS name: '**.example'"),
        (cert("*a*.example"), "too many wildcards in certificate DNS name: '*a*.example'"),
    ],
)
def test_the_text_tells_the_names(certificate: dict[str, Any], text: str) -> None:
    with pytest.raises(CertificateError) as caught:
        match_hostname(certificate, "x")
    assert str(caught.value) == text
    assert isinstance(caught.value, ValueError)


def test_the_common_name_counts_only_on_demand_and_without_other_names() -> None:
    match_hostname(cert(cn="example.com"), "example.com", True)
    match_hostname(cert(cn="*.example.com"), "a.example.com", True)
    match_hostname({**cert(cn="a.b"), "subjectAltName": (("email", "x@a.b"),)}, "a.b", True)
    for certificate, hostname, looked_at in (
        (cert(cn="example.com"), "example.com", False),
        (cert("other.example", cn="example.com"), "example.com", True),
        (cert("IP:10.0.0.1", cn="example.com"), "example.com", True),
        (cert(cn="10.0.0.1"), "10.0.0.1", True),
        (cert(cn="example.org"), "example.com", True),
    ):
        with pytest.raises(CertificateError):
            match_hostname(certificate, hostname, looked_at)


@pytest.mark.parametrize("nothing", [None, {}])
def test_no_certificate_is_another_error(nothing: Any) -> None:
    """``{}`` is what getpeercert() returns if nothing was verified."""
    with pytest.raises(
        ValueError, match=r"^empty or no certificate, match_hostname needs"
    ) as caught:
        match_hostname(nothing, "example.com")
    assert not isinstance(caught.value, CertificateError)


labels = st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=8)
# No digits in front: four numbers would be an address.
names = st.lists(labels.map("x{}".format), min_size=1, max_size=4).map(".".join)


@given(names, names)
def test_without_a_wildcard_only_the_same_name_matches(pattern: str, hostname: str) -> None:
    same = pattern.lower() == hostname.lower()
    try:
        match_hostname(cert(pattern), hostname)
    except CertificateError:
        assert not same
    else:
        assert same


@given(names, labels)
def test_a_wildcard_is_exactly_one_label(rest: str, prefix: str) -> None:
    certificate, hostname = cert(f"*.{rest}"), f"{prefix}.{rest}"
    match_hostname(certificate, hostname)
    with pytest.raises(CertificateError):
        match_hostname(certificate, f"more.{hostname}")
