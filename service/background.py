"""Does again and again what no request asks for: forgets sessions that are idle, and looks for new models."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from service.errors import Problem
from service.keeper import Keeper
from service.metrics import hand_over, sessions_forgotten, sessions_kept
from service.models import Models
from service.sessions import Forgotten
from service.settings import Settings

_log = logging.getLogger("nextply")
# Seconds after which what one process has counted is seen by the others.
_COUNTED = 1


@asynccontextmanager
async def background(models: Models, keeper: Keeper, settings: Settings) -> AsyncIterator[None]:
    """Run the work in the background while the block runs: forget, look for models, count."""

    async def forget() -> None:
        while (forgotten := await keeper.forget()) != Forgotten():
            sessions_forgotten.labels("state").inc(forgotten.states)
            sessions_forgotten.labels("session").inc(forgotten.sessions)

    async def count() -> None:
        kept = keeper.kept()
        if kept is not None:
            sessions_kept.labels("session").set(kept.sessions)
            sessions_kept.labels("state").set(kept.states)
        hand_over()

    tasks = [asyncio.create_task(_every(*work)) for work in ((settings.sweep_seconds, forget), (_COUNTED, count))]
    if settings.watch_seconds:
        tasks.append(asyncio.create_task(_every(settings.watch_seconds, models.reload)))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        hand_over()


async def _every(seconds: float, work: Callable[[], Awaitable[object]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except Problem as problem:
            _log.warning("%s", problem)
        except Exception:
            _log.exception("work in the background failed; it is tried again")
