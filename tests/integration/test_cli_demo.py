"""``python -m urllib4 demo`` shows what it promises, ends by itself and cleans up."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Callable
from typing import Any

import pytest

from urllib4.__main__ import main
from urllib4._cli import demo, demo_server
from urllib4.poolmanager import PoolManager
from urllib4.util.retry import Retry


@pytest.fixture(autouse=True)
def _no_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """The download is slowed down for the eyes only."""
    monkeypatch.setattr(demo_server, "_PACE", 0)


def test_the_demo_shows_every_step_and_the_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "60 requests of 8 threads over" in out
    assert "503 and 503, then 200" in out
    assert "302 to /hello, then 200" in out
    assert "became 19.9 KiB" in out
    assert "100%  4.0 MiB of 4.0 MiB" in out
    assert "photo (195.3 KiB)" in out
    figures = dict(re.findall(r"^  (\w.*?) {2,}([\d%]+)$", out, re.MULTILINE))
    assert figures["pools"] == "1"
    assert 1 <= int(figures["connections opened"]) <= 3
    # 60, one with two retries, one with a redirect, and three more
    assert figures["requests sent"] == "68"
    assert int(figures["on a connection that was open already"].rstrip("%")) >= 95


def test_the_demo_shows_the_code_that_runs(capsys: pytest.CaptureFixture[str]) -> None:
    main(["demo"])
    out = capsys.readouterr().out
    for code in (
        "http = urllib4.PoolManager(maxsize=3, block=True",
        "with ThreadPoolExecutor(8) as threads:",
        "Retry(total=5, status_forcelist=[503], backoff_factor=0.1)",
        'http.request("GET", f"{url}/download", preload_content=False)',
    ):
        assert code in out


def test_the_demo_is_coloured_by_rich(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rich")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert main(["demo"]) == 0
    out = capsys.readouterr().out
    assert "\x1b[" in out
    assert "connections opened" in out
    assert main(["demo", "--plain"]) == 0
    assert "\x1b[" not in capsys.readouterr().out


def test_a_step_that_fails_makes_the_demo_fail(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the server is busy for longer than the retries last."""
    monkeypatch.setattr(demo_server, "FAILURES", 100)
    monkeypatch.setattr(Retry, "sleep", lambda self, response=None: None)
    assert main(["demo"]) == 6
    out = capsys.readouterr().out
    assert "MaxRetryError" in out
    assert re.search(r"A busy server.*FAILED", out)
    assert re.search(r"A multipart upload +ok", out)


def test_a_step_without_its_effect_is_a_failure() -> None:
    """Whatever the status, the demo looks at what came."""
    for tell, result in (
        (demo._tell_download, (1, "")),
        (demo._tell_gzip, _Answer(data=b"other")),
        (demo._tell_redirect, _Answer(data=b"elsewhere")),
    ):
        with pytest.raises(demo.UnexpectedError):
            _call(tell, result)


def _call(tell: Callable[[Any], str], result: Any) -> str:
    return tell(result)


class _Answer:
    def __init__(self, data: bytes) -> None:
        self.data = data


# -- its server --------------------------------------------------------------------------------


def test_the_server_ends_although_a_client_is_still_connected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An idle connection must not keep the process alive, however long it may be idle."""
    monkeypatch.setattr(demo_server._Handler, "timeout", None)
    with demo_server.DemoServer() as server:
        port = int(server.url.rpartition(":")[2])
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(15) == b"HTTP/1.1 200 OK"
    with client:
        while client.recv(65536):
            pass


def test_the_server_refuses_what_it_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    # Small, so that it arrives with the head: a server that closes in the middle resets.
    monkeypatch.setattr(demo_server, "_MAX_UPLOAD", 10)
    with demo_server.DemoServer() as server, PoolManager() as http:
        assert http.request("GET", f"{server.url}/nothing").status == 404
        assert http.request("POST", f"{server.url}/nothing", body=b"x").status == 404
        assert http.request("POST", f"{server.url}/upload", body=b"x" * 11).status == 413
