"""TLS contexts: one that remembers what it has, what is loaded into it, and one cache for all.

Everything here may be called from any thread.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from ..exceptions import SSLError

try:
    import ssl

    HAS_SSL = True
except ImportError:  # a build without OpenSSL still speaks plain HTTP
    HAS_SSL = False

#: How many contexts that no connection or configuration holds any more are kept for later.
MAX_IDLE_CONTEXTS = 32

#: Whose contexts are OpenSSL's as the standard library wraps it.  gevent's and eventlet's differ in
#: how their sockets wait, and in nothing else.
_PLAIN_PACKAGES = ("ssl", "gevent", "eventlet")


def _is_plain(thing: Any) -> bool:
    return str(getattr(thing, "__module__", "")).partition(".")[0] in _PLAIN_PACKAGES


if HAS_SSL:
    if TYPE_CHECKING:
        _Plain = ssl.SSLContext
    else:
        # truststore.inject_into_ssl() puts a class of its own into the ssl module.
        _Plain = next(kind for kind in ssl.SSLContext.__mro__ if _is_plain(kind))

    class SSLContext(_Plain):
        """An ``ssl.SSLContext`` that remembers what was loaded into it, so that it can be copied.

        The standard library's class tells neither which client certificates it has nor which ALPN
        protocols it offers.  Everything else is inherited; use it like its parent.

        The arguments of the ``load_*`` methods are kept as long as the context lives, the
        password of a key among them.  As with the parent: set it up in one thread, then share it.
        """

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            # (method, args, kwargs) of every call that succeeded, in order.
            self._calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

        def load_cert_chain(self, *args: Any, **kwargs: Any) -> None:
            super().load_cert_chain(*args, **kwargs)
            self._calls.append(("load_cert_chain", args, kwargs))

        def load_cert_chain_data(
            self, cert_data: str | bytes, key_data: str | bytes | None = None, password: Any = None
        ) -> None:
            """Load a client certificate chain and its key from PEM text in memory.

            :param cert_data: the certificates, leaf first; may contain the key as well.
            :param key_data: the private key, unless it is in `cert_data`.
            :param password: as in ``load_cert_chain``.
            :raises ssl.SSLError: no PEM, or the key does not belong to the certificate.
            :raises OSError: there is no way to hand the data to OpenSSL on this machine.
            """
            with _memory_files(cert_data, key_data) as (certfile, keyfile):
                super().load_cert_chain(certfile, keyfile, password)
            self._calls.append(("load_cert_chain_data", (cert_data, key_data, password), {}))

        def load_verify_locations(self, *args: Any, **kwargs: Any) -> None:
            super().load_verify_locations(*args, **kwargs)
            self._calls.append(("load_verify_locations", args, kwargs))

        def load_default_certs(self, *args: Any, **kwargs: Any) -> None:
            known = len(self._calls)
            super().load_default_certs(*args, **kwargs)
            # The parent calls the other methods of this list; one entry is enough.
            self._calls[known:] = [("load_default_certs", args, kwargs)]

        def set_default_verify_paths(self) -> None:
            super().set_default_verify_paths()
            self._calls.append(("set_default_verify_paths", (), {}))

        def set_alpn_protocols(self, alpn_protocols: Any) -> None:
            protocols = list(alpn_protocols)
            super().set_alpn_protocols(protocols)
            self._calls.append(("set_alpn_protocols", (protocols,), {}))

        def set_ecdh_curve(self, name: str) -> None:
            super().set_ecdh_curve(name)
            self._calls.append(("set_ecdh_curve", (name,), {}))

        def set_ciphers(self, cipherlist: str, /) -> None:
            super().set_ciphers(cipherlist)
            self._calls.append(("set_ciphers", (cipherlist,), {}))

        def _called(self, *methods: str) -> bool:
            return any(method in methods for method, _, _ in self._calls)

        def _replay(self, target: ssl.SSLContext, *methods: str) -> None:
            for method, args, kwargs in self._calls:
                if method in methods:
                    getattr(target, method)(*args, **kwargs)

else:
    SSLContext = None  # type: ignore[misc,assignment]


class Trust(NamedTuple):
    """Whom to trust: the ``ca_*`` keywords.  `stamps` tells one state of the files from others."""

    cafile: str | None = None
    capath: str | None = None
    cadata: str | bytes | None = None
    stamps: Hashable = None

    def __str__(self) -> str:
        named = [
            f"{name}={value!r}"
            for name, value in (("ca_certs", self.cafile), ("ca_cert_dir", self.capath))
            if value
        ]
        return ", ".join([*named, *(["ca_cert_data"] if self.cadata else [])])


class Identity(NamedTuple):
    """A client certificate with its key: two files, or PEM text in memory."""

    certfile: str | None = None
    keyfile: str | None = None
    cert_data: str | bytes | None = None
    key_data: str | bytes | None = None
    password: Any = None
    stamps: Hashable = None

    def __repr__(self) -> str:  # tracebacks and debuggers show locals: no key, no password
        return f"<Identity {self}>"

    def __str__(self) -> str:
        if self.certfile:
            key = f", key_file={self.keyfile!r}" if self.keyfile else ""
            return f"cert_file={self.certfile!r}{key}"
        return "cert_data, key_data" if self.key_data else "cert_data"


# -- one context for all who ask for the same -----------------------------------------------------


class ContextCache:
    """Contexts by key, each built once even if several threads ask at the same time.

    Contexts in use are found as long as they live; besides, the `size` latest are kept alive.  An
    attempt to build that fails is not remembered.  Safe to use from any thread.
    """

    def __init__(self, size: int = MAX_IDLE_CONTEXTS) -> None:
        self._size = size
        self.reset()

    def reset(self) -> None:
        """Forget everything, locks included: for a child process that has just been forked."""
        # Guards the three mappings below, never held while a context is built.  Reentrant, as the
        # ones in `_builders` are: a signal handler may send requests in the middle of all this.
        self._lock = threading.RLock()
        self._alive: weakref.WeakValueDictionary[Hashable, Any] = weakref.WeakValueDictionary()
        self._recent: OrderedDict[Hashable, Any] = OrderedDict()
        # One lock per key, held by the thread that builds; it lives as long as somebody uses it.
        # A mark that says "in the making" could be left behind by an exception of a signal
        # handler, and all others would wait for it for ever.
        self._builders: weakref.WeakValueDictionary[Hashable, Any] = weakref.WeakValueDictionary()

    def get(self, key: Hashable, build: Callable[[], Any]) -> Any:
        """Return the context of `key`; `build` makes it if there is none.

        :raises Exception: whatever `build` raises, in the thread that called it.  Those who were
            waiting for it then try themselves.
        """
        context = self._find(key)
        if context is None:
            with self._builder(key):
                context = self._find(key)
                if context is None:
                    context = build()
                    self._keep(key, context)
        return context

    def _find(self, key: Hashable) -> Any:
        with self._lock:
            context = self._alive.get(key)
            if context is not None:
                self._remember(key, context)
        return context

    def _builder(self, key: Hashable) -> Any:
        with self._lock:
            lock = self._builders.get(key)
            if lock is None:
                lock = self._builders[key] = threading.RLock()
        return lock

    def _keep(self, key: Hashable, context: Any) -> None:
        with self._lock:
            self._alive[key] = context
            self._remember(key, context)

    def _remember(self, key: Hashable, context: Any) -> None:
        if key in self._recent:
            self._recent.move_to_end(key)
            return
        self._recent[key] = context
        for old in [old for old in self._recent if _is_orphan(old)]:
            self._recent.pop(old, None)
        while len(self._recent) > self._size:
            self._recent.popitem(last=False)

    def __len__(self) -> int:
        with self._lock:
            return len(self._alive)


def _is_orphan(key: Hashable) -> bool:
    """Tell whether a key speaks of a caller's context that is gone: nobody can ask for it again."""
    first = key[0] if isinstance(key, tuple) and key else None
    return isinstance(first, weakref.ref) and first() is None


#: All contexts that the library made for itself in this process.
CONTEXTS = ContextCache()

if hasattr(os, "register_at_fork"):
    # A thread that was building does not exist in the child: waiting for it would never end.
    os.register_at_fork(after_in_child=CONTEXTS.reset)


# -- a context of ours, filled --------------------------------------------------------------------


def load_trust(context: Any, trust: Trust) -> None:
    """Add the given CAs to a context of ours.

    :raises SSLError: a file is missing or holds no certificate; the text names it.
    """
    try:
        context.load_verify_locations(trust.cafile, trust.capath, trust.cadata)
    except (OSError, ValueError, TypeError) as error:
        raise SSLError(f"cannot load CA certificates ({trust}): {error}") from error


def load_default_trust(context: Any) -> None:
    """Trust whom the system trusts, or certifi's list where the system has none.

    ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` are honoured, as OpenSSL does by itself.

    :raises SSLError: there is neither, so that nothing could ever be verified.
    """
    load = getattr(context, "load_default_certs", None)
    if load is None:
        # pyOpenSSL's contexts only have OpenSSL's own name for it.
        load = getattr(context, "set_default_verify_paths", None)
    if load is not None:
        load()
    if not is_native(context) or _has_default_trust(context):
        return
    try:
        import certifi
    except ImportError as error:
        raise SSLError(
            "the system has no CA certificates and certifi is not installed: pass ca_certs"
        ) from error
    load_trust(context, Trust(certifi.where()))


def _has_default_trust(context: ssl.SSLContext) -> bool:
    if context.cert_store_stats()["x509"]:
        return True
    capath = ssl.get_default_verify_paths().capath
    # Certificates of a directory are only read when a name is looked up, so they are not counted.
    if capath is None:
        return False
    with suppress(OSError), os.scandir(capath) as entries:
        return any(True for _ in entries)
    return False


def load_identity(context: Any, identity: Identity) -> None:
    """Give a context of ours its client certificate.  Nobody is ever asked for a password.

    :raises SSLError: a file is missing or wrong, the key is not that of the certificate, the
        password is wrong, or there is none for an encrypted key.  The text names the keyword.
    """
    try:
        if identity.cert_data is not None:
            _load_identity_data(context, identity)
        elif is_native(context):
            context.load_cert_chain(
                identity.certfile, identity.keyfile, password=_password(identity.password)
            )
        else:
            _load_foreign_identity(context, identity)
    except (OSError, ValueError, TypeError) as error:
        raise SSLError(f"cannot load the client certificate ({identity}): {error}") from error


def _load_identity_data(context: Any, identity: Identity) -> None:
    cert_data, key_data = identity.cert_data, identity.key_data
    assert cert_data is not None
    password = _password(identity.password)
    if hasattr(type(context), "load_cert_chain_data"):
        context.load_cert_chain_data(cert_data, key_data, password)
        return
    with _memory_files(cert_data, key_data) as (certfile, keyfile):
        context.load_cert_chain(certfile, keyfile, password)


def _load_foreign_identity(context: Any, identity: Identity) -> None:
    """Hand over two arguments where two will do: other implementations have no more."""
    if identity.password is not None:
        context.load_cert_chain(identity.certfile, identity.keyfile, identity.password)
        return
    key = identity.keyfile or identity.certfile
    if key is not None and is_encrypted(key):
        _no_password()
    context.load_cert_chain(identity.certfile, identity.keyfile)


def is_encrypted(path: str) -> bool:
    """Tell whether a PEM file holds an encrypted private key.  A missing file does not."""
    with suppress(OSError), open(path, "rb") as file:
        return b"ENCRYPTED" in file.read()
    return False


def _password(password: Any) -> Any:
    # OpenSSL asks on the terminal if it needs a password and has no source for one.
    return _no_password if password is None else password


def _no_password() -> str:
    raise SSLError("Client private key is encrypted, password is required")


@contextmanager
def _memory_files(*contents: str | bytes | None) -> Iterator[list[Any]]:
    """Yield a path for each content, for OpenSSL, which takes certificates from files only.

    On Linux they are anonymous files in memory, which no other user can open.  Elsewhere they are
    files for the owner alone, in a new directory for the owner alone, removed at once.
    """
    with ExitStack() as cleanup:
        yield [
            None
            if content is None
            else cleanup.enter_context(
                _memory_file(content.encode() if isinstance(content, str) else content)
            )
            for content in contents
        ]


@contextmanager
def _memory_file(content: bytes) -> Iterator[str]:
    descriptor = -1
    if hasattr(os, "memfd_create"):
        with suppress(OSError):  # forbidden in some sandboxes
            descriptor = os.memfd_create("urllib4")
    if descriptor >= 0:
        with os.fdopen(descriptor, "wb") as file:
            path = f"/proc/self/fd/{descriptor}"
            if os.path.exists(path):
                file.write(content)
                file.flush()
                yield path
                return
    import tempfile  # where there are no files in memory

    # 0700 for the directory is what `tempfile` promises, 0600 for the file in it comes on top.
    with tempfile.TemporaryDirectory(prefix="urllib4-") as directory:
        path = os.path.join(directory, "pem")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            file.write(content)
        yield path


def set_verification(context: Any, verify_mode: int, check_hostname: bool) -> None:
    """Set both on a context of ours, in the one order that OpenSSL's wrapper takes."""
    context.check_hostname = False
    context.verify_mode = verify_mode
    if check_hostname:
        context.check_hostname = True


def stamp(path: str | None) -> tuple[int, int, int] | None:
    """Return what changes when a file is replaced or rewritten; None for no file."""
    if path is None:
        return None
    with suppress(OSError, ValueError):
        status = os.stat(path)
        return status.st_mtime_ns, status.st_size, status.st_ino
    return None


# -- what kind of context is it? -------------------------------------------------------------------


def new_context_class(chosen: Any) -> Any:
    """Return the class of new contexts if `chosen` is the one that was configured.

    Somebody who replaced ``ssl.SSLContext`` itself (``truststore.inject_into_ssl()``) means all
    contexts, so that goes before our own class, though not before one that was chosen.
    """
    if chosen is SSLContext and HAS_SSL and not _is_plain(ssl.SSLContext):
        return ssl.SSLContext
    return chosen


def is_native(context: Any) -> bool:
    """Tell whether a context is OpenSSL's, as the ``ssl`` module wraps it, and behaves so.

    Not native are classes of other libraries, and subclasses with ways of their own to connect
    (truststore); of those we know nothing but their public methods.
    """
    kind = type(context)
    return (
        HAS_SSL
        and issubclass(kind, _Plain)
        and _is_plain(kind.wrap_socket)
        and _is_plain(kind.wrap_bio)
        and not {"wrap_socket", "wrap_bio"} & vars(context).keys()
    )


@lru_cache(maxsize=1)
def _probe() -> tuple[ssl.SSLContext, bytes]:
    """Return a server's context without certificate, and what a client says first."""
    context = _Plain(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    hello = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), hello)
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return _Plain(ssl.PROTOCOL_TLS_SERVER), hello.read()


def has_client_chain(context: ssl.SSLContext) -> bool:
    """Tell whether a certificate chain was loaded into `context`, which has no method to ask.

    A server without a certificate cannot answer a ClientHello, so one is played in memory.
    """
    if isinstance(context, SSLContext):
        return context._called("load_cert_chain", "load_cert_chain_data")
    server_context, client_hello = _probe()
    hello = ssl.MemoryBIO()
    hello.write(client_hello)
    server = server_context.wrap_bio(hello, ssl.MemoryBIO(), server_side=True)
    server.context = context
    try:
        server.do_handshake()
    except ssl.SSLWantReadError:
        return True
    except ssl.SSLError:
        return False
    return True
