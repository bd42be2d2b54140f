"""Messages of TLS errors: the wording of OpenSSL, the fault and its remedy, and no names of Rust."""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

import httpcore_rs
from certificates import CLIENT_AUTH, issue, server_context
from peers import always, reply

if TYPE_CHECKING:
    from pathlib import Path

    from certificates import Certificates
    from flavours import Flavour
    from peers import Serve

OK = always(reply(b"ok"))
# As `UnknownIssuer`, `Other(...)`, `IpAddress("...")`.
NAME_OF_RUST = re.compile(r"\b[A-Z][a-z]+[A-Z][a-z]\w*|\bOther\b|\w\(\"")
FINE = re.compile(r"TLSConfig|SSLContext|OpenSSL|extendedKeyUsage|subjectAltName|basicConstraints")


async def message(flavour: Flavour, url: str, config: Any, **extensions: Any) -> str:
    """Returns the message with which a request fails, and its cause."""
    async with flavour.pool(ssl_context=config) as pool:
        with pytest.raises((httpcore.ConnectError, httpcore.ReadError, httpcore.RemoteProtocolError)) as raised:
            await pool.request("GET", url, extensions=extensions)
    for text in (str(raised.value), str(raised.value.__cause__)):
        assert not NAME_OF_RUST.search(FINE.sub("", text)), text
    return str(raised.value)


LEAF = {"names": ["localhost", "*.example.test"]}


DATE = r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC"
MISMATCH = "Hostname mismatch, certificate is not valid for 'localhost'"


@pytest.mark.parametrize(
    ("leaf", "words", "advice"),
    [
        pytest.param(
            {"names": ["other.test", "*.example.test"]},
            MISMATCH,
            r"it holds DNS:other\.test, DNS:\*\.example\.test;",
            id="names",
        ),
        pytest.param({"names": []}, MISMATCH, "it holds no name of a host", id="no names"),
        pytest.param(
            {"days": (-5, -1)},
            "certificate has expired",
            rf"localhost was valid until {DATE}; the server needs a new one",
            id="expired",
        ),
        pytest.param(
            {"days": (1, 5)},
            "certificate is not yet valid",
            rf"is valid from {DATE} on; check this machine's clock",
            id="early",
        ),
        pytest.param(
            {"purposes": [CLIENT_AUTH]},
            "unsuitable certificate purpose",
            "its extendedKeyUsage lacks serverAuth",
            id="for clients",
        ),
        pytest.param(
            {"uses": ["crl_sign"]}, "unsuitable certificate purpose", "keyUsage lacks digitalSignature", id="key usage"
        ),
        pytest.param(
            {"ca": True},
            "invalid non-CA certificate (has CA markings)",
            "the certificate of localhost is an authority's",
            id="an authority",
        ),
    ],
)
async def test_a_certificate_that_does_not_fit(
    flavour: Flavour, serve: Serve, tmp_path: Path, leaf: dict[str, Any], words: str, advice: str
) -> None:
    root = issue("Root", ca=True)
    peer = serve(OK, tls=server_context([issue("leaf", root, **{**LEAF, **leaf})], tmp_path / "server.pem"))
    text = await message(flavour, f"https://localhost:{peer.port}/", httpcore_rs.TLSConfig(cadata=root.pem))
    assert f"[CERTIFICATE_VERIFY_FAILED] certificate verify failed: {words}: " in text
    assert re.search(advice, text)


async def test_an_untrusted_chain_names_what_to_trust(flavour: Flavour, serve: Serve, tmp_path: Path) -> None:
    root = issue("An\tauthority", ca=True)
    leaf = issue("leaf", root, **LEAF)
    own = issue("own", **LEAF)
    other = httpcore_rs.TLSConfig(cadata=issue("Other", ca=True).pem)

    async def shown(*chain: Any, config: Any = other) -> str:
        peer = serve(OK, tls=server_context(chain, tmp_path / "server.pem"))
        text = await message(flavour, f"https://localhost:{peer.port}/", config)
        return text.partition("certificate verify failed: ")[2]

    assert await shown(leaf) == (
        "unable to get local issuer certificate: no trusted authority has signed the certificate of localhost; "
        'pass its CA as TLSConfig(verify="ca.pem")'
    )
    assert await shown(leaf, root) == (
        'self-signed certificate in certificate chain: the authority "An\\tauthority", which localhost has sent, '
        'is not trusted; if it is the right one, pass its certificate as TLSConfig(verify="ca.pem")'
    )
    assert await shown(own) == (
        "self-signed certificate: localhost shows a certificate that is signed by itself and that is not trusted; "
        'if it is the right one, pass it as TLSConfig(verify="certificate.pem")'
    )
    forged = issue("forged", own, **LEAF)
    assert await shown(forged, config=httpcore_rs.TLSConfig(cadata=own.pem)) == (
        'invalid CA certificate: the authority certificate "own", in the chain of localhost, may not sign others '
        "(basicConstraints without CA:TRUE, or keyUsage without keyCertSign); it vouches for itself at most: trust the "
        "certificate of an authority instead"
    )


async def test_an_address(flavour: Flavour, serve: Serve, tmp_path: Path) -> None:
    root = issue("Root", ca=True)
    peer = serve(OK, tls=server_context([issue("leaf", root, **LEAF)], tmp_path / "server.pem"))
    text = await message(flavour, peer.url, httpcore_rs.TLSConfig(cadata=root.pem))
    assert "IP address mismatch, certificate is not valid for '127.0.0.1': it holds DNS:localhost, " in text


async def test_a_dot_at_the_end(flavour: Flavour, serve: Serve, certificates: Certificates) -> None:
    peer = serve(OK, tls=certificates.server_context())
    text = await message(flavour, peer.url, httpcore_rs.TLSConfig(verify=certificates.ca), sni_hostname="localhost.")
    assert "Hostname mismatch, certificate is not valid for 'localhost.'" in text
    assert text.endswith("without a dot at the end; leave it out")


async def test_a_server_that_does_not_speak_tls(flavour: Flavour, serve: Serve) -> None:
    def script(connection: Any) -> None:
        connection.receive()
        connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    text = await message(flavour, f"https://{serve(script).authority}/", None)
    assert "wrong version number: the server does not speak TLS on this port" in text


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize("shown", [True, False])
async def test_a_server_that_requires_a_certificate(
    flavour: Flavour, serve: Serve, certificates: Certificates, tmp_path: Path, version: str, shown: bool
) -> None:
    context = certificates.server_context()
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    context.verify_mode = ssl.CERT_REQUIRED
    stranger = issue("stranger")
    cert = tmp_path / "client.pem"
    cert.write_bytes(stranger.pem + stranger.key_pem)
    config = httpcore_rs.TLSConfig(verify=certificates.ca, cert=str(cert) if shown else None)
    peer = serve(OK, tls=context)
    async with flavour.pool(ssl_context=config) as pool:
        with pytest.raises((httpcore.ConnectError, httpcore.ReadError, httpcore.RemoteProtocolError)) as raised:
            await pool.request("GET", peer.url)
    text = str(raised.value)
    assert not NAME_OF_RUST.search(FINE.sub("", text))
    # With TLS 1.3 the server may have closed the connection before its reason is read.
    if version == "TLSv1_2" or "alert" in text.lower():
        assert "TLSConfig(cert=" in text


async def test_no_version_in_common(flavour: Flavour, serve: Serve, certificates: Certificates) -> None:
    context = certificates.server_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    config = httpcore_rs.TLSConfig(verify=certificates.ca, minimum_version=ssl.TLSVersion.TLSv1_3)
    assert "no version of TLS that is allowed here" in await message(flavour, serve(OK, tls=context).url, config)


def test_a_key_that_does_not_fit(certificates: Certificates) -> None:
    with pytest.raises(ssl.SSLError, match="the key is not that of the first certificate") as raised:
        httpcore_rs.TLSConfig(cert=(str(certificates.client_chain), str(certificates.key)))
    assert str(raised.value).startswith(
        f"the client certificate {certificates.client_chain} and the key {certificates.key} "
    )
    assert "KEY_VALUES_MISMATCH" in str(raised.value)


# Arguments.


class Liar:
    """A sequence that claims a length beyond all memory."""

    def __len__(self) -> int:
        return 1 << 62

    def __getitem__(self, index: int) -> int:
        return 0


@pytest.mark.parametrize("value", [Liar(), [1, 2, 3], 7, object()])
def test_only_bytes_are_accepted_as_bytes(value: Any) -> None:
    with pytest.raises(TypeError, match="cadata"):
        httpcore_rs.TLSConfig(cadata=value)
    for name in ("auth", "headers"):
        proxy: Any = httpcore.Proxy("http://127.0.0.1:1/")
        scheme = b"socks5" if name == "auth" else b"http"
        proxy.url = httpcore.URL(scheme=scheme, host=b"127.0.0.1", port=1, target=b"/")
        setattr(proxy, name, (value, b"") if name == "auth" else [(b"name", value)])
        with pytest.raises(TypeError):
            httpcore_rs.ConnectionPool(proxy=proxy)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_cadata_may_be_any_buffer(
    flavour: Flavour, serve: Serve, certificates: Certificates, kind: type[Any]
) -> None:
    peer = serve(OK, tls=certificates.server_context())
    config = httpcore_rs.TLSConfig(cadata=kind(certificates.ca.read_bytes()))
    for arguments in ({}, {"network_backend": flavour.backend()}):
        async with flavour.pool(ssl_context=config, **arguments) as pool:
            assert (await pool.request("GET", peer.url)).content == b"ok"
