"""The programs in the README and in the pages of the documentation are run as they stand there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from pages import ROOT, Block, Place, blocks, imported, skip_if_impossible

if TYPE_CHECKING:
    from pathlib import Path

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [block for page in PAGES for block in blocks(page)]


@pytest.mark.parametrize("block", [block for block in BLOCKS if not block.reason], ids=str)
def test_a_program_of_a_page_runs(block: Block, place: Place, tmp_path: Path) -> None:
    skip_if_impossible(imported(block.code))
    place.run(tmp_path, block.code)


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_program_of_a_page_is_valid(block: Block) -> None:
    compile(block.code, str(block), "exec")


def test_the_logs_in_the_page_about_observing(place: Place, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "observing.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"(?ms)^```text\n( *\d+ ms httpcore.*?)^```$", page)
    (code,) = {block.code for block in BLOCKS if block.page == "docs/observing.md" and "relativeCreated" in block.code}
    _, logged = place.run_with_errors(tmp_path, code)
    # Times and addresses differ, and so does the reason of the local server. "..." stands for further text.
    lines = re.escape(re.sub(r"(?m)^ +(?=\.\.\.$)|^ *\d+(?= ms )", "", shown))
    for text, pattern in {
        r"\.\.\.": r"[\s\S]*",
        r"\ ms\ ": r" *\d+ ms ",
        r"192\.0\.2\.1:53462\ to\ 203\.0\.113\.7:443": r"127\.0\.0\.1:\d+ to 127\.0\.0\.1:\d+",
        r"www\.example\.com": r"\S+",
        "443": r"\d+",
        "OK": "(OK)?",
    }.items():
        lines = lines.replace(text, pattern)
    assert re.fullmatch(lines, logged), logged


def test_blocks_are_found() -> None:
    assert {block.page for block in BLOCKS} >= {"README.md", "docs/index.md", "docs/recipes.md", "docs/tls.md"}
