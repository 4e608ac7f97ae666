"""What a connection does, told line by line: addresses, TLS, heads, and the time of each phase.

The connection classes of a manager are replaced by subclasses that override public steps
(``_new_conn``, ``connect``, ``request``, ``send``, ``getresponse``).  The library itself measures
nothing for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .text import duration_text, masked_value, size_text

if TYPE_CHECKING:
    from ..connection import HTTPConnection as _Base
else:
    _Base = object  # the real base is the class that is being watched

#: Phases in the order in which they happen.
PHASES = ("lookup and connect", "proxy", "TLS", "send", "wait")

#: Phases shorter than this did not take place: there was nothing to do.
_NOTHING = 20e-6


class Exchange:
    """One request and its answer: how it travelled and how long each phase took, in seconds."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        #: Whether the connection had served a request before.
        self.reused = True
        #: Whether there is nothing more to expect.
        self.over = False
        #: When the head of the answer was there, and the download began.
        self.answered_at: float | None = None
        #: Whether the head of the request is out, or still being collected.
        self.head_sent = False
        self.head = b""


class Watch:
    """Follows the exchanges of one command and tells about them.

    :param tell: called with a mark and a line: ``*`` for remarks, ``>`` for what is sent, ``<``
        for what comes.
    :param show_secrets: do not mask the values of headers such as Authorization.
    :param clock: monotonic seconds.

    For one thread, like the connections it watches.
    """

    def __init__(
        self,
        tell: Callable[[str, str], None],
        *,
        show_secrets: bool = False,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._tell = tell
        self._show_secrets = show_secrets
        self._clock = clock
        self._started = clock()
        self._received_at = self._started
        self._told = 0.0
        self.exchanges: list[Exchange] = []

    def attach(self, manager: Any) -> None:
        """Watch all connections that `manager` makes from now on."""
        classes = manager.pool_classes_by_scheme
        for scheme, pool_class in list(classes.items()):
            connection_class = pool_class.ConnectionCls
            watched = type(
                connection_class.__name__, (_Watched, connection_class), {"_watch": self}
            )
            classes[scheme] = type(pool_class.__name__, (pool_class,), {"ConnectionCls": watched})

    def remark(self, text: str) -> None:
        """Tell something about the connection or the call."""
        with self._aside():
            self._tell("*", text)

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """Keep the time that telling takes out of the phase that is told about."""
        start = self._clock()
        try:
            yield
        finally:
            self._told += self._clock() - start

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure a phase of the running exchange; an error ends the exchange."""
        exchange = self.running()
        start, spent, told = self._clock(), sum(exchange.seconds.values()), self._told
        try:
            yield
        except BaseException:
            exchange.over = True
            raise
        finally:
            # A phase inside this one (a tunnel inside connecting) counts for itself only, and
            # so does telling about it.
            elsewhere = sum(exchange.seconds.values()) - spent + self._told - told
            took = self._clock() - start - elsewhere
            exchange.seconds[name] = exchange.seconds.get(name, 0.0) + took

    def running(self) -> Exchange:
        """Return the exchange in progress, a new one if the last is over."""
        if not self.exchanges or self.exchanges[-1].over:
            self.exchanges.append(Exchange())
        return self.exchanges[-1]

    def connected(self, conn: Any, sock: Any) -> None:
        """Tell whereto a new connection leads."""
        proxy = " (proxy)" if conn.proxy is not None else ""
        self.remark(f"Connected to {_address(sock)}, for {conn.host}{proxy}")

    def secured(self, conn: Any) -> None:
        """Tell what TLS agreed on, if there is TLS."""
        sock = conn.sock
        version = getattr(sock, "version", None)
        if version is None:
            self.running().seconds.pop("TLS", None)
            return
        cipher = sock.cipher()
        verified = conn.is_verified or conn.proxy_is_verified
        self.remark(
            f"{version() or 'TLS'}, {cipher[0] if cipher else 'unknown cipher'}, certificate "
            f"{'verified' if verified else 'NOT verified'}"
        )

    def sending(self, conn: Any) -> None:
        """Tell about a request on a connection that carried one before."""
        exchange = self.running()
        if exchange.reused and conn.sock is not None:
            self.remark(f"Reused the connection to {_address(conn.sock)}")

    def sent(self, data: Any) -> None:
        """Tell about the head of a request, once it is complete; the body is not shown."""
        exchange = self.running()
        if exchange.head_sent:
            return
        exchange.head += bytes(data)
        head, end, _ = exchange.head.partition(b"\r\n\r\n")
        if end:
            # CONNECT has a head as well; the request follows it.
            exchange.head_sent = not head.startswith(b"CONNECT ")
            exchange.head = b""
            self._lines(">", head.decode("latin-1").split("\r\n"))

    def _lines(self, mark: str, lines: list[str]) -> None:
        with self._aside():
            self._tell(mark, lines[0])
            for line in lines[1:]:
                name, _, value = line.partition(":")
                value = value.strip()
                if not self._show_secrets:
                    value = masked_value(name, value)
                self._tell(mark, f"{name}: {value}")
            self._tell(mark, "")

    def answered(self, response: Any) -> None:
        """Tell about the head of an answer."""
        exchange = self.running()
        exchange.over = True
        exchange.answered_at = self._clock()
        fields = [f"{name}: {value}" for name, value in response.headers.iteritems()]
        self._lines("<", [status_line(response), *fields])
        self.remark(f"Times: {times_text(exchange.seconds)}")

    def received(self) -> None:
        """Note that the body of the last answer is there; showing it is no part of that."""
        self._received_at = self._clock()

    def finish(self, count: int) -> None:
        """Tell how long the body of the last answer took, and all exchanges together.

        :param count: bytes of the body as sent.
        """
        answered_at = self.exchanges[-1].answered_at
        if answered_at is not None:
            download = duration_text(self._received_at - answered_at)
            everything = duration_text(self._received_at - self._started)
            self.remark(f"Received {size_text(count)} in {download}; all took {everything}")


def status_line(response: Any) -> str:
    """Return the first line of an answer."""
    return f"{response.version_string} {response.status} {response.reason or ''}".rstrip()


def times_text(seconds: dict[str, float]) -> str:
    """Return how long the phases took that did take place."""
    return ", ".join(
        f"{name} {duration_text(seconds[name])}"
        for name in PHASES
        if seconds.get(name, 0.0) >= _NOTHING
    )


def _address(sock: Any) -> str:
    try:
        peer = sock.getpeername()
    except (OSError, AttributeError):  # closed by the peer meanwhile, or TLS inside TLS
        return "an unknown address"
    if isinstance(peer, tuple) and len(peer) >= 2:
        return f"{peer[0]} port {peer[1]}"
    return str(peer)


class _Watched(_Base):
    """The steps of a connection, with a look at each."""

    _watch: Watch

    def _new_conn(self) -> Any:
        with self._watch.phase("lookup and connect"):
            sock = super()._new_conn()
        self._watch.connected(self, sock)
        return sock

    def _tunnel(self) -> None:
        with self._watch.phase("proxy"):
            super()._tunnel()

    def connect(self) -> None:
        """Connect, and tell about it."""
        exchange = self._watch.running()
        exchange.reused = False
        # What the steps inside do not take is the handshake.
        with self._watch.phase("TLS"):
            super().connect()
        self._watch.secured(self)

    def request(self, *args: Any, **kw: Any) -> None:
        """Send a request, and tell about it."""
        self._watch.sending(self)
        with self._watch.phase("send"):
            super().request(*args, **kw)

    def send(self, data: Any) -> None:
        """Send bytes.  Overridden, it sees each request (see ``HTTPConnection``)."""
        if isinstance(data, (bytes, bytearray, memoryview)):
            self._watch.sent(data)
        super().send(data)

    def getresponse(self) -> Any:
        """Return the answer, and tell about its head."""
        with self._watch.phase("wait"):
            response = super().getresponse()
        self._watch.answered(response)
        return response
