/** Segmentations and structure sets as outlines on the pictures that they lie in (PS3.3 A.51, A.19). */

import { signal } from "@preact/signals";
import type { Frame } from "../dicom/frame";
import { group } from "../dicom/frame";
import { cross, dot, fromNumbers, type Plane, pixelToPoint, pointToPixel, type Vector } from "../dicom/geometry";
import { type DataSet, items, number, numbers, text } from "../dicom/json";
import { type DisplaySet, framesOf } from "../dicom/sets";
import { TAG } from "../dicom/tags";
import { failure, prepare, register } from "../pixels/loader";
import { fromLab } from "./colour";
import { outlines, type Path } from "./outlines";

/** A segment or region of interest that can be shown or hidden. */
export interface Segment {
  key: string;
  name: string;
  colour: string;
  isShown: boolean;
  /** Gives its outlines on a picture, in pixels. */
  on: (frame: Frame) => Path[];
}

export interface Segmentation {
  set: DisplaySet;
  segments: Segment[];
  isShown: boolean;
  isLoading: boolean;
  error: string;
}

export const segmentations = signal<Segmentation[]>([]);

const PALETTE = ["#ff6b6b", "#4dd2ff", "#ffd75e", "#7ee081", "#d19bff", "#ff9f4d", "#5eead4", "#f9a8d4"];
/** How far a contour may lie from a picture, in mm, and still be on it. */
const NEAR_MM = 0.6;

/** Show a segmentation, or hide it. */
export async function toggle(set: DisplaySet): Promise<void> {
  const known = segmentations.value.find((one) => one.set.key === set.key);
  if (known) return change(set, { isShown: !known.isShown });
  segmentations.value = [...segmentations.value, { set, segments: [], isShown: true, isLoading: true, error: "" }];
  try {
    const dataSet = set.instances[0]!;
    const segments = set.kind === "segmentation" ? await ofSegmentation(set, dataSet) : ofStructures(dataSet);
    change(set, { segments, isLoading: false });
  } catch (error) {
    change(set, { isLoading: false, error: failure(error) });
  }
}

export function toggleSegment(set: DisplaySet, key: string): void {
  const known = segmentations.value.find((one) => one.set.key === set.key);
  change(set, {
    segments: (known?.segments ?? []).map((one) => (one.key === key ? { ...one, isShown: !one.isShown } : one)),
  });
}

function change(set: DisplaySet, by: Partial<Segmentation>): void {
  segmentations.value = segmentations.value.map((one) => (one.set.key === set.key ? { ...one, ...by } : one));
}

/** Outlines on a picture: of the same patient and frame of reference alone. */
export function contoursOn(frame: Frame): { segment: Segment; paths: Path[] }[] {
  return segmentations.value
    .filter(({ set, isShown }) => isShown && belongs(set.instances[0]!, frame))
    .flatMap(({ segments }) => segments)
    .filter(({ isShown }) => isShown)
    .map((segment) => ({ segment, paths: segment.on(frame) }))
    .filter(({ paths }) => paths.length);
}

function belongs(dataSet: DataSet, frame: Frame): boolean {
  if (text(dataSet, TAG.PatientID) !== text(frame.dataSet, TAG.PatientID)) return false;
  const own = text(dataSet, TAG.FrameOfReferenceUID) || text(items(dataSet, "30060010")[0], TAG.FrameOfReferenceUID);
  return !own || !frame.frameOfReference || own === frame.frameOfReference;
}

/** Remember what a function gave for a frame. */
function remembering(find: (frame: Frame) => Path[]): (frame: Frame) => Path[] {
  const found = new WeakMap<Frame, Path[]>();
  return (frame) => {
    const known = found.get(frame);
    if (known) return known;
    const paths = find(frame);
    found.set(frame, paths);
    return paths;
  };
}

interface Mask {
  frame: Frame;
  segment: number;
  source: string;
  sourceFrame: number | undefined;
  paths: Path[];
}

async function ofSegmentation(set: DisplaySet, dataSet: DataSet): Promise<Segment[]> {
  const frames = framesOf(set.series, dataSet);
  register(frames);
  const masks = await Promise.all(frames.map((frame) => readMask(dataSet, frame)));
  return items(dataSet, "00620002").map((item, i) => {
    const own = masks.filter(({ segment }) => segment === number(item, "00620004"));
    return {
      key: `${set.key}/${i}`,
      name: text(item, "00620005") || `${i + 1}`,
      colour: fromLab(numbers(item, "0062000D")) ?? PALETTE[i % PALETTE.length]!,
      isShown: true,
      on: remembering((frame) => own.flatMap((mask) => ontoFrame(mask, frame))),
    };
  });
}

async function readMask(dataSet: DataSet, frame: Frame): Promise<Mask> {
  const source = items(group(dataSet, frame.index, TAG.DerivationImageSequence), TAG.SourceImageSequence)[0];
  const image = await prepare(frame.id, 1);
  if (image.picture.kind !== "grey") throw new Error("the segmentation is in colours");
  const most = number(dataSet, "0062000E") ?? 1;
  return {
    frame,
    segment: number(group(dataSet, frame.index, "0062000A"), "0062000B") ?? 1,
    source: text(source, TAG.ReferencedSOPInstanceUID),
    sourceFrame: number(source, TAG.ReferencedFrameNumber),
    paths: outlines(image.picture.samples, image.columns, image.rows, most / 2),
  };
}

/** Outlines of a mask in pixels of a picture: by where both lie, else if the mask was made of that picture. */
function ontoFrame(mask: Mask, frame: Frame): Path[] {
  const from = mask.frame.plane;
  if (from && frame.plane) {
    if (!isOn(frame.plane, from.origin) || Math.abs(dot(facing(from), facing(frame.plane))) < 0.999) return [];
    return mask.paths.map((path) => path.map(([column, row]) => onto(frame.plane!, pixelToPoint(from, column, row))));
  }
  const { rows, columns } = frame.layout;
  const isSource =
    mask.source === text(frame.dataSet, TAG.SOPInstanceUID) && (mask.sourceFrame ?? 1) === frame.index + 1;
  return isSource && rows === mask.frame.layout.rows && columns === mask.frame.layout.columns ? mask.paths : [];
}

const facing = ({ alongRow, alongColumn }: Plane): Vector => cross(alongRow, alongColumn);
const isOn = (plane: Plane, point: Vector): boolean => Math.abs(pointToPixel(plane, point).distance) < NEAR_MM;

function onto(plane: Plane, point: Vector): [number, number] {
  const { column, row } = pointToPixel(plane, point);
  return [column, row];
}

function ofStructures(dataSet: DataSet): Segment[] {
  const names = new Map(items(dataSet, "30060020").map((item) => [number(item, "30060022"), text(item, "30060026")]));
  return items(dataSet, "30060039").map((item, i) => {
    const contours = items(item, "30060040").map((contour) => points(numbers(contour, "30060050")));
    const [red, green, blue] = numbers(item, "3006002A");
    return {
      key: `${text(dataSet, TAG.SOPInstanceUID)}/${i}`,
      name: names.get(number(item, "30060084")) || `${i + 1}`,
      colour: blue === undefined ? PALETTE[i % PALETTE.length]! : `rgb(${red}, ${green}, ${blue})`,
      isShown: true,
      on: remembering(({ plane }) =>
        plane
          ? contours
              .filter((one) => one.length > 2 && one.every((point) => isOn(plane, point)))
              .map((one) => one.map((point) => onto(plane, point)))
          : [],
      ),
    };
  });
}

function points(values: readonly number[]): Vector[] {
  const found: Vector[] = [];
  for (let i = 0; i + 2 < values.length; i += 3) found.push(fromNumbers(values.slice(i, i + 3))!);
  return found;
}
