"""Redirects and retries as tables: secrets stay with their origin, and nothing is sent twice.

Every case is a conversation with real servers, which read what they get by the strict parser.
"""

from __future__ import annotations

import io
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from email.utils import formatdate
from typing import Any, NamedTuple

import pytest

from dummyserver.certs import Certificates
from dummyserver.proxy import Proxy
from tests.hostile.counting import counted
from tests.hostile.origins import (
    OK,
    Answer,
    Origin,
    after,
    beneath_tls,
    close,
    moved,
    reset,
    silence,
)
from tests.hostile.strict_parser import Request
from urllib4 import (
    HTTPConnectionPool,
    HTTPHeaderDict,
    HTTPSConnectionPool,
    PoolManager,
    ProxyManager,
    Retry,
    Timeout,
    make_headers,
)
from urllib4.exceptions import (
    DeadlineExceededError,
    HostChangedError,
    HTTPError,
    InsecureRedirectError,
    MaxRetryError,
    UnrewindableBodyError,
    URLSchemeUnknown,
)

STATUSES = (301, 302, 303, 307, 308)
METHODS = ("GET", "HEAD", "POST", "DELETE")

Send = Callable[..., Any]


@pytest.fixture(scope="module")
def counts(request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    with counted(request, "redirects and retries") as counter:
        yield counter


class World(NamedTuple):
    """Three servers, and a proxy that leads to all of them."""

    one: Origin
    two: Origin
    tls: Origin
    proxy: Proxy

    def urls(self) -> dict[str, str]:
        """Origins that differ in one thing from the first."""
        return {
            "origin": f"http://127.0.0.1:{self.one.port}",
            "host": f"http://localhost:{self.one.port}",
            "port": f"http://127.0.0.1:{self.two.port}",
            "scheme": f"https://127.0.0.1:{self.tls.port}",
        }

    def start_case(self, routes: dict[bytes, Any] | None = None, default: Answer = OK) -> None:
        for server in (self.one, self.two, self.tls):
            server.start_case(routes, default)
        self.proxy.log.clear()

    def server(self, kind: str) -> Origin:
        return {"origin": self.one, "host": self.one, "port": self.two, "scheme": self.tls}[kind]

    def requests(self) -> list[Request]:
        return [*self.one.requests, *self.two.requests, *self.tls.requests]

    def assert_strict(self) -> None:
        for server in (self.one, self.two, self.tls):
            assert server.violations == []


@pytest.fixture(scope="module")
def world(certs: Certificates) -> Iterator[World]:
    with (
        Origin() as one,
        Origin() as two,
        Origin(tls=certs.server_context()) as tls,
        Proxy() as proxy,
    ):
        world = World(one, two, tls, proxy)
        yield world
        world.assert_strict()


@pytest.fixture
def manager(ca_file: str) -> Iterator[PoolManager]:
    with PoolManager(ca_certs=ca_file, timeout=10) as one:
        yield one


@pytest.fixture
def proxied(ca_file: str, world: World) -> Iterator[ProxyManager]:
    headers = make_headers(proxy_basic_auth="proxy:password")
    with ProxyManager(world.proxy.url, proxy_headers=headers, ca_certs=ca_file, timeout=10) as one:
        yield one


@pytest.fixture(params=["manager", "proxied"])
def client(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["manager", "pool"])
def send(request: pytest.FixtureRequest, world: World) -> Iterator[Send]:
    """Sends to a target of the first origin, by a manager or a pool."""
    if request.param == "pool":
        with HTTPConnectionPool("127.0.0.1", world.one.port, timeout=10) as pool:
            yield pool.request
    else:
        with PoolManager(timeout=10) as one:
            url = world.urls()["origin"]
            yield lambda method, target, **kw: one.request(method, url + target, **kw)


# -- secrets ---------------------------------------------------------------------------------------

SECRET = "secret-6f1c"
NAMES = ("Authorization", "Cookie", "Proxy-Authorization")


def _swapped(name: str) -> str:
    return name.swapcase()


SPELLINGS: dict[str, Callable[[str], Any]] = {
    "as usual": str,
    "lower": str.lower,
    "upper": str.upper,
    "swapped": _swapped,
    "bytes": str.encode,
    "lower bytes": lambda name: name.lower().encode(),
}


def as_header_dict(pairs: list[tuple[Any, Any]]) -> Any:
    headers = HTTPHeaderDict()
    for name, value in pairs:
        headers.add(name, value)
    return headers


CONTAINERS: dict[str, Callable[[Any], Any]] = {
    "dict": dict,
    "pairs": list,
    "HTTPHeaderDict": as_header_dict,
}


def secrets(spelling: str, names: tuple[str, ...] = NAMES) -> list[tuple[Any, str]]:
    spell = SPELLINGS[spelling]
    pairs: list[tuple[Any, str]] = [(spell(name), SECRET) for name in names]
    return [*pairs, ("X-Harmless", "yes")]


def shown(request: Request, names: tuple[str, ...] = NAMES) -> set[str]:
    """Which secrets a server saw."""
    lowered = {name.lower(): name for name in names}
    return {
        lowered[name.decode()]
        for name, value in request.fields
        if name.decode() in lowered and SECRET.encode() in value
    }


PAIRS = list(itertools.product(("origin", "host", "port", "scheme"), repeat=2))


def expected_method(method: str, status: int) -> bytes:
    if status == 303 and method != "HEAD":
        return b"GET"
    return method.encode()


@pytest.mark.parametrize(("here", "there"), PAIRS)
def test_secrets_stay_with_their_origin(
    world: World, client: Any, counts: Counter[str], here: str, there: str
) -> None:
    """An origin is scheme, host and port (RFC 9110, 4.3.1), however a header is spelled."""
    urls = world.urls()
    for status, method, spelling in itertools.product(STATUSES, METHODS, SPELLINGS):
        world.start_case({b"/start": moved(status, urls[there] + "/end")})
        headers: Any = dict(secrets(spelling))
        response = client.request(method, urls[here] + "/start", headers=headers)
        assert response.status == 200
        first = next(r for r in world.requests() if r.target == b"/start")
        last = next(r for r in world.requests() if r.target == b"/end")
        assert shown(first) >= {"Authorization", "Cookie"}
        assert last.method == expected_method(method, status)
        assert last.values(b"x-harmless") == [b"yes"]
        case = (here, there, status, method, spelling)
        if here == there:
            assert shown(last) >= {"Authorization", "Cookie"}, case
            counts["kept"] += 1
        else:
            assert shown(last) == set(), case
            counts["dropped"] += 1


@pytest.mark.parametrize(("here", "there"), [pair for pair in PAIRS if pair[0] != pair[1]])
def test_secrets_do_not_come_back(
    world: World, client: Any, counts: Counter[str], here: str, there: str
) -> None:
    """Who is sent away and back again does not get them: the other origin chose that request."""
    urls = world.urls()
    for status, (name, container) in itertools.product(STATUSES, CONTAINERS.items()):
        world.start_case(
            {
                b"/start": moved(status, urls[there] + "/away"),
                b"/away": moved(status, urls[here] + "/back"),
                b"/back": moved(status, "/still"),
            }
        )
        headers = container(secrets("lower"))
        assert client.request("GET", urls[here] + "/start", headers=headers).status == 200
        seen = {r.target: shown(r) for r in world.requests()}
        assert seen[b"/away"] == seen[b"/back"] == seen[b"/still"] == set(), (status, name)
        assert {"Authorization", "Cookie"} <= seen[b"/start"]
        assert sorted(secrets("lower")) == sorted(
            headers.iteritems() if name == "HTTPHeaderDict" else dict(headers).items()
        )
        counts["there and back"] += 1


@pytest.mark.parametrize(("here", "there"), [pair for pair in PAIRS if pair[0] != pair[1]])
def test_the_list_of_secrets_is_the_callers(
    world: World, client: Any, counts: Counter[str], here: str, there: str
) -> None:
    urls = world.urls()
    names = ("X-Api-Key", "Authorization")
    for status, spelling, listed in itertools.product(
        STATUSES, SPELLINGS, (["x-api-key"], ["X-API-KEY"], {"X-Api-Key"})
    ):
        world.start_case({b"/start": moved(status, urls[there] + "/end")})
        headers: Any = dict(secrets(spelling, names))
        client.request(
            "GET",
            urls[here] + "/start",
            headers=headers,
            retries=Retry(3, remove_headers_on_redirect=listed),
        )
        last = next(r for r in world.requests() if r.target == b"/end")
        assert shown(last, names) == {"Authorization"}  # not on the list that replaced ours
        counts["own list"] += 1


@pytest.mark.parametrize("there", ["host", "port", "scheme"])
def test_default_headers_are_secret_too(
    world: World, ca_file: str, counts: Counter[str], there: str
) -> None:
    urls = world.urls()
    for status, spelling in itertools.product(STATUSES, SPELLINGS):
        headers: Any = dict(secrets(spelling))
        with PoolManager(headers=headers, ca_certs=ca_file, timeout=10) as manager:
            world.start_case({b"/start": moved(status, urls[there] + "/end")})
            assert manager.request("GET", urls["origin"] + "/start").status == 200
        last = next(r for r in world.requests() if r.target == b"/end")
        assert shown(last) == set()
        counts["default headers"] += 1


@pytest.mark.parametrize("there", ["host", "port", "scheme"])
def test_the_host_of_the_caller_does_not_follow(
    world: World, client: Any, counts: Counter[str], there: str
) -> None:
    """A virtual host belongs to its origin; the next one would look up the wrong site."""
    urls = world.urls()
    for status, name in itertools.product(STATUSES, ("Host", "host", b"HOST")):
        world.start_case({b"/start": moved(status, urls[there] + "/end")})
        headers: Any = {name: "virtual.example"}
        client.request("GET", urls["origin"] + "/start", headers=headers)
        first = next(r for r in world.requests() if r.target == b"/start")
        last = next(r for r in world.requests() if r.target == b"/end")
        assert first.values(b"host") == [b"virtual.example"]
        assert last.values(b"host") == [urls[there].partition("://")[2].encode()]
        counts["host"] += 1


def test_credentials_for_the_proxy_go_to_the_proxy_only(
    world: World, proxied: ProxyManager, counts: Counter[str]
) -> None:
    """With each request to it, also after a redirect; through a tunnel with CONNECT only."""
    urls = world.urls()
    for (here, there), status in itertools.product(PAIRS, STATUSES):
        proxied.clear()
        world.start_case({b"/start": moved(status, urls[there] + "/end")})
        assert proxied.request("GET", urls[here] + "/start").status == 200
        heads = list(world.proxy.log)
        assert len(heads) in (1, 2)
        for head in heads:
            assert head.lower().count(b"\r\nproxy-authorization: basic ") == 1
        for request in world.requests():
            assert request.values(b"proxy-authorization") == []
        counts["proxy credentials"] += 1


# -- pools -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("there", ["host", "port", "scheme"])
def test_a_pool_does_not_leave_its_origin(world: World, counts: Counter[str], there: str) -> None:
    urls = world.urls()
    with HTTPConnectionPool("127.0.0.1", world.one.port, timeout=10) as pool:
        for status, method in itertools.product(STATUSES, METHODS):
            world.start_case({b"/start": moved(status, urls[there] + "/end")})
            with pytest.raises(HostChangedError):
                pool.request(method, "/start", headers=dict(secrets("lower")))
            assert [r.target for r in world.requests()] == [b"/start"]
            counts["pool refused"] += 1


@pytest.mark.parametrize("there", ["host", "port", "scheme"])
def test_a_pool_that_is_told_to_leave_keeps_the_secrets(
    world: World, counts: Counter[str], there: str
) -> None:
    """``assert_same_host=False``: its server is asked for the URL of another origin."""
    urls = world.urls()
    with HTTPConnectionPool("127.0.0.1", world.one.port, timeout=10) as pool:
        for status, spelling in itertools.product(STATUSES, SPELLINGS):
            world.start_case({b"/start": moved(status, urls[there] + "/end")})
            headers: Any = dict(secrets(spelling))
            pool.urlopen("GET", "/start", headers=headers, assert_same_host=False)
            first, last = world.one.requests
            assert shown(first) == set(NAMES)
            assert shown(last) == set()
            assert last.target == urls[there].encode() + b"/end"
            counts["pool told to leave"] += 1


# -- downgrades and schemes ------------------------------------------------------------------------


@pytest.mark.parametrize("there", ["origin", "host", "port"])
def test_a_downgrade_is_refused_on_request(
    world: World, client: Any, counts: Counter[str], there: str
) -> None:
    urls = world.urls()
    policies = [
        Retry(3, allow_downgrade=False),
        Retry(3, redirect=5, allow_downgrade=False),
        Retry(3, raise_on_redirect=False, allow_downgrade=False),
    ]
    for status, method, retries in itertools.product(STATUSES, METHODS, policies):
        for steps in (0, 1):  # at once, or after a redirect within https
            world.start_case(
                {b"/start": moved(status, "/0"), b"/0": moved(status, urls[there] + "/end")}
            )
            start = urls["scheme"] + ("/start" if steps else "/0")
            with pytest.raises(InsecureRedirectError, match="https to http"):
                client.request(method, start, retries=retries)
            assert world.one.requests == world.two.requests == []
            counts["downgrade refused"] += 1


def test_other_redirects_are_no_downgrade(world: World, client: Any, counts: Counter[str]) -> None:
    urls = world.urls()
    retries = Retry(3, allow_downgrade=False)
    for (here, there), status in itertools.product(PAIRS, STATUSES):
        if here == "scheme" and there != "scheme":
            continue
        world.start_case({b"/start": moved(status, urls[there] + "/end")})
        assert client.request("GET", urls[here] + "/start", retries=retries).status == 200
        counts["no downgrade"] += 1


def test_a_downgrade_is_followed_without_the_request(world: World, manager: PoolManager) -> None:
    """As urllib3 does; the secrets stay behind."""
    urls = world.urls()
    world.start_case({b"/start": moved(302, urls["origin"] + "/end")})
    assert manager.request("GET", urls["scheme"] + "/start").status == 200
    assert [r.target for r in world.one.requests] == [b"/end"]


def test_a_pool_refuses_a_downgrade_too(world: World, ca_file: str, counts: Counter[str]) -> None:
    with HTTPSConnectionPool("127.0.0.1", world.tls.port, ca_certs=ca_file, timeout=10) as pool:
        for status in STATUSES:
            world.start_case({b"/start": moved(status, world.urls()["origin"] + "/end")})
            with pytest.raises(InsecureRedirectError):
                pool.urlopen(
                    "GET",
                    "/start",
                    assert_same_host=False,
                    retries=Retry(3, allow_downgrade=False),
                )
            assert len(world.requests()) == 1
            counts["downgrade refused"] += 1


SCHEMES = [
    "ftp", "file", "javascript", "data", "ws", "wss", "gopher", "ldap", "mailto", "about", "blob",
    "http+unix", "httpx", "https+x", "view-source",
]  # fmt: skip


@pytest.mark.parametrize("form", ["{}:///etc/passwd", "{}://127.0.0.1/", "{}:x", "{}:", "{}:/x"])
def test_other_schemes_are_refused(
    world: World, client: Any, counts: Counter[str], form: str
) -> None:
    url = world.urls()["origin"]
    for scheme, status in itertools.product([*SCHEMES, *map(str.upper, SCHEMES)], STATUSES):
        world.start_case({b"/start": moved(status, form.format(scheme))})
        with pytest.raises(URLSchemeUnknown):
            client.request("GET", url + "/start")
        assert len(world.requests()) == 1
        counts["other scheme refused"] += 1


# -- locations -------------------------------------------------------------------------------------

#: Location, and the target it leads to from /dir/page?x=1.
LOCATIONS: dict[str | bytes, bytes] = {
    "/a": b"/a",
    "a": b"/dir/a",
    "./a": b"/dir/a",
    "../a": b"/a",
    "../../../a": b"/a",
    "a/../b": b"/dir/b",
    "a/./b/": b"/dir/a/b/",
    "?y": b"/dir/page?y",
    "#f": b"/dir/page?x=1",
    "a#f": b"/dir/a",
    "/a?q#f?x": b"/a?q",
    "/a;p=1": b"/a;p=1",
    "/a//b": b"/a//b",
    "/.//evil.example": b"//evil.example",
    "/a b": b"/a%20b",
    "/a%20b": b"/a%20b",
    "/a%2fb": b"/a%2Fb",
    "/a%2Fb": b"/a%2Fb",
    "/%zz": b"/%25zz",
    "/%": b"/%25",
    '/"<>^`{|}': b"/%22%3C%3E%5E%60%7B%7C%7D",
    "/a?b=c d&e=%zz": b"/a?b=c%20d&e=%25zz",
    "/a?[]": b"/a?%5B%5D",
    "/a\\b": b"/a%5Cb",
    "\\\\evil.example\\": b"/dir/%5C%5Cevil.example%5C",
    "/\u00e9".encode(): b"/%C3%A9",
    "/\u5b57?\u5b57".encode(): b"/%E5%AD%97?%E5%AD%97",
    b"/\xff": b"/%C3%BF",  # not UTF-8, so Latin-1 as in every field
    "  /a  ": b"/a",
    "\t/a": b"/a",
    "/a\tb": b"/ab",  # as browsers do
    ".": b"/dir/",
    "..": b"/",
    "a:b/../c": b"",  # a scheme: refused
    "./a:b": b"/dir/a:b",
    "http:a": b"/dir/a",  # as before RFC 3986: relative (5.2.2), never a host
    "http:/a": b"/a",
    "http:///a": b"/a",
    "http:\\\\evil.example/": b"/dir/%5C%5Cevil.example/",
}


@pytest.mark.parametrize("status", STATUSES)
def test_where_a_location_leads(
    world: World, client: Any, counts: Counter[str], status: int
) -> None:
    """RFC 3986, 5.3; what a target may not hold is percent-encoded, and a fragment never sent."""
    url = world.urls()["origin"]
    for location, target in LOCATIONS.items():
        world.start_case({b"/dir/page?x=1": [moved(status, location), OK]})
        if not target:
            with pytest.raises(URLSchemeUnknown):
                client.request("GET", url + "/dir/page?x=1")
        else:
            assert client.request("GET", url + "/dir/page?x=1").status == 200, location
            assert world.one.requests[-1].target == target, location
        counts["locations"] += 1


@pytest.mark.parametrize("status", STATUSES)
def test_a_pool_finds_the_same_targets(world: World, counts: Counter[str], status: int) -> None:
    with HTTPConnectionPool("127.0.0.1", world.one.port, timeout=10) as pool:
        for location, target in LOCATIONS.items():
            if not target or str(location).startswith("http:"):
                continue  # a pool takes what has a scheme for another host
            world.start_case({b"/dir/page?x=1": [moved(status, location), OK]})
            assert pool.request("GET", "/dir/page?x=1").status == 200, location
            assert world.one.requests[-1].target == target, location
            counts["locations"] += 1


MALFORMED = [
    "http://[", "http://[::1", "http://[::1]x/", "http://a:b/", "http://:80/",
    "http://a:99999/", "http://a:-1/", "http://a:+1/", "http://a b/", "http://a%00b/", "http://a%/",
    "http://a%0d%0ab/", "http://a\x7fb/", "http://\\evil.example/", "http://@/", "http://a@:80/",
    "http://.../", "http://" + "a" * 64 + ".example/", "http://a..b/", "//[", "//:80",
    "http://a^b/", "http://a`b/", "http://a|b/", 'http://a"b/', "http://a<b>/", "http://{a}/",
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::urllib4.exceptions.SecurityWarning")
@pytest.mark.parametrize("location", MALFORMED)
def test_a_malformed_location_is_an_error_of_ours(
    world: World, send: Send, counts: Counter[str], location: str
) -> None:
    """Never another exception, and never a request to somewhere by guessing."""
    for status in STATUSES:
        world.start_case({b"/start": moved(status, location)})
        with pytest.raises(HTTPError):
            send("GET", "/start", retries=Retry(3, connect=0))
        assert [r.target for r in world.requests()] == [b"/start"]
        counts["malformed"] += 1


def test_a_name_in_front_of_an_at_sign_is_no_host(
    world: World, client: Any, counts: Counter[str]
) -> None:
    """``http://good@evil/`` leads to evil: what is before the @ goes nowhere."""
    urls = world.urls()
    short = {name: url.partition("://")[2] for name, url in urls.items()}
    for location, status in itertools.product(
        ("http://{origin}@{port}/end", "http://{origin}:x@{port}/end", "//{origin}@{port}/end"),
        STATUSES,
    ):
        world.start_case({b"/start": moved(status, location.format(**short))})
        with pytest.warns(match="credentials"):
            client.request("GET", urls["origin"] + "/start", headers=dict(secrets("lower")))
        (last,) = world.two.requests
        assert last.target == b"/end"
        assert shown(last) == set()
        assert last.values(b"host") == [short["port"].encode()]
        counts["lookalikes"] += 1


# -- loops -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 2, 5, 30])
def test_a_loop_ends(world: World, client: Any, counts: Counter[str], count: int) -> None:
    urls = world.urls()
    loops = [
        {b"/start": "/start"},
        {b"/start": "/a", b"/a": "/b", b"/b": "/start"},
        {b"/start": urls["port"] + "/a", b"/a": urls["origin"] + "/start"},
        {
            b"/start": urls["host"] + "/a",
            b"/a": urls["scheme"] + "/b",
            b"/b": urls["origin"] + "/start",
        },
    ]
    policies: list[tuple[Any, bool]] = [
        (count, True),
        (Retry(count), True),
        (Retry(100, redirect=count), True),
        (Retry(None, redirect=count), True),
        (Retry(100, redirect=count, raise_on_redirect=False), False),
    ]
    for loop, (retries, raises), status in itertools.product(loops, policies, STATUSES):
        world.start_case({target: moved(status, to) for target, to in loop.items()})
        if raises:
            with pytest.raises(MaxRetryError, match="too many redirects"):
                client.request("GET", urls["origin"] + "/start", retries=retries)
        else:
            response = client.request("GET", urls["origin"] + "/start", retries=retries)
            assert response.status == status
        assert len(world.requests()) == count + 1
        counts["loops"] += 1


# -- bodies ----------------------------------------------------------------------------------------


class ReadOnly:
    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)


class Pipe(io.BytesIO):
    def tell(self) -> int:
        raise OSError("no position")


def generator() -> Iterator[bytes]:
    yield b"body"


ONCE: dict[str, Callable[[], Any]] = {
    "iterator": lambda: iter([b"bo", b"dy"]),
    "generator": generator,
    "read only": lambda: ReadOnly(b"body"),
    "pipe": lambda: Pipe(b"body"),
    "map": lambda: map(bytes, [b"body"]),
}
AGAIN: dict[str, Callable[[], Any]] = {
    "bytes": lambda: b"body",
    "str": lambda: "body",
    "bytearray": lambda: bytearray(b"body"),
    "memoryview": lambda: memoryview(b"body"),
    "list": lambda: [b"bo", b"dy"],
    "file": lambda: io.BytesIO(b"body"),
    "text file": lambda: io.StringIO("body"),
    "file from its middle": lambda: _at(io.BytesIO(b"no body"), 3),
}


def _at(file: io.BytesIO, position: int) -> io.BytesIO:
    file.seek(position)
    return file


BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nRetry-After: 0\r\n\r\n"
AGAINS: dict[str, Answer] = {
    **{f"{status}": moved(status, "/end") for status in STATUSES if status != 303},
    **{f"{status} elsewhere": b"" for status in STATUSES if status != 303},
    "503": BUSY,
    "closed": close,
    "reset": reset,
    "half a head": after(b"HTTP/1.1 200 OK\r\nX: "),
}


#: A pool does not leave its origin.
in_each_way = pytest.mark.parametrize(
    ("send", "kind"),
    [("manager", kind) for kind in AGAINS]
    + [("pool", kind) for kind in AGAINS if not kind.endswith("elsewhere")],
    indirect=["send"],
)


def again_routes(world: World, kind: str) -> dict[bytes, Any]:
    answer = AGAINS[kind]
    if kind.endswith("elsewhere"):
        answer = moved(int(kind[:3]), world.urls()["port"] + "/end")
    return {b"/start": [answer, OK]}


@in_each_way
def test_a_body_that_was_used_up_is_never_sent_as_an_empty_one(
    world: World, send: Send, counts: Counter[str], kind: str
) -> None:
    for make in ONCE.values():
        world.start_case(again_routes(world, kind))
        with pytest.raises(UnrewindableBodyError):
            send("PUT", "/start", body=make(), retries=Retry(3))
        assert [r.body for r in world.requests()] == [b"body"]
        counts["used up"] += 1


@in_each_way
def test_a_body_that_can_be_sent_again_is_sent_whole(
    world: World, send: Send, counts: Counter[str], kind: str
) -> None:
    for make in AGAIN.values():
        world.start_case(again_routes(world, kind))
        assert send("PUT", "/start", body=make(), retries=Retry(3)).status == 200
        assert [r.body for r in world.requests()] == [b"body", b"body"]
        counts["sent again"] += 1


@pytest.mark.parametrize("make", [*ONCE.values(), *AGAIN.values()], ids=[*ONCE, *AGAIN])
def test_303_needs_no_body_again(
    world: World, send: Send, counts: Counter[str], make: Callable[[], Any]
) -> None:
    for method in ("POST", "PUT", "DELETE"):
        world.start_case({b"/start": moved(303, "/end")})
        send(method, "/start", body=make())
        first, last = world.requests()
        assert first.body == b"body"
        assert (last.method, last.body) == (b"GET", b"")
        counts["303"] += 1


# -- Retry-After -----------------------------------------------------------------------------------


class Noting(Retry):
    """Sleeps in its own time, and notes how long it would have."""

    slept: list[float] = []

    def sleep(self, response: Any = None) -> None:
        self.slept.append(self.sleep_time(response))

    def sleep_for_retry(self, response: Any) -> bool:
        self.sleep(response)
        return True


def _date(seconds: float) -> str:
    return formatdate(time.time() + seconds, usegmt=True)


#: Value, and the least and the greatest pause it may lead to.
RETRY_AFTER: dict[str, tuple[float, float]] = {
    "0": (0, 0),
    "1": (1, 1),
    "120": (120, 120),
    " 7 ": (7, 7),
    "007": (7, 7),
    "21600": (21600, 21600),
    "21601": (21600, 21600),
    "9" * 20: (21600, 21600),
    "9" * 5000: (21600, 21600),
    "-1": (0, 0),
    "-" + "9" * 30: (0, 0),
    "+5": (0, 0),
    "1.5": (0, 0),
    "1e3": (0, 0),
    "0x10": (0, 0),
    "1_000": (0, 0),
    "5, 6": (0, 0),
    "5 seconds": (0, 0),
    "inf": (0, 0),
    "nan": (0, 0),
    "soon": (0, 0),
    "\xb2": (0, 0),  # str.isdigit() holds for it
    "Thu, 01 Jan 1970 00:00:00 GMT": (0, 0),
    "Fri, 31 Dec 99999 23:59:59 GMT": (0, 0),
    "Fri, 99 Foo 2030 99:99:99 GMT": (0, 0),
    "Sun, 06 Nov 1994 08:49:37 GMT": (0, 0),
    "Sunday, 06-Nov-94 08:49:37 GMT": (0, 0),
    "Sun Nov  6 08:49:37 1994": (0, 0),
    "Thu, 01 Jan 2099 00:00:00 GMT": (21600, 21600),
}


@pytest.mark.parametrize("status", [413, 429, 503])
@pytest.mark.parametrize("value", RETRY_AFTER, ids=lambda value: repr(value[:20]))
def test_how_long_a_server_can_make_us_wait(
    world: World, counts: Counter[str], status: int, value: str
) -> None:
    """As seconds or a date, at most ``retry_after_max``; what makes no sense is ignored."""
    low, high = RETRY_AFTER[value]
    busy = f"HTTP/1.1 {status} Busy\r\nContent-Length: 0\r\nRetry-After: {value}\r\n\r\n"
    for method in ("GET", "PUT", "DELETE"):
        world.start_case({b"/start": [busy.encode("latin-1"), OK]})
        Noting.slept = []
        with HTTPConnectionPool("127.0.0.1", world.one.port, timeout=10) as pool:
            assert pool.request(method, "/start", retries=Noting(3)).status == 200
        assert len(world.requests()) == 2
        assert all(low <= pause <= high for pause in Noting.slept)
        assert len(Noting.slept) == 1
        counts["Retry-After"] += 1


@pytest.mark.parametrize("seconds", [60, 3600])
def test_a_date_in_the_future_is_waited_for(world: World, seconds: int) -> None:
    busy = f"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nRetry-After: {_date(seconds)}\r\n\r\n"
    world.start_case({b"/start": [busy.encode(), OK]})
    Noting.slept = []
    with HTTPConnectionPool("127.0.0.1", world.one.port, timeout=10) as pool:
        pool.request("GET", "/start", retries=Noting(3))
    (pause,) = Noting.slept
    assert seconds - 30 <= pause <= seconds


@pytest.mark.parametrize("value", ["120", "9" * 5000, "Thu, 01 Jan 2099 00:00:00 GMT"])
def test_a_wait_beyond_the_deadline_is_not_even_begun(world: World, value: str) -> None:
    busy = f"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nRetry-After: {value}\r\n\r\n"
    world.start_case({b"/start": busy.encode()})
    with (
        HTTPConnectionPool("127.0.0.1", world.one.port) as pool,
        pytest.raises(DeadlineExceededError, match="sleeping"),
    ):
        pool.request("GET", "/start", timeout=Timeout(deadline=20))
    assert len(world.requests()) == 1


# -- nothing is sent twice -------------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
FAILURES: dict[str, Answer] = {
    "closed": close,
    "reset": reset,
    "half a status line": after(b"HTTP/1.1 20"),
    "half a head": after(b"HTTP/1.1 200 OK\r\nX: "),
    "another protocol": after(b"\x15\x03\x03\x00\x02\x02\x28"),
    "HTTP/0.9": after(b"<html>hello"),
    "a bare CR": after(b"HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n"),
    "two lengths": after(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    "half a body": after(HEAD + b"abc"),
    "half a chunk": after(CHUNKED + b"5\r\nab"),
    "no chunk size": after(CHUNKED + b"zz\r\n"),
    "not gzip": after(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"),
    "only interim answers": after(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50),
    "an upgrade": after(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
    "503": BUSY,
    "429": BUSY.replace(b"503", b"429"),
    "413": BUSY.replace(b"503", b"413"),
    "silence": silence,
    "half a head, then silence": after(b"HTTP/1.1 200 OK\r\n", silence),
    "half a body, then silence": after(HEAD, silence),
}
TLS_FAILURES: dict[str, Answer] = {
    "garbage": beneath_tls(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "a broken record": beneath_tls(b"\x17\x03\x03\x00\x20" + b"x" * 32),
    "an alert": beneath_tls(b"\x15\x03\x03\x00\x02\x02\x28"),
    "a half record": beneath_tls(b"\x17\x03\x03\x10\x00abc"),
}
METHODS_NOT_REPEATED = ("POST", "PATCH", "CONNECTED", "post")


def counted_requests(world: World, server: Origin, send: Callable[[], Any]) -> int:
    with suppress(HTTPError):
        send()
    # Who waits for a moment only may give up before the server has read what was sent.
    server.wait_until(world.requests)
    return len(world.requests())


@pytest.mark.parametrize("kind", FAILURES)
def test_a_post_is_never_sent_twice(world: World, counts: Counter[str], kind: str) -> None:
    """The server may have acted on the first; only the caller knows whether that matters."""
    timeout = Timeout(connect=10, read=0.05 if "silence" in kind else 10)
    policies: list[Any] = [3, Retry(5), Retry(None, connect=5, read=5, status=5, other=5)]
    bodies: list[Any] = [None, b"body", [b"bo", b"dy"]]
    fresh = HTTPConnectionPool("127.0.0.1", world.one.port, timeout=timeout)
    with fresh as pool, PoolManager(timeout=timeout) as manager:
        for method, retries, body in itertools.product(METHODS_NOT_REPEATED, policies, bodies):
            if "silence" in kind and retries != 3:
                continue  # takes its time
            for reused, client, url in (
                (False, pool, "/start"),
                (True, pool, "/start"),
                (False, manager, world.urls()["origin"] + "/start"),
            ):
                world.start_case({b"/start": FAILURES[kind]})
                if reused:
                    pool.request("GET", "/warm")
                    world.one.requests.clear()
                count = counted_requests(
                    world,
                    world.one,
                    lambda: client.urlopen(method, url, body=body, retries=retries),  # noqa: B023
                )
                assert count == 1, (method, retries, body, reused)
                counts["POST"] += 1


@pytest.mark.parametrize("kind", [*FAILURES, *TLS_FAILURES])
def test_a_post_is_never_sent_twice_over_tls(
    world: World, ca_file: str, counts: Counter[str], kind: str
) -> None:
    """A failure of TLS after the handshake is no failure to connect."""
    timeout = Timeout(connect=10, read=0.1 if "silence" in kind or "half record" in kind else 10)
    answer = {**FAILURES, **TLS_FAILURES}[kind]
    policies: list[Any] = [3, Retry(5, other=5)]
    for method, retries in itertools.product(METHODS_NOT_REPEATED, policies):
        world.start_case({b"/start": answer})
        with HTTPSConnectionPool(
            "127.0.0.1", world.tls.port, ca_certs=ca_file, timeout=timeout
        ) as pool:
            count = counted_requests(
                world,
                world.tls,
                lambda: pool.urlopen(method, "/start", body=b"body", retries=retries),  # noqa: B023
            )
        assert count == 1, (method, retries)
        counts["POST over TLS"] += 1


@pytest.mark.parametrize("kind", ["closed", "reset", "half a head", "503", "429"])
def test_an_idempotent_request_is_sent_again(world: World, counts: Counter[str], kind: str) -> None:
    """Or the tables above would prove nothing."""
    with HTTPConnectionPool("127.0.0.1", world.one.port, timeout=10) as pool:
        for method in ("GET", "PUT", "DELETE", "HEAD", "OPTIONS"):
            world.start_case({b"/start": [FAILURES[kind], FAILURES[kind], OK]})
            assert pool.request(method, "/start", retries=3).status == 200
            assert len(world.requests()) == 3
            counts["sent again"] += 1


@pytest.mark.parametrize("status", STATUSES)
def test_a_redirect_of_a_post_that_fails_is_not_repeated(
    world: World, send: Send, counts: Counter[str], status: int
) -> None:
    """Unless it became a GET on the way (303)."""
    for kind in ("closed", "reset", "half a head", "503"):
        world.start_case({b"/start": moved(status, "/end"), b"/end": [FAILURES[kind], OK]})
        count = counted_requests(
            world, world.one, lambda: send("POST", "/start", body=b"x", retries=Retry(3))
        )
        assert count == (3 if status == 303 else 2)
        counts["redirected POST"] += 1
