"""KServe's client, from PyPI and unchanged, plays whole games at /v2 and gets the bits of the native interface.

What it is pinned to is not what the service uses, so it has an environment of its own: ``make conformance`` makes one
and names its Python in the variable KSERVE_PYTHON.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from model.games import load_game
from service.settings import Settings
from tests.serving import KASPAROV_TOPALOV, Process, random_game

PYTHON = os.environ.get("KSERVE_PYTHON", "")
PLAYER = Path(__file__).parent / "conformance" / "kserve_games.py"
CHESS = load_game({"name": "chess"})


def native(url: str, games: list[list[str]]) -> list[Any]:
    """Give what the native interface predicts at every ply of games."""
    body = {"sequences": games, "model": "chess", "top_k": 100, "score": True, "each_ply": True}
    return list(httpx.post(f"{url}/predict", json=body, timeout=60).raise_for_status().json()["predictions"])


def expected(game: Any, ply: int) -> dict[str, Any]:
    following = game["plies"][ply]["next"]
    return {
        "NEXT_MOVES": [one["move"] for one in following],
        "PROBABILITIES": np.float32([one["probability"] for one in following]).tobytes().hex(),
        "SURPRISAL": np.float32(game["surprisal"][ply - 1 : ply]).tobytes().hex(),
        "PLY": [ply],
    }


@pytest.mark.skipif(not PYTHON, reason="KServe's client has an environment of its own: make conformance")
def test_whole_games_have_the_bits_of_the_native_interface(artifacts: Path, tmp_path: Path):
    games = [KASPAROV_TOPALOV, *(random_game(CHESS, seed, 20) for seed in range(15))]
    ids: list[int | str] = ["immortal", *((1 << 63) + n if n % 2 else f"board {n}" for n in range(15))]
    with Process(Settings(artifacts=artifacts, data_dir=tmp_path, fsync=False)) as process:
        asked = [
            {"sequence": id_, "binary": number % 3 > 0, "moves": game}
            for number, (id_, game) in enumerate(zip(ids, games, strict=True))
        ]
        found = subprocess.run(
            [PYTHON, str(PLAYER)],
            input=json.dumps({"url": process.url, "games": asked}),
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.returncode == 0, found.stderr[-5000:]
        for game, answers in zip(native(process.url, games), json.loads(found.stdout), strict=True):
            assert answers == [expected(game, ply) for ply in range(1, len(answers) + 1)]
            assert len(answers) == len(game["plies"]) - 1
        assert httpx.get(f"{process.url}/sessions").json()["sessions"] == []
