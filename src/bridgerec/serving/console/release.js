// What answers: the release's dossier, from the rows to the service, with every hash.

import { call } from "./api.js";
import * as canary from "./canary.js";
import { byId, h, replace } from "./dom.js";
import { known, short, t } from "./i18n.js";
import { copyable, table, trouble, waiting } from "./parts.js";

const ROUTES = ["warm", "cold_start", "unknown"];
const isHash = (value) => typeof value === "string" && /^[0-9a-f]{12,}(\.dir)?$/.test(value);
const isLeaf = (value) => value === null || typeof value !== "object";
const isEmpty = (value) => Object.keys(value).length === 0;

function leaf(value) {
  if (value === null) return h("span", { class: "soft" }, t("none"));
  if (isHash(value)) return h("span", { class: "hash" }, h("code", {}, value), copyable(value));
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : h("span", { title: String(value) }, short(value));
  return String(value);
}

/** Any JSON as nested, closable lists; the first `open` levels are open. */
function tree(value, open) {
  return h("ul", { class: "tree" }, Object.entries(value).map(([name, inner]) => {
    if (isLeaf(inner)) return h("li", {}, h("span", { class: "name" }, name), " ", leaf(inner));
    if (isEmpty(inner)) return h("li", {}, h("span", { class: "name" }, name), " ", h("span", { class: "soft" }, t("none")));
    if (Array.isArray(inner) && inner.every(isLeaf) && inner.join(" ").length < 160) {
      return h("li", {}, h("span", { class: "name" }, name), " ", inner.join(", "));
    }
    return h("li", {}, h("details", { open: open > 0 },
      h("summary", {}, h("span", { class: "name" }, name), " ", h("span", { class: "soft small" }, Object.keys(inner).length)),
      tree(inner, open - 1)));
  }));
}

/** From the rows to the release: what each step is bound to. */
function chain(dossier) {
  const { champion } = dossier;
  const steps = [
    [t("chain_data"), dossier.data_hash],
    [t("chain_split", { protocol: champion.protocol }), champion.split_hash],
    [t("chain_catalogue"), champion.catalogue_sha256],
    [t("chain_models"), champion.models_sha256],
    [t("chain_lock"), dossier.dvc_lock_hash],
    [t("release"), dossier.release],
    [t("chain_bento"), dossier.bento_sha256],
  ];
  return h("ol", { class: "chain" }, steps.filter(([, hash]) => hash)
    .map(([name, hash]) => h("li", {}, h("span", { class: "name" }, name), leaf(hash))));
}

function paint(dossier) {
  const { routes } = dossier.champion;
  const { decision } = dossier;
  return [
    h("div", { class: "two" },
      h("section", { class: "card" }, h("h2", {}, t("who_answers")),
        table(t("who_answers"), [t("route"), t("candidate"), t("whom")], ROUTES.filter((r) => r in routes).map((route) =>
          [h("span", { class: `state ${route}` }, known(`route_${route}`, route)), h("b", {}, routes[route]), t(`route_${route}_why`)])),
        h("h3", {}, t("gate")),
        h("p", { class: "soft small" }, t("gate_note", decision)),
        h("ul", { class: "plain" }, decision.reasons.map((reason) => h("li", {}, reason)))),
      h("section", { class: "card" }, h("h2", {}, t("chain")),
        h("p", { class: "soft small" }, t("chain_note")), chain(dossier))),
    h("section", { class: "card" }, h("h2", {}, t("dossier")), tree(dossier, 0)),
  ];
}

export async function open() {
  canary.open();
  const place = byId("dossier");
  place.replaceChildren(waiting());
  try {
    replace(place, paint(await call("GET", "release")));
  } catch (error) {
    place.replaceChildren(trouble(error, open));
  }
}
