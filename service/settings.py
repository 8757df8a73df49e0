"""Reads the environment (``NEXTPLY_…``) and the command line and gives the settings, checked and frozen."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


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
    )

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on")
    artifacts: Path = Field(Path("artifacts"), description="folder with <name>/<version>/ models")
    model: str = Field("chess", description="the model that serves requests which name none")
    store: Literal["lmdb", "memory"] = Field("lmdb", description="where sessions live")
    data_dir: Path = Field(Path("data"), description="folder of the lmdb store")
    store_gib: int = Field(
        64, ge=1, description="the largest the lmdb store may grow, in GiB; only what is used is taken"
    )
    fsync: bool = Field(
        True,
        description="wait for the disk before a move is acknowledged; without it a power cut may lose the last moves "
        "(a crash of the process loses none either way)",
    )
    max_batch: int = Field(64, ge=1, le=4096, description="rows of one engine step")
    max_sequences: int = Field(256, ge=1, description="sequences in one /predict request")
    max_moves: int = Field(2000, ge=1, description="moves of one sequence or session")
    max_plies: int = Field(20000, ge=1, description="moves of all sequences of one request together")
    max_body: int = Field(4 << 20, ge=1024, description="bytes of a request's body")
    positions: int = Field(4096, ge=0, description="running games whose position is kept in memory, to not replay it")
    drain_seconds: int = Field(4, ge=0, description="how long a stop waits for running requests")
    access_log: bool = Field(False, description="log a line for every request")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="what to log")
