/**
 * Holds one line of a game: its session, its moves, how surprising each was, and what was expected at each ply.
 *
 * @typedef {import("./api.js").Candidate} Candidate
 * @typedef {import("./game.js").Context} Context
 */

/** A line is as long as its moves; `next` is one longer, since it begins with what was expected at the start. */
export class Line {
  /** @param {string} session @param {Context} context @param {boolean} own whether the page opened the session */
  constructor(session, context, own = true) {
    this.session = session;
    this.context = context;
    this.own = own;
    /** @type {string[]} */
    this.moves = [];
    /** @type {number[]} */
    this.surprisal = [];
    /** @type {Candidate[][]} what was expected after so many moves */
    this.next = [];
    /** The ply at which it left the line that it was forked from. */
    this.from = 0;
  }

  /** Write the move at a ply as people do. @param {number} ply */
  written(ply) {
    return this.next[ply]?.find(({ move }) => move === this.moves[ply])?.san ?? this.moves[ply];
  }

  /** Keep the first moves. @param {number} ply */
  cut(ply) {
    this.moves.length = this.surprisal.length = Math.min(ply, this.moves.length);
    this.next.length = Math.min(ply + 1, this.next.length);
  }
}
