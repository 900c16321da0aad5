/** Windows: by dragging, by number, by name (PS3.3 C.11.2). */

import type { Cell } from "../cell";
import { presets, type Preset, type Window } from "../dicom/frame";
import { text } from "../dicom/json";
import { TAG } from "../dicom/tags";
import { type Choice, toModality, windowOf } from "../pixels/lut";

/** By how many pixels one drags through the whole range of an image. */
const DRAG_PIXELS = 1024;

/** Change the window by a drag of so many pixels. */
export function dragWindow(cell: Cell, right: number, down: number): void {
  const image = cell.shown.peek();
  if (image?.picture.kind !== "grey") return;
  const turn = toModality(image.frame, image.tables);
  const { min, max } = image.picture;
  const range = Math.abs(turn(max) - turn(min)) || 1;
  const least = image.frame.layout.float ? 0 : range / Math.max(max - min, 1);
  const step = Math.max(1, Math.round(range / DRAG_PIXELS / (least || 1))) * least || range / DRAG_PIXELS;
  const now = cell.window.peek() ?? windowOf({ by: "range" }, image.frame, image.picture, image.tables)!;
  setWindow(cell, { ...now, center: now.center - down * step, width: now.width + right * step }, step);
}

/** Set a window by hand: of whole numbers the narrowest is 1, of others a step. */
export function setWindow(cell: Cell, window: Window, step = 1): void {
  const least = window.voi === "LINEAR" ? 1 : Math.min(step, 1);
  const width = Math.max(window.width, least);
  if (!Number.isFinite(width) || !Number.isFinite(window.center)) return;
  cell.choose({ by: "window", window: { ...window, width }, name: "" });
}

const CT_WINDOWS: readonly [string, number, number][] = [
  ["softTissue", 40, 400],
  ["lung", -600, 1500],
  ["bone", 400, 1800],
  ["brain", 40, 80],
  ["liver", 60, 150],
  ["mediastinum", 40, 350],
];

export interface Offer {
  /** A key of the strings, else `label` is the object's own name. */
  name: string;
  label: string;
  choice: Choice;
}

/** What a picture can be shown by: what its object brings, the whole range, and windows that are usual for CT. */
export function offers(cell: Cell): Offer[] {
  const image = cell.shown.value;
  if (image?.picture.kind !== "grey") return [];
  const own = presets(image.frame).map((preset: Preset, i) => ({
    name: "own",
    label: preset.name || `${i + 1}`,
    choice: { by: "window", window: preset, name: preset.name } as Choice,
  }));
  const tables = image.tables.voi.map((table, index) => ({
    name: "table",
    label: table.name || `${index + 1}`,
    choice: { by: "table", index } as Choice,
  }));
  const usual = text(image.frame.dataSet, TAG.Modality) === "CT" ? CT_WINDOWS : [];
  return [
    ...tables,
    ...own,
    { name: "range", label: "", choice: { by: "range" } },
    ...usual.map(([name, center, width]) => ({
      name,
      label: "",
      choice: { by: "window", window: { center, width, voi: "LINEAR" }, name } as Choice,
    })),
  ];
}
