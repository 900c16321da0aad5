/** The pixel under the pointer or the keyboard's cursor, and what it holds. */

import type { Cell } from "../cell";
import { valueUnits } from "../dicom/frame";
import { pixelToPoint, pointToPixel, type Vector } from "../dicom/geometry";
import type { Loaded } from "../pixels/loader";
import { toModality } from "../pixels/lut";
import { strings } from "../../strings";
import { planeOf } from "./measure";

const words = strings.viewer;

/**
 * Where a pixel's centre lies on the screen, in CSS pixels of the canvas; who asks is drawn anew when that changes.
 * Cornerstone counts from a pixel's corner here.
 */
export function toCanvas(cell: Cell, image: Loaded, column: number, row: number): [number, number] {
  void cell.drawn.value;
  const [x, y] = cell.viewport!.worldToCanvas([...pixelToPoint(planeOf(image.frame), column + 0.5, row + 0.5)]);
  return [x, y];
}

/** Pixel at a place of the canvas. */
export function pixelAt(cell: Cell, image: Loaded, x: number, y: number): { column: number; row: number } | undefined {
  const point = cell.viewport?.canvasToWorld([x, y]) as Vector | undefined;
  if (!point) return undefined;
  const { column, row } = pointToPixel(planeOf(image.frame), point);
  const found = { column: Math.floor(column + 1e-6), row: Math.floor(row + 1e-6) };
  const isInside = found.column >= 0 && found.row >= 0 && found.column < image.columns && found.row < image.rows;
  return isInside ? found : undefined;
}

export function hover(cell: Cell, event: PointerEvent): void {
  const image = cell.shown.peek();
  if (!image) return;
  const { left, top } = (event.currentTarget as HTMLElement).getBoundingClientRect();
  cell.cursor.value = pixelAt(cell, image, event.clientX - left, event.clientY - top);
}

/** Move the cursor by keys; it begins in the middle. */
export function moveCursor(cell: Cell, right: number, down: number): void {
  const image = cell.shown.peek();
  if (!image) return;
  const at = cell.cursor.peek() ?? { column: image.columns >> 1, row: image.rows >> 1 };
  const within = (value: number, end: number) => Math.min(Math.max(value, 0), end - 1);
  cell.cursor.value = { column: within(at.column + right, image.columns), row: within(at.row + down, image.rows) };
}

/** Where in the patient the cursor of a part is; nothing for pictures that do not say. */
export function pointOf(cell: Cell): Vector | undefined {
  const at = cell.cursor.peek();
  const plane = cell.shown.peek()?.frame.plane;
  return at && plane && pixelToPoint(plane, at.column, at.row);
}

/** What a pixel holds, with its unit. */
export function valueAt(image: Loaded, column: number, row: number): string {
  const at = row * image.columns + column;
  const { picture, frame } = image;
  if (picture.kind === "colour") return words.red([...picture.rgb.subarray(3 * at, 3 * at + 3)]);
  const stored = picture.samples[at] ?? NaN;
  const [low, high] = frame.layout.padding ?? [1, 0];
  if (stored >= low && stored <= high) return words.padding;
  const value = toModality(frame, image.tables)(stored);
  return `${written(value)} ${valueUnits(frame)}`.trim();
}

/** A number as short as it can be without losing what one looks for. */
export function written(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  if (Number.isInteger(value)) return String(value);
  return Math.abs(value) >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(4)));
}
