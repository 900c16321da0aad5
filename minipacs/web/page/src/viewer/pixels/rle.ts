/** RLE as DICOM has it: a segment for each byte of a sample, the most significant first (PS3.5 G). */

import type { Layout } from "../dicom/frame";

/** Decode a frame into words, colour by pixel. Raises Error if anything is missing. */
export function decodeRle(code: Uint8Array, layout: Layout): Uint8Array | Uint16Array {
  const bytesPerSample = layout.bitsAllocated / 8;
  const { samples } = layout;
  const pixels = layout.rows * layout.columns;
  const view = new DataView(code.buffer, code.byteOffset, code.byteLength);
  const count = view.getUint32(0, true);
  if (![1, 2].includes(bytesPerSample) || count !== samples * bytesPerSample)
    throw new Error("RLE segments do not fit the image");
  const out = new Uint8Array(pixels * count);
  for (let segment = 0; segment < count; segment++) {
    const from = view.getUint32(4 + 4 * segment, true);
    const to = segment + 1 < count ? view.getUint32(8 + 4 * segment, true) : code.length;
    const sample = Math.floor(segment / bytesPerSample);
    const place = sample * bytesPerSample + (bytesPerSample - 1 - (segment % bytesPerSample));
    unpack(code.subarray(from, to), out, place, samples * bytesPerSample);
  }
  return bytesPerSample === 1 ? out : new Uint16Array(out.buffer);
}

/** Write the bytes of a segment to every `step`th place. */
function unpack(segment: Uint8Array, out: Uint8Array, first: number, step: number): void {
  let [at, to] = [0, first];
  while (to < out.length) {
    if (at >= segment.length) throw new Error("RLE segment is too short");
    const head = segment[at++]!;
    if (head === 128) continue;
    const repeated = head > 128;
    const run = repeated ? 257 - head : head + 1;
    if (at + (repeated ? 1 : run) > segment.length) throw new Error("RLE segment is too short");
    for (let i = 0; i < run && to < out.length; i++, to += step) out[to] = segment[repeated ? at : at + i]!;
    at += repeated ? 1 : run;
  }
}
