"""The examples of the founding documents run as they are written there.

The pages beside this file hold them word for word, except that they say ``urllib4`` and that the
content of a response is bytes.  The hosts that they name are ours here: the resolver leads every
name to a local server, which answers as the pages show.
"""

from __future__ import annotations

import base64
import doctest
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import urllib4
import urllib4._idle
from dummyserver.certs import Certificates
from dummyserver.counting import CountingServer, Exchange, ok
from dummyserver.proxy import Proxy

PAGES = Path(__file__).parent

#: Who the pages say answers.
SERVER_OF = {"example.com": "ECS (iad/182A)", "httpbin.org": "gunicorn/18.0"}
SCRIPT_HOST = "ajax.googleapis.com"
NAMES = ("google.com", "yahoo.com", "twitter.com", SCRIPT_HOST, *SERVER_OF)


def answer_as_shown(exchange: Exchange) -> bytes:
    host = exchange.header("Host") or ""
    fields = [f"Server: {SERVER_OF.get(host, 'ours')}"]
    if host == SCRIPT_HOST:
        fields.append("Content-Type: text/javascript; charset=utf-8")
    return ok(b"" if exchange.method == "HEAD" else b'{"responseData": {}}', *fields)


@pytest.fixture
def http_server() -> Iterator[CountingServer]:
    with CountingServer(answer_as_shown) as server:
        yield server


@pytest.fixture
def https_server(certs: Certificates) -> Iterator[CountingServer]:
    files = certs.issue("seed-pages", *NAMES)
    with CountingServer(answer_as_shown, tls=certs.server_context(files)) as server:
        yield server


@pytest.fixture
def proxy(http_server: CountingServer, https_server: CountingServer) -> Iterator[Proxy]:
    local = {(name, 80): (http_server.host, http_server.port) for name in NAMES}
    local |= {(name, 443): (https_server.host, https_server.port) for name in NAMES}
    with Proxy(resolve=local) as running:
        yield running


@pytest.fixture(autouse=True)
def names_are_local(
    http_server: CountingServer,
    proxy: Proxy,
    certs: Certificates,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The template step: where the names of the pages lead, and whose certificates count."""
    ports = {(name, 80): http_server.port for name in NAMES} | {("localhost", 3128): proxy.port}

    def resolve(host: str, port: int, *args: Any, **kwargs: Any) -> Any:
        if host == "127.0.0.1":  # the proxy reaches our servers by address
            return real_getaddrinfo(host, port, *args, **kwargs)
        return real_getaddrinfo("127.0.0.1", ports[host, port], *args, **kwargs)

    real_getaddrinfo: Callable[..., Any] = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setenv("SSL_CERT_FILE", certs.ca_file)


class AsOnThePages(doctest.OutputChecker):
    """Compares as a reader would.

    An address in memory is a different one each time; the queue may be a subclass (S0-12 checks
    that it is one) that says more; where a page shows nothing below an example, it leaves out
    that a pool was shown.
    """

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        if not want:
            return got == "" or re.fullmatch(r"<?[\w.]*ConnectionPool\b.*\n", got) is not None
        got = re.sub(r"(<[\w.]+ object at 0x\w+)(?:: [^>]*)?>", _shown_by_its_base, got)
        want = re.sub(r"0x\w+", "0x...", want)
        return super().check_output(want, got, optionflags | doctest.ELLIPSIS)


def _shown_by_its_base(shown: re.Match[str]) -> str:
    own = f"{urllib4._idle.IdleStore.__module__}.IdleStore"
    return shown[1].replace(own, "queue.LifoQueue") + ">"


def run_page(name: str) -> doctest.TestResults:
    text = (PAGES / name).read_text(encoding="utf-8")
    examples = doctest.DocTestParser().get_doctest(text, {"urllib4": urllib4}, name, name, 0)
    report: list[str] = []
    outcome = doctest.DocTestRunner(checker=AsOnThePages()).run(examples, out=report.append)
    assert outcome.failed == 0, "".join(report)
    return outcome


def test_the_examples_of_the_pools_page_run(http_server: CountingServer) -> None:
    """S0-17."""
    assert run_page("pools.rst").attempted == 13
    assert {exchange.target for exchange in http_server.exchanges} == {
        "/ajax/services/search/web?q=urllib4&v=1.0",
        "/ajax/services/search/web?q=python&v=1.0",
    }


def test_the_examples_of_the_manager_page_run(proxy: Proxy) -> None:
    """S1-5, S1-6, S1-12, S1-13, S1-18, S1-23 as the page writes them."""
    assert run_page("poolmanager.rst").attempted == 35
    credentials = base64.b64encode(b"myusername:mypassword")
    assert [head.split(b"\r\n")[0] for head in proxy.log] == [b"GET http://example.com/ HTTP/1.1"]
    assert b"\r\nproxy-authorization: Basic " + credentials in proxy.log[0]


def test_the_examples_of_the_page_with_the_interface_run(proxy: Proxy) -> None:
    """S2-24 and S2-49 as the page writes them."""
    assert run_page("poolmanager_api.rst").attempted == 47
    assert [head.split(b"\r\n")[0] for head in proxy.log] == [
        b"GET http://example.com/ HTTP/1.1",
        b"GET http://google.com/ HTTP/1.1",
        b"GET http://httpbin.org/ HTTP/1.1",
        b"CONNECT httpbin.org:443 HTTP/1.1",
        b"CONNECT twitter.com:443 HTTP/1.1",
    ]
