"""What tests of the scoring share: packed games, steps whose scores are known, a model of one table."""

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from model.artifact import GRAPH, write_manifest
from model.dataset import Packed
from model.games import Game, TokenGame
from model.runner import Step

TOKENS = TokenGame("abcdefghij")


def packed_of(
    games: list[list[int]], context: list[list[int]] | None = None, cells: list[list[int]] | None = None
) -> Packed:
    """Pack games of which nothing is checked; the players take turns."""
    lengths = [len(moves) for moves in games]
    return Packed(
        tokens=np.array([move for moves in games for move in moves], np.int32),
        players=np.array([ply % 2 for length in lengths for ply in range(length)], np.uint8),
        cells=np.array(cells or [[] for _ in range(sum(lengths))], np.uint8).reshape(sum(lengths), -1),
        context=np.array(context or [[] for _ in games], np.uint8).reshape(len(games), -1),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
    )


def play(game: Game, moves: list[str]) -> list[int]:
    """Give the ids of the moves of one game."""
    position, ids = game.new_position(), []
    for move in moves:
        ids.append(position.find(move))
        position.play(ids[-1])
    return ids


def step(games: list[int], ply: int, weights: list[list[float]]) -> Step:
    """Scores in proportion to ``weights``, off by a constant that must not matter."""
    return Step(np.array(games), ply, (np.log(weights) + 3).astype(np.float32), [])


def certain(packed: Packed, moves: int, right: list[list[bool]]) -> list[Step]:
    """One step per ply; e times the weight of any other for the move played where ``right``, for another elsewhere."""
    steps = []
    for number, row in enumerate(right):
        for ply, hit in enumerate(row):
            weights = np.ones(moves)
            played = packed.tokens[packed.offsets[number] + ply]
            weights[played if hit else (played + 1) % moves] = math.e
            steps.append(step([number], ply, [weights.tolist()]))
    return steps


def letter_after_letter() -> npt.NDArray[np.float32]:
    """Scores after each move, the start last: 5 for the next letter (after the start for ``a``), 0 for any other."""
    size = len(TOKENS.vocabulary)
    table = np.zeros((size + 1, size), np.float32)
    table[np.arange(size + 1), (np.arange(size + 1) + 1) % size] = 5
    table[size] = 5 * np.eye(size)[0]
    return table


def write_table_model(folder: Path, game: Game, table: npt.NDArray[np.float32], by_ply: bool = False) -> Path:
    """Write a model whose scores are a row of a table: that of the move just played, or that of the ply, its state."""
    folder.mkdir(parents=True, exist_ok=True)
    inputs = [helper.make_tensor_value_info("tokens", TensorProto.INT64, ["rows"])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", table.shape[1]])]
    nodes = [helper.make_node("Gather", ["table", "tokens"], ["logits"])]
    constants = [onnx.numpy_helper.from_array(table, "table")]
    state = []
    if by_ply:
        inputs = [helper.make_tensor_value_info("plies", TensorProto.FLOAT, ["rows"])]
        outputs.append(helper.make_tensor_value_info("plies_after", TensorProto.FLOAT, ["rows"]))
        nodes = [
            helper.make_node("Cast", ["plies"], ["row"], to=TensorProto.INT64),
            helper.make_node("Gather", ["table", "row"], ["logits"]),
            helper.make_node("Add", ["plies", "one"], ["plies_after"]),
        ]
        constants.append(onnx.numpy_helper.from_array(np.float32(1), "one"))
        state = [{"name": "plies", "output": "plies_after", "dtype": "float32", "shape": ()}]
    graph = helper.make_graph(nodes, "table", inputs, outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), folder / GRAPH)
    facts = {"name": folder.parent.name, "version": folder.name, "game": dict(game.describe())}
    facts |= {"vocabulary": game.vocabulary.names, "context": [field.name for field in game.context]}
    empty = {name: {} for name in ("network", "data", "figures", "parity", "tools")}
    write_manifest(folder, facts | empty | {"state": state, "cell": "table", "precision": "fp32"})
    return folder
