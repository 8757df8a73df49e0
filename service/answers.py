"""Reads positions and predictions and writes the answers of requests."""

from collections.abc import Iterable, Sequence

import numpy as np

from model.games import Position
from service import schemas
from service.distribution import Distribution
from service.line import Line
from service.models import Model
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


def played(session: Session, before: int, after: int, line: Line, top_k: int) -> schemas.MovesAnswer:
    """Write what came of the moves between two plies of a session; ``line`` ends at the later one."""
    return {
        "session": session.id,
        "ply": after,
        "surprisal": session.surprisal[before:after].tolist(),
        "next": likeliest(line.position, line.predictions[-1], top_k),
    }


def predictions(request: schemas.PredictRequest, lines: Sequence[Line]) -> list[schemas.Prediction]:
    """Write what is predicted at the end of each line, and along it where the request asks for that."""
    return [_prediction(request, line) for line in lines]


def _prediction(request: schemas.PredictRequest, line: Line) -> schemas.Prediction:
    following = likeliest(line.position, line.predictions[-1], request.top_k)
    answer: schemas.Prediction = {"ply": len(line.moves), "next": following}
    if request.score:
        answer["surprisal"] = np.array(line.surprisal(), np.float32).tolist()
    if request.each_ply:
        at_each = zip(line.positions, line.predictions, strict=True)
        answer["moves"] = [at.notation(move).move for at, move in zip(line.positions, line.moves, strict=False)]
        answer["plies"] = [{"ply": ply, "next": likeliest(*at, request.top_k)} for ply, at in enumerate(at_each)]
    return answer
