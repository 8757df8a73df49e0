/** Makes and changes elements; what comes from outside is only ever set as text or as an attribute. */

const SVG = "http://www.w3.org/2000/svg";

/** Give the element of an id. @template {HTMLElement} [T=HTMLElement] @param {string} id @returns {T} */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return /** @type {T} */ (found);
}

/**
 * Make an element of HTML.
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name @param {Record<string, string | number>} [attributes] @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[Name]}
 */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  set(element, attributes);
  element.append(...children);
  return element;
}

/**
 * Make an element of SVG.
 * @template {keyof SVGElementTagNameMap} Name
 * @param {Name} name @param {Record<string, string | number>} [attributes] @param {...(Node | string)} children
 * @returns {SVGElementTagNameMap[Name]}
 */
export function draw(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  set(element, attributes);
  element.append(...children);
  return element;
}

/** Set attributes. @param {Element} element @param {Record<string, string | number>} attributes */
export function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
}

/** Write a probability. @param {number} probability */
export function percent(probability) {
  const points = 100 * probability;
  if (points >= 9.95) return `${points.toFixed(0)} %`;
  return points >= 0.095 ? `${points.toFixed(1)} %` : "< 0.1 %";
}

/** Fit a canvas to its place and empty it. @param {HTMLCanvasElement} canvas @param {number} height */
export function sized(canvas, height) {
  const dense = devicePixelRatio;
  canvas.style.height = `${height}px`;
  canvas.width = Math.round(canvas.clientWidth * dense);
  canvas.height = Math.round(height * dense);
  const pen = canvas.getContext("2d");
  pen?.scale(dense, dense);
  return pen;
}
