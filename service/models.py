"""Reads a folder of artifacts and gives the models to serve: each a game, an engine and a scheduler."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from model.artifact import Artifact, ArtifactError, Manifest, find_artifacts
from model.games import Game
from service.engine import Engine, Input
from service.errors import UnknownModel
from service.scheduler import Scheduler


@dataclass(frozen=True)
class Model:
    """One loaded version of a model."""

    manifest: Manifest
    game: Game
    engine: Engine
    scheduler: Scheduler[Input]
    graph: str
    """SHA-256 of its graph."""

    @classmethod
    def load(cls, folder: Path, max_batch: int) -> "Model":
        """Load a folder; ArtifactError if it cannot be served."""
        artifact = Artifact.load(folder)
        engine = Engine(artifact)
        scheduler = Scheduler(engine, max_batch)
        return cls(artifact.manifest, artifact.game, engine, scheduler, artifact.manifest.sha256[artifact.graph.name])

    @property
    def name(self) -> str:
        """The model's name."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """The model's version."""
        return self.manifest.version


class Models:
    """All loaded models, by name and version."""

    def __init__(self, models: list[Model], default: str) -> None:
        """Take the models, each name's newest version last.

        ArtifactError if none is named ``default``, or two have the same name and version.
        """
        self._models: dict[str, dict[str, Model]] = {}
        for model in models:
            versions = self._models.setdefault(model.name, {})
            if model.version in versions:
                raise ArtifactError(f"two folders hold {model.name}/{model.version}: remove one, or export it anew")
            versions[model.version] = model
        if default not in self._models:
            raise ArtifactError(f"no model is named {default!r}: there are {', '.join(sorted(self._models))}")
        self.default = default

    @classmethod
    def load(cls, root: Path, default: str, max_batch: int) -> "Models":
        """Load every model under ``root``; ArtifactError for the first that cannot be served."""
        return cls([Model.load(folder, max_batch) for folder in find_artifacts(root)], default)

    def __iter__(self) -> Iterator[Model]:
        """Give every loaded version."""
        for versions in self._models.values():
            yield from versions.values()

    def get(self, reference: str | None) -> Model:
        """Give the model that ``name`` (its newest version) or ``name/version`` refers to, the default for None."""
        name, _, version = (reference or self.default).partition("/")
        versions = self._models.get(name)
        if versions is None:
            raise UnknownModel(f"no model is named {name[:100]!r}", models=sorted(self._models))
        if not version:
            return next(reversed(versions.values()))
        if version not in versions:
            raise UnknownModel(f"model {name!r} has no version {version[:100]!r}", versions=sorted(versions))
        return versions[version]

    def serving(self, name: str, version: str) -> Model:
        """Give the version that serves a session of ``name``: its own while that is loaded, else the newest."""
        return self.get(f"{name}/{version}" if version in self._models.get(name, {}) else name)

    def close(self) -> None:
        """End the threads of the engines."""
        for model in self:
            model.scheduler.close()
