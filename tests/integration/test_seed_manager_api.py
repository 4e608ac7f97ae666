"""What the page with the manager's interface adds, statement by statement (S2-20 to S2-49).

Its examples run word for word in ``tests/doctests/test_seed_examples.py``.
"""

from __future__ import annotations

import email.parser
import email.policy
import inspect
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from dummyserver.certs import Certificates
from dummyserver.counting import CountingServer, Exchange, ok
from dummyserver.proxy import Proxy
from dummyserver.script import ScriptedServer
from dummyserver.server import DummyServer
from urllib4 import PoolManager, ProxyManager
from urllib4.connectionpool import port_by_scheme
from urllib4.exceptions import LocationValueError, URLSchemeUnknown
from urllib4.poolmanager import BasePoolKey, HTTPPoolKey, HTTPSPoolKey

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def counting() -> Iterator[CountingServer]:
    with CountingServer() as running:
        yield running


@pytest.fixture
def manager() -> Iterator[PoolManager]:
    with PoolManager() as running:
        yield running


def parameters(function: Callable[..., Any]) -> list[tuple[str, Any]]:
    """Names and defaults, without ``self``."""
    return [
        (name, parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
        if name != "self"
    ]


def keys_of(manager: PoolManager) -> set[Any]:
    return manager.pools.keys()


REQUIRED = inspect.Parameter.empty


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        pytest.param(PoolManager, [("num_pools", 10), ("headers", None)], id="S2-20"),
        pytest.param(
            PoolManager.connection_from_host,
            [("host", REQUIRED), ("port", None), ("scheme", "http")],
            id="S2-28",
        ),
        pytest.param(
            PoolManager.request_encode_body,
            [
                ("method", REQUIRED),
                ("url", REQUIRED),
                ("fields", None),
                ("headers", None),
                ("encode_multipart", True),
                ("multipart_boundary", None),
            ],
            id="S2-33",
        ),
        pytest.param(
            PoolManager.request_encode_url,
            [("method", REQUIRED), ("url", REQUIRED), ("fields", None), ("headers", None)],
            id="S2-40",
        ),
        pytest.param(
            PoolManager.urlopen,
            [("method", REQUIRED), ("url", REQUIRED), ("redirect", True)],
            id="S2-41",
        ),
        pytest.param(
            ProxyManager,
            [
                ("proxy_url", REQUIRED),
                ("num_pools", 10),
                ("headers", None),
                ("proxy_headers", None),
            ],
            id="S2-46",
        ),
    ],
)
def test_parameters_come_in_the_order_of_the_page(
    function: Callable[..., Any], expected: list[tuple[str, Any]]
) -> None:
    """S2-20, S2-28, S2-33, S2-40, S2-41, S2-46: positional calls of old programs work."""
    assert parameters(function)[: len(expected)] == expected
    if function is not PoolManager.connection_from_host:
        last = list(inspect.signature(function).parameters.values())[-1]
        assert last.kind is inspect.Parameter.VAR_KEYWORD


def test_num_pools_is_how_many_are_kept() -> None:
    """S2-21."""
    with PoolManager(num_pools=3) as manager:
        first = manager.connection_from_host("host0")
        for number in range(1, 3):
            manager.connection_from_host(f"host{number}")
        assert manager.connection_from_host("host0") is first
        manager.connection_from_host("host3")
        assert {key.key_host for key in keys_of(manager)} == {"host2", "host0", "host3"}


def test_headers_of_the_manager_go_with_requests_that_have_none(server: DummyServer) -> None:
    """S2-22: headers of a request replace them, they are not merged."""
    url = f"{server.http_url}/headers"
    with PoolManager(headers={"X-Default": "1"}) as manager:
        assert ["X-Default", "1"] in manager.request("GET", url).json()["headers"]
        assert ["X-Default", "1"] in manager.urlopen("GET", url).json()["headers"]
        own = manager.request("GET", url, headers={"X-Own": "2"}).json()["headers"]
        assert ["X-Own", "2"] in own
        assert "X-Default" not in dict(own)
        assert "X-Default" not in dict(manager.request("GET", url, headers={}).json()["headers"])


def test_further_keywords_reach_new_pools() -> None:
    """S2-23."""
    with PoolManager(maxsize=7, block=True, cert_reqs="CERT_NONE") as manager:
        plain = manager.connection_from_url("http://a.example")
        assert (plain.pool.maxsize, plain.block) == (7, True)
        assert manager.connection_from_url("https://a.example").cert_reqs == "CERT_NONE"


def test_three_requests_to_two_hosts_are_two_pools(counting: CountingServer) -> None:
    """S2-24."""
    with PoolManager(num_pools=2) as manager:
        manager.request("GET", f"http://127.0.0.1:{counting.port}/")
        manager.request("GET", f"http://127.0.0.1:{counting.port}/mail")
        manager.request("GET", f"http://localhost:{counting.port}/")
        assert len(manager.pools) == 2
    assert counting.connections == 2


def test_clear_empties_the_store(counting: CountingServer, manager: PoolManager) -> None:
    """S2-25: the manager goes on working with new pools."""
    manager.request("GET", counting.url)
    manager.clear()
    assert len(manager.pools) == 0
    assert manager.request("GET", counting.url).status == 200
    assert (len(manager.pools), counting.connections) == (1, 2)


def test_clear_closes_idle_connections_and_lets_those_in_flight_finish(
    script: ScriptedServer, manager: PoolManager
) -> None:
    """S2-26 and D7: the one in flight is read to its end, and then not used again."""
    in_flight = script.accept().expect(b"GET /streamed ")
    in_flight.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
    script.accept().expect(b"GET /idle ").send(OK).expect_eof()
    script.accept().expect(b"GET /after ").send(OK).expect_eof()
    pool = manager.connection_from_url(script.url)

    response = manager.request("GET", f"{script.url}/streamed", preload_content=False)
    assert response.read(3) == b"abc"
    manager.request("GET", f"{script.url}/idle")
    manager.clear()
    in_flight.send(b"def").expect_eof()
    assert response.read() == b"def"
    assert pool.request("GET", "/after").status == 200


def test_a_context_needs_a_scheme_with_a_key_function(manager: PoolManager) -> None:
    """S2-27."""
    context = {"host": "a.example", "port": 80}
    pool = manager.connection_from_context({**context, "scheme": "http"})
    assert pool is manager.connection_from_host("a.example")
    with pytest.raises(KeyError, match="scheme"):
        manager.connection_from_context(dict(context))
    with pytest.raises(URLSchemeUnknown, match="gopher"):
        manager.connection_from_context({**context, "scheme": "gopher"})
    manager.key_fn_by_scheme["gopher"] = manager.key_fn_by_scheme["http"]
    manager.pool_classes_by_scheme["gopher"] = manager.pool_classes_by_scheme["http"]
    assert manager.connection_from_context({**context, "scheme": "gopher"}).host == "a.example"


@pytest.mark.parametrize(("scheme", "port"), [("http", 80), ("https", 443)])
def test_the_port_follows_from_the_scheme(manager: PoolManager, scheme: str, port: int) -> None:
    """S2-28."""
    assert port_by_scheme[scheme] == port
    pool = manager.connection_from_host("a.example", scheme=scheme)
    assert (pool.scheme, pool.port) == (scheme, port)


def test_a_pool_key_alone_finds_or_makes_a_pool(
    counting: CountingServer, manager: PoolManager
) -> None:
    """S2-29 and D3: the key's scheme, host and port are enough."""
    key = BasePoolKey("http", counting.host, counting.port)
    pool = manager.connection_from_pool_key(key)
    assert pool.request("GET", "/x").data == b"/x"
    assert manager.connection_from_pool_key(BasePoolKey(*key)) is pool
    (own,) = {type(key) for key in keys_of(manager)}
    assert own is BasePoolKey
    tls = manager.connection_from_pool_key(HTTPSPoolKey("https", "b.example", 444, *[None] * 11))
    assert (tls.scheme, tls.host, tls.port) == ("https", "b.example", 444)


def test_a_pool_by_url_has_the_managers_own_parameters() -> None:
    """S2-30."""
    with PoolManager(block=True, maxsize=3) as manager:
        pool = manager.connection_from_url("http://a.example/path?query")
        assert (pool.block, pool.pool.maxsize, pool.host) == (True, 3, "a.example")


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS", "get"])
def test_fields_go_into_the_url_by_method(
    counting: CountingServer, manager: PoolManager, method: str
) -> None:
    """S2-31."""
    manager.request(method, counting.url, fields={"a": "b c"})
    exchange = counting.exchanges[0]
    assert (exchange.method, exchange.target) == (method.upper(), "/?a=b+c")
    assert exchange.body == b""


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "QUERY"])
def test_fields_go_into_the_body_by_method(
    counting: CountingServer, manager: PoolManager, method: str
) -> None:
    """S2-31."""
    manager.request(method, counting.url, fields={"a": "b"})
    exchange = counting.exchanges[0]
    assert (exchange.method, exchange.target) == (method, "/")
    assert b'name="a"' in exchange.body


def test_a_mapping_in_third_place_is_taken_as_fields(
    counting: CountingServer, manager: PoolManager
) -> None:
    """D4: the page's order of arguments, beside that of today where `body` comes third."""
    manager.request("GET", counting.url, {"a": "1"})
    manager.request("POST", counting.url, {"a": "1"}, encode_multipart=False)
    manager.request("POST", counting.url, b"a=2")
    assert counting.exchanges[0].target == "/?a=1"
    assert [exchange.body for exchange in counting.exchanges] == [b"", b"a=1", b"a=2"]


def test_each_level_of_requests_gives_the_same_answer(
    server: DummyServer, manager: PoolManager
) -> None:
    """S2-32."""
    url = f"{server.http_url}/echo"
    shown = [
        manager.request("GET", url, fields={"a": "1"}).json(),
        manager.request_encode_url("GET", url, {"a": "1"}).json(),
        manager.urlopen("GET", f"{url}?a=1").json(),
    ]
    assert shown[0] == shown[1] == shown[2]
    boundary = {"multipart_boundary": "b"}
    sent = [
        manager.request("POST", url, fields={"a": "1"}, **boundary).json(),
        manager.request_encode_body("POST", url, {"a": "1"}, **boundary).json(),
        manager.urlopen(
            "POST",
            url,
            body=sent_body("b", "a", "1"),
            headers={"Content-Type": "multipart/form-data; boundary=b"},
        ).json(),
    ]
    assert sent[0] == sent[1] == sent[2]


def sent_body(boundary: str, name: str, value: str) -> bytes:
    lines = [
        f"--{boundary}",
        f'Content-Disposition: form-data; name="{name}"',
        "",
        value,
        f"--{boundary}--",
        "",
    ]
    return "\r\n".join(lines).encode()


def form_of(exchange: Exchange) -> list[EmailMessage]:
    """The parts of a multipart form, as the standard library reads them."""
    fields = exchange.head.split(b"\r\n", 1)[1]
    message = email.parser.BytesParser(EmailMessage, policy=email.policy.HTTP).parsebytes(
        fields + exchange.body
    )
    assert message.get_content_type() == "multipart/form-data"
    assert not message.defects
    return list(message.iter_parts())  # type: ignore[arg-type]


def described(part: EmailMessage) -> tuple[Any, ...]:
    return (
        part.get_param("name", header="content-disposition"),
        part.get_filename(),
        part["Content-Type"],
        part.get_payload(decode=True),
    )


def test_a_form_is_multipart_by_default(counting: CountingServer, manager: PoolManager) -> None:
    """S2-34: another parser than ours understands it."""
    manager.request_encode_body("POST", counting.url, {"a": "1", "b": "é\r\nx"})
    assert [described(part) for part in form_of(counting.exchanges[0])] == [
        ("a", None, None, b"1"),
        ("b", None, None, "é\r\nx".encode()),
    ]


def test_a_form_can_be_urlencoded(counting: CountingServer, manager: PoolManager) -> None:
    """S2-34."""
    manager.request_encode_body(
        "POST", counting.url, {"a": "1 2", "b": "é"}, encode_multipart=False
    )
    exchange = counting.exchanges[0]
    assert exchange.header("Content-Type") == "application/x-www-form-urlencoded"
    assert exchange.body == b"a=1+2&b=%C3%A9"


def test_a_file_needs_multipart(counting: CountingServer, manager: PoolManager) -> None:
    """S2-35: the error names the field and says what to do; nothing is sent."""
    fields = {"upload": ("name.txt", "content")}
    with pytest.raises(TypeError, match=r"'upload' is a file.*encode_multipart=True"):
        manager.request_encode_body("POST", counting.url, fields, encode_multipart=False)
    assert counting.connections == 0


def test_the_five_kinds_of_fields_of_the_page(
    counting: CountingServer, manager: PoolManager, tmp_path: Path
) -> None:
    """S2-36."""
    for name in ("realfile", "bazfile"):
        (tmp_path / name).write_text(f"content of {name}")
    fields = {
        "foo": "bar",
        "fakefile": ("foofile.txt", "contents of foofile"),
        "realfile": ("barfile.txt", (tmp_path / "realfile").read_text()),
        "typedfile": ("bazfile.bin", (tmp_path / "bazfile").read_text(), "image/jpeg"),
        "nonamefile": "contents of nonamefile field",
    }
    manager.request("POST", counting.url, fields=fields)
    assert [described(part) for part in form_of(counting.exchanges[0])] == [
        ("foo", None, None, b"bar"),
        ("fakefile", "foofile.txt", "text/plain", b"contents of foofile"),
        ("realfile", "barfile.txt", "text/plain", b"content of realfile"),
        ("typedfile", "bazfile.bin", "image/jpeg", b"content of bazfile"),
        ("nonamefile", None, None, b"contents of nonamefile field"),
    ]


def test_a_file_needs_no_name(counting: CountingServer, manager: PoolManager) -> None:
    """S2-37."""
    manager.request("POST", counting.url, fields={"upload": (None, b"\x00\xff", "image/png")})
    (part,) = form_of(counting.exchanges[0])
    assert described(part) == ("upload", None, "image/png", b"\x00\xff")


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("multipart/form-data", "multipart/form-data; boundary=ours"),
        ("multipart/form-data; boundary=theirs", "multipart/form-data; boundary=ours"),
        ("multipart/related; boundary=ours", "multipart/related; boundary=ours"),
        ("x/y", "x/y"),
    ],
)
def test_a_content_type_without_our_boundary_is_overwritten(
    counting: CountingServer, manager: PoolManager, given: str, sent: str
) -> None:
    """S2-38 as D5 decides it: what nobody could read is replaced, all else is kept."""
    headers = {"content-type": given, "X-Other": "1"}
    manager.request(
        "POST", counting.url, fields={"a": "1"}, headers=headers, multipart_boundary="ours"
    )
    exchange = counting.exchanges[0]
    assert exchange.header("Content-Type") == sent
    assert exchange.head.lower().count(b"content-type:") == 1
    assert exchange.header("X-Other") == "1"
    assert headers == {"content-type": given, "X-Other": "1"}


def test_the_boundary_can_be_set(counting: CountingServer, manager: PoolManager) -> None:
    """S2-39: the body is known to the byte."""
    manager.request("POST", counting.url, fields={"foo": "bar"}, multipart_boundary="--my-boundary")
    exchange = counting.exchanges[0]
    assert exchange.body == sent_body("--my-boundary", "foo", "bar")
    assert exchange.header("Content-Type") == "multipart/form-data; boundary=--my-boundary"


def test_fields_of_a_delete_go_into_the_query(
    counting: CountingServer, manager: PoolManager
) -> None:
    """S2-40."""
    manager.request_encode_url("DELETE", f"{counting.url}/x", {"a": "1"})
    exchange = counting.exchanges[0]
    assert (exchange.method, exchange.target) == ("DELETE", "/x?a=1")


def test_redirects_lead_to_other_hosts_and_only_the_target_is_sent(manager: PoolManager) -> None:
    """S2-41."""
    with CountingServer(host="127.0.0.2") as second:
        location = f"Location: {second.url}/there?b=2#fragment"
        with CountingServer(lambda exchange: ok(b"", location, status="302 Found")) as first:
            response = manager.urlopen("GET", f"{first.url}/here?a=1#top")
            assert response.data == b"/there?b=2"
            kept = manager.urlopen("GET", f"{first.url}/here", redirect=False)
            assert kept.status == 302
        assert first.exchanges[0].head.startswith(b"GET /here?a=1 HTTP/1.1\r\n")
        assert second.exchanges[0].head.startswith(b"GET /there?b=2 HTTP/1.1\r\n")
        assert second.exchanges[0].header("Host") == f"127.0.0.2:{second.port}"


@pytest.mark.filterwarnings("ignore:URLs without a scheme:FutureWarning")
@pytest.mark.parametrize("url", ["/path", "", "?query", "http:///path", "http://"])
def test_a_url_must_be_absolute(manager: PoolManager, url: str) -> None:
    """S2-42."""
    with pytest.raises(LocationValueError):
        manager.urlopen("GET", url)


PLAIN_FIELDS = ("scheme", "host", "port")
HTTP_FIELDS = (*PLAIN_FIELDS, "timeout", "retries", "strict", "block", "source_address")
HTTPS_FIELDS = (
    *HTTP_FIELDS, "key_file", "cert_file", "cert_reqs", "ca_certs", "ssl_version", "ca_cert_dir",
)  # fmt: skip


@pytest.mark.parametrize(
    ("cls", "fields"),
    [
        pytest.param(BasePoolKey, PLAIN_FIELDS, id="S2-43"),
        pytest.param(HTTPPoolKey, HTTP_FIELDS, id="S2-44"),
        pytest.param(HTTPSPoolKey, HTTPS_FIELDS, id="S2-45"),
    ],
)
def test_pool_keys_are_tuples_with_names(cls: Any, fields: tuple[str, ...]) -> None:
    """S2-43, S2-44, S2-45 and D2: the order of the fields, and what a tuple can do."""
    assert cls._fields == fields
    values = tuple(range(len(fields)))
    key = cls(*values)
    assert isinstance(key, tuple)
    for number, name in enumerate(fields):
        assert getattr(key, name) == key[number] == number
        assert key.index(number) == number
        assert key.count(number) == 1
    with pytest.raises(ValueError):
        key.index("absent")
    assert key == cls(**dict(zip(fields, values, strict=True)))
    assert hash(key) == hash(cls(*values))


def test_a_proxy_manager_forwards_http_and_tunnels_https(
    counting: CountingServer, certs: Certificates
) -> None:
    """S2-47: to the origins it looks like a manager without a proxy."""
    with (
        CountingServer(tls=certs.server_context()) as secure,
        Proxy() as proxy,
        ProxyManager(proxy.url, ca_certs=certs.ca_file) as manager,
    ):
        assert manager.request("GET", f"{counting.url}/plain?a=1").data == b"/plain?a=1"
        assert manager.request("POST", f"{counting.url}/post", body=b"tea").data == b"/post"
        assert manager.request("GET", f"{secure.url}/secret").data == b"/secret"
    assert [head.split(b"\r\n")[0].decode() for head in proxy.log] == [
        f"GET {counting.url}/plain?a=1 HTTP/1.1",
        f"POST {counting.url}/post HTTP/1.1",
        f"CONNECT 127.0.0.1:{secure.port} HTTP/1.1",
    ]
    assert counting.exchanges[1].body == b"tea"
    assert secure.exchanges[0].head.startswith(b"GET /secret HTTP/1.1\r\n")
    assert secure.exchanges[0].header("Host") == f"127.0.0.1:{secure.port}"


def test_proxy_headers_go_with_each_http_request_and_once_with_a_tunnel(
    counting: CountingServer, certs: Certificates
) -> None:
    """S2-48: the origin behind a tunnel never sees them."""
    with (
        CountingServer(tls=certs.server_context()) as secure,
        Proxy() as proxy,
        ProxyManager(
            proxy.url, proxy_headers={"X-For-Proxy": "secret"}, ca_certs=certs.ca_file
        ) as manager,
    ):
        for base in (counting.url, secure.url):
            for _ in range(2):
                assert manager.request("GET", f"{base}/", headers={"X-Own": "1"}).status == 200
    lines = [head.split(b" ", 1)[0] for head in proxy.log]
    assert lines == [b"GET", b"GET", b"CONNECT"]
    assert [head.lower().count(b"\r\nx-for-proxy: secret\r\n") for head in proxy.log] == [1, 1, 1]
    assert len(secure.exchanges) == 2
    for exchange in secure.exchanges:
        assert exchange.header("X-Own") == "1"
        assert exchange.header("X-For-Proxy") is None
    assert b"X-Own" not in proxy.log[2]


def test_pools_of_a_proxy_manager_are_counted_as_on_the_page(
    counting: CountingServer, certs: Certificates
) -> None:
    """S2-49: two http hosts are one pool, two https hosts are two more."""
    with (
        CountingServer(tls=certs.server_context()) as secure,
        Proxy() as proxy,
        ProxyManager(proxy.url, ca_certs=certs.ca_file) as manager,
    ):
        manager.request("GET", f"http://127.0.0.1:{counting.port}/")
        manager.request("GET", f"http://localhost:{counting.port}/")
        assert len(manager.pools) == 1
        manager.request("GET", f"https://127.0.0.1:{secure.port}/")
        manager.request("GET", f"https://localhost:{secure.port}/")
        assert len(manager.pools) == 3
