"""Chess against python-chess, games of OpenSpiel on random playouts, and token sequences."""

import pickle
import random
import re
from collections.abc import Callable, Iterator

import chess
import numpy as np
import pyspiel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.games import Chess, Game, IllegalMove, OpenSpielGame, Position, TokenGame, Xiangqi, load_game

CHESS = Chess()
OPENSPIEL = {name: OpenSpielGame(name) for name in ("othello", "connect_four", "breakthrough", "tic_tac_toe")}


def after(*moves: str, game: Game = CHESS) -> Position:
    """Play moves in any notation."""
    position = game.new_position()
    for move in moves:
        position.play(position.find(move))
    return position


def written(position: Position) -> dict[str, int]:
    """Give the legal moves by their canonical form."""
    return {position.notation(index).move: index for index in position.legal() or ()}


def expected_cells(board: chess.Board) -> bytes:
    """Say with python-chess what the cells hold, from the side to move."""
    flip = 0 if board.turn else 56
    cells = bytearray(64)
    for square, piece in board.piece_map().items():
        cells[square ^ flip] = piece.piece_type + (0 if piece.color == board.turn else 6)
    for square in chess.SquareSet(board.clean_castling_rights()):
        cells[square ^ flip] = 13 if board.color_at(square) == board.turn else 14
    if board.has_pseudo_legal_en_passant():
        cells[board.ep_square ^ flip] = 15
    if board.move_stack:
        last = board.peek()
        cells[last.from_square ^ flip] = 16
        cells[last.to_square ^ flip] = 16 + board.piece_type_at(last.to_square)
    return bytes(cells)


def is_special(board: chess.Board, move: chess.Move) -> bool:
    """Say whether a move is one that plain chance seldom brings."""
    pawn = board.piece_type_at(move.from_square) == chess.PAWN
    advanced = pawn and chess.square_rank(move.to_square) in (0, 1, 6, 7)
    return advanced or board.is_castling(move) or board.is_en_passant(move) or board.gives_check(move)


def random_game(
    seed: int, plies: int, liked: Callable[[chess.Board, chess.Move], bool] = is_special
) -> Iterator[tuple[chess.Board, Position]]:
    """Give each position of a random game in which every other move is a ``liked`` one, if there is one."""
    rng, board, position = random.Random(seed), chess.Board(), CHESS.new_position()
    yield board, position
    while board.ply() < plies and not is_over(board):
        legal = list(board.legal_moves)
        special = [move for move in legal if liked(board, move)]
        move = rng.choice(special if special and rng.random() < 0.5 else legal)
        board.push(move)
        position.play(position.find(move.uci()))
        yield board, position


def is_over(board: chess.Board) -> bool:
    """Say whether nothing can be played, or nobody can win."""
    return not any(board.legal_moves) or board.is_insufficient_material()


# Chess against python-chess


@pytest.mark.parametrize("seed", range(20))
def test_each_ply_of_a_random_chess_game_is_as_python_chess_says(seed: int) -> None:
    for board, position in random_game(seed, plies=120):
        assert (position.ply, position.player) == (board.ply(), 0 if board.turn else 1)
        assert position.cells() == expected_cells(board)
        ids, flip = written(position), 0 if board.turn else 56
        assert set(ids) == (set() if is_over(board) else {move.uci() for move in board.legal_moves})
        for uci, index in ids.items():
            move = chess.Move.from_uci(uci)
            assert position.notation(index).san == board.san(move)
            assert CHESS.move_cells[index].tolist() == [move.from_square ^ flip, move.to_square ^ flip]


@pytest.mark.parametrize("seed", range(100, 108))
def test_each_legal_chess_move_is_found_by_its_uci_and_by_its_san(seed: int) -> None:
    for board, position in random_game(seed, plies=100):
        for uci, index in written(position).items():
            san = board.san(chess.Move.from_uci(uci))
            assert position.find(uci) == position.find(san) == position.find(san.rstrip("+#") + "!?") == index


def test_random_chess_games_reach_every_code_of_a_cell() -> None:
    codes = {code for seed in range(12) for _, position in random_game(seed, plies=150) for code in position.cells()}
    assert codes == set(range(CHESS.grid.codes))


def test_a_chess_game_is_over_when_nobody_can_win() -> None:
    for seed in range(5):
        *_, (board, position) = random_game(seed, 600, chess.Board.is_capture)
        assert board.is_insufficient_material()
        assert position.legal() == []
        with pytest.raises(IllegalMove, match="the game is over"):
            position.find(next(iter(board.legal_moves)).uci())


def test_the_chess_vocabulary_is_all_that_queens_knights_promoting_pawns_and_castling_kings_can_do() -> None:
    expected = {"O-O", "O-O-O"}
    for square in chess.SQUARES:
        for piece in (chess.QUEEN, chess.KNIGHT):
            board = chess.Board(None)
            board.set_piece_at(square, chess.Piece(piece, chess.WHITE))
            expected |= {chess.SQUARE_NAMES[square] + chess.SQUARE_NAMES[to] for to in board.attacks(square)}
    for file in range(8):
        for to in {max(file - 1, 0), file, min(file + 1, 7)}:
            expected |= {f"{chess.FILE_NAMES[file]}7{chess.FILE_NAMES[to]}8{piece}" for piece in "rbn"}
    assert len(expected) == len(CHESS.vocabulary) == 1860
    assert set(CHESS.vocabulary.names) == expected


@pytest.mark.parametrize("seed", range(3))
def test_a_position_with_the_colours_changed_has_the_same_ids_and_cells(seed: int) -> None:
    rng = random.Random(seed)
    one, other = after("e4", "e5"), after("e3", "e5", "e4")
    for ply in range(60):
        assert one.player != other.player
        legal = one.legal()
        assert sorted(legal) == sorted(other.legal())
        for index in legal:
            mirrored = chess.Move.from_uci(one.notation(index).move)
            mirrored.from_square, mirrored.to_square = mirrored.from_square ^ 56, mirrored.to_square ^ 56
            assert other.notation(index).move == mirrored.uci()
        if ply:
            assert one.cells() == other.cells()
        if not legal:
            break
        move = rng.choice(legal)
        one.play(move)
        other.play(move)


# Chess by hand


def test_a_pawn_promotes_to_each_piece_in_every_spelling() -> None:
    position = after("h4", "g5", "hxg5", "h6", "gxh6", "Nc6", "h7", "a6")
    found = [
        {position.find(spelling) for spelling in (f"hxg8={piece}", f"hxg8{piece}", f"h7xg8={piece}", f"h7g8{small}")}
        for piece, small in zip("QRBN", "qrbn", strict=True)
    ]
    assert [len(ids) for ids in found] == [1] * 4
    assert len(set.union(*found)) == 4


@pytest.mark.parametrize("move", ["hxg8", "h7g8", "hxg8=K", "h7g8k", "e2e4q", "e4=Q"])
def test_a_promotion_must_name_a_piece_and_only_a_promotion_may(move: str) -> None:
    with pytest.raises(IllegalMove, match=r"not legal here|neither UCI"):
        after("h4", "g5", "hxg5", "h6", "gxh6", "Nc6", "h7", "a6").find(move)


@pytest.mark.parametrize(
    ("moves", "spellings", "uci"),
    [
        (["e4", "a6", "e5", "d5"], ["exd6", "e5d6", "ed6", "e5xd6"], "e5d6"),
        (["a3", "e5", "a4", "e4", "d4"], ["exd3", "e4d3"], "e4d3"),
        (["Nf3", "Nf6", "g3", "g6", "Bg2", "Bg7"], ["O-O", "0-0", "e1g1", "O-O!"], "e1g1"),
        (["Nf3", "Nf6", "g3", "g6", "Bg2", "Bg7", "O-O"], ["O-O", "0-0", "e8g8"], "e8g8"),
        (["d4", "d5", "Nc3", "Nc6", "Bf4", "Bf5", "Qd2", "Qd7"], ["O-O-O", "0-0-0", "e1c1"], "e1c1"),
        (["d4", "d5", "Nc3", "Nc6", "Bf4", "Bf5", "Qd2", "Qd7", "a3"], ["O-O-O", "0-0-0", "e8c8"], "e8c8"),
        (["d4", "d5", "Nf3", "Nf6"], ["Nbd2", "b1d2", "Nb1d2", "N1d2", "Nb1-d2"], "b1d2"),
        (["f3", "e5", "g4"], ["Qh4#", "Qh4", "Qh4+", "Qd8h4", "d8h4", "Qh4#!!"], "d8h4"),
    ],
)
def test_a_chess_move_is_found_in_each_of_its_spellings(moves: list[str], spellings: list[str], uci: str) -> None:
    position = after(*moves)
    for spelling in spellings:
        assert position.notation(position.find(spelling)).move == uci


@pytest.mark.parametrize(
    ("moves", "move", "said"),
    [
        (["d4", "d5", "Nf3", "Nf6"], "Nd2", "'Nd2' is ambiguous: .*(b1d2 or f3d2|f3d2 or b1d2)"),
        (["d4", "d5", "Nf3", "Nf6"], "Nfb1", "'Nfb1' is not legal here"),
        ([], "e2e5", "'e2e5' is not legal here"),
        ([], "e7e5", "'e7e5' is not legal here"),
        ([], "O-O", "'O-O' is not legal here"),
        (["e4", "a6", "e5", "d5", "a3", "a5"], "exd6", "'exd6' is not legal here"),
        ([], "knight to f3", "'knight to f3' is neither UCI .* nor SAN"),
        ([], "", "'' is neither UCI"),
        ([], "e9", "'e9' is neither UCI"),
        ([], "e4 " * 1000, r"^.{0,80}$"),
        ([], "٣e4", "is neither UCI"),
        (["f3", "e5", "g4", "Qh4#"], "e4", "'e4' cannot be played: the game is over"),
        (["f3", "e5", "g4", "Qh4#"], "nonsense", "the game is over"),
    ],
)
def test_a_chess_move_that_cannot_be_played_is_refused_with_the_reason(moves: list[str], move: str, said: str) -> None:
    with pytest.raises(IllegalMove, match=said):
        after(*moves).find(move)


def test_castling_away_a_check_and_across_an_attack_is_refused() -> None:
    checked = after("e4", "e5", "Nf3", "d6", "Bb5+", "c6", "Bxc6+", "bxc6", "d4", "Qa5+")
    attacked = after("e4", "b6", "Nf3", "Ba6", "g3", "e6", "Bh3", "Nc6", "d4", "h6")
    for position in (checked, attacked):
        with pytest.raises(IllegalMove, match="not legal"):
            position.find("O-O")


def test_a_chess_game_goes_on_after_a_fifth_repetition() -> None:
    board, position = chess.Board(), CHESS.new_position()
    for san in ["Nf3", "Nf6", "Ng1", "Ng8"] * 5:
        board.push_san(san)
        position.play(position.find(san))
        assert set(written(position)) == {move.uci() for move in board.legal_moves}
        assert position.cells() == expected_cells(board)
    assert board.is_fivefold_repetition()
    assert position.notation(position.find("e4")).san == "e4"


def test_a_chess_game_goes_on_after_seventy_five_quiet_moves_without_a_repetition() -> None:
    rng, board, position = random.Random(1), chess.Board(), CHESS.new_position()
    for san in ("e4", "e5"):
        board.push_san(san)
        position.play(position.find(san))
    while board.halfmove_clock < 160:
        quiet = [move for move in board.legal_moves if not board.is_zeroing(move)]
        for move in rng.sample(quiet, len(quiet)):
            board.push(move)
            if not board.is_repetition(2) and any(not board.is_zeroing(move) for move in board.legal_moves):
                break
            board.pop()
        position.play(position.find(board.peek().uci()))
        assert set(written(position)) == {move.uci() for move in board.legal_moves}
        assert position.cells() == expected_cells(board)
    assert board.is_seventyfive_moves()


def test_chess_context_is_seen_from_the_side_to_move() -> None:
    assert CHESS.seen([5, 9, 3], 0) == [5, 9, 3, 0]
    assert CHESS.seen([5, 9, 3], 1) == [9, 5, 3, 1]
    assert CHESS.seen_sizes == (25, 25, 6, 2)


# Games of OpenSpiel


@settings(deadline=None, max_examples=8)
@given(choices=st.lists(st.integers(0, 2**16), min_size=20, max_size=90))
@pytest.mark.parametrize("name", OPENSPIEL)
def test_every_ply_of_an_openspiel_game_can_be_written_and_found(name: str, choices: list[int]) -> None:
    game = OPENSPIEL[name]
    position = game.new_position()
    for ply, choice in enumerate(choices):
        legal = position.legal()
        assert position.ply == ply
        assert len(position.cells()) == game.grid.cells
        assert max(position.cells()) < game.grid.codes
        assert position.player in (0, 1)
        assert all(0 <= index < len(game.vocabulary) for index in legal)
        for index in legal:
            assert position.find(position.notation(index).move) == index
            assert position.notation(index).san is None
        if not legal:
            break
        position.play(legal[choice % len(legal)])


@pytest.mark.parametrize("name", OPENSPIEL)
def test_an_openspiel_game_that_is_over_has_no_legal_moves_and_says_so(name: str) -> None:
    rng, position = random.Random(2), OPENSPIEL[name].new_position()
    while legal := position.legal():
        move = position.notation(index := rng.choice(legal)).move
        position.play(index)
    with pytest.raises(IllegalMove, match="the game is over"):
        position.find(move)
    assert len(position.cells()) == OPENSPIEL[name].grid.cells


def test_an_openspiel_board_tells_the_stones_of_both_players_apart() -> None:
    position = after("x(1,1)", "o(0,0)", game=OPENSPIEL["tic_tac_toe"])
    cells = position.cells()
    assert len({cells[0], cells[4], cells[1]}) == 3
    assert len(set(cells)) == 3


@pytest.mark.parametrize(
    ("name", "letters", "row"),
    [
        ("othello", "xo", r"^\d .*"),
        ("connect_four", "xo", r"^[xo.]+$"),
        ("tic_tac_toe", "xo", r"^[xo.]+$"),
        ("breakthrough", "bw", r"^\d[bw.]+$"),
        ("go", "XO", r"^ ?\d+ [XO+]+$"),
    ],
)
def test_a_player_sees_own_and_other_stones_in_the_same_bits_whoever_it_is(name: str, letters: str, row: str) -> None:
    game, rng = OpenSpielGame(name), random.Random(4)
    state, position = pyspiel.load_game(name).new_initial_state(), game.new_position()
    own = theirs = set(range(game.grid.codes.bit_length() - 1))
    for _ in range(80):
        action = rng.choice(position.legal())
        state.apply_action(action)
        position.play(action)
        if not position.legal():
            break
        board = "".join(re.findall(row, str(state), re.MULTILINE))
        mine, other = (board.count(letter) for letter in (letters[position.player], letters[1 - position.player]))
        stones = {bit: sum(code >> bit & 1 for code in position.cells()) for bit in own | theirs}
        own = {bit for bit in own if stones[bit] == mine}
        theirs = {bit for bit in theirs if stones[bit] == other}
    assert len(own) == len(theirs) == 1
    assert own != theirs


def test_the_cell_of_the_last_move_is_marked_until_the_next_one_and_a_pass_marks_none() -> None:
    for name in ("othello", "tic_tac_toe", "go"):
        game, rng = OpenSpielGame(name), random.Random(9)
        position, mark = game.new_position(), game.grid.codes // 2
        assert not any(code & mark for code in position.cells())
        for _ in range(70):
            if not (legal := position.legal()):
                break
            position.play(index := rng.choice(legal))
            marked = [cell for cell, code in enumerate(position.cells()) if code & mark]
            assert marked == ([index] if index < game.grid.cells else [])


def test_a_board_of_many_planes_has_the_number_of_a_cell_s_piece_as_its_code() -> None:
    game, rng, state = OpenSpielGame("hex"), random.Random(3), pyspiel.load_game("hex").new_initial_state()
    position = game.new_position()
    for _ in range(60):
        planes = np.array(state.observation_tensor(position.player)).reshape(-1, 121)
        assert game.grid.codes == len(planes) + 1
        assert [code - 1 for code in position.cells()] == [int(plane) for plane in planes.T.nonzero()[1]]
        action = rng.choice(position.legal())
        state.apply_action(action)
        position.play(action)


def test_an_unknown_openspiel_move_is_refused_with_some_that_are_legal() -> None:
    with pytest.raises(IllegalMove, match=r"'o\(1,1\)' is not legal here: legal are x\(0,0\), .* …$"):
        OPENSPIEL["tic_tac_toe"].new_position().find("o(1,1)")
    with pytest.raises(IllegalMove, match=r"legal are x0, x1, x2, x3, x4, x5, x6$"):
        OPENSPIEL["connect_four"].new_position().find("x7")


def test_moves_have_cells_where_an_action_is_a_cell() -> None:
    assert OPENSPIEL["breakthrough"].move_cells is None
    assert OPENSPIEL["connect_four"].move_cells is None
    assert OPENSPIEL["tic_tac_toe"].move_cells.tolist() == [[-1, cell] for cell in range(9)]
    assert OPENSPIEL["othello"].move_cells.tolist() == [[-1, cell] for cell in range(64)] + [[-1, -1]]


@pytest.mark.parametrize("name", ["backgammon", "kuhn_poker", "leduc_poker", "phantom_ttt", "matrix_rps", "catch"])
def test_a_game_with_chance_hidden_information_or_other_players_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' cannot be served: only two-player games in turns, without chance"):
        load_game({"name": name})


@pytest.mark.parametrize("description", [{"name": "nonesuch"}, {"name": "misere"}, {"name": "nfg_game"}, {}])
def test_an_unknown_game_is_refused_with_the_names_there_are(description: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"no game is named .*: chess, tokens, or a name that OpenSpiel knows"):
        load_game(description)


# Token sequences


def test_a_token_sequence_goes_anywhere_in_its_vocabulary() -> None:
    game = TokenGame(["open", "read", "close"])
    position = after("read", "read", "close", game=game)
    assert (position.ply, position.player, position.legal(), position.cells()) == (3, 0, None, b"")
    assert [position.notation(index).move for index in range(3)] == ["open", "read", "close"]
    assert game.seen([], 0) == []
    with pytest.raises(IllegalMove, match="'write' is not in the vocabulary of 3 moves"):
        position.find("write")


# All games


@pytest.mark.parametrize("game", [CHESS, Xiangqi(), TokenGame("abc"), *OPENSPIEL.values()], ids=lambda game: game.name)
def test_a_game_is_made_again_from_its_description_and_for_another_process(game: Game) -> None:
    for again in (load_game(game.describe(), game.vocabulary.names), pickle.loads(pickle.dumps(game))):
        assert type(again) is type(game)
        assert (again.name, again.vocabulary, again.grid, again.seen_sizes) == (
            game.name,
            game.vocabulary,
            game.grid,
            game.seen_sizes,
        )
        assert np.array_equal(again.move_cells, game.move_cells)
        assert again.new_position().cells() == game.new_position().cells()


@pytest.mark.parametrize("game", [CHESS, Xiangqi(), TokenGame("abc"), *OPENSPIEL.values()], ids=lambda game: game.name)
def test_a_copied_position_is_played_on_alone(game: Game) -> None:
    position = game.new_position()
    twin, cells, legal = position.copy(), position.cells(), position.legal()
    for ply in range(1, 4):
        twin.play((twin.legal() or [0])[0])
        assert (twin.ply, position.ply) == (ply, 0)
        assert (position.cells(), position.legal()) == (cells, legal)
        assert (twin.copy().cells(), twin.copy().legal()) == (twin.cells(), twin.legal())
