"""How a worker of the simulation is built: what it has in common with service/ is said there."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Design:
    """What runs on which thread of a worker, and what that costs beside the service times."""

    brief: float = 3e-3
    """Ticks of at most so many seconds run on the event loop's thread, others on the engine's (service/crowding.py),
    and so do commits to a file of few moves, or where no core is left for the store's thread (service/keeper.py)."""
    brief_if_crowded: float = 20e-3
    """The same where no core is left for threads."""
    few: int = 4
    """From so many moves on a commit has a thread where there is a core for it (service/plays.py)."""
    ticks: int = 4
    """Full ticks that one batch of moves may fill (service/plays.py)."""
    remember: bool = True
    """Whether a worker remembers the sessions that it played in, and asks a file if they still are as they were; what
    others played in since is read from it."""
    hop: float = 40e-6
    """CPU of handing work from the event loop to another thread, which has to be woken, and again of the way back: half
    of a round trip of ``run_in_executor``, measured as 57 µs without a rest between them and up to 90 after one."""
    gathered: float = 0.26
    """Share of ``http_request`` that is spent when its batch begins: playing the move. By samples of a busy worker
    (``py-spy``), as the other two."""
    aside: float = 0.26
    """Share of ``http_request`` that is spent in ticks: reading what the network gave, for each row."""
    after: float = 0.16
    """Share of ``http_request`` that is spent when the session is kept: writing the answer."""
    max_requests: int = 1024
    refusal: float = 60e-6
    """CPU of a request that is refused (docs/decisions.md)."""
