import type { RefObject } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

import type { Study } from "../api/studies";
import { clock, day, number } from "../parts/format";
import { Icon } from "../parts/icons";
import { Value } from "../parts/text";
import { useMedia, useWindow } from "../parts/window";
import { strings } from "../strings";
import { Identity } from "./identity";
import type { StudyList } from "./list";

const words = strings.studies;

const ROW_PX = 56;
const CARD_PX = 96;
const NARROW = "(max-width: 640px)";
const SHOWN_MODALITIES = 5;

/** The columns, with the ways to sort that each offers. */
const HEADINGS: { sorts: [string, string][] }[] = [
  {
    sorts: [
      ["name", words.patient],
      ["id", words.id],
    ],
  },
  { sorts: [["date", words.date]] },
  { sorts: [["", words.modality]] },
  {
    sorts: [
      ["description", words.description],
      ["accession", words.accession],
    ],
  },
  { sorts: [["", words.size]] },
];

interface StudyTableProps {
  list: StudyList;
  sort: string;
  onSort: (sort: string) => void;
  /** The study that is open beside the list. */
  open: string;
  /** A study was chosen; `isSure` by Enter or a click, else by moving along the list. */
  onChoose: (study: Study, isSure: boolean) => void;
}

/** All studies that were found; only the rows in view are there. */
export function StudyTable({ list, sort, onSort, open, onChoose }: StudyTableProps) {
  const box = useRef<HTMLDivElement>(null);
  const active = list.active.value;
  const rowHeight = useMedia(NARROW) ? CARD_PX : ROW_PX;
  const view = useWindow(box, rowHeight);
  const total = list.total.value ?? 0;
  void list.version.value;
  const last = Math.min(view.last, total - 1);
  list.need(view.first, last);
  useScrollMemory(box, list);
  const move = (to: number) => {
    const index = Math.max(0, Math.min(total - 1, to));
    list.active.value = index;
    reveal(box.current, index * rowHeight, rowHeight);
    const study = list.row(index);
    if (study && open) onChoose(study, false);
  };
  const press = (event: KeyboardEvent) => {
    const target = STEPS[event.key]?.(active, Math.floor(view.height / rowHeight), total);
    const study = list.row(active);
    if (target !== undefined) move(target);
    else if (event.key === "Enter" && study) onChoose(study, true);
    else return;
    event.preventDefault();
  };
  const indexes = Array.from({ length: Math.max(0, last - view.first + 1) }, (_, i) => view.first + i);
  return (
    <div class="studies-table">
      <Headings sort={sort} onSort={onSort} />
      <div
        ref={box}
        class="rows"
        role="grid"
        tabIndex={0}
        aria-label={words.list}
        aria-rowcount={total}
        aria-colcount={HEADINGS.length}
        aria-activedescendant={active >= view.first && active <= last ? rowId(active) : undefined}
        onKeyDown={press}
        onFocus={() => active < 0 && total > 0 && (list.active.value = 0)}
      >
        <div role="rowgroup" style={{ height: `${total * rowHeight}px` }}>
          {indexes.map((index) => (
            <Row
              key={index}
              index={index}
              height={rowHeight}
              study={list.row(index)}
              isActive={index === active}
              open={open}
              onChoose={(study) => ((list.active.value = index), onChoose(study, true))}
            />
          ))}
        </div>
      </div>
    </div>
  );
}

/** Begin where the list was left, and at the top after a search. */
function useScrollMemory(box: RefObject<HTMLDivElement | null>, list: StudyList): void {
  const round = list.round.value;
  useLayoutEffect(() => {
    if (box.current) box.current.scrollTop = list.scrollTop;
  }, [round]);
  useLayoutEffect(() => {
    const element = box.current;
    const keep = () => (list.scrollTop = element?.scrollTop ?? 0);
    element?.addEventListener("scroll", keep, { passive: true });
    return () => element?.removeEventListener("scroll", keep);
  }, []);
}

const STEPS: Record<string, (at: number, page: number, total: number) => number> = {
  ArrowDown: (at) => at + 1,
  ArrowUp: (at) => at - 1,
  PageDown: (at, page) => at + page,
  PageUp: (at, page) => at - page,
  Home: () => 0,
  End: (_at, _page, total) => total - 1,
};

function Headings({ sort, onSort }: { sort: string; onSort: (sort: string) => void }) {
  const [isDown, name] = sort.startsWith("-") ? [true, sort.slice(1)] : [false, sort];
  return (
    <div class="headings" role="group" aria-label={words.sortBy}>
      {HEADINGS.map(({ sorts }) => (
        <div>
          {sorts.map(([key, label]) =>
            key ? (
              <button type="button" aria-pressed={key === name} onClick={() => onSort(nextSort(key, sort))}>
                {label}
                {key === name && <Icon name={isDown ? "down" : "up"} size={12} />}
                {key === name && <span class="hidden">{isDown ? words.descending : words.ascending}</span>}
              </button>
            ) : (
              <span>{label}</span>
            ),
          )}
        </div>
      ))}
    </div>
  );
}

/** Give the sort that a click on a heading means: the other way round, or by this one; the newest come first. */
function nextSort(key: string, sort: string): string {
  if (key === sort) return `-${key}`;
  return sort !== `-${key}` && key === "date" ? "-date" : key;
}

interface RowProps {
  index: number;
  height: number;
  study: Study | undefined;
  isActive: boolean;
  open: string;
  onChoose: (study: Study) => void;
}

function Row({ index, height, study, isActive, open, onChoose }: RowProps) {
  const style = { top: `${index * height}px`, height: `${height}px` };
  const isOpen = study !== undefined && study.uid === open;
  return (
    <div
      id={rowId(index)}
      role="row"
      aria-rowindex={index + 1}
      aria-selected={isOpen}
      class={`row ${isActive ? "active" : ""}`}
      style={style}
      onClick={() => study && onChoose(study)}
    >
      {study ? (
        <Cells study={study} />
      ) : (
        <div role="gridcell" class="faint">
          …
        </div>
      )}
    </div>
  );
}

function Cells({ study }: { study: Study }) {
  return (
    <>
      <div role="gridcell">
        <Identity patient={study.patient} short />
      </div>
      <div role="gridcell" class="when">
        <div>{day(study.date) || words.noDate}</div>
        <div class="faint">{clock(study.time)}</div>
      </div>
      <div role="gridcell" class="modalities" title={study.modalities.join(", ")}>
        {study.isDamaged && <span class="badge bad">{words.damaged}</span>}
        {study.modalities.slice(0, SHOWN_MODALITIES).map((name) => (
          <span class="badge">
            <Value value={name} short />
          </span>
        ))}
        <More count={study.modalities.length - SHOWN_MODALITIES} />
        <More count={study.modalities.length > 2 ? study.modalities.length - 1 : 0} isTight />
      </div>
      <div role="gridcell" class="what">
        <div>
          <Value value={study.description} short />
        </div>
        <div class="faint">{study.accession && <Value value={study.accession} short />}</div>
      </div>
      <div role="gridcell" class="size">
        <div>{words.images(study.imageCount)}</div>
        <div class="faint">{words.seriesOf(number(study.seriesCount), study.seriesCount)}</div>
      </div>
    </>
  );
}

function rowId(index: number): string {
  return `study-${index}`;
}

function reveal(box: HTMLElement | null, top: number, height: number): void {
  if (!box) return;
  if (top < box.scrollTop) box.scrollTop = top;
  else if (top + height > box.scrollTop + box.clientHeight) box.scrollTop = top + height - box.clientHeight;
}

/** Says how many more modalities there are; `isTight` beside the first alone, where the list has no room for others. */
function More({ count, isTight = false }: { count: number; isTight?: boolean }) {
  return count > 0 ? <span class={`badge ${isTight ? "tight" : "more"}`}>+{number(count)}</span> : null;
}
