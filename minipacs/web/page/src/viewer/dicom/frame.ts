/** What the attributes of an image say of one of its frames: how it is stored, what its values mean, where it lies. */

import { fromNumbers, type Plane, times, add, normal } from "./geometry";
import { type DataSet, has, items, meaning, number, numbers, text, texts } from "./json";
import { TAG } from "./tags";

/** Explicit VR Little Endian: how the archive gives samples that are in no code. */
export const NATIVE = "1.2.840.10008.1.2.1";

export type VoiFunction = "LINEAR" | "LINEAR_EXACT" | "SIGMOID";

/** A window: its centre and width in units of the modality (PS3.3 C.11.2.1.2). */
export interface Window {
  center: number;
  width: number;
  voi: VoiFunction;
}

export interface Preset extends Window {
  name: string;
}

/** A look-up table: `first` is the value that its first entry stands for, `bits` those of an entry (PS3.3 C.11.1.1). */
export interface Table {
  first: number;
  bits: number;
  entries: ArrayLike<number>;
  name: string;
}

/** How samples lie in a frame (PS3.3 C.7.6.3). */
export interface Layout {
  rows: number;
  columns: number;
  samples: number;
  bitsAllocated: number;
  bitsStored: number;
  highBit: number;
  signed: boolean;
  planar: boolean;
  float: boolean;
  interpretation: string;
  padding?: [number, number];
}

/** A pixel's size, and what it is known from; without a size in mm, only its shape. */
export interface Spacing {
  row: number;
  column: number;
  known: "patient" | "detector" | "ultrasound" | "none";
  region?: [number, number, number, number];
}

/** One frame of one instance. */
export interface Frame {
  id: string;
  dataSet: DataSet;
  series: string;
  index: number;
  layout: Layout;
  spacing: Spacing;
  plane?: Plane;
  frameOfReference: string;
}

/** Find an item of a functional group: of the frame, else of all frames (PS3.3 C.7.6.16). */
export function group(dataSet: DataSet, index: number, tag: string): DataSet | undefined {
  const own = items(items(dataSet, TAG.PerFrameFunctionalGroups)[index], tag)[0];
  return own ?? items(items(dataSet, TAG.SharedFunctionalGroups)[0], tag)[0];
}

export function frameCount(dataSet: DataSet): number {
  return Math.max(1, Math.floor(number(dataSet, TAG.NumberOfFrames) ?? 1));
}

export function describe(dataSet: DataSet, series: string, index: number, address: string): Frame {
  const spacing = spacingOf(dataSet, index);
  return {
    id: `frame:${address}/frames/${index + 1}`,
    dataSet,
    series,
    index,
    layout: layoutOf(dataSet),
    spacing,
    plane: planeOf(dataSet, index, spacing),
    frameOfReference: text(dataSet, TAG.FrameOfReferenceUID),
  };
}

function layoutOf(dataSet: DataSet): Layout {
  const float = has(dataSet, TAG.FloatPixelData) || has(dataSet, TAG.DoubleFloatPixelData);
  const bitsAllocated = has(dataSet, TAG.DoubleFloatPixelData)
    ? 64
    : has(dataSet, TAG.FloatPixelData)
      ? 32
      : (number(dataSet, TAG.BitsAllocated) ?? 0);
  const bitsStored = float ? bitsAllocated : (number(dataSet, TAG.BitsStored) ?? bitsAllocated);
  const padding = number(dataSet, float ? TAG.FloatPixelPaddingValue : TAG.PixelPaddingValue);
  const limit = number(dataSet, TAG.PixelPaddingRangeLimit) ?? padding;
  return {
    rows: number(dataSet, TAG.Rows) ?? 0,
    columns: number(dataSet, TAG.Columns) ?? 0,
    samples: number(dataSet, TAG.SamplesPerPixel) ?? 1,
    bitsAllocated,
    bitsStored,
    highBit: number(dataSet, TAG.HighBit) ?? bitsStored - 1,
    signed: number(dataSet, TAG.PixelRepresentation) === 1,
    planar: number(dataSet, TAG.PlanarConfiguration) === 1,
    float,
    interpretation: text(dataSet, TAG.PhotometricInterpretation) || "MONOCHROME2",
    padding:
      padding === undefined || limit === undefined ? undefined : [Math.min(padding, limit), Math.max(padding, limit)],
  };
}

const CENTIMETRES = 3;
const TISSUE = 1;

function spacingOf(dataSet: DataSet, index: number): Spacing {
  const sources: [Spacing["known"], number[]][] = [
    ["patient", numbers(group(dataSet, index, TAG.PixelMeasuresSequence), TAG.PixelSpacing)],
    ["patient", numbers(dataSet, TAG.PixelSpacing)],
    ["detector", numbers(dataSet, TAG.ImagerPixelSpacing)],
    ["detector", numbers(dataSet, TAG.NominalScannedPixelSpacing)],
    ["none", numbers(dataSet, TAG.PixelAspectRatio)],
  ];
  const ultrasound = ultrasoundRegion(dataSet);
  if (ultrasound) return ultrasound;
  for (const [known, [row, column]] of sources) {
    if (row !== undefined && column !== undefined && row > 0 && column > 0) return { row, column, known };
  }
  return { row: 1, column: 1, known: "none" };
}

/** The one region of tissue of an ultrasound image; where there are several, only their own scales would be right. */
function ultrasoundRegion(dataSet: DataSet): Spacing | undefined {
  const spatial = items(dataSet, TAG.UltrasoundRegions).filter(
    (region) =>
      number(region, TAG.RegionSpatialFormat) === TISSUE &&
      number(region, TAG.PhysicalUnitsX) === CENTIMETRES &&
      number(region, TAG.PhysicalUnitsY) === CENTIMETRES,
  );
  const region = spatial.length === 1 ? spatial[0] : undefined;
  const column = 10 * Math.abs(number(region, TAG.PhysicalDeltaX) ?? 0);
  const row = 10 * Math.abs(number(region, TAG.PhysicalDeltaY) ?? 0);
  if (!row || !column) return undefined;
  const edges = [TAG.RegionMinX, TAG.RegionMinY, TAG.RegionMaxX, TAG.RegionMaxY].map((tag) => number(region, tag) ?? 0);
  return { row, column, known: "ultrasound", region: edges as [number, number, number, number] };
}

function planeOf(dataSet: DataSet, index: number, spacing: Spacing): Plane | undefined {
  const position = group(dataSet, index, TAG.PlanePositionSequence) ?? dataSet;
  const orientation = group(dataSet, index, TAG.PlaneOrientationSequence) ?? dataSet;
  const directions = numbers(orientation, TAG.ImageOrientationPatient);
  const first = fromNumbers(numbers(position, TAG.ImagePositionPatient));
  const [alongRow, alongColumn] = [fromNumbers(directions.slice(0, 3)), fromNumbers(directions.slice(3, 6))];
  if (!first || !alongRow || !alongColumn || spacing.known !== "patient") return undefined;
  const plane = { origin: first, alongRow, alongColumn, columnSpacing: spacing.column, rowSpacing: spacing.row };
  const offset = numbers(dataSet, TAG.GridFrameOffsetVector)[index];
  return offset === undefined ? plane : { ...plane, origin: add(first, times(normal(plane), offset)) };
}

/** Windows that the object brings along, those that can be (PS3.3 C.11.2.1.2). */
export function presets(frame: Frame): Preset[] {
  const voi = group(frame.dataSet, frame.index, TAG.FrameVOILUTSequence) ?? frame.dataSet;
  const [centers, widths, names] = [
    numbers(voi, TAG.WindowCenter),
    numbers(voi, TAG.WindowWidth),
    texts(voi, TAG.WindowExplanation),
  ];
  const told = text(voi, TAG.VOILUTFunction).toUpperCase();
  const kind: VoiFunction = told === "SIGMOID" || told === "LINEAR_EXACT" ? told : "LINEAR";
  return centers.flatMap((center, i) => {
    const width = widths[i] ?? 0;
    const possible = kind === "LINEAR" ? width >= 1 : width > 0;
    return possible ? [{ center, width, voi: kind, name: names[i] ?? "" }] : [];
  });
}

/** Item that says how stored values become those of the modality (PS3.3 C.11.1). */
export function transformation(frame: Frame): DataSet {
  return group(frame.dataSet, frame.index, TAG.PixelValueTransformationSequence) ?? frame.dataSet;
}

export function rescale(frame: Frame): { slope: number; intercept: number } {
  const dose = text(frame.dataSet, TAG.Modality) === "RTDOSE" ? number(frame.dataSet, TAG.DoseGridScaling) : undefined;
  const source = transformation(frame);
  const slope = number(source, TAG.RescaleSlope) ?? dose ?? 1;
  return { slope, intercept: number(source, TAG.RescaleIntercept) ?? 0 };
}

/** Name of the unit that values have once they are those of the modality; empty where it is not told. */
export function valueUnits(frame: Frame): string {
  const source = transformation(frame);
  const told = text(source, TAG.RescaleType) || text(frame.dataSet, TAG.Units);
  const mapping = items(
    group(frame.dataSet, frame.index, TAG.RealWorldValueMappingSequence) ?? frame.dataSet,
    TAG.RealWorldValueMappingSequence,
  )[0];
  const mapped = meaning(mapping, "004008EA");
  if (text(frame.dataSet, TAG.Modality) === "RTDOSE") return text(frame.dataSet, TAG.DoseUnits).replace("GY", "Gy");
  if (told && told !== "US") return UNIT_NAMES[told] ?? told;
  if (mapped) return mapped;
  return text(frame.dataSet, TAG.Modality) === "CT" && has(source, TAG.RescaleSlope) ? "HU" : "";
}

const UNIT_NAMES: Readonly<Record<string, string>> = {
  BQML: "Bq/ml",
  CNTS: "counts",
  OD: "10⁻³ OD",
  "1CM": "1/cm",
  GML: "g/ml",
};

/** Tell whether the least value is white (PS3.3 C.11.6.1, C.7.6.3.1.2). */
export function isInverse(frame: Frame): boolean {
  const shape = text(frame.dataSet, TAG.PresentationLUTShape);
  return shape ? shape === "INVERSE" : frame.layout.interpretation === "MONOCHROME1";
}
