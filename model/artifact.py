"""What export writes and the service reads: a folder with the step graph, the weights and a manifest with checksums."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model.games import Game, load_game

FORMAT = 1
MANIFEST, GRAPH, WEIGHTS = "manifest.json", "model.onnx", "weights.safetensors"

# Names of the graph's inputs and outputs that are not state. `rows` is the batch, its size is free.
TOKENS = "tokens"  # int64 [rows]: the move just played, or the vocabulary's start
SEEN = "seen"  # int64 [rows, fields]: the context as the player to move sees it; absent where none is read
CELLS = "cells"  # uint8 [rows, cells]: the board as the player to move sees it; absent where none is read
LOGITS = "logits"  # float32 [rows, moves]


class ArtifactError(Exception):
    """An artifact that cannot be used; the message says which folder and what is wrong with it."""


class StateTensor(BaseModel):
    """One tensor of a game's state: what it is called going in and coming out, and what a row of it holds."""

    model_config = ConfigDict(frozen=True)

    name: str
    output: str
    dtype: Literal["uint8", "float32"]
    shape: tuple[int, ...]
    initial: int = Field(0, ge=0, le=255)
    """The value of every element before the first step."""


class GateTensor(BaseModel):
    """What a gate of one layer gives in a step: a float32 value [rows, width] inside the graph.

    It is no output, which would be written at every step: whoever asks for it opens the graph with it as one more.
    """

    model_config = ConfigDict(frozen=True)

    layer: int = Field(ge=0)
    gate: str
    value: str
    width: int = Field(ge=1)


class Manifest(BaseModel):
    """Everything about a model that is not in its graph. What has a default is for people, or for training on."""

    model_config = ConfigDict(frozen=True)

    format: int
    name: str
    version: str
    game: dict[str, Any]
    vocabulary: tuple[str, ...]
    context: tuple[str, ...] = ()
    state: tuple[StateTensor, ...]
    gates: tuple[GateTensor, ...] = ()
    cell: str
    precision: Literal["fp32", "int8"]
    network: dict[str, Any] = {}
    data: dict[str, Any] = {}
    figures: dict[str, Any] = {}
    parity: dict[str, Any] = {}
    sha256: dict[str, str]
    tools: dict[str, str] = {}


@dataclass(frozen=True)
class Artifact:
    """A folder whose manifest, checksums and game were found to fit."""

    folder: Path
    manifest: Manifest
    game: Game

    @property
    def graph(self) -> Path:
        """The ONNX file of one step."""
        return self.folder / GRAPH

    @property
    def record(self) -> np.dtype[Any]:
        """One row of state as a packed record: a field per state tensor, in the manifest's order."""
        return state_record(self.manifest.state)

    @classmethod
    def load(cls, folder: Path) -> "Artifact":
        """Read and verify a folder; ArtifactError if it is not a whole artifact of this format."""
        manifest = _read_manifest(folder)
        for name, expected in manifest.sha256.items():
            if checksum(folder / name) != expected:
                raise ArtifactError(f"{folder / name}: its SHA-256 is not the one in {MANIFEST}: corrupt or replaced")
        if GRAPH not in manifest.sha256:
            raise ArtifactError(f"{folder / MANIFEST}: sha256 does not name {GRAPH}")
        try:
            game = load_game(manifest.game, manifest.vocabulary)
            state_record(manifest.state)
        except ValueError as error:
            raise ArtifactError(f"{folder / MANIFEST}: {error}") from None
        if game.vocabulary.names != manifest.vocabulary:
            raise ArtifactError(f"{folder / MANIFEST}: its vocabulary is not that of this version's game {game.name!r}")
        if tuple(field.name for field in game.context) != manifest.context:
            raise ArtifactError(f"{folder / MANIFEST}: its context fields are not those of the game {game.name!r}")
        return cls(folder, manifest, game)


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing: {folder} is not a model") from None
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ArtifactError(f"{path} is not JSON: {error}") from None
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise ArtifactError(f"{path}: format {found!r} cannot be read, this version reads format {FORMAT}")
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ArtifactError(f"{path}: {where}: {first['msg']}") from None


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest with the checksums of the files that are there."""
    files = [name for name in (GRAPH, WEIGHTS) if (folder / name).exists()]
    content = Manifest(**manifest, format=FORMAT, sha256={name: checksum(folder / name) for name in files})
    part = folder / f"{MANIFEST}.part"
    part.write_text(json.dumps(content.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n")
    os.replace(part, folder / MANIFEST)


def keep_figures(folder: Path, figures: Mapping[str, Any]) -> None:
    """Put evaluation figures into the manifest of an artifact that is whole."""
    manifest = Artifact.load(folder).manifest.model_dump(exclude={"format", "sha256"})
    write_manifest(folder, manifest | {"figures": figures})


def checksum(path: Path) -> str:
    """Give the SHA-256 of a file in hexadecimal; ArtifactError if it is missing."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from None


def state_record(tensors: Sequence[StateTensor]) -> np.dtype[Any]:
    """Give the packed record that holds one row of every state tensor."""
    return np.dtype([(tensor.name, tensor.dtype, tensor.shape) for tensor in tensors])


def find_artifacts(root: Path) -> list[Path]:
    """Give every ``<name>/<version>`` folder under ``root``, oldest version first; ArtifactError if there is none."""
    folders = [path for path in root.glob("*/*") if path.is_dir()]
    if not folders:
        raise ArtifactError(f"{root} holds no <name>/<version> folder with a model")
    return sorted(folders, key=lambda path: (path.parent.name, version_key(path.name)))


def version_key(version: str) -> tuple[int, str]:
    """Give what orders versions: numbers by their size, before them what is no number."""
    return (int(version), "") if version.isdecimal() else (-1, version)
