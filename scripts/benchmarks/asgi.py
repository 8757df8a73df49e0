"""Reads a setting and gives what ASGI servers take for an answer that is ready, with one process each and ``wrk``."""

from typing import Any

from tqdm import tqdm

from scripts.benchmarks import wrk
from scripts.benchmarks.figures import Run
from scripts.benchmarks.load import post
from scripts.benchmarks.servers import Server
from scripts.benchmarks.setting import Setting
from scripts.benchmarks.stores import fresh
from scripts.peers.asgi_servers import ASGI_SERVERS, command

_REQUEST = post("/sessions/s1042/moves", {"moves": ["t17"], "ply": 30})
_CONNECTIONS = (1, 64)


def measure(setting: Setting) -> list[Run]:
    """Measure all servers in turn, round by round; nothing without peers."""
    if setting.peers is None:
        return []
    runs: list[Run] = []
    for number in tqdm(range(setting.rounds), "asgi: rounds"):
        for name in ASGI_SERVERS:
            with (
                fresh(setting.work / "asgi") as folder,
                Server(name, command(setting.peers, name), "/", folder) as server,
            ):
                wrk.run(server.url, [_REQUEST], 64, 1, again=True)
                for connections in _CONNECTIONS:
                    label = {"model": "none", "server": name, "connections": connections, "round": number}
                    runs.append(label | _run(server, connections, setting.seconds))
    return runs


def _run(server: Server, connections: int, seconds: float) -> dict[str, Any]:
    before = server.use().cpu
    found = wrk.run(server.url, [_REQUEST], connections, seconds, again=True)
    return {
        "requests_per_second": found.requests_per_second,
        "p50": found.p50,
        "p99": found.p99,
        "cpu": (server.use().cpu - before) / found.requests,
    }
