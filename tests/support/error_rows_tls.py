"""The error messages of TLS: rows as in `error_rows`."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Any

import httpcore
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

import httpcore_rs
from certificates import CLIENT_AUTH, issue, revocation_list, server_context
from error_rows import OK, ROWS, Bench, Row, row
from peers import always

if TYPE_CHECKING:
    from certificates import Issued
    from peers import Connection

FAILED = "the TLS handshake with <host> failed: "
NOT_VERIFIED = f"{FAILED}[CERTIFICATE_VERIFY_FAILED] certificate verify failed: "
LEAF: dict[str, Any] = {"names": ["localhost"]}


def refused_chain(
    text: str, leaf: dict[str, Any], *, host: str = "localhost", authority: dict[str, Any] | None = None
) -> None:
    """Adds a row for a server whose certificate does not fit."""

    async def provoke(bench: Bench) -> object:
        root = issue("Root", ca=True, **(authority or {}))
        return await get(bench, [issue("leaf", root, **{**LEAF, **leaf})], root, host)

    ROWS.append(Row(NOT_VERIFIED + text, httpcore.ConnectError, provoke))


async def get(bench: Bench, chain: list[Issued], trusted: Issued, host: str = "localhost") -> object:
    peer = bench.serve(always(OK), tls=server_context(chain, bench.directory / "server.pem"))
    context = httpcore_rs.TLSConfig(cadata=trusted.pem)
    return await bench.get(f"https://{host}:{peer.port}/", pool={"ssl_context": context})


refused_chain(
    "Hostname mismatch, certificate is not valid for '<host>': it holds <names>; connect by a name that it holds, or "
    "set the request extension sni_hostname",
    {"names": ["other.test"]},
)
refused_chain(
    "IP address mismatch, certificate is not valid for '<host>': it holds <names>; connect by a name that it holds, or "
    "set the request extension sni_hostname",
    {},
    host="127.0.0.1",
)
refused_chain(
    "certificate has expired: the certificate of <host> was valid until <time>; the server needs a new one, or this "
    "machine's clock is wrong",
    {"days": (-5, -1)},
)
refused_chain(
    "certificate is not yet valid: the certificate of <host> is valid from <time> on; check this machine's clock",
    {"days": (1, 5)},
)
refused_chain(
    "unsuitable certificate purpose: the certificate of <host> is not for servers (its extendedKeyUsage lacks "
    "serverAuth); the server needs another certificate",
    {"purposes": [CLIENT_AUTH]},
)
refused_chain(
    "unsuitable certificate purpose: the key of <host> may not be used for TLS (keyUsage lacks digitalSignature); the "
    "server needs another certificate",
    {"uses": ["crl_sign"]},
)
refused_chain(
    "invalid non-CA certificate (has CA markings): the certificate of <host> is an authority's; the server needs "
    "another certificate",
    {"ca": True},
)
refused_chain(
    "certificate signature failure: a certificate in the chain of <host> is not signed by the authority that it names; "
    "keys of RSA need at least 2048 bits, and signatures SHA-256 or better",
    {"signed_with": ec.generate_private_key(ec.SECP256R1())},
)
refused_chain(
    "unhandled critical extension: the certificate of <host> has a critical extension that is not known; the server "
    "needs another certificate",
    {"extra": [(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)]},
)


@row(
    NOT_VERIFIED + "unable to get local issuer certificate: no trusted authority has signed the certificate of <host>; "
    'pass its CA as TLSConfig(verify="ca.pem")',
    httpcore.ConnectError,
)
async def unknown_authority(bench: Bench) -> object:
    return await get(bench, [issue("leaf", issue("Root", ca=True), **LEAF)], issue("Other", ca=True))


@row(
    NOT_VERIFIED + "self-signed certificate in certificate chain: the authority <name>, which <host> has sent, is not "
    'trusted; if it is the right one, pass its certificate as TLSConfig(verify="ca.pem")',
    httpcore.ConnectError,
)
async def untrusted_root(bench: Bench) -> object:
    root = issue("Root", ca=True)
    return await get(bench, [issue("leaf", root, **LEAF), root], issue("Other", ca=True))


@row(
    NOT_VERIFIED
    + "self-signed certificate: <host> shows a certificate that is signed by itself and that is not trusted; "
    'if it is the right one, pass it as TLSConfig(verify="certificate.pem")',
    httpcore.ConnectError,
)
async def self_signed(bench: Bench) -> object:
    return await get(bench, [issue("own", **LEAF)], issue("Other", ca=True))


@row(
    NOT_VERIFIED
    + "invalid CA certificate: the authority certificate <name>, in the chain of <host>, may not sign others "
    "(basicConstraints without CA:TRUE, or keyUsage without keyCertSign); it vouches for itself at most: trust the "
    "certificate of an authority instead",
    httpcore.ConnectError,
)
async def no_authority(bench: Bench) -> object:
    own = issue("own", **LEAF)
    return await get(bench, [issue("forged", own, **LEAF)], own)


@row(
    "the TLS handshake with <host> was not begun: [CERTIFICATE_VERIFY_FAILED] certificate verify failed: Hostname "
    "mismatch, certificate is not valid for '<host>': certificates hold names without a dot at the end; leave it out",
    httpcore.ConnectError,
)
async def dot_at_the_end(bench: Bench) -> object:
    peer = bench.serve(always(OK), tls=bench.certificates.server_context())
    context = httpcore_rs.TLSConfig(verify=bench.certificates.ca)
    return await bench.get(peer.url, pool={"ssl_context": context}, extensions={"sni_hostname": "localhost."})


@row(f"{FAILED}[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: <reason of OpenSSL>", httpcore.ConnectError)
async def refused_by_openssl(bench: Bench) -> object:
    peer = bench.serve(always(OK), tls=bench.certificates.server_context())
    return await bench.get(peer.url, pool={"ssl_context": ssl.create_default_context()})


@row(
    "the TLS handshake with <host> has chosen the protocol <protocol> (ALPN), which the ssl.SSLContext offers and "
    "the pool does not speak: it speaks <protocols>",
    httpcore.ConnectError,
)
async def other_protocol(bench: Bench) -> object:
    context = ssl.create_default_context(cafile=str(bench.certificates.ca))
    context.set_alpn_protocols(["spdy/1"])
    peer = bench.serve(always(OK), tls=bench.certificates.server_context(alpn=["spdy/1"]))
    return await bench.get(peer.url, pool={"ssl_context": context})


@row(
    f"{FAILED}[WRONG_VERSION_NUMBER] wrong version number: the server does not speak TLS on this port, which may be "
    "one for http://",
    httpcore.ConnectError,
)
async def no_tls(bench: Bench) -> object:
    return await answered(bench, b"HTTP/1.1 400 Bad Request\r\n\r\n")


@row(f"{FAILED}the server closed the connection", httpcore.ConnectError)
async def closed(bench: Bench) -> object:
    return await answered(bench, b"")


async def answered(bench: Bench, answer: bytes) -> object:
    """Sends a request by TLS to a peer that answers the first message with these bytes, and ends the connection."""

    def script(connection: Connection) -> None:
        connection.receive()
        connection.send(answer)

    return await bench.get(f"https://{bench.serve(script).authority}/")


def alert(number: int, text: str) -> None:
    """Adds a row for an alert of the server."""

    async def provoke(bench: Bench) -> object:
        return await answered(bench, bytes([0x15, 3, 3, 0, 2, 2, number]))

    ROWS.append(Row(FAILED + text, httpcore.ConnectError, provoke))


alert(
    40,
    "[SSLV3_ALERT_HANDSHAKE_FAILURE] the server refused the handshake: it supports none of the offered ciphers, or "
    "it wants a certificate of the client (TLSConfig(cert=...))",
)
alert(
    42,
    "[SSLV3_ALERT_BAD_CERTIFICATE] the server refused the client's certificate, or wants one: pass another one as "
    "TLSConfig(cert=...)",
)
alert(44, "[SSLV3_ALERT_CERTIFICATE_REVOKED] the client's certificate has been revoked, says the server")
alert(45, "[SSLV3_ALERT_CERTIFICATE_EXPIRED] the client's certificate has expired, says the server")
alert(
    48,
    "[TLSV1_ALERT_UNKNOWN_CA] the server does not trust the authority of the client's certificate: pass another one as "
    "TLSConfig(cert=...)",
)
alert(
    70,
    "[TLSV1_ALERT_PROTOCOL_VERSION] the server supports no version of TLS that is allowed here: tlsv1 alert protocol "
    "version",
)
alert(80, "[TLSV1_ALERT_INTERNAL_ERROR] the server has failed")
alert(112, "[TLSV1_UNRECOGNIZED_NAME] the server knows no host of the name <host> (SNI)")
alert(
    116,
    "[TLSV13_ALERT_CERTIFICATE_REQUIRED] the server wants a certificate of the client: pass one as "
    'TLSConfig(cert=("chain.pem", "key.pem"))',
)
alert(
    120,
    "[TLSV1_ALERT_NO_APPLICATION_PROTOCOL] the server speaks none of the protocols that are offered (ALPN)",
)
alert(71, "the server ended the connection with the alert <number> of TLS")

# Configurations.


@row("[Errno <number>] No such file or directory: '<path>'", FileNotFoundError)
async def no_file(bench: Bench) -> object:
    return httpcore_rs.TLSConfig(verify=bench.directory / "none.pem")


@row("<path> holds no certificate that can be used", ssl.SSLError)
async def no_certificate(bench: Bench) -> object:
    path = bench.directory / "empty.pem"
    path.write_bytes(b"")
    return httpcore_rs.TLSConfig(verify=path)


@row("<path> holds no <part>: <reason>", ssl.SSLError)
async def no_key(bench: Bench) -> object:
    return httpcore_rs.TLSConfig(cert=(bench.certificates.client_chain, bench.certificates.ca))


@row(
    "the client certificate <path> and the key <path> cannot be used: [KEY_VALUES_MISMATCH] key values mismatch: the "
    "key is not that of the first certificate in the chain",
    ssl.SSLError,
)
async def other_key(bench: Bench) -> object:
    return httpcore_rs.TLSConfig(cert=(bench.certificates.client_chain, bench.certificates.key))


# Options of a `TLSConfig`.


@row(
    NOT_VERIFIED
    + "public key pin mismatch: none of the keys of <host> is pinned: <pins>; if one of them is right, pass "
    "it in TLSConfig(pins=...)",
    httpcore.ConnectError,
)
async def not_pinned(bench: Bench) -> object:
    return await shaped(bench, pins=f"sha256/{'00' * 32}")


@row(
    NOT_VERIFIED + "unable to get certificate CRL: there is no revocation list of the issuer of the certificate of "
    "<host>; pass a newer one in TLSConfig(crls=...)",
    httpcore.ConnectError,
)
async def no_revocation_list(bench: Bench) -> object:
    return await shaped(bench, crls=revocation_list(issue("Other", ca=True)))


@row(
    NOT_VERIFIED
    + "certificate revoked: a revocation list withdraws the certificate of <host>; the server needs another "
    "certificate",
    httpcore.ConnectError,
)
async def revoked(bench: Bench) -> object:
    root = issue("Root", ca=True)
    leaf = issue("leaf", root, **LEAF)
    peer = bench.serve(always(OK), tls=server_context([leaf], bench.directory / "server.pem"))
    context = httpcore_rs.TLSConfig(cadata=root.pem, crls=revocation_list(root, leaf))
    return await bench.get(f"https://localhost:{peer.port}/", pool={"ssl_context": context})


@row(
    "reading from <origin> failed: [UNEXPECTED_EOF_WHILE_READING] unexpected eof while reading: the connection ended "
    "without close_notify of TLS, so that what came last may be missing (TLSConfig(require_close_notify=True))",
    httpcore.ReadError,
)
async def cut_off(bench: Bench) -> object:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\n\r\npart")
        connection.socket.shutdown(socket.SHUT_RDWR)

    return await shaped(bench, script, require_close_notify=True)


async def shaped(bench: Bench, script: Any = None, **options: Any) -> object:
    root = issue("Root", ca=True)
    shown = server_context([issue("leaf", root, **LEAF)], bench.directory / "server.pem")
    peer = bench.serve(script or always(OK), tls=shown)
    context = httpcore_rs.TLSConfig(cadata=root.pem, **options)
    return await bench.get(f"https://localhost:{peer.port}/", pool={"ssl_context": context})
