/** Follows a session by its events for as long as it is wanted, and connects again when the connection breaks. */
import { Problem } from "./api.js";

/** @typedef {import("./game.js").Game} Game */

const AGAIN = 2000;

/** One session at a time. */
export class Live {
  /** @type {AbortController | null} */
  #following = null;

  /** @param {import("./api.js").Api} api @param {(text: string) => void} say */
  constructor(api, say) {
    this.api = api;
    this.say = say;
  }

  /** Begin to follow the line on the page. @param {Game} game */
  async follow(game) {
    this.stop();
    const here = (this.#following = new AbortController());
    const { line } = game;
    while (!here.signal.aborted) {
      try {
        this.say("Following, live.");
        for await (const { kind, data } of this.api.events(line.session, here.signal)) {
          if (kind === "deleted" || kind === "expired")
            return this.say(`The session was ${kind === "deleted" ? "deleted" : "forgotten"}.`);
          await game.hear(line, kind, data);
        }
      } catch (error) {
        if (here.signal.aborted) return;
        if (error instanceof Problem && error.status < 500 && error.status !== 429) return this.say(error.message);
      }
      if (here.signal.aborted) return;
      this.say("The connection was lost; trying again.");
      await new Promise((done) => setTimeout(done, AGAIN));
    }
  }

  /** Follow no more. */
  stop() {
    this.#following?.abort();
    this.#following = null;
    this.say("");
  }
}
