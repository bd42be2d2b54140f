"""The tests that are left out on Windows, with the reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

# By the fixtures that a test takes.
FIXTURES = {
    "asgi": "sys.platform == 'win32': hypercorn takes over listening sockets, which processes cannot pass on",
    "program": "sys.platform == 'win32': the programs send signals, fork, or measure by /proc",
}

# By the values of its parameters.
LIBRARIES = {
    "uvloop": "sys.platform == 'win32': there is no uvloop",
    "trio": "sys.platform == 'win32': trio is not tested",
}


def reason_to_skip(item: pytest.Item) -> str | None:
    """Returns the reason why a test cannot run on Windows."""
    for fixture, reason in FIXTURES.items():
        if fixture in getattr(item, "fixturenames", ()):
            return reason
    spec = getattr(item, "callspec", None)
    for value in spec.params.values() if spec is not None else ():
        for name in value if isinstance(value, tuple) else (value,):
            if isinstance(name, str) and name in LIBRARIES:
                return LIBRARIES[name]
    return None
