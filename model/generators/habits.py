"""Reads the throws of two players so far and gives how players of each habit throw next.

Throws are 0 rock, 1 paper, 2 scissors: each is beaten by the next one round the circle. That people stay with what won
and shift when they lost is from Wang, Xu and Zhou, Social cycling and conditional responses in the Rock-Paper-Scissors
game, Scientific Reports 4, 5830 (2014); the rest are the plain ideas that beginners and their teachers name.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

THROWS = ("rock", "paper", "scissors")

Throws = npt.NDArray[np.int64]
"""[games, rounds so far]"""
Chances = npt.NDArray[np.float64]
"""[games, 3]"""
Rule = Callable[[Throws, Throws], Chances]

# The chance of a favourite throw, and of either other one.
_FAVOURITE, _OTHER = 0.7, 0.15


def _sure(throws: Throws) -> Chances:
    """Give certainty of throws counted round the circle."""
    return np.eye(3)[throws % 3]


def _largest(counts: Chances) -> Chances:
    """Give the throw counted most often, an equal chance to each of several."""
    top = counts == counts.max(1, keepdims=True)
    chances: Chances = top / top.sum(1, keepdims=True)
    return chances


def _beating(expected: Chances) -> Chances:
    """Give the throws that beat those expected."""
    return np.roll(expected, 1, axis=1)


def _follower(throws: Throws, cues: Throws) -> Chances:
    """Give what was thrown most often right after a cue like the latest."""
    alike = cues[:, :-1] == cues[:, -1:]
    return _largest((_sure(throws[:, 1:]) * alike[..., None]).sum(1))


def _won(own: Throws, other: Throws) -> npt.NDArray[np.bool_]:
    won: npt.NDArray[np.bool_] = (own[:, -1] - other[:, -1]) % 3 == 1
    return won


def _favours(throw: int) -> Rule:
    return lambda own, other: np.tile(np.where(np.arange(3) == throw, _FAVOURITE, _OTHER), (len(own), 1))


def _repeats(back: int) -> Rule:
    return lambda own, other: _sure(own[:, -back])


def _stays_when_it_won(else_by: int) -> Rule:
    return lambda own, other: _sure(own[:, -1] + np.where(_won(own, other), 0, else_by))


@dataclass(frozen=True)
class Habit:
    """One way to choose: a ``rule`` once ``needs`` rounds were played, any throw before."""

    name: str
    needs: int
    rule: Rule

    def chances(self, own: Throws, other: Throws) -> Chances:
        """Give how likely each throw is next, by the throws of the player and of the opponent so far."""
        if own.shape[1] < self.needs:
            return np.full((len(own), 3), 1 / 3)
        return self.rule(own, other)


HABITS = (
    Habit("throws anything", 0, lambda own, other: np.full((len(own), 3), 1 / 3)),
    *(Habit(f"favours {name}", 0, _favours(throw)) for throw, name in enumerate(THROWS)),
    Habit("goes round upwards", 1, lambda own, other: _sure(own[:, -1] + 1)),
    Habit("goes round downwards", 1, lambda own, other: _sure(own[:, -1] + 2)),
    Habit("never repeats", 1, lambda own, other: (1 - _sure(own[:, -1])) / 2),
    Habit("throws each twice", 2, lambda own, other: _sure(own[:, -1] + (own[:, -1] == own[:, -2]))),
    *(Habit(f"repeats {back} rounds later", back, _repeats(back)) for back in (3, 4, 5)),
    Habit("copies", 1, lambda own, other: _sure(other[:, -1])),
    Habit("beats the last throw", 1, lambda own, other: _sure(other[:, -1] + 1)),
    Habit("loses to the last throw", 1, lambda own, other: _sure(other[:, -1] + 2)),
    Habit("stays when it won, else goes upwards", 1, _stays_when_it_won(1)),
    Habit("stays when it won, else goes downwards", 1, _stays_when_it_won(2)),
    Habit("stays until it won", 1, lambda own, other: _sure(own[:, -1] + _won(own, other))),
    Habit("beats what is thrown most", 1, lambda own, other: _beating(_largest(_sure(other).sum(1)))),
    Habit("throws its own rarest", 1, lambda own, other: _largest(-_sure(own).sum(1))),
    Habit("beats what came after such a throw", 2, lambda own, other: _beating(_follower(other, other))),
    Habit("beats the usual reply to itself", 2, lambda own, other: _beating(_follower(other, own))),
)


@dataclass(frozen=True)
class Population:
    """Whom a player is drawn from, every habit and every noise equally likely.

    A noise is the share of throws that are any throw; it stays for the game. A habit is given up after a round with
    the chance ``drift``, and another one drawn, perhaps the same.
    """

    habits: tuple[Habit, ...] = HABITS
    noises: tuple[float, ...] = (0.05, 0.15, 0.3)
    drift: float = 0.02

    def chances(self, own: Throws, other: Throws) -> npt.NDArray[np.float64]:
        """Give how players of each noise and habit throw next, ``[noises, habits, games, 3]``."""
        plain = np.stack([habit.chances(own, other) for habit in self.habits])
        noise = np.array(self.noises)[:, None, None, None]
        mixed: npt.NDArray[np.float64] = (1 - noise) * plain + noise / 3
        return mixed
