"""Whatever way a game takes through the service, its probabilities and surprisals are the same, bit for bit."""

import asyncio
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from model.games import Chess
from service.settings import Settings
from tests.serving import KASPAROV_TOPALOV, Client, play_one_by_one, predict_one, random_game, serving

pytestmark = pytest.mark.anyio

OTHERS = [random_game(Chess(), seed, 1 + 2 * seed) for seed in range(64)]


@dataclass
class Told:
    """What the service said along the game: the whole distribution at each of its 88 plies, −ln p of each move."""

    next: list[Any]
    surprisal: list[float]


async def open_session(client: Client, model: str, id_: str = "game", **body: Any) -> Any:
    return await client.ok("POST", "/sessions", {"session": id_, "model": model, "top_k": 100, **body})


async def tell(client: Client, model: str, id_: str = "game") -> Told:
    """Play the game in a session, one request a move."""
    created = await open_session(client, model, id_)
    answers = await play_one_by_one(client, id_, KASPAROV_TOPALOV)
    return Told([created["next"], *(a["next"] for a in answers)], [s for a in answers for s in a["surprisal"]])


@pytest.fixture(scope="module", params=["chess", "chess-fp32"])
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
async def told(model: str, artifacts: Path) -> Told:
    """What a service that does nothing else says, with its sessions in memory."""
    async with serving(Settings(artifacts=artifacts, store="memory")) as client:
        return await tell(client, model)


async def test_each_ply_has_a_distribution_of_its_own(told: Told):
    assert len(told.next) == len(KASPAROV_TOPALOV) + 1 == 88
    assert len(told.surprisal) == 87
    for following in told.next:
        assert sum(move["probability"] for move in following) == pytest.approx(1, abs=1e-6)
    assert len({str(following) for following in told.next}) == 88
    assert max(told.surprisal) > 2 * min(told.surprisal)


async def test_the_surprisal_of_a_move_is_the_probability_it_was_given(told: Told):
    for move, following, surprisal in zip(KASPAROV_TOPALOV, told.next, told.surprisal, strict=False):
        probability = next(candidate["probability"] for candidate in following if candidate["san"] == move)
        assert surprisal == pytest.approx(-math.log(probability), abs=1e-6)


async def test_a_session_on_disk_plays_it_the_same(client: Client, model: str, told: Told):
    assert await tell(client, model) == told


async def test_the_whole_game_in_one_request_is_the_same(client: Client, model: str, told: Told):
    await open_session(client, model)
    answer = await client.ok("POST", "/sessions/game/moves", {"moves": KASPAROV_TOPALOV, "top_k": 100})
    assert (answer["ply"], answer["surprisal"], answer["next"]) == (87, told.surprisal, told.next[-1])


async def test_the_whole_game_at_the_opening_of_a_session_is_the_same(client: Client, model: str, told: Told):
    created = await open_session(client, model, moves=KASPAROV_TOPALOV)
    session = await client.ok("GET", "/sessions/game?top_k=100")
    assert created["next"] == session["next"] == told.next[-1]
    assert session["surprisal"] == told.surprisal


async def test_predict_with_each_ply_is_the_same(client: Client, model: str, told: Told):
    prediction = await predict_one(client, model, KASPAROV_TOPALOV, each_ply=True, score=True)
    assert [ply["next"] for ply in prediction["plies"]] == told.next
    assert [ply["ply"] for ply in prediction["plies"]] == list(range(88))
    assert prediction["surprisal"] == told.surprisal


async def test_predict_of_every_prefix_is_the_same(client: Client, model: str, told: Told):
    prefixes = [KASPAROV_TOPALOV[:ply] for ply in range(88)]
    answer = await client.ok("POST", "/predict", {"model": model, "sequences": prefixes, "top_k": 100})
    assert [prediction["next"] for prediction in answer["predictions"]] == told.next


async def test_a_batch_with_64_other_games_is_the_same(client: Client, model: str, told: Told):
    sequences = [*OTHERS[:40], KASPAROV_TOPALOV, *OTHERS[40:]]
    body = {"model": model, "sequences": sequences, "top_k": 100, "each_ply": True, "score": True}
    prediction = (await client.ok("POST", "/predict", body))["predictions"][40]
    assert [ply["next"] for ply in prediction["plies"]] == told.next
    assert prediction["surprisal"] == told.surprisal


async def test_other_sessions_at_the_same_time_change_nothing(client: Client, model: str, told: Told):
    async def play_other(number: int) -> None:
        await open_session(client, model, f"other-{number}", context={"white_elo": 800 + 100 * number})
        await play_one_by_one(client, f"other-{number}", OTHERS[10 * number + 3])

    others = [play_other(number) for number in range(6)]
    predictions = client.ok("POST", "/predict", {"model": model, "sequences": OTHERS})
    together = await asyncio.gather(*others[:3], tell(client, model), *others[3:], predictions)
    assert together[3] == told


async def test_closing_the_service_half_way_changes_nothing(settings: Settings, model: str, told: Told):
    async with serving(settings) as client:
        created = await open_session(client, model)
        before = await play_one_by_one(client, "game", KASPAROV_TOPALOV[:43])
    async with serving(settings) as client:
        session = await client.ok("GET", "/sessions/game?top_k=100")
        after = await play_one_by_one(client, "game", KASPAROV_TOPALOV[43:], ply=43)
    assert session["next"] == told.next[43]
    assert session["surprisal"] == told.surprisal[:43]
    assert [created["next"], *(answer["next"] for answer in before + after)] == told.next
    assert [s for answer in before + after for s in answer["surprisal"]] == told.surprisal


@pytest.mark.parametrize("changes", [{"max_batch": 1}, {"max_batch": 7}, {"positions": 0}, {"positions": 1}], ids=str)
async def test_settings_of_speed_change_nothing(settings: Settings, model: str, told: Told, changes: dict[str, int]):
    async with serving(settings.model_copy(update=changes)) as client:
        batch = client.ok("POST", "/predict", {"model": model, "sequences": OTHERS[:20]})
        assert (await asyncio.gather(tell(client, model), batch))[0] == told


async def test_context_changes_what_is_told_and_is_the_same_both_ways(client: Client, model: str, told: Told):
    context = {"white_elo": 2812, "black_elo": 2700, "time_control": "classical"}
    await open_session(client, model, context=context)
    answer = await client.ok("POST", "/sessions/game/moves", {"moves": KASPAROV_TOPALOV, "top_k": 100})
    sequence = {"moves": KASPAROV_TOPALOV, "context": context}
    body = {"model": model, "sequences": [sequence, KASPAROV_TOPALOV], "top_k": 100, "score": True}
    known, unknown = (await client.ok("POST", "/predict", body))["predictions"]
    assert (known["surprisal"], known["next"]) == (answer["surprisal"], answer["next"])
    assert (unknown["surprisal"], unknown["next"]) == (told.surprisal, told.next[-1])
    assert known["surprisal"] != unknown["surprisal"]


async def test_a_probability_does_not_depend_on_how_many_are_asked_for(client: Client, model: str, told: Told):
    for top_k in (1, 2, 5, 7, 17):
        body = {"model": model, "sequences": [KASPAROV_TOPALOV[:30]], "top_k": top_k}
        assert (await client.ok("POST", "/predict", body))["predictions"][0]["next"] == told.next[30][:top_k]
