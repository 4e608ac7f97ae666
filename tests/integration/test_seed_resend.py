"""A request on a kept connection that the server had closed is sent once more (S3-11 to S3-18)."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from dummyserver.certs import Certificates
from dummyserver.counting import CountingServer
from dummyserver.script import Conversation, ScriptedServer
from urllib4 import CancelToken, HTTPConnectionPool, HTTPSConnectionPool, PoolManager, Retry
from urllib4.exceptions import (
    DeadlineExceededError,
    HTTPError,
    MaxRetryError,
    ProtocolError,
    ReadTimeoutError,
    RequestCancelledError,
)
from urllib4.util import Timeout

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"


@pytest.fixture
def pool(script: ScriptedServer) -> Iterator[HTTPConnectionPool]:
    with HTTPConnectionPool("127.0.0.1", script.port, retries=False, timeout=10) as running:
        yield running


def kept(script: ScriptedServer, pool: Any) -> Conversation:
    """Have a connection that carried a request; its server is about to read another."""
    conversation = script.accept().expect(b"GET /first ").send(OK)
    pool.request("GET", "/first")
    return conversation


def copies(script: ScriptedServer, target: bytes) -> int:
    return sum(request.split(b" ", 2)[1] == target for request in script.requests)


# -- when it is ------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("GET", None),
        ("HEAD", None),
        ("OPTIONS", None),
        ("DELETE", None),
        ("TRACE", None),
        ("PUT", b"data"),
        ("PUT", "text"),
        ("PUT", [b"a", b"b"]),
        ("PUT", io.BytesIO(b"file")),
        ("DELETE", b"x" * 300_000),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
)
def test_an_idempotent_request_is_sent_again(
    script: ScriptedServer, pool: HTTPConnectionPool, method: str, body: Any, end: str
) -> None:
    """S3-11, S3-18: once more on a new connection, and no Retry knows of it."""
    getattr(kept(script, pool).expect(f"{method} /second ".encode()), end)()
    script.accept().expect(f"{method} /second ".encode()).send(EMPTY)

    response = pool.request(method, "/second", body=body)

    assert response.status == 204
    assert copies(script, b"/second") == 2
    first, second = script.requests[-2:]
    assert first == second
    assert pool.num_connections == 1  # the object is the same, with another socket


def test_retries_know_nothing_of_it(script: ScriptedServer, pool: HTTPConnectionPool) -> None:
    """S3-18."""
    kept(script, pool).expect(b"GET /second ").close()
    script.accept().expect(b"GET /second ").send(OK)
    policy = Retry(3, backoff_factor=100)

    response = pool.request("GET", "/second", retries=policy)

    assert response.retries is not None
    assert (response.retries.total, response.retries.history) == (3, ())


def test_an_answer_read_later_is_no_different(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    kept(script, pool).expect(b"GET /second ").close()
    script.accept().expect(b"GET /second ").send(OK)
    response = pool.request("GET", "/second", preload_content=False)
    assert response.read() == b"ok"


def test_it_works_over_tls(tls_script: ScriptedServer, ca_file: str) -> None:
    with HTTPSConnectionPool(
        "127.0.0.1", tls_script.port, retries=False, ca_certs=ca_file, timeout=10
    ) as pool:
        kept(tls_script, pool).expect(b"GET /second ").close(notify=False)
        tls_script.accept().expect(b"GET /second ").send(OK)
        assert pool.request("GET", "/second").status == 200


def test_it_works_by_a_manager_and_after_a_redirect(script: ScriptedServer) -> None:
    with PoolManager(timeout=10) as manager:
        pool = manager.connection_from_url(script.url)
        kept(script, pool).expect(b"GET /old ").send(
            b"HTTP/1.1 302 Found\r\nLocation: /new\r\nContent-Length: 0\r\n\r\n"
        ).expect(b"GET /new ").close()
        script.accept().expect(b"GET /new ").send(OK)
        response = manager.request("GET", f"{script.url}/old", retries=Retry(1, read=0))
        assert response.data == b"ok"


@pytest.mark.parametrize(
    "options",
    [
        {"idempotent": True},
        {"headers": {"Idempotency-Key": "8e03978e"}},
        {"headers": {b"idempotency-key": "8e03978e"}},
    ],
    ids=["idempotent", "key", "key as bytes"],
)
@pytest.mark.parametrize("method", ["POST", "PATCH", "BREW"])
def test_what_is_said_to_be_idempotent_is(
    script: ScriptedServer, pool: HTTPConnectionPool, method: str, options: dict[str, Any]
) -> None:
    kept(script, pool).expect(f"{method} /second ".encode()).close()
    script.accept().expect(f"{method} /second ".encode()).send(OK)
    assert pool.urlopen(method, "/second", body=b"x", **options).status == 200


# -- when it is not --------------------------------------------------------------------------


def fails(pool: Any, method: str = "GET", **options: Any) -> HTTPError:
    with pytest.raises(HTTPError) as caught:
        pool.urlopen(method, "/second", **options)
    return caught.value


def test_once_and_no_more(script: ScriptedServer, pool: HTTPConnectionPool) -> None:
    """S3-12: a server that always closes gets two copies."""
    kept(script, pool).expect(b"GET /second ").close()
    script.accept().expect(b"GET /second ").close()
    assert isinstance(fails(pool), ProtocolError)
    assert copies(script, b"/second") == 2


def test_what_goes_wrong_then_is_told_by_itself(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    """That a kept connection was closed is nobody's fault, and no part of a later error."""
    kept(script, pool).expect(b"GET /again ").close()
    script.accept().expect(b"GET /again ").send(b"HTTP/1.1 abc\r\n\r\n")
    with pytest.raises(ProtocolError) as failure:
        pool.request("GET", "/again")
    chain, error = [], failure.value.__context__
    while error is not None:
        chain.append(error)
        error = error.__context__
    assert not any(isinstance(one, OSError) for one in chain), chain


def test_further_attempts_are_those_of_the_policy(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    """S3-12: two copies, and one more for each retry."""
    kept(script, pool).expect(b"GET /second ").close()
    for _ in range(3):
        script.accept().expect(b"GET /second ").close()
    assert isinstance(fails(pool, retries=2), MaxRetryError)
    assert copies(script, b"/second") == 4


def test_not_on_a_fresh_connection(script: ScriptedServer, pool: HTTPConnectionPool) -> None:
    """S3-13."""
    script.accept().expect(b"GET /second ").close()
    assert isinstance(fails(pool), ProtocolError)
    assert copies(script, b"/second") == 1


@pytest.mark.parametrize("method", ["POST", "PATCH", "BREW", "get"])
def test_not_for_other_methods(
    script: ScriptedServer, pool: HTTPConnectionPool, method: str
) -> None:
    """S3-14."""
    kept(script, pool).expect(f"{method} /second ".encode()).close()
    assert isinstance(fails(pool, method), ProtocolError)
    assert copies(script, b"/second") == 1


def test_not_if_the_caller_says_that_it_must_not_be(
    script: ScriptedServer, pool: HTTPConnectionPool
) -> None:
    kept(script, pool).expect(b"GET /second ").close()
    fails(pool, idempotent=False, headers={"Idempotency-Key": "x"})
    assert copies(script, b"/second") == 1


@pytest.mark.parametrize(
    "received",
    [b"H", b"HTTP/1.1 20", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\nHT"],
    ids=["a byte", "half a line", "interim", "interim and more"],
)
@pytest.mark.parametrize("end", ["close", "reset"])
def test_not_after_a_byte_of_the_answer(
    script: ScriptedServer, pool: HTTPConnectionPool, received: bytes, end: str
) -> None:
    """S3-15: the server has seen the request."""
    conversation = kept(script, pool).expect(b"GET /second ").send(received)
    if end == "reset":  # a reset may overtake and destroy what was sent before
        arrived = threading.Event()
        conversation.pause_until(arrived)
        threading.Timer(0.1, arrived.set).start()
    getattr(conversation, end)()
    assert isinstance(fails(pool), ProtocolError)
    assert copies(script, b"/second") == 1


def test_not_after_half_a_body(script: ScriptedServer, pool: HTTPConnectionPool) -> None:
    """S3-15."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"
    kept(script, pool).expect(b"GET /second ").send(answer).close()
    fails(pool)
    assert copies(script, b"/second") == 1


class Unseekable(io.BytesIO):
    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        raise OSError("no position")

    def seek(self, *args: Any) -> int:
        raise OSError("no position")


@pytest.mark.parametrize(
    "make",
    [lambda: iter([b"a", b"b"]), lambda: (piece for piece in (b"a",)), lambda: Unseekable(b"ab")],
    ids=["iterator", "generator", "stream"],
)
def test_not_if_the_body_is_used_up(
    script: ScriptedServer, pool: HTTPConnectionPool, make: Any
) -> None:
    """S3-16: the error is that of the connection, since nobody asked for another attempt."""
    kept(script, pool).expect(b"PUT /second ").close()
    assert isinstance(fails(pool, "PUT", body=make()), ProtocolError)
    assert copies(script, b"/second") == 1


def test_not_if_the_user_cancelled(script: ScriptedServer, pool: HTTPConnectionPool) -> None:
    """S3-16."""
    token = CancelToken()
    kept(script, pool).expect(b"GET /second ").run(lambda _: token.cancel())
    assert isinstance(fails(pool, cancel=token), RequestCancelledError)
    assert copies(script, b"/second") == 1


def test_not_because_nothing_came(script: ScriptedServer, pool: HTTPConnectionPool) -> None:
    """Silence is no sign of a closed connection: the server may be at work."""
    kept(script, pool).expect(b"GET /second ")
    assert isinstance(fails(pool, timeout=0.1), ReadTimeoutError)
    assert copies(script, b"/second") == 1


def test_not_beyond_the_deadline(script: ScriptedServer, pool: HTTPConnectionPool) -> None:
    over = threading.Event()
    kept(script, pool).expect(b"GET /second ").pause_until(over).close()
    error = fails(pool, timeout=Timeout(deadline=0.1))
    over.set()
    assert isinstance(error, DeadlineExceededError)
    assert copies(script, b"/second") == 1


@pytest.mark.parametrize("name", ["retry_stale", "retry_automatically"])
def test_it_can_be_switched_off(script: ScriptedServer, name: str) -> None:
    """S3-17."""
    with HTTPConnectionPool("127.0.0.1", script.port, retries=False, **{name: False}) as pool:
        kept(script, pool).expect(b"GET /second ").close()
        assert isinstance(fails(pool), ProtocolError)
    assert copies(script, b"/second") == 1


@pytest.mark.parametrize("value", ["yes", 1, 0], ids=repr)
def test_a_word_that_is_none_is_refused(value: Any) -> None:
    with HTTPConnectionPool("127.0.0.1", 9) as pool:
        with pytest.raises(ValueError, match=f"idempotent .*{value!r}"):
            pool.request("POST", "/", idempotent=value)
        assert pool.num_requests == 0


def test_the_slot_is_kept_while_it_is_sent_again(script: ScriptedServer) -> None:
    """A blocking pool of one connection: nobody else gets in between."""
    with HTTPConnectionPool(
        "127.0.0.1", script.port, block=True, retries=False, timeout=10
    ) as pool:
        kept(script, pool).expect(b"GET /second ").close()
        script.accept().expect(b"GET /second ").send(OK)
        assert pool.request("GET", "/second", pool_timeout=0.01).status == 200
        assert pool.pool.qsize() == 1


def test_a_tracer_that_passes_each_attempt_through_urlopen_sees_one(
    script: ScriptedServer,
) -> None:
    seen = []

    class Traced(HTTPConnectionPool):
        def urlopen(self, method: str, url: str, *args: Any, **kw: Any) -> Any:
            seen.append(kw.get("idempotent"))
            return super().urlopen(method, url, *args, **kw)

    with Traced("127.0.0.1", script.port, retries=Retry(1), timeout=10) as pool:
        kept(script, pool).expect(b"POST /second ").close()
        script.accept().expect(b"POST /second ").send(OK)
        assert pool.request("POST", "/second", idempotent=True).status == 200
    assert seen == [None, True]


def test_a_burst_of_closed_connections_costs_no_error(certs: Certificates) -> None:
    """All connections of a pool closed by a server that restarts."""
    with (
        CountingServer() as server,
        HTTPConnectionPool("127.0.0.1", server.port, maxsize=4, retries=False, timeout=10) as pool,
    ):
        responses = [pool.request("GET", "/", preload_content=False) for _ in range(4)]
        for response in responses:
            response.read()
        for end in list(server._ends.values()):
            end.shutdown(socket.SHUT_RDWR)
        assert [pool.request("GET", "/").status for _ in range(8)] == [200] * 8
