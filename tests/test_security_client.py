"""The client and its command with a key, against a service that wants one: requests, WebSockets and events."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from nextply_client import AsyncClient, Client, errors
from nextply_client.cli.app import app
from typer.testing import CliRunner

from service.settings import Settings
from tests.keyed import entry, keys_json, new_keys
from tests.serving import Process

KEYS = new_keys("alice", "bob", "predict", "slow")
ENTRIES = [
    entry(KEYS["alice"], "alice", "predict", "sessions"),
    entry(KEYS["bob"], "bob", "predict", "sessions"),
    entry(KEYS["predict"], "alice", "predict"),
    entry(KEYS["slow"], "slow", "sessions", rate=20, burst=1),
]


@pytest.fixture(scope="module")
def url(artifacts: Path) -> Iterator[str]:
    with Process(Settings(artifacts=artifacts, model="colours", store="memory", keys=keys_json(*ENTRIES))) as process:
        yield process.url


def test_a_game_is_played_and_watched_with_a_key(url: str):
    with Client(url, key=KEYS["alice"]) as client:
        game = client.open("game", moves="red")
        events = game.events()
        assert next(events).moves == ["red"]
        with client.stream() as stream:
            for move in "green", "blue":
                stream.send(game, [move])
            assert [answer.ply for answer in stream] == [2, 3]
        seen = next(events)
        assert (seen.session, seen.kind) == ("game", "moves")
        assert client.predict([["red"]]).predictions[0].ply == 1
        with Client(url, key=KEYS["bob"]) as other:
            assert list(other.sessions()) == []
            with pytest.raises(errors.UnknownSession):
                other.get("game")
            with pytest.raises(errors.UnknownSession):
                next(other.events("game"))
            with other.stream() as stream:
                stream.send("game", ["red"], ply=3)
                with pytest.raises(errors.UnknownSession):
                    stream.receive()
        game.delete()


def test_the_async_client_sends_its_key_everywhere(url: str):
    async def play() -> list[int]:
        async with AsyncClient(url, key=KEYS["alice"]) as client, client.stream() as stream:
            game = await client.open()
            await stream.send(game, ["red"])
            plies = [answer.ply async for answer in stream]
            async for event in game.events():
                return [*plies, event.ply]
            return []

    assert asyncio.run(play()) == [1, 1]


@pytest.mark.parametrize(
    ("key", "error", "status"),
    [(None, errors.Unauthorized, 401), ("wrong", errors.Unauthorized, 401), (KEYS["predict"], errors.Forbidden, 403)],
    ids=["none", "wrong", "without the scope"],
)
def test_a_key_that_is_not_good_is_said_at_once(url: str, key: str | None, error: type[errors.Problem], status: int):
    with Client(url, key=key) as client:
        with pytest.raises(error) as opened:
            client.open()
        with pytest.raises(error):
            next(client.events("game"))
        with client.stream() as stream, pytest.raises(error) as streamed:
            stream.send("game", ["red"], ply=0)
    for refused in opened, streamed:
        assert (refused.value.status, refused.value.attempts) == (status, 1)


def test_who_asks_too_often_waits_and_gets_what_was_asked_for(url: str):
    with Client(url, key=KEYS["slow"]) as client:
        game = client.open(moves="red")
        assert [game.play(move).ply for move in ("red", "green", "blue", "red")] == [2, 3, 4, 5]
        with client.stream() as stream:
            for move in "red", "green", "blue":
                stream.send(game, [move])
            assert [answer.ply for answer in stream] == [6, 7, 8]


def test_the_command_takes_its_key_from_the_environment_and_never_shows_it(url: str):
    environment = {"NEXTPLY_URL": url, "NEXTPLY_KEY": KEYS["alice"]}
    good = CliRunner().invoke(app, ["predict", "red", "green"], env=environment)
    assert good.exit_code == 0, good.output
    listed = CliRunner().invoke(app, ["models"], env=environment)
    refused = CliRunner().invoke(app, ["models"], env={"NEXTPLY_URL": url, "NEXTPLY_KEY": "nextply_wrong"})
    missing = CliRunner().invoke(app, ["models"], env={"NEXTPLY_URL": url, "NEXTPLY_KEY": ""})
    assert (listed.exit_code, refused.exit_code, missing.exit_code) == (0, 1, 1)
    assert "key" in refused.output
    for shown in good, listed, refused, missing:
        assert "nextply_" not in shown.output
