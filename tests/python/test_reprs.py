"""`repr()` of what logs and trace events show: it says what an object is for, and no password."""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING, Any

import httpcore_rs
from peers import always, reply

if TYPE_CHECKING:
    from pathlib import Path

    from certificates import Certificates
    from flavours import Flavour
    from peers import Serve

OK = always(reply(b"ok"))
ENDS = r"127\.0\.0\.1:\d+ to 127\.0\.0\.1:{port}"


async def test_streams(flavour: Flavour, serve: Serve) -> None:
    peer = serve(OK)
    ends = ENDS.format(port=peer.authority.rpartition(":")[2])
    connected: list[Any] = []

    def note(name: str, info: dict[str, Any]) -> None:
        if name == "connection.connect_tcp.complete":
            connected.append(info["return_value"])

    async def trace(name: str, info: dict[str, Any]) -> None:
        note(name, info)

    extensions = {"trace": trace if flavour.is_async else note}
    async with flavour.pool() as pool:
        async with pool.stream("GET", peer.url, extensions=extensions) as response:
            stream = response.extensions["network_stream"]
            name = flavour.prefixed("NetworkStream")
            assert re.fullmatch(rf"<httpcore_rs\.{name} \[{ends}\]>", repr(stream))
    assert repr(stream) == f"<httpcore_rs.{name} [closed]>"
    assert re.fullmatch(rf"<httpcore_rs\.ConnectedStream \[{ends}\]>", repr(connected[0]))


def test_tls_configs(certificates: Certificates, tmp_path: Path) -> None:
    config = httpcore_rs.TLSConfig
    assert repr(config()) == "httpcore_rs.TLSConfig()"
    assert repr(config(verify=False, trust_env=False)) == "httpcore_rs.TLSConfig(verify=False, trust_env=False)"
    ca, chain, key = str(certificates.ca), str(certificates.client_chain), str(certificates.client_key)
    assert repr(config(verify=ca, cert=(chain, key, "secret"))) == (
        f"httpcore_rs.TLSConfig(verify={ca!r}, cert={(chain, key)!r})"
    )
    lowest = ssl.TLSVersion.TLSv1_3
    assert repr(config(cadata=certificates.ca.read_text(), minimum_version=lowest)) == (
        f"httpcore_rs.TLSConfig(cadata=..., minimum_version={lowest!r})"
    )
