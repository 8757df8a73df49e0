"""The async client: it carries out what the flows of calls ask for in the event loop."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import httpx

from nextply_client import answers
from nextply_client.calls import Calls, Context
from nextply_client.errors import NextplyError
from nextply_client.events import EventReader, check_events, events_request
from nextply_client.flows import awaiting, run_async
from nextply_client.games import Game, GameCalls
from nextply_client.http import DEFAULT_URL, Answer, Send, Wait, client_options, http_failure, unreachable
from nextply_client.moves import Moves
from nextply_client.retries import Retries
from nextply_client.sockets import AsyncStream

_AGAIN = Retries()


class AsyncClient:
    """What `Client` is, for asyncio: calls are awaited, and iterators are async."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        key: str | None = None,
        timeout: float = 30,
        retries: Retries = _AGAIN,
        headers: Mapping[str, str] | None = None,
        connections: int = 100,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Take the address of the service, an API key if it wants one, and the seconds that an attempt may take.

        The service is told of ``timeout`` too. At most ``connections`` are open at a time, one
        of them for every reader of events.
        """
        self._http = httpx.AsyncClient(**client_options(url, key, headers, connections), transport=transport)
        self.calls = Calls(retries, timeout)

    predict = awaiting(Calls.predict)
    create = awaiting(Calls.create)
    play = awaiting(Calls.play)
    peek = awaiting(Calls.peek)
    takeback = awaiting(Calls.takeback)
    fork = awaiting(Calls.fork)
    get = awaiting(Calls.get)
    explain = awaiting(Calls.explain)
    delete = awaiting(Calls.delete)
    page = awaiting(Calls.page)
    export_state = awaiting(Calls.export_state)
    import_state = awaiting(Calls.import_state)
    models = awaiting(Calls.models)
    steps = awaiting(Calls.steps)

    async def open(
        self,
        session: str | None = None,
        *,
        moves: Moves = (),
        context: Context | None = None,
        model: str | None = None,
        top_k: int = 5,
    ) -> "AsyncSession":
        """Open a session, and give it as an object that knows where it stands."""
        made = await self.create(session, moves=moves, context=context, model=model, top_k=top_k)
        return AsyncSession(self, made)

    async def session(self, session: str, *, top_k: int = 5) -> "AsyncSession":
        """Give a session that is there already, as an object that knows where it stands."""
        return AsyncSession(self, await self.get(session, top_k=top_k))

    async def sessions(
        self, *, prefix: str | None = None, model: str | None = None, min_ply: int | None = None
    ) -> AsyncIterator[answers.SessionSummary]:
        """Give all sessions that fit, a page at a time."""
        after = None
        while True:
            page = await self.page(limit=1000, after=after, prefix=prefix, model=model, min_ply=min_ply)
            for summary in page.sessions:
                yield summary
            after = page.after
            if after is None:
                return

    async def events(self, session: str, *, top_k: int = 5) -> AsyncIterator[answers.Event]:
        """Give what happens in a session, as it happens, until it is gone; see `Client.events`."""
        backoff = self.calls.retries.begin()
        while True:
            reader = EventReader()
            try:
                async with self._http.stream(**events_request(session, top_k, self.calls.timeout)) as response:
                    content = b"" if response.status_code == 200 else await response.aread()
                    check_events(response.status_code, response.headers, content)
                    async for line in response.aiter_lines():
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
            await asyncio.sleep(backoff.pause(failure))

    def stream(self) -> AsyncStream:
        """Give a stream that plays moves in any number of sessions, many ahead of their answers."""
        return AsyncStream(self._http.base_url, self._http.headers, self.calls)

    async def do(self, effect: Send | Wait) -> Answer | None:
        """Carry out what a call asks for."""
        if isinstance(effect, Wait):
            await asyncio.sleep(effect.seconds)
            return None
        try:
            return Answer.of(await self._http.request(**effect.arguments()))
        except httpx.HTTPError as error:
            raise http_failure(error) from error

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def __aenter__(self) -> "AsyncClient":
        """Give itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all connections."""
        await self.close()


class AsyncSession(Game):
    """What `Session` is, for asyncio."""

    def __init__(self, client: AsyncClient, stands: answers.Standing | answers.SessionState) -> None:
        """Take where it stands."""
        self._client, self.calls, self.do = client, GameCalls(client.calls, stands), client.do

    play = awaiting(GameCalls.play)
    peek = awaiting(GameCalls.peek)
    takeback = awaiting(GameCalls.takeback)
    get = awaiting(GameCalls.get)
    explain = awaiting(GameCalls.explain)
    export_state = awaiting(GameCalls.export_state)
    delete = awaiting(GameCalls.delete)

    async def fork(self, at_ply: int | None = None, *, into: str | None = None, top_k: int = 5) -> "AsyncSession":
        """Open a session that shares the moves up to a ply, all that this object knows of if none is given."""
        return AsyncSession(self._client, await run_async(self.calls.fork(at_ply, into, top_k), self.do))

    def events(self, *, top_k: int = 5) -> AsyncIterator[answers.Event]:
        """Give what happens in the session, as it happens."""
        return self._client.events(self.id, top_k=top_k)
