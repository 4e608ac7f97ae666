"""Which TLS context makes a connection, when a caller's own one must not be changed?

A context that somebody hands in may be shared with other pools, threads and programs, so nothing
is ever written to it.  `plan_for` compares it with what the keywords ask for.  If they agree, it
is used as it is; otherwise a context of ours is derived from it.  Two facts make that exact:

* a connection takes its settings (versions, ciphers, ALPN, verification, host name) from the
  context that it was made from, once, when it is made;
* its client certificate and its trust store are those of the context that is *assigned* to it
  (``SSL_set_SSL_CTX``), looked up during the handshake.

So a derived context makes the connection, and the caller's context, the *lender*, is assigned to it
for the handshake: neither its certificates nor its CAs need copying, which could not be done
anyhow.  Only where a keyword brings certificates of its own is a full copy needed.

Everything here may be called from any thread.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Hashable
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple

from ..exceptions import SSLError
from ._ssl_contexts import (
    CONTEXTS,
    HAS_SSL,
    Identity,
    SSLContext,
    Trust,
    has_client_chain,
    is_native,
    load_identity,
    load_trust,
    set_verification,
)
from .ssltransport import SSLTransport

if HAS_SSL:
    import ssl

HINT = (
    "; note that ca_certs, ca_cert_dir and ca_cert_data do not apply to the given ssl_context, "
    "which has a trust store or certificates of its own: load them into the context, "
    "or make it with create_urllib4_context()"
)

_TRUST_CALLS = ("load_verify_locations", "load_default_certs", "set_default_verify_paths")


class Changes(NamedTuple):
    """What the keywords ask of a context that is somebody else's; None leaves a setting alone."""

    verify_mode: int | None = None
    check_hostname: bool | None = None
    trust: Trust | None = None
    identity: Identity | None = None
    minimum_version: int | None = None
    maximum_version: int | None = None
    ciphers: str | None = None
    alpn: tuple[str, ...] | None = None

    def keywords(self) -> list[str]:
        """Return the names of the keywords that cannot be ignored."""
        names = {
            "cert_reqs": self.verify_mode,
            "assert_hostname/assert_fingerprint": self.check_hostname,
            str(self.identity): self.identity,
            "ssl_minimum_version": self.minimum_version,
            "ssl_maximum_version": self.maximum_version,
            "ciphers": self.ciphers,
        }
        return [name for name, value in names.items() if value is not None]


class Plan(NamedTuple):
    """How to make a connection: by `context`, with the certificates of `lender` if there is one.

    `hint` is appended to the text of a failed verification.
    """

    context: Any
    lender: Any = None
    hint: str = ""


# -- a context of somebody else's -----------------------------------------------------------------


def plan_for(context: Any, changes: Changes) -> Plan:
    """Return how to connect with the caller's `context` and the given changes to it.

    The context itself is not changed.  What is derived from it is shared by all who ask for the
    same, until a setting of the context changes.

    :raises SSLError: it is of a class that we know nothing of, and a keyword disagrees with it.
    """
    if not is_native(context):
        return _plan_for_foreign(context, changes)
    needed, hint = _disagreements(context, changes), ""
    if needed.trust and not isinstance(context, SSLContext) and _has_own_certificates(context):
        # Its client certificate cannot be copied, and half a copy would not do.
        needed, hint = needed._replace(trust=None), HINT
    if needed == Changes():
        return Plan(context, None, hint)
    key = (weakref.ref(context), settings_of(context), needed, changes.alpn)
    derived = CONTEXTS.get(key, lambda: _derive(context, needed, changes.alpn))
    lends = needed.trust is None and needed.identity is None
    return Plan(derived, context if lends else None, hint)


def _plan_for_foreign(context: Any, changes: Changes) -> Plan:
    checks = bool(getattr(context, "check_hostname", False))
    asked = changes._replace(
        verify_mode=_unless_equal(changes.verify_mode, getattr(context, "verify_mode", None)),
        # Where the class does not check names, we do so after the handshake.
        check_hostname=False if changes.check_hostname is False and checks else None,
    )
    if names := asked.keywords():
        kind = type(context)
        raise SSLError(
            f"cannot apply {', '.join(names)} to an ssl_context of type "
            f"{kind.__module__}.{kind.__qualname__} without changing it: configure the context "
            "itself, or pass one of create_urllib4_context()"
        )
    return Plan(context, None, HINT if changes.trust else "")


def _unless_equal(wanted: Any, present: Any) -> Any:
    return None if wanted == present else wanted


def _disagreements(context: ssl.SSLContext, changes: Changes) -> Changes:
    """Return only those of the changes that are no longer true of `context`."""
    # A plain context does not tell whether it offers any protocol: no reason to derive from it.
    lacks_alpn = isinstance(context, SSLContext) and not context._called("set_alpn_protocols")
    return changes._replace(
        verify_mode=_unless_equal(changes.verify_mode, context.verify_mode),
        check_hostname=_unless_equal(changes.check_hostname, context.check_hostname),
        minimum_version=_unless_equal(changes.minimum_version, context.minimum_version),
        maximum_version=_unless_equal(changes.maximum_version, context.maximum_version),
        alpn=changes.alpn if lacks_alpn else None,
    )


def _has_own_certificates(context: ssl.SSLContext) -> bool:
    """Tell whether somebody chose the certificates of `context`.

    Nobody chose those of ``ssl.create_default_context()``, the system's CAs: a copy of them may be
    added to, as elastic-transport and adapters of requests expect that hand in both.
    """
    loaded = context.cert_store_stats()["x509"]
    return bool(loaded and not _trusts_the_system(context)) or has_client_chain(context)


def _trusts_the_system(context: ssl.SSLContext) -> bool:
    stores = (os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    return frozenset(context.get_ca_certs(binary_form=True)) == _system_authorities(*stores)


@lru_cache(maxsize=4)  # loading the store costs 20 to 90 ms
def _system_authorities(file: str | None, directory: str | None) -> frozenset[bytes]:
    """Return the CAs of the system's store; `file` and `directory` say which one that is."""
    return frozenset(ssl.create_default_context().get_ca_certs(binary_form=True))


def settings_of(context: ssl.SSLContext) -> Hashable:
    """Return all that can be read from a context: as long as it is equal, a copy is up to date."""
    if isinstance(context, SSLContext):
        loaded: Hashable = len(context._calls)
    else:
        loaded = tuple(cipher["name"] for cipher in context.get_ciphers())
    return (
        loaded,
        tuple(context.cert_store_stats().values()),
        context.options,
        context.verify_flags,
        context.verify_mode,
        context.check_hostname,
        context.minimum_version,
        context.maximum_version,
        context.hostname_checks_common_name,
        getattr(context, "post_handshake_auth", None),
        getattr(context, "keylog_filename", None),
    )


def _derive(
    context: ssl.SSLContext, needed: Changes, alpn: tuple[str, ...] | None
) -> ssl.SSLContext:
    """Make a context of ours with the settings of `context`, then change it as needed."""
    derived = SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        _copy_settings(context, derived)
        _copy_alpn(context, derived, alpn)
        if needed.trust or needed.identity:
            _copy_certificates(context, derived, chain=not needed.identity)
        if needed.minimum_version is not None:
            derived.minimum_version = needed.minimum_version  # type: ignore[assignment]
        if needed.maximum_version is not None:
            derived.maximum_version = needed.maximum_version  # type: ignore[assignment]
        if needed.ciphers is not None:
            derived.set_ciphers(needed.ciphers)
    except (OSError, ValueError) as error:
        raise SSLError(
            f"cannot derive a TLS context from the given ssl_context: {error}"
        ) from error
    mode = context.verify_mode if needed.verify_mode is None else needed.verify_mode
    check = context.check_hostname if needed.check_hostname is None else needed.check_hostname
    set_verification(derived, mode, check and mode != ssl.CERT_NONE)
    if needed.trust:
        load_trust(derived, needed.trust)
    if needed.identity:
        load_identity(derived, needed.identity)
    return derived


def _copy_settings(source: ssl.SSLContext, target: ssl.SSLContext) -> None:
    if source.protocol == ssl.PROTOCOL_TLS_SERVER:
        raise ValueError("PROTOCOL_TLS_SERVER is for servers")
    bits = _version_bits()
    target.options = (source.options & ~sum(bits.values())) | (target.options & ssl.OP_NO_SSLv3)
    target.verify_flags = source.verify_flags
    target.minimum_version, target.maximum_version = _version_bounds(source)
    names = [
        cipher["name"] for cipher in source.get_ciphers() if not cipher["name"].startswith("TLS_")
    ]
    if names:
        # The names of TLS 1.3's suites begin with TLS_ and are always on: they cannot be set.
        target.set_ciphers(":".join([*names, f"@SECLEVEL={source.security_level}"]))
    with suppress(AttributeError):  # OpenSSL without the switch
        target.hostname_checks_common_name = source.hostname_checks_common_name
    if getattr(source, "post_handshake_auth", None) is not None:
        target.post_handshake_auth = source.post_handshake_auth
    if getattr(source, "keylog_filename", None):
        target.keylog_filename = source.keylog_filename
    target.sslsocket_class = source.sslsocket_class
    target.sslobject_class = source.sslobject_class


def _version_bits() -> dict[ssl.TLSVersion, int]:
    return {
        ssl.TLSVersion.TLSv1: ssl.OP_NO_TLSv1,
        ssl.TLSVersion.TLSv1_1: ssl.OP_NO_TLSv1_1,
        ssl.TLSVersion.TLSv1_2: ssl.OP_NO_TLSv1_2,
        ssl.TLSVersion.TLSv1_3: ssl.OP_NO_TLSv1_3,
    }


def _version_bounds(source: ssl.SSLContext) -> tuple[ssl.TLSVersion, ssl.TLSVersion]:
    """Return the versions that a context allows, as bounds.

    There are three ways to limit them (protocol, options, bounds); two of them warn when used.
    Versions left out in the middle cannot be told by bounds: then the newest part is taken.
    """
    pinned = {
        getattr(ssl, f"PROTOCOL_{version.name}", None): version for version in _version_bits()
    }
    if source.protocol in pinned:
        low = high = pinned[source.protocol]
    else:
        low, high = source.minimum_version, source.maximum_version
    lowest, highest = ssl.TLSVersion.MINIMUM_SUPPORTED, ssl.TLSVersion.MAXIMUM_SUPPORTED
    allowed: list[ssl.TLSVersion] = []
    for version, bit in reversed(_version_bits().items()):
        inside = (low == lowest or version >= low) and (high == highest or version <= high)
        if inside and not source.options & bit:
            allowed.append(version)
        elif allowed:
            break
    if not allowed:
        raise ValueError("it allows no version of TLS")
    newest, oldest = allowed[0], allowed[-1]
    # The named constants of old versions warn; the open ends mean the same and do not.
    return (
        lowest if oldest == ssl.TLSVersion.TLSv1 else oldest,
        highest if newest == ssl.TLSVersion.TLSv1_3 else newest,
    )


def _copy_alpn(source: ssl.SSLContext, target: SSLContext, alpn: tuple[str, ...] | None) -> None:
    if isinstance(source, SSLContext):
        source._replay(target, "set_ecdh_curve", "set_alpn_protocols")
    if alpn and not target._called("set_alpn_protocols"):
        target.set_alpn_protocols(alpn)


def _copy_certificates(source: ssl.SSLContext, target: SSLContext, *, chain: bool) -> None:
    if isinstance(source, SSLContext):
        source._replay(target, *_TRUST_CALLS)
        if chain:
            source._replay(target, "load_cert_chain", "load_cert_chain_data")
        return
    authorities = source.get_ca_certs(binary_form=True)
    if len(authorities) != source.cert_store_stats()["x509"]:
        # Only those of CAs can be read.  To drop the others would refuse servers without a reason.
        raise ValueError(
            "it trusts certificates that are not those of a CA, which cannot be copied"
        )
    if authorities:
        target.load_verify_locations(cadata=b"".join(authorities))


# -- connecting -----------------------------------------------------------------------------------


def connect(
    plan: Plan,
    sock: Any,
    server_hostname: str | None,
    tls_in_tls: bool = False,
    session: Any = None,
) -> Any:
    """Shake hands over `sock`, which is closed if that fails.

    :param session: one of ``plan.context`` to resume, if the server still knows it.

    Afterwards the connection belongs to ``plan.context``, so that ``getpeercert()`` tells what was
    really verified; see `lend_again`.  The socket's timeout bounds the handshake as a whole:
    ``SSLSocket.do_handshake`` (CPython, ``_ssl.c``) computes one deadline for all its reads and
    writes, and `SSLTransport` does the same.

    :raises ssl.SSLError: the handshake failed, or the certificate was not accepted.
    :raises SSLError: the host name cannot be that of a server.
    :raises OSError: the connection failed, or the time was over (``TimeoutError``).
    """
    connection = None
    try:
        _check_server_name(server_hostname)
        if tls_in_tls:
            connection = SSLTransport(
                sock, plan.context, server_hostname, lender=plan.lender, session=session
            )
        elif is_native(plan.context):
            # A socket that was reset meanwhile makes wrap_socket fail after it has taken over the
            # descriptor and before anybody could close it.
            sock.getpeername()
            connection = plan.context.wrap_socket(
                sock, server_hostname=server_hostname, do_handshake_on_connect=False
            )
            if session is not None:
                connection.session = session
            _shake_hands(connection, plan)
        else:
            connection = plan.context.wrap_socket(sock, server_hostname=server_hostname)
    except BaseException as error:
        (sock if connection is None else connection).close()
        if plan.hint and HAS_SSL and isinstance(error, ssl.SSLCertVerificationError):
            error.strerror = f"{error.strerror}{plan.hint}"
        raise
    return connection


def _check_server_name(name: str | None) -> None:
    """Refuse what ``wrap_socket`` would refuse too late, when it has taken over the descriptor."""
    if name is None:
        return
    try:
        usable = bool(name.encode("idna")) and name[0] != "." and "\0" not in name
    except UnicodeError:
        usable = False
    if not usable:
        raise SSLError(f"{name!r} cannot be the name of a server")


def _shake_hands(connection: ssl.SSLSocket, plan: Plan) -> None:
    if plan.lender is None:
        connection.do_handshake()
        return
    with suppress(AttributeError):
        # No TLS object was made since the peer is gone already, which the handshake will tell.
        connection.context = plan.lender
    connection.do_handshake()
    connection.context = plan.context


def lend_again(plan: Plan, connection: Any) -> None:
    """Give the connection back its client certificate if the server may still ask for it.

    TLS 1.3 allows that after the handshake (RFC 8446, 4.6.2), if the client offered it.  From then
    on ``connection.context`` is the caller's context.
    """
    lender = plan.lender
    if lender is None or not getattr(lender, "post_handshake_auth", None):
        return
    if not isinstance(lender, SSLContext) or has_client_chain(lender):
        connection.context = lender


def is_tls(sock: Any) -> bool:
    """Tell whether `sock` is a TLS connection, so that TLS over it must not bypass it."""
    native = HAS_SSL and isinstance(sock, ssl.SSLSocket)
    return native or isinstance(sock, SSLTransport)
