"""Run ``python -m scripts.benchmarks``: measures the service beside Triton and a hand-written one.

Writes every run as JSON, the tables of docs/benchmarks.md and its plots. Parts and models that are not measured now
keep what was measured before. Machines are noisy: compare ratios of one run, not figures of two.
"""

import argparse
import json
import os
import platform
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from model.artifact import ArtifactError
from scripts.arguments import count, number
from scripts.benchmarks import (
    apart,
    asgi,
    bulk,
    engine,
    footprint,
    game_length,
    one_client,
    plots,
    service_times,
    single_moves,
    wrk,
)
from scripts.benchmarks.figures import Run, values
from scripts.benchmarks.promises import promises
from scripts.benchmarks.servers import BenchmarkError
from scripts.benchmarks.setting import CHESS, TOKENS, Setting, place_models
from scripts.benchmarks.tables import TABLES
from scripts.pages import fill, rounded
from scripts.peers.environment import PeerError
from scripts.peers.triton_server import install

PARTS: Mapping[str, Callable[[Setting], list[Run]]] = {
    "engine": engine.measure,
    "asgi": asgi.measure,
    "http": single_moves.measure,
    "apart": apart.measure,
    "client": one_client.measure,
    "steps": bulk.measure_steps,
    "predict": bulk.measure_predict,
    "streams": bulk.measure_streams,
    "plies": game_length.measure,
    "starts": footprint.measure_start,
    "sessions": footprint.measure_sessions,
}
_TIMES = "times"
_ROOT = Path(__file__).parents[2]
_PEERS = Path.home() / ".cache" / "nextply-peers"
# More than any figure has that count.
_DIGITS = 6


def machine() -> dict[str, Any]:
    """Say on what, and with which versions, everything was measured."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    packages = {name: version(name) for name in ("onnxruntime", "fastapi", "uvicorn", "lmdb")}
    versions = {"python": f"{platform.python_version()} {' '.join(platform.python_build())}"} | packages
    return {"processor": names[0] if names else platform.machine(), "cores": os.cpu_count(), "versions": versions}


def write(results: Mapping[str, Any], out: Path, page: Path | None) -> None:
    """Write ``results.json`` and the plots into a folder, and the tables into a page."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    plots.draw(results, out)
    if page is not None:
        texts = {name: show(results[part]) for name, (part, show) in TABLES.items() if results.get(part)}
        page.write_text(fill(page.read_text(), texts | {"promises": promises(results)}))


def run(setting: Setting, parts: Sequence[str], out: Path, page: Path | None) -> dict[str, Any]:
    """Measure parts, and write after each; give all results, those of earlier runs among them."""
    kept = out / "results.json"
    results: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    for part in parts:
        if part == _TIMES:
            for model in setting.models:
                single, two = results.get("http", []), results.get("apart", [])
                times = rounded(service_times.measure(setting, model, single, two), _DIGITS)
                name = "service_times.json" if model == TOKENS else f"service_times-{model}.json"
                (out / name).write_text(json.dumps(times, indent=1) + "\n")
            continue
        runs = rounded(PARTS[part](setting), _DIGITS)
        others = [run for run in results.get(part, []) if run["model"] not in values(runs, "model")]
        results[part] = others + runs
        how = {"rounds": setting.rounds, "seconds": setting.seconds} | machine()
        results["measured"] = results.get("measured", {}) | {part: how}
        write(results, out, page)
    return results


def _parts(text: str) -> list[str]:
    known = [*PARTS, _TIMES]
    if unknown := set(text.split(",")) - set(known):
        raise argparse.ArgumentTypeError(f"no part is named {', '.join(sorted(unknown))}; parts are {', '.join(known)}")
    return [part for part in known if part in text.split(",")]


def _arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.benchmarks", description="Measure the service.")
    parser.add_argument(
        "--only", type=_parts, default=[*PARTS, _TIMES], metavar="A,B", help=f"parts of {', '.join([*PARTS, _TIMES])}"
    )
    parser.add_argument("--models", nargs="+", choices=(TOKENS, CHESS), default=[TOKENS, CHESS], help="(both)")
    parser.add_argument("--rounds", type=count, default=3, metavar="N", help="of which the median counts (3)")
    parser.add_argument("--seconds", type=float, default=5.0, metavar="S", help="of one measurement (5)")
    parser.add_argument(
        "--connections", type=count, nargs="+", default=[1, 16, 64, 256], metavar="N", help="of single moves"
    )
    parser.add_argument("--workers", type=count, nargs="+", default=[1, 2], metavar="N", help="processes (1 2)")
    parser.add_argument("--many", type=number, default=1024, metavar="N", help="connections of ours alone, 0 none")
    parser.add_argument("--sessions", type=count, default=5000, metavar="N", help="whose memory is measured (5000)")
    parser.add_argument("--chess", type=Path, default=_ROOT / "artifacts/chess/3", metavar="FOLDER", help="the model")
    peers = parser.add_mutually_exclusive_group()
    peers.add_argument("--peers", type=Path, default=_PEERS, metavar="FOLDER", help="where Triton is installed")
    peers.add_argument("--without-peers", action="store_true", help="measure the service alone")
    parser.add_argument("--work", type=Path, default=_ROOT / "runs/benchmarks", metavar="FOLDER", help="on a disk")
    parser.add_argument("--out", type=Path, default=_ROOT / "docs/benchmarks", metavar="FOLDER", help="JSON and plots")
    parser.add_argument("--page", type=Path, default=_ROOT / "docs/benchmarks.md", metavar="FILE", help="takes tables")
    parser.add_argument("--no-page", action="store_true", help="leave the page as it is")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> None:
    """Measure; what a person can put right ends in a message."""
    given = _arguments(words)
    # Who is told to end ends the servers as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("benchmarks: stopped"))
    work = given.work.resolve()
    try:
        peers = None if given.without_peers else given.peers.resolve()
        if peers is not None:
            install(peers)
        if {"http", "apart"} & set(given.only):
            wrk.find()
        models = {name: root for name, root in place_models(work, given.chess).items() if name in given.models}
        setting = Setting(
            work=work,
            models=models,
            rounds=given.rounds,
            seconds=given.seconds,
            connections=tuple(given.connections),
            workers=tuple(given.workers),
            many=given.many,
            sessions=given.sessions,
            peers=peers,
            shipped=_ROOT / "artifacts",
        )
        results = run(setting, given.only, given.out, None if given.no_page else given.page)
    except (ArtifactError, BenchmarkError, PeerError, OSError, ValueError) as error:
        sys.exit(f"benchmarks: {error}")
    print(promises(results))


if __name__ == "__main__":
    main()
