// What the service knows of a person, and forgetting it.

import { call, isAbort } from "./api.js";
import { sure } from "./dialogs.js";
import { byId, h, newest, replace } from "./dom.js";
import { finder } from "./finder.js";
import { lookForPeople } from "./history.js";
import { day, integer, t } from "./i18n.js";
import { badge, named, table, trouble, waiting } from "./parts.js";
import { change, state } from "./state.js";

const path = (person) => `users/${encodeURIComponent(person)}`;

const look = newest(async (signal, person) => {
  const page = byId("person-page");
  page.replaceChildren(waiting());
  try {
    const found = await call("GET", path(person), undefined, signal);
    replace(page, described(found));
  } catch (error) {
    if (!isAbort(error)) replace(page, trouble(error, () => look(person)));
  }
});

function described(found) {
  const person = found.user_id;
  const buttons = h("div", { class: "line" },
    h("a", { href: "#recommend", class: "button strong", onclick: () => change({ person }) }, t("recommend_to")),
    found.known ? h("button", { type: "button", class: "danger", onclick: () => forget(person) }, t("forget")) : null);
  if (!found.known) return [h("h2", {}, person), h("p", {}, t("unknown_person")), buttons];
  const rows = found.events.toReversed().map((event) => [
    event.timestamp ? day(event.timestamp) : "–",
    badge(event.domain),
    named(event),
    event.kind ?? "–",
    t(`source_${event.source}`),
  ]);
  return [
    h("h2", {}, person),
    h("p", { class: "soft" }, t("person_facts", { n: integer(found.events.length), stored: integer(found.stored) })),
    buttons,
    table(t("person_events", { person }), ["when", "domain", "title", "kind", "source"].map((c) => t(`column_${c}`)), rows),
  ];
}

async function forget(person) {
  if (!(await sure(t("forget_sure", { person }), t("forget")))) return;
  const page = byId("person-page");
  try {
    await call("DELETE", path(person));
    if (state.person === person) change({ person: null });
    replace(page, [h("h2", {}, person), h("p", {}, t("forgotten", { person }))]);
  } catch (error) {
    page.append(trouble(error));
  }
}

export function open() {
  if (state.person !== null) look(state.person);
  else replace(byId("person-page"), h("p", { class: "soft" }, t("people_empty")));
}

export function install() {
  finder({
    input: byId("people-input"), list: byId("people-list"), look: lookForPeople,
    show: (id) => id, choose: look,
  });
}
