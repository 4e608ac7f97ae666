"""Options become the request that they describe."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from urllib4._cli import build
from urllib4._cli.errors import CommandError
from urllib4._cli.parser import parse
from urllib4.poolmanager import ProxyManager
from urllib4.util.request import SKIP_HEADER

URL = "http://h.example/path"


@pytest.fixture
def request_of() -> Any:
    """The request of some arguments."""
    with ExitStack() as files:
        yield lambda *arguments: build.build_request(parse([*arguments, URL]), files)


def _stdin(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


@pytest.mark.parametrize(
    ("arguments", "method"),
    [
        ([], "GET"),
        (["-I"], "HEAD"),
        (["-d", "a"], "POST"),
        (["--json", "1"], "POST"),
        (["-F", "a=b"], "POST"),
        (["-X", "DELETE"], "DELETE"),
        (["-X", "put", "-d", "a"], "put"),
    ],
)
def test_the_method_follows_from_what_is_sent(
    request_of: Callable[..., Any], arguments: list[str], method: str
) -> None:
    assert request_of(*arguments).method == method


def test_headers_are_sent_as_given_and_in_order(request_of: Callable[..., Any]) -> None:
    request = request_of("-H", "A: 1", "-H", "B;", "-H", "A:2", "-A", "me/1")
    lines = list(request.headers.iteritems())
    assert lines[:3] == [("A", "1"), ("A", "2"), ("B", "")]
    assert ("User-Agent", "me/1") in lines


def test_an_own_header_replaces_ours(request_of: Callable[..., Any]) -> None:
    request = request_of("-d", "a", "-H", "content-type: x/y", "-H", "Accept: z", "-u", "a:b",
                         "-H", "Authorization: mine")  # fmt: skip
    assert request.headers.getlist("content-type") == ["x/y"]
    assert request.headers.getlist("accept") == ["z"]
    assert request.headers.getlist("authorization") == ["mine"]


def test_a_header_can_be_left_out(request_of: Callable[..., Any]) -> None:
    request = request_of("-d", "a", "-H", "Content-Type:", "-H", "user-agent:", "-H", "Accept:")
    assert "content-type" not in request.headers
    assert "accept" not in request.headers
    assert request.headers["User-Agent"] == SKIP_HEADER


def test_a_header_beyond_latin1_is_sent_as_utf8(request_of: Callable[..., Any]) -> None:
    assert request_of("-H", "X: caf\u00e9").headers["x"].encode("latin-1") == "caf\u00e9".encode()


def test_a_malformed_header_is_refused_without_showing_it(request_of: Callable[..., Any]) -> None:
    with pytest.raises(CommandError, match="NAME: VALUE") as caught:
        request_of("-H", "Bearer tops3cret")
    assert "tops3cret" not in str(caught.value)


# -- who we are --------------------------------------------------------------------------------


def test_credentials_become_a_header_and_leave_the_url() -> None:
    """A URL appears in errors and logs; the header does not."""
    with ExitStack() as files:
        options = parse(["http://us%40r:p%3Aw@h.example/x"])
        request = build.build_request(options, files)
    assert request.url == "http://h.example/x"
    assert request.headers["authorization"] == "Basic dXNAcjpwOnc="  # us@r:p:w


def test_credentials_are_utf8(request_of: Callable[..., Any]) -> None:
    assert request_of("-u", "a:\u8336").headers["authorization"] == "Basic YTrojLY="


def test_the_password_is_asked_for_on_a_terminal_only(
    request_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _stdin(monkeypatch, b"")
    with pytest.raises(CommandError, match="no terminal"):
        request_of("-u", "ann")

    asked = []
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(
        "getpass.getpass", lambda prompt, stream: asked.append((prompt, stream)) or "pw"
    )
    assert request_of("-u", "ann").headers["authorization"] == "Basic YW5uOnB3"
    assert asked == [("Password of ann: ", sys.stderr)]


# -- what is sent ------------------------------------------------------------------------------


def test_data_is_joined_and_sent_as_a_form(
    request_of: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "f").write_bytes(b"c=3\n")
    _stdin(monkeypatch, b"\xff\x00")
    request = request_of("-d", "a=1", "-d", f"@{tmp_path}/f", "-d", "@-")
    assert request.body == b"a=1&c=3\n&\xff\x00"
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"


def test_a_file_is_streamed_with_its_length(request_of: Callable[..., Any], tmp_path: Path) -> None:
    """However large it is, it is not read into memory."""
    (tmp_path / "f").write_bytes(b"content")
    request = request_of("-d", f"@{tmp_path}/f")
    assert request.headers["content-length"] == "7"
    assert request.body.read() == b"content"


def test_files_are_closed_afterwards(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"content")
    with ExitStack() as files:
        request = build.build_request(parse(["-F", f"a=@{tmp_path}/f", URL]), files)
    assert request.fields is not None
    assert request.fields[0].data.closed


@pytest.mark.parametrize("option", ["-d", "--json", "-F"])
def test_a_file_that_is_not_there_is_named(request_of: Callable[..., Any], option: str) -> None:
    value = "a=@no/such" if option == "-F" else "@no/such"
    with pytest.raises(CommandError, match="cannot read no/such: No such file") as caught:
        request_of(option, value)
    assert caught.value.code == 7


def test_json_is_sent_as_it_is(request_of: Callable[..., Any]) -> None:
    request = request_of("--json", '{"a": 1.10}')
    assert request.body == b'{"a": 1.10}'
    assert request.headers["content-type"] == request.headers["accept"] == "application/json"


def test_broken_json_is_refused_without_showing_it(request_of: Callable[..., Any]) -> None:
    with pytest.raises(CommandError, match="not JSON at line 1, column 8") as caught:
        request_of("--json", '{"pw": tops3cret}')
    assert "tops3cret" not in str(caught.value)


def test_form_fields_are_values_and_files(
    request_of: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "me.png").write_bytes(b"png")
    _stdin(monkeypatch, b"from stdin")
    fields = request_of(
        "-F", "title=a;type=b",  # a value is taken as it is
        "-F", f"text=<{tmp_path}/me.png",
        "-F", f"one=@{tmp_path}/me.png",
        "-F", f"two=@{tmp_path}/me.png;type=x/y;filename=other.bin",
        "-F", "three=@-",
    ).fields  # fmt: skip
    seen = [
        (field._name, field._filename, field.headers["Content-Type"],
         field.data.read() if hasattr(field.data, "read") else field.data)
        for field in fields
    ]  # fmt: skip
    assert seen == [
        ("title", None, None, b"a;type=b"),
        ("text", None, None, b"png"),
        ("one", "me.png", "image/png", b"png"),
        ("two", "other.bin", "x/y", b"png"),
        ("three", "stdin", "application/octet-stream", b"from stdin"),
    ]


def test_a_malformed_field_is_refused(request_of: Callable[..., Any]) -> None:
    with pytest.raises(CommandError, match="NAME=VALUE"):
        request_of("-F", "novalue")


# -- where to ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("example.org", "starts with http:// or https://"),
        ("ftp://h/", "not with ftp://"),
        ("http://", "no host"),
        ("http://h:99999/", "not a URL"),
        ("http://a..b/", "not a URL"),
        ("http://u:s3cret@h:x/", "not a URL"),
        ("http://u:s3/cret@h/", "not a URL"),
        ("u:s3cret@h/", "starts with"),
    ],
)
def test_what_is_no_url_is_refused_without_showing_credentials(url: str, message: str) -> None:
    with pytest.raises(CommandError, match=message) as caught, ExitStack() as files:
        build.build_request(parse([url]), files)
    assert caught.value.code == 2
    assert "s3" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://h/a/b.txt?q#f", "b.txt"),
        ("http://h/%2e%2e%2fx", "%2E%2E%2Fx"),
        ("http://h/%00", "%00"),
        ("http://h/a/", None),
        ("http://h", None),
        ("http://h/a/..", None),
        ("http://h/c:x", None),
        ("http://h/a\\b", "a%5Cb"),
    ],
)
def test_a_remote_name_is_a_plain_file_name_or_refused(url: str, name: str | None) -> None:
    """A URL may come from anywhere: it must not choose a directory."""
    if name is None:
        with pytest.raises(CommandError, match="no file name"):
            build.remote_name(url)
    else:
        assert build.remote_name(url) == name


@pytest.mark.parametrize("proxy", ["ftp://h", "http://", "http://h:x", "socks9://h"])
def test_what_is_no_proxy_is_refused(proxy: str) -> None:
    with pytest.raises(CommandError, match="URL of a proxy"):
        build.build_manager(parse(["-x", proxy, URL]))


def test_the_proxy_gets_the_credentials_of_its_url() -> None:
    manager = build.build_manager(parse(["-x", "https://u:p@h.example:3128", URL]))
    assert isinstance(manager, ProxyManager)
    assert str(manager.proxy) == "https://h.example:3128"
    assert manager.proxy_headers == {"proxy-authorization": "Basic dTpw"}


def test_a_certificate_that_cannot_be_read_is_named() -> None:
    with pytest.raises(CommandError, match="cannot read no/such") as caught:
        build.build_manager(parse(["--cacert", "no/such", URL]))
    assert caught.value.code == 7


# -- how long, how often -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "limits"),
    [
        ([], (30.0, 30.0, None)),
        (["--timeout", "2"], (2.0, 2.0, None)),
        (["--timeout", "2", "--connect-timeout", "1", "-m", "9"], (1.0, 2.0, 9.0)),
        (["--timeout", "0", "-m", "0"], (None, None, None)),
        (["--connect-timeout", "0"], (None, 30.0, None)),
    ],
)
def test_timeouts(arguments: list[str], limits: tuple[float | None, ...]) -> None:
    timeout = build.build_timeout(parse([*arguments, URL]))
    assert (timeout.connect_timeout, timeout.read_timeout, timeout.deadline) == limits


def test_nothing_is_retried_unless_asked_for() -> None:
    retry = build.build_retry(parse([URL]), None)
    assert not retry.is_retry("GET", 503, has_retry_after=True)
    assert (retry.connect, retry.read, retry.redirect) == (0, 0, 20)


def test_retries_are_for_what_may_go_away() -> None:
    retry = build.build_retry(parse(["--retry", "3", "--max-redirects", "2", URL]), None)
    assert retry.is_retry("GET", 502)
    assert not retry.is_retry("GET", 404)
    assert not retry.is_retry("POST", 502)
    assert (retry.connect, retry.read, retry.redirect) == (3, 3, 2)
