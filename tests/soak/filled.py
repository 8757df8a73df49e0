"""Stores that are filled with games in progress, without a request for each."""

import base64
import hashlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import islice

from tqdm import tqdm

from service.sessions import Commit, Session, SessionStore
from tests.soak.client import Client
from tests.soak.games import GAMES

_GAMES = [game for game in GAMES.values() if len(game) > 65]
_PLIES = range(20, 61)
_CONTEXT = {"white_elo": 1500, "black_elo": 1600, "time_control": "600+5"}
KINDS = len(_GAMES) * len(_PLIES)
"""Sessions whose numbers differ by this are copies of each other."""
_BATCH = 1000


def name(number: int) -> str:
    """Give a session's id, as random and as long as those that the service makes."""
    digest = hashlib.blake2b(number.to_bytes(8, "big"), digest_size=16).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def begun(number: int) -> tuple[list[str], int]:
    """Give the game of a session, and how many of its moves were played when it was filled in; 40 on average."""
    return _GAMES[number % len(_GAMES)], _PLIES[number // len(_GAMES) % len(_PLIES)]


async def patterns(client: Client, store: SessionStore) -> list[Session]:
    """Let a service play one session of each kind, and take them from its store."""
    for number in range(KINDS):
        game, ply = begun(number)
        body = {"session": f"kind-{number}", "moves": game[:ply], "context": _CONTEXT}
        await client.ok("POST", "/sessions", body)
    found = store.load_many([f"kind-{number}" for number in range(KINDS)])
    assert all(isinstance(session, Session) and session.cache is not None for session in found)
    return [session for session in found if isinstance(session, Session)]


def fill(store: SessionStore, like: list[Session], count: int, *, quiet: bool = True) -> None:
    """Put sessions with the numbers below ``count`` into a store, each used a millisecond after the one before."""
    begin = time.time_ns() // 1_000_000 - count
    commits = (
        Commit(replace(like[number % KINDS], id=name(number), used=begin + number), expected=None)
        for number in tqdm(range(count), "sessions made", disable=quiet)
    )
    while batch := list(islice(commits, _BATCH)):
        assert all(store.commit_many(batch))


async def check_filled(client: Client, plies: Mapping[int, int], numbers: Iterable[int]) -> None:
    """Hold sessions against a fresh replay; ``plies`` says where those stand that were played in since."""
    for number in numbers:
        game, ply = begun(number)
        sequence = {"moves": game[: plies.get(number, ply)], "context": _CONTEXT}
        body = {"sequences": [sequence], "top_k": 100, "score": True, "each_ply": True}
        (replay,) = (await client.ok("POST", "/predict", body))["predictions"]
        session = await client.ok("GET", f"/sessions/{name(number)}?top_k=100")
        for member in ("moves", "surprisal", "next"):
            assert session[member] == replay[member], f"session {number}: {member}"
