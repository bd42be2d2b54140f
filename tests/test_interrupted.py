"""What the exceptions of others leave behind in the drive loops."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING

import pytest

from peers import silence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from typing import Any

    from conftest import Serve
    from flavours import Flavour


class Loud(Exception):
    """What a body raises."""


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
async def test_the_exception_of_a_body_goes_when_it_was_handled(flavour: Flavour, serve: Serve) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"x"
        raise Loud

    raised: list[weakref.ref[Any]] = []

    async def fail(pool: Any, url: str) -> None:
        body = flavour.body(chunks())
        try:
            await pool.request("POST", url, content=body)
        except Loud as exc:
            raised.append(weakref.ref(exc))

    peer = serve(silence)
    async with flavour.pool() as pool:
        await fail(pool, peer.url)
    # Without the help of the garbage collector.
    assert [exception() for exception in raised] == [None]
