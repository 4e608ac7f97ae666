"""Which proxy leads to which target: mappings, the environment, and exceptions from both.

``PoolManager(proxies=...)`` takes what is described here::

    PoolManager(proxies="env")
    PoolManager(proxies={"https": "http://proxy.example:3128", "http://intranet": None})
    PoolManager(proxies=lambda url: "socks5h://localhost" if url.host.endswith(".onion") else None)

No environment variable is read unless :func:`from_environment` is called, or ``"env"`` given.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, Union

from ._caller import warn_caller
from ._collections import HTTPHeaderDict
from ._proxy_auth import ProxyChallenge, basic_authorization
from ._route import PROXY_AUTHORIZATION
from .connection import check_pinning
from .exceptions import (
    LocationParseError,
    LocationValueError,
    ProxySchemeUnknown,
    SecurityWarning,
    _without_any_userinfo,
)
from .util.url import Url, _normalize_host, parse_url

__all__ = ["Proxy", "ProxyChallenge", "from_environment"]

_DEFAULT_PORTS = {
    "http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080,
}  # fmt: skip
_TARGET_PORTS = {"http": 80, "https": 443}
# Labels; the last one is no number, or it would be an address gone wrong.
_DOMAIN = re.compile(r"(?:[a-z0-9_-]+\.)*(?![0-9]+$)[a-z0-9_-]+")


class Proxy:
    """One proxy and how to talk to it, for the values of ``PoolManager(proxies=...)``.

    :param url: ``http``, ``https``, ``socks4``, ``socks4a``, ``socks5`` or ``socks5h``, host and
        port.  Credentials in it (percent-encoded) are sent to the proxy: as
        ``Proxy-Authorization: Basic`` or as SOCKS says.
    :param headers: for the proxy only; a Proxy-Authorization among them replaces the one that
        `url` would give.
    :param ssl_context: for TLS to an https proxy; never changed.
    :param use_forwarding_for_https: let an https proxy do https requests for us; it sees all.
    :param assert_hostname: name to check in the proxy's certificate; False: none.
    :param assert_fingerprint: digest, or list of them, that the proxy's certificate must have.
    :raises ProxySchemeUnknown: another scheme.
    :raises LocationValueError: no host, or no URL at all.  The text hides the password.
    :raises ValueError: options that a SOCKS proxy cannot have.

    Not to be changed once made.  Hashable; equal if all of this is.  The repr shows the URL without
    credentials, and nothing else.

    :ivar url: scheme, host and port as a :class:`~urllib4.util.url.Url`, without credentials.
    :ivar headers: what is sent to the proxy only, credentials included.

    .. versionadded:: 4.0
    """

    __slots__ = ("_auth", "_key", "assert_fingerprint", "assert_hostname", "headers",
                 "ssl_context", "url", "use_forwarding_for_https")  # fmt: skip

    def __init__(
        self,
        url: str | Url,
        *,
        headers: Mapping[str, str] | None = None,
        ssl_context: Any = None,
        use_forwarding_for_https: bool = False,
        assert_hostname: None | str | Literal[False] = None,
        assert_fingerprint: str | list[str] | tuple[str, ...] | None = None,
    ) -> None:
        parsed = parse_url(url)  # type: ignore[arg-type]
        if parsed.scheme not in _DEFAULT_PORTS:
            raise ProxySchemeUnknown(parsed.scheme)
        if not parsed.host:
            shown = _without_any_userinfo(str(url))
            raise LocationValueError(f"the proxy URL has no host: {shown!r}")
        port = _DEFAULT_PORTS[parsed.scheme] if parsed.port is None else parsed.port
        self.url: Url = Url(parsed.scheme, None, parsed.host, port)
        self._auth = parsed.auth
        self.headers: HTTPHeaderDict = HTTPHeaderDict(headers)
        if parsed.auth and not self.is_socks and PROXY_AUTHORIZATION not in self.headers:
            self.headers[PROXY_AUTHORIZATION] = basic_authorization(parsed.auth)
        self.ssl_context: Any = ssl_context
        self.use_forwarding_for_https: bool = bool(use_forwarding_for_https)
        self.assert_hostname = assert_hostname
        if isinstance(assert_fingerprint, list):
            assert_fingerprint = tuple(assert_fingerprint)
        check_pinning(assert_fingerprint, None)
        self.assert_fingerprint: tuple[str, ...] | str | None = assert_fingerprint
        further = (ssl_context, assert_hostname, assert_fingerprint)
        if self.is_socks and (self.headers or use_forwarding_for_https or further != (None,) * 3):
            raise ValueError(f"{self!r}: a SOCKS proxy knows neither headers nor TLS")
        self._key = (
            self.url, self._auth, tuple(self.headers.iteritems()), id(ssl_context),
            self.use_forwarding_for_https, *further[1:],
        )  # fmt: skip

    @property
    def is_socks(self) -> bool:
        """Whether SOCKS is spoken to it."""
        return str(self.url.scheme).startswith("socks")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Proxy) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"<Proxy {self.url}>"


#: What a value of a mapping, or the answer of a callable, may be.
ProxyLike = Union[str, Url, Proxy, None]
#: Finds the proxy for a URL; None: none.
Chooser = Callable[[Url], ProxyLike]


def chooser(proxies: Any) -> Chooser:
    """Return a function that finds the proxy for a URL, from what `PoolManager` was given.

    :raises TypeError, ValueError: it is none of the documented things.
    """
    if proxies == "env":
        return from_environment()
    if isinstance(proxies, Mapping):
        return _MappedProxies(proxies)
    if callable(proxies):
        return proxies  # type: ignore[no-any-return]
    shown = repr(_without_any_userinfo(proxies)) if isinstance(proxies, str) else type(proxies)
    raise TypeError(
        f'proxies is a mapping, a callable, or "env", not {shown}; for one proxy for all there is '
        'ProxyManager, or proxies={"all": ...}'
    )


class _MappedProxies:
    """Proxies by scheme, by ``scheme://host``, or ``all``; all values are checked beforehand."""

    def __init__(self, proxies: Mapping[str, ProxyLike]) -> None:
        self._proxies = {_checked_key(key): as_proxy(value) for key, value in proxies.items()}

    def __call__(self, url: Url) -> Proxy | None:
        port = url.port or _TARGET_PORTS.get(url.scheme or "")
        for scheme in (url.scheme, "all"):
            for key in (
                f"{scheme}://{url.host}:{port}",
                f"{scheme}://{url.host}",
                scheme,
            ):
                if key in self._proxies:
                    return self._proxies[key]
        return None

    def __repr__(self) -> str:
        return f"proxies by {', '.join(map(repr, self._proxies))}"


def _checked_key(key: Any) -> str:
    scheme, slashes, rest = str(key).partition("://")
    scheme = scheme.lower()
    if isinstance(key, str) and scheme in ("http", "https", "all"):
        if not slashes:
            return scheme
        target = parse_url(f"http://{rest}")
        if target.host and target[4:] in ((None, None, None), ("/", None, None)):
            return f"{scheme}://{target.netloc}"
    raise ValueError(
        "a key of proxies is http, https or all, alone or with a host as in https://host:port, "
        f"not {_without_any_userinfo(key)!r}"
    )


def as_proxy(value: Any) -> Proxy | None:
    """Return a :class:`Proxy` for what a mapping or a callable gives.

    :raises TypeError: it is no such thing.
    """
    if value is None or isinstance(value, Proxy):
        return value
    if isinstance(value, str) or (isinstance(value, tuple) and hasattr(value, "url")):
        return Proxy(value)  # type: ignore[arg-type]
    raise TypeError(f"a proxy is a URL, a Proxy, or None, not {type(value).__name__}")


# -- the environment ---------------------------------------------------------------------------


def from_environment(environ: Mapping[str, str] | None = None) -> Callable[[Url], str | None]:
    """Return a function that finds the proxy for a URL as the environment says.

    ``HTTP_PROXY`` and ``HTTPS_PROXY`` are for targets of these schemes, ``ALL_PROXY`` for what has
    none of its own, and ``NO_PROXY`` lists targets that are reached directly.  Each may be spelled
    in lower case, which wins, also if it is empty: empty means unset.  ``HTTP_PROXY`` in upper
    case does not count under CGI (``REQUEST_METHOD`` is set), where a client may have set it by
    a header ``Proxy:``.  A proxy without a scheme is taken for ``http://``.

    ``NO_PROXY`` holds entries between commas or white space:

    * ``example.com``, ``.example.com`` or ``*.example.com``: the host and all below it,
    * ``192.0.2.1``, ``2001:db8::1`` or ``[2001:db8::1]``: an address, as it stands in the URL,
    * ``10.0.0.0/8``, ``fd00::/8``: a block of them,
    * each of the first two with ``:port`` (IPv6 in brackets then): only that port,
    * ``*``: everything.

    No name is looked up, so an address does not match a host that is given by name.  What is none
    of these is ignored, with a :exc:`~urllib4.exceptions.SecurityWarning` that names it.

    :param environ: default: ``os.environ`` as it is now; later changes have no effect.
    :returns: takes a :class:`~urllib4.util.url.Url` (or a str); returns the URL of the proxy, None
        for no proxy.  Safe to call from many threads; its repr hides passwords.

    .. versionadded:: 4.0
    """
    # A copy with its own idea of case: os.environ has none on Windows.
    return _EnvironmentProxies(dict(os.environ if environ is None else environ))


class _EnvironmentProxies:
    def __init__(self, environ: Mapping[str, str]) -> None:
        cgi = "REQUEST_METHOD" in environ
        everything = _variable(environ, "all_proxy")
        self._proxies = {
            "http": _variable(environ, "http_proxy", upper=not cgi) or everything,
            "https": _variable(environ, "https_proxy") or everything,
        }
        self._exceptions = NoProxy(_variable(environ, "no_proxy") or "")

    def __call__(self, url: Url | str) -> str | None:
        target = url if isinstance(url, Url) else parse_url(url)
        proxy = self._proxies.get(target.scheme or "http")
        return None if proxy is None or self._exceptions.covers(target) else proxy

    def __repr__(self) -> str:
        shown = {name: _without_any_userinfo(proxy) for name, proxy in self._proxies.items()}
        return f"<proxies of the environment: {shown!r}, except {self._exceptions!r}>"


def _variable(environ: Mapping[str, str], name: str, *, upper: bool = True) -> str | None:
    value = environ.get(name)
    if value is None and upper:
        value = environ.get(name.upper())
    value = (value or "").strip()
    if not value:
        return None
    return value if name == "no_proxy" or "://" in value else f"http://{value}"


class _Rule(NamedTuple):
    """One entry: a domain or a block of addresses, and the port it is for (None: each)."""

    domain: str | None
    network: Any
    port: int | None


class NoProxy:
    """The targets that are reached without a proxy; see :func:`from_environment`."""

    def __init__(self, entries: str) -> None:
        self._everything = False
        self._rules: list[_Rule] = []
        for entry in re.split(r"[\s,]+", entries.strip()):
            if entry == "*":
                self._everything = True
            elif entry:
                self._add(entry)

    def _add(self, entry: str) -> None:
        try:
            self._rules.append(_rule(entry))
        except ValueError:  # also what parsing a host raises
            warn_caller(
                f"NO_PROXY holds {_without_any_userinfo(entry)!r}, which is neither a name nor an "
                "address nor a block of addresses; it is ignored.",
                SecurityWarning,
            )

    def __repr__(self) -> str:
        return "everything" if self._everything else f"{len(self._rules)} entries"

    def covers(self, url: Url) -> bool:
        """Tell whether `url` is to be reached directly."""
        if self._everything or not self._rules or not url.host:
            return self._everything
        host = url.host.lower().rstrip(".")
        port = url.port or _TARGET_PORTS.get(url.scheme or "http")
        address = _address(host)
        return any(
            rule.port in (None, port) and _matches(rule, host, address) for rule in self._rules
        )


def _matches(rule: _Rule, host: str, address: Any) -> bool:
    if rule.network is not None:
        return address is not None and address in rule.network  # not if versions differ
    return address is None and (host == rule.domain or host.endswith(f".{rule.domain}"))


def _address(host: str) -> Any:
    """Return the address that `host` is, None for a name."""
    try:
        address = ipaddress.ip_address(_unbracketed(host).partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped


def _rule(entry: str) -> _Rule:
    """Return what one entry says.

    :raises ValueError: nothing we know.
    """
    if "/" in entry:
        block, _, bits = entry.rpartition("/")
        # Not strict: 10.1.2.3/8 is what people write.
        return _Rule(None, ipaddress.ip_network(f"{_unbracketed(block)}/{bits}", False), None)
    host, port = _split_port(entry)
    address = _address(host)
    if address is not None:
        return _Rule(None, ipaddress.ip_network(address), port)
    name = host[1:] if host.startswith("*.") else host
    domain = (_normalize_host(name.removeprefix("."), "http") or "").rstrip(".")
    if _DOMAIN.fullmatch(domain) is None:
        raise LocationParseError(entry)
    return _Rule(domain, None, port)


def _unbracketed(host: str) -> str:
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def _split_port(entry: str) -> tuple[str, int | None]:
    host, colon, digits = entry.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):
        return entry, None  # no port, or an IPv6 address without brackets
    if entry.endswith("]"):
        return entry, None
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5 and int(digits) <= 65535):
        raise LocationParseError(entry)
    return host, int(digits)
