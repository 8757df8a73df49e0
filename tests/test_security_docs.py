"""docs/security.md is followed from its beginning: its keys open the service, and its settings start one."""

import re
from pathlib import Path

import pytest

from service.security.keys import Keys, digest_of
from service.security.table import Table
from service.settings import Settings
from tests.documents import ROOT, Reader, blocks_of
from tests.keyed import CASES

PAGE = ROOT / "docs" / "security.md"


def test_the_commands_do_what_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    make, send, tokens = (block.commands for block in blocks_of(PAGE) if block.language == "sh")
    with Reader(tmp_path) as reader:
        key = reader.run(make[0]).strip()
        reader.run(make[1].replace("=keys.toml", f"={tmp_path / 'keys.toml'}"))
        monkeypatch.setenv("NEXTPLY_KEY", key)
        answered = [reader.run(command.replace('"$NEXTPLY_KEY"', key)) for command in send]
        assert '"models"' in answered[0]
        assert "Nf3" in answered[1]
        monkeypatch.setenv("NEXTPLY_KEY", "wrong")
        assert '"unauthorized"' in reader.run(send[0])
        install, serve = tokens
        assert install.startswith("pip install")
        reader.run(serve)
        assert '"unauthorized"' in reader.run(send[0])


def test_the_file_of_keys_is_one(tmp_path: Path):
    (toml,) = (block.text for block in blocks_of(PAGE) if block.language == "toml")
    file = tmp_path / "keys.toml"
    file.write_text(toml)
    found = Keys(str(file), None, None).find(digest_of(b"foo"))
    assert found is not None
    assert (found.tenant, found.quota, found.scopes) == ("arena", 1000, {"predict", "sessions"})


def test_every_setting_and_route_that_is_named_is_there():
    text = PAGE.read_text(encoding="utf-8")
    flags = set(re.findall(r"--([a-z][a-z-]+)", text)) - {"tenant", "scopes", "file", "key"}
    assert flags <= {name.replace("_", "-") for name in Settings.model_fields}
    table = Table(open_metrics=False)
    for door, case in CASES.items():
        needed = table.needed(case.path.partition("?")[0] or door.path)
        assert needed is not None
        assert (not needed) == (case.scopes == "open")
