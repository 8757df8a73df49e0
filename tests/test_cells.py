"""Every cell of the registry, and so any that is added: exported, served, the same bits in any batch."""

from dataclasses import replace

import pytest

from model.artifact import Artifact
from model.cells import CELLS, make_cell
from model.games import Chess, Game, TokenGame
from service.engine import Engine, Input
from tests.serving import COLOURS, TINY, random_game, write_artifact

GAMES: dict[str, Game] = {"chess": Chess(), "colours": TokenGame(COLOURS)}
ROWS, PLIES = 33, 9


@pytest.fixture(scope="module", params=[(kind, game) for kind in CELLS for game in GAMES], ids="-".join)
def artifacts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """A two-layer network with one of the cells, in both precisions.

    Export compares whole games of the graph with the network in float64, and refuses a difference of 1e-4.
    """
    kind, game = request.param
    folder, shape = tmp_path_factory.mktemp(kind), replace(TINY, cell=kind, layers=2)
    return {
        precision: write_artifact(folder / precision / "1", GAMES[game], precision, shape=shape)
        for precision in ("fp32", "int8")
    }


@pytest.fixture(params=["fp32", "int8"])
def artifact(request: pytest.FixtureRequest, artifacts: dict[str, Artifact]) -> Artifact:
    return artifacts[request.param]


def inputs_of(game: Game, row: int) -> list[Input]:
    """What the engine reads along a random game."""
    position, context = game.new_position(), [0] * len(game.context)
    inputs = [Input(game.vocabulary.start, game.seen(context, 0), position.cells())]
    for move in random_game(game, row, PLIES):
        move_id = position.find(move)
        position.play(move_id)
        inputs.append(Input(move_id, game.seen(context, position.player), position.cells()))
    return inputs


def play(engine: Engine, games: list[list[Input]]) -> list[tuple[bytes, bytes]]:
    """Step through games side by side; give the bytes of every score of each game, and its state in the end."""
    states, scores = [engine.initial] * len(games), [b""] * len(games)
    for inputs in zip(*games, strict=True):
        logits, states = engine.step(inputs, states)
        scores = [said + row.tobytes() for said, row in zip(scores, logits, strict=True)]
    return list(zip(scores, states, strict=True))


def test_graph_and_network_agree(artifact: Artifact) -> None:
    parity = artifact.manifest.parity
    assert parity["largest_difference"] <= 1e-4
    assert parity[artifact.manifest.precision]["nll"] == pytest.approx(parity["fp32"]["nll"], rel=0.05)


def test_the_manifest_names_the_cell_and_its_gates(artifact: Artifact) -> None:
    manifest = artifact.manifest
    assert manifest.cell == manifest.network["cell"]
    assert {gate.layer for gate in manifest.gates} == {0, 1}


def test_a_game_alone_and_in_any_batch_has_the_same_bits(artifact: Artifact) -> None:
    engine = Engine(artifact)
    games = [inputs_of(artifact.game, row) for row in range(ROWS)]
    alone = [play(engine, [game])[0] for game in games]
    assert len(set(alone)) > ROWS / 2
    for size in (2, 8, 31, ROWS):
        assert play(engine, games[:size]) == alone[:size], f"in a batch of {size}"
        assert play(engine, games[-size:]) == alone[-size:], f"in another batch of {size}"


def test_it_remembers(artifact: Artifact) -> None:
    """Games that differ in their first move alone: what is read after it differs in nothing but the state."""
    engine, (start, first, second, *_) = Engine(artifact), inputs_of(artifact.game, 0)
    moves, said = len(artifact.game.vocabulary), set[bytes]()
    for shift in range(4):
        other = first._replace(token=(first.token + shift) % moves)
        scores, _ = play(engine, [[start, other, second]])[0]
        said.add(scores[-4 * moves :])
    assert len(said) > 1


def test_a_kind_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(ValueError, match="there is no cell 'transformer'; there are rnn, lstm, gru, "):
        make_cell("transformer", 2, 2, 1)
