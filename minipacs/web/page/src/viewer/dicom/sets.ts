/** Instances of a series as what is shown together: stacks, clips, reports, documents, recordings. */

import { describe, type Frame, frameCount } from "./frame";
import { dot, normal } from "./geometry";
import { type DataSet, has, number, numbers, text } from "./json";
import { TAG } from "./tags";

export type Kind = "pictures" | "report" | "document" | "video" | "waveform" | "segmentation" | "contours" | "other";

/** What is shown in one part of the screen. `frames` is empty but for pictures. */
export interface DisplaySet {
  key: string;
  kind: Kind;
  series: SeriesInfo;
  instances: DataSet[];
  frames: Frame[];
  /** A stack that is cut from another, such as a coronal one. */
  reformatted?: string;
}

export interface SeriesInfo {
  study: string;
  uid: string;
  number: string;
  modality: string;
  description: string;
  instances: number;
}

/** Address of an instance, relative to the root of DICOMweb. */
export function addressOf(series: SeriesInfo, dataSet: DataSet): string {
  return `studies/${series.study}/series/${series.uid}/instances/${text(dataSet, TAG.SOPInstanceUID)}`;
}

const CLASSES: readonly [string, Kind][] = [
  ["1.2.840.10008.5.1.4.1.1.88.", "report"],
  ["1.2.840.10008.5.1.4.1.1.104.", "document"],
  ["1.2.840.10008.5.1.4.1.1.9.", "waveform"],
  ["1.2.840.10008.5.1.4.1.1.66.4", "segmentation"],
  ["1.2.840.10008.5.1.4.1.1.481.3", "contours"],
];
const VIDEO = /^1\.2\.840\.10008\.1\.2\.4\.10[0-8](\.1)?$/;

export function kindOf(dataSet: DataSet): Kind {
  const sopClass = text(dataSet, TAG.SOPClassUID);
  const known = CLASSES.find(([prefix]) => (prefix.endsWith(".") ? sopClass.startsWith(prefix) : sopClass === prefix));
  if (known) return known[1];
  if (VIDEO.test(text(dataSet, TAG.AvailableTransferSyntaxUID))) return "video";
  const pixels = [TAG.PixelData, TAG.FloatPixelData, TAG.DoubleFloatPixelData].some((tag) => has(dataSet, tag));
  return pixels || number(dataSet, TAG.Rows) ? "pictures" : "other";
}

/** Sort instances into sets: single frames of a series make one stack, what has many frames is one of its own. */
export function displaySets(series: SeriesInfo, instances: readonly DataSet[]): DisplaySet[] {
  const single: DataSet[] = [];
  const sets: DisplaySet[] = [];
  for (const dataSet of inOrder(instances)) {
    const kind = kindOf(dataSet);
    if (kind === "pictures" && frameCount(dataSet) === 1) single.push(dataSet);
    else sets.push(oneSet(series, kind, [dataSet]));
  }
  return single.length ? [oneSet(series, "pictures", single), ...sets] : sets;
}

function oneSet(series: SeriesInfo, kind: Kind, instances: DataSet[]): DisplaySet {
  const frames = kind === "pictures" ? instances.flatMap((dataSet) => framesOf(series, dataSet)) : [];
  return {
    key: `${series.uid}/${text(instances[0], TAG.SOPInstanceUID)}`,
    kind,
    series,
    instances,
    frames: alongNormal(frames),
  };
}

export function framesOf(series: SeriesInfo, dataSet: DataSet): Frame[] {
  const address = addressOf(series, dataSet);
  return Array.from({ length: frameCount(dataSet) }, (_, index) => describe(dataSet, series.uid, index, address));
}

function inOrder(instances: readonly DataSet[]): DataSet[] {
  const place = (dataSet: DataSet) => number(dataSet, TAG.InstanceNumber) ?? Infinity;
  return [...instances].sort(
    (a, b) => compare(place(a), place(b)) || compare(text(a, TAG.SOPInstanceUID), text(b, TAG.SOPInstanceUID)),
  );
}

const compare = <T extends number | string>(a: T, b: T): number => (a < b ? -1 : a > b ? 1 : 0);

/** Sort parallel slices of one frame of reference along their normal, if each has a place of its own; else leave them. */
function alongNormal(frames: Frame[]): Frame[] {
  const first = frames[0]?.plane;
  if (!first || frames.length < 2 || frames.some(({ dataSet }) => frameCount(dataSet) > 1)) return frames;
  const facing = normal(first);
  const placed = frames.map((frame) => ({ frame, place: frame.plane ? dot(frame.plane.origin, facing) : NaN }));
  const parallel = frames.every(({ plane }) => plane && dot(normal(plane), facing) > 0.999);
  const places = new Set(placed.map(({ place }) => place.toFixed(3)));
  if (!parallel || places.size !== frames.length) return frames;
  const sorted = [...placed].sort((a, b) => a.place - b.place).map(({ frame }) => frame);
  return sorted.indexOf(frames[0]!) * 2 > sorted.length ? sorted.reverse() : sorted;
}

/** Milliseconds from one frame to the next, as the object says (PS3.3 C.7.6.5). */
export function frameTimes(set: DisplaySet): number[] {
  const dataSet = set.frames[0]?.dataSet;
  if (!dataSet || frameCount(dataSet) < 2) return [];
  const vector = numbers(dataSet, TAG.FrameTimeVector);
  if (vector.length === set.frames.length && vector.length > 1) return [...vector.slice(1), vector[vector.length - 1]!];
  const time = number(dataSet, TAG.FrameTime);
  if (time && time > 0) return [time];
  const rate = number(dataSet, TAG.RecommendedDisplayFrameRate) ?? number(dataSet, TAG.CineRate);
  return rate && rate > 0 ? [1000 / rate] : [];
}
