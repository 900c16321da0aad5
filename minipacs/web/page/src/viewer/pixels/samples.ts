/** Bytes of a frame as the samples of an image: stored bits alone, with their sign; colours as red, green and blue. */

import type { Layout, Table } from "../dicom/frame";
import { byPixel, type Decoded } from "./codecs";

export type Words =
  Uint8Array | Int8Array | Uint16Array | Int16Array | Uint32Array | Int32Array | Float32Array | Float64Array;

/** A frame that can be drawn: grey as stored values with their range (padding left out), colours as bytes, three a pixel. */
export type Picture = { kind: "grey"; samples: Words; min: number; max: number } | { kind: "colour"; rgb: Uint8Array };

/** Tables of red, green and blue (PS3.3 C.7.6.3.1.5). */
export type Palette = [Table, Table, Table];

/** Make a picture of native samples, little endian. `isPixelByPixel`: whatever the object says of planes. */
export function fromNative(
  bytes: Uint8Array<ArrayBuffer>,
  layout: Layout,
  palette: Palette | undefined,
  isPixelByPixel: boolean,
): Picture {
  if (layout.bitsAllocated === 1) return grey(unpackBits(bytes, layout.rows * layout.columns), layout);
  const isHalved = layout.interpretation === "YBR_FULL_422" && bytes.length < layout.rows * layout.columns * 3;
  const words = isHalved ? withAllColours(bytes, layout) : asWords(bytes, layout);
  const arePlanes = layout.samples > 1 && layout.planar && !isPixelByPixel && !isHalved;
  return toPicture(
    arePlanes ? byPixel(words as Decoded["samples"], layout.samples) : words,
    layout,
    palette,
    layout.interpretation,
  );
}

/** Make a picture of what a codec gave. Raises Error if it is not of the size that the object says. */
export function fromDecoded(decoded: Decoded, layout: Layout, palette: Palette | undefined): Picture {
  const fits =
    decoded.rows === layout.rows && decoded.columns === layout.columns && decoded.components === layout.samples;
  if (
    !fits ||
    decoded.precision > layout.bitsAllocated ||
    decoded.samples.length < layout.rows * layout.columns * layout.samples
  ) {
    throw new Error("the code is of another size than the object says");
  }
  const isTransformed = decoded.rgb || ["YBR_RCT", "YBR_ICT"].includes(layout.interpretation);
  return toPicture(signed(decoded, layout), layout, palette, isTransformed ? "RGB" : layout.interpretation);
}

/** Give coded samples the sign and the size that the object says they have. */
function signed(decoded: Decoded, layout: Layout): Words {
  const { samples, precision } = decoded;
  const unused = 32 - precision;
  const is8 = layout.bitsAllocated === 8;
  if (layout.signed) {
    const found = is8 ? new Int8Array(samples.length) : new Int16Array(samples.length);
    for (let i = 0; i < samples.length; i++) found[i] = (samples[i]! << unused) >> unused;
    return found;
  }
  if (!decoded.signed && is8 === samples instanceof Uint8Array) return samples;
  const found = is8 ? new Uint8Array(samples.length) : new Uint16Array(samples.length);
  for (let i = 0; i < samples.length; i++) found[i] = (samples[i]! << unused) >>> unused;
  return found;
}

const WORDS: Readonly<Record<string, new (buffer: ArrayBuffer, offset: number, count: number) => Words>> = {
  u8: Uint8Array,
  i8: Int8Array,
  u16: Uint16Array,
  i16: Int16Array,
  u32: Uint32Array,
  i32: Int32Array,
  f32: Float32Array,
  f64: Float64Array,
};

function asWords(bytes: Uint8Array<ArrayBuffer>, layout: Layout): Words {
  const kind = `${layout.float ? "f" : layout.signed ? "i" : "u"}${layout.bitsAllocated}`;
  const count = layout.rows * layout.columns * layout.samples;
  const Kind = WORDS[kind];
  if (!Kind) throw new Error(`samples of ${layout.bitsAllocated} bits`);
  if (bytes.length < (count * layout.bitsAllocated) / 8) throw new Error("the frame is shorter than the object says");
  return new Kind(bytes.buffer, 0, count);
}

function unpackBits(bytes: Uint8Array, count: number): Uint8Array {
  if (bytes.length < count / 8) throw new Error("the frame is shorter than the object says");
  const found = new Uint8Array(count);
  for (let i = 0; i < count; i++) found[i] = (bytes[i >> 3]! >> (i & 7)) & 1;
  return found;
}

/** Give each pixel the colours that it shares with its neighbour (PS3.3 C.7.6.3.1.2, YBR_FULL_422). */
function withAllColours(bytes: Uint8Array, layout: Layout): Uint8Array {
  const pixels = layout.rows * layout.columns;
  if (bytes.length < pixels * 2) throw new Error("the frame is shorter than the object says");
  const found = new Uint8Array(pixels * 3);
  for (let pair = 0; pair < pixels / 2; pair++) {
    const [first, second, blue, red] = bytes.subarray(4 * pair, 4 * pair + 4);
    found.set([first!, blue!, red!, second!, blue!, red!], 6 * pair);
  }
  return found;
}

function toPicture(words: Words, layout: Layout, palette: Palette | undefined, interpretation: string): Picture {
  const samples = layout.float ? words : storedBits(words, layout);
  if (interpretation === "PALETTE COLOR") {
    if (!palette) throw new Error("the object has no palette that can be read");
    return { kind: "colour", rgb: lookedUp(samples, palette) };
  }
  if (interpretation.startsWith("MONOCHROME")) return grey(samples, layout);
  if (layout.samples !== 3) throw new Error(`${layout.samples} samples a pixel of ${interpretation}`);
  const bytes = toBytes(samples, layout.bitsStored);
  if (interpretation === "RGB") return { kind: "colour", rgb: bytes };
  if (interpretation.startsWith("YBR_FULL")) return { kind: "colour", rgb: fromYbr(bytes) };
  throw new Error(`colours of ${interpretation} are not known`);
}

/** Cut off what lies beside the stored bits, such as overlays (PS3.5 8.1.1). */
function storedBits(words: Words, layout: Layout): Words {
  const { bitsAllocated: bits, bitsStored: stored, highBit: high } = layout;
  if (stored <= 0 || stored > high + 1 || high + 1 > bits || stored === bits || bits === 64) return words;
  const [left, right] = [32 - 1 - high, 32 - stored];
  const found = words.slice();
  if (layout.signed) for (let i = 0; i < found.length; i++) found[i] = (found[i]! << left) >> right;
  else for (let i = 0; i < found.length; i++) found[i] = (found[i]! << left) >>> right;
  return found;
}

function grey(samples: Words, layout: Layout): Picture {
  const [low, high] = layout.padding ?? [1, 0];
  let [min, max] = [Infinity, -Infinity];
  for (let i = 0; i < samples.length; i++) {
    const value = samples[i]!;
    if ((value >= low && value <= high) || !Number.isFinite(value)) continue;
    if (value < min) min = value;
    if (value > max) max = value;
  }
  return { kind: "grey", samples, min: Math.min(min, max), max: Math.max(min, max) };
}

function toBytes(samples: Words, bits: number): Uint8Array {
  if (bits <= 8) return samples instanceof Uint8Array ? samples : Uint8Array.from(samples);
  const found = new Uint8Array(samples.length);
  for (let i = 0; i < samples.length; i++) found[i] = samples[i]! >>> (bits - 8);
  return found;
}

/** YCbCr of ITU-R BT.601 over the whole range, rounded (PS3.3 C.7.6.3.1.2). */
function fromYbr(ybr: Uint8Array): Uint8Array {
  const rgb = new Uint8ClampedArray(ybr.length);
  for (let i = 0; i < ybr.length; i += 3) {
    const [y, blue, red] = [ybr[i]!, ybr[i + 1]! - 128, ybr[i + 2]! - 128];
    rgb[i] = Math.floor(y + 1.402 * red + 0.5);
    rgb[i + 1] = Math.floor(y - (0.114 * 1.772 * blue + 0.299 * 1.402 * red) / 0.587 + 0.5);
    rgb[i + 2] = Math.floor(y + 1.772 * blue + 0.5);
  }
  return new Uint8Array(rgb.buffer);
}

function lookedUp(samples: Words, palette: Palette): Uint8Array {
  const rgb = new Uint8Array(samples.length * 3);
  palette.forEach(({ first, bits, entries }, colour) => {
    const last = entries.length - 1;
    for (let i = 0; i < samples.length; i++) {
      const at = Math.min(Math.max(samples[i]! - first, 0), last);
      rgb[3 * i + colour] = entries[at]! >> (bits - 8);
    }
  });
  return rgb;
}
