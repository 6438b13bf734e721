// Building and replacing elements; no markup is ever parsed from text.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

/** An HTML element: `h("button", {class: "quiet", onclick: f}, "Text")`; null properties and
 * children are left out. */
export function h(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** The same for SVG. */
export function svg(tag, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

export const byId = (id) => document.getElementById(id);

/** Replaces what is inside; the focus stays on what has the same `data-focus`, or goes to
 * `otherwise` if that is gone. */
export function replace(parent, children, otherwise = null) {
  const focused = document.activeElement;
  const had = parent.contains(focused) ? focused.dataset.focus : undefined;
  parent.replaceChildren(...[children].flat(Infinity).filter((child) => child !== null));
  if (had === undefined) return;
  const again = [...parent.querySelectorAll("[data-focus]")].find((e) => e.dataset.focus === had);
  if (again && !again.disabled) again.focus();
  else otherwise?.focus();
}

/** Calls `f` once it has been quiet for `milliseconds`. */
export function debounced(f, milliseconds) {
  let timer;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => f(...given), milliseconds);
  };
}

/** `ask(signal, ...)` whose earlier calls are aborted by later ones. */
export function newest(ask) {
  let controller;
  return (...given) => {
    controller?.abort();
    controller = new AbortController();
    return ask(controller.signal, ...given);
  };
}
