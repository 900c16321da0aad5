/** Loads frames in the order in which they are wanted: the visible first, then its neighbours, then the rest. */

const MOST_AT_ONCE = 6;
/** Of the requests that a browser makes to one host at once, one is kept for what is looked at. */
const MOST_AHEAD = 5;

interface Entry {
  rank: number;
  start: () => Promise<void>;
}

const waiting = new Map<string, Entry>();
let running = 0;

/** Run a task when its turn has come; rank 0 is what is looked at. */
export function enqueue<T>(key: string, rank: number, task: () => Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    waiting.set(key, { rank, start: () => task().then(resolve, reject) });
    go();
  });
}

/** Give what waits a new rank. */
export function rerank(rankOf: (key: string) => number | undefined): void {
  for (const [key, entry] of waiting) entry.rank = rankOf(key) ?? entry.rank;
}

function go(): void {
  while (waiting.size) {
    let [first, best]: [string, Entry | undefined] = ["", undefined];
    for (const [key, entry] of waiting) if (!best || entry.rank < best.rank) [first, best] = [key, entry];
    if (!best || running >= (best.rank <= 0 ? MOST_AT_ONCE : MOST_AHEAD)) return;
    waiting.delete(first);
    running += 1;
    void best.start().finally(() => {
      running -= 1;
      go();
    });
  }
}
