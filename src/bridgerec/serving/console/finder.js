// A field that looks things up while one types, with what it found as buttons below it.

import { isAbort } from "./api.js";
import { debounced, h, newest, replace } from "./dom.js";
import { integer, t } from "./i18n.js";

/**
 * Wires `input` to `list`.  `look(query, signal)` gives rows, `show(row)` a row's content,
 * `choose(row)` takes it.  Arrow keys walk, Enter chooses, Escape closes.  Returns a function
 * that looks again.
 */
export function finder({ input, list, look, show, choose, keepOpen = false }) {
  let open = false;
  const said = h("p", { class: "unseen", role: "status" }); // read out by screen readers
  list.after(said);
  const close = () => { open = false; said.textContent = ""; replace(list, []); };
  const search = newest(async (signal) => {
    try {
      const rows = await look(input.value.trim(), signal);
      if (!open) return;
      const found = rows.map((row, place) => h("li", {}, h("button", {
        type: "button", class: "row", "data-focus": `row-${place}`,
        onclick: () => {
          choose(row);
          if (!keepOpen) { input.value = ""; close(); }
        },
      }, show(row))));
      said.textContent = found.length ? t("found_count", { n: integer(found.length) }) : t("nothing_found");
      replace(list, found.length ? found : h("li", { class: "soft empty" }, t("nothing_found")));
    } catch (error) {
      if (isAbort(error)) return;
      const words = [error.message, error.detail, error.remedy].filter(Boolean).join(" ");
      said.textContent = words;
      replace(list, h("li", { class: "bad empty" }, words));
    }
  });
  const soon = debounced(() => { if (open) search(); }, 150);
  input.addEventListener("input", () => { open = true; soon(); });
  const unfold = () => { if (!open) { open = true; search(); } };
  input.addEventListener("focus", unfold);
  input.addEventListener("click", unfold); // it may have been closed without leaving it
  const group = input.closest(".finder");
  group.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && open) {
      input.focus();
      close();
    }
    if (event.key === "Enter" && event.target === input) {
      event.preventDefault();
      list.querySelector("button")?.click();
    }
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || event.target.tagName === "SELECT") return;
    event.preventDefault();
    unfold();
    const stops = [input, ...list.querySelectorAll("button")];
    stops[Math.max(0, Math.min(stops.length - 1, stops.indexOf(document.activeElement) + step))].focus();
  });
  group.addEventListener("focusout", (event) => {
    if (event.relatedTarget && !group.contains(event.relatedTarget)) close();
  });
  document.addEventListener("pointerdown", (event) => {
    if (open && !group.contains(event.target)) close();
  });
  return () => { if (open) search(); };
}
