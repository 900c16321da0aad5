/** What a pointer does on a picture: THE table of tools. */

import {
  addTool,
  AngleTool,
  annotation,
  BaseTool,
  Enums,
  LengthTool,
  PanTool,
  PlanarRotateTool,
  ToolGroupManager,
  type Types as ToolTypes,
  ZoomTool,
} from "@cornerstonejs/tools";
import { cellOf } from "../cell";
import { dragWindow } from "./window";
import { textLines } from "./measure";

type Group = NonNullable<ReturnType<typeof ToolGroupManager.createToolGroup>>;
type Drag = ToolTypes.EventTypes.InteractionEventType;

/** Drag right for more width, down for a lower centre. */
class WindowTool extends BaseTool {
  static override toolName = "Window";

  mouseDragCallback = (event: Drag): void => {
    const { element, deltaPoints } = event.detail as unknown as {
      element: Element;
      deltaPoints: { canvas: [number, number] };
    };
    const cell = cellOf(element);
    if (cell) dragWindow(cell, ...deltaPoints.canvas);
  };
  touchDragCallback = this.mouseDragCallback;
}

const PIXELS_A_PICTURE = 8;

/** Drag or turn the wheel through a stack. */
class ScrollTool extends BaseTool {
  static override toolName = "Scroll";
  private rest = 0;

  mouseDragCallback = (event: Drag): void => {
    const { element, deltaPoints } = event.detail as unknown as {
      element: Element;
      deltaPoints: { canvas: [number, number] };
    };
    const cell = cellOf(element);
    if (!cell) return;
    const step = Math.max(1, Math.min(PIXELS_A_PICTURE, element.clientHeight / cell.frames.length));
    this.rest += deltaPoints.canvas[1];
    const moved = Math.trunc(this.rest / step);
    this.rest -= moved * step;
    if (moved) void cell.goTo(cell.target.peek() + moved);
  };
  touchDragCallback = this.mouseDragCallback;

  mouseWheelCallback = (event: Drag): void => {
    const { element, wheel } = event.detail as unknown as { element: Element; wheel: { direction: number } };
    const cell = cellOf(element);
    if (cell) void cell.goTo(cell.target.peek() + wheel.direction);
  };
}

/** `name` is cornerstone's; what there is no `tool` for is done without a pointer. */
export const TOOLS = [
  { id: "window", tool: WindowTool, key: "w" },
  { id: "scroll", tool: ScrollTool, key: "s" },
  { id: "pan", tool: PanTool, key: "p" },
  { id: "zoom", tool: ZoomTool, key: "z" },
  { id: "rotate", tool: PlanarRotateTool, key: "o" },
  { id: "length", tool: LengthTool, key: "l" },
  { id: "angle", tool: AngleTool, key: "a" },
] as const;

export type ToolId = (typeof TOOLS)[number]["id"];

/** Of measurements: yellow is seen on grey, on black and on white. */
const STYLE = {
  color: "rgb(255, 214, 90)",
  colorHighlighted: "rgb(120, 220, 255)",
  colorSelected: "rgb(120, 220, 255)",
  textBoxColor: "rgb(255, 214, 90)",
  textBoxColorHighlighted: "rgb(120, 220, 255)",
  textBoxColorSelected: "rgb(120, 220, 255)",
  textBoxFontSize: "14px",
};

const MEASURING: ReadonlySet<string> = new Set(["length", "angle"]);

export function addTools(group: Group): void {
  for (const { tool } of TOOLS) {
    addTool(tool);
    group.addTool(tool.toolName, tool === LengthTool || tool === AngleTool ? { getTextLines: textLines } : {});
  }
  const { style } = annotation.config;
  const usual = style.getDefaultToolStyles();
  style.setDefaultToolStyles({ ...usual, global: { ...usual.global, ...STYLE } });
  activate(group, "window");
}

/** Bind a tool to the first button; the wheel scrolls, the second button zooms, the middle one moves, whatever is bound. */
export function activate(group: Group, id: ToolId): void {
  const { Primary, Secondary, Auxiliary, Wheel } = Enums.MouseBindings;
  const always: Partial<Record<ToolId, ToolTypes.IToolBinding[]>> = {
    scroll: [{ mouseButton: Wheel }],
    zoom: [{ mouseButton: Secondary }, { numTouchPoints: 2 }],
    pan: [{ mouseButton: Auxiliary }],
  };
  for (const { id: one, tool } of TOOLS) {
    const bindings = [...(always[one] ?? []), ...(one === id ? [{ mouseButton: Primary }, { numTouchPoints: 1 }] : [])];
    if (bindings.length) {
      group.setToolDisabled(tool.toolName);
      group.setToolActive(tool.toolName, { bindings });
    } else if (MEASURING.has(one)) group.setToolPassive(tool.toolName, { removeAllBindings: true });
    else group.setToolDisabled(tool.toolName);
  }
}
