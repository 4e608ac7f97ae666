"""Resolvers by themselves: tables, memories, chains."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import Any

import pytest

from urllib4.resolvers import ChainResolver, StaticResolver, SystemResolver

ANY = socket.AF_UNSPEC
FOUND = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 443))]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the system was asked for."""
    calls: list[Any] = []

    def getaddrinfo(*args: Any) -> Any:
        calls.append(args)
        if args[0] == "unknown.example":
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [] if args[0] == "empty.example" else FOUND

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return calls


# -- the system ------------------------------------------------------------------------------------


def test_the_system_is_asked_each_time(asked: list[Any]) -> None:
    resolver = SystemResolver()
    assert resolver.resolve("a.example", 443, socket.AF_INET) == FOUND
    assert resolver.resolve("a.example", 443, socket.AF_INET) == FOUND
    assert resolver.resolve_nowait("a.example", 443, socket.AF_INET) is None
    assert asked == [("a.example", 443, socket.AF_INET, socket.SOCK_STREAM)] * 2


def test_answers_are_remembered_for_their_time(asked: list[Any]) -> None:
    now = [100.0]
    resolver = SystemResolver(ttl=30, clock=lambda: now[0])
    assert resolver.resolve_nowait("a.example", 443, ANY) is None
    for name in ("a.example", "A.example"):
        resolver.resolve(name, 443, ANY)
    assert resolver.resolve_nowait("a.example", 443, ANY) == FOUND
    assert len(asked) == 1
    resolver.resolve("a.example", 443, socket.AF_INET6)
    resolver.resolve("a.example", 80, ANY)
    assert len(asked) == 3
    now[0] += 30
    assert resolver.resolve_nowait("a.example", 443, ANY) is None
    resolver.resolve("a.example", 443, ANY)
    assert len(asked) == 4
    resolver.clear()
    assert resolver.resolve_nowait("a.example", 443, ANY) is None


@pytest.mark.parametrize("host", ["unknown.example", "empty.example"])
def test_failures_are_not_remembered(asked: list[Any], host: str) -> None:
    resolver = SystemResolver(ttl=30)
    for _ in range(2):
        try:
            assert resolver.resolve(host, 443, ANY) == []
        except socket.gaierror:
            assert host == "unknown.example"
    assert len(asked) == 2


def test_a_remembered_answer_cannot_be_spoilt(asked: list[Any]) -> None:
    resolver = SystemResolver(ttl=30)
    resolver.resolve("a.example", 443, ANY).clear()
    resolver.resolve("a.example", 443, ANY).clear()
    assert resolver.resolve("a.example", 443, ANY) == FOUND
    assert len(asked) == 1


def test_the_memory_is_bounded(asked: list[Any]) -> None:
    resolver = SystemResolver(ttl=30)
    for number in range(1500):
        resolver.resolve(f"h{number}.example", 443, ANY)
    assert len(resolver._answers) == 1024
    assert resolver.resolve_nowait("h0.example", 443, ANY) is None
    assert resolver.resolve_nowait("h1499.example", 443, ANY) == FOUND


def test_the_memory_is_empty_after_a_fork(asked: list[Any]) -> None:
    resolver = SystemResolver(ttl=30)
    resolver.resolve("a.example", 443, ANY)
    with ThreadPoolExecutor(1) as another:
        another.submit(resolver._lock.acquire).result()  # by a thread that the child does not have
        resolver._after_fork_in_child()
        assert resolver._lock.acquire(timeout=10)
        resolver._lock.release()
    assert resolver.resolve_nowait("a.example", 443, ANY) is None


def test_a_signal_handler_may_ask_in_the_middle_of_a_look(asked: list[Any]) -> None:
    """It runs in the thread that it interrupted, which may have the memory's lock."""
    found: list[Any] = []

    def clock() -> float:
        if len(found) == 1:
            found.append(None)
            done = resolver._lock.acquire(timeout=0.1)  # rather than to wait for ever
            if done:
                resolver._lock.release()
                found[1] = resolver.resolve_nowait("a.example", 443, ANY)
        return 0.0

    resolver = SystemResolver(ttl=30, clock=clock)
    found.append(resolver.resolve("a.example", 443, ANY))
    assert resolver.resolve("a.example", 443, ANY) == FOUND
    assert found == [FOUND, FOUND]


def test_many_threads_share_a_memory(asked: list[Any]) -> None:
    now = [0.0]
    resolver = SystemResolver(ttl=0.5, clock=lambda: now[0])
    wrong: list[Any] = []

    def work() -> None:
        for number in range(500):
            now[0] += 0.001
            if resolver.resolve(f"h{number % 7}.example", 443, ANY) != FOUND:
                wrong.append(number)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("ttl", [0, -1, "5", True, float("nan")])
def test_a_ttl_is_a_number_of_seconds(ttl: Any) -> None:
    with pytest.raises(ValueError, match=r"^ttl is a number of seconds above 0, or None, not "):
        SystemResolver(ttl)


# -- a table ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "host", "expected"),
    [
        ({"a.example": "192.0.2.1"}, "a.example", ["192.0.2.1"]),
        ({"A.example.": "192.0.2.1"}, "a.EXAMPLE.", ["192.0.2.1"]),
        ({"a.example": ["192.0.2.1", "::1"]}, "a.example", ["192.0.2.1", "::1"]),
        ({"a.example": ("192.0.2.1", "[::1]")}, "a.example", ["192.0.2.1", "::1"]),
        ({"a.example": ip_address("::1")}, "a.example", ["::1"]),
        ({"a.example": "192.0.2.1", "a.example:443": "192.0.2.2"}, "a.example", ["192.0.2.2"]),
        ({"a.example:80": "192.0.2.1", "*": "192.0.2.2"}, "a.example", ["192.0.2.2"]),
        ({"*:443": "192.0.2.1", "*": "192.0.2.2"}, "a.example", ["192.0.2.1"]),
        ({"*:443": "192.0.2.1", "a.example": "192.0.2.2"}, "a.example", ["192.0.2.2"]),
        (["a.example:443:192.0.2.1"], "a.example", ["192.0.2.1"]),
        (["a.example:443:[::1],192.0.2.1"], "a.example", ["::1", "192.0.2.1"]),
        (["a.example:443:::1"], "a.example", ["::1"]),
        ({"é.example": "192.0.2.1"}, "xn--9ca.example", ["192.0.2.1"]),
    ],
    ids=str,
)
def test_the_most_telling_entry_counts(table: Any, host: str, expected: list[str]) -> None:
    resolver = StaticResolver(table)
    found = resolver.resolve(host, 443, ANY)
    assert list(found) == [ip_address(one) for one in expected]
    assert resolver.resolve_nowait(host, 443, ANY) == found


def test_an_entry_may_lead_to_another_port() -> None:
    resolver = StaticResolver({"a.example": ("127.0.0.1", 8080), "b": [("127.0.0.1", 1), "::1"]})
    assert list(resolver.resolve("a.example", 443, ANY)) == [(ip_address("127.0.0.1"), 8080)]
    assert list(resolver.resolve("b", 443, ANY)) == [
        (ip_address("127.0.0.1"), 1), ip_address("::1")
    ]  # fmt: skip


def test_a_host_without_an_entry_is_unknown() -> None:
    with pytest.raises(socket.gaierror, match=r"b\.example:443 is not in the table"):
        StaticResolver({"a.example": "192.0.2.1"}).resolve("b.example", 443, ANY)


@pytest.mark.parametrize(
    ("table", "error", "text"),
    [
        ("a.example:443:192.0.2.1", TypeError, "a mapping or a list of texts"),
        ([("a.example", "192.0.2.1")], TypeError, "an entry of the table is a str"),
        (["a.example:192.0.2.1"], ValueError, "'host:port:address"),
        (["a.example:443:"], ValueError, "'host:port:address"),
        ({7: "192.0.2.1"}, TypeError, "a host of the table is a str, not 7"),
        ({"": "192.0.2.1"}, ValueError, "a host of the table is 'host' or 'host:port', not ''"),
        ({"a:b": "192.0.2.1"}, ValueError, "not 'a:b'"),
        ({"a:65536": "192.0.2.1"}, ValueError, "not 'a:65536'"),
        ({"a": "b.example"}, ValueError, "no address for 'a' in the table: 'b.example'"),
        ({"a": "0x7f.1"}, ValueError, "no address for 'a' in the table: '0x7f.1'"),
        ({"a": []}, ValueError, "no address for 'a' in the table"),
        ({"a": None}, ValueError, "no address for 'a' in the table: None"),
    ],
    ids=str,
)
def test_a_malformed_table_is_refused_at_once(table: Any, error: Any, text: str) -> None:
    with pytest.raises(error) as caught:
        StaticResolver(table)
    assert text in str(caught.value)


# -- a chain ---------------------------------------------------------------------------------------


class Fixed:
    """Answers always the same, without saying whether it waits."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def resolve(self, host: str, port: int, family: int) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


TABLE = StaticResolver({"a.example": "192.0.2.1"})


def test_the_first_that_knows_answers() -> None:
    chain = ChainResolver(TABLE, Fixed([]), Fixed(iter(["192.0.2.2"])), Fixed(["192.0.2.3"]))
    assert list(chain.resolve("a.example", 443, ANY)) == [ip_address("192.0.2.1")]
    assert list(chain.resolve("b.example", 443, ANY)) == ["192.0.2.2"]


def test_nobody_knows() -> None:
    with pytest.raises(socket.gaierror, match="not in the table"):
        ChainResolver(TABLE, Fixed([])).resolve("b.example", 443, ANY)
    with pytest.raises(socket.gaierror, match=r"nobody knows b\.example"):
        ChainResolver(Fixed([])).resolve("b.example", 443, ANY)


def test_other_errors_end_the_chain() -> None:
    with pytest.raises(TimeoutError):
        ChainResolver(Fixed(TimeoutError()), TABLE).resolve("a.example", 443, ANY)


def test_a_chain_waits_only_where_it_must() -> None:
    chain = ChainResolver(TABLE, Fixed(["192.0.2.2"]))
    assert chain.resolve_nowait("a.example", 443, ANY) == [ip_address("192.0.2.1")]
    assert chain.resolve_nowait("b.example", 443, ANY) is None
    assert ChainResolver(SystemResolver(), TABLE).resolve_nowait("a.example", 443, ANY) is None


@pytest.mark.parametrize("resolvers", [(), (TABLE, "192.0.2.1")], ids=["none", "text"])
def test_a_chain_is_made_of_resolvers(resolvers: Any) -> None:
    with pytest.raises(TypeError, match="resolver"):
        ChainResolver(*resolvers)


def test_they_say_what_they_are() -> None:
    assert repr(ChainResolver(TABLE, SystemResolver(ttl=5))) == (
        "ChainResolver(StaticResolver(1 entries), SystemResolver(ttl=5))"
    )
