"""`TLSConfig` as a value: what it accepts, refuses, shows and hides."""

from __future__ import annotations

import os
import ssl
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest

from urllib4._tls import TLSConfig, server_name
from urllib4.connection import HTTPSConnection
from urllib4.exceptions import SSLError
from urllib4.util import ssl_

PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"


def test_equal_settings_are_equal_values() -> None:
    one = TLSConfig(ca_certs="x", alpn_protocols=["h2"])  # type: ignore[arg-type]
    two = TLSConfig(ca_certs="x", alpn_protocols=("h2",))
    assert one == two
    assert hash(one) == hash(two)
    assert one != TLSConfig(ca_certs="y")


def test_it_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        TLSConfig().ca_certs = "x"  # type: ignore[misc]


def test_alpn_is_that_of_the_module_at_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP/2 is switched on by assigning the list."""
    assert TLSConfig().alpn_protocols == ("http/1.1",)
    monkeypatch.setattr(ssl_, "ALPN_PROTOCOLS", ["h2"])
    assert TLSConfig().alpn_protocols == ("h2",)


def test_repr_hides_secrets() -> None:
    config = TLSConfig(
        cert_data=PEM, key_data=KEY.encode(), key_password="hunter2", ca_cert_data=PEM
    )
    assert repr(config) == (
        f"TLSConfig(ca_cert_data=<{len(PEM)} characters>, key_password=<hidden>, "
        f"cert_data=<{len(PEM)} characters>, key_data=<hidden>, alpn_protocols=('http/1.1',))"
    )
    assert repr(TLSConfig(cert_data=PEM.encode())).startswith(
        f"TLSConfig(cert_data=<{len(PEM)} bytes>"
    )


def test_paths_are_normal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    config = TLSConfig(ca_certs="~/ca.pem", ca_cert_dir=Path("~/ca"), cert_file=b"x")  # type: ignore[arg-type]
    assert config.ca_certs == os.path.expanduser("~/ca.pem")
    assert config.ca_cert_dir == os.path.expanduser("~/ca")
    assert config.cert_file == "x"
    assert TLSConfig(ca_certs="") == TLSConfig()


def test_ca_data_is_taken_in_every_form() -> None:
    assert TLSConfig(ca_cert_data=PEM.encode()).ca_cert_data == PEM
    assert TLSConfig(ca_cert_data="# für alle\n" + PEM).ca_cert_data == "# f?r alle\n" + PEM
    der = b"\x30\x03\x02\x01\x00"
    assert TLSConfig(ca_cert_data=der).ca_cert_data == der
    assert TLSConfig(ca_cert_data="").ca_cert_data is None


@pytest.mark.parametrize("mode", [None, "CERT_NONE", "REQUIRED", 0, 1, ssl.CERT_REQUIRED])
def test_known_values_of_cert_reqs(mode: Any) -> None:
    TLSConfig(cert_reqs=mode)


@pytest.mark.parametrize(
    ("names", "error", "text"),
    [
        ({"cert_reqs": "FOO"}, ValueError, "cert_reqs 'FOO' is unknown"),
        ({"cert_reqs": 3}, ValueError, "cert_reqs 3 is unknown"),
        ({"ssl_version": "FOO"}, ValueError, "ssl_version 'FOO' is unknown"),
        (
            {"ssl_version": ssl.PROTOCOL_TLSv1_2, "ssl_minimum_version": ssl.TLSVersion.TLSv1_2},
            ValueError,
            "^Can't specify both 'ssl_version' and either",
        ),
        (
            {"ssl_minimum_version": "TLSv1.2"},
            ValueError,
            "ssl_minimum_version 'TLSv1.2' is unknown",
        ),
        ({"ssl_maximum_version": 12}, ValueError, "ssl_maximum_version 12 is unknown"),
        (
            {
                "ssl_minimum_version": ssl.TLSVersion.TLSv1_3,
                "ssl_maximum_version": ssl.TLSVersion.TLSv1_2,
            },
            ValueError,
            "is newer than ssl_maximum_version",
        ),
        ({"assert_fingerprint": "aa"}, SSLError, "^Fingerprint of invalid length: aa$"),
        ({"assert_fingerprint": "zz" * 32}, SSLError, "Non-hexadecimal digit"),
        ({"assert_fingerprint": b"aa" * 32}, TypeError, "assert_fingerprint .* bytes"),
        ({"assert_hostname": True}, TypeError, "assert_hostname .* bool"),
        ({"server_hostname": 5}, TypeError, "server_hostname .* int"),
        ({"server_hostname": ".x"}, ValueError, "server_hostname '.x'"),
        ({"server_hostname": "x" * 64}, ValueError, "server_hostname"),
        ({"server_hostname": "a\0b"}, ValueError, "server_hostname"),
        ({"server_hostname": "."}, ValueError, "server_hostname"),
        ({"ca_certs": 5}, TypeError, "ca_certs is not a path: int"),
        ({"ca_cert_data": "nonsense"}, SSLError, "ca_cert_data is not in PEM format"),
        ({"ca_cert_data": b"nonsense"}, SSLError, "ca_cert_data is neither PEM nor DER"),
        ({"cert_data": "nonsense"}, SSLError, "^cert_data is not in PEM format$"),
        ({"cert_data": PEM, "key_data": "nonsense"}, SSLError, "^key_data is not in PEM format$"),
        ({"cert_data": 5}, TypeError, "cert_data has the wrong type: int"),
        ({"cert_file": "x", "cert_data": PEM}, ValueError, "exclude each other"),
        ({"key_file": "x"}, ValueError, "key_file needs cert_file"),
        ({"key_data": KEY}, ValueError, "key_data needs cert_data"),
        ({"alpn_protocols": ["x" * 256]}, ValueError, "alpn_protocols has 'xxx"),
        ({"alpn_protocols": [""]}, ValueError, "alpn_protocols has ''"),
        ({"alpn_protocols": [b"h2"]}, ValueError, "alpn_protocols has b'h2'"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(
    names: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        TLSConfig(**names)


def test_open_bounds_go_with_everything() -> None:
    lowest, highest = ssl.TLSVersion.MINIMUM_SUPPORTED, ssl.TLSVersion.MAXIMUM_SUPPORTED
    TLSConfig(ssl_minimum_version=lowest, ssl_maximum_version=ssl.TLSVersion.TLSv1_2)
    TLSConfig(ssl_minimum_version=ssl.TLSVersion.TLSv1_3, ssl_maximum_version=highest)


@pytest.mark.parametrize(
    ("hostname", "name"),
    [
        ("example.com", "example.com"),
        ("example.com.", "example.com"),
        ("[::1]", "::1"),
        ("[fe80::1%eth0]", "fe80::1"),
        ("fe80::1%25eth0", "fe80::1"),
        ("127.0.0.1", "127.0.0.1"),
        ("100%.example", "100%.example"),
    ],
)
def test_names_as_they_are_sent(hostname: str, name: str) -> None:
    assert server_name(hostname) == name


# -- the configuration of a connection -------------------------------------------------------


def test_a_connection_keeps_its_configuration_as_long_as_nothing_changes() -> None:
    """To check all of it takes as long as a request."""
    conn = HTTPSConnection("h", ca_certs="x")
    config = conn._tls_config()
    assert config.ca_certs == "x"
    assert conn._tls_config() is config
    conn.assert_hostname = "other"
    assert conn._tls_config().assert_hostname == "other"
    conn.assert_hostname = None
    assert conn._tls_config() == config


def test_what_is_changed_from_inside_is_seen_by_the_next_connection() -> None:
    pins = ["sha256//" + "A" * 43 + "="]
    conn = HTTPSConnection("h", assert_pins=pins)
    assert conn._tls_config().assert_pins == tuple(pins)
    pins[0] = "sha256//" + "B" * 42 + "A="
    assert conn._tls_config().assert_pins == tuple(pins)


def test_a_value_that_only_equals_another_is_looked_at() -> None:
    """False switches a check off, 0 is a mistake."""
    conn = HTTPSConnection("h", assert_hostname=False)
    assert conn._tls_config().assert_hostname is False
    conn.assert_hostname = 0  # type: ignore[assignment]
    with pytest.raises(TypeError, match="assert_hostname"):
        conn._tls_config()


def test_a_connection_offers_what_the_module_says_at_the_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    conn = HTTPSConnection("h")
    assert conn._tls_config().alpn_protocols == ("http/1.1",)
    monkeypatch.setattr(ssl_, "ALPN_PROTOCOLS", ["h2"])
    assert conn._tls_config().alpn_protocols == ("h2",)
