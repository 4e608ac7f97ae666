"""Redirects: what follows them, what is left behind, and what is never downloaded."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dummyserver.counting import CountingServer, Exchange, ok
from dummyserver.script import ScriptedServer, scripted_server
from dummyserver.server import DummyServer
from urllib4 import HTTPConnectionPool, PoolManager, Retry
from urllib4.exceptions import (
    HostChangedError,
    LocationParseError,
    LocationValueError,
    MaxRetryError,
    UnrewindableBodyError,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def moved(location: str, status: int = 302, *fields: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Moved", f"Location: {location}", "Content-Length: 5", *fields]
    return ("\r\n".join([*lines, "", ""]) + "moved").encode("latin-1")


@pytest.fixture
def other() -> Iterator[ScriptedServer]:
    """A second origin: the same address, another port."""
    with scripted_server() as server:
        yield server


@pytest.fixture
def manager() -> Iterator[PoolManager]:
    with PoolManager(timeout=10) as one:
        yield one


Request = Callable[..., Any]


@pytest.fixture(params=["pool", "manager"])
def request_(request: pytest.FixtureRequest, script: ScriptedServer) -> Iterator[Request]:
    """Send to `script` through a pool and through a manager; the URL is a path."""
    if request.param == "pool":
        with HTTPConnectionPool(script.host, script.port, timeout=10) as pool:
            yield pool.request
    else:
        with PoolManager(timeout=10) as one:
            yield lambda method, path, **kw: one.request(method, script.url + path, **kw)


def lines(request: bytes) -> list[bytes]:
    """The header lines of a request, lower-cased names, without the automatic ones."""
    found = [line.partition(b":") for line in request.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]]
    return [
        name.lower() + b":" + value
        for name, _, value in found
        if name.lower() not in (b"host", b"accept-encoding", b"user-agent")
    ]


# -- methods and bodies -----------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE"])
def test_method_and_body_are_kept(
    script: ScriptedServer, request_: Request, status: int, method: str
) -> None:
    answer = moved("/b", status)
    if method == "HEAD":
        answer = answer.removesuffix(b"moved")
    script.accept().expect(f"{method} /a ".encode()).send(answer).expect(
        f"{method} /b ".encode()
    ).send(b"HTTP/1.1 204 No Content\r\n\r\n")
    body = None if method in ("GET", "HEAD") else b"body"
    assert request_(method, "/a", body=body).status == 204
    first, second = (r.partition(b" HTTP/1.1\r\n")[2] for r in script.requests)
    assert first == second


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_303_is_followed_by_get_without_the_body_and_what_describes_it(
    script: ScriptedServer, request_: Request, method: str
) -> None:
    """RFC 9110, 15.4.4."""
    script.accept().expect(f"{method} /a ".encode()).send(moved("/b", 303)).expect(b"GET /b ").send(
        OK
    )
    headers: Any = {
        "Content-Type": "a", "CONTENT-Encoding": "b", "Content-Language": "c",
        "Content-Location": "d", b"Digest": "e", "Last-Modified": "f", "X-Own": "g",
    }  # fmt: skip
    body = b"body" if method != "GET" else None
    assert request_(method, "/a", body=body, headers=headers).status == 200
    assert lines(script.requests[1]) == [b"x-own: g"]
    assert script.requests[1].endswith(b"\r\n\r\n")


def test_303_stays_head(script: ScriptedServer, request_: Request) -> None:
    """Who asks for a head only does not want a body (RFC 9110, 15.4.4)."""
    script.accept().expect(b"HEAD /a ").send(
        b"HTTP/1.1 303 See Other\r\nLocation: /b\r\n\r\n"
    ).expect(b"HEAD /b ").send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
    assert request_("HEAD", "/a").status == 200


def test_303_does_not_send_a_chunked_body(script: ScriptedServer, request_: Request) -> None:
    script.accept().expect(b"POST /a ").send(moved("/b", 303)).expect(b"GET /b ").send(OK)
    body = iter([b"a", b"b"])
    assert request_("POST", "/a", body=body, chunked=True).status == 200
    assert b"Transfer-Encoding" not in script.requests[1]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize(
    "make",
    [lambda: iter([b"a"]), lambda: (b"a" for _ in [1]), lambda: Hidden(b"a")],
    ids=["iterator", "generator", "read only"],
)
def test_a_body_that_was_used_up_is_an_error_not_an_empty_body(
    script: ScriptedServer, request_: Request, status: int, make: Any
) -> None:
    script.accept().expect(b"PUT /a ").send(moved("/b", status))
    with pytest.raises(UnrewindableBodyError):
        request_("PUT", "/a", body=make())


class Hidden:
    """A file that is nothing but read()."""

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)


class Untellable(io.BytesIO):
    """A file like a pipe: it has the methods, but they fail."""

    def tell(self) -> int:
        raise OSError("no position")

    def seek(self, *args: Any) -> int:
        raise OSError("no position")


def test_a_body_without_a_position_is_an_error_when_it_is_needed_again(
    script: ScriptedServer, request_: Request
) -> None:
    script.accept().expect(b"PUT /a ").send(moved("/b", 307))
    with pytest.raises(UnrewindableBodyError):
        request_("PUT", "/a", body=Untellable(b"piped"))


def test_a_body_without_a_position_can_be_sent_once(
    script: ScriptedServer, request_: Request
) -> None:
    script.accept().expect(re.compile(rb"\r\n5\r\npiped\r\n0\r\n\r\n$")).send(OK)
    assert request_("PUT", "/a", body=Untellable(b"piped")).status == 200


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_file_is_sent_again_from_where_it_stood(
    script: ScriptedServer, request_: Request, status: int
) -> None:
    file = io.BytesIO(b"--file")
    file.seek(2)
    whole = re.compile(rb"\r\n\r\n4\r\nfile\r\n0\r\n\r\n$")
    script.accept().expect(whole).send(moved("/b", status)).expect(whole).send(
        moved("/c", status)
    ).expect(whole).send(OK)
    assert request_("PUT", "/a", body=file).status == 200


def test_a_list_is_sent_again(script: ScriptedServer, request_: Request) -> None:
    whole = re.compile(rb"\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n$")
    script.accept().expect(whole).send(moved("/b", 307)).expect(whole).send(OK)
    assert request_("PUT", "/a", body=[b"a", "b"]).status == 200


# -- where to ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/x", "/x"),
        ("x", "/a/b/x"),
        ("../x", "/a/x"),
        ("./x/../y?z", "/a/b/y?z"),
        ("?q", "/a/b/c?q"),
        ("/x#fragment", "/x"),
        ("/x y", "/x%20y"),
        ("/\xfc", "/%C3%BC"),
        ("/%c3%bc", "/%C3%BC"),
    ],
)
def test_a_location_is_relative_to_the_url(
    script: ScriptedServer, request_: Request, location: str, target: str
) -> None:
    """RFC 9110, 10.2.2 and RFC 3986, 5."""
    script.accept().expect(b"GET /a/b/c?d ").send(moved(location)).expect(
        f"GET {target} ".encode()
    ).send(OK)
    assert request_("GET", "/a/b/c?d").status == 200


def test_a_location_without_a_scheme_names_a_host(
    script: ScriptedServer, other: ScriptedServer, manager: PoolManager
) -> None:
    script.accept().expect(b"GET /a ").send(moved(f"//{other.host}:{other.port}/b"))
    other.accept().expect(b"GET /b ").send(OK)
    assert manager.request("GET", script.url + "/a").status == 200


def test_a_pool_follows_an_absolute_url_of_its_own_host(
    script: ScriptedServer, request_: Request
) -> None:
    script.accept().expect(b"GET /a ").send(moved(script.url + "/b")).expect(b"GET ").send(OK)
    assert request_("GET", "/a").status == 200


@pytest.mark.parametrize("location", ["{other}/b", "//{authority}/b", "https://{self}/"])
def test_a_pool_does_not_leave_its_host(
    script: ScriptedServer, other: ScriptedServer, location: str
) -> None:
    target = location.format(
        other=other.url, authority=f"{other.host}:{other.port}", self=f"{script.host}:{script.port}"
    )
    script.accept().expect(b"GET /a ").send(moved(target))
    with HTTPConnectionPool(script.host, script.port) as pool:
        with pytest.raises(HostChangedError):
            pool.request("GET", "/a")
        assert pool.pool.qsize() == 1


@pytest.mark.parametrize("location", ["http://[", "http://[::1", "http://a:b/", "http://a:99999/"])
def test_a_location_that_is_no_url_is_an_error_of_ours(
    script: ScriptedServer, request_: Request, location: str
) -> None:
    script.accept().expect(b"GET /a ").send(moved(location))
    with pytest.raises(LocationParseError):
        request_("GET", "/a")


@pytest.mark.parametrize("location", ["ftp://host/x", "file:///etc/passwd", "javascript:x", "h:1"])
def test_a_redirect_leads_to_http_or_https_only(
    script: ScriptedServer, request_: Request, location: str
) -> None:
    script.accept().expect(b"GET /a ").send(moved(location))
    with pytest.raises(LocationValueError):
        request_("GET", "/a")


@pytest.mark.parametrize("status", [200, 201, 300, 304, 305, 306, 404])
def test_other_statuses_are_answers(script: ScriptedServer, request_: Request, status: int) -> None:
    answer = moved("/b", status)
    script.accept().expect(b"GET /a ").send(
        answer.removesuffix(b"moved") if status == 304 else answer
    )
    assert request_("GET", "/a").status == status


def test_a_redirect_without_a_location_is_an_answer(
    script: ScriptedServer, request_: Request
) -> None:
    script.accept().expect(b"GET").send(b"HTTP/1.1 302 Found\r\nContent-Length: 1\r\n\r\nx")
    assert request_("GET", "/a").data == b"x"


# -- how many ---------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"redirect": False}, {"retries": False}])
def test_a_redirect_is_the_answer_if_it_is_not_to_be_followed(
    script: ScriptedServer, request_: Request, options: dict[str, Any]
) -> None:
    script.accept().expect(b"GET /a ").send(moved("/b"))
    response = request_("GET", "/a", **options)
    assert (response.status, response.data) == (302, b"moved")
    assert response.get_redirect_location() == "/b"


@pytest.mark.parametrize("retries", [1, Retry(1), Retry(redirect=1), Retry(5, redirect=1)])
def test_too_many_redirects_are_an_error(
    script: ScriptedServer, request_: Request, retries: Any
) -> None:
    script.accept().expect(b"GET /a ").send(moved("/b")).expect(b"GET /b ").send(moved("/c"))
    with pytest.raises(MaxRetryError, match="too many redirects"):
        request_("GET", "/a", retries=retries)


def test_too_many_redirects_are_the_answer_if_that_is_wanted(
    script: ScriptedServer, request_: Request
) -> None:
    script.accept().expect(b"GET /a ").send(moved("/b")).expect(b"GET /b ").send(moved("/c"))
    response = request_("GET", "/a", retries=Retry(redirect=1, raise_on_redirect=False))
    assert (response.status, response.data) == (302, b"moved")
    assert response.retries.history[0].redirect_location == "/b"


def test_the_default_is_three_retries_and_redirects(
    script: ScriptedServer, request_: Request
) -> None:
    connection = script.accept()
    for number in range(4):
        connection.expect(f"GET /{number} ".encode()).send(moved(f"/{number + 1}"))
    with pytest.raises(MaxRetryError):
        request_("GET", "/0")


def test_a_manager_without_retries_follows_redirects_no_more_than_asked(
    script: ScriptedServer,
) -> None:
    """`PoolManager(retries=False)` once followed them all the same (CVE-2025-50181)."""
    script.accept().expect(b"GET /a ").send(moved("/b")).expect_eof()
    script.accept().expect(b"GET /c ").send(moved("/d")).expect_eof()
    with PoolManager(retries=False) as manager:
        assert manager.request("GET", script.url + "/a").status == 302
    with PoolManager(retries=Retry(0, raise_on_redirect=False)) as manager:
        assert manager.request("GET", script.url + "/c").status == 302


def test_a_thousand_redirects_need_no_stack(server: DummyServer) -> None:
    with PoolManager() as manager:
        response = manager.request(
            "GET",
            f"{server.http_url}/redirect?target=/&count=1200&status=302",
            retries=Retry(total=2000),
        )
        assert response.data == b"Dummy server!"
        assert response.retries is not None
        assert len(response.retries.history) == 1200


# -- secrets ----------------------------------------------------------------------------------


SECRETS: Any = {"Authorization": "a", "cookie": "b", b"PROXY-authorization": "c", "X-Own": "d"}


def test_secrets_stay_with_their_origin(
    script: ScriptedServer, other: ScriptedServer, manager: PoolManager
) -> None:
    """Another port is another origin (RFC 9110, 4.3.1); names in any spelling, also as bytes."""
    script.accept().expect(b"GET").send(moved(other.url + "/b"))
    other.accept().expect(b"GET").send(OK)
    given = dict(SECRETS)
    manager.request("GET", script.url, headers=given)
    assert lines(other.requests[0]) == [b"x-own: d"]
    assert given == SECRETS


def test_secrets_go_on_within_an_origin(script: ScriptedServer, request_: Request) -> None:
    script.accept().expect(b"GET").send(moved("/b")).expect(b"GET").send(OK)
    request_("GET", "/a", headers=SECRETS)
    assert lines(script.requests[1]) == lines(script.requests[0])


def test_secrets_do_not_come_back(
    script: ScriptedServer, other: ScriptedServer, manager: PoolManager
) -> None:
    """There and back again: the other origin chose where this request goes."""
    script.accept().expect(b"GET /a").send(moved(other.url + "/b")).expect(b"GET /c").send(OK)
    other.accept().expect(b"GET").send(moved(script.url + "/c"))
    manager.request("GET", script.url + "/a", headers=SECRETS)
    assert lines(script.requests[1]) == [b"x-own: d"]


def test_secrets_among_the_default_headers_stay_too(
    script: ScriptedServer, other: ScriptedServer
) -> None:
    script.accept().expect(b"GET").send(moved(other.url))
    other.accept().expect(b"GET").send(OK)
    with PoolManager(headers=SECRETS) as manager:
        manager.request("GET", script.url)
    assert lines(other.requests[0]) == [b"x-own: d"]


def test_which_headers_are_secret_can_be_chosen(
    script: ScriptedServer, other: ScriptedServer, manager: PoolManager
) -> None:
    script.accept().expect(b"GET").send(moved(other.url))
    other.accept().expect(b"GET").send(OK)
    retries = Retry(3, remove_headers_on_redirect=["X-API-Key"])
    headers = {"x-api-KEY": "a", "Authorization": "b"}
    manager.request("GET", script.url, headers=headers, retries=retries)
    assert lines(other.requests[0]) == [b"authorization: b"]


@pytest.mark.parametrize("name", ["Host", "hOST", b"host"])
def test_a_callers_host_does_not_follow_to_another_origin(
    script: ScriptedServer, other: ScriptedServer, manager: PoolManager, name: Any
) -> None:
    """It names the first origin, whoever answers there."""
    script.accept().expect(b"GET").send(moved(other.url))
    other.accept().expect(b"GET").send(OK)
    manager.request("GET", script.url, headers={name: "first.example"})
    assert b"first.example" in script.requests[0]
    assert f"\r\nHost: {other.host}:{other.port}\r\n".encode() in other.requests[0]
    assert b"first.example" not in other.requests[0]


def test_a_body_is_not_sent_to_another_origin_by_303(
    script: ScriptedServer, other: ScriptedServer, manager: PoolManager
) -> None:
    script.accept().expect(b"POST").send(moved(other.url, 303))
    other.accept().expect(b"GET").send(OK)
    manager.request("POST", script.url, body=b"secret")
    assert b"secret" not in other.requests[0]


# -- what is thrown away ----------------------------------------------------------------------


@pytest.mark.parametrize("preload", [True, False])
def test_a_large_body_of_a_redirect_is_not_downloaded(
    script: ScriptedServer, request_: Request, preload: bool
) -> None:
    """Closing is cheaper than reading on: at most a bounded amount is drained."""
    large = script.accept().expect(b"GET /a ")
    large.send(b"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 100000000\r\n\r\n")
    large.flood(b"x" * 65536, limit=100_000_000)
    script.accept().expect(b"GET /b ").send(OK)
    response = request_("GET", "/a", preload_content=preload)
    assert response.data == b"ok"
    script.close()
    assert large.bytes_flooded < 20_000_000  # what the buffers of two kernels may hold


def test_a_body_of_a_redirect_without_end_is_not_waited_for(
    script: ScriptedServer, request_: Request
) -> None:
    """The server sends the head and then nothing: the answer is elsewhere."""
    script.accept().expect(b"GET /a ").send(
        b"HTTP/1.1 302 Found\r\nLocation: /b\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"
    ).expect_eof()
    script.accept().expect(b"GET /b ").send(OK)
    assert request_("GET", "/a").data == b"ok"


def test_a_small_body_of_a_redirect_is_drained_and_the_connection_kept(
    script: ScriptedServer, request_: Request
) -> None:
    script.accept().expect(b"GET /a ").send(moved("/b")).expect(b"GET /b ").send(OK)
    assert request_("GET", "/a").data == b"ok"


def test_a_compressed_body_of_a_redirect_is_not_decoded(
    script: ScriptedServer, request_: Request
) -> None:
    """It would be a bomb that nobody asked for; here it is not even gzip."""
    script.accept().expect(b"GET /a ").send(moved("/b", 302, "Content-Encoding: gzip")).expect(
        b"GET /b "
    ).send(OK)
    assert request_("GET", "/a").data == b"ok"


def test_the_url_of_the_answer_is_the_last_one(script: ScriptedServer, request_: Request) -> None:
    script.accept().expect(b"GET /a ").send(moved("/b")).expect(b"GET /b ").send(OK)
    response = request_("GET", "/a")
    assert response.geturl().endswith("/b")
    assert [entry.status for entry in response.retries.history] == [302]


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_a_pool_of_an_ipv6_address_follows_to_itself(host: str) -> None:
    """However the address was given: a URL has it in brackets."""

    def answer(exchange: Exchange) -> bytes:
        if exchange.target == "/moved":
            return ok(b"", f"Location: http://[::1]:{server.port}/there", status="302 Found")
        return ok(b"there")

    with (
        CountingServer(answer, host="::1") as server,
        HTTPConnectionPool(host, server.port, headers={"Cookie": "c=1"}) as pool,
    ):
        assert pool.is_same_host(f"http://[::1]:{server.port}/")
        assert pool.request("GET", "/moved").data == b"there"
        assert [exchange.header("Cookie") for exchange in server.exchanges] == ["c=1", "c=1"]
        assert server.connections == 1
