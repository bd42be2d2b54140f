"""`repr()` of a `TLSConfig`, which logs and trace events show. No password is in it."""

from __future__ import annotations

import os

from ._engine import TLSConfig

# By argument: its default.
_DEFAULTS = {"verify": None, "trust_env": True, "system_store": False, "minimum_version": None}


def _repr_of_tls_config(self: TLSConfig) -> str:
    given = {name: getattr(self, name) for name in _DEFAULTS}
    if given["verify"] is True:
        given["verify"] = None  # The same.
    parts = [f"{name}={given[name]!r}" for name, default in _DEFAULTS.items() if given[name] != default]
    if self.cert is not None:
        # The third part of a tuple is a password.
        cert = self.cert if isinstance(self.cert, (str, os.PathLike)) else tuple(self.cert)[:2]
        parts.append(f"cert={cert!r}")
    if self.cadata is not None:
        parts.append("cadata=...")
    return f"httpcore_rs.TLSConfig({', '.join(parts)})"


TLSConfig.__repr__ = _repr_of_tls_config  # type: ignore[method-assign,assignment]
