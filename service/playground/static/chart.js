/** Draws how surprising each move of a game was, and marks those that nobody expected. */
import { draw, percent, set } from "./dom.js";

/** @typedef {import("./line.js").Line} Line */

/** The surprisal of a move that was given less than two per cent. */
export const UNEXPECTED = -Math.log(0.02);
const HEIGHT = 150;
const [LEFT, RIGHT, TOP, BOTTOM] = [42, 12, 18, 8];
const LINES = [0.5, 0.1, 0.02, 0.001];
const NAME_WIDTH = 38;

/** The curve; a longer game sets longer paths and adds no elements but marks. */
export class SurpriseChart {
  #svg = draw("svg", { role: "img", class: "chart", height: HEIGHT });
  #grid = draw("g", { class: "grid-lines" });
  #cursor = draw("line", { class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM });
  #curve = draw("path", { class: "curve" });
  #dots = [draw("path", { class: "dots first" }), draw("path", { class: "dots second" })];
  #marks = draw("g", { class: "marks" });
  /** @type {Line | null} */
  #line = null;
  #ply = 0;
  #drawn = "";

  /** @param {HTMLElement} element @param {(ply: number) => void} look @param {(ply: number | null) => void} hover */
  constructor(element, look, hover) {
    this.element = element;
    this.#svg.append(this.#grid, this.#cursor, this.#curve, ...this.#dots, this.#marks);
    element.append(this.#svg);
    this.#svg.addEventListener("click", (event) => look(this.#plyAt(event)));
    this.#svg.addEventListener("pointermove", (event) => hover(this.#plyAt(event)));
    this.#svg.addEventListener("pointerleave", () => hover(null));
    new ResizeObserver(() => this.#line && this.show(this.#line, this.#ply)).observe(element);
  }

  /** @param {Line} line @param {number} ply */
  show(line, ply) {
    this.#line = line;
    this.#ply = ply;
    const width = this.element.clientWidth;
    const drawn = `${width} ${line.surprisal.join()}`;
    if (drawn !== this.#drawn) {
      this.#drawn = drawn;
      this.#drawAll(line, width);
    }
    set(this.#cursor, { x1: this.#x(ply), x2: this.#x(ply) });
  }

  /** @param {Line} line @param {number} width */
  #drawAll({ surprisal }, width) {
    set(this.#svg, { width, viewBox: `0 0 ${width} ${HEIGHT}`, "aria-label": summary(surprisal) });
    const most = Math.max(-Math.log(0.0008), ...surprisal);
    const y = (/** @type {number} */ value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / most);
    const points = surprisal.map((value, at) => `${this.#x(at + 1).toFixed(1)} ${y(value).toFixed(1)}`);
    this.#curve.setAttribute("d", points.length ? `M${points.join("L")}` : "");
    this.#dots.forEach((dots, player) => {
      dots.setAttribute(
        "d",
        points
          .filter((_, at) => at % 2 === player)
          .map((point) => `M${point}h0`)
          .join(""),
      );
    });
    this.#grid.replaceChildren(
      ...LINES.flatMap((probability) => {
        const at = y(-Math.log(probability));
        const line = draw("line", { x1: LEFT, x2: width - RIGHT, y1: at, y2: at });
        return [line, draw("text", { x: LEFT - 5, y: at + 4 }, percent(probability).replace(".0", ""))];
      }),
    );
    this.#mark(surprisal, width, y);
  }

  /** @param {number[]} surprisal @param {number} width @param {(value: number) => number} y */
  #mark(surprisal, width, y) {
    const found = surprisal.flatMap((value, at) => (value > UNEXPECTED ? [at] : []));
    const named = new Set(this.#apart([...found].sort((a, b) => surprisal[b] - surprisal[a])));
    this.#marks.replaceChildren(
      ...found.flatMap((at) => {
        const [x, top] = [this.#x(at + 1), y(surprisal[at])];
        const circle = draw("circle", { cx: x, cy: top, r: 4 });
        if (!named.has(at)) return [circle];
        const anchor = x > width - 60 ? "end" : x < LEFT + 30 ? "start" : "middle";
        return [circle, draw("text", { x, y: top - 7, "text-anchor": anchor }, this.#line?.written(at) ?? "")];
      }),
    );
  }

  /** Choose those whose names do not overlap, the first first. @param {number[]} plies */
  #apart(plies) {
    /** @type {number[]} */
    const chosen = [];
    for (const at of plies)
      if (chosen.every((other) => Math.abs(this.#x(other) - this.#x(at)) >= NAME_WIDTH)) chosen.push(at);
    return chosen;
  }

  /** @param {number} ply */
  #x(ply) {
    const plies = Math.max(1, this.#line?.surprisal.length ?? 1);
    return LEFT + ((this.element.clientWidth - LEFT - RIGHT) * ply) / plies;
  }

  /** @param {MouseEvent} event */
  #plyAt(event) {
    const { left, width } = this.#svg.getBoundingClientRect();
    const plies = this.#line?.surprisal.length ?? 0;
    return Math.round(Math.max(0, Math.min(1, (event.clientX - left - LEFT) / (width - LEFT - RIGHT))) * plies);
  }
}

/** Say how surprising a game was. @param {number[]} surprisal */
export function summary(surprisal) {
  if (!surprisal.length) return "No moves yet";
  const mean = surprisal.reduce((sum, value) => sum + value, 0) / surprisal.length;
  const many = surprisal.filter((value) => value > UNEXPECTED).length;
  return `Surprisal of ${surprisal.length} moves: ${mean.toFixed(2)} on average, ${many} given less than 2 %`;
}
