/** Reads a pasted game, PGN or moves alone, and gives the moves as they are written and the headers; checks no rules. */

/** A text that is no game which can be played here. */
export class Unreadable extends Error {}

const HEADER = /^\s*\[\s*(\w+)\s+"((?:[^"\\]|\\.)*)"\s*\]/;
const NUMBER = /^\d+\.+/;
const NOT_MOVES = /^(\d+|\.+|\$\d+|1-0|0-1|1\/2-1\/2|½-½|\*|[!?]+|e\.p\.)$/;

/**
 * Give the first game of a text. Comments, variations, move numbers, glyphs and the result are left out.
 * @param {string} text
 * @returns {{moves: string[], headers: Record<string, string>}}
 */
export function readGame(text) {
  /** @type {Record<string, string>} */
  const headers = Object.create(null);
  let rest = text.replace(/^\uFEFF/, "");
  for (let found = HEADER.exec(rest); found; found = HEADER.exec(rest)) {
    headers[found[1]] = found[2].replace(/\\(.)/g, "$1");
    rest = rest.slice(found[0].length);
  }
  const asJson = readJson(rest);
  return { moves: asJson ?? readMoves(withoutRemarks(firstGame(rest))), headers };
}

/** Leave out the games that follow: each begins with headers of its own. @param {string} text */
function firstGame(text) {
  let at = 0;
  for (const line of text.split("\n")) {
    if (HEADER.test(line) && !within(text.slice(0, at))) return text.slice(0, at);
    at += line.length + 1;
  }
  return text;
}

/** Say whether a comment is open at the end. @param {string} text */
function within(text) {
  return text.lastIndexOf("{") > text.lastIndexOf("}");
}

/** Take out {comments}, (variations), ; and % comments. @param {string} text */
function withoutRemarks(text) {
  let kept = "";
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const sign = text[at];
    if (sign === "{") {
      const end = text.indexOf("}", at);
      at = end < 0 ? text.length : end;
      kept += " ";
    } else if (sign === ";" || (sign === "%" && (at === 0 || text[at - 1] === "\n"))) {
      const end = text.indexOf("\n", at);
      at = end < 0 ? text.length : end;
      kept += " ";
    } else if (sign === "(") depth++;
    else if (sign === ")") depth = Math.max(0, depth - 1);
    else if (depth === 0) kept += sign;
  }
  return kept;
}

/** @param {string} text @returns {string[]} */
function readMoves(text) {
  return text
    .split(/[\s,]+/)
    .map((word) => word.replace(NUMBER, "").replace(/[!?]+$/, ""))
    .filter((word) => word && !NOT_MOVES.test(word));
}

/** Read ["a","b"], as records of token games are written. @param {string} text @returns {string[] | null} */
function readJson(text) {
  if (!text.trimStart().startsWith("[")) return null;
  try {
    const moves = JSON.parse(text);
    return Array.isArray(moves) && moves.every((move) => typeof move === "string") ? moves : null;
  } catch {
    return null;
  }
}
