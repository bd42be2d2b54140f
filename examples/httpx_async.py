"""httpx.AsyncClient over httpcore_rs, many requests at once. Run: python examples/httpx_async.py [URL]."""

from __future__ import annotations

import asyncio
import sys

import httpx

import httpcore_rs


async def main(url: str) -> None:
    """Sends twenty requests at once, over at most five connections."""
    limits = httpx.Limits(max_connections=5)
    async with httpx.AsyncClient(transport=httpcore_rs.AsyncTransport(limits=limits), timeout=10) as client:
        responses = await asyncio.gather(*(client.get(url) for _ in range(20)))
        print(sorted(response.status_code for response in responses))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "https://www.example.com/"))
