import { useRef, useState } from "preact/hooks";

import { bytes, number } from "../parts/format";
import { Progress } from "../parts/progress";
import { Text } from "../parts/text";
import { useMedia, useWindow } from "../parts/window";
import { strings } from "../strings";
import { type Item, items, type State, tally, version } from "./items";

const words = strings.upload;
const ROW_PX = 44;
const CARD_PX = 68;

const KINDS: Record<State, string> = {
  waiting: "",
  ready: "",
  sending: "",
  stored: "good",
  present: "",
  refused: "bad",
  skipped: "",
};

/** States that are shown together. */
const FILTERS: { name: keyof typeof words.filters; states: State[] }[] = [
  { name: "all", states: [] },
  { name: "open", states: ["waiting", "ready", "sending"] },
  { name: "stored", states: ["stored"] },
  { name: "present", states: ["present"] },
  { name: "refused", states: ["refused"] },
  { name: "skipped", states: ["skipped"] },
];

/** What became of each file. */
export function ItemList() {
  const [filter, setFilter] = useState(FILTERS[0]!);
  const { count, total } = tally.value;
  const sum = (states: State[]) => (states.length ? states.reduce((all, state) => all + count[state], 0) : total);
  const shown = filter.states.length ? items.filter(({ state }) => filter.states.includes(state)) : items;
  return (
    <section class="panel files" aria-label={words.list}>
      <div class="head places" role="group" aria-label={words.show}>
        {FILTERS.filter(({ name, states }) => name === "all" || sum(states) > 0).map((one) => (
          <button type="button" class="button" aria-pressed={one === filter} onClick={() => setFilter(one)}>
            {words.filters[one.name]} <span class="faint">{number(sum(one.states))}</span>
          </button>
        ))}
      </div>
      <Rows shown={shown} />
    </section>
  );
}

function Rows({ shown }: { shown: Item[] }) {
  // The list is the same one whatever changes in it.
  void version.value;
  const box = useRef<HTMLDivElement>(null);
  const rowPx = useMedia("(max-width: 640px)") ? CARD_PX : ROW_PX;
  const view = useWindow(box, rowPx);
  const rows = shown.slice(view.first, view.last + 1);
  return (
    <div ref={box} class="items" role="list" tabIndex={0} aria-label={words.list}>
      <div role="presentation" style={{ height: `${shown.length * rowPx}px` }}>
        {rows.map((item, i) => (
          <div
            role="listitem"
            key={view.first + i}
            aria-setsize={shown.length}
            aria-posinset={view.first + i + 1}
            style={{ top: `${(view.first + i) * rowPx}px`, height: `${rowPx}px` }}
          >
            <Row {...item} />
          </div>
        ))}
      </div>
    </div>
  );
}

/** Its parts are given one by one: an item changes, and is still the same. */
function Row({ path, state, words: why, sent, size }: Item) {
  return (
    <>
      <div class="path" title={path}>
        <Text value={path} short />
      </div>
      <div class="state">
        <span class={`badge ${KINDS[state]}`}>{words.states[state]}</span>
        {why && (
          <span class="why" title={why}>
            <Text value={why} short />
          </span>
        )}
        {state === "sending" && <Progress label={path} done={sent} total={size} />}
      </div>
      <div class="faint numbers">{bytes(size)}</div>
    </>
  );
}
