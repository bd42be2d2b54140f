"""Other blocking clients. Each is imported when it is made, since not every library exists for every Python."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from bench.checks import Answer, body
from bench.clients.interface import EXPIRY, WINDOW, Options
from bench.clients.under_httpx import Httpx


def configured(builder: Any, options: Options) -> Any:
    """Configures a builder of pyreqwest."""
    builder = builder.pool_idle_timeout(timedelta(seconds=EXPIRY))
    if options.ca:
        builder = builder.add_root_certificate_pem(options.pem)
    if not options.http2:
        return builder.http1_only()
    builder = builder.http2_prior_knowledge()
    return builder.http2_initial_stream_window_size(WINDOW).http2_initial_connection_window_size(8 * WINDOW)


def pyqwest_arguments(options: Options) -> dict[str, Any]:
    """Returns the arguments of a transport of pyqwest. Its telemetry, which others lack, is off."""
    from pyqwest import HTTPVersion

    return {
        "tls_ca_cert": options.pem if options.ca else None,
        "http_version": HTTPVersion.HTTP2 if options.http2 else HTTPVersion.HTTP1,
        "pool_idle_timeout": EXPIRY,
        "pool_max_idle_per_host": options.connections,
        "enable_otel": False,
    }


def niquests_session(kind: str, options: Options) -> Any:
    """Returns a session of niquests, of that class. Certificates are not looked up at their authority."""
    import niquests

    arguments = {
        "pool_connections": options.connections,
        "pool_maxsize": options.connections,
        "disable_http1": options.http2,
        "disable_http2": not options.http2,
        "disable_http3": True,
        "keepalive_delay": EXPIRY,
        "revocation_configuration": None,
        "verify": options.ca or True,
    }
    session = getattr(niquests, kind)(**arguments)
    # The environment may name other authorities.
    session.trust_env = False
    return session


class Pyreqwest:
    """pyreqwest's blocking client."""

    def __init__(self, options: Options) -> None:
        from pyreqwest.client import SyncClientBuilder

        self._client = configured(SyncClientBuilder(), options).build()

    def target(self, url: str) -> Any:
        return url

    def get(self, target: Any) -> Answer:
        response = self._client.get(target).build().send()
        return response.status, len(response.bytes())

    def download(self, url: str) -> Answer:
        length = 0
        with self._client.get(url).build_streamed() as response:
            while (chunk := response.body_reader.read_chunk()) is not None:
                length += len(chunk)
            return response.status, length

    def upload(self, url: str) -> Answer:
        response = self._client.put(url).body_stream(body()).build().send()
        return response.status, len(response.bytes())

    def close(self) -> None:
        self._client.close()


def httpx_over_pyreqwest(options: Options) -> Httpx:
    """Returns httpx over the transport that pyreqwest brings."""
    from pyreqwest.client import SyncClientBuilder
    from pyreqwest.compatibility.httpx import SyncHttpxTransport

    return Httpx(SyncHttpxTransport(configured(SyncClientBuilder(), options).build()))


class Pyqwest:
    """pyqwest's blocking client."""

    def __init__(self, options: Options) -> None:
        import pyqwest

        self._transport = pyqwest.SyncHTTPTransport(**pyqwest_arguments(options))
        self._client = pyqwest.SyncClient(self._transport)

    def target(self, url: str) -> Any:
        return url

    def get(self, target: Any) -> Answer:
        response = self._client.get(target)
        return response.status, len(response.content)

    def download(self, url: str) -> Answer:
        with self._client.stream("GET", url) as response:
            return response.status, sum(map(len, response.content))

    def upload(self, url: str) -> Answer:
        response = self._client.put(url, content=body())
        return response.status, len(response.content)

    def close(self) -> None:
        self._transport.close()


def httpx_over_pyqwest(options: Options) -> Httpx:
    """Returns httpx over the transport that pyqwest brings."""
    import pyqwest
    from pyqwest.httpx import PyqwestTransport

    return Httpx(PyqwestTransport(pyqwest.SyncHTTPTransport(**pyqwest_arguments(options))))


class Urllib3:
    """urllib3's pool manager."""

    def __init__(self, options: Options) -> None:
        import urllib3

        self._pool = urllib3.PoolManager(
            num_pools=options.connections,
            maxsize=options.connections,
            retries=False,
            ssl_context=options.context(),
        )

    def target(self, url: str) -> str:
        return url

    def get(self, target: str) -> Answer:
        response = self._pool.request("GET", target)
        return response.status, len(response.data)

    def download(self, url: str) -> Answer:
        response = self._pool.request("GET", url, preload_content=False)
        length = sum(map(len, response.stream(64 * 1024)))
        response.release_conn()
        return response.status, length

    def upload(self, url: str) -> Answer:
        response = self._pool.request("PUT", url, body=body(), chunked=True)
        return response.status, len(response.data)

    def close(self) -> None:
        self._pool.clear()


class Niquests:
    """A session of niquests."""

    def __init__(self, options: Options) -> None:
        self._session = niquests_session("Session", options)

    def target(self, url: str) -> str:
        return url

    def get(self, target: str) -> Answer:
        response = self._session.get(target)
        return response.status_code, len(response.content)

    def download(self, url: str) -> Answer:
        response = self._session.get(url, stream=True)
        return response.status_code, sum(map(len, response.iter_content(64 * 1024)))

    def upload(self, url: str) -> Answer:
        response = self._session.put(url, data=body())
        return response.status_code, len(response.content or b"")

    def close(self) -> None:
        self._session.close()
