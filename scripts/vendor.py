"""Reads pinned packages of the npm registry and gives what the playground and its tests carry of them, with licences.

``python -m scripts.vendor`` needs npm and the network; what it writes is committed, so the service needs neither.
"""

import json
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent
PRODUCT = ROOT / "service" / "playground" / "static" / "vendor"
TESTS = ROOT / "tests" / "browser" / "vendor"

BOARD, AXE, BUNDLER = "cm-chessboard@8.15.1", "axe-core@4.14.1", "esbuild@0.25.12"

# The page's Content-Security-Policy allows no style attributes; setting styles one by one is allowed.
CHANGES = {
    "src/view/VisualMoveInput.js": [('.setAttribute("style",', ".style.cssText = String(", 2)],
    "src/lib/Svg.js": [
        (
            "element.setAttribute(attribute, attributes[attribute])",
            'attribute === "style" ? (element.style.cssText = attributes.style) '
            ": element.setAttribute(attribute, attributes[attribute])",
            1,
        )
    ],
}
ENTRY = """
export {Chessboard, COLOR, INPUT_EVENT_TYPE} from "cm-chessboard/src/Chessboard.js"
export {Arrows} from "cm-chessboard/src/extensions/arrows/Arrows.js"
export {Markers} from "cm-chessboard/src/extensions/markers/Markers.js"
"""


def main() -> None:
    """Fetch the packages and write what is kept of them."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "package.json").write_text(json.dumps({"private": True}))
        _run(folder, "npm", "install", "--no-audit", "--no-fund", "--save-exact", BOARD, AXE, BUNDLER)
        board, axe = folder / "node_modules" / "cm-chessboard", folder / "node_modules" / "axe-core"
        _change(board)
        (folder / "entry.js").write_text(ENTRY)
        bundle = (
            "--bundle",
            "--format=esm",
            "--charset=utf8",
            f"--banner:js=// @ts-nocheck: {BOARD}, MIT, see cm-chessboard.LICENSE",
        )
        _run(folder, "node_modules/.bin/esbuild", "entry.js", *bundle, "--outfile=bundle.js")
        _copy(folder / "bundle.js", PRODUCT / "cm-chessboard.js")
        _copy(board / "LICENSE", PRODUCT / "cm-chessboard.LICENSE")
        for kind in ("arrows", "markers"):
            _copy(board / "assets" / "extensions" / kind / f"{kind}.svg", PRODUCT / f"{kind}.svg")
        _copy(axe / "axe.min.js", TESTS / "axe.min.js")
        _copy(axe / "LICENSE", TESTS / "axe.LICENSE")


def _run(folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, check=True)


def _change(board: Path) -> None:
    """Make the changes; a version that has other places to change must be looked at by somebody."""
    for name, changes in CHANGES.items():
        text = (board / name).read_text()
        for before, after, times in changes:
            if text.count(before) != times:
                raise SystemExit(f"{BOARD}: {before!r} is not {times} times in {name}; look at it again")
            text = text.replace(before, after)
        (board / name).write_text(text)


def _copy(source: Path, destination: Path) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, destination)


if __name__ == "__main__":
    main()
