"""`PyOpenSSLContext` and injection, before any connection is made."""

from __future__ import annotations

import datetime
import ssl
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from OpenSSL import crypto

from dummyserver.certs import CLIENT_PASSWORD, Certificates
from urllib4 import util
from urllib4.contrib import pyopenssl
from urllib4.contrib.pyopenssl import PyOpenSSLContext, get_subj_alt_name
from urllib4.util import ssl_


@pytest.fixture
def injected() -> Iterator[None]:
    pyopenssl.inject_into_urllib4()
    yield
    pyopenssl.extract_from_urllib4()


@pytest.fixture
def context() -> PyOpenSSLContext:
    return PyOpenSSLContext(ssl.PROTOCOL_TLS_CLIENT)


# -- switching it on and off -----------------------------------------------------------------------


def swapped() -> tuple[Any, ...]:
    return (util.SSLContext, ssl_.SSLContext, util.IS_PYOPENSSL, ssl_.IS_PYOPENSSL)


@pytest.mark.parametrize("name", ["urllib3", "urllib4"])
def test_injection_swaps_four_names_and_extraction_restores_them(name: str) -> None:
    inject = getattr(pyopenssl, f"inject_into_{name}")
    extract = getattr(pyopenssl, f"extract_from_{name}")
    before = swapped()
    assert before[0] is pyopenssl.orig_util_SSLContext
    try:
        for _ in range(2):  # a second call changes nothing
            inject()
            assert swapped() == (PyOpenSSLContext, PyOpenSSLContext, True, True)
    finally:
        extract()
    assert swapped() == before
    extract()
    assert swapped() == before


def test_extraction_without_injection_leaves_the_choice_of_others_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Somebody else's context (truststore does that) is none of our business."""

    class Other(ssl.SSLContext):
        pass

    monkeypatch.setattr(ssl_, "SSLContext", Other)
    pyopenssl.extract_from_urllib4()
    assert ssl_.SSLContext is Other
    pyopenssl.inject_into_urllib4()
    pyopenssl.extract_from_urllib4()
    assert ssl_.SSLContext is Other


def test_what_others_replaced_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Extraction undoes what injection did, nothing else."""
    before = swapped()
    monkeypatch.setattr(ssl_, "SSLContext", before[1])  # to have it put back in the end

    class Other(ssl.SSLContext):
        pass

    pyopenssl.inject_into_urllib4()
    try:
        ssl_.SSLContext = Other  # type: ignore[misc, assignment]
    finally:
        pyopenssl.extract_from_urllib4()
    assert swapped() == (before[0], Other, before[2], before[3])


@pytest.mark.usefixtures("injected")
def test_nothing_else_in_the_process_changes() -> None:
    assert ssl.SSLContext.__module__ == "ssl"
    assert type(ssl.create_default_context()) is ssl.SSLContext


@pytest.mark.usefixtures("injected")
def test_new_contexts_are_those_of_pyopenssl() -> None:
    made = util.create_urllib3_context()
    assert type(made) is PyOpenSSLContext
    assert made.verify_mode == ssl.CERT_REQUIRED
    assert made.minimum_version == ssl.TLSVersion.TLSv1_2
    assert not made.check_hostname
    assert made.options & ssl.OP_NO_COMPRESSION


# -- settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [ssl.CERT_NONE, ssl.CERT_OPTIONAL, ssl.CERT_REQUIRED])
def test_verify_mode_is_kept(context: PyOpenSSLContext, mode: ssl.VerifyMode) -> None:
    context.verify_mode = mode
    assert context.verify_mode is mode


def test_an_unknown_verify_mode_is_refused(context: PyOpenSSLContext) -> None:
    with pytest.raises(ValueError, match="5"):
        context.verify_mode = 5  # type: ignore[assignment]


def test_names_are_not_checked_without_verification(context: PyOpenSSLContext) -> None:
    """As with ``ssl.SSLContext``: a name in an unverified certificate proves nothing."""
    context.check_hostname = True
    assert context.verify_mode == ssl.CERT_REQUIRED
    with pytest.raises(ValueError, match="check_hostname"):
        context.verify_mode = ssl.CERT_NONE
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE


def test_options_are_added(context: PyOpenSSLContext) -> None:
    context.options |= ssl.OP_NO_TLSv1_2
    assert context.options & ssl.OP_NO_TLSv1_2
    with pytest.raises(ValueError, match="cannot switch options off"):
        context.options &= ~ssl.OP_NO_TLSv1_2
    assert context.options & ssl.OP_NO_TLSv1_2


def test_verification_flags_are_added(context: PyOpenSSLContext) -> None:
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    assert context.verify_flags & ssl.VERIFY_X509_STRICT
    with pytest.raises(ValueError, match="cannot switch verification flags off"):
        context.verify_flags = 0


def test_versions_are_bounds(context: PyOpenSSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_3
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.maximum_version is ssl.TLSVersion.TLSv1_3
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    assert context.minimum_version is ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.raises(ValueError, match="9"):
        context.maximum_version = 9  # type: ignore[assignment]


def test_an_old_protocol_pins_its_version() -> None:
    context = PyOpenSSLContext(ssl.PROTOCOL_TLSv1_2)
    assert context.minimum_version is context.maximum_version is ssl.TLSVersion.TLSv1_2
    with pytest.raises(ValueError, match="99"):
        PyOpenSSLContext(99)


def test_ciphers_that_do_not_exist_are_refused(context: PyOpenSSLContext) -> None:
    context.set_ciphers("ECDHE+AESGCM")
    context.set_ciphers(b"ECDHE+AESGCM")
    with pytest.raises(ssl.SSLError, match="No cipher can be selected"):
        context.set_ciphers("no-such-cipher")


# -- certificates ----------------------------------------------------------------------------------


def test_cas_come_from_files_directories_and_memory(
    context: PyOpenSSLContext, certs: Certificates
) -> None:
    pem = Path(certs.ca_file).read_text()
    other = Path(certs.unrelated_ca_file).read_text()
    der = ssl.PEM_cert_to_DER_cert(pem)
    context.load_verify_locations(certs.ca_file)
    context.load_verify_locations(capath=certs.ca_dir)
    for data in (pem, pem.encode(), f"a comment\n{pem}\n{other}", der, der + der):
        context.load_verify_locations(cadata=data)


@pytest.mark.parametrize("data", ["nothing", "-----BEGIN CERTIFICATE-----\n", b"\x30", b"\x30\x80"])
def test_memory_without_a_certificate_is_refused(
    context: PyOpenSSLContext, data: str | bytes
) -> None:
    with pytest.raises(ssl.SSLError):
        context.load_verify_locations(cadata=data)


def test_files_that_are_missing_or_wrong_are_refused(
    context: PyOpenSSLContext, certs: Certificates, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    with pytest.raises(TypeError, match="cannot be all omitted"):
        context.load_verify_locations()
    with pytest.raises(FileNotFoundError):
        context.load_verify_locations(tmp_path / "none.pem")
    with pytest.raises(ssl.SSLError, match="unable to load trusted certificates"):
        context.load_verify_locations(empty)
    with pytest.raises(FileNotFoundError):
        context.load_cert_chain(tmp_path / "none.pem")
    with pytest.raises(ssl.SSLError, match="Unable to load certificate chain"):
        context.load_cert_chain(empty, certs.client.key)
    with pytest.raises(ssl.SSLError, match="no private key"):
        context.load_cert_chain(certs.client.cert, empty)
    with pytest.raises(ssl.SSLError, match=r"key.*mismatch"):
        context.load_cert_chain(certs.client.cert, certs.server.key)


@pytest.mark.parametrize(
    "password", [CLIENT_PASSWORD, CLIENT_PASSWORD.encode(), lambda: CLIENT_PASSWORD]
)
def test_an_encrypted_key_is_opened(
    context: PyOpenSSLContext, certs: Certificates, password: Any
) -> None:
    context.load_cert_chain(certs.client_encrypted.combined, password=password)
    context.load_cert_chain(certs.client_encrypted.cert, certs.client_encrypted.key, password)


@pytest.mark.parametrize("password", [None, "", "wrong-secret"])
def test_nobody_is_asked_for_a_password(
    context: PyOpenSSLContext, certs: Certificates, password: str | None
) -> None:
    """OpenSSL would ask on the terminal, for ever."""
    with pytest.raises(ssl.SSLError, match="password is wrong or missing") as caught:
        context.load_cert_chain(certs.client_encrypted.cert, certs.client_encrypted.key, password)
    assert "wrong-secret" not in str(caught.value)


def test_the_password_of_a_key_that_needs_none_is_not_asked_for(
    context: PyOpenSSLContext, certs: Certificates
) -> None:
    def ask() -> str:
        raise AssertionError

    context.load_cert_chain(certs.client.combined, password=ask)


def certificate_for(*names: str) -> x509.Certificate:
    (pem,) = trustme.CA().issue_cert(*names).cert_chain_pems
    return x509.load_pem_x509_certificate(pem.bytes())


def test_names_of_a_certificate_are_listed() -> None:
    certificate = certificate_for("*.example.com", "192.0.2.1", "2001:db8::1", "me@example.com")
    expected = [
        ("DNS", "*.example.com"),
        ("IP Address", "192.0.2.1"),
        ("IP Address", "2001:db8::1"),
    ]
    assert get_subj_alt_name(certificate) == expected
    assert get_subj_alt_name(crypto.X509.from_cryptography(certificate)) == expected


def test_a_certificate_without_names_has_none(certs: Certificates) -> None:
    data = Path(certs.no_san.cert).read_bytes()
    assert get_subj_alt_name(crypto.load_certificate(crypto.FILETYPE_PEM, data)) == []


def test_names_that_cannot_be_read_do_not_count(caplog: pytest.LogCaptureFixture) -> None:
    """A certificate made to confuse must match no host, and raise nothing unexpected."""
    key = trustme.CA()._private_key
    name = x509.Name([])
    now = datetime.datetime.now(datetime.timezone.utc)
    broken = x509.UnrecognizedExtension(x509.ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x05garbage")
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now)
        .add_extension(broken, critical=False)
        .sign(key, pyopenssl_hash())
    )
    assert get_subj_alt_name(certificate) == []
    assert "Cannot read the names" in caplog.text


def pyopenssl_hash() -> Any:
    from cryptography.hazmat.primitives import hashes

    return hashes.SHA256()


# -- importing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fake", "text"),
    [("None", "needs pyOpenSSL 22 or newer"), ("Old", "pyOpenSSL 18.0.0 is too old")],
)
def test_without_a_usable_pyopenssl_the_import_says_what_is_needed(fake: str, text: str) -> None:
    code = f"""
        import sys, types
        Old = types.ModuleType("OpenSSL")
        Old.__version__ = "18.0.0"
        Old.SSL = Old.crypto = types.ModuleType("OpenSSL.SSL")
        sys.modules["OpenSSL"] = {fake}
        try:
            import urllib4.contrib.pyopenssl
        except ImportError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert text in done.stdout


def test_urllib4_itself_does_not_import_pyopenssl() -> None:
    code = "import sys, urllib4, urllib4.util; print('OpenSSL' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
