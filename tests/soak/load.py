"""Load from processes of their own: moves in the sessions of a filled store, as fast as they go or at a given rate."""

import asyncio
import gc
import random
import subprocess
import sys
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, field, replace

import orjson
import uvloop

from tests.soak.client import Answer, Client
from tests.soak.filled import begun, name

_TICK = 0.001
# Connections that are opened at the same time. More would overflow the kernel's queue, and what took long would be that
# a packet is sent again after seconds.
_OPENED = 64


@dataclass(frozen=True)
class Load:
    """What one process does: part ``part`` of ``parts`` of the sessions with numbers under ``sessions`` are its own."""

    url: str
    sessions: int
    connections: int
    seconds: float
    rate: float | None = None
    """Requests a second, whatever the answers do; None sends the next when the last is answered."""
    part: int = 0
    parts: int = 1
    plies: dict[int, int] = field(default_factory=dict)
    """Where those sessions stand that were played in before."""


@dataclass
class Result:
    """What came of it, in one process or in all together."""

    answers: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    """Answers that nobody should get; a few of them."""
    microseconds: list[int] = field(default_factory=list)
    """How long each accepted request took."""
    late: list[int] = field(default_factory=list)
    """Microseconds from the moment a request was due until it was sent."""
    unsent: int = 0
    """Requests that were due while all connections waited for answers."""
    plies: dict[int, int] = field(default_factory=dict)

    def accepted(self, quantile: float) -> float:
        """Give the milliseconds that so many of the accepted requests took at most."""
        return _quantile(self.microseconds, quantile)

    def lateness(self, quantile: float) -> float:
        """Give the milliseconds that so many requests were sent too late at most."""
        return _quantile(self.late, quantile)


def _quantile(microseconds: list[int], quantile: float) -> float:
    ordered = sorted(microseconds)
    return ordered[min(int(len(ordered) * quantile), len(ordered) - 1)] / 1000 if ordered else 0.0


async def run(load: Load) -> Result:
    """Run ``load.parts`` processes, each with its part of the connections and of the rate."""
    parts = load.parts
    rate = None if load.rate is None else load.rate / parts
    shares = []
    for part in range(parts):
        plies = {number: ply for number, ply in load.plies.items() if number % parts == part}
        shares.append(replace(load, part=part, connections=load.connections // parts, rate=rate, plies=plies))
    total = Result()
    for found in await asyncio.gather(*map(_run_one, shares)):
        total.answers = dict(Counter(total.answers) + Counter(found.answers))
        total.wrong += found.wrong
        total.microseconds += found.microseconds
        total.late += found.late
        total.unsent += found.unsent
        total.plies |= found.plies
    return total


async def _run_one(load: Load) -> Result:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.soak.load", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    written, _ = await process.communicate(orjson.dumps(asdict(load), option=orjson.OPT_NON_STR_KEYS))
    assert process.returncode == 0
    found = orjson.loads(written)
    plies = {int(number): ply for number, ply in found.pop("plies").items()}
    return Result(plies=plies, **found)


class _Run:
    """One process's load."""

    def __init__(self, load: Load) -> None:
        self._load, self._rng = load, random.Random(load.part)
        self._busy: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.result = Result(plies=load.plies)

    async def closed(self) -> None:
        """Send each request when the one before on its connection is answered."""
        clients = await self._connected()
        end = time.perf_counter() + self._load.seconds

        async def keep_asking(client: Client) -> None:
            while time.perf_counter() < end:
                await self._ask(client)
            client.close()

        await asyncio.gather(*map(keep_asking, clients))

    async def open(self, rate: float) -> None:
        """Send each request when it is due, on any connection that waits for no answer."""
        # By turns, so that none is idle for so long that the service closes it.
        idle = deque(await self._connected())
        begin, due = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - begin) < self._load.seconds:
            while due < elapsed * rate:
                self.result.late.append(round((time.perf_counter() - begin - due / rate) * 1e6))
                due += 1
                if idle:
                    task = asyncio.create_task(self._ask_on(idle.popleft(), idle))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
                else:
                    self.result.unsent += 1
            await asyncio.sleep(_TICK)
        await asyncio.gather(*self._tasks)
        for client in idle:
            client.close()

    async def _connected(self) -> list[Client]:
        clients = [Client(self._load.url) for _ in range(self._load.connections)]
        for at in range(0, len(clients), _OPENED):
            await asyncio.gather(*(client.ok("GET", "/health/live") for client in clients[at : at + _OPENED]))
        return clients

    async def _ask_on(self, client: Client, idle: deque[Client]) -> None:
        await self._ask(client)
        idle.append(client)

    async def _ask(self, client: Client) -> None:
        """Play the next move of a session in which nothing is being played."""
        number, move, ply = self._pick()
        self._busy.add(number)
        begin = time.perf_counter()
        try:
            answer = await client.request("POST", f"/sessions/{name(number)}/moves", {"moves": [move], "ply": ply})
        except OSError as error:
            self._count("lost", str(error))
        else:
            if answer.status == 200:
                self.result.microseconds.append(round((time.perf_counter() - begin) * 1e6))
                self.result.plies[number] = ply + 1
            self._count(str(answer.status), _complaint(answer))
        self._busy.discard(number)

    def _pick(self) -> tuple[int, str, int]:
        load = self._load
        while True:
            number = self._rng.randrange(load.part, load.sessions, load.parts)
            game, ply = begun(number)
            ply = self.result.plies.get(number, ply)
            if number not in self._busy and ply < len(game):
                return number, game[ply], ply

    def _count(self, kind: str, complaint: str | None) -> None:
        self.result.answers[kind] = self.result.answers.get(kind, 0) + 1
        if complaint is not None and len(self.result.wrong) < 3:
            self.result.wrong.append(complaint)


def _complaint(answer: Answer) -> str | None:
    """Say what is wrong with an answer: it should be what was asked for, or a refusal that says when to come again."""
    if answer.status == 200:
        return None
    told = answer.status == 429 and int(answer.headers.get("retry-after", 0)) > 0
    if told and answer.json().get("retry_after_ms", 0) > 0:
        return None
    return f"{answer.status} {answer.headers} {answer.body.decode()}"


def main() -> None:
    """Read a load and write its result."""
    given = orjson.loads(sys.stdin.buffer.read())
    plies = {int(number): ply for number, ply in given.pop("plies").items()}
    load = Load(plies=plies, **given)
    run = _Run(load)
    gc.freeze()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run.closed() if load.rate is None else run.open(load.rate))
    # Buffered whatever PYTHONUNBUFFERED says: one raw write to a full pipe may take a part and leave the rest.
    with open(1, "wb", closefd=False) as out:
        out.write(orjson.dumps(asdict(run.result), option=orjson.OPT_NON_STR_KEYS))


if __name__ == "__main__":
    main()
