/** Frames as images of cornerstone: fetched as stored, decoded in workers, drawn by `draw`. */

import { cache, imageLoader, metaData, type Types } from "@cornerstonejs/core";
import { fetchFrame, Refused } from "../archive";
import { type Frame, NATIVE } from "../dicom/frame";
import { text } from "../dicom/json";
import { paletteOf, tablesOf } from "../dicom/tables";
import { TAG } from "../dicom/tags";
import { draw } from "./draw";
import type { Tables } from "./lut";
import { decode } from "./pool";
import { enqueue } from "./queue";
import type { Palette, Picture } from "./samples";

/** What is known of an image that was loaded. */
export interface Loaded extends Types.IImage {
  frame: Frame;
  picture: Picture;
  tables: Tables;
}

/** Makes the picture of a frame that no file holds, such as one of a reformatted stack. */
export type Maker = (frame: Frame) => Promise<Picture>;

const frames = new Map<string, { frame: Frame; make?: Maker }>();
const tables = new WeakMap<object, Promise<{ tables: Tables; palette: Palette | undefined }>>();

export function register(found: readonly Frame[], make?: Maker): string[] {
  for (const frame of found) frames.set(frame.id, make ? { frame, make } : { frame });
  return found.map(({ id }) => id);
}

export function frameOf(imageId: string): Frame | undefined {
  return frames.get(imageId)?.frame;
}

/** Let go of all pictures. */
export function release(): void {
  frames.clear();
  cache.purgeCache();
}

/** Make cornerstone load `frame:` and `made:` and know the planes of both. */
export function install(): void {
  for (const scheme of ["frame", "made"]) {
    imageLoader.registerImageLoader(scheme, (imageId) => ({ promise: ready.get(imageId) ?? load(imageId, 0) }));
  }
  metaData.addProvider(describe, 100);
}

const coming = new Map<string, Promise<Loaded>>();
const ready = new Map<string, Promise<Loaded>>();

/** Load a frame into cornerstone's cache. Failures stay here: cornerstone would throw each of them once more, uncaught. */
export function prepare(imageId: string, rank = 0): Promise<Loaded> {
  const cached = cache.getImageLoadObject(imageId);
  if (cached) return cached.promise as Promise<Loaded>;
  const known = coming.get(imageId);
  if (known) return known;
  const found = load(imageId, rank).then(async (image) => {
    ready.set(imageId, Promise.resolve(image));
    await imageLoader.loadAndCacheImage(imageId);
    return image;
  });
  coming.set(imageId, found);
  const forget = () => void (coming.delete(imageId), ready.delete(imageId));
  found.then(forget, forget);
  return found;
}

async function load(imageId: string, rank: number): Promise<Loaded> {
  const known = frames.get(imageId);
  if (!known) throw new Error("there is no such frame");
  const { frame, make } = known;
  const [picture, lookup] = await Promise.all([
    make ? make(frame) : enqueue(imageId, Math.max(rank, 0), () => fetchPicture(frame)),
    lookupOf(frame),
  ]);
  return asImage(frame, picture, lookup.tables);
}

/** Tables are the same for all frames of an object but where functional groups have them. */
function lookupOf(frame: Frame) {
  const key = frame.dataSet[TAG.PerFrameFunctionalGroups] ? frame : frame.dataSet;
  let found = tables.get(key);
  if (!found) {
    found = Promise.all([tablesOf(frame), paletteOf(frame)]).then(([told, palette]) => ({ tables: told, palette }));
    tables.set(key, found);
  }
  return found;
}

async function fetchPicture(frame: Frame): Promise<Picture> {
  const { palette } = await lookupOf(frame);
  const path = frame.id.slice("frame:".length);
  const stored = await decode({ ...(await fetchFrame(path, "*")), layout: frame.layout, palette, isDecoded: false });
  if ("picture" in stored) return stored.picture;
  if (!stored.elsewhere) throw new Error(stored.error);
  const native = await decode({
    ...(await fetchFrame(path, NATIVE)),
    layout: decodedLayout(frame),
    palette,
    isDecoded: true,
  });
  if ("picture" in native) return native.picture;
  throw new Error(native.error);
}

/** What the archive makes of a frame that it decodes: colours of JPEG 2000 are RGB then, others stay as they are. */
function decodedLayout({ layout }: Frame): Frame["layout"] {
  const isTransformed = ["YBR_RCT", "YBR_ICT"].includes(layout.interpretation);
  return { ...layout, interpretation: isTransformed ? "RGB" : layout.interpretation.replace("_422", "") };
}

function asImage(frame: Frame, picture: Picture, lookup: Tables): Loaded {
  const { rows, columns } = frame.layout;
  const isColour = picture.kind === "colour";
  const samples = (isColour ? picture.rgb : picture.samples) as Types.PixelDataTypedArray;
  const image = {
    imageId: frame.id,
    minPixelValue: isColour ? 0 : picture.min,
    maxPixelValue: isColour ? 255 : picture.max,
    slope: 1,
    intercept: 0,
    windowCenter: 128,
    windowWidth: 256,
    voiLUTFunction: "LINEAR" as Types.IImage["voiLUTFunction"],
    getPixelData: () => samples,
    getCanvas: () => document.createElement("canvas"),
    rows,
    columns,
    height: rows,
    width: columns,
    color: isColour,
    rgba: false,
    numberOfComponents: isColour ? 3 : 1,
    columnPixelSpacing: frame.spacing.column,
    rowPixelSpacing: frame.spacing.row,
    invert: false,
    photometricInterpretation: isColour ? "RGB" : "MONOCHROME2",
    sizeInBytes: samples.byteLength,
    dataType: samples.constructor.name as Types.PixelDataTypedArrayString,
    imageFrame: {} as NonNullable<Types.IImage["imageFrame"]>,
    frame,
    picture,
    tables: lookup,
  };
  return { ...image, render: draw as NonNullable<Types.IImage["render"]> };
}

/** Words for a person of why a frame cannot be shown. */
export function failure(error: unknown): string {
  return error instanceof Refused || error instanceof Error ? error.message : String(error);
}

/** Answer cornerstone's questions about a frame. */
function describe(kind: string, imageId: string): unknown {
  const frame = frameOf(imageId);
  return frame && ANSWERS[kind]?.(frame);
}

const ANSWERS: Readonly<Record<string, (frame: Frame) => unknown>> = {
  imagePlaneModule: ({ plane, spacing, layout, frameOfReference }) => ({
    frameOfReferenceUID: frameOfReference,
    rows: layout.rows,
    columns: layout.columns,
    imageOrientationPatient: [...(plane?.alongRow ?? [1, 0, 0]), ...(plane?.alongColumn ?? [0, 1, 0])],
    rowCosines: plane?.alongRow ?? [1, 0, 0],
    columnCosines: plane?.alongColumn ?? [0, 1, 0],
    imagePositionPatient: plane?.origin ?? [0, 0, 0],
    pixelSpacing: [spacing.row, spacing.column],
    rowPixelSpacing: spacing.row,
    columnPixelSpacing: spacing.column,
    usingDefaultValues: false,
  }),
  imagePixelModule: ({ layout }) => ({
    pixelRepresentation: layout.signed ? 1 : 0,
    bitsAllocated: layout.bitsAllocated,
    bitsStored: layout.bitsStored,
    highBit: layout.highBit,
    photometricInterpretation: layout.samples > 1 ? "RGB" : "MONOCHROME2",
    samplesPerPixel: layout.samples,
  }),
  generalSeriesModule: ({ dataSet }) => ({
    modality: text(dataSet, TAG.Modality) === "PT" ? "" : text(dataSet, TAG.Modality),
  }),
};
