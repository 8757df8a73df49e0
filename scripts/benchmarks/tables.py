"""Reads the results of all parts and gives their tables in Markdown."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scripts.benchmarks.apart import APART, ONE
from scripts.benchmarks.comparisons import best, scaled
from scripts.benchmarks.figures import Run, matching, middle, ratio, values
from scripts.benchmarks.game_length import GROWING, RESENT, SESSION
from scripts.benchmarks.one_client import HTTP, STEP
from scripts.benchmarks.servers import UNSYNCED
from scripts.pages import table

Results = Mapping[str, Any]
_NAMES = {"nextply": "Nextply", UNSYNCED: "Nextply without fsync", "triton": "Triton", "by_hand": "FastAPI by hand"}
_NOTHING = "–"


def number(value: float | None, digits: int = 0) -> str:
    """Write a figure; a dash if it was not measured."""
    return _NOTHING if value is None else f"{value:,.{digits}f}"


def milliseconds(seconds: float | None, digits: int = 1) -> str:
    """Write a time in milliseconds."""
    return number(None if seconds is None else 1000 * seconds, digits)


def mebibytes(size: float | None) -> str:
    """Write a size in MiB."""
    return number(None if size is None else size / (1 << 20))


def contender(server: str, workers: int) -> str:
    """Write which server it was, and how many processes of it."""
    kind = "instance" if server == "triton" else "worker"
    return _NAMES[server] + ("" if server == "by_hand" else f", {workers} {kind}{'s' if workers > 1 else ''}")


def engine(runs: Sequence[Run]) -> str:
    """Write steps a second by rows and precision."""
    rows = []
    for model in values(runs, "model"):
        for count in values(runs, "rows"):
            at = {"model": model, "rows": count}
            fp32, int8 = (middle(runs, "steps_per_second", precision=name, **at) for name in ("fp32", "int8"))
            faster = ratio(runs, "steps_per_second", {"precision": "int8", **at}, {"precision": "fp32", **at})
            rows.append([model, str(count), number(fp32), number(int8), number(faster, 2)])
    return table(["model", "rows of a step", "float32 steps/s", "int8 steps/s", "int8 / float32"], rows)


def single_moves(runs: Sequence[Run]) -> str:
    """Write requests a second and times of single moves: a row for each server, a column for each load."""
    connections = values(runs, "connections")
    head = ["model", "server", *(f"{count} connection{'s' if count > 1 else ''}" for count in connections), "MiB"]
    rows = []
    for model, server, workers in _contenders(runs):
        at = {"model": model, "server": server, "workers": workers}
        cells = [_rate_and_times(runs, connections=count, **at) for count in connections]
        held = max(run["private"] for run in matching(runs, **at))
        rows.append([model, contender(server, workers), *cells, mebibytes(held)])
    return "Requests/s · p50 · p99 in ms\n\n" + table(head, rows, texts=2)


def _contenders(runs: Sequence[Run]) -> list[tuple[str, str, int]]:
    return list(dict.fromkeys((run["model"], run["server"], run["workers"]) for run in runs))


def _rate_and_times(runs: Sequence[Run], **at: Any) -> str:
    rate, p50, p99 = (middle(runs, name, **at) for name in ("requests_per_second", "p50", "p99"))
    return _NOTHING if rate is None else f"{number(rate)} · {milliseconds(p50, 2)} · {milliseconds(p99, 2)}"


def against(runs: Sequence[Run]) -> str:
    """Write the service's figures divided by those of each other server, each in the better of its configurations."""
    rows = []
    for model, other in dict.fromkeys((model, name) for model, name, _ in _contenders(runs) if name != "nextply"):
        for count in values(matching(runs, model=model, server=other), "connections"):
            ours, theirs = (best(runs, model, name, count) for name in ("nextply", other))
            if ours is None or theirs is None:
                continue
            times = [ratio(runs, name, ours, theirs) for name in ("requests_per_second", "p50", "p99")]
            rows.append([model, _NAMES[other], str(count), *(number(value, 2) for value in times)])
    return table(["model", "Nextply / …", "connections", "requests/s", "p50", "p99"], rows, texts=2)


def batches(runs: Sequence[Run]) -> str:
    """Write how many moves one commit of the service held: nobody waits for others, and the more come the more go."""
    runs = matching(runs, server="nextply")
    connections = values(runs, "connections")
    rows = [
        [
            model,
            str(workers),
            *(
                number(middle(runs, "moves_per_commit", model=model, workers=workers, connections=count), 1)
                for count in connections
            ),
        ]
        for model, _, workers in _contenders(runs)
    ]
    return "Moves a commit, by connections\n\n" + table(["model", "workers", *map(str, connections)], rows)


def scaling(runs: Sequence[Run]) -> str:
    """Write two workers beside one, as measured and with the load generator's share taken off."""
    rows = []
    for model in values(runs, "model"):
        for count in values(matching(runs, server="nextply", model=model, workers=2), "connections"):
            at = {"server": "nextply", "model": model, "connections": count}
            one, two = {"workers": 1, **at}, {"workers": 2, **at}
            cells = [str(count)]
            cells += [number(middle(runs, "requests_per_second", **which)) for which in (one, two)]
            cells += [number(middle(runs, "server_cores", **which), 2) for which in (one, two)]
            cells += [number(middle(runs, "client_cores", **two), 2)]
            cells += [number(middle(runs, "requests_per_cpu_second", **which)) for which in (one, two)]
            rows.append([model, *cells, *(number(value, 2) for value in scaled(runs, one, two))])
    head = "model,connections,req/s of one,of two,cores of one,of two,of wrk,req/CPU-s of one,of two,two / one"
    return table([*head.split(","), "… by free cores", "… by CPU-s"], rows)


def apart(runs: Sequence[Run]) -> str:
    """Write two services that share nothing beside two workers of one."""
    rows = []
    for model, way, count in dict.fromkeys((run["model"], run["way"], run["connections"]) for run in runs):
        at = {"model": model, "way": way}
        cells = [f"2 × {count}" if way == APART else str(count), number(middle(runs, "requests_per_second", **at))]
        cells += [number(middle(runs, name, **at), 2) for name in ("server_cores", "client_cores")]
        cells += [number(middle(runs, "requests_per_cpu_second", **at))]
        rows.append(
            [model, way, *cells, *(number(value, 2) for value in scaled(runs, {"model": model, "way": ONE}, at))]
        )
    head = "model,what,connections,req/s,cores,of wrk,req/CPU-s,to one worker,… by free cores,… by CPU-s"
    return table(head.split(","), rows, texts=2)


def bulk(runs: Sequence[Run]) -> str:
    """Write moves a second of requests that hold many, or of WebSockets."""
    timed = any(run["p50"] is not None for run in runs)
    rows = []
    for model, workers, connections in dict.fromkeys((r["model"], r["workers"], r["connections"]) for r in runs):
        at = {"model": model, "workers": workers, "connections": connections}
        cells = [str(workers), str(connections), number(middle(runs, "moves_per_second", **at))]
        cells += [milliseconds(middle(runs, "p50", **at))] if timed else []
        cores = (middle(runs, name, **at) for name in ("server_cores", "client_cores"))
        rows.append([model, *cells, *(number(value, 2) for value in cores)])
    times = ["p50 of a request, ms"] if timed else []
    head = ["model", "workers", "connections", "moves/s", *times, "cores of the service", "of the client"]
    return table(head, rows)


def game_length(runs: Sequence[Run]) -> str:
    """Write what a move costs the service by ply, in a session and sent again."""
    rows = []
    for model in values(runs, "model"):
        for ply in values(runs, "ply"):
            at = {"model": model, "ply": ply}
            cells = [
                f"{milliseconds(middle(runs, 'cpu', way=way, **at), 2)} · "
                f"{milliseconds(middle(runs, 'p50', way=way, **at), 2)}"
                for way in (SESSION, RESENT, GROWING)
            ]
            times = ratio(runs, "cpu", {"way": RESENT, **at}, {"way": SESSION, **at})
            rows.append([model, str(ply), *cells, number(times, 1)])
    head = ["model", "ply", "in a session", "whole game sent", "… of a game that grows", "whole game / session"]
    return "Milliseconds of the service's processor · of one answer\n\n" + table(head, rows)


def asgi(runs: Sequence[Run]) -> str:
    """Write what ASGI servers take for an answer that is ready."""
    rows = []
    for server, connections in dict.fromkeys((run["server"], run["connections"]) for run in runs):
        at = {"server": server, "connections": connections}
        rate, p50, p99 = (middle(runs, name, **at) for name in ("requests_per_second", "p50", "p99"))
        cpu = middle(runs, "cpu", **at)
        cells = [str(connections), number(rate), milliseconds(p50, 2), milliseconds(p99, 2)]
        rows.append([server, *cells, number(None if cpu is None else 1e6 * cpu)])
    return table(["server", "connections", "requests/s", "p50, ms", "p99, ms", "CPU of a request, µs"], rows)


def starts(runs: Sequence[Run]) -> str:
    """Write the seconds until a server is ready, and its memory then."""
    rows = []
    for server, model in dict.fromkeys((run["server"], run["model"]) for run in runs):
        at = {"server": server, "model": model}
        cold, resident = (middle(runs, name, **at) for name in ("cold_start", "resident"))
        rows.append([_NAMES[server], model, number(cold, 2), mebibytes(resident)])
    return table(["server", "model", "ready after, s", "resident, MiB"], rows, texts=2)


def sessions(runs: Sequence[Run]) -> str:
    """Write what a session takes."""
    names = ("resident_a_session", "private_a_session", "disk_a_session")
    rows = [
        [
            run["model"], number(run["sessions"]), number(run["plies"]), mebibytes(run["resident_before"]),
            mebibytes(run["resident"]), *(number(run[name]) for name in names),
        ]
        for run in runs
    ]  # fmt: skip
    head = "model,sessions,moves each,resident before MiB,after MiB,resident a session B,not of files B,on disk B"
    return table(head.split(","), rows)


def one_client(runs: Sequence[Run]) -> str:
    """Write of what the time of a move consists where nothing else is asked."""
    rows = []
    for model in values(runs, "model"):
        floor = sum(middle(runs, "p50", model=model, what=what) or 0 for what in (STEP, HTTP))
        for what in values(matching(runs, model=model), "what"):
            p50 = middle(runs, "p50", model=model, what=what)
            beyond = None if p50 is None or what in {STEP, HTTP} else p50 - floor
            rows.append([model, what, milliseconds(p50, 2), milliseconds(beyond, 2)])
    return table(["model", "what", "p50, ms", "beyond step and HTTP, ms"], rows, texts=2)


TABLES: Mapping[str, tuple[str, Callable[[Sequence[Run]], str]]] = {
    "engine": ("engine", engine),
    "asgi": ("asgi", asgi),
    "http": ("http", single_moves),
    "against": ("http", against),
    "batches": ("http", batches),
    "scaling": ("http", scaling),
    "apart": ("apart", apart),
    "client": ("client", one_client),
    "steps": ("steps", bulk),
    "predict": ("predict", bulk),
    "streams": ("streams", bulk),
    "plies": ("plies", game_length),
    "starts": ("starts", starts),
    "sessions": ("sessions", sessions),
}
"""For each table of the page the part whose runs it shows, and what makes it."""
