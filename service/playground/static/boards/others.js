/** Shows othello, connect four and xiangqi on a grid, with what is expected marked on it. */
import { draw } from "../dom.js";
import * as connectFour from "../rules/connect_four.js";
import * as othello from "../rules/othello.js";
import { Replay } from "../rules/replay.js";
import * as xiangqi from "../rules/xiangqi.js";
import { Grid } from "./grid.js";

/**
 * @typedef {import("../api.js").Candidate} Candidate
 * @typedef {import("./grid.js").Mark} Mark
 * @typedef {{
 *   look: import("./grid.js").Look,
 *   rules: import("../rules/replay.js").Rules<string[]>,
 *   cells: (move: string, board: string[]) => number[],
 *   piece: (piece: string, x: number, y: number) => SVGElement,
 * }} Kind cells are where a move goes from and to, or only where it goes
 */

const LEAST = 0.01;
const MOST_MARKS = 8;
const letters = (/** @type {string} */ text) => [...text];

/** @param {string} piece @param {number} x @param {number} y */
const stone = (piece, x, y) =>
  draw("circle", { cx: x, cy: y, r: 16, class: piece === "x" ? "stone first" : "stone second" });

const NAMES = {
  g: "將",
  a: "士",
  e: "象",
  h: "馬",
  r: "車",
  c: "砲",
  s: "卒",
  G: "帥",
  A: "仕",
  E: "相",
  H: "傌",
  R: "俥",
  C: "炮",
  S: "兵",
};

/** @param {string} piece @param {number} x @param {number} y */
function disc(piece, x, y) {
  const group = draw("g", { class: piece === piece.toUpperCase() ? "disc red" : "disc black" });
  const name = NAMES[/** @type {keyof typeof NAMES} */ (piece)];
  group.append(draw("circle", { cx: x, cy: y, r: 17 }), draw("text", { x, y: y + 7 }, name));
  return group;
}

/** @type {Record<string, Kind>} */
const KINDS = {
  othello: {
    look: { rows: 8, columns: 8, kind: "felt", rowNames: letters("12345678"), columnNames: letters("abcdefgh") },
    rules: othello,
    cells: (move) => (move === "pass" ? [] : [othello.cell(move)]),
    piece: stone,
  },
  connect_four: {
    look: { rows: 6, columns: 7, kind: "holes", rowNames: [], columnNames: letters("0123456") },
    rules: connectFour,
    cells: (move, board) => [connectFour.landing(board, Number(move[1]))],
    piece: stone,
  },
  xiangqi: {
    look: { rows: 10, columns: 9, kind: "points", rowNames: letters("9876543210"), columnNames: letters("abcdefghi") },
    rules: xiangqi,
    cells: (move) => [xiangqi.cell(move.slice(0, 2)), xiangqi.cell(move.slice(2, 4))],
    piece: disc,
  },
};

/** Games that have a board here. @param {string} game */
export const hasGrid = (game) => Object.hasOwn(KINDS, game);

/** A board of one of these games. */
export class GridBoard {
  /** @type {number | null} where the piece stands that was clicked */
  #from = null;
  /** @type {[string[], number, Candidate[], string]} */
  #shown = [[], 0, [], ""];

  /** @param {string} game @param {HTMLElement} element @param {(moves: Candidate[]) => void} pick */
  constructor(game, element, pick) {
    this.kind = KINDS[game];
    this.pick = pick;
    this.replay = new Replay(this.kind.rules);
    this.grid = new Grid(element, this.kind.look, (cell) => this.#clicked(cell));
  }

  /** Show a position. @param {string[]} moves @param {number} ply @param {Candidate[]} next @param {string} label */
  show(moves, ply, next, label) {
    if (this.#shown[0] !== moves || this.#shown[1] !== ply) this.#from = null;
    this.#shown = [moves, ply, next, label];
    const board = this.replay.at(moves, ply);
    const marks = this.#marks(board, next);
    const before = ply ? this.replay.at(moves, ply - 1) : board;
    const lit = ply ? this.kind.cells(moves[ply - 1], before) : [];
    if (this.#from !== null) lit.push(this.#from);
    this.grid.show(board, this.kind.piece, marks, lit, label);
  }

  /** See it from the other side. */
  turn() {
    this.grid.turn();
    this.show(...this.#shown);
  }

  /** Take it off the page. */
  remove() {
    this.grid.remove();
  }

  /** @param {string[]} board @param {Candidate[]} next @returns {Mark[]} */
  #marks(board, next) {
    const likely = next.filter(({ probability }) => probability >= LEAST).slice(0, MOST_MARKS);
    return likely.reverse().flatMap(({ move, probability }) => {
      const cells = this.kind.cells(move, board);
      const [from, cell] = cells.length > 1 ? cells : [undefined, cells[0]];
      return cell === undefined ? [] : [{ cell, from, probability }];
    });
  }

  /** @param {number} cell */
  #clicked(cell) {
    const [moves, ply, next] = this.#shown;
    const board = this.replay.at(moves, ply);
    const { columns } = this.kind.look;
    const meant = next.filter(({ move }) => {
      const cells = this.kind.cells(move, board);
      if (cells.length > 1) return cells[0] === this.#from && cells[1] === cell;
      return this.kind.look.kind === "holes" ? cells[0] % columns === cell % columns : cells[0] === cell;
    });
    const starts = next.some(
      ({ move }) => this.kind.cells(move, board).length > 1 && this.kind.cells(move, board)[0] === cell,
    );
    this.#from = !meant.length && starts && this.#from !== cell ? cell : null;
    if (meant.length) this.pick(meant);
    else this.show(...this.#shown);
  }
}
