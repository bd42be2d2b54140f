"""Facts about a connection that `get_extra_info()` tells, compared with Python's own `ssl` on the same server."""

from __future__ import annotations

import datetime as dt
import os
import ssl
import subprocess
import sys
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import httpcore
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

import engines
import httpcore_rs
from certificates import CLIENT_AUTH, SERVER_AUTH, issue, server_context
from h2_peer import http2_pool
from libraries import LIBRARIES
from peers import always, answers, reply
from proxies import socks5, tunnels

if TYPE_CHECKING:
    from pathlib import Path

    from certificates import Certificates, Issued
    from flavours import Flavour
    from h2_peer import ServeH2
    from peers import Serve

OK = always(reply(b"ok"))
CLOSES = answers(reply(b"ok", headers=[(b"Connection", b"close")]))


def facts(tls: Any) -> dict[str, Any]:
    """Returns what an `ssl.SSLObject` tells, and an object in its place."""
    return {
        "version": tls.version(),
        "cipher": tls.cipher(),
        "protocol": tls.selected_alpn_protocol(),
        "certificate": tls.getpeercert(),
        "der": tls.getpeercert(True),
        "compression": tls.compression(),
        "hostname": tls.server_hostname,
        "side": tls.server_side,
        "chain": tls.get_unverified_chain() if hasattr(ssl.SSLObject, "get_unverified_chain") else None,
    }


async def ask(flavour: Flavour, url: str, **arguments: Any) -> Any:
    """Returns the `ssl_object` of a response that was read, of a pool that is closed by now."""
    async with flavour.pool(**arguments) as pool:
        response = await pool.request("GET", url)
        return response.extensions["network_stream"].get_extra_info("ssl_object")


def trusting(authority: bytes) -> tuple[httpcore_rs.TLSConfig, ssl.SSLContext]:
    context = ssl.create_default_context(cadata=authority.decode())
    context.set_alpn_protocols(["http/1.1"])
    return httpcore_rs.TLSConfig(cadata=authority), context


# Sessions.


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_the_facts_are_those_of_ssl(
    flavour: Flavour, serve: Serve, certificates: Certificates, host: str
) -> None:
    peer = serve(OK, tls=certificates.server_context())
    url = f"https://{host}:{peer.port}/"
    ours, of_ssl = [await ask(flavour, url, ssl_context=context) for context in trusting(certificates.ca.read_bytes())]
    assert isinstance(of_ssl, ssl.SSLObject)
    assert type(ours).__module__ == "httpcore_rs"
    assert facts(ours) == facts(of_ssl)
    assert ours.getpeercert(binary_form=True) == of_ssl.getpeercert(binary_form=True)
    assert facts(ours)["cipher"][1:] == ("TLSv1.3", 256)
    assert ours.session_reused is False
    assert repr(ours) == f'<httpcore_rs.TLSObject ["{host}", TLSv1.3, {ours.cipher()[0]}]>'


@pytest.mark.parametrize("key", ["ECDSA", "RSA"])
@pytest.mark.parametrize("suite", ["AES256-GCM-SHA384", "AES128-GCM-SHA256", "CHACHA20-POLY1305"])
async def test_the_ciphers_of_tls_1_2(flavour: Flavour, serve: Serve, tmp_path: Path, key: str, suite: str) -> None:
    root = issue("Root", ca=True)
    made = rsa.generate_private_key(65537, 2048) if key == "RSA" else None
    context = server_context([issue("leaf", root, names=["localhost"], key=made)], tmp_path / "server.pem")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"ECDHE-{key}-{suite}")
    url = f"https://localhost:{serve(OK, tls=context).port}/"
    ours, of_ssl = [await ask(flavour, url, ssl_context=context) for context in trusting(root.pem)]
    assert facts(ours) == facts(of_ssl)
    assert ours.cipher() == (f"ECDHE-{key}-{suite}", "TLSv1.2", 128 if "128" in suite else 256)
    assert ours.version() == "TLSv1.2"


async def test_without_verification_the_dictionary_is_empty(
    flavour: Flavour, serve: Serve, certificates: Certificates
) -> None:
    peer = serve(OK, tls=certificates.server_context())
    tls = await ask(flavour, peer.url, ssl_context=httpcore_rs.TLSConfig(verify=False))
    assert tls.getpeercert() == {}
    assert tls.getpeercert(True) == ssl.PEM_cert_to_DER_cert(certificates.server.cert_chain_pems[0].bytes().decode())


@pytest.mark.parametrize("alpn", [[], ["http/1.1"]])
async def test_the_protocol_that_the_server_has_chosen(
    flavour: Flavour, serve: Serve, certificates: Certificates, alpn: list[str]
) -> None:
    peer = serve(OK, tls=certificates.server_context(alpn=alpn))
    tls = await ask(flavour, peer.url, ssl_context=httpcore_rs.TLSConfig(verify=False))
    assert tls.selected_alpn_protocol() == (alpn[0] if alpn else None)


async def test_http2(flavour: Flavour, serve_h2: ServeH2, engine: str, certificates: Certificates) -> None:
    peer = serve_h2(lambda session: session.respond(session.read_request(), b"ok"))
    async with http2_pool(flavour) as pool:
        response = await pool.request("GET", peer.url)
        stream = response.extensions["network_stream"]
        tls = stream.get_extra_info("ssl_object")
        assert isinstance(tls, ssl.SSLObject) is (engine == "ssl")
        # native-tls does not tell the version.
        assert tls.version() == (None if engine == "native-tls" else "TLSv1.3")
        assert tls.selected_alpn_protocol() == "h2"
        assert stream.get_extra_info("peername") == ("127.0.0.1", peer.port)
    assert tls.getpeercert(True)


async def test_a_resumed_session(flavour: Flavour, serve: Serve, certificates: Certificates) -> None:
    peer = serve(CLOSES, tls=certificates.server_context())
    config = httpcore_rs.TLSConfig(verify=certificates.ca, cert=str(certificates.client_both))
    async with flavour.pool(ssl_context=config) as pool:
        objects = []
        for _ in range(2):
            async with pool.stream("GET", peer.url) as response:
                await response.read()
                objects.append(response.extensions["network_stream"].get_extra_info("ssl_object"))
    assert [tls.session_reused for tls in objects] == [False, True]
    first, second = map(facts, objects)
    assert first == second


async def test_through_proxies(flavour: Flavour, serve: Serve, engine: str, certificates: Certificates) -> None:
    context = engines.current.trusting(certificates)
    peer = serve(OK, tls=certificates.server_context())
    proxy_tls = certificates.server_context(alpn=())
    url = f"https://named.test:{peer.port}/"
    for proxy in (
        httpcore.Proxy(f"http://{serve(tunnels).authority}"),
        httpcore.Proxy(serve(tunnels, tls=proxy_tls).url, ssl_context=context),
        httpcore.Proxy(f"socks5://{serve(socks5()).authority}"),
    ):
        named = url if proxy.url.scheme != b"socks5" else peer.url
        tls = await ask(flavour, named, ssl_context=context, proxy=proxy)
        assert isinstance(tls, ssl.SSLObject) is (engine == "ssl")
        assert tls.server_hostname == httpcore.URL(named).host.decode()
        assert ("DNS", "named.test") in tls.getpeercert()["subjectAltName"]
    # The connection of a forwarded request ends at the proxy.
    proxy = httpcore.Proxy(serve(OK, tls=proxy_tls).url, ssl_context=context)
    tls = await ask(flavour, "http://named.test/", proxy=proxy)
    assert tls.server_hostname == "127.0.0.1"
    # In a tunnel over plain TCP there is no TLS.
    assert await ask(flavour, serve(OK).url) is None


# The object and the connection.


async def test_what_was_asked_stays_valid(flavour: Flavour, serve: Serve, certificates: Certificates) -> None:
    peer = serve(CLOSES, tls=certificates.server_context())
    async with flavour.pool(ssl_context=httpcore_rs.TLSConfig(verify=certificates.ca)) as pool:
        async with pool.stream("GET", peer.url) as response:
            stream = response.extensions["network_stream"]
            early = facts(stream.get_extra_info("ssl_object"))
            await response.read()
        # The connection is closed; the facts are told for as long as the response exists, the addresses are not.
        assert facts(stream.get_extra_info("ssl_object")) == early
        assert stream.get_extra_info("peername") is None
    kept = stream.get_extra_info("ssl_object")
    del response, stream, pool
    assert facts(kept) == early


async def test_facts_that_are_asked_for_after_the_end(
    flavour: Flavour, serve: Serve, certificates: Certificates
) -> None:
    peer = serve(CLOSES, tls=certificates.server_context())
    async with flavour.pool(ssl_context=httpcore_rs.TLSConfig(verify=certificates.ca)) as pool:
        response = await pool.request("GET", peer.url)
        assert pool.connections == []
    tls = response.extensions["network_stream"].get_extra_info("ssl_object")
    assert tls.version() == "TLSv1.3"
    assert ("DNS", "localhost") in tls.getpeercert()["subjectAltName"]


async def test_trace_events(flavour: Flavour, serve: Serve, engine: str, certificates: Certificates) -> None:
    peer = serve(OK, tls=certificates.server_context())
    seen = {}

    def note(name: str, info: dict[str, Any]) -> None:
        if name in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            stream = info["return_value"]
            seen[name.split(".")[1]] = [stream.get_extra_info(each) for each in ("ssl_object", "peername", "sockname")]

    async def anote(name: str, info: dict[str, Any]) -> None:
        note(name, info)

    async with flavour.pool(ssl_context=engines.current.trusting(certificates)) as pool:
        await pool.request("GET", peer.url, extensions={"trace": anote if flavour.is_async else note})
    plain, secured = seen["connect_tcp"], seen["start_tls"]
    assert plain[0] is None
    # native-tls does not tell the version.
    assert secured[0].version() == (None if engines.current.name == "native-tls" else "TLSv1.3")
    assert secured[0].getpeercert()["subject"]
    assert plain[1:] == secured[1:] == [("127.0.0.1", peer.port), peer.connections[0].address]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_addresses_and_the_socket(flavour: Flavour, serve: Serve, host: str) -> None:
    peer = serve(OK, host=host)
    async with flavour.pool() as pool:
        stream = (await pool.request("GET", peer.url)).extensions["network_stream"]
        sock = stream.get_extra_info("socket")
        assert stream.get_extra_info("peername") == stream.get_extra_info("server_addr") == sock.getpeername()
        assert stream.get_extra_info("sockname") == stream.get_extra_info("client_addr") == sock.getsockname()
        assert stream.get_extra_info("ssl_object") is None


async def test_an_attribute_that_does_not_exist(flavour: Flavour, serve: Serve, certificates: Certificates) -> None:
    peer = serve(OK, tls=certificates.server_context())
    tls = await ask(flavour, peer.url, ssl_context=httpcore_rs.TLSConfig(verify=False))
    for name in ("read", "context", "shared_ciphers"):
        with pytest.raises(AttributeError, match=rf"no attribute '{name}': rustls does TLS, .*ssl\.SSLContext"):
            getattr(tls, name)
    with pytest.raises(AttributeError):
        tls.server_hostname = "other"
    assert not hasattr(tls, "write")


# Certificates.


def name(*attributes: Any) -> x509.Name:
    return x509.Name([x509.NameAttribute(*each) if isinstance(each, tuple) else each for each in attributes])


UNKNOWN = x509.ObjectIdentifier("1.3.6.1.4.1.99999.1")
LOCALHOST = x509.DNSName("localhost")
ADDRESSES = ["127.0.0.1", "2001:db8::1", "::ffff:1.2.3.4", "::"]
INFORMATION = [
    x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier("http://ocsp.test/")),
    x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier("http://ocsp.test/2")),
    x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier("http://ca.test/")),
]
POINTS = [x509.DistributionPoint([x509.UniformResourceIdentifier("http://crl.test/a")], None, None, None)]
TABLE: dict[str, dict[str, Any]] = {
    "plain": {},
    "no constraints": {"ca": None},
    "wildcard": {"names": ["localhost", "*.example.test"]},
    "addresses": {"names": [LOCALHOST, *(x509.IPAddress(ip_address(each)) for each in ADDRESSES)]},
    "other names": {
        "names": [
            LOCALHOST,
            x509.RFC822Name("user@example.test"),
            x509.UniformResourceIdentifier("https://example.test/path"),
            x509.RegisteredID(UNKNOWN),
            x509.OtherName(UNKNOWN, b"\x0c\x04name"),
            x509.DirectoryName(name((NameOID.COMMON_NAME, "Bücher"), (UNKNOWN, "x"))),
        ]
    },
    "UTF-8": {"name": name((NameOID.COMMON_NAME, "Bücher 書籍 😀"), (NameOID.ORGANIZATION_NAME, 'Ünï, "quoted" \\ +'))},
    "all kinds of names": {
        "name": name(
            (NameOID.COUNTRY_NAME, "DE"),
            (NameOID.STATE_OR_PROVINCE_NAME, "Bayern"),
            (NameOID.LOCALITY_NAME, "München"),
            (NameOID.STREET_ADDRESS, "Straße 1"),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, "A"),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, "B"),
            (NameOID.DOMAIN_COMPONENT, "test"),
            (NameOID.EMAIL_ADDRESS, "user@example.test"),
            (NameOID.SERIAL_NUMBER, "7"),
            (NameOID.JURISDICTION_COUNTRY_NAME, "DE"),
            (NameOID.GIVEN_NAME, "a"),
            (NameOID.USER_ID, "id"),
            (NameOID.X500_UNIQUE_IDENTIFIER, "unique"),
            (UNKNOWN, "unknown"),
        )
    },
    "old strings": {
        "name": name(
            (NameOID.COMMON_NAME, "Bücher", _ASN1Type.BMPString),
            (NameOID.ORGANIZATION_NAME, "ascii", _ASN1Type.T61String),
            (NameOID.LOCALITY_NAME, "universal", _ASN1Type.UniversalString),
        )
    },
    "several in one": {
        "name": x509.Name(
            [
                x509.RelativeDistinguishedName(
                    [x509.NameAttribute(NameOID.COMMON_NAME, "a"), x509.NameAttribute(NameOID.USER_ID, "b")]
                ),
                x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "c")]),
            ]
        )
    },
    "empty subject": {"name": "", "names": (), "extra": [(x509.SubjectAlternativeName([LOCALHOST]), True)]},
    "late": {"days": (-1, 365 * 100)},
    "early": {"days": (-365 * 50, 10)},
    "uses": {"uses": ["digital_signature", "key_agreement"], "purposes": [SERVER_AUTH, CLIENT_AUTH]},
    "information": {"extra": [(x509.AuthorityInformationAccess(INFORMATION), False)]},
    "revocation": {"extra": [(x509.CRLDistributionPoints(POINTS), False)]},
    "unknown extension": {"extra": [(x509.UnrecognizedExtension(UNKNOWN, b"\x05\x00"), False)]},
    "long": {"names": [f"name{number}.example.test" for number in range(2000)] + ["localhost"]},
}

if sys.version_info < (3, 13):
    # Since then `ssl` insists on them.
    TABLE["no identifiers"] = {"key_ids": False}


@pytest.mark.parametrize("kind", TABLE)
def test_certificates(serve: Serve, tmp_path: Path, kind: str) -> None:
    root = issue(name((NameOID.COMMON_NAME, "Würzburg"), (UNKNOWN, "root")), ca=True)
    arguments = {"name": "leaf", "names": ["localhost"], **TABLE[kind]}
    compare(serve, tmp_path, [issue(arguments.pop("name"), root, **arguments)], root)


@pytest.mark.parametrize("ca", [True, False])
def test_certificates_that_are_trusted_themselves(serve: Serve, tmp_path: Path, ca: bool) -> None:
    own = issue("own", names=["localhost"], ca=ca)
    compare(serve, tmp_path, [own], own)


def test_certificates_of_trustme(serve: Serve, tmp_path: Path, certificates: Certificates) -> None:
    authority = x509.load_pem_x509_certificate(certificates.ca.read_bytes())
    root = issue("unused")._replace(certificate=authority)
    leaf = certificates.authority.issue_cert(
        "localhost",
        "bücher.example.test",
        "1.2.3.4",
        "::1",
        common_name="Ünï",
        organization_name="Bücher",
        not_after=dt.datetime(2090, 1, 1, tzinfo=dt.timezone.utc),
    )
    context = certificates.server_context(leaf)
    compare_on(serve(OK, tls=context).port, root)


def compare(serve: Serve, directory: Path, chain: list[Issued], root: Issued) -> None:
    compare_on(serve(OK, tls=server_context(chain, directory / "server.pem")).port, root)


def compare_on(port: int, root: Issued) -> None:
    """Asserts that a certificate is shown as `ssl` shows it."""
    shown = []
    for context in trusting(root.pem):
        with httpcore_rs.ConnectionPool(ssl_context=context) as pool:
            response = pool.request("GET", f"https://localhost:{port}/")
            tls = response.extensions["network_stream"].get_extra_info("ssl_object")
            shown.append((tls.getpeercert(), tls.getpeercert(binary_form=True)))
    ours, of_ssl = shown
    assert ours == of_ssl
    assert ours[0]["subjectAltName"]


# httpx's command line.

COMMAND = "import httpcore_rs; httpcore_rs.install(); import {0}; {0}.main()"


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_command_line_prints_them(serve: Serve, certificates: Certificates, library: str) -> None:
    pytest.importorskip(library, reason="httpx2 exists for CPython 3.10 and newer")
    peer = serve(OK, tls=certificates.server_context())
    environment = {**os.environ, "SSL_CERT_FILE": str(certificates.ca), "COLUMNS": "200", "PYTHONUTF8": "1"}
    url = f"https://localhost:{peer.port}/"
    arguments = [sys.executable, "-c", COMMAND.format(library), url, "-v"]
    ended = subprocess.run(arguments, check=False, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for line in (
        f"* Connected to '127.0.0.1' on port {peer.port}",
        "* SSL established using 'TLSv1.3' / 'TLS_AES_256_GCM_SHA384'",
        "* Selected ALPN protocol: 'http/1.1'",
        "* Server certificate:",
        "*     DNS: 'named.test'",
        "HTTP/1.1 200 OK",
    ):
        assert line in ended.stdout
