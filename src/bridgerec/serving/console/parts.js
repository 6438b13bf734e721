// Small things that several views show.

import { h } from "./dom.js";
import { t } from "./i18n.js";
import { state } from "./state.js";

/** A domain's name; domains keep their colour in every view. */
export function badge(domain) {
  const place = Math.max(0, state.domains.indexOf(domain)) % 6;
  return h("span", { class: `badge domain-${place}` }, domain);
}

/** What an item is called: by its id, where it has no title. */
export const named = ({ title, item_id }) => title?.trim() || item_id;

/** What went wrong and what to do, with a way to try again. */
export function trouble(error, again = null) {
  const remedy = error.status === 403 ? t("error_forbidden_remedy") : error.remedy;
  return h("div", { class: "card trouble", role: "alert" },
    h("p", {}, h("strong", {}, error.message)),
    error.detail ? h("p", { lang: "en" }, error.detail) : null,
    remedy ? h("p", { lang: error.detail && error.status !== 403 ? "en" : null }, remedy) : null,
    error.requestId ? h("p", { class: "soft small" }, `${t("request_id")} `, h("code", {}, error.requestId)) : null,
    again ? h("button", { type: "button", onclick: again }, t("try_again")) : null);
}

export function waiting() {
  return h("p", { class: "soft waiting", role: "status" }, t("loading"));
}

export const signed = (n) => `${n > 0 ? "+" : ""}${n.toFixed(2)}`;

/** A table: `head` texts, `rows` of cells; the first cell of a row is its header. */
export function table(caption, head, rows) {
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    h("table", {}, h("caption", { class: "unseen" }, caption),
      h("thead", {}, h("tr", {}, head.map((text) => h("th", { scope: "col" }, text)))),
      h("tbody", {}, rows.map(([first, ...others]) => h("tr", {},
        h("th", { scope: "row" }, first), others.map((cell) => h("td", {}, cell)))))));
}

/** A labelled select; `options` are [value, text]. */
export function choice(label, options, value, onchange) {
  return h("label", {}, h("span", {}, label),
    h("select", { onchange: (event) => onchange(event.target.value), "data-focus": `choice-${label}` },
      options.map(([option, text]) => h("option", { value: option, selected: option === value }, text))));
}

/** A button that copies; null where the browser does not let pages do that (plain http elsewhere). */
export function copyable(text) {
  if (!navigator.clipboard) return null;
  const button = h("button", { type: "button", class: "quiet tiny", "aria-label": `${t("copy")} ${text}` }, t("copy"));
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    button.textContent = t("copied");
  });
  return button;
}
