"""Is a certificate for this host?  RFC 9525, on what ``getpeercert()`` returns.

OpenSSL checks the name by itself in nearly all connections.  This is for the others: another name
than that of the handshake was asserted, or a context came with ``check_hostname`` off.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class CertificateError(ValueError):
    """The certificate was not made for the host.  ``_peer_cert`` is the parsed certificate."""


def match_hostname(
    cert: Mapping[str, Any] | None, hostname: str, hostname_checks_common_name: bool = False
) -> None:
    """Return quietly if `cert` is for `hostname`.

    Host names compare without regard to case.  A wildcard stands for the whole left-most label and
    nothing else; a part of a label (``f*.example.com``) is never matched (RFC 9525, 6.3).  An
    address, also with a zone, has to be among the IP addresses of the certificate.

    :param cert: what ``SSLSocket.getpeercert()`` returned.
    :param hostname: without brackets and trailing dot.
    :param hostname_checks_common_name: look at the common name if the certificate has no names
        (deprecated since RFC 2818).
    :raises CertificateError: it is for somebody else.
    :raises ValueError: there is no certificate, or it was not verified.
    """
    if not cert:
        raise ValueError(
            "empty or no certificate, match_hostname needs a SSL socket or SSL context with "
            "either CERT_OPTIONAL or CERT_REQUIRED"
        )
    address = _packed_address(hostname)
    names: list[str] = []
    for kind, value in cert.get("subjectAltName", ()):
        if kind == "DNS":
            if address is None and _dns_name_matches(value, hostname):
                return
            names.append(value)
        elif kind == "IP Address":
            if address is not None and _packed_address(value.rstrip()) == address:
                return
            names.append(value)
    if hostname_checks_common_name and address is None and not names:
        for value in _common_names(cert):
            if _dns_name_matches(value, hostname):
                return
            names.append(value)
    raise CertificateError(_mismatch(hostname, names))


def _mismatch(hostname: str, names: list[str]) -> str:
    if not names:
        return "no appropriate subjectAltName fields were found"
    quoted = ", ".join(map(repr, names))
    either = "either of " if len(names) > 1 else ""
    return f"hostname {hostname!r} doesn't match {either}{quoted}"


def _common_names(cert: Mapping[str, Any]) -> list[str]:
    return [
        value
        for relative_name in cert.get("subject", ())
        for kind, value in relative_name
        if kind == "commonName"
    ]


def _dns_name_matches(pattern: str, hostname: str) -> bool:
    first, dot, rest = pattern.partition(".")
    if first.count("*") > 1:
        raise CertificateError(f"too many wildcards in certificate DNS name: {pattern!r}")
    if not pattern:
        return False
    if first != "*":
        return "*" not in first and _fold(pattern) == _fold(hostname)
    label, host_dot, host_rest = hostname.partition(".")
    return bool(label) and dot == host_dot and _fold(rest) == _fold(host_rest)


def _fold(name: str) -> str:
    # Not for other letters: some of them have an ASCII one as their lower case.
    return name.lower() if name.isascii() else name


def _packed_address(text: str) -> bytes | None:
    """Return the bytes of an IP address, its zone left out; None for anything else."""
    import ipaddress  # only few connections come here

    try:
        return ipaddress.ip_address(text.partition("%")[0]).packed
    except ValueError:
        return None
