"""Reads packed games and a model and says what ratings do to its predictions: moved, hidden, and far apart."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from model.dataset import Packed
from model.evaluation.figures import mean_by_game, rounded
from model.evaluation.scores import Scores, score
from model.games import Game, Rating
from model.runner import Step

Games = npt.NDArray[np.int64]
# Gives a model's steps through whole games.
Walk = Callable[[Packed, Games], Iterable[Step]]

SHIFTS = (-800, -400, -200, 200, 400, 800)
FAR_APART = (800, 2400)
# Enough to tell the right rating from one 200 points away; a dozen passes over all games would take hours.
_GAMES = 800


def rating_fields(game: Game) -> dict[int, Rating]:
    """Give the context fields that are ratings, by their place; the first is that of player 0, the second of 1."""
    return {place: field for place, field in enumerate(game.context) if isinstance(field, Rating)}


def shift_ratings(game: Game, packed: Packed, points: int) -> Packed:
    """Give the games with every known rating moved by ``points``, as far as there are buckets."""
    context = np.array(packed.context)
    for place, field in rating_fields(game).items():
        moved = context[:, place].astype(np.int64) + points // field.step
        context[:, place] = np.where(context[:, place] > 0, np.clip(moved, 1, field.buckets), 0)
    return replace(packed, context=context)


def hide_ratings(game: Game, packed: Packed) -> Packed:
    """Give the games with every rating unknown."""
    context = np.array(packed.context)
    context[:, list(rating_fields(game))] = 0
    return replace(packed, context=context)


def set_rating(game: Game, packed: Packed, player: int, bucket: int) -> Packed:
    """Give the games with one player's rating in the same bucket, an id of the field, in all of them."""
    context = np.array(packed.context)
    context[:, list(rating_fields(game))[player]] = bucket
    return replace(packed, context=context)


def compare_ratings(game: Game, packed: Packed, games: Games, walk: Walk) -> dict[str, Any]:
    """Score some of ``games`` of which both ratings are known with others than the right ones; ready for JSON.

    They are evenly spread over those there are. ``excess`` is how much NLL is above that with the right ratings, ply by
    ply. ValueError if there is no such game.
    """
    fields = list(rating_fields(game))
    games = games[(packed.context[games][:, fields] > 0).all(1)] if len(fields) == 2 else games[:0]
    if not len(games):
        raise ValueError("ratings are compared on games that have both, and there is none")
    games = games[:: max(1, len(games) // _GAMES)]
    right = score(game, packed, games, walk(packed, games))
    found = {"right": _figures(right)}
    others = {f"{points:+}": shift_ratings(game, packed, points) for points in SHIFTS}
    for name, other in (others | {"hidden": hide_ratings(game, packed)}).items():
        scores = score(game, other, games, walk(other, games))
        excess, interval = mean_by_game(right.game, scores.legal_nll.astype(np.float64) - right.legal_nll)
        found[name] = _figures(scores) | {"excess": excess, "excess_95": interval}
    changes, interval = mean_by_game(right.game, _changed(game, packed, games, walk, right))
    apart = {"from": FAR_APART[0], "to": FAR_APART[1], "top_move_changes": changes, "top_move_changes_95": interval}
    return {"games": len(games), "plies": len(right.ply), "variants": found, "mover": apart}


def _changed(game: Game, packed: Packed, games: Games, walk: Walk, right: Scores) -> npt.NDArray[np.bool_]:
    """Say of each ply whether the first move is another if the mover's rating is, the opponent's as it was."""
    changed = np.zeros(len(right.ply), bool)
    for player, field in enumerate(rating_fields(game).values()):
        others = [set_rating(game, packed, player, field.encode(points)) for points in FAR_APART]
        low, high = (score(game, other, games, walk(other, games)).first for other in others)
        changed |= (low != high) & (right.player == player)
    return changed


def _figures(scores: Scores) -> dict[str, Any]:
    means = {"nll_legal": scores.legal_nll.mean(dtype=np.float64), "top1_legal": (scores.legal_rank == 0).mean()}
    return {name: rounded(mean) for name, mean in means.items()}


def format_ratings(found: Mapping[str, Any]) -> str:
    """Write what ``compare_ratings`` gave as a Markdown table and a sentence."""
    names = {name: f"both {name} points" for name in found["variants"]} | {"right": "right", "hidden": "both hidden"}
    lines = ["| ratings | NLL legal | above the right ones | top-1 legal |", "|---|---:|---:|---:|"]
    for name, figures in found["variants"].items():
        low, high = figures.get("excess_95", (0, 0))
        above = f"{figures['excess']:+.4f} ({low:+.4f} to {high:+.4f})" if "excess" in figures else ""
        lines.append(f"| {names[name]} | {figures['nll_legal']:.4f} | {above} | {100 * figures['top1_legal']:.2f} % |")
    mover = found["mover"]
    low, high = (f"{100 * end:.1f}" for end in mover["top_move_changes_95"])
    lines += [
        "",
        f"On {found['games']:,} games, {found['plies']:,} plies. Between a mover rated {mover['from']} and one",
    ]
    lines[-1] += f" rated {mover['to']}, all else equal, the first move is another on"
    lines[-1] += f" {100 * mover['top_move_changes']:.1f} % ({low} to {high}) of the positions."
    return "\n".join(lines)
