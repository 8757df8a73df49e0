"""A curve that is known is found again, and a target on it takes the plies that it takes."""

import json
import math
from pathlib import Path

import pytest

from scripts.learning_curve import Curve, main

POINTS = [(plies, 1.2 + 30 * plies**-0.25) for plies in (100_000, 300_000, 1_000_000)]


def write(path: Path, points: list[tuple[int, float]]) -> Path:
    path.write_text(json.dumps({"variants": [{"tokens": plies, "fp32": {"nll": nll}} for plies, nll in points]}))
    return path


def test_the_curve_behind_the_points_is_found():
    curve = Curve.fit(POINTS, floor=1.2)
    assert (curve.b, math.exp(curve.log_a)) == pytest.approx((0.25, 30))
    assert curve.residual == pytest.approx(0, abs=1e-9)
    assert curve.plies(curve.nll(5e7)) == pytest.approx(5e7)


def test_what_is_under_the_floor_is_never_reached():
    assert Curve.fit(POINTS, floor=1.2).plies(1.1) == math.inf
    assert Curve.fit([(1000, 2.0), (2000, 2.1)], floor=0).plies(1.5) == math.inf


def test_a_higher_floor_asks_for_more_plies():
    needed = [Curve.fit(POINTS, floor).plies(1.6) for floor in (0, 0.6, 1.2)]
    assert needed == sorted(needed)
    assert needed[0] < needed[-1]


def test_the_answer_is_a_table_and_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    plies, nll = POINTS[2]
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({"data": {"trained_plies": plies}, "parity": {"fp32": {"nll": nll}}}))
    words = [str(write(tmp_path / "curve.json", POINTS[:2])), str(manifest), "--target", "1.4"]
    main([*words, "--floors", "1.2", "1.35", "--out", str(tmp_path / "curve.png")])
    assert f"| 1.20 | 0.250 | 0.000 | {(30 / 0.2) ** 4 / 1e6:,.0f} million |" in capsys.readouterr().out
    assert (tmp_path / "curve.png").stat().st_size > 1000


def test_a_floor_above_the_points_is_refused_and_a_file_of_another_kind_is_named(tmp_path: Path):
    with pytest.raises(SystemExit, match=r"floor 2\.5 needs two points"):
        main([str(write(tmp_path / "curve.json", POINTS)), "--target", "1.4", "--floors", "2.5"])
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(SystemExit, match=r"other\.json is neither a manifest nor"):
        main([str(tmp_path / "other.json"), "--target", "1.4"])
