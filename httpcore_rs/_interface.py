"""Requests as `pool.request()` and `pool.stream()` take them, checked and completed as httpcore does it."""

from __future__ import annotations

import typing

from httpcore import URL, Request
from httpcore._models import enforce_bytes, enforce_headers, enforce_url, include_request_headers

if typing.TYPE_CHECKING:
    from httpcore._models import Extensions, HeaderTypes


def build_request(
    method: bytes | str,
    url: URL | bytes | str,
    headers: HeaderTypes,
    content: typing.Any,
    extensions: Extensions | None,
) -> Request:
    """The request for these arguments; `Host` and, where there is a body, its framing are added if they are missing."""
    method = enforce_bytes(method, name="method")
    url = enforce_url(url, name="url")
    complete = include_request_headers(enforce_headers(headers, name="headers"), url=url, content=content)
    return Request(method=method, url=url, headers=complete, content=content, extensions=extensions)
