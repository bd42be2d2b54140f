"""Many requests at once over one HTTP/2 connection. Run: python examples/http2.py [URL]."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter

import httpx

import httpcore_rs


async def main(url: str) -> None:
    """Sends a hundred requests, and prints the protocols and the streams that they used."""
    transport = httpcore_rs.AsyncTransport(http2=True, http2_ping_interval=20)
    async with httpx.AsyncClient(transport=transport, timeout=20) as client:
        responses = await asyncio.gather(*(client.get(url) for _ in range(100)))
        print(Counter(response.http_version for response in responses))
        print(f"the last stream: {responses[-1].extensions.get('stream_id')}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "https://www.example.com/"))
