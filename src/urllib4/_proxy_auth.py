"""Authentication with a proxy: credentials of its URL, and answers to its challenges.

RFC 9110, section 11.  Which credentials go to which hop is decided elsewhere (``_route``); here is
what they look like.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from ._base_connection import ProxyConfig
from ._collections import HTTPHeaderDict
from ._http1.head import field_line
from ._route import PROXY_AUTHORIZATION
from .util.url import Url

#: Challenges that are answered for one request.  A proxy that thinks of a new one each time must
#: not keep us busy for ever.
MAX_CHALLENGES = 4

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME = re.compile(rf"[\s,]*({_TOKEN})(?:[ \t]+|(?=,)|$)")
_PARAMETER = re.compile(
    rf'[ \t,]*({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))[ \t]*(?=,|$)'
)
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*[ \t]*(?=,|$)")
_QUOTED_PAIR = re.compile(r"\\(.)")


class ProxyChallenge(NamedTuple):
    """One challenge of a 407 answer (RFC 9110, 11.6.1): how a proxy wants to be convinced.

    :ivar scheme: lower-cased, such as ``"basic"`` or ``"digest"``.
    :ivar realm: what the credentials are for; None if it is not said.
    :ivar parameters: all parameters with lower-cased names, ``realm`` included.
    :ivar raw: the challenge as it was sent.
    :ivar proxy: the URL of the proxy, without credentials.
    :ivar method: of the request that was refused; ``"CONNECT"`` for a tunnel.
    :ivar target: of that request, as in its request line.

    .. versionadded:: 4.0
    """

    scheme: str
    realm: str | None
    parameters: dict[str, str]
    raw: str
    proxy: Url
    method: str
    target: str


def basic_authorization(auth: str) -> str:
    """Return the field for the userinfo of a URL, percent-decoded (RFC 7617).

    :raises ValueError: the user name holds a colon, which would end it.  The text shows neither
        the name nor the password.
    """
    user, _, password = auth.partition(":")
    name = unquote_to_bytes(user)
    if b":" in name:
        raise ValueError(
            "the user name in a proxy URL holds a colon, which Basic authentication cannot send"
        )
    credentials = name + b":" + unquote_to_bytes(password)
    return f"Basic {base64.b64encode(credentials).decode('ascii')}"


def parse_challenges(
    values: Iterable[str], proxy: Url, method: str, target: str
) -> list[ProxyChallenge]:
    """Return the challenges of ``Proxy-Authenticate`` fields; what is malformed ends a field."""
    found = []
    for value in values:
        position = 0
        while match := _SCHEME.match(value, position):
            start = match.start(1)
            parameters, position = _parameters(value, match.end())
            raw = value[start:position].strip(" \t,")
            realm = parameters.get("realm")
            found.append(
                ProxyChallenge(match[1].lower(), realm, parameters, raw, proxy, method, target)
            )
    return found


def _parameters(value: str, position: int) -> tuple[dict[str, str], int]:
    """Return the parameters from `position` on, and where the next challenge starts."""
    parameters: dict[str, str] = {}
    match = _PARAMETER.match(value, position)
    if match is None:
        token = _TOKEN68.match(value, position)
        # A word without "=" may be the next scheme rather than a token.
        if token is not None and not value[:position].rstrip(" \t").endswith(","):
            position = token.end()
        return parameters, position
    while match is not None:
        name, quoted, token_value = match.groups()
        text = token_value if quoted is None else _QUOTED_PAIR.sub(r"\1", quoted)
        parameters.setdefault(name.lower(), text)
        position = match.end()
        match = _PARAMETER.match(value, position)
    return parameters, position


class Authenticator:
    """Answers the challenges of one proxy by asking the program.

    :param ask: gets a challenge; returns the value of ``Proxy-Authorization``, or None to decline.
    :param proxy: the URL of the proxy.

    Safe to share between threads, as far as `ask` is; no lock is held while it runs.

    :ivar authorization: what the proxy accepted last, as far as we know; it goes with the next
        request too, so that not each is refused first.
    """

    def __init__(self, ask: Callable[[ProxyChallenge], str | None], proxy: Url) -> None:
        if not callable(ask):
            raise TypeError(f"proxy_auth is a callable, not {type(ask).__name__}")
        self._ask = ask
        self._proxy = proxy._replace(auth=None)
        self.authorization: str | None = None

    def answer(
        self,
        headers: HTTPHeaderDict,
        asked: list[str],
        sent: str | None,
        method: str,
        target: str,
    ) -> str | None:
        """Return what to send next instead of `sent`; None: nothing convinces this proxy.

        :param headers: of the 407.
        :param asked: the challenges of this request that were answered already; extended.
        :raises TypeError: the program's answer is no str.
        :raises ValueError: it cannot be sent.
        """
        known = self.authorization
        if known is not None and known != sent and not asked:
            asked.append("")  # another thread was asked meanwhile
            return known
        if known == sent:
            self.authorization = None
        values = headers.getlist("proxy-authenticate")
        for challenge in parse_challenges(values, self._proxy, method, target):
            if challenge.raw in asked or len(asked) >= MAX_CHALLENGES:
                continue
            asked.append(challenge.raw)
            value = self._ask(challenge)
            if value is not None:
                self.authorization = _checked(value)
                return value
        return None


class AnsweringProxyConfig(ProxyConfig):
    """How to talk to a proxy whose challenges are answered.

    :ivar auth: by what; None as long as it was not set.

    A class of its own: a :class:`ProxyConfig` is unpacked into four by programs.
    """

    auth: Authenticator | None = None

    @classmethod
    def of(cls, config: ProxyConfig, auth: Authenticator) -> AnsweringProxyConfig:
        """Return `config` with `auth`."""
        self = cls(*config)
        self.auth = auth
        return self

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, AnsweringProxyConfig)
            and tuple.__eq__(self, other)
            and self.auth is other.auth
        )

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((tuple(self), id(self.auth)))


def _checked(value: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"proxy_auth returns a str or None, not {type(value).__name__}")
    field_line(PROXY_AUTHORIZATION, value)
    return value
