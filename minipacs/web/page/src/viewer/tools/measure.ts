/** Lengths and angles, in mm where the object says how large its pixels are (PS3.3 10.7.1.3). */

import { annotation, type Types as ToolTypes } from "@cornerstonejs/tools";
import { signal } from "@preact/signals";
import type { Frame } from "../dicom/frame";
import { type Plane, pointToPixel, type Vector } from "../dicom/geometry";
import { frameOf } from "../pixels/loader";
import { strings } from "../../strings";

export interface Measurement {
  uid: string;
  kind: "length" | "angle";
  frame: Frame;
  value: number;
  text: string;
}

type Annotation = ToolTypes.Annotation;
type Pixel = [number, number];

/** The plane of a frame; of one without a place, that which its pixels span. */
export function planeOf(frame: Frame): Plane {
  const { column, row } = frame.spacing;
  return (
    frame.plane ?? {
      origin: [0, 0, 0],
      alongRow: [1, 0, 0],
      alongColumn: [0, 1, 0],
      columnSpacing: column,
      rowSpacing: row,
    }
  );
}

const round = (value: number, digits: number): string =>
  value.toLocaleString(undefined, { minimumFractionDigits: digits, maximumFractionDigits: digits });

/** Tell a length, with what is known of its unit. */
export function lengthOf(frame: Frame, a: Pixel, b: Pixel): { value: number; text: string } {
  const { spacing } = frame;
  const [x, y] = [b[0] - a[0], b[1] - a[1]];
  const outside = spacing.region && ![a, b].every((point) => isWithin(point, spacing.region!));
  if (spacing.known === "none" || outside) {
    const value = Math.hypot(x, y);
    return { value, text: `${round(value, 1)} ${strings.viewer.pixels}` };
  }
  const value = Math.hypot(x * spacing.column, y * spacing.row);
  const note = spacing.known === "detector" ? ` ${strings.viewer.atDetector}` : "";
  return { value, text: `${round(value, 1)} mm${note}` };
}

function isWithin([x, y]: Pixel, [left, top, right, bottom]: readonly [number, number, number, number]): boolean {
  return x >= left && x <= right && y >= top && y <= bottom;
}

/** Tell the angle at `corner`, as it is in the patient, not on pixels that are not square. */
export function angleOf(frame: Frame, a: Pixel, corner: Pixel, b: Pixel): { value: number; text: string } {
  const { column, row } = frame.spacing;
  const direction = (to: Pixel) => Math.atan2((to[1] - corner[1]) * row, (to[0] - corner[0]) * column);
  const turn = Math.abs(direction(a) - direction(b));
  const value = (Math.min(turn, 2 * Math.PI - turn) * 180) / Math.PI;
  return { value, text: `${round(value, 1)}°` };
}

function measure(found: Annotation): Measurement | undefined {
  const frame = frameOf(found.metadata?.referencedImageId ?? "");
  const points = (found.data?.handles?.points ?? []) as unknown as Vector[];
  if (!frame) return undefined;
  const pixels = points.map((point): Pixel => {
    const { column, row } = pointToPixel(planeOf(frame), point);
    return [column, row];
  });
  const [a, b, c] = pixels;
  const kind = found.metadata?.toolName === "Angle" ? "angle" : "length";
  if (!a || !b || (kind === "angle" && !c)) return undefined;
  return {
    uid: found.annotationUID ?? "",
    kind,
    frame,
    ...(kind === "angle" ? angleOf(frame, a, b, c!) : lengthOf(frame, a, b)),
  };
}

/** What stands beside a measurement in the picture: the same as in the list. */
export function textLines(data: unknown): string[] {
  const found = annotation.state.getAllAnnotations().find((one) => one.data === data);
  const told = found && measure(found);
  return told ? [told.text] : [];
}

/** All measurements, as the list beside the pictures shows them. */
export const measurements = signal<Measurement[]>([]);

export function refresh(): void {
  measurements.value = annotation.state.getAllAnnotations().flatMap((found) => measure(found) ?? []);
}

export function remove(uid: string): void {
  annotation.state.removeAnnotation(uid);
  refresh();
}

export function removeAll(): void {
  annotation.state.removeAllAnnotations();
  refresh();
}
