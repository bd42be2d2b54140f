"""The application behind the real server of the tests."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


async def read_body(receive: Any) -> bytes:
    parts = []
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


async def send_back(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        if message["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
        elif message["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message.get("text"), "bytes": message.get("bytes")})
        else:
            return


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers `/echo` with a description of the request, `/bytes/N` with N bytes, `/chunks/N` with N chunks of a KiB.

    `/trailers` sends a trailer after the body if the request accepts trailers. WebSocket messages are sent back.
    """
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["type"] == "websocket":
        await send_back(receive, send)
        return
    body = await read_body(receive)
    _, action, *rest = scope["path"].split("/")
    headers: list[tuple[bytes, bytes]] = []
    chunks: Iterable[bytes]
    if action == "echo":
        described = {
            "method": scope["method"],
            "path": scope["path"],
            "length": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
        }
        chunks = [json.dumps(described).encode()]
    elif action == "bytes":
        chunks = [b"x" * int(rest[0])]
        headers = [(b"content-length", rest[0].encode())]
    elif action == "trailers":
        chunks = [b"hello"]
    else:
        chunks = (bytes([number % 256]) * 1024 for number in range(int(rest[0])))
    trailers = action == "trailers"
    await send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": trailers})
    for chunk in chunks:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body"})
    if trailers:
        await send({"type": "http.response.trailers", "headers": [(b"x-checksum", b"123")]})
