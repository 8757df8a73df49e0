"""What tests of security share: keys, every route of an application, and requests of every kind with a key."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import httpx
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.routing import Route

from service.security.keys import digest_of, new_key
from tests.streams import Connection, read_events

MOVES = ["red", "green", "blue"]


def entry(key: str, tenant: str, *scopes: str, **limits: Any) -> dict[str, Any]:
    """Give a key as the file of keys has it."""
    return {"tenant": tenant, "sha256": digest_of(key.encode()).hex(), "scopes": list(scopes), **limits}


def keys_json(*entries: dict[str, Any]) -> str:
    """Give the keys of a service."""
    return json.dumps(entries)


class Door(NamedTuple):
    """A route: a method, WS for WebSockets, and the path as it is declared."""

    method: str
    path: str


def doors(app: FastAPI) -> set[Door]:
    """Give every route of an application; an answer to HEAD is one to GET without its body."""
    return set(_doors(app.router))


def _doors(router: APIRouter) -> Iterator[Door]:
    for route in router.routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            assert not route.include_context.prefix
            yield from _doors(inner)
        elif isinstance(route, APIWebSocketRoute):
            yield Door("WS", route.path)
        else:
            assert isinstance(route, APIRoute | Route), f"who may use {route}?"
            yield from (Door(method, route.path) for method in (route.methods or ()) if method != "HEAD")


class Reply(NamedTuple):
    """What came back, without what differs from one request to the next."""

    status: int
    content: Any
    location: str | None = None


class Caller:
    """Somebody with a key, or without one, at one application."""

    def __init__(self, app: FastAPI, key: str | None = None) -> None:
        """Take both."""
        self.app = app
        self.headers = {} if key is None else {"authorization": f"Bearer {key}"}
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://service", headers=self.headers
        )

    async def ask(self, method: str, path: str, body: Any = None) -> Reply:
        """Ask in whatever way the method is, and give what came of it."""
        if method == "WS":
            return await self._converse(path, body)
        if path.partition("?")[0].endswith("/events"):
            return await self._watch(path)
        if isinstance(body, bytes):
            kind = {"content-type": "application/octet-stream"}
            response = await self.http.request(method, path, content=body, headers=kind)
        else:
            response = await self.http.request(method, path, json=body)
        content: Any = response.content
        if "json" in response.headers.get("content-type", ""):
            content = response.json()
        return Reply(response.status_code, content, response.headers.get("location"))

    async def ok(self, method: str, path: str, body: Any = None) -> Any:
        """Ask for what must succeed."""
        reply = await self.ask(method, path, body)
        assert 200 <= reply.status < 300, reply
        return reply.content

    async def _converse(self, path: str, message: Mapping[str, Any]) -> Reply:
        """Say one thing on a WebSocket, and hear one thing, or why it is closed."""
        wire = Talk(self.app, path, self.headers, [])
        try:
            status, heard = await wire.begin()
            if status == 101:
                wire.say(**message)
                heard = await wire.hear()
        finally:
            await wire.hang_up()
        return Reply(status, heard)

    async def _watch(self, path: str) -> Reply:
        """Give the first event, or the answer that is none."""
        path, _, query = path.partition("?")
        watch = Watch(self.app, path, self.headers, query)
        try:
            return await watch.first()
        finally:
            await watch.hang_up()


def _raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"service"), *((name.encode(), value.encode()) for name, value in headers.items())]


class Talk(Connection):
    """A WebSocket with headers and subprotocols."""

    farewell: ClassVar = {"type": "websocket.disconnect", "code": 1000}

    def __init__(self, app: FastAPI, path: str, headers: Mapping[str, str], protocols: list[str]) -> None:
        """Ask for it."""
        scope = {"type": "websocket", "path": path, "raw_path": path.encode(), "subprotocols": protocols}
        super().__init__(app, {**scope, "headers": _raw(headers), "extensions": {"websocket.http.response": {}}})
        self.inbox.put_nowait({"type": "websocket.connect"})

    async def begin(self) -> tuple[int, Any]:
        """Give 101 and the protocol that was chosen, or the status and the body with which it was refused."""
        first = await self.sent.get()
        if first["type"] == "websocket.accept":
            return 101, first.get("subprotocol")
        assert first["type"] == "websocket.http.response.start", first
        body = await self.sent.get()
        return first["status"], json.loads(body["body"])

    def say(self, **message: Any) -> None:
        """Send a message."""
        self.inbox.put_nowait({"type": "websocket.receive", "text": json.dumps(message)})

    async def hear(self) -> Any:
        """Give the next answer, or the code and the reason with which it was closed."""
        message = await self.sent.get()
        if message["type"] == "websocket.close":
            return message["code"], message["reason"]
        return json.loads(message["text"])


class Watch(Connection):
    """A stream of events with headers."""

    farewell: ClassVar = {"type": "http.disconnect"}

    def __init__(self, app: FastAPI, path: str, headers: Mapping[str, str], query: str = "") -> None:
        """Ask for it."""
        scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode()}
        super().__init__(app, {**scope, "headers": _raw(headers), "query_string": query.encode()})
        self.inbox.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        self.status = 0

    async def first(self) -> Reply:
        """Give the first event that was not given yet, or the answer that is none."""
        text = ""
        while True:
            message = await self.sent.get()
            if message["type"] == "http.response.start":
                self.status = message["status"]
                continue
            text += message.get("body", b"").decode()
            events = read_events(text) if self.status == 200 else []
            if events:
                return Reply(self.status, events[0].data)
            if not message.get("more_body"):
                return Reply(self.status, json.loads(text) if text.startswith("{") else text)


class Case(NamedTuple):
    """A request for a door: who may ask (``any`` or names of scopes), and what about a session called ``game``."""

    scopes: str
    path: str = ""
    body: Any = None


def _infer(**parameters: Any) -> dict[str, Any]:
    moves = {"name": "MOVES", "datatype": "BYTES", "shape": [1], "data": ["white"]}
    return {"inputs": [moves], "parameters": parameters}


_PLAY = {"moves": ["white"], "ply": len(MOVES)}
_GAME = "/sessions/colours:game"
# The session that everything here is about, at /sessions and, as the sequence "game" of a model, at /v2.
GAME = "colours:game"
CASES: dict[Door, Case] = {
    Door("POST", "/predict"): Case("predict", body={"model": "colours", "sequences": [MOVES]}),
    Door("POST", "/sessions"): Case("sessions", body={"session": GAME, "model": "colours", "moves": ["black"]}),
    Door("GET", "/sessions"): Case("sessions", "/sessions?prefix=col"),
    Door("GET", "/sessions/{session}"): Case("sessions", _GAME),
    Door("DELETE", "/sessions/{session}"): Case("sessions", _GAME),
    Door("POST", "/sessions/{session}/moves"): Case("sessions", f"{_GAME}/moves", _PLAY),
    Door("POST", "/sessions/{session}/peek"): Case("sessions", f"{_GAME}/peek", _PLAY),
    Door("POST", "/sessions/{session}/takeback"): Case("sessions", f"{_GAME}/takeback", {"to_ply": 1}),
    Door("POST", "/sessions/{session}/fork"): Case("sessions", f"{_GAME}/fork", {"session": "forked"}),
    Door("GET", "/sessions/{session}/explain"): Case("sessions", f"{_GAME}/explain"),
    Door("GET", "/sessions/{session}/state"): Case("sessions", f"{_GAME}/state"),
    Door("PUT", "/sessions/{session}/state"): Case("sessions", f"{_GAME}/state", b"a blob"),
    Door("GET", "/sessions/{session}/events"): Case("sessions", f"{_GAME}/events"),
    Door("POST", "/steps"): Case("sessions", body={"steps": [{"session": GAME, **_PLAY}]}),
    Door("WS", "/sessions/{session}/stream"): Case("sessions", f"{_GAME}/stream", _PLAY),
    Door("WS", "/stream"): Case("sessions", body={"session": GAME, **_PLAY}),
    Door("GET", "/models"): Case("any"),
    Door("POST", "/models/reload"): Case("admin"),
    Door("GET", "/health/live"): Case("open"),
    Door("GET", "/health/ready"): Case("open"),
    Door("GET", "/metrics"): Case("admin"),
    Door("GET", "/openapi.json"): Case("any"),
    Door("GET", "/docs"): Case("any"),
    Door("GET", "/docs/oauth2-redirect"): Case("any"),
    Door("GET", "/redoc"): Case("any"),
    Door("GET", "/v2"): Case("any"),
    Door("GET", "/v2/health/live"): Case("open"),
    Door("GET", "/v2/health/ready"): Case("open"),
    Door("GET", "/v2/models/stats"): Case("admin"),
    Door("POST", "/v2/repository/index"): Case("any", body={}),
    Door("POST", "/v2/repository/models/{model}/load"): Case("admin", "/v2/repository/models/pages/load", {}),
    Door("POST", "/v2/repository/models/{model}/unload"): Case("admin", "/v2/repository/models/pages/unload", {}),
}
for _version in "", "/versions/{version}":
    _model, _real = f"/v2/models/{{model}}{_version}", f"/v2/models/colours{_version.format(version=1)}"
    CASES |= {
        Door("GET", _model): Case("any", _real),
        Door("GET", f"{_model}/ready"): Case("any", f"{_real}/ready"),
        Door("GET", f"{_model}/config"): Case("any", f"{_real}/config"),
        Door("GET", f"{_model}/stats"): Case("admin", f"{_real}/stats"),
        Door("POST", f"{_model}/infer"): Case("sessions", f"{_real}/infer", _infer(sequence_id="game", ply=len(MOVES))),
    }


def new_keys(*names: str) -> dict[str, str]:
    """Make a key for each name."""
    return {name: new_key() for name in names}
