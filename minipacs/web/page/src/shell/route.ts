import { computed, signal } from "@preact/signals";

/** Where the page is: the parts of the path behind the #, and what is asked for there. */
export interface Route {
  path: string[];
  query: URLSearchParams;
}

const hash = signal(location.hash);

addEventListener("hashchange", () => (hash.value = location.hash));

export const route = computed<Route>(() => read(hash.value));

/** The first part of the path. */
export const screen = computed(() => route.value.path[0] ?? "studies");

/** Make the address of a place; parts are escaped. */
export function link(path: string[], query: Record<string, string> = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== "");
  const search = new URLSearchParams(given).toString();
  return `#/${path.map(encodeURIComponent).join("/")}${search ? `?${search}` : ""}`;
}

/** Make the address of a place with what is asked for now, and these changes of it. */
export function changed(path: string[], changes: Record<string, string>): string {
  return link(path, { ...Object.fromEntries(route.value.query), ...changes });
}

/** Go to an address made by `link`; `replace` leaves no entry in the browser's history. */
export function go(address: string, { replace = false } = {}): void {
  if (replace) history.replaceState(history.state, "", address);
  else if (address !== location.hash) history.pushState(null, "", address);
  hash.value = address;
}

function read(text: string): Route {
  const [path = "", search = ""] = text.replace(/^#\/?/, "").split(/\?(.*)/s);
  return { path: path.split("/").filter(Boolean).map(decoded), query: new URLSearchParams(search) };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

addEventListener("popstate", () => (hash.value = location.hash));
