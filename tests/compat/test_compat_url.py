"""The same URL gives the same parts as in urllib3 2.8.0, or the difference is listed here."""

from __future__ import annotations

import re
from typing import Any

import pytest

urllib3_url = pytest.importorskip("urllib3.util.url")

from hypothesis import example, given  # noqa: E402 - after the check for urllib3
from hypothesis import strategies as st  # noqa: E402

from urllib4.util import url as urllib4_url  # noqa: E402

ERROR = "LocationParseError"

#: Input: (what urllib3 gives, what we give, why).
DELIBERATE_DIFFERENCES: dict[Any, tuple[Any, Any, str]] = {
    "http://[::256.2.3.4]": (
        (("http", None, "[::256.2.3.4]", None, None, None, None)),
        ERROR,
        "RFC 3986, 3.2.2: an octet is 0 to 255",
    ),
    "http://[::01.2.3.4]": (
        (("http", None, "[::01.2.3.4]", None, None, None, None)),
        ERROR,
        "RFC 3986, 3.2.2: an octet has no leading zero; some systems read it as octal",
    ),
    "foo://h/\n": (
        ("foo", None, "h", None, "/\n", None, None),
        ERROR,
        "a control character that nothing escapes could end the line it is written on",
    ),
    "foo://u\r:p@h": (
        ("foo", "u\r:p", "h", None, None, None, None),
        ERROR,
        "a control character that nothing escapes could end the line it is written on",
    ),
    "foo:?\0": (
        ("foo", None, None, None, "", "\0", None),
        ERROR,
        "a control character that nothing escapes could end the line it is written on",
    ),
    "http://" + "\xfc." * 127 + "de": (
        ("http", None, "xn--tda." * 127 + "de", None, None, None, None),
        ERROR,
        "a name in DNS has 253 characters at most, and idna is quadratic in the length",
    ),
    b"": ((None,) * 7, "TypeError", "bytes are a TypeError, empty or not"),
    0: ((None,) * 7, "TypeError", "0 is no URL"),
    urllib3_url.Url("http", None, "h"): (
        "TypeError",
        ("http", None, "h", None, None, None, None),
        "a Url of another copy of the library is understood",
    ),
}

#: Differences in the text of the error: (ours, why).
DELIBERATE_TEXTS = {
    "http://a\x80/": (
        r"Failed to parse: Name 'a\x80' is not a valid IDNA label",
        "unprintable characters do not get into texts",
    ),
    "http://user:pa/ss@host/": (
        "Failed to parse: 'user:***' is not a valid host or port",
        "what looks like a port is the beginning of a password",
    ),
    "http://user:pass@host:99999/": (
        "Failed to parse: http://***@host:99999/",
        "userinfo does not get into texts",
    ),
}


def words(text: str) -> list[str]:
    return text.split()


HOSTS = words("""
    a A.B.c a. .a a..b -a a_b a-b *.a xn--tda.de 1.2.3.4 256.1.1.1 1.2.3 0x7f.1 017700000001
    2130706433 h!$&'()*+,;=~ h" h< h> h^ h` h{ h| h} h[ h] [h] h%41 h%2d%5F h%2f h%7E h%c3%bc h%zz
    h% h%4 h%00 h%0a h%1F h%7f h%20 h%80 %2Fvar%2Frun ü Ü.De ß.de İ.de Σ.ΑΣ.de ☃.net a。b ａ.com K ſ
    ü%41 ü%2f ü%c3%bc a%c3.ü ü..a ü. .ü ü_.de xn--ü é\u0301 [::1] [::] [FE80::A] [::1%25eth0]
    [::1%eth0] [FE80::1%25ETH0] [::1%25] [::1%] [::1%2525x] [::1%25a%25b] [::1%25%41] [::1%25%2f]
    [::1%25%0a] [::1%25%7f] [::1%00] [::1%25ü] [::1%25a/b] [::1 ::1] ::1 [] [1:2:3:4:5:6:7:8]
    [1:2:3:4:5:6:7] [1:2:3:4:5:6:7:8:9] [1:2:3:4:5:6:7::] [::2:3:4:5:6:7:8] [1::3:4:5:6:7:8]
    [1::2::3] [12345::] [::00001] [:1] [1:] [::G] [:::] [::ffff:1.2.3.4] [1:2:3:4:5:6:1.2.3.4]
    [1:2:3:4:5:6:7:1.2.3.4] [::1.2.3] [::1.2.3.4.5] [1.2.3.4::] [1.2.3.4] [v1.a] [::1]x x[::1]
    [::１] [::1%]
""")
HOSTS += [
    "",
    " ",
    "a b",
    "a\tb",
    "a\nb",
    "a\x7fb",
    "a\x80",
    "a\xa0b",
    "a\xadb",
    "\ud800",
    "a" * 300,
]
PORTS = words("""
    : :0 :00080 :1 :80 :65535 :65536 :99999 :100000 :-1 :+1 :1_0 :0x50 :８０ :80a :80:81 ::80 :%38
""")
PORTS += ["", ": 80", ":80 ", ":8\n0", f":{'0' * 50}80", f":{'9' * 5000}"]
USERS = words("""
    u@ u:p@ u:p:q@ u:p@x@ @ :@ :p@ u%40:p%3a@ u%zz:p@ ü:☃@ u"<>:[x]@ [::1]@ u;=!$&'()*+,@ u^`{|}@ %@
""")
PATHS = words(r"""
    / // /a a /a/ /a/b /a//b /. /.. ./ /./ /../ /a/. /a/.. /a/./b /a/../b /a/../../b /a/b/../../..
    /a/../.. /../.. /../a //../a /..//a /a//../b /.a /..a /a. /... /a/.../b /%2e%2e/a /%7e%7E /%
    /%4 /%4a /%4a%4B /%4a% /%zz%41 /ü%fc /a:b /a@b /a;v=1 /!$&'()*+,=~ /"<>[]^`{|} /\ \ /a\b \\a *
    /\..\a /a%5cb /☃
""")
PATHS += ["", "/a b", "/a\nb", "/\x00", "/\x7f", "/\x80", "/\ud800"]
TAILS = words(r"""
    ? ?a ?a=b&c ?a?b ?/../a ?% ?%41 ?%4a%zz ?ü ?"<>[]^`{|}\ # #a #a#b #a?b ?# ?a#b #% #%4a #ü ?a@b
""")
TAILS += ["", "?a b", "?\n", "# \x00"]
SCHEMES = ["", "//", "http:", "http:/", "http://", "HTTPS://", "http+unix://", "foo:", "FOO://"]
SCHEMES += [
    "x-1+2://",
    "1a://",
    "ht.tp://",
    "+a://",
    "a_b://",
    "http:\\\\",
    "ſ://",
    "/",
    "///",
    ":",
]


def outcome(function: Any, *args: Any) -> Any:
    """Return what a call gives, as a plain value, or the name of its error."""
    try:
        result = function(*args)
    except Exception as error:
        return type(error).__name__
    return tuple(result) if isinstance(result, tuple) else result


def is_listed(url: str) -> bool:
    """Tell whether a generated URL has a property that is listed as a difference."""
    if re.match("[A-Za-z][A-Za-z0-9+-]*:", url) and not re.match("(?i)https?:", url):
        if re.search(r"[\x00-\x1f\x7f]", url):
            return True
    return bool(re.search(r"\[[0-9A-Fa-f:]*[0-9.]*\.[0-9.]*[%\]]", url)) or len(url) > 253


def assert_same(url: str) -> None:
    theirs = outcome(urllib3_url.parse_url, url)
    ours = outcome(urllib4_url.parse_url, url)
    if theirs != ours:
        assert is_listed(url), (url, theirs, ours)


@pytest.mark.parametrize("host", HOSTS)
def test_hosts_are_read_alike(host: str):
    for scheme in SCHEMES:
        for tail in ("", "/", "?q", "#f", "\\x", ":80", "/ü"):
            assert_same(f"{scheme}{host}{tail}")


@pytest.mark.parametrize("port", PORTS)
def test_ports_are_read_alike(port: str):
    for scheme in SCHEMES:
        for host in ("a", "[::1]", "ü", "", "u@", "u:p@[::1]"):
            assert_same(f"{scheme}{host}{port}")
            assert_same(f"{scheme}{host}{port}/x?y")


@pytest.mark.parametrize("user", USERS)
def test_userinfo_is_read_alike(user: str):
    for scheme in SCHEMES:
        for tail in ("", "h", "h:80", "h/p", ":80", "[::1]", "h\\@x"):
            assert_same(f"{scheme}{user}{tail}")


@pytest.mark.parametrize("path", PATHS)
def test_paths_queries_and_fragments_are_read_alike(path: str):
    for scheme in SCHEMES:
        for host in ("", "h", "u:p@h:1"):
            for tail in TAILS:
                assert_same(f"{scheme}{host}{path}{tail}")


@pytest.mark.parametrize("path", PATHS)
def test_request_targets_are_encoded_alike(path: str):
    for tail in TAILS:
        theirs, ours = (
            outcome(module._encode_target, path + tail) for module in (urllib3_url, urllib4_url)
        )
        assert ours == theirs


def test_a_line_break_in_a_fragment_is_dropped_with_it():
    """A deliberate difference: urllib3 refuses it, although a fragment is never sent."""
    assert outcome(urllib3_url._encode_target, "/a#b\nc") == ERROR
    assert urllib4_url._encode_target("/a#b\nc") == "/a"


@pytest.mark.parametrize("host", [None, *HOSTS])
def test_hosts_are_normalised_alike(host: str | None):
    for scheme in (None, "http", "https", "foo"):
        theirs, ours = (
            outcome(module._normalize_host, host, scheme) for module in (urllib3_url, urllib4_url)
        )
        assert ours == theirs


@pytest.mark.parametrize("url", list(DELIBERATE_DIFFERENCES), ids=ascii)
def test_what_differs_on_purpose_is_as_listed(url: Any):
    theirs, ours, reason = DELIBERATE_DIFFERENCES[url]
    assert outcome(urllib3_url.parse_url, url) == theirs
    assert outcome(urllib4_url.parse_url, url) == ours
    assert reason


@pytest.mark.parametrize("value", [None, b"http://x", 1, bytearray(b"x")])
def test_what_is_no_text_is_treated_alike(value: Any):
    assert outcome(urllib3_url.parse_url, value) == outcome(urllib4_url.parse_url, value)


@pytest.mark.parametrize(
    "url",
    [
        "http://a:65536",
        "http://a:-1",
        "http://::1]",
        "http://[x]",
        "http://h%zz",
        "http://h%00",
        "http://a b/",
        "http://a: 80",
        " http://h",
        "http://☃.net",
        "http://ü_.de",
        "foo://h:x",
        "foo://a\nb",
    ],
)
def test_errors_have_the_same_text(url: str):
    with pytest.raises(urllib3_url.LocationParseError) as theirs:
        urllib3_url.parse_url(url)
    with pytest.raises(urllib4_url.LocationParseError) as ours:
        urllib4_url.parse_url(url)
    assert str(ours.value) == str(theirs.value)
    assert ours.value.location == theirs.value.location


@pytest.mark.parametrize("url", DELIBERATE_TEXTS, ids=ascii)
def test_error_texts_that_differ_on_purpose_are_as_listed(url: str):
    text, reason = DELIBERATE_TEXTS[url]
    with pytest.raises(urllib3_url.LocationParseError) as theirs:
        urllib3_url.parse_url(url)
    with pytest.raises(urllib4_url.LocationParseError) as ours:
        urllib4_url.parse_url(url)
    assert str(ours.value) == text != str(theirs.value)
    assert reason


PIECES = st.sampled_from(
    [
        *"abAZ09:/?#[]@!$&'()*+,;=-._~%\\ \"<>^`{|}\n\x00\x7f",
        *"üß\u0301。١א",
        *words("http: foo: // :: .. /. %2 %41 %2f %00 [::1] [::1%25 ] xn-- :80"),
    ]
)


@given(st.sampled_from(SCHEMES), st.lists(PIECES, max_size=20).map("".join))
@example("http://", "\u0391\u03a3.\u0392")  # where a sigma is final depends on what follows
@example("http://", "\u0391\u03a3%2e\u0392")
def test_generated_urls_are_read_alike(scheme: str, rest: str):
    assert_same(scheme + rest)


@given(st.text(max_size=60))
def test_any_text_is_read_alike(text: str):
    assert_same(text)


PARTS = st.tuples(
    st.sampled_from([None, "", "http", "HTTPS", "foo"]),
    st.sampled_from([None, "", "u", "u:p", "u%40:p%3a:c", ":", "%ff:%zz", "ü"]),
    st.sampled_from([None, "", "h", "H", "[::1]"]),
    st.sampled_from([None, 0, 80]),
    st.sampled_from([None, "", "/", "a", "//a", "/a b"]),
    st.sampled_from([None, "", "q", "a=b?c"]),
    st.sampled_from([None, "", "f", "a#b"]),
)


@given(PARTS)
def test_a_url_object_has_the_same_parts_and_properties(parts: Any):
    theirs, ours = urllib3_url.Url(*parts), urllib4_url.Url(*parts)
    assert tuple(ours) == tuple(theirs)
    assert ours._fields == theirs._fields
    for name in (
        "hostname",
        "request_uri",
        "netloc",
        "authority",
        "auth_decoded",
        "auth_decoded_joined",
        "url",
    ):
        assert getattr(ours, name) == getattr(theirs, name)
    assert str(ours) == str(theirs)
    if ours.auth is None:
        assert repr(ours) == repr(theirs)
