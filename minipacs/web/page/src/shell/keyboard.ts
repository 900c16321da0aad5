import { signal } from "@preact/signals";

import { go, link, screen } from "./route";

export const areKeysShown = signal(false);

const SCREENS: Record<string, string> = { s: "studies", u: "upload", w: "worklist", o: "operations" };
const SECOND_KEY_MS = 1200;

let goPressedAt = -SECOND_KEY_MS;

/** Tell whether a key is somebody else's: of a field, a dialog, or with a modifier. */
export function isTaken(event: KeyboardEvent): boolean {
  const target = event.target instanceof Element ? event.target : null;
  const isTyped =
    target?.closest("input, select, textarea, [contenteditable]") ?? document.querySelector("dialog[open]");
  return event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || Boolean(isTyped);
}

/** Listen to the keys that work everywhere; an open viewer has the keyboard for itself. */
export function listen(isViewing: () => boolean): void {
  addEventListener("keydown", (event) => {
    if (isTaken(event) || isViewing()) return;
    if (event.timeStamp - goPressedAt < SECOND_KEY_MS && SCREENS[event.key]) go(link([SCREENS[event.key]!]));
    else if (event.key === "?") areKeysShown.value = true;
    else if (event.key === "/") focusSearch();
    else if (event.key !== "g") return;
    goPressedAt = event.key === "g" ? event.timeStamp : -SECOND_KEY_MS;
    event.preventDefault();
  });
}

function focusSearch(): void {
  const find = () => document.querySelector<HTMLInputElement>("[data-search]");
  if (screen.value !== "studies") go(link(["studies"]));
  if (find()) find()?.focus();
  else requestAnimationFrame(() => find()?.focus());
}
