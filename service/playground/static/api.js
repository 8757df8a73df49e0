/**
 * Sends requests to the service and gives its answers; knows the key, and what was sent for which view.
 *
 * @typedef {{method: string, path: string, body?: object}} Sent
 * @typedef {{move: string, san?: string, probability: number}} Candidate
 * @typedef {{kind: string, data: any}} Told
 */

const STORED = "nextply-key";

/** An error that the service answered (RFC 9457). */
export class Problem extends Error {
  /** @param {number} status @param {any} body */
  constructor(status, body) {
    super(typeof body?.detail === "string" ? body.detail : `the service answered ${status}`);
    this.status = status;
    this.code = String(body?.code ?? "");
    /** @type {number | undefined} which of the moves was wrong */
    this.index = body?.index;
  }
}

/** The service did not answer at all. */
export class Away extends Error {
  constructor() {
    super(`The service at ${location.origin} does not answer. Is it running?`);
  }
}

/** A client of the service that served this page. */
export class Api {
  #base = new URL("./", document.baseURI);
  /** @type {Promise<void> | null} */
  #asking = null;

  /**
   * @param {(why: string) => Promise<string>} askForKey rejects if there is none to be had
   * @param {(view: string, sent: Sent) => void} seen is told of each request
   */
  constructor(askForKey, seen) {
    this.askForKey = askForKey;
    this.seen = seen;
  }

  /**
   * Send a request; give the answer's body. Throws Problem or Away.
   * @param {string} view @param {string} method @param {string} path @param {object} [body]
   * @returns {Promise<any>}
   */
  async send(view, method, path, body) {
    const response = await this.#ask(view, { method, path, body });
    return response.status === 204 ? null : response.json();
  }

  /**
   * Give what happens in a session, until the stream ends or is given up.
   * @param {string} session @param {AbortSignal} signal @returns {AsyncGenerator<Told>}
   */
  async *events(session, signal) {
    const path = `/sessions/${encodeURIComponent(session)}/events?top_k=100`;
    const { body } = await this.#ask("game", { method: "GET", path }, signal);
    if (!body) throw new Away();
    let text = "";
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      const blocks = (text + part.value).split("\n\n");
      text = blocks.pop() ?? "";
      yield* blocks.map(readEvent).filter((told) => told !== null);
    }
  }

  /** @param {string} view @param {Sent} sent @param {AbortSignal} [signal] @returns {Promise<Response>} */
  async #ask(view, sent, signal) {
    this.seen(view, sent);
    for (;;) {
      const key = sessionStorage.getItem(STORED);
      const response = await this.#fetch(sent, key, signal);
      if (response.ok) return response;
      const problem = new Problem(response.status, await response.json().catch(() => null));
      if (problem.status !== 401) throw problem;
      // Another request may have brought a new key since this one was sent.
      if (sessionStorage.getItem(STORED) === key) await this.#newKey(problem.message);
    }
  }

  /** @param {Sent} sent @param {string | null} key @param {AbortSignal} [signal] */
  async #fetch({ method, path, body }, key, signal) {
    const headers = new Headers();
    if (body) headers.set("content-type", "application/json");
    if (key) headers.set("authorization", `Bearer ${key}`);
    try {
      const url = new URL(path.slice(1), this.#base);
      return await fetch(url, { method, headers, body: body && JSON.stringify(body), signal });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new Away();
    }
  }

  /** Ask for a key once, however many requests want one. @param {string} why */
  #newKey(why) {
    this.#asking ??= this.askForKey(why)
      .then((key) => sessionStorage.setItem(STORED, key))
      .finally(() => (this.#asking = null));
    return this.#asking;
  }
}

/** Write a request as a command. @param {Sent} sent */
export function asCurl({ method, path, body }) {
  const quoted = (/** @type {string} */ text) => `'${text.replaceAll("'", `'\\''`)}'`;
  const parts = ["curl -s", quoted(new URL(path.slice(1), new URL("./", document.baseURI)).href)];
  if (path.includes("/events")) parts[0] = "curl -sN";
  if (method !== (body ? "POST" : "GET")) parts.push(`-X ${method}`);
  if (sessionStorage.getItem(STORED)) parts.push('-H "Authorization: Bearer $NEXTPLY_KEY"');
  if (body) parts.push("-H 'content-type: application/json'", `-d ${quoted(JSON.stringify(body))}`);
  return parts.join(" \\\n  ");
}

/** @param {string} block @returns {Told | null} */
function readEvent(block) {
  let kind = "";
  let data = "";
  for (const line of block.split("\n")) {
    if (line.startsWith("event: ")) kind = line.slice(7);
    else if (line.startsWith("data: ")) data += line.slice(6);
  }
  return kind && data ? { kind, data: JSON.parse(data) } : null;
}
