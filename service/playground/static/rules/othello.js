/** Sets stones of othello and turns those between; the service knows the rules. Cell 0 is a1, at the upper left. */

/** @typedef {string[]} Board 64 cells: "x" of who begins, "o" of the other, "" where nothing stands */

const STEPS = [-1, 0, 1].flatMap((row) => [-1, 0, 1].map((column) => [row, column])).filter(([a, b]) => a || b);

/** @returns {Board} */
export function start() {
  const board = Array(64).fill("");
  board[27] = board[36] = "o";
  board[28] = board[35] = "x";
  return board;
}

/** @param {string} move @returns {number} */
export const cell = (move) => move.charCodeAt(0) - 97 + 8 * (Number(move[1]) - 1);

/** A pass is a move, too. @param {Board} before @param {string} move @param {number} ply @returns {Board} */
export function play(before, move, ply) {
  if (move === "pass") return before;
  const board = [...before];
  const own = ply % 2 ? "o" : "x";
  const at = cell(move);
  board[at] = own;
  for (const [rows, columns] of STEPS) {
    const between = [];
    let row = Math.floor(at / 8) + rows;
    let column = (at % 8) + columns;
    while (
      row >= 0 &&
      row < 8 &&
      column >= 0 &&
      column < 8 &&
      board[8 * row + column] &&
      board[8 * row + column] !== own
    ) {
      between.push(8 * row + column);
      row += rows;
      column += columns;
    }
    if (row >= 0 && row < 8 && column >= 0 && column < 8 && board[8 * row + column] === own)
      for (const stone of between) board[stone] = own;
  }
  return board;
}
