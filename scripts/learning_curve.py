"""Run ``python -m scripts.learning_curve curve.json artifacts/chess/3/manifest.json --target 1.56 --out curve.png``.

Reads the figures that ``scripts.compare --vary tokens=… --json`` wrote, and manifests of models, fits NLL = floor + a ·
plies^−b to what all of them have on held-out games, and says how many plies a target would take, as a table and a
picture. What cannot be foreseen at all, the floor, is not known: so the answer is given for several.
"""

import argparse
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# Plies beyond which nothing is drawn.
_FARTHEST = 1e12


@dataclass(frozen=True)
class Curve:
    """NLL = ``floor`` + exp(``log_a``) · plies^−``b``, in nats."""

    floor: float
    log_a: float
    b: float
    residual: float
    """Root mean square of measured − fitted NLL."""

    @classmethod
    def fit(cls, points: list[tuple[int, float]], floor: float) -> "Curve":
        """Fit by least squares of ln(NLL − floor) over ln plies; ValueError with fewer than two points above it."""
        plies, nll = map(np.array, zip(*points, strict=True))
        if len(set(plies)) < 2 or nll.min() <= floor:
            raise ValueError(f"a curve with the floor {floor} needs two points or more, all above it")
        slope, log_a = np.polyfit(np.log(plies), np.log(nll - floor), 1)
        error = floor + np.exp(log_a) * plies**slope - nll
        return cls(floor, float(log_a), float(-slope), float(np.sqrt(np.mean(error**2))))

    def nll(self, plies: float) -> float:
        """Give the NLL after so many plies."""
        return self.floor + math.exp(self.log_a - self.b * math.log(plies))

    def plies(self, target: float) -> float:
        """Give after how many plies a target is reached, infinity if it is not above the floor or nothing is learnt."""
        if target <= self.floor or self.b <= 0:
            return math.inf
        return math.exp((self.log_a - math.log(target - self.floor)) / self.b)


def read_points(path: Path) -> list[tuple[int, float]]:
    """Give plies and NLL of each variant of a comparison of ``tokens``, or of the one model of a manifest.

    ValueError if the file is neither.
    """
    try:
        content = json.loads(path.read_text())
        if "variants" in content:
            return [(int(row["tokens"]), float(row["fp32"]["nll"])) for row in content["variants"]]
        return [(int(content["data"]["trained_plies"]), float(content["parity"]["fp32"]["nll"]))]
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        what = "neither a manifest nor what scripts.compare --vary tokens=… --json writes"
        raise ValueError(f"{path.name} is {what}: {error}") from None


def table(curves: list[Curve], target: float) -> str:
    """Write what each floor says."""
    lines = ["| floor | exponent | off by | plies to the target |", "|---:|---:|---:|---:|"]
    for curve in curves:
        plies = curve.plies(target)
        needed = "never" if math.isinf(plies) else f"{plies / 1e6:,.0f} million"
        lines.append(f"| {curve.floor:.2f} | {curve.b:.3f} | {curve.residual:.3f} | {needed} |")
    return "\n".join(lines)


def draw(points: list[tuple[int, float]], curves: list[Curve], target: float, path: Path) -> None:
    """Draw the points, the curves and the target."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    seen = [plies for plies, _ in points]
    reached = [plies for plies in (curve.plies(target) for curve in curves) if plies < _FARTHEST]
    xs = np.geomspace(min(seen), 2 * max(seen + reached))
    for curve in curves:
        axes.plot(xs, [curve.nll(x) for x in xs], linewidth=1, label=f"floor {curve.floor:.2f}")
    axes.plot(*zip(*points, strict=True), "ko", label="measured")
    axes.axhline(target, color="grey", linestyle=":", label=f"{target:.3f}")
    axes.set(xscale="log", xlabel="plies", ylabel="nats a move")
    axes.legend()
    figure.savefig(path, dpi=120, bbox_inches="tight")
    pyplot.close(figure)


def main(words: list[str] | None = None) -> None:
    """Fit, print and draw; what a person can put right ends in a message."""
    parser = argparse.ArgumentParser(prog="python -m scripts.learning_curve", description="Extrapolate a curve.")
    parser.add_argument("figures", type=Path, nargs="+", help="of scripts.compare --vary tokens=… --json, or manifests")
    parser.add_argument("--target", type=float, required=True, metavar="NLL", help="nats a move to be reached")
    parser.add_argument("--floors", type=float, nargs="+", default=[0.0, 1.0, 1.3], metavar="NLL", help="(0 1 1.3)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="a picture to write")
    arguments = parser.parse_args(words)
    try:
        points = sorted(point for path in arguments.figures for point in read_points(path))
        curves = [Curve.fit(points, floor) for floor in arguments.floors]
    except (OSError, ValueError) as error:
        sys.exit(f"learning_curve: {error}")
    print(table(curves, arguments.target))
    if arguments.out:
        draw(points, curves, arguments.target, arguments.out)


if __name__ == "__main__":
    main()
