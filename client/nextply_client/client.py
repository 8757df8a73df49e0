"""The sync client: it carries out what the flows of calls ask for in the thread that calls."""

import time
from collections.abc import Iterator, Mapping

import httpx

from nextply_client import answers
from nextply_client.calls import Calls, Context
from nextply_client.errors import NextplyError
from nextply_client.events import EventReader, check_events, events_request
from nextply_client.flows import blocking, run
from nextply_client.games import Game, GameCalls
from nextply_client.http import DEFAULT_URL, Answer, Send, Wait, client_options, http_failure, unreachable
from nextply_client.moves import Moves
from nextply_client.retries import Retries
from nextply_client.sockets import Stream

_AGAIN = Retries()


class Client:
    """A client of a service. It may be used by several threads, and is closed by ``close`` or as a context manager."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        key: str | None = None,
        timeout: float = 30,
        retries: Retries = _AGAIN,
        headers: Mapping[str, str] | None = None,
        connections: int = 100,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Take the address of the service, an API key if it wants one, and the seconds that an attempt may take.

        The service is told of ``timeout`` too. At most ``connections`` are open at a time, one
        of them for every reader of events.
        """
        self._http = httpx.Client(**client_options(url, key, headers, connections), transport=transport)
        self.calls = Calls(retries, timeout)

    predict = blocking(Calls.predict)
    create = blocking(Calls.create)
    play = blocking(Calls.play)
    peek = blocking(Calls.peek)
    takeback = blocking(Calls.takeback)
    fork = blocking(Calls.fork)
    get = blocking(Calls.get)
    explain = blocking(Calls.explain)
    delete = blocking(Calls.delete)
    page = blocking(Calls.page)
    export_state = blocking(Calls.export_state)
    import_state = blocking(Calls.import_state)
    models = blocking(Calls.models)
    steps = blocking(Calls.steps)

    def open(
        self,
        session: str | None = None,
        *,
        moves: Moves = (),
        context: Context | None = None,
        model: str | None = None,
        top_k: int = 5,
    ) -> "Session":
        """Open a session, and give it as an object that knows where it stands."""
        return Session(self, self.create(session, moves=moves, context=context, model=model, top_k=top_k))

    def session(self, session: str, *, top_k: int = 5) -> "Session":
        """Give a session that is there already, as an object that knows where it stands."""
        return Session(self, self.get(session, top_k=top_k))

    def sessions(
        self, *, prefix: str | None = None, model: str | None = None, min_ply: int | None = None
    ) -> Iterator[answers.SessionSummary]:
        """Give all sessions that fit, a page at a time."""
        after = None
        while True:
            page = self.page(limit=1000, after=after, prefix=prefix, model=model, min_ply=min_ply)
            yield from page.sessions
            after = page.after
            if after is None:
                return

    def events(self, session: str, *, top_k: int = 5) -> Iterator[answers.Event]:
        """Give what happens in a session, as it happens, until it is gone.

        After a break it connects again; the first event of a connection is ``session``, with all moves.
        """
        backoff = self.calls.retries.begin()
        while True:
            reader = EventReader()
            try:
                with self._http.stream(**events_request(session, top_k, self.calls.timeout)) as response:
                    content = b"" if response.status_code == 200 else response.read()
                    check_events(response.status_code, response.headers, content)
                    for line in response.iter_lines():
                        for event in reader.line(line):
                            backoff.reset()
                            yield event
                            if event.ends:
                                return
                failure: NextplyError = unreachable(EOFError("the service ended the stream"))
            except httpx.HTTPError as error:
                failure = http_failure(error)
            except NextplyError as error:
                failure = error
            time.sleep(backoff.pause(failure))

    def stream(self) -> Stream:
        """Give a stream that plays moves in any number of sessions, many ahead of their answers."""
        return Stream(self._http.base_url, self._http.headers, self.calls)

    def do(self, effect: Send | Wait) -> Answer | None:
        """Carry out what a call asks for."""
        if isinstance(effect, Wait):
            time.sleep(effect.seconds)
            return None
        try:
            return Answer.of(self._http.request(**effect.arguments()))
        except httpx.HTTPError as error:
            raise http_failure(error) from error

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def __enter__(self) -> "Client":
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close all connections."""
        self.close()


class Session(Game):
    """A running game: it knows its ply, so that every move goes with the right one."""

    def __init__(self, client: Client, stands: answers.Standing | answers.SessionState) -> None:
        """Take where it stands."""
        self._client, self.calls, self.do = client, GameCalls(client.calls, stands), client.do

    play = blocking(GameCalls.play)
    peek = blocking(GameCalls.peek)
    takeback = blocking(GameCalls.takeback)
    get = blocking(GameCalls.get)
    explain = blocking(GameCalls.explain)
    export_state = blocking(GameCalls.export_state)
    delete = blocking(GameCalls.delete)

    def fork(self, at_ply: int | None = None, *, into: str | None = None, top_k: int = 5) -> "Session":
        """Open a session that shares the moves up to a ply, all that this object knows of if none is given."""
        return Session(self._client, run(self.calls.fork(at_ply, into, top_k), self.do))

    def events(self, *, top_k: int = 5) -> Iterator[answers.Event]:
        """Give what happens in the session, as it happens."""
        return self._client.events(self.id, top_k=top_k)
