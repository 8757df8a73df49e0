"""Reads the environment (``NEXTPLY_…``) and the command line and gives the settings, checked and frozen."""

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


def _check_store(store: str) -> str:
    """Pass the name of a store or the address of one; what is wrong is not repeated, it may be a password."""
    if store not in ("lmdb", "memory"):
        try:
            url = urlsplit(store)
            right = url.scheme in ("valkey", "valkeys", "redis", "rediss") and url.hostname and url.port != 0
        except ValueError:
            right = False
        if not right or not re.fullmatch(r"/?\d*", url.path) or url.fragment:
            raise ValueError(
                "should be lmdb, memory, or valkey://[user:password@]host:port[/db] (valkeys:// with TLS); "
                "in a password write / as %2F, # as %23, ? as %3F and % as %25"
            )
    return store


def _is_safe(keys: str) -> bool:
    """Say whether nobody on the way can change what is fetched from an address; a file is none."""
    scheme, there, _ = keys.partition("://")
    return not there or scheme == "https" or urlsplit(keys).hostname in ("localhost", "127.0.0.1", "::1")


class Settings(BaseSettings):
    """Serve next-move predictions. Each setting is a flag here and an environment variable: NEXTPLY_PORT is --port."""

    model_config = SettingsConfigDict(
        env_prefix="NEXTPLY_",
        frozen=True,
        extra="forbid",
        cli_prog_name="python -m service",
        cli_kebab_case=True,
        cli_hide_none_type=True,
        cli_exit_on_error=False,
        hide_input_in_errors=True,
    )

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on")
    workers: int = Field(1, ge=1, le=256, description="processes that share the port and the store")
    artifacts: Path = Field(Path("artifacts"), description="folder with <name>/<version>/ models")
    model: str = Field("chess", description="the model that serves requests which name none")
    store: Annotated[str, AfterValidator(_check_store)] = Field(
        "lmdb",
        repr=False,
        description="where sessions live: lmdb, memory, or a Valkey server, valkey://[user:password@]host:port[/db], "
        "with TLS valkeys://…?ssl_ca_certs=<file>; keep a password in the environment, since others see flags",
    )
    data_dir: Path = Field(Path("data"), description="folder of the lmdb store")
    store_gib: int = Field(
        64, ge=1, description="the largest the lmdb store may grow, in GiB; only what is used is taken"
    )
    fsync: bool = Field(
        True,
        description="wait for the disk before a move is acknowledged; without it a power cut may lose the last moves "
        "(a crash of the process loses none either way)",
    )
    state_ttl: int = Field(
        86_400, ge=1, description="seconds after which an idle session loses its state, which is rebuilt on demand"
    )
    session_ttl: int = Field(30 * 86_400, ge=1, description="seconds after which an idle session is forgotten")
    max_states: int = Field(
        1_000_000, ge=0, description="sessions that keep their state; the one used longest ago loses it first"
    )
    max_sessions: int = Field(
        10_000_000, ge=1, description="sessions that are kept; the one used longest ago is forgotten first"
    )
    watch_seconds: float = Field(
        5, ge=0, description="how often it is looked for new versions of models; 0 leaves it to POST /models/reload"
    )
    sweep_seconds: float = Field(1, gt=0, description="how often it is looked what is to be forgotten")
    max_batch: int = Field(64, ge=1, le=4096, description="rows of one engine step")
    max_sequences: int = Field(256, ge=1, description="sequences in one /predict request")
    max_moves: int = Field(2000, ge=1, description="moves of one sequence or session")
    max_plies: int = Field(20000, ge=1, description="moves of all sequences of one request together")
    max_body: int = Field(4 << 20, ge=1024, description="bytes of a request's body")
    max_requests: int = Field(
        1024, ge=1, description="requests that one worker answers at the same time; what comes beyond gets 429"
    )
    max_wait_ms: int = Field(
        2000, ge=1, description="what is likely to wait for longer than this, at the present pace, gets 429"
    )
    max_queue: int = Field(
        65_536, ge=1, description="steps that may wait for the network in one worker; what comes beyond gets 429"
    )
    max_streams: int = Field(
        1024, ge=1, description="WebSockets and event streams that one worker keeps open; what comes beyond is refused"
    )
    request_timeout_ms: int = Field(
        30_000, ge=1, description="the most a request may take; its header Request-Timeout-Ms may ask for less"
    )
    positions: int = Field(
        4096, ge=0, description="running games that a worker remembers, to not read and replay them at every move"
    )
    strict_sequences: bool = Field(
        False, description="at /v2, refuse to start a sequence that is running (409); by default it begins anew"
    )
    keys: str = Field(
        "",
        repr=False,
        description="file of API keys, TOML or JSON, read again when it changes, or the JSON itself; made by python -m "
        "service.keys; without keys and tokens everybody may do everything",
    )
    jwt_issuer: str = Field("", description="issuer whose tokens (JWT) are taken, as their claim iss has it")
    jwt_audience: str = Field("", description="who the tokens are made for, as their claim aud has it")
    jwt_keys: str = Field("", description="address or file of the issuer's public keys (JWKS)")
    jwt_tenant: str = Field("sub", description="the claim that names the tenant")
    jwt_scope: str = Field("scope", description="the claim that has the scopes: predict, sessions, admin")
    rate_limit: float | None = Field(
        None, gt=0, description="requests a second of each key, in each worker, where its entry says nothing else"
    )
    session_quota: int | None = Field(
        None, ge=1, description="sessions that a tenant may keep, where its key's entry says nothing else"
    )
    open_metrics: bool = Field(False, description="give /metrics to everybody, though there are keys")
    cors_origins: str = Field(
        "", description="origins whose pages may call, https://a.example,https://b.example, or * for all"
    )
    drain_delay: float = Field(
        0, ge=0, description="seconds in which a stop goes on serving with readiness off, so that balancers look away"
    )
    drain_seconds: int = Field(4, ge=0, description="how long a stop then waits for running requests")
    playground: bool = Field(True, description="answer / with a page on which people play and see what is predicted")
    access_log: bool = Field(False, description="log a line for every request")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="what to log")
    log_format: Literal["line", "json"] = Field("line", description="how to log: a line of text, or of JSON")

    @model_validator(mode="after")
    def _check_tokens(self) -> "Settings":
        given = [bool(setting) for setting in (self.jwt_issuer, self.jwt_audience, self.jwt_keys)]
        if any(given) and not all(given):
            raise ValueError("tokens need all of jwt_issuer, jwt_audience and jwt_keys")
        if not _is_safe(self.jwt_keys):
            raise ValueError("jwt_keys should be a file or https://…: whoever sits on the way could send other keys")
        return self

    @property
    def origins(self) -> list[str]:
        """Give the origins whose pages may call."""
        return self.cors_origins.replace(",", " ").split()

    @model_validator(mode="after")
    def _check_workers(self) -> "Settings":
        if self.workers > 1 and self.store == "memory":
            raise ValueError("workers share no memory: choose another store, or one worker")
        return self
