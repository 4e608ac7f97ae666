"""Log records: who says what, at which level, and that nothing secret is said."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from dummyserver.certs import Certificates
from dummyserver.script import ScriptedServer
from dummyserver.server import DummyServer
from urllib4 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager, Retry
from urllib4.exceptions import LocationParseError, MaxRetryError, SSLError

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    """A function that returns (logger, level, text) of all records so far."""
    with caplog.at_level(logging.DEBUG, "urllib4"):
        yield lambda: [(r.name, r.levelname, r.getMessage()) for r in caplog.records]


def test_a_request_is_logged_by_its_pool(script: ScriptedServer, records: Any) -> None:
    script.accept().expect(b"GET").send(OK).expect(b"POST").send(OK)
    with HTTPConnectionPool(script.host, script.port) as pool:
        pool.request("GET", "/a?b=c")
        pool.request("POST", "/d", preload_content=False).drain_conn()
    url = f"http://{script.host}:{script.port}"
    name = "urllib4.connectionpool"
    assert records() == [
        (name, "DEBUG", f"Starting new HTTP connection (1): {script.host}:{script.port}"),
        (name, "DEBUG", f'{url} "GET /a?b=c HTTP/1.1" 200 2'),
        (name, "DEBUG", f'{url} "POST /d HTTP/1.1" 200 2'),
    ]


def test_an_https_connection_is_logged_as_such(
    server: DummyServer, ca_file: str, records: Any
) -> None:
    with HTTPSConnectionPool("localhost", server.https_port, ca_certs=ca_file) as pool:
        pool.request("GET", "/")
    assert records()[0] == (
        "urllib4.connectionpool",
        "DEBUG",
        f"Starting new HTTPS connection (1): localhost:{server.https_port}",
    )


def test_redirects_are_logged_by_who_follows_them(script: ScriptedServer, records: Any) -> None:
    moved = b"HTTP/1.1 302 F\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n"
    script.accept().expect(b"GET").send(moved).expect(b"GET").send(OK)
    script.accept().expect(b"GET").send(moved).expect(b"GET").send(OK)
    with HTTPConnectionPool(script.host, script.port) as pool:
        pool.request("GET", "/a")
    assert ("urllib4.connectionpool", "DEBUG", "Redirecting /a -> /b") in records()
    with PoolManager() as manager:
        manager.request("GET", script.url + "/a")
    info = ("urllib4.poolmanager", "INFO", f"Redirecting {script.url}/a -> {script.url}/b")
    assert info in records()


def test_a_retry_is_a_warning_that_can_be_found_by_its_extra_attribute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Programs such as pip rewrite it by that attribute."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with HTTPConnectionPool("127.0.0.1", port) as pool, pytest.raises(MaxRetryError):
        pool.request("GET", "/path", retries=1)
    (record,) = [r for r in caplog.records if r.levelname == "WARNING"]
    assert record.name == "urllib4.connectionpool"
    assert record.getMessage().startswith("Retrying (Retry(total=0, ")
    assert "after connection broken by 'NewConnectionError(" in record.getMessage()
    assert record.getMessage().endswith(": /path")
    for name in ("__urllib4-retry-warning", "__urllib3-retry-warning"):
        assert getattr(record, name) == {"host": "127.0.0.1"}


def test_the_count_of_retries_is_told_by_their_policy(script: ScriptedServer, records: Any) -> None:
    busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
    script.accept().expect(b"GET").send(busy).expect(b"GET").send(OK)
    with HTTPConnectionPool(script.host, script.port) as pool:
        pool.request("GET", "/a", retries=Retry(2, status_forcelist=[503]))
        pool.close()
    said = records()
    assert any(
        name == "urllib4.util.retry" and text.startswith("Incremented Retry for (url='/a'): Retry(")
        for name, _, text in said
    )
    assert ("urllib4.connectionpool", "DEBUG", "Retry: /a") in said


def test_lines_that_are_no_headers_are_a_warning(script: ScriptedServer, records: Any) -> None:
    script.accept().expect(b"GET").send(
        b"HTTP/1.1 200 OK\r\nX: y\r\nno colon here\r\nContent-Length: 0\r\n\r\n"
    )
    with HTTPConnectionPool(script.host, script.port) as pool:
        response = pool.request("GET", "/a")
    assert response.headers["x"] == "y"
    warnings = [text for name, level, text in records() if level == "WARNING"]
    assert len(warnings) == 1
    assert warnings[0].startswith("Failed to parse headers (url=")


def test_a_certificate_for_another_name_is_a_warning(
    certs: Certificates, server: DummyServer, records: Any
) -> None:
    """Where it is us who compare, because a name was asserted; else OpenSSL says all."""
    with (
        PoolManager(ca_certs=certs.ca_file, assert_hostname="no.example") as manager,
        pytest.raises(SSLError),
    ):
        manager.request("GET", server.https_url, retries=False)
    (warning,) = [entry for entry in records() if entry[1] == "WARNING"]
    assert warning[0] == "urllib4.connection"
    assert warning[2].startswith("Certificate did not match expected hostname: no.example.")


def test_no_secret_is_logged(script: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
    """Header values and URL credentials stay out, also of what a broken exchange says."""
    script.accept().expect(b"GET").close()
    script.accept().expect(b"GET").send(OK)
    url = script.url.replace("http://", "http://user:s3cr3t@")
    with (
        caplog.at_level(logging.DEBUG),
        PoolManager() as manager,
        pytest.warns(Warning, match="credentials"),
    ):
        manager.request("GET", url, headers={"Authorization": "t0ken", "Cookie": "c00kie"})
    for secret in ("s3cr3t", "t0ken", "c00kie"):
        assert secret not in caplog.text


def test_nothing_is_formatted_for_a_log_that_is_off(script: ScriptedServer) -> None:
    """A message costs more than a look at the level."""

    class Policy(Retry):
        def __repr__(self) -> str:
            raise AssertionError("formatted for nobody")

    logger = logging.getLogger("urllib4")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        script.accept().expect(b"GET").close()
        script.accept().expect(b"GET").send(OK)
        with HTTPConnectionPool(script.host, script.port) as pool:
            assert pool.request("GET", "/", retries=Policy(1)).status == 200
    finally:
        logger.setLevel(level)


@pytest.mark.filterwarnings("ignore:The URL holds credentials")
@pytest.mark.parametrize("through", ["pool", "manager", "proxy"])
@pytest.mark.parametrize("what", ["redirect", "redirect to nowhere", "status", "hang-up", "stale"])
def test_credentials_of_urls_are_not_logged(
    script: ScriptedServer, records: Any, through: str, what: str
) -> None:
    """Neither those of the program, nor those that a server puts into a Location."""
    own = f"http://ann:s3cret@{script.host}:{script.port}"
    location = own.replace("ann", "bob") if what == "redirect" else "http://bob:s3cret@["
    moved = f"HTTP/1.1 302 F\r\nLocation: {location}/\r\nContent-Length: 0\r\n\r\n".encode()
    busy = b"HTTP/1.1 503 B\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"
    if what == "hang-up":
        script.accept().expect(b"GET ").close()
        script.accept().expect(b"GET ").send(OK)
    elif what == "stale":
        script.accept().expect(b"GET ").send(OK).expect(b"GET ").reset()
        script.accept().expect(b"GET ").send(OK)
    elif what == "redirect to nowhere":
        script.accept().expect(b"GET ").send(moved)
    else:
        script.accept().expect(b"GET ").send(busy if what == "status" else moved).expect(
            b"GET "
        ).send(OK)
    with (
        ProxyManager(script.url) if through == "proxy" else PoolManager()
        if through == "manager" else HTTPConnectionPool(script.host, script.port)
    ) as sender:  # fmt: skip
        for _ in range(2 if what == "stale" else 1):
            with suppress(LocationParseError):
                sender.request("GET", f"{own}/", retries=2)
    assert [text for _, _, text in records() if "s3cret" in text] == []
    assert records()
