"""Instruments and spans for OpenTelemetry, read in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpcore
import pytest

import httpcore_rs
from libraries import Library
from peers import always, refused_port, reply, silence

if TYPE_CHECKING:
    from certificates import Certificates
    from flavours import Flavour
    from peers import Serve

pytestmark = pytest.mark.usefixtures("sdk")


@pytest.fixture
def sdk() -> Any:
    return pytest.importorskip("opentelemetry.sdk.metrics", reason="OpenTelemetry does not exist for this CPython")


@pytest.fixture
def httpx_instrumentor() -> Any:
    module = "opentelemetry.instrumentation.httpx"
    return pytest.importorskip(module, reason="OpenTelemetry does not exist for this CPython").HTTPXClientInstrumentor


@pytest.fixture
def reader(sdk: Any) -> Any:
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    return InMemoryMetricReader()


@pytest.fixture
def meter_provider(sdk: Any, reader: Any) -> Any:
    return sdk.MeterProvider([reader])


@pytest.fixture
def exporter(sdk: Any) -> Any:
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    return InMemorySpanExporter()


@pytest.fixture
def tracer_provider(exporter: Any) -> Any:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


def points(reader: Any) -> dict[str, list[Any]]:
    """The data points of each instrument."""
    data = reader.get_metrics_data()
    found: dict[str, list[Any]] = {}
    for resource in data.resource_metrics if data else []:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                found[metric.name] = list(metric.data.data_points)
    return found


def of(points: list[Any], **attributes: Any) -> Any:
    """The only point with these attributes, whose dots are underscores here."""
    wanted = {name.replace("__", "."): value for name, value in attributes.items()}
    (found,) = [point for point in points if wanted.items() <= dict(point.attributes).items()]
    return found


async def test_a_reader_observes_the_pool(flavour: Flavour, serve: Serve, reader: Any, meter_provider: Any) -> None:
    from httpcore_rs.opentelemetry import PoolMeter

    peer = serve(always(reply(b"body")))
    async with flavour.pool() as pool:
        meter = PoolMeter({"api": pool.raw}, meter_provider)
        for _ in range(2):
            await pool.request("GET", peer.url)
        found = points(reader)
        idle = of(found["http.client.open_connections"], http__connection__state="idle")
        assert idle.value == 1
        assert dict(idle.attributes) == {
            "httpcore_rs.pool": "api",
            "url.scheme": "http",
            "server.address": "127.0.0.1",
            "server.port": peer.address[1],
            "http.connection.state": "idle",
        }
        assert of(found["httpcore_rs.requests"], httpcore_rs__outcome="finished").value == 2
        assert of(found["httpcore_rs.connections.opened"]).value == 1
        assert of(found["httpcore_rs.io"], network__io__direction="receive").value == 2 * len(reply(b"body"))
        assert of(found["http.client.active_requests"]).value == 0
        async with pool.stream("GET", peer.url):
            assert of(points(reader)["http.client.active_requests"]).value == 1
        meter.remove("api")


async def test_phases_are_children_of_the_current_span(
    flavour: Flavour,
    serve: Serve,
    certificates: Certificates,
    tracer_provider: Any,
    exporter: Any,
    reader: Any,
    meter_provider: Any,
) -> None:
    from httpcore_rs.opentelemetry import PhaseInstrumentation

    peer = serve(always(reply(b"body")), tls=certificates.server_context())
    instrumentation = PhaseInstrumentation(tracer_provider, meter_provider)
    async with flavour.pool(ssl_context=httpcore_rs.TLSConfig(verify=str(certificates.ca))) as pool:
        instrumentation.instrument(pool.raw)
        tracer = tracer_provider.get_tracer("test")
        url = f"https://localhost:{peer.address[1]}/"
        for number in range(2):
            with tracer.start_as_current_span(f"request {number}"):
                response = await pool.handle(httpcore.Request("GET", url, headers={"Host": "localhost"}))
                assert await response.read() == b"body"
                await response.close()
        instrumentation.uninstrument(pool.raw)
        response = await pool.handle(httpcore.Request("GET", url, headers={"Host": "localhost"}))
        await response.read()
        await response.close()
    spans = exporter.get_finished_spans()
    first, second = (span for span in spans if span.name.startswith("request"))
    children = {
        parent: [span.name for span in spans if span.parent and span.parent.span_id == parent.context.span_id]
        for parent in (first, second)
    }
    prefix = "http.client."
    assert children[first] == [
        prefix + name for name in ("waiting", "dns", "connect", "tls", "send", "response", "body")
    ]
    assert children[second] == [prefix + name for name in ("waiting", "send", "response", "body")]
    assert len(spans) == 2 + 7 + 4
    for span in spans:
        assert first.start_time - 10**6 <= span.start_time <= span.end_time
    (duration,) = points(reader)["http.client.request.duration"]
    assert duration.count == 2
    assert dict(duration.attributes) == {
        "http.request.method": "GET",
        "url.scheme": "https",
        "server.address": "localhost",
        "server.port": peer.address[1],
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
    }


async def test_failures_are_recorded(
    flavour: Flavour, serve: Serve, tracer_provider: Any, exporter: Any, reader: Any, meter_provider: Any
) -> None:
    from httpcore_rs.opentelemetry import PhaseInstrumentation

    peer = serve(silence)
    async with flavour.pool() as pool:
        PhaseInstrumentation(tracer_provider, meter_provider).instrument(pool.raw)
        with refused_port() as port, pytest.raises(httpcore.ConnectError):
            await pool.handle(httpcore.Request("GET", f"http://127.0.0.1:{port}/", headers={"Host": "a"}))
        extensions = {"timeout": {"read": 0.01}}
        with pytest.raises(httpcore.ReadTimeout):
            await pool.handle(httpcore.Request("GET", peer.url, headers={"Host": "a"}, extensions=extensions))
    durations = points(reader)["http.client.request.duration"]
    assert sorted(point.attributes["error.type"] for point in durations) == ["ConnectError", "ReadTimeout"]
    assert exporter.get_finished_spans() == ()


async def test_phases_are_children_of_the_span_of_httpx(
    flavour: Flavour, serve: Serve, tracer_provider: Any, exporter: Any, httpx_instrumentor: Any
) -> None:
    """`opentelemetry-instrumentation-httpx` makes a span for the request; the phases belong to it."""
    from httpcore_rs.opentelemetry import PhaseInstrumentation

    peer = serve(always(reply(b"body")))
    library = Library("httpx")
    transport = library.transport(flavour)
    PhaseInstrumentation(tracer_provider).instrument(transport)
    async with library.client(flavour, using=transport) as client:
        httpx_instrumentor.instrument_client(client.raw, tracer_provider=tracer_provider)
        response = await client.send("GET", peer.url)
        assert response.text == "body"
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert spans.keys() == {
        "GET",
        *(f"http.client.{name}" for name in ("waiting", "connect", "send", "response", "body")),
    }
    for name, span in spans.items():
        if name != "GET":
            assert span.parent.span_id == spans["GET"].context.span_id
