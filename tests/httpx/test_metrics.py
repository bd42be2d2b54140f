"""Metrics and timings over httpx and httpx2."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import httpcore_rs
from peers import always, reply

if TYPE_CHECKING:
    from flavours import Flavour
    from libraries import Library
    from peers import Serve


async def test_a_transport_has_metrics(flavour: Flavour, library: Library, serve: Serve) -> None:
    peer = serve(always(reply(b"body")))
    transport = library.transport(flavour)
    async with library.client(flavour, using=transport) as client:
        for _ in range(2):
            response = await client.send("GET", peer.url)
            assert response.content == b"body"
        metrics = transport.metrics()
    assert type(metrics) is httpcore_rs.PoolMetrics
    assert (metrics.total.requests_finished, metrics.total.connections_opened) == (2, 1)
    assert metrics.requests == ()


@pytest.mark.parametrize("is_logged", [False, True], ids=["fast", "slow"])
async def test_a_response_has_timings(flavour: Flavour, library: Library, serve: Serve, is_logged: bool) -> None:
    peer = serve(always(reply(b"body")))

    async def trace(name: str, info: object) -> None: ...

    # A traced request takes the slow path.
    tracer = trace if flavour.is_async else lambda name, info: None
    extensions = {"trace": tracer} if is_logged else {}
    async with library.client(flavour) as client:
        response = await client.send("GET", peer.url, extensions=extensions)
    timings = response.extensions["timings"]
    assert type(timings) is httpcore_rs.Timings
    assert timings.total >= timings.first_byte > 0
    assert timings.reused is False


async def test_a_warning_option_reaches_the_pool(flavour: Flavour, library: Library) -> None:
    with pytest.raises(ValueError, match="never called"):
        library.transport(flavour, pool_wait_warning=None, on_pool_wait=print)
