"""Whatever a caller passes in, a server gets exactly one well-formed request, or nothing.

Each generated case goes through an entry point of the library to a raw server; what that got is
read by a parser that forgives nothing (``strict_parser``).  A case ends with an error of a
documented kind before the first byte was sent, or with one request that can be read in one way.
"""

from __future__ import annotations

import io
import json
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st

from tests.examples import examples
from tests.hostile.counting import counted
from tests.hostile.recorder import Recorder
from tests.hostile.strict_parser import Request, parse_first, parse_multipart, parse_one
from urllib4 import HTTPConnectionPool, HTTPHeaderDict, PoolManager, ProxyManager, make_headers
from urllib4.connection import HTTPConnection
from urllib4.exceptions import HTTPError, InvalidRequestHeaderError, SecurityWarning
from urllib4.fields import RequestField
from urllib4.util.request import SKIP_HEADER

pytestmark = pytest.mark.filterwarnings("ignore::urllib4.exceptions.SecurityWarning")

#: What a caller is promised for an argument that cannot be sent.
DOCUMENTED = (ValueError, TypeError, HTTPError)

cases = examples(150, HealthCheck.function_scoped_fixture)

# -- what is tried -----------------------------------------------------------------------------

PAYLOADS = [
    "\r\nInjected: yes",
    "\nInjected: yes",
    "\rInjected: yes",
    " HTTP/1.1\r\nHost: evil\r\n\r\nGET /second HTTP/1.1\r\nHost: evil\r\n\r\n",
    "x HTTP/1.1\r\nX: ",
    "\r\n\r\n",
    "0\r\n\r\nGET /second HTTP/1.1\r\nHost: evil\r\n\r\n",
    "\x00",
    "a b",
    " a",
    "a ",
    "\t",
    "\r\n folded",
    "\x0bchunked",
    "\xa0chunked",
    "chunked, chunked",
    "+5",
    "5\r\n5",
    "0x5",
    "1_0",
    "%0d%0aInjected:%20yes",
    "%",
    "%zz",
    'x"; filename="evil',
    "x\r\n\r\n--boundary--",
    "user:pass@evil",
    "a@b@c",
    "evil#",
    "evil?",
    "evil\\@good",
    "[::1]",
    "[::1",
    "[::1%25eth0]",
    ":80",
    "\u560d\u560aInjected: yes",  # CR and LF for those who cut characters to eight bits
    "\u2028",
    "\x85",
    "é",
    "字",
    "\ud800",
]
NASTY = "\r\n\0\t \x01\x0b\x0c\x1b\x1f\x7f\x85\xa0\u2028éĀ字\ud800:;,\"'<>#?/\\@%[]{}|^`=&+-_."

texts = st.one_of(
    st.sampled_from(PAYLOADS),
    st.text(st.one_of(st.sampled_from(NASTY), st.sampled_from("abcXYZ019")), max_size=12),
    st.builds(
        lambda start, payload, end: start + payload + end,
        st.sampled_from(["", "a", "abc"]),
        st.sampled_from(PAYLOADS),
        st.sampled_from(["", "z", "xyz"]),
    ),
)
raws = texts.map(lambda text: text.encode("utf-8", "surrogatepass"))
#: str or bytes, and now and then something that is neither.
anything = st.one_of(
    texts,
    texts,
    raws,
    raws,
    st.integers(),
    st.sampled_from([None, 1.5, [], ("a",), object(), True]),
)
deciding_names = st.sampled_from(
    [
        "Host",
        "host",
        "Content-Length",
        "content-LENGTH",
        "Transfer-Encoding",
        "User-Agent",
        "Expect",
        "Accept-Encoding",
        "Connection",
        b"Host",
        b"content-length",
        b"TRANSFER-ENCODING",
    ]
)
deciding_values = st.sampled_from(
    [
        "5",
        "0",
        " 5",
        "05",
        "5, 5",
        "4",
        "-1",
        "chunked",
        "gzip, chunked",
        "chunked, gzip",
        "evil",
        "identity",
        SKIP_HEADER,
        "",
        b"5",
        b"chunked",
        5,
        "x:1",
        "evil/path",
        "u@evil",
        "\x0c5",
    ]
)
lines = st.one_of(
    st.tuples(st.one_of(texts, raws), st.one_of(texts, raws, st.just("plain"))),
    st.tuples(deciding_names, deciding_values),
    st.tuples(st.sampled_from(["X-A", "x-a", b"X-A"]), anything),
)
header_lists = st.lists(lines, max_size=4)


def as_mapping(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    return dict(pairs)


def as_header_dict(pairs: list[tuple[Any, Any]]) -> Any:
    headers = HTTPHeaderDict()
    for name, value in pairs:
        headers.add(name, value)
    return headers


# The argument is made inside the call: a container may refuse it, too.
containers: Any = st.sampled_from([as_mapping, as_header_dict, list])


# -- where it goes ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def counts(request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    with counted(request, "injection into requests") as counter:
        yield counter


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    with Recorder() as running:
        yield running


class Target:
    """Where the connections of this module lead, whatever host they are for."""

    address = ("127.0.0.1", 0)


class AnyHost(HTTPConnection):
    """A connection that reaches the recorder under every name."""

    def _new_conn(self) -> Any:
        return socket.create_connection(Target.address, timeout=10)


class Hooked(AnyHost):
    """The slower route: somebody overrides a step, so each step is taken by itself."""

    def endheaders(self, *args: Any, **kw: Any) -> None:
        super().endheaders(*args, **kw)


@pytest.fixture(params=[AnyHost, Hooked], ids=["at once", "by steps"])
def connection_class(request: pytest.FixtureRequest, recorder: Recorder) -> Any:
    Target.address = (recorder.host, recorder.port)
    return request.param


def make_pool(
    cls: Any, host: Any = "good.example", port: Any = 80, **kw: Any
) -> HTTPConnectionPool:
    pool = HTTPConnectionPool(host, port, retries=False, **kw)
    pool.ConnectionCls = cls
    return pool


def prepared(manager: Any, cls: Any) -> Any:
    class Pool(HTTPConnectionPool):
        ConnectionCls = cls

    manager.pool_classes_by_scheme = {"http": Pool}
    return manager


class Judge:
    """Runs one case and judges what arrived."""

    def __init__(self, recorder: Recorder, counts: Counter[str], entry: str) -> None:
        self._recorder = recorder
        self._counts = counts
        self._entry = entry

    def _outcome(self, call: Callable[[], object]) -> list[bytes] | None:
        """Return what the server got; None if the call was refused, and nothing was sent."""
        try:
            call()
        except DOCUMENTED:
            sent = [data for data in self._recorder.take() if data]
            assert sent == [], f"refused, but this was sent: {sent!r}"
            self._counts[f"{self._entry} refused"] += 1
            return None
        self._counts[f"{self._entry} sent"] += 1
        return self._recorder.take()

    def one(
        self, call: Callable[[], object], *, raw_target: bool = False, raw_host: bool = False
    ) -> Request | None:
        """Return the one request that `call` sent, or None if it refused."""
        sent = self._outcome(call)
        if sent is None:
            return None
        assert len(sent) == 1, f"more than one connection: {sent!r}"
        return parse_one(sent[0], raw_target=raw_target, raw_host=raw_host)

    def tunnelled(
        self, call: Callable[[], object], *, raw_host: bool
    ) -> tuple[Request, Request] | None:
        """Return the CONNECT and the request inside, or None if `call` refused."""
        sent = self._outcome(call)
        if sent is None:
            return None
        assert len(sent) == 1, f"more than one connection: {sent!r}"
        connect, rest = parse_first(sent[0], raw_host=raw_host)
        assert connect.method == b"CONNECT"
        return connect, parse_one(rest)


@pytest.fixture
def judge(
    request: pytest.FixtureRequest, recorder: Recorder, counts: Counter[str]
) -> Iterator[Judge]:
    Target.address = (recorder.host, recorder.port)
    name = request.function.__name__.removeprefix("test_").split("_by_")[0]
    yield Judge(recorder, counts, name.replace("_", " "))
    recorder.take()


def names_of(request: Request) -> set[bytes]:
    return {name for name, _ in request.fields}


AUTOMATIC = {b"host", b"accept-encoding", b"user-agent"}


def assert_only(request: Request, *more: bytes) -> None:
    """No field came out of nothing."""
    assert names_of(request) <= AUTOMATIC | set(more), request.fields


# -- request line ----------------------------------------------------------------------------------


@cases
@given(method=anything)
@example(method="GET / HTTP/1.1\r\nHost: evil\r\n\r\nGET")
def test_method(judge: Judge, connection_class: Any, method: Any) -> None:
    with make_pool(connection_class) as pool:
        got = judge.one(lambda: pool.urlopen(method, "/"))
    if got is not None:
        assert got.method == method.encode()
        assert got.target == b"/"
        assert_only(got, b"content-length")


@cases
@given(path=texts)
def test_path(judge: Judge, connection_class: Any, path: str) -> None:
    with make_pool(connection_class) as pool:
        got = judge.one(lambda: pool.request("GET", "/" + path))
    if got is not None:
        assert_only(got)
        assert got.values(b"host") == [b"good.example"]


@cases
@given(url=st.one_of(texts, texts.map("http://good.example/".__add__), texts.map("http:".__add__)))
def test_pool_url(judge: Judge, connection_class: Any, url: str) -> None:
    with make_pool(connection_class) as pool:
        got = judge.one(lambda: pool.urlopen("GET", url, assert_same_host=False), raw_target=True)
    if got is not None:
        assert_only(got)


@cases
@given(url=anything)
def test_url_of_any_type(judge: Judge, connection_class: Any, url: Any) -> None:
    manager = prepared(PoolManager(retries=False), connection_class)
    with manager, pytest.MonkeyPatch.context() as patch:
        patch.setattr("urllib4._caller.warnings.warn", lambda *args, **kw: None)  # no scheme
        got = judge.one(lambda: manager.request("GET", url))
    if got is not None:
        assert_only(got)


@cases
@given(host=texts, rest=st.sampled_from(["/", ":80/", "", "?q", "#f"]))
def test_host_of_a_url(judge: Judge, connection_class: Any, host: str, rest: str) -> None:
    manager = prepared(PoolManager(retries=False), connection_class)
    with manager:
        got = judge.one(lambda: manager.request("GET", f"http://{host}{rest}"))
    if got is not None:
        assert_only(got)


@cases
@given(userinfo=texts)
def test_userinfo_of_a_url(judge: Judge, connection_class: Any, userinfo: str) -> None:
    """It is never sent: neither in the target nor as part of the Host."""
    manager = prepared(PoolManager(retries=False), connection_class)
    url = f"http://zq{userinfo}zq@good.example/"
    with manager:
        got = judge.one(lambda: manager.request("GET", url))
    if got is not None:
        assert_only(got)
        if not set(userinfo) & set("/?#\\"):
            assert got.values(b"host") == [b"good.example"]
            assert got.target == b"/"


@cases
@given(host=anything, port=st.sampled_from([80, 8080, None, 0]))
def test_host_of_a_pool(judge: Judge, connection_class: Any, host: Any, port: Any) -> None:
    def call() -> None:
        with make_pool(connection_class, host, port) as pool:
            pool.request("GET", "/")

    got = judge.one(call)
    if got is not None:
        assert_only(got)


@cases
@given(host=texts, fragment=texts, query=texts)
def test_parts_of_a_url(
    judge: Judge, connection_class: Any, host: str, fragment: str, query: str
) -> None:
    manager = prepared(PoolManager(retries=False), connection_class)
    with manager:
        got = judge.one(
            lambda: manager.request("GET", f"http://good.example/{host}?{query}#{fragment}")
        )
    if got is not None:
        assert_only(got)
        assert got.values(b"host") == [b"good.example"]


# -- fields ----------------------------------------------------------------------------------------


def expected_lines(pairs: list[tuple[Any, Any]]) -> set[tuple[bytes, bytes]]:
    """What a caller may find at the server: each pair, without blanks around the value."""

    def raw(value: Any) -> bytes:
        return value if isinstance(value, bytes) else str(value).encode("latin-1", "replace")

    return {
        (raw(name).lower(), raw(value).strip(b" \t"))
        for name, value in pairs
        if value != SKIP_HEADER
    }


def assert_fields(got: Request, pairs: list[tuple[Any, Any]]) -> None:
    """The server got what was given and what is automatic, and nothing else."""
    for name, value in got.fields:
        automatic = AUTOMATIC | {b"content-length", b"transfer-encoding"}
        assert name in automatic or (name, value) in expected_lines(pairs), (name, value)


def keeps_host(pairs: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Return the pairs that do not ask to leave the Host out: the one way to none at all."""
    return [(name, value) for name, value in pairs if not (is_host(name) and value == SKIP_HEADER)]


def is_host(name: Any) -> bool:
    return lower(name) == "host"


def lower(name: Any) -> str:
    return (name.decode("latin-1") if isinstance(name, bytes) else str(name)).lower()


def brings_host(pairs: list[tuple[Any, Any]]) -> bool:
    return any(is_host(name) for name, _ in pairs)


@cases
@given(
    pairs=header_lists,
    container=containers,
    method=st.sampled_from(["GET", "POST"]),
    body=st.sampled_from([None, b"", b"12345", "text"]),
    chunked=st.booleans(),
)
@example([("Host", "a"), (b"host", "b")], list, "GET", None, False)
@example([("Content-Length", "5"), ("content-length", "5")], list, "POST", b"12345", False)
@example([("Transfer-Encoding", "\x0bchunked")], list, "POST", b"12345", False)
@example([("Transfer-Encoding", "chunked, chunked")], list, "POST", b"12345", False)
@example([("Content-Length", "5")], list, "POST", b"12345", True)
def test_headers_of_a_request_by_pool(
    judge: Judge,
    connection_class: Any,
    pairs: list[tuple[Any, Any]],
    container: Any,
    method: str,
    body: Any,
    chunked: bool,
) -> None:
    pairs = keeps_host(pairs)
    with make_pool(connection_class) as pool:
        got = judge.one(
            lambda: pool.urlopen(method, "/", body=body, headers=container(pairs), chunked=chunked),
            raw_host=brings_host(pairs),
        )
    if got is not None:
        assert_fields(got, pairs)
        expected = b"" if body is None else body if isinstance(body, bytes) else body.encode()
        assert got.body == expected


@cases
@given(pairs=header_lists, container=containers)
def test_headers_of_a_manager(
    judge: Judge, connection_class: Any, pairs: list[tuple[Any, Any]], container: Any
) -> None:
    pairs = keeps_host(pairs)

    def call() -> None:
        manager = prepared(PoolManager(retries=False, headers=container(pairs)), connection_class)
        with manager:
            manager.request("GET", "http://good.example/")

    got = judge.one(call, raw_host=brings_host(pairs))
    if got is not None:
        assert_fields(got, pairs)


@cases
@given(pairs=header_lists)
def test_headers_of_a_connection(
    judge: Judge, connection_class: Any, pairs: list[tuple[Any, Any]]
) -> None:
    pairs = keeps_host(pairs)

    def call() -> None:
        conn = connection_class("good.example", 80)
        try:
            conn.request("POST", "/", body=b"12345", headers=pairs)
            conn.getresponse().close()
        finally:
            conn.close()

    got = judge.one(call, raw_host=brings_host(pairs))
    if got is not None:
        assert_fields(got, pairs)
        assert got.body == b"12345"


@cases
@given(method=texts, target=texts)
def test_request_line_of_a_connection(
    judge: Judge, connection_class: Any, method: str, target: str
) -> None:
    """A target that is given by hand is one word, whatever else it is."""

    def call() -> None:
        conn = connection_class("good.example", 80)
        try:
            conn.request(method, target)
            conn.getresponse().close()
        finally:
            conn.close()

    got = judge.one(call, raw_target=True)
    if got is not None:
        assert got.method == method.encode()
        assert got.target == (target.encode() or b"/")
        assert_only(got, b"content-length")


@cases
@given(authority=texts)
def test_absolute_target_of_a_connection(
    judge: Judge, connection_class: Any, authority: str
) -> None:
    """The Host field follows from it."""

    def call() -> None:
        conn = connection_class("good.example", 80)
        try:
            conn.request("GET", f"http://{authority}/x")
            conn.getresponse().close()
        finally:
            conn.close()

    got = judge.one(call, raw_target=True)
    if got is not None:
        assert_only(got)


@cases
@given(
    method=st.one_of(st.just("GET"), texts),
    target=st.one_of(st.just("/"), texts, texts.map("http://".__add__)),
    pairs=header_lists,
    skip_host=st.booleans(),
)
@example("GET", "/", [("Host", "other.example")], False)
@example("GET", "/", [("Content-Length", "0"), ("Transfer-Encoding", "chunked")], False)
@example("GET", "/", [("Content-Length", "0"), ("Content-Length", "0")], False)
@example("GET", "http://user:secret@good.example/", [], False)
@example("GET", "/", [(b"TRANSFER-ENCODING", "0")], False)
def test_steps_by_hand(
    judge: Judge,
    connection_class: Any,
    method: str,
    target: str,
    pairs: list[tuple[Any, Any]],
    skip_host: bool,
) -> None:
    """Who builds a request with the methods of http.client gets the same checks.

    How long the body is must be known by who sends it: here there is none.
    """
    pairs = [
        (name, value)
        for name, value in keeps_host(pairs)
        if value == "0" or lower(name) not in ("content-length", "transfer-encoding")
    ]
    skip_host = skip_host and brings_host(pairs)

    def call() -> None:
        conn = connection_class("good.example", 80)
        try:
            conn.putrequest(method, target, skip_host=skip_host)
            for name, value in pairs:
                conn.putheader(name, value)
            conn.endheaders()
            conn.sock.recv(65536)
        finally:
            conn.close()

    got = judge.one(call, raw_target=True, raw_host=brings_host(pairs))
    if got is not None:
        assert_fields(got, pairs)


@cases
@given(host=anything)
def test_host_of_a_connection(judge: Judge, connection_class: Any, host: Any) -> None:
    def call() -> None:
        conn = connection_class(host)
        try:
            conn.request("GET", "/")
            conn.getresponse().close()
        finally:
            conn.close()

    got = judge.one(call)
    if got is not None:
        assert_only(got)


@cases
@given(
    agent=st.one_of(st.none(), texts),
    basic=st.one_of(st.none(), texts),
    proxy_basic=st.one_of(st.none(), texts),
    coding=st.one_of(st.none(), texts, st.lists(texts, max_size=2)),
)
def test_make_headers(
    judge: Judge, connection_class: Any, agent: Any, basic: Any, proxy_basic: Any, coding: Any
) -> None:
    def call() -> None:
        headers = make_headers(
            user_agent=agent, basic_auth=basic, proxy_basic_auth=proxy_basic, accept_encoding=coding
        )
        with make_pool(connection_class) as pool:
            pool.request("GET", "/", headers=headers)

    got = judge.one(call)
    if got is not None:
        assert_only(got, b"authorization", b"proxy-authorization")


# -- proxies ---------------------------------------------------------------------------------------


@cases
@given(host=st.one_of(texts, st.just("target.example")), pairs=header_lists)
@example("target.example", [("Content-Length", "5")])
@example("target.example", [("Transfer-Encoding", "chunked")])
@example("target.example", [("Transfer-Encoding", "0")])
@example("target.example", [(b"transfer-encoding", 0)])
@example("target.example", [("Content-Length", "0"), (b"content-length", 0)])
@example("target.example", [(b"Host", "evil.example")])
@example("target.example", [("Host", "a"), (b"host", "b")])
@example("target.example", [("Expect", SKIP_HEADER)])
@example("target.example", [("User-Agent", SKIP_HEADER)])
@example("target.example", [("Content-Length", SKIP_HEADER)])
def test_tunnel(
    judge: Judge, connection_class: Any, host: str, pairs: list[tuple[Any, Any]]
) -> None:
    """CONNECT has no body, one Host, and a name that is a name."""
    pairs = keeps_host(pairs)

    def call() -> None:
        conn = connection_class("proxy.example", 8080)
        try:
            conn.set_tunnel(host, 443, headers=dict(pairs))
            conn.request("GET", "/inside")
            conn.getresponse().close()
        finally:
            conn.close()

    got = judge.tunnelled(call, raw_host=brings_host(pairs))
    if got is not None:
        connect, inner = got
        assert_fields(connect, pairs)
        assert inner.target == b"/inside"
        assert_only(inner)


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"Transfer-Encoding": "chunked"}, "CONNECT has no body"),
        ({"Transfer-Encoding": "0"}, "CONNECT has no body"),
        ({b"TRANSFER-encoding": b"identity"}, "CONNECT has no body"),
        ({"Content-Length": "5"}, "CONNECT has no body"),
        ({b"content-length": 5}, "CONNECT has no body"),
        ({"Content-Length": "0", "content-length": "0"}, "one Content-Length header"),
    ],
)
def test_framing_of_a_connect_is_refused_where_it_is_given(
    headers: dict[Any, Any], message: str
) -> None:
    """RFC 9110, 9.3.6; the proxy would take the start of what is tunnelled for the body."""
    conn = HTTPConnection("proxy.example", 8080)
    with pytest.raises(InvalidRequestHeaderError, match=message):
        conn.set_tunnel("target.example", 443, headers=headers)
    conn.set_tunnel("target.example", 443, headers={"Content-Length": "0"})


def test_only_automatic_fields_of_a_connect_can_be_skipped() -> None:
    """What stands for no field at all is never sent as the value of one."""
    conn = HTTPConnection("proxy.example", 8080)
    with pytest.raises(ValueError, match="SKIP_HEADER only supports"):
        conn.set_tunnel("target.example", 443, headers={"Expect": SKIP_HEADER})
    conn.set_tunnel("target.example", 443, headers={"Host": SKIP_HEADER})


@cases
@given(pairs=header_lists, path=texts, own=header_lists)
def test_forwarding_proxy(
    judge: Judge,
    connection_class: Any,
    pairs: list[tuple[Any, Any]],
    path: str,
    own: list[tuple[Any, Any]],
) -> None:
    pairs, own = keeps_host(pairs), keeps_host(own)
    both = [*pairs, *own]

    def call() -> None:
        manager = prepared(
            ProxyManager("http://proxy.example:3128", proxy_headers=dict(pairs), retries=False),
            connection_class,
        )
        with manager:
            manager.request("GET", f"http://origin.example/{path}", headers=dict(own))

    got = judge.one(call, raw_host=brings_host(both))
    if got is not None:
        assert got.target.startswith(b"http://origin.example/")
        for name, value in got.fields:
            assert name in AUTOMATIC | {b"accept", b"content-length", b"transfer-encoding"} or (
                (name, value) in expected_lines(both)
            )


@cases
@given(host=texts, userinfo=texts)
def test_host_behind_a_proxy(judge: Judge, connection_class: Any, host: str, userinfo: str) -> None:
    def call() -> None:
        manager = prepared(
            ProxyManager("http://proxy.example:3128", retries=False), connection_class
        )
        with manager:
            manager.request("GET", f"http://{userinfo}@{host}/")

    got = judge.one(call)
    if got is not None:
        assert_only(got, b"accept")


# -- fields, forms, JSON ---------------------------------------------------------------------------


@cases
@given(pairs=st.lists(st.tuples(texts, st.one_of(texts, raws)), max_size=3), url=texts)
def test_query_fields(
    judge: Judge, connection_class: Any, pairs: list[tuple[Any, Any]], url: str
) -> None:
    with make_pool(connection_class) as pool:
        got = judge.one(lambda: pool.request("GET", "/" + url, fields=pairs))
    if got is not None:
        assert_only(got)


@cases
@given(pairs=st.lists(st.tuples(texts, texts), min_size=1, max_size=3))
def test_form_fields(judge: Judge, connection_class: Any, pairs: list[tuple[str, str]]) -> None:
    with make_pool(connection_class) as pool:
        got = judge.one(lambda: pool.request("POST", "/", fields=pairs, encode_multipart=False))
    if got is not None:
        assert_only(got, b"content-type", b"content-length")
        assert parse_qsl(got.body.decode(), keep_blank_values=True) == pairs


filenames = st.one_of(texts, raws)
parts = st.one_of(
    st.tuples(filenames, st.one_of(texts, raws)),
    st.tuples(filenames, st.tuples(filenames, raws)),
    st.tuples(filenames, st.tuples(filenames, raws, texts)),
    st.tuples(filenames, anything),
)
boundaries = st.one_of(
    st.none(), st.none(), texts, st.sampled_from(["boundary", "b", "a b", "x:y", "--", "z" * 71])
)


def unquoted(value: Any) -> bytes:
    """How a name looks inside the quotes: only what could end it is encoded."""
    data = value if isinstance(value, bytes) else value.encode()
    return data.replace(b'"', b"%22").replace(b"\r", b"%0D").replace(b"\n", b"%0A")


@cases
@given(fields=st.lists(parts, min_size=1, max_size=3), boundary=boundaries)
def test_multipart(judge: Judge, connection_class: Any, fields: list[Any], boundary: Any) -> None:
    with make_pool(connection_class) as pool:
        got = judge.one(
            lambda: pool.request("POST", "/", fields=fields, multipart_boundary=boundary)
        )
    if got is None:
        return
    assert_only(got, b"content-type", b"content-length")
    (content_type,) = got.values(b"content-type")
    found = parse_multipart(content_type, got.body)
    assert [part.name for part in found] == [unquoted(name) for name, _ in fields]
    for part, (_, value) in zip(found, fields, strict=True):
        assert {name for name, _ in part.fields} <= {b"content-disposition", b"content-type"}
        given = value if isinstance(value, tuple) else (None, value)
        assert part.filename == (None if given[0] is None else unquoted(given[0]))


@cases
@given(
    name=texts,
    pairs=st.dictionaries(texts, texts, max_size=2),
    kind=st.one_of(st.none(), texts),
    disposition=st.one_of(st.none(), st.sampled_from(["form-data", "attachment"]), texts),
    location=st.one_of(st.none(), texts),
)
@example("a", {"X: y\r\nInjected": "1"}, None, None, None)
@example("a", {"--boundary": "1"}, None, None, None)
@example("a", {"": "1"}, None, None, None)
def test_headers_of_a_part(
    judge: Judge,
    connection_class: Any,
    name: str,
    pairs: dict[str, str],
    kind: Any,
    disposition: Any,
    location: Any,
) -> None:
    def call() -> None:
        field = RequestField(name, b"data", filename="f", headers=pairs)
        field.make_multipart(
            content_type=kind, content_disposition=disposition, content_location=location
        )
        with make_pool(connection_class) as pool:
            pool.request("POST", "/", fields=[field], multipart_boundary="boundary")

    got = judge.one(call)
    if got is None or disposition not in (None, "form-data"):
        return
    allowed = {key.lower().encode("utf-8", "replace") for key in pairs}
    allowed |= {b"content-disposition", b"content-type", b"content-location"}
    (part,) = parse_multipart(got.values(b"content-type")[0], got.body)
    assert {field for field, _ in part.fields} <= allowed
    assert part.data == b"data"


@cases
@given(
    given=st.sampled_from(
        ["bound", "boundary", "boundaryx", "xboundary", '"boundary"', "BOUNDARY"]
    ),
    boundary=st.sampled_from(["boundary", "bound", "b"]),
)
def test_type_of_a_form(judge: Judge, connection_class: Any, given: str, boundary: str) -> None:
    """A Content-Type that names another boundary would make the body unreadable."""
    headers = {"Content-Type": f"multipart/form-data; boundary={given}"}
    with make_pool(connection_class) as pool:
        got = judge.one(
            lambda: pool.request(
                "POST", "/", fields={"a": "1"}, headers=headers, multipart_boundary=boundary
            )
        )
    assert got is not None
    (part,) = parse_multipart(got.values(b"content-type")[0], got.body)
    assert part.data == b"1"


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)


@cases
@given(value=json_values, pairs=header_lists)
def test_json(
    judge: Judge, connection_class: Any, value: Any, pairs: list[tuple[Any, Any]]
) -> None:
    pairs = keeps_host(pairs)
    with make_pool(connection_class) as pool:
        got = judge.one(
            lambda: pool.request("POST", "/", json=value, headers=as_header_dict(pairs)),
            raw_host=brings_host(pairs),
        )
    if got is not None and value is not None:
        assert json.loads(got.body) == value


# -- bodies ----------------------------------------------------------------------------------------


def as_view(data: bytes) -> memoryview:
    return memoryview(data)


chunks = st.lists(
    st.one_of(
        texts.filter(lambda text: "\ud800" not in text),
        raws,
        raws.map(bytearray),
        raws.map(as_view),
        raws.map(lambda data: memoryview(data * 4).cast("i") if data else b""),
    ),
    max_size=5,
)


def joined(pieces: list[Any]) -> bytes:
    return b"".join(
        piece.encode() if isinstance(piece, str) else memoryview(piece).tobytes()
        for piece in pieces
    )


@cases
@given(pieces=chunks, chunked=st.booleans())
@example(["5\r\nhello\r\n0\r\n\r\n"], True)
def test_iterators(judge: Judge, connection_class: Any, pieces: list[Any], chunked: bool) -> None:
    """What looks like framing inside a chunk is content; an empty chunk is not the last one."""
    with make_pool(connection_class) as pool:
        got = judge.one(lambda: pool.urlopen("POST", "/", body=iter(pieces), chunked=chunked))
    assert got is not None
    assert got.body == joined(pieces)
    assert_only(got, b"transfer-encoding")


@cases
@given(data=raws, chunked=st.booleans(), text=st.booleans())
def test_files(judge: Judge, connection_class: Any, data: bytes, chunked: bool, text: bool) -> None:
    file: Any = io.StringIO(data.decode("latin-1"), newline="") if text else io.BytesIO(data)
    with make_pool(connection_class) as pool:
        got = judge.one(lambda: pool.urlopen("PUT", "/", body=file, chunked=chunked))
    assert got is not None
    assert got.body == (data.decode("latin-1").encode() if text else data)


@cases
@given(pieces=chunks, declared=st.integers(0, 40))
def test_a_declared_length(
    judge: Judge, connection_class: Any, pieces: list[Any], declared: int
) -> None:
    """The length of an iterator is found out on the way: a wrong one never makes a whole request.

    What was sent by then is the start of one that the server waits for in vain.
    """
    real = len(joined(pieces))
    headers = {"Content-Length": str(declared)}
    with make_pool(connection_class) as pool:
        if real == declared:
            got = judge.one(lambda: pool.urlopen("POST", "/", body=iter(pieces), headers=headers))
            assert got is not None
            assert got.body == joined(pieces)
            return
        with pytest.raises(ValueError, match="Content-Length"):
            pool.urlopen("POST", "/", body=iter(pieces), headers=headers)
    for data in judge._recorder.take():
        body = data.partition(b"\r\n\r\n")[2]
        assert len(body) <= declared
        assert joined(pieces).startswith(body)
    judge._counts["a declared length refused"] += 1


@cases
@given(pieces=chunks, wrong=st.sampled_from([1, None, [1], 1.5, object(), "\ud800"]))
def test_an_iterator_that_goes_wrong(
    judge: Judge, connection_class: Any, pieces: list[Any], wrong: Any
) -> None:
    """The last chunk is never sent, or the server would take the start for the whole."""
    with make_pool(connection_class) as pool, pytest.raises(DOCUMENTED):
        pool.urlopen("POST", "/", body=iter([*pieces, wrong]))
    for data in judge._recorder.take():
        with pytest.raises(AssertionError):
            parse_one(data)
    judge._counts["an iterator that goes wrong refused"] += 1


def test_userinfo_is_warned_about(recorder: Recorder) -> None:
    Target.address = (recorder.host, recorder.port)
    with (
        prepared(PoolManager(retries=False), AnyHost) as manager,
        pytest.warns(SecurityWarning, match="credentials"),
    ):
        manager.request("GET", "http://user:secret@good.example/")
    (data,) = recorder.take()
    assert b"secret" not in data
