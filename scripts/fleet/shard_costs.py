"""Run ``python -m scripts.fleet.shard_costs --url valkey://localhost:6379`` against a server that holds nothing else.

Loads and keeps sessions as the service does, one in a call and many, and gives what that took of the server's CPU and
of the caller's, by the call and by the session, and the bytes that a session takes. These are the defaults of
``times.ShardCosts``. The server's own counters are read, so nothing but this may use it meanwhile.
"""

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from tqdm import tqdm
from valkey import Valkey

from scripts.arguments import count
from service.sessions import Cache, Commit, Limits, Session
from service.sessions.valkey import ValkeyStore

# A day in milliseconds: nothing expires while it is measured.
_LIMITS = Limits(86_400_000, 86_400_000, 1, 1)


def make_sessions(number: int, moves: int, candidates: int, state: int) -> list[Session]:
    """Give sessions of the given number of moves, whose last prediction is of so many, with states of so many bytes."""
    rng = np.random.default_rng(0)

    def session(name: int) -> Session:
        cache = Cache("00" * 32, rng.random(moves, np.float32), rng.random(candidates, np.float32), rng.bytes(state))
        ids = tuple(rng.integers(1860, size=moves).tolist())
        return Session(f"{name:016x}", "chess", "1", "0" * 16, {"white_elo": 1500, "black_elo": 1500}, ids, 1, 0, cache)

    return [session(name) for name in range(number)]


class _Server:
    """A server and the service's own way to it."""

    def __init__(self, url: str, sessions: Sequence[Session]) -> None:
        self._server, self.store = Valkey.from_url(url), ValkeyStore(url, _LIMITS)
        self._kept = list(sessions)
        self._server.flushall()
        empty = self._info("memory", "used_memory")
        self.store.commit_many([Commit(session, None) for session in sessions])
        self.bytes_of_a_session = (self._info("memory", "used_memory") - empty) / len(sessions)

    def load(self, numbers: Sequence[int]) -> None:
        self.store.load_many([self._kept[number].id for number in numbers])

    def commit(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self._kept[number] = replace(self._kept[number], revision=self._kept[number].revision + 1)
        group = [self._kept[number] for number in numbers]
        assert all(self.store.commit_many([Commit(session, session.revision - 1) for session in group]))

    def cost(self, name: str, rows: int, calls: int) -> tuple[float, float, float]:
        """Give the CPU of the server and of this process, and the median time, in seconds a call of so many rows."""
        call, times = getattr(self, name), []
        before, own = self._cpu(), time.process_time()
        for at in tqdm(range(calls), f"{name} of {rows}", leave=False):
            numbers = [number % len(self._kept) for number in range(at * rows, at * rows + rows)]
            begin = time.perf_counter()
            call(numbers)
            times.append(time.perf_counter() - begin)
        own = time.process_time() - own
        return (self._cpu() - before) / calls, own / calls, statistics.median(times)

    def _cpu(self) -> float:
        return self._info("cpu", "used_cpu_user_main_thread") + self._info("cpu", "used_cpu_sys_main_thread")

    def _info(self, section: str, name: str) -> float:
        info: Any = self._server.info(section)
        return float(info[name])


def measure(url: str, sessions: Sequence[Session], rows: int, calls: int) -> dict[str, float]:
    """Give costs by the names of ShardCosts, and the milliseconds of a call of one session; the server is emptied.

    ``rows`` are those of a call of many, at least 2 and at most as many as there are sessions.
    """
    server = _Server(url, sessions)
    records = sum(len(record or b"") for record in sessions[0].pack())
    found = {"shard_overhead": server.bytes_of_a_session - records}
    for name in ("load", "commit"):
        of_one, of_many = server.cost(name, 1, calls), server.cost(name, rows, calls)
        for where, one, many in zip(("shard", "client"), of_one, of_many, strict=False):
            row = (many - one) / (rows - 1)
            found |= {f"{where}_{name}_base": one - row, f"{where}_{name}_row": row}
        found[f"{name}_ms"] = of_one[2] * 1000
    server.store.close()
    return found


def main(words: list[str] | None = None) -> None:
    """Measure and print one line of JSON: microseconds, and bytes of ``shard_overhead``."""
    parser = argparse.ArgumentParser(prog="python -m scripts.fleet.shard_costs", description="Measure a Valkey server.")
    parser.add_argument("--url", required=True, help="of a server that holds nothing else: it is emptied")
    parser.add_argument("--sessions", type=count, default=2000, help="(2000)")
    parser.add_argument("--moves", type=count, default=40, help="of a session (40)")
    parser.add_argument("--candidates", type=count, default=35, help="moves that its last prediction is of (35)")
    parser.add_argument("--state", type=count, default=1920, help="bytes of the network's state (1920, as chess/3)")
    parser.add_argument("--rows", type=count, default=32, help="sessions of a call that has many (32)")
    parser.add_argument("--calls", type=count, default=2000, help="(2000)")
    given = parser.parse_args(words)
    sessions = make_sessions(given.sessions, given.moves, given.candidates, given.state)
    found = measure(given.url, sessions, max(2, given.rows), given.calls)
    scale = {name: 1 if name.endswith(("overhead", "_ms")) else 1e6 for name in found}
    print(json.dumps({name: round(value * scale[name], 2) for name, value in found.items()}))


if __name__ == "__main__":
    main()
