"""An artifact is served whole and as it was exported, or refused in one line that says what is wrong with it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model.artifact import GRAPH, MANIFEST, Artifact, ArtifactError, checksum, find_artifacts
from service.app import create_app
from service.models import Models
from service.settings import Settings
from tests.serving import COLOURS


def change(folder: Path, **members: Any) -> None:
    """Change members of a manifest; the checksums are made right again."""
    path = folder / MANIFEST
    manifest = json.loads(path.read_bytes()) | members
    manifest["sha256"] = {name: checksum(folder / name) for name in manifest["sha256"]}
    path.write_text(json.dumps({name: value for name, value in manifest.items() if value is not ...}))


def flip_a_bit(model: Path) -> None:
    graph = bytearray((model / GRAPH).read_bytes())
    graph[len(graph) // 2] ^= 1
    (model / GRAPH).write_bytes(graph)


def write_rubbish(model: Path) -> None:
    (model / GRAPH).write_bytes(b"no graph")
    change(model)


def take_the_graph_of(other: str) -> Callable[[Path], None]:
    def take(model: Path) -> None:
        shutil.copy(model.parents[2] / "others" / other / GRAPH, model / GRAPH)
        change(model)

    return take


def swap_two_moves(model: Path) -> None:
    one, two, *rest = json.loads((model / MANIFEST).read_bytes())["vocabulary"]
    change(model, vocabulary=[two, one, *rest])


def double_a_state(model: Path) -> None:
    state = json.loads((model / MANIFEST).read_bytes())["state"]
    change(model, state=[*state, state[0]])


def widen_a_state(model: Path) -> None:
    state = json.loads((model / MANIFEST).read_bytes())["state"]
    change(model, state=[state[0] | {"shape": [25]}, *state[1:]])


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a graph with a bit flipped": (flip_a_bit, "model.onnx: its SHA-256 is not the one in manifest.json"),
    "a graph that is none": (write_rubbish, "model.onnx: onnxruntime cannot load it: "),
    "a graph that is missing": (lambda model: (model / GRAPH).unlink(), "model.onnx cannot be read: No such file"),
    "a graph of another game": (
        take_the_graph_of("othello"),
        "model.onnx: input 'seen' is tensor(int64) [1], its game and",
    ),
    "a graph of another precision": (take_the_graph_of("chess-fp32"), "input 'h0' is tensor(float) [24], its game and"),
    "a missing manifest": (lambda model: (model / MANIFEST).unlink(), "manifest.json is missing: "),
    "a manifest that is no JSON": (lambda model: (model / MANIFEST).write_text("{"), "manifest.json is not JSON: "),
    "a manifest that is a list": (lambda model: (model / MANIFEST).write_text("[]"), "format None cannot be read"),
    "a manifest that is a folder": (
        lambda model: ((model / MANIFEST).unlink(), (model / MANIFEST).mkdir()),
        "manifest.json cannot be read: Is a directory",
    ),
    "another format": (lambda model: change(model, format=99), "format 99 cannot be read, this version reads format 1"),
    "a manifest without its state": (lambda model: change(model, state=...), "manifest.json: state: Field required"),
    "a state named twice": (double_a_state, "manifest.json: field 'h0' occurs more than once"),
    "a state of another width": (widen_a_state, "its game and manifest need tensor(uint8) [25]"),
    "an unknown game": (lambda model: change(model, game={"name": "calvinball"}), "no game is named 'calvinball'"),
    "a game of chance": (lambda model: change(model, game={"name": "backgammon"}), "'backgammon' cannot be served"),
    "another vocabulary": (swap_two_moves, "its vocabulary is not that of this version's game 'chess'"),
    "another context": (lambda model: change(model, context=["elo"]), "its context fields are not those of the game"),
    "a folder named like another version": (
        lambda model: shutil.copytree(model, model.with_name("2")),
        "chess/2 holds chess/1: rename the folder, or export it anew",
    ),
}


def damaged(artifacts: Path, root: Path, damage: Callable[[Path], Any]) -> Path:
    """Copy the chess model and damage it; give the folder of artifacts it is in."""
    model = root / "artifacts" / "chess" / "1"
    shutil.copytree(artifacts / "chess" / "1", model)
    for other in ("othello", "chess-fp32"):
        shutil.copytree(artifacts / other / "1", root / "others" / other)
    damage(model)
    return root / "artifacts"


@pytest.mark.parametrize(("damage", "says"), BROKEN.values(), ids=BROKEN.keys())
def test_a_damaged_model_is_refused_before_anything_is_written(
    artifacts: Path, tmp_path: Path, damage: Callable[[Path], Any], says: str
):
    root = damaged(artifacts, tmp_path, damage)
    with pytest.raises(ArtifactError) as refusal:
        create_app(Settings(artifacts=root, data_dir=tmp_path / "data"))
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "data").exists()


def test_what_was_exported_is_what_is_loaded(artifacts: Path):
    artifact = Artifact.load(artifacts / "colours" / "1")
    manifest = artifact.manifest
    assert (manifest.name, manifest.version, manifest.precision, manifest.cell) == ("colours", "1", "int8", "lstm")
    assert artifact.game.vocabulary.names == manifest.vocabulary == COLOURS
    assert {name: checksum(artifact.folder / name) for name in manifest.sha256} == manifest.sha256
    assert sorted(manifest.sha256) == ["model.onnx", "weights.safetensors"]


def test_weights_need_not_be_there_where_a_model_is_only_served(artifacts: Path, tmp_path: Path):
    model = tmp_path / "colours" / "1"
    shutil.copytree(artifacts / "colours" / "1", model)
    manifest = json.loads((model / MANIFEST).read_bytes())
    (model / "weights.safetensors").unlink()
    del manifest["sha256"]["weights.safetensors"]
    (model / MANIFEST).write_text(json.dumps(manifest))
    assert [model.name for model in Models(tmp_path, "colours", max_batch=4, max_queue=100)] == ["colours"]


def test_versions_are_ordered_as_numbers_and_names_come_before_them(tmp_path: Path):
    for version in ("10", "9", "2", "beta", "100", "alpha"):
        (tmp_path / "chess" / version).mkdir(parents=True)
    (tmp_path / "chess" / "notes.txt").touch()
    found = [folder.name for folder in find_artifacts(tmp_path)]
    assert found == ["alpha", "beta", "2", "9", "10", "100"]


@pytest.mark.anyio
async def test_the_newest_version_answers_for_the_name(artifacts: Path, tmp_path: Path):
    for version in ("2", "10"):
        folder = tmp_path / "colours" / version
        shutil.copytree(artifacts / "colours" / "1", folder)
        change(folder, version=version)
    models = Models(tmp_path, "colours", max_batch=4, max_queue=100)
    assert [models.get(name).version for name in (None, "colours", "colours/2", "colours/10")] == [
        "10",
        "10",
        "2",
        "10",
    ]
    assert (await models.serving("colours", "2")).version == "2"
    assert (await models.serving("colours", "1")).version == "10"
