"""The options of a `TLSConfig` that say what is trusted, shown and kept, against servers of Python's `ssl`."""

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

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

import httpcore_rs
from certificates import hashed_name, issue, revocation_list, server_context
from httpcore_rs import _tls_config
from peers import always, reply
from tls_outcome import outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from certificates import Certificates
    from flavours import Flavour
    from peers import Peer, Serve

OK = always(reply(b"ok"))


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
