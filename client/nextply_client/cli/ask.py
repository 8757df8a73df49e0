"""The commands that ask and write what the service answers: predict, models, watch."""

import sys
from contextlib import suppress
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from nextply_client.answers import Prediction
from nextply_client.calls import Line
from nextply_client.cli.options import (
    PATIENCE,
    BlackElo,
    Json,
    Key,
    Model,
    Patience,
    TopK,
    Url,
    WhiteElo,
    complete_sessions,
    connected,
    context_of,
)
from nextply_client.cli.output import candidates, described, judged, out, write_json
from nextply_client.http import DEFAULT_URL
from nextply_client.moves import as_moves, write_movetext


def predict(
    games: Annotated[
        list[str], typer.Argument(help='Games so far: "1. e4 e5 2. Nf3", "e2e4 e7e5"; - reads one a line.')
    ],
    model: Model = None,
    top_k: TopK = 5,
    white_elo: WhiteElo = None,
    black_elo: BlackElo = None,
    score: Annotated[bool, typer.Option("--score", help="Also say how surprising each move was.")] = False,
    json: Json = False,
    url: Url = DEFAULT_URL,
    key: Key = None,
    patience: Patience = PATIENCE,
) -> None:
    """Predict the next move of games, of which nothing is kept."""
    texts = [line for line in sys.stdin.read().splitlines() if line.strip()] if games == ["-"] else games
    with connected(url, key, patience) as client:
        sequences = [as_moves(text) for text in texts]
        lines = [Line(moves, context_of(white_elo, black_elo)) for moves in sequences]
        answer = client.predict(lines, model=model, top_k=top_k, score=score)
    if json:
        write_json(answer)
        return
    out().print(Text(str(answer.model), "dim"))
    for moves, prediction in zip(sequences, answer.predictions, strict=True):
        _show(moves, prediction)


def _show(moves: list[str], prediction: Prediction) -> None:
    console = out()
    console.print(Text(write_movetext(moves) or "before the first move", "bold"))
    for move, surprisal in zip(moves, prediction.surprisal or [], strict=False):
        console.print(Text.assemble(f"  {move}  ", judged(surprisal)))
    console.print(candidates(prediction.next) if prediction.next else Text("the game is over"))


def models(json: Json = False, url: Url = DEFAULT_URL, key: Key = None, patience: Patience = PATIENCE) -> None:
    """List the models that the service has loaded."""
    with connected(url, key, patience) as client:
        found = client.models()
    if json:
        write_json(found)
        return
    table = Table("model", "game", "moves", "cell", "precision", "context", box=None)
    for model in found:
        name = Text(f"{model.name}/{model.version}", "bold").append(" (default)" if model.default else "", "dim")
        table.add_row(name, model.game, str(model.moves), model.cell, model.precision, ", ".join(model.context))
    out().print(table)


def watch(
    session: Annotated[str, typer.Argument(autocompletion=complete_sessions, help="The session's id.")],
    top_k: TopK = 3,
    json: Json = False,
    url: Url = DEFAULT_URL,
    key: Key = None,
    patience: Patience = PATIENCE,
) -> None:
    """Follow what is played in a session, until it is gone or Ctrl-C."""
    console = out()
    with connected(url, key, patience) as client, suppress(KeyboardInterrupt):
        for event in client.events(session, top_k=top_k):
            if json:
                write_json(event)
            else:
                console.print(described(event))
