/** Shows a chess position with arrows as thick as their moves are likely, and reads moves from pointers. */
import { placement, play, start } from "../rules/chess.js";
import { Replay } from "../rules/replay.js";
import { Arrows, Chessboard, COLOR, INPUT_EVENT_TYPE, Markers } from "../vendor/cm-chessboard.js";

/** @typedef {import("../api.js").Candidate} Candidate */

const MOST_TOLD = 100;
const MOST_ARROWS = 6;
const LEAST = 0.02;
const LAST = { class: "last-move", slice: "markerSquare" };
const FROM = { class: "picked-up", slice: "markerSquare" };
const QUIET = 250;

/** The board. */
export class ChessBoard {
  #replay = new Replay({ start, play });
  /** @type {Candidate[]} */
  #next = [];
  #drawn = "";
  #shownAt = 0;

  /** @param {HTMLElement} element @param {(moves: Candidate[]) => void} pick is told which moves are meant */
  constructor(element, pick) {
    this.pick = pick;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    /** @type {any} its extensions add methods that no type knows of */
    this.board = new Chessboard(element, {
      assetsUrl: new URL("../vendor/", import.meta.url).href,
      style: { cssClass: "ours", pieces: { file: "pieces.svg", tileSize: 40 }, animationDuration: still ? 0 : 150 },
      extensions: [
        { class: Markers, props: { autoMarkers: FROM, sprite: "markers.svg" } },
        { class: Arrows, props: { sprite: "arrows.svg", headSize: 5 } },
      ],
    });
    this.board.enableMoveInput((/** @type {any} */ event) => this.#input(event));
  }

  /** Show a position. @param {string[]} moves @param {number} ply @param {Candidate[]} next @param {string} label */
  show(moves, ply, next, label) {
    this.#next = next;
    const position = placement(this.#replay.at(moves, ply));
    // Stepping fast, animations would only lag behind.
    const calm = performance.now() - this.#shownAt > QUIET;
    this.#shownAt = performance.now();
    if (this.board.getPosition() !== position) this.board.setPosition(position, calm);
    this.board.view.svg.setAttribute("aria-label", label);
    const wanted = arrowsOf(next);
    const last = ply ? moves[ply - 1] : "";
    const drawn = JSON.stringify([wanted, last]);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    this.board.removeMarkers(LAST);
    if (last) for (const square of [last.slice(0, 2), last.slice(2, 4)]) this.board.addMarker(LAST, square);
    this.board.removeArrows();
    for (const { from, to, size } of wanted) this.board.addArrow({ class: `likely-${size}` }, from, to);
  }

  /** See it from the other side. */
  turn() {
    this.board.setOrientation(this.board.getOrientation() === COLOR.white ? COLOR.black : COLOR.white);
  }

  /** Take it off the page. */
  remove() {
    this.board.destroy();
  }

  /** @param {any} event @returns {boolean} whether the library may go on */
  #input(event) {
    const from = this.#next.filter(({ move }) => move.startsWith(event.squareFrom));
    // Where there are more than the service tells of, it says whether a move is legal.
    const cut = this.#next.length >= MOST_TOLD;
    if (event.type === INPUT_EVENT_TYPE.moveInputStarted) return cut || from.length > 0;
    if (event.type !== INPUT_EVENT_TYPE.validateMoveInput) return true;
    const meant = from.filter(({ move }) => move.startsWith(event.squareFrom + event.squareTo));
    if (cut && !meant.length) meant.push({ move: event.squareFrom + event.squareTo, probability: 0 });
    // Who clicks saw where the piece goes; the next click shall not have to wait for it.
    event.animate = false;
    if (meant.length) this.pick(meant);
    return meant.length === 1;
  }
}

/** Choose the arrows to draw, the likeliest last so that they lie above; promotions are one arrow. @param {Candidate[]} next */
function arrowsOf(next) {
  /** @type {Map<string, number>} */
  const sums = new Map();
  for (const { move, probability } of next) sums.set(move.slice(0, 4), (sums.get(move.slice(0, 4)) ?? 0) + probability);
  return [...sums]
    .filter(([, probability]) => probability >= LEAST)
    .sort((a, b) => b[1] - a[1])
    .slice(0, MOST_ARROWS)
    .reverse()
    .map(([move, probability]) => ({ from: move.slice(0, 2), to: move.slice(2), size: size(probability) }));
}

/** Give one of five sizes. @param {number} probability */
function size(probability) {
  return 1 + [0.05, 0.12, 0.25, 0.5].filter((limit) => probability >= limit).length;
}
