import { signal } from "@preact/signals";

import type { Problem } from "../api/client";
import { changes, countStudies, findStudies, type Keys, type Study } from "../api/studies";
import { keysFor, orderOf, parse, type Parsed, type Place, PLACES, type Search } from "./search";

const PAGE_ROWS = 50;
const SETTLE_MS = 80;
/** Pages that are kept; those that were fetched longest ago go. */
const MAX_PAGES = 60;

/** The studies that match, fetched page by page as they come into view; what was fetched stays for the way back. */
export class StudyList {
  /** Null before the first search has been answered. */
  readonly total = signal<number | null>(null);
  readonly problem = signal<Problem | null>(null);
  readonly isSearching = signal(false);
  /** How many there are in each place that words can stand in; null where no words are looked for. */
  readonly counts = signal<Partial<Record<Place, number>> | null>(null);
  readonly place = signal<Place>("name");
  /** Counts what arrives, for those who draw it. */
  readonly version = signal(0);
  /** Counts the searches that were answered: each begins at its first row. */
  readonly round = signal(0);
  /** The row that keys move from; -1 for none. */
  readonly active = signal(-1);
  /** Where the list was scrolled to, in px. */
  scrollTop = 0;
  private readonly pages = new Map<number, Study[] | "coming">();
  private call = new AbortController();
  private asked = "";
  private keys: Keys = {};
  private order: string[] = [];
  private timer = 0;

  /** Begin a search; the same again is none, unless it is to be `fresh`. What was found before stays until then. */
  async search(search: Search, fresh = false): Promise<void> {
    const parsed = parse(search);
    const asked = JSON.stringify([parsed, search.by, search.sort, changes.count]);
    if (asked === this.asked && !fresh) return;
    this.asked = asked;
    this.call.abort();
    const { signal } = (this.call = new AbortController());
    this.isSearching.value = true;
    this.problem.value = null;
    const keys = await this.choose(parsed, search.by, signal);
    if (signal.aborted) return;
    const order = orderOf(search.sort);
    const known = this.counts.value?.[this.place.value];
    const counting = known === undefined ? countStudies(keys, signal) : null;
    const first = await findStudies(keys, order, 0, PAGE_ROWS, signal);
    if (signal.aborted) return;
    this.isSearching.value = false;
    if (!first.ok) {
      this.fail(first.problem);
      return;
    }
    Object.assign(this, { keys, order, scrollTop: 0 });
    this.active.value = -1;
    this.pages.clear();
    this.pages.set(0, first.value);
    this.total.value = known ?? first.value.length;
    this.round.value++;
    const total = await counting;
    if (!signal.aborted && total?.ok) this.total.value = total.value;
    else if (total && !total.ok) this.fail(total.problem);
  }

  /** Give a row, if it is there already. */
  row(index: number): Study | undefined {
    const page = this.pages.get(Math.floor(index / PAGE_ROWS));
    return Array.isArray(page) ? page[index % PAGE_ROWS] : undefined;
  }

  /** Fetch what is missing of the rows from `first` to `last`: at once beside what is there, else when nothing moves. */
  need(first: number, last: number): void {
    clearTimeout(this.timer);
    const [from, to] = [Math.floor(first / PAGE_ROWS), Math.floor(last / PAGE_ROWS)];
    const missing = Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i).filter(
      (page) => !this.pages.has(page),
    );
    const isNear = missing.some((page) => this.pages.has(page - 1) || this.pages.has(page + 1));
    const fetch = () => missing.forEach((page) => void this.fetch(page, this.call.signal));
    if (isNear) fetch();
    else if (missing.length) this.timer = window.setTimeout(fetch, SETTLE_MS);
  }

  private async fetch(page: number, signal: AbortSignal): Promise<void> {
    this.pages.set(page, "coming");
    const answer = await findStudies(this.keys, this.order, page * PAGE_ROWS, PAGE_ROWS, signal);
    if (signal.aborted) return;
    if (answer.ok) {
      this.pages.set(page, answer.value);
      const oldest = this.pages.keys().next().value;
      if (this.pages.size > MAX_PAGES && oldest !== undefined) this.pages.delete(oldest);
      this.version.value++;
    } else {
      this.pages.delete(page);
      this.fail(answer.problem);
    }
  }

  /** Find out where words stand: in the place that was chosen, else the first where anything is found. */
  private async choose({ keys, words }: Parsed, by: Place | "", signal: AbortSignal): Promise<Keys> {
    if (!words) {
      this.counts.value = null;
      return keys;
    }
    const answers = await Promise.all(
      PLACES.map((place) => countStudies({ ...keys, ...keysFor(words, place) }, signal)),
    );
    if (signal.aborted) return keys;
    const counts: Partial<Record<Place, number>> = {};
    for (const [i, answer] of answers.entries()) {
      const place = PLACES[i];
      if (answer.ok && place) counts[place] = answer.value;
      else if (!answer.ok) this.fail(answer.problem);
    }
    this.counts.value = counts;
    this.place.value = by || (PLACES.find((place) => counts[place]) ?? "name");
    return { ...keys, ...keysFor(words, this.place.value) };
  }

  private fail(problem: Problem): void {
    if (!problem.isAborted) this.problem.value = problem;
  }
}

/** The list that the page shows. */
export const list = new StudyList();
