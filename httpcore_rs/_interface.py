"""Makes requests from the arguments of `request()` and `stream()`, with httpcore's own checks and default headers."""

from __future__ import annotations

import typing

from ._engine import read_url

if typing.TYPE_CHECKING:
    from httpcore import URL, Request
    from httpcore._models import Extensions, HeaderTypes

    from ._package import Package


def build_request(
    package: Package,
    method: bytes | str,
    url: URL | bytes | str,
    headers: HeaderTypes,
    content: typing.Any,
    extensions: Extensions | None,
) -> Request:
    """Returns a request. Adds the `Host` header and, for a body, the header that frames it, if they are missing.

    Raises httpcore's `TypeError` or `ValueError` for arguments of a wrong type or value.
    """
    models = package.models
    method = models.enforce_bytes(method, name="method")
    url = _read(models, url)
    given = models.enforce_headers(headers, name="headers")
    complete = models.include_request_headers(given, url=url, content=content)
    request: Request = models.Request(method, url, headers=complete, content=content, extensions=extensions)
    return request


def _read(models: typing.Any, url: URL | bytes | str) -> URL:
    """Returns an `httpcore.URL`. The engine reads strings of the usual form, in a fraction of the time."""
    parts = read_url(url) if type(url) is str and url.isascii() else None
    if parts is None:
        parsed: URL = models.enforce_url(url, name="url")
        return parsed
    scheme, host, port, target = parts
    made: URL = models.URL(scheme=scheme, host=host, port=port, target=target)
    return made
