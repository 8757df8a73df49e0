"""Moves that are asked for together are played as one batch, and none of them can tell."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from model.games.tokens import TokenPosition
from service import answers
from service.deadline import begin_deadline, within_deadline
from service.engine import Engine, Input, Rows
from service.metrics import samples
from service.sessions import Commit, Limits
from service.sessions.memory import MemoryStore
from service.settings import Settings
from tests.serving import COLOURS, KASPAROV_TOPALOV, Client, read_problem, serving

pytestmark = pytest.mark.anyio


class Store(MemoryStore):
    """A store in memory that notes how many sessions are kept at a time, and whose, and fails while it is broken."""

    def __init__(self) -> None:
        super().__init__(Limits(1_000_000, 1_000_000, 1000, 1000))
        self.kept: list[int] = []
        self.own: list[int] = []
        self.broken = False

    def commit_many(self, commits: Sequence[Commit], waits: Any = None) -> list[bool]:
        if self.broken:
            raise OSError("out of order")
        self.kept.append(len(commits))
        self.own += [commit.own for commit in commits]
        return super().commit_many(commits)


class Held:
    """Engines that wait in each step until they are let go, and count their rows."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: list[int] = []
        self.begun, self.go = threading.Semaphore(0), threading.Event()
        self.go.set()
        step = Engine.step

        def held(engine: Engine, inputs: Sequence[Input], states: Sequence[bytes]) -> tuple[Rows, list[bytes]]:
            self.rows.append(len(inputs))
            self.begun.release()
            assert self.go.wait(10)
            return step(engine, inputs, states)

        monkeypatch.setattr(Engine, "step", held)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    store = Store()
    monkeypatch.setattr("service.app.open_store", lambda _: store)
    return store


@pytest.fixture
async def client(settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    # Every step runs on the engine's thread, where a test can hold it.
    monkeypatch.setattr("service.app.brief", lambda _: 0)
    async with serving(settings) as client:
        for number in range(6):
            await client.ok("POST", "/sessions", {"session": f"s{number}", "model": "colours"})
        store.kept.clear()
        yield client


async def play(client: Client, number: int, *moves: str, **rest: Any) -> Any:
    response = await client.post(f"/sessions/s{number}/moves", json={"moves": list(moves), **rest})
    return response.json() if response.is_success else read_problem(response)


async def moves_of(client: Client, number: int) -> Any:
    return (await client.ok("GET", f"/sessions/s{number}"))["moves"]


async def test_moves_asked_for_together_are_one_tick_and_one_commit(client, store, monkeypatch):
    held = Held(monkeypatch)
    answers = await asyncio.gather(*(play(client, number, "red") for number in range(6)))
    assert [answer["ply"] for answer in answers] == [1] * 6
    assert (held.rows, store.kept) == ([6], [6])


async def test_moves_that_come_while_others_are_played_are_one_tick_and_one_commit(client, store, monkeypatch):
    held = Held(monkeypatch)
    held.go.clear()
    asked = [asyncio.create_task(play(client, 0, "red"))]
    assert await asyncio.to_thread(held.begun.acquire, timeout=10)
    for number in range(1, 6):
        asked.append(asyncio.create_task(play(client, number, "red")))
        await asyncio.sleep(0.01)
    held.go.set()
    assert [answer["ply"] for answer in await asyncio.gather(*asked)] == [1] * 6
    assert (held.rows, store.kept) == ([1, 5], [1, 5])


async def test_waiting_for_the_batch_before_is_counted_and_told(client, monkeypatch):
    def waiting() -> float:
        found = [one for one in samples("nextply_steps_waiting") if one.labels["model"] == "colours"]
        return sum(one.value for one in found)

    held = Held(monkeypatch)
    held.go.clear()
    first = asyncio.create_task(play(client, 0, "red"))
    assert await asyncio.to_thread(held.begun.acquire, timeout=10)
    before = waiting()
    second = asyncio.create_task(client.post("/sessions/s1/moves", json={"moves": ["red"]}))
    await asyncio.sleep(0.1)
    assert waiting() == before + 1
    held.go.set()
    queue = float((await second).headers["server-timing"].split(",")[0].removeprefix("queue;dur="))
    assert queue > 80
    await first
    assert waiting() == 0


async def test_no_more_moves_wait_for_their_batch_than_steps_may_wait(settings, store, monkeypatch):
    monkeypatch.setattr("service.app.brief", lambda _: 0)
    async with serving(settings.model_copy(update={"max_queue": 3})) as client:
        for number in range(6):
            await client.ok("POST", "/sessions", {"session": f"s{number}", "model": "colours"})
        held = Held(monkeypatch)
        held.go.clear()
        asked = [asyncio.create_task(play(client, 0, "red"))]
        assert await asyncio.to_thread(held.begun.acquire, timeout=10)
        asked += [asyncio.create_task(play(client, number, "red")) for number in (1, 2)]
        await asyncio.sleep(0.05)
        assert (await play(client, 3, "red"))["code"] == "overloaded"
        steps = [{"session": f"s{number}", "moves": ["red"]} for number in (4, 5)]
        results = (await client.ok("POST", "/steps", {"steps": steps}))["results"]
        assert [result["problem"]["code"] for result in results] == ["overloaded"] * 2
        held.go.set()
        assert [answer["ply"] for answer in await asyncio.gather(*asked)] == [1] * 3
        assert (await play(client, 3, "red"))["ply"] == 1


async def test_moves_of_one_model_do_not_wait_for_those_of_another(client, monkeypatch):
    await client.ok("POST", "/sessions", {"session": "s9", "model": "chess"})
    go, step = threading.Event(), Engine.step

    def slow_where_there_is_a_board(engine: Engine, inputs: Sequence[Input], states: Sequence[bytes]) -> Any:
        assert not inputs[0].cells or go.wait(10)
        return step(engine, inputs, states)

    monkeypatch.setattr(Engine, "step", slow_where_there_is_a_board)
    slow = asyncio.create_task(play(client, 9, "e4"))
    for ply in range(1, 4):
        assert (await play(client, 0, "red"))["ply"] == ply
    assert not slow.done()
    go.set()
    assert (await slow)["ply"] == 1


async def test_steps_of_many_sessions_are_one_tick_and_one_commit(client, store, monkeypatch):
    held = Held(monkeypatch)
    steps = [{"session": f"s{number}", "moves": [COLOURS[number % 5]]} for number in range(6)]
    results = (await client.ok("POST", "/steps", {"steps": steps}))["results"]
    assert [(result["session"], result["ply"]) for result in results] == [(f"s{number}", 1) for number in range(6)]
    assert (held.rows, store.kept) == ([6], [6])


async def test_answers_are_written_while_the_store_waits_for_its_disk(settings, monkeypatch):
    written = threading.Event()
    in_time: list[bool] = []
    write = answers.played

    class Disk(Store):
        """A store whose disk is done once an answer was written."""

        quick = False
        patience = 0.0

        def commit_many(self, commits: Sequence[Commit], waits: Any = None) -> list[bool]:
            kept = super().commit_many(commits)
            written.clear()
            waits()
            in_time.append(written.wait(self.patience))
            return kept

    def written_answer(*about: Any) -> Any:
        written.set()
        return write(*about)

    store = Disk()
    monkeypatch.setattr("service.app.open_store", lambda _: store)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    async with serving(settings) as client:
        for number in range(6):
            await client.ok("POST", "/sessions", {"session": f"s{number}", "model": "colours"})
        in_time.clear()
        store.patience = 10
        monkeypatch.setattr(answers, "played", written_answer)
        for ply in (1, 2):
            together = await asyncio.gather(*(play(client, number, "red") for number in range(6)))
            assert [answer["ply"] for answer in together] == [ply] * 6
    assert in_time == [True, True]


@pytest.mark.parametrize("processors", [1, 2])
async def test_a_brief_commit_has_a_thread_only_if_something_is_done_meanwhile(settings, monkeypatch, processors: int):
    threads: list[bool] = []

    class Disk(Store):
        quick = False

        def commit_many(self, commits: Sequence[Commit], waits: Any = None) -> list[bool]:
            threads.append(threading.current_thread() is not threading.main_thread())
            return super().commit_many(commits)

    store = Disk()
    monkeypatch.setattr("service.app.open_store", lambda _: store)
    monkeypatch.setattr("os.cpu_count", lambda: processors)
    # However busy the machine is.
    monkeypatch.setattr("service.keeper.brief", lambda _: 60)
    async with serving(settings) as client:
        for number in range(6):
            await client.ok("POST", "/sessions", {"session": f"s{number}", "model": "colours"})
        assert threads == [True] * 6
        threads.clear()
        await play(client, 0, "red")
        await asyncio.gather(*(play(client, number, "red") for number in range(6)))
    assert threads == [False, processors == 2]


async def test_together_or_alone_the_answers_are_the_same(client, store):
    together = await asyncio.gather(*(play(client, number, "red", top_k=number + 1) for number in range(5)))
    await client.ok("POST", "/sessions", {"session": "alone", "model": "colours"})
    alone = await client.ok("POST", "/sessions/alone/moves", {"moves": ["red"], "top_k": 5})
    for number, answer in enumerate(together):
        assert answer == alone | {"session": f"s{number}", "next": alone["next"][: number + 1]}


async def test_each_of_many_has_its_own_problem_and_spoils_no_other(client, store):
    answers = await asyncio.gather(
        play(client, 0, "red"),
        play(client, 1, "purple"),
        play(client, 2, "red", ply=3),
        play(client, 3, "red", "green"),
        client.problem("POST", "/sessions/nobody/moves", {"moves": ["red"]}),
        play(client, 4, "blue", ply=0),
    )
    codes = [answer.get("code", answer.get("ply")) for answer in answers]
    assert codes == [1, "bad_move", "ply_conflict", 2, "unknown_session", 1]
    assert [await moves_of(client, number) for number in range(3)] == [["red"], [], []]


async def test_steps_of_one_session_keep_their_order(client, store):
    moves = [["red"], ["green", "blue"], ["white"]]
    steps = [{"session": "s0", "moves": some} for some in moves] + [{"session": "s1", "moves": ["black"]}]
    results = (await client.ok("POST", "/steps", {"steps": steps}))["results"]
    assert [result["ply"] for result in results] == [1, 3, 4, 1]
    assert await moves_of(client, 0) == ["red", "green", "blue", "white"]


async def test_what_another_process_kept_meanwhile_is_played_on(settings: Settings, store: Store):
    """Both remember the session, and either may be the one whose memory is old."""
    async with serving(settings) as one, serving(settings) as other:
        await one.ok("POST", "/sessions", {"session": "s0", "model": "colours"})
        for number, client in enumerate((one, other, other, one, one, other)):
            assert (await play(client, 0, COLOURS[number % 5]))["ply"] == number + 1
        both = await asyncio.gather(*(play(client, 0, "red") for client in (one, other)))
        assert sorted(answer["ply"] for answer in both) == [7, 8]
        problem = await play(one, 0, "white", ply=5)
        assert (problem["code"], problem["ply"]) == ("ply_conflict", 8)
        assert await moves_of(other, 0) == [*COLOURS, "red", "red", "red"]


async def test_the_store_is_told_for_how_long_no_other_process_played_in_a_session(settings: Settings, store: Store):
    async with serving(settings) as one, serving(settings) as other:
        await one.ok("POST", "/sessions", {"session": "s0", "model": "colours"})
        for client in (one, one, one, other, one, one):
            await play(client, 0, "red")
    assert store.own == [0, 1, 2, 3, 0, 0, 1]


async def test_a_position_that_another_process_left_behind_leads_to_where_the_game_is_now(settings, store):
    async with serving(settings) as one, serving(settings) as other:
        for name in ("s0", "s1"):
            await one.ok("POST", "/sessions", {"session": name, "model": "chess"})
        for ply, move in enumerate(KASPAROV_TOPALOV[:40]):
            if ply == 21:
                await other.ok("POST", "/sessions/s0/takeback", {"to_ply": 15})
                for again in KASPAROV_TOPALOV[15:21]:
                    await play(other, 0, again)
            # One of them falls behind by ever more moves.
            answer = await play(one if ply in (0, 1, 3, 6, 10, 15, 21, 28, 36) else other, 0, move)
            assert answer | {"session": "s1"} == await play(one, 1, move)


async def test_who_has_no_time_left_takes_back_a_move_and_the_others_are_kept(client, store, monkeypatch):
    held = Held(monkeypatch)
    held.go.clear()
    hurried = {"content-type": "application/json", "request-timeout-ms": "50"}
    late = asyncio.create_task(client.post("/sessions/s0/moves", json={"moves": ["red"]}, headers=hurried))
    others = [asyncio.create_task(play(client, number, "red")) for number in (1, 2)]
    assert await asyncio.to_thread(held.begun.acquire, timeout=10)
    assert read_problem(await late)["code"] == "deadline_passed"
    held.go.set()
    assert [(await other)["ply"] for other in others] == [1, 1]
    assert store.kept == [2]
    assert await moves_of(client, 0) == []
    assert (await play(client, 0, "green"))["ply"] == 1


async def test_steps_without_time_left_say_so_one_by_one_and_take_back_all(client, store, monkeypatch):
    held = Held(monkeypatch)
    held.go.clear()
    steps = {"steps": [{"session": f"s{number}", "moves": ["red"]} for number in range(4)]}
    late = asyncio.create_task(client.post("/steps", json=steps, headers={"request-timeout-ms": "50"}))
    results = (await late).json()["results"]
    held.go.set()
    assert [result["problem"]["code"] for result in results] == ["deadline_passed"] * 4
    assert [await moves_of(client, number) for number in range(4)] == [[]] * 4
    assert store.kept == []


async def test_a_block_that_may_end_is_cut_off_no_more():
    begin_deadline(20)
    with within_deadline() as block:
        block.let_end()
        await asyncio.sleep(0.05)


async def test_a_store_that_fails_is_told_to_all_and_the_moves_can_be_sent_again(client, store):
    store.broken = True
    answers = await asyncio.gather(*(play(client, number, "red", ply=0) for number in range(4)))
    assert [answer["code"] for answer in answers] == ["store_failed"] * 4
    store.broken = False
    answers = await asyncio.gather(*(play(client, number, "red", ply=0) for number in range(4)))
    assert [answer["ply"] for answer in answers] == [1] * 4


async def test_what_made_steps_fail_is_in_the_log_once_and_in_no_answer(client, store, caplog):
    store.broken = True
    steps = {"steps": [{"session": f"s{number}", "moves": ["red"]} for number in range(4)]}
    results = (await client.ok("POST", "/steps", steps))["results"]
    assert [result["problem"]["code"] for result in results] == ["store_failed"] * 4
    assert caplog.text.count("OSError: out of order") == 1
    assert "out of order" not in str(results)


async def test_a_bug_in_one_move_leaves_nobody_waiting(client, store, monkeypatch, caplog):
    find = TokenPosition.find

    def fail_at_black(position: TokenPosition, move: str) -> int:
        if move == "black":
            raise ZeroDivisionError("out of order")
        return find(position, move)

    # The answer of a bug is in no description.
    client.event_hooks = {}
    with monkeypatch.context() as patch:
        patch.setattr(TokenPosition, "find", fail_at_black)
        asked = [client.post(f"/sessions/s{n}/moves", json={"moves": [COLOURS[n + 2]]}) for n in range(3)]
        responses = await asyncio.gather(*asked)
    assert [response.status_code for response in responses] == [200, 200, 500]
    assert "out of order" in caplog.text
    assert (await play(client, 2, "black"))["ply"] == 1
