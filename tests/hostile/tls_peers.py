"""Certificates of any kind, and servers that do one odd thing each, for the tests of TLS here.

``dummyserver.certs`` makes what a sane authority would sign; these make the rest.
"""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

#: Longest wait of either side, in seconds; nothing here waits on purpose.
PATIENCE = 20.0

_NOW = datetime.datetime.now(datetime.timezone.utc)
DAY = datetime.timedelta(days=1)


class Leaf(NamedTuple):
    """A certificate: the path of its PEM file with the key in it, its DER, and its key."""

    path: str
    der: bytes
    key: Any

    def context(self, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """Return a server's context that shows it, for `version` only if that is given."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path)
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return context


class Authority:
    """Signs whatever it is asked to.

    :param directory: for its files.
    :param name: part of their names, and its common name.
    """

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self._directory = directory
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._count = 0
        certificate = self._sign(self._name, self._key, [], None, (-DAY, DAY), is_ca=True)
        self.ca_file = str(directory / f"{name}-ca.pem")
        Path(self.ca_file).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(
        self,
        *names: str,
        common_name: str = "leaf",
        valid: tuple[datetime.timedelta, datetime.timedelta] = (-DAY, DAY),
        key: Any = None,
        is_ca: bool = False,
        self_signed: bool = False,
    ) -> Leaf:
        """Return a certificate.

        :param names: host names, taken literally, or ``IP:`` and an address; none: no such field.
        :param valid: from when until when, from now.
        :param key: a private key to use again.
        """
        key = key or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        signer = key if self_signed else None
        certificate = self._sign(subject, key, names, signer, valid, is_ca=is_ca)
        self._count += 1
        path = self._directory / f"{self._name.rdns[0].rfc4514_string()[3:]}-{self._count}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        return Leaf(str(path), certificate.public_bytes(serialization.Encoding.DER), key)

    def _sign(
        self,
        subject: x509.Name,
        key: Any,
        names: Sequence[str],
        signer: Any,
        valid: tuple[datetime.timedelta, datetime.timedelta],
        *,
        is_ca: bool,
    ) -> x509.Certificate:
        issuer = subject if signer else self._name
        signer = signer or self._key
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        builder = (
            x509.CertificateBuilder(issuer, subject, key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_NOW + valid[0])
            .not_valid_after(_NOW + valid[1])
            .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(identifier, critical=False)
        )
        if is_ca:
            usage = x509.KeyUsage(
                digital_signature=False,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=True,
                crl_sign=True,
                encipher_only=False,
                decipher_only=False,
            )
            builder = builder.add_extension(usage, critical=True)
        if names:
            san = x509.SubjectAlternativeName([_general_name(name) for name in names])
            builder = builder.add_extension(san, critical=False)
        return builder.sign(signer, hashes.SHA256())


def _general_name(name: str) -> x509.GeneralName:
    if name.startswith("IP:"):
        return x509.IPAddress(ipaddress.ip_address(name[3:]))
    return x509.DNSName(name)


Handler = Callable[[socket.socket], object]


class Peer:
    """A server with one thread that gives each connection to `handler`, one after the other.

    `handler` may be changed between connections.  It gets the plain socket and may leave with any
    OSError; the socket is closed behind it.

    :ivar accepted: how many connections there were.
    """

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.accepted = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self.port = self.address[1]
        self._thread = threading.Thread(target=self._run, name="tls-peer", daemon=True)

    def __enter__(self) -> Peer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # wakes the thread, which close() alone does not
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            sock.settimeout(PATIENCE)
            with sock, suppress(OSError, ssl.SSLError):
                self.handler(sock)

    def connect(self) -> socket.socket:
        """Return a socket of a client."""
        return socket.create_connection(self.address, PATIENCE)


def read_head(sock: Any) -> bytes:
    """Read a request without a body; ``b""`` if the client closed instead."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        piece = sock.recv(65536)
        if not piece:
            return b""
        data += piece
    return data


def answer(body: bytes, *fields: str) -> bytes:
    """Return a whole answer with a Content-Length."""
    head = "".join(f"{field}\r\n" for field in (f"Content-Length: {len(body)}", *fields))
    return f"HTTP/1.1 200 OK\r\n{head}\r\n".encode() + body


def serving(context: ssl.SSLContext, respond: Callable[[bytes], bytes]) -> Handler:
    """Return a handler that speaks TLS and answers requests until the client leaves."""

    def handle(sock: socket.socket) -> None:
        with context.wrap_socket(sock, server_side=True) as tls:
            while request := read_head(tls):
                tls.sendall(respond(request))

    return handle
