"""A small web server on loopback for the demo, out of the standard library."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

#: What ``/gzip`` sends, before it is compressed.
TEXT = b"The same words again and again make text that is easily compressed. " * 300
#: Bytes of ``/download``.
DOWNLOAD_SIZE = 4 * 1024 * 1024
#: Failures of ``/busy`` before it answers, for each key.
FAILURES = 2

_PIECE = bytes(range(256)) * 256
#: Seconds between two pieces of ``/download``: slow enough for a progress bar to be seen.
_PACE = 0.01
#: Longest request body, in bytes.
_MAX_UPLOAD = 4 * 1024 * 1024
#: Seconds after which a connection that says nothing is closed.
_SILENCE = 10.0


class DemoServer:
    """The server, running while its ``with`` block does.

    :ivar url: where it listens, on 127.0.0.1 and a port of its own.
    """

    def __init__(self) -> None:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            # Asked often, so that the end of the demo is not waited for.
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.02},
            name="urllib4-demo-server",
            daemon=True,
        )

    def __enter__(self) -> DemoServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.end_connections()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    """Knows its connections, so that none outlives it."""

    daemon_threads = False  # server_close() waits for them

    def __init__(self, *args: Any) -> None:
        # Guards both collections.
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._failed: dict[str, int] = {}
        self.stopping = threading.Event()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def end_connections(self) -> None:
        """Wake the threads that wait for another request."""
        self.stopping.set()
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: the client notices, and its step of the demo fails."""

    def fails(self, key: str) -> bool:
        """Count a request for `key`; tell whether it is one of those that fail."""
        with self._lock:
            self._failed[key] = self._failed.get(key, 0) + 1
            return self._failed[key] <= FAILURES


class _Handler(BaseHTTPRequestHandler):
    """Answers the paths of the demo; keeps connections open."""

    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = _SILENCE
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Answer a GET request."""
        path, _, query = self.path.partition("?")
        if path == "/hello":
            self._answer(b"Hello!\n")
        elif path == "/busy":
            self._busy(parse_qs(query).get("key", [""])[0])
        elif path == "/redirect":
            self._answer(b"", 302, [("Location", "/hello")])
        elif path == "/gzip":
            self._answer(gzip.compress(TEXT), headers=[("Content-Encoding", "gzip")])
        elif path == "/download":
            self._download()
        else:
            self._answer(b"no such page\n", 404)

    def do_POST(self) -> None:
        """Answer a POST request."""
        length = self.headers.get("Content-Length", "")
        if urlsplit(self.path).path != "/upload" or not length.isdigit():
            self.close_connection = True  # the body is not read
            self._answer(b"no such page\n", 404)
        elif int(length) > _MAX_UPLOAD:
            self.close_connection = True
            self._answer(b"too large\n", 413)
        else:
            parts = list(self._parts(self.rfile.read(int(length))))
            self._answer(json.dumps(parts).encode(), kind="application/json")

    def _busy(self, key: str) -> None:
        if self.server.fails(key):
            self._answer(b"busy\n", 503, [("Retry-After", "0")])
        else:
            self._answer(b"at last\n")

    def _download(self) -> None:
        self._head(200, DOWNLOAD_SIZE, "application/octet-stream", [])
        for _ in range(DOWNLOAD_SIZE // len(_PIECE)):
            self.wfile.write(_PIECE)
            if self.server.stopping.wait(_PACE):
                return

    def _parts(self, body: bytes) -> Iterator[dict[str, object]]:
        """Yield what a multipart form holds."""
        content_type = self.headers.get("Content-Type", "")
        message = message_from_bytes(b"Content-Type: %b\r\n\r\n%b" % (content_type.encode(), body))
        for part in message.walk():
            if not part.is_multipart():
                payload: Any = part.get_payload(decode=True)
                yield {
                    "name": part.get_param("name", header="content-disposition"),
                    "filename": part.get_filename(),
                    "size": len(payload),
                }

    def _answer(
        self,
        body: bytes,
        status: int = 200,
        headers: list[tuple[str, str]] | None = None,
        kind: str = "text/plain",
    ) -> None:
        self._head(status, len(body), kind, headers or [])
        self.wfile.write(body)

    def _head(self, status: int, length: int, kind: str, headers: list[tuple[str, str]]) -> None:
        self.send_response(status)
        for name, value in [
            ("Content-Type", kind), ("Content-Length", str(length)), *headers,
        ]:  # fmt: skip
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet: the demo tells what happens."""
