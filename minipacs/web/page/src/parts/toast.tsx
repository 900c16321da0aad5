import { signal } from "@preact/signals";

import type { Problem } from "../api/client";
import { strings } from "../strings";
import { Button } from "./button";

interface Toast {
  key: number;
  kind: "" | "bad";
  words: string;
  id: string;
}

const SHOWN_MS = 6000;

const toasts = signal<Toast[]>([]);
let next = 0;

/** Tell that something was done; it goes by itself. */
export function tell(words: string): void {
  const key = show("", words, "");
  setTimeout(() => dismiss(key), SHOWN_MS);
}

/** Tell what went wrong; it stays until it was read. */
export function tellProblem(problem: Problem): void {
  if (!problem.isAborted) show("bad", problem.words, problem.id);
}

function show(kind: Toast["kind"], words: string, id: string): number {
  const key = next++;
  toasts.value = [...toasts.value.slice(-3), { key, kind, words, id }];
  return key;
}

function dismiss(key: number): void {
  toasts.value = toasts.value.filter((toast) => toast.key !== key);
}

/** Where they appear; screen readers read them out. */
export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.value.map(({ key, kind, words, id }) => (
        <div class={`toast ${kind}`} key={key}>
          <div>
            {words}
            {id && <div class="faint mono">{strings.parts.logId(id)}</div>}
          </div>
          <Button icon="close" kind="plain" isBare onClick={() => dismiss(key)}>
            {strings.parts.dismiss}
          </Button>
        </div>
      ))}
    </div>
  );
}
