"""A program for httpcore2 over httpcore_rs: only the import differs. Run: python examples/httpcore2_direct.py [URL]."""

from __future__ import annotations

import asyncio
import sys

from httpcore_rs import httpcore2


async def main(url: str) -> None:
    """Reads a response piece by piece, and prints the state of the pool."""
    async with httpcore2.AsyncConnectionPool(max_connections=10, http2=True) as pool:
        async with pool.stream("GET", url) as response:
            async for piece in response.aiter_stream():
                print(f"a piece of {len(piece)} bytes")
        print(response.status, response.extensions["http_version"].decode())
        print(pool)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "https://www.example.com/"))
