"""Certificates made for the occasion, in a directory that vanishes afterwards.

One authority signs a good server certificate, some bad ones and one for a client; a second
authority, which nobody trusts, signs another.  Keys are made anew at each start, so there is no
key in the repository and nothing that expires.
"""

from __future__ import annotations

import datetime
import hashlib
import ssl
import tempfile
from pathlib import Path
from typing import NamedTuple

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

#: The names under which the test servers are reached.
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")

#: Password of `Certificates.client_encrypted`.
CLIENT_PASSWORD = "correct horse"


class CertFiles(NamedTuple):
    """Paths of PEM files: a certificate (chain), its private key, and both in one file."""

    cert: str
    key: str
    combined: str


class Certificates:
    """The certificates of one test run; a context manager that removes them at the end.

    :ivar directory: where all files are.
    :ivar ca_file: the certificate of the authority to trust.
    :ivar ca_dir: the same certificate in the layout of OpenSSL's ``-CApath``.
    :ivar unrelated_ca_file: the certificate of an authority that signed only `untrusted`.
    :ivar server: good for localhost, 127.0.0.1 and ::1.
    :ivar wrong_host: valid, but for ``other.example`` only.
    :ivar expired: for the right names, ended in 2001.
    :ivar no_san: the name ``localhost`` is in the common name only.
    :ivar untrusted: for the right names, signed by the unrelated authority.
    :ivar client: for a client that authenticates itself.
    :ivar client_encrypted: the same, its key under `CLIENT_PASSWORD`.
    """

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="dummyserver-certs-")
        self.directory = Path(self._temporary.name)
        self._ca = trustme.CA(organization_name="urllib4 dummyserver")
        unrelated = trustme.CA(organization_name="nobody trusts this")
        self.ca_file = self._write("ca.pem", self._ca.cert_pem.bytes())
        self.ca_dir = self._write_ca_dir()
        self.unrelated_ca_file = self._write("unrelated-ca.pem", unrelated.cert_pem.bytes())

        self.server = self.issue("server", *LOOPBACK_NAMES)
        self.wrong_host = self.issue("wrong-host", "other.example")
        self.expired = self.issue(
            "expired",
            *LOOPBACK_NAMES,
            not_before=datetime.datetime(2000, 1, 1, tzinfo=datetime.timezone.utc),
            not_after=datetime.datetime(2001, 1, 1, tzinfo=datetime.timezone.utc),
        )
        self.no_san = self._without_alternative_name("no-san", "localhost")
        self.untrusted = self._store("untrusted", unrelated.issue_cert(*LOOPBACK_NAMES))
        self.client = self.issue("client", "client@example.com")
        self.client_encrypted = self._encrypted(self.client)

    def __enter__(self) -> Certificates:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove all files."""
        self._temporary.cleanup()

    def issue(
        self,
        file_name: str,
        *names: str,
        not_before: datetime.datetime | None = None,
        not_after: datetime.datetime | None = None,
    ) -> CertFiles:
        """Make one more certificate of the trusted authority.

        :param file_name: how its files are called, without a suffix.
        :param names: host names (also with ``*``), addresses or e-mail addresses it is for.
        """
        leaf = self._ca.issue_cert(*names, not_before=not_before, not_after=not_after)
        return self._store(file_name, leaf)

    def server_context(
        self, files: CertFiles | None = None, *, client_certificate: bool = False
    ) -> ssl.SSLContext:
        """Return a server's TLS context.

        :param files: what the server shows; by default `server`.
        :param client_certificate: refuse clients without a certificate of our authority.
        """
        files = files or self.server
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.cert, files.key)
        if client_certificate:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.ca_file)
        return context

    def client_context(self) -> ssl.SSLContext:
        """Return a client's TLS context that trusts our authority and nothing else."""
        return ssl.create_default_context(cafile=self.ca_file)

    def _without_alternative_name(self, file_name: str, common_name: str) -> CertFiles:
        """Take the subjectAltName, which trustme always adds, out of a certificate of ours."""
        leaf = self._ca.issue_cert(common_name)
        (pem,) = leaf.cert_chain_pems
        model = x509.load_pem_x509_certificate(pem.bytes())
        builder = x509.CertificateBuilder(
            issuer_name=model.issuer,
            subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]),
            public_key=model.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=model.not_valid_before_utc,
            not_valid_after=model.not_valid_after_utc,
        )
        for extension in model.extensions:
            if not isinstance(extension.value, x509.SubjectAlternativeName):
                builder = builder.add_extension(extension.value, extension.critical)
        ca_key = serialization.load_pem_private_key(self._ca.private_key_pem.bytes(), None)
        assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
        certificate = builder.sign(ca_key, hashes.SHA256())
        return self._store_pem(
            file_name,
            certificate.public_bytes(serialization.Encoding.PEM),
            leaf.private_key_pem.bytes(),
        )

    def _store(self, file_name: str, leaf: trustme.LeafCert) -> CertFiles:
        chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
        return self._store_pem(file_name, chain, leaf.private_key_pem.bytes())

    def _store_pem(self, file_name: str, chain: bytes, key: bytes) -> CertFiles:
        return CertFiles(
            cert=self._write(f"{file_name}.pem", chain),
            key=self._write(f"{file_name}.key", key),
            combined=self._write(f"{file_name}-combined.pem", key + chain),
        )

    def _write(self, file_name: str, content: bytes) -> str:
        path = self.directory / file_name
        path.write_bytes(content)
        return str(path)

    def _write_ca_dir(self) -> str:
        directory = self.directory / "ca-dir"
        directory.mkdir()
        pem = self._ca.cert_pem.bytes()
        (directory / f"{_subject_hash(pem)}.0").write_bytes(pem)
        return str(directory)

    def _encrypted(self, files: CertFiles) -> CertFiles:
        key = serialization.load_pem_private_key(Path(files.key).read_bytes(), password=None)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(CLIENT_PASSWORD.encode()),
        )
        chain = Path(files.cert).read_bytes()
        return CertFiles(
            cert=files.cert,
            key=self._write("client-encrypted.key", pem),
            combined=self._write("client-encrypted-combined.pem", pem + chain),
        )


def _subject_hash(pem: bytes) -> str:
    """Return the file name that OpenSSL looks for in a CA directory.

    That is SHA-1 over the canonical form of the subject: its RDN sequence without the outer
    header, each string as UTF8String, in lower case with single spaces.
    """
    subject = x509.load_pem_x509_certificate(pem).subject
    canonical = b""
    for attribute in subject:
        text = " ".join(str(attribute.value).lower().split()).encode()
        oid = _object_identifier(attribute.oid.dotted_string)
        canonical += _der(0x31, _der(0x30, oid + _der(0x0C, text)))
    digest = hashlib.sha1(canonical, usedforsecurity=False).digest()
    return f"{int.from_bytes(digest[:4], 'little'):08x}"


def _der(tag: int, content: bytes) -> bytes:
    if len(content) > 127:
        raise ValueError(f"longer than the short form of a length holds: {len(content)} bytes")
    return bytes([tag, len(content)]) + content


def _object_identifier(dotted: str) -> bytes:
    first, second, *others = (int(part) for part in dotted.split("."))
    if any(number > 127 for number in others):
        raise ValueError(f"only small numbers are needed in subjects: {dotted}")
    return _der(0x06, bytes([40 * first + second, *others]))
