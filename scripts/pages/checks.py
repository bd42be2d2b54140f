"""Checks the built site: each link and each anchor leads somewhere, and no page loads anything from another host."""

from __future__ import annotations

import html.parser
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Elements that load what they name, and the attribute with the name.
LOADS = {"img": "src", "link": "href", "script": "src", "source": "src", "iframe": "src"}
# Values of `rel` whose `href` a browser does not load.
NOT_LOADED = {"canonical", "prev", "next", "alternate", "edit", "preconnect"}


class Page(html.parser.HTMLParser):
    """The links, anchors and loaded files of one page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Takes the attributes of one element."""
        values = {name: value or "" for name, value in attrs}
        self.anchors.update(values[name] for name in ("id", "name") if name in values)
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in LOADS and LOADS[tag] in values and values.get("rel") not in NOT_LOADED:
            self.loads.append(values[LOADS[tag]])


def findings(site: Path) -> Iterator[str]:
    """Yields a line for each link that leads nowhere, and for each file that a page loads from elsewhere."""
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        name = path.relative_to(site)
        if path.name == "404.html":
            # Its addresses begin at the root of the host.
            page.links = []
            page.loads = [load for load in page.loads if urlsplit(load).netloc]
        for load in page.loads:
            if urlsplit(load).netloc:
                yield f"{name}: loads {load}"
            elif not load.startswith("data:") and not _file(site, path, load).exists():
                yield f"{name}: {load} does not exist"
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = _file(site, path, link)
            if not target.exists():
                yield f"{name}: {link} does not exist"
            elif parts.fragment and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{name}: {link} has no such anchor"


def _file(site: Path, page: Path, link: str) -> Path:
    path = unquote(urlsplit(link).path)
    target = page if not path else (site / path[1:] if path.startswith("/") else page.parent / path)
    return (target / "index.html" if path.endswith("/") or target.is_dir() else target).resolve()
