"""Reads a setting and gives what single moves over HTTP cost, by server, model and connections, with ``wrk``."""

from tqdm import tqdm

from scripts.benchmarks import wrk
from scripts.benchmarks.contenders import Contender, all_of
from scripts.benchmarks.figures import Run
from scripts.benchmarks.servers import commits
from scripts.benchmarks.setting import TOKENS, Setting
from scripts.benchmarks.stores import fresh

# Connections and seconds of the load that comes before the first measurement of a server.
_WARM_UP = 16, 1.0
# Seconds for which the same load comes before it is measured, where it can be sent over.
_CROWD = 1.0


def measure(setting: Setting) -> list[Run]:
    """Measure all servers at each number of connections in turn, round by round; BenchmarkError if one fails.

    A run has ``requests_per_second``, ``p50`` and ``p99`` in seconds, the processor seconds a second of server and
    client (``server_cores``, ``client_cores``), and what the server holds in the end (``private``, bytes).
    """
    runs: list[Run] = []
    for number in tqdm(range(setting.rounds), "http: rounds"):
        with fresh(setting.work / "http") as folder, all_of(setting, folder) as contenders:
            for contender in contenders:
                _run(contender, "warm", *_WARM_UP)
            todo = [
                (connections, contender)
                for connections in (*setting.connections, setting.many)
                for contender in contenders
                if connections and (connections != setting.many or _bears_many(contender))
            ]
            for connections, contender in tqdm(todo, "http", leave=False):
                measured = _run(contender, f"c{connections}", connections, setting.seconds)
                runs.append(contender.label | {"connections": connections, "round": number} | measured)
    return runs


def _bears_many(contender: Contender) -> bool:
    return (contender.label["server"], contender.label["model"]) == ("nextply", TOKENS)


def _run(contender: Contender, tag: str, connections: int, seconds: float) -> dict[str, float]:
    return send(contender, contender.load(tag, connections, seconds), connections, seconds)


def send(contender: Contender, load: tuple[list[bytes], bool], connections: int, seconds: float) -> dict[str, float]:
    """Send requests, over and over again if they may be, and give what came of it."""
    requests, again = load
    if again:
        # A service that had little to do takes a crowd that comes at once for too many, and refuses some of it.
        wrk.send(contender.server.url, requests, connections, _CROWD, again=True)
    server, durable = contender.server, contender.label["server"] == "nextply"
    before, written = server.use().cpu, commits(server.folder) if durable else 0
    found = wrk.run(server.url, requests, connections, seconds, again=again)
    used, length = server.use(), found.requests / found.requests_per_second
    figures = {
        "requests_per_second": found.requests_per_second,
        "p50": found.p50,
        "p99": found.p99,
        "server_cores": (used.cpu - before) / length,
        "client_cores": found.client_cpu / length,
        "requests_per_cpu_second": found.requests / max(used.cpu - before, 1e-9),
        "private": used.private,
    }
    if durable:
        figures["moves_per_commit"] = found.requests / max(1, commits(server.folder) - written)
    return figures
