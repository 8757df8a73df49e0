"""Reads the scores of recorded games and gives, for each player, how their moves compare with what was predicted."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from model.evaluation.figures import rounded
from model.evaluation.ratings import Walk, rating_fields, set_rating
from model.evaluation.recorded import Recorded
from model.evaluation.scores import Floats, Scores, score
from model.games import Game, Rating

# Twice the loss of log-likelihood at which a rating leaves the 95 % interval: χ² with one degree of freedom.
_CHI_SQUARE_95 = 3.841
_PLIES, _LAST_PLY = 10, 100

Rows = npt.NDArray[np.int64]


def rows_of_players(scores: Scores, players: Sequence[tuple[str, str]]) -> dict[str, Rows]:
    """Give the rows of ``scores`` in which each player moves, by name; ``players`` are the names of each game's two.

    Moves of a player without a name are nobody's.
    """
    names = np.array(players)[scores.game, scores.player]
    return {str(name): np.flatnonzero(names == name) for name in np.unique(names) if name}


def _deviation(scores: Scores, rows: Rows) -> dict[str, float]:
    """Give the mean −ln p of the moves in ``rows``, the one the model expects, and their difference.

    If every move were drawn as the model says, Σ (−ln p − entropy) would have mean 0 and the variance Σ variance, and
    with many moves a normal distribution (central limit theorem for martingale differences); ``z`` is that sum in its
    standard deviations, 0 where the model has no doubt at all.
    """
    surprisal, expected = (values[rows].sum(dtype=np.float64) for values in (scores.legal_nll, scores.entropy))
    deviation = np.sqrt(scores.variance[rows].sum(dtype=np.float64))
    return {
        "surprisal": rounded(surprisal / len(rows)),
        "expected": rounded(expected / len(rows)),
        "standard_error": rounded(deviation / len(rows)),
        "z": rounded((surprisal - expected) / deviation if deviation > 0 else 0),
    }


def profile(scores: Scores, rows: Rows) -> dict[str, Any]:
    """Give the profile of the player who moves in ``rows``, ready for JSON; surprisal in nats, shares from 0 to 1.

    ``expected_top1`` is the mean probability of the first move. ``by_game`` and ``by_ply`` have the same for parts of
    the moves; a game goes by its number among those packed.
    """
    game, ply = scores.game[rows], scores.ply[rows]
    rank, begins = scores.legal_rank[rows], range(0, _LAST_PLY, _PLIES)
    found = {"games": len(np.unique(game)), "plies": len(rows)} | _deviation(scores, rows)
    found |= {
        "top1": rounded((rank < 1).mean()),
        "expected_top1": rounded(scores.first_p[rows].mean(dtype=np.float64)),
        "top5": rounded((rank < 5).mean()),
    }
    ratings = np.full(len(rows), -1) if scores.rating is None else scores.rating[rows]
    known = ratings[ratings >= 0]
    by_ply = {begin: rows[(ply >= begin) & (ply < begin + _PLIES)] for begin in begins}
    return found | {
        "rating": round(float(np.mean(known))) if len(known) else None,
        "by_game": [{"game": int(one)} | _deviation(scores, rows[game == one]) for one in np.unique(game)],
        "by_ply": [
            {"from": begin, "to": begin + _PLIES} | _deviation(scores, part)
            for begin, part in by_ply.items()
            if len(part)
        ],
    }


def profile_players(
    game: Game, recorded: Recorded, scores: Scores, walk: Walk, names: Collection[str] = ()
) -> dict[str, dict[str, Any]]:
    """Give the profile of every player, or of those among ``names``, with the rating that fits best, by name."""
    rows = rows_of_players(scores, recorded.players)
    rows = {name: moves for name, moves in rows.items() if not names or name in names}
    fits = fit_ratings(game, recorded, rows, walk)
    return {name: profile(scores, rows[name]) | ({"fit": fits[name]} if fits else {}) for name in rows}


def fit_ratings(game: Game, recorded: Recorded, rows: Mapping[str, Rows], walk: Walk) -> dict[str, dict[str, Any]]:
    """Give the rating at which the model foresees each player's moves best, by name; empty where there are no ratings.

    All the moves of a player, ``rows`` of the scores of the same games, are scored with the mover's rating in one
    bucket after the other, the opponent's as recorded. ``best``, ``low`` and ``high`` are where buckets begin, in
    points: that of the least NLL, and the ends of the 95 % likelihood interval, those buckets whose log-likelihood is
    less than 1.92 below the best one's (Wilks, The large-sample distribution of the likelihood ratio, 1938). ``nll`` is
    the mean of each bucket.
    """
    fields = list(rating_fields(game).values())
    if len(fields) != 2:
        return {}
    buckets = tqdm(range(1, fields[0].size), "ratings", unit=" buckets", leave=False)
    total = np.array([_nll_at(game, recorded, rows, walk, bucket) for bucket in buckets])
    return {name: _fit(fields[0], total[:, place], len(rows[name])) for place, name in enumerate(rows)}


def _nll_at(game: Game, recorded: Recorded, rows: Mapping[str, Rows], walk: Walk, bucket: int) -> list[float]:
    """Give the NLL of each player's moves, added up, if the mover's rating is in ``bucket``."""
    nll: Floats = np.zeros(len(recorded.rows))
    for player in (0, 1):
        packed = set_rating(game, recorded.packed, player, bucket)
        scores = score(game, packed, recorded.games, walk(packed, recorded.games))
        nll += np.where(scores.player == player, scores.legal_nll, 0)
    return [float(nll[moves].sum()) for moves in rows.values()]


def _fit(field: Rating, total: Floats, plies: int) -> dict[str, Any]:
    begins = field.low + field.step * np.arange(field.buckets)
    likely = begins[2 * (total - total.min()) < _CHI_SQUARE_95]
    return {
        "best": int(begins[total.argmin()]),
        "low": int(likely.min()),
        "high": int(likely.max()),
        "nll": {int(begin): rounded(sum_ / plies) for begin, sum_ in zip(begins, total, strict=True)},
    }


_HEADINGS = (
    "player",
    "games",
    "plies",
    "surprisal",
    "expected",
    "z",
    "top-1",
    "expected",
    "top-5",
    "rating",
    "fits best",
)


def format_profiles(profiles: Mapping[str, Mapping[str, Any]]) -> str:
    """Write profiles as a Markdown table, the least surprising player first."""
    lines = ["| " + " | ".join(_HEADINGS) + " |", "|---|" + "---:|" * (len(_HEADINGS) - 1)]
    for name, found in sorted(profiles.items(), key=lambda item: item[1]["z"]):
        fit = found.get("fit")
        cells = [name.replace("|", "\\|"), f"{found['games']:,}", f"{found['plies']:,}"]
        cells += [f"{found['surprisal']:.3f}", f"{found['expected']:.3f}", f"{found['z']:+.1f}"]
        cells += [f"{100 * found[key]:.1f} %" for key in ("top1", "expected_top1", "top5")]
        cells += [str(found["rating"] or ""), f"{fit['best']} ({fit['low']} to {fit['high']})" if fit else ""]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
