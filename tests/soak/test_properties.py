"""Random lives of sessions, on every store, against a list of moves and a replay of it, step by step and alone."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import valkey
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from model.artifact import Artifact
from model.games import TokenGame, encode_context, load_game
from service.distribution import Distribution
from service.engine import Engine, Input
from service.sessions import SessionStore, open_store
from service.settings import Settings
from tests.serving import COLOURS, Client, serving, write_artifact
from tests.valkey_server import ValkeyServer

Context = tuple[tuple[str, int], ...]
DAY = 86_400_000


class Replay:
    """The reference: a game is read from its start, one row a step, and nothing is kept but the list of moves."""

    def __init__(self, root: Path) -> None:
        self._models = {name: Artifact.load(root / name / "1") for name in ("chess", "colours")}
        self._engines = {name: Engine(artifact) for name, artifact in self._models.items()}

    @lru_cache(maxsize=4096)  # noqa: B019
    def read(self, model: str, context: Context, moves: tuple[str, ...]) -> tuple[Any, Distribution, bytes, float]:
        """Give the position after moves, what is predicted there, the state, and the last move's surprisal."""
        game, engine = self._models[model].game, self._engines[model]
        if moves:
            before, predicted, state, _ = self.read(model, context, moves[:-1])
            token, position = before.find(moves[-1]), before.copy()
            surprisal = predicted.surprisal(token)
            position.play(token)
        else:
            token, position, state, surprisal = game.vocabulary.start, game.new_position(), engine.initial, 0.0
        seen = game.seen(encode_context(game.context, dict(context)), position.player)
        logits, states = engine.step([Input(token, seen, position.cells())], [state])
        return position, Distribution.of([position.legal()], logits)[0], states[0], surprisal

    def legal(self, model: str, moves: tuple[str, ...]) -> list[str]:
        """Give the moves that may be played after others."""
        position = self.read(model, (), moves)[0]
        legal = position.legal()
        return [position.notation(move).move for move in (range(len(COLOURS)) if legal is None else legal)]

    def next(self, model: str, context: Context, moves: tuple[str, ...]) -> list[tuple[str, float]]:
        """Give every candidate after moves with its probability."""
        position, predicted, *_ = self.read(model, context, moves)
        return [(position.notation(move).move, probability) for move, probability in predicted.top(100)]

    def surprisal(self, model: str, context: Context, moves: tuple[str, ...]) -> list[float]:
        """Give the surprisal of each move."""
        plies = (self.read(model, context, moves[: ply + 1])[3] for ply in range(len(moves)))
        return np.array(list(plies), np.float32).tolist()


@dataclass(frozen=True)
class Game:
    """What the test knows of a session."""

    model: str
    context: Context
    moves: tuple[str, ...] = ()


@dataclass
class Place:
    """A kind of store: how it is opened, and how all its sessions lose their state."""

    replay: Replay
    begin: Callable[[], tuple[Settings, Callable[[Settings], SessionStore]]]
    """Gives the settings of an empty store, and what opens it."""
    forget: Callable[[SessionStore], None]


class Lives(RuleBasedStateMachine):
    """Sessions of one service. Every answer is compared with the reference, to the last bit."""

    place: Place
    ids = Bundle("ids")
    blobs = Bundle("blobs")

    def __init__(self) -> None:
        super().__init__()
        self.settings, self.open = self.place.begin()
        self.games: dict[str, Game] = {}
        self.sent: list[tuple[str, dict[str, Any], Any]] = []
        self.made = 0
        self.runner = asyncio.Runner()
        self.store = self.open(self.settings)
        self.service = contextlib.AsyncExitStack()
        self.client = self.runner.run(self._start())

    async def _start(self) -> Client:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("service.app.open_store", lambda _: self.store)
            return await self.service.enter_async_context(serving(self.settings))

    def teardown(self) -> None:
        for id_ in self.games:
            self.check(id_)
        self.runner.run(self.service.aclose())
        self.runner.close()

    def request(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return self.runner.run(self.client.request(method, path, json=body))

    def ok(self, method: str, path: str, body: Any = None) -> Any:
        response = self.request(method, path, body)
        assert response.is_success, response.text
        return response.json()

    def conflict(self, path: str, body: Any, code: str) -> Any:
        response = self.request("POST", path, body)
        assert (response.status_code, response.json()["code"]) == (409, code)
        return response.json()

    def expected(self, game: Game, since: int | None = None) -> dict[str, Any]:
        """Give what an answer says of a game, and of its moves from a ply on."""
        said: dict[str, Any] = {
            "ply": len(game.moves),
            "next": self.place.replay.next(game.model, game.context, game.moves),
            "model": {"name": game.model, "version": "1"},
        }
        if since is not None:
            said["surprisal"] = self.place.replay.surprisal(game.model, game.context, game.moves)[since:]
        return said

    def compare(self, answer: Any, id_: str, expected: dict[str, Any]) -> None:
        assert answer.pop("session") == id_
        answer["next"] = [(candidate["move"], candidate["probability"]) for candidate in answer["next"]]
        assert answer == expected

    def check(self, id_: str) -> None:
        game = self.games[id_]
        expected = self.expected(game, 0) | {"moves": list(game.moves), "context": dict(game.context)}
        self.compare(self.ok("GET", f"/sessions/{id_}?top_k=100"), id_, expected)

    def choose(self, game: Game, data: st.DataObject, most: int = 4) -> list[str]:
        """Draw moves that may be played after a game's."""
        moves = game.moves
        for _ in range(data.draw(st.integers(1, most))):
            if legal := self.place.replay.legal(game.model, moves):
                moves = (*moves, data.draw(st.sampled_from(legal)))
        return list(moves[len(game.moves) :])

    def new_id(self) -> str:
        self.made += 1
        return f"game-{self.made}"

    @rule(
        target=ids,
        model=st.sampled_from(["chess", "colours"]),
        elo=st.none() | st.integers(800, 2400),
        data=st.data(),
    )
    def create(self, model: str, elo: int | None, data: st.DataObject) -> str:
        context: Context = (("white_elo", elo),) if elo and model == "chess" else ()
        game, id_ = Game(model, context), self.new_id()
        moves = self.choose(game, data)
        body = {"session": id_, "model": model, "context": dict(context), "moves": moves, "top_k": 100}
        self.games[id_] = replace(game, moves=tuple(moves))
        self.compare(self.ok("POST", "/sessions", body), id_, self.expected(self.games[id_]))
        self.conflict("/sessions", body, "session_exists")
        return id_

    @rule(id_=ids, with_ply=st.booleans(), data=st.data())
    def play(self, id_: str, with_ply: bool, data: st.DataObject) -> None:
        if id_ not in self.games or not (moves := self.choose(self.games[id_], data)):
            return
        game = self.games[id_]
        body = {"moves": moves, "top_k": 100} | ({"ply": len(game.moves)} if with_ply else {})
        after = replace(game, moves=(*game.moves, *moves))
        answer = self.ok("POST", f"/sessions/{id_}/moves", body)
        if with_ply:
            self.sent.append((id_, body, answer | {}))
        self.games[id_] = after
        self.compare(answer | {}, id_, self.expected(after, len(game.moves)))

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        id_, body, answer = data.draw(st.sampled_from(self.sent))
        if id_ not in self.games:
            return
        played = self.games[id_].moves
        if played[body["ply"] : body["ply"] + len(body["moves"])] == tuple(body["moves"]):
            assert self.ok("POST", f"/sessions/{id_}/moves", body) == answer
        elif body["ply"] != len(played):
            assert self.conflict(f"/sessions/{id_}/moves", body, "ply_conflict")["ply"] == len(played)

    @rule(id_=ids, data=st.data())
    def many_steps(self, id_: str, data: st.DataObject) -> None:
        others = list(self.games)
        chosen = [id_, *data.draw(st.lists(st.sampled_from(others), max_size=3, unique=True))] if others else [id_]
        steps = []
        for name in dict.fromkeys(chosen):
            moves = self.choose(self.games[name], data, 2) if name in self.games else ["red"]
            steps.append({"session": name, "moves": moves or ["none"]})
        results = self.ok("POST", "/steps", {"steps": steps, "top_k": 100})["results"]
        for step, result in zip(steps, results, strict=True):
            name = step["session"]
            if name not in self.games or step["moves"] == ["none"]:
                assert result["problem"]["code"] in ("unknown_session", "bad_move", "session_expired")
                continue
            before = self.games[name]
            self.games[name] = replace(before, moves=(*before.moves, *step["moves"]))
            self.compare(result, name, self.expected(self.games[name], len(before.moves)))

    @rule(id_=ids, data=st.data())
    def peek(self, id_: str, data: st.DataObject) -> None:
        if id_ not in self.games or not (moves := self.choose(self.games[id_], data)):
            return
        game = self.games[id_]
        answer = self.ok("POST", f"/sessions/{id_}/peek", {"moves": moves, "top_k": 100})
        self.compare(answer, id_, self.expected(replace(game, moves=(*game.moves, *moves)), len(game.moves)))

    @rule(id_=ids, share=st.floats(0, 1))
    def takeback(self, id_: str, share: float) -> None:
        if id_ not in self.games:
            return
        game = self.games[id_]
        to_ply = int(share * len(game.moves))
        self.games[id_] = replace(game, moves=game.moves[:to_ply])
        for _ in range(2):
            answer = self.ok("POST", f"/sessions/{id_}/takeback", {"to_ply": to_ply, "top_k": 100})
            self.compare(answer, id_, self.expected(self.games[id_]))
        self.conflict(f"/sessions/{id_}/takeback", {"to_ply": to_ply + 1}, "ply_conflict")

    @rule(target=ids, id_=ids, share=st.none() | st.floats(0, 1))
    def fork(self, id_: str, share: float | None) -> Any:
        if id_ not in self.games:
            return multiple()
        game, new = self.games[id_], self.new_id()
        at_ply = len(game.moves) if share is None else int(share * len(game.moves))
        body = {"session": new, "top_k": 100} | ({} if share is None else {"at_ply": at_ply})
        self.games[new] = replace(game, moves=game.moves[:at_ply])
        self.compare(self.ok("POST", f"/sessions/{id_}/fork", body), new, self.expected(self.games[new]))
        return new

    @rule(target=blobs, id_=ids)
    def export(self, id_: str) -> Any:
        if id_ not in self.games:
            return multiple()
        response = self.request("GET", f"/sessions/{id_}/state")
        assert response.status_code == 200
        return self.games[id_], response.content

    @rule(target=ids, blob=blobs, rebuild=st.booleans())
    def restore(self, blob: tuple[Game, bytes], rebuild: bool) -> str:
        (game, content), id_ = blob, self.new_id()
        path = f"/sessions/{id_}/state?rebuild={rebuild}"
        for status in (201, 200):
            response = self.runner.run(self.client.put(path, content=content))
            assert response.status_code == status, response.text
        self.games[id_] = game
        return id_

    @rule(id_=consumes(ids))
    def delete(self, id_: str) -> None:
        there = self.games.pop(id_, None) is not None
        assert self.request("DELETE", f"/sessions/{id_}").status_code == (204 if there else 404)
        assert self.request("GET", f"/sessions/{id_}").json()["code"] == "unknown_session"

    @rule()
    def forget_states(self) -> None:
        self.place.forget(self.store)
        if self.games:
            ids = list(self.games)
            assert all(session is not None and session.cache is None for session in self.store.load_many(ids))

    @rule()
    def restart(self) -> None:
        self.runner.run(self.service.aclose())
        self.store = self.open(self.settings)
        self.client = self.runner.run(self._start())

    @invariant()
    def all_are_listed(self) -> None:
        listed, after = {}, ""
        while after is not None:
            page = self.ok("GET", f"/sessions?limit=7{after and f'&after={after}'}")
            listed |= {item["session"]: (item["model"]["name"], item["ply"]) for item in page["sessions"]}
            after = page["after"]
        assert listed == {id_: (game.model, len(game.moves)) for id_, game in self.games.items()}


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("artifacts")
    write_artifact(root / "chess" / "1", load_game({"name": "chess"}))
    write_artifact(root / "colours" / "1", TokenGame(COLOURS))
    return root


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with ValkeyServer(tmp_path_factory.mktemp("valkey")) as server:
        yield server


def forget_states(store: SessionStore) -> None:
    store.forget(time.time_ns() // 1_000_000 + 2 * DAY)


def in_memory(chosen: Settings) -> tuple[Settings, Callable[[Settings], SessionStore]]:
    """A restart finds what was there: the store itself outlives the service."""
    store = open_store(chosen)
    return chosen, lambda _: store


@pytest.fixture(params=["memory", "lmdb", "valkey"])
def place(request: pytest.FixtureRequest, artifacts: Path, tmp_path: Path) -> Place:
    chosen = Settings(artifacts=artifacts, watch_seconds=0, sweep_seconds=3600, fsync=False)
    replay = Replay(artifacts)
    if request.param == "memory":
        return Place(replay, lambda: in_memory(chosen.model_copy(update={"store": "memory"})), forget_states)
    if request.param == "lmdb":
        folders = (tmp_path / str(number) for number in count())
        return Place(replay, lambda: (chosen.model_copy(update={"data_dir": next(folders)}), open_store), forget_states)
    url = request.getfixturevalue("server").url

    def begin() -> tuple[Settings, Callable[[Settings], SessionStore]]:
        with valkey.Valkey.from_url(url) as server:
            server.flushall()
        return chosen.model_copy(update={"store": url}), open_store

    def forget(_: SessionStore) -> None:
        with valkey.Valkey.from_url(url) as server:
            for key in server.scan_iter("nextply:*:cache"):
                server.delete(key)

    return Place(replay, begin, forget)


def test_a_session_is_what_a_replay_of_its_moves_is_whatever_happened_to_it(place: Place, full: bool):
    run_state_machine_as_test(
        type("Lives", (Lives,), {"place": place}),
        settings=settings(
            deadline=None,
            max_examples=200 if full else 8,
            stateful_step_count=30,
            suppress_health_check=list(HealthCheck),
        ),
    )
