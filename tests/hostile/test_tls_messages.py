"""TLS's own messages after the handshake: no answer, no end, and no reason to drop a connection.

TLS 1.3 servers send session tickets, new keys and requests for a certificate whenever they like
(RFC 8446, 4.6), TLS 1.2 servers may ask for a new handshake.  To `poll` all of them look like data.
"""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from OpenSSL import SSL

import urllib4
from dummyserver.tls import TLSEnd
from tests.hostile.tls_peers import PATIENCE, Authority, Leaf, Peer, answer, read_head
from urllib4.connection import HTTPSConnection
from urllib4.exceptions import ReadTimeoutError
from urllib4.util.wait import wait_for_read


@pytest.fixture(scope="module")
def leaf(authority: Authority) -> Leaf:
    return authority.issue("localhost", "IP:127.0.0.1")


@pytest.fixture(scope="module")
def client(authority: Authority) -> Leaf:
    return authority.issue("client.example")


class Server:
    """Answers requests on one TLS 1.3 connection after another; in between it does `extras`.

    :param before: called with the connection before each answer.
    :param after: called with it behind each answer, when the client has everything.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        before: Callable[[TLSEnd], object] = lambda tls: None,
        after: Callable[[TLSEnd], object] = lambda tls: None,
    ) -> None:
        self._context = context
        self._before = before
        self._after = after
        self.requests: list[bytes] = []
        #: Set when `after` was done.
        self.is_quiet = threading.Event()

    def __call__(self, sock: socket.socket) -> None:
        tls = TLSEnd(sock, self._context)
        tls.do_handshake()
        while request := read_head(tls):
            self.requests.append(request)
            self._before(tls)
            tls.sendall(answer(b"answer %d" % len(self.requests)))
            self._after(tls)
            self.is_quiet.set()


def asking_context(leaf: Leaf, ca_file: str) -> ssl.SSLContext:
    """A server's context that asks for a certificate not in the handshake but on demand."""
    context = leaf.context(ssl.TLSVersion.TLSv1_3)
    context.load_verify_locations(ca_file)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.post_handshake_auth = True
    return context


def ask(tls: TLSEnd) -> None:
    """Have the next write carry a request for the client's certificate."""
    tls._tls.verify_client_post_handshake()


# -- session tickets -------------------------------------------------------------------------------


@pytest.mark.parametrize("tickets", [0, 1, 2, 10, 200])
def test_tickets_of_the_handshake_are_read_with_the_first_answer(
    tickets: int, leaf: Leaf, authority: Authority
) -> None:
    """They come before it, so none is left unread, and the connection is reused."""
    context = leaf.context(ssl.TLSVersion.TLSv1_3)
    context.num_tickets = tickets
    with Peer(Server(context)) as peer, urllib4.HTTPSConnectionPool(
        "localhost", peer.port, ca_certs=authority.ca_file, timeout=PATIENCE, retries=False
    ) as pool:  # fmt: skip
        for number in range(1, 6):
            assert pool.request("GET", "/").data == b"answer %d" % number
        assert peer.accepted == pool.num_connections == 1


def test_a_connection_that_has_only_tickets_to_read_is_alive(
    leaf: Leaf, authority: Authority
) -> None:
    """One that was opened ahead of its first request: the tickets are all there is."""
    context = leaf.context(ssl.TLSVersion.TLSv1_3)
    with Peer(Server(context)) as peer:
        conn = HTTPSConnection("localhost", peer.port, ca_certs=authority.ca_file, timeout=PATIENCE)
        conn.connect()
        assert wait_for_read(conn.sock, timeout=PATIENCE)
        assert conn.is_connected
        assert not wait_for_read(conn.sock, timeout=0)
        conn.request("GET", "/")
        assert conn.getresponse().data == b"answer 1"
        conn.close()
        assert not conn.is_connected


def test_tickets_at_an_idle_connection_do_not_end_it(
    leaf: Leaf, client: Leaf, authority: Authority
) -> None:
    """After a client has shown its certificate it gets new tickets, here when it is idle."""
    server = Server(
        asking_context(leaf, authority.ca_file),
        before=ask,
        # Reads the certificate and answers with tickets, before the next request comes.
        after=lambda tls: tls._feed(),
    )
    with Peer(server) as peer, urllib4.HTTPSConnectionPool(
        "localhost",
        peer.port,
        ca_certs=authority.ca_file,
        cert_file=client.path,
        timeout=PATIENCE,
        retries=False,
    ) as pool:  # fmt: skip
        for number in range(1, 4):
            server.is_quiet.clear()
            assert pool.request("GET", "/").data == b"answer %d" % number
            assert server.is_quiet.wait(PATIENCE)
        assert peer.accepted == pool.num_connections == 1


@pytest.mark.parametrize("what", ["close", "cut", "data", "alert"])
def test_what_ends_an_idle_connection_still_does(
    what: str, leaf: Leaf, authority: Authority
) -> None:
    """Reading ahead must not take an answer that nobody asked for, or an end, for a ticket."""
    arrived = threading.Event()

    def afterwards(tls: TLSEnd) -> None:
        if what == "close":
            tls.send_close_notify()
        elif what == "cut":
            tls.shutdown(socket.SHUT_WR)
        elif what == "data":
            tls.sendall(answer(b"nobody asked for this"))
        else:
            tls._sock.sendall(b"\x15\x03\x03\x00\x02\x02\x50")
        arrived.set()

    handler = Server(leaf.context(ssl.TLSVersion.TLSv1_3), after=afterwards)
    with Peer(handler) as peer, urllib4.HTTPSConnectionPool(
        "localhost", peer.port, ca_certs=authority.ca_file, timeout=PATIENCE, retries=False
    ) as pool:  # fmt: skip
        assert pool.request("GET", "/").data == b"answer 1"
        assert arrived.wait(PATIENCE)
        kept = [conn for conn in pool.pool.queue if conn is not None]
        # Unless it came with the answer, which spoils the connection before it is kept.
        assert not kept or kept[0].sock is None or wait_for_read(kept[0].sock, timeout=PATIENCE)
        assert pool.request("GET", "/").data == b"answer 2"
        assert peer.accepted == 2


@pytest.mark.parametrize("tickets", [0, 2, 100])
@pytest.mark.parametrize("size", [1, 100_000, 3_000_000])
def test_tickets_during_an_upload_are_no_early_answer(
    tickets: int, size: int, leaf: Leaf, authority: Authority
) -> None:
    """All of the body arrives: an answer would have made the client stop."""
    context = leaf.context(ssl.TLSVersion.TLSv1_3)
    context.num_tickets = tickets
    body, received = os.urandom(size), bytearray()

    def take(sock: socket.socket) -> None:
        tls = TLSEnd(sock, context)
        tls.do_handshake()
        data = b""
        while b"\r\n\r\n" not in data:
            data += tls.recv(65536)
        received[:] = data.partition(b"\r\n\r\n")[2]
        while len(received) < size:
            received.extend(tls.recv(65536))
        tls.sendall(answer(b"thanks"))
        while tls.recv(65536):
            pass

    with Peer(take) as peer, urllib4.HTTPSConnectionPool(
        "localhost", peer.port, ca_certs=authority.ca_file, timeout=PATIENCE, retries=False
    ) as pool:  # fmt: skip
        assert pool.request("PUT", "/", body=body).data == b"thanks"
        assert pool.pool.queue[-1].sock is not None  # nothing stayed unsent: it was kept
    assert bytes(received) == body


# -- certificates that are asked for later ---------------------------------------------------------


@pytest.mark.parametrize("knows_itself", [True, False])
def test_a_request_for_a_certificate_before_the_answer_is_followed(
    knows_itself: bool, leaf: Leaf, client: Leaf, authority: Authority
) -> None:
    """RFC 8446, 4.6.2.  A client without one says so, and the server decides what that means."""
    shown: list[Any] = []

    def before(tls: TLSEnd) -> None:
        ask(tls)
        tls.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        # The client's part comes when it reads; its certificate is known after our next read.
        if knows_itself:
            while not tls._tls.getpeercert():
                tls._feed()
                with pytest.raises(ssl.SSLWantReadError):
                    tls._tls.read(1)
                tls._flush()
        shown.append(tls._tls.getpeercert())

    server = Server(asking_context(leaf, authority.ca_file), before=before)
    identity = {"cert_file": client.path} if knows_itself else {}
    with Peer(server) as peer, urllib4.HTTPSConnectionPool(
        "localhost",
        peer.port,
        ca_certs=authority.ca_file,
        timeout=PATIENCE,
        retries=False,
        **identity,  # type: ignore[arg-type]
    ) as pool:  # fmt: skip
        assert pool.request("GET", "/").data == b"answer 1"
    names = [dict(certificate or {}).get("subjectAltName") for certificate in shown]
    assert names == [(("DNS", "client.example"),) if knows_itself else None]


# -- new keys and new handshakes -------------------------------------------------------------------


class CommandServer:
    """``openssl s_server``, which does on command what Python's ssl module cannot."""

    def __init__(self, leaf: Leaf, *options: str) -> None:
        command = [shutil.which("openssl") or "", "s_server", "-accept", "127.0.0.1:0",
                   "-cert", leaf.path, "-key", leaf.path, "-naccept", "1", *options]  # fmt: skip
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self._output = b""
        line = self.wait_for(b"ACCEPT ", b"\n")
        self.port = int(line.rpartition(b":")[2])

    def __enter__(self) -> CommandServer:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait(PATIENCE)
        self._process.stdin.close()
        self._process.stdout.close()

    def wait_for(self, start: bytes, end: bytes = b"") -> bytes:
        """Read what the server prints up to `start` and then `end`; return what is between."""
        assert self._process.stdout is not None
        for mark in (start, end):
            while mark not in self._output:
                piece = os.read(self._process.stdout.fileno(), 65536)
                assert piece, self._output
                self._output += piece
            found, _, self._output = self._output.partition(mark)
        return found

    def say(self, data: bytes) -> None:
        """Type `data`: one letter is a command, all else goes to the client."""
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        self._process.stdin.flush()


needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl program")

#: A command of s_server, what it does, with which option.
COMMANDS = [
    ("k", "new keys for the server", "-tls1_3"),
    ("K", "new keys for both", "-tls1_3"),
    ("r", "a new handshake", "-tls1_2"),
    ("R", "a new handshake with a certificate", "-tls1_2"),
]
#: When the command is given: before an answer, inside one, or when the connection is idle.
MOMENTS = ("before", "inside", "idle")
CASES = list(itertools.product(COMMANDS, MOMENTS))


def test_there_are_many_cases() -> None:
    print(f"{len(CASES)} cases")
    assert len(CASES) >= 12


@needs_openssl
@pytest.mark.parametrize(("command", "moment"), CASES, ids=str)
def test_new_keys_and_handshakes_change_nothing_for_http(
    command: tuple[str, str, str], moment: str, leaf: Leaf, authority: Authority
) -> None:
    """At no moment do they look like an answer, an end of one, or a dropped connection."""
    letter, _, version = command
    with CommandServer(leaf, version) as server:
        conn = HTTPSConnection(
            "localhost", server.port, ca_certs=authority.ca_file, timeout=PATIENCE
        )

        def interfere_if(now: str) -> None:
            if now == moment:
                assert not wait_for_read(conn.sock, timeout=0)
                server.say(letter.encode() + b"\n")
                assert wait_for_read(conn.sock, timeout=PATIENCE)

        for target in (b"/one", b"/two"):
            conn.request("GET", target.decode(), preload_content=False)
            server.wait_for(b"GET " + target, b"\r\n\r\n")
            if version == "-tls1_2" or target == b"/two":  # no tickets are on their way
                interfere_if("before")
            server.say(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234")
            response = conn.getresponse()
            assert response.read(5) == b"01234"
            interfere_if("inside")
            server.say(b"56789")
            assert response.read() == b"56789"
            interfere_if("idle")
            assert conn.is_connected
        conn.close()


def test_a_new_handshake_that_the_server_never_goes_on_with_is_timed_out(
    leaf: Leaf, authority: Authority
) -> None:
    """TLS 1.2 can send nothing until that handshake is over, however ready the socket is."""
    asked, over = threading.Event(), threading.Event()

    def serve(sock: socket.socket) -> None:
        context = SSL.Context(SSL.TLSv1_2_METHOD)
        context.use_certificate_file(leaf.path)
        context.use_privatekey_file(leaf.path)
        sock.settimeout(None)
        tls = SSL.Connection(context, sock)
        tls.set_accept_state()
        tls.do_handshake()
        assert tls.recv(65536).startswith(b"POST ")
        tls.renegotiate()
        tls.do_handshake()  # sends the request for one, and waits for nothing
        asked.set()
        over.wait(PATIENCE)

    def body() -> Iterator[bytes]:
        yield b"small enough to be sent whole"
        assert asked.wait(PATIENCE)
        yield b"but the client must read first"

    with Peer(serve) as peer, urllib4.HTTPSConnectionPool(
        "localhost",
        peer.port,
        ca_certs=authority.ca_file,
        timeout=urllib4.Timeout(connect=PATIENCE, read=0.2),
        retries=False,
    ) as pool:  # fmt: skip
        with pytest.raises(ReadTimeoutError):
            pool.request("POST", "/", body=body())
        over.set()
