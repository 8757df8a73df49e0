"""Plays games through KServe's client, in an environment of its own, and writes what it was answered as JSON.

It reads ``{"url": …, "games": [{"sequence": 7, "binary": true, "moves": […]}]}`` and gives a list of answers a game.
"""

import asyncio
import json
import sys
from typing import Any

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

NAMES = ("NEXT_MOVES", "PROBABILITIES", "SURPRISAL", "PLY")


def _request(game: dict[str, Any], ply: int) -> InferRequest:
    binary, move = game["binary"], game["moves"][ply]
    moves, top_k = InferInput("MOVES", [1], "BYTES"), InferInput("TOP_K", [1], "INT64")
    moves.set_data_from_numpy(np.array([move.encode()], object), binary_data=binary)
    top_k.set_data_from_numpy(np.array([100], np.int64), binary_data=binary)
    control = {
        "sequence_id": game["sequence"],
        "sequence_start": ply == 0,
        "sequence_end": ply + 1 == len(game["moves"]),
    }
    outputs = [RequestedOutput(name, {"binary_data": binary}) for name in NAMES]
    return InferRequest("chess", [moves, top_k], request_id=f"ply {ply}", parameters=control, request_outputs=outputs)


def _plain(output: Any) -> Any:
    values = output.as_numpy()
    if output.datatype == "FP32":
        return np.asarray(values, np.float32).tobytes().hex()
    return [value.decode() if isinstance(value, bytes) else value for value in values.tolist()]


async def _play(client: InferenceRESTClient, url: str, game: dict[str, Any]) -> list[dict[str, Any]]:
    answers = []
    for ply in range(len(game["moves"])):
        response = await client.infer(url, _request(game, ply), model_name="chess")
        assert (response.id, response.model_name) == (f"ply {ply}", "chess")
        answers.append({output.name: _plain(output) for output in response.outputs})
    return answers


async def _run(url: str, games: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        assert await client.is_server_live(url)
        assert await client.is_server_ready(url)
        assert await client.is_model_ready(url, "chess")
        assert not await client.is_model_ready(url, "nobody")
        return await asyncio.gather(*(_play(client, url, game) for game in games))


if __name__ == "__main__":
    json.dump(asyncio.run(_run(**json.load(sys.stdin))), sys.stdout)
