"""The ASGI application of the demo, and of the benchmark where nginx is missing."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable
from typing import Any, Callable

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_CHUNK = b"x" * (64 * 1024)
_FILES = {"/1k": 1024, "/64m": 64 * 1024 * 1024}


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Answers one request."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["path"] in _FILES:
        await _file(_FILES[scope["path"]], send)
    elif scope["path"] == "/hello":
        await _answer(send, 200, b"hello\n", content_type=b"text/plain")
    elif scope["path"] == "/json":
        body = await _read(receive)
        said = {"method": scope["method"], "got": json.loads(body)}
        await _answer(send, 200, json.dumps(said).encode(), content_type=b"application/json")
    elif scope["path"] == "/lines":
        await _lines(int(scope["query_string"] or b"10"), send)
    elif scope["path"] == "/digest":
        await _digest(receive, send)
    elif scope["path"] == "/slow":
        await asyncio.sleep(float(scope["query_string"] or b"1"))
        await _answer(send, 200, b"at last\n")
    else:
        await _answer(send, 404, b"not found\n")


async def _answer(send: Send, status: int, body: bytes, content_type: bytes = b"application/octet-stream") -> None:
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _file(size: int, send: Send) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-length", str(size).encode())],
        }
    )
    for start in range(0, size, len(_CHUNK)):
        await send({"type": "http.response.body", "body": _CHUNK[: size - start], "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _lines(count: int, send: Send) -> None:
    """Sends one line every 20 ms, so that a client can show that it gets each at once."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    for number in range(count):
        line = f"line {number}\n".encode()
        await send({"type": "http.response.body", "body": line, "more_body": True})
        await asyncio.sleep(0.02)
    await send({"type": "http.response.body", "body": b""})


async def _digest(receive: Receive, send: Send) -> None:
    digest, length, more = hashlib.sha256(), 0, True
    while more:
        message = await receive()
        digest.update(message.get("body", b""))
        length += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = json.dumps({"length": length, "sha256": digest.hexdigest()}).encode()
    await _answer(send, 200, body, content_type=b"application/json")


async def _read(receive: Receive) -> bytes:
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
