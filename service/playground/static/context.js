/** Reads what the players are like, ratings and time control, from sliders, and gives it as a context. */
import { make } from "./dom.js";

/** @typedef {import("./game.js").Context} Context */

const TIMES = ["bullet", "blitz", "rapid", "classical", "correspondence"];
const [LOWEST, HIGHEST, STEP] = [600, 2900, 10];
/** @type {Record<string, string>} */
const NAMES = { white_elo: "White", black_elo: "Black", time_control: "Time" };

/** The fieldset; a slider at its left end says that the rating is not known. */
export class ContextForm {
  /** @type {Map<string, {input: HTMLInputElement | HTMLSelectElement, said: HTMLOutputElement | null}>} */
  #fields = new Map();
  #names = "";

  /** @param {HTMLElement} element @param {() => void} imagine while a slider moves @param {() => void} settle once it stands */
  constructor(element, imagine, settle) {
    this.element = element;
    element.addEventListener("input", () => {
      this.#say();
      imagine();
    });
    element.addEventListener("change", settle);
  }

  /** Show the fields that a model knows. @param {string[]} names @param {Context} context */
  show(names, context) {
    if (this.#names !== names.join()) this.#make(names);
    for (const [name, { input }] of this.#fields) {
      const value = String(context[name] ?? (input instanceof HTMLSelectElement ? "" : LOWEST - STEP));
      if (document.activeElement !== input && input.value !== value) input.value = value;
    }
    this.#say();
  }

  /** Give what is set. @returns {Context} */
  get value() {
    /** @type {Context} */
    const context = {};
    for (const [name, { input }] of this.#fields) {
      if (input instanceof HTMLSelectElement) {
        if (input.value) context[name] = input.value;
      } else if (Number(input.value) >= LOWEST) context[name] = Number(input.value);
    }
    return context;
  }

  /** Take from the headers of a PGN what fits. @param {Record<string, string>} headers @param {string[]} names @returns {Context} */
  static fromHeaders(headers, names) {
    /** @type {Context} */
    const context = {};
    for (const [name, header] of [
      ["white_elo", "WhiteElo"],
      ["black_elo", "BlackElo"],
    ]) {
      const rating = Number(headers[header]);
      if (names.includes(name) && Number.isInteger(rating) && rating > 0 && rating <= 4000) context[name] = rating;
    }
    if (names.includes("time_control") && /^(\d{1,6}\+\d{1,4}|-)$/.test(headers.TimeControl ?? ""))
      context.time_control = timeOf(headers.TimeControl);
    return context;
  }

  /** @param {string[]} names */
  #make(names) {
    this.#names = names.join();
    this.#fields.clear();
    this.element.hidden = names.length === 0;
    const rows = names.map((name) => {
      const isTime = name === "time_control";
      const id = `context-${name}`;
      const input = isTime
        ? make(
            "select",
            { id },
            make("option", { value: "" }, "not known"),
            ...TIMES.map((time) => make("option", {}, time)),
          )
        : make("input", { id, type: "range", min: LOWEST - STEP, max: HIGHEST, step: STEP, value: LOWEST - STEP });
      const said = isTime ? null : make("output", { for: id });
      this.#fields.set(name, { input, said });
      return make(
        "div",
        { class: "field" },
        make("label", { for: id }, NAMES[name] ?? name),
        input,
        ...(said ? [said] : []),
      );
    });
    this.element.replaceChildren(make("legend", {}, "Who plays"), ...rows);
  }

  #say() {
    for (const { input, said } of this.#fields.values()) {
      if (!said) continue;
      const known = Number(input.value) >= LOWEST;
      said.textContent = known ? input.value : "not known";
      input.setAttribute("aria-valuetext", known ? `rated ${input.value}` : "rating not known");
    }
  }
}

/** Give the class of a time control in seconds, as the service does. @param {string} written */
function timeOf(written) {
  if (written === "-") return "correspondence";
  const [base, increment] = written.split("+").map(Number);
  const seconds = base + 40 * increment;
  return TIMES[[180, 480, 1500].filter((limit) => seconds >= limit).length];
}
