"""Name resolution: callers for one host and port share one lookup, in threads and in event loops."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import textwrap
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Callable

import pytest

from flavours import Flavour, Sync, trio, uvloop
from httpcore_rs import _resolver
from peers import always, reply

if TYPE_CHECKING:
    from peers import Serve

HOST = "named.test"
FAILURE = socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def addresses(port: int) -> list[Any]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


class Interruption(BaseException):
    """Ends a lookup, as Ctrl-C or the end of a greenlet does."""


class Names:
    """A resolver that counts its lookups. Each of them lasts until the test ends it."""

    def __init__(self) -> None:
        self.lookups: Counter[tuple[str, int]] = Counter()
        self.running = 0
        self.waiting: list[int] = []  # the threads that have begun to wait for a lookup of another one
        self.answer = threading.Event()
        self.error: BaseException | None = None  # raised by each lookup that is answered

    def __call__(self, host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        self.begin(host, port)
        try:
            assert self.answer.wait(60)
        finally:
            self.running -= 1
        return self.outcome(port)

    async def of_loop(self, host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        sleep = trio.sleep if trio is not None and trio.lowlevel.in_trio_run() else asyncio.sleep
        self.begin(host, port)
        try:
            while not self.answer.is_set():
                await sleep(0.002)
        finally:
            self.running -= 1
        return self.outcome(port)

    def begin(self, host: str, port: int) -> None:
        self.lookups[host, port] += 1
        self.running += 1

    def outcome(self, port: int) -> list[Any]:
        if self.error is not None:
            raise self.error
        return addresses(port)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """Returns the resolver of threads, of asyncio, of uvloop and of trio."""
    made = Names()

    async def of_asyncio(_: Any, *args: Any, **kwargs: Any) -> list[Any]:
        return await made.of_loop(*args, **kwargs)

    class Lookup(_resolver._Lookup):
        __slots__ = ()

        def wait(self, deadline: float | None) -> bool:
            made.waiting.append(threading.get_ident())
            return super().wait(deadline)

    monkeypatch.setattr(_resolver, "_Lookup", Lookup)
    monkeypatch.setattr(socket, "getaddrinfo", made)
    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", of_asyncio)
    if trio is not None:
        monkeypatch.setattr(trio.socket, "getaddrinfo", made.of_loop)
    if uvloop is not None:
        monkeypatch.setattr(uvloop.Loop, "getaddrinfo", of_asyncio)
    return made


def resolver(flavour: Flavour) -> Callable[..., Any]:
    """Returns the function `resolve` of this flavour, created in the running loop."""
    if isinstance(flavour, Sync):

        async def resolve(*args: Any) -> Any:
            return _resolver.resolve(*args)

        return resolve
    if flavour.name == "trio":
        return _resolver.TrioResolver().resolve
    return _resolver.AsyncioResolver(asyncio.get_running_loop()).resolve


def asking(flavour: Flavour, count: int, *arguments: Any) -> list[Any]:
    resolve = resolver(flavour)
    return [flavour.start(lambda: resolve(*arguments)) for _ in range(count)]


async def all_wait(flavour: Flavour, names: Names, count: int) -> None:
    """Waits until this many callers run or wait for a lookup: threads begin late on a busy machine, tasks do not."""
    await flavour.until(lambda: names.running and (flavour.is_async or names.running + len(names.waiting) == count))
    await flavour.sleep(0.05)


async def test_concurrent_callers_share_one_lookup(flavour: Flavour, names: Names) -> None:
    tasks = asking(flavour, 20, HOST, 80, 60.0)
    await all_wait(flavour, names, 20)
    names.answer.set()
    assert [await task.wait() for task in tasks] == [addresses(80)] * 20
    assert names.lookups == {(HOST, 80): 1}


async def test_other_hosts_and_ports_have_lookups_of_their_own(flavour: Flavour, names: Names) -> None:
    resolve = resolver(flavour)
    keys = [(HOST, 80), (HOST, 443), ("other.test", 80)]
    tasks = [flavour.start(lambda key=key: resolve(*key, None)) for key in keys * 2]
    await all_wait(flavour, names, 6)
    await flavour.until(lambda: names.running == 3)
    names.answer.set()
    assert [await task.wait() for task in tasks] == [addresses(port) for _, port in keys * 2]
    assert names.lookups == dict.fromkeys(keys, 1)


async def test_nothing_is_cached(flavour: Flavour, names: Names) -> None:
    names.answer.set()
    resolve = resolver(flavour)
    for count in range(1, 4):
        assert await resolve(HOST, 80, 1.0) == addresses(80)
        assert names.lookups == {(HOST, 80): count}


async def test_an_error_reaches_every_caller_as_its_own_exception(flavour: Flavour, names: Names) -> None:
    names.error = FAILURE
    tasks = asking(flavour, 10, HOST, 80, None)
    await all_wait(flavour, names, 10)
    names.answer.set()
    errors = []
    for task in tasks:
        with pytest.raises(socket.gaierror, match="Name or service not known") as caught:
            await task.wait()
        errors.append(caught.value)
    assert len({id(error) for error in errors}) == 10
    assert {error.args for error in errors} == {FAILURE.args}
    assert names.lookups == {(HOST, 80): 1}
    names.error = None
    assert await resolver(flavour)(HOST, 80, None) == addresses(80)


async def test_a_waiter_that_times_out_leaves_the_others_waiting(flavour: Flavour, names: Names) -> None:
    resolve = resolver(flavour)
    patient = flavour.start(lambda: resolve(HOST, 80, 10.0))
    await flavour.until(lambda: names.running)
    assert await resolve(HOST, 80, 0.05) is None
    assert not patient.done
    names.answer.set()
    assert await patient.wait() == addresses(80)
    assert names.lookups == {(HOST, 80): 1}


async def test_a_cancelled_first_caller_leaves_the_lookup_to_the_others(async_flavour: Flavour, names: Names) -> None:
    tasks = asking(async_flavour, 3, HOST, 80, None)
    await async_flavour.until(lambda: names.running)
    tasks[0].cancel()
    await tasks[0].finished()
    names.answer.set()
    assert [await task.wait() for task in tasks[1:]] == [addresses(80)] * 2
    assert tasks[0].cancelled
    assert names.lookups == {(HOST, 80): 1}


@pytest.mark.parametrize("leaving", ["cancelled", "timed out"])
async def test_the_last_waiter_that_leaves_ends_the_lookup(async_flavour: Flavour, names: Names, leaving: str) -> None:
    living = async_flavour.living()
    tasks = asking(async_flavour, 3, HOST, 80, 0.05 if leaving == "timed out" else None)
    await async_flavour.until(lambda: names.lookups)
    if leaving == "cancelled":
        for task in tasks:
            task.cancel()
    for task in tasks:
        await task.finished()
    await async_flavour.until(lambda: names.running == 0)
    await async_flavour.until(lambda: async_flavour.living() == living)
    # The next caller does not find the lookup that was ended.
    names.answer.set()
    assert await resolver(async_flavour)(HOST, 80, None) == addresses(80)
    assert names.lookups == {(HOST, 80): 2}


async def test_an_error_without_a_waiter_is_not_reported(asyncio_flavour: Flavour, names: Names) -> None:
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    names.error = FAILURE
    # Cancelled in the turn of the loop in which the lookup fails.
    task = asking(asyncio_flavour, 1, HOST, 80, None)[0]
    await asyncio_flavour.until(lambda: names.running)
    names.answer.set()
    await asyncio_flavour.until(lambda: names.running == 0)
    task.cancel()
    await task.finished()
    gc.collect()
    await asyncio_flavour.sleep(0.01)
    assert reported == []


async def test_a_lookup_cancelled_from_outside_is_run_again(asyncio_flavour: Flavour, names: Names) -> None:
    before = asyncio.all_tasks()
    asking_task = asking(asyncio_flavour, 1, HOST, 80, None)[0]
    await asyncio_flavour.until(lambda: names.running)
    (lookup,) = (task for task in asyncio.all_tasks() - before if "getaddrinfo" in repr(task.get_coro()))
    lookup.cancel()
    await asyncio_flavour.until(lambda: names.lookups[HOST, 80] == 2)
    names.answer.set()
    assert await asking_task.wait() == addresses(80)


async def test_an_exception_that_is_no_exception_reaches_the_caller(flavour: Flavour, names: Names) -> None:
    names.error = Interruption()
    names.answer.set()
    with pytest.raises(Interruption):
        await resolver(flavour)(HOST, 80, None)


# Threads.


def test_a_waiter_runs_the_lookup_again_when_its_thread_is_interrupted(names: Names) -> None:
    outcomes: list[Any] = []

    def ask() -> None:
        try:
            outcomes.append(_resolver.resolve(HOST, 80, 10.0))
        except Interruption:
            outcomes.append("interrupted")
            names.error = None

    names.error = Interruption()
    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    while names.running + len(names.waiting) < 5:
        time.sleep(0.005)
    time.sleep(0.05)
    names.answer.set()
    for thread in threads:
        thread.join(60)
    # One of the waiters may have been fast enough to get the second interruption.
    assert outcomes.count(addresses(80)) + outcomes.count("interrupted") == 5
    assert addresses(80) in outcomes
    assert not _resolver._lookups


@pytest.mark.parametrize("same_thread", [True, False])
def test_a_lookup_that_is_interrupted_before_it_begins_is_begun_again(
    monkeypatch: pytest.MonkeyPatch, names: Names, same_thread: bool
) -> None:
    class Lookups(dict[Any, Any]):
        is_interrupted = False

        def setdefault(self, key: Any, default: Any = None) -> Any:
            lookup = super().setdefault(key, default)
            if not self.is_interrupted:
                # As Ctrl-C does when it arrives after this call.
                self.is_interrupted = True
                raise Interruption
            return lookup

    lookups = Lookups()
    monkeypatch.setattr(_resolver, "_lookups", lookups)
    names.answer.set()
    with contextlib.suppress(Interruption):
        _resolver.resolve(HOST, 80, 5.0)
    found: list[Any] = []
    again = threading.Thread(target=lambda: found.append(_resolver.resolve(HOST, 80, 5.0)))
    if same_thread:
        again.run()
    else:
        again.start()
        again.join()
    assert found == [addresses(80)]
    assert lookups == {}


def test_a_signal_handler_does_not_wait_for_the_lookup_that_it_interrupts(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []

    def getaddrinfo(host: str, port: int, *_: Any) -> list[Any]:
        if not found:
            found.append("outer")
            signal.raise_signal(signal.SIGUSR1)
        return addresses(port)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    before = signal.signal(signal.SIGUSR1, lambda *_: found.append(_resolver.resolve(HOST, 80, 5.0)))
    try:
        assert _resolver.resolve(HOST, 80, 5.0) == addresses(80)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert found == ["outer", addresses(80)]


def test_a_forked_child_does_not_wait_for_a_thread_of_its_parent(program: Any) -> None:
    source = """
    import socket
    from httpcore_rs import _resolver
    parent, go = os.getpid(), threading.Event()
    def getaddrinfo(host, port, *_):
        if os.getpid() == parent:
            go.wait(20)
        return host
    socket.getaddrinfo = getaddrinfo
    thread = threading.Thread(target=_resolver.resolve, args=("named.test", 80, None))
    thread.start()
    while not _resolver._lookups:
        pass
    if (child := os.fork()) == 0:
        os._exit(0 if _resolver.resolve("named.test", 80, 5.0) == "named.test" else 1)
    assert os.waitpid(child, 0)[1] == 0
    go.set()
    thread.join()
    """
    # CPython 3.12 warns of a fork beside threads.
    quiet = "import warnings\nwarnings.simplefilter('ignore', DeprecationWarning)\n"
    source = quiet + textwrap.dedent(source)
    assert program(source, "unused").output() == ""


def test_a_failed_lookup_leaves_no_cycle(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*_: Any) -> list[Any]:
        raise socket.gaierror(*FAILURE.args)

    def living() -> int:
        return sum(isinstance(entry, _resolver._Lookup) for entry in gc.get_objects())

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    gc.collect()
    gc.disable()
    try:
        before = living()
        for _ in range(3):
            with contextlib.suppress(socket.gaierror):
                _resolver.resolve(HOST, 80, None)
        assert living() == before
    finally:
        gc.enable()


# Through a pool.


async def test_sixty_requests_to_one_name_make_one_lookup(flavour: Flavour, names: Names, serve: Serve) -> None:
    peer = serve(always(reply(b"ok")))
    async with flavour.pool(max_connections=60) as pool:
        tasks = [flavour.start(lambda: pool.request("GET", f"http://{HOST}:{peer.port}/")) for _ in range(60)]
        await all_wait(flavour, names, 60)
        names.answer.set()
        assert {(await task.wait()).content for task in tasks} == {b"ok"}
    assert names.lookups == {(HOST, peer.port): 1}
