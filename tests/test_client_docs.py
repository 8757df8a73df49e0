"""Every example in Python of docs/client.md, and of the package's own README, is run as it stands there."""

import re
from collections.abc import Iterator
from pathlib import Path

import nextply_client
import pytest
from nextply_client import Client, errors
from nextply_client.cli.app import app

from service.settings import Settings
from tests.documents import ROOT, blocks_of
from tests.serving import Process

PAGES = (ROOT / "docs" / "client.md", ROOT / "client" / "README.md")
TEXT = PAGES[0].read_text(encoding="utf-8")
PYTHON = [block.text for page in PAGES for block in blocks_of(page) if block.language == "python"]


@pytest.fixture(scope="module")
def process(artifacts: Path) -> Iterator[Process]:
    with Process(Settings(artifacts=artifacts, store="memory")) as process:
        yield process


@pytest.mark.parametrize("code", PYTHON)
def test_examples_run(process: Process, capsys: pytest.CaptureFixture[str], code: str):
    # Also where an example names no address.
    code = code.replace("http://localhost:8000", process.url).replace("Client()", f"Client({process.url!r})")
    exec(compile(code, "docs/client.md", "exec"), {})
    assert ("print(" not in code.replace("lambda failure, seconds: print(", "")) == (not capsys.readouterr().out)


def test_what_is_named_is_there():
    methods, tables = re.compile(r"`(\w+)(?:\([^`]*\))?`"), re.findall(r"^\| (`.*?) \|", TEXT, re.MULTILINE)
    calls = {name for row in tables for name in methods.findall(row) if not row.startswith("`nextply")}
    assert {"predict", "open", "page", "steps", "export_state", "events"} <= calls
    assert [name for name in calls if not hasattr(Client, name)] == []
    named = set(re.findall(r"`(?:errors\.)?([A-Z]\w+)`", TEXT)) - {"Retry", "NEXTPLY_URL", "NEXTPLY_KEY", "NO_COLOR"}
    assert {"BadMove", "AsyncClient", "SessionExpired"} <= named
    assert [name for name in named if not (hasattr(errors, name) or hasattr(nextply_client, name))] == []
    commands = {command.name or "" for command in app.registered_commands} | {
        command.callback.__name__.rstrip("_") for command in app.registered_commands if command.callback
    }
    assert set(re.findall(r"^\| `nextply (\w+)", TEXT, re.MULTILINE)) == commands - {""}
