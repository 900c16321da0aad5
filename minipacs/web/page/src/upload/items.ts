import { computed, signal } from "@preact/signals";

import type { Source } from "./sources";

/** Where a file stands: before its head was read, ready to be sent, under way, or at an end. */
export type State = "waiting" | "ready" | "sending" | End;
export type End = "stored" | "present" | "refused" | "skipped";

export const ENDS: End[] = ["stored", "present", "refused", "skipped"];

export interface Item {
  path: string;
  size: number;
  state: State;
  /** Bytes that have gone. */
  sent: number;
  /** Why it was refused or passed over. */
  words: string;
  sopInstanceUid: string;
  /** Send it in a request of its own: an answer for several did not tell what became of it. */
  isAlone: boolean;
  /** Kept as long as it may still be sent. */
  source: Source | null;
}

/** How many there are of each state, and their bytes. */
export interface Tally {
  count: Record<State, number>;
  total: number;
  done: number;
  bytes: number;
  bytesDone: number;
}

const SHOW_MS = 100;

/** Everything that was added, in order. No signal, for its length: `version` tells that something has changed. */
export const items: Item[] = [];
export const version = signal(0);

export const tally = computed<Tally>(() => {
  void version.value;
  const found: Tally = {
    count: { waiting: 0, ready: 0, sending: 0, stored: 0, present: 0, refused: 0, skipped: 0 },
    total: items.length,
    done: 0,
    bytes: 0,
    bytesDone: 0,
  };
  for (const item of items) {
    found.count[item.state]++;
    found.bytes += item.size;
    found.done += isOver(item) ? 1 : 0;
    found.bytesDone += isOver(item) ? item.size : item.sent;
  }
  return found;
});

export function isOver({ state }: Item): boolean {
  return (ENDS as State[]).includes(state);
}

/** Put a file at an end. */
export function end(item: Item, state: End, words = ""): void {
  Object.assign(item, { state, words, source: state === "refused" ? item.source : null });
  show();
}

let isShown = true;

/** Tell those who draw that something has changed, now and then. */
export function show(): void {
  if (!isShown) return;
  isShown = false;
  setTimeout(() => {
    isShown = true;
    version.value++;
  }, SHOW_MS);
}
