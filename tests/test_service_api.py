"""The HTTP interface, through the application: sessions, retries, conflicts, notations, games, descriptions."""

import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from model.games import TokenGame, load_game
from service.app import create_app
from service.engine import Engine
from service.predictor import Predictor
from service.sessions import Commit, Found, Limits, MemoryStore, Page, Session
from service.settings import Settings
from tests.serving import (
    COLOURS,
    PAGES,
    Client,
    play_one_by_one,
    predict_one,
    random_game,
    read_problem,
    serving,
    write_artifact,
)

pytestmark = pytest.mark.anyio

KNIGHTS = ["Nf3", "Nf6", "Ng1", "Ng8"] * 3
FOOLS_MATE = ["f3", "e5", "g4", "Qh4#"]


async def open_session(client: Client, moves: list[str] | None = None, model: str = "chess", id_: str = "game") -> Any:
    return await client.ok("POST", "/sessions", {"session": id_, "model": model, "moves": moves or []})


async def play(client: Client, moves: list[str], ply: int | None = None, id_: str = "game") -> httpx.Response:
    return await client.post(f"/sessions/{id_}/moves", json={"moves": moves, "ply": ply})


# Sessions from their opening to their end


async def test_a_session_without_an_id_is_given_one_of_its_own(client: Client):
    responses = [await client.post("/sessions", json={}) for _ in range(2)]
    ids = [response.json()["session"] for response in responses]
    assert [response.status_code for response in responses] == [201, 201]
    assert [response.headers["location"] for response in responses] == [f"/sessions/{id_}" for id_ in ids]
    assert len(set(ids)) == 2
    assert (await client.ok("GET", responses[0].headers["location"]))["session"] == ids[0]


async def test_a_session_can_open_with_moves_and_context(client: Client):
    context = {"white_elo": 1500, "black_elo": None, "time_control": "600+5"}
    body = {"session": "game", "moves": ["e4", "c7c5"], "context": context, "top_k": 3}
    created = await client.ok("POST", "/sessions", body)
    assert (created["session"], created["ply"], len(created["next"])) == ("game", 2, 3)
    session = await client.ok("GET", "/sessions/game?top_k=3")
    assert session["context"] == {"white_elo": 1500, "time_control": "600+5"}
    assert session["moves"] == ["e2e4", "c7c5"]
    assert session["next"] == created["next"]
    assert session["model"] == created["model"] == {"name": "chess", "version": "1"}


async def test_an_id_that_is_in_use_is_refused(client: Client):
    await open_session(client, ["e4"])
    problem = await client.problem("POST", "/sessions", {"session": "game"})
    assert (problem["status"], problem["code"]) == (409, "session_exists")
    assert (await client.ok("GET", "/sessions/game"))["ply"] == 1


async def test_of_many_that_open_the_same_id_at_once_one_does(client: Client):
    bodies = [{"session": "game", "moves": [move]} for move in ("e4", "d4", "c4", "Nf3")]
    responses = await asyncio.gather(*(client.post("/sessions", json=body) for body in bodies))
    assert sorted(response.status_code for response in responses) == [201, 409, 409, 409]


async def test_a_deleted_session_is_unknown_and_its_id_is_free(client: Client):
    await open_session(client, ["e4"])
    assert (await client.delete("/sessions/game")).status_code == 204
    for method, path, body in (
        ("GET", "/sessions/game", None),
        ("DELETE", "/sessions/game", None),
        ("POST", "/sessions/game/moves", {"moves": ["e5"]}),
    ):
        problem = await client.problem(method, path, body)
        assert (problem["status"], problem["code"]) == (404, "unknown_session")
    assert (await open_session(client))["ply"] == 0


async def test_a_retry_never_meets_another_session_of_the_same_id(client: Client):
    await open_session(client, ["e4"])
    await client.ok("DELETE", "/sessions/game")
    await open_session(client, ["d4"])
    assert read_problem(await play(client, ["e4"], ply=0))["code"] == "ply_conflict"


# Plies and retries


async def test_other_moves_at_a_stale_ply_are_a_conflict_that_says_where_the_session_is(client: Client):
    await open_session(client, ["e4", "e5", "Nf3"])
    for moves in (["d4"], ["e4", "c5"], ["e4", "e5", "Nf3", "Nc6"], ["e5"], ["nonsense"]):
        problem = read_problem(await play(client, moves, ply=0))
        assert (problem["status"], problem["code"], problem["ply"]) == (409, "ply_conflict", 3)
    assert (await client.ok("GET", "/sessions/game"))["moves"] == ["e2e4", "e7e5", "g1f3"]


@pytest.mark.parametrize("ply", [4, 5, 1000, 10**30])
async def test_a_ply_in_the_future_is_a_conflict(client: Client, ply: int):
    await open_session(client, ["e4", "e5", "Nf3"])
    problem = read_problem(await play(client, ["Nc6"], ply=ply))
    assert (problem["status"], problem["code"], problem["ply"]) == (409, "ply_conflict", 3)


async def test_a_retry_gets_the_same_body_and_applies_nothing_twice(client: Client):
    await open_session(client, ["e4"])
    first = await play(client, ["e5", "Nf3"], ply=1)
    again = await play(client, ["e5", "Nf3"], ply=1)
    assert first.status_code == again.status_code == 200
    assert first.content == again.content
    assert (await client.ok("GET", "/sessions/game"))["moves"] == ["e2e4", "e7e5", "g1f3"]


async def test_a_retry_gets_the_same_body_also_when_the_game_went_on(client: Client):
    await open_session(client)
    first = [await play(client, [move], ply=ply) for ply, move in enumerate(["e4", "e5", "Nf3", "Nc6", "Bb5"])]
    again = [await play(client, [move], ply=ply) for ply, move in enumerate(["e4", "e5", "Nf3", "Nc6", "Bb5"])]
    assert [response.content for response in again] == [response.content for response in first]
    assert (await client.ok("GET", "/sessions/game"))["ply"] == 5


async def test_a_retry_in_the_other_notation_is_the_same_move(client: Client):
    await open_session(client)
    first = await play(client, ["e4", "e5", "Nf3"], ply=0)
    again = await play(client, ["e2e4", "e7e5", "g1f3"], ply=0)
    assert (again.status_code, again.content) == (200, first.content)


async def test_a_retry_of_the_last_move_of_a_game_gets_the_same_body(client: Client):
    await open_session(client, FOOLS_MATE[:3])
    first = await play(client, FOOLS_MATE[3:], ply=3)
    again = await play(client, FOOLS_MATE[3:], ply=3)
    assert (again.status_code, again.content) == (200, first.content)


async def test_an_illegal_move_is_named_and_nothing_of_the_request_is_applied(client: Client):
    await open_session(client, ["e4"])
    before = await client.ok("GET", "/sessions/game")
    problem = read_problem(await play(client, ["e5", "Nf3", "Ke7xe4", "Bb5", "a6"]))
    assert (problem["status"], problem["code"]) == (422, "bad_move")
    assert (problem["index"], problem["move"]) == (2, "Ke7xe4")
    assert "move 2" in problem["detail"]
    assert await client.ok("GET", "/sessions/game") == before


async def test_an_illegal_move_in_a_prediction_is_named_with_its_sequence(client: Client):
    problem = await client.problem("POST", "/predict", {"sequences": [["e4"], ["e4", "e5", "e5"]]})
    assert (problem["code"], problem["sequence"], problem["index"]) == ("bad_move", 1, 2)
    assert problem["detail"].startswith("sequence 1, move 2: ")


# Several at once


async def test_moves_without_a_ply_are_all_applied_in_some_order(client: Client):
    await open_session(client, model="colours")
    sent = [COLOURS[number % 5] for number in range(40)]
    responses = await asyncio.gather(*(play(client, [colour]) for colour in sent))
    assert {response.status_code for response in responses} == {200}
    session = await client.ok("GET", "/sessions/game")
    assert Counter(session["moves"]) == Counter(sent)
    answers = {
        response.json()["ply"]: (colour, response.json()) for colour, response in zip(sent, responses, strict=True)
    }
    assert sorted(answers) == list(range(1, 41))
    assert [answers[ply][0] for ply in range(1, 41)] == session["moves"]
    assert [answers[ply][1]["surprisal"][0] for ply in range(1, 41)] == session["surprisal"]


async def test_the_same_moves_with_the_same_ply_sent_at_once_are_applied_once(client: Client):
    await open_session(client, ["e4"])
    responses = await asyncio.gather(*(play(client, ["e5", "Nf3"], ply=1) for _ in range(20)))
    assert {response.status_code for response in responses} == {200}
    assert len({response.content for response in responses}) == 1
    assert (await client.ok("GET", "/sessions/game"))["moves"] == ["e2e4", "e7e5", "g1f3"]


async def test_of_different_moves_with_the_same_ply_sent_at_once_one_is_applied(client: Client):
    await open_session(client, ["e4"])
    replies = ["e5", "c5", "e6", "c6", "d6"]
    responses = await asyncio.gather(*(play(client, [reply], ply=1) for reply in replies))
    assert sorted(response.status_code for response in responses) == [200, 409, 409, 409, 409]
    assert {response.json()["ply"] for response in responses} == {2}
    assert (await client.ok("GET", "/sessions/game"))["ply"] == 2


async def test_a_session_deleted_while_it_is_played_in_does_not_come_back(client: Client):
    await open_session(client, model="colours")
    responses = await asyncio.gather(*(play(client, ["red"]) for _ in range(5)), client.delete("/sessions/game"))
    assert {response.status_code for response in responses} <= {200, 204, 404}
    assert responses[-1].status_code == 204
    assert (await client.problem("GET", "/sessions/game"))["code"] == "unknown_session"


# Games and notations


async def test_uci_and_san_are_both_read_and_answered_as_uci_with_san(client: Client):
    await open_session(client, ["e2e4", "e5", "g1f3", "Nc6", "Bb5", "g8f6", "O-O"])
    session = await client.ok("GET", "/sessions/game?top_k=100")
    assert session["moves"] == ["e2e4", "e7e5", "g1f3", "b8c6", "f1b5", "g8f6", "e1g1"]
    written = {move["move"]: move["san"] for move in session["next"]}
    assert written["f6e4"] == "Nxe4"
    assert len(written) == 28


async def test_after_checkmate_nothing_comes_next_and_nothing_can_be_played(client: Client):
    await open_session(client)
    answer = (await play(client, FOOLS_MATE)).json()
    assert (answer["ply"], answer["next"], len(answer["surprisal"])) == (4, [], 4)
    assert (await client.ok("GET", "/sessions/game"))["next"] == []
    for body in ({"moves": ["a3"]}, {"moves": ["a3"], "ply": 4}):
        problem = await client.problem("POST", "/sessions/game/moves", body)
        assert (problem["status"], problem["code"], problem["index"]) == (422, "bad_move", 0)
        assert "the game is over" in problem["detail"]
    assert (await predict_one(client, "chess", FOOLS_MATE))["next"] == []


@pytest.mark.parametrize("model", ["chess", "chess-fp32", "othello", "colours", "pages"])
async def test_every_kind_of_game_is_played_and_predicted_alike(client: Client, artifacts: Path, model: str):
    games = {"othello": load_game({"name": "othello"}), "colours": TokenGame(COLOURS), "pages": TokenGame(PAGES)}
    moves = random_game(games.get(model, load_game({"name": "chess"})), seed=5, plies=60)
    created = await client.ok("POST", "/sessions", {"session": "game", "model": model, "top_k": 100})
    answers = await play_one_by_one(client, "game", moves)
    session = await client.ok("GET", "/sessions/game?top_k=100")
    predicted = await predict_one(client, model, moves, score=True, each_ply=True)
    assert session["moves"] == predicted["moves"] == moves
    assert session["surprisal"] == predicted["surprisal"]
    assert [created["next"], *(answer["next"] for answer in answers)] == [ply["next"] for ply in predicted["plies"]]
    for move, ply, surprisal in zip(moves, predicted["plies"], predicted["surprisal"], strict=False):
        following = {candidate["move"]: candidate["probability"] for candidate in ply["next"]}
        assert math.fsum(following.values()) == pytest.approx(1, abs=1e-6)
        assert list(following.values()) == sorted(following.values(), reverse=True)
        assert following[move] == pytest.approx(math.exp(-surprisal), rel=1e-6)


async def test_two_models_of_the_same_kind_of_game_keep_their_vocabularies_apart(client: Client):
    await open_session(client, list(COLOURS[:2]), model="colours", id_="colours")
    await open_session(client, list(PAGES[:2]), model="pages", id_="pages")
    for id_, names in (("colours", COLOURS), ("pages", PAGES)):
        session = await client.ok("GET", f"/sessions/{id_}")
        assert {move["move"] for move in session["next"]} <= set(names)
    assert read_problem(await play(client, ["home"], id_="colours"))["code"] == "bad_move"
    assert (await play(client, ["home"], id_="pages")).status_code == 200


async def test_without_rules_only_what_is_in_the_vocabulary_is_read(client: Client):
    await open_session(client, ["red"], model="colours")
    problem = read_problem(await play(client, ["green", "purple"]))
    assert (problem["code"], problem["index"]) == ("bad_move", 1)


# Predictions


async def test_predictions_come_in_the_order_of_the_sequences(client: Client):
    sequences = [["e4"], [], {"moves": ["d4", "d5"]}]
    answer = await client.ok("POST", "/predict", {"sequences": sequences, "top_k": 1})
    assert answer["model"] == {"name": "chess", "version": "1"}
    assert [prediction["ply"] for prediction in answer["predictions"]] == [1, 0, 2]
    assert [len(prediction["next"]) for prediction in answer["predictions"]] == [1, 1, 1]
    assert set(answer["predictions"][0]) == {"ply", "next"}


async def test_only_what_is_asked_for_is_told(client: Client):
    scored = await predict_one(client, "chess", ["e4", "e5"], score=True)
    traced = await predict_one(client, "chess", ["e4", "e5"], each_ply=True)
    assert set(scored) == {"ply", "next", "surprisal"}
    assert set(traced) == {"ply", "next", "moves", "plies"}
    assert scored["next"] == traced["next"] == traced["plies"][2]["next"]
    assert traced["moves"] == ["e2e4", "e7e5"]


async def test_over_all_moves_the_illegal_ones_have_a_share_and_no_san(client: Client):
    legal = await predict_one(client, "chess", ["e4"])
    raw = await predict_one(client, "chess", ["e4"], legal_only=False, score=True)
    assert len(legal["next"]) == 20
    assert len(raw["next"]) == 100
    chances = {move["move"]: move["probability"] for move in raw["next"]}
    for move in legal["next"]:
        assert move["probability"] > chances.get(move["move"], 0)
    with_san = {move["move"] for move in raw["next"] if "san" in move}
    assert with_san == set(chances) & {move["move"] for move in legal["next"]}
    scored = await predict_one(client, "chess", ["e4"], score=True)
    assert raw["surprisal"][0] > scored["surprisal"][0]


async def test_a_model_is_found_by_its_name_or_by_name_and_version(client: Client):
    for reference in ("chess", "chess/1", None):
        body = {"model": reference, "sequences": [["e4"]]}
        assert (await client.ok("POST", "/predict", body))["model"] == {"name": "chess", "version": "1"}
    for reference in ("draughts", "chess/2", "chess/1/1", "/", "CHESS"):
        problem = await client.problem("POST", "/predict", {"model": reference, "sequences": [["e4"]]})
        assert (problem["status"], problem["code"]) == (404, "unknown_model")


# Parts that fail


def fail(*_: Any) -> Any:
    raise OSError("out of order")


async def test_a_failure_of_the_engine_applies_nothing_and_the_request_can_be_sent_again(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    await open_session(client, ["e4"])
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "step", fail)
        problems = [
            read_problem(await play(client, ["e5"], ply=1)),
            await client.problem("POST", "/predict", {"sequences": [["e4"], ["d4", "d5"]]}),
            await client.problem("POST", "/sessions", {"session": "other", "moves": ["a4"]}),
        ]
    assert {(problem["status"], problem["code"]) for problem in problems} == {(503, "engine_failed")}
    assert "out of order" not in str(problems)
    assert "out of order" in caplog.text
    assert (await client.ok("GET", "/sessions/game"))["moves"] == ["e2e4"]
    assert (await client.problem("GET", "/sessions/other"))["code"] == "unknown_session"
    assert (await play(client, ["e5"], ply=1)).json()["ply"] == 2


class BreakableStore(MemoryStore):
    """A store in memory that fails while it is broken."""

    broken = False

    def _check(self) -> None:
        if self.broken:
            raise OSError("out of order")

    def load_many(self, ids: Sequence[str]) -> list[Found]:
        self._check()
        return super().load_many(ids)

    def has_many(self, sessions: Sequence[Session]) -> list[bool]:
        self._check()
        return super().has_many(sessions)

    def commit_many(self, commits: Sequence[Commit], waits: Any = None) -> list[bool]:
        self._check()
        return super().commit_many(commits)

    def delete_many(self, ids: Sequence[str]) -> list[bool]:
        self._check()
        return super().delete_many(ids)

    def scan(self, after: str | None, count: int, prefix: str) -> Page:
        self._check()
        return super().scan(after, count, prefix)


async def test_a_failure_of_the_store_is_told_by_requests_and_by_health(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    store = BreakableStore(Limits(1_000_000, 1_000_000, 100, 100))
    monkeypatch.setattr("service.app.open_store", lambda _: store)
    async with serving(settings) as client:
        await open_session(client, ["e4"])
        store.broken = True
        problems = [
            read_problem(await play(client, ["e5"], ply=1)),
            await client.problem("POST", "/sessions", {"session": "other"}),
            await client.problem("GET", "/sessions/game"),
            await client.problem("GET", "/sessions"),
            await client.problem("DELETE", "/sessions/game"),
            await client.problem("GET", "/health/ready"),
        ]
        assert (await client.get("/health/live")).status_code == 200
        assert (await predict_one(client, "chess", ["e4"]))["ply"] == 1
        store.broken = False
        assert (await client.get("/health/ready")).status_code == 200
        assert (await play(client, ["e5"], ply=1)).json()["ply"] == 2
    assert {(problem["status"], problem["code"]) for problem in problems} == {(503, "store_failed")}
    assert "out of order" not in str(problems)
    assert "out of order" in caplog.text


async def test_what_nobody_thought_of_is_a_problem_that_tells_nothing_of_the_inside(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    app = create_app(settings.model_copy(update={"store": "memory"}))
    monkeypatch.setattr(Predictor, "predict", fail)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        response = await client.post("/predict", json={"sequences": [["e4"]]})
    assert (response.status_code, response.json()["code"]) == (500, "internal_error")
    assert "out of order" not in response.text


# Models that are replaced


async def told_by(settings: Settings, id_: str, model: str, moves: list[str]) -> tuple[Any, Any, Any]:
    """Give a session as it stands, the same game as a fresh session, and an answer to one move more in the first."""
    async with serving(settings) as client:
        session = await client.ok("GET", f"/sessions/{id_}?top_k=100")
        await client.ok("POST", "/sessions", {"session": f"{id_}-fresh", "model": model, "moves": moves})
        fresh = await client.ok("GET", f"/sessions/{id_}-fresh?top_k=100")
        played = [(await play(client, ["blue"], id_=name)).json() for name in (id_, f"{id_}-fresh")]
        after = [await client.ok("GET", f"/sessions/{name}?top_k=100") for name in (id_, f"{id_}-fresh")]
    for answer in (session, fresh, *played, *after):
        del answer["session"]
    assert played[0] == played[1]
    assert after[0] == after[1]
    return session, fresh, played[0]


async def test_a_session_is_read_anew_when_its_model_was_exported_again(tmp_path: Path):
    game, moves = TokenGame(COLOURS), ["red", "green", "green", "black", "white"]
    settings = Settings(artifacts=tmp_path / "artifacts", data_dir=tmp_path / "data", model="colours")
    write_artifact(settings.artifacts / "colours" / "1", game, seed=1)
    async with serving(settings) as client:
        await open_session(client, moves, model="colours")
        before = await client.ok("GET", "/sessions/game?top_k=100")
    write_artifact(settings.artifacts / "colours" / "1", game, seed=2)
    session, fresh, _ = await told_by(settings, "game", "colours", moves)
    assert session == fresh
    assert session["next"] != before["next"]
    assert session["surprisal"] != before["surprisal"]


async def test_a_session_is_not_read_with_the_moves_of_another_vocabulary(tmp_path: Path):
    settings = Settings(artifacts=tmp_path / "artifacts", data_dir=tmp_path / "data", model="words")
    write_artifact(settings.artifacts / "words" / "1", TokenGame(COLOURS))
    async with serving(settings) as client:
        await open_session(client, ["red", "green"], model="words")
    write_artifact(settings.artifacts / "words" / "1", TokenGame(reversed(COLOURS)))
    async with serving(settings) as client:
        for method, path, body in [("GET", "", None), ("POST", "/moves", {"moves": ["red"]})]:
            problem = await client.problem(method, f"/sessions/game{path}", body)
            assert (problem["status"], problem["code"]) == (409, "model_changed")
        await client.ok("DELETE", "/sessions/game")


async def test_a_session_stays_with_its_version_while_that_is_there(tmp_path: Path):
    game, moves = TokenGame(COLOURS), ["red", "green", "green", "black", "white"]
    settings = Settings(artifacts=tmp_path / "artifacts", data_dir=tmp_path / "data", model="colours")
    write_artifact(settings.artifacts / "colours" / "9", game, seed=1)
    async with serving(settings) as client:
        for id_ in ("first", "second"):
            await open_session(client, moves, model="colours", id_=id_)
        before = await client.ok("GET", "/sessions/first?top_k=100")
    write_artifact(settings.artifacts / "colours" / "10", game, seed=2)
    session, fresh, _ = await told_by(settings, "first", "colours/9", moves)
    assert session == fresh
    assert (session["model"]["version"], session["next"]) == ("9", before["next"])
    (settings.artifacts / "colours" / "9").rename(tmp_path / "retired")
    session, fresh, _ = await told_by(settings, "second", "colours", moves)
    assert session.pop("upgraded_from") == "9"
    assert session == fresh
    assert session["model"]["version"] == "10"
    assert session["next"] != before["next"]


# Operations and descriptions


async def test_models_are_listed_with_what_they_are(client: Client):
    models = {model["name"]: model for model in (await client.ok("GET", "/models"))["models"]}
    assert sorted(models) == ["chess", "chess-fp32", "colours", "othello", "pages"]
    assert models["chess"] == {
        "name": "chess",
        "version": "1",
        "default": True,
        "game": "chess",
        "moves": 1860,
        "context": ["white_elo", "black_elo", "time_control"],
        "cell": "lstm",
        "precision": "int8",
    }
    assert [model["default"] for model in models.values()].count(True) == 1
    assert models["pages"]["precision"] == "fp32"


async def test_health_says_that_the_service_lives_and_is_ready(client: Client):
    assert await client.ok("GET", "/health/live") == {"status": "live"}
    assert await client.ok("GET", "/health/ready") == {"status": "ready"}


async def test_the_documentation_is_served(client: Client):
    page = await client.get("/docs")
    assert page.status_code == 200
    assert "/openapi.json" in page.text
    description = await client.ok("GET", "/openapi.json")
    assert description["info"]["title"] == "Nextply"
    assert {path for path in description["paths"] if not path.startswith("/v2")} == {
        "/predict",
        "/sessions",
        "/sessions/{session}",
        "/sessions/{session}/moves",
        "/sessions/{session}/peek",
        "/sessions/{session}/takeback",
        "/sessions/{session}/fork",
        "/sessions/{session}/explain",
        "/sessions/{session}/state",
        "/sessions/{session}/events",
        "/steps",
        "/models",
        "/models/reload",
        "/health/live",
        "/health/ready",
        "/metrics",
    }


def examples_of(description: Any, path: str) -> list[Any]:
    """Give the examples of a route's request body."""
    content = description["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    name = content["schema"]["$ref"].rpartition("/")[2]
    examples: list[Any] = description["components"]["schemas"][name]["examples"]
    return examples


async def test_every_example_of_the_description_runs(client: Client):
    description = await client.ok("GET", "/openapi.json")
    for example in examples_of(description, "/predict"):
        await client.ok("POST", "/predict", example)
    for example in examples_of(description, "/steps"):
        for step in example["steps"]:
            await client.ok("POST", "/sessions", {"session": step["session"]})
        results = (await client.ok("POST", "/steps", example))["results"]
        assert [result["ply"] for result in results] == [1, 1]
    sessions = [path for path in description["paths"] if path.startswith("/sessions/{session}/")]
    bodies = {path: examples_of(description, path) for path in sessions if "post" in description["paths"][path]}
    assert [path.rpartition("/")[2] for path in bodies] == ["moves", "peek", "takeback", "fork"]
    for opening in examples_of(description, "/sessions"):
        for path, examples in bodies.items():
            for example in examples:
                at = example.get("to_ply") or example.get("at_ply") or 0
                opened = await client.ok("POST", "/sessions", opening | ({"moves": KNIGHTS} if at else {}))
                await client.ok("POST", path.replace("{session}", opened["session"]), example)


async def test_every_reference_of_the_description_leads_somewhere(client: Client):
    description = await client.ok("GET", "/openapi.json")
    references, todo = set(), [description]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            references |= {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
            todo += value.values()
        elif isinstance(value, list):
            todo += value
    schemas = {f"#/components/schemas/{name}" for name in description["components"]["schemas"]}
    assert references <= schemas
