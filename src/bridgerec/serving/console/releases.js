// Which release is asked: the one whose turn it is, or one by its id.  Shown to holders of an admin
// key while the service holds more than one.

import { call, storedKey } from "./api.js";
import { byId, h } from "./dom.js";
import { t } from "./i18n.js";
import { change, state, watch } from "./state.js";

const AGAIN = 2000; // milliseconds, while a release is being loaded
let status = null; // of the trial; null: not known, or not for this key
let refused; // the key that may not know, so that it is not tried again

/** What a release is to the service: live, on trial, in the shadow, switched off, or before. */
function role(id) {
  if (id === status.main) return t("is_live");
  if (id !== status.second) return t("is_before");
  return t(status.state === "off" ? "is_off" : `is_${status.plan.mode}`);
}

function fill(select, none, ids, chosen) {
  select.replaceChildren(h("option", { value: "" }, none),
    ...ids.map((id) => h("option", { value: id }, `${id} · ${role(id)}`)));
  select.value = chosen;
}

const choices = () => (status !== null && status.loaded.length > 1 ? status.loaded : []);

function paint() {
  const ids = choices();
  byId("which").hidden = ids.length === 0;
  fill(byId("which-release"), t("which_anyone"), ids, state.release);
  fill(byId("which-beside"), t("which_nobody"), ids.filter((id) => id !== state.release), state.beside);
}

/** Asks which releases there are; one that is gone, or alone, is not chosen any more. */
export async function look() {
  if (refused !== undefined && refused === storedKey()) return;
  try {
    status = await call("GET", "admin/canary");
  } catch (error) {
    status = null;
    if (error.status === 403) refused = storedKey();
  }
  const ids = choices();
  const kept = (id) => (ids.includes(id) ? id : "");
  const [release, beside] = [kept(state.release), kept(state.beside)];
  if (release !== state.release || beside !== state.beside) change({ release, beside });
  else paint();
  if (status?.state === "loading" && !byId("view-recommend").hidden) setTimeout(look, AGAIN);
}

export function install() {
  byId("which-release").addEventListener("change", ({ target }) => {
    change({ release: target.value, beside: state.beside === target.value ? "" : state.beside });
  });
  byId("which-beside").addEventListener("change", ({ target }) => change({ beside: target.value }));
  watch((parts) => { if (parts.has("release") || parts.has("beside")) paint(); });
}
