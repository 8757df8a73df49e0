/** Asks for the key, and which of several moves is meant. */
import { byId, make, percent } from "./dom.js";

/** @typedef {import("./api.js").Candidate} Candidate */

/** There is no key to be had. */
export class NoKey extends Error {
  constructor() {
    super("Without a key this service answers nothing.");
  }
}

/** Ask for a key; rejects if it is not given. @param {string} why @returns {Promise<string>} */
export function askForKey(why) {
  const dialog = /** @type {HTMLDialogElement} */ (byId("key"));
  const value = /** @type {HTMLInputElement} */ (byId("key-value"));
  byId("key-why").textContent = `It said: ${why}.`;
  value.value = "";
  dialog.showModal();
  return new Promise((give, refuse) => {
    byId("key-form").onsubmit = (event) => {
      event.preventDefault();
      const key = value.value.trim();
      if (!key) return;
      give(key);
      dialog.close();
    };
    byId("key-cancel").onclick = () => dialog.close();
    dialog.onclose = () => {
      value.value = "";
      refuse(new NoKey());
    };
  });
}

/** Ask which of several moves is meant, such as what a pawn becomes. @param {Candidate[]} moves @returns {Promise<Candidate | null>} */
export function choose(moves) {
  const dialog = /** @type {HTMLDialogElement} */ (byId("choice"));
  return new Promise((give) => {
    const buttons = moves.map((one) => {
      const button = make("button", { type: "button" }, `${one.san ?? one.move} ${percent(one.probability)}`);
      button.addEventListener("click", () => {
        give(one);
        dialog.close();
      });
      return button;
    });
    byId("choices").replaceChildren(...buttons);
    dialog.onclose = () => give(null);
    dialog.showModal();
  });
}
