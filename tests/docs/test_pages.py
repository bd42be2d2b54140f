"""The programs in the README and in the pages of the documentation are run as they stand there."""

from __future__ import annotations

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


def test_blocks_are_found() -> None:
    assert {block.page for block in BLOCKS} >= {"README.md", "docs/index.md", "docs/recipes.md", "docs/tls.md"}
