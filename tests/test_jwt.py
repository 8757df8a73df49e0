"""Tokens of one issuer, made for this service, are good until they end; whatever else looks like one is not."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import FastAPI
from jwt.algorithms import get_default_algorithms

from service.security import tokens
from service.security.failures import KeysError
from service.settings import Settings
from tests.keyed import Caller, Reply, Talk, entry, keys_json, new_keys
from tests.serving import running

pytestmark = pytest.mark.anyio

ISSUER, AUDIENCE = "https://login.example/realms/games", "nextply"
RSA, OTHER = (rsa.generate_private_key(65537, 2048) for _ in range(2))
SIGNERS: dict[str, Any] = {
    "RS256": RSA,
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


def jwk(algorithm: str, key: Any, kid: str, **members: Any) -> dict[str, Any]:
    public = get_default_algorithms()[algorithm].to_jwk(key.public_key())
    return {**json.loads(public), "kid": kid, "use": "sig", "alg": algorithm, **members}


SET = [jwk(algorithm, key, algorithm) for algorithm, key in SIGNERS.items()]


class Issuer:
    """A server of a JWKS."""

    def __init__(self) -> None:
        self.keys, self.asked, self.status = list(SET), 0, 200
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                self.send_response(issuer.status)
                self.end_headers()
                self.wfile.write(json.dumps({"keys": issuer.keys}).encode())

            def log_message(self, *_: Any) -> None:
                """Be silent."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/keys"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    yield issuer
    issuer.server.shutdown()
    issuer.server.server_close()


def with_tokens(artifacts: Path, source: str, **more: Any) -> Settings:
    given = {"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "jwt_keys": source, **more}
    return Settings(artifacts=artifacts, model="colours", store="memory", **given)


@pytest.fixture
async def app(artifacts: Path, issuer: Issuer) -> AsyncIterator[FastAPI]:
    async with running(with_tokens(artifacts, issuer.url)) as app:
        yield app


@pytest.fixture(scope="module")
async def shared(artifacts: Path) -> AsyncIterator[FastAPI]:
    """For tests that leave service and issuer as they were."""
    issuer = Issuer()
    async with running(with_tokens(artifacts, issuer.url)) as app:
        yield app
    issuer.server.shutdown()
    issuer.server.server_close()


def claims(**other: Any) -> dict[str, Any]:
    now = time.time()
    usual = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "alice",
        "scope": "openid predict sessions",
        "iat": now,
        "exp": now + 600,
    }
    return {name: value for name, value in (usual | other).items() if value is not None}


def token(key: Any = RSA, algorithm: str = "RS256", kid: str | None = "RS256", **other: Any) -> str:
    return jwt.encode(claims(**other), key, algorithm, {} if kid is None else {"kid": kid})


async def ask(app: FastAPI, given: str, path: str = "/models") -> Reply:
    return await Caller(app, given).ask("GET", path)


@pytest.mark.parametrize("algorithm", SIGNERS)
async def test_a_good_token_comes_in_with_its_tenant_and_scopes(app: FastAPI, algorithm: str):
    given = token(SIGNERS[algorithm], algorithm, algorithm)
    alice = Caller(app, given)
    await alice.ok("POST", "/sessions", {"session": "game"})
    assert (await alice.ok("GET", "/sessions/game"))["session"] == "game"
    assert (await alice.ask("POST", "/models/reload")).status == 403
    bob = Caller(app, token(sub="bob"))
    assert (await bob.ask("GET", "/sessions/game")).status == 404
    talk = Talk(app, "/stream", {}, ["nextply", f"nextply.key.{given}"])
    assert await talk.begin() == (101, "nextply")
    await talk.hang_up()


def unsigned(header: dict[str, Any], **other: Any) -> bytes:
    parts = (json.dumps(part).encode() for part in (header, claims(**other)))
    return b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)


def with_public_key_as_secret() -> str:
    """What passes where a library takes the algorithm from the token, and the issuer's public key for a secret."""
    body = unsigned({"alg": "HS256", "typ": "JWT", "kid": "RS256"})
    secret = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signature = hmac.new(secret, body, hashlib.sha256).digest()
    return (body + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def with_its_own_key() -> str:
    """A token that brings the key that it is signed with."""
    own = jwk("RS256", OTHER, "RS256")
    return jwt.encode(claims(), OTHER, "RS256", {"kid": "RS256", "jwk": own, "jku": "http://127.0.0.1:9/keys"})


def changed() -> str:
    head, _, signature = token().split(".")
    return ".".join((head, unsigned({}, sub="bob").decode().split(".")[1], signature))


FORGED = {
    "unsigned": unsigned({"alg": "none", "typ": "JWT"}).decode() + ".",
    "unsigned, spelt otherwise": unsigned({"alg": "nOnE", "kid": "RS256"}).decode() + ".",
    "signed with the public key as a secret": with_public_key_as_secret(),
    "signed by somebody else": token(OTHER),
    "with a key of its own": with_its_own_key(),
    "with another key's name": token(SIGNERS["ES256"], "ES256", "RS256"),
    "with an unknown key's name": token(kid="nobody"),
    "with no key's name where there are several": token(kid=None),
    "whose claims were changed": changed(),
    "without its signature": token().rpartition(".")[0] + ".",
    "of another issuer": token(iss="https://evil.example"),
    "of no issuer": token(iss=None),
    "for another service": token(aud="chat"),
    "for nobody": token(aud=None),
    "that is over": token(exp=time.time() - 60),
    "without an end": token(exp=None),
    "that has not begun": token(nbf=time.time() + 600),
    "from the future": token(iat=time.time() + 600),
    "without a tenant": token(sub=None),
    "with an empty tenant": token(sub=""),
    "with a tenant too long": token(sub="x" * 65),
    "that is none": "a.b.c",
    "of nothing": "..",
    "too long": token(padding="x" * 9000),
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED.keys())
async def test_a_token_that_is_not_good_does_not_come_in(shared: FastAPI, forged: str):
    reply = await ask(shared, forged)
    assert (reply.status, reply.content["code"]) == (401, "unauthorized")
    assert (await ask(shared, token())).status == 200


async def test_a_symmetric_key_of_the_issuer_signs_nothing(app: FastAPI, issuer: Issuer):
    secret = b"x" * 32
    key = {"kty": "oct", "k": base64.urlsafe_b64encode(secret).decode(), "kid": "shared", "alg": "HS256"}
    issuer.keys.append(key)
    assert (await ask(app, token(secret, "HS256", "shared"))).status == 401


async def test_an_audience_among_others_and_scopes_in_a_list_are_read(artifacts: Path, issuer: Issuer):
    settings = with_tokens(artifacts, issuer.url, jwt_scope="permissions", jwt_tenant="org")
    async with running(settings) as app:
        given = token(aud=["chat", AUDIENCE], permissions=["predict", 7, "other"], org="club")
        assert (await ask(app, given)).status == 200
        assert (await ask(app, given, "/sessions")).status == 403
        assert (await ask(app, token(permissions=[], org="club"))).status == 403
        assert (await ask(app, token(permissions={"predict": True}, org="club"))).status == 403
        assert (await ask(app, token(permissions=["predict"], org=7))).status == 401


async def test_tenants_with_odd_names_stay_apart(app: FastAPI):
    names = ["a|b", "a~7Cb", "a b", "a/b", "a", "A", "é@x.org", "a%2Fb", "../a", "~"]
    for name in names:
        caller = Caller(app, token(sub=name))
        await caller.ok("POST", "/sessions", {"session": "game"})
        (one,) = (await caller.ok("GET", "/sessions"))["sessions"]
        assert one["session"] == "game"


async def test_keys_and_tokens_may_be_used_side_by_side(artifacts: Path, issuer: Issuer):
    keys = new_keys("k")
    settings = with_tokens(artifacts, issuer.url, keys=keys_json(entry(keys["k"], "alice", "sessions")))
    async with running(settings) as app:
        await Caller(app, keys["k"]).ok("POST", "/sessions", {"session": "game"})
        assert (await ask(app, token(), "/sessions/game")).status == 200
        assert (await ask(app, "nextply_wrong")).status == 401


async def test_a_token_is_verified_once_and_ends_when_it_says(
    app: FastAPI, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
):
    given, verified = token(), 0
    decode = jwt.decode

    def counting(*arguments: Any, **options: Any) -> Any:
        nonlocal verified
        verified += 1
        return decode(*arguments, **options)

    monkeypatch.setattr(tokens.jwt, "decode", counting)
    for _ in range(5):
        assert (await ask(app, given)).status == 200
    assert (verified, issuer.asked) == (1, 1)
    now = time.time()
    monkeypatch.setattr("service.security.caller.time.time", lambda: now + 700)
    assert (await ask(app, given)).status == 401


async def test_a_new_key_of_the_issuer_is_fetched_and_made_up_names_are_not(
    app: FastAPI, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
):
    assert (await ask(app, token())).status == 200
    for number in range(5):
        assert (await ask(app, token(kid=f"made-up-{number}"))).status == 401
    assert issuer.asked == 1
    monkeypatch.setattr(tokens, "_PAUSE", 0)
    issuer.keys = [jwk("RS256", OTHER, "new")]
    assert (await ask(app, token(OTHER, kid="new"))).status == 200
    assert (await ask(app, token(OTHER, kid=None, sub="bob"))).status == 200
    assert issuer.asked == 2
    assert (await ask(app, token(sub="carol"))).status == 401


async def test_without_the_issuer_nobody_comes_in_and_who_is_known_stays(
    app: FastAPI, issuer: Issuer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(tokens, "_PAUSE", 0)
    issuer.status = 500
    reply = await ask(app, token())
    assert (reply.status, reply.content["code"]) == (503, "issuer_away")
    assert "cannot be fetched" in caplog.text
    issuer.status = 200
    assert (await ask(app, token())).status == 200
    issuer.status = 500
    monkeypatch.setattr(tokens, "_FRESH", 0)
    assert (await ask(app, token(sub="bob"))).status == 200


async def test_the_issuers_keys_may_be_in_a_file(artifacts: Path, tmp_path: Path):
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": SET}))
    async with running(with_tokens(artifacts, str(file))) as app:
        assert (await ask(app, token())).status == 200
        assert (await ask(app, token(OTHER))).status == 401
    for content in "{}", "[]", "no JSON", '{"keys": []}':
        file.write_text(content)
        with pytest.raises(KeysError, match="holds no keys"):
            async with running(with_tokens(artifacts, str(file))):
                pass


@pytest.mark.parametrize(
    "given",
    [
        {"jwt_issuer": ISSUER},
        {"jwt_audience": AUDIENCE, "jwt_keys": "jwks.json"},
        {"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "jwt_keys": "http://login.example/keys"},
        {"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "jwt_keys": "ftp://login.example/keys"},
    ],
)
def test_settings_that_would_let_anybody_in_are_refused(given: dict[str, str]):
    with pytest.raises(ValueError, match="jwt_keys"):
        Settings(**given)


async def test_tokens_of_a_tenant_share_its_rate(artifacts: Path, issuer: Issuer):
    async with running(with_tokens(artifacts, issuer.url, rate_limit=0.001, session_quota=1)) as app:
        assert (await ask(app, token())).status == 200
        assert (await ask(app, token(jti="another"))).status == 429
        assert (await ask(app, token(sub="bob"))).status == 200
