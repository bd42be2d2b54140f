"""Single requests without a pool of one's own."""

from __future__ import annotations

import contextlib
import typing

from ._sync import ConnectionPool

if typing.TYPE_CHECKING:
    from httpcore import URL, Response
    from httpcore._models import Extensions, HeaderTypes


def request(
    method: bytes | str,
    url: URL | bytes | str,
    *,
    headers: HeaderTypes = None,
    content: bytes | typing.Iterable[bytes] | None = None,
    extensions: Extensions | None = None,
) -> Response:
    """Sends a request over a connection of its own and returns its response, read to the end."""
    with ConnectionPool() as pool:
        return pool.request(method, url, headers=headers, content=content, extensions=extensions)


@contextlib.contextmanager
def stream(
    method: bytes | str,
    url: URL | bytes | str,
    *,
    headers: HeaderTypes = None,
    content: bytes | typing.Iterable[bytes] | None = None,
    extensions: Extensions | None = None,
) -> typing.Iterator[Response]:
    """Sends a request over a connection of its own; its response can be read within the `with` block."""
    with ConnectionPool() as pool:
        streaming = pool.stream(method, url, headers=headers, content=content, extensions=extensions)
        with streaming as response:
            yield response
