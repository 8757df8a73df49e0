"""Reads a setting and gives what a move costs at some ply: of a session, and where the whole game is sent again.

Both for games that nobody sent before; and for games that grow by a move from request to request, where a service may
know how they began.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from scripts.benchmarks.bulk import Target
from scripts.benchmarks.contenders import send_all
from scripts.benchmarks.figures import Run
from scripts.benchmarks.load import after, line, post
from scripts.benchmarks.pump import Pumped, connect, pump, take_http
from scripts.benchmarks.servers import Server, nextply
from scripts.benchmarks.setting import Setting
from scripts.benchmarks.stores import fresh

PLIES = (10, 100, 500)
SESSION, RESENT, GROWING = "session", "resent", "resent, growing"
# Moves that are measured in one session, after one that brings it into memory, and sessions at the most.
_MOVES, _SESSIONS = 9, 2048
# Games of which the sessions are forks, so that no two play the same moves from the same place.
_GAMES = 8
# Steps a second that one request after the other can take.
_FASTEST = 6000


def measure(setting: Setting, plies: Sequence[int] = PLIES) -> list[Run]:
    """Measure on one connection; a run has ``cpu`` and ``p50``, seconds of the service and of one answer, a move."""
    kinds = [(ply, way) for ply in plies for way in (SESSION, RESENT, GROWING)]
    runs: list[Run] = []
    for number in tqdm(range(setting.rounds), "plies: rounds"):
        for model in setting.models:
            game = setting.artifact(model).game
            with (
                fresh(setting.work / "plies") as folder,
                nextply("nextply", setting.models[model], model, folder) as server,
            ):
                target = Target(server.url, game, model)
                # What comes later in a round meets a fuller store: every other round goes the other way.
                for ply, way in tqdm(kinds[:: -1 if number % 2 else 1], f"plies: {model}", leave=False):
                    requests = _requests(target, ply, way, setting.seconds)
                    label = {"model": model, "ply": ply, "way": way, "round": number}
                    runs.append(label | _one_by_one(server, requests, setting.seconds))
    return runs


def _one_by_one(server: Server, requests: Sequence[bytes], seconds: float) -> dict[str, Any]:
    link, before = connect(server.url), server.use().cpu
    found: Pumped = pump([link], [requests], take_http, window=1, seconds=seconds)
    cpu = server.use().cpu - before
    return {"cpu": cpu / max(1, found.answers), "p50": float(np.median(found.times)), "answers": found.answers}


def _requests(target: Target, ply: int, way: str, seconds: float) -> list[bytes]:
    """Give the requests to be measured; what must come before them is sent here."""
    rng = np.random.default_rng([ply, *way.encode()])
    if way == SESSION:
        return _in_sessions(target, ply, seconds, rng)
    if way == RESENT:
        count = math.ceil(seconds * _FASTEST / ply)
        return [_whole(target, line(target.game, ply + 1, rng)) for _ in range(count)]
    games = [line(target.game, ply + 1 + _MOVES, rng) for _ in range(math.ceil(seconds * _FASTEST / ply / _MOVES))]
    games = games[:_SESSIONS]
    send_all(target.url, [_whole(target, game[: ply + 1]) for game in games])
    return [_whole(target, game[: ply + 1 + more]) for game in games for more in range(1, 1 + _MOVES)]


def _whole(target: Target, moves: Sequence[str]) -> bytes:
    return post("/predict", {"model": target.model, "sequences": [moves]})


def _in_sessions(target: Target, ply: int, seconds: float, rng: np.random.Generator) -> list[bytes]:
    """Fork some games often, and play a first move in each fork; give the moves that follow."""
    game, count = target.game, min(_SESSIONS, math.ceil(seconds * _FASTEST / _MOVES))
    # Games that go on for longer than is needed, so that their positions are not at an end.
    beginnings = [line(game, ply + 2 * _MOVES, rng)[:ply] for _ in range(_GAMES)]
    positions = [after(game, moves) for moves in beginnings]
    parents = [f"p{ply}-{number}" for number in range(_GAMES)]
    forks = [(parents[number % _GAMES], f"p{ply}-fork-{number}") for number in range(count)]
    openings = [
        {"session": id_, "model": target.model, "moves": moves} for id_, moves in zip(parents, beginnings, strict=True)
    ]
    send_all(target.url, [post("/sessions", body) for body in openings])
    send_all(target.url, [post(f"/sessions/{parent}/fork", {"session": child}) for parent, child in forks])
    played = []
    for number, (_, child) in enumerate(forks):
        moves = line(game, 1 + _MOVES, rng, positions[number % _GAMES])
        bodies = [{"moves": [move], "ply": ply + at} for at, move in enumerate(moves)]
        played.append([post(f"/sessions/{child}/moves", body) for body in bodies])
    send_all(target.url, [first for first, *_ in played])
    return [request for _, *rest in played for request in rest]
