"""Reads packed games and settings and gives a trained network; an interrupted run goes on from its checkpoint."""

import itertools
import math
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import spawn
from torch.nn import functional
from tqdm import tqdm

from model.batches import Batch, bucket, collate
from model.dataset import Packed
from model.games import Game
from model.network import NextMove
from model.run import Run, Settings


@dataclass
class Progress:
    """Where a run stands: what a checkpoint holds beside weights and optimiser."""

    step: int = 0
    tokens: int = 0
    best: float = math.inf
    worse: int = 0


def learning_rate(settings: Settings, progress: Progress) -> float:
    """Linear warm-up, then half a cosine down to zero at ``settings.tokens``."""
    warmup = min(1.0, (progress.step + 1) / settings.warmup)
    done = min(1.0, progress.tokens / settings.tokens)
    return settings.rate * warmup * 0.5 * (1 + math.cos(math.pi * done))


def held_out_games(games: int, count: int, seed: int) -> npt.NDArray[np.int64]:
    """Give the numbers of the games that a run does not train on: ``count``, but no more than a tenth."""
    return np.sort(np.random.default_rng(seed).permutation(games)[: min(count, games // 10)])


class Trainer:
    """One worker's part of a run. All workers hold the same weights and average their gradients each step."""

    def __init__(
        self, game: Game, packed: Packed, settings: Settings, run: Run, warm: Path | None = None, rank: int = 0
    ) -> None:
        """Split off the held-out games; take up the checkpoint, if there is one, else the ``warm`` weights.

        ValueError if no game is left to hold out.
        """
        self.game, self.packed, self.settings, self.run, self.rank = game, packed, settings, run, rank
        self.held_out = held_out_games(len(packed), settings.held_out, settings.seed)
        if not len(self.held_out):
            raise ValueError(f"no game to watch: {settings.held_out} of {len(packed)} games, and no more than a tenth")
        self.games = np.setdiff1d(np.arange(len(packed)), self.held_out)
        torch.manual_seed(settings.seed)
        self.network = NextMove(game, settings.shape)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=settings.rate, betas=(0.9, 0.98), weight_decay=settings.decay
        )
        self.progress = Progress()
        if run.checkpoint.exists():
            self._resume(torch.load(run.checkpoint, weights_only=True))
        elif warm is not None:
            from safetensors.torch import load_file

            self.network.load_state_dict(load_file(warm))

    def _resume(self, checkpoint: dict[str, Any]) -> None:
        self.network.load_state_dict(checkpoint["network"])
        self.optimiser.load_state_dict(checkpoint["optimiser"])
        self.progress = Progress(**checkpoint["progress"])

    def _checkpoint(self) -> None:
        state = {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}
        self.run.save(self.run.checkpoint, state | {"progress": asdict(self.progress)})

    def _batches(self) -> Iterator[npt.NDArray[np.int64]]:
        """Give this worker's batches from the current step on; the order depends on the seed and the epoch alone."""
        settings, lengths = self.settings, self.packed.lengths[self.games]
        skip = self.progress.step
        for epoch in itertools.count():
            order = bucket(lengths, settings.batch, settings.plies, settings.seed + epoch)
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
        return collate(self.game, self.packed, games, self.settings.plies, context)

    def _loss(self, batch: Batch) -> Tensor:
        """Give the mean −ln p of the moves played."""
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.settings.mixed):
            scores, _ = self.network(
                torch.from_numpy(batch.tokens),
                torch.from_numpy(batch.seen),
                torch.from_numpy(batch.cells).long(),
                torch.from_numpy(batch.mask),
            )
        return functional.cross_entropy(scores.float(), torch.from_numpy(batch.targets))

    def _step(self, batch: Batch) -> tuple[float, int]:
        """Take one step; give the loss and the plies of all workers."""
        settings = self.settings
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(settings, self.progress)
        self.optimiser.zero_grad()
        loss = self._loss(batch)
        # Scaled by plies, so that workers with unlike batches give the gradient that one worker with all would.
        (loss * len(batch.targets)).backward()
        parameters = list(self.network.parameters())
        sums = torch.tensor([loss.item() * len(batch.targets), len(batch.targets)])
        flat = torch.cat(
            [sums, *((p.grad if p.grad is not None else torch.zeros_like(p)).flatten() for p in parameters)]
        )
        if settings.workers > 1:
            dist.all_reduce(flat)
        total, plies = float(flat[0]), int(flat[1])
        for parameter, gradient in zip(parameters, flat[2:].split([p.numel() for p in parameters]), strict=True):
            parameter.grad = gradient.view_as(parameter) / plies
        torch.nn.utils.clip_grad_norm_(parameters, settings.clip)
        self.optimiser.step()
        self.progress.step += 1
        self.progress.tokens += plies
        return total / plies, plies

    @torch.no_grad()
    def held_out_loss(self) -> float:
        """Give the mean −ln p of every move of the held-out games, over all moves, legal or not."""
        self.network.eval()
        total = plies = 0.0
        for start in range(0, len(self.held_out), 16):
            batch = self._collate(self.held_out[start : start + 16], forget=False)
            total += float(self._loss(batch)) * len(batch.targets)
            plies += len(batch.targets)
        self.network.train()
        return total / plies

    @property
    def finished(self) -> bool:
        """Say whether the plies of the settings are seen, or the held-out loss no longer falls."""
        return self.progress.tokens >= self.settings.tokens or self.progress.worse >= self.settings.patience

    def train(self) -> None:
        """Train until the run is finished; a finished run is left as it is."""
        settings, progress, recent = self.settings, self.progress, list[float]()
        bar = tqdm(
            total=settings.tokens, initial=progress.tokens, unit=" plies", unit_scale=True, disable=self.rank > 0
        )
        for games in self._batches():
            if self.finished:
                break
            loss, plies = self._step(self._collate(games, forget=True))
            recent.append(loss)
            bar.update(plies)
            bar.set_postfix(nll=f"{loss:.3f}", refresh=False)
            if progress.tokens >= settings.tokens or progress.step % settings.every == 0:
                self._look(float(np.mean(recent)), bar.format_dict["rate"] or 0.0)
                recent.clear()
        bar.close()

    def _look(self, train_nll: float, rate: float) -> None:
        """Measure the held-out loss, on every worker alike, and keep a checkpoint and the best weights."""
        nll, progress = self.held_out_loss(), self.progress
        progress.worse = 0 if nll < progress.best else progress.worse + 1
        progress.best = min(nll, progress.best)
        if self.rank == 0:
            row = {"step": progress.step, "tokens": progress.tokens, "train_nll": train_nll, "held_out_nll": nll}
            self.run.append(row | {"rate": learning_rate(self.settings, progress), "tokens_per_second": rate})
            if progress.worse == 0:
                self.run.save(self.run.best, {"network": self.network.state_dict(), "progress": asdict(progress)})
            self._checkpoint()


def _work(rank: int, game: Game, folder: Path, settings: Settings, run: Run, warm: Path | None) -> None:
    torch.set_num_threads(1)
    if settings.workers > 1:
        store = dist.FileStore(str(run.folder / "rendezvous"), settings.workers)  # type: ignore[attr-defined]
        dist.init_process_group("gloo", store=store, rank=rank, world_size=settings.workers)
    Trainer(game, Packed.load(folder), settings, run, warm, rank).train()
    if settings.workers > 1:
        dist.destroy_process_group()


def fit(game: Game, folder: Path, settings: Settings, run: Run, warm: Path | None = None) -> float:
    """Train on the packed games of ``folder`` with ``settings.workers`` processes of one thread; give seconds taken."""
    started = time.monotonic()
    with suppress(FileNotFoundError):
        (run.folder / "rendezvous").unlink()
    if settings.workers == 1:
        _work(0, game, folder, settings, run, warm)
    else:
        spawn(_work, (game, folder, settings, run, warm), nprocs=settings.workers)
    return time.monotonic() - started
