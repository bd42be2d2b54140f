"""The result of `install()`: what it covers, what it cannot reach, and the `with` statement that undoes it."""

from __future__ import annotations

import importlib
import importlib.machinery
import logging
import os
import sys
import typing

if typing.TYPE_CHECKING:
    import types

    from typing_extensions import Self

    from ._options import PoolOptions

logger = logging.getLogger("httpcore_rs")


class Covered(typing.NamedTuple):
    """A library whose classes make pools of httpcore_rs."""

    library: str
    version: str
    classes: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.library} {self.version}: {', '.join(self.classes)}"


class NotCovered(typing.NamedTuple):
    """A package that is installed and sends requests by other means, and what makes it send them through httpx."""

    library: str
    version: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.library} {self.version}: {self.reason}; {self.remedy}"


class Settings:
    """The things that a call of `install()` puts into effect."""

    def __init__(self, covered: tuple[Covered, ...], httpcore: bool, pool_options: PoolOptions) -> None:
        self.covered = covered
        self.httpcore = httpcore
        self.options = pool_options
        # The `with` blocks that have not ended.
        self.blocks = 0
        # Whether its last block has ended, or `uninstall()` was called.
        self.is_over = False
        # Where it has its place among those in effect: the order of the calls.
        self.serial = 0


class Installation:
    """The result of `install()`. As a context manager it is undone at the end of the block.

    `print(httpcore_rs.install())` shows it.

    Attributes:
        covered: the libraries whose transports, and with `httpcore=True` pools, are covered.
        not_covered: the packages that are installed, prefer another HTTP client and cannot be reached, each with the
            switch that makes it use httpx.
    """

    def __init__(self, covered: tuple[Covered, ...], httpcore: bool, pool_options: PoolOptions) -> None:
        """Is made by `install()`."""
        self.settings = Settings(covered, httpcore, pool_options)
        # Those without a `with` block that it has taken the place of. Only this object has them: a program that calls
        # `install()` again and again does not collect them.
        self.replaced: tuple[Settings, ...] = ()

    @property
    def covered(self) -> tuple[Covered, ...]:
        """The libraries whose classes are covered."""
        return self.settings.covered

    @property
    def not_covered(self) -> tuple[NotCovered, ...]:
        """The packages that are installed, and send requests by other means than httpx."""
        return tuple(sdk.describe() for sdk in SDKS if sdk.is_installed() and not sdk.is_switched())

    def __enter__(self) -> Self:
        _installer().enter(self)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: types.TracebackType | None = None,
    ) -> None:
        _installer().leave(self)

    def __str__(self) -> str:
        lines = [f"covered: {each}" for each in self.covered]
        lines += [f"not covered: {each}" for each in self.not_covered]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<Installation [{'; '.join(map(str, self.covered))}]>"


def log(covered: tuple[Covered, ...]) -> None:
    """Logs what is covered, and what is not.

    A package that is not covered is a warning if the program uses it already. Otherwise it is a piece of information:
    the program may still set the switch.
    """
    for each in covered:
        logger.info("install() covers %s", each)
    for sdk in SDKS:
        level = logging.WARNING if sdk.name in sys.modules else logging.INFO
        if logger.isEnabledFor(level) and sdk.is_installed() and not sdk.is_switched():
            logger.log(level, "install() does not cover %s", sdk.describe())


class SDK(typing.NamedTuple):
    """A package that prefers another HTTP client than httpx."""

    name: str
    reason: str
    # `{module}` stands for the module of this package with the transports that it needs.
    remedy: str
    # Whether the program has made it use httpx.
    is_switched: typing.Callable[[], bool]

    def is_installed(self) -> bool:
        """Returns whether it is installed, and so is aiohttp. Nothing is imported."""
        return is_found(self.name) and is_found("aiohttp")

    def describe(self) -> NotCovered:
        """Returns the entry for a report."""
        distribution = self.name.replace(".", "-")
        remedy = self.remedy.format(module="httpcore_rs.httpx2" if _requires_httpx2(distribution) else "httpcore_rs")
        return NotCovered(self.name, version_of(distribution), self.reason, remedy)


def _litellm_uses_httpx() -> bool:
    litellm = sys.modules.get("litellm")
    is_set = getattr(litellm, "disable_aiohttp_transport", False) is True
    return is_set or os.environ.get("DISABLE_AIOHTTP_TRANSPORT", "").lower() == "true"


SDKS = (
    SDK(
        "litellm",
        "its async requests go through aiohttp",
        "set litellm.disable_aiohttp_transport = True, or DISABLE_AIOHTTP_TRANSPORT=True in the environment",
        _litellm_uses_httpx,
    ),
    SDK(
        "google.genai",
        "the async requests of its clients go through aiohttp",
        'pass http_options={{"async_client_args": {{"transport": {module}.AsyncTransport()}}}} to genai.Client',
        lambda: False,
    ),
)


def is_found(name: str) -> bool:
    """Returns whether a module is installed. Neither it nor its parents are imported."""
    if name in sys.modules:
        return True
    path: typing.Sequence[str] | None = None
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        spec = importlib.machinery.PathFinder.find_spec(".".join(parts[:end]), path)
        if spec is None:
            return False
        path = spec.submodule_search_locations
    return True


def version_of(distribution: str) -> str:
    """Returns the version of a distribution, or "of unknown version"."""
    metadata = importlib.import_module("importlib.metadata")
    try:
        version: str = metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "of unknown version"
    return version


def _requires_httpx2(distribution: str) -> bool:
    """Returns whether the installed version is built on httpx2."""
    metadata = importlib.import_module("importlib.metadata")
    try:
        requirements = metadata.requires(distribution) or []
    except metadata.PackageNotFoundError:
        return False
    return any(each.startswith("httpx2") and "extra ==" not in each for each in requirements)


def _installer() -> typing.Any:
    return importlib.import_module("._install", __package__)
