// What is asked: targets, number, wish, variety, filters.

import { call, isAbort, withQuery } from "./api.js";
import { byId, h, replace } from "./dom.js";
import { onLanguage, t } from "./i18n.js";
import { change, state, watch } from "./state.js";

const PERCENT = (share) => `${Math.round(share * 100)} %`;
const BOUND = { // element id -> the part of the state it shows
  wish: "wish", manner: "manner", categories: "categories", brands: "brands",
  "price-min": "priceMin", "price-max": "priceMax",
  diversity: "diversity", personal: "personal", explain: "explain", "exclude-seen": "excludeSeen",
};
const MIX_ONLY = ["diversity", "explain", "exclude-seen"]; // a search by words has none of these
const suggested = new Map(); // domain -> {categories, brands} of its first items

function chips() {
  const boxes = state.domains.map((domain) => h("label", { class: "chip" },
    h("input", {
      type: "checkbox", value: domain, checked: state.targets.includes(domain),
      "data-focus": `target-${domain}`, onchange: pick,
    }), h("span", {}, domain)));
  const group = byId("targets");
  replace(group, [group.querySelector("legend"), ...boxes]);
}

/** At least one target stays. */
function pick(event) {
  const chosen = state.domains.filter((d) => byId("targets").querySelector(`[value="${CSS.escape(d)}"]`).checked);
  if (chosen.length) change({ targets: chosen });
  else event.target.checked = true;
}

function take(element) {
  if (element.type === "checkbox") return element.checked;
  return element.type === "range" ? Number(element.value) : element.value;
}

function paint() {
  const searching = state.wish.trim() !== "" && state.manner === "search";
  for (const [id, part] of Object.entries(BOUND)) {
    const element = byId(id);
    if (element.type === "checkbox") element.checked = state[part];
    else if (element !== document.activeElement) element.value = state[part];
  }
  for (const id of MIX_ONLY) byId(id).disabled = searching;
  byId("diversity-value").textContent = PERCENT(state.diversity);
  byId("personal-value").textContent = PERCENT(state.personal);
  byId("personal-label").hidden = state.manner !== "search";
  const set = [
    searching ? t("not_in_search") : state.diversity > 0 && `${t("diversity")} ${PERCENT(state.diversity)}`,
    state.categories, state.brands,
    (state.priceMin || state.priceMax) && `${state.priceMin || "0"} – ${state.priceMax || "∞"}`,
  ].filter(Boolean);
  byId("more-note").textContent = set.length ? `· ${set.join(" · ")}` : "";
}

/** Fills the suggestions of the filters from the targets' first items. */
async function suggest() {
  for (const domain of state.targets) {
    if (suggested.has(domain)) continue;
    try {
      const { items } = await call("GET", withQuery("items", { domain, limit: 1000 }));
      const levels = items.map((item) => item.category.split(" > ").slice(0, 2).join(" > "));
      suggested.set(domain, { categories: levels, brands: items.map((item) => item.brand) });
    } catch (error) {
      if (!isAbort(error)) return; // suggestions are a help, not a need
    }
  }
  const options = (part) => [...new Set(state.targets.flatMap((d) => suggested.get(d)?.[part] ?? []))]
    .filter(Boolean).sort().map((value) => h("option", { value }));
  byId("category-options").replaceChildren(...options("categories"));
  byId("brand-options").replaceChildren(...options("brands"));
}

export function install() {
  for (const [id, part] of Object.entries(BOUND)) {
    byId(id).addEventListener("input", (event) => change({ [part]: take(event.target) }));
  }
  byId("k").addEventListener("input", (event) => {
    const k = Number(event.target.value);
    if (Number.isInteger(k) && k > 0) change({ k });
  });
  byId("more").addEventListener("toggle", (event) => { if (event.target.open) suggest(); });
  watch((parts) => {
    if (parts.has("domains") || parts.has("targets")) chips();
    if (parts.has("targets") && byId("more").open) suggest();
    paint();
  });
  onLanguage(paint);
  paint();
}
