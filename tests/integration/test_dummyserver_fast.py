"""The fast server answers what it was given, counts uploads, and ends cleanly."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from dummyserver.certs import Certificates
from dummyserver.fast import Canned, FastServer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def ask(port: int, *requests: bytes) -> bytes:
    """Send pieces, end sending, and return all that comes back."""
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        for request in requests:
            sock.sendall(request)
        sock.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: sock.recv(65536), b""))


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def test_a_route_is_answered_with_its_bytes_and_its_file(tmp_path: Path):
    (tmp_path / "body").write_bytes(b"from a file")
    with FastServer({"/a": Canned(OK), "/b": Canned(b"head ", tmp_path / "body")}) as server:
        assert ask(server.port, get("/a")) == OK
        assert ask(server.port, get("/b")) == b"head from a file"
        assert ask(server.port, get("/c")).startswith(b"HTTP/1.1 404 ")


def test_a_head_in_pieces_is_one_request():
    with FastServer({"/a": Canned(OK)}) as server:
        assert ask(server.port, get("/a")[:10], get("/a")[10:]) == OK


def test_an_upload_is_answered_with_its_length():
    with FastServer({}) as server:
        head = b"POST /up HTTP/1.1\r\nHost: x\r\ncontent-length: 100000\r\n\r\n"
        answer = ask(server.port, head, b"x" * 60_000, b"y" * 40_000)
        assert answer.endswith(b"\r\n\r\n100000")


def test_an_upload_without_a_length_is_refused():
    with FastServer({}) as server:
        head = b"POST /up HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert ask(server.port, head).startswith(b"HTTP/1.1 411 ")


def test_a_route_may_end_the_connection():
    with (
        FastServer({"/a": Canned(OK, close=True)}) as server,
        socket.create_connection(("127.0.0.1", server.port), 10) as sock,
    ):
        sock.sendall(get("/a"))
        assert b"".join(iter(lambda: sock.recv(65536), b"")) == OK


@pytest.mark.parametrize("close", [False, True])
def test_tls_has_a_port_of_its_own(close: bool, certs: Certificates):
    routes = {"/a": Canned(OK, close=close)}
    with FastServer(routes, tls=certs.server_context()) as server:
        plain = socket.create_connection(("127.0.0.1", server.tls_port), 10)
        context = certs.client_context()
        with context.wrap_socket(plain, server_hostname="localhost") as sock:
            for _ in range(1 if close else 3):
                sock.sendall(get("/a"))
                assert sock.recv(65536) == OK
            if close:
                assert sock.recv(1) == b""
