"""Reads the pinned versions of all dependencies and says which of them have known vulnerabilities: ``make audit``.

The database is the package index's own. Where it cannot be reached, or knows none of the packages, as a mirror does, a
line says that nothing was looked at, and that is no failure.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PINNED = Path(__file__).parent.parent / "constraints.txt"
_SECONDS = 300


def main() -> int:
    """Give what the process ends with: 1 if something is vulnerable, else 0."""
    found = _ask()
    if isinstance(found, str):
        print(f"audit: SKIPPED, no dependency was looked at: {found}")
        return 0
    known = [package for package in found if "skip_reason" not in package]
    if not known:
        print(f"audit: SKIPPED, the database knows none of the {len(found)} packages; is the index a mirror?")
        return 0
    vulnerable = [package for package in known if package["vulns"]]
    for package in vulnerable:
        for one in package["vulns"]:
            mended = ", ".join(one["fix_versions"]) or "no version yet"
            print(f"audit: {package['name']} {package['version']} has {one['id']}; it is mended in {mended}")
    for package in found:
        if "skip_reason" in package:
            print(f"audit: SKIPPED {package['name']}, which the database does not know")
    print(f"audit: {len(known)} packages, {len(vulnerable)} with known vulnerabilities")
    return int(bool(vulnerable))


def _ask() -> list[dict[str, Any]] | str:
    """Give what pip-audit found of each package, or why it found nothing."""
    options = ["--no-deps", "--disable-pip", "--format=json", "--progress-spinner=off"]
    command = [sys.executable, "-m", "pip_audit", *options, "--requirement", str(PINNED)]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
        packages: list[dict[str, Any]] = json.loads(found.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return f"the database did not answer within {_SECONDS} s"
    except ValueError:
        return (found.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1]
    return packages


if __name__ == "__main__":
    sys.exit(main())
