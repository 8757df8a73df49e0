"""Reads a game's name and strengths and gives games that OpenSpiel's own bots played against each other.

A player of strength n > 0 is Monte Carlo tree search with n simulations a move and random rollouts (UCT: Kocsis and
Szepesvári, Bandit based Monte-Carlo planning, ECML 2006); one of strength 0 plays any legal move.
"""

import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import pyspiel

from model.games import Game, TokenGame, load_game

# How much search tries what it has seldom tried; 2 is what OpenSpiel's examples take for results from −1 to 1.
_EXPLORATION = 2.0
_MEBIBYTES = 1000
# Games a process is handed at a time.
_CHUNK = 8


@dataclass(frozen=True)
class SelfPlay:
    """What decides every game: game ``number`` is the same whoever makes it, and however many are made."""

    game: str
    strengths: tuple[int, ...] = (16, 64, 256)
    """What each player's strength is drawn from."""
    opening: int = 4
    """Up to so many first moves, a number drawn for each game, are any legal move, so that games differ."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse, with ValueError, a game that cannot be learnt from its records."""
        if self.game == TokenGame.name:
            raise ValueError(f"{TokenGame.name!r} has no rules to play by")
        _game(self.game)


@cache
def _rules(name: str) -> Any:
    return pyspiel.load_game(name)


@cache
def _game(name: str) -> Game:
    return load_game({"name": name})


def _bot(rules: Any, player: int, strength: int, rng: np.random.Generator) -> Any:
    seed, rollouts = (int(number) for number in rng.integers(1 << 31, size=2))
    if not strength:
        return pyspiel.make_uniform_random_bot(player, seed)
    evaluator = pyspiel.RandomRolloutEvaluator(1, rollouts)
    return pyspiel.MCTSBot(rules, evaluator, _EXPLORATION, strength, _MEBIBYTES, True, seed, False)


def play_game(game: Game, strengths: Sequence[int], opening: int, rng: np.random.Generator) -> list[str]:
    """Play one game, its first ``opening`` moves at random; give its moves as the game writes them."""
    rules = _rules(game.name)
    bots = [_bot(rules, player, strength, rng) for player, strength in enumerate(strengths)]
    state, position, moves = rules.new_initial_state(), game.new_position(), list[str]()
    while not state.is_terminal():
        actions, ids = state.legal_actions(), position.legal()
        assert ids is not None
        at_random = len(moves) < opening
        action = int(rng.choice(actions)) if at_random else bots[state.current_player()].step(state)
        # A game names its legal moves in OpenSpiel's order.
        move_id = ids[actions.index(action)]
        moves.append(position.notation(move_id).move)
        state.apply_action(action)
        position.play(move_id)
    return moves


def nth_game(selfplay: SelfPlay, number: int) -> list[str]:
    """Give the moves of one game."""
    rng = np.random.default_rng((selfplay.seed, number))
    strengths = rng.choice(selfplay.strengths, size=2).tolist()
    opening = int(rng.integers(selfplay.opening + 1))
    return play_game(_game(selfplay.game), strengths, opening, rng)


def play_games(selfplay: SelfPlay, games: int, workers: int = 1) -> Iterator[list[str]]:
    """Give the moves of the games 0 to ``games - 1``, in order, made by ``workers`` processes."""
    play = partial(nth_game, selfplay)
    if workers == 1:
        yield from map(play, range(games))
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap(play, range(games), _CHUNK)
