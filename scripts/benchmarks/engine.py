"""Reads a setting and gives the steps a second of the network alone, by precision and by rows of a step."""

from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm import tqdm

from scripts.bench import engines_of, random_inputs, time_steps
from scripts.benchmarks.figures import Run
from scripts.benchmarks.setting import Setting

_ROWS = (1, 8, 64)


def measure(setting: Setting) -> list[Run]:
    """Measure both precisions in turn, on one thread; a run has ``steps_per_second``."""
    runs: list[Run] = []
    for model in setting.models:
        artifact = setting.artifact(model)
        with TemporaryDirectory() as folder:
            engines = engines_of(artifact, Path(folder))
        todo = [(number, rows, name) for number in range(setting.rounds) for rows in _ROWS for name in engines]
        for number, rows, name in tqdm(todo, f"engine: {model}"):
            rate = time_steps(engines[name], random_inputs(artifact.game, rows, seed=rows), setting.seconds)
            runs.append({
                "model": model, "precision": name, "rows": rows, "round": number, "steps_per_second": rate
            })  # fmt: skip
    return runs
