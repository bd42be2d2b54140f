"""Server-sent events, as they arrive, with httpx2. Run: python examples/server_sent_events.py URL."""

from __future__ import annotations

import asyncio
import sys

import httpx2

from httpcore_rs.httpx2 import AsyncTransport


async def main(url: str) -> None:
    """Prints each event. The `read` timeout is the longest silence between two."""
    timeout = httpx2.Timeout(5, read=60)
    async with httpx2.AsyncClient(transport=AsyncTransport(), timeout=timeout) as client:
        async with client.sse(url) as events:
            async for event in events:
                print(f"{event.event}: {event.data}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
