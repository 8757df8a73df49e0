"""tritonclient, from PyPI and unchanged, plays whole games at /v2 and gets the bits of the native interface."""

import asyncio
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tritonclient import http as triton
from tritonclient.http import aio
from tritonclient.utils import InferenceServerException

from model.games import load_game
from service.settings import Settings
from tests.serving import KASPAROV_TOPALOV, Process, random_game

CHESS = load_game({"name": "chess"})
CLIENTS = 64
TOP_K = 100


@pytest.fixture(scope="module")
def url(artifacts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service in a process of its own."""
    with Process(Settings(artifacts=artifacts, data_dir=tmp_path_factory.mktemp("data"), fsync=False)) as process:
        yield process.url


@pytest.fixture
def client(url: str) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(url.removeprefix("http://")) as client:
        yield client


def inputs(moves: list[str], binary: bool, shape: tuple[int, ...] = (-1,), top_k: int = TOP_K) -> list[Any]:
    texts = np.array([move.encode() for move in moves], object).reshape(shape)
    tensors = [triton.InferInput("MOVES", list(texts.shape), "BYTES"), triton.InferInput("TOP_K", [1], "INT64")]
    tensors[0].set_data_from_numpy(texts, binary_data=binary)
    tensors[1].set_data_from_numpy(np.array([top_k], np.int64), binary_data=binary)
    return tensors


def outputs(binary: bool) -> list[Any]:
    names = ("NEXT_MOVES", "PROBABILITIES", "SURPRISAL", "PLY")
    return [triton.InferRequestedOutput(name, binary_data=binary) for name in names]


def texts(result: Any) -> list[str]:
    return [move.decode() if isinstance(move, bytes) else move for move in result.as_numpy("NEXT_MOVES")]


def native(url: str, games: list[list[str]]) -> list[Any]:
    """Give what the native interface predicts at every ply of games."""
    body = {"sequences": games, "model": "chess", "top_k": TOP_K, "score": True, "each_ply": True}
    response = httpx.post(f"{url}/predict", json=body, timeout=60).raise_for_status()
    return list(response.json()["predictions"])


def check_ply(result: Any, game: Any, ply: int) -> None:
    """Compare an answer with the native one at a ply: the moves, and every bit of the floats."""
    expected = game["plies"][ply]["next"]
    assert result.as_numpy("PLY").tolist() == [ply]
    assert texts(result) == [one["move"] for one in expected]
    probabilities = result.as_numpy("PROBABILITIES")
    assert probabilities.dtype == np.float32
    assert probabilities.tobytes() == np.float32([one["probability"] for one in expected]).tobytes()
    surprisal = result.as_numpy("SURPRISAL")
    assert surprisal.tobytes() == np.float32(game["surprisal"][ply - len(surprisal) : ply]).tobytes()


def play(client: Any, game: list[str], sequence: int | str, *, binary: bool, **options: Any) -> list[Any]:
    """Play a game, a move a request; give the answers."""
    return [
        client.infer(
            "chess",
            inputs([move], binary),
            outputs=outputs(binary),
            sequence_id=sequence,
            sequence_start=ply == 0,
            sequence_end=ply + 1 == len(game),
            **options,
        )
        for ply, move in enumerate(game)
    ]


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_whole_games_have_the_bits_of_the_native_interface(client: Any, url: str, binary: bool):
    (expected,) = native(url, [KASPAROV_TOPALOV])
    for ply, result in enumerate(play(client, KASPAROV_TOPALOV, "immortal", binary=binary), start=1):
        check_ply(result, expected, ply)
        assert all(("data" in output) != binary for output in result.get_response()["outputs"])
    with pytest.raises(InferenceServerException, match="no sequence 'immortal' of model 'chess' is running") as caught:
        client.infer("chess", inputs(["e4"], binary), sequence_id="immortal")
    assert caught.value.status() == "404"


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_several_moves_a_request_compressed_both_ways(client: Any, url: str, binary: bool, algorithm: str):
    (expected,) = native(url, [KASPAROV_TOPALOV[:20]])
    for ply in range(0, 20, 4):
        result = client.infer(
            "chess",
            inputs(KASPAROV_TOPALOV[ply : ply + 4], binary, shape=(1, -1)),
            outputs=outputs(binary),
            sequence_id=11,
            sequence_start=ply == 0,
            request_compression_algorithm=algorithm,
            response_compression_algorithm=algorithm,
        )
        check_ply(result, expected, ply + 4)


def test_64_clients_at_once_with_numbers_and_texts_as_ids(url: str):
    games = [random_game(CHESS, seed, 10) for seed in range(CLIENTS)]
    ids = [(1 << 63) + number if number % 2 else f"board {number}" for number in range(CLIENTS)]
    together = threading.Barrier(CLIENTS)

    def run(number: int) -> list[Any]:
        with triton.InferenceServerClient(url.removeprefix("http://"), network_timeout=60) as client:
            together.wait()
            return play(client, games[number], ids[number], binary=number % 3 > 0)

    with ThreadPoolExecutor(CLIENTS) as threads:
        answers = list(threads.map(run, range(CLIENTS)))
    for game, results in zip(native(url, games), answers, strict=True):
        for ply, result in enumerate(results, start=1):
            check_ply(result, game, ply)


@pytest.mark.anyio
async def test_the_client_of_asyncio_gets_the_same_bits(url: str):
    games = [random_game(CHESS, 100 + seed, 6) for seed in range(8)]
    expected = native(url, games)

    async def run(client: Any, number: int) -> None:
        for ply, move in enumerate(games[number]):
            options = {"sequence_id": f"aio-{number}", "sequence_start": ply == 0}
            check_ply(await client.infer("chess", inputs([move], True), **options), expected[number], ply + 1)

    async with aio.InferenceServerClient(url.removeprefix("http://")) as client:
        await asyncio.gather(*(run(client, number) for number in range(len(games))))


def test_a_sequence_is_played_on_natively_and_back(client: Any, url: str):
    client.infer("chess", inputs(["e4"], True), sequence_id=5, sequence_start=True, parameters={"white_elo": 1900})
    body = {"moves": ["e5"], "ply": 1, "top_k": TOP_K}
    played = httpx.post(f"{url}/sessions/chess:5/moves", json=body).raise_for_status().json()
    stands = client.infer("chess", inputs([], True), sequence_id=5, parameters={"ply": 2})
    assert texts(stands) == [one["move"] for one in played["next"]]
    assert (
        stands.as_numpy("PROBABILITIES").tobytes()
        == np.float32([one["probability"] for one in played["next"]]).tobytes()
    )
    assert stands.as_numpy("SURPRISAL").shape == (0,)
    assert stands.get_response()["parameters"]["session"] == "chess:5"
    assert httpx.get(f"{url}/sessions/chess:5").json()["context"] == {"white_elo": 1900}


def test_the_request_id_comes_back_and_all_outputs_if_none_is_named(client: Any):
    result = client.infer(
        "chess", inputs(["e4"], True), request_id="mine", model_version="1", timeout=9_000_000, priority=1
    )
    assert result.get_response()["id"] == "mine"
    assert [one["name"] for one in result.get_response()["outputs"]] == [
        "NEXT_MOVES",
        "PROBABILITIES",
        "SURPRISAL",
        "PLY",
    ]
    assert all("binary_data_size" in one["parameters"] for one in result.get_response()["outputs"])
    only = client.infer("chess", inputs(["e4"], False), outputs=[triton.InferRequestedOutput("PLY")])
    assert only.as_numpy("PLY").tolist() == [1]
    assert only.as_numpy("NEXT_MOVES") is None


def test_every_other_call_of_the_client(client: Any):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("chess")
    assert client.is_model_ready("chess", "1")
    assert not client.is_model_ready("chess", "2")
    assert client.get_server_metadata()["name"] == "nextply"
    metadata = client.get_model_metadata("chess")
    assert [one["name"] for one in metadata["inputs"]] == ["MOVES", "TOP_K"]
    assert client.get_model_metadata("chess", "1") == metadata
    assert client.get_model_config("chess", "1")["max_batch_size"] == 0
    names = {one["name"] for one in client.get_model_repository_index()}
    assert names == {one["name"] for one in client.get_inference_statistics()["model_stats"]} > {"chess", "othello"}
    (before,) = client.get_inference_statistics("chess", "1")["model_stats"]
    client.infer("chess", inputs(["e4"], True))
    (after,) = client.get_inference_statistics("chess", "1")["model_stats"]
    assert after["inference_count"] == before["inference_count"] + 1
    client.unload_model("othello")
    assert not client.is_model_ready("othello")
    client.load_model("othello")
    assert client.is_model_ready("othello")
    with pytest.raises(InferenceServerException, match="takes no config"):
        client.load_model("othello", config="{}")


def test_the_example_of_the_documentation_runs(url: str, capsys: pytest.CaptureFixture[str]):
    page = (Path(__file__).parent.parent / "docs" / "v2.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page, re.S)
    (printed,) = re.findall(r"```text\n(.*?)```", page, re.S)
    assert "localhost:8000" in example
    exec(example.replace("localhost:8000", url.removeprefix("http://")), {})
    # The model of the tests is not the one that ships, so only the form is the same.
    form = re.compile(r"[a-h][1-8][a-h][1-8]|0\.\d+|\d+\.\d+")
    assert form.sub("x", capsys.readouterr().out) == form.sub("x", printed)


def test_several_processes_serve_one_sequence_and_count_together(artifacts: Path, tmp_path: Path):
    game = random_game(CHESS, 5, 16)
    with Process(Settings(artifacts=artifacts, data_dir=tmp_path, fsync=False, workers=2)) as process:
        (expected,) = native(process.url, [game])
        for ply, move in enumerate(game):
            # A new connection each time, so that both processes have something to do.
            with triton.InferenceServerClient(process.url.removeprefix("http://")) as client:
                options = {"sequence_id": 8, "sequence_start": ply == 0}
                check_ply(client.infer("chess", inputs([move], True), **options), expected, ply + 1)
                (found,) = client.get_inference_statistics("chess")["model_stats"]
                assert found["inference_count"] == found["inference_stats"]["success"]["count"] == ply + 1
                assert found["last_inference"] > 0
