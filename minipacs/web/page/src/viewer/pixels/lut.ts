/** From stored values to grey, as the object says: modality LUT, VOI, polarity (PS3.3 C.11.1, C.11.2). */

import type { Frame, Table, Window } from "../dicom/frame";
import { isInverse, presets, rescale } from "../dicom/frame";
import type { Picture } from "./samples";

/** What a viewport shows values by: as the object says, one of its windows or tables, or a window by hand. */
export type Choice =
  { by: "object" } | { by: "window"; window: Window; name: string } | { by: "table"; index: number } | { by: "range" };

export interface Tables {
  modality?: Table;
  voi: Table[];
}

type Grey = Extract<Picture, { kind: "grey" }>;

/** Make a stored value one of the modality's, such as HU. */
export function toModality(frame: Frame, tables: Tables): (stored: number) => number {
  const { modality } = tables;
  if (modality) return (stored) => entry(modality, stored);
  const { slope, intercept } = rescale(frame);
  return (stored) => stored * slope + intercept;
}

function entry({ first, entries }: Table, value: number): number {
  return entries[Math.min(Math.max(Math.trunc(value) - first, 0), entries.length - 1)] ?? 0;
}

/** The window of a choice; of a table there is none. */
export function windowOf(choice: Choice, frame: Frame, picture: Grey, tables: Tables): Window | undefined {
  if (choice.by === "window") return choice.window;
  if (choice.by === "table" && tables.voi[choice.index]) return undefined;
  if (choice.by === "object" && tables.voi.length) return undefined;
  const own = choice.by === "object" ? presets(frame)[0] : undefined;
  return own ?? wholeRange(frame, picture, tables);
}

/** From the least to the greatest value, for objects that bring no window that can be. */
function wholeRange(frame: Frame, { min, max }: Grey, tables: Tables): Window {
  if (!Number.isFinite(min)) return { center: 0, width: 1, voi: "LINEAR_EXACT" };
  const turn = toModality(frame, tables);
  const [a, b] = [turn(min), turn(max)];
  const [low, high] = [Math.min(a, b), Math.max(a, b)];
  return high > low
    ? { center: (low + high) / 2, width: high - low, voi: "LINEAR_EXACT" }
    : { center: low, width: 2, voi: "LINEAR_EXACT" };
}

/** Grey from 0 to 255 for a value of the modality. */
export function toGrey(window: Window): (value: number) => number {
  const { center, width, voi } = window;
  if (voi === "SIGMOID") return (x) => 255 / (1 + Math.exp((-4 * (x - center)) / width));
  if (voi === "LINEAR_EXACT") return (x) => ((x - center) / width + 0.5) * 255;
  if (width <= 1) return (x) => (x > center - 0.5 ? 255 : 0);
  return (x) => ((x - (center - 0.5)) / (width - 1) + 0.5) * 255;
}

function byTable(table: Table): (value: number) => number {
  const white = 2 ** table.bits - 1;
  return (x) => (entry(table, x) / white) * 255;
}

/** Make the function from stored values to opaque grey, as a word of a canvas. */
function shading(
  choice: Choice,
  frame: Frame,
  picture: Grey,
  tables: Tables,
  inverted: boolean,
): (stored: number) => number {
  const turn = toModality(frame, tables);
  const window = windowOf(choice, frame, picture, tables);
  const table = tables.voi[choice.by === "table" ? choice.index : 0];
  const shade = window ? toGrey(window) : table ? byTable(table) : () => 0;
  const isInverted = isInverse(frame) !== inverted;
  return (stored) => {
    const value = shade(turn(stored));
    const grey = Math.floor(Math.min(Math.max(Number.isNaN(value) ? 0 : value, 0), 255) + 0.5);
    const level = isInverted ? 255 - grey : grey;
    return (0xff000000 | (level << 16) | (level << 8) | level) >>> 0;
  };
}

const MOST_ENTRIES = 1 << 16;

/** Write a picture into the words of a canvas. */
export function paint(
  picture: Picture,
  words: Uint32Array,
  choice: Choice,
  frame: Frame,
  tables: Tables,
  inverted: boolean,
): void {
  if (picture.kind === "colour") return paintColour(picture.rgb, words, inverted);
  const shade = shading(choice, frame, picture, tables, inverted);
  const { samples } = picture;
  if (samples instanceof Float32Array || samples instanceof Float64Array || samples.BYTES_PER_ELEMENT > 2) {
    for (let i = 0; i < words.length; i++) words[i] = shade(samples[i]!);
    return;
  }
  const low = samples instanceof Int16Array ? -32768 : samples instanceof Int8Array ? -128 : 0;
  const size = samples.BYTES_PER_ELEMENT === 1 ? 256 : MOST_ENTRIES;
  const table = tableOf(shade, low, size, picture, frame);
  for (let i = 0; i < words.length; i++) words[i] = table[samples[i]! - low]!;
}

/** Fill only what the samples need: most use a part of their 65,536 values. */
function tableOf(
  shade: (stored: number) => number,
  low: number,
  size: number,
  { min, max }: Grey,
  frame: Frame,
): Uint32Array {
  const table = new Uint32Array(size);
  const [from, to] = frame.layout.padding || !Number.isFinite(min) ? [low, low + size - 1] : [min, max];
  for (let stored = from; stored <= to; stored++) table[stored - low] = shade(stored);
  return table;
}

function paintColour(rgb: Uint8Array, words: Uint32Array, inverted: boolean): void {
  const turn = inverted ? 0x00ffffff : 0;
  for (let i = 0, at = 0; i < words.length; i++, at += 3) {
    words[i] = ((0xff000000 | (rgb[at + 2]! << 16) | (rgb[at + 1]! << 8) | rgb[at]!) ^ turn) >>> 0;
  }
}
