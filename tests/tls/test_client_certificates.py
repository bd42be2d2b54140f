"""Client certificates of a `TLSConfig`: encrypted keys, certificates in memory, and a function that chooses one."""

from __future__ import annotations

import pickle
import ssl
import subprocess
from typing import TYPE_CHECKING, Any

import httpcore
import pytest
from cryptography.hazmat.primitives import serialization

import httpcore_rs
from certificates import issue
from peers import always, reply
from tls_outcome import outcome

if TYPE_CHECKING:
    from pathlib import Path

    from certificates import Certificates
    from flavours import Flavour
    from peers import Peer, Serve


@pytest.fixture
def demanding(serve: Serve, certificates: Certificates) -> Peer:
    """Returns a server that answers with the name in the client's certificate."""

    def script(connection: Any) -> None:
        found = connection.socket.getpeercert() or {}
        name = ",".join(name for _, name in found.get("subjectAltName", ())) or "none"
        always(reply(name.encode()))(connection)

    context = certificates.server_context()
    context.verify_mode = ssl.CERT_OPTIONAL
    certificates.authority.configure_trust(context)
    return serve(script, tls=context)


NAME = "client@example.org"


def encrypted(certificates: Certificates, form: str, password: bytes) -> bytes:
    key: Any = serialization.load_pem_private_key(certificates.client_key.read_bytes(), None)
    encryption = serialization.BestAvailableEncryption(password)
    return bytes(key.private_bytes(serialization.Encoding.PEM, getattr(serialization.PrivateFormat, form), encryption))


@pytest.mark.parametrize("password", ["text", b"bytes", bytearray(b"array"), lambda: "called", lambda: b"called"])
@pytest.mark.parametrize("form", ["PKCS8", "TraditionalOpenSSL"])
async def test_an_encrypted_key(
    flavour: Flavour, demanding: Peer, certificates: Certificates, form: str, password: Any
) -> None:
    value = password() if callable(password) else password
    key = encrypted(certificates, form, value.encode() if isinstance(value, str) else bytes(value))
    config = httpcore_rs.TLSConfig(verify=certificates.ca, cert=(certificates.client_chain, key, password))
    assert await outcome(flavour, demanding.url, config) == NAME
    with pytest.raises(ssl.SSLError, match="password"):
        httpcore_rs.TLSConfig(cert=(certificates.client_chain, key, "wrong"))
    with pytest.raises(ssl.SSLError, match="password"):
        httpcore_rs.TLSConfig(cert=(certificates.client_chain, key, b"x" * 5000))
    with pytest.raises(ssl.SSLError, match="holds no unencrypted private key"):
        httpcore_rs.TLSConfig(cert=(certificates.client_chain, key))
    with pytest.raises(ssl.SSLError, match="password"):
        httpcore_rs.TLSConfig(cert=(certificates.client_chain, key[:-60] + key[-40:], password))


@pytest.mark.parametrize("cipher", ["-aes128", "-aes192", "-aes256", "-des3"])
async def test_an_encrypted_key_of_the_openssl_program(
    flavour: Flavour, demanding: Peer, certificates: Certificates, tmp_path: Path, openssl: str, cipher: str
) -> None:
    source, target = str(certificates.client_key), tmp_path / "key.pem"
    # The form that OpenSSL writes for one kind of key.
    kind = ["rsa", "-traditional"] if b"RSA" in certificates.client_key.read_bytes() else ["ec"]
    command = [openssl, *kind, "-in", source, cipher, "-passout", "pass:pass word", "-out", str(target)]
    subprocess.run(command, check=True, capture_output=True)  # noqa: ASYNC221  (it takes milliseconds)
    assert b"Proc-Type: 4,ENCRYPTED" in target.read_bytes()
    cert = (certificates.client_chain, target, "pass word")
    assert await outcome(flavour, demanding.url, httpcore_rs.TLSConfig(verify=certificates.ca, cert=cert)) == NAME


async def test_certificates_in_memory(flavour: Flavour, demanding: Peer, certificates: Certificates) -> None:
    chain, key = certificates.client_chain.read_bytes(), certificates.client_key.read_bytes()
    for cert in (certificates.client_both.read_bytes(), (chain, key), (memoryview(chain), bytearray(key), None)):
        config = httpcore_rs.TLSConfig(verify=certificates.ca, cert=cert)
        assert await outcome(flavour, demanding.url, config) == NAME
        assert "PRIVATE" not in repr(config)
        with pytest.raises(ValueError, match="cert as bytes"):
            await outcome(flavour, demanding.url, config, network_backend=flavour.backend())
    with pytest.raises(ssl.SSLError, match="KEY_VALUES_MISMATCH"):
        httpcore_rs.TLSConfig(cert=(chain, certificates.key.read_bytes()))
    for broken in (b"", b"no PEM", chain):
        with pytest.raises(ssl.SSLError, match="given as bytes"):
            httpcore_rs.TLSConfig(cert=broken)


async def test_a_function_chooses_the_certificate(
    flavour: Flavour, demanding: Peer, certificates: Certificates
) -> None:
    hosts: list[str] = []

    def choose(host: str) -> Any:
        hosts.append(host)
        return (certificates.client_chain, certificates.client_key) if host == "localhost" else None

    config = httpcore_rs.TLSConfig(verify=certificates.ca, cert=choose)
    async with flavour.pool(ssl_context=config) as pool:
        for host, expected in (("localhost", NAME), ("127.0.0.1", "none"), ("localhost", NAME)):
            response = await pool.request("GET", f"https://{host}:{demanding.port}/")
            assert response.content.decode() == expected
    # The third request has used the first one's connection.
    assert hosts == ["localhost", "127.0.0.1"]


async def test_sessions_with_a_chosen_certificate_are_resumed(
    flavour: Flavour, demanding: Peer, certificates: Certificates
) -> None:
    chosen: list[Any] = [certificates.client_both, certificates.client_both, None, certificates.client_both]
    config = httpcore_rs.TLSConfig(verify=certificates.ca, cert=lambda _: chosen.pop(0))
    seen = []
    for _ in range(4):
        async with flavour.pool(ssl_context=config) as pool:
            response = await pool.request("GET", demanding.url)
            stream = response.extensions["network_stream"]
            seen.append((response.content.decode(), stream.get_extra_info("ssl_object").session_reused))
    # A session is never resumed under another certificate.
    assert [name for name, _ in seen] == [NAME, NAME, "none", NAME]
    assert [reused for _, reused in seen[:3]] == [False, True, False]


async def test_an_exception_of_the_function(flavour: Flavour, demanding: Peer, certificates: Certificates) -> None:
    def choose(host: str) -> Any:
        raise LookupError(host)

    async with flavour.pool(ssl_context=httpcore_rs.TLSConfig(verify=certificates.ca, cert=choose)) as pool:
        with pytest.raises(LookupError, match="127"):
            await pool.request("GET", demanding.url)
        assert pool.connections == []
    for wrong, error in ((7, TypeError), ((1, 2, 3, 4), TypeError)):
        config = httpcore_rs.TLSConfig(verify=certificates.ca, cert=lambda _, wrong=wrong: wrong)
        async with flavour.pool(ssl_context=config) as pool:
            with pytest.raises(error, match="cert"):
                await pool.request("GET", demanding.url)
    config = httpcore_rs.TLSConfig(verify=certificates.ca, cert=lambda _: "/missing.pem")
    assert "/missing.pem cannot be read" in await outcome(flavour, demanding.url, config)


# Files that change.


async def test_a_live_pool_reads_changed_files(
    flavour: Flavour, demanding: Peer, certificates: Certificates, tmp_path: Path
) -> None:
    cert, authorities = tmp_path / "client.pem", tmp_path / "ca.pem"
    authorities.write_bytes(certificates.ca.read_bytes())
    first, second = (certificates.authority.issue_cert(f"{name}@example.org") for name in ("first", "second"))
    cert.write_bytes(first.private_key_and_cert_chain_pem.bytes())
    config = httpcore_rs.TLSConfig(verify=authorities, cert=cert, reload=0)
    once = httpcore_rs.TLSConfig(verify=authorities, cert=cert, reload=None)
    async with (
        flavour.pool(ssl_context=config, max_keepalive_connections=0) as pool,
        flavour.pool(ssl_context=once, max_keepalive_connections=0) as fixed,
    ):

        async def name(pool: Any) -> str:
            return str((await pool.request("GET", demanding.url)).content.decode())

        assert await name(pool) == await name(fixed) == "first@example.org"
        cert.write_bytes(second.private_key_and_cert_chain_pem.bytes())
        assert await name(pool) == "second@example.org"
        # What cannot be used leaves in place what was there.
        for unusable in (b"half of", first.cert_chain_pems[0].bytes() + second.private_key_pem.bytes()):
            cert.write_bytes(unusable)
            assert await name(pool) == "second@example.org"
        cert.unlink()
        assert await name(pool) == "second@example.org"
        cert.write_bytes(first.private_key_and_cert_chain_pem.bytes())
        assert await name(pool) == "first@example.org"
        # So do the authorities.
        authorities.write_bytes(issue("other", ca=True).pem)
        with pytest.raises(httpcore.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await name(pool)
        assert await name(fixed) == "first@example.org"


async def test_files_are_looked_at_no_more_often_than_named(
    flavour: Flavour, demanding: Peer, certificates: Certificates, tmp_path: Path
) -> None:
    cert = tmp_path / "client.pem"
    cert.write_bytes(certificates.client_both.read_bytes())
    config = httpcore_rs.TLSConfig(verify=certificates.ca, cert=cert, reload=3600)
    async with flavour.pool(ssl_context=config, max_keepalive_connections=0) as pool:
        for _ in range(2):
            assert (await pool.request("GET", demanding.url)).content.decode() == NAME
            other = certificates.authority.issue_cert("other@example.org")
            cert.write_bytes(other.private_key_and_cert_chain_pem.bytes())


# Pickles.


def password() -> str:
    return "pass word"


def test_pickles_hold_no_secret(certificates: Certificates, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_bytes(encrypted(certificates, "PKCS8", b"pass word"))
    chain, plain = certificates.client_chain, certificates.client_key.read_bytes()
    travels = httpcore_rs.TLSConfig(cert=(chain, key, password), cadata=certificates.ca.read_bytes())
    assert pickle.loads(pickle.dumps(travels)).cert == travels.cert
    assert "pass word" not in repr(travels)
    for cert in ((chain, key, "pass word"), (chain, plain), certificates.client_both.read_bytes()):
        config = httpcore_rs.TLSConfig(cert=cert)
        assert "pass word" not in repr(config)
        assert "BEGIN" not in repr(config)
        with pytest.raises(TypeError, match="is not pickled"):
            pickle.dumps(config)
