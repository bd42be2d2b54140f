"""TLS: trusted authorities, names of servers, and the messages of failed handshakes."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import ssl
from typing import TYPE_CHECKING, Any

import httpcore
import pytest
import pytest_httpbin.certs

import engines
import httpcore_rs
from certificates import hashed_name
from peers import always, echo, reply

if TYPE_CHECKING:
    from pathlib import Path

    from certificates import Certificates
    from flavours import Flavour
    from peers import Peer, Serve

OK = always(reply(b"ok"))

pytestmark = pytest.mark.usefixtures("engine")


@pytest.fixture
def peer(serve: Serve, certificates: Certificates) -> Peer:
    """Returns a TLS server whose certificate was issued by `certificates.ca`."""
    return serve(echo, tls=certificates.server_context())


def trusting(certificates: Certificates, **arguments: Any) -> Any:
    return engines.current.trusting(certificates, **arguments)


# Trust.


async def test_an_unknown_authority_is_refused_by_default(flavour: Flavour, peer: Peer) -> None:
    for config in (None, engines.current.trusting_nothing(), httpcore_rs.TLSConfig(verify=True)):
        async with flavour.pool(ssl_context=config) as pool:
            with pytest.raises(httpcore.ConnectError, match=r"(?i)certificate") as raised:
                await pool.request("GET", peer.url)
            assert re.search(r"(?i)issuer|authority", str(raised.value))
            assert pool.connections == []
    assert peer.requests == []


async def test_verify_takes_a_file(flavour: Flavour, peer: Peer, certificates: Certificates) -> None:
    async with flavour.pool(ssl_context=trusting(certificates)) as pool:
        for _ in range(3):
            response = await pool.request("GET", peer.url)
            assert response.status == 200
            assert response.extensions["http_version"] == b"HTTP/1.1"
        assert f"<{flavour.prefixed('HTTPConnection')} ['https://{peer.authority}', HTTP/1.1, IDLE" in repr(
            pool.connections
        )
    assert len(peer.connections) == 1
    await flavour.until(lambda: peer.closed(1))


@pytest.fixture
def ca_directory(certificates: Certificates, tmp_path: Path) -> Path:
    """A directory of authorities under their hashed names, as `openssl rehash` makes it."""
    shutil.copy(certificates.ca, tmp_path / hashed_name(certificates.ca.read_bytes()))
    return tmp_path


async def test_verify_takes_a_directory(flavour: Flavour, peer: Peer, ca_directory: Path) -> None:
    async with flavour.pool(ssl_context=httpcore_rs.TLSConfig(verify=str(ca_directory))) as pool:
        assert (await pool.request("GET", peer.url)).status == 200


async def test_verify_false_accepts_any_certificate(flavour: Flavour, serve: Serve, certificates: Certificates) -> None:
    wrong = serve(OK, tls=certificates.server_context(certificates.authority.issue_cert("elsewhere.test")))
    async with flavour.pool(ssl_context=engines.current.verifying_nothing()) as pool:
        assert (await pool.request("GET", wrong.url)).content == b"ok"


async def test_a_wrong_name_is_refused(flavour: Flavour, serve: Serve, certificates: Certificates) -> None:
    wrong = serve(OK, tls=certificates.server_context(certificates.authority.issue_cert("elsewhere.test")))
    async with flavour.pool(ssl_context=trusting(certificates)) as pool:
        for host in ("127.0.0.1", "localhost"):
            with pytest.raises(httpcore.ConnectError, match=r"(?i)not valid for|doesn't match|mismatch") as raised:
                await pool.request("GET", f"https://{host}:{wrong.port}/")
            assert host in str(raised.value)
        assert pool.connections == []
    assert wrong.requests == []


async def test_an_expired_certificate_is_refused(flavour: Flavour, serve: Serve, certificates: Certificates) -> None:
    import datetime as dt

    past = dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc)
    leaf = certificates.authority.issue_cert("127.0.0.1", not_before=past, not_after=past + dt.timedelta(days=1))
    old = serve(OK, tls=certificates.server_context(leaf))
    async with flavour.pool(ssl_context=trusting(certificates)) as pool:
        with pytest.raises(httpcore.ConnectError, match=r"(?i)expired"):
            await pool.request("GET", old.url)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
async def test_addresses_and_names_are_verified(
    flavour: Flavour, serve: Serve, certificates: Certificates, host: str
) -> None:
    server = serve(OK, host="::1" if host == "::1" else "127.0.0.1", tls=certificates.server_context())
    authority = f"[{host}]" if ":" in host else host
    async with flavour.pool(ssl_context=trusting(certificates)) as pool:
        assert (await pool.request("GET", f"https://{authority}:{server.port}/")).content == b"ok"


async def test_the_sni_hostname_extension_is_asked_for_and_verified(
    flavour: Flavour, serve: Serve, certificates: Certificates
) -> None:
    asked: list[Any] = []
    context = certificates.server_context()
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    server = serve(OK, tls=context)
    async with flavour.pool(ssl_context=trusting(certificates)) as pool:
        await pool.request("GET", server.url, extensions={"sni_hostname": "named.test"})
        await pool.close()
        with pytest.raises(httpcore.ConnectError):
            await pool.request("GET", server.url, extensions={"sni_hostname": "unnamed.test"})
        await pool.request("GET", server.url)
    assert asked == ["named.test", "unnamed.test", None]  # an address is never asked for (RFC 6066, 3)


# The client's own certificate.


@pytest.mark.parametrize("form", ["pair", "both in one file"])
async def test_a_client_certificate(flavour: Flavour, serve: Serve, certificates: Certificates, form: str) -> None:
    context = certificates.server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    certificates.authority.configure_trust(context)
    subjects: list[Any] = []

    def script(connection: Any) -> None:
        subjects.append(connection.socket.getpeercert()["subjectAltName"])
        OK(connection)

    server = serve(script, tls=context)
    pair = (str(certificates.client_chain), str(certificates.client_key))
    cert: Any = pair if form == "pair" else str(certificates.client_both)
    async with flavour.pool(ssl_context=trusting(certificates, cert=cert)) as pool:
        assert (await pool.request("GET", server.url)).content == b"ok"
    assert subjects == [(("email", "client@example.org"),)]


async def test_a_client_certificate_that_is_missing(flavour: Flavour, serve: Serve, certificates: Certificates) -> None:
    context = certificates.server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    server = serve(OK, tls=context)
    async with flavour.pool(ssl_context=trusting(certificates)) as pool:
        # With TLS 1.3 the client receives the alert only after its own handshake is complete.
        with pytest.raises((httpcore.ConnectError, httpcore.ReadError, httpcore.RemoteProtocolError)) as raised:
            await pool.request("GET", server.url)
        assert str(raised.value)
        assert pool.connections == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"verify": "/no/such/file.pem"},
        {"cert": "/no/such/file.pem"},
        {"cert": ("/no/such/file.pem", "/no/such/key.pem")},
    ],
)
def test_files_that_are_not_there_are_named(arguments: dict[str, Any]) -> None:
    with pytest.raises(OSError, match=r"/no/such/file\.pem"):
        httpcore_rs.ConnectionPool(ssl_context=httpcore_rs.TLSConfig(**arguments))


def test_a_file_that_holds_no_certificate_is_named(tmp_path: Path) -> None:
    path = tmp_path / "empty.pem"
    path.write_text("nothing of use\n")
    for arguments in ({"verify": str(path)}, {"cert": str(path)}):
        with pytest.raises((OSError, ValueError), match=r"empty\.pem"):
            httpcore_rs.ConnectionPool(ssl_context=httpcore_rs.TLSConfig(**arguments))


# The environment.


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
@pytest.mark.parametrize("trust_env", [True, False])
async def test_authorities_from_the_environment(
    flavour: Flavour,
    peer: Peer,
    certificates: Certificates,
    ca_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    trust_env: bool,
) -> None:
    # A file has precedence over a directory, and this process may have one set.
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv(variable, str(certificates.ca if variable == "SSL_CERT_FILE" else ca_directory))
    async with flavour.pool(ssl_context=httpcore_rs.TLSConfig(trust_env=trust_env)) as pool:
        if trust_env:
            assert (await pool.request("GET", peer.url)).status == 200
        else:
            with pytest.raises(httpcore.ConnectError):
                await pool.request("GET", peer.url)


async def test_secrets_are_logged_to_the_file_in_the_environment(
    flavour: Flavour, peer: Peer, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log = tmp_path / "keys.log"
    monkeypatch.setenv("SSLKEYLOGFILE", str(log))
    async with flavour.pool(ssl_context=trusting(certificates)) as pool:
        await pool.request("GET", peer.url)
    if engines.current.name == "native-tls":
        assert not log.exists()  # It has no access to the secrets.
        return
    assert re.search(r"(?m)^(CLIENT_TRAFFIC_SECRET_0|CLIENT_RANDOM) [0-9a-f]{64} [0-9a-f]+$", log.read_text())


# Handshakes that fail.


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x03\x00\x02\x02\x28"])
async def test_a_server_that_does_not_speak_tls(flavour: Flavour, serve: Serve, answer: bytes) -> None:
    def script(connection: Any) -> None:
        connection.receive()
        connection.send(answer)

    plain = serve(script)
    async with flavour.pool(ssl_context=engines.current.trusting_nothing()) as pool:
        with pytest.raises(httpcore.ConnectError) as raised:
            await pool.request("GET", f"https://{plain.authority}/")
        assert "127.0.0.1" in str(raised.value)
        assert pool.connections == []
        await flavour.until(lambda: plain.closed(1))


async def test_a_server_that_resets_within_the_handshake(flavour: Flavour, serve: Serve) -> None:
    def script(connection: Any) -> None:
        connection.receive()
        connection.reset()

    plain = serve(script)
    async with flavour.pool(ssl_context=engines.current.trusting_nothing()) as pool:
        with pytest.raises(httpcore.ConnectError) as raised:
            await pool.request("GET", f"https://{plain.authority}/")
        assert str(raised.value)


async def test_http_to_a_tls_server(flavour: Flavour, peer: Peer) -> None:
    async with flavour.pool() as pool:
        with pytest.raises((httpcore.RemoteProtocolError, httpcore.ReadError)):
            await pool.request("GET", f"http://{peer.authority}/")


# Bodies.


async def test_big_bodies_both_ways(flavour: Flavour, serve: Serve, certificates: Certificates) -> None:
    block = bytes(range(256)) * 4096
    down = serve(always(reply(block * 8)), tls=certificates.server_context())
    up = serve(echo, tls=certificates.server_context())
    async with flavour.pool(ssl_context=trusting(certificates)) as pool:
        assert (await pool.request("GET", down.url)).content == block * 8
        for content in (block * 8, flavour.parts(*[block] * 8)):
            described = json.loads((await pool.request("POST", up.url, content=content)).content)
            assert described["sha256"] == hashlib.sha256(block * 8).hexdigest()


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
async def test_tls_versions(flavour: Flavour, serve: Serve, certificates: Certificates, version: str) -> None:
    context = certificates.server_context()
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    used: list[Any] = []

    def script(connection: Any) -> None:
        used.append((connection.socket.version(), connection.socket.selected_alpn_protocol()))
        OK(connection)

    server = serve(script, tls=context)
    async with flavour.pool(ssl_context=trusting(certificates)) as pool:
        assert (await pool.request("GET", server.url)).content == b"ok"
    # A user's context that is never used with HTTP/2 is left as it is.
    assert used == [(version.replace("_", "."), None if engines.current.name == "ssl" else "http/1.1")]


async def test_a_body_until_close_over_tls(flavour: Flavour, serve: Serve, certificates: Certificates) -> None:
    def script(connection: Any) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\n\r\nhello")

    server = serve(script, tls=certificates.server_context())
    async with flavour.pool(ssl_context=trusting(certificates)) as pool:
        assert (await pool.request("GET", server.url)).content == b"hello"


async def test_a_body_that_is_cut_off_over_tls(flavour: Flavour, serve: Serve, certificates: Certificates) -> None:
    # The connection ends without close_notify, within a body of known length.
    def script(connection: Any) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        connection.socket.close()

    server = serve(script, tls=certificates.server_context())
    async with flavour.pool(ssl_context=trusting(certificates)) as pool:
        with pytest.raises((httpcore.RemoteProtocolError, httpcore.ReadError)) as raised:
            await pool.request("GET", server.url)
        assert str(raised.value)
        assert pool.connections == []


async def test_a_public_certificate_file_works(flavour: Flavour, httpbin_secure: Any) -> None:
    config = httpcore_rs.TLSConfig(verify=pytest_httpbin.certs.where())
    async with flavour.pool(ssl_context=config) as pool:
        assert (await pool.request("GET", httpbin_secure.url + "/get")).status == 200


async def test_a_connection_serves_only_the_name_it_was_verified_for(
    flavour: Flavour, serve: Serve, certificates: Certificates
) -> None:
    peer = serve(OK, tls=certificates.server_context(certificates.authority.issue_cert("a.test")))
    async with flavour.pool(ssl_context=trusting(certificates)) as pool:
        for _ in range(2):
            response = await pool.request("GET", peer.url, extensions={"sni_hostname": "a.test"})
            assert response.status == 200
        assert len(peer.connections) == 1
        with pytest.raises(httpcore.ConnectError):
            await pool.request("GET", peer.url, extensions={"sni_hostname": "b.test"})
        with pytest.raises(httpcore.ConnectError):
            await pool.request("GET", peer.url)
