"""Steps that tests of HTTP/1.1 and of HTTP/2 share."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

from flavours import FLAVOURS, drive

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from flavours import Flavour, Pool

IDLE = "[Requests: 0 active, 0 queued | Connections: 0 active, 0 idle]"


def asking(pool: Pool, url: str, name: str, count: int) -> Callable[[], Awaitable[None]]:
    """Returns a call that sends this many requests and finds in each response its own request."""

    async def ask() -> None:
        for number in range(count):
            target = f"{name}-{number}"
            content = target.encode() * (number % 50)
            described = json.loads((await pool.request("POST", url + target, content=content)).content)
            assert described["target"] == f"/{target}"
            assert described["length"] == len(content)

    return ask


async def cancel(pool: Pool, job: Callable[[], Awaitable[Any]], begun: Callable[[], object], left: str = IDLE) -> None:
    """Cancels a call when it has reached a certain point, and looks at the pool from within the cancelled task."""
    seen: list[str] = []

    async def watched() -> None:
        try:
            await job()
        finally:
            seen.append(repr(pool))

    task = pool.flavour.start(watched)
    await pool.flavour.until(begun)
    await pool.flavour.sleep(0.01)
    assert not task.done
    task.cancel()
    await task.finished()
    assert task.cancelled
    assert left in seen[0]


async def close_under(flavour: Flavour, pool: Pool, readers: list[Any]) -> None:
    """Closes a pool from another thread, and waits for the error of each task that reads over it."""
    other = FLAVOURS[flavour.name]()
    close = pool.close()
    threading.Thread(target=lambda: other.run(close) if other.is_async else drive(close)).start()
    for reader in readers:
        with pytest.raises(httpcore.NetworkError) as raised:
            await reader.wait()
        assert "close" in str(raised.value)
