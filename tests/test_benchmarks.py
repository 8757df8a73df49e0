"""The benchmarks: what they read, count and write, and one of them on a service of its own."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from pydantic import TypeAdapter

from model.artifact import Artifact
from model.games import Chess, TokenGame
from scripts.benchmarks import __main__ as benchmarks
from scripts.benchmarks import (
    apart,
    asgi,
    bulk,
    figures,
    game_length,
    load,
    plots,
    pump,
    service_times,
    setting,
    tables,
    wrk,
)
from scripts.benchmarks.comparisons import best, scaled
from scripts.benchmarks.promises import PROMISES, promises
from scripts.benchmarks.servers import BenchmarkError, Server
from scripts.pages import fill
from scripts.peers import by_hand, triton_server
from service import schemas
from service.engine import Engine, Input
from tests.serving import COLOURS

ROOT = Path(__file__).parent.parent
WRK = """Running 3s test @ http://127.0.0.1:9100
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     7.86ms    3.41ms  51.02ms   90.02%
    Req/Sec     8.42k     0.91k    9.51k    70.00%
  Latency Distribution
     50%  812.00us
     75%    8.80ms
     90%   11.14ms
     99%    1.25s
  25139 requests in 3.01s, 12.20MB read
Requests/sec:   8351.83
Transfer/sec:      4.05MB
""".replace("1.25s", "1.25s ")
BROKEN = WRK.replace(
    "Requests/sec",
    "  Socket errors: connect 0, read 3, write 0, timeout 2\n  Non-2xx or 3xx responses: 17\nRequests/sec",
)


def http_run(server: str, workers: int, round_: int, rate: float, **more: Any) -> dict[str, Any]:
    """A run of single moves of tokens at 64 connections."""
    figures_ = {"requests_per_second": rate, "p50": 64 / rate, "p99": 128 / rate, "requests_per_cpu_second": rate}
    usual = {"model": "tokens", "connections": 64, "client_cores": 0.5, "server_cores": 1.0, "private": 1 << 20}
    return {"server": server, "workers": workers, "round": round_} | usual | figures_ | more


# The second round was slow for all; the third measured Triton alone.
RUNS = [
    http_run("nextply", 1, 0, 3000, moves_per_commit=30),
    http_run("nextply", 2, 0, 4500, requests_per_cpu_second=2700, moves_per_commit=20),
    http_run("triton", 1, 0, 1000),
    http_run("triton", 2, 0, 1500),
    http_run("nextply", 1, 1, 1500, moves_per_commit=30),
    http_run("nextply", 2, 1, 2250, requests_per_cpu_second=1350, moves_per_commit=20),
    http_run("triton", 1, 1, 500),
    http_run("triton", 2, 1, 750),
    http_run("triton", 2, 2, 1600),
]


class TestWrk:
    def test_what_it_prints_is_read_in_seconds(self):
        found = wrk.parse(WRK)
        assert found == wrk.Measured(requests=25139, requests_per_second=8351.83, p50=0.000812, p99=1.25)

    def test_errors_are_counted(self):
        assert (wrk.parse(BROKEN).refused, wrk.parse(BROKEN).broken) == (17, 5)

    def test_other_words_are_not_taken_for_figures(self):
        with pytest.raises(BenchmarkError, match="unable to connect"):
            wrk.parse("unable to connect to 127.0.0.1:9100 Connection refused\n")

    def test_the_package_is_named_where_it_is_missing(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("PATH", "")
        with pytest.raises(BenchmarkError, match="apt-get install wrk"):
            wrk.run("http://127.0.0.1:1", [b"GET / HTTP/1.1\r\n\r\n"], 1, 1, again=True)

    @pytest.mark.parametrize(("printed", "fine"), [(WRK, True), (BROKEN, False)])
    def test_refused_requests_fail_the_run(
        self, printed: str, fine: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        program = tmp_path / "wrk"
        program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/words\n/bin/cat <<END\n{printed}\nEND\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        if fine:
            assert wrk.run("http://127.0.0.1:1", [b"x"], 64, 2.6, again=False).requests == 25139
        else:
            with pytest.raises(BenchmarkError, match=r"17 of 25139 requests were refused and 5 broke off"):
                wrk.run("http://127.0.0.1:1", [b"x"], 64, 2.6, again=False)
        words = (tmp_path / "words").read_text().split()
        assert words[:4] == ["-t1", "-c64", "-d3s", "--latency"]
        assert words[-1] == "once"


class TestFigures:
    def test_a_ratio_is_taken_within_rounds(self):
        ours, theirs = {"server": "nextply", "workers": 1}, {"server": "triton", "workers": 1}
        assert figures.middle(RUNS, "requests_per_second", **ours) == 2250
        assert figures.ratio(RUNS, "requests_per_second", ours, theirs) == 3

    def test_nothing_comes_of_nothing(self):
        assert figures.middle(RUNS, "requests_per_second", server="nobody") is None
        assert figures.ratio(RUNS, "p50", {"server": "nextply", "workers": 1}, {"server": "nobody"}) is None

    def test_a_line_is_found_again(self):
        assert figures.fit([(x, 3e-4 + 2e-5 * x) for x in (1, 8, 64)]) == pytest.approx((3e-4, 2e-5))

    def test_no_part_of_a_cost_is_negative(self):
        base, slope = figures.fit([(1, 1.0), (2, 3.0), (4, 9.0)])
        assert base == 0
        assert 1 < slope < 2.3
        assert figures.fit([(1, 2.0), (2, 1.9), (4, 2.1)])[1] >= 0

    def test_the_better_configuration_is_compared(self):
        ours, theirs = (best(RUNS, "tokens", server, 64) for server in ("nextply", "triton"))
        assert ours is not None
        assert theirs is not None
        assert (ours["workers"], theirs["workers"]) == (2, 2)
        assert best(RUNS, "chess", "triton", 64) is None

    def test_the_load_generators_share_is_taken_off(self):
        one, two = ({"server": "nextply", "workers": count} for count in (1, 2))
        raw, free, work = scaled(RUNS, one, two)
        assert (raw, free, work) == pytest.approx((1.5, 1.5 * 2 / 1.5, 2 * 0.9))


class TestLoad:
    def test_every_move_of_a_plan_is_legal_and_comes_in_its_turn(self):
        plan = load.Plan.of(Chess(), "chess", "r0", moves=200, group=16, begun=4)
        played = {id_: moves[: plan.begun] for id_, moves in zip(plan.ids, plan.lines, strict=True)}
        turns = list(plan.turns())
        for turn in turns:
            assert len({id_ for id_, _ in turn}) == len(turn) == 16
            for id_, move in turn:
                played[id_] = [*played[id_], move]
        assert sum(map(len, turns)) >= 200
        for moves in played.values():
            assert load.after(Chess(), moves).ply == len(moves) > plan.begun
        assert any("N" in move for moves in played.values() for move in moves), "moves are SAN"

    def test_other_tags_play_other_moves(self):
        one, again, other = (load.Plan.of(TokenGame(COLOURS), "c", tag, 100, 4) for tag in ("a", "a", "b"))
        assert one == again
        assert one.lines != other.lines
        assert not set(one.ids) & set(other.ids)

    def test_a_long_load_takes_more_sessions(self):
        plan = load.Plan.of(Chess(), "chess", "r0", moves=8 * 61, group=8)
        assert len(plan.ids) == 16

    def test_requests_are_whole(self):
        plan = load.Plan.of(TokenGame(COLOURS), "colours", "s", moves=6, group=3, begun=1)
        head, _, body = plan.single_moves()[0].partition(b"\r\n\r\n")
        assert head.startswith(b"POST /sessions/s-0/moves HTTP/1.1\r\n")
        assert f"Content-Length: {len(body)}".encode() in head
        assert json.loads(body) == {"moves": [plan.lines[0][1]]}
        (first, *_) = plan.steps()
        assert [step["session"] for step in json.loads(first.partition(b"\r\n\r\n")[2])["steps"]] == plan.ids

    def test_lines_go_on_from_a_position_and_leave_it(self):
        game, rng = Chess(), np.random.default_rng(0)
        start = load.after(game, ["e4", "e5"])
        moves = load.line(game, 6, rng, start)
        assert start.ply == 2
        assert load.after(game, ["e4", "e5", *moves]).ply == 8


class TestPump:
    def test_answers_are_taken_when_they_are_whole(self):
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
        buffer = bytearray(answer + answer + answer[:-1])
        assert pump.take_http(buffer) == 2
        assert buffer == answer[:-1]
        buffer += answer[-1:]
        assert pump.take_http(buffer) == 1
        assert not buffer

    @pytest.mark.parametrize(
        "answer",
        [
            b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 2\r\n\r\n{}",
            b'HTTP/1.1 200 OK\r\ncontent-length: 26\r\n\r\n{"results":[{"problem":1}]}',
        ],
    )
    def test_a_refusal_is_no_answer(self, answer: bytes):
        with pytest.raises(BenchmarkError, match="refused"):
            pump.take_http(bytearray(answer))

    def test_frames_are_taken_when_they_are_whole(self):
        short, long = b"\x81\x02{}", b"\x81\x7e\x01\x00" + b"x" * 256
        buffer = bytearray(short + long + b"\x89\x00" + short + long[:-1])
        assert pump.take_frames(buffer) == 3
        assert buffer == long[:-1]

    def test_a_close_and_a_problem_end_the_run(self):
        with pytest.raises(BenchmarkError, match="closed"):
            pump.take_frames(bytearray(b"\x88\x02\x03\xf4"))
        with pytest.raises(BenchmarkError, match="refused"):
            pump.take_frames(bytearray(b'\x81\x0d{"problem":1}'))

    @pytest.mark.parametrize("size", [1, 125, 126, 1000])
    def test_frames_are_sent_masked(self, size: int):
        sent = pump.frame(b"x" * size)
        assert sent[0] == 0x81
        assert sent[1] & 0x80
        assert sent.endswith(bytes(4) + b"x" * size)
        assert len(sent) == size + (6 if size < 126 else 8)


class TestTables:
    def test_texts_go_between_their_marks(self):
        page = "a\n<!-- one -->\nold\n<!-- /one -->\nb\n<!-- two -->\n<!-- /two -->\n"
        once = fill(page, {"one": r"| new \1 |", "two": "x"})
        assert once == "a\n<!-- one -->\n| new \\1 |\n<!-- /one -->\nb\n<!-- two -->\nx\n<!-- /two -->\n"
        assert fill(once, {"one": "| newer |"}).count("new") == 1

    def test_marks_that_are_missing_are_named(self):
        with pytest.raises(ValueError, match="'one'"):
            fill("nothing", {"one": "x"})

    def test_the_page_has_a_place_for_every_table(self):
        page = (ROOT / "docs" / "benchmarks.md").read_text()
        assert "TABLE" in fill(page, dict.fromkeys([*tables.TABLES, "promises"], "TABLE"))

    def test_a_figure_that_was_not_measured_is_a_dash(self):
        rows = tables.single_moves([*RUNS, http_run("nextply", 1, 0, 10, connections=1)]).splitlines()
        assert "| tokens | Nextply, 1 worker | 2,250 · 32.00 · 64.00 | 10 · 6,400.00 · 12,800.00 | 1 |" in rows
        assert "| tokens | Triton, 2 instances | 1,500 · 42.67 · 85.33 | – | 1 |" in rows

    def test_the_service_is_divided_by_the_best_of_others(self):
        assert tables.against(RUNS).splitlines()[-1] == "| tokens | Triton | 64 | 3.00 | 0.33 | 0.33 |"

    def test_workers_and_batches_are_shown(self):
        assert tables.scaling(RUNS).splitlines()[-1].endswith("| 1.50 | 2.00 | 1.80 |")
        assert tables.batches(RUNS).splitlines()[-1] == "| tokens | 2 | 20.0 |"

    def test_promises_say_whether_they_are_kept(self):
        lines = promises({"http": RUNS}).splitlines()
        assert "| tokens, 64 connections: requests/s to Triton's | ≥ 3 | 3.00 | yes |" in lines
        assert "| two workers to one, without the load generator | ≥ 1.7 | 1.80 | yes |" in lines
        assert "| `/steps` with 64 sessions: moves/s | ≥ 25,000 | – | not measured |" in lines
        slow = [run | {"requests_per_second": 1} if run["server"] == "nextply" else run for run in RUNS]
        assert PROMISES[0].holds({"http": slow}) is False

    def test_pictures_are_drawn_of_what_there_is(self, tmp_path: Path):
        plies = [
            {"model": "tokens", "ply": ply, "way": way, "round": 0, "cpu": ply * 1e-3, "p50": 1e-3}
            for ply in game_length.PLIES
            for way in (game_length.SESSION, game_length.RESENT, game_length.GROWING)
        ]
        drawn = plots.draw({"http": RUNS, "plies": plies, "engine": []}, tmp_path)
        assert sorted(path.name for path in drawn) == ["http.png", "plies.png"]
        assert all(path.stat().st_size > 5000 for path in drawn)


def test_what_step_and_store_leave_is_of_a_batch_of_a_request_and_of_a_crowd():
    times = {"step_base": 3e-4, "step_row": 1e-5}
    times |= {"store_commit_base": 6e-5, "store_commit_row": 3e-5}

    def seen(connections: int, moves: int, ticks: int, crowd: float) -> dict[str, Any]:
        shared = (5e-4 + ticks * 3e-4 + 6e-5) / moves
        rate = 1 / (1e-4 + 4e-5 + shared + crowd)
        return http_run("nextply", 1, 0, rate, connections=connections, moves_per_commit=moves)

    runs = [seen(1, 1, 1, 0.0), seen(64, 36, 1, 0.0)]
    expected = {"http_request": pytest.approx(1e-4), "http_batch": pytest.approx(5e-4), "http_crowd": 0.0}
    assert service_times.http_times(times, runs) == expected
    # Sixteen times as many are four times twice as many.
    expected["http_crowd"] = pytest.approx(1e-5)
    assert service_times.http_times(times, [*runs, seen(1024, 250, 4, 4e-5)]) == expected
    assert service_times.http_times(times | {"store_commit_row": 1}, runs)["http_request"] == 0


def test_what_two_workers_share_is_the_machine_and_the_store():
    def took(way: str, microseconds: float) -> dict[str, Any]:
        return {"way": way, "round": 0, "requests_per_cpu_second": 1e6 / microseconds}

    runs = [took(apart.HALF, 100), took(apart.APART, 110), took(apart.TOGETHER, 120)]
    assert service_times.shared(runs) == pytest.approx({"crowded": 1.1, "store_foreign_row": 20e-6})
    assert service_times.shared([]) == {"crowded": 1.0, "store_foreign_row": 0.0}
    assert service_times.shared([took(apart.HALF, 100), took(apart.APART, 90), took(apart.TOGETHER, 80)]) == {
        "crowded": 1.0,
        "store_foreign_row": 0.0,
    }


def test_a_simulation_is_checked_against_medians():
    at_64, at_1 = service_times.measured([*RUNS[:2], http_run("nextply", 1, 0, 900, connections=1)])[1:], 0
    assert [(entry["workers"], entry["connections"]) for entry in at_64] == [(1, 64), (2, 64)]
    assert at_64[at_1]["requests_per_second"] == 3000


def test_parts_are_taken_in_their_order_and_slips_are_named(capsys: pytest.CaptureFixture[str]):
    assert benchmarks._parts("times,http") == ["http", "times"]
    with pytest.raises(SystemExit):
        benchmarks.main(["--only", "http,htpp"])
    assert "no part is named htpp" in capsys.readouterr().err


def test_what_is_not_measured_now_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for model, rate in (("tokens", 1.0), ("chess", 2.0), ("tokens", 3.0)):
        found = [{"model": model, "rows": 1, "precision": "int8", "round": 0, "steps_per_second": rate / 3}]
        monkeypatch.setitem(benchmarks.PARTS, "engine", lambda _, found=found: found)
        benchmarks.run(setting.Setting(work=tmp_path, models={}), ["engine"], tmp_path, None)
    kept = json.loads((tmp_path / "results.json").read_text())["engine"]
    assert [(run["model"], run["steps_per_second"]) for run in kept] == [("chess", 0.666667), ("tokens", 1)]


def test_models_are_placed_apart(tmp_path: Path, artifacts: Path, monkeypatch: pytest.MonkeyPatch):
    for name, value in {"_VOCABULARY": 30, "_WIDTH": 16, "_EMBEDDING": 8}.items():
        monkeypatch.setattr(setting, name, value)
    for _ in "12":
        roots = setting.place_models(tmp_path / "work", artifacts / "chess" / "1")
    chosen = setting.Setting(work=tmp_path, models=roots)
    assert [chosen.artifact(name).game.name for name in roots] == ["tokens", "chess"]
    assert len(chosen.artifact("tokens").game.vocabulary) == 30
    assert [path.name for root in roots.values() for path in root.iterdir()] == ["tokens", "chess"]


def test_a_server_that_does_not_start_shows_its_log(tmp_path: Path):
    command = [sys.executable, "-c", "raise SystemExit('no such model')"]
    with pytest.raises(BenchmarkError, match="no such model"), Server("broken", command, "/", tmp_path):
        pass


def test_a_service_is_measured_and_what_was_found_is_written(tmp_path: Path, artifacts: Path):
    chosen = setting.Setting(work=tmp_path / "work", models={"colours": artifacts}, rounds=1, seconds=0.3, workers=(1,))
    page = tmp_path / "page.md"
    page.write_text("<!-- steps -->\n<!-- /steps -->\n<!-- promises -->\n<!-- /promises -->\n")
    results = benchmarks.run(chosen, ["steps"], tmp_path / "out", page)
    kept = json.loads((tmp_path / "out" / "results.json").read_text())
    assert kept == results
    assert kept["measured"]["steps"]["rounds"] == 1
    assert {(run["workers"], run["connections"]) for run in kept["steps"]} == {(1, 1), (1, 8)}
    for run in kept["steps"]:
        assert run["moves_per_second"] > 200
        assert 0 < run["p50"] < 3
        assert run["server_cores"] > run["client_cores"] > 0
    assert page.read_text().count("| colours |") == 2
    assert not (tmp_path / "work" / "steps").exists()


def test_streams_and_long_games_are_measured(tmp_path: Path, artifacts: Path):
    usual = {"rounds": 1, "seconds": 0.1, "workers": (1,)}
    streamed = bulk.measure_streams(setting.Setting(work=tmp_path, models={"colours": artifacts}, **usual))
    assert [run["moves_per_second"] > 50 for run in streamed] == [True, True]
    runs = game_length.measure(setting.Setting(work=tmp_path, models={"chess": artifacts}, **usual), plies=[10])
    assert {run["way"] for run in runs} == {game_length.SESSION, game_length.RESENT, game_length.GROWING}
    assert all(run["answers"] > 0 and 0 < run["p50"] < 1 for run in runs)


def test_two_services_that_share_nothing_are_measured_beside_one(
    tmp_path: Path, artifacts: Path, monkeypatch: pytest.MonkeyPatch
):
    asked: list[tuple[str, int]] = []

    def answered(url: str, requests: list[bytes], connections: int, *_: Any, again: bool) -> wrk.Measured:
        assert pump.exchange(url, requests[0]).startswith(b"HTTP/1.1 200")
        asked.append((url, connections))
        return wrk.Measured(requests=10, requests_per_second=100.0 * connections, p50=0.002, p99=0.009)

    monkeypatch.setattr(wrk, "run", answered)
    monkeypatch.setattr(wrk, "send", lambda *_, again: None)
    runs = apart.measure(setting.Setting(work=tmp_path, models={"colours": artifacts}, rounds=1))
    assert [run["way"] for run in runs] == [apart.ONE, apart.HALF, apart.APART, apart.TOGETHER]
    assert [connections for _, connections in asked] == [64, 32, 32, 32, 64]
    # One of the two that are apart was asked before; the others are new.
    assert len({url for url, _ in asked}) == 3
    assert (runs[2]["requests_per_second"], runs[2]["p99"]) == (6400, 0.009)
    assert "| colours | two services | 2 × 32 | 6,400 |" in tables.apart(runs)


def test_asgi_servers_are_measured_on_an_answer_like_a_move_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def exchanged(url: str, requests: list[bytes], connections: int, *_: Any, again: bool) -> wrk.Measured:
        assert again
        head, _, content = pump.exchange(url, requests[0]).partition(b"\r\n\r\n")
        assert b"server-timing: queue" in head
        TypeAdapter(schemas.MovesAnswer).validate_json(content)
        return wrk.Measured(requests=10, requests_per_second=100.0 * connections, p50=0.002, p99=0.009)

    monkeypatch.setattr(wrk, "run", exchanged)
    home = tmp_path / "asgi"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (home / "bin" / "python").chmod(0o755)
    (home / "installed").touch()
    monkeypatch.setattr(asgi, "ASGI_SERVERS", ["uvicorn"])
    runs = asgi.measure(setting.Setting(work=tmp_path / "work", models={}, rounds=1, peers=tmp_path))
    assert [(run["server"], run["connections"]) for run in runs] == [("uvicorn", 1), ("uvicorn", 64)]
    assert "| uvicorn | 64 | 6,400 | 2.00 | 9.00 |" in tables.asgi(runs)
    assert asgi.measure(setting.Setting(work=tmp_path, models={})) == []


@pytest.fixture
def colours(artifacts: Path) -> Artifact:
    return Artifact.load(artifacts / "colours" / "1")


def likeliest(artifact: Artifact, moves: list[str]) -> tuple[list[int], list[float]]:
    """The network's predictions after moves, without a step for the start."""
    engine = Engine(artifact)
    states = [engine.initial]
    for move in moves:
        logits, states = engine.step([Input(artifact.game.vocabulary.ids[move], [], b"")], states)
    weights = np.exp(logits[0] - logits[0].max())
    order = np.argsort(-weights)[:5]
    return order.tolist(), (weights / weights.sum())[order].tolist()


@pytest.mark.anyio
async def test_the_hand_written_service_predicts_what_the_network_does(colours: Artifact):
    app = by_hand.create_app(colours.folder)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://peer") as client:
        for move in ("red", "green"):
            await client.post("/sessions/other/moves", json={"move": "blue"})
            answer = (await client.post("/sessions/a/moves", json={"move": move})).json()
        assert (await client.post("/sessions/a/moves", json={"move": "e4"})).status_code == 422
    ids, probabilities = likeliest(colours, ["red", "green"])
    assert answer["ply"] == 2
    assert [candidate["move"] for candidate in answer["next"]] == [COLOURS[id_] for id_ in ids]
    assert [candidate["probability"] for candidate in answer["next"]] == pytest.approx(probabilities, rel=1e-5)


def triton_backend(monkeypatch: pytest.MonkeyPatch, artifact: Artifact) -> ModuleType:
    """The backend as Triton loads it, with as much of Triton as it calls."""
    triton = ModuleType("triton_python_backend_utils")
    triton.get_input_tensor_by_name = lambda request, name: SimpleNamespace(
        as_numpy=lambda: np.array([[request[name]]])
    )  # type: ignore[attr-defined]
    triton.Tensor = lambda name, value: (name, value)  # type: ignore[attr-defined]
    triton.InferenceResponse = dict  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, triton.__name__, triton)
    monkeypatch.setenv("PEER_SITE", "")
    monkeypatch.setenv("STEP_ARTIFACT", str(artifact.folder))
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = ROOT / "scripts" / "peers" / "triton" / "step" / "1" / "model.py"
    spec = importlib.util.spec_from_file_location("triton_backend", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_triton_backend_keeps_each_sequence_apart(monkeypatch: pytest.MonkeyPatch, colours: Artifact):
    module = triton_backend(monkeypatch, colours)
    monkeypatch.setattr(module, "_ROWS", 4)
    backend = module.TritonPythonModel()
    backend.initialize({})
    played: dict[int, list[str]] = {}
    for turn in range(3):
        sequences = [number for number in range(1, 12) if (number + turn) % 3]
        moves = [COLOURS[(number + turn) % 5] for number in sequences]
        requests = []
        for number, move in zip(sequences, moves, strict=True):
            starts = number not in played or (turn, number) == (2, 5)
            played[number] = [move] if starts else [*played[number], move]
            requests.append({"CORRID": number, "START": starts, "token": COLOURS.index(move)})
        for number, answer in zip(sequences, backend.execute(requests), strict=True):
            ids, probabilities = likeliest(colours, played[number])
            assert answer["ids"].tolist() == [ids]
            assert answer["probabilities"][0] == pytest.approx(probabilities, rel=1e-5)
    assert len(played) == 11, "more sequences than there was room for"


def test_triton_is_told_which_model_where_and_how_often(tmp_path: Path, colours: Artifact):
    site = tmp_path / "triton" / "lib" / "python3.11" / "site-packages"
    backends = site / "pytriton" / "tritonserver" / "backends" / "python"
    backends.mkdir(parents=True)
    for made in (tmp_path / "triton" / "installed", backends / "triton_python_backend_stub"):
        made.touch(mode=0o755)
    words, environment = triton_server.command(tmp_path, colours.folder, tmp_path / "repository", instances=2)
    config = (tmp_path / "repository" / "step" / "config.pbtxt").read_text()
    assert "count: 2" in config
    assert "$" not in config
    assert (tmp_path / "repository" / "step" / "1" / "model.py").exists()
    assert f"--model-repository={tmp_path / 'repository'}" in words
    assert environment["STEP_ARTIFACT"] == str(colours.folder)
    request = json.loads(triton_server.request(7, 42, start=True))
    assert request["parameters"] == {"sequence_id": 7, "sequence_start": True, "sequence_end": False}
    assert request["inputs"][0]["data"] == [42]
