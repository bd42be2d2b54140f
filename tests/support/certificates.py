"""Certificates for the tests' servers and clients, made once in each process."""

from __future__ import annotations

import datetime as dt
import hashlib
import ssl
from typing import TYPE_CHECKING, Any, NamedTuple

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


class Certificates:
    """A certificate authority with a server certificate for the loopback names and a client certificate.

    All files are PEM: `ca` (the authority), `chain` and `key` (the server's), `client_chain`, `client_key` and
    `client_both` (the client's, apart and in one file).
    """

    def __init__(self, directory: Path) -> None:
        self.authority = trustme.CA()
        self.server = self.authority.issue_cert("localhost", "127.0.0.1", "::1", "named.test", "www.example.com")
        client = self.authority.issue_cert("client@example.org")
        self.ca = directory / "ca.pem"
        self.chain = directory / "server.pem"
        self.key = directory / "server.key"
        self.client_chain = directory / "client.pem"
        self.client_key = directory / "client.key"
        self.client_both = directory / "client-both.pem"
        self.authority.cert_pem.write_to_path(str(self.ca))
        self.chain.write_bytes(b"".join(blob.bytes() for blob in self.server.cert_chain_pems))
        self.server.private_key_pem.write_to_path(str(self.key))
        self.client_chain.write_bytes(b"".join(blob.bytes() for blob in client.cert_chain_pems))
        client.private_key_pem.write_to_path(str(self.client_key))
        client.private_key_and_cert_chain_pem.write_to_path(str(self.client_both))

    def server_context(
        self, leaf: trustme.LeafCert | None = None, *, alpn: Sequence[str] = ("http/1.1",)
    ) -> ssl.SSLContext:
        """Returns the context of a TLS server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if alpn:
            context.set_alpn_protocols(alpn)
        (leaf or self.server).configure_cert(context)
        return context


# Certificates of all kinds, good and bad.

SERVER_AUTH, CLIENT_AUTH = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
ANY_PURPOSE = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE

KEY_USES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def subject_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])


class Issued(NamedTuple):
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Any

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return bytes(self.key.private_bytes(*form))


def issue(
    name: str | x509.Name,
    by: Issued | None = None,
    *,
    ca: bool | None = False,
    path_length: int | None = None,
    critical: bool = True,
    days: tuple[float, float] = (-1, 10),
    names: Sequence[str | x509.GeneralName] = (),
    uses: Sequence[str] | None = None,
    purposes: Sequence[x509.ObjectIdentifier] = (),
    key_ids: bool = True,
    key: Any = None,
    signed_with: Any = None,
    digest: hashes.HashAlgorithm | None = hashes.SHA256(),  # noqa: B008
    extra: Sequence[tuple[x509.ExtensionType, bool]] = (),
) -> Issued:
    """Returns a certificate that `by` has issued, or a self-signed one.

    `ca` is the value of `basicConstraints`, which `None` leaves out. `uses` are names of bits of `keyUsage`: by default
    those of an authority, and without any the extension is left out. `names` are DNS names or names of `cryptography`.
    `signed_with` is a key in place of the issuer's, which makes an invalid signature.
    """
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = name if isinstance(name, x509.Name) else subject_name(name)
    issuer = by.certificate.subject if by else subject
    now = dt.datetime.now(dt.timezone.utc)
    builder = (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now + dt.timedelta(days[0]))
        .not_valid_after(now + dt.timedelta(days[1]))
    )
    extensions = list(extra)
    if ca is not None:
        extensions.append((x509.BasicConstraints(ca, path_length), critical))
    if uses is None and ca:
        uses = ("key_cert_sign", "crl_sign", "digital_signature")
    if uses:
        extensions.append((x509.KeyUsage(*(use in uses for use in KEY_USES)), True))
    if purposes:
        extensions.append((x509.ExtendedKeyUsage(purposes), False))
    if names:
        general = [x509.DNSName(name) if isinstance(name, str) else name for name in names]
        extensions.append((x509.SubjectAlternativeName(general), False))
    if key_ids:
        authority = by.key if by else key
        extensions.append((x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False))
        extensions.append((x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), False))
    for extension, is_critical in extensions:
        builder = builder.add_extension(extension, critical=is_critical)
    return Issued(builder.sign(signed_with or (by.key if by else key), digest), key)


def revocation_list(by: Issued, *revoked: Issued, days: tuple[int, int] = (-1, 10), signed_with: Any = None) -> bytes:
    """Returns a revocation list of `by`, in PEM. `signed_with` is a key in place of the issuer's."""
    now = dt.datetime.now(dt.timezone.utc)
    builder = (
        x509.CertificateRevocationListBuilder(by.certificate.subject)
        .last_update(now + dt.timedelta(days[0]))
        .next_update(now + dt.timedelta(days[1]))
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key()), critical=False)
        .add_extension(x509.CRLNumber(1), critical=False)
    )
    for issued in revoked:
        entry = x509.RevokedCertificateBuilder(issued.certificate.serial_number, now)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(signed_with or by.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def rebuilt(issued: Issued, change: Callable[[bytes], bytes], sign: Callable[[bytes], bytes]) -> Issued:
    """Returns a certificate with other contents, for certificates that `cryptography` does not make.

    `change` gets the signed part and the name of the algorithm, each without tag and length.
    """
    der = issued.certificate.public_bytes(serialization.Encoding.DER)
    to_be_signed, algorithm, _ = _elements(_elements(der)[0][1])
    signed = _element(to_be_signed[0], change(to_be_signed[1]))
    algorithm_ = _element(algorithm[0], change(algorithm[1]))
    contents = signed + algorithm_ + _element(0x03, b"\x00" + sign(signed))
    return issued._replace(certificate=x509.load_der_x509_certificate(_element(0x30, contents)))


def hashed_name(certificate: x509.Certificate | bytes, number: int = 0) -> str:
    """Returns the name of a certificate's file in a folder of authorities, as `openssl rehash` makes it.

    The hash is over the subject with its strings as UTF-8, in small letters.
    """
    if isinstance(certificate, bytes):
        certificate = x509.load_pem_x509_certificate(certificate)
    canonical = b""
    for _, part in _elements(_elements(certificate.subject.public_bytes())[0][1]):
        ((_, attribute),) = _elements(part)
        (tag, kind), (_, text) = _elements(attribute)
        value = " ".join(text.decode().lower().split()).encode()
        canonical += _element(0x31, _element(0x30, _element(tag, kind) + _element(0x0C, value)))
    digest = hashlib.sha1(canonical).digest()
    return f"{int.from_bytes(digest[:4], 'little'):08x}.{number}"


def _element(tag: int, contents: bytes) -> bytes:
    """Returns an element of DER."""
    length = len(contents)
    if length < 0x80:
        return bytes([tag, length]) + contents
    size = (length.bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + length.to_bytes(size, "big") + contents


def _elements(data: bytes) -> list[tuple[int, bytes]]:
    """Returns the elements of DER, each with its tag."""
    found = []
    while data:
        tag, length, start = data[0], data[1], 2
        if length >= 0x80:
            start += length & 0x7F
            length = int.from_bytes(data[2:start], "big")
        found.append((tag, data[start : start + length]))
        data = data[start + length :]
    return found


def server_context(chain: Sequence[Issued], file: Path) -> ssl.SSLContext:
    """Returns the context of a server that presents a chain, its own certificate first. Writes `file`."""
    file.write_bytes(chain[0].key_pem + b"".join(issued.pem for issued in chain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # The client is to refuse weak certificates, so OpenSSL must not refuse them in the server.
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.load_cert_chain(file)
    return context
