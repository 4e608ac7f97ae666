"""TLS over anything that behaves like a socket, another TLS connection included.

A tunnel through an HTTPS proxy is TLS inside TLS.  ``ssl.SSLSocket`` can only encrypt what goes to
the operating system, so here the records are made in memory (``ssl.MemoryBIO``) and carried by
whatever transport is below.
"""

from __future__ import annotations

import io
import socket as socket_module
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ..exceptions import ProxySchemeUnsupported

try:
    import ssl
except ImportError:  # a build without OpenSSL: nobody can have a context to hand in
    ssl = None  # type: ignore[assignment]

#: Largest TLS record, in bytes (RFC 8446, 5.1): how much is read from below at a time.
SSL_BLOCKSIZE = 16384

#: How much is encrypted at a time when sending, in bytes: it bounds the memory of a large `send`.
SEND_BLOCKSIZE = 4 * SSL_BLOCKSIZE


class SSLTransport:
    """One TLS client connection over `socket`; the handshake is done by the constructor.

    :param socket: a connected socket or TLS connection.  It belongs to the transport from now on,
        except that it stays open if the constructor fails.
    :param ssl_context: makes the connection; not changed.
    :param server_hostname: name for SNI, and to verify if the context checks names.
    :param suppress_ragged_eofs: an end of the stream without ``close_notify`` reads as ``b""``.
        With False it is an ``ssl.SSLEOFError``: the peer, or somebody in between, cut the stream.
    :param lender: context whose client certificate and trust store serve in the handshake, if not
        those of `ssl_context`.
    :param session: an ``ssl.SSLSession`` of `ssl_context` to resume.
    :param clock: monotonic seconds.  The timeout of `socket` bounds the handshake as a whole.

    :raises ProxySchemeUnsupported: the context cannot work in memory.
    :raises ssl.SSLError: the handshake failed.
    :raises TimeoutError: it was not over within the timeout of `socket`.

    Timeouts are those of `socket`: each read or write of it is bounded.  As with sockets, one
    thread may call `shutdown` while another one waits, but only one may read or write.
    """

    def __init__(
        self,
        socket: Any,
        ssl_context: Any,
        server_hostname: str | None = None,
        suppress_ragged_eofs: bool = True,
        *,
        lender: Any = None,
        session: Any = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._validate_ssl_context_for_tls_in_tls(ssl_context)
        self.incoming: Any = ssl.MemoryBIO()
        self.outgoing: Any = ssl.MemoryBIO()
        self.suppress_ragged_eofs = suppress_ragged_eofs
        self.socket = socket
        self._unsent = memoryview(b"")
        # As in socket.socket: files made of this transport keep the descriptor open.
        self._io_refs = 0
        self._closed = False
        self.sslobj: Any = ssl_context.wrap_bio(
            self.incoming, self.outgoing, server_hostname=server_hostname
        )
        if session is not None:
            self.sslobj.session = session
        if lender is not None:
            self.sslobj.context = lender
        self._shake_hands(clock)
        if lender is not None:
            self.sslobj.context = ssl_context

    @staticmethod
    def _validate_ssl_context_for_tls_in_tls(ssl_context: Any) -> None:
        """Refuse contexts that can only wrap sockets.

        :raises ProxySchemeUnsupported: there is no ``wrap_bio``.
        """
        if not hasattr(ssl_context, "wrap_bio"):
            raise ProxySchemeUnsupported(
                "TLS in TLS requires SSLContext.wrap_bio() which isn't "
                "available on non-native SSLContext"
            )

    def __enter__(self) -> SSLTransport:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} over {self.socket!r}>"

    # -- reading --------------------------------------------------------------------------------

    def read(self, len: int = 1024, buffer: Any = None) -> int | bytes:
        """Return at most `len` decrypted bytes, or their number if they went into `buffer`.

        ``b""`` or 0 is the end of the stream.
        """
        end: int | bytes = b"" if buffer is None else 0
        try:
            if buffer is None:
                data: bytes = self._ssl_io_loop(self.sslobj.read, len)
                return data
            count: int = self._ssl_io_loop(self.sslobj.read, len, buffer)
            return count
        except ssl.SSLZeroReturnError:
            return end
        except ssl.SSLEOFError:
            if not self.suppress_ragged_eofs:
                raise
            return end

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Return at most `buflen` bytes, ``b""`` at the end.

        :raises ValueError: `flags` is not 0.
        """
        self._refuse_flags(flags, "recv")
        data = self.read(buflen)
        assert isinstance(data, bytes)
        return data

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        """Fill `buffer` with at most `nbytes` bytes (default: its size); return their number.

        :raises ValueError: `flags` is not 0.
        """
        self._refuse_flags(flags, "recv_into")
        with memoryview(buffer) as view, view.cast("B") as target:
            count = self.read(nbytes or target.nbytes, target) if target.nbytes else 0
        assert isinstance(count, int)
        return count

    def pending(self) -> int:
        """Return how many decrypted bytes a read would deliver at once, without the socket."""
        count: int = self.sslobj.pending()
        return count

    # -- writing --------------------------------------------------------------------------------

    def send(self, data: Any, flags: int = 0) -> int:
        """Encrypt and send the beginning of `data`; return how many bytes that was.

        :raises ValueError: `flags` is not 0.
        """
        self._refuse_flags(flags, "send")
        with memoryview(data) as view, view.cast("B") as source:
            if not source.nbytes:
                return 0
            count: int = self._ssl_io_loop(self.sslobj.write, source[:SEND_BLOCKSIZE])
            return count

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Encrypt and send all of `data`, any contiguous buffer.

        :raises ValueError: `flags` is not 0.
        """
        self._refuse_flags(flags, "sendall")
        with memoryview(data) as view, view.cast("B") as source:
            sent = 0
            while sent < source.nbytes:
                sent += self.send(source[sent : sent + SEND_BLOCKSIZE])

    # -- ending ---------------------------------------------------------------------------------

    def unwrap(self) -> None:
        """Say ``close_notify`` and wait for that of the peer; the socket below stays open."""
        self._ssl_io_loop(self.sslobj.unwrap)

    def shutdown(self, how: int) -> None:
        """Shut down one or both directions of the socket below; may be called by another thread.

        :param how: ``socket.SHUT_RD``, ``SHUT_WR`` or ``SHUT_RDWR``.  Whoever waits in a read
            sees the end of the stream.  No ``close_notify`` is sent.
        """
        if isinstance(self.socket, ssl.SSLSocket):
            # Its own method drops the TLS state at once: a thread that is reading would go on with
            # encrypted bytes and take them for the plain ones.
            socket_module.socket.shutdown(self.socket, how)
        else:
            self.socket.shutdown(how)

    def close(self) -> None:
        """Close the socket below, as soon as all files made of this transport are closed."""
        self._closed = True
        self._close_if_unused()

    def _decref_socketios(self) -> None:
        # Called by socket.SocketIO.close().
        self._io_refs = max(self._io_refs - 1, 0)
        if self._closed:
            self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._io_refs == 0:
            self.socket.close()

    # -- files ----------------------------------------------------------------------------------

    def makefile(
        self,
        mode: str,
        buffering: int | None = None,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> Any:
        """Return a file of this connection, like ``socket.socket.makefile``.

        :raises ValueError: `mode` has letters other than r, w, b; or an unbuffered text file.
        """
        if not set(mode) <= {"r", "w", "b"}:
            raise ValueError(f"invalid mode {mode!r} (only r, w, b allowed)")
        writing = "w" in mode
        reading = "r" in mode or not writing
        if buffering == 0 and "b" not in mode:
            raise ValueError("unbuffered streams must be binary")
        raw_mode: Any = "rw" if reading and writing else "r" if reading else "w"
        raw = socket_module.SocketIO(self, raw_mode)  # type: ignore[arg-type]
        self._io_refs += 1
        if buffering == 0:
            return raw
        size = io.DEFAULT_BUFFER_SIZE if buffering is None or buffering < 0 else buffering
        buffered: Any
        if reading and writing:
            buffered = io.BufferedRWPair(raw, raw, size)
        elif reading:
            buffered = io.BufferedReader(raw, size)
        else:
            buffered = io.BufferedWriter(raw, size)
        if "b" in mode:
            return buffered
        text = io.TextIOWrapper(buffered, encoding, errors, newline)
        text.mode = mode  # type: ignore[misc]
        return text

    # -- what the two layers know ---------------------------------------------------------------

    def fileno(self) -> int:
        """Return the descriptor of the socket below, for ``poll`` and friends."""
        number: int = self.socket.fileno()
        return number

    def getpeername(self) -> Any:
        """Return the address that the socket below is connected to."""
        return self.socket.getpeername()

    def getsockname(self) -> Any:
        """Return the local address of the socket below."""
        return self.socket.getsockname()

    def settimeout(self, value: float | None) -> None:
        """Bound each wait of the socket below, in seconds; None waits for ever."""
        self.socket.settimeout(value)

    def gettimeout(self) -> float | None:
        """Return the timeout of the socket below, in seconds."""
        timeout: float | None = self.socket.gettimeout()
        return timeout

    @property
    def context(self) -> Any:
        """The context of the TLS connection, as ``SSLSocket.context``."""
        return self.sslobj.context

    @context.setter
    def context(self, context: Any) -> None:
        self.sslobj.context = context

    @property
    def session(self) -> Any:
        """The TLS session, an ``ssl.SSLSession``, for another connection to resume."""
        return self.sslobj.session

    @property
    def session_reused(self) -> bool:
        """Whether the session was that of an earlier connection."""
        return bool(self.sslobj.session_reused)

    def getpeercert(self, binary_form: bool = False) -> Any:
        """Return the peer's certificate, parsed (``{}`` if it was not verified) or as DER."""
        return self.sslobj.getpeercert(binary_form)

    def version(self) -> str | None:
        """Return the version of TLS, such as ``"TLSv1.3"``."""
        version: str | None = self.sslobj.version()
        return version

    def cipher(self) -> Any:
        """Return the name, protocol and secret bits of the cipher suite in use."""
        return self.sslobj.cipher()

    def selected_alpn_protocol(self) -> str | None:
        """Return the protocol that the server chose by ALPN, if it did."""
        protocol: str | None = self.sslobj.selected_alpn_protocol()
        return protocol

    def shared_ciphers(self) -> Any:
        """Return what ``SSLObject.shared_ciphers`` returns; for a client mostly None."""
        return self.sslobj.shared_ciphers()

    def compression(self) -> str | None:
        """Return the compression in use; None, as nobody compresses in TLS any more."""
        algorithm: str | None = self.sslobj.compression()
        return algorithm

    # -- moving records -------------------------------------------------------------------------

    @staticmethod
    def _refuse_flags(flags: int, method: str) -> None:
        if flags:
            raise ValueError(f"non-zero flags not allowed in calls to {method}")

    def _shake_hands(self, clock: Callable[[], float]) -> None:
        timeout = self.gettimeout()
        if not timeout:  # for ever, or non-blocking
            self._ssl_io_loop(self.sslobj.do_handshake)
            return
        deadline = clock() + timeout

        def wait_less() -> None:
            left = deadline - clock()
            if left <= 0:
                raise TimeoutError("The handshake operation timed out")
            self.settimeout(left)

        try:
            self._ssl_io_loop(self.sslobj.do_handshake, before_wait=wait_less)
        finally:
            with suppress(OSError):  # closed by another thread meanwhile
                self.settimeout(timeout)

    def _ssl_io_loop(
        self,
        step: Callable[..., Any],
        *args: Any,
        before_wait: Callable[[], None] = lambda: None,
    ) -> Any:
        """Call `step`, carrying records between OpenSSL and the socket, until it has a result."""
        # A reader wants to know what the peer said, also if the peer no longer listens.
        not_heard = ConnectionError if step == self.sslobj.read else ()
        while True:
            result, done = None, False
            try:
                result, done = step(*args), True
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                # What OpenSSL has to say to the peer, the alert, is worth a try but not an error.
                self._send_records(lambda: None, unheard=(OSError, ValueError))
                raise
            self._send_records(before_wait, unheard=not_heard)
            if done:
                return result
            before_wait()
            try:
                records = self.socket.recv(SSL_BLOCKSIZE)
            except BlockingIOError as error:  # said as TLS sockets do
                raise ssl.SSLWantReadError(str(error)) from error
            if records:
                self.incoming.write(records)
            else:
                self.incoming.write_eof()

    def _send_records(self, before_wait: Callable[[], None], unheard: Any) -> None:
        """Send what OpenSSL has ready; give it up where `unheard` is raised.

        Records are numbered: if the socket takes only a part before a timeout, the rest has to go
        out before anything else, or the peer could not decrypt another byte.
        """
        while self._unsent or self.outgoing.pending:
            if not self._unsent:
                self._unsent = memoryview(self.outgoing.read())
            before_wait()
            try:
                sent = self.socket.send(self._unsent)
            except BlockingIOError as error:
                raise ssl.SSLWantWriteError(str(error)) from error
            except unheard:
                self._unsent = memoryview(b"")
                return
            self._unsent = self._unsent[sent:]
