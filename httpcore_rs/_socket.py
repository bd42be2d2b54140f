"""The socket that `get_extra_info("socket")` of a network stream returns."""

from __future__ import annotations

import socket


class DuplicateSocket(socket.socket):
    """A duplicate of the socket of a connection, for options and addresses. It must not be read or written.

    Its descriptor is its own: closing it has no effect on the connection. It is closed without a `ResourceWarning` when
    the object is freed.
    """

    def __del__(self) -> None:
        self.close()
