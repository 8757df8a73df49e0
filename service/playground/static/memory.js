/**
 * Draws what the units that remember longest held after each ply, as a heat map, and says it of one of them.
 *
 * @typedef {{tensor: string, width: number, units: number[], values: number[][]}} Memory
 * @typedef {{unit: number, place: string, values: number[], most: number}} Row
 */
import { make, set, sized } from "./dom.js";

/** How many units of each tensor are asked for. */
export const UNITS = 24;
const ROW = 13;

/** The heat map: a row for each unit, a column for each ply. */
export class MemoryView {
  #canvas = make("canvas", { role: "slider", tabindex: 0, "aria-label": "Unit of the memory", "aria-valuemin": 1 });
  #names = make("div", { class: "unit-names", "aria-hidden": "true" });
  /** A pixel for each cell, so that a step through a long game draws one picture and no cells. */
  #cells = make("canvas");
  /** @type {Row[]} */
  #rows = [];
  #ply = 0;
  #chosen = 0;

  /**
   * @param {{panel: HTMLElement, map: HTMLElement, note: HTMLElement, less: HTMLElement, more: HTMLElement}} parts
   *   ``less`` and ``more`` have the colours of what is below and above zero
   * @param {(ply: number) => string} nameOf writes the move before a ply
   */
  constructor(parts, nameOf) {
    this.parts = parts;
    this.nameOf = nameOf;
    parts.map.append(this.#names, this.#canvas);
    this.#canvas.addEventListener("pointermove", (event) => this.#hover(event));
    this.#canvas.addEventListener("pointerleave", () => this.#explain(this.#chosen, this.#ply));
    this.#canvas.addEventListener("pointerdown", (event) => this.#choose(this.#rowAt(event)));
    this.#canvas.addEventListener("keydown", (event) => this.#press(event));
    new ResizeObserver(() => this.#draw()).observe(parts.map);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
  }

  /** Show the memory along a line; none hides it. @param {Memory[]} memory */
  show(memory) {
    this.#rows = memory.flatMap(({ tensor, units, values }) =>
      units.map((unit, at) => {
        const held = values.map((row) => row[at]);
        return { unit, place: placeOf(tensor), values: held, most: Math.max(...held.map(Math.abs)) };
      }),
    );
    this.parts.panel.hidden = !this.#rows.length;
    this.#names.replaceChildren(...this.#rows.map(({ unit }) => make("div", {}, String(unit))));
    set(this.#canvas, { "aria-valuemax": this.#rows.length });
    this.#chosen = Math.max(0, Math.min(this.#chosen, this.#rows.length - 1));
    this.redraw();
  }

  /** Move to a position. @param {number} ply */
  point(ply) {
    this.#ply = ply;
    this.#draw();
  }

  /** Draw again, in the colours of now. */
  redraw() {
    this.#paint();
    this.#draw();
  }

  /** Set the pixels: blank at zero, and full where a unit was furthest from it. */
  #paint() {
    const [less, more] = [this.parts.less, this.parts.more].map((one) => getComputedStyle(one).backgroundColor);
    this.#cells.width = Math.max(1, this.#rows[0]?.values.length ?? 0);
    this.#cells.height = Math.max(1, this.#rows.length);
    const pen = this.#cells.getContext("2d");
    if (!pen) return;
    this.#rows.forEach(({ values, most }, row) =>
      values.forEach((value, ply) => {
        pen.globalAlpha = Math.abs(value) / (most || 1);
        pen.fillStyle = value < 0 ? less : more;
        pen.fillRect(ply, row, 1, 1);
      }),
    );
  }

  #draw() {
    const plies = this.#rows[0]?.values.length ?? 0;
    if (!plies) return;
    const [width, height] = [this.#canvas.clientWidth, ROW * this.#rows.length];
    const pen = sized(this.#canvas, height);
    if (!pen) return;
    const column = width / plies;
    pen.imageSmoothingEnabled = false;
    pen.drawImage(this.#cells, 0, 0, width, height);
    for (let row = 1; row <= this.#rows.length; row++) pen.clearRect(0, row * ROW - 1, width, 1);
    if (column > 4) for (let ply = 1; ply <= plies; ply++) pen.clearRect(ply * column - 1, 0, 1, height);
    pen.strokeStyle = getComputedStyle(this.#canvas).color;
    pen.lineWidth = 2;
    pen.strokeRect(Math.min(this.#ply, plies - 1) * column, 1, Math.max(column, 3), height - 2);
    this.#explain(this.#chosen, this.#ply);
  }

  /** Say what a unit held after a ply. @param {number} row @param {number} ply */
  #explain(row, ply) {
    const found = this.#rows[row];
    if (!found) return;
    const at = Math.min(ply, found.values.length - 1);
    const value = found.values[at].toFixed(2).replace("-", "−");
    const text = `${this.nameOf(at)}: unit ${found.unit} of ${found.place} holds ${value}${sinceWhen(found.values, at)}.`;
    this.parts.note.textContent = text;
    set(this.#canvas, { "aria-valuenow": row + 1, "aria-valuetext": text });
    [...this.#names.children].forEach((name, at) => name.classList.toggle("chosen", at === row));
  }

  /** @param {number} row */
  #choose(row) {
    this.#chosen = Math.max(0, Math.min(row, this.#rows.length - 1));
    this.#explain(this.#chosen, this.#ply);
  }

  /** @param {KeyboardEvent} event */
  #press(event) {
    const step = event.key === "ArrowUp" ? -1 : event.key === "ArrowDown" ? 1 : 0;
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    this.#choose(this.#chosen + step);
  }

  /** @param {PointerEvent} event */
  #hover(event) {
    const plies = this.#rows[0]?.values.length ?? 0;
    const ply = Math.floor((event.offsetX / this.#canvas.clientWidth) * plies);
    this.#explain(this.#rowAt(event), Math.max(0, Math.min(ply, plies - 1)));
  }

  /** @param {PointerEvent} event */
  #rowAt(event) {
    return Math.max(0, Math.min(Math.floor(event.offsetY / ROW), this.#rows.length - 1));
  }
}

/** Name a state tensor: c0 is c in layer 1, others are what their graph calls them. @param {string} tensor */
function placeOf(tensor) {
  const [, name, layer] = /^([ch])(\d+)$/.exec(tensor) ?? [];
  return name ? `${name} in layer ${Number(layer) + 1}` : `the state ${tensor}`;
}

/** Say for how long a unit has been on its side of zero. @param {number[]} values @param {number} at */
function sinceWhen(values, at) {
  const sign = Math.sign(values[at]);
  if (!at || !sign) return "";
  let from = at;
  while (from && Math.sign(values[from - 1]) === sign) from--;
  if (!from) return " and has kept its sign since the start";
  const plies = at - from + 1;
  return plies > 1 ? ` and has kept its sign for ${plies} plies` : " and has just changed its sign";
}
