// What the service says of an answer, in the reader's language.

import { english } from "./english.js";
import { t } from "./i18n.js";

/** Recognises the service's own sentences, which are the English texts; of two the longer one. */
const patterns = (beginning) => Object.entries(english)
  .filter(([key]) => key.startsWith(beginning))
  .sort(([, a], [, b]) => b.length - a.length)
  .map(([key, text]) => [key, new RegExp(`^${text.split(/\{(\w+)\}/).map((part, i) => (
    i % 2 ? `(?<${part}>.+)` : part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"))).join("")}$`, "su")]);

const NOTES = patterns("note_");
const HEARD = patterns("heard_");

function told(sentence, kinds) {
  for (const [key, pattern] of kinds) {
    const found = pattern.exec(sentence);
    if (found) return t(key, found.groups);
  }
  return sentence;
}

export const note = (sentence) => told(sentence, NOTES);

/** How words were understood: what was searched where, then in which ways. */
export function heard(sentence) {
  const [, words, rest] = /^(“.*” in [^;]*)(.*)$/su.exec(sentence) ?? [null, sentence, ""];
  return [words, ...rest.split("; ").filter(Boolean)].map((part) => told(part, HEARD)).join("; ");
}
