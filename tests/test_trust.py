"""A process that plays alone does not ask the store what it remembers, and one that does not is never wrong for it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.sessions import Found, Session
from service.settings import Settings
from service.trust import Trust
from tests.serving import COLOURS, Client, serving
from tests.test_plays import Store

pytestmark = pytest.mark.anyio

MOVES = "/sessions/game/moves"


class Asked(Store):
    """A store that counts what it is asked for before a move."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def has_many(self, sessions: Sequence[Session]) -> list[bool]:
        self.asked += 1
        return super().has_many(sessions)

    def load_many(self, ids: Sequence[str]) -> list[Found]:
        self.asked += 1
        return super().load_many(ids)


class Far(Asked):
    """A store that can tell only by loading."""

    def has_many(self, sessions: Sequence[Session]) -> list[bool]:
        return [False] * len(sessions)


@pytest.fixture(params=[Asked, Far], ids=["near", "far"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Asked:
    store: Asked = request.param()
    monkeypatch.setattr("service.app.open_store", lambda _: store)
    return store


@pytest.fixture
async def services(settings: Settings, store: Asked) -> AsyncIterator[list[Client]]:
    """Two services on one store."""
    async with AsyncExitStack() as stack:
        services = [await stack.enter_async_context(serving(settings)) for _ in range(2)]
        await services[0].ok("POST", "/sessions", {"session": "game", "model": "colours"})
        yield services


async def asked_for(store: Asked, client: Client, moves: int) -> int:
    before = store.asked
    for _ in range(moves):
        await client.ok("POST", MOVES, {"moves": ["red"]})
    return store.asked - before


async def test_who_plays_alone_asks_at_first_and_then_no_more(services, store):
    assert await asked_for(store, services[0], 20) >= 20
    await asked_for(store, services[0], 250)
    assert await asked_for(store, services[0], 20) == 0


async def test_a_move_of_another_process_is_seen_all_the_same(services, store):
    alone, other = services
    await asked_for(store, alone, 300)
    assert (await other.ok("POST", MOVES, {"moves": ["blue"]}))["ply"] == 301
    assert (await alone.ok("POST", MOVES, {"moves": ["green"]}))["ply"] == 302
    await other.ok("POST", MOVES, {"moves": ["blue"]})
    assert (await alone.ok("POST", MOVES, {"moves": ["white"], "ply": 303}))["ply"] == 304
    conflict = await alone.problem("POST", MOVES, {"moves": ["red"], "ply": 303})
    assert (conflict["code"], conflict["ply"]) == ("ply_conflict", 304)
    await other.ok("DELETE", "/sessions/game")
    assert (await alone.problem("POST", MOVES, {"moves": ["red"]}))["code"] == "unknown_session"
    moves = ["red"] * 300 + ["blue", "green", "blue", "white"]
    await alone.ok("POST", "/sessions", {"session": "game", "model": "colours", "moves": moves})


async def test_who_is_often_wrong_asks_again(services, store):
    alone, other = services
    await asked_for(store, alone, 300)
    for _ in range(8):
        await other.ok("POST", MOVES, {"moves": ["blue"]})
        await alone.ok("POST", MOVES, {"moves": ["green"]})
    assert await asked_for(store, alone, 20) >= 20


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from(COLOURS)), min_size=1, max_size=12))
async def test_nothing_is_lost_or_doubled_when_two_believe_what_they_remember(services, monkeypatch, turns):
    monkeypatch.setattr(Trust, "justified", True)
    created = await services[0].ok("POST", "/sessions", {"model": "colours"})
    path = f"/sessions/{created['session']}"
    for ply, (who, move) in enumerate(turns, start=1):
        answer = await services[who].ok("POST", f"{path}/moves", {"moves": [move]})
        assert answer["ply"] == ply
    kept = await services[0].ok("GET", path)
    assert kept["moves"] == [move for _, move in turns]
    body = {"model": "colours", "sequences": [kept["moves"]], "score": True}
    predicted = (await services[1].ok("POST", "/predict", body))["predictions"][0]
    assert kept["surprisal"] == predicted["surprisal"]
    assert answer["next"] == kept["next"] == predicted["next"]


def test_doubt_goes_slowly_and_comes_quickly():
    trust = Trust()
    for _ in range(100):
        trust.note(1, 0)
    assert not trust.justified
    for _ in range(200):
        trust.note(1, 0)
    assert trust.justified
    trust.note(0, 0)
    assert trust.justified
    for _ in range(4):
        trust.note(1, 1)
    assert not trust.justified
