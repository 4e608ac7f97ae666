"""docker's client, with its own connections over a Unix socket, works on urllib4.

Every function runs in an interpreter of its own in which urllib3 is urllib4 (see conftest.py).
"""

from __future__ import annotations

import json
import socketserver
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest


class _Engine(BaseHTTPRequestHandler):
    """A few answers of a docker engine."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].partition("/v1.44")[2] or self.path
        if path.endswith("/events"):
            self._chunks([b'{"status": "one"}\r\n{"sta', b'tus": "two"}\r\n'])
        elif path.endswith("/logs"):
            self._chunks([_frame(1, b"out\n") + _frame(2, b"err")[:5], _frame(2, b"err")[5:]])
        elif path.endswith("/containers/gone/json"):
            self._json({"message": "No such container: gone"}, status=404)
        elif path.endswith("/json"):
            self._json({"Id": "abc", "Config": {"Tty": False}})
        else:
            self._json({"Version": "1", "ApiVersion": "1.44", "Peer": self.server.connections})

    def do_POST(self) -> None:
        if "/attach" in self.path or "/exec/" in self.path:
            self._hijack()
        else:
            length = int(self.headers.get("Content-Length", 0))
            self._json({"Id": "new", "Body": self.rfile.read(length).decode()}, status=201)

    def _json(self, value: Any, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _chunks(self, chunks: list[bytes]) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in [*chunks, b""]:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))

    def _hijack(self) -> None:
        """Turn the connection into a raw stream that returns what is sent."""
        self.send_response(101, "UPGRADED")
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "tcp")
        self.end_headers()
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        line = self.rfile.readline()
        self.wfile.write(_frame(1, line.upper()))
        self.close_connection = True

    def log_message(self, *args: Any) -> None:
        pass


def _frame(stream: int, data: bytes) -> bytes:
    """Return docker's frame around output: number of the stream, length, data."""
    return struct.pack(">BxxxL", stream, len(data)) + data


class _Server(socketserver.ThreadingUnixStreamServer):
    """Counts connections."""

    connections = 0

    def get_request(self) -> Any:
        self.connections += 1
        return super().get_request()[0], ("unix", 0)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[str]:
    """The path of the socket of something that looks like a docker engine."""
    path = str(tmp_path / "docker.sock")
    with _Server(path, _Engine) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield path
        server.shutdown()
        thread.join()


def _client(engine: str) -> Any:
    import docker

    return docker.APIClient(base_url=f"unix://{engine}", version="1.44", timeout=5)


@pytest.mark.needs("docker")
def test_docker_asks_an_engine_on_one_connection(engine: str) -> None:
    import docker

    client = _client(engine)
    assert len({client.version()["Peer"] for _ in range(3)}) == 1
    created = client.create_container("image", command="true", name="n")
    assert created["Id"] == "new"
    assert json.loads(created["Body"])["Image"] == "image"
    with pytest.raises(docker.errors.NotFound, match="No such container: gone"):
        client.inspect_container("gone")
    client.close()


@pytest.mark.needs("docker")
def test_docker_reads_streams_of_json_and_frames(engine: str) -> None:
    """It reads chunks from ``response.raw`` and looks at ``_fp.chunk_left`` for JSON."""
    client = _client(engine)
    assert [event["status"] for event in client.events(decode=True)] == ["one", "two"]
    assert client.logs("abc") == b"out\nerr"
    assert list(client.logs("abc", stream=True)) == [b"out\n", b"err"]
    client.close()


@pytest.mark.needs("docker")
def test_docker_takes_the_socket_of_an_upgraded_connection(engine: str) -> None:
    """``response.raw._fp.fp.raw`` is its socket: nothing of the answer may be kept from it."""
    client = _client(engine)
    sock = client.attach_socket("abc", params={"stdin": 1, "stdout": 1, "stream": 1})
    sock._sock.sendall(b"hello\n")
    received = b""
    while piece := sock.read(64):
        received += piece
    assert received == _frame(1, b"HELLO\n")
    sock.close()
    client.close()
