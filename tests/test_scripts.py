"""The commands, from records to an artifact that is served, scored and measured."""

import json
from pathlib import Path

import numpy as np
import pytest

from model.artifact import Artifact
from model.games import Chess, TokenGame
from scripts import bench, evaluate, export, train
from service.settings import Settings
from tests.scoring import write_table_model
from tests.serving import COLOURS, random_game, serving, write_artifact

QUICK = ["--tokens", "1500", "--batch", "200", "--every", "3", "--warmup", "2", "--width", "16", "--embedding", "8"]


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """Forty sequences without rules."""
    path = tmp_path / "visits.jsonl"
    games = (random_game(TokenGame(COLOURS), seed, 20) for seed in range(40))
    path.write_text("\n".join(map(json.dumps, games)))
    return path


def trained(records: Path, *more: str, out: str = "visits/1") -> Artifact:
    folder = records.parent / "artifacts" / out
    run = records.parent / "runs" / out.replace("/", "-")
    where = ["--games", str(records), "--out", str(folder), "--run", str(run)]
    train.main(["--game", "tokens", *where, *QUICK, *more])
    return Artifact.load(folder)


@pytest.mark.anyio
async def test_records_become_a_model_that_is_served(records: Path, tmp_path: Path):
    artifact = trained(records)
    assert artifact.manifest.vocabulary == tuple(sorted(COLOURS))
    assert artifact.manifest.data["games"] == 40
    assert artifact.manifest.parity["largest_difference"] <= 1e-4
    settings = Settings(artifacts=tmp_path / "artifacts", data_dir=tmp_path / "data", model="visits")
    async with serving(settings) as client:
        answer = await client.ok("POST", "/predict", {"sequences": [["red", "green"]]})
    assert sum(move["probability"] for move in answer["predictions"][0]["next"]) == pytest.approx(1)


def test_the_same_command_again_leaves_a_finished_run_and_exports_the_same(records: Path):
    first = trained(records).manifest
    log = (records.parent / "runs" / "visits-1" / "loss.csv").read_text()
    assert trained(records).manifest.sha256 == first.sha256
    assert (records.parent / "runs" / "visits-1" / "loss.csv").read_text() == log


def test_a_run_begins_with_the_weights_of_an_artifact(records: Path):
    first = trained(records)
    more = trained(records, "--from", str(first.folder), "--rate", "0", out="visits/2")
    assert more.manifest.sha256 == first.manifest.sha256
    assert more.manifest.data["trained_plies"] > first.manifest.data["trained_plies"]


def test_a_run_is_exported_in_the_other_precision(records: Path, capsys: pytest.CaptureFixture[str]):
    first = trained(records).manifest
    out = records.parent / "artifacts" / "visits" / "3"
    export.main(["--run", str(records.parent / "runs" / "visits-1"), "--out", str(out), "--precision", "fp32"])
    manifest = Artifact.load(out).manifest
    assert (first.precision, manifest.precision) == ("int8", "fp32")
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["artifact"] == str(out)


def test_other_games_do_not_go_into_a_run_that_has_some(records: Path):
    trained(records)
    with pytest.raises(SystemExit, match="holds other games"):
        trained(records, "--until", "2020-01-01")


def test_records_that_are_not_there_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        train.main(["--games", str(tmp_path / "none.pgn"), "--out", str(tmp_path / "a" / "1")])
    assert "none.pgn is not a file" in capsys.readouterr().err


def test_figures_are_kept_in_the_manifest(records: Path):
    artifact = trained(records)
    evaluate.main(["--model", str(artifact.folder), "--games", str(records), "--keep"])
    kept = Artifact.load(artifact.folder).manifest.figures["visits/1"]
    assert kept["figures"]["all"]["plies"] == 40 * 20
    assert sum(entry["moves"] for entry in kept["calibration"]["top_move"]["bins"]) == 40 * 20


def test_what_ratings_do_is_kept_in_the_manifest(tmp_path: Path):
    games, plots = tmp_path / "games.pgn", tmp_path / "plots"
    games.write_text('[WhiteElo "1500"]\n[BlackElo "1700"]\n\n1. e4 e5 2. Nf3 *\n')
    # Every row of the table is alike, whatever the ratings are.
    folder = write_table_model(tmp_path / "even" / "1", Chess(), np.zeros((1861, 1860), np.float32))
    evaluate.main(["--model", str(folder), "--games", str(games), "--ratings", "--keep", "--plots", str(plots)])
    kept = Artifact.load(folder).manifest.figures["even/1"]["ratings"]
    assert kept["plies"] == 3
    assert len(kept["variants"]) == 8
    assert len({entry["nll_legal"] for entry in kept["variants"].values()}) == 1
    assert kept["mover"]["top_move_changes"] == 0
    assert {"ratings-even-1.png", "by-rating.png"} < {path.name for path in plots.iterdir()}


def test_the_bench_compares_precisions(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    artifact = write_artifact(tmp_path / "colours" / "1", TokenGame(COLOURS))
    bench.main(["--model", str(artifact.folder), "--rows", "1", "3", "--rounds", "1", "--seconds", "0.02"])
    *_, last = capsys.readouterr().out.splitlines()
    measured = json.loads(last)["steps_per_second"]
    assert [entry["rows"] for entry in measured] == [1, 3]
    assert all(entry["fp32"] > 0 and entry["int8"] > 0 for entry in measured)
