"""What a session can do beside going on: look ahead, go back, branch, be listed, be carried elsewhere, be forgotten."""

import asyncio
import hashlib
import struct
from array import array
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.sessions import Cache, blob
from service.settings import Settings
from tests.serving import KASPAROV_TOPALOV, Client, play_one_by_one, read_problem, serving

pytestmark = pytest.mark.anyio

MOVES = ["e4", "e5", "Nf3", "Nc6", "Bb5"]


async def open_game(client: Client, moves: list[str] | None = None, id_: str = "game", model: str = "chess") -> Any:
    return await client.ok("POST", "/sessions", {"session": id_, "model": model, "moves": moves or MOVES})


async def whole(client: Client, id_: str = "game") -> Any:
    """Everything of a session but its name."""
    session = await client.ok("GET", f"/sessions/{id_}?top_k=100")
    del session["session"]
    return session


async def get_blob(client: Client, id_: str = "game") -> bytes:
    response = await client.get(f"/sessions/{id_}/state")
    assert (response.status_code, response.headers["content-type"]) == (200, "application/octet-stream")
    return response.content


async def put_blob(client: Client, content: bytes, id_: str = "copy", query: str = "") -> Any:
    return await client.put(f"/sessions/{id_}/state{query}", content=content)


# Looking ahead, going back, branching


async def test_a_peek_answers_as_a_move_would_and_keeps_nothing(client: Client):
    await open_game(client)
    before = await whole(client)
    ahead = await client.ok("POST", "/sessions/game/peek", {"moves": ["a6", "Ba4"], "ply": 5, "top_k": 100})
    assert await whole(client) == before
    assert await client.ok("POST", "/sessions/game/moves", {"moves": ["a6", "Ba4"], "ply": 5, "top_k": 100}) == ahead


async def test_a_peek_from_another_ply_or_along_an_illegal_move_is_refused(client: Client):
    await open_game(client)
    problem = await client.problem("POST", "/sessions/game/peek", {"moves": ["a6"], "ply": 4})
    assert (problem["status"], problem["code"], problem["ply"]) == (409, "ply_conflict", 5)
    problem = await client.problem("POST", "/sessions/game/peek", {"moves": ["a6", "Ke3"]})
    assert (problem["code"], problem["index"]) == ("bad_move", 1)


async def test_a_takeback_leaves_what_a_fresh_game_of_the_moves_left_would_be(client: Client):
    await open_game(client)
    await play_one_by_one(client, "game", ["a6", "Ba4"], ply=5)
    answer = await client.ok("POST", "/sessions/game/takeback", {"to_ply": 3, "top_k": 100})
    await open_game(client, MOVES[:3], "fresh")
    left = await whole(client)
    assert left == await whole(client, "fresh")
    assert (answer["ply"], answer["next"]) == (3, left["next"])


async def test_a_takeback_can_be_sent_again_and_says_where_the_session_is_if_it_cannot_be(client: Client):
    await open_game(client)
    for _ in range(2):
        assert (await client.ok("POST", "/sessions/game/takeback", {"to_ply": 2, "ply": 5}))["ply"] == 2
    for body in ({"to_ply": 3}, {"to_ply": 1, "ply": 5}):
        problem = await client.problem("POST", "/sessions/game/takeback", body)
        assert (problem["status"], problem["code"], problem["ply"]) == (409, "ply_conflict", 2)
    assert (await client.ok("POST", "/sessions/game/takeback", {"to_ply": 0}))["ply"] == 0


async def test_a_retry_of_moves_that_were_taken_back_is_no_retry(client: Client):
    await open_game(client)
    await client.ok("POST", "/sessions/game/takeback", {"to_ply": 2})
    await client.ok("POST", "/sessions/game/moves", {"moves": ["d4"], "ply": 2})
    problem = await client.problem("POST", "/sessions/game/moves", {"moves": ["Nf3"], "ply": 2})
    assert (problem["code"], problem["ply"]) == ("ply_conflict", 3)


async def test_a_fork_shares_the_past_and_nothing_of_what_comes(client: Client):
    await open_game(client)
    fork = await client.request("POST", "/sessions/game/fork", json={"at_ply": 4})
    id_ = fork.json()["session"]
    assert (fork.status_code, fork.headers["location"], fork.json()["ply"]) == (201, f"/sessions/{id_}", 4)
    await client.ok("POST", f"/sessions/{id_}/moves", {"moves": ["Bc4"]})
    assert (await whole(client, id_))["moves"] == ["e2e4", "e7e5", "g1f3", "b8c6", "f1c4"]
    assert (await whole(client))["moves"][4] == "f1b5"


async def test_a_fork_takes_an_id_that_is_free_and_a_ply_that_was_reached(client: Client):
    await open_game(client)
    assert (await client.ok("POST", "/sessions/game/fork", {"session": "line"}))["ply"] == 5
    assert (await client.problem("POST", "/sessions/game/fork", {"session": "line"}))["code"] == "session_exists"
    assert (await client.problem("POST", "/sessions/game/fork", {"at_ply": 6}))["code"] == "ply_conflict"
    assert (await client.problem("POST", "/sessions/nobody/fork", {}))["code"] == "unknown_session"


async def test_moves_and_takebacks_sent_at_once_are_applied_in_the_order_sent(client: Client):
    await open_game(client, ["e4"])
    await asyncio.gather(
        client.ok("POST", "/sessions/game/moves", {"moves": ["e5", "Nf3"]}),
        client.ok("POST", "/sessions/game/takeback", {"to_ply": 1}),
        client.ok("POST", "/sessions/game/moves", {"moves": ["c5"]}),
    )
    assert (await whole(client))["moves"] == ["e2e4", "c7c5"]


async def test_a_long_game_can_do_all_that_a_short_one_can(client: Client):
    moves = ["red", "green", "blue"] * 110
    await open_game(client, moves, "game", "colours")
    await client.ok("POST", "/sessions/game/takeback", {"to_ply": 320})
    await client.ok("POST", "/sessions/game/fork", {"session": "fork", "at_ply": 310})
    await client.ok("POST", "/sessions/fork/moves", {"moves": moves[310:320], "ply": 310})
    assert (await put_blob(client, await get_blob(client))).status_code == 201
    assert await whole(client) == await whole(client, "fork") == await whole(client, "copy")


# Many sessions in one request


async def test_each_of_many_steps_succeeds_or_fails_on_its_own(client: Client):
    for id_ in ("one", "other"):
        await open_game(client, ["e4"], id_)
    steps = [
        {"session": "one", "moves": ["e5"], "ply": 1},
        {"session": "nobody", "moves": ["e5"]},
        {"session": "other", "moves": ["e4"]},
        {"session": "one", "moves": ["Nf3", "Nc6"]},
        {"session": "other", "moves": ["c5"], "ply": 7},
    ]
    results = (await client.ok("POST", "/steps", {"steps": steps, "top_k": 1}))["results"]
    assert [result["session"] for result in results] == ["one", "nobody", "other", "one", "other"]
    assert [results[0]["ply"], results[3]["ply"]] == [2, 4]
    codes = [results[index]["problem"]["code"] for index in (1, 2, 4)]
    assert codes == ["unknown_session", "bad_move", "ply_conflict"]
    assert (await whole(client, "other"))["ply"] == 1


async def test_steps_answer_as_single_requests_do(client: Client):
    for id_ in ("one", "other"):
        await open_game(client, ["e4"], id_)
    (step,) = (await client.ok("POST", "/steps", {"steps": [{"session": "one", "moves": ["e5"]}]}))["results"]
    assert step | {"session": "other"} == await client.ok("POST", "/sessions/other/moves", {"moves": ["e5"]})


async def test_more_steps_than_a_request_may_hold_are_refused(settings: Settings):
    async with serving(settings.model_copy(update={"max_sequences": 2, "max_plies": 4})) as client:
        many = [{"session": str(number), "moves": ["e4"]} for number in range(3)]
        long = [{"session": "0", "moves": ["e4"] * 5}]
        for steps in (many, long):
            assert (await client.problem("POST", "/steps", {"steps": steps}))["code"] == "too_large"


# Listings


async def listed(client: Client, query: str = "") -> list[str]:
    """Go through a whole listing; give the ids."""
    ids, after = [], None
    while True:
        page = await client.ok("GET", f"/sessions?{query}" + (f"&after={after}" if after else ""))
        ids += [item["session"] for item in page["sessions"]]
        if (after := page["after"]) is None:
            return ids


async def test_a_listing_gives_every_session_once_whatever_the_size_of_its_pages(client: Client):
    ids = {f"game-{number}" for number in range(12)}
    for id_ in ids:
        await open_game(client, ["red"], id_, "colours")
    for limit in (1, 5, 12, 100):
        found = await listed(client, f"limit={limit}")
        assert (len(found), set(found)) == (12, ids)


async def test_a_listing_says_of_each_session_what_it_is_and_nothing_of_its_moves(client: Client):
    body = {"session": "game", "moves": ["e4"], "context": {"white_elo": 1500}}
    await client.ok("POST", "/sessions", body)
    (item,) = (await client.ok("GET", "/sessions"))["sessions"]
    assert 0 <= item.pop("idle_seconds") < 60
    model = {"name": "chess", "version": "1"}
    assert item == {"session": "game", "model": model, "context": {"white_elo": 1500}, "ply": 1}


async def test_a_listing_gives_only_what_is_asked_for(client: Client):
    await open_game(client, ["e4"], "a-1")
    await open_game(client, MOVES, "a-2")
    await open_game(client, ["red"] * 6, "b-1", "colours")
    for query, expected in {
        "prefix=a-": ["a-1", "a-2"],
        "model=colours": ["b-1"],
        "model=chess/1&min_ply=2": ["a-2"],
        "model=chess/2": [],
        "min_ply=5": ["a-2", "b-1"],
        "min_idle=600": [],
        "limit=1": ["a-1", "a-2", "b-1"],
    }.items():
        assert sorted(await listed(client, query)) == expected, query
    for query in ("limit=0", "limit=x", "colour=red", "min_idle=-1"):
        assert read_problem(await client.get(f"/sessions?{query}"))["status"] == 422


# Export and import


async def test_a_session_that_was_carried_to_another_service_goes_on_there_to_the_bit(
    settings: Settings, tmp_path: Path
):
    async with serving(settings) as client:
        await open_game(client, KASPAROV_TOPALOV[:40])
        content = await get_blob(client)
        there = await whole(client)
        after = await client.ok("POST", "/sessions/game/moves", {"moves": KASPAROV_TOPALOV[40:42], "top_k": 100})
    async with serving(settings.model_copy(update={"data_dir": tmp_path / "elsewhere"})) as client:
        response = await put_blob(client, content, "game")
        assert (response.status_code, response.headers["location"]) == (201, "/sessions/game")
        assert response.json()["ply"] == 40
        assert await whole(client) == there
        body = {"moves": KASPAROV_TOPALOV[40:42], "top_k": 100}
        assert await client.ok("POST", "/sessions/game/moves", body) == after


async def test_a_blob_can_be_sent_again_but_takes_no_other_sessions_place(client: Client):
    await open_game(client)
    content = await get_blob(client)
    assert [(await put_blob(client, content)).status_code for _ in range(2)] == [201, 200]
    await client.ok("POST", "/sessions/copy/moves", {"moves": ["a6"]})
    problem = read_problem(await put_blob(client, content))
    assert (problem["status"], problem["code"]) == (409, "session_exists")


async def test_what_is_no_blob_or_not_whole_is_refused(client: Client):
    await open_game(client)
    content = await get_blob(client)
    for index in {0, 20, 40, len(content) // 2, len(content) - 1}:
        damaged = bytearray(content)
        damaged[index] ^= 1
        for bad in (bytes(damaged), content[:index]):
            problem = read_problem(await put_blob(client, bad))
            assert (problem["status"], problem["code"]) == (422, "bad_blob")
    assert (await client.get("/sessions/copy")).status_code == 404


def changed(content: bytes, **changes: Any) -> bytes:
    """A blob whose checksum fits, but which says something else."""
    return blob.pack(replace(blob.unpack(content), **changes))


async def test_a_blob_that_is_whole_is_still_checked_against_rules_model_and_state(client: Client):
    await open_game(client)
    content = await get_blob(client)
    session = blob.unpack(content)
    assert session.cache is not None
    cache = session.cache
    flipped = bytes([cache.state[0] ^ 1]) + cache.state[1:]
    for bad, status, code in [
        (changed(content, moves=(*session.moves, 0)), 422, "bad_move"),
        (changed(content, moves=(*session.moves, 60_000)), 422, "bad_move"),
        (changed(content, context={"white_elo": "strong"}), 422, "bad_context"),
        (changed(content, context={"height": 3}), 422, "bad_context"),
        (changed(content, model="draughts"), 404, "unknown_model"),
        (changed(content, vocabulary="0" * 16), 409, "model_changed"),
        (changed(content, moves=session.moves[:-1]), 409, "state_mismatch"),
        (changed(content, cache=Cache(cache.graph, cache.surprisal, cache.next, flipped)), 409, "state_mismatch"),
        (changed(content, cache=Cache(cache.graph, cache.surprisal, cache.next, b"")), 409, "state_mismatch"),
        (changed(content, cache=Cache("0" * 64, cache.surprisal, cache.next, cache.state)), 409, "model_changed"),
    ]:
        problem = read_problem(await put_blob(client, bad))
        assert (problem["status"], problem["code"]) == (status, code)
    assert (await client.get("/sessions/copy")).status_code == 404


async def test_a_blob_from_another_graph_is_read_anew_if_that_is_asked_for(client: Client):
    await open_game(client)
    session = blob.unpack(await get_blob(client))
    zeros = np.zeros(3, np.float32)
    for number, cache in enumerate((None, Cache("0" * 64, array("f", zeros), zeros, b"?"))):
        content = blob.pack(replace(session, cache=cache))
        assert (await put_blob(client, content, f"copy-{number}", "?rebuild=true")).status_code == 201
        assert await whole(client, f"copy-{number}") == await whole(client)


async def test_a_blob_whose_head_is_nonsense_is_refused(client: Client):
    await open_game(client)
    content = await get_blob(client)
    for old, new in [(b'"chess"', b"[1,2,3]"), (b"{}", b"[]"), (b'["', b'{"'), (b'"1"', b"123")]:
        assert old in content
        body = content[:-32].replace(old, new, 1)
        problem = read_problem(await put_blob(client, body + hashlib.sha256(body).digest()))
        assert (problem["status"], problem["code"]) == (422, "bad_blob")
    body = b"nextply session\n" + struct.pack("<HII", 0, 1, 0) + b"\2"
    assert read_problem(await put_blob(client, body + hashlib.sha256(body).digest()))["code"] == "bad_blob"


# Forgetting


@pytest.fixture
async def forgetful(settings: Settings) -> AsyncIterator[Client]:
    """A service in which sessions lose their state after one second and their log after two."""
    changes = {"state_ttl": 1, "session_ttl": 2, "sweep_seconds": 0.05, "fsync": False}
    async with serving(settings.model_copy(update=changes)) as client:
        yield client


async def test_an_idle_session_goes_on_to_the_bit_after_its_state_was_forgotten(settings: Settings):
    changes = {"max_states": 1, "sweep_seconds": 0.01}
    async with serving(settings) as client:
        await open_game(client, KASPAROV_TOPALOV[:30])
        kept = await whole(client)
        answer = await client.ok("POST", "/sessions/game/peek", {"moves": KASPAROV_TOPALOV[30:33], "top_k": 100})
    async with serving(settings.model_copy(update=changes)) as client:
        await open_game(client, ["d4"], "later")
        await asyncio.sleep(0.1)
        assert await whole(client) == kept
        await client.ok("POST", "/sessions/later/moves", {"moves": ["d5"]})
        await asyncio.sleep(0.1)
        body = {"moves": KASPAROV_TOPALOV[30:33], "top_k": 100}
        assert await client.ok("POST", "/sessions/game/moves", body) == answer


async def test_a_session_that_was_idle_for_too_long_is_gone_and_says_so(forgetful: Client):
    await open_game(forgetful)
    async with asyncio.timeout(10):
        while (response := await forgetful.get("/health/ready")).is_success:
            if not (await forgetful.ok("GET", "/sessions"))["sessions"]:
                break
            await asyncio.sleep(0.05)
    for method, path, body in [
        ("GET", "", None),
        ("POST", "/moves", {"moves": ["a6"]}),
        ("POST", "/fork", {}),
    ]:
        problem = await forgetful.problem(method, f"/sessions/game{path}", body)
        assert (problem["status"], problem["code"]) == (404, "session_expired")
    assert response.is_success
    assert (await open_game(forgetful, ["d4"]))["ply"] == 1


async def test_a_session_that_is_looked_at_does_not_expire(forgetful: Client):
    await open_game(forgetful)
    for _ in range(14):
        await asyncio.sleep(0.2)
        assert (await forgetful.ok("GET", "/sessions/game"))["ply"] == 5


async def test_of_too_many_sessions_the_one_used_longest_ago_is_forgotten(settings: Settings):
    async with serving(settings.model_copy(update={"max_sessions": 2, "sweep_seconds": 0.01})) as client:
        for id_ in ("one", "two", "three"):
            await open_game(client, ["e4"], id_)
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.2)
        assert sorted(await listed(client)) == ["three", "two"]
        assert (await client.problem("GET", "/sessions/one"))["code"] == "session_expired"
