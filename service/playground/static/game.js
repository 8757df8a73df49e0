/**
 * Holds the game on the page, its lines and the position shown, and plays it in sessions of the service.
 *
 * A line is one session. Another move in the past forks it; ratings are a session's for life, so others open a new one.
 *
 * @typedef {import("./api.js").Candidate} Candidate
 * @typedef {{name: string, version: string, game: string, context: string[], default: boolean}} Model
 * @typedef {Record<string, number | string>} Context
 */
import { Problem } from "./api.js";
import { Line } from "./line.js";

const ALL = 100;

/** The game that is played. Operations wait for each other; each throws what the service answered. */
export class Game {
  /** @type {Promise<unknown>} */
  #turn = Promise.resolve();
  /** @type {Model | null} */
  model = null;
  /** @type {Line[]} */
  lines = [];
  current = 0;
  ply = 0;
  title = "New game";

  /** @param {import("./api.js").Api} api @param {() => void} changed */
  constructor(api, changed) {
    this.api = api;
    this.changed = changed;
  }

  get line() {
    return this.lines[this.current];
  }

  /** What is expected at the position shown. */
  get next() {
    return this.line?.next[this.ply] ?? [];
  }

  /** Begin anew, with moves that were played already. @param {Model} model @param {Context} context @param {string[]} [moves] @param {string} [title] */
  begin(model, context, moves = [], title = "New game") {
    return this.#inTurn(async () => {
      const line = await this.#open(model, context, moves);
      if (moves.length) await this.#fill(line, model);
      this.#forget(this.lines);
      Object.assign(this, { model, lines: [line], current: 0, ply: line.moves.length, title });
    });
  }

  /** Show a session of somebody else, as it stands. @param {string} session @param {Model[]} models */
  watch(session, models) {
    return this.#inTurn(async () => {
      const path = `/sessions/${encodeURIComponent(session)}?top_k=${ALL}`;
      const found = await this.api.send("game", "GET", path);
      const { name, version } = found.model;
      const served = models.find((model) => model.name === name && model.version === version);
      const model = served ?? { name, version, game: "", context: Object.keys(found.context), default: false };
      const line = new Line(session, found.context, false);
      Object.assign(line, { moves: found.moves, surprisal: found.surprisal });
      await this.#fill(line, model);
      this.#forget(this.lines);
      Object.assign(this, { model, lines: [line], current: 0, ply: line.moves.length, title: `Session ${session}` });
    });
  }

  /** Do what an event of the session says. @param {Line} line @param {string} kind @param {any} data */
  hear(line, kind, data) {
    return this.#inTurn(async () => {
      /** @type {string[]} */
      const told = data.moves;
      const kept = data.ply - told.length;
      // What was played here is known before the event of it comes.
      if (kind === "moves" && told.every((move, at) => line.moves[kept + at] === move)) return;
      const follows = this.line === line && this.ply === line.moves.length;
      if (kind === "session") {
        line.context = data.context;
        if (this.model) this.model = { ...this.model, ...data.model };
      }
      if (this.model && (kind === "session" || told.length > 1)) {
        await this.#fill(line, this.model, [...line.moves.slice(0, kept), ...told]);
      } else {
        line.cut(kept);
        line.moves.push(...told);
        line.surprisal.push(...data.surprisal);
        line.next[data.ply] = data.next;
      }
      if (this.line === line) this.ply = follows ? line.moves.length : Math.min(this.ply, line.moves.length);
    });
  }

  /** Play a move at the position shown: in its line if that ends here, else in a new one. @param {string} text */
  play(text) {
    return this.#inTurn(async () => {
      const { line, ply } = this;
      const known = find(this.next, text);
      if (ply < line.moves.length && line.moves[ply] === (known?.move ?? text)) {
        this.ply += 1;
        return;
      }
      const branch = ply < line.moves.length;
      const target = branch ? await this.#fork(line, ply) : line;
      try {
        await this.#append(target, ply, known?.move ?? text, !known);
      } catch (error) {
        if (branch) this.#forget([target]);
        throw error;
      }
      if (branch) this.current = this.lines.push(target) - 1;
      this.ply = ply + 1;
    });
  }

  /** Undo what comes after the position shown; at the end of the line, its last move. */
  takeback() {
    return this.#inTurn(async () => {
      const { line } = this;
      const to = Math.min(this.ply, line.moves.length - 1);
      if (to < 0) return;
      const body = { to_ply: to, ply: line.moves.length, top_k: ALL };
      const answer = await this.#in(line, "takeback", body);
      line.cut(to);
      line.next[to] = answer.next;
      this.ply = to;
    });
  }

  /** Look at another position. @param {number} ply @param {number} [line] */
  look(ply, line = this.current) {
    if (!this.lines[line]) return;
    this.current = line;
    this.ply = Math.max(0, Math.min(ply, this.line.moves.length));
    this.changed();
  }

  /** Show what would be expected in another context; nothing is kept. @param {Context} context */
  imagine(context) {
    return this.#inTurn(async () => {
      const { line } = this;
      line.context = context;
      if (this.model) await this.#fill(line, this.model);
    });
  }

  /** Go on with the line in its context, in a new session. */
  settle() {
    return this.#inTurn(async () => {
      const { line, model } = this;
      if (!model) return;
      const opened = await this.#open(model, line.context, line.moves);
      this.#forget([line]);
      line.session = opened.session;
      line.own = true;
    });
  }

  /** @template T @param {() => Promise<T>} work @returns {Promise<T>} */
  #inTurn(work) {
    const done = this.#turn.then(work).finally(this.changed);
    this.#turn = done.catch(() => {});
    return done;
  }

  /** @param {Model} model @param {Context} context @param {string[]} moves */
  async #open(model, context, moves) {
    const body = { model: `${model.name}/${model.version}`, context, moves, top_k: ALL };
    const answer = await this.api.send("game", "POST", "/sessions", body);
    const line = new Line(answer.session, context);
    line.moves = [...moves];
    line.next[moves.length] = answer.next;
    return line;
  }

  /** @param {Line} line @param {number} ply */
  async #fork(line, ply) {
    const answer = await this.#in(line, "fork", { at_ply: ply, top_k: ALL });
    const branch = new Line(answer.session, line.context);
    branch.moves = line.moves.slice(0, ply);
    branch.surprisal = line.surprisal.slice(0, ply);
    branch.next = line.next.slice(0, ply + 1);
    branch.from = ply;
    return branch;
  }

  /** @param {Line} line @param {number} ply @param {string} move @param {boolean} unknown whether it may be written otherwise */
  async #append(line, ply, move, unknown) {
    const answer = await this.#in(line, "moves", { moves: [move], ply, top_k: ALL });
    line.moves.push(move);
    line.surprisal.push(...answer.surprisal);
    line.next[line.moves.length] = answer.next;
    if (unknown && this.model) await this.#fill(line, this.model);
  }

  /** Ask in a line's session; one that was forgotten is opened again from its moves. @param {Line} line @param {string} call @param {object} body */
  async #in(line, call, body) {
    const ask = () => this.api.send("game", "POST", `/sessions/${encodeURIComponent(line.session)}/${call}`, body);
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof Problem) || error.status !== 404 || !line.own || !this.model) throw error;
      line.session = (await this.#open(this.model, line.context, line.moves)).session;
      return await ask();
    }
  }

  /** Ask what was expected at each ply of a line. @param {Line} line @param {Model} model @param {string[]} [moves] its moves, if others than it has */
  async #fill(line, model, moves = line.moves) {
    const sequences = [{ moves, context: line.context }];
    const body = { sequences, model: `${model.name}/${model.version}`, top_k: ALL, score: true, each_ply: true };
    const [found] = (await this.api.send("", "POST", "/predict", body)).predictions;
    line.moves = found.moves;
    line.surprisal = found.surprisal;
    line.next = found.plies.map((/** @type {{next: Candidate[]}} */ ply) => ply.next);
  }

  /** Delete sessions that the page opened and needs no more; if that fails, they expire. @param {Line[]} lines */
  #forget(lines) {
    for (const { own, session } of lines)
      if (own) this.api.send("", "DELETE", `/sessions/${encodeURIComponent(session)}`).catch(() => {});
  }
}

/** Find a move by any of its names. @param {Candidate[]} next @param {string} text */
function find(next, text) {
  const plain = (/** @type {string | undefined} */ san) =>
    san
      ?.replace(/[+#!?]+$/, "")
      .replaceAll("0-0", "O-O")
      .replaceAll("O-0", "O-O");
  return (
    next.find(({ move }) => move === text) ?? next.find(({ san }) => san !== undefined && plain(san) === plain(text))
  );
}
