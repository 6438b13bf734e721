// The second release: watching it, changing its share, ending it.  For holders of an admin key.

import { call } from "./api.js";
import { sure } from "./dialogs.js";
import { byId, h, replace } from "./dom.js";
import { known, t } from "./i18n.js";
import { choice, trouble } from "./parts.js";

const draft = { bento: "", percent: 5, mode: "canary" };
const place = () => byId("canary");
const title = () => h("h2", { id: "title-canary", tabindex: -1 }, t("canary"));

function facts(status) {
  const { plan } = status;
  const lines = [
    [t("release"), h("code", {}, status.main)],
    ...(["none", "on"].includes(status.move) ? [] : [
      [t("move"), [known(`canary_${status.move}`, status.move), status.move_reason].filter(Boolean).join(": ")]]),
    [t("second"), status.second ? h("code", {}, status.second) : t("none")],
    [t("state"), h("span", { class: `state ${status.state}` }, known(`canary_${status.state}`, status.state))],
    ...(plan ? [[t("share"), `${Math.round(plan.weight * 1000) / 10} % · ${t(`mode_${plan.mode}`)}`]] : []),
    ...(plan ? [[t("answered"), t("canary_counts", status)]] : []),
    ...(status.reason ? [[t("reason"), status.reason]] : []),
  ];
  return h("dl", { class: "facts-list" }, lines.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

function form(status) {
  const percent = h("span", {}, `${draft.percent} %`);
  return h("form", { class: "fields", onsubmit: begin },
    h("label", { class: "grow" }, h("span", {}, t("bento")),
      h("input", { name: "bento", required: true, value: draft.bento, "data-focus": "bento", placeholder: "artifacts/bento",
        oninput: (event) => { draft.bento = event.target.value; } })),
    h("label", {}, h("span", {}, t("share")), percent,
      h("input", { name: "weight", type: "range", min: 0, max: 100, step: 1, value: draft.percent, "data-focus": "share",
        oninput: (event) => { draft.percent = Number(event.target.value); percent.textContent = `${draft.percent} %`; } })),
    choice(t("mode"), ["canary", "shadow"].map((mode) => [mode, t(`mode_${mode}`)]), draft.mode, (mode) => { draft.mode = mode; }),
    h("div", { class: "line" },
      h("button", { class: "strong", "data-focus": "begin" }, t(status.plan ? "canary_change" : "canary_begin")),
      status.plan ? h("button", { type: "button", class: "danger", "data-focus": "end", onclick: end }, t("roll_back")) : null));
}

function paint(status) {
  if (status.plan) Object.assign(draft, { ...status.plan, percent: Math.round(status.plan.weight * 100) });
  replace(place(), [title(), h("p", { class: "soft small" }, t("canary_note")), facts(status), form(status)], byId("title-canary"));
  if (status.state === "loading" && !byId("view-release").hidden) setTimeout(open, 2000);
}

async function act(method, body) {
  try {
    paint(await call(method, "admin/canary", body));
  } catch (error) {
    place().querySelector(".trouble")?.remove();
    place().append(trouble(error));
  }
}

function begin(event) {
  event.preventDefault();
  act("POST", { bento: draft.bento, weight: draft.percent / 100, mode: draft.mode });
}

async function end() {
  if (await sure(t("roll_back_sure"), t("roll_back"))) act("DELETE");
}

export async function open() {
  try {
    paint(await call("GET", "admin/canary"));
  } catch (error) {
    const absent = error.status === 404;
    replace(place(), [title(), absent ? h("p", { class: "soft" }, t("canary_absent")) : trouble(error, open)]);
  }
}
