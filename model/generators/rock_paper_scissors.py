"""Reads a population of habits and gives games of rock, paper, scissors, one token a round: "rock-paper".

The first throw of a token is the first player's. Both throw at once, so the rounds before are all that either goes by.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from model.dataset import Packed
from model.games import TokenGame
from model.generators.habits import THROWS, Population, Throws

TOKENS = tuple(sorted(f"{first}-{second}" for first in THROWS for second in THROWS))
GAME = TokenGame(TOKENS)
PAIRS = np.array([[THROWS.index(throw) for throw in token.split("-")] for token in TOKENS])
"""First and second throw of each token, ``[9, 2]``."""

_NAMES = np.array([[f"{first}-{second}" for second in THROWS] for first in THROWS])
_FEWEST, _MOST = 30, 120
# Games that are drawn side by side; another number draws other games.
_SIDE_BY_SIDE = 100


def draw_games(games: int, seed: int, population: Population | None = None) -> Iterator[list[str]]:
    """Give games of 30 to 120 rounds; more games from the same seed begin with the same ones."""
    for start in range(0, games, _SIDE_BY_SIDE):
        rng = np.random.default_rng((seed, start))
        lengths = rng.integers(_FEWEST, _MOST + 1, size=_SIDE_BY_SIDE)
        first, second = draw_throws(population or Population(), rng, _SIDE_BY_SIDE, _MOST)
        for game in range(min(_SIDE_BY_SIDE, games - start)):
            yield _NAMES[first[game], second[game]][: lengths[game]].tolist()


def draw_throws(population: Population, rng: np.random.Generator, games: int, rounds: int) -> Throws:
    """Give what pairs of players throw who are drawn from the population, ``[2, games, rounds]``."""
    throws = np.zeros((2, games, rounds), np.int64)
    noise, habit = rng.integers(len(population.noises), size=(2, games)), _draw_habits(population, rng, games)
    for ply in range(rounds):
        before = throws[:, :, :ply]
        for player in (0, 1):
            chances = population.chances(before[player], before[1 - player])
            own = chances[noise[player], habit[player], np.arange(games)]
            throws[player, :, ply] = (rng.random((games, 1)) > own.cumsum(1)[:, :2]).sum(1)
        drifting = rng.random((2, games)) < population.drift
        habit = np.where(drifting, _draw_habits(population, rng, games), habit)
    return throws


def _draw_habits(population: Population, rng: np.random.Generator, games: int) -> npt.NDArray[np.int64]:
    return rng.integers(len(population.habits), size=(2, games))


def read_throws(packed: Packed, games: npt.NDArray[np.int64]) -> Throws:
    """Give the throws of both players in games of ``GAME``, ``[2, games, rounds]``, rock after a game's end."""
    lengths = packed.lengths[games]
    row, ply = np.nonzero(np.arange(int(lengths.max())) < lengths[:, None])
    throws = np.zeros((2, len(games), int(lengths.max())), np.int64)
    throws[:, row, ply] = PAIRS[packed.tokens[packed.offsets[games][row] + ply]].T
    return throws
