"""`install()` and `uninstall()`: the pools of this package in the transports that httpx and httpx2 make themselves."""

from __future__ import annotations

import functools
import importlib
import inspect
import itertools
import typing
import weakref

from . import _startup
from ._drive import adrive
from ._fork_lock import ForkLock
from ._installation import Covered, Installation, Settings, log, version_of
from ._mixed_pools import mixed_class
from ._options import DEFAULTS
from ._wrong_pairs import check_request

if typing.TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._fast_path import AsyncPath, SyncPath
    from ._options import PoolOptions
    from ._transports import RustPoolTransportMixin

# The module with the transports of this package, by library. httpx2 comes first: it may have taken the place of httpx
# (`alias_httpx()`).
_LIBRARIES = {"httpx2": "httpx2", "httpx": "_httpx"}
# The classes of a library, and the classes of this package that make the pools for them.
_TRANSPORTS = {"HTTPTransport": "SyncTransport", "AsyncHTTPTransport": "AsyncTransport"}
# The same for the pools of httpcore and httpcore2.
_CORES = {"httpcore2": ".httpcore2", "httpcore": "."}
_POOLS = ("ConnectionPool", "HTTPProxy", "SOCKSProxy", "AsyncConnectionPool", "AsyncHTTPProxy", "AsyncSOCKSProxy")

Init = typing.Callable[..., None]


class _State:
    """The calls of `install()` in effect, and the replacements of methods by class."""

    # In the order in which they came into effect. The last one decides about options and pools.
    in_effect: typing.ClassVar[list[Settings]] = []
    current: typing.ClassVar[Settings | None] = None
    # All of them, those included that a `with` block may bring back.
    known: typing.ClassVar[weakref.WeakSet[Settings]] = weakref.WeakSet()
    serials: typing.ClassVar[typing.Iterator[int]] = itertools.count(1)
    changed: typing.ClassVar[dict[typing.Any, list[_Replacement]]] = {}
    # The classes of httpcore's and httpcore2's pools among those of `changed`.
    pools: typing.ClassVar[set[typing.Any]] = set()
    # Libraries whose transports of this package were being imported when they were to be covered.
    postponed: typing.ClassVar[set[str]] = set()


# Held while the classes are changed.
_changes = ForkLock()


class _Replacement(typing.NamedTuple):
    """A method of a class, and the one that replaces it."""

    name: str
    original: typing.Any
    replacing: typing.Any

    def put(self, cls: typing.Any) -> None:
        """Replaces the method, unless something else is in its place."""
        if getattr(cls, self.name) is self.original:
            setattr(cls, self.name, self.replacing)

    def undo(self, cls: typing.Any) -> None:
        """Puts the original back. A patch on top of the replacement stays; from now on that calls the original."""
        if getattr(cls, self.name) is self.replacing:
            setattr(cls, self.name, self.original)


def install(*, httpcore: bool = False, **options: Unpack[PoolOptions]) -> Installation:
    """Puts the pools of this package into each `HTTPTransport` and `AsyncHTTPTransport` that httpx and httpx2 make.

    This covers every client that is not given a transport of another kind, the clients inside SDKs, and the proxies
    that clients take from the environment. The arguments of the transports keep their meaning; TLS is done by rustls
    unless `verify` is an `ssl.SSLContext`. Subclasses of the transports are covered as well, and patches of
    `handle_request()` keep working. Transports that exist already stay as they are. A further call only replaces the
    options.

    The result shows what is covered, and which packages prefer another HTTP client; the logger `httpcore_rs` says the
    same. In a `with` statement, `install()` is undone at the end of the block, and what was in effect before it is in
    effect again.

    Parameters:
        httpcore: Whether the pools of httpcore and httpcore2 themselves are covered as well: `httpcore.ConnectionPool`,
            `HTTPProxy` and `SOCKSProxy`, and the async ones. sentry-sdk makes them, for example.
        options: The options that httpcore does not have (`total_timeout`, `connect_policy`, ...), for all pools, as
            `ConnectionPool` takes them. The transports take them as well while this is in effect, and also
            `network_backend`.

    Raises `ModuleNotFoundError` if neither httpx nor httpx2 is installed and `httpcore` is false, and `TypeError` for
    an option that does not exist. `uninstall()` undoes it.
    """
    for name in options:
        if name not in DEFAULTS:
            raise TypeError(f"install() got an unexpected keyword argument {name!r}")
    found = [library for library in _LIBRARIES if _is_installed(library)]
    if not found and not httpcore:
        raise ModuleNotFoundError("httpcore_rs.install() needs httpx or httpx2, and neither is installed")
    # Imported without the lock: another thread may import them, and wait for the lock.
    transports = {library: _transports_of(library) for library in found}
    cores = [core for core in _CORES if httpcore and _is_installed(core)]
    covered = [_covered(library, tuple(_TRANSPORTS)) for library in found]
    covered += [_covered(core, _POOLS) for core in cores]
    installation = Installation(tuple(covered), httpcore, options)
    with _changes.lock:
        for library in found:
            _prepare_transports(library, transports[library])
        for core in cores:
            _prepare_pools(core)
        installation.replaced = tuple(each for each in _State.in_effect if not each.blocks)
        for each in installation.replaced:
            _State.in_effect.remove(each)
        _add(installation.settings, is_new=True)
        _apply()
    log(installation.covered)
    return installation


def uninstall() -> None:
    """Undoes `install()`. Transports that were made in between keep their pools."""
    _startup.stop()
    with _changes.lock:
        for each in _State.known:
            each.is_over = True
        _State.in_effect.clear()
        _State.postponed.clear()
        _apply()


def enter(installation: Installation) -> None:
    """Begins a `with` block: brings back what its call of `install()` has replaced, below it.

    Other threads may have called `install()`, or entered and left their blocks, since that call.
    """
    settings = installation.settings
    with _changes.lock:
        for each in installation.replaced:
            if not each.is_over:
                _add(each, is_new=False)
        installation.replaced = ()
        settings.blocks += 1
        _add(settings, is_new=settings not in _State.in_effect)
        _apply()


def leave(installation: Installation) -> None:
    """Ends a `with` block."""
    settings = installation.settings
    with _changes.lock:
        settings.blocks -= 1
        if not settings.blocks:
            settings.is_over = True
            if settings in _State.in_effect:
                _State.in_effect.remove(settings)
        _apply()


def _add(settings: Settings, *, is_new: bool) -> None:
    """Puts settings into effect: above all others if they are new, otherwise where they were."""
    if is_new:
        settings.serial = next(_State.serials)
    settings.is_over = False
    _State.known.add(settings)
    if settings not in _State.in_effect:
        _State.in_effect.append(settings)
    _State.in_effect.sort(key=lambda each: each.serial)


def cover_imported(library: str, httpcore: bool) -> None:
    """Covers a library that has just been imported, for a program that was started with `HTTPCORE_RS_INSTALL`."""
    transports = _transports_of(library) if library in _LIBRARIES else None
    ours = transports or importlib.import_module(_CORES[library], __package__)
    if not hasattr(ours, "AsyncClient" if transports else "AsyncSOCKSProxy"):
        # It is that module which imports the library. `cover_postponed()` is its last line.
        _State.postponed.add(library)
        return
    with _changes.lock:
        if transports is not None:
            _prepare_transports(library, transports)
        else:
            _prepare_pools(library)
        if not _State.in_effect:
            _add(Settings((), httpcore, {}), is_new=True)
        covering = _State.in_effect[0]
        covered = _covered(library, _POOLS if transports is None else tuple(_TRANSPORTS))
        covering.covered = (*covering.covered, covered)
        _apply()
    log(covering.covered)


def cover_postponed(library: str) -> None:
    """Covers a library whose transports of this package can be used from now on."""
    if library in _State.postponed:
        _State.postponed.discard(library)
        cover_imported(library, httpcore=_startup.covers_httpcore())


def _apply() -> None:
    """Replaces the methods of all classes that are covered, and puts the others back."""
    current = _State.current = _State.in_effect[-1] if _State.in_effect else None
    for cls, replacements in _State.changed.items():
        is_covered = current is not None and (current.httpcore or cls not in _State.pools)
        for replacement in replacements:
            if is_covered:
                replacement.put(cls)
            else:
                replacement.undo(cls)


def _transports_of(library: str) -> typing.Any:
    return importlib.import_module(f".{_LIBRARIES[library]}", __package__)


def _covered(library: str, classes: tuple[str, ...]) -> Covered:
    version = getattr(importlib.import_module(library), "__version__", None)
    return Covered(library, version or version_of(library), classes)


def _prepare_transports(library: str, transports: typing.Any) -> None:
    for replaced, name in _TRANSPORTS.items():
        cls, transport = getattr(importlib.import_module(library), replaced), getattr(transports, name)
        if cls not in _State.changed:
            handlers = _handlers(transport._library, transport._fast_path)  # noqa: SLF001  # It is of this package.
            _State.changed[cls] = [_constructor(cls, transport), *handlers]


def _prepare_pools(core: str) -> None:
    pools = importlib.import_module(_CORES[core], __package__)
    for name in _POOLS:
        cls, pool = getattr(importlib.import_module(core), name), getattr(pools, name)
        if cls not in _State.changed:
            _State.pools.add(cls)
            _State.changed[cls] = [_pool_constructor(cls, pool)]


def _is_installed(library: str) -> bool:
    try:
        importlib.import_module(library)
    except ModuleNotFoundError as exc:
        if exc.name != library:
            raise
        return False
    return True


def _constructor(cls: typing.Any, transport: type[RustPoolTransportMixin[typing.Any]]) -> _Replacement:
    """Returns the `__init__()` that makes a pool of this package."""
    original: Init = cls.__init__
    # The order of the arguments differs between versions of httpx.
    signature = inspect.signature(original)
    if "verify" not in signature.parameters:
        # A patch with a signature of its own, such as `*args, **kwargs`.
        signature = inspect.signature(transport.__init__)
    added = {"network_backend", *DEFAULTS} - {*signature.parameters}

    @functools.wraps(original)
    def init(self: typing.Any, *args: typing.Any, **kwargs: typing.Any) -> None:
        current = _State.current
        if current is None:
            original(self, *args, **kwargs)
            return
        options = {name: kwargs.pop(name) for name in added & kwargs.keys()}
        try:
            bound = signature.bind(self, *args, **kwargs)
        except TypeError as exc:
            raise TypeError(f"{cls.__qualname__}.__init__() {exc}") from None
        bound.apply_defaults()
        arguments = {**current.options, **bound.arguments, **options}
        del arguments["self"]
        own = {name: arguments.pop(name) for name in ("verify", "cert", "trust_env", "limits", "proxy", "uds")}
        self._pool = transport.make_pool(**own, arguments=arguments)

    return _Replacement("__init__", original, init)


def _pool_constructor(cls: typing.Any, pool: typing.Any) -> _Replacement:
    """Returns the `__init__()` that makes a pool of httpcore's one of this package, by changing its class."""
    original: Init = cls.__init__
    # By the class of the object. `None` where httpcore's own engine stays.
    classes: dict[type, type | None] = {}

    @functools.wraps(original)
    def init(self: typing.Any, *args: typing.Any, **kwargs: typing.Any) -> None:
        current = _State.current
        made = type(self)
        if current is not None and current.httpcore:
            if made not in classes:
                classes[made] = mixed_class(made, cls, pool)
            changed = classes[made]
            if changed is not None:
                self.__class__ = changed
                pool.__init__(self, *args, **{**current.options, **kwargs})
                return
        original(self, *args, **kwargs)

    return _Replacement("__init__", original, init)


def _handlers(library: typing.Any, path: SyncPath | AsyncPath) -> typing.Iterator[_Replacement]:
    """Yields the method that takes the fast path with pools of this package."""
    original = path.own_handler
    if original is not None:
        # A patch that is in place now stays there, and its requests take the slow path.
        make: typing.Any = _async_handler if inspect.iscoroutinefunction(original) else _sync_handler
        yield _Replacement(original.__name__, original, make(library, path, original))


def _sync_handler(library: typing.Any, path: SyncPath, original: typing.Any) -> typing.Any:
    @functools.wraps(original)
    def handle_request(self: typing.Any, request: typing.Any) -> typing.Any:
        response = path.handle(self._pool, request)
        if response is None:
            check_request(self, request, library)
            response = original(self, request)
        return response

    return handle_request


def _async_handler(library: typing.Any, path: AsyncPath, original: typing.Any) -> typing.Any:
    @functools.wraps(original)
    async def handle_async_request(self: typing.Any, request: typing.Any) -> typing.Any:
        operation = path.start(self._pool, request)
        if operation is None:
            check_request(self, request, library)
            return await original(self, request)
        try:
            return await adrive(operation)
        except Exception:
            with path.map_exceptions():
                raise

    return handle_async_request
