"""The audit of the dependencies: what is vulnerable fails, and what could not be looked at is said aloud."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
SOUND = {"name": "orjson", "version": "3", "vulns": []}
UNKNOWN = {"name": "mine", "skip_reason": "Dependency not found on PyPI and could not be audited: mine (1)"}
HOLED = {"name": "h11", "version": "0.1", "vulns": [{"id": "CVE-1", "fix_versions": ["0.2"], "aliases": []}]}
UNFIXED = {"name": "h12", "version": "9", "vulns": [{"id": "CVE-2", "fix_versions": [], "aliases": []}]}


def audit(folder: Path, wrote: str, error: str = "") -> tuple[int, list[str]]:
    """Run the audit beside a pip-audit that answers so; give the exit code and the lines that were printed."""
    fake = f"import sys\nassert '--requirement' in sys.argv\nsys.stdout.write({wrote!r})\nsys.exit({error!r} or 0)\n"
    (folder / "pip_audit.py").write_text(fake)
    found = subprocess.run(
        [sys.executable, "-m", "scripts.audit"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stderr == ""
    return found.returncode, found.stdout.splitlines()


def told(*packages: dict[str, Any]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


def test_what_is_vulnerable_fails_and_is_named_with_what_mends_it(tmp_path: Path):
    code, lines = audit(tmp_path, told(SOUND, HOLED, UNFIXED), "Found 2 known vulnerabilities")
    assert code == 1
    assert lines == [
        "audit: h11 0.1 has CVE-1; it is mended in 0.2",
        "audit: h12 9 has CVE-2; it is mended in no version yet",
        "audit: 3 packages, 2 with known vulnerabilities",
    ]


def test_what_is_sound_passes_and_what_is_unknown_is_named(tmp_path: Path):
    code, lines = audit(tmp_path, told(SOUND, UNKNOWN))
    assert code == 0
    assert lines == [
        "audit: SKIPPED mine, which the database does not know",
        "audit: 1 packages, 0 with known vulnerabilities",
    ]


@pytest.mark.parametrize(
    ("wrote", "error", "words"),
    [
        ("", "ConnectionError: Failed to resolve 'index.test'", "looked at: ConnectionError: Failed to resolve"),
        ("", "", "pip-audit said nothing"),
        (told(UNKNOWN, UNKNOWN), "", "knows none of the 2 packages"),
    ],
)
def test_an_audit_that_cannot_be_made_is_skipped_aloud(tmp_path: Path, wrote: str, error: str, words: str):
    code, (line,) = audit(tmp_path, wrote, error)
    assert code == 0
    assert line.startswith("audit: SKIPPED, ")
    assert words in line
