"""Guests who play a game in every way that the service offers, look at it in all others, and leave nothing behind."""

import asyncio
import itertools
import random

import orjson
from tqdm import tqdm
from websockets.asyncio.client import connect

from tests.soak.client import Client
from tests.soak.games import deal
from tests.soak.player import Player, check_against_replay

# Far more seconds than anything takes: who waits longer waits for what never comes.
_PATIENCE = 60


class Guest:
    """Plays one game and checks what is answered."""

    def __init__(self, url: str, number: int) -> None:
        """Choose a game by ``number``, which nobody else has."""
        self._address, self._client, self._rng = url.removeprefix("http://"), Client(url), random.Random(number)
        self._player = Player(f"guest-{number}", *deal(number))
        self._path = f"/sessions/{self._player.id_}"

    async def visit(self) -> None:
        """Play the whole game, hold it against a replay, and delete it."""
        player, client = self._player, self._client
        ways = [self._move, self._stream, self._watch, self._steps, self._take_back, self._fork, self._copy, self._look]
        await player.open(client)
        while player.ply < len(player.game):
            async with asyncio.timeout(_PATIENCE):
                await self._rng.choice(ways)()
        await check_against_replay(client, [player])
        await client.ok("DELETE", self._path)
        assert (await client.request("GET", self._path)).status == 404
        client.close()

    def _next(self, count: int) -> list[str]:
        """Give the moves that come, fewer than ``count`` at the end of the game."""
        return list(self._player.game[self._player.ply : self._player.ply + count])

    async def _move(self) -> None:
        await self._player.step(self._client)

    async def _look(self) -> None:
        """Ask for what leaves a session as it is."""
        player, client = self._player, self._client
        moves = self._next(3)
        peeked = await client.ok("POST", f"{self._path}/peek", {"moves": moves, "ply": player.ply})
        assert peeked["ply"] == player.ply + len(moves)
        session = await client.ok("GET", self._path)
        sequence = {"moves": player.game[: player.ply], "context": player.context}
        (replay,) = (await client.ok("POST", "/predict", {"sequences": [sequence]}))["predictions"]
        assert (session["ply"], session["next"]) == (player.ply, replay["next"])
        assert (await client.ok("GET", "/sessions?limit=3"))["sessions"]
        assert (await client.request("POST", f"{self._path}/moves", {"moves": ["Ke9"]})).status == 422
        assert (await client.request("POST", f"{self._path}/moves", {"moves": ["e4"], "ply": 900})).status == 409

    async def _take_back(self) -> None:
        player = self._player
        player.ply = max(player.ply - self._rng.randint(0, 2), 0)
        del player.surprisal[player.ply :]
        answer = await self._client.ok("POST", f"{self._path}/takeback", {"to_ply": player.ply})
        assert answer["ply"] == player.ply

    async def _fork(self) -> None:
        """Play on in a fork."""
        player, client, fork = self._player, self._client, f"{self._player.id_}-fork"
        at = self._rng.randint(0, player.ply)
        await client.ok("POST", f"{self._path}/fork", {"session": fork, "at_ply": at})
        branch = Player(fork, player.game[: at + 1], player.context, at, player.surprisal[:at])
        await branch.step(client)
        await check_against_replay(client, [branch])
        await client.ok("DELETE", f"/sessions/{fork}")

    async def _copy(self) -> None:
        """Import the session under another name."""
        copy = f"/sessions/{self._player.id_}-copy"
        blob = await self._client.request("GET", f"{self._path}/state")
        kind = {"content-type": "application/octet-stream"}
        made = await self._client.request("PUT", f"{copy}/state", blob.body, kind)
        assert (made.status, made.json()["ply"]) == (201, self._player.ply)
        await self._client.ok("DELETE", copy)

    async def _steps(self) -> None:
        """Play in one request with somebody who is not there."""
        moves = self._next(2)
        right = {"session": self._player.id_, "moves": moves, "ply": self._player.ply}
        body = {"steps": [{"session": "nobody", "moves": ["e4"]}, right], "top_k": 100}
        problem, answer = (await self._client.ok("POST", "/steps", body))["results"]
        assert problem["problem"]["code"] == "unknown_session"
        self._player.take(moves, answer)

    async def _stream(self) -> None:
        """Play over a WebSocket without waiting for the answers."""
        player, path = self._player, self._rng.choice([f"{self._path}/stream", "/stream"])
        async with connect(f"ws://{self._address}{path}") as socket:
            moves = self._next(3)
            for ply, move in enumerate(moves, start=player.ply):
                message = {"session": player.id_, "moves": [move], "ply": ply, "top_k": 100}
                await socket.send(orjson.dumps(message), text=True)
            for move in moves:
                player.take([move], orjson.loads(await socket.recv()))
            await socket.send('{"ping":1}')
            assert orjson.loads(await socket.recv()) == {"pong": 1}

    async def _watch(self) -> None:
        """Watch the session while moves are played in it."""
        host, _, port = self._address.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET {self._path}/events HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
        await reader.readuntil(b"\nevent: session")
        await self._player.step(self._client)
        await reader.readuntil(b"\nevent: moves")
        writer.close()
        await writer.wait_closed()


async def entertain(url: str, guests: int, seconds: float, *, quiet: bool = True) -> int:
    """Let so many guests at a time come and go for so long, and the last ones finish; give how many came."""
    loop = asyncio.get_running_loop()
    numbers, end = itertools.count(), loop.time() + seconds

    async def come_and_go() -> None:
        while loop.time() < end:
            await Guest(url, next(numbers)).visit()
            bar.update()

    with tqdm(desc="games", disable=quiet) as bar:
        async with asyncio.TaskGroup() as group:
            for _ in range(guests):
                group.create_task(come_and_go())
    return next(numbers)
