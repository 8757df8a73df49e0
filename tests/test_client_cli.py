"""The command nextply against a service in a process of its own: what it prints, its JSON, and its exit codes."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from nextply_client import Client, errors
from nextply_client.cli.app import app
from nextply_client.cli.bench import Load, report
from nextply_client.cli.imports import chosen
from nextply_client.pgn import read_pgn
from typer.testing import CliRunner

from service.settings import Settings
from tests.serving import Process

DONE, REFUSED, MISUNDERSTOOD, AWAY, UNKNOWN, ILLEGAL = range(6)
GAMES = """
[Event "one"]
[WhiteElo "1500"]
[BlackElo "?"]
[TimeControl "600+5"]

1. e4 {a comment
[%clk 0:10:00] over two lines} e5 2. Nf3 (2. f4 exf4) Nc6 1-0

[Event "cut"]

1. d4 {no end

[Event "illegal"]

1. e4 e5 2. Ke3 *

[Event "again"]
[WhiteElo "1500"]
[TimeControl "600+5"]

1. e4 e5 2. Nf3 Nc6 0-1

[Event "set up"]
[FEN "4k3/8/8/8/8/8/8/4K3 w - - 0 1"]

1. Kd2 *

% without tags
1. d4 d5 1/2-1/2
1. c4 *
"""
OUTCOMES = {1: "opened", 2: "refused", 3: "refused", 4: "opened", 5: "refused", 6: "opened", 7: "opened"}


@pytest.fixture(scope="module")
def process(artifacts: Path) -> Iterator[Process]:
    with Process(Settings(artifacts=artifacts, store="memory")) as process:
        yield process


@pytest.fixture
def client(process: Process) -> Iterator[Client]:
    with Client(process.url) as client:
        yield client
        for summary in list(client.sessions()):
            client.delete(summary.session)


@pytest.fixture
def nextply(process: Process, monkeypatch: pytest.MonkeyPatch) -> "Nextply":
    monkeypatch.setenv("NEXTPLY_URL", process.url)
    return Nextply()


class Nextply:
    """The command, which talks to the service of this module."""

    def __call__(self, *words: str, code: int = DONE, typed: str | None = None, **environment: str) -> Result:
        result = CliRunner().invoke(app, words, input=typed, env=environment, prog_name="nextply")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        assert "\x1b" not in result.output
        return result

    def json(self, *words: str, **options: Any) -> list[Any]:
        return [json.loads(line) for line in self(*words, "--json", **options).stdout.splitlines()]


def test_predict_reads_games_as_people_write_them(nextply: Nextply, client: Client):
    shown = nextply("predict", "1. e4 e5 2. Nf3", "-k", "3").stdout.splitlines()
    expected = client.predict("e4 e5 Nf3", top_k=3).predictions[0].next
    assert shown[:2] == ["chess/1", "1. e4 e5 2. Nf3"]
    assert [line.split()[:2] for line in shown[2:]] == [[one.san, f"({one.move})"] for one in expected]
    assert [line.split()[2] for line in shown[2:]] == [f"{100 * one.probability:.1f}" for one in expected]
    one, other = nextply.json("predict", "e2e4 e7e5", "d4,d5", "--top-k", "2")[0]["predictions"]
    assert one["next"][0]["move"] == client.predict("e4 e5").predictions[0].next[0].move
    assert (other["ply"], len(other["next"])) == (2, 2)
    assert nextply.json("predict", "-", typed="e4\n\nd4\n")[0]["predictions"][1]["ply"] == 1
    assert nextply("predict", "").stdout.splitlines()[1] == "before the first move"


def test_ratings_and_models_change_what_is_predicted(nextply: Nextply, client: Client):
    rated = nextply.json("predict", "e4", "--white-elo", "900", "--black-elo", "2500")[0]
    assert rated != nextply.json("predict", "e4")[0]
    assert nextply.json("predict", "red", "--model", "colours")[0]["model"] == {"name": "colours", "version": "1"}
    scored = nextply("predict", "e4 e5", "--score").stdout
    surprisal = client.predict("e4 e5", score=True).predictions[0].surprisal
    assert surprisal is not None
    assert [line.split()[-1] for line in scored.splitlines()[2:4]] == [f"{value:.2f})" for value in surprisal]


def test_models_are_listed(nextply: Nextply):
    assert "chess/1 (default)" in nextply("models").stdout
    assert {model["name"] for model in nextply.json("models")[0]} >= {"chess", "colours", "othello"}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["predict", "e4 e4"], ILLEGAL, "not legal"),
        (["predict", "e4 {"], REFUSED, "comment is not closed"),
        (["predict", "e4", "--model", "go"], UNKNOWN, "go"),
        (["predict", "red", "--model", "colours", "--white-elo", "1500"], REFUSED, "white_elo"),
        (["watch", "nobody"], UNKNOWN, "nobody"),
        (["predict", "e4", "--url", "http://127.0.0.1:9", "--patience", "0"], AWAY, "no service at http://127.0.0.1:9"),
        (["predict", "e4", "--url", "http://127.0.0.1:9", "--patience", "0.2"], AWAY, "trying again for 0.2 s"),
        (["predict", "e4", "--url", "localhost"], REFUSED, "http://"),
        (["bench", "--url", "http://127.0.0.1:9", "--patience", "0"], AWAY, "no service"),
        (["predict", "e4", "--top-k", "0"], MISUNDERSTOOD, "--top-k"),
        (["import", "no-such-file.pgn"], MISUNDERSTOOD, "no-such-file.pgn"),
    ],
)
def test_failures_are_told_to_people_and_by_exit_codes(nextply: Nextply, words: list[str], code: int, said: str):
    result = nextply(*words, code=code, COLUMNS="200")
    assert said in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_play_reads_moves_and_keeps_the_session(nextply: Nextply, client: Client):
    typed = "e4\nKe4\n\n2\nundo\nundo 9\nnothing?\nd4 d5\n99\nhelp\ngame\nquit\n"
    shown = nextply("play", "--session", "mine", "--white-elo", "1500", "-k", "3", typed=typed)
    state = client.get("mine")
    assert (state.moves, state.context) == (["d2d4", "d7d5"], {"white_elo": 1500})
    assert "1. d2d4 d7d5" in shown.stdout
    assert "takes back" in shown.stdout
    assert "Ke4" in shown.stderr
    assert "the list has no number 99" in shown.stderr
    assert "nextply play --session mine" in shown.stderr
    answers = nextply.json("play", "--session", "mine", typed="c4\nundo\n\n")
    assert [answer["ply"] for answer in answers] == [3, 2, 3]
    assert client.get("mine").ply == 3


def test_play_opens_a_session_of_its_own_and_ends_with_the_game(nextply: Nextply, client: Client):
    shown = nextply("play", typed="f3 e5 g4 Qh4#\n\nundo\n")
    assert "the game is over" in shown.stdout
    (summary,) = client.sessions()
    assert summary.ply == 3
    assert summary.session in shown.stdout


def test_play_shows_what_somebody_else_played(nextply: Nextply, client: Client, monkeypatch: pytest.MonkeyPatch):
    client.open("shared", moves="e4")
    lines = iter(["e5", "Nf3"])

    def typed(_: str) -> str:
        line = next(lines, "quit")
        if line == "e5":
            client.play("shared", "c5", ply=1)
        return line

    monkeypatch.setattr("builtins.input", typed)
    assert "somebody else plays here" in nextply("play", "-s", "shared").stderr
    assert client.get("shared").moves == ["e2e4", "c7c5", "g1f3"]


def test_watch_follows_a_session_until_it_is_gone(process: Process, client: Client):
    game = client.open("watched", moves="e4")
    command = [sys.executable, "-m", "nextply_client", "watch", game.id, "--url", process.url]
    people, program = (
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for words in (command, [*command, "--json", "-k", "1"])
    )
    assert people.stdout is not None
    assert program.stdout is not None
    first, begun = people.stdout.readline(), json.loads(program.stdout.readline())
    assert "e2e4" in first
    assert (begun["kind"], begun["moves"], len(begun["next"])) == ("session", ["e2e4"], 1)
    game.play("e5")
    assert "e7e5" in people.stdout.readline()
    assert json.loads(program.stdout.readline())["moves"] == ["e7e5"]
    game.delete()
    shown, complaints = people.communicate(timeout=20)
    assert (shown.strip(), complaints, people.returncode) == ("the session was deleted", "", DONE)
    told, _ = program.communicate(timeout=20)
    assert json.loads(told) == {
        "kind": "deleted",
        "session": "watched",
        "ply": 0,
        "moves": [],
        "surprisal": [],
        "next": [],
    }


def test_games_of_a_file_are_read():
    games = list(read_pgn(GAMES.splitlines(keepends=True)))
    assert [game.moves for game in games] == [
        ["e4", "e5", "Nf3", "Nc6"],
        [],
        ["e4", "e5", "Ke3"],
        ["e4", "e5", "Nf3", "Nc6"],
        [],
        ["d4", "d5"],
        ["c4"],
    ]
    assert [game.problem is None for game in games] == [True, False, True, True, False, True, True]
    assert games[0].context == games[3].context == {"white_elo": 1500, "time_control": "600+5"}


def test_import_opens_a_session_a_game_and_can_be_given_again(nextply: Nextply, client: Client, tmp_path: Path):
    file, half = tmp_path / "games.pgn", tmp_path / "half.pgn"
    file.write_text(GAMES)
    half.write_text(GAMES.partition('[Event "cut"]')[0])
    assert nextply("import", str(half)).stdout == "1 opened, 0 there already, 0 refused\n"
    told = {line["game"]: line for line in nextply.json("import", str(file), "--jobs", "3", code=REFUSED)}
    assert {number: line["outcome"] for number, line in told.items()} == OUTCOMES | {1: "there"}
    assert "Ke3" in told[3]["problem"]
    assert told[4]["session"] == told[1]["session"] + "-2"
    state = client.get(told[1]["session"])
    assert state.moves == ["e2e4", "e7e5", "g1f3", "b8c6"]
    assert state.context == {"white_elo": 1500, "time_control": "600+5"}
    again = nextply("import", "-", typed=GAMES, code=REFUSED)
    assert again.stdout == "0 opened, 4 there already, 3 refused\n"
    assert "game 2: a comment is not closed" in again.stderr
    assert len(list(client.sessions(prefix="pgn-"))) == 4


def test_import_shows_how_far_it_is_on_a_terminal(process: Process, client: Client, tmp_path: Path):
    file = tmp_path / "games.pgn"
    file.write_text(GAMES)
    shown, terminal = pty.openpty()
    words = [sys.executable, "-m", "nextply_client", "import", str(file), "--json", "--url", process.url]
    with os.fdopen(shown, "rb"), os.fdopen(terminal, "wb") as stderr:
        done = subprocess.run(
            words, stdout=subprocess.PIPE, stderr=stderr, env=os.environ | {"TERM": "xterm"}, check=False
        )
        bar = os.read(shown, 100_000).decode()
    told = {line["game"]: line["outcome"] for line in map(json.loads, done.stdout.splitlines())}
    assert told == OUTCOMES
    assert "games" in bar
    assert "100%" in bar


def test_import_keeps_to_the_context_that_a_model_knows(nextply: Nextply, client: Client):
    typed = '[WhiteElo "1500"]\n\nred blue *\n'
    assert nextply.json("import", "-", "-m", "colours", "--prefix", "c-", typed=typed)[0]["outcome"] == "opened"
    (summary,) = client.sessions(prefix="c-")
    assert (summary.context, summary.model.name) == ({}, "colours")
    assert chosen(client.models(), "colours/1").name == "colours"
    with pytest.raises(errors.UnknownModel):
        chosen(client.models(), "colours/2")


@pytest.mark.parametrize("model", ["chess", "colours"])
def test_bench_reports_moves_and_leaves_nothing_behind(nextply: Nextply, client: Client, model: str):
    (found,) = nextply.json("bench", "-m", model, "-c", "3", "--seconds", "0.3", "--plies", "5")
    assert found["moves"] > 5
    assert found["moves_per_second"] == pytest.approx(found["moves"] / found["seconds"], rel=0.05)
    assert 0 < found["p50_ms"] <= found["p90_ms"] <= found["p99_ms"] <= found["max_ms"]
    assert not list(client.sessions())
    assert "moves/s" in nextply("bench", "-c", "1", "--seconds", "0.1").stdout


def test_quantiles_of_a_report():
    found = report(Load(1, 1, 1), 2.0, [number / 1000 for number in range(1, 101)], {})
    assert (found.p50_ms, found.p90_ms, found.p99_ms, found.max_ms) == (51, 91, 100, 100)
    assert found.moves_per_second == 50
    assert report(Load(1, 1, 1), 1.0, [], {}).moves_per_second == 0


@pytest.mark.parametrize(
    ("line", "fitting"),
    [
        ("nextply predict --model ch", {"chess", "chess/1", "chess-fp32", "chess-fp32/1"}),
        ("nextply watch boa", {"board-7"}),
        ("nextply pr", {"predict"}),
    ],
)
def test_the_shell_completes_commands_models_and_sessions(
    nextply: Nextply, client: Client, process: Process, line: str, fitting: set[str]
):
    client.open("board-7")
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1), "_NEXTPLY_COMPLETE": "complete_bash"}
    assert set(nextply(**words).stdout.split()) == fitting


def test_colours_are_for_terminals(nextply: Nextply, monkeypatch: pytest.MonkeyPatch):
    assert "\x1b" not in nextply("predict", "e4").stdout
    monkeypatch.setenv("FORCE_COLOR", "1")
    coloured = CliRunner().invoke(app, ["predict", "e4"])
    assert "\x1b[1m" in coloured.stdout


def test_a_library_without_the_command_says_what_is_missing():
    code = (
        "import sys; sys.modules['typer'] = None; sys.argv = ['nextply']; from nextply_client.cli import main; main()"
    )
    blocked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert blocked.returncode == 1
    assert 'pip install "nextply-client[cli]"' in blocked.stderr
