"""Training on tiny token games: the loss falls, an interrupted run goes on as if nothing had been, workers agree.

Games are of 4 to 29 plies and windows of 20 or fewer, so that a state is carried on nearly everywhere.
"""

import csv
import itertools
import json
import math
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from model.batches import Batch, bucket, collate
from model.dataset import Packed
from model.export import score, write_step
from model.games import Chess, Game, OpenSpielGame, TokenGame
from model.network import NextMove, Shape
from model.optimiser import Optimiser
from model.run import Progress, Run, Settings, learning_rate
from model.stepgraph import FloatOps
from model.training import Trainer, held_out_games
from model.workers import fit

CHESS, LETTERS = Chess(), TokenGame("abcde")
TINY = Settings(
    shape=Shape(width=16, layers=1, embedding=12, channels=4, blocks=1, summary=2, key=2),
    tokens=6000,
    batch=100,
    plies=20,
    rate=2e-2,
    warmup=5,
    held_out=10,
    every=15,
    mixed=False,
)


def cycles(games: int, offset: int = 0) -> Packed:
    """Give sequences that go round the letters from where they begin: only the first letter is a surprise."""
    rng = np.random.default_rng(offset)
    lengths = rng.integers(4, 30, games)
    tokens = np.concatenate([(rng.integers(5) + np.arange(length)) % 5 for length in lengths])
    return Packed(
        tokens=tokens.astype(np.int32),
        players=np.zeros(len(tokens), np.uint8),
        cells=np.zeros((len(tokens), 0), np.uint8),
        context=np.zeros((games, 0), np.uint8),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
    )


def openings(game: Game, games: int) -> Packed:
    """Give games that all begin with the same five moves, the rating and the clock of each in the first bucket."""
    position, tokens, cells = game.new_position(), list[int](), list[bytes]()
    for _ in range(5):
        tokens.append(position.legal()[-1])
        cells.append(position.cells())
        position.play(tokens[-1])
    return Packed(
        tokens=np.array(tokens * games, np.int32),
        players=np.array([0, 1, 0, 1, 0] * games, np.uint8),
        cells=np.frombuffer(b"".join(cells * games), np.uint8).reshape(5 * games, -1),
        context=np.ones((games, len(game.context)), np.uint8),
        offsets=np.arange(0, 5 * games + 1, 5),
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    cycles(200).save(tmp_path / "data")
    return tmp_path / "data"


def log(run: Run) -> list[dict[str, float]]:
    """Give the lines of a run's log without the times, which differ."""
    with run.log.open(newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert all(row.pop("tokens_per_second") >= 0 for row in rows)
    return rows


def weights(path: Path, part: str = "network") -> dict[str, torch.Tensor]:
    content: dict[str, dict[str, torch.Tensor]] = torch.load(path, weights_only=True)
    return content[part]


def alike(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Interrupted(Run):
    """A run that is broken off as soon as a checkpoint is there."""

    def save(self, path: Path, content: dict[str, object]) -> None:
        super().save(path, content)
        if path == self.checkpoint:
            raise InterruptedError


def test_training_lowers_the_loss_far_below_that_of_chance(data: Path, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    assert fit(LETTERS, data, TINY, run) > 0
    rows = log(run)
    assert rows[0]["held_out_nll"] < 1.2 * math.log(5)
    assert rows[-1]["held_out_nll"] < 0.5
    assert rows[-1]["train_nll"] < 0.5
    assert rows[-1]["tokens"] >= TINY.tokens > rows[-2]["tokens"]
    assert [row["step"] for row in rows[:2]] == [15, 30]


def test_training_in_bfloat16_lowers_the_loss_too(data: Path, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    fit(LETTERS, data, replace(TINY, mixed=True), run)
    assert log(run)[-1]["held_out_nll"] < 0.5
    assert all(tensor.dtype == torch.float32 for tensor in weights(run.best).values())


@pytest.mark.parametrize("game", [LETTERS, CHESS], ids=lambda game: game.name)
def test_an_interrupted_run_goes_on_exactly_as_if_it_had_not_been(tmp_path: Path, game: Game) -> None:
    settings = replace(TINY, tokens=1000, batch=50, plies=4, every=5, forget=0.5, average=0.9, cooldown=0.5)
    settings = replace(settings, foresight=0.1)
    data, whole, broken = tmp_path / "data", Run(tmp_path / "whole"), Interrupted(tmp_path / "broken")
    (cycles(200) if game is LETTERS else openings(game, 40)).save(data)
    fit(game, data, settings, whole)
    for _ in range(2):
        with pytest.raises(InterruptedError):
            fit(game, data, settings, broken)
    assert len(log(broken)) == 2 < len(log(whole))
    resumed = Run(tmp_path / "broken")
    fit(game, data, settings, resumed)
    assert log(resumed) == log(whole)
    for path, part in (("best", "network"), ("checkpoint", "network"), ("checkpoint", "averaged")):
        assert alike(weights(getattr(whole, path), part), weights(getattr(resumed, path), part))


def test_a_finished_run_is_left_as_it_is(data: Path, tmp_path: Path) -> None:
    run, settings = Run(tmp_path / "run"), replace(TINY, tokens=500)
    fit(LETTERS, data, settings, run)
    before = log(run)
    fit(LETTERS, data, settings, run)
    assert log(run) == before


def test_training_stops_when_the_held_out_loss_no_longer_falls(data: Path, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    fit(LETTERS, data, replace(TINY, rate=0.0, patience=2, every=3), run)
    assert [row["step"] for row in log(run)] == [3, 6, 9]
    assert len({row["held_out_nll"] for row in log(run)}) == 1


def test_the_best_weights_are_those_of_the_lowest_held_out_loss(tmp_path: Path) -> None:
    noise = cycles(40)
    noise.tokens[:] = np.random.default_rng(0).integers(0, 5, len(noise.tokens))
    noise.save(tmp_path / "data")
    run = Run(tmp_path / "run")
    fit(LETTERS, tmp_path / "data", replace(TINY, cooldown=0.0), run)
    best, losses = torch.load(run.best, weights_only=True), [row["held_out_nll"] for row in log(run)]
    trainer = Trainer(LETTERS, noise, TINY, Run(tmp_path / "other"))
    trainer.network.load_state_dict(best["network"])
    assert best["progress"]["best"] == trainer.held_out_loss() == min(losses) < losses[-1]


@pytest.mark.parametrize(("forget", "row"), [(1.0, 0), (0.0, 1)])
def test_a_context_is_hidden_from_the_share_of_games_that_the_settings_say(
    tmp_path: Path, forget: float, row: int
) -> None:
    settings, run = replace(TINY, tokens=100, forget=forget, decay=0.0), Run(tmp_path / "run")
    openings(CHESS, 40).save(tmp_path / "data")
    start = Trainer(CHESS, Packed.load(tmp_path / "data"), settings, run).network.state_dict()
    fit(CHESS, tmp_path / "data", settings, run)
    for table in ("context.tables.0.weight", "context.tables.2.weight"):
        moved = (start[table] - weights(run.best)[table]).abs().amax(1)
        assert (moved > 0).nonzero().flatten().tolist() == [row]


def test_held_out_games_are_not_trained_on_and_none_is_lost(data: Path, tmp_path: Path) -> None:
    trainer = Trainer(LETTERS, Packed.load(data), TINY, Run(tmp_path / "run"))
    assert len(trainer.held_out) == 10
    assert sorted([*trainer.held_out, *trainer.games]) == list(range(200))
    assert trainer.held_out.tolist() == held_out_games(200, TINY.held_out, TINY.seed).tolist()
    assert trainer.held_out.tolist() != held_out_games(200, TINY.held_out, TINY.seed + 1).tolist()


def test_no_more_than_a_tenth_of_the_games_is_held_out() -> None:
    assert [len(held_out_games(games, 5, seed=0)) for games in (9, 10, 39, 50, 1000)] == [0, 1, 3, 5, 5]


# Windows


@pytest.mark.parametrize("plies", [1, 7, 10, 100])
def test_a_game_in_windows_has_the_loss_of_the_game_as_it_is_served(tmp_path: Path, plies: int) -> None:
    packed = cycles(200)
    trainer = Trainer(LETTERS, packed, replace(TINY, plies=plies), Run(tmp_path / "run"))
    ops = FloatOps()
    graph = write_step(ops, LETTERS, trainer.network)
    held_out = packed.select(trainer.held_out)
    assert held_out.lengths.max() > 2 * 10
    assert trainer.held_out_loss() == pytest.approx(score(LETTERS, graph, ops, held_out)["nll"], abs=1e-5)


def gradient_in_windows(network: NextMove, batch: Batch, edges: list[int]) -> tuple[float, torch.Tensor]:
    """Give the mean loss of games of equal length and its gradient, which stops at ``edges``, written out plainly."""
    state, losses, games = None, list[torch.Tensor](), len(batch.mask)
    tokens, targets = (torch.from_numpy(part).unflatten(0, (games, -1)) for part in (batch.tokens, batch.targets))
    for first, end in itertools.pairwise(edges):
        mask = torch.ones(games, end - first, dtype=torch.bool)
        nothing = torch.zeros(mask.numel(), 0, dtype=torch.int64)
        scores, (h, c) = network(tokens[:, first:end].flatten(), nothing, nothing, mask, state)
        state = h.detach(), c.detach()
        losses.append(functional.cross_entropy(scores, targets[:, first:end].flatten(), reduction="sum"))
    loss = torch.stack(losses).sum() / targets.numel()
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    return loss.item(), torch.cat([gradient.flatten() for gradient in gradients])


def test_gradients_stop_at_the_edges_of_windows_and_nowhere_else(tmp_path: Path) -> None:
    packed = cycles(200)
    games = np.flatnonzero(packed.lengths == 20)
    assert len(games) > 3
    batch = collate(LETTERS, packed, games, packed.context[games])
    trainer = Trainer(LETTERS, packed, replace(TINY, plies=8, clip=math.inf), Run(tmp_path / "run"))
    expected, gradient = gradient_in_windows(trainer.network, batch, [0, 8, 16, 20])
    whole, uncut = gradient_in_windows(trainer.network, batch, [0, 20])
    loss, norm, plies = trainer.step(batch)
    taken = torch.cat([parameter.grad.flatten() for parameter in trainer.network.parameters()])
    assert plies == 20 * len(games)
    assert loss == pytest.approx(expected) == pytest.approx(whole)
    assert norm == pytest.approx(float(gradient.norm()), rel=1e-4)
    torch.testing.assert_close(taken, gradient, rtol=0, atol=1e-6)
    assert (taken - uncut).abs().max() > 1e-4


# Workers


def train_alone(packed: Packed, settings: Settings, trainer: Trainer, ranks: list[int]) -> dict[str, torch.Tensor]:
    """Train as one worker with the batches of ``ranks`` together would, written out plainly."""
    network, progress = trainer.network, Progress()
    optimiser = Optimiser(network, settings.decay)
    for epoch in range(100):
        order = bucket(packed.lengths[trainer.games], settings.batch, settings.seed + epoch)
        for first in range(0, len(order) - 1, 2):
            if progress.tokens >= settings.tokens:
                return network.state_dict()
            games = trainer.games[np.concatenate([order[first + rank] for rank in (0, 1)])]
            both = collate(LETTERS, packed, games, packed.context[games])
            games = trainer.games[np.concatenate([order[first + rank] for rank in ranks])]
            batch = collate(LETTERS, packed, games, packed.context[games])
            network.zero_grad()
            state = None
            for window in batch.windows(settings.plies):
                scores, (h, c) = network(*map(torch.from_numpy, window.inputs), state)
                state = h.detach(), c.detach()
                loss = functional.cross_entropy(scores, torch.from_numpy(window.targets), reduction="sum")
                (loss / len(batch.targets)).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip)
            optimiser.step(learning_rate(settings, progress))
            progress = Progress(progress.step + 1, progress.tokens + len(both.targets))
    raise AssertionError("the plies of the settings were not reached")


def test_two_workers_lower_the_loss_as_one_with_the_batches_of_both_would(data: Path, tmp_path: Path) -> None:
    settings = replace(TINY, tokens=10_000, plies=7, workers=2)
    run, packed = Run(tmp_path / "run"), Packed.load(data)
    fit(LETTERS, data, settings, run)
    rows = log(run)
    assert rows[-1]["held_out_nll"] < 0.5 < rows[0]["held_out_nll"]
    assert rows[0]["tokens"] > 1.8 * 15 * settings.batch
    trained = weights(run.checkpoint)
    for ranks, same in (([0, 1], True), ([0], False), ([1], False)):
        alone = train_alone(packed, settings, Trainer(LETTERS, packed, settings, Run(tmp_path / "other")), ranks)
        furthest = max(float((trained[name] - alone[name]).abs().max()) for name in trained)
        assert (furthest < 0.2) == same


def test_a_warm_start_takes_the_given_weights_unless_there_is_a_checkpoint(data: Path, tmp_path: Path) -> None:
    torch.manual_seed(7)
    warm = NextMove(LETTERS, TINY.shape).state_dict()
    save_file(warm, tmp_path / "weights.safetensors")
    run, packed = Run(tmp_path / "run"), Packed.load(data)

    def started(path: Path | None) -> dict[str, torch.Tensor]:
        return Trainer(LETTERS, packed, TINY, run, path).network.state_dict()

    cold = started(None)
    assert alike(started(tmp_path / "weights.safetensors"), warm)
    assert not torch.equal(cold["tokens.weight"], warm["tokens.weight"])
    fit(LETTERS, data, replace(TINY, tokens=100), run)
    resumed, trained = started(tmp_path / "weights.safetensors"), weights(run.checkpoint)
    assert alike(resumed, trained)
    assert not torch.equal(resumed["tokens.weight"], warm["tokens.weight"])


def test_a_run_keeps_its_settings_its_log_and_its_curve(data: Path, tmp_path: Path) -> None:
    run = Run(tmp_path / "deep" / "run")
    run.write_settings(TINY, {"data": {"games": 200}})
    fit(LETTERS, data, replace(TINY, tokens=2000), run)
    kept = json.loads((run.folder / "settings.json").read_text())
    assert kept["training"]["shape"]["width"] == 16
    assert kept["training"]["rate"] == TINY.rate
    assert kept["data"] == {"games": 200}
    header, *lines = run.log.read_text().splitlines()
    names = "step,tokens,train_nll,held_out_nll,gradient_norm,largest_norm,clipped,rate,tokens_per_second"
    assert header == names
    assert len(lines) == 2
    assert run.plot.read_bytes().startswith(b"\x89PNG")
    assert not list(run.folder.glob("*.part"))


def test_the_log_has_the_norm_of_gradients_before_clipping_and_how_many_were_clipped(
    data: Path, tmp_path: Path
) -> None:
    runs = {clip: Run(tmp_path / str(clip)) for clip in (1e-3, math.inf)}
    for clip, run in runs.items():
        fit(LETTERS, data, replace(TINY, tokens=1000, every=3, clip=clip), run)
    tight, without = log(runs[1e-3]), log(runs[math.inf])
    assert {row["clipped"] for row in tight} == {1.0}
    assert {row["clipped"] for row in without} == {0.0}
    assert all(row["largest_norm"] >= row["gradient_norm"] > 1e-2 for row in tight + without)


# The learning rate and the averaged weights


def rates(settings: Settings) -> list[float]:
    return [learning_rate(settings, Progress(step=step, tokens=10 * step)) for step in range(101)]


def test_the_learning_rate_rises_and_then_falls_to_zero() -> None:
    reached = rates(replace(TINY, rate=1.0, warmup=10, tokens=1000))
    assert reached[0] == pytest.approx(0.1)
    assert max(reached) == reached[9] > 0.95
    assert reached[9:] == sorted(reached[9:], reverse=True)
    assert reached[50] == pytest.approx(0.5)
    assert reached[100] == 0


def test_the_learning_rate_is_level_until_the_cooldown() -> None:
    reached = rates(replace(TINY, rate=1.0, warmup=10, tokens=1000, cooldown=0.2))
    assert set(reached[9:81]) == {1.0}
    assert reached[80:] == sorted(reached[80:], reverse=True)
    assert reached[90] == pytest.approx(0.5)
    assert reached[100] == 0
    assert set(rates(replace(TINY, rate=1.0, warmup=1, tokens=1000, cooldown=0.0))[:100]) == {1.0}


def test_a_run_that_was_cooled_down_goes_on_as_if_it_had_not_been(data: Path, tmp_path: Path) -> None:
    short, long = (replace(TINY, tokens=tokens, average=0.9, cooldown=0.5) for tokens in (1500, 4000))
    whole, cooled = Run(tmp_path / "whole"), Run(tmp_path / "cooled")
    fit(LETTERS, data, long, whole)
    fit(LETTERS, data, short, cooled)
    level = torch.load(cooled.steady, weights_only=True)["progress"]
    assert 750 <= level["tokens"] < 1500
    assert log(cooled)[-1]["rate"] == 0
    fit(LETTERS, data, long, cooled)
    for part in ("network", "averaged"):
        assert alike(weights(cooled.checkpoint, part), weights(whole.checkpoint, part))
    assert torch.load(cooled.steady, weights_only=True)["progress"]["tokens"] > level["tokens"]


class Watched(Run):
    """A run that keeps the weights of every checkpoint and every line of its log."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.steps, self.losses = list[dict[str, torch.Tensor]](), list[float]()

    def append(self, row: dict[str, float]) -> None:
        self.losses.append(row["held_out_nll"])

    def save(self, path: Path, content: dict[str, object]) -> None:
        super().save(path, content)
        if path == self.checkpoint:
            self.steps.append(weights(path))


def test_averaged_weights_are_what_is_watched_and_kept(data: Path, tmp_path: Path) -> None:
    settings, run = replace(TINY, tokens=2500, every=1, average=0.8), Watched(tmp_path / "run")
    trainer = Trainer(LETTERS, Packed.load(data), settings, run)
    expected = {name: tensor.clone() for name, tensor in trainer.network.state_dict().items()}
    trainer.train()
    for step, taken in enumerate(run.steps, start=1):
        keep = min(0.8, step / (step + 10))
        expected = {name: keep * tensor + (1 - keep) * taken[name] for name, tensor in expected.items()}
    assert len(run.steps) > 15
    averaged, last = weights(run.checkpoint, "averaged"), weights(run.checkpoint)
    assert max(float((averaged[name] - expected[name]).abs().max()) for name in expected) < 1e-5
    assert max(float((averaged[name] - last[name]).abs().max()) for name in expected) > 1e-3
    other = Trainer(LETTERS, Packed.load(data), TINY, Run(tmp_path / "other"))
    other.network.load_state_dict(averaged)
    assert other.held_out_loss() == run.losses[-1] == min(run.losses)
    assert alike(weights(run.best), averaged)


# Foresight


def test_foresight_learns_the_board_two_plies_later_beside_the_moves(tmp_path: Path) -> None:
    packed, settings = openings(CHESS, 40), replace(TINY, tokens=2500, batch=50, plies=2, foresight=0.05)
    batch = collate(CHESS, packed, np.arange(2), packed.context[:2])
    later = torch.from_numpy(batch.later.astype(np.int64))
    trainer = Trainer(CHESS, packed, settings, Run(tmp_path / "run"))
    trainer.train()
    assert trainer.foresight is not None
    features, memory, _ = trainer.network.read(*map(torch.from_numpy, batch.inputs))
    foreseen = trainer.foresight(features, memory, later).item()
    # Two games of five plies: three boards each that come about.
    assert foreseen / (6 * 64) < 0.6 * math.log(CHESS.grid.codes)
    assert foreseen == pytest.approx(trainer.foresight(features[:3], memory[:3], later[:3]).item() * 2, rel=1e-3)
    plain = Trainer(CHESS, packed, replace(settings, foresight=0.0), Run(tmp_path / "plain"))
    plain.network.load_state_dict(weights(trainer.run.checkpoint))
    assert plain.held_out_loss() == trainer.held_out_loss() < 0.3 * math.log(len(CHESS.vocabulary))


def test_too_few_games_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no game to watch: 10 of 9 games, and no more than a tenth"):
        Trainer(LETTERS, cycles(9), TINY, Run(tmp_path / "run"))
    with pytest.raises(ValueError, match="fewer batches than there are workers"):
        Trainer(LETTERS, cycles(10), replace(TINY, batch=10_000, workers=2), Run(tmp_path / "run")).train()


@pytest.mark.parametrize("game", [CHESS, OpenSpielGame("tic_tac_toe")], ids=lambda game: game.name)
def test_a_game_with_a_board_learns_its_usual_opening(tmp_path: Path, game: Game) -> None:
    openings(game, 40).save(tmp_path / "data")
    run = Run(tmp_path / "run")
    fit(game, tmp_path / "data", replace(TINY, tokens=1500, batch=25, rate=5e-3, mixed=True), run)
    assert log(run)[-1]["held_out_nll"] < 0.3 * math.log(len(game.vocabulary))


ENDLESS = """
import sys
from dataclasses import replace
from pathlib import Path
from model.run import Run
from model.workers import fit
from tests.test_training import LETTERS, TINY
if __name__ == "__main__":
    fit(LETTERS, Path(sys.argv[1]), replace(TINY, tokens=10**9, patience=10**9, workers=2), Run(Path(sys.argv[2])))
"""


def test_workers_end_when_the_run_is_killed(data: Path, tmp_path: Path) -> None:
    script, run = tmp_path / "endless.py", tmp_path / "run"
    script.write_text(ENDLESS)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    words = [sys.executable, str(script), str(data), str(run)]
    process = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL)
    while not (run / "checkpoint.pt").exists():
        assert process.poll() is None
        time.sleep(0.1)
    children = psutil.Process(process.pid).children()
    workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    assert len(workers) == 2
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive
