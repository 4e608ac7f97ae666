"""HTTPS through pyOpenSSL: what must hold with ``ssl`` must hold with it too."""

from __future__ import annotations

import hashlib
import io
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dummyserver.certs import CLIENT_PASSWORD, Certificates
from dummyserver.proxy import Proxy
from dummyserver.script import ScriptedServer
from dummyserver.server import DummyServer
from urllib4 import CancelToken, HTTPSConnectionPool, PoolManager, ProxyManager, Timeout
from urllib4.contrib import pyopenssl
from urllib4.contrib.pyopenssl import PyOpenSSLContext, WrappedSocket
from urllib4.exceptions import (
    DeadlineExceededError,
    InsecureRequestWarning,
    ProtocolError,
    ProxySchemeUnsupported,
    ReadTimeoutError,
    RequestCancelledError,
    SSLError,
)
from urllib4.util.ssl_match_hostname import CertificateError

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

#: Long enough that a healthy exchange on a busy machine is not cut off, seconds.
SHORT = 0.15


@pytest.fixture(autouse=True)
def injected() -> Iterator[None]:
    pyopenssl.inject_into_urllib4()
    yield
    pyopenssl.extract_from_urllib4()


@pytest.fixture
def http(ca_file: str) -> Iterator[PoolManager]:
    with PoolManager(ca_certs=ca_file, retries=False, timeout=20) as manager:
        yield manager


@pytest.fixture
def pool(tls_script: ScriptedServer, ca_file: str) -> Iterator[HTTPSConnectionPool]:
    with HTTPSConnectionPool(
        tls_script.host, tls_script.port, ca_certs=ca_file, retries=False, timeout=20
    ) as one:
        yield one


def idle_connection(manager: PoolManager, url: str) -> Any:
    (conn,) = [one for one in manager.connection_from_url(url).pool.queue if one]
    return conn


# -- verification ----------------------------------------------------------------------------------


def test_a_good_certificate_is_accepted_and_the_connection_kept(
    server: DummyServer, http: PoolManager
) -> None:
    for _ in range(3):
        assert http.request("GET", f"{server.https_url}/").status == 200
    assert http.connection_from_url(server.https_url).num_connections == 1
    conn = idle_connection(http, server.https_url)
    assert type(conn.sock) is WrappedSocket
    assert conn.is_verified
    assert conn.sock.version() == "TLSv1.3"
    assert conn.sock.cipher()[1] == "TLSv1.3"
    names = conn.sock.getpeercert()["subjectAltName"]
    assert ("DNS", "localhost") in names
    assert conn.sock.getpeername()[1] == server.https_port


def test_an_address_is_verified_as_an_address(server: DummyServer, http: PoolManager) -> None:
    assert http.request("GET", f"https://127.0.0.1:{server.https_port}/").status == 200


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("wrong_host_url", "hostname 'localhost' doesn't match 'other.example'"),
        ("expired_url", "certificate verify failed: certificate has expired"),
        ("untrusted_url", "certificate verify failed: unable to get local issuer certificate"),
        ("no_san_url", "no appropriate subjectAltName fields were found"),
    ],
)
def test_a_bad_certificate_is_refused(
    server: DummyServer, http: PoolManager, kind: str, text: str
) -> None:
    with pytest.raises(SSLError, match=text):
        http.request("GET", getattr(server, kind))


def test_the_error_of_a_failed_verification_is_that_of_the_standard_library(
    server: DummyServer, http: PoolManager
) -> None:
    with pytest.raises(SSLError) as caught:
        http.request("GET", server.expired_url)
    error = caught.value.args[0]
    assert isinstance(error, ssl.SSLCertVerificationError)
    assert (error.verify_code, error.verify_message) == (10, "certificate has expired")
    assert error.reason == "CERTIFICATE_VERIFY_FAILED"


def test_without_verification_there_is_a_warning(server: DummyServer) -> None:
    with (
        PoolManager(cert_reqs="CERT_NONE", retries=False) as manager,
        pytest.warns(InsecureRequestWarning),
    ):
        assert manager.request("GET", server.untrusted_url).status == 200


def test_without_cas_the_default_ones_do_not_trust_our_server(server: DummyServer) -> None:
    with PoolManager(retries=False) as manager, pytest.raises(SSLError, match="verify failed"):
        manager.request("GET", server.https_url)


def test_a_ca_file_of_the_environment_is_trusted(
    server: DummyServer, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", ca_file)
    with PoolManager(retries=False) as manager:
        assert manager.request("GET", server.https_url).status == 200


def test_cas_from_memory_and_from_a_directory(server: DummyServer, certs: Certificates) -> None:
    pem = Path(certs.ca_file).read_text()
    for options in (
        {"ca_cert_data": pem},
        {"ca_cert_data": ssl.PEM_cert_to_DER_cert(pem)},
        {"ca_cert_dir": certs.ca_dir},
    ):
        with PoolManager(retries=False, **options) as manager:
            assert manager.request("GET", server.https_url).status == 200


def fingerprint_of(path: str) -> str:
    pem = Path(path).read_text().partition("-----END")[0] + "-----END CERTIFICATE-----\n"
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


def test_a_fingerprint_pins_the_certificate(server: DummyServer, certs: Certificates) -> None:
    right, wrong = fingerprint_of(certs.untrusted.cert), fingerprint_of(certs.server.cert)
    options: dict[str, Any] = {"cert_reqs": "CERT_NONE", "retries": False}
    with PoolManager(assert_fingerprint=right, **options) as manager:
        assert manager.request("GET", server.untrusted_url).status == 200
    with (
        PoolManager(assert_fingerprint=wrong, **options) as manager,
        pytest.raises(SSLError, match="Fingerprints did not match"),
    ):
        manager.request("GET", server.untrusted_url)


def test_another_name_can_be_asserted(server: DummyServer, ca_file: str) -> None:
    with PoolManager(ca_certs=ca_file, retries=False, assert_hostname="other.example") as manager:
        assert manager.request("GET", server.wrong_host_url).status == 200
        with pytest.raises(SSLError, match="doesn't match"):
            manager.request("GET", server.https_url)


# -- client certificates ---------------------------------------------------------------------------


def test_a_client_certificate_is_shown(server: DummyServer, certs: Certificates) -> None:
    key = Path(certs.client.key).read_text()
    encrypted = certs.client_encrypted
    for options in (
        {"cert_file": certs.client.cert, "key_file": certs.client.key},
        {"cert_file": certs.client.combined},
        {"cert_data": Path(certs.client.cert).read_text(), "key_data": key},
        {"cert_file": encrypted.cert, "key_file": encrypted.key, "key_password": CLIENT_PASSWORD},
    ):
        with PoolManager(ca_certs=certs.ca_file, retries=False, **options) as manager:
            assert manager.request("GET", server.client_cert_url).status == 200


def test_a_server_that_wants_a_certificate_refuses_us_without(
    server: DummyServer, http: PoolManager
) -> None:
    with pytest.raises((SSLError, ProtocolError)):
        http.request("GET", server.client_cert_url)


@pytest.mark.parametrize("password", [None, "wrong-secret"])
def test_a_key_that_cannot_be_opened(
    server: DummyServer, certs: Certificates, password: str | None
) -> None:
    with (
        PoolManager(
            ca_certs=certs.ca_file,
            retries=False,
            cert_file=certs.client_encrypted.cert,
            key_file=certs.client_encrypted.key,
            key_password=password,
        ) as manager,
        pytest.raises(SSLError, match="password") as caught,
    ):
        manager.request("GET", server.client_cert_url)
    assert "wrong-secret" not in str(caught.value)


# -- bodies ----------------------------------------------------------------------------------------


def test_large_bodies_pass_both_ways(server: DummyServer, http: PoolManager) -> None:
    body = bytes(range(256)) * 40_000
    response = http.request("POST", f"{server.https_url}/echo_raw", body=body)
    assert response.data == body
    assert len(http.request("GET", f"{server.https_url}/large").data) > 100_000


def test_a_body_in_pieces_passes(server: DummyServer, http: PoolManager) -> None:
    pieces = (bytes([number]) * 50_000 for number in range(40))
    response = http.request("POST", f"{server.https_url}/echo_raw", body=pieces)
    assert response.data == b"".join(bytes([number]) * 50_000 for number in range(40))


def test_a_body_is_streamed(server: DummyServer, http: PoolManager) -> None:
    response = http.request(
        "GET", f"{server.https_url}/chunked?count=3&size=5", preload_content=False
    )
    assert list(response.stream()) == [b"12345"] * 3


# -- time ------------------------------------------------------------------------------------------


def test_waiting_for_the_answer_is_bounded(
    tls_script: ScriptedServer, pool: HTTPSConnectionPool
) -> None:
    tls_script.accept().expect(b"GET / ").expect_eof()
    with pytest.raises(ReadTimeoutError, match=rf"Read timed out. \(read timeout={SHORT}\)"):
        pool.request("GET", "/", timeout=Timeout(connect=20, read=SHORT))


def test_sending_is_bounded(tls_script: ScriptedServer, pool: HTTPSConnectionPool) -> None:
    over = threading.Event()
    tls_script.accept().read_until(b"\r\n\r\n").pause_until(over)
    with pytest.raises((ReadTimeoutError, ProtocolError)):
        pool.request("POST", "/", body=b"x" * 40_000_000, timeout=Timeout(connect=20, read=SHORT))
    over.set()


def test_the_handshake_is_bounded_as_a_whole(ca_file: str, script: ScriptedServer) -> None:
    """A server that drips bytes of a handshake must not hold us for ever."""
    over = threading.Event()

    def drip(sock: Any) -> None:
        record = b"\x16\x03\x03\x40\x00" + b"\x02" * 16000
        try:
            for i in range(len(record)):
                sock.sendall(record[i : i + 1])
                if over.wait(0.01):
                    return
        except OSError:
            pass

    script.accept().run(drip)
    with (
        HTTPSConnectionPool(
            script.host, script.port, ca_certs=ca_file, retries=False, timeout=SHORT
        ) as pool,
        pytest.raises(ReadTimeoutError, match="timed out"),
    ):
        pool.request("GET", "/")
    over.set()


def test_the_deadline_bounds_a_streamed_body(
    tls_script: ScriptedServer, pool: HTTPSConnectionPool
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"
    tls_script.accept().expect(b"GET / ").send(head).expect_eof()
    response = pool.request("GET", "/", preload_content=False, timeout=Timeout(deadline=2 * SHORT))
    with pytest.raises(DeadlineExceededError):
        response.read()


@pytest.mark.parametrize("stage", ["handshake", "answer"])
def test_a_cancel_token_ends_every_wait(
    script: ScriptedServer, ca_file: str, certs: Certificates, stage: str
) -> None:
    waiting = threading.Event()
    line = script.accept()
    if stage == "answer":
        line.start_tls(certs.server_context()).expect(b"GET / ")
    line.notify(waiting).run(read_to_the_end)
    token = CancelToken()
    canceller = threading.Thread(target=lambda: waiting.wait(10) and token.cancel())
    canceller.start()
    try:
        with (
            HTTPSConnectionPool(script.host, script.port, ca_certs=ca_file, timeout=30) as pool,
            pytest.raises(RequestCancelledError),
        ):
            pool.request("GET", "/", cancel=token)
    finally:
        waiting.set()
        canceller.join(10)


def read_to_the_end(sock: Any) -> None:
    try:
        while sock.recv(65536):
            pass
    except OSError:
        pass


# -- ends ------------------------------------------------------------------------------------------


def test_a_body_until_the_close_ends_with_close_notify(
    tls_script: ScriptedServer, pool: HTTPSConnectionPool
) -> None:
    tls_script.accept().expect(b"GET / ").send(b"HTTP/1.1 200 OK\r\n\r\nall of it").close()
    assert pool.request("GET", "/").data == b"all of it"


def test_a_body_until_the_close_that_was_cut_is_an_error(
    tls_script: ScriptedServer, pool: HTTPSConnectionPool
) -> None:
    """RFC 9112, 9.8: without close_notify anybody on the way may have cut it."""
    answer = b"HTTP/1.1 200 OK\r\n\r\nhalf of"
    tls_script.accept().expect(b"GET / ").send(answer).close(notify=False)
    with pytest.raises(ProtocolError):
        pool.request("GET", "/")


def test_a_reset_is_an_aborted_connection(
    tls_script: ScriptedServer, pool: HTTPSConnectionPool
) -> None:
    tls_script.accept().expect(b"GET / ").reset()
    with pytest.raises(ProtocolError, match="Connection aborted"):
        pool.request("GET", "/")


def test_a_server_that_speaks_plain_http(script: ScriptedServer, ca_file: str) -> None:
    script.accept().run(lambda sock: sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    with (
        HTTPSConnectionPool(script.host, script.port, ca_certs=ca_file, retries=False) as pool,
        pytest.raises(SSLError, match=r"(?i)wrong version number|record layer"),
    ):
        pool.request("GET", "/")


def test_a_connection_that_was_closed_while_idle_is_replaced(
    tls_script: ScriptedServer, pool: HTTPSConnectionPool
) -> None:
    closed = threading.Event()
    tls_script.accept().expect(b"GET /one ").send(OK).close().notify(closed)
    tls_script.accept().expect(b"GET /two ").send(OK)
    assert pool.request("GET", "/one").data == b"ok"
    assert closed.wait(10)
    assert pool.request("GET", "/two").data == b"ok"


# -- proxies and contexts --------------------------------------------------------------------------


def test_through_a_tunnel(server: DummyServer, ca_file: str) -> None:
    with Proxy() as proxy, ProxyManager(proxy.url, ca_certs=ca_file) as manager:
        assert manager.request("GET", f"{server.https_url}/").status == 200


def test_tls_in_tls_is_refused_in_words(ca_file: str, tls_script: ScriptedServer) -> None:
    """It would write to the socket past the outer TLS."""
    tls_script.accept().read_until(b"\r\n\r\n").send(b"HTTP/1.1 200 OK\r\n\r\n")
    with (
        ProxyManager(
            f"https://localhost:{tls_script.port}", ca_certs=ca_file, retries=False
        ) as manager,
        pytest.raises(ProxySchemeUnsupported),
    ):
        manager.request("GET", "https://127.0.0.1/")


def test_a_context_of_the_caller_works_without_injection(server: DummyServer, ca_file: str) -> None:
    pyopenssl.extract_from_urllib4()
    context = PyOpenSSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca_file)
    context.verify_mode = ssl.CERT_REQUIRED
    with PoolManager(ssl_context=context, retries=False) as manager:
        assert manager.request("GET", server.https_url).status == 200
        assert type(idle_connection(manager, server.https_url).sock) is WrappedSocket
        with pytest.raises(SSLError, match="doesn't match"):
            manager.request("GET", server.wrong_host_url)


def test_a_native_context_works_while_injected(server: DummyServer, certs: Certificates) -> None:
    with PoolManager(ssl_context=certs.client_context(), retries=False) as manager:
        assert manager.request("GET", server.https_url).status == 200
        assert isinstance(idle_connection(manager, server.https_url).sock, ssl.SSLSocket)


# -- the wrapped socket itself ---------------------------------------------------------------------


@pytest.fixture
def context(ca_file: str) -> PyOpenSSLContext:
    context = PyOpenSSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca_file)
    context.check_hostname = True
    context.set_alpn_protocols(["http/1.1"])
    return context


def wrap(context: PyOpenSSLContext, port: int, name: str = "localhost", **options: Any) -> Any:
    return context.wrap_socket(
        socket.create_connection(("127.0.0.1", port), 10), server_hostname=name, **options
    )


def test_a_context_that_checks_names_checks_them(
    server: DummyServer, context: PyOpenSSLContext
) -> None:
    port = int(server.wrong_host_url.rpartition(":")[2])
    with (
        socket.create_connection(("127.0.0.1", port), 10) as sock,
        pytest.raises(CertificateError, match=r"doesn't match 'other\.example'"),
    ):
        context.wrap_socket(sock, server_hostname="localhost")
    with (
        socket.create_connection(("127.0.0.1", port), 10) as sock,
        pytest.raises(ValueError, match="check_hostname requires server_hostname"),
    ):
        context.wrap_socket(sock)
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        context.wrap_socket(sock, server_hostname=b"other.example").close()


def test_alpn_is_told(certs: Certificates, script: ScriptedServer, ca_file: str) -> None:
    server_context = certs.server_context()
    server_context.set_alpn_protocols(["http/1.1"])
    script.accept().start_tls(server_context)
    made = PyOpenSSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.set_alpn_protocols(["h2", "http/1.1"])
    with wrap(made, script.port) as sock:
        assert sock.selected_alpn_protocol() == "http/1.1"


def test_bytes_that_are_decrypted_already_are_pending(
    tls_script: ScriptedServer, context: PyOpenSSLContext
) -> None:
    tls_script.accept().send(b"hello")
    with wrap(context, tls_script.port) as sock:
        assert sock.recv(2) == b"he"
        assert sock.pending() == 3
        buffer = bytearray(8)
        assert sock.recv_into(buffer, 2) == 2
        assert sock.recv_into(memoryview(buffer)[2:]) == 1
        assert bytes(buffer[:3]) == b"llo"
        assert sock.pending() == 0


def test_a_file_keeps_the_socket_open(
    tls_script: ScriptedServer, context: PyOpenSSLContext
) -> None:
    """http.client closes the socket while the response still reads from its file."""
    tls_script.accept().send(b"one\ntwo\n").close()
    sock = wrap(context, tls_script.port)
    file = sock.makefile("rb")
    assert isinstance(file, io.BufferedReader)
    sock.close()
    assert file.readlines() == [b"one\n", b"two\n"]
    assert sock.fileno() >= 0
    file.close()
    assert sock.fileno() == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        sock.recv(1)


def test_a_file_can_be_written(tls_script: ScriptedServer, context: PyOpenSSLContext) -> None:
    tls_script.accept().read_exactly(5).send(b"ok").close()
    with wrap(context, tls_script.port) as sock, sock.makefile("rwb", buffering=4096) as file:
        file.write(b"hello")
        file.flush()
        assert file.read() == b"ok"


@pytest.mark.parametrize("suppress", [True, False])
def test_a_cut_is_an_end_or_an_error_again_and_again(
    tls_script: ScriptedServer, context: PyOpenSSLContext, suppress: bool
) -> None:
    """OpenSSL tells it once, and fails without a reason afterwards."""
    tls_script.accept().send(b"x").close(notify=False)
    with wrap(context, tls_script.port, suppress_ragged_eofs=suppress) as sock:
        assert sock.recv(1) == b"x"
        for _ in range(3):
            if suppress:
                assert sock.recv(1) == b""
                assert sock.recv_into(bytearray(1)) == 0
            else:
                with pytest.raises(ssl.SSLEOFError):
                    sock.recv(1)


def test_a_reset_is_told_again_and_again(
    tls_script: ScriptedServer, context: PyOpenSSLContext
) -> None:
    gone = threading.Event()
    tls_script.accept().reset().notify(gone)
    with wrap(context, tls_script.port) as sock:
        assert gone.wait(10)
        for _ in range(3):
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
        with pytest.raises(ConnectionResetError):
            sock.send(b"x")


def send_without_end(sock: Any) -> None:
    while True:
        sock.send(b"x" * 100_000)


def test_a_socket_that_does_not_wait(tls_script: ScriptedServer, context: PyOpenSSLContext) -> None:
    done = threading.Event()
    tls_script.accept().pause_until(done)
    with wrap(context, tls_script.port) as sock:
        sock.settimeout(0)
        assert sock.gettimeout() == 0
        with pytest.raises(ssl.SSLWantReadError):
            sock.recv(1)
        with pytest.raises(ssl.SSLWantWriteError):
            send_without_end(sock)
        sock.settimeout(SHORT)
        with pytest.raises(TimeoutError, match="The read operation timed out"):
            sock.recv(1)
        with pytest.raises(TimeoutError, match="The write operation timed out"):
            sock.sendall(b"x" * 10_000_000)
        sock.shutdown(socket.SHUT_RDWR)
    done.set()


def test_a_server_side_is_possible(certs: Certificates) -> None:
    made = PyOpenSSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certs.server.combined)
    near, far = socket.socketpair()
    got = []

    def serve() -> None:
        with made.wrap_socket(far, server_side=True) as end:
            got.append(end.recv(10))
            got.append(end.getpeercert())
            end.sendall(b"hello")

    thread = threading.Thread(target=serve)
    thread.start()
    with certs.client_context().wrap_socket(near, server_hostname="localhost") as client:
        client.sendall(b"hi")
        assert client.recv(10) == b"hello"
    thread.join()
    assert got == [b"hi", None]
