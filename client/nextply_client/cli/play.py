"""Plays a game in the terminal: shows what may come next, reads a move, and keeps the session."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Annotated

import typer
from rich.text import Text

from nextply_client.answers import Played, Standing
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
from nextply_client.cli.output import candidates, complain, err, out, played, write_json
from nextply_client.client import Client, Session
from nextply_client.errors import InvalidRequest, PlyConflict, UnknownSession
from nextply_client.http import DEFAULT_URL
from nextply_client.moves import as_moves, write_movetext

_HELP = """A move, or several (UCI or SAN), or a number of the list; an empty line plays the likeliest move.
undo [n]  takes back n moves, one if there is no n
game      shows the moves so far
quit      ends; the session is kept"""


class Board:
    """One game at which somebody sits; ``json`` writes every answer as a line of JSON and nothing else."""

    def __init__(self, game: Session, top_k: int, *, json: bool) -> None:
        """Take the running game."""
        self._game, self._top_k, self._json = game, top_k, json
        self._console = out()

    def sit(self) -> None:
        """Play until the input ends or somebody leaves."""
        self._show()
        for line in self._lines():
            if line in ("quit", "exit"):
                break
            try:
                self._obey(line)
            except PlyConflict as conflict:
                complain(f"{conflict.detail}: somebody else plays here; try again")
                self._game.get(top_k=self._top_k)
                self._show()
            except (InvalidRequest, ValueError) as error:
                complain(str(error))

    def _lines(self) -> Iterator[str]:
        with suppress(EOFError, KeyboardInterrupt):
            while True:
                number, half = divmod(self._game.ply, 2)
                yield input("" if self._json else f"{number + 1}{'…' if half else '.'} ").strip()

    def _obey(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "help":
            self._say(_HELP)
        elif word == "game":
            self._say(write_movetext(self._game.get(top_k=self._top_k).moves) or "no moves yet")
        elif word == "undo":
            count = int(rest) if rest.strip().isdecimal() else 1
            self._answered(self._game.takeback(max(self._game.ply - count, 0), top_k=self._top_k), [])
        else:
            moves = self._chosen(line)
            self._answered(self._game.play(moves, top_k=self._top_k), moves)

    def _chosen(self, line: str) -> list[str]:
        """Give the moves that a line means: a number is a place in the list, unless moves of the game are numbers."""
        next_ = self._game.next
        if line.isdecimal() and not any(candidate.move.isdecimal() for candidate in next_):
            if not 1 <= int(line) <= len(next_):
                raise ValueError(f"the list has no number {line}")
            return [str(next_[int(line) - 1])]
        if not line and not next_:
            raise ValueError("the game is over")
        moves = as_moves(line) if line else [str(next_[0])]
        if not moves:
            raise ValueError("that is no move; help says what is understood")
        return moves

    def _answered(self, answer: Played | Standing, moves: list[str]) -> None:
        if self._json:
            write_json(answer)
            return
        if isinstance(answer, Played):
            self._console.print(played(answer, moves))
        self._show()

    def _show(self) -> None:
        if self._json:
            return
        if self._game.next:
            self._console.print(candidates(self._game.next, numbered=True))
        else:
            self._console.print(Text("the game is over", "bold"))

    def _say(self, text: str) -> None:
        if not self._json:
            self._console.print(Text(text))


def play(
    session: Annotated[
        str | None,
        typer.Option("--session", "-s", autocompletion=complete_sessions, help="Go on with it, or open it."),
    ] = None,
    model: Model = None,
    top_k: TopK = 5,
    white_elo: WhiteElo = None,
    black_elo: BlackElo = None,
    json: Json = False,
    url: Url = DEFAULT_URL,
    key: Key = None,
    patience: Patience = PATIENCE,
) -> None:
    """Play a game in the terminal; its session is kept, and "help" says what is understood."""
    with connected(url, key, patience) as client:
        game = _sit_down(client, session, model, context_of(white_elo, black_elo), top_k)
        if not json:
            out().print(Text(f"session {game.id} of {game.model} at ply {game.ply}; help says what is understood"))
        try:
            Board(game, top_k, json=json).sit()
        finally:
            err().print(Text(f"go on with: nextply play --session {game.id}", "dim"), soft_wrap=True)


def _sit_down(
    client: Client, session: str | None, model: str | None, context: Mapping[str, int | str | None], top_k: int
) -> Session:
    """Give the session to play in: the one of that name if it is there, else a new one."""
    if session is not None:
        with suppress(UnknownSession):
            return client.session(session, top_k=top_k)
    return client.open(session, model=model, context=context, top_k=top_k)
