"""The network: reads moves, context and boards and gives a score for every move of the vocabulary at every ply."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.blocks import make_block
from model.cells import State, make_cell
from model.games import Game

# Boards that go through the convolutions at a time: so many fit the caches of a processor.
_CHUNK = 256

# No score is lower: e⁻⁵⁰ is out of the question, and the further scores run off (illegal moves reach −150), the fewer
# digits float32 has left for graph and network to agree in.
FLOOR = -50.0


@dataclass(frozen=True)
class Shape:
    """The cell and the sizes of a network."""

    cell: str = "lstm"
    width: int = 384
    layers: int = 1
    embedding: int = 256
    channels: int = 64
    block: str = "residual"
    """A kind of `BLOCKS`."""
    blocks: int = 3
    summary: int = 8
    """Channels of each cell that the memory sees."""
    key: int = 32
    """Channels in which a source cell and a destination cell meet."""


class Tables(nn.Module):
    """The sum of one learnt vector per context id, for any number of context fields."""

    def __init__(self, sizes: tuple[int, ...], width: int) -> None:
        """Make one table per field."""
        super().__init__()
        tables = [nn.Embedding(size, width) for size in sizes]
        for table in tables:
            nn.init.normal_(table.weight, std=0.1)
        self.tables = nn.ModuleList(tables)
        self.width = width

    def forward(self, seen: Tensor) -> Tensor:
        """``int64 [..., fields]`` to ``[..., width]``."""
        total = torch.zeros(*seen.shape[:-1], self.width)
        for field, table in enumerate(self.tables):
            total = total + table(seen[..., field])
        return total


class BoardEncoder(nn.Module):
    """Reads the codes of the cells and the context and gives features of every cell."""

    def __init__(self, game: Game, shape: Shape) -> None:
        """Make the tables of codes, of places and of context, and the blocks."""
        super().__init__()
        assert game.grid is not None
        self.grid = game.grid
        self.codes = nn.Embedding(game.grid.codes, shape.channels)
        self.places = nn.Parameter(torch.randn(game.grid.cells, shape.channels) * 0.1)
        self.context = Tables(game.seen_sizes, shape.channels)
        self.entry = nn.Conv2d(shape.channels, shape.channels, 3, padding=1)
        self.blocks = nn.Sequential(*(make_block(shape.block, shape.channels) for _ in range(shape.blocks)))
        nn.init.normal_(self.codes.weight, std=0.5)

    def forward(self, cells: Tensor, seen: Tensor) -> Tensor:
        """``int64 [N, cells]`` and ``int64 [N, fields]`` to ``[N, channels, rows, columns]``."""
        features = functional.relu(self.codes(cells) + self.places + self.context(seen)[:, None])
        features = features.transpose(1, 2).unflatten(2, (self.grid.rows, self.grid.columns))
        features = features.contiguous(memory_format=torch.channels_last)
        encoded: Tensor = self.blocks(functional.relu(self.entry(features)))
        return encoded


class MoveHead(nn.Module):
    """Scores a move by its source and destination cells, each seen together with the memory.

    score(s → d) = q(s) · k(d) / √key, where q and k are linear in relu(A features(cell) + B memory).
    A game whose moves have a destination alone takes k(d) · w.
    """

    index: Tensor

    def __init__(self, game: Game, shape: Shape) -> None:
        """Find which moves have cells."""
        super().__init__()
        assert game.move_cells is not None
        source, destination = torch.from_numpy(game.move_cells).long().unbind(1)
        self.has_source = bool((source >= 0).any())
        self.key = shape.key
        self.cells = cells = game.grid.cells if game.grid else 0
        # One score more, always zero, stands for moves without cells.
        pair = torch.where(source >= 0, source * cells + destination, cells * cells)
        single = torch.where(destination >= 0, destination, cells)
        self.register_buffer("index", pair if self.has_source else single, persistent=False)
        self.local = nn.Conv2d(shape.channels, shape.channels, 1)
        self.memory = nn.Linear(shape.width, shape.channels, bias=False)
        self.keys = nn.Conv2d(shape.channels, 2 * shape.key if self.has_source else 1, 1)

    def forward(self, features: Tensor, memory: Tensor) -> Tensor:
        """``[N, channels, rows, columns]`` and ``[N, width]`` to ``[N, moves]``."""
        mixed = functional.relu(self.local(features) + self.memory(memory)[:, :, None, None])
        keys: Tensor = self.keys(mixed).flatten(2)
        if self.has_source:
            source, destination = keys.split(self.key, dim=1)
            keys = torch.bmm(source.transpose(1, 2), destination).flatten(1) * self.key**-0.5
        scores = functional.pad(keys.flatten(1), (0, 1))
        chosen: Tensor = scores[:, self.index]
        return chosen


class NextMove(nn.Module):
    """Tokens, context and boards → recurrent memory → a score for every move.

    What is read at a ply: the move just played (or the start), the context, and the board it led to. All scores of a
    game come from one pass; ``state`` carries on where another pass ended.
    """

    def __init__(self, game: Game, shape: Shape) -> None:
        """Make the parts that the game has use for."""
        super().__init__()
        self.shape = shape
        self.tokens = nn.Embedding(len(game.vocabulary) + 1, shape.embedding)
        nn.init.normal_(self.tokens.weight, std=0.1)
        self.context = Tables(game.seen_sizes, shape.embedding)
        self.board = BoardEncoder(game, shape) if game.grid else None
        if game.grid:
            self.summary = nn.Conv2d(shape.channels, shape.summary, 1)
            self.entry = nn.Linear(shape.summary * game.grid.cells, shape.embedding)
        self.cell = make_cell(shape.cell, shape.embedding, shape.width, shape.layers)
        self.linear = nn.Linear(shape.width, len(game.vocabulary))
        self.head = MoveHead(game, shape) if game.grid and game.move_cells is not None else None
        if self.head is not None:
            nn.init.zeros_(self.linear.weight)

    def forward(
        self, tokens: Tensor, seen: Tensor, cells: Tensor, mask: Tensor, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Score N plies of B games, which ``mask`` lays out: row b has its plies in order from the left.

        tokens: int64 [N];  seen: int64 [N, fields];  cells: int64 [N, cells];  mask: bool [B, T] with N True
        Gives float [N, moves], and the state after the last column, which is a game's own only where mask is full.
        """
        features, memory, state = self.read(tokens, seen, cells, mask, state)
        return self.score(features, memory), state

    def read(
        self, tokens: Tensor, seen: Tensor, cells: Tensor, mask: Tensor, state: State | None = None
    ) -> tuple[Tensor | None, Tensor, State]:
        """Read what `forward` does; give the board's ``[N, channels, rows, columns]``, the memory and the state."""
        inputs = self.tokens(tokens) + self.context(seen)
        features = None
        if self.board is not None:
            parts = zip(cells.split(_CHUNK), seen.split(_CHUNK), strict=True)
            features = torch.cat([self.board(*part) for part in parts])
            inputs = inputs + self.entry(functional.relu(self.summary(features)).flatten(1))
        padded = torch.zeros(*mask.shape, inputs.shape[1], dtype=inputs.dtype)
        padded[mask] = functional.relu(inputs)
        outputs, state = self.cell(padded.transpose(0, 1), state)
        return features, outputs.transpose(0, 1)[mask], state

    def score(self, features: Tensor | None, memory: Tensor) -> Tensor:
        """Give float [N, moves] of what `read` gave."""
        scores: Tensor = self.linear(memory)
        if self.head is not None and features is not None:
            scores = scores + self.head(features, memory)
        return scores.clamp(min=FLOOR)
