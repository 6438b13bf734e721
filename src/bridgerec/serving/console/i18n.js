// Two languages: the browser's choice first, then whatever was chosen here.

import { chinese } from "./chinese.js";
import { english } from "./english.js";

const LANGUAGE = "bridgerec.language";
const words = { en: english, zh: chinese };
const watchers = new Set();
let language = localStorage.getItem(LANGUAGE) ?? (navigator.language.startsWith("zh") ? "zh" : "en");
if (!(language in words)) language = "en";

export const current = () => language;

/** The text `key` in the current language; `{name}` is replaced by `values.name`. */
export function t(key, values = {}) {
  const text = words[language][key] ?? words.en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** The text of a key that may not exist: `otherwise` then. */
export function known(key, otherwise) {
  return words[language][key] ?? words.en[key] ?? otherwise;
}

export function onLanguage(f) {
  watchers.add(f);
}

export function setLanguage(chosen) {
  language = chosen;
  localStorage.setItem(LANGUAGE, chosen);
  translate();
  for (const f of watchers) f();
}

/** Fills every element of the page that names its text: data-t, data-t-label, data-t-hint. */
export function translate() {
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  document.title = t("page_title");
  for (const e of document.querySelectorAll("[data-t]")) e.textContent = t(e.dataset.t);
  for (const e of document.querySelectorAll("[data-t-label]")) {
    e.setAttribute("aria-label", t(e.dataset.tLabel));
  }
  for (const e of document.querySelectorAll("[data-t-hint]")) {
    e.setAttribute("placeholder", t(e.dataset.tHint));
  }
}

export const integer = (n) => n.toLocaleString(language);

/** A number with about three digits that matter. */
export function short(n) {
  if (n === null || n === undefined || !Number.isFinite(n)) return "–";
  if (n === 0) return "0";
  const size = Math.abs(n);
  return size >= 100 ? n.toFixed(0) : size >= 10 ? n.toFixed(1) : size >= 0.1 ? n.toFixed(2) : n.toPrecision(2);
}

export function day(seconds) {
  const moment = new Date(seconds * 1000);
  return moment.toLocaleDateString(language, { year: "numeric", month: "short", day: "numeric" });
}
