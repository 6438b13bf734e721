// The left column: the person, and a history put together by clicking.

import { call, withQuery } from "./api.js";
import { byId, h, replace } from "./dom.js";
import { finder } from "./finder.js";
import { onLanguage, t } from "./i18n.js";
import { badge, named, trouble } from "./parts.js";
import { picture } from "./picture.js";
import { add, change, move, remove, state, watch } from "./state.js";

/** Looks people up by the beginning of their id; whoever is typed in full can be asked about too. */
export async function lookForPeople(query, signal) {
  const { users } = await call("GET", withQuery("users", { query, limit: 8 }), undefined, signal);
  return query && !users.includes(query) ? [...users, query] : users;
}

function person() {
  if (state.person === null) return [h("p", { class: "soft small" }, t("person_nobody"))];
  return [h("p", { class: "chosen" },
    h("strong", {}, state.person),
    h("a", { href: "#people", "data-focus": "person-known", class: "small" }, t("person_known")),
    h("button", {
      type: "button", class: "quiet", "data-focus": "person-drop",
      "aria-label": t("person_drop", { person: state.person }), onclick: () => change({ person: null }),
    }, "✕"))];
}

function entry(item, place) {
  const act = (what, sign, f, disabled = false) => h("button", {
    type: "button", class: "quiet tiny", disabled, "data-focus": `${what}-${item.domain}-${item.item_id}`,
    "aria-label": t(`entry_${what}`, { title: named(item) }), title: t(`entry_${what}`, { title: named(item) }),
    onclick: f,
  }, sign);
  return h("li", {}, h("div", { class: "grow" }, h("p", { class: "title" }, named(item)), badge(item.domain)),
    act("up", "↑", () => move(place, -1), place === 0),
    act("down", "↓", () => move(place, 1), place === state.history.length - 1),
    act("remove", "✕", () => remove(item)));
}

function domains() {
  const all = h("option", { value: "" }, t("all_domains"));
  const select = byId("item-domain");
  const chosen = select.value;
  select.replaceChildren(all, ...state.domains.map((domain) => h("option", { value: domain }, domain)));
  select.value = chosen;
}

/** Tells the service that the person did all this, and forgets it here: it comes back from there. */
async function save() {
  const events = state.history.map(({ domain, item_id }) => ({ user_id: state.person, domain, item_id }));
  try {
    await call("POST", "events", { events });
    change({ history: [] });
  } catch (error) {
    byId("history-save").append(trouble(error));
  }
}

function paint() {
  replace(byId("person-chosen"), person(), byId("person-input"));
  replace(byId("history"), state.history.map(entry), byId("title-history"));
  byId("history-clear").hidden = state.history.length === 0;
  byId("history-note").textContent = t(state.history.length ? "history_order" : "history_empty");
  const able = state.person !== null && state.history.length > 0;
  replace(byId("history-save"), able
    ? [h("button", { type: "button", "data-focus": "save", onclick: save }, t("history_save", { person: state.person }))]
    : []);
}

export function install() {
  finder({
    input: byId("person-input"), list: byId("person-list"), look: lookForPeople,
    show: (id) => id, choose: (id) => change({ person: id }),
  });
  const again = finder({
    input: byId("item-input"), list: byId("item-list"), keepOpen: true,
    look: async (query, signal) => {
      const domain = byId("item-domain").value;
      return (await call("GET", withQuery("items", { domain, query, limit: 8 }), undefined, signal)).items;
    },
    show: (item) => [picture(item), h("span", { class: "grow clip" }, named(item)), badge(item.domain)],
    choose: add,
  });
  byId("item-domain").addEventListener("change", again);
  byId("history-clear").addEventListener("click", () => {
    change({ history: [] });
    byId("item-input").focus();
  });
  watch((parts) => {
    if (parts.has("domains")) domains();
    if (parts.has("person") || parts.has("history")) paint();
  });
  onLanguage(() => { domains(); paint(); });
  paint();
}
