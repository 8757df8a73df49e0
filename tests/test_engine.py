"""The engine's promise: the bits of a row do not depend on the rows beside it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.artifact import Artifact, StateTensor, find_artifacts, state_record
from model.games import Game, encode_context
from service.engine import Engine, Input
from tests.serving import random_game

ROOT = Path(__file__).parents[1] / "artifacts"
SHIPPED = [folder for folder in find_artifacts(ROOT) if folder.parent.name == "chess"][-1]
ROWS = 64
BATCHES = (1, 2, 3, 5, 8, 16, 31, 33, 64)
MODELS = ("chess", "chess-fp32", "othello", "colours", "pages", "shipped")


def load(artifacts: Path, model: str) -> Artifact:
    return Artifact.load(SHIPPED if model == "shipped" else artifacts / model / "1")


def inputs_of(game: Game, row: int, plies: int) -> list[Input]:
    """What the engine reads along a game of the row's own."""
    values = [{field.name: 700 + 30 * row for field in game.context if field.name.endswith("elo")}, {}][row % 2]
    context, position = encode_context(game.context, values), game.new_position()
    inputs = [Input(game.vocabulary.start, game.seen(context, 0), position.cells())]
    for move in random_game(game, row, plies):
        move_id = position.find(move)
        position.play(move_id)
        inputs.append(Input(move_id, game.seen(context, position.player), position.cells()))
    return inputs


Row = tuple[bytes, bytes]


def rows_of(engine: Engine, inputs: Sequence[Input], states: Sequence[bytes]) -> list[Row]:
    """One step; the bytes of each row's scores and its new state."""
    logits, after = engine.step(inputs, states)
    assert (logits.shape[0], logits.dtype, len(after)) == (len(inputs), np.float32, len(inputs))
    return [(scores.tobytes(), state) for scores, state in zip(logits, after, strict=True)]


@pytest.fixture(scope="module", params=MODELS)
def engine_and_rows(request: pytest.FixtureRequest, artifacts: Path) -> tuple[Engine, list[Input], list[bytes]]:
    """An engine, and 64 rows to step: each another game, another ply from the first to the eighth, a state of its own.

    The states come from steps of a single row.
    """
    artifact = load(artifacts, request.param)
    engine = Engine(artifact)
    inputs, states = [], []
    for row in range(ROWS):
        *read, last = inputs_of(artifact.game, row, row % 8)
        state = engine.initial
        for one in read:
            state = engine.step([one], [state])[1][0]
        inputs.append(last)
        states.append(state)
    return engine, inputs, states


def test_a_row_alone_and_in_any_batch_has_the_same_bits(engine_and_rows: Any):
    engine, inputs, states = engine_and_rows
    alone = [rows_of(engine, [one], [state])[0] for one, state in zip(inputs, states, strict=True)]
    assert len(set(alone)) > ROWS / 2
    for size in BATCHES:
        assert rows_of(engine, inputs[:size], states[:size]) == alone[:size], f"in a batch of {size}"
        assert rows_of(engine, inputs[-size:], states[-size:]) == alone[-size:], f"in another batch of {size}"


def test_the_place_in_a_batch_changes_nothing(engine_and_rows: Any):
    engine, inputs, states = engine_and_rows
    expected = rows_of(engine, inputs, states)
    for shift in (1, 7, 30):
        order = [(row + shift) % ROWS for row in range(ROWS)]
        turned = rows_of(engine, [inputs[row] for row in order], [states[row] for row in order])
        assert turned == [expected[row] for row in order]


def test_equal_rows_have_equal_bits(engine_and_rows: Any):
    engine, inputs, states = engine_and_rows
    assert len(set(rows_of(engine, [inputs[9]] * 33, [states[9]] * 33))) == 1


def test_a_step_does_not_change_the_states_it_is_given(engine_and_rows: Any):
    engine, inputs, states = engine_and_rows
    before = [bytes(bytearray(state)) for state in states]
    first = rows_of(engine, inputs, states)
    assert states == before
    assert rows_of(engine, inputs, states) == first


@pytest.mark.parametrize("model", MODELS)
def test_a_new_game_begins_with_the_manifests_initial_values(artifacts: Path, model: str):
    artifact = load(artifacts, model)
    (initial,) = np.frombuffer(Engine(artifact).initial, artifact.record)
    for tensor in artifact.manifest.state:
        assert initial[tensor.name].shape == tensor.shape
        assert (initial[tensor.name] == tensor.initial).all()


def test_the_memory_of_an_int8_model_is_kept_in_one_byte_a_number(artifacts: Path):
    kinds = {
        model: [tensor.dtype for tensor in Artifact.load(artifacts / model / "1").manifest.state]
        for model in ("chess", "chess-fp32")
    }
    assert kinds == {"chess": ["uint8", "float32"], "chess-fp32": ["float32", "float32"]}


def test_a_state_is_a_record_without_gaps():
    tensors = [
        StateTensor(name="h", output="h_after", dtype="uint8", shape=(3,), initial=128),
        StateTensor(name="c", output="c_after", dtype="float32", shape=(2, 2)),
    ]
    assert state_record(tensors).itemsize == 3 + 16
