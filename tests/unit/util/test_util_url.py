"""Parsing URLs: what parts they have, what is refused, and that hostile ones cost little."""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from urllib4.exceptions import LocationParseError
from urllib4.util import url as url_module
from urllib4.util.url import Url, _encode_target, _normalize_host, parse_url


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Url()),
        ("google.com", Url(host="google.com")),
        ("google.com:80", Url(host="google.com", port=80)),
        ("google.com:", Url(host="google.com")),
        ("localhost:8080/x", Url("localhost", path="/8080/x")),
        ("/path?q#f", Url(path="/path", query="q", fragment="f")),
        ("?q", Url(path="", query="q")),
        ("#f", Url(path="", fragment="f")),
        ("//host/x", Url(host="host", path="/x")),
        ("HTTP://HOST", Url("http", host="host")),
        ("http://host?", Url("http", host="host", path="", query="")),
        ("http://h:0/", Url("http", host="h", port=0, path="/")),
        ("http://h:00080", Url("http", host="h", port=80)),
        ("http://u:p@h:1/a?b=c#d", Url("http", "u:p", "h", 1, "/a", "b=c", "d")),
        ("http://u@x:p@h", Url("http", "u%40x:p", "h")),
        ("http://[::1]:80", Url("http", host="[::1]", port=80)),
        ("http://[FE80::1%25Eth0]", Url("http", host="[fe80::1%Eth0]")),
        ("http://h/a ü?ä#[x]", Url("http", None, "h", None, "/a%20%C3%BC", "%C3%A4", "%5Bx%5D")),
        ("http://h/%4a%e4", Url("http", host="h", path="/%4A%E4")),
        ("http://h/%4a%", Url("http", host="h", path="/%254A%25")),
        ("http://h/a/./b/../c", Url("http", host="h", path="/a/c")),
        ("http://h/../../x", Url("http", host="h", path="/x")),
        ("http://h/%2e%2e/x", Url("http", host="h", path="/%2E%2E/x")),
        ("http://%48%2d%2F", Url("http", host="h-%2F")),
        ("http://Bücher.example", Url("http", host="xn--bcher-kva.example")),
        ("a+b://%2FVar%2frun/A b/../c", Url("a+b", host="%2FVar%2frun", path="/A b/../c")),
        ("mailto:a@b", Url("mailto", path="/a@b")),
        ("http://0x7f.1", Url("http", host="0x7f.1")),
    ],
)  # fmt: skip
def test_urls_have_these_parts(text: str, expected: Url):
    assert parse_url(text) == expected


def test_a_backslash_ends_the_authority():
    """Otherwise we would connect to another host than a program that takes it for a slash."""
    assert parse_url("http://good\\@evil/").host == "good"
    assert parse_url("http://good\\evil/").path == "/%5Cevil/"


@pytest.mark.parametrize(
    "text",
    [
        "http://a:65536",
        "http://a:-1",
        "http://a:+1",
        "http://a:1_0",
        "http://a:８０",
        "http://a:80a",
        "http://a::80",
        "http://::1/",
        "http://[::1",
        "http://::1]",
        "http://[]",
        "http://[name]",
        "http://[1.2.3.4]",
        "http://[v1.x]",
        "http://[::1]x",
        "http://[::1::]",
        "http://[12345::]",
        "http://[1:2:3:4:5:6:7]",
        "http://[::256.1.1.1]",
        "http://[::01.1.1.1]",
        "http://[::1%25]:x",
        "http://[::1%25a b]",
        "http://[" + ":" * 100_000 + "]",
        "http://a%zz/",
        "http://a%/",
        "http://a%00/",
        "http://a%7F/",
        "http://[::1%25%0d]/",
        "http://☃.net",
        "http://ü_.de",
        "http://a。b",
        "http://" + "ü" * 64,
        "http://" + "ü." * 127 + "de",
        "http://\ud800",
    ],
)
def test_hosts_and_ports_without_meaning_are_refused(text: str):
    with pytest.raises(LocationParseError):
        parse_url(text)


@pytest.mark.parametrize("code", [*range(0x20), 0x7F])
@pytest.mark.parametrize("scheme", ["http", "foo"])
def test_control_characters_never_get_out_as_they_are(scheme: str, code: int):
    """They could end the line of a request and begin another one."""
    for text in ("://a{}b/", "://u:p{}@h/", "://h/{}", "://h/?{}", "://h/#{}", "://[::1%25{}]/"):
        try:
            url = parse_url(scheme + text.format(chr(code)))
        except LocationParseError:
            continue
        assert chr(code) not in str(url)


@pytest.mark.parametrize("space", [" ", "\t"])
def test_white_space_around_a_host_is_refused(space: str):
    for text in (
        f"http://{space}h",
        f"http://h{space}/",
        f"{space}http://h",
        f"http://h:{space}80",
    ):
        with pytest.raises(LocationParseError, match="invalid character"):
            parse_url(text)


@pytest.mark.parametrize("value", [b"http://h", b"", 1, 0, [], bytearray(b"h"), ("http", "h")])
def test_what_is_no_text_is_a_type_error(value: object):
    with pytest.raises(TypeError, match=f"a URL must be a str, not {type(value).__name__}"):
        parse_url(value)  # type: ignore[arg-type]


def test_a_url_is_taken_as_its_text():
    url = parse_url("HTTP://H/a b")
    assert parse_url(url) == url  # type: ignore[arg-type]
    assert parse_url(None) == Url()  # type: ignore[arg-type]


def test_a_url_of_a_copy_of_the_library_is_understood():
    foreign = pytest.importorskip("urllib3.util.url").Url("http", None, "H", 1)
    assert parse_url(foreign) == Url("http", None, "h", 1)


HOSTS = st.sampled_from(["h", "A.b", "[::1]", "[FE80::1%25e]", "1.2.3.4", "ü.de", "%41%2f"])
REST = st.lists(
    st.sampled_from([*'aZ09/?#@:.;%\\ ["^é\n', "/..", "/.", "//", "%2e", "%zz", "%C3"]), max_size=12
).map("".join)


@given(
    st.sampled_from(["http", "HTTPS"]),
    st.sampled_from(["", "u@", "u:p@", "u:p%40 x@"]),
    HOSTS,
    st.sampled_from(["", ":80", ":0080", ":"]),
    st.one_of(st.just(""), st.builds("{}{}".format, st.sampled_from("/?#\\"), REST)),
)
def test_parsing_what_was_parsed_changes_nothing(
    scheme: str, auth: str, host: str, port: str, rest: str
):
    """Else a URL would mean one thing to who checks it and another to who requests it."""
    url = parse_url(f"{scheme}://{auth}{host}{port}{rest}")
    assert parse_url(str(url)) == url
    if "%zz" not in rest and "%" not in rest.replace("%2e", "").replace("%C3", ""):
        assert str(parse_url(str(url))) == str(url)


@given(st.text(max_size=200))
def test_any_text_gives_parts_or_a_parse_error(text: str):
    for candidate in (text, f"http://{text}", f"foo:{text}", f"//{text}@[{text}]:{text}"):
        try:
            url = parse_url(candidate)
        except LocationParseError:
            continue
        assert isinstance(url, Url)
        assert url.url == str(url)


@pytest.mark.parametrize(
    "text",
    [
        "http://" + "@" * 300_000,
        "http://" + "%" * 300_000 + "@h",
        "http://" + "%41" * 100_000,
        "http://" + ":" * 300_000,
        "http://" + "[" * 300_000,
        "http://h/" + "%" * 300_000,
        "http://h/" + "/.." * 100_000,
        "http://h/" + "\u20ac" * 100_000,
        "http://h:" + "9" * 300_000,
        "http://" + "\xfc" * 300_000,
        "http://h?" + "?" * 300_000,
        "a" * 300_000 + ":",
        "http://[::1%25" + "%" * 300_000,
        "foo:" + "\x00" * 300_000,
    ],
    ids=lambda text: text[:12],
)
def test_hostile_length_does_not_cost_more_than_its_length(text: str):
    """With quadratic work these would take minutes, and the test's time limit ends them."""
    with contextlib.suppress(LocationParseError):
        parse_url(text)


def test_a_long_name_never_gets_to_idna(monkeypatch: pytest.MonkeyPatch):
    """idna takes time quadratic in the length of a label (CVE-2024-3651)."""
    import idna

    lengths = []
    encode = idna.encode
    monkeypatch.setattr(idna, "encode", lambda s, **kw: lengths.append(len(s)) or encode(s, **kw))
    for length in (10, 253, 254, 100_000):
        with pytest.raises(LocationParseError):
            parse_url("http://" + "☃" * length)
    assert lengths == [10, 253]


def test_idna_is_loaded_for_non_ascii_hosts_only():
    program = (
        "import sys; from urllib4.util.url import parse_url\n"
        "parse_url('http://h/ü?ü#ü'); parse_url('http://[::1]'); parse_url('http://a%C3')\n"
        "assert 'idna' not in sys.modules\n"
        "parse_url('http://ü'); assert 'idna' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_without_idna_a_non_ascii_host_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "idna", None)
    with pytest.raises(LocationParseError, match="Unable to parse URL without the 'idna' module"):
        parse_url("http://nie-gesehen-ü")


@pytest.mark.parametrize(
    "text",
    [
        "http://user:secret@h:99999",
        "http://user:secret@h:port",
        "http://user:secret@[h]",
        "http://user:secret@a b",
        "http://user:secret@ü_.de",
        "http://user:secret@%00",
        "http://user:secret/x@h",
        "foo://user:secret@h:port",
        "foo://user:secret\n@h",
    ],
)
def test_no_error_shows_a_password(text: str):
    with pytest.raises(LocationParseError) as caught:
        parse_url(text)
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(caught.value)


def test_repr_hides_the_password_and_str_shows_it():
    url = parse_url("http://user:secret@h/x")
    assert repr(url) == (
        "Url(scheme='http', auth='user:***', host='h', port=None, path='/x', query=None, "
        "fragment=None)"
    )
    assert str(url) == url.url == "http://user:secret@h/x"
    assert "token" not in repr(Url("http", "token", "h"))
    assert "auth=None" in repr(Url("http"))


def test_urls_with_userinfo_are_not_remembered():
    """A cache is no place for passwords; a token in it would outlive every use."""
    before = url_module._parse_cached.cache_info()
    parse_url("http://user:secret@h/never-seen-before")
    assert url_module._parse_cached.cache_info() == before
    parse_url("http://h/never-seen-before")
    assert url_module._parse_cached.cache_info().misses == before.misses + 1


def test_memory_of_remembered_urls_is_bounded():
    before = url_module._parse_cached.cache_info()
    parse_url("http://h/" + "x" * 10_000)
    assert url_module._parse_cached.cache_info() == before
    for number in range(1000):
        parse_url(f"http://h/{number}")
    info = url_module._parse_cached.cache_info()
    assert info.maxsize is not None
    assert info.currsize <= info.maxsize <= 1000


def test_a_str_subclass_is_not_mixed_up_with_what_it_claims_to_equal():
    class Liar(str):
        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return hash("http://good/liar")

    assert parse_url("http://good/liar").host == "good"
    assert parse_url(Liar("http://evil/liar")).host == "evil"


def test_threads_get_their_own_answers():
    wrong: list[str] = []

    def work(number: int) -> None:
        for turn in range(300):
            host = f"h{number * turn % 400}"
            if parse_url(f"http://{host}/").host != host:
                wrong.append(host)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_constructor_lowers_the_scheme_and_roots_the_path():
    assert tuple(Url("HTTP", path="a")) == ("http", None, None, None, "/a", None, None)
    assert Url(path="").path == ""
    assert Url(host="HOST", path="//a b") == (None, None, "HOST", None, "//a b", None, None)


@pytest.mark.parametrize(
    ("url", "request_uri", "netloc", "authority"),
    [
        (Url(), "/", None, None),
        (Url("http", "u:p", "h", 80, "/a", "q", "f"), "/a?q", "h:80", "u:p@h:80"),
        (Url("http", None, "h", None, "", "q"), "/?q", "h", "h"),
        (Url("http", "u", None, 80), "/", None, None),
        (Url(host="", port=0), "/", ":0", ":0"),
    ],
)
def test_properties(url: Url, request_uri: str, netloc: str | None, authority: str | None):
    assert url.request_uri == request_uri
    assert url.netloc == netloc
    assert url.authority == authority
    assert url.hostname == url.host


@pytest.mark.parametrize(
    ("auth", "decoded", "joined"),
    [
        (None, (None, None), None),
        ("", ("", None), ":"),
        ("u", ("u", None), "u:"),
        ("u:", ("u", ""), "u:"),
        ("u%40x:p%3A:%C3%BC", ("u@x", "p::ü"), "u@x:p::ü"),
    ],
)
def test_userinfo_is_decoded(auth: str | None, decoded: object, joined: str | None):
    url = Url("http", auth, "h")
    assert url.auth_decoded == decoded
    assert url.auth_decoded_joined == joined


def test_urls_pickle_hash_and_unpack():
    url = parse_url("http://u:p@h:1/a?b#c")
    assert pickle.loads(pickle.dumps(url)) == url
    assert {url: 1}[parse_url(str(url))] == 1
    scheme, *_, fragment = url
    assert (scheme, fragment) == ("http", "c")
    assert isinstance(url._replace(port=2), Url)


@pytest.mark.parametrize(
    ("target", "encoded"),
    [
        ("/", "/"),
        ("/a b?c d#f", "/a%20b?c%20d"),
        ("/a?b?c", "/a?b?c"),
        ("/%zz/%41", "/%25zz/%2541"),
        ("/%4a/../b", "/%4A/../b"),
        ("//a/b", "//a/b"),
        ("/a\r\nHost: evil", "/a%0D%0AHost:%20evil"),
        ("/a?#", "/a?"),
    ],
)
def test_request_targets_are_encoded(target: str, encoded: str):
    assert _encode_target(target) == encoded


@pytest.mark.parametrize("target", ["", "a", "?a", "*", "http://h/", "#"])
def test_other_forms_of_a_request_target_are_refused(target: str):
    with pytest.raises(LocationParseError, match="is not a valid request URI"):
        _encode_target(target)


def test_hosts_of_unknown_schemes_stay_as_they_are():
    assert _normalize_host("%2FRun%2fX", "http+unix") == "%2FRun%2fX"
    assert _normalize_host("%2FRun%2fX", "http") == "%2Frun%2Fx"
    assert _normalize_host(None, "http") is None
