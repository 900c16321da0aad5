/** Draws an image as its viewport is set: the same in every browser, since no graphics card has a say in its values. */

import type { Types } from "@cornerstonejs/core";
import { type Choice, paint } from "./lut";
import type { Loaded } from "./loader";

/** How a viewport shows values. */
export interface Appearance {
  choice: Choice;
  inverted: boolean;
  smooth: boolean;
}

interface Painted {
  canvas: HTMLCanvasElement;
  data: ImageData;
  of: string;
}

const appearances = new WeakMap<HTMLCanvasElement, () => Appearance>();
const painted = new WeakMap<HTMLCanvasElement, Painted>();

/** Tell how the pictures on a canvas are to be shown. */
export function setAppearance(canvas: HTMLCanvasElement, appearance: () => Appearance): void {
  appearances.set(canvas, appearance);
}

/** Draw the image of a viewport on its canvas; cornerstone calls it with where it lies. */
export function draw(element: Types.CPUFallbackEnabledElement): void {
  const { canvas, image, transform } = element;
  const context = canvas?.getContext("2d", { alpha: false });
  if (!canvas || !image || !transform || !context) return;
  const loaded = image as Loaded;
  const appearance = appearances.get(canvas)?.() ?? { choice: { by: "object" }, inverted: false, smooth: true };
  const picture = paintOnce(canvas, loaded, appearance);
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.fillStyle = "black";
  context.fillRect(0, 0, canvas.width, canvas.height);
  const [a, b, c, d, e, f] = transform.getMatrix() as [number, number, number, number, number, number];
  // At whole multiples pixels of the image and of the screen fall together, so that none is a mixture.
  const isWhole = [a, b, c, d].every((part) => Math.abs(part - Math.round(part)) < 1e-9);
  context.setTransform(a, b, c, d, ...((isWhole ? [Math.round(e), Math.round(f)] : [e, f]) as [number, number]));
  context.imageSmoothingEnabled = appearance.smooth;
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0);
}

/** Paint values in grey or colour on a canvas of the image's own size, unless that is what is there. */
function paintOnce(canvas: HTMLCanvasElement, image: Loaded, { choice, inverted }: Appearance): HTMLCanvasElement {
  const of = `${image.imageId} ${JSON.stringify(choice)} ${inverted}`;
  let found = painted.get(canvas);
  if (found?.of === of) return found.canvas;
  if (!found || found.canvas.width !== image.width || found.canvas.height !== image.height) {
    const own = document.createElement("canvas");
    [own.width, own.height] = [image.width, image.height];
    found = { canvas: own, data: new ImageData(image.width, image.height), of: "" };
    painted.set(canvas, found);
  }
  paint(image.picture, new Uint32Array(found.data.data.buffer), choice, image.frame, image.tables, inverted);
  found.canvas.getContext("2d", { alpha: false })!.putImageData(found.data, 0, 0);
  found.of = of;
  return found.canvas;
}
