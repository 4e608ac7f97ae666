"""The web application of `app`, served on loopback by a thread of the test process.

::

    with DummyServer() as server:
        client.get(server.http_url + "/echo")

Everything listens on ephemeral ports.  When the block ends, the thread is joined and the event loop
and all sockets are closed, also those of connections that a client left open.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress

from tornado.httpserver import HTTPServer

from .app import make_app
from .certs import Certificates

#: Seconds that starting or stopping may take.
PATIENCE = 30.0

#: Largest request body, in bytes.
MAX_BODY = 1 << 30


class DummyServer:
    """One application on several ports; start and stop it with a ``with`` block.

    :param certificates: certificates to use.  Without it the server makes (and removes) its own.
    :ivar http_url: plain HTTP, on 127.0.0.1.
    :ivar https_url: a good certificate, named ``localhost``, listening on 127.0.0.1.
    :ivar http_ipv6_url: plain HTTP on ``[::1]``; empty if the machine has no IPv6.
    :ivar https_ipv6_url: a good certificate on ``[::1]``; empty if the machine has no IPv6.
    :ivar expired_url: the certificate ended in 2001.
    :ivar wrong_host_url: the certificate is for another host.
    :ivar no_san_url: the certificate names the host in its common name only.
    :ivar untrusted_url: the certificate was signed by an authority not in `ca_file`.
    :ivar client_cert_url: asks for a client certificate of our authority.

    All methods are for the thread that made the server; clients may come from any.
    """

    def __init__(self, certificates: Certificates | None = None) -> None:
        self._given = certificates
        self._cleanup = ExitStack()
        self._thread: threading.Thread | None = None
        self.http_url = self.https_url = ""
        self.http_ipv6_url = self.https_ipv6_url = ""
        self.expired_url = self.wrong_host_url = self.no_san_url = self.untrusted_url = ""
        self.client_cert_url = ""

    def __enter__(self) -> DummyServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def certificates(self) -> Certificates:
        """The certificates in use; only while the server runs."""
        if self._thread is None:
            raise RuntimeError("the server is not running")
        return self._certificates

    @property
    def ca_file(self) -> str:
        """The authority's certificate, which a client must trust."""
        return self.certificates.ca_file

    @property
    def http_port(self) -> int:
        """The port of `http_url`."""
        return _port(self.http_url)

    @property
    def https_port(self) -> int:
        """The port of `https_url`."""
        return _port(self.https_url)

    def start(self) -> None:
        """Listen, and serve in a new thread.

        :raises RuntimeError: the server runs already.
        """
        if self._thread is not None:
            raise RuntimeError("the server runs already")
        with ExitStack() as stack:  # undone unless all of it succeeds
            self._certificates = self._given or stack.enter_context(Certificates())
            listeners = list(self._listen(stack))
            loop_ready = threading.Event()
            thread = threading.Thread(
                target=self._run, args=(listeners, loop_ready), name="dummyserver", daemon=True
            )
            self._error: BaseException | None = None
            thread.start()
            if not loop_ready.wait(PATIENCE) or self._error is not None:
                raise RuntimeError("the server did not start") from self._error
            self._cleanup = stack.pop_all()
        self._thread = thread

    def stop(self) -> None:
        """End the thread and close every socket; does nothing if the server is not running."""
        if self._thread is None:
            return
        with suppress(RuntimeError):  # the loop has ended by itself: its error is raised below
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(PATIENCE)
        still_running = self._thread.is_alive()
        self._thread = None
        self._cleanup.close()
        if still_running or self._error is not None:
            raise RuntimeError("the server did not stop cleanly") from self._error

    def _listen(self, stack: ExitStack) -> Iterator[tuple[socket.socket, ssl.SSLContext | None]]:
        """Open one listening socket per kind and write its address into our attribute."""
        certificates = self._certificates
        good = certificates.server_context()
        kinds: list[tuple[str, str, str, ssl.SSLContext | None]] = [
            ("http_url", "127.0.0.1", "127.0.0.1", None),
            ("https_url", "127.0.0.1", "localhost", good),
        ]
        if _has_ipv6():
            kinds += [
                ("http_ipv6_url", "::1", "[::1]", None),
                ("https_ipv6_url", "::1", "[::1]", good),
            ]
        for kind in ("expired", "wrong_host", "no_san", "untrusted"):
            context = certificates.server_context(getattr(certificates, kind))
            kinds.append((f"{kind}_url", "127.0.0.1", "localhost", context))
        picky = certificates.server_context(client_certificate=True)
        kinds.append(("client_cert_url", "127.0.0.1", "localhost", picky))

        for attribute, address, host, tls in kinds:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            listener = stack.enter_context(
                socket.create_server((address, 0), family=family, backlog=128)
            )
            listener.setblocking(False)
            scheme = "http" if tls is None else "https"
            setattr(self, attribute, f"{scheme}://{host}:{listener.getsockname()[1]}")
            yield listener, tls

    def _run(
        self,
        listeners: list[tuple[socket.socket, ssl.SSLContext | None]],
        loop_ready: threading.Event,
    ) -> None:
        try:
            asyncio.run(self._serve(listeners, loop_ready))
        except BaseException as error:  # start() or stop() raises it in the thread that waits
            self._error = error
        finally:
            loop_ready.set()

    async def _serve(
        self,
        listeners: list[tuple[socket.socket, ssl.SSLContext | None]],
        loop_ready: threading.Event,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        app = make_app()
        servers = []
        for listener, tls in listeners:
            server = HTTPServer(
                app, ssl_options=tls, max_buffer_size=MAX_BODY, max_body_size=MAX_BODY
            )
            server.add_socket(listener)
            servers.append(server)
        loop_ready.set()
        await self._stopping.wait()
        for server in servers:
            server.stop()
        for server in servers:
            await server.close_all_connections()


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


def _has_ipv6() -> bool:
    if not socket.has_ipv6:
        return False
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False
