/** Workers that decode, as many as the machine has use for. */

import type { Answer, Task } from "./worker";

const MOST_WORKERS = 4;

interface Waiting {
  resolve: (answer: Answer) => void;
}

let workers: Worker[] = [];
const waiting = new Map<number, Waiting>();
const busy = new Map<Worker, number>();
let next = 0;

function start(): void {
  const count = Math.max(1, Math.min(MOST_WORKERS, (navigator.hardwareConcurrency || 2) - 1));
  workers = Array.from({ length: count }, () => {
    const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }: MessageEvent<Answer>) => settle(worker, data);
    worker.onerror = (event) => {
      event.preventDefault();
      failAll(event.message || "the decoder could not be started");
    };
    busy.set(worker, 0);
    return worker;
  });
}

function settle(worker: Worker, answer: Answer): void {
  busy.set(worker, (busy.get(worker) ?? 1) - 1);
  waiting.get(answer.id)?.resolve(answer);
  waiting.delete(answer.id);
}

function failAll(words: string): void {
  for (const [id, { resolve }] of waiting) resolve({ id, error: words, elsewhere: false });
  waiting.clear();
}

/** Decode a frame in the worker that has least to do. The bytes are handed over. */
export function decode(task: Omit<Task, "id">): Promise<Answer> {
  if (!workers.length) start();
  const worker = workers.reduce((a, b) => (busy.get(a)! <= busy.get(b)! ? a : b));
  const id = ++next;
  busy.set(worker, busy.get(worker)! + 1);
  return new Promise((resolve) => {
    waiting.set(id, { resolve });
    worker.postMessage({ ...task, id }, [task.bytes]);
  });
}
