"""What is simulated: who serves, the load, what fails, and how careful clients are."""

from dataclasses import dataclass, field
from typing import Literal

from scripts.fleet.design import Design
from scripts.fleet.times import ServiceTimes, ShardCosts


@dataclass(frozen=True)
class Plan:
    """What serves: workers on one machine with a file, or, with ``shards``, workers anywhere with those."""

    times: ServiceTimes
    workers: int = 1
    shards: int = 0
    cores: int | None = None
    """Cores that workers and clients share; None gives every thread its own."""
    costs: ShardCosts = field(default_factory=ShardCosts)
    design: Design = field(default_factory=Design)
    fsync: bool = True
    rebuilt_plies: int = 0
    """Without stored state: plies of a game; a request takes the steps of all moves so far, as many as chance says."""
    client: float = 0.0
    """CPU that the load generator, one thread, takes for a request."""
    noise: float = 0.7
    """Standard deviation of every time, as a part of it."""
    crowd_noise: float = 0.0
    """That of how fast everything goes while every core is busy, which stays alike for some time."""
    apart: bool = False
    """Whether workers share the machine alone: each has a file and sessions of its own."""
    seed: int = 0


@dataclass(frozen=True)
class Closed:
    """Connections that each send the next request when they have their answer, until so many are answered."""

    connections: int
    requests: int


@dataclass(frozen=True)
class Open:
    """Requests that come by chance, so many a second (a Poisson process), whatever the answers do.

    Many sessions that move at moments of their own are such a process, whatever the laws of the single ones are.
    """

    rate: float
    requests: int


@dataclass(frozen=True)
class Failure:
    """A worker or a shard is away from ``at`` for ``lasts`` seconds."""

    what: Literal["worker", "shard"]
    at: float
    lasts: float
    number: int = 0


@dataclass(frozen=True)
class Caution:
    """What clients and balancers do when something is away."""

    timeout: float = 1.0
    """Seconds after which a client that hears nothing asks another worker; safe, since moves carry their ply."""
    backoff: float = 0.5
    """Seconds, half to one and a half times, until what was answered with 429 or 503 is sent again."""
    growth: float = 2.0
    """How many times longer each further such wait of a request is."""
    noticed: float = 2.0
    """Seconds until balancers send nothing more to a worker that is gone (deploy/compose/haproxy.cfg: 2 checks)."""
