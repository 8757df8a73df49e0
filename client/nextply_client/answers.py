"""What the service answers: frozen dataclasses with the members that docs of the HTTP interface name."""

from dataclasses import dataclass, field

from nextply_client.errors import Problem

Context = dict[str, int | str]
"""What is known about a game beside its moves, for chess ``white_elo``, ``black_elo``, ``time_control``."""


@dataclass(frozen=True, slots=True)
class ModelId:
    """Which model answered."""

    name: str
    version: str

    def __str__(self) -> str:
        """Give ``name/version``."""
        return f"{self.name}/{self.version}"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A move that may come; ``san`` only where the game has such a notation."""

    move: str
    probability: float
    san: str | None = None

    def __str__(self) -> str:
        """Give the move as people write it."""
        return self.san or self.move


@dataclass(frozen=True, slots=True)
class PlyPrediction:
    """What is predicted at one ply, the likeliest move first."""

    ply: int
    next: list[Candidate]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is predicted at the end of a sequence; the last three only if they were asked for."""

    ply: int
    next: list[Candidate]
    surprisal: list[float] | None = None
    """−ln p (nats) of each move, as it was predicted before it."""
    moves: list[str] | None = None
    plies: list[PlyPrediction] | None = None


@dataclass(frozen=True, slots=True)
class Predictions:
    """One prediction a sequence, in the order of the request."""

    model: ModelId
    predictions: list[Prediction]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a session stands after it was opened, forked, restored or taken back."""

    session: str
    model: ModelId
    ply: int
    next: list[Candidate]
    upgraded_from: str | None = None
    """The version that kept the session before, if it was rebuilt on another."""


@dataclass(frozen=True, slots=True)
class Played:
    """What came of moves: −ln p (nats) of each, and what may come next."""

    session: str
    model: ModelId
    ply: int
    surprisal: list[float]
    next: list[Candidate]
    upgraded_from: str | None = None


@dataclass(frozen=True, slots=True)
class SessionState:
    """A session as it stands, with all its moves."""

    session: str
    model: ModelId
    context: Context
    ply: int
    moves: list[str]
    surprisal: list[float]
    next: list[Candidate]
    upgraded_from: str | None = None


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """A session in a listing."""

    session: str
    model: ModelId
    context: Context
    ply: int
    idle_seconds: float


@dataclass(frozen=True, slots=True)
class SessionPage:
    """A page of sessions, and what to give as ``after`` for the next one; None at the end."""

    sessions: list[SessionSummary]
    after: str | None


@dataclass(frozen=True, slots=True)
class GateActivity:
    """What the units of a gate did: the mean of their sizes, and the shares of those over 0.9 and under 0.1."""

    mean: float
    open: float
    closed: float


@dataclass(frozen=True, slots=True)
class PlyGates:
    """The gates of each layer, by name, when the network read a move; ``move`` is None at the start."""

    ply: int
    move: str | None
    layers: list[dict[str, GateActivity]]


@dataclass(frozen=True, slots=True)
class Memory:
    """The units of a state tensor that remember longest over a game, longest first, and ``values[ply]`` of each."""

    tensor: str
    width: int
    units: list[int]
    values: list[list[float]]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the gates of the network did at every ply of a session, and, if asked for, what its memory held."""

    session: str
    model: ModelId
    ply: int
    plies: list[PlyGates]
    memory: list[Memory] | None = None
    upgraded_from: str | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """A model that the service has loaded."""

    name: str
    version: str
    default: bool
    game: str
    moves: int
    context: list[str]
    cell: str
    precision: str


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a session: ``session``, ``moves``, ``takeback``, ``deleted`` or ``expired``.

    The last two end the session and have nothing else to say.
    """

    kind: str
    session: str
    model: ModelId | None = None
    ply: int = 0
    moves: list[str] = field(default_factory=list)
    surprisal: list[float] = field(default_factory=list)
    next: list[Candidate] = field(default_factory=list)
    context: Context | None = None
    upgraded_from: str | None = None

    @property
    def ends(self) -> bool:
        """Whether the session is gone."""
        return self.kind in ("deleted", "expired")

    def after(self, moves: list[str]) -> list[str]:
        """Give the moves of the game as it is now, from those that were known before."""
        return moves[: self.ply - len(self.moves)] + self.moves


StepResult = Played | Problem
"""What came of one step of many."""
