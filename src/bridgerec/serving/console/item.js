// One recommended item, with the reasons for it.

import { h } from "./dom.js";
import { short, t } from "./i18n.js";
import { badge, named, signed } from "./parts.js";
import { picture } from "./picture.js";
import { add, inHistory } from "./state.js";

function movement(moved, than) {
  if (moved === null) return null;
  if (moved === "new") return h("span", { class: "moved new" }, t(`${than}_new`));
  const text = t(`${than}_${moved > 0 ? "up" : "down"}`, { n: Math.abs(moved) });
  return h("span", { class: `moved ${moved > 0 ? "up" : "down"}`, title: text },
    h("span", { "aria-hidden": "true" }, `${moved > 0 ? "▲" : "▼"}${Math.abs(moved)}`),
    h("span", { class: "unseen" }, text));
}

/** The score as a number and a bar, `share` (0 to 1) of the list's best. */
function score(value, share) {
  const bar = h("span", { class: "fill" });
  bar.style.inlineSize = `${Math.round(share * 100)}%`;
  return h("div", { class: "score", title: t("score_note") },
    h("span", { class: "unseen" }, t("score")), h("span", { class: "number" }, short(value)),
    h("span", { class: "bar", "aria-hidden": "true" }, bar));
}

/** Why: because of which words, of what in the history, through what, moved by which rule. */
export function reasons({ because = [], shared = [], moved = [], wish = null }) {
  const lines = [];
  if (wish !== null) {
    lines.push(h("p", {}, `${t("by_wish")} `, h("span", { class: "soft", title: t("wish_contribution_note") }, signed(wish))));
  }
  if (because.length) {
    lines.push(h("p", {}, `${t("because")} `, because.map((cause, place) => [
      place ? t("and") : null,
      h("span", { class: "cause" }, badge(cause.domain), " ", named(cause), " ",
        h("span", { class: "soft", title: t("contribution_note") }, signed(cause.contribution)))])));
  }
  if (shared.length) {
    lines.push(h("p", {}, `${t("shared")} `, shared.map((word) => h("span", { class: "word" }, word))));
  }
  for (const { rule, from, to } of moved) {
    lines.push(h("p", {}, rule === "Chance" ? t("moved_by_chance", { from, to }) : t("moved_by", { rule, from, to })));
  }
  return lines.length ? h("div", { class: "reasons" }, lines) : null;
}

function price(value) {
  return value === null || value === undefined ? null : h("span", { class: "price" }, value.toFixed(2));
}

/** A list entry; `share` is the length of its bar, `moved` how its rank differs, and `than` which
 * words say so: "moved" since the answer before, "beside" from the list beside it. */
export function card(item, share, moved, than = "moved") {
  const chosen = inHistory(item);
  return h("li", { class: "item", "data-item": `${item.domain}/${item.item_id}` },
    h("span", { class: "rank" }, item.rank),
    picture(item),
    h("div", { class: "what" },
      h("h3", {}, named(item)),
      h("p", { class: "soft small" }, badge(item.domain), " ",
        [item.category, item.brand].filter(Boolean).join(" · "), " ", price(item.price))),
    h("div", { class: "side" }, movement(moved, than), score(item.score, share),
      h("button", {
        type: "button", "data-focus": `add-${item.domain}-${item.item_id}`, disabled: chosen,
        "aria-label": t("add_title", { title: named(item) }), onclick: () => add(item),
      }, t(chosen ? "added" : "add"))),
    item.explanation ? reasons(item.explanation) : null);
}
