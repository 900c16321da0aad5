/** What keys do on pictures. */

import { annotation, AngleTool, LengthTool } from "@cornerstonejs/tools";
import { go, link } from "../shell/route";
import { ACTIONS, chooseTool, current, locate, nextLayout } from "./actions";
import { pixelToPoint } from "./dicom/geometry";
import type { DisplaySet } from "./dicom/sets";
import {
  active,
  activate,
  type Entry,
  isHelpOpen,
  isOverlay,
  isPanelOpen,
  openIn,
  outlining,
  show,
  studies,
  tool,
  visible,
} from "./store";
import { moveCursor } from "./tools/cursor";
import { measurements, planeOf, remove } from "./tools/measure";
import { TOOLS } from "./tools/group";
import { offers, setWindow } from "./tools/window";

type Press = (event: KeyboardEvent) => void;

const by =
  (pictures: number): Press =>
  () =>
    void current().goTo(current().target.peek() + pictures);
const MANY_PICTURES = 10;
const CURSOR_STEP = 10;
const ZOOM_STEP = 1.25;
const WINDOW_STEP = 1.1;

const KEYS: Readonly<Record<string, Press>> = {
  ArrowUp: by(-1),
  ArrowDown: by(1),
  PageUp: by(-MANY_PICTURES),
  PageDown: by(MANY_PICTURES),
  Home: () => void current().goTo(0),
  End: () => void current().goTo(current().frames.length - 1),
  ArrowLeft: () => nextSeries(-1),
  ArrowRight: () => nextSeries(1),
  " ": () => void (current().playing.value = !current().playing.peek() && current().frames.length > 1),
  Enter: () => setPoint(),
  Delete: () => removeLast(),
  Backspace: () => removeLast(),
  "+": () => zoom(ZOOM_STEP),
  "-": () => zoom(1 / ZOOM_STEP),
  "[": () => widen(1 / WINDOW_STEP),
  "]": () => widen(WINDOW_STEP),
  g: nextLayout,
};

const ARROWS: Readonly<Record<string, readonly [number, number]>> = {
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
};

/** Keep a key from cornerstone, which listens on each picture, and from the browser. */
function take(event: KeyboardEvent): void {
  event.preventDefault();
  event.stopPropagation();
}

/** Listen until what is returned is called. */
export function listen(study: string): () => void {
  const press = (event: KeyboardEvent) => {
    const arrow = ARROWS[event.key];
    if (isElsewhere(event)) return;
    if (arrow && event.shiftKey) {
      const step = event.altKey ? CURSOR_STEP : 1;
      moveCursor(current(), arrow[0] * step, arrow[1] * step);
      take(event);
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || isOfControl(event)) return;
    const run = KEYS[event.key] ?? runOf(event.key, study);
    if (!run) return;
    take(event);
    run(event);
  };
  addEventListener("keydown", press, true);
  return () => removeEventListener("keydown", press, true);
}

const targetOf = (event: KeyboardEvent): Element | undefined =>
  event.target instanceof Element ? event.target : undefined;

/** Fields, documents and dialogs have all keys for themselves. */
function isElsewhere(event: KeyboardEvent): boolean {
  const field = targetOf(event)?.closest("input:not([type=checkbox]), select, textarea, .viewer-document");
  return Boolean(field ?? document.querySelector("dialog[open]"));
}

/** Buttons and boxes keep the keys that they are used by. */
function isOfControl(event: KeyboardEvent): boolean {
  return Boolean(targetOf(event)?.closest("button, a, input, summary")) && (event.key === " " || event.key === "Enter");
}

function runOf(key: string, study: string): Press | undefined {
  const chosen = TOOLS.find((one) => one.key === key);
  if (chosen) return () => chooseTool(chosen.id);
  const action = ACTIONS.find((one) => one.key === key);
  if (action) return () => (action.ofPicture && !current().shown.peek() ? undefined : action.run(current()));
  if (/^[1-9]$/.test(key)) return () => preset(Number(key) - 1);
  if (key === "Escape") return () => leave(study);
  return undefined;
}

/** Close what is open, the last thing first; with nothing open, the viewer. */
function leave(study: string): void {
  if (isHelpOpen.peek()) isHelpOpen.value = false;
  else if (isPanelOpen.peek()) isPanelOpen.value = false;
  else go(link(["study", study]));
}

function preset(index: number): void {
  const found = offers(current())[index];
  if (found) current().choose(found.choice);
}

function zoom(factor: number): void {
  const { viewport } = current();
  if (!viewport || !current().shown.peek()) return;
  viewport.setZoom(viewport.getZoom() * factor);
  viewport.render();
}

function widen(factor: number): void {
  const window = current().window.peek();
  if (window) setWindow(current(), { ...window, width: window.width * factor }, 1e-6);
}

function nextSeries(step: number): void {
  const cell = current();
  const entries = studies.peek().flatMap((study) => study.entries ?? []);
  const setsOf = (entry: Entry): (DisplaySet | undefined)[] => (entry.sets?.length ? entry.sets : [undefined]);
  const all = entries.flatMap((entry) => setsOf(entry).map((set) => ({ entry, set })));
  const shown = all.filter(({ entry, set }) => !isOverlay(set) && !outlining.peek().includes(entry));
  const at = shown.findIndex(({ set }) => set?.key === cell.set.peek()?.key);
  const next = shown[at + step];
  if (next?.set) void show(cell, next.set);
  else if (next) void openIn(cell, next.entry);
}

/** Corners of a measurement that is being set by keys. */
let corners: [number, number][] = [];
const CORNERS: Readonly<Record<string, number>> = { length: 2, angle: 3 };

/** Set a point of a measurement at the cursor, or with another tool show that place in the other parts. */
function setPoint(): void {
  const cell = current();
  const image = cell.shown.peek();
  const at = cell.cursor.peek();
  const needed = CORNERS[tool.peek()];
  if (!needed) return locate(cell);
  if (!image || !at || !cell.viewport) return;
  corners.push([at.column, at.row]);
  if (corners.length < needed) return;
  const points = corners.map(
    ([column, row]) => [...pixelToPoint(planeOf(image.frame), column + 0.5, row + 0.5)] as [number, number, number],
  );
  corners = [];
  const Tool = needed === 2 ? LengthTool : AngleTool;
  annotation.state.addAnnotation(
    annotationOf(Tool.toolName, points, cell.viewport.getViewReference()),
    cell.viewport.element,
  );
  cell.viewport.render();
}

type Annotation = Parameters<typeof annotation.state.addAnnotation>[0];

function annotationOf(toolName: string, points: [number, number, number][], place: object): Annotation {
  const textBox = {
    hasMoved: false,
    worldPosition: [0, 0, 0] as [number, number, number],
    worldBoundingBox: undefined,
  };
  return {
    highlighted: false,
    invalidated: true,
    metadata: { ...place, toolName },
    data: { label: "", handles: { points, activeHandleIndex: null, textBox }, cachedStats: {} },
  } as unknown as Annotation;
}

function removeLast(): void {
  const last = measurements.peek().at(-1);
  if (last) remove(last.uid);
  for (const cell of visible.peek()) cell.viewport?.render();
  activate(active.peek());
}
