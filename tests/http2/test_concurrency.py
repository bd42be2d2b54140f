"""Many requests at once over one connection: threads and tasks share it, and each gets its own response."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

from flavours import Sync
from h2_peer import (
    MAX_CONCURRENT_STREAMS,
    OK,
    always,
    describe,
    echo,
    http2_pool,
    only_root,
    secure_pool,
    still_works,
)
from leaks import descriptors
from scenarios import asking

if TYPE_CHECKING:
    from certificates import Certificates
    from flavours import Flavour
    from h2_peer import ServeH2
    from h2_session import Session, Stream


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_64_callers_over_one_connection(
    flavour: Flavour, serve_h2: ServeH2, certificates: Certificates, tls: bool
) -> None:
    peer = serve_h2(echo, tls=tls)
    async with secure_pool(flavour, certificates, http1=False, max_connections=1) as pool:
        await flavour.gather(*[asking(pool, peer.url, f"caller{number}", 15) for number in range(64)])
        assert "[Requests: 0 active, 0 queued | Connections: 0 active, 1 idle]" in repr(pool)
        await flavour.until(peer.all_closed)
    assert len(peer.requests) == 64 * 15
    assert len(peer.connections) == 1


async def test_500_callers_over_one_connection(async_flavour: Flavour, serve_h2: ServeH2) -> None:
    peer = serve_h2(echo)
    async with http2_pool(async_flavour, max_connections=1) as pool:
        await async_flavour.gather(*[asking(pool, peer.url, f"caller{number}", 4) for number in range(500)])
    assert len(peer.requests) == 2000
    assert len(peer.connections) == 1
    assert peer.sessions[0].most_open <= 100


async def test_answers_in_another_order(flavour: Flavour, serve_h2: ServeH2) -> None:
    """The peer answers in any order, and the parts of all responses come interleaved."""
    dice = random.Random(7)

    def script(session: Session) -> None:
        while True:
            streams = [session.read_request() for _ in range(16)]
            dice.shuffle(streams)
            for stream in streams:
                session.head(stream, 200)
            for part in range(4):
                for stream in dice.sample(streams, 16):
                    session.data(stream, stream.target + b" %d;" % part, end=part == 3)

    peer = serve_h2(script)
    async with http2_pool(flavour, max_connections=1) as pool:

        async def ask(name: str) -> None:
            for number in range(10):
                target = f"{name}-{number}"
                content = (await pool.request("GET", peer.url + target)).content
                assert content == b"".join(f"/{target} {part};".encode() for part in range(4))

        await flavour.gather(*[lambda number=number: ask(f"caller{number}") for number in range(16)])
    assert len(peer.connections) == 1


async def test_several_origins_and_fewer_connections_than_origins(flavour: Flavour, serve_h2: ServeH2) -> None:
    peers = [serve_h2(echo) for _ in range(4)]
    async with http2_pool(flavour, max_connections=2) as pool:
        jobs = [asking(pool, peers[number % 4].url, f"caller{number}", 5) for number in range(32)]
        await flavour.gather(*jobs)
        assert len(pool.connections) <= 2
    assert [len(peer.requests) for peer in peers] == [40] * 4


async def test_a_long_poll_delays_no_other_request(flavour: Flavour, serve_h2: ServeH2) -> None:
    def respond(session: Session, stream: Stream) -> None:
        if stream.target.startswith(b"/poll"):
            session.when(go.is_set, lambda: session.respond(stream, stream.target))
        else:
            session.respond(stream, describe(stream))

    go = threading.Event()
    peer = serve_h2(always(respond))
    async with http2_pool(flavour, max_connections=1) as pool:
        polls = [flavour.start(lambda n=n: pool.request("GET", f"{peer.url}poll{n}")) for n in range(4)]
        await flavour.until(lambda: len(peer.streams) == 4)
        await flavour.gather(*[asking(pool, peer.url, f"caller{number}", 20) for number in range(8)])
        assert not any(poll.done for poll in polls)
        go.set()
        for number, poll in enumerate(polls):
            assert (await poll.wait()).content == b"/poll%d" % number
    assert len(peer.connections) == 1


async def test_the_request_that_reads_for_all_hands_over(flavour: Flavour, serve_h2: ServeH2) -> None:
    """Requests end one by one, in their order: each time another one has to read the connection."""

    def script(session: Session) -> None:
        streams = [session.read_head() for _ in range(10)]
        for stream in streams:
            session.respond(stream, stream.target)
            session.flush()
            session.until(lambda: len(done) > streams.index(stream))  # noqa: B023  (called before the next round)

    done: list[bytes] = []
    peer = serve_h2(script)
    async with http2_pool(flavour, max_connections=1) as pool:

        async def ask(number: int) -> None:
            done.append((await pool.request("GET", f"{peer.url}{number}")).content)

        await flavour.gather(*[lambda number=number: ask(number) for number in range(10)])
    assert sorted(done) == [b"/%d" % number for number in range(10)]


async def test_the_request_that_reads_for_all_may_time_out(flavour: Flavour, serve_h2: ServeH2) -> None:
    def respond(session: Session, stream: Stream) -> None:
        if stream.target == b"/":
            session.respond(stream, b"ok")
        elif stream.target == b"/later":
            session.when(go.is_set, lambda: session.respond(stream, b"later"))

    go = threading.Event()
    peer = serve_h2(always(respond))
    async with http2_pool(flavour, max_connections=1) as pool:
        impatient = flavour.start(
            lambda: pool.request("GET", peer.url + "never", extensions={"timeout": {"read": 0.1}})
        )
        await flavour.until(lambda: peer.streams)
        patient = flavour.start(lambda: pool.request("GET", peer.url + "later", extensions={"timeout": {"read": 20}}))
        with pytest.raises(httpcore.ReadTimeout):
            await impatient.wait()
        await flavour.sleep(0.02)
        go.set()
        assert (await patient.wait()).content == b"later"
        await still_works(pool, peer)


async def test_a_timeout_is_of_the_request_that_has_it(flavour: Flavour, serve_h2: ServeH2) -> None:
    """Traffic of other streams does not extend the timeout of a stream that receives nothing."""

    def respond(session: Session, stream: Stream) -> None:
        if stream.target != b"/never":
            session.respond(stream, b"ok")

    peer = serve_h2(always(respond))
    async with http2_pool(flavour, max_connections=1) as pool:
        stuck = flavour.start(lambda: pool.request("GET", peer.url + "never", extensions={"timeout": {"read": 0.2}}))
        while not stuck.done:
            assert (await pool.request("GET", peer.url)).content == b"ok"
        with pytest.raises(httpcore.ReadTimeout):
            await stuck.wait()
        await still_works(pool, peer)


def test_threads_that_never_close_their_responses(serve_h2: ServeH2) -> None:
    """Two threads each hold an unread response; a third still gets its own through the same connection."""
    peer = serve_h2(always(lambda session, stream: session.respond(stream, b"x" * 3_000_000)))
    flavour = Sync()
    pool = http2_pool(flavour, max_connections=1)
    held: list[Any] = []

    async def hold() -> None:
        held.append(await pool.handle(httpcore.Request("GET", peer.url, headers={"Host": "test"})))

    async def main() -> None:
        await flavour.gather(hold, hold)
        assert len((await pool.request("GET", peer.url)).content) == 3_000_000
        for response in held:
            assert len(await response.read()) == 3_000_000
            await response.close()
        await pool.close()

    flavour.run(main())


# Cancelling.


async def test_10_000_cancelled_requests_leave_no_stream_open(async_flavour: Flavour, serve_h2: ServeH2) -> None:
    """The peer's library counts: it refuses one stream too many, and headers that its state does not decode."""
    peer = serve_h2(only_root, settings={MAX_CONCURRENT_STREAMS: 50})
    async with http2_pool(async_flavour, max_connections=1) as pool:
        assert (await pool.request("GET", peer.url)).content == b"ok"
        started = 0
        while started < 10_000:
            seen = len(peer.streams)
            tasks = [async_flavour.start(lambda: pool.request("GET", peer.url + "never")) for _ in range(100)]
            started += 100
            await async_flavour.sleep(0)
            if started % 300 == 0:
                # Some are cancelled when their heads are out, some before, some while they wait for a stream.
                await async_flavour.until(lambda seen=seen: len(peer.streams) > seen)
            for task in tasks:
                task.cancel()
            for task in tasks:
                await task.finished()
                assert task.error is None
        assert "[Requests: 0 active, 0 queued | Connections: 0 active, 1 idle]" in repr(pool)
        await still_works(pool, peer)
        await async_flavour.gather(*[lambda: pool.request("GET", peer.url)] * 200)
    assert len(peer.connections) == 1


@pytest.mark.parametrize("seed", [1, 2])
async def test_requests_cancelled_at_random_times(async_flavour: Flavour, serve_h2: ServeH2, seed: int) -> None:
    dice = random.Random(seed)

    def respond(session: Session, stream: Stream) -> None:
        answers = random.Random(stream.id)
        session.head(stream, 200)
        if stream.target.startswith(b"/caller"):
            session.data(stream, describe(stream), end=True)
            return
        known = len(session.connection.received)
        session.when(
            lambda: len(session.connection.received) > known,  # something else has come by then
            lambda: session.data(stream, describe(stream) + b" " * answers.randrange(300_000), end=True),
        )

    peer, other = serve_h2(always(respond)), serve_h2(OK)
    async with http2_pool(async_flavour, max_connections=2) as pool:
        # The descriptors of the loop itself stay open.
        await pool.request("GET", other.url)
        await pool.close()
        await async_flavour.until(lambda: other.closed(1))
        before = descriptors()
        # A request that is cancelled while it connects takes its connection with it.
        await asking(pool, peer.url, "caller", 1)()
        for _ in range(15):
            tasks = []
            for _ in range(40):
                size = dice.randrange(4)
                content = dice.choice([b"x" * size, b"x" * 300_000, async_flavour.parts(*[b"x" * 5000] * size)])
                job = lambda content=content: pool.request("POST", peer.url, content=content)  # noqa: E731
                tasks.append((async_flavour.start(job), dice.random() * 0.02))
            for task, delay in sorted(tasks, key=lambda pair: pair[1]):
                await async_flavour.sleep(delay / 10)
                task.cancel()
            for task, _ in tasks:
                await task.finished()
                assert task.error is None
        assert "Requests: 0 active, 0 queued | Connections: 0 active" in repr(pool)
        await async_flavour.until(peer.all_closed)
        await async_flavour.gather(*[asking(pool, peer.url, f"caller{number}", 3) for number in range(20)])
        assert len(peer.connections) <= 2
        await pool.close()
        await async_flavour.until(lambda: peer.closed(len(peer.connections)))
        await async_flavour.until(lambda: descriptors() <= before)
