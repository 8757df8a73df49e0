"""Reads packed games and a model's scores of every ply and gives figures: top-1, top-5 and NLL, in all and by group."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from model.dataset import Packed
from model.games import Game, Rating
from model.runner import Step

Floats = npt.NDArray[np.float64]

PLY_BANDS = {"0-9": (0, 10), "10-29": (10, 30), "30-59": (30, 60), "60+": (60, 1 << 31)}
RATING_BANDS = ("unknown", "under 1200", "1200-1599", "1600-1999", "2000 and over")
_RATING_EDGES = (0, 1200, 1600, 2000)

_DIGITS = 5


@dataclass(frozen=True)
class Scores:
    """Figures of N plies: the games in the order asked for, each from its first ply to its last.

    Raw figures are over the whole vocabulary; legal ones over the legal moves alone, renormalised. Without rules both
    are the same.

    game: int32 [N]          number of the game
    ply: int32 [N]
    band: int8 [N]           place of the mover's rating in RATING_BANDS; None where the game has no ratings
    raw_rank: int32 [N]      how many moves stand before the one played; of equal scores the lower id stands first
    raw_nll: float32 [N]     −ln p of the move played, in nats
    legal_rank: int32 [N]
    legal_nll: float32 [N]
    legal_top: bool [N]      whether the raw first move is legal
    legal_mass: float32 [N]  raw probability of all legal moves together
    """

    game: npt.NDArray[np.int32]
    ply: npt.NDArray[np.int32]
    band: npt.NDArray[np.int8] | None
    raw_rank: npt.NDArray[np.int32]
    raw_nll: npt.NDArray[np.float32]
    legal_rank: npt.NDArray[np.int32]
    legal_nll: npt.NDArray[np.float32]
    legal_top: npt.NDArray[np.bool_]
    legal_mass: npt.NDArray[np.float32]


class _LegalMoves:
    """Replays each game once, when it is first asked for, and forgets a ply once it was given."""

    def __init__(self, game: Game, packed: Packed) -> None:
        self._game, self._packed = game, packed
        self._kept: dict[int, dict[int, npt.NDArray[np.int32]]] = {}

    def at(self, games: npt.NDArray[np.int64], ply: int) -> npt.NDArray[np.int32]:
        """Give the ids of the legal moves, int32 [B, most], rows filled up with the vocabulary's size."""
        lists = [self._take(number, ply) for number in games.tolist()]
        lengths = np.array([len(ids) for ids in lists])
        padded = np.full((len(lists), lengths.max()), len(self._game.vocabulary), np.int32)
        padded[np.arange(lengths.max()) < lengths[:, None]] = np.concatenate(lists)
        return padded

    def _take(self, number: int, ply: int) -> npt.NDArray[np.int32]:
        if number not in self._kept:
            self._kept[number] = dict(enumerate(self._replay(number)))
        plies = self._kept[number]
        ids = plies.pop(ply)
        if not plies:
            del self._kept[number]
        return ids

    def _replay(self, number: int) -> Iterator[npt.NDArray[np.int32]]:
        position = self._game.new_position()
        first, end = self._packed.offsets[number : number + 2]
        for token in self._packed.tokens[first:end].tolist():
            legal = position.legal() or ()
            if token not in legal:
                raise ValueError(f"game {number}, ply {position.ply}: the move played is not legal by the game's rules")
            yield np.array(legal, np.int32)
            position.play(token)


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


def _measure(
    logits: npt.NDArray[np.float32], targets: npt.NDArray[np.int32], legal: npt.NDArray[np.int32] | None
) -> dict[str, npt.NDArray[Any]]:
    """Give the last six arrays of Scores for B plies; ``legal`` comes from _LegalMoves, None without rules."""
    own, column = np.take_along_axis(logits, targets[:, None], 1), targets[:, None]
    total = _log_sum_exp(logits)
    rank, nll = _rank(logits, np.arange(logits.shape[1]), own, column), total - own[:, 0]
    if legal is None:
        everything = {"legal_top": np.ones(len(rank), bool), "legal_mass": np.ones(len(rank), np.float32)}
        return {"raw_rank": rank, "raw_nll": nll, "legal_rank": rank, "legal_nll": nll} | everything
    # The column added stands for the id that fills up rows of legal moves.
    padded = np.pad(logits, ((0, 0), (0, 1)), constant_values=-np.inf)
    allowed = np.take_along_axis(padded, legal, 1)
    legal_total = _log_sum_exp(allowed)
    return {
        "raw_rank": rank,
        "raw_nll": nll,
        "legal_rank": _rank(allowed, legal, own, column),
        "legal_nll": legal_total - own[:, 0],
        "legal_top": (legal == logits.argmax(1)[:, None]).any(1),
        "legal_mass": np.minimum(np.exp(legal_total - total), 1),
    }


def _rating_bands(
    game: Game, packed: Packed, games: npt.NDArray[Any], players: npt.NDArray[Any]
) -> npt.NDArray[np.int8] | None:
    own = game.context[0] if game.context else None
    if not isinstance(own, Rating):
        return None
    sides = np.array([[game.seen(ids, player)[0] for player in (0, 1)] for ids in packed.context.tolist()])
    edges = [own.encode(points) for points in _RATING_EDGES]
    bands: npt.NDArray[np.int8] = np.searchsorted(edges, sides[games, players], side="right").astype(np.int8)
    return bands


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
    band = _rating_bands(game, packed, game_of, packed.players[packed.offsets[game_of] + ply])
    arrays = dict[str, npt.NDArray[Any]]()
    rules = _LegalMoves(game, packed) if game.new_position().legal() is not None else None
    done = np.zeros(len(game_of), bool)
    for step in steps:
        rows = starts[step.games] + step.ply
        if (starts[step.games] < 0).any() or (step.ply >= packed.lengths[step.games]).any() or done[rows].any():
            raise ValueError(f"ply {step.ply} was scored twice, or in a game where it was not asked for")
        targets = packed.tokens[packed.offsets[step.games] + step.ply]
        figures = _measure(step.logits, targets, rules.at(step.games, step.ply) if rules else None)
        if not np.isfinite(figures["raw_nll"]).all():
            raise ValueError(f"ply {step.ply}: a score is not a number, or gives the move played no probability")
        arrays = arrays or {name: np.zeros(len(done), values.dtype) for name, values in figures.items()}
        for name, values in figures.items():
            arrays[name][rows] = values
        done[rows] = True
    if not done.all() or not arrays:
        raise ValueError(f"{(~done).sum():,} of {len(done):,} plies were not scored")
    return Scores(game_of.astype(np.int32), ply.astype(np.int32), band, **arrays)


# Each figure's name, its heading in a table, and its value at every ply.
_MEASURES: tuple[tuple[str, str, Callable[[Scores], npt.NDArray[Any]]], ...] = (
    ("top1_legal", "top-1 legal", lambda scores: scores.legal_rank < 1),
    ("top5_legal", "top-5 legal", lambda scores: scores.legal_rank < 5),
    ("nll_legal", "NLL legal", lambda scores: scores.legal_nll),
    ("top1_raw", "top-1 raw", lambda scores: scores.raw_rank < 1),
    ("top5_raw", "top-5 raw", lambda scores: scores.raw_rank < 5),
    ("nll_raw", "NLL raw", lambda scores: scores.raw_nll),
    ("legal_rate", "raw top-1 is legal", lambda scores: scores.legal_top),
    ("legal_mass", "mass on legal", lambda scores: scores.legal_mass),
)
_WITH_INTERVAL = ("top1_legal", "nll_legal")


def bootstrap(sums: Floats, plies: Floats, resamples: int = 200, seed: int = 0) -> Floats:
    """Give the 95 % interval, [figures, 2], of each mean over plies, from games drawn anew with replacement.

    sums: float64 [games, figures], added up over a game's plies
    plies: float64 [games], none of them 0

    Games, not plies, are drawn, for the plies of a game are alike. Percentile interval: Efron and Tibshirani, An
    Introduction to the Bootstrap (1993), section 13.3.
    """
    rng = np.random.default_rng(seed)
    means = np.empty((resamples, sums.shape[1]))
    for resample in means:
        drawn = np.bincount(rng.integers(len(plies), size=len(plies)), minlength=len(plies))
        resample[:] = drawn @ sums / (drawn @ plies)
    interval: Floats = np.percentile(means, [2.5, 97.5], axis=0).T
    return interval


def _figures(game: npt.NDArray[np.int32], measures: dict[str, npt.NDArray[Any]], chosen: Any) -> dict[str, Any]:
    """Give the figures of the ``chosen`` plies, at least one; shares are from 0 to 1, NLL in nats."""
    numbers, inverse = np.unique(game[chosen], return_inverse=True)
    sums = np.stack([np.bincount(inverse, values[chosen]) for values in measures.values()], axis=1).astype(np.float64)
    plies = np.bincount(inverse).astype(np.float64)
    means = dict(zip(measures, sums.sum(0) / plies.sum(), strict=True))
    interval = dict(zip(measures, bootstrap(sums, plies), strict=True))
    figures: dict[str, Any] = {"games": len(numbers), "plies": int(plies.sum())}
    for name, mean in means.items():
        figures[name] = round(float(mean), _DIGITS)
        if name in _WITH_INTERVAL:
            figures[f"{name}_95"] = [round(float(end), _DIGITS) for end in interval[name]]
    return figures


def summarise(scores: Scores) -> dict[str, dict[str, Any]]:
    """Give the figures of each group that has plies: all, late ones, by ply, by the mover's rating; ready for JSON.

    ``top1`` and ``top5`` are shares of plies, ``nll`` is the mean in nats, ``legal_rate`` the share of plies whose raw
    first move is legal, ``legal_mass`` the mean raw probability of the legal moves; ``_95`` is an interval.
    """
    measures = {name: measure(scores) for name, _, measure in _MEASURES}
    groups = {"all": np.ones(len(scores.ply), bool), "plies 10 and later": scores.ply >= 10}
    groups |= {f"plies {name}": (scores.ply >= low) & (scores.ply < high) for name, (low, high) in PLY_BANDS.items()}
    if scores.band is not None:
        groups |= {f"mover {name}": scores.band == place for place, name in enumerate(RATING_BANDS)}
    return {name: _figures(scores.game, measures, chosen) for name, chosen in groups.items() if chosen.any()}


def _cell(figures: dict[str, Any], name: str) -> str:
    factor, digits, unit = (1, 3, "") if name.startswith("nll") else (100, 2, " %")
    text = f"{factor * figures[name]:.{digits}f}{unit}"
    if f"{name}_95" not in figures:
        return text
    low, high = (f"{factor * end:.{digits}f}" for end in figures[f"{name}_95"])
    return f"{text} ({low} to {high})"


def format_table(summary: dict[str, dict[str, Any]]) -> str:
    """Write what ``summarise`` gave as a Markdown table, one group a row; in brackets the 95 % interval."""
    lines = ["| | plies | " + " | ".join(heading for _, heading, _ in _MEASURES) + " |"]
    lines.append("|---|" + "---:|" * (1 + len(_MEASURES)))
    for group, figures in summary.items():
        cells = [group, f"{figures['plies']:,}", *(_cell(figures, name) for name, _, _ in _MEASURES)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
