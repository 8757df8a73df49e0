"""Opens a session for every game of a PGN file; what is there already is left alone, so it can be run again."""

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from nextply_client.answers import Model
from nextply_client.async_client import AsyncClient
from nextply_client.errors import Problem, SessionExists, UnknownModel
from nextply_client.pgn import PgnGame, read_pgn


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one game: ``opened``, ``there`` (already), or ``refused`` for a reason."""

    game: int
    outcome: str
    session: str | None = None
    ply: int | None = None
    problem: str | None = None


def session_id(prefix: str, model: str, game: PgnGame, before: int) -> str:
    """Give the id of a game's session: the same whenever the same file is read; ``before`` equals were in it before."""
    written = json.dumps([model, game.moves, sorted(game.context.items())]).encode()
    digest = hashlib.sha256(written).hexdigest()[:20]
    return f"{prefix}{digest}" + (f"-{before + 1}" if before else "")


def chosen(models: Sequence[Model], name: str | None) -> Model:
    """Give the model of that name, or the one that serves who asks for none; the last of a name is its newest."""
    for model in reversed(models):
        if (name is None and model.default) or name in (model.name, f"{model.name}/{model.version}"):
            return model
    raise UnknownModel(404, {"code": "unknown_model", "detail": f"no model {name!r} is loaded"})


class Importer:
    """Opens sessions, several at a time."""

    def __init__(self, client: AsyncClient, model: Model, prefix: str) -> None:
        """Take where to open them, and how their ids begin."""
        self._client, self._model, self._prefix = client, model, prefix
        self._seen = Counter[str]()

    async def run(self, games: Iterator[PgnGame], jobs: int, told: Callable[[Imported], None]) -> None:
        """Open a session a game; ``told`` learns what became of each, in no promised order."""

        async def work() -> None:
            for game in games:
                told(await self._open(game))

        async with asyncio.TaskGroup() as group:
            for _ in range(jobs):
                group.create_task(work())

    async def _open(self, game: PgnGame) -> Imported:
        if game.problem is not None or not game.moves:
            return Imported(game.number, "refused", problem=game.problem or "it has no moves")
        known = {name: value for name, value in game.context.items() if name in self._model.context}
        id_ = session_id(self._prefix, self._model.name, game, 0)
        self._seen[id_] += 1
        id_ = session_id(self._prefix, self._model.name, game, self._seen[id_] - 1)
        name = f"{self._model.name}/{self._model.version}"
        try:
            made = await self._client.create(id_, moves=game.moves, context=known, model=name, top_k=1)
        except SessionExists:
            return Imported(game.number, "there", id_)
        except Problem as problem:
            if problem.passing:
                raise
            return Imported(game.number, "refused", problem=problem.detail)
        return Imported(game.number, "opened", id_, made.ply)


def games_of(file: BinaryIO, advanced: Callable[[int], None]) -> Iterator[PgnGame]:
    """Give the games of a file; ``advanced`` learns how many bytes were read."""

    def lines() -> Iterator[str]:
        for line in file:
            advanced(len(line))
            yield line.decode("utf-8-sig", errors="replace")

    return read_pgn(lines())
