"""A session is its tenant's alone: for everybody else a service with it answers as one without it, on every route."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fastapi import FastAPI

from service.sessions import blob
from service.settings import Settings
from tests.keyed import CASES, GAME, MOVES, Caller, Case, Door, Reply, Watch, doors, entry, keys_json, new_keys
from tests.serving import running

pytestmark = pytest.mark.anyio

KEYS = new_keys("alice", "alice-too", "bob", "nobody", "admin")
ENTRIES = [
    entry(KEYS["alice"], "alice", "predict", "sessions"),
    entry(KEYS["alice-too"], "alice", "sessions"),
    entry(KEYS["bob"], "bob", "predict", "sessions", "admin"),
    entry(KEYS["nobody"], "", "sessions"),
    entry(KEYS["admin"], "alice", "admin"),
]
# What is counted differs from one moment to the next, whoever played.
COUNTED = {Door("GET", "/metrics")}
# What Bob's own call does to nobody's session, and is answered without looking at one.
ABOUT_SESSIONS = [door for door, case in CASES.items() if case.scopes == "sessions"]


class World(NamedTuple):
    """Two services of the same keys. Alice has a session in the first alone."""

    service: FastAPI
    twin: FastAPI

    @property
    def alice(self) -> Caller:
        return Caller(self.service, KEYS["alice"])


@pytest.fixture(params=["memory", "lmdb"])
async def world(artifacts: Path, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    common = {"artifacts": artifacts, "model": "colours", "store": request.param, "keys": keys_json(*ENTRIES)}
    settings = Settings(**common, data_dir=tmp_path / "one"), Settings(**common, data_dir=tmp_path / "two")
    async with running(settings[0]) as service, running(settings[1]) as twin:
        yield World(service, twin)


@pytest.fixture(scope="module")
async def worlds(artifacts: Path) -> AsyncIterator[World]:
    """The same, shared by the tests that leave it as it was."""
    settings = Settings(artifacts=artifacts, model="colours", store="memory", keys=keys_json(*ENTRIES))
    async with running(settings) as service, running(settings) as twin:
        yield World(service, twin)


@pytest.fixture
async def game(worlds: World) -> AsyncIterator[Any]:
    """Alice's session, which must be as it was in the end."""
    alice, bob = worlds.alice, [Caller(app, KEYS["bob"]) for app in worlds]
    await alice.ok("POST", "/sessions", {"session": GAME, "model": "colours", "moves": MOVES})
    before = await alice.ok("GET", f"/sessions/{GAME}")
    yield before
    assert await alice.ok("GET", f"/sessions/{GAME}") == before
    assert [one["session"] for one in (await alice.ok("GET", "/sessions"))["sessions"]] == [GAME]
    await alice.ok("DELETE", f"/sessions/{GAME}")
    for own in bob:
        for session in (await own.ok("GET", "/sessions"))["sessions"]:
            await own.ok("DELETE", f"/sessions/{session['session']}")


def settled(reply: Reply) -> Reply:
    """Leave out what time does."""
    if isinstance(reply.content, dict) and "sessions" in reply.content:
        sessions = [{**one, "idle_seconds": 0} for one in reply.content["sessions"]]
        return reply._replace(content={**reply.content, "sessions": sessions})
    return reply


async def ask(caller: Caller, door: Door, case: Case) -> Reply:
    return settled(await asyncio.wait_for(caller.ask(door.method, case.path or door.path, case.body), 10))


async def test_no_route_is_forgotten_here(worlds: World):
    assert doors(worlds.service) == set(CASES)


@pytest.mark.parametrize("door", sorted(CASES.keys() - COUNTED), ids=" ".join)
async def test_a_service_answers_others_as_if_a_session_were_not_there(worlds: World, game: Any, door: Door):
    case = CASES[door]
    if door.path.endswith("/state") and door.method == "PUT":
        case = case._replace(body=await worlds.alice.ok("GET", f"/sessions/{GAME}/state"))
    there = await ask(Caller(worlds.service, KEYS["bob"]), door, case)
    without = await ask(Caller(worlds.twin, KEYS["bob"]), door, case)
    if not door.path.endswith("/stats"):
        assert there == without
    assert there.status not in (401, 403, 500)
    assert "alice" not in str(there)


# What its own tenant sees of the session, so that nothing above passes for another reason.
SEEN_BY_ALICE = {
    Door("POST", "/sessions"): 409,
    Door("POST", "/sessions/{session}/fork"): 201,
    Door("DELETE", "/sessions/{session}"): 204,
    Door("PUT", "/sessions/{session}/state"): 200,
    Door("WS", "/sessions/{session}/stream"): 101,
    Door("WS", "/stream"): 101,
}


@pytest.mark.parametrize("door", sorted(ABOUT_SESSIONS), ids=" ".join)
async def test_a_session_is_seen_by_its_own_tenant_through_every_door_and_by_no_other(worlds: World, door: Door):
    alice, bob = worlds.alice, Caller(worlds.service, KEYS["bob"])
    await alice.ok("POST", "/sessions", {"session": GAME, "model": "colours", "moves": MOVES})
    case = CASES[door]
    if door == Door("PUT", "/sessions/{session}/state"):
        case = case._replace(body=await alice.ok("GET", f"/sessions/{GAME}/state"))
    theirs = await ask(bob, door, case)
    own = await ask(alice, door, case)
    try:
        assert own.status == SEEN_BY_ALICE.get(door, 200), own
        assert "alice" not in str(own)
        assert own != theirs
        if door.method == "WS" or door.path == "/steps":
            assert "unknown_session" in str(theirs) or theirs.content[0] == 4404
            assert "unknown_session" not in str(own)
    finally:
        for caller in alice, bob:
            for session in (await caller.ok("GET", "/sessions"))["sessions"]:
                await caller.ok("DELETE", f"/sessions/{session['session']}")


async def test_tenants_use_the_same_names_for_sessions_of_their_own(world: World):
    callers = {name: Caller(world.service, KEYS[name]) for name in ("alice", "bob", "nobody")}
    for number, (name, caller) in enumerate(callers.items()):
        created = await caller.ask("POST", "/sessions", {"session": "game", "moves": MOVES[: number + 1]})
        assert created.location == "/sessions/game"
        assert created.content["session"] == "game"
        assert name not in str(created)
    plays = [caller.ok("POST", "/sessions/game/moves", {"moves": ["black"]}) for caller in callers.values()]
    assert [played["ply"] for played in await asyncio.gather(*plays)] == [2, 3, 4]
    steps = [
        caller.ok("POST", "/steps", {"steps": [{"session": "game", "moves": ["red"]}]}) for caller in callers.values()
    ]
    assert [one["results"][0]["ply"] for one in await asyncio.gather(*steps)] == [3, 4, 5]
    for number, caller in enumerate(callers.values()):
        listed = await caller.ok("GET", "/sessions")
        assert [(one["session"], one["ply"]) for one in listed["sessions"]] == [("game", 3 + number)]
        assert (await caller.ok("GET", "/sessions/game"))["moves"] == [*MOVES[: number + 1], "black", "red"]
    await callers["bob"].ok("DELETE", "/sessions/game")
    assert (await callers["alice"].ok("GET", "/sessions/game"))["ply"] == 3


async def test_moves_of_many_tenants_in_one_batch_stay_apart(world: World):
    """They are played in one task, in which nobody may ask who asked."""
    alice, bob = world.alice, Caller(world.service, KEYS["bob"])
    for number, caller in enumerate((alice, bob)):
        for game in range(20):
            moves = ["red", "blue"][: number + 1]
            await caller.ok("POST", "/sessions", {"session": f"g{game}", "moves": moves})
    calls = [
        caller.ok("POST", f"/sessions/g{game}/moves", {"moves": ["green"]})
        for game in range(20)
        for caller in (alice, bob)
    ]
    answers = await asyncio.gather(*calls)
    assert [answer["ply"] for answer in answers] == [2, 3] * 20
    assert [answer["session"] for answer in answers] == [f"g{game}" for game in range(20) for _ in (alice, bob)]


async def test_several_keys_of_a_tenant_share_its_sessions(world: World):
    await world.alice.ok("POST", "/sessions", {"session": "game"})
    assert (await Caller(world.service, KEYS["alice-too"]).ok("GET", "/sessions/game"))["session"] == "game"


async def test_a_page_of_a_listing_goes_on_in_its_own_tenant(world: World):
    alice, bob = world.alice, Caller(world.service, KEYS["bob"])
    for number in range(5):
        await alice.ok("POST", "/sessions", {"session": f"a{number}"})
        await bob.ok("POST", "/sessions", {"session": f"b{number}"})
    seen, after = [], ""
    while True:
        page = await alice.ok("GET", f"/sessions?limit=2{after}")
        seen += [one["session"] for one in page["sessions"]]
        if page["after"] is None:
            break
        assert "alice" not in page["after"]
        after = f"&after={page['after']}"
    assert seen == [f"a{number}" for number in range(5)]
    for foreign in "alice/a0", "../alice/a0", "0", "/":
        page = await bob.ok("GET", f"/sessions?after={foreign}")
        assert {one["session"] for one in page["sessions"]} <= {f"b{number}" for number in range(5)}


async def test_no_name_leads_out_of_a_tenant(world: World):
    await world.alice.ok("POST", "/sessions", {"session": "game"})
    for key in "bob", "nobody":
        caller = Caller(world.service, KEYS[key])
        for name in "alice/game", "alice%2Fgame", "..%2Falice%2Fgame", "%2Falice%2Fgame", "./alice/game":
            assert (await caller.ask("GET", f"/sessions/{name}")).status in (404, 422)
        for body in {"session": "alice/game"}, {"session": "/game"}, {"session": ""}:
            assert (await caller.ask("POST", "/sessions", body)).status == 422
        for prefix in "alice", "alice%2F", "%2F", "alice%2Fgame":
            reply = await caller.ask("GET", f"/sessions?prefix={prefix}")
            assert reply.status == 422 or reply.content["sessions"] == []
        assert (await caller.ok("GET", "/sessions"))["sessions"] == []


async def test_a_blob_does_not_say_whose_session_it_was(world: World):
    await world.alice.ok("POST", "/sessions", {"session": "game", "moves": MOVES})
    exported = await world.alice.ok("GET", "/sessions/game/state")
    assert b"alice" not in exported
    assert blob.unpack(exported).id == "game"
    bob = Caller(world.service, KEYS["bob"])
    assert (await bob.ask("PUT", "/sessions/mine/state", exported)).status == 201
    assert (await bob.ok("GET", "/sessions/mine"))["moves"] == MOVES
    assert (await world.alice.ask("GET", "/sessions/mine")).status == 404


async def test_an_id_that_the_service_makes_is_the_tenants(world: World):
    created = await world.alice.ok("POST", "/sessions", {})
    nulled = await world.alice.ok("POST", "/sessions", {"session": None})
    forked = await world.alice.ok("POST", f"/sessions/{created['session']}/fork", {})
    names = {made["session"] for made in (created, nulled, forked)}
    assert len(names) == 3
    assert all(len(name) >= 22 for name in names)
    assert {one["session"] for one in (await world.alice.ok("GET", "/sessions"))["sessions"]} == names
    assert (await Caller(world.service, KEYS["bob"]).ok("GET", "/sessions"))["sessions"] == []


async def test_sessions_of_a_service_without_keys_are_those_of_the_tenant_without_a_name(
    artifacts: Path, tmp_path: Path
):
    open_ = Settings(artifacts=artifacts, data_dir=tmp_path)
    async with running(open_) as app:
        await Caller(app).ok("POST", "/sessions", {"session": "old"})
    async with running(open_.model_copy(update={"keys": keys_json(*ENTRIES)})) as app:
        assert (await Caller(app, KEYS["nobody"]).ok("GET", "/sessions/old"))["session"] == "old"
        assert (await Caller(app, KEYS["alice"]).ask("GET", "/sessions/old")).status == 404
        await Caller(app, KEYS["alice"]).ok("POST", "/sessions", {"session": "hers"})
    async with running(open_) as app:
        assert [one["session"] for one in (await Caller(app).ok("GET", "/sessions"))["sessions"]] == ["old"]
        assert (await Caller(app).ask("GET", "/sessions?prefix=alice%2F")).status == 422


async def test_onlookers_hear_of_the_session_of_their_own_tenant(world: World):
    alice, bob = world.alice, Caller(world.service, KEYS["bob"])
    await alice.ok("POST", "/sessions", {"session": "game", "moves": ["red"]})
    await bob.ok("POST", "/sessions", {"session": "game", "moves": ["blue", "blue"]})
    watching = {
        name: Watch(world.service, "/sessions/game/events", Caller(world.service, KEYS[name]).headers)
        for name in ("alice", "bob")
    }
    assert (await watching["alice"].first()).content["moves"] == ["red"]
    assert (await watching["bob"].first()).content["moves"] == ["blue", "blue"]
    await bob.ok("POST", "/sessions/game/moves", {"moves": ["black"]})
    heard = (await watching["bob"].first()).content
    assert (heard["session"], heard["moves"]) == ("game", ["black"])
    await alice.ok("DELETE", "/sessions/game")
    assert (await watching["alice"].first()).content == {"session": "game"}
    for watch in watching.values():
        await watch.hang_up()
