"""Reads what a person chose and gives the setting in which everything is measured, with the models in their places."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.artifact import Artifact, find_artifacts

TOKENS, CHESS = "tokens", "chess"
_VOCABULARY, _WIDTH, _EMBEDDING, _LAYERS = 2000, 512, 256, 2
# Games on which the untrained network is calibrated.
_GAMES, _PLIES = 8, 40


@dataclass(frozen=True)
class Setting:
    """How, and of what, the service is measured."""

    work: Path
    """Takes logs and stores; on a disk, since the stores are to be durable."""
    models: Mapping[str, Path]
    """For each model that is measured the folder of models that holds ``<name>/1``."""
    rounds: int = 3
    seconds: float = 5.0
    """Of one measurement."""
    connections: tuple[int, ...] = (1, 16, 64, 256)
    workers: tuple[int, ...] = (1, 2)
    """Numbers of processes of the service, and of Triton's backend."""
    many: int = 1024
    """A number of connections at which the service alone is measured; 0 leaves it out."""
    sessions: int = 5000
    """Sessions that are opened to see what memory they take."""
    peers: Path | None = None
    """Where other servers are installed; None measures without them."""
    shipped: Path = Path("artifacts")
    """The models that ship, all of which a service without flags loads."""

    def artifact(self, model: str) -> Artifact:
        """Give a model; ArtifactError if it cannot be used."""
        return Artifact.load(self.folder(model))

    def folder(self, model: str) -> Path:
        """Give the folder of a model, of which there is one version."""
        (folder,) = (folder for folder in find_artifacts(self.models[model]) if folder.parent.name == model)
        return folder


def place_models(work: Path, chess: Path) -> dict[str, Path]:
    """Give folders with one model each: chess, and tokens, which is made unless it is there."""
    roots = {name: work / f"models-{name}" for name in (TOKENS, CHESS)}
    if not (roots[TOKENS] / TOKENS / "1" / "manifest.json").exists():
        write_untrained(roots[TOKENS] / TOKENS / "1")
    versions = roots[CHESS] / CHESS
    versions.mkdir(parents=True, exist_ok=True)
    for link in versions.iterdir():
        link.unlink()
    (versions / chess.name).symlink_to(chess.resolve())
    return roots


def write_untrained(folder: Path) -> Artifact:
    """Export an LSTM of 2 × 512 over 2,000 tokens that has learnt nothing: its steps cost what trained ones cost."""
    import torch

    from model.dataset import Packed
    from model.export import export
    from model.games import TokenGame
    from model.network import NextMove, Shape

    torch.manual_seed(0)
    game = TokenGame(f"t{number}" for number in range(_VOCABULARY))
    network = NextMove(game, Shape(width=_WIDTH, embedding=_EMBEDDING, layers=_LAYERS))
    plies = _GAMES * _PLIES
    games = Packed(
        tokens=np.random.default_rng(0).integers(_VOCABULARY, size=plies, dtype=np.int32),
        players=np.zeros(plies, np.uint8),
        cells=np.zeros((plies, 0), np.uint8),
        context=np.zeros((_GAMES, 0), np.uint8),
        offsets=np.arange(_GAMES + 1, dtype=np.int64) * _PLIES,
    )
    return export(folder, game, network, games, precision="int8")
