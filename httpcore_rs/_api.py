"""Single requests without a pool of one's own."""

from __future__ import annotations

import contextlib
import typing

from ._sync import ConnectionPool

if typing.TYPE_CHECKING:
    from httpcore import URL, Response
    from httpcore._models import Extensions, HeaderTypes


class API:
    """httpcore's functions, over pools of one class."""

    def __init__(self, pool: type[ConnectionPool]) -> None:
        self._pool = pool

    def request(
        self,
        method: bytes | str,
        url: URL | bytes | str,
        *,
        headers: HeaderTypes = None,
        content: bytes | typing.Iterable[bytes] | None = None,
        extensions: Extensions | None = None,
    ) -> Response:
        """Sends a request over a connection of its own and returns its response, read to the end."""
        with self._pool() as pool:
            return pool.request(method, url, headers=headers, content=content, extensions=extensions)

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
        """Sends a request over a connection of its own; its response can be read within the `with` block."""
        with self._pool() as pool:
            streaming = pool.stream(method, url, headers=headers, content=content, extensions=extensions)
            with streaming as response:
                yield response


_api = API(ConnectionPool)
request = _api.request
stream = _api.stream
