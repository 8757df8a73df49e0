/**
 * Draws what the gates of the network did at each ply as a heat map, and how many units keep their memory.
 *
 * @typedef {{mean: number, open: number, closed: number}} Activity
 * @typedef {{ply: number, move: string | null, layers: Record<string, Activity>[]}} PlyGates
 * @typedef {{layer: number, gate: string, values: Activity[], low: number, high: number}} Row
 */
import { make, percent, sized } from "./dom.js";

const ORDER = ["forget", "input", "output", "update", "reset", "active", "depth", "candidate"];
/** @type {Record<string, string>} */
const MEANING = {
  forget: "The forget gate says how much of its old memory c each unit keeps.",
  input: "The input gate says how much of the new candidate is written into c.",
  output: "The output gate says how much of c is shown to the prediction and to the next step.",
  candidate: "The candidate is what could be written into c; its mean size is shown.",
  update: "The update gate says how much of the old state each unit keeps.",
  reset: "The reset gate says how much of the old state the candidate is made with.",
  active: "Active units are those whose clock ticks at this ply; the others keep their state.",
  depth: "The depth gate says how much of the memory of the layer below is let in.",
};
const ROW = 22;
const KEPT_HEIGHT = 70;

/** The heat map and the long memory. */
export class GatesView {
  #canvas = make("canvas", { role: "img", "aria-label": "No gates yet" });
  #names = make("div", { class: "gate-names" });
  #kept = make("canvas", { role: "img", "aria-label": "No memory yet" });
  /** @type {Row[]} */
  #rows = [];
  #ply = 0;
  #chosen = 0;

  /**
   * @param {{map: HTMLElement, note: HTMLElement, kept: HTMLElement, keptNote: HTMLElement, keptPanel: HTMLElement}} parts
   * @param {(ply: number) => string} nameOf writes the move before a ply
   */
  constructor(parts, nameOf) {
    this.parts = parts;
    this.nameOf = nameOf;
    parts.map.append(this.#names, this.#canvas);
    parts.kept.append(this.#kept);
    this.#canvas.addEventListener("pointermove", (event) => this.#hover(event));
    this.#canvas.addEventListener("pointerleave", () => this.#explain(this.#chosen, this.#ply));
    new ResizeObserver(() => this.#draw()).observe(parts.map);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
  }

  /** Show the gates of a line. @param {PlyGates[]} plies */
  show(plies) {
    const gates =
      plies[0]?.layers.flatMap((layer, number) =>
        sorted(Object.keys(layer)).map((gate) => ({ layer: number, gate })),
      ) ?? [];
    this.#rows = gates.map(({ layer, gate }) => {
      const values = plies.map((ply) => ply.layers[layer][gate]);
      const means = values.map(({ mean }) => mean);
      return { layer, gate, values, low: Math.min(...means), high: Math.max(...means) };
    });
    const layers = plies[0]?.layers.length ?? 1;
    this.#names.replaceChildren(
      ...this.#rows.map(({ layer, gate }, row) => {
        const button = make(
          "button",
          { type: "button", class: "gate-name" },
          layers > 1 ? `${gate} ${layer + 1}` : gate,
        );
        for (const event of ["focus", "click"])
          button.addEventListener(event, () => this.#explain((this.#chosen = row), this.#ply));
        return button;
      }),
    );
    this.#draw();
  }

  /** Say why there is nothing to show. @param {string} why */
  empty(why) {
    this.show([]);
    this.parts.note.textContent = why;
  }

  /** Move to a position. @param {number} ply */
  point(ply) {
    this.#ply = ply;
    this.#draw();
  }

  /** Draw again, in the colours of now. */
  redraw() {
    this.#draw();
  }

  #draw() {
    const plies = this.#rows[0]?.values.length ?? 0;
    const pen = sized(this.#canvas, ROW * this.#rows.length);
    if (pen && plies) {
      const width = this.#canvas.clientWidth / plies;
      const { color } = getComputedStyle(this.#canvas);
      this.#rows.forEach(({ values, low, high }, row) =>
        values.forEach(({ mean }, ply) => {
          pen.globalAlpha = 0.06 + 0.94 * ((mean - low) / (high - low || 1));
          pen.fillStyle = color;
          pen.fillRect(ply * width, row * ROW + 1, Math.max(width - (width > 4 ? 1 : 0), 0.5), ROW - 2);
        }),
      );
      pen.globalAlpha = 1;
      pen.strokeStyle = getComputedStyle(this.#canvas).outlineColor;
      pen.lineWidth = 2;
      pen.strokeRect(Math.min(this.#ply, plies - 1) * width, 1, Math.max(width, 3), ROW * this.#rows.length - 2);
      this.#canvas.setAttribute("aria-label", this.#rows.map(describe).join("; "));
      this.#explain(Math.min(this.#chosen, this.#rows.length - 1), this.#ply);
    }
    this.#drawKept();
  }

  /** Draw how many units of the memory are kept, blended and wiped at each ply. */
  #drawKept() {
    const shares = sharesKept(this.#rows);
    this.parts.keptPanel.hidden = shares === null;
    const pen = shares && sized(this.#kept, KEPT_HEIGHT);
    if (!pen) return;
    const width = this.#kept.clientWidth / shares.length;
    const { color, outlineColor } = getComputedStyle(this.#kept);
    shares.forEach(({ kept, wiped }, ply) => {
      const drawn = Math.max(width - (width > 4 ? 1 : 0), 0.5);
      const [top, bottom] = [KEPT_HEIGHT * wiped, KEPT_HEIGHT * (1 - kept)];
      pen.fillStyle = outlineColor;
      pen.fillRect(ply * width, top, drawn, bottom - top);
      pen.fillStyle = color;
      pen.fillRect(ply * width, bottom, drawn, KEPT_HEIGHT - bottom);
    });
    const at = Math.min(this.#ply, shares.length - 1);
    const { kept, wiped } = shares[at];
    this.parts.keptNote.textContent = `${this.nameOf(at)}: ${percent(kept)} of the units keep more than nine tenths, ${percent(wiped)} less than one tenth.`;
    this.#kept.setAttribute("aria-label", this.parts.keptNote.textContent);
  }

  /** @param {number} row @param {number} ply */
  #explain(row, ply) {
    const found = this.#rows[row];
    if (!found) return;
    const at = Math.min(ply, found.values.length - 1);
    const { mean, open, closed } = found.values[at];
    const figures = `mean ${mean.toFixed(2)}, ${percent(open)} of units over 0.9, ${percent(closed)} under 0.1`;
    this.parts.note.textContent = `${MEANING[found.gate] ?? found.gate} ${this.nameOf(at)}: ${figures}.`;
  }

  /** @param {PointerEvent} event */
  #hover(event) {
    const plies = this.#rows[0]?.values.length ?? 0;
    const ply = Math.floor((event.offsetX / this.#canvas.clientWidth) * plies);
    this.#explain(Math.floor(event.offsetY / ROW), Math.max(0, Math.min(ply, plies - 1)));
  }
}

/** @param {string[]} gates */
const sorted = (gates) => gates.sort((a, b) => ORDER.indexOf(a) - ORDER.indexOf(b));

/** @param {Row} row */
const describe = ({ layer, gate, low, high }) =>
  `${gate} gate of layer ${layer + 1} between ${low.toFixed(2)} and ${high.toFixed(2)}`;

/** Give the shares of units that keep and that wipe their memory at each ply; null for a cell without such a gate. @param {Row[]} rows */
function sharesKept(rows) {
  const keeping = rows.filter(({ gate }) => gate === "forget" || gate === "update" || gate === "active");
  if (!keeping.length) return null;
  const mean = (/** @type {(row: Row) => number} */ of) =>
    keeping.reduce((sum, row) => sum + of(row), 0) / keeping.length;
  return keeping[0].values.map((_, ply) => ({
    // A unit whose clock ticks takes the candidate in place of what it held.
    kept: mean(({ gate, values }) => (gate === "active" ? values[ply].closed : values[ply].open)),
    wiped: mean(({ gate, values }) => (gate === "active" ? values[ply].open : values[ply].closed)),
  }));
}
