"""What answers look like: typed dicts, which mypy checks and OpenAPI describes."""

from typing import Any, NotRequired

from typing_extensions import TypedDict


class ModelId(TypedDict):
    """Which model answered."""

    name: str
    version: str


class Candidate(TypedDict):
    """A move that may come."""

    move: str
    san: NotRequired[str]
    probability: float


class PlyPrediction(TypedDict):
    """What is predicted at one ply of a sequence."""

    ply: int
    next: list[Candidate]


class Prediction(PlyPrediction):
    """What is predicted at the end of a sequence, and, if asked for, along it."""

    surprisal: NotRequired[list[float]]
    moves: NotRequired[list[str]]
    plies: NotRequired[list[PlyPrediction]]


class PredictAnswer(TypedDict):
    """One prediction a sequence, in the request's order."""

    model: ModelId
    predictions: list[Prediction]


class CreateAnswer(TypedDict):
    """A session that was opened."""

    session: str
    model: ModelId
    ply: int
    next: list[Candidate]


class Upgrade(TypedDict):
    """Which version kept a session before it was rebuilt on the one that answers."""

    upgraded_from: NotRequired[str]


class StandsAnswer(CreateAnswer, Upgrade):
    """A session after a takeback."""


class MovesAnswer(Upgrade):
    """What came of playing moves: −ln p (nats) of each, and what may come next."""

    session: str
    model: ModelId
    ply: int
    surprisal: list[float]
    next: list[Candidate]


class SessionAnswer(Upgrade):
    """A session as it stands."""

    session: str
    model: ModelId
    context: dict[str, Any]
    ply: int
    moves: list[str]
    surprisal: list[float]
    next: list[Candidate]


class GateActivity(TypedDict):
    """What the units of a gate did: the mean of their sizes, and the shares of those over 0.9 and under 0.1."""

    mean: float
    open: float
    closed: float


class PlyGates(TypedDict):
    """What the network did when it read a move, none at the start: the gates of each layer, by their names."""

    ply: int
    move: str | None
    layers: list[dict[str, GateActivity]]


class Memory(TypedDict):
    """The units of a state tensor that remember longest over a game, longest first, by their numbers from 0.

    ``values`` has a row for each ply, and in it what each of ``units`` held then. ``width`` is how many the tensor has.
    """

    tensor: str
    width: int
    units: list[int]
    values: list[list[float]]


class Held(TypedDict):
    """What the memory of the network held at every ply of a session, if that was asked for."""

    memory: NotRequired[list[Memory]]


class ExplainAnswer(Held, Upgrade):
    """What the gates of the network did at every ply of a session, and, if asked for, what its memory held."""

    session: str
    model: ModelId
    ply: int
    plies: list[PlyGates]


class ChangeAnswer(TypedDict):
    """What an onlooker is told: of the moves it has, the first ``ply − len(moves)`` stay, and ``moves`` follow."""

    session: str
    model: ModelId
    ply: int
    moves: list[str]
    surprisal: list[float]
    next: list[Candidate]


class SessionSummary(TypedDict):
    """A session in a listing."""

    session: str
    model: ModelId
    context: dict[str, Any]
    ply: int
    idle_seconds: float


class SessionsAnswer(TypedDict):
    """A page of sessions, and what to send as ``after`` to get the next; none at the end."""

    sessions: list[SessionSummary]
    after: str | None


class ModelAnswer(ModelId):
    """A loaded model."""

    default: bool
    game: str
    moves: int
    context: list[str]
    cell: str
    precision: str


class ModelsAnswer(TypedDict):
    """All loaded models."""

    models: list[ModelAnswer]


class ReloadFailure(TypedDict):
    """A folder that could not be loaded, and why."""

    model: str
    problem: str


class ReloadAnswer(TypedDict):
    """What changed: ``name/version`` of what is served now, of what no longer is, and what could not be loaded."""

    loaded: list[str]
    dropped: list[str]
    failed: list[ReloadFailure]


class HealthAnswer(TypedDict):
    """How the service is."""

    status: str


class FieldError(TypedDict):
    """A part of a request that is not as described."""

    where: str
    problem: str


class ProblemAnswer(TypedDict):
    """An error (RFC 9457); further members say where it was."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: NotRequired[list[FieldError]]
    ply: NotRequired[int]
    sequence: NotRequired[int]
    index: NotRequired[int]
    move: NotRequired[str]
    retry_after_ms: NotRequired[int]
    timeout_ms: NotRequired[int]


class StepProblem(TypedDict):
    """What kept one step of many from being taken."""

    session: str
    problem: ProblemAnswer


class StepsAnswer(TypedDict):
    """What came of each step, in the request's order."""

    results: list[MovesAnswer | StepProblem]
