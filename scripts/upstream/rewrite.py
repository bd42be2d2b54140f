"""Puts httpcore_rs in place of httpcore, or of its fork, in the source of a test."""

from __future__ import annotations

import ast

OURS = {"httpcore": "httpcore_rs", "httpcore2": "httpcore_rs.httpcore2"}


def use_ours(source: str) -> str:
    """Returns `source` with imports of httpcore_rs in place of `httpcore` and `httpcore2`, under the same names.

    Submodules (`httpcore._backends`) and private names stay their own. Lines keep their numbers.
    """
    lines = source.encode().splitlines(keepends=True)
    for node in reversed(list(ast.walk(ast.parse(source)))):
        if isinstance(node, (ast.Import, ast.ImportFrom)) and _replace(node):
            # Columns count bytes. A statement of several lines becomes one line, followed by empty lines.
            first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
            before, after = lines[first][: node.col_offset], lines[last][node.end_col_offset :]
            lines[first : last + 1] = [before + ast.unparse(node).encode() + after, *[b"\n"] * (last - first)]
    return b"".join(lines).decode()


def _replace(node: ast.Import | ast.ImportFrom) -> bool:
    """Changes the statement if it imports from httpcore itself. Returns true if it does."""
    if isinstance(node, ast.ImportFrom):
        if node.module not in OURS or node.level or any(alias.name.startswith("_") for alias in node.names):
            return False
        node.module = OURS[node.module]
        return True
    found = [alias for alias in node.names if alias.name in OURS]
    for alias in found:
        alias.name, alias.asname = OURS[alias.name], alias.asname or alias.name
    return bool(found)
