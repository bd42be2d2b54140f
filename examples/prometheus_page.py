"""A page that Prometheus can scrape: what the pool behind a client does.

Serves the page on a free port, sends some requests, and prints a few lines of the page. A service would leave the page
open, and Prometheus would read it every few seconds. Run: python examples/prometheus_page.py URL
"""

from __future__ import annotations

import sys
import urllib.request

import httpx
from prometheus_client import CollectorRegistry, start_http_server

import httpcore_rs
from httpcore_rs.prometheus import PoolCollector


def main(url: str) -> None:
    """Sends requests, and scrapes the page."""
    transport = httpcore_rs.SyncTransport()
    registry = CollectorRegistry()
    registry.register(PoolCollector({"example": transport}))
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    page = f"http://127.0.0.1:{server.server_port}/metrics"
    print(f"the page is {page}")
    try:
        with httpx.Client(transport=transport) as client:
            for _ in range(3):
                client.get(url)
            with urllib.request.urlopen(page) as response:  # The URL is that of the line above.
                for line in response.read().decode().splitlines():
                    if line.startswith(("http_client_requests_total", "http_client_open_connections")):
                        print(line)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


if __name__ == "__main__":
    main(sys.argv[1])
