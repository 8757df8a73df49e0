"""Reads what the benchmarks measured of one model, and gives it checked, with what a shard of the store costs."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, PositiveFloat, PositiveInt, ValidationError


class TimesError(ValueError):
    """A file of service times that cannot be used; the text says what is wrong and where."""


class Measured(BaseModel):
    """A closed-loop run on one machine: each connection sends its next request when it has its answer."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    workers: PositiveInt
    connections: PositiveInt
    requests_per_second: PositiveFloat
    p50: PositiveFloat
    p99: PositiveFloat


class ServiceTimes(BaseModel):
    """What one worker needs for its parts of a request, in seconds, and what goes over the wire, in bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    model: str
    step_base: NonNegativeFloat
    """A tick, whatever its rows."""
    step_row: NonNegativeFloat
    http_request: NonNegativeFloat
    """CPU of a worker for a request with one move, outside step and store, beside up to a full batch of others."""
    http_batch: NonNegativeFloat = 0.0
    """CPU of a worker for a batch of moves, whatever its size, outside step and store: a lone move pays it all."""
    http_crowd: NonNegativeFloat = 0.0
    """CPU more of a request, each time that twice as many run beyond a full batch: they do not fit into the cache."""
    crowded: PositiveFloat = 1.0
    """How many times as long a worker's processor takes where every core of the machine is busy, on average."""
    store_load_row: NonNegativeFloat
    store_commit_base: NonNegativeFloat
    """A group commit, whatever its rows."""
    store_commit_row: NonNegativeFloat
    store_foreign_row: NonNegativeFloat = 0.0
    """CPU of a worker for a session in which another one of the machine played last, beyond what a known one takes."""
    commit_fsync: NonNegativeFloat
    """What a group commit waits for the disk."""
    max_batch: PositiveInt
    bytes_request: NonNegativeFloat
    bytes_answer: NonNegativeFloat
    bytes_session_log: NonNegativeFloat
    bytes_session_state: NonNegativeFloat
    measured: tuple[Measured, ...] = ()
    apart: Measured | None = None
    """Two services of one worker each that share the machine and nothing else, and so many connections together."""

    @property
    def slug(self) -> str:
        """The model's name as a part of a file name."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.model).strip("-").lower() or "model"

    @classmethod
    def read(cls, path: Path) -> "ServiceTimes":
        """Read a file; TimesError if it is not there or not as described."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise TimesError(f"{path}: {error.strerror}") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise TimesError(f"{path}: {where}: {first['msg']}") from None


@dataclass(frozen=True)
class ShardCosts:
    """What sessions in Valkey cost, in seconds unless said; ``python -m scripts.fleet.shard_costs`` measures them.

    The defaults are medians of three runs of it on one machine of two cores of a Zen 5 server processor, with chess
    sessions of 40 moves and a server with ``appendonly yes`` and ``appendfsync always``. The CPU of a call of one
    session was taken from a server without a log: that of the fsync is part of the wait for the disk.
    """

    client_base: float = 30e-6
    """CPU of a worker for a call to one shard, whatever its rows."""
    client_load_row: float = 14e-6
    client_commit_row: float = 25e-6
    shard_base: float = 12e-6
    """CPU of a shard for a call, whatever its rows."""
    shard_load_row: float = 3e-6
    shard_commit_row: float = 28e-6
    shard_overhead: float = 437.0
    """Bytes that the server keeps for a session besides its records."""
    round_trip: float = 200e-6
    """Between a worker and a shard, in the network. Not measured: usual between machines of one data centre."""
