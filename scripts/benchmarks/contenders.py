"""Reads a setting and gives the servers that are measured side by side, each with a load of single moves of its own."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from model.games import Game
from scripts.benchmarks.load import Plan, fastest, post
from scripts.benchmarks.pump import connect, pump, take_http
from scripts.benchmarks.servers import UNSYNCED, Server, nextply
from scripts.benchmarks.setting import TOKENS, Setting
from scripts.peers import triton_server

# Sessions that are played in by turns. Of the service's own a move must be answered before the next of its session is
# sent, which with as many as these it is, however late one connection is; the others are no faster with fewer.
_SESSIONS, _OF_OTHERS = 3072, 1024
# One client gets no more requests a second than this.
_FASTEST_CLIENT = 6000
_OPENERS = 8


class Contender(Protocol):
    """A server that runs, and the requests with which it is measured."""

    @property
    def label(self) -> dict[str, Any]:
        """Say which it is: ``server``, ``model``, ``workers``."""

    @property
    def server(self) -> Server:
        """Give the server."""

    def load(self, tag: str, connections: int, seconds: float) -> tuple[list[bytes], bool]:
        """Open sessions named after ``tag``; give single-move requests, and whether they may be sent over again."""


@dataclass(frozen=True)
class Nextply:
    """The service: sessions are durable, moves are checked and answered in SAN where the game has rules."""

    label: dict[str, Any]
    server: Server
    game: Game
    model: str

    def load(self, tag: str, connections: int, seconds: float) -> tuple[list[bytes], bool]:
        """Where there are rules every move is sent once, since it would be illegal the second time."""
        without_rules = self.game.new_position().legal() is None
        rate = min(fastest(self.game), connections * _FASTEST_CLIENT)
        group = max(_SESSIONS, 2 * connections)
        moves = 2 * group if without_rules else rate * seconds
        # Chess goes on from openings that are all different.
        plan = Plan.of(self.game, self.model, tag, moves, group, begun=0 if without_rules else 8)
        send_all(self.server.url, plan.openings())
        return plan.single_moves(), without_rules


@dataclass(frozen=True)
class Triton:
    """Triton on the same graph: no rules, no board, and what is not in memory is lost."""

    label: dict[str, Any]
    server: Server
    tokens: int

    def load(self, tag: str, connections: int, seconds: float) -> tuple[list[bytes], bool]:
        """Sequences are numbered, and begin anew."""
        sequences = range(1, 1 + max(_OF_OTHERS, 2 * connections))
        step, request = triton_server.STEP, triton_server.request
        send_all(self.server.url, [post(step, request(number, 0, start=True)) for number in sequences])
        rng = np.random.default_rng(0)
        return [post(step, request(number, int(rng.integers(self.tokens)))) for _ in "12" for number in sequences], True


@dataclass(frozen=True)
class ByHand:
    """A service as people write it: a route, a graph and a dict."""

    label: dict[str, Any]
    server: Server
    game: Game

    def load(self, tag: str, connections: int, seconds: float) -> tuple[list[bytes], bool]:
        """Open nothing: a session begins with its first move."""
        names, rng = self.game.vocabulary.names, np.random.default_rng(0)
        ids = [f"{tag}-{number}" for number in range(max(_OF_OTHERS, 2 * connections))]
        return [
            post(f"/sessions/{id_}/moves", {"move": names[rng.integers(len(names))]}) for _ in "12" for id_ in ids
        ], True


def send_all(url: str, requests: Sequence[bytes]) -> None:
    """Send requests over a few connections; BenchmarkError if one is refused."""
    left = iter(requests)
    pump([connect(url) for _ in range(_OPENERS)], [left] * _OPENERS, take_http, window=1, seconds=float("inf"))


def triton(setting: Setting, model: str, folder: Path, instances: int) -> Server:
    """Give a Triton that serves a model; PeerError if it cannot be installed."""
    assert setting.peers is not None
    command, environment = triton_server.command(setting.peers, setting.folder(model), folder / "repository", instances)
    return Server("triton", command, triton_server.READY, folder, environment)


def by_hand(setting: Setting, folder: Path) -> Server:
    """Give the hand-written service, which knows the token game alone."""
    command = [sys.executable, "-m", "scripts.peers.by_hand", f"--model={setting.folder(TOKENS)}", "--port={port}"]
    return Server("by_hand", command, "/ready", folder)


@contextmanager
def ours(setting: Setting, model: str, folder: Path, workers: int, name: str = "nextply") -> Iterator[Nextply]:
    """Give the service, running, with fsync if it goes by its own name."""
    label = {"server": name, "model": model, "workers": workers}
    fsync = name != UNSYNCED
    with nextply(name, setting.models[model], model, folder, workers=workers, fsync=fsync) as server:
        yield Nextply(label, server, setting.artifact(model).game, model)


@contextmanager
def all_of(setting: Setting, folder: Path) -> Iterator[list[Contender]]:
    """Give every server, running, for every model; those that nobody asks take no processor time."""
    with ExitStack() as stack:
        found: list[Contender] = []
        for model in setting.models:
            game = setting.artifact(model).game
            for name, count in [*(("nextply", count) for count in setting.workers), (UNSYNCED, max(setting.workers))]:
                place = folder / f"{name}-{model}-{count}"
                found.append(stack.enter_context(ours(setting, model, place, count, name)))
            if setting.peers is None:
                continue
            for count in setting.workers:
                label = {"server": "triton", "model": model, "workers": count}
                server = triton(setting, model, folder / f"triton-{model}-{count}", count)
                found.append(Triton(label, stack.enter_context(server), len(game.vocabulary)))
            if model == TOKENS:
                label = {"server": "by_hand", "model": model, "workers": 1}
                found.append(ByHand(label, stack.enter_context(by_hand(setting, folder / "by-hand")), game))
        yield found
