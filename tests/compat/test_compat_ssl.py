"""The TLS helpers side by side with those of urllib3, where both shall do the same."""

from __future__ import annotations

import inspect
import ssl
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from urllib4.util import connection, ssl_, ssl_match_hostname, ssltransport

urllib3 = pytest.importorskip("urllib3", minversion="2.8.0")

from urllib3.util import connection as connection3  # noqa: E402
from urllib3.util import ssl_ as ssl3  # noqa: E402
from urllib3.util import ssl_match_hostname as match3  # noqa: E402
from urllib3.util import ssltransport as transport3  # noqa: E402


def outcome(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What came of a call: the result, or the name and the text of the exception."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*args, **kwargs)
    except Exception as error:
        return type(error).__name__, str(error)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (ssl_, ssl3),
        (ssl_match_hostname, match3),
        (ssltransport, transport3),
        (connection, connection3),
    ],
)
def test_every_public_name_is_there(ours: Any, theirs: Any) -> None:
    names = {name for name in vars(theirs) if not name.startswith("_")}
    # Modules and helpers that only happen to be visible.
    names -= {
        "IPv4Address",
        "IPv6Address",
        "annotations",
        "attr",
        "BinasciiError",
        "ProxySchemeUnsupported",
        "unhexlify",
    }
    names -= {
        "socket",
        "sys",
        "typing",
        "hmac",
        "os",
        "warnings",
        "hashlib",
        "io",
        "re",
        "ipaddress",
    }
    assert {name for name in names if not hasattr(ours, name)} == set()


def test_every_method_of_the_transport_is_there() -> None:
    names = {name for name in vars(transport3.SSLTransport) if not name.startswith("_")}
    assert {name for name in names if not hasattr(ssltransport.SSLTransport, name)} == set()
    assert ssltransport.SSL_BLOCKSIZE == transport3.SSL_BLOCKSIZE


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (ssl_.create_urllib3_context, ssl3.create_urllib3_context),
        (ssl_.ssl_wrap_socket, ssl3.ssl_wrap_socket),
        (ssl_.assert_fingerprint, ssl3.assert_fingerprint),
        (ssl_.resolve_cert_reqs, ssl3.resolve_cert_reqs),
        (ssl_match_hostname.match_hostname, match3.match_hostname),
        (connection.create_connection, connection3.create_connection),
        (ssltransport.SSLTransport.__init__, transport3.SSLTransport.__init__),
        (ssltransport.SSLTransport.makefile, transport3.SSLTransport.makefile),
        (ssltransport.SSLTransport.recv_into, transport3.SSLTransport.recv_into),
    ],
)
def test_parameters_have_the_same_names_and_order(ours: Any, theirs: Any) -> None:
    """Ours may have more of them, by keyword only."""
    mine, other = (list(inspect.signature(f).parameters.values()) for f in (ours, theirs))
    assert [(p.name, p.kind) for p in mine[: len(other)]] == [(p.name, p.kind) for p in other]
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in mine[len(other) :])
    for one, two in zip(mine, other, strict=False):
        assert repr(one.default) == repr(two.default)


@pytest.mark.parametrize(
    "name",
    [
        "ALPN_PROTOCOLS", "HASHFUNC_MAP", "HAS_NEVER_CHECK_COMMON_NAME", "IS_PYOPENSSL",
        "OP_NO_COMPRESSION", "OP_NO_SSLv2", "OP_NO_SSLv3", "OP_NO_TICKET", "PROTOCOL_SSLv23",
        "PROTOCOL_TLS", "PROTOCOL_TLS_CLIENT", "VERIFY_X509_PARTIAL_CHAIN", "VERIFY_X509_STRICT",
        "OPENSSL_VERSION", "TLSVersion", "CERT_REQUIRED",
    ],
)  # fmt: skip
def test_constants_have_the_same_values(name: str) -> None:
    assert getattr(ssl_, name) == getattr(ssl3, name)


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"cert_reqs": ssl.CERT_NONE},
        {"cert_reqs": ssl.CERT_OPTIONAL},
        {"ssl_version": ssl.PROTOCOL_TLS},
        {"ssl_version": ssl.PROTOCOL_TLSv1_2},
        {"ssl_version": ssl.PROTOCOL_TLSv1_2, "ssl_minimum_version": ssl.TLSVersion.TLSv1_2},
        {"options": ssl.OP_NO_COMPRESSION, "ciphers": "AES256"},
        {"ciphers": "NONSENSE"},
        {"ssl_minimum_version": ssl.TLSVersion.TLSv1_3, "verify_flags": ssl.VERIFY_X509_STRICT},
        {"ssl_maximum_version": ssl.TLSVersion.TLSv1_2},
    ],
)
def test_contexts_have_the_same_settings(kwargs: dict[str, Any]) -> None:
    def settings(create: Callable[..., ssl.SSLContext]) -> dict[str, Any]:
        context = create(**kwargs)
        names = (
            "options verify_flags verify_mode check_hostname minimum_version maximum_version "
            "hostname_checks_common_name post_handshake_auth keylog_filename protocol"
        )
        found = {name: getattr(context, name) for name in names.split()}
        return {**found, "ciphers": context.get_ciphers()}

    mine = outcome(settings, ssl_.create_urllib3_context)
    assert mine == outcome(settings, ssl3.create_urllib3_context)


@given(st.text("0123456789.xXaf:%[] g", max_size=20))
def test_the_same_texts_are_addresses(text: str) -> None:
    """Only what is allowed in the zone of an IPv6 address is seen differently."""
    mine, other = ssl_.is_ipaddress(text), ssl3.is_ipaddress(text)
    assert mine == other or (":" in text and "%" in text)


@pytest.mark.parametrize(
    ("cert", "fingerprint"),
    [
        (None, "aa" * 32),
        (b"x", "aa" * 32),
        (b"x", "AA:" * 31 + "AA"),
        (b"x", "aa"),
        (b"x", ""),
        (b"x", "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"),
    ],
)
def test_fingerprints_have_the_same_outcome(cert: bytes | None, fingerprint: str) -> None:
    mine = outcome(ssl_.assert_fingerprint, cert, fingerprint)
    assert mine == outcome(ssl3.assert_fingerprint, cert, fingerprint)


san_names = st.one_of(
    st.tuples(
        st.just("DNS"),
        st.sampled_from(
            [
                "a.example",
                "b.example",
                "*.example",
                "*.b.example",
                "*.a.*",
                "**.example",
                "A.Example",
                "10.0.0.1",
            ]
        ),
    ),
    st.tuples(st.just("IP Address"), st.sampled_from(["10.0.0.1", "::1", "0:0:0:0:0:0:0:1\n"])),
    st.tuples(st.just("email"), st.just("x@a.example")),
)


@given(
    st.lists(san_names, max_size=3).map(tuple),
    st.sampled_from([None, "a.example", "*.example", "10.0.0.1"]),
    st.sampled_from(
        ["a.example", "b.example", "x.b.example", "example", "10.0.0.1", "::1", "0::1"]
    ),
    st.booleans(),
)
def test_hosts_match_the_same_certificates(
    san: Any, common_name: str | None, hostname: str, looks_at_it: bool
) -> None:
    """Partial wildcards aside, which we refuse, results and texts are the same."""
    certificate: dict[str, Any] = {"subject": (), "subjectAltName": san}
    if common_name:
        certificate["subject"] = ((("commonName", common_name),),)
    mine = outcome(ssl_match_hostname.match_hostname, certificate, hostname, looks_at_it)
    assert mine == outcome(match3.match_hostname, certificate, hostname, looks_at_it)


@pytest.mark.parametrize("host", ["a..b", ".x", "x" * 64, "a.a." + "x" * 64, "é" * 64, "x\0y"])
def test_bad_names_have_the_same_outcome(host: str) -> None:
    mine = outcome(connection.create_connection, (host, 9))
    assert mine == outcome(connection3.create_connection, (host, 9))
