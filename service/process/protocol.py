"""Reads HTTP as uvicorn does, and lets a shortcut answer what it can without the task that uvicorn begins for it."""

from typing import Any, cast

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from service.security.connections import BoundedProtocol
from service.shortcut import Ending, Shortcut


class Protocol(BoundedProtocol):
    """One connection."""

    def __init__(self, shortcut: Shortcut, *arguments: Any, **options: Any) -> None:
        """Take the shortcut, and what uvicorn gives a connection."""
        super().__init__(*arguments, **options)
        self._shortcut = shortcut
        self._reading = False
        self._held: Held | None = None
        """A request whose head has been read, and whose body is in what is being read, if it is for the shortcut."""
        self.answering: Held | None = None
        """The request that the shortcut has taken, until it has its answer."""

    def data_received(self, data: bytes) -> None:
        """Read on; a body that has yet to come is waited for in a task, which gives up some time."""
        self._reading = True
        super().data_received(data)
        self._reading = False
        if self._held is not None:
            held, self._held = self._held, None
            held.pass_on()

    def on_message_complete(self) -> None:
        """Let the shortcut have the request that it may want, now that it is whole."""
        super().on_message_complete()
        if self._held is not None:
            held, self._held = self._held, None
            if not self._shortcut.take(held):
                held.pass_on()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        # Behind another one, which was answered just now, or whose answer the client does not read, it has a task.
        plain = self._reading and not self.flow.write_paused and not cycle.waiting_for_100_continue
        session = self._shortcut.session(cast(Scope, cycle.scope)) if plain else None
        if session is None:
            self.begin_task(cycle, app)
        else:
            self._held = Held(self, cycle, app, session)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request that is being answered that its client has left."""
        super().connection_lost(exc)
        if self.answering is not None:
            self.answering.be_left()

    def begin_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Let the application answer a request."""
        super()._start_asgi_task(cycle, app)


class Held:
    """A request for which no task was begun, an `Exchange`; to uvicorn it is one of the tasks that run."""

    _ending: Ending | None = None

    def __init__(self, protocol: Protocol, cycle: RequestResponseCycle, app: Any, session: str) -> None:
        """Take the connection, what uvicorn would begin a task of, and the session that it is for."""
        self._protocol, self._cycle, self._app, self.session = protocol, cycle, app, session
        self.scope = cast(Scope, cycle.scope)

    @property
    def body(self) -> bytes:
        """What has come of the body."""
        return bytes(self._cycle.body)

    @property
    def gone(self) -> bool:
        """Whether the client has left."""
        return self._cycle.disconnected or self._protocol.transport.is_closing()

    def begin(self, ending: Ending) -> None:
        """Let the server wait for the answer when it stops, and tell if that takes too long or the client leaves."""
        self._ending, self._protocol.answering = ending, self
        self._protocol.tasks.add(self)  # type: ignore[arg-type]

    def cancel(self, msg: str | None = None) -> None:
        """Cut the request off, soon, as a task is: whoever asks goes through all of them."""
        self._protocol.loop.call_soon(self._be_cut)

    def _be_cut(self) -> None:
        if self._ending is not None:
            self._ending.be_cut()

    def be_left(self) -> None:
        """Tell that the client has left."""
        if self._ending is not None:
            self._ending.be_left()

    def answer(self, status: int, headers: bytes, body: bytes) -> None:
        """Send an answer, its headers as lines."""
        self.drop()
        protocol, cycle = self._protocol, self._cycle
        default = b"".join([b"%b: %b\r\n" % header for header in cycle.default_headers])
        close = b"" if cycle.keep_alive else b"connection: close\r\n"
        protocol.transport.write(b"%b%b%b%b\r\n%b" % (STATUS_LINE[status], default, headers, close, body))
        cycle.response_started = cycle.response_complete = True
        # As uvicorn does: connection and cycle must not hold each other when the client has left.
        cycle.on_response = _nothing
        if not cycle.keep_alive:
            protocol.transport.close()
        protocol.on_response_complete()

    def pass_on(self) -> None:
        """Let the application answer, in a task."""
        self.drop()
        self._protocol.begin_task(self._cycle, self._app)

    def drop(self) -> None:
        """Let there be no answer, if none is sent."""
        # What is told, and the connection, refer to this: together they would be left to the collector.
        self._ending = self._protocol.answering = None
        self._protocol.tasks.discard(self)


def _nothing() -> None:
    pass
