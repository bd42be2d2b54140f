"""`Proxy` for httpcore before 1.0.7, which has none of its own."""

from __future__ import annotations

import base64
import typing

if typing.TYPE_CHECKING:
    import ssl

    from httpcore import URL
    from httpcore._models import HeaderTypes

    from ._engine import TLSConfig


def proxy_class(models: typing.Any) -> type:
    """Returns a class like the one of httpcore 1.0.7, whose arguments the functions of `models` check."""

    class Proxy:
        """A proxy: its address, the headers for it, and how its certificate is verified."""

        def __init__(
            self,
            url: URL | bytes | str,
            auth: tuple[bytes | str, bytes | str] | None = None,
            headers: HeaderTypes = None,
            ssl_context: ssl.SSLContext | TLSConfig | None = None,
        ) -> None:
            self.url = models.enforce_url(url, name="url")
            self.auth: tuple[bytes, bytes] | None = None
            self.headers = models.enforce_headers(headers, name="headers")
            self.ssl_context = ssl_context
            if auth is not None:
                username, password = (models.enforce_bytes(part, name="auth") for part in auth)
                authorization = b"Basic " + base64.b64encode(username + b":" + password)
                self.auth = (username, password)
                self.headers = [(b"Proxy-Authorization", authorization), *self.headers]

    Proxy.__module__, Proxy.__qualname__ = "httpcore_rs", "Proxy"
    return Proxy
