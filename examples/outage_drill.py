"""A client under load while its server stalls, resets, refuses and restarts.

Run: python examples/outage_drill.py [SECONDS].

The program has its own server. It prints what the pool's metrics say about each phase, the page that Prometheus would
scrape before, during and after the outage, and a picture of the phases of one request.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

import httpx
from prometheus_client import CollectorRegistry, generate_latest

import httpcore_rs
from httpcore_rs.prometheus import PoolCollector

TASKS = 20
TIMEOUT = httpx.Timeout(0.5, pool=5)
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """A server of HTTP/1.1 that can be put out of order."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.answers.set()
        self.resets = False
        self.port = 0
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.StreamWriter, asyncio.Task[object] | None] = {}

    async def start(self) -> None:
        """Listens, on the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuses new connections, and ends those that exist."""
        if self._server is not None:
            self._server.close()
        for writer in self._connections:
            writer.transport.abort()
        await asyncio.gather(*filter(None, self._connections.values()))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections[writer] = asyncio.current_task()
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                await self.answers.wait()
                if self.resets:
                    break
                await asyncio.sleep(0.005)
                writer.write(RESPONSE)
        del self._connections[writer]
        writer.transport.abort()


async def load(client: httpx.AsyncClient, url: str) -> None:
    """Sends one request after another, whatever becomes of them."""
    while True:
        with contextlib.suppress(httpx.TransportError):
            await client.get(url)
        # Without a pause a server that refuses would be asked thousands of times a second.
        await asyncio.sleep(0.01)


def row(phase: str, before: httpcore_rs.Counters, after: httpcore_rs.Counters) -> str:
    """Returns what happened between two snapshots."""
    failed = {name: after.requests_failed[name] - before.requests_failed[name] for name in after.requests_failed}
    closed = {
        reason: after.connections_closed[reason] - before.connections_closed[reason]
        for reason in after.connections_closed
    }
    return "  ".join(
        [
            f"{phase:9}",
            f"finished {after.requests_finished - before.requests_finished:5}",
            f"opened {after.connections_opened - before.connections_opened:4}",
            f"failed {counts(failed):40}",
            f"closed {counts(closed)}",
        ]
    ).rstrip()


def counts(numbers: dict[str, int]) -> str:
    """Returns the numbers that are not 0."""
    return ", ".join(f"{number} {name}" for name, number in numbers.items() if number) or "none"


def page(registry: CollectorRegistry) -> None:
    """Prints the rows of the metrics page that tell about requests and connections."""
    for line in generate_latest(registry).decode().splitlines():
        name, _, value = line.rpartition(" ")
        if name.startswith(("http_client_requests_total", "http_client_open", "http_client_connections_closed")):
            print("   ", name, round(float(value)))


def picture(timings: httpcore_rs.Timings) -> None:
    """Prints the phases of a request as bars."""
    total, waiting = timings.total or 0.0, timings.waiting or 0.0
    begun = 0.0
    print(f"\nOne request on a new connection, {total * 1000:.1f} ms:")
    for name, end in [
        ("wait for a slot", waiting),
        ("connect", waiting + (timings.connect or 0.0)),
        ("send", timings.sent or 0.0),
        ("wait for the head", timings.first_byte or 0.0),
        ("read the body", total),
    ]:
        start, stop = (round(50 * seconds / total) for seconds in (begun, end))
        print(f"    {name:18}|{' ' * start}{'#' * max(stop - start, 1)}")
        begun = end


async def main(seconds: float) -> None:
    """Runs the drill, with so many seconds or more for each phase."""
    server = Server()
    await server.start()
    url = f"http://127.0.0.1:{server.port}/"
    transport = httpcore_rs.AsyncTransport(limits=httpx.Limits(max_connections=TASKS))
    registry = CollectorRegistry()
    registry.register(PoolCollector({"drill": transport}, by_origin=False))
    async with httpx.AsyncClient(transport=transport, timeout=TIMEOUT) as client:
        # The first request connects, and its server begins in the same process.
        response = await client.get(url, timeout=10)
        tasks = [asyncio.create_task(load(client, url)) for _ in range(TASKS)]

        async def phase(name: str, error: str = "") -> None:
            """Lasts until requests have failed with this error, and for so many seconds at least."""
            before = transport.metrics().total
            await asyncio.sleep(seconds)
            while error and transport.metrics().total.requests_failed.get(error) == before.requests_failed.get(error):
                with contextlib.suppress(httpx.TransportError):
                    await client.get(url)
            print(row(name, before, transport.metrics().total))

        await phase("works")
        print("before the outage:")
        page(registry)
        server.answers.clear()
        await phase("stalls", "ReadTimeout")
        server.resets = True
        server.answers.set()
        await phase("resets", "RemoteProtocolError")
        await server.stop()
        await phase("refuses", "ConnectError")
        print("during the outage:")
        page(registry)
        server.resets = False
        await server.start()
        await phase("restarted")
        await phase("works")
        print("after the outage:")
        page(registry)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        now = transport.metrics().total
        print(f"{now.requests_active} requests, {now.connections_active} connections in use")
    await server.stop()
    picture(response.extensions["timings"])


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 2.0))
