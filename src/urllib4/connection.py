"""One connection: an ``http.client.HTTPConnection`` that sends and receives our way.

The state machine and the public methods are the standard library's.  Ours are the two ends of
the wire: a request head is one ``bytes``, and responses are read by ``_http1`` (RFC 9112).

Tracers hook the methods of the standard library, and subclasses override them.  If any of
:data:`_STEPS` is not the original, the request goes through all of them one by one, so that
nobody is passed by (:meth:`HTTPConnection._is_hooked`).
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import http.client
import itertools
import logging
import operator
import os
import re
import select
import socket
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException as HTTPException
from typing import TYPE_CHECKING, Any, Literal

from ._base_connection import ProxyConfig as ProxyConfig
from ._base_connection import _ResponseOptions
from ._caller import warn_caller
from ._cancel import interruptible
from ._collections import HTTPHeaderDict
from ._connection_info import ConnectionInfo as ConnectionInfo
from ._connection_info import endpoints_of
from ._fork import watch
from ._http1.head import (
    check_method,
    encode_target,
    field_line,
    header_items,
)
from ._http1.message import Http1Response, receive_response
from ._http1.request import (
    RequestPlan,
    check_codings,
    check_skippable,
    default_user_agent,
    lower_name,
    request_plan,
)
from ._http1.stream import ByteStream
from ._reuse import Life
from ._tunnel import read_tunnel_answer
from ._upload import Uploader, await_permission, receive_nowait
from .exceptions import (
    AddressBlockedError,
    ConnectTimeoutError,
    HeaderParsingError,
    InvalidRequestHeaderError,
    InvalidTargetError,
    NameResolutionError,
    NewConnectionError,
    SystemTimeWarning,
)
from .response import HTTPResponse, _response_of
from .util import connection as _connection
from .util._tls_sessions import TLSSessionCache, checked_session_cache
from .util.request import SKIP_HEADER
from .util.response import assert_header_parsing
from .util.ssl_ import assert_fingerprint, resolve_cert_reqs
from .util.ssl_ import ssl_wrap_socket as ssl_wrap_socket
from .util.ssl_match_hostname import CertificateError as CertificateError
from .util.ssl_match_hostname import match_hostname as match_hostname
from .util.timeout import _DEFAULT_TIMEOUT
from .util.timeout import Timeout as Timeout
from .util.wait import wait_for_read

try:
    import ssl

    BaseSSLError: type[Exception] = ssl.SSLError
except ImportError:  # a Python without OpenSSL: plain HTTP only
    ssl = None  # type: ignore[assignment]

    class BaseSSLError(Exception):  # type: ignore[no-redef]
        """Stands in where there is no ssl module; never raised."""


if TYPE_CHECKING:
    from . import _tls
    from ._call import Call
    from ._dialing import Dialing
    from .address_filters import AddressFilter
    from .resolvers import Resolver
    from .util.url import Url

ConnectionError = ConnectionError
BrokenPipeError = BrokenPipeError

log: logging.Logger = logging.getLogger(__name__)

#: The default port of each scheme.
port_by_scheme: dict[str, int] = {"http": 80, "https": 443}

#: A clock before this date makes certificates look not yet valid; it moves with releases.
RECENT_DATE = datetime.date(2025, 1, 1)

#: Bodies up to this size travel in the same write as the head (benchmark ``small``).
_JOIN_BODY_BYTES = 16 * 1024

# uri-host [":" port] (RFC 9112, 3.2; RFC 3986, 3.2.2): what would end the host in a URL must not
# get into a Host field, where others may take it for another host.
_AUTHORITY = re.compile(
    r"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+)(?::[0-9]*)?"
)
_ZONE = re.compile(r"%[^\]]*(?=\])")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)")
# Longer targets are checked each time, instead of being kept; characters.
_LONGEST_KEPT_TARGET = 1024
# Of these fields a request has one, and not both of the latter.
_HOST, _LENGTH, _CODING = b"host", b"content-length", b"transfer-encoding"

_Std = http.client.HTTPConnection
# The states of http.client's connection; typeshed does not know them.
_IDLE: str = http.client._CS_IDLE  # type: ignore[attr-defined]
_REQ_SENT: str = http.client._CS_REQ_SENT  # type: ignore[attr-defined]
# What one request passes, in this order, when somebody wants to see it.
_STEPS = ("putrequest", "putheader", "endheaders", "send", "_send_output")
_STD_PUTREQUEST, _STD_PUTHEADER, _STD_ENDHEADERS, _STD_SEND, _STD_SEND_OUTPUT = (
    getattr(_Std, step) for step in _STEPS
)
_STD_GETRESPONSE = _Std.getresponse


_STD_POLL = getattr(select, "poll", None)
_OWN_WAIT_FOR_READ = wait_for_read
_new_tuple = tuple.__new__  # a constructor without a Python frame
_OWN_SSL_WRAP_SOCKET = ssl_wrap_socket
_OWN_CREATE_CONNECTION = _connection.create_connection

#: The keywords that decide how a socket is opened (``_dialing``).
DIALING_KEYWORDS = (
    "resolver", "address_filter", "socket_family", "tcp_keepalive", "source_interface",
    "socket_path", "attempt_delay",
)  # fmt: skip
_NOT_GIVEN = (None,) * len(DIALING_KEYWORDS)

#: The schemes of URLs that name a Unix domain socket, and that of the requests to it.
UNIX_SCHEMES = {"http+unix": "http", "https+unix": "https"}


def check_pinning(assert_fingerprint: Any, assert_pins: Any) -> None:
    """Raise what the first connection would because of these two.

    :raises TypeError, ValueError, SSLError: one is malformed; the text names it.
    """
    if assert_fingerprint is not None or assert_pins is not None:
        from . import _tls

        _tls.check_pinning(assert_fingerprint, assert_pins)


def check_dialing(options: Mapping[str, Any], *, proxy: bool = False) -> Dialing | None:
    """Return what `options` say about opening sockets; None: nothing.

    :param proxy: there is a proxy.
    :raises TypeError, ValueError: one of them is wrong; the text names it.
    """
    if options.keys().isdisjoint(DIALING_KEYWORDS):
        return None
    from ._dialing import Dialing, checked  # few programs decide anything

    dialing = checked(options)
    if (proxy or "_socks_options" in options) and dialing.socket_path is not None:
        raise ValueError("socket_path cannot be combined with a proxy")
    return None if dialing == Dialing() else dialing


class _DefaultOptions:
    """The default of `socket_options`: read the class attribute when a connection is made."""

    def __repr__(self) -> str:
        return "HTTPConnection.default_socket_options"


_DEFAULT_OPTIONS = _DefaultOptions()


_get_default_user_agent = default_user_agent


class HTTPConnection(http.client.HTTPConnection):
    """One plain connection to one host, possibly through a proxy.

    :param host: name or address; brackets around an IPv6 address are taken off.
    :param port: default: :attr:`default_port`.
    :param timeout: seconds for connecting and for each wait afterwards; None: for ever.
    :param source_address: ``(host, port)`` to bind to.
    :param blocksize: bytes read at a time from a body that is a file.
    :param socket_options: ``setsockopt`` arguments; default: the class attribute
        :attr:`default_socket_options`, read at this call; None or empty: set nothing.
    :param proxy: URL of the proxy that `host` is, if it is one.
    :param proxy_config: how to talk to it.
    :param resolver: finds the addresses of names, see :mod:`urllib4.resolvers`; default: the
        system.
    :param address_filter: says which addresses may be connected to, see
        :mod:`urllib4.address_filters`; default: all.
    :param socket_family: ``socket.AF_INET`` or ``AF_INET6``: use addresses of this family only.
    :param tcp_keepalive: let the kernel probe idle connections: True (after 55 idle seconds, then
        every 15, four times, as far as the system can be told), or ``(idle, interval, count)``.
    :param source_interface: name of the network interface to go through.
    :param socket_path: path of a Unix domain socket to connect to; `host` and `port` are for the
        Host field and for TLS then, and what concerns addresses does not count.
    :param attempt_delay: seconds until the next address of a host is tried while those before are
        silent, 0.25 by default; ``math.inf``: only once they failed.
    :raises TypeError, ValueError: one of these is wrong, or this system does not have it.
    :raises InvalidTargetError: `host` holds control characters or spaces, or ends in a port that
        is no number.

    Not safe to share between threads; a pool hands it to one at a time.
    """

    default_port: int = port_by_scheme["http"]
    #: Nagle's algorithm is off: a request is written whole.
    default_socket_options: Any = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    #: Whether the peer's identity was checked.
    is_verified: bool = False
    #: The same for an https proxy; None without one.
    proxy_is_verified: bool | None = None

    response_class: Any = Http1Response
    #: What :meth:`getresponse` wraps the answer in.
    ResponseCls: type[HTTPResponse] = HTTPResponse

    # Values for subclasses that set up less than our constructor does.
    _stream: ByteStream | None = None
    # Of the socket that is open now; None where no pool asked for it.
    _life: Life | None = None
    _unsent = False
    # What the Host line was made of, and the line.
    _known_host: tuple[Any, bytes] = (None, b"")
    # What tells whether the idle socket is readable: see `_is_readable`.
    _poll: tuple[Any, Any, Callable[[int], Any]] | None = None
    _asks_upgrade = False
    _call: Call | None = None
    _response_options: _ResponseOptions | None = None
    _has_connected_to_proxy = False
    _tunnel_scheme: str | None = None
    _closing_later = False
    _dialing: Dialing | None = None
    source_address: tuple[str, int] | None
    #: Headers of the answer to CONNECT; None without a tunnel.
    proxy_response_headers: HTTPHeaderDict | None = None
    # What the constructor sets anyhow, and what is set later.  An object that begins with a copy
    # has a dict of its own: one that Python 3.11 makes when somebody asks for it, as
    # `_is_hooked` does, is read ten times slower (benchmark ``small``), and one that grows takes
    # half of the time that all of the constructor takes (``churn``).
    _layout: dict[str, Any] = {
        **dict.fromkeys((
            "timeout", "source_address", "blocksize", "sock", "_buffer", "_method", "port",
            "_HTTPConnection__response", "_HTTPConnection__state", "_tunnel_host", "_tunnel_port",
            "_tunnel_headers", "_create_connection", "_dns_host", "socket_options", "proxy",
            "proxy_config", "_stream", "_life", "_poll", "_call", "_response_options",
            "proxy_response_headers",
        )),
        "_unsent": False,
        "_has_connected_to_proxy": False,
    }  # fmt: skip

    # The names that http.client mangles for its class are those of ours: both are called
    # HTTPConnection, so these two are its state and its outstanding response.
    __state: str
    __response: Any

    def __init__(
        self,
        host: str,
        port: int | None = None,
        *,
        timeout: Any = _DEFAULT_TIMEOUT,
        source_address: tuple[str, int] | None = None,
        blocksize: int = 16384,
        socket_options: Any = _DEFAULT_OPTIONS,
        proxy: Url | None = None,
        proxy_config: ProxyConfig | None = None,
        resolver: Resolver | None = None,
        address_filter: AddressFilter | None = None,
        socket_family: int | None = None,
        tcp_keepalive: bool | tuple[int, int, int] | None = None,
        source_interface: str | None = None,
        socket_path: str | os.PathLike[str] | None = None,
        attempt_delay: float | None = None,
    ) -> None:
        if not isinstance(host, str):
            raise TypeError(f"host must be a str, not {type(host).__name__}: {host!r}")
        self.__dict__ = self._layout | self.__dict__
        if timeout is _DEFAULT_TIMEOUT:
            timeout = socket.getdefaulttimeout()
        try:
            super().__init__(host, port, timeout, source_address, blocksize)
        except http.client.InvalidURL as error:
            raise InvalidTargetError(str(error)) from None
        if socket_options is _DEFAULT_OPTIONS:
            socket_options = self.default_socket_options
        self.socket_options = socket_options
        self.proxy = proxy
        self.proxy_config = proxy_config
        self.proxy_response_headers = None
        ways = (
            resolver, address_filter, socket_family, tcp_keepalive, source_interface, socket_path,
            attempt_delay,
        )  # fmt: skip
        if ways != _NOT_GIVEN:
            given = dict(zip(DIALING_KEYWORDS, ways, strict=True))
            self._dialing = check_dialing(given, proxy=proxy is not None)
        watch(self)

    def _after_fork_in_child(self) -> None:
        """Let go of the parent's socket: closing our copy sends nothing."""
        sock, self.sock = self.sock, None
        self._stream = None
        life, self._life = self._life, None
        if life is not None:
            life.disown()
        if sock is not None:
            sock.close()

    def __str__(self) -> str:
        return f"{type(self).__name__}(host={self.host!r}, port={self.port!r})"

    def __repr__(self) -> str:
        return f"<{self} at {id(self):#x}>"

    @property
    def host(self) -> str:
        """The host without trailing dots: for the Host field, SNI and certificates.

        Name servers get the name as it was given: ``_dns_host``.
        """
        return self._dns_host.rstrip(".")

    @host.setter
    def host(self, value: str) -> None:
        self._dns_host = value

    # -- opening and closing ---------------------------------------------------------------

    def _new_conn(self) -> Any:
        """Open a socket to the host; what others override to choose the way or the address."""
        cancel = None if self._call is None else self._call.cancel
        # Only our own function knows the option; programs put theirs in its place.
        options: dict[str, Any] = {}
        if cancel is not None and _connection.create_connection is _OWN_CREATE_CONNECTION:
            options["cancel"] = cancel
        socket_options = self.socket_options
        dialing = self._dialing
        if dialing is not None:
            # Whoever asked for a filter shall not lose it because of a function that knows none.
            options |= dialing.options()
            socket_options = dialing.socket_options(socket_options)
        try:
            if dialing is not None and dialing.socket_path is not None:
                sock = dialing.connect_to_path(self.timeout, socket_options, cancel)
            else:
                sock = _connection.create_connection(
                    (self._dns_host, self.port),
                    self.timeout,
                    source_address=self.source_address,
                    socket_options=socket_options,
                    **options,
                )
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except AddressBlockedError as error:
            raise AddressBlockedError(self, error.address, error.reason) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(
                self,
                f"Connection to {self.host} timed out. (connect timeout={self.timeout})",
            ) from error
        except OSError as error:
            raise NewConnectionError(
                self, f"Failed to establish a new connection: {error}"
            ) from error
        sys.audit("http.client.connect", self, self.host, self.port)
        return sock

    def connect(self) -> None:
        """Open the socket, through the tunnel if one was set.

        :raises NameResolutionError: the name is not known.
        :raises ConnectTimeoutError: it took longer than ``timeout``.
        :raises NewConnectionError: refused, unreachable, ...
        :raises OSError: the proxy refused the tunnel.
        """
        self._has_connected_to_proxy = False
        self.sock = self._new_conn()
        if self._tunnel_host is not None:
            self._tunnel()
        self._has_connected_to_proxy = self.proxy is not None

    def set_tunnel(
        self,
        host: str,
        port: int | None = None,
        headers: Mapping[str, str] | None = None,
        scheme: str = "http",
    ) -> None:
        """Reach `host` through a CONNECT tunnel (RFC 9110, 9.3.6).

        :param headers: sent with CONNECT only; a value of :data:`~urllib4.util.SKIP_HEADER` leaves
            out an automatic one.
        :param scheme: of the proxy.
        :raises ValueError: an unknown scheme, a host that is none, a header that must not be
            sent, several Host headers, or one that announces a body: CONNECT has none.
        """
        if scheme not in ("http", "https"):
            raise ValueError(
                f"Invalid proxy scheme for tunneling: {scheme!r}, must be either 'http' or 'https'"
            )
        if any(ord(char) <= 0x20 or ord(char) == 0x7F for char in host):
            raise ValueError(f"Tunnel host can't contain control characters {host!r}")
        _check_tunnel_headers(headers or {})
        host = host if host.isascii() else _idna(host)
        _check_authority(_ZONE.sub("", host if port is None else _bracketed(host)))
        super().set_tunnel(host, port=port)
        # From Python 3.12 on http.client adds a Host of its own, without brackets around IPv6.
        self._tunnel_headers = dict(header_items(headers or {}))
        self._tunnel_scheme = scheme

    def _tunnel(self) -> None:
        """Ask the proxy for the tunnel and read its answer by the strict head reader."""
        host = self._tunnel_host
        assert host is not None
        if self._dialing is not None:
            self._dialing.check_target(self, host, self._tunnel_port)
        authority = f"{_ZONE.sub('', _bracketed(host))}:{self._tunnel_port}"
        head = [b"CONNECT %b HTTP/1.1\r\n" % encode_target(authority)]
        names = set()
        for name, value in header_items(self._tunnel_headers):
            names.add(lower_name(name))
            if value != SKIP_HEADER:
                head.append(field_line(name, value))
        if "host" not in names:
            head.insert(1, field_line("Host", authority))
        head.append(b"\r\n")
        self._arm_socket()
        self.send(b"".join(head))
        try:
            stream = ByteStream(self.sock)
            self._limit_stream(stream)
            self.proxy_response_headers = read_tunnel_answer(stream).headers
        except BaseException:
            self.close()
            raise

    @property
    def is_closed(self) -> bool:
        """Whether there is no socket."""
        return self.sock is None

    @property
    def is_connected(self) -> bool:
        """Whether the socket is open and idle: a readable one was dropped by the peer."""
        if self.sock is None:
            return False
        stream = self._stream
        if stream is not None and stream._start != stream._end:  # `buffered`
            return False
        kept = self._poll
        if (
            kept is not None
            and kept[0] is self.sock
            and kept[1] == self.sock.fileno()
            and getattr(select, "poll", None) is _STD_POLL
            and wait_for_read is _OWN_WAIT_FOR_READ
        ):
            return not kept[2](0) or self._heard_only_of_tls()
        try:
            return not self._is_readable() or self._heard_only_of_tls()
        except ValueError:
            if self.sock.fileno() < 0:  # somebody closed it behind our back
                return False
            raise

    def _is_readable(self) -> bool:
        """Tell whether a receive would return at once.

        By a poll object that is kept for the next time, as long as the socket is: making one takes
        longer than asking it (benchmark ``small``).
        """
        sock = self.sock
        if (
            getattr(select, "poll", None) is not _STD_POLL  # programs replace it (gevent)
            or wait_for_read is not _OWN_WAIT_FOR_READ
            or not isinstance(sock, socket.socket)
        ):
            return wait_for_read(sock, timeout=0.0)
        descriptor = sock.fileno()
        poller = select.poll()
        poller.register(sock, select.POLLIN)
        self._poll = (sock, descriptor, poller.poll)
        return bool(poller.poll(0))

    def _heard_only_of_tls(self) -> bool:
        """Tell whether a readable connection brought nothing but TLS's own messages.

        Session tickets, new keys and requests for a certificate may come at any time (RFC 8446,
        4.6); reading, which takes care of them, tells them from an answer and from the end.
        """
        response = self.__response
        if self.__state != _IDLE or not (response is None or response.isclosed()):
            return False  # whoever waits for an answer reads by himself
        from .util._ssl_plan import is_tls  # loaded with TLS, not before

        if not is_tls(self.sock):
            return False
        stream = self._reader()
        return receive_nowait(stream) and not stream.buffered

    @property
    def is_quiescent(self) -> bool:
        """Whether the connection may carry another exchange (RFC 9112, 9.3).

        The last response was read whole, nothing is left in the reader or in the TLS layer,
        nothing is unsent, and the peer did not say that it closes.
        """
        return self._may_go_on()

    def _may_go_on(self) -> bool:
        if self.sock is None or self._unsent:
            return False
        response = self.__response
        if type(response) is Http1Response:
            # As below, by a look instead of three calls (benchmark ``small``).
            body = response.body
            if response.will_close or response._stream is not None:
                return False
            if body is None or not body.complete:
                return False
        elif response is not None:
            if response.will_close or not response.isclosed():
                return False
            if isinstance(response, Http1Response) and not response.complete:
                return False
        stream = self._stream
        if stream is not None and stream._start != stream._end:  # `buffered`
            return False
        pending = getattr(self.sock, "pending", None)
        return pending is None or not pending()

    @property
    def _reads_by_itself(self) -> bool:
        """Whether every byte of an answer passes through our own reader."""
        cls = self.response_class
        return isinstance(cls, type) and issubclass(cls, Http1Response)

    @property
    def _peer_closes(self) -> bool:
        """Whether the peer said that the last answer is the last one here."""
        response = self.__response
        return response is not None and bool(response.will_close)

    @property
    def has_connected_to_proxy(self) -> bool:
        """Whether the proxy was reached: an error after that is the target's.

        Stays as it is when the connection is closed, until the next one is opened.
        """
        return self._has_connected_to_proxy

    @property
    def proxy_is_forwarding(self) -> bool:
        """Whether requests go to the proxy itself, in absolute form."""
        return self.proxy is not None and self._tunnel_host is None

    @property
    def proxy_is_tunneling(self) -> bool:
        """Whether requests go through a CONNECT tunnel."""
        return self._tunnel_host is not None

    def close(self) -> None:
        """Close the socket; the object can connect again."""
        if self._closing_later:
            return
        try:
            super().close()
        finally:
            self.sock = None
            self._stream = None
            self._poll = None
            self._unsent = False
            self.is_verified = False
            self.proxy_is_verified = None
            self._response_options = None
            self.proxy_response_headers = None
            self._tunnel_host = None
            self._tunnel_port = None
            self._tunnel_scheme = None
            life = self._life
            if life is not None:
                self._life = None
                life.end()

    # -- bounds ----------------------------------------------------------------------------

    def _time_left(self) -> float | None:
        """Return how long the next wait may last: our timeout, or what is left of the attempt.

        :raises TimeoutError: (the builtin) nothing is left.
        :raises RequestCancelledError: the call's token was used.
        """
        timeout = self.timeout
        call = self._call
        if call is None:
            return timeout
        if call.cancel is not None:
            # A token used before the socket was there woke up nobody.
            call.cancel.check(call.phase)
        if call.attempt_deadline is None:
            return timeout
        left = call.attempt_deadline.left()
        if left <= 0:
            raise TimeoutError("timed out")
        return left if timeout is None else min(timeout, left)

    def _arm_socket(self) -> None:
        """Give the socket the timeout of its next wait."""
        sock = self.sock
        if sock is None:
            return
        call = self._call
        timeout = self.timeout if call is None or call.is_unbounded else self._time_left()
        if sock.gettimeout() != timeout:
            sock.settimeout(timeout)

    def _limit_stream(self, stream: ByteStream) -> None:
        call = self._call
        stream.timeout = self.timeout
        if call is not None and call.attempt_deadline is not None:
            stream.deadline = call.attempt_deadline.at
        else:
            stream.deadline = None

    # -- sending ---------------------------------------------------------------------------

    def putrequest(
        self,
        method: str,
        url: str,
        skip_host: bool = False,
        skip_accept_encoding: bool = False,
    ) -> None:
        """Start a request, as http.client does.

        :raises ValueError: the method is no token, or the target or host cannot be sent.
        """
        check_method(method)
        _encode_raw_target(url)
        host = None if skip_host else self._host_value(url)
        self._forget_finished_response()
        # http.client would put userinfo of the target into the Host field.
        super().putrequest(method, url, skip_host=True, skip_accept_encoding=True)
        if host is not None and self._http_vsn == 11:  # type: ignore[attr-defined]
            self.putheader("Host", host)
        if not skip_accept_encoding and self._http_vsn == 11:  # type: ignore[attr-defined]
            self.putheader("Accept-Encoding", "identity")

    def putheader(self, header: str, *values: Any) -> None:  # type: ignore[override]
        """Add a header line; :data:`SKIP_HEADER` as a value leaves the line out.

        Several values stand in it one behind the other, with a space between them.

        :raises ValueError: the header cannot be skipped, holds control characters, is a second
            Host or a second way to frame the body (RFC 9112, 3.2 and 6.2), or frames it with
            another coding than a last "chunked" (6.3).
        """
        if any(isinstance(value, str) and value == SKIP_HEADER for value in values):
            check_skippable(header)
            return
        lines = [field_line(header, value) for value in values]
        if len(lines) > 1:
            # http.client would fold the line, which no sender may do (RFC 9112, 5.2).
            values = (b" ".join(line.partition(b": ")[2][:-2] for line in lines),)
        name = lower_name(header).encode("ascii")
        self._refuse_second(name)
        if name == _CODING:
            check_codings(values)
        super().putheader(header, *values)

    def _refuse_second(self, name: bytes) -> None:
        """Refuse a field that contradicts one that was put already."""
        if name == _HOST:
            rivals: tuple[bytes, ...] = (_HOST,)
        elif name in (_LENGTH, _CODING):
            rivals = (_LENGTH, _CODING)
        else:
            return
        for line in self._buffer[1:]:  # type: ignore[attr-defined]  # http.client's lines
            if line.partition(b":")[0].lower() in rivals:
                raise InvalidRequestHeaderError(
                    f"a request has one {name.decode()} header, and one way to frame its body"
                )

    def _is_hooked(self, whole: bool) -> bool:
        """Tell whether somebody replaced a step of sending, here or in http.client.

        Asked per request, not once per class: tracers are often switched on after the first
        request (costs 0.5 us; benchmark ``small``).  By identity: what they wrap methods in is
        often equal to what it wraps.

        :param whole: or :meth:`request` itself.
        """
        cls, own = type(self), self.__dict__
        return not (
            cls.putrequest is _OWN_PUTREQUEST
            and cls.putheader is _OWN_PUTHEADER
            and cls.endheaders is _STD_ENDHEADERS
            and cls.send is _STD_SEND
            and cls._send_output is _STD_SEND_OUTPUT  # type: ignore[attr-defined]
            and _Std.putrequest is _STD_PUTREQUEST
            and _Std.putheader is _STD_PUTHEADER
            and self.debuglevel <= 0
            and "putrequest" not in own
            and "putheader" not in own
            and "endheaders" not in own
            and "send" not in own
            and "_send_output" not in own
            and (not whole or (cls.request is _OWN_REQUEST and "request" not in own))
        )

    def request(  # type: ignore[override]
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
        """Send a request; connect first if there is no connection.

        Host, ``Accept-Encoding: identity``, User-Agent and the framing fields are added unless
        given.  A body of unknown length is sent chunked.

        :param body: bytes, str (sent as UTF-8), a file, or an iterable of bytes or str.
        :param chunked: send the body chunked even if its length is known.
        :raises ValueError: a bad method, target or header, or a Content-Length that is not the
            length of the body.
        :raises TypeError: a body of another type.
        """
        # The pool's plan was made before this connection was taken.
        call = self._call
        plan = None if call is None else call.plan_for(method, headers, body, chunked)
        if plan is None:
            plan = request_plan(method, headers, body, chunked=chunked, blocksize=self.blocksize)
        self._request_as_planned(
            method, url, plan, preload_content, decode_content, enforce_content_length,
            by_steps=self._is_hooked(False),
        )  # fmt: skip

    def _request_as_planned(
        self,
        method: str,
        url: str,
        plan: RequestPlan,
        preload_content: bool,
        decode_content: bool,
        enforce_content_length: bool,
        by_steps: bool,
    ) -> None:
        """Send a request whose fields and body were checked."""
        self._response_options = _new_tuple(
            _ResponseOptions,
            (method, url, preload_content, decode_content, enforce_content_length),
        )
        call = self._call
        if call is not None and call.is_unbounded:
            # What `_arm_socket` does then (benchmark ``small``).
            sock = self.sock
            if sock is not None and sock.gettimeout() != self.timeout:
                sock.settimeout(self.timeout)
        else:
            self._arm_socket()
        self._asks_upgrade = plan.asks_upgrade
        if by_steps:
            self._send_by_steps(method, url, plan)
        else:
            self._send_at_once(method, url, plan)

    def request_chunked(
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send a request with a chunked body.

        .. deprecated:: 4.0
           Use ``request(..., chunked=True)``.
        """
        warnings.warn(
            "HTTPConnection.request_chunked() is deprecated and will be removed in urllib4 5.0. "
            "Use HTTPConnection.request(..., chunked=True) instead.",
            category=FutureWarning,
            stacklevel=2,
        )
        self.request(method, url, body=body, headers=headers, chunked=True)

    def _forget_finished_response(self) -> None:
        """Connect anew where the last response said that its connection closes, or left something.

        What it left, unread or behind it, would be taken for the next answer.  A pool looks by
        itself (:attr:`is_quiescent`): this is for who uses a connection alone.
        """
        response, stream = self.__response, self._stream
        own = isinstance(response, Http1Response)
        if response is not None and not (own and (response.isclosed() or response.complete)):
            return
        options = self._response_options
        tunnel = self._tunnel_host, self._tunnel_port, self._tunnel_scheme
        if (stream is not None and stream.buffered) or (own and not response.complete):
            self.close()
            self._tunnel_host, self._tunnel_port, self._tunnel_scheme = tunnel
        elif own and response.will_close and self._tunnel_host is None:
            self.close()
        self._response_options = options

    def _send_at_once(self, method: str, url: str, plan: RequestPlan) -> None:
        """Send head and small body in one write; the states are those of http.client."""
        start = _request_line if len(url) <= _LONGEST_KEPT_TARGET else _request_line.__wrapped__
        host = b"" if plan.has_host else self._host_line(url)
        head = start(method, url) + host + plan.head_end
        response = self.__response
        if self._call is None or (response is not None and response.will_close):
            self._forget_finished_response()
            response = self.__response
        if response is not None and (
            response._stream is None if type(response) is Http1Response else response.isclosed()
        ):
            self.__response = None
        if self.__state != _IDLE:
            raise http.client.CannotSendRequest(self.__state)
        if self.sock is None:
            if not self.auto_open:
                raise http.client.NotConnected
            self.connect()
            self._arm_socket()
        self._method = method
        self.__state = _REQ_SENT
        self._unsent = True
        body = b"" if plan.is_bodiless else None if plan.expects_continue else plan.whole_body
        if body is not None and len(body) <= _JOIN_BODY_BYTES:
            if body:
                head += body
            # What send() does, which nobody overrides here, for bytes (benchmark ``small``).
            sys.audit("http.client.send", self, head)
            self.sock.sendall(head)
        else:
            self.send(head)
            if not (self._may_send_body(plan) and self._upload(plan)):
                return  # the rest stays unsent, so the connection is not used again
        self._unsent = False

    def _may_send_body(self, plan: RequestPlan) -> bool:
        """Return whether the server wants the body, if it was asked."""
        if not plan.expects_continue or self._call is None:
            return True
        seconds = self._call.expect_continue
        assert seconds is not None
        return await_permission(self._reader(), seconds, self._time_left)

    def _upload(self, plan: RequestPlan) -> bool:
        """Send the body; return False if the server answered that it does not want it.

        :raises InvalidRequestHeaderError: it is not as long as the Content-Length says.
        """
        sock = self.sock
        if not isinstance(sock, socket.socket):
            self._send_body(plan)  # TLS in TLS, or somebody's own: cannot be watched
            return True
        uploader = Uploader(self, sock, self._reader(), self._time_left)
        with contextlib.closing(plan.pieces(views=True, runs=uploader.sends_files)) as pieces:
            if plan.is_chunked:
                return uploader.send_all(itertools.chain(pieces, (b"0\r\n\r\n",)))
            return uploader.send_all(pieces)

    def _reader(self) -> ByteStream:
        """Return the one reader of the socket that is open now."""
        stream = self._stream
        if stream is None or stream.sock is not self.sock:
            self._stream = stream = ByteStream(self.sock)
        return stream

    def _send_by_steps(self, method: str, url: str, plan: RequestPlan) -> None:
        """Send through the methods of http.client, for those who hooked or override them."""
        self.putrequest(
            method, url, skip_accept_encoding=plan.has_accept_encoding, skip_host=plan.has_host
        )
        self._unsent = True
        for name, value in plan.fields:
            self.putheader(name, value)
        self.endheaders()
        if self._may_send_body(plan):
            self._send_body(plan)
            self._unsent = False

    def _send_body(self, plan: RequestPlan) -> None:
        """Send the body, each write with the whole timeout.

        :raises InvalidRequestHeaderError: it is not as long as the Content-Length says.
        """
        bounded = self._call is not None and self._call.attempt_deadline is not None
        for piece in plan.pieces():
            if bounded:
                self._arm_socket()
            self.send(piece)
        if plan.is_chunked:
            self.send(b"0\r\n\r\n")

    def _host_line(self, url: str) -> bytes:
        """Return the line with the Host field; that of our own host is kept."""
        if not url.startswith("/"):
            return field_line("Host", self._host_value(url))
        parts = (
            self._dns_host, self.port, self._tunnel_host, self._tunnel_port, self.default_port
        )  # fmt: skip
        known, line = self._known_host
        if known != parts:
            line = field_line("Host", self._host_value(url))
            self._known_host = (parts, line)
        return line

    def _host_value(self, url: str) -> str:
        """Return the Host field: the target's authority if it has one, else our own host.

        :raises InvalidTargetError: it cannot be sent as one.
        """
        if url.startswith("http"):
            authority = url.partition("://")[2].partition("/")[0].partition("?")[0]
            if authority:
                return _check_authority(_ZONE.sub("", authority))
        host, port = (
            (self._tunnel_host, self._tunnel_port)
            if self._tunnel_host is not None
            else (self.host, self.port)
        )
        assert host is not None
        if ":" in host and not host.startswith("["):
            host = f"[{host.partition('%')[0]}]"
        elif not host.isascii():
            host = _idna(host)
        return _check_authority(host if port == self.default_port else f"{host}:{port}")

    # -- receiving -------------------------------------------------------------------------

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        """Return the response to the request that was sent last.

        :raises http.client.ResponseNotReady: no request was sent.
        :raises http.client.RemoteDisconnected: the peer closed without an answer.
        :raises http.client.BadStatusLine: what came is not HTTP/1.x.
        :raises ProtocolError: the head is malformed or contradicts itself.
        """
        options = self._response_options
        if options is None:
            raise http.client.ResponseNotReady()
        self._response_options = None
        stream = self._stream
        if stream is None or stream.sock is not self.sock:
            stream = self._reader()
        call = self._call
        if call is not None and call.is_unbounded:
            # As below, where nothing but the timeout counts (benchmark ``small``).
            sock, stream.timeout, stream.deadline = self.sock, self.timeout, None
            if sock is not None and sock.gettimeout() != self.timeout:
                sock.settimeout(self.timeout)
        else:
            self._arm_socket()
            self._limit_stream(stream)
        if (
            self.response_class is not Http1Response
            or _Std.getresponse is not _STD_GETRESPONSE
            or self.debuglevel > 0
        ):
            message = self._receive_by_steps(stream)
        else:
            message = self._receive(stream)
        own = type(message) is Http1Response or isinstance(message, Http1Response)
        if own and message.head is not None and message.head[4]:
            _log_defects(options.request_url, message.head[4])
        # An answer of 1.0 says so; of all others it is what the connection speaks.
        text = "HTTP/1.0" if message.version == 10 else self._http_vsn_str  # type: ignore[attr-defined]
        carrier = None
        stream = self._stream
        if stream is not None:
            stream.answers = number = stream.answers + 1
            if number == 1:
                stream.endpoints = endpoints_of(self.sock)
                stream.shutdown = getattr(self.sock, "shutdown", None)
                self._keep_sessions()
            # The two ends of the connection, and the number of its answers with this one.
            carrier = (stream.endpoints, number)
        shutdown = None if stream is None else stream.shutdown
        if type(message) is Http1Response and self.ResponseCls is HTTPResponse:
            response = _response_of(message, options, text, carrier, shutdown)
        else:
            response = self._wrapped(message, options, text, shutdown)
            response._carrier = carrier
        if self.proxy_response_headers is not None:
            response.proxy_headers = self.proxy_response_headers.copy()
        return response

    def _wrapped(
        self, message: Any, options: _ResponseOptions, text: str, shutdown: Any
    ) -> HTTPResponse:
        """Return a message that is not ours as what programs get, or as what they want instead."""
        method, url, preload, decode, enforce = options
        if isinstance(message, Http1Response) and message.head is not None:
            headers = message.head.headers
        else:
            headers = _foreign_headers(url, message)
        return self.ResponseCls(
            body=message,
            headers=headers,
            status=message.status,
            version=message.version,
            version_string=text,
            reason=message.reason,
            # Nobody knows when the other protocol that follows 101 will end.
            preload_content=preload and message.status != 101,
            decode_content=decode,
            original_response=message,
            enforce_content_length=enforce,
            request_method=method,
            request_url=url,
            sock_shutdown=shutdown,
        )

    def _keep_sessions(self) -> None:
        """Called when the first answer has begun."""

    def _receive(self, stream: ByteStream) -> Http1Response:
        """Read the head of the answer."""
        before = self.__response
        if self.__state != _REQ_SENT or (
            before is not None
            and (
                before._stream is not None
                if type(before) is Http1Response
                else not before.isclosed()
            )
        ):
            raise http.client.ResponseNotReady(self.__state)
        try:
            message = receive_response(self.sock, self._method, stream, self._asks_upgrade)
        except BaseException:
            self.close()
            raise
        self.__state = _IDLE
        self.__response = message
        body = message.body
        if body is not None and body.complete:
            self._await_body_of(message)
        return message

    def _await_body_of(self, message: Any) -> None:
        """Be ready for the next request once the body of `message` was read."""
        self.__state = _IDLE
        self.__response = message
        if isinstance(message, Http1Response) and message.complete and not message.will_close:
            # It has no body: nobody has to read it before the connection can be used again.
            self.__response = None

    def _receive_by_steps(self, stream: ByteStream) -> Any:
        """Let http.client's own ``getresponse`` make the message, for those who hooked it.

        It is of :attr:`response_class`, the standard library's for example.
        """
        given = self.__dict__.get("response_class")
        own = isinstance(self.response_class, type) and issubclass(
            self.response_class, Http1Response
        )
        if own:
            # Share the reader, or bytes behind the answer would get lost in one of its own.
            self.response_class = functools.partial(
                self.response_class, stream=stream, upgrade=self._asks_upgrade
            )
        # http.client closes the socket at once when the peer says close; our body still reads
        # from it.  The lease of the connection ends that later.
        self._closing_later = True
        try:
            message = _Std.getresponse(self)
        except BaseException:
            self._closing_later = False
            self.close()
            raise
        finally:
            self._closing_later = False
            if own:
                if given is None:
                    del self.response_class
                else:
                    self.response_class = given
        self._await_body_of(message)
        return message


_OWN_REQUEST = HTTPConnection.request
_OWN_PUTREQUEST, _OWN_PUTHEADER = HTTPConnection.putrequest, HTTPConnection.putheader


def _encode_raw_target(target: str) -> bytes:
    """Return a target as ASCII; it must be one word, its host be one, and hold no credentials.

    :raises InvalidTargetError: naming the target, unless it holds credentials.
    """
    absolute = None if target.startswith("/") else _ABSOLUTE.match(target)
    if absolute is not None:
        if "@" in absolute[1]:
            raise InvalidTargetError(
                "a target must not hold credentials (RFC 9110, 4.2.4): send them by "
                "make_headers(basic_auth=...)"
            )
        _check_authority(_ZONE.sub("", absolute[1]))
    return encode_target(target)


@functools.lru_cache(maxsize=256)  # asked for each request (benchmark ``small``)
def _request_line(method: str, target: str) -> bytes:
    """Return the first line of a request; an empty `target` counts as ``/``.

    :raises InvalidTargetError: it cannot be sent.
    """
    return b"%b %b HTTP/1.1\r\n" % (method.encode("ascii"), _encode_raw_target(target or "/"))


@functools.lru_cache(maxsize=256)  # asked for each request (benchmark ``small``)
def _check_authority(authority: str) -> str:
    """Return `authority` if it can be a Host field.

    :raises InvalidTargetError: naming it.
    """
    if _AUTHORITY.fullmatch(authority) is None:
        raise InvalidTargetError(f"not a host that can be asked for: {authority!r}")
    return authority


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _idna(host: str) -> str:
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        raise InvalidTargetError(f"not a host that can be asked for: {host!r}") from None


def _check_tunnel_headers(headers: Any) -> None:
    """Refuse what must not be sent with CONNECT.

    :raises InvalidRequestHeaderError: naming the header.
    """
    names = []
    for name, value in header_items(headers):
        names.append(lower_name(name))
        if value == SKIP_HEADER:
            check_skippable(name)
            continue
        field_line(name, value)
        # The proxy would take the start of what goes through the tunnel for that body
        # (RFC 9110, 9.3.6).  A length of 0 announces none; any transfer coding does.
        if names[-1] == "transfer-encoding" or (
            names[-1] == "content-length" and str(value) != "0"
        ):
            raise InvalidRequestHeaderError(f"CONNECT has no body, so no {names[-1]} header")
    for name in ("host", "content-length"):
        if names.count(name) > 1:
            raise InvalidRequestHeaderError(f"a request has one {name.title()} header, not several")


def _log_defects(url: str, defects: tuple[str, ...]) -> None:
    error = HeaderParsingError(defects=list(defects), unparsed_data=None)
    log.warning("Failed to parse headers (url=%s): %s", url, error, exc_info=error)


def _foreign_headers(url: str, message: Any) -> HTTPHeaderDict:
    """Return the fields of a message that was not read by us, folded lines joined."""
    try:
        assert_header_parsing(message.msg)
    except (HeaderParsingError, TypeError) as error:
        log.warning("Failed to parse headers (url=%s): %s", url, error, exc_info=True)
    headers = HTTPHeaderDict()
    for name, value in message.msg.items():
        headers.add(name, " ".join(line.strip() for line in value.splitlines()))
    return headers


# -- https -------------------------------------------------------------------------------------

# What a connection has for the configuration of TLS with its target.
_TLS_FIELDS = (
    "ssl_context", "cert_reqs", "ca_certs", "ca_cert_dir", "ca_cert_data", "cert_file", "key_file",
    "key_password", "cert_data", "key_data", "ssl_version", "ssl_minimum_version",
    "ssl_maximum_version", "assert_hostname", "assert_fingerprint", "assert_pins",
    "server_hostname",
)  # fmt: skip
_tls_values = operator.attrgetter(*_TLS_FIELDS)


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


class HTTPSConnection(HTTPConnection):
    """One connection to one host over TLS; if it is tunnelled, TLS runs inside the tunnel.

    :param cert_reqs: ``"CERT_REQUIRED"``, ``"CERT_NONE"`` or the constants of :mod:`ssl`;
        default: what `ssl_context` asks for, else verification.
    :param assert_hostname: name to check in the certificate instead of the host; False: none.
    :param assert_fingerprint: hex digest (MD5, SHA-1 or SHA-256) the certificate must have, or a
        list of which it must have one; it replaces the check of the name.
    :param assert_pins: public keys of which the certificate must hold one, each as ``"sha256//"``
        and the base64 of the SHA-256 of its SubjectPublicKeyInfo (as ``curl --pinnedpubkey``).
        Checked in addition to chain and name; with ``CERT_NONE`` it is the only check.
    :param server_hostname: name for SNI and verification instead of the host.
    :param ssl_context: a context of your own; never changed by us.
    :param ca_certs: file of CA certificates.  ``~`` is expanded.
    :param ca_cert_dir: directory of hashed CA certificates.  ``~`` is expanded.
    :param ca_cert_data: CA certificates as PEM text or DER bytes.
    :param ssl_minimum_version, ssl_maximum_version: members of :class:`ssl.TLSVersion`.
    :param ssl_version: deprecated; use the two bounds.
    :param cert_file, key_file, key_password: client certificate, its key and the password.
    :param cert_data, key_data: the same from memory, PEM; never written to a visible file.
    :param tls_session_cache: where sessions are kept for later connections to resume; True: in a
        cache of this object's own; None or False: nowhere.

    Without any CA the system's store is used, certifi's where the system has none.

    :raises ValueError, TypeError: a pin is malformed.
    :raises SSLError: a fingerprint in a list is.

    .. versionchanged:: 4.0
       `assert_pins`, lists for `assert_fingerprint`, and `tls_session_cache`.
    """

    default_port: int = port_by_scheme["https"]

    _layout: dict[str, Any] = HTTPConnection._layout | dict.fromkeys((
        "key_file", "cert_file", "key_password", "key_data", "cert_data", "ssl_context",
        "server_hostname", "assert_hostname", "assert_fingerprint", "assert_pins", "ssl_version",
        "ssl_minimum_version", "ssl_maximum_version", "ca_certs", "ca_cert_dir", "ca_cert_data",
        "cert_reqs", "tls_session_cache",
    ))  # fmt: skip
    # Also for subclasses that set up less than our constructor does.
    tls_session_cache: TLSSessionCache | None = None
    _session_keys: tuple[tuple[Any, Any], ...] = ()
    # What the configuration was made of, and the configuration: to check it all takes as long as
    # a request (benchmark ``newconn_tls``).
    _known_config: tuple[Any, Any, _tls.TLSConfig | None] = (None, None, None)

    def __init__(
        self,
        host: str,
        port: int | None = None,
        *,
        timeout: Any = _DEFAULT_TIMEOUT,
        source_address: tuple[str, int] | None = None,
        blocksize: int = 16384,
        socket_options: Any = _DEFAULT_OPTIONS,
        proxy: Url | None = None,
        proxy_config: ProxyConfig | None = None,
        cert_reqs: int | str | None = None,
        assert_hostname: str | None | Literal[False] = None,
        assert_fingerprint: str | Sequence[str] | None = None,
        server_hostname: str | None = None,
        ssl_context: Any = None,
        ca_certs: str | None = None,
        ca_cert_dir: str | None = None,
        ca_cert_data: None | str | bytes = None,
        ssl_minimum_version: int | None = None,
        ssl_maximum_version: int | None = None,
        ssl_version: int | str | None = None,
        cert_file: str | None = None,
        key_file: str | None = None,
        key_password: str | None = None,
        cert_data: None | str | bytes = None,
        key_data: None | str | bytes = None,
        assert_pins: Sequence[str] | None = None,
        tls_session_cache: TLSSessionCache | bool | None = None,
        **dialing: Any,
    ) -> None:
        # Long, but flat: each documented option becomes an attribute, and nothing is decided.
        super().__init__(
            host,
            port=port,
            timeout=timeout,
            source_address=source_address,
            blocksize=blocksize,
            socket_options=socket_options,
            proxy=proxy,
            proxy_config=proxy_config,
            **dialing,
        )
        self.key_file = key_file
        self.cert_file = cert_file
        self.key_password = key_password
        self.key_data = key_data
        self.cert_data = cert_data
        self.ssl_context: Any = ssl_context
        self.server_hostname = server_hostname
        self.assert_hostname = assert_hostname
        check_pinning(assert_fingerprint, assert_pins)
        self.assert_fingerprint = assert_fingerprint
        self.assert_pins = assert_pins
        self.ssl_version = ssl_version
        self.ssl_minimum_version = ssl_minimum_version
        self.ssl_maximum_version = ssl_maximum_version
        self.ca_certs = _expand(ca_certs)
        self.ca_cert_dir = _expand(ca_cert_dir)
        self.ca_cert_data = ca_cert_data
        self.cert_reqs = _effective_cert_reqs(cert_reqs, ssl_context)
        cache = checked_session_cache(tls_session_cache)
        if cache is not False:
            self.tls_session_cache = TLSSessionCache() if cache is True else cache
        if ssl_version is not None:
            warn_caller(
                "ssl_version is deprecated and will be removed in urllib4 5.0. Use "
                "ssl_minimum_version and ssl_maximum_version instead.",
                FutureWarning,
            )

    def set_cert(
        self,
        key_file: str | None = None,
        cert_file: str | None = None,
        cert_reqs: int | str | None = None,
        key_password: str | None = None,
        ca_certs: str | None = None,
        assert_hostname: str | None | Literal[False] = None,
        assert_fingerprint: str | Sequence[str] | None = None,
        ca_cert_dir: str | None = None,
        ca_cert_data: None | str | bytes = None,
    ) -> None:
        """Set the TLS options after construction.

        .. deprecated:: 4.0
           Pass them to the constructor.
        """
        warnings.warn(
            "HTTPSConnection.set_cert() is deprecated and will be removed in urllib4 5.0. Pass "
            "the options to the constructor instead.",
            category=FutureWarning,
            stacklevel=2,
        )
        self.key_file = key_file
        self.cert_file = cert_file
        self.cert_reqs = _effective_cert_reqs(cert_reqs, self.ssl_context)
        self.key_password = key_password
        self.assert_hostname = assert_hostname
        self.assert_fingerprint = assert_fingerprint
        self.ca_certs = _expand(ca_certs)
        self.ca_cert_dir = _expand(ca_cert_dir)
        self.ca_cert_data = ca_cert_data

    def connect(self) -> None:
        """Open the socket, the tunnel if one was set, and TLS to the target.

        :raises ssl.SSLError: the handshake or the verification of the certificate failed.
        :raises ssl.CertificateError: the certificate is for another name.

        What :meth:`HTTPConnection.connect` raises, too.
        """
        if ssl is None:
            raise ImportError("Can't connect to HTTPS URL because the SSL module is not available.")
        self._has_connected_to_proxy = False
        self._session_keys = ()
        self.sock = self._new_conn()
        try:
            hostname: str = self.host
            tls_in_tls = False
            if self._tunnel_host is not None:
                tls_in_tls = self._reach_through_proxy()
                hostname = self._tunnel_host
            if datetime.date.today() < RECENT_DATE:
                warn_caller(
                    f"System time is way off (before {RECENT_DATE}). This will probably lead to "
                    "SSL verification errors",
                    SystemTimeWarning,
                )
            self._start_tls(hostname, tls_in_tls)
        except BaseException:
            self.close()
            raise
        self._has_connected_to_proxy = self.proxy is not None

    def _reach_through_proxy(self) -> bool:
        """Open the tunnel; return whether the way to the proxy is TLS already."""
        if self._tunnel_scheme == "https":
            self.sock = self._connect_tls_proxy(self.host, self.sock)
        else:
            self.proxy_is_verified = False
        self._tunnel()
        # What fails from here on is the target's doing.
        self._has_connected_to_proxy = True
        return self._tunnel_scheme == "https"

    def _start_tls(self, hostname: str, tls_in_tls: bool) -> None:
        """Run the handshake with the target, or with the proxy that we send whole requests to."""
        self._arm_socket()
        forwarding = self.proxy_is_forwarding
        config = self._proxy_tls_config() if forwarding else self._tls_config()
        result = self._wrap(config, hostname, tls_in_tls)
        self.sock = result.sock
        if forwarding:
            # Nobody verified the target: the proxy speaks to it in our place.
            self.is_verified = False
            self.proxy_is_verified = result.is_verified
        else:
            self.is_verified: bool = result.is_verified

    def _wrap(self, config: _tls.TLSConfig, hostname: str, tls_in_tls: bool) -> _tls.TLSResult:
        from . import _tls

        cancel = None if self._call is None else self._call.cancel
        try:
            with interruptible(cancel, self.sock):
                if ssl_wrap_socket is not _OWN_SSL_WRAP_SOCKET:
                    return self._wrap_by_replacement(config, hostname, tls_in_tls)
                result = _tls.wrap(
                    self.sock,
                    config,
                    hostname,
                    tls_in_tls=tls_in_tls,
                    sessions=self.tls_session_cache,
                    port=self.port if self._tunnel_port is None else self._tunnel_port,
                )
        except CertificateError as error:
            log.warning(
                "Certificate did not match expected hostname: %s. Certificate: %s",
                config.assert_hostname or config.server_hostname or hostname,
                getattr(error, "_peer_cert", None),
            )
            raise
        if result.session_key is not None:
            self._session_keys += ((result.session_key, result.sock),)
        return result

    def _keep_sessions(self) -> None:
        keys, self._session_keys = self._session_keys, ()
        if self.tls_session_cache is not None and keys:
            from . import _tls

            for key, sock in keys:
                _tls.keep_session(self.tls_session_cache, key, sock)

    def _wrap_by_replacement(
        self, config: _tls.TLSConfig, hostname: str, tls_in_tls: bool
    ) -> _tls.TLSResult:
        """Use what somebody (httpretty) put in the place of `ssl_wrap_socket` in this module."""
        from . import _tls

        context = config.ssl_context
        if context is None and _tls.has_more_than_wrap_socket_takes(config):
            context = _tls.context_for(config)
        sock = ssl_wrap_socket(
            sock=self.sock,
            keyfile=config.key_file,
            certfile=config.cert_file,
            key_password=config.key_password,
            cert_reqs=config.cert_reqs,
            ca_certs=config.ca_certs,
            ca_cert_dir=config.ca_cert_dir,
            ca_cert_data=config.ca_cert_data,
            server_hostname=config.server_hostname or hostname,
            ssl_context=context,
            tls_in_tls=tls_in_tls,
        )
        try:
            if config.assert_pins:
                from .util._pins import assert_pins  # few programs have pins

                assert_pins(sock.getpeercert(binary_form=True), config.assert_pins)
            if config.assert_fingerprint:
                assert_fingerprint(sock.getpeercert(binary_form=True), config.assert_fingerprint)
                return _tls.TLSResult(sock, True)
        except BaseException:
            sock.close()
            raise
        required = resolve_cert_reqs(config.cert_reqs) == _tls.CERT_REQUIRED
        return _tls.TLSResult(sock, required)

    def _connect_tls_proxy(self, hostname: str, sock: Any) -> Any:
        """Run the handshake with an https proxy; what is target's own does not apply to it."""
        self._arm_socket()
        result = self._wrap(self._proxy_tls_config(), hostname, False)
        self.proxy_is_verified: bool | None = result.is_verified
        return result.sock

    def _tls_config(self) -> _tls.TLSConfig:
        """Return all that TLS with the target needs, from the attributes as they are now."""
        from . import _tls  # a program that speaks no TLS does without (benchmark ``import``)

        values, alpn = _tls_values(self), _tls.default_alpn()
        known, known_alpn, config = self._known_config
        # By identity: 0 equals False, but says something else.
        if config is None or known_alpn != alpn or not all(map(operator.is_, known, values)):
            options = dict(zip(_TLS_FIELDS, values, strict=True))
            config = _tls.TLSConfig(**options, alpn_protocols=alpn)
            # Not what may be changed from inside, such as a list of pins.
            self._known_config = (values, alpn, config if _is_hashable(values) else None)
        return config

    def _proxy_tls_config(self) -> _tls.TLSConfig:
        """Return all that TLS with the proxy needs: its own context, or the pool's policy."""
        from . import _tls

        own = self.proxy_config
        context = None if own is None else own.ssl_context
        names: dict[str, Any] = {}
        if own is not None:
            names = {
                "assert_hostname": own.assert_hostname,
                "assert_fingerprint": own.assert_fingerprint,
            }
        if context is not None:
            return _tls.TLSConfig(ssl_context=context, **names)
        return _tls.TLSConfig(
            cert_reqs=self.cert_reqs,
            ca_certs=self.ca_certs,
            ca_cert_dir=self.ca_cert_dir,
            ca_cert_data=self.ca_cert_data,
            ssl_minimum_version=self.ssl_minimum_version,
            ssl_maximum_version=self.ssl_maximum_version,
            **names,
        )


def _effective_cert_reqs(
    cert_reqs: int | str | None, context: ssl.SSLContext | None
) -> int | str | None:
    if cert_reqs is not None:
        return cert_reqs
    return resolve_cert_reqs(None) if context is None else context.verify_mode


def _expand(path: str | None) -> str | None:
    if path is None:
        return None
    # Only paths that start with it: expanduser would import pwd for nothing.
    return os.path.expanduser(path) if str(path).startswith("~") else path


class DummyConnection:
    """Stands for ``HTTPSConnection`` where there is no ssl module; detects that by failing."""


if ssl is None:
    HTTPSConnection = DummyConnection  # type: ignore[misc]

VerifiedHTTPSConnection = HTTPSConnection
