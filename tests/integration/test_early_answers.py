"""A server that answers before it has read the request is understood, not reported as broken."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from dummyserver.certs import Certificates
from dummyserver.script import ScriptedServer
from urllib4 import HTTPConnectionPool, HTTPSConnectionPool, _upload
from urllib4.exceptions import HeadTooLargeError, ProtocolError

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
TOO_LARGE = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"

#: More than all buffers between the two ends hold.
LARGE = 30_000_000


@pytest.fixture
def pool(script: ScriptedServer) -> Iterator[HTTPConnectionPool]:
    with HTTPConnectionPool(script.host, script.port, timeout=10, retries=False) as one:
        yield one


def pieces() -> Iterator[bytes]:
    for _ in range(LARGE // 65536):
        yield b"x" * 65536


@pytest.mark.parametrize("make", [lambda: b"x" * LARGE, pieces], ids=["bytes", "generator"])
def test_an_answer_to_half_an_upload_is_read(
    script: ScriptedServer, pool: HTTPConnectionPool, make: Any
) -> None:
    """The server does not read the rest: it has said why, and that is the answer."""
    done = threading.Event()
    script.accept().expect(b"POST", body=False).send(TOO_LARGE).pause_until(done)
    response = pool.request("POST", "/", body=make())
    assert (response.status, response.data) == (413, b"no")
    done.set()


def test_an_answer_is_read_after_the_server_ended_its_direction(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    done = threading.Event()
    script.accept().expect(b"POST", body=False).send(TOO_LARGE).shutdown_write().pause_until(done)
    assert pool.request("POST", "/", body=b"x" * LARGE).status == 413
    done.set()


def test_the_connection_of_half_an_upload_is_not_used_again(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    """The server would take the rest of the body for the next request."""
    keeps = TOO_LARGE.replace(b"Connection: close\r\n", b"")
    script.accept().expect(b"POST", body=False).send(keeps).run(_read_all)
    script.accept().expect(b"GET").send(OK)
    assert pool.request("POST", "/", body=b"x" * LARGE).status == 413
    assert pool.request("GET", "/").data == b"ok"


def _read_all(sock: Any) -> None:
    while sock.recv(1 << 20):
        pass


def test_an_answer_with_a_bad_status_to_a_whole_upload_leaves_the_connection(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    """What was sent whole was not refused, however fast the answer comes."""
    refusal = b"HTTP/1.1 422 No\r\nContent-Length: 0\r\n\r\n"
    connection = script.accept()
    for _ in range(30):
        connection.expect(b"POST").send(refusal)
    for _ in range(30):
        assert pool.request("POST", "/", body=iter([b"a", b"b"])).status == 422
    assert pool.num_connections == 1


def test_a_success_while_the_body_is_sent_does_not_stop_it(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    """The server processes as it reads, and answers with the first byte it produces."""
    started = threading.Event()

    def body() -> Iterator[bytes]:
        yield b"a"
        started.wait(10)
        yield b"b"

    connection = script.accept().expect(b"POST", body=False)
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n").notify(started)
    connection.read_until(b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n").send(b"ok").expect(b"GET").send(OK)
    assert pool.request("POST", "/", body=body()).data == b"ok"
    assert pool.request("GET", "/").data == b"ok"
    assert pool.num_connections == 1


@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_server_that_leaves_without_an_answer_is_an_error(
    script: ScriptedServer, pool: HTTPConnectionPool, end: str
) -> None:
    conversation = script.accept().expect(b"POST", body=False)
    conversation.close() if end == "close" else conversation.reset()
    with pytest.raises(ProtocolError, match=r"Connection aborted\."):
        pool.request("POST", "/", body=b"x" * LARGE)
    assert list(pool.pool.queue) == [None]


def test_an_early_answer_is_read_over_tls(tls_script: ScriptedServer, certs: Certificates) -> None:
    done = threading.Event()
    tls_script.accept().expect(b"POST", body=False).send(TOO_LARGE).pause_until(done)
    with HTTPSConnectionPool(
        "localhost", tls_script.port, ca_certs=certs.ca_file, timeout=10, retries=False
    ) as pool:
        response = pool.request("POST", "/", body=b"x" * LARGE)
        assert (response.status, response.data) == (413, b"no")
        done.set()


def test_an_early_answer_is_read_after_writing_failed_over_tls(
    tls_script: ScriptedServer, certs: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server answered and left between our look at what it says and our next write.

    Some Pythons call that an SSLEOFError, where plain sockets have EPIPE.
    """
    monkeypatch.setattr(_upload, "wait_for_read", lambda sock, timeout: False)
    tls_script.accept().expect(b"POST", body=False).send(TOO_LARGE).close()
    with HTTPSConnectionPool(
        "localhost", tls_script.port, ca_certs=certs.ca_file, timeout=10, retries=False
    ) as pool:
        response = pool.request("POST", "/", body=b"x" * LARGE)
        assert (response.status, response.data) == (413, b"no")


def test_a_server_that_leaves_over_tls_without_an_answer_is_an_error(
    tls_script: ScriptedServer, certs: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_upload, "wait_for_read", lambda sock, timeout: False)
    tls_script.accept().expect(b"POST", body=False).close()
    with (
        HTTPSConnectionPool(
            "localhost", tls_script.port, ca_certs=certs.ca_file, timeout=10, retries=False
        ) as pool,
        pytest.raises(ProtocolError, match=r"Connection aborted\."),
    ):
        pool.request("POST", "/", body=b"x" * LARGE)


def test_a_server_that_talks_without_end_is_not_given_permission_to(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    """While it is asked whether the body is wanted, no more than a head is kept of what it says."""
    conversation = script.accept().expect(b"PUT", body=False).send(b"HTTP/1.1 103 Early Hints\r\n")
    conversation.flood(b"A: b\r\n" * 10_000, limit=2**28)
    with pytest.raises(HeadTooLargeError):
        pool.urlopen("PUT", "/", body=b"x", expect_continue=5)
    script.close()
    assert conversation.bytes_flooded < 2**25
