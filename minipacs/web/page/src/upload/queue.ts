import { computed, effect, signal } from "@preact/signals";

import { askToSignIn, isPassing, type Problem } from "../api/client";
import { store, whichAreHere } from "../api/upload";
import { strings } from "../strings";
import { HEAD_BYTES, MEDIA_DIRECTORY, readHead } from "./head";
import { end, isOver, type Item, items, show, tally, version } from "./items";
import type { Found } from "./sources";

/** Requests at the same time: browsers open six connections. */
const LANES = 4;
const BATCH_FILES = 32;
const BATCH_BYTES = 4 << 20;
const HEADS_AT_ONCE = 256;
const READY_AHEAD = 1000;
const FIRST_WAIT_S = 1;
const MAX_WAIT_S = 30;
const SIGNED_OUT = 401;
const FORBIDDEN = 403;

export const isPaused = signal(false);
/** Why nothing goes on at the moment; `nextTryAt` is in ms of the clock, 0 where it waits for the user. */
export const trouble = signal<{ problem: Problem; nextTryAt: number } | null>(null);
/** How many searches for files are still under way. */
export const finding = signal(0);
/** Send also what is there already. */
export const sendsAll = signal(false);
/** UIDs of the studies that got something. */
export const studies = signal<ReadonlySet<string>>(new Set());

export const isRunning = computed(() => finding.value > 0 || tally.value.done < tally.value.total);

/** How far it has come, for the header; null while nothing is under way. */
export const uploadShare = computed(() => {
  const { bytes, bytesDone } = tally.value;
  return isRunning.value ? `${bytes ? Math.floor((bytesDone / bytes) * 100) : 0} %` : null;
});

/** Leaving the page would end what is under way, so the browser asks before. */
effect(() => (isRunning.value ? addEventListener : removeEventListener)("beforeunload", keep));

function keep(event: Event): void {
  event.preventDefault();
}

const waiting: Item[] = [];
const ready: Item[] = [];
let call = new AbortController();
/** Counts the lists that there were: what comes back for an old one is of no use. */
let generation = 0;
let lanes = 0;
let isReading = false;
let wait = FIRST_WAIT_S;
let timer = 0;

/** Take more files; sending begins with the first. */
export async function add(found: AsyncGenerator<Found>): Promise<void> {
  const mine = generation;
  finding.value++;
  for await (const one of found) {
    if (mine !== generation) break;
    const item: Item = {
      path: one.path,
      size: 0,
      state: "waiting",
      sent: 0,
      words: "",
      sopInstanceUid: "",
      isAlone: false,
      source: null,
    };
    items.push(item);
    if ("content" in one) waiting.push(Object.assign(item, { size: one.size, source: one }));
    else end(item, "refused", one.words);
    show();
    run();
  }
  finding.value--;
}

export function pause(): void {
  isPaused.value = true;
  stopRequests();
}

export function resume(): void {
  isPaused.value = false;
  trouble.value = null;
  clearTimeout(timer);
  run();
}

/** Give up what is not there yet, and forget the list. */
export function clear(): void {
  generation++;
  stopRequests();
  items.length = waiting.length = ready.length = 0;
  isPaused.value = false;
  trouble.value = null;
  studies.value = new Set();
  version.value++;
}

/** Try those again that were refused. */
export function retryRefused(): void {
  for (const item of items) {
    if (item.state === "refused" && item.source)
      waiting.push(Object.assign(item, { state: "waiting", words: "", sent: 0 }));
  }
  show();
  run();
}

function stopRequests(): void {
  call.abort();
  call = new AbortController();
  clearTimeout(timer);
}

function run(): void {
  if (isHeld()) return;
  void readHeads();
  openLanes();
}

/** Tell whether nothing is to go on for now. */
function isHeld(): boolean {
  return isPaused.value || trouble.value !== null;
}

function openLanes(): void {
  while (!isHeld() && lanes < LANES && lanes < ready.length) void sendAll();
}

/** Read heads, and ask which objects are there already, as far ahead as keeps the sending going. */
async function readHeads(): Promise<void> {
  if (isReading) return;
  isReading = true;
  const mine = generation;
  while (mine === generation && !isHeld() && waiting.length && ready.length < READY_AHEAD) {
    const next = waiting.splice(0, HEADS_AT_ONCE);
    await Promise.all(next.map(readOne));
    const open = next.filter((item) => !isOver(item));
    const here = await whichOf(open);
    if (mine !== generation) break;
    if (!here) waiting.unshift(...open);
    for (const item of here ? open : []) {
      if (here?.has(item.sopInstanceUid)) end(item, "present");
      else ready.push(Object.assign(item, { state: "ready" }));
    }
    show();
    openLanes();
  }
  isReading = false;
  if (mine !== generation) run();
}

async function readOne(item: Item): Promise<void> {
  try {
    const start = await item.source!.head(HEAD_BYTES);
    const head = readHead(new Uint8Array(await start.arrayBuffer()));
    if (!head) end(item, "refused", strings.upload.notDicom);
    else if (head.sopClassUid === MEDIA_DIRECTORY) end(item, "skipped", strings.upload.directory);
    else item.sopInstanceUid = head.sopInstanceUid;
  } catch {
    end(item, "refused", strings.upload.unreadable);
  }
}

/** Ask which are in the archive; null if that could not be found out. */
async function whichOf(found: Item[]): Promise<Set<string> | null> {
  const uids = found.map((item) => item.sopInstanceUid).filter((uid) => /^[\d.]{1,64}$/.test(uid));
  if (sendsAll.value || !uids.length) return new Set();
  const answer = await whichAreHere(uids);
  if (answer.ok) return answer.value;
  void hold(answer.problem);
  return null;
}

/** Send one batch after the other, until nothing is ready. */
async function sendAll(): Promise<void> {
  lanes++;
  while (ready.length && !isHeld()) {
    await send(nextBatch());
    void readHeads();
  }
  lanes--;
}

function nextBatch(): Item[] {
  const batch: Item[] = [];
  let bytes = 0;
  while (ready[0] && batch.length < BATCH_FILES) {
    bytes += ready[0].size;
    if (batch.length && (ready[0].isAlone || batch[0]?.isAlone || bytes > BATCH_BYTES)) break;
    batch.push(Object.assign(ready.shift()!, { state: "sending" }));
  }
  return batch;
}

async function send(batch: Item[]): Promise<void> {
  const [mine, { signal }] = [generation, call];
  const contents = await Promise.all(batch.map((item) => item.source!.content().catch(() => null)));
  const parts = batch.flatMap((item, i) =>
    contents[i] ? [{ item, sopInstanceUid: item.sopInstanceUid, content: contents[i] }] : [],
  );
  for (const [i, item] of batch.entries()) if (!contents[i]) end(item, "refused", strings.upload.unreadable);
  if (!parts.length || mine !== generation) return;
  const sent = parts.map(({ item }) => item);
  const answer = await store(parts, (bytes) => progress(sent, bytes), signal);
  if (mine !== generation) return;
  if (!answer.ok) {
    failed(sent, answer.problem);
    return;
  }
  wait = FIRST_WAIT_S;
  const told = new Set(studies.value);
  for (const [i, item] of sent.entries()) {
    const outcome = answer.value[i];
    if (!outcome) again(item, true);
    else if (outcome.isStored) end(item, "stored");
    else end(item, "refused", outcome.words);
    if (outcome?.isStored && outcome.study) told.add(outcome.study);
  }
  if (told.size !== studies.value.size) studies.value = told;
}

/** A request failed as a whole: it is tried again if later may help, and file by file if one of several may be why. */
function failed(batch: Item[], problem: Problem): void {
  const isOfAll =
    problem.isAborted || isPassing(problem) || problem.status === SIGNED_OUT || problem.status === FORBIDDEN;
  for (const item of batch) {
    if (isOfAll || batch.length > 1) again(item, !isOfAll);
    else end(item, "refused", problem.words);
  }
  if (isOfAll) void hold(problem);
}

function again(item: Item, isAlone: boolean): void {
  ready.unshift(Object.assign(item, { state: "ready", sent: 0, isAlone }));
  show();
}

/** Stop for a while, or until the user has done something about it. */
async function hold(problem: Problem): Promise<void> {
  if (trouble.value || problem.isAborted) return;
  const seconds = Math.max(wait, problem.retryAfter ?? 0);
  trouble.value = { problem, nextTryAt: isPassing(problem) ? Date.now() + seconds * 1000 : 0 };
  if (isPassing(problem)) {
    wait = Math.min(wait * 2, MAX_WAIT_S);
    timer = window.setTimeout(resume, seconds * 1000);
  } else if (problem.status === SIGNED_OUT && (await askToSignIn())) resume();
}

function progress(batch: Item[], bytes: number): void {
  let rest = bytes;
  for (const item of batch) {
    item.sent = Math.max(0, Math.min(item.size, rest));
    rest -= item.size;
  }
  show();
}
