"""Runs a program with httpx and httpx2 on the pools of httpcore_rs, without a change in it.

    python -m httpcore_rs [--httpcore] SCRIPT [ARGUMENT...]
    python -m httpcore_rs [--httpcore] -m MODULE [ARGUMENT...]
    python -m httpcore_rs [--httpcore] -c CODE [ARGUMENT...]

The program runs as `python SCRIPT`, `python -m MODULE` and `python -c CODE` would run it. Python processes that it
starts are covered as well: `HTTPCORE_RS_INSTALL` is set for them. `--httpcore` also covers the pools of httpcore and
httpcore2 themselves.
"""

from __future__ import annotations

import builtins
import importlib.machinery
import importlib.util
import io
import os
import pathlib
import pkgutil
import sys
import types
import typing

from . import _startup
from ._installation import is_found

if typing.TYPE_CHECKING:
    from importlib.machinery import ModuleSpec


def main() -> None:
    """Reads the command line and runs the program."""
    arguments = sys.argv[1:]
    is_wide = arguments[:1] == ["--httpcore"]
    if is_wide:
        del arguments[0]
    if not arguments or arguments[0] in ("-h", "--help"):
        _end(__doc__.rstrip() if __doc__ else "", 0 if arguments else 2)
    if not is_wide and not is_found("httpx") and not is_found("httpx2"):
        _end(f"{sys.executable}: httpcore_rs needs httpx or httpx2, and neither is installed", 1)
    kind, *rest = arguments
    if kind in ("-m", "-c") and not rest:
        _end(f"{sys.executable}: {kind} needs an argument: python -m httpcore_rs {kind} ...", 2)
    if kind not in ("-m", "-c", "-") and kind.startswith("-"):
        _end(f"{sys.executable}: httpcore_rs has no option {kind}: write options of Python before -m httpcore_rs", 2)
    # For this program and for those that it starts.
    value = os.environ[_startup.VARIABLE] = "httpcore" if is_wide else "1"
    _startup.stop()
    _startup.start(value)
    if kind == "-m":
        _run_module(rest[0], rest[1:])
    elif kind == "-c":
        _run_text(rest[0] + "\n", "<string>", ["-c", *rest[1:]])
    elif kind == "-":
        _run_text(sys.stdin.read(), "<stdin>", arguments)
    else:
        _run_path(kind, arguments)


def _run_text(text: str, name: str, arguments: list[str]) -> None:
    sys.argv = arguments
    _replace_first_path("")
    _execute(lambda: compile(text, name, "exec", dont_inherit=True), importlib.machinery.BuiltinImporter)


def _run_module(name: str, arguments: list[str]) -> None:
    # As in Python, until the module has been found.
    sys.argv = ["-m", *arguments]
    found = name
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            found = f"{name}.__main__"
            spec = importlib.util.find_spec(found)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{name}.".startswith(f"{exc.name}."):
            raise
        spec, found = None, exc.name
    if spec is None:
        directly = f"; {name!r} is a package and cannot be directly executed" if found.endswith(".__main__") else ""
        _end(f"{sys.executable}: No module named {found}{directly}", 1)
    sys.argv[0] = spec.origin or name
    _run_spec(spec)


def _run_path(path: str, arguments: list[str]) -> None:
    sys.argv = arguments
    file = os.path.abspath(path)  # noqa: PTH100  # Links stay, as in Python.
    importer = pkgutil.get_importer(file)
    if importer is not None:
        # A folder or a zip file.
        _replace_first_path(file, always=True)
        spec = importer.find_spec("__main__", None)
        if spec is None:
            _end(f"{sys.executable}: can't find '__main__' module in {file!r}", 1)
        _run_spec(spec)
        return
    try:
        with io.open_code(file) as opened:
            compiled = pkgutil.read_code(opened)
        with io.open_code(file) as opened:
            text = b"" if compiled else opened.read()
    except OSError as exc:
        _end(f"{sys.executable}: can't open file {file!r}: [Errno {exc.errno}] {exc.strerror}", 2)
    _replace_first_path(str(pathlib.Path(path).resolve().parent))
    loader = importlib.machinery.SourceFileLoader("__main__", file)
    _execute(lambda: compiled or compile(text, file, "exec", dont_inherit=True), loader, __file__=file, __cached__=None)


def _run_spec(spec: ModuleSpec) -> None:
    loader: typing.Any = spec.loader
    names = {"__spec__": spec, "__package__": spec.parent, "__file__": spec.origin, "__cached__": spec.cached}
    _execute(lambda: loader.get_code(spec.name), loader, **names)


def _execute(make_code: typing.Callable[[], types.CodeType], loader: object, **names: object) -> None:
    """Executes code as the module `__main__`, which it stays when it has ended: threads may still need it."""
    module = types.ModuleType("__main__")
    vars(module).update({"__builtins__": builtins, "__loader__": loader, **names})
    sys.modules["__main__"] = module
    try:
        exec(make_code(), vars(module))  # noqa: S102  # That is what this program is for.
    except SystemExit:
        raise
    except BaseException:
        _hide_own_frames()
        raise


def _hide_own_frames() -> None:
    """Has the program's exception shown without the frames above it. The program may have a hook of its own."""
    shown = sys.excepthook

    def excepthook(kind: type[BaseException], exc: BaseException, traceback: types.TracebackType | None) -> None:
        while traceback is not None and traceback.tb_frame.f_globals.get("__name__") in ("runpy", "__main__"):
            if traceback.tb_frame.f_globals is vars(sys.modules["__main__"]):
                break
            traceback = traceback.tb_next
        shown(kind, exc.with_traceback(traceback), traceback)

    sys.excepthook = excepthook


def _replace_first_path(path: str, *, always: bool = False) -> None:
    """Puts a path in the place of the current folder, which `python -m` puts first unless it is told not to (`-P`)."""
    if not getattr(sys.flags, "safe_path", sys.flags.isolated):
        sys.path[0] = path
    elif always:
        sys.path.insert(0, path)


def _end(text: str, status: int) -> typing.NoReturn:
    print(text, file=sys.stderr if status else sys.stdout)
    raise SystemExit(status)


if __name__ == "__main__":
    main()
