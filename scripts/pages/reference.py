"""The reference: pages with a line `::: NAME MEMBER...` get the description of that class or function.

It is read from the imported object, as `help()` does it. A decorator gives constructors their signatures and
docstrings (`httpcore_rs/_options.py`), transports are imported when they are asked for, and the engine is a compiled
module: none of this is visible in the sources.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

DIRECTIVE = re.compile(r"(?m)^::: (?P<name>[\w.]+)(?P<members>(?: \w+)*)$")
# A parameter in a docstring: its name, `type` or `type = default`, and its description on the lines below.
PARAMETER = re.compile(r"(?m)^    (?P<name>\w+): (?P<head>.*)\n(?P<text>(?:        .*\n?)*)")
WIDTH = 96
PREFIXES: dict[Any, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}


def expand(page: str) -> str:
    """Returns a page with the descriptions in place of the directives."""

    def describe(match: re.Match[str]) -> str:
        module, _, name = match["name"].rpartition(".")
        thing = getattr(importlib.import_module(module), name)
        lines = list(_description(match["name"], name, thing, level=2))
        for member in match["members"].split():
            lines += _description(f"{match['name']}.{member}", member, inspect.getattr_static(thing, member), level=3)
        return "\n".join(lines)

    return DIRECTIVE.sub(describe, page)


def _description(path: str, name: str, thing: Any, level: int) -> Iterator[str]:
    shown = f"`{path}`" if level == 2 else f"`{name}`"
    yield f"{'#' * level} {shown} {{ #{path} }}\n"
    if inspect.isdatadescriptor(thing):
        yield f"Property. {inspect.getdoc(thing)}\n"
        return
    thing = getattr(thing, "__func__", thing)
    parts = [inspect.getdoc(thing) or ""]
    if inspect.isclass(thing) and inspect.isfunction(thing.__init__):
        parts.append(inspect.getdoc(thing.__init__) or "")
    described = [_split(part) for part in parts]
    parameters = [parameter for _, section in described for parameter in section]
    # A class of the engine that programs do not make has none.
    if not inspect.isclass(thing) or getattr(thing, "__text_signature__", None) or inspect.isfunction(thing.__init__):
        yield f"```python\n{_signature(name, thing, parameters)}\n```\n"
    for text, _ in described:
        yield f"{text}\n"
    for parameter, head, text in parameters:
        kind = f" `{head}`" if ":" in head or "=" in head or "|" in head or " " not in head else f" {head}"
        yield f"- **`{parameter}`**{kind}  \n  {text}"
    yield ""


def _split(docstring: str) -> tuple[str, list[tuple[str, str, str]]]:
    """Returns the text of a docstring, and the name, the head and the description of each parameter."""
    text, _, section = docstring.partition("Parameters:\n")
    found = PARAMETER.match(section)
    parameters, end = [], 0
    while found is not None:
        description = " ".join(found["text"].split())
        # Without a type in front, the description begins on the line of the name.
        parameters.append((found["name"], found["head"], description))
        end = found.end()
        found = PARAMETER.match(section, end)
    return f"{text.strip()}\n\n{section[end:].strip()}".strip(), parameters


def _signature(name: str, thing: Any, parameters: list[tuple[str, str, str]]) -> str:
    """Returns the signature, with one parameter a line if it is long."""
    types = {parameter: head.partition(" = ")[0] for parameter, head, _ in parameters}
    signature = inspect.signature(thing)
    shown: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.name in {"self", "cls"}:
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in shown:
            shown.append("*")
        prefix = PREFIXES.get(parameter.kind, "")
        kind = parameter.annotation if isinstance(parameter.annotation, str) else types.get(parameter.name, "")
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        shown.append(
            f"{prefix}{parameter.name}{': ' if kind else ''}{kind}{default if kind else default.replace(' ', '')}"
        )
    result = signature.return_annotation
    after = f" -> {result}" if isinstance(result, str) and not inspect.isclass(thing) else ""
    before = "async " if inspect.iscoroutinefunction(thing) else ""
    line = f"{before}{name}({', '.join(shown)}){after}"
    if len(line) <= WIDTH:
        return line
    return f"{before}{name}(\n" + "".join(f"    {parameter},\n" for parameter in shown) + f"){after}"
