"""Xiangqi: positions against a plain board of our own, moves against the rules of OpenSpiel, notation by hand."""

import random
from collections.abc import Iterator

import pyspiel
import pytest

from model.games import IllegalMove, Position, Xiangqi

XIANGQI = Xiangqi()
START = "RHEAGAEHR/........./.C.....C./S.S.S.S.S/........./........./s.s.s.s.s/.c.....c./........./rheagaehr"
ROTATED = str.maketrans("abcdefghi0123456789", "ihgfedcba9876543210")
CHINESE = {"S": "兵卒", "C": "炮砲", "R": "車俥", "H": "馬傌", "E": "相象", "A": "仕士", "G": "帥將"}

Board = dict[str, str]


def first_board() -> Board:
    """Give the pieces by their coordinates, Red's in capitals."""
    ranks = START.split("/")
    return {f"{'abcdefghi'[file]}{rank}": ranks[rank][file] for rank in range(10) for file in range(9)}


def after(*moves: str) -> Position:
    """Play moves in any notation."""
    position = XIANGQI.new_position()
    for move in moves:
        position.play(position.find(move))
    return position


def random_game(seed: int, plies: int) -> Iterator[tuple[Board, str, pyspiel.State, Position]]:
    """Give each position of a random game: as a board, with the last move, as OpenSpiel's state, and ours."""
    rng, board, last = random.Random(seed), first_board(), ""
    state, position = pyspiel.load_game("xiangqi").new_initial_state(), XIANGQI.new_position()
    yield board, last, state, position
    while position.ply < plies and (legal := position.legal()):
        captures = [index for index in legal if board[position.notation(index).move[2:]] != "."]
        index = rng.choice(captures if captures and rng.random() < 0.2 else legal)
        last = position.notation(index).move
        state.apply_action(action_of(last))
        board[last[2:]], board[last[:2]] = board[last[:2]], "."
        position.play(index)
        yield board, last, state, position


def action_of(move: str) -> int:
    """Give OpenSpiel's number of a move: 90 × source + destination, cells by rows from Black's side."""
    source, destination = ((9 - int(cell[1])) * 9 + "abcdefghi".index(cell[0]) for cell in (move[:2], move[2:]))
    return source * 90 + destination


def seen_by(player: int, cell: str) -> int:
    """Give the place of a cell: by ranks from the player's own, each from the player's right hand."""
    file, rank = "abcdefghi".index(cell[0]), int(cell[1])
    return (9 - rank) * 9 + file if player else rank * 9 + 8 - file


def expected_cells(board: Board, last: str, player: int) -> bytes:
    """Say what the cells hold, from the side to move."""
    cells = bytearray(90)
    for cell, piece in board.items():
        if piece != ".":
            own = piece.isupper() == (player == 0)
            cells[seen_by(player, cell)] = 1 + "SCRHEAG".index(piece.upper()) + (0 if own else 7)
    if last:
        cells[seen_by(player, last[:2])] = 15
        cells[seen_by(player, last[2:])] += 8
    return bytes(cells)


def in_chinese(board: Board, move: str, player: int) -> str:
    """Write a move as a Chinese book would: the red side in Chinese numerals, the black one in wide digits."""
    digits = "１２３４５６７８９" if player else "一二三四五六七八九"
    piece = board[move[:2]]
    (rank, file), (to_rank, to_file) = (divmod(seen_by(player, cell), 9) for cell in (move[:2], move[2:]))
    line = sorted(
        (seen_by(player, cell) // 9 for cell, other in board.items() if other == piece and cell[0] == move[0]),
        reverse=True,
    )
    name = CHINESE[piece.upper()][player]
    subject = name + digits[file]
    if len(line) > 1 and piece.upper() not in "EA":
        order = {2: "前後", 3: "前中後"}.get(len(line), "一二三四五")
        subject = order[line.index(rank)] + name
    direction = "平" if rank == to_rank else "進" if to_rank > rank else "退"
    goes_straight = piece.upper() in "SCRG" and rank != to_rank
    return subject + direction + digits[abs(to_rank - rank) - 1 if goes_straight else to_file]


# Against the plain board and OpenSpiel


@pytest.mark.parametrize("seed", range(8))
def test_each_ply_of_a_random_game_has_the_cells_and_the_moves_it_should(seed: int) -> None:
    for ply, (board, last, state, position) in enumerate(random_game(seed, plies=150)):
        assert (position.ply, position.player) == (ply, ply % 2)
        assert position.cells() == expected_cells(board, last, position.player)
        written = {position.notation(index).move: index for index in position.legal()}
        assert sorted(map(action_of, written)) == sorted(state.legal_actions())
        for move, index in written.items():
            cells = [seen_by(position.player, move[:2]), seen_by(position.player, move[2:])]
            assert XIANGQI.move_cells[index].tolist() == cells
            assert position.find(move) == position.find(f"{move[:2]}-{move[2:]}".upper()) == index
            assert position.notation(index).san is None


@pytest.mark.parametrize("seed", range(20, 28))
def test_each_legal_move_is_found_by_its_chinese_notation(seed: int) -> None:
    for board, _, _, position in random_game(seed, plies=120):
        by_name: dict[str, set[int]] = {}
        for index in position.legal():
            name = in_chinese(board, position.notation(index).move, position.player)
            by_name.setdefault(name, set()).add(index)
        for name, indices in by_name.items():
            if len(indices) == 1:
                assert position.find(name) in indices
            else:
                with pytest.raises(IllegalMove, match="is ambiguous"):
                    position.find(name)


def test_random_games_reach_every_code_of_a_cell() -> None:
    codes = {code for seed in range(6) for *_, position in random_game(seed, 200) for code in position.cells()}
    assert codes == set(range(XIANGQI.grid.codes))


def test_the_vocabulary_is_all_lines_and_horse_jumps_and_the_diagonals_of_advisors_and_elephants() -> None:
    lines, jumps, elephants, advisors = 90 * (8 + 9), 4 * (8 * 8 + 9 * 7), 16, 8
    assert len(XIANGQI.vocabulary) == len(set(XIANGQI.vocabulary.names)) == lines + jumps + elephants + advisors == 2062


def test_a_position_with_the_colours_changed_has_the_same_ids_and_cells() -> None:
    rng = random.Random(5)
    one, other = after("炮八進二", "炮８進２"), after("炮八進一", "炮８進２", "炮八進一")
    for ply in range(100):
        assert one.player != other.player
        legal = one.legal()
        assert sorted(legal) == sorted(other.legal())
        for index in legal:
            assert other.notation(index).move == one.notation(index).move.translate(ROTATED)
        if ply:
            assert one.cells() == other.cells()
        if not legal:
            break
        move = rng.choice(legal)
        one.play(move)
        other.play(move)
    assert ply > 20


# By hand

TANDEM = ["炮二進四", "卒１進１", "炮八平二", "卒１進１"]  # two red cannons on file h


@pytest.mark.parametrize(
    ("moves", "spellings", "coordinates"),
    [
        (
            [],
            ["炮二平五", "砲二平五", "炮２平５", "炮2平5", "包二平五", "C2=5", "C2.5", "h2e2", "H2-E2", "h2-e2"],
            "h2e2",
        ),
        ([], ["馬八進七", "马八进七", "傌八進七", "H8+7", "N8+7", "b0c2"], "b0c2"),
        ([], ["車一進一", "车一进一", "俥一進一", "R1+1"], "i0i1"),
        ([], ["相三進五", "象三進五", "E3+5", "B3+5"], "g0e2"),
        ([], ["仕四進五", "士四進五", "A4+5"], "f0e1"),
        ([], ["帥五進一", "帅五进一", "將五進一", "G5+1", "K5+1"], "e0e1"),
        ([], ["兵七進一", "卒七進一", "S7+1", "P7+1"], "c3c4"),
        (["炮二平五"], ["馬８進７", "马8进7", "H8+7"], "h9g7"),
        (["炮二平五"], ["卒７進１", "兵7进1"], "g6g5"),
        (["帥五進一", "卒１進１"], ["帥五退一", "K5-1"], "e1e0"),
        (["馬二進三", "卒１進１"], ["馬三退二", "H3-2"], "g2h0"),
        (TANDEM, ["前炮退一", "前砲退一", "C+-1", "+C-1"], "h6h5"),
        (TANDEM, ["後炮平五", "后炮平五", "C-=5", "-C=5"], "h2e2"),
        (TANDEM, ["前炮平五", "C+.5"], "h6e6"),
    ],
)
def test_a_move_is_found_in_each_of_its_spellings(moves: list[str], spellings: list[str], coordinates: str) -> None:
    position = after(*moves)
    for spelling in spellings:
        assert position.notation(position.find(spelling)).move == coordinates


@pytest.mark.parametrize(
    ("moves", "move", "said"),
    [
        ([], "h2h0", "'h2h0' is not legal here"),
        ([], "h9g7", "'h9g7' is not legal here"),
        ([], "a0a0", "'a0a0' is not legal here"),
        ([], "炮三平五", "'炮三平五' is not legal here"),
        ([], "馬二進四", "is not legal here"),
        ([], "前炮進一", "is not legal here"),
        (TANDEM, "中炮進一", "is not legal here"),
        (TANDEM, "炮二平五", r"is ambiguous: (h2e2 or h6e6|h6e6 or h2e2)$"),
        ([], "e2e", r"'e2e' is neither coordinates \(h2e2\) nor Chinese notation \(炮二平五\)"),
        ([], "h2j2", "is neither"),
        ([], "炮二平", "is neither"),
        ([], "炮〇平五", "is neither"),
        ([], "", "'' is neither"),
        ([], "炮" * 1000, r"^.{0,90}$"),
    ],
)
def test_a_move_that_cannot_be_played_is_refused_with_the_reason(moves: list[str], move: str, said: str) -> None:
    with pytest.raises(IllegalMove, match=said):
        after(*moves).find(move)


@pytest.mark.parametrize(
    ("move", "coordinates"),
    [("前兵平六", "e7d7"), ("中兵平六", "e6d6"), ("後兵平六", "e5d5"), ("一兵平四", "e7f7"), ("三兵平四", "e5f5")],
)
def test_soldiers_on_one_file_are_told_apart_from_the_front(move: str, coordinates: str) -> None:
    soldiers = ["兵五進一"] * 4 + ["兵七進一", "兵七進一", "兵七平六", "兵六平五", "後兵進一"]
    soldiers += ["兵三進一", "兵三進一", "兵三平四", "兵四平五"]
    replies = ["車１進１", "車１退１"] * 7
    position = after(*(each for pair in zip(soldiers, replies, strict=False) for each in pair))
    assert position.notation(position.find(move)).move == coordinates
    with pytest.raises(IllegalMove, match="is ambiguous"):
        position.find("兵五平六")


@pytest.mark.parametrize("move", ["士４進５", "士６進５", "象３進５", "d9e8"])
def test_a_move_that_makes_the_screen_of_a_cannon_before_the_own_general_is_refused(move: str) -> None:
    with pytest.raises(IllegalMove, match="is not legal here"):
        after("炮二平五", "馬８進７", "炮五進四").find(move)


def test_a_game_goes_on_after_repetitions() -> None:
    position = after(*["車一進一", "車１進１", "車一退一", "車１退１"] * 20)
    assert position.cells()[:9] == after().cells()[:9]
    assert len(position.legal()) == len(after().legal())


def test_a_game_is_over_when_the_player_to_move_has_no_move_left() -> None:
    games = (list(random_game(seed, 499))[-1] for seed in range(60))
    position = next(position for _, _, state, position in games if state.is_terminal())
    assert position.legal() == []
    with pytest.raises(IllegalMove, match="'h2e2' cannot be played: the game is over"):
        position.find("h2e2")


def test_a_move_that_is_not_legal_is_written_by_its_coordinates() -> None:
    position = XIANGQI.new_position()
    index = position.find("h2e2")
    position.play(index)
    assert position.notation(index).move == "b7e7"
    position.play(position.find("b7e7"))
    assert position.notation(index).move == "h2e2"
    assert index not in position.legal()
