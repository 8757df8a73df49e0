"""Run ``python -m scripts.peers.by_hand --model FOLDER --port N``: serves a model of tokens as people write it by hand.

FastAPI, a pydantic model for each body, one onnxruntime session, and a dict with the state of each session: an answer
needs no more. Nothing is durable, batched, checked against a ply or bounded.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

_TOP = 5


class Move(BaseModel):
    """A move that was played."""

    move: str


class Candidate(BaseModel):
    """A move that may come."""

    move: str
    probability: float


class Answer(BaseModel):
    """What may come next in a session."""

    session: str
    ply: int
    next: list[Candidate]


class Network:
    """The step graph and the state of every session."""

    def __init__(self, folder: Path) -> None:
        """Load a model; one thread and no spinning are the fastest for a graph as small as this."""
        manifest = json.loads((folder / "manifest.json").read_text())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        graph = str(folder / "model.onnx")
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._names: list[str] = manifest["vocabulary"]
        self._ids = {name: number for number, name in enumerate(self._names)}
        tensors = manifest["state"]
        self._outputs = ["logits", *(tensor["output"] for tensor in tensors)]
        self._inputs = [tensor["name"] for tensor in tensors]
        self._start = [np.full((1, *t["shape"]), t.get("initial", 0), t["dtype"]) for t in tensors]
        self._sessions: dict[str, tuple[int, list[Any]]] = {}

    def play(self, session: str, move: str) -> Answer:
        """Play a move; 422 if it is not in the vocabulary."""
        if move not in self._ids:
            raise HTTPException(422, f"unknown move {move!r}")
        ply, state = self._sessions.get(session, (0, self._start))
        feed = {"tokens": np.array([self._ids[move]], np.int64), **dict(zip(self._inputs, state, strict=True))}
        logits, *state = self._session.run(self._outputs, feed)
        self._sessions[session] = ply + 1, state
        return Answer(session=session, ply=ply + 1, next=self._likeliest(logits[0]))

    def _likeliest(self, logits: Any) -> list[Candidate]:
        weights = np.exp(logits - logits.max())
        probabilities = weights / weights.sum()
        top = np.argpartition(probabilities, -_TOP)[-_TOP:]
        top = top[np.argsort(-probabilities[top])]
        return [Candidate(move=self._names[number], probability=float(probabilities[number])) for number in top]


def create_app(folder: Path) -> FastAPI:
    """Build the application."""
    app, network = FastAPI(), Network(folder)

    @app.get("/ready")
    async def ready() -> None:
        """Say that the model is loaded."""

    @app.post("/sessions/{session}/moves")
    async def play(session: str, body: Move) -> Answer:
        """Play a move, in the event loop: on FastAPI's pool of threads it takes twice as long."""
        return network.play(session, body.move)

    return app


def main(words: list[str] | None = None) -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(prog="python -m scripts.peers.by_hand", description="Serve a model by hand.")
    parser.add_argument("--model", type=Path, required=True, metavar="FOLDER", help="an artifact of a token game")
    parser.add_argument("--port", type=int, default=8000, help="(8000)")
    arguments = parser.parse_args(words)
    app = create_app(arguments.model)
    uvicorn.run(app, port=arguments.port, log_level="warning")


if __name__ == "__main__":
    main()
