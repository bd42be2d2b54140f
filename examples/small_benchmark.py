"""httpx over its own transport and over httpcore_rs, in turn. Run: python examples/small_benchmark.py URL [SECONDS].

For a server on this machine or close by: the figures include its time. `scripts/benchmark` is the thorough one.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time

import httpx

import httpcore_rs

TASKS = 20
ROUNDS = 5
LIMITS = httpx.Limits(max_connections=TASKS, max_keepalive_connections=TASKS)


async def requests_per_second(client: httpx.AsyncClient, url: str, seconds: float) -> float:
    """Returns how many requests a second twenty tasks get answered."""
    start = time.perf_counter()
    count = 0

    async def task() -> None:
        nonlocal count
        while time.perf_counter() - start < seconds:
            (await client.get(url)).raise_for_status()
            count += 1

    await asyncio.gather(*(task() for _ in range(TASKS)))
    return count / (time.perf_counter() - start)


async def main(url: str, seconds: float) -> None:
    """Measures both in turn, so that a busy machine slows both, and prints the medians."""
    transports = {
        "httpx": httpx.AsyncHTTPTransport(limits=LIMITS),
        "httpx over httpcore_rs": httpcore_rs.AsyncTransport(limits=LIMITS),
    }
    clients = {name: httpx.AsyncClient(transport=transport) for name, transport in transports.items()}
    results: dict[str, list[float]] = {name: [] for name in clients}
    for _ in range(ROUNDS):
        for name, client in clients.items():
            results[name].append(await requests_per_second(client, url, seconds / ROUNDS / 2))
    for name, client in clients.items():
        await client.aclose()
        print(f"{name}: {statistics.median(results[name]):,.0f} requests a second")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 4))
