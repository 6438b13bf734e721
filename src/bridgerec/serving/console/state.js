// What the person in front of the page has chosen, and who wants to know when it changes.

/** `history` holds {domain, item_id, title}, oldest first; `manner` is how a wish is used: "mix"
 * into recommendations, or "search" by its words with `personal` as the share of the taste;
 * `release` and `beside` are ids of releases ("": whoever is to answer, and none beside it). */
export const state = {
  domains: [],
  targets: [],
  k: 10,
  diversity: 0,
  explain: true,
  excludeSeen: true,
  categories: "",
  brands: "",
  priceMin: "",
  priceMax: "",
  wish: "",
  manner: "mix",
  personal: 0.3,
  person: null,
  history: [],
  release: "",
  beside: "",
};

const watchers = new Set();

export function watch(f) {
  watchers.add(f);
}

/** Changes the state and tells everybody which parts changed. */
export function change(parts) {
  Object.assign(state, parts);
  const names = new Set(Object.keys(parts));
  for (const f of watchers) f(names);
}

const same = (a, b) => a.domain === b.domain && a.item_id === b.item_id;

export const inHistory = (item) => state.history.some((entry) => same(entry, item));

/** Adds an item as the newest entry; one that is there already moves to the end. */
export function add({ domain, item_id, title }) {
  const kept = state.history.filter((entry) => !same(entry, { domain, item_id }));
  change({ history: [...kept, { domain, item_id, title }] });
}

export function remove(item) {
  change({ history: state.history.filter((entry) => !same(entry, item)) });
}

/** Moves the entry at `place` by `step` places, if there is room. */
export function move(place, step) {
  const history = [...state.history];
  const to = place + step;
  if (to < 0 || to >= history.length) return;
  [history[place], history[to]] = [history[to], history[place]];
  change({ history });
}

const list = (text) => text.split(/[,，;；\n]/).map((part) => part.trim()).filter(Boolean);
const number = (text) => (text === "" || Number.isNaN(Number(text)) ? undefined : Number(text));

/** The request that the state stands for, to a release: {path, body}. */
export function question(release = state.release) {
  const wish = state.wish.trim();
  const filters = { categories: list(state.categories), brands: list(state.brands) };
  const [low, high] = [number(state.priceMin), number(state.priceMax)];
  if (low !== undefined) filters.price_min = low;
  if (high !== undefined) filters.price_max = high;
  const common = {
    target: state.targets,
    k: state.k,
    history: state.history.map(({ domain, item_id }) => ({ domain, item_id })),
    filters,
    ...(state.person === null ? {} : { user_id: state.person }),
    ...(release ? { release } : {}),
  };
  if (wish && state.manner === "search") {
    return { path: "search", body: { ...common, text: wish, personal: state.personal } };
  }
  const body = {
    ...common,
    diversity: state.diversity,
    explain: state.explain,
    exclude_seen: state.excludeSeen,
    ...(wish ? { wish } : {}),
  };
  return { path: "recommend", body };
}
