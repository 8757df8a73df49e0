"""Reads a trained network and real games and gives an artifact, if graph and network agree on those games.

Weights are rounded to bfloat16 first, so that what ships to train on from is exactly what the graph was made of.
"""

import shutil
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper
from safetensors.torch import load_file, save_file

from model.artifact import CELLS, GRAPH, LOGITS, SEEN, TOKENS, WEIGHTS, Artifact, write_manifest
from model.batches import collate
from model.blocks import Block, weights_of, write_convolution
from model.dataset import Packed
from model.games import Game
from model.int8 import Int8Ops
from model.network import FLOOR, BoardEncoder, MoveHead, NextMove, Shape
from model.runner import StepRunner
from model.stepgraph import Array, FloatOps, Lookup, Ops, Signal

TOLERANCE = 1e-4
# Calibration clips what is rarer than this: a range that reaches the rarest peak leaves few steps for the rest.
_QUANTILE = 0.99995


class ExportError(Exception):
    """Graph and network do not agree; nothing was written."""


def round_weights(network: NextMove) -> None:
    """Round every parameter to what bfloat16 holds."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(parameter.bfloat16().float())


def write_step(ops: Ops, game: Game, network: NextMove) -> onnx.ModelProto:
    """Write one step of the network; see `NextMove.forward` for the same in PyTorch."""
    tokens = ops.input(TOKENS, "int64")
    seen = ops.input(SEEN, "int64", len(game.seen_sizes)) if game.seen_sizes else None
    table, context = network.tokens.weight.detach().numpy(), _tables(network.context)
    features = None
    if network.board is None and seen is None:
        memory = network.cell.step(ops, Lookup(tokens, np.maximum(table, 0)))
    else:
        total = ops.node("Gather", ops.constant(table), tokens, axis=0)
        if seen is not None:
            total = ops.node("Add", total, ops.sum_of_rows(seen, context))
        if network.board is not None:
            features = _write_board(ops, network.board, seen)
            total = ops.node("Add", total, _write_summary(ops, network, features))
        memory = network.cell.step(ops, ops.signal(ops.node("Relu", total), "inputs"))
    linear = weights_of(network.linear)
    scores = ops.product(memory, linear["weight"].T, linear["bias"])
    if network.head is not None and features is not None:
        scores = ops.node("Add", scores, _write_head(ops, network.head, features, memory))
    scores = ops.node("Clip", scores, ops.constant(np.float32(FLOOR)))
    ops.output(LOGITS, scores, "float32", len(game.vocabulary))
    return ops.model()


def _tables(tables: torch.nn.Module) -> list[Array]:
    return list(weights_of(tables).values())


def _write_board(ops: Ops, board: BoardEncoder, seen: str | None) -> Signal:
    """Write cells [rows, cells] → features [rows, channels, y, x]; code and place of a cell are one lookup.

    The cells come first until the convolutions, so that the context is added in one long run a cell.
    """
    grid, codes = board.grid, board.codes.weight.detach().numpy()
    channels = codes.shape[1]
    table = (board.places.detach().numpy()[:, None] + codes[None]).reshape(-1, channels)
    cells = ops.node("Cast", ops.input(CELLS, "uint8", grid.cells), to=TensorProto.INT64)
    entries = ops.node("Add", cells, ops.constant(np.arange(grid.cells, dtype=np.int64) * grid.codes))
    features = ops.node("Gather", ops.constant(table), ops.transpose(entries, 1, 0), axis=0)
    if seen is not None:
        features = ops.node("Add", features, ops.sum_of_rows(seen, _tables(board.context)))
    flat = ops.signal(ops.node("Relu", features), "board")
    rows = ops.reshape(ops.transpose(flat.name, 1, 0, 2), 0, grid.rows, grid.columns, channels)
    signal = write_convolution(ops, replace(flat, name=ops.transpose(rows, 0, 3, 1, 2)), board.entry, "entry")
    for index, block in enumerate(board.blocks):
        assert isinstance(block, Block)
        signal = block.write(ops, signal, f"block{index}")
    return signal


def _write_summary(ops: Ops, network: NextMove, features: Signal) -> str:
    """Write what the memory sees of the board."""
    summary = write_convolution(ops, features, network.summary, "summary")
    entry = weights_of(network.entry)
    flat = ops.reshape(summary.name, 0, entry["weight"].shape[1])
    return ops.product(Signal(flat, summary.scale, summary.zero), entry["weight"].T, entry["bias"])


def _write_head(ops: Ops, head: MoveHead, features: Signal, memory: Signal) -> str:
    """Write the scores of moves by their cells; the cells come first for the same reason as in `_write_board`."""
    cells, channels = head.cells, head.local.in_channels
    last = ops.reshape(ops.transpose(features.name, 0, 2, 3, 1), 0, cells, channels)
    local = _product_of_cells(ops, replace(features, name=ops.transpose(last, 1, 0, 2)), head.local)
    recalled = ops.product(memory, weights_of(head.memory)["weight"].T)
    mixed = ops.signal(ops.node("Relu", ops.node("Add", local, recalled)), "head.mixed")
    keys = ops.transpose(_product_of_cells(ops, mixed, head.keys), 1, 0, 2)
    if head.has_source:
        source, destination = ops.split(keys, 2)
        scale = ops.constant(np.float32(head.key**-0.5))
        keys = ops.node("Mul", ops.node("MatMul", source, ops.transpose(destination, 0, 2, 1)), scale)
    # The zeros behind the scores stand for moves without cells, and keep rows from being a power of two long: such a
    # transpose would miss the cache at every step. Gathering rows of the transpose is twice as fast as single numbers.
    flat = ops.node("Pad", ops.reshape(keys, 0, -1), ops.constant(np.array([0, 0, 0, 16], np.int64)))
    index = ops.constant(head.index.numpy())
    return ops.transpose(ops.node("Gather", ops.transpose(flat, 1, 0), index, axis=0), 1, 0)


def _product_of_cells(ops: Ops, signal: Signal, layer: torch.nn.Module) -> str:
    """Write a 1 × 1 convolution of ``[cells, rows, channels]``."""
    weights = weights_of(layer)
    return ops.product(signal, weights["weight"][:, :, 0, 0].T, weights["bias"])


def calibrate(game: Game, network: NextMove, packed: Packed, games: npt.NDArray[np.int64]) -> dict[str, float]:
    """Give the largest |value| at every calibration point over whole games, rare peaks left out."""
    ops = FloatOps()
    model = write_step(ops, game, network)
    for value in ops.points.values():
        model.graph.output.append(helper.make_empty_tensor_value_info(value))
    runner = StepRunner(model.SerializeToString(), ops.state, list(ops.points.values()))
    ranges = dict.fromkeys(ops.points, 0.0)
    for step in runner.walk(game, packed, games):
        for point, reached in zip(ops.points, step.others, strict=True):
            ranges[point] = max(ranges[point], float(np.quantile(np.abs(reached), _QUANTILE)))
    return ranges


@torch.no_grad()
def parity(game: Game, network: NextMove, graph: onnx.ModelProto, ops: Ops, packed: Packed) -> float:
    """Give the largest |difference| between the logits of graph and network over whole games.

    The network runs in float64: in float32 its own rounding is larger than the graph's.
    """
    runner, network = StepRunner(graph.SerializeToString(), ops.state), deepcopy(network).double().eval()
    expected: dict[int, npt.NDArray[np.float64]] = {}
    for number in range(len(packed)):
        batch = collate(game, packed, np.array([number]), np.array(packed.context[[number]]))
        expected[number] = network(*map(torch.from_numpy, batch.inputs))[0].numpy()
    worst = 0.0
    for step in runner.walk(game, packed, np.arange(len(packed))):
        wanted = np.stack([expected[number][step.ply] for number in step.games])
        worst = max(worst, float(np.abs(step.logits - wanted).max()))
    return worst


def score(game: Game, graph: onnx.ModelProto, ops: Ops, packed: Packed) -> dict[str, float]:
    """Give top-1 and NLL (nats) over all moves of the vocabulary, for comparing precisions on the same games."""
    hits, loss, plies = 0, 0.0, 0
    for step in StepRunner(graph.SerializeToString(), ops.state).walk(game, packed, np.arange(len(packed))):
        targets = packed.tokens[packed.offsets[step.games] + step.ply]
        shifted = step.logits.astype(np.float64) - step.logits.max(1, keepdims=True)
        chosen = np.take_along_axis(shifted, targets[:, None].astype(np.intp), 1)[:, 0]
        loss += float((np.log(np.exp(shifted).sum(1)) - chosen).sum())
        hits += int((step.logits.argmax(1) == targets).sum())
        plies += len(targets)
    return {"plies": plies, "top1": hits / plies, "nll": loss / plies}


def export(
    folder: Path,
    game: Game,
    network: NextMove,
    packed: Packed,
    *,
    precision: str = "int8",
    data: Mapping[str, Any] | None = None,
) -> Artifact:
    """Write ``<name>/<version>`` from a network and real games, which calibrate it and on which it must agree.

    ExportError, and nothing written, if the float32 graph differs from the network by more than 1e-4 in any logit.
    """
    round_weights(network)
    reference = FloatOps()
    graph = write_step(reference, game, network)
    difference = parity(game, network, graph, reference, packed)
    if not difference <= TOLERANCE:
        raise ExportError(f"graph and network differ by {difference:.2g} in a logit; {TOLERANCE:g} is allowed")
    figures: dict[str, Any] = {"games": len(packed), "largest_difference": difference, "fp32": None}
    ops: Ops = reference
    figures["fp32"] = score(game, graph, reference, packed)
    if precision == "int8":
        ops = Int8Ops(calibrate(game, network, packed, np.arange(len(packed))))
        graph = write_step(ops, game, network)
        figures["int8"] = score(game, graph, ops, packed)
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    onnx.save(graph, part / GRAPH)
    save_file({name: tensor.bfloat16() for name, tensor in network.state_dict().items()}, part / WEIGHTS)
    (part / WEIGHTS).chmod((part / GRAPH).stat().st_mode)  # safetensors leaves it to its owner alone
    write_manifest(
        part,
        {
            "name": folder.parent.name,
            "version": folder.name,
            "game": dict(game.describe()),
            "vocabulary": game.vocabulary.names,
            "context": [field.name for field in game.context],
            "state": ops.state,
            "gates": ops.gates,
            "cell": network.cell.kind,
            "precision": precision,
            "network": asdict(network.shape),
            "data": dict(data or {}),
            "figures": {},
            "parity": figures,
            "tools": {name: version(name) for name in ("torch", "onnx", "onnxruntime", "numpy")},
        },
    )
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    return Artifact.load(folder)


def load_network(artifact: Artifact) -> NextMove:
    """Give the network of a shipped artifact, to train on from or to export again."""
    network = NextMove(artifact.game, Shape(**artifact.manifest.network))
    tensors = load_file(artifact.folder / WEIGHTS)
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    return network
