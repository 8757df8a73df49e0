"""The commands that do much at once: import and bench."""

import asyncio
import os
import stat
from collections import Counter
from collections.abc import Coroutine
from typing import Annotated, Any, BinaryIO, TypeVar

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from nextply_client.async_client import AsyncClient
from nextply_client.cli.bench import Load, Players, Report
from nextply_client.cli.imports import Imported, Importer, chosen, games_of
from nextply_client.cli.options import (
    PATIENCE,
    REFUSED,
    Json,
    Key,
    Model,
    Patience,
    Url,
    failures_told,
    retries_for,
)
from nextply_client.cli.output import complain, err, out, write_json
from nextply_client.errors import NextplyError, Problem
from nextply_client.http import DEFAULT_URL
from nextply_client.retries import Retries

T = TypeVar("T")


def import_(
    file: Annotated[typer.FileBinaryRead, typer.Argument(help="A PGN file; - is standard input.")],
    model: Model = None,
    prefix: Annotated[str, typer.Option("--prefix", help="How the ids of the sessions begin.")] = "pgn-",
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, max=64, help="How many are opened at a time.")] = 8,
    json: Json = False,
    url: Url = DEFAULT_URL,
    key: Key = None,
    patience: Patience = 60,
) -> None:
    """Open a session for every game of a file. Given again after a break, it goes on where it was."""
    counts = Counter[str]()

    def told(one: Imported) -> None:
        counts[one.outcome] += 1
        if json:
            write_json(one)
        elif one.problem is not None:
            complain(f"game {one.game}: {one.problem}")

    bar = _bar()

    async def imported() -> None:
        task = bar.add_task("games", total=_size(file))
        games = games_of(file, lambda count: bar.advance(task, count))
        async with AsyncClient(url, key=key, retries=retries_for(url, patience)) as client:
            importer = Importer(client, chosen(await client.models(), model), prefix)
            await importer.run(games, jobs, told)

    with failures_told(url), bar:
        _run(imported())
    if not json:
        out().print(Text(f"{counts['opened']} opened, {counts['there']} there already, {counts['refused']} refused"))
    if counts["refused"]:
        raise typer.Exit(REFUSED)


def bench(
    connections: Annotated[int, typer.Option("--connections", "-c", min=1, max=1024, help="Games at a time.")] = 16,
    seconds: Annotated[float, typer.Option("--seconds", "-s", min=0.1, help="How long.")] = 10,
    plies: Annotated[int, typer.Option("--plies", min=1, help="Moves of a game before the next one begins.")] = 80,
    model: Model = None,
    json: Json = False,
    url: Url = DEFAULT_URL,
    key: Key = None,
    patience: Patience = PATIENCE,
) -> None:
    """Play games for a while, a move after another on every connection, and say how fast they were answered."""
    retried = Counter[str]()

    def count(failure: NextplyError, _: float) -> None:
        retried[failure.code if isinstance(failure, Problem) else "lost"] += 1

    async def measured() -> Report:
        retries = Retries(attempts=1_000_000 if patience else 1, total=patience, told=count)
        async with AsyncClient(url, key=key, retries=retries, connections=connections) as client:
            return await Players(client, Load(connections, seconds, plies, model)).run(retried)

    with failures_told(url):
        found = _run(measured())
    if json:
        write_json(found)
        return
    console = out()
    console.print(Text(f"{found.moves} moves in {found.seconds:g} s on {connections} connections"))
    console.print(Text(f"{found.moves_per_second:g} moves/s", "bold"))
    console.print(
        Text(f"p50 {found.p50_ms:g} ms, p90 {found.p90_ms:g}, p99 {found.p99_ms:g}, longest {found.max_ms:g}")
    )
    if found.retried:
        console.print(Text("sent again: " + ", ".join(f"{times} {why}" for why, times in found.retried.items())))


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; of tasks that failed together, the first one's failure is what is told."""
    try:
        return asyncio.run(work)
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


def _bar() -> Progress:
    """Give a progress bar on standard error, if that is a terminal; standard output is left to the answers."""
    columns = TextColumn("games"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    return Progress(*columns, console=err(), redirect_stdout=False, disable=not err().is_terminal)


def _size(file: BinaryIO) -> int | None:
    """Give how many bytes a file has, None for what is a pipe or no file at all."""
    try:
        found = os.fstat(file.fileno())
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None
