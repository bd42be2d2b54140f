"""The sources of the site in one folder: docs/, the documents of the top level, and a list of the decisions.

The documents link to one another and to other files of the repository by relative paths, as the repository's own
pages need it. Here links to pages become the pages' places in the site, and links to other files the repository's
address.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

import tomllib

from pages import reference

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ROOT / ".cache" / "site" / "project"
CONFIG = PROJECT / "zensical.toml"
SITE = PROJECT / "site"

# Documents of the top level, and their places in the site.
TOP_LEVEL = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md"}
COPIED = {".md", ".svg", ".png", ".css", ".txt"}
DECISIONS = PurePosixPath("decisions/index.md")

LINK = re.compile(r"(\]\()(?!https?://|mailto:|#)([^)#\s]*)(#[^)\s]*)?(\))")


def stage() -> None:
    """Writes the sources. Files that have not changed stay as they are, so that a server does not build them again."""
    places = _places()
    wanted = {PROJECT / "docs" / place: _content(source, places) for source, place in places.items()}
    wanted[PROJECT / "docs" / DECISIONS] = _list_of_decisions(places).encode()
    wanted[CONFIG] = (ROOT / ".config" / "zensical.toml").read_bytes()
    for path, content in wanted.items():
        if not path.exists() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    for path in (PROJECT / "docs").rglob("*"):
        if path.is_file() and path not in wanted:
            path.unlink()


def _places() -> dict[PurePosixPath, PurePosixPath]:
    """Returns the place in the site of each source, by its path in the repository."""
    places = {PurePosixPath(name): PurePosixPath(place) for name, place in TOP_LEVEL.items()}
    docs = ROOT / "docs"
    for file in sorted(docs.rglob("*")):
        if file.is_file() and file.suffix in COPIED:
            place = PurePosixPath(file.relative_to(docs).as_posix())
            places["docs" / place] = place
    return places


def _content(source: PurePosixPath, places: dict[PurePosixPath, PurePosixPath]) -> bytes:
    content = (ROOT / source).read_bytes()
    if source.suffix != ".md":
        return content

    def change(match: re.Match[str]) -> str:
        before, target, anchor, after = match.groups(default="")
        return f"{before}{_target(source, target, places)}{anchor}{after}"

    return reference.expand(LINK.sub(change, content.decode())).encode()


def _target(source: PurePosixPath, target: str, places: dict[PurePosixPath, PurePosixPath]) -> str:
    """Returns the target of a link, as the site needs it."""
    path = PurePosixPath(os.path.normpath(source.parent / target))
    place = DECISIONS if path == PurePosixPath("docs/decisions") else places.get(path)
    if place is not None:
        return os.path.relpath(place, places[source].parent)
    kind = "tree" if (ROOT / path).is_dir() else "blob"
    return f"{_repository()}/{kind}/main/{path}"


def _repository() -> str:
    urls: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
    return urls["Homepage"]


def _list_of_decisions(places: dict[PurePosixPath, PurePosixPath]) -> str:
    lines = [
        "# Decisions",
        "",
        "What was decided, why, and what was measured and considered.",
        "",
        "| number | subject |",
        "|---|---|",
    ]
    for source, place in places.items():
        if place.parent.name == "decisions":
            title = (ROOT / source).read_text().partition("\n")[0]
            number, _, subject = title.removeprefix("# ").partition(". ")
            lines.append(f"| {number} | [{subject}]({place.name}) |")
    return "\n".join([*lines, ""])
