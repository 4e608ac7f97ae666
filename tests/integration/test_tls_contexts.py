"""TLS by `urllib4._tls.wrap`: who is verified, by what, and whose context stays as it was.

Each test talks to a TLS server in a thread.  "Lending" is what makes most of it possible: the
connection is made by a context of ours, its certificates are those of the caller's context.
"""

from __future__ import annotations

import gc
import os
import select
import shutil
import socket
import ssl
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from dummyserver.certs import CLIENT_PASSWORD, Certificates
from urllib4 import _tls
from urllib4._tls import TLSConfig, context_for, wrap
from urllib4.exceptions import SSLError
from urllib4.util import _ssl_contexts, ssl_
from urllib4.util.ssl_ import create_urllib4_context, ssl_wrap_socket
from urllib4.util.ssl_match_hostname import CertificateError
from urllib4.util.ssltransport import SSLTransport

PATIENCE = 20.0


class TLSServer:
    """Accepts connections one after the other; what each client did is in `seen`, in order."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.seen: list[dict[str, Any] | Exception] = []
        self.names: list[str | None] = []
        context.sni_callback = lambda _sock, name, _context: self.names.append(name)
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = self._listener.getsockname()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> TLSServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # close() alone does not wake a thread that waits in accept().
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(PATIENCE)
            with sock:
                self._serve(sock)

    def _serve(self, sock: socket.socket) -> None:
        try:
            with self._context.wrap_socket(sock, server_side=True) as tls:
                self.seen.append(
                    {
                        "certificate": tls.getpeercert(),
                        "alpn": tls.selected_alpn_protocol(),
                        "version": tls.version(),
                        "cipher": tls.cipher(),
                    }
                )
                tls.sendall(tls.recv(100))
        except OSError as error:
            self.seen.append(error)

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, PATIENCE)

    def last(self) -> dict[str, Any]:
        outcome = self.seen[-1]
        assert isinstance(outcome, dict), outcome
        return outcome


def server_context(certs: Certificates, **settings: Any) -> ssl.SSLContext:
    """A server that shows a good certificate, and looks at that of the client if it has one."""
    context = certs.server_context()
    context.load_verify_locations(certs.ca_file)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    for name, value in settings.items():
        setattr(context, name, value)
    return context


@pytest.fixture(params=["TLSv1_2", "TLSv1_3"])
def tls_server(request: pytest.FixtureRequest, certs: Certificates) -> Iterator[TLSServer]:
    """Client certificates and verification work differently in the two versions."""
    version = ssl.TLSVersion[request.param]
    with TLSServer(server_context(certs, maximum_version=version)) as server:
        yield server


@pytest.fixture
def one_server(certs: Certificates) -> Iterator[TLSServer]:
    with TLSServer(server_context(certs)) as server:
        yield server


def talk(server: TLSServer, config: TLSConfig, host: str = "localhost") -> _tls.TLSResult:
    """Connect, exchange a few bytes (only then is the server's side over), close."""
    result = wrap(server.connect(), config, host)
    exchange(result.sock)
    return result


def exchange(sock: Any) -> None:
    try:
        sock.sendall(b"ping")
        assert sock.recv(100) == b"ping"
    finally:
        sock.close()


def snapshot(context: ssl.SSLContext) -> dict[str, Any]:
    """All that can be read from a context."""
    names = (
        "options verify_flags verify_mode check_hostname minimum_version maximum_version "
        "hostname_checks_common_name post_handshake_auth keylog_filename"
    )
    return {
        **{name: getattr(context, name) for name in names.split()},
        "ciphers": context.get_ciphers(),
        "stats": context.cert_store_stats(),
        "authorities": context.get_ca_certs(),
        "chain": _ssl_contexts.has_client_chain(context),
        "calls": list(getattr(context, "_calls", [])),
        "attributes": set(vars(context)),
    }


def plain_context(ca_file: str | None = None, cert: Any = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca_file:
        context.load_verify_locations(ca_file)
    if cert:
        context.load_cert_chain(cert.cert, cert.key)
    return context


def recording_context(ca_file: str | None = None, cert: Any = None) -> ssl.SSLContext:
    context = create_urllib4_context()
    if ca_file:
        context.load_verify_locations(ca_file)
    if cert:
        context.load_cert_chain(cert.cert, cert.key)
    return context


ContextMaker = Callable[..., ssl.SSLContext]
both_kinds = pytest.mark.parametrize(
    "make_context",
    [pytest.param(plain_context, id="plain"), pytest.param(recording_context, id="ours")],
)


@pytest.fixture
def unchanged() -> Iterator[Callable[[ssl.SSLContext], ssl.SSLContext]]:
    """Registers contexts that must be the same after the test as when they were registered."""
    watched: list[tuple[ssl.SSLContext, dict[str, Any]]] = []

    def watch(context: ssl.SSLContext) -> ssl.SSLContext:
        watched.append((context, snapshot(context)))
        return context

    yield watch
    for context, before in watched:
        assert snapshot(context) == before


# -- without a context -----------------------------------------------------------------------------


def test_a_ca_file_a_directory_or_data_are_trusted(
    one_server: TLSServer, certs: Certificates
) -> None:
    pem = Path(certs.ca_file).read_text()
    der = ssl.PEM_cert_to_DER_cert(pem)
    for config in (
        TLSConfig(ca_certs=certs.ca_file),
        TLSConfig(ca_cert_dir=certs.ca_dir),
        TLSConfig(ca_cert_data=pem),
        TLSConfig(ca_cert_data=pem.encode()),
        TLSConfig(ca_cert_data="# Zertifikat für alle\n" + pem),
        TLSConfig(ca_cert_data=der),
    ):
        assert talk(one_server, config).is_verified


def test_a_given_ca_is_trusted_alone(
    one_server: TLSServer, certs: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CVE-2019-11324: the system's CAs were trusted beside the given ones."""
    monkeypatch.setenv("SSL_CERT_FILE", certs.ca_file)
    assert talk(one_server, TLSConfig()).is_verified
    with pytest.raises(ssl.SSLCertVerificationError):
        wrap(one_server.connect(), TLSConfig(ca_certs=certs.unrelated_ca_file), "localhost")


def test_the_systems_store_is_the_default(
    one_server: TLSServer, certs: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", certs.unrelated_ca_file)
    with pytest.raises(ssl.SSLCertVerificationError):
        wrap(one_server.connect(), TLSConfig(), "localhost")
    monkeypatch.setenv("SSL_CERT_FILE", certs.ca_file)
    assert talk(one_server, TLSConfig()).is_verified
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    monkeypatch.setenv("SSL_CERT_DIR", certs.ca_dir)
    assert talk(one_server, TLSConfig()).is_verified


def test_certifi_is_used_where_the_system_has_no_store(
    one_server: TLSServer,
    certs: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    import certifi

    monkeypatch.setattr(certifi, "where", lambda: certs.ca_file)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert talk(one_server, TLSConfig()).is_verified


def test_no_store_at_all_is_a_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "certifi", None)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    with pytest.raises(SSLError, match="certifi is not installed: pass ca_certs"):
        context_for(TLSConfig())


def test_cert_none_accepts_anybody_and_says_so(certs: Certificates) -> None:
    with TLSServer(certs.server_context(certs.untrusted)) as server:
        assert not talk(server, TLSConfig(cert_reqs="CERT_NONE"), "anything").is_verified
        with pytest.raises(ssl.SSLCertVerificationError):
            wrap(server.connect(), TLSConfig(ca_certs=certs.ca_file), "localhost")


def test_cert_optional_verifies_what_a_server_always_shows(
    one_server: TLSServer, certs: Certificates
) -> None:
    config = TLSConfig(cert_reqs="CERT_OPTIONAL", ca_certs=certs.ca_file)
    assert not talk(one_server, config).is_verified  # as in urllib3: only CERT_REQUIRED counts
    with pytest.raises(ssl.SSLCertVerificationError):
        wrap(one_server.connect(), config, "other.example")


def test_bad_certificates_are_refused_by_the_tls_library(certs: Certificates) -> None:
    config = TLSConfig(ca_certs=certs.ca_file)
    for files, text in (
        (certs.expired, "expired"),
        (certs.wrong_host, "Hostname mismatch"),
        (certs.untrusted, "self.signed|unable to get"),
        (certs.no_san, "Hostname mismatch"),
    ):
        error = pytest.raises(ssl.SSLCertVerificationError, match=text)
        with TLSServer(certs.server_context(files)) as server, error:
            wrap(server.connect(), config, "localhost")


def test_names_are_sent_and_verified_in_their_plain_form(
    one_server: TLSServer, certs: Certificates
) -> None:
    config = TLSConfig(ca_certs=certs.ca_file)
    for host in ("localhost.", "LOCALHOST", "127.0.0.1", "[::1]", "::1", "[::1%lo]"):
        assert talk(one_server, config, host).is_verified
    # Addresses are not sent (RFC 6066, 3).
    assert one_server.names == ["localhost", "LOCALHOST", None, None, None, None]


def test_server_hostname_takes_the_place_of_the_host(
    one_server: TLSServer, certs: Certificates
) -> None:
    config = TLSConfig(ca_certs=certs.ca_file, server_hostname="localhost.")
    assert talk(one_server, config, "10.0.0.1").is_verified
    assert one_server.names == ["localhost"]


def test_versions_and_ciphers_reach_the_handshake(
    one_server: TLSServer, certs: Certificates
) -> None:
    two, three = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    ca = certs.ca_file
    for config, version in (
        (TLSConfig(ca_certs=ca, ssl_maximum_version=two), "TLSv1.2"),
        (TLSConfig(ca_certs=ca, ssl_minimum_version=three), "TLSv1.3"),
        (TLSConfig(ca_certs=ca, ssl_version="PROTOCOL_TLSv1_2"), "TLSv1.2"),
    ):
        talk(one_server, config)
        assert one_server.last()["version"] == version
    cipher = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"
    talk(one_server, TLSConfig(ca_certs=ca, ssl_maximum_version=two, ciphers=cipher))
    assert one_server.last()["cipher"][0] in cipher.split(":")


def test_alpn_is_offered(one_server: TLSServer, certs: Certificates) -> None:
    talk(one_server, TLSConfig(ca_certs=certs.ca_file))
    assert one_server.last()["alpn"] == "http/1.1"
    talk(one_server, TLSConfig(ca_certs=certs.ca_file, alpn_protocols=("x", "y")))
    assert one_server.last()["alpn"] is None


def test_session_keys_are_logged_on_demand(
    one_server: TLSServer,
    certs: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("KEYS_DIR", str(tmp_path))
    monkeypatch.setenv("SSLKEYLOGFILE", "$KEYS_DIR/keys")
    talk(one_server, TLSConfig(ca_certs=certs.ca_file))
    assert "TRAFFIC_SECRET" in (tmp_path / "keys").read_text()
    _ssl_contexts.CONTEXTS.reset()  # its context keeps the file open, and is kept itself


# -- assertions ------------------------------------------------------------------------------------


def fingerprint(path: str, algorithm: str) -> str:
    import hashlib

    pem = Path(path).read_text()
    pem = pem[: pem.index("-----END CERTIFICATE-----") + len("-----END CERTIFICATE-----")]
    return hashlib.new(algorithm, ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256"])
def test_a_fingerprint_replaces_the_name_but_not_the_chain(
    one_server: TLSServer, certs: Certificates, algorithm: str
) -> None:
    digits = fingerprint(certs.server.cert, algorithm)
    good = TLSConfig(ca_certs=certs.ca_file, assert_fingerprint=digits)
    assert talk(one_server, good, "other.example").is_verified
    chain = TLSConfig(ca_certs=certs.unrelated_ca_file, assert_fingerprint=digits)
    with pytest.raises(ssl.SSLCertVerificationError):
        wrap(one_server.connect(), chain, "localhost")


def test_a_fingerprint_verifies_even_without_a_chain(
    one_server: TLSServer, certs: Certificates
) -> None:
    digits = fingerprint(certs.server.cert, "sha256")
    config = TLSConfig(cert_reqs="CERT_NONE", assert_fingerprint=digits)
    assert talk(one_server, config, "other.example").is_verified
    config = TLSConfig(cert_reqs="CERT_NONE", assert_fingerprint="aa" * 32)
    sock = one_server.connect()
    with pytest.raises(SSLError, match="Fingerprints did not match"):
        wrap(sock, config, "localhost")


def test_assert_hostname_false_switches_only_the_name_off(
    one_server: TLSServer, certs: Certificates
) -> None:
    config = TLSConfig(ca_certs=certs.ca_file, assert_hostname=False)
    assert talk(one_server, config, "other.example").is_verified
    config = TLSConfig(ca_certs=certs.unrelated_ca_file, assert_hostname=False)
    with pytest.raises(ssl.SSLCertVerificationError):
        wrap(one_server.connect(), config, "localhost")


def test_assert_hostname_is_verified_in_place_of_the_host(
    one_server: TLSServer, certs: Certificates
) -> None:
    for name in ("localhost", "[::1]", "127.0.0.1"):
        config = TLSConfig(ca_certs=certs.ca_file, assert_hostname=name)
        assert talk(one_server, config, "other.example").is_verified
    assert one_server.names == ["other.example"] * 3
    config = TLSConfig(ca_certs=certs.ca_file, assert_hostname="other.example")
    with pytest.raises(
        CertificateError, match=r"^hostname 'other.example' doesn't match"
    ) as caught:
        wrap(one_server.connect(), config, "localhost")
    assert ("DNS", "localhost") in caught.value._peer_cert["subjectAltName"]  # type: ignore[attr-defined]


# -- client certificates ---------------------------------------------------------------------------


def subject_alt_names(server: TLSServer) -> Any:
    return (server.last()["certificate"] or {}).get("subjectAltName")


CLIENT = (("email", "client@example.com"),)


def test_a_client_certificate_comes_from_files_or_memory(
    tls_server: TLSServer, certs: Certificates
) -> None:
    cert, key = (Path(path).read_text() for path in (certs.client.cert, certs.client.key))
    combined = Path(certs.client.combined).read_bytes()
    secret = Path(certs.client_encrypted.key).read_bytes()
    for names in (
        {"cert_file": certs.client.cert, "key_file": certs.client.key},
        {"cert_file": certs.client.combined},
        {"cert_data": cert, "key_data": key},
        {"cert_data": combined},
        {"cert_data": cert, "key_data": secret, "key_password": CLIENT_PASSWORD},
        {
            "cert_file": certs.client_encrypted.cert,
            "key_file": certs.client_encrypted.key,
            "key_password": CLIENT_PASSWORD.encode(),
        },
    ):
        talk(tls_server, TLSConfig(ca_certs=certs.ca_file, **names))  # type: ignore[arg-type]
        assert subject_alt_names(tls_server) == CLIENT


@pytest.mark.parametrize("hide", ["memfd_create", "/proc"])
def test_keys_in_memory_leave_no_file_behind_where_there_are_no_memory_files(
    hide: str, certs: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way of other systems than Linux: a file for the owner alone, removed at once."""
    if hide == "memfd_create":
        monkeypatch.delattr(os, "memfd_create", raising=False)
    else:
        monkeypatch.setattr(
            os.path,
            "exists",
            lambda path: not str(path).startswith("/proc") and Path(path).exists(),
        )
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with _ssl_contexts._memory_files(
        Path(certs.client.cert).read_bytes(), Path(certs.client.key).read_text()
    ) as paths:
        assert all(path.startswith(str(tmp_path)) for path in paths)
        assert [os.stat(path).st_mode & 0o777 for path in paths] == [0o600, 0o600]
        assert [os.stat(Path(path).parent).st_mode & 0o777 for path in paths] == [0o700, 0o700]
        plain_context().load_cert_chain(*paths)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="files in memory are a thing of Linux")
def test_keys_in_memory_touch_no_file_system(certs: Certificates, tmp_path: Path) -> None:
    with _ssl_contexts._memory_files(b"secret") as (path,):
        assert path.startswith("/proc/self/fd/")
        assert os.readlink(path).startswith("/memfd:")


def test_an_encrypted_key_without_password_is_an_error_and_no_question(
    certs: Certificates,
) -> None:
    secret = Path(certs.client_encrypted.combined).read_text()
    for names in (
        {"cert_file": certs.client_encrypted.cert, "key_file": certs.client_encrypted.key},
        {"cert_file": certs.client_encrypted.combined},
        {"cert_data": secret},
    ):
        with pytest.raises(
            SSLError, match=r"^Client private key is encrypted, password is required"
        ):
            context_for(TLSConfig(ca_certs=certs.ca_file, **names))  # type: ignore[arg-type]


def test_a_wrong_password_or_key_is_an_error_that_tells_no_secret(certs: Certificates) -> None:
    pem = Path(certs.server.key).read_text()
    cert = Path(certs.client.cert).read_text()
    for names, text in (
        (
            {
                "cert_file": certs.client_encrypted.cert,
                "key_file": certs.client_encrypted.key,
                "key_password": "hunter2",
            },
            "key_file=",
        ),
        ({"cert_data": cert, "key_data": pem}, "cert_data, key_data"),
        ({"cert_data": cert}, r"\(cert_data\)"),
        ({"cert_file": "/nonexistent"}, "cert_file='/nonexistent'"),
    ):
        with pytest.raises(SSLError, match=text) as caught:
            context_for(TLSConfig(ca_certs=certs.ca_file, **names))  # type: ignore[arg-type]
        assert "hunter2" not in str(caught.value)
        assert "BEGIN" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ({"ca_certs": "/nonexistent"}, r"ca_certs='/nonexistent'.*No such file"),
        ({"ca_cert_dir": "/nonexistent"}, "ca_cert_dir='/nonexistent'.*not a directory"),
        ({"ca_cert_data": "-----BEGIN CERTIFICATE-----\n"}, r"\(ca_cert_data\)"),
        ({"ca_cert_data": b"\x30\x01"}, r"\(ca_cert_data\)"),
        ({"ciphers": "NONSENSE"}, "ciphers='NONSENSE'"),
    ],
)
def test_what_cannot_be_loaded_is_named(names: dict[str, Any], text: str) -> None:
    with pytest.raises(SSLError, match=text):
        context_for(TLSConfig(cert_reqs="CERT_NONE", **names))


# -- one context for all ---------------------------------------------------------------------------


def test_equal_configurations_share_a_context(certs: Certificates) -> None:
    first = context_for(TLSConfig(ca_certs=certs.ca_file))
    assert context_for(TLSConfig(ca_certs=certs.ca_file, cert_reqs="CERT_REQUIRED")) is first
    assert context_for(TLSConfig(ca_certs=certs.ca_file, server_hostname="x")) is first
    assert context_for(TLSConfig(ca_certs=certs.ca_file, assert_hostname="x")) is not first
    assert context_for(TLSConfig(ca_certs=certs.unrelated_ca_file)) is not first
    assert context_for(TLSConfig(ca_certs=certs.ca_file, alpn_protocols=())) is not first


def test_a_replaced_certificate_is_picked_up(
    one_server: TLSServer, certs: Certificates, tmp_path: Path
) -> None:
    """Certificates of machines are renewed every few weeks or days, under the same name."""
    config = TLSConfig(ca_certs=str(tmp_path / "ca.pem"))
    shutil.copy(certs.unrelated_ca_file, tmp_path / "ca.pem")
    with pytest.raises(ssl.SSLCertVerificationError):
        wrap(one_server.connect(), config, "localhost")
    shutil.copy(certs.ca_file, tmp_path / "new.pem")
    (tmp_path / "new.pem").replace(tmp_path / "ca.pem")
    assert talk(one_server, config).is_verified


def test_a_context_is_built_once_though_many_ask_at_the_same_time(
    certs: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[ssl.SSLContext] = []
    waiting = threading.Barrier(5)
    create = ssl_.create_urllib3_context

    def counting(*args: Any, **kwargs: Any) -> ssl.SSLContext:
        context = create(*args, **kwargs)
        built.append(context)
        return context

    monkeypatch.setattr(ssl_, "create_urllib3_context", counting)
    config = TLSConfig(ca_certs=certs.ca_file)
    found: list[ssl.SSLContext] = []

    def ask() -> None:
        waiting.wait(PATIENCE)
        found.append(context_for(config))

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(built) == 1
    assert found == built * 5


def test_another_class_of_contexts_is_noticed(
    certs: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """truststore and pyOpenSSL assign `SSLContext` of the module, maybe after the first request."""

    class Other(ssl.SSLContext):
        pass

    config = TLSConfig(ca_certs=certs.ca_file)
    first = context_for(config)
    with monkeypatch.context() as patch:
        patch.setattr(ssl_, "SSLContext", Other)
        assert type(context_for(config)) is Other
    assert context_for(config) is first


# -- a context of the caller's ---------------------------------------------------------------------


@both_kinds
def test_a_context_that_agrees_verifies(
    make_context: ContextMaker,
    tls_server: TLSServer,
    certs: Certificates,
    unchanged: Callable[[ssl.SSLContext], ssl.SSLContext],
) -> None:
    context = unchanged(make_context(certs.ca_file, certs.client))
    for config in (TLSConfig(ssl_context=context), TLSConfig(ssl_context=context, cert_reqs=2)):
        assert talk(tls_server, config).is_verified
        assert subject_alt_names(tls_server) == CLIENT
        with pytest.raises(ssl.SSLCertVerificationError):
            wrap(tls_server.connect(), config, "other.example")


def test_a_plain_context_that_agrees_is_used_itself(certs: Certificates) -> None:
    context = plain_context(certs.ca_file)
    assert context_for(TLSConfig(ssl_context=context, cert_reqs="CERT_REQUIRED")) is context


def test_alpn_is_offered_beside_a_context_of_ours_that_has_none(
    one_server: TLSServer, certs: Certificates
) -> None:
    """create_urllib3_context() makes contexts without ALPN, and urllib3 wrote it into them."""
    context = recording_context(certs.ca_file)
    talk(one_server, TLSConfig(ssl_context=context))
    assert one_server.last()["alpn"] == "http/1.1"
    context.set_alpn_protocols(["something"])
    assert context_for(TLSConfig(ssl_context=context)) is context
    talk(one_server, TLSConfig(ssl_context=context, assert_hostname=False))
    assert one_server.last()["alpn"] is None


@both_kinds
def test_verification_switched_off_beside_a_context(
    make_context: ContextMaker,
    tls_server: TLSServer,
    certs: Certificates,
    unchanged: Callable[[ssl.SSLContext], ssl.SSLContext],
) -> None:
    """(a) the client certificate is shown, (c) no verification is in force, (d) nothing changed."""
    context = unchanged(make_context(certs.unrelated_ca_file, certs.client))
    result = talk(
        tls_server, TLSConfig(ssl_context=context, cert_reqs="CERT_NONE"), "other.example"
    )
    assert not result.is_verified
    assert subject_alt_names(tls_server) == CLIENT


@both_kinds
def test_verification_switched_on_beside_a_context(
    make_context: ContextMaker,
    tls_server: TLSServer,
    certs: Certificates,
    unchanged: Callable[[ssl.SSLContext], ssl.SSLContext],
) -> None:
    """(a) client certificate, (b) the context's own CAs verify, (c) chain and name are checked."""
    context = make_context(certs.ca_file, certs.client)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    unchanged(context)
    assert not talk(tls_server, TLSConfig(ssl_context=context), "other.example").is_verified
    config = TLSConfig(ssl_context=context, cert_reqs="CERT_REQUIRED")
    assert talk(tls_server, config).is_verified
    assert subject_alt_names(tls_server) == CLIENT
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        wrap(tls_server.connect(), config, "other.example")

    stranger = make_context(certs.unrelated_ca_file)
    stranger.check_hostname = False
    stranger.verify_mode = ssl.CERT_NONE
    with pytest.raises(ssl.SSLCertVerificationError, match=r"self.signed"):
        wrap(tls_server.connect(), TLSConfig(ssl_context=stranger, cert_reqs=2), "localhost")


@both_kinds
def test_the_certificate_can_be_read_exactly_if_it_was_verified(
    make_context: ContextMaker, tls_server: TLSServer, certs: Certificates
) -> None:
    """Programs take an empty ``getpeercert()`` for "not verified", as Python documents it."""
    context = make_context(certs.ca_file)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    result = wrap(tls_server.connect(), TLSConfig(ssl_context=context, cert_reqs=2), "localhost")
    assert result.sock.getpeercert()
    exchange(result.sock)
    result = wrap(
        tls_server.connect(),
        TLSConfig(ssl_context=make_context(certs.ca_file), cert_reqs=0),
        "localhost",
    )
    assert not result.sock.getpeercert()
    exchange(result.sock)


@both_kinds
def test_assertions_beside_a_context(
    make_context: ContextMaker,
    tls_server: TLSServer,
    certs: Certificates,
    unchanged: Callable[[ssl.SSLContext], ssl.SSLContext],
) -> None:
    context = unchanged(make_context(certs.ca_file, certs.client))
    digits = fingerprint(certs.server.cert, "sha256")
    for names in (
        {"assert_hostname": False},
        {"assert_hostname": "localhost"},
        {"assert_fingerprint": digits},
    ):
        config = TLSConfig(ssl_context=context, **names)  # type: ignore[arg-type]
        assert talk(tls_server, config, "other.example").is_verified
        assert subject_alt_names(tls_server) == CLIENT
    with pytest.raises(CertificateError):
        wrap(
            tls_server.connect(),
            TLSConfig(ssl_context=context, assert_hostname="other.example"),
            "localhost",
        )


@both_kinds
def test_the_name_is_verified_though_the_context_does_not(
    make_context: ContextMaker, one_server: TLSServer, certs: Certificates
) -> None:
    """As in urllib3: ``check_hostname = False`` is no way out, ``assert_hostname=False`` is."""
    context = make_context(certs.ca_file)
    context.check_hostname = False
    assert talk(one_server, TLSConfig(ssl_context=context)).is_verified
    with pytest.raises(CertificateError):
        wrap(one_server.connect(), TLSConfig(ssl_context=context), "other.example")


def test_the_common_name_counts_only_for_contexts_that_say_so(certs: Certificates) -> None:
    with TLSServer(certs.server_context(certs.no_san)) as server:
        context = plain_context(certs.ca_file)
        context.check_hostname = False
        assert talk(server, TLSConfig(ssl_context=context)).is_verified
        context.hostname_checks_common_name = False
        with pytest.raises(CertificateError, match="no appropriate subjectAltName"):
            wrap(server.connect(), TLSConfig(ssl_context=context), "localhost")


@both_kinds
def test_versions_and_ciphers_beside_a_context(
    make_context: ContextMaker,
    one_server: TLSServer,
    certs: Certificates,
    unchanged: Callable[[ssl.SSLContext], ssl.SSLContext],
) -> None:
    context = unchanged(make_context(certs.ca_file, certs.client))
    two = ssl.TLSVersion.TLSv1_2
    talk(one_server, TLSConfig(ssl_context=context, ssl_maximum_version=two))
    assert one_server.last()["version"] == "TLSv1.2"
    assert subject_alt_names(one_server) == CLIENT
    with pytest.raises(SSLError, match="cannot derive a TLS context"):
        context_for(TLSConfig(ssl_context=context, ciphers="NONSENSE"))


@both_kinds
def test_settings_of_the_context_survive_in_the_copy(
    make_context: ContextMaker, one_server: TLSServer, certs: Certificates
) -> None:
    context = make_context(certs.ca_file)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305")
    context.options |= ssl.OP_NO_TICKET
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    copy = context_for(TLSConfig(ssl_context=context, assert_hostname=False))
    assert copy is not context
    before, after = snapshot(context), snapshot(copy)
    for name in ("check_hostname", "stats", "authorities", "calls", "attributes"):
        del before[name], after[name]
    assert after == before
    talk(one_server, TLSConfig(ssl_context=context, assert_hostname=False))
    assert "CHACHA20" in one_server.last()["cipher"][0]


@pytest.mark.filterwarnings("ignore:ssl:DeprecationWarning")
def test_all_ways_to_limit_versions_survive_without_a_warning(
    recwarn: pytest.WarningsRecorder,
) -> None:
    two, three = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    pinned = ssl.SSLContext(ssl.PROTOCOL_TLSv1_2)
    no_three = plain_context()
    no_three.options |= ssl.OP_NO_TLSv1_3
    only_three = plain_context()
    only_three.options |= ssl.OP_NO_TLSv1 | ssl.OP_NO_TLSv1_1 | ssl.OP_NO_TLSv1_2
    lowest = plain_context()
    lowest.minimum_version = ssl.TLSVersion.TLSv1
    recwarn.clear()
    bounds = [
        (copy.minimum_version, copy.maximum_version)
        for copy in (
            context_for(TLSConfig(ssl_context=context, ciphers="DEFAULT"))
            for context in (pinned, no_three, only_three, lowest)
        )
    ]
    top, bottom = ssl.TLSVersion.MAXIMUM_SUPPORTED, ssl.TLSVersion.MINIMUM_SUPPORTED
    assert bounds == [(two, two), (two, two), (three, top), (bottom, top)]
    assert not recwarn.list


def test_a_servers_context_is_refused() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with pytest.raises(SSLError, match="PROTOCOL_TLS_SERVER is for servers"):
        context_for(TLSConfig(ssl_context=context, cert_reqs="CERT_REQUIRED"))


# -- certificates beside a context -----------------------------------------------------------------


@both_kinds
def test_cas_beside_a_context_without_any(
    make_context: ContextMaker,
    one_server: TLSServer,
    certs: Certificates,
    unchanged: Callable[[ssl.SSLContext], ssl.SSLContext],
) -> None:
    """Adapters of requests bring a context with some settings, and requests adds ``ca_certs``."""
    context = unchanged(make_context())
    assert talk(one_server, TLSConfig(ssl_context=context, ca_certs=certs.ca_file)).is_verified
    with pytest.raises(ssl.SSLCertVerificationError):
        wrap(
            one_server.connect(),
            TLSConfig(ssl_context=context, ca_certs=certs.unrelated_ca_file),
            "localhost",
        )


def test_cas_are_added_to_a_copy_of_a_context_of_ours(
    tls_server: TLSServer,
    certs: Certificates,
    unchanged: Callable[[ssl.SSLContext], ssl.SSLContext],
) -> None:
    for own, given in (
        (certs.unrelated_ca_file, certs.ca_file),
        (certs.ca_file, certs.unrelated_ca_file),
    ):
        context = unchanged(recording_context(own, certs.client))
        assert talk(tls_server, TLSConfig(ssl_context=context, ca_certs=given)).is_verified
        assert subject_alt_names(tls_server) == CLIENT


def test_a_copy_also_has_a_certificate_that_came_from_memory(
    one_server: TLSServer, certs: Certificates
) -> None:
    """The path it was loaded by may lead to something else by now."""
    context = ssl_.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain_data(
        Path(certs.client.cert).read_text(), Path(certs.client.key).read_bytes()
    )
    talk(one_server, TLSConfig(ssl_context=context, ca_certs=certs.ca_file))
    assert subject_alt_names(one_server) == CLIENT


@pytest.mark.parametrize("has", ["trust", "identity"])
def test_a_plain_context_with_certificates_keeps_its_own_trust(
    has: str,
    one_server: TLSServer,
    certs: Certificates,
    unchanged: Callable[[ssl.SSLContext], ssl.SSLContext],
) -> None:
    """They cannot be copied, so CAs cannot be added; who fails is told what to do instead."""
    if has == "trust":
        context = plain_context(certs.unrelated_ca_file)
    else:
        context = plain_context(None, certs.client)
    unchanged(context)
    config = TLSConfig(ssl_context=context, ca_certs=certs.ca_file)
    with pytest.raises(ssl.SSLCertVerificationError, match=r"create_urllib4_context\(\) \("):
        wrap(one_server.connect(), config, "localhost")


def test_cas_beside_a_plain_context_with_a_store_do_not_disturb(
    one_server: TLSServer, certs: Certificates
) -> None:
    context = plain_context(certs.ca_file)
    config = TLSConfig(ssl_context=context, ca_certs=certs.unrelated_ca_file)
    assert context_for(config) is context
    assert talk(one_server, config).is_verified


@both_kinds
def test_a_client_certificate_beside_a_context(
    make_context: ContextMaker,
    tls_server: TLSServer,
    certs: Certificates,
    unchanged: Callable[[ssl.SSLContext], ssl.SSLContext],
) -> None:
    context = unchanged(make_context(certs.ca_file))
    config = TLSConfig(ssl_context=context, cert_file=certs.client.cert, key_file=certs.client.key)
    assert talk(tls_server, config).is_verified
    assert subject_alt_names(tls_server) == CLIENT
    assert talk(tls_server, TLSConfig(ssl_context=context)).is_verified
    assert subject_alt_names(tls_server) is None


def test_trust_in_a_certificate_that_is_no_ca_cannot_be_copied(certs: Certificates) -> None:
    context = plain_context(certs.ca_file)
    context.load_verify_locations(certs.server.cert)
    with pytest.raises(SSLError, match="which cannot be copied"):
        context_for(
            TLSConfig(ssl_context=context, cert_file=certs.client.cert, key_file=certs.client.key)
        )


@both_kinds
def test_whether_a_context_has_a_client_certificate_is_found_out(
    make_context: ContextMaker, certs: Certificates
) -> None:
    assert not _ssl_contexts.has_client_chain(make_context(certs.ca_file))
    assert _ssl_contexts.has_client_chain(make_context(certs.ca_file, certs.client))
    limited = make_context(None, certs.client)
    limited.maximum_version = ssl.TLSVersion.TLSv1_2
    limited.set_ciphers("ECDHE-RSA-CHACHA20-POLY1305:ECDHE-ECDSA-CHACHA20-POLY1305")
    assert _ssl_contexts.has_client_chain(limited)


# -- caching what was derived ----------------------------------------------------------------------


@both_kinds
def test_a_copy_is_made_once_until_the_context_changes(
    make_context: ContextMaker, one_server: TLSServer, certs: Certificates
) -> None:
    context = make_context(certs.unrelated_ca_file)
    config = TLSConfig(ssl_context=context, assert_hostname=False)
    copy = context_for(config)
    assert context_for(TLSConfig(ssl_context=context, assert_hostname="x")) is copy
    with pytest.raises(ssl.SSLCertVerificationError):
        wrap(one_server.connect(), config, "localhost")
    context.load_verify_locations(certs.ca_file)
    assert talk(one_server, config).is_verified
    for change in (
        lambda: setattr(context, "options", context.options | ssl.OP_NO_TICKET | 0x80000),
        lambda: setattr(context, "maximum_version", ssl.TLSVersion.TLSv1_2),
        lambda: context.set_ciphers("AES256"),
        lambda: setattr(context, "verify_flags", ssl.VERIFY_CRL_CHECK_LEAF),
    ):
        before = context_for(config)
        change()
        assert context_for(config) is not before


def test_a_client_certificate_that_is_loaded_later_is_shown(
    one_server: TLSServer, certs: Certificates
) -> None:
    """A plain context does not tell that it got one, so none may be remembered."""
    context = plain_context(certs.ca_file)
    config = TLSConfig(ssl_context=context, assert_hostname=False)
    talk(one_server, config)
    assert subject_alt_names(one_server) is None
    context.load_cert_chain(certs.client.cert, certs.client.key)
    talk(one_server, config)
    assert subject_alt_names(one_server) == CLIENT


@both_kinds
def test_copies_do_not_keep_the_callers_context_alive(
    make_context: ContextMaker, certs: Certificates
) -> None:
    context = make_context(certs.ca_file)
    copy = weakref.ref(context_for(TLSConfig(ssl_context=context, assert_hostname=False)))
    original = weakref.ref(context)
    assert copy() is not None
    del context
    gc.collect()
    assert original() is None
    # The next one that is built, whichever, cleans up.
    context_for(TLSConfig(ca_certs=certs.ca_file, alpn_protocols=("cleans", make_context.__name__)))
    gc.collect()
    assert copy() is None


# -- contexts of other classes ---------------------------------------------------------------------


class Foreign(ssl.SSLContext):
    """Connects in its own way, like truststore's; what it does inside is not ours to know."""

    def wrap_socket(self, sock: Any, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        connection = super().wrap_socket(sock, *args, **kwargs)
        connection.foreign = True  # type: ignore[attr-defined]
        return connection


@pytest.fixture
def foreign(
    certs: Certificates, unchanged: Callable[[ssl.SSLContext], ssl.SSLContext]
) -> ssl.SSLContext:
    context = Foreign(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certs.ca_file)
    return unchanged(context)


def test_a_foreign_context_connects_by_itself(
    one_server: TLSServer, certs: Certificates, foreign: ssl.SSLContext
) -> None:
    """requests adds cert_reqs and ca_certs to every connection."""
    config = TLSConfig(
        ssl_context=foreign, cert_reqs="CERT_REQUIRED", ca_certs=certs.unrelated_ca_file
    )
    result = wrap(one_server.connect(), config, "localhost")
    assert result.is_verified
    assert result.sock.foreign
    exchange(result.sock)


@pytest.mark.parametrize(
    ("names", "keyword"),
    [
        ({"cert_reqs": "CERT_NONE"}, "cert_reqs, assert_hostname/assert_fingerprint"),
        ({"assert_hostname": False}, "assert_hostname/assert_fingerprint"),
        ({"assert_fingerprint": "aa" * 32}, "assert_hostname/assert_fingerprint"),
        ({"cert_file": "x.pem"}, "cert_file='x.pem'"),
        ({"ciphers": "DEFAULT"}, "ciphers"),
        ({"ssl_minimum_version": 771}, "ssl_minimum_version"),
    ],
)
def test_what_cannot_be_applied_to_a_foreign_context_is_said(
    names: dict[str, Any], keyword: str, one_server: TLSServer, foreign: ssl.SSLContext
) -> None:
    with pytest.raises(
        SSLError, match=f"^cannot apply {keyword} to an ssl_context of type .*Foreign"
    ):
        wrap(one_server.connect(), TLSConfig(ssl_context=foreign, **names), "localhost")


def test_a_class_of_its_own_needs_only_the_basic_methods(
    one_server: TLSServer, certs: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pyOpenSSL's contexts are no ``ssl.SSLContext`` and know neither system stores nor keylogs."""

    class Wrapper:
        def __init__(self, protocol: int) -> None:
            self._inner = ssl.SSLContext(protocol)  # type: ignore[arg-type]
            self.options = self.verify_flags = self.verify_mode = 0
            self.check_hostname = False
            self.minimum_version = self.maximum_version = 0

        def load_verify_locations(self, *args: Any) -> None:
            self._inner.load_verify_locations(*args)

        def set_default_verify_paths(self) -> None:
            self._inner.set_default_verify_paths()

        def load_cert_chain(self, certfile: str, keyfile: str | None = None) -> None:
            self._inner.load_cert_chain(certfile, keyfile)

        def set_alpn_protocols(self, protocols: list[str]) -> None:
            self._inner.set_alpn_protocols(protocols)

        def wrap_socket(self, sock: Any, server_hostname: str | None = None) -> Any:
            self._inner.check_hostname = self.check_hostname
            self._inner.verify_mode = self.verify_mode  # type: ignore[assignment]
            return self._inner.wrap_socket(sock, server_hostname=server_hostname)

    monkeypatch.setattr(ssl_, "SSLContext", Wrapper)
    monkeypatch.setattr(ssl_, "IS_PYOPENSSL", True)
    monkeypatch.setenv("SSL_CERT_FILE", certs.ca_file)
    assert talk(one_server, TLSConfig()).is_verified
    config = TLSConfig(
        ca_certs=certs.ca_file, cert_file=certs.client.cert, key_file=certs.client.key
    )
    assert talk(one_server, config).is_verified
    assert subject_alt_names(one_server) == CLIENT
    with pytest.raises(CertificateError):
        wrap(one_server.connect(), config, "other.example")
    with pytest.raises(SSLError, match=r"^Client private key is encrypted"):
        context_for(TLSConfig(cert_file=certs.client_encrypted.combined))


# -- ssl_wrap_socket -------------------------------------------------------------------------------


def test_ssl_wrap_socket_without_a_context(
    one_server: TLSServer, certs: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange(
        ssl_wrap_socket(
            one_server.connect(),
            certs.client.key,
            certs.client.cert,
            ssl.CERT_REQUIRED,
            certs.ca_file,
            "localhost",
        )
    )
    assert subject_alt_names(one_server) == CLIENT
    assert one_server.last()["alpn"] == "http/1.1"
    monkeypatch.setenv("SSL_CERT_FILE", certs.ca_file)
    exchange(ssl_wrap_socket(one_server.connect(), server_hostname="localhost"))


@both_kinds
def test_ssl_wrap_socket_does_not_change_a_context(
    make_context: ContextMaker,
    one_server: TLSServer,
    certs: Certificates,
    unchanged: Callable[[ssl.SSLContext], ssl.SSLContext],
) -> None:
    """In urllib3 it loads the CAs and the client certificate into the caller's context."""
    exchange(
        ssl_wrap_socket(
            one_server.connect(),
            certs.client_encrypted.key,
            certs.client_encrypted.cert,
            ca_certs=certs.ca_file,
            server_hostname="localhost",
            ssl_context=unchanged(make_context()),
            key_password=CLIENT_PASSWORD,
        )
    )
    assert subject_alt_names(one_server) == CLIENT


# -- failures --------------------------------------------------------------------------------------


def closed_peer(listener: socket.socket) -> bool:
    """Whether the client's side is gone: the server reads the end, or an error."""
    sock, _ = listener.accept()
    sock.settimeout(PATIENCE)
    with sock, suppress(ConnectionError):
        while sock.recv(65536):
            pass
    return True


@pytest.mark.parametrize("when", ["building", "naming", "handshake"])
def test_a_socket_is_closed_whatever_fails(when: str, certs: Certificates) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sock = socket.create_connection(listener.getsockname(), PATIENCE)
        config, host = TLSConfig(ca_certs=certs.ca_file), "localhost"
        if when == "building":
            config = TLSConfig(ca_certs="/nonexistent")
        elif when == "naming":
            host = ".leading.dot"
        else:
            sock.settimeout(0.01)
        with pytest.raises((SSLError, TimeoutError)):
            wrap(sock, config, host)
        assert closed_peer(listener)
        assert sock.fileno() == -1


@both_kinds
def test_a_peer_that_is_gone_before_the_handshake_is_an_os_error(
    make_context: ContextMaker, certs: Certificates
) -> None:
    context = make_context(certs.ca_file)
    for config in (
        TLSConfig(ssl_context=context),
        TLSConfig(ssl_context=context, assert_hostname=False),
    ):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            sock = socket.create_connection(listener.getsockname(), PATIENCE)
            peer, _ = listener.accept()
            # Linger of zero: the connection is reset, so that it is not even connected any more.
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            peer.close()
            with pytest.raises(OSError):
                wrap(sock, config, "localhost")
            assert sock.fileno() == -1


def test_the_timeout_bounds_the_whole_handshake(certs: Certificates) -> None:
    """A server that drips bytes could otherwise keep a client for hours.

    What it sends is a TLS record of 16 KiB, one byte at a time and for ever.
    """
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            peer, _ = listener.accept()
            with peer, suppress(OSError):
                peer.sendall(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03")
                while not over.wait(0.001):
                    peer.sendall(b"\0")

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            sock = socket.create_connection(listener.getsockname())
            sock.settimeout(0.2)
            with pytest.raises(TimeoutError):
                wrap(sock, TLSConfig(ca_certs=certs.ca_file), "localhost")
        finally:
            over.set()
            thread.join(PATIENCE)


# -- TLS in TLS ------------------------------------------------------------------------------------


class Relay:
    """Carries bytes between a TLS connection and a plain socket: an https proxy after CONNECT."""

    def __init__(self, context: ssl.SSLContext, target: tuple[str, int]) -> None:
        self._context, self._target = context, target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = self._listener.getsockname()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Relay:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        sock, _ = self._listener.accept()
        sock.settimeout(PATIENCE)
        with (
            suppress(OSError),
            sock,
            self._context.wrap_socket(sock, server_side=True) as near,
            socket.create_connection(self._target, PATIENCE) as far,
        ):
            while self._carry(near, far):
                pass

    @staticmethod
    def _carry(near: ssl.SSLSocket, far: socket.socket) -> bool:
        """Pass on what one side sent.  One thread for both: TLS sockets are not made for two."""
        both = [near, far]
        for source in [near] if near.pending() else select.select(both, [], [], PATIENCE)[0]:
            data = source.recv(65536)
            if not data:
                return False
            both[source is near].sendall(data)
        return True


@both_kinds
@pytest.mark.parametrize("told", [True, False])
def test_tls_in_tls_follows_the_same_rules(
    told: bool,
    make_context: ContextMaker,
    tls_server: TLSServer,
    certs: Certificates,
    unchanged: Callable[[ssl.SSLContext], ssl.SSLContext],
) -> None:
    context = unchanged(make_context(certs.ca_file, certs.client))
    with Relay(certs.server_context(), tls_server.address) as relay:
        sock = socket.create_connection(relay.address, PATIENCE)
        outer = wrap(sock, TLSConfig(ca_certs=certs.ca_file), "localhost").sock
        config = TLSConfig(ssl_context=context, assert_hostname="127.0.0.1")
        result = wrap(outer, config, "other.example", tls_in_tls=told)
        assert isinstance(result.sock, SSLTransport)
        assert result.is_verified
        exchange(result.sock)
        assert subject_alt_names(tls_server) == CLIENT


def test_a_client_certificate_can_be_asked_for_after_the_handshake(certs: Certificates) -> None:
    """TLS 1.3 post-handshake authentication, with a connection that was made by a copy."""
    context = recording_context(certs.ca_file, certs.client)
    config = TLSConfig(ssl_context=context, assert_hostname=False)
    server = certs.server_context()
    server.load_verify_locations(certs.ca_file)
    server.verify_mode = ssl.CERT_REQUIRED
    server.post_handshake_auth = True
    seen: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            sock.settimeout(PATIENCE)
            with server.wrap_socket(sock, server_side=True) as tls:
                seen.append(tls.getpeercert())
                tls.verify_client_post_handshake()
                tls.sendall(b"x")
                tls.recv(10)
                seen.append(tls.getpeercert())

        thread = threading.Thread(target=serve)
        thread.start()
        sock = socket.create_connection(listener.getsockname(), PATIENCE)
        with wrap(sock, config, "localhost").sock as connection:
            connection.recv(10)
            connection.sendall(b"x")
            thread.join(PATIENCE)
    assert seen[0] is None
    assert seen[1]["subjectAltName"] == CLIENT
