"""The scripted server: what other tests rely on, above all that it fails when it should."""

from __future__ import annotations

import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from dummyserver.certs import Certificates
from dummyserver.script import Conversation, ScriptedServer, ScriptFailure, scripted_server

NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
GET = b"GET /one HTTP/1.1\r\nHost: a\r\n\r\n"


def connect(server: ScriptedServer) -> socket.socket:
    return socket.create_connection((server.host, server.port), timeout=10)


def receive_all(sock: socket.socket) -> bytes:
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data


def failure_of(server: ScriptedServer) -> str:
    with pytest.raises(ScriptFailure) as caught:
        server.assert_finished()
    return str(caught.value)


def test_a_conversation_is_played_as_written(script: ScriptedServer) -> None:
    script.accept().expect(b"GET /one ").send(NO_CONTENT).close()

    with connect(script) as client:
        client.sendall(GET)
        assert receive_all(client) == NO_CONTENT
    assert script.requests == [GET]


def test_connections_are_played_in_the_order_in_which_they_are_opened(
    script: ScriptedServer,
) -> None:
    first = script.accept().send(b"1")
    second = script.accept().send(b"2")

    with connect(script) as one, connect(script) as two:
        assert (one.recv(1), two.recv(1)) == (b"1", b"2")
        first.expect(b"GET /first ")
        second.expect(b"GET /second ").close()
        two.sendall(GET.replace(b"one", b"second"))
        assert receive_all(two) == b""
        one.sendall(GET.replace(b"one", b"first"))
    script.close()
    assert [request.split()[1] for request in script.requests] == [b"/second", b"/first"]
    assert first.requests == [GET.replace(b"one", b"first")]
    assert script.connections == 2


def test_a_line_that_was_never_played_fails() -> None:
    """A client that sends less than the test thinks must not pass."""
    with ScriptedServer() as server:
        server.accept().expect(b"GET /one ").send(NO_CONTENT).expect(b"GET /two ")
        with connect(server) as client:
            client.sendall(GET)
            client.recv(100)
    assert "connection 1: expect(b'GET /two '): the client closed after b''" in failure_of(server)


def test_a_line_that_still_waits_when_the_script_closes_fails() -> None:
    with ScriptedServer() as server:
        connected = threading.Event()
        server.accept().notify(connected).expect(b"GET /one ")
        with connect(server) as client:
            client.sendall(GET[:10])
            assert connected.wait(10)
            server.close(grace=0)
            assert "expect(b'GET /one '): still waiting" in failure_of(server)


def test_a_connection_that_was_never_opened_fails() -> None:
    with ScriptedServer() as server:
        server.accept().expect(b"GET ").close()
        server.close(grace=0)
    text = "connection 1: the client never connected (never played: expect(b'GET '), close())"
    assert text in failure_of(server)


def test_a_connection_that_no_line_stands_for_fails_and_is_closed() -> None:
    with ScriptedServer() as server, connect(server) as client:
        assert client.recv(1) == b""
    assert "connection 1: no accept() stands for it" in failure_of(server)


@pytest.mark.parametrize(
    "wrong",
    [
        b"GET /two ",
        re.compile(rb"/two HTTP"),
        lambda request: b"/two" in request,
    ],
)
def test_a_request_that_is_not_as_expected_fails_and_the_client_notices(
    wrong: bytes | re.Pattern[bytes] | Callable[[bytes], bool],
) -> None:
    with ScriptedServer() as server:
        server.accept().expect(wrong).send(NO_CONTENT)
        with connect(server) as client:
            client.sendall(GET)
            with pytest.raises(ConnectionResetError):
                client.recv(100)
    assert r"got b'GET /one HTTP/1.1\r\nHost: a\r\n\r\n'" in failure_of(server)


@pytest.mark.parametrize(
    "right", [b"GET /one ", re.compile(rb"host: A", re.IGNORECASE), lambda request: None]
)
def test_a_request_that_is_as_expected_passes(
    script: ScriptedServer, right: bytes | re.Pattern[bytes] | Callable[[bytes], object]
) -> None:
    script.accept().expect(right).send(NO_CONTENT)

    with connect(script) as client:
        client.sendall(GET)
        assert client.recv(100) == NO_CONTENT


def test_an_assertion_of_the_expectation_is_the_reason() -> None:
    def picky(request: bytes) -> None:
        raise AssertionError("no cookies, please")

    with ScriptedServer() as server:
        server.accept().expect(picky)
        with connect(server) as client:
            client.sendall(GET)
    assert "no cookies, please" in failure_of(server)


def test_a_step_that_takes_too_long_fails() -> None:
    """A hang becomes an error with the line it hangs in."""
    with ScriptedServer(deadline=0.5) as server:
        server.accept().expect(b"GET ")
        with connect(server) as client, pytest.raises(ConnectionResetError):
            client.recv(1)
    assert "expect(b'GET '): not done within 0.5 seconds" in failure_of(server)


def test_a_request_that_no_line_expects_fails_after_the_deadline() -> None:
    with ScriptedServer(deadline=0.5) as server:
        server.accept().expect(b"GET ").send(NO_CONTENT)
        with connect(server) as client:
            client.sendall(GET + b"surplus")
            assert client.recv(100) == NO_CONTENT
            with pytest.raises(ConnectionResetError):
                client.recv(1)
    assert "no line expects b'surplus'" in failure_of(server)


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 5\r\n\r\nhello",
        b"content-length:5 \r\n\r\nhello",
        b"Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\n\r\n",
        b"transfer-encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\nC: d\r\n\r\n",
    ],
)
def test_a_body_belongs_to_its_request(script: ScriptedServer, body: bytes) -> None:
    """Also if it comes byte by byte, and with the next request right behind it."""
    post = b"POST / HTTP/1.1\r\nHost: a\r\n" + body
    script.accept().expect(b"POST ").expect(b"GET ").send(NO_CONTENT)

    with connect(script) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(len(post)):
            client.sendall(post[i : i + 1])
        client.sendall(GET)
        assert client.recv(100) == NO_CONTENT
    assert script.requests == [post, GET]


def test_a_body_can_be_left_unread(script: ScriptedServer) -> None:
    head = b"POST / HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    lines = script.accept().expect(b"POST ", body=False).send(b"HTTP/1.1 100 Continue\r\n\r\n")
    lines.read_exactly(2).read_until(b"lo").send(NO_CONTENT)

    with connect(script) as client:
        client.sendall(head)
        assert client.recv(100).startswith(b"HTTP/1.1 100")
        client.sendall(b"hello")
        assert client.recv(100) == NO_CONTENT
    assert lines.requests == [head]
    assert lines.received == [b"he", b"llo"]


def test_each_byte_can_be_sent_by_itself(script: ScriptedServer) -> None:
    script.accept().send_each_byte(NO_CONTENT).close()

    with connect(script) as client:
        assert receive_all(client) == NO_CONTENT


def test_a_line_can_wait_for_the_test_and_the_test_for_a_line(script: ScriptedServer) -> None:
    go, reached = threading.Event(), threading.Event()
    script.accept().send(b"1").notify(reached).pause_until(go).send(b"2").close()

    with connect(script) as client:
        assert reached.wait(10)
        assert client.recv(10) == b"1"
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(10)
        client.settimeout(10)
        go.set()
        assert receive_all(client) == b"2"


def test_waiting_for_an_event_that_is_never_set_fails() -> None:
    with ScriptedServer(deadline=0.5) as server:
        server.accept().expect(b"GET ").pause_until(threading.Event())
        with connect(server) as client:
            client.sendall(GET)
            with pytest.raises(ConnectionResetError):
                client.recv(1)
    assert "pause_until(): not done within 0.5 seconds" in failure_of(server)


def test_the_end_of_the_clients_side_can_be_expected(script: ScriptedServer) -> None:
    script.accept().expect(b"GET ").expect_eof().send(NO_CONTENT).close()

    with connect(script) as client:
        client.sendall(GET)
        client.shutdown(socket.SHUT_WR)
        assert receive_all(client) == NO_CONTENT


def test_a_client_that_sends_more_does_not_end() -> None:
    with ScriptedServer() as server:
        server.accept().expect_eof()
        with connect(server) as client:
            client.sendall(b"more")
    assert "expect_eof(): the client sent b'more" in failure_of(server)


def test_a_client_that_stays_does_not_end() -> None:
    """That the script itself ends the connection must not be taken for the client's doing."""
    with ScriptedServer() as server:
        connected = threading.Event()
        server.accept().notify(connected).expect_eof()
        with connect(server):
            assert connected.wait(10)
            server.close(grace=0)
            assert "expect_eof(): still waiting" in failure_of(server)


def test_reset_is_seen_as_a_reset(script: ScriptedServer) -> None:
    script.accept().expect(b"GET ").reset()

    with connect(script) as client:
        client.sendall(GET)
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_close_is_seen_as_an_end_though_bytes_are_unread(script: ScriptedServer) -> None:
    script.accept().expect(b"GET ").send(NO_CONTENT).close()

    with connect(script) as client:
        client.sendall(GET + b"surplus")
        assert receive_all(client) == NO_CONTENT


def test_one_direction_can_be_ended(script: ScriptedServer) -> None:
    script.accept().send(b"1").shutdown_write().expect(b"GET ")

    with connect(script) as client:
        assert receive_all(client) == b"1"
        client.sendall(GET)


def test_sending_on_a_closed_connection_is_a_mistake_of_the_script() -> None:
    with ScriptedServer() as server:
        server.accept().close().send(b"1")
        with connect(server) as client:
            assert client.recv(1) == b""
    assert "the script has closed this connection already" in failure_of(server)


def test_a_flood_ends_when_the_client_closes(script: ScriptedServer) -> None:
    lines = script.accept().flood(b"x" * 65536, limit=1 << 40)

    with connect(script) as client:
        assert client.recv(1) == b"x"
    script.close(grace=10)
    assert lines.bytes_flooded < 1 << 40


def test_a_flood_ends_at_its_limit(script: ScriptedServer) -> None:
    script.accept().flood(b"x" * 10, limit=95).close()

    with connect(script) as client:
        assert receive_all(client) == b"x" * 100


def test_any_function_can_be_a_line(script: ScriptedServer) -> None:
    script.accept().run(lambda sock: sock.sendall(b"own")).close()

    with connect(script) as client:
        assert receive_all(client) == b"own"


def test_an_error_of_a_function_is_the_reason() -> None:
    def broken(sock: object) -> None:
        raise KeyError("oops")

    with ScriptedServer() as server:
        server.accept().expect(b"GET ").run(broken)
        with connect(server) as client:
            client.sendall(GET)
    assert "KeyError: 'oops'" in failure_of(server)


@pytest.mark.parametrize(
    "write",
    [
        lambda lines: lines.send("text"),
        lambda lines: lines.send_each_byte(bytearray(b"x")),
        lambda lines: lines.expect("GET"),
        lambda lines: lines.expect(re.compile("GET")),
    ],
)
def test_text_where_bytes_are_needed_is_an_error_at_once(
    write: Callable[[Conversation], object],
) -> None:
    with pytest.raises(TypeError, match="bytes"), ScriptedServer() as server:
        write(server.accept())


def test_lines_cannot_be_written_after_the_end(script: ScriptedServer) -> None:
    script.close()
    with pytest.raises(ValueError, match="closed"):
        script.accept()


def test_the_context_manager_asserts_at_the_end() -> None:
    with pytest.raises(ScriptFailure, match="never connected"), scripted_server() as server:
        server.accept()


def test_an_exception_in_the_block_ends_the_script_without_waiting() -> None:
    def fails() -> None:
        with ScriptedServer() as server:
            server.accept().expect(b"GET ")
            client.enter_context(connect(server))
            raise ZeroDivisionError

    with ExitStack() as client, pytest.raises(ZeroDivisionError):
        fails()


def test_it_listens_on_ipv6_too() -> None:
    try:
        server = ScriptedServer(host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    with server:
        server.accept().send(b"6").close()
        assert server.url == f"http://[::1]:{server.port}"
        with connect(server) as client:
            assert receive_all(client) == b"6"
    server.assert_finished()


# -- TLS ------------------------------------------------------------------------------------------


def connect_tls(
    server: ScriptedServer, certs: Certificates, host: str = "localhost"
) -> ssl.SSLSocket:
    context = certs.client_context()
    sock = connect(server)
    try:
        return context.wrap_socket(sock, server_hostname=host, suppress_ragged_eofs=False)
    except BaseException:
        sock.close()
        raise


def while_encrypted_bytes_come(sock: ssl.SSLSocket) -> None:
    while socket.socket.recv(sock, 65536):
        pass


def test_a_conversation_behind_tls(tls_script: ScriptedServer, certs: Certificates) -> None:
    tls_script.accept().expect(b"GET /one ").send(NO_CONTENT).close()

    assert tls_script.url.startswith("https://127.0.0.1:")
    with connect_tls(tls_script, certs) as client:
        client.sendall(GET)
        assert receive_all(client) == NO_CONTENT


def test_closing_without_notice_is_seen_as_truncation(
    tls_script: ScriptedServer, certs: Certificates
) -> None:
    """RFC 8446, 6.1: only close_notify ends the data; anybody can forge a FIN."""
    tls_script.accept().send(b"1").close(notify=False)

    with connect_tls(tls_script, certs) as client:
        assert client.recv(1) == b"1"
        with pytest.raises(ssl.SSLEOFError):
            client.recv(1)


def test_both_ends_of_tls_end_by_themselves(
    tls_script: ScriptedServer, certs: Certificates
) -> None:
    """What arrived before our close_notify is not lost by sending it."""
    arrived = threading.Event()
    tls_script.accept().pause_until(arrived).shutdown_write().expect(GET).expect_eof()

    with connect_tls(tls_script, certs) as client:
        client.sendall(GET)
        arrived.set()
        assert receive_all(client) == b""


def test_one_direction_of_tls_can_be_ended(tls_script: ScriptedServer, certs: Certificates) -> None:
    tls_script.accept().send(b"1").shutdown_write().expect(b"GET ")

    with connect_tls(tls_script, certs) as client:
        assert receive_all(client) == b"1"
        client.sendall(GET)


def test_reset_works_behind_tls(tls_script: ScriptedServer, certs: Certificates) -> None:
    tls_script.accept().expect(b"GET ").reset()

    with connect_tls(tls_script, certs) as client:
        client.sendall(GET)
        # Below TLS, because the ssl module reports the same as an unexpected end.
        with pytest.raises(ConnectionResetError):
            while_encrypted_bytes_come(client)


def test_a_refused_handshake_can_be_written_down(
    tls_script: ScriptedServer, certs: Certificates
) -> None:
    tls_script.accept(handshake_fails=True)

    with pytest.raises(ssl.SSLCertVerificationError):
        connect_tls(tls_script, certs, host="other.example")


def test_a_refused_handshake_that_is_not_written_down_fails(certs: Certificates) -> None:
    with ScriptedServer(tls=certs.server_context()) as server:
        server.accept()
        with pytest.raises(ssl.SSLCertVerificationError):
            connect_tls(server, certs, host="other.example")
    assert "connection 1: TLS handshake: SSLError" in failure_of(server)


def test_a_handshake_that_should_fail_and_does_not_fails(certs: Certificates) -> None:
    with ScriptedServer(tls=certs.server_context()) as server:
        server.accept(handshake_fails=True)
        connect_tls(server, certs).close()
    assert "the handshake succeeded" in failure_of(server)


def test_a_refused_handshake_needs_tls(script: ScriptedServer) -> None:
    with pytest.raises(ValueError, match="tls="):
        script.accept(handshake_fails=True)


def test_tls_can_start_later(script: ScriptedServer, certs: Certificates) -> None:
    """What a proxy does after CONNECT."""
    lines = script.accept().expect(b"CONNECT a:443 ").send(NO_CONTENT)
    lines.start_tls(certs.server_context()).expect(b"GET /one ").send(NO_CONTENT).close()

    with connect(script) as plain:
        plain.sendall(b"CONNECT a:443 HTTP/1.1\r\n\r\n")
        assert plain.recv(100) == NO_CONTENT
        with certs.client_context().wrap_socket(plain, server_hostname="localhost") as client:
            client.sendall(GET)
            assert receive_all(client) == NO_CONTENT


def test_tls_can_run_inside_tls(tls_script: ScriptedServer, certs: Certificates) -> None:
    """What an https proxy does after CONNECT."""
    lines = tls_script.accept().send(b"!").start_tls(certs.server_context())
    lines.expect(b"GET /one ").send(NO_CONTENT)

    with connect_tls(tls_script, certs) as outer:
        assert outer.recv(1) == b"!"
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        inner = certs.client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        unsent = memoryview(GET)
        answer = b""
        while not answer:
            try:
                if unsent:
                    inner.do_handshake()
                    unsent = unsent[inner.write(unsent) :]
                else:
                    answer = inner.read(100)
            except ssl.SSLWantReadError:
                pass
            if outgoing.pending:
                outer.sendall(outgoing.read())
            elif not answer:
                incoming.write(outer.recv(65536))
        assert answer == NO_CONTENT


def test_a_client_that_resets_ends_too(script: ScriptedServer) -> None:
    script.accept().expect_eof()

    with connect(script) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
