"""The fast path of the transports: from an `httpx.Request` to an `httpx.Response`, without httpcore's models.

A request takes the slow path, the library's own `handle_request()`, where something could tell the difference:

- The library's method, the pool's or that of httpcore's pool or connection is patched, or the pool is not one of this
  package. Mocks, instrumentation and guards are built that way. Each call looks at the methods themselves; for
  httpcore's classes the engine does so (`_patches`).
- The pool repeats requests by a policy.
- The request is traced or logged: callbacks and log records show an `httpcore.Request`.
- The request, its URL or its headers are of a subclass.
- The library's models are not built as this module knows them.
"""

from __future__ import annotations

import inspect
import sys
import types
import typing

from ._async import AsyncConnectionPool
from ._drive import adrive, finish
from ._engine import HttpxModels, Operation
from ._hosts import current_host
from ._sync import ConnectionPool

if typing.TYPE_CHECKING:
    import contextlib

    import httpx

    from ._engine import AsyncResponseStream, Engine, ResponseStream
    from ._package import Package

    MapExceptions = typing.Callable[[], contextlib.AbstractContextManager[None]]

_pool_handler = ConnectionPool.handle_request
_async_pool_handler = AsyncConnectionPool.handle_async_request


class ResponseBody:
    """The body of a response: an iterable of `bytes`. It raises the exceptions of httpx.

    A body that has arrived in one piece, as most do, is returned without a generator.
    """

    _httpcore_stream: ResponseStream
    _map_exceptions: MapExceptions

    def __iter__(self) -> typing.Iterator[bytes]:
        stream = self._httpcore_stream
        try:
            chunk: bytes | None = finish(stream.next_chunk())
            if chunk is None:
                return iter(())
            if stream.finish():
                return iter((chunk,))
        except Exception:
            with self._map_exceptions():
                raise
        return self._iterate(chunk)

    def _iterate(self, chunk: bytes) -> typing.Iterator[bytes]:
        with self._map_exceptions():
            yield chunk
            yield from self._httpcore_stream

    def close(self) -> None:
        """Ends the response and gives the connection back."""
        closing = self._httpcore_stream.end()
        if closing is not None:
            closing()


class AsyncResponseBody:
    """The body of a response: an asynchronous iterable of `bytes`. It raises the exceptions of httpx.

    A body that has arrived in one piece, as most do, is returned without a generator.
    """

    _httpcore_stream: AsyncResponseStream
    _map_exceptions: MapExceptions

    def __aiter__(self) -> typing.AsyncIterator[bytes]:
        stream = self._httpcore_stream
        try:
            chunk = stream.next_chunk()
            if not isinstance(chunk, Operation) and (chunk is None or stream.finish()):
                return _Arrived(chunk)
        except Exception:
            with self._map_exceptions():
                raise
        return self._iterate(chunk)

    async def _iterate(self, chunk: bytes | Operation | None) -> typing.AsyncIterator[bytes]:
        stream = self._httpcore_stream
        with self._map_exceptions():
            while True:
                if isinstance(chunk, Operation):
                    chunk = await adrive(chunk)
                if chunk is None:
                    return
                yield typing.cast("bytes", chunk)
                chunk = stream.next_chunk()

    async def aclose(self) -> None:
        """Ends the response and gives the connection back."""
        closing = self._httpcore_stream.end()
        if closing is not None:
            await closing


class _Arrived:
    """An asynchronous iterator over a chunk that has arrived, or over nothing. Event loops keep no record of it."""

    __slots__ = ("_chunk",)

    def __init__(self, chunk: bytes | None) -> None:
        self._chunk = chunk

    def __aiter__(self) -> _Arrived:
        return self

    async def __anext__(self) -> bytes:
        chunk, self._chunk = self._chunk, None
        if chunk is None:
            raise StopAsyncIteration
        return chunk


class FastPath:
    """Base class of the fast paths of one library, httpx or httpx2: for threads and for event loops."""

    # The names of the library's transport and of its method, and the base classes of the bodies of requests and of
    # responses.
    _transport: typing.ClassVar[str]
    _method: typing.ClassVar[str]
    _stream: typing.ClassVar[str]
    _body: typing.ClassVar[type]

    def __init__(self, library: typing.Any, package: Package) -> None:
        # The method that the fast path stands in for.
        self.own_handler = own_method(getattr(library, self._transport), self._method)
        module = sys.modules.get(getattr(self.own_handler, "__module__", ""))
        self.map_exceptions: typing.Any = getattr(module, "map_httpcore_exceptions", None)
        # `None` if all requests take the slow path.
        self._models: HttpxModels | None = None
        if self.map_exceptions is not None and _are_requests_known(library):
            stream = getattr(library, self._stream)
            members = {"_map_exceptions": staticmethod(self.map_exceptions), "__module__": __name__}
            body = type("ResponseStream", (self._body, stream), members)
            self._models = HttpxModels(
                package=package.name,
                request=library.Request,
                url=library.URL,
                headers=library.Headers,
                response=library.Response,
                request_stream=stream,
                response_stream=body,
                response_attributes=_response_attributes(library, body()),
            )


class SyncPath(FastPath):
    """The fast path of a library's transports for threads."""

    _transport, _method = "HTTPTransport", "handle_request"
    _stream, _body = "SyncByteStream", ResponseBody

    def handle(self, pool: typing.Any, request: httpx.Request) -> httpx.Response | None:
        """Sends a request. Returns its response, or `None` if the request has to take the slow path."""
        if (
            self._models is None
            or type(pool).handle_request is not _pool_handler
            or "handle_request" in pool.__dict__
            or pool._retrier is not None  # noqa: SLF001  # The pool is one of this package.
        ):
            return None
        try:
            engine: Engine = pool._engine  # noqa: SLF001  # The pool is one of this package.
            response: httpx.Response | None = finish(engine.handle_httpx_request(request, self._models))
        except Exception:
            with self.map_exceptions():
                raise
        return response


class AsyncPath(FastPath):
    """The fast path of a library's transports for event loops."""

    _transport, _method = "AsyncHTTPTransport", "handle_async_request"
    _stream, _body = "AsyncByteStream", AsyncResponseBody

    def start(self, pool: typing.Any, request: httpx.Request) -> Operation | None:
        """Returns the operation that sends a request, or `None` if the request has to take the slow path."""
        if (
            self._models is None
            or type(pool).handle_async_request is not _async_pool_handler
            or "handle_async_request" in pool.__dict__
            or pool._retrier is not None  # noqa: SLF001  # The pool is one of this package.
        ):
            return None
        try:
            engine: Engine = pool._engine  # noqa: SLF001  # The pool is one of this package.
            operation = engine.start_httpx_request(current_host(), request, self._models)
        except Exception:
            with self.map_exceptions():
                raise
        return operation


def own_method(cls: typing.Any, name: str) -> typing.Callable[..., typing.Any] | None:
    """Returns the method that a class of another library defines, also if it is wrapped; `None` if it was replaced."""
    method = inspect.unwrap(getattr(cls, name))
    neighbour = vars(cls).get("__aexit__", vars(cls).get("__exit__"))
    if not isinstance(method, types.FunctionType) or not isinstance(neighbour, types.FunctionType):
        return None
    is_own = method.__code__.co_filename == neighbour.__code__.co_filename and method.__code__.co_name == name
    return method if is_own else None


def _are_requests_known(library: typing.Any) -> bool:
    """Returns whether requests of the library can be read from the private attributes that the engine reads."""
    url = library.URL("https://user:word@h\u00f6st.example:8443/a b?c=d e#f")
    try:
        parts = url._uri_reference  # noqa: SLF001  # What is read here is what the engine reads.
        read = parts.scheme, parts.host, parts.port, f"{parts.path}?{parts.query}"
        fields = library.Headers([("Name", "Value")])._list  # noqa: SLF001
    except AttributeError:
        return False
    known = url.raw_scheme.decode(), url.raw_host.decode(), url.port, url.raw_path.decode()
    return read == known and fields == [(b"Name", b"name", b"Value")]


def _response_attributes(library: typing.Any, stream: object) -> dict[str, object] | None:
    """Returns the attributes of a new response. Returns `None` if the engine would not know how to set one of them."""
    response = library.Response(200, headers=[(b"Name", b"Value")], stream=stream, extensions={})
    attributes = vars(response)
    set_by_engine = {
        "status_code": 200,
        "headers": library.Headers([(b"Name", b"Value")]),
        "extensions": {},
        "history": [],
        "stream": stream,
    }
    # The others are shared by all responses.
    rest = [value for name, value in attributes.items() if name not in set_by_engine]
    is_known = all(attributes.get(name) == value for name, value in set_by_engine.items())
    is_known = is_known and all(value is None or isinstance(value, (bool, int, str)) for value in rest)
    fields = {"_list": [(b"Name", b"name", b"Value")], "_encoding": None}
    return attributes if is_known and vars(attributes["headers"]) == fields else None
