"""The socket that `network_stream.get_extra_info("socket")` returns."""

from __future__ import annotations

import socket


class DuplicateSocket(socket.socket):
    """A socket of its own descriptor on the connection's own stream: for options and addresses, not for moving bytes.

    Forgetting it closes that descriptor silently; the connection is not affected.
    """

    def __del__(self) -> None:
        self.close()
