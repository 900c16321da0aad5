/** What the viewer shows now: series at hand, parts of the screen, the tool in use. */

import { computed, signal } from "@preact/signals";
import { findOthers, findSeries, openSeries } from "./archive";
import { Cell } from "./cell";
import { type DataSet, text } from "./dicom/json";
import { type DisplaySet, framesOf, type SeriesInfo } from "./dicom/sets";
import { TAG } from "./dicom/tags";
import { failure, prepare } from "./pixels/loader";
import { rerank } from "./pixels/queue";
import { segmentations, toggle } from "./tools/contours";
import type { ToolId } from "./tools/group";

/** Parts of the screen, in rows and columns. */
export const LAYOUTS = [
  { id: "one", rows: 1, columns: 1 },
  { id: "beside", rows: 1, columns: 2 },
  { id: "above", rows: 2, columns: 1 },
  { id: "three", rows: 1, columns: 3 },
  { id: "four", rows: 2, columns: 2 },
] as const;
export type LayoutId = (typeof LAYOUTS)[number]["id"];
const MOST_CELLS = 4;

/** A series of the strip; `sets` are known once it was opened. */
export interface Entry {
  series: SeriesInfo;
  sets: DisplaySet[] | undefined;
  error: string;
}

/** A study of the strip: the one that was opened, or another of the same patient. */
export interface StudyEntry {
  uid: string;
  dataSet: DataSet;
  entries: Entry[] | undefined;
}

export const cells: readonly Cell[] = Array.from({ length: MOST_CELLS }, (_, i) => new Cell(`cell-${i + 1}`));
export const layout = signal<LayoutId>("one");
export const visible = computed(() => {
  const { rows, columns } = LAYOUTS.find(({ id }) => id === layout.value)!;
  return cells.slice(0, rows * columns);
});
const activeId = signal(cells[0]!.id);
export const active = computed(() => visible.value.find(({ id }) => id === activeId.value) ?? visible.value[0]!);
export const tool = signal<ToolId>("window");
export const showsOverlays = signal(true);
export const showsLines = signal(true);
export const isLinked = signal(false);
export const isHelpOpen = signal(false);
export const isPanelOpen = signal(false);
export const studies = signal<StudyEntry[]>([]);
export const failureOfStudy = signal("");
export const isLoading = signal(true);

export function activate(cell: Cell): void {
  activeId.value = cell.id;
}

/** Begin with a study, its series or instance if one is named, else with the first series that has pictures. */
export async function begin(study: string, series?: string, instance?: string): Promise<void> {
  end();
  isLoading.value = true;
  try {
    const found = await findSeries(study);
    studies.value = [
      {
        uid: study,
        dataSet: found.study,
        entries: found.series.map((one) => ({ series: one, sets: undefined, error: "" })),
      },
    ];
    const entries = studies.value[0]!.entries!;
    const first =
      entries.find((entry) => entry.series.uid === series) ??
      entries.find(({ series: { modality } }) => !LAST.has(modality)) ??
      entries[0];
    isLoading.value = false;
    if (!first) return;
    await openIn(cells[0]!, first, instance);
    void loadSmall(entries);
    void addOthers(text(found.study, TAG.PatientID), study);
  } catch (error) {
    failureOfStudy.value = failure(error);
  } finally {
    isLoading.value = false;
  }
}

/** What is looked at beside pictures, not first. */
const LAST: ReadonlySet<string> = new Set(["SR", "SEG", "RTSTRUCT", "PR", "KO", "DOC", "REG", "RTPLAN"]);

/** Forget everything of the study that was open. */
export function end(): void {
  for (const cell of cells) cell.clear();
  studies.value = [];
  segmentations.value = [];
  failureOfStudy.value = "";
  layout.value = "one";
  activeId.value = cells[0]!.id;
}

async function addOthers(patientID: string, study: string): Promise<void> {
  const others = await findOthers(patientID, study).catch(() => []);
  const entries = others.map((dataSet) => ({ uid: text(dataSet, TAG.StudyInstanceUID), dataSet, entries: undefined }));
  if (studies.value[0]?.uid === study) studies.value = [studies.value[0], ...entries];
}

/** Find the series of another study of the strip. */
export async function expand(study: StudyEntry): Promise<void> {
  if (study.entries) return;
  const found = await findSeries(study.uid);
  const entries = found.series.map((series) => ({ series, sets: undefined, error: "" }));
  replace(study.uid, { ...study, entries });
  await loadSmall(entries);
}

/** Up to how many objects a series is opened ahead: it may be a video or clips, which have no one picture in common. */
export const SMALL_SERIES = 20;

async function loadSmall(entries: readonly Entry[]): Promise<void> {
  for (const entry of entries)
    if (entry.series.instances <= SMALL_SERIES && studies.peek().some((study) => study.entries?.includes(entry)))
      await load(entry);
}

function replace(uid: string, by: StudyEntry): void {
  studies.value = studies.value.map((study) => (study.uid === uid ? by : study));
}

/** Know what a series shows. A failure is kept with it, and told. */
export async function load(entry: Entry): Promise<DisplaySet[]> {
  if (entry.sets) return entry.sets;
  try {
    entry.sets = await openSeries(entry.series);
    entry.error = "";
  } catch (error) {
    entry.error = failure(error);
  }
  studies.value = [...studies.value];
  return entry.sets ?? [];
}

/** Show a series, from the picture of an instance on if one is named. */
export async function openIn(cell: Cell, entry: Entry, instance?: string): Promise<void> {
  const sets = await load(entry);
  const holds = (set: DisplaySet) => set.instances.some((dataSet) => text(dataSet, TAG.SOPInstanceUID) === instance);
  const set = (instance && sets.find(holds)) || sets[0];
  if (!set) {
    cell.fail(entry.error);
    return;
  }
  const index = instance ? set.frames.findIndex(({ dataSet }) => text(dataSet, TAG.SOPInstanceUID) === instance) : 0;
  await show(cell, set, Math.max(index, 0));
}

/** Show a set. Outlines are laid over pictures instead; where there are none, a segmentation is a picture itself. */
export async function show(cell: Cell, set: DisplaySet, index = 0): Promise<void> {
  activate(cell);
  const entries = studies.peek().flatMap((study) => study.entries ?? []);
  if (isOverlay(set) && entries.some(({ series }) => !LAST.has(series.modality))) {
    isPanelOpen.value = true;
    return toggle(set);
  }
  if (set.kind === "segmentation") set = { ...set, kind: "pictures", frames: framesOf(set.series, set.instances[0]!) };
  await cell.show(set, index);
}

export function isOverlay(set: DisplaySet | undefined): boolean {
  return set?.kind === "segmentation" || set?.kind === "contours";
}

/** Series of segmentations or structure sets. */
export const outlining = computed(() =>
  studies.value
    .flatMap(({ entries }) => entries ?? [])
    .filter(({ series }) => ["SEG", "RTSTRUCT"].includes(series.modality)),
);

const AHEAD_BYTES = 1024 * 1024 * 1024;

/** Load what is near to what is looked at, then the rest, as far as memory goes. */
export function loadAhead(): void {
  const ranks = new Map<string, number>();
  let bytes = 0;
  const wanted: { id: string; rank: number; bytes: number; cell: Cell }[] = [];
  for (const cell of visible.value) {
    const at = cell.target.value;
    const { frames } = cell;
    frames.forEach(({ id, layout: { rows, columns, samples, bitsAllocated } }, i) => {
      if (!id.startsWith("frame:")) return;
      const rank = i >= at ? i - at : 1.5 * (at - i);
      ranks.set(id, Math.min(rank, ranks.get(id) ?? Infinity));
      wanted.push({ id, rank, bytes: (rows * columns * samples * bitsAllocated) / 8, cell });
    });
  }
  rerank((id) => ranks.get(id) ?? Infinity);
  wanted.sort((a, b) => a.rank - b.rank);
  for (const { id, rank, bytes: size, cell } of wanted) {
    bytes += size;
    if (bytes > AHEAD_BYTES) return;
    if (cell.asked.has(id)) continue;
    cell.asked.add(id);
    prepare(id, Math.max(rank, 1)).then(
      () => (cell.loaded.value += 1),
      () => undefined,
    );
  }
}
