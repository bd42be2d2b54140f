"""The application that SDKs are tested against: the endpoints of several providers, as small as their clients allow.

The name of a model says what happens, and ends with a token of the test: `plain-x`; `status_400-x`; `busy-x`: 429 with
`Retry-After` for the first request; `slow-x`: no answer; `held-x`: after the first event the stream waits for
`/-/release?token=x`. `/-/seen?token=x` returns the requests of a test.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from typing import Any
from urllib.parse import parse_qs

from asgi_app import read_body

PIECES = ["one ", "two ", "three"]

seen: dict[str, list[dict[str, Any]]] = defaultdict(list)
released: dict[str, asyncio.Event] = defaultdict(asyncio.Event)


def openai(model: str, text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return {**_named(model), "object": "chat.completion", "choices": [choice], "usage": usage}


def openai_events(model: str) -> list[str]:
    chunks = []
    for number, piece in enumerate(PIECES):
        delta = {"role": "assistant", "content": piece} if number == 0 else {"content": piece}
        last = number == len(PIECES) - 1
        choice = {"index": 0, "delta": delta, "finish_reason": "stop" if last else None}
        chunks.append({**_named(model), "object": "chat.completion.chunk", "choices": [choice]})
    return [*(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks), "data: [DONE]\n\n"]


def _named(model: str) -> dict[str, Any]:
    return {"id": "answer", "created": 1, "model": model}


def anthropic(model: str, text: str) -> dict[str, Any]:
    return {
        "id": "answer",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": text}] if text else [],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }


def anthropic_events(model: str) -> list[str]:
    deltas = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}} for piece in PIECES
    ]
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": anthropic(model, "")},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *deltas,
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ]
    lines = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events]
    # The first one that a client sees is the first delta.
    return ["".join(lines[:3]), *lines[3:]]


def google(_: str, text: str) -> dict[str, Any]:
    content = {"role": "model", "parts": [{"text": text}]}
    return {"candidates": [{"content": content, "finishReason": "STOP", "index": 0}]}


def google_events(model: str) -> list[str]:
    return [f"data: {json.dumps(google(model, piece))}\n\n" for piece in PIECES]


def mcp(request: dict[str, Any]) -> dict[str, Any] | None:
    """Returns the response to a message of the Model Context Protocol; `None` for one that has none."""
    if "id" not in request:
        return None
    if request["method"] == "initialize":
        version = request["params"]["protocolVersion"]
        result: dict[str, Any] = {
            "protocolVersion": version,
            "serverInfo": {"name": "server", "version": "1"},
            "capabilities": {"tools": {}, "logging": {}},
        }
    elif request["method"] == "tools/list":
        result = {"tools": [{"name": "say", "inputSchema": {"type": "object"}}]}
    else:
        result = {"content": [{"type": "text", "text": "hello"}]}
    return {"jsonrpc": "2.0", "id": request["id"], "result": result}


def mcp_events(request: dict[str, Any]) -> list[str]:
    """Returns log messages with the pieces, and then the response."""
    logs = [
        {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": piece}}
        for piece in PIECES
    ]
    return [f"event: message\ndata: {json.dumps(message)}\n\n" for message in (*logs, mcp(request))]


def model_info(model: str) -> dict[str, Any]:
    return {"id": model, "modelId": model, "sha": "0" * 40, "siblings": [], "tags": ["hello"], "private": False}


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    body = await read_body(receive)
    path = scope["path"]
    if path.startswith("/-/"):
        token = parse_qs(scope["query_string"].decode()).get("token", [""])[0]
        if path == "/-/release":
            released[token].set()
        await respond(send, 200, seen[token])
        return
    request = json.loads(body) if body.startswith(b"{") else {}
    found = re.search(r"/(?:models|mcp)/([\w.-]+)", path)
    model = found[1] if found else str(request.get("model", ""))
    kind, _, token = model.rpartition("-")
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    seen[token].append({"path": path, "version": scope["http_version"], "scheme": scope["scheme"], "headers": headers})
    if kind.startswith("status_"):
        await respond(send, int(kind[len("status_") :]), {"error": {"message": "refused", "type": "test"}})
    elif kind == "slow":
        while (await receive())["type"] != "http.disconnect":
            pass
    elif kind == "busy" and len(seen[token]) == 1:
        await respond(send, 429, {"error": {"message": "busy", "type": "test"}}, [(b"retry-after", b"1")])
    else:
        await answer(send, path, request, model, released[token] if kind == "held" else None)


async def answer(send: Any, path: str, request: dict[str, Any], model: str, hold: asyncio.Event | None) -> None:
    """Answers as the provider does whose endpoint it is."""
    if path.startswith("/mcp/"):
        if request.get("method") == "tools/call" and request["params"]["name"] == "tell":
            await stream(send, mcp_events(request), hold)
        elif request:
            content = mcp(request)
            await respond(send, 202 if content is None else 200, content)
        else:
            await respond(send, 405, None)
    elif "/api/models/" in path:
        await respond(send, 200, model_info(model))
    else:
        if path.endswith("/messages"):
            make, events = anthropic, anthropic_events
        elif "GenerateContent" in path or "generateContent" in path:
            make, events = google, google_events
        elif path.endswith("/chat/completions"):
            make, events = openai, openai_events
        else:
            await respond(send, 404, {"error": {"message": f"no endpoint {path}"}})
            return
        if request.get("stream") or "streamGenerateContent" in path:
            await stream(send, events(model), hold)
        else:
            await respond(send, 200, make(model, "hello"))


async def respond(send: Any, status: int, content: Any, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    body = b"" if content is None else json.dumps(content).encode()
    fields = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *(headers or [])]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


async def stream(send: Any, events: list[str], hold: asyncio.Event | None) -> None:
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for number, event in enumerate(events):
        if number == 1 and hold is not None:
            await hold.wait()
        await send({"type": "http.response.body", "body": event.encode(), "more_body": True})
    await send({"type": "http.response.body"})
