"""URLs: a tuple of parts, and the one parser that every URL of a request passes through.

RFC 3986 with the leniency that users expect of an HTTP client: characters that a part may not
hold are percent-encoded rather than refused, except in the host.  Every step takes time linear in
the length of the URL, since a server chooses the URLs of redirects.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from typing import Any, NamedTuple
from urllib.parse import unquote

from ..exceptions import LocationParseError

__all__ = ["Url", "parse_url"]

# For these, and for URLs without a scheme, we know what the parts mean; others pass through.
_NORMALIZABLE_SCHEMES = ("http", "https", None)

# Characters.  A name in DNS has no more, and idna takes time quadratic in the length of a label.
_LONGEST_NAME = 253
# Characters.  IPv6 with an IPv4 tail is the longest form.
_LONGEST_IPV6 = 45
# URLs whose parts are remembered, and the length in characters up to which they are.
_CACHED_URLS = 256
_LONGEST_CACHED_URL = 2048

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+-]*):")
_END_OF_AUTHORITY = re.compile(r"[/\\]")
_REG_NAME = re.compile(r"(?:[^\[\]:%]|%[0-9A-Fa-f]{2})*")
_ZONE = re.compile(r"(?:25(?=.))?((?:[A-Za-z0-9._~-]|%[0-9A-Fa-f]{2})+)")
_CONTROL_IN_HOST = re.compile(r"[\x00-\x20\x7f]")
# Needs nothing at all (benchmark ``pm_evict``).
_PLAIN_HOST = re.compile(r"[a-z0-9._-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_UNRESERVED_CHARACTER = re.compile(r"[A-Za-z0-9._~-]")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_ESCAPE_BYTES = re.compile(rb"%[0-9A-Fa-f]{2}")

# RFC 3986, 2.2, 2.3 and appendix A.
_UNRESERVED = r"A-Za-z0-9._~\-"
_SUB_DELIMS = "!$&'()*+,;="
_USERINFO = f"{_UNRESERVED}{_SUB_DELIMS}:"
_PATH = f"{_USERINFO}@/"
_QUERY = f"{_PATH}?"


class _Charset:
    """The characters that one part of a URL may hold as they are.

    :param allowed: them, as the inside of a regular expression's brackets.
    """

    def __init__(self, allowed: str) -> None:
        self._clean = re.compile(f"[{allowed}]*")
        self._foreign = re.compile(f"[^{allowed}%]".encode())

    def encode(self, text: str) -> str:
        """Percent-encode what is not allowed, as UTF-8 with upper-case digits.

        Escapes in `text` stay if each ``%`` starts one.  Otherwise nobody can tell which were
        meant as escapes, and every ``%`` becomes ``%25``.
        """
        if self._clean.fullmatch(text):
            return text
        data, escapes = _ESCAPE_BYTES.subn(
            lambda match: match[0].upper(), text.encode("utf-8", "surrogatepass")
        )
        if escapes != data.count(b"%"):
            data = data.replace(b"%", b"%25")
        return self._foreign.sub(lambda match: b"%%%02X" % match[0][0], data).decode("ascii")


_IN_USERINFO = _Charset(_USERINFO)
_IN_PATH = _Charset(_PATH)
_IN_QUERY = _Charset(_QUERY)


class _Parts(NamedTuple):
    scheme: str | None = None
    auth: str | None = None
    host: str | None = None
    port: int | None = None
    path: str | None = None
    query: str | None = None
    fragment: str | None = None


class Url(_Parts):
    """The parts of a URL; a part that is absent is None.

    The constructor lower-cases the scheme and puts a ``/`` in front of a path that lacks it.  It
    changes and checks nothing else: use :func:`parse_url` for text that somebody typed.

    :param scheme: such as ``"https"``.
    :param auth: the userinfo, percent-encoded, such as ``"user:pass%20word"``.
    :param host: a name or address; an IPv6 address is in brackets.
    :param port: 0 to 65535.
    :param path: begins with ``/``, or is empty.
    :param query: without the ``?``.
    :param fragment: without the ``#``.

    The repr hides the password; :attr:`url` and ``str()`` show it.  Immutable and hashable, so
    safe to share between threads.
    """

    __slots__ = ()

    def __new__(  # noqa: D102 - the class docstring tells about its arguments
        cls,
        scheme: str | None = None,
        auth: str | None = None,
        host: str | None = None,
        port: int | None = None,
        path: str | None = None,
        query: str | None = None,
        fragment: str | None = None,
    ) -> Url:
        if path and not path.startswith("/"):
            path = f"/{path}"
        if scheme is not None:
            scheme = scheme.lower()
        return super().__new__(cls, scheme, auth, host, port, path, query, fragment)

    def __repr__(self) -> str:
        shown = self._replace(auth=_masked(self.auth)) if self.auth else self
        return super(Url, shown).__repr__()

    def __str__(self) -> str:
        return self.url

    @property
    def hostname(self) -> str | None:
        """The host, under the name that :mod:`urllib.parse` gives it."""
        return self.host

    @property
    def request_uri(self) -> str:
        """What a request line asks the origin for: the path, ``/`` at least, and the query."""
        path = self.path or "/"
        return path if self.query is None else f"{path}?{self.query}"

    @property
    def netloc(self) -> str | None:
        """``host:port``, or the host alone without a port; None without a host."""
        if self.host is None or self.port is None:
            return self.host
        return f"{self.host}:{self.port}"

    @property
    def authority(self) -> str | None:
        """``userinfo@host:port``; None without a host."""
        netloc = self.netloc
        if netloc is None or self.auth is None:
            return netloc
        return f"{self.auth}@{netloc}"

    @property
    def auth_decoded(self) -> tuple[str | None, str | None]:
        """User and password without percent-encoding (as UTF-8).

        The password is None if there is no colon, and both are if there is no userinfo.
        """
        if self.auth is None:
            return None, None
        user, colon, password = self.auth.partition(":")
        return unquote(user), unquote(password) if colon else None

    @property
    def auth_decoded_joined(self) -> str | None:
        """``user:password`` as basic authentication wants it; None without userinfo.

        The colon is always there.
        """
        user, password = self.auth_decoded
        return None if user is None else f"{user}:{password or ''}"

    @property
    def url(self) -> str:
        """The URL as text.

        Parts that are None are left out, empty ones and port 0 are not.  What :func:`parse_url`
        returned for an absolute URL gives an equal tuple when it is parsed again.
        """
        scheme, auth, host, port, path, query, fragment = self
        return "".join(
            (
                "" if scheme is None else f"{scheme}://",
                "" if auth is None else f"{auth}@",
                "" if host is None else host,
                "" if port is None else f":{port}",
                "" if path is None else path,
                "" if query is None else f"?{query}",
                "" if fragment is None else f"#{fragment}",
            )
        )


def _masked(auth: str) -> str:
    user, colon, _ = auth.partition(":")
    # Without a colon the whole is likely a token.
    return f"{user}:***" if colon else "***"


def _remove_path_dot_segments(path: str) -> str:
    """Resolve ``.`` and ``..`` (RFC 3986, 5.2.4); one that climbs above the root is dropped."""
    if "." not in path:
        return path
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if path.startswith("/") and (not kept or kept[0]):
        kept.insert(0, "")
    if path.endswith(("/.", "/..")):
        kept.append("")
    return "/".join(kept)


def _encode_target(target: str) -> str:
    """Return a request target in origin form with what it may not hold percent-encoded.

    A fragment is dropped, since it never goes to a server.

    :raises LocationParseError: `target` does not begin with ``/``.
    """
    if not target.startswith("/"):
        raise LocationParseError(f"{target!r} is not a valid request URI")
    path, question_mark, query = target.partition("#")[0].partition("?")
    if not question_mark:
        return _IN_PATH.encode(path)
    return f"{_IN_PATH.encode(path)}?{_IN_QUERY.encode(query)}"


def _is_ipv6(text: str) -> bool:
    if len(text) > _LONGEST_IPV6:
        return False
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return "%" not in text


def _split_literal(host: str) -> tuple[str, str | None] | None:
    """Return (address, zone) of an IPv6 literal in brackets, or None if `host` is none.

    The zone (RFC 6874) follows ``%25``, or a bare ``%`` as people type it.
    """
    if not (host.startswith("[") and host.endswith("]")):
        return None
    address, percent, zone = host[1:-1].partition("%")
    if not _is_ipv6(address):
        return None
    if not percent:
        return address, None
    match = _ZONE.fullmatch(zone)
    return (address, match[1]) if match else None


def _normalize_escape(match: re.Match[str], *, host: str) -> str:
    """Return one escape in upper case; `host` is for the message."""
    code = int(match[0][1:], 16)
    if code < 0x20 or code == 0x7F:
        raise LocationParseError(
            f"Host {host!r} contains invalid percent-encoded control character {match[0]!r}"
        )
    return match[0].upper()


def _decode_unreserved(match: re.Match[str], *, host: str) -> str:
    """Return the character of one escape if it needs none (RFC 3986, 2.3), else the escape."""
    escape = _normalize_escape(match, host=host)
    character = chr(int(escape[1:], 16))
    return character if _UNRESERVED_CHARACTER.fullmatch(character) else escape


def _lower(name: str) -> str:
    """Lower-case all but the digits of escapes, which are upper-case everywhere."""
    lowered = name.lower()
    return _ESCAPE.sub(lambda match: match[0].upper(), lowered) if "%" in lowered else lowered


def _idna_label(label: str) -> str:
    if label.isascii():
        return _lower(label)
    try:
        import idna
    except ImportError:
        raise LocationParseError("Unable to parse URL without the 'idna' module") from None
    try:
        return idna.encode(label.lower(), strict=True, std3_rules=True).decode("ascii")
    except UnicodeError:  # idna.IDNAError is one
        raise LocationParseError(f"Name {label!r} is not a valid IDNA label") from None


def _normalize_name(host: str) -> str:
    """Normalise a host that is no IPv6 literal and holds an escape or a non-ASCII character."""
    if len(_ESCAPE.findall(host)) != host.count("%"):
        raise LocationParseError(f"{host!r} is not a valid host")
    name = _ESCAPE.sub(functools.partial(_decode_unreserved, host=host), host)
    if name.isascii():
        return _lower(name)
    if len(name) > _LONGEST_NAME:
        raise LocationParseError(
            f"Name {name[:40]!r}... is not a valid IDNA label: {len(name)} characters"
        )
    return ".".join(_idna_label(label) for label in name.split("."))


def _refuse_control_in_host(host: str) -> None:
    match = _CONTROL_IN_HOST.search(host)
    if match:
        raise LocationParseError(f"Host {host!r} contains invalid character {match[0]!r}")


def _normalize_host(host: str | None, scheme: str | None) -> str | None:
    """Return `host` as it is compared and sent; hosts of unknown schemes stay as they are.

    Escapes of unreserved characters are decoded, others upper-cased; names are lower-cased and
    turned into their ASCII form (IDNA 2008).

    :raises LocationParseError: the host has control characters, spaces or malformed escapes, or
        has non-ASCII characters but cannot be a domain name.
    """
    if not host or _PLAIN_HOST.fullmatch(host):
        return host
    _refuse_control_in_host(host)
    if scheme not in _NORMALIZABLE_SCHEMES:
        return host
    if "%" not in host and host.isascii():
        return host.lower()
    literal = _split_literal(host)
    if literal is None:
        return _normalize_name(host)
    address, zone = literal
    if zone is None:
        return host.lower()
    zone = _ESCAPE.sub(functools.partial(_normalize_escape, host=host), zone)
    return f"[{address.lower()}%{zone}]"


def _split_authority(authority: str, url: str) -> tuple[str | None, str, int | None]:
    """Return (userinfo, host, port); nothing is normalised yet.

    :raises LocationParseError: host or port do not fit the grammar (RFC 3986, 3.2).
    """
    auth, _, location = authority.rpartition("@")
    host, colon, digits = _split_port(location)
    is_host = _split_literal(host) is not None or _REG_NAME.fullmatch(host)
    significant = digits.lstrip("0")
    is_port = not digits or (digits.isascii() and digits.isdigit() and len(significant) <= 5)
    if not (is_host and is_port):
        _refuse_control_in_host(location)  # the more telling error
        if colon and "@" in url:
            # "http://user:pass/word@host": what looks like a port is the start of a password.
            location = f"{host}:***"
        raise LocationParseError(f"{location!r} is not a valid host or port")
    port = int(significant or "0") if digits else None
    if port is not None and port > 65535:
        raise LocationParseError(url)
    return auth or None, host, port


def _split_port(location: str) -> tuple[str, str, str]:
    if location.startswith("["):
        literal, bracket, rest = location.partition("]")
        if rest and not rest.startswith(":"):
            return location, "", ""
        return literal + bracket, rest[:1], rest[1:]
    return location.partition(":")


def _split(url: str) -> tuple[str | None, str | None, str, str | None, str | None]:
    """Return (scheme, authority, path, query, fragment) (RFC 3986, appendix B).

    A backslash ends the authority too: some clients take it for a slash, and we must not connect
    to another host than they check (``http://good\\@evil``).
    """
    rest, hash_mark, fragment = url.partition("#")
    rest, question_mark, query = rest.partition("?")
    match = _SCHEME.match(rest)
    scheme = match[1].lower() if match else None
    if match:
        rest = rest[match.end() :]
    elif not rest.startswith("/"):
        rest = f"//{rest}"
    authority = None
    if rest.startswith("//"):
        end = _END_OF_AUTHORITY.search(rest, 2)
        position = end.start() if end else len(rest)
        authority, rest = rest[2:position], rest[position:]
    return (
        scheme,
        authority,
        rest,
        query if question_mark else None,
        fragment if hash_mark else None,
    )


def _refuse_controls(*parts: str | None) -> None:
    for part in parts:
        if part is not None and _CONTROL.search(part):
            raise LocationParseError("a URL of this scheme cannot contain control characters")


def _parse(url: str) -> Url:
    scheme, authority, path, query, fragment = _split(url)
    auth, host, port = _split_authority(authority, url) if authority else (None, None, None)
    if scheme in _NORMALIZABLE_SCHEMES:
        auth = _IN_USERINFO.encode(auth) if auth else None
        path = _IN_PATH.encode(_remove_path_dot_segments(path))
        query = _IN_QUERY.encode(query) if query else query
        fragment = _IN_QUERY.encode(fragment) if fragment else fragment
    else:
        # We cannot know what an escape means there, so nothing can be made harmless.
        _refuse_controls(auth, path, query, fragment)
    present = path or query is not None or fragment is not None
    return Url(
        scheme,
        auth,
        _normalize_host(host, scheme),
        port,
        path if present else None,
        query,
        fragment,
    )


# Entries are immutable and the cache takes its own lock, so threads may share it.
_parse_cached = functools.lru_cache(maxsize=_CACHED_URLS)(_parse)


def parse_url(url: str) -> Url:
    """Split a URL into its parts, and normalise them.

    Without a scheme (letters, digits, ``+`` or ``-``, then a colon) and without a leading ``/``
    the text begins with the host: ``google.com:80``.  Note that ``localhost:8080`` has the shape
    of a scheme and a path.

    For ``http``, ``https`` and no scheme: characters that userinfo, path, query or fragment may
    not hold are percent-encoded, escapes upper-cased, dot segments of the path resolved, the host
    lower-cased and turned into ASCII (IDNA 2008, by the ``idna`` package).  Other schemes pass
    through.  Brackets in a host hold an IPv6 address.

    :param url: the text as a str; a :class:`Url` is taken as its text, None as an empty one.
    :returns: the parts; all of them None for an empty text.
    :raises LocationParseError: the URL has no meaning.  The message does not show its userinfo.
    :raises TypeError: `url` is not a str.

    Parts of recent URLs are remembered, unless they contain an ``@``.  Safe to call from many
    threads.
    """
    text: Any = url
    if isinstance(text, tuple) and hasattr(text, "url"):
        text = text.url  # a Url: ours, or the one of a copy of urllib3 in the same process
    if text is None:
        return Url()
    if not isinstance(text, str):
        raise TypeError(f"a URL must be a str, not {type(text).__name__}")
    # A subclass of str may compare as it likes; an "@" may belong to a password.
    if type(text) is str and len(text) <= _LONGEST_CACHED_URL and "@" not in text:
        return _parse_cached(text)
    return _parse(text)
