// The evaluation that chose this release: who leads where, by how much, and for whom.

import { call } from "./api.js";
import { bars, differences, pairs } from "./charts.js";
import { byId, h, replace } from "./dom.js";
import { integer, known, t } from "./i18n.js";
import { choice, trouble, waiting } from "./parts.js";

let found = null; // the content of GET /evaluation
const chosen = { place: null, metric: "ndcg@10", segment: "all", against: null };

const places = () => Object.entries(found.test).flatMap(([split, targets]) =>
  Object.keys(targets).map((target) => [`${split} ${target}`, split, target]));
const segmentName = (segment) => known(`segment_${segment}`, segment.replace(/^from_/, `${t("segment_from")} `)
  .replace(/^script_/, `${t("segment_script")} `));
const splitName = (split) => {
  const [protocol, , percent] = split.split("-");
  return known(`split_${protocol}`, split) + (percent ? ` (${percent} %)` : "");
};

/** The released candidate that answers the people whom a split asks about. */
function released(split) {
  const routes = found.released;
  return split.startsWith("cold_start") ? routes.cold_start ?? routes.warm : routes.warm;
}

function leaderboard(split, target) {
  const rows = Object.entries(found.test[split][target])
    .map(([name, segments]) => ({ name, ...segments[chosen.segment]?.[chosen.metric], marked: name === released(split) }))
    .filter((row) => row.value !== undefined)
    .sort((a, b) => b.value - a.value);
  if (!rows.length) return h("p", { class: "soft" }, t("no_cases"));
  return bars(`${chosen.metric}, ${splitName(split)}, ${target}`, rows);
}

/** In words, how sure the lead of the released candidate is. */
function verdict(split, target) {
  const ours = released(split);
  const rows = found.comparisons.filter((row) => row.split === split && row.target === target && row.candidate === ours);
  const better = rows.filter((row) => row.low > 0).length;
  const worse = rows.filter((row) => row.high < 0).length;
  const parts = Object.entries({ better, worse, unsure: rows.length - better - worse })
    .filter(([, n]) => n > 0)
    .map(([kind, n]) => t(`verdict_${kind}`, { n, all: rows.length }));
  return h("p", {}, t("verdict", { candidate: ours, parts: parts.join(t("verdict_and")) }));
}

function against(split, target) {
  const ours = released(split);
  const rows = found.comparisons
    .filter((row) => row.split === split && row.target === target && row.candidate === ours)
    .map((row) => ({ name: row.against, value: row.mean, low: row.low, high: row.high, p: row.p_holm }))
    .sort((a, b) => a.value - b.value);
  if (!rows.length) return h("p", { class: "soft" }, t("no_cases"));
  return differences(`${t("difference_title")}: ${ours}`, rows);
}

function segments(split, target) {
  const ours = found.test[split][target][released(split)];
  const other = chosen.against ?? found.baseline;
  const theirs = found.test[split][target][other] ?? {};
  const rows = Object.keys(ours).map((segment) => ({
    name: segmentName(segment),
    n: integer(found.people[split]?.[target]?.[segment] ?? 0),
    ours: ours[segment][chosen.metric],
    theirs: theirs[segment]?.[chosen.metric],
  })).filter((row) => row.ours);
  return pairs(`${t("segments")}: ${chosen.metric}`, rows, [released(split), other]);
}

function section(title, note, ...content) {
  return h("section", { class: "card" }, h("h2", {}, title), h("p", { class: "soft small" }, note), content);
}

function paint() {
  const all = places();
  chosen.place ??= all[0][0];
  const [, split, target] = all.find(([place]) => place === chosen.place) ?? all[0];
  const candidates = Object.keys(found.test[split][target]);
  const own = found.test[split][target][released(split)];
  if (!(chosen.segment in own)) chosen.segment = "all";
  const set = (part) => (value) => { chosen[part] = value; paint(); };
  const metrics = Object.keys(own.all);
  const info = found.splits[split];
  replace(byId("charts"), [
    h("div", { class: "card line" },
      choice(t("split_target"), all.map(([place, s, d]) => [place, `${splitName(s)} → ${d}`]), chosen.place, set("place")),
      choice(t("metric"), metrics.map((m) => [m, m]), chosen.metric, set("metric")),
      choice(t("segment"), Object.keys(own).map((s) => [s, segmentName(s)]), chosen.segment, set("segment"))),
    h("div", { class: "two" },
      section(t("leaderboard"), t("leaderboard_note", {
        confidence: Math.round(found.confidence * 100), n: integer(found.people[split]?.[target]?.[chosen.segment] ?? 0),
        seeds: found.seeds,
      }), leaderboard(split, target)),
      section(t("differences"), t("differences_note"), verdict(split, target), against(split, target))),
    h("div", { class: "two" },
      section(t("segments"), t("segments_note"),
        choice(t("compare_with"), candidates.filter((c) => c !== released(split)).map((c) => [c, c]),
          chosen.against ?? found.baseline, set("against")),
        segments(split, target)),
      section(t("split_facts"), known(`split_${info.protocol}_note`, ""), h("p", { class: "small" },
        t("split_rows", Object.fromEntries(Object.entries(info.rows).map(([k, v]) => [k, integer(v)]))), " ",
        h("code", {}, info.hash)))),
  ], byId("title-evidence"));
}

export async function open() {
  if (found !== null) { paint(); return; }
  byId("charts").replaceChildren(waiting());
  try {
    found = await call("GET", "evaluation");
    paint();
  } catch (error) {
    byId("charts").replaceChildren(trouble(error, open));
  }
}
