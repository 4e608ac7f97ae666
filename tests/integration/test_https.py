"""HTTPS through pools and managers: whom we trust, who we are, and what that costs.

How contexts are made and shared is ``test_tls_contexts.py``; here requests are sent.
"""

from __future__ import annotations

import datetime
import hashlib
import ssl
import threading
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from dummyserver.certs import CLIENT_PASSWORD, Certificates
from dummyserver.counting import CountingServer
from dummyserver.script import ScriptedServer
from dummyserver.server import DummyServer
from urllib4 import HTTPSConnectionPool, PoolManager
from urllib4.exceptions import (
    InsecureRequestWarning,
    MaxRetryError,
    SSLError,
    SystemTimeWarning,
)
from urllib4.util.ssl_ import create_urllib4_context


@pytest.fixture
def manager(ca_file: str) -> Iterator[PoolManager]:
    with PoolManager(ca_certs=ca_file, timeout=10, retries=False) as one:
        yield one


def fingerprint(certificate: str, algorithm: str = "sha256") -> str:
    der = ssl.PEM_cert_to_DER_cert(Path(certificate).read_text(encoding="ascii").strip())
    return hashlib.new(algorithm, der, usedforsecurity=False).hexdigest()


def trusting(**options: Any) -> PoolManager:
    return PoolManager(timeout=10, retries=False, **options)


# -- whom we trust ----------------------------------------------------------------------------


def test_a_good_certificate_is_accepted_and_the_connection_kept(
    manager: PoolManager, server: DummyServer
) -> None:
    peers = [manager.request("GET", server.https_url + "/keepalive").json() for _ in range(2)]
    assert peers[0] == peers[1]
    pool = manager.connection_from_url(server.https_url)
    assert pool.num_connections == 1
    assert pool.pool.queue[-1].is_verified


def test_addresses_are_names_too(
    manager: PoolManager, server: DummyServer, certs: Certificates
) -> None:
    url = server.https_url.replace("localhost", "127.0.0.1")
    assert manager.request("GET", url).status == 200
    if server.https_ipv6_url:
        assert manager.request("GET", server.https_ipv6_url).status == 200


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("wrong_host", "doesn't match|mismatch"),
        ("expired", "expired"),
        ("no_san", "no appropriate|doesn't match|mismatch"),
        ("untrusted", "unable to get local issuer|self.signed"),
    ],
)
def test_a_bad_certificate_is_refused(
    manager: PoolManager, server: DummyServer, kind: str, text: str
) -> None:
    url: str = getattr(server, f"{kind}_url")
    with pytest.raises(SSLError, match=text) as caught:
        manager.request("GET", url)
    assert "localhost" in str(caught.value)
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
    with pytest.raises(MaxRetryError) as wrapped:
        manager.request("GET", url, retries=1)
    assert isinstance(wrapped.value.reason, SSLError)
    pool = manager.connection_from_url(url)
    assert list(pool.pool.queue) == [None]


def test_the_systems_authorities_are_trusted_by_default_and_ours_is_none_of_them(
    server: DummyServer,
) -> None:
    with trusting() as manager, pytest.raises(SSLError, match="certificate verify failed"):
        manager.request("GET", server.https_url)


@pytest.mark.parametrize("option", ["ca_certs", "ca_cert_dir", "ca_cert_data", "der", "context"])
def test_authorities_can_be_given_in_any_form(
    server: DummyServer, certs: Certificates, option: str
) -> None:
    pem = Path(certs.ca_file).read_text(encoding="ascii")
    options: dict[str, Any] = {
        "ca_certs": {"ca_certs": certs.ca_file},
        "ca_cert_dir": {"ca_cert_dir": certs.ca_dir},
        "ca_cert_data": {"ca_cert_data": pem},
        "der": {"ca_cert_data": ssl.PEM_cert_to_DER_cert(pem)},
        "context": {"ssl_context": certs.client_context()},
    }[option]
    with trusting(**options) as manager:
        assert manager.request("GET", server.https_url).status == 200


def test_a_file_of_authorities_that_is_missing_is_an_ssl_error(server: DummyServer) -> None:
    with trusting(ca_certs="/nowhere/ca.pem") as manager, pytest.raises(SSLError):
        manager.request("GET", server.https_url)


# -- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["assert_hostname", "server_hostname"])
def test_another_name_can_be_asked_for(server: DummyServer, ca_file: str, option: str) -> None:
    with trusting(ca_certs=ca_file, **{option: "other.example"}) as manager:
        assert manager.request("GET", server.wrong_host_url).status == 200
        with pytest.raises(SSLError):
            manager.request("GET", server.https_url)


def test_the_name_alone_can_go_unchecked(server: DummyServer, ca_file: str) -> None:
    """The chain is still verified: it is no InsecureRequestWarning."""
    with trusting(ca_certs=ca_file, assert_hostname=False) as manager:
        assert manager.request("GET", server.wrong_host_url).status == 200
        with pytest.raises(SSLError):
            manager.request("GET", server.untrusted_url)


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256"])
def test_a_fingerprint_replaces_the_name(
    server: DummyServer, certs: Certificates, algorithm: str
) -> None:
    digest = fingerprint(certs.wrong_host.cert, algorithm)
    spelled = ":".join(digest[i : i + 2] for i in range(0, len(digest), 2)).upper()
    with trusting(ca_certs=certs.ca_file, assert_fingerprint=spelled) as manager:
        assert manager.request("GET", server.wrong_host_url).status == 200


def test_a_fingerprint_is_enough_without_an_authority(
    server: DummyServer, certs: Certificates
) -> None:
    """Whoever shows that certificate is known: no warning."""
    options = {"cert_reqs": "CERT_NONE", "assert_fingerprint": fingerprint(certs.untrusted.cert)}
    with trusting(**options) as manager:
        assert manager.request("GET", server.untrusted_url).status == 200


@pytest.mark.parametrize("wrong", ["AA" * 32, "AA" * 20, "AA:AA", "zz" * 32, ""])
def test_a_fingerprint_that_does_not_match_is_refused(
    server: DummyServer, ca_file: str, wrong: str
) -> None:
    with trusting(ca_certs=ca_file, assert_fingerprint=wrong) as manager:
        if wrong:
            with pytest.raises(SSLError, match="ingerprint"):
                manager.request("GET", server.https_url)


# -- no verification --------------------------------------------------------------------------


@pytest.mark.parametrize("cert_reqs", ["CERT_NONE", "NONE", ssl.CERT_NONE])
@pytest.mark.parametrize("kind", ["untrusted", "expired", "wrong_host", "no_san"])
def test_nobody_is_checked_if_that_is_asked_for_and_each_request_warns(
    server: DummyServer, cert_reqs: Any, kind: str
) -> None:
    with trusting(cert_reqs=cert_reqs) as manager:
        for _ in range(2):
            with pytest.warns(InsecureRequestWarning, match="'localhost'") as caught:
                assert manager.request("GET", getattr(server, f"{kind}_url")).status == 200
            assert len(caught) == 1


@pytest.mark.parametrize("through", ["pool", "manager", "urlopen"])
def test_the_warning_shows_the_line_that_made_the_request(
    server: DummyServer, through: str
) -> None:
    """A warning that points into the library helps nobody to find the request."""
    port = server.https_port
    with trusting(cert_reqs="CERT_NONE") as manager, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if through == "manager":
            manager.request("GET", server.https_url)
        else:
            with HTTPSConnectionPool("localhost", port, cert_reqs="CERT_NONE") as pool:
                if through == "pool":
                    pool.request("GET", "/")
                else:
                    pool.urlopen("GET", "/")
    (warning,) = caught
    assert warning.category is InsecureRequestWarning
    assert warning.filename == __file__


def test_trust_is_not_shared_between_pools(server: DummyServer, ca_file: str) -> None:
    """A connection that nobody verified must not serve a request that wants it verified."""
    with PoolManager(cert_reqs="CERT_NONE", retries=False) as manager:
        with pytest.warns(InsecureRequestWarning):
            manager.request("GET", server.untrusted_url)
        strict = manager.connection_from_url(
            server.untrusted_url, pool_kwargs={"cert_reqs": "CERT_REQUIRED", "ca_certs": ca_file}
        )
        with pytest.raises(SSLError):
            strict.request("GET", "/")


# -- who we are -------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["two files", "one file", "memory", "encrypted", "bytes"])
def test_a_client_certificate_is_shown(server: DummyServer, certs: Certificates, form: str) -> None:
    client, encrypted = certs.client, certs.client_encrypted
    options: dict[str, Any] = {
        "two files": {"cert_file": client.cert, "key_file": client.key},
        "one file": {"cert_file": client.combined},
        "memory": {
            "cert_data": Path(client.cert).read_text(encoding="ascii"),
            "key_data": Path(client.key).read_text(encoding="ascii"),
        },
        "bytes": {
            "cert_data": Path(client.cert).read_bytes(),
            "key_data": Path(client.key).read_bytes(),
        },
        "encrypted": {
            "cert_file": encrypted.cert,
            "key_file": encrypted.key,
            "key_password": CLIENT_PASSWORD,
        },
    }[form]
    with trusting(ca_certs=certs.ca_file, **options) as manager:
        assert manager.request("GET", server.client_cert_url).status == 200


def test_an_encrypted_key_without_a_password_is_an_error_and_no_question_on_the_terminal(
    server: DummyServer, certs: Certificates
) -> None:
    encrypted = certs.client_encrypted
    options = {"cert_file": encrypted.cert, "key_file": encrypted.key}
    with (
        trusting(ca_certs=certs.ca_file, **options) as manager,
        pytest.raises(SSLError, match="Client private key is encrypted, password is required"),
    ):
        manager.request("GET", server.client_cert_url)


def test_a_wrong_password_does_not_show_up_in_the_error(
    server: DummyServer, certs: Certificates
) -> None:
    encrypted = certs.client_encrypted
    options = {"cert_file": encrypted.cert, "key_file": encrypted.key, "key_password": "s3cr3t-x"}
    with (
        trusting(ca_certs=certs.ca_file, **options) as manager,
        pytest.raises(SSLError) as caught,
    ):
        manager.request("GET", server.client_cert_url)
    assert "s3cr3t-x" not in repr(caught.value)


def test_a_client_without_the_certificate_is_refused(
    manager: PoolManager, server: DummyServer
) -> None:
    with pytest.raises(Exception) as caught:
        manager.request("GET", server.client_cert_url)
    assert type(caught.value).__module__ == "urllib4.exceptions"


# -- contexts ---------------------------------------------------------------------------------


def test_a_context_that_is_handed_in_stays_as_it_is(
    server: DummyServer, certs: Certificates
) -> None:
    """Others may use it at the same time, with other demands."""
    context = certs.client_context()
    before = (
        context.verify_mode, context.check_hostname, context.options, context.verify_flags,
        context.minimum_version, context.maximum_version, context.get_ca_certs(),
        context.cert_store_stats(), context.post_handshake_auth,
    )  # fmt: skip
    options = [
        {}, {"assert_hostname": False}, {"assert_hostname": "localhost"},
        {"assert_fingerprint": fingerprint(certs.server.cert)}, {"cert_reqs": "CERT_NONE"},
        {"ca_certs": certs.ca_file}, {"cert_file": certs.client.combined},
        {"server_hostname": "localhost"},
    ]  # fmt: skip
    for more in options:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InsecureRequestWarning)
            with trusting(ssl_context=context, **more) as manager:
                assert manager.request("GET", server.https_url).status == 200
    assert before == (
        context.verify_mode, context.check_hostname, context.options, context.verify_flags,
        context.minimum_version, context.maximum_version, context.get_ca_certs(),
        context.cert_store_stats(), context.post_handshake_auth,
    )  # fmt: skip


def test_twenty_connections_build_one_context(
    certs: Certificates, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Building one costs as much as many handshakes."""
    # A file of its own: for that of other tests there may be a context already.
    ca_certs = tmp_path / "ca.pem"
    ca_certs.write_bytes(Path(certs.ca_file).read_bytes())
    made = []
    original = ssl.SSLContext.__new__

    def counted(cls: type, *args: Any, **kw: Any) -> Any:
        made.append(cls)
        return original(cls, *args, **kw)

    with CountingServer(tls=certs.server_context()) as server:
        monkeypatch.setattr(ssl.SSLContext, "__new__", counted)
        with HTTPSConnectionPool(
            "localhost", server.port, ca_certs=str(ca_certs), maxsize=20, timeout=10
        ) as pool:
            together = threading.Barrier(20)

            def work() -> None:
                together.wait(10)
                pool.request("GET", "/", preload_content=False).close()

            threads = [threading.Thread(target=work) for _ in range(20)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert pool.num_connections == 20
    assert len(made) == 1


def test_versions_can_be_limited(server: DummyServer, ca_file: str, certs: Certificates) -> None:
    with trusting(ca_certs=ca_file, ssl_maximum_version=ssl.TLSVersion.TLSv1_2) as manager:
        response = manager.request("GET", server.https_url, preload_content=False)
        assert response._connection.sock.version() == "TLSv1.2"
        response.drain_conn()
    modern = certs.server_context()
    modern.minimum_version = ssl.TLSVersion.TLSv1_3
    with (
        CountingServer(tls=modern) as only_new,
        trusting(ca_certs=ca_file, ssl_maximum_version=ssl.TLSVersion.TLSv1_2) as manager,
        pytest.raises(SSLError),
    ):
        manager.request("GET", f"https://localhost:{only_new.port}/")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the ssl module, for old versions
def test_ssl_version_is_deprecated_and_works(server: DummyServer, ca_file: str) -> None:
    with (
        trusting(ca_certs=ca_file, ssl_version="TLSv1_2") as manager,
        pytest.warns(FutureWarning, match="ssl_version is deprecated") as caught,
    ):
        assert manager.request("GET", server.https_url).status == 200
    assert caught[0].filename == __file__


def test_a_context_of_ours_can_be_made_by_hand(server: DummyServer, ca_file: str) -> None:
    context = create_urllib4_context()
    context.load_verify_locations(ca_file)
    with trusting(ssl_context=context) as manager:
        assert manager.request("GET", server.https_url).status == 200


# -- the clock --------------------------------------------------------------------------------


def test_a_clock_that_is_far_behind_is_warned_about(
    manager: PoolManager, server: DummyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Certificates are not yet valid then, and the error alone would not tell why."""

    class Date(datetime.date):
        @classmethod
        def today(cls) -> Date:
            return cls(1970, 1, 1)

    monkeypatch.setattr("urllib4.connection.datetime.date", Date)
    with pytest.warns(SystemTimeWarning, match="System time is way off") as caught:
        assert manager.request("GET", server.https_url).status == 200
    assert len(caught) == 1


# -- https over what is not TLS ---------------------------------------------------------------


def test_http_on_the_port_is_an_ssl_error(manager: PoolManager, script: ScriptedServer) -> None:
    script.accept().read_exactly(5).send(b"HTTP/1.1 400 Bad Request\r\n\r\n").run(_read_all)
    with pytest.raises(SSLError):
        manager.request("GET", script.url.replace("http://", "https://"))


def _read_all(sock: Any) -> None:
    with suppress(OSError):
        while sock.recv(65536):
            pass


def test_redirects_lead_from_http_to_https_and_back(
    manager: PoolManager, server: DummyServer
) -> None:
    url = f"{server.http_url}/redirect?target={server.https_url}/echo"
    assert manager.request("GET", url, retries=3).status == 200
    url = f"{server.https_url}/redirect?target={server.http_url}/echo"
    assert manager.request("GET", url, retries=3).status == 200


@pytest.mark.parametrize("notify", [True, False])
def test_a_body_until_the_end_of_the_connection_needs_a_close_notify(
    certs: Certificates, ca_file: str, tls_script: ScriptedServer, notify: bool
) -> None:
    """Without it anybody on the way could have cut the body (RFC 9112, 9.8)."""
    tls_script.accept().expect(b"GET").send(b"HTTP/1.1 200 OK\r\n\r\nbody").close(notify=notify)
    with trusting(ca_certs=ca_file) as manager:
        if notify:
            assert manager.request("GET", tls_script.url).data == b"body"
        else:
            with pytest.raises(Exception) as caught:
                manager.request("GET", tls_script.url)
            assert type(caught.value).__module__ == "urllib4.exceptions"
