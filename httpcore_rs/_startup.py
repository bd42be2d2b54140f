"""Covers httpx and httpx2 when a program imports them: `HTTPCORE_RS_INSTALL` and `python -m httpcore_rs`.

Where the variable is set, `httpcore_rs_startup.pth` loads this file by its path when the interpreter starts, without
importing the package. It needs `sys` only: the package is imported by the first program that imports httpx or httpx2.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import types
    import typing
    from importlib.machinery import ModuleSpec

VARIABLE = "HTTPCORE_RS_INSTALL"
_ON = ("1", "true", "yes", "on")
_OFF = ("", "0", "false", "no", "off")


class ImportHook:
    """A finder that finds nothing by itself: it has `cover_imported()` called when one of some modules is imported."""

    def __init__(self, names: set[str], httpcore: bool) -> None:
        self._names = names
        self.covers_httpcore = httpcore

    def find_spec(
        self, name: str, path: typing.Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        """Returns what the other finders find. When that module has been executed, it is covered."""
        if name not in self._names:
            return None
        for finder in sys.meta_path:
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = None if find is None else find(name, path, target)
            if spec is not None:
                self._watch(name, spec.loader)
                return spec
        return None

    def _watch(self, name: str, loader: typing.Any) -> None:
        execute = getattr(loader, "exec_module", None)
        if execute is None or isinstance(loader, type):
            return

        def exec_module(module: types.ModuleType) -> None:
            execute(module)
            if module.__name__ == name:
                vars(loader).pop("exec_module", None)
                self._cover(name)

        # The loader of this module alone. It stays the loader that other tools expect.
        loader.exec_module = exec_module

    def _cover(self, name: str) -> None:
        # A program without the variable would run on, and so does this one.
        try:
            from httpcore_rs._install import cover_imported

            cover_imported(name, self.covers_httpcore)
        except Exception as exc:  # noqa: BLE001  # Whatever it is, the import of the library has succeeded.
            report(f"{name} is not covered: {type(exc).__name__}: {exc}")


def start(value: str) -> None:
    """Begins to watch imports, as the value of `HTTPCORE_RS_INSTALL` demands."""
    value = value.strip().lower()
    if value in _OFF or any(type(finder).__name__ == ImportHook.__name__ for finder in sys.meta_path):
        return
    if value not in (*_ON, "httpcore"):
        report(
            f'{VARIABLE} is {value!r}, which has no meaning: write 1, or "httpcore" to cover the pools of httpcore too'
        )
        return
    names = {"httpx", "httpx2"} | ({"httpcore", "httpcore2"} if value == "httpcore" else set())
    hook: typing.Any = ImportHook(names, httpcore=value == "httpcore")
    sys.meta_path.insert(0, hook)


def covers_httpcore() -> bool:
    """Returns whether the program was started with the pools of httpcore covered."""
    return any(getattr(finder, "covers_httpcore", False) for finder in sys.meta_path)


def stop() -> None:
    """Ends watching imports."""
    # The class may be that of another copy of this module, which was loaded by its path.
    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__name__ != ImportHook.__name__]


def report(text: str) -> None:
    """Writes a line to standard error, if there is one."""
    if sys.stderr is not None:
        sys.stderr.write(f"httpcore_rs: {text}\n")
