"""``urllib4 URL`` in this process, against real servers."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dummyserver.app import large_body
from dummyserver.certs import Certificates
from dummyserver.script import ScriptedServer
from dummyserver.server import DummyServer
from urllib4.__main__ import main

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Run = Callable[..., tuple[int, bytes, str]]


@pytest.fixture
def run(capsysbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Run a command; returns exit code, standard output and standard error."""

    def run(*arguments: str) -> tuple[int, bytes, str]:
        code = main(arguments)
        out, err = capsysbinary.readouterr()
        return code, out, err.decode()

    return run


def _echo(run: Run, server: DummyServer, *arguments: str) -> Any:
    code, out, _ = run(*arguments, f"{server.http_url}/echo")
    assert code == 0
    return json.loads(out)


# -- what comes out ----------------------------------------------------------------------------


def test_content_is_written_unchanged_where_nobody_looks(run: Run, server: DummyServer) -> None:
    assert run(f"{server.http_url}/large?size=300000") == (0, large_body(300_000), "")


def test_binary_content_is_piped_as_it_is(run: Run, script: ScriptedServer) -> None:
    script.accept().expect(b"GET / ").send(
        b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 4\r\n\r\n\0\x1b[\xff"
    )
    assert run(script.url) == (0, b"\0\x1b[\xff", "")


def test_include_puts_the_head_before_the_content(run: Run, script: ScriptedServer) -> None:
    script.accept().expect(b"GET / ").send(OK)
    assert run("-i", script.url) == (0, OK, "")


def test_head_shows_the_head(run: Run, script: ScriptedServer) -> None:
    head = OK.removesuffix(b"ok")
    script.accept().expect(b"HEAD / ").send(head)
    assert run("-I", script.url) == (0, head, "")


def test_compressed_content_is_unpacked_on_demand(run: Run, server: DummyServer) -> None:
    url = f"{server.http_url}/encoded?coding=gzip"
    assert run("--compressed", url) == (0, b"hello, world!", "")
    code, out, _ = run(url)
    assert (code, gzip.decompress(out)) == (0, b"hello, world!")


def test_compressed_asks_for_it(run: Run, server: DummyServer) -> None:
    headers = dict(_echo(run, server, "--compressed")["headers"])
    assert headers["Accept-Encoding"].startswith("gzip")
    headers = dict(_echo(run, server)["headers"])
    assert headers["Accept-Encoding"] == "identity"


# -- what goes in ------------------------------------------------------------------------------


def test_the_request_is_the_one_described(run: Run, server: DummyServer) -> None:
    seen = _echo(run, server, "-X", "PUT", "-d", "a=1", "-A", "me/1", "-u", "u:p")
    headers = dict(seen["headers"])
    assert (seen["method"], seen["body"]) == ("PUT", "a=1")
    assert headers["User-Agent"] == "me/1"
    assert headers["Authorization"] == "Basic dTpw"
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"


def test_a_file_is_sent_again_after_a_redirect(
    run: Run, server: DummyServer, tmp_path: Path
) -> None:
    """307 keeps method and body: the file is rewound."""
    (tmp_path / "f").write_bytes(b"x" * 100_000)
    url = f"{server.http_url}/redirect?status=307&target=/echo_raw"
    assert run("-d", f"@{tmp_path}/f", url) == (0, b"x" * 100_000, "")


def test_a_form_is_uploaded(run: Run, server: DummyServer, tmp_path: Path) -> None:
    (tmp_path / "me.png").write_bytes(b"png")
    code, out, _ = run(
        "-F", "title=Me", "-F", f"photo=@{tmp_path}/me.png", f"{server.http_url}/upload"
    )
    seen = json.loads(out)
    assert code == 0
    assert seen["fields"] == {"title": ["Me"]}
    assert [(f["name"], f["filename"], f["content"]) for f in seen["files"]] == [
        ("photo", "me.png", "png")
    ]


# -- redirects and retries ---------------------------------------------------------------------


def test_redirects_are_followed_unless_told_otherwise(run: Run, server: DummyServer) -> None:
    url = f"{server.http_url}/redirect?target=/&count=3"
    assert run(url) == (0, b"Dummy server!", "")
    assert run("--no-location", url) == (0, b"elsewhere", "")


def test_too_many_redirects_are_an_error(run: Run, server: DummyServer) -> None:
    code, out, err = run("--max-redirects", "2", f"{server.http_url}/redirect?target=/&count=3")
    assert (code, out) == (6, b"")
    assert "too many redirects" in err


def test_a_failure_that_goes_away_is_retried(run: Run, server: DummyServer) -> None:
    url = f"{server.http_url}/successful_retry?key=cli&fail=1"
    code, out, err = run("-v", "--retry", "1", url)
    assert (code, json.loads(out)) == (0, {"attempts": 2})
    assert "* Trying again after status 503, in 0.0 ms" in err


def test_the_last_failure_is_shown(run: Run, server: DummyServer) -> None:
    url = f"{server.http_url}/status?status=503"
    assert run("--retry", "1", url) == (0, b"This is 503", "")


# -- files -------------------------------------------------------------------------------------


def test_output_saves_the_content(run: Run, server: DummyServer, tmp_path: Path) -> None:
    url = f"{server.http_url}/large?size=300000"
    assert run("-o", str(tmp_path / "f"), url) == (0, b"", "")
    assert (tmp_path / "f").read_bytes() == large_body(300_000)


def test_remote_name_takes_the_name_of_the_url(
    run: Run, script: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the one that the server may suggest."""
    monkeypatch.chdir(tmp_path)
    script.accept().expect(b"GET /a/page.html?q ").send(
        OK.replace(b"\r\n\r\n", b"\r\nContent-Disposition: attachment; filename=evil\r\n\r\n")
    )
    assert run("-O", f"{script.url}/a/page.html?q") == (0, b"", "")
    assert os.listdir(tmp_path) == ["page.html"]


def test_content_that_breaks_off_leaves_no_file(
    run: Run, script: ScriptedServer, tmp_path: Path
) -> None:
    script.accept().expect(b"GET / ").send(OK.removesuffix(b"k")).close()
    code, out, err = run("-o", str(tmp_path / "f"), script.url)
    assert (code, out) == (6, b"")
    assert "1 more expected" in err
    assert os.listdir(tmp_path) == []


def test_nothing_is_sent_if_the_file_cannot_be_written(run: Run, script: ScriptedServer) -> None:
    code, _, err = run("-d", "order=1", "-o", "no/such/directory", script.url)
    assert code == 7
    assert err == "urllib4: cannot write no/such/directory: No such file or directory\n"


def test_fail_leaves_no_file(run: Run, server: DummyServer, tmp_path: Path) -> None:
    code, _, _ = run("-f", "-o", str(tmp_path / "f"), f"{server.http_url}/nothing")
    assert code == 1
    assert os.listdir(tmp_path) == []


# -- errors ------------------------------------------------------------------------------------


def test_fail_makes_a_bad_status_an_error(run: Run, server: DummyServer) -> None:
    url = f"{server.http_url}/nothing"
    assert run(url) == (0, b"no such endpoint", "")
    assert run("-f", url) == (1, b"", f"urllib4: {url}: status 404 Not Found\n")


def test_a_url_without_a_scheme_is_wrong_usage(run: Run) -> None:
    code, out, err = run("example.org")
    assert (code, out) == (2, b"")
    assert "starts with http:// or https://" in err


@pytest.mark.parametrize("arguments", [["-X", "A B"], ["-H", "na me: x"], ["-H", "a: b\nc: d"]])
def test_what_must_not_be_sent_is_wrong_usage(
    run: Run, server: DummyServer, arguments: list[str]
) -> None:
    code, out, err = run(*arguments, server.http_url)
    assert (code, out) == (2, b"")
    assert len(err.splitlines()) == 1


def test_a_refused_connection_is_told_without_credentials(run: Run) -> None:
    code, out, err = run("http://user:s3cret@127.0.0.1:1/x")
    assert (code, out) == (3, b"")
    assert err == (
        "urllib4: http://127.0.0.1:1/x: could not connect to 127.0.0.1 port 1: Connection refused\n"
    )


def test_an_unknown_name_is_no_connection(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def unknown(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    code, _, err = run("http://no.such.example/")
    assert code == 3
    assert "could not find the host 'no.such.example'" in err


@pytest.mark.parametrize("kind", ["expired", "wrong_host", "untrusted"])
def test_a_bad_certificate_is_a_tls_error(
    run: Run, server: DummyServer, ca_file: str, kind: str
) -> None:
    code, out, err = run("--cacert", ca_file, getattr(server, f"{kind}_url"))
    assert (code, out) == (4, b"")
    assert "TLS: " in err
    assert len(err.splitlines()) == 1


def test_insecure_accepts_any_certificate(run: Run, server: DummyServer) -> None:
    code, out, err = run("-k", "-v", server.expired_url)
    assert (code, out) == (0, b"Dummy server!")
    assert "certificate NOT verified" in err
    assert run("-k", server.expired_url)[2] == ""


def test_a_client_certificate_is_shown(
    run: Run, server: DummyServer, ca_file: str, certs: Certificates
) -> None:
    code, out, _ = run("--cacert", ca_file, "--cert", certs.client.cert, "--key",
                       certs.client.key, server.client_cert_url)  # fmt: skip
    assert (code, out) == (0, b"Dummy server!")


@pytest.mark.parametrize("option", ["--timeout", "--max-time"])
def test_a_silent_server_is_a_timeout(run: Run, script: ScriptedServer, option: str) -> None:
    script.accept().expect(b"GET / ")
    code, out, err = run(option, "0.1", script.url)
    assert (code, out) == (5, b"")
    assert len(err.splitlines()) == 1


def test_what_is_not_http_is_a_protocol_error_and_cannot_steer_the_terminal(
    run: Run, script: ScriptedServer
) -> None:
    script.accept().expect(b"GET / ").send(b"SSH-2.0-\x1b[2J\r\n\r\n").close()
    code, out, err = run(script.url)
    assert (code, out) == (6, b"")
    assert "\x1b" not in err
    assert len(err.splitlines()) == 1


# -- proxies -----------------------------------------------------------------------------------


def test_a_proxy_is_used_with_its_own_credentials(run: Run, script: ScriptedServer) -> None:
    proxy = script.url.replace("http://", "http://u:p@")
    script.accept().expect(b"GET http://h.example/x HTTP/1.1").send(OK)
    assert run("-x", proxy, "http://h.example/x") == (0, b"ok", "")
    assert b"proxy-authorization: basic dtpw" in script.requests[0].lower()


def test_a_tunnel_is_told_about(
    run: Run, script: ScriptedServer, certs: Certificates, ca_file: str
) -> None:
    proxy = script.url.replace("http://", "http://u:p@")
    connection = script.accept().expect(b"CONNECT localhost:443 ")
    connection.send(b"HTTP/1.1 200 OK\r\n\r\n").start_tls(certs.server_context())
    connection.expect(b"GET / ").send(OK)
    code, out, err = run("-v", "-x", proxy, "--cacert", ca_file, "https://localhost/")
    assert (code, out) == (0, b"ok")
    assert "> CONNECT localhost:443 HTTP/1.1" in err
    assert "Basic ***" in err
    assert "dTpw" not in err
    assert "proxy " in err.partition("* Times: ")[2].splitlines()[0]


# -- verbose -----------------------------------------------------------------------------------


def test_verbose_tells_the_whole_story(run: Run, server: DummyServer, ca_file: str) -> None:
    code, out, err = run(
        "-v", "--cacert", ca_file, f"{server.https_url}/redirect?target=/set_cookie?a=b"
    )
    lines = err.splitlines()
    assert (code, out) == (0, b"cookies set")
    assert lines[0] == f"* Connected to 127.0.0.1 port {server.https_port}, for localhost"
    assert lines[1].startswith("* TLSv1.")
    assert lines[1].endswith(", certificate verified")
    assert "> GET /redirect?target=/set_cookie?a=b HTTP/1.1" in lines
    assert "< HTTP/1.1 303 See Other" in lines
    reused = f"* Reused the connection to 127.0.0.1 port {server.https_port}"
    assert [line for line in lines if line.startswith("* Reused")] == [reused]
    assert "> GET /set_cookie?a=b HTTP/1.1" in lines
    assert "< HTTP/1.1 200 OK" in lines
    times = [line for line in lines if line.startswith("* Times: ")]
    assert [phase in times[0] for phase in ("lookup and connect ", "TLS ", "send ", "wait ")] == [
        True
    ] * 4
    assert "TLS" not in times[1]
    assert lines[-1].startswith("* Received 11 bytes in ")


def test_verbose_masks_secrets_unless_told_otherwise(run: Run, server: DummyServer) -> None:
    arguments = ("-v", "-u", "user:s3cret", "-H", "Cookie: id=s3cret",
                 f"{server.http_url}/set_cookie?id=s3cret")  # fmt: skip
    _, _, err = run(*arguments)
    for line in ("> Authorization: Basic ***", "> Cookie: ***", "< Set-Cookie: ***"):
        assert line in err.splitlines()
    _, _, err = run("--show-secrets", *arguments)
    assert "> Cookie: id=s3cret" in err.splitlines()
    assert "< Set-Cookie: id=s3cret; Path=/" in err.splitlines()


def test_verbose_cannot_steer_the_terminal(run: Run, script: ScriptedServer) -> None:
    script.accept().expect(b"GET / ").send(OK.replace(b"\r\n\r\n", b"\r\nX: \x1b[2J\x9b\r\n\r\n"))
    _, _, err = run("-v", script.url)
    assert "< X: \\x1b[2J\\x9b" in err.splitlines()


# -- help --------------------------------------------------------------------------------------


def test_help_and_version(run: Run) -> None:
    code, out, _ = run("--help")
    assert (code, b"exit codes:" in out) == (0, True)
    code, out, _ = run("--version")
    assert (code, out.startswith(b"urllib4 4.")) == (0, True)
