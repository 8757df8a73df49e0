"""Reads packed games and a model's scores of every ply and gives, ply by ply, what every figure is made of."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from model.dataset import Packed
from model.evaluation.legal import LegalMoves
from model.games import Game, Rating
from model.runner import Step

Floats = npt.NDArray[np.float64]

# Where bins of probability begin and end: narrow near 0, where most legal moves are.
EDGES = np.array([0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1])
BINS = len(EDGES) - 1


@dataclass(frozen=True)
class Scores:
    """Figures of N plies: the games in the order asked for, each from its first ply to its last.

    Raw figures are over the whole vocabulary; all others over the legal moves alone, renormalised. Without rules both
    are the same.

    game: int32 [N]             number of the game
    ply: int32 [N]
    player: uint8 [N]           who moves
    rating: int16 [N]           where the bucket of the mover's rating begins, in points, −1 if it is not known; None
                                where the game has no ratings
    raw_rank: int32 [N]         how many moves stand before the one played; of equal scores the lower id stands first
    raw_nll: float32 [N]        −ln p of the move played, in nats
    legal_rank: int32 [N]
    legal_nll: float32 [N]
    legal_top: bool [N]         whether the raw first move is legal
    legal_mass: float32 [N]     raw probability of all legal moves together
    first: int32 [N]            the move that stands first
    first_p: float32 [N]        its probability
    entropy: float32 [N]        the −ln p that the model itself expects of the move played, Σ −p ln p, in nats
    variance: float32 [N]       of that −ln p, if moves are drawn as the model says, Σ p (−ln p − entropy)²
    bin_moves: uint16 [N, BINS] how many moves have a probability in each bin
    bin_mass: float32 [N, BINS] the probability of these moves together
    """

    game: npt.NDArray[np.int32]
    ply: npt.NDArray[np.int32]
    player: npt.NDArray[np.uint8]
    rating: npt.NDArray[np.int16] | None
    raw_rank: npt.NDArray[np.int32]
    raw_nll: npt.NDArray[np.float32]
    legal_rank: npt.NDArray[np.int32]
    legal_nll: npt.NDArray[np.float32]
    legal_top: npt.NDArray[np.bool_]
    legal_mass: npt.NDArray[np.float32]
    first: npt.NDArray[np.int32]
    first_p: npt.NDArray[np.float32]
    entropy: npt.NDArray[np.float32]
    variance: npt.NDArray[np.float32]
    bin_moves: npt.NDArray[np.uint16]
    bin_mass: npt.NDArray[np.float32]


def bin_of(p: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Give the bin of each probability; 1 belongs to the last."""
    bins: npt.NDArray[np.int64] = np.clip(np.searchsorted(EDGES, p, side="right") - 1, 0, BINS - 1)
    return bins


def _log_sum_exp(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    top = logits.max(1, keepdims=True)
    sums: npt.NDArray[np.float32] = top[:, 0] + np.log(np.exp(logits - top).sum(1))
    return sums


def _rank(
    logits: npt.NDArray[np.float32], ids: npt.NDArray[Any], own: npt.NDArray[np.float32], targets: npt.NDArray[Any]
) -> npt.NDArray[np.int32]:
    before = (logits > own) | ((logits == own) & (ids < targets))
    ranks: npt.NDArray[np.int32] = before.sum(1, dtype=np.int32)
    return ranks


def _spread(nll: npt.NDArray[np.float32], real: npt.NDArray[np.bool_]) -> dict[str, npt.NDArray[Any]]:
    """Give how probability is spread over the legal moves, of which row b has those where ``real [B, most]``."""
    p, rows = np.exp(-nll), len(nll)
    finite = np.where(real, nll, 0)
    entropy = (p * finite).sum(1)
    place = (np.arange(rows)[:, None] * BINS + bin_of(p))[real]
    return {
        "first_p": p.max(1),
        "entropy": entropy,
        "variance": (p * np.square(finite - entropy[:, None])).sum(1),
        "bin_moves": np.bincount(place, minlength=rows * BINS).reshape(rows, BINS).astype(np.uint16),
        "bin_mass": np.bincount(place, p[real], rows * BINS).reshape(rows, BINS).astype(np.float32),
    }


def _measure(
    logits: npt.NDArray[np.float32], targets: npt.NDArray[np.int32], legal: npt.NDArray[np.int32]
) -> dict[str, npt.NDArray[Any]]:
    """Give the arrays of Scores that depend on the scores of B plies; ``legal`` comes from LegalMoves."""
    column, moves = targets[:, None], logits.shape[1]
    own, total = np.take_along_axis(logits, column, 1), _log_sum_exp(logits)
    # The column added stands for the id that fills up rows of legal moves.
    padded = np.pad(logits, ((0, 0), (0, 1)), constant_values=-np.inf)
    allowed = np.take_along_axis(padded, legal, 1)
    legal_total = _log_sum_exp(allowed)
    best = allowed == allowed.max(1, keepdims=True)
    return {
        "raw_rank": _rank(logits, np.arange(moves), own, column),
        "raw_nll": total - own[:, 0],
        "legal_rank": _rank(allowed, legal, own, column),
        "legal_nll": legal_total - own[:, 0],
        "legal_top": (legal == logits.argmax(1)[:, None]).any(1),
        "legal_mass": np.minimum(np.exp(legal_total - total), 1),
        "first": np.where(best, legal, moves).min(1).astype(np.int32),
    } | _spread(legal_total[:, None] - allowed, legal < moves)


def _ratings(game: Game, packed: Packed, games: npt.NDArray[Any], players: npt.NDArray[Any]) -> Any:
    own = game.context[0] if game.context else None
    if not isinstance(own, Rating):
        return None
    sides = np.array([[game.seen(ids, player)[0] for player in (0, 1)] for ids in packed.context.tolist()])
    begins = np.r_[-1, own.low + own.step * np.arange(own.buckets)]
    return begins[sides[games, players]].astype(np.int16)


def _layout(packed: Packed, games: npt.NDArray[np.int64]) -> tuple[npt.NDArray[Any], ...]:
    """Give where each game's rows begin, −1 for games not asked for; then the game and the ply of every row."""
    lengths = packed.lengths[games]
    starts = np.full(len(packed), -1, np.int64)
    starts[games] = np.cumsum(lengths) - lengths
    game_of = np.repeat(games, lengths)
    return starts, game_of, np.arange(len(game_of)) - starts[game_of]


def score(game: Game, packed: Packed, games: Sequence[int] | npt.NDArray[np.int64], steps: Iterable[Step]) -> Scores:
    """Measure every ply of ``games``; the steps may come in any order, and each is let go once it is measured.

    ValueError if the steps are not those games, each ply once, or a score or a move played makes no sense.
    """
    starts, game_of, ply = _layout(packed, np.asarray(games, np.int64))
    player = packed.players[packed.offsets[game_of] + ply]
    arrays, rules = dict[str, npt.NDArray[Any]](), LegalMoves(game, packed)
    done = np.zeros(len(game_of), bool)
    for step in steps:
        rows = starts[step.games] + step.ply
        if (starts[step.games] < 0).any() or (step.ply >= packed.lengths[step.games]).any() or done[rows].any():
            raise ValueError(f"ply {step.ply} was scored twice, or in a game where it was not asked for")
        targets = packed.tokens[packed.offsets[step.games] + step.ply]
        figures = _measure(step.logits, targets, rules.at(step.games, step.ply))
        if not np.isfinite(figures["raw_nll"]).all():
            raise ValueError(f"ply {step.ply}: a score is not a number, or gives the move played no probability")
        arrays = arrays or {name: np.zeros((len(done), *v.shape[1:]), v.dtype) for name, v in figures.items()}
        for name, values in figures.items():
            arrays[name][rows] = values
        done[rows] = True
    if not done.all() or not arrays:
        raise ValueError(f"{(~done).sum():,} of {len(done):,} plies were not scored")
    rating = _ratings(game, packed, game_of, player)
    return Scores(game_of.astype(np.int32), ply.astype(np.int32), player, rating, **arrays)
