/** Stacks cut from a regular stack, along the other two axes of its grid: MPR without a graphics card. */

import type { Frame } from "../dicom/frame";
import {
  cross,
  dot,
  length,
  normal,
  orientationLetters,
  pixelToPoint,
  subtract,
  times,
  type Vector,
} from "../dicom/geometry";
import type { DisplaySet } from "../dicom/sets";
import { type Loaded, type Maker, prepare } from "../pixels/loader";
import type { Picture, Words } from "../pixels/samples";
import { strings } from "../../strings";

const words = strings.viewer;

/** By how much the distance of two slices may differ from the others, in mm. */
const TOLERANCE_MM = 0.05;

type Reason = keyof typeof words.notRegular;

/** Why a stack cannot be cut, or the step from slice to slice. */
export function regularity({ frames }: DisplaySet): { reason: Reason } | { step: Vector } {
  const [first, second] = frames;
  if (frames.length < 3 || !first || !second) return { reason: "few" };
  if (first.layout.samples !== 1 || first.layout.interpretation === "PALETTE COLOR") return { reason: "colour" };
  if (!first.plane || !second.plane || !first.frameOfReference || frames.some(({ plane }) => !plane))
    return { reason: "place" };
  const facing = normal(first.plane);
  const isAlike = ({ layout, plane, spacing }: Frame) =>
    layout.rows === first.layout.rows &&
    layout.columns === first.layout.columns &&
    layout.signed === first.layout.signed &&
    layout.bitsAllocated === first.layout.bitsAllocated &&
    layout.interpretation === first.layout.interpretation &&
    Math.abs(spacing.row - first.spacing.row) + Math.abs(spacing.column - first.spacing.column) < 1e-4 &&
    dot(normal(plane!), facing) > 0.9999;
  if (!frames.every(isAlike)) return { reason: "parallel" };
  const step = times(subtract(frames[frames.length - 1]!.plane!.origin, first.plane.origin), 1 / (frames.length - 1));
  const isStraight = length(cross(step, facing)) < TOLERANCE_MM && length(step) > TOLERANCE_MM;
  const isEven = frames.every(
    ({ plane }, i) => length(subtract(subtract(plane!.origin, first.plane!.origin), times(step, i))) < TOLERANCE_MM,
  );
  return isStraight && isEven ? { step } : { reason: "spacing" };
}

/** The stack itself and the two cut from it; loads all slices first. */
export async function reformat(
  set: DisplaySet,
  onProgress: (done: number) => void,
): Promise<{ set: DisplaySet; make?: Maker }[]> {
  const found = regularity(set);
  if ("reason" in found) throw new Error(words.notRegular[found.reason]);
  let done = 0;
  const slices = await Promise.all(
    set.frames.map(async ({ id }) => {
      const image = await prepare(id, 1);
      onProgress(++done);
      return image;
    }),
  );
  const isAlike = (image: Loaded) => image.picture.kind === "grey" && sameScale(image, slices[0]!);
  if (!slices.every(isAlike)) throw new Error(words.notRegular.parallel);
  return [
    { set: { ...set, reformatted: planeName(set.frames[0]!) } },
    cut(set, slices, found.step, "rows"),
    cut(set, slices, found.step, "columns"),
  ];
}

/** Tell whether stored values mean the same: those of PET often have a slope for each slice. */
function sameScale(a: Loaded, b: Loaded): boolean {
  const tags = ["00281052", "00281053"];
  return tags.every(
    (tag) => JSON.stringify(a.frame.dataSet[tag]?.Value) === JSON.stringify(b.frame.dataSet[tag]?.Value),
  );
}

/** Cut along the rows, or the columns. A picture of it is as wide as a row or column, and as high as there are slices. */
function cut(
  set: DisplaySet,
  slices: readonly Loaded[],
  step: Vector,
  across: "rows" | "columns",
): { set: DisplaySet; make: Maker } {
  const first = set.frames[0]!;
  const { rows, columns } = first.layout;
  const plane = first.plane!;
  const direction = times(step, 1 / length(step));
  // The head is up, as people are used to.
  const isUpward = direction[2] > 0 && Math.abs(direction[2]) > 0.5;
  const count = across === "rows" ? rows : columns;
  const width = across === "rows" ? columns : rows;
  const height = slices.length;
  const frames = Array.from({ length: count }, (_, i): Frame => {
    const start = across === "rows" ? pixelToPoint(plane, 0, i) : pixelToPoint(plane, i, 0);
    const last = times(step, height - 1);
    const spacing = {
      known: "patient" as const,
      row: length(step),
      column: across === "rows" ? plane.columnSpacing : plane.rowSpacing,
    };
    return {
      ...first,
      id: `made:${set.key}/${across}/${i}`,
      index: 0,
      layout: { ...first.layout, rows: height, columns: width },
      spacing,
      plane: {
        origin: isUpward ? [start[0] + last[0], start[1] + last[1], start[2] + last[2]] : start,
        alongRow: across === "rows" ? plane.alongRow : plane.alongColumn,
        alongColumn: isUpward ? times(direction, -1) : direction,
        columnSpacing: spacing.column,
        rowSpacing: spacing.row,
      },
    };
  });
  const places = new Map(frames.map(({ id }, i) => [id, i]));
  const make: Maker = async (frame) => picture(slices, places.get(frame.id)!, across, columns, isUpward, width);
  return { set: { ...set, key: `${set.key}/${across}`, frames, reformatted: planeName(frames[0]!) }, make };
}

type Grey = Extract<Picture, { kind: "grey" }>;

function picture(
  slices: readonly Loaded[],
  place: number,
  across: "rows" | "columns",
  columns: number,
  isUpward: boolean,
  width: number,
): Grey {
  const greys = slices.map((slice) => slice.picture as Grey);
  const Kind = greys[0]!.samples.constructor as new (count: number) => Words;
  const samples = new Kind(width * greys.length);
  greys.forEach((grey, i) => {
    const row = (isUpward ? greys.length - 1 - i : i) * width;
    if (across === "rows") samples.set(grey.samples.subarray(place * columns, place * columns + columns), row);
    else for (let j = 0; j < width; j++) samples[row + j] = grey.samples[j * columns + place]!;
  });
  const min = Math.min(...greys.map((grey) => grey.min));
  const max = Math.max(...greys.map((grey) => grey.max));
  return { kind: "grey", samples, min, max };
}

/** What people call a plane. */
function planeName({ plane }: Frame): string {
  const facing = plane ? orientationLetters(normal(plane))[0] : "";
  return facing === "H" || facing === "F"
    ? words.planes.axial
    : facing === "A" || facing === "P"
      ? words.planes.coronal
      : words.planes.sagittal;
}
