"""Ratings that are moved, hidden and far apart: by hand, and that they matter to the chess model that ships."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.artifact import MANIFEST, find_artifacts
from model.dataset import Packed
from model.evaluation.ratings import SHIFTS, compare_ratings, format_ratings, hide_ratings, set_rating, shift_ratings
from model.games import Chess
from model.runner import Step
from service.settings import Settings
from tests.scoring import TOKENS, packed_of, play
from tests.serving import KASPAROV_TOPALOV, Client, serving

ROOT = Path(__file__).parent.parent
CHESS = Chess()
ENCODE = CHESS.context[0].encode


def rated(*pairs: tuple[int, int]) -> Packed:
    """1. e4 e5 once for each pair of ratings, 0 for unknown."""
    context = [[ENCODE(points) if points else 0 for points in pair] + [3] for pair in pairs]
    return packed_of([play(CHESS, ["e4", "e5"])] * len(pairs), context)


def ratings_of(packed: Packed) -> list[list[int]]:
    return packed.context[:, :2].tolist()


def test_known_ratings_move_as_far_as_there_are_buckets():
    packed = rated((1000, 2850), (0, 1500))
    assert ratings_of(shift_ratings(CHESS, packed, 400)) == [[ENCODE(1400), ENCODE(2900)], [0, ENCODE(1900)]]
    assert ratings_of(shift_ratings(CHESS, packed, -800)) == [[ENCODE(600), ENCODE(2050)], [0, ENCODE(700)]]
    assert ratings_of(packed) == [[ENCODE(1000), ENCODE(2850)], [0, ENCODE(1500)]]


def test_ratings_are_hidden_and_set_and_nothing_else():
    packed = rated((1000, 2850), (1200, 1500))
    assert hide_ratings(CHESS, packed).context.tolist() == [[0, 0, 3]] * 2
    assert set_rating(CHESS, packed, 1, 7).context.tolist() == [[ENCODE(1000), 7, 3], [ENCODE(1200), 7, 3]]


def walk(packed: Packed, games: np.ndarray) -> Iterator[Step]:
    """A model that gives the move played a score of −0.1 a bucket by which the mover is not rated 1500, others 0.

    Of a White player rated over 2000 it expects one move, of others another.
    """
    for ply in (0, 1):
        logits = np.zeros((len(games), len(CHESS.vocabulary)), np.float32)
        logits[:, play(CHESS, ["Nf3", "Nf6"])[ply]] = 1
        own = packed.context[games, ply].astype(int)
        if ply == 0:
            logits[own > ENCODE(2000), play(CHESS, ["d4"])[0]] = 2
        played = packed.tokens[packed.offsets[games] + ply]
        logits[np.arange(len(games)), played] = -0.1 * abs(own - ENCODE(1500))
        yield Step(games, ply, logits, [])


def expected_nll(buckets_off: int) -> float:
    """Of 20 legal moves 18 score 0 and one 1, beside the one played."""
    own = -0.1 * buckets_off
    return float(np.log(18 + np.e + np.exp(own)) - own)


def test_ratings_are_compared_by_hand():
    packed = rated((1500, 1500), (0, 1500), (1500, 1500))
    found = compare_ratings(CHESS, packed, np.arange(3), walk)
    assert (found["games"], found["plies"]) == (2, 4)
    nll = {name: figures["nll_legal"] for name, figures in found["variants"].items()}
    off = {"right": 0, "-400": 4, "-200": 2, "+200": 2, "+400": 4, "-800": 8}
    assert {name: nll[name] for name in off} == pytest.approx(
        {name: expected_nll(buckets) for name, buckets in off.items()}, abs=1e-5
    )
    assert min(nll, key=nll.__getitem__) == "right"
    assert found["variants"]["-200"]["excess"] == pytest.approx(expected_nll(2) - expected_nll(0), abs=1e-5)
    assert nll["hidden"] == pytest.approx(expected_nll(ENCODE(1500)), abs=1e-5)
    # Only White's first move is another for a rating over 2000, and White makes half of the moves.
    assert found["mover"]["top_move_changes"] == 0.5
    assert "50.0 % (50.0 to 50.0) of the positions" in format_ratings(json.loads(json.dumps(found)))


def test_ratings_need_games_that_have_them():
    with pytest.raises(ValueError, match="games that have both"):
        compare_ratings(CHESS, rated((0, 1500)), np.arange(1), walk)
    with pytest.raises(ValueError, match="games that have both"):
        compare_ratings(TOKENS, packed_of([[1, 2]]), np.arange(1), walk)


# Morphy – Duke of Brunswick and Count Isouard, Paris 1858; Anderssen – Kieseritzky, London 1851; Anderssen – Dufresne,
# Berlin 1852.
_OPERA = """
    e4 e5 Nf3 d6 d4 Bg4 dxe5 Bxf3 Qxf3 dxe5 Bc4 Nf6 Qb3 Qe7 Nc3 c6 Bg5 b5 Nxb5 cxb5 Bxb5+ Nbd7 O-O-O Rd8 Rxd7 Rxd7 Rd1
    Qe6 Bxd7+ Nxd7 Qb8+ Nxb8 Rd8#
"""
_IMMORTAL = """
    e4 e5 f4 exf4 Bc4 Qh4+ Kf1 b5 Bxb5 Nf6 Nf3 Qh6 d3 Nh5 Nh4 Qg5 Nf5 c6 g4 Nf6 Rg1 cxb5 h4 Qg6 h5 Qg5 Qf3 Ng8 Bxf4 Qf6
    Nc3 Bc5 Nd5 Qxb2 Bd6 Bxg1 e5 Qxa1+ Ke2 Na6 Nxg7+ Kd8 Qf6+ Nxf6 Be7#
"""
_EVERGREEN = """
    e4 e5 Nf3 Nc6 Bc4 Bc5 b4 Bxb4 c3 Ba5 d4 exd4 O-O d3 Qb3 Qf6 e5 Qg6 Re1 Nge7 Ba3 b5 Qxb5 Rb8 Qa4 Bb6 Nbd2 Bb7 Ne4
    Qf5 Bxd3 Qh5 Nf6+ gxf6 exf6 Rg8 Rad1 Qxf3 Rxe7+ Nxe7 Qxd7+ Kxd7 Bf5+ Ke8 Bd7+ Kf8 Bxe7#
"""
GAMES = [_OPERA.split(), _IMMORTAL.split(), _EVERGREEN.split(), KASPAROV_TOPALOV]


async def predicted_for_mover(client: Client, moves: list[str], points: int) -> list[dict[str, float]]:
    """Give the prediction before each move, had the player who makes it this rating and the opponent 1600."""
    both: list[list[Any]] = []
    for own, other in (("white_elo", "black_elo"), ("black_elo", "white_elo")):
        context = {own: points, other: 1600, "time_control": "600+0"}
        body = {"sequences": [{"moves": moves, "context": context}], "model": "chess", "top_k": 100, "each_ply": True}
        both.append((await client.ok("POST", "/predict", body))["predictions"][0]["plies"])
    plies = [both[ply % 2][ply] for ply in range(len(moves))]
    return [{candidate["move"]: candidate["probability"] for candidate in ply["next"]} for ply in plies]


@pytest.mark.anyio
async def test_a_rating_of_2400_instead_of_800_changes_what_is_predicted(tmp_path: Path):
    changed, variations = [], []
    async with serving(Settings(artifacts=ROOT / "artifacts", data_dir=tmp_path)) as client:
        for moves in GAMES:
            low, high = [await predicted_for_mover(client, moves, points) for points in (800, 2400)]
            for one, other in zip(low, high, strict=True):
                assert one.keys() == other.keys()
                changed.append(max(one, key=one.__getitem__) != max(other, key=other.__getitem__))
                variations.append(sum(abs(one[move] - other[move]) for move in one) / 2)
    assert np.mean(changed) > 0.1
    assert np.mean(np.array(variations) > 0.05) > 0.75


def shipped_figures() -> dict[str, Any]:
    """Give the figures of every chess model that ships and has some of ratings, and of the newest in any case."""
    folders = [folder for folder in find_artifacts(ROOT / "artifacts") if folder.parent.name == "chess"]
    names = [f"{folder.parent.name}/{folder.name}" for folder in folders]
    found = [json.loads((folder / MANIFEST).read_bytes())["figures"] for folder in folders]
    own = {name: figures.get(name, {}) for name, figures in zip(names, found, strict=True)}
    return {name: figures for name, figures in own.items() if "ratings" in figures or name == names[-1]}


@pytest.mark.parametrize("name", shipped_figures())
def test_the_right_ratings_predict_best_by_the_figures_that_ship(name: str):
    figures = shipped_figures()[name]
    assert "ratings" in figures, f"python -m scripts.evaluate --model artifacts/{name} --ratings --keep is to be run"
    variants = figures["ratings"]["variants"]
    assert figures["ratings"]["plies"] > 10_000
    assert variants.keys() == {"right", "hidden", *(f"{points:+}" for points in SHIFTS)}
    assert min(variants, key=lambda one: variants[one]["nll_legal"]) == "right"
    # Not by luck: the interval of the difference leaves zero out.
    assert all(entry["excess_95"][0] > 0 for one, entry in variants.items() if one != "right")
