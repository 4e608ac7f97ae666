"""Refusals that can be read, and challenges that are answered: what a proxy may make of both."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dummyserver.certs import Certificates
from dummyserver.threaded import End
from tests.hostile.counting import counted
from tests.hostile.proxies import OPEN, Flood, HostileProxy, Play, silent_after, whole
from urllib4 import ProxyManager, Retry
from urllib4.exceptions import HTTPError, MaxRetryError, ProxyError

HTTPS, HTTP = "https://localhost:44300/x", "http://localhost:44300/x"
SECRET = "Basic c2VjcmV0OnNlY3JldA=="
CHALLENGE = b'Proxy-Authenticate: Basic realm="%d"\r\n'
REFUSED = b"HTTP/1.1 407 Proxy Authentication Required\r\n"

#: Most that is kept of the page of a refusal, and most answers to challenges.
MOST_BYTES, MOST_ANSWERS = 64 * 1024, 4


@pytest.fixture
def proxy(certs: Certificates) -> Iterator[HostileProxy]:
    with HostileProxy(certs.server_context()) as server:
        yield server


@pytest.fixture(scope="module")
def count(request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    with counted(request, "refusals and challenges of proxies") as counts:
        yield counts


@pytest.fixture
def open_manager(proxy: HostileProxy, ca_file: str) -> Iterator[Callable[..., ProxyManager]]:
    managers = []

    def make(ask: Callable[[Any], Any] | None = None) -> ProxyManager:
        managers.append(
            ProxyManager(proxy.url, ca_certs=ca_file, timeout=10, retries=Retry(0), proxy_auth=ask)
        )
        return managers[-1]

    yield make
    for manager in managers:
        manager.clear()


def error_of(manager: ProxyManager, url: str = HTTPS) -> Any:
    """Return the ProxyError that a request ends in."""
    with pytest.raises(MaxRetryError) as caught:
        manager.request("GET", url)
    assert isinstance(caught.value.reason, ProxyError), repr(caught.value.reason)
    assert SECRET.split()[1] not in repr(caught.value)
    return caught.value.reason


# -- refusals --------------------------------------------------------------------------------------

PAGES = {
    "a length": (b"Content-Length: 12\r\n\r\n", b"hello, world"),
    "until the end": (b"\r\n", b"hello, world"),
    "chunks": (b"Transfer-Encoding: chunked\r\n\r\n", b"5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n"),
}


@pytest.mark.parametrize("name", PAGES)
def test_refusals_whose_page_ends_at_every_byte(
    proxy: HostileProxy, open_manager: Callable[..., ProxyManager], count: Counter[str], name: str
) -> None:
    """What came of it is there; that it was cut changes nothing about the refusal."""
    fields, page = PAGES[name]
    manager = open_manager()
    for at in range(len(page) + 1):
        proxy.play = whole(b"HTTP/1.1 403 No\r\nX-Why: policy\r\n" + fields + page[:at])
        error = error_of(manager)
        assert (error.status, error.headers["X-Why"]) == (403, "policy")
        assert b"hello, world".startswith(error.body)
        if name != "chunks":
            assert error.body == page[:at]
        count["cut page"] += 1
    assert error.body == b"hello, world"


@pytest.mark.parametrize("fields", [fields for fields, _ in PAGES.values()], ids=list(PAGES))
def test_of_an_endless_page_the_beginning_is_kept(
    proxy: HostileProxy,
    open_manager: Callable[..., ProxyManager],
    count: Counter[str],
    fields: bytes,
) -> None:
    fields = fields.replace(b"12", b"123456789")
    start = b"fffffff\r\n" if b"chunked" in fields else b""
    flood = proxy.play = Flood(b"HTTP/1.1 403 No\r\n" + fields + start, b"x")
    error = error_of(open_manager())
    assert error.body == b"x" * MOST_BYTES
    proxy.wait_until(lambda: proxy.open == 0)
    assert flood.sent < 1 << 24
    count["endless page"] += 1


def test_what_is_no_refusal_has_nothing_to_read(
    proxy: HostileProxy, open_manager: Callable[..., ProxyManager], count: Counter[str]
) -> None:
    manager = open_manager()
    for data in (b"", b"HTTP/1.1 403", b"<html>", OPEN + b"x"):
        proxy.play = whole(data)
        error = error_of(manager)
        assert (error.status, error.headers, error.body) == (None, None, None)
        count["no refusal"] += 1


# -- challenges ------------------------------------------------------------------------------------


class Asking:
    """Answers challenges, and counts them."""

    def __init__(self, value: Any = SECRET) -> None:
        self.challenges: list[Any] = []
        self._value = value

    def __call__(self, challenge: Any) -> Any:
        self.challenges.append(challenge)
        return self._value


def refusing(fields: Callable[[int], bytes]) -> Play:
    """Refuse each request with 407 and other fields."""
    number = iter(range(10_000))

    def play(end: End) -> None:
        end.sendall(REFUSED + fields(next(number)) + b"Connection: close\r\n\r\nno")

    return play


@pytest.mark.parametrize("url", [HTTP, HTTPS])
@pytest.mark.parametrize("fresh", [True, False])
def test_challenges_for_ever(
    proxy: HostileProxy,
    open_manager: Callable[..., ProxyManager],
    count: Counter[str],
    url: str,
    fresh: bool,
) -> None:
    """The same one is answered once; new ones some times, but not for ever."""
    ask = Asking()
    manager = open_manager(ask)
    proxy.play = refusing(lambda number: CHALLENGE % (number if fresh else 7))
    if url == HTTP:
        answer = manager.request("GET", url)
        assert (answer.status, answer.data) == (407, b"no")
    else:
        assert error_of(manager).status == 407
    assert len(ask.challenges) == (MOST_ANSWERS if fresh else 1)
    assert len(proxy.asked) == len(ask.challenges) + 1
    count["for ever"] += 1


@pytest.mark.parametrize("url", [HTTP, HTTPS])
def test_fields_that_are_no_challenges(
    proxy: HostileProxy,
    open_manager: Callable[..., ProxyManager],
    count: Counter[str],
    url: str,
) -> None:
    """Whatever is in them: the end is the refusal, after a bounded number of questions."""
    chance = random.Random(407)
    values = [
        b"",
        b",",
        b"=",
        b"=,=",
        b'"',
        b'Basic realm="',
        b'Basic realm="a\\',
        b'Basic realm="a", realm="b"',
        b"Basic realm=\xc3\xa9",
        b"\xff\xfe",
        b"Negotiate",
        b"a=b=c",
        b"Basic " + b"a" * 60_000,
        b"Basic," * 5000,
        b", ".join(b"Basic realm=%d" % number for number in range(2000)),
        b'Digest a="' + b"\\" * 50_000,
        b"Basic realm" + b" " * 50_000 + b"=x",
        b" \t" * 20_000,
    ]
    alphabet = b'Basic rlm="\\,\t =aD\xe9/;:-'
    values += [bytes(chance.choices(alphabet, k=chance.randrange(60))) for _ in range(200)]
    for value in values:
        ask = Asking()
        manager = open_manager(ask)
        proxy.play = refusing(lambda number, value=value: b"Proxy-Authenticate: %b\r\n" % value)  # type: ignore[misc]
        if url == HTTP:
            assert manager.request("GET", url).status == 407
        else:
            assert error_of(manager).status == 407
        assert len(ask.challenges) <= MOST_ANSWERS
        manager.clear()
        count["no challenge"] += 1


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\0", "a\n", 7, b"Basic YQ==", True])
@pytest.mark.parametrize("url", [HTTP, HTTPS])
def test_answers_that_cannot_be_sent(
    proxy: HostileProxy,
    open_manager: Callable[..., ProxyManager],
    count: Counter[str],
    url: str,
    value: Any,
) -> None:
    """It is the program's mistake, told as such; nothing of it is sent."""
    proxy.play = refusing(lambda number: CHALLENGE % number)
    with pytest.raises((TypeError, ValueError)):
        open_manager(Asking(value)).request("GET", url)
    assert len(proxy.asked) == 1
    count["bad answer"] += 1


def test_a_program_that_fails_when_it_is_asked(
    proxy: HostileProxy, open_manager: Callable[..., ProxyManager], count: Counter[str]
) -> None:
    def ask(challenge: Any) -> str:
        raise KeyError("no password")

    proxy.play = refusing(lambda number: CHALLENGE % number)
    for url in (HTTP, HTTPS):
        with pytest.raises(KeyError, match="no password"):
            open_manager(ask).request("GET", url)
        count["bad answer"] += 1


def test_what_follows_an_answered_challenge_may_end_at_every_byte(
    proxy: HostileProxy, open_manager: Callable[..., ProxyManager], count: Counter[str]
) -> None:
    """The second try is as suspicious as the first."""
    manager = open_manager(Asking())
    for at in range(len(OPEN)):

        def play(end: End, at: int = at) -> None:
            if b"Authorization" in proxy.asked[-1]:
                end.sendall(OPEN[:at])
            else:
                end.sendall(REFUSED + CHALLENGE % at + b"Content-Length: 0\r\n\r\n")

        proxy.play = play
        error = error_of(manager)
        assert error.status is None
        count["cut second answer"] += 1
    proxy.play = None
    assert manager.request("GET", HTTPS).data == b"/x"


@pytest.mark.parametrize("page", ["endless", "stalled", "cut", "chunks"])
def test_the_page_of_a_challenge_does_not_delay_the_answer(
    proxy: HostileProxy,
    open_manager: Callable[..., ProxyManager],
    count: Counter[str],
    page: str,
) -> None:
    """It is not read to its end where there is none."""
    head = REFUSED + CHALLENGE % 1
    plays: dict[str, Play] = {
        "endless": Flood(head + b"\r\n", b"x"),
        "stalled": silent_after(head + b"Content-Length: 9\r\n\r\nab"),
        "cut": whole(head + b"Content-Length: 9\r\n\r\nab"),
        "chunks": whole(head + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n"),
    }

    def play(end: End) -> None:
        if b"Authorization" in proxy.asked[-1]:
            end.sendall(OPEN)
            proxy.be_the_target(end)
        else:
            plays[page](end)

    proxy.play = play
    assert open_manager(Asking()).request("GET", HTTPS).data == b"/x"
    assert len(proxy.asked) == 2
    count["page of a challenge"] += 1


def test_no_secret_gets_out(
    proxy: HostileProxy,
    open_manager: Callable[..., ProxyManager],
    count: Counter[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not into errors, not into the log, and not into a tunnel."""
    inside: list[bytes] = []
    with caplog.at_level(logging.DEBUG):
        for data in (b"", b"HTTP/1.1 407 No\r\n\r\n", b"garbage", OPEN, b"HTTP/1.1 502 No\r\n\r\n"):

            def play(end: End, data: bytes = data) -> None:
                if b"Authorization" in proxy.asked[-1]:
                    end.sendall(data)
                    if data == OPEN:
                        inside.append(end.recv(65536))
                else:
                    end.sendall(REFUSED + CHALLENGE % 1 + b"Content-Length: 0\r\n\r\n")

            proxy.play = play
            with pytest.raises(HTTPError) as caught:
                open_manager(Asking()).request("GET", HTTPS)
            chain: BaseException | None = caught.value
            while chain is not None:
                assert SECRET.split()[1] not in repr(chain)
                chain = chain.__cause__ or chain.__context__
            count["secrets"] += 1
    assert SECRET.split()[1] not in caplog.text
    assert inside[0][:1] == b"\x16"
