"""The description of a `TLSConfig`, its pickled form, and its warnings."""

from __future__ import annotations

import inspect
import logging
import typing

from ._engine import TLSConfig
from ._ssl_context import BUFFERS

logger = logging.getLogger("httpcore_rs.tls")

_warned: set[str] = set()

REASONS = {
    "verify=False": (
        "certificates of servers are not verified: anything between the program and a server can read and change what "
        "is sent"
    ),
    "verify_hostname=False": (
        "certificates of servers are not checked for the server's name: every server with a certificate of a trusted "
        "authority can pretend to be another one"
    ),
}


def warn_once(option: str) -> None:
    """Logs a warning about an option that turns verification off, once in each process."""
    if option not in _warned:
        _warned.add(option)
        logger.warning("TLSConfig(%s): %s", option, REASONS[option])


def describe(config: TLSConfig) -> str:
    """Returns the text of `repr(config)`: the arguments that differ from the defaults, without what is secret."""
    changed = _changed(config)
    if changed.get("verify") is True:  # It means the same as `None`, the default.
        del changed["verify"]
    shown = (f"{name}={_shown(name, value)}" for name, value in changed.items())
    return f"httpcore_rs.TLSConfig({', '.join(shown)})"


def reduce(config: TLSConfig) -> tuple[typing.Callable[..., TLSConfig], tuple[dict[str, typing.Any]]]:
    """Returns what pickles a configuration. Keys and passwords travel as paths and functions only."""
    arguments = _changed(config)
    cert = arguments.get("cert")
    parts = cert if isinstance(cert, tuple) else (cert,)
    # The key is the second part, or is with the chain in the first.
    if any(isinstance(part, BUFFERS) for part in parts[:2][-1:]):
        raise TypeError("TLSConfig: a private key in memory is not pickled; pass the path of its file as cert")
    if len(parts) > 2 and not callable(parts[2]) and parts[2] is not None:
        raise TypeError("TLSConfig: a password is not pickled; pass a function of a module that returns it")
    for name, value in arguments.items():
        arguments[name] = [_plain(item) for item in value] if isinstance(value, list) else _plain(value)
    return _build, (arguments,)


def _build(arguments: dict[str, typing.Any]) -> TLSConfig:
    return TLSConfig(**arguments)


def _changed(config: TLSConfig) -> dict[str, typing.Any]:
    """Returns the arguments that differ from their defaults."""
    parameters = inspect.signature(TLSConfig).parameters.values()
    values = {parameter.name: (getattr(config, parameter.name), parameter.default) for parameter in parameters}
    return {name: value for name, (value, default) in values.items() if value is not default and value != default}


def _plain(value: typing.Any) -> typing.Any:
    return value.tobytes() if isinstance(value, memoryview) else value


def _shown(name: str, value: typing.Any) -> str:
    if name == "cert" and isinstance(value, tuple):
        # The third part is a password.
        return f"({', '.join(_shown('', part) for part in value[:2])})"
    if isinstance(value, BUFFERS) or name == "cadata":
        return "..."
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_shown('', item) for item in value)}]"
    return repr(value)
