"""What a training run is: the settings it reads, how far it is, and the folder it gives, from which it goes on."""

import csv
import json
import math
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from model.network import Shape


@dataclass(frozen=True)
class Settings:
    """Everything that decides what a run gives."""

    shape: Shape = field(default_factory=Shape)
    tokens: int = 20_000_000
    """Plies to train on, the same game counted each time it is seen; the learning rate ends at zero there."""
    batch: int = 512
    """Plies of one worker's batch."""
    plies: int = 200
    """Plies of a window: longer games are read in several, which carry the state on, but no gradient."""
    rate: float = 1e-3
    warmup: int = 100
    """Steps in which the learning rate rises to ``rate``."""
    cooldown: float = 1.0
    """Share of the run, at its end, in which the learning rate falls to zero."""
    decay: float = 0.01
    average: float = 0.0
    """Decay of an exponential moving average of the weights, which is then watched and shipped in their place."""
    clip: float = 1.0
    """Norm to which a longer gradient is shortened."""
    forget: float = 0.15
    """Share of games whose context is hidden, so that the network also serves without it."""
    taught: float = 0.7
    """Share of the loss that is against what a teacher expected, where there is one."""
    foresight: float = 0.0
    """Weight, a cell, of a side loss on the board two plies later; nothing of it is served."""
    mixed: bool = True
    """bfloat16 where that is exact enough; parameters stay float32."""
    held_out: int = 400
    """Games kept from training, on which the loss is watched."""
    every: int = 500
    """Steps between two looks at the held-out games, each of which leaves a checkpoint."""
    patience: int = 20
    """Looks without a better held-out loss after which training stops."""
    workers: int = 1
    seed: int = 0


@dataclass
class Progress:
    """Where a run stands: what a checkpoint holds beside weights and optimiser."""

    step: int = 0
    tokens: int = 0
    best: float = math.inf
    worse: int = 0
    cooling: bool = False
    """Whether the learning rate has begun to fall."""


def cooled(settings: Settings, progress: Progress) -> float:
    """Say how much of the cooldown is over, from 0 to 1."""
    left = max(0.0, 1 - progress.tokens / settings.tokens)
    return 0.0 if left >= settings.cooldown else 1 - left / settings.cooldown


def learning_rate(settings: Settings, progress: Progress) -> float:
    """Linear warm-up, a level stretch, then half a cosine down to zero at ``settings.tokens``.

    Level, then cooled down (Hägele et al. 2024, arXiv 2405.18392), a run need not know its length when it begins.
    """
    warmup = min(1.0, (progress.step + 1) / settings.warmup)
    return settings.rate * warmup * 0.5 * (1 + math.cos(math.pi * cooled(settings, progress)))


class Run:
    """A folder with the settings, the log, the loss curve, the checkpoint and the best weights of one training run."""

    def __init__(self, folder: Path) -> None:
        """Make the folder."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.checkpoint, self.best = folder / "checkpoint.pt", folder / "best.pt"
        self.steady = folder / "steady.pt"
        self.log, self.plot = folder / "loss.csv", folder / "loss.png"

    def write_settings(self, settings: Settings, about: dict[str, Any]) -> None:
        """Keep every setting, and what ``about`` says of the game and its records."""
        content = about | {"training": asdict(settings)}
        (self.folder / "settings.json").write_text(json.dumps(content, indent=2))

    def save(self, path: Path, content: dict[str, Any]) -> None:
        """Write a file that is whole or not there."""
        torch.save(content, path.with_suffix(".part"))
        os.replace(path.with_suffix(".part"), path)

    def append(self, row: dict[str, float]) -> None:
        """Add a line to the log and draw the curve anew."""
        new = not self.log.exists()
        with self.log.open("a", newline="") as file:
            writer = csv.DictWriter(file, row.keys())
            if new:
                writer.writeheader()
            writer.writerow(row)
        self._draw()

    def _draw(self) -> None:
        import matplotlib

        matplotlib.use("agg")
        from matplotlib import pyplot

        with self.log.open(newline="") as file:
            rows = list(csv.DictReader(file))
        panels = {
            "nats a move": ("train_nll", "held_out_nll"),
            "norm before clipping": ("gradient_norm", "largest_norm"),
            "share of steps": ("clipped",),
        }
        figure, all_axes = pyplot.subplots(3, sharex=True, figsize=(7, 8), height_ratios=(4, 3, 1))
        for axes, (label, names) in zip(all_axes, panels.items(), strict=True):
            for name in names:
                axes.plot([float(r["tokens"]) / 1e6 for r in rows], [float(r[name]) for r in rows], label=name)
            axes.set(ylabel=label)
            axes.legend()
        all_axes[1].set(yscale="log")
        all_axes[2].set(xlabel="million plies", ylim=(-0.05, 1.05))
        figure.savefig(self.plot, dpi=120, bbox_inches="tight")
        pyplot.close(figure)
