"""A model that teaches another: what it expects, and that it is learnt."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.artifact import Artifact
from model.batches import collate
from model.dataset import Packed
from model.export import export, load_network
from model.games import TokenGame
from model.network import NextMove
from model.run import Run
from model.teacher import Teacher
from model.training import Trainer
from model.workers import fit
from tests.test_training import LETTERS, TINY, cycles, log


def noise(games: int) -> Packed:
    """Give sequences in which nothing can be foreseen."""
    packed = cycles(games, offset=1)
    return replace(packed, tokens=np.random.default_rng(2).integers(5, size=len(packed.tokens)).astype(np.int32))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A model that has learnt to go round the letters."""
    folder = tmp_path_factory.mktemp("teacher")
    cycles(200).save(folder / "data")
    run = Run(folder / "run")
    fit(LETTERS, folder / "data", TINY, run)
    network = NextMove(LETTERS, TINY.shape)
    network.load_state_dict(torch.load(run.best, weights_only=True)["network"])
    return export(folder / "letters" / "1", LETTERS, network, cycles(20), precision="fp32")


def test_a_teacher_expects_what_its_network_does_game_after_game(teacher: Artifact) -> None:
    packed, games = cycles(30), np.array([7, 2, 19, 3])
    expected = Teacher(teacher, LETTERS).expect(packed, games)
    batch = collate(LETTERS, packed, games, packed.context[games])
    with torch.no_grad():
        scores, _ = load_network(teacher)(*map(torch.from_numpy, batch.inputs))
    np.testing.assert_allclose(expected, scores.softmax(1).numpy(), atol=1e-5)


def test_a_teacher_of_other_moves_is_refused(teacher: Artifact) -> None:
    with pytest.raises(ValueError, match="cannot teach: its moves are not those of the game that is learnt"):
        Teacher(teacher, TokenGame("abcdef"))


@pytest.mark.parametrize(("taught", "learnt"), [(1.0, True), (0.0, False)])
def test_what_a_teacher_expects_is_learnt_from_games_that_do_not_show_it(
    teacher: Artifact, tmp_path: Path, taught: float, learnt: bool
) -> None:
    noise(200).save(tmp_path / "data")
    run, settings = Run(tmp_path / "run"), replace(TINY, taught=taught)
    fit(LETTERS, tmp_path / "data", settings, run, teacher=teacher.folder)
    last = Trainer(LETTERS, cycles(200), settings, run)
    assert (last.held_out_loss() < 0.8) == learnt


def test_the_log_has_the_loss_on_the_moves_played_with_a_teacher_too(teacher: Artifact, tmp_path: Path) -> None:
    noise(200).save(tmp_path / "data")
    run = Run(tmp_path / "run")
    fit(LETTERS, tmp_path / "data", replace(TINY, taught=1.0, tokens=3000), run, teacher=teacher.folder)
    assert all(row["train_nll"] > 0.95 * np.log(5) for row in log(run))
