import { signal } from "@preact/signals";

import type { Problem } from "../api/client";
import { countStudies, findStudies, type Keys, type Study } from "../api/studies";
import { keysFor, orderOf, parse, type Parsed, type Place, PLACES, type Search } from "./search";

const PAGE_ROWS = 50;
const MAX_PAGES = 60;
/** Pages that are kept; those that were looked at longest ago go. */

/** The studies that match, fetched page by page as they come into view; what was fetched last stays for the way back. */
export class StudyList {
  readonly total = signal<number | null>(null);
  readonly problem = signal<Problem | null>(null);
  /** How many there are in each place that words can stand in; null where no words are looked for. */
  readonly counts = signal<Partial<Record<Place, number>> | null>(null);
  readonly place = signal<Place>("name");
  /** Counts what arrives, for those who draw it. */
  readonly version = signal(0);
  private readonly pages = new Map<number, Study[] | "coming">();
  private call = new AbortController();
  private asked = "";
  private keys: Keys = {};
  private order: string[] = [];

  /** Begin a search; the same again is none, unless it is to be `fresh`. */
  async search(search: Search, fresh = false): Promise<void> {
    const parsed = parse(search);
    const asked = JSON.stringify([parsed, search.by, search.sort]);
    if (asked === this.asked && !fresh) return;
    this.asked = asked;
    this.call.abort();
    const call = (this.call = new AbortController());
    this.order = orderOf(search.sort);
    this.problem.value = null;
    const keys = await this.choose(parsed, search.by, call.signal);
    if (call.signal.aborted) return;
    this.keys = keys;
    this.pages.clear();
    this.need(0, PAGE_ROWS - 1);
    const counted = this.counts.value?.[this.place.value];
    const total = counted === undefined ? await countStudies(keys, call.signal) : { ok: true as const, value: counted };
    if (call.signal.aborted) return;
    if (total.ok) this.total.value = total.value;
    else this.fail(total.problem);
  }

  /** Give a row, if it is there already. */
  row(index: number): Study | undefined {
    const page = this.pages.get(Math.floor(index / PAGE_ROWS));
    return Array.isArray(page) ? page[index % PAGE_ROWS] : undefined;
  }

  /** Fetch what is missing of the rows from `first` to `last`. */
  need(first: number, last: number): void {
    for (let page = Math.floor(first / PAGE_ROWS); page <= Math.floor(last / PAGE_ROWS); page++) {
      if (!this.pages.has(page)) void this.fetch(page, this.call.signal);
    }
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
    const answers = await Promise.all(PLACES.map((place) => countStudies({ ...keys, ...keysFor(words, place) }, signal)));
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
