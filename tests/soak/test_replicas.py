"""Two replicas share a store behind a proxy that gives every request to the other one."""

import itertools
from pathlib import Path

import pytest

from tests.serving import KASPAROV_TOPALOV
from tests.soak.client import Client
from tests.soak.processes import Service, shared
from tests.soak.proxy import RoundRobin

pytestmark = pytest.mark.anyio


async def whole_game(url: str) -> list[bytes]:
    """Play a game through the API, a move a request; give every answer as it came, and the session at the end."""
    client, answers = Client(url), []
    await client.ok("POST", "/sessions", {"session": "game", "context": {"white_elo": 2800, "black_elo": 2700}})
    for ply, move in enumerate(KASPAROV_TOPALOV):
        answer = await client.request("POST", "/sessions/game/moves", {"moves": [move], "ply": ply, "top_k": 100})
        assert answer.status == 200, answer.body
        answers.append(answer.body)
        if ply % 10 == 0:
            answers.append((await client.request("GET", "/sessions/game?top_k=100")).body)
    answers.append((await client.request("GET", "/sessions/game?top_k=100")).body)
    client.close()
    return answers


@pytest.mark.parametrize("store", ["lmdb", "valkey"])
async def test_a_game_that_alternates_between_replicas_is_that_of_one_process(store: str, tmp_path: Path):
    async with Service(tmp_path / "alone", store="memory") as service:
        alone = await whole_game(service.url)
    with shared(store, tmp_path) as settings:
        async with (
            Service(tmp_path, **settings) as one,
            Service(tmp_path, **settings) as other,
            RoundRobin([one.url, other.url]) as proxy,
        ):
            by_turns = await whole_game(proxy.url)
            assert min(proxy.served) > 40
    for ply, (answer, expected) in enumerate(itertools.zip_longest(by_turns, alone)):
        assert answer == expected, f"answer {ply}"
