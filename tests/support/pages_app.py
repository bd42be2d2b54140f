"""The application behind the programs of the documentation and the examples."""

from __future__ import annotations

import json
from typing import Any

from asgi_app import read_body, send_back

HTML = b"<html><title>Example Domain</title>hello</html>"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers `/items/N` and uploads with JSON, `/events` with server-sent events, `/status/N` with that status.

    `/big.bin` is a body of 2 MiB, `/slow` never answers, `/trailers` has a trailer. WebSocket
    messages are sent back. Everything else is a page.
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
    status, kind, answer = 200, b"text/html", HTML
    if action == "items":
        kind, answer = b"application/json", json.dumps({"number": int(rest[0])}).encode()
    elif action == "events":
        kind, answer = b"text/event-stream", b"".join(b"event: tick\ndata: %d\n\n" % number for number in range(3))
    elif action == "status":
        status = int(rest[0])
    elif action == "big.bin":
        kind, answer = b"application/octet-stream", b"x" * 2**21
    elif action == "slow":
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    elif scope["method"] in ("POST", "PUT"):
        kind, answer = b"application/json", json.dumps({"method": scope["method"], "length": len(body)}).encode()
    headers = [(b"content-type", kind), (b"content-length", str(len(answer)).encode())]
    trailers = action == "trailers"
    await send({"type": "http.response.start", "status": status, "headers": headers, "trailers": trailers})
    await send({"type": "http.response.body", "body": answer})
    if trailers:
        await send({"type": "http.response.trailers", "headers": [(b"x-checksum", b"123")]})
