"""The options of a `TLSConfig` that say what is offered, shown, and accepted, against servers of Python's `ssl`."""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import pickle
import ssl
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpcore
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

import httpcore_rs
from certificates import hashed_name, issue, revocation_list, server_context
from httpcore_rs import _tls_config
from peers import always, reply

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from certificates import Certificates
    from flavours import Flavour
    from peers import Connection, Peer, Serve

OK = always(reply(b"ok"))


async def outcome(flavour: Flavour, url: str, config: Any, **arguments: Any) -> str:
    """Returns the body, or the message of the error."""
    async with flavour.pool(ssl_context=config, **arguments) as pool:
        try:
            response = await pool.request("GET", url)
        except (httpcore.NetworkError, httpcore.ProtocolError) as exc:
            return str(exc)
        return str(response.content.decode())


def facts(connection: Connection) -> None:
    """Answers with the version, the cipher and the protocol of the connection."""
    version, (cipher, *_) = connection.socket.version(), connection.socket.cipher()
    always(reply(f"{version} {cipher} {connection.socket.selected_alpn_protocol()}".encode()))(connection)


@pytest.fixture
def peer(serve: Serve, certificates: Certificates) -> Peer:
    return serve(OK, tls=certificates.server_context())


# Several sources of trust.


@pytest.mark.parametrize("form", ["file", "folder", "bytes", "DER", "list"])
async def test_extra_authorities(
    flavour: Flavour, peer: Peer, serve: Serve, certificates: Certificates, tmp_path: Path, form: str
) -> None:
    own = issue("corporate", ca=True)
    server = issue("server", own, names=["localhost"])
    corporate = f"https://localhost:{serve(OK, tls=server_context([server], tmp_path / 'server.pem')).port}/"
    (tmp_path / "own.pem").write_bytes(own.pem)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / hashed_name(own.pem)).write_bytes(own.pem)
    extra: Any = {
        "file": tmp_path / "own.pem",
        "folder": str(tmp_path / "folder"),
        "bytes": own.pem,
        "DER": own.certificate.public_bytes(serialization.Encoding.DER),
        "list": ["certifi", "system", tmp_path / "own.pem"],
    }[form]
    both = httpcore_rs.TLSConfig(verify=certificates.ca, extra_ca=extra)
    default = httpcore_rs.TLSConfig(extra_ca=extra)
    for arguments in ({}, {"network_backend": flavour.backend()}):
        assert await outcome(flavour, peer.url, both, **arguments) == "ok"
        assert await outcome(flavour, corporate, both, **arguments) == "ok"
        assert await outcome(flavour, corporate, default, **arguments) == "ok"
        assert "CERTIFICATE_VERIFY_FAILED" in await outcome(flavour, peer.url, default, **arguments)


async def test_extra_authorities_by_the_environment(
    flavour: Flavour, peer: Peer, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / hashed_name(issue("other", ca=True).pem)).write_bytes(issue("other", ca=True).pem)
    monkeypatch.setenv("HTTPCORE_RS_EXTRA_CA", f"{certificates.ca}")
    for arguments in ({}, {"network_backend": flavour.backend()}):
        for config in (None, httpcore_rs.TLSConfig(), httpcore_rs.TLSConfig(system_store=True)):
            assert await outcome(flavour, peer.url, config, **arguments) == "ok"
        for config in (
            httpcore_rs.TLSConfig(trust_env=False),
            httpcore_rs.TLSConfig(cadata=issue("other", ca=True).pem),
        ):
            assert "CERTIFICATE_VERIFY_FAILED" in await outcome(flavour, peer.url, config, **arguments)
    monkeypatch.setenv("HTTPCORE_RS_EXTRA_CA", f"{tmp_path / 'missing.pem'}")
    with pytest.raises(FileNotFoundError, match=r"missing\.pem"):
        httpcore_rs.TLSConfig()


# Versions, ciphers, groups and protocols.


@pytest.mark.parametrize("maximum", [None, "TLSv1_2", "TLSv1_3", "MAXIMUM_SUPPORTED"])
@pytest.mark.parametrize("server", [None, "TLSv1_2", "TLSv1_3"])
async def test_the_maximum_version(
    flavour: Flavour, serve: Serve, certificates: Certificates, maximum: str | None, server: str | None
) -> None:
    context = certificates.server_context()
    if server is not None:
        context.minimum_version = context.maximum_version = ssl.TLSVersion[server]
    peer = serve(facts, tls=context)
    version = None if maximum is None else ssl.TLSVersion[maximum]
    config = httpcore_rs.TLSConfig(verify=certificates.ca, maximum_version=version)
    oracle = ssl.create_default_context(cafile=str(certificates.ca))
    oracle.maximum_version = version or ssl.TLSVersion.MAXIMUM_SUPPORTED
    allowed = {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}
    expected = allowed[server or ("TLSv1_2" if maximum == "TLSv1_2" else "TLSv1_3")]
    if (maximum, server) == ("TLSv1_2", "TLSv1_3"):
        expected = "refused"
    for tls, arguments in ((config, {}), (config, {"network_backend": flavour.backend()}), (oracle, {})):
        found = await outcome(flavour, peer.url, tls, **arguments)
        assert (found.split()[0] if found.startswith("TLS") else "refused") == expected


@pytest.mark.parametrize(
    ("ciphers", "expected"),
    [
        ("TLS_AES_128_GCM_SHA256", "TLSv1.3 TLS_AES_128_GCM_SHA256"),
        (["TLS_CHACHA20_POLY1305_SHA256"], "TLSv1.3 TLS_CHACHA20_POLY1305_SHA256"),
        ("ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384", "TLSv1.2 ECDHE-"),
        (["TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"], "TLSv1.2 ECDHE-ECDSA-CHACHA20-POLY1305"),
    ],
)
async def test_ciphers(flavour: Flavour, serve: Serve, certificates: Certificates, ciphers: Any, expected: str) -> None:
    peer = serve(facts, tls=certificates.server_context())
    config = httpcore_rs.TLSConfig(verify=certificates.ca, ciphers=ciphers)
    assert (await outcome(flavour, peer.url, config)).startswith(expected)


def hello(config: Any, certificates: Certificates, **arguments: Any) -> bytes:
    """Returns the ClientHello that a configuration sends, without the headers of its records."""
    import socket
    import threading

    received = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def record() -> None:
            accepted, _ = listener.accept()
            with accepted, accepted.makefile("rb") as file:
                header = file.read(5)
                received.append(file.read(int.from_bytes(header[3:], "big")))

        thread = threading.Thread(target=record)
        thread.start()
        with httpcore_rs.ConnectionPool(ssl_context=config, **arguments) as pool, pytest.raises(httpcore.ConnectError):
            pool.request("GET", f"https://localhost:{listener.getsockname()[1]}/")
        thread.join()
    return received[0]


def extensions(hello: bytes) -> dict[int, bytes]:
    """Parses the extensions of a ClientHello (RFC 8446, 4.1.2)."""
    rest = hello[4 + 2 + 32 :]
    rest = rest[1 + rest[0] :]
    rest = rest[2 + int.from_bytes(rest[:2], "big") :]
    rest = rest[1 + rest[0] :]
    rest = rest[2:]
    found = {}
    while rest:
        kind, length = int.from_bytes(rest[:2], "big"), int.from_bytes(rest[2:4], "big")
        found[kind] = rest[4 : 4 + length]
        rest = rest[4 + length :]
    return found


def groups_of(hello: bytes) -> list[int]:
    listed = extensions(hello)[10][2:]
    return [int.from_bytes(listed[at : at + 2], "big") for at in range(0, len(listed), 2)]


def key_shares_of(hello: bytes) -> dict[int, int]:
    """Returns the lengths of the key shares, by group."""
    rest, shares = extensions(hello)[51][2:], {}
    while rest:
        group, length = int.from_bytes(rest[:2], "big"), int.from_bytes(rest[2:4], "big")
        shares[group], rest = length, rest[4 + length :]
    return shares


X25519MLKEM768, X25519, P256, P384 = 0x11EC, 0x1D, 0x17, 0x18


def test_the_post_quantum_key_exchange_is_offered_first(certificates: Certificates) -> None:
    # Equal configurations share a cache, which also has the group that a server has chosen before. These share none.
    own: dict[str, Any] = {"verify": certificates.ca, "session_cache_size": 7}
    sent = hello(httpcore_rs.TLSConfig(**own), certificates)
    assert groups_of(sent) == [X25519MLKEM768, X25519, P256, P384]
    # ML-KEM's key of 1184 bytes with X25519's of 32, and X25519's once more for servers without ML-KEM.
    assert key_shares_of(sent) == {X25519MLKEM768: 1216, X25519: 32}
    classical = hello(httpcore_rs.TLSConfig(groups="X25519:P-256:P-384", **own), certificates)
    assert groups_of(classical) == [X25519, P256, P384]
    assert key_shares_of(classical) == {X25519: 32}
    # The group in the list (2), and the share with its header (4 + 1216).
    assert len(sent) - len(classical) == 2 + 4 + 1216


@pytest.mark.parametrize("group", ["X25519", "secp256r1", "P-384"])
async def test_groups(flavour: Flavour, serve: Serve, certificates: Certificates, group: str) -> None:
    peer = serve(OK, tls=certificates.server_context())
    config = httpcore_rs.TLSConfig(verify=certificates.ca, groups=[group])
    assert await outcome(flavour, peer.url, config) == "ok"
    assert len(groups_of(hello(config, certificates))) == 1


@pytest.mark.parametrize(
    ("alpn", "pool", "expected"),
    [
        (None, {}, "http/1.1"),
        ([], {}, "None"),
        (["http/1.1"], {}, "http/1.1"),
        (["http/1.0"], {}, "http/1.0"),
        (["http/1.0", "http/1.1"], {}, "http/1.0"),
    ],
)
async def test_alpn(
    flavour: Flavour, serve: Serve, certificates: Certificates, alpn: Any, pool: dict[str, Any], expected: str
) -> None:
    context = certificates.server_context(alpn=["http/1.0", "http/1.1"] if alpn != ["http/1.1"] else ["http/1.1"])
    if alpn is None:
        context = certificates.server_context()
    peer = serve(facts, tls=context)
    config = httpcore_rs.TLSConfig(verify=certificates.ca, alpn=alpn)
    for arguments in ({}, {"network_backend": flavour.backend()}):
        assert (await outcome(flavour, peer.url, config, **pool, **arguments)).split()[-1] == expected


@pytest.mark.parametrize(
    ("alpn", "pool"),
    [
        (["h2"], {}),
        (["h2", "http/1.1"], {"http2": False}),
        (["http/1.1"], {"http2": True}),
        ([], {"http2": True}),
        (["h2", "http/1.1"], {"http1": False, "http2": True}),
        (["h2", "http/1.1"], {"proxy": httpcore.Proxy("https://localhost:1", ssl_context=None), "http2": False}),
    ],
)
def test_alpn_has_to_fit_the_pool(alpn: list[str], pool: dict[str, Any]) -> None:
    config = httpcore_rs.TLSConfig(alpn=alpn)
    with pytest.raises(ValueError, match="alpn"):
        httpcore_rs.ConnectionPool(ssl_context=config, **pool)


def test_alpn_has_to_fit_a_proxy() -> None:
    with pytest.raises(ValueError, match="proxy"):
        httpcore_rs.HTTPProxy("https://localhost:1", proxy_ssl_context=httpcore_rs.TLSConfig(alpn=["h2"]))


# Client certificates.


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


# Pins.


def pin_of(pem: bytes) -> bytes:
    key = x509.load_pem_x509_certificate(pem).public_key()
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(key.public_bytes(*form)).digest()


@pytest.mark.parametrize("form", ["base64", "curl", "hexadecimal", "with a backup", "of the authority"])
@pytest.mark.parametrize("verify", ["authority", "nothing"])
async def test_pins(flavour: Flavour, peer: Peer, certificates: Certificates, form: str, verify: str) -> None:
    digest = pin_of(certificates.chain.read_bytes())
    base64_pin = f"sha256/{base64.b64encode(digest).decode()}"
    other = f"sha256/{'00' * 32}"
    authority = f"sha256/{pin_of(certificates.ca.read_bytes()).hex()}"
    pins: Any = {
        "base64": base64_pin,
        "curl": [base64_pin.replace("/", "//", 1)],
        "hexadecimal": [f"sha256/{digest.hex()}"],
        "with a backup": [other, base64_pin],
        "of the authority": [authority],
    }[form]
    trusted: Any = certificates.ca if verify == "authority" else False
    expected = await outcome(flavour, peer.url, httpcore_rs.TLSConfig(verify=trusted, pins=pins))
    if form == "of the authority" and not trusted:
        # Nothing proves that the authority has signed the certificate.
        assert "pin mismatch" in expected
    else:
        assert expected == "ok"
    refused = await outcome(flavour, peer.url, httpcore_rs.TLSConfig(verify=trusted, pins=[other]))
    assert "[CERTIFICATE_VERIFY_FAILED] certificate verify failed: public key pin mismatch" in refused
    assert base64_pin in refused


async def test_pins_do_not_replace_the_verification(flavour: Flavour, peer: Peer, certificates: Certificates) -> None:
    pin = f"sha256/{pin_of(certificates.chain.read_bytes()).hex()}"
    assert "unable to get local issuer" in await outcome(flavour, peer.url, httpcore_rs.TLSConfig(pins=[pin]))
    config = httpcore_rs.TLSConfig(verify=certificates.ca, pins=[pin])
    with pytest.raises(ValueError, match="pins"):
        await outcome(flavour, peer.url, config, network_backend=flavour.backend())


# What is not verified.


async def test_the_name_is_not_verified_on_request(
    flavour: Flavour, serve: Serve, tmp_path: Path, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    authority = issue("authority", ca=True)
    wrong = server_context([issue("server", authority, names=["elsewhere.test"])], tmp_path / "wrong.pem")
    url = f"https://localhost:{serve(OK, tls=wrong).port}/"
    _tls_config._warned.clear()
    with caplog.at_level(logging.WARNING, "httpcore_rs.tls"):
        for _ in range(2):
            config = httpcore_rs.TLSConfig(cadata=authority.pem, verify_hostname=False)
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["TLSConfig(verify_hostname=False)"]
    for arguments in ({}, {"network_backend": flavour.backend()}):
        assert await outcome(flavour, url, config, **arguments) == "ok"
        strict = httpcore_rs.TLSConfig(cadata=authority.pem)
        assert "Hostname mismatch" in await outcome(flavour, url, strict, **arguments)
    # The chain is verified all the same.
    other = httpcore_rs.TLSConfig(verify=certificates.ca, verify_hostname=False)
    assert "CERTIFICATE_VERIFY_FAILED" in await outcome(flavour, url, other)


def test_a_warning_once_for_no_verification(caplog: pytest.LogCaptureFixture) -> None:
    _tls_config._warned.clear()
    with caplog.at_level(logging.WARNING, "httpcore_rs.tls"):
        for _ in range(3):
            httpcore_rs.TLSConfig(verify=False)
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["TLSConfig(verify=False)"]


# Revocation lists.


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("good", "ok"),
        ("revoked", "certificate revoked"),
        ("of another authority", "unable to get certificate CRL"),
        ("out of date", "CRL has expired"),
        ("of another key", "CRL signature failure"),
    ],
)
@pytest.mark.parametrize("form", ["file", "PEM", "DER"])
async def test_revocation_lists(
    flavour: Flavour, serve: Serve, tmp_path: Path, case: str, expected: str, form: str
) -> None:
    authority, other = issue("authority", ca=True), issue("other", ca=True)
    server = issue("server", authority, names=["localhost"])
    url = f"https://localhost:{serve(OK, tls=server_context([server], tmp_path / 'server.pem')).port}/"
    pem = {
        "good": lambda: revocation_list(authority, other),
        "revoked": lambda: revocation_list(authority, server),
        "of another authority": lambda: revocation_list(other),
        "out of date": lambda: revocation_list(authority, days=(-5, -1)),
        "of another key": lambda: revocation_list(authority, signed_with=other.key),
    }[case]()
    (tmp_path / "list.pem").write_bytes(pem)
    crls: Any = {
        "file": tmp_path / "list.pem",
        "PEM": pem,
        "DER": [x509.load_pem_x509_crl(pem).public_bytes(serialization.Encoding.DER)],
    }[form]
    config = httpcore_rs.TLSConfig(cadata=authority.pem, crls=crls)
    assert expected in await outcome(flavour, url, config)
    oracle = ssl.create_default_context(cadata=authority.pem.decode())
    oracle.load_verify_locations(tmp_path / "list.pem")
    oracle.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    assert (await outcome(flavour, url, oracle) == "ok") == (expected == "ok")
    if form == "file":
        found = await outcome(flavour, url, config, network_backend=flavour.backend())
        assert (found == "ok") == (expected == "ok")


async def test_an_intermediate_that_is_revoked(flavour: Flavour, serve: Serve, tmp_path: Path) -> None:
    root = issue("root", ca=True)
    between = issue("between", root, ca=True)
    server = issue("server", between, names=["localhost"])
    url = f"https://localhost:{serve(OK, tls=server_context([server, between], tmp_path / 'server.pem')).port}/"
    leafs, roots = revocation_list(between), revocation_list(root, between)
    assert await outcome(flavour, url, httpcore_rs.TLSConfig(cadata=root.pem, crls=leafs)) == "ok"
    refused = await outcome(flavour, url, httpcore_rs.TLSConfig(cadata=root.pem, crls=[leafs, roots]))
    assert "certificate revoked" in refused


# The key log, the session cache, and the end of a stream.


async def test_the_key_log(
    flavour: Flavour, peer: Peer, certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment, own = tmp_path / "environment.log", tmp_path / "own.log"
    monkeypatch.setenv("SSLKEYLOGFILE", str(environment))
    config = httpcore_rs.TLSConfig(verify=certificates.ca, keylog=False, session_cache_size=1)
    assert await outcome(flavour, peer.url, config) == "ok"
    config = httpcore_rs.TLSConfig(verify=certificates.ca, keylog=own)
    assert await outcome(flavour, peer.url, config) == "ok"
    assert not environment.exists()
    lines = own.read_text().splitlines()
    assert {line.split()[0] for line in lines} >= {"CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"}
    assert all(len(line.split()[1]) == 64 for line in lines)
    if sys.platform != "win32":
        assert own.stat().st_mode & 0o777 == 0o600
    assert await outcome(flavour, peer.url, httpcore_rs.TLSConfig(verify=certificates.ca)) == "ok"
    assert "CLIENT_TRAFFIC_SECRET_0" in environment.read_text()
    with pytest.raises(FileNotFoundError):
        httpcore_rs.TLSConfig(keylog=tmp_path / "missing" / "log")


@pytest.mark.parametrize("option", ["-E", "-I"])
def test_the_environment_names_no_key_log_where_it_is_ignored(
    peer: Peer, certificates: Certificates, tmp_path: Path, option: str
) -> None:
    log = tmp_path / "environment.log"
    program = "import sys, httpcore_rs\nconfig = httpcore_rs.TLSConfig(verify=sys.argv[1])\n"
    program += "httpcore_rs.ConnectionPool(config).request('GET', sys.argv[2])"
    command = [sys.executable, option, "-c", program, str(certificates.ca), peer.url]
    subprocess.run(command, check=True, env={**os.environ, "SSLKEYLOGFILE": str(log)})
    assert not log.exists()


@pytest.mark.parametrize(("size", "expected"), [(0, [False, False]), (8, [False, True])])
async def test_the_session_cache(
    flavour: Flavour, peer: Peer, certificates: Certificates, size: int, expected: list[bool]
) -> None:
    config = httpcore_rs.TLSConfig(verify=certificates.ca, session_cache_size=size, keylog=False)
    seen = []
    for _ in range(2):
        async with flavour.pool(ssl_context=config) as pool:
            response = await pool.request("GET", peer.url)
            stream = response.extensions["network_stream"]
            seen.append(stream.get_extra_info("ssl_object").session_reused)
    assert seen == expected


def cut_off(answer: bytes) -> Callable[[Any], None]:
    """Returns a script that answers and ends TCP without close_notify of TLS."""

    def script(connection: Any) -> None:
        connection.read_request()
        connection.send(answer)
        raw = connection.socket
        raw.shutdown(2)

    return script


UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\npart"
FRAMED = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npart"


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
async def test_an_end_without_close_notify(
    flavour: Flavour, serve: Serve, certificates: Certificates, version: str
) -> None:
    context = certificates.server_context()
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    cut, framed = serve(cut_off(UNTIL_CLOSE), tls=context), serve(cut_off(FRAMED), tls=context)

    def ends(connection: Any) -> None:
        connection.read_request()
        connection.send(UNTIL_CLOSE)

    whole = serve(ends, tls=context)
    strict = httpcore_rs.TLSConfig(verify=certificates.ca, require_close_notify=True)
    assert "close_notify" in await outcome(flavour, cut.url, strict)
    assert await outcome(flavour, cut.url, httpcore_rs.TLSConfig(verify=certificates.ca)) == "part"
    assert await outcome(flavour, framed.url, strict) == "part"
    assert await outcome(flavour, whole.url, strict) == "part"


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


# Descriptions, pickles and mistakes.


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, "httpcore_rs.TLSConfig()"),
        ({"verify": False}, "httpcore_rs.TLSConfig(verify=False)"),
        ({"verify_hostname": False, "ciphers": "TLS_AES_128_GCM_SHA256"}, None),
        ({"minimum_version": ssl.TLSVersion.TLSv1_3, "groups": ["X25519"], "alpn": ["http/1.1"]}, None),
        ({"pins": [f"sha256/{'ab' * 32}"], "session_cache_size": 0, "reload": None, "keylog": False}, None),
    ],
)
def test_repr_and_pickles(arguments: dict[str, Any], expected: str | None) -> None:
    config = httpcore_rs.TLSConfig(**arguments)
    if expected is not None:
        assert repr(config) == expected
    assert all(f"{name}=" in repr(config) for name in arguments)
    copy = pickle.loads(pickle.dumps(config))
    assert repr(copy) == repr(config)
    for name, value in arguments.items():
        assert getattr(copy, name) == getattr(config, name) == value


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


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"extra_ca": 7}, TypeError, "extra_ca"),
        ({"extra_ca": "missing.pem"}, FileNotFoundError, "missing.pem"),
        ({"extra_ca": "certifi", "verify": False}, ValueError, "extra_ca"),
        ({"crls": b"", "verify": False}, ValueError, "crls"),
        ({"crls": b"nothing"}, ssl.SSLError, "revocation list"),
        ({"crls": b"\x30\x82\x00\x01\x00"}, ssl.SSLError, "revocation list"),
        ({"crls": 7}, TypeError, "crls"),
        ({"maximum_version": ssl.TLSVersion.TLSv1_1}, ValueError, "below TLS 1.2"),
        ({"maximum_version": "1.3"}, ValueError, "maximum_version"),
        (
            {"minimum_version": ssl.TLSVersion.TLSv1_3, "maximum_version": ssl.TLSVersion.TLSv1_2},
            ValueError,
            "higher",
        ),
        ({"ciphers": "RC4-MD5"}, ValueError, "RC4-MD5"),
        ({"ciphers": []}, ValueError, "ciphers"),
        ({"ciphers": 7}, TypeError, "ciphers"),
        (
            {"ciphers": "TLS_AES_128_GCM_SHA256", "maximum_version": ssl.TLSVersion.TLSv1_2},
            ValueError,
            "none of them",
        ),
        ({"groups": "sect163k1"}, ValueError, "X25519MLKEM768"),
        ({"alpn": ["spdy"]}, ValueError, "spdy"),
        ({"alpn": 7}, TypeError, "alpn"),
        ({"pins": []}, ValueError, "no server"),
        ({"pins": ["sha256/AAAA"]}, ValueError, "hexadecimal"),
        ({"pins": ["sha1/AAAA"]}, ValueError, "sha1"),
        ({"keylog": True}, ValueError, "keylog"),
        ({"session_cache_size": -1}, ValueError, "session_cache_size"),
        ({"reload": -1}, ValueError, "reload"),
        ({"reload": "often"}, ValueError, "reload"),
        ({"verify_hostname": "no"}, TypeError, "verify_hostname"),
        ({"certificate": "x"}, TypeError, "unexpected keyword argument 'certificate'"),
        ({"cert": ("a", "b", 7)}, TypeError, "password"),
        ({"engine": "openssl"}, ValueError, "engine"),
    ],
)
def test_mistakes(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error) as raised:
        httpcore_rs.TLSConfig(**arguments)
    assert words in str(raised.value)
