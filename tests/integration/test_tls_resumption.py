"""Sessions of TLS are resumed by later connections, and only where that changes nothing else.

The server says whether a handshake was resumed; `connection_info` must agree with it.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from dummyserver.certs import Certificates
from dummyserver.script import ScriptedServer
from dummyserver.server import DummyServer
from urllib4 import HTTPSConnectionPool, PoolManager
from urllib4.connection import ConnectionInfo, HTTPSConnection
from urllib4.exceptions import HTTPError, MaxRetryError
from urllib4.util.ssl_ import TLSSessionCache, create_urllib4_context

CLOSING = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
KEPT = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


class Server:
    """A server that notes for each connection whether its session was resumed."""

    def __init__(self, script: ScriptedServer) -> None:
        self.script = script
        self.port = script.port
        self.resumed: list[bool] = []

    def answer(self, times: int = 1) -> None:
        for _ in range(times):
            self.script.accept().expect(b"GET /").run(self._note).send(CLOSING).close()

    def _note(self, end: Any) -> None:
        self.resumed.append(end._tls.session_reused)


@pytest.fixture
def tls(tls_script: ScriptedServer) -> Server:
    return Server(tls_script)


@pytest.fixture
def manager(ca_file: str) -> Iterator[PoolManager]:
    with PoolManager(ca_certs=ca_file, retries=False) as manager:
        yield manager


def info_of(response: Any) -> ConnectionInfo:
    assert response.connection_info is not None
    return response.connection_info


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=["1.2", "1.3"])
def test_each_new_connection_resumes_the_session_of_the_one_before(
    tls: Server, ca_file: str, version: Any
) -> None:
    tls.answer(4)
    with PoolManager(
        ca_certs=ca_file, ssl_minimum_version=version, ssl_maximum_version=version
    ) as manager:
        infos = [info_of(manager.request("GET", f"{tls.script.url}/")) for _ in range(4)]

    assert tls.resumed == [False, True, True, True]
    assert [info.resumed for info in infos] == tls.resumed
    assert len({info.peer_certificate for info in infos}) == 1
    assert infos[0].peer_certificate


def test_the_sessions_of_a_manager_outlive_its_pools(tls: Server, manager: PoolManager) -> None:
    tls.answer(2)
    manager.request("GET", f"{tls.script.url}/")
    manager.clear()
    manager.request("GET", f"{tls.script.url}/")

    assert tls.resumed == [False, True]


def test_a_session_is_used_for_one_connection_only(tls: Server, ca_file: str) -> None:
    """RFC 8446, C.4: two connections with the same ticket can be told to be the same client's."""
    tls.answer(1)
    tls.script.accept().expect(b"GET /").run(tls._note).send(KEPT)
    tls.script.accept().expect(b"GET /").run(tls._note).send(KEPT)
    with HTTPSConnectionPool("127.0.0.1", tls.port, ca_certs=ca_file, maxsize=2) as pool:
        pool.request("GET", "/")
        at_once = [pool._get_conn(), pool._get_conn()]
        for conn in at_once:
            conn.connect()
        for conn in at_once:
            conn.request("GET", "/")
            assert conn.getresponse().data == b"ok"
            pool._put_conn(conn)

    assert sorted(tls.resumed) == [False, False, True]


@pytest.mark.parametrize(
    "change",
    [
        {"assert_hostname": "localhost"},
        {"server_hostname": "localhost"},
        {"cert_reqs": "CERT_NONE", "assert_fingerprint": None},
        {"ssl_maximum_version": TLS_1_3},
        {"tls_session_cache": False},
    ],
    ids=lambda change: next(iter(change)),
)
@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_other_verification_begins_anew(
    tls: Server, manager: PoolManager, change: dict[str, Any]
) -> None:
    """What is verified in a full handshake is not looked at in a resumed one."""
    tls.answer(2)
    manager.request("GET", f"{tls.script.url}/")
    pool = manager.connection_from_host("127.0.0.1", tls.port, "https", pool_kwargs=change)
    pool.request("GET", "/")

    assert tls.resumed == [False, False]


def test_a_session_without_verification_does_not_spare_it(tls: Server, certs: Certificates) -> None:
    """The worst that could happen: what nobody verified is taken for verified."""
    tls.answer(1)
    tls.script.accept(handshake_fails=True)
    cache = TLSSessionCache()
    with (
        pytest.warns(match="Unverified"),
        HTTPSConnectionPool(
            "127.0.0.1", tls.port, cert_reqs="CERT_NONE", tls_session_cache=cache
        ) as pool,
    ):
        pool.request("GET", "/")
    assert len(cache) == 1
    with (
        HTTPSConnectionPool(
            "127.0.0.1", tls.port, ca_certs=certs.unrelated_ca_file, tls_session_cache=cache
        ) as pool,
        pytest.raises(MaxRetryError, match="certificate verify failed"),
    ):
        pool.request("GET", "/", retries=0)


def test_a_context_that_its_owner_tightens_begins_anew(tls: Server, ca_file: str) -> None:
    tls.answer(2)
    context = create_urllib4_context(cert_reqs=ssl.CERT_NONE, options=0)
    cache = TLSSessionCache()
    with (
        pytest.warns(match="Unverified"),
        HTTPSConnectionPool(
            "127.0.0.1", tls.port, ssl_context=context, tls_session_cache=cache
        ) as pool,
    ):
        pool.request("GET", "/")
    context.load_verify_locations(ca_file)
    context.verify_mode = ssl.CERT_REQUIRED
    with HTTPSConnectionPool(
        "127.0.0.1", tls.port, ssl_context=context, tls_session_cache=cache
    ) as pool:
        pool.request("GET", "/")

    assert tls.resumed == [False, False]


def test_a_new_client_certificate_in_the_same_file_begins_anew(
    certs: Certificates, tmp_path: Any
) -> None:
    """The server would go on to take us for whom the first certificate is of."""
    asking = certs.server_context(client_certificate=True)
    files = certs.client
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    with ScriptedServer(tls=asking) as script:
        tls = Server(script)
        tls.answer(3)
        with PoolManager(
            ca_certs=certs.ca_file, cert_file=str(chain), key_file=str(key), retries=False
        ) as manager:
            for comment in ("first", "first", "the second one"):
                for path, source in ((chain, files.cert), (key, files.key)):
                    with open(source) as file:
                        text = f"{comment}\n{file.read()}"
                    if not path.exists() or path.read_text() != text:
                        path.write_text(text)
                manager.request("GET", f"{script.url}/")
        script.assert_finished()

    assert tls.resumed == [False, True, False]


def test_a_connection_that_never_answered_leaves_no_session(tls: Server, ca_file: str) -> None:
    tls.script.accept().expect(b"GET /").close()
    cache = TLSSessionCache()
    with (
        HTTPSConnectionPool(
            "127.0.0.1", tls.port, ca_certs=ca_file, tls_session_cache=cache
        ) as pool,
        pytest.raises(HTTPError),
    ):
        pool.request("GET", "/", retries=False)

    assert len(cache) == 0


def test_a_connection_by_itself_resumes_its_own_session(tls: Server, ca_file: str) -> None:
    tls.answer(2)
    conn = HTTPSConnection("127.0.0.1", tls.port, ca_certs=ca_file, tls_session_cache=True)
    for _ in range(2):
        conn.request("GET", "/")
        assert conn.getresponse().data == b"ok"
        conn.close()

    assert tls.resumed == [False, True]


def test_a_connection_by_itself_keeps_no_session_unless_told(tls: Server, ca_file: str) -> None:
    tls.answer(2)
    conn = HTTPSConnection("127.0.0.1", tls.port, ca_certs=ca_file)
    for _ in range(2):
        conn.request("GET", "/")
        assert conn.getresponse().data == b"ok"
        conn.close()

    assert tls.resumed == [False, False]


def test_hooked_connections_resume_as_well(tls: Server, ca_file: str) -> None:
    class Hooked(HTTPSConnection):
        def putheader(self, header: str, *values: Any) -> None:
            super().putheader(header, *values)

    tls.answer(2)
    with HTTPSConnectionPool("127.0.0.1", tls.port, ca_certs=ca_file) as pool:
        pool.ConnectionCls = Hooked
        for _ in range(2):
            pool.request("GET", "/")

    assert tls.resumed == [False, True]


@pytest.mark.parametrize("value", ["yes", 1, object()], ids=["str", "int", "object"])
def test_only_a_bool_or_a_cache_is_taken(value: object) -> None:
    for make in (
        lambda: PoolManager(tls_session_cache=value),
        lambda: HTTPSConnectionPool("host.example", tls_session_cache=value),  # type: ignore[arg-type]
        lambda: HTTPSConnection("host.example", tls_session_cache=value),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError, match="tls_session_cache is a bool or a TLSSessionCache"):
            make()


# -- connection_info -------------------------------------------------------------------------------


def test_connection_info_tells_what_carried_the_answer(server: DummyServer, ca_file: str) -> None:
    with PoolManager(ca_certs=ca_file) as manager:
        first, second = (info_of(manager.request("GET", f"{server.https_url}/")) for _ in range(2))

    assert first.peer_address[:2] == ("127.0.0.1", server.https_port)
    assert first.local_address[0] == "127.0.0.1"
    assert first.http_version == "HTTP/1.1"
    assert first.tls_version == "TLSv1.3"
    assert first.cipher is not None
    assert first.cipher.startswith("TLS_")
    assert first.alpn_protocol is None or first.alpn_protocol == "http/1.1"
    assert first.peer_certificate is not None
    assert b"localhost" in first.peer_certificate
    assert (first.reused, first.request_number) == (False, 1)
    assert second == first._replace(reused=True, request_number=2)


def test_connection_info_of_a_plain_connection_has_no_tls(server: DummyServer) -> None:
    with PoolManager() as manager:
        info = info_of(manager.request("GET", f"{server.http_url}/"))

    assert info.peer_address[:2] == ("127.0.0.1", server.http_port)
    assert (info.tls_version, info.cipher, info.alpn_protocol) == (None, None, None)
    assert info.peer_certificate is None
    assert info.resumed is False


def test_connection_info_counts_anew_for_a_new_socket(script: ScriptedServer) -> None:
    script.accept().expect(b"GET /").send(CLOSING).close()
    script.accept().expect(b"GET /").send(KEPT).expect(b"GET /").send(KEPT)
    with PoolManager() as manager:
        numbers = [
            info_of(manager.request("GET", f"{script.url}/")).request_number for _ in range(3)
        ]

    assert numbers == [1, 1, 2]


def test_the_repr_of_connection_info_does_not_print_the_certificate(
    server: DummyServer, ca_file: str
) -> None:
    with PoolManager(ca_certs=ca_file) as manager:
        info = info_of(manager.request("GET", f"{server.https_url}/"))

    assert info.peer_certificate is not None
    assert f"peer_certificate=<{len(info.peer_certificate)} bytes>" in repr(info)


def test_a_response_made_by_hand_has_no_connection_info() -> None:
    from urllib4 import HTTPResponse

    assert HTTPResponse(b"text").connection_info is None
