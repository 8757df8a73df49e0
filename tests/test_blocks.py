"""The blocks of the board encoder, each kind alike: where they begin, and that graph and network are the same."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.blocks import BLOCKS, make_block
from model.games import Chess
from tests.serving import TINY, write_artifact

each_kind = pytest.mark.parametrize("kind", BLOCKS)


@each_kind
def test_a_new_block_changes_nothing(kind: str) -> None:
    features = torch.rand(3, 8, 5, 7)
    assert torch.equal(make_block(kind, 8)(features), features)


@each_kind
def test_a_cell_sees_its_neighbours_and_no_game_sees_another(kind: str) -> None:
    torch.manual_seed(0)
    block = make_block(kind, 8)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    features = torch.rand(2, 8, 8, 8)
    changed = features.clone()
    changed[0, :, 4, 4] += 1
    moved = (block(changed) - block(features)).abs().amax(1)
    assert moved[0, 3:6, 3:6].min() > 0
    assert not moved[0, 7].any()
    assert not moved[1].any()


@each_kind
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_graph_with_it_is_the_network(kind: str, precision: str, tmp_path: Path) -> None:
    artifact = write_artifact(tmp_path / "chess" / "1", Chess(), precision, shape=replace(TINY, block=kind))
    parity = artifact.manifest.parity
    assert parity["largest_difference"] <= 1e-4
    assert parity[precision]["nll"] == pytest.approx(parity["fp32"]["nll"], rel=0.05)
    assert artifact.manifest.network["block"] == kind


def test_a_kind_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(ValueError, match="there is no block 'dense'; there are residual, inverted"):
        make_block("dense", 8)
