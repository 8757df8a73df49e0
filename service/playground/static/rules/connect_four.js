/** Drops stones of connect four; the service knows the rules. Cell 0 is at the upper left, six rows of seven. */

/** @typedef {string[]} Board 42 cells: "x" of who begins, "o" of the other, "" where nothing is */

export const ROWS = 6;
export const COLUMNS = 7;

/** @returns {Board} */
export const start = () => Array(ROWS * COLUMNS).fill("");

/** Give where a stone comes to lie, −1 where the column is full. @param {Board} board @param {number} column */
export function landing(board, column) {
  for (let row = ROWS - 1; row >= 0; row--) if (!board[COLUMNS * row + column]) return COLUMNS * row + column;
  return -1;
}

/** A move is the player and the column: x3. @param {Board} before @param {string} move @returns {Board} */
export function play(before, move) {
  const board = [...before];
  const at = landing(board, Number(move[1]));
  if (at >= 0) board[at] = move[0];
  return board;
}
