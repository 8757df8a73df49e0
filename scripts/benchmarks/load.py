"""Reads a game and gives what clients send: sessions with random lines of legal moves, and requests as bytes."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from model.games import Game, Position

# Everything a client must say.
_HEAD = "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
# Moves that are played in one session: random games by rules seldom last longer, and 400 moves are many for a visit.
_LONGEST_BY_RULES, _LONGEST = 60, 400
# Moves a second that one run may need at most; of a game with rules the network is slower, and lines cost more to make.
_FASTEST_BY_RULES, _FASTEST = 16_000, 60_000


def post(path: str, body: Any) -> bytes:
    """Give a request with a JSON body; text is sent as it is."""
    content = written(body).encode()
    return _HEAD.format(path=path, size=len(content)).encode() + content


def written(body: Any) -> str:
    """Give JSON without spaces; text is taken for JSON already."""
    return body if isinstance(body, str) else json.dumps(body, separators=(",", ":"))


def line(game: Game, plies: int, rng: np.random.Generator, start: Position | None = None) -> list[str]:
    """Give exactly so many random moves from a position, the first if none is given; a game that ends before is left.

    Moves are in SAN where the game has it. The position stays as it is.
    """
    while True:
        position = game.new_position() if start is None else start.copy()
        moves = list(islice(_random_moves(game, position, rng), plies))
        if len(moves) == plies:
            return moves


def _random_moves(game: Game, position: Position, rng: np.random.Generator) -> Iterator[str]:
    while True:
        legal = position.legal()
        candidates: Sequence[int] = range(len(game.vocabulary)) if legal is None else legal
        if not candidates:
            return
        move = candidates[int(rng.integers(len(candidates)))]
        notation = position.notation(move)
        yield notation.san or notation.move
        position.play(move)


def after(game: Game, moves: Sequence[str]) -> Position:
    """Give the position to which moves lead."""
    position = game.new_position()
    for move in moves:
        position.play(position.find(move))
    return position


def fastest(game: Game) -> int:
    """Give the moves a second for which a load must suffice."""
    return _FASTEST if game.new_position().legal() is None else _FASTEST_BY_RULES


@dataclass(frozen=True)
class Plan:
    """Sessions and the moves that are played in them, one in each of a group, then the next in each of it.

    The first ``begun`` moves of a line are played when its session is opened. As many moves as the size of a group lie
    between two of one session, so that the second is not sent before the first is through.
    """

    model: str
    ids: list[str]
    lines: list[list[str]]
    begun: int
    group: int

    @classmethod
    def of(cls, game: Game, model: str, tag: str, moves: float, group: int, begun: int = 8, seed: int = 0) -> "Plan":
        """Plan so many moves or some more; sessions are named after ``tag``, another seed gives other moves."""
        longest = _LONGEST if game.new_position().legal() is None else _LONGEST_BY_RULES
        sessions = group * math.ceil(max(1, moves) / (group * longest))
        plies = begun + math.ceil(max(1, moves) / sessions)
        rng = np.random.default_rng([seed, *tag.encode()])
        ids = [f"{tag}-{number}" for number in range(sessions)]
        return cls(model, ids, [line(game, plies, rng) for _ in ids], begun, group)

    def openings(self) -> list[bytes]:
        """Give the requests that open the sessions."""
        return [
            post("/sessions", {"session": id_, "model": self.model, "moves": moves[: self.begun], "top_k": 1})
            for id_, moves in zip(self.ids, self.lines, strict=True)
        ]

    def turns(self) -> Iterator[list[tuple[str, str]]]:
        """Give id and move for every session of a group, turn by turn."""
        for start in range(0, len(self.ids), self.group):
            part = slice(start, start + self.group)
            for ply in range(self.begun, len(self.lines[0])):
                yield [(id_, moves[ply]) for id_, moves in zip(self.ids[part], self.lines[part], strict=True)]

    def single_moves(self) -> list[bytes]:
        """Give a request for every move."""
        return [
            post(f"/sessions/{id_}/moves", f'{{"moves":["{move}"]}}') for turn in self.turns() for id_, move in turn
        ]

    def steps(self) -> Iterator[bytes]:
        """Give a request to ``/steps`` for every turn."""
        for turn in self.turns():
            yield post("/steps", {"steps": [{"session": id_, "moves": [move]} for id_, move in turn]})

    def messages(self) -> Iterator[bytes]:
        """Give a message of a WebSocket for every move."""
        for turn in self.turns():
            for id_, move in turn:
                yield f'{{"session":"{id_}","moves":["{move}"]}}'.encode()
