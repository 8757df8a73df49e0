"""Many sessions at once, whose clients leave in the middle or give little time: nobody gets what is another's."""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tqdm import tqdm

from tests.soak.client import Answer, Client
from tests.soak.player import Player, check_against_replay, refusals
from tests.soak.processes import Service

pytestmark = pytest.mark.anyio


@dataclass
class Restless(Player):
    """A player who leaves or hurries, now and then, and who looks ahead before moving."""

    rng: random.Random = field(default_factory=random.Random)

    async def step(self, client: Client) -> None:
        if self.rng.random() < 0.2:
            body = {"moves": self.game[self.ply : self.ply + 4], "top_k": 100}
            self._remember((await self._until_answered(client, f"/sessions/{self.id_}/peek", body)).json())
        await super().step(client)

    async def ask(self, client: Client, path: str, body: Any) -> Answer:
        seconds = 10 ** self.rng.uniform(-3, -0.5)
        chance = self.rng.random()
        if chance < 0.15:
            # The connection is closed when the time is over: TimeoutError is an OSError.
            async with asyncio.timeout(seconds):
                return await client.request("POST", path, body)
        headers: Mapping[str, str] = {"request-timeout-ms": str(int(seconds * 1000))} if chance < 0.3 else {}
        return await client.request("POST", path, body, headers)


async def test_no_answer_differs_from_the_sessions_own_replay(full: bool, tmp_path: Path):
    count = 1000 if full else 60
    players = []
    for number in range(count):
        dealt = Player.number(number)
        players.append(Restless(dealt.id_, dealt.game, dealt.context, rng=random.Random(number)))
    async with Service(tmp_path) as service:

        async def play(player: Player) -> None:
            client = Client(service.url)
            await player.play(client)
            client.close()
            bar.update()

        with tqdm(total=count, desc="games", disable=not full) as bar:
            async with asyncio.TaskGroup() as group:
                for player in players:
                    group.create_task(play(player))
        client = Client(service.url)
        await check_against_replay(client, players, quiet=not full)
        client.close()
    answers = sum(len(player.seen) for player in players)
    tqdm.write(f"{count} sessions at once, {answers} answers as a replay gives them; {refusals(players)}")
    assert sum(player.refused["lost"] for player in players) > count / 10
    assert sum(player.refused["503 deadline_passed"] for player in players) > 0
