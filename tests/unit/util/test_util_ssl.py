"""The TLS helpers, without a connection: contexts, names of constants, fingerprints, addresses."""

from __future__ import annotations

import hashlib
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dummyserver.certs import CLIENT_PASSWORD, Certificates
from urllib4.exceptions import SSLError
from urllib4.util import _ssl_contexts, ssl_
from urllib4.util._ssl_contexts import ContextCache
from urllib4.util.ssl_ import (
    assert_fingerprint,
    create_urllib3_context,
    is_ipaddress,
    resolve_cert_reqs,
    resolve_ssl_version,
)

PATIENCE = 20.0

# -- create_urllib3_context ------------------------------------------------------------------------


def test_a_new_context_is_strict() -> None:
    context = create_urllib3_context()
    assert isinstance(context, ssl.SSLContext)
    assert context.protocol == ssl.PROTOCOL_TLS_CLIENT
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.maximum_version == ssl.TLSVersion.MAXIMUM_SUPPORTED
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert not context.hostname_checks_common_name
    assert context.post_handshake_auth
    assert context.keylog_filename is None
    wanted = ssl.OP_NO_SSLv3 | ssl.OP_NO_COMPRESSION | ssl.OP_NO_TICKET
    assert context.options & wanted == wanted
    strict = ssl.VERIFY_X509_STRICT | ssl_.VERIFY_X509_PARTIAL_CHAIN
    assert context.verify_flags & strict == (strict if sys.version_info >= (3, 13) else 0)
    assert context.cert_store_stats()["x509"] == 0


def test_both_spellings_are_the_same_function() -> None:
    assert ssl_.create_urllib4_context is create_urllib3_context


def test_what_is_given_is_set() -> None:
    context = create_urllib3_context(
        cert_reqs=ssl.CERT_OPTIONAL,
        options=ssl.OP_NO_COMPRESSION,
        ciphers="ECDHE-RSA-AES128-GCM-SHA256",
        ssl_minimum_version=ssl.TLSVersion.TLSv1_2,
        ssl_maximum_version=ssl.TLSVersion.TLSv1_2,
        verify_flags=ssl.VERIFY_CRL_CHECK_LEAF,
    )
    assert context.verify_mode == ssl.CERT_OPTIONAL
    assert not context.check_hostname
    assert not context.options & ssl.OP_NO_TICKET
    names = [c["name"] for c in context.get_ciphers() if not c["name"].startswith("TLS_")]
    assert names == ["ECDHE-RSA-AES128-GCM-SHA256"]
    assert context.minimum_version == context.maximum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_flags & ssl.VERIFY_CRL_CHECK_LEAF
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT


def test_verification_can_be_off() -> None:
    context = create_urllib3_context(cert_reqs=ssl.CERT_NONE)
    assert context.verify_mode == ssl.CERT_NONE
    assert not context.check_hostname


@pytest.mark.parametrize("version", [ssl.PROTOCOL_TLSv1_2, "PROTOCOL_TLSv1_2", "TLSv1_2"])
def test_ssl_version_pins_one_version_and_warns(version: Any) -> None:
    with pytest.warns(
        FutureWarning, match="'ssl_version' option is deprecated.*urllib4 5.0"
    ) as seen:
        context = create_urllib3_context(version)
    assert seen[0].filename == __file__
    assert context.minimum_version == context.maximum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("version", [None, "TLS", ssl.PROTOCOL_TLS, ssl.PROTOCOL_TLS_CLIENT])
def test_ssl_version_for_any_version_is_no_news(version: Any) -> None:
    context = create_urllib3_context(version, ssl_minimum_version=ssl.TLSVersion.TLSv1_3)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_3


def test_ssl_version_excludes_the_bounds() -> None:
    for name in ("ssl_minimum_version", "ssl_maximum_version"):
        bound: Any = {name: ssl.TLSVersion.TLSv1_2}
        with pytest.raises(ValueError, match=r"^Can't specify both 'ssl_version' and either"):
            create_urllib3_context(ssl.PROTOCOL_TLSv1_2, **bound)


@pytest.mark.parametrize("version", ["NONSENSE", 99])
def test_an_unknown_ssl_version_is_named(version: Any) -> None:
    with pytest.raises(ValueError, match=f"ssl_version {version!r} is unknown"):
        create_urllib3_context(version)


def test_unusable_ciphers_are_an_error() -> None:
    with pytest.raises(ssl.SSLError, match="No cipher can be selected"):
        create_urllib3_context(ciphers="NONSENSE")


def test_default_ciphers_that_somebody_assigned_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs of the 1.x time: ``DEFAULT_CIPHERS += ":HIGH"``."""
    monkeypatch.setattr(ssl_, "DEFAULT_CIPHERS", ssl_.DEFAULT_CIPHERS + ":!AES128")
    names = [cipher["name"] for cipher in create_urllib3_context().get_ciphers()]
    assert names
    assert not [name for name in names if "AES128" in name]


def test_session_keys_go_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SOMEWHERE", str(tmp_path))
    monkeypatch.setenv("SSLKEYLOGFILE", "$SOMEWHERE/keys")
    assert create_urllib3_context().keylog_filename == str(tmp_path / "keys")
    monkeypatch.setenv("SSLKEYLOGFILE", "")
    assert create_urllib3_context().keylog_filename is None
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "missing" / "keys"))
    with pytest.raises(SSLError, match="file named by SSLKEYLOGFILE"):
        create_urllib3_context()


def test_the_class_is_looked_up_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other:
        """What urllib3's pyOpenSSL contexts offer."""

        def __init__(self, protocol: int) -> None:
            self.protocol = protocol
            self.options = self.verify_flags = self.verify_mode = 0
            self.check_hostname = True

    monkeypatch.setattr(ssl_, "SSLContext", Other)
    monkeypatch.setattr(ssl_, "IS_PYOPENSSL", True)
    context: Any = create_urllib3_context()
    assert type(context) is Other
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert not context.check_hostname


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_class_that_was_put_into_the_ssl_module_is_used(when: str) -> None:
    """truststore.inject_into_ssl() does that, maybe before urllib4 is imported and maybe later."""
    subprocess.run([sys.executable, "-c", INJECTED, when], check=True, timeout=PATIENCE)


INJECTED = """
import ssl, sys

class Injected(ssl.SSLContext):
    options = verify_flags = verify_mode = minimum_version = 0  # as they need not reach OpenSSL

    def wrap_socket(self, *args, **kwargs):
        raise NotImplementedError

original = ssl.SSLContext
if sys.argv[1] == "before":
    ssl.SSLContext = Injected
from urllib4 import _tls
from urllib4.util import _ssl_contexts, ssl_
if sys.argv[1] == "after":
    before = _tls.context_for(_tls.TLSConfig(cert_reqs=0))
    ssl.SSLContext = Injected
assert type(ssl_.create_urllib3_context(cert_reqs=0)) is Injected
assert type(_tls.context_for(_tls.TLSConfig(cert_reqs=0))) is Injected
assert not _ssl_contexts.is_native(Injected(ssl.PROTOCOL_TLS_CLIENT))
plain = original(ssl.PROTOCOL_TLS_CLIENT)
assert _ssl_contexts.is_native(plain)
assert not _ssl_contexts.has_client_chain(plain)
plain.wrap_socket = None
assert not _ssl_contexts.is_native(plain)
"""

WITHOUT_SSL = """
import sys
sys.modules["ssl"] = sys.modules["_ssl"] = None
from urllib4 import _tls
from urllib4.util import connection, ssl_, ssl_match_hostname, ssltransport
assert ssl_.SSLContext is None
assert ssl_.resolve_cert_reqs("NONE") == 0
assert ssl_.resolve_cert_reqs(None) == ssl_.CERT_REQUIRED == 2
assert ssl_.resolve_ssl_version(None) == ssl_.PROTOCOL_TLS == 2
config = _tls.TLSConfig(cert_reqs="CERT_NONE", ca_certs="x", ssl_version=2)
for make in (ssl_.create_urllib3_context, lambda: _tls.context_for(config)):
    try:
        make()
    except TypeError as error:
        assert str(error) == "Can't create an SSLContext object without an ssl module", error
    else:
        raise AssertionError
"""


def test_everything_imports_without_the_ssl_module() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT_SSL], check=True, timeout=PATIENCE)


# -- the context that remembers --------------------------------------------------------------------


def methods(context: ssl_.SSLContext) -> list[str]:
    return [method for method, _, _ in context._calls]


def test_a_context_remembers_what_was_loaded(certs: Certificates) -> None:
    context = ssl_.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    assert not methods(context)
    context.load_verify_locations(cafile=certs.ca_file)
    context.load_cert_chain(certs.client.cert, keyfile=certs.client.key)
    context.load_cert_chain_data(Path(certs.client.combined).read_text())
    context.set_alpn_protocols(iter(["http/1.1"]))
    context.set_ecdh_curve("prime256v1")
    context.set_ciphers("DEFAULT")
    assert methods(context) == [
        "load_verify_locations",
        "load_cert_chain",
        "load_cert_chain_data",
        "set_alpn_protocols",
        "set_ecdh_curve",
        "set_ciphers",
    ]
    assert context._calls[0] == ("load_verify_locations", (), {"cafile": certs.ca_file})
    assert context._calls[3] == ("set_alpn_protocols", (["http/1.1"],), {})


def test_default_certificates_are_one_entry() -> None:
    context = ssl_.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    context.set_default_verify_paths()
    assert methods(context) == ["load_default_certs", "set_default_verify_paths"]


def test_what_failed_is_not_remembered() -> None:
    context = ssl_.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for fails in (
        lambda: context.load_verify_locations("/nonexistent"),
        lambda: context.load_cert_chain("/nonexistent"),
        lambda: context.load_cert_chain_data("no PEM"),
        lambda: context.set_ciphers("NONSENSE"),
        lambda: context.set_ecdh_curve("nonsense"),
    ):
        with pytest.raises((OSError, ValueError)):
            fails()
    assert not methods(context)


def test_certificates_from_memory_can_have_a_password(certs: Certificates) -> None:
    context = ssl_.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    cert = Path(certs.client_encrypted.cert).read_bytes()
    key = Path(certs.client_encrypted.key).read_bytes()
    context.load_cert_chain_data(cert, key, CLIENT_PASSWORD)
    with pytest.raises(ssl.SSLError):
        context.load_cert_chain_data(cert, key, "wrong")


def test_the_word_encrypted_tells_of_a_password(certs: Certificates) -> None:
    assert ssl_._is_key_file_encrypted(certs.client_encrypted.key)
    assert not ssl_._is_key_file_encrypted(certs.client.key)
    assert not ssl_._is_key_file_encrypted("/nonexistent")


# -- ContextCache ----------------------------------------------------------------------------------


class Thing:
    """Stands for a context: anything that can be referred to weakly."""


def test_a_thing_in_use_is_found_though_it_is_not_recent() -> None:
    cache = ContextCache(size=1)
    first = cache.get("a", Thing)
    cache.get("b", Thing)
    assert cache.get("a", Thing) is first


def test_things_that_nobody_uses_are_kept_up_to_a_number() -> None:
    cache = ContextCache(size=2)
    for key in ("a", "b", "a", "c"):
        cache.get(key, Thing)
    assert len(cache) == 2
    built: list[str] = []
    for key in ("a", "c", "b"):
        cache.get(key, lambda key=key: built.append(key) or Thing())  # type: ignore[misc]
    assert built == ["b"]


def test_a_failure_is_not_remembered_and_others_try_themselves() -> None:
    cache = ContextCache()
    building, fail = threading.Event(), threading.Event()
    results: list[Any] = []

    def fails() -> Thing:
        building.set()
        fail.wait(PATIENCE)
        raise OSError("the file is gone")

    def first() -> None:
        try:
            cache.get("a", fails)
        except OSError as error:
            results.append(error)

    threads = [threading.Thread(target=first)]
    threads[0].start()
    building.wait(PATIENCE)
    threads.append(threading.Thread(target=lambda: results.append(cache.get("a", Thing))))
    threads[1].start()
    fail.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(type(result).__name__ for result in results) == ["OSError", "Thing"]


def test_two_keys_are_built_at_the_same_time() -> None:
    """No lock is held meanwhile: a slow file of one must not stop all others."""
    cache = ContextCache()
    both = threading.Barrier(2)

    def build() -> Thing:
        both.wait(PATIENCE)
        return Thing()

    threads = [threading.Thread(target=cache.get, args=(key, build)) for key in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(cache) == 2


def test_a_forked_child_does_not_wait_for_a_thread_that_is_not_there() -> None:
    cache = ContextCache()
    building, go_on = threading.Event(), threading.Event()

    def slow() -> Thing:
        building.set()
        go_on.wait(PATIENCE)
        return Thing()

    thread = threading.Thread(target=cache.get, args=("a", slow))
    thread.start()
    building.wait(PATIENCE)
    cache.reset()  # what os.register_at_fork calls in the child
    assert isinstance(cache.get("a", Thing), Thing)
    go_on.set()
    thread.join(PATIENCE)


# -- names of constants ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("candidate", "value"),
    [
        (None, ssl.CERT_REQUIRED),
        (ssl.CERT_NONE, ssl.CERT_NONE),
        (1, 1),
        ("CERT_NONE", ssl.CERT_NONE),
        ("REQUIRED", ssl.CERT_REQUIRED),
        ("OPTIONAL", ssl.CERT_OPTIONAL),
    ],
)
def test_cert_reqs_by_name(candidate: Any, value: int) -> None:
    assert resolve_cert_reqs(candidate) == value


@pytest.mark.parametrize(
    ("candidate", "value"),
    [
        (None, ssl.PROTOCOL_TLS),
        (ssl.PROTOCOL_TLS, ssl.PROTOCOL_TLS),
        ("PROTOCOL_TLSv1_2", ssl.PROTOCOL_TLSv1_2),
        ("TLSv1_2", ssl.PROTOCOL_TLSv1_2),
    ],
)
def test_ssl_version_by_name(candidate: Any, value: int) -> None:
    assert resolve_ssl_version(candidate) == value


def test_unknown_names_are_named() -> None:
    with pytest.raises(ValueError, match="'NONSENSE' is unknown: use CERT_REQUIRED"):
        resolve_cert_reqs("NONSENSE")
    with pytest.raises(ValueError, match="'NONSENSE' is unknown"):
        resolve_ssl_version("NONSENSE")


# -- fingerprints ----------------------------------------------------------------------------------


@given(st.binary(), st.sampled_from(["md5", "sha1", "sha256"]), st.booleans(), st.booleans())
def test_a_fingerprint_in_any_spelling(cert: bytes, name: str, colons: bool, upper: bool) -> None:
    digest = hashlib.new(name, cert).digest()
    digits = digest.hex(":") if colons else digest.hex()
    assert_fingerprint(cert, digits.upper() if upper else digits)


@pytest.mark.parametrize(
    ("cert", "fingerprint", "text"),
    [
        (None, "aa" * 32, "^No certificate for the peer.$"),
        (b"x", "aa" * 31, "^Fingerprint of invalid length: (aa)+$"),
        (b"x", "", "^Fingerprint of invalid length: $"),
        (b"x", "zz" * 32, "Non-hexadecimal digit found"),
        (b"x", "é" * 64, "Non-hexadecimal digit found"),
        (b"x", "AA" * 32, f'^Fingerprints did not match. Expected "{"aa" * 32}", got "2d711642'),
    ],
)
def test_another_fingerprint_is_an_error(cert: bytes | None, fingerprint: str, text: str) -> None:
    with pytest.raises(SSLError, match=text):
        assert_fingerprint(cert, fingerprint)


def test_a_hash_that_the_build_lacks_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds for FIPS have no MD5."""
    monkeypatch.setitem(ssl_.HASHFUNC_MAP, 32, None)
    with pytest.raises(SSLError, match="unavailable for fingerprint length: 32"):
        assert_fingerprint(b"x", "aa" * 16)


# -- addresses -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1", "8.8.8.8", b"127.0.0.1", "127.1", "0x7f.1", "0177.0.0.1", "2130706433",
        "0x7F000001", "256.1.1.1", "::1", "fe80::1%eth0", "::ffff:10.0.0.1", "2001:DB8::",
    ],
)  # fmt: skip
def test_every_spelling_of_an_address_is_one(text: Any) -> None:
    assert is_ipaddress(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "localhost", "example.com", "1.2.3.4.5", "1.2.3.", "1..2", " 1.2.3.4", "1.2.3.4\n",
        "1.2.3.4x", "0x", "[::1]", "::1%", ":::", "a:b", "é", b"\xff", "%eth0", "１.2.3.4",
    ],
)  # fmt: skip
def test_names_are_no_addresses(text: Any) -> None:
    assert not is_ipaddress(text)


@given(st.ip_addresses())
def test_all_addresses_are_addresses(address: Any) -> None:
    assert is_ipaddress(str(address))
    assert is_ipaddress(address.exploded)


def test_the_stamp_of_a_file_changes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert _ssl_contexts.stamp(None) is None
    assert _ssl_contexts.stamp(str(path)) is None
    path.write_text("one")
    first = _ssl_contexts.stamp(str(path))
    assert first == _ssl_contexts.stamp(str(path))
    path.write_text("three")
    assert first != _ssl_contexts.stamp(str(path))
