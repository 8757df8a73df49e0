/** Shows a game on all parts of the page, and changes in each only what is new. */
import { ChessBoard } from "./boards/chess.js";
import { GridBoard, hasGrid } from "./boards/others.js";
import { SurpriseChart } from "./chart.js";
import { ContextForm } from "./context.js";
import { byId, percent } from "./dom.js";
import { GatesView } from "./gates.js";
import { CandidateList } from "./list.js";
import { MemoryView } from "./memory.js";
import { MoveList } from "./moves.js";

/**
 * @typedef {import("./api.js").Candidate} Candidate
 * @typedef {import("./game.js").Game} Game
 * @typedef {{play: (move: Candidate) => void, pick: (moves: Candidate[]) => void, look: (ply: number, line?: number) => void,
 *   imagine: () => void, settle: () => void}} Doings
 */

/** @type {Record<string, [string, string]>} */
const SIDES = {
  chess: ["White", "Black"],
  xiangqi: ["Red", "Black"],
  othello: ["Black", "White"],
  connect_four: ["Red", "Yellow"],
};

/** The page. */
export class Page {
  /** @type {ChessBoard | GridBoard | null} */
  #board = null;
  #boardOf = "";

  /** @param {Game} game @param {Doings} doings */
  constructor(game, doings) {
    this.game = game;
    this.doings = doings;
    this.list = new CandidateList(byId("candidates"), doings.play);
    this.moves = new MoveList(byId("move-list"), byId("lines"), doings.look);
    this.chart = new SurpriseChart(byId("chart"), doings.look, (ply) => this.#note(ply ?? game.ply));
    const parts = {
      map: byId("gates"),
      note: byId("gates-note"),
      kept: byId("kept"),
      keptNote: byId("kept-note"),
      keptPanel: byId("kept-panel"),
    };
    this.gates = new GatesView(parts, (ply) => this.#nameOf(ply));
    const held = { panel: byId("held-panel"), map: byId("held"), note: byId("held-note") };
    const colours = { less: byId("less"), more: byId("more") };
    this.memory = new MemoryView({ ...held, ...colours }, (ply) => this.#nameOf(ply));
    this.context = new ContextForm(byId("context"), doings.imagine, doings.settle);
    this.slider = /** @type {HTMLInputElement} */ (byId("ply"));
  }

  /** Show the game as it is. */
  show() {
    const { game } = this;
    const { line, ply, model } = game;
    if (!line || !model) return;
    this.#setUp(model.game);
    this.#board?.show(line.moves, ply, game.next, this.#inWords());
    this.list.show(game.next);
    this.moves.show(game);
    this.chart.show(line, ply);
    this.gates.point(ply);
    this.memory.point(ply);
    this.context.show(model.context, line.context);
    this.slider.max = String(line.moves.length);
    this.slider.value = String(ply);
    this.slider.setAttribute("aria-valuetext", this.#nameOf(ply));
    byId("game-title").textContent = game.title;
    this.#enable();
    this.#note(ply);
  }

  /** Say what was played and how surprising it was. @param {number} milliseconds */
  say(milliseconds) {
    const turn = this.#turn();
    byId("status").textContent =
      `${this.#given(this.game.ply)}${turn ? ` ${turn}` : ""} Answered in ${milliseconds.toFixed(0)} ms.`;
  }

  /** Show what the network did at each ply, and what it held. @param {any} explained an answer of /explain */
  explain({ plies, memory = [] }) {
    this.gates.show(plies);
    this.memory.show(memory);
  }

  /** Say why nothing of that can be shown. @param {string} why */
  explainNothing(why) {
    this.gates.empty(why);
    this.memory.show([]);
  }

  /** Draw again, in the colours of now. */
  redraw() {
    this.gates.redraw();
    this.memory.redraw();
  }

  /** See the board from the other side. */
  turn() {
    this.#board?.turn();
  }

  /** Put up the board of a game, if it has one. @param {string} name */
  #setUp(name) {
    if (name === this.#boardOf) return;
    this.#boardOf = name;
    this.#board?.remove();
    this.#board = null;
    const element = byId("board");
    if (name === "chess") this.#board = new ChessBoard(element, this.doings.pick);
    else if (hasGrid(name)) this.#board = new GridBoard(name, element, this.doings.pick);
    element.hidden = this.#board === null;
    byId("turn").hidden = this.#board === null;
  }

  #enable() {
    const { line, ply } = this.game;
    for (const [id, off] of /** @type {[string, boolean][]} */ ([
      ["first", ply === 0],
      ["back", ply === 0],
      ["forward", ply === line.moves.length],
      ["last", ply === line.moves.length],
      ["takeback", line.moves.length === 0],
    ]))
      /** @type {HTMLButtonElement} */ (byId(id)).disabled = off;
  }

  #inWords() {
    const { ply, model } = this.game;
    return `Board of ${model?.game.replace("_", " ")} ${ply ? `after ${this.#nameOf(ply)}` : "at the start"}. ${this.#turn()}`;
  }

  #turn() {
    if (!this.game.next.length) return "The game is over.";
    const sides = SIDES[this.game.model?.game ?? ""];
    return sides ? `${sides[this.game.ply % 2]} to move.` : "";
  }

  /** Write the move before a ply with its number. @param {number} ply */
  #nameOf(ply) {
    if (ply === 0) return "At the start";
    const sides = SIDES[this.game.model?.game ?? ""];
    const number = sides ? `${Math.ceil(ply / 2)}${ply % 2 ? "." : "…"}` : `${ply}.`;
    return `${number} ${this.game.line.written(ply - 1)}`;
  }

  /** Say how surprising the move before a ply was. @param {number} ply */
  #given(ply) {
    const surprisal = this.game.line.surprisal[ply - 1];
    if (surprisal === undefined) return `${this.#nameOf(ply)}.`;
    return `${this.#nameOf(ply)} was given ${percent(Math.exp(-surprisal))}: surprisal ${surprisal.toFixed(2)}.`;
  }

  /** @param {number} ply */
  #note(ply) {
    byId("chart-note").textContent = this.#given(ply);
  }
}
