"""The less common options of a `TLSConfig`, compared with Python's `ssl` and the same options."""

from __future__ import annotations

import datetime as dt
import ssl
from typing import TYPE_CHECKING, Any

import httpcore
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

import httpcore_rs
from certificates import hashed_name, issue
from peers import always, reply

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from certificates import Certificates
    from flavours import Flavour
    from peers import Peer, Serve
    from servers import AsgiServer

OK = always(reply(b"ok"))
PASSWORD = "correct horse"


async def outcome(flavour: Flavour, url: str, config: Any, **arguments: Any) -> str:
    """Returns `ok`, or the reason for which the certificate was refused."""
    async with flavour.pool(ssl_context=config, **arguments) as pool:
        try:
            response = await pool.request("GET", url)
        except httpcore.ConnectError as exc:
            return "refused" if "CERTIFICATE_VERIFY_FAILED" in str(exc) and "Other(" not in str(exc) else str(exc)
        return str(response.content.decode())


# Self-signed certificates.


class SelfSigned:
    """A self-signed certificate, and the context of a server that presents it."""

    def __init__(
        self,
        directory: Path,
        *,
        names: Sequence[str] = ("localhost",),
        ca: bool | None = True,
        days: tuple[int, int] = (-1, 10),
        purposes: Sequence[x509.ObjectIdentifier] = (),
        critical: bool = False,
    ) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "self-signed")])
        now = dt.datetime.now(dt.timezone.utc)
        builder = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now + dt.timedelta(days[0]))
            .not_valid_after(now + dt.timedelta(days[1]))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        )
        if ca is not None:
            builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
        if purposes:
            builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=critical)
        self.pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        self.path = directory / "self-signed.pem"
        self.path.write_bytes(self.pem)
        both = directory / "both.pem"
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        both.write_bytes(self.pem + key.private_bytes(*form))
        self.server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server_context.load_cert_chain(both)


SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, "ok"),
        ({"ca": False}, "ok"),
        ({"ca": None}, "ok"),
        ({"names": ["elsewhere.test"]}, "refused"),
        ({"days": (-5, -1)}, "refused"),
        ({"days": (1, 5)}, "refused"),
        ({"purposes": [SERVER]}, "ok"),
        ({"purposes": [CLIENT, SERVER], "critical": True}, "ok"),
        ({"purposes": [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]}, "refused"),
        ({"purposes": [CLIENT]}, "refused"),
        ({"purposes": [CLIENT], "critical": True}, "refused"),
        ({"purposes": [ExtendedKeyUsageOID.CODE_SIGNING], "ca": False}, "refused"),
    ],
)
async def test_a_self_signed_certificate_that_is_trusted(
    flavour: Flavour, serve: Serve, tmp_path: Path, arguments: dict[str, Any], expected: str
) -> None:
    own = SelfSigned(tmp_path, **arguments)
    url = f"https://localhost:{serve(OK, tls=own.server_context).port}/"
    for config in ({"verify": own.path}, {"cadata": own.pem}):
        assert await outcome(flavour, url, httpcore_rs.TLSConfig(**config)) == expected
    assert await outcome(flavour, url, ssl.create_default_context(cafile=str(own.path))) == expected


async def test_a_self_signed_certificate_that_is_not_trusted(
    flavour: Flavour, serve: Serve, tmp_path: Path, certificates: Certificates
) -> None:
    (tmp_path / "other").mkdir()
    # The same name, with another key.
    own, other = SelfSigned(tmp_path), SelfSigned(tmp_path / "other")
    url = f"https://localhost:{serve(OK, tls=own.server_context).port}/"
    for config in (None, httpcore_rs.TLSConfig(verify=other.path), httpcore_rs.TLSConfig(verify=certificates.ca)):
        assert await outcome(flavour, url, config) == "refused"
    assert await outcome(flavour, url, httpcore_rs.TLSConfig(verify=False)) == "ok"


async def test_a_refusal_has_the_message_of_openssl(flavour: Flavour, serve: Serve, certificates: Certificates) -> None:
    peer = serve(OK, tls=certificates.server_context())
    async with flavour.pool() as pool:
        with pytest.raises(httpcore.ConnectError, match="unable to get local issuer certificate"):
            await pool.request("GET", peer.url)


# Authorities in memory.


@pytest.fixture
def peer(serve: Serve, certificates: Certificates) -> Peer:
    return serve(OK, tls=certificates.server_context())


@pytest.mark.parametrize("form", ["text", "bytes", "DER", "after a comment"])
async def test_cadata(flavour: Flavour, peer: Peer, certificates: Certificates, form: str) -> None:
    pem = certificates.ca.read_bytes()
    der = x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)
    cadata = {"text": pem.decode(), "bytes": pem, "DER": der, "after a comment": b"0: a comment\n" + pem}[form]
    config = httpcore_rs.TLSConfig(cadata=cadata)
    assert config.cadata == cadata
    assert await outcome(flavour, peer.url, config) == "ok"
    assert await outcome(flavour, peer.url, config, network_backend=flavour.backend()) == "ok"


async def test_cadata_replaces_the_default_and_adds_to_a_path(
    flavour: Flavour,
    peer: Peer,
    serve: Serve,
    certificates: Certificates,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = SelfSigned(tmp_path)
    other = f"https://localhost:{serve(OK, tls=own.server_context).port}/"
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca))
    alone = httpcore_rs.TLSConfig(cadata=own.pem)
    both = httpcore_rs.TLSConfig(verify=certificates.ca, cadata=own.pem)
    for arguments in ({}, {"network_backend": flavour.backend()}):
        assert await outcome(flavour, peer.url, alone, **arguments) == "refused"
        assert await outcome(flavour, other, alone, **arguments) == "ok"
        assert await outcome(flavour, peer.url, both, **arguments) == "ok"
        assert await outcome(flavour, other, both, **arguments) == "ok"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"cadata": "no certificate"}, ssl.SSLError),
        ({"cadata": b""}, ssl.SSLError),
        ({"cadata": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}, ssl.SSLError),
        ({"cadata": b"\x30\x82\x00\x01\x00"}, ssl.SSLError),
        ({"cadata": 7}, TypeError),
        ({"cadata": "", "verify": False}, ValueError),
        ({"minimum_version": 7}, ValueError),
        ({"minimum_version": "1.2"}, ValueError),
        ({"cert": 7}, TypeError),
        ({"cert": ("a", "b", "c", "d")}, TypeError),
    ],
)
def test_contradictory_arguments(arguments: dict[str, Any], expected: type[Exception]) -> None:
    with pytest.raises(expected) as raised:
        httpcore_rs.TLSConfig(**arguments)
    assert next(iter(arguments)) in str(raised.value)


# Files.


@pytest.mark.parametrize("how", ["written over", "replaced"])
async def test_a_file_that_has_changed_is_read_again(
    flavour: Flavour, peer: Peer, certificates: Certificates, tmp_path: Path, how: str
) -> None:
    file = tmp_path / "ca.pem"
    own = SelfSigned(tmp_path)
    # Of the same length, so that only the time differs.
    authority = certificates.ca.read_bytes()
    length = max(len(authority), len(own.pem))
    for contents, expected in ((own.pem, "refused"), (authority, "ok"), (own.pem, "refused"), (authority, "ok")):
        if how == "replaced":
            new = tmp_path / "new.pem"
            new.write_bytes(contents.ljust(length, b"\n"))
            new.replace(file)
        else:
            file.write_bytes(contents.ljust(length, b"\n"))
        for _ in range(2):
            assert await outcome(flavour, peer.url, httpcore_rs.TLSConfig(verify=file)) == expected


async def test_a_file_in_a_directory_that_has_changed_is_read_again(
    flavour: Flavour, peer: Peer, certificates: Certificates, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    authority = certificates.ca.read_bytes()
    # Another authority with the same name.
    other = issue(x509.load_pem_x509_certificate(authority).subject, ca=True)
    for contents, expected in ((other.pem, "refused"), (authority, "ok")):
        (folder / hashed_name(authority)).write_bytes(contents)
        assert await outcome(flavour, peer.url, httpcore_rs.TLSConfig(verify=folder)) == expected


async def test_many_files(flavour: Flavour, peer: Peer, certificates: Certificates, tmp_path: Path) -> None:
    for number in range(100):
        file = tmp_path / f"{number}.pem"
        file.write_bytes(certificates.ca.read_bytes())
        config = httpcore_rs.TLSConfig(verify=file)
        if number % 10 == 0:
            assert await outcome(flavour, peer.url, config) == "ok"


# Versions.


@pytest.mark.parametrize("server", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize("minimum", [None, "MINIMUM_SUPPORTED", "TLSv1_2", "TLSv1_3", "MAXIMUM_SUPPORTED"])
async def test_the_minimum_version(
    flavour: Flavour, serve: Serve, certificates: Certificates, server: str, minimum: str | None
) -> None:
    context = certificates.server_context()
    context.minimum_version = context.maximum_version = ssl.TLSVersion[server]
    peer = serve(OK, tls=context)
    version = None if minimum is None else ssl.TLSVersion[minimum]
    config = httpcore_rs.TLSConfig(verify=certificates.ca, minimum_version=version)
    assert config.minimum_version == version
    refused = server == "TLSv1_2" and minimum in ("TLSv1_3", "MAXIMUM_SUPPORTED")
    for arguments in ({}, {"network_backend": flavour.backend()}):
        async with flavour.pool(ssl_context=config, **arguments) as pool:
            if refused:
                with pytest.raises(httpcore.ConnectError, match=r"(?i)version"):
                    await pool.request("GET", peer.url)
            else:
                assert (await pool.request("GET", peer.url)).content == b"ok"


# Keys with a password.


@pytest.fixture(params=["PKCS8", "TraditionalOpenSSL"])
def encrypted(request: pytest.FixtureRequest, certificates: Certificates, tmp_path: Path) -> tuple[str, str, str]:
    key: Any = serialization.load_pem_private_key(certificates.client_key.read_bytes(), None)
    path = tmp_path / "encrypted.pem"
    encryption = serialization.BestAvailableEncryption(PASSWORD.encode())
    form = getattr(serialization.PrivateFormat, request.param)
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, encryption))
    return str(certificates.client_chain), str(path), PASSWORD


@pytest.fixture
def demanding(serve: Serve, certificates: Certificates) -> Peer:
    """Returns a server that requires a certificate, and answers with the name in it."""

    def script(connection: Any) -> None:
        ((_, name),) = connection.socket.getpeercert()["subjectAltName"]
        always(reply(name.encode()))(connection)

    context = certificates.server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    certificates.authority.configure_trust(context)
    return serve(script, tls=context)


async def test_a_key_with_a_password(
    flavour: Flavour, demanding: Peer, certificates: Certificates, encrypted: tuple[str, str, str]
) -> None:
    config = httpcore_rs.TLSConfig(verify=certificates.ca, cert=encrypted)
    for _ in range(2):
        assert await outcome(flavour, demanding.url, config) == "client@example.org"
    # All else is as before.
    assert await outcome(flavour, demanding.url, httpcore_rs.TLSConfig(cert=encrypted)) == "refused"


def test_a_key_with_a_password_under_httpx(
    demanding: Peer, certificates: Certificates, encrypted: tuple[str, str, str]
) -> None:
    import httpx

    transport = httpcore_rs.SyncTransport(verify=str(certificates.ca), cert=encrypted)
    with httpx.Client(transport=transport) as client:
        assert client.get(demanding.url).text == "client@example.org"


async def test_a_key_with_a_password_and_http2(
    flavour: Flavour, asgi: AsgiServer, certificates: Certificates, encrypted: tuple[str, str, str]
) -> None:
    config = httpcore_rs.TLSConfig(verify=certificates.ca, cert=encrypted)
    async with flavour.pool(ssl_context=config, http2=True) as pool:
        response = await pool.request("GET", asgi.https + "/bytes/3")
        assert response.content == b"xxx"
        assert response.extensions["http_version"] == b"HTTP/2"


def test_a_wrong_password(encrypted: tuple[str, str, str]) -> None:
    with pytest.raises(ssl.SSLError):
        httpcore_rs.TLSConfig(cert=(*encrypted[:2], "wrong"))


def test_no_password_where_one_is_needed(encrypted: tuple[str, str, str]) -> None:
    with pytest.raises(ssl.SSLError, match=r"encrypted\.pem holds no unencrypted private key"):
        httpcore_rs.TLSConfig(cert=encrypted[:2])


async def test_no_password_where_none_is_needed(flavour: Flavour, demanding: Peer, certificates: Certificates) -> None:
    for cert in (
        (str(certificates.client_chain), str(certificates.client_key), None),
        (str(certificates.client_both), None, None),
    ):
        config = httpcore_rs.TLSConfig(verify=certificates.ca, cert=cert)
        assert await outcome(flavour, demanding.url, config) == "client@example.org"
