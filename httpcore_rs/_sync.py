"""The connection pool for threads."""

from __future__ import annotations

import contextlib
import typing

from ._bases import ConnectionInterface, NetworkBackend, SyncContextManager
from ._connections import SYNC_CONNECTION_CLASSES
from ._drive import finish
from ._engine import is_patched
from ._interface import build_request
from ._options import constructor
from ._patches import send
from ._pool import PoolBase

if typing.TYPE_CHECKING:
    from httpcore import URL, Request, Response
    from httpcore._models import Extensions, HeaderTypes


@constructor
class ConnectionPool(PoolBase[NetworkBackend, ConnectionInterface], SyncContextManager):
    """A connection pool for making HTTP requests, safe to share between threads.

    The calling thread moves its own bytes. Meanwhile the GIL is released, and Ctrl-C is handled at once.
    """

    _is_async = False
    _connection_classes = SYNC_CONNECTION_CLASSES

    def _make_default_backend(self) -> NetworkBackend:
        backend: NetworkBackend = self._package.sync_backend()
        return backend

    def request(
        self,
        method: bytes | str,
        url: URL | bytes | str,
        *,
        headers: HeaderTypes = None,
        content: bytes | typing.Iterable[bytes] | None = None,
        extensions: Extensions | None = None,
    ) -> Response:
        """Sends a request and returns its response, whose body has been read to the end.

        Raises httpcore's exceptions.
        """
        # Where a subclass or a patch replaces `handle_request()`, it handles these requests as well. A policy needs an
        # `httpcore.Request`.
        if type(self).handle_request is _handle_request and self._retrier is None:
            result = self._engine.request(method, url, headers, content, extensions)
            if result is not None:
                whole: Response = finish(result)
                return whole
        return _request(self, build_request(self._package, method, url, headers, content, extensions))

    @contextlib.contextmanager
    def stream(
        self,
        method: bytes | str,
        url: URL | bytes | str,
        *,
        headers: HeaderTypes = None,
        content: bytes | typing.Iterable[bytes] | None = None,
        extensions: Extensions | None = None,
    ) -> typing.Iterator[Response]:
        """Sends a request; its response can be read within the `with` block and is closed at its end.

        Raises httpcore's exceptions.
        """
        response = self.handle_request(build_request(self._package, method, url, headers, content, extensions))
        try:
            yield response
        finally:
            response.close()

    def handle_request(self, request: Request) -> Response:
        """Sends a request and returns its response when the head has arrived; the body is read from `response.stream`.

        Raises httpcore's exceptions. An exception of the body of `request` passes through unchanged.
        """
        if self._retrier is not None:
            return self._retrier.handle(self, _send, request)
        if is_patched(request, False):
            return send(self, request)
        response: Response = finish(self._engine.handle_request(request))
        return response

    def close(self) -> None:
        """Closes every connection; threads that wait for one get a `ReadError`. The pool can be used again."""
        closing = self._engine.close()
        if closing is not None:
            closing()


_handle_request = ConnectionPool.handle_request


def _send(pool: ConnectionPool, request: Request) -> Response:
    """Does what `handle_request()` does without a policy."""
    if is_patched(request, False):
        return send(pool, request)
    response: Response = finish(pool._engine.handle_request(request))  # noqa: SLF001  # An attempt of the pool.
    return response


def _request(pool: ConnectionPool, request: Request) -> Response:
    """Does what `request()` does, by means of `handle_request()`."""
    response = pool.handle_request(request)
    try:
        response.read()
    finally:
        response.close()
    return response
