"""The thread that waits for the sockets of an event loop on Windows, where a loop cannot watch the engine's poller.

asyncio's Proactor loop and trio wait for a completion port of their own, and asyncio's Selector loop for sockets only.
This thread waits for the completion port of the engine and has the loop call `turn`, which does all the rest.
"""

from __future__ import annotations

import contextlib
import threading
import typing
import weakref

if typing.TYPE_CHECKING:
    from ._engine import Host


def start_poller_thread(host: Host, turn: typing.Callable[[Host], None]) -> None:
    """Starts the thread of a host. It holds neither the host nor its loop, and ends when the host is freed.

    It is a daemon thread: the interpreter does not wait for it at exit.
    """
    wait, reference = host.waiter(), weakref.ref(host)  # type: ignore[attr-defined,unused-ignore]  # exists on Windows

    def run() -> None:
        while wait():
            _call_on_loop(turn, reference())

    threading.Thread(target=run, name="httpcore_rs", daemon=True).start()


def _call_on_loop(turn: typing.Callable[[Host], None], host: Host | None) -> None:
    if host is None:
        return
    token: typing.Any = host.token
    call = token.call_soon_threadsafe if hasattr(token, "call_soon_threadsafe") else token.run_sync_soon
    # Raised by a loop that has been closed. It has dropped its host.
    with contextlib.suppress(RuntimeError):
        call(turn, host)
