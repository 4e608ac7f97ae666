"""What a proxy may answer to CONNECT, family by family, over plain TCP and over TLS.

Until the tunnel stands, what goes wrong is the proxy's: a ProxyError.  After that it is the
target's, whose TLS is what the client trusts.  Whatever happened, the next request through the same
manager gets its own answer, and no socket stays open (`nothing_leaks`).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dummyserver.certs import Certificates
from dummyserver.threaded import End
from tests.hostile.counting import counted
from tests.hostile.proxies import (
    OPEN,
    Flood,
    HostileProxy,
    Play,
    bytewise,
    reset_after,
    silent_after,
    tunnel_then,
    whole,
)
from urllib4 import ProxyManager, Retry, Timeout
from urllib4.exceptions import (
    DeadlineExceededError,
    HTTPError,
    MaxRetryError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

#: Seconds of the waits that must end by them.
SHORT = 0.2

URL = "https://localhost:44300/"

LONG_OPEN = (
    b"HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\nProxy-Agent: hostile/1.0\r\n"
    b"Content-Length: 5\r\n\r\n"
)
CHALLENGE = (
    b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="x"\r\n'
    b"Content-Length: 6\r\n\r\n"
)
CHUNKED_REFUSAL = (
    b"HTTP/1.1 502 Bad Gateway\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


@pytest.fixture(params=["http", "https"])
def proxy(request: pytest.FixtureRequest, certs: Certificates) -> Iterator[HostileProxy]:
    tls = certs.server_context() if request.param == "https" else None
    with HostileProxy(certs.server_context(), tls=tls) as server:
        yield server


@pytest.fixture
def manager(proxy: HostileProxy, ca_file: str) -> Iterator[ProxyManager]:
    with ProxyManager(proxy.url, ca_certs=ca_file, timeout=10, retries=Retry(0)) as manager:
        yield manager


@pytest.fixture(scope="module")
def count(request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    with counted(request, "answers to CONNECT") as counts:
        yield counts


def error_of(manager: ProxyManager, **options: Any) -> Exception:
    """Return what a request fails with."""
    with pytest.raises(HTTPError) as caught:
        manager.request("GET", f"{URL}case", **options)
    error = caught.value
    return error.reason or error if isinstance(error, MaxRetryError) else error


def its_own_answer(manager: ProxyManager, proxy: HostileProxy, number: int) -> None:
    """The proxy does its job again: see that nothing of the case before is left."""
    proxy.play = proxy.inside = None
    assert manager.request("GET", f"{URL}{number}").data == b"/%d" % number
    manager.clear()


def is_broken(error: Exception) -> None:
    """The tunnel did not come into being, and nobody refused it."""
    assert isinstance(error, ProxyError), repr(error)
    assert "Tunnel connection failed" not in str(error)


def is_refused(status: int) -> Callable[[Exception], None]:
    """Return the check that the proxy refused with `status`."""

    def check(error: Exception) -> None:
        assert isinstance(error, ProxyError), repr(error)
        assert type(error.original_error) is OSError
        assert str(error.original_error).startswith(f"Tunnel connection failed: {status}")

    return check


def is_the_targets(error: Exception) -> None:
    """The tunnel stood."""
    assert type(error) in (ProtocolError, SSLError), repr(error)


def truncations() -> Iterator[tuple[bytes, Callable[[Exception], None]]]:
    """Each answer cut at each byte, and what that must be."""
    for head, status in (
        (LONG_OPEN, 200),
        (CHALLENGE + b"denied", 407),
        (CONTINUE + HINTS + OPEN, 200),
        (HINTS + CHUNKED_REFUSAL, 502),
    ):
        end = head.rindex(b"\r\n\r\n") + 4
        if status >= 400:
            start = head.index(b"HTTP/1.1 %d" % status)
            end = head.index(b"\r\n\r\n", start) + 4
        for at in range(len(head) + 1):
            if at < end:
                yield head[:at], is_broken
            else:
                yield head[:at], is_the_targets if status == 200 else is_refused(status)


def test_answers_that_end_at_every_byte(
    manager: ProxyManager, proxy: HostileProxy, count: Counter[str]
) -> None:
    for number, (data, check) in enumerate(truncations()):
        proxy.play = whole(data)
        check(error_of(manager))
        count["cut by a close"] += 1
        if number % 5:
            continue
        proxy.play = reset_after(data)
        error = error_of(manager)
        if check is is_broken:
            is_broken(error)
        else:  # what was sent before the reset may be lost
            assert isinstance(error, (ProxyError, ProtocolError, SSLError))
        count["cut by a reset"] += 1
        if number % 20 == 0:
            its_own_answer(manager, proxy, number)


def test_answers_that_come_byte_by_byte(
    manager: ProxyManager, proxy: HostileProxy, count: Counter[str]
) -> None:
    def slowly(head: bytes) -> Play:
        def play(end: End) -> None:
            bytewise(head)(end)
            proxy.be_the_target(end)

        return play

    for head in (OPEN, LONG_OPEN, CONTINUE + HINTS + OPEN):
        proxy.play = slowly(head)
        assert manager.request("GET", f"{URL}slow").data == b"/slow"
        manager.clear()
        count["open"] += 1
    proxy.play = bytewise(CHALLENGE + b"denied")
    is_refused(407)(error_of(manager))
    count["refused"] += 1


OVERSIZED = {
    "a long field": whole(b"HTTP/1.1 200 OK\r\nA: " + b"a" * 300_000 + b"\r\n\r\n"),
    "many fields": whole(b"HTTP/1.1 200 OK\r\n" + b"A: a\r\n" * 2000 + b"\r\n"),
    "endless fields": Flood(b"HTTP/1.1 200 OK\r\n", b"A: a\r\n"),
    "an endless field": Flood(b"HTTP/1.1 407 No\r\nA: ", b"a"),
    "an endless reason": Flood(b"HTTP/1.1 200 ", b"a"),
    "endless zeros": Flood(b"", b"\0"),
    "endless empty lines": Flood(b"", b"\r\n"),
    "endless 100": Flood(b"", CONTINUE),
    "endless 103": Flood(b"", HINTS),
    "endless 199": Flood(CONTINUE, b"HTTP/1.1 199 Wait\r\n\r\n"),
}


@pytest.mark.parametrize("name", OVERSIZED)
def test_heads_without_end(
    manager: ProxyManager, proxy: HostileProxy, count: Counter[str], name: str
) -> None:
    """What is taken is bounded; the kernel's buffers take some megabytes themselves."""
    proxy.play = OVERSIZED[name]
    is_broken(error_of(manager))
    proxy.wait_until(lambda: proxy.open == 0)
    if isinstance(proxy.play, Flood):
        assert proxy.play.sent < 1 << 24
    its_own_answer(manager, proxy, 1)
    count["oversized"] += 1


OPENING = {
    "a length without content": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
    "a coding without content": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "both": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
    "a length that is none": b"HTTP/1.1 200 OK\r\nContent-Length: -1, x\r\n\r\n",
    "a close": b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n",
    "no reason": b"HTTP/1.1 200\r\n\r\n",
    "201": b"HTTP/1.1 201 Created\r\n\r\n",
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "299": b"HTTP/1.1 299 Whatever\r\n\r\n",
    "bare line feeds": b"HTTP/1.1 200 OK\nVia: x\n\n",
    "some interim answers": CONTINUE * 3 + HINTS + OPEN,
}


@pytest.mark.parametrize("name", OPENING)
def test_every_2xx_opens_the_tunnel_and_its_lengths_mean_nothing(
    manager: ProxyManager, proxy: HostileProxy, count: Counter[str], name: str
) -> None:
    """RFC 9110, 9.3.6."""
    proxy.play = tunnel_then(proxy, OPENING[name])
    for number in range(2):
        assert manager.request("GET", f"{URL}{number}").data == b"/%d" % number
    assert len(proxy.asked) == 1
    count["open"] += 1


@pytest.mark.parametrize(
    "body", [b"hello", b"HTTP/1.1 200 OK\r\n\r\n", b"\x16\x03\x03\0\1a", b"\n"]
)
def test_content_behind_the_head_does_not_get_into_the_tunnel(
    manager: ProxyManager, proxy: HostileProxy, count: Counter[str], body: bytes
) -> None:
    """It would be taken for the target's first words."""
    for head in (OPEN, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)):
        proxy.play = silent_after(head + body)
        is_broken(error_of(manager))
        count["content"] += 1
    its_own_answer(manager, proxy, 1)


BODIES: dict[str, Callable[[int], Play]] = {
    "nothing": lambda status: whole(b"HTTP/1.1 %d No\r\n\r\n" % status),
    "a length": lambda status: whole(b"HTTP/1.1 %d No\r\nContent-Length: 2\r\n\r\nno" % status),
    "a length that is too long": lambda status: whole(
        b"HTTP/1.1 %d No\r\nContent-Length: 99999999999\r\n\r\nno" % status
    ),
    "a length that is none": lambda status: whole(
        b"HTTP/1.1 %d No\r\nContent-Length: -5\r\n\r\nno" % status
    ),
    "chunks": lambda status: whole(
        b"HTTP/1.1 %d No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n" % status
    ),
    "broken chunks": lambda status: whole(
        b"HTTP/1.1 %d No\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\nno" % status
    ),
    "until the end": lambda status: whole(b"HTTP/1.1 %d No\r\n\r\n" % status + b"no" * 10_000),
    "a Location": lambda status: whole(
        b"HTTP/1.1 %d No\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n" % status
    ),
}


def test_refusals(manager: ProxyManager, proxy: HostileProxy, count: Counter[str]) -> None:
    """Whatever follows the head; a redirect is nothing to follow."""
    statuses = (300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 407, 413, 417, 421, 429,
                500, 501, 502, 503, 504, 511, 599, 600, 999)  # fmt: skip
    for number, status in enumerate(statuses):
        for make in BODIES.values():
            proxy.play = make(status)
            proxy.asked.clear()
            is_refused(status)(error_of(manager))
            assert len(proxy.asked) == 1
            count["3xx" if status < 400 else "4xx" if status < 500 else "others"] += 1
        its_own_answer(manager, proxy, number)


def test_a_refusal_with_an_endless_page_is_not_read_to_its_end(
    manager: ProxyManager, proxy: HostileProxy, count: Counter[str]
) -> None:
    for start in (
        b"HTTP/1.1 403 No\r\n\r\n",
        b"HTTP/1.1 403 No\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n",
    ):
        flood = proxy.play = Flood(start, b"x")
        is_refused(403)(error_of(manager))
        proxy.wait_until(lambda: proxy.open == 0)
        assert flood.sent < 1 << 24
        count["endless page"] += 1


def test_a_refusal_with_a_page_that_does_not_come_is_a_refusal(
    manager: ProxyManager, proxy: HostileProxy, count: Counter[str]
) -> None:
    proxy.play = silent_after(b"HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\nab")
    is_refused(403)(error_of(manager, timeout=SHORT))
    count["stalled page"] += 1


def test_407_for_ever_ends_with_the_policy(
    manager: ProxyManager, proxy: HostileProxy, count: Counter[str]
) -> None:
    """Each attempt asks once, on a connection of its own."""
    challenges = iter(range(100))

    def play(end: End) -> None:
        number = b"%d" % next(challenges)
        end.sendall(CHALLENGE.replace(b"x", number) + b"denied")

    for attempts in (1, 4):
        proxy.play = play
        proxy.asked.clear()
        is_refused(407)(error_of(manager, retries=Retry(attempts - 1)))
        assert len(proxy.asked) == attempts
        count["407"] += 1
    proxy.play = play
    with pytest.raises(ProxyError):
        manager.request("GET", f"{URL}case", retries=False)


GARBAGE = [
    b"\n", b"\r\n\r\n", b" ", b"\0", b"\xff" * 50, b"<html>denied</html>\r\n\r\n",
    b"HTTP/0.9 200 OK\r\n\r\n", b"HTTP/2 200 OK\r\n\r\n", b"HTTP/2.0 200 OK\r\n\r\n",
    b"HTTP/11 200 OK\r\n\r\n", b"HTTP/1. 200 OK\r\n\r\n", b"HTTP/1.1200 OK\r\n\r\n",
    b"HTTP 200 OK\r\n\r\n", b"http/1.1 200 OK\r\n\r\n", b" HTTP/1.1 200 OK\r\n\r\n",
    b"\r\nHTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1\t200 OK\r\n\r\n", b"HTTP/1.1  200 OK\r\n\r\n",
    b"HTTP/1.1 20 OK\r\n\r\n", b"HTTP/1.1 2000 OK\r\n\r\n", b"HTTP/1.1 +20 OK\r\n\r\n",
    b"HTTP/1.1 2_0 OK\r\n\r\n", b"HTTP/1.1 0x8 OK\r\n\r\n", b"HTTP/1.1 -20 OK\r\n\r\n",
    b"HTTP/1.1 000 OK\r\n\r\n", b"HTTP/1.1 099 OK\r\n\r\n", b"HTTP/1.1 OK\r\n\r\n",
    b"HTTP/1.1 200OK\r\n\r\n", b"HTTP/1.1 200 O\0K\r\n\r\n", b"HTTP/1.1 200 O\rK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n folded: first\r\n\r\n", b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA: b\rC: d\r\n\r\n", b"HTTP/1.1 200 OK\r\nA: \0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA\xe9: b\r\n\r\n", b"ICY 200 OK\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n",
    b"220 smtp.example ESMTP\r\n", b"+OK POP3\r\n", b"* OK IMAP\r\n", b"\x05\x00", b"\x00\x5a" * 4,
    b"\x15\x03\x03\x00\x02\x02\x28", b"\x16\x03\x03\x00\x04\x0e\x00\x00\x00",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"CONNECT localhost:443 HTTP/1.1\r\n\r\n",
]  # fmt: skip


def test_what_is_not_http(manager: ProxyManager, proxy: HostileProxy, count: Counter[str]) -> None:
    for number, data in enumerate(GARBAGE):
        for make in (whole, silent_after):
            more = len(data) < 8 or not data.endswith(b"\r\n\r\n")
            if make is silent_after and more:
                continue  # there may be more to come: that is a timeout
            proxy.play = make(data)
            is_broken(error_of(manager))
            count["garbage"] += 1
        if number % 8 == 0:
            its_own_answer(manager, proxy, number)


def test_noise(manager: ProxyManager, proxy: HostileProxy, count: Counter[str]) -> None:
    """Bytes from a seeded generator, and a good answer with some of them changed."""
    chance = random.Random(4)
    for number in range(100):
        noise = chance.randbytes(chance.randrange(1, 60))
        proxy.play = whole(noise)
        is_broken(error_of(manager))
        changed = bytearray(CHALLENGE + b"denied")
        changed[chance.randrange(len(changed))] = chance.randrange(256)
        proxy.play = whole(bytes(changed))
        error = error_of(manager)
        assert isinstance(error, (ProxyError, ProtocolError, SSLError)), bytes(changed)
        count["noise"] += 2
        if number % 25 == 0:
            its_own_answer(manager, proxy, number)


# -- time ------------------------------------------------------------------------------------------


STALLS = {
    "at once": b"",
    "in the head": b"HTTP/1.1 200 OK\r\nVia: x\r\n",
    "after 100": CONTINUE,
}


@pytest.mark.parametrize("name", STALLS)
def test_an_answer_that_does_not_come_ends_with_the_timeout(
    manager: ProxyManager, proxy: HostileProxy, count: Counter[str], name: str
) -> None:
    proxy.play = silent_after(STALLS[name])
    error = error_of(manager, timeout=SHORT)
    assert isinstance(error, ProxyError)
    assert isinstance(error.original_error, ReadTimeoutError)
    with pytest.raises(DeadlineExceededError, match="connecting"):
        manager.request("GET", URL, timeout=Timeout(30, deadline=SHORT), retries=5)
    count["stalled"] += 2


def test_a_target_that_does_not_shake_hands_ends_with_the_timeout(
    manager: ProxyManager, proxy: HostileProxy, count: Counter[str]
) -> None:
    proxy.inside = silent_after(b"")
    assert isinstance(error_of(manager, timeout=SHORT), ReadTimeoutError)
    with pytest.raises(DeadlineExceededError, match="connecting"):
        manager.request("GET", URL, timeout=Timeout(30, deadline=SHORT), retries=5)
    count["stalled"] += 2
