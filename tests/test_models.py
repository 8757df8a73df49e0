"""Models that come, change and go while the service runs."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from model.games import TokenGame
from service.settings import Settings
from tests.serving import COLOURS, Client, serving, write_artifact

pytestmark = pytest.mark.anyio

MOVES = ["red", "green", "green", "black"]
NOTHING: dict[str, Any] = {"loaded": [], "dropped": [], "failed": []}


def write_version(settings: Settings, version: int) -> Path:
    """Write a model whose predictions are its version's own; give its folder."""
    return write_artifact(settings.artifacts / "colours" / str(version), TokenGame(COLOURS), seed=version).folder


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a service with one model, which looks for others when it is asked to."""
    settings = Settings(artifacts=tmp_path / "models", data_dir=tmp_path / "data", model="colours", watch_seconds=0)
    write_version(settings, 1)
    return settings


async def open_game(client: Client, id_: str = "game") -> Any:
    return await client.ok("POST", "/sessions", {"session": id_, "moves": MOVES})


async def whole(client: Client, id_: str = "game") -> Any:
    """Everything of a session but its name."""
    session = await client.ok("GET", f"/sessions/{id_}?top_k=100")
    del session["session"]
    return session


async def test_a_new_version_is_served_and_a_dropped_one_is_replaced_without_a_restart(
    settings: Settings, tmp_path: Path
):
    async with serving(settings) as client:
        await open_game(client)
        before = await whole(client)
        write_version(settings, 2)
        assert await client.ok("POST", "/models/reload") == NOTHING | {"loaded": ["colours/2"]}
        assert await client.ok("POST", "/models/reload") == NOTHING
        assert await whole(client) == before
        assert (await open_game(client, "new"))["model"]["version"] == "2"
        (settings.artifacts / "colours" / "1").rename(tmp_path / "retired")
        assert await client.ok("POST", "/models/reload") == NOTHING | {"dropped": ["colours/1"]}
        answer = await client.ok("POST", "/sessions/game/moves", {"moves": ["blue"], "top_k": 100})
        assert (answer["model"]["version"], answer["upgraded_from"]) == ("2", "1")
        assert "upgraded_from" not in await client.ok("POST", "/sessions/game/moves", {"moves": ["red"]})
        await client.ok("POST", "/sessions/new/moves", {"moves": ["blue", "red"]})
        assert await whole(client) == await whole(client, "new")


async def test_what_cannot_be_loaded_is_told_without_its_place_and_what_runs_goes_on(
    settings: Settings, tmp_path: Path
):
    async with serving(settings) as client:
        path = write_version(settings, 2) / "model.onnx"
        graph = path.read_bytes()
        path.write_bytes(graph[:-1])
        (failure,) = (await client.ok("POST", "/models/reload"))["failed"]
        assert failure["model"] == "colours/2"
        assert failure["problem"].startswith("colours/2/model.onnx: its SHA-256 is not the one")
        assert await client.ok("POST", "/models/reload") == NOTHING
        assert (await open_game(client))["model"]["version"] == "1"
        path.write_bytes(graph)
        assert await client.ok("POST", "/models/reload") == NOTHING | {"loaded": ["colours/2"]}
        for version in ("1", "2"):
            (settings.artifacts / "colours" / version).rename(tmp_path / version)
        (failure,) = (await client.ok("POST", "/models/reload"))["failed"]
        assert "the folder of models holds no" in failure["problem"]
        assert (await client.ok("POST", "/sessions/game/moves", {"moves": ["red"]}))["ply"] == 5


async def test_the_last_version_of_the_default_model_is_served_on_when_its_folder_is_gone(
    settings: Settings, tmp_path: Path
):
    write_artifact(settings.artifacts / "other" / "1", TokenGame(COLOURS))
    async with serving(settings) as client:
        (settings.artifacts / "colours" / "1").rename(tmp_path / "gone")
        (failure,) = (await client.ok("POST", "/models/reload"))["failed"]
        assert (failure["model"], failure["problem"][:10]) == ("colours/1", "it is gone")
        assert (await open_game(client))["model"]["name"] == "colours"


async def test_a_new_version_is_found_by_watching(settings: Settings):
    async with serving(settings.model_copy(update={"watch_seconds": 0.02})) as client, asyncio.timeout(10):
        write_version(settings, 2)
        while (await open_game(client))["model"]["version"] == "1":
            await client.ok("DELETE", "/sessions/game")


async def test_a_version_that_another_process_serves_already_is_loaded_for_its_session(settings: Settings):
    async with serving(settings) as client:
        write_version(settings, 2)
        async with serving(settings.model_copy(update={"store": "memory"})) as newer:
            await open_game(newer)
            there = await whole(newer)
            content = (await newer.get("/sessions/game/state")).content
        assert (await client.put("/sessions/game/state", content=content)).status_code == 201
        assert await whole(client) == there
        assert there["model"]["version"] == "2"
