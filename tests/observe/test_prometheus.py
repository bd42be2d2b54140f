"""The collector for `prometheus_client`, scraped as Prometheus does it."""

from __future__ import annotations

import gc
import threading
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.parser import text_string_to_metric_families

import httpcore_rs
from httpcore_rs.prometheus import PoolCollector
from peers import always, reply, silence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flavours import Flavour
    from peers import Connection, Serve


class Page:
    """A page that Prometheus can scrape."""

    def __init__(self, registry: CollectorRegistry, port: int) -> None:
        self.registry = registry
        self.url = f"http://127.0.0.1:{port}/metrics"

    def scrape(self) -> dict[str, dict[frozenset[tuple[str, str]], float]]:
        with urllib.request.urlopen(self.url) as response:
            text = response.read().decode()
        samples: dict[str, dict[frozenset[tuple[str, str]], float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                samples.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
        return samples


@pytest.fixture
def page() -> Iterator[Page]:
    registry = CollectorRegistry()
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    try:
        yield Page(registry, server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def of(samples: dict[frozenset[tuple[str, str]], float], **labels: str) -> float:
    """The only sample with these labels."""
    (value,) = [value for key, value in samples.items() if labels.items() <= dict(key).items()]
    return value


async def test_a_scrape_shows_the_pool(flavour: Flavour, serve: Serve, page: Page) -> None:
    peer = serve(always(reply(b"body")))
    async with flavour.pool() as pool:
        collector = PoolCollector({"api": pool.raw})
        page.registry.register(collector)
        for _ in range(3):
            await pool.request("GET", peer.url)
        samples = page.scrape()
        labels = {"pool": "api", "origin": f"http://127.0.0.1:{peer.address[1]}"}
        assert of(samples["http_client_requests_started_total"], **labels) == 3
        assert of(samples["http_client_requests_total"], outcome="finished", **labels) == 3
        assert of(samples["http_client_connections_reused_total"], **labels) == 2
        assert of(samples["http_client_open_connections"], http_connection_state="idle", **labels) == 1
        assert of(samples["http_client_open_connections"], http_connection_state="active", **labels) == 0
        assert of(samples["http_client_request_duration_seconds_count"], **labels) == 3
        assert of(samples["http_client_request_duration_seconds_bucket"], le="+Inf", **labels) == 3
        assert of(samples["http_client_request_duration_seconds_sum"], **labels) > 0
        assert of(samples["http_client_received_bytes_total"], **labels) == 3 * len(reply(b"body"))
        await pool.close()
        assert of(page.scrape()["http_client_connection_duration_seconds_count"], **labels) == 1
        collector.remove("api")
        assert page.scrape() == {}


async def test_failures_and_waits_are_shown(flavour: Flavour, serve: Serve, page: Page) -> None:
    def script(connection: Connection) -> None:
        if connection.number == 0:
            silence(connection)
        while True:
            connection.read_request()
            connection.wait(scraped)
            connection.send(reply(b"body"))

    scraped = threading.Event()
    peer = serve(script)
    async with flavour.pool(max_connections=1) as pool:
        page.registry.register(PoolCollector({"api": pool.raw}, by_origin=False))
        with pytest.raises(Exception, match="no response"):
            await pool.request("GET", peer.url, extensions={"timeout": {"read": 0.01}})
        timeout = {"timeout": {"read": 30.0, "pool": 30.0}}
        tasks = [flavour.start(lambda: pool.request("GET", peer.url, extensions=timeout)) for _ in range(2)]

        def one_waits() -> bool:
            total = pool.raw.metrics().total
            return bool(total.requests_waiting == total.requests_active == 1)

        await flavour.until(one_waits)
        samples = page.scrape()
        scraped.set()
        assert of(samples["http_client_requests_total"], outcome="failed", error_type="ReadTimeout", pool="api") == 1
        assert of(samples["http_client_connections_closed_total"], reason="failed", pool="api") == 1
        assert of(samples["http_client_waiting_requests"], pool="api") == 1
        assert of(samples["http_client_active_requests"], pool="api") == 1
        for task in tasks:
            assert (await task.wait()).content == b"body"


def test_a_pool_that_is_gone_is_not_shown(page: Page) -> None:
    pool: Any = httpcore_rs.ConnectionPool()
    collector = PoolCollector({"a": pool})
    page.registry.register(collector)
    collector.add("b", httpcore_rs.SyncTransport())
    gc.collect()
    samples = page.scrape()
    # It has sent nothing: there is no origin to show.
    assert samples.get("http_client_active_requests", {}) == {}
    del pool
    gc.collect()
    assert collector._sources.read() == []


def test_other_objects_are_refused() -> None:
    with pytest.raises(TypeError, match="object has not"):
        PoolCollector({"a": object()})  # type: ignore[dict-item]


def test_scrapes_and_requests_at_the_same_time(serve: Serve, page: Page) -> None:
    peer = serve(always(reply(b"body")))
    with httpcore_rs.ConnectionPool() as pool:
        page.registry.register(PoolCollector({"api": pool}, by_origin=False))

        def send() -> None:
            for _ in range(20):
                pool.request("GET", peer.url)

        threads = [threading.Thread(target=send) for _ in range(4)]
        for thread in threads:
            thread.start()
        before = 0.0
        for _ in range(10):
            started = of(page.scrape()["http_client_requests_started_total"], pool="api")
            assert started >= before
            before = started
        for thread in threads:
            thread.join()
        assert of(page.scrape()["http_client_requests_total"], outcome="finished", pool="api") == 80
