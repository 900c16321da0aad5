import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";

import { type Listed, PAGE_ROWS, readRows } from "../api/operations";
import { Button } from "../parts/button";
import { useLoaded } from "../parts/loaded";
import { Empty, Loading, Trouble } from "../parts/state";
import { strings } from "../strings";

const words = strings.operations;

interface PagesProps<T> {
  what: Listed;
  /** Which rows. */
  keys?: Record<string, string>;
  /** What is said where there is nothing. */
  empty: string;
  emptyWords?: string;
  everyMs?: number;
  children: (rows: T[], again: () => void) => ComponentChildren;
}

/** Rows of the archive, a page at a time. */
export function Pages<T>({ what, keys = {}, empty, emptyWords, everyMs = 0, children }: PagesProps<T>) {
  const [offset, setOffset] = useState(0);
  const { value, problem, again } = useLoaded(
    (signal) => readRows<T>(what, keys, offset, signal),
    `${what} ${JSON.stringify(keys)} ${offset}`,
    everyMs,
  );
  return (
    <>
      {problem && <Trouble problem={problem} onRetry={again} />}
      {!value && !problem && <Loading />}
      {value?.length === 0 && offset === 0 && (
        <Empty icon="pulse" title={empty}>
          {emptyWords && <p>{emptyWords}</p>}
        </Empty>
      )}
      {value && value.length > 0 && children(value, again)}
      {value && (offset > 0 || value.length === PAGE_ROWS) && (
        <div class="pager">
          <Button icon="left" disabled={offset === 0} onClick={() => setOffset(Math.max(0, offset - PAGE_ROWS))}>
            {words.before}
          </Button>
          <Button icon="right" disabled={value.length < PAGE_ROWS} onClick={() => setOffset(offset + PAGE_ROWS)}>
            {words.after}
          </Button>
        </div>
      )}
    </>
  );
}
