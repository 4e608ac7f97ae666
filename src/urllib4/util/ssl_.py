"""TLS helpers for everybody: contexts, wrapping a socket, fingerprints, names of constants.

``SSLContext`` and ``create_urllib3_context`` are looked up in this module whenever a context is
made, so assigning them here changes all later connections (truststore and pyOpenSSL do that).
"""

from __future__ import annotations

import os
import re
import sys
import warnings
from binascii import unhexlify
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..exceptions import SSLError
from . import _ssl_contexts
from ._ssl_contexts import Identity, SSLContext, Trust
from ._tls_sessions import TLSSessionCache
from .ssltransport import SSLTransport

try:
    import ssl
    from ssl import (
        CERT_REQUIRED,
        OP_NO_COMPRESSION,
        OP_NO_TICKET,
        OPENSSL_VERSION,
        PROTOCOL_TLS,
        PROTOCOL_TLS_CLIENT,
        VerifyFlags,
        VerifyMode,
    )

    VERIFY_X509_STRICT = VerifyFlags.VERIFY_X509_STRICT
    # Python 3.10 has the value but no name for it.
    VERIFY_X509_PARTIAL_CHAIN = getattr(ssl, "VERIFY_X509_PARTIAL_CHAIN", 0x80000)
    #: Whether a context can be told never to look at the common name.
    HAS_NEVER_CHECK_COMMON_NAME = ssl.HAS_NEVER_CHECK_COMMON_NAME
except ImportError:
    ssl = None  # type: ignore[assignment]
    OPENSSL_VERSION = ""  # type: ignore[misc]
    CERT_REQUIRED = 2  # type: ignore[misc,assignment]
    OP_NO_COMPRESSION = 0x20000  # type: ignore[misc,assignment]
    OP_NO_TICKET = 0x4000  # type: ignore[misc,assignment]
    PROTOCOL_TLS = 2  # type: ignore[misc,assignment]
    PROTOCOL_TLS_CLIENT = 16  # type: ignore[misc,assignment]
    VERIFY_X509_STRICT = 0x20  # type: ignore[assignment]
    VERIFY_X509_PARTIAL_CHAIN = 0x80000
    HAS_NEVER_CHECK_COMMON_NAME = False

TLSVersion: Any = None if ssl is None else ssl.TLSVersion
OP_NO_SSLv2: int = 0x1000000 if ssl is None else ssl.OP_NO_SSLv2
OP_NO_SSLv3: int = 0x2000000 if ssl is None else ssl.OP_NO_SSLv3
PROTOCOL_SSLv23: Any = PROTOCOL_TLS

#: True while `urllib4.contrib.pyopenssl` is injected.
IS_PYOPENSSL = False

#: What is offered by ALPN unless a configuration says otherwise.
ALPN_PROTOCOLS = ["http/1.1"]

#: The default ciphers in OpenSSL's notation; ``"DEFAULT"`` leaves the choice to the system.
#: Programs written for urllib3 1.x append to it.
DEFAULT_CIPHERS = "DEFAULT"

if TYPE_CHECKING:
    #: Hash functions for fingerprints, by the number of hexadecimal digits; None: not to be had.
    HASHFUNC_MAP: dict[int, Any]

_HASHES = ((32, "md5"), (40, "sha1"), (64, "sha256"))


def __getattr__(name: str) -> Any:
    """Load hashlib, and with it a part of OpenSSL, for those who have fingerprints."""
    if name != "HASHFUNC_MAP":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import hashlib

    made = {length: getattr(hashlib, algorithm, None) for length, algorithm in _HASHES}
    # One step: of several threads all get the dictionary of the first.
    return globals().setdefault(name, made)


# As the resolver of the C library takes them: one to four numbers, decimal, octal or hexadecimal.
_IPV4 = re.compile(r"(?:0[xX][0-9a-fA-F]+|[0-9]+)(?:\.(?:0[xX][0-9a-fA-F]+|[0-9]+)){0,3}")

# What can be named, and compared, in a build without the ssl module.
_WITHOUT_SSL_CONSTANTS = {"CERT_NONE": 0, "CERT_OPTIONAL": 1, "CERT_REQUIRED": 2}

_WITHOUT_SSL = "Can't create an SSLContext object without an ssl module"


def assert_fingerprint(cert: bytes | None, fingerprint: str | Sequence[str]) -> None:
    """Return quietly if `fingerprint`, or one of several, is that of the certificate.

    :param cert: the certificate as DER bytes.
    :param fingerprint: MD5, SHA-1 or SHA-256 in hexadecimal digits, of any case, with or without
        colons; or a list of such.
    :raises SSLError: it is another one, there is no certificate, or a fingerprint is malformed.

    .. versionchanged:: 4.0
       Takes several fingerprints.
    """
    if cert is None:
        raise SSLError("No certificate for the peer.")
    several = (fingerprint,) if isinstance(fingerprint, str) else fingerprint
    expected = [checked_fingerprint(one) for one in several]
    found = {len(digits): _fingerprint(cert, len(digits)) for digits in expected}
    import hmac  # for those with fingerprints

    matches = [hmac.compare_digest(found[len(digits)], digits) for digits in expected]
    if not any(matches):
        wanted = " or ".join(f'"{digits}"' for digits in expected)
        got = " or ".join(f'"{digits}"' for digits in found.values())
        raise SSLError(f"Fingerprints did not match. Expected {wanted}, got {got}")


def _fingerprint(cert: bytes, length: int) -> str:
    """Return the fingerprint of that many digits."""
    hash_function = sys.modules[__name__].HASHFUNC_MAP[length]
    if hash_function is None:
        raise SSLError(f"Hash function implementation unavailable for fingerprint length: {length}")
    digits: str = hash_function(cert).hexdigest()
    return digits


def checked_fingerprint(fingerprint: str) -> str:
    """Return a fingerprint as lower-case digits without colons.

    :raises SSLError: no fingerprint has that length, or it is not hexadecimal.
    """
    digits = fingerprint.replace(":", "").lower()
    if len(digits) not in [length for length, _ in _HASHES]:
        raise SSLError(f"Fingerprint of invalid length: {fingerprint}")
    try:
        unhexlify(digits)
    except ValueError as error:  # binascii.Error, or characters outside ASCII
        raise SSLError(f"Non-hexadecimal digit found in fingerprint: {fingerprint}") from error
    return digits


def resolve_cert_reqs(candidate: int | str | None) -> VerifyMode:
    """Return the ``ssl.CERT_*`` value for a value, its name, or its name without ``CERT_``.

    :param candidate: None is ``CERT_REQUIRED``; what is not a str is returned as it is.
    :raises ValueError: there is no such name.
    """
    if candidate is None:
        return CERT_REQUIRED
    if not isinstance(candidate, str):
        return candidate  # type: ignore[return-value]
    value = _constant(candidate, "CERT_")
    if value is None:
        raise ValueError(
            f"cert_reqs {candidate!r} is unknown: use CERT_REQUIRED, CERT_OPTIONAL or CERT_NONE"
        )
    return value  # type: ignore[no-any-return]


def resolve_ssl_version(candidate: int | str | None) -> int:
    """Return the ``ssl.PROTOCOL_*`` value for a value, its name, or its name without ``PROTOCOL_``.

    :param candidate: None is ``PROTOCOL_TLS``; what is not a str is returned as it is.
    :raises ValueError: there is no such name.
    """
    if candidate is None:
        return PROTOCOL_TLS
    if not isinstance(candidate, str):
        return candidate
    value = _constant(candidate, "PROTOCOL_")
    if value is None:
        raise ValueError(f"ssl_version {candidate!r} is unknown: use a name like PROTOCOL_TLSv1_2")
    return value  # type: ignore[no-any-return]


def _constant(name: str, prefix: str) -> Any:
    full = name if name.startswith(prefix) else prefix + name
    return getattr(ssl, full, _WITHOUT_SSL_CONSTANTS.get(full))


def pinned_version(ssl_version: int | str | None) -> Any:
    """Return the one TLS version that the deprecated `ssl_version` stands for, None for any.

    :raises ValueError: there is no such version.
    """
    resolved = resolve_ssl_version(ssl_version)
    if resolved in (PROTOCOL_TLS, PROTOCOL_TLS_CLIENT):
        return None
    if isinstance(resolved, TLSVersion):
        return resolved
    for version in ("TLSv1", "TLSv1_1", "TLSv1_2"):
        if resolved == getattr(ssl, f"PROTOCOL_{version}", None):
            return TLSVersion[version]
    raise ValueError(f"ssl_version {ssl_version!r} is unknown: use ssl_minimum_version instead")


def create_urllib3_context(
    ssl_version: int | str | None = None,
    cert_reqs: int | None = None,
    options: int | None = None,
    ciphers: str | None = None,
    ssl_minimum_version: int | None = None,
    ssl_maximum_version: int | None = None,
    verify_flags: int | None = None,
) -> SSLContext:
    """Return a new context with safe defaults: TLS 1.2 or newer, verification on, no CAs yet.

    Its class is what `SSLContext` of this module is at the moment.  It remembers what is loaded
    into it, so pools can adapt a copy of it and never need to change it.

    :param ssl_version: deprecated, a ``ssl.PROTOCOL_*`` constant that pins one version.
    :param cert_reqs: a ``ssl.CERT_*`` constant; ``CERT_REQUIRED`` by default, which also switches
        the check of the host name on.  All others switch it off.
    :param options: ``ssl.OP_*`` bits to add.  Default: no SSLv2, no SSLv3, no compression, no
        session tickets.
    :param ciphers: in OpenSSL's notation; default: what the system prefers.
    :param ssl_minimum_version: an ``ssl.TLSVersion``; default: TLS 1.2.
    :param ssl_maximum_version: an ``ssl.TLSVersion``; default: the newest one.
    :param verify_flags: ``ssl.VERIFY_*`` bits to add.  Default: none, and from Python 3.13 on
        ``VERIFY_X509_PARTIAL_CHAIN`` and ``VERIFY_X509_STRICT``.
    :raises TypeError: Python was built without the ssl module.
    :raises ValueError: `ssl_version` is combined with the two that replace it.
    :raises ssl.SSLError: `ciphers` selects none.
    :raises SSLError: the file named by ``SSLKEYLOGFILE`` cannot be written.
    """
    if SSLContext is None:
        raise TypeError(_WITHOUT_SSL)
    pinned = pinned_version(ssl_version)
    if pinned is not None:
        if ssl_minimum_version is not None or ssl_maximum_version is not None:
            raise ValueError(
                "Can't specify both 'ssl_version' and either "
                "'ssl_minimum_version' or 'ssl_maximum_version'"
            )
        warnings.warn(
            "'ssl_version' option is deprecated and will be removed in urllib4 5.0. "
            "Instead use 'ssl_minimum_version'",
            category=FutureWarning,
            stacklevel=2,
        )
        ssl_minimum_version = ssl_maximum_version = pinned

    context: SSLContext = _ssl_contexts.new_context_class(SSLContext)(PROTOCOL_TLS_CLIENT)
    if ssl_minimum_version is None:
        ssl_minimum_version = TLSVersion.TLSv1_2
    context.minimum_version = ssl_minimum_version  # type: ignore[assignment]
    if ssl_maximum_version is not None:
        context.maximum_version = ssl_maximum_version  # type: ignore[assignment]
    _set_ciphers(context, ciphers)
    if options is None:
        options = OP_NO_SSLv2 | OP_NO_SSLv3 | OP_NO_COMPRESSION | OP_NO_TICKET
    context.options |= options
    _set_verification(context, resolve_cert_reqs(cert_reqs), verify_flags)
    if getattr(context, "post_handshake_auth", None) is not None:
        context.post_handshake_auth = True
    _log_keys(context)
    return context


def _set_ciphers(context: SSLContext, ciphers: str | None) -> None:
    if ciphers is None and DEFAULT_CIPHERS not in ("DEFAULT", "", None):
        ciphers = DEFAULT_CIPHERS
    if ciphers:
        context.set_ciphers(ciphers)


def _set_verification(context: SSLContext, cert_reqs: int, verify_flags: int | None) -> None:
    if verify_flags is None:
        modern = sys.version_info >= (3, 13)  # as ssl.create_default_context does from there on
        verify_flags = VERIFY_X509_PARTIAL_CHAIN | VERIFY_X509_STRICT if modern else 0
    context.verify_flags |= verify_flags
    # A context that checks names cannot be told not to verify, so the order depends on the value.
    if cert_reqs == CERT_REQUIRED and not IS_PYOPENSSL:
        context.verify_mode = cert_reqs  # type: ignore[assignment]
        context.check_hostname = True
    else:
        context.check_hostname = False
        context.verify_mode = cert_reqs  # type: ignore[assignment]
    try:
        context.hostname_checks_common_name = False
    except AttributeError:  # OpenSSL, or another implementation, without the switch
        return


def _log_keys(context: SSLContext) -> None:
    path = os.path.expandvars(os.environ.get("SSLKEYLOGFILE", ""))
    if path and hasattr(context, "keylog_filename"):
        try:
            context.keylog_filename = path
        except OSError as error:
            raise SSLError(f"cannot write to the file named by SSLKEYLOGFILE: {error}") from error


#: The name of this package for `create_urllib3_context`.
create_urllib4_context = create_urllib3_context


def ssl_wrap_socket(
    sock: Any,
    keyfile: str | None = None,
    certfile: str | None = None,
    cert_reqs: int | str | None = None,
    ca_certs: str | None = None,
    server_hostname: str | None = None,
    ssl_version: int | str | None = None,
    ciphers: str | None = None,
    ssl_context: Any = None,
    ca_cert_dir: str | None = None,
    key_password: Any = None,
    ca_cert_data: str | bytes | None = None,
    tls_in_tls: bool = False,
) -> Any:
    """Return a TLS connection over `sock`, the handshake done.

    :param sock: a connected socket.  It is closed if an error is raised by the handshake.
    :param ssl_context: connect with the settings of this context.  It is **not changed**: what the
        other parameters add or contradict is done to a private copy.  `cert_reqs`, `ssl_version`
        and `ciphers` are for connections without a context.
    :param tls_in_tls: `sock` is a TLS connection itself.

    The others are described at `urllib4.connection.HTTPSConnection`.  Without a context and without
    a ``ca_*`` parameter the CAs of the system are trusted, or those of certifi if it has none.

    :raises SSLError: a file or a value is wrong, or does not go with the given context.
    :raises ssl.SSLError: the handshake failed.
    :raises OSError: the connection failed.
    """
    from . import _ssl_plan  # loaded with TLS, not before

    trust = identity = None
    if ca_certs or ca_cert_dir or ca_cert_data:
        trust = Trust(
            ca_certs,
            ca_cert_dir,
            ca_cert_data,
            (_ssl_contexts.stamp(ca_certs), _ssl_contexts.stamp(ca_cert_dir)),
        )
    if certfile:
        stamps = _ssl_contexts.stamp(certfile), _ssl_contexts.stamp(keyfile)
        identity = Identity(certfile, keyfile, password=key_password, stamps=stamps)
    if ssl_context is None:
        context = create_urllib3_context(ssl_version, resolve_cert_reqs(cert_reqs), ciphers=ciphers)
        _fill(context, trust, identity)
        plan = _ssl_plan.Plan(context)
    else:
        changes = _ssl_plan.Changes(trust=trust, identity=identity, alpn=tuple(ALPN_PROTOCOLS))
        plan = _ssl_plan.plan_for(ssl_context, changes)
    connection = _ssl_plan.connect(plan, sock, server_hostname, tls_in_tls)
    _ssl_plan.lend_again(plan, connection)
    return connection


def _fill(context: SSLContext, trust: Trust | None, identity: Identity | None) -> None:
    if trust is not None:
        _ssl_contexts.load_trust(context, trust)
    else:
        _ssl_contexts.load_default_trust(context)
    if identity is not None:
        _ssl_contexts.load_identity(context, identity)
    context.set_alpn_protocols(ALPN_PROTOCOLS)


def is_ipaddress(hostname: str | bytes) -> bool:
    """Tell whether `hostname` is an IP address rather than a name.

    Every spelling of IPv4 counts that the C library takes for an address (``127.1``,
    ``0x7f000001``), and IPv6 with or without a zone, without brackets.
    """
    if isinstance(hostname, bytes):
        hostname = hostname.decode("latin-1")
    if _IPV4.fullmatch(hostname):
        return True
    if ":" not in hostname:
        return False
    import ipaddress  # names, which are most, need not wait for it

    try:
        ipaddress.IPv6Address(hostname)
    except ValueError:
        return False
    return True


def _is_key_file_encrypted(key_file: str) -> bool:
    """Tell whether a PEM file holds an encrypted private key."""
    return _ssl_contexts.is_encrypted(key_file)


__all__ = [
    "ALPN_PROTOCOLS",
    "CERT_REQUIRED",
    "DEFAULT_CIPHERS",
    "HASHFUNC_MAP",
    "HAS_NEVER_CHECK_COMMON_NAME",
    "IS_PYOPENSSL",
    "OPENSSL_VERSION",
    "OP_NO_COMPRESSION",
    "OP_NO_SSLv2",
    "OP_NO_SSLv3",
    "OP_NO_TICKET",
    "PROTOCOL_SSLv23",
    "PROTOCOL_TLS",
    "PROTOCOL_TLS_CLIENT",
    "SSLContext",
    "SSLTransport",
    "TLSSessionCache",
    "TLSVersion",
    "VERIFY_X509_PARTIAL_CHAIN",
    "VERIFY_X509_STRICT",
    "assert_fingerprint",
    "create_urllib3_context",
    "create_urllib4_context",
    "is_ipaddress",
    "resolve_cert_reqs",
    "resolve_ssl_version",
    "ssl_wrap_socket",
]
