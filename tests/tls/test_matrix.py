"""Servers of all kinds against each engine and each way to configure it. OpenSSL, by Python's `ssl`, is the oracle.

The outcome has to be the oracle's. `STRICTER` lists where the engine refuses what OpenSSL accepts; none may be laxer.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
from typing import TYPE_CHECKING, Any

import httpcore
import pytest
from cryptography import x509

import engines
import httpcore_rs
from certificates import CLIENT_AUTH, hashed_name, issue, server_context
from openssl_server import OpenSSLServer
from peers import always, reply

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from certificates import Certificates, Issued
    from flavours import Flavour
    from peers import Serve

OK = always(reply(b"ok"))

# Kinds of servers that the engine's own TLS refuses although OpenSSL accepts them, with the reason.
STRICTER = {"no name": "RFC 9110, 4.3.4: OpenSSL looks at the common name of a certificate without names of hosts"}


def oracle(host: str, port: int, context: ssl.SSLContext) -> str:
    """Returns whether OpenSSL completes a handshake and reads an answer."""
    try:
        with socket.create_connection((host, port)) as raw, context.wrap_socket(raw, server_hostname=host) as secured:
            secured.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return "ok" if secured.recv(1) else "refused"
    except (OSError, ValueError):
        return "refused"


async def outcome(flavour: Flavour, url: str, config: Any, **arguments: Any) -> str:
    async with flavour.pool(ssl_context=config, **arguments) as pool:
        try:
            return str((await pool.request("GET", url)).content.decode())
        except (httpcore.NetworkError, httpcore.ProtocolError) as exc:
            return "refused" if str(exc) else "an error without words"


# Certificates.

ADDRESS = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
OTHER_ADDRESS = x509.IPAddress(ipaddress.ip_address("127.0.0.2"))


class Authorities:
    """A trusted authority, one below it, and one that is not trusted."""

    def __init__(self) -> None:
        self.root = issue("root", ca=True)
        self.between = issue("between", self.root, ca=True)
        self.other = issue("other", ca=True)


@pytest.fixture(scope="module")
def authorities() -> Authorities:
    return Authorities()


def chain(kind: str, by: Authorities) -> tuple[str, list[Issued]]:
    """Returns the host that is connected to, and the certificates that its server shows."""
    root, names = by.root, ["localhost"]
    return {
        "valid": lambda: ("localhost", [issue("s", root, names=names)]),
        "expired": lambda: ("localhost", [issue("s", root, names=names, days=(-9, -1))]),
        "not yet valid": lambda: ("localhost", [issue("s", root, names=names, days=(1, 9))]),
        "wrong host": lambda: ("localhost", [issue("s", root, names=["elsewhere.test"])]),
        "no name": lambda: ("localhost", [issue("localhost", root)]),
        "wildcard of the top": lambda: ("localhost", [issue("s", root, names=["*"])]),
        "unknown authority": lambda: ("localhost", [issue("s", by.other, names=names)]),
        "unknown authority, sent": lambda: ("localhost", [issue("s", by.other, names=names), by.other]),
        "self-signed": lambda: ("localhost", [issue("s", names=names)]),
        "below an intermediate": lambda: ("localhost", [issue("s", by.between, names=names), by.between]),
        "intermediate missing": lambda: ("localhost", [issue("s", by.between, names=names)]),
        "address": lambda: ("127.0.0.1", [issue("s", root, names=[ADDRESS])]),
        "other address": lambda: ("127.0.0.1", [issue("s", root, names=[OTHER_ADDRESS])]),
        "address as a DNS name": lambda: ("127.0.0.1", [issue("s", root, names=["127.0.0.1"])]),
        "name for an address": lambda: ("127.0.0.1", [issue("s", root, names=names)]),
        "for clients only": lambda: (
            "localhost",
            [issue("s", root, names=names, purposes=[CLIENT_AUTH])],
        ),
        "signed by no authority": lambda: (
            "localhost",
            [issue("s", (leaf := issue("leaf", root)), names=names), leaf],
        ),
    }[kind]()


KINDS = [
    "valid",
    "expired",
    "not yet valid",
    "wrong host",
    "no name",
    "wildcard of the top",
    "unknown authority",
    "unknown authority, sent",
    "self-signed",
    "below an intermediate",
    "intermediate missing",
    "address",
    "other address",
    "address as a DNS name",
    "name for an address",
    "for clients only",
    "signed by no authority",
]
ACCEPTED = {"valid", "below an intermediate", "address", *STRICTER}


def environment(variable: str, value: object) -> Any:
    """Returns a context manager that sets a variable for the making of a configuration, and the first handshake."""

    @contextlib.contextmanager
    def set_it() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(variable, str(value))
            yield

    return set_it


def ways(file: Path, folder: Path, pem: bytes, backend: Any) -> dict[str, tuple[Any, Any, dict[str, Any]]]:
    """Returns all ways to trust an authority: what to set, what makes the `ssl_context`, and the pool's arguments."""
    nothing, config = contextlib.nullcontext, httpcore_rs.TLSConfig
    by_file, by_folder = environment("SSL_CERT_FILE", file), environment("SSL_CERT_DIR", folder)
    extra = environment("HTTPCORE_RS_EXTRA_CA", file)
    found: dict[str, tuple[Any, Any, dict[str, Any]]] = {
        "verify=file": (nothing, lambda: config(verify=file), {}),
        "verify=folder": (nothing, lambda: config(verify=folder), {}),
        "cadata": (nothing, lambda: config(cadata=pem), {}),
        "extra_ca": (nothing, lambda: config(extra_ca=["system", pem]), {}),
        "SSL_CERT_FILE": (by_file, config, {}),
        "SSL_CERT_FILE, default": (by_file, lambda: None, {}),
        "SSL_CERT_DIR": (by_folder, config, {}),
        "SSL_CERT_DIR, default": (by_folder, lambda: None, {}),
        "HTTPCORE_RS_EXTRA_CA": (extra, config, {}),
        "HTTPCORE_RS_EXTRA_CA, default": (extra, lambda: None, {}),
        "network_backend": (nothing, lambda: config(verify=file), {"network_backend": backend}),
        "ssl.SSLContext": (nothing, lambda: ssl.create_default_context(cafile=str(file)), {}),
    }
    if "native-tls" in engines.ENGINES:
        found["native-tls, file"] = (nothing, lambda: config(verify=file, engine="native-tls"), {})
        found["native-tls, cadata"] = (nothing, lambda: config(cadata=pem, engine="native-tls"), {})
    return found


@pytest.mark.parametrize("kind", KINDS)
async def test_certificates(
    flavour: Flavour, serve: Serve, tmp_path: Path, authorities: Authorities, kind: str
) -> None:
    host, shown = chain(kind, authorities)
    peer = serve(OK, tls=server_context(shown, tmp_path / "server.pem"))
    pem = authorities.root.pem
    file, folder = tmp_path / "ca.pem", tmp_path / "folder"
    file.write_bytes(pem)
    folder.mkdir()
    (folder / hashed_name(pem)).write_bytes(pem)
    expected = oracle(host, peer.port, ssl.create_default_context(cafile=str(file)))
    assert (expected == "ok") is (kind in ACCEPTED)
    found = {}
    for way, (setting, make, arguments) in ways(file, folder, pem, flavour.backend()).items():
        with setting():
            found[way] = await outcome(flavour, f"https://{host}:{peer.port}/", make(), **arguments)
    by_openssl = ("network_backend", "ssl.SSLContext", "native-tls, file", "native-tls, cadata")
    assert found == {way: "refused" if kind in STRICTER and way not in by_openssl else expected for way in found}


# What both sides agree on.

pytest_engine = pytest.mark.usefixtures("engine")


def trusting(certificates: Certificates, **arguments: Any) -> Any:
    return engines.current.trusting(certificates, **arguments)


@pytest_engine
@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1", "TLSv1_2", "TLSv1_3"])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_versions(flavour: Flavour, serve: Serve, certificates: Certificates, version: str) -> None:
    context = certificates.server_context()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    peer = serve(OK, tls=context)
    trusted = ssl.create_default_context(cafile=str(certificates.ca))
    trusted.minimum_version = ssl.TLSVersion.TLSv1_2
    expected = oracle("localhost", peer.port, trusted)
    assert (expected == "ok") is (version in ("TLSv1_2", "TLSv1_3"))
    url = f"https://localhost:{peer.port}/"
    assert await outcome(flavour, url, trusting(certificates)) == expected


@pytest_engine
@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize("shown", ["right", "wrong", "none"])
async def test_client_certificates(
    flavour: Flavour, serve: Serve, certificates: Certificates, tmp_path: Path, version: str, shown: str
) -> None:
    context = certificates.server_context()
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    context.verify_mode = ssl.CERT_REQUIRED
    certificates.authority.configure_trust(context)
    peer = serve(OK, tls=context)
    stranger = issue("stranger", ca=True)
    wrong = issue("client", stranger, names=["client.test"])
    (tmp_path / "wrong.pem").write_bytes(wrong.key_pem + wrong.pem)
    cert = {"right": str(certificates.client_both), "wrong": str(tmp_path / "wrong.pem"), "none": None}[shown]
    trusted = ssl.create_default_context(cafile=str(certificates.ca))
    if cert is not None:
        trusted.load_cert_chain(cert)
    expected = oracle("localhost", peer.port, trusted)
    assert (expected == "ok") is (shown == "right")
    url = f"https://localhost:{peer.port}/"
    assert await outcome(flavour, url, trusting(certificates, cert=cert)) == expected


@pytest_engine
@pytest.mark.parametrize("offered", [(), ("http/1.1",), ("h2",), ("h2", "http/1.1"), ("http/1.1", "h2"), ("spdy/3",)])
@pytest.mark.parametrize("http2", [False, True])
async def test_alpn(
    flavour: Flavour, serve: Serve, certificates: Certificates, offered: tuple[str, ...], http2: bool
) -> None:
    chosen: list[str | None] = []

    def script(connection: Any) -> None:
        chosen.append(connection.socket.selected_alpn_protocol())
        if chosen[-1] != "h2":
            OK(connection)

    peer = serve(script, tls=certificates.server_context(alpn=offered))
    trusted = ssl.create_default_context(cafile=str(certificates.ca))
    if http2 or engines.current.name != "ssl":
        # A user's context that is never used with HTTP/2 is left as it is, as in httpcore.
        trusted.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
    oracle("localhost", peer.port, trusted)
    url = f"https://localhost:{peer.port}/"
    found = await outcome(flavour, url, trusting(certificates), http2=http2)
    assert chosen[0] == chosen[1]
    assert found == ("refused" if chosen[0] == "h2" else "ok")


@pytest_engine
async def test_a_certificate_by_name(
    flavour: Flavour, serve: Serve, certificates: Certificates, tmp_path: Path
) -> None:
    # Without the right name in the handshake, the server shows a certificate that is not trusted.
    default = server_context([issue("other", names=["localhost"])], tmp_path / "other.pem")
    named, asked = certificates.server_context(), []

    def choose(connection: Any, name: str | None, _: ssl.SSLContext) -> None:
        asked.append(name)
        if name == "named.test":
            connection.context = named

    default.sni_callback = choose
    peer = serve(OK, tls=default)
    async with flavour.pool(ssl_context=trusting(certificates), max_keepalive_connections=0) as pool:
        for host, extensions, expected in (
            ("127.0.0.1", {"sni_hostname": "named.test"}, "ok"),
            ("localhost", {}, "refused"),
            ("127.0.0.1", {}, "refused"),
        ):
            url = f"https://{host}:{peer.port}/"
            if expected == "ok":
                assert (await pool.request("GET", url, extensions=extensions)).content == b"ok"
            else:
                with pytest.raises(httpcore.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                    await pool.request("GET", url, extensions=extensions)
    # An address is no name (RFC 6066, 3).
    assert asked == ["named.test", "localhost", None]


@pytest_engine
@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
async def test_resumption(
    flavour: Flavour, serve: Serve, certificates: Certificates, tmp_path: Path, version: str
) -> None:
    context = certificates.server_context()
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    reused: list[bool] = []

    def script(connection: Any) -> None:
        reused.append(connection.socket.session_reused)
        OK(connection)

    peer = serve(script, tls=context)
    # A file of its own: sessions belong to a configuration, and are found by the name of the server.
    file = tmp_path / "ca.pem"
    file.write_bytes(certificates.ca.read_bytes())
    by_ssl = engines.current.name == "ssl"
    config = ssl.create_default_context(cafile=str(file)) if by_ssl else engines.current.config(verify=file)
    for _ in range(2):
        assert await outcome(flavour, peer.url, config) == "ok"
    # Python's ssl and native-tls keep no sessions of clients.
    assert reused == [False, engines.current.name == "rustls"]


class KeyUpdateServer(OpenSSLServer):
    """Updates the keys of its connection and then answers, twice."""

    def __init__(self, openssl: str, certificates: Certificates) -> None:
        super().__init__(openssl, certificates, "-accept", "127.0.0.1:0", "-tls1_3", "-naccept", "1", "-msg")
        self.start()

    def play(self) -> None:
        for end in (b"ab", b"cd"):
            self.read_until(b"\r\n\r\n")
            # `K` updates the keys of the server, and asks for those of the client.
            self.write(b"K\n")
            self.read_until(rb"KeyUpdate")
            self.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + end)


@pytest.fixture
def openssl_server(openssl: str, certificates: Certificates) -> Iterator[KeyUpdateServer]:
    server = KeyUpdateServer(openssl, certificates)
    yield server
    server.stop()


@pytest_engine
async def test_a_key_update(flavour: Flavour, certificates: Certificates, openssl_server: KeyUpdateServer) -> None:
    async with flavour.pool(ssl_context=trusting(certificates)) as pool:
        for expected in (b"ab", b"cd"):
            response = await pool.request("GET", f"https://localhost:{openssl_server.port}/")
            assert response.content == expected
        assert len(pool.connections) == 1


@pytest_engine
async def test_an_end_without_close_notify(flavour: Flavour, serve: Serve, certificates: Certificates) -> None:
    def script(connection: Any) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\n\r\npart")
        connection.socket.shutdown(socket.SHUT_RDWR)

    peer = serve(script, tls=certificates.server_context())
    assert await outcome(flavour, peer.url, trusting(certificates)) == "part"
    if engines.current.name == "rustls":
        strict = trusting(certificates, require_close_notify=True)
        assert await outcome(flavour, peer.url, strict) == "refused"


def test_native_tls_refuses_what_it_does_not_have(certificates: Certificates) -> None:
    if "native-tls" not in engines.ENGINES:
        with pytest.raises(ValueError, match="--features native-tls"):
            httpcore_rs.TLSConfig(engine="native-tls")
        return
    for name, value in (
        ("ciphers", "TLS_AES_128_GCM_SHA256"),
        ("groups", "X25519"),
        ("pins", f"sha256/{'00' * 32}"),
        ("crls", str(certificates.ca)),
        ("keylog", "secrets.log"),
        ("require_close_notify", True),
        ("early_data", True),
        ("cert", lambda _: None),
    ):
        arguments: dict[str, Any] = {name: value}
        with pytest.raises(ssl.SSLError, match=name):
            httpcore_rs.TLSConfig(engine="native-tls", **arguments)
