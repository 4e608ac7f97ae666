"""TLS by memory buffers over a socket, and over another TLS connection."""

from __future__ import annotations

import array
import io
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from dummyserver.certs import Certificates
from urllib4.exceptions import ProxySchemeUnsupported
from urllib4.util.ssltransport import SEND_BLOCKSIZE, SSLTransport

PATIENCE = 20.0

Handler = Callable[[Any], None]


class Peer:
    """Runs a function with the other end of a socket pair, in a thread."""

    def __init__(self, handler: Handler) -> None:
        self.near, self._far = socket.socketpair()
        self.near.settimeout(PATIENCE)
        self._far.settimeout(PATIENCE)
        self._thread = threading.Thread(target=self._run, args=(handler,))
        self._thread.start()

    def _run(self, handler: Handler) -> None:
        with self._far, suppress(OSError):
            handler(self._far)

    def __enter__(self) -> socket.socket:
        return self.near

    def __exit__(self, *_: object) -> None:
        self.near.close()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


@pytest.fixture(params=["plain", "tls"])
def connect(
    request: pytest.FixtureRequest, certs: Certificates
) -> Iterator[Callable[..., SSLTransport]]:
    """Connects an SSLTransport to a handler that speaks TLS, over a socket or over TLS."""
    with ExitStack() as cleanup:

        def make(handler: Handler, **kwargs: Any) -> SSLTransport:
            def serve(sock: socket.socket) -> None:
                context = certs.server_context()
                if request.param == "plain":
                    with context.wrap_socket(sock, server_side=True) as tls:
                        handler(tls)
                    return
                with context.wrap_socket(sock, server_side=True) as outer:
                    handler(ServerInside(outer, context))

            below: Any = cleanup.enter_context(Peer(serve))
            if request.param == "tls":
                below = certs.client_context().wrap_socket(below, server_hostname="localhost")
                cleanup.enter_context(below)
            transport = SSLTransport(below, certs.client_context(), "localhost", **kwargs)
            return cleanup.enter_context(transport)

        yield make


class ServerInside:
    """The server's side of TLS in TLS, as far as the tests need it."""

    def __init__(self, outer: ssl.SSLSocket, context: ssl.SSLContext) -> None:
        self._outer = outer
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=True)
        self._do(self._tls.do_handshake)

    def _do(self, step: Callable[..., Any], *args: Any) -> Any:
        while True:
            wait = False
            try:
                result = step(*args)
            except ssl.SSLWantReadError:
                wait = True
            self._outer.sendall(self._out.read())
            if not wait:
                return result
            data = self._outer.recv(65536)
            self._in.write(data) if data else self._in.write_eof()

    def recv(self, size: int) -> bytes:
        return bytes(self._do(self._tls.read, size))

    def sendall(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._do(self._tls.write, view[:16384]) :]

    def unwrap(self) -> None:
        self._do(self._tls.unwrap)


def echo(tls: Any) -> None:
    while data := tls.recv(65536):
        tls.sendall(data)


def read_exactly(transport: SSLTransport, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        piece = transport.recv(65536)
        assert piece, "the stream ended early"
        data += piece
    return bytes(data)


# -- moving bytes ----------------------------------------------------------------------------------


def test_what_is_sent_arrives(connect: Callable[..., SSLTransport]) -> None:
    transport = connect(echo)
    assert transport.send(b"hello") == 5
    assert transport.recv(3) == b"hel"
    assert transport.pending() == 2
    assert transport.recv() == b"lo"
    assert transport.pending() == 0
    transport.sendall(memoryview(b"bytes"))
    assert transport.read(100) == b"bytes"
    buffer = bytearray(8)
    transport.sendall(bytearray(b"12345678"))
    assert transport.recv_into(buffer, 3) == 3
    assert transport.recv_into(memoryview(buffer)[3:]) == 5
    assert buffer == b"12345678"
    transport.sendall(b"abc")
    assert transport.read(2, buffer) == 2
    assert transport.read(1, buffer) == 1
    assert transport.recv_into(bytearray()) == 0


def test_nothing_to_send_is_no_error(connect: Callable[..., SSLTransport]) -> None:
    transport = connect(echo)
    assert transport.send(b"") == 0
    transport.sendall(b"")
    transport.sendall(b"x")
    assert transport.recv(10) == b"x"


def test_a_large_body_of_any_item_size_is_sent_whole(connect: Callable[..., SSLTransport]) -> None:
    items = array.array("I", range(500_000))
    expected = items.tobytes()

    def take(tls: Any) -> None:
        data = bytearray()
        while len(data) < len(expected):
            data += tls.recv(65536)
        tls.sendall(b"same" if bytes(data) == expected else b"different")

    transport = connect(take)
    transport.sendall(items)
    assert transport.recv(10) == b"same"


def test_one_send_encrypts_a_bounded_amount(connect: Callable[..., SSLTransport]) -> None:
    """Otherwise the encrypted copy of a body of a gigabyte would lie in memory beside it."""
    body = bytes(10 * SEND_BLOCKSIZE)
    transport = connect(echo)
    assert transport.send(body) == SEND_BLOCKSIZE
    assert len(read_exactly(transport, SEND_BLOCKSIZE)) == SEND_BLOCKSIZE


def test_a_large_answer_arrives_whole(connect: Callable[..., SSLTransport]) -> None:
    body = bytes(range(256)) * 8000
    transport = connect(lambda tls: tls.sendall(body))
    assert read_exactly(transport, len(body)) == body


@pytest.mark.parametrize("method", ["recv", "recv_into", "send", "sendall"])
def test_flags_are_refused(method: str, connect: Callable[..., SSLTransport]) -> None:
    transport = connect(echo)
    arguments: tuple[Any, ...] = {
        "recv": (1, 1),
        "recv_into": (bytearray(1), 1, 1),
        "send": (b"x", 1),
        "sendall": (b"x", 1),
    }[method]
    with pytest.raises(ValueError, match=f"^non-zero flags not allowed in calls to {method}$"):
        getattr(transport, method)(*arguments)


# -- the end of the stream -------------------------------------------------------------------------


def test_close_notify_is_the_end(connect: Callable[..., SSLTransport]) -> None:
    transport = connect(lambda tls: (tls.sendall(b"all"), tls.unwrap()), suppress_ragged_eofs=False)
    assert transport.recv(10) == b"all"
    assert transport.recv(10) == b""
    assert transport.recv_into(bytearray(4)) == 0
    transport.unwrap()
    assert transport.recv(10) == b""


def test_an_end_without_close_notify_is_an_error_on_demand(
    connect: Callable[..., SSLTransport],
) -> None:
    """RFC 9112, 9.8: for a body that lasts until the close it means that bytes may be missing."""
    transport = connect(lambda tls: tls.sendall(b"part"), suppress_ragged_eofs=False)
    assert transport.recv(10) == b"part"
    with pytest.raises(ssl.SSLEOFError):
        transport.recv(10)
    with pytest.raises(ssl.SSLEOFError):
        transport.recv_into(bytearray(4))


def test_an_end_without_close_notify_is_suppressed_otherwise(
    connect: Callable[..., SSLTransport],
) -> None:
    transport = connect(lambda tls: tls.sendall(b"part"))
    assert transport.recv(10) == b"part"
    assert transport.recv(10) == b""
    assert transport.read(10, bytearray(10)) == 0


def test_unwrap_leaves_the_socket_below_in_the_clear(certs: Certificates) -> None:
    def serve(sock: socket.socket) -> None:
        tls = certs.server_context().wrap_socket(sock, server_side=True)
        with tls:
            tls.recv(10)
            with tls.unwrap() as plain:
                plain.sendall(b"in the clear")

    with Peer(serve) as sock:
        transport = SSLTransport(sock, certs.client_context(), "localhost")
        transport.sendall(b"done")
        transport.unwrap()
        # What came behind close_notify in the same packet has been read already.
        rest = transport.incoming.read() or sock.recv(100)
        assert rest == b"in the clear"


def test_shutdown_wakes_a_reader_in_another_thread(connect: Callable[..., SSLTransport]) -> None:
    over = threading.Event()
    transport = connect(lambda tls: over.wait(PATIENCE))
    seen: list[bytes] = []
    reader = threading.Thread(target=lambda: seen.append(transport.recv(10)))
    reader.start()
    transport.shutdown(socket.SHUT_RD)
    reader.join(PATIENCE)
    over.set()
    assert seen == [b""]


# -- timeouts --------------------------------------------------------------------------------------


def test_the_timeout_below_bounds_reads(connect: Callable[..., SSLTransport]) -> None:
    transport = connect(echo)
    assert transport.gettimeout() == PATIENCE
    transport.settimeout(0.01)
    with pytest.raises(TimeoutError):
        transport.recv(10)
    transport.settimeout(PATIENCE)
    transport.sendall(b"still usable")
    assert transport.recv(100) == b"still usable"


def test_a_write_that_timed_out_half_way_is_completed_by_the_next_one(
    connect: Callable[..., SSLTransport],
) -> None:
    """Records are numbered: if the rest of one were lost, the peer could not read on."""
    go = threading.Event()
    received = bytearray()

    def serve(tls: Any) -> None:
        go.wait(PATIENCE)
        while not received.endswith(b"END"):
            received.extend(tls.recv(65536))
        tls.sendall(b"all of it")

    transport = connect(serve)
    transport.settimeout(0.05)
    sent = 0
    try:
        while True:
            sent += transport.send(b"x" * SEND_BLOCKSIZE)
    except TimeoutError:
        assert sent
    go.set()
    transport.settimeout(PATIENCE)
    transport.sendall(b"END")
    assert transport.recv(100) == b"all of it"
    assert received[sent:].strip(b"x") == b"END"


def test_a_socket_that_does_not_block_says_so(certs: Certificates) -> None:
    def serve(sock: socket.socket) -> None:
        with certs.server_context().wrap_socket(sock, server_side=True) as tls:
            echo(tls)

    with Peer(serve) as sock:
        transport = SSLTransport(sock, certs.client_context(), "localhost")
        transport.settimeout(0)
        with pytest.raises(ssl.SSLWantReadError):
            # TLS 1.3 tickets may come first, they are no data.
            transport.recv(10)
        assert transport.fileno() == sock.fileno()
        transport.sendall(b"x")
        assert select.select([transport], [], [], PATIENCE)[0] == [transport]
        transport.settimeout(PATIENCE)
        assert transport.recv(10) == b"x"


class Clock:
    """Jumps by a second at each look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def test_the_timeout_below_bounds_the_whole_handshake(certs: Certificates) -> None:
    def drip(sock: socket.socket) -> None:
        sock.sendall(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03" + bytes(1000))
        sock.recv(1)  # returns when the client gives up

    class OneByte(socket.socket):
        """Gets a byte at a time, and each of them at once."""

        def recv(self, size: int, flags: int = 0) -> bytes:
            return super().recv(1, flags)

    clock = Clock()
    with Peer(drip) as sock, OneByte(fileno=sock.detach()) as slow:
        slow.settimeout(30.0)
        with pytest.raises(TimeoutError, match="handshake operation timed out"):
            SSLTransport(slow, certs.client_context(), "localhost", clock=clock)
        assert 30.0 <= clock.now < 40.0
        assert slow.gettimeout() == 30.0
        assert slow.fileno() != -1  # the caller's, as the constructor failed


# -- failures --------------------------------------------------------------------------------------


def test_a_server_that_hangs_up_is_an_error_of_the_handshake(certs: Certificates) -> None:
    # The rest of our hello is still unread then: depending on the moment it is a reset.
    errors = (ssl.SSLEOFError, ConnectionError)
    with Peer(lambda sock: sock.recv(1)) as sock, pytest.raises(errors):
        SSLTransport(sock, certs.client_context(), "localhost")


def test_the_server_is_told_why(certs: Certificates) -> None:
    """The alert says "unknown CA" instead of leaving the server with a cut connection."""
    heard: list[str] = []

    def serve(sock: socket.socket) -> None:
        try:
            certs.server_context(certs.untrusted).wrap_socket(sock, server_side=True).recv(1)
        except ssl.SSLError as error:
            heard.append(error.reason)

    peer = Peer(serve)
    with peer as sock, pytest.raises(ssl.SSLCertVerificationError):
        SSLTransport(sock, certs.client_context(), "localhost")
    assert heard == ["TLSV1_ALERT_UNKNOWN_CA"]


def test_a_context_that_cannot_work_in_memory_is_refused() -> None:
    with pytest.raises(
        ProxySchemeUnsupported, match=r"TLS in TLS requires SSLContext.wrap_bio\(\)"
    ):
        SSLTransport(None, object())
    with pytest.raises(ProxySchemeUnsupported):
        SSLTransport._validate_ssl_context_for_tls_in_tls(object())


# -- files -----------------------------------------------------------------------------------------


def test_a_file_reads_lines_and_keeps_the_connection_open(
    connect: Callable[..., SSLTransport],
) -> None:
    """http.client makes a file of the socket and closes the socket before the file."""
    transport = connect(lambda tls: (tls.sendall(b"one\ntwo\n"), tls.recv(1)))
    file = transport.makefile("rb")
    transport.close()
    assert file.readline() == b"one\n"
    assert transport.fileno() != -1
    assert file.readline() == b"two\n"
    file.close()
    assert transport.fileno() == -1


@pytest.mark.parametrize("mode", ["rwb", "rw"])
def test_a_file_for_both_directions(mode: str, connect: Callable[..., SSLTransport]) -> None:
    transport = connect(echo)
    with transport.makefile(mode, encoding=None if "b" in mode else "utf-8") as file:
        line = b"line\n" if "b" in mode else "line\n"
        file.write(line)
        file.flush()
        assert file.readline() == line


def test_other_kinds_of_files(connect: Callable[..., SSLTransport]) -> None:
    transport = connect(echo)
    with transport.makefile("wb", 0) as raw:
        assert isinstance(raw, socket.SocketIO)
        raw.write(b"raw\n")
    with transport.makefile("wb") as writer:
        assert isinstance(writer, io.BufferedWriter)
        writer.write(b"buffered\n")
    with transport.makefile("r", newline="\n") as text:
        assert text.mode == "r"
        assert [text.readline(), text.readline()] == ["raw\n", "buffered\n"]


@pytest.mark.parametrize(
    ("mode", "buffering", "text"),
    [
        ("x", None, r"^invalid mode 'x' \(only r, w, b allowed\)$"),
        ("r", 0, "^unbuffered streams must be binary$"),
    ],
)
def test_wrong_modes_are_refused(
    mode: str, buffering: int | None, text: str, connect: Callable[..., SSLTransport]
) -> None:
    with pytest.raises(ValueError, match=text):
        connect(echo).makefile(mode, buffering)


# -- what is known about the connection ------------------------------------------------------------


def test_the_connection_can_be_asked(connect: Callable[..., SSLTransport]) -> None:
    transport = connect(echo)
    assert ("DNS", "localhost") in transport.getpeercert()["subjectAltName"]
    assert ssl.DER_cert_to_PEM_cert(transport.getpeercert(binary_form=True))
    assert transport.version() == "TLSv1.3"
    assert transport.cipher()[1] == "TLSv1.3"
    assert transport.selected_alpn_protocol() is None
    assert transport.compression() is None
    transport.shared_ciphers()
    assert transport.getsockname() == transport.getpeername() == ""  # a socket pair has no names
    assert "SSLTransport over <" in repr(transport)
