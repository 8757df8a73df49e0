"""Reads a setting and gives how soon servers are ready, what memory they hold, and what a session takes."""

from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from scripts.benchmarks.contenders import by_hand, send_all, triton
from scripts.benchmarks.figures import Run
from scripts.benchmarks.load import Plan
from scripts.benchmarks.servers import Server, nextply
from scripts.benchmarks.setting import TOKENS, Setting
from scripts.benchmarks.stores import fresh, on_disk

# Moves of a session whose size is measured.
_PLIES = 40


def measure_start(setting: Setting) -> list[Run]:
    """Start every server, round by round.

    A run has ``cold_start``, seconds until it was ready, and ``resident``, bytes of all its processes then. ``model``
    is "all that ship" for the service as it starts without flags.
    """
    runs: list[Run] = []
    for number in tqdm(range(setting.rounds), "footprint: starts"):
        with fresh(setting.work / "starts") as folder:
            for name, model, server in _starts(setting, folder):
                with server:
                    figures = {"cold_start": server.cold_start, "resident": server.use().resident}
                runs.append({"server": name, "model": model, "round": number} | figures)
    return runs


def _starts(setting: Setting, folder: Path) -> Iterator[tuple[str, str, Server]]:
    for model, models in setting.models.items():
        yield "nextply", model, nextply("nextply", models, model, folder / model)
        if setting.peers is not None:
            yield "triton", model, triton(setting, model, folder / f"triton-{model}", 1)
            if model == TOKENS:
                yield "by_hand", model, by_hand(setting, folder / "by-hand")
    if setting.shipped.is_dir():
        yield "nextply", "all that ship", nextply("nextply", setting.shipped, "chess", folder / "shipped")


def measure_sessions(setting: Setting) -> list[Run]:
    """Open many sessions of 40 moves; a run has the bytes of memory and disk that they took.

    ``resident`` counts pages of the store's file, which are the kernel's to take back; ``private`` does not.
    """
    runs: list[Run] = []
    for model, models in tqdm(setting.models.items(), "footprint: sessions"):
        game = setting.artifact(model).game
        with fresh(setting.work / "sessions") as folder, nextply("nextply", models, model, folder) as server:
            # The first requests bring memory that is needed once.
            send_all(server.url, Plan.of(game, model, "warm", 1, 64, begun=_PLIES).openings())
            plan = Plan.of(game, model, "measured", 1, setting.sessions, begun=_PLIES)
            before, disk = server.use(), on_disk(folder)
            send_all(server.url, plan.openings())
            after = server.use()
            runs.append(
                {
                    "model": model,
                    "round": 0,
                    "sessions": len(plan.ids),
                    "plies": _PLIES,
                    "resident_before": before.resident,
                    "resident": after.resident,
                    "private": after.private,
                    "resident_a_session": (after.resident - before.resident) / len(plan.ids),
                    "private_a_session": (after.private - before.private) / len(plan.ids),
                    "disk_a_session": (on_disk(folder) - disk) / len(plan.ids),
                }
            )
    return runs
