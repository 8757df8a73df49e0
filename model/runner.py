"""Reads a step graph and packed games and gives the graph's outputs at every ply, many games side by side."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.artifact import LOGITS, StateTensor
from model.batches import collate
from model.dataset import Packed
from model.games import Game
from model.runtime import open_session

_ROWS = 64


@dataclass(frozen=True)
class Step:
    """One step of several games: ``games [B]`` are their numbers, all at ``ply``.

    logits: float32 [B, moves], the scores of the move that is played at this ply
    others: the further outputs that were asked for
    """

    games: npt.NDArray[np.int64]
    ply: int
    logits: npt.NDArray[np.float32]
    others: list[npt.NDArray[Any]]


def side_by_side(
    packed: Packed, games: Sequence[int] | npt.NDArray[np.int64], rows: int
) -> Iterator[npt.NDArray[np.int64]]:
    """Give the games, longest first and ``rows`` at a time: of each part those that still run are the first."""
    ordered = np.asarray(games)[np.argsort(-packed.lengths[games], kind="stable")]
    for start in range(0, len(ordered), rows):
        yield ordered[start : start + rows]


class StepRunner:
    """Runs a step graph offline: to compare it with the network, to calibrate it, to score it."""

    def __init__(
        self, graph: Path | bytes, state: Sequence[StateTensor], others: Sequence[str] = (), forget: bool = False
    ) -> None:
        """Load a graph; ``others`` names outputs wanted beside the logits, ``forget`` starts every step anew."""
        self._session = open_session(graph)
        self._inputs = {tensor.name for tensor in self._session.get_inputs()}
        self._state, self._forget = list(state), forget
        self._outputs = [LOGITS, *(tensor.output for tensor in state), *others]

    def walk(self, game: Game, packed: Packed, games: Sequence[int] | npt.NDArray[np.int64]) -> Iterator[Step]:
        """Step through whole games from the first ply to the last."""
        for part in side_by_side(packed, games, _ROWS):
            yield from self._walk_part(game, packed, part)

    def _walk_part(self, game: Game, packed: Packed, games: npt.NDArray[np.int64]) -> Iterator[Step]:
        lengths = packed.lengths[games]
        batch = collate(game, packed, games, np.array(packed.context[games]))
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        state = [np.full((len(games), *t.shape), t.initial, t.dtype) for t in self._state]
        for ply in range(int(lengths[0])):
            live = int((lengths > ply).sum())
            rows = starts[:live] + ply
            feed = {"tokens": batch.tokens[rows], "seen": batch.seen[rows], "cells": batch.cells[rows]}
            feed = {name: value for name, value in feed.items() if name in self._inputs}
            feed |= {t.name: value[:live] for t, value in zip(self._state, state, strict=True)}
            logits, *rest = self._session.run(self._outputs, feed)
            state = state if self._forget else rest[: len(state)]
            yield Step(games[:live], ply, logits, rest[len(self._state) :])
