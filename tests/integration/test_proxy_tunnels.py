"""CONNECT: what is sent where, and what each possible answer of a proxy leads to."""

from __future__ import annotations

import pickle
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from dummyserver.certs import Certificates
from dummyserver.counting import CountingServer, ok
from dummyserver.proxy import Proxy
from dummyserver.script import ScriptedServer
from urllib4 import CancelToken, PoolManager, ProxyManager, Timeout
from urllib4._tunnel import REFUSAL_MAX_BYTES
from urllib4.exceptions import (
    DeadlineExceededError,
    HTTPError,
    MaxRetryError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    RequestCancelledError,
    SSLError,
)

OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SECRETS = {"Authorization": "Bearer for-the-target", "Cookie": "target=1"}


def head_of(request: bytes) -> dict[str, str]:
    lines = request.decode("latin-1").split("\r\n")[1:-2]
    return {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }


def refused(script: ScriptedServer, answer: bytes, **options: Any) -> ProxyError:
    """Return the error that a request ends in when the proxy answers CONNECT by `answer`."""
    script.accept().expect(b"CONNECT target.example:443 HTTP/1.1\r\n").send(answer).close()
    with (
        ProxyManager(script.url, retries=False, **options) as manager,
        pytest.raises(ProxyError) as caught,
    ):
        manager.request("GET", "https://target.example/")
    return caught.value


# -- who gets which headers and certificates -----------------------------------------------------


@pytest.mark.parametrize("proxy_tls", [False, True], ids=["http", "https"])
def test_each_hop_gets_its_own_headers_and_nothing_else(
    certs: Certificates, proxy_tls: bool
) -> None:
    """S2-48: the proxy's once, with CONNECT; the target's never; also with TLS in TLS."""
    tls = certs.server_context() if proxy_tls else None
    with (
        CountingServer(tls=certs.server_context()) as origin,
        Proxy(credentials="ann:secret", tls=tls) as proxy,
        ProxyManager(
            proxy.url.replace("//", "//ann:secret@"),
            ca_certs=certs.ca_file,
            proxy_headers={"X-Proxy": "only"},
            headers=SECRETS,
        ) as manager,
    ):
        for _ in range(2):
            assert manager.request("GET", f"{origin.url}/x").data == b"/x"
        origin_heads = [exchange.head for exchange in origin.exchanges]
        assert origin.connections == 1

    (connect,) = map(head_of, proxy.log)
    assert connect == {
        "host": f"127.0.0.1:{origin.port}",
        "x-proxy": "only",
        "proxy-authorization": "Basic YW5uOnNlY3JldA==",
    }
    for head in map(head_of, origin_heads):
        assert head["authorization"] == SECRETS["Authorization"]
        assert not {"x-proxy", "proxy-authorization"} & head.keys()


def test_the_clients_certificate_is_for_the_target_only(certs: Certificates) -> None:
    """A proxy that asks for one does not get that of the target."""
    asking = certs.server_context()
    asking.load_verify_locations(certs.ca_file)
    asking.verify_mode = ssl.CERT_OPTIONAL
    shown: list[Any] = []

    class Asking(Proxy):
        def serve(self, number: int, end: Any) -> None:
            shown.append(end._tls.getpeercert())
            super().serve(number, end)

    target = certs.server_context(client_certificate=True)
    with (
        CountingServer(tls=target) as origin,
        Asking(tls=asking) as proxy,
        ProxyManager(
            proxy.url,
            ca_certs=certs.ca_file,
            cert_file=certs.client.cert,
            key_file=certs.client.key,
            assert_hostname="127.0.0.1",
            server_hostname="127.0.0.1",
        ) as manager,
    ):
        assert manager.request("GET", f"{origin.url}/x").data == b"/x"
    assert shown == [None]


@pytest.mark.parametrize("good_target", [True, False], ids=["good-target", "bad-target"])
@pytest.mark.parametrize("good_proxy", [True, False], ids=["good-proxy", "bad-proxy"])
def test_both_legs_are_verified_each_by_itself(
    certs: Certificates, good_proxy: bool, good_target: bool
) -> None:
    def context(good: bool) -> Any:
        return certs.server_context(certs.server if good else certs.untrusted)

    with (
        CountingServer(tls=context(good_target)) as origin,
        Proxy(tls=context(good_proxy)) as proxy,
        ProxyManager(proxy.url, ca_certs=certs.ca_file, retries=False) as manager,
    ):
        if good_proxy and good_target:
            assert manager.request("GET", f"{origin.url}/x").data == b"/x"
            return
        expected = SSLError if good_proxy else ProxyError
        with pytest.raises(expected, match="certificate verify failed"):
            manager.request("GET", f"{origin.url}/x")
        assert len(proxy.log) == (1 if good_proxy else 0)
        assert origin.exchanges == []


# -- the answer to CONNECT -----------------------------------------------------------------------


def test_the_headers_of_the_tunnel_are_readable_on_each_response(certs: Certificates) -> None:
    with (
        CountingServer(tls=certs.server_context()) as origin,
        CountingServer(lambda exchange: ok(b"", "Connection: close")) as other,
        Proxy(tunnel_headers=("Via: 1.1 one", "X-Session: 7", "X-Session: 8")) as proxy,
        ProxyManager(proxy.url, ca_certs=certs.ca_file) as manager,
    ):
        one = manager.request("GET", f"{origin.url}/x")
        two = manager.request("GET", f"{origin.url}/y")
        assert one.proxy_headers is not None
        one.proxy_headers.clear()
        assert two.proxy_headers is not None
        assert dict(two.proxy_headers) == {"Via": "1.1 one", "X-Session": "7, 8"}
        assert two.proxy_headers.getlist("x-session") == ["7", "8"]
        plain = manager.request("GET", other.url)
        assert plain.proxy_headers is None


def test_without_a_tunnel_there_are_no_headers_of_one() -> None:
    with CountingServer() as origin, PoolManager() as manager:
        assert manager.request("GET", origin.url).proxy_headers is None


@pytest.mark.parametrize(
    "announced",
    [b"Content-Length: 20\r\n", b"Transfer-Encoding: chunked\r\n", b"Content-Length: x\r\n"],
)
@pytest.mark.parametrize("status", [b"200 OK", b"204 No Content", b"299 Fine"])
def test_a_length_on_a_tunnel_means_nothing(
    script: ScriptedServer, certs: Certificates, status: bytes, announced: bytes
) -> None:
    """RFC 9110, 9.3.6: any 2xx opens it, and its framing fields are ignored."""
    (
        script.accept()
        .expect(b"CONNECT ")
        .send(b"HTTP/1.1 " + status + b"\r\n" + announced + b"\r\n")
        .start_tls(certs.server_context())
        .expect(b"GET /x ")
        .send(OK)
    )
    with ProxyManager(script.url, ca_certs=certs.ca_file, assert_hostname=False) as manager:
        assert manager.request("GET", "https://127.0.0.1/x").data == b"ok"


def test_interim_answers_are_skipped(script: ScriptedServer, certs: Certificates) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nVia: no\r\n\r\n"
    script.accept().expect(b"CONNECT ").send(interim + OPEN).start_tls(
        certs.server_context()
    ).expect(b"GET /x ").send(OK)
    with ProxyManager(script.url, ca_certs=certs.ca_file) as manager:
        response = manager.request("GET", "https://127.0.0.1/x")
        assert (response.data, dict(response.proxy_headers or {"none": ""})) == (
            b"ok",
            {"none": ""},
        )


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (OPEN + b"x", "proxy sent data before the tunnel was used"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "proxy sent data"),
        (b"", "proxy closed the connection at CONNECT"),
        (b"HTTP/1.1 200 OK\r\nVia: x\r\n", "connection closed inside the response head"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "101 Switching Protocols"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 21, "interim"),
        (b"HTTP/1.1 200 OK\r\nA: b\rC: d\r\n\r\n", "bare CR"),
        (b"HTTP/1.1 200 OK\r\nA: \0\r\n\r\n", "NUL"),
        (b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", ""),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"a" * 300_000, "exceeds"),
    ],
    ids=[
        "surplus", "body", "nothing", "cut", "101", "interim", "cr", "nul", "space", "other",
        "oversized",
    ],
)  # fmt: skip
def test_what_is_no_answer_to_connect_is_the_proxys_error(
    script: ScriptedServer, answer: bytes, reason: str
) -> None:
    error = refused(script, answer)
    assert str(error.args[0]).startswith("Unable to connect to proxy")
    assert reason in str(error.original_error)
    assert (error.status, error.headers, error.body) == (None, None, None)


def test_an_answer_that_is_cut_anywhere_is_the_proxys_error(script: ScriptedServer) -> None:
    answer = b"HTTP/1.1 200 OK\r\nVia: 1.1 x\r\n\r\n"
    for length in range(len(answer)):
        error = refused(script, answer[:length])
        assert isinstance(error.original_error, (ProtocolError, OSError))


# -- a refusal -----------------------------------------------------------------------------------


def test_a_refusal_tells_status_headers_and_page(script: ScriptedServer) -> None:
    error = refused(
        script,
        b"HTTP/1.1 403 Not Here\r\nX-Why: policy\r\nX-Why: rule 5\r\n"
        b"Content-Length: 9\r\n\r\nGo away.\n",
    )
    assert error.status == 403
    assert error.headers.getlist("x-why") == ["policy", "rule 5"]
    assert error.body == b"Go away.\n"
    assert repr(error.original_error) == "OSError('Tunnel connection failed: 403 Not Here')"
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.status, copy.body, str(copy)) == (403, b"Go away.\n", str(error))
    assert copy.headers == error.headers


def test_a_refusal_is_the_reason_of_retries_that_are_used_up(script: ScriptedServer) -> None:
    for _ in range(2):
        script.accept().expect(b"CONNECT ").send(b"HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n")
    with ProxyManager(script.url, retries=1) as manager, pytest.raises(MaxRetryError) as caught:
        manager.request("GET", "https://target.example/")
    assert isinstance(caught.value.reason, ProxyError)
    assert (caught.value.reason.status, caught.value.reason.body) == (502, b"")


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 407 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", b"abc"),
        (b"HTTP/1.1 407 No\r\nContent-Length: 10\r\n\r\nhalf", b"half"),
        (b"HTTP/1.0 500 No\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.1 500 No\r\nContent-Length: x\r\n\r\nabc", b""),
        (b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b""),
        (b"HTTP/1.1 500 No\r\n\r\n" + b"a" * 200_000, b"a" * REFUSAL_MAX_BYTES),
    ],
    ids=["redirect", "chunked", "cut", "until-close", "bad-length", "bad-chunk", "large"],
)
def test_of_the_page_of_a_refusal_what_came_is_kept(
    script: ScriptedServer, answer: bytes, body: bytes
) -> None:
    """Also a redirect is one: it would lead the request past TLS with the target."""
    error = refused(script, answer)
    assert error.body == body


def test_a_page_that_never_ends_does_not_hold_the_caller(script: ScriptedServer) -> None:
    started = time.monotonic()
    done = threading.Event()
    script.accept().expect(b"CONNECT ").send(
        b"HTTP/1.1 403 No\r\nContent-Length: 99\r\n\r\nstart"
    ).pause_until(done)
    with (
        ProxyManager(script.url, retries=False) as manager,
        pytest.raises(ProxyError) as caught,
    ):
        manager.request("GET", "https://target.example/")
    done.set()
    assert caught.value.body == b"start"
    assert time.monotonic() - started < 5


# -- bounds --------------------------------------------------------------------------------------

# What a proxy does and then goes on waiting, by stage: CONNECT, its own TLS, the target's TLS.
STAGES: dict[str, Callable[[Any, Certificates], Any]] = {
    "connect": lambda conversation, certs: conversation.expect(b"CONNECT "),
    "half-an-answer": lambda conversation, certs: conversation.expect(b"CONNECT ").send(b"HTTP/1."),
    "target-tls": lambda conversation, certs: conversation.expect(b"CONNECT ").send(OPEN),
    "tls-in-tls": lambda conversation, certs: (
        conversation.start_tls(certs.server_context()).expect(b"CONNECT ").send(OPEN)
    ),
    "proxy-tls": lambda conversation, certs: conversation.read_exactly(1),
}


def silent(script: ScriptedServer, certs: Certificates, stage: str) -> tuple[str, threading.Event]:
    """Let the proxy fall silent at `stage`; return its URL and what ends the conversation."""
    done = threading.Event()
    conversation = STAGES[stage](script.accept(), certs)
    conversation.pause_until(done)
    url = script.url
    return url.replace("http:", "https:") if stage in ("proxy-tls", "tls-in-tls") else url, done


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_the_connect_timeout_holds_at_each_stage(
    script: ScriptedServer, certs: Certificates, stage: str
) -> None:
    url, done = silent(script, certs, stage)
    started = time.monotonic()
    with (
        ProxyManager(url, ca_certs=certs.ca_file, retries=False) as manager,
        pytest.raises(HTTPError) as caught,
    ):
        manager.request("GET", "https://127.0.0.1/", timeout=Timeout(connect=0.2, read=30))
    assert time.monotonic() - started < 5
    done.set()
    proxy_is_to_blame = "target" not in stage and stage != "tls-in-tls"
    assert isinstance(caught.value, ProxyError if proxy_is_to_blame else ReadTimeoutError)


@pytest.mark.parametrize("stage", STAGES)
def test_a_deadline_holds_at_each_stage(
    script: ScriptedServer, certs: Certificates, stage: str
) -> None:
    url, done = silent(script, certs, stage)
    started = time.monotonic()
    with (
        ProxyManager(url, ca_certs=certs.ca_file) as manager,
        pytest.raises(DeadlineExceededError),
    ):
        manager.request("GET", "https://127.0.0.1/", timeout=Timeout(deadline=0.5))
    assert time.monotonic() - started < 5
    done.set()


@pytest.mark.parametrize("stage", STAGES)
def test_a_token_ends_each_stage(script: ScriptedServer, certs: Certificates, stage: str) -> None:
    reached = threading.Event()
    done = threading.Event()
    STAGES[stage](script.accept(), certs).notify(reached).pause_until(done)
    url = script.url
    if stage in ("proxy-tls", "tls-in-tls"):
        url = url.replace("http:", "https:")
    token = CancelToken()

    def cancel() -> None:
        reached.wait(10)
        token.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    with (
        ProxyManager(url, ca_certs=certs.ca_file) as manager,
        pytest.raises(RequestCancelledError),
    ):
        manager.request("GET", "https://127.0.0.1/", cancel=token)
    thread.join()
    done.set()


def test_a_dripping_answer_is_bounded_as_a_whole(script: ScriptedServer) -> None:
    """Each byte starts a new wait for a socket; the connect timeout is for all of them."""
    stop = threading.Event()

    def drip(sock: Any) -> None:
        while not stop.wait(0.05):
            try:
                sock.sendall(b"x")
            except OSError:
                return

    script.accept().expect(b"CONNECT ").send(b"HTTP/1.1 200 OK\r\nX: ").run(drip)
    started = time.monotonic()
    with (
        ProxyManager(script.url, retries=False) as manager,
        pytest.raises(ProxyError, match="timed out"),
    ):
        manager.request("GET", "https://127.0.0.1/", timeout=Timeout(connect=0.4, read=30))
    stop.set()
    assert time.monotonic() - started < 5


def test_a_tunnel_that_was_refused_leaves_no_socket(script: ScriptedServer) -> None:
    """The proxy sees the end of the connection while the error is still alive."""
    script.accept().expect(b"CONNECT ").send(
        b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"
    ).expect_eof()
    with ProxyManager(script.url, retries=False) as manager:
        with pytest.raises(ProxyError) as caught:
            manager.request("GET", "https://target.example/")
        script.assert_finished()
    assert caught.value.status == 403


def test_tls_in_tls_can_be_shut_down_by_another_thread(certs: Certificates) -> None:
    """``response.shutdown()`` wakes whoever reads, also inside two layers."""
    reading = threading.Event()
    done = threading.Event()
    with ScriptedServer() as script:
        (
            script.accept()
            .start_tls(certs.server_context())
            .expect(b"CONNECT ")
            .send(OPEN)
            .start_tls(certs.server_context())
            .expect(b"GET ")
            .send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
            .pause_until(done)
        )
        url = script.url.replace("http:", "https:")
        with ProxyManager(url, ca_certs=certs.ca_file, retries=False) as manager:
            response = manager.request("GET", "https://127.0.0.1/", preload_content=False)
            assert response.read(4) == b"half"

            def wake() -> None:
                reading.wait(10)
                response.shutdown()

            thread = threading.Thread(target=wake)
            thread.start()
            reading.set()
            with pytest.raises(ProtocolError):
                response.read()
            thread.join()
        done.set()


def test_the_socket_of_a_tunnel_is_that_to_the_proxy(certs: Certificates) -> None:
    with (
        CountingServer(tls=certs.server_context()) as origin,
        Proxy(tls=certs.server_context()) as proxy,
        ProxyManager(proxy.url, ca_certs=certs.ca_file) as manager,
    ):
        response = manager.request("GET", f"{origin.url}/x", preload_content=False)
        sock: socket.socket = response.connection.sock
        assert sock.getpeername() == ("127.0.0.1", proxy.port)
        response.drain_conn()
