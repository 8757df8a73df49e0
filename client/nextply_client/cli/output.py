"""Writes answers: tables for people, in colour on a terminal, and JSON for programs."""

import json
import math
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from nextply_client.answers import Candidate, Event, Played
from nextply_client.reading import to_json

_BAR = 24


def out() -> Console:
    """Give what writes to standard output; it wraps nothing where that is no terminal."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=10_000)


def err() -> Console:
    """Give what writes to standard error."""
    return Console(stderr=True, highlight=False)


def complain(text: str) -> None:
    """Tell a person that something is wrong."""
    err().print(Text.assemble(("nextply: ", "bold red"), text), soft_wrap=True)


def write_json(value: Any) -> None:
    """Write an answer as one line of JSON."""
    sys.stdout.write(json.dumps(to_json(value), ensure_ascii=False) + "\n")
    sys.stdout.flush()


def percent(probability: float) -> str:
    """Give a probability as people read it."""
    return f"{100 * probability:.1f} %"


def candidates(next_: Sequence[Candidate], *, numbered: bool = False) -> Table:
    """Give a table of what may come next, the likeliest first."""
    table = Table.grid(padding=(0, 2))
    for number, candidate in enumerate(next_, start=1):
        bar = "█" * round(_BAR * candidate.probability)
        name = f"{candidate.san} ({candidate.move})" if candidate.san else candidate.move
        cells = [Text(name, "bold"), Text(percent(candidate.probability)), Text(bar, "cyan")]
        table.add_row(*([Text(f"{number}", "dim")] if numbered else []), *cells)
    return table


def judged(surprisal: float) -> Text:
    """Say how surprising a move was: how likely it had been, and −ln p in nats."""
    style = "green" if surprisal < 1 else "yellow" if surprisal < 4 else "red"
    return Text(f"foreseen with {percent(math.exp(-surprisal))} (surprisal {surprisal:.2f})", style)


def described(event: Event) -> Text:
    """Give an event as one line."""
    if event.ends:
        return Text(f"the session was {event.kind}" if event.kind == "deleted" else "the session expired", "bold")
    moves = [f"{move} ({surprisal:.2f})" for move, surprisal in zip(event.moves, event.surprisal, strict=False)] or [
        "no moves"
    ]
    next_ = ", ".join(f"{candidate} {percent(candidate.probability)}" for candidate in event.next)
    line = Text.assemble((f"{event.kind:>8}", "bold cyan"), f"  ply {event.ply:<4} ", " ".join(moves))
    return line.append(f"  → {next_}" if next_ else "  → the end", "dim")


def played(answer: Played, moves: Sequence[str]) -> Text:
    """Say what came of moves, one line each."""
    lines = [
        Text.assemble((f"{move}  ", "bold"), judged(surprisal))
        for move, surprisal in zip(moves, answer.surprisal, strict=True)
    ]
    return Text("\n").join(lines)
