"""The web application of the tests, asked by the standard library's client."""

from __future__ import annotations

import gzip
import http.client
import json
import signal
import ssl
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import brotli
import pytest

from dummyserver.app import large_body
from dummyserver.certs import CLIENT_PASSWORD, Certificates
from dummyserver.server import DummyServer

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


REPOSITORY = Path(__file__).parents[2]


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    connection: http.client.HTTPConnection,
    target: str,
    method: str = "GET",
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    connection.request(method, target, body, headers or {})
    response = connection.getresponse()
    return Answer(response.status, response.headers, response.read())


def once(server: DummyServer, target: str, *args: Any) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=10)
    try:
        return ask(connection, target, *args)
    finally:
        connection.close()


def once_tls(url: str, context: ssl.SSLContext) -> Answer:
    host, port = urlsplit(url).hostname, urlsplit(url).port
    assert host is not None
    connection = http.client.HTTPSConnection(host, port, timeout=10, context=context)
    try:
        return ask(connection, "/")
    finally:
        connection.close()


def test_echo_tells_all_about_a_request(server: DummyServer) -> None:
    answer = once(server, "/echo?a=1&a=2", "PUT", b"\x00\xff", {"X-Twice": "yes"})

    told = answer.json()
    assert (told["method"], told["target"], told["version"]) == (
        "PUT",
        "/echo?a=1&a=2",
        "HTTP/1.1",
    )
    assert ["X-Twice", "yes"] in told["headers"]
    assert told["args"] == {"a": ["1", "2"]}
    assert told["body"].encode("latin-1") == b"\x00\xff"
    assert told["peer"][0] == "127.0.0.1"


def test_echo_raw_returns_the_body(server: DummyServer) -> None:
    answer = once(server, "/echo_raw", "POST", b"\x00\xff", {"Content-Type": "a/b"})
    assert (answer.body, answer.headers["Content-Type"]) == (b"\x00\xff", "a/b")


def test_headers_are_told(server: DummyServer) -> None:
    assert ["X-One", "1"] in once(server, "/headers", "GET", None, {"X-One": "1"}).json()["headers"]


def test_headers_of_the_answer_can_be_chosen(server: DummyServer) -> None:
    answer = once(server, "/response_headers?X-A=1&X-A=2&Content-Type=x/y")
    assert answer.headers.get_all("X-A") == ["1", "2"]
    assert answer.headers.get_all("Content-Type") == ["x/y"]


@pytest.mark.parametrize(("method", "status"), [("PUT", 200), ("GET", 400)])
def test_a_method_can_be_demanded(server: DummyServer, method: str, status: int) -> None:
    assert once(server, "/specific_method?method=PUT", method).status == status


@pytest.mark.parametrize("method", ["PROPFIND", "QUERY", "OPTIONS", "TRACE"])
def test_unusual_methods_are_answered(server: DummyServer, method: str) -> None:
    assert once(server, "/echo", method).json()["method"] == method


def test_head_has_the_length_and_no_body(server: DummyServer) -> None:
    answer = once(server, "/large?size=1000", "HEAD")
    assert (answer.status, answer.headers["Content-Length"], answer.body) == (200, "1000", b"")


@pytest.mark.parametrize("target", ["/echo?x=1", "echo", "http://other.example/", "/%20"])
def test_redirects_have_any_status_and_location(server: DummyServer, target: str) -> None:
    quoted = target.replace("%", "%25").replace("?", "%3F").replace("=", "%3D")
    answer = once(server, f"/redirect?target={quoted}&status=307")
    assert (answer.status, answer.headers["Location"]) == (307, target)


def test_a_chain_of_redirects_ends_at_its_target(server: DummyServer) -> None:
    location: str | None = "/redirect?count=3&target=/echo%3Fa%3D%2526&status=302"
    seen: list[int] = []
    while location is not None and len(seen) < 10:
        answer = once(server, location)
        seen.append(answer.status)
        location = answer.headers["Location"]
    assert seen == [302, 302, 302, 200]
    assert answer.json()["args"] == {"a": ["&"]}


def test_a_chain_can_have_different_statuses(server: DummyServer) -> None:
    first = once(server, "/multi_redirect?codes=301,308,201")
    second = once(server, first.headers["Location"])
    third = once(server, second.headers["Location"])
    assert [first.status, second.status, third.status] == [301, 308, 201]
    assert third.headers["Location"] is None


@pytest.mark.parametrize("status", [200, 204, 304, 404, 503, 599])
def test_any_status_can_be_had(server: DummyServer, status: int) -> None:
    assert once(server, f"/status?status={status}").status == status


def test_retry_after_can_be_had(server: DummyServer) -> None:
    answer = once(server, "/status?status=429&retry_after=7")
    assert (answer.status, answer.headers["Retry-After"]) == (429, "7")


def test_failures_are_counted_per_key(server: DummyServer) -> None:
    target = "/successful_retry?key=test_failures&fail=2&status=500&retry_after=0"
    answers = [once(server, target) for _ in range(3)]
    other = once(server, "/successful_retry?key=test_failures_other&fail=0")

    assert [answer.status for answer in answers] == [500, 500, 200]
    assert answers[0].headers["Retry-After"] == "0"
    assert answers[2].json() == {"attempts": 3}
    assert other.status == 200


@pytest.mark.parametrize(
    ("coding", "label", "decode"),
    [
        ("identity", "identity", bytes),
        ("gzip", "gzip", gzip.decompress),
        ("deflate", "deflate", zlib.decompress),
        ("raw_deflate", "deflate", lambda data: zlib.decompress(data, -15)),
        ("br", "br", brotli.decompress),
        ("zstd", "zstd", zstd.decompress),
        ("deflate,gzip", "deflate, gzip", lambda d: zlib.decompress(gzip.decompress(d))),
    ],
)
def test_bodies_come_in_content_codings(
    server: DummyServer, coding: str, label: str, decode: Callable[[bytes], bytes]
) -> None:
    answer = once(server, f"/encoded?coding={coding}")
    large = once(server, f"/encoded?coding={coding}&size=100000")

    assert answer.headers["Content-Encoding"] == label
    assert decode(answer.body) == b"hello, world!"
    assert decode(large.body) == large_body(100_000)


def test_chunks_have_no_length(server: DummyServer) -> None:
    answer = once(server, "/chunked?count=5&size=2")
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert answer.headers["Content-Length"] is None
    assert answer.body == b"12" * 5


def test_chunks_can_be_compressed(server: DummyServer) -> None:
    answer = once(server, "/chunked?coding=gzip")
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert gzip.decompress(answer.body) == b"123" * 4


def test_cookies_are_set_and_read(server: DummyServer) -> None:
    answer = once(server, "/set_cookie?a=1&b=2")
    assert answer.headers.get_all("Set-Cookie") == ["a=1; Path=/", "b=2; Path=/"]
    told = once(server, "/cookies", "GET", None, {"Cookie": "a=1; b=2"})
    assert told.json() == {"a": "1", "b": "2"}


def test_uploads_are_understood(server: DummyServer) -> None:
    body = (
        b'--x\r\nContent-Disposition: form-data; name="field"\r\n\r\nvalue\r\n'
        b'--x\r\nContent-Disposition: form-data; name="doc"; filename="a.txt"\r\n'
        b"Content-Type: text/plain\r\n\r\n\xff\r\n--x--\r\n"
    )
    told = once(
        server, "/upload", "POST", body, {"Content-Type": "multipart/form-data; boundary=x"}
    ).json()

    assert told["fields"] == {"field": ["value"]}
    assert told["length"] == len(body)
    assert told["files"] == [
        {
            "name": "doc",
            "filename": "a.txt",
            "content_type": "text/plain",
            "size": 1,
            "content": "\xff",
        }
    ]


def test_slow_answers_come(server: DummyServer) -> None:
    assert once(server, "/slow?seconds=0").body == b"at last"


@pytest.mark.parametrize("size", [0, 1, 65536, 200_001])
def test_large_bodies_have_their_length(server: DummyServer, size: int) -> None:
    answer = once(server, f"/large?size={size}")
    assert answer.headers["Content-Length"] == str(size)
    assert answer.body == large_body(size)


def test_a_connection_is_kept_until_closing_is_asked_for(server: DummyServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=10)
    try:
        peers = [ask(connection, "/keepalive").json()["peer"] for _ in range(2)]
        closing = ask(connection, "/keepalive?close=1")
        assert closing.headers["Connection"] == "close"
        peers.append(closing.json()["peer"])
        peers.append(ask(connection, "/keepalive").json()["peer"])
    finally:
        connection.close()
    assert peers[0] == peers[1] == peers[2] != peers[3]
    assert once(server, "/close").headers["Connection"] == "close"


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/nowhere", 404),
        ("/slow?seconds=11", 400),
        ("/slow?seconds=nan", 400),
        ("/large?size=-1", 400),
        ("/large?size=x", 400),
        ("/status?status=100", 400),
        ("/status?status=600", 400),
        ("/encoded?coding=rot13", 400),
        ("/multi_redirect?codes=x", 400),
        ("/specific_method", 400),
    ],
)
def test_a_wrong_question_is_answered_with_an_error(
    server: DummyServer, target: str, status: int
) -> None:
    assert once(server, target).status == status


# -- TLS ------------------------------------------------------------------------------------------


def test_https_has_a_good_certificate(server: DummyServer) -> None:
    context = ssl.create_default_context(cafile=server.ca_file)
    assert once_tls(server.https_url, context).body == b"Dummy server!"
    assert once_tls(server.https_url.replace("localhost", "127.0.0.1"), context).status == 200


def test_a_directory_of_authorities_works_too(server: DummyServer, certs: Certificates) -> None:
    context = ssl.create_default_context(capath=certs.ca_dir)
    assert once_tls(server.https_url, context).status == 200


def test_ipv6_is_served(server: DummyServer, certs: Certificates) -> None:
    if not server.http_ipv6_url:
        pytest.skip("this machine has no IPv6")
    assert once_tls(server.https_ipv6_url, certs.client_context()).status == 200
    connection = http.client.HTTPConnection("::1", urlsplit(server.http_ipv6_url).port, timeout=10)
    try:
        assert ask(connection, "/echo").json()["peer"][0] == "::1"
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("attribute", "reason"),
    [
        ("expired_url", "expired"),
        ("wrong_host_url", "mismatch"),
        ("no_san_url", "mismatch"),
        ("untrusted_url", "unable to get local issuer|self.signed"),
    ],
)
def test_bad_certificates_are_bad_for_one_reason(
    server: DummyServer, attribute: str, reason: str
) -> None:
    context = ssl.create_default_context(cafile=server.ca_file)
    context.hostname_checks_common_name = False  # RFC 9525, 2: only subjectAltName counts
    with pytest.raises(ssl.SSLCertVerificationError, match=reason):
        once_tls(getattr(server, attribute), context)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    assert once_tls(getattr(server, attribute), context).status == 200


def test_a_client_certificate_can_be_demanded(server: DummyServer, certs: Certificates) -> None:
    context = certs.client_context()
    with pytest.raises((ssl.SSLError, ConnectionError)):
        once_tls(server.client_cert_url, context)

    context.load_cert_chain(certs.client.combined)
    assert once_tls(server.client_cert_url, context).status == 200


def test_the_encrypted_key_needs_its_password(certs: Certificates) -> None:
    context = certs.client_context()
    with pytest.raises(ssl.SSLError):
        context.load_cert_chain(*certs.client_encrypted[:2], password="wrong")
    context.load_cert_chain(*certs.client_encrypted[:2], password=CLIENT_PASSWORD)


# -- start and stop -------------------------------------------------------------------------------


def test_stopping_closes_what_clients_left_open(certs: Certificates) -> None:
    """An idle connection, one in the midst of an answer, one before its handshake."""
    with DummyServer(certs) as server:
        idle = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=10)
        ask(idle, "/")
        busy = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=10)
        busy.request("GET", "/slow?seconds=10")
        silent = http.client.HTTPConnection("127.0.0.1", server.https_port, timeout=10)
        silent.connect()
        assert idle.sock is not None
    assert idle.sock.recv(1) == b""
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        busy.getresponse()
    for connection in (idle, busy, silent):
        connection.close()


def test_a_server_can_be_started_again() -> None:
    server = DummyServer()
    server.stop()
    for _ in range(2):
        with server:
            assert once(server, "/").status == 200
            with pytest.raises(RuntimeError, match="runs already"):
                server.start()
        with pytest.raises(RuntimeError, match="not running"):
            assert server.ca_file


def test_it_can_be_run_by_hand() -> None:
    """``python -m dummyserver`` tells where it listens and ends well on Ctrl-C."""
    command = [sys.executable, "-W", "error", "-m", "dummyserver"]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        told = {}
        while not (line := process.stdout.readline()).startswith("Ctrl-C"):
            assert line, process.communicate()
            name, _, value = line.rpartition(" ")
            told[name.strip()] = value.strip()
        context = ssl.create_default_context(cafile=told["CA file"])
        status = once_tls(told["https"], context).status
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert (status, process.returncode, output, errors) == (200, 0, "", "")
    assert not Path(told["CA file"]).exists()


def test_its_own_certificates_are_removed() -> None:
    with DummyServer() as server:
        directory = server.certificates.directory
        assert directory.exists()
    assert not directory.exists()
