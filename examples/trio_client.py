"""httpx.AsyncClient under trio. Run: python examples/trio_client.py [URL]."""

from __future__ import annotations

import sys

import httpx
import trio

import httpcore_rs


async def main(url: str) -> None:
    """Sends ten requests at once, and gives up after ten seconds."""
    async with httpx.AsyncClient(transport=httpcore_rs.AsyncTransport()) as client:

        async def fetch(number: int) -> None:
            response = await client.get(url)
            print(number, response.status_code)

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                for number in range(10):
                    nursery.start_soon(fetch, number)


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "https://www.example.com/")
