"""The properties of `Timings` that ask the network stream of a response, which may be one of a user's backend."""

from __future__ import annotations

import typing

from ._engine import Timings

_SECONDS = ("waiting", "dns", "connect", "proxy", "tls", "sent", "first_byte", "total")
_OTHERS = (
    "attempts",
    "reused",
    "started_at",
    "local_address",
    "peer_address",
    "tls_version",
    "tls_cipher",
    "alpn_protocol",
)


def _property(function: typing.Callable[[Timings], typing.Any]) -> None:
    """Makes a function a property of `Timings`."""
    setattr(Timings, function.__name__, property(function))


def _ssl_object(timings: Timings) -> typing.Any:
    return timings.network_stream.get_extra_info("ssl_object")


@_property
def local_address(self: Timings) -> typing.Any:
    """The local address, as in Python's `socket` module; `None` when the connection is closed."""
    return self.network_stream.get_extra_info("client_addr")


@_property
def peer_address(self: Timings) -> typing.Any:
    """The address of the origin or the proxy, as in Python's `socket` module; `None` when the connection is closed."""
    return self.network_stream.get_extra_info("server_addr")


@_property
def tls_version(self: Timings) -> str | None:
    """The version of TLS, such as `"TLSv1.3"`; `None` without TLS."""
    ssl_object = _ssl_object(self)
    return None if ssl_object is None else ssl_object.version()


@_property
def tls_cipher(self: Timings) -> str | None:
    """The name of the cipher suite, such as `"TLS_AES_256_GCM_SHA384"`; `None` without TLS."""
    ssl_object = _ssl_object(self)
    cipher = None if ssl_object is None else ssl_object.cipher()
    return cipher and cipher[0]


@_property
def alpn_protocol(self: Timings) -> str | None:
    """The protocol that ALPN has chosen, such as `"h2"`; `None` without TLS, or if the server has chosen none."""
    ssl_object = _ssl_object(self)
    return None if ssl_object is None else ssl_object.selected_alpn_protocol()


def _as_dict(self: Timings) -> dict[str, typing.Any]:
    """Returns all values in a dictionary."""
    return {name: getattr(self, name) for name in _SECONDS + _OTHERS}


_as_dict.__name__, _as_dict.__qualname__ = "as_dict", "Timings.as_dict"
Timings.as_dict = _as_dict  # type: ignore[method-assign]
