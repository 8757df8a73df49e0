"""Services in processes of their own, which are killed and started again, and what they use."""

import asyncio
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from tqdm import tqdm

from service.settings import Settings
from tests.soak.client import Client
from tests.valkey_server import ValkeyServer

ARTIFACTS = Path(__file__).parents[2] / "artifacts"
# The most that starting may take on a machine that is busy.
_PATIENCE = 60


class Service:
    """``python -m service`` with the models that ship, on a port that stays the same when it is started again."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        """Choose a port; what the service logs goes to a file in ``folder``."""
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        chosen = Settings(port=self.port, artifacts=ARTIFACTS, **{"data_dir": folder / "data"} | settings)
        given = chosen.model_dump(exclude_unset=True)
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
        self._command = [sys.executable, "-m", "service", *flags]
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / f"service-{self.port}.log"

    def start(self) -> None:
        """Start it, and do not wait."""
        with self._log.open("a") as log:
            self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=log)

    async def ready(self) -> float:
        """Wait until it is ready; give the seconds that took."""
        begin, client = time.perf_counter(), Client(self.url)
        while True:
            try:
                if (await client.request("GET", "/health/ready")).status == 200:
                    return time.perf_counter() - begin
            except OSError:
                assert self._process.poll() is None, f"the service ended:\n{self.log()}"
            finally:
                client.close()
            assert time.perf_counter() - begin < _PATIENCE, f"the service is not ready:\n{self.log()}"
            await asyncio.sleep(0.01)

    async def __aenter__(self) -> "Service":
        """Give the service once it is ready."""
        self.start()
        try:
            await self.ready()
        except BaseException:
            self.kill()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End it however it is; show its log if the test failed."""
        self.kill()
        if kind is not None:
            tqdm.write(self.log())

    def kill(self) -> None:
        """End all its processes at once, as a power cut does."""
        if self._process.poll() is None:
            # Frozen, it starts no workers that are not in the list.
            self._process.send_signal(signal.SIGSTOP)
            processes = self._all()
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            while any(map(_lives, processes)):
                time.sleep(0.005)
        self._process.wait()

    def workers(self) -> list[psutil.Process]:
        """Give the living processes that serve under the one that was started."""
        return [child for child in psutil.Process(self._process.pid).children() if _serves(child)]

    def kill_a_worker(self, rng: random.Random) -> None:
        """End one of the worker processes at once, one that somebody is connected to."""
        established = psutil.CONN_ESTABLISHED
        busy = [
            worker
            for worker in self.workers()
            if any(connection.status == established for connection in worker.net_connections("tcp"))
        ]
        rng.choice(busy).kill()

    def memory(self) -> int:
        """Give the bytes that the service has for itself; pages of the store's file are the kernel's to take back."""
        figures = [process.memory_info() for process in self._all()]
        return sum(figure.rss - figure.shared for figure in figures)

    def open_files(self) -> int:
        """Give how many files and connections are open."""
        return sum(process.num_fds() for process in self._all())

    def threads(self) -> int:
        """Give how many threads there are."""
        return sum(process.num_threads() for process in self._all())

    def _all(self) -> list[psutil.Process]:
        root = psutil.Process(self._process.pid)
        return [root, *root.children(recursive=True)]

    def log(self) -> str:
        """Give the end of what it logged."""
        return self._log.read_text()[-10_000:]


@asynccontextmanager
async def memory_of(service: Service) -> AsyncIterator[list[int]]:
    """Collect the service's memory, ten times a second, while the block runs."""
    taken: list[int] = []

    async def take() -> None:
        while True:
            taken.append(service.memory())
            await asyncio.sleep(0.1)

    taking = asyncio.create_task(take())
    try:
        yield taken
    finally:
        taking.cancel()


def _lives(process: psutil.Process) -> bool:
    """Say whether a process can still do anything; one that nobody has waited for has a number, but no more."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _serves(process: psutil.Process) -> bool:
    """Say whether a child is a worker; one that is dead has no command, and multiprocessing has a helper of its own."""
    try:
        command = " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False
    return bool(command) and "resource_tracker" not in command


def free_port() -> int:
    """Give a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def shared(store: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Give the settings of services that share a store of this kind."""
    if store == "lmdb":
        yield {}
    else:
        with ValkeyServer(folder / "valkey") as server:
            yield {"store": server.url}


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds that nobody tells of."""
    async with asyncio.timeout(_PATIENCE):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
