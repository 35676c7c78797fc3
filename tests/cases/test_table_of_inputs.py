"""The tables of the documentation that list what users can hand in."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "user_guide" / "input.rst"


@pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not installed")
def test_every_entry_links_to_a_test_that_exists():
    links = set(re.findall(r":test:`[^<`]*<([\w/]+\.py)#(\w+)>`", PAGE.read_text()))
    assert len(links) > 20
    for file, name in links:
        assert f"def {name}(" in (TESTS / file).read_text(), f"{file}: {name}"


@pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not installed")
def test_every_cell_links_to_a_test():
    cells = re.findall(r"^     - ?(.*)$", PAGE.read_text(), flags=re.MULTILINE)
    names = {"Structure", "Encoder", "Localizer", "Pipeline"}
    assert [c for c in cells if not c.startswith(":test:`") and c not in names] == []
