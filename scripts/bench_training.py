"""Run ``python -m scripts.bench_training``: measures how fast the cells learn, beside those of PyTorch.

Times forward and backward on one thread, round by round in turn, and gives plies/s; the last line is JSON. Machines are
noisy: compare ratios of one run, not figures of two.
"""

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from model.cells import CELLS, make_cell

# Inputs, width, layers, games side by side, plies of each: chess/3's cell with a batch of training, and two layers,
# also with the large batches of a game of tokens, where nothing else takes memory.
SHAPES = ((256, 384, 1, 13, 80), (256, 384, 1, 25, 80), (512, 512, 2, 25, 80), (512, 512, 2, 100, 80))
_LIBRARY = "nn.LSTM, float32"

Run = Callable[[torch.Tensor], object]


def _runs(inputs: int, width: int, layers: int) -> dict[str, tuple[Run, bool]]:
    """Give each module by its name, and whether it runs under bfloat16 autocast."""
    library = nn.LSTM(inputs, width, layers)
    runs: dict[str, tuple[Run, bool]] = {_LIBRARY: (library, False), "nn.LSTM, autocast": (library, True)}
    return runs | {f"{kind}, autocast": (make_cell(kind, inputs, width, layers), True) for kind in CELLS}


def _time(run: Run, mixed: bool, sequence: torch.Tensor, seconds: float) -> float:
    """Give plies/s of forward and backward."""
    passes, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed):
            outputs, *_ = run(sequence)  # type: ignore[misc]
        outputs.backward(torch.ones_like(outputs))
        passes += 1
    return passes * sequence.shape[0] * sequence.shape[1] / elapsed


def main(words: list[str] | None = None) -> None:
    """Measure and print a table a shape, then one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m scripts.bench_training", description="Measure how cells learn.")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds, of which the median counts (5)")
    parser.add_argument("--seconds", type=float, default=0.3, help="of one measurement (0.3)")
    arguments = parser.parse_args(words)
    torch.set_num_threads(1)
    results = []
    for inputs, width, layers, games, plies in SHAPES:
        runs = _runs(inputs, width, layers)
        sequence = torch.randn(plies, games, inputs, requires_grad=True)
        rates: dict[str, list[float]] = {name: [] for name in runs}
        for _ in tqdm(range(arguments.rounds + 1), desc=f"{layers} × {width}, {games} games"):
            for name, (run, mixed) in runs.items():
                rates[name].append(_time(run, mixed, sequence, arguments.seconds))
        print(f"\n{layers} × {width}, {inputs} inputs, {games} games of {plies} plies\n")
        print("| | plies/s | times nn.LSTM in float32 |\n|---|---:|---:|")
        # The first round warms up.
        for name, measured in rates.items():
            rate, ratio = np.median(measured[1:]), np.median(np.divide(measured, rates[_LIBRARY])[1:])
            print(f"| {name} | {rate:,.0f} | {ratio:.2f} |")
            shape = {"inputs": inputs, "width": width, "layers": layers, "games": games, "plies": plies}
            results.append(shape | {"cell": name, "plies_per_second": round(rate), "ratio": round(float(ratio), 2)})
    print("\n" + json.dumps(results))


if __name__ == "__main__":
    main()
