/** Shows the requests behind each view as commands to copy. */
import { asCurl } from "./api.js";
import { make } from "./dom.js";
import { UNITS } from "./memory.js";

/** @typedef {import("./api.js").Sent} Sent */
/** @typedef {import("./game.js").Game} Game */

const KEPT = 3;

/** Where it is told what the network did in a session. @param {string} session */
export const explainPath = (session) => `/sessions/${encodeURIComponent(session)}/explain?units=${UNITS}`;

/** The details of class curl on the page: what gives each view, and what was sent last for the game. */
export class Requests {
  /** @type {Map<string, Sent[]>} */
  #sent = new Map();
  /** @type {Map<string, HTMLDetailsElement>} */
  #panels = new Map();

  constructor() {
    for (const panel of /** @type {NodeListOf<HTMLDetailsElement>} */ (document.querySelectorAll("details.curl"))) {
      const view = panel.dataset.view ?? "";
      const code = make("pre", { tabindex: 0, "aria-label": "As a command" });
      const copy = make("button", { type: "button" }, "Copy");
      copy.addEventListener("click", () => copyText(code, copy));
      panel.append(code, copy);
      panel.addEventListener("toggle", () => this.#show(view));
      this.#panels.set(view, panel);
    }
  }

  /** Note what was sent for the game. @param {string} view @param {Sent} sent */
  note(view, sent) {
    if (view !== "game") return;
    const others = (this.#sent.get(view) ?? []).filter((one) => one.path !== sent.path);
    this.#sent.set(view, [...others, sent].slice(-KEPT));
    this.#show(view);
  }

  /** Say what gives the views of the position shown. @param {Game} game */
  tell({ line, ply, model }) {
    if (!model) return;
    const session = `/sessions/${encodeURIComponent(line.session)}`;
    const sequences = [{ moves: line.moves.slice(0, ply), context: line.context }];
    const body = { sequences, model: `${model.name}/${model.version}`, top_k: 100 };
    this.#sent.set("next", [{ method: "POST", path: "/predict", body }]);
    this.#sent.set("surprise", [{ method: "GET", path: session }]);
    this.#sent.set("memory", [{ method: "GET", path: explainPath(line.session) }]);
    for (const view of this.#panels.keys()) this.#show(view);
  }

  /** @param {string} view */
  #show(view) {
    const panel = this.#panels.get(view);
    if (!panel?.open) return;
    const text = (this.#sent.get(view) ?? []).map(asCurl).join("\n\n");
    const code = panel.querySelector("pre");
    if (code) code.textContent = text || "Nothing was sent for this yet.";
  }
}

/** @param {HTMLElement} code @param {HTMLButtonElement} button */
async function copyText(code, button) {
  try {
    await navigator.clipboard.writeText(code.textContent ?? "");
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  } catch {
    // Pages that did not come over https may not write to the clipboard: what is selected can be copied by hand.
    getSelection()?.selectAllChildren(code);
  }
}
