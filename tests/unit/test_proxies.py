"""Which proxy leads where: the environment, mappings, and what they refuse."""

from __future__ import annotations

import ipaddress
import os
import warnings
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from urllib4 import PoolManager, ProxyManager
from urllib4.contrib.socks import SOCKSProxyManager
from urllib4.exceptions import (
    LocationParseError,
    LocationValueError,
    ProxySchemeUnknown,
    SecurityWarning,
    URLSchemeUnknown,
)
from urllib4.poolmanager import HTTPSPoolKey, default_key_normalizer
from urllib4.proxies import Proxy, chooser, from_environment
from urllib4.util.url import Url, parse_url

PROXY = "http://proxy.example:3128"


def is_direct(no_proxy: str, url: str) -> bool:
    find = from_environment({"all_proxy": PROXY, "no_proxy": no_proxy})
    return find(parse_url(url)) is None


# -- NO_PROXY --------------------------------------------------------------------------------------

COVERED = [
    ("*", "http://anything.example/"),
    ("*", "http://[2001:db8::1]/"),
    ("other.example, *", "http://anything.example/"),
    ("example.com", "http://example.com/"),
    ("example.com", "http://www.example.com/"),
    ("example.com", "https://a.b.example.com:8443/"),
    (".example.com", "http://example.com/"),
    (".example.com", "http://www.example.com/"),
    ("*.example.com", "http://www.example.com/"),
    ("*.example.com", "http://example.com/"),
    ("EXAMPLE.com", "http://Example.COM/"),
    ("example.com.", "http://example.com/"),
    ("example.com", "http://example.com./"),
    ("b\u00fccher.example", "http://xn--bcher-kva.example/"),
    ("xn--bcher-kva.example", "http://b\u00fccher.example/"),
    ("localhost", "http://localhost:8080/"),
    ("my_host", "http://my_host/"),
    ("a.example b.example", "http://b.example/"),
    ("a.example,,b.example,", "http://b.example/"),
    ("\ta.example ,\n b.example ", "http://b.example/"),
    ("example.com:8080", "http://example.com:8080/"),
    ("example.com:80", "http://example.com/"),
    ("example.com:443", "https://www.example.com/"),
    ("192.0.2.1", "http://192.0.2.1/"),
    ("192.0.2.1:81", "http://192.0.2.1:81/"),
    ("192.0.2.1", "http://[::ffff:192.0.2.1]/"),
    ("10.0.0.0/8", "http://10.255.0.1/"),
    ("10.1.2.3/8", "http://10.9.9.9/"),
    ("10.0.0.0/255.0.0.0", "http://10.9.9.9/"),
    ("0.0.0.0/0", "http://10.9.9.9/"),
    ("10.0.0.0/8", "http://[::ffff:10.0.0.1]/"),
    ("::1", "http://[::1]/"),
    ("[::1]", "http://[::1]:8080/"),
    ("[::1]:8080", "http://[::1]:8080/"),
    ("2001:DB8::1", "http://[2001:db8:0::1]/"),
    ("fd00::/8", "http://[fd12::1]/"),
    ("[fd00::]/8", "http://[fd12::1]/"),
    ("fe80::/10", "http://[fe80::1%25eth0]/"),
]

NOT_COVERED = [
    ("", "http://example.com/"),
    (" , ", "http://example.com/"),
    ("example.com", "http://notexample.com/"),
    ("example.com", "http://example.com.evil.example/"),
    ("example.com", "http://com/"),
    (".example.com", "http://badexample.com/"),
    ("example.com:8080", "http://example.com/"),
    ("example.com:80", "https://example.com/"),
    ("192.0.2.1", "http://192.0.2.10/"),
    ("192.0.2.1", "http://1.192.0.2.1.example/"),
    ("2.1", "http://192.0.2.1/"),
    ("10.0.0.0/8", "http://11.0.0.1/"),
    ("10.0.0.0/8", "http://10.example/"),
    ("10.0.0.0/8", "http://[fd12::1]/"),
    ("::1", "http://[::2]/"),
    ("[::1]:8080", "http://[::1]/"),
    ("fd00::/8", "http://[fe80::1]/"),
    ("::/0", "http://192.0.2.1/"),
]


@pytest.mark.parametrize(("no_proxy", "url"), COVERED)
def test_no_proxy_covers(no_proxy: str, url: str) -> None:
    assert is_direct(no_proxy, url)


@pytest.mark.parametrize(("no_proxy", "url"), NOT_COVERED)
@pytest.mark.filterwarnings("ignore::urllib4.exceptions.SecurityWarning")  # "2.1" is none of both
def test_no_proxy_does_not_cover(no_proxy: str, url: str) -> None:
    assert not is_direct(no_proxy, url)


@pytest.mark.parametrize(
    "entry",
    [
        "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/x", "example.com/8", "300.1.1.1", "1.2.3", "::1::",
        "[::1", "::1]", "[::1]8080", "example.com:", "example.com:http", "example.com:99999", ":80",
        "http://example.com", "exa*mple.com", "*example.com", "a..b", "..example.com", "-:-",
        "fd00::/129", "[fd00::/8]", "user@example.com", "**",
    ],
)  # fmt: skip
def test_an_entry_that_is_none_is_named_and_ignored(entry: str) -> None:
    with pytest.warns(SecurityWarning, match="NO_PROXY holds") as caught:
        find = from_environment({"ALL_PROXY": PROXY, "NO_PROXY": f"{entry},good.example"})

    assert len(caught) == 1
    assert entry.rpartition("@")[2] in str(caught[0].message)
    assert caught[0].filename == __file__
    assert find(parse_url("http://good.example/")) is None
    assert find(parse_url("http://example.com/")) == PROXY


def test_a_password_in_an_entry_is_not_shown() -> None:
    with pytest.warns(SecurityWarning) as caught:
        from_environment({"NO_PROXY": "http://ann:secret@example.com"})
    assert "secret" not in str(caught[0].message)


addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))


@given(addresses, st.integers(0, 128), addresses)
def test_blocks_are_those_of_ipaddress(block: Any, bits: int, address: Any) -> None:
    bits = min(bits, block.max_prefixlen)
    mapped = getattr(address, "ipv4_mapped", None) or address
    if getattr(block, "ipv4_mapped", None) is not None:
        return
    network = ipaddress.ip_network(f"{block}/{bits}", strict=False)
    host = f"[{address}]" if address.version == 6 else str(address)
    assert is_direct(f"{block}/{bits}", f"http://{host}/") is (mapped in network)


labels = st.from_regex(r"[a-z][a-z0-9-]{0,8}[a-z0-9]", fullmatch=True)
names = st.lists(labels, min_size=1, max_size=4).map(".".join)


@given(names, names)
def test_a_name_covers_itself_and_what_ends_in_it_behind_a_dot(entry: str, host: str) -> None:
    expected = f".{host}".endswith(f".{entry}")
    assert is_direct(entry, f"http://{host}/") is expected
    assert is_direct(f".{entry}", f"http://{host}/") is expected
    assert is_direct(entry, f"http://{host}.{entry}/")


@given(st.text(max_size=60))
def test_no_text_raises_anything(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        is_direct(text, "http://example.com/")


# -- which variable ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "http", "https"),
    [
        ({}, None, None),
        ({"HTTP_PROXY": "http://a:1"}, "http://a:1", None),
        ({"http_proxy": "http://a:1"}, "http://a:1", None),
        ({"HTTPS_PROXY": "http://a:1"}, None, "http://a:1"),
        ({"ALL_PROXY": "http://a:1"}, "http://a:1", "http://a:1"),
        ({"ALL_PROXY": "http://a:1", "https_proxy": "http://b:2"}, "http://a:1", "http://b:2"),
        ({"HTTP_PROXY": "http://a:1", "http_proxy": "http://b:2"}, "http://b:2", None),
        ({"ALL_PROXY": "http://a:1", "all_proxy": "http://b:2"}, "http://b:2", "http://b:2"),
        ({"HTTP_PROXY": "http://a:1", "http_proxy": ""}, None, None),
        ({"HTTPS_PROXY": "", "ALL_PROXY": "http://a:1"}, "http://a:1", "http://a:1"),
        ({"HTTP_PROXY": "a:1"}, "http://a:1", None),
        ({"HTTP_PROXY": " localhost:8080 "}, "http://localhost:8080", None),
        ({"ALL_PROXY": "socks5h://a:1"}, "socks5h://a:1", "socks5h://a:1"),
        # A client of a CGI program can set HTTP_PROXY by a header "Proxy" (httpoxy).
        ({"HTTP_PROXY": "http://evil:1", "REQUEST_METHOD": "GET"}, None, None),
        ({"http_proxy": "http://a:1", "REQUEST_METHOD": "GET"}, "http://a:1", None),
        ({"HTTPS_PROXY": "http://a:1", "REQUEST_METHOD": "GET"}, None, "http://a:1"),
    ],
    ids=str,
)
def test_which_variable_counts(environ: dict[str, str], http: str | None, https: Any) -> None:
    find = from_environment(environ)

    assert find(parse_url("http://example.com/")) == http
    assert find(parse_url("https://example.com/")) == https
    assert find("https://example.com/") == https  # type: ignore[arg-type]  # a str will do


def test_lower_case_no_proxy_wins() -> None:
    environ = {"ALL_PROXY": PROXY, "no_proxy": "a.example", "NO_PROXY": "b.example"}
    find = from_environment(environ)
    assert find(parse_url("http://a.example")) is None
    assert find(parse_url("http://b.example")) == PROXY


def test_the_environment_is_that_of_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", PROXY)
    find = from_environment()
    monkeypatch.setenv("HTTP_PROXY", "http://later:1")
    assert find(parse_url("http://example.com/")) == PROXY


def test_without_being_asked_no_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", PROXY)
    monkeypatch.setenv("HTTP_PROXY", PROXY)

    assert PoolManager().connection_from_url("http://example.com/").proxy is None
    assert PoolManager(proxies={}).connection_from_url("http://example.com/").proxy is None
    assert os.environ["HTTP_PROXY"] == PROXY


def test_the_repr_of_what_the_environment_says_hides_passwords() -> None:
    find = from_environment({"ALL_PROXY": "http://ann:secret@a:1", "NO_PROXY": "x.example"})
    assert "secret" not in repr(find)
    assert "a:1" in repr(find)


# -- mappings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("http://example.com/", 1),
        ("https://example.com/", 2),
        ("http://host.example/", 3),
        ("http://host.example:8080/", 4),
        ("http://HOST.example:8080/", 4),
        ("https://host.example/", 2),
        ("http://direct.example/", None),
        ("https://port.example/", 5),
        ("https://port.example:444/", 2),
        ("http://[::1]/", 6),
    ],
)
def test_the_most_telling_key_of_a_mapping_counts(url: str, port: int | None) -> None:
    find = chooser(
        {
            "http": "http://p:1",
            "https": "http://p:2",
            "http://host.example": "http://p:3",
            "http://host.example:8080/": "http://p:4",
            "http://direct.example": None,
            "https://port.example:443": "http://p:5",
            "HTTP://[::1]": "http://p:6",
        }
    )
    found = find(parse_url(url))
    assert (None if found is None else found.url.port) == port  # type: ignore[union-attr]


def test_all_is_for_what_has_no_key_of_its_own() -> None:
    find = chooser({"all": "http://p:1", "https": None, "all://host.example": "http://p:2"})
    assert find(parse_url("http://example.com")) == Proxy("http://p:1")
    assert find(parse_url("http://host.example")) == Proxy("http://p:2")
    assert find(parse_url("https://example.com")) is None


@pytest.mark.parametrize(
    "key", ["ftp", "htps", "example.com", "http://", "http://h/path", "http://h?q", "", 5, None]
)
def test_a_key_that_leads_nowhere_is_refused(key: Any) -> None:
    with pytest.raises(ValueError, match="a key of proxies is http, https or all") as caught:
        PoolManager(proxies={key: PROXY})
    assert repr(key) in str(caught.value)


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        ("ftp://p:1", ProxySchemeUnknown, "unsupported scheme ftp"),
        ("socks://p:1", ProxySchemeUnknown, "unsupported scheme socks"),
        ("p:1", ProxySchemeUnknown, "unsupported scheme p"),
        ("p.example", ProxySchemeUnknown, "had no scheme"),
        ("", ProxySchemeUnknown, "had no scheme"),
        ("http://", LocationValueError, "the proxy URL has no host: 'http://'"),
        ("http://:80", LocationValueError, "the proxy URL has no host"),
        ("socks5://", LocationValueError, "the proxy URL has no host"),
        ("http://ann:secret@", LocationValueError, "the proxy URL has no host: 'http://***@'"),
        ("http://ann:secret@[::1", LocationParseError, "Failed to parse"),
        ("http://ann:secret@p:port", LocationParseError, "Failed to parse"),
        ("http://a%3Ab:secret@p:1", ValueError, "holds a colon"),
        (5, TypeError, "a proxy is a URL, a Proxy, or None, not int"),
        (b"http://p:1", TypeError, "not bytes"),
    ],
)
def test_a_bad_proxy_is_refused_at_once(value: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text.replace("*", r"\*")) as caught:
        PoolManager(proxies={"http": value})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://", "http://ann:secret@", "https:///path"])
def test_the_proxy_of_a_manager_has_a_host(url: str) -> None:
    with pytest.raises(LocationValueError, match="the proxy URL has no host: 'http") as caught:
        ProxyManager(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("proxies", ["http://ann:secret@p:1", 5, [PROXY], b"env"], ids=str)
def test_proxies_of_another_kind_are_refused(proxies: Any) -> None:
    with pytest.raises(TypeError, match='a mapping, a callable, or "env"') as caught:
        PoolManager(proxies=proxies)
    assert "secret" not in str(caught.value)


def test_one_proxy_and_many_do_not_go_together() -> None:
    with pytest.raises(TypeError, match="ProxyManager has one proxy"):
        ProxyManager(PROXY, proxies={})
    with pytest.raises(TypeError, match="SOCKSProxyManager has one proxy"):
        SOCKSProxyManager("socks5://p:1", proxies="env")
    with pytest.raises(ValueError, match="no effect without proxies"):
        PoolManager(proxy_auth=lambda challenge: None)


@pytest.mark.parametrize(
    "make",
    [lambda **kw: PoolManager(proxies={}, **kw), lambda **kw: ProxyManager(PROXY, **kw)],
    ids=["many", "one"],
)
def test_what_answers_challenges_can_be_called(make: Any) -> None:
    with pytest.raises(TypeError, match="proxy_auth is a callable, not str"):
        make(proxy_auth="Basic abc")


# -- a proxy -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("http://p", 80),
        ("https://p", 443),
        ("socks5h://p", 1080),
        ("socks4://p:9", 9),
    ],
)
def test_a_proxy_has_a_port(url: str, port: int) -> None:
    assert Proxy(url).url.port == port


@pytest.mark.parametrize(
    ("userinfo", "field"),
    [
        ("ann:secret", "Basic YW5uOnNlY3JldA=="),
        ("ann", "Basic YW5uOg=="),
        ("ann:", "Basic YW5uOg=="),
        ("a%40b:c%3Ad%2F", "Basic YUBiOmM6ZC8="),
        ("b%C3%BCcher:%E2%82%AC", "Basic YsO8Y2hlcjrigqw="),
        ("b\u00fccher:\u20ac", "Basic YsO8Y2hlcjrigqw="),
        ("a%FF:b", "Basic Yf86Yg=="),
    ],
)
def test_credentials_of_the_url_become_a_header(userinfo: str, field: str) -> None:
    """Percent-decoded, as UTF-8; octets that are none stay what they are (RFC 7617)."""
    assert Proxy(f"http://{userinfo}@p:1").headers["proxy-authorization"] == field
    manager = ProxyManager(f"http://{userinfo}@p:1")
    assert manager.proxy_headers["proxy-authorization"] == field
    assert manager.proxy == parse_url("http://p:1")


@pytest.mark.parametrize("name", ["Proxy-Authorization", "proxy-authorization"])
def test_a_header_that_is_given_replaces_the_credentials_of_the_url(name: str) -> None:
    headers = {name: "Bearer mine"}
    assert Proxy("http://a:b@p:1", headers=headers).headers["proxy-authorization"] == "Bearer mine"
    manager = ProxyManager("http://a:b@p:1", proxy_headers=headers)
    assert manager.proxy_headers["proxy-authorization"] == "Bearer mine"
    assert headers == {name: "Bearer mine"}


def test_nothing_shows_the_password() -> None:
    proxy = Proxy("http://ann:secret@p.example:1", headers={"X-Key": "hidden"})
    manager = PoolManager(proxies={"all": proxy})
    manager.connection_from_url("https://example.com/")
    one = ProxyManager("http://ann:secret@p.example:1")
    one.connection_from_url("https://example.com/")
    text = " ".join(
        repr(value)
        for value in (
            proxy, manager._router, manager.pools.keys(), one.proxy, one.pools.keys(),
            one.connection_from_url("https://example.com/")._new_conn(),
        )
    )  # fmt: skip
    assert "p.example:1" in text
    for secret in ("secret", "c2VjcmV0", "hidden"):
        assert secret not in text


def test_equal_proxies_are_one_value() -> None:
    assert Proxy("http://a:b@p:1") == Proxy("http://a:b@p:1")
    assert len({Proxy("http://a:b@p:1"), Proxy(parse_url("http://a:b@p:1"))}) == 1
    for other in ("http://a:c@p:1", "http://p:1", "https://a:b@p:1", "http://a:b@p:2"):
        assert Proxy("http://a:b@p:1") != Proxy(other)
    assert Proxy("http://p:1") != Proxy("http://p:1", use_forwarding_for_https=True)
    assert Proxy("http://p:1") != "http://p:1"


@pytest.mark.parametrize(
    "options",
    [{"headers": {"a": "b"}}, {"ssl_context": object()}, {"assert_hostname": "x"}],
    ids=["headers", "context", "name"],
)
def test_socks_knows_neither_headers_nor_tls(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a SOCKS proxy knows neither"):
        Proxy("socks5://ann:secret@p:1", **options)


# -- pools ---------------------------------------------------------------------------------------


def test_pools_are_per_route() -> None:
    """http targets of one proxy share a pool; each https target has its own; so has each proxy."""
    chosen: list[Any] = [None]
    manager = PoolManager(proxies=lambda url: chosen[0])
    found = []
    for proxy in (None, "http://p:1", "http://a:b@p:1", "http://p:2"):
        chosen[0] = proxy
        found += [
            manager.connection_from_url(url)
            for url in ("http://one.example/", "http://two.example/", "https://one.example/")
        ]
    assert len({id(pool) for pool in found}) == 3 + 3 * 2
    assert [pool.host for pool in found[3:6]] == ["p", "p", "one.example"]
    assert found[0].proxy is None
    assert found[5].proxy == parse_url("http://p:1")
    chosen[0] = Proxy("http://p:1")
    assert manager.connection_from_url("http://three.example/") is found[3]


def test_a_key_class_without_a_proxy_does_not_mix_routes() -> None:
    """What was meant for one proxy must not go through another, or through none."""
    chosen: list[Any] = [None]
    manager = PoolManager(proxies=lambda url: chosen[0])
    manager.key_fn_by_scheme["https"] = partial(default_key_normalizer, HTTPSPoolKey)
    pools = []
    for proxy in (None, "http://p:1", "http://p:2", "socks5://p:3", "socks5://p:4", "http://p:1"):
        chosen[0] = proxy
        pools.append(manager.connection_from_url("https://one.example/"))
    assert pools[1] is pools[5]
    assert len({id(pool) for pool in pools}) == 5


@pytest.mark.parametrize("proxy", ["http://a:b@p:1", "socks5://a:b@p:1", None], ids=str)
@pytest.mark.parametrize("own_keys", [False, True], ids=["usual-keys", "own-keys"])
def test_all_ways_to_a_pool_are_routed(proxy: str | None, own_keys: bool) -> None:
    """By a URL, a host, a context, or the key of a pool that was dropped meanwhile."""
    manager = PoolManager(proxies=lambda url: proxy)
    if own_keys:
        manager.key_fn_by_scheme["https"] = partial(default_key_normalizer, HTTPSPoolKey)
    pool = manager.connection_from_url("https://one.example/")
    assert manager.connection_from_host("one.example", scheme="https") is pool
    context = {"scheme": "https", "host": "one.example", "port": 443}
    assert manager.connection_from_context(context) is pool

    (key,) = manager.pools.keys()
    assert manager.connection_from_pool_key(key) is pool
    manager.clear()
    again = manager.connection_from_pool_key(key)
    assert again is not pool
    assert type(again) is type(pool)
    assert (again.host, again.port, again.proxy) == (pool.host, pool.port, pool.proxy)
    assert dict(again.proxy_headers) == dict(pool.proxy_headers)
    assert again.conn_kw == pool.conn_kw


def test_a_callable_sees_the_url_without_credentials() -> None:
    seen: list[Url] = []
    manager = PoolManager(proxies=seen.append)
    manager.connection_from_host("::1", 8080)
    manager.connection_from_url("https://example.com/")

    assert seen == [Url("http", None, "[::1]", 8080), Url("https", None, "example.com", 443)]


def test_a_scheme_that_nobody_knows_is_not_left_to_a_proxy() -> None:
    manager = PoolManager(proxies={"all": PROXY})
    for ask in (
        lambda: manager.request("GET", "ftp://example.com/"),
        lambda: manager.connection_from_url("ftp://example.com/"),
        lambda: manager.connection_from_host("example.com", scheme="ftp"),
    ):
        with pytest.raises(URLSchemeUnknown):
            ask()


def test_a_callable_that_returns_nonsense() -> None:
    for nonsense in (5, [], b"http://p:1"):
        manager = PoolManager(proxies=lambda url, answer=nonsense: answer)
        with pytest.raises(TypeError, match="a proxy is a URL, a Proxy, or None, not"):
            manager.connection_from_url("http://example.com/")
