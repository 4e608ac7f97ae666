"""Challenges of proxies: how they are read, and when the program is asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from urllib4 import HTTPHeaderDict
from urllib4._base_connection import ProxyConfig
from urllib4._proxy_auth import (
    MAX_CHALLENGES,
    AnsweringProxyConfig,
    Authenticator,
    ProxyChallenge,
    parse_challenges,
)
from urllib4.util.url import parse_url

PROXY = parse_url("http://p.example:1")


def parsed(*values: str) -> list[ProxyChallenge]:
    return parse_challenges(values, PROXY, "GET", "http://x/")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('Basic realm="a"', [("basic", {"realm": "a"}, 'Basic realm="a"')]),
        ("Basic realm=a", [("basic", {"realm": "a"}, "Basic realm=a")]),
        ("BASIC Realm = a", [("basic", {"realm": "a"}, "BASIC Realm = a")]),
        ("Negotiate", [("negotiate", {}, "Negotiate")]),
        ("NTLM TlRMTVNTUAAC==", [("ntlm", {}, "NTLM TlRMTVNTUAAC==")]),
        (r'Basic realm="a\"b\\c"', [("basic", {"realm": 'a"b\\c'}, r'Basic realm="a\"b\\c"')]),
        ('Basic realm="a, X b"', [("basic", {"realm": "a, X b"}, 'Basic realm="a, X b"')]),
        (
            'Negotiate, Digest realm="r", nonce="1", Basic realm="s"',
            [
                ("negotiate", {}, "Negotiate"),
                ("digest", {"realm": "r", "nonce": "1"}, 'Digest realm="r", nonce="1"'),
                ("basic", {"realm": "s"}, 'Basic realm="s"'),
            ],
        ),
        (
            "NTLM abc=, Basic realm=x",
            [("ntlm", {}, "NTLM abc="), ("basic", {"realm": "x"}, "Basic realm=x")],
        ),
        (
            "X realm=a, realm=b,charset=UTF-8",
            [("x", {"realm": "a", "charset": "UTF-8"}, "X realm=a, realm=b,charset=UTF-8")],
        ),
        (", ,Basic realm=x,", [("basic", {"realm": "x"}, "Basic realm=x")]),
        ("", []),
        (" , ", []),
        ('"quoted"', []),
        ("=", []),
    ],
)  # fmt: skip
def test_a_field_is_a_list_of_challenges(
    value: str, expected: list[tuple[str, dict[str, str], str]]
) -> None:
    """RFC 9110, 11.6.1."""
    found = parsed(value)
    assert [(one.scheme, one.parameters, one.raw) for one in found] == expected
    assert [one.realm for one in found] == [one.parameters.get("realm") for one in found]


def test_what_is_malformed_ends_one_field_only() -> None:
    assert [one.scheme for one in parsed('Digest realm="open, Basic x', "Basic realm=y")][-1:] == [
        "basic"
    ]


def test_a_challenge_tells_what_was_refused() -> None:
    (challenge,) = parsed("Basic realm=a")
    assert (challenge.proxy, challenge.method, challenge.target) == (PROXY, "GET", "http://x/")


@given(st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=200))
def test_no_field_is_too_odd(value: str) -> None:
    for challenge in parsed(value):
        assert challenge.scheme
        assert challenge.raw in value


@pytest.mark.parametrize(
    "value",
    ["a " * 50_000, "a=" * 50_000, "," * 100_000, 'Basic realm="' + "\\" * 100_000,
     "Basic " + "a=b," * 30_000, " \t" * 50_000, "Basic a" + " " * 100_000 + "x"],
    ids=["words", "equals", "commas", "escapes", "parameters", "blanks", "gap"],
)  # fmt: skip
def test_reading_takes_no_more_than_linear_time(value: str) -> None:
    """A head may be long; the suite's time limit would tell."""
    parsed(value)


def headers(*values: str) -> HTTPHeaderDict:
    return HTTPHeaderDict([("Proxy-Authenticate", value) for value in values])


def test_a_challenge_is_asked_once_in_a_call() -> None:
    seen = []
    auth = Authenticator(lambda one: seen.append(one.raw) or f"Basic {len(seen)}", PROXY)  # type: ignore[func-returns-value]
    asked: list[str] = []
    refusal = headers("Basic realm=a, Basic realm=b")

    assert auth.answer(refusal, asked, None, "GET", "/") == "Basic 1"
    assert auth.answer(refusal, asked, "Basic 1", "GET", "/") == "Basic 2"
    assert auth.answer(refusal, asked, "Basic 2", "GET", "/") is None
    assert auth.authorization is None
    assert seen == ["Basic realm=a", "Basic realm=b"]


def test_there_is_a_bound_on_challenges() -> None:
    auth = Authenticator(lambda one: None, PROXY)
    asked: list[str] = []
    auth.answer(
        headers(*(f"Basic realm={number}" for number in range(50))), asked, None, "GET", "/"
    )
    assert len(asked) == MAX_CHALLENGES


def test_what_another_thread_was_told_meanwhile_is_used() -> None:
    auth = Authenticator(lambda one: "Basic other", PROXY)
    auth.answer(headers("Basic realm=a"), [], None, "GET", "/")
    asked: list[str] = []

    assert auth.answer(headers("Basic realm=a"), asked, None, "GET", "/") == "Basic other"
    assert auth.answer(headers("Basic realm=b"), asked, "Basic other", "GET", "/") == "Basic other"
    assert asked == ["", "Basic realm=b"]


def test_a_configuration_with_an_answer_is_like_no_other() -> None:
    """It is part of pool keys: pools of different programs' answers are never shared."""
    plain = ProxyConfig(None, False, None, None)
    auth, other = (Authenticator(lambda one: None, PROXY) for _ in range(2))
    one = AnsweringProxyConfig.of(plain, auth)

    assert one == AnsweringProxyConfig.of(plain, auth)
    assert hash(one) == hash(AnsweringProxyConfig.of(plain, auth))
    assert one != AnsweringProxyConfig.of(plain, other)
    assert one != plain
    assert plain != one
    ssl_context, forwarding, hostname, fingerprint = one
    assert (ssl_context, forwarding, hostname, fingerprint) == plain
