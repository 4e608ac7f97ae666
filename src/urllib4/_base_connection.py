"""What a pool expects of a connection, for type checkers and for other transports."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any, NamedTuple, Union

#: What a request may carry as its body.
_TYPE_BODY = Union[bytes, IO[Any], Iterable[bytes], str]


class ProxyConfig(NamedTuple):
    """How to talk to a proxy.

    :ivar ssl_context: context for TLS to an https proxy; None: one is made from the policy of
        the pool (``cert_reqs``, CAs, versions).
    :ivar use_forwarding_for_https: send https requests to the proxy in absolute form, without
        TLS between us and the target.
    :ivar assert_hostname: name to check in the proxy's certificate; False: check no name.
    :ivar assert_fingerprint: digest that the proxy's certificate must have.
    """

    ssl_context: Any
    use_forwarding_for_https: bool
    assert_hostname: str | None | typing.Literal[False]
    assert_fingerprint: str | Sequence[str] | None


class _ResponseOptions(NamedTuple):
    """What :meth:`HTTPConnection.request` was told about the response to come."""

    request_method: str
    request_url: str
    preload_content: bool
    decode_content: bool
    enforce_content_length: bool


class BaseHTTPConnection(typing.Protocol):
    """The members a connection class must have to take the place of ``HTTPConnection``."""

    default_port: typing.ClassVar[int]
    default_socket_options: typing.ClassVar[Any]

    host: str
    port: int
    timeout: float | None
    blocksize: int
    source_address: tuple[str, int] | None
    socket_options: Any
    proxy: Any
    proxy_config: ProxyConfig | None
    is_verified: bool
    proxy_is_verified: bool | None

    def set_tunnel(
        self,
        host: str,
        port: int | None = None,
        headers: Mapping[str, str] | None = None,
        scheme: str = "http",
    ) -> None:
        """Go through a proxy by CONNECT."""

    def connect(self) -> None:
        """Open the socket."""

    def request(
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        chunked: bool = False,
        preload_content: bool = True,
        decode_content: bool = True,
        enforce_content_length: bool = True,
    ) -> None:
        """Send a request."""

    def getresponse(self) -> Any:
        """Return the response to the request that was sent."""

    def close(self) -> None:
        """Close the socket."""

    @property
    def is_closed(self) -> bool:
        """Whether there is no socket."""

    @property
    def is_connected(self) -> bool:
        """Whether the socket is open and the peer has not closed it."""

    @property
    def has_connected_to_proxy(self) -> bool:
        """Whether the proxy was reached."""


class BaseHTTPSConnection(BaseHTTPConnection, typing.Protocol):
    """The further members of a connection class for https."""

    cert_reqs: int | str | None
    assert_hostname: str | None | typing.Literal[False]
    assert_fingerprint: str | Sequence[str] | None
    ssl_context: Any
    ca_certs: str | None
    ca_cert_dir: str | None
    ca_cert_data: None | str | bytes
    ssl_minimum_version: int | None
    ssl_maximum_version: int | None
    ssl_version: int | str | None
    cert_file: str | None
    key_file: str | None
    key_password: str | None
