"""Reads a folder of artifacts and gives the models to serve: each a game, an engine and a scheduler."""

import asyncio
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from model.artifact import Artifact, ArtifactError, Manifest, find_artifacts, version_key
from model.games import Game
from service.engine import Engine, Input
from service.errors import UnknownModel
from service.gates import Gates
from service.metrics import Meter
from service.prefixes import Prefixes
from service.scheduler import Scheduler

_log = logging.getLogger("nextply")
# What the beginnings of games that a model remembers may take.
_BYTES_OF_PREFIXES = 16 << 20


@dataclass(frozen=True)
class Model:
    """One loaded version of a model."""

    manifest: Manifest
    game: Game
    engine: Engine
    scheduler: Scheduler[Input]
    graph: str
    """SHA-256 of its graph."""
    gates: Gates | None
    """None if it was exported without them."""
    prefixes: Prefixes

    @classmethod
    def load(cls, folder: Path, max_batch: int, max_queue: int, brief: float) -> "Model":
        """Load a folder, for a scheduler of such bounds; ArtifactError if it cannot be served."""
        artifact = Artifact.load(folder)
        engine = Engine(artifact)
        meter = Meter(artifact.manifest.name, artifact.manifest.version)
        scheduler = Scheduler(engine, max_batch, max_queue, brief=brief, meter=meter)
        gates = Gates(artifact, scheduler) if artifact.manifest.gates else None
        graph = artifact.manifest.sha256[artifact.graph.name]
        prefixes = Prefixes(_BYTES_OF_PREFIXES)
        return cls(artifact.manifest, artifact.game, engine, scheduler, graph, gates, prefixes)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """The model's version."""
        return self.manifest.version


@dataclass(frozen=True)
class Changes:
    """What a reload changed, as ``name/version``; ``failed`` says why what could not be loaded."""

    loaded: list[str]
    dropped: list[str]
    failed: dict[str, str]

    def log(self) -> None:
        """Tell the operator, if there is anything to tell."""
        if self.loaded or self.dropped:
            _log.info("models loaded: %s; dropped: %s", self.loaded or "none", self.dropped or "none")
        for name, problem in self.failed.items():
            _log.error("model %s cannot be loaded: %s", name, problem)


class Models:
    """All models under a folder, by name and version; the folder may change while they are served."""

    def __init__(self, root: Path, default: str, max_batch: int, max_queue: int, brief: float = 0.0) -> None:
        """Load every model; ArtifactError for the first that cannot be served, or if none is named ``default``."""
        self._root, self.default = root, default
        self._load = partial(Model.load, max_batch=max_batch, max_queue=max_queue, brief=brief)
        self._models: dict[str, dict[str, Model]] = {}
        self._seen: dict[Path, _Stamp] = {}
        self._reloading = asyncio.Lock()
        for folder, self._seen[folder] in _find(root).items():
            self._add(folder, self._load(folder))
        if default not in self._models:
            raise ArtifactError(f"no model is named {default!r}: there are {', '.join(sorted(self._models))}")

    def _add(self, folder: Path, model: Model) -> None:
        if (model.name, model.version) != (folder.parent.name, folder.name):
            raise ArtifactError(f"{folder} holds {model.name}/{model.version}: rename the folder, or export it anew")
        versions = self._models.setdefault(model.name, {}) | {model.version: model}
        self._models[model.name] = dict(sorted(versions.items(), key=lambda item: version_key(item[0])))

    def __iter__(self) -> Iterator[Model]:
        """Give every loaded version."""
        for versions in list(self._models.values()):
            yield from list(versions.values())

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

    def loaded(self, name: str, version: str) -> Model | None:
        """Give a version of a model, None if it is not there."""
        return self._models.get(name, {}).get(version)

    async def serving(self, name: str, version: str) -> Model:
        """Give the version that serves a session of ``name``: its own while that is there, else the newest."""
        if self.loaded(name, version) is None:
            # Another process may have loaded it already, and this one would take the session back to an older one.
            await self.reload()
        return self.loaded(name, version) or self.get(name)

    async def reload(self) -> Changes:
        """Load what is new or changed in the folder and drop what is gone; what runs on a dropped model finishes.

        What cannot be loaded leaves what is served as it is, and is tried again once its folder changes.
        """
        async with self._reloading:
            try:
                folders = await asyncio.to_thread(_find, self._root)
            except ArtifactError as error:
                return Changes([], [], {"": self._without_root(error)})
            changes = Changes([], [], {})
            for folder, stamp in folders.items():
                if stamp != self._seen.get(folder):
                    self._seen[folder] = stamp
                    await self._take(folder, changes)
            for folder in self._seen.keys() - folders.keys():
                del self._seen[folder]
                self._drop(folder, changes)
            changes.log()
            return changes

    async def _take(self, folder: Path, changes: Changes) -> None:
        name = f"{folder.parent.name}/{folder.name}"
        try:
            self._add(folder, await asyncio.to_thread(self._load, folder))
        except ArtifactError as error:
            changes.failed[name] = self._without_root(error)
        else:
            changes.loaded.append(name)

    def _drop(self, folder: Path, changes: Changes) -> None:
        versions = self._models.get(folder.parent.name, {})
        if folder.name not in versions:
            return
        name = f"{folder.parent.name}/{folder.name}"
        if folder.parent.name == self.default and len(versions) == 1:
            changes.failed[name] = "it is gone, but is still served: no other version of the default model is there"
            return
        del versions[folder.name]
        if not versions:
            del self._models[folder.parent.name]
        changes.dropped.append(name)

    def _without_root(self, error: ArtifactError) -> str:
        """Give what is wrong without the place of the folder, which is nobody's business outside."""
        return str(error).replace(f"{self._root}/", "").replace(str(self._root), "the folder of models")

    def close(self) -> None:
        """End the threads of the engines."""
        for model in self:
            model.scheduler.close()


_Stamp = frozenset[tuple[str, int, int]]


def _find(root: Path) -> dict[Path, _Stamp]:
    return {folder: _stamp(folder) for folder in find_artifacts(root)}


def _stamp(folder: Path) -> _Stamp:
    """Give what changes when any file of a folder is written, so that one that is still being copied is tried again."""
    try:
        return frozenset((entry.name, entry.stat().st_mtime_ns, entry.stat().st_size) for entry in os.scandir(folder))
    except OSError:
        return frozenset()
