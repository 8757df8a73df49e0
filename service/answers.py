"""Reads positions and predictions and writes the answers of requests."""

from collections.abc import Iterable, Sequence
from typing import cast

from model.games import Position
from service import requests, schemas
from service.distribution import Distribution
from service.errors import Problem
from service.gates import Activity
from service.line import Line
from service.models import Model
from service.names import shown
from service.sessions import Session


def model_id(model: Model) -> schemas.ModelId:
    """Say which model answers."""
    return {"name": model.name, "version": model.version}


def likeliest(position: Position, prediction: Distribution, count: int) -> list[schemas.Candidate]:
    """Write the likeliest moves, likeliest first; one that is not legal goes by its name alone."""
    return [_next(position, move, probability) for move, probability in prediction.top(count)]


def _next(position: Position, move: int, probability: float) -> schemas.Candidate:
    written = position.notation(move)
    if written.san is None:
        return {"move": written.move, "probability": probability}
    return {"move": written.move, "san": written.san, "probability": probability}


def written_moves(position: Position, moves: Iterable[int]) -> list[str]:
    """Write moves as they are played from ``position``, which they change."""
    written = []
    for move in moves:
        written.append(position.notation(move).move)
        position.play(move)
    return written


def _upgrade(session: Session, model: Model) -> schemas.Upgrade:
    """Say which version kept the session before this one, if it was rebuilt on another."""
    return {} if session.version == model.version else {"upgraded_from": session.version}


def created(session: Session, model: Model, line: Line, top_k: int) -> schemas.CreateAnswer:
    """Write a session that was opened, with the line that ends where it stands."""
    following = likeliest(line.position, line.predictions[-1], top_k)
    return {"session": shown(session.id), "model": model_id(model), "ply": session.ply, "next": following}


def stands(session: Session, after: Session, model: Model, line: Line, top_k: int) -> schemas.StandsAnswer:
    """Write where a session stands after it was changed, at the end of a line."""
    return {**created(after, model, line, top_k), **_upgrade(session, model)}


def summary(session: Session, at: int) -> schemas.SessionSummary:
    """Write a session for a listing that was made at a moment, in milliseconds since 1970."""
    return {
        "session": shown(session.id),
        "model": {"name": session.model, "version": session.version},
        "context": session.context,
        "ply": session.ply,
        "idle_seconds": max(0, at - session.used) / 1000,
    }


def played(session: Session, model: Model, line: Line, moves: int, top_k: int) -> schemas.MovesAnswer:
    """Write what came of the moves with which a line ends; it began at the start, or where the session stood."""
    return {
        "session": shown(session.id),
        "model": model_id(model),
        "ply": line.ply + len(line.moves),
        "surprisal": line.surprisal(moves),
        "next": likeliest(line.position, line.predictions[-1], top_k),
        **_upgrade(session, model),
    }


def step(id_: str, answer: schemas.MovesAnswer | Problem | None) -> schemas.MovesAnswer | schemas.StepProblem:
    """Write what came of one step of many, or what kept it from being taken."""
    if isinstance(answer, Problem):
        return {"session": shown(id_), "problem": cast(schemas.ProblemAnswer, answer.body())}
    assert answer is not None
    return answer


def session(session: Session, alive: Session, model: Model, line: Line, top_k: int) -> schemas.SessionAnswer:
    """Write a session: as it was kept, as it is with its cache, and the line at which it stands."""
    assert alive.cache is not None
    return {
        "session": shown(session.id),
        "model": model_id(model),
        "context": session.context,
        "ply": session.ply,
        "moves": written_moves(model.game.new_position(), session.moves),
        "surprisal": alive.cache.surprisal.tolist(),
        "next": likeliest(line.position, line.predictions[-1], top_k),
        **_upgrade(session, model),
    }


def explained(
    session: Session, model: Model, activities: Sequence[Activity], held: schemas.Held
) -> schemas.ExplainAnswer:
    """Write what the gates did when they read the start and each move of a session, and what its memory held."""
    read = [None, *written_moves(model.game.new_position(), session.moves)]
    plies: list[schemas.PlyGates] = [
        {"ply": ply, "move": move, "layers": _layers(model, activity)}
        for ply, (move, activity) in enumerate(zip(read, activities, strict=True))
    ]
    return {
        "session": shown(session.id),
        "model": model_id(model),
        "ply": session.ply,
        "plies": plies,
        **held,
        **_upgrade(session, model),
    }


def _layers(model: Model, activity: Activity) -> list[dict[str, schemas.GateActivity]]:
    gates = model.manifest.gates
    layers: list[dict[str, schemas.GateActivity]] = [{} for _ in range(1 + max(gate.layer for gate in gates))]
    for gate, (mean, open_, closed) in zip(gates, activity.round(4).tolist(), strict=True):
        layers[gate.layer][gate.gate] = {"mean": mean, "open": open_, "closed": closed}
    return layers


def predictions(request: requests.PredictRequest, lines: Sequence[Line]) -> list[schemas.Prediction]:
    """Write what is predicted at the end of each line, and along it where the request asks for that."""
    return [_prediction(request, line) for line in lines]


def _prediction(request: requests.PredictRequest, line: Line) -> schemas.Prediction:
    following = likeliest(line.position, line.predictions[-1], request.top_k)
    answer: schemas.Prediction = {"ply": len(line.moves), "next": following}
    if request.score:
        answer["surprisal"] = line.surprisal()
    if request.each_ply:
        at_each = zip(line.positions, line.predictions, strict=True)
        answer["moves"] = [at.notation(move).move for at, move in zip(line.positions, line.moves, strict=False)]
        answer["plies"] = [{"ply": ply, "next": likeliest(*at, request.top_k)} for ply, at in enumerate(at_each)]
    return answer
