"""What `SOCKSProxyManager` makes of its arguments, before anything is sent."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import textwrap
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from python_socks import ProxyType

from urllib4.contrib import _socks, socks
from urllib4.contrib.socks import (
    SOCKSConnection,
    SOCKSHTTPConnectionPool,
    SOCKSHTTPSConnection,
    SOCKSHTTPSConnectionPool,
    SOCKSProxyManager,
)
from urllib4.exceptions import LocationParseError, LocationValueError, SecurityWarning

SECRET = "s3cret-pässword"


def options_of(manager: SOCKSProxyManager) -> dict[str, Any]:
    return dict(manager.connection_pool_kw["_socks_options"])


def sent(credential: str) -> bytes:
    """What python-socks makes of a credential: it counts characters and encodes as ASCII."""
    octets = _socks._Octets.of(credential)
    assert octets is not None
    assert len(octets) == len(octets.encode("ascii"))
    return octets.encode("ascii")


@pytest.mark.parametrize(
    ("scheme", "version", "rdns"),
    [
        ("socks4", ProxyType.SOCKS4, False),
        ("socks4a", ProxyType.SOCKS4, True),
        ("socks5", ProxyType.SOCKS5, False),
        ("SOCKS5H", ProxyType.SOCKS5, True),
    ],
)
def test_the_scheme_tells_the_version_and_who_resolves_names(
    scheme: str, version: ProxyType, rdns: bool
) -> None:
    options = options_of(SOCKSProxyManager(f"{scheme}://proxy.example:1081/"))
    assert options["socks_version"] is version
    assert options["rdns"] is rdns
    assert (options["proxy_host"], options["proxy_port"]) == ("proxy.example", 1081)


def test_the_default_port_is_that_of_socks() -> None:
    assert options_of(SOCKSProxyManager("socks5://proxy.example"))["proxy_port"] == 1080


def test_an_ipv6_proxy_loses_its_brackets() -> None:
    assert options_of(SOCKSProxyManager("socks5://[::1]:9"))["proxy_host"] == "::1"


def test_credentials_of_the_url_are_percent_decoded() -> None:
    options = options_of(SOCKSProxyManager("socks5://a%40b:c%3Ad%C3%A4:e@proxy.example"))
    assert (options["username"], options["password"]) == ("a@b", "c:dä:e")


def test_credentials_given_apart_are_taken_as_they_are_and_win() -> None:
    manager = SOCKSProxyManager("socks5://x:y@proxy.example", username="a%40", password="b%41")
    options = options_of(manager)
    assert (options["username"], options["password"]) == ("a%40", "b%41")


def test_octets_that_are_no_utf8_are_sent_as_they_are() -> None:
    """RFC 1929 speaks of octets; a replacement character would be another password."""
    options = options_of(SOCKSProxyManager("socks5://u:%FFx@proxy.example"))
    assert sent(options["password"]) == b"\xffx"


@pytest.mark.parametrize("url", ["http://h:1", "localhost:1080", "socks://h", "socks9://h", "h"])
def test_another_scheme_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="Unable to determine SOCKS version from") as caught:
        SOCKSProxyManager(url)
    assert url in str(caught.value)


@pytest.mark.parametrize("url", ["socks5://", "socks5:h", "socks4:///path"])
def test_a_url_without_a_host_is_refused(url: str) -> None:
    with pytest.raises(LocationValueError, match="no host"):
        SOCKSProxyManager(url)


@pytest.mark.parametrize("url", ["http://u:{}@h", "socks5://u:{}@", "socks5://u:{}@h:x", "u:{}@h"])
def test_errors_do_not_show_the_password(url: str) -> None:
    with pytest.raises((ValueError, LocationParseError)) as caught:
        SOCKSProxyManager(url.format(SECRET))
    assert SECRET not in str(caught.value) + repr(caught.value)


@pytest.mark.parametrize(
    ("credentials", "text"),
    [
        ({"username": "u" * 256, "password": "hush"}, "user name is too long: 256 bytes"),
        ({"username": "u", "password": "ä" * 128}, "password is too long: 256 bytes"),
        ({"username": "u", "password": "\ud800x"}, "password has characters"),
    ],
)
def test_credentials_that_do_not_fit_are_refused_at_once(
    credentials: dict[str, str], text: str
) -> None:
    with pytest.raises(ValueError, match=text) as caught:
        SOCKSProxyManager("socks5://proxy.example", **credentials)
    assert credentials["password"] not in str(caught.value)
    assert caught.value.__cause__ is None


def test_credentials_of_255_bytes_are_taken() -> None:
    options = options_of(SOCKSProxyManager("socks5://h", username="u" * 255, password="p" * 255))
    assert len(options["username"]) == len(options["password"]) == 255


@pytest.mark.parametrize("credentials", [{"username": b"u"}, {"username": "u", "password": 5}])
def test_credentials_of_another_type_are_refused(credentials: Any) -> None:
    with pytest.raises(TypeError, match="is not a str"):
        SOCKSProxyManager("socks5://h", **credentials)


def test_a_nul_would_end_the_user_name_of_socks4() -> None:
    """What follows it would be taken for the name of the host in 4a."""
    with pytest.raises(ValueError, match="NUL"):
        SOCKSProxyManager("socks4a://u%00evil.example@h")
    SOCKSProxyManager("socks5://h", username="u\0", password="p")


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("socks4://u:pw@h", "SOCKS4 has no passwords"),
        ("socks5h://u@h", "only one is given"),
        ("socks5h://:pw@h", "only one is given"),
    ],
)
def test_credentials_that_are_not_sent_are_warned_about(url: str, text: str) -> None:
    with pytest.warns(SecurityWarning, match=text) as caught:
        SOCKSProxyManager(url)
    assert caught[0].filename == __file__


def test_the_password_is_in_no_repr() -> None:
    """Debuggers and crash reports print attributes, keys of pools and local variables."""
    manager = SOCKSProxyManager(f"socks5://ann:{SECRET}@proxy.example")
    pool = manager.connection_from_url("http://example.com")
    conn = pool._new_conn()
    shown = [repr(vars(one)) + repr(one) + str(one) for one in (manager, pool, conn)]
    shown += map(repr, manager.pools.keys())
    shown.append(repr(manager.proxy_url))
    assert not any(SECRET in text for text in shown)
    assert manager.proxy_url == f"socks5://ann:{SECRET}@proxy.example"
    assert repr(manager.proxy_url) == "'socks5://***@proxy.example'"


def test_masked_texts_survive_copying_and_pickling() -> None:
    url = SOCKSProxyManager(f"socks5://ann:{SECRET}@proxy.example").proxy_url
    for twin in (copy.deepcopy(url), pickle.loads(pickle.dumps(url))):
        assert twin == url
        assert repr(twin) == repr(url)


def test_pools_of_other_credentials_are_other_pools() -> None:
    """A connection that somebody else authenticated must not be reused."""
    one = SOCKSProxyManager("socks5://ann:a@proxy.example")
    context = {"scheme": "http", "host": "example.com", "port": 80}
    keys = set()
    for url in ("ann:a", "ann:b", "bob:a"):
        manager = SOCKSProxyManager(f"socks5://{url}@proxy.example")
        keys.add(one.key_fn_by_scheme["http"]({**context, **manager.connection_pool_kw}))
    assert len(keys) == 3


def test_pools_and_connections_are_those_of_socks() -> None:
    manager = SOCKSProxyManager("socks5://proxy.example")
    plain = manager.connection_from_url("http://example.com")
    secure = manager.connection_from_url("https://example.com")
    assert type(plain) is SOCKSHTTPConnectionPool
    assert type(secure) is SOCKSHTTPSConnectionPool
    assert type(plain._new_conn()) is SOCKSConnection
    assert type(secure._new_conn()) is SOCKSHTTPSConnection
    assert manager.proxy is None


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"proxy_host": "h"}, "socks_version is ProxyType"),
        ({"proxy_host": "h", "socks_version": 3}, "not 3"),
        ({"socks_version": 2}, "no proxy_host"),
    ],
)
def test_options_of_a_connection_are_checked(options: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        SOCKSConnection(options, "example.com")


def test_a_connection_takes_the_numbers_of_pysocks() -> None:
    """Programs for urllib3 say ``socks.PROXY_TYPE_SOCKS5``, which is 2."""
    conn = SOCKSConnection({"socks_version": 2, "proxy_host": "h"}, "example.com", 81, timeout=3)
    assert conn._socks_options["socks_version"] is ProxyType.SOCKS5
    assert conn._socks_options["proxy_port"] == 1080
    assert (conn.host, conn.port, conn.timeout) == ("example.com", 81, 3)


@given(username=st.text(max_size=80), password=st.text(max_size=80))
def test_whatever_credentials_are_accepted_are_sent_as_utf8(username: str, password: str) -> None:
    try:
        expected = [text.encode("utf-8", "surrogateescape") for text in (username, password)]
    except UnicodeEncodeError:
        return
    options = {"socks_version": 2, "proxy_host": "h", "username": username, "password": password}
    if max(map(len, expected)) > 255:
        with pytest.raises(ValueError, match="too long"):
            SOCKSConnection(options, "example.com")
        return
    kept = SOCKSConnection(options, "example.com")._socks_options
    assert [sent(kept["username"]), sent(kept["password"])] == expected


def test_the_public_names() -> None:
    assert set(socks.__all__) == {
        "SOCKSConnection",
        "SOCKSHTTPConnectionPool",
        "SOCKSHTTPSConnection",
        "SOCKSHTTPSConnectionPool",
        "SOCKSProxyManager",
    }


def test_without_python_socks_the_import_says_what_to_install() -> None:
    """An ImportError, as for any missing package, and a warning that names ours."""
    code = """
        import sys, warnings
        sys.modules["python_socks"] = None
        import urllib4
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                import urllib4.contrib.socks
            except ImportError:
                print("ImportError")
        print(*(f"{one.category.__name__}: {one.message}" for one in caught))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    error, warning = done.stdout.splitlines()
    assert error == "ImportError"
    assert warning.startswith("DependencyWarning: ")
    assert "urllib4[socks]" in warning


def test_urllib4_itself_does_not_import_python_socks() -> None:
    code = "import sys, urllib4, urllib4.util; print('python_socks' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
