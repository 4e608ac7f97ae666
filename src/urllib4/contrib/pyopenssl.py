"""TLS by pyOpenSSL instead of the standard library's :mod:`ssl`.

::

    import urllib4.contrib.pyopenssl

    urllib4.contrib.pyopenssl.inject_into_urllib4()

From then on new contexts of urllib4 are :class:`PyOpenSSLContext`, until
:func:`extract_from_urllib4`.  Nothing else in the process changes: not the :mod:`ssl` module, not
urllib3, not contexts that exist.  Use it where Python's own OpenSSL is too old or lacks something;
otherwise the standard library is the better choice: it is faster, can do TLS inside TLS, and lets
connections resume sessions.

Needs pyOpenSSL 22 or newer, and with it cryptography.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from .. import util as _util
from ..exceptions import ProxySchemeUnsupported
from ..util import _ssl_contexts, _ssl_plan
from ..util import ssl_ as _ssl
from ..util.ssl_match_hostname import CertificateError, match_hostname
from ..util.wait import wait_for_read, wait_for_write

_OLDEST_VERSION = 22  # the first with bounds for versions, and with recv_into

try:
    import OpenSSL
    from OpenSSL import SSL, crypto
except ImportError as _error:
    raise ImportError(
        f"urllib4.contrib.pyopenssl needs pyOpenSSL {_OLDEST_VERSION} or newer: "
        "pip install pyOpenSSL"
    ) from _error
_VERSION = int(OpenSSL.__version__.partition(".")[0])
if _VERSION < _OLDEST_VERSION:
    raise ImportError(
        f"pyOpenSSL {OpenSSL.__version__} is too old: urllib4.contrib.pyopenssl needs "
        f"{_OLDEST_VERSION} or newer"
    )

# These come with pyOpenSSL, whose absence is told above.
from cryptography import x509  # noqa: E402
from cryptography.exceptions import UnsupportedAlgorithm  # noqa: E402
from cryptography.hazmat.primitives import serialization  # noqa: E402

__all__ = [
    "PyOpenSSLContext",
    "WrappedSocket",
    "extract_from_urllib3",
    "extract_from_urllib4",
    "get_subj_alt_name",
    "inject_into_urllib3",
    "inject_into_urllib4",
]

log: logging.Logger = logging.getLogger(__name__)

_T = TypeVar("_T")

#: The class of new contexts when this module was imported.
orig_util_SSLContext = _ssl.SSLContext

#: How much is encrypted at a time, in bytes: the size of a TLS record (RFC 8446, 5.1).
SSL_WRITE_BLOCKSIZE = 16384

# SSL_MODE_ENABLE_PARTIAL_WRITE and SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER: what was sent in part is
# sent on from another place in memory.
_WRITE_MODE = 0x1 | 0x2

# How pyOpenSSL numbers an end without close_notify (RFC 8446, 6.1) among the system's errors.
_RAGGED = -1

_VERIFY_MODES = {
    ssl.CERT_NONE: SSL.VERIFY_NONE,
    ssl.CERT_OPTIONAL: SSL.VERIFY_PEER,
    ssl.CERT_REQUIRED: SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT,
}

# The commonest reasons of a failed verification (X509_V_ERR_*), which pyOpenSSL gives as numbers.
_REASONS = {
    9: "certificate is not yet valid",
    10: "certificate has expired",
    18: "self-signed certificate",
    19: "self-signed certificate in certificate chain",
    20: "unable to get local issuer certificate",
    21: "unable to verify the first certificate",
    23: "certificate revoked",
    24: "invalid CA certificate",
    26: "unsuitable certificate purpose",
}

_PEM_CERTIFICATE = re.compile(
    rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL
)

# With the parameters that may stand before the key of an elliptic curve left out.
_PEM_KEY = re.compile(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.+?-----END \1-----", re.DOTALL)

# Guards `_replaced`.
_lock = threading.Lock()
# What injection did: (module, name, the value put aside, the value put there).
_replaced: list[tuple[Any, str, Any, Any]] = []


# -- switching it on and off -----------------------------------------------------------------------


def inject_into_urllib4() -> None:
    """Let new contexts of urllib4 be pyOpenSSL's.

    Replaces ``SSLContext`` and ``IS_PYOPENSSL`` in ``urllib4.util`` and ``urllib4.util.ssl_``.
    Connections that are open are not touched.  Safe to call twice, and from any thread.
    """
    with _lock:
        if _replaced:
            return
        for module in (_util, _ssl):
            for name, value in (("SSLContext", PyOpenSSLContext), ("IS_PYOPENSSL", True)):
                _replaced.append((module, name, getattr(module, name), value))
                setattr(module, name, value)


def extract_from_urllib4() -> None:
    """Undo :func:`inject_into_urllib4`: all four names are what they were before.

    A name that somebody else has replaced since then stays as it is.  Does nothing if nothing was
    injected.
    """
    with _lock:
        while _replaced:
            module, name, before, ours = _replaced.pop()
            if getattr(module, name) is ours:
                setattr(module, name, before)


def inject_into_urllib3() -> None:
    """Do what :func:`inject_into_urllib4` does: to urllib4, under the name it has in urllib3."""
    inject_into_urllib4()


def extract_from_urllib3() -> None:
    """Do what :func:`extract_from_urllib4` does."""
    extract_from_urllib4()


# -- certificates ----------------------------------------------------------------------------------


def get_subj_alt_name(peer_cert: Any) -> list[tuple[str, str]]:
    """Return the names and addresses a certificate is for, as ``getpeercert()`` lists them.

    :param peer_cert: an ``OpenSSL.crypto.X509`` or a ``cryptography.x509.Certificate``.

    A certificate whose names cannot be read has none, so no host name will match it.
    """
    certificate = peer_cert.to_cryptography() if isinstance(peer_cert, crypto.X509) else peer_cert
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError) as error:
        log.warning("Cannot read the names in a certificate, which are ignored: %s", error)
        return []
    found = [("DNS", str(name)) for name in names.get_values_for_type(x509.DNSName)]
    found += [("IP Address", str(name)) for name in names.get_values_for_type(x509.IPAddress)]
    return found


def _subject(certificate: x509.Certificate) -> tuple[tuple[tuple[str, str], ...], ...]:
    common_names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return tuple((("commonName", str(one.value)),) for one in common_names)


def _check_readable(path: Any) -> None:
    """Raise the OSError that says why not; of OpenSSL's, pyOpenSSL leaves nothing."""
    with open(path, "rb"):
        pass


def _private_key(path: Any, password: Any) -> Any:
    """Load the key in a PEM file, which may hold certificates as well."""
    with open(path, "rb") as file:
        found = _PEM_KEY.search(file.read())
    if found is None:
        raise ssl.SSLError(ssl.SSL_ERROR_SSL, f"there is no private key in {os.fspath(path)!r}")
    # Of a key that is not encrypted nobody wants to know the password, and cryptography none.
    encrypted = b"ENCRYPTED" in found[0]
    secret = password() if encrypted and callable(password) else password
    encoded = secret.encode("utf-8") if isinstance(secret, str) else secret
    try:
        key = serialization.load_pem_private_key(found[0], encoded if encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        reason = "its password is wrong or missing" if encrypted else str(error)
        raise ssl.SSLError(
            ssl.SSL_ERROR_SSL, f"cannot load the private key in {os.fspath(path)!r}: {reason}"
        ) from error
    if _VERSION >= 25:  # warns about keys of its own class
        return key
    plain = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return crypto.load_privatekey(crypto.FILETYPE_PEM, plain)


def _certificates(cadata: str | bytes) -> Iterator[crypto.X509]:
    """Yield the certificates of PEM text, or of DER bytes one behind the other."""
    data = cadata.encode("ascii") if isinstance(cadata, str) else bytes(cadata)
    if isinstance(cadata, bytes) and not data.lstrip().startswith(b"-----"):
        while data:
            size = _der_size(data)
            yield crypto.load_certificate(crypto.FILETYPE_ASN1, data[:size])
            data = data[size:]
        return
    blocks = _PEM_CERTIFICATE.findall(data)
    if not blocks:
        raise ssl.SSLError(ssl.SSL_ERROR_SSL, "cadata has no certificate")
    for block in blocks:
        yield crypto.load_certificate(crypto.FILETYPE_PEM, block)


def _der_size(data: bytes) -> int:
    """Return the size of the first value in DER (X.690, 8.1.3), its header included."""
    first = data[1] if len(data) > 1 else 0
    if first < 0x80:
        return 2 + first
    width = first & 0x7F
    return 2 + width + int.from_bytes(data[2 : 2 + width], "big")


# -- errors ----------------------------------------------------------------------------------------


def _reason(error: BaseException) -> str:
    """Return what OpenSSL says, without pyOpenSSL's lists of library and function names."""
    details = error.args[0] if error.args else None
    if isinstance(details, list) and details:
        return "; ".join(str(entry[-1] or entry[0]) for entry in details)
    return str(error) or type(error).__name__


def _ssl_error(what: str, error: BaseException) -> ssl.SSLError:
    reason = _reason(error)
    failure = ssl.SSLError(ssl.SSL_ERROR_SSL, f"{what}: {reason}")
    failure.reason = reason.partition(";")[0].upper().replace(" ", "_")
    return failure


def _verification_error(code: int) -> ssl.SSLCertVerificationError:
    reason = _REASONS.get(code, f"error {code} of OpenSSL")
    failure = ssl.SSLCertVerificationError(
        ssl.SSL_ERROR_SSL, f"certificate verify failed: {reason}"
    )
    failure.verify_code = code
    failure.verify_message = reason
    failure.reason = "CERTIFICATE_VERIFY_FAILED"
    return failure


def _has_reason(error: SSL.Error) -> bool:
    details = error.args[0] if error.args else None
    return not isinstance(details, list) or any(
        entry[-1] for entry in details if entry[0] != "system library"
    )


def _note_verification(
    connection: SSL.Connection, certificate: crypto.X509, code: int, depth: int, ok: int
) -> bool:
    """Keep why a certificate is not accepted; OpenSSL's error does not tell."""
    if not ok:
        connection.set_app_data(code)
    return bool(ok)


# -- a connection ----------------------------------------------------------------------------------


class WrappedSocket:
    """A TLS connection of pyOpenSSL with the methods of a socket.

    :param connection: the ``OpenSSL.SSL.Connection``.
    :param socket: the connected socket below, which this object closes.
    :param suppress_ragged_eofs: take an end without close_notify for an end, as
        :class:`ssl.SSLSocket` does; otherwise it is an ``ssl.SSLEOFError``.

    Errors are those of the standard library: ``ssl.SSLError``, ``TimeoutError``, ``OSError``.
    With a timeout of 0 what cannot be done at once is ``ssl.SSLWantReadError`` or
    ``ssl.SSLWantWriteError``.

    For one thread at a time, except `shutdown`, by which another may wake one that waits.
    """

    context: Any = None
    server_hostname: str | None = None

    def __init__(
        self, connection: SSL.Connection, socket: Any, suppress_ragged_eofs: bool = True
    ) -> None:
        self.connection = connection
        self.socket = socket
        self.suppress_ragged_eofs = suppress_ragged_eofs
        # Files made of this object keep the socket open, as with socket.socket.
        self._io_refs = 0
        self._closed = False
        # The number of the system's error that broke the connection, or `_RAGGED`.
        self._broken_by: int | None = None

    def __enter__(self) -> WrappedSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- bytes -----------------------------------------------------------------------------

    def do_handshake(self) -> None:
        """Shake hands; the timeout bounds it as a whole.

        :raises ssl.SSLCertVerificationError: the certificate was not accepted.
        :raises CertificateError: it is for another host, and the context checks that.
        :raises ssl.SSLError: the handshake failed.
        :raises TimeoutError: (the builtin) it took too long.
        """
        try:
            self._complete(self.connection.do_handshake, "The handshake operation timed out")
        except SSL.Error as error:
            noted = self.connection.get_app_data()
            if isinstance(noted, int) and "certificate verify failed" in _reason(error):
                raise _verification_error(noted) from error
            raise self._translated("bad handshake", error) from error
        if self.context is not None and self.context.check_hostname:
            self._check_hostname()

    def _check_hostname(self) -> None:
        certificate = self.getpeercert()
        try:
            match_hostname(certificate, self.server_hostname or "")
        except CertificateError as error:
            error._peer_cert = certificate  # type: ignore[attr-defined]
            raise

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Receive at most `bufsize` bytes; none at the end."""
        return self._receive(lambda: self.connection.recv(bufsize), b"")

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        """Receive into `buffer`; return the number of bytes, 0 at the end."""
        return self._receive(lambda: self.connection.recv_into(buffer, nbytes or None), 0)

    def _receive(self, operation: Callable[[], _T], nothing: _T) -> _T:
        try:
            return self._complete(operation, "The read operation timed out")
        except SSL.ZeroReturnError:
            return nothing
        except SSL.Error as error:
            failure = self._translated("read error", error)
            if self.suppress_ragged_eofs and isinstance(failure, ssl.SSLEOFError):
                return nothing
            raise failure from error

    def _translated(self, what: str, error: SSL.Error) -> OSError:
        """Return the standard library's error for one of pyOpenSSL.

        OpenSSL tells why a connection broke once; later operations fail without a reason.
        """
        number = self._broken_by
        if number is None and isinstance(error, SSL.SysCallError):
            number = error.args[0]
        elif number is None and "unexpected eof" in _reason(error).lower():
            number = _RAGGED
        elif number is None and _has_reason(error):
            return _ssl_error(what, error)
        self._broken_by = number = errno.ECONNABORTED if number is None else number
        if number == _RAGGED:
            return ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "EOF occurred in violation of protocol")
        return OSError(number, os.strerror(number))

    def send(self, data: Any, flags: int = 0) -> int:
        """Send some of `data`; return how many bytes."""
        with memoryview(data) as view, view.cast("B") as octets:
            return self._send(octets[:SSL_WRITE_BLOCKSIZE])

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send all of `data`; the timeout bounds each record, as with :class:`ssl.SSLSocket`."""
        with memoryview(data) as view, view.cast("B") as octets:
            sent = 0
            while sent < len(octets):
                sent += self._send(octets[sent : sent + SSL_WRITE_BLOCKSIZE])

    def _send(self, view: memoryview) -> int:
        try:
            return self._complete(
                lambda: self.connection.send(view), "The write operation timed out"
            )
        except SSL.Error as error:
            raise self._translated("write error", error) from error

    def _complete(self, operation: Callable[[], _T], late: str) -> _T:
        """Call `operation` until OpenSSL needs to wait no more.

        :raises TimeoutError: (the builtin) with the text `late`.
        """
        timeout = self.socket.gettimeout()
        unready: type[ssl.SSLError]
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            if self.socket.fileno() < 0:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            try:
                return operation()
            except SSL.WantReadError:
                wait, unready = wait_for_read, ssl.SSLWantReadError
                number = ssl.SSL_ERROR_WANT_READ
            except SSL.WantWriteError:
                wait, unready = wait_for_write, ssl.SSLWantWriteError
                number = ssl.SSL_ERROR_WANT_WRITE
            if timeout == 0:
                raise unready(number, "The operation did not complete")
            left = None if end is None else end - time.monotonic()
            if left is not None and (left <= 0 or not wait(self.socket, left)):
                raise TimeoutError(late)
            if left is None:
                wait(self.socket, None)

    def pending(self) -> int:
        """Return how many decrypted bytes can be received without waiting."""
        return self.connection.pending()

    makefile: Any = socket.socket.makefile

    # -- the socket below ------------------------------------------------------------------

    def fileno(self) -> int:
        """Return the descriptor of the socket, -1 when it is closed."""
        number: int = self.socket.fileno()
        return number

    def settimeout(self, seconds: float | None) -> None:
        """Set how long one operation may wait; None: for ever, 0: not at all."""
        self.socket.settimeout(seconds)

    def gettimeout(self) -> float | None:
        """Return what :meth:`settimeout` was given."""
        seconds: float | None = self.socket.gettimeout()
        return seconds

    def setblocking(self, blocking: bool) -> None:
        """Wait for ever, or not at all."""
        self.socket.setblocking(blocking)

    def getpeername(self) -> Any:
        """Return the address of the peer."""
        return self.socket.getpeername()

    def getsockname(self) -> Any:
        """Return the address on this side."""
        return self.socket.getsockname()

    def setsockopt(self, *args: Any) -> None:
        """Set an option of the socket."""
        self.socket.setsockopt(*args)

    def getsockopt(self, *args: Any) -> Any:
        """Return an option of the socket."""
        return self.socket.getsockopt(*args)

    def shutdown(self, how: int = socket.SHUT_RDWR) -> None:
        """Shut the socket down, without close_notify: OpenSSL may be at work in another thread."""
        self.socket.shutdown(how)

    def close(self) -> None:
        """Close the socket, as soon as the files made of it are closed."""
        self._closed = True
        if self._io_refs < 1:
            self.socket.close()

    def _decref_socketios(self) -> None:
        """Called by a file made of this object when it is closed."""
        if self._io_refs > 0:
            self._io_refs -= 1
        if self._closed:
            self.close()

    # -- what TLS knows --------------------------------------------------------------------

    def getpeercert(self, binary_form: bool = False) -> Any:
        """Return the certificate of the peer: as DER bytes, or its common names and names.

        None if there is none.
        """
        certificate = self.connection.get_peer_certificate()
        if certificate is None:
            return None
        if binary_form:
            return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)
        return {
            "subject": _subject(certificate.to_cryptography()),
            "subjectAltName": tuple(get_subj_alt_name(certificate)),
        }

    def version(self) -> str:
        """Return the version in use, such as ``"TLSv1.3"``."""
        return self.connection.get_protocol_version_name()

    def cipher(self) -> tuple[str, str, int] | None:
        """Return name, version and bits of the cipher in use; None before the handshake."""
        name = self.connection.get_cipher_name()
        if name is None:
            return None
        return name, self.version(), self.connection.get_cipher_bits() or 0

    def selected_alpn_protocol(self) -> str | None:
        """Return what both sides agreed on by ALPN; None if on nothing."""
        return self.connection.get_alpn_proto_negotiated().decode("ascii") or None


# -- a context -------------------------------------------------------------------------------------


class PyOpenSSLContext:
    """A context of pyOpenSSL with the interface of :class:`ssl.SSLContext`.

    :param protocol: an ``ssl.PROTOCOL_*`` constant; ``PROTOCOL_TLSv1_2`` and older pin
        that version.
    :raises ValueError: there is no such protocol.

    Verification is off at first, as with ``PROTOCOL_TLS``.  Set it up in one thread, then share it.
    """

    #: Whether the common name counts where a certificate has no names; never.
    hostname_checks_common_name = False

    def __init__(self, protocol: int = ssl.PROTOCOL_TLS_CLIENT) -> None:
        pinned = _ssl.pinned_version(protocol) if protocol != ssl.PROTOCOL_TLS_SERVER else None
        self.protocol = protocol
        self._ctx = SSL.Context(SSL.TLS_METHOD)
        self._ctx.set_mode(_WRITE_MODE)
        self._verify_mode = ssl.CERT_NONE
        self._verify_flags = 0
        self._check_hostname = False
        self._bounds = [ssl.TLSVersion.MINIMUM_SUPPORTED, ssl.TLSVersion.MAXIMUM_SUPPORTED]
        self.verify_mode = ssl.CERT_NONE
        if pinned is not None:
            self.minimum_version = self.maximum_version = pinned

    # -- settings --------------------------------------------------------------------------

    @property
    def options(self) -> int:
        """The ``ssl.OP_*`` bits; they can be added to, not taken away.

        :raises ValueError: a bit that is set is missing in the new value.
        """
        return self._ctx.set_options(0)

    @options.setter
    def options(self, value: int) -> None:
        if cleared := self.options & ~value:
            raise ValueError(f"pyOpenSSL cannot switch options off: {cleared:#x}")
        self._ctx.set_options(int(value))

    @property
    def verify_flags(self) -> int:
        """The ``ssl.VERIFY_*`` bits that were set; they can be added to, not taken away.

        :raises ValueError: a bit that is set is missing in the new value.
        """
        return self._verify_flags

    @verify_flags.setter
    def verify_flags(self, value: int) -> None:
        if cleared := self._verify_flags & ~value:
            raise ValueError(f"pyOpenSSL cannot switch verification flags off: {cleared:#x}")
        self._verify_flags = int(value)
        store = self._ctx.get_cert_store()
        if store is not None:
            store.set_flags(self._verify_flags)

    @property
    def verify_mode(self) -> ssl.VerifyMode:
        """``ssl.CERT_NONE``, ``CERT_OPTIONAL`` or ``CERT_REQUIRED``.

        :raises ValueError: another value; or CERT_NONE while :attr:`check_hostname` is on.
        """
        return self._verify_mode

    @verify_mode.setter
    def verify_mode(self, value: int) -> None:
        mode = ssl.VerifyMode(value)
        if mode == ssl.CERT_NONE and self._check_hostname:
            raise ValueError("Cannot set verify_mode to CERT_NONE when check_hostname is enabled.")
        self._verify_mode = mode
        self._ctx.set_verify(_VERIFY_MODES[mode], _note_verification)

    @property
    def check_hostname(self) -> bool:
        """Whether :meth:`wrap_socket` checks that the certificate is for its `server_hostname`.

        Switching it on switches verification on.  urllib4 leaves it off, and checks by itself.
        """
        return self._check_hostname

    @check_hostname.setter
    def check_hostname(self, value: bool) -> None:
        if value and self._verify_mode == ssl.CERT_NONE:
            self.verify_mode = ssl.CERT_REQUIRED
        self._check_hostname = bool(value)

    @property
    def minimum_version(self) -> ssl.TLSVersion:
        """The oldest version that is allowed."""
        return self._bounds[0]

    @minimum_version.setter
    def minimum_version(self, value: int) -> None:
        self._bounds[0] = ssl.TLSVersion(value)
        self._ctx.set_min_proto_version(max(0, self._bounds[0]))

    @property
    def maximum_version(self) -> ssl.TLSVersion:
        """The newest version that is allowed."""
        return self._bounds[1]

    @maximum_version.setter
    def maximum_version(self, value: int) -> None:
        self._bounds[1] = ssl.TLSVersion(value)
        # The open ends are negative numbers here, and 0 in OpenSSL.
        self._ctx.set_max_proto_version(max(0, self._bounds[1]))

    def set_ciphers(self, ciphers: str | bytes) -> None:
        """Choose the ciphers up to TLS 1.2, in OpenSSL's notation.

        :raises ssl.SSLError: it selects none.
        """
        encoded = ciphers.encode("utf-8") if isinstance(ciphers, str) else ciphers
        try:
            self._ctx.set_cipher_list(encoded)
        except SSL.Error as error:
            raise _ssl_error("No cipher can be selected", error) from error

    def set_alpn_protocols(self, protocols: Sequence[str | bytes]) -> None:
        """Offer these protocols by ALPN (RFC 7301), in order of preference."""
        encoded = [one.encode("ascii") if isinstance(one, str) else bytes(one) for one in protocols]
        if encoded:
            self._ctx.set_alpn_protos(encoded)

    # -- certificates ----------------------------------------------------------------------

    def set_default_verify_paths(self) -> None:
        """Trust whom the OpenSSL below pyOpenSSL trusts by default."""
        self._ctx.set_default_verify_paths()

    def load_default_certs(self, purpose: Any = ssl.Purpose.SERVER_AUTH) -> None:
        """Trust whom the system trusts, or certifi's list where it has none.

        The OpenSSL below pyOpenSSL is often another build than Python's, and looks for the system's
        certificates elsewhere: where Python's would look counts as well.
        """
        self.set_default_verify_paths()
        paths = ssl.get_default_verify_paths()
        if paths.cafile or paths.capath:
            self.load_verify_locations(paths.cafile, paths.capath)
        else:
            _ssl_contexts.load_trust(self, _ssl_contexts.Trust(_certifi()))

    def load_verify_locations(
        self,
        cafile: Any = None,
        capath: Any = None,
        cadata: str | bytes | None = None,
    ) -> None:
        """Trust the certificates of a file, a directory (named as OpenSSL wants) or in memory.

        :param cadata: PEM as str or bytes, or DER as bytes.
        :raises TypeError: nothing is given.
        :raises ssl.SSLError: there is no certificate.
        :raises OSError: the file cannot be read.
        """
        if not (cafile or capath or cadata):
            raise TypeError("cafile, capath and cadata cannot be all omitted")
        if cafile:
            _check_readable(cafile)
        try:
            if cafile or capath:
                self._ctx.load_verify_locations(cafile or None, capath or None)
            if cadata:
                store = self._ctx.get_cert_store()
                assert store is not None
                for certificate in _certificates(cadata):
                    store.add_cert(certificate)
        except (SSL.Error, crypto.Error) as error:
            raise _ssl_error("unable to load trusted certificates", error) from error

    def load_cert_chain(self, certfile: Any, keyfile: Any = None, password: Any = None) -> None:
        """Show this certificate to servers that ask for one.  Nobody is asked for a password.

        :param keyfile: its private key, unless it is in `certfile`.
        :param password: of the key: str, bytes, or a function that returns one.
        :raises ssl.SSLError: a file is wrong, the key is not that of the certificate, or the
            password is missing or wrong.
        :raises OSError: a file cannot be read.
        """
        _check_readable(certfile)
        try:
            self._ctx.use_certificate_chain_file(certfile)
            self._ctx.use_privatekey(_private_key(keyfile or certfile, password))
            self._ctx.check_privatekey()
        except (SSL.Error, crypto.Error) as error:
            raise _ssl_error("Unable to load certificate chain", error) from error

    # -- connecting ------------------------------------------------------------------------

    def wrap_socket(
        self,
        sock: Any,
        server_side: bool = False,
        do_handshake_on_connect: bool = True,
        suppress_ragged_eofs: bool = True,
        server_hostname: str | bytes | None = None,
    ) -> WrappedSocket:
        """Return a TLS connection over `sock`, the handshake done; `sock` belongs to it.

        :param server_hostname: the name to ask for (SNI; not if it is an address), and to check if
            :attr:`check_hostname` is on.
        :raises ValueError: :attr:`check_hostname` is on and there is no `server_hostname`.
        :raises ProxySchemeUnsupported: `sock` is a TLS connection itself.

        What :meth:`WrappedSocket.do_handshake` raises, too; `sock` stays open then.
        """
        if isinstance(sock, WrappedSocket) or _ssl_plan.is_tls(sock):
            raise ProxySchemeUnsupported("TLS in TLS is not possible with pyOpenSSL")
        name = server_hostname.decode() if isinstance(server_hostname, bytes) else server_hostname
        if self._check_hostname and not name:
            raise ValueError("check_hostname requires server_hostname")
        connection = SSL.Connection(self._ctx, sock)
        if name and not _ssl.is_ipaddress(name):
            connection.set_tlsext_host_name(name.encode("idna"))
        if server_side:
            connection.set_accept_state()
        else:
            connection.set_connect_state()
        wrapped = WrappedSocket(connection, sock, suppress_ragged_eofs)
        wrapped.context = self
        wrapped.server_hostname = name
        if do_handshake_on_connect:
            wrapped.do_handshake()
        return wrapped


def _certifi() -> str:
    import certifi

    return certifi.where()
