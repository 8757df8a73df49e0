"""A stranger's network, exported with plain PyTorch as docs/own-graph.md has it, is served by adding a folder."""

import json
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from model.artifact import GRAPH, Artifact, ArtifactError, write_manifest
from scripts import wrap
from service.engine import Engine, Input
from service.models import Model
from service.settings import Settings
from tests.documents import ROOT, Reader, blocks_of
from tests.serving import play_one_by_one, predict_one, serving
from tests.test_artifact import BROKEN

GAME = ["home", "item", "cart", "search", "item", "help", "pay", "home", "search"]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Somebody who did all that the page says, and saw the answers that it shows."""
    with Reader(tmp_path_factory.mktemp("reader")) as reader:
        for block in blocks_of(ROOT / "docs" / "own-graph.md"):
            reader.follow(block)
        yield reader


def expected(network: nn.Module, pages: list[str]) -> list[dict[str, float]]:
    """What the torch module itself gives along the game, as probabilities."""
    h, tokens, told = torch.zeros(1, 48), [len(pages), *map(pages.index, GAME)], []
    for token in tokens:
        with torch.no_grad():
            scores, h = network(torch.tensor([token]), h)
        told.append(dict(zip(pages, scores.softmax(1)[0].tolist(), strict=True)))
    return told


@pytest.mark.anyio
async def test_the_service_answers_as_the_torch_module(reader: Reader, tmp_path: Path):
    settings = Settings(artifacts=reader.folder / "artifacts", model="visits", data_dir=tmp_path)
    wanted = expected(reader.names["network"], reader.names["PAGES"])
    async with serving(settings) as client:
        await client.ok("POST", "/sessions", {"session": "visitor"})
        answers = await play_one_by_one(client, "visitor", GAME)
    for answer, before, after in zip(answers, wanted, wanted[1:], strict=False):
        given = {one["move"]: one["probability"] for one in answer["next"]}
        assert given == pytest.approx(after, abs=1e-4)
        played = GAME[answer["ply"] - 1]
        assert answer["surprisal"] == [pytest.approx(-np.log(before[played]), abs=1e-4)]
    assert len({answer["next"][0]["move"] for answer in answers}) > 2


@pytest.mark.anyio
async def test_a_game_alone_and_among_others_has_the_same_bits(reader: Reader, tmp_path: Path):
    settings = Settings(artifacts=reader.folder / "artifacts", model="visits", data_dir=tmp_path)
    pages = reader.names["PAGES"]
    games = [[pages[(start + step * ply) % 6] for ply in range(9)] for start in range(6) for step in range(1, 6)]
    async with serving(settings) as client:
        alone = [await predict_one(client, "visits", game, each_ply=True) for game in games]
    # Another service, since one remembers what it answered at the beginnings of games.
    async with serving(settings) as client:
        for number in range(len(games)):
            await client.ok("POST", "/sessions", {"session": f"visitor-{number}"})
        for ply in range(9):
            steps = [{"session": f"visitor-{number}", "moves": [game[ply]]} for number, game in enumerate(games)]
            results = (await client.ok("POST", "/steps", {"steps": steps, "top_k": 100}))["results"]
            assert [one["next"] for one in results] == [whole["plies"][ply + 1]["next"] for whole in alone]


class Wrong(nn.Module):
    """A network for six moves as the page has it, which can be wrong in one way or another."""

    def __init__(self, rows: int = 7, change: Callable[[Tensor], Tensor] = lambda scores: scores) -> None:
        super().__init__()
        self.look, self.cell, self.score = nn.Embedding(rows, 4), nn.GRUCell(4, 8), nn.Linear(8, 6)
        self.change = change

    def forward(self, tokens: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = self.cell(self.look(tokens), h)
        return self.change(self.score(h)), h


class Forgetful(Wrong):
    """One that begins anew at every step."""

    def forward(self, tokens: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(tokens, torch.zeros(tokens.shape[0], 8))[0]


NAMES = {"input_names": ["tokens", "h"], "output_names": ["logits", "h_after"]}
FREE = {name: {0: "rows"} for name in ("tokens", "h", "logits", "h_after", "moves", "hn")}


def exported(folder: Path, network: nn.Module, *states: Tensor, **options: Any) -> Path:
    """Write a graph with PyTorch's older exporter, which needs no further package."""
    path = folder / "graph.onnx"
    given: tuple[Tensor, ...] = torch.zeros(2, dtype=torch.int64), *(states or (torch.zeros(2, 8),))
    settings = NAMES | {"dynamic_axes": FREE} | options
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(), given[: len(settings["input_names"])], path, dynamo=False, opset_version=20, **settings
        )
    (folder / "moves.txt").write_text("\n".join("abcdef"))
    return path


def wrapped(graph: Path, *more: str) -> Path:
    out = graph.parent / "artifacts" / "mine" / "1"
    wrap.main(["--graph", str(graph), "--vocabulary", str(graph.parent / "moves.txt"), "--out", str(out), *more])
    return out


WRONG: dict[str, tuple[nn.Module, dict[str, Any], str]] = {
    "an input of another name": (
        Wrong(),
        {"input_names": ["moves", "h"]},
        "no output is called 'moves_after'; say --state moves=OUTPUT, one of: h_after",
    ),
    "a state of another name": (
        Wrong(),
        {"output_names": ["logits", "hn"]},
        "no output is called 'h_after'; say --state h=OUTPUT, one of: hn",
    ),
    "a fixed number of rows": (Wrong(), {"dynamic_axes": {}}, "'h' is tensor(float) [2, 8]; a state is float32 or"),
    "no state": (
        Forgetful(),
        {"input_names": ["tokens"], "output_names": ["logits"]},
        "it reads 'tokens' and no state, so it remembers nothing",
    ),
    "no row for the start": (Wrong(rows=6), {}, "it cannot read the start of a game, token 6: "),
    "scores that are no numbers": (Wrong(change=torch.log), {}, "scores at the start of a game are not all numbers"),
    "another number of moves": (
        Wrong(change=lambda scores: scores[:, :5]),
        {},
        "output 'logits' is tensor(float) [5], its game and manifest need tensor(float) [6]",
    ),
    "rows that see each other": (
        Wrong(change=lambda scores: scores - scores.mean()),
        {},
        "a game alone and among others differs by up to 0.",
    ),
}


@pytest.mark.parametrize(("network", "options", "says"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_graph_is_refused_in_words(tmp_path: Path, network: nn.Module, options: dict[str, Any], says: str):
    torch.manual_seed(0)
    with pytest.raises(SystemExit) as refusal:
        wrapped(exported(tmp_path, network, **options))
    assert str(refusal.value).startswith("wrap: ")
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert not list((tmp_path / "artifacts").rglob("*.*"))


class Layers(nn.Module):
    """Two layers of an LSTM, whose states have the rows first, as the page wants it."""

    def __init__(self) -> None:
        super().__init__()
        self.look, self.cell, self.score = nn.Embedding(7, 4), nn.LSTM(4, 8, num_layers=2), nn.Linear(8, 6)

    def forward(self, tokens: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        read, (h, c) = self.cell(self.look(tokens)[None], (h.transpose(0, 1), c.transpose(0, 1)))
        return self.score(read[0]), h.transpose(0, 1), c.transpose(0, 1)


def test_several_states_of_several_layers_are_as_good(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    network = Layers()
    names = {"input_names": ["tokens", "h", "c"], "output_names": ["logits", "h_after", "c_after"]}
    free = {name: {0: "rows"} for group in names.values() for name in group}
    states = torch.zeros(2, 2, 8), torch.zeros(2, 2, 8)
    artifact = Artifact.load(wrapped(exported(tmp_path, network, *states, dynamic_axes=free, **names)))
    assert json.loads(capsys.readouterr().out)["same_bits"] is True
    assert [(tensor.name, tensor.shape) for tensor in artifact.manifest.state] == [("h", (2, 8)), ("c", (2, 8))]
    engine = Engine(artifact)
    state, (h, c), token = engine.initial, (torch.zeros(1, 2, 8), torch.zeros(1, 2, 8)), 6
    for following in (0, 3, 5, 1):
        with torch.no_grad():
            scores, h, c = network(torch.tensor([token]), h, c)
        shown, (state,) = engine.step([Input(token, (), b"")], [state])
        assert shown == pytest.approx(scores.numpy(), abs=1e-5)
        token = following


def test_what_is_wrong_may_be_put_right_by_a_flag(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    graph = exported(tmp_path, Wrong(), output_names=["logits", "hn"])
    manifest = Artifact.load(wrapped(graph, "--state", "h=hn", "--initial", "h=1")).manifest
    assert (manifest.state[0].output, manifest.state[0].initial) == ("hn", 1)
    assert json.loads(capsys.readouterr().out)["same_bits"] is True
    with pytest.raises(SystemExit, match="is there already"):
        wrapped(graph, "--state", "h=hn")
    shutil.rmtree(tmp_path / "artifacts")
    with pytest.raises(SystemExit, match="no state is called 'c': there are h"):
        wrapped(graph, "--state", "h=hn", "c=cn")


def test_rows_that_see_each_other_a_little_can_be_allowed(tmp_path: Path):
    graph = exported(tmp_path, Wrong(change=lambda scores: scores - scores.mean() * 1e-4))
    parity = Artifact.load(wrapped(graph, "--tolerance", "1e-3")).manifest.parity
    assert parity["same_bits"] is False
    assert 0 < parity["alone_and_together"] < 1e-3


# What a manifest written by hand gets wrong, and what the service says of it.
BY_HAND: dict[str, tuple[dict[str, Any], str]] = {
    "no state": ({"state": []}, "its manifest names no state, so the graph would remember nothing"),
    "a state of another width": (
        {"state": [{"name": "h", "output": "h_after", "dtype": "float32", "shape": [9]}]},
        "input 'h' is tensor(float) [8], its game and manifest need tensor(float) [9]",
    ),
    "a state of another name": (
        {"state": [{"name": "h0", "output": "h_after", "dtype": "float32", "shape": [8]}]},
        "input 'h' is tensor(float) [8], its game and manifest need none",
    ),
    "a move too many": ({"vocabulary": [*"abcdefg"]}, "output 'logits' is tensor(float) [6], its game and manifest"),
}


def written_by_hand(graph: Path, **changes: Any) -> Path:
    folder = graph.parent / "mine" / "1"
    folder.mkdir(parents=True)
    shutil.copy(graph, folder / GRAPH)
    state = {"name": "h", "output": "h_after", "dtype": "float32", "shape": [8]}
    needed = {"name": "mine", "version": "1", "game": {"name": "tokens"}, "vocabulary": [*"abcdef"], "state": [state]}
    manifest = needed | {"cell": "gru", "precision": "fp32"}
    write_manifest(folder, manifest)
    content = json.loads((folder / "manifest.json").read_text())
    kept = {name: content[name] for name in (*manifest, "format", "sha256")} | changes
    (folder / "manifest.json").write_text(json.dumps(kept))
    return folder


def test_a_manifest_of_what_is_needed_is_enough(tmp_path: Path):
    model = Model.load(written_by_hand(exported(tmp_path, Wrong())), max_batch=4, max_queue=10, brief=0.0)
    model.scheduler.close()
    assert (model.name, len(model.game.vocabulary), model.gates) == ("mine", 6, None)


@pytest.mark.parametrize(("changes", "says"), BY_HAND.values(), ids=BY_HAND.keys())
def test_a_wrong_manifest_is_refused_in_words(tmp_path: Path, changes: dict[str, Any], says: str):
    folder = written_by_hand(exported(tmp_path, Wrong()), **changes)
    with pytest.raises(ArtifactError) as refusal:
        Model.load(folder, max_batch=4, max_queue=10, brief=0.0)
    assert says in str(refusal.value)


def test_a_graph_for_one_number_of_rows_is_refused(tmp_path: Path):
    folder = written_by_hand(exported(tmp_path, Wrong(), dynamic_axes={}))
    with pytest.raises(ArtifactError, match=r"input 'tokens' is \[2\]; its first axis, the rows, has to be free"):
        Model.load(folder, max_batch=4, max_queue=10, brief=0.0)


def test_a_graph_of_chess_may_do_without_the_board(tmp_path: Path):
    moves = 1860
    network = Wrong(rows=moves + 1)
    network.score = nn.Linear(8, moves)
    folder = tmp_path / "mine" / "1"
    wrap.main(["--graph", str(exported(tmp_path, network)), "--game", "chess", "--out", str(folder)])
    engine = Engine(Artifact.load(folder))
    assert {value.name for value in onnx.load(folder / GRAPH).graph.input} == {"tokens", "h"}
    shown, _ = engine.step(wrap.random_inputs(Artifact.load(folder).game, 1)[:1], [engine.initial])
    assert shown.shape == (1, moves)


def kind(message: str) -> str:
    """A message without what differs from graph to graph."""
    return re.sub(r"'.*?'|tensor\(\w+\)|\[.*?\]|\d+(\.\d*)?", "#", message)


def test_the_errors_that_the_page_explains_are_those_that_are_said():
    table = (ROOT / "docs" / "own-graph.md").read_text().partition("## When it is refused")[2]
    explained = [kind(row.partition("…")[0].strip()) for row in re.findall(r"^\| `(.*?)`", table, re.MULTILINE)]
    said = [kind(says) for *_, says in (*WRONG.values(), *BY_HAND.values(), *BROKEN.values())]
    assert len(explained) == 8
    assert [one for one in explained if not any(one in other or other in one for other in said)] == []
