// The answer: what it rests on, and the items.

import { call, isAbort } from "./api.js";
import { byId, debounced, h, newest, replace } from "./dom.js";
import { integer, t } from "./i18n.js";
import { card } from "./item.js";
import { badge, trouble } from "./parts.js";
import { question, state, watch } from "./state.js";

const PAUSE = 200; // milliseconds without a change before the service is asked
const key = (item) => `${item.domain}/${item.item_id}`;
let ranks = new Map(); // of the answer before, to show what moved
let answer = null;

const ask = newest(async (signal) => {
  const { path, body } = question();
  if (!body.target.length) return;
  byId("items").setAttribute("aria-busy", "true");
  try {
    const found = await call("POST", path, body, signal);
    ranks = new Map(answer?.items.map((item) => [key(item), item.rank]));
    answer = found;
    paint();
    byId("said").textContent = t("said", {
      n: integer(answer.items.length), where: answer.target.join(", "), route: t(`route_${answer.route}`),
    });
  } catch (error) {
    if (isAbort(error)) return;
    answer = null;
    byId("said").textContent = "";
    replace(byId("answer"), trouble(error, () => ask()));
    replace(byId("items"), []);
  }
  byId("items").removeAttribute("aria-busy");
});

const soon = debounced(ask, PAUSE);

function head() {
  const several = Object.keys(answer.routes).length > 1;
  const routes = Object.entries(answer.routes).map(([domain, route]) => h("span", { class: "route" },
    several ? badge(domain) : null,
    h("span", { class: `state ${route}`, title: t(`route_${route}_why`) }, t(`route_${route}`))));
  const why = Object.entries(answer.routes)
    .map(([domain, route]) => (several ? `${domain}: ` : "") + t(`route_${route}_why`)).join(" ");
  return [
    h("p", { class: "facts" }, routes,
      h("span", {}, `${t("candidate")} `, h("b", {}, answer.candidate)),
      h("span", {}, `${t("release")} `, h("a", { href: "#release" }, h("code", {}, answer.release)))),
    h("p", { class: "soft small" }, why),
    answer.understood ? h("p", { class: "note" }, `${t("understood")} ${answer.understood}`) : null,
    answer.notes.map((note) => h("p", { class: "note" }, note)),
    // the encoder may still have been on its way
    answer.notes.some((note) => note.startsWith("the wish was not used"))
      ? h("div", {}, h("button", { type: "button", "data-focus": "again", onclick: () => ask() }, t("ask_again"))) : null,
  ];
}

/** How an item's rank changed since the answer before: a number, "new", or null for no change. */
function moved(item) {
  if (ranks.size === 0) return null;
  const before = ranks.get(key(item));
  return before === undefined ? "new" : before - item.rank || null;
}

function paint() {
  if (answer === null) return;
  const scores = answer.items.map((item) => item.score);
  const [low, high] = [Math.min(...scores), Math.max(...scores)];
  const share = (score) => (high > low ? 0.12 + 0.88 * (score - low) / (high - low) : 1);
  replace(byId("answer"), head());
  replace(byId("items"), answer.items.length
    ? answer.items.map((item) => card(item, share(item.score), moved(item)))
    : h("li", { class: "card soft" }, t("no_items")), byId("title-recommend"));
}

export function open() {
  if (answer === null) soon();
  else paint();
}

export function install() {
  // a choice that changes nothing in the question, such as an empty wish's manner, asks nothing
  let before = null;
  watch(() => {
    const now = JSON.stringify(question());
    if (now === before || state.domains.length === 0) return;
    before = now;
    soon();
  });
}
