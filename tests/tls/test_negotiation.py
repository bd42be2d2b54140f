"""The offers of a `TLSConfig`: versions, ciphers, groups and protocols, against servers of Python's `ssl`."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

import httpcore_rs
from peers import always, reply
from tls_outcome import facts, outcome

if TYPE_CHECKING:
    from certificates import Certificates
    from flavours import Flavour
    from peers import Serve

OK = always(reply(b"ok"))


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
