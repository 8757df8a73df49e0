"""The client against a service in a process of its own: every call, both ways, and every problem as an exception."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from nextply_client import AsyncClient, Client, Line, Step, errors
from nextply_client.answers import Played
from nextply_client.moves import as_moves, write_movetext
from nextply_client.retries import Retries

from service.settings import Settings
from tests.serving import KASPAROV_TOPALOV, Process

MAX_MOVES, MAX_BODY = 200, 50_000


@pytest.fixture(scope="module")
def process(artifacts: Path) -> Iterator[Process]:
    with Process(Settings(artifacts=artifacts, store="memory", max_moves=MAX_MOVES, max_body=MAX_BODY)) as process:
        yield process


@pytest.fixture
def client(process: Process) -> Iterator[Client]:
    with Client(process.url) as client:
        yield client


@pytest.mark.parametrize(
    ("text", "moves"),
    [
        ("1. e4 e5 2. Nf3", ["e4", "e5", "Nf3"]),
        ("1.e4 e5 2.Nf3 Nc6 1-0", ["e4", "e5", "Nf3", "Nc6"]),
        ("e2e4, e7e5,g1f3", ["e2e4", "e7e5", "g1f3"]),
        ("1. e4 {best (by test)} e5!? $14 (1... c5 (1... e6)) 2. O-O-O ; so\n *", ["e4", "e5", "O-O-O"]),
        ("12... Nf6+ 13. a8=Q#", ["Nf6+", "a8=Q#"]),
        ("1 e4 e5 2 Nf3", ["e4", "e5", "Nf3"]),
        ("1. 3 3 2. 4", ["3", "3", "4"]),
        ("炮二平五 馬8進7", ["炮二平五", "馬8進7"]),
        ("", []),
    ],
)
def test_move_text_is_read_as_people_write_it(text: str, moves: list[str]):
    assert as_moves(text) == moves


@pytest.mark.parametrize("text", ["1. e4 {hi", "1. e4 (1. d4", "e4)"])
def test_move_text_that_is_cut_is_refused(text: str):
    with pytest.raises(ValueError, match=r"comment|variation"):
        as_moves(text)


def test_written_move_text_is_read_again():
    assert as_moves(write_movetext(KASPAROV_TOPALOV)) == KASPAROV_TOPALOV


def test_predictions_are_those_of_the_service(client: Client, process: Process):
    context = {"white_elo": 1500}
    body = {"sequences": [{"moves": ["e4", "e5"], "context": context}, []], "top_k": 3, "score": True, "each_ply": True}
    raw = httpx.post(f"{process.url}/predict", json=body).json()
    answer = client.predict([Line("1. e4 e5", context), []], top_k=3, score=True, each_ply=True)
    assert str(answer.model) == "chess/1"
    for one, other in zip(answer.predictions, raw["predictions"], strict=True):
        assert one.ply == other["ply"]
        assert [(c.move, c.san, c.probability) for c in one.next] == [tuple_of(c) for c in other["next"]]
        assert (one.surprisal, one.moves) == (other["surprisal"], other["moves"])
        assert one.plies is not None
        assert [len(ply.next) for ply in one.plies] == [3] * (one.ply + 1)
    assert client.predict("e4 e5").predictions[0].surprisal is None


def tuple_of(candidate: dict[str, Any]) -> tuple[str, str, float]:
    return candidate["move"], candidate["san"], candidate["probability"]


def test_a_session_object_knows_where_its_game_stands(client: Client):
    game = client.open(moves="1. e4", context={"black_elo": 1700}, top_k=2)
    assert (game.ply, len(game.next), str(game.model)) == (1, 2, "chess/1")
    peeked = game.peek("e5 Nf3")
    assert game.ply == 1
    played = game.play("e5 Nf3")
    assert (played.surprisal, played.next, game.ply) == (peeked.surprisal, peeked.next, 3)
    fork = game.fork(at_ply=2)
    assert (fork.play("Bc4").ply, game.ply) == (3, 3)
    assert game.takeback().ply == game.ply == 2
    state = game.get()
    assert (state.moves, state.context) == (["e2e4", "e7e5"], {"black_elo": 1700})
    explained = game.explain(units=3)
    assert [ply.move for ply in explained.plies] == [None, "e2e4", "e7e5"]
    assert all(gate.mean >= 0 for gates in explained.plies for gate in gates.layers[0].values())
    assert explained.memory is not None
    assert [(held.tensor, len(held.units), len(held.values)) for held in explained.memory] == [("c0", 3, 3)]
    assert game.explain().memory is None
    restored = client.import_state("restored", game.export_state())
    assert (restored.ply, restored.next[0]) == (2, state.next[0])
    assert {game.id, fork.id, "restored"} <= {summary.session for summary in client.sessions(min_ply=2)}
    game.delete()
    with pytest.raises(errors.UnknownSession):
        client.session(game.id)


def test_the_async_client_gives_the_same(process: Process, client: Client):
    async def play() -> list[Any]:
        async with AsyncClient(process.url) as other:
            game = await other.open(moves=["e4"], model="chess/1")
            answers = [await game.play("e5"), await game.peek("Nf3"), await game.takeback(1)]
            fork = await game.fork()
            listed = [one.session async for one in other.sessions(prefix=game.id)]
            await other.import_state("async", await fork.export_state(), rebuild=True)
            assert (listed, fork.ply, (await other.session("async")).ply) == ([game.id], 1, 1)
            state = [await game.get(), await game.explain(), await other.models(), await other.predict("e4")]
            await asyncio.gather(game.delete(), fork.delete(), other.delete("async"))
            return [*answers, *state]

    game = client.open(moves=["e4"])
    mine = [game.play("e5"), game.peek("Nf3"), game.takeback(1), game.get(), game.explain()]
    others = asyncio.run(play())
    for one, other in zip(mine, others, strict=False):
        assert type(one) is type(other)
        for name in ("ply", "next", "surprisal", "moves", "plies"):
            assert getattr(one, name, None) == getattr(other, name, None)
    assert others[-2:] == [client.models(), client.predict("e4")]


def test_a_session_object_plays_one_request_after_another(process: Process):
    async def play() -> tuple[list[Any], list[str]]:
        async with AsyncClient(process.url) as client:
            game = await client.open(model="colours")
            outcomes = await asyncio.gather(game.play("red"), game.play("red"), return_exceptions=True)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await game.play("blue")
            await game.play("blue")
            return outcomes, (await game.get()).moves

    (one, other), moves = asyncio.run(play())
    assert isinstance(one, Played)
    assert isinstance(other, RuntimeError)
    assert moves == ["red", "blue"]


def test_steps_succeed_or_fail_on_their_own(client: Client):
    one, other = client.open(), client.open(model="colours")
    steps = [Step(one.id, "e4", 0), Step(other.id, ["red", "blue"], 0), Step(one.id, "Ke8", 1), Step(one.id, "e5", 1)]
    first, second, third, fourth = client.steps(steps)
    assert isinstance(first, Played)
    assert isinstance(second, Played)
    assert isinstance(third, errors.BadMove)
    assert isinstance(fourth, Played)
    assert (first.ply, second.ply, third.session, fourth.ply) == (1, 2, one.id, 2)


def test_models_are_described(client: Client):
    models = {f"{model.name}/{model.version}": model for model in client.models()}
    assert models["chess/1"].default
    assert models["colours/1"].moves == 5


CASES: list[tuple[Callable[[Client], Any], type[errors.Problem], str, dict[str, Any]]] = [
    (lambda c: c.get("nobody"), errors.UnknownSession, "unknown_session", {}),
    (lambda c: c.get("no such/name"), errors.Problem, "not_found", {}),
    (lambda c: c.open(model="go"), errors.UnknownModel, "unknown_model", {}),
    (lambda c: c.open("taken"), errors.SessionExists, "session_exists", {}),
    (lambda c: c.play("taken", "e4 e5", ply=3), errors.PlyConflict, "ply_conflict", {"ply": 1}),
    (lambda c: c.play("taken", "d4", ply=0), errors.PlyConflict, "ply_conflict", {"ply": 1}),
    (lambda c: c.play("taken", "e5 Ke8", ply=1), errors.BadMove, "bad_move", {"index": 1}),
    (lambda c: c.predict(["e4", "e4 e4"]), errors.BadMove, "bad_move", {"sequence": 1, "index": 1}),
    (lambda c: c.open(context={"elo": 1}), errors.BadContext, "bad_context", {}),
    (lambda c: c.import_state("new", b"nothing"), errors.BadBlob, "bad_blob", {}),
    (lambda c: c.predict("e4", top_k=0), errors.InvalidRequest, "invalid_request", {}),
    (lambda c: c.predict([["e4"] * (MAX_MOVES + 1)]), errors.TooLarge, "too_large", {}),
    (lambda c: c.delete("nobody"), errors.UnknownSession, "unknown_session", {}),
    (lambda c: next(c.events("nobody")), errors.UnknownSession, "unknown_session", {}),
]


@pytest.mark.parametrize(("call", "kind", "code", "members"), CASES)
def test_problems_are_exceptions(
    client: Client, call: Callable[[Client], Any], kind: type[errors.Problem], code: str, members: dict[str, Any]
):
    if code not in ("unknown_session", "not_found"):
        client.import_state("taken", client.open(moves="e4").export_state())
    with pytest.raises(kind) as caught:
        call(client)
    assert caught.value.code == code
    assert caught.value.attempts == 1
    assert str(caught.value) == caught.value.detail
    for name, value in members.items():
        assert getattr(caught.value, name) == value


def test_events_tell_what_others_play(client: Client):
    game = client.open(moves="e4")
    events = game.events(top_k=1)
    moves = next(events).after([])
    assert moves == ["e2e4"]
    game.play("e5")
    told = next(events)
    assert (told.kind, told.moves, len(told.next)) == ("moves", ["e7e5"], 1)
    moves = told.after(moves)
    game.takeback(0)
    told = next(events)
    assert (told.kind, told.after(moves)) == ("takeback", [])
    game.delete()
    assert [event.kind for event in events] == ["deleted"]


def test_async_events(process: Process):
    async def watch() -> list[str]:
        async with AsyncClient(process.url) as client:
            game = await client.open()
            kinds = []
            async for event in game.events():
                kinds.append(event.kind)
                if not event.ends:
                    await (game.play("e4") if event.kind == "session" else game.delete())
            return kinds

    assert asyncio.run(watch()) == ["session", "moves", "deleted"]


def test_a_stream_plays_ahead_of_its_answers(client: Client):
    one, other = client.open(), client.open(model="colours")
    with client.stream() as stream:
        for move in KASPAROV_TOPALOV:
            stream.send(one, [move])
        stream.send(other.id, ["red", "blue"], ply=0)
        stream.send(other.id, ["red"])
        answers = list(stream)
    assert [answer.ply for answer in answers if answer.session == one.id] == list(range(1, len(KASPAROV_TOPALOV) + 1))
    assert [answer.ply for answer in answers if answer.session == other.id] == [2, 3]
    replay = client.predict([KASPAROV_TOPALOV], score=True).predictions[0]
    assert [answer.surprisal[0] for answer in answers if answer.session == one.id] == replay.surprisal
    assert one.ply == len(KASPAROV_TOPALOV)


def test_what_a_stream_is_refused_is_raised_and_the_rest_goes_on(client: Client):
    game = client.open()
    with client.stream() as stream:
        for moves in ("e4", "Ke8", "e5"):
            stream.send(game, moves)
        assert stream.receive().ply == 1
        with pytest.raises(errors.BadMove) as refused:
            stream.receive()
        assert refused.value.session == game.id
        with pytest.raises(errors.PlyConflict):
            stream.receive()
        stream.send(game, "e5")
        assert [answer.ply for answer in stream] == [2]
        with pytest.raises(LookupError):
            stream.receive()
        with pytest.raises(ValueError, match="at which ply"):
            stream.send("another", "e4")


def test_refusals_of_before_do_not_disturb_what_is_sent_after_them(client: Client):
    game = client.open(model="colours")
    with client.stream() as stream:
        for move in ("red", "purple", "red"):
            stream.send(game, move)
        assert stream.receive().ply == 1
        with pytest.raises(errors.BadMove):
            stream.receive()
        stream.send(game, "red")
        with pytest.raises(errors.PlyConflict):
            stream.receive()
        stream.send(game, "red")
        assert [answer.ply for answer in stream] == [2, 3]
    assert game.get().moves == ["red", "red", "red"]


def test_nothing_is_played_behind_a_refusal_that_nobody_knows_of(client: Client):
    game, outcomes = client.open(model="colours"), []
    with client.stream() as stream:
        for number in range(150):
            stream.send(game, "purple" if number == 1 else "red")
        while stream.expected:
            try:
                outcomes.append(stream.receive().ply)
            except errors.Problem as problem:
                outcomes.append(problem.code)
    assert outcomes == [1, "bad_move", *["ply_conflict"] * 148]
    assert game.get().moves == ["red"]


def test_a_message_that_a_stream_does_not_take_is_not_sent_again(client: Client):
    with client.stream() as stream:
        stream.send("nobody", ["e4"] * MAX_BODY, ply=0)
        with pytest.raises(errors.StreamClosed) as closed:
            stream.receive()
    assert (closed.value.code, closed.value.attempts) == (1009, 1)


def test_an_async_stream(process: Process):
    async def play() -> list[int]:
        async with AsyncClient(process.url) as client, client.stream() as stream:
            game = await client.open()
            for move in KASPAROV_TOPALOV[:20]:
                await stream.send(game, [move])
            assert stream.expected == 20
            return [answer.ply async for answer in stream]

    assert asyncio.run(play()) == list(range(1, 21))


def test_an_overloaded_service_is_waited_for(artifacts: Path):
    refused, games = [], [KASPAROV_TOPALOV] * 5
    with Process(Settings(artifacts=artifacts, store="memory", max_requests=1)) as process:
        retries = Retries(attempts=1000, total=60, longest=0.2, told=lambda failure, _: refused.append(failure))
        with Client(process.url, retries=retries) as client:
            answers: list[Any] = []
            threads = [threading.Thread(target=lambda: answers.append(client.predict(games))) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert len(answers) == 8
    assert all(answer == answers[0] for answer in answers)
    assert refused
    assert all(isinstance(failure, errors.Overloaded) and failure.retry_after is not None for failure in refused)


def test_an_address_without_a_service():
    with Client("http://127.0.0.1:9", retries=Retries(attempts=3, first=0.001)) as client:
        with pytest.raises(errors.Unreachable) as caught:
            client.models()
        assert caught.value.attempts == 3
        with client.stream() as stream:
            stream.send("game", "e4", ply=0)
            with pytest.raises(errors.Unreachable):
                stream.receive()
        with pytest.raises(errors.Unreachable):
            next(client.events("game"))
    with pytest.raises(ValueError, match="http://"):
        Client("localhost:8000")
