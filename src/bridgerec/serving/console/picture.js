// An item's picture, or a quiet drawing made from its category where there is none.

import { h, svg } from "./dom.js";

/** A number from a text, the same everywhere (FNV-1a, 32 bits). */
export function hash(text) {
  let found = 0x811c9dc5;
  for (const character of text) {
    found = Math.imul(found ^ character.codePointAt(0), 0x01000193);
  }
  return found >>> 0;
}

/** The part of a category that says most: the second level of "Films > Jazz > Drama". */
export function theme(category) {
  const levels = category.split(">").map((level) => level.trim()).filter(Boolean);
  return levels[1] ?? levels[0] ?? "";
}

const usable = (image) => typeof image === "string" && /^(https:|data:image\/|\/pictures\/)/.test(image);

/** 56 by 56 pixels, without a text alternative: the title stands beside it. */
export function picture(item) {
  if (!usable(item.image)) return drawing(item);
  const image = h("img", { src: item.image, alt: "", class: "picture", loading: "lazy", width: 56, height: 56 });
  image.addEventListener("error", () => image.replaceWith(drawing(item)));
  return image;
}

function drawing(item) {
  const name = theme(item.category ?? "") || item.domain;
  const hue = hash(name) % 360;
  const own = hash(`${item.domain}/${item.item_id}`);
  const at = (shift, span) => ((own >>> shift) & 255) / 255 * span;
  const colour = (turn, light) => `hsl(${(hue + turn) % 360} 42% ${light}%)`;
  const letter = [...name][0] ?? "";
  return svg("svg", { viewBox: "0 0 56 56", class: "picture", "aria-hidden": "true" },
    svg("rect", { width: 56, height: 56, fill: colour(0, 46) }),
    svg("circle", { cx: 8 + at(0, 40), cy: 4 + at(4, 20), r: 15 + at(8, 9), fill: colour(28, 58), opacity: 0.75 }),
    svg("circle", { cx: 4 + at(12, 48), cy: 44 + at(16, 14), r: 13 + at(20, 12), fill: colour(330, 36), opacity: 0.75 }),
    svg("text", { x: 28, y: 36, "text-anchor": "middle", class: "letter" }, letter.toUpperCase()));
}
