"""Requests in the middle of requests: from signal handlers, finalizers and bodies, on the same pool.

Each scenario is a small program of its own (`programs`): signal handlers run on the main thread only.
"""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING, Any

from peers import always, reply

if TYPE_CHECKING:
    from certificates import Certificates
    from conftest import Serve


def test_a_signal_while_a_session_of_python_begins(serve: Serve, certificates: Certificates, program: Any) -> None:
    source = """
    import ssl

    class Context(ssl.SSLContext):
        is_signalled = False

        def wrap_bio(self, *args, **kwargs):
            if not self.is_signalled:
                self.is_signalled = True
                signal.raise_signal(signal.SIGUSR1)
            return super().wrap_bio(*args, **kwargs)

    def handle(number, frame):
        inner.append(pool.request("GET", url).content)

    inner = []
    signal.signal(signal.SIGUSR1, handle)
    context = Context(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(sys.argv[2])
    pool = httpcore_rs.ConnectionPool(ssl_context=context)
    print(pool.request("GET", url).content, inner)
    pool.close()
    """
    peer = serve(always(reply(b"ok")), tls=certificates.server_context())
    assert program(dedent(source), peer.url, str(certificates.ca)).output() == "b'ok' [b'ok']\n"
