"""Workers that are threads: they share one `ConnectionPool`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any, Callable

import httpcore
import httpx

import httpcore_rs
from stressing.calls import Calls
from stressing.exchange import LIMIT, TIMEOUT
from stressing.record import Worker
from stressing.setting import Setting


class ThreadWorker(Calls[httpcore_rs.ConnectionPool]):
    """The calls of one thread, drawn at random until the time is over."""

    def __init__(self, pool: httpcore_rs.ConnectionPool, setting: Setting, worker: Worker, seed: int) -> None:
        super().__init__(pool, setting, worker, seed)
        transport = httpcore_rs.SyncTransport()
        transport._pool = pool  # noqa: SLF001  # The documented way to use a pool under httpx.
        self._client = httpx.Client(transport=transport, timeout=LIMIT)

    def run(self) -> None:
        """Makes calls until the time is over."""
        calls: dict[Callable[[], None], float] = {
            self._get: 30,
            self._get_by_httpx: 10,
            self._post: 10,
            self._upload: 10,
            self._read_in_chunks: 10,
            self._close_early: 4,
            self._drop: 4,
            self._time_out: 3,
            self._hand_over: 4,
            self._close_response_of_another: 4,
            self._check_texts: 6,
            self._collect_garbage: 0.5,
            self._close_pool: 0.3,
        }
        chosen, weights = [*calls], [*calls.values()]
        while self._setting.is_running():
            self._dice.choices(chosen, weights)[0]()

    def _get(self) -> None:
        exchange = self._draw()
        with self._attempt("GET"):
            response = self._pool.request("GET", exchange.url, extensions=dict(TIMEOUT))
            exchange.check_head(response.status, response.headers)
            exchange.check_body(response.content)

    def _get_by_httpx(self) -> None:
        exchange = self._draw()
        with self._attempt("GET by httpx"):
            response = self._client.get(exchange.url)
            exchange.check_head(response.status_code, [*response.headers.raw])
            exchange.check_body(response.content)

    def _post(self) -> None:
        exchange = self._draw()
        with self._attempt("POST"):
            url, body = exchange.url, exchange.body
            response = self._pool.request("POST", url, content=body, extensions=dict(TIMEOUT))
            exchange.check_head(response.status, response.headers, body)
            exchange.check_body(response.content)

    def _upload(self) -> None:
        """Sends a body from an iterator that writes over each chunk as soon as the next one is asked for."""
        exchange = self._draw()

        def chunks() -> Iterator[Any]:
            for piece in exchange.pieces():
                chunk = bytearray(piece)
                yield chunk
                chunk[:] = bytes(len(chunk))

        with self._attempt("upload"):
            response = self._pool.request("POST", exchange.url, content=chunks(), extensions=dict(TIMEOUT))
            exchange.check_head(response.status, response.headers, exchange.body)
            exchange.check_body(response.content)

    def _read_in_chunks(self) -> None:
        exchange = self._draw()
        with self._attempt("stream"), self._pool.stream("GET", exchange.url, extensions=dict(TIMEOUT)) as response:
            exchange.check_head(response.status, response.headers)
            exchange.check_body(b"".join(response.iter_stream()))

    def _close_early(self) -> None:
        exchange = self._draw()
        with self._attempt("closed early"):
            with self._pool.stream("GET", exchange.url, extensions=dict(TIMEOUT)) as response:
                exchange.check_head(response.status, response.headers)
                exchange.check_part(next(response.iter_stream(), b""))

    def _drop(self) -> None:
        """Leaves a response unread and unclosed, in a cycle that only the garbage collector frees."""
        exchange = self._draw()
        with self._attempt("dropped"):
            response = self._pool.handle_request(exchange.request())
            exchange.check_head(response.status, response.headers)
            if self._dice.random() < 0.5:
                response.extensions["cycle"] = response

    def _time_out(self) -> None:
        exchange = self._draw(delay=200)
        timeout = {"timeout": {**TIMEOUT["timeout"], "read": self._dice.uniform(0.001, 0.05)}}
        with self._attempt("answered in time", httpcore.ReadTimeout):
            response = self._pool.request("GET", exchange.url, extensions=timeout)
            exchange.check_head(response.status, response.headers)
            exchange.check_body(response.content)

    def _hand_over(self) -> None:
        """Reads a response that another thread may close meanwhile. Then its rest is missing."""
        exchange = self._draw()
        with self._attempt("handed over", httpcore.ReadError):
            response = self._pool.handle_request(exchange.request())
            exchange.check_head(response.status, response.headers)
            self._setting.handed_over.append(response)
            content = b""
            for chunk in response.iter_stream():
                content += chunk
                time.sleep(0)
            exchange.check_part(content)
            response.close()

    def _close_response_of_another(self) -> None:
        with contextlib.suppress(IndexError):
            response = self._setting.handed_over.popleft()
            with self._attempt("response of another thread closed"):
                response.close()

    def _close_pool(self) -> None:
        with self._attempt("pool closed"), self._setting.closing():
            self._pool.close()
