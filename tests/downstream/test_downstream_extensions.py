"""Extensions of requests that reach below it work on urllib4.

Every function runs in an interpreter of its own in which urllib3 is urllib4 (see conftest.py).
"""

from __future__ import annotations

import io
import ssl
from email.utils import formatdate
from typing import Any

import pytest

from dummyserver.certs import Certificates
from dummyserver.script import ScriptedServer


@pytest.mark.needs("requests_toolbelt")
def test_toolbelt_streams_a_multipart_upload(http: str) -> None:
    """Its encoder is a file of known length, built from fields of ours, read while it is sent."""
    import requests
    from requests_toolbelt import MultipartEncoder, MultipartEncoderMonitor

    progress: list[int] = []
    encoder = MultipartEncoder(
        fields={"field": "value", "file": ("big.bin", io.BytesIO(b"b" * 500_000), "x/y")}
    )
    monitor = MultipartEncoderMonitor(encoder, lambda state: progress.append(state.bytes_read))
    answer = requests.post(
        f"{http}/upload", data=monitor, headers={"Content-Type": monitor.content_type}, timeout=9
    ).json()

    assert answer["fields"] == {"field": ["value"]}
    assert [(file["filename"], file["size"]) for file in answer["files"]] == [("big.bin", 500_000)]
    assert progress == sorted(progress)
    assert len(progress) > 3
    assert progress[-1] == monitor.len == answer["length"]


@pytest.mark.needs("requests_toolbelt")
def test_toolbelt_adapters_set_options_of_pools(http: str, https: str, ca_file: str) -> None:
    import socket

    import requests
    from requests_toolbelt.adapters.fingerprint import FingerprintAdapter
    from requests_toolbelt.adapters.host_header_ssl import HostHeaderSSLAdapter
    from requests_toolbelt.adapters.socket_options import TCPKeepAliveAdapter
    from requests_toolbelt.adapters.source import SourceAddressAdapter

    with requests.Session() as session:
        session.mount("http://", TCPKeepAliveAdapter(idle=30))
        with session.get(f"{http}/large", stream=True, timeout=5) as response:
            sock = response.raw._connection.sock
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)

        session.mount("http://", SourceAddressAdapter("127.0.0.2"))
        assert session.get(f"{http}/echo", timeout=5).json()["peer"][0] == "127.0.0.2"

        der = ssl.PEM_cert_to_DER_cert(
            ssl.get_server_certificate(("localhost", int(https.rpartition(":")[2])))
        )
        import hashlib

        session.mount("https://", FingerprintAdapter(hashlib.sha256(der).hexdigest()))
        assert session.get(https, verify=ca_file, timeout=5).status_code == 200
        session.mount("https://", FingerprintAdapter("00" * 32))
        with pytest.raises(requests.exceptions.SSLError, match=r"[Ff]ingerprint"):
            session.get(https, verify=ca_file, timeout=5)

        session.mount("https://", HostHeaderSSLAdapter())
        by_address = https.replace("localhost", "127.0.0.1")
        headers = {"Host": "localhost"}
        assert session.get(by_address, headers=headers, verify=ca_file, timeout=5).ok
        with pytest.raises(requests.exceptions.SSLError):
            session.get(by_address, headers={"Host": "other.test"}, verify=ca_file, timeout=5)


@pytest.mark.needs("requests_toolbelt")
def test_toolbelt_dumps_an_exchange(http: str) -> None:
    """It reads the protocol's version from ``response.raw``."""
    import requests
    from requests_toolbelt.utils import dump

    response = requests.post(f"{http}/echo_raw", data="body", timeout=5)
    text = dump.dump_all(response)

    assert b"< POST /echo_raw HTTP/1.1\r\n" in text
    assert b"> HTTP/1.1 200 OK\r\n" in text
    assert text.endswith(b"\r\nbody")


@pytest.fixture
def cacheable(script: ScriptedServer) -> str:
    """Answers each target once, by a length, chunked and compressed; then confirms one."""
    date = formatdate(usegmt=True).encode()
    head = b"HTTP/1.1 200 OK\r\nDate: %b\r\nCache-Control: max-age=600\r\n" % date
    chunked = b"Transfer-Encoding: chunked\r\n\r\n6\r\nhello,\r\n6\r\n world\r\n0\r\n\r\n"
    exchange = script.accept()
    exchange.expect(b"GET /length ").send(head + b"Content-Length: 12\r\n\r\nhello, world")
    exchange.expect(b"GET /chunked ").send(head + chunked)
    exchange.expect(b"GET /streamed ").send(head + chunked)
    exchange.expect(b"GET /tag ").send(
        b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 12\r\n\r\nhello, world'
    )
    exchange.expect(lambda request: b'\r\nIf-None-Match: "1"\r\n' in request).send(
        b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n'
    )
    return script.url


@pytest.mark.needs("cachecontrol")
def test_cachecontrol_stores_whole_bodies_and_replays_them(cacheable: str) -> None:
    """It puts an object of its own into ``_fp`` and replaces ``_update_chunk_length``.

    A reader that passes these by would store truncated bodies without any error.
    """
    import requests
    from cachecontrol import CacheControl

    def content(response: Any) -> tuple[bytes, bool]:
        return response.content, response.from_cache

    with requests.Session() as plain, CacheControl(plain) as session:
        for target in ("/length", "/chunked"):
            for from_cache in (False, True, True):
                response = session.get(cacheable + target, timeout=5)
                assert content(response) == (b"hello, world", from_cache)
        with session.get(f"{cacheable}/streamed", stream=True, timeout=5) as response:
            assert b"".join(response.iter_content(5)) == b"hello, world"
        assert content(session.get(f"{cacheable}/streamed", timeout=5)) == (b"hello, world", True)
        assert content(session.get(f"{cacheable}/tag", timeout=5)) == (b"hello, world", False)
        assert content(session.get(f"{cacheable}/tag", timeout=5)) == (b"hello, world", True)


@pytest.mark.needs("cachecontrol")
def test_cachecontrol_stores_compressed_bodies_as_they_came(http: str) -> None:
    import requests
    from cachecontrol import CacheControl
    from cachecontrol.heuristics import ExpiresAfter

    with requests.Session() as plain:
        session = CacheControl(plain, heuristic=ExpiresAfter(hours=1))
        for target in ("/encoded?size=200000", "/chunked?coding=gzip&count=9&size=999"):
            first, second = (session.get(http + target, timeout=5) for _ in range(2))
            assert (first.from_cache, second.from_cache) == (False, True)
            assert first.content == second.content
            assert first.content


@pytest.mark.needs("elastic_transport")
def test_elastic_transport_sends_retries_and_verifies(
    http: str, https: str, ca_file: str, wrong_host: str
) -> None:
    import elastic_transport

    def transport(url: str, **options: Any) -> Any:
        host, port = url.partition("://")[2].rsplit(":", 1)
        config = elastic_transport.NodeConfig(
            url.partition(":")[0], host, int(port), http_compress=True, **options
        )
        return elastic_transport.Transport([config], node_class="urllib3", max_retries=2)

    node = transport(http)
    answer = node.perform_request(
        "POST", "/echo", body={"a": "b"}, headers={"content-type": "application/json"}
    )
    assert answer.meta.status == 200
    assert answer.body["headers"]
    assert dict(answer.body["headers"])["Content-Encoding"] == "gzip"
    retried = node.perform_request("GET", "/successful_retry?key=elastic&fail=2")
    assert retried.body == {"attempts": 3}
    with pytest.raises(elastic_transport.ConnectionTimeout):
        node.perform_request("GET", "/slow?seconds=5", request_timeout=0.05, max_retries=0)
    node.close()

    secure = transport(https, ca_certs=ca_file)
    assert secure.perform_request("GET", "/echo").meta.status == 200
    secure.close()
    for url, options in [(https, {}), (wrong_host, {"ca_certs": ca_file})]:
        with pytest.raises(elastic_transport.TlsError):
            transport(url, **options).perform_request("GET", "/echo", max_retries=0)


@pytest.fixture
def leaf_fingerprint(certs: Certificates) -> str:
    """SHA-256 of the certificate of the dummyserver."""
    import hashlib

    with open(certs.server.cert, encoding="ascii") as file:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(file.read())).hexdigest()


@pytest.mark.needs("elastic_transport")
def test_elastic_transport_checks_a_fingerprint_by_its_own_connection(
    https: str, leaf_fingerprint: str
) -> None:
    """It overrides ``connect`` and says there that the peer is verified."""
    import elastic_transport

    def ask(fingerprint: str) -> Any:
        config = elastic_transport.NodeConfig(
            "https",
            "localhost",
            int(https.rpartition(":")[2]),
            verify_certs=True,
            ssl_assert_fingerprint=fingerprint,
        )
        node = elastic_transport.Urllib3HttpNode(config)
        try:
            return node.perform_request("GET", "/echo")
        finally:
            node.close()

    assert ask(leaf_fingerprint).meta.status == 200
    with pytest.raises(elastic_transport.TlsError):
        ask("00" * 32)
