"""Pins: does a certificate hold one of the public keys that the caller expects?

A pin is the SHA-256 digest of the SubjectPublicKeyInfo of a certificate (RFC 7469, 2.4), written
as curl does: ``sha256//`` and the digest in base64.  It stays the same when a certificate is
renewed for the same key.

The standard library hands certificates out as bytes only, so the one field is looked up here,
strictly: whatever is not DER (X.690, 10) as RFC 5280, 4.1, lays it out is refused.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Sequence
from typing import Any

from ..exceptions import SSLError

_PREFIX = "sha256//"
_FORM = '"sha256//" and the base64 of the SHA-256 of a public key (SubjectPublicKeyInfo)'

_SHA256_BYTES = 32
_INTEGER, _SEQUENCE, _VERSION = 0x02, 0x30, 0xA0

#: Most bytes that the length of an element may take: OpenSSL refuses messages above 16 MiB anyway.
_MAX_LENGTH_BYTES = 4


def checked_pins(pins: Any) -> tuple[str, ...] | None:
    """Return pins as a tuple; None stays None, a single str counts as one pin.

    :raises TypeError: neither a str nor a list or tuple of them.
    :raises ValueError: there is none, or one is not a pin.
    """
    if pins is None:
        return None
    if isinstance(pins, str):
        pins = (pins,)
    if not isinstance(pins, (list, tuple)):
        raise TypeError(f"assert_pins is a list of pins, not {type(pins).__name__}")
    if not pins:
        raise ValueError("assert_pins has no pin in it: leave it out to check none")
    for pin in pins:
        if not isinstance(pin, str):
            raise TypeError(f"assert_pins has {pin!r}: a pin is a str, {_FORM}")
        if not _is_pin(pin):
            raise ValueError(f"assert_pins has {pin!r}: a pin is {_FORM}")
    return tuple(pins)


def _is_pin(pin: str) -> bool:
    try:
        digest = b64decode(pin[len(_PREFIX) :], validate=True)
    except (Error, ValueError):  # the second for characters outside ASCII
        return False
    # One digest has one spelling: the last character could carry bits that mean nothing.
    return pin == _spelled(digest) and len(digest) == _SHA256_BYTES


def _spelled(digest: bytes) -> str:
    return _PREFIX + b64encode(digest).decode()


def pin_of(certificate: bytes) -> str:
    """Return the pin of a certificate in DER.

    :raises SSLError: it is malformed.
    """
    import hashlib  # loads OpenSSL's part of it, for those with pins

    return _spelled(hashlib.sha256(public_key_info(certificate)).digest())


def assert_pins(certificate: bytes | None, pins: Sequence[str]) -> None:
    """Return quietly if the certificate in DER holds a key that one of `pins` stands for.

    :raises SSLError: it does not, it is malformed, or there is none.
    """
    if certificate is None:
        raise SSLError("No certificate for the peer.")
    found = pin_of(certificate)
    if found not in pins:
        expected = " or ".join(f'"{pin}"' for pin in pins)
        raise SSLError(f'Public key pins did not match. Expected {expected}, got "{found}"')


def public_key_info(certificate: bytes) -> bytes:
    """Return the SubjectPublicKeyInfo of an X.509 certificate, DER in and DER out.

    :raises SSLError: `certificate` is malformed.
    """
    start, end = _content(certificate, 0, len(certificate), _SEQUENCE)
    if end != len(certificate):
        raise _malformed("there is something behind it")
    position, end = _content(certificate, start, end, _SEQUENCE)  # TBSCertificate
    if certificate[position : position + 1] == bytes([_VERSION]):
        position = _content(certificate, position, end, _VERSION)[1]
    # Serial number, signature, issuer, validity, subject: then the field that is wanted.
    for tag in (_INTEGER, _SEQUENCE, _SEQUENCE, _SEQUENCE, _SEQUENCE):
        position = _content(certificate, position, end, tag)[1]
    return certificate[position : _content(certificate, position, end, _SEQUENCE)[1]]


def _content(data: bytes, position: int, end: int, tag: int) -> tuple[int, int]:
    """Return where the content of the element at `position` starts and ends.

    :param end: of the element that it is part of.
    :raises SSLError: it is another element, has no DER length, or does not fit.
    """
    if end - position < 2:
        raise _malformed("it is too short")
    if data[position] != tag:
        raise _malformed(f"tag {data[position]:#04x} stands where {tag:#04x} belongs")
    length, start = data[position + 1], position + 2
    if length >= 0x80:
        count = length - 0x80
        length = int.from_bytes(data[start : start + count], "big")
        # The shortest form is the only one, and the indefinite one (0x80) is none.
        shortest = max(1, (length.bit_length() + 7) // 8)
        if not 1 <= count <= _MAX_LENGTH_BYTES or length < 0x80 or count != shortest:
            raise _malformed("a length is not in DER")
        start += count
    if length > end - start:
        raise _malformed("an element is longer than what it is part of")
    return start, start + length


def _malformed(reason: str) -> SSLError:
    return SSLError(f"The certificate of the peer is malformed: {reason}")
