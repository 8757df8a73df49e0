"""Reads a command and gives a server in processes of its own: started, waited for, watched and ended."""

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import lmdb
import psutil

# The most that starting may take, in seconds.
_PATIENCE = 90
# Seconds between two looks whether a server that starts is ready.
_LOOK = 0.002
# Seconds that a server has to end by itself.
_FAREWELL = 3
_ROOT = Path(__file__).parents[2]
# The service with a store that does not wait for the disk: a crash loses nothing, a power cut the last moments.
UNSYNCED = "unsynced"


class BenchmarkError(Exception):
    """A measurement that says nothing: a server or a load that failed; the message says how."""


@dataclass(frozen=True, slots=True)
class Use:
    """What the processes of a server hold and have used so far."""

    cpu: float
    """Seconds of processor time."""
    resident: int
    """Bytes of memory, what is shared counted in each process."""
    private: int
    """Bytes of memory that are no pages of files."""


class Server:
    """A server that listens on 127.0.0.1 while the block runs."""

    def __init__(
        self, name: str, command: Sequence[str], ready: str, folder: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """Take what to run and the path that answers 200 once it is ready; ``{port}`` in the command is its port.

        What it writes goes into a log in ``folder``, which is made.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.name, self.folder = name, folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [word.replace("{port}", str(self.port)) for word in command]
        self._ready, self._environment = ready, os.environ | dict(environment or {})
        self._log = folder / f"{name}.log"
        self.cold_start = 0.0
        """Seconds from the start until it was ready."""

    def __enter__(self) -> "Server":
        """Give the server once it is ready; BenchmarkError if it does not become so."""
        begun = time.perf_counter()
        with self._log.open("w") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, env=self._environment, cwd=_ROOT)
        try:
            while not self._answers():
                if self._process.poll() is not None or time.perf_counter() - begun > _PATIENCE:
                    raise BenchmarkError(f"{self.name} did not start:\n{self._log.read_text()[-2000:]}")
                time.sleep(_LOOK)
        except BaseException:
            self.stop()
            raise
        self.cold_start = time.perf_counter() - begun
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.stop()

    def stop(self) -> None:
        """Ask it to end, and end what is left of it after some seconds: Triton never ends while a sequence lives."""
        processes = self._processes()
        self._process.terminate()
        _, left = psutil.wait_procs(processes, _FAREWELL)
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()

    def use(self) -> Use:
        """Give what its processes hold and have used so far; what ended before does not count."""
        cpu, resident, private = 0.0, 0, 0
        for process in self._processes():
            with suppress(psutil.NoSuchProcess), process.oneshot():
                times, memory = process.cpu_times(), process.memory_info()
                cpu += times.user + times.system
                resident += memory.rss
                private += memory.rss - memory.shared
        return Use(cpu, resident, private)

    def _processes(self) -> list[psutil.Process]:
        try:
            first = psutil.Process(self._process.pid)
            return [first, *first.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE)
        try:
            connection.request("GET", self._ready)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def host_and_port(url: str) -> tuple[str, int]:
    """Give the two parts of ``http://host:port``."""
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)


def free_port() -> int:
    """Give a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def nextply(name: str, models: Path, model: str, folder: Path, **settings: object) -> Server:
    """Give ``python -m service`` with the default settings, and those given, on an empty store in ``folder``."""
    chosen = {"artifacts": models, "model": model, "data_dir": folder / "data", "log_level": "warning"} | settings
    flags = [f"--{setting.replace('_', '-')}={value}" for setting, value in chosen.items()]
    command = [sys.executable, "-m", "service", "--port={port}", *flags]
    return Server(name, command, "/health/ready", folder)


def commits(folder: Path) -> int:
    """Give how many transactions were committed to the LMDB store of a service that ``nextply`` started there."""
    environment = lmdb.open(str(folder / "data" / "sessions.lmdb"), readonly=True, lock=False)
    try:
        return int(environment.info()["last_txnid"])
    finally:
        environment.close()
