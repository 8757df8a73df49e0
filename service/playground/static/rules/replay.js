/**
 * Reads moves and gives the position after any number of them; moves that were read before are not played again.
 *
 * @template State
 * @typedef {{start: () => State, play: (state: State, move: string, ply: number) => State}} Rules
 */

/** The positions along one line. @template State */
export class Replay {
  /** @param {Rules<State>} rules */
  constructor(rules) {
    this.rules = rules;
    /** @type {string[]} */
    this.moves = [];
    /** @type {State[]} */
    this.states = [rules.start()];
  }

  /** Give the position after the first moves. @param {string[]} moves @param {number} ply @returns {State} */
  at(moves, ply) {
    let same = 0;
    while (same < ply && same < this.moves.length && this.moves[same] === moves[same]) same++;
    if (same < ply) {
      this.moves.length = same;
      this.states.length = same + 1;
      for (let at = same; at < ply; at++) {
        this.moves.push(moves[at]);
        this.states.push(this.rules.play(this.states[at], moves[at], at));
      }
    }
    return this.states[ply];
  }
}
