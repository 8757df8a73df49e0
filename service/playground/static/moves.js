/** Shows the moves that were played, those that nobody expected marked, and the lines of the game. */
import { make } from "./dom.js";
import { UNEXPECTED } from "./chart.js";

/** @typedef {import("./game.js").Game} Game */
/** @typedef {import("./line.js").Line} Line */

/** The list of moves and the choice of lines. */
export class MoveList {
  /** @type {HTMLButtonElement[]} */
  #buttons = [];
  /** @type {string[]} */
  #texts = [];
  #shownLines = "";

  /** @param {HTMLElement} element @param {HTMLElement} lines @param {(ply: number, line?: number) => void} look */
  constructor(element, lines, look) {
    this.element = element;
    this.lines = lines;
    this.look = look;
  }

  /** @param {Game} game */
  show(game) {
    const { line, ply } = game;
    const texts = line.moves.map((_, at) => `${line.written(at)} ${line.surprisal[at] > UNEXPECTED ? "!" : ""}`);
    for (let at = 0; at < Math.max(texts.length, this.#texts.length); at++)
      if (texts[at] !== this.#texts[at]) this.#write(at, line, texts[at]);
    this.#buttons.length = texts.length;
    this.#texts = texts;
    this.element.classList.toggle("pairs", game.model?.game !== "tokens");
    this.#point(ply);
    this.#showLines(game);
  }

  /** @param {number} at @param {Line} line @param {string | undefined} text */
  #write(at, line, text) {
    if (text === undefined) {
      this.#buttons[at].parentElement?.remove();
      return;
    }
    if (!this.#buttons[at]) {
      const button = make("button", { type: "button", class: "move" });
      button.addEventListener("click", () => this.look(at + 1));
      this.#buttons[at] = button;
      this.element.append(make("li", {}, button));
    }
    const surprising = line.surprisal[at] > UNEXPECTED;
    this.#buttons[at].textContent = line.written(at);
    this.#buttons[at].classList.toggle("unexpected", surprising);
    this.#buttons[at].title = surprising ? "Nobody expected this" : "";
  }

  /** Mark the move that was just played. @param {number} ply */
  #point(ply) {
    const before = this.element.querySelector("[aria-current]");
    const now = this.#buttons[ply - 1];
    if (before === now) return;
    before?.removeAttribute("aria-current");
    if (!now) return;
    now.setAttribute("aria-current", "step");
    const [top, height] = [now.offsetTop - this.element.offsetTop, now.offsetHeight];
    const { scrollTop, clientHeight } = this.element;
    if (top < scrollTop || top + height > scrollTop + clientHeight) this.element.scrollTop = top - clientHeight / 2;
  }

  /** @param {Game} game */
  #showLines(game) {
    const names = game.lines.map((line, at) => {
      if (at === 0) return "Main line";
      const number = line.from % 2 ? `${(line.from + 1) / 2}…` : `${line.from / 2 + 1}.`;
      return `${number} ${line.moves.length > line.from ? line.written(line.from) : "–"}`;
    });
    const shown = JSON.stringify([names, game.current]);
    if (shown === this.#shownLines) return;
    this.#shownLines = shown;
    this.lines.hidden = names.length < 2;
    const buttons = names.map((name, at) => {
      const button = make("button", { type: "button", "aria-pressed": String(at === game.current) }, name);
      button.addEventListener("click", () => this.look(game.lines[at].moves.length, at));
      return button;
    });
    this.lines.replaceChildren(...buttons);
  }
}
