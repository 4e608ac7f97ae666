"""Files in requests: sent by the system where it can, whole or not at all, and again if need be."""

from __future__ import annotations

import hashlib
import io
import os
import re
import socket
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dummyserver.certs import Certificates
from dummyserver.script import ScriptedServer
from urllib4 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, Retry
from urllib4._file_body import BLOCK_BYTES
from urllib4.connection import HTTPConnection
from urllib4.exceptions import BodyChangedError, InvalidRequestHeaderError, UnrewindableBodyError
from urllib4.filepost import encode_multipart_formdata
from urllib4.multipart import MultipartEncoder

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LARGE = 5 * BLOCK_BYTES + 11
BOUNDARY = "0a1b2c3d"

needs_sendfile = pytest.mark.skipif(
    not hasattr(os, "sendfile"), reason="the system has no sendfile"
)


@pytest.fixture
def pool(script: ScriptedServer) -> Iterator[HTTPConnectionPool]:
    with HTTPConnectionPool(script.host, script.port, timeout=10, retries=False) as one:
        yield one


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(LARGE))
    return path


@pytest.fixture
def sent_by_system(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each call of sendfile sent."""
    counts: list[int] = []
    sendfile = os.sendfile

    def recorded(*args: Any) -> int:
        counts.append(count := sendfile(*args))
        return count

    monkeypatch.setattr(os, "sendfile", recorded)
    return counts


def body_of(request: bytes) -> bytes:
    """Return the body of a request as a server reads it."""
    head, _, body = request.partition(b"\r\n\r\n")
    if b"Transfer-Encoding: chunked" not in head:
        return body
    content = bytearray()
    while True:
        size, _, body = body.partition(b"\r\n")
        if not int(size, 16):
            assert body == b"\r\n"
            return bytes(content)
        content += body[: int(size, 16)]
        assert body[int(size, 16) : int(size, 16) + 2] == b"\r\n"
        body = body[int(size, 16) + 2 :]


@needs_sendfile
@pytest.mark.parametrize("declared", [True, False], ids=["length", "chunked"])
@pytest.mark.parametrize("start", [0, 5, BLOCK_BYTES], ids=["whole", "from 5", "second block"])
@pytest.mark.parametrize("buffering", [0, -1], ids=["raw", "buffered"])
def test_the_system_sends_a_file_from_where_it_stands(
    script: ScriptedServer, pool: HTTPConnectionPool, large: Path, sent_by_system: list[int],
    declared: bool, start: int, buffering: int,
) -> None:  # fmt: skip
    conversation = script.accept().expect(b"PUT").send(OK)
    headers = {"Content-Length": str(LARGE - start)} if declared else {}
    with open(large, "rb", buffering=buffering) as file:
        file.seek(start)
        assert pool.urlopen("PUT", "/", body=file, headers=headers).data == b"ok"
        assert file.tell() == LARGE
    assert sum(sent_by_system) == LARGE - start
    assert body_of(conversation.requests[0]) == large.read_bytes()[start:]


@needs_sendfile
def test_a_multipart_form_is_streamed_with_its_length(
    script: ScriptedServer, pool: HTTPConnectionPool, large: Path, sent_by_system: list[int]
) -> None:
    conversation = script.accept().expect(b"POST").send(OK)
    fields = {"a": "1", "b": ("b.bin", large), "c": ("c.bin", io.BytesIO(b"two"))}
    whole, content_type = encode_multipart_formdata({**fields, "c": ("c.bin", b"two")}, BOUNDARY)
    with large.open("rb") as file:
        fields["b"] = ("b.bin", file)
        pool.request("POST", "/", fields=fields)
    head, _, body = conversation.requests[0].partition(b"\r\n\r\n")
    used = re.search(rb"boundary=(\w+)", head)
    assert used is not None
    assert body == whole.replace(BOUNDARY.encode(), used[1])
    assert f"Content-Length: {len(body)}".encode() in head
    assert content_type.replace(BOUNDARY, used[1].decode()).encode() in head
    assert sum(sent_by_system) == LARGE


@needs_sendfile
def test_whoever_overrides_send_sees_every_byte(script: ScriptedServer, large: Path) -> None:
    seen = []

    class Seeing(HTTPConnection):
        def send(self, data: Any) -> None:
            seen.append(data)
            super().send(data)

    class Pool(HTTPConnectionPool):
        ConnectionCls = Seeing

    script.accept().expect(b"POST").send(OK)
    with Pool(script.host, script.port, retries=False) as pool, large.open("rb") as file:
        pool.request("POST", "/", fields={"a": ("a", file)})
    assert large.read_bytes() in b"".join(seen)


@needs_sendfile
def test_sockets_of_other_classes_see_every_byte(
    script: ScriptedServer, pool: HTTPConnectionPool, large: Path, sent_by_system: list[int]
) -> None:
    seen = bytearray()

    class Seeing(socket.socket):
        def send(self, data: Any, *args: Any) -> int:
            count = super().send(data, *args)
            seen.extend(data[:count])
            return count

    script.accept().expect(b"POST").send(OK)
    connection = pool._get_conn()
    connection.connect()
    plain = connection.sock
    connection.sock = Seeing(fileno=plain.detach())
    connection.sock.settimeout(10)
    pool._put_conn(connection)
    with large.open("rb") as file:
        pool.urlopen("POST", "/", body=file)
    assert large.read_bytes()[:BLOCK_BYTES] in seen
    assert not sent_by_system


def test_files_go_over_tls(tls_script: ScriptedServer, certs: Certificates, large: Path) -> None:
    conversation = tls_script.accept().expect(b"POST").send(OK).expect(b"POST").send(OK)
    with HTTPSConnectionPool(
        "localhost", tls_script.port, ca_certs=certs.ca_file, timeout=10, retries=False
    ) as pool:
        with large.open("rb") as file:
            pool.urlopen("POST", "/", body=file)
        pool.request("POST", "/", fields={"a": large})
    assert body_of(conversation.requests[0]) == large.read_bytes()
    assert large.read_bytes() in conversation.requests[1]


_PIECES: list[Any] = []
_RECORDING = threading.Event()


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if event == "http.client.send" and _RECORDING.is_set():
        _PIECES.append(bytes(args[1]))


def test_audit_hooks_see_what_is_sent(
    script: ScriptedServer, pool: HTTPConnectionPool, large: Path
) -> None:
    """An audit hook stays for ever, so it is told when to look."""
    sys.addaudithook(_audit)
    conversation = script.accept().expect(b"POST").send(OK)
    _PIECES.clear()
    _RECORDING.set()
    try:
        pool.request("POST", "/", fields={"a": large})
    finally:
        _RECORDING.clear()
    assert b"".join(_PIECES) == conversation.requests[0]


@needs_sendfile
@pytest.mark.parametrize("number", [22, 38, 75, 95])
def test_files_that_the_system_cannot_send_are_read(
    script: ScriptedServer, pool: HTTPConnectionPool, large: Path, number: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    calls = []

    def sendfile(*args: Any) -> int:
        calls.append(args)
        raise OSError(number, "not here")

    monkeypatch.setattr(os, "sendfile", sendfile)
    conversation = script.accept().expect(b"POST").send(OK)
    with large.open("rb") as file:
        pool.urlopen("POST", "/", body=file)
    assert body_of(conversation.requests[0]) == large.read_bytes()
    assert calls


@needs_sendfile
@pytest.mark.parametrize("form", [True, False], ids=["form", "whole body"])
def test_a_file_that_shrinks_is_an_error_and_closes_the_connection(
    script: ScriptedServer, pool: HTTPConnectionPool, large: Path, form: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The server must not take a part, and what follows it, for the whole."""
    sendfile = os.sendfile

    def shrinking(out: int, file: int, offset: int, count: int) -> int:
        os.truncate(large, BLOCK_BYTES + 3)
        return sendfile(out, file, offset, count)

    monkeypatch.setattr(os, "sendfile", shrinking)
    script.accept().expect(b"POST", body=False).run(_read_to_end)
    script.accept().expect(b"GET").send(OK)
    with large.open("rb") as file:
        body = MultipartEncoder({"a": file}) if form else file
        with pytest.raises(BodyChangedError, match="became shorter"):
            pool.urlopen("POST", "/", body=body, retries=5)
    assert pool.request("GET", "/").data == b"ok"


def _read_to_end(sock: Any) -> None:
    while sock.recv(1 << 20):
        pass


def test_a_declared_length_is_kept(
    script: ScriptedServer, pool: HTTPConnectionPool, large: Path
) -> None:
    script.accept().expect(b"POST", body=False).run(_read_to_end)
    with large.open("rb") as file, pytest.raises(InvalidRequestHeaderError, match="Content-Length"):
        pool.urlopen("POST", "/", body=file, headers={"Content-Length": str(LARGE + 1)})


@needs_sendfile
def test_an_answer_to_half_a_file_is_read(
    script: ScriptedServer, pool: HTTPConnectionPool, tmp_path: Path
) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    done = threading.Event()
    refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
    script.accept().expect(b"POST", body=False).send(refusal).pause_until(done)
    with path.open("rb") as file:
        assert pool.urlopen("POST", "/", body=file).status == 413
        assert 0 <= file.tell() < 1 << 29
    done.set()


@pytest.mark.parametrize("kind", ["file", "path"])
def test_a_form_is_sent_again_after_a_redirect_and_a_broken_connection(
    script: ScriptedServer, large: Path, kind: str
) -> None:
    moved = b"HTTP/1.1 307 Moved\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n"
    first = script.accept().expect(b"POST / ").send(moved).expect(b"POST /again ").close()
    second = script.accept().expect(b"POST /again ").send(OK)
    with large.open("rb") as file, PoolManager() as manager:
        file.seek(3)
        manager.request(
            "POST", script.url + "/", fields={"a": ("a", file if kind == "file" else large)},
            retries=Retry(3, allowed_methods=None), multipart_boundary=BOUNDARY,
        )  # fmt: skip
    bodies = {
        hashlib.sha256(body_of(request)).hexdigest()
        for request in (*first.requests, *second.requests)
    }
    assert len(bodies) == 1


def test_a_form_that_cannot_be_sent_again_says_so(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    moved = b"HTTP/1.1 307 Moved\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n"
    conversation = script.accept().expect(b"POST / ").send(moved)
    with pytest.raises(UnrewindableBodyError):
        pool.request("POST", "/", fields={"a": ("a", Pipe(b"12345"))}, retries=3)
    assert b"Transfer-Encoding: chunked" in conversation.requests[0]
    assert b"12345" in body_of(conversation.requests[0])


@pytest.mark.parametrize("end", ["answer", "error"])
def test_paths_are_closed_again(
    script: ScriptedServer, pool: HTTPConnectionPool, large: Path, end: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    opened = []

    def recorded(*args: Any) -> Any:
        opened.append(open(*args))  # noqa: SIM115
        return opened[-1]

    monkeypatch.setattr("urllib4.multipart.open", recorded, raising=False)
    conversation = script.accept().expect(b"POST", body=end == "answer")
    conversation.send(OK) if end == "answer" else conversation.reset()
    try:
        pool.request("POST", "/", fields={"a": large, "b": large})
    except Exception:
        assert end == "error"
    assert len(opened) >= 2
    assert all(file.closed for file in opened)


def test_a_missing_path_is_told_before_a_connection_is_made(
    script: ScriptedServer, pool: HTTPConnectionPool, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        pool.request("POST", "/", fields={"a": tmp_path / "missing"})
    assert pool.num_connections == 0


@pytest.mark.parametrize("source", ["file", "form"])
def test_memory_does_not_follow_the_size(
    script: ScriptedServer, pool: HTTPConnectionPool, tmp_path: Path, source: str
) -> None:
    """The promise is 2 MiB for 100 MiB."""
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(100 << 20)

    def read(sock: Any) -> None:
        left, buffer = 99 << 20, bytearray(1 << 20)
        while left > 0:
            left -= sock.recv_into(buffer)
        sock.sendall(OK)  # seen when all is sent
        while sock.recv_into(buffer):
            pass

    script.accept().expect(b"POST", body=False).run(read)
    tracemalloc.start()
    try:
        with path.open("rb") as file:
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            if source == "file":
                headers = {"Content-Length": str(100 << 20)}
                pool.urlopen("POST", "/", body=file, headers=headers)
            else:
                pool.request("POST", "/", fields={"a": file})
            assert tracemalloc.get_traced_memory()[1] - before < 2 << 20
    finally:
        tracemalloc.stop()


def test_an_encoder_is_a_body_like_any_other(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    conversation = script.accept().expect(b"POST").send(OK)
    encoder = MultipartEncoder({"a": io.BytesIO(b"1")}, BOUNDARY)
    pool.urlopen("POST", "/", body=encoder, headers={"Content-Type": encoder.content_type})
    assert body_of(conversation.requests[0]) == encode_multipart_formdata({"a": b"1"}, BOUNDARY)[0]
