"""The four timeouts, and a deadline for a whole request. Run: python examples/timeouts.py URL, of something slow."""

from __future__ import annotations

import asyncio
import sys

import httpx

import httpcore_rs


async def main(url: str) -> None:
    """Waits too long in two ways. In both the connection is closed, and its place in the pool free at once."""
    timeout = httpx.Timeout(5, connect=3, read=0.2, pool=1)
    limits = httpx.Limits(max_connections=1)
    async with httpx.AsyncClient(transport=httpcore_rs.AsyncTransport(limits=limits), timeout=timeout) as client:
        try:
            await client.get(url)
        except httpx.ReadTimeout as exc:
            print(f"ReadTimeout: {exc}")
        try:
            # Python 3.11 and newer also have `async with asyncio.timeout(0.1)`.
            await asyncio.wait_for(client.get(url, timeout=60), timeout=0.1)
        except asyncio.TimeoutError:
            print("the deadline for the whole request has passed")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
