// Talking to the service: one function, the key, and errors that say what to do.

import { known, t } from "./i18n.js";

const KEY = "bridgerec.key";
let asking = null; // the open question for a key, shared by all requests that wait for it
let askForKey = async () => null;

/** Who is asked when the service wants a key: `f(refusedKey)` gives one, or null. */
export function onKeyNeeded(f) {
  askForKey = f;
}

export const storedKey = () => sessionStorage.getItem(KEY);

export function storeKey(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

/** The service's refusal: `message` in the reader's language, by its code; `detail` and `remedy` in
 * the service's own words, which are English. */
export class Refused extends Error {
  constructor(status, problem) {
    const own = problem.message ?? t("error_status", { status });
    super(known(`problem_${problem.error}`, own));
    this.status = status;
    this.detail = this.message === own ? "" : own;
    this.remedy = problem.remedy ?? "";
    this.requestId = problem.request_id ?? "";
  }
}

export const isAbort = (error) => error.name === "AbortError";

/** The answer to one request, as JSON.  `path` is relative to the page, so that the console works
 * below any address.  Throws Refused, or AbortError after `signal`. */
export async function call(method, path, body = undefined, signal = undefined) {
  for (;;) {
    const key = storedKey();
    const answer = await send(method, path, body, signal, key);
    if (answer.ok) return answer.json();
    const problem = await answer.json().catch(() => ({}));
    if (answer.status === 401 && (await anotherKey(key))) continue;
    throw new Refused(answer.status, problem);
  }
}

async function send(method, path, body, signal, key) {
  const headers = { accept: "application/json" };
  if (key) headers["x-api-key"] = key;
  if (body !== undefined) headers["content-type"] = "application/json";
  try {
    const sent = body === undefined ? undefined : JSON.stringify(body);
    return await fetch(new URL(path, document.baseURI), { method, headers, body: sent, signal });
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new Refused(0, { message: t("error_unreachable"), remedy: t("error_unreachable_remedy") });
  }
}

/** Whether there is now another key than the one that was refused. */
async function anotherKey(refused) {
  if (storedKey() !== refused) return true; // given while this request was under way
  asking ??= askForKey(refused).finally(() => { asking = null; });
  const key = await asking;
  if (!key) return false;
  storeKey(key);
  return true;
}

/** A path with its query; parameters that are null or empty are left out. */
export function withQuery(path, parameters) {
  const kept = Object.entries(parameters).filter(([, v]) => v !== null && v !== undefined && v !== "");
  return kept.length ? `${path}?${new URLSearchParams(kept)}` : path;
}
