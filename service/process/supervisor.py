"""Keeps worker processes running on one port: one that dies is replaced, and a signal to stop reaches all of them.

It loads no model and opens no store. Each worker has a place with a listening socket, which stays when the worker ends.
The socket between the supervisor and a worker says that the worker is ready; its end says that the other side is gone,
so that no worker outlives its supervisor.
"""

import asyncio
import logging
import logging.config
import os
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from tempfile import TemporaryDirectory

from prometheus_client.multiprocess import mark_process_dead

from service.metrics import SHARED as SHARED_METRICS
from service.process.listening import AddressError, address, listen
from service.process.logs import log_config, refuse
from service.settings import Settings

_log = logging.getLogger("nextply")

# Seconds until a worker that could not start is started again, doubled each time.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0
# Seconds past its drain after which a worker is killed.
_GRACE = 5.0


def supervise(settings: Settings, flags: Sequence[str]) -> int:
    """Run the workers until stopped and give the exit code; what keeps the service from starting is said in one line.

    If the first worker cannot start, it says so, and its exit code is given.
    """
    try:
        listening = listen(settings.host, settings.port, settings.workers)
    except AddressError as error:
        refuse(error)
        return 1
    logging.config.dictConfig(log_config(settings.log_level, settings.log_format))
    with TemporaryDirectory(prefix="nextply-metrics-") as shared:
        return asyncio.run(Supervisor(settings, flags, listening, {SHARED_METRICS: shared}).run())


class Supervisor:
    """The workers of one service."""

    def __init__(
        self,
        settings: Settings,
        flags: Sequence[str],
        listening: Sequence[socket.socket],
        environment: Mapping[str, str],
    ) -> None:
        """Take the settings, the flags that gave them, a socket for each worker, and the environment of all."""
        self._environment = os.environ | environment
        self._flags, self._listening = flags, listening
        self._patience = settings.drain_delay + settings.drain_seconds + _GRACE
        self._workers: dict[Process, socket.socket] = {}
        self._stopped = asyncio.Event()

    async def run(self) -> int:
        """Run until stopped, or until the first worker could not start; give the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopped.set)
        keeping = asyncio.create_task(self._keep_all())
        stopped = asyncio.create_task(self._stopped.wait())
        await asyncio.wait([keeping, stopped], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if keeping.done():
            return keeping.result()
        keeping.cancel()
        await asyncio.wait([keeping])
        await self._end_all()
        return 0

    async def _keep_all(self) -> int:
        """Give an exit code if the first worker cannot start: then none can."""
        first, ready = await self._start(0)
        if not ready:
            return max(1, await first.wait())
        others = await asyncio.gather(*map(self._start, range(1, len(self._listening))))
        _log.info("running on %s", address(self._listening[0]))
        started = enumerate([(first, ready), *others])
        await asyncio.gather(*(self._keep(place, *worker) for place, worker in started))
        raise AssertionError("workers are kept for ever")

    async def _keep(self, place: int, worker: Process, ready: bool) -> None:
        """Replace a worker whenever it ends, at once if it had been ready."""
        pause = _FIRST_PAUSE
        while True:
            code = await worker.wait()
            self._workers.pop(worker).close()
            # What it had open or waiting is no more; what it counted stays.
            mark_process_dead(worker.pid, self._environment[SHARED_METRICS])  # type: ignore[no-untyped-call]
            if ready:
                _log.warning("worker %d ended with %d; another takes its place", worker.pid, code)
                pause = _FIRST_PAUSE
            else:
                _log.error("worker %d could not start; it is tried again in %g s", worker.pid, pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            worker, ready = await self._start(place)

    async def _start(self, place: int) -> tuple[Process, bool]:
        """Start the worker of a place; give it once it is ready, or with False once it has failed."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        others = [listening for listening in self._listening if listening is not self._listening[place]]
        listening = [one.fileno() for one in (self._listening[place], *others)]
        sockets = [str(theirs.fileno()), ",".join(map(str, listening))]
        command = [sys.executable, "-m", "service.process.worker", *sockets, *self._flags]
        with theirs:
            worker = await asyncio.create_subprocess_exec(
                *command, pass_fds=(theirs.fileno(), *listening), env=self._environment
            )
        self._workers[worker] = ours
        ready = await asyncio.get_running_loop().sock_recv(ours, 1)
        if ready:
            _log.info("worker %d is ready", worker.pid)
        return worker, bool(ready)

    async def _end_all(self) -> None:
        for listening in self._listening:
            listening.close()
        for worker in self._workers:
            with suppress(ProcessLookupError):
                worker.terminate()
        ends = [asyncio.create_task(worker.wait()) for worker in self._workers]
        _, late = await asyncio.wait(ends, timeout=self._patience)
        if late:
            _log.error("%d workers are killed, since they did not stop within %g s", len(late), self._patience)
        for worker in self._workers:
            with suppress(ProcessLookupError):
                worker.kill()
