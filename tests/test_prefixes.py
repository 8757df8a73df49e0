"""Games that begin alike share the steps of their beginnings, and nobody can tell."""

from pathlib import Path

import numpy as np
import pytest

from service.distribution import Distribution
from service.engine import Engine
from service.metrics import scrape
from service.prefixes import DEPTH, Prefixes, Reached
from service.settings import Settings
from tests.serving import KASPAROV_TOPALOV, Client, predict_one, serving

pytestmark = pytest.mark.anyio


def reached(value: int, size: int = 10) -> Reached:
    return Reached(Distribution(None, np.full(size, value, np.float32)), bytes([value]) * size)


def values(found: list[Reached]) -> list[int]:
    return [one.state[0] for one in found]


def test_what_was_given_along_a_beginning_is_found_as_far_as_another_goes_with_it():
    prefixes = Prefixes(1 << 20)
    prefixes.keep([1], [5, 6, 7], 0, [reached(value) for value in range(4)])
    assert values(prefixes.along([1], [5, 6, 7])) == [0, 1, 2, 3]
    assert values(prefixes.along([1], [5, 6])) == [0, 1, 2]
    assert values(prefixes.along([1], [5, 9, 7])) == [0, 1]
    assert values(prefixes.along([1], [])) == [0]
    assert prefixes.along([2], [5, 6, 7]) == []
    prefixes.keep([1], [5, 9, 7], 2, [reached(8), reached(9)])
    assert values(prefixes.along([1], [5, 9, 7])) == [0, 1, 8, 9]


def test_no_more_is_remembered_than_fits_and_what_leads_to_a_ply_not_forgotten_before_it():
    size = reached(0).size
    prefixes = Prefixes(5 * size)
    prefixes.keep([], [1, 2, 3], 0, [reached(value) for value in range(4)])
    prefixes.keep([], [1, 7, 8], 2, [reached(7), reached(8)])
    assert values(prefixes.along([], [1, 7, 8])) == [0, 1, 7, 8]
    assert values(prefixes.along([], [1, 2, 3])) == [0, 1, 2]
    prefixes.keep([], [9], 1, [reached(9)])
    assert values(prefixes.along([], [9])) == [0, 9]
    assert values(prefixes.along([], [1, 2, 3])) == [0, 1, 2]
    assert values(prefixes.along([], [1, 7, 8])) == [0, 1, 7]


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each step of any engine had."""
    rows, step = [], Engine.step

    def counting(self, inputs, states):
        rows.append(len(inputs))
        return step(self, inputs, states)

    monkeypatch.setattr(Engine, "step", counting)
    return rows


async def test_a_game_that_begins_as_another_did_takes_only_the_steps_that_are_its_own(client: Client, rows: list[int]):
    first = await predict_one(client, "chess", KASPAROV_TOPALOV, score=True, each_ply=True)
    assert sum(rows) == len(KASPAROV_TOPALOV) + 1
    for length in (0, 1, DEPTH - 2, DEPTH - 1):
        rows.clear()
        again = await predict_one(client, "chess", KASPAROV_TOPALOV[:length])
        assert sum(rows) == 0
        assert again["next"] == first["plies"][length]["next"]
    for options in ({"score": True, "each_ply": True}, {"score": True}, {}):
        rows.clear()
        again = await predict_one(client, "chess", KASPAROV_TOPALOV, **options)
        assert sum(rows) == len(KASPAROV_TOPALOV) + 1 - DEPTH
        assert again == {name: first[name] for name in again}


async def test_what_is_not_the_same_game_shares_nothing(client: Client, rows: list[int]):
    moves = KASPAROV_TOPALOV[:6]
    for model, sequence in (
        ("chess", moves),
        ("chess-fp32", moves),
        ("chess", {"moves": moves, "context": {"white_elo": 1500}}),
    ):
        rows.clear()
        await predict_one(client, model, sequence)
        assert sum(rows) == 7
    rows.clear()
    await predict_one(client, "chess", moves, legal_only=False)
    assert sum(rows) == 7


async def test_sessions_share_with_predictions_and_a_metric_says_how_much(settings: Settings, rows: list[int]):
    def steps(how: str) -> float:
        name = f'nextply_opening_steps_total{{how="{how}"}}'
        return sum(float(line.split()[-1]) for line in scrape().decode().splitlines() if line.startswith(name))

    before = steps("taken"), steps("shared")
    async with serving(settings) as client:
        alone = await predict_one(client, "chess", KASPAROV_TOPALOV[:20])
        rows.clear()
        body = {"session": "same", "moves": KASPAROV_TOPALOV[:20], "top_k": 100}
        assert (await client.ok("POST", "/sessions", body))["next"] == alone["next"]
        assert sum(rows) == 21 - DEPTH
        rows.clear()
        back = await client.ok("POST", "/sessions/same/takeback", {"to_ply": 10, "top_k": 100})
        assert sum(rows) == 0
        assert back["next"] == (await predict_one(client, "chess", KASPAROV_TOPALOV[:10]))["next"]
    assert (steps("taken") - before[0], steps("shared") - before[1]) == (DEPTH, DEPTH + 11 + 11)


async def test_a_new_version_of_a_model_begins_with_nothing(artifacts: Path, tmp_path: Path, rows: list[int]):
    async with serving(Settings(artifacts=artifacts, store="memory")) as one:
        first = await predict_one(one, "chess", ["e4"])
    async with serving(Settings(artifacts=artifacts, store="memory")) as other:
        rows.clear()
        assert await predict_one(other, "chess", ["e4"]) == first
        assert sum(rows) == 2
