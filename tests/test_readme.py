"""What the README names is there; what it shows is run by tests/test_docs.py."""

import re

import pytest

from tests.documents import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("line", re.findall(r"^make (\w+)", README, re.MULTILINE))
def test_the_targets_of_the_readme_are_in_the_makefile(line: str):
    assert re.search(rf"^{line}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
