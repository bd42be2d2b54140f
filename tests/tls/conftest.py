"""Fixtures of the tests of TLS."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from certificates import Certificates


@pytest.fixture
def context(certificates: Certificates) -> ssl.SSLContext:
    """Returns a context as users make it, which trusts the tests' authority."""
    return ssl.create_default_context(cafile=str(certificates.ca))
