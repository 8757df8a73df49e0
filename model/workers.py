"""Reads packed games and settings and gives a finished training run, by one process or by several side by side."""

import os
import time
from contextlib import suppress
from multiprocessing import parent_process
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

from model.dataset import Packed
from model.games import Game
from model.run import Run, Settings
from model.training import Trainer


def _end_with(parent: BaseProcess) -> None:
    """End this process as soon as its parent is gone: killed, it would leave workers that go on for ever."""
    wait([parent.sentinel])
    os._exit(1)


def _work(
    rank: int, game: Game, folder: Path, settings: Settings, run: Run, warm: Path | None, teacher: Path | None
) -> None:
    torch.set_num_threads(1)
    if settings.workers > 1:
        Thread(target=_end_with, args=(parent_process(),), daemon=True).start()
        store = dist.FileStore(str(run.folder / "rendezvous"), settings.workers)  # type: ignore[attr-defined]
        dist.init_process_group("gloo", store=store, rank=rank, world_size=settings.workers)
    Trainer(game, Packed.load(folder), settings, run, warm, teacher, rank).train()
    if settings.workers > 1:
        dist.destroy_process_group()


def fit(
    game: Game, folder: Path, settings: Settings, run: Run, warm: Path | None = None, teacher: Path | None = None
) -> float:
    """Train on the packed games of ``folder`` with ``settings.workers`` processes of one thread; give seconds taken."""
    started = time.monotonic()
    with suppress(FileNotFoundError):
        (run.folder / "rendezvous").unlink()
    if settings.workers == 1:
        _work(0, game, folder, settings, run, warm, teacher)
    else:
        spawn(_work, (game, folder, settings, run, warm, teacher), nprocs=settings.workers)
    return time.monotonic() - started
