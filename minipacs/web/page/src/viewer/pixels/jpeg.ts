/** Headers of JPEG code (ISO/IEC 10918-1 B). */

interface Segment {
  marker: number;
  start: number;
  end: number;
}

const SOS = 0xda;
const APP0 = 0xe0;
const APP14 = 0xee;
const isFrameHeader = (marker: number): boolean =>
  marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);

function* segments(code: Uint8Array): Generator<Segment> {
  let at = 2;
  while (at + 4 <= code.length && code[at] === 0xff) {
    const marker = code[at + 1]!;
    if (marker === 0xff) {
      at += 1;
      continue;
    }
    const size = (code[at + 2]! << 8) | code[at + 3]!;
    yield { marker, start: at + 4, end: at + 2 + size };
    if (marker === SOS) return;
    at += 2 + size;
  }
}

/** Bits of a sample. Raises Error. */
export function precisionOf(code: Uint8Array): number {
  for (const { marker, start } of segments(code)) if (isFrameHeader(marker)) return code[start]!;
  throw new Error("JPEG code without a frame header");
}

/** Tell whether libjpeg takes the code for YCbCr, and so makes RGB of it: by markers, else by names of components. */
export function isConvertedByCodec(code: Uint8Array): boolean {
  let names: number[] = [];
  let jfif = false;
  let adobe: number | undefined;
  for (const { marker, start, end } of segments(code)) {
    const word = String.fromCharCode(...code.subarray(start, start + 5));
    if (marker === APP0 && word.startsWith("JFIF")) jfif = true;
    if (marker === APP14 && word === "Adobe" && end - start >= 12) adobe = code[start + 11];
    if (isFrameHeader(marker)) names = Array.from({ length: code[start + 5]! }, (_, i) => code[start + 6 + 3 * i]!);
  }
  if (names.length !== 3) return false;
  if (jfif) return true;
  if (adobe !== undefined) return adobe !== 0;
  return String.fromCharCode(...names) !== "RGB";
}
