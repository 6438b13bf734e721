// The answer: what it rests on, and the items; of one release, or of two side by side.

import { call, isAbort } from "./api.js";
import { byId, debounced, h, newest, replace } from "./dom.js";
import { integer, t } from "./i18n.js";
import { card } from "./item.js";
import { badge, trouble } from "./parts.js";
import { look } from "./releases.js";
import { question, state, watch } from "./state.js";
import { heard, note } from "./told.js";

const PAUSE = 200; // milliseconds without a change before the service is asked
const key = (item) => `${item.domain}/${item.item_id}`;
const ranksOf = (answer) => new Map(answer?.items.map((item) => [key(item), item.rank]));

/** A list on the page; `ranks` are those that its items are compared with, in the words `than`:
 * of its own answer before ("moved"), or of the list beside it ("beside"). */
const list = (suffix, than) => ({
  head: byId(`answer${suffix}`), items: byId(`items${suffix}`), than, answer: null, error: null, ranks: new Map(),
});
const first = list("", "moved");
const second = list("-beside", "beside");

/** The answer of a release ("": of whoever is to answer), or why there is none. */
async function answerOf(release, signal) {
  const { path, body } = question(release);
  try {
    return { answer: await call("POST", path, body, signal), error: null };
  } catch (error) {
    if (isAbort(error)) throw error;
    return { answer: null, error };
  }
}

const ask = newest(async (signal) => {
  if (!state.targets.length) return;
  const asked = [state.release, ...(state.beside ? [state.beside] : [])];
  for (const { items } of [first, second]) items.setAttribute("aria-busy", "true");
  try {
    const [own, other] = await Promise.all(asked.map((release) => answerOf(release, signal)));
    const before = ranksOf(first.answer);
    Object.assign(first, own, { ranks: before });
    Object.assign(second, other ?? { answer: null, error: null }, { ranks: ranksOf(own.answer) });
  } catch (error) {
    if (isAbort(error)) return; // a later question is on its way
    throw error;
  }
  paint();
  byId("said").textContent = said();
  for (const { items } of [first, second]) items.removeAttribute("aria-busy");
  if ([first, second].some(({ error }) => error?.status === 404)) look(); // a release that is gone
});

const soon = debounced(ask, PAUSE);

function said() {
  if (first.answer === null) return "";
  const { items, target, route } = first.answer;
  const told = t("said", { n: integer(items.length), where: target.join(", "), route: t(`route_${route}`) });
  return second.answer === null ? told : `${told} ${t("said_beside", { release: second.answer.release })} ${common()}`;
}

/** How many items both lists have. */
function common() {
  const { items } = second.answer;
  const n = items.filter((item) => second.ranks.has(key(item))).length;
  return t("in_both", { n: integer(n), all: integer(items.length) });
}

function head({ answer, than }) {
  const several = Object.keys(answer.routes).length > 1;
  const routes = Object.entries(answer.routes).map(([domain, route]) => h("span", { class: "route" },
    several ? badge(domain) : null,
    h("span", { class: `state ${route}`, title: t(`route_${route}_why`) }, t(`route_${route}`))));
  const why = Object.entries(answer.routes)
    .filter(([, route]) => !(answer.understood && route === "unknown")) // words answered, or it says so
    .map(([domain, route]) => (several ? `${domain}: ` : "") + t(`route_${route}_why`)).join(" ");
  return [
    h("p", { class: "facts" }, routes,
      h("span", {}, `${t("candidate")} `, h("b", {}, answer.candidate)),
      h("span", {}, `${t("release")} `, h("a", { href: "#release" }, h("code", {}, answer.release)))),
    h("p", { class: "soft small" }, than === "beside" && first.answer ? common() : why),
    answer.understood ? h("p", { class: "note" }, `${t("understood")} ${heard(answer.understood)}`) : null,
    answer.notes.map((said) => h("p", { class: "note" }, note(said))),
    // the encoder may still have been on its way
    answer.notes.some((said) => said.startsWith("the wish was not used"))
      ? h("div", {}, h("button", { type: "button", "data-focus": "again", onclick: () => ask() }, t("ask_again"))) : null,
  ];
}

/** How an item's rank differs: a number, "new", or null for no difference. */
function moved(item, ranks) {
  if (ranks.size === 0) return null;
  const before = ranks.get(key(item));
  return before === undefined ? "new" : before - item.rank || null;
}

function paintList(shown) {
  const { answer, error, ranks, than } = shown;
  if (answer === null) {
    replace(shown.head, error ? trouble(error, () => ask()) : []);
    replace(shown.items, []);
    return;
  }
  const scores = answer.items.map((item) => item.score);
  const [low, high] = [Math.min(...scores), Math.max(...scores)];
  const share = (score) => (high > low ? 0.12 + 0.88 * (score - low) / (high - low) : 1);
  replace(shown.head, head(shown));
  shown.items.setAttribute("aria-label", t("list_of", { release: answer.release }));
  replace(shown.items, answer.items.length
    ? answer.items.map((item) => card(item, share(item.score), moved(item, ranks), than))
    : h("li", { class: "card soft" }, t("no_items")), byId("title-recommend"));
}

function paint() {
  byId("beside").hidden = second.answer === null && second.error === null;
  for (const shown of [first, second]) paintList(shown);
}

export function open() {
  look();
  if (first.answer === null) soon();
  else paint();
}

export function install() {
  // a choice that changes nothing in the question, such as an empty wish's manner, asks nothing
  let before = null;
  watch(() => {
    const now = JSON.stringify([question(), state.beside]);
    if (now === before || state.domains.length === 0) return;
    before = now;
    soon();
  });
}
