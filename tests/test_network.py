"""The network on tiny sizes: what it gives, and that no game sees another, nor a ply what comes after it."""

import random
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from model.games import Chess, Game, OpenSpielGame, TokenGame, Xiangqi
from model.network import NextMove, Shape

TINY = Shape(width=12, layers=2, embedding=10, channels=8, blocks=2, summary=4, key=3)
# Moves with source and destination, with a destination, without cells, and without a board.
GAMES = [Chess(), OpenSpielGame("othello"), OpenSpielGame("connect_four"), TokenGame("abcd"), Xiangqi()]
each_game = pytest.mark.parametrize("game", GAMES, ids=lambda game: game.name)


@dataclass
class Inputs:
    """What the network reads of games side by side."""

    tokens: Tensor
    seen: Tensor
    cells: Tensor
    mask: Tensor

    def of(self, mask: Tensor) -> "Inputs":
        """Give the plies of ``mask``, laid out from the left."""
        rows, kept = mask.any(1), mask[self.mask]
        lengths = mask[rows].sum(1)
        laid_out = torch.arange(int(lengths.max())) < lengths[:, None]
        return Inputs(self.tokens[kept], self.seen[kept], self.cells[kept], laid_out)


def make_network(game: Game) -> NextMove:
    """Give a network whose every parameter matters: some begin at zero."""
    torch.manual_seed(0)
    network = NextMove(game, TINY)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return network


def make_inputs(game: Game, lengths: list[int]) -> Inputs:
    rng, tokens, seen, cells = random.Random(0), list[int](), list[list[int]](), list[list[int]]()
    for length in lengths:
        position, before = game.new_position(), game.vocabulary.start
        context = [rng.randrange(field.size) for field in game.context]
        for _ in range(length):
            tokens.append(before)
            seen.append(game.seen(context, position.player))
            cells.append(list(position.cells()))
            before = rng.choice(position.legal() or range(len(game.vocabulary)))
            position.play(before)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    plies = len(tokens)
    return Inputs(
        torch.tensor(tokens),
        torch.tensor(seen, dtype=torch.int64).reshape(plies, -1),
        torch.tensor(cells, dtype=torch.int64).reshape(plies, -1),
        mask,
    )


def score(
    network: NextMove, inputs: Inputs, state: tuple[Tensor, ...] | None = None
) -> tuple[Tensor, tuple[Tensor, ...]]:
    with torch.no_grad():
        return network(inputs.tokens, inputs.seen, inputs.cells, inputs.mask, state)


@each_game
def test_every_ply_has_a_finite_score_for_every_move(game: Game) -> None:
    scores, state = score(make_network(game), make_inputs(game, [5, 2, 3]))
    assert scores.shape == (10, len(game.vocabulary))
    assert scores.dtype == torch.float32
    assert scores.isfinite().all()
    assert scores.std() > 0
    assert [tensor.shape for tensor in state] == [(TINY.layers, 3, TINY.width)] * 2


@each_game
def test_a_game_has_the_same_scores_alone_as_beside_others(game: Game) -> None:
    network, inputs = make_network(game), make_inputs(game, [3, 7, 1, 5])
    together, _ = score(network, inputs)
    for row in range(4):
        alone = torch.zeros_like(inputs.mask)
        alone[row] = inputs.mask[row]
        scores, _ = score(network, inputs.of(alone))
        torch.testing.assert_close(scores, together[alone[inputs.mask]], rtol=0, atol=1e-5)


@each_game
def test_two_passes_that_hand_on_the_state_give_the_scores_of_one(game: Game) -> None:
    network, inputs = make_network(game), make_inputs(game, [8, 8, 8])
    whole, after = score(network, inputs)
    early = torch.arange(8).expand(3, 8) < 5
    first, state = score(network, inputs.of(early))
    second, end = score(network, inputs.of(~early), state)
    torch.testing.assert_close(first, whole[early.flatten()], rtol=0, atol=1e-5)
    torch.testing.assert_close(second, whole[~early.flatten()], rtol=0, atol=1e-5)
    torch.testing.assert_close(end, after, rtol=0, atol=1e-5)
    forgotten, _ = score(network, inputs.of(~early))
    assert (forgotten - second).abs().max() > 1e-3


@each_game
def test_no_ply_sees_what_comes_after_it(game: Game) -> None:
    network, inputs = make_network(game), make_inputs(game, [8])
    before, _ = score(network, inputs)
    inputs.tokens[5:] = 0
    inputs.cells[5:] = 0
    after, _ = score(network, inputs)
    assert torch.equal(before[:5], after[:5])
    assert (before[5:] - after[5:]).abs().max() > 1e-3


@each_game
def test_the_loss_reaches_every_parameter(game: Game) -> None:
    network, inputs = make_network(game), make_inputs(game, [12, 9])
    scores, _ = network(inputs.tokens, inputs.seen, inputs.cells, inputs.mask)
    scores.logsumexp(1).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@each_game
def test_context_and_board_change_the_scores(game: Game) -> None:
    network, inputs = make_network(game), make_inputs(game, [4])
    before, _ = score(network, inputs)
    for part in (inputs.seen, inputs.cells):
        if part.numel():
            kept = part.clone()
            part[:] = 1 - part.clamp(0, 1)
            assert (score(network, inputs)[0] - before).abs().max() > 1e-3
            part[:] = kept


def test_more_plies_than_the_convolutions_take_at_a_time_are_scored_alike() -> None:
    game = GAMES[2]
    network, inputs = make_network(game), make_inputs(game, [7] * 80)
    scores, _ = score(network, inputs)
    last = torch.zeros_like(inputs.mask)
    last[-1] = True
    torch.testing.assert_close(scores[-7:], score(network, inputs.of(last))[0], rtol=0, atol=1e-5)


def test_a_move_without_cells_has_no_score_of_cells() -> None:
    network = make_network(GAMES[1])
    features, memory = torch.randn(5, TINY.channels, 8, 8), torch.randn(5, TINY.width)
    scores = network.head(features, memory)
    assert scores.shape == (5, 65)
    assert scores[:, :64].abs().min() > 0
    assert torch.equal(scores[:, 64], torch.zeros(5))


def test_a_new_chess_network_has_its_scores_from_the_cells_and_remembers_long() -> None:
    network = NextMove(GAMES[0], TINY)
    assert not network.linear.weight.any()
    assert torch.equal(network.cell.stack.bias_ih_l0[TINY.width : 2 * TINY.width], torch.ones(TINY.width))
