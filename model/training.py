"""Reads packed games and settings and gives a trained network; an interrupted run goes on from its checkpoint."""

import itertools
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from model.artifact import Artifact
from model.batches import Batch, bucket, collate
from model.cells import State
from model.dataset import Packed
from model.foresight import Foresight
from model.games import Game
from model.network import NextMove
from model.optimiser import Optimiser
from model.run import Progress, Run, Settings, cooled, learning_rate
from model.teacher import Teacher


def held_out_games(games: int, count: int, seed: int) -> npt.NDArray[np.int64]:
    """Give the numbers of the games that a run does not train on: ``count``, but no more than a tenth."""
    return np.sort(np.random.default_rng(seed).permutation(games)[: min(count, games // 10)])


class Trainer:
    """One worker's part of a run. All workers hold the same weights and average their gradients each step.

    Truncated backpropagation through time: a batch is read in windows of ``settings.plies`` columns. The state is
    carried from one window to the next, as it is when the model is served; gradients stop at the edges. They are summed
    over the windows, so that a batch is one step, however long its games are and however many workers there are.
    """

    def __init__(
        self,
        game: Game,
        packed: Packed,
        settings: Settings,
        run: Run,
        warm: Path | None = None,
        teacher: Path | None = None,
        rank: int = 0,
    ) -> None:
        """Split off the held-out games; take up the checkpoint, if there is one, else the ``warm`` weights.

        ``teacher`` is the folder of an artifact. ValueError if no game is left to hold out, or it cannot teach this.
        """
        self.game, self.packed, self.settings, self.run, self.rank = game, packed, settings, run, rank
        self.held_out = held_out_games(len(packed), settings.held_out, settings.seed)
        if not len(self.held_out):
            raise ValueError(f"no game to watch: {settings.held_out} of {len(packed)} games, and no more than a tenth")
        self.games = np.setdiff1d(np.arange(len(packed)), self.held_out)
        self.teacher = None if teacher is None else Teacher(Artifact.load(teacher), game)
        torch.manual_seed(settings.seed)
        self.network = NextMove(game, settings.shape)
        self.foresight = Foresight(game.grid, settings.shape) if game.grid and settings.foresight else None
        self.learning = nn.ModuleDict({"network": self.network})
        if self.foresight:
            self.learning["foresight"] = self.foresight
        self.optimiser = Optimiser(self.network, settings.decay, self.foresight)
        self.progress = Progress()
        if warm is not None and not run.checkpoint.exists():
            from safetensors.torch import load_file

            self.network.load_state_dict(load_file(warm))
        self.averaged = deepcopy(self.network) if settings.average else self.network
        if run.checkpoint.exists():
            self._resume()

    def _resume(self) -> None:
        """Take up the checkpoint, or the one before a cooldown that the settings have put off since."""
        checkpoint = torch.load(self.run.checkpoint, weights_only=True)
        progress = Progress(**checkpoint["progress"])
        if progress.cooling and not cooled(self.settings, progress) and self.run.steady.exists():
            checkpoint = torch.load(self.run.steady, weights_only=True)
        self.averaged.load_state_dict(checkpoint["averaged"])
        for name, module in self.learning.items():
            module.load_state_dict(checkpoint[name])
        self.optimiser.load_state_dict(checkpoint["optimiser"])
        self.progress = Progress(**checkpoint["progress"])

    def _checkpoint(self, path: Path) -> None:
        weights = {name: module.state_dict() for name, module in self.learning.items()}
        weights |= {"averaged": self.averaged.state_dict()}
        rest = {"optimiser": self.optimiser.state_dict(), "progress": asdict(self.progress)}
        self.run.save(path, weights | rest)

    def _begin_cooling(self) -> None:
        """Keep a checkpoint from before the learning rate falls, if it ever was level."""
        if self.rank == 0 and self.settings.cooldown < 1:
            self._checkpoint(self.run.steady)
        self.progress.cooling = True

    def _batches(self) -> Iterator[npt.NDArray[np.int64]]:
        """Give this worker's batches from the current step on; the order depends on the seed and the epoch alone."""
        settings, lengths = self.settings, self.packed.lengths[self.games]
        skip = self.progress.step
        for epoch in itertools.count():
            order = bucket(lengths, settings.batch, settings.seed + epoch)
            steps = len(order) // settings.workers
            if not steps:
                raise ValueError(f"the games make fewer batches than there are workers ({settings.workers})")
            if skip < steps:
                for step in range(skip, steps):
                    yield self.games[order[step * settings.workers + self.rank]]
            skip = max(0, skip - steps)

    def _collate(self, games: npt.NDArray[np.int64], forget: bool) -> Batch:
        context = np.array(self.packed.context[games])
        if forget:
            rng = np.random.default_rng((self.settings.seed, self.progress.step, self.rank))
            context[rng.random(len(games)) < self.settings.forget] = 0
            context[rng.random(context.shape) < self.settings.forget / 3] = 0
        batch = collate(self.game, self.packed, games, context)
        if self.teacher is None or not forget:
            return batch
        return replace(batch, expected=self.teacher.expect(self.packed, games))

    def _losses(self, network: NextMove, batch: Batch) -> Iterator[tuple[Tensor, float]]:
        """Give of each window the loss, and the sum of −ln p of the moves played, which alone is watched.

        Gradients reach no further back than the window's first ply.
        """
        state: State | None = None
        for window in batch.windows(self.settings.plies):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.settings.mixed):
                tokens, seen, cells, mask = map(torch.from_numpy, window.inputs)
                features, memory, after = network.read(tokens, seen, cells, mask, state)
                scores = network.score(features, memory)
                foreseen = self._foresee(features, memory, window)
            state = tuple(part.detach() for part in after)
            scores = scores.float()
            loss = played = functional.cross_entropy(scores, torch.from_numpy(window.targets), reduction="sum")
            if window.expected is not None:
                expected = functional.cross_entropy(scores, torch.from_numpy(window.expected), reduction="sum")
                loss = torch.lerp(played, expected, self.settings.taught)
            yield loss + foreseen, played.item()

    def _foresee(self, features: Tensor | None, memory: Tensor, window: Batch) -> Tensor:
        if self.foresight is None or features is None:
            return torch.zeros(())
        later = torch.from_numpy(window.later.astype(np.int64))
        loss: Tensor = self.settings.foresight * self.foresight(features, memory, later)
        return loss

    def step(self, batch: Batch) -> tuple[float, float, int]:
        """Take one step; give the mean loss, the norm of the gradient before clipping and the plies of all workers."""
        settings = self.settings
        if cooled(settings, self.progress) and not self.progress.cooling:
            self._begin_cooling()
        self.learning.zero_grad()
        # Summed over plies, so that workers with unlike batches give the gradient that one worker with all would.
        loss = 0.0
        for part, played in self._losses(self.network, batch):
            part.backward()
            loss += played
        parameters = list(self.learning.parameters())
        sums = torch.tensor([loss, len(batch.targets)])
        flat = torch.cat(
            [sums, *((p.grad if p.grad is not None else torch.zeros_like(p)).flatten() for p in parameters)]
        )
        if settings.workers > 1:
            dist.all_reduce(flat)
        total, plies = float(flat[0]), int(flat[1])
        for parameter, gradient in zip(parameters, flat[2:].split([p.numel() for p in parameters]), strict=True):
            parameter.grad = gradient.view_as(parameter) / plies
        norm = torch.nn.utils.clip_grad_norm_(parameters, settings.clip)
        self.optimiser.step(learning_rate(settings, self.progress))
        self.progress.step += 1
        self.progress.tokens += plies
        if settings.average:
            self._average()
        return total / plies, float(norm), plies

    @torch.no_grad()
    def _average(self) -> None:
        # A short past counts for little at first, or the weights of the beginning would stay in the average for long.
        step = self.progress.step
        keep = min(self.settings.average, step / (step + 10))
        for averaged, parameter in zip(self.averaged.parameters(), self.network.parameters(), strict=True):
            averaged.lerp_(parameter, 1 - keep)

    @torch.no_grad()
    def held_out_loss(self) -> float:
        """Give the mean −ln p of every move of the held-out games, over all moves, legal or not."""
        self.averaged.eval()
        total = plies = 0.0
        for start in range(0, len(self.held_out), 16):
            batch = self._collate(self.held_out[start : start + 16], forget=False)
            total += sum(played for _, played in self._losses(self.averaged, batch))
            plies += len(batch.targets)
        self.averaged.train()
        return total / plies

    @property
    def finished(self) -> bool:
        """Say whether the plies of the settings are seen, or the held-out loss no longer falls."""
        return self.progress.tokens >= self.settings.tokens or self.progress.worse >= self.settings.patience

    def train(self) -> None:
        """Train until the run is finished; a finished run is left as it is."""
        settings, progress, recent = self.settings, self.progress, list[tuple[float, float]]()
        bar = tqdm(
            total=settings.tokens, initial=progress.tokens, unit=" plies", unit_scale=True, disable=self.rank > 0
        )
        for games in self._batches():
            if self.finished:
                break
            loss, norm, plies = self.step(self._collate(games, forget=True))
            recent.append((loss, norm))
            bar.update(plies)
            bar.set_postfix(nll=f"{loss:.3f}", refresh=False)
            if progress.tokens >= settings.tokens or progress.step % settings.every == 0:
                self._look(np.array(recent), bar.format_dict["rate"] or 0.0)
                recent.clear()
        bar.close()

    def _look(self, recent: npt.NDArray[np.float64], speed: float) -> None:
        """Measure the held-out loss, on every worker alike, and keep a checkpoint and the best weights.

        ``recent`` has the loss and the gradient norm of each step since the last look; ``speed`` is in plies a second.
        """
        nll, progress, settings = self.held_out_loss(), self.progress, self.settings
        losses, norms = recent.T
        progress.worse = 0 if nll < progress.best else progress.worse + 1
        progress.best = min(nll, progress.best)
        if self.rank == 0:
            row = {"step": progress.step, "tokens": progress.tokens, "train_nll": losses.mean(), "held_out_nll": nll}
            row |= {"gradient_norm": norms.mean(), "largest_norm": norms.max()}
            row |= {"clipped": (norms > settings.clip).mean(), "rate": learning_rate(settings, progress)}
            self.run.append(row | {"tokens_per_second": speed})
            if progress.worse == 0:
                self.run.save(self.run.best, {"network": self.averaged.state_dict(), "progress": asdict(progress)})
            self._checkpoint(self.run.checkpoint)
