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


async def app(scope: Any, receive: Any, send: Any) -> None:
    """`/echo` describes the request, `/bytes/N` answers with N bytes, `/chunks/N` with N chunks of a KiB."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
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
    else:
        chunks = (bytes([number % 256]) * 1024 for number in range(int(rest[0])))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for chunk in chunks:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body"})
