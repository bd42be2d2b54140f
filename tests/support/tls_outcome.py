"""Requests over TLS whose result is a text, and a server that describes its connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpcore

from peers import always, reply

if TYPE_CHECKING:
    from flavours import Flavour
    from peers import Connection


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
