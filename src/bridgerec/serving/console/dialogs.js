// The two questions the page asks: for a key, and whether one is sure.

import { storedKey, storeKey } from "./api.js";
import { byId } from "./dom.js";
import { t } from "./i18n.js";

/** Opens a dialog; gives the value of the button that closed it ("" after Escape). */
function asked(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => done(dialog.returnValue), { once: true });
  });
}

/** Asks for a key; `refused` is the one that did not do.  Gives null if none is given. */
export async function askForKey(refused, why = t(refused ? "key_refused" : "key_needed")) {
  const field = byId("key");
  byId("key-why").textContent = why;
  field.value = "";
  byId("key-forget").hidden = !storedKey();
  const answer = asked(byId("key-dialog"));
  field.focus();
  const how = await answer;
  const key = field.value.trim();
  field.value = "";
  if (how === "forget") storeKey(null);
  return how === "use" && key ? key : null;
}

// Enter in a form presses its first button, which is not the one that is meant
byId("key").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.isComposing) return;
  event.preventDefault();
  byId("key-dialog").close("use");
});

export async function sure(question, doIt) {
  byId("confirm-text").textContent = question;
  byId("confirm-yes").textContent = doIt;
  return (await asked(byId("confirm-dialog"))) === "yes";
}
