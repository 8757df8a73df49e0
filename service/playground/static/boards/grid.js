/**
 * Draws boards of cells in SVG: stones or letters on them, discs as large as moves are likely, and reads clicks.
 *
 * @typedef {import("../api.js").Candidate} Candidate
 * @typedef {{cell: number, from?: number, probability: number}} Mark
 * @typedef {{rows: number, columns: number, kind: string, rowNames: string[], columnNames: string[]}} Look
 */
import { draw, percent } from "../dom.js";

const SIZE = 40;
const EDGE = 18;

/** A board of rows and columns. */
export class Grid {
  /** @type {Map<number, string>} */
  #pieces = new Map();
  #turned = false;

  /** @param {HTMLElement} element @param {Look} look @param {(cell: number) => void} clicked */
  constructor(element, look, clicked) {
    this.element = element;
    this.look = look;
    const [width, height] = [SIZE * look.columns + EDGE, SIZE * look.rows + EDGE];
    this.svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, class: `grid ${look.kind}`, role: "img" });
    this.groups = ["ground", "below", "pieces", "marks", "names"].map((name) => draw("g", { class: name }));
    this.svg.append(...this.groups);
    this.svg.addEventListener("click", (event) => {
      const cell = /** @type {Element} */ (event.target).closest("[data-cell]")?.getAttribute("data-cell");
      if (cell) clicked(Number(cell));
    });
    element.append(this.svg);
    this.#drawGround();
  }

  /**
   * Show pieces and marks; only what changed is drawn anew.
   * @param {string[]} board @param {(piece: string, x: number, y: number) => SVGElement} piece
   * @param {Mark[]} marks @param {number[]} lit @param {string} label
   */
  show(board, piece, marks, lit, label) {
    this.svg.setAttribute("aria-label", label);
    const [, below, pieces, above] = this.groups;
    board.forEach((stands, cell) => {
      if ((this.#pieces.get(cell) ?? "") === stands) return;
      this.#pieces.set(cell, stands);
      pieces.querySelector(`[data-piece="${cell}"]`)?.remove();
      if (!stands) return;
      const drawn = piece(stands, ...this.#centre(cell));
      drawn.setAttribute("data-piece", String(cell));
      pieces.append(drawn);
    });
    below.replaceChildren(...lit.map((cell) => this.#square(cell, "lit")));
    above.replaceChildren(...marks.map((mark) => this.#mark(mark)));
  }

  /** See it from the other side. */
  turn() {
    this.#turned = !this.#turned;
    this.#pieces.clear();
    this.groups[2].replaceChildren();
    this.#drawGround();
  }

  /** Take it off the page. */
  remove() {
    this.svg.remove();
  }

  /** @param {number} cell @returns {[number, number]} */
  #centre(cell) {
    const { rows, columns } = this.look;
    const at = this.#turned ? rows * columns - 1 - cell : cell;
    return [EDGE + SIZE * ((at % columns) + 0.5), SIZE * (Math.floor(at / columns) + 0.5)];
  }

  /** @param {number} cell @param {string} name */
  #square(cell, name) {
    const [x, y] = this.#centre(cell);
    return draw("rect", { x: x - SIZE / 2, y: y - SIZE / 2, width: SIZE, height: SIZE, class: name });
  }

  /** @param {Mark} mark */
  #mark({ cell, from, probability }) {
    const [x, y] = this.#centre(cell);
    const radius = 4 + 13 * Math.sqrt(probability);
    const group = draw("g", { class: "mark" });
    if (from !== undefined) {
      const [x1, y1] = this.#centre(from);
      group.append(draw("line", { x1, y1, x2: x, y2: y, "stroke-width": 2 + 7 * Math.sqrt(probability) }));
    }
    group.append(draw("circle", { cx: x, cy: y, r: radius }));
    if (probability >= 0.1) group.append(draw("text", { x, y: y + 3.5 }, percent(probability).replace(" %", "")));
    return group;
  }

  #drawGround() {
    const { rows, columns, rowNames, columnNames } = this.look;
    const cells = Array.from({ length: rows * columns }, (_, cell) => {
      const square = this.#square(cell, (Math.floor(cell / columns) + cell) % 2 ? "cell odd" : "cell");
      square.setAttribute("data-cell", String(cell));
      return square;
    });
    this.groups[0].replaceChildren(...cells, ...lines(this.look));
    const names = rowNames.map((name, row) =>
      draw("text", { x: EDGE / 2, y: this.#centre(row * columns)[1] + 4 }, name),
    );
    const below = SIZE * rows + EDGE - 5;
    names.push(...columnNames.map((name, column) => draw("text", { x: this.#centre(column)[0], y: below }, name)));
    this.groups[4].replaceChildren(...names);
  }
}

/** Draw the lines of xiangqi, on whose crossings pieces stand. @param {Look} look */
function lines({ kind, rows, columns }) {
  if (kind !== "points") return [];
  const x = (/** @type {number} */ column) => EDGE + SIZE * (column + 0.5);
  const y = (/** @type {number} */ row) => SIZE * (row + 0.5);
  let path = "";
  for (let row = 0; row < rows; row++) path += `M${x(0)} ${y(row)}H${x(columns - 1)}`;
  for (let column = 0; column < columns; column++) {
    const edge = column === 0 || column === columns - 1;
    path += edge
      ? `M${x(column)} ${y(0)}V${y(rows - 1)}`
      : `M${x(column)} ${y(0)}V${y(4)}M${x(column)} ${y(5)}V${y(rows - 1)}`;
  }
  for (const row of [0, 7]) path += `M${x(3)} ${y(row)}L${x(5)} ${y(row + 2)}M${x(5)} ${y(row)}L${x(3)} ${y(row + 2)}`;
  return [draw("path", { d: path, class: "lines" })];
}
