"""Run ``python -m scripts.simulate_fleet --times docs/benchmarks/service_times.json --out docs/scaling``.

Reads measured service times, one file a model, simulates the machine on which they were measured, and then the cells of
a fleet. Gives ``results.json`` and pictures in ``--out``, and puts tables in the page beside it, ``docs/scaling.md``.
``--check`` compares with the measured runs alone, and fails if one is off by more than 15 %.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from tqdm import tqdm

from scripts.fleet.calibration import agree, calibrate
from scripts.fleet.capacity import Aim, Hardware, OutOfReachError
from scripts.fleet.design import Design
from scripts.fleet.pictures import draw
from scripts.fleet.plan import Plan
from scripts.fleet.questions import QUESTIONS, ask
from scripts.fleet.tables import sections
from scripts.fleet.times import ServiceTimes, ShardCosts, TimesError
from scripts.pages import PageError, fill, rounded

# What can be chosen by a flag of the field's name.
_GROUPS = {"design": Design, "shard": ShardCosts, "aim": Aim, "hardware": Hardware}
# More of a simulation mean nothing.
_DIGITS = 4


def check(plan: Plan, requests: int) -> bool:
    """Print each measured run beside its simulation; say whether all are near enough."""
    print(f"{plan.times.model}\nworkers connections requests/s simulated  p99 ms simulated")
    found = [agree(plan, run, requests).described() for run in tqdm(plan.times.measured, unit="run", leave=False)]
    for one in found:
        run, ratio = one["measured"], one["ratio"]
        words = f"{run['workers']:7} {run['connections']:11} {run['requests_per_second']:10,.0f}"
        words += f" × {ratio['throughput']:.2f} {1000 * run['p99']:12.1f} × {ratio['p99']:.2f}"
        print(words if all(one["within"].values()) else f"{words}  off")
    return all(all(one["within"].values()) for one in found)


def answer_all(plans: Sequence[Plan], aim: Aim, hardware: Hardware) -> list[dict[str, Any]]:
    """Give the answers to all questions about each plan, with what was fitted."""
    models = []
    with tqdm(total=len(plans) * (len(QUESTIONS) + 1), unit="question") as bar:
        for plan in plans:
            answers = ask(plan, aim, hardware, lambda _: bar.update())
            found = {"noise": plan.noise, "crowd_noise": plan.crowd_noise} | {
                name: getattr(plan.times, name) for name in ("http_request", "http_batch")
            }
            models.append(answers | {"slug": plan.times.slug, "found": found})
    return models


def write(out: Path, settings: dict[str, Any], models: Sequence[dict[str, Any]]) -> None:
    """Write results and pictures, and the tables of the page beside the folder if there is one."""
    out.mkdir(parents=True, exist_ok=True)
    results = rounded({"settings": settings, "models": models}, _DIGITS)
    (out / "results.json").write_text(json.dumps(results, ensure_ascii=False) + "\n")
    for answers in results["models"]:
        draw(out, answers["slug"], answers, settings["aim"]["p99"])
    page = out.with_suffix(".md")
    if page.exists():
        page.write_text(
            fill(page.read_text(), sections(results["settings"], results["models"], out.name), "begin ", "end ")
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.simulate_fleet", description="Simulate fleets.")
    parser.add_argument("--times", type=Path, nargs="+", required=True, metavar="FILE", help="measured service times")
    parser.add_argument("--out", type=Path, default=Path("docs/scaling"), metavar="FOLDER", help="(docs/scaling)")
    parser.add_argument("--check", action="store_true", help="compare with the measured runs, and no more")
    parser.add_argument("--as-given", action="store_true", help="take --noise as it is, fit nothing")
    parser.add_argument("--cores", type=int, default=2, help="of the machine on which it was measured (2)")
    parser.add_argument(
        "--client", type=float, default=19e-6, help="CPU of the load generator and the network for a request (19e-6)"
    )
    parser.add_argument("--noise", type=float, default=0.7, help="deviation of times, as a part of them (0.7)")
    parser.add_argument("--seed", type=int, default=0, help="(0)")
    for group, kind in _GROUPS.items():
        box = parser.add_argument_group(group, f"see {kind.__name__}, scripts/fleet")
        for field in fields(kind):
            flag, default = f"--{field.name.replace('_', '-')}", field.default
            if isinstance(default, bool):
                box.add_argument(flag, action=argparse.BooleanOptionalAction, default=default)
            else:
                box.add_argument(flag, type=type(default), default=default, help=f"({default:g})")
    return parser


def _chosen(given: argparse.Namespace) -> dict[str, Any]:
    return {
        name: kind(**{field.name: getattr(given, field.name) for field in fields(kind)})
        for name, kind in _GROUPS.items()
    }


def _plans(given: argparse.Namespace, read: Sequence[ServiceTimes], chosen: dict[str, Any]) -> list[Plan]:
    return [
        Plan(
            times,
            cores=given.cores,
            client=given.client,
            noise=given.noise,
            seed=given.seed,
            design=chosen["design"],
            costs=chosen["shard"],
        )
        for times in read
    ]


def main(words: list[str] | None = None) -> None:
    """Simulate, draw, write; or check."""
    parser = _parser()
    given = parser.parse_args(words)
    chosen = _chosen(given)
    try:
        read = [ServiceTimes.read(path) for path in given.times]
    except TimesError as error:
        sys.exit(f"simulate_fleet: {error}")
    if len({times.slug for times in read}) < len(read):
        parser.error("two files are of the same model")
    plans = _plans(given, read, chosen)
    if not given.as_given:
        plans = [calibrate(plan) for plan in tqdm(plans, "fitting", leave=False)]
    if given.check:
        near = [check(plan, chosen["aim"].requests) for plan in plans]
        if not all(near):
            sys.exit("simulate_fleet: some runs are off by more than 15 %")
        return
    machine = {"cores": given.cores, "client": given.client, "seed": given.seed}
    settings = {"machine": machine} | {name: asdict(group) for name, group in chosen.items()}
    try:
        write(given.out, settings, answer_all(plans, chosen["aim"], chosen["hardware"]))
    except (OutOfReachError, PageError) as error:
        sys.exit(f"simulate_fleet: {error}")


if __name__ == "__main__":
    main()
