"""What is known about the connection that carried an answer."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, NamedTuple


class ConnectionInfo(NamedTuple):
    """The connection that carried a response, as it was when the first answer came over it.

    Behind a proxy, the addresses are those of the connection to the proxy; what is said of TLS is
    about the target if there is a tunnel, and about the proxy if requests are forwarded.

    :ivar peer_address: as ``socket.getpeername()`` tells it, ``("192.0.2.1", 443)`` for IPv4; None
        where the transport has no addresses.
    :ivar local_address: our own end, the same way.
    :ivar http_version: of the response: ``"HTTP/1.1"``.
    :ivar tls_version: such as ``"TLSv1.3"``; None without TLS.
    :ivar cipher: the suite as OpenSSL calls it; None without TLS.
    :ivar alpn_protocol: what was agreed on by ALPN; None if nothing was.
    :ivar peer_certificate: the peer's own certificate in DER; None without TLS.
    :ivar reused: the connection had carried another request before.
    :ivar resumed: its TLS session was that of an earlier connection.
    :ivar request_number: 1 for the first request on the connection.

    .. versionadded:: 4.0
    """

    peer_address: Any
    local_address: Any
    http_version: str
    tls_version: str | None
    cipher: str | None
    alpn_protocol: str | None
    peer_certificate: bytes | None
    reused: bool
    resumed: bool
    request_number: int

    def __repr__(self) -> str:
        shown = self._asdict()
        if self.peer_certificate is not None:
            shown["peer_certificate"] = f"<{len(self.peer_certificate)} bytes>"
        return f"ConnectionInfo({', '.join(f'{name}={value}' for name, value in shown.items())})"


class Endpoints(NamedTuple):
    """What stays the same for all answers of a connection; the fields are `ConnectionInfo`'s."""

    peer_address: Any = None
    local_address: Any = None
    tls_version: str | None = None
    cipher: str | None = None
    alpn_protocol: str | None = None
    peer_certificate: bytes | None = None
    resumed: bool = False

    def info(self, http_version: str, request_number: int) -> ConnectionInfo:
        """Return the description for one of the answers."""
        return ConnectionInfo(
            http_version=http_version,
            reused=request_number > 1,
            request_number=request_number,
            **self._asdict(),
        )


_new_tuple = tuple.__new__  # a constructor without a Python frame


def endpoints_of(sock: Any) -> Endpoints:
    """Return what an open socket tells; what it cannot tell is None.

    Sockets of others need not know any of the methods.
    """
    try:
        peer, local = sock.getpeername(), sock.getsockname()
    except (OSError, AttributeError, TypeError):
        peer, local = _ask(sock, "getpeername"), _ask(sock, "getsockname")
    if not hasattr(sock, "getpeercert"):
        # By the shortest way (benchmark ``newconn``).
        return _new_tuple(Endpoints, (peer, local, None, None, None, None, False))
    cipher = _ask(sock, "cipher")
    return Endpoints(
        peer,
        local,
        _ask(sock, "version"),
        cipher[0] if cipher else None,
        _ask(sock, "selected_alpn_protocol"),
        _ask(sock, "getpeercert", True),
        bool(getattr(sock, "session_reused", False)),
    )


def _ask(sock: Any, name: str, *args: Any) -> Any:
    # OSError: the peer is gone.  ValueError: OpenSSL has no certificate to show.
    with suppress(OSError, ValueError, AttributeError, TypeError):
        return getattr(sock, name)(*args)
    return None
