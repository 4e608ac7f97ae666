"""What a SOCKS proxy may reply, for all four schemes, to plain targets and to those behind TLS.

All of it is a NewConnectionError that says in words what is wrong, names the proxy, and shows no
password; nothing waits longer than the connect timeout or the deadline.  After each family the
same manager gets its answer through the same proxy, which then does its job.
"""

from __future__ import annotations

import random
import re
import socket
import ssl
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from dummyserver.certs import Certificates
from dummyserver.threaded import End, ThreadedServer
from tests.hostile.counting import counted
from tests.hostile.proxies import (
    Play,
    answer_all,
    answer_behind_tls,
    bytewise,
    reset_after,
    silent_after,
    whole,
)
from urllib4 import Retry, Timeout
from urllib4.contrib.socks import SOCKSProxyManager
from urllib4.exceptions import (
    ConnectTimeoutError,
    DeadlineExceededError,
    HTTPError,
    MaxRetryError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    SSLError,
)

#: Seconds of the waits that must end by them.
SHORT = 0.2

GRANTED_4 = b"\0\x5a\0\0\0\0\0\0"
GRANTED_5 = b"\5\0\0\1\0\0\0\0\0\0"
NAMED_5 = b"\5\0\0\3\x09localhost\0\0"
IPV6_5 = b"\5\0\0\4" + b"\0" * 18


class Talk(NamedTuple):
    """One conversation: the scheme, whether with a password, and requests' sizes and replies."""

    scheme: str
    password: bool
    turns: tuple[tuple[int, bytes], ...]

    @property
    def host(self) -> str:
        """A name where the proxy resolves names."""
        return "target.test" if self.scheme in ("socks4a", "socks5h") else "127.0.0.1"


_NAME = len("target.test")
TALKS = {
    "socks4": Talk("socks4", False, ((9, GRANTED_4),)),
    "socks4 with a user": Talk("socks4", True, ((9 + 4, GRANTED_4),)),
    "socks4a": Talk("socks4a", False, ((9 + _NAME + 1, GRANTED_4),)),
    "socks5": Talk("socks5", False, ((3, b"\5\0"), (10, GRANTED_5))),
    "socks5 bound to a name": Talk("socks5", False, ((3, b"\5\0"), (10, NAMED_5))),
    "socks5 bound to IPv6": Talk("socks5", False, ((3, b"\5\0"), (10, IPV6_5))),
    "socks5 with a password": Talk(
        "socks5", True, ((4, b"\5\2"), (2 + 4 + 1 + 6, b"\1\0"), (10, GRANTED_5))
    ),
    "socks5h": Talk("socks5h", False, ((3, b"\5\0"), (7 + _NAME, GRANTED_5))),
    "socks5h with a password": Talk(
        "socks5h", True, ((4, b"\5\2"), (2 + 4 + 1 + 6, b"\1\0"), (7 + _NAME, GRANTED_5))
    ),
}


class SocksPeer(ThreadedServer):
    """Plays a conversation, and is the target afterwards.

    :ivar talk: the conversation of the next connections.
    :ivar wrong: a turn, and what happens in it instead.
    :ivar send: how replies are sent.
    """

    def __init__(self, target: ssl.SSLContext) -> None:
        super().__init__()
        self._target = target
        self.talk = TALKS["socks4"]
        self.wrong: tuple[int, Play] | None = None
        self.send: Callable[[bytes], Play] = whole

    def serve(self, number: int, end: End) -> None:
        """Reply turn by turn."""
        for turn, (size, reply) in enumerate(self.talk.turns):
            request = b""
            while len(request) < size:
                piece = end.recv(size - len(request))
                if not piece:
                    return
                request += piece
            if self.wrong is not None and self.wrong[0] == turn:
                self.wrong[1](end)
                return
            self.send(reply)(end)
        assert isinstance(end, socket.socket)
        if end.recv(1, socket.MSG_PEEK) == b"\x16":
            answer_behind_tls(end, self._target)
        else:
            answer_all(end)


@pytest.fixture
def peer(certs: Certificates) -> Iterator[SocksPeer]:
    names = certs.issue("socks-target", "target.test", "127.0.0.1")
    with SocksPeer(certs.server_context(names)) as running:
        yield running


@pytest.fixture(scope="module")
def count(request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    with counted(request, "replies of SOCKS proxies") as counts:
        yield counts


@pytest.fixture(params=["http", "https"])
def scheme(request: pytest.FixtureRequest) -> str:
    scheme: str = request.param
    return scheme


class Client:
    """A manager for one kind of conversation, and what may be asked through it."""

    def __init__(self, peer: SocksPeer, talk: Talk, scheme: str, ca_file: str) -> None:
        password = talk.scheme.startswith("socks5")
        userinfo = ("user:secret@" if password else "user@") if talk.password else ""
        self._peer = peer
        self._talk = talk
        self.url = f"{scheme}://{talk.host}:44300/"
        self.manager = SOCKSProxyManager(
            f"{talk.scheme}://{userinfo}127.0.0.1:{peer.port}",
            ca_certs=ca_file,
            timeout=10,
            retries=Retry(0),
        )

    def __enter__(self) -> Client:
        self._peer.talk = self._talk
        self._peer.wrong = None
        return self

    def __exit__(self, *_: object) -> None:
        self.manager.clear()

    def fails(self, turn: int, play: Play, **options: Any) -> NewConnectionError:
        """Return the error of a request for which the proxy does something else in `turn`."""
        self._peer.wrong = turn, play
        with pytest.raises(MaxRetryError) as caught:
            self.manager.request("GET", self.url, **options)
        error = caught.value.reason
        assert isinstance(error, NewConnectionError), repr(error)
        assert not isinstance(error, ProxyError)
        text = f"Failed to establish a new connection: SOCKS proxy 127.0.0.1:{self._peer.port}: "
        _, found, reason = str(error).partition(text)
        assert found
        assert re.search("[A-Za-z]{4}", reason), reason
        assert "secret" not in repr(caught.value)
        return error

    def works(self) -> None:
        """See that nothing of the cases before is left."""
        self._peer.wrong = None
        for number in range(2):
            assert self.manager.request("GET", f"{self.url}{number}").data == b"/%d" % number
        self.manager.clear()


@pytest.mark.parametrize("name", TALKS)
def test_replies_that_end_at_every_byte(
    peer: SocksPeer, ca_file: str, count: Counter[str], scheme: str, name: str
) -> None:
    talk = TALKS[name]
    with Client(peer, talk, scheme, ca_file) as client:
        for turn, (_, reply) in enumerate(talk.turns):
            for at in range(len(reply)):
                assert "closed unexpectedly" in str(client.fails(turn, whole(reply[:at])))
                client.fails(turn, reset_after(reply[:at]))
                count["cut"] += 2
        client.works()


@pytest.mark.parametrize("name", TALKS)
def test_replies_that_come_byte_by_byte(
    peer: SocksPeer, ca_file: str, count: Counter[str], scheme: str, name: str
) -> None:
    with Client(peer, TALKS[name], scheme, ca_file) as client:
        peer.send = bytewise
        client.works()
        count["byte by byte"] += 1


def refusal(version: int, code: int) -> bytes:
    """Return the reply that refuses with `code`, complete."""
    if version == 4:
        return struct.pack("!BBHI", 0, code, 0, 0)
    return struct.pack("!BBBBIH", 5, code, 0, 1, 0, 0)


@pytest.mark.parametrize("name", ["socks4", "socks4a", "socks5", "socks5h"])
def test_every_code(peer: SocksPeer, ca_file: str, count: Counter[str], name: str) -> None:
    """All 256: one grants, some have a name, and the others are told as a number."""
    version, granted = (4, 0x5A) if "4" in name else (5, 0)
    turn = len(TALKS[name].turns) - 1
    reasons = set()
    with Client(peer, TALKS[name], "http", ca_file) as client:
        for code in range(256):
            if code != granted:
                error = client.fails(turn, whole(refusal(version, code)))
                reasons.add(str(error).rpartition(f":{peer.port}: ")[2])
                count["refused"] += 1
        client.works()
    assert len(reasons) == 255


def mutations(talk: Talk) -> Iterator[tuple[int, bytes]]:
    """Each reply with one byte changed: first bytes to everything, the others to some values."""
    for turn, (_, reply) in enumerate(talk.turns):
        # Bytes 4 to the end of a grant are the address that the proxy used: any will do.
        last = turn == len(talk.turns) - 1
        fixed = 2 if talk.scheme.startswith("socks4") else 4 if last else 2
        for at in range(min(fixed, len(reply))):
            for value in range(256) if at == 0 else (1, 7, 0x7F, 0xFF):
                if value != reply[at]:
                    yield turn, reply[:at] + bytes([value]) + reply[at + 1 :]


@pytest.mark.parametrize("name", ["socks4", "socks5", "socks5h with a password"])
def test_malformed_replies(peer: SocksPeer, ca_file: str, count: Counter[str], name: str) -> None:
    """The version, the method, the status, the reserved byte and the type of the address."""
    with Client(peer, TALKS[name], "http", ca_file) as client:
        for turn, reply in mutations(TALKS[name]):
            if reply[3:4] in (b"\3", b"\4") or (turn == 0 and reply[1:2] == b"\2"):
                continue  # another conversation, not a wrong one
            client.fails(turn, whole(reply))
            count["malformed"] += 1
        client.works()


NOT_SOCKS = [
    b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 Connection established\r\n\r\n",
    b"<html>no</html>", b"SSH-2.0-OpenSSH_9.2\r\n", b"220 smtp.example ESMTP\r\n",
    b"\x15\x03\x03\x00\x02\x02\x28", b"\x16\x03\x03\x00\x04\x0e\x00\x00\x00", b"\xff" * 600,
    b"\5\xff", b"\5\1", b"\5\3", b"\5\x80", b"\4\x5a\0\0\0\0\0\0",
]  # fmt: skip


@pytest.mark.parametrize("name", ["socks4", "socks4a", "socks5", "socks5h"])
def test_what_is_not_socks(peer: SocksPeer, ca_file: str, count: Counter[str], name: str) -> None:
    with Client(peer, TALKS[name], "http", ca_file) as client:
        for data in NOT_SOCKS:
            for make in (whole, silent_after):
                client.fails(0, make(data.ljust(8, b"-")))
                count["not SOCKS"] += 1
        client.works()


@pytest.mark.parametrize("name", TALKS)
def test_noise(peer: SocksPeer, ca_file: str, count: Counter[str], name: str) -> None:
    """Whatever comes, what leaves is documented; a grant by chance ends in HTTP that is none."""
    chance = random.Random(name)
    with Client(peer, TALKS[name], "http", ca_file) as client:
        for _ in range(40):
            peer.wrong = (
                chance.randrange(len(TALKS[name].turns)),
                whole(chance.randbytes(chance.randrange(30))),
            )
            with pytest.raises(MaxRetryError) as caught:
                client.manager.request("GET", client.url)
            assert isinstance(caught.value.reason, (NewConnectionError, ProtocolError))
            count["noise"] += 1
        client.works()


@pytest.mark.parametrize("name", TALKS)
def test_proxies_that_stall(peer: SocksPeer, ca_file: str, count: Counter[str], name: str) -> None:
    """At the start of the first and in the middle of the last reply."""
    talk = TALKS[name]
    last = len(talk.turns) - 1
    with Client(peer, talk, "http", ca_file) as client:
        for turn, data in ((0, b""), (last, talk.turns[last][1][:-1])):
            peer.wrong = turn, silent_after(data)
            if turn == 0:
                with pytest.raises(MaxRetryError) as caught:
                    client.manager.request("GET", client.url, timeout=Timeout(30, connect=SHORT))
                assert isinstance(caught.value.reason, ConnectTimeoutError)
            else:
                with pytest.raises(DeadlineExceededError, match="connecting"):
                    client.manager.request(
                        "GET", client.url, timeout=Timeout(30, deadline=SHORT), retries=9
                    )
            count["stalled"] += 1
        client.works()


@pytest.mark.parametrize("how", ["closed", "reset", "garbage"])
def test_connections_that_end_behind_the_grant_are_the_targets(
    peer: SocksPeer, ca_file: str, count: Counter[str], scheme: str, how: str
) -> None:
    ends: dict[str, Callable[[bytes], Play]] = {
        "closed": whole,
        "reset": reset_after,
        "garbage": lambda data: whole(data + b"\0garbage" * 10),
    }
    for name, talk in TALKS.items():
        if name not in ("socks4", "socks4a", "socks5", "socks5h"):
            continue
        with Client(peer, talk, scheme, ca_file) as client:
            turn = len(talk.turns) - 1
            peer.wrong = turn, ends[how](talk.turns[turn][1])
            with pytest.raises(HTTPError) as caught:
                client.manager.request("GET", client.url)
            error = caught.value.reason if isinstance(caught.value, MaxRetryError) else caught.value
            if how == "reset":  # the grant itself may be lost
                assert isinstance(error, (ProtocolError, SSLError, NewConnectionError))
            else:
                assert type(error) in (ProtocolError, SSLError), repr(error)
            count["behind the grant"] += 1
            client.works()


@pytest.mark.parametrize("bad", ["wrong_host", "expired", "no_san", "untrusted"])
@pytest.mark.parametrize("name", ["socks4", "socks4a", "socks5", "socks5h"])
def test_the_certificate_of_the_target_is_verified(
    certs: Certificates, count: Counter[str], ca_file: str, name: str, bad: str
) -> None:
    with (
        SocksPeer(certs.server_context(getattr(certs, bad))) as peer,
        Client(peer, TALKS[name], "https", ca_file) as client,
    ):
        with pytest.raises(MaxRetryError, match="CERTIFICATE_VERIFY_FAILED") as caught:
            client.manager.request("GET", client.url)
        assert type(caught.value.reason) is SSLError
        count["certificates"] += 1
