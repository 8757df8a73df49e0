/** Moves xiangqi pieces as coordinates say; the service knows the rules. Cell 0 is a9, Black's corner at Red's left. */

/** @typedef {string[]} Board 90 cells: capital letters are Red's, "" where nothing stands */

const RANKS = ["rheagaehr", ".........", ".c.....c.", "s.s.s.s.s"];

/** @returns {Board} */
export function start() {
  const black = [...RANKS.join("")];
  const none = Array(18).fill(".");
  const red = [...RANKS].reverse().join("").toUpperCase();
  return [...black, ...none, ...red].map((piece) => (piece === "." ? "" : piece));
}

/** @param {string} point such as h2 */
export const cell = (point) => point.charCodeAt(0) - 97 + 9 * (9 - Number(point[1]));

/** @param {Board} before @param {string} move @returns {Board} */
export function play(before, move) {
  const board = [...before];
  const from = cell(move.slice(0, 2));
  board[cell(move.slice(2, 4))] = board[from];
  board[from] = "";
  return board;
}
