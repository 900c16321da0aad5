/** Look-up tables of objects: modality, VOI, palettes (PS3.3 C.11.1, C.11.2, C.7.6.3.1.5). */

import { bulk } from "../archive";
import type { Palette } from "../pixels/samples";
import type { Tables } from "../pixels/lut";
import { type Frame, group, type Table, transformation } from "./frame";
import { type DataSet, has, items, numbers, text } from "./json";
import { TAG } from "./tags";

const MOST_ENTRIES = 1 << 16;

async function entries(dataSet: DataSet, tag: string, count: number): Promise<ArrayLike<number>> {
  const told = numbers(dataSet, tag);
  if (told.length) return told;
  const bytes = await bulk(dataSet, tag);
  return bytes.length >= 2 * count ? new Uint16Array(bytes.buffer, 0, count) : bytes.subarray(0, count);
}

async function readTable(dataSet: DataSet, descriptorTag: string, dataTag: string): Promise<Table | undefined> {
  const [count, first, bits] = numbers(dataSet, descriptorTag);
  if (count === undefined || first === undefined || !bits) return undefined;
  const found = await entries(dataSet, dataTag, count || MOST_ENTRIES);
  return found.length ? { first, bits, entries: found, name: text(dataSet, TAG.LUTExplanation) } : undefined;
}

/** Modality and VOI tables of a frame; most have none. */
export async function tablesOf(frame: Frame): Promise<Tables> {
  const voi = group(frame.dataSet, frame.index, TAG.FrameVOILUTSequence) ?? frame.dataSet;
  const modality = items(transformation(frame), TAG.ModalityLUTSequence)[0];
  const read = (item: DataSet) => readTable(item, TAG.LUTDescriptor, TAG.LUTData);
  const found = await Promise.all(items(voi, TAG.VOILUTSequence).map(read));
  return {
    modality: modality && (await read(modality)),
    voi: found.filter((table) => table !== undefined),
  };
}

/** The palette of an image, if it is in colours of one. */
export async function paletteOf(frame: Frame): Promise<Palette | undefined> {
  const { dataSet, layout } = frame;
  if (layout.interpretation !== "PALETTE COLOR") return undefined;
  const isSegmented = !has(dataSet, TAG.RedPaletteData) && has(dataSet, TAG.SegmentedRedPaletteData);
  const colours = [
    [TAG.RedPalette, TAG.RedPaletteData, TAG.SegmentedRedPaletteData],
    [TAG.GreenPalette, TAG.GreenPaletteData, TAG.SegmentedGreenPaletteData],
    [TAG.BluePalette, TAG.BluePaletteData, TAG.SegmentedBluePaletteData],
  ] as const;
  const found = await Promise.all(
    colours.map(([descriptor, data, segmented]) =>
      isSegmented ? readSegmented(dataSet, descriptor, segmented) : readTable(dataSet, descriptor, data),
    ),
  );
  const [red, green, blue] = found;
  return red && green && blue ? [red, green, blue] : undefined;
}

async function readSegmented(dataSet: DataSet, descriptorTag: string, dataTag: string): Promise<Table | undefined> {
  const [count, first, bits] = numbers(dataSet, descriptorTag);
  const bytes = await bulk(dataSet, dataTag);
  if (count === undefined || first === undefined || !bits || !bytes.length) return undefined;
  const words = bits === 8 ? bytes : new Uint16Array(bytes.buffer, 0, bytes.length >> 1);
  const found = expand(words, bits, count || MOST_ENTRIES);
  return found.length ? { first, bits, entries: found, name: "" } : undefined;
}

/** Write segments out: values, slopes, and references to segments before (PS3.3 C.7.9.2). */
function expand(words: ArrayLike<number>, bits: number, most: number): number[] {
  const found: number[] = [];
  let at = 0;
  const segment = (from: number): number => {
    const [kind, count] = [words[from]!, words[from + 1]!];
    if (kind === 0) {
      for (let i = 0; i < count; i++) found.push(words[from + 2 + i] ?? 0);
      return from + 2 + count;
    }
    const [start, end] = [found[found.length - 1] ?? 0, words[from + 2] ?? 0];
    for (let i = 1; i <= count; i++) found.push(Math.floor(start + ((end - start) * i) / count));
    return from + 3;
  };
  while (at + 2 < words.length && found.length < most) {
    if (words[at] !== 2) {
      at = segment(at);
      continue;
    }
    const offset =
      bits === 8
        ? words[at + 2]! | (words[at + 3]! << 8) | (words[at + 4]! << 16)
        : words[at + 2]! | (words[at + 3]! << 16);
    let from = offset;
    for (let i = 0; i < words[at + 1]! && words[from] !== 2 && from < at; i++) from = segment(from);
    at += bits === 8 ? 6 : 4;
  }
  return found.slice(0, most);
}
