"""Refuses interpreters that the engine is not made for, before the import of the engine fails with less clear words."""

from __future__ import annotations

import sys


def check(implementation: str) -> None:
    """Raises `ImportError` unless the implementation is CPython."""
    if implementation != "cpython":
        raise ImportError(
            f"httpcore_rs supports CPython only, and this is {implementation}: "
            "use httpcore itself, whose interface is the same"
        )


check(sys.implementation.name)
