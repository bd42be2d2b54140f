"""Repeating requests by a policy: `RetryPolicy`, and the loops that a pool with a policy sends its requests through.

A pool without a policy never comes here. With one, requests take httpcore's own way through the pool, and each attempt
is an ordinary request of it.

Rules:

1. A method that is not among those of the policy is repeated only if nothing of the request can have been sent.
2. A request is repeated only if its body can be produced again.
3. A pause that would last beyond the deadline of the request is not begun.
4. The response of an attempt is closed before the next attempt.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import time
import typing

from ._engine import Deadline, is_whole
from ._hosts import sleep
from ._names import public

if typing.TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from httpcore import Request, Response

_logger = logging.getLogger("httpcore_rs.retry")

IDEMPOTENT = ("DELETE", "GET", "HEAD", "OPTIONS", "PUT", "TRACE")
# The statuses by which servers and proxies say that the same request may succeed later.
STATUSES = (429, 502, 503, 504)
# The exceptions of httpcore that a policy repeats by default, and those after which nothing can have been sent.
_EXCEPTIONS = frozenset(["ConnectError", "ConnectTimeout", "ReadError", "RemoteProtocolError", "WriteError"])
_UNSENT = frozenset(["ConnectError", "ConnectTimeout", "PoolTimeout"])
# httpx and httpx2 raise exceptions of their own, which have the names of httpcore's but for these base classes.
_LIBRARIES = frozenset(["httpcore", "httpcore2", "httpx", "httpx2"])
_BASES = frozenset(["HTTPError", "RequestError", "TransportError"])
_ALL = frozenset(["NetworkError", "ProtocolError", "ProxyError", "TimeoutException", "UnsupportedProtocol"])

# The retries that a budget allows at once, before there were any requests.
_RESERVE = 10.0
# The trace events around a pause.
_STARTED, _COMPLETE = "httpcore_rs.retry.started", "httpcore_rs.retry.complete"
# The length of a body, in bytes, that is read to its end and not cut off.
_SMALL = 16 * 1024


@public
class RetryPolicy:
    """Says which requests are repeated, how often, and after which pauses: `SyncTransport(retry=RetryPolicy())`.

    A policy does not change, and can be given to any number of pools; each of them has its own budget. A request with
    the extension `retry` has another policy than its pool, or none (`None`).
    """

    def __init__(
        self,
        *,
        attempts: int = 3,
        statuses: Iterable[int] = STATUSES,
        methods: Iterable[str] | None = IDEMPOTENT,
        exceptions: Iterable[type[Exception]] | None = None,
        respect_retry_after: bool = True,
        max_retry_after: float = 60.0,
        backoff: float = 0.5,
        max_backoff: float = 30.0,
        jitter: float = 1.0,
        budget: float | None = 0.2,
    ) -> None:
        """Makes a policy.

        Parameters:
            attempts: How often a request is sent at most, the first time included.
            statuses: The status codes after which a request is repeated.
            methods: The methods that may be repeated after the server has seen the request; by default those that are
                idempotent (RFC 9110, 9.2.2). `None` stands for all: then a server may process a POST several times.
            exceptions: The exceptions after which a request is repeated, as classes of httpcore, httpcore2, httpx or
                httpx2. `None` stands for `ConnectError`, `ConnectTimeout`, `ReadError`, `WriteError` and
                `RemoteProtocolError`. After `ConnectError`, `ConnectTimeout` and `PoolTimeout` any method is repeated:
                nothing was sent.
            respect_retry_after: Whether the header `Retry-After` of a response says how long to wait.
            max_retry_after: The longest time, in seconds, that a server may ask for. If it asks for more, its response
                is returned.
            backoff: Seconds before the first repetition. Each further one has twice the pause of the one before.
            max_backoff: The longest pause, in seconds.
            jitter: The share of a pause that is random, from 0 to 1, so that clients do not come back together.
            budget: How many repetitions there may be for each request, on average over the requests of a pool, beyond
                a reserve of ten: 0.2 is one for five. It keeps a server that fails from being sent more requests than
                one that does not. `None` sets no limit.

        Raises `TypeError` for a value of a wrong type and `ValueError` for a wrong one.
        """
        self.attempts = _at_least("attempts", _integer("attempts", attempts), 1)
        self.statuses = frozenset(_status(status) for status in statuses)
        self.methods = None if methods is None else frozenset(_method(method) for method in methods)
        self.exceptions = None if exceptions is None else tuple(_exception(cls) for cls in exceptions)
        self.respect_retry_after = bool(respect_retry_after)
        self.max_retry_after = _at_least("max_retry_after", _number("max_retry_after", max_retry_after), 0)
        self.backoff = _at_least("backoff", _number("backoff", backoff), 0)
        self.max_backoff = _at_least("max_backoff", _number("max_backoff", max_backoff), self.backoff, "backoff")
        self.jitter = _at_least("jitter", _number("jitter", jitter), 0)
        if self.jitter > 1:
            raise ValueError(f"jitter must be from 0 to 1, not {jitter}")
        self.budget = None if budget is None else _at_least("budget", _number("budget", budget), 0)
        if self.attempts > 1 and not self.statuses and self.exceptions == ():
            raise ValueError("nothing would be repeated: statuses and exceptions are both empty")
        self._names = _EXCEPTIONS if self.exceptions is None else _names(self.exceptions)
        self._frozen = True

    def __setattr__(self, name: str, value: object) -> None:
        if hasattr(self, "_frozen"):
            raise AttributeError(f"a RetryPolicy does not change: {name} cannot be set")
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={_shown(value)}" for name, value in vars(self).items() if not name.startswith("_"))
        return f"RetryPolicy({values})"

    def repeats(self, exc: Exception, method: str) -> bool:
        """Returns whether a request with this method is repeated after an exception."""
        names = _names(type(exc).__mro__)
        given = self.exceptions
        if not (names & self._names or (given is not None and isinstance(exc, given))):
            return False
        return self._allows(method) or bool(names & _UNSENT)

    def repeats_after(self, status: int, method: str) -> bool:
        """Returns whether a request with this method is repeated after a response with this status."""
        return status in self.statuses and self._allows(method)

    def pause(self, number: int, retry_after: float | None = None) -> float:
        """Returns the seconds to wait after attempt `number`."""
        exponential = min(self.max_backoff, self.backoff * 2.0 ** min(number - 1, 64))
        import random  # Pools without a policy do not need it.

        random_part = self.jitter * random.random()  # noqa: S311  # No secret depends on it.
        if retry_after is not None:
            # Not earlier than the server has asked for.
            return retry_after + random_part * self.backoff
        return exponential * (1.0 - self.jitter) + exponential * random_part

    def _allows(self, method: str) -> bool:
        return self.methods is None or method in self.methods


class Retrier:
    """The policy of one pool, with what is left of its budget."""

    def __init__(self, policy: RetryPolicy, total_timeout: float | None) -> None:
        self._policy = policy
        self._total_timeout = total_timeout
        # Not locked: a token that two threads count once changes nothing that matters.
        self._tokens = _RESERVE

    def handle(self, pool: typing.Any, send: Callable[[typing.Any, Request], Response], request: Request) -> Response:
        """Sends a request of a pool for threads by `send`, until an attempt succeeds or there are no more."""
        attempts = self._begin(request)
        if attempts is None:
            return send(pool, request)
        while True:
            try:
                response = send(pool, attempts.request)
            except Exception as exc:
                delay = attempts.delay_after_failure(exc)
                if delay is None:
                    raise
                attempts.log(delay, exc)
                attempts.trace(delay, exception=exc)
            else:
                delay = attempts.delay_after_response(response)
                if delay is None:
                    return attempts.count(response)
                _close(response)
                attempts.log(delay, response.status)
                attempts.trace(delay, status=response.status)
            backend = pool._engine.network_backend  # noqa: SLF001  # The pool is one of this package.
            (time if backend is None else backend).sleep(delay)
            if attempts.callback is not None:
                attempts.callback(_COMPLETE, {"return_value": None})
            attempts.number += 1
            pool._engine.count_retry(attempts.request)  # noqa: SLF001

    async def ahandle(
        self, pool: typing.Any, send: Callable[[typing.Any, Request], Awaitable[Response]], request: Request
    ) -> Response:
        """Sends a request of a pool for event loops by `send`, until an attempt succeeds or there are no more."""
        attempts = self._begin(request)
        if attempts is None:
            return await send(pool, request)
        while True:
            try:
                response = await send(pool, attempts.request)
            except Exception as exc:
                delay = attempts.delay_after_failure(exc)
                if delay is None:
                    raise
                attempts.log(delay, exc)
                await attempts.atrace(delay, exception=exc)
            else:
                delay = attempts.delay_after_response(response)
                if delay is None:
                    return attempts.count(response)
                await _aclose(response)
                attempts.log(delay, response.status)
                await attempts.atrace(delay, status=response.status)
            backend = pool._engine.network_backend  # noqa: SLF001  # The pool is one of this package.
            await (sleep if backend is None else backend.sleep)(delay)
            if attempts.callback is not None:
                await attempts.callback(_COMPLETE, {"return_value": None})
            attempts.number += 1
            pool._engine.count_retry(attempts.request)  # noqa: SLF001

    def _begin(self, request: Request) -> _Attempts | None:
        """Returns the attempts of a request; `None` if it is not to be repeated."""
        policy = request.extensions.get("retry", self._policy)
        if policy is not None and not isinstance(policy, RetryPolicy):
            raise TypeError(f"the extension retry must be a RetryPolicy or None, not {type(policy).__name__}")
        if policy is not None and policy.budget is not None:
            self._tokens = min(self._tokens + policy.budget, max(_RESERVE, 100.0 * policy.budget))
        if policy is None or policy.attempts == 1 or not is_replayable(request.stream):
            return None
        return _Attempts(self, policy, request, self._total_timeout)

    def take_token(self, policy: RetryPolicy) -> bool:
        """Takes one repetition out of the budget. Returns `False` if there is none left."""
        if policy.budget is None:
            return True
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class _Attempts:
    """One request and its attempts."""

    def __init__(self, retrier: Retrier, policy: RetryPolicy, request: Request, total_timeout: float | None) -> None:
        self.number = 1
        self.request = request
        self._retrier = retrier
        self._policy = policy
        self._method = request.method.decode("ascii")
        # The event is none of httpcore's.
        takes_all = bool(request.extensions.get("trace_all"))
        self.callback: typing.Any = request.extensions.get("trace") if takes_all else None
        self._deadline = _deadline(request.extensions, total_timeout)
        if self._deadline is not None:
            # One deadline for all attempts.
            timeout = {**(request.extensions.get("timeout") or {}), "total": self._deadline}
            self.request = copy.copy(request)
            self.request.extensions = {**request.extensions, "timeout": timeout}

    def delay_after_failure(self, exc: Exception) -> float | None:
        """Returns the seconds until the next attempt; `None` if the exception is to be raised."""
        return self._delay() if self._policy.repeats(exc, self._method) else None

    def delay_after_response(self, response: Response) -> float | None:
        """Returns the seconds until the next attempt; `None` if the response is to be returned."""
        policy = self._policy
        if not policy.repeats_after(response.status, self._method):
            return None
        retry_after = read_retry_after(response.headers) if policy.respect_retry_after else None
        if retry_after is not None and retry_after > policy.max_retry_after:
            return None
        return self._delay(retry_after)

    def _delay(self, retry_after: float | None = None) -> float | None:
        if self.number >= self._policy.attempts:
            return None
        delay = self._policy.pause(self.number, retry_after)
        if self._deadline is not None and self._deadline.remaining() <= delay:
            return None
        return delay if self._retrier.take_token(self._policy) else None

    def count(self, response: Response) -> Response:
        """Returns a response that says how many attempts there were."""
        response.extensions["attempts"] = self.number
        return response

    def log(self, delay: float, outcome: Exception | int) -> None:
        if _logger.isEnabledFor(logging.INFO):
            url = self.request.url
            what = f"status {outcome}" if isinstance(outcome, int) else f"{type(outcome).__name__}: {outcome}"
            limit, origin = self._policy.attempts, str(url.origin)
            message = "attempt %d of %d at %s to %s ended with %s; the next one begins in %.3f s"
            _logger.info(message, self.number, limit, self._method, origin, what, delay)

    def trace(self, delay: float, **outcome: object) -> None:
        if self.callback is not None:
            self.callback(_STARTED, {"attempt": self.number, "delay": delay, **outcome})

    async def atrace(self, delay: float, **outcome: object) -> None:
        if self.callback is not None:
            await self.callback(_STARTED, {"attempt": self.number, "delay": delay, **outcome})


def _close(response: Response) -> None:
    """Closes the response of an attempt. A small body is read before, so that its connection can be used again."""
    try:
        if _is_small(response):
            with contextlib.suppress(Exception):
                response.read()
    finally:
        response.close()


async def _aclose(response: Response) -> None:
    try:
        if _is_small(response):
            with contextlib.suppress(Exception):
                await response.aread()
    finally:
        await response.aclose()


def _is_small(response: Response) -> bool:
    length = next((value for name, value in response.headers if name.lower() == b"content-length"), b"")
    return length.isdigit() and int(length) <= _SMALL


def is_replayable(stream: object) -> bool:
    """Returns whether the body of a request can be produced again.

    It can if it is `bytes`, a list or a tuple, or a form of httpx (`files=`) whose files can all be read from their
    beginning, as httpx does whenever it sends one.
    """
    if is_whole(stream) or isinstance(stream, (list, tuple)):
        return True
    cls = type(stream)
    if cls.__name__ != "MultipartStream" or cls.__module__.partition(".")[0] not in _LIBRARIES:
        return False
    files = [field.file for field in getattr(stream, "fields", ()) if hasattr(field, "file")]
    return all(isinstance(file, (str, bytes)) or _is_seekable(file) for file in files)


def _is_seekable(file: typing.Any) -> bool:
    try:
        return bool(file.seekable())
    except (AttributeError, ValueError):
        return False


def make_retrier(policy: object, total_timeout: float | None) -> Retrier:
    """Returns what repeats the requests of a pool. Raises `TypeError` if `policy` is not a `RetryPolicy`."""
    return Retrier(checked(policy), total_timeout)


def checked(policy: object) -> RetryPolicy:
    if not isinstance(policy, RetryPolicy):
        raise TypeError(f"retry must be a RetryPolicy or None, not {type(policy).__name__}")
    return policy


def read_retry_after(headers: Iterable[tuple[bytes, bytes]]) -> float | None:
    """Returns the seconds that the header `Retry-After` asks for (RFC 9110, 10.2.3); `None` without a valid one."""
    value = next((value for name, value in headers if name.lower() == b"retry-after"), None)
    if value is None:
        return None
    text = value.decode("latin-1").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    from email.utils import parsedate_to_datetime  # Few programs need it.

    try:
        date = parsedate_to_datetime(text)
        return max(0.0, date.timestamp() - time.time()) if date.tzinfo is not None else None
    except (TypeError, ValueError, OverflowError):
        return None


def _deadline(extensions: typing.Mapping[str, typing.Any], total_timeout: float | None) -> Deadline | None:
    """Returns the deadline of a request, which begins now unless the request has one already."""
    given = (extensions.get("timeout") or {}).get("total", total_timeout)
    return given if given is None or isinstance(given, Deadline) else Deadline(given)


def _names(classes: Iterable[type]) -> frozenset[str]:
    """Returns the names of exceptions of httpcore that classes stand for: their own, and those of their bases."""
    found: set[str] = set()
    for cls in classes:
        if cls.__module__.partition(".")[0] in _LIBRARIES:
            found.update(_ALL if cls.__name__ in _BASES else [cls.__name__])
    return frozenset(found)


def _integer(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, not {type(value).__name__}")
    return value


def _number(name: str, value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    return value


Number = typing.TypeVar("Number", int, float)


def _at_least(name: str, value: Number, least: float, called: str = "") -> Number:
    if not value >= least:
        raise ValueError(f"{name} must be at least {called and f'{called}, which is '}{least}, not {value}")
    return value


def _status(status: object) -> int:
    if not 200 <= _integer("a status", status) <= 599:  # The final ones.
        raise ValueError(f"a status must be from 200 to 599, not {status}")
    return typing.cast("int", status)


def _method(method: object) -> str:
    if not isinstance(method, str):
        raise TypeError(f"a method must be a str, not {type(method).__name__}")
    return method.upper()


def _exception(cls: object) -> type[Exception]:
    if not isinstance(cls, type) or not issubclass(cls, Exception):
        raise TypeError(f"exceptions must be classes of exceptions, not {cls!r}")
    return cls


def _shown(value: object) -> str:
    if isinstance(value, frozenset):
        return repr(sorted(value))
    if isinstance(value, tuple):
        return f"[{', '.join(cls.__qualname__ for cls in value)}]"
    return repr(value)
