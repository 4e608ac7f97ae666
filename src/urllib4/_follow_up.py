"""After an answer or an error: return it, raise, try again, or follow the redirect?

Pure decisions, the same for a pool and for a manager of pools.  The policy is asked through
the public hooks of :class:`Retry`, which programs override.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urljoin

from ._collections import HTTPHeaderDict
from .exceptions import InsecureRedirectError, LocationParseError, MaxRetryError, URLSchemeUnknown
from .util.retry import Retry
from .util.url import Url, parse_url

#: Fields that describe a body: they go when a redirect drops the body (RFC 9110, 15.4).
CONTENT_HEADERS = frozenset(
    {
        "content-encoding", "content-language", "content-location", "content-type",
        "content-length", "digest", "last-modified", "transfer-encoding",
    }
)  # fmt: skip

_DEFAULT_PORTS = {"http": 80, "https": 443}

# For targets that have none; the name cannot exist (RFC 6761, 6.4).
_SOME_ORIGIN = "http://target.invalid"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


class _FollowedByCaller(int):
    """A false value for a pool's `redirect`: whoever calls the pool follows redirects himself."""


#: Tells a pool not to follow redirects, and not to read the body of one beforehand either.
FOLLOWED_BY_CALLER: Any = _FollowedByCaller(0)


class Step(NamedTuple):
    """What to do after an answer.

    :ivar kind: ``"return"`` the response, try ``"again"``, or go on with the ``"redirect"``.
    :ivar retries: the policy for the next attempt; None with ``"return"``.
    :ivar location: where a redirect leads, as the header says it.
    """

    kind: str
    retries: Any = None
    location: str | None = None


RETURN = Step("return")
_OWN_IS_RETRY = Retry.is_retry


def is_surely_last(status: int, retries: Any) -> bool:
    """Tell from the status alone that nothing follows an answer, whatever its fields say.

    What :func:`after_response` says then, without asking (benchmark ``small``).
    """
    return (
        200 <= status < 300
        and type(retries) is Retry
        and not retries.status_forcelist
        and Retry.is_retry is _OWN_IS_RETRY
    )


def may_follow(response: Any, retries: Any, method: str, redirect: bool) -> bool:
    """Tell whether an answer might not be the last: then its body is not read beforehand.

    A body that would be thrown away must not be downloaded first.
    """
    status = response.status
    if is_surely_last(status, retries):
        return False
    if (redirect or redirect is FOLLOWED_BY_CALLER) and response.get_redirect_location():
        return True
    return bool(retries.is_retry(method, status, "retry-after" in response.headers))


def after_response(
    response: Any, retries: Any, method: str, url: str, redirect: bool, pool: Any
) -> Step:
    """Decide what follows a response.

    :raises MaxRetryError: no attempt is left and the policy wants an error.
    """
    location = redirect and response.get_redirect_location()
    if location:
        return _count(
            Step("redirect", location=location),
            retries, retries.raise_on_redirect, method, url, response, pool,
        )  # fmt: skip
    has_retry_after = bool(response.headers.get("Retry-After"))
    if retries.is_retry(method, response.status, has_retry_after):
        return _count(Step("again"), retries, retries.raise_on_status, method, url, response, pool)
    return RETURN


def _count(
    step: Step, retries: Any, raises: bool, method: str, url: str, response: Any, pool: Any
) -> Step:
    try:
        retries = retries.increment(method, url, response=response, _pool=pool)
    except MaxRetryError:
        if raises:
            raise
        return RETURN
    return step._replace(retries=retries)


class Redirected(NamedTuple):
    """The request that follows a redirect."""

    method: str
    url: str
    headers: Mapping[str, str] | None
    drops_body: bool


def redirected(
    response: Any,
    retries: Any,
    method: str,
    url: str,
    location: str,
    headers: Any,
    origin: str | None = None,
) -> Redirected:
    """Return the request that a redirect asks for (RFC 9110, 15.4).

    303 turns every method but HEAD into GET and drops the body; other statuses keep both.
    Another origin (scheme, host or port) gets neither the secrets nor the Host of this one.

    :param url: absolute URL, or target on the same host, of the request that was redirected.
    :param origin: URL of the host that a target alone was sent to.
    :raises LocationParseError: the location cannot be understood.
    :raises URLSchemeUnknown: it leads to neither http nor https.
    :raises InsecureRedirectError: it leads from https to http, and the policy refuses that.
    """
    if origin is not None and location.startswith("//"):
        # Names a host (RFC 3986, 4.2); a target alone has no scheme for it.
        location = f"{parse_url(origin).scheme}:{location}"
    target = resolve_location(url, location)
    drops_body = response.status == 303
    if drops_body:
        method = method if method == "HEAD" else "GET"
        headers = without_headers(headers, CONTENT_HEADERS)
    here = origin if origin is not None and url.startswith("/") else url
    if not getattr(retries, "allow_downgrade", True) and _leaves_tls(here, target):
        raise InsecureRedirectError(location)
    if not same_origin(here, target):
        unwanted = {_text(name).lower() for name in retries.remove_headers_on_redirect}
        headers = without_headers(headers, frozenset(unwanted | {"host"}))
    return Redirected(method, target, headers, drops_body)


def resolve_location(url: str, location: str) -> str:
    """Return `location` as an absolute URL, or as a target where `url` is one."""
    try:
        target = _joined(url, _decoded(location))
    except ValueError as error:  # such as http://[
        raise LocationParseError(location) from error
    scheme = parse_url(target).scheme
    if scheme not in (None, "http", "https"):
        raise URLSchemeUnknown(scheme)
    return target


def _joined(url: str, location: str) -> str:
    """Do what RFC 3986, 5.2 says, for a bare target as well.

    Of a bare target, urljoin leaves the root upwards, and its versions differ in what they make of
    empty segments.  So it gets an origin for the time.
    """
    if url.startswith("/") and _SCHEME.match(location) is None and location[:2] != "//":
        joined = urljoin(_SOME_ORIGIN + url, location)
        if joined.startswith(_SOME_ORIGIN):
            return joined[len(_SOME_ORIGIN) :]
    return urljoin(url, location)


def _decoded(location: str) -> str:
    """Return a location as its server meant it.

    It should be ASCII; where it is not, it is UTF-8 nearly always, but fields are read as Latin-1.
    """
    if location.isascii():
        return location
    try:
        return location.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return location


def _leaves_tls(url: str, target: str) -> bool:
    return parse_url(url).scheme == "https" and parse_url(target).scheme == "http"


def same_origin(url: str, other: str) -> bool:
    """Tell whether two URLs have the same scheme, host and port (RFC 9110, 4.3.1).

    A bare target (``/path``) is on the same origin as anything.
    """
    if other.startswith("/") and not other.startswith("//"):
        return True
    if url.startswith("/") and not url.startswith("//"):
        return False
    return _origin(parse_url(url)) == _origin(parse_url(other))


def _origin(url: Url) -> tuple[str, str | None, int | None]:
    scheme = url.scheme or "http"
    port = url.port if url.port is not None else _DEFAULT_PORTS.get(scheme)
    return scheme, url.host, port


def without_headers(headers: Any, unwanted: frozenset[str]) -> Any:
    """Return `headers` without the `unwanted` (lower-cased) names, in a copy if need be."""
    if not headers:
        return headers
    if not isinstance(headers, HTTPHeaderDict):
        names = headers.keys() if hasattr(headers, "keys") else [name for name, _ in headers]
        if not any(_text(name).lower() in unwanted for name in names):
            return headers
    kept = HTTPHeaderDict(headers)
    for name in unwanted:
        kept.discard(name)
    return kept


def _text(name: str | bytes) -> str:
    return name.decode("latin-1") if isinstance(name, bytes) else name


def as_retry(retries: Any, redirect: bool, default: Any) -> Any:
    """Return a policy from what callers pass: a Retry, a number, a bool or None."""
    if retries is None:
        retries = default
    if isinstance(retries, Retry):
        return retries
    return Retry.from_int(retries, redirect=redirect, default=default)
