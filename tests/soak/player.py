"""Players who play games through the service and remember what was acknowledged, and what it must equal."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from tqdm import tqdm

from tests.soak.client import Answer, Client
from tests.soak.games import deal

# Games that one request reads again: few enough that the answer stays small.
_AT_ONCE = 16
# How long to wait before a request is sent again to a service that is away and did not say how long it will be.
_PAUSE = 0.05


@dataclass
class Player:
    """Plays one game, one to three moves a request, by turns through several clients if it is given several."""

    id_: str
    game: Sequence[str]
    context: dict[str, Any] = field(default_factory=dict)
    ply: int = 0
    """How many moves were acknowledged."""
    surprisal: list[float] = field(default_factory=list)
    seen: dict[int, int] = field(default_factory=dict)
    """The hash of what was predicted at each ply that an answer was about."""
    refused: Counter[str] = field(default_factory=Counter)
    """Why requests had to be sent again."""

    @classmethod
    def number(cls, number: int) -> "Player":
        """Give the player with this number, who always plays the same."""
        return cls(f"player-{number}", *deal(number))

    async def play(self, *clients: Client) -> None:
        """Open the session and play to the end of the game."""
        turns = itertools.cycle(clients)
        await self.open(next(turns))
        while self.ply < len(self.game):
            await self.step(next(turns))

    async def open(self, client: Client) -> None:
        body = {"session": self.id_, "context": self.context, "top_k": 100}
        answer = await self._until_answered(client, "/sessions", body)
        # It may be there already, if the answer to a request before this one was lost.
        if not (answer.status == 409 and self.refused and answer.json()["code"] == "session_exists"):
            assert answer.status == 201, f"{answer.status} {answer.body.decode()}"
            self._remember(answer.json())

    async def step(self, client: Client) -> None:
        moves = self.game[self.ply : self.ply + 1 + self.ply % 3]
        body = {"moves": moves, "ply": self.ply, "top_k": 100}
        answer = await self._until_answered(client, f"/sessions/{self.id_}/moves", body)
        assert answer.status == 200, f"{self.id_} at {self.ply}: {answer.status} {answer.body.decode()}"
        self.take(moves, answer.json())

    def take(self, moves: Sequence[str], content: Any) -> None:
        """Take the answer to moves, which acknowledges them."""
        self.ply += len(moves)
        assert content["ply"] == self.ply
        assert len(content["surprisal"]) == len(moves)
        self.surprisal += content["surprisal"]
        self._remember(content)

    def _remember(self, content: Any) -> None:
        self.seen[content["ply"]] = hash(orjson.dumps(content["next"]))

    async def _until_answered(self, client: Client, path: str, body: Any) -> Answer:
        """Send a request until it is answered by anything but 429 or 503."""
        while True:
            try:
                answer = await self.ask(client, path, body)
            except OSError:
                self.refused["lost"] += 1
                await asyncio.sleep(_PAUSE)
                continue
            if answer.status not in {429, 503}:
                return answer
            problem = answer.json()
            self.refused[f"{answer.status} {problem['code']}"] += 1
            await asyncio.sleep(min(float(answer.headers.get("retry-after", _PAUSE)), 1))

    async def ask(self, client: Client, path: str, body: Any) -> Answer:
        """Send one request once."""
        return await client.request("POST", path, body)


async def check_against_replay(client: Client, players: Iterable[Player], *, quiet: bool = True) -> None:
    """Hold every session, and every answer on the way to it, against a fresh replay of the acknowledged moves."""
    players = list(players)
    with tqdm(total=len(players), desc="sessions compared", disable=quiet) as bar:
        for batch in (players[at : at + _AT_ONCE] for at in range(0, len(players), _AT_ONCE)):
            sequences = [{"moves": player.game[: player.ply], "context": player.context} for player in batch]
            body = {"sequences": sequences, "top_k": 100, "score": True, "each_ply": True}
            replays = (await client.ok("POST", "/predict", body))["predictions"]
            for player, replay in zip(batch, replays, strict=True):
                _compare(player, await client.ok("GET", f"/sessions/{player.id_}?top_k=100"), replay)
            bar.update(len(batch))


def _compare(player: Player, session: Any, replay: Any) -> None:
    assert session["moves"] == replay["moves"], f"{player.id_}: {session['ply']} moves are kept, {player.ply} were told"
    assert session["surprisal"] == player.surprisal == replay["surprisal"], player.id_
    assert session["next"] == replay["next"], player.id_
    for ply, seen in player.seen.items():
        assert hash(orjson.dumps(replay["plies"][ply]["next"])) == seen, f"{player.id_} at {ply}"


def refusals(players: Iterable[Player]) -> str:
    """Say why requests had to be sent again, and how often."""
    total = sum((player.refused for player in players), Counter[str]())
    return ", ".join(f"{count} {reason}" for reason, count in sorted(total.items())) or "none"
