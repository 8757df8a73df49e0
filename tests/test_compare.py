"""Variants of a network, trained alike, in one table; and what a step costs."""

import json
from pathlib import Path

import pytest

from model.cost import operations
from model.export import write_step
from model.games import Chess, TokenGame
from model.network import NextMove, Shape
from model.stepgraph import FloatOps
from scripts import compare, train
from tests.serving import COLOURS, random_game

QUICK = ["--tokens", "800", "--batch", "200", "--every", "3", "--warmup", "2", "--width", "16", "--embedding", "8"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A training run on forty sequences without rules."""
    records = tmp_path / "visits.jsonl"
    records.write_text("\n".join(json.dumps(random_game(TokenGame(COLOURS), seed, 20)) for seed in range(40)))
    where = ["--games", str(records), "--out", str(tmp_path / "visits/1"), "--run", str(tmp_path / "run")]
    train.main(["--game", "tokens", *where, *QUICK])
    return tmp_path / "run"


def test_variants_are_trained_alike_and_compared(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--run", str(run), "--vary", "cell=rnn,gru", "width=8,16", "batch=100", "--tokens", "600"]
    compare.main([*words, "--out", str(tmp_path / "variants"), "--json", str(tmp_path / "variants.json")])
    written = json.loads((tmp_path / "variants.json").read_text())
    rows = written["variants"]
    assert written["tokens"] == 600
    assert [(row["cell"], row["width"]) for row in rows] == [("rnn", 8), ("rnn", 16), ("gru", 8), ("gru", 16)]
    assert rows[0]["parameters"] < rows[1]["parameters"] < rows[3]["parameters"]
    assert len({row["fp32"]["nll"] for row in rows}) == 4
    assert all(row["steps_per_second"] > 100 for row in rows)
    table = capsys.readouterr().out
    assert table.count("\n| cell ") == 4
    assert "| cell rnn, width 8 |" in table
    for variant in ("rnn-8-100", "gru-16-100"):
        settings = json.loads((tmp_path / "variants" / variant / "settings.json").read_text())
        assert settings["training"]["tokens"] == 600
        assert settings["training"]["batch"] == 100


def test_a_field_that_does_not_exist_is_named_with_those_that_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        compare.main(["--run", str(tmp_path), "--vary", "depth=1,2", "--tokens", "1", "--out", str(tmp_path)])
    error = capsys.readouterr().err
    assert "'depth=1,2' is not FIELD=A,B" in error
    assert "blocks" in error


def test_a_folder_that_is_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"compare: .*settings\.json"):
        compare.main(["--run", str(tmp_path), "--vary", "width=1,2", "--tokens", "1", "--out", str(tmp_path)])


def test_the_cost_of_a_step_is_that_of_its_products() -> None:
    """A token game: the recurrent product and the scores, for the first layer's input is a look-up."""
    game, shape = TokenGame(COLOURS), Shape(width=16, embedding=8)
    model = write_step(FloatOps(), game, NextMove(game, shape))
    assert operations(model) == 2 * (16 * 4 * 16 + 16 * len(COLOURS))


@pytest.mark.parametrize(("kind", "products"), [("residual", 2 * 8 * 8 * 9), ("inverted", 2 * 8 * 16 + 16 * 9)])
def test_a_block_costs_its_convolutions(kind: str, products: int) -> None:
    game = Chess()

    def cost(blocks: int) -> int:
        return operations(write_step(FloatOps(), game, NextMove(game, Shape(blocks=blocks, channels=8, block=kind))))

    assert cost(3) - cost(2) == 2 * 64 * products
