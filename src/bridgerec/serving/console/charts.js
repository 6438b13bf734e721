// Charts as SVG, each with the same numbers as a table below it.

import { h, svg } from "./dom.js";
import { t } from "./i18n.js";
import { table } from "./parts.js";

const WIDTH = 540;
const LEFT = 150;
const RIGHT = 70;
const ROW = 28;

const short = (n) => (n === undefined || n === null ? "–" : n.toFixed(4));

/** Round steps from `low` to `high`. */
function ticks(low, high) {
  const raw = (high - low) / 4 || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-12; i += 1) found.push(i * step);
  return { found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

const whisker = (x, { low, high }, y) => (low === undefined || low === null ? null
  : svg("path", { class: "whisker", d: `M${x(low)} ${y}H${x(high)}M${x(low)} ${y - 4}v8M${x(high)} ${y - 4}v8` }));

function frame(title, height, low, high, x, body) {
  const { found, digits } = ticks(low, high);
  const lines = found.map((value) => [
    svg("path", { class: value === 0 ? "zero" : "grid", d: `M${x(value)} 0V${height}` }),
    svg("text", { class: "axis", x: x(value), y: height + 16, "text-anchor": "middle" }, value.toFixed(digits)),
  ]);
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${height + 22}`, role: "img", "aria-label": title, class: "chart" },
    lines, body);
}

const label = (text, y) => svg("text", { class: "label", x: LEFT - 10, y: y + 4, "text-anchor": "end" },
  text.length > 22 ? `${text.slice(0, 21)}…` : text);

const interval = (row) => (row.low === undefined || row.low === null ? "–" : `${short(row.low)} – ${short(row.high)}`);

function withTable(title, chart, head, rows) {
  return h("figure", {}, h("div", { class: "scroll" }, chart),
    h("details", {}, h("summary", {}, t("as_table")), table(title, head, rows)));
}

/** Horizontal bars from zero; `rows` hold {name, value, low, high, marked, title}. */
export function bars(title, rows) {
  const high = Math.max(...rows.map((row) => row.high ?? row.value), 1e-9);
  const x = (value) => LEFT + (WIDTH - LEFT - RIGHT) * value / high;
  const body = rows.map((row, place) => {
    const y = place * ROW + ROW / 2;
    return svg("g", {}, svg("title", {}, `${row.name}: ${short(row.value)} (${interval(row)})`),
      label(row.name, y),
      svg("rect", {
        class: `mark ${row.marked ? "best" : ""}`, x: LEFT, y: y - 9, height: 18, rx: 3,
        width: Math.max(1, x(row.value) - LEFT),
      }),
      whisker(x, row, y),
      svg("text", { class: "value", x: WIDTH - 4, y: y + 4, "text-anchor": "end" }, short(row.value)));
  });
  return withTable(title, frame(title, rows.length * ROW, 0, high, x, body),
    [t("name"), t("value"), t("interval")], rows.map((row) => [row.name, short(row.value), interval(row)]));
}

/** Points with intervals around a line at zero: differences. */
export function differences(title, rows) {
  const low = Math.min(0, ...rows.map((row) => row.low));
  const high = Math.max(0, ...rows.map((row) => row.high));
  const x = (value) => LEFT + (WIDTH - LEFT - RIGHT) * (value - low) / (high - low || 1);
  const body = rows.map((row, place) => {
    const y = place * ROW + ROW / 2;
    const sure = row.low > 0 ? "ahead" : row.high < 0 ? "behind" : "unsure";
    return svg("g", { class: sure }, svg("title", {}, `${row.name}: ${short(row.value)} (${interval(row)})`),
      label(row.name, y), whisker(x, row, y),
      svg("circle", { class: "point", cx: x(row.value), cy: y, r: 5 }),
      svg("text", { class: "value", x: WIDTH - 4, y: y + 4, "text-anchor": "end" },
        `${row.value > 0 ? "+" : ""}${short(row.value)}`));
  });
  return withTable(title, frame(title, rows.length * ROW, low, high, x, body),
    [t("name"), t("difference"), t("interval"), t("p_holm")],
    rows.map((row) => [row.name, short(row.value), interval(row), row.p < 0.001 ? "< 0.001" : row.p.toFixed(3)]));
}

/** Per row two points on one axis: {name, n, ours, theirs}, both {value, low, high}. */
export function pairs(title, rows, [ours, theirs]) {
  const all = rows.flatMap((row) => [row.ours, row.theirs].filter(Boolean));
  const high = Math.max(...all.map((value) => value.high ?? value.value), 1e-9);
  const x = (value) => LEFT + (WIDTH - LEFT - RIGHT) * value / high;
  const tall = ROW + 10;
  const point = (value, y, kind, name) => (value ? svg("g", { class: kind },
    svg("title", {}, `${name}: ${short(value.value)} (${interval(value)})`), whisker(x, value, y),
    kind === "ours" ? svg("circle", { class: "point", cx: x(value.value), cy: y, r: 5 })
      : svg("rect", { class: "point", x: x(value.value) - 4, y: y - 4, width: 8, height: 8 })) : null);
  const body = rows.map((row, place) => {
    const y = place * tall + tall / 2;
    return svg("g", {}, label(row.name, y),
      point(row.ours, y - 6, "ours", ours), point(row.theirs, y + 7, "theirs", theirs),
      svg("text", { class: "axis", x: WIDTH - 4, y: y + 4, "text-anchor": "end" }, row.n ?? ""));
  });
  const key = h("p", { class: "small legend" }, h("span", { class: "ours" }, `● ${ours}`), " ",
    h("span", { class: "theirs" }, `■ ${theirs}`), " ", h("span", { class: "soft" }, t("people_right")));
  const figure = withTable(title, frame(title, rows.length * tall, 0, high, x, body),
    [t("segment"), ours, t("interval"), theirs, t("interval"), t("cases")],
    rows.map((row) => [row.name, short(row.ours?.value), row.ours ? interval(row.ours) : "–",
      short(row.theirs?.value), row.theirs ? interval(row.theirs) : "–", row.n ?? "–"]));
  figure.prepend(key);
  return figure;
}
