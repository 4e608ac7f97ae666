"""``request()``: where fields, JSON and bodies go, and what Content-Type says about them."""

from __future__ import annotations

import inspect
import io
from collections.abc import Iterator
from typing import Any

import pytest

import urllib4
from dummyserver.script import ScriptedServer
from dummyserver.server import DummyServer
from urllib4 import HTTPConnectionPool, HTTPHeaderDict, PoolManager
from urllib4.exceptions import MaxRetryError, ReadTimeoutError

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(params=["pool", "manager"])
def echo(request: pytest.FixtureRequest, server: DummyServer) -> Iterator[Any]:
    """Send a request, through a pool and through a manager, and return it as the server saw it."""
    if request.param == "pool":
        with HTTPConnectionPool("127.0.0.1", server.http_port) as pool:
            yield lambda method, path="/echo", **kw: pool.request(method, path, **kw).json()
    else:
        with PoolManager() as manager:
            yield lambda method, path="/echo", **kw: manager.request(
                method, server.http_url + path, **kw
            ).json()


def content_type(seen: dict[str, Any]) -> str | None:
    return dict(seen["headers"]).get("Content-Type")


# -- JSON -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PATCH"])
def test_json_is_compact_utf_8_with_its_type(echo: Any, method: str) -> None:
    seen = echo(method, json={"ä": [1, None, "☃"]})
    assert seen["body"].encode("latin-1") == '{"ä":[1,null,"☃"]}'.encode()
    assert content_type(seen) == "application/json"


@pytest.mark.parametrize("value", [0, False, "", [], {}])
def test_json_that_is_false_is_sent(echo: Any, value: Any) -> None:
    assert content_type(echo("POST", json=value)) == "application/json"


@pytest.mark.parametrize("name", ["Content-Type", "content-type", "CONTENT-TYPE", b"Content-type"])
def test_a_type_of_the_callers_is_kept_in_any_spelling(echo: Any, name: Any) -> None:
    seen = echo("POST", json=1, headers={name: "application/vnd.x+json"})
    values = [value for field, value in seen["headers"] if field == "Content-Type"]
    assert values == ["application/vnd.x+json"]


@pytest.mark.parametrize("kind", [dict, HTTPHeaderDict])
def test_the_callers_headers_are_not_changed(echo: Any, kind: Any) -> None:
    headers = kind({"X": "y"})
    echo("POST", json=1, headers=headers)
    echo("POST", fields={"a": "b"}, headers=headers)
    echo("POST", fields={"a": "b"}, encode_multipart=False, headers=headers)
    assert dict(headers.items()) == {"X": "y"}


def test_default_headers_get_the_type_for_one_request_only(server: DummyServer) -> None:
    with PoolManager(headers={"X": "y"}) as manager:
        url = server.http_url + "/echo"
        first = manager.request("POST", url, json=1).json()
        assert content_type(first) == "application/json"
        assert ["X", "y"] in first["headers"]
        assert manager.headers == {"X": "y"}
        assert content_type(manager.request("POST", url).json()) is None


@pytest.mark.parametrize(
    "options",
    [
        {"json": 1, "body": b"x"},
        {"json": 1, "body": b""},
        {"json": 1, "fields": {"a": "b"}},
        {"body": b"x", "fields": {"a": "b"}},
    ],
)
def test_a_request_has_one_body(options: dict[str, Any]) -> None:
    with HTTPConnectionPool("nowhere.invalid") as pool:
        with pytest.raises(TypeError, match="request got values for both"):
            pool.request("POST", "/", **options)
        assert pool.num_requests == 0


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes"])
def test_what_is_no_json_is_an_error_of_the_json_module(value: Any) -> None:
    with HTTPConnectionPool("nowhere.invalid") as pool, pytest.raises(TypeError, match="JSON"):
        pool.request("POST", "/", json=value)


# -- fields in the URL ------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS", "get"])
@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/p", "/p?a=1&b=%C3%BC+%26"),
        ("/p?", "/p?a=1&b=%C3%BC+%26"),
        ("/p?x=y", "/p?x=y&a=1&b=%C3%BC+%26"),
        ("/p?x=y&", "/p?x=y&a=1&b=%C3%BC+%26"),
        ("/p#f", "/p?a=1&b=%C3%BC+%26"),
        ("/p?x#f?g", "/p?x&a=1&b=%C3%BC+%26"),
    ],
)
def test_fields_become_the_query(
    script: ScriptedServer, method: str, path: str, target: str
) -> None:
    script.accept().expect(f"{method.upper()} {target} HTTP/1.1\r\n".encode()).send(
        b"HTTP/1.1 204 No Content\r\n\r\n"
    )
    with HTTPConnectionPool(script.host, script.port) as pool:
        pool.request(method, path, fields={"a": "1", "b": "ü &"}, retries=False)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("fields", [{}, [], ()])
def test_no_fields_are_no_fields(echo: Any, method: str, fields: Any) -> None:
    seen = echo(method, fields=fields)
    assert (seen["target"], seen["body"], content_type(seen)) == ("/echo", "", None)


def test_a_mapping_in_third_place_is_taken_as_fields(server: DummyServer) -> None:
    """That is where they came once; as a body its names alone would be sent."""
    with HTTPConnectionPool("127.0.0.1", server.http_port) as pool:
        assert pool.request("GET", "/echo", {"a": "b"}).json()["args"] == {"a": ["b"]}
        seen = pool.request("POST", "/upload", {"a": "b"}).json()
        assert seen["fields"] == {"a": ["b"]}


# -- forms ------------------------------------------------------------------------------------


def test_a_form_is_multipart_unless_asked_otherwise(echo: Any) -> None:
    fields: Any = {"a": "ü", "f": ("name.txt", "content"), "g": ("x", b"\0", "image/x")}
    seen = echo("POST", "/upload", fields=fields)
    assert seen["fields"] == {"a": ["ü"]}
    assert [(f["name"], f["filename"], f["content_type"], f["content"]) for f in seen["files"]] == [
        ("f", "name.txt", "text/plain", "content"),
        ("g", "x", "image/x", "\0"),
    ]


def test_a_form_can_be_urlencoded(echo: Any) -> None:
    seen = echo("POST", fields=[("a", "ü &"), ("a", "2")], encode_multipart=False)
    assert seen["body"] == "a=%C3%BC+%26&a=2"
    assert content_type(seen) == "application/x-www-form-urlencoded"


def test_a_file_does_not_fit_into_a_urlencoded_form() -> None:
    """Its repr once was sent instead of it."""
    with (
        HTTPConnectionPool("nowhere.invalid") as pool,
        pytest.raises(TypeError, match="'f' is a file"),
    ):
        pool.request("POST", "/", fields={"f": ("name", "x")}, encode_multipart=False)


def test_the_boundary_can_be_chosen(echo: Any) -> None:
    seen = echo("POST", fields={"a": "b"}, multipart_boundary="limit")
    assert content_type(seen) == "multipart/form-data; boundary=limit"
    assert seen["body"].startswith("--limit\r\n")
    assert seen["body"].endswith("--limit--\r\n")


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("multipart/form-data", "multipart/form-data; boundary=limit"),
        ("Multipart/Mixed; boundary=other", "multipart/form-data; boundary=limit"),
        ("multipart/related; boundary=limit", "multipart/related; boundary=limit"),
        ("text/plain", "text/plain"),
    ],
)
def test_a_multipart_type_that_nobody_could_read_is_replaced(
    echo: Any, given: str, sent: str
) -> None:
    options: Any = {"multipart_boundary": "limit", "fields": {"a": "b"}}
    seen = echo("POST", headers={"content-type": given}, **options)
    assert content_type(seen) == sent


def test_fields_that_hold_open_files_are_sent_whole(echo: Any) -> None:
    content = b"0123456789" * 50_000
    seen = echo("POST", "/upload", fields={"f": ("big.bin", io.BytesIO(content))})
    assert [(f["filename"], f["size"]) for f in seen["files"]] == [("big.bin", len(content))]


# -- headers ----------------------------------------------------------------------------------


def test_given_headers_replace_the_default_ones(server: DummyServer) -> None:
    with PoolManager(headers={"X-Default": "1"}) as manager:
        url = server.http_url + "/headers"
        names = [name for name, _ in manager.request("GET", url).json()["headers"]]
        assert "X-Default" in names
        for headers in ({"X-Own": "2"}, {}):
            got = manager.request("GET", url, headers=headers).json()["headers"]
            assert "X-Default" not in [name for name, _ in got]


def test_a_method_is_sent_in_upper_case_by_request_and_as_it_is_by_urlopen(
    script: ScriptedServer,
) -> None:
    script.accept().expect(b"GET / ").send(OK).expect(b"get / ").send(OK)
    with HTTPConnectionPool(script.host, script.port) as pool:
        pool.request("get", "/")
        pool.urlopen("get", "/")


# -- the function at the top ------------------------------------------------------------------


def test_the_function_uses_the_manager_of_the_whole_program(server: DummyServer) -> None:
    manager = urllib4._DEFAULT_POOL
    manager.clear()
    try:
        response = urllib4.request(
            "POST", server.http_url + "/echo", fields={"a": "b"}, headers={"X": "y"}
        )
        assert response.json()["method"] == "POST"
        assert len(manager.pools) == 1
        pool = manager.connection_from_url(server.http_url)
        assert pool.num_requests == 1
    finally:
        manager.clear()


def test_the_function_has_a_timeout_of_three_seconds_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The only place with a default that ends: a script must not hang for ever."""
    seen: list[Any] = []

    def request(method: str, url: str, **kw: Any) -> None:
        seen.append(kw["timeout"])

    monkeypatch.setattr(urllib4._DEFAULT_POOL, "request", request)
    urllib4.request("GET", "http://a.example")
    urllib4.request("GET", "http://a.example", timeout=None)
    assert seen == [3, None]


def test_the_function_passes_on_what_it_takes(script: ScriptedServer) -> None:
    script.accept().expect(b"GET").expect_eof()
    script.accept().expect(b"GET").expect_eof()
    script.accept().expect(b"GET").send(
        b"HTTP/1.1 302 F\r\nLocation: /b\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx"
    )
    with pytest.raises(MaxRetryError) as caught:
        urllib4.request("GET", script.url, timeout=0.1, retries=1)
    assert isinstance(caught.value.reason, ReadTimeoutError)
    response = urllib4.request(
        "GET", script.url, redirect=False, decode_content=False, preload_content=False
    )
    assert (response.status, response.read()) == (302, b"x")
    urllib4._DEFAULT_POOL.clear()


def test_the_function_takes_keywords_only_after_the_url() -> None:
    parameters = inspect.signature(urllib4.request).parameters
    assert list(parameters)[:2] == ["method", "url"]
    names = {
        "body", "fields", "headers", "preload_content", "decode_content", "redirect", "retries",
        "timeout", "json",
    }  # fmt: skip
    assert names <= parameters.keys()
    assert all(parameters[name].kind is inspect.Parameter.KEYWORD_ONLY for name in names)
