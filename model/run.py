"""What a training run is: the settings it reads, and the folder it gives, which an interrupted run goes on from."""

import csv
import json
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
    batch: int = 1024
    """Plies of one worker's batch."""
    plies: int = 200
    """Where longer games are cut."""
    rate: float = 2e-3
    warmup: int = 500
    """Steps in which the learning rate rises to ``rate``."""
    decay: float = 0.01
    clip: float = 1.0
    forget: float = 0.15
    """Share of games whose context is hidden, so that the network also serves without it."""
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


class Run:
    """A folder with the settings, the log, the loss curve, the checkpoint and the best weights of one training run."""

    def __init__(self, folder: Path) -> None:
        """Make the folder."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.checkpoint, self.best = folder / "checkpoint.pt", folder / "best.pt"
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
        figure, axes = pyplot.subplots(figsize=(7, 4))
        for name in ("train_nll", "held_out_nll"):
            axes.plot([float(r["tokens"]) / 1e6 for r in rows], [float(r[name]) for r in rows], label=name)
        axes.set(xlabel="million plies", ylabel="nats a move")
        axes.legend()
        figure.savefig(self.plot, dpi=120, bbox_inches="tight")
        pyplot.close(figure)
