// Starts the page: languages, the four views, the key, and what the release is about.

import { call, onKeyNeeded, storeKey } from "./api.js";
import { askForKey } from "./dialogs.js";
import { byId } from "./dom.js";
import { onLanguage, current, setLanguage, t, translate } from "./i18n.js";
import { trouble } from "./parts.js";
import * as controls from "./controls.js";
import * as evidence from "./evidence.js";
import * as history from "./history.js";
import * as people from "./people.js";
import * as release from "./release.js";
import * as releases from "./releases.js";
import * as results from "./results.js";
import { change } from "./state.js";

const VIEWS = { recommend: results, people, evidence, release };
const view = () => (location.hash.slice(1) in VIEWS ? location.hash.slice(1) : "recommend");

/** Shows the view that the address names; `moved`: the reader went there just now. */
function show(moved) {
  for (const name of Object.keys(VIEWS)) {
    byId(`view-${name}`).hidden = name !== view();
    const link = document.querySelector(`nav a[href="#${name}"]`);
    if (name === view()) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  VIEWS[view()].open();
  if (!moved) return;
  window.scrollTo(0, 0);
  byId(`title-${view()}`).focus({ preventScroll: true });
}

function markLanguage() {
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === current()));
  }
}

async function start() {
  try {
    const dossier = await call("GET", "release");
    const domains = Object.keys(dossier.params.data.domains);
    const targets = dossier.params.targets.length ? dossier.params.targets : domains;
    change({ domains, targets: targets.slice(0, 1) });
    show(false);
  } catch (error) {
    byId("answer").replaceChildren(trouble(error, start));
    byId("view-recommend").hidden = false;
  }
}

onKeyNeeded(askForKey);
translate();
markLanguage();
for (const button of document.querySelectorAll("[data-language]")) {
  button.addEventListener("click", () => setLanguage(button.dataset.language));
}
onLanguage(() => { markLanguage(); VIEWS[view()].open(); });
byId("key-button").addEventListener("click", async () => {
  const key = await askForKey(null, t("key_why"));
  if (!key) return;
  storeKey(key);
  location.reload();
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address names the view
  byId(`title-${view()}`).focus();
});
for (const part of [controls, history, people, releases, results]) part.install();
window.addEventListener("hashchange", () => show(true));
start();
