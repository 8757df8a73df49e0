"""The options that commands share, what completes them, and the client that they describe."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from nextply_client import errors
from nextply_client.cli.output import complain
from nextply_client.client import Client
from nextply_client.errors import NextplyError
from nextply_client.http import DEFAULT_URL
from nextply_client.retries import Retries

# What the command gives back when something went wrong; 2 is Click's own, for words it does not understand.
REFUSED, AWAY, UNKNOWN, ILLEGAL = 1, 3, 4, 5
PATIENCE = 10.0
_COMPLETION = 1.0
_SHOWN = 50


def _quick(context: typer.Context) -> Client:
    """Give a client for completion, which had better say nothing than keep somebody waiting."""
    retries = Retries(attempts=1)
    url = context.params.get("url") or DEFAULT_URL
    return Client(url, key=context.params.get("key"), timeout=_COMPLETION, retries=retries)


def complete_models(context: typer.Context, incomplete: str) -> list[str]:
    """Give the names of models that begin so."""
    try:
        with _quick(context) as client:
            names = {name for model in client.models() for name in (model.name, f"{model.name}/{model.version}")}
    except (NextplyError, ValueError):
        return []
    return sorted(name for name in names if name.startswith(incomplete))


def complete_sessions(context: typer.Context, incomplete: str) -> list[str]:
    """Give the ids of sessions that begin so."""
    try:
        with _quick(context) as client:
            return [found.session for found in client.page(limit=_SHOWN, prefix=incomplete).sessions]
    except (NextplyError, ValueError):
        return []


Url = Annotated[str, typer.Option("--url", envvar="NEXTPLY_URL", help="Address of the service.")]
Key = Annotated[
    str | None,
    typer.Option("--key", envvar="NEXTPLY_KEY", help="API key; keep it in the environment, since others see options."),
]
Patience = Annotated[
    float, typer.Option("--patience", min=0, help="Seconds to try again when the service is away or overloaded.")
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON for programs.")]
Model = Annotated[
    str | None,
    typer.Option("--model", "-m", autocompletion=complete_models, help="Model: name, or name/version."),
]
TopK = Annotated[int, typer.Option("--top-k", "-k", min=1, max=100, help="How many of the likeliest moves.")]
WhiteElo = Annotated[int | None, typer.Option("--white-elo", min=0, max=4000, help="Rating of White.")]
BlackElo = Annotated[int | None, typer.Option("--black-elo", min=0, max=4000, help="Rating of Black.")]


def context_of(white_elo: int | None, black_elo: int | None) -> dict[str, int | str | None]:
    """Give what is known about a game; what is not is left out, since not every game has ratings."""
    known = {"white_elo": white_elo, "black_elo": black_elo}
    return {name: value for name, value in known.items() if value is not None}


class Retold:
    """Tells a person, once a command, that something is tried again."""

    def __init__(self, url: str, patience: float) -> None:
        """Take where the service should be, and for how long it is looked for."""
        self._url, self._patience, self._told = url, patience, False

    def __call__(self, failure: NextplyError, _: float) -> None:
        """Tell it."""
        if not self._told:
            complain(f"{self._url}: {failure}; trying again for {self._patience:g} s")
            self._told = True


def retries_for(url: str, patience: float) -> Retries:
    """Give retries that are bounded by time alone, and tell a person of the first one."""
    return Retries(attempts=1_000_000 if patience else 1, total=patience, told=Retold(url, patience))


@contextmanager
def failures_told(url: str) -> Iterator[None]:
    """Say for people what went wrong, and end with the exit code that says it for programs."""
    try:
        yield
    except errors.Unreachable as error:
        complain(f"no service at {url}: {error}")
        raise typer.Exit(AWAY) from error
    except errors.BadMove as error:
        complain(error.detail)
        raise typer.Exit(ILLEGAL) from error
    except errors.NotFound as error:
        complain(error.detail)
        raise typer.Exit(UNKNOWN) from error
    except (errors.NextplyError, ValueError) as error:
        complain(str(error))
        raise typer.Exit(REFUSED) from error


@contextmanager
def connected(url: str, key: str | None, patience: float) -> Iterator[Client]:
    """Give a client whose failures end the command."""
    with failures_told(url), Client(url, key=key, retries=retries_for(url, patience)) as client:
        yield client
