"""All that one TLS hop needs, as one value, and how a socket becomes a TLS connection with it.

A context costs 20 to 90 ms (it reads the CA certificates), a handshake 1 to 2 ms.  So contexts are
built once for all connections whose configurations ask for the same, in all pools and threads,
and built anew when one of the files that a configuration names has changed.

What becomes of a context that the caller brought along is told in `urllib4.util._ssl_plan`.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from typing import Any, Literal, NamedTuple

from .exceptions import SSLError
from .util import _pins, _ssl_contexts, _ssl_plan, ssl_
from .util._ssl_contexts import Identity, Trust
from .util._ssl_plan import Changes, Plan
from .util._tls_sessions import TLSSessionCache
from .util.ssl_match_hostname import CertificateError, match_hostname

CERT_NONE, CERT_OPTIONAL, CERT_REQUIRED = 0, 1, 2

_PEM_MARK = "-----BEGIN"

#: Fields whose value never appears in a text.
_SECRET = frozenset(("key_password", "key_data"))

#: What decides whom a system trusts and what is logged: contexts differ if these do.
_ENVIRONMENT = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")


def default_alpn() -> tuple[str, ...]:
    """Return what is offered where nothing else is asked for: programs may change the list."""
    return tuple(ssl_.ALPN_PROTOCOLS)


@dataclass(frozen=True, repr=False)
class TLSConfig:
    """What a TLS connection needs; an immutable value, usable as a key and from any thread.

    :ivar ssl_context: a context of the caller's own.  It is never changed: where another field
        disagrees with it, a private copy is used.
    :ivar cert_reqs: an ``ssl.CERT_*`` constant or its name.  None: as `ssl_context` says, and
        ``CERT_REQUIRED`` without one.
    :ivar ca_certs: path of a file with CA certificates in PEM.
    :ivar ca_cert_dir: path of a directory with CA certificates, named as OpenSSL wants them.
    :ivar ca_cert_data: CA certificates as PEM (str or bytes) or DER (bytes).  Without any ``ca_*``
        and without `ssl_context` the CAs of the system are trusted, or certifi's if it has none.
    :ivar cert_file: path of the client's certificate chain in PEM.
    :ivar key_file: path of its private key, unless it is in `cert_file`.
    :ivar key_password: password of the private key: str, bytes, or a function that returns it.
    :ivar cert_data: the client's certificate chain as PEM, instead of `cert_file`.
    :ivar key_data: its private key as PEM, unless it is in `cert_data`.
    :ivar ssl_version: deprecated, an ``ssl.PROTOCOL_*`` constant or its name; pins one version.
    :ivar ssl_minimum_version: an ``ssl.TLSVersion``; default: TLS 1.2.
    :ivar ssl_maximum_version: an ``ssl.TLSVersion``; default: the newest.
    :ivar ciphers: in OpenSSL's notation; default: what the system prefers.
    :ivar assert_hostname: the name that the certificate must be for, if not that of the server;
        False switches the check of the name off, and nothing else.
    :ivar assert_fingerprint: the certificate must have this fingerprint (MD5, SHA-1, SHA-256 in
        hexadecimal digits), or one of a list of them.  Replaces the check of the name, not that of
        the chain.
    :ivar assert_pins: the certificate must hold one of these public keys, each written as
        ``sha256//`` and the base64 of the SHA-256 of its SubjectPublicKeyInfo.  Replaces no other
        check; without any (``CERT_NONE``) it still tells who is at the other end.
    :ivar server_hostname: the name to send (SNI) and to verify, if not that of the host.
    :ivar alpn_protocols: what to offer by ALPN; a context that brings its own list keeps it.

    :raises ValueError: a value is unknown, or contradicts another one, or a pin is malformed.
    :raises TypeError: a value has the wrong type.
    :raises SSLError: a fingerprint or the CA data is malformed.

    Files are read when the first connection is made, see `wrap`.
    """

    ssl_context: Any = None
    cert_reqs: int | str | None = None
    ca_certs: str | None = None
    ca_cert_dir: str | None = None
    ca_cert_data: str | bytes | None = None
    cert_file: str | None = None
    key_file: str | None = None
    key_password: Any = None
    cert_data: str | bytes | None = None
    key_data: str | bytes | None = None
    ssl_version: int | str | None = None
    ssl_minimum_version: int | None = None
    ssl_maximum_version: int | None = None
    ciphers: str | None = None
    assert_hostname: str | Literal[False] | None = None
    assert_fingerprint: str | Sequence[str] | None = None
    assert_pins: Sequence[str] | None = None
    server_hostname: str | None = None
    alpn_protocols: tuple[str, ...] = field(default_factory=default_alpn)

    def __post_init__(self) -> None:
        _check_verification(self)
        _check_names(self)
        _check_versions(self)
        for name in ("ca_certs", "ca_cert_dir", "cert_file", "key_file"):
            self._set(name, _path(name, getattr(self, name)))
        self._set("assert_fingerprint", checked_fingerprints(self.assert_fingerprint))
        self._set("assert_pins", _pins.checked_pins(self.assert_pins))
        self._set("ca_cert_data", _ca_data(self.ca_cert_data))
        self._set("alpn_protocols", _alpn(self.alpn_protocols))
        _check_identity(self)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        """Show what was set, but neither passwords nor keys."""
        shown = [
            f"{each.name}={_shown(each.name, getattr(self, each.name))}"
            for each in fields(self)
            if getattr(self, each.name) is not None
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


def _shown(name: str, value: Any) -> str:
    if name in _SECRET:
        return "<hidden>"
    if name in ("cert_data", "ca_cert_data"):
        return f"<{len(value)} {'characters' if isinstance(value, str) else 'bytes'}>"
    return repr(value)


class TLSResult(NamedTuple):
    """An open TLS connection, and whether we know who is at its other end.

    :ivar session_key: what to keep its session under, see `keep_session`; None: not at all.
    """

    sock: Any
    is_verified: bool
    session_key: Hashable = None


# -- validation ------------------------------------------------------------------------------------


def _check_verification(config: TLSConfig) -> None:
    mode = ssl_.resolve_cert_reqs(config.cert_reqs)
    if mode not in (CERT_NONE, CERT_OPTIONAL, CERT_REQUIRED):
        raise ValueError(
            f"cert_reqs {config.cert_reqs!r} is unknown: use CERT_REQUIRED, CERT_OPTIONAL or "
            "CERT_NONE"
        )


def check_pinning(assert_fingerprint: Any, assert_pins: Any) -> None:
    """Raise what `TLSConfig` would, so that whoever takes these two can refuse them at once.

    A single fingerprint is let through: as in urllib3, the first connection complains of it.
    """
    if not isinstance(assert_fingerprint, str):
        checked_fingerprints(assert_fingerprint)
    _pins.checked_pins(assert_pins)


def checked_fingerprints(fingerprints: Any) -> Any:
    """Return a fingerprint as it is, several as a tuple.

    :raises TypeError: neither a str nor a list or tuple of them.
    :raises ValueError: the list is empty.
    :raises SSLError: one is malformed.
    """
    if fingerprints is None or fingerprints == "":
        return fingerprints
    several = isinstance(fingerprints, (list, tuple))
    if several and not fingerprints:
        raise ValueError("assert_fingerprint has no fingerprint in it: leave it out to check none")
    for fingerprint in fingerprints if several else (fingerprints,):
        _require("assert_fingerprint", fingerprint, str)
        ssl_.checked_fingerprint(fingerprint)
    return tuple(fingerprints) if several else fingerprints


def _check_names(config: TLSConfig) -> None:
    if config.assert_hostname is not None and config.assert_hostname is not False:
        _require("assert_hostname", config.assert_hostname, str)
    name = config.server_hostname
    if not name:
        return
    _require("server_hostname", name, str)
    try:
        usable = bool(server_name(name).encode("idna")) and name.isprintable()
    except UnicodeError:
        usable = False
    if not usable or name.startswith("."):
        raise ValueError(f"server_hostname {name!r} is not the name or address of a host")


def _check_versions(config: TLSConfig) -> None:
    low, high = config.ssl_minimum_version, config.ssl_maximum_version
    if ssl_.TLSVersion is None:
        return  # a configuration is of no use, but harmless, without the ssl module
    if ssl_.pinned_version(config.ssl_version) is not None and (low, high) != (None, None):
        raise ValueError(
            "Can't specify both 'ssl_version' and either "
            "'ssl_minimum_version' or 'ssl_maximum_version'"
        )
    for name, value in (("ssl_minimum_version", low), ("ssl_maximum_version", high)):
        if value is not None and value not in list(ssl_.TLSVersion):
            raise ValueError(f"{name} {value!r} is unknown: use a member of ssl.TLSVersion")
    # The two open ends are negative numbers, which do not compare.
    if low is not None and high is not None and 0 < high < low:
        raise ValueError(f"ssl_minimum_version {low!r} is newer than ssl_maximum_version {high!r}")


def _check_identity(config: TLSConfig) -> None:
    if config.cert_file and config.cert_data is not None:
        raise ValueError("cert_file and cert_data exclude each other")
    for key, cert in (("key_file", "cert_file"), ("key_data", "cert_data")):
        if getattr(config, key) and not getattr(config, cert):
            raise ValueError(f"{key} needs {cert}")
    for name in ("cert_data", "key_data"):
        data = getattr(config, name)
        if data is None:
            continue
        _require(name, data, (str, bytes))
        if _PEM_MARK not in (data if isinstance(data, str) else data.decode("latin-1")):
            raise SSLError(f"{name} is not in PEM format")


def _require(name: str, value: object, kinds: Any) -> None:
    if not isinstance(value, kinds):
        raise TypeError(f"{name} has the wrong type: {type(value).__name__}")


def _path(name: str, value: Any) -> str | None:
    if value is None or value == "":
        return None
    try:
        path = os.fsdecode(value)
    except TypeError:
        raise TypeError(f"{name} is not a path: {type(value).__name__}") from None
    return os.path.expanduser(path) if name.startswith("ca_") and path[0] == "~" else path


def _ca_data(data: Any) -> str | bytes | None:
    """Return CA data as OpenSSL's wrapper takes it: PEM as ASCII text, DER as bytes."""
    if data is None or not len(data):
        return None
    _require("ca_cert_data", data, (str, bytes))
    if isinstance(data, bytes) and _PEM_MARK.encode() not in data:
        if data[:1] != b"\x30":  # every DER certificate is a sequence
            raise SSLError("ca_cert_data is neither PEM nor DER: it does not contain a certificate")
        return data
    text = data if isinstance(data, str) else data.decode("utf-8", "replace")
    if _PEM_MARK not in text:
        raise SSLError("ca_cert_data is not in PEM format: it does not contain a certificate")
    # Comments between the certificates may be in any language.
    return text if text.isascii() else text.encode("ascii", "replace").decode()


def _alpn(protocols: Any) -> tuple[str, ...]:
    result = tuple(protocols)
    for protocol in result:
        if not (isinstance(protocol, str) and protocol.isascii() and 0 < len(protocol) < 256):
            raise ValueError(f"alpn_protocols has {protocol!r}: a protocol is 1 to 255 ASCII bytes")
    return result


# -- from the configuration to a context -----------------------------------------------------------


def context_for(config: TLSConfig) -> Any:
    """Return the context that makes connections for `config`, shared by all that ask for the same.

    It is not to be changed.  It is the caller's own one if that agrees with the rest.  Each context
    is built once, also if several threads want it at the same time, and anew when a file that
    it was made of has changed.

    :raises SSLError: a file is missing or wrong, or a setting cannot be had.
    :raises TypeError: Python was built without the ssl module.
    """
    return _plan(config).context


def has_more_than_wrap_socket_takes(config: TLSConfig) -> bool:
    """Tell whether a setting can be given to ``ssl_wrap_socket`` as part of a context only."""
    names = ("ssl_version", "ssl_minimum_version", "ssl_maximum_version", "cert_data")
    return any(getattr(config, name) is not None for name in names)


def _plan(config: TLSConfig) -> Plan:
    if config.ssl_context is not None:
        return _ssl_plan.plan_for(config.ssl_context, _changes(config))
    verify_mode = ssl_.resolve_cert_reqs(config.cert_reqs)
    wanted = Changes(
        verify_mode=verify_mode,
        check_hostname=verify_mode != CERT_NONE and not _asserts(config),
        trust=_trust(config),
        identity=_identity(config),
        minimum_version=_minimum(config),
        maximum_version=_maximum(config),
        ciphers=config.ciphers,
        alpn=config.alpn_protocols,
    )
    key = (
        wanted,
        # Others replace these two; a context made before must not be taken for one made after.
        _ssl_contexts.new_context_class(ssl_.SSLContext),
        ssl_.create_urllib3_context,
        ssl_.DEFAULT_CIPHERS,
        # The first two do not count where it is told whom to trust.
        tuple(map(os.environ.get, _ENVIRONMENT[2:] if wanted.trust else _ENVIRONMENT)),
    )
    return Plan(_ssl_contexts.CONTEXTS.get(key, lambda: _build(wanted)))


def _asserts(config: TLSConfig) -> bool:
    """Tell whether something else replaces OpenSSL's check of the name."""
    return bool(config.assert_fingerprint) or config.assert_hostname not in (None, "")


def _changes(config: TLSConfig) -> Changes:
    """Return what the configuration asks of the caller's own context."""
    present = config.ssl_context.verify_mode
    wanted = present if config.cert_reqs is None else ssl_.resolve_cert_reqs(config.cert_reqs)
    check_hostname = None  # as it is; if it is off, the name is checked after the handshake
    if wanted == CERT_NONE or _asserts(config):
        check_hostname = False
    elif present == CERT_NONE:
        check_hostname = True
    return Changes(
        verify_mode=wanted,
        check_hostname=check_hostname,
        trust=_trust(config),
        identity=_identity(config),
        minimum_version=_minimum(config),
        maximum_version=_maximum(config),
        ciphers=config.ciphers,
        alpn=config.alpn_protocols,
    )


def _trust(config: TLSConfig) -> Trust | None:
    named = config.ca_certs, config.ca_cert_dir, config.ca_cert_data
    if named == (None, None, None):
        return None
    return Trust(*named, stamps=_stamps(config.ca_certs, config.ca_cert_dir))


def _identity(config: TLSConfig) -> Identity | None:
    if config.cert_file is None and config.cert_data is None:
        return None
    return Identity(
        config.cert_file,
        config.key_file,
        config.cert_data,
        config.key_data,
        config.key_password,
        _stamps(config.cert_file, config.key_file),
    )


def _stamps(*paths: str | None) -> Hashable:
    return tuple(map(_ssl_contexts.stamp, paths))


def _minimum(config: TLSConfig) -> Any:
    return ssl_.pinned_version(config.ssl_version) or config.ssl_minimum_version


def _maximum(config: TLSConfig) -> Any:
    return ssl_.pinned_version(config.ssl_version) or config.ssl_maximum_version


def _build(wanted: Changes) -> Any:
    """Make a context of our own."""
    try:
        context = ssl_.create_urllib3_context(
            cert_reqs=wanted.verify_mode,
            # Not OP_NO_TICKET: a shared context is what lets connections resume a session.
            options=ssl_.OP_NO_SSLv2 | ssl_.OP_NO_SSLv3 | ssl_.OP_NO_COMPRESSION,
            ciphers=wanted.ciphers,
            ssl_minimum_version=wanted.minimum_version,
            ssl_maximum_version=wanted.maximum_version,
        )
    except (OSError, ValueError) as error:
        choice = f" (ciphers={wanted.ciphers!r})" if wanted.ciphers else ""
        raise SSLError(f"cannot make a TLS context{choice}: {error}") from error
    if not ssl_.IS_PYOPENSSL and wanted.check_hostname != context.check_hostname:
        assert wanted.verify_mode is not None
        assert wanted.check_hostname is not None
        _ssl_contexts.set_verification(context, wanted.verify_mode, wanted.check_hostname)
    if wanted.trust:
        _load_trust(context, wanted.trust)
    elif wanted.verify_mode != CERT_NONE:
        _ssl_contexts.load_default_trust(context)
    if wanted.identity:
        _ssl_contexts.load_identity(context, wanted.identity)
    if wanted.alpn:
        context.set_alpn_protocols(list(wanted.alpn))
    return context


def _load_trust(context: Any, trust: Trust) -> None:
    # OpenSSL looks into the directory when it needs a certificate, and never says it is missing.
    if trust.capath is not None and not os.path.isdir(trust.capath):
        raise SSLError(f"cannot load CA certificates ({trust}): ca_cert_dir is not a directory")
    _ssl_contexts.load_trust(context, trust)


# -- from a socket to a connection -----------------------------------------------------------------


def server_name(hostname: str) -> str:
    """Return a host as it is sent and verified: without final dots, brackets and zone."""
    name = hostname.rstrip(".")
    bare = name.strip("[]")
    if ":" in bare:
        bare = bare.partition("%")[0]
    return bare if ssl_.is_ipaddress(bare) else name


def wrap(
    sock: Any,
    config: TLSConfig,
    hostname: str,
    *,
    tls_in_tls: bool = False,
    sessions: TLSSessionCache | None = None,
    port: int | None = None,
) -> TLSResult:
    """Do the TLS handshake over `sock` and verify who answered.

    :param sock: a connected socket, which is closed if anything fails.  Its timeout bounds the
        handshake as a whole.
    :param hostname: the host that was asked for, in any spelling.  ``config.server_hostname``, if
        set, takes its place as the name that is sent (SNI) and verified.
    :param tls_in_tls: `sock` is a TLS connection to a proxy.  Found out without being told
        for ``ssl.SSLSocket`` and `SSLTransport`.
    :param sessions: where there may be a session of the same host, `port` and configuration to
        resume.
    :raises ssl.SSLError: the handshake or the verification failed
        (``ssl.SSLCertVerificationError``).
    :raises CertificateError: the certificate is for another host; ``_peer_cert`` is that
        certificate, parsed.
    :raises SSLError: fingerprint or public key are others, a file is missing or wrong, or a value
        does not go with the caller's context.
    :raises ProxySchemeUnsupported: the context cannot do TLS in TLS.
    :raises OSError: the connection failed; ``TimeoutError`` if the time was over.

    ``is_verified`` of the result: the chain was required to be valid, or the fingerprint or the
    public key is one that was asked for.  Whatever of that fails, the error names the host.
    """
    try:
        plan = _plan(config)
        name = server_name(config.server_hostname or hostname)
    except BaseException:
        sock.close()
        raise
    nested = tls_in_tls or _ssl_plan.is_tls(sock)
    key = None if sessions is None else _session_key(plan, config, name, port)
    session = None if sessions is None or key is None else sessions.take(key)
    try:
        connection = _ssl_plan.connect(plan, sock, name, nested, session)
        try:
            is_verified = _verify(connection, plan.context, config, name)
            _ssl_plan.lend_again(plan, connection)
        except BaseException:
            connection.close()
            raise
    except (SSLError, ValueError) as error:  # ssl.SSLCertVerificationError is a ValueError, too
        _name_host(error, hostname)
        raise
    return TLSResult(connection, is_verified, key)


def _session_key(plan: Plan, config: TLSConfig, name: str, port: int | None) -> Hashable:
    """Return all that must be equal for a session to be resumed; None: there is no telling.

    A resumed handshake neither verifies the chain nor the name, and speaks for the same client.
    So everything that decides these counts: what was asked for, the context that it led to (which
    is another one when a file has changed), and what a caller has changed in a context of his own.
    """
    context = plan.context
    # Of other classes nobody knows which client certificate they have by now.
    if plan.lender is not None or not isinstance(context, _ssl_contexts.SSLContext):
        return None
    own = None if config.ssl_context is None else _ssl_plan.settings_of(context)
    return context, own, config, name, port


def keep_session(sessions: TLSSessionCache, key: Hashable, connection: Any) -> None:
    """Keep the session of a connection for the next one.

    To be called after the first answer: TLS 1.3 sends sessions when the handshake is over (RFC
    8446, 4.6.1), and they are in once something else was read.  It costs 0.2 ms.
    """
    with suppress(ValueError, OSError):  # the connection was closed meanwhile
        session = connection.session
        if session is not None and (session.has_ticket or session.id):
            sessions.put(key, session)


def _name_host(error: Exception, hostname: str) -> None:
    """Add the host that was asked for to the text of `error`, unless it is there already."""
    text = str(error)
    if repr(hostname) in text:
        return
    text = f"{text} (host {hostname!r})"
    if isinstance(error, OSError) and len(error.args) == 2:
        # One of OpenSSL's: its text is its second argument, and kept once more for str().
        error.args = (error.args[0], text)
        error.strerror = text
    else:
        error.args = (text,)


def _verify(connection: Any, context: Any, config: TLSConfig, name: str) -> bool:
    """Check what OpenSSL did not; `context` is what it knew when the connection was made."""
    pins = config.assert_pins
    if pins:
        _pins.assert_pins(connection.getpeercert(binary_form=True), pins)
    if config.assert_fingerprint:
        ssl_.assert_fingerprint(connection.getpeercert(binary_form=True), config.assert_fingerprint)
        return True
    verify_mode = context.verify_mode
    checked = getattr(context, "check_hostname", False) or config.assert_hostname is False
    if verify_mode != CERT_NONE and not checked:
        _check_hostname(connection, context, config.assert_hostname or name)
    return bool(pins) or bool(verify_mode == CERT_REQUIRED)


def _check_hostname(connection: Any, context: Any, hostname: str) -> None:
    certificate = connection.getpeercert()
    narrow = _without_wide_names(certificate)
    # The common name counts only where there is no other name at all.
    common_name = narrow is certificate and getattr(context, "hostname_checks_common_name", False)
    name = server_name(hostname)
    with suppress(UnicodeError):  # then it is no name, and nobody's
        name = name if name.isascii() else name.encode("idna").decode()  # as certificates have it
    try:
        match_hostname(narrow, name, bool(common_name))
    except CertificateError as error:
        error._peer_cert = certificate  # type: ignore[attr-defined]
        raise


def _without_wide_names(certificate: Any) -> Any:
    """Leave out wildcards for whole top-level domains (``*.com``), which OpenSSL refuses, too."""
    names = (certificate or {}).get("subjectAltName", ())
    narrow = tuple(
        entry for entry in names if not entry[1].startswith("*") or entry[1].count(".") > 1
    )
    return certificate if narrow == names else {**certificate, "subjectAltName": narrow}
