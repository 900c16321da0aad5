/** One part of the screen that shows pictures: what it shows, how, and how far it has come. */

import { Enums, type Types } from "@cornerstonejs/core";
import { computed, signal } from "@preact/signals";
import type { Frame, Window } from "./dicom/frame";
import type { DisplaySet } from "./dicom/sets";
import { engine, tools } from "./engine";
import { failure, type Loaded, type Maker, prepare, register } from "./pixels/loader";
import { setAppearance } from "./pixels/draw";
import { type Choice, windowOf } from "./pixels/lut";

export interface Turn {
  rotation: number;
  flipHorizontal: boolean;
  flipVertical: boolean;
}

const UPRIGHT: Turn = { rotation: 0, flipHorizontal: false, flipVertical: false };
const cells = new Map<Element, Cell>();

export function cellOf(element: Element): Cell | undefined {
  return cells.get(element);
}

/** Scale by which an image fills a canvas; pixels that are not square are stretched in the direction they are longer in. */
function fitting(image: Loaded, canvas: HTMLCanvasElement): number {
  const { rowPixelSpacing: row, columnPixelSpacing: column } = image;
  return Math.min(
    canvas.width / (image.columns * Math.max(1, column / row)),
    canvas.height / (image.rows * Math.max(1, row / column)),
  );
}

export class Cell {
  readonly set = signal<DisplaySet | undefined>(undefined);
  /** Place in the stack that was asked for; `shown` is what is on the screen until it has come. */
  readonly target = signal(0);
  readonly shown = signal<Loaded | undefined>(undefined);
  readonly error = signal("");
  readonly choice = signal<Choice>({ by: "object" });
  readonly inverted = signal(false);
  readonly smooth = signal(true);
  readonly turn = signal<Turn>(UPRIGHT);
  readonly loaded = signal(0);
  readonly playing = signal(false);
  /** Pixel under the pointer, or where keys have moved the cursor to. */
  readonly cursor = signal<{ column: number; row: number } | undefined>(undefined);
  /** Grows with every drawing: what lies over the picture follows it. */
  readonly drawn = signal(0);
  readonly window = computed<Window | undefined>(() => {
    const image = this.shown.value;
    return image?.picture.kind === "grey"
      ? windowOf(this.choice.value, image.frame, image.picture, image.tables)
      : undefined;
  });

  /** Pictures of the stack that were asked for. */
  readonly asked = new Set<string>();
  viewport: Types.IStackViewport | undefined;
  private make: Maker | undefined;
  private showing = 0;

  constructor(readonly id: string) {}

  get frames(): readonly Frame[] {
    return this.set.value?.frames ?? [];
  }

  /** Take hold of an element of the page, and draw there from now on. */
  attach(element: HTMLDivElement): () => void {
    engine().enableElement({
      viewportId: this.id,
      type: Enums.ViewportType.STACK,
      element,
      defaultOptions: { background: [0, 0, 0] },
    });
    this.viewport = engine().getViewport<Types.IStackViewport>(this.id);
    setAppearance(this.viewport.canvas, () => ({
      choice: this.choice.peek(),
      inverted: this.inverted.peek(),
      smooth: this.smooth.peek(),
    }));
    tools().addViewport(this.id, engine().id);
    cells.set(element, this);
    const onRendered = () => (this.drawn.value += 1);
    element.addEventListener(Enums.Events.IMAGE_RENDERED, onRendered);
    const sizes = new ResizeObserver(() => this.resize(element));
    sizes.observe(element);
    const set = this.set.peek();
    if (set) void this.show(set, this.target.peek(), this.make);
    return () => {
      sizes.disconnect();
      element.removeEventListener(Enums.Events.IMAGE_RENDERED, onRendered);
      cells.delete(element);
      tools().removeViewports(engine().id, this.id);
      engine().disableElement(this.id);
      this.viewport = undefined;
    };
  }

  /** Follow the room there is, at the screen's own resolution; what was fitted stays so, what was zoomed as well. */
  private resize(element: HTMLDivElement): void {
    const { viewport } = this;
    const [width, height] = [element.clientWidth, element.clientHeight].map((side) =>
      Math.round(side * (window.devicePixelRatio || 1)),
    ) as [number, number];
    if (!viewport || !width || !height || (viewport.canvas.width === width && viewport.canvas.height === height))
      return;
    const image = this.shown.peek();
    const share = image ? viewport.getZoom() / fitting(image, viewport.canvas) : 1;
    Object.assign(viewport.canvas, { width, height });
    if (image) viewport.setZoom(share * fitting(image, viewport.canvas));
    viewport.render();
  }

  /** Show a stack from `index` on, upright and as its objects say. */
  async show(set: DisplaySet, index = 0, make?: Maker): Promise<void> {
    const isNew = this.set.peek()?.key !== set.key;
    const ids = register(set.frames, make);
    this.playing.value = false;
    if (isNew) {
      this.choice.value = { by: "object" };
      this.inverted.value = false;
      this.turn.value = UPRIGHT;
      this.asked.clear();
      this.loaded.value = 0;
    }
    this.make = make;
    this.set.value = set;
    this.cursor.value = undefined;
    this.shown.value = undefined;
    this.error.value = "";
    this.target.value = index;
    if (set.kind !== "pictures" || !this.viewport) return;
    const turn = ++this.showing;
    if (await this.come(index, turn)) {
      await this.viewport?.setStack(ids, index);
      this.present(index);
      this.applyTurn();
    }
  }

  /** Show nothing. */
  clear(): void {
    this.showing += 1;
    this.playing.value = false;
    this.set.value = undefined;
    this.shown.value = undefined;
    this.error.value = "";
    this.target.value = 0;
  }

  /** Show nothing, and why. */
  fail(words: string): void {
    this.clear();
    this.error.value = words;
  }

  /** Show another picture of the stack, within its ends; what cannot be shown is told instead. */
  async goTo(index: number): Promise<void> {
    const place = Math.min(Math.max(index, 0), this.frames.length - 1);
    if (place < 0 || place === this.target.peek()) return;
    this.target.value = place;
    const turn = ++this.showing;
    if (!(await this.come(place, turn)) || !this.viewport) return;
    const ids = this.frames.map(({ id }) => id);
    if (this.viewport.getImageIds()[0] === ids[0]) await this.viewport.setImageIdIndex(place);
    else await this.viewport.setStack(ids, place);
    this.present(place);
  }

  /** Load what is to be shown; false if something else is wanted by now, or it cannot be. */
  private async come(index: number, turn: number): Promise<boolean> {
    const id = this.frames[index]?.id;
    if (!id) return false;
    try {
      await prepare(id);
      return turn === this.showing;
    } catch (error) {
      if (turn !== this.showing) return false;
      this.shown.value = undefined;
      this.error.value = failure(error);
      return false;
    }
  }

  private present(index: number): void {
    const image = this.viewport?.getCornerstoneImage() as Loaded | undefined;
    if (image?.frame.id !== this.frames[index]?.id) return;
    this.error.value = "";
    this.shown.value = image;
    const { cursor } = this;
    const at = cursor.peek();
    if (at && image && (at.column >= image.columns || at.row >= image.rows)) cursor.value = undefined;
  }

  /** Change how values are shown, and draw. */
  choose(choice: Choice): void {
    this.choice.value = choice;
    this.viewport?.render();
  }

  invert(): void {
    this.inverted.value = !this.inverted.peek();
    this.viewport?.render();
  }

  toggleSmoothing(): void {
    this.smooth.value = !this.smooth.peek();
    this.viewport?.render();
  }

  turnBy(change: (turn: Turn) => Turn): void {
    this.turn.value = change(this.turn.peek());
    this.applyTurn();
  }

  private applyTurn(): void {
    const { rotation, flipHorizontal, flipVertical } = this.turn.peek();
    if (!this.viewport || !this.shown.peek()) return;
    this.viewport.setViewPresentation({ rotation });
    this.viewport.setCamera({ flipHorizontal, flipVertical });
    this.viewport.render();
  }

  /** Show all of the picture, in the middle. */
  fit(): void {
    this.viewport?.resetCamera();
    this.applyTurn();
  }

  /** Show one pixel of the picture as one of the screen. */
  actualSize(): void {
    this.fit();
    this.viewport?.setZoom(1);
    this.viewport?.render();
  }

  reset(): void {
    this.choice.value = { by: "object" };
    this.inverted.value = false;
    this.turn.value = UPRIGHT;
    this.fit();
  }
}
