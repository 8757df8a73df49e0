"""Who may do what, how often, and how much; what browsers are told; and what nobody learns."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from uvicorn import Config
from uvicorn.server import ServerState
from websockets.sync.client import connect

from service.security import quotas
from service.security.caller import SCOPES
from service.security.connections import LARGEST, PATIENCE, BoundedProtocol, look_after
from service.settings import Settings
from tests.keyed import CASES, GAME, MOVES, Caller, Door, Talk, Watch, doors, entry, keys_json, new_keys
from tests.serving import Process, read_problem, running

pytestmark = pytest.mark.anyio

INFER = Door("POST", "/v2/models/{model}/infer")
KEYS = new_keys("predict", "sessions", "admin", "all", "slow", "small")
ENTRIES = [entry(KEYS[scope], "them", scope) for scope in sorted(SCOPES)]
ENTRIES += [
    entry(KEYS["all"], "them", *SCOPES),
    entry(KEYS["slow"], "slow", *SCOPES, rate=0.001, burst=3),
    entry(KEYS["small"], "small", "sessions", sessions=2),
]


@pytest.fixture(scope="module")
def keyed(artifacts: Path) -> Settings:
    return Settings(artifacts=artifacts, model="colours", store="memory", keys=keys_json(*ENTRIES))


@pytest.fixture(scope="module")
async def app(keyed: Settings) -> AsyncIterator[Any]:
    async with running(keyed) as app:
        yield app


async def ask(caller: Caller, door: Door) -> Any:
    case = CASES[door]
    return await asyncio.wait_for(caller.ask(door.method, case.path or door.path, case.body), 10)


# Who may do what


async def test_no_route_is_forgotten_here(app: Any):
    assert doors(app) == set(CASES)


@pytest.mark.parametrize("door", sorted(CASES), ids=" ".join)
async def test_nobody_comes_in_without_a_good_key(app: Any, door: Door):
    for key in None, "nextply_wrong", KEYS["all"] + "x", KEYS["all"][:-1], "", "a.b.c":
        reply = await ask(Caller(app, key), door)
        if CASES[door].scopes == "open":
            assert reply.status == 200
        else:
            assert reply.status == 401
            if door.path.startswith("/v2"):
                assert list(reply.content) == ["error"]
            else:
                assert reply.content["code"] == "unauthorized"


@pytest.mark.parametrize("scope", sorted(SCOPES))
@pytest.mark.parametrize("door", sorted(CASES), ids=" ".join)
async def test_a_key_does_what_its_scopes_say_and_nothing_else(app: Any, door: Door, scope: str):
    reply = await ask(Caller(app, KEYS[scope]), door)
    allowed = CASES[door].scopes in ("open", "any", scope)
    assert reply.status not in (401, 500)
    assert (reply.status != 403) == allowed, reply
    if not allowed:
        assert CASES[door].scopes in str(reply.content)


async def test_what_the_table_does_not_name_is_refused(keyed: Settings):
    async with running(keyed) as app:
        app.add_api_route("/new", lambda: "something new")
        for path in "/new", "/nothing", "/sessions/", "/v2/models/stats%0A", "/metrics%0A":
            assert (await Caller(app, KEYS["all"]).ask("GET", path)).status == 404, path
            assert (await Caller(app).ask("GET", path)).status == 401, path
    async with running(keyed.model_copy(update={"keys": ""})) as app:
        app.add_api_route("/new", lambda: "something new")
        assert (await Caller(app).ask("GET", "/new")).status == 200


async def test_a_refusal_says_how_to_come_in(app: Any):
    async with Caller(app).http as http:
        missing = await http.get("/models")
        wrong = await http.get("/models", headers={"authorization": "Bearer wrong"})
        basic = await http.get("/models", headers={"authorization": "Basic bmV4dHBseTpuZXh0cGx5"})
        lacking = await http.post("/models/reload", headers={"authorization": f"Bearer {KEYS['predict']}"})
    assert missing.headers["www-authenticate"] == 'Bearer realm="nextply"'
    assert wrong.headers["www-authenticate"] == 'Bearer realm="nextply", error="invalid_token"'
    assert lacking.headers["www-authenticate"].endswith('error="insufficient_scope", scope="admin"')
    assert read_problem(lacking)["needs"] == ["admin"]
    assert "Authorization: Bearer KEY" in read_problem(missing)["detail"]
    assert read_problem(basic)["status"] == 401


async def test_the_description_says_which_calls_want_a_key(app: Any, keyed: Settings):
    described = await Caller(app, KEYS["all"]).ok("GET", "/openapi.json")
    assert described["security"] == [{"key": []}]
    open_ = {
        path for path, calls in described["paths"].items() for call in calls.values() if call.get("security") == []
    }
    assert open_ == {"/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready"}
    async with running(keyed.model_copy(update={"keys": ""})) as app:
        assert "security" not in await Caller(app).ok("GET", "/openapi.json")


async def test_a_key_may_come_in_a_header_of_its_own(app: Any):
    async with Caller(app).http as http:
        assert (await http.get("/models", headers={"X-API-Key": KEYS["all"]})).status_code == 200
        assert (await http.get("/models", headers={"Authorization": f"bearer  {KEYS['all']}"})).status_code == 200
        assert (await http.get("/models", params={"key": KEYS["all"]})).status_code == 401
        assert (await http.get("/models", headers={"cookie": f"key={KEYS['all']}"})).status_code == 401


async def test_a_browser_offers_its_key_as_a_subprotocol_and_never_gets_it_back(app: Any):
    for offered, status in (
        (["nextply", f"nextply.key.{KEYS['all']}"], 101),
        (["nextply", "nextply.key.wrong"], 401),
        (["nextply", f"nextply.key.{KEYS['predict']}"], 403),
        (["nextply"], 401),
        ([], 401),
    ):
        talk = Talk(app, "/stream", {}, offered)
        got, chosen = await talk.begin()
        assert got == status
        if status == 101:
            assert chosen == "nextply"
            talk.say(session="nobody", moves=["red"])
            assert (await talk.hear())["problem"]["code"] == "unknown_session"
        await talk.hang_up()


async def test_metrics_can_be_for_everybody(keyed: Settings, app: Any):
    async with running(keyed.model_copy(update={"open_metrics": True})) as open_:
        assert (await Caller(open_).ask("GET", "/metrics")).status == 200
    assert (await Caller(app).ask("GET", "/metrics")).status == 401


# How often


async def test_a_key_that_asks_too_often_is_told_when_to_come_again(keyed: Settings):
    async with running(keyed) as app:
        http = Caller(app, KEYS["slow"]).http
        assert [(await http.get("/models")).status_code for _ in range(4)] == [200, 200, 200, 429]
        refused = await http.get("/models")
        problem = read_problem(refused)
        assert problem["code"] == "rate_limited"
        assert 990_000 < problem["retry_after_ms"] <= 1_000_000
        assert int(refused.headers["retry-after"]) == pytest.approx(1000, abs=10)
        assert (await Caller(app, KEYS["all"]).http.get("/models")).status_code == 200
        assert (await http.get("/health/live")).status_code == 200


async def test_every_message_of_a_stream_counts(keyed: Settings):
    async with running(keyed) as app:
        talk = Talk(app, "/stream", {"authorization": f"Bearer {KEYS['slow']}"}, [])
        assert await talk.begin() == (101, None)
        codes = []
        for _ in range(3):
            talk.say(session=GAME, do="get")
            codes.append((await talk.hear())["problem"]["code"])
        await talk.hang_up()
    assert codes == ["unknown_session", "unknown_session", "rate_limited"]


async def test_a_rate_for_all_keys_holds_where_an_entry_says_nothing(keyed: Settings):
    async with running(keyed.model_copy(update={"rate_limit": 0.5})) as app:
        assert [(await Caller(app, KEYS["all"]).http.get("/models")).status_code for _ in range(2)] == [200, 429]
        assert [(await Caller(app, KEYS["slow"]).http.get("/models")).status_code for _ in range(3)] == [200] * 3


# How much


async def test_a_tenant_keeps_no_more_sessions_than_it_may(keyed: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(quotas, "_RECENT", 0)
    async with running(keyed) as app:
        small = Caller(app, KEYS["small"])
        await small.ok("POST", "/sessions", {"session": "one"})
        blob = await small.ok("GET", "/sessions/one/state")
        await small.ok("POST", "/sessions/one/fork", {"session": "two"})
        start = CASES[INFER]
        start.body["parameters"], before = {"sequence_id": 7, "sequence_start": True}, start.body["parameters"]
        for method, path, body in (
            ("POST", "/sessions", {}),
            ("POST", "/sessions/one/fork", {}),
            ("PUT", "/sessions/three/state", blob),
            ("POST", start.path, dict(start.body)),
        ):
            reply = await small.ask(method, path, body)
            assert reply.status == 403, (path, reply)
            assert "2 sessions" in str(reply.content)
        start.body["parameters"] = before
        await Caller(app, KEYS["all"]).ok("POST", "/sessions", {})
        await small.ok("DELETE", "/sessions/two")
        await small.ok("POST", "/sessions", {})
        assert (await small.ask("POST", "/sessions", {})).content["code"] == "quota_reached"


async def test_what_fails_takes_no_room(keyed: Settings):
    async with running(keyed) as app:
        small = Caller(app, KEYS["small"])
        for _ in range(3):
            assert (await small.ask("POST", "/sessions", {"moves": ["mauve"]})).status == 422
        asked = [small.ask("POST", "/sessions", {}) for _ in range(5)]
        assert sorted(reply.status for reply in await asyncio.gather(*asked)) == [201, 201, 403, 403, 403]


async def test_sessions_that_others_opened_or_that_expired_are_counted_before_a_refusal(
    keyed: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(quotas, "_RECENT", 0)
    shared = keyed.model_copy(update={"store": "lmdb", "data_dir": tmp_path})
    async with running(shared) as app, running(shared.model_copy(update={"data_dir": tmp_path / "other"})) as other:
        small = Caller(app, KEYS["small"])
        await small.ok("POST", "/sessions", {"session": "one"})
        await small.ok("POST", "/sessions", {"session": "two"})
        assert (await small.ask("POST", "/sessions", {})).status == 403
        assert (await Caller(other, KEYS["small"]).ask("POST", "/sessions", {})).status == 201
    async with running(shared) as again:
        small = Caller(again, KEYS["small"])
        assert (await small.ask("POST", "/sessions", {})).status == 403
        await small.ok("DELETE", "/sessions/one")
        assert (await small.ask("POST", "/sessions", {})).status == 201


async def test_a_body_of_very_many_members_is_refused_before_each_is_described(keyed: Settings):
    body = b"{" + b",".join(b'"a%d":1' % number for number in range(100_000)) + b"}"
    lists = b'{"sequences":[' + b"[]," * 1_000_000 + b"[]]}"
    async with running(keyed) as app:
        http = Caller(app, KEYS["all"]).http
        refused = await http.post("/predict", content=lists, headers={"content-type": "application/json"})
        assert read_problem(refused)["code"] == "too_large"
        for path in "/predict", "/sessions", "/steps", f"/sessions/{GAME}/moves":
            refused = await http.post(path, content=body, headers={"content-type": "application/json"})
            problem = read_problem(refused)
            assert (problem["code"], refused.headers["connection"]) == ("too_large", "close")
            assert "members" in problem["detail"]
        talk = Talk(app, "/stream", {"authorization": f"Bearer {KEYS['all']}"}, [])
        await talk.begin()
        talk.inbox.put_nowait({"type": "websocket.receive", "text": body.decode()})
        assert (await talk.hear())[0] == 1007
        await talk.hang_up()


async def test_ids_full_of_colons_are_no_members(keyed: Settings):
    async with running(keyed) as app:
        names = [f"{number:03}{':' * 125}" for number in range(256)]
        steps = [{"session": name, "moves": ["red"], "ply": 0} for name in names]
        answer = await Caller(app, KEYS["all"]).ok("POST", "/steps", {"steps": steps})
        assert {one["problem"]["code"] for one in answer["results"]} == {"unknown_session"}


# Browsers


async def test_answers_say_what_browsers_may_do_with_them(app: Any):
    http = Caller(app, KEYS["all"]).http
    await http.post("/sessions", json={"session": GAME, "moves": MOVES})
    answers = [
        await http.get(f"/sessions/{GAME}"),
        await http.post("/steps", json={"steps": [{"session": GAME, "moves": ["red"]}]}),
        await http.get("/sessions/nobody"),
        await http.get("/v2"),
        await http.get("/nothing"),
        await httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service").get("/models"),
        await http.delete(f"/sessions/{GAME}"),
    ]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    page = await http.get("/docs")
    assert page.headers["content-security-policy"] == "frame-ancestors 'none'"


async def test_pages_of_other_origins_may_not_call_unless_that_is_set_up(keyed: Settings):
    origin = "https://board.example"
    asks = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
    }
    for origins, may in (
        ("", False),
        ("https://other.example", False),
        (f"https://a.example, {origin}", True),
        ("*", True),
    ):
        async with running(keyed.model_copy(update={"cors_origins": origins})) as app:
            http = Caller(app).http
            preflight = await http.options("/predict", headers=asks)
            answer = await http.get("/models", headers={"origin": origin})
            talk = Talk(app, "/stream", {"origin": origin, "authorization": f"Bearer {KEYS['all']}"}, [])
            status, _ = await talk.begin()
            await talk.hang_up()
        allowed = "*" if origins == "*" else origin
        assert (preflight.headers.get("access-control-allow-origin") == allowed) == may
        assert preflight.is_success == may
        assert (answer.status_code, answer.headers.get("access-control-allow-origin") == allowed) == (401, may)
        assert "access-control-allow-credentials" not in answer.headers
        assert status == (101 if may else 403)


async def test_a_page_of_the_service_itself_may_change_things_and_no_other(keyed: Settings):
    async with running(keyed.model_copy(update={"keys": ""})) as app:
        for origin, status in (
            ("http://service", 101),
            ("https://SERVICE", 101),
            ("http://evil.example", 403),
            ("http://service.evil.example", 403),
            ("http://service:81", 403),
            ("null", 403),
            ("http://[", 403),
            ("", 403),
        ):
            talk = Talk(app, "/stream", {"origin": origin}, [])
            assert (await talk.begin())[0] == status, origin
            await talk.hang_up()
            http = Caller(app).http
            # What a page may send without asking before.
            simple = {"origin": origin, "content-type": "text/plain"}
            sent = await http.post("/v2/models/colours/infer", json=CASES[INFER].body, headers=simple)
            assert sent.status_code == (404 if status == 101 else 403)
            assert (await http.post("/models/reload", headers=simple)).is_success == (status == 101)
            assert (await http.get("/models", headers=simple)).is_success
        behind_a_proxy = {"origin": "https://nextply.example", "sec-fetch-site": "same-origin"}
        assert (await http.post("/models/reload", headers=behind_a_proxy)).is_success
        for site in "cross-site", "same-site", "none":
            assert not (
                await http.post("/models/reload", headers={**behind_a_proxy, "sec-fetch-site": site})
            ).is_success


# Connections


def wire(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


async def test_a_head_that_never_ends_is_not_waited_for():
    loop = asyncio.get_running_loop()
    config, state = Config(lambda *_: None, http=BoundedProtocol, log_config=None), ServerState()
    server = await loop.create_server(lambda: BoundedProtocol(config, state, {}), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    for begun in b"", b"GET / HT", b"GET /models HTTP/1.1\r\nhost: x\r\nx-slow: ":
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(begun)
        await until(lambda: bool(state.connections))
        (protocol,) = state.connections
        look_after(state.connections, loop.time() + PATIENCE - 15)
        assert not protocol.transport.is_closing()
        look_after(state.connections, loop.time() + PATIENCE + 1)
        with suppress(ConnectionResetError):
            # It is reset if it was closed before what came was read.
            assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
        writer.close()
        await until(lambda: not state.connections)
    server.close()


@pytest.fixture(scope="module")
def process(keyed: Settings, artifacts: Path) -> Iterator[Process]:
    with Process(Settings(artifacts=artifacts, model="colours", store="memory", keys=keyed.keys)) as process:
        yield process


def test_a_head_without_end_is_refused(process: Process):
    for piece in b"x-%d: 1\r\n", b"x":
        connection = wire(process.url)
        connection.sendall(b"GET /health/live HTTP/1.1\r\nhost: x\r\n" + (b"x-endless: " if piece == b"x" else b""))
        sent, answer = 0, b""
        try:
            while sent < 4 * LARGEST:
                sent += connection.send(b"".join(piece % number if b"%" in piece else piece for number in range(1000)))
            answer = connection.recv(1000)
        except OSError:
            # It was closed while this still sent.
            answer = answer or b"HTTP/1.1 431"
        assert answer.startswith(b"HTTP/1.1 431"), answer
        connection.close()
    assert httpx.get(f"{process.url}/health/live").status_code == 200


def test_a_large_body_is_no_large_head(process: Process):
    headers = {"authorization": f"Bearer {KEYS['all']}", "content-type": "application/json"}
    body = b'{"sequences": [["red"]]}' + b" " * 3_000_000
    with httpx.Client(base_url=process.url, headers=headers) as http:
        assert http.post("/predict", content=body).status_code == 200
        chunks = (body[at : at + 997] for at in range(0, len(body), 997))
        assert http.post("/predict", content=chunks).status_code == 200


# Secrets


def test_no_key_is_ever_logged(keyed: Settings, artifacts: Path):
    given = Settings(
        artifacts=artifacts, model="colours", store="memory", keys=keyed.keys, log_level="debug", access_log=True
    )
    key, secret_move = KEYS["all"], "ultraviolet"
    headers = {"authorization": f"Bearer {key}"}
    with Process(given) as process:
        address = process.url.replace("http", "ws", 1)
        with httpx.Client(base_url=process.url, headers=headers) as http:
            http.post("/sessions", json={"session": GAME})
            http.post(f"/sessions/{GAME}/moves", json={"moves": [secret_move]})
            http.post("/models/reload")
            http.get("/models", params={"key": key})
            http.get("/models", headers={"authorization": f"Basic {key}"})
            http.get("/models", headers={"authorization": "", "x-api-key": f"{key}x"})
        with connect(f"{address}/sessions/{GAME}/stream", additional_headers=headers) as stream:
            stream.send('{"ping": 1}')
            assert stream.recv() == '{"pong":1}'
        protocols: Any = ["nextply", f"nextply.key.{key}"]
        with connect(f"{address}/stream", subprotocols=protocols) as stream:
            assert stream.subprotocol == "nextply"
        process.terminate()
        code, written = process.wait()
    assert code == 0
    assert "POST" in written
    for secret in (*KEYS.values(), secret_move, *(item["sha256"] for item in ENTRIES)):
        assert secret not in written


async def test_a_stream_ends_with_its_key(keyed: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("service.security.keys._LOOK", 0)
    file = tmp_path / "keys.json"
    file.write_text(keys_json(*ENTRIES))
    async with running(keyed.model_copy(update={"keys": str(file)})) as app:
        sessions = Caller(app, KEYS["sessions"])
        await sessions.ok("POST", "/sessions", {"session": GAME})
        talk, watch = (
            Talk(app, "/stream", sessions.headers, []),
            Watch(app, f"/sessions/{GAME}/events", sessions.headers),
        )
        assert await talk.begin() == (101, None)
        assert (await watch.first()).content["moves"] == []
        talk.say(session=GAME, moves=["red"])
        assert (await talk.hear())["ply"] == 1
        assert (await watch.first()).content["moves"] == ["red"]
        file.write_text(keys_json(*(item for item in ENTRIES if item != ENTRIES[2])))
        assert (await sessions.ask("GET", "/models")).status == 401
        talk.say(session=GAME, moves=["green"])
        assert (await talk.hear())["problem"]["code"] == "unauthorized"
        assert (await talk.hear())[0] == 4401
        await Caller(app, KEYS["all"]).ok("POST", f"/sessions/{GAME}/moves", {"moves": ["blue"], "ply": 1})
        last = await asyncio.wait_for(watch.first(), 10)
        assert last.content in ("", {"session": GAME}) or last.content["moves"] == ["blue"]
        for connection in talk, watch:
            await connection.hang_up()
