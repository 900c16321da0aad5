/** What one can do by button or key: THE table of actions. */

import { signal } from "@preact/signals";
import type { IconName } from "./views/icons";
import { tell } from "../parts/toast";
import type { Cell } from "./cell";
import { dot, normal, type Vector } from "./dicom/geometry";
import { tools } from "./engine";
import { failure } from "./pixels/loader";
import {
  active,
  cells,
  isHelpOpen,
  isLinked,
  isPanelOpen,
  layout,
  LAYOUTS,
  type LayoutId,
  show,
  showsLines,
  showsOverlays,
  tool,
  visible,
} from "./store";
import { activate as activateTool, type ToolId } from "./tools/group";
import { pointOf } from "./tools/cursor";
import { reformat } from "./tools/reformat";

export interface Action {
  id: string;
  key: string;
  icon: IconName;
  run: (cell: Cell) => void;
  /** Tells whether it is switched on, for those that can be. */
  isOn?: (cell: Cell) => boolean;
  /** Needs a picture. */
  ofPicture?: true;
}

const turned = (cell: Cell, by: number) =>
  cell.turnBy((turn) => ({ ...turn, rotation: (turn.rotation + by + 360) % 360 }));

export const ACTIONS: readonly Action[] = [
  { id: "left", key: "R", icon: "turnLeft", run: (cell) => turned(cell, -90), ofPicture: true },
  { id: "right", key: "r", icon: "turnRight", run: (cell) => turned(cell, 90), ofPicture: true },
  {
    id: "flipHorizontal",
    key: "h",
    icon: "flipHorizontal",
    run: (cell) => cell.turnBy((turn) => ({ ...turn, flipHorizontal: !turn.flipHorizontal })),
    isOn: (cell) => cell.turn.value.flipHorizontal,
    ofPicture: true,
  },
  {
    id: "flipVertical",
    key: "v",
    icon: "flipVertical",
    run: (cell) => cell.turnBy((turn) => ({ ...turn, flipVertical: !turn.flipVertical })),
    isOn: (cell) => cell.turn.value.flipVertical,
    ofPicture: true,
  },
  {
    id: "invert",
    key: "i",
    icon: "invert",
    run: (cell) => cell.invert(),
    isOn: (cell) => cell.inverted.value,
    ofPicture: true,
  },
  { id: "fit", key: "f", icon: "fit", run: (cell) => cell.fit(), ofPicture: true },
  { id: "actualSize", key: "e", icon: "actualSize", run: (cell) => cell.actualSize(), ofPicture: true },
  {
    id: "smooth",
    key: "u",
    icon: "smooth",
    run: (cell) => cell.toggleSmoothing(),
    isOn: (cell) => cell.smooth.value,
    ofPicture: true,
  },
  { id: "reset", key: "x", icon: "reset", run: (cell) => cell.reset(), ofPicture: true },
  {
    id: "reformat",
    key: "m",
    icon: "cube",
    run: (cell) => void toggleReformat(cell),
    isOn: () => isReformatted.value,
    ofPicture: true,
  },
  {
    id: "lines",
    key: "n",
    icon: "lines",
    run: () => void (showsLines.value = !showsLines.value),
    isOn: () => showsLines.value,
  },
  {
    id: "link",
    key: "y",
    icon: "chain",
    run: () => void (isLinked.value = !isLinked.value),
    isOn: () => isLinked.value,
  },
  {
    id: "overlays",
    key: "t",
    icon: "words",
    run: () => void (showsOverlays.value = !showsOverlays.value),
    isOn: () => showsOverlays.value,
  },
  {
    id: "panel",
    key: "d",
    icon: "panel",
    run: () => void (isPanelOpen.value = !isPanelOpen.value),
    isOn: () => isPanelOpen.value,
  },
  { id: "help", key: "?", icon: "keys", run: () => void (isHelpOpen.value = true) },
];

export function chooseTool(id: ToolId): void {
  tool.value = id;
  activateTool(tools(), id);
}

/** Show so many parts; what is in the first stays. */
export function chooseLayout(id: LayoutId): void {
  layout.value = id;
}

export function nextLayout(): void {
  const at = LAYOUTS.findIndex(({ id }) => id === layout.value);
  chooseLayout(LAYOUTS[(at + 1) % LAYOUTS.length]!.id);
}

export const isReformatted = signal(false);
/** How many slices have come for a reformat that is under way. */
export const reformatting = signal<{ done: number; of: number } | undefined>(undefined);
let before: { layout: LayoutId; set: NonNullable<Cell["set"]["value"]>; index: number } | undefined;

/** Show a stack along all three axes of its grid, or go back to what was. */
async function toggleReformat(cell: Cell): Promise<void> {
  if (isReformatted.peek()) return endReformat();
  const set = cell.set.peek();
  if (!set || reformatting.peek()) return;
  try {
    const index = cell.target.peek();
    reformatting.value = { done: 0, of: set.frames.length };
    const found = await reformat(set, (done) => (reformatting.value = { done, of: set.frames.length }));
    if (cell.set.peek()?.key !== set.key) return;
    before = { layout: layout.peek(), set, index };
    isReformatted.value = true;
    layout.value = "three";
    await Promise.all(found.map((one, i) => cells[i]!.show(one.set, i ? one.set.frames.length >> 1 : index, one.make)));
  } catch (error) {
    tell(failure(error));
  } finally {
    reformatting.value = undefined;
  }
}

async function endReformat(): Promise<void> {
  isReformatted.value = false;
  cells[1]!.clear();
  cells[2]!.clear();
  if (!before) return;
  layout.value = before.layout;
  const { set, index } = before;
  before = undefined;
  await show(cells[0]!, set, index);
}

/** Leave what belonged to the study that is closed. */
export function forget(): void {
  isReformatted.value = false;
  before = undefined;
  if (tool.peek() !== "window") chooseTool("window");
}

/** Show the place under the cursor in the other parts, if they lie in the same frame of reference. */
export function locate(cell: Cell): void {
  const point = pointOf(cell);
  if (point) for (const other of visible.peek()) if (other !== cell) goToPoint(cell, other, point);
}

function goToPoint(from: Cell, to: Cell, point: Vector): void {
  const reference = from.shown.peek()?.frame.frameOfReference;
  const distances = to.frames.map(({ plane, frameOfReference }) =>
    plane && reference && frameOfReference === reference
      ? Math.abs(
          dot(normal(plane), [point[0] - plane.origin[0], point[1] - plane.origin[1], point[2] - plane.origin[2]]),
        )
      : Infinity,
  );
  const nearest = Math.min(...distances);
  if (Number.isFinite(nearest)) void to.goTo(distances.indexOf(nearest));
}

/** Let the other parts follow the one in use: to the same place where they show the same patient's space, else by as many pictures. */
export function follow(from: Cell, by: number): void {
  const frame = from.frames[from.target.peek()];
  for (const other of visible.peek()) {
    if (other === from || other.set.peek()?.kind !== "pictures") continue;
    const isSameSpace =
      frame?.plane && frame.frameOfReference && other.frames[0]?.frameOfReference === frame.frameOfReference;
    if (isSameSpace) goToPoint(from, other, frame.plane!.origin);
    else void other.goTo(other.target.peek() + by);
  }
}

/** The part in use, for keys. */
export const current = (): Cell => active.peek();
