"""How a worker of the simulation is built: what it has in common with service/ is said there."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Design:
    """What runs on which thread of a worker, and what that costs beside the service times."""

    brief: float = 3e-3
    """Ticks of at most so many seconds run on the event loop's thread, others on the engine's (service/models.py)."""
    ticks: int = 4
    """Full ticks that one batch of moves may fill (service/plays.py)."""
    remember: bool = True
    """Whether a worker remembers the sessions that it played in, and asks a file on the event loop's thread if they
    still are as they were; what others played in since is read on the thread of the store."""
    hop: float = 40e-6
    """CPU of handing work from the event loop to another thread, which has to be woken, and again of the way back: half
    of a round trip of ``run_in_executor``, measured as 57 µs without a rest between them and up to 90 after one."""
    cold: float = 250e-6
    """CPU that the event loop needs after a tick beyond the step: reading the weights pushed Python's own code and data
    out of the cache (docs/decisions.md). On the engine's thread they leave another core's."""
    aside: float = 0.15
    """Share of ``http_request`` that is spent in ticks: reading what the network gave, for each row."""
    after: float = 0.2
    """Share of ``http_request`` that is spent when the session is kept: writing the answer."""
    miss: float = 20e-6
    """CPU of the event loop for a session that the worker does not remember: its moves are played again."""
    max_requests: int = 1024
    refusal: float = 60e-6
    """CPU of a request that is refused (docs/decisions.md)."""
