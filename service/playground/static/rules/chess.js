/** Moves chess pieces as UCI says, without asking whether they may: the service knows the rules. Cells count from a1. */

/** @typedef {string[]} Board 64 letters as in FEN, "" where nothing stands */

const FIRST = "RNBQKBNR";

/** @returns {Board} */
export function start() {
  const none = Array(32).fill("");
  return [...FIRST, ..."PPPPPPPP", ...none, ..."pppppppp", ...FIRST.toLowerCase()];
}

/** @param {string} square */
const cell = (square) => square.charCodeAt(0) - 97 + 8 * (Number(square[1]) - 1);

/** @param {Board} before @param {string} move @returns {Board} */
export function play(before, move) {
  const board = [...before];
  const from = cell(move.slice(0, 2));
  const to = cell(move.slice(2, 4));
  const piece = board[from];
  const white = piece === piece.toUpperCase();
  const kind = piece.toLowerCase();
  // En passant: a pawn goes to another file where nothing stands, and takes what stands beside it.
  if (kind === "p" && from % 8 !== to % 8 && !board[to]) board[(to % 8) + 8 * Math.floor(from / 8)] = "";
  // Castling: the king goes two files, and the rook of that side to the cell that the king passed.
  if (kind === "k" && Math.abs(from - to) === 2) {
    const rook = to > from ? from + 3 : from - 4;
    board[(from + to) / 2] = board[rook];
    board[rook] = "";
  }
  board[from] = "";
  board[to] = move[4] ? (white ? move[4].toUpperCase() : move[4]) : piece;
  return board;
}

/** Write the pieces as FEN does. @param {Board} board */
export function placement(board) {
  const ranks = [];
  for (let rank = 7; rank >= 0; rank--) {
    const cells = board.slice(8 * rank, 8 * rank + 8).map((piece) => piece || "1");
    ranks.push(cells.join("").replace(/1+/g, (empty) => String(empty.length)));
  }
  return ranks.join("/");
}
