"""A service that cannot start says why in one line on stderr, without a trace, and exits with an error."""

from pathlib import Path

import pytest

from service.settings import Settings
from tests.serving import start
from tests.test_artifact import BROKEN, damaged


def refused(settings: Settings, *arguments: str) -> tuple[int, str]:
    """Start a service that must not start; give its exit code and the only line it wrote."""
    with start(settings, *arguments) as process:
        written, line = process.communicate(timeout=60)
    assert written == ""
    assert line.startswith("nextply: ")
    assert line.count("\n") == 1
    assert line.endswith("\n")
    return process.returncode, line


@pytest.mark.parametrize(
    "broken",
    [
        "a graph with a bit flipped",
        "a graph that is none",
        "a graph of another game",
        "a missing manifest",
        "another format",
        "an unknown game",
        "another vocabulary",
    ],
)
def test_a_model_that_cannot_be_served_is_named(artifacts: Path, tmp_path: Path, broken: str):
    damage, says = BROKEN[broken]
    root = damaged(artifacts, tmp_path, damage)
    code, line = refused(Settings(artifacts=root, data_dir=tmp_path / "data"))
    assert code == 1
    assert line.startswith(f"nextply: {root / 'chess' / '1'}")
    assert says in line


def test_a_folder_without_models_is_named(tmp_path: Path):
    code, line = refused(Settings(artifacts=tmp_path))
    assert (code, line) == (1, f"nextply: {tmp_path} holds no <name>/<version> folder with a model\n")


def test_an_unknown_default_model_is_refused_with_the_names_there_are(settings: Settings):
    code, line = refused(settings.model_copy(update={"model": "draughts"}))
    assert code == 1
    assert line == "nextply: no model is named 'draughts': there are chess, chess-fp32, colours, othello, pages\n"


def test_a_file_in_place_of_the_data_directory_is_named(settings: Settings):
    settings.data_dir.touch()
    code, line = refused(settings)
    assert code == 1
    assert line.startswith(f"nextply: {settings.data_dir}: sessions cannot be kept there: ")


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("--port=99999", "port: Input should be less than or equal to 65535"),
        ("--store=paper", "store: should be lmdb, memory, or valkey://"),
        ("--speed=9", "unrecognized arguments: --speed=9"),
    ],
)
def test_a_bad_flag_is_named(argument: str, says: str):
    code, line = refused(Settings(), argument)
    assert code == 2
    assert says in line


def test_a_bad_setting_of_the_environment_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NEXTPLY_MAX_BODY", "much")
    code, line = refused(Settings.model_construct())
    assert code == 2
    assert "max_body: Input should be a valid integer" in line
