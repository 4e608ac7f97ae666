"""A raw server that plays a conversation which the test writes down, line by line.

Web servers refuse to send what a client must survive: half a head, a body that is too short, a
reset in the middle.  Here one exchange is one line::

    with ScriptedServer() as script:
        script.accept().expect(b"GET /one ").send(b"HTTP/1.1 204 No Content\\r\\n\\r\\n").close()
        ...  # the client under test talks to script.url
    script.assert_finished()

Each `accept()` stands for one connection, in the order in which the client opens them.  Every
connection is played by a thread of its own, so connections may overlap.  Each step has a deadline:
a client that never sends what is expected makes the step fail instead of blocking the test run.
"""

from __future__ import annotations

import queue
import re
import selectors
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple, TypeAlias

from .tls import TLSEnd

#: Seconds one step may take before it counts as failed.
STEP_DEADLINE = 10.0

#: Seconds that steps which are still waiting get when the script is closed.  The client is done by
#: then and all it sent has arrived, so what is missing now will not come.
CLOSING_GRACE = 1.0

#: Largest request, in bytes, that a step reads: a runaway client must not eat the memory.
MAX_REQUEST = 256 * 1024 * 1024

#: How much of a request or of a step is shown in a failure, in characters.
SHOWN = 200

#: What a request is compared with: its first bytes, a regular expression to find in it, or a
#: function of it that returns False or raises AssertionError if the request is wrong.
Expectation: TypeAlias = "bytes | re.Pattern[bytes] | Callable[[bytes], object]"

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r\n]*chunked[ \t]*\r\n", re.IGNORECASE)


class ScriptFailure(AssertionError):
    """The client did not do what the script says."""


class _Step(NamedTuple):
    label: str
    play: Callable[[], object]


class Conversation:
    """What happens on one connection, as a chain of steps.

    Steps are played in the order in which they are written, and may be added while the
    conversation runs.  After the last step the connection stays open until the script is closed.
    If a step fails, the connection is reset, so that the client notices at once, and the failure is
    reported by `ScriptedServer.assert_finished`.

    :ivar requests: the requests received on this connection, as raw bytes.
    :ivar received: what else was read, by `read_exactly` and `read_until`, in order.
    """

    def __init__(
        self,
        number: int,
        tls: ssl.SSLContext | None,
        deadline: float,
        requests_of_all: list[bytes],
        handshake_fails: bool,
    ) -> None:
        self.requests: list[bytes] = []
        self.received: list[bytes] = []
        self.failure: str | None = None
        #: Bytes that `flood` could send.
        self.bytes_flooded = 0
        self._number = number
        self._tls = tls
        self._deadline = deadline
        self._requests_of_all = requests_of_all
        self._handshake_fails = handshake_fails
        self._steps: queue.Queue[_Step | None] = queue.Queue()
        self._sock: socket.socket | TLSEnd | None = None
        self._buffer = bytearray()
        self._step_ends = 0.0
        self._aborted = threading.Event()
        self._thread: threading.Thread | None = None

    # -- the lines of a script ------------------------------------------------------------------

    def expect(self, expectation: Expectation, *, body: bool = True) -> Conversation:
        """Read one request and fail unless it is as expected.

        :param expectation: the request's first bytes, or a compiled bytes pattern that is searched
            in the whole request, or a function that gets the whole request.
        :param body: read the body too (by Content-Length or chunked) before going on.  With False
            it stays unread, for `read_exactly` or for nobody.
        """
        if isinstance(expectation, re.Pattern):
            if not isinstance(expectation.pattern, bytes):
                raise TypeError(f"the pattern must be one for bytes: {expectation.pattern!r}")
        elif not isinstance(expectation, bytes) and not callable(expectation):
            raise TypeError(f"expected bytes, a bytes pattern or a function, not {expectation!r}")

        def play() -> None:
            request = self._read_request(body)
            self.requests.append(request)
            self._requests_of_all.append(request)
            _compare(request, expectation)

        return self._add(f"expect({_show(expectation)})", play)

    def send(self, data: bytes) -> Conversation:
        """Send `data` as it is; it is not made valid HTTP."""
        _require_bytes(data)
        return self._add(f"send({_show(data)})", lambda: self._send(data))

    def send_each_byte(self, data: bytes) -> Conversation:
        """Send `data` in as many writes as it has bytes, without Nagle's algorithm."""
        _require_bytes(data)

        def play() -> None:
            for i in range(len(data)):
                self._send(data[i : i + 1])

        return self._add(f"send_each_byte({_show(data)})", play)

    def flood(self, data: bytes, *, limit: int) -> Conversation:
        """Send `data` again and again until the client closes, or until `limit` bytes are sent.

        Neither is a failure: the test looks at `bytes_flooded`.  Kernel buffers take some megabytes
        that the client has never read, so choose a `limit` far above what the client may accept.
        """
        _require_bytes(data)

        def play() -> None:
            with suppress(ConnectionError, ssl.SSLError):
                while self.bytes_flooded < limit:
                    self._send(data)
                    self.bytes_flooded += len(data)

        return self._add(f"flood({_show(data)})", play)

    def pause_until(self, event: threading.Event) -> Conversation:
        """Go on when the test sets `event`."""

        def play() -> None:
            while not event.wait(0.02):  # short waits, so that closing the script ends this one
                if self._time_left() <= 0 or self._aborted.is_set():
                    raise TimeoutError

        return self._add("pause_until()", play)

    def notify(self, event: threading.Event) -> Conversation:
        """Set `event`: tells the test that all steps before this one were played."""
        return self._add("notify()", event.set)

    def run(self, function: Callable[[socket.socket | TLSEnd], object]) -> Conversation:
        """Call `function` with the server's end, for what no other step can do."""
        return self._add(f"run({function!r})", lambda: function(self._armed()))

    def read_exactly(self, size: int) -> Conversation:
        """Read `size` bytes and append them to `received`."""
        if size < 0:
            raise ValueError(f"size must not be negative: {size}")
        return self._add(f"read_exactly({size})", lambda: self.received.append(self._take(size)))

    def read_until(self, end: bytes) -> Conversation:
        """Read up to and including `end`, and append what was read to `received`."""
        _require_bytes(end)
        return self._add(
            f"read_until({_show(end)})",
            lambda: self.received.append(self._take(self._find(end, 0))),
        )

    def expect_eof(self) -> Conversation:
        """Fail unless the client closes the connection (or resets it) without another byte."""

        def play() -> None:
            with suppress(ConnectionError, ssl.SSLError):
                self._receive_more()
            if self._aborted.is_set():  # it was us who ended the connection
                raise TimeoutError
            if self._buffer:
                raise ScriptFailure(f"the client sent {_show(bytes(self._buffer))}")

        return self._add("expect_eof()", play)

    def start_tls(self, context: ssl.SSLContext) -> Conversation:
        """Take the server's part in a TLS handshake now, such as after a CONNECT.

        A second one puts TLS inside TLS.
        """
        return self._add("start_tls()", lambda: self._handshake(context))

    def shutdown_write(self) -> Conversation:
        """End our direction (FIN, after close_notify with TLS) and go on reading."""

        def play() -> None:
            sock = self._armed()
            if isinstance(sock, TLSEnd):
                sock.send_close_notify()
            sock.shutdown(socket.SHUT_WR)

        return self._add("shutdown_write()", play)

    def close(self, *, notify: bool = True) -> Conversation:
        """Close the connection in good order.

        :param notify: with TLS, send close_notify first.  Without it the client cannot tell this
            end from one that an attacker made (RFC 8446, 6.1).
        """
        return self._add("close()", lambda: self._close(notify))

    def reset(self) -> Conversation:
        """Close the connection with RST; the client loses what it has not read yet."""
        return self._add("reset()", self._reset)

    # -- what a step is made of -----------------------------------------------------------------

    def _add(self, label: str, play: Callable[[], object]) -> Conversation:
        self._steps.put(_Step(label, play))
        return self

    def _socket(self) -> socket.socket | TLSEnd:
        if self._sock is None:
            raise ScriptFailure("the script has closed this connection already")
        return self._sock

    def _time_left(self) -> float:
        return self._step_ends - time.monotonic()

    def _armed(self) -> socket.socket | TLSEnd:
        """Return the socket with the rest of the step's time as its timeout."""
        left = self._time_left()
        if left <= 0:
            raise TimeoutError
        sock = self._socket()
        sock.settimeout(left)
        return sock

    def _send(self, data: bytes) -> None:
        self._armed().sendall(data)

    def _receive_more(self) -> bool:
        """Read what there is into the buffer; False at the end of the stream."""
        data = self._armed().recv(65536)
        self._buffer += data
        if len(self._buffer) > MAX_REQUEST:
            raise ScriptFailure(f"the client sent more than {MAX_REQUEST} bytes")
        return bool(data)

    def _require_more(self) -> None:
        if not self._receive_more():
            raise ScriptFailure(f"the client closed after {_show(bytes(self._buffer))}")

    def _find(self, end: bytes, start: int) -> int:
        """Return where the first `end` behind `start` ends, reading until it is there."""
        searched = start
        while (at := self._buffer.find(end, searched)) < 0:
            searched = max(start, len(self._buffer) - len(end) + 1)
            self._require_more()
        return at + len(end)

    def _need(self, size: int) -> None:
        while len(self._buffer) < size:
            self._require_more()

    def _take(self, size: int) -> bytes:
        self._need(size)
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _read_request(self, body: bool) -> bytes:
        end = self._find(b"\r\n\r\n", 0)
        head = bytes(self._buffer[:end])
        if body and _CHUNKED.search(head):
            end = self._end_of_chunks(end)
        elif body and (length := _CONTENT_LENGTH.search(head)):
            end += int(length[1])
        return self._take(end)

    def _end_of_chunks(self, position: int) -> int:
        while True:
            line_end = self._find(b"\r\n", position)
            line = bytes(self._buffer[position : line_end - 2])
            try:
                size = int(line.partition(b";")[0], 16)
            except ValueError:
                raise ScriptFailure(f"not a chunk size: {_show(line)}") from None
            position = line_end
            if size == 0:
                break
            position += size + 2
            self._need(position)
        while (line_end := self._find(b"\r\n", position)) > position + 2:
            position = line_end  # a trailer field
        return line_end

    def _handshake(self, context: ssl.SSLContext) -> None:
        if self._buffer:
            raise ScriptFailure(f"before the handshake came {_show(bytes(self._buffer))}")
        tls = TLSEnd(self._armed(), context)
        self._sock = tls
        tls.do_handshake()

    def _refused_handshake(self, context: ssl.SSLContext) -> None:
        try:
            self._handshake(context)
        except (ssl.SSLError, ConnectionError):
            self._drop()
        else:
            raise ScriptFailure("the handshake succeeded, but the script says that it fails")

    def _close(self, notify: bool) -> None:
        sock = self._socket()
        if notify and isinstance(sock, TLSEnd):
            with suppress(OSError):
                sock.send_close_notify()
        # A close with unread bytes would send RST and could destroy the answer on its way.
        sock.settimeout(0)
        with suppress(OSError):
            while sock.recv(65536):
                pass
        self._drop()

    def _reset(self) -> None:
        sock = self._socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._drop()

    def _drop(self) -> None:
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()

    # -- the thread that plays ------------------------------------------------------------------

    def _start(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._thread = threading.Thread(
            target=self._play_all, name=f"script-connection-{self._number}", daemon=True
        )
        self._thread.start()

    def _play_all(self) -> None:
        try:
            if self._tls is not None:
                greet = self._refused_handshake if self._handshake_fails else self._handshake
                tls = self._tls
                self._play(_Step("TLS handshake", lambda: greet(tls)))
            while self.failure is None and (step := self._next_step()) is not None:
                self._play(step)
            if self._sock is not None:
                if self.failure is None:
                    self._close(notify=True)
                else:
                    self._reset()
        except OSError:
            pass  # the client was faster with closing
        finally:
            self._drop()

    def _next_step(self) -> _Step | None:
        while True:
            try:
                return self._steps.get(timeout=self._deadline)
            except queue.Empty:
                unexpected = self._unexpected_bytes()
                if unexpected:
                    self.failure = f"no line expects {_show(unexpected)}"
                    return None

    def _unexpected_bytes(self) -> bytes:
        """What the client sent and no step reads.  TLS has no peeking: only the buffer then."""
        data = bytes(self._buffer)
        if isinstance(self._sock, socket.socket):
            self._sock.settimeout(0)
            with suppress(OSError):
                data += self._sock.recv(SHOWN, socket.MSG_PEEK)
        return data

    def _play(self, step: _Step) -> None:
        self._step_ends = time.monotonic() + self._deadline
        try:
            step.play()
        except Exception as error:
            self.failure = f"{step.label}: {self._reason(error)}"

    def _reason(self, error: Exception) -> str:
        if self._aborted.is_set():
            reason = "still waiting when the script was closed"
        elif isinstance(error, TimeoutError):
            reason = f"not done within {self._deadline:g} seconds"
        elif isinstance(error, ScriptFailure):
            return str(error)
        else:
            reason = f"{type(error).__name__}: {error}"
        return f"{reason}; unread: {_show(bytes(self._buffer))}" if self._buffer else reason

    def _finish(self) -> None:
        """No step will follow: let the thread end after those that there are."""
        self._steps.put(None)

    def _join(self, until: float) -> None:
        """Wait for the thread; what is not played at `until` (monotonic) is interrupted."""
        if self._thread is None:
            return
        self._thread.join(max(0.0, until - time.monotonic()))
        if self._thread.is_alive():
            self._aborted.set()
            sock = self._sock
            if sock is not None:
                with suppress(OSError):  # wakes a thread that is blocked in recv or send
                    sock.shutdown(socket.SHUT_RDWR)
            self._thread.join()

    def _unplayed(self) -> Iterator[str]:
        with suppress(queue.Empty):
            while True:
                step = self._steps.get_nowait()
                if step is not None:
                    yield step.label

    def _complaint(self) -> str | None:
        """Say what is wrong with this conversation now that it is over."""
        where = f"connection {self._number}"
        if self._thread is None:
            lines = ", ".join(self._unplayed()) or "no further step"
            return f"{where}: the client never connected (never played: {lines})"
        if self.failure is not None:
            return f"{where}: {self.failure}"
        return None


class ScriptedServer:
    """Listens on an ephemeral loopback port and plays one `Conversation` per connection.

    :param tls: talk TLS from the first byte on every connection, with this server context.
    :param host: the loopback address to listen on; one with a colon is IPv6.
    :param deadline: seconds that each step may take.
    :ivar requests: the requests of all connections as raw bytes, in the order of their arrival.

    `close()`, or the end of the ``with`` block, joins all threads and closes all sockets.  Write
    the lines of a connection before the client opens it: one that no `accept()` stands for is a
    failure.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        deadline: float = STEP_DEADLINE,
    ) -> None:
        self.requests: list[bytes] = []
        self.host = host
        self._tls = tls
        self._deadline = deadline
        # Guards the two lists below and `_accepted`; steps run outside it.
        self._lock = threading.Lock()
        self._conversations: list[Conversation] = []
        self._surplus: list[str] = []
        self._accepted = 0
        self._closed = False
        self._close_by: float | None = None  # monotonic; read by the acceptor once it is woken
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._acceptor = threading.Thread(
            target=self._accept_all, name="script-accept", daemon=True
        )
        self._acceptor.start()

    @property
    def url(self) -> str:
        """``http://`` or ``https://``, host and port, without a path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'http' if self._tls is None else 'https'}://{host}:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections clients have opened so far."""
        with self._lock:
            return self._accepted

    def accept(self, *, handshake_fails: bool = False) -> Conversation:
        """Start the lines of the next connection.

        :param handshake_fails: with TLS: the client (or we) must refuse the other's certificate.
        """
        if handshake_fails and self._tls is None:
            raise ValueError("handshake_fails needs a server with tls=")
        with self._lock:
            if self._closed:
                raise ValueError("the script is closed: write its lines before that")
            conversation = Conversation(
                len(self._conversations) + 1,
                self._tls,
                self._deadline,
                self.requests,
                handshake_fails,
            )
            self._conversations.append(conversation)
        return conversation

    def __enter__(self) -> ScriptedServer:
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *_: object) -> None:
        self.close(grace=CLOSING_GRACE if exc_type is None else 0.0)

    def close(self, grace: float = CLOSING_GRACE) -> None:
        """Play what can still be played, end all threads and close all sockets.

        :param grace: seconds that waiting steps get.  A second call does nothing.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
        until = self._close_by = time.monotonic() + grace
        self._wake_writer.close()
        self._acceptor.join()
        self._listener.close()
        self._wake_reader.close()
        for conversation in self._conversations:
            conversation._finish()
        for conversation in self._conversations:
            conversation._join(until)

    def assert_finished(self) -> None:
        """Close the script and fail unless every line was played and every expectation met.

        :raises ScriptFailure: (an AssertionError) names each connection's first failure.
        """
        self.close()
        complaints = [text for c in self._conversations if (text := c._complaint())]
        complaints += self._surplus
        if complaints:
            raise ScriptFailure(
                "the script was not played as written\n  " + "\n  ".join(complaints)
            )

    def _accept_all(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._wake_reader, selectors.EVENT_READ)
            while self._close_by is None:
                selector.select()
                self._accept_waiting()
            selector.unregister(self._wake_reader)
            self._accept_waiting()
            # A client is connected a moment before the kernel hands its connection to us.
            while self._awaited() and (left := self._close_by - time.monotonic()) > 0:
                selector.select(left)
                self._accept_waiting()

    def _awaited(self) -> bool:
        with self._lock:
            return self._accepted < len(self._conversations)

    def _accept_waiting(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return  # nobody is waiting, or gone again
            with self._lock:
                self._accepted += 1
                number = self._accepted
                conversation = (
                    self._conversations[number - 1] if number <= len(self._conversations) else None
                )
                if conversation is None:
                    self._surplus.append(f"connection {number}: no accept() stands for it")
            if conversation is None:
                sock.close()
            else:
                conversation._start(sock)


@contextmanager
def scripted_server(**options: object) -> Iterator[ScriptedServer]:
    """Give a `ScriptedServer` and assert at the end that it was played as written."""
    with ScriptedServer(**options) as server:  # type: ignore[arg-type]
        yield server
    server.assert_finished()


def _compare(request: bytes, expectation: Expectation) -> None:
    if isinstance(expectation, bytes):
        matches: object = request.startswith(expectation)
    elif isinstance(expectation, re.Pattern):
        matches = expectation.search(request) is not None
    else:
        matches = expectation(request) is not False
    if not matches:
        raise ScriptFailure(f"got {_show(request)}")


def _require_bytes(data: object) -> None:
    if not isinstance(data, bytes):
        raise TypeError(f"bytes are needed, not {type(data).__name__}")


def _show(value: object) -> str:
    text = repr(value.pattern if isinstance(value, re.Pattern) else value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}... ({len(text)} characters)"
