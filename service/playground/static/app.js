/** Reads what people do on the page and plays it; the beginning of everything. */
import { Api, Away, Problem } from "./api.js";
import { summary } from "./chart.js";
import { ContextForm } from "./context.js";
import { NoKey, askForKey, choose } from "./dialogs.js";
import { byId, make } from "./dom.js";
import { Game } from "./game.js";
import { Live } from "./live.js";
import { Page } from "./page.js";
import { readGame, Unreadable } from "./read.js";
import { Requests, explainPath } from "./requests.js";
import { offerThemes } from "./theme.js";

/** @typedef {import("./api.js").Candidate} Candidate */
/** @typedef {import("./game.js").Model} Model */

const GATES_WAIT = 150;

const requests = new Requests();
const api = new Api(askForKey, (view, sent) => requests.note(view, sent));
const game = new Game(api, () => {
  page.show();
  if (game.line) requests.tell(game);
});
const live = new Live(api, (text) => (byId("live-state").textContent = text));
const page = new Page(game, {
  play: ({ move }) => play([move]),
  pick,
  look: (ply, line) => game.look(ply, line),
  imagine,
  settle,
});

/** @type {Model[]} */
let models = [];
const chosen = /** @type {HTMLSelectElement} */ (byId("model"));
const field = (/** @type {string} */ id) => /** @type {HTMLInputElement} */ (byId(id));

/** Do something; say what went wrong if it does. @param {() => Promise<unknown>} work @returns {Promise<boolean>} */
async function attempt(work) {
  byId("problem").hidden = true;
  try {
    await work();
    wantGates();
    return true;
  } catch (error) {
    page.show();
    say(error, () => attempt(work));
    return false;
  }
}

/** @param {unknown} error @param {() => void} again */
function say(error, again) {
  const text = error instanceof Error ? error.message : String(error);
  byId("problem-text").textContent = text.charAt(0).toUpperCase() + text.slice(1);
  byId("problem-retry").hidden = error instanceof Problem && error.status < 500 && error.status !== 429;
  byId("problem-retry").onclick = again;
  byId("problem").hidden = false;
  if (![Problem, Away, NoKey, Unreadable].some((kind) => error instanceof kind)) console.warn(error);
}

/** Play moves at the position shown, one after the other. @param {string[]} moves */
function play(moves) {
  return attempt(async () => {
    while (moves.length) {
      const began = performance.now();
      await game.play(moves[0]);
      moves.shift();
      performance.measure("move", { start: began });
      page.say(performance.now() - began);
    }
  });
}

/** Play the move that a pointer meant. @param {Candidate[]} meant */
async function pick(meant) {
  const move = meant.length > 1 ? await choose(meant) : meant[0];
  if (move) await play([move.move]);
}

let imagining = false;
let again = false;

/** Show what other ratings change, for the newest position of the slider alone. */
async function imagine() {
  again = true;
  if (imagining) return;
  imagining = true;
  for (; again; await attempt(() => game.imagine(page.context.value))) again = false;
  imagining = false;
}

/** Go on with these ratings. */
function settle() {
  live.stop();
  return attempt(async () => {
    await game.imagine(page.context.value);
    await game.settle();
  });
}

let beginning = 0;

/** Offer no moves while games begin: those that are shown belong to the one before. @param {1 | -1} more */
function begins(more) {
  beginning += more;
  for (const id of ["board", "candidates"]) byId(id).inert = beginning > 0;
}

/** @param {Model} model @param {import("./game.js").Context} [context] @param {string[]} [moves] @param {string} [title] */
async function begin(model, context = {}, moves = [], title = "New game") {
  live.stop();
  begins(1);
  const begun = await attempt(async () => {
    await game.begin(model, context, moves, title);
    byId("status").textContent = moves.length ? `${summary(game.line.surprisal)}.` : "";
  });
  begins(-1);
  showModel();
  return begun;
}

function showModel() {
  if (game.model) chosen.value = `${game.model.name}/${game.model.version}`;
}

/** Load a pasted game. @param {string} text */
function load(text) {
  const { moves, headers } = readGame(text);
  const { model } = game;
  if (!model) return attempt(start);
  if (headers.FEN)
    return attempt(() => Promise.reject(new Unreadable("this game begins at a position of its own (FEN)")));
  if (!moves.length) return attempt(() => Promise.reject(new Unreadable("there are no moves in this text")));
  const players = [headers.White, headers.Black].filter(Boolean).join(" – ");
  return begin(model, ContextForm.fromHeaders(headers, model.context), moves, players || "Pasted game");
}

/** Follow a session. @param {string} id */
function follow(id) {
  live.stop();
  return attempt(async () => {
    await game.watch(id, models);
    showModel();
    live.follow(game);
  });
}

let memoryInSight = false;
let gatesOf = "";
/** @type {ReturnType<typeof setTimeout> | undefined} */
let waiting;

/** Ask for the gates of the line a moment after it changed, if they are in sight. */
function wantGates() {
  clearTimeout(waiting);
  waiting = setTimeout(showGates, GATES_WAIT);
}

async function showGates() {
  const { line } = game;
  if (!line || !memoryInSight) return;
  const wanted = `${line.session} ${line.moves.join(" ")}`;
  if (wanted === gatesOf) return;
  gatesOf = wanted;
  try {
    const answer = await api.send("", "GET", explainPath(line.session));
    if (game.line === line) page.explain(answer);
  } catch (error) {
    gatesOf = "";
    page.explainNothing(error instanceof Error ? error.message : "");
  }
}

/** Do what a form is for instead of sending it. @param {string} id @param {() => Promise<unknown>} work */
function onSubmit(id, work) {
  byId(id).addEventListener("submit", (event) => {
    event.preventDefault();
    work();
  });
}

/** @type {Record<string, () => void>} */
const STEPS = {
  first: () => game.look(0),
  back: () => game.look(game.ply - 1),
  forward: () => game.look(game.ply + 1),
  last: () => game.look(Infinity),
};
const KEYS = { Home: "first", ArrowLeft: "back", ArrowRight: "forward", End: "last" };

function listen() {
  for (const [id, step] of Object.entries(STEPS)) byId(id).addEventListener("click", step);
  document.addEventListener("keydown", (event) => {
    const name = KEYS[/** @type {keyof typeof KEYS} */ (event.key)];
    const typing = event.target instanceof Element && event.target.matches("input, textarea, select");
    if (!name || typing || event.altKey || event.ctrlKey || event.metaKey || !game.line) return;
    event.preventDefault();
    STEPS[name]();
  });
  byId("takeback").addEventListener("click", () => attempt(() => game.takeback()));
  byId("turn").addEventListener("click", () => page.turn());
  byId("new").addEventListener("click", () => game.model && begin(game.model, game.line.context));
  byId("problem-close").addEventListener("click", () => (byId("problem").hidden = true));
  field("ply").addEventListener("input", () => game.look(Number(field("ply").value)));
  chosen.addEventListener("change", () => begin(models[chosen.selectedIndex]));
  onSubmit("move-form", async () => {
    const text = field("move").value.trim();
    // A name that is expected is a move, though it may look like a move's number or like two moves.
    const moves = game.next.some(({ move }) => move === text) ? [text] : readGame(text).moves;
    if (moves.length && (await play(moves))) field("move").value = "";
  });
  onSubmit("paste-form", async () => {
    if (await load(field("paste-text").value)) /** @type {HTMLDetailsElement} */ (byId("paste")).open = false;
  });
  onSubmit("live-form", () => follow(field("live-id").value.trim()));
  offerThemes(/** @type {HTMLButtonElement} */ (byId("theme")), () => page.redraw());
  new IntersectionObserver(([{ isIntersecting }]) => {
    memoryInSight = isIntersecting;
    wantGates();
  }).observe(byId("memory"));
}

/** Learn which models there are, and begin; an address that ends with #session=… follows that one. */
async function start() {
  ({ models } = await api.send("", "GET", "/models"));
  chosen.replaceChildren(
    ...models.map(({ name, version }) => make("option", { value: `${name}/${version}` }, `${name} ${version}`)),
  );
  const wanted = new URLSearchParams(location.hash.slice(1)).get("session");
  const model = models.find((one) => one.default) ?? models[0];
  if (!wanted || !(await follow(wanted))) await game.begin(model, {});
  showModel();
}

listen();
attempt(start);
