"""Reads HTTP from a socket for the application until it is told to stop, and then stops in order.

Readiness goes first, so that balancers look away; then nothing new is taken, WebSockets are closed with 1012, and what
runs has its time to finish.
"""

import asyncio
import logging
import math
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import FrameType

import uvicorn
from fastapi import FastAPI

from service.process.listening import BACKLOG, Neighbours
from service.process.logs import log_config
from service.process.protocol import Protocol
from service.security.connections import look_after
from service.settings import Settings
from service.stopping import Stopping
from service.streams.places import Places

_log = logging.getLogger("nextply")


class Server(uvicorn.Server):
    """uvicorn, with an end in two steps and without dying of the signal that asked for it."""

    def __init__(
        self, app: FastAPI, settings: Settings, on_ready: Callable[["Server"], None], neighbours: Neighbours
    ) -> None:
        """Take the application, what is to be called in the event loop once it is served, and whom to look after."""
        super().__init__(_config(app, settings))
        self._stopping: Stopping = app.state.stopping
        self._streams: Places = app.state.places
        self._delay, self._patience, self._ends = settings.drain_delay, settings.drain_seconds, 0.0
        self._on_ready, self._neighbours = on_ready, neighbours

    def stop(self, delay: float) -> None:
        """Stop in order, and take nothing new once ``delay`` seconds are over."""
        self._ends = time.monotonic() + delay
        self._stopping.announce()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop because of a signal, which uvicorn would raise again in the end; Ctrl+C again is to wait for less."""
        if not self._stopping.announced:
            self.stop(self._delay)
        elif sig == signal.SIGINT:
            self.force_exit = self._stopping.begun
            self.stop(delay=0)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to serve, and say so."""
        await super().startup(sockets)
        self._on_ready(self)

    async def on_tick(self, counter: int) -> bool:
        """Look ten times a second whether it is time to take nothing new, and whether connections wait elsewhere."""
        if self._stopping.announced and time.monotonic() >= self._ends:
            _log.info("stopping")
            self._stopping.begin()
            self.should_exit = True
        else:
            await self._look_after_neighbours()
            look_after(self.server_state.connections, asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    async def _look_after_neighbours(self) -> None:
        loop = asyncio.get_running_loop()
        for connection in self._neighbours.overdue():
            with suppress(OSError):
                await loop.connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        """Give what uvicorn would for a connection that it had taken itself."""
        make: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        return make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take nothing new, let streams say goodbye, which uvicorn would cut short, and let requests finish."""
        self._neighbours.close()
        for listening in sockets or []:
            listening.close()
        for server in self.servers:
            server.close()
        begun = time.monotonic()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._streams.empty(), self._patience)
        self.config.timeout_graceful_shutdown = math.ceil(max(0, self._patience - (time.monotonic() - begun)))
        await super().shutdown(sockets)


def stop_without(supervisor: socket.socket) -> Callable[[Server], None]:
    """Give what tells the supervisor at the other end of a socket that a server is ready, and stops it without one."""

    def ready(server: Server) -> None:
        loop = asyncio.get_running_loop()

        def orphaned() -> None:
            loop.remove_reader(supervisor)
            server.stop(delay=0)

        with suppress(OSError):
            supervisor.send(b"ready")
        loop.add_reader(supervisor, orphaned)

    return ready


def _config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=partial(Protocol, app.state.shortcut),  # type: ignore[arg-type]
        ws="websockets-sansio",
        ws_max_size=settings.max_body,
        # A client that sends far ahead answers pings late, since its answer waits behind what it sent.
        ws_ping_timeout=120,
        # Messages are short, and each connection would need its own tables to pack them.
        ws_per_message_deflate=False,
        backlog=BACKLOG,
        # Longer than balancers keep an idle connection: who closes first must not be the one who is sent a request.
        timeout_keep_alive=75,
        # The outermost layer of the application writes it.
        access_log=False,
        log_config=log_config(settings.log_level, settings.log_format),
        server_header=False,
        # Nobody here asks where a request came from.
        proxy_headers=False,
    )
