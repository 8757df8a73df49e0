"""schemathesis asks a running service whatever the OpenAPI document allows, and what it does not: every check passes.

``make conformance`` asks ten thousand times, this test some two thousand.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from service.settings import Settings
from tests.serving import Process

FOLDER = Path(__file__).parent / "conformance"
# Cases of each operation beside those that its schema's corners give, about 50 each; so many are to come together.
QUICK, FULL = (3, 1500), (300, 10_000)
# Seconds; at full size two busy cores took 1,100.
LIMIT = 3600


@pytest.mark.timeout(LIMIT)
def test_the_service_is_as_its_openapi_document_says(artifacts: Path, tmp_path: Path, full: bool):
    each, least = FULL if full else QUICK
    with Process(Settings(artifacts=artifacts, store="memory", log_level="info")) as process:
        options = {
            "checks": "all",
            "phases": "examples,coverage,fuzzing,stateful",
            "max-examples": each,
            "exclude-path": "/sessions/{session}/events",  # a stream without an end
            "warnings": "off",
        }
        flags = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(FOLDER / "schemathesis.toml"), "run"]
        found = subprocess.run(
            [*command, f"{process.url}/openapi.json", "--generation-deterministic", *flags],
            cwd=tmp_path,
            check=False,
            env={**os.environ, "SCHEMATHESIS_HOOKS": str(FOLDER / "hooks.py")},
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )
        assert found.returncode == 0, found.stdout[-20_000:] + found.stderr[-5000:]
        sys.stdout.write(found.stdout)
        passed = re.search(r"(\d+) generated, (\d+) passed", found.stdout)
        assert passed is not None, found.stdout[-5000:]
        assert int(passed[1]) == int(passed[2]) >= least
        process.terminate()
        code, log = process.wait()
    assert code == 0
    assert "Traceback" not in log, log
