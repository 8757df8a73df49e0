/** Shows the moves that may come next, likeliest first, each a button behind which lies a bar. */
import { make, percent } from "./dom.js";

/** @typedef {import("./api.js").Candidate} Candidate */

/** The list; its rows are used again, so that the one that has the focus keeps it. */
export class CandidateList {
  /** @type {{row: HTMLLIElement, button: HTMLButtonElement, name: HTMLElement, share: HTMLElement}[]} */
  #rows = [];
  /** @type {Candidate[]} */
  #next = [];

  /** @param {HTMLElement} element @param {(move: Candidate) => void} play */
  constructor(element, play) {
    this.element = element;
    this.play = play;
  }

  /** @param {Candidate[]} next */
  show(next) {
    this.#next = next;
    while (this.#rows.length < next.length) this.#rows.push(this.#make(this.#rows.length));
    this.#rows.forEach(({ row, button, name, share }, at) => {
      row.hidden = at >= next.length;
      if (row.hidden) return;
      const { move, san, probability } = next[at];
      name.textContent = san ?? move;
      share.textContent = percent(probability);
      button.title = san ? move : "";
      button.style.setProperty("--share", `${100 * probability}%`);
    });
    this.element.classList.toggle("empty", next.length === 0);
  }

  /** @param {number} at */
  #make(at) {
    const name = make("span", { class: "name" });
    const share = make("span", { class: "share" });
    const button = make("button", { type: "button", class: "candidate" }, name, " ", share);
    button.addEventListener("click", () => this.play(this.#next[at]));
    const row = make("li", {}, button);
    this.element.append(row);
    return { row, button, name, share };
  }
}
