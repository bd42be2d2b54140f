"""`retry`: which requests a pool repeats by its policy, how often, and that it repeats no other."""

from __future__ import annotations

import datetime as dt
import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

import httpcore_rs
from httpcore_rs import RetryPolicy
from httpcore_rs._retry import read_retry_after
from peers import answers, refused_port, reply, silence
from retries import BUSY, OK, busy_first, policy

if TYPE_CHECKING:
    from flavours import Flavour
    from peers import Connection, Serve


def tracing(flavour: Flavour, events: list[Any]) -> dict[str, Any]:
    """Returns the extensions by which a callback records the ends of attempts."""

    def record(name: str, info: Any) -> None:
        if name == "httpcore_rs.retry.started":
            events.append(info)
        elif name == "httpcore_rs.retry.complete":
            assert info == {"return_value": None}

    async def arecord(name: str, info: Any) -> None:
        record(name, info)

    return {"trace": arecord if flavour.is_async else record, "trace_all": True}


async def test_a_status_is_repeated(flavour: Flavour, serve: Serve) -> None:
    peer = busy_first(serve, 2)
    async with flavour.pool(retry=policy()) as pool:
        response = await pool.request("GET", peer.url)
        assert (response.status, response.content, response.extensions["attempts"]) == (200, b"ok", 3)
        total = pool.raw.metrics().total
        assert (total.requests_finished, total.requests_replayed, total.requests_retried) == (3, 0, 2)
        # The connection serves all attempts: each response was closed before the next one.
        assert len(peer.connections) == 1
        assert (await pool.request("GET", peer.url)).extensions["attempts"] == 1
    assert len(peer.requests) == 4


async def test_the_last_response_is_returned(flavour: Flavour, serve: Serve) -> None:
    peer = busy_first(serve, 100)
    async with flavour.pool(retry=policy(attempts=4)) as pool:
        async with pool.stream("GET", peer.url) as response:
            assert (response.status, response.extensions["attempts"]) == (503, 4)
            assert await response.read() == b"busy"
    assert len(peer.requests) == 4


@pytest.mark.parametrize("status", [b"200 OK", b"404 Not Found", b"500 Internal Server Error"])
async def test_other_statuses_are_not_repeated(flavour: Flavour, serve: Serve, status: bytes) -> None:
    peer = busy_first(serve, 100, reply(status=status))
    async with flavour.pool(retry=policy()) as pool:
        assert (await pool.request("GET", peer.url)).extensions["attempts"] == 1
    assert len(peer.requests) == 1


@pytest.mark.parametrize(
    ("method", "methods", "requests"),
    [
        ("PUT", {}, 3),
        ("DELETE", {}, 3),
        ("POST", {}, 1),
        ("PATCH", {}, 1),
        ("POST", {"methods": ["post"]}, 3),
        ("PATCH", {"methods": None}, 3),
        ("GET", {"methods": ["POST"]}, 1),
    ],
)
async def test_methods(flavour: Flavour, serve: Serve, method: str, methods: dict[str, Any], requests: int) -> None:
    peer = busy_first(serve, 2)
    async with flavour.pool(retry=policy(**methods)) as pool:
        await pool.request(method, peer.url, content=b"body")
    assert [request.body for request in peer.requests] == [b"body"] * requests


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_connection_that_ends_without_a_response(flavour: Flavour, serve: Serve, method: str) -> None:
    # The server may have processed the request: a POST is not sent again.
    def script(connection: Connection) -> None:
        connection.read_request()
        if connection.number > 0:
            connection.send(OK)

    peer = serve(script)
    async with flavour.pool(retry=policy()) as pool:
        if method == "GET":
            assert (await pool.request(method, peer.url)).content == b"ok"
        else:
            with pytest.raises(httpcore.RemoteProtocolError):
                await pool.request(method, peer.url, content=b"order")
    assert len(peer.requests) == (2 if method == "GET" else 1)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_failed_connect_is_repeated_whatever_the_method(flavour: Flavour, method: str) -> None:
    events: list[Any] = []
    with refused_port() as port:
        async with flavour.pool(retry=policy(attempts=3)) as pool:
            extensions = tracing(flavour, events)
            with pytest.raises(httpcore.ConnectError, match="refused"):
                await pool.request(method, f"http://127.0.0.1:{port}/", content=b"order", extensions=extensions)
    assert [event["attempt"] for event in events] == [1, 2]
    assert all(type(event["exception"]) is httpcore.ConnectError for event in events)


@pytest.mark.parametrize("exceptions", [[httpcore.TimeoutException], [httpcore.ReadTimeout]])
async def test_exceptions(flavour: Flavour, serve: Serve, exceptions: Any) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        if connection.number < 2:
            silence(connection)
        connection.send(OK)

    peer = serve(script)
    async with flavour.pool(retry=policy(attempts=20, exceptions=exceptions)) as pool:
        extensions = {"timeout": {"read": 0.2}}
        assert (await pool.request("GET", peer.url, extensions=extensions)).extensions["attempts"] >= 3


async def test_exceptions_that_are_not_named_are_raised(flavour: Flavour, serve: Serve) -> None:
    peer = serve(silence)
    async with flavour.pool(retry=policy()) as pool:
        with pytest.raises(httpcore.ReadTimeout):
            await pool.request("GET", peer.url, extensions={"timeout": {"read": 0.1}})
    await flavour.until(lambda: peer.closed(1))
    assert len(peer.connections) == 1


async def test_bodies_that_can_be_produced_again(flavour: Flavour, serve: Serve) -> None:
    for content, requests in [(b"body", 3), (None, 3), (flavour.parts(b"bo", b"dy"), 1)]:
        peer = busy_first(serve, 2)
        async with flavour.pool(retry=policy()) as pool:
            await pool.request("PUT", peer.url, content=content)
        assert len(peer.requests) == requests
        assert len({request.body for request in peer.requests}) == 1


async def test_an_iterator_that_was_not_begun_is_not_sent_again_either(flavour: Flavour) -> None:
    events: list[Any] = []
    with refused_port() as port:
        async with flavour.pool(retry=policy()) as pool:
            extensions = tracing(flavour, events)
            with pytest.raises(httpcore.ConnectError):
                await pool.request(
                    "PUT", f"http://127.0.0.1:{port}/", content=flavour.parts(b"x"), extensions=extensions
                )
    assert events == []


async def test_the_response_of_an_attempt_is_closed(flavour: Flavour, serve: Serve) -> None:
    # With one connection, the second attempt would wait for ever.
    def script(connection: Connection) -> None:
        connection.read_request()
        if connection.number == 0:
            connection.send(b"HTTP/1.1 503 Busy\r\n\r\nan endless body")
            silence(connection)
        connection.send(OK)

    peer = serve(script)
    async with flavour.pool(max_connections=1, retry=policy()) as pool:
        assert (await pool.request("GET", peer.url)).content == b"ok"
    assert len(peer.connections) == 2


# `Retry-After`.


@pytest.mark.parametrize(("value", "requests"), [(b"0", 2), (b"3600", 1), (b"soon", 2), (b"-1", 2)])
async def test_retry_after(flavour: Flavour, serve: Serve, value: bytes, requests: int) -> None:
    busy = reply(status=b"429 Too Many Requests", headers=[(b"Retry-After", value)])
    peer = busy_first(serve, 1, busy)
    async with flavour.pool(retry=policy()) as pool:
        assert (await pool.request("GET", peer.url)).status == (429 if requests == 1 else 200)
    assert len(peer.requests) == requests


async def test_retry_after_is_ignored_on_request(flavour: Flavour, serve: Serve) -> None:
    peer = busy_first(serve, 1, reply(status=b"503 Busy", headers=[(b"Retry-After", b"3600")]))
    async with flavour.pool(retry=policy(respect_retry_after=False)) as pool:
        assert (await pool.request("GET", peer.url)).status == 200


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"120", 120.0),
        (b" 7 ", 7.0),
        (b"Wed, 21 Oct 2015 07:28:30 GMT", 30.0),
        (b"Wednesday, 21-Oct-15 07:29:00 GMT", 60.0),
        (b"Wed, 21 Oct 2015 07:27:00 GMT", 0.0),
    ],
)
def test_reading_retry_after(monkeypatch: pytest.MonkeyPatch, value: bytes, expected: float) -> None:
    now = dt.datetime(2015, 10, 21, 7, 28, tzinfo=dt.timezone.utc).timestamp()
    monkeypatch.setattr("httpcore_rs._retry.time", SimpleNamespace(time=lambda: now))
    assert read_retry_after([(b"Date", b"x"), (b"RETRY-after", value)]) == expected


@pytest.mark.parametrize(
    "value", [b"", b"soon", b"-3", b"1.5", b"\xb2", b"Wed, 99 Foo 2015", b"Wed, 21 Oct 2015 07:28"]
)
def test_reading_a_malformed_retry_after(value: bytes) -> None:
    assert read_retry_after([(b"Retry-After", value)]) is None
    assert read_retry_after([]) is None


# Pauses, the budget and the deadline.


def test_pauses_grow_and_are_random() -> None:
    fixed = RetryPolicy(backoff=1.0, max_backoff=10.0, jitter=0.0)
    assert [fixed.pause(number) for number in range(1, 7)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert fixed.pause(5000) == 10.0
    random = RetryPolicy(backoff=1.0, max_backoff=10.0)
    pauses = [random.pause(3) for _ in range(200)]
    assert len(set(pauses)) > 100
    assert all(0.0 <= pause <= 4.0 for pause in pauses)
    half = RetryPolicy(backoff=1.0, max_backoff=10.0, jitter=0.5)
    assert all(2.0 <= half.pause(3) <= 4.0 for _ in range(200))
    # Never before the time that the server has asked for.
    assert all(7.0 <= random.pause(1, retry_after=7.0) <= 8.0 for _ in range(200))


async def test_the_budget_of_a_pool(flavour: Flavour, serve: Serve) -> None:
    peer = busy_first(serve, 10_000)
    shared = policy(attempts=2, budget=0.5)
    for _ in range(2):  # Each pool has its own.
        before = len(peer.requests)
        async with flavour.pool(retry=shared) as pool:
            for _ in range(40):
                assert (await pool.request("GET", peer.url)).status == 503
        # The reserve of ten, and one for every other request. The first requests find the reserve full.
        assert 40 + 25 <= len(peer.requests) - before <= 40 + 30


async def test_without_a_budget_each_request_is_repeated(flavour: Flavour, serve: Serve) -> None:
    peer = busy_first(serve, 10_000)
    async with flavour.pool(retry=policy(attempts=2, budget=None)) as pool:
        for _ in range(40):
            await pool.request("GET", peer.url)
    assert len(peer.requests) == 80


@pytest.mark.parametrize("where", ["pool", "request", "deadline"])
async def test_a_pause_beyond_the_deadline_is_not_begun(flavour: Flavour, serve: Serve, where: str) -> None:
    peer = busy_first(serve, 100, reply(b"busy", status=b"503 Busy", headers=[(b"Retry-After", b"50")]))
    options, extensions = {}, {}
    if where == "pool":
        options = {"total_timeout": 40}
    else:
        extensions = {"timeout": {"total": 40 if where == "request" else httpcore_rs.Deadline(40)}}
    async with flavour.pool(retry=policy(), **options) as pool:
        response = await pool.request("GET", peer.url, extensions=extensions)
        assert (response.status, response.content, response.extensions["attempts"]) == (503, b"busy", 1)


async def test_all_attempts_have_one_deadline(flavour: Flavour, serve: Serve) -> None:
    peer = serve(silence)
    retry = policy(attempts=1000, exceptions=[httpcore.ReadTimeout], budget=None)
    async with flavour.pool(retry=retry) as pool:
        # The deadline is in the middle of the third read, far from where an attempt connects.
        extensions = {"timeout": {"read": 0.6, "total": 1.7}}
        with pytest.raises(httpcore.ReadTimeout):
            await pool.request("GET", peer.url, extensions=extensions)
    assert len(peer.connections) < 5
    assert extensions == {"timeout": {"read": 0.6, "total": 1.7}}


async def test_cancelling_a_pause(async_flavour: Flavour, serve: Serve) -> None:
    peer = busy_first(serve, 100)
    async with async_flavour.pool(retry=RetryPolicy(backoff=60.0, max_backoff=60.0, jitter=0.0)) as pool:
        task = async_flavour.start(lambda: pool.request("GET", peer.url))
        await async_flavour.until(lambda: peer.requests and "1 idle" in repr(pool))
        task.cancel()
        await task.finished()
        assert task.cancelled
        assert "[Requests: 0 active, 0 queued" in repr(pool)
    assert len(peer.requests) == 1


async def test_pauses_are_made_by_the_network_backend(flavour: Flavour, serve: Serve) -> None:
    peer = busy_first(serve, 2)
    backend = flavour.backend()
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async def asleep(seconds: float) -> None:
        sleep(seconds)

    backend.sleep = asleep if flavour.is_async else sleep
    retry = RetryPolicy(backoff=100.0, max_backoff=1000.0, jitter=0.0)
    async with flavour.pool(retry=retry, network_backend=backend) as pool:
        assert (await pool.request("GET", peer.url)).status == 200
    assert pauses == [100.0, 200.0]


# What shows the attempts.


async def test_traces_and_logs(flavour: Flavour, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    peer = busy_first(serve, 1)
    events: list[Any] = []
    async with flavour.pool(retry=policy()) as pool:
        with caplog.at_level(logging.INFO, logger="httpcore_rs.retry"):
            await pool.request("GET", peer.url + "?secret=1", extensions=tracing(flavour, events))
        # Events that httpcore does not have are only reported on request.
        unasked: list[Any] = []
        peer.requests.clear()
        await pool.request("GET", peer.url, extensions={**tracing(flavour, unasked), "trace_all": False})
        assert (unasked, len(peer.requests)) == ([], 2)
    assert events == [{"attempt": 1, "delay": 0.0, "status": 503}]
    (record,) = (record for record in caplog.records if record.name == "httpcore_rs.retry")
    expected = f"attempt 1 of 3 at GET to http://{peer.authority} ended with status 503; the next one begins in 0.000 s"
    assert record.getMessage() == expected


async def test_a_request_has_its_own_policy(flavour: Flavour, serve: Serve) -> None:
    peer = busy_first(serve, 100)
    async with flavour.pool(retry=policy()) as pool:
        for given, attempts in [(None, None), (policy(attempts=2, methods=None), 2), (policy(attempts=1), None)]:
            response = await pool.request("POST", peer.url, content=b"x", extensions={"retry": given})
            assert response.extensions.get("attempts") == attempts
        with pytest.raises(TypeError, match="the extension retry must be a RetryPolicy or None, not int"):
            await pool.request("GET", peer.url, extensions={"retry": 3})


# The policy itself.


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"attempts": 0}, ValueError, "attempts must be at least 1, not 0"),
        ({"attempts": "3"}, TypeError, "attempts must be an integer, not str"),
        ({"statuses": [100]}, ValueError, "a status must be from 200 to 599, not 100"),
        ({"statuses": ["503"]}, TypeError, "a status must be an integer, not str"),
        ({"methods": [b"GET"]}, TypeError, "a method must be a str, not bytes"),
        ({"exceptions": ["ReadError"]}, TypeError, "exceptions must be classes of exceptions, not 'ReadError'"),
        ({"backoff": -1.0}, ValueError, "backoff must be at least 0, not -1.0"),
        ({"backoff": 2.0, "max_backoff": 1.0}, ValueError, "max_backoff must be at least backoff, which is 2.0, not 1"),
        ({"backoff": "1"}, TypeError, "backoff must be a number, not str"),
        ({"jitter": 1.5}, ValueError, "jitter must be from 0 to 1, not 1.5"),
        ({"jitter": float("nan")}, ValueError, "jitter must be at least 0, not nan"),
        ({"budget": -0.1}, ValueError, "budget must be at least 0, not -0.1"),
        ({"max_retry_after": -1}, ValueError, "max_retry_after must be at least 0, not -1"),
        ({"statuses": [], "exceptions": []}, ValueError, "nothing would be repeated"),
    ],
)
def test_a_policy_that_makes_no_sense(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        RetryPolicy(**arguments)


def test_a_policy_is_shown_and_does_not_change() -> None:
    made = RetryPolicy(attempts=2, exceptions=[httpcore.ReadError])
    assert repr(made).startswith("RetryPolicy(attempts=2, statuses=[429, 502, 503, 504], methods=['DELETE', 'GET',")
    assert "exceptions=[ReadError]" in repr(made)
    with pytest.raises(AttributeError, match="attempts cannot be set"):
        made.attempts = 5


@pytest.mark.parametrize("name", ["HTTPConnection", "AsyncHTTPConnection"])
def test_a_single_connection_repeats_nothing(name: str) -> None:
    origin = httpcore.Origin(b"http", b"example.com", 80)
    with pytest.raises(ValueError, match="retry must be None for a single connection"):
        getattr(httpcore_rs, name)(origin, retry=RetryPolicy())


async def test_a_pool_without_a_policy_repeats_nothing(flavour: Flavour, serve: Serve) -> None:
    peer = serve(answers(BUSY))
    async with flavour.pool() as pool:
        response = await pool.request("GET", peer.url, extensions={"retry": RetryPolicy()})
        assert response.status == 503
        assert "attempts" not in response.extensions
    assert len(peer.requests) == 1


# Deadlines that several requests share.


async def test_a_deadline_of_several_requests(flavour: Flavour, serve: Serve) -> None:
    peer = busy_first(serve, 0)
    deadline = httpcore_rs.Deadline(1.5)
    extensions = {"timeout": {"total": deadline}}
    assert 0.0 < deadline.remaining() <= 1.5
    async with flavour.pool() as pool:
        assert (await pool.request("GET", peer.url, extensions=extensions)).content == b"ok"
        await flavour.until(lambda: deadline.remaining() == 0.0)
        with pytest.raises(
            httpcore.PoolTimeout, match=r"the request to .* was not begun within 1\.5 s \(total timeout\)"
        ):
            await pool.request("GET", peer.url, extensions=extensions)
    assert repr(deadline) == "<Deadline: 0.000 s left>"


def test_deadlines_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match="a deadline must be a number of seconds from 0 on, not -1"):
        httpcore_rs.Deadline(-1.0)
    with pytest.raises(TypeError, match="a deadline must be a number of seconds, not str"):
        httpcore_rs.Deadline("5")  # type: ignore[arg-type]
    assert httpcore_rs.Deadline(float("inf")).remaining() == float("inf")
    assert repr(httpcore_rs.Deadline(float("inf"))) == "<Deadline: never>"
