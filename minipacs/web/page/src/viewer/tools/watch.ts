/** Follows cornerstone's measurements, and plays what is to be played. */

import { eventTarget } from "@cornerstonejs/core";
import { Enums } from "@cornerstonejs/tools";
import { effect, signal } from "@preact/signals";
import { follow } from "../actions";
import type { Cell } from "../cell";
import { frameTimes } from "../dicom/sets";
import { active, isLinked, visible } from "../store";
import { refresh, removeAll } from "./measure";

const { ANNOTATION_ADDED, ANNOTATION_COMPLETED, ANNOTATION_MODIFIED, ANNOTATION_REMOVED } = Enums.Events;

/** Begin; call what is returned to end. */
export function watch(): () => void {
  const events = [ANNOTATION_ADDED, ANNOTATION_COMPLETED, ANNOTATION_MODIFIED, ANNOTATION_REMOVED];
  for (const name of events) eventTarget.addEventListener(name, refresh);
  const stop = effect(() => {
    for (const cell of visible.value) if (cell.playing.value) run(cell);
  });
  const unlink = linkScrolling();
  return () => {
    stop();
    unlink();
    for (const name of events) eventTarget.removeEventListener(name, refresh);
    removeAll();
  };
}

/** Let other parts follow the one in use, while that is switched on. */
function linkScrolling(): () => void {
  let before: { cell: Cell; set: unknown; at: number } | undefined;
  return effect(() => {
    const cell = active.value;
    const [set, at] = [cell.set.value, cell.target.value];
    if (isLinked.value && before?.cell === cell && before.set === set && before.at !== at) follow(cell, at - before.at);
    before = { cell, set, at };
  });
}

const USUAL_RATE = 15;
const FASTEST = 60;
const SLOWEST = 1;

/** Pictures a second by hand, by the key of the set. */
const rates = signal<Readonly<Record<string, number>>>({});

/** Pictures a second of what a part of the screen shows: by hand, else as the object says. */
export function rateOf(cell: Cell): number {
  const set = cell.set.value;
  if (!set) return USUAL_RATE;
  const times = frameTimes(set);
  const mean = times.length ? 1000 / (times.reduce((sum, time) => sum + time, 0) / times.length) : USUAL_RATE;
  return rates.value[set.key] ?? Math.round(mean * 10) / 10;
}

export function setRate(cell: Cell, rate: number): void {
  const set = cell.set.peek();
  if (set && Number.isFinite(rate))
    rates.value = { ...rates.value, [set.key]: Math.min(Math.max(rate, SLOWEST), FASTEST) };
}

const running = new WeakSet<Cell>();

/** Play until it is stopped. A picture that has not come is waited for: none is left out. */
function run(cell: Cell): void {
  if (running.has(cell)) return;
  running.add(cell);
  let due = performance.now();
  const step = async (now: number): Promise<void> => {
    if (!cell.playing.peek() || !cell.viewport) {
      running.delete(cell);
      return;
    }
    if (now >= due) {
      const at = cell.target.peek();
      await cell.goTo((at + 1) % cell.frames.length);
      due = Math.max(due + timeOf(cell, at), performance.now() - 250);
    }
    requestAnimationFrame((time) => void step(time));
  };
  requestAnimationFrame((time) => void step(time));
}

function timeOf(cell: Cell, index: number): number {
  const set = cell.set.peek();
  const times = set && rates.peek()[set.key] === undefined ? frameTimes(set) : [];
  return times.length > 1 ? (times[index] ?? times[0]!) : 1000 / rateOf(cell);
}
