/** Cornerstone, set up once: it places pictures and tools; their values are drawn by `pixels/draw`. */

import { cache, getRenderingEngine, init, RenderingEngine, setUseCPURendering, type Types } from "@cornerstonejs/core";
import * as cornerstoneTools from "@cornerstonejs/tools";
import { install } from "./pixels/loader";
import { addTools } from "./tools/group";

const ENGINE = "viewer";
const CACHE_BYTES = 1536 * 1024 * 1024;

let group: ReturnType<typeof cornerstoneTools.ToolGroupManager.createToolGroup>;

/** Begin; calling it again does nothing. Graphics cards are left out: their drivers differ in what they make of 16 bits. */
export function begin(): void {
  if (group) return;
  init();
  setUseCPURendering(true);
  cache.setMaxCacheSize(CACHE_BYTES);
  cornerstoneTools.init();
  install();
  group = cornerstoneTools.ToolGroupManager.createToolGroup(ENGINE);
  addTools(tools());
}

export function engine(): Types.IRenderingEngine {
  return getRenderingEngine(ENGINE) ?? new RenderingEngine(ENGINE);
}

export function tools(): NonNullable<typeof group> {
  if (!group) throw new Error("the viewer has not begun");
  return group;
}
