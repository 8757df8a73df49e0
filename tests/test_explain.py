"""What the gates of the network did along a session and its memory held: as PyTorch has it, at nobody else's cost."""

import asyncio
import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from torch import Tensor

from model.artifact import Artifact, ArtifactError, StateTensor, state_record, write_manifest
from model.batches import collate
from model.cells import CELLS
from model.dataset import Source, pack
from model.export import load_network
from model.games import TokenGame, load_game
from model.network import Shape
from model.runtime import with_outputs
from service import gates
from service.engine import Engine, Input
from service.keeper import now
from service.longest import longest, persistence
from service.sessions import Forgotten, Limits, MemoryStore, Session
from service.settings import Settings
from tests.serving import COLOURS, KASPAROV_TOPALOV, TINY, Client, random_game, serving, write_artifact

pytestmark = pytest.mark.anyio

MODELS = ("chess", "colours", "lstm")
TWO_LAYERS = Shape(width=40, layers=2, embedding=16)
# So much larger weights make some of the gates of an LSTM open or closed; other cells lose their digits with them.
GAIN, OTHERS_GAIN = 6, 1.5
ELO = {"white_elo": 2400, "black_elo": 900}
# Weights so large carry roundings far, int8 products move every gate a little, and a unit may cross a threshold.
MEAN, UNITS = {"chess": 1e-3, "colours": 0.02, "lstm": 1e-4}, {"chess": 1, "colours": 3, "lstm": 0}


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small models that show their gates, and one that does not."""
    root = tmp_path_factory.mktemp("artifacts")
    write_artifact(root / "chess" / "1", load_game({"name": "chess"}), "fp32", shape=TINY, gain=GAIN)
    write_artifact(root / "colours" / "1", TokenGame(COLOURS), shape=TWO_LAYERS, gain=GAIN)
    for kind in CELLS:
        gain, shape = GAIN if kind == "lstm" else OTHERS_GAIN, replace(TWO_LAYERS, cell=kind)
        write_artifact(root / kind / "1", TokenGame(COLOURS), "fp32", shape=shape, gain=gain)
    change_manifest(shutil.copytree(root / "colours" / "1", root / "plain" / "1"), name="plain", gates=())
    return root


def change_manifest(folder: Path, **changes: Any) -> None:
    manifest = Artifact.load(folder).manifest.model_dump(exclude={"format", "sha256"})
    write_manifest(folder, manifest | changes)


async def open_game(client: Client, model: str, moves: list[str], id_: str = "game", **options: Any) -> None:
    await client.ok("POST", "/sessions", {"session": id_, "model": model, "moves": moves, **options})


async def explained(client: Client, id_: str = "game") -> Any:
    return await client.ok("GET", f"/sessions/{id_}/explain")


def game_of(model: str, artifacts: Path, plies: int, seed: int = 9) -> list[str]:
    return random_game(Artifact.load(artifacts / model / "1").game, seed, plies)


# The values


Units = npt.NDArray[np.float64]


@torch.no_grad()
def gates_by_torch(artifact: Artifact, records: Path) -> list[dict[str, Units]]:
    """Give float64 [plies, units] of every gate of every layer along the one game of the records, by its equations."""
    network = load_network(artifact).double().eval()
    read: list[Tensor] = []
    network.cell.register_forward_pre_hook(lambda _, arguments: read.append(arguments[0]))
    packed, _ = pack(artifact.game, [Source(records)])
    batch = collate(artifact.game, packed, np.array([0]), np.array(packed.context[[0]]))
    network(*map(torch.from_numpy, batch.inputs))
    weights, inputs, layers = network.state_dict(), read[0][:, 0], []
    for layer in range(artifact.manifest.network["layers"]):
        of_input, of_memory = (weights[f"cell.stack.weight_{kind}_l{layer}"] for kind in ("ih", "hh"))
        bias = weights[f"cell.stack.bias_ih_l{layer}"] + weights[f"cell.stack.bias_hh_l{layer}"]
        h = c = torch.zeros(artifact.manifest.network["width"], dtype=torch.float64)
        found, outputs = [], []
        for vector in inputs:
            i, f, g, o = (of_input @ vector + of_memory @ h + bias).chunk(4)
            i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
            c = f * c + i * g
            h = o * c.tanh()
            found.append(torch.stack([i, f, g, o]))
            outputs.append(h)
        inputs = torch.stack(outputs)
        layers.append(dict(zip(["input", "forget", "candidate", "output"], torch.stack(found, 1).numpy(), strict=True)))
    return layers


def shares(units: Units) -> tuple[Units, Units]:
    return (np.abs(units) > 0.9).mean(1), (np.abs(units) < 0.1).mean(1)


@pytest.mark.parametrize("model", MODELS)
async def test_gates_are_those_that_pytorch_computes_along_the_whole_game(
    client: Client, artifacts: Path, tmp_path: Path, model: str
):
    context = ELO if model == "chess" else {}
    moves = KASPAROV_TOPALOV if model == "chess" else game_of(model, artifacts, 80)
    # The network reads a move before it scores the next, so the last one of the record is not read.
    (tmp_path / "game.jsonl").write_text(json.dumps({"moves": moves, "context": context}))
    expected = gates_by_torch(Artifact.load(artifacts / model / "1"), tmp_path / "game.jsonl")
    await open_game(client, model, moves[:-1], context=context)
    plies = (await explained(client))["plies"]
    assert len(plies) == len(moves)
    assert [list(layer) for layer in plies[0]["layers"]] == [list(layer) for layer in expected]
    seen_open = seen_closed = 0.0
    for number, layer in enumerate(expected):
        for gate, units in layer.items():
            shown = [ply["layers"][number][gate] for ply in plies]
            means = np.array([one["mean"] for one in shown])
            np.testing.assert_allclose(means, np.abs(units).mean(1), rtol=0, atol=MEAN[model])
            share = UNITS[model] / units.shape[1] + 1e-4
            for name, wanted in zip(("open", "closed"), shares(units), strict=True):
                assert [one[name] for one in shown] == pytest.approx(wanted, abs=share)
            seen_open, seen_closed = seen_open + shares(units)[0].sum(), seen_closed + shares(units)[1].sum()
    assert seen_open > 10
    assert seen_closed > 10


def carried_on(kind: str, gates: dict[str, Units], before: dict[str, Units], below: Units | None) -> dict[str, Units]:
    """Give what the gates of a layer make of its state, by the cell's equations; ``below`` is c' of the layer below."""
    match kind:
        case "rnn":
            return {"h": gates["candidate"]}
        case "gru":
            return {"h": gates["update"] * before["h"] + (1 - gates["update"]) * gates["candidate"]}
        case "clockwork":
            return {"h": np.where(gates["active"] == 1, gates["candidate"], before["h"])}
        case "lstm" | "peephole" | "depth_gated":
            c = gates["forget"] * before["c"] + gates["input"] * gates["candidate"]
            if kind == "depth_gated" and below is not None:
                c += gates["depth"] * below
            return {"c": c, "h": gates["output"] * np.tanh(c)}
    raise AssertionError(f"say here what the gates of a {kind} cell make of its state")


@pytest.mark.parametrize("kind", CELLS)
async def test_every_cell_shows_the_gates_that_make_its_new_state_of_the_old(
    client: Client, artifacts: Path, kind: str
):
    artifact = Artifact.load(artifacts / kind / "1")
    showing, shown = Engine(artifact, gates=True), artifact.manifest.gates
    moves = game_of(kind, artifacts, 30)
    await open_game(client, kind, moves)
    plies, state = (await explained(client))["plies"], showing.initial
    for move, ply in zip([None, *moves], plies, strict=True):
        token = artifact.game.vocabulary.start if move is None else artifact.game.new_position().find(move)
        (before,) = np.frombuffer(state, artifact.record)
        (row,), (state,) = showing.step([Input(token, [], b"")], [state])
        (after,) = np.frombuffer(state, artifact.record)
        units = dict(zip(shown, np.split(row, np.cumsum([gate.width for gate in shown])[:-1]), strict=True))
        below = None
        for layer in range(TWO_LAYERS.layers):
            gates = {gate.gate: values for gate, values in units.items() if gate.layer == layer}
            had = {name: before[f"{name}{layer}"] for name in "hc" if f"{name}{layer}" in artifact.record.names}
            made = carried_on(kind, gates, had, below)
            assert made.keys() == had.keys()
            for name, values in made.items():
                assert after[f"{name}{layer}"] == pytest.approx(values, abs=1e-5)
            below = made.get("c")
            assert {name: one["mean"] for name, one in ply["layers"][layer].items()} == {
                name: pytest.approx(np.abs(values).mean(), abs=1e-4) for name, values in gates.items()
            }


async def test_every_ply_has_what_was_read_and_the_start_has_no_move(client: Client):
    await open_game(client, "chess", ["e4", "e5", "Nf3"])
    answer = await explained(client)
    assert {name: answer[name] for name in ("session", "model", "ply")} == {
        "session": "game",
        "model": {"name": "chess", "version": "1"},
        "ply": 3,
    }
    assert [(ply["ply"], ply["move"]) for ply in answer["plies"]] == [(0, None), (1, "e2e4"), (2, "e7e5"), (3, "g1f3")]
    await open_game(client, "chess", [], "new")
    assert (await explained(client, "new"))["plies"] == answer["plies"][:1]


async def test_the_context_counts(client: Client):
    await open_game(client, "chess", ["e4"], "strong", context={"white_elo": 2800, "black_elo": 2800})
    await open_game(client, "chess", ["e4"], "unknown")
    assert (await explained(client, "strong"))["plies"] != (await explained(client, "unknown"))["plies"]


# The memory


async def remembered(client: Client, units: int = 64, id_: str = "game") -> Any:
    return (await client.ok("GET", f"/sessions/{id_}/explain?units={units}"))["memory"]


@pytest.mark.parametrize("model", ["colours", *CELLS])
async def test_the_memory_is_what_the_network_carries_from_step_to_step(client: Client, artifacts: Path, model: str):
    artifact = Artifact.load(artifacts / model / "1")
    engine, moves = Engine(artifact), game_of(model, artifacts, 40)
    state, states = engine.initial, []
    for move in [None, *moves]:
        token = artifact.game.vocabulary.start if move is None else artifact.game.new_position().find(move)
        _, (state,) = engine.step([Input(token, [], b"")], [state])
        states.append(state)
    carried = np.frombuffer(b"".join(states), artifact.record)
    await open_game(client, model, moves)
    memory = await remembered(client)
    letter = "c" if "c0" in artifact.record.names else "h"
    assert [held["tensor"] for held in memory] == [f"{letter}{layer}" for layer in range(TWO_LAYERS.layers)]
    for held in memory:
        assert held["width"] == TWO_LAYERS.width
        assert sorted(held["units"]) == list(range(TWO_LAYERS.width))
        values = np.array(held["values"])
        np.testing.assert_allclose(values, carried[held["tensor"]][:, held["units"]], rtol=0, atol=6e-4)


async def test_so_many_units_are_given_as_were_asked_for_longest_first(client: Client):
    await open_game(client, "chess", KASPAROV_TOPALOV)
    (every,) = await remembered(client)
    (few,) = await remembered(client, 3)
    assert few["units"] == every["units"][:3]
    assert few["values"] == [row[:3] for row in every["values"]]
    away = [unit - unit.mean() for unit in np.array(every["values"]).T]
    long = [unit[1:] @ unit[:-1] / (unit @ unit) for unit in away]
    assert (np.diff(long) <= 1e-6).all()
    assert long[0] > long[-1] + 0.05


@pytest.mark.parametrize("moves", [[], ["e4"]])
async def test_at_the_first_plies_the_largest_units_are_given(client: Client, moves: list[str]):
    await open_game(client, "chess", moves)
    (held,) = await remembered(client)
    sizes = np.abs(np.array(held["values"])).mean(0)
    assert len(held["values"]) == len(moves) + 1
    assert (np.diff(sizes) <= 0).all()


async def test_the_memory_is_given_if_it_is_asked_for(client: Client):
    await open_game(client, "chess", ["e4", "e5"])
    plain = await explained(client)
    assert "memory" not in plain
    asked = await client.ok("GET", "/sessions/game/explain?units=2")
    assert asked == plain | {"memory": asked["memory"]}
    for units in ("-1", "65", "many"):
        problem = await client.problem("GET", f"/sessions/game/explain?units={units}")
        assert (problem["status"], problem["errors"][0]["where"]) == (422, "query.units")


async def test_states_that_would_fill_the_memory_of_the_service_are_not_kept(
    artifacts: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(gates, "_MOST_STATES", 3 * Artifact.load(artifacts / "chess" / "1").record.itemsize)
    async with serving(settings) as client:
        await open_game(client, "chess", ["e4", "e5"], "short")
        await open_game(client, "chess", ["e4", "e5", "Nf3"], "long")
        assert [held["tensor"] for held in await remembered(client, 2, "short")] == ["c0"]
        answer = await client.ok("GET", "/sessions/long/explain?units=2")
        assert (answer["memory"], len(answer["plies"])) == ([], 4)


def state(**tensors: str) -> list[StateTensor]:
    return [
        StateTensor(name=name, output=f"{name}_after", dtype=dtype, shape=(2, 3)) for name, dtype in tensors.items()
    ]


def test_what_another_make_carries_goes_by_its_own_names():
    tensors = state(mood="float32", codes="uint8", trail="float32")
    rows = np.zeros(4, state_record(tensors))
    rows["mood"][:, 1, 2] = [0, 0, 1, 1]
    rows["mood"][:, 0, 0] = [0, 1, 0, 1]
    rows["mood"][:, 1, 0] = [0, np.nan, 0, 0]
    rows["trail"] += 0.0004
    mood, trail = longest(tensors, [row.tobytes() for row in rows], 9)
    assert mood == {
        "tensor": "mood",
        "width": 6,
        "units": [5, 0, 1, 2, 4],
        "values": [[0, 0, 0, 0, 0], [0, 1, 0, 0, 0], [1, 0, 0, 0, 0], [1, 1, 0, 0, 0]],
    }
    assert (trail["tensor"], trail["units"]) == ("trail", [0, 1, 2, 3, 4, 5])


@pytest.mark.parametrize(
    ("tensors", "carriers"),
    [
        ({"h0": "uint8", "c0": "float32"}, ["c0"]),
        ({"clock": "float32", "h0": "float32"}, ["h0"]),
        ({"clock": "float32", "h0": "uint8"}, []),
        ({"codes": "uint8"}, []),
    ],
)
def test_memory_is_c_or_else_h_and_uint8_is_left_out(tensors: dict[Any, Any], carriers: list[str]):
    rows = np.zeros(2, state_record(state(**tensors)))
    held = longest(state(**tensors), [row.tobytes() for row in rows], 1)
    assert [one["tensor"] for one in held] == carriers


def test_units_that_hold_what_they_took_in_remember_longer_than_those_that_do_not():
    ply, noise = np.arange(200), np.random.default_rng(5).normal(size=200)
    units = {
        "holds": np.where(ply < 80, -1.0, 1.0) + 0.1 * noise,
        "forgets": np.convolve(noise, 0.5 ** np.arange(9))[:200],
        "stood out once": 5.0 * (ply == 80),
        "alternates": (-1.0) ** ply,
        "never moved": np.full(200, 0.7),
    }
    long = dict(zip(units, persistence(np.stack(list(units.values()), 1)), strict=True))
    assert sorted(long, key=long.__getitem__, reverse=True) == list(units)
    assert long["holds"] > 0.95 > 0.7 > long["forgets"] > 0.3 > abs(long["stood out once"]) < 0.02
    assert long["never moved"] == -1 < long["alternates"] < -0.9


# The session


async def test_an_explanation_changes_nothing_of_the_session(client: Client):
    await open_game(client, "chess", ["e4", "e5"])
    before = (await client.get("/sessions/game/state")).content
    first = await explained(client)
    assert (await client.get("/sessions/game/state")).content == before
    assert await explained(client) == first
    body = {"moves": ["Nf3"], "ply": 2, "top_k": 100}
    ahead = await client.ok("POST", "/sessions/game/peek", body)
    assert await client.ok("POST", "/sessions/game/moves", body) == ahead
    await open_game(client, "chess", ["e4", "e5"], "unseen")
    assert await client.ok("POST", "/sessions/unseen/moves", body) == ahead | {"session": "unseen"}


@pytest.mark.parametrize("model", MODELS)
async def test_after_a_takeback_it_is_of_the_moves_that_are_left(client: Client, artifacts: Path, model: str):
    moves = game_of(model, artifacts, 20)
    await open_game(client, model, moves)
    plies = (await explained(client))["plies"]
    await client.ok("POST", "/sessions/game/takeback", {"to_ply": 12})
    assert await explained(client) == {
        "session": "game",
        "model": {"name": model, "version": "1"},
        "ply": 12,
        "plies": plies[:13],
    }
    await client.ok("POST", "/sessions/game/moves", {"moves": moves[12:]})
    assert (await explained(client))["plies"] == plies


async def test_a_session_without_its_state_is_explained_just_as_well(settings: Settings):
    async with serving(settings.model_copy(update={"max_states": 0, "sweep_seconds": 0.01})) as client:
        await open_game(client, "colours", ["red", "blue"])
        first = await explained(client)
        await asyncio.sleep(0.1)
        assert await explained(client) == first


async def test_an_unknown_session_cannot_be_explained(client: Client):
    problem = await client.problem("GET", "/sessions/nobody/explain")
    assert (problem["status"], problem["code"]) == (404, "unknown_session")
    assert (await client.problem("GET", "/sessions/no%20id/explain"))["code"] == "invalid_request"


async def test_an_expired_session_is_said_to_have_expired(settings: Settings):
    async with serving(settings.model_copy(update={"max_sessions": 1, "sweep_seconds": 0.01})) as client:
        for id_ in ("game", "newer"):
            await open_game(client, "colours", ["red"], id_)
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.2)
        problem = await client.problem("GET", "/sessions/game/explain")
        assert (problem["status"], problem["code"]) == (404, "session_expired")
        assert (await explained(client, "newer"))["ply"] == 1


async def test_an_explained_session_counts_as_used(settings: Settings):
    async def idle() -> float:
        (session,) = (await client.ok("GET", "/sessions?model=colours"))["sessions"]
        return session["idle_seconds"]

    # A look is noted once half of the time is over after which a session loses its state.
    async with serving(settings.model_copy(update={"state_ttl": 1})) as client:
        await open_game(client, "colours", ["red"])
        await asyncio.sleep(0.8)
        before = await idle()
        await explained(client)
        assert await idle() < before


async def test_a_session_of_a_dropped_version_is_explained_by_the_one_that_serves_it(
    artifacts: Path, settings: Settings, tmp_path: Path
):
    root = shutil.copytree(artifacts, tmp_path / "artifacts")
    async with serving(settings.model_copy(update={"artifacts": root})) as client:
        await open_game(client, "colours", ["red"])
        assert "upgraded_from" not in await explained(client)
        (root / "colours" / "1").rename(root / "colours" / "2")
        change_manifest(root / "colours" / "2", version="2")
        await client.ok("POST", "/models/reload")
        answer = await explained(client)
        assert (answer["model"]["version"], answer["upgraded_from"]) == ("2", "1")


# The others


@pytest.fixture
async def company(client: Client, artifacts: Path) -> dict[str, Any]:
    """Sessions of every model and of many lengths, with what explains each, asked for alone."""
    alone = {}
    for model, number in itertools.product(MODELS, range(4)):
        id_ = f"{model}-{number}"
        await open_game(client, model, game_of(model, artifacts, 11 * number + 3, seed=number), id_)
        alone[id_] = await explained(client, id_)
    return alone


async def test_explanations_and_moves_at_the_same_time_are_what_each_is_alone(
    client: Client, artifacts: Path, company: dict[str, Any]
):
    games = {model: game_of(model, artifacts, 40) for model in MODELS}
    for model, moves in games.items():
        await open_game(client, model, moves[:20], f"{model}-alone")
        await open_game(client, model, moves[:20], f"{model}-among")

    async def play(model: str, who: str) -> list[Any]:
        path = f"/sessions/{model}-{who}/moves"
        bodies = [{"moves": [move], "top_k": 100} for move in games[model][20:]]
        return [await client.ok("POST", path, body) | {"session": "-"} for body in bodies]

    alone = [await play(model, "alone") for model in MODELS]
    *among, found = await asyncio.gather(
        *(play(model, "among") for model in MODELS), asyncio.gather(*(explained(client, id_) for id_ in company))
    )
    assert among == alone
    assert found == list(company.values())


async def test_a_long_explanation_does_not_hold_up_a_move(client: Client):
    await open_game(client, "colours", ["red", "green"] * 1000, "long")
    await open_game(client, "colours", ["red"])
    await explained(client)
    long = asyncio.create_task(explained(client, "long"))
    await asyncio.sleep(0.02)
    await client.ok("POST", "/sessions/game/moves", {"moves": ["blue"]})
    assert not long.done()
    assert len((await long)["plies"]) == 2001


async def test_an_explanation_is_given_up_at_its_deadline(client: Client):
    await open_game(client, "colours", ["red", "green"] * 1000, "long")
    response = await client.get("/sessions/long/explain", headers={"request-timeout-ms": "20"})
    assert (response.status_code, response.json()["code"]) == (503, "deadline_passed")
    assert (await explained(client, "long"))["ply"] == 2000


# The graph


@pytest.mark.parametrize("model", MODELS)
def test_states_have_the_same_bits_whether_gates_are_shown_or_not(artifacts: Path, model: str):
    artifact = Artifact.load(artifacts / model / "1")
    game, width = artifact.game, sum(gate.width for gate in artifact.manifest.gates)
    plain, showing = Engine(artifact), Engine(artifact, gates=True)
    assert plain.initial == showing.initial
    state, seen, position = plain.initial, [0] * len(game.seen_sizes), game.new_position()
    for move in [None, *game_of(model, artifacts, 60)]:
        token = game.vocabulary.start if move is None else position.find(move)
        if move is not None:
            position.play(token)
        row = Input(token, seen, position.cells())
        logits, after = plain.step([row] * 3, [state] * 3)
        gates, also_after = showing.step([row] * 3, [state] * 3)
        assert also_after == after
        assert (gates.shape, gates.dtype) == ((3, width), np.float32)
        assert logits.shape == (3, len(game.vocabulary))
        state = after[0]


@pytest.mark.parametrize("precision", ["colours", "lstm"])
def test_the_graph_that_predicts_gives_no_gates(artifacts: Path, precision: str):
    artifact = Artifact.load(artifacts / precision / "1")
    outputs = {output.name for output in onnx.load(artifact.graph).graph.output}
    assert outputs == {"logits", *(tensor.output for tensor in artifact.manifest.state)}
    assert len(artifact.manifest.gates) == 8


def test_any_number_of_values_of_any_length_become_outputs(artifacts: Path):
    graph = Artifact.load(artifacts / "colours" / "1").graph
    names = ["x" * length for length in (1, 127, 128, 300, 20_000)]
    found = onnx.load_model_from_string(with_outputs(graph.read_bytes(), names))
    before = onnx.load(graph)
    assert [output.name for output in found.graph.output] == [output.name for output in before.graph.output] + names
    assert found.graph.node == before.graph.node


async def test_a_model_that_was_exported_without_its_gates_says_so(client: Client):
    await open_game(client, "plain", ["red"])
    problem = await client.problem("GET", "/sessions/game/explain")
    assert (problem["status"], problem["code"]) == (409, "no_gates")
    assert "plain/1" in problem["detail"]


@pytest.mark.parametrize(
    ("change", "said"),
    [({"value": "nothing"}, "cannot load it"), ({"width": 7}, "needs"), ({"value": "logits"}, "needs")],
)
async def test_gates_that_the_graph_does_not_give_are_refused_and_the_model_still_predicts(
    artifacts: Path, settings: Settings, tmp_path: Path, change: dict[str, Any], said: str
):
    root = shutil.copytree(artifacts, tmp_path / "artifacts")
    folder = root / "colours" / "1"
    gates = Artifact.load(folder).manifest.gates
    change_manifest(folder, gates=[gates[0].model_copy(update=change), *gates[1:]])
    with pytest.raises(ArtifactError, match=said.replace("needs", "its game and manifest need")):
        Engine(Artifact.load(folder), gates=True)
    async with serving(settings.model_copy(update={"artifacts": root})) as client:
        await open_game(client, "colours", ["red"])
        problem = await client.problem("GET", "/sessions/game/explain")
        assert (problem["status"], problem["code"]) == (503, "engine_failed")
        assert (await client.ok("POST", "/sessions/game/moves", {"moves": ["blue"]}))["ply"] == 2


async def test_a_graph_that_was_replaced_since_it_was_loaded_is_not_taken_for_it(
    artifacts: Path, settings: Settings, tmp_path: Path
):
    root = shutil.copytree(artifacts, tmp_path / "artifacts")
    async with serving(settings.model_copy(update={"artifacts": root, "watch_seconds": 0})) as client:
        await open_game(client, "colours", ["red"])
        other = write_artifact(tmp_path / "other" / "1", TokenGame(COLOURS), seed=1, shape=TWO_LAYERS)
        shutil.copy(other.graph, root / "colours" / "1" / "model.onnx")
        assert (await client.problem("GET", "/sessions/game/explain"))["code"] == "engine_failed"
        (root / "colours" / "1" / "model.onnx").unlink()
        assert (await client.problem("GET", "/sessions/game/explain"))["code"] == "engine_failed"
        assert (await client.ok("POST", "/sessions/game/moves", {"moves": ["blue"]}))["ply"] == 2


async def test_a_session_that_lost_its_state_is_not_written_to_be_explained(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch
):
    store = MemoryStore(Limits(state_ttl=1000, session_ttl=10**9, max_states=9, max_sessions=9))
    monkeypatch.setattr("service.app.open_store", lambda _: store)
    async with serving(Settings(artifacts=artifacts)) as client:
        await open_game(client, "colours", COLOURS[:3])
        assert store.forget(now() + 2000) == Forgotten(states=1)
        (before,) = store.load_many(["game"])
        assert (await explained(client))["ply"] == 3
        (after,) = store.load_many(["game"])
    assert isinstance(before, Session)
    assert isinstance(after, Session)
    assert before.revision == after.revision
