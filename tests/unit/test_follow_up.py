"""What follows an answer: the table of redirects, and the questions to the retry policy."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from urllib4._collections import HTTPHeaderDict
from urllib4._follow_up import (
    CONTENT_HEADERS,
    RETURN,
    after_response,
    as_retry,
    may_follow,
    redirected,
    resolve_location,
    same_origin,
    without_headers,
)
from urllib4.exceptions import (
    LocationParseError,
    MaxRetryError,
    URLSchemeUnknown,
)
from urllib4.response import HTTPResponse
from urllib4.util.retry import Retry

HERE = "http://here.example/dir/page?q=1"


def answer(status: int, location: str | None = None, **headers: str) -> HTTPResponse:
    fields = dict(headers)
    if location is not None:
        fields["Location"] = location
    return HTTPResponse(b"", headers=fields, status=status)


def follow(
    location: str,
    *,
    status: int = 302,
    method: str = "GET",
    url: str = HERE,
    headers: Any = None,
    retries: Retry | None = None,
) -> Any:
    retries = Retry(3) if retries is None else retries
    return redirected(answer(status, location), retries, method, url, location, headers)


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_only_303_changes_the_method_and_drops_the_body(status: int, method: str) -> None:
    """RFC 9110, 15.4.4: 303 means GET; HEAD stays HEAD.  The other statuses keep both."""
    content = {name.title(): "x" for name in CONTENT_HEADERS}
    following = follow(
        "/next", status=status, method=method, headers={**content, "Accept": "text/plain"}
    )
    assert following.url == "http://here.example/next"
    if status == 303:
        assert following.method == ("HEAD" if method == "HEAD" else "GET")
        assert following.drops_body
        assert dict(following.headers) == {"Accept": "text/plain"}
    else:
        assert (following.method, following.drops_body) == (method, False)
        assert dict(following.headers) == {**content, "Accept": "text/plain"}


SECRETS = {
    "Authorization": "Basic c2VjcmV0",
    "cookie": "session=1",
    "PROXY-AUTHORIZATION": "Basic c2VjcmV0",
    "Host": "virtual.example",
    "Accept": "text/plain",
}


@pytest.mark.parametrize(
    ("url", "location", "same"),
    [
        ("http://a.example/x", "/y", True),
        ("http://a.example/x", "http://a.example/y", True),
        ("http://a.example/x", "HTTP://A.EXAMPLE:80/y", True),
        ("http://a.example/x", "//a.example/y", True),
        ("https://a.example:443/x", "https://a.example/y", True),
        ("http://[::1]:8080/x", "http://[::1]:8080/y", True),
        ("http://a.example/x", "https://a.example/y", False),
        ("https://a.example/x", "http://a.example/y", False),
        ("https://a.example:443/x", "http://a.example:443/y", False),
        ("http://a.example/x", "http://a.example:8080/y", False),
        ("http://a.example:8080/x", "http://a.example/y", False),
        ("http://a.example/x", "http://b.example/y", False),
        ("http://a.example/x", "//b.example/y", False),
        ("http://a.example/x", "http://a.example.evil.example/y", False),
        ("http://a.example/x", "http://a.example@evil.example/y", False),
        ("http://a.example/x", "http://sub.a.example/y", False),
        # A name server may find another host for the one (search lists) than for the other.
        ("http://a.example/x", "http://a.example./y", False),
        ("http://a.example./x", "http://a.example/y", False),
        ("http://a.example./x", "http://a.example./y", True),
    ],
)
def test_secrets_and_host_stay_with_their_origin(url: str, location: str, same: bool) -> None:
    """An origin is scheme, host and port (RFC 9110, 4.3.1); the caller's mapping is left alone."""
    given = dict(SECRETS)
    following = follow(location, url=url, headers=given)
    expected = SECRETS if same else {"Accept": "text/plain"}
    assert dict(following.headers) == expected
    assert given == SECRETS


@pytest.mark.parametrize(
    ("location", "same"),
    [
        ("/y", True),
        ("http://a.example:8080/y", True),
        ("//a.example:8080/y", True),
        ("http://a.example/y", False),
        ("https://a.example:8080/y", False),
        ("//b.example:8080/y", False),
    ],
)
def test_a_pool_that_asks_for_targets_has_an_origin_too(location: str, same: bool) -> None:
    """Many servers redirect to absolute URLs of their own: a login must survive that."""
    following = redirected(
        answer(302, location), Retry(3), "GET", "/x", location, SECRETS, "http://a.example:8080"
    )
    assert dict(following.headers) == (SECRETS if same else {"Accept": "text/plain"})
    assert following.url == (f"http:{location}" if location.startswith("//") else location)


def test_header_names_given_as_bytes_are_secrets_too() -> None:
    headers: Mapping[Any, Any] = {
        b"Authorization": "Basic c2VjcmV0", b"COOKIE": "1", b"host": "x", b"Accept": "y",
    }  # fmt: skip
    following = follow("http://b.example/", headers=headers)
    assert dict(following.headers) == {"Accept": "y"}


def test_the_policy_says_which_headers_are_secrets() -> None:
    retries = Retry(3, remove_headers_on_redirect=["X-Api-Secret"])
    headers = {"x-api-secret": "1", "Authorization": "2"}
    following = follow("http://b.example/", headers=headers, retries=retries)
    assert dict(following.headers) == {"Authorization": "2"}


@pytest.mark.parametrize("headers", [None, {}])
def test_no_headers_stay_no_headers(headers: Any) -> None:
    assert follow("http://b.example/", status=303, headers=headers).headers == headers


def test_repeated_header_lines_survive_a_redirect() -> None:
    headers = HTTPHeaderDict([("X-Many", "1"), ("X-Many", "2"), ("Cookie", "3")])
    following = follow("http://b.example/", headers=headers)
    assert following.headers.getlist("x-many") == ["1", "2"]
    assert "cookie" in headers


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("next", "http://here.example/dir/next"),
        ("../up", "http://here.example/up"),
        ("/abs/path?x=y", "http://here.example/abs/path?x=y"),
        ("?other=2", "http://here.example/dir/page?other=2"),
        ("//there.example/x", "http://there.example/x"),
        ("https://there.example/x", "https://there.example/x"),
        ("HTTPS://there.example/x", "HTTPS://there.example/x"),
        ("http://there.example", "http://there.example"),
        ("/a%20b/%E2%82%AC%2F", "http://here.example/a%20b/%E2%82%AC%2F"),
        ("/a#fragment", "http://here.example/a#fragment"),
        ("#fragment", "http://here.example/dir/page?q=1#fragment"),
        ("/with space", "http://here.example/with space"),
    ],
)
def test_a_location_is_resolved_against_the_request(location: str, target: str) -> None:
    """RFC 3986, 5; what is encoded stays as it is, what is not is encoded when it is sent."""
    assert resolve_location(HERE, location) == target


@pytest.mark.parametrize("location", ["http://[", "http://[::1", "//[", "http://a.example:port/"])
def test_a_malformed_location_is_our_error(location: str) -> None:
    """The server sent it: ValueError of the standard library would not be understood as that."""
    with pytest.raises(LocationParseError):
        resolve_location(HERE, location)


@pytest.mark.parametrize(
    "location",
    ["ftp://a.example/", "file:///etc/passwd", "gopher://x/", "javascript://x/",
     "data:text/plain,x", "mailto:a@b.example", "javascript:alert(1)"],
)  # fmt: skip
def test_a_location_of_another_scheme_is_refused(location: str) -> None:
    with pytest.raises((URLSchemeUnknown, LocationParseError)):
        resolve_location(HERE, location)


@pytest.mark.parametrize(
    ("location", "target"),
    [("next", "/dir/next"), ("/x", "/x"), ("?a", "/dir/page?a"), ("http://b/x", "http://b/x")],
)
def test_a_target_alone_is_resolved_to_a_target(location: str, target: str) -> None:
    """A pool knows its host and asks for paths."""
    assert resolve_location("/dir/page", location) == target


@pytest.mark.parametrize("other", ["/", "/x?y", "/x#y"])
def test_a_target_is_on_the_same_origin_as_anything(other: str) -> None:
    assert same_origin("http://a.example/", other)
    assert same_origin("/page", other)


@given(st.text(max_size=30), st.sampled_from([HERE, "/dir/page"]))
def test_whatever_a_location_holds_is_a_target_or_our_error(location: str, url: str) -> None:
    """What a server sends leads to no other exception."""
    with suppress(LocationParseError, URLSchemeUnknown):
        assert follow(location, url=url, headers=SECRETS).url


@given(
    st.dictionaries(
        st.sampled_from(["A", "b", "Host", "hOST", "COOKIE", "Content-Type"]), st.just("1")
    ),
    st.sets(st.sampled_from(["host", "cookie", "content-type"])),
)
def test_removing_headers_removes_exactly_those(
    headers: dict[str, str], unwanted: set[str]
) -> None:
    before = dict(headers)
    kept = without_headers(headers, frozenset(unwanted))
    assert {name.lower() for name in kept} == {name.lower() for name in headers} - unwanted
    assert headers == before


# -- what the policy is asked ----------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 204, 206, 304, 400, 404, 500])
def test_an_answer_that_is_final_is_returned(status: int) -> None:
    assert after_response(answer(status), Retry(3), "GET", HERE, True, None) is RETURN


def test_a_redirect_is_counted() -> None:
    step = after_response(answer(302, "/x"), Retry(3, redirect=2), "GET", HERE, True, None)
    assert (step.kind, step.location) == ("redirect", "/x")
    assert (step.retries.total, step.retries.redirect) == (2, 1)
    assert step.retries.history[-1].redirect_location == "/x"


def test_a_redirect_that_is_not_wanted_is_returned() -> None:
    assert after_response(answer(302, "/x"), Retry(3), "GET", HERE, False, None) is RETURN


@pytest.mark.parametrize("status", [300, 304, 305, 200])
def test_a_location_without_a_redirect_status_is_returned(status: int) -> None:
    assert after_response(answer(status, "/x"), Retry(3), "GET", HERE, True, None) is RETURN


def test_one_redirect_too_many_is_an_error_or_the_answer() -> None:
    """As ``raise_on_redirect`` says."""
    response = answer(302, "/x")
    with pytest.raises(MaxRetryError, match="too many redirects"):
        after_response(response, Retry(0), "GET", HERE, True, None)
    lenient = Retry(0, raise_on_redirect=False)
    assert after_response(response, lenient, "GET", HERE, True, None) is RETURN


def test_a_status_on_the_list_is_tried_again() -> None:
    retries = Retry(3, status_forcelist=[503])
    step = after_response(answer(503), retries, "GET", HERE, True, None)
    assert (step.kind, step.retries.total, step.location) == ("again", 2, None)
    assert after_response(answer(503), retries, "POST", HERE, True, None) is RETURN


def test_one_status_too_many_is_an_error_or_the_answer() -> None:
    response = answer(503)
    with pytest.raises(MaxRetryError, match="too many 503"):
        after_response(response, Retry(0, status_forcelist=[503]), "GET", HERE, True, None)
    lenient = Retry(0, status_forcelist=[503], raise_on_status=False)
    assert after_response(response, lenient, "GET", HERE, True, None) is RETURN


def test_retry_after_makes_some_statuses_tried_again() -> None:
    """RFC 9110, 10.2.3."""
    response = HTTPResponse(b"", headers={"Retry-After": "1"}, status=503)
    assert after_response(response, Retry(3), "GET", HERE, True, None).kind == "again"
    ignoring = Retry(3, respect_retry_after_header=False)
    assert after_response(response, ignoring, "GET", HERE, True, None) is RETURN


@pytest.mark.parametrize("redirect", [True, False])
@pytest.mark.parametrize(
    "retries", [Retry(3), Retry(3, status_forcelist=[200, 500]), Retry(0, raise_on_redirect=False)]
)
@pytest.mark.parametrize("status", [200, 302, 303, 413, 429, 500, 503])
def test_a_body_that_might_be_thrown_away_is_not_read_first(
    status: int, retries: Retry, redirect: bool
) -> None:
    """may_follow() must be true wherever after_response() leads to another request."""
    for headers in ({}, {"Retry-After": "1"}, {"Location": "/x"}):
        response = HTTPResponse(b"", headers=headers, status=status)
        step = after_response(response, retries, "GET", HERE, redirect, None)
        assert step is RETURN or may_follow(response, retries, "GET", redirect)


def test_the_public_hooks_of_the_policy_decide() -> None:
    """Programs override them."""

    class Stubborn(Retry):
        def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
            return status_code == 418

        def increment(self, *args: Any, **kwargs: Any) -> Retry:
            return self.new(total=42)

    step = after_response(answer(418), Stubborn(3), "POST", HERE, True, None)
    assert (step.kind, type(step.retries), step.retries.total) == ("again", Stubborn, 42)


@pytest.mark.parametrize(
    ("given", "total"), [(5, 5), (0, 0), (False, False), (None, 7)], ids=["5", "0", "False", "None"]
)
def test_a_policy_is_made_from_what_callers_pass(given: Any, total: Any) -> None:
    assert as_retry(given, True, Retry(7)).total == total


def test_a_policy_that_is_given_is_used_itself() -> None:
    retries = Retry(2)
    assert as_retry(retries, True, Retry(7)) is retries
