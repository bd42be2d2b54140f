"""sentry-sdk, which makes pools of httpcore itself: `install(httpcore=True)` covers them."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest
import sentry_sdk
from sentry_sdk.integrations.asyncio import AsyncioIntegration

import h2_peer
import httpcore_rs
from peers import always, reply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from certificates import Certificates
    from h2_peer import ServeH2
    from peers import Serve

# Peers of this module use TLS, by a context of the SDK.
OVER = ("rustls",)
ANSWER = b"{}"


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    with httpcore_rs.install(httpcore=True):
        yield


def dsn_of(url: str) -> str:
    return url.replace("://", "://key@").rstrip("/") + "/1"


def events_of(body: bytes) -> list[dict[str, Any]]:
    """Returns the events in an envelope: pairs of lines, behind a line for all."""
    lines = gzip.decompress(body).splitlines()[1:]
    pairs = [(json.loads(head), payload) for head, payload in zip(lines[::2], lines[1::2])]
    return [json.loads(payload) for head, payload in pairs if head["type"] == "event"]


def report(url: str, certificates: Certificates, **experiments: Any) -> tuple[Any, type]:
    """Gives a message to a client of sentry-sdk, which sends it in the background. Returns it and its type of pool."""
    integrations = [AsyncioIntegration()] if "transport_async" in experiments else []
    client = sentry_sdk.Client(
        dsn=dsn_of(url),
        ca_certs=str(certificates.ca),
        default_integrations=False,
        integrations=integrations,
        _experiments={**experiments, "transport_compression_algo": "gzip"},
    )
    pool = type(client.transport._pool)
    with sentry_sdk.isolation_scope() as scope:
        scope.set_client(client)
        sentry_sdk.capture_message("it happened")
    return client, pool


def test_http2(serve_h2: ServeH2, certificates: Certificates) -> None:
    peer = serve_h2(h2_peer.says(ANSWER), tls=True)
    client, pool = report(peer.url, certificates, transport_http2=True)
    client.close(timeout=20)
    assert issubclass(pool, httpcore_rs.ConnectionPool)
    (request,) = peer.requests
    assert request.target == b"/api/1/envelope/"
    assert [event["message"] for event in events_of(bytes(request.body))] == ["it happened"]


def test_http11(serve: Serve, certificates: Certificates) -> None:
    peer = serve(always(reply(ANSWER)))
    client, pool = report(peer.url, certificates, transport_http2=True)
    client.close(timeout=20)
    assert issubclass(pool, httpcore_rs.ConnectionPool)
    (request,) = peer.requests
    assert [event["message"] for event in events_of(request.body)] == ["it happened"]


def test_its_transport_for_event_loops(serve_h2: ServeH2, certificates: Certificates) -> None:
    peer = serve_h2(h2_peer.says(ANSWER), tls=True)

    async def main() -> type:
        client, pool = report(peer.url, certificates, transport_async=True)
        # Sends what is in its queue.
        await client.transport.flush(20)
        return pool

    assert issubclass(asyncio.run(main()), httpcore_rs.AsyncConnectionPool)
    (request,) = peer.requests
    assert [event["message"] for event in events_of(bytes(request.body))] == ["it happened"]
