/** Decoders of frames by transfer syntax, each loaded when it is first needed (PS3.5 8.2). */

import charls from "@cornerstonejs/codec-charls/decodewasmjs";
import charlsWasm from "@cornerstonejs/codec-charls/decodewasm?url";
import libjpeg from "@cornerstonejs/codec-libjpeg-turbo-8bit/decodewasmjs";
import libjpegWasm from "@cornerstonejs/codec-libjpeg-turbo-8bit/decodewasm?url";
import openjpeg from "@cornerstonejs/codec-openjpeg/decodewasmjs";
import openjpegWasm from "@cornerstonejs/codec-openjpeg/decodewasm?url";
import openjph from "@cornerstonejs/codec-openjph/wasmjs";
import openjphWasm from "@cornerstonejs/codec-openjph/wasm?url";
import { Decoder as LosslessDecoder } from "@cornerstonejs/jpeg-lossless-decoder-js";
import type { Layout } from "../dicom/frame";
import { isConvertedByCodec, precisionOf } from "./jpeg";
import { decodeRle } from "./rle";

/** Samples as coded, colour by pixel; `rgb` if the codec made them red, green and blue. */
export interface Decoded {
  samples: Uint8Array | Uint16Array | Int8Array | Int16Array;
  rows: number;
  columns: number;
  components: number;
  precision: number;
  signed: boolean;
  rgb: boolean;
}

/** A frame that only the archive can decode. */
export class NotHere extends Error {}

type Decode = (code: Uint8Array, layout: Layout) => Promise<Decoded>;

/** What the modules of these codecs have in common. */
interface Codec {
  getEncodedBuffer(bytes: number): Uint8Array;
  decode(): void;
  getFrameInfo(): { width: number; height: number; bitsPerSample: number; componentCount: number; isSigned?: boolean };
  getDecodedBuffer(): Uint8Array;
  getInterleaveMode?(): number;
  delete(): void;
}
type Module = Record<string, new () => Codec>;
type Factory = (options: { locateFile: () => string; print: () => void; printErr: () => void }) => Promise<unknown>;

/** Codecs talk of every step; what counts is thrown. */
const silent = (): void => undefined;

const modules = new Map<Factory, Promise<Module>>();

function load(factory: Factory, wasm: string): Promise<Module> {
  let found = modules.get(factory);
  if (!found) {
    found = factory({ locateFile: () => wasm, print: silent, printErr: silent }) as Promise<Module>;
    modules.set(factory, found);
  }
  return found;
}

function byModule(factory: Factory, wasm: string, name: string): Decode {
  return async (code) => {
    const module = await load(factory, wasm);
    const codec = new module[name]!();
    try {
      codec.getEncodedBuffer(code.length).set(code);
      codec.decode();
      const info = codec.getFrameInfo();
      const bytes = codec.getDecodedBuffer().slice();
      const signed = info.isSigned === true;
      const samples = asWords(bytes, info.bitsPerSample, signed);
      const planes = info.componentCount > 1 && codec.getInterleaveMode?.() === 0;
      return {
        samples: planes ? byPixel(samples, info.componentCount) : samples,
        rows: info.height,
        columns: info.width,
        components: info.componentCount,
        precision: info.bitsPerSample,
        signed,
        rgb: false,
      };
    } finally {
      codec.delete();
    }
  };
}

function asWords(bytes: Uint8Array<ArrayBuffer>, bits: number, signed: boolean): Decoded["samples"] {
  if (bits > 16) throw new NotHere(`${bits} bits a sample`);
  if (bits > 8) return signed ? new Int16Array(bytes.buffer) : new Uint16Array(bytes.buffer);
  return signed ? new Int8Array(bytes.buffer) : bytes;
}

/** Turn samples that lie plane by plane into pixel by pixel. */
export function byPixel<T extends Decoded["samples"]>(samples: T, components: number): T {
  const found = samples.slice() as T;
  const pixels = samples.length / components;
  for (let i = 0; i < pixels; i++)
    for (let c = 0; c < components; c++) found[i * components + c] = samples[c * pixels + i]!;
  return found;
}

const jpegLs = byModule(charls, charlsWasm, "JpegLSDecoder");
const jpeg2000 = byModule(openjpeg, openjpegWasm, "J2KDecoder");
const highThroughput = byModule(openjph, openjphWasm, "HTJ2KDecoder");
const turbo = byModule(libjpeg, libjpegWasm, "JPEGDecoder");

/** JPEG of 8 bits. The codec turns YCbCr into RGB by markers; where they and the object disagree, the archive decodes. */
async function baseline(code: Uint8Array, layout: Layout): Promise<Decoded> {
  if (layout.samples > 1 && isConvertedByCodec(code) !== layout.interpretation.startsWith("YBR_FULL")) {
    throw new NotHere("markers and attributes disagree on colours");
  }
  const found = await turbo(code, layout);
  return { ...found, rgb: found.components === 3 };
}

/** JPEG lossless, of grey: what decodes colour here has not been compared with others. */
async function lossless(code: Uint8Array, layout: Layout): Promise<Decoded> {
  if (layout.samples > 1) throw new NotHere("lossless JPEG in colour");
  const precision = precisionOf(code);
  const words = new LosslessDecoder().decode(
    code.buffer as ArrayBuffer,
    code.byteOffset,
    code.length,
    precision > 8 ? 2 : 1,
  );
  const samples = precision > 8 ? new Uint16Array(words.buffer) : new Uint8Array(words.buffer);
  return { samples, rows: layout.rows, columns: layout.columns, components: 1, precision, signed: false, rgb: false };
}

async function runLength(code: Uint8Array, layout: Layout): Promise<Decoded> {
  const { rows, columns, samples: components, bitsAllocated: precision } = layout;
  return { samples: decodeRle(code, layout), rows, columns, components, precision, signed: false, rgb: false };
}

const P = "1.2.840.10008.1.2.";

/** THE table; a transfer syntax that is not in it is decoded by the archive. */
export const DECODERS: Readonly<Record<string, Decode>> = {
  [`${P}5`]: runLength,
  [`${P}4.50`]: baseline,
  [`${P}4.57`]: lossless,
  [`${P}4.70`]: lossless,
  [`${P}4.80`]: jpegLs,
  [`${P}4.81`]: jpegLs,
  [`${P}4.90`]: jpeg2000,
  [`${P}4.91`]: jpeg2000,
  [`${P}4.201`]: highThroughput,
  [`${P}4.202`]: highThroughput,
  [`${P}4.203`]: highThroughput,
};
