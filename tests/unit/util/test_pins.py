"""Pins: their notation, and the way to the public key in a certificate, however broken."""

from __future__ import annotations

import base64
import datetime
import hashlib
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from urllib4._tls import TLSConfig
from urllib4.exceptions import SSLError
from urllib4.util import _pins

GOOD = "sha256//" + base64.b64encode(bytes(range(32))).decode()
NOW = datetime.datetime(2025, 1, 1)


def certificate(key: Any, *, names: int = 1, issuer: str = "issuer") -> bytes:
    """A self-signed certificate in DER; many names make the lengths in it longer."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)])
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(f"host{i}.example") for i in range(names)]),
            critical=False,
        )
        .sign(key, algorithm)
    )
    return made.public_bytes(serialization.Encoding.DER)


KEYS: dict[str, Any] = {
    "P-256": ec.generate_private_key(ec.SECP256R1()),
    "P-521": ec.generate_private_key(ec.SECP521R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate(),
    "RSA": rsa.generate_private_key(65537, 2048),
}


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("names", [1, 20, 6000])
def test_the_key_is_found_in_every_kind_of_certificate(kind: str, names: int) -> None:
    """With lengths of one to four bytes; another implementation says which bytes they are."""
    key = KEYS[kind]
    der = certificate(key, names=names)
    expected = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert _pins.public_key_info(der) == expected
    digest = base64.b64encode(hashlib.sha256(expected).digest()).decode()
    assert _pins.pin_of(der) == f"sha256//{digest}"


DER = certificate(KEYS["P-256"])
KEY = _pins.public_key_info(DER)


def test_a_certificate_of_the_first_version_has_no_version_in_it() -> None:
    """RFC 5280, 4.1.2.1: the field is left out, its value is the default."""
    inner = b"".join(
        (b"\x02\x01\x01", b"\x30\x00", b"\x30\x00", b"\x30\x00", b"\x30\x00", b"\x30\x01x")
    )
    tbs = b"\x30" + bytes([len(inner)]) + inner
    assert _pins.public_key_info(b"\x30" + bytes([len(tbs)]) + tbs) == b"\x30\x01x"


def test_a_certificate_that_is_cut_anywhere_is_an_error() -> None:
    for end in range(len(DER)):
        with pytest.raises(SSLError, match="malformed"):
            _pins.public_key_info(DER[:end])


def test_every_changed_byte_gives_an_error_or_some_key() -> None:
    """Never an exception of another kind, and never more bytes than there are."""
    outcomes = set()
    for position in range(len(DER)):
        for value in (0x00, 0x30, 0x7F, 0x80, 0x81, 0x84, 0x85, 0xFF):
            broken = DER[:position] + bytes([value]) + DER[position + 1 :]
            try:
                outcomes.add(len(_pins.public_key_info(broken)) <= len(DER))
            except SSLError:
                outcomes.add(True)
    assert outcomes == {True}


@given(st.binary(max_size=200))
def test_any_bytes_give_an_error_or_part_of_themselves(data: bytes) -> None:
    try:
        assert _pins.public_key_info(data) in data
    except SSLError:
        return


LENGTHS = [
    (b"\x30\x80" + DER[4:] + b"\0\0", "not in DER"),  # indefinite
    (b"\x30\x85\x00" + DER[1:], "not in DER"),
    (b"\x30\xff" + b"\xff" * 200, "not in DER"),
    (b"\x30\x81\x05\x30\x03\x02\x01\x00", "not in DER"),  # fits into the short form
    (b"\x30\x82\x00\xff" + DER[4:], "not in DER"),
    (b"\x30\x84\xff\xff\xff\xff" + DER[4:], "longer than"),
    (DER + b"\0", "something behind"),
    (b"", "too short"),
    (b"\x31" + DER[1:], "tag 0x31 stands where 0x30 belongs"),
]


@pytest.mark.parametrize(("der", "reason"), LENGTHS, ids=range(len(LENGTHS)))
def test_what_is_not_der_is_named(der: bytes, reason: str) -> None:
    with pytest.raises(SSLError, match=f"^The certificate of the peer is malformed: .*{reason}"):
        _pins.public_key_info(der)


def test_a_pin_is_one_of_several() -> None:
    pin = _pins.pin_of(DER)
    _pins.assert_pins(DER, (GOOD, pin))
    with pytest.raises(SSLError) as caught:
        _pins.assert_pins(DER, (GOOD, GOOD))
    text = f'Public key pins did not match. Expected "{GOOD}" or "{GOOD}", got "{pin}"'
    assert str(caught.value) == text
    with pytest.raises(SSLError, match=r"^No certificate for the peer\.$"):
        _pins.assert_pins(None, (pin,))


@pytest.mark.parametrize(
    ("pins", "error"),
    [
        (GOOD[:-1], ValueError),
        (GOOD.removeprefix("sha256//"), ValueError),
        (GOOD.replace("sha256//", "sha256/"), ValueError),
        (GOOD.replace("sha256//", "SHA256//"), ValueError),
        (GOOD.replace("sha256//", "sha1//"), ValueError),
        (f"{GOOD};{GOOD}", ValueError),
        (f" {GOOD}", ValueError),
        (f"{GOOD}\n", ValueError),
        ("sha256//" + "ü" * 44, ValueError),
        ("sha256//" + bytes(32).hex(), ValueError),
        ("sha256//" + base64.b64encode(bytes(20)).decode(), ValueError),
        ("sha256//" + base64.b64encode(bytes(64)).decode(), ValueError),
        # Bits behind the digest, which a lax decoder drops.
        (GOOD[:-2] + "9=", ValueError),
        ("sha256//" + base64.urlsafe_b64encode(b"\xff" * 32).decode(), ValueError),
        ("", ValueError),
        ([GOOD, "x"], ValueError),
        ([], ValueError),
        ((), ValueError),
        ([GOOD.encode()], TypeError),
        ([None], TypeError),
        (GOOD.encode(), TypeError),
        (5, TypeError),
        ({GOOD: 1}, TypeError),
    ],
)
def test_what_is_no_pin_is_refused_and_named(pins: Any, error: type[Exception]) -> None:
    """Silently checking nothing would be the worst answer to a typo."""
    with pytest.raises(error, match="assert_pins"):
        TLSConfig(assert_pins=pins)


def test_pins_become_part_of_the_value() -> None:
    one = TLSConfig(assert_pins=[GOOD])
    assert one == TLSConfig(assert_pins=GOOD)
    assert one.assert_pins == (GOOD,)
    assert hash(one) == hash(TLSConfig(assert_pins=(GOOD,)))
    assert TLSConfig().assert_pins is None


@pytest.mark.parametrize(
    ("fingerprints", "error", "text"),
    [
        ([], ValueError, "assert_fingerprint has no fingerprint"),
        (["aa" * 32, "aa"], SSLError, "^Fingerprint of invalid length: aa$"),
        (["aa" * 32, "zz" * 32], SSLError, "Non-hexadecimal"),
        (["aa" * 32, b"aa" * 32], TypeError, "assert_fingerprint .* bytes"),
        ([""], SSLError, "Fingerprint of invalid length"),
        ({"aa" * 32}, TypeError, "assert_fingerprint .* set"),
    ],
)
def test_a_list_of_fingerprints_is_checked_at_once(
    fingerprints: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        TLSConfig(assert_fingerprint=fingerprints)
    assert TLSConfig(assert_fingerprint=["AA" * 32]).assert_fingerprint == ("AA" * 32,)
