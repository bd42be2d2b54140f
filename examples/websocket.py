"""A WebSocket over httpx2, whose extra `ws` it needs. Run: python examples/websocket.py URL, of an echo server."""

from __future__ import annotations

import asyncio
import sys

import httpx2

from httpcore_rs.httpx2 import AsyncTransport


async def main(url: str) -> None:
    """Sends three messages and prints what comes back."""
    async with httpx2.AsyncClient(transport=AsyncTransport(), timeout=10) as client:
        async with client.websocket(url) as session:
            for number in range(3):
                await session.send_text(f"message {number}")
                print(await session.receive_text())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
