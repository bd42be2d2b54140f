"""`response.extensions["timings"]`: the times of one exchange, in every flavour."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest

import h2_peer
import httpcore_rs
from h2_peer import http2_pool
from httpcore_rs import Timings
from peers import always, dropped, echo, reply
from proxies import socks5, tunnels

if TYPE_CHECKING:
    from certificates import Certificates
    from flavours import Flavour
    from h2_peer import ServeH2
    from peers import Serve


def timings_of(response: Any) -> Timings:
    timings = response.extensions["timings"]
    assert type(timings) is Timings
    return timings


def known(timings: Timings) -> set[str]:
    names = ("waiting", "dns", "connect", "proxy", "tls", "sent", "first_byte", "total")
    return {name for name in names if getattr(timings, name) is not None}


async def test_a_new_connection_and_one_that_is_reused(flavour: Flavour, serve: Serve) -> None:
    peer = serve(always(reply(b"body")))
    async with flavour.pool() as pool:
        before = time.time()
        new = timings_of(await pool.request("GET", peer.url))
        after = time.time()
        assert known(new) == {"waiting", "connect", "sent", "first_byte", "total"}
        assert 0 <= new.waiting <= new.sent <= new.first_byte <= new.total
        assert (new.reused, new.attempts) == (False, 1)
        assert before - 1 <= new.started_at <= after + 1
        assert new.peer_address == peer.address
        assert new.local_address == peer.connections[0].address
        assert (new.tls_version, new.tls_cipher, new.alpn_protocol) == (None, None, None)
        again = timings_of(await pool.request("GET", peer.url))
        assert known(again) == {"waiting", "sent", "first_byte", "total"}
        assert (again.reused, again.attempts) == (True, 1)
        assert json.loads(json.dumps(again.as_dict())).keys() == again.as_dict().keys()
        assert re.fullmatch(r"<Timings waiting=\d\.\d{6} first_byte=\d\.\d{6} total=\d\.\d{6}>", repr(again))


async def test_the_total_is_there_at_the_end_of_the_body(flavour: Flavour, serve: Serve) -> None:
    peer = serve(always(reply(b"body")))
    async with flavour.pool() as pool:
        async with pool.stream("GET", peer.url) as response:
            timings = timings_of(response)
            assert known(timings) == {"waiting", "connect", "sent", "first_byte"}
            await response.read()
            assert timings.total is not None
            total = timings.total
        assert timings.total == total
        async with pool.stream("GET", peer.url) as response:
            timings = timings_of(response)
        assert timings.total is not None, "it was closed before the end of the body"


async def test_phases_follow_each_other(flavour: Flavour, serve: Serve, certificates: Certificates) -> None:
    peer = serve(echo, tls=certificates.server_context())
    async with flavour.pool(ssl_context=httpcore_rs.TLSConfig(verify=str(certificates.ca))) as pool:
        timings = timings_of(await pool.request("POST", f"https://localhost:{peer.address[1]}/", content=b"x"))
        names, starts, ends = zip(*timings.phases())
        assert names == ("waiting", "dns", "connect", "tls", "send", "response", "body")
        assert all(start <= end for start, end in zip(starts, ends))
        assert all(end <= start + 1000 for end, start in zip(ends, starts[1:])), "they do not overlap"
        assert known(timings) == {"waiting", "dns", "connect", "tls", "sent", "first_byte", "total"}
        assert (timings.tls_version, timings.alpn_protocol) == ("TLSv1.3", "http/1.1")
        assert timings.tls_cipher.startswith("TLS_")


@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_the_handshake_with_a_proxy_is_measured(
    flavour: Flavour, serve: Serve, certificates: Certificates, kind: str
) -> None:
    peer = serve(echo, tls=certificates.server_context())
    proxy = serve(tunnels if kind == "http" else socks5())
    options = {"ssl_context": httpcore_rs.TLSConfig(verify=str(certificates.ca))}
    class_name = flavour.prefixed("HTTPProxy" if kind == "http" else "SOCKSProxy")
    raw = getattr(httpcore_rs, class_name)(f"{kind}://127.0.0.1:{proxy.address[1]}", **options)
    async with type(flavour.pool())(flavour, raw) as pool:
        timings = timings_of(await pool.request("GET", f"https://localhost:{peer.address[1]}/"))
    assert known(timings) == {"waiting", "connect", "proxy", "tls", "sent", "first_byte", "total"}
    assert [name for name, _, _ in timings.phases()][:4] == ["waiting", "connect", "proxy", "tls"]


async def test_http2_has_timings_for_each_stream(flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(h2_peer.OK)
    async with http2_pool(flavour) as pool:
        first = timings_of(await pool.request("POST", peer.url, content=b"x"))
        second = timings_of(await pool.request("GET", peer.url))
    assert (first.reused, second.reused) == (False, True)
    assert {"connect", "sent", "first_byte", "total"} <= known(first)
    assert known(second) == {"waiting", "sent", "first_byte", "total"}


async def test_a_request_that_was_sent_again_tells_so(flavour: Flavour, serve: Serve) -> None:
    peer = serve(dropped)
    async with flavour.pool() as pool:
        await pool.request("GET", peer.url)
        timings = timings_of(await pool.request("GET", peer.url))
    assert (timings.attempts, timings.reused) == (2, False)
    assert timings.connect is not None


async def test_a_wait_in_the_pool_is_measured(flavour: Flavour, serve: Serve) -> None:
    peer = serve(always(reply(b"body")))
    async with flavour.pool(max_connections=1) as pool:
        async with pool.stream("GET", peer.url) as response:
            task = flavour.start(lambda: pool.request("GET", peer.url))
            await flavour.until(lambda: pool.raw.metrics().total.requests_waiting == 1)
            await response.read()
        timings = timings_of(await task.wait())
    assert 0 < timings.waiting <= timings.total


async def names_of_events(flavour: Flavour, send: Any, **extensions: Any) -> list[str]:
    """Sends a traced request and returns the names of its events."""
    names: list[str] = []

    async def trace(name: str, info: dict[str, Any]) -> None:
        names.append(name)
        if name == "httpcore_rs.resolve_name.started":
            assert (info["host"], type(info["port"])) == ("localhost", int)

    tracer = trace if flavour.is_async else lambda name, info: names.append(name)
    await send({"trace": tracer, **extensions})
    return names


async def test_own_events_are_reported_on_request(flavour: Flavour, serve: Serve) -> None:
    peer = serve(always(reply(b"body")))
    url = f"http://localhost:{peer.address[1]}/"
    own = ["resolve_name.started", "resolve_name.complete"]
    async with flavour.pool(max_connections=1) as pool:

        async def send(extensions: dict[str, Any]) -> None:
            await pool.request("GET", url, extensions=extensions)

        for extensions in ({}, {"trace_all": False}):
            assert not [name for name in await names_of_events(flavour, send, **extensions) if "httpcore_rs" in name]
            await pool.close()
        names = await names_of_events(flavour, send, trace_all=True)
        assert [name for name in names if name.startswith("httpcore_rs.")] == [f"httpcore_rs.{name}" for name in own]
        assert names[0] == "connection.connect_tcp.started"
        async with pool.stream("GET", url) as response:
            task = flavour.start(lambda: names_of_events(flavour, send, trace_all=True))
            await flavour.until(lambda: pool.raw.metrics().total.requests_waiting == 1)
            await response.read()
        names = await task.wait()
        assert names[:2] == ["httpcore_rs.pool_wait.started", "httpcore_rs.pool_wait.complete"]
