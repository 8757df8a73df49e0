"""docs/http.md is what scripts.reference writes now: the service's own description, and answers it really gives."""

from pathlib import Path

import pytest

from scripts import reference
from tests.documents import assert_alike


def test_the_reference_is_of_this_service(tmp_path: Path):
    reference.main(["--out", str(tmp_path / "http.md")])
    written = (tmp_path / "http.md").read_text(encoding="utf-8")
    try:
        assert_alike(reference.PAGE.read_text(encoding="utf-8"), written)
    except AssertionError:
        pytest.fail("docs/http.md is not of this service any more: run python -m scripts.reference")
